/*
 * batch_fast.c - fast-ingest batches: messages are stored as they come, one by one, and answered a
 * few hundred at a time. The reply subject of each says its place (fast_reply.h).
 *
 * Answers, all to the reply subject of the message that causes them:
 *     {"type":"ack","seq":N,"msgs":M}      all up to N of the batch are durable (with gaps, when
 * the publisher allows them); the next one comes after M more
 *     {"type":"gap","last_seq":E,"seq":N}  N came where E was expected
 *     {"type":"err","seq":N,"error":{..}}  N was refused
 *     a PubAck with "batch" and "count"    the end: by a commit, or where a gap or an error has
 * ended a batch that allows none M starts at what the publisher names, at most 500, when it is
 * alone in the stream, else at 1; with each acknowledgement it doubles or halves towards its share
 * of 500.
 *
 * Acknowledgements go into the stream's hold like PubAcks: they leave with the commit that makes
 * them true. Appending is all that is left to do with a message when it is taken, so a batch is one
 * number, the last sequence, and what was acknowledged. When a commit fails the stream forgets its
 * fast batches: their publishers hear the failure instead of their acknowledgement, and then that
 * the batch is not known.
 */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/batches.h"
#include "server/js/fast_reply.h"
#include "server/js/stream_int.h"

#include <string.h>

/* Messages between two acknowledgements, over all fast batches of a stream. */
#define FLOW_SHARED 500u

struct fast_batch {
    struct hmap_node node;
    struct stream *s;
    struct wheel_timer silent;
    uint64_t heard_at; /* when the last message came; the timer looks at it when it fires */
    struct fast_next next;
    uint64_t last;   /* sequence in the batch that came last */
    uint64_t acked;  /* ... that the publisher was told of */
    uint64_t stored; /* sequence in the stream */
    uint64_t waited; /* sequence in the batch that had to wait, its gap or start is answered */
    uint16_t flow, max_flow;
    bool gap_ok;
    size_t id_n;
    char id[BATCH_ID_MAX];
};

/* ---- life ------------------------------------------------------------------------------------ */

static void fast_free(struct fast_batch *b)
{
    struct stream *s = b->s;

    io_timer_stop(s->js->env->io, &b->silent);
    hmap_remove(&s->batches->fast, &b->node);
    if (s->batches->heard == b)
        s->batches->heard = NULL;
    atomic_fetch_sub(&s->js->shared->server->fast_batches, 1);
    mem_free(b);
}

static uint64_t end_of_patience(const struct fast_batch *b)
{
    return b->heard_at + (uint64_t) b->s->js->env->options->js_batch_timeout_ns;
}

static void timed_out(struct wheel_timer *t)
{
    struct fast_batch *b = CONTAINER_OF(t, struct fast_batch, silent);
    struct io *io = b->s->js->env->io;

    if (end_of_patience(b) > io_now(io))
        io_timer_start(io, &b->silent, end_of_patience(b));
    else
        fast_free(b);
}

static struct fast_batch *fast_find(struct stream *s, struct str id)
{
    uint64_t h = hash_bytes(id.p, id.n, 0);

    for (struct hmap_node *n = hmap_first(&stream_batches(s)->fast, h); n != NULL;
         n = hmap_next(n, h)) {
        struct fast_batch *b = CONTAINER_OF(n, struct fast_batch, node);
        if (b->id_n == id.n && memcmp(b->id, id.p, id.n) == 0)
            return b;
    }
    return NULL;
}

static struct fast_batch *fast_new(struct stream *s, const struct fast_reply *f)
{
    const struct options *o = s->js->env->options;
    struct fast_batch *b;

    if (s->batches->fast.count >= o->js_fast_inflight_per_stream)
        return NULL;
    if (atomic_fetch_add(&s->js->shared->server->fast_batches, 1) >= o->js_fast_inflight_total) {
        atomic_fetch_sub(&s->js->shared->server->fast_batches, 1);
        return NULL;
    }
    b = mem_zalloc(sizeof(*b));
    b->s = s;
    b->gap_ok = f->gap_ok;
    b->max_flow = f->flow;
    b->flow = f->flow < FLOW_SHARED ? f->flow : FLOW_SHARED;
    if (s->batches->fast.count > 0)
        b->flow = 1;
    b->id_n = f->id.n;
    memcpy(b->id, f->id.p, f->id.n);
    b->heard_at = io_now(s->js->env->io);
    wheel_timer_init(&b->silent, timed_out);
    io_timer_start(s->js->env->io, &b->silent, end_of_patience(b));
    hmap_insert(&s->batches->fast, &b->node, hash_bytes(b->id, b->id_n, 0));
    return b;
}

void batch_fast_drop_all(struct stream *s)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (s->batches != NULL && (n = hmap_each(&s->batches->fast, &it)) != NULL)
        fast_free(CONTAINER_OF(n, struct fast_batch, node));
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer(struct stream *s, struct str to, struct buf *text)
{
    ingest_text(s, to, buf_str(text));
    buf_free(text);
}

static void put_ack(struct fast_batch *b, uint64_t seq, struct buf *text)
{
    buf_printf(text, "{\"type\":\"ack\",\"seq\":%llu,\"msgs\":%u}", (unsigned long long) seq,
               b->flow);
}

static void send_ack(struct fast_batch *b, struct str to)
{
    struct buf text = {0};

    put_ack(b, b->acked, &text);
    answer(b->s, to, &text);
}

static void send_gap(struct fast_batch *b, struct str to, uint64_t expected, uint64_t seq)
{
    struct buf text = {0};

    buf_printf(&text, "{\"type\":\"gap\",\"last_seq\":%llu,\"seq\":%llu}",
               (unsigned long long) expected, (unsigned long long) seq);
    answer(b->s, to, &text);
}

static void send_refusal(struct fast_batch *b, struct str to, uint64_t seq,
                         const struct js_error *err)
{
    struct buf text = {0};

    buf_printf(&text, "{\"type\":\"err\",\"seq\":%llu,", (unsigned long long) seq);
    js_error_put(&text, err);
    buf_putc(&text, '}');
    answer(b->s, to, &text);
}

/* The end. */
static void finish(struct fast_batch *b, struct str to)
{
    ingest_batch_ack(b->s, to, b->stored, str_from(b->id, b->id_n), b->last);
    fast_free(b);
}

/* Towards this batch's share. */
static void adjust_flow(struct fast_batch *b)
{
    unsigned share = FLOW_SHARED / (unsigned) b->s->batches->fast.count;
    unsigned flow = b->flow;

    if (share < 1)
        share = 1;
    if (share > b->max_flow)
        share = b->max_flow;
    if (flow < share)
        flow = 2 * flow < share ? 2 * flow : share;
    else if (flow > share)
        flow = flow / 2 > share ? flow / 2 : share;
    b->flow = (uint16_t) flow;
}

/* Acknowledges when enough has come since the last time. One answer for several steps. */
static bool check_flow(struct fast_batch *b, struct str to)
{
    uint64_t steps = (b->last - b->acked) / b->flow;

    if (steps == 0)
        return false;
    b->acked += steps * b->flow;
    adjust_flow(b);
    send_ack(b, to);
    return true;
}

/* ---- taking ---------------------------------------------------------------------------------- */

static void ping(struct fast_batch *b, const struct fast_reply *f, struct str to)
{
    if (f->seq > b->last) {
        send_gap(b, to, b->last + 1, f->seq + 1);
        if (!b->gap_ok) {
            finish(b, to);
            return;
        }
        b->last = f->seq;
        if (check_flow(b, to))
            return;
    }
    send_ack(b, to);
}

/* Is it the message that comes next? If not, the batch may have ended. */
static bool in_order(struct fast_batch *b, const struct fast_reply *f, struct str to)
{
    uint64_t expected = b->last + 1;

    if (f->seq != expected && f->seq != b->waited)
        send_gap(b, to, expected, f->seq);
    if (f->seq == expected || (f->seq > expected && b->gap_ok)) {
        b->last = f->seq;
        return true;
    }
    finish(b, to);
    return false;
}

static void refused_first(struct fast_batch *b, const struct fast_reply *f, struct str to,
                          const struct verdict *v)
{
    if (v->duplicate_of != 0)
        ingest_batch_duplicate(b->s, to, v->duplicate_of, f->id, f->seq);
    else
        ingest_error(b->s, to, &v->error);
    fast_free(b);
}

/* The message was not stored. A duplicate counts as one that was. */
static void refused(struct fast_batch *b, const struct fast_reply *f, struct str to,
                    const struct verdict *v)
{
    bool duplicate = v->duplicate_of != 0;

    if (duplicate) {
        check_flow(b, to);
        if (!f->commit)
            return;
    }
    if (!f->gap_ok && b->last == 1) {
        refused_first(b, f, to, v);
        return;
    }
    if (!duplicate)
        send_refusal(b, to, f->seq, &v->error);
    if (f->gap_ok && !f->commit)
        return;
    if (!duplicate)
        b->last--;
    finish(b, to);
}

/* False when it has to wait. */
static bool store(struct fast_batch *b, const struct fast_reply *f, const struct msg *m,
                  int64_t now)
{
    struct verdict v;
    uint64_t seq;
    bool waits;

    verdict_init(&v, m, false);
    v.batched = true;
    if (!ingest_put(b->s, m, &v, now, &seq)) {
        if (!v.waits)
            refused(b, f, m->reply, &v);
    } else {
        b->stored = seq;
        if (f->commit) {
            finish(b, m->reply);
        } else {
            fast_next_set(&b->next, m->reply, f);
            b->s->batches->heard = b;
            check_flow(b, m->reply);
        }
    }
    waits = v.waits;
    verdict_free(&v);
    return !waits;
}

/* False when it has to wait: it did not come yet, but for what was answered to its place. */
static bool take(struct fast_batch *b, const struct fast_reply *f, const struct msg *m, int64_t now)
{
    uint64_t before = b->last;

    b->heard_at = io_now(b->s->js->env->io);
    if (f->ping) {
        ping(b, f, m->reply);
        return true;
    }
    if (!in_order(b, f, m->reply))
        return true;
    if (f->eob) {
        b->last--; /* the marker is no message */
        finish(b, m->reply);
        return true;
    }
    if (f->seq == 1 && !f->commit && !b->s->config.no_ack && b->waited != 1) {
        struct buf text = {0};
        put_ack(b, 0, &text);
        js_publish(b->s->js, m->reply, STR_NONE, STR_NONE, buf_str(&text));
        buf_free(&text);
    }
    if (store(b, f, m, now))
        return true;
    b->last = before;
    b->waited = f->seq;
    return false;
}

static struct fast_batch *find_or_begin(struct stream *s, const struct fast_reply *f,
                                        struct js_error *err)
{
    struct fast_batch *b = fast_find(s, f->id);

    if (b != NULL)
        return b;
    if (f->seq != 1 || f->ping) {
        js_fail(err, JS_ERR_BATCH_PUBLISH_UNKNOWN_BATCH_ID, NULL);
        return NULL;
    }
    b = fast_new(s, f);
    if (b == NULL)
        js_fail(err, JS_ERR_BATCH_PUBLISH_TOO_MANY_INFLIGHT, NULL);
    return b;
}

/* Without the header that asks for an API level, when it has one. */
static bool check_level(struct fast_batch **b, struct msg *m, struct buf *header,
                        struct js_error *err)
{
    bool level;

    if (!batch_level_met(m->header, &level)) {
        fast_free(*b);
        *b = NULL;
        return js_fail(err, JS_ERR_REQUIRED_API_LEVEL, NULL);
    }
    if (level) {
        header_remove(header, m->header, STR("Nats-Required-Api-Level"));
        m->header = buf_str(header);
    }
    return true;
}

bool batch_fast_take(struct stream *s, const struct msg *m, int64_t now)
{
    struct js_error err = {0};
    struct buf header = {0};
    struct fast_batch *b = NULL;
    struct msg plain = *m;
    struct fast_reply f;
    bool taken = true;

    if (!batch_check_stream(s, m, &err))
        ;
    else if (!s->config.allow_batched)
        js_fail(&err, JS_ERR_BATCH_PUBLISH_DISABLED, NULL);
    else if (!fast_reply_parse(m->reply, &f))
        js_fail(&err, JS_ERR_BATCH_PUBLISH_INVALID_PATTERN, NULL);
    else if (f.id.n > BATCH_ID_MAX)
        js_fail(&err, JS_ERR_BATCH_PUBLISH_INVALID_BATCH_ID, NULL);
    else
        b = find_or_begin(s, &f, &err);
    if (b != NULL && check_level(&b, &plain, &header, &err))
        taken = take(b, &f, &plain, now);
    else if (!s->config.no_ack)
        ingest_error(s, m->reply, &err);
    buf_free(&header);
    return taken;
}

bool batch_fast_append(struct stream *s, const struct msg *m, int64_t now)
{
    struct fast_batch *b = s->batches != NULL ? s->batches->heard : NULL;
    struct store_append a = {.subject = m->subject, .payload = m->payload, .ts = now};

    if (b == NULL || !fast_next_is(&b->next, m->reply) ||
        store_append(s->store, &a, &b->stored) != ERR_OK)
        return false;
    s->assigned = b->stored;
    fast_next_step(&b->next);
    b->heard_at = io_now(s->js->env->io);
    b->last++;
    check_flow(b, m->reply);
    return true;
}
