/*
 * fast.c - js pub --fast: one fast-ingest batch per client (midge_batch.h). An acknowledgement
 * comes for some hundred messages at a time.
 *
 * Latency is that of the last message that an acknowledgement names: from when it was due, without
 * a rate from its send, to the end of the poll that brought the acknowledgement.
 */
#include "client/midge_batch.h"
#include "lib/base/mem.h"
#include "tools/nats-bench/pace.h"

struct fast {
    struct midge_ingest *batch;
    uint64_t sent, acked;
    uint64_t sent_at[]; /* by number % window */
};

static bool setup(struct client *c)
{
    struct midge_ingest_options o = {.window = (unsigned) c->b->o.window};
    struct fast *f = c->own = mem_zalloc(sizeof(*f) + c->b->o.window * sizeof(f->sent_at[0]));

    f->batch = midge_ingest_open(c->m, &o, c);
    return true;
}

/* MIDGE_FULL when the window or the output is full. */
static int send_some(struct client *c, const struct pace *p, uint64_t n, uint64_t now)
{
    struct fast *f = c->own;
    struct midge_text nothing = {NULL, 0}, payload = {c->payload, c->b->o.size};
    int rc = MIDGE_OK;

    for (uint64_t i = 0; i < n; i++) {
        rc = midge_ingest_add(f->batch, c->b->subjects[c->next_subject], nothing, payload);
        if (rc != MIDGE_OK)
            return rc;
        bench_subject(c);
        f->sent_at[f->sent % c->b->o.window] = pace_due(p, f->sent, now);
        f->sent++;
    }
    return rc;
}

static void note_acks(struct client *c, uint64_t now)
{
    struct fast *f = c->own;
    uint64_t acked = midge_ingest_acked(f->batch);

    if (acked == f->acked || acked > f->sent)
        return;
    hdr_record(c->latency, now - f->sent_at[(acked - 1) % c->b->o.window]);
    c->messages = f->acked = acked;
    c->last = now;
}

static void commit(struct client *c)
{
    struct fast *f = c->own;
    struct midge_puback ack;

    if (f->sent == 0)
        return;
    if (midge_ingest_commit(f->batch, &ack) != MIDGE_OK) {
        bench_fail(c, "batch: %s", midge_error(c->m));
        return;
    }
    note_acks(c, midge_now());
    if (f->acked != f->sent)
        bench_fail(c, "the batch has %llu messages of %llu", (unsigned long long) ack.batch_size,
                   (unsigned long long) f->sent);
}

static void run(struct client *c)
{
    struct fast *f = c->own;
    struct pace p = pace_of(c);
    uint64_t now = midge_now(), heard_at = now;
    int rc = MIDGE_OK;

    while (f->sent < c->target && !bench_over(c, now) && (rc == MIDGE_OK || rc == MIDGE_FULL)) {
        uint64_t before = f->acked, wait;
        rc = send_some(c, &p, pace_burst(&p, f->sent, c->target - f->sent, now), now);
        wait = rc == MIDGE_FULL ? 100 * MS : pace_wait(&p, f->sent, now);
        if ((rc == MIDGE_OK || rc == MIDGE_FULL) && midge_poll(c->m, wait) != MIDGE_OK)
            rc = MIDGE_LOST;
        bench_progress(c);
        now = midge_now();
        note_acks(c, now);
        if (f->acked != before || f->sent == f->acked)
            heard_at = now;
        else if (now > heard_at + 30 * SECOND)
            rc = MIDGE_TIMEOUT;
    }
    if (rc == MIDGE_OK || rc == MIDGE_FULL)
        commit(c);
    else
        bench_fail(c, "batch: %s",
                   rc == MIDGE_TIMEOUT ? "no acknowledgement for 30 s" : midge_error(c->m));
    c->bytes = c->messages * c->b->o.size;
    midge_ingest_close(f->batch);
}

const struct role role_js_fast = {
    .name = "js fast",
    .bounded = true,
    .setup = setup,
    .run = run,
};
