/* Segment header page, footer, trailer: round trips, rejects, flips, truncation, guard pages. */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/prng.h"
#include "store/segment_format.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/guard.h"
#include "tests/unit/store/segment_fixture.h"

static void make(struct fixture *f)
{
    fixture_init(f, 501);
    fixture_batch(f, 40, 500, 0);
    fixture_skip(f, 1000000, 540);
    fixture_batch(f, 3, 540, BATCH_HAS_IDS);
    fixture_batch(f, 17, 1000543, 0);
    fixture_seal(f, 0);
}

static enum err open_footer(const uint8_t *file, size_t n, uint32_t salt, struct footer *out)
{
    struct segment_trailer t;
    enum err err = n < SEGMENT_TRAILER
                       ? ERR_NOT_FOUND
                       : segment_trailer_decode(file + n - SEGMENT_TRAILER, n, salt, &t);
    if (err != ERR_OK)
        return err;
    return footer_open(file + t.footer_offset, n - t.footer_offset, n, salt, out);
}

TEST(header_round_trip)
{
    struct fixture f;
    struct segment_header h;
    char why[160];

    fixture_init(&f, 42);
    ck_assert_int_eq(segment_header_decode((uint8_t *) f.file.p, &h, why), ERR_OK);
    ck_assert_uint_eq(h.base_seq, 42);
    ck_assert_uint_eq(h.salt, f.header.salt);
    ck_assert_str_eq(h.name, "TEST");
    uint8_t again[SEGMENT_HEADER];
    segment_header_encode(&h, again);
    ck_assert(memcmp(again, f.file.p, SEGMENT_HEADER) == 0);
    fixture_free(&f);
}

TEST(header_every_byte_flip)
{
    struct fixture f;
    struct segment_header h;
    char why[160];

    fixture_init(&f, 42);
    for (size_t at = 0; at < SEGMENT_HEADER; at++) {
        f.file.p[at] ^= 0x10;
        ck_assert_int_eq(segment_header_decode((uint8_t *) f.file.p, &h, why), ERR_CORRUPT);
        ck_assert_uint_ne(strlen(why), 0);
        f.file.p[at] ^= 0x10;
    }
    fixture_free(&f);
}

TEST(header_of_a_newer_format)
{
    static const unsigned at[] = {8, 16, 24, 32};
    struct fixture f;
    struct segment_header h;
    char why[160];

    for (unsigned k = 0; k < 4; k++) {
        fixture_init(&f, 42);
        f.file.p[at[k]] |= 64;
        put_u32(f.file.p + 4092, crc32c(0xffffffffu, f.file.p, 4092));
        enum err err = segment_header_decode((uint8_t *) f.file.p, &h, why);
        ck_assert_int_eq(err, at[k] == 32 ? ERR_OK : ERR_VERSION); /* compat bits are ignored */
        fixture_free(&f);
    }
}

TEST(footer_round_trip)
{
    struct fixture f;
    struct footer foot;
    struct segment_batch b;
    uint64_t at;

    make(&f);
    struct guard g = guard_copy(f.file.p, f.file.n);
    ck_assert_int_eq(open_footer(g.p, g.n, f.header.salt, &foot), ERR_OK);
    ck_assert_uint_eq(foot.summary.base_seq, 501);
    ck_assert_uint_eq(foot.summary.next_seq, f.next_seq);
    ck_assert_uint_eq(foot.summary.msgs, 60);
    ck_assert_uint_eq(foot.summary.batches, 4);
    ck_assert_int_eq(foot.summary.min_time, 1000);
    ck_assert_int_eq(foot.summary.max_time, 1000 + 59 * 7);
    for (uint64_t k = 0; k < 4; k++) {
        footer_batch(&foot, k, &b);
        ck_assert(memcmp(&b, &f.batches[k], sizeof(b)) == 0);
        ck_assert(footer_batch_find(&foot, b.first_seq, &at) && at == k);
        ck_assert(footer_batch_find(&foot, b.first_seq + b.span - 1, &at) && at == k);
    }
    ck_assert(footer_batch_find(&foot, 1, &at) && at == 0);
    ck_assert(!footer_batch_find(&foot, f.next_seq, &at));
    guard_free(&g);
    fixture_free(&f);
}

TEST(footer_subjects)
{
    struct fixture f;
    struct footer foot;
    struct subject_iter it;
    uint64_t seq, total = 0;
    unsigned subjects = 0;

    make(&f);
    struct guard g = guard_copy(f.file.p, f.file.n);
    ck_assert_int_eq(open_footer(g.p, g.n, f.header.salt, &foot), ERR_OK);
    struct buf before = {0};
    subject_iter_init(&it, foot.section[SECTION_SUBJECTS], 501);
    for (; subject_iter_next(&it); subjects++) {
        ck_assert_int_lt(str_cmp(buf_str(&before), buf_str(&it.subject)), 0);
        buf_clear(&before);
        buf_put_str(&before, buf_str(&it.subject));
        uint64_t n = 0;
        for (; subject_run_next(&it, &seq); n++)
            ck_assert(str_eq(f.subjects[fixture_subject(seq)], buf_str(&it.subject)));
        ck_assert_uint_eq(n, it.msgs);
        total += n;
    }
    ck_assert_uint_eq(total, 60);
    ck_assert_uint_eq(subjects, foot.summary.subjects);
    subject_iter_deinit(&it);
    buf_free(&before);
    ck_assert(subject_iter_find(&it, foot.section[SECTION_SUBJECTS], 501,
                                f.subjects[fixture_subject(501)]));
    ck_assert(subject_run_next(&it, &seq) && seq == 501);
    subject_iter_deinit(&it);
    ck_assert(!subject_iter_find(&it, foot.section[SECTION_SUBJECTS], 501, STR("nobody")));
    subject_iter_deinit(&it);
    guard_free(&g);
    fixture_free(&f);
}

enum { BATCH = 32768 };

/* Behind a header page and one batch of zeros, which a footer does not look into. */
static void build(struct fixture *f, const struct segment_message *messages, size_t n,
                  const struct str *subjects, size_t nsubjects, uint32_t span)
{
    struct segment_batch batch = {.first_seq = f->header.base_seq,
                                  .offset = 4096,
                                  .bytes = BATCH,
                                  .span = span,
                                  .count = span};
    struct footer_input in = {.header = f->header,
                              .batches = &batch,
                              .nbatches = 1,
                              .messages = messages,
                              .nmessages = n,
                              .next_seq = f->header.base_seq + span,
                              .subjects = subjects,
                              .nsubjects = nsubjects,
                              .data_end = 4096 + BATCH,
                              .footer_offset = 4096 + BATCH};
    memset(buf_reserve(&f->file, BATCH), 0, BATCH);
    f->file.n += BATCH;
    ck_assert_int_eq(footer_build(&in, &f->file), ERR_OK);
}

TEST(footer_many_subjects)
{
    struct fixture f;
    struct footer foot;
    struct subject_iter it;
    enum { N = 1000 };
    static struct str subjects[N];
    static char text[N][16];
    static struct segment_message messages[N];
    uint64_t seq;

    fixture_init(&f, 1);
    for (unsigned k = 0; k < N; k++) {
        snprintf(text[k], 16, "s.%u", (k * 7919) % N);
        subjects[k] = str_of(text[k]);
        messages[k] = (struct segment_message){k, k, 40};
    }
    build(&f, messages, N, subjects, N, N);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    for (unsigned k = 0; k < N; k++) {
        ck_assert(subject_iter_find(&it, foot.section[SECTION_SUBJECTS], 1, subjects[k]));
        ck_assert(subject_run_next(&it, &seq) && seq == 1 + k && !subject_run_next(&it, &seq));
        subject_iter_deinit(&it);
    }
    fixture_free(&f);
}

/* A walk meets what a search finds, however far the next one is, and whether it is there. */
TEST(footer_walked_in_order)
{
    enum { N = 3000 };
    static char text[N][16];
    static struct str subjects[N];
    static struct segment_message messages[N];
    static const unsigned strides[] = {1, 3, 17, 100, 1000};
    struct subject_walk walk;
    struct fixture f;
    struct footer foot;
    struct prng r;
    uint64_t seq;

    prng_init(&r, (uint64_t) i);
    fixture_init(&f, 1);
    for (unsigned k = 0; k < N; k++) {
        snprintf(text[k], 16, "s.%04u", k * 2);
        subjects[k] = str_of(text[k]);
        messages[k] = (struct segment_message){k, k, 40};
    }
    build(&f, messages, N, subjects, N, N);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    subject_walk_init(&walk, foot.section[SECTION_SUBJECTS], 1);
    for (unsigned k = 0; k < 2 * N + 40; k += 1 + (unsigned) prng_below(&r, strides[i])) {
        char name[16];
        snprintf(name, sizeof(name), "s.%04u", k);
        bool there = k % 2 == 0 && k < 2 * N;
        ck_assert_int_eq(subject_walk_find(&walk, str_of(name)), there);
        if (there && prng_below(&r, 3) != 0)
            ck_assert(subject_run_next(&walk.it, &seq) && seq == 1 + k / 2);
    }
    subject_walk_deinit(&walk);
    subject_walk_init(&walk, STR_NONE, 1);
    ck_assert(!subject_walk_find(&walk, STR("s")));
    subject_walk_deinit(&walk);
    fixture_free(&f);
}

TEST(footer_sizes)
{
    struct fixture f;
    struct footer foot;
    struct size_iter it;
    uint64_t seq, bytes = 0;
    uint32_t size;
    unsigned n = 0;

    make(&f);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    size_iter_init(&it, foot.section[SECTION_SIZES], 501);
    for (; size_iter_next(&it, &seq, &size); n++, bytes += size) {
        ck_assert_uint_eq(seq, 501 + f.messages[n].delta);
        ck_assert_uint_eq(size, f.messages[n].bytes);
    }
    ck_assert_uint_eq(n, 60);
    ck_assert_uint_eq(bytes, foot.summary.bytes);
    fixture_free(&f);
}

/* What a footer gives back of subject s: all its messages. */
static void check_run(const struct footer *foot, uint64_t base, const struct str *subjects,
                      unsigned s, const struct segment_message *messages, size_t n)
{
    struct subject_iter it;
    uint64_t seq;
    bool any = subject_iter_find(&it, foot->section[SECTION_SUBJECTS], base, subjects[s]);

    for (size_t k = 0; k < n; k++) {
        if (messages[k].subject != s)
            continue;
        ck_assert(any && subject_run_next(&it, &seq));
        ck_assert_uint_eq(seq, base + messages[k].delta);
    }
    ck_assert(!any || !subject_run_next(&it, &seq));
    subject_iter_deinit(&it);
}

/* Sizes, distances and gaps that repeat, for a while. */
TEST(footer_of_repeating_messages)
{
    enum { N = 4000, SUBJECTS = 5 };
    static struct segment_message messages[N];
    struct str subjects[SUBJECTS] = {STR("a"), STR("b"), STR("c"), STR("d"), STR("e")};
    struct fixture f;
    struct footer foot;
    struct size_iter it;
    struct prng r;
    uint64_t seq;
    uint32_t size = 0, delta = 0, step = 1, subject = 0, turn = 0;

    prng_init(&r, (uint64_t) i + 1);
    for (size_t k = 0; k < N; k++) {
        if (k == 0 || prng_below(&r, 50) == 0) {
            size = 2 + (uint32_t) prng_below(&r, prng_below(&r, 2) == 0 ? 3 : 100000);
            step = prng_below(&r, 3) == 0 ? 1 + (uint32_t) prng_below(&r, 3) : 1;
            turn = (uint32_t) prng_below(&r, 3); /* one subject, in turn, at random */
        }
        subject = turn == 0 ? subject
                            : (turn == 1 ? subject + 1 : (uint32_t) prng_below(&r, 5)) % SUBJECTS;
        delta += k == 0 ? (uint32_t) prng_below(&r, 2) : step;
        messages[k] = (struct segment_message){delta, subject,
                                               prng_below(&r, 100) == 0 ? size + 1 : size};
    }
    fixture_init(&f, 77);
    uint32_t span = delta + 1 + (uint32_t) prng_below(&r, 3);
    build(&f, messages, N, subjects, SUBJECTS, span);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    size_iter_init(&it, foot.section[SECTION_SIZES], 77);
    for (size_t k = 0; k < N; k++) {
        ck_assert(size_iter_next(&it, &seq, &size));
        ck_assert_uint_eq(seq, 77 + messages[k].delta);
        ck_assert_uint_eq(size, messages[k].bytes);
    }
    ck_assert(!size_iter_next(&it, &seq, &size));
    for (unsigned s = 0; s < SUBJECTS; s++)
        check_run(&foot, 77, subjects, s, messages, N);
    fixture_free(&f);
}

/* Equal messages of one subject cost some bytes, however many. */
TEST(footer_of_equal_messages_is_small)
{
    enum { N = 20000 };
    static struct segment_message messages[N];
    struct str subject = STR("a");
    struct fixture f;
    struct footer foot;

    for (uint32_t k = 0; k < N; k++)
        messages[k] = (struct segment_message){k, 0, 200};
    fixture_init(&f, 1);
    build(&f, messages, N, &subject, 1, N);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    ck_assert_uint_le(foot.section[SECTION_SIZES].n, 6);
    ck_assert_uint_le(foot.section[SECTION_SUBJECTS].n, 30);
    fixture_free(&f);
}

TEST(footer_of_an_empty_segment)
{
    struct fixture f;
    struct footer foot;
    uint64_t at;

    fixture_init(&f, 9);
    fixture_seal(&f, SEGMENT_CUT);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    ck_assert_uint_eq(foot.summary.msgs, 0);
    ck_assert_uint_eq(foot.summary.next_seq, 9);
    ck_assert_uint_eq(foot.summary.flags, SEGMENT_CUT);
    ck_assert(!footer_batch_find(&foot, 1, &at));
    fixture_free(&f);
}

/* A footer is right or refused: no flip of any of its bytes changes what is read. */
TEST(footer_every_byte_flip)
{
    struct fixture f;
    struct footer foot;

    make(&f);
    uint64_t from = f.file.n - 1;
    while (from > 0 && get_u32(f.file.p + from) != BATCH_MAGIC) /* the last batch begins before the
                                                                   footer */
        from--;
    from = round_up(from, 4096);
    for (size_t at = from; at < f.file.n; at++) {
        struct guard g = guard_copy(f.file.p, f.file.n);
        g.p[at] ^= 0x20;
        enum err err = open_footer(g.p, g.n, f.header.salt, &foot);
        if (err == ERR_OK) /* padding between sections */
            ck_assert_int_eq(f.file.p[at], 0);
        guard_free(&g);
    }
    fixture_free(&f);
}

TEST(footer_truncated_at_every_byte)
{
    struct fixture f;
    struct footer foot;

    make(&f);
    for (size_t n = 0; n < f.file.n; n++) {
        struct guard g = guard_copy(f.file.p, n);
        ck_assert_int_ne(open_footer(g.p, g.n, f.header.salt, &foot), ERR_OK);
        guard_free(&g);
    }
    fixture_free(&f);
}

TEST(footer_of_another_segment)
{
    struct fixture f;
    struct footer foot;

    make(&f);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt + 1, &foot),
                     ERR_CORRUPT);
    fixture_free(&f);
}

/* Sums that are right over contents that are not: what a wrong writer would leave. */
static const struct {
    const char *what;
    unsigned section, at, bytes;
    uint64_t value;
} wrong[] = {
    {"base sequence 0", SECTION_SUMMARY, 0, 8, 0},
    {"next below base", SECTION_SUMMARY, 8, 8, 500},
    {"span of 2^32", SECTION_SUMMARY, 8, 8, 501 + (1ull << 32)},
    {"messages", SECTION_SUMMARY, 16, 8, 61},
    {"bytes", SECTION_SUMMARY, 24, 8, 1},
    {"data end behind the footer", SECTION_SUMMARY, 48, 8, 1 << 20},
    {"batches", SECTION_SUMMARY, 56, 8, 5},
    {"subjects", SECTION_SUMMARY, 64, 8, 1},
    {"batch below base", SECTION_BATCHES, 0, 8, 500},
    {"batch in the header page", SECTION_BATCHES, 8, 8, 8},
    {"batch not aligned", SECTION_BATCHES, 8, 8, 4097},
    {"batch too short", SECTION_BATCHES, 16, 4, 8},
    {"batch overlaps the next", SECTION_BATCHES, 16, 4, 64 << 10},
    {"batch far too long", SECTION_BATCHES, 16, 4, UINT32_MAX},
    {"span overlaps the next", SECTION_BATCHES, 20, 4, 41},
    {"span 0", SECTION_BATCHES, 20, 4, 0},
    {"more records than sequences", SECTION_BATCHES, 24, 4, 41},
    {"subject count", SECTION_SUBJECTS, 0, 4, 9},
    {"restart count", SECTION_SUBJECTS, 4, 4, 1u << 30},
    {"restart place", SECTION_SUBJECTS, 8, 4, 3},
    {"first subject shares a prefix", SECTION_SUBJECTS, 12, 1, 1},
    {"subject runs over the end", SECTION_SUBJECTS, 13, 2, 0x7fff},
    {"size missing", SECTION_SIZES, 0, 1, 0},
};

/* Overwrites bytes of a section and mends all sums over it. */
static void forge(struct fixture *f, unsigned type, unsigned at, const void *bytes, size_t n)
{
    uint8_t *file = (uint8_t *) f->file.p, *end = file + f->file.n;
    uint32_t salt = f->header.salt;
    struct segment_trailer t;

    ck_assert_int_eq(segment_trailer_decode(end - SEGMENT_TRAILER, f->file.n, salt, &t), ERR_OK);
    for (uint8_t *entry = file + t.table_offset; entry < end - SEGMENT_TRAILER; entry += 32) {
        if (get_u32(entry) != type)
            continue;
        uint8_t *section = file + t.footer_offset + get_u64(entry + 8);
        memcpy(section + at, bytes, n);
        put_u32(entry + 24, crc32c(salt, section, get_u64(entry + 16)));
    }
    put_u32(end - SEGMENT_TRAILER + 48, crc32c(salt, file + t.table_offset, t.sections * 32));
    put_u32(end - 4, crc32c(salt, end - SEGMENT_TRAILER, 60));
}

TEST(footer_rejects)
{
    struct fixture f;
    struct footer foot;

    make(&f);
    forge(&f, wrong[i].section, wrong[i].at, &wrong[i].value, wrong[i].bytes);
    ck_assert_msg(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot) == ERR_CORRUPT,
                  "%s", wrong[i].what);
    fixture_free(&f);
}

/* Of 100 messages of 30 bytes and one subject: SIZES is 30, 1, 99; the run is 0, 1, 0, 98. */
static const struct {
    const char *what;
    unsigned section, at;
    uint8_t value;
} wrong_repeats[] = {
    {"a size repeated before there is one", SECTION_SIZES, 0, 1},
    {"a size repeated no times", SECTION_SIZES, 2, 0},
    {"a size repeated too often", SECTION_SIZES, 2, 100},
    {"a size repeated too seldom", SECTION_SIZES, 2, 98},
    {"a distance of 0 repeated", SECTION_SUBJECTS, 18, 0},
    {"a distance repeated no times", SECTION_SUBJECTS, 20, 0},
    {"a distance repeated too often", SECTION_SUBJECTS, 20, 99},
    {"a distance repeated too seldom", SECTION_SUBJECTS, 20, 97},
    {"a number that does not end", SECTION_SUBJECTS, 20, 0x80},
};

TEST(footer_rejects_repeats)
{
    static struct segment_message messages[100];
    struct str subject = STR("a");
    struct fixture f;
    struct footer foot;

    for (uint32_t k = 0; k < 100; k++)
        messages[k] = (struct segment_message){k, 0, 30};
    fixture_init(&f, 1);
    build(&f, messages, 100, &subject, 1, 100);
    ck_assert_int_eq(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot), ERR_OK);
    ck_assert_mem_eq(foot.section[SECTION_SIZES].p, "\x1e\x01\x63", 3);
    ck_assert_mem_eq(foot.section[SECTION_SUBJECTS].p + 17, "\x00\x01\x00\x62", 4);
    forge(&f, wrong_repeats[i].section, wrong_repeats[i].at, &wrong_repeats[i].value, 1);
    ck_assert_msg(open_footer((uint8_t *) f.file.p, f.file.n, f.header.salt, &foot) == ERR_CORRUPT,
                  "%s", wrong_repeats[i].what);
    fixture_free(&f);
}

TEST(names)
{
    static const char *const bad[] = {"",
                                      "1.seg",
                                      "0000000001",
                                      "0000000001.log",
                                      "000000000x.seg",
                                      "00000000001.seg",
                                      "0000000001.seg.x",
                                      "0000000001-.seg",
                                      "0000000001-0.seg",
                                      "0000000001-01.seg",
                                      "0000000001-4294967296.seg",
                                      "-1.seg",
                                      "99999999999999999999.seg"};
    char name[48];
    uint64_t n;
    uint32_t g;

    segment_name(name, 7, 0);
    ck_assert_str_eq(name, "0000000007.seg");
    ck_assert(segment_name_parse(name, &n, &g) && n == 7 && g == 0);
    ck_assert(!segment_name_unfinished(name));
    segment_name(name, 12345678901ull, 0);
    ck_assert(segment_name_parse(name, &n, &g) && n == 12345678901ull);
    segment_name(name, 7, 4294967295u);
    ck_assert_str_eq(name, "0000000007-4294967295.seg");
    ck_assert(segment_name_parse(name, &n, &g) && n == 7 && g == 4294967295u);
    ck_assert(segment_name_unfinished("0000000007-2.new"));
    ck_assert(!segment_name_parse("0000000007-2.new", &n, &g));
    for (unsigned k = 0; k < ARRAY_LEN(bad); k++)
        ck_assert_msg(!segment_name_parse(bad[k], &n, &g), "%s", bad[k]);
}

static const struct runner_case cases[] = {
    RUN(header_round_trip),
    RUN(header_every_byte_flip),
    RUN(header_of_a_newer_format),
    RUN(footer_round_trip),
    RUN(footer_subjects),
    RUN(footer_many_subjects),
    RUN_LOOP(footer_walked_in_order, 0, 5),
    RUN(footer_sizes),
    RUN_LOOP(footer_of_repeating_messages, 0, 50),
    RUN(footer_of_equal_messages_is_small),
    RUN(footer_of_an_empty_segment),
    RUN(footer_every_byte_flip),
    RUN(footer_truncated_at_every_byte),
    RUN(footer_of_another_segment),
    RUN_LOOP(footer_rejects, 0, ARRAY_LEN(wrong)),
    RUN_LOOP(footer_rejects_repeats, 0, ARRAY_LEN(wrong_repeats)),
    RUN(names),
};

RUNNER_MAIN("store/footer", cases)
