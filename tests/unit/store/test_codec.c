/* Compressed bodies: round trip, what stays plain, lengths that do not fit, every byte flipped, and
 * guard pages behind what the decoder may read and write. */
#include "store/batch.h"
#include "store/codec.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <stdio.h>
#include <stdlib.h>

#define SALT 0x5a17u
#define FIRST 77

static const struct codec lz4 = {.compression = BATCH_LZ4};
static uint8_t meta[BATCH_META], body[BATCH_BODY];

static struct batch_builder fill(unsigned n)
{
    struct batch_builder b;
    char subject[32], payload[64];

    batch_open(&b, meta, sizeof(meta), body, sizeof(body), SALT, FIRST);
    for (unsigned k = 0; k < n; k++) {
        snprintf(subject, sizeof(subject), "orders.%u", k % 7);
        snprintf(payload, sizeof(payload), "{\"id\": %u, \"state\": \"shipped\"}", k);
        ck_assert(batch_append(&b, str_of(subject), STR_NONE, str_of(payload), 5000 + k, 0));
    }
    batch_seal(&b, 1, 1);
    return b;
}

/* The batch as a rewritten segment has it. */
static struct guard compressed(const struct batch_builder *b)
{
    struct batch_header h;
    const uint8_t *stored;
    uint8_t *room = malloc(codec_bound(&lz4, b->body_len)), *all;
    uint32_t head = batch_meta_bytes(b);

    ck_assert_int_eq(batch_header_decode(b->meta, &h), ERR_OK);
    codec_encode(&lz4, &h, b->body, room, &stored);
    h.bytes = (uint32_t) round_up((uint64_t) head + h.body_bytes, BATCH_ALIGN);
    all = calloc(1, h.bytes);
    batch_header_encode(&h, all);
    memcpy(all + BATCH_HEADER, b->meta + BATCH_HEADER, head - BATCH_HEADER);
    memcpy(all + head, stored, h.body_bytes);
    put_u32(all + 4, batch_header_crc(SALT, all, all + BATCH_HEADER, h.table_bytes));
    struct guard g = guard_copy(all, h.bytes);
    free(all);
    free(room);
    return g;
}

TEST(round_trip)
{
    struct batch_builder b = fill(200);
    struct guard g = compressed(&b), raw;
    struct batch_view v, plain;
    struct batch_record x, y;

    ck_assert_uint_lt(g.n, batch_bytes(&b) / 2);
    ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
    ck_assert_int_eq(v.h.codec, BATCH_LZ4);
    ck_assert_ptr_null(v.body);
    ck_assert_uint_eq(batch_verify(&v, SALT, NULL), 200); /* nothing is believed undecoded */
    raw = guard_copy(body, v.h.raw_bytes);
    ck_assert_int_eq(batch_view_decode(&v, raw.p), ERR_OK);
    ck_assert_uint_eq(batch_verify(&v, SALT, NULL), 0);
    batch_view_builder(&b, &plain);
    for (uint32_t k = 0; k < 200; k++) {
        batch_record_get(&v, k, &x);
        batch_record_get(&plain, k, &y);
        ck_assert(x.seq == y.seq && x.ts == y.ts && str_eq(x.subject, y.subject) &&
                  str_eq(x.payload, y.payload));
    }
    guard_free(&g);
    guard_free(&raw);
}

TEST(noise_stays_plain)
{
    struct batch_header h = {.raw_bytes = 4096};
    uint8_t noise[4096], *room = malloc(codec_bound(&lz4, sizeof(noise)));
    const uint8_t *stored;
    uint32_t state = 1;

    for (size_t k = 0; k < sizeof(noise); k++)
        noise[k] = (uint8_t) ((state = state * 1664525u + 1013904223u) >> 24);
    codec_encode(&lz4, &h, noise, room, &stored);
    ck_assert_ptr_eq(stored, noise);
    ck_assert(h.codec == BATCH_PLAIN && h.body_bytes == 4096);
    memset(noise, 'x', sizeof(noise));
    codec_encode(&(struct codec){.compression = BATCH_PLAIN}, &h, noise, room, &stored);
    ck_assert(h.codec == BATCH_PLAIN && stored == noise);
    codec_encode(&lz4, &h, noise, room, &stored);
    ck_assert(h.codec == BATCH_LZ4 && stored == room && h.body_bytes < 100);
    h.raw_bytes = 20;
    codec_encode(&lz4, &h, noise, room, &stored);
    ck_assert(h.codec == BATCH_PLAIN && h.body_bytes == 20);
    free(room);
}

static const struct {
    const char *what;
    uint8_t codec;
    uint32_t body, raw;
    bool fits;
} lengths[] = {
    {"plain", BATCH_PLAIN, 100, 100, true},
    {"plain, shorter than decoded", BATCH_PLAIN, 99, 100, false},
    {"lz4", BATCH_LZ4, 50, 100, true},
    {"lz4 of nothing", BATCH_LZ4, 0, 100, false},
    {"lz4 that is not smaller", BATCH_LZ4, 100, 100, false},
    {"lz4 to 255 times", BATCH_LZ4, 10, 2550, true},
    {"lz4 to more than it can", BATCH_LZ4, 10, 2805, false},
    {"codec not known", 2, 50, 100, false},
};

TEST(length_table)
{
    for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
        struct batch_header h = {
            .codec = lengths[k].codec, .body_bytes = lengths[k].body, .raw_bytes = lengths[k].raw};
        ck_assert_msg(codec_lengths(&h) == lengths[k].fits, "%s", lengths[k].what);
    }
}

/* One wrong byte anywhere: the batch does not open, or does not decode, or what verifies of it is
 * as it was. The decoder touches no byte outside. */
TEST(every_flip)
{
    struct batch_builder b = fill(40);
    struct guard g = compressed(&b), raw;
    struct batch_view v, plain;
    struct batch_record x, y;
    unsigned undecoded = 0, partly = 0;

    batch_view_builder(&b, &plain);
    raw = guard_copy(body, plain.h.raw_bytes);
    for (size_t at = 0; at < g.n; at++) {
        g.p[at] ^= 0x41;
        if (batch_view_open(g.p, g.n, SALT, &v) == ERR_OK) {
            if (batch_view_decode(&v, raw.p) != ERR_OK)
                undecoded++;
            uint32_t bad = 0;
            for (uint32_t k = 0; k < v.h.count; k++) {
                if (batch_record_verify(&v, k, SALT) != BATCH_RECORD_OK) {
                    bad++;
                    continue;
                }
                batch_record_get(&v, k, &x);
                batch_record_get(&plain, k, &y);
                ck_assert(str_eq(x.subject, y.subject) && str_eq(x.payload, y.payload));
            }
            partly += bad > 0 && bad < v.h.count;
        } else {
            ck_assert_uint_lt(at, batch_meta_bytes(&b));
        }
        g.p[at] ^= 0x41;
    }
    ck_assert_uint_gt(undecoded, 0);
    ck_assert_uint_gt(partly, 0);
    guard_free(&g);
    guard_free(&raw);
}

/* Damage to header or table is mended in a compressed batch, too. */
TEST(repair)
{
    struct batch_builder b = fill(40);
    struct guard g = compressed(&b);
    struct batch_view v;

    for (size_t at = 0; at < batch_meta_bytes(&b); at += 7) {
        uint8_t was = g.p[at];
        g.p[at] ^= 0x10;
        ck_assert_msg(batch_repair(g.p, g.n, SALT), "byte %zu", at);
        ck_assert_int_eq(batch_view_open(g.p, g.n, SALT, &v), ERR_OK);
        ck_assert_uint_eq(g.p[at], was);
    }
    guard_free(&g);
}

/* In place only a plain body can be erased from. */
TEST(erase_is_left_to_a_rewrite)
{
    struct batch_builder b = fill(40);
    struct guard g = compressed(&b);
    uint8_t *before = malloc(g.n);

    memcpy(before, g.p, g.n);
    ck_assert(!batch_erase(g.p, g.n, SALT, FIRST + 3, NULL));
    ck_assert(memcmp(before, g.p, g.n) == 0);
    free(before);
    guard_free(&g);
}

static const struct runner_case cases[] = {
    RUN(round_trip), RUN(noise_stays_plain),          RUN(length_table), RUN(every_flip),
    RUN(repair),     RUN(erase_is_left_to_a_rewrite),
};

RUNNER_MAIN("store/codec", cases)
