/* test_kafka_batch.c - record batches: what Kafka's clients send, what is damaged, what we build.
 */
#include "lib/base/base64.h"
#include "lib/base/crc32c.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_bytes.h"
#include "tests/lib/runner.h"

#include <string.h>

/* Of kafka-python 2.0.2: three records, the second without key, the third without value. */
static const char plain[] =
    "AAAAAAAAAAAAAABdAAAAAAIwpYrfAAAAAAACAAABi8/laAAAAAGLz+VoBf//////////////////AAAAAzYAAAAE"
    "azAUdmFsdWUgemVybwQEaDECeARoMQEMAAoCAQAAEAATBAABAgAA";
static const char producer[] =
    "AAAAAAAAAAAAAABdAAAAAAJtxiWfAAAAAAACAAABi8/laAAAAAGLz+VoBQAAAAAAABJnAAMAAABkAAAAAzYAAAAE"
    "azAUdmFsdWUgemVybwQEaDECeARoMQEMAAoCAQAAEAATBAABAgAA";

static struct buf bytes_of(const char *text)
{
    struct buf out = {0};

    ck_assert(base64_decode(&out, str_of(text)));
    return out;
}

static void sum(struct buf *b)
{
    kafka_put_u32(b->p + 17, crc32c_kafka(b->p + 21, b->n - 21));
}

static void expect_header(struct str *headers, const char *name, const char *value)
{
    struct str n, v;

    ck_assert(kafka_header_next(headers, &n, &v));
    ck_assert(str_eq(n, str_of(name)));
    ck_assert((v.p == NULL) == (value == NULL) && str_eq(v, str_of(value)));
}

/* The three records, whoever encoded them. */
static void expect_records(const struct kafka_batch *b, struct str records)
{
    struct kafka_record_iter it;
    struct kafka_record r;

    kafka_record_iter_init(&it, b, records);
    ck_assert(kafka_record_iter_next(&it, &r));
    ck_assert(r.offset == b->base_offset && r.time == 1700000000000);
    ck_assert(str_eq(r.key, STR("k0")) && str_eq(r.value, STR("value zero")));
    ck_assert_int_eq(r.nheaders, 2);
    expect_header(&r.headers, "h1", "x");
    expect_header(&r.headers, "h1", NULL);
    ck_assert_uint_eq(r.headers.n, 0);
    ck_assert(kafka_record_iter_next(&it, &r));
    ck_assert(r.offset == b->base_offset + 1 && r.time == 1700000000005);
    ck_assert(r.key.p == NULL && r.value.p != NULL && r.value.n == 0 && r.nheaders == 0);
    ck_assert(kafka_record_iter_next(&it, &r));
    ck_assert(r.offset == b->base_offset + 2 && r.time == 1699999999990);
    ck_assert(r.key.p != NULL && r.key.n == 0 && r.value.p == NULL && r.nheaders == 1);
    expect_header(&r.headers, "", "");
    ck_assert(!kafka_record_iter_next(&it, &r) && !it.bad);
}

TEST(what_a_client_sends_is_read)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    ck_assert_int_eq(kafka_batch_check(buf_str(&in), &b), KAFKA_BATCH_OK);
    ck_assert_uint_eq(b.bytes, 105);
    ck_assert_int_eq(b.count, 3);
    ck_assert_int_eq(b.last_offset_delta, 2);
    ck_assert(b.base_time == 1700000000000 && b.max_time == 1700000000005);
    ck_assert(b.producer_id == -1 && b.producer_epoch == -1 && b.base_sequence == -1);
    expect_records(&b, b.records);
    ck_assert_int_eq(kafka_batch_check_records(&b, b.records, false, NULL), KAFKA_BATCH_OK);
    buf_free(&in);
}

TEST(producer_fields)
{
    struct buf in = bytes_of(producer);
    struct kafka_batch b;

    ck_assert_int_eq(kafka_batch_check(buf_str(&in), &b), KAFKA_BATCH_OK);
    ck_assert(b.producer_id == 4711 && b.producer_epoch == 3 && b.base_sequence == 100);
    buf_free(&in);
}

TEST(a_patch_leaves_the_sum_alone)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    kafka_batch_patch((uint8_t *) in.p, 123456789012, 7);
    ck_assert_int_eq(kafka_batch_check(buf_str(&in), &b), KAFKA_BATCH_OK);
    ck_assert(b.base_offset == 123456789012 && b.leader_epoch == 7);
    expect_records(&b, b.records);
    buf_free(&in);
}

TEST(a_stamp_is_summed)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch before, b;
    struct kafka_record_iter it;
    struct kafka_record r;

    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &before), KAFKA_BATCH_OK);
    kafka_batch_stamp((uint8_t *) in.p, INT64_C(1700000000123));
    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_sum_ok(buf_str(&in), &b));
    ck_assert_int_eq(b.attributes, before.attributes | KAFKA_APPEND_TIME);
    ck_assert_int_eq(b.base_time, before.base_time);
    kafka_record_iter_init(&it, &b, b.records);
    for (int32_t k = 0; k < b.count; k++) {
        ck_assert(kafka_record_iter_next(&it, &r));
        ck_assert_int_eq(r.time, INT64_C(1700000000123));
    }
    buf_free(&in);
}

TEST(append_time_is_every_records_time)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;
    struct kafka_record_iter it;
    struct kafka_record r;

    in.p[22] |= KAFKA_APPEND_TIME;
    sum(&in);
    ck_assert_int_eq(kafka_batch_check(buf_str(&in), &b), KAFKA_BATCH_TIME_TYPE);
    kafka_record_iter_init(&it, &b, b.records);
    while (kafka_record_iter_next(&it, &r))
        ck_assert(r.time == b.max_time);
    buf_free(&in);
}

/* One field changed; with the sum made right again or not. */
static const struct reject {
    const char *what;
    unsigned at;
    uint8_t value;
    bool sums;
    enum kafka_batch_fault want;
} rejects[] = {
    {"magic 0", 16, 0, false, KAFKA_BATCH_OLD},
    {"magic 1", 16, 1, false, KAFKA_BATCH_OLD},
    {"magic 3", 16, 3, false, KAFKA_BATCH_MAGIC_BAD},
    {"magic -1", 16, 255, false, KAFKA_BATCH_MAGIC_BAD},
    {"length longer", 11, 94, false, KAFKA_BATCH_SHORT},
    {"length negative", 8, 128, false, KAFKA_BATCH_SHORT},
    {"length below the header", 11, 48, false, KAFKA_BATCH_SHORT},
    {"length shorter", 11, 92, false, KAFKA_BATCH_CRC},
    {"crc", 17, 0, false, KAFKA_BATCH_CRC},
    {"a byte of a record", 70, 0, false, KAFKA_BATCH_CRC},
    {"attributes", 22, 1, false, KAFKA_BATCH_CRC},
    {"last delta above", 26, 3, true, KAFKA_BATCH_COUNT},
    {"last delta below", 26, 1, true, KAFKA_BATCH_COUNT},
    {"last delta negative", 23, 255, true, KAFKA_BATCH_COUNT},
    {"count above", 60, 4, true, KAFKA_BATCH_COUNT},
    {"count negative", 57, 255, true, KAFKA_BATCH_COUNT},
    {"codec 5", 22, 5, true, KAFKA_BATCH_CODEC_BAD},
    {"codec 7", 22, 7, true, KAFKA_BATCH_CODEC_BAD},
    {"control", 22, KAFKA_CONTROL, true, KAFKA_BATCH_IS_CONTROL},
    {"append time", 22, KAFKA_APPEND_TIME, true, KAFKA_BATCH_TIME_TYPE},
    {"producer id without sequence", 43, 0, true, KAFKA_BATCH_SEQUENCE},
    {"transactional", 22, KAFKA_TRANSACTIONAL, true, KAFKA_BATCH_OK},
};

TEST(rejects_of_batches)
{
    const struct reject *x = &rejects[i];
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    in.p[x->at] = (char) x->value;
    if (x->sums)
        sum(&in);
    ck_assert_msg(kafka_batch_check(buf_str(&in), &b) == x->want, "%s", x->what);
    buf_free(&in);
}

TEST(more_than_one_batch_is_refused)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    buf_putc(&in, 0);
    ck_assert_int_eq(kafka_batch_check(buf_str(&in), &b), KAFKA_BATCH_TRAILING);
    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    buf_free(&in);
}

TEST(every_cut_is_short)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    for (size_t n = 0; n < in.n; n++)
        ck_assert_int_eq(kafka_batch_check(str_from(in.p, n), &b), KAFKA_BATCH_SHORT);
    buf_free(&in);
}

/* The records alone, in bytes: what is written over one of them, and what is said of it. */
static const struct record_reject {
    const char *what;
    unsigned at; /* from the first record on */
    uint8_t value;
    enum kafka_batch_fault want;
    int32_t record;
} record_rejects[] = {
    {"length longer", 0, 0x38, KAFKA_BATCH_RECORD_BAD, 0},
    {"length zero", 0, 0, KAFKA_BATCH_RECORD_BAD, 0},
    {"length negative", 0, 1, KAFKA_BATCH_RECORD_BAD, 0},
    {"offset 1 first", 3, 2, KAFKA_BATCH_OFFSETS_BAD, 0},
    {"offset negative", 3, 1, KAFKA_BATCH_RECORD_BAD, 0},
    {"key longer than the record", 4, 0x7e, KAFKA_BATCH_RECORD_BAD, 0},
    {"key length -2", 4, 3, KAFKA_BATCH_RECORD_BAD, 0},
    {"value longer", 7, 0x7e, KAFKA_BATCH_RECORD_BAD, 0},
    {"headers -1", 18, 1, KAFKA_BATCH_RECORD_BAD, 0},
    {"more headers than there are", 18, 6, KAFKA_BATCH_RECORD_BAD, 0},
    {"fewer headers than bytes", 18, 2, KAFKA_BATCH_RECORD_BAD, 0},
    {"header without a name", 19, 1, KAFKA_BATCH_RECORD_BAD, 0},
    {"second offset 3", 31, 6, KAFKA_BATCH_OFFSETS_BAD, 1},
    {"last length shorter", 35, 0x0e, KAFKA_BATCH_RECORD_BAD, 2},
};

TEST(rejects_of_records)
{
    const struct record_reject *x = &record_rejects[i];
    struct buf in = bytes_of(plain);
    struct kafka_batch b;
    int32_t record = -1;

    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    in.p[KAFKA_BATCH_HEADER + x->at] = (char) x->value;
    ck_assert_msg(kafka_batch_check_records(&b, b.records, false, &record) == x->want, "%s",
                  x->what);
    ck_assert_msg(record == x->record, "%s: %d", x->what, record);
    buf_free(&in);
}

TEST(a_compacted_topic_wants_keys)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;
    int32_t record;

    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    ck_assert_int_eq(kafka_batch_check_records(&b, b.records, true, &record), KAFKA_BATCH_NO_KEY);
    ck_assert_int_eq(record, 1);
    buf_free(&in);
}

TEST(trailing_bytes_and_missing_records_are_damage)
{
    struct buf in = bytes_of(plain);
    struct kafka_batch b;

    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    b.count = 2;
    ck_assert_int_eq(kafka_batch_check_records(&b, b.records, false, NULL), KAFKA_BATCH_RECORD_BAD);
    b.count = 4;
    ck_assert_int_eq(kafka_batch_check_records(&b, b.records, false, NULL), KAFKA_BATCH_RECORD_BAD);
    buf_free(&in);
}

/* ---- building ------------------------------------------------------------------------------ */

static size_t rebuild(struct str from, uint8_t *out, size_t cap, bool like)
{
    struct kafka_batch b;
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_builder to;

    ck_assert_int_eq(kafka_batch_open(from, &b), KAFKA_BATCH_OK);
    kafka_record_iter_init(&it, &b, b.records);
    kafka_builder_open(&to, out, cap, b.base_offset);
    while (kafka_record_iter_next(&it, &r)) {
        size_t max = kafka_record_bytes_max(&r), before = to.n;
        ck_assert(kafka_builder_add(&to, &r));
        ck_assert(to.n - before <= max);
    }
    ck_assert(!it.bad);
    return kafka_builder_finish(&to, b.leader_epoch, like ? &b : NULL);
}

TEST(what_is_built_is_what_clients_build)
{
    struct buf in = bytes_of(i == 0 ? plain : producer);
    uint8_t out[256];

    size_t n = rebuild(buf_str(&in), out, sizeof(out), i != 0);
    ck_assert_uint_eq(n, in.n);
    ck_assert_mem_eq(out, in.p, n);
    buf_free(&in);
}

TEST(what_does_not_fit_changes_nothing)
{
    uint8_t out[KAFKA_BATCH_HEADER + 19];
    struct kafka_builder b;
    struct kafka_record r = {.time = 5, .offset = 10, .value = STR("0123456789")};
    struct kafka_batch got;

    kafka_builder_open(&b, out, sizeof(out), 10);
    ck_assert(kafka_builder_add(&b, &r));
    r.offset = 11;
    ck_assert(!kafka_builder_add(&b, &r));
    size_t n = kafka_builder_finish(&b, 0, NULL);
    ck_assert_int_eq(kafka_batch_check(str_from(out, n), &got), KAFKA_BATCH_OK);
    ck_assert(got.base_offset == 10 && got.count == 1);
}

TEST(offsets_far_apart_do_not_fit)
{
    uint8_t out[256];
    struct kafka_builder b;
    struct kafka_record r = {.offset = 0};

    kafka_builder_open(&b, out, sizeof(out), 0);
    ck_assert(kafka_builder_add(&b, &r));
    r.offset = (int64_t) INT32_MAX + 1;
    ck_assert(!kafka_builder_add(&b, &r));
    r.offset--;
    ck_assert(kafka_builder_add(&b, &r));
}

TEST(a_batch_without_some_records_ends_where_it_did)
{
    struct buf in = bytes_of(producer);
    struct kafka_batch b, got;
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_builder to;
    uint8_t out[256];

    kafka_batch_patch((uint8_t *) in.p, 1000, 0);
    ck_assert_int_eq(kafka_batch_open(buf_str(&in), &b), KAFKA_BATCH_OK);
    kafka_record_iter_init(&it, &b, b.records);
    kafka_builder_open(&to, out, sizeof(out), b.base_offset);
    while (kafka_record_iter_next(&it, &r))
        if (r.offset == 1001)
            ck_assert(kafka_builder_add(&to, &r));
    size_t n = kafka_builder_finish(&to, 0, &b);
    ck_assert_int_eq(kafka_batch_open(str_from(out, n), &got), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_sum_ok(str_from(out, n), &got));
    ck_assert(got.base_offset == 1000 && got.last_offset_delta == 2 && got.count == 1);
    ck_assert(got.producer_id == 4711 && got.producer_epoch == 3 && got.base_sequence == 100);
    kafka_record_iter_init(&it, &got, got.records);
    ck_assert(kafka_record_iter_next(&it, &r) && r.offset == 1001 && r.time == 1700000000005);
    buf_free(&in);
}

TEST(the_filler_is_a_commit_marker_of_nobody)
{
    static const int64_t ends[] = {0, 1, 100000, INT32_MAX, (int64_t) INT32_MAX + 5};
    uint8_t out[KAFKA_FILLER_BYTES];
    struct kafka_batch b;
    struct kafka_record_iter it;
    struct kafka_record r;

    size_t n = kafka_batch_filler(out, 7, 7 + ends[i], 1700000000000, 3);
    ck_assert_uint_le(n, sizeof(out));
    ck_assert_int_eq(kafka_batch_open(str_from(out, n), &b), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_sum_ok(str_from(out, n), &b) && b.bytes == n);
    ck_assert_int_eq(b.attributes, KAFKA_CONTROL | KAFKA_TRANSACTIONAL);
    ck_assert(b.base_offset + b.last_offset_delta == 7 + ends[i] && b.producer_id == -1);
    ck_assert(b.base_offset >= 7 && b.leader_epoch == 3 && b.count == 1);
    kafka_record_iter_init(&it, &b, b.records);
    ck_assert(kafka_record_iter_next(&it, &r));
    ck_assert(r.offset == 7 + ends[i] && r.nheaders == 0);
    ck_assert(str_eq(r.key, str_from("\0\0\0\1", 4)));
    ck_assert(str_eq(r.value, str_from("\0\0\0\0\0\0", 6)));
    ck_assert(!kafka_record_iter_next(&it, &r) && !it.bad);
}

TEST(headers_are_put_and_taken)
{
    struct buf out = {0};
    struct str rest;

    kafka_header_put(&out, STR("a"), STR("1"));
    kafka_header_put(&out, STR_NONE, STR_NONE);
    rest = buf_str(&out);
    expect_header(&rest, "a", "1");
    expect_header(&rest, "", NULL);
    ck_assert_uint_eq(rest.n, 0);
    buf_free(&out);
}

TEST(every_fault_has_a_text)
{
    for (int f = 0; f < KAFKA_BATCH_FAULTS; f++)
        ck_assert_uint_gt(strlen(kafka_batch_fault_text((enum kafka_batch_fault) f)), 3);
}

static const struct runner_case cases[] = {
    RUN(what_a_client_sends_is_read),
    RUN(producer_fields),
    RUN(a_patch_leaves_the_sum_alone),
    RUN(a_stamp_is_summed),
    RUN(append_time_is_every_records_time),
    RUN_LOOP(rejects_of_batches, 0, sizeof(rejects) / sizeof(rejects[0])),
    RUN(more_than_one_batch_is_refused),
    RUN(every_cut_is_short),
    RUN_LOOP(rejects_of_records, 0, sizeof(record_rejects) / sizeof(record_rejects[0])),
    RUN(a_compacted_topic_wants_keys),
    RUN(trailing_bytes_and_missing_records_are_damage),
    RUN_LOOP(what_is_built_is_what_clients_build, 0, 2),
    RUN(what_does_not_fit_changes_nothing),
    RUN(offsets_far_apart_do_not_fit),
    RUN(a_batch_without_some_records_ends_where_it_did),
    RUN_LOOP(the_filler_is_a_commit_marker_of_nobody, 0, 5),
    RUN(headers_are_put_and_taken),
    RUN(every_fault_has_a_text),
};

RUNNER_MAIN("wire/kafka_batch", cases)
