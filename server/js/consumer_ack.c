/*
 * consumer_ack.c - what clients say to a consumer: acknowledgements, pull requests, flow control
 * answers.
 *
 * All three arrive at the consumer's one sink; the subject tells which. An ack with a reply subject
 * is a double ack: its answer leaves when the state that contains it is durable.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/ack_subject.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#include <string.h>

#define CLEANING_NS 1000000000u

/* ---- pull requests --------------------------------------------------------------------------- */

struct pull_json {
    int64_t expires, batch, max_bytes, heartbeat, min_pending, min_ack_pending, priority;
    bool no_wait;
    char *group, *id;
};

#define F(json, kind, member)                                                                      \
    {                                                                                              \
        json, kind, offsetof(struct pull_json, member), 0, NULL                                    \
    }
static const struct json_field pull_fields[] = {
    F("expires", JSON_I64_FIELD, expires),
    F("batch", JSON_I64_FIELD, batch),
    F("max_bytes", JSON_I64_FIELD, max_bytes),
    F("no_wait", JSON_BOOL_FIELD, no_wait),
    F("idle_heartbeat", JSON_I64_FIELD, heartbeat),
    F("group", JSON_STRING_FIELD, group),
    F("id", JSON_STRING_FIELD, id),
    F("min_pending", JSON_I64_FIELD, min_pending),
    F("min_ack_pending", JSON_I64_FIELD, min_ack_pending),
    F("priority", JSON_I64_FIELD, priority),
};

/* What is wrong with it: a wrong kind of value, or no JSON, which is told here without its place.
 */
static void say_why(struct str body, struct buf *err)
{
    struct buf why = {0};
    const char *place;

    if (json_check(body, &shape_next_request, false, &why)) {
        buf_free(&why);
        return;
    }
    buf_clear(err);
    if (str_eq(buf_str(&why), STR("unexpected EOF"))) {
        buf_puts(err, "unexpected end of JSON input");
    } else {
        place = strstr(buf_cstr(&why), " at offset ");
        buf_put(err, why.p, place != NULL ? (size_t) (place - why.p) : why.n);
    }
    buf_free(&why);
}

/* False with a text when the body is JSON and not a pull request. The views of *out lie in p, which
 * the caller releases. */
static bool parse_pull(struct str body, struct pull_json *p, struct pull_spec *out, struct buf *err)
{
    json_t *object;
    bool ok;

    body = str_trim(body);
    *out = (struct pull_spec){.batch = 1};
    if (body.n == 0)
        return true;
    if (body.p[0] != '{') {
        if (!str_to_i64(body, &out->batch) || out->batch < 1)
            out->batch = 1;
        return true;
    }
    object = json_parse_object(body, err);
    ok = object != NULL && fields_read(object, pull_fields, ARRAY_LEN(pull_fields), p, false, err);
    if (!ok)
        say_why(body, err);
    *out = (struct pull_spec){
        .batch = p->batch > 0 ? p->batch : 1,
        .max_bytes = p->max_bytes > 0 ? p->max_bytes : 0,
        .expires_ns = p->expires > 0 ? p->expires : 0,
        .too_late = p->expires<0, .heartbeat_ns = p->heartbeat> 0 ? p->heartbeat : 0,
        .no_wait = p->no_wait,
        .formal = true,
        .group = p->group != NULL ? str_of(p->group) : STR_NONE,
        .id = p->id != NULL ? str_of(p->id) : STR_NONE,
        .min_pending = p->min_pending,
        .min_ack_pending = p->min_ack_pending,
        .priority = p->priority,
    };
    json_decref(object);
    return ok;
}

/* A full queue may be full of requests whose clients have gone; at most once a second. */
static void make_room(struct consumer *c)
{
    uint64_t now = io_now(c->js->env->io);

    if (c->core.npulls < c->core.rules.max_waiting || now - c->last_cleaning < CLEANING_NS)
        return;
    c->last_cleaning = now;
    consumer_prune_pulls(c);
}

void consumer_take_pull(struct consumer *c, struct str reply, struct str body)
{
    struct pull_json json = {0};
    struct pull_spec spec;
    struct buf err = {0};

    if (reply.n == 0)
        return;
    consumer_touch(c);
    if (!parse_pull(body, &json, &spec, &err)) {
        struct buf h = {0};
        buf_printf(&h, "NATS/1.0 400 Bad Request - %s\r\n\r\n", buf_cstr(&err));
        js_publish(c->js, reply, STR_NONE, buf_str(&h), STR_NONE);
        buf_free(&h);
    } else {
        make_room(c);
        consumer_core_pull(&c->core, io_now(c->js->env->io), &spec, reply);
        consumer_run_effects(c);
        consumer_wake(c);
    }
    fields_release(pull_fields, ARRAY_LEN(pull_fields), &json);
    buf_free(&err);
}

static bool heard(void *ctx, struct str reply)
{
    return interest_any(ctx, reply);
}

void consumer_prune_pulls(struct consumer *c)
{
    consumer_core_prune(&c->core, heard, c->js->account->interest);
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

enum ack_kind { ACK_IS_ACK, ACK_IS_NAK, ACK_IS_WORKING, ACK_IS_NEXT, ACK_IS_TERM, ACK_IS_UNKNOWN };

static enum ack_kind kind_of(struct str body, struct str *rest)
{
    static const struct {
        struct str text;
        enum ack_kind kind;
    } table[] = {
        {STR_LIT("-NAK"), ACK_IS_NAK},
        {STR_LIT("+WPI"), ACK_IS_WORKING},
        {STR_LIT("+NXT"), ACK_IS_NEXT},
        {STR_LIT("+TERM"), ACK_IS_TERM},
    };

    *rest = STR_NONE;
    if (body.n == 0 || str_eq(body, STR("+ACK")) || str_eq(body, STR("+OK")))
        return ACK_IS_ACK;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_starts(body, table[i].text)) {
            *rest = str_trim(str_skip(body, table[i].text.n));
            return table[i].kind;
        }
    return ACK_IS_UNKNOWN;
}

struct nak_json {
    int64_t delay;
};

static const struct json_field nak_fields[] = {
    {"delay", JSON_I64_FIELD, offsetof(struct nak_json, delay), 0, NULL},
};

/* "10s" or {"delay": ns}; a delay that can not be read is logged and the nak is a plain one. */
static int64_t nak_delay(struct consumer *c, struct str rest)
{
    struct nak_json n = {0};
    struct buf err = {0};
    json_t *object;
    bool ok;

    if (rest.n == 0)
        return 0;
    if (rest.p[0] == '{') {
        object = json_parse_object(rest, &err);
        ok = object != NULL &&
             fields_read(object, nak_fields, ARRAY_LEN(nak_fields), &n, false, &err);
        json_decref(object);
    } else {
        ok = fmt_parse_go_duration(rest, &n.delay);
    }
    if (!ok)
        LOG_WRN(c->js->env->log, "JetStream consumer '%s > %s > %s' bad NAK delay value: %.*s",
                c->js->account->name, c->stream->config.name, c->name, STR_ARG(rest));
    buf_free(&err);
    return ok && n.delay > 0 ? n.delay : 0;
}

static void answer_when_durable(struct consumer *c, struct str reply)
{
    if (c->ack_hold == NULL)
        c->ack_hold = hold_open(c->js->env->router, c->js->account);
    hold_add(c->ack_hold, reply, STR_NONE, STR_NONE);
    js_save_soon(c->js);
}

static void sample(struct consumer *c, uint64_t now, const struct ack_info *info)
{
    uint64_t age;

    if (LIKELY(c->sampling == 0) || c->config.ack_policy != ACK_EXPLICIT)
        return;
    if (c->sampling < 100 && prng_below(c->js->env->prng, 100) >= c->sampling)
        return;
    age = consumer_core_age(&c->core, now, info->stream_seq);
    if (age > 0)
        advise_acked(c, info, age);
}

void consumer_take_ack(struct consumer *c, const struct msg *m)
{
    struct ack_subject where;
    struct str rest;
    uint64_t now = io_now(c->js->env->io);
    enum ack_kind kind = kind_of(m->payload, &rest);
    bool answer = m->reply.n > 0;

    if (!ack_subject_parse(m->subject, &where))
        return;
    switch (kind) {
    case ACK_IS_ACK:
    case ACK_IS_NEXT:
        sample(c, now, &where.info);
        if (consumer_core_ack(&c->core, now, where.info.stream_seq))
            c->last_ack = io_wall(c->js->env->io);
        if (kind == ACK_IS_NEXT) {
            consumer_take_pull(c, m->reply, rest);
            answer = false;
        }
        break;
    case ACK_IS_NAK:
        if (consumer_core_nak(&c->core, now, where.info.stream_seq, nak_delay(c, rest)))
            advise_nak(c, &where.info);
        break;
    case ACK_IS_WORKING:
        consumer_core_working(&c->core, now, where.info.stream_seq);
        break;
    case ACK_IS_TERM:
        if (consumer_core_term(&c->core, now, where.info.stream_seq)) {
            c->last_ack = io_wall(c->js->env->io);
            advise_terminated(c, &where.info, rest);
        }
        break;
    case ACK_IS_UNKNOWN: /* which is answered all the same */
        break;
    }
    if (answer)
        answer_when_durable(c, m->reply);
    consumer_save_later(c);
}

/* ---- the sink -------------------------------------------------------------------------------- */

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct consumer *c = CONTAINER_OF(sink, struct consumer, sink);

    if (c->js->stopping)
        return n;
    for (unsigned i = 0; i < n; i++) {
        if (str_starts(run[i].subject, STR("$JS.ACK.")))
            consumer_take_ack(c, &run[i]);
        else if (str_starts(run[i].subject, STR("$JS.FC.")))
            consumer_take_flow_reply(c, &run[i]);
        else if (run[i].header.n == 0 || api_level_ok(run[i].header))
            consumer_take_pull(c, run[i].reply, run[i].payload);
        else
            consumer_send_status(c, STATUS_API_LEVEL, run[i].reply, NULL, 0, 0);
    }
    consumer_run_effects(c);
    consumer_touch(c);
    consumer_wake(c);
    return n;
}

static void bounced(struct sink *sink, uint64_t seq)
{
    struct consumer *c = CONTAINER_OF(sink, struct consumer, sink);

    consumer_core_undeliverable(&c->core, io_now(c->js->env->io), seq, STR_NONE);
    consumer_wake(c);
}

const struct sink_ops consumer_sink_ops = {
    .deliver = deliver, .bounced = bounced, .kind = "consumer"};
