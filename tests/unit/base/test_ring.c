/* test_ring.c - the queue between two threads: against a model in one thread, then with two. */
#include "lib/base/prng.h"
#include "lib/base/ring.h"
#include "tests/lib/runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>

static void *item(uint64_t k)
{
    return (void *) (uintptr_t) (k + 1);
}

TEST(keeps_order_and_capacity)
{
    struct ring r;
    struct prng p;
    uint64_t pushed = 0, popped = 0;

    prng_init(&p, (uint64_t) i);
    ring_init(&r, (size_t) 1 << i);
    /* Indices wrap: begin shortly before. */
    r.pushed = r.popped = r.popped_seen = r.pushed_seen = (size_t) 0 - 1000;
    for (int k = 0; k < 20000; k++) {
        void *batch[40];
        uint64_t n = prng_below(&p, 40), in = pushed - popped, got;
        MUST(ring_count(&r) == in);
        if (prng_below(&p, 2) == 0) {
            for (uint64_t j = 0; j < n; j++)
                batch[j] = item(pushed + j);
            got = ring_push_n(&r, batch, n);
            MUST(got == (n < r.mask + 1 - in ? n : r.mask + 1 - in));
            pushed += got;
        } else {
            got = ring_pop_n(&r, batch, n);
            MUST(got == (n < in ? n : in));
            for (uint64_t j = 0; j < got; j++)
                MUST(batch[j] == item(popped + j));
            popped += got;
        }
        ring_check(&r);
    }
    ck_assert_uint_gt(popped, 2000);
    ring_deinit(&r);
}

TEST(single_calls_say_full_and_empty)
{
    struct ring r;

    ring_init(&r, 2);
    ck_assert_ptr_null(ring_pop(&r));
    ck_assert(ring_push(&r, item(1)) && ring_push(&r, item(2)));
    ck_assert(!ring_push(&r, item(3)));
    ck_assert_ptr_eq(ring_pop(&r), item(1));
    ck_assert(ring_push(&r, item(3)));
    ck_assert_ptr_eq(ring_pop(&r), item(2));
    ck_assert_ptr_eq(ring_pop(&r), item(3));
    ck_assert_ptr_null(ring_pop(&r));
    ring_check(&r);
    ring_deinit(&r);
}

#define ITEMS 300000

struct shared {
    struct ring ring;
    /* Written before the push, read after the pop: the thread sanitizer sees when that is not
     * ordered. */
    uint64_t values[ITEMS];
    uint64_t max_count;
};

static void *produce(void *arg)
{
    struct shared *s = arg;
    struct prng p;

    prng_init(&p, 1);
    for (uint64_t k = 0; k < ITEMS;) {
        void *batch[16];
        uint64_t n = 1 + prng_below(&p, 16);
        if (n > ITEMS - k)
            n = ITEMS - k;
        for (uint64_t j = 0; j < n; j++) {
            s->values[k + j] = (k + j) * 3;
            batch[j] = &s->values[k + j];
        }
        k += n;
        for (uint64_t done = 0; done < n; sched_yield())
            done += ring_push_n(&s->ring, batch + done, n - done);
    }
    return NULL;
}

TEST(two_threads)
{
    static struct shared s;
    struct prng p;
    pthread_t producer;
    uint64_t k = 0;

    prng_init(&p, 2);
    ring_init(&s.ring, 64);
    ck_assert_int_eq(pthread_create(&producer, NULL, produce, &s), 0);
    while (k < ITEMS) {
        void *batch[16];
        size_t n = ring_pop_n(&s.ring, batch, 1 + prng_below(&p, 16));
        for (size_t j = 0; j < n; j++, k++) {
            MUST(batch[j] == &s.values[k]);
            MUST(s.values[k] == k * 3);
        }
        if (n == 0)
            sched_yield();
        MUST(ring_count(&s.ring) <= 64);
    }
    ck_assert_int_eq(pthread_join(producer, NULL), 0);
    ck_assert_ptr_null(ring_pop(&s.ring));
    ring_check(&s.ring);
    ring_deinit(&s.ring);
}

static const struct runner_case cases[] = {
    RUN_LOOP(keeps_order_and_capacity, 0, 8),
    RUN(single_calls_say_full_and_empty),
    RUN(two_threads),
};

RUNNER_MAIN("base/ring", cases)
