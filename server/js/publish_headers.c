/* publish_headers.c - all of them begin with "Nats-"; a block without that is passed over by
 * memmem, which costs less than one look-up. */
#include "server/js/publish_headers.h"

#include "lib/base/header.h"

static const struct str names[PUBLISH_HEADERS] = {
    [HEADER_BATCH_ID] = STR_LIT("Batch-Id"),
    [HEADER_EXPECTED_LAST_MSG_ID] = STR_LIT("Expected-Last-Msg-Id"),
    [HEADER_EXPECTED_LAST_SEQUENCE] = STR_LIT("Expected-Last-Sequence"),
    [HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE] = STR_LIT("Expected-Last-Subject-Sequence"),
    [HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT] =
        STR_LIT("Expected-Last-Subject-Sequence-Subject"),
    [HEADER_EXPECTED_STREAM] = STR_LIT("Expected-Stream"),
    [HEADER_INCR] = STR_LIT("Incr"),
    [HEADER_MSG_ID] = STR_LIT("Msg-Id"),
    [HEADER_REQUEST_INFO] = STR_LIT("Request-Info"),
    [HEADER_ROLLUP] = STR_LIT("Rollup"),
    [HEADER_SCHEDULE] = STR_LIT("Schedule"),
    [HEADER_SCHEDULE_NEXT] = STR_LIT("Schedule-Next"),
    [HEADER_SCHEDULE_ROLLUP] = STR_LIT("Schedule-Rollup"),
    [HEADER_SCHEDULE_SOURCE] = STR_LIT("Schedule-Source"),
    [HEADER_SCHEDULE_TARGET] = STR_LIT("Schedule-Target"),
    [HEADER_SCHEDULE_TIME_ZONE] = STR_LIT("Schedule-Time-Zone"),
    [HEADER_SCHEDULE_TTL] = STR_LIT("Schedule-TTL"),
    [HEADER_SCHEDULER] = STR_LIT("Scheduler"),
    [HEADER_STREAM_SOURCE] = STR_LIT("Stream-Source"),
    [HEADER_TTL] = STR_LIT("TTL"),
};

bool publish_headers_find(struct str block, struct publish_headers *out)
{
    struct str key, value;
    size_t at = 0;

    *out = (struct publish_headers){0};
    if (block.n == 0 || memmem(block.p, block.n, "\nNats-", 6) == NULL)
        return false;
    while (header_next(block, &at, &key, &value)) {
        if (!str_starts(key, STR("Nats-")))
            continue;
        key = str_skip(key, 5);
        for (unsigned i = 0; i < PUBLISH_HEADERS; i++)
            if (str_eq(key, names[i])) {
                if (out->of[i].p == NULL)
                    out->of[i] = value;
                break;
            }
    }
    return true;
}
