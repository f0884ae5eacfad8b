/*
 * consume.c - consumers of a stream: pull, push, ordered.
 *
 * Pull clients share one consumer, push clients share one as a queue group; their end is a total of
 * all of them. Ordered clients read the whole stream each; a gap in the consumer's sequence means
 * that the connection lost messages, and a new consumer starts behind the last good one, as the
 * client libraries do. Latencies are recorded of messages stored after the start: from the stream's
 * time to ours, on one machine the delivery of live messages.
 */
#include "lib/base/mem.h"
#include "tools/nats-bench/bench.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct consumer {
    bool acks;
    bool gap;
    unsigned generation;
    uint64_t stream_seq, consumer_seq; /* ordered: of the last message */
    int64_t wall;                      /* of this poll, 0 = not yet read */
    uint64_t goal;
    char deliver[96];
    struct midge_push *push;
};

static void count_delivery(struct client *c, const struct midge_delivery *d)
{
    struct consumer *k = c->own;

    c->messages++;
    c->bytes += d->msg.payload.n;
    if (d->time_ns < c->b->wall_start)
        return;
    if (k->wall == 0) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        k->wall = (int64_t) t.tv_sec * (int64_t) SECOND + t.tv_nsec;
    }
    if (k->wall > d->time_ns)
        hdr_record(c->latency, (uint64_t) (k->wall - d->time_ns));
}

static void delivered(void *ctx, const struct midge_delivery *d)
{
    struct client *c = ctx;
    struct consumer *k = c->own;

    count_delivery(c, d);
    if (k->acks)
        midge_ack(c->m, d->msg.reply);
}

static bool setup_consumer(struct client *c)
{
    struct consumer *k = mem_zalloc(sizeof(*k));

    c->own = k;
    k->acks = strcmp(c->b->o.ack, "explicit") == 0;
    return true;
}

/* Polls until the goal of all clients together, the deadline, or the end of the pull. */
static void consume_shared(struct client *c, const struct midge_pull *pull)
{
    struct consumer *k = c->own;
    uint64_t now = midge_now(), counted = c->messages;

    /* What came while the consumer was being created. */
    atomic_fetch_add(&c->b->total, counted);
    while (!bench_over(c, now) && atomic_load(&c->b->total) < c->b->goal) {
        k->wall = 0;
        if (midge_poll(c->m, 20 * MS) != MIDGE_OK) {
            bench_fail_connection(c);
            return;
        }
        now = midge_now();
        if (c->messages != counted) {
            c->last = now;
            atomic_fetch_add(&c->b->total, c->messages - counted);
            counted = c->messages;
            bench_progress(c);
        }
        if (pull != NULL && midge_pull_error(pull) != NULL) {
            bench_fail(c, "%s", midge_pull_error(pull));
            return;
        }
    }
    /* The acknowledgements count only when the server has them. */
    if (k->acks && midge_flush(c->m, 30000) != MIDGE_OK)
        bench_fail(c, "the last acknowledgements: %s", midge_error(c->m));
    else if (k->acks && c->messages > 0)
        c->last = midge_now();
}

static void run_pull(struct client *c)
{
    struct midge_pull *pull = midge_pull_open(c->m, c->b->o.stream, c->b->consumer,
                                              (unsigned) c->b->o.batch, delivered, c);

    consume_shared(c, pull);
    midge_pull_close(pull);
}

const struct role role_pull = {.name = "js pull", .setup = setup_consumer, .run = run_pull};

/* ---- push ------------------------------------------------------------------------------------ */

/* A queue group subscribes before its consumer exists: nothing flows before the start. */
static bool setup_push(struct client *c)
{
    const struct bench *b = c->b;
    struct midge_text group = {"bench", b->o.clients > 1 ? 5 : 0};
    struct consumer *k;

    setup_consumer(c);
    k = c->own;
    snprintf(k->deliver, sizeof(k->deliver), "_INBOX.%s", b->consumer);
    k->push = midge_push_open(c->m, (struct midge_text){k->deliver, strlen(k->deliver)}, group,
                              delivered, c);
    return true;
}

static bool create_push(struct client *c)
{
    struct consumer *k = c->own;
    struct bench *b = c->b;
    bool group = b->o.clients > 1;
    char settings[512], durable[96] = "";

    if (b->o.consumer != NULL)
        snprintf(durable, sizeof(durable), "\"durable_name\":\"%.60s\",", b->o.consumer);
    snprintf(settings, sizeof(settings),
             "%s\"deliver_subject\":\"%s\",%s\"ack_policy\":\"%s\",\"max_ack_pending\":%d%"
             "s," JETSTREAM_DELIVER_ALL,
             durable, k->deliver, group ? "\"deliver_group\":\"bench\"," : "", b->o.ack,
             k->acks ? -1 : 0, group ? "" : ",\"flow_control\":true,\"idle_heartbeat\":5000000000");
    if (jetstream_create_consumer(b, c->m, b->consumer, settings, NULL) != MIDGE_OK) {
        bench_fail(c, "creating the consumer: %s", midge_error(c->m));
        return false;
    }
    b->consumer_made = true;
    return true;
}

static void run_push(struct client *c)
{
    struct consumer *k = c->own;

    if (c->index > 0 || create_push(c))
        consume_shared(c, NULL);
    midge_push_close(k->push);
}

const struct role role_push = {.name = "js push", .setup = setup_push, .run = run_push};

/* ---- ordered --------------------------------------------------------------------------------- */

static void in_order(void *ctx, const struct midge_delivery *d)
{
    struct client *c = ctx;
    struct consumer *k = c->own;

    if (k->gap || d->consumer_seq != k->consumer_seq + 1) {
        k->gap = true;
        return;
    }
    k->consumer_seq++;
    k->stream_seq = d->stream_seq;
    count_delivery(c, d);
}

static bool open_ordered(struct client *c)
{
    struct consumer *k = c->own;
    char name[128], settings[512], start[96];

    snprintf(name, sizeof(name), "%s-%u-%u", c->b->consumer, c->index, k->generation++);
    snprintf(k->deliver, sizeof(k->deliver), "_INBOX.%.80s", name);
    k->gap = false;
    k->consumer_seq = 0;
    k->push = midge_push_open(c->m, (struct midge_text){k->deliver, strlen(k->deliver)},
                              (struct midge_text){NULL, 0}, in_order, c);
    if (k->stream_seq == 0)
        snprintf(start, sizeof(start), "%s", JETSTREAM_DELIVER_ALL);
    else
        snprintf(start, sizeof(start),
                 "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%llu",
                 (unsigned long long) k->stream_seq + 1);
    snprintf(settings, sizeof(settings),
             "\"deliver_subject\":\"%s\",\"ack_policy\":\"none\",\"max_deliver\":1,"
             "\"mem_storage\":true,\"num_replicas\":1,\"flow_control\":true,"
             "\"idle_heartbeat\":5000000000,%s",
             k->deliver, start);
    if (jetstream_create_consumer(c->b, c->m, name, settings, NULL) == MIDGE_OK)
        return true;
    bench_fail(c, "creating the consumer: %s", midge_error(c->m));
    return false;
}

static void close_ordered(struct client *c)
{
    struct consumer *k = c->own;
    char subject[256];

    midge_push_close(k->push);
    snprintf(subject, sizeof(subject), "CONSUMER.DELETE.%.80s.%s-%u-%u", c->b->o.stream,
             c->b->consumer, c->index, k->generation - 1);
    midge_js_api(c->m, subject, NULL, 5000, NULL);
}

static void run_ordered(struct client *c)
{
    struct consumer *k = c->own;
    uint64_t now = midge_now();

    if (!open_ordered(c))
        return;
    while (!bench_over(c, now) && c->messages < c->b->goal) {
        k->wall = 0;
        if (midge_poll(c->m, 20 * MS) != MIDGE_OK) {
            bench_fail_connection(c);
            return;
        }
        if (c->messages > c->progress)
            c->last = midge_now();
        bench_progress(c);
        now = midge_now();
        if (k->gap) {
            c->errors++;
            close_ordered(c);
            if (!open_ordered(c))
                return;
        }
    }
    close_ordered(c);
}

const struct role role_ordered = {
    .name = "js ordered", .setup = setup_consumer, .run = run_ordered};
