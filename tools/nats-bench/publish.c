/*
 * publish.c - the publishing roles.
 *
 * A burst is sent, then the connection is polled once: one send carries the burst. With a rate the
 * burst is what is due, and a message's latency counts from the time it was due, so that a stall of
 * the server is charged for every message it held up. Without, the clock is read once a burst and
 * again once a poll: the start is at most a burst too early (counted against the server), the end
 * at most the handling of one read too early.
 */
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"
#include "tools/nats-bench/pace.h"

#include <string.h>

#define FLUSH_BYTES (64u << 10)

static void stamp(struct client *c, uint64_t at)
{
    if (c->b->o.size >= sizeof(at))
        memcpy(c->payload, &at, sizeof(at));
}

/* ---- core ------------------------------------------------------------------------------------ */

static bool nothing_to_set_up(struct client *c)
{
    (void) c;
    return true;
}

/* Sends n messages; false when the output is full or the connection has ended. */
static bool publish_burst(struct client *c, const struct pace *p, uint64_t n, uint64_t now)
{
    bool stamped = c->b->o.mode == MODE_PUBSUB;
    struct midge_msg msg = {.payload = {c->payload, c->b->o.size}};

    for (uint64_t i = 0; i < n; i++) {
        if (stamped)
            stamp(c, pace_due(p, c->messages, now));
        msg.subject = bench_subject(c);
        if (midge_publish(c->m, &msg) != MIDGE_OK)
            return false;
        c->messages++;
    }
    return true;
}

static void run_publish(struct client *c)
{
    struct pace p = pace_of(c);
    uint64_t now = midge_now();

    while (c->messages < c->target && !bench_over(c, now)) {
        uint64_t n = pace_burst(&p, c->messages, c->target - c->messages, now);
        bool room = publish_burst(c, &p, n, now);
        uint64_t wait = room ? pace_wait(&p, c->messages, now) : 10 * MS;
        bench_progress(c);
        if (p.interval_ns > 0 || midge_output(c->m) >= FLUSH_BYTES || !room)
            if (midge_poll(c->m, wait) != MIDGE_OK) {
                bench_fail_connection(c);
                return;
            }
        now = midge_now();
    }
    if (midge_flush(c->m, 60000) != MIDGE_OK)
        bench_fail(c, "the server did not take everything: %s", midge_error(c->m));
    c->bytes = c->messages * c->b->o.size;
    c->last = midge_now();
}

const struct role role_publish = {
    .name = "publish",
    .bounded = true,
    .setup = nothing_to_set_up,
    .run = run_publish,
};

/* ---- JetStream ------------------------------------------------------------------------------- */

struct js_publish {
    struct midge_publisher *publisher;
    uint64_t sent;
    uint64_t oldest;    /* when something was last sent with nothing pending */
    uint64_t polled;    /* when the poll that calls us began to, 0 = not yet read */
    uint64_t sent_at[]; /* by number % window */
};

static void acked(void *ctx, const struct midge_ack *ack)
{
    struct client *c = ctx;
    struct js_publish *j = c->own;

    if (ack->rc == MIDGE_LOST) /* what broke the connection is said elsewhere */
        return;
    if (ack->error != NULL) {
        if (c->errors++ == 0)
            bench_fail(c, "publish %llu: %s", (unsigned long long) ack->number, ack->error);
        return;
    }
    if (j->polled == 0)
        j->polled = midge_now();
    c->messages++;
    hdr_record(c->latency, j->polled - j->sent_at[ack->number % c->b->o.window]);
    c->last = j->polled;
}

static bool setup_js_publish(struct client *c)
{
    struct js_publish *j;
    uint64_t window = c->b->o.window;

    c->own = j = mem_zalloc(sizeof(*j) + window * sizeof(j->sent_at[0]));
    j->publisher = midge_publisher_open(c->m, (unsigned) window, acked, c);
    return true;
}

/* False when the window or the output is full. */
static bool js_publish_burst(struct client *c, const struct pace *p, uint64_t n, uint64_t now)
{
    struct js_publish *j = c->own;
    struct midge_text nothing = {NULL, 0}, payload = {c->payload, c->b->o.size};
    uint64_t window = c->b->o.window;

    for (uint64_t i = 0; i < n; i++) {
        if (midge_publisher_pending(j->publisher) == window ||
            midge_publisher_send(j->publisher, c->b->subjects[c->next_subject], nothing, payload,
                                 NULL) != MIDGE_OK)
            return false;
        bench_subject(c);
        if (midge_publisher_pending(j->publisher) == 1)
            j->oldest = now;
        j->sent_at[j->sent % window] = pace_due(p, j->sent, now);
        j->sent++;
    }
    return true;
}

/* Acknowledgements are owed and none has come for 30 s. */
static bool silent(const struct client *c, uint64_t now)
{
    const struct js_publish *j = c->own;

    return midge_publisher_pending(j->publisher) > 0 && now > c->last + 30 * SECOND &&
           now > j->oldest + 30 * SECOND;
}

static void run_js_publish(struct client *c)
{
    struct js_publish *j = c->own;
    struct pace p = pace_of(c);
    uint64_t now = midge_now();
    int rc = MIDGE_OK;

    /* Everything that was sent is waited for, whatever ended the sending. */
    while (rc == MIDGE_OK && !silent(c, now)) {
        bool over = j->sent == c->target || bench_over(c, now);
        uint64_t n = over ? 0 : pace_burst(&p, j->sent, c->target - j->sent, now);
        bool room = js_publish_burst(c, &p, n, now);
        if (over && midge_publisher_pending(j->publisher) == 0)
            break;
        j->polled = 0;
        rc = midge_poll(c->m, room && !over ? pace_wait(&p, j->sent, now) : 100 * MS);
        bench_progress(c);
        now = midge_now();
    }
    c->bytes = c->messages * c->b->o.size;
    if (rc != MIDGE_OK)
        bench_fail_connection(c);
    else if (midge_publisher_pending(j->publisher) > 0)
        bench_fail(c, "%u publishes are unacknowledged, and no acknowledgement for 30 s",
                   midge_publisher_pending(j->publisher));
    midge_publisher_close(j->publisher);
}

const struct role role_js_publish = {
    .name = "js publish",
    .bounded = true,
    .setup = setup_js_publish,
    .run = run_js_publish,
};
