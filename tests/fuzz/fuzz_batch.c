/*
 * fuzz_batch.c - compressed batches: the decoder of bodies over anything.
 *
 * Bytes 0 to 3: length that the body is said to decode to. The rest is used three times: as the
 * body of an LZ4 batch; as a whole batch whose checksum is made right first (or no input would get
 * past it), of which every record that verifies is read; and as records that are compressed and
 * come back the same. Buffers have exactly the sizes that the contracts name, so that a sanitizer
 * sees a byte too many.
 */
#include "store/batch.h"
#include "store/codec.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#define SALT 0x600dcafeu
#define RAW_MOST (1u << 20)

static uint8_t *copy_of(const uint8_t *p, size_t n)
{
    uint8_t *out = malloc(n != 0 ? n : 1);

    ASSERT(out != NULL);
    if (n != 0)
        memcpy(out, p, n);
    return out;
}

/* Twice: what it decodes to does not depend on what was in the buffer. */
static void decode_body(const uint8_t *data, size_t n, uint32_t raw_bytes)
{
    struct batch_header h = {
        .codec = BATCH_LZ4, .body_bytes = (uint32_t) n, .raw_bytes = raw_bytes};

    if (raw_bytes > RAW_MOST || !codec_lengths(&h))
        return;
    uint8_t *stored = copy_of(data, n), *a = malloc(raw_bytes), *b = malloc(raw_bytes);
    ASSERT(a != NULL && b != NULL);
    memset(a, 0x55, raw_bytes);
    memset(b, 0xaa, raw_bytes);
    enum err err = codec_decode(&h, stored, a);
    ASSERT(err == ERR_OK || err == ERR_CORRUPT);
    ASSERT(codec_decode(&h, stored, b) == err);
    ASSERT(err != ERR_OK || memcmp(a, b, raw_bytes) == 0);
    free(stored);
    free(a);
    free(b);
}

static void read_batch(const uint8_t *data, size_t n)
{
    uint8_t *bytes = copy_of(data, n);
    struct codec_room room = {0};
    struct batch_header h;
    struct batch_view v;
    struct batch_record r;

    if (n < BATCH_HEADER || batch_header_decode(bytes, &h) != ERR_OK || h.bytes > n ||
        h.raw_bytes > RAW_MOST) {
        free(bytes);
        return;
    }
    put_u32(bytes + 4, batch_header_crc(SALT, bytes, bytes + BATCH_HEADER, h.table_bytes));
    if (batch_view_open(bytes, n, SALT, &v) == ERR_OK &&
        batch_view_decode_room(&v, &room) == ERR_OK) {
        for (uint32_t i = 0; i < v.h.count; i++) {
            if (batch_record_verify(&v, i, SALT) != BATCH_RECORD_OK)
                continue;
            batch_record_get(&v, i, &r);
            const uint8_t *end = v.body + v.h.raw_bytes;
            ASSERT(r.data >= v.body && r.data <= end && r.data_len <= (size_t) (end - r.data));
            ASSERT(r.seq >= v.h.first_seq && r.seq - v.h.first_seq < v.h.span);
        }
    }
    codec_room_free(&room);
    free(bytes);
}

static void round_trip(const uint8_t *data, size_t n)
{
    const struct codec lz4 = {.compression = BATCH_LZ4};
    struct batch_header h = {.raw_bytes = (uint32_t) n};
    const uint8_t *stored;

    if (n == 0)
        return;
    uint8_t *raw = copy_of(data, n), *room = malloc(codec_bound(&lz4, n)), *back = malloc(n);
    ASSERT(room != NULL && back != NULL);
    codec_encode(&lz4, &h, raw, room, &stored);
    ASSERT(codec_lengths(&h) && (h.codec == BATCH_PLAIN) == (stored == raw));
    if (h.codec != BATCH_PLAIN) {
        ASSERT(h.body_bytes < n && codec_decode(&h, stored, back) == ERR_OK);
        ASSERT(memcmp(raw, back, n) == 0);
    }
    free(raw);
    free(room);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4 || size > 1 << 18)
        return 0;
    decode_body(data + 4, size - 4, get_u32(data));
    read_batch(data + 4, size - 4);
    round_trip(data + 4, size - 4);
    return 0;
}
