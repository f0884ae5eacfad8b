/*
 * The segment scanner: torn tails and damage told apart, exhaustively on small segments.
 *
 * `struct outcome` is what a caller would make of the verdicts: which sequences are readable, lost,
 * cut.
 */
#include "lib/base/bytes.h"
#include "store/scan.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"
#include "tests/unit/store/segment_fixture.h"

#define BASE 100
#define MOST 256

struct outcome {
    enum { ABSENT, READABLE, LOST } seq[MOST]; /* by sequence - BASE */
    bool torn, mended;
    uint64_t torn_at, torn_bytes;
    unsigned corrupt;
    uint64_t next_seq, data_end, found_end, lost;
};

static void note_batch(struct outcome *o, const struct scan_event *e)
{
    char text[64];
    struct batch_record r;

    for (uint32_t k = 0; k < e->view.h.count; k++) {
        uint64_t seq = batch_record_seq(&e->view, k);
        ck_assert_uint_ge(seq, BASE);
        ck_assert_uint_lt(seq, BASE + MOST);
        bool bad = e->bad != NULL && (e->bad[k / 64] >> (k % 64) & 1) != 0;
        o->seq[seq - BASE] = bad ? LOST : READABLE;
        if (bad)
            continue;
        batch_record_get(&e->view, k, &r);
        ck_assert(str_eq(r.payload, fixture_payload(seq, text)));
    }
}

/* The caller's side: reads windows from `file`, each against a guard page. */
static struct outcome scan_file(const uint8_t *file, size_t n, const struct scan_options *options)
{
    struct outcome o = {0};
    struct scan s;
    struct scan_event e;
    enum scan_verdict v;
    struct guard window = {0};

    scan_init(&s, options);
    while ((v = scan_next(&s, &e)) != SCAN_DONE) {
        if (v == SCAN_NEED) {
            ck_assert_uint_le(e.offset + e.bytes, options->file_bytes);
            if (window.map != NULL)
                guard_free(&window);
            size_t there = e.offset < n ? n - e.offset : 0;
            window = guard_copy(file + (there != 0 ? e.offset : 0),
                                there < e.bytes ? there : e.bytes);
            scan_feed(&s, e.offset, window.p, window.n);
        } else if (v == SCAN_BATCH) {
            o.mended |= e.repaired;
            note_batch(&o, &e);
        } else if (v == SCAN_CORRUPT) {
            o.corrupt++;
            for (uint64_t k = 0; k < e.span && e.first_seq - BASE + k < MOST; k++)
                o.seq[e.first_seq - BASE + k] = LOST;
        } else {
            o.torn = true;
            o.torn_at = e.offset;
            o.torn_bytes = e.bytes;
        }
    }
    for (uint64_t k = s.next_seq != 0 ? s.next_seq - BASE : 0; k < MOST; k++) /* void behind the cut
                                                                               */
        o.seq[k] = ABSENT;
    o.next_seq = s.next_seq;
    o.data_end = s.data_end;
    o.found_end = s.found_end;
    o.lost = s.lost_seqs;
    if (window.map != NULL)
        guard_free(&window);
    scan_deinit(&s);
    return o;
}

static struct outcome scan(const struct fixture *f, uint64_t durable)
{
    struct scan_options options = {.salt = f->header.salt,
                                   .base_seq = f->header.base_seq,
                                   .file_bytes = f->file.n,
                                   .durable_seq = durable};
    return scan_file((const uint8_t *) f->file.p, f->file.n, &options);
}

static unsigned count(const struct outcome *o, int what)
{
    unsigned n = 0;

    for (unsigned k = 0; k < MOST; k++)
        n += (int) o->seq[k] == what;
    return n;
}

/* Three commits: two small batches; page boundary and one; page boundary and two. 5 batches, 23
 * messages. */
static void make(struct fixture *f)
{
    fixture_init(f, BASE);
    fixture_batch(f, 5, BASE - 1, 0);
    fixture_batch(f, 4, BASE - 1, 0);
    fixture_pad(f, SEGMENT_PAGE);
    fixture_batch(f, 6, BASE + 8, 0);
    fixture_pad(f, SEGMENT_PAGE);
    fixture_batch(f, 3, BASE + 14, 0);
    fixture_batch(f, 5, BASE + 14, 0);
}

static size_t batch_at(const struct fixture *f, unsigned k)
{
    return f->batches[k].offset;
}

static void wipe(struct fixture *f, unsigned k, uint8_t with)
{
    memset(f->file.p + batch_at(f, k), with, f->batches[k].bytes);
}

TEST(clean)
{
    struct fixture f;

    make(&f);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    ck_assert(!o.torn && o.corrupt == 0 && !o.mended && o.lost == 0);
    ck_assert_uint_eq(o.next_seq, BASE + 23);
    ck_assert_uint_eq(o.data_end, f.file.n);
    fixture_free(&f);
}

TEST(clean_with_an_unused_rest)
{
    static const uint8_t rest[] = {0, 0xff, 'M'};
    struct fixture f;

    make(&f);
    size_t end = f.file.n;
    for (unsigned k = 0; k < 100000; k++)
        buf_putc(&f.file, (char) rest[i]);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    ck_assert(!o.torn && o.corrupt == 0);
    ck_assert_uint_eq(o.data_end, end);
    ck_assert_uint_eq(o.found_end, end);
    fixture_free(&f);
}

TEST(empty_segment)
{
    struct fixture f;

    fixture_init(&f, BASE);
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn && o.corrupt == 0 && o.next_seq == BASE && o.data_end == SEGMENT_HEADER);
    fixture_free(&f);
}

TEST(file_shorter_than_said)
{
    struct fixture f;

    make(&f);
    struct scan_options options = {.salt = f.header.salt, .base_seq = BASE, .file_bytes = 8 << 20};
    struct outcome o = scan_file((uint8_t *) f.file.p, f.file.n, &options);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    options.file_bytes = 8 << 20;
    o = scan_file((uint8_t *) f.file.p, 0, &options);
    ck_assert_uint_eq(count(&o, READABLE), 0);
    fixture_free(&f);
}

/* A batch that is longer than what was asked for first is asked for again, and not cut. */
TEST(batches_longer_than_the_window)
{
    struct fixture f;

    make(&f);
    struct scan_options options = {.salt = f.header.salt,
                                   .base_seq = BASE,
                                   .file_bytes = f.file.n,
                                   .window = (uint64_t) BATCH_HEADER + (uint64_t) i * 8};
    struct outcome o = scan_file((uint8_t *) f.file.p, f.file.n, &options);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    ck_assert(!o.torn && o.corrupt == 0);
    fixture_free(&f);
}

TEST(base_sequence_unknown)
{
    struct fixture f;

    make(&f);
    f.header.base_seq = 0;
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    ck_assert_uint_eq(o.next_seq, BASE + 23);
    fixture_free(&f);
}

TEST(skips_take_sequences)
{
    struct fixture f;

    fixture_init(&f, BASE);
    fixture_batch(&f, 2, BASE - 1, 0);
    fixture_skip(&f, 10, BASE + 1);
    fixture_batch(&f, 2, BASE + 11, 0);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(count(&o, READABLE), 4);
    ck_assert_uint_eq(o.next_seq, BASE + 14);
    ck_assert(o.seq[2] == ABSENT && o.seq[12] == READABLE);
    fixture_free(&f);
}

/* A lost batch in the first commit: the second one, which began when it was durable, proves the
 * damage. */
TEST(proven_by_a_later_batch)
{
    struct fixture f;

    make(&f);
    wipe(&f, i, 0);
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn);
    ck_assert_uint_eq(o.corrupt, 1);
    ck_assert_uint_eq(count(&o, LOST), f.batches[i].count);
    ck_assert_uint_eq(count(&o, READABLE), 23 - f.batches[i].count);
    ck_assert_uint_eq(o.next_seq, BASE + 23);
    fixture_free(&f);
}

/* Losing either batch of the last commit is a torn tail: nothing says that it was durable. */
TEST(torn_last_commit)
{
    struct fixture f;

    make(&f);
    wipe(&f, 3, 0);
    struct outcome o = scan(&f, 0);
    ck_assert(o.torn && o.corrupt == 0);
    ck_assert_uint_eq(count(&o, READABLE), 15);
    ck_assert_uint_eq(o.next_seq, BASE + 15);
    ck_assert_uint_eq(o.torn_at, f.batches[2].offset + f.batches[2].bytes);
    ck_assert_uint_eq(o.torn_at + o.torn_bytes, f.file.n); /* the batch behind it is part of the cut
                                                            */
    ck_assert_uint_eq(o.found_end, f.file.n);
    /* Known from elsewhere to be durable: the same bytes are damage. */
    o = scan(&f, BASE + 22);
    ck_assert(!o.torn && o.corrupt == 1);
    ck_assert_uint_eq(count(&o, READABLE), 20);
    ck_assert_uint_eq(count(&o, LOST), 3);
    fixture_free(&f);
}

/* Without the last batch there is nothing recognisable behind the end: simply the end. */
TEST(missing_last_batch)
{
    struct fixture f;

    make(&f);
    wipe(&f, 4, 0xee);
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn && o.corrupt == 0);
    ck_assert_uint_eq(o.next_seq, BASE + 18);
    o = scan(&f, BASE + 22);
    ck_assert_uint_eq(o.corrupt, 1);
    ck_assert_uint_eq(count(&o, LOST), 5);
    ck_assert_uint_eq(o.next_seq, BASE + 23);
    fixture_free(&f);
}

TEST(sealed_takes_everything_for_damage)
{
    struct fixture f;

    make(&f);
    wipe(&f, 3, 0);
    struct scan_options options = {
        .salt = f.header.salt, .base_seq = BASE, .file_bytes = f.file.n, .sealed = true};
    struct outcome o = scan_file((uint8_t *) f.file.p, f.file.n, &options);
    ck_assert(!o.torn && o.corrupt == 1);
    ck_assert_uint_eq(count(&o, READABLE), 20);
    fixture_free(&f);
}

/* Two pipelined commits, of which only the second arrived: neither was acknowledged. */
TEST(second_of_two_in_flight)
{
    struct fixture f;

    fixture_init(&f, BASE);
    fixture_batch(&f, 5, BASE - 1, 0);
    fixture_pad(&f, SEGMENT_PAGE);
    fixture_batch(&f, 5, BASE + 4, 0);
    fixture_pad(&f, SEGMENT_PAGE);
    fixture_batch(&f, 5, BASE + 4, 0); /* begun while the one before was in flight */
    wipe(&f, 1, 0);
    struct outcome o = scan(&f, 0);
    ck_assert(o.torn);
    ck_assert_uint_eq(count(&o, READABLE), 5);
    /* A third one can only begin when the first of them is complete. */
    fixture_pad(&f, SEGMENT_PAGE);
    fixture_batch(&f, 5, BASE + 9, 0);
    o = scan(&f, 0);
    ck_assert(!o.torn && o.corrupt == 1);
    ck_assert_uint_eq(count(&o, READABLE), 15);
    ck_assert_uint_eq(count(&o, LOST), 5);
    fixture_free(&f);
}

/* Every subset of the 512-byte sectors of the last commit arrives: what was durable before stays,
 * nothing invented. */
TEST(every_subset_of_sectors)
{
    struct fixture f;

    fixture_init(&f, BASE);
    fixture_batch(&f, 5, BASE - 1, 0);
    fixture_pad(&f, SEGMENT_PAGE);
    size_t from = f.file.n;
    for (unsigned k = 0; k < 3; k++)
        fixture_batch(&f, 20, BASE + 4, 0);
    fixture_pad(&f, SEGMENT_PAGE);
    unsigned sectors = (unsigned) ((f.file.n - from) / 512);
    ck_assert_uint_le(sectors, 16);
    uint8_t *whole = malloc(f.file.n);
    memcpy(whole, f.file.p, f.file.n);
    for (unsigned set = 0; set<1u << sectors; set += sectors> 10 ? 37 : 1) {
        for (unsigned k = 0; k < sectors; k++) {
            if ((set >> k & 1) != 0)
                memcpy(f.file.p + from + k * 512, whole + from + k * 512, 512);
            else
                memset(f.file.p + from + k * 512, (int) (k % 3 * 0x55), 512);
        }
        struct outcome o = scan(&f, 0);
        for (unsigned k = 0; k < 5; k++)
            ck_assert_int_eq(o.seq[k], READABLE);
        ck_assert_uint_eq(o.corrupt, 0);
        ck_assert_uint_eq(count(&o, LOST), 0);
        ck_assert_uint_eq(count(&o, READABLE), o.next_seq - BASE); /* a prefix, whole batches */
        ck_assert_uint_eq((o.next_seq - BASE - 5) % 20, 0);
    }
    free(whole);
    fixture_free(&f);
}

/* The last sector of the last batch was zero and stays so. When a single byte of the message lies
 * there, one wrong byte explains it: not damage, but a torn commit. */
TEST(last_sector_was_never_written)
{
    static uint8_t meta[BATCH_META], body[BATCH_BODY];
    static const char text[1100] = {[0 ... 1099] = 'x'};

    for (size_t n = 600; n < sizeof(text); n++) {
        struct batch_builder b;
        struct fixture f;
        fixture_init(&f, BASE);
        fixture_batch(&f, 5, BASE - 1, 0);
        fixture_pad(&f, SEGMENT_PAGE);
        batch_open(&b, meta, sizeof(meta), body, sizeof(body), f.header.salt, f.next_seq);
        ck_assert(batch_append(&b, STR("s"), STR_NONE, str_from(text, n), f.time, 0));
        batch_seal(&b, BASE + 4, f.epoch);
        buf_put(&f.file, meta, batch_meta_bytes(&b));
        buf_put(&f.file, body, batch_body_bytes(&b));
        size_t sector = (f.file.n - (batch_body_bytes(&b) - b.body_len) - 1) / 512 * 512;
        memset(f.file.p + sector, 0, f.file.n - sector);
        fixture_pad(&f, SEGMENT_PAGE);
        struct outcome o = scan(&f, 0);
        ck_assert_msg(o.torn && o.corrupt == 0 && o.next_seq == BASE + 5, "%zu bytes", n);
        ck_assert_uint_eq(count(&o, LOST), 0);
        fixture_free(&f);
    }
}

TEST(truncated_at_every_byte)
{
    struct fixture f;

    make(&f);
    for (size_t n = 0; n <= f.file.n; n++) {
        struct scan_options options = {.salt = f.header.salt, .base_seq = BASE, .file_bytes = n};
        struct outcome o = scan_file((uint8_t *) f.file.p, n, &options);
        uint64_t whole = 0;
        for (unsigned k = 0; k < 5; k++)
            if (f.batches[k].offset + f.batches[k].bytes <= n)
                whole = f.batches[k].first_seq + f.batches[k].span - BASE;
        ck_assert_msg(count(&o, READABLE) == whole, "%zu bytes: %u readable", n,
                      count(&o, READABLE));
        ck_assert_uint_eq(count(&o, LOST), 0);
    }
    fixture_free(&f);
}

/* At most the touched record is lost, wherever the flip is, with or without proof. i = a pattern.
 */
TEST(every_byte_flip)
{
    static const uint8_t patterns[] = {0x01, 0x80, 0xff};
    struct fixture f;

    make(&f);
    fixture_pad(&f, SEGMENT_PAGE);
    for (size_t at = SEGMENT_HEADER; at < f.file.n; at++) {
        f.file.p[at] = (char) (f.file.p[at] ^ patterns[i]);
        for (unsigned proof = 0; proof < 2; proof++) {
            struct outcome o = scan(&f, proof != 0 ? BASE + 22 : 0);
            ck_assert_msg(!o.torn && o.corrupt == 0, "byte %zu", at);
            ck_assert_msg(count(&o, READABLE) + count(&o, LOST) == 23 && count(&o, LOST) <= 1,
                          "byte %zu", at);
            ck_assert_uint_eq(o.lost, count(&o, LOST));
        }
        f.file.p[at] = (char) (f.file.p[at] ^ patterns[i]);
    }
    fixture_free(&f);
}

/* Two neighbouring bytes: at most the batch is lost when it is proven, and neighbours stay. */
TEST(every_two_byte_damage)
{
    struct fixture f;

    make(&f);
    for (size_t at = SEGMENT_HEADER; at + 1 < f.file.n; at++) {
        f.file.p[at] ^= 0x5a;
        f.file.p[at + 1] ^= 0x33;
        struct outcome o = scan(&f, BASE + 22);
        ck_assert(!o.torn);
        ck_assert_uint_eq(count(&o, READABLE) + count(&o, LOST), 23);
        ck_assert_uint_le(count(&o, LOST), 6 + 1);
        o = scan(&f, 0);
        ck_assert_uint_ge(count(&o, READABLE), 9); /* the first two are proven unless touched */
        f.file.p[at] ^= 0x5a;
        f.file.p[at + 1] ^= 0x33;
    }
    fixture_free(&f);
}

TEST(other_salt)
{
    struct fixture f;

    make(&f);
    f.header.salt++;
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn && count(&o, READABLE) == 0 && o.corrupt == 0);
    fixture_free(&f);
}

/* What an earlier start left behind the new end is neither continuation nor proof. */
TEST(leftovers_of_an_earlier_epoch)
{
    struct fixture f, old;

    fixture_init(&old, BASE);
    old.epoch = 3;
    fixture_batch(&old, 5, BASE - 1, 0);
    fixture_batch(&old, 5, BASE - 1, 0);
    fixture_batch(&old, 5, BASE + 9, 0);
    fixture_init(&f, BASE);
    f.epoch = 4;
    fixture_batch(&f, 5, BASE - 1, 0);
    ck_assert_uint_eq(f.file.n, old.batches[1].offset);
    buf_put(&f.file, old.file.p + f.file.n, old.file.n - f.file.n);
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn && o.corrupt == 0);
    ck_assert_uint_eq(count(&o, READABLE), 5);
    ck_assert_uint_eq(o.data_end, f.batches[0].offset + f.batches[0].bytes);
    fixture_free(&f);
    fixture_free(&old);
}

/* A batch that was written twice, or an older one at a later place. */
TEST(duplicate_batch)
{
    struct fixture f;

    make(&f);
    uint64_t from = batch_at(&f, 0), n = f.batches[0].bytes;
    buf_put(&f.file, f.file.p + from, n);
    struct outcome o = scan(&f, 0);
    ck_assert(!o.torn && o.corrupt == 0);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    fixture_free(&f);
}

TEST(incomplete_group_is_cut)
{
    struct fixture f;

    fixture_init(&f, BASE);
    fixture_batch(&f, 5, BASE - 1, 0);
    fixture_batch(&f, 5, BASE + 4, BATCH_GROUP | BATCH_GROUP_FIRST);
    fixture_batch(&f, 5, BASE + 4, BATCH_GROUP);
    struct outcome o = scan(&f, 0);
    ck_assert(o.torn);
    ck_assert_uint_eq(o.torn_at, batch_at(&f, 1));
    ck_assert_uint_eq(count(&o, READABLE), 5);
    ck_assert_uint_eq(o.next_seq, BASE + 5);
    fixture_batch(&f, 5, BASE + 4, BATCH_GROUP | BATCH_GROUP_LAST);
    o = scan(&f, 0);
    ck_assert(!o.torn);
    ck_assert_uint_eq(count(&o, READABLE), 20);
    fixture_batch(&f, 5, BASE + 4, BATCH_GROUP | BATCH_GROUP_FIRST | BATCH_GROUP_LAST);
    o = scan(&f, 0);
    ck_assert(!o.torn);
    ck_assert_uint_eq(count(&o, READABLE), 25);
    fixture_free(&f);
}

TEST(search_is_bounded)
{
    struct fixture f;

    make(&f);
    size_t end = f.file.n;
    while (f.file.n < end + 100000)
        buf_putc(&f.file, 0);
    fixture_pad(&f, SEGMENT_PAGE);
    f.next_seq += 5;
    fixture_batch(&f, 5, BASE + 27, 0);
    struct scan_options options = {.salt = f.header.salt, .base_seq = BASE, .file_bytes = f.file.n};
    struct outcome o = scan_file((uint8_t *) f.file.p, f.file.n, &options);
    ck_assert_uint_eq(o.corrupt, 1);
    ck_assert_uint_eq(count(&o, LOST), 5);
    options.search_bytes = 50000;
    o = scan_file((uint8_t *) f.file.p, f.file.n, &options);
    ck_assert_uint_eq(o.corrupt, 0);
    ck_assert_uint_eq(count(&o, READABLE), 23);
    fixture_free(&f);
}

/* A payload that holds a whole batch of this very segment, and its container's header is gone for
 * good. */
TEST(batch_inside_a_message)
{
    struct fixture f;
    static uint8_t meta[BATCH_META], body[BATCH_BODY];
    struct batch_builder b;

    make(&f);
    size_t at = f.file.n;
    batch_open(&b, meta, sizeof(meta), body, sizeof(body), f.header.salt, f.next_seq);
    ck_assert(batch_append(&b, STR("a"), STR_NONE,
                           str_from(f.file.p + batch_at(&f, 0), f.batches[0].bytes), 9, 0));
    batch_seal(&b, BASE + 22, 1);
    buf_put(&f.file, meta, batch_meta_bytes(&b));
    buf_put(&f.file, body, batch_body_bytes(&b));
    memset(f.file.p + at, 0, BATCH_HEADER);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(count(&o, READABLE), 23); /* its sequences are below the expected one */
    ck_assert_uint_eq(o.data_end, at);
    fixture_free(&f);
}

static const struct runner_case cases[] = {
    RUN_LOOP(batches_longer_than_the_window, 0, 100),
    RUN(clean),
    RUN_LOOP(clean_with_an_unused_rest, 0, 3),
    RUN(empty_segment),
    RUN(file_shorter_than_said),
    RUN(base_sequence_unknown),
    RUN(skips_take_sequences),
    RUN_LOOP(proven_by_a_later_batch, 0, 3),
    RUN(torn_last_commit),
    RUN(missing_last_batch),
    RUN(sealed_takes_everything_for_damage),
    RUN(second_of_two_in_flight),
    RUN(every_subset_of_sectors),
    RUN(last_sector_was_never_written),
    RUN(truncated_at_every_byte),
    RUN_LOOP(every_byte_flip, 0, 3),
    RUN(every_two_byte_damage),
    RUN(other_salt),
    RUN(leftovers_of_an_earlier_epoch),
    RUN(duplicate_batch),
    RUN(incomplete_group_is_cut),
    RUN(search_is_bounded),
    RUN(batch_inside_a_message),
};

RUNNER_MAIN("store/scan", cases)
