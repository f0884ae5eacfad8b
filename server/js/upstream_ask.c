/*
 * upstream_ask.c - asks an origin for a consumer and takes its answer: the request of a mirror or a
 * source, what the answer must have, and what an error of the origin means.
 */
#include "lib/base/fmt.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "server/js/stream_int.h"
#include "server/js/upstream.h"
#include "server/js/upstream_int.h"

#include <stdio.h>
#include <string.h>

#define INACTIVE_NS 10000000000ll
#define ACK_WAIT_NS (22ll * 3600 * 1000000000)

/* ---- asking ---------------------------------------------------------------------------------- */

static void put_filters(struct upstream *u, struct buf *b)
{
    const struct source_config *c = &u->config;

    if (c->filter_subject != NULL) {
        buf_puts(b, ",\"filter_subject\":");
        jput_string(b, str_of(c->filter_subject));
    } else if (c->nmappings > 0) {
        buf_puts(b, ",\"filter_subjects\":[");
        for (size_t i = 0; i < c->nmappings; i++) {
            if (i > 0)
                buf_putc(b, ',');
            jput_string(b, c->mappings[i].src != NULL ? str_of(c->mappings[i].src) : STR(">"));
        }
        buf_putc(b, ']');
    }
}

/* Nothing was taken yet: where the configuration says. */
static void put_first_start(const struct source_config *c, struct buf *b)
{
    if (c->opt_start_seq > 0) {
        buf_printf(b, "\"by_start_sequence\",\"opt_start_seq\":%llu",
                   (unsigned long long) c->opt_start_seq);
    } else if (c->opt_start_time != 0) {
        buf_puts(b, "\"by_start_time\",\"opt_start_time\":");
        jput_time(b, c->opt_start_time);
    } else {
        buf_puts(b, "\"all\"");
    }
}

static void put_start(struct upstream *u, struct buf *b)
{
    buf_puts(b, ",\"deliver_policy\":");
    if (u->core.sseq == 0)
        put_first_start(&u->config, b);
    else
        buf_printf(b, "\"by_start_sequence\",\"opt_start_seq\":%llu",
                   (unsigned long long) u->core.sseq + 1);
}

static void put_request(struct upstream *u, struct buf *b)
{
    struct stream *s = u->s;

    buf_puts(b, "{\"stream_name\":");
    jput_string(b, str_of(u->config.name));
    buf_printf(b, ",\"config\":{\"name\":\"%s\",\"deliver_subject\":", u->consumer);
    jput_string(b, str_of(u->deliver));
    put_start(u, b);
    put_filters(u, b);
    buf_printf(b,
               ",\"ack_policy\":\"none\",\"max_deliver\":1,\"ack_wait\":%lld,"
               "\"replay_policy\":\"instant\",\"flow_control\":true,\"idle_heartbeat\":%llu,"
               "\"inactive_threshold\":%lld,\"direct\":true,%s\"num_replicas\":0,"
               "\"metadata\":{\"_nats.%s.stream\":",
               ACK_WAIT_NS, (unsigned long long) UPSTREAM_HEARTBEAT_NS, INACTIVE_NS,
               u->plain ? "" : "\"sourcing\":true,", u->mirror ? "mirror" : "src");
    jput_string(b, str_of(s->config.name));
    buf_printf(b, ",\"_nats.%s.acc\":", u->mirror ? "mirror" : "src");
    jput_string(b, str_of(s->js->account->name));
    if (s->js->env->options->domain != NULL) {
        buf_printf(b, ",\"_nats.%s.domain\":", u->mirror ? "mirror" : "src");
        jput_string(b, str_of(s->js->env->options->domain));
    }
    buf_puts(b, "}}}");
}

static void request_subject(const struct upstream *u, struct buf *out)
{
    const struct source_config *c = &u->config;
    struct buf plain = {0};

    if (c->has_consumer)
        buf_printf(&plain, "$JS.API.CONSUMER.RESET.%s.%s", c->name, c->consumer_name);
    else if (c->filter_subject != NULL)
        buf_printf(&plain, "$JS.API.CONSUMER.CREATE.%s.%s.%s", c->name, u->consumer,
                   c->filter_subject);
    else
        buf_printf(&plain, "$JS.API.CONSUMER.CREATE.%s.%s", c->name, u->consumer);
    source_config_api(c, buf_cstr(&plain), out);
    buf_free(&plain);
}

/* Several of the stream's sources have this one's origin: which of them it is belongs to its name.
 */
static bool has_twin(const struct upstream *u)
{
    LIST_FOREACH(l, &u->s->upstreams)
    {
        const struct upstream *other = LIST_ENTRY(l, struct upstream, link);
        if (other != u && strcmp(other->config.name, u->config.name) == 0)
            return true;
    }
    return false;
}

/* The same for each attempt, and after a start: the origin may have kept the consumer. */
static void put_stable_name(struct upstream *u, struct buf *out)
{
    const struct js *js = u->s->js;
    const char *domain = js->env->options->domain;
    char hash[SOURCE_HASH_LEN + 1];
    struct buf id = {0};

    buf_printf(&id, "%s %s", u->s->config.name, js->account->name);
    if (domain != NULL)
        buf_printf(&id, " %s", domain);
    source_hash(buf_str(&id), hash);
    if (!u->mirror) {
        buf_clear(&id);
        buf_puts(&id, hash);
        if (has_twin(u))
            buf_printf(&id, " %.*s", STR_ARG(buf_str(&u->name)));
        source_hash(buf_str(&id), hash);
    }
    buf_puts(out, hash);
    buf_free(&id);
}

/* Subjects that were never used: what the last consumer still sends goes nowhere. */
static void make_names(struct upstream *u)
{
    struct js *js = u->s->js;
    const char *prefix = u->config.deliver_prefix;
    char id[NUID_LEN + 1];
    struct buf b = {0};

    buf_puts(&b, u->mirror ? "JS_MIRROR_" : "JS_SRC_");
    put_stable_name(u, &b);
    if (u->plain) {
        nuid_next(&js->nuid, id);
        buf_printf(&b, "_%s", id);
    }
    snprintf(u->consumer, sizeof(u->consumer), "%s", buf_cstr(&b));
    buf_clear(&b);
    nuid_next(&js->nuid, id);
    snprintf(u->reply, sizeof(u->reply), "$JS.%s.%s", u->mirror ? "MA" : "SA", id);
    nuid_next(&js->nuid, id);
    buf_puts(&b, prefix != NULL ? prefix : "$JS.");
    if (b.p[b.n - 1] != '.')
        buf_putc(&b, '.');
    buf_printf(&b, "%s.%s", u->mirror ? "M" : "S", id);
    mem_free(u->deliver);
    u->deliver = mem_strdup(u->config.has_consumer ? u->config.consumer_deliver : buf_cstr(&b));
    buf_free(&b);
}

/* A server that does not know level 4 says so, instead of making a consumer that loses messages. */
static void put_header(const struct upstream *u, struct buf *out)
{
    struct buf level = {0};

    if (!u->plain)
        header_append(&level, STR_NONE, STR("Nats-Required-Api-Level"), STR("4"));
    if (!u->mirror)
        header_append(out, buf_str(&level), STR("Nats-Stream-Identity"), str_of(u->identity));
    else
        buf_put_str(out, buf_str(&level));
    buf_free(&level);
}

void upstream_ask(struct upstream *u)
{
    struct buf subject = {0}, body = {0}, header = {0};
    bool sent;

    make_names(u);
    request_subject(u, &subject);
    if (!u->config.has_consumer)
        put_request(u, &body);
    put_header(u, &header);
    u->answers_interest = upstream_listen(u, &u->answers, str_of(u->reply));
    sent = upstream_send(u, buf_str(&subject), str_of(u->reply), buf_str(&header), buf_str(&body));
    buf_free(&subject);
    buf_free(&body);
    buf_free(&header);
    if (!sent)
        upstream_failed(u,
                        u->mirror ? JS_ERR_MIRROR_CONSUMER_SETUP_FAILED
                                  : JS_ERR_SOURCE_CONSUMER_SETUP_FAILED,
                        "no responders");
    else
        upstream_arm(u);
}
/* ---- the answer ------------------------------------------------------------------------------ */

struct created {
    uint64_t delivered, pending;
    const char *deliver, *ack_policy, *name;
};

static uint64_t number_at(const json_t *object, const char *key)
{
    json_int_t v = json_integer_value(json_object_get(object, key));

    return v > 0 ? (uint64_t) v : 0;
}

static bool read_created(const json_t *answer, struct created *out)
{
    const json_t *config = json_object_get(answer, "config");

    out->name = json_string_value(json_object_get(answer, "name"));
    out->deliver = json_string_value(json_object_get(config, "deliver_subject"));
    out->ack_policy = json_string_value(json_object_get(config, "ack_policy"));
    out->delivered = number_at(json_object_get(answer, "delivered"), "stream_seq");
    out->pending = number_at(answer, "num_pending");
    return json_is_object(config) && out->name != NULL && out->deliver != NULL &&
           strlen(out->name) < sizeof(((struct upstream *) NULL)->consumer);
}

/* Asks again at once, from here. */
static void ask_again(struct upstream *u, uint64_t sseq)
{
    upstream_hang_up(u);
    upstream_core_again(&u->core, upstream_now(u), sseq);
    upstream_arm(u);
}

/* The origin's own error is what our info shows. */
static void answered_error(struct upstream *u, const json_t *error)
{
    uint64_t code = number_at(error, "err_code");
    struct buf b = {0};

    if (!u->plain && (code == js_error_code(JS_ERR_REQUIRED_API_LEVEL) ||
                      code == js_error_code(JS_ERR_INVALID_JSON))) {
        u->plain = true;
        ask_again(u, u->core.sseq);
        return;
    }
    if (code == js_error_code(JS_ERR_CONSUMER_STREAM_IDENTITY_MISMATCH)) {
        LOG_WRN(u->s->js->env->log,
                "JetStream source stream '%s' for stream '%s > %s' was recreated, resetting source "
                "state",
                u->config.name, u->s->js->account->name, u->s->config.name);
        u->identity[0] = '\0';
        u->begun = u->durable = 0;
        ask_again(u, 0);
        return;
    }
    upstream_failed(u, JS_OK, "");
    jput_raw(&b, error);
    u->error_text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
}

static void set_identity(struct upstream *u, struct str identity)
{
    size_t n = identity.n < sizeof(u->identity) ? identity.n : 0;

    memcpy(u->identity, n > 0 ? identity.p : "", n);
    u->identity[n] = '\0';
}

static void connected(struct upstream *u, const struct created *k, struct str identity)
{
    bool flow = k->ack_policy != NULL && strcmp(k->ack_policy, "flow_control") == 0;

    if (u->config.has_consumer && !flow) {
        upstream_failed(u,
                        u->mirror ? JS_ERR_MIRROR_CONSUMER_REQUIRES_ACK_FC
                                  : JS_ERR_SOURCE_CONSUMER_REQUIRES_ACK_FC,
                        "");
        return;
    }
    if (u->mirror && !stream_skip_to(u->s, k->delivered)) {
        upstream_failed(u, JS_ERR_MIRROR_CONSUMER_SETUP_FAILED, "can not skip messages");
        return;
    }
    upstream_clear_error(u);
    upstream_unlisten(u, &u->answers_interest);
    set_identity(u, identity);
    snprintf(u->consumer, sizeof(u->consumer), "%s", k->name);
    upstream_core_created(&u->core, upstream_now(u), k->delivered, k->pending, !u->mirror && !flow);
    mem_free(u->deliver);
    u->deliver = mem_strdup(k->deliver);
    u->messages_interest = upstream_listen(u, &u->messages, str_of(u->deliver));
    upstream_direct_start(u);
    upstream_arm(u);
}

static void take_answer(struct upstream *u, const struct msg *m)
{
    struct buf err = {0};
    struct created k;
    json_t *answer;

    if (u->core.state != UPSTREAM_ASKING || !str_eq(m->subject, str_of(u->reply)))
        return;
    answer = json_parse_object(m->payload, &err);
    if (answer != NULL && json_is_object(json_object_get(answer, "error")))
        answered_error(u, json_object_get(answer, "error"));
    else if (answer != NULL && read_created(answer, &k))
        connected(u, &k, header_get(m->header, STR("Nats-Stream-Identity")));
    else
        upstream_failed(u,
                        u->mirror ? JS_ERR_MIRROR_CONSUMER_SETUP_FAILED
                                  : JS_ERR_SOURCE_CONSUMER_SETUP_FAILED,
                        "invalid consumer create response");
    json_decref(answer);
    buf_free(&err);
}

static unsigned deliver_answers(struct sink *sink, const struct msg *run, unsigned n)
{
    struct upstream *u = CONTAINER_OF(sink, struct upstream, answers);

    for (unsigned i = 0; i < n && !u->s->js->stopping; i++)
        take_answer(u, &run[i]);
    return n;
}

const struct sink_ops upstream_answers_ops = {.deliver = deliver_answers, .kind = "upstream"};
