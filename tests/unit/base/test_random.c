/* test_random.c - the generator and the ids made from it. */
#include "lib/base/assert.h"
#include "lib/base/nuid.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <stdbool.h>
#include <string.h>

/* First outputs for the published state 1, 2, 3, 4 of xoshiro256**. */
TEST(is_xoshiro)
{
    static const uint64_t want[] = {
        11520, 0, 1509978240, 1215971899390074240u, 1216172134540287360u, 607988272756665600u};
    struct prng p = {{1, 2, 3, 4}};

    for (size_t k = 0; k < ARRAY_LEN(want); k++)
        ck_assert(prng_u64(&p) == want[k]);
}

TEST(seeds_differ_and_repeat)
{
    struct prng a, b;

    for (uint64_t seed = 0; seed < 1000; seed++) {
        prng_init(&a, seed);
        prng_init(&b, seed);
        uint64_t first = prng_u64(&a);
        ck_assert(first == prng_u64(&b));
        prng_init(&b, seed + 1);
        ck_assert(first != prng_u64(&b));
    }
}

TEST(below_is_uniform)
{
    struct prng p;

    prng_init(&p, 1);
    for (uint64_t n = 1; n < 40; n++) {
        unsigned seen[40] = {0};
        for (unsigned k = 0; k < 1000 * n; k++) {
            uint64_t v = prng_below(&p, n);
            MUST(v < n);
            seen[v]++;
        }
        for (uint64_t v = 0; v < n; v++)
            MUST(seen[v] > 800 && seen[v] < 1200);
    }
    /* Where four draws meet three numbers: scaling without rejection gives every third number twice
     * as often, a remainder the lower third. */
    unsigned thirds = 0, low = 0;
    uint64_t n = (uint64_t) 3 << 62;
    for (unsigned k = 0; k < 30000; k++) {
        uint64_t v = prng_below(&p, n);
        thirds += v % 3 == 0;
        low += v < n / 3;
    }
    MUST(thirds > 9500 && thirds < 10500);
    MUST(low > 9500 && low < 10500);
}

TEST(fills_exactly)
{
    struct prng a, b;
    unsigned char out[40], again[40];

    for (size_t n = 0; n < 30; n++) {
        prng_init(&a, n);
        prng_init(&b, n);
        memset(out, 0xee, sizeof(out));
        prng_fill(&a, out, n);
        prng_fill(&b, again, n);
        ck_assert(memcmp(out, again, n) == 0);
        for (size_t k = n; k < sizeof(out); k++)
            ck_assert_uint_eq(out[k], 0xee);
    }
}

static bool is_base62(const char *id)
{
    return strlen(id) == NUID_LEN &&
           strspn(id, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == NUID_LEN;
}

TEST(ids_rise_within_a_prefix)
{
    struct prng p;
    struct nuid n;
    char last[NUID_LEN + 1], id[NUID_LEN + 1];

    prng_init(&p, 1);
    nuid_init(&n, &p);
    nuid_next(&n, last);
    for (int k = 0; k < 10000; k++) {
        nuid_next(&n, id);
        ck_assert_msg(is_base62(id), "%s", id);
        ck_assert_int_lt(strcmp(last, id), 0);
        ck_assert_int_eq(memcmp(last, id, 12), 0);
        memcpy(last, id, sizeof(id));
    }
}

/* At the end of the counter comes a new prefix, not an old id. */
TEST(ids_renew_their_prefix)
{
    struct prng p;
    struct nuid n;
    char last[NUID_LEN + 1], id[NUID_LEN + 1];

    prng_init(&p, 2);
    nuid_init(&n, &p);
    for (int k = 0; k < 100; k++) {
        n.seq = 839299365868340224u - n.step - 1;
        nuid_next(&n, last);
        ck_assert_str_eq(last + 12, "zzzzzzzzzz");
        nuid_next(&n, id);
        ck_assert(is_base62(id));
        ck_assert_int_ne(memcmp(last, id, 12), 0);
        ck_assert(n.step >= 33 && n.step < 333);
    }
}

static const struct runner_case cases[] = {
    RUN(is_xoshiro),    RUN(seeds_differ_and_repeat),  RUN(below_is_uniform),
    RUN(fills_exactly), RUN(ids_rise_within_a_prefix), RUN(ids_renew_their_prefix),
};

RUNNER_MAIN("base/random", cases)
