/*
 * test_matrix.c - the corruption matrix: every file of a store directory, damaged in every way.
 *
 * A store on a simulated machine gets streams with sealed and active segments, removals, an object,
 * spare log files. It is closed (or killed). Then, one at a time, each file is damaged: bits
 * flipped in the fields of its pages and batches, a page zeroed, cut short, deleted, doubled under
 * the next number, replaced by an older copy, swapped with a neighbour. A store opens what is left,
 * and everything is read. The rules:
 *
 *   - it starts;
 *   - at most what was touched is lost: one message for a bit, what lies on it for a page, the
 *     file's own messages when the file is cut, gone, or another one;
 *   - what is lost is counted in the stream's state and logged as a warning that names file and
 *     offset; nothing removed comes back, no message has other bytes;
 *   - the damaged bytes of a segment are still there, in their place or in quarantine, unless a
 *     message of it is being erased;
 *   - a message whose erasure was cut off by a kill does not come back, and where nothing was lost
 *     the start has finished it: its bytes are in no segment;
 *   - a second start finds the same and loses nothing more.
 */
#include "lib/base/bytes.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STREAMS 2
#define MESSAGES 330u
#define SIZE 700u
#define FILES_MAX 64
#define BATCH 10u
#define PAGE 4096u
#define ERASED 47u /* of the first stream, in a sealed segment */

enum harm { HARM_BIT, HARM_PAGE, HARM_CUT, HARM_DELETE, HARM_DOUBLE, HARM_STALE, HARM_SWAP, HARMS };

static const char *const harm_names[] = {"bit",    "page",  "cut", "deleted",
                                         "double", "stale", "swap"};

struct file {
    char path[160];
    uint64_t size;
    bool last; /* the last segment of its stream */
};

/* What the segments are like. */
enum flavour { PLAIN, COMPRESSED, ENCRYPTED, KAFKA, FLAVOURS };

/* How it ended: killed, closed, closed and what was open sealed by that. */
enum end { KILLED, CLOSED, SEALED, ENDS };

/* Where an erasure that writes the segment anew was cut off: while it wrote, or when the new file
 * had its name and the old one was there, too. */
enum cut { NOT_CUT, CUT_WRITING, CUT_NAMED, CUTS };

struct base {
    enum flavour flavour;
    struct sim *sim;   /* the machine with the whole store */
    struct sim *older; /* the same, some time before */
    struct rig rig;
    struct rig_stream t[STREAMS];
    bool live[STREAMS][MESSAGES + 1];
    struct file files[FILES_MAX];
    unsigned nfiles;
    bool closed;
    enum cut cut;
    struct buf erased; /* bytes of the message that is being erased; empty: it can not be looked for
                        */
};

struct damage {
    enum harm harm;
    const struct file *file, *other;
    uint64_t at;
};

/* What a start said. */
struct lines {
    unsigned warnings;
    char text[4096];
};

static struct lines lines;
static unsigned cases_run, cases_bad;

static const char *stream_name(unsigned k)
{
    return k == 0 ? "log" : "small";
}

static void on_line(struct log *log, enum log_level level, const char *text)
{
    (void) log;
    if (getenv("RIG_VERBOSE") != NULL)
        fprintf(stderr, "%s\n", text);
    if (level > LOG_WARN)
        return;
    size_t n = strlen(lines.text);
    lines.warnings++;
    snprintf(lines.text + n, sizeof(lines.text) - n, "%s\n", text);
}

/* ---- the store that is damaged --------------------------------------------------------------- */

static void render_box(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "box");
}

static void remove_one(struct base *b, unsigned k, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b->t[k].s, seq, false, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b->rig, &q), ERR_OK);
    b->live[k][seq] = false;
}

/* Of a message; the same few bytes over and over, so that it can be compressed. Of one in a Kafka
 * batch, what the rig's decoder says. */
static size_t payload(const struct base *b, uint64_t seq, char out[SIZE])
{
    rig_payload(seq, out, 20);
    if (b->flavour == KAFKA)
        return 20;
    for (size_t i = 20; i < SIZE; i++)
        out[i] = out[i % 20];
    return SIZE;
}

/* The bytes that are a message's in a Kafka batch of the rig: an equal part of it for each. */
static struct str slice(struct str batch, uint32_t messages, uint32_t i)
{
    size_t n = (batch.n - 12) / messages;

    return str_from(batch.p + 12 + i * n, n);
}

static enum err trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    buf_put_str(out, batch);
    for (uint32_t i = 0; i < messages; i++)
        if ((keep[i / 64] >> (i % 64) & 1) == 0) {
            struct str gone = slice(batch, messages, i);
            memset(out->p + (gone.p - batch.p), 0, gone.n);
        }
    return ERR_OK;
}

/* Bytes that are nowhere else; the rig's decoder wants the first sequence and 7 in front. */
static void kafka_batch(unsigned k, uint64_t first, uint8_t out[BATCH * SIZE])
{
    struct prng rng;

    prng_init(&rng, first * STREAMS + k);
    for (size_t i = 0; i < BATCH * SIZE; i++)
        out[i] = (uint8_t) prng_u64(&rng);
    put_u64(out, first);
    put_u32(out + 8, 7);
}

static void append_kafka(struct rig_stream *t, unsigned k)
{
    uint8_t bytes[BATCH * SIZE], *stored;
    struct store_kafka_append a = {.subject = STR("s.1"), .messages = BATCH};
    uint64_t first;

    kafka_batch(k, t->committed + 1, bytes);
    a.batch = str_from((const char *) bytes, sizeof(bytes));
    a.ts = io_wall(t->rig->io);
    ck_assert_int_eq(store_append_kafka(t->s, &a, &first, &stored), ERR_OK);
    ck_assert_uint_eq(first, t->committed + 1);
}

static void append_batch(struct base *b, struct rig_stream *t)
{
    char text[SIZE], subject[16];
    uint64_t seq;

    if (b->flavour == KAFKA) {
        append_kafka(t, (unsigned) (t - b->t));
        return;
    }
    for (uint64_t next = t->committed + 1; next <= t->committed + BATCH; next++) {
        snprintf(subject, sizeof(subject), "s.%u", (unsigned) (next % 3));
        struct store_append m = {.subject = str_of(subject), .ts = io_wall(b->rig.io)};
        m.payload = str_from(text, payload(b, next, text));
        ck_assert_int_eq(store_append(t->s, &m, &seq), ERR_OK);
        ck_assert_uint_eq(seq, next);
    }
}

static void fill(struct base *b, unsigned k, unsigned n)
{
    for (unsigned i = 0; i < n; i += BATCH) {
        for (unsigned j = 1; j <= BATCH; j++)
            b->live[k][b->t[k].committed + j] = true;
        append_batch(b, &b->t[k]);
        rig_flush(&b->t[k]);
    }
}

static void note_file(void *ctx, const char *path, struct sim_inode *ino)
{
    struct base *b = ctx;

    ck_assert_uint_lt(b->nfiles, FILES_MAX);
    struct file *f = &b->files[b->nfiles++];
    snprintf(f->path, sizeof(f->path), "/%s", path + (path[0] == '/'));
    f->size = sim_disk_size(ino);
}

static bool is_segment(const struct file *f)
{
    return strstr(f->path, ".seg") != NULL;
}

static struct buf read_file(struct sim *sim, const char *path)
{
    struct buf out = {0};
    struct sim_inode *ino;

    if (sim_disk_lookup(sim_disk(sim), path, &ino) < 0)
        return out;
    size_t n = (size_t) sim_disk_size(ino);
    buf_reserve(&out, n + 1);
    out.n = sim_disk_read(ino, out.p, n, 0);
    sim_disk_release(sim_disk(sim), ino);
    return out;
}

/* Has it a batch? The next segment is prepared before it is needed. */
static bool is_used(const struct base *b, const struct file *f)
{
    struct buf bytes = read_file(b->sim, f->path);
    bool used = bytes.n >= PAGE + 4 && memcmp(bytes.p + PAGE, "MBAT", 4) == 0;

    buf_free(&bytes);
    return used;
}

/* Files are in order of path: the last used one of its directory. */
static void note_last(struct base *b)
{
    for (unsigned i = 0; i < b->nfiles; i++) {
        const char *path = b->files[i].path;
        size_t dir = (size_t) (strrchr(path, '/') - path);
        b->files[i].last = is_segment(&b->files[i]) &&
                           (i + 1 == b->nfiles || strncmp(path, b->files[i + 1].path, dir) != 0 ||
                            !is_used(b, &b->files[i + 1]));
    }
}

struct cutting {
    struct base *b;
    struct sim *killed; /* NULL: not yet */
    unsigned unfinished, rewritten;
};

static void look_at_name(void *ctx, const char *path, struct sim_inode *ino)
{
    struct cutting *c = ctx;

    c->unfinished += strstr(path, "-1.new") != NULL && sim_disk_size(ino) > PAGE;
    c->rewritten += strstr(path, "-1.seg") != NULL;
}

/* In the midst of things: is this the moment? */
static void kill_here(void *ctx, struct sim *sim, uint64_t point)
{
    struct cutting *c = ctx;

    (void) point;
    c->unfinished = c->rewritten = 0;
    sim_disk_walk(sim_disk(sim), look_at_name, c);
    if (c->killed == NULL && (c->b->cut == CUT_WRITING ? c->unfinished : c->rewritten) > 0)
        c->killed = sim_fork(sim, SIM_CRASH_KEEP, 1);
}

/* What the message is in its segment, to be looked for. */
static void note_erased(struct base *b)
{
    uint64_t first = (ERASED - 1) / BATCH * BATCH + 1;
    uint8_t batch[BATCH * SIZE];

    if (b->flavour != KAFKA)
        return;
    kafka_batch(0, first, batch);
    buf_put_str(&b->erased, slice(str_from((const char *) batch, sizeof(batch)), BATCH,
                                  (uint32_t) (ERASED - first)));
}

/* Erases a message; a copy of the machine as a kill in the midst of that leaves it. */
static struct sim *cut_off(struct base *b)
{
    struct cutting c = {.b = b};
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b->t[0].s, ERASED, true, &q.req), ERR_OK);
    b->live[0][ERASED] = false;
    note_erased(b);
    sim_on_moments(b->sim, SIM_ANY_MOMENT, kill_here, &c);
    ck_assert_int_eq(rig_req_wait(&b->rig, &q), ERR_OK);
    sim_on_moments(b->sim, 0, NULL, NULL);
    ck_assert_ptr_nonnull(c.killed);
    return c.killed;
}

static void build(struct base *b, enum end end, enum flavour flavour, enum cut cut)
{
    struct rig_options o = {
        .log_file_bytes = 64 << 10,
        .segment_min = 64 << 10,
        .pool_bytes = 256 << 10,
        .seal_bytes = end == SEALED ? 1 : 0,
        .key = flavour == ENCRYPTED ? "a secret key" : NULL,
        .kafka_decode = flavour == KAFKA ? rig_kafka_decode : NULL,
        .kafka_trim = flavour == KAFKA ? trim : NULL,
    };

    memset(b, 0, sizeof(*b));
    b->closed = end != KILLED;
    b->flavour = flavour;
    b->cut = cut;
    o.segment_max = o.segment_min;
    b->sim = o.sim = sim_open(5, NULL);
    rig_init(&b->rig, &o);
    for (unsigned k = 0; k < STREAMS; k++)
        rig_create(&b->rig, &b->t[k], stream_name(k), STORE_DURABLE, NULL);
    for (unsigned k = 0; k < STREAMS; k++)
        store_stream_compress(b->t[k].s, flavour == COMPRESSED);
    store_object_create(b->rig.store, STORE_KIND_USER, 0, STR("box"), render_box, NULL, NULL);
    fill(b, 1, 30);
    fill(b, 0, 100);
    remove_one(b, 0, 17);
    remove_one(b, 1, 4);
    b->older = sim_fork(b->sim, SIM_CRASH_KEEP, 1);
    fill(b, 0, 190);
    fill(b, 1, 20);
    remove_one(b, 0, 120);
    rig_settle(&b->rig);
    rig_sleep(&b->rig, 4000000000u); /* idle: the log knows where the streams end */
    rig_settle(&b->rig);
    if (b->closed) {
        rig_stop(&b->rig);
    } else {
        struct sim *killed = cut != NOT_CUT ? cut_off(b) : sim_fork(b->sim, SIM_CRASH_KEEP, 1);
        rig_stop(&b->rig);
        sim_close(b->sim);
        b->sim = killed;
    }
    sim_disk_walk(sim_disk(b->sim), note_file, b);
    note_last(b);
}

static void unbuild(struct base *b)
{
    buf_free(&b->erased);
    sim_close(b->older);
    sim_close(b->sim);
}

/* ---- damage ---------------------------------------------------------------------------------- */

static void write_file(struct sim *sim, const char *path, const struct buf *bytes)
{
    struct sim_inode *ino;
    struct sim_disk *d = sim_disk(sim);

    if (sim_disk_lookup(d, path, &ino) < 0)
        ck_assert_int_eq(sim_disk_create(d, path, &ino), 0);
    ck_assert_int_eq(sim_disk_truncate(d, ino, 0), 0);
    ck_assert_int_eq(sim_disk_write(d, ino, bytes->p, bytes->n, 0), 0);
    sim_disk_release(d, ino);
}

/* "…/0000000003.seg" becomes "…/0000000004.seg": the last number in the name counts up. */
static void next_name(const char *path, char out[176])
{
    int digit = (int) strlen(path) - 5;

    snprintf(out, 176, "%s", path);
    while (digit > 0 && out[digit] == '9')
        out[digit--] = '0';
    if (digit > 0 && out[digit] >= '0' && out[digit] <= '9')
        out[digit]++;
    else
        snprintf(out, 176, "%s.copy", path);
}

static void harm(const struct base *b, struct sim *sim, const struct damage *d)
{
    char name[176];
    struct buf bytes = read_file(sim, d->file->path);
    struct buf other = {0};

    switch (d->harm) {
    case HARM_BIT:
        bytes.p[d->at] ^= (char) (1u << (d->at % 8));
        break;
    case HARM_PAGE:
        memset(bytes.p + d->at, 0, bytes.n - d->at < PAGE ? bytes.n - d->at : PAGE);
        break;
    case HARM_CUT:
        bytes.n = d->at;
        break;
    case HARM_DELETE:
        sim_disk_unlink(sim_disk(sim), d->file->path);
        buf_free(&bytes);
        return;
    case HARM_DOUBLE:
        next_name(d->file->path, name);
        other = read_file(sim, name);
        if (other.n == 0)
            write_file(sim, name, &bytes);
        break;
    case HARM_STALE:
        buf_free(&bytes);
        bytes = read_file(b->older, d->file->path);
        break;
    default:
        other = read_file(sim, d->other->path);
        write_file(sim, d->other->path, &bytes);
        buf_free(&bytes);
        bytes = other;
        other = (struct buf){0};
        break;
    }
    write_file(sim, d->file->path, &bytes);
    buf_free(&bytes);
    buf_free(&other);
}

/* ---- judgement ------------------------------------------------------------------------------- */

enum deviation {
    NO_START,
    STREAM_GONE,
    OTHER_BYTES,
    LOST_MORE,
    NOT_COUNTED,
    NOT_LOGGED,
    SECOND_DIFFERS,
    BYTES_GONE,
    NOT_ERASED
};

static const char *const deviations[] = {"does not start",
                                         "a stream is gone",
                                         "other bytes, or a removed message is back",
                                         "lost more than was touched",
                                         "lost, not counted",
                                         "lost, not in the log",
                                         "the second start differs",
                                         "the damaged bytes are not kept",
                                         "the erased bytes are there"};

static void bad(const struct damage *d, enum deviation what, uint64_t a, uint64_t b)
{
    cases_bad++;
    printf("%s %s at %llu%s%s: %s (%llu, %llu)\n%s", harm_names[d->harm], d->file->path,
           (unsigned long long) d->at, d->other != NULL ? " and " : "",
           d->other != NULL ? d->other->path : "", deviations[what], (unsigned long long) a,
           (unsigned long long) b, lines.text);
}

/* How many messages may go. */
static unsigned allowed(const struct base *b, const struct damage *d)
{
    const unsigned whole = 100; /* in a segment of 64 KiB */
    /* What a bit costs: a batch where that is all that can be checked; 64 KiB in a segment that was
     * compressed. */
    const unsigned bit[] = {1, whole, BATCH, BATCH};

    if (!is_segment(d->file) && strstr(d->file->path, "/log/") == NULL)
        return 0;
    if (d->harm == HARM_BIT)
        return bit[b->flavour];
    if (d->harm == HARM_PAGE) /* a segment that was written anew has other batches */
        return b->flavour == COMPRESSED || b->cut != NOT_CUT ? whole : 2 * BATCH;
    if (d->harm == HARM_DOUBLE)
        return 0;
    return d->harm == HARM_SWAP ? 2 * whole : whole;
}

struct found {
    uint64_t lost, counted, last;
    bool wrong;
};

struct search {
    struct store *store;
    const char *name;
    bool found;
};

static void look(void *ctx, const struct store_object_view *v)
{
    struct search *x = ctx;
    struct str name, config;

    x->found |= v->kind == STORE_KIND_STREAM &&
                store_stream_peek(x->store, v->id, &name, &config) == ERR_OK &&
                str_eq(name, str_of(x->name));
}

static bool is_there(struct rig *r, const char *name)
{
    struct search x = {.store = r->store, .name = name};

    store_recovered_each(r->store, look, &x);
    return x.found;
}

/* The log's last second is in the log alone: damage to it may bring back what was removed then. */
static bool may_be_back(const struct base *b, const struct damage *d, unsigned k, uint64_t seq)
{
    return b->cut != NOT_CUT && k == 0 && seq == ERASED && strstr(d->file->path, "/log/") != NULL;
}

static void find_stream(struct base *b, struct rig *r, unsigned k, const struct damage *d,
                        struct found *f)
{
    struct store_state state;
    struct rig_stream t;
    struct store_reader reader;
    struct store_msg m;
    char want[SIZE];

    rig_attach(r, &t, stream_name(k));
    for (uint64_t seq = 1; seq <= b->t[k].committed; seq++) {
        bool there = rig_get(&t, seq, &m, &reader) == STORE_READ_MSG;
        size_t n = payload(b, seq, want);
        bool may = b->live[k][seq] || may_be_back(b, d, k, seq);
        f->wrong |= there && (!may || m.payload.n != n || memcmp(m.payload.p, want, n) != 0);
        f->lost += b->live[k][seq] && !there;
        store_reader_deinit(&reader);
    }
    store_stream_state(t.s, &state);
    f->counted += state.lost_msgs;
    f->last = state.last_seq;
}

/* Opens and reads everything; false when it does not start. */
static bool start(struct base *b, struct sim *sim, const struct damage *d, struct found *f)
{
    static struct rig after;
    char why[256] = "";

    memset(&lines, 0, sizeof(lines));
    *f = (struct found){0};
    after = (struct rig){.options = b->rig.options, .log = b->rig.log};
    after.options.sim = sim;
    after.log.line = on_line;
    memcpy(after.path, b->rig.path, sizeof(after.path));
    if (rig_try_start(&after, why) != ERR_OK) {
        snprintf(lines.text, sizeof(lines.text), "%s\n", why);
        bad(d, NO_START, 0, 0);
        return false;
    }
    for (unsigned k = 0; k < STREAMS; k++) {
        if (is_there(&after, stream_name(k)))
            find_stream(b, &after, k, d, f);
        else
            bad(d, STREAM_GONE, k, 0);
    }
    store_recovered_done(after.store);
    rig_settle(&after);
    rig_stop(&after);
    return true;
}

struct looking {
    struct sim *sim;
    struct str bytes;
    bool found;
};

static void look_into(void *ctx, const char *path, struct sim_inode *ino)
{
    struct looking *l = ctx;
    size_t n = (size_t) sim_disk_size(ino);
    char *all = malloc(n + 1);

    (void) path;
    n = sim_disk_read(ino, all, n, 0);
    l->found |= memmem(all, n, l->bytes.p, l->bytes.n) != NULL;
    free(all);
}

/* The bit that was flipped in a segment, with what is around it, or the beginning of a page with
 * what is before it: still somewhere? */
static void check_kept(struct sim *sim, const struct damage *d, const struct buf *harmed)
{
    uint64_t from = d->at < 24 ? 0 : d->at - 24;
    uint64_t end = d->at + 24 < harmed->n ? d->at + 24 : harmed->n;
    struct looking l = {sim, str_from(harmed->p + from, end - from), false};

    sim_disk_walk(sim_disk(sim), look_into, &l);
    if (!l.found)
        bad(d, BYTES_GONE, d->at, 0);
}

static void look_into_segment(void *ctx, const char *path, struct sim_inode *ino)
{
    if (strstr(path, "/streams/") != NULL)
        look_into(ctx, path, ino);
}

/* In what is left of the stream's files. */
static void check_erased(const struct base *b, struct sim *sim, const struct damage *d)
{
    struct looking l = {sim, buf_str(&b->erased), false};

    sim_disk_walk(sim_disk(sim), look_into_segment, &l);
    if (l.found)
        bad(d, NOT_ERASED, 0, 0);
}

/* Is a message of this segment being erased? Then a file with its name and the next generation is
 * there. */
static bool is_being_erased(const struct base *b, const struct file *f)
{
    size_t n = strlen(f->path) - strlen(".seg");

    for (unsigned i = 0; i < b->nfiles && b->cut != NOT_CUT; i++)
        if (strncmp(b->files[i].path, f->path, n) == 0 && b->files[i].path[n] == '-')
            return true;
    return false;
}

static void try_damage(struct base *b, const struct damage *d)
{
    struct sim *sim = sim_fork(b->sim, SIM_CRASH_KEEP, 1);
    struct found first, second;
    struct buf harmed = {0};

    cases_run++;
    harm(b, sim, d);
    if ((d->harm == HARM_BIT || d->harm == HARM_PAGE) && is_segment(d->file))
        harmed = read_file(sim, d->file->path);
    if (start(b, sim, d, &first)) {
        if (first.lost > 0 && harmed.n > 0 && !is_being_erased(b, d->file))
            check_kept(sim, d, &harmed);
        if (first.lost == 0 && b->erased.n > 0 && !may_be_back(b, d, 0, ERASED))
            check_erased(b, sim, d);
        if (first.wrong)
            bad(d, OTHER_BYTES, first.lost, first.counted);
        if (first.lost > allowed(b, d))
            bad(d, LOST_MORE, first.lost, allowed(b, d));
        if (first.lost > first.counted)
            bad(d, NOT_COUNTED, first.lost, first.counted);
        if (first.lost > 0 && strstr(lines.text, "offset") == NULL &&
            strstr(lines.text, "sequences") == NULL)
            bad(d, NOT_LOGGED, first.lost, lines.warnings);
        if (start(b, sim, d, &second) &&
            (second.lost != first.lost || second.counted != first.counted || second.wrong))
            bad(d, SECOND_DIFFERS, second.lost, second.counted);
    }
    buf_free(&harmed);
    sim_close(sim);
}

/* ---- the matrix ------------------------------------------------------------------------------ */

/* Offsets that matter: all fields of the header page and of what stands behind it, the trailer,
 * a drawn byte on every page that is not zero. */
static void try_bits(struct base *b, const struct file *f)
{
    struct damage d = {.harm = HARM_BIT, .file = f};
    struct buf bytes = read_file(b->sim, f->path);
    struct prng rng;

    prng_init(&rng, f->size);
    for (d.at = 0; d.at < bytes.n; d.at += 4) {
        uint64_t in = d.at % PAGE;
        bool field = d.at < 136 || (d.at >= PAGE && d.at < PAGE + 200) ||
                     (d.at < PAGE && in > PAGE - 8) || d.at + 72 > bytes.n;
        bool drawn = prng_below(&rng, 256) == 0 && bytes.p[d.at] != 0;
        if (field || drawn)
            try_damage(b, &d);
    }
    buf_free(&bytes);
}

static void try_pages(struct base *b, const struct file *f)
{
    struct damage d = {.harm = HARM_PAGE, .file = f};
    struct buf bytes = read_file(b->sim, f->path);

    for (d.at = 0; d.at < bytes.n; d.at += PAGE) {
        bool any = false;
        for (uint64_t i = d.at; i < bytes.n && i < d.at + PAGE; i++)
            any |= bytes.p[i] != 0;
        if (any)
            try_damage(b, &d);
    }
    d.harm = HARM_CUT;
    for (d.at = 0; d.at < bytes.n; d.at += d.at < PAGE ? PAGE / 2 : 3 * PAGE)
        try_damage(b, &d);
    for (uint64_t tail = 1; tail <= 64 && tail < bytes.n; tail *= 4) {
        d.at = bytes.n - tail;
        try_damage(b, &d);
    }
    buf_free(&bytes);
}

static bool same_kind(const struct file *x, const struct file *y)
{
    return x != y && strcmp(strrchr(x->path, '.') != NULL ? strrchr(x->path, '.') : "",
                            strrchr(y->path, '.') != NULL ? strrchr(y->path, '.') : "") == 0;
}

static void try_wholes(struct base *b, const struct file *f)
{
    struct damage d = {.file = f};

    for (d.harm = HARM_DELETE; d.harm <= HARM_STALE; d.harm++)
        try_damage(b, &d);
    d.harm = HARM_SWAP;
    for (unsigned i = 0; i < b->nfiles; i++) {
        d.other = &b->files[i];
        if (d.other > f && same_kind(f, d.other))
            try_damage(b, &d);
    }
}

/* Bases: each flavour with each end, and the erasures that were cut off. */
#define CUT_BASES ((CUTS - 1) * 2)
#define BASES (ENDS * FLAVOURS + CUT_BASES)

static void build_base(struct base *b, int i)
{
    int k = i - ENDS * FLAVOURS;

    if (k < 0)
        build(b, (enum end)(i % ENDS), (enum flavour)(i / ENDS), NOT_CUT);
    else
        build(b, KILLED, k % 2 == 0 ? ENCRYPTED : KAFKA, (enum cut)(CUT_WRITING + k / 2));
}

static void try_matrix(int i, void (*each)(struct base *b, const struct file *f))
{
    static struct base b;

    setvbuf(stdout, NULL, _IOLBF, 0);
    cases_run = cases_bad = 0;
    build_base(&b, i);
    for (unsigned k = 0; k < b.nfiles; k++)
        each(&b, &b.files[k]);
    unbuild(&b);
    printf("%u damages, %u deviations\n", cases_run, cases_bad);
    ck_assert_uint_gt(cases_run, 50);
    ck_assert_uint_eq(cases_bad, 0);
}

TEST(bits)
{
    try_matrix(i, try_bits);
}

TEST(pages)
{
    try_matrix(i, try_pages);
}

TEST(files)
{
    try_matrix(i, try_wholes);
}

static const struct runner_case cases[] = {
    {.test = &bits_test, .end = BASES, .seconds = 120},
    {.test = &pages_test, .end = BASES, .seconds = 120},
    {.test = &files_test, .end = BASES, .seconds = 120},
};

RUNNER_MAIN("corruption/matrix", cases)
