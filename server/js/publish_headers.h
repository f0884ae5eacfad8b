/*
 * publish_headers.h - the headers of a published message that JetStream knows, found in one pass.
 *
 * Views into the block. Of several lines with one key the first counts, as in header_get.
 */
#ifndef JS_PUBLISH_HEADERS_H
#define JS_PUBLISH_HEADERS_H

#include "lib/base/str.h"

#include <stdbool.h>

enum publish_header {
    HEADER_BATCH_ID,
    HEADER_EXPECTED_LAST_MSG_ID,
    HEADER_EXPECTED_LAST_SEQUENCE,
    HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE,
    HEADER_EXPECTED_LAST_SUBJECT_SEQUENCE_SUBJECT,
    HEADER_EXPECTED_STREAM,
    HEADER_INCR,
    HEADER_MSG_ID,
    HEADER_REQUEST_INFO,
    HEADER_ROLLUP,
    HEADER_SCHEDULE,
    HEADER_SCHEDULE_NEXT,
    HEADER_SCHEDULE_ROLLUP,
    HEADER_SCHEDULE_SOURCE,
    HEADER_SCHEDULE_TARGET,
    HEADER_SCHEDULE_TIME_ZONE,
    HEADER_SCHEDULE_TTL,
    HEADER_SCHEDULER,
    HEADER_STREAM_SOURCE,
    HEADER_TTL,
    PUBLISH_HEADERS
};

struct publish_headers {
    struct str of[PUBLISH_HEADERS]; /* p == NULL: absent */
};

/* False, with nothing filled in, when there is none of them: most messages have other headers. */
bool publish_headers_find(struct str block, struct publish_headers *out);

#endif
