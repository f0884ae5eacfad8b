/*
 * test_store_index.c - questions about subjects, against an array of all messages: filtered
 * readers, counts, last messages, listings; through appends, removals, limits, sealed segments,
 * reopens.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "store/footer.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 30000, NAME = 24 };

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    struct prng rng;
    unsigned spread;     /* subjects */
    char (*names)[NAME]; /* by sequence; empty = gone */
    uint64_t last;
    unsigned per_subject; /* limit */
    bool kafka;           /* Kafka batches, too */
};

static void name_of(unsigned k, char out[NAME])
{
    snprintf(out, NAME, "%c.%u.%s", "abc"[k % 3], k / 3, k % 7 == 0 ? "rare" : "often");
}

static void open_bench(struct bench *b, int i)
{
    static const unsigned spreads[] = {1, 5, 40, 900, 20000};
    static const unsigned limits[] = {0, 1, 3};

    *b = (struct bench){.sim = sim_open(1, NULL), .spread = spreads[i % 5]};
    b->per_subject = limits[i / 5 % 3];
    b->kafka = i % 2 == 0 && i / 15 % 2 == 0;
    prng_init(&b->rng, (uint64_t) i + 100);
    b->names = mem_zalloc(((size_t) MOST + 1) * sizeof(*b->names));
    struct rig_options options = {.sim = b->sim,
                                  .index_lazy_bytes = i >= 30,
                                  .kafka_decode = rig_kafka_decode,
                                  .log_file_bytes = 1 << 20,
                                  .segment_min = 64 << 10,
                                  .segment_max = 256 << 10};
    struct store_limits l = {.max_msgs_per_subject = b->per_subject};
    rig_init(&b->r, &options);
    rig_create(&b->r, &b->t, "s", i / 15 % 2 == 0 ? STORE_DURABLE : STORE_MEMORY, &l);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
    mem_free(b->names);
}

/* ---- the model ------------------------------------------------------------------------------- */

static bool matches(const struct bench *b, uint64_t seq, const char *filter)
{
    return b->names[seq][0] != '\0' &&
           (filter == NULL || subject_matches(str_of(b->names[seq]), str_of(filter)));
}

static void trim(struct bench *b, const char *name)
{
    unsigned kept = 0;

    for (uint64_t seq = b->last; seq > 0 && b->per_subject != 0; seq--)
        if (strcmp(b->names[seq], name) == 0 && ++kept > b->per_subject)
            b->names[seq][0] = '\0';
}

static void append_one(struct bench *b, const char *name)
{
    if (b->last == MOST)
        return;
    ck_assert_int_eq(rig_append_to(&b->t, name, 20), ERR_OK);
    snprintf(b->names[++b->last], NAME, "%s", name);
    trim(b, name);
}

static void append_some(struct bench *b)
{
    unsigned n = 1 + (unsigned) prng_below(&b->rng, 800);
    char name[NAME];

    for (; n > 0 && b->last < MOST; n--) {
        name_of((unsigned) prng_below(&b->rng, b->spread), name);
        unsigned messages = 1;
        if (b->kafka && prng_below(&b->rng, 60) == 0 && b->last + 200 < MOST) {
            messages = 1 + (unsigned) prng_below(&b->rng, 100);
            ck_assert_int_eq(rig_append_kafka(&b->t, name, messages, 40 + messages * 20), ERR_OK);
        } else {
            ck_assert_int_eq(rig_append_to(&b->t, name, 10 + prng_below(&b->rng, 60)), ERR_OK);
        }
        while (messages-- > 0) {
            memcpy(b->names[++b->last], name, NAME);
            trim(b, name);
        }
    }
    rig_flush(&b->t);
}

static void remove_some(struct bench *b)
{
    for (unsigned n = 0; n < 60 && b->last > 0; n++) {
        uint64_t seq = 1 + prng_below(&b->rng, b->last);
        enum err err = store_remove(b->t.s, seq, false, NULL);
        ck_assert_int_eq(err, b->names[seq][0] != '\0' ? ERR_OK : ERR_NOT_FOUND);
        b->names[seq][0] = '\0';
    }
}

static void purge_some(struct bench *b, const char *filter)
{
    uint64_t below = prng_below(&b->rng, b->last + 2), gone = 0;
    struct store_purge p = {.filter = filter == NULL ? STR_NONE : str_of(filter),
                            .before_seq = below};
    struct rig_req q;

    rig_req_init(&q);
    store_purge(b->t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
    for (uint64_t seq = 1; seq <= b->last && (below == 0 || seq < below); seq++)
        if (matches(b, seq, filter)) {
            b->names[seq][0] = '\0';
            gone++;
        }
    ck_assert_uint_eq(q.req.count, gone);
}

static void open_again(struct bench *b)
{
    rig_settle(&b->r);
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
}

static void reopen(struct bench *b)
{
    if (b->t.s == NULL)
        return;
    open_again(b);
    /* Where the index is read later, more or less of it is there when the questions begin. */
    for (uint64_t n = prng_below(&b->rng, 12); n > 0; n--)
        rig_step(&b->r);
}

/* ---- questions ------------------------------------------------------------------------------- */

static const char *random_filter(struct bench *b, char out[NAME])
{
    static const char *const wild[] = {"a.>",       "*.*.rare", "b.1.*", "*.3.>",
                                       "c.*.often", "x.*",      ">"};

    if (prng_below(&b->rng, 8) == 0)
        return NULL;
    if (prng_below(&b->rng, 3) == 0)
        return wild[prng_below(&b->rng, sizeof(wild) / sizeof(wild[0]))];
    name_of((unsigned) prng_below(&b->rng, b->spread + 2), out);
    return out;
}

static void check_reader(struct bench *b, const char *filter, uint64_t from)
{
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;
    struct store_reader r;
    struct store_msg m;
    bool ready;

    store_reader_init(&r, b->t.s, from, &f, filter != NULL, rig_on_ready, &ready);
    for (uint64_t seq = from == 0 ? 1 : from, n = 0; n < 50; seq++) {
        if (seq <= b->last && !matches(b, seq, filter))
            continue;
        enum store_read read;
        for (ready = false; (read = store_reader_next(&r, &m)) == STORE_READ_WAIT; ready = false)
            rig_wait(&b->r, &ready);
        ck_assert_int_eq(read, seq <= b->last ? STORE_READ_MSG : STORE_READ_END);
        if (seq > b->last)
            break;
        ck_assert_uint_eq(m.seq, seq);
        ck_assert(str_eq(m.subject, str_of(b->names[seq])));
        n++;
    }
    store_reader_deinit(&r);
}

static void check_count(struct bench *b, const char *filter, uint64_t from)
{
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;
    struct rig_req q;
    uint64_t count, want = 0;

    for (uint64_t seq = from; seq <= b->last; seq++)
        want += matches(b, seq, filter);
    rig_req_init(&q);
    enum err err = store_count(b->t.s, from, &f, filter != NULL, &count, &q.req);
    if (err == ERR_AGAIN) {
        ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
        count = q.req.count;
    }
    ck_assert_uint_eq(count, want);
}

static void check_last(struct bench *b, const char *filter, uint64_t upto)
{
    uint64_t last = 0, last_upto = 0;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        if (matches(b, seq, filter)) {
            last = seq;
            last_upto = seq <= upto ? seq : last_upto;
        }
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;
    ck_assert_uint_eq(store_subject_last_match(b->t.s, f), last);
    if (filter != NULL && !subject_has_wildcard(f))
        ck_assert_uint_eq(store_subject_last_upto(b->t.s, f, upto), last_upto);
}

static void check_one(struct bench *b, const char *name)
{
    uint64_t first = 0, last = 0, msgs = 0;
    struct store_subject sub;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        if (strcmp(b->names[seq], name) == 0) {
            first = msgs++ == 0 ? seq : first;
            last = seq;
        }
    ck_assert_uint_eq(store_subject_get(b->t.s, str_of(name), &sub), msgs > 0);
    if (msgs == 0)
        return;
    ck_assert_uint_eq(sub.first_seq, first);
    ck_assert_uint_eq(sub.last_seq, last);
    ck_assert_uint_eq(sub.msgs, msgs);
}

struct listing {
    char before[NAME];
    uint64_t msgs, subjects;
};

static bool list_one(void *ctx, const struct store_subject *sub)
{
    struct listing *l = ctx;

    ck_assert_int_lt(str_cmp(str_of(l->before), sub->subject), 0);
    memcpy(l->before, sub->subject.p, sub->subject.n);
    l->before[sub->subject.n] = '\0';
    l->msgs += sub->msgs;
    l->subjects++;
    return true;
}

static void check_listing(struct bench *b, const char *filter)
{
    struct listing l = {0};
    struct store_state s;
    uint64_t want = 0;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        want += matches(b, seq, filter);
    store_subjects_each(b->t.s, filter != NULL ? str_of(filter) : STR_NONE, list_one, &l);
    ck_assert_uint_eq(l.msgs, want);
    store_stream_state(b->t.s, &s);
    if (filter == NULL || strcmp(filter, ">") == 0)
        ck_assert_uint_eq(l.subjects, s.num_subjects);
}

static void ask(struct bench *b)
{
    char text[NAME];

    for (unsigned n = 0; n < 12; n++) {
        const char *filter = random_filter(b, text);
        check_reader(b, filter, prng_below(&b->rng, b->last + 2));
        check_count(b, filter, prng_below(&b->rng, 4) == 0 ? 0 : prng_below(&b->rng, b->last + 2));
        check_last(b, filter, prng_below(&b->rng, b->last + 2));
        check_listing(b, filter);
    }
    name_of((unsigned) prng_below(&b->rng, b->spread), text);
    check_one(b, text);
}

static void impatient(struct bench *b, int i)
{
    if (i % 2 == 0)
        b->r.store->filter_patience = 50;
}

TEST(index_against_an_array)
{
    struct bench b;
    char text[NAME];

    open_bench(&b, i);
    impatient(&b, i / 2); /* sieves */
    for (unsigned round = 0; round < 16; round++) {
        append_some(&b);
        if (prng_below(&b.rng, 3) == 0)
            remove_some(&b);
        if (prng_below(&b.rng, 6) == 0)
            purge_some(&b, random_filter(&b, text));
        if (prng_below(&b.rng, i >= 30 ? 3 : 8) == 0 && i / 15 % 2 == 0)
            reopen(&b);
        impatient(&b, i / 2);
        ask(&b);
        store_check(b.r.store);
    }
    close_bench(&b);
}

/* An age that nothing has reached is no reason to read everything at once. */
TEST(an_age_limit_does_not_hold_up_a_start)
{
    struct bench b;
    struct rig_req q;
    struct store_limits l = {.max_age_ns = 3600ll * 1000000000};

    open_bench(&b, 34);
    b.per_subject = 0;
    rig_req_init(&q);
    store_stream_update(b.t.s, &l, STR("config of s"), &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    for (unsigned k = 0; k < 8; k++)
        append_some(&b);
    rig_settle(&b.r);
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "s");
    ck_assert(b.t.s->loader != NULL);
    store_recovered_done(b.r.store);
    ask(&b);
    store_check(b.r.store);
    close_bench(&b);
}

/* Changes a byte in this section of the footer of a segment; false: it has none. */
static bool harm_footer_of(struct bench *b, unsigned number, unsigned section)
{
    struct io_fs *fs = sim_fs(b->sim);
    char path[512];
    uint8_t trailer[SEGMENT_TRAILER], entry[FOOTER_TABLE_ENTRY], byte;
    struct segment_trailer t;

    store_path_segment(b->r.dir, path, b->t.s->rec.uuid, number, 0);
    fs_fd fd = fs_open(fs, path, IO_FILE_WRITE);
    ck_assert_int_ge(fd, 0);
    uint64_t size = (uint64_t) fs_size(fs, fd);
    ck_assert_int_eq(fs_read(fs, fd, trailer, sizeof(trailer), size - sizeof(trailer)),
                     sizeof(trailer));
    uint32_t salt = b->t.s->index[number - 1]->salt;
    ck_assert_int_eq(segment_trailer_decode(trailer, size, salt, &t), ERR_OK);
    for (unsigned k = 0; k < t.sections; k++) {
        fs_read(fs, fd, entry, sizeof(entry), t.table_offset + k * sizeof(entry));
        if (get_u32(entry) != section)
            continue;
        uint64_t at = t.footer_offset + get_u64(entry + 8) + get_u64(entry + 16) / 2;
        ck_assert_int_eq(fs_read(fs, fd, &byte, 1, at), 1);
        byte ^= 1;
        ck_assert_int_eq(fs_write(fs, fd, &byte, 1, at), 0);
        fs_sync(fs, fd);
        fs_close(fs, fd);
        return true;
    }
    fs_close(fs, fd);
    return false;
}

/* ... of the first one that has it. */
static void harm_footer(struct bench *b, unsigned section)
{
    unsigned number = 1;

    while (!harm_footer_of(b, number, section))
        number++;
}

/* Of a large footer a start reads neither subjects nor sizes. Where it needs them at once (a
 * message of the segment was removed: i % 2 = 0), or later (1), they may be damaged: the batches
 * have it all. i / 2: which of the two. */
TEST(damaged_footer_costs_nothing)
{
    struct bench b;
    struct store_state state;

    open_bench(&b, 34);
    b.per_subject = 0;
    for (unsigned k = 0; k < 8; k++)
        append_some(&b);
    rig_settle(&b.r);
    ck_assert_int_eq(LIST_ENTRY(b.t.s->segments.next, struct segment, link)->state, SEGMENT_SEALED);
    if (i % 2 == 0)
        remove_some(&b);
    rig_settle(&b.r);
    harm_footer(&b, i / 2 == 0 ? SECTION_SUBJECTS : SECTION_SIZES);
    reopen(&b);
    ask(&b);
    store_stream_state(b.t.s, &state);
    ck_assert(!state.failed);
    ck_assert_uint_eq(state.lost_msgs, 0);
    check_reader(&b, NULL, 1);
    store_check(b.r.store);
    close_bench(&b);
}

/* A filter that matches nothing yet finds what comes, also when more was born than is noted. */
TEST(filters_learn_of_new_subjects)
{
    struct bench b;
    struct str filter = STR("c.*.rare");
    struct store_reader r;
    struct store_msg m;
    char name[NAME];
    bool ready;

    open_bench(&b, 4);
    store_reader_init(&r, b.t.s, 1, &filter, 1, rig_on_ready, &ready);
    ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_END);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned k = 0; k < 2000; k++) {
            snprintf(name, sizeof(name), "a.%u.%u", round, k);
            rig_append_to(&b.t, name, 10);
        }
        snprintf(name, sizeof(name), "c.%u.rare", round);
        rig_append_to(&b.t, name, 10);
        rig_flush(&b.t);
        ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_MSG);
        ck_assert(str_eq(m.subject, str_of(name)));
        ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_END);
    }
    store_reader_deinit(&r);
    close_bench(&b);
}

static void purge_all_of(struct bench *b, const char *filter)
{
    struct store_purge p = {.filter = str_of(filter)};
    struct rig_req q;

    rig_req_init(&q);
    store_purge(b->t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
}

static void expect_next(struct bench *b, struct store_reader *r, bool *ready, const char *name)
{
    struct store_msg m;

    while (store_reader_next(r, &m) == STORE_READ_WAIT) {
        rig_wait(&b->r, ready);
        *ready = false;
    }
    ck_assert_msg(str_eq(m.subject, str_of(name)), "%.*s, not %s", (int) m.subject.n, m.subject.p,
                  name);
}

/* One that matches more than few and fits a sieve: through births, also more than are noted, and
 * through ids that subjects of the other kind had before. */
TEST(a_sieve_learns_of_new_subjects)
{
    struct bench b;
    struct store_reader r;
    struct str filter = STR("c.*.rare");
    struct store_msg m;
    char name[NAME];
    bool ready = false;
    unsigned sieved = 0;

    open_bench(&b, 4);
    b.r.store->filter_patience = 50;
    store_reader_init(&r, b.t.s, 1, &filter, 1, rig_on_ready, &ready);
    for (unsigned round = 0; round < 12; round++) {
        unsigned n = round % 4 == 3 ? 3000 : 900;
        for (unsigned k = 0; k < n; k++) {
            snprintf(name, sizeof(name), k % 10 == 0 ? "c.%u.rare" : "a.%u.rare", round * 4000 + k);
            rig_append_to(&b.t, name, 10);
        }
        rig_flush(&b.t);
        for (unsigned k = 0; k < n; k += 10) {
            snprintf(name, sizeof(name), "c.%u.rare", round * 4000 + k);
            expect_next(&b, &r, &ready, name);
        }
        while (store_reader_next(&r, &m) == STORE_READ_WAIT)
            rig_wait(&b.r, &ready);
        sieved += r.filter->sieved;
        purge_all_of(&b, round % 2 == 0 ? "a.>" : ">");
    }
    ck_assert_uint_gt(sieved, 3);
    store_reader_deinit(&r);
    close_bench(&b);
}

/* A purge below a sequence, of subjects whose messages are further on: asking for the first of them
 * costs more than a slice may, and what it finds is behind the end. */
TEST(purge_below_what_is_left)
{
    struct bench b;
    struct store_purge p = {.filter = STR("p.*"), .before_seq = 10};
    struct rig_req q;
    char name[NAME];

    open_bench(&b, 0);
    rig_append_to(&b.t, "p.0", 10);
    for (unsigned k = 0; k < 600; k++)
        rig_append_to(&b.t, "x", 10);
    for (unsigned k = 0; k < 64; k++) {
        snprintf(name, sizeof(name), "p.%u", k % 32);
        rig_append_to(&b.t, name, 10);
    }
    rig_flush(&b.t);
    rig_req_init(&q);
    store_purge(b.t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, 1);
    close_bench(&b);
}

/* Appends, reads by sequence, and sums need no index; whoever asks for subjects waits for it. Every
 * other time with Kafka batches. */
TEST(a_start_leaves_the_index_for_later)
{
    struct bench b;
    struct store_state before, after;
    struct store_subject sub;
    struct rig_req q;

    open_bench(&b, 30 + 2 + i % 2);
    while (b.last < 8000)
        append_some(&b);
    store_stream_state(b.t.s, &before);
    rig_settle(&b.r);
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "s");
    store_recovered_done(b.r.store);
    ck_assert_ptr_nonnull(b.t.s->loader);
    store_stream_state(b.t.s, &after);
    ck_assert_uint_eq(after.msgs, before.msgs);
    ck_assert_uint_eq(after.bytes, before.bytes);
    ck_assert_uint_eq(after.first_seq, before.first_seq);
    ck_assert_uint_eq(after.last_seq, before.last_seq);
    ck_assert_uint_le(after.num_subjects, before.num_subjects);
    ck_assert_int_eq(rig_append_to(&b.t, "new.one", 10), ERR_OK);
    ck_assert_uint_eq(b.t.s->last_assigned, b.last + 1);
    ck_assert_ptr_nonnull(b.t.s->loader);
    switch (i / 2) {
    case 0: /* reads all of it */
        ck_assert(store_subject_get(b.t.s, str_of(b.names[b.last]), &sub));
        ck_assert_uint_eq(sub.last_seq, b.last);
        break;
    case 1: /* waits for it */
        rig_req_init(&q);
        ck_assert(store_index_wait(b.t.s, &q.req));
        ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
        ck_assert(!store_index_wait(b.t.s, &q.req));
        break;
    default: /* is left alone */
        while (b.t.s->loader != NULL)
            rig_step(&b.r);
    }
    ck_assert_ptr_null(b.t.s->loader);
    rig_flush(&b.t);
    store_stream_state(b.t.s, &after);
    ck_assert_uint_eq(after.num_subjects, before.num_subjects + 1);
    ck_assert_uint_eq(after.msgs, before.msgs + 1);
    store_check(b.r.store);
    close_bench(&b);
}

/* Is it gone for everybody who asks for it now? */
static void check_gone(struct bench *b, uint64_t from)
{
    struct store_reader reader;
    struct store_state state;
    struct store_msg m;
    uint64_t there = 0;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        there += b->names[seq][0] != '\0';
    store_stream_state(b->t.s, &state);
    ck_assert_uint_eq(state.msgs, there);
    for (uint64_t seq = from; seq < from + 40 && seq <= b->last; seq++) {
        enum store_read want = b->names[seq][0] != '\0' ? STORE_READ_MSG : STORE_READ_GONE;
        ck_assert_int_eq(rig_get(&b->t, seq, &m, &reader), want);
        store_reader_deinit(&reader);
    }
    ck_assert_int_eq(store_remove(b->t.s, b->last + 1, false, NULL), ERR_NOT_FOUND);
}

static void limit_per_subject(struct bench *b, unsigned max)
{
    struct store_limits l = {.max_msgs_per_subject = max};
    char name[NAME];

    b->per_subject = max;
    store_stream_update(b->t.s, &l, STR("config of s"), NULL);
    for (uint64_t seq = 1; seq <= b->last; seq++) {
        memcpy(name, b->names[seq], NAME);
        if (name[0] != '\0')
            trim(b, name);
    }
}

/* Removals, erasures, purges, appends and a limit come while the index is being read; it is stopped
 * in the middle of it, too. */
TEST(removals_while_the_index_is_read)
{
    struct bench b;
    struct rig_req erased, purged;
    uint64_t gone = 0;

    open_bench(&b, 30 + i % 5);
    while (b.last < 6000)
        append_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        reopen(&b);
        bool coming = store_index_wait(b.t.s, NULL);
        ck_assert(coming || round > 0);
        remove_some(&b);
        check_gone(&b, prng_below(&b.rng, b.last));
        rig_step(&b.r);
        rig_req_init(&erased);
        for (gone = b.last / 2; b.names[gone][0] == '\0';)
            gone++;
        ck_assert_int_eq(store_remove(b.t.s, gone, true, &erased.req), ERR_OK);
        b.names[gone][0] = '\0';
        append_some(&b);
        remove_some(&b);
        check_gone(&b, prng_below(&b.rng, b.last));
        /* One of a Kafka batch is only removed: nobody here can make the batch anew. */
        enum err answer = rig_req_wait(&b.r, &erased);
        ck_assert(answer == ERR_OK || answer == ERR_UNSUPPORTED);
        if (round == 2) {
            rig_req_init(&purged);
            store_purge(b.t.s, &(struct store_purge){.filter = STR("a.>"), .keep = 3}, &purged.req);
            ck_assert_int_eq(rig_req_wait(&b.r, &purged), ERR_OK);
            unsigned kept = 0;
            for (uint64_t seq = b.last; seq > 0; seq--)
                if (matches(&b, seq, "a.>") && ++kept > 3)
                    b.names[seq][0] = '\0';
        }
        if (round == 3)
            limit_per_subject(&b, 1 + (unsigned) i % 2);
        if (round % 2 == 1) {
            rig_settle(&b.r);
            ask(&b);
        }
        for (unsigned k = 0; k < 4; k++) /* the next time, whole segments again */
            append_some(&b);
        store_check(b.r.store);
    }
    rig_req_init(&purged);
    reopen(&b);
    store_purge(b.t.s, &(struct store_purge){0}, &purged.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &purged), ERR_OK);
    memset(b.names, 0, ((size_t) MOST + 1) * sizeof(*b.names));
    ask(&b);
    store_check(b.r.store);
    close_bench(&b);
}

/* ---- single subjects while the index is read ------------------------------------------------- */

static void ask_known(struct bench *b, const char *name)
{
    check_one(b, name);
    check_last(b, name, prng_below(&b->rng, b->last + 2));
    check_count(b, name, prng_below(&b->rng, b->last + 2));
    check_reader(b, name, prng_below(&b->rng, b->last + 2));
    rig_flush(&b->t);
}

/* Waits for these subjects alone. True: others are not known yet. */
static bool know_these(struct bench *b, char (*names)[NAME], unsigned n)
{
    struct str subjects[8];
    struct rig_req q;

    for (unsigned k = 0; k < n; k++)
        subjects[k] = str_of(names[k]);
    rig_req_init(&q);
    if (store_subjects_wait(b->t.s, subjects, n, &q.req))
        ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
    ck_assert(!store_subjects_wait(b->t.s, subjects, n, NULL));
    return store_index_wait(b->t.s, NULL);
}

static bool know(struct bench *b, char (*names)[NAME], unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        name_of((unsigned) prng_below(&b->rng, b->spread + 2), names[k]);
    return know_these(b, names, n);
}

/* Some subjects are asked for, again and again, while there are appends and removals; what they say
 * is exact long before the index is there. */
TEST(single_subjects_while_the_index_is_read)
{
    char names[8][NAME];
    unsigned early = 0;
    struct bench b;

    open_bench(&b, 30 + i % 5); /* every spread, without a limit per subject */
    while (b.last < 20000)
        append_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        open_again(&b);
        while (store_index_wait(b.t.s, NULL)) {
            early += know(&b, names, 8);
            for (unsigned k = 0; k < 8; k++)
                ask_known(&b, names[k]);
            remove_some(&b);
            for (unsigned k = 0; k < 8; k++)
                ask_known(&b, names[k]);
            if (round % 2 == 1 && b.last < MOST - 4000)
                append_some(&b);
            for (unsigned k = 0; k < 8; k++)
                ask_known(&b, names[k]);
            rig_step(&b.r);
        }
        store_check(b.r.store); /* reads all of it */
        ask(&b);
        for (unsigned k = 0; k < 2; k++)
            append_some(&b);
    }
    ck_assert_uint_gt(early, 0);
    close_bench(&b);
}

/* Nobody answers for a footer that is damaged (i: where): then all is read, and nothing is lost. */
TEST(a_damaged_footer_answers_for_no_subject)
{
    char names[8][NAME];
    struct bench b;

    open_bench(&b, 30 + 4);
    while (b.last < 8000)
        append_some(&b);
    rig_settle(&b.r);
    harm_footer(&b, i == 0 ? SECTION_SUBJECTS : SECTION_FENCES);
    open_again(&b);
    for (unsigned k = 0; k < 40; k++) {
        bool others_wait = know(&b, names, 8);
        ck_assert(!others_wait || i == 0); /* all fences are read, but not all blocks */
        for (unsigned j = 0; j < 8; j++)
            ask_known(&b, names[j]);
    }
    ask(&b);
    store_check(b.r.store);
    close_bench(&b);
}

/* ---- the last message of every subject ------------------------------------------------------- */

static int by_name_and_seq(const void *a, const void *b)
{
    const char *x = *(char *const *) a, *y = *(char *const *) b;
    int order = strcmp(x, y);

    return order != 0 ? order : x < y ? -1 : x > y;
}

static int by_seq(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

/* As it is now. */
static uint64_t *model_lasts(struct bench *b, const char *filter, size_t *n)
{
    char **all = mem_array(b->last + 1, sizeof(*all));
    uint64_t *seqs = mem_array(b->last + 1, sizeof(*seqs));
    size_t there = 0;

    for (uint64_t seq = 1; seq <= b->last; seq++)
        if (matches(b, seq, filter))
            all[there++] = b->names[seq];
    qsort(all, there, sizeof(*all), by_name_and_seq);
    *n = 0;
    for (size_t k = 0; k < there; k++)
        if (k + 1 == there || strcmp(all[k], all[k + 1]) != 0)
            seqs[(*n)++] = (uint64_t) (all[k] - b->names[0]) / NAME;
    qsort(seqs, *n, sizeof(*seqs), by_seq);
    mem_free(all);
    return seqs;
}

struct listing_of {
    struct store_lasts *list;
    struct rig_req q;
    uint64_t *want, count;
    size_t n;
};

static void begin_list(struct bench *b, struct listing_of *l, const char *filter, uint64_t upto)
{
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;

    l->want = model_lasts(b, filter, &l->n);
    rig_req_init(&l->q);
    l->list = store_lasts_begin(b->t.s, &f, filter != NULL, upto, &l->count, &l->q.req);
    if (l->count != UINT64_MAX)
        ck_assert_uint_eq(l->count, l->n);
    if (filter == NULL || strcmp(filter, ">") == 0)
        ck_assert(l->count != UINT64_MAX || upto < b->last);
}

static void end_list(struct bench *b, struct listing_of *l)
{
    size_t n;

    ck_assert_int_eq(rig_req_wait(&b->r, &l->q), ERR_OK);
    uint64_t *seqs = store_lasts_take(l->list, &n);
    ck_assert_uint_eq(n, l->n);
    for (size_t k = 0; k < n; k++)
        ck_assert_uint_eq(seqs[k], l->want[k]);
    ck_assert(!store_lasts_free(l->list));
    mem_free(seqs);
    mem_free(l->want);
}

/* Lists are begun, others given up, and everything changes while they are made: each is of the
 * moment at which it was begun. */
TEST(last_messages_of_a_moment)
{
    char text[NAME];
    struct listing_of l[3];
    struct bench b;

    open_bench(&b, i);
    for (unsigned round = 0; round < 10; round++) {
        append_some(&b);
        append_some(&b);
        for (unsigned k = 0; k < 3; k++)
            begin_list(&b, &l[k], k == 0 ? NULL : random_filter(&b, text), UINT64_MAX);
        remove_some(&b);
        append_some(&b);
        if (prng_below(&b.rng, 3) == 0)
            rig_step(&b.r);
        remove_some(&b);
        append_some(&b);
        if (prng_below(&b.rng, 4) == 0)
            purge_some(&b, random_filter(&b, text));
        if (prng_below(&b.rng, 4) == 0) {
            ck_assert(store_lasts_free(l[2].list) || l[2].q.done);
            mem_free(l[2].want);
            l[2].list = NULL;
        }
        for (unsigned k = 0; k < 3; k++)
            if (l[k].list != NULL)
                end_list(&b, &l[k]);
        store_check(b.r.store);
    }
    close_bench(&b);
}

/* Behind a start, what had been the last messages up to a sequence; what came later changes
 * nothing. */
TEST(last_messages_up_to_a_sequence)
{
    struct listing_of l;
    struct bench b;

    open_bench(&b, 30 + i % 5);
    while (b.last < 6000)
        append_some(&b);
    uint64_t upto = b.last;
    begin_list(&b, &l, i % 2 == 0 ? NULL : "b.>", upto);
    ck_assert(store_lasts_free(l.list));
    append_some(&b);
    open_again(&b);
    append_some(&b);
    struct str f = STR("b.>");
    rig_req_init(&l.q);
    l.list = store_lasts_begin(b.t.s, &f, i % 2, upto, &l.count, &l.q.req);
    append_some(&b);
    end_list(&b, &l);
    store_check(b.r.store);
    close_bench(&b);
}

/* ---- key-value buckets ----------------------------------------------------------------------- */

static void check_state(struct bench *b, const struct store_state *before)
{
    struct store_state after;

    store_stream_state(b->t.s, &after);
    ck_assert_uint_eq(after.msgs, before->msgs);
    ck_assert_uint_eq(after.bytes, before->bytes);
    ck_assert_uint_eq(after.first_seq, before->first_seq);
    ck_assert_uint_eq(after.last_seq, before->last_seq);
    ck_assert_uint_le(after.num_subjects, before->num_subjects);
}

static void kill_and_open(struct bench *b)
{
    struct sim *killed = sim_fork(b->sim, SIM_CRASH_KEEP, 1);

    rig_stop(&b->r);
    sim_close(b->sim);
    b->sim = b->r.options.sim = killed;
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
}

/* A stream with a limit per subject, of which much was removed, is opened without its index; what
 * is gone stays gone, and all sums are those from before. i / 10: after a clean close; killed a
 * moment after a commit, when perhaps nothing says what the limit took; when it had been idle;
 * while it was written to, where the subjects of the last messages are looked at. */
TEST(a_bucket_starts_without_its_index)
{
    char names[8][NAME];
    struct store_state before;
    struct bench b;

    open_bench(&b, 35 + i % 10);
    while (b.last < 16000)
        append_some(&b);
    remove_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        store_check(b.r.store);
        rig_settle(&b.r);
        if (i >= 10)
            rig_sleep(&b.r, i < 20 ? 300000000 : 3000000000);
        for (unsigned n = 0; i >= 30 && n < 4; n++) { /* busy, and the claim finds nothing to do */
            append_some(&b);
            rig_sleep(&b.r, n == 3 ? 1000000 : 800000000);
        }
        rig_settle(&b.r);
        store_stream_state(b.t.s, &before);
        (i < 10 ? open_again : kill_and_open)(&b);
        if (i < 10 || i >= 20)
            ck_assert_ptr_nonnull(b.t.s->loader);
        check_state(&b, &before);
        check_gone(&b, prng_below(&b.rng, b.last));
        if (store_index_wait(b.t.s, NULL)) {
            know(&b, names, 8);
            for (unsigned k = 0; k < 8; k++)
                ask_known(&b, names[k]);
            remove_some(&b);
            for (unsigned k = 0; k < 8; k++)
                ask_known(&b, names[k]);
            /* What they push out goes at once, whether the subject was known or is asked for now.
             */
            for (unsigned k = 0; k < 24; k++) {
                if (k >= 8)
                    name_of((unsigned) prng_below(&b.rng, b.spread), names[k % 8]);
                append_one(&b, names[k % 8]);
                rig_flush(&b.t);
                know_these(&b, names, 8);
                ask_known(&b, names[k % 8]);
            }
        }
        if (round % 2 == 0) {
            while (b.t.s->loader != NULL)
                rig_step(&b.r);
        } else {
            append_some(&b); /* over the limit, until the index is there */
        }
        store_check(b.r.store);
        rig_settle(&b.r);
        ask(&b);
    }
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_bucket_starts_without_its_index, 0, 40),
    RUN_LOOP(last_messages_of_a_moment, 0, 30),
    RUN_LOOP(last_messages_up_to_a_sequence, 0, 6),
    RUN_LOOP(single_subjects_while_the_index_is_read, 0, 10),
    RUN_LOOP(a_damaged_footer_answers_for_no_subject, 0, 2),
    RUN_LOOP(a_start_leaves_the_index_for_later, 0, 6),
    RUN_LOOP(removals_while_the_index_is_read, 0, 10),
    RUN_LOOP(index_against_an_array, 0, 45),
    RUN(an_age_limit_does_not_hold_up_a_start),
    RUN_LOOP(damaged_footer_costs_nothing, 0, 4),
    RUN(filters_learn_of_new_subjects),
    RUN(a_sieve_learns_of_new_subjects),
    RUN(purge_below_what_is_left),
};

RUNNER_MAIN("store/store_index", cases)
