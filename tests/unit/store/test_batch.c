/* Batches: round trip, limits of the builder, a table of rejects, every byte flip, guard pages. */
#include "store/batch.h"
#include "store/store.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <stdio.h>
#include <stdlib.h>

#define SALT 0x12345678u
#define FIRST 1000

static uint8_t meta[BATCH_META], body[BATCH_BODY];

static struct batch_builder fill(unsigned n)
{
    struct batch_builder b;
    char subject[32], payload[64];

    batch_open(&b, meta, sizeof(meta), body, sizeof(body), SALT, FIRST);
    for (unsigned i = 0; i < n; i++) {
        snprintf(subject, sizeof(subject), "orders.%u", i);
        snprintf(payload, sizeof(payload), "payload number %u %.*s", i, (int) (i % 9), "abcdefghi");
        ck_assert(batch_append(&b, str_of(subject),
                               i % 3 == 0 ? STR("NATS/1.0\r\nA: b\r\n\r\n") : STR_NONE,
                               str_of(payload), 5000 + i * 10, i % 3 == 0 ? BATCH_HAS_IDS : 0));
    }
    return b;
}

/* The sealed batch in one piece. */
static struct guard flat(const struct batch_builder *b)
{
    uint8_t *all = malloc(batch_bytes(b));

    memcpy(all, b->meta, batch_meta_bytes(b));
    memcpy(all + batch_meta_bytes(b), b->body, batch_body_bytes(b));
    struct guard g = guard_copy(all, batch_bytes(b));
    free(all);
    return g;
}

TEST(round_trip)
{
    struct batch_builder b = fill(10);
    struct batch_view v;
    struct batch_record r;
    char text[64];

    batch_seal(&b, 990, 7);
    ck_assert_uint_eq(batch_bytes(&b) % BATCH_ALIGN, 0);
    struct guard g = flat(&b);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    ck_assert_uint_eq(v.h.bytes, g.n);
    ck_assert_uint_eq(v.h.first_seq, FIRST);
    ck_assert_uint_eq(v.h.span, 10);
    ck_assert_uint_eq(v.h.count, 10);
    ck_assert_uint_eq(v.h.durable_seq, 990);
    ck_assert_uint_eq(v.h.epoch, 7);
    ck_assert_uint_eq(v.h.flags, BATCH_HAS_IDS);
    ck_assert_int_eq(v.h.base_time, 5000);
    ck_assert_int_eq(v.h.max_time, 5090);
    ck_assert_uint_eq(batch_verify(&v, SALT, NULL), 0);
    for (uint32_t k = 0; k < 10; k++) {
        batch_record_get(&v, k, &r);
        ck_assert_uint_eq(r.seq, FIRST + k);
        ck_assert_int_eq(r.ts, 5000 + k * 10);
        snprintf(text, sizeof(text), "orders.%u", k);
        ck_assert(str_eq(r.subject, str_of(text)));
        snprintf(text, sizeof(text), "payload number %u %.*s", k, (int) (k % 9), "abcdefghi");
        ck_assert(str_eq(r.payload, str_of(text)));
        ck_assert_uint_eq(r.header.n, k % 3 == 0 ? 18 : 0);
        ck_assert_ptr_eq(r.data, r.header.p);
        ck_assert_ptr_eq(r.data + r.header.n, r.payload.p);
        ck_assert(memcmp(r.data + r.data_len - 2, "\r\n", 2) == 0);
    }
    guard_free(&g);
}

TEST(builder_view_equals_disk_view)
{
    struct batch_builder b = fill(50);
    struct batch_view mine, disk;
    struct batch_record x, y;

    batch_seal(&b, 1, 1);
    struct guard g = flat(&b);
    batch_view_builder(&b, &mine);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &disk), ERR_OK);
    uint8_t a[BATCH_HEADER], z[BATCH_HEADER];
    batch_header_encode(&mine.h, a);
    batch_header_encode(&disk.h, z);
    ck_assert(memcmp(a, z, BATCH_HEADER) == 0);
    for (uint32_t k = 0; k < 50; k++) {
        batch_record_get(&mine, k, &x);
        batch_record_get(&disk, k, &y);
        ck_assert(x.seq == y.seq && x.ts == y.ts && str_eq(x.payload, y.payload) &&
                  str_eq(x.subject, y.subject));
    }
    guard_free(&g);
}

TEST(builder_refuses_when_full)
{
    struct batch_builder b;
    uint8_t small_meta[BATCH_HEADER + 2 * BATCH_ENTRY], small_body[64];
    size_t need = batch_body_need(1, 0, 5);

    batch_open(&b, small_meta, sizeof(small_meta), small_body, sizeof(small_body), SALT, 1);
    ck_assert(batch_append(&b, STR("a"), STR_NONE, STR("x"), 0, 0));
    ck_assert(batch_append(&b, STR("a"), STR_NONE, STR("y"), 0, 0));
    ck_assert(!batch_append(&b, STR("a"), STR_NONE, STR("z"), 0, 0)); /* table */
    batch_open(&b, meta, sizeof(meta), small_body, (uint32_t) need, SALT, 1);
    ck_assert(!batch_append(&b, STR("a"), STR_NONE, STR("123456"), 0, 0)); /* body: one too many */
    ck_assert(batch_append(&b, STR("a"), STR_NONE, STR("12345"), 0, 0));   /* exactly */
    ck_assert_uint_eq(b.count, 1);
    batch_seal(&b, 0, 0);
    ck_assert_uint_le(batch_body_bytes(&b), need);
}

TEST(builder_refuses_times_out_of_range)
{
    struct batch_builder b;

    batch_open(&b, meta, sizeof(meta), body, sizeof(body), SALT, 1);
    ck_assert(batch_append(&b, STR("a"), STR_NONE, STR_NONE, 100, 0));
    ck_assert(!batch_append(&b, STR("a"), STR_NONE, STR_NONE, 99, 0));
    ck_assert(!batch_append(&b, STR("a"), STR_NONE, STR_NONE, 101 + (int64_t) UINT32_MAX, 0));
    ck_assert(batch_append(&b, STR("a"), STR_NONE, STR_NONE, 100 + (int64_t) UINT32_MAX, 0));
    ck_assert_int_eq(b.max_time, 100 + (int64_t) UINT32_MAX);
}

TEST(large_message)
{
    size_t n = 3 << 20;
    char *payload = calloc(1, n);
    size_t cap = batch_body_need(7, 0, n);
    uint8_t *large = malloc(cap);
    struct batch_builder b;
    struct batch_view v;
    struct batch_record r;

    batch_open(&b, meta, sizeof(meta), large, (uint32_t) cap, SALT, 5);
    ck_assert(batch_append(&b, STR("subject"), STR_NONE, str_from(payload, n), 1, 0));
    batch_seal(&b, 4, 1);
    struct guard g = flat(&b);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    ck_assert_int_eq(batch_record_verify(&v, 0, SALT), BATCH_RECORD_OK);
    batch_record_get(&v, 0, &r);
    ck_assert_uint_eq(r.payload.n, n);
    guard_free(&g);
    free(large);
    free(payload);
}

TEST(skip)
{
    uint8_t bytes[BATCH_HEADER];
    struct batch_view v;
    uint32_t k;

    batch_encode_skip(bytes, SALT, 77, 1000000, 123, 76, 3);
    struct guard g = guard_copy(bytes, sizeof(bytes));
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    ck_assert_uint_eq(v.h.kind, BATCH_SKIP);
    ck_assert_uint_eq(v.h.first_seq, 77);
    ck_assert_uint_eq(v.h.span, 1000000);
    ck_assert_uint_eq(v.h.count, 0);
    ck_assert(!batch_find(&v, 78, &k));
    ck_assert_uint_eq(batch_verify(&v, SALT, NULL), 0);
    guard_free(&g);
}

/* A sparse batch, as compaction will write it: made from a dense one. */
TEST(sparse)
{
    struct batch_builder b = fill(3);
    uint32_t deltas[3] = {0, 5, 90}, k;
    struct batch_header h;
    struct batch_view v;
    uint8_t all[4096];

    batch_seal(&b, 1, 1);
    ck_assert_int_eq(batch_header_decode(b.meta, &h), ERR_OK);
    h.flags |= BATCH_SPARSE;
    h.table_bytes += 12;
    h.span = 100;
    h.bytes = (uint32_t) round_up(BATCH_HEADER + h.table_bytes + h.body_bytes, 8);
    memset(all, 0, sizeof(all));
    memcpy(all + BATCH_HEADER, b.meta + BATCH_HEADER, 24);
    memcpy(all + BATCH_HEADER + 24, deltas, 12);
    memcpy(all + BATCH_HEADER + 36, b.body, b.body_len);
    for (k = 0; k < 3; k++) {
        uint32_t from = get_u32(b.meta + BATCH_HEADER + 8 * k);
        uint32_t to = k < 2 ? get_u32(b.meta + BATCH_HEADER + 8 * (k + 1)) : b.body_len;
        put_u32(all + BATCH_HEADER + 8 * k + 4,
                crc32c(batch_record_seed(SALT, FIRST + deltas[k]), b.body + from, to - from));
    }
    batch_header_encode(&h, all);
    h.crc = batch_header_crc(SALT, all, all + BATCH_HEADER, h.table_bytes);
    batch_header_encode(&h, all);
    ck_assert_int_eq(batch_view_open(all, sizeof(all), SALT, &v), ERR_OK);
    ck_assert_uint_eq(batch_verify(&v, SALT, NULL), 0);
    ck_assert(batch_find(&v, FIRST + 5, &k) && k == 1);
    ck_assert(batch_find(&v, FIRST + 90, &k) && k == 2);
    ck_assert(!batch_find(&v, FIRST + 6, &k) && !batch_find(&v, FIRST + 99, &k) &&
              !batch_find(&v, FIRST + 100, &k));
    /* Deltas must ascend and stay below span. */
    put_u32(all + BATCH_HEADER + 24 + 8, 100);
    h.crc = batch_header_crc(SALT, all, all + BATCH_HEADER, h.table_bytes);
    batch_header_encode(&h, all);
    ck_assert_int_eq(batch_view_open(all, sizeof(all), SALT, &v), ERR_CORRUPT);
    put_u32(all + BATCH_HEADER + 24 + 8, 5);
    h.crc = batch_header_crc(SALT, all, all + BATCH_HEADER, h.table_bytes);
    batch_header_encode(&h, all);
    ck_assert_int_eq(batch_view_open(all, sizeof(all), SALT, &v), ERR_CORRUPT);
}

TEST(erased)
{
    struct batch_builder b = fill(4);
    struct batch_view v;
    struct batch_header h;
    uint64_t bad[1];

    uint32_t from = get_u32(b.meta + BATCH_HEADER + 8), to = get_u32(b.meta + BATCH_HEADER + 16);
    batch_seal(&b, 1, 1);
    memset(b.body + from, 0, to - from);
    put_u32(b.meta + BATCH_HEADER + 8, from | BATCH_ERASED);
    put_u32(b.meta + BATCH_HEADER + 12, 0);
    ck_assert_int_eq(batch_header_decode(b.meta, &h), ERR_OK);
    h.crc = batch_header_crc(SALT, b.meta, b.meta + BATCH_HEADER, h.table_bytes);
    batch_header_encode(&h, b.meta);
    struct guard g = flat(&b);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    ck_assert_int_eq(batch_record_verify(&v, 1, SALT), BATCH_RECORD_ERASED);
    ck_assert_uint_eq(batch_verify(&v, SALT, bad), 0);
    ck_assert_uint_eq(bad[0], 2);
    guard_free(&g);
}

/* ---- rejects ------------------------------------------------------------------------------- */

static const struct reject {
    const char *what;
    unsigned at, bytes;
    uint64_t value;
    enum err err;
} rejects[] = {
    {"magic", 0, 4, 0x11111111, ERR_CORRUPT},
    {"length not a multiple of 8", 8, 4, 1001, ERR_CORRUPT},
    {"length 0", 8, 4, 0, ERR_CORRUPT},
    {"table too long", 12, 4, BATCH_TABLE_MAX + 8, ERR_CORRUPT},
    {"table not count * 8", 12, 4, 16, ERR_CORRUPT},
    {"body too long", 16, 4, BATCH_BODY_MAX + 8, ERR_CORRUPT},
    {"body and raw differ", 20, 4, 8, ERR_CORRUPT},
    {"sequence 0", 24, 8, 0, ERR_CORRUPT},
    {"sequence overflow", 24, 8, UINT64_MAX - 2, ERR_CORRUPT},
    {"time runs backwards", 48, 8, 1, ERR_CORRUPT},
    {"span 0", 56, 4, 0, ERR_CORRUPT},
    {"span unlike count", 56, 4, 9, ERR_CORRUPT},
    {"count 0", 60, 4, 0, ERR_CORRUPT},
    {"count too high for the table", 60, 4, 11, ERR_CORRUPT},
    {"kind not known", 68, 1, 9, ERR_UNSUPPORTED},
    {"kafka with ten records", 68, 1, BATCH_KAFKA, ERR_CORRUPT},
    {"a kind that is not known", 68, 1, 4, ERR_UNSUPPORTED},
    {"codec not known", 69, 1, 2, ERR_UNSUPPORTED},
    {"compressed to as many bytes", 69, 1, BATCH_LZ4, ERR_CORRUPT},
    {"flag not known", 70, 2, 0x8000, ERR_UNSUPPORTED},
    {"sparse without deltas", 70, 2, BATCH_SPARSE, ERR_CORRUPT},
};

TEST(header_rejects) /* i = row; the checksum is right, so that it is the rule that refuses */
{
    const struct reject *row = &rejects[i];
    struct batch_builder b = fill(10);
    struct batch_header h;

    batch_seal(&b, 1, 1);
    memcpy(b.meta + row->at, &row->value, row->bytes);
    put_u32(b.meta + 4,
            batch_header_crc(SALT, b.meta, b.meta + BATCH_HEADER, b.count * BATCH_ENTRY));
    ck_assert_msg(batch_header_decode(b.meta, &h) == row->err, "%s", row->what);
}

TEST(table_rejects)
{
    static const uint32_t offsets[][3] = {
        {1, 60, 120}, {0, 0, 120}, {0, 120, 60}, {0, 60, 1000000}, {0, 5, 120}};
    struct batch_builder b = fill(3);
    struct batch_view v;

    for (unsigned row = 0; row < ARRAY_LEN(offsets); row++) {
        batch_seal(&b, 1, 1);
        for (unsigned k = 0; k < 3; k++)
            put_u32(b.meta + BATCH_HEADER + 8 * k, offsets[row][k]);
        put_u32(b.meta + 4, batch_header_crc(SALT, b.meta, b.meta + BATCH_HEADER, 24));
        struct guard g = flat(&b);
        ck_assert_msg(batch_view_open(g.p, g.n, SALT, &v) == ERR_CORRUPT, "row %u", row);
        guard_free(&g);
    }
}

TEST(other_salt_or_place_never_verifies)
{
    struct batch_builder b = fill(5);
    struct batch_view v;

    batch_seal(&b, 1, 1);
    struct guard g = flat(&b);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT + 1, &v), ERR_CORRUPT);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    v.h.first_seq++;
    for (uint32_t k = 0; k < 5; k++)
        ck_assert_int_eq(batch_record_verify(&v, k, SALT), BATCH_RECORD_BAD);
    guard_free(&g);
}

TEST(truncated_at_every_byte)
{
    struct batch_builder b = fill(6);
    struct batch_view v;

    batch_seal(&b, 1, 1);
    struct guard whole = flat(&b);
    for (size_t n = 0; n < whole.n; n++) {
        struct guard g = guard_copy(whole.p, n);
        ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_CORRUPT);
        ck_assert(!batch_repair(g.p, g.n, SALT));
        guard_free(&g);
    }
    guard_free(&whole);
}

/* Every byte, three patterns: header and table are mended, a record costs itself, padding nothing.
 */
TEST(every_byte_flip)
{
    static const uint8_t patterns[] = {0x01, 0x80, 0xff};
    struct batch_builder b = fill(7);
    struct batch_view v;

    batch_seal(&b, 1, 1);
    struct guard whole = flat(&b);
    uint32_t head = batch_meta_bytes(&b);
    for (size_t at = 0; at < whole.n; at++)
        for (unsigned p = 0; p < sizeof(patterns); p++) {
            struct guard g = guard_copy(whole.p, whole.n);
            g.p[at] ^= patterns[p];
            bool opens = batch_view_open(g.p, g.n, SALT, &v) == ERR_OK;
            ck_assert_msg(opens == (at >= head), "byte %zu", at);
            if (!opens) {
                ck_assert_msg(batch_repair(g.p, g.n, SALT), "byte %zu ^ %02x is not mended", at,
                              patterns[p]);
                ck_assert_msg(memcmp(g.p, whole.p, g.n) == 0, "byte %zu ^ %02x mended wrongly", at,
                              patterns[p]);
                ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
            }
            uint64_t bad[1];
            uint32_t nbad = batch_verify(&v, SALT, bad);
            bool in_record = at >= head && at < head + b.body_len;
            ck_assert_uint_eq(nbad, in_record);
            if (in_record) {
                uint32_t k = (uint32_t) __builtin_ctzll(bad[0]);
                ck_assert_uint_ge(at - head, batch_record_offset(&v, k));
                ck_assert(batch_record_decayed(&v, k, SALT, 0));
            }
            guard_free(&g);
        }
    guard_free(&whole);
}

TEST(repair_refuses_more_than_one_byte)
{
    struct batch_builder b = fill(7);
    struct batch_view v;

    batch_seal(&b, 1, 1);
    struct guard g = flat(&b);
    g.p[30] ^= 1;
    g.p[60] ^= 1;
    ck_assert(!batch_repair(g.p, g.n, SALT));
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_CORRUPT);
    memset(g.p, 0xaa, g.n);
    ck_assert(!batch_repair(g.p, g.n, SALT));
    guard_free(&g);
}

/* Of a long record a torn write may look like one wrong byte: it is not called decayed. */
TEST(only_short_records_decay)
{
    static char payload[4096];
    size_t sizes[] = {10, 200, 300, 4096};

    for (unsigned k = 0; k < ARRAY_LEN(sizes); k++) {
        struct batch_builder b;
        struct batch_view v;
        batch_open(&b, meta, sizeof(meta), body, sizeof(body), SALT, FIRST);
        ck_assert(batch_append(&b, STR("s"), STR_NONE, str_from(payload, sizes[k]), 1, 0));
        batch_seal(&b, 1, 1);
        struct guard g = flat(&b);
        ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
        g.p[(size_t) (v.body - g.p) + 5] ^= 1;
        ck_assert_int_eq(batch_record_verify(&v, 0, SALT), BATCH_RECORD_BAD);
        ck_assert_int_eq(batch_record_decayed(&v, 0, SALT, 0), sizes[k] < 250);
        guard_free(&g);
    }
}

TEST(message_sizes)
{
    ck_assert_uint_eq(store_msg_bytes(STORE_DURABLE, 3, 0, 10), 22 + 3 + 10 + 8);
    ck_assert_uint_eq(store_msg_bytes(STORE_ASYNC, 3, 20, 10), 22 + 3 + 4 + 20 + 10 + 8);
    ck_assert_uint_eq(store_msg_bytes(STORE_MEMORY, 3, 20, 10), 3 + 20 + 10 + 16);
}

static const struct runner_case cases[] = {
    RUN(round_trip),
    RUN(builder_view_equals_disk_view),
    RUN(builder_refuses_when_full),
    RUN(builder_refuses_times_out_of_range),
    RUN(large_message),
    RUN(skip),
    RUN(sparse),
    RUN(erased),
    RUN_LOOP(header_rejects, 0, ARRAY_LEN(rejects)),
    RUN(table_rejects),
    RUN(other_salt_or_place_never_verifies),
    RUN(truncated_at_every_byte),
    RUN(every_byte_flip),
    RUN(repair_refuses_more_than_one_byte),
    RUN(only_short_records_decay),
    RUN(message_sizes),
};

RUNNER_MAIN("store/batch", cases)
