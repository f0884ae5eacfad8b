/* test_str.c - views: comparison, trimming, cutting, numbers. */
#include "lib/base/assert.h"
#include "lib/base/str.h"
#include "tests/lib/runner.h"

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

TEST(compares_as_bytes)
{
    static const struct {
        const char *a, *b;
        int order;
    } rows[] = {
        {"", "", 0},     {"", "a", -1},        {"a", "a", 0},  {"a", "b", -1},  {"b", "a", 1},
        {"a", "ab", -1}, {"\x7f", "\x80", -1}, {"Z", "a", -1}, {"ab", "b", -1}, {"a\xff", "b", -1},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct str a = str_of(rows[k].a), b = str_of(rows[k].b);
        ck_assert_int_eq(sign(str_cmp(a, b)), rows[k].order);
        ck_assert_int_eq(sign(str_cmp(b, a)), -rows[k].order);
        ck_assert_int_eq(str_eq(a, b), rows[k].order == 0);
    }
    ck_assert_int_eq(str_cmp(STR_NONE, STR("")), 0);
    ck_assert(str_eq(STR_NONE, STR("")));
}

TEST(compares_without_case)
{
    for (int x = 0; x < 256; x++) {
        for (int y = 0; y < 256; y++) {
            char a = (char) x, b = (char) y;
            int lx = x >= 'A' && x <= 'Z' ? x + 32 : x, ly = y >= 'A' && y <= 'Z' ? y + 32 : y;
            ck_assert_int_eq(str_eq_nocase(str_from(&a, 1), str_from(&b, 1)), lx == ly);
        }
    }
    ck_assert(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    ck_assert(!str_eq_nocase(STR("ab"), STR("abc")));
    ck_assert(str_eq_nocase(STR_NONE, STR("")));
}

TEST(trims_both_ends)
{
    ck_assert(str_eq(str_trim(STR(" \t\r\na b\t \r\n")), STR("a b")));
    ck_assert_uint_eq(str_trim(STR(" \t\r\n")).n, 0);
    ck_assert_uint_eq(str_trim(STR_NONE).n, 0);
    ck_assert(str_eq(str_trim(STR("\fa\v")), STR("\fa\v")));
}

TEST(cuts_at_the_first_separator)
{
    struct str rest, s = STR("a,,b");

    ck_assert(str_eq(str_cut(s, ',', &rest), STR("a")));
    ck_assert(str_eq(rest, STR(",b")));
    ck_assert(str_eq(str_cut(rest, ',', &rest), STR("")));
    ck_assert(str_eq(str_cut(rest, ',', &rest), STR("b")));
    ck_assert_ptr_null(rest.p);
    /* A separator at the end leaves something empty, which is not nothing. */
    ck_assert(str_eq(str_cut(STR("a,"), ',', &rest), STR("a")));
    ck_assert_ptr_nonnull(rest.p);
    ck_assert_uint_eq(rest.n, 0);
    ck_assert_uint_eq(str_cut(STR_NONE, ',', &rest).n, 0);
    ck_assert_ptr_null(rest.p);
}

TEST(finds_bytes_and_prefixes)
{
    ck_assert_uint_eq(str_index(STR("abca"), 'a'), 0);
    ck_assert_uint_eq(str_index(STR("abca"), 'c'), 2);
    ck_assert_uint_eq(str_index(STR("abca"), 'x'), 4);
    ck_assert_uint_eq(str_index(STR_NONE, 'x'), 0);
    ck_assert(str_starts(STR("abc"), STR("ab")));
    ck_assert(str_starts(STR("abc"), STR_NONE));
    ck_assert(!str_starts(STR("a"), STR("ab")));
    ck_assert(str_eq(str_take(STR("abc"), 9), STR("abc")));
    ck_assert(str_eq(str_skip(STR("abc"), 3), STR("")));
}

TEST(reads_unsigned_numbers)
{
    static const struct {
        const char *text;
        uint64_t v;
    } good[] = {
        {"0", 0},
        {"00", 0},
        {"7", 7},
        {"0000000000000000000000000012", 12},
        {"18446744073709551615", UINT64_MAX},
        {"18446744073709551609", UINT64_MAX - 6},
    };
    static const char *const bad[] = {
        "",
        " 1",
        "1 ",
        "+1",
        "-0",
        "0x1",
        "1a",
        "a",
        "18446744073709551616",
        "1:",
        "1/",
        "99999999999999999999",
        "184467440737095516150",
    };
    uint64_t v = 77;

    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        ck_assert_msg(!str_to_u64(str_of(bad[k]), &v), "%s", bad[k]);
        ck_assert_uint_eq(v, 77);
    }
    ck_assert(!str_to_u64(str_from("1\0", 2), &v));
    for (size_t k = 0; k < ARRAY_LEN(good); k++) {
        ck_assert_msg(str_to_u64(str_of(good[k].text), &v), "%s", good[k].text);
        ck_assert_uint_eq(v, good[k].v);
    }
}

TEST(reads_signed_numbers)
{
    static const struct {
        const char *text;
        int64_t v;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"-1", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775807", -INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
    };
    static const char *const bad[] = {
        "",
        "-",
        "--1",
        "+1",
        "- 1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
    };
    int64_t v = 77;

    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        ck_assert_msg(!str_to_i64(str_of(bad[k]), &v), "%s", bad[k]);
        ck_assert_int_eq(v, 77);
    }
    for (size_t k = 0; k < ARRAY_LEN(good); k++) {
        ck_assert_msg(str_to_i64(str_of(good[k].text), &v), "%s", good[k].text);
        ck_assert_int_eq(v, good[k].v);
    }
}

static const struct runner_case cases[] = {
    RUN(compares_as_bytes),           RUN(compares_without_case),    RUN(trims_both_ends),
    RUN(cuts_at_the_first_separator), RUN(finds_bytes_and_prefixes), RUN(reads_unsigned_numbers),
    RUN(reads_signed_numbers),
};

RUNNER_MAIN("base/str", cases)
