/*
 * consumer_state.c - encoding of consumer_state.h, and the replay of logs.
 *
 * Replaying repeats what consumer_core.c did when it logged the operation, without timers, effects
 * or pulls: the same final delivered, floor, next_seq and pending set. tests/unit/js compares the
 * two on random histories.
 */
#include "server/js/consumer_state.h"

#include "lib/base/varint.h"
#include "server/js/consumer_core.h"

#define STATE_VERSION 2u
/* Without what was given up. */
#define STATE_VERSION_OLD 1u
/* A pending count above this is damage, not a consumer. */
#define PENDING_MAX (1u << 28)

/* ---- the log --------------------------------------------------------------------------------- */

static void flush_run(struct consumer_core *c)
{
    bool run = c->run_count > 1;

    if (c->run_op == OP_NONE)
        return;
    varint_put_buf(&c->log, c->run_op * 2u + (run ? 1u : 0u));
    varint_put_buf(&c->log, zigzag((int64_t) (c->run_first - c->log_prev)));
    if (run)
        varint_put_buf(&c->log, c->run_count);
    c->log_prev = c->run_first + c->run_count - 1;
    c->run_op = OP_NONE;
}

void consumer_log(struct consumer_core *c, unsigned op, uint64_t seq)
{
    if (c->run_op == op && seq == c->run_first + c->run_count) {
        c->run_count++;
        return;
    }
    flush_run(c);
    c->run_op = op;
    c->run_first = seq;
    c->run_count = 1;
}

void consumer_state_take_log(struct consumer_core *c, struct buf *out)
{
    flush_run(c);
    buf_put(out, c->log.p, c->log.n);
    buf_clear(&c->log);
    c->log_prev = 0;
}

bool consumer_state_has_log(const struct consumer_core *c)
{
    return c->run_op != OP_NONE || c->log.n > 0;
}

/* ---- full records ---------------------------------------------------------------------------- */

void consumer_state_encode(const struct consumer_core *c, struct buf *out)
{
    uint64_t sseq = 0, dseq = 0;

    varint_put_buf(out, STATE_VERSION);
    varint_put_buf(out, c->delivered.consumer);
    varint_put_buf(out, c->delivered.stream);
    varint_put_buf(out, c->floor.consumer);
    varint_put_buf(out, c->floor.stream);
    varint_put_buf(out, c->next_seq);
    varint_put_buf(out, c->pending.count);
    LIST_FOREACH(l, &c->pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        varint_put_buf(out, p->sseq - sseq);
        varint_put_buf(out, zigzag((int64_t) (p->dseq - dseq)));
        varint_put_buf(out, p->deliveries);
        sseq = p->sseq;
        dseq = p->dseq;
    }
    seqset_encode(&c->given_up, out);
}

void consumer_state_checkpoint(struct consumer_core *c, struct buf *out)
{
    consumer_state_encode(c, out);
    c->run_op = OP_NONE;
    buf_clear(&c->log);
    c->log_prev = 0;
}

static void restore_pending(struct consumer_core *c, uint64_t sseq, uint64_t dseq,
                            uint64_t deliveries)
{
    struct pend *p = pend_add(&c->pending, sseq);

    p->core = c;
    p->dseq = dseq;
    p->deliveries = deliveries;
    wheel_timer_init(&p->due, NULL);
    if (deliveries > 1)
        c->num_redelivered++;
}

static bool take_pending(struct consumer_core *c, struct str *in)
{
    uint64_t count, step, dstep, deliveries, sseq = 0, dseq = 0;

    if (!varint_take(in, &count) || count > PENDING_MAX)
        return false;
    if (count > 0 && c->rules.ack_policy == ACK_NONE)
        return false;
    for (; count > 0; count--) {
        if (!varint_take(in, &step) || !varint_take(in, &dstep) || !varint_take(in, &deliveries))
            return false;
        sseq += step;
        dseq += (uint64_t) unzigzag(dstep);
        if (step == 0 || sseq <= c->floor.stream || sseq > c->delivered.stream)
            return false;
        restore_pending(c, sseq, dseq, deliveries);
    }
    return true;
}

/* Nothing that is pending, and nothing that was not delivered. */
static bool take_given_up(struct consumer_core *c, struct str in)
{
    uint64_t min, max;

    if (!seqset_decode(&c->given_up, in))
        return false;
    if (seqset_bounds(&c->given_up, &min, &max) && (min == 0 || max > c->delivered.stream))
        return false;
    LIST_FOREACH(l, &c->pending.order)
    if (seqset_has(&c->given_up, LIST_ENTRY(l, struct pend, order)->sseq))
        return false;
    return true;
}

bool consumer_state_decode(struct consumer_core *c, struct str in)
{
    uint64_t version;

    if (!varint_take(&in, &version) || version < STATE_VERSION_OLD || version > STATE_VERSION)
        return false;
    if (!varint_take(&in, &c->delivered.consumer) || !varint_take(&in, &c->delivered.stream) ||
        !varint_take(&in, &c->floor.consumer) || !varint_take(&in, &c->floor.stream) ||
        !varint_take(&in, &c->next_seq))
        return false;
    if (c->floor.stream > c->delivered.stream || c->floor.consumer > c->delivered.consumer ||
        c->delivered.stream >= c->next_seq)
        return false;
    if (!take_pending(c, &in))
        return false;
    return version == STATE_VERSION_OLD ? in.n == 0 : take_given_up(c, in);
}

/* ---- replay ---------------------------------------------------------------------------------- */

static void settle_floor(struct consumer_core *c)
{
    const struct pend *oldest = pend_first(&c->pending);

    if (oldest == NULL) {
        c->floor = c->delivered;
        return;
    }
    if (oldest->sseq - 1 > c->floor.stream)
        c->floor.stream = oldest->sseq - 1;
    if (oldest->dseq - 1 > c->floor.consumer)
        c->floor.consumer = oldest->dseq - 1;
}

static void forget(struct consumer_core *c, struct pend *p)
{
    if (p->deliveries > 1)
        c->num_redelivered--;
    pend_remove(&c->pending, p);
}

static void replay_deliver(struct consumer_core *c, uint64_t seq)
{
    c->delivered.consumer++;
    c->delivered.stream = seq;
    c->next_seq = seq + 1;
    if (c->rules.ack_policy == ACK_NONE)
        c->floor = c->delivered;
    else
        restore_pending(c, seq, c->delivered.consumer, 1);
}

static void replay_redeliver(struct consumer_core *c, uint64_t seq)
{
    struct pend *p = pend_find(&c->pending, seq);

    c->delivered.consumer++;
    if (p != NULL && ++p->deliveries == 2)
        c->num_redelivered++;
}

static void replay_ack_all(struct consumer_core *c, uint64_t seq)
{
    struct pend *p;

    while ((p = pend_first(&c->pending)) != NULL && p->sseq <= seq) {
        c->floor.consumer = p->dseq;
        forget(c, p);
    }
    seqset_remove(&c->given_up, 1, seq);
    c->floor.stream = seq;
    settle_floor(c);
}

static void replay_forget(struct consumer_core *c, uint64_t seq, bool acked)
{
    struct pend *p = pend_find(&c->pending, seq);

    if (p != NULL)
        forget(c, p);
    else
        seqset_remove(&c->given_up, seq, seq);
    /* One that was given up and has gone leaves the floor where it was. */
    if (p != NULL || acked)
        settle_floor(c);
}

static void replay_take_back(struct consumer_core *c, uint64_t seq)
{
    struct pend *p = pend_find(&c->pending, seq);

    if (p != NULL && p->deliveries > 0 && --p->deliveries == 1)
        c->num_redelivered--;
}

static void replay_give_up(struct consumer_core *c, uint64_t seq)
{
    struct pend *p = pend_find(&c->pending, seq);

    if (p != NULL) {
        forget(c, p);
        seqset_add(&c->given_up, seq, seq);
    }
    settle_floor(c);
}

/* False when the operation makes no sense at this point: the log is damaged. */
static bool replay(struct consumer_core *c, unsigned op, uint64_t seq)
{
    switch (op) {
    case OP_DELIVER:
        if (seq < c->next_seq || seq == UINT64_MAX || c->pending.count >= PENDING_MAX)
            return false;
        replay_deliver(c, seq);
        return true;
    case OP_REDELIVER:
        replay_redeliver(c, seq);
        return true;
    case OP_ACK_ALL:
        if (seq == 0 || seq >= c->next_seq)
            return false;
        replay_ack_all(c, seq);
        return true;
    case OP_ACK:
    case OP_DROP:
        replay_forget(c, seq, op == OP_ACK);
        return true;
    case OP_GIVE_UP:
        replay_give_up(c, seq);
        return true;
    case OP_TAKE_BACK:
        replay_take_back(c, seq);
        return true;
    default:
        return false;
    }
}

bool consumer_state_apply(struct consumer_core *c, struct str log)
{
    uint64_t prev = 0;

    while (log.n > 0) {
        uint64_t head, step, count = 1;
        if (!varint_take(&log, &head) || !varint_take(&log, &step))
            return false;
        if ((head & 1) != 0 && (!varint_take(&log, &count) || count > PENDING_MAX))
            return false;
        prev += (uint64_t) unzigzag(step);
        for (uint64_t i = 0; i < count; i++)
            if (!replay(c, (unsigned) (head / 2), prev + i))
                return false;
        prev += count - 1;
    }
    return true;
}

void consumer_state_resume(struct consumer_core *c, uint64_t now)
{
    c->now = now;
    LIST_FOREACH(l, &c->pending.order)
    {
        struct pend *p = LIST_ENTRY(l, struct pend, order);
        consumer_core_restart_wait(p);
    }
}
