/*
 * fuzz_zone.c - files of the time zone database: what is read as one gives offsets of less than 26
 * hours (167 by a rule) at any time, and cron ends in any of them.
 */
#include "lib/base/assert.h"
#include "server/js/schedule.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

#define SECOND 1000000000ll

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const patterns[] = {"0 30 2 * * *", "59 59 23 31 12 *", "0 0 0 29 2 ?"};
    struct zone *z = zone_parse(str_from(data, size));
    struct schedule s;
    int64_t next;

    if (z == NULL)
        return 0;
    for (int64_t at = -4000000000; at < 8000000000; at += 99999999) {
        int32_t offset = zone_offset(z, at);
        ASSERT(offset > -168 * 3600 && offset < 168 * 3600 + 3600);
    }
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        bool ok = schedule_parse(str_of(patterns[i]), true, &s);
        ASSERT(ok);
        for (int64_t at = 0; at < 3000000000; at += 333333333)
            if (schedule_next(&s, z, at * SECOND, 0, &next))
                ASSERT(next > at * SECOND);
    }
    zone_free(z);
    return 0;
}
