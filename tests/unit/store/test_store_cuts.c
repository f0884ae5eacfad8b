/*
 * test_store_cuts.c - short stories with a power cut at each of their sync points.
 *
 * A story does something on a simulated machine. At every sync point, and for every kind of power
 * cut, a copy of the machine loses power, a store recovers from it without a warning, and the
 * story's check looks at what is there.
 */
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct story {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    void (*check)(struct story *s, struct rig *after);
    unsigned cuts;
};

static void cut(struct story *s, struct sim *fork)
{
    static struct rig after;
    char why[256];

    memset(&after, 0, sizeof(after));
    after.options = s->r.options;
    after.options.sim = fork;
    after.log = s->r.log;
    memcpy(after.path, s->r.path, sizeof(after.path));
    enum err err = rig_try_start(&after, why);
    ck_assert_msg(err == ERR_OK, "recovery: %s", why);
    /* A torn footer looks like a damaged one; it costs a scan. */
    if (after.warnings != 0 && strstr(after.last_warning, "footer damaged") == NULL)
        ck_abort_msg("%s", after.last_warning);
    s->check(s, &after);
    store_recovered_done(after.store);
    rig_stop(&after);
}

static void at_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct story *s = ctx;

    if (s->check == NULL)
        return;
    for (unsigned mode = 0; mode < SIM_CRASH_MODES; mode++) {
        struct sim *fork = sim_fork(sim, (enum sim_crash) mode, point);
        cut(s, fork);
        sim_close(fork);
        s->cuts++;
    }
}

/* The n-th log file (1 = the start's own) can not be made, nor at the two attempts that follow. */
static void begin(struct story *s, const struct rig_options *options, uint64_t n)
{
    struct rig_options o = *options;

    memset(s, 0, sizeof(*s));
    s->sim = o.sim = sim_open(1, NULL);
    sim_fault_only(s->sim, "/log/");
    sim_fault_arm(s->sim, SIM_FAULT_ALLOCATE, n, 2);
    rig_init(&s->r, &o);
    sim_on_sync_point(s->sim, at_point, s);
}

static void end(struct story *s)
{
    ck_assert_uint_gt(s->cuts, 0);
    s->check = NULL;
    rig_stop(&s->r);
    sim_close(s->sim);
}

/* ---- objects --------------------------------------------------------------------------------- */

static void find_boxes(void *ctx, const struct store_object_view *v)
{
    if (v->kind != STORE_KIND_USER)
        return;
    ck_assert_uint_eq(v->ndeltas, 3);
    ck_assert(str_eq(v->full, STR("box")) && str_eq(v->deltas[2], STR("c")));
    ++*(unsigned *) ctx;
}

static void check_boxes(struct story *s, struct rig *after)
{
    unsigned boxes = 0;

    (void) s;
    store_recovered_each(after->store, find_boxes, &boxes);
    ck_assert_uint_eq(boxes, 5);
}

static void render_box(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "box");
}

/* Their full record is written again when its log file goes, and so are their changes, perhaps in a
 * later frame. */
TEST(objects_that_nobody_attached_keep_their_changes)
{
    struct rig_options options = {.log_file_bytes = 128 << 10, .segment_min = 256 << 10};
    static struct story s;
    struct rig_req q;

    begin(&s, &options, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 5; k++) {
        store_object_id id = store_object_create(s.r.store, STORE_KIND_USER, 0, STR("box"),
                                                 render_box, NULL, NULL);
        for (unsigned n = 0; n < 3; n++) {
            rig_req_init(&q);
            store_object_delta(s.r.store, id, str_from(&"abc"[n], 1), &q.req);
            ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
        }
    }
    rig_stop(&s.r);
    rig_start(&s.r);
    rig_attach(&s.r, &s.t, "log");
    store_recovered_done(s.r.store);
    s.check = check_boxes;
    for (unsigned n = 0; n < 60; n++) {
        rig_append(&s.t, 4, 600, 3);
        rig_flush(&s.t);
    }
    ck_assert_int_gt((int) s.cuts, 100);
    end(&s);
}

/* Six of them fill two log files. */
#define BIG_MAX 24000u
#define BIGS 6u
static size_t big;

static void render_big(void *ctx, store_object_id id, struct buf *out)
{
    char full[BIG_MAX];

    (void) ctx;
    memset(full, (int) ('a' + id % 16), big);
    buf_put(out, full, big);
}

static void note_big(void *ctx, const struct store_object_view *v)
{
    store_object_id **next = ctx;

    ck_assert_uint_eq(v->full.n, big);
    *(*next)++ = v->id;
}

static void check_bigs(struct story *s, struct rig *after)
{
    store_object_id ids[BIGS], *next = ids;

    (void) s;
    store_recovered_each(after->store, note_big, &next);
    ck_assert_uint_eq(next - ids, BIGS);
}

static void put_big(struct story *s, store_object_id id)
{
    struct buf full = {0};
    struct rig_req q;

    rig_req_init(&q);
    render_big(NULL, id, &full);
    if (id == 0)
        store_object_create(s->r.store, STORE_KIND_USER, 0, buf_str(&full), render_big, NULL,
                            &q.req);
    else
        store_object_put(s->r.store, id, buf_str(&full), &q.req);
    ck_assert_int_eq(rig_req_wait(&s->r, &q), ERR_OK);
    buf_free(&full);
}

/* What is written anew, so that an old file can go, may have no room in the current one. */
TEST(objects_larger_than_what_is_left_of_a_log_file)
{
    static struct story s;
    struct rig_options o = {.log_file_bytes = 64 << 10};
    store_object_id ids[BIGS], *next = ids;

    big = BIG_MAX - 1000 * (size_t) i;
    begin(&s, &o, 0);
    for (unsigned k = 0; k < BIGS; k++)
        put_big(&s, 0);
    rig_stop(&s.r);
    rig_start(&s.r);
    store_recovered_each(s.r.store, note_big, &next);
    ck_assert_uint_eq(next - ids, BIGS);
    for (unsigned k = 0; k < BIGS; k++)
        store_object_attach(s.r.store, ids[k], render_big, NULL);
    store_recovered_done(s.r.store);
    s.check = check_bigs;
    for (unsigned k = 0; k < 10 * BIGS; k++)
        put_big(&s, ids[k * k % BIGS]);
    end(&s);
}

/* ---- the log --------------------------------------------------------------------------------- */

static void check_committed(struct story *s, struct rig *after)
{
    struct store_state state;
    struct rig_stream t;

    rig_attach(after, &t, "log");
    store_stream_state(t.s, &state);
    ck_assert_uint_ge(state.last_seq, s->t.committed);
    ck_assert_uint_eq(state.msgs, state.last_seq);
}

/* The number of a log file that could not be made is used again: a start reads an unbroken series.
 */
TEST(log_goes_on_after_a_file_that_could_not_be_made)
{
    struct rig_options options = {.log_file_bytes = 64 << 10, .segment_min = 256 << 10};
    static struct story s;

    begin(&s, &options, 2);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    for (unsigned n = 0; n < 40; n++) {
        rig_append(&s.t, 4, 600, 3);
        if (n == 13)
            s.check = check_committed;
        rig_flush(&s.t);
    }
    ck_assert_uint_gt(sim_fault_count(s.sim, SIM_FAULT_ALLOCATE), 0);
    end(&s);
}

/* Power is lost at a moment of a start on a machine whose last start was killed. */
static void at_second_start(void *ctx, struct sim *sim, uint64_t point)
{
    struct story *s = ctx;

    for (unsigned mode = 0; mode < SIM_CRASH_MODES; mode++) {
        struct sim *fork = sim_fork(sim, (enum sim_crash) mode, point);
        cut(s, fork);
        sim_close(fork);
        s->cuts++;
    }
}

static void at_first_start(void *ctx, struct sim *sim, uint64_t point)
{
    static struct rig second;
    struct story *s = ctx;
    struct sim *fork = sim_fork(sim, SIM_CRASH_KILL, point);
    char why[256];

    second = (struct rig){.options = s->r.options, .log = s->r.log};
    second.options.sim = fork;
    memcpy(second.path, s->r.path, sizeof(second.path));
    sim_on_moments(fork, SIM_AFTER_SYNC | SIM_AFTER_NAME, at_second_start, s);
    ck_assert_int_eq(rig_try_start(&second, why), ERR_OK);
    sim_on_moments(fork, 0, NULL, NULL);
    store_recovered_done(second.store);
    rig_stop(&second);
    sim_close(fork);
}

/* The START record of a killed start is in the page cache alone: before the logs of the generation
 * before are taken for new files it has to be synced. */
TEST(a_start_after_a_start_that_was_killed)
{
    struct rig_options options = {.log_file_bytes = 64 << 10, .segment_min = 256 << 10};
    static struct story s;

    begin(&s, &options, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    rig_append(&s.t, 4, 600, 3);
    rig_flush(&s.t);
    rig_stop(&s.r);
    s.check = check_committed;
    sim_on_moments(s.sim, SIM_AFTER_WRITE | SIM_AFTER_NAME, at_first_start, &s);
    rig_start(&s.r);
    sim_on_moments(s.sim, 0, NULL, NULL);
    store_recovered_done(s.r.store);
    end(&s);
}

static void check_nothing(struct story *s, struct rig *after)
{
    (void) s;
    (void) after;
}

/* The same of the first start of all: store.meta may have its name in the page cache alone, and
 * there is no log yet that tells of the kill. */
TEST(a_start_after_a_first_start_that_was_killed)
{
    struct rig_options options = {.log_file_bytes = 64 << 10, .segment_min = 256 << 10};
    static struct story s;

    begin(&s, &options, 0);
    rig_stop(&s.r);
    snprintf(s.r.path, sizeof(s.r.path), "/fresh");
    s.check = check_nothing;
    sim_on_moments(s.sim, SIM_AFTER_WRITE | SIM_AFTER_NAME, at_first_start, &s);
    rig_start(&s.r);
    sim_on_moments(s.sim, 0, NULL, NULL);
    store_recovered_done(s.r.store);
    end(&s);
}

static void render_nothing(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "n");
}

/* Changes of a deleted stream's object are still in the log when its full record is not. */
TEST(objects_of_a_deleted_stream_are_not_missed)
{
    struct rig_options options = {.log_file_bytes = 64 << 10, .segment_min = 256 << 10};
    static struct story s;
    struct rig_stream other;
    struct rig_req q;

    begin(&s, &options, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    rig_create(&s.r, &other, "other", STORE_DURABLE, NULL);
    store_object_id id = store_object_create(s.r.store, STORE_KIND_USER, other.id, STR("n"),
                                             render_nothing, NULL, NULL);
    store_object_id below = store_object_create(s.r.store, STORE_KIND_USER, id, STR("n"),
                                                render_nothing, NULL, NULL);
    s.check = check_nothing;
    for (unsigned n = 0; n < 40; n++) {
        rig_req_init(&q);
        if (n < 10) {
            store_object_delta(s.r.store, id, STR("+"), &q.req);
            store_object_delta(s.r.store, below, STR("+"), NULL);
            ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
        } else if (n == 10) {
            store_stream_delete(other.s, &q.req);
            ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
        }
        rig_append(&s.t, 4, 600, 3);
        rig_flush(&s.t);
    }
    end(&s);
}

/* Big commits go past the log: they must wait for the stream's record, which does not. What comes
 * first is a matter of luck, so there are several tries. */
TEST(nothing_is_committed_in_a_stream_that_is_not_durable)
{
    for (unsigned k = 0; k < 400; k++) {
        struct store_stream_options o = {.name = STR("log")};
        struct rig_stream t = {0};
        struct rig_req q;
        struct rig r;
        struct rig_options options = {.sim = sim_open(k, NULL)};
        rig_init(&r, &options);
        t.rig = &r;
        rig_req_init(&q);
        ck_assert_int_eq(store_stream_create(r.store, &o, rig_ops(), &t, &t.s, &q.req), ERR_OK);
        rig_append(&t, 100, 1000, 3);
        while (t.committed == 0)
            rig_step(&r);
        ck_assert(q.done);
        rig_stop(&r);
        sim_close(options.sim);
    }
}

/* ---- removals -------------------------------------------------------------------------------- */

static uint64_t gone_below; /* acknowledged */

static void check_gone(struct story *s, struct rig *after)
{
    struct rig_stream t;

    (void) s;
    rig_attach(after, &t, "log");
    for (uint64_t seq = 1; seq < gone_below; seq++)
        ck_assert_msg(!rig_has(&t, seq), "message %llu is back", (unsigned long long) seq);
}

static void remove_and_wait(struct story *s, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(s->t.s, seq, false, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&s->r, &q), ERR_OK);
}

/* A removal makes room below the limit: what the limit took before must not fill it. i = 0: limit
 * per subject, 1: of the stream. */
TEST(what_a_limit_took_stays_gone)
{
    struct store_limits limits = {.max_msgs_per_subject = i == 0 ? 2 : 0,
                                  .max_msgs = i == 1 ? 2 : 0};
    static struct story s;

    gone_below = 0;
    begin(&s, &(struct rig_options){.segment_min = 256 << 10}, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, &limits);
    if (i == 0)
        rig_append_to(&s.t, "stays", 10);
    s.check = check_gone;
    for (unsigned n = 0; n < 5; n++)
        rig_append_to(&s.t, "s", 10);
    rig_flush(&s.t);
    uint64_t last = s.t.committed;
    remove_and_wait(&s, last);
    if (i == 1)
        gone_below = last - 1;
    for (uint64_t seq = 2; i == 0 && seq < last - 1; seq++)
        ck_assert(!rig_has(&s.t, seq));
    remove_and_wait(&s, last - 1);
    gone_below = i == 1 ? last + 1 : 0;
    rig_append_to(&s.t, "t", 10);
    rig_flush(&s.t);
    struct store_state state;
    store_stream_state(s.t.s, &state);
    ck_assert_uint_eq(state.msgs, i == 0 ? 2 : 1);
    rig_stop(&s.r);
    s.check = NULL;
    rig_start(&s.r);
    rig_attach(&s.r, &s.t, "log");
    store_recovered_done(s.r.store);
    store_stream_state(s.t.s, &state);
    ck_assert_uint_eq(state.msgs, i == 0 ? 2 : 1);
    end(&s);
}

/* The purge is durable at once, what it purged only a second later. */
TEST(purged_messages_of_an_async_stream_stay_gone)
{
    static struct story s;
    struct rig_req q;

    gone_below = 0;
    begin(&s, &(struct rig_options){.segment_min = 256 << 10}, 0);
    rig_create(&s.r, &s.t, "log", STORE_ASYNC, NULL);
    rig_append(&s.t, 20, 100, 3);
    rig_flush(&s.t);
    rig_req_init(&q);
    store_purge(s.t.s, &(struct store_purge){0}, &q.req);
    ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
    gone_below = 21;
    s.check = check_gone;
    rig_sleep(&s.r, 3000000000u);
    rig_settle(&s.r);
    rig_append(&s.t, 20, 100, 3);
    rig_flush(&s.t);
    end(&s);
}

/* A segment that nobody needs any more goes without having been synced; the next one's header,
 * which waits for that, must not wait for ever. */
TEST(async_segments_may_go_before_they_are_synced)
{
    struct store_limits limits = {.max_msgs = 3};
    static struct story s;

    begin(&s, &(struct rig_options){.segment_min = 64 << 10, .segment_max = 64 << 10}, 0);
    rig_create(&s.r, &s.t, "log", STORE_ASYNC, &limits);
    for (unsigned n = 0; n < 100; n++) {
        rig_append(&s.t, 4, 1500, 3);
        rig_flush(&s.t);
        if (n == 95)
            s.check = check_nothing;
    }
    rig_sleep(&s.r, 2000000000);
    end(&s);
}

/* What may yet be lost is told from what is not. */
TEST(a_state_says_what_is_synced)
{
    static const enum store_level levels[] = {STORE_DURABLE, STORE_ASYNC, STORE_MEMORY};
    struct sim *sim = sim_open(1, NULL);
    struct store_state st;
    struct rig_stream t;
    struct rig r;

    rig_init(&r, &(struct rig_options){.sim = sim, .segment_min = 1 << 20, .segment_max = 1 << 20});
    rig_create(&r, &t, "log", levels[i], NULL);
    for (uint64_t n = 5; n <= 10; n += 5) {
        rig_append(&t, 5, 1000, 3);
        rig_flush(&t);
        store_stream_state(t.s, &st);
        ck_assert_uint_eq(st.last_seq, n);
        ck_assert_uint_eq(st.synced_seq, levels[i] == STORE_ASYNC ? n - 5 : n);
        rig_sleep(&r, 3000000000u);
        store_stream_state(t.s, &st);
        ck_assert_uint_eq(st.synced_seq, n);
    }
    rig_deinit(&r);
    sim_close(sim);
}

/* Two writes that end in the wrong order, while a sync waits for both: it covers both, or the next
 * segment's header waits for ever. */
TEST(async_writes_may_end_in_any_order)
{
    struct sim_options options;
    struct rig_stream t;
    struct rig r;

    sim_options_init(&options);
    options.write = (struct sim_latency){900000000, 1500000000};
    struct sim *sim = sim_open(1 + (uint64_t) i, &options);
    rig_init(&r, &(struct rig_options){.sim = sim, .segment_min = 1 << 20, .segment_max = 1 << 20});
    rig_create(&r, &t, "log", STORE_ASYNC, NULL);
    rig_append(&t, 5, 60000, 3); /* more than the first, small segment takes */
    rig_flush(&t);
    rig_sleep(&r, 30000000000);
    for (unsigned n = 0; n < 2; n++) {
        rig_append(&t, 5, 60000, 3);
        rig_step(&r);
    }
    rig_append(&t, 1, 500000, 3); /* has no room in their segment */
    rig_sleep(&r, 60000000000);
    ck_assert_uint_eq(t.committed, 16);
    rig_deinit(&r);
    sim_close(sim);
}

/* ---- erasing --------------------------------------------------------------------------------- */

/* rig_payload repeats itself after 26 */
#define ERASE_MSGS 24u
static uint64_t erasing[] = {7, 8, 24, 20, 1};
static unsigned erase_asked, erase_done;
static char segment_path[300];

static void note_name(void *ctx, const char *name)
{
    char *path = ctx;
    size_t n = strlen(path);

    snprintf(path + n, 300 - n, "/%s", name);
}

/* Is the message's text in the stream's segment? */
static bool in_segment(struct rig *r, uint64_t seq)
{
    struct io_fs *fs = sim_fs(r->options.sim);
    static char bytes[512 << 10];
    char payload[1000];

    if (segment_path[0] == '\0') {
        snprintf(segment_path, sizeof(segment_path), "%s/streams", r->path);
        fs_list(fs, segment_path, note_name, segment_path);
        note_name(segment_path, "0000000001.seg");
    }
    fs_fd fd = fs_open(fs, segment_path, IO_FILE_READ);
    int64_t n = fs_read(fs, fd, bytes, sizeof(bytes), 0);
    fs_close(fs, fd);
    ck_assert_int_gt(n, 0);
    rig_payload(seq, payload, 800);
    return memmem(bytes, (size_t) n, payload, 800) != NULL;
}

static void check_erased(struct story *s, struct rig *after)
{
    struct rig_stream t;

    (void) s;
    rig_attach(after, &t, "log");
    rig_settle(after);
    for (uint64_t seq = 1; seq <= ERASE_MSGS; seq++) {
        bool asked = false, done = false;
        for (unsigned k = 0; k < erase_asked; k++) {
            asked |= erasing[k] == seq;
            done |= erasing[k] == seq && k < erase_done;
        }
        bool there = rig_has(&t, seq);
        ck_assert_msg(there ? !done : asked, "message %llu", (unsigned long long) seq);
        ck_assert_msg(in_segment(after, seq) == there, "bytes of %llu", (unsigned long long) seq);
    }
}

/* Batches are written over in place: what is torn then is mended from the log. i = 0: small ones,
 * through the log, 1: all in one. */
TEST(neighbours_of_an_erased_message_survive)
{
    static struct story s;
    struct rig_req q;

    segment_path[0] = '\0';
    erase_asked = erase_done = 0;
    begin(&s, &(struct rig_options){.segment_min = 256 << 10, .log_file_bytes = 256 << 10}, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    for (unsigned n = 0; n < ERASE_MSGS; n += i == 0 ? 8 : ERASE_MSGS) {
        rig_append(&s.t, i == 0 ? 8 : ERASE_MSGS, 800, 3);
        rig_flush(&s.t);
    }
    s.check = check_erased;
    for (unsigned k = 0; k < ARRAY_LEN(erasing); k++) {
        erase_asked = k + 1;
        rig_req_init(&q);
        ck_assert_int_eq(store_remove(s.t.s, erasing[k], true, &q.req), ERR_OK);
        ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
        erase_done = k + 1;
    }
    end(&s);
}

/* ---- async streams with limits --------------------------------------------------------------- */

/* Of each subject one message, that which was synced or one that pushed it out. */
static void check_one_each(struct story *s, struct rig *after)
{
    struct rig_stream t;
    struct store_state state;

    (void) s;
    rig_attach(after, &t, "log");
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.msgs, 3);
    ck_assert_uint_eq(state.num_subjects, 3);
}

/* What is pushed out by messages that are not synced yet is in the log's records only when they
 * are: else a power cut would take both. i = 0: limit per subject; 1: of the stream; 2: so that
 * segments are empty and go. Records are written because the log is rotated. */
TEST(pushed_out_by_what_was_lost)
{
    struct story s;
    struct rig_stream u;
    struct rig_options o = {.log_file_bytes = 32 << 10,
                            .segment_min = 64 << 10,
                            .segment_max = 64 << 10,
                            .pool_bytes = 1};
    struct store_limits limits = {0};
    size_t size = i == 2 ? 20000 : 100;

    limits.max_msgs = i == 0 ? 0 : 3;
    limits.max_msgs_per_subject = i == 0 ? 1 : 0;
    begin(&s, &o, 0);
    rig_create(&s.r, &s.t, "log", STORE_ASYNC, &limits);
    rig_create(&s.r, &u, "other", STORE_DURABLE, NULL);
    ck_assert_int_eq(rig_append(&s.t, 3, size, 3), ERR_OK);
    rig_flush(&s.t);
    rig_sleep(&s.r, 3000000000u);
    s.check = check_one_each;
    for (unsigned k = 0; k < 6; k++) {
        ck_assert_int_eq(rig_append(&s.t, 3, size, 3), ERR_OK);
        for (unsigned n = 0; n < 6; n++) {
            ck_assert_int_eq(rig_append(&u, 1, 100, 1), ERR_OK);
            rig_flush(&u);
        }
    }
    rig_settle(&s.r);
    rig_sleep(&s.r, 3000000000u);
    ck_assert_uint_eq(rig_read_all(&s.t, 19, NULL, size), 3);
    end(&s);
}

/* ---- damage in a segment that is written anew ------------------------------------------------ */

#define ERASED 2u

static void check_all_counted(struct story *s, struct rig *after)
{
    struct rig_stream t;
    struct store_state state;
    struct store_reader reader;
    struct store_msg m;
    uint64_t there = 0;

    rig_attach(after, &t, "log");
    for (uint64_t seq = 1; seq <= s->t.committed; seq++) {
        there += rig_get(&t, seq, &m, &reader) == STORE_READ_MSG;
        store_reader_deinit(&reader);
    }
    store_stream_state(t.s, &state);
    ck_assert_uint_gt(state.lost_msgs, 0);
    uint64_t missing = s->t.committed - there; /* one of them was perhaps erased before */
    ck_assert_uint_le(state.lost_msgs, missing);
    ck_assert_uint_ge(state.lost_msgs + 1, missing);
}

/* An erase has a damaged segment written anew: what is lost by that is counted, whenever the power
 * goes. */
TEST(damage_is_counted_before_it_goes)
{
    struct story s;
    struct rig_req q;
    struct rig_options o = {.log_file_bytes = 256 << 10,
                            .segment_min = 256 << 10,
                            .segment_max = 256 << 10,
                            .cache_bytes = 1};

    begin(&s, &o, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    store_stream_compress(s.t.s, true);
    for (unsigned k = 0; k < 20; k++) {
        ck_assert_int_eq(rig_append(&s.t, 25, 1000, 3), ERR_OK);
        rig_flush(&s.t);
    }
    rig_settle(&s.r);
    const struct segment *seg = LIST_ENTRY(s.t.s->segments.next, struct segment, link);
    for (unsigned k = 0; k < 10000 && seg->generation == 0; k++) {
        store_step(s.r.store);
        rig_turn(&s.r, 1000000);
        seg = LIST_ENTRY(s.t.s->segments.next, struct segment, link);
    }
    ck_assert_uint_eq(seg->generation, 1);
    ck_assert_uint_gt(seg->nentries, 1);
    const struct segment_batch *last = &seg->entries[seg->nentries - 1].b;
    struct io_fs *fs = sim_fs(s.sim);
    fs_fd fd = fs_open(fs, seg->path, IO_FILE_WRITE);
    ck_assert_int_eq(fs_write(fs, fd, "damage", 6, last->offset + last->bytes - 600), 0);
    ck_assert_int_eq(fs_sync(fs, fd), 0);
    fs_close(fs, fd);
    s.check = check_all_counted;
    rig_req_init(&q);
    ck_assert_int_eq(store_remove(s.t.s, ERASED, true, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
    rig_settle(&s.r);
    ck_assert_uint_eq(LIST_ENTRY(s.t.s->segments.next, struct segment, link)->generation, 2);
    end(&s);
}

/* ---- the copy of the record ------------------------------------------------------------------ */

static void check_updated(struct story *s, struct rig *after)
{
    struct io_fs *fs = sim_fs(after->options.sim);
    struct rig_stream t;
    uint8_t page[SEGMENT_HEADER];
    struct segment_header h;
    char why[160];

    rig_attach(after, &t, "log");
    ck_assert_uint_ge(t.committed, s->t.committed);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), t.committed);
    ck_assert_ptr_nonnull(t.s->active);
    fs_fd fd = fs_open(fs, t.s->active->path, IO_FILE_READ);
    ck_assert_int_eq(fs_read(fs, fd, page, sizeof(page), 0), SEGMENT_HEADER);
    fs_close(fs, fd);
    ck_assert_int_eq(segment_header_decode(page, &h, why), ERR_OK);
}

/* An update writes the header page of the active segment anew, and everything in that hangs on it:
 * it is whole after every cut, or the start has made it so. i = 1: encrypted. */
TEST(updates)
{
    struct story s;
    struct rig_options o = {.log_file_bytes = 64 << 10,
                            .segment_min = 64 << 10,
                            .segment_max = 64 << 10,
                            .key = i == 1 ? "a secret key" : NULL};

    begin(&s, &o, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    ck_assert_int_eq(rig_append(&s.t, 5, 100, 3), ERR_OK);
    rig_flush(&s.t);
    s.check = check_updated;
    for (unsigned k = 0; k < 6; k++) {
        store_stream_update(s.t.s, &(struct store_limits){0}, STR("config of log"), NULL);
        ck_assert_int_eq(rig_append(&s.t, 5, 100, 3), ERR_OK);
        if (k % 2 == 0)
            rig_flush(&s.t);
        else
            rig_sleep(&s.r, 10000000);
    }
    rig_flush(&s.t);
    rig_settle(&s.r);
    ck_assert(!s.t.failed);
    end(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(updates, 0, 2),
    RUN(damage_is_counted_before_it_goes),
    RUN_LOOP(pushed_out_by_what_was_lost, 0, 3),
    RUN(objects_of_a_deleted_stream_are_not_missed),
    RUN(nothing_is_committed_in_a_stream_that_is_not_durable),
    RUN_LOOP(what_a_limit_took_stays_gone, 0, 2),
    RUN(purged_messages_of_an_async_stream_stay_gone),
    RUN(async_segments_may_go_before_they_are_synced),
    RUN_LOOP(a_state_says_what_is_synced, 0, 3),
    RUN_LOOP(async_writes_may_end_in_any_order, 0, 8),
    RUN_LOOP(neighbours_of_an_erased_message_survive, 0, 2),
    RUN_LOOP(objects_larger_than_what_is_left_of_a_log_file, 0, 20),
    RUN(log_goes_on_after_a_file_that_could_not_be_made),
    RUN(a_start_after_a_start_that_was_killed),
    RUN(a_start_after_a_first_start_that_was_killed),
    RUN(objects_that_nobody_attached_keep_their_changes),
};

RUNNER_MAIN("store/store_cuts", cases)
