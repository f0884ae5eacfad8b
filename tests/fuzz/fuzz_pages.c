/*
 * fuzz_pages.c - header pages of segments and log files: what is encoded decodes the same; a page
 * with any bytes changed gives a verdict with its reason, and what is accepted agrees with itself.
 *
 * Input: byte 0: bit 0 a log file's page, bit 1 the checksum is made right after the changes; then
 * the bytes of the fields, FIELDS of them; then changes, three bytes each: offset and value.
 */
#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/log_format.h"
#include "store/segment_format.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define FIELDS 80

static void make_segment(const uint8_t *in, uint8_t page[SEGMENT_HEADER])
{
    struct segment_header h = {
        .number = get_u64(in),
        .base_seq = get_u64(in + 8),
        .file_bytes = get_u64(in + 16),
        .created = (int64_t) get_u64(in + 24),
        .last_time = (int64_t) get_u64(in + 32),
        .generation = get_u32(in + 40),
        .key_id = get_u32(in + 44),
        .name_len = in[48] % 16,
    };

    memcpy(h.store, in + 49, 16);
    memcpy(h.stream, in + 60, 16);
    memcpy(h.name, in + 64, h.name_len);
    segment_header_encode(&h, page);
}

static void make_log(const uint8_t *in, uint8_t page[LOG_HEADER])
{
    struct log_header h = {
        .generation = get_u64(in),
        .number = get_u64(in + 8),
        .first_commit = get_u64(in + 16),
        .file_bytes = get_u64(in + 24),
        .created = (int64_t) get_u64(in + 32),
        .worker = get_u32(in + 40),
        .workers = get_u32(in + 44),
    };

    memcpy(h.store, in + 49, 16);
    log_header_encode(&h, page);
}

static void check_verdict(enum err err, const char *why)
{
    ASSERT(err == ERR_OK || err == ERR_CORRUPT || err == ERR_VERSION);
    ASSERT((err == ERR_OK) == (why[0] == '\0'));
}

/* What decodes encodes to the same, but for bytes that mean nothing. */
static enum err check_segment(const uint8_t page[SEGMENT_HEADER])
{
    struct segment_header h, again;
    uint8_t copy[SEGMENT_HEADER];
    char why[160] = "";
    enum err err = segment_header_decode(page, &h, why);

    check_verdict(err, why);
    if (err != ERR_OK)
        return err;
    segment_header_encode(&h, copy);
    ASSERT(segment_header_decode(copy, &again, why) == ERR_OK);
    ASSERT(again.number == h.number && again.base_seq == h.base_seq && again.salt == h.salt &&
           again.base_seq > 0 && again.generation == h.generation &&
           again.file_bytes == h.file_bytes && again.name_len == h.name_len &&
           memcmp(again.name, h.name, sizeof(h.name)) == 0);
    return ERR_OK;
}

static enum err check_log(const uint8_t page[LOG_HEADER])
{
    struct log_header h, again;
    uint8_t copy[LOG_HEADER];
    char why[160] = "";
    enum err err = log_header_decode(page, &h, why);

    check_verdict(err, why);
    if (err != ERR_OK)
        return err;
    log_header_encode(&h, copy);
    ASSERT(log_header_decode(copy, &again, why) == ERR_OK);
    ASSERT(again.generation == h.generation && again.number == h.number &&
           again.worker == h.worker && again.worker < again.workers && again.salt == h.salt &&
           again.first_commit == h.first_commit && again.file_bytes == h.file_bytes);
    return ERR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t page[SEGMENT_HEADER];
    bool log = size > 0 && (data[0] & 1) != 0;

    if (size < 1 + FIELDS)
        return 0;
    if (log)
        make_log(data + 1, page);
    else
        make_segment(data + 1, page);
    if (size == 1 + FIELDS && !log)
        ASSERT((check_segment(page) == ERR_OK) == (get_u64(data + 9) != 0));
    for (size_t at = 1 + FIELDS; at + 3 <= size; at += 3)
        page[(data[at] | (size_t) data[at + 1] << 8) % SEGMENT_HEADER] = data[at + 2];
    if ((data[0] & 2) != 0)
        put_u32(page + SEGMENT_HEADER - 4, crc32c(0xffffffffu, page, SEGMENT_HEADER - 4));
    if (log)
        check_log(page);
    else
        check_segment(page);
    return 0;
}
