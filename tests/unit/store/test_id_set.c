/* test_id_set.c - sets of ids against an array of booleans. */
#include "lib/base/prng.h"
#include "store/id_set.h"
#include "tests/lib/runner.h"

#include <stdlib.h>

enum { IDS = 3000 };

/* Ids that are near each other, far apart, or fall on few places. */
static uint32_t id_of(unsigned kind, uint32_t k)
{
    static const uint32_t steps[] = {1, 4, 1u << 14, 0x9e3779b1};
    uint32_t id = (k + 1) * steps[kind];

    return id != 0 ? id : 1;
}

static void compare(const struct id_set *set, const bool *in, unsigned kind)
{
    uint32_t n = 0;

    for (uint32_t k = 0; k < IDS; k++) {
        ck_assert(id_set_has(set, id_of(kind, k)) == in[k]);
        n += in[k];
    }
    ck_assert_uint_eq(set->n, n);
    ck_assert(!id_set_has(set, 0x7fffffff));
}

TEST(against_booleans)
{
    struct id_set set = {0};
    bool in[IDS] = {false};
    struct prng rng;

    prng_init(&rng, (uint64_t) i);
    id_set_drop(&set, 7);
    for (unsigned step = 0; step < 20000; step++) {
        /* Grows, shrinks, grows. */
        bool add = prng_below(&rng, 10) < (step / 5000 % 2 == 0 ? 7u : 3u);
        uint32_t k = (uint32_t) prng_below(&rng, IDS);
        in[k] = add;
        if (add)
            id_set_add(&set, id_of((unsigned) i, k));
        else
            id_set_drop(&set, id_of((unsigned) i, k));
        if (step % 500 == 0 && set.n > 0)
            compare(&set, in, (unsigned) i);
    }
    id_set_deinit(&set);
    ck_assert_uint_eq(set.n, 0);
    id_set_add(&set, 5);
    ck_assert(id_set_has(&set, 5));
    ck_assert(!id_set_has(&set, 6));
    id_set_deinit(&set);
}

static const struct runner_case cases[] = {
    RUN_LOOP(against_booleans, 0, 4),
};

RUNNER_MAIN("store/id_set", cases)
