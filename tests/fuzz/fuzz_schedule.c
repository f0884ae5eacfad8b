/*
 * fuzz_schedule.c - texts of schedules, times to live and counters. The first byte says which.
 *
 * A schedule that parses has a next time behind the last one, and so has that one (but @at); a time
 * to live is never, or not negative; sums can be taken back.
 */
#include "lib/base/assert.h"
#include "server/js/decimal.h"
#include "server/js/msg_ttl.h"
#include "server/js/schedule.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define SECOND 1000000000ll

static void try_schedule(struct str text, bool has_zone)
{
    int64_t ts = 1700000000 * SECOND, next, after;
    struct schedule s;

    if (!schedule_parse(text, has_zone, &s) || !schedule_next(&s, NULL, ts, ts, &next))
        return;
    ASSERT(s.kind != SCHEDULE_NONE);
    if (!schedule_repeats(&s))
        return;
    ASSERT(next > ts);
    if (schedule_next(&s, NULL, next, next, &after))
        ASSERT(after > next);
}

static void try_ttl(struct str text)
{
    int64_t seconds;

    if (msg_ttl_parse(text, &seconds)) {
        ASSERT(seconds >= MSG_TTL_NEVER);
        ASSERT(seconds < 0 || msg_ttl_due(5, seconds) >= 5);
    }
}

static void try_sum(struct str text)
{
    struct str b, a = str_cut(text, ' ', &b);
    struct buf canonical = {0}, sum = {0}, back = {0};

    decimal_add(&canonical, a, STR("0"));
    decimal_add(&sum, a, b);
    decimal_subtract(&back, buf_str(&sum), b);
    ASSERT(decimal_valid(buf_str(&sum)));
    ASSERT(str_eq(buf_str(&back), buf_str(&canonical)));
    buf_free(&canonical);
    buf_free(&sum);
    buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text;

    if (size == 0)
        return 0;
    text = str_from(data + 1, size - 1);
    switch (data[0] % 4) {
    case 0:
        try_schedule(text, false);
        break;
    case 1:
        try_schedule(text, true);
        break;
    case 2:
        try_ttl(text);
        break;
    default:
        try_sum(text);
        break;
    }
    return 0;
}
