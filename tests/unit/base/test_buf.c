/* test_buf.c - the growable buffer: growth at every boundary, printf across it, the NUL behind. */
#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <stdio.h>

TEST(is_empty_at_first)
{
    struct buf b = {0};

    ck_assert_uint_eq(buf_str(&b).n, 0);
    ck_assert_str_eq(buf_cstr(&b), "");
    buf_put(&b, NULL, 0);
    buf_put_str(&b, STR_NONE);
    ck_assert_uint_eq(b.n, 0);
    buf_free(&b);
    ck_assert_ptr_null(b.p);
    buf_free(&b);
}

TEST(puts_every_kind)
{
    struct buf b = {0};

    buf_puts(&b, "a");
    buf_putc(&b, '\0');
    buf_put_str(&b, STR("bc"));
    buf_put_u64(&b, UINT64_MAX);
    buf_put_i64(&b, INT64_MIN);
    buf_printf(&b, "<%s %d>", "x", 5);
    ck_assert(str_eq(buf_str(&b), STR("a\0bc18446744073709551615-9223372036854775808<x 5>")));
    buf_clear(&b);
    ck_assert_uint_eq(b.n, 0);
    buf_puts(&b, "again");
    ck_assert_str_eq(buf_cstr(&b), "again");
    buf_free(&b);
}

/* Whatever is in it before, a printf of any length arrives whole. */
TEST(prints_across_growth)
{
    char want[400];

    for (int before = 0; before < 140; before++) {
        for (int width = 1; width < 140; width++) {
            struct buf b = {0};
            for (int k = 0; k < before; k++)
                buf_putc(&b, '.');
            buf_printf(&b, "%*d", width, 7);
            snprintf(want, sizeof(want), "%*d", width, 7);
            ck_assert_uint_eq(b.n, (size_t) (before + width));
            ck_assert_str_eq(buf_cstr(&b) + before, want);
            ck_assert_uint_lt(b.n, b.cap);
            buf_free(&b);
        }
    }
}

TEST(reserves_room)
{
    struct prng r;
    struct buf b = {0};

    prng_init(&r, 1);
    for (int k = 0; k < 3000; k++) {
        size_t more = prng_below(&r, 300), n = b.n;
        char *p = buf_reserve(&b, more);
        ck_assert_ptr_eq(p, b.p + n);
        ck_assert_uint_gt(b.cap, n + more); /* and one for the NUL */
        memset(p, k & 0x7f, more);
        b.n += more;
        buf_cstr(&b);
        ck_assert(more == 0 || b.p[n] == (char) (k & 0x7f));
    }
    /* Doubling: what is allocated stays in proportion. */
    ck_assert_uint_le(b.cap, 2 * b.n + 1000);
    buf_free(&b);
}

static const struct runner_case cases[] = {
    RUN(is_empty_at_first),
    RUN(puts_every_kind),
    RUN(prints_across_growth),
    RUN(reserves_room),
};

RUNNER_MAIN("base/buf", cases)
