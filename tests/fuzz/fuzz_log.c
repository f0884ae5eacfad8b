/*
 * fuzz_log.c - the commit log scanner over anything, and what it makes of stream records.
 *
 * Byte 0: bit 0 checksums are made right first; bit 1 the expected commit is not known. Byte 1:
 * commit known complete. The rest is what follows the header page. The scan ends, verdicts are in
 * order, and a stream's full record and deltas give a sound record or an error.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/log_format.h"
#include "store/stream_record.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define SALT 0x10c0ffeeu

static void sum_records(uint8_t *frame, size_t n, uint32_t count)
{
    uint64_t commit = get_u64(frame + 8), at = 64 + (uint64_t) count * 8;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t bytes = get_u32(frame + 64 + i * 8);
        if (bytes < LOG_RECORD_HEADER || bytes > n || at + bytes > n)
            return;
        put_u32(frame + 64 + i * 8 + 4,
                crc32c(SALT ^ (uint32_t) commit ^ i * 0x9e3779b1u, frame + at, bytes));
        at += log_record_bytes(bytes - LOG_RECORD_HEADER);
    }
}

static void make_right(uint8_t *bytes, size_t n)
{
    for (size_t at = LOG_HEADER; at + LOG_FRAME_HEADER <= n; at += LOG_PAGE) {
        uint32_t count = get_u32(bytes + at + 24);
        if (get_u32(bytes + at) != LOG_FRAME_MAGIC || 64 + (uint64_t) count * 8 > n - at)
            continue;
        sum_records(bytes + at, n - at, count);
        put_u32(bytes + at + 4, crc32c(SALT, bytes + at + 8, 56 + (size_t) count * 8));
    }
}

/* Sets that are too long to check one by one do not come from a fuzzer's input. */
static void try_record(struct stream_record *stream, const struct log_record *r)
{
    if (r->type == LOG_FULL) {
        stream_record_deinit(stream);
        if (stream_record_decode(stream, r->bytes) != ERR_OK)
            return;
    } else if (r->type == LOG_DELTA && stream->first_seq != 0) {
        stream_record_apply(stream, r->bytes);
    }
    if (stream->first_seq != 0)
        stream_record_check(stream);
}

static void scan_all(uint8_t *file, size_t n, uint64_t expected, uint64_t durable)
{
    struct log_scan s;
    struct log_scan_event e;
    struct log_record r;
    struct stream_record stream = {0};
    enum log_verdict v;
    uint64_t at = 0, commit = 0;
    int got;

    log_scan_init(&s, file, n, SALT, expected, durable);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE) {
        ASSERT(e.offset >= at);
        at = e.offset;
        if (v != LOG_SCAN_FRAME)
            continue;
        ASSERT(e.frame.commit > commit);
        commit = e.frame.commit;
        while ((got = log_frame_next(&e.frame, &r)) != 0)
            if (got > 0)
                try_record(&stream, &r);
    }
    stream_record_deinit(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2 || size > 1 << 17)
        return 0;
    size_t n = LOG_HEADER + size - 2;
    uint8_t *file = calloc(1, n);
    uint64_t first;
    memcpy(file + LOG_HEADER, data + 2, size - 2);
    if ((data[0] & 1) != 0)
        make_right(file, n);
    log_scan_durable(file, n, SALT, &first);
    scan_all(file, n, (data[0] & 2) != 0 ? 0 : 1, data[1]);
    free(file);
    return 0;
}
