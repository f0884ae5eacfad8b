/* digits.h against the C library, scan.h against its portable form. */
#include "lib/base/prng.h"
#include "lib/wire/digits.h"
#include "lib/wire/scan.h"
#include "tests/lib/runner.h"
#include "tests/unit/wire/guard.h"

#include <inttypes.h>
#include <stdio.h>

static void write_and_read(uint64_t v)
{
    char want[32], memory[64] = "xxxxxxxx", *out = memory + 8;
    uint64_t back = ~v;
    int n = snprintf(want, sizeof(want), "%" PRIu64, v);
    memset(out, '#', 40);
    ck_assert_uint_eq(digits_put(out, v), (unsigned) n);
    ck_assert_msg(memcmp(out, want, (size_t) n) == 0, "%s written as %.*s", want, n, out);
    for (int k = n < 8 ? 8 : n; k < 40; k++)
        ck_assert_int_eq(out[k], '#');
    ck_assert(digits_read(out + n, (size_t) n, &back));
    ck_assert_uint_eq(back, v);
}

TEST(numbers_of_every_length)
{
    struct prng prng;
    prng_init(&prng, 1);
    uint64_t power = 1;
    for (unsigned digits = 1; digits <= 20; digits++) {
        uint64_t next = digits == 20 ? 0 : power * 10;
        write_and_read(power);
        write_and_read(next - 1);
        write_and_read(power + 1);
        for (unsigned k = 0; k < 20000; k++)
            write_and_read(power + prng_below(&prng, next - power));
        power = next;
    }
    write_and_read(0);
    write_and_read(UINT64_MAX);
    for (uint64_t v = 0; v < 100000; v++)
        write_and_read(v);
}

TEST(numbers_that_are_none)
{
    uint64_t v;
    char memory[40] = "12345678";
    char *at = memory + 8;
    ck_assert(!digits_read(at, 0, &v));
    memcpy(at, "184467440737095516159", 21);
    ck_assert(!digits_read(at + 21, 21, &v));
    memcpy(at, "18446744073709551616", 20);
    ck_assert(!digits_read(at + 20, 20, &v));
    memcpy(at, "99999999999999999999", 20);
    ck_assert(!digits_read(at + 20, 20, &v));
    memcpy(at, "00000000000000000007", 20);
    ck_assert(digits_read(at + 20, 20, &v));
    ck_assert_uint_eq(v, 7);
    for (size_t n = 1; n <= 20; n++) {
        for (size_t k = 0; k < n; k++) {
            for (int c = 0; c < 256; c++) {
                memset(at, '0', 20);
                at[k] = (char) c;
                bool fits = n < 20 || k > 0 || c <= '1'; /* 2 * 10^19 does not */
                ck_assert_int_eq(digits_read(at + n, n, &v), c >= '0' && c <= '9' && fits);
            }
        }
    }
}

TEST(scans_agree)
{
    struct prng prng;
    struct guard g;
    guard_init(&g, SCAN_STOPS_WIDTH);
    prng_init(&prng, 2);
    for (unsigned round = 0; round < 100000; round++) {
        char *p = g.end - SCAN_STOPS_WIDTH;
        prng_fill(&prng, p, SCAN_STOPS_WIDTH);
        if (round % 2 == 0) {
            for (unsigned k = 0; k < SCAN_STOPS_WIDTH; k++)
                p[k] = (char) (p[k] & 0x3f);
        }
        ck_assert_uint_eq(scan_stops(p), scan_stops_portable(p));
        p = g.end - SCAN_EQUAL_WIDTH;
        ck_assert_uint_eq(scan_equal(p, '.'), scan_equal_portable(p, '.'));
    }
    for (unsigned c = 0; c < 256; c++) {
        char p[SCAN_STOPS_WIDTH];
        memset(p, 'a', sizeof(p));
        p[c % 32] = (char) c;
        ck_assert_uint_eq(scan_stops(p), c <= ' ' ? 1u << c % 32 : 0);
    }
    guard_deinit(&g);
}

static const struct runner_case cases[] = {
    RUN(numbers_of_every_length),
    RUN(numbers_that_are_none),
    RUN(scans_agree),
};

RUNNER_MAIN("wire/digits", cases)
