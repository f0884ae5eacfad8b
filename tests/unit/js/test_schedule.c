/* test_schedule.c - next times of schedules, zones, big numbers. Expected times of cron come from
 * nats-server's own parser (40,000 random ones were compared once, over 14 zones). */
#include "server/js/decimal.h"
#include "server/js/schedule.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ll

/* ---- zones ----------------------------------------------------------------------------------- */

/* A file of version 2 without transitions: one type, and the rule. */
static size_t tzif(char *out, size_t cap, const char *rule)
{
    static const char empty[] =
        "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
        "\0\0\0\1\0\0\0\4"
        "\0\0\0\0\0\0XYZ";
    size_t n = sizeof(empty); /* with the NUL behind XYZ */

    ck_assert_uint_eq(n, 54);
    memcpy(out, empty, n);
    memcpy(out + n, empty, n);
    return 2 * n + (size_t) snprintf(out + 2 * n, cap - 2 * n, "\n%s\n", rule);
}

static struct zone *zone_of(const char *rule)
{
    char bytes[256];

    return zone_parse(str_from(bytes, tzif(bytes, sizeof(bytes), rule)));
}

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"
#define LORD_HOWE "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"

static const struct {
    const char *rule;
    int64_t at;
    int32_t offset;
} offsets[] = {
    {BERLIN, 1711846799, 3600},
    {BERLIN, 1711846800, 7200},
    {BERLIN, 1729990799, 7200},
    {BERLIN, 1729990800, 3600},
    {BERLIN, 0, 3600},
    {LORD_HOWE, 1712415599, 39600},
    {LORD_HOWE, 1712415600, 37800},
    {LORD_HOWE, 1728142200, 39600},
    {"UTC0", 5, 0},
    {"<-03>3", 5, -10800},
    {"AAA-1BBB,J60/0,J61/0", 1709251200 - 3600, 7200}, /* 1 March of a leap year */
    {"AAA-1BBB,J60/0,J61/0", 1709251200 - 3601, 3600},
    {"AAA-1BBB,59/0,60/0", 1709164800 - 3600, 7200}, /* 29 February */
    {"", 5, 0},
};

TEST(rules_of_zones)
{
    for (size_t k = 0; k < sizeof(offsets) / sizeof(offsets[0]); k++) {
        struct zone *z = zone_of(offsets[k].rule);
        ck_assert_msg(z != NULL, "%s", offsets[k].rule);
        int32_t got = zone_offset(z, offsets[k].at);
        ck_assert_msg(got == offsets[k].offset, "%s at %lld: %d", offsets[k].rule,
                      (long long) offsets[k].at, got);
        zone_free(z);
    }
}

TEST(zones_that_are_none)
{
    static const char *const rules[] = {"CE-1",
                                        "CET",
                                        "CET-1CEST",
                                        "CET-1CEST,",
                                        "CET-1CEST,M13.1.0,M1.1.0",
                                        "CET-168",
                                        "<CET-1",
                                        "CET-1CEST,M3.5.0,M10.5.0/3x",
                                        "CET-1CEST,J0,J2",
                                        "CET-1CEST,M3.6.0,M10.5.0"};
    char bytes[256];
    size_t n = tzif(bytes, sizeof(bytes), BERLIN);

    for (size_t k = 0; k < sizeof(rules) / sizeof(rules[0]); k++)
        ck_assert_msg(zone_of(rules[k]) == NULL, "%s", rules[k]);
    for (size_t cut = 0; cut < n; cut++)
        ck_assert(zone_parse(str_from(bytes, cut)) == NULL);
    ck_assert_int_eq(zone_offset(NULL, 5), 0);
    ck_assert(zone_name_valid(STR("America/Argentina/Buenos_Aires")));
    ck_assert(zone_name_valid(STR("Etc/GMT+3")));
    static const char *const names[] = {"",     "/etc/passwd", "../x", "a/../b",
                                        "a//b", "a/",          "a b",  "a\\b"};
    for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
        ck_assert_msg(!zone_name_valid(str_of(names[k])), "%s", names[k]);
}

/* ---- schedules ------------------------------------------------------------------------------- */

static const struct {
    const char *text, *zone;
    int64_t ts, next; /* seconds; 0 = refused */
} nexts[] = {
    {"? * 22 9 9-10 ?", BERLIN, 1729979166, 1757448000},
    {"43 36/5 ? */8 * 2/6", BERLIN, 1711900701, 1711924603},
    {"*/22 55 14/5 ? * 4-4/7,1/6,3/3", BERLIN, 1711765726, 1711806900},
    {"48-59/4 */54 ? * * 0,0-3", BERLIN, 1729954681, 1729980048},
    {"43-55 23/2 */4 * 3-9 4/7", BERLIN, 1730009387, 1741217023},
    {"59 9,6-20,36 * ? ? *", BERLIN, 1711858111, 1711858139},
    {"53/9,3-50/5 8-59/6 */14 * */5 */5", BERLIN, 1729947293, 1730416083},
    {"18-47,34,27 * 1/3,0/9 * ? 0-6", BERLIN, 1730056621, 1730062818},
    {"40-49,20-54/6 */30 6/6 19-19 * *", BERLIN, 1729967481, 1731992420},
    {"* * 6-6/2 * * */4", LORD_HOWE, 1696139586, 1696446000},
    {"22-43/5 17 ? 27-29 5-12/5 */5", LORD_HOWE, 1696114194, 1696115842},
    {"2-54/1 36 19-22 * ? 3-6,1-2,4", LORD_HOWE, 1696224525, 1696235762},
    {"39/4 20-50,53-58/1 14-15 14 ? 3-5,2-2", NULL, 1544147229, 1544192439},
    {"15/4 7-34/6 9 */4 * *", NULL, 1761295767, 1761383235},
    {"56-58/7,44 21/6,53,59 17-18 7/5 * *", NULL, 1775479539, 1775582504},
    {"10/9 * ? * */6 2,0-4", NULL, 1696107411, 1704067210},
    {"* 16-45/2 12-22/1,18/7,8/7 17/3 9,2/8 5-5,1", NULL, 3885716404, 3885716405},
    {"38 22-39/2,57/2,8-12/1 4,12-15,15-23/5 31-31 11 */1", NULL, 1709861531, 0},
    {"0-21,18/7 20/5 16-18,18 31 9-10/6,2 *", NULL, 1741685066, 0},
    {"0 30 2 * * *", BERLIN, 1711800000, 1711931400},
    {"@every 1m30s", NULL, 1000, 1090},
    {"@hourly", NULL, 0, 3600},
    {"@yearly", NULL, 0, 31536000},
    {"@weekly", NULL, 0, 259200},
    {"0 0 0 29 feb ?", NULL, 1709251200, 1835395200},
    {"0 0 0 30 feb *", NULL, 0, 0},
    {"0 0 12 13 * FRI", NULL, 0, 129600},
};

TEST(next_times)
{
    for (size_t k = 0; k < sizeof(nexts) / sizeof(nexts[0]); k++) {
        struct zone *z = nexts[k].zone != NULL ? zone_of(nexts[k].zone) : NULL;
        struct schedule s;
        int64_t next = 0;
        bool ok = schedule_parse(str_of(nexts[k].text), z != NULL, &s) &&
                  schedule_next(&s, z, nexts[k].ts * SECOND + 5, 0, &next);
        ck_assert_msg(ok == (nexts[k].next != 0) && next / SECOND == nexts[k].next, "%s: %lld",
                      nexts[k].text, (long long) (next / SECOND));
        zone_free(z);
    }
}

static const char *const refused[] = {
    "@at",
    "@at ",
    "@at now",
    "@at 2026-01-02 03:04:05Z",
    "@every",
    "@every 0s",
    "@every 999ms",
    "@every 5",
    "@every -5s",
    "@hourl",
    "@Daily",
    "* * * * *",
    "* * * * * * *",
    "60 * * * * *",
    "* 60 * * * *",
    "* * 24 * * *",
    "* * * 0 * *",
    "* * * 32 * *",
    "* * * * 0 *",
    "* * * * 13 *",
    "* * * * * 7",
    "* * * * * sunday",
    "5-1 * * * * *",
    "1-2-3 x * * * *",
    "*/0 * * * * *",
    "*/ * * * * *",
    "1/2/3 * * * * *",
    "-1 * * * * *",
    "1- * * * * *",
    ", * * * * *",
    "* * * , * ,",
    "1.5 * * * * *",
    "99999999999999999999 * * * * *",
    "x",
};

TEST(schedules_that_are_none)
{
    struct schedule s;

    for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++)
        ck_assert_msg(!schedule_parse(str_of(refused[k]), false, &s), "%s", refused[k]);
    ck_assert(!schedule_parse(STR("@every 5s"), true, &s));
    ck_assert(!schedule_parse(STR("@at 2026-01-02T03:04:05Z"), true, &s));
    ck_assert(schedule_parse(STR_NONE, false, &s) && s.kind == SCHEDULE_NONE);
    ck_assert(schedule_parse(STR("@at 0001-01-01T00:00:00Z"), false, &s) &&
              s.kind == SCHEDULE_NONE);
}

static int64_t next_of(const char *text, int64_t ts, int64_t now)
{
    struct schedule s;
    int64_t next = 0;

    ck_assert(schedule_parse(str_of(text), false, &s));
    ck_assert(schedule_next(&s, NULL, ts, now, &next));
    return next;
}

/* What was missed is not made up: one run, and then in step with the clock. */
TEST(missed_runs)
{
    ck_assert_int_eq(next_of("@every 10s", 1000 * SECOND + 400000000, 1005 * SECOND),
                     1010 * SECOND);
    ck_assert_int_eq(next_of("@every 10s", 1000 * SECOND + 500000000, 1005 * SECOND),
                     1011 * SECOND);
    ck_assert_int_eq(next_of("@every 10s", 1000 * SECOND, 5000 * SECOND + 600000000),
                     5011 * SECOND);
    ck_assert_int_eq(next_of("0 * * * * *", 0, 3600 * SECOND - 1), 3660 * SECOND);
    ck_assert_int_eq(next_of("0 * * * * *", 0, 3601 * SECOND), 3660 * SECOND);
    ck_assert_int_eq(next_of("@at 1970-01-01T00:00:07Z", 0, 5000 * SECOND), 7 * SECOND);
}

/* ---- big numbers ----------------------------------------------------------------------------- */

static const struct {
    const char *a, *b, *sum, *difference;
} sums[] = {
    {"1", "2", "3", "-1"},
    {"-1", "+2", "1", "-3"},
    {"0", "-0", "0", "0"},
    {"", "x", "0", "0"},
    {"007", "-7", "0", "14"},
    {"-5", "-5", "-10", "0"},
    {"999999999999999999999999", "1", "1000000000000000000000000", "999999999999999999999998"},
    {"1000000000000000000000000", "-1", "999999999999999999999999", "1000000000000000000000001"},
    {"-1", "1000000000000", "999999999999", "-1000000000001"},
};

TEST(sums_of_big_numbers)
{
    for (size_t k = 0; k < sizeof(sums) / sizeof(sums[0]); k++) {
        struct buf b = {0};
        decimal_add(&b, str_of(sums[k].a), str_of(sums[k].b));
        ck_assert_str_eq(buf_cstr(&b), sums[k].sum);
        buf_clear(&b);
        decimal_subtract(&b, str_of(sums[k].a), str_of(sums[k].b));
        ck_assert_str_eq(buf_cstr(&b), sums[k].difference);
        buf_free(&b);
    }
    ck_assert(decimal_valid(STR("+0")) && decimal_valid(STR("-12")));
    ck_assert(!decimal_valid(STR("")) && !decimal_valid(STR("-")) && !decimal_valid(STR("1 ")));
    ck_assert(!decimal_valid(STR("1_000")) && !decimal_valid(STR("0x1")) &&
              !decimal_valid(STR("--1")));
}

static const struct runner_case cases[] = {
    RUN(rules_of_zones),          RUN(zones_that_are_none), RUN(next_times),
    RUN(schedules_that_are_none), RUN(missed_runs),         RUN(sums_of_big_numbers),
};

RUNNER_MAIN("schedule", cases)
