/*
 * upstream_take.c - messages of an origin: status messages, storing, and what is confirmed upwards.
 */
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/wire/ack_subject.h"
#include "server/js/stream_int.h"
#include "server/js/upstream.h"
#include "server/js/upstream_int.h"

/* Something was lost, or could not be taken: the core is idle already. */
static void begin_again(struct upstream *u)
{
    upstream_hang_up(u);
    upstream_arm(u);
}

/* ---- confirming upwards ---------------------------------------------------------------------- */

/* What had been seen, not what is known: a consumer that repeats what it was not told about is not
 * told of more than it has sent. */
void upstream_answer_flow(struct upstream *u)
{
    struct buf h = {0};

    if (u->flow_reply == NULL || u->s->durable < u->flow_after)
        return;
    buf_printf(&h, "NATS/1.0\r\nNats-Last-Consumer: %llu\r\nNats-Last-Stream: %llu\r\n\r\n",
               (unsigned long long) u->flow_dseq, (unsigned long long) u->flow_seen);
    upstream_send(u, str_of(u->flow_reply), STR_NONE, buf_str(&h), STR_NONE);
    mem_free(u->flow_reply);
    u->flow_reply = NULL;
    buf_free(&h);
}

/* ---- messages -------------------------------------------------------------------------------- */

static bool is_control(const struct msg *m)
{
    return m->payload.n == 0 && str_starts(m->header, STR("NATS/1.0 100 "));
}

static void take_control(struct upstream *u, const struct msg *m)
{
    struct str text = header_get(m->header, STR("Nats-Last-Consumer"));
    uint64_t dseq = 0;

    if (m->reply.n > 0) {
        mem_free(u->flow_reply);
        u->flow_reply = mem_strndup(m->reply.p, m->reply.n);
        u->flow_after = u->s->assigned;
        u->flow_seen = u->core.seen;
        u->flow_dseq = u->core.dseq;
        u->core.heard = upstream_now(u);
        upstream_answer_flow(u);
        return;
    }
    if (text.p != NULL && !str_to_u64(text, &dseq))
        dseq = 0;
    if (!upstream_core_heartbeat(&u->core, upstream_now(u), dseq)) {
        begin_again(u);
        return;
    }
    text = header_get(m->header, STR("Nats-Consumer-Stalled"));
    if (text.n > 0 && u->flow_reply == NULL)
        upstream_send(u, text, STR_NONE, STR_NONE, STR_NONE);
}

/* The stream can not take it: asked for again later, from here. */
void upstream_give_back(struct upstream *u, uint64_t before, const struct js_error *err)
{
    upstream_hang_up(u);
    upstream_clear_error(u);
    u->error = *err;
    upstream_core_refused(&u->core, upstream_now(u), before);
    upstream_arm(u);
}

/* The first mapping whose source matches decides; a subject that none matches stays. */
static struct str map_subject(struct upstream *u, struct str subject, struct buf *out)
{
    for (size_t i = 0; i < u->config.nmappings; i++)
        if (u->transforms[i] != NULL &&
            transform_subject(u->transforms[i], subject, u->s->js->env->prng, out))
            return buf_str(out);
    return subject;
}

static void store_one(struct upstream *u, const struct msg *m, const struct ack_subject *from,
                      uint64_t before)
{
    struct buf value = {0}, header = {0}, subject = {0};
    struct msg out = *m;
    struct js_error err = {0};

    out.reply = STR_NONE;
    out.subject = map_subject(u, m->subject, &subject);
    if (!u->mirror)
        source_mark_put(&value, buf_str(&u->name), from->info.stream_seq, m->subject,
                        str_of(u->identity));
    if (source_header_make(&header, m->header, buf_str(&value)))
        out.header = buf_str(&header);
    if (u->mirror && !stream_skip_to(u->s, from->info.stream_seq - 1))
        js_fail(&err, JS_ERR_MIRROR_CONSUMER_SETUP_FAILED, "can not skip messages");
    else
        stream_take_upstream(u->s, &out, from->info.time_ns, u->mirror, &err);
    if (err.kind != JS_OK)
        upstream_give_back(u, u->mirror ? u->s->assigned : before, &err);
    buf_free(&value);
    buf_free(&header);
    buf_free(&subject);
}

static void take_message(struct upstream *u, const struct msg *m)
{
    struct ack_subject from;
    uint64_t before = u->core.sseq, skipped;

    if (!ack_subject_parse(m->reply, &from) || !str_eq(from.consumer, str_of(u->consumer)))
        return;
    switch (upstream_core_message(&u->core, upstream_now(u), from.info.stream_seq,
                                  from.info.consumer_seq, from.info.pending, &skipped)) {
    case UPSTREAM_TAKE:
        store_one(u, m, &from, before);
        upstream_direct_start(u);
        break;
    case UPSTREAM_LOST:
        begin_again(u);
        break;
    default:
        break;
    }
}

static unsigned deliver_messages(struct sink *sink, const struct msg *run, unsigned n)
{
    struct upstream *u = CONTAINER_OF(sink, struct upstream, messages);

    for (unsigned i = 0; i < n; i++) {
        if (u->core.state != UPSTREAM_ACTIVE || u->s->js->stopping)
            break;
        if (is_control(&run[i]))
            take_control(u, &run[i]);
        else
            take_message(u, &run[i]);
    }
    return n;
}

const struct sink_ops upstream_messages_ops = {.deliver = deliver_messages, .kind = "upstream"};
