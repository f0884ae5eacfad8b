/* test_fmt.c - numbers, times, durations and sizes, to text and back. */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* The bytes around the number must stay as they are: callers write into the middle of frames. */
static void check_u64(uint64_t v)
{
    char out[FMT_U64_MAX + 4], want[32];
    unsigned n;
    int want_n = snprintf(want, sizeof(want), "%" PRIu64, v);

    memset(out, '#', sizeof(out));
    n = fmt_u64(out + 1, v);
    MUST((int) n == want_n);
    MUST(fmt_u64_len(v) == n);
    ck_assert_msg(memcmp(out + 1, want, n) == 0, "%s", want);
    MUST(out[0] == '#' && out[n + 1] == '#' && out[n + 2] == '#');
}

static void check_i64(int64_t v)
{
    char out[FMT_U64_MAX + 4], want[32];
    unsigned n;

    memset(out, '#', sizeof(out));
    n = fmt_i64(out, v);
    MUST((int) n == snprintf(want, sizeof(want), "%" PRId64, v));
    MUST(n <= FMT_U64_MAX && memcmp(out, want, n) == 0 && out[n] == '#');
}

TEST(prints_all_small_numbers)
{
    for (uint64_t v = 0; v < 200000; v++)
        check_u64(v);
}

/* Both halves of numbers of 9 to 16 digits, and all three parts of longer ones. */
TEST(prints_all_over_the_range)
{
    const uint64_t e8 = 100000000;

    for (uint64_t v = 0; v < e8; v += 997) {
        check_u64(v);
        check_u64(e8 + v);
        check_u64(v * e8 + (e8 - 1 - v));
        check_u64(e8 * e8 * 1844 + v * 1000003);
    }
}

TEST(prints_around_every_power)
{
    uint64_t ten = 1;

    for (unsigned k = 0; k < 20; k++, ten *= 10) {
        for (uint64_t d = 0; d < 300; d++) {
            check_u64(ten - d);
            check_u64(ten + d);
            check_i64((int64_t) (ten + d));
            check_i64(-(int64_t) (ten / 2 + d));
        }
    }
    for (unsigned k = 0; k < 64; k++) {
        check_u64(((uint64_t) 1 << k) - 1);
        check_u64((uint64_t) 1 << k);
        check_i64(INT64_MIN >> k);
    }
    check_u64(UINT64_MAX);
    check_i64(INT64_MAX);
    check_i64(INT64_MIN);
}

TEST(prints_random_numbers)
{
    struct prng r;

    prng_init(&r, 7);
    for (int k = 0; k < 200000; k++) {
        uint64_t v = prng_u64(&r) >> prng_below(&r, 64);
        check_u64(v);
        check_i64((int64_t) v);
    }
}

static const struct {
    int64_t ns;
    const char *text;
} times[] = {
    {0, "1970-01-01T00:00:00Z"},
    {1, "1970-01-01T00:00:00.000000001Z"},
    {-1, "1969-12-31T23:59:59.999999999Z"},
    {100000000, "1970-01-01T00:00:00.1Z"},
    {120000000, "1970-01-01T00:00:00.12Z"},
    {951782400000000000, "2000-02-29T00:00:00Z"},
    {951868800000000000, "2000-03-01T00:00:00Z"},
    {1767312245000000006, "2026-01-02T00:04:05.000000006Z"},
    {INT64_MAX, "2262-04-11T23:47:16.854775807Z"},
    {INT64_MIN + 1, "1677-09-21T00:12:43.145224193Z"},
    {FMT_TIME_GO_ZERO, "0001-01-01T00:00:00Z"},
};

TEST(prints_and_reads_times)
{
    char out[FMT_TIME_MAX];
    int64_t ns;

    for (size_t k = 0; k < ARRAY_LEN(times); k++) {
        ck_assert_uint_eq(fmt_time_rfc3339(out, times[k].ns), strlen(times[k].text));
        ck_assert_str_eq(out, times[k].text);
        ck_assert(fmt_parse_rfc3339(str_of(times[k].text), &ns));
        ck_assert_int_eq(ns, times[k].ns);
    }
}

/* Against the system's calendar, with any number of fraction digits and any offset. */
TEST(agrees_with_the_calendar)
{
    struct prng r;
    char want[80], out[FMT_TIME_MAX];
    int64_t back;

    prng_init(&r, 3);
    for (int k = 0; k < 100000; k++) {
        int64_t ns = (int64_t) (prng_u64(&r) >> prng_below(&r, 20));
        time_t s = (time_t) (ns / 1000000000 - (ns % 1000000000 < 0));
        int offset = (int) prng_below(&r, 2 * 1439) - 1439;
        time_t shifted = s + offset * 60;
        struct tm tm;
        ck_assert_ptr_nonnull(gmtime_r(&shifted, &tm));
        size_t n = strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S", &tm);
        int fraction = (int) (ns - (int64_t) s * 1000000000);
        snprintf(want + n, sizeof(want) - n, ".%09d%c%02d:%02d", fraction, offset < 0 ? '-' : '+',
                 (offset < 0 ? -offset : offset) / 60, (offset < 0 ? -offset : offset) % 60);
        ck_assert_msg(fmt_parse_rfc3339(str_of(want), &back), "%s", want);
        ck_assert_int_eq(back, ns);
        fmt_time_rfc3339(out, ns);
        ck_assert_msg(fmt_parse_rfc3339(str_of(out), &back) && back == ns, "%s", out);
    }
}

TEST(refuses_bad_times)
{
    static const char *const bad[] = {
        "",
        "2026",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-01-02 03:04:05Z",
        "2026-01-02t03:04:05Z",
        "2026-01-02T03:04:05z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05.0000000001Z",
        "2026-01-02T03:04:05.1",
        "2026-13-02T03:04:05Z",
        "2026-00-02T03:04:05Z",
        "2026-01-00T03:04:05Z",
        "2026-01-32T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "1900-02-29T03:04:05Z",
        "2026-04-31T03:04:05Z",
        "2026-01-02T24:04:05Z",
        "2026-01-02T03:60:05Z",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+1:00",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+01:60",
        "2026-01-02T03:04:05+25:00",
        "2026-01-02T03:04:05Z ",
        " 2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05ZZ",
        "26-01-02T03:04:05Z",
        "2026-1-02T03:04:05Z",
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43.145224191Z",
        "1677-09-21T00:12:43.145224192Z",
        "9999-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "2026-01-02T03:04:05,5Z",
        "2026-01-02T03:04:05~01:00",
        "2o26-01-02T03:04:05Z",
    };
    int64_t ns = 77;

    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        ck_assert_msg(!fmt_parse_rfc3339(str_of(bad[k]), &ns), "%s", bad[k]);
    ck_assert(fmt_parse_rfc3339(STR("2024-02-29T23:59:59.5-08:00"), &ns));
    ck_assert_int_eq(ns, 1709279999500000000);
    /* Every cut of a good one is bad. */
    struct str good = STR("2026-01-02T03:04:05.123456789+01:30");
    ck_assert(fmt_parse_rfc3339(good, &ns));
    for (size_t n = 0; n < good.n; n++)
        ck_assert(!fmt_parse_rfc3339(str_take(good, n), &ns));
}

static const struct {
    int64_t ns;
    const char *text;
} durations[] = {
    {0, "0s"},
    {1, "1ns"},
    {-1, "-1ns"},
    {999, "999ns"},
    {1000, "1\xc2\xb5s"},
    {1100, "1.1\xc2\xb5s"},
    {2200000, "2.2ms"},
    {250000000, "250ms"},
    {999999999, "999.999999ms"},
    {1000000000, "1s"},
    {1500000000, "1.5s"},
    {3300000000, "3.3s"},
    {60000000000, "1m0s"},
    {245000000000, "4m5s"},
    {245001000000, "4m5.001s"},
    {3600000000000, "1h0m0s"},
    {18367001000000, "5h6m7.001s"},
    {86400000000000, "24h0m0s"},
    {480000000001, "8m0.000000001s"},
    {INT64_MAX, "2562047h47m16.854775807s"},
    {INT64_MIN, "-2562047h47m16.854775808s"},
};

TEST(prints_and_reads_durations)
{
    char out[FMT_TIME_MAX];
    int64_t ns;

    for (size_t k = 0; k < ARRAY_LEN(durations); k++) {
        ck_assert_uint_eq(fmt_go_duration(out, durations[k].ns), strlen(durations[k].text));
        ck_assert_str_eq(out, durations[k].text);
        ck_assert_msg(fmt_parse_go_duration(str_of(durations[k].text), &ns), "%s",
                      durations[k].text);
        ck_assert_int_eq(ns, durations[k].ns);
    }
}

TEST(reads_what_it_printed)
{
    struct prng r;
    char out[FMT_TIME_MAX];
    int64_t ns;

    prng_init(&r, 5);
    for (int k = 0; k < 100000; k++) {
        /* Below 2^53 of fraction the doubles are exact. */
        int64_t v = (int64_t) prng_u64(&r) >> prng_below(&r, 63);
        fmt_go_duration(out, v);
        ck_assert_msg(fmt_parse_go_duration(str_of(out), &ns), "%s", out);
        ck_assert_msg(ns == v, "%s", out);
    }
}

TEST(reads_other_durations)
{
    static const struct {
        const char *text;
        int64_t ns;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"+0", 0},
        {"+5s", 5000000000},
        {"5.0s", 5000000000},
        {"5.s", 5000000000},
        {".5s", 500000000},
        {"1h30m", 5400000000000},
        {"-1.5h", -5400000000000},
        {"30m1h", 5400000000000},
        {"10.5s4m", 250500000000},
        {"12us", 12000},
        {"12\xce\xbcs", 12000},
        {"1.00000000000000000000000001s", 1000000000},
        {"0.3333333333333333333h", 1200000000000},
        {"0.100000000000000000000h", 360000000000},
        {"9223372036854775807ns", INT64_MAX},
        {"-9223372036854775808ns", INT64_MIN},
        {"-9223372036854775.808us", INT64_MIN},
        {"9007199254740993ns", 9007199254740993},
    };
    static const char *const bad[] = {
        "",
        "3",
        "-",
        "+",
        "s",
        ".",
        "-.",
        ".s",
        "+.s",
        "1d",
        "\x85\x85",
        "1 s",
        " 1s",
        "1s ",
        "1s2",
        "1..5s",
        "1.5.5s",
        "--1s",
        "1S",
        "1hh",
        "e3s",
        "1e3s",
        "3000000h",
        "9223372036854775808ns",
        "9223372036854775.808us",
        "9223372036854ms775us808ns",
        "-9223372036854775809ns",
        "9223372036854775808",
        "99999999999999999999s",
        "1\xc2s",
        "1,5s",
    };
    int64_t ns = 77;

    for (size_t k = 0; k < ARRAY_LEN(good); k++) {
        ck_assert_msg(fmt_parse_go_duration(str_of(good[k].text), &ns), "%s", good[k].text);
        ck_assert_msg(ns == good[k].ns, "%s: %" PRId64, good[k].text, ns);
    }
    ns = 77;
    for (size_t k = 0; k < ARRAY_LEN(bad); k++)
        ck_assert_msg(!fmt_parse_go_duration(str_of(bad[k]), &ns) && ns == 77, "%s", bad[k]);
}

TEST(prints_sizes)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.00 KB"},
        {1536, "1.50 KB"},
        {1048576, "1.00 MB"},
        {5368709120, "5.00 GB"},
        {1099511627776, "1.00 TB"},
        {(uint64_t) 1 << 50, "1.00 PB"},
        {UINT64_MAX, "16.00 EB"},
    };
    char out[FMT_TIME_MAX];

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        ck_assert_uint_eq(fmt_bytes(out, rows[k].bytes), strlen(rows[k].text));
        ck_assert_str_eq(out, rows[k].text);
    }
}

TEST(prints_addresses)
{
    char out[FMT_HOST_PORT_MAX], host[400];

    ck_assert_str_eq(fmt_host_port(out, "127.0.0.1", 4222), "127.0.0.1:4222");
    ck_assert_str_eq(fmt_host_port(out, "::1", 65535), "[::1]:65535");
    ck_assert_str_eq(fmt_host_port(out, "", 0), ":0");
    memset(host, 'a', sizeof(host) - 1);
    host[sizeof(host) - 1] = '\0';
    ck_assert_uint_eq(strlen(fmt_host_port(out, host, 1)), FMT_HOST_PORT_MAX - 1);
}

static const struct runner_case cases[] = {
    RUN(prints_all_small_numbers),
    RUN(prints_all_over_the_range),
    RUN(prints_around_every_power),
    RUN(prints_random_numbers),
    RUN(prints_and_reads_times),
    RUN(agrees_with_the_calendar),
    RUN(refuses_bad_times),
    RUN(prints_and_reads_durations),
    RUN(reads_what_it_printed),
    RUN(reads_other_durations),
    RUN(prints_sizes),
    RUN(prints_addresses),
};

RUNNER_MAIN("base/fmt", cases)
