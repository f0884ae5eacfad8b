/*
 * test_kafka_set.c - message sets of magic 0 and 1 as batches, and records as messages; frames as
 * old clients wrote them, and what is wrong with some.
 */
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"
#include "lib/wire/kafka_set.h"
#include "tests/lib/runner.h"

#include <string.h>
#include <zlib.h>

/* What kafka-python 2.0.2 makes of the messages k=v and (no key)=w, times 1500000000123 and ...124:
 * plain in magic 0 and 1, gzip in magic 0. */
static const uint8_t magic_0[] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                  0x10, 0x1f, 0xec, 0xd7, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
                                  0x6b, 0x00, 0x00, 0x00, 0x01, 0x76, 0x00, 0x00, 0x00, 0x00, 0x00,
                                  0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x0f, 0xa5, 0x0b, 0x8f, 0x63,
                                  0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x77};
static const uint8_t magic_1[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x18, 0x62, 0x04, 0xd9,
    0xab, 0x01, 0x00, 0x00, 0x00, 0x01, 0x5d, 0x3e, 0xf7, 0x98, 0x7b, 0x00, 0x00, 0x00, 0x01,
    0x6b, 0x00, 0x00, 0x00, 0x01, 0x76, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
    0x00, 0x00, 0x17, 0xa8, 0x47, 0x84, 0x95, 0x01, 0x00, 0x00, 0x00, 0x01, 0x5d, 0x3e, 0xf7,
    0x98, 0x7c, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x01, 0x77};
static const uint8_t gzip_0[] = {
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x42, 0x46, 0x2b, 0x3b, 0x57,
    0x00, 0x01, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x34, 0x1f, 0x8b, 0x08, 0x00, 0x6e, 0x34,
    0x02, 0x6b, 0x02, 0xff, 0x63, 0x60, 0x80, 0x03, 0x01, 0xf9, 0x37, 0xd7, 0xb9, 0xc0, 0x2c, 0xc6,
    0x6c, 0x10, 0x51, 0x06, 0x15, 0x67, 0x04, 0x62, 0xfe, 0xa5, 0xdc, 0xfd, 0xc9, 0x0c, 0x0c, 0xff,
    0x81, 0x00, 0x24, 0x52, 0x0e, 0x00, 0xfc, 0xf7, 0xab, 0xad, 0x37, 0x00, 0x00, 0x00};

static void put(struct buf *out, int magic, const char *key, const char *value, int64_t time)
{
    struct kafka_record r = {.time = time};

    if (key != NULL)
        r.key = str_of(key);
    if (value != NULL)
        r.value = str_of(value);
    kafka_set_put(out, magic, &r);
}

static void fix_sum(struct buf *set, size_t at)
{
    uint8_t *p = (uint8_t *) set->p + at;
    uint32_t n = kafka_get_u32(p + 8);

    kafka_put_u32(p + 12, (uint32_t) crc32(0, p + 16, n - 4));
}

/* A message whose value is the set, compressed. */
static void wrap(struct buf *out, int magic, enum kafka_codec codec, struct str set)
{
    struct buf packed = {0};
    size_t at = out->n;

    ck_assert_int_eq(kafka_compress(codec, set, &packed), ERR_OK);
    struct kafka_record r = {.time = 77, .value = buf_str(&packed)};
    kafka_set_put(out, magic, &r);
    out->p[at + 17] = (char) codec;
    fix_sum(out, at);
    buf_free(&packed);
}

/* The batch as text: "key=value@time", null as "-". */
static void expect(struct str set, enum kafka_codec codec, const char *want)
{
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct buf out = {0}, text = {0};
    struct kafka_record r;
    struct kafka_batch b;
    struct str records;
    int64_t n = 0;

    ck_assert_int_eq(kafka_set_convert(set, &out), KAFKA_BATCH_OK);
    ck_assert_int_eq(kafka_batch_check(buf_str(&out), &b), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_codec(&b) == codec && b.producer_id == -1);
    ck_assert_int_eq(kafka_batch_records(&b, 1 << 20, &room, &records), ERR_OK);
    kafka_record_iter_init(&it, &b, records);
    while (kafka_record_iter_next(&it, &r)) {
        ck_assert_int_eq(r.offset, n++);
        ck_assert_int_eq(r.nheaders, 0);
        buf_printf(&text, "%.*s=%.*s@%d ", r.key.p != NULL ? (int) r.key.n : 1,
                   r.key.p != NULL ? r.key.p : "-", r.value.p != NULL ? (int) r.value.n : 1,
                   r.value.p != NULL ? r.value.p : "-", (int) r.time);
    }
    ck_assert(!it.bad);
    ck_assert_str_eq(buf_cstr(&text), want);
    kafka_room_free(&room);
    buf_free(&out);
    buf_free(&text);
}

TEST(sets_become_batches)
{
    struct buf set = {0};

    put(&set, 1, "a", "1", 1000);
    put(&set, 1, NULL, "", 900);
    put(&set, 1, "", NULL, 1100);
    expect(buf_str(&set), KAFKA_PLAIN, "a=1@1000 -=@900 =-@1100 ");
    buf_clear(&set);
    put(&set, 0, "a", "1", 5);
    put(&set, 0, NULL, NULL, 5);
    expect(buf_str(&set), KAFKA_PLAIN, "a=1@-1 -=-@-1 ");
    buf_free(&set);
}

TEST(recorded)
{
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_batch b;
    struct kafka_record r;
    struct str records;
    struct buf set = {0}, out = {0};

    ck_assert_int_eq(kafka_set_convert(str_from(magic_1, sizeof(magic_1)), &out), KAFKA_BATCH_OK);
    ck_assert_int_eq(kafka_batch_check(buf_str(&out), &b), KAFKA_BATCH_OK);
    ck_assert(b.base_time == 1500000000123 && b.max_time == 1500000000124);
    ck_assert_int_eq(kafka_batch_records(&b, 1000, &room, &records), ERR_OK);
    kafka_record_iter_init(&it, &b, records);
    /* And back: the same bytes. */
    while (kafka_record_iter_next(&it, &r))
        kafka_set_put(&set, 1, &r);
    ck_assert_uint_eq(set.n, sizeof(magic_1));
    ck_assert_mem_eq(set.p, magic_1, set.n);
    expect(str_from(magic_0, sizeof(magic_0)), KAFKA_PLAIN, "k=v@-1 -=w@-1 ");
    expect(str_from(gzip_0, sizeof(gzip_0)), KAFKA_GZIP, "k=v@-1 -=w@-1 ");
    kafka_room_free(&room);
    buf_free(&set);
    buf_free(&out);
}

/* Wrappers, several, beside plain ones. */
TEST(wrappers)
{
    enum kafka_codec codec = (enum kafka_codec) i;
    struct buf inner = {0}, set = {0};

    put(&inner, 1, "a", "1", 10);
    put(&inner, 1, "b", "2", 20);
    put(&set, 1, "first", "0", 5);
    wrap(&set, 1, codec, buf_str(&inner));
    wrap(&set, 1, codec, buf_str(&inner));
    expect(buf_str(&set), codec, "first=0@5 a=1@10 b=2@20 a=1@10 b=2@20 ");
    if (codec != KAFKA_LZ4) {
        buf_clear(&inner);
        buf_clear(&set);
        put(&inner, 0, "a", "1", 10);
        wrap(&set, 0, codec, buf_str(&inner));
        expect(buf_str(&set), codec, "a=1@-1 ");
    }
    buf_free(&inner);
    buf_free(&set);
}

static enum kafka_batch_fault fault_of(struct buf *set)
{
    struct buf out = {0};
    enum kafka_batch_fault fault = kafka_set_convert(buf_str(set), &out);

    ck_assert(fault == KAFKA_BATCH_OK || out.n == 0);
    buf_free(&out);
    return fault;
}

static const struct row {
    const char *what;
    int magic, at, value; /* a byte of the first message becomes this one */
    bool sum;             /* and its sum fits */
    enum kafka_batch_fault fault;
} rows[] = {
    {"a good one", 1, 0, 0, false, KAFKA_BATCH_OK},
    {"its sum", 1, 13, 1, false, KAFKA_BATCH_CRC},
    {"a byte of the value", 0, 30, 9, false, KAFKA_BATCH_CRC},
    {"size is too small", 1, 11, 3, false, KAFKA_BATCH_SHORT},
    {"size is too large", 1, 10, 9, false, KAFKA_BATCH_SHORT},
    {"size is negative", 1, 8, 255, false, KAFKA_BATCH_SHORT},
    {"magic 2", 1, 16, 2, true, KAFKA_BATCH_MAGIC_BAD},
    {"magic 1 without its time", 0, 16, 1, true, KAFKA_BATCH_RECORD_BAD},
    {"magic 0 with a time", 1, 16, 0, true, KAFKA_BATCH_RECORD_BAD},
    {"append time", 1, 17, 8, true, KAFKA_BATCH_TIME_TYPE},
    {"zstd", 1, 17, 4, true, KAFKA_BATCH_CODEC_BAD},
    {"codec 7", 1, 17, 7, true, KAFKA_BATCH_CODEC_BAD},
    {"lz4 in magic 0", 0, 17, 3, true, KAFKA_BATCH_CODEC_BAD},
    {"gzip that is none", 1, 17, 1, true, KAFKA_BATCH_RECORD_BAD},
    {"key length -2", 0, 21, 254, true, KAFKA_BATCH_RECORD_BAD},
    {"key is longer than the message", 0, 21, 200, true, KAFKA_BATCH_RECORD_BAD},
};

TEST(faults)
{
    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct buf set = {0};
        put(&set, rows[k].magic, "key", "value", 5);
        put(&set, rows[k].magic, "key", "value", 5);
        set.p[rows[k].at] = (char) rows[k].value;
        if (rows[k].at == 21 && rows[k].value == 254)
            memset(set.p + 18, 255, 3);
        if (rows[k].sum)
            fix_sum(&set, 0);
        ck_assert_msg(fault_of(&set) == rows[k].fault, "%s: %d", rows[k].what,
                      (int) fault_of(&set));
        buf_free(&set);
    }
}

TEST(cuts_and_nests)
{
    struct buf set = {0}, outer = {0}, empty = {0};

    put(&set, 1, "key", "value", 5);
    for (size_t n = 1; n < set.n; n++) {
        struct buf cut = {0};
        buf_put(&cut, set.p, n);
        ck_assert_int_eq(fault_of(&cut), KAFKA_BATCH_SHORT);
        buf_free(&cut);
    }
    ck_assert_int_eq(fault_of(&empty), KAFKA_BATCH_COUNT);
    wrap(&empty, 1, KAFKA_SNAPPY, str_from(set.p, 0));
    ck_assert_int_eq(fault_of(&empty), KAFKA_BATCH_COUNT);
    wrap(&outer, 1, KAFKA_GZIP, buf_str(&set));
    buf_clear(&set);
    wrap(&set, 1, KAFKA_GZIP, buf_str(&outer));
    ck_assert_int_eq(fault_of(&set), KAFKA_BATCH_RECORD_BAD);
    buf_free(&set);
    buf_free(&outer);
    buf_free(&empty);
}

static const struct runner_case cases[] = {
    RUN(sets_become_batches),
    RUN(recorded),
    RUN_LOOP(wrappers, KAFKA_GZIP, KAFKA_ZSTD),
    RUN(faults),
    RUN(cuts_and_nests),
};

RUNNER_MAIN("wire/kafka_set", cases)
