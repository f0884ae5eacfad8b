/* Commit log: names, header, frames, and the scanner's verdicts on torn, damaged and recycled
 * contents. */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "store/log_format.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"

#include <stdio.h>
#include <stdlib.h>

#define MOST 64

struct fixture {
    struct log_header header;
    struct buf file;
    uint64_t commit, durable;
    uint32_t prev;
    struct {
        uint64_t offset, bytes;
        unsigned records;
    } frames[MOST];
    unsigned nframes;
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.header = {.generation = 3,
                                     .worker = 1,
                                     .workers = 2,
                                     .number = 5,
                                     .first_commit = 11,
                                     .file_bytes = 1 << 20},
                          .commit = 11,
                          .durable = 10};
    memset(f->header.store, 9, 16);
    log_header_encode(&f->header, (uint8_t *) buf_reserve(&f->file, LOG_HEADER));
    f->file.n = LOG_HEADER;
}

/* Record k of a commit: its id says both. */
static struct log_record record(uint64_t commit, unsigned k, char text[200])
{
    int n = snprintf(text, 200, "commit %llu record %u %.*s", (unsigned long long) commit, k,
                     (int) (commit * k % 100),
                     "............................................................................."
                     ".......................");
    return (struct log_record){.type = LOG_DELTA,
                               .kind = 17,
                               .id = commit * 100 + k,
                               .version = commit,
                               .parent = 0,
                               .bytes = str_from(text, (size_t) n)};
}

static void add(struct fixture *f, unsigned records)
{
    struct log_frame frame = {0};
    char text[200];

    log_frame_begin(&frame, f->header.salt, f->commit);
    for (unsigned k = 0; k < records; k++) {
        struct log_record r = record(f->commit, k, text);
        ck_assert(log_frame_fits(&frame, r.bytes.n));
        log_frame_add(&frame, &r);
    }
    f->frames[f->nframes].offset = f->file.n;
    uint64_t bytes = log_frame_bytes(&frame);
    f->prev = log_frame_seal(&frame, f->durable, f->prev, 77);
    ck_assert_uint_eq(bytes, frame.meta.n + frame.body.n);
    f->frames[f->nframes].bytes = bytes;
    f->frames[f->nframes++].records = records;
    buf_put_str(&f->file, buf_str(&frame.meta));
    buf_put_str(&f->file, buf_str(&frame.body));
    log_frame_free(&frame);
    f->commit++;
}

/* Commits one after the other, each begun when the one before was complete. */
static void make(struct fixture *f)
{
    begin(f);
    for (unsigned k = 0; k < 5; k++) {
        add(f, k * 3 + 1);
        f->durable = f->commit - 1;
    }
}

static void end(struct fixture *f)
{
    buf_free(&f->file);
}

struct outcome {
    unsigned got[MOST], bad[MOST]; /* records by commit - 11 */
    unsigned frames, corrupt, lost_commits;
    bool torn, mended, unproven;
    uint64_t torn_at, torn_bytes, end;
};

static struct outcome scan_bytes(const uint8_t *bytes, size_t n, uint32_t salt, uint64_t durable)
{
    struct outcome o = {0};
    struct guard g = guard_copy(bytes, n);
    struct log_scan s;
    struct log_scan_event e;
    struct log_record r, want;
    enum log_verdict v;
    char text[200];
    int got;

    log_scan_init(&s, g.p, g.n, salt, 11, durable);
    while ((v = log_scan_next(&s, &e)) != LOG_SCAN_DONE) {
        if (v == LOG_SCAN_CORRUPT) {
            o.corrupt++;
            o.lost_commits += (unsigned) e.commits;
        } else if (v == LOG_SCAN_TORN) {
            o.torn = true;
            o.torn_at = e.offset;
            o.torn_bytes = e.bytes;
        } else {
            o.frames++;
            o.mended |= e.repaired;
            o.unproven |= e.unproven;
            ck_assert_uint_lt(e.frame.commit - 11, MOST);
            unsigned *good = &o.got[e.frame.commit - 11], *bad = &o.bad[e.frame.commit - 11];
            while ((got = log_frame_next(&e.frame, &r)) != 0) {
                *good += got > 0;
                *bad += got < 0;
                if (got < 0)
                    continue;
                want = record(e.frame.commit, (unsigned) (r.id % 100), text);
                ck_assert(r.type == want.type && r.kind == want.kind && r.id == want.id &&
                          r.version == want.version && str_eq(r.bytes, want.bytes));
            }
        }
    }
    o.end = s.end;
    guard_free(&g);
    return o;
}

static struct outcome scan(const struct fixture *f, uint64_t durable)
{
    return scan_bytes((const uint8_t *) f->file.p, f->file.n, f->header.salt, durable);
}

static unsigned sum(const unsigned *v)
{
    unsigned n = 0;

    for (unsigned k = 0; k < MOST; k++)
        n += v[k];
    return n;
}

enum { ALL = 1 + 4 + 7 + 10 + 13 };

TEST(header_round_trip_and_flips)
{
    struct fixture f;
    struct log_header h;
    char why[160];

    begin(&f);
    ck_assert_int_eq(log_header_decode((uint8_t *) f.file.p, &h, why), ERR_OK);
    uint8_t again[LOG_HEADER];
    log_header_encode(&h, again);
    ck_assert(memcmp(again, f.file.p, LOG_HEADER) == 0);
    for (size_t at = 0; at < LOG_HEADER; at++) {
        f.file.p[at] ^= 4;
        ck_assert_int_eq(log_header_decode((uint8_t *) f.file.p, &h, why), ERR_CORRUPT);
        f.file.p[at] ^= 4;
    }
    put_u32(f.file.p + 8, 2);
    put_u32(f.file.p + 4092, crc32c(0xffffffffu, f.file.p, 4092));
    ck_assert_int_eq(log_header_decode((uint8_t *) f.file.p, &h, why), ERR_VERSION);
    end(&f);
}

TEST(names)
{
    static const char *const bad[] = {"",
                                      "x.log",
                                      "1-2-3.log",
                                      "0000000001-0002-0000000003.seg",
                                      "0000000001-0002-0000000003.log2",
                                      "0000000001-0002.log",
                                      "0000000001-0002-000000000x.log",
                                      "00000000001-0002-0000000003.log"};
    char name[64];
    uint64_t generation, number;
    uint32_t worker;

    log_name(name, 1, 2, 3);
    ck_assert_str_eq(name, "0000000001-0002-0000000003.log");
    ck_assert(log_name_parse(name, &generation, &worker, &number) && generation == 1 &&
              worker == 2 && number == 3);
    for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        ck_assert_msg(!log_name_parse(bad[k], &generation, &worker, &number), "%s", bad[k]);
}

TEST(names_of_marks)
{
    static const char *const bad[] = {"",           "erased",       ".erased",     "1.erased",
                                      "0001.erase", "00001.erased", "000x.erased", "0001.erased2"};
    char name[64];
    uint32_t worker;

    log_mark_name(name, 12);
    ck_assert_str_eq(name, "0012.erased");
    ck_assert(log_mark_parse(name, &worker) && worker == 12);
    for (unsigned k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        ck_assert_msg(!log_mark_parse(bad[k], &worker), "%s", bad[k]);
}

TEST(round_trip)
{
    struct fixture f;

    make(&f);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(o.frames, 5);
    ck_assert_uint_eq(sum(o.got), ALL);
    ck_assert(sum(o.bad) == 0 && !o.torn && !o.corrupt && !o.mended);
    ck_assert_uint_eq(o.end, f.file.n);
    end(&f);
}

TEST(data_in_parts)
{
    struct log_frame one = {0}, two = {0};
    struct log_record r = {
        .type = LOG_DATA, .id = 7, .segment = 3, .offset = 4096, .bytes = STR("headerbody")};
    struct str parts[] = {STR_LIT("header"), STR_LIT(""), STR_LIT("body")};

    log_frame_begin(&one, 5, 1);
    log_frame_add(&one, &r);
    log_frame_seal(&one, 0, 0, 0);
    log_frame_begin(&two, 5, 1);
    log_frame_add_parts(&two, &r, parts, 3);
    log_frame_seal(&two, 0, 0, 0);
    ck_assert(str_eq(buf_str(&one.meta), buf_str(&two.meta)));
    ck_assert(str_eq(buf_str(&one.body), buf_str(&two.body)));
    log_frame_free(&one);
    log_frame_free(&two);
}

TEST(frame_limits)
{
    struct log_frame f = {0};
    struct log_record r = {.type = LOG_FULL};

    log_frame_begin(&f, 5, 1);
    ck_assert(log_frame_fits(&f, LOG_RECORD_MAX - LOG_RECORD_HEADER));
    ck_assert(!log_frame_fits(&f, LOG_RECORD_MAX - LOG_RECORD_HEADER + 1));
    for (unsigned k = 0; k < LOG_FRAME_RECORDS; k++) {
        ck_assert(log_frame_fits(&f, 0));
        log_frame_add(&f, &r);
    }
    ck_assert(!log_frame_fits(&f, 0));
    log_frame_free(&f);
    /* Two of the largest do not fit into one frame. */
    static char zeros[LOG_RECORD_MAX - LOG_RECORD_HEADER];
    r.bytes = str_from(zeros, sizeof(zeros));
    log_frame_begin(&f, 5, 1);
    log_frame_add(&f, &r);
    ck_assert(!log_frame_fits(&f, sizeof(zeros)));
    log_frame_free(&f);
}

/* What lies behind the last frame of a recycled file: frames of its earlier life. */
TEST(recycled_contents_never_verify)
{
    struct fixture f, old;

    begin(&old);
    old.header.number = 2;
    log_header_encode(&old.header, (uint8_t *) old.file.p);
    for (unsigned k = 0; k < 5; k++) {
        add(&old, 3);
        old.durable = old.commit - 1;
    }
    make(&f);
    buf_put(&f.file, old.file.p + LOG_HEADER, old.file.n - LOG_HEADER);
    struct outcome o = scan(&f, 0);
    ck_assert_uint_eq(sum(o.got), ALL);
    ck_assert(!o.torn && !o.corrupt);
    end(&f);
    end(&old);
}

TEST(damaged_frame_in_the_middle)
{
    struct fixture f;

    make(&f);
    memset(f.file.p + f.frames[i].offset, 0, f.frames[i].bytes);
    struct outcome o = scan(&f, 0);
    if (i == 4) { /* nothing behind it: simply the end */
        ck_assert(o.corrupt == 0 && !o.torn && o.frames == 4);
    } else {
        ck_assert(o.corrupt == 1 && o.lost_commits == 1 && !o.torn);
        ck_assert_uint_eq(sum(o.got), ALL - f.frames[i].records);
    }
    end(&f);
}

TEST(second_of_two_in_flight)
{
    struct fixture f;

    begin(&f);
    add(&f, 2);
    f.durable = 11;
    add(&f, 2);
    add(&f, 2); /* begun while 12 was in flight */
    memset(f.file.p + f.frames[1].offset, 0xaa, f.frames[1].bytes);
    struct outcome o = scan(&f, 0);
    ck_assert(o.torn && o.corrupt == 0 && o.frames == 1);
    ck_assert_uint_eq(o.torn_at, f.frames[1].offset);
    ck_assert_uint_eq(o.torn_at + o.torn_bytes, f.file.n);
    /* A later file may prove it. */
    o = scan(&f, 12);
    ck_assert(!o.torn && o.corrupt == 1 && o.frames == 2);
    end(&f);
}

/* Every subset of sectors of the last frame: it is there as a whole or not at all. */
TEST(every_subset_of_sectors)
{
    struct fixture f;

    begin(&f);
    add(&f, 3);
    f.durable = 11;
    add(&f, 40);
    unsigned sectors = (unsigned) (f.frames[1].bytes / 512);
    ck_assert_uint_le(sectors, 16);
    uint8_t *whole = malloc(f.file.n);
    memcpy(whole, f.file.p, f.file.n);
    for (unsigned set = 0; set<1u << sectors; set += sectors> 10 ? 31 : 1) {
        for (unsigned k = 0; k < sectors; k++) {
            uint64_t at = f.frames[1].offset + k * 512;
            if ((set >> k & 1) != 0)
                memcpy(f.file.p + at, whole + at, 512);
            else
                memset(f.file.p + at, 0x77, 512);
        }
        struct outcome o = scan(&f, 0);
        ck_assert(o.got[0] == 3 && o.corrupt == 0 && sum(o.bad) == 0);
        ck_assert(o.got[1] == 0 || o.got[1] == 40);
    }
    free(whole);
    end(&f);
}

/* The last sector of the last frame was zero and stays so. When a single byte of the record lies
 * there, one wrong byte explains it: no damage all the same. */
TEST(last_sector_was_never_written)
{
    static const char text[1100] = {[0 ... 1099] = 'x'};

    for (size_t n = 600; n < sizeof(text); n++) {
        struct log_record r = {.type = LOG_DATA, .id = 1, .bytes = str_from(text, n)};
        struct log_frame frame = {0};
        struct fixture f;
        begin(&f);
        add(&f, 3);
        size_t at = f.file.n;
        log_frame_begin(&frame, f.header.salt, f.commit);
        log_frame_add(&frame, &r);
        log_frame_seal(&frame, 11, f.prev, 77);
        buf_put_str(&f.file, buf_str(&frame.meta));
        buf_put_str(&f.file, buf_str(&frame.body));
        size_t end_of = at + LOG_FRAME_HEADER + LOG_ENTRY + LOG_RECORD_HEADER + n;
        size_t sector = (end_of - 1) / 512 * 512;
        memset(f.file.p + sector, 0, f.file.n - sector);
        struct outcome o = scan(&f, 0);
        ck_assert_msg(o.torn && o.corrupt == 0 && o.frames == 1, "%zu bytes", n);
        log_frame_free(&frame);
        end(&f);
    }
}

TEST(truncated_at_every_byte)
{
    struct fixture f;

    make(&f);
    for (size_t n = 0; n <= f.file.n; n += n % 512 < 66 || n % 512 > 440 ? 1 : 7) {
        struct outcome o = scan_bytes((uint8_t *) f.file.p, n, f.header.salt, 0);
        ck_assert_uint_eq(o.corrupt, 0);
        for (unsigned k = 0; k < 5; k++)
            if (f.frames[k].offset + f.frames[k].bytes <= n)
                ck_assert_uint_eq(o.got[k], f.frames[k].records);
            else
                ck_assert(o.got[k] == 0 || o.got[k] == f.frames[k].records); /* padding may be
                                                                                missing */
    }
    end(&f);
}

/* i = a pattern: one damaged byte costs nothing. In the last frame it need not be damage: that may
 * have been torn over an older frame that differs in this byte. */
TEST(every_byte_flip)
{
    static const uint8_t patterns[] = {0x01, 0x80, 0xff};
    struct fixture f;

    make(&f);
    for (size_t at = LOG_HEADER; at < f.file.n; at++) {
        f.file.p[at] = (char) (f.file.p[at] ^ patterns[i]);
        struct outcome o = scan(&f, 0);
        ck_assert_msg(!o.torn && !o.corrupt && o.frames == 5, "byte %zu", at);
        ck_assert_msg(sum(o.got) == ALL && sum(o.bad) == 0, "byte %zu", at);
        ck_assert_msg(o.unproven == (o.mended && at >= f.frames[4].offset), "byte %zu", at);
        ck_assert(!scan(&f, 15).unproven);
        f.file.p[at] = (char) (f.file.p[at] ^ patterns[i]);
    }
    end(&f);
}

static const struct {
    const char *what;
    unsigned at, bytes;
    uint64_t value;
} rejects[] = {
    {"magic", 0, 4, 0x11223344},
    {"own commit known complete", 16, 8, 15},
    {"no records", 24, 4, 0},
    {"too many records", 24, 4, 65536},
    {"more records than table", 24, 4, 9},
    {"body longer than the file", 28, 4, 1 << 20},
    {"body far too long", 28, 4, UINT32_MAX},
    {"body unlike the table", 28, 4, 8},
    {"record shorter than its header", 64, 4, 31},
    {"record far too long", 64, 4, UINT32_MAX},
    {"record longer than the body", 64, 4, 4000},
};

TEST(frame_rejects) /* the sum is right */
{
    struct fixture f;
    struct log_frame_view v;

    begin(&f);
    for (unsigned k = 0; k < 4; k++)
        add(&f, 2);
    uint8_t *p = (uint8_t *) f.file.p + f.frames[3].offset;
    ck_assert_int_eq(log_frame_open(p, f.frames[3].bytes, f.header.salt, 0, &v), ERR_OK);
    memcpy(p + rejects[i].at, &rejects[i].value, rejects[i].bytes);
    uint32_t count = get_u32(p + 24) < 100 ? get_u32(p + 24) : 2;
    put_u32(p + 4, crc32c(f.header.salt, p + 8, 56 + count * 8));
    struct guard g = guard_copy(p, f.frames[3].bytes);
    ck_assert_msg(log_frame_open(g.p, g.n, f.header.salt, 0, &v) == ERR_CORRUPT, "%s",
                  rejects[i].what);
    guard_free(&g);
    end(&f);
}

/* Two damaged bytes in a record cost that record, when the commit is proven. */
TEST(two_damaged_bytes)
{
    struct fixture f;

    make(&f);
    for (size_t at = f.frames[2].offset + 64 + 7 * 8; at < f.frames[2].offset + 600; at++) {
        f.file.p[at] ^= 0x11;
        f.file.p[at + 1] ^= 0x22;
        struct outcome o = scan(&f, 0);
        ck_assert_msg(!o.torn && o.frames == 5, "byte %zu", at);
        ck_assert_msg(sum(o.got) + sum(o.bad) == ALL && sum(o.bad) <= 2, "byte %zu", at);
        f.file.p[at] ^= 0x11;
        f.file.p[at + 1] ^= 0x22;
    }
    end(&f);
}

TEST(proof_for_earlier_files)
{
    struct fixture f;
    uint64_t first;

    make(&f);
    ck_assert_uint_eq(log_scan_durable((uint8_t *) f.file.p, f.file.n, f.header.salt, &first), 14);
    ck_assert_uint_eq(first, 11);
    ck_assert_uint_eq(log_scan_durable((uint8_t *) f.file.p, LOG_HEADER, f.header.salt, &first), 0);
    ck_assert_uint_eq(first, 0);
    end(&f);
}

TEST(start_marker)
{
    uint8_t bytes[LOG_START_BYTES];
    struct log_start s = {.workers = 3, .clean_before = true}, got;

    log_start_encode(&s, bytes);
    ck_assert(log_start_decode(str_from(bytes, sizeof(bytes)), &got));
    ck_assert(got.workers == 3 && got.clean_before);
    ck_assert(!log_start_decode(str_from(bytes, sizeof(bytes) - 1), &got));
}

static const struct runner_case cases[] = {
    RUN(header_round_trip_and_flips),
    RUN(names),
    RUN(names_of_marks),
    RUN(round_trip),
    RUN(data_in_parts),
    RUN(frame_limits),
    RUN(recycled_contents_never_verify),
    RUN_LOOP(damaged_frame_in_the_middle, 0, 5),
    RUN(second_of_two_in_flight),
    RUN(every_subset_of_sectors),
    RUN(last_sector_was_never_written),
    RUN(truncated_at_every_byte),
    RUN_LOOP(every_byte_flip, 0, 3),
    RUN_LOOP(frame_rejects, 0, (int) (sizeof(rejects) / sizeof(rejects[0]))),
    RUN(two_damaged_bytes),
    RUN(proof_for_earlier_files),
    RUN(start_marker),
};

RUNNER_MAIN("store/log", cases)
