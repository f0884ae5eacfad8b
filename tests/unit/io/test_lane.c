/*
 * Lanes: order, fences, the mark and the overflow in one thread, then two threads that sleep and
 * wake for real.
 */
#include "lib/io/io.h"
#include "lib/io/lane.h"
#include "tests/lib/runner.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct lane_item item;
    uint64_t number;
};

static struct io *open_io(void)
{
    struct io_config config;
    struct io *io;

    io_config_init(&config);
    config.backend = IO_BACKEND_EVENT;
    ck_assert_int_eq(io_open(&config, &io), 0);
    return io;
}

static void push(struct lane *l, uint64_t number, uint32_t bytes)
{
    struct item *it = malloc(sizeof(*it));

    it->item.bytes = bytes;
    it->item.kind = 1;
    it->number = number;
    lane_push(l, &it->item);
}

static uint64_t take(struct lane *l)
{
    struct lane_item *item = lane_pop(l);
    struct item *it = CONTAINER_OF(item, struct item, item);
    uint64_t number;

    ck_assert_ptr_nonnull(item);
    number = it->number;
    lane_done(l, item);
    free(it);
    return number;
}

TEST(nothing_before_the_flush)
{
    struct io *io = open_io();
    struct lane *l = lane_open(io, 4, 100);

    ck_assert(lane_empty(l));
    push(l, 1, 10);
    ck_assert(lane_empty(l));
    ck_assert_ptr_null(lane_pop(l));
    ck_assert_uint_eq(lane_sent(l), 1);
    lane_flush(l);
    ck_assert(!lane_empty(l));
    ck_assert_uint_eq(take(l), 1);
    ck_assert(lane_empty(l));
    ck_assert_uint_eq(lane_consumed(l), 1);
    lane_close(l);
    io_close(io);
}

/* Through the ring and the list in every proportion, with flushes in between, order stays. */
TEST(order_survives_the_overflow)
{
    struct io *io = open_io();
    struct lane *l = lane_open(io, 4, 100);
    uint64_t sent = 0, got = 0;

    for (unsigned round = 0; round < 200; round++) {
        for (unsigned k = 0; k < (round * 7) % 11; k++)
            push(l, sent++, 1);
        if (round % 3 != 0)
            lane_flush(l);
        for (unsigned k = 0; k < (round * 5) % 9 && !lane_empty(l); k++)
            ck_assert_uint_eq(take(l), got++);
    }
    while (got < sent) {
        lane_flush(l);
        while (!lane_empty(l))
            ck_assert_uint_eq(take(l), got++);
    }
    ck_assert_uint_eq(lane_sent(l), sent);
    ck_assert_uint_eq(lane_consumed(l), sent);
    lane_close(l);
    io_close(io);
}

TEST(the_mark_counts_what_is_not_consumed)
{
    struct io *io = open_io();
    struct lane *l = lane_open(io, 2, 100);
    struct lane_item *item;

    push(l, 0, 60);
    ck_assert(!lane_above_mark(l));
    push(l, 1, 60);
    ck_assert(lane_above_mark(l));
    push(l, 2, 60); /* beyond the ring */
    lane_flush(l);
    item = lane_pop(l);
    ck_assert(lane_above_mark(l)); /* taken is not consumed */
    lane_done(l, item);
    free(item);
    ck_assert(lane_above_mark(l)); /* 120 */
    ck_assert_uint_eq(take(l), 1);
    ck_assert(!lane_above_mark(l));
    lane_flush(l);
    ck_assert_uint_eq(take(l), 2);
    lane_close(l);
    io_close(io);
}

TEST(a_fence_waits_for_effects)
{
    struct io *io = open_io();
    struct lane *l = lane_open(io, 8, 100);
    struct lane_item *item;
    uint64_t fence;

    push(l, 0, 1);
    push(l, 1, 1);
    fence = lane_sent(l);
    push(l, 2, 1);
    lane_flush(l);
    ck_assert_uint_eq(take(l), 0);
    item = lane_pop(l);
    ck_assert_uint_lt(lane_consumed(l), fence);
    lane_done(l, item);
    free(item);
    ck_assert_uint_ge(lane_consumed(l), fence);
    ck_assert_uint_eq(take(l), 2);
    lane_close(l);
    io_close(io);
}

TEST(drain_finds_everything)
{
    struct io *io = open_io();
    struct lane *l = lane_open(io, 4, 100);

    for (uint64_t k = 0; k < 4; k++)
        push(l, k, 1);
    lane_flush(l);
    ck_assert_uint_eq(take(l), 0);
    for (uint64_t k = 4; k < 10; k++)
        push(l, k, 1);
    for (uint64_t k = 1; k < 10; k++) {
        struct lane_item *item = lane_drain(l);
        ck_assert_ptr_nonnull(item);
        ck_assert_uint_eq(CONTAINER_OF(item, struct item, item)->number, k);
        free(item);
    }
    ck_assert_ptr_null(lane_drain(l));
    lane_close(l);
    io_close(io);
}

/* ---- two threads ----------------------------------------------------------------------------- */

struct side {
    struct io *io;
    struct lane *out;
    struct lane *in;
    uint64_t total;
    unsigned burst;
};

static void wait_for_receiver(struct side *s)
{
    if (lane_ask_wake(s->out))
        io_poll(s->io, UINT64_MAX);
    lane_flush(s->out);
}

/* Sends in bursts through a ring that is too small for most, and sleeps without a limit until
 * enough is consumed: only the receiver can wake it. */
static void *send_all(void *arg)
{
    struct side *s = arg;
    uint64_t sent = 0;

    while (sent < s->total) {
        for (unsigned k = 0; k < s->burst && sent < s->total; k++)
            push(s->out, sent++, 8);
        lane_flush(s->out);
        while (lane_consumed(s->out) + 2 * s->burst < sent)
            wait_for_receiver(s);
    }
    while (lane_consumed(s->out) < sent)
        wait_for_receiver(s);
    ck_assert(!lane_ask_wake(s->out));
    return NULL;
}

static void *receive_all(void *arg)
{
    struct side *s = arg;
    uint64_t got = 0;

    for (;;) {
        struct lane_item *item;
        while ((item = lane_pop(s->in)) != NULL) {
            struct item *it = CONTAINER_OF(item, struct item, item);
            ck_assert_uint_eq(it->number, got++);
            lane_done(s->in, item);
            free(it);
        }
        if (got == s->total)
            return NULL;
        io_poll(s->io, UINT64_MAX);
    }
}

TEST(two_threads_lose_nothing)
{
    static const unsigned bursts[] = {1, 3, 64, 1000};
    struct io *a = open_io(), *b = open_io();
    struct lane *l = lane_open(b, 16, 1000);
    struct side sender = {.io = a, .out = l, .total = 20000, .burst = bursts[i]};
    struct side receiver = {.io = b, .in = l, .total = 20000};
    pthread_t threads[2];

    lane_set_sender(l, a);
    ck_assert_int_eq(pthread_create(&threads[0], NULL, send_all, &sender), 0);
    ck_assert_int_eq(pthread_create(&threads[1], NULL, receive_all, &receiver), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    ck_assert_uint_eq(lane_consumed(l), 20000);
    lane_close(l);
    io_close(a);
    io_close(b);
}

/* Ping-pong over two lanes: every item wakes a thread that sleeps without a limit. */
static void *answer(void *arg)
{
    struct side *s = arg;
    uint64_t got = 0;

    while (got < s->total) {
        while (!lane_empty(s->in)) {
            push(s->out, take(s->in), 8);
            got++;
        }
        lane_flush(s->out);
        if (got < s->total)
            io_poll(s->io, UINT64_MAX);
    }
    return NULL;
}

TEST(no_wake_is_lost)
{
    enum { TURNS = 3000 };
    struct io *a = open_io(), *b = open_io();
    struct lane *there = lane_open(b, 4, 1000), *back = lane_open(a, 4, 1000);
    struct side side = {.io = b, .in = there, .out = back, .total = TURNS};
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, answer, &side), 0);
    for (uint64_t k = 0; k < TURNS; k++) {
        push(there, k, 8);
        lane_flush(there);
        while (lane_empty(back))
            io_poll(a, UINT64_MAX);
        ck_assert_uint_eq(take(back), k);
    }
    pthread_join(thread, NULL);
    lane_close(there);
    lane_close(back);
    io_close(a);
    io_close(b);
}

static const struct runner_case cases[] = {
    RUN(nothing_before_the_flush),
    RUN(order_survives_the_overflow),
    RUN(the_mark_counts_what_is_not_consumed),
    RUN(a_fence_waits_for_effects),
    RUN(drain_finds_everything),
    RUN_LOOP(two_threads_lose_nothing, 0, 4),
    RUN(no_wake_is_lost),
};

RUNNER_MAIN("io/lane", cases)
