/*
 * advisory.c - messages below $JS.EVENT.ADVISORY that say what was created, changed, deleted or
 * paused. Nothing is made for an advisory that nobody hears.
 */
#include "lib/io/io.h"
#include "server/js/js_int.h"

/* What all advisories begin with; false when nobody hears this one. */
static bool begin(struct js *js, struct buf *b, const char *type, struct str subject)
{
    char id[NUID_LEN + 1];

    if (js->stopping || !interest_any(js->env->account->interest, subject))
        return false;
    nuid_next(&js->nuid, id);
    buf_printf(
        b, "{\"type\":\"io.nats.jetstream.advisory.v1.%s\",\"id\":\"%s\",\"timestamp\":", type, id);
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
    if (begin(js, &b, "stream_action", buf_str(&subject))) {
        put(&b, "stream", name);
        put(&b, "action", str_of(changes[what].action));
        end(js, &b, buf_str(&subject));
    }
    buf_free(&b);
    buf_free(&subject);
}

void advise_consumer(struct consumer *c, enum advice what)
{
    struct buf b = {0}, subject = {0};

    buf_printf(&subject, "$JS.EVENT.ADVISORY.CONSUMER.%s.%s.%s", changes[what].token,
               c->stream->config.name, c->name);
    if (begin(c->js, &b, "consumer_action", buf_str(&subject))) {
        put(&b, "stream", str_of(c->stream->config.name));
        put(&b, "consumer", str_of(c->name));
        put(&b, "action", str_of(changes[what].action));
        end(c->js, &b, buf_str(&subject));
    }
    buf_free(&b);
    buf_free(&subject);
}

void advise_pause(struct consumer *c)
{
    struct buf b = {0}, subject = {0};

    buf_printf(&subject, "$JS.EVENT.ADVISORY.CONSUMER.PAUSE.%s.%s", c->stream->config.name,
               c->name);
    if (begin(c->js, &b, "consumer_pause", buf_str(&subject))) {
        put(&b, "stream", str_of(c->stream->config.name));
        put(&b, "consumer", str_of(c->name));
        buf_printf(&b, ",\"paused\":%s,\"pause_until\":", consumer_paused(c) ? "true" : "false");
        jput_time(&b, c->config.pause_until);
        end(c->js, &b, buf_str(&subject));
    }
    buf_free(&b);
    buf_free(&subject);
}
