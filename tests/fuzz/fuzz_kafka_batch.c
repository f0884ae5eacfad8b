/* fuzz_kafka_batch.c - what is read of a batch stays inside of it, and what was read and is built
 * again is read the same. Input: a batch whose sum need not fit. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_set.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>
#include <zlib.h>

enum { BOUND = 1 << 20 };

static void inside(struct str part, struct str whole)
{
    ASSERT(part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n));
}

static void walk(const struct kafka_batch *b, struct str records)
{
    uint8_t *out = mem_alloc(KAFKA_BATCH_HEADER + records.n * 2 + 64);
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_builder to;
    struct kafka_batch again;
    int64_t last = -1;
    bool ascends = b->base_offset >= 0 && b->base_offset < INT64_MAX / 2;

    if (ascends)
        kafka_builder_open(&to, out, KAFKA_BATCH_HEADER + records.n * 2 + 64, b->base_offset);
    kafka_record_iter_init(&it, b, records);
    while (kafka_record_iter_next(&it, &r)) {
        struct str headers = r.headers, name, value;
        int32_t n = 0;
        inside(r.key, records);
        inside(r.value, records);
        while (kafka_header_next(&headers, &name, &value)) {
            inside(name, records);
            inside(value, records);
            n++;
        }
        ASSERT(n == r.nheaders && headers.n == 0);
        ascends = ascends && r.offset > last;
        last = r.offset;
        if (ascends)
            ascends = kafka_builder_add(&to, &r);
    }
    if (ascends) {
        size_t n = kafka_builder_finish(&to, 0, NULL);
        ASSERT(kafka_batch_open(str_from(out, n), &again) == KAFKA_BATCH_OK);
        ASSERT(kafka_batch_sum_ok(str_from(out, n), &again) && again.bytes == n);
        kafka_record_iter_init(&it, &again, again.records);
        n = 0;
        while (kafka_record_iter_next(&it, &r))
            n++;
        ASSERT(!it.bad && (int32_t) n == to.count);
    }
    mem_free(out);
}

/* A message set whose sums are right: what comes out is a batch that a producer could have sent. */
static void convert(struct str in)
{
    uint8_t *copy = mem_alloc(in.n + 1);
    struct buf out = {0};
    struct kafka_batch b;

    memcpy(copy, in.p, in.n);
    for (size_t at = 0; in.n - at >= 26;) {
        size_t n = kafka_get_u32(copy + at + 8);
        if (n < 14 || n > in.n - at - 12)
            break;
        kafka_put_u32(copy + at + 12, (uint32_t) crc32(0, copy + at + 16, (uInt) n - 4));
        at += n + 12;
    }
    if (kafka_set_convert(str_from(copy, in.n), &out) == KAFKA_BATCH_OK)
        ASSERT(kafka_batch_check(buf_str(&out), &b) == KAFKA_BATCH_OK);
    buf_free(&out);
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_from(data, size), records;
    struct kafka_batch b;
    struct kafka_room room = {0};

    kafka_batch_check(in, &b);
    if (size > 16 && data[16] < KAFKA_BATCH_MAGIC)
        convert(in);
    if (kafka_batch_open(in, &b) != KAFKA_BATCH_OK)
        return 0;
    ASSERT(b.bytes <= size && b.records.n == b.bytes - KAFKA_BATCH_HEADER);
    if (kafka_batch_records(&b, BOUND, &room, &records) == ERR_OK) {
        ASSERT(records.n <= BOUND);
        kafka_batch_check_records(&b, records, true, NULL);
        walk(&b, records);
    }
    kafka_room_free(&room);
    return 0;
}
