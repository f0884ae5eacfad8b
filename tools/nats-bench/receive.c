/* receive.c - subscribers, requesters and responders. */
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"

#include <string.h>

/* How long a subscriber waits for stragglers after the publishers have ended. */
#define QUIET_NS SECOND

struct receiver {
    uint64_t polled; /* the time of this poll's first message; 0 = none yet */
    uint64_t first;
};

static void received(void *ctx, const struct midge_msg *msg)
{
    struct client *c = ctx;
    struct receiver *r = c->own;
    uint64_t sent;

    if (r->polled == 0) {
        r->polled = midge_now();
        if (r->first == 0)
            r->first = r->polled;
    }
    c->messages++;
    c->bytes += msg->payload.n;
    if (c->b->o.mode == MODE_PUBSUB && msg->payload.n >= sizeof(sent)) {
        memcpy(&sent, msg->payload.p, sizeof(sent));
        if (sent >= c->b->start && sent <= r->polled)
            hdr_record(c->latency, r->polled - sent);
    }
}

static bool setup_subscribe(struct client *c)
{
    const char *queue = c->b->o.queue;
    char pattern[256];

    bench_pattern(c->b, pattern);
    c->own = mem_zalloc(sizeof(struct receiver));
    if (midge_subscribe(c->m, (struct midge_text){pattern, strlen(pattern)},
                        (struct midge_text){queue, queue != NULL ? strlen(queue) : 0}, received,
                        c) != NULL)
        return true;
    bench_fail_connection(c);
    return false;
}

/* In pubsub: everything that was published has come (queue groups share, so only silence tells), or
 * nothing has for a second. In sub: the deadline, or the count (of all members of a queue group).
 */
static bool enough(struct client *c, uint64_t now)
{
    struct bench *b = c->b;

    if (b->o.mode == MODE_SUB)
        return bench_over(c, now) ||
               (b->o.count > 0 &&
                (b->o.queue != NULL ? atomic_load(&b->total) : c->messages) >= b->o.count);
    if (!atomic_load_explicit(&b->drain, memory_order_relaxed))
        return false;
    return (b->o.queue == NULL && c->messages >= atomic_load(&b->expected)) ||
           now > c->last + QUIET_NS;
}

static void run_subscribe(struct client *c)
{
    struct receiver *r = c->own;
    uint64_t now = midge_now();

    while (!enough(c, now)) {
        uint64_t before = c->messages;
        r->polled = 0;
        if (midge_poll(c->m, 20 * MS) != MIDGE_OK) {
            bench_fail_connection(c);
            break;
        }
        now = midge_now();
        atomic_fetch_add(&c->b->total, c->messages - before);
        if (r->polled != 0)
            c->last = now;
        /* A silent pubsub is over a second after its publishers, not after its start. */
        else if (c->messages == 0 && !atomic_load_explicit(&c->b->drain, memory_order_relaxed))
            c->last = now;
        bench_progress(c);
    }
    if (r->first != 0)
        c->first = r->first;
}

const struct role role_subscribe = {
    .name = "subscribe",
    .waits = true,
    .setup = setup_subscribe,
    .run = run_subscribe,
};

/* ---- requests -------------------------------------------------------------------------------- */

static bool setup_request(struct client *c)
{
    (void) c;
    return true;
}

/* With a rate requests that are late go at once, and their latency counts from when they were due.
 */
static uint64_t wait_for_turn(struct client *c, uint64_t number)
{
    const struct options *o = &c->b->o;
    double interval = (double) o->clients * (double) SECOND / (double) o->rate;
    uint64_t due = c->b->start + (uint64_t) (interval * (double) number);
    uint64_t now = midge_now();

    while (now < due && !bench_over(c, now)) {
        if (midge_poll(c->m, due > now + 2 * MS ? due - now - 2 * MS : 0) != MIDGE_OK)
            break;
        now = midge_now();
    }
    return due;
}

static void run_request(struct client *c)
{
    struct midge_msg msg = {.payload = {c->payload, c->b->o.size}};
    uint64_t now = midge_now();

    for (uint64_t n = 0; n < c->target && !bench_over(c, now); n++) {
        uint64_t from = c->b->o.rate > 0 ? wait_for_turn(c, n) : now;
        int rc;
        msg.subject = bench_subject(c);
        rc = midge_request(c->m, &msg, 5000, NULL, NULL);
        now = midge_now();
        if (rc != MIDGE_OK) {
            bench_fail(c, "request %llu: %s", (unsigned long long) n,
                       rc == MIDGE_NO_RESPONDERS ? "no responders"
                       : rc == MIDGE_TIMEOUT     ? "no reply within 5 s"
                                                 : midge_error(c->m));
            break;
        }
        hdr_record(c->latency, now - from);
        c->messages++;
        c->last = now;
        bench_progress(c);
    }
    c->bytes = c->messages * c->b->o.size;
}

const struct role role_request = {
    .name = "request",
    .bounded = true,
    .setup = setup_request,
    .run = run_request,
};

static void respond(void *ctx, const struct midge_msg *msg)
{
    struct client *c = ctx;

    if (msg->reply.n == 0)
        return;
    c->messages++;
    c->bytes += msg->payload.n;
    if (midge_publish(c->m, &(struct midge_msg){.subject = msg->reply, .payload = msg->payload}) !=
        MIDGE_OK)
        c->errors++;
}

static bool setup_respond(struct client *c)
{
    struct midge_text queue = MIDGE_TEXT("nats-bench");
    char pattern[256];

    bench_pattern(c->b, pattern);
    if (midge_subscribe(c->m, (struct midge_text){pattern, strlen(pattern)}, queue, respond, c) !=
        NULL)
        return true;
    bench_fail_connection(c);
    return false;
}

static void run_respond(struct client *c)
{
    while (!atomic_load_explicit(&c->b->drain, memory_order_relaxed)) {
        if (midge_poll(c->m, 20 * MS) != MIDGE_OK) {
            bench_fail_connection(c);
            return;
        }
    }
    c->last = midge_now();
}

const struct role role_respond = {
    .name = "respond",
    .waits = true,
    .setup = setup_respond,
    .run = run_respond,
};
