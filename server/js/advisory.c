/*
 * advisory.c - messages below $JS.EVENT that say what has happened: what was created, changed,
 * deleted, paused or pinned, which messages were refused or given up, how long acknowledgements
 * took. Nothing is made for an advisory that nobody hears.
 */
#include "server/js/advisory.h"

#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#include <stdio.h>

/* What all advisories begin with; false when nobody hears this one. */
static bool begin(struct js *js, struct buf *b, const char *type, struct str subject)
{
    char id[NUID_LEN + 1];

    if (js->stopping || !account_interest_any(js->account, subject))
        return false;
    nuid_next(&js->nuid, id);
    buf_printf(b, "{\"type\":\"io.nats.jetstream.%s\",\"id\":\"%s\",\"timestamp\":", type, id);
    jput_time(b, io_wall(js->env->io));
    return true;
}

static void put(struct buf *b, const char *key, struct str value)
{
    buf_printf(b, ",\"%s\":", key);
    jput_string(b, value);
}

static void end(struct js *js, struct buf *b, struct str subject)
{
    const char *domain = js->env->options->domain;

    if (domain != NULL)
        put(b, "domain", str_of(domain));
    buf_putc(b, '}');
    js_publish(js, subject, STR_NONE, STR_NONE, buf_str(b));
}

static const struct {
    const char *token, *action;
} changes[] = {
    [ADVISE_CREATED] = {"CREATED", "create"},
    [ADVISE_UPDATED] = {"UPDATED", "modify"},
    [ADVISE_DELETED] = {"DELETED", "delete"},
};

void advise_stream(struct js *js, enum advice what, struct str name)
{
    struct buf b = {0}, subject = {0};

    buf_printf(&subject, "$JS.EVENT.ADVISORY.STREAM.%s.%.*s", changes[what].token, STR_ARG(name));
    if (begin(js, &b, "advisory.v1.stream_action", buf_str(&subject))) {
        put(&b, "stream", name);
        put(&b, "action", str_of(changes[what].action));
        end(js, &b, buf_str(&subject));
    }
    buf_free(&b);
    buf_free(&subject);
}

/* An advisory about one consumer: its subject is <prefix>.<stream>.<consumer>. */
struct about {
    struct consumer *c;
    struct buf subject, body;
};

static bool begin_about(struct about *a, struct consumer *c, const char *prefix, const char *type)
{
    *a = (struct about){.c = c};
    buf_printf(&a->subject, "$JS.EVENT.%s.%s.%s", prefix, c->stream->config.name, c->name);
    if (begin(c->js, &a->body, type, buf_str(&a->subject))) {
        put(&a->body, "stream", str_of(c->stream->config.name));
        put(&a->body, "consumer", str_of(c->name));
        return true;
    }
    buf_free(&a->subject);
    buf_free(&a->body);
    return false;
}

static void put_number(struct about *a, const char *key, uint64_t value)
{
    buf_printf(&a->body, ",\"%s\":%llu", key, (unsigned long long) value);
}

static void end_about(struct about *a)
{
    end(a->c->js, &a->body, buf_str(&a->subject));
    buf_free(&a->body);
    buf_free(&a->subject);
}

void advise_consumer(struct consumer *c, enum advice what)
{
    struct about a;
    char prefix[64];

    snprintf(prefix, sizeof(prefix), "ADVISORY.CONSUMER.%s", changes[what].token);
    if (!begin_about(&a, c, prefix, "advisory.v1.consumer_action"))
        return;
    put(&a.body, "action", str_of(changes[what].action));
    end_about(&a);
}

void advise_pause(struct consumer *c)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.PAUSE", "advisory.v1.consumer_pause"))
        return;
    buf_printf(&a.body, ",\"paused\":%s,\"pause_until\":", consumer_paused(c) ? "true" : "false");
    jput_time(&a.body, c->config.pause_until);
    end_about(&a);
}

void advise_max_deliveries(struct consumer *c, uint64_t seq, uint64_t deliveries)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.MAX_DELIVERIES", "advisory.v1.max_deliver"))
        return;
    put_number(&a, "stream_seq", seq);
    put_number(&a, "deliveries", deliveries);
    end_about(&a);
}

static void put_ack(struct about *a, const struct ack_info *info)
{
    put_number(a, "consumer_seq", info->consumer_seq);
    put_number(a, "stream_seq", info->stream_seq);
}

void advise_nak(struct consumer *c, const struct ack_info *info)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.MSG_NAKED", "advisory.v1.nak"))
        return;
    put_ack(&a, info);
    put_number(&a, "deliveries", info->delivered);
    end_about(&a);
}

void advise_terminated(struct consumer *c, const struct ack_info *info, struct str reason)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.MSG_TERMINATED", "advisory.v1.terminated"))
        return;
    put_ack(&a, info);
    put_number(&a, "deliveries", info->delivered);
    if (reason.n > 0)
        put(&a.body, "reason", reason);
    end_about(&a);
}

void advise_acked(struct consumer *c, const struct ack_info *info, uint64_t ack_time_ns)
{
    struct about a;

    if (!begin_about(&a, c, "METRIC.CONSUMER.ACK", "metric.v1.consumer_ack"))
        return;
    put_ack(&a, info);
    put_number(&a, "ack_time", ack_time_ns);
    put_number(&a, "deliveries", info->delivered);
    end_about(&a);
}

void advise_pinned(struct consumer *c, const char *group, const char *id)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.PINNED", "advisory.v1.consumer_group_pinned"))
        return;
    put(&a.body, "account", str_of(c->js->account->name));
    put(&a.body, "group", str_of(group));
    put(&a.body, "pinned_id", str_of(id));
    end_about(&a);
}

void advise_unpinned(struct consumer *c, const char *group, bool by_request)
{
    struct about a;

    if (!begin_about(&a, c, "ADVISORY.CONSUMER.UNPINNED", "advisory.v1.consumer_group_unpinned"))
        return;
    put(&a.body, "account", str_of(c->js->account->name));
    put(&a.body, "group", str_of(group));
    put(&a.body, "reason", by_request ? STR("admin") : STR("timeout"));
    end_about(&a);
}

/* ---- snapshots and restores ------------------------------------------------------------------ */

/* Who asks, as JSON, or at least for which account. */
static void put_client(struct buf *b, const struct js *js, struct str who)
{
    buf_puts(b, ",\"client\":");
    if (who.n > 0) {
        buf_put_str(b, who);
        return;
    }
    buf_puts(b, "{\"acc\":");
    jput_string(b, str_of(js->account->name));
    buf_putc(b, '}');
}

/* What all four begin with; false when nobody hears this one. */
static bool begin_backup(struct stream *s, struct str who, struct buf *subject, struct buf *b,
                         const char *token, const char *type)
{
    buf_printf(subject, "$JS.EVENT.ADVISORY.STREAM.%s.%s", token, s->config.name);
    if (begin(s->js, b, type, buf_str(subject))) {
        put(b, "stream", str_of(s->config.name));
        put_client(b, s->js, who);
        return true;
    }
    buf_free(subject);
    buf_free(b);
    return false;
}

static void end_backup(struct stream *s, struct buf *subject, struct buf *b)
{
    end(s->js, b, buf_str(subject));
    buf_free(subject);
    buf_free(b);
}

static void put_span(struct stream *s, struct buf *b, int64_t start)
{
    buf_puts(b, ",\"start\":");
    jput_time(b, start);
    buf_puts(b, ",\"end\":");
    jput_time(b, io_wall(s->js->env->io));
}

void advise_snapshot_create(struct stream *s, struct str who)
{
    struct buf subject = {0}, b = {0};

    if (!begin_backup(s, who, &subject, &b, "SNAPSHOT_CREATE", "advisory.v1.snapshot_create"))
        return;
    buf_puts(&b, ",\"state\":");
    stream_state_json(s, NULL, &b);
    end_backup(s, &subject, &b);
}

void advise_snapshot_complete(struct stream *s, struct str who, int64_t start, const char *error)
{
    struct buf subject = {0}, b = {0};

    if (!begin_backup(s, who, &subject, &b, "SNAPSHOT_COMPLETE", "advisory.v1.snapshot_complete"))
        return;
    put_span(s, &b, start);
    if (error != NULL)
        put(&b, "error", str_of(error));
    end_backup(s, &subject, &b);
}

void advise_restore_create(struct stream *s, struct str who)
{
    struct buf subject = {0}, b = {0};

    if (begin_backup(s, who, &subject, &b, "RESTORE_CREATE", "advisory.v1.restore_create"))
        end_backup(s, &subject, &b);
}

void advise_restore_complete(struct stream *s, struct str who, int64_t start, uint64_t bytes)
{
    struct buf subject = {0}, b = {0};

    if (!begin_backup(s, who, &subject, &b, "RESTORE_COMPLETE", "advisory.v1.restore_complete"))
        return;
    put_span(s, &b, start);
    buf_printf(&b, ",\"bytes\":%llu", (unsigned long long) bytes);
    end_backup(s, &subject, &b);
}

void advise_api(const struct api_request *r, struct str response)
{
    struct str subject = STR("$JS.EVENT.ADVISORY.API");
    struct buf b = {0};

    if (!begin(r->js, &b, "advisory.v1.api_audit", subject))
        return;
    put(&b, "server", str_of(r->js->env->server_name));
    put_client(&b, r->js, buf_str(&r->who));
    put(&b, "subject", str_of(r->subject));
    if (r->body.n > 0)
        put(&b, "request", buf_str(&r->body));
    put(&b, "response", response);
    end(r->js, &b, subject);
    buf_free(&b);
}

void advise_api_limit(struct js *js, unsigned dropped)
{
    struct str subject = STR("$JS.EVENT.ADVISORY.API.LIMIT_REACHED");
    struct buf b = {0};

    if (!begin(js, &b, "advisory.v1.api_limit_reached", subject))
        return;
    put(&b, "server", str_of(js->env->server_name));
    buf_printf(&b, ",\"dropped\":%u", dropped);
    end(js, &b, subject);
    buf_free(&b);
}

void advise_batch_abandoned(struct stream *s, struct str id, const char *reason)
{
    struct buf b = {0}, subject = {0};

    buf_printf(&subject, "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.%s", s->config.name);
    if (begin(s->js, &b, "advisory.v1.stream_batch_abandoned", buf_str(&subject))) {
        put(&b, "account", str_of(s->js->account->name));
        put(&b, "stream", str_of(s->config.name));
        put(&b, "batch", id);
        put(&b, "reason", str_of(reason));
        end(s->js, &b, buf_str(&subject));
    }
    buf_free(&b);
    buf_free(&subject);
}
