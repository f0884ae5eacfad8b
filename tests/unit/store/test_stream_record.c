/* The stream object's record: round trip, deltas against the changes in memory, rejects, flips,
 * truncation. */
#include "lib/base/prng.h"
#include "lib/base/varint.h"
#include "store/stream_record.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <string.h>

static void make(struct stream_record *r)
{
    *r = (struct stream_record){.level = STORE_ASYNC,
                                .first_seq = 10,
                                .last_seq = 900,
                                .last_ts = -5,
                                .limits = {1, UINT64_MAX, 3, 4000000000000},
                                .next_segment = 1};
    memset(r->uuid, 0x5a, 16);
    buf_puts(&r->name, "ORDERS");
    buf_puts(&r->config, "{\"any\":\"thing\"}");
    stream_record_remove(r, 1, 20); /* cut to 10..20 */
    stream_record_remove(r, 100, 100);
    stream_record_remove(r, 1000000, 2000000);
    stream_record_lose(r, 50, 52, 120);
    seqset_add(&r->removed, 60, 60);
    seqset_add(&r->erase, 60, 60);
    stream_record_add_segment(r, 3, 10);
    stream_record_add_segment(r, 5, 700);
    stream_record_add_segment(r, 4, 300);
    stream_record_check(r);
}

static bool same_set(const struct seqset *a, const struct seqset *b)
{
    uint64_t af, al, bf, bl, at = 0;

    if (a->count != b->count || a->nranges != b->nranges)
        return false;
    while (seqset_range_from(a, at, &af, &al)) {
        if (!seqset_range_from(b, at, &bf, &bl) || af != bf || al != bl)
            return false;
        at = al + 1;
    }
    return true;
}

static bool same(const struct stream_record *a, const struct stream_record *b)
{
    return memcmp(a->uuid, b->uuid, 16) == 0 && a->level == b->level &&
           str_eq(buf_str(&a->name), buf_str(&b->name)) &&
           str_eq(buf_str(&a->config), buf_str(&b->config)) &&
           memcmp(&a->limits, &b->limits, sizeof(a->limits)) == 0 && a->first_seq == b->first_seq &&
           a->last_seq == b->last_seq && a->last_ts == b->last_ts &&
           same_set(&a->removed, &b->removed) && same_set(&a->lost, &b->lost) &&
           same_set(&a->erase, &b->erase) && a->lost_msgs == b->lost_msgs &&
           a->lost_bytes == b->lost_bytes && a->nsegments == b->nsegments &&
           memcmp(a->segments, b->segments, a->nsegments * sizeof(*a->segments)) == 0 &&
           a->next_segment == b->next_segment;
}

TEST(round_trip)
{
    struct stream_record r, again = {0};
    struct buf full = {0};

    make(&r);
    stream_record_encode(&r, &full);
    struct guard g = guard_copy(full.p, full.n);
    ck_assert_int_eq(stream_record_decode(&again, str_from(g.p, g.n)), ERR_OK);
    stream_record_check(&again);
    ck_assert(same(&r, &again));
    ck_assert_uint_eq(again.next_segment, 6);
    ck_assert_uint_eq(again.segments[1].number, 4);
    ck_assert_uint_eq(again.lost_msgs, 3);
    guard_free(&g);
    buf_free(&full);
    stream_record_deinit(&r);
    stream_record_deinit(&again);
}

TEST(purge_drops_what_lies_below)
{
    struct stream_record r;

    make(&r);
    stream_record_purge(&r, 51);
    stream_record_check(&r);
    ck_assert(!seqset_has(&r.removed, 50) && seqset_has(&r.lost, 51) && seqset_has(&r.erase, 60));
    stream_record_purge(&r, 20); /* never back */
    ck_assert_uint_eq(r.first_seq, 51);
    stream_record_purge(&r, 5000);
    stream_record_check(&r);
    ck_assert(r.last_seq == 4999 && r.last_ts == 0 && r.lost.count == 0 && r.lost_msgs == 3);
    stream_record_deinit(&r);
}

/* Random changes: the record that had the deltas applied equals the one that was changed directly.
 */
TEST(deltas_equal_changes)
{
    struct stream_record r, other = {0}, third = {0};
    struct buf full = {0}, delta = {0};
    struct prng rng;

    prng_init(&rng, (uint64_t) i);
    make(&r);
    stream_record_encode(&r, &full);
    ck_assert_int_eq(stream_record_decode(&other, buf_str(&full)), ERR_OK);
    for (unsigned k = 0; k < 200; k++) {
        uint64_t first = 1 + prng_below(&rng, 3000), last = first + prng_below(&rng, 4),
                 ts = prng_below(&rng, 1000);
        switch (prng_below(&rng, 9)) {
        case 0:
            stream_record_remove(&r, first, last);
            stream_delta_remove(&delta, first, last);
            break;
        case 1:
            stream_record_purge(&r, first / 8 + k);
            stream_delta_purge(&delta, first / 8 + k);
            break;
        case 2:
            stream_record_lose(&r, first, last, 9);
            stream_delta_lose(&delta, first, last, 9);
            break;
        case 3:
            stream_record_durable(&r, first, (int64_t) ts - 500);
            stream_delta_durable(&delta, first, (int64_t) ts - 500);
            break;
        case 4:
            stream_record_add_segment(&r, first, first);
            stream_delta_add_segment(&delta, first, first);
            break;
        case 5:
            stream_record_release_segment(&r, first);
            stream_delta_release_segment(&delta, first);
            break;
        case 6:
            r.limits.max_msgs = first;
            stream_delta_limits(&delta, &r.limits);
            break;
        case 7:
            buf_putc(&r.config, 'x');
            stream_delta_config(&delta, buf_str(&r.config));
            break;
        default: {
            struct seqset set = {0};
            for (uint64_t seq = first; seq < first + 20; seq += 2) {
                seqset_add(&set, seq, seq);
                stream_record_remove(&r, seq, seq);
            }
            stream_delta_remove_set(&delta, &set);
            seqset_free(&set);
        }
        }
        stream_record_check(&r);
        if (prng_below(&rng, 3) == 0) { /* several changes in one delta */
            ck_assert_int_eq(stream_record_apply(&other, buf_str(&delta)), ERR_OK);
            ck_assert_int_eq(stream_record_apply(&other, buf_str(&delta)), ERR_OK); /* twice is once
                                                                                     */
            buf_clear(&delta);
            ck_assert(same(&r, &other));
        }
    }
    ck_assert_int_eq(stream_record_apply(&other, buf_str(&delta)), ERR_OK);
    ck_assert(same(&r, &other));
    buf_clear(&full);
    stream_record_encode(&other, &full);
    ck_assert_int_eq(stream_record_decode(&third, buf_str(&full)), ERR_OK);
    ck_assert(same(&r, &third));
    buf_free(&full);
    buf_free(&delta);
    stream_record_deinit(&r);
    stream_record_deinit(&other);
    stream_record_deinit(&third);
}

TEST(erase_is_kept)
{
    struct stream_record r, again = {0};
    struct buf delta = {0}, full = {0};

    make(&r);
    stream_delta_erase(&delta, 77);
    ck_assert_int_eq(stream_record_apply(&r, buf_str(&delta)), ERR_OK);
    ck_assert(seqset_has(&r.erase, 77) && seqset_has(&r.removed, 77));
    stream_record_encode(&r, &full);
    ck_assert_int_eq(stream_record_decode(&again, buf_str(&full)), ERR_OK);
    ck_assert(seqset_has(&again.erase, 77) && seqset_has(&again.erase, 60));
    /* That it is gone from the stream says nothing of its bytes. */
    stream_record_purge(&again, 100);
    stream_record_check(&again);
    buf_clear(&full);
    stream_record_encode(&again, &full);
    stream_record_deinit(&r);
    ck_assert_int_eq(stream_record_decode(&r, buf_str(&full)), ERR_OK);
    ck_assert(seqset_has(&r.erase, 77) && seqset_has(&r.erase, 60));
    ck_assert_uint_eq(r.removed.count, again.removed.count);
    buf_free(&delta);
    buf_free(&full);
    stream_record_deinit(&r);
    stream_record_deinit(&again);
}

/* Any flip, any truncation: some error or some other record, but sound, and nothing read out of
 * bounds. */
TEST(flips_and_truncation_stay_sound)
{
    struct stream_record r;
    struct buf full = {0};
    bool accepted = false;

    make(&r);
    stream_record_encode(&r, &full);
    stream_record_deinit(&r);
    for (size_t at = 0; at < full.n; at++)
        for (unsigned bit = 0; bit <= 8; bit++) {
            struct guard g = guard_copy(full.p, bit == 8 ? at : full.n);
            struct stream_record got = {0};
            if (bit < 8)
                g.p[at] ^= (uint8_t) (1u << bit);
            if (stream_record_decode(&got, str_from(g.p, g.n)) == ERR_OK) {
                stream_record_check(&got);
                accepted = true;
            }
            stream_record_deinit(&got);
            guard_free(&g);
        }
    ck_assert(accepted);
    buf_free(&full);
}

/* Deltas by hand. */
static const struct {
    const char *what;
    const char *bytes;
    size_t n;
    enum err err;
} rows[] = {
    {"empty", "", 0, ERR_OK},
    {"optional tag", "\x40\x02zz", 4, ERR_OK},
    {"purge", "\x06\x01\x07", 3, ERR_OK},
    {"tag 0", "\x00\x00", 2, ERR_VERSION},
    {"must be understood", "\x3f\x00", 2, ERR_VERSION},
    {"cut off tag", "\x86", 1, ERR_CORRUPT},
    {"cut off length", "\x06", 1, ERR_CORRUPT},
    {"cut off contents", "\x06\x02\x07", 3, ERR_CORRUPT},
    {"number cut off", "\x06\x01\x87", 3, ERR_CORRUPT},
    {"number missing", "\x08\x01\x07", 3, ERR_CORRUPT},
    {"one number too many", "\x06\x02\x07\x07", 4, ERR_CORRUPT},
    {"uuid in a delta",
     "\x01\x10"
     "0123456789abcdef",
     18, ERR_CORRUPT},
    {"name in a delta", "\x02\x01x", 3, ERR_CORRUPT},
    {"range from 0", "\x08\x02\x00\x05", 4, ERR_CORRUPT},
    {"range overflows", "\x08\x0b\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, ERR_CORRUPT},
    {"set from 0", "\x09\x02\x00\x01", 4, ERR_CORRUPT},
    {"set cut off", "\x09\x01\x05", 3, ERR_CORRUPT},
    {"set overflows", "\x09\x0b\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 13, ERR_CORRUPT},
    {"segment 0", "\x0d\x02\x00\x01", 4, ERR_CORRUPT},
    {"segment with base 0", "\x0d\x02\x01\x00", 4, ERR_CORRUPT},
    {"erase 0", "\x10\x01\x00", 3, ERR_CORRUPT},
};

TEST(deltas_by_hand)
{
    struct stream_record r;
    struct guard g = guard_copy(rows[i].bytes, rows[i].n);

    make(&r);
    ck_assert_msg(stream_record_apply(&r, str_from(g.p, g.n)) == rows[i].err, "%s", rows[i].what);
    stream_record_check(&r);
    guard_free(&g);
    stream_record_deinit(&r);
}

TEST(full_records_refused)
{
    struct stream_record r = {0};

    ck_assert_int_eq(stream_record_decode(&r, STR_NONE), ERR_CORRUPT);
    stream_record_deinit(&r);
    ck_assert_int_eq(stream_record_decode(&r, STR("\x02")), ERR_VERSION);
    stream_record_deinit(&r);
    ck_assert_int_eq(stream_record_decode(&r, STR("\x01\x04\x01\x09")), ERR_VERSION); /* level 9 */
    stream_record_deinit(&r);
    ck_assert_int_eq(stream_record_decode(&r, STR("\x01\x01\x01x")), ERR_CORRUPT); /* short UUID */
    stream_record_deinit(&r);
    ck_assert_int_eq(stream_record_decode(&r, STR("\x01\x0e\x01\x01")), ERR_CORRUPT); /* a delta's
                                                                                         change */
    stream_record_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN(round_trip),
    RUN(purge_drops_what_lies_below),
    RUN_LOOP(deltas_equal_changes, 0, 50),
    RUN(erase_is_kept),
    RUN(flips_and_truncation_stay_sound),
    RUN_LOOP(deltas_by_hand, 0, (int) (sizeof(rows) / sizeof(rows[0]))),
    RUN(full_records_refused),
};

RUNNER_MAIN("store/stream_record", cases)
