/*
 * test_chunk.c - chunks and their pools: sizes, reuse, accounting, failing memory; then threads
 * that drop the last references, before and after the pool is closed. What is leaked or freed twice
 * is seen by the address sanitizer, what is not ordered by the thread sanitizer.
 */
#include "lib/base/assert.h"
#include "lib/base/chunk.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/base/ring.h"
#include "tests/lib/runner.h"

#include <pthread.h>
#include <sched.h>
#include <string.h>

static const struct {
    size_t bytes;
    uint32_t cap;
} sizes[] = {
    {0, 1024},          {1, 1024},          {1024, 1024},       {1025, 4096},
    {4096, 4096},       {4097, 16384},      {16384, 16384},     {16385, 65536},
    {65536, 65536},     {65537, 262144},    {262144, 262144},   {262145, 524288},
    {524289, 1114112},  {1000000, 1114112}, {1114112, 1114112}, {1114113, 1118208},
    {5000000, 5001216},
};

TEST(has_the_size_of_its_class)
{
    struct chunk_pool *pool = chunk_pool_open();
    size_t total = 0;

    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        struct chunk *c = chunk_alloc(pool, sizes[k].bytes);
        ck_assert_uint_eq(c->cap, sizes[k].cap);
        ck_assert_uint_eq(c->len, 0);
        ck_assert_uint_eq(atomic_load(&c->refs), 1);
        ck_assert_ptr_null(c->next);
        if (c->cap >= 4096)
            ck_assert_uint_eq((uintptr_t) c->data % 4096, 0);
        memset(c->data, 0x5a, c->cap);
        ck_assert_uint_eq(chunk_pool_bytes(pool), total + c->cap);
        chunk_put(c, pool);
        /* Kept on the free list, but for the large ones. */
        total += sizes[k].cap <= 1114112 ? sizes[k].cap : 0;
        ck_assert_uint_eq(chunk_pool_bytes(pool), total);
        chunk_pool_trim(pool, 0);
        total = 0;
        ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
    }
    ck_assert_ptr_null(chunk_alloc(pool, SIZE_MAX));
    ck_assert_ptr_null(chunk_alloc(pool, UINT32_MAX));
    chunk_pool_close(pool);
}

TEST(is_used_again)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct chunk *a = chunk_alloc(pool, 5000), *b = chunk_alloc(pool, 5000);

    ck_assert_ptr_ne(a, b);
    a->len = 77;
    chunk_put(a, pool);
    ck_assert_ptr_eq(chunk_alloc(pool, 16000), a);
    ck_assert_uint_eq(a->len, 0);
    /* Dropped without a pool, it comes by the return stack when the free list is dry. */
    chunk_put(a, NULL);
    ck_assert_ptr_eq(chunk_alloc(pool, 16000), a);
    chunk_put(a, pool);
    chunk_put(b, pool);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 2 * 16384);
    chunk_pool_close(pool);
}

TEST(lives_until_the_last_reference)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct chunk *a = chunk_alloc(pool, 100);
    struct slice s = {a, 10, 3};

    memcpy(a->data + 10, "abc", 3);
    for (int k = 0; k < 5; k++)
        chunk_get(a);
    for (int k = 0; k < 5; k++) {
        chunk_put(a, k % 2 ? pool : NULL);
        ck_assert(memcmp(slice_data(s), "abc", s.len) == 0);
        struct chunk *other = chunk_alloc(pool, 100);
        ck_assert_ptr_ne(other, a);
        chunk_put(other, pool);
    }
    chunk_put(a, pool);
    chunk_pool_close(pool);
}

TEST(a_view_holds_what_it_shows)
{
    struct chunk_pool *pool = chunk_pool_open(), *other = chunk_pool_open();
    struct chunk *a = chunk_alloc(other, 100000), *view;

    memcpy(a->data + 500, "abcdef", 6);
    view = chunk_view(pool, a, a->data + 500, 6);
    ck_assert_uint_eq(view->len, 6);
    ck_assert_uint_eq(view->cap, 6);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
    chunk_put(a, other);
    /* Its pool may go first, and the last reference be dropped on another thread. */
    chunk_pool_close(other);
    chunk_get(view);
    chunk_put(view, NULL);
    ck_assert(memcmp(view->data, "abcdef", 6) == 0);
    chunk_put(view, NULL);
    /* It is used again. */
    a = chunk_alloc(pool, 100);
    ck_assert_ptr_eq(chunk_view(pool, a, a->data, 1), view);
    chunk_put(a, pool);
    chunk_put(view, pool);
    chunk_pool_close(pool);
}

TEST(trims_what_is_idle)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct chunk *used[10], *idle[10];

    for (int k = 0; k < 10; k++) {
        used[k] = chunk_alloc(pool, 65536);
        idle[k] = chunk_alloc(pool, 4096);
    }
    for (int k = 0; k < 10; k++)
        chunk_put(idle[k], k % 2 ? pool : NULL);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 10 * 65536 + 10 * 4096);
    chunk_pool_trim(pool, 100 * 4096);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 10 * 65536 + 10 * 4096);
    chunk_pool_trim(pool, 3 * 4096);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 10 * 65536 + 3 * 4096);
    chunk_pool_trim(pool, 4095);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 10 * 65536);
    for (int k = 0; k < 10; k++)
        chunk_put(used[k], pool);
    chunk_pool_trim(pool, 0);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
    chunk_pool_close(pool);
}

/* Of the two largest classes together, wherever their last reference was dropped. */
TEST(keeps_so_many_large_ones)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct chunk *c[200];

    for (int k = 0; k < 200; k++)
        c[k] = chunk_alloc(pool, k % 2 == 0 ? 524288 : 1114112);
    for (int k = 0; k < 200; k++)
        chunk_put(c[k], k % 3 == 0 ? pool : NULL);
    chunk_put(chunk_alloc(pool, 2000000), pool); /* what the others gave back comes home */
    c[0] = chunk_alloc(pool, 1000);
    chunk_pool_trim(pool, SIZE_MAX);
    ck_assert_uint_le(chunk_pool_bytes(pool), (64u << 20) + 1024);
    ck_assert_uint_ge(chunk_pool_bytes(pool), 62u << 20);
    chunk_put(c[0], pool);
    for (int k = 0; k < 100; k++)
        c[k] = chunk_alloc(pool, 1114112);
    for (int k = 0; k < 100; k++)
        chunk_put(c[k], pool);
    ck_assert_uint_le(chunk_pool_bytes(pool), 65u << 20);
    chunk_pool_trim(pool, 0);
    ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
    chunk_pool_close(pool);
}

TEST(fails_without_memory)
{
    struct chunk_pool *pool = chunk_pool_open();

    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        for (unsigned n = 1; n <= 2; n++) {
            mem_fail_after(n);
            struct chunk *c = chunk_alloc(pool, sizes[k].bytes);
            mem_fail_after(0);
            /* The smallest class is one allocation. */
            ck_assert_int_eq(c == NULL, n == 1 || sizes[k].cap > 1024);
            if (c != NULL)
                chunk_put(c, pool);
            chunk_pool_trim(pool, 0);
            ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
        }
    }
    chunk_pool_close(pool);
}

/* In every order of closing and dropping. */
TEST(outlives_its_pool)
{
    for (unsigned k = 0; k < 16; k++) {
        struct chunk_pool *pool = chunk_pool_open(), *other = chunk_pool_open();
        struct chunk *small = chunk_alloc(pool, 10), *large = chunk_alloc(pool, 300000);
        if (k & 1)
            chunk_put(small, k & 4 ? NULL : pool);
        if (k & 2)
            chunk_put(large, k & 8 ? NULL : pool);
        chunk_pool_close(pool);
        if (!(k & 1)) {
            memset(small->data, 1, small->cap);
            chunk_put(small, k & 4 ? NULL : other);
        }
        if (!(k & 2))
            chunk_put(large, k & 8 ? NULL : other);
        ck_assert_uint_eq(chunk_pool_bytes(other), 0);
        chunk_pool_close(other);
    }
}

#define THREADS 3
#define ROUNDS 6000

struct taker {
    struct ring in;
    pthread_t thread;
    struct chunk_pool *pool;
    uint64_t seen;
};

/* Reads what the filler wrote, then drops its reference. Ends at a NULL-data mark. */
static void *take(void *arg)
{
    struct taker *t = arg;
    struct prng r;

    prng_init(&r, (uintptr_t) t & 0xff);
    t->pool = chunk_pool_open();
    for (;;) {
        struct chunk *c = ring_pop(&t->in);
        if (c == NULL) {
            sched_yield();
            continue;
        }
        if (c->len == 0) {
            chunk_put(c, t->pool);
            break;
        }
        MUST(c->len >= 2 && c->data[0] == (uint8_t) c->len && c->data[c->len - 1] == 0xab);
        t->seen++;
        if (prng_below(&r, 4) == 0)
            chunk_put(chunk_alloc(t->pool, 10), t->pool);
        chunk_put(c, t->pool);
    }
    chunk_pool_close(t->pool);
    return NULL;
}

static void give(struct taker *t, struct chunk *c)
{
    while (!ring_push(&t->in, c))
        sched_yield();
}

static void fill(struct chunk *c, uint64_t len)
{
    c->len = (uint32_t) len;
    c->data[0] = (uint8_t) len;
    c->data[len - 1] = 0xab;
}

/* One thread fills chunks and hands each to some of the others; everybody drops in any order. */
TEST(many_threads_drop)
{
    static struct taker takers[THREADS];
    struct chunk_pool *pool = chunk_pool_open();
    struct prng r;
    uint64_t given[THREADS] = {0};
    size_t most = 0;

    prng_init(&r, (uint64_t) i);
    for (size_t t = 0; t < THREADS; t++) {
        ring_init(&takers[t].in, 64);
        takers[t].seen = 0;
        ck_assert_int_eq(pthread_create(&takers[t].thread, NULL, take, &takers[t]), 0);
    }
    for (int k = 0; k < ROUNDS; k++) {
        uint64_t len = 2 + prng_below(&r, prng_below(&r, 50) == 0 ? 300000 : 9000);
        struct chunk *c = chunk_alloc(pool, len);
        fill(c, len);
        for (size_t t = 0; t < THREADS; t++) {
            if (prng_below(&r, 2) == 0)
                continue;
            chunk_get(c);
            given[t]++;
            give(&takers[t], c);
        }
        chunk_put(c, pool);
        if (chunk_pool_bytes(pool) > most)
            most = chunk_pool_bytes(pool);
        if (k % 1000 == 0)
            chunk_pool_trim(pool, 100000);
    }
    /* The last of each is a chunk without length, and the pool goes first in half of the runs. */
    for (size_t t = 0; t < THREADS; t++)
        give(&takers[t], chunk_alloc(pool, 1));
    if (i % 2)
        chunk_pool_close(pool);
    for (size_t t = 0; t < THREADS; t++) {
        ck_assert_int_eq(pthread_join(takers[t].thread, NULL), 0);
        ck_assert_uint_eq(takers[t].seen, given[t]);
        ring_deinit(&takers[t].in);
    }
    /* At most what the rings hold, and what has come home and was not reused. */
    ck_assert_uint_lt(most, (size_t) 3 * 64 * 2 * 303104);
    if (i % 2 == 0) {
        chunk_pool_trim(pool, 0);
        ck_assert_uint_eq(chunk_pool_bytes(pool), 0);
        chunk_pool_close(pool);
    }
}

/* A short life of a pool, again and again, so that the close meets every stage of a foreign drop.
 */
TEST(close_races_with_drops)
{
    static struct taker taker;

    ring_init(&taker.in, 64);
    ck_assert_int_eq(pthread_create(&taker.thread, NULL, take, &taker), 0);
    for (int k = 0; k < 20000; k++) {
        struct chunk_pool *pool = chunk_pool_open();
        int n = k % 5;
        for (int j = 0; j < n; j++) {
            struct chunk *c = chunk_alloc(pool, k % 50 == 1 ? 300000 : 100);
            fill(c, 100);
            give(&taker, c);
        }
        chunk_pool_close(pool);
    }
    struct chunk_pool *last = chunk_pool_open();
    give(&taker, chunk_alloc(last, 1));
    ck_assert_int_eq(pthread_join(taker.thread, NULL), 0);
    chunk_pool_close(last);
    ck_assert_uint_eq(taker.seen, 40000);
    ring_deinit(&taker.in);
}

static const struct runner_case cases[] = {
    RUN(has_the_size_of_its_class),
    RUN(keeps_so_many_large_ones),
    RUN(is_used_again),
    RUN(lives_until_the_last_reference),
    RUN(trims_what_is_idle),
    RUN(a_view_holds_what_it_shows),
    RUN(fails_without_memory),
    RUN(outlives_its_pool),
    RUN_LOOP(many_threads_drop, 0, 4),
    RUN(close_races_with_drops),
};

RUNNER_MAIN("base/chunk", cases)
