/*
 * index_model.c - see index_model.h.
 */
#include "tests/unit/store/index_model.h"

#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/footer.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

void bench_name(unsigned k, char out[NAME])
{
    snprintf(out, NAME, "%c.%u.%s", "abc"[k % 3], k / 3, k % 7 == 0 ? "rare" : "often");
}

void bench_open(struct bench *b, int i)
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

void bench_close(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
    mem_free(b->names);
}

/* ---- the model ------------------------------------------------------------------------------- */

bool bench_matches(const struct bench *b, uint64_t seq, const char *filter)
{
    return b->names[seq][0] != '\0' &&
           (filter == NULL || subject_matches(str_of(b->names[seq]), str_of(filter)));
}

void bench_trim(struct bench *b, const char *name)
{
    unsigned kept = 0;

    for (uint64_t seq = b->last; seq > 0 && b->per_subject != 0; seq--)
        if (strcmp(b->names[seq], name) == 0 && ++kept > b->per_subject)
            b->names[seq][0] = '\0';
}

void bench_append_one(struct bench *b, const char *name)
{
    if (b->last == MOST)
        return;
    ck_assert_int_eq(rig_append_to(&b->t, name, 20), ERR_OK);
    snprintf(b->names[++b->last], NAME, "%s", name);
    bench_trim(b, name);
}

void bench_append_some(struct bench *b)
{
    unsigned n = 1 + (unsigned) prng_below(&b->rng, 800);
    char name[NAME];

    for (; n > 0 && b->last < MOST; n--) {
        bench_name((unsigned) prng_below(&b->rng, b->spread), name);
        unsigned messages = 1;
        if (b->kafka && prng_below(&b->rng, 60) == 0 && b->last + 200 < MOST) {
            messages = 1 + (unsigned) prng_below(&b->rng, 100);
            ck_assert_int_eq(rig_append_kafka(&b->t, name, messages, 40 + messages * 20), ERR_OK);
        } else {
            ck_assert_int_eq(rig_append_to(&b->t, name, 10 + prng_below(&b->rng, 60)), ERR_OK);
        }
        while (messages-- > 0) {
            memcpy(b->names[++b->last], name, NAME);
            bench_trim(b, name);
        }
    }
    rig_flush(&b->t);
}

void bench_remove_some(struct bench *b)
{
    for (unsigned n = 0; n < 60 && b->last > 0; n++) {
        uint64_t seq = 1 + prng_below(&b->rng, b->last);
        enum err err = store_remove(b->t.s, seq, false, NULL);
        ck_assert_int_eq(err, b->names[seq][0] != '\0' ? ERR_OK : ERR_NOT_FOUND);
        b->names[seq][0] = '\0';
    }
}

void bench_purge_some(struct bench *b, const char *filter)
{
    uint64_t below = prng_below(&b->rng, b->last + 2), gone = 0;
    struct store_purge p = {.filter = filter == NULL ? STR_NONE : str_of(filter),
                            .before_seq = below};
    struct rig_req q;

    rig_req_init(&q);
    store_purge(b->t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
    for (uint64_t seq = 1; seq <= b->last && (below == 0 || seq < below); seq++)
        if (bench_matches(b, seq, filter)) {
            b->names[seq][0] = '\0';
            gone++;
        }
    ck_assert_uint_eq(q.req.count, gone);
}

void bench_open_again(struct bench *b)
{
    rig_settle(&b->r);
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
}

void bench_slice(struct bench *b)
{
    if (prng_below(&b->rng, 2) == 0)
        b->r.store->tasks_ns = 0;
}

void bench_reopen(struct bench *b)
{
    if (b->t.s == NULL)
        return;
    bench_open_again(b);
    bench_slice(b);
    /* Where the index is read later, more or less of it is there when the questions begin. */
    for (uint64_t n = prng_below(&b->rng, 12); n > 0; n--)
        rig_step(&b->r);
}

/* ---- questions ------------------------------------------------------------------------------- */

const char *bench_filter(struct bench *b, char out[NAME])
{
    static const char *const wild[] = {"a.>",       "*.*.rare", "b.1.*", "*.3.>",
                                       "c.*.often", "x.*",      ">"};

    if (prng_below(&b->rng, 8) == 0)
        return NULL;
    if (prng_below(&b->rng, 3) == 0)
        return wild[prng_below(&b->rng, sizeof(wild) / sizeof(wild[0]))];
    bench_name((unsigned) prng_below(&b->rng, b->spread + 2), out);
    return out;
}

void bench_check_reader(struct bench *b, const char *filter, uint64_t from)
{
    struct str f = filter != NULL ? str_of(filter) : STR_NONE;
    struct store_reader r;
    struct store_msg m;
    bool ready;

    store_reader_init(&r, b->t.s, from, &f, filter != NULL, rig_on_ready, &ready);
    for (uint64_t seq = from == 0 ? 1 : from, n = 0; n < 50; seq++) {
        if (seq <= b->last && !bench_matches(b, seq, filter))
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
        want += bench_matches(b, seq, filter);
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
        if (bench_matches(b, seq, filter)) {
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
        want += bench_matches(b, seq, filter);
    store_subjects_each(b->t.s, filter != NULL ? str_of(filter) : STR_NONE, list_one, &l);
    ck_assert_uint_eq(l.msgs, want);
    store_stream_state(b->t.s, &s);
    if (filter == NULL || strcmp(filter, ">") == 0)
        ck_assert_uint_eq(l.subjects, s.num_subjects);
}

void bench_ask(struct bench *b)
{
    char text[NAME];

    for (unsigned n = 0; n < 12; n++) {
        const char *filter = bench_filter(b, text);
        bench_check_reader(b, filter, prng_below(&b->rng, b->last + 2));
        check_count(b, filter, prng_below(&b->rng, 4) == 0 ? 0 : prng_below(&b->rng, b->last + 2));
        check_last(b, filter, prng_below(&b->rng, b->last + 2));
        check_listing(b, filter);
    }
    bench_name((unsigned) prng_below(&b->rng, b->spread), text);
    check_one(b, text);
}

/* Changes a byte in this section of the footer of a segment; false: it has none. */
static bool harm_footer_of(struct bench *b, const struct segment *seg, unsigned section)
{
    struct io_fs *fs = sim_fs(b->sim);
    uint8_t trailer[SEGMENT_TRAILER], entry[FOOTER_TABLE_ENTRY], byte;
    struct segment_trailer t;

    fs_fd fd = fs_open(fs, seg->path, IO_FILE_WRITE);
    ck_assert_int_ge(fd, 0);
    uint64_t size = (uint64_t) fs_size(fs, fd);
    ck_assert_int_eq(fs_read(fs, fd, trailer, sizeof(trailer), size - sizeof(trailer)),
                     sizeof(trailer));
    ck_assert_int_eq(segment_trailer_decode(trailer, size, seg->salt, &t), ERR_OK);
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
void bench_harm_footer(struct bench *b, unsigned section)
{
    const struct store_stream *st = b->t.s;

    for (uint32_t k = 0; k < st->nindex; k++)
        if (st->index[k]->state == SEGMENT_SEALED && harm_footer_of(b, st->index[k], section))
            return;
    ck_abort_msg("no footer has it");
}

/* Is it gone for everybody who asks for it now? */
void bench_check_gone(struct bench *b, uint64_t from)
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

void bench_ask_known(struct bench *b, const char *name)
{
    check_one(b, name);
    check_last(b, name, prng_below(&b->rng, b->last + 2));
    check_count(b, name, prng_below(&b->rng, b->last + 2));
    bench_check_reader(b, name, prng_below(&b->rng, b->last + 2));
    rig_flush(&b->t);
}

/* Waits for these subjects alone. True: others are not known yet. */
bool bench_know_these(struct bench *b, char (*names)[NAME], unsigned n)
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

bool bench_know(struct bench *b, char (*names)[NAME], unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        bench_name((unsigned) prng_below(&b->rng, b->spread + 2), names[k]);
    return bench_know_these(b, names, n);
}
