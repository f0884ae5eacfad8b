/* test_handle.c - slot tables against a list of live handles; stale handles, limits, reuse, wrap of
 * generations. */
#include "lib/base/assert.h"
#include "lib/base/handle.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <stdbool.h>

TEST(names_objects_until_removed)
{
    struct handle_table t;
    int a, b;

    handle_table_init(&t, 10);
    ck_assert_ptr_null(handle_get(&t, 0));
    handle ha = handle_add(&t, &a), hb = handle_add(&t, &b);
    ck_assert(ha != 0 && hb != 0 && ha != hb);
    ck_assert_ptr_eq(handle_get(&t, ha), &a);
    ck_assert_ptr_eq(handle_get(&t, hb), &b);
    ck_assert_ptr_null(handle_get(&t, 0));
    handle_remove(&t, ha);
    ck_assert_ptr_null(handle_get(&t, ha));
    /* Last in, first out: the slot is the same, the handle is not. */
    handle again = handle_add(&t, &b);
    ck_assert_uint_eq((uint32_t) again, (uint32_t) ha);
    ck_assert(again != ha);
    ck_assert_ptr_null(handle_get(&t, ha));
    ck_assert_ptr_eq(handle_get(&t, again), &b);
    handle_table_check(&t);
    handle_table_deinit(&t);
    ck_assert_ptr_null(handle_get(&t, again));
}

TEST(stops_at_the_limit)
{
    static const uint32_t limits[] = {0, 1, 15, 16, 17, 100};
    int x;

    for (size_t k = 0; k < ARRAY_LEN(limits); k++) {
        struct handle_table t;
        handle last = 0;
        handle_table_init(&t, limits[k]);
        for (uint32_t n = 0; n < limits[k]; n++) {
            last = handle_add(&t, &x);
            ck_assert(last != 0);
        }
        ck_assert(handle_add(&t, &x) == 0);
        ck_assert_uint_eq(t.used, limits[k]);
        ck_assert_uint_le(t.capacity, limits[k]);
        if (last != 0) {
            handle_remove(&t, last);
            ck_assert(handle_add(&t, &x) != 0);
            ck_assert(handle_add(&t, &x) == 0);
        }
        handle_table_check(&t);
        handle_table_deinit(&t);
    }
}

TEST(generation_skips_zero)
{
    struct handle_table t;
    int x;

    handle_table_init(&t, 4);
    handle h = handle_add(&t, &x);
    handle_remove(&t, h);
    t.slots[(uint32_t) h].generation = UINT32_MAX;
    h = handle_add(&t, &x);
    ck_assert_uint_eq((uint32_t) (h >> 32), UINT32_MAX);
    handle_remove(&t, h);
    handle_table_check(&t);
    ck_assert_ptr_null(handle_get(&t, 0));
    h = handle_add(&t, &x);
    ck_assert_uint_eq((uint32_t) (h >> 32), 1);
    handle_table_deinit(&t);
}

TEST(no_invented_handle_resolves)
{
    struct handle_table t;
    int x;

    handle_table_init(&t, 100);
    handle h = handle_add(&t, &x);
    for (uint64_t slot = 0; slot < 200; slot++) {
        for (uint64_t generation = 0; generation < 5; generation++) {
            handle guess = generation << 32 | slot;
            ck_assert_ptr_eq(handle_get(&t, guess), guess == h ? &x : NULL);
        }
    }
    ck_assert_ptr_null(handle_get(&t, UINT64_MAX));
    handle_table_deinit(&t);
}

#define LIVE 500

TEST(agrees_with_a_list)
{
    static handle live[LIVE];
    static int objects[LIVE];
    handle *dead = mem_array(50000, sizeof(*dead));
    size_t ndead = 0;
    unsigned fulls = 0;
    struct handle_table t;
    struct prng r;

    prng_init(&r, 2);
    handle_table_init(&t, LIVE / 2);
    for (int k = 0; k < 50000; k++) {
        size_t at = prng_below(&r, LIVE);
        if (live[at] == 0) {
            bool full = t.used == LIVE / 2;
            live[at] = handle_add(&t, &objects[at]);
            ck_assert_int_eq(live[at] == 0, full);
            fulls += full;
        } else {
            ck_assert_ptr_eq(handle_get(&t, live[at]), &objects[at]);
            dead[ndead++] = live[at];
            handle_remove(&t, live[at]);
            live[at] = 0;
        }
        if (ndead > 0)
            ck_assert_ptr_null(handle_get(&t, dead[prng_below(&r, ndead)]));
        if (k % 100 == 0)
            handle_table_check(&t);
    }
    ck_assert_uint_gt(fulls, 10);
    for (size_t k = 0; k < ndead; k++)
        ck_assert_ptr_null(handle_get(&t, dead[k]));
    for (size_t k = 0; k < LIVE; k++)
        ck_assert(live[k] == 0 || handle_get(&t, live[k]) == &objects[k]);
    handle_table_deinit(&t);
    mem_free(dead);
}

static const struct runner_case cases[] = {
    RUN(names_objects_until_removed), RUN(stops_at_the_limit), RUN(generation_skips_zero),
    RUN(no_invented_handle_resolves), RUN(agrees_with_a_list),
};

RUNNER_MAIN("base/handle", cases)
