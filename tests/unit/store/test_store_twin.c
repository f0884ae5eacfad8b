/* The twin of the commit log: what it holds, when a start believes it, and what becomes of it when
 * it can not be written. Each kind of damage to each file is tests/corruption's. */
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000u
#define LOG_FILE (64u << 10)

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    store_object_id box;
};

static void render_box(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "box");
}

static void open_bench(struct bench *b, const char *key)
{
    struct rig_options o = {.log_file_bytes = LOG_FILE, .segment_min = 256 << 10, .key = key};
    struct store_limits limits = {.max_msgs = 500};

    memset(b, 0, sizeof(*b));
    o.segment_max = o.segment_min;
    b->sim = o.sim = sim_open(7, NULL);
    rig_init(&b->r, &o);
    rig_create(&b->r, &b->t, "kept", STORE_DURABLE, &limits);
    b->box = store_object_create(b->r.store, STORE_KIND_USER, b->t.id, STR("box"), render_box, NULL,
                                 NULL);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

static void take_name(void *ctx, const char *name)
{
    (void) name;
    ++*(unsigned *) ctx;
}

static unsigned files_in(struct bench *b, const char *dir)
{
    char path[64];
    unsigned n = 0;

    snprintf(path, sizeof(path), "/data/%s", dir);
    ck_assert_int_eq(fs_list(sim_fs(b->sim), path, take_name, &n), 0);
    return n;
}

struct paths {
    char path[16][160];
    unsigned n;
};

static void take_path(void *ctx, const char *path, struct sim_inode *ino)
{
    struct paths *p = ctx;

    (void) ino;
    if (strstr(path, "/log/") != NULL)
        snprintf(p->path[p->n++], sizeof(p->path[0]), "/%s", path + (path[0] == '/'));
}

/* All files of the log, or all but its spare: the last one. */
static void lose_log(struct sim *sim, unsigned but)
{
    struct paths p = {.n = 0};

    sim_disk_walk(sim_disk(sim), take_path, &p);
    ck_assert_uint_gt(p.n, but);
    for (unsigned i = 0; i < p.n - but; i++)
        ck_assert_int_eq(sim_disk_unlink(sim_disk(sim), p.path[i]), 0);
}

static void append(struct bench *b, unsigned n)
{
    ck_assert_int_eq(rig_append(&b->t, n, 100, 3), ERR_OK);
    rig_flush(&b->t);
}

static void take_out(struct bench *b, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b->t.s, seq, false, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
}

/* Ends as if killed after everything was written that waits, on a copy of the machine. */
static void vanish(struct bench *b)
{
    struct sim *killed;

    rig_settle(&b->r);
    rig_sleep(&b->r, 3ull * SECOND);
    rig_settle(&b->r);
    killed = sim_fork(b->sim, SIM_CRASH_KEEP, 1);
    rig_stop(&b->r);
    sim_close(b->sim);
    b->sim = b->r.options.sim = killed;
}

struct objects {
    store_object_id want;
    bool found;
    unsigned deltas;
};

static void look(void *ctx, const struct store_object_view *v)
{
    struct objects *o = ctx;

    if (v->id == o->want) {
        o->found = true;
        o->deltas = v->ndeltas;
    }
}

static bool has_object(struct bench *b, store_object_id id, unsigned *deltas)
{
    struct objects o = {.want = id};

    store_recovered_each(b->r.store, look, &o);
    if (deltas != NULL)
        *deltas = o.deltas;
    return o.found;
}

/* Without any log file the stream has its limits, what was removed stays away, an object its
 * changes. i: closed or killed, and encrypted. */
TEST(stands_for_the_log)
{
    struct bench b;
    unsigned deltas;

    open_bench(&b, i >= 2 ? "a secret key" : NULL);
    append(&b, 100);
    take_out(&b, 17);
    store_object_delta(b.r.store, b.box, STR("one"), NULL);
    store_object_delta(b.r.store, b.box, STR("two"), NULL);
    rig_settle(&b.r);
    if (i % 2 == 0)
        rig_stop(&b.r);
    else
        vanish(&b);
    lose_log(b.sim, 0);
    b.r.warnings = 0;
    rig_start(&b.r);
    ck_assert_uint_ge(b.r.warnings, 1);
    ck_assert(has_object(&b, b.box, &deltas));
    ck_assert_uint_eq(deltas, 2);
    rig_attach(&b.r, &b.t, "kept");
    ck_assert(!store_stream_adopted(b.r.store, b.t.id));
    store_recovered_done(b.r.store);
    ck_assert_uint_eq(b.t.s->rec.limits.max_msgs, 500);
    ck_assert_uint_eq(b.t.s->last_seq, 100);
    ck_assert(!rig_has(&b.t, 17) && rig_has(&b.t, 16) && rig_has(&b.t, 100));
    rig_stop(&b.r);
    b.r.warnings = 0;
    rig_start(&b.r);
    ck_assert_uint_eq(b.r.warnings, 0);
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    close_bench(&b);
}

/* The log has gone through many files, and its twin with it: what was deleted long ago stays away,
 * what is old is there. */
TEST(many_files)
{
    struct bench b;
    store_object_id gone, old;
    char text[1000];

    open_bench(&b, NULL);
    memset(text, 'x', sizeof(text));
    old = store_object_create(b.r.store, STORE_KIND_USER, 0, STR("old"), render_box, NULL, NULL);
    gone = store_object_create(b.r.store, STORE_KIND_USER, 0, STR("gone"), render_box, NULL, NULL);
    for (unsigned k = 0; k < 2000; k++) {
        store_object_put(b.r.store, b.box, str_from(text, sizeof(text)), NULL);
        if (k == 500)
            store_object_delete(b.r.store, gone, NULL);
        if (k % 10 == 0)
            rig_settle(&b.r);
    }
    rig_settle(&b.r);
    rig_sleep(&b.r, 20ull * SECOND);
    rig_settle(&b.r);
    ck_assert_uint_gt(clog_writing(&b.r.store->clog)->number, 10);
    ck_assert_uint_le(files_in(&b, "log"), 4);
    ck_assert_uint_le(files_in(&b, "twin"), 4);
    vanish(&b);
    lose_log(b.sim, 0);
    rig_start(&b.r);
    ck_assert(has_object(&b, b.box, NULL));
    ck_assert(has_object(&b, old, NULL));
    ck_assert(!has_object(&b, gone, NULL));
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    close_bench(&b);
}

/* A start that is killed before its twin is there leaves the one of the start before. i: so many
 * files of the log are left, spares. */
TEST(until_there_is_a_new_one)
{
    struct bench b;

    open_bench(&b, NULL);
    append(&b, 100);
    take_out(&b, 17);
    rig_stop(&b.r);
    rig_start(&b.r);
    ck_assert_uint_eq(files_in(&b, "twin"), 1);
    struct sim *killed = sim_fork(b.sim, SIM_CRASH_KEEP, 1);
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    rig_stop(&b.r);
    ck_assert_uint_eq(files_in(&b, "twin"), 1);
    sim_close(b.sim);
    b.sim = b.r.options.sim = killed;
    lose_log(b.sim, (unsigned) i);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    ck_assert(rig_has(&b.t, 16));
    ck_assert(!rig_has(&b.t, 17));
    close_bench(&b);
}

/* The twin has a file from before the log's first one. */
static bool begins_earlier(const struct store *st)
{
    const struct clog_file *first = LIST_ENTRY(st->clog.files.next, struct clog_file, link);

    return st->twin.state == TWIN_ON && st->twin.job.number > 0 &&
           st->twin.job.lowest < first->number;
}

/* The machine as a kill leaves it now. */
static void kill_now(struct bench *b)
{
    struct sim *killed = sim_fork(b->sim, SIM_CRASH_KEEP, 1);

    rig_stop(&b->r);
    sim_close(b->sim);
    b->sim = b->r.options.sim = killed;
}

/* The twin of an earlier start still has an object whose removal it was never told. This start's
 * first worker has its twin, which begins before its log: that is no loss. The second has none yet,
 * so the old one is there; but it is not read. */
TEST(an_old_one_brings_nothing_back)
{
    struct bench b;
    store_object_id gone;
    struct rig_req q;
    char text[1000];

    open_bench(&b, NULL);
    memset(text, 'x', sizeof(text));
    gone = store_object_create(b.r.store, STORE_KIND_USER, 0, STR("gone"), render_box, NULL, NULL);
    rig_settle(&b.r);
    rig_sleep(&b.r, 15ull * SECOND);
    rig_settle(&b.r);
    rig_req_init(&q);
    store_object_delete(b.r.store, gone, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    kill_now(&b);
    b.r.options.workers = 2;
    rig_start(&b.r);
    ck_assert(!has_object(&b, gone, NULL));
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    for (unsigned k = 0; k < 2000 && !begins_earlier(b.r.store); k++) {
        store_object_put(b.r.store, b.box, str_from(text, sizeof(text)), NULL);
        rig_settle(&b.r);
        rig_sleep(&b.r, SECOND / 10);
    }
    ck_assert(begins_earlier(b.r.store));
    ck_assert_uint_gt(files_in(&b, "twin"), 1); /* with that of the start before */
    kill_now(&b);
    rig_start(&b.r);
    ck_assert(has_object(&b, b.box, NULL));
    ck_assert(!has_object(&b, gone, NULL));
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    close_bench(&b);
}

static void count_twin(void *ctx, const char *path, struct sim_inode *ino)
{
    (void) ino;
    *(unsigned *) ctx += strstr(path, "twin/") != NULL;
}

/* How many files of it a power cut leaves. */
static unsigned after_a_cut(struct bench *b)
{
    struct sim *cut = sim_fork(b->sim, SIM_CRASH_DROP, 1);
    unsigned n = 0;

    sim_disk_walk(sim_disk(cut), count_twin, &n);
    sim_close(cut);
    return n;
}

/* It can not be written: one line, no file of it stays or comes back, the store goes on; with the
 * log's next file it is there again. i: which call fails. */
TEST(can_not_be_written)
{
    static const enum sim_fault faults[] = {SIM_FAULT_WRITE, SIM_FAULT_SYNC};
    struct bench b;
    char text[1000];

    open_bench(&b, NULL);
    memset(text, 'x', sizeof(text));
    append(&b, 100);
    rig_sleep(&b.r, 3ull * SECOND);
    rig_sleep(&b.r, 15ull * SECOND);
    ck_assert_uint_eq(files_in(&b, "twin"), 1);
    ck_assert_uint_eq(after_a_cut(&b), 1);
    sim_fault_only(b.sim, "/twin/");
    sim_fault_arm(b.sim, faults[i], 1, 1000000);
    b.r.warnings = 0;
    append(&b, 1);
    rig_sleep(&b.r, 15ull * SECOND);
    rig_settle(&b.r);
    ck_assert_uint_eq(b.r.warnings, 1);
    ck_assert_ptr_nonnull(strstr(b.r.last_warning, "/twin"));
    ck_assert_uint_eq(files_in(&b, "twin"), 0);
    ck_assert_uint_eq(after_a_cut(&b), 0);
    sim_fault_arm(b.sim, faults[i], 0, 0);
    take_out(&b, 17);
    for (unsigned k = 0; k < 200; k++) {
        store_object_put(b.r.store, b.box, str_from(text, sizeof(text)), NULL);
        if (k % 10 == 0)
            rig_settle(&b.r);
    }
    ck_assert_uint_eq(b.r.warnings, 1);
    vanish(&b);
    ck_assert_uint_ge(files_in(&b, "twin"), 1);
    lose_log(b.sim, 0);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "kept");
    store_recovered_done(b.r.store);
    ck_assert(!rig_has(&b.t, 17) && rig_has(&b.t, 16));
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(stands_for_the_log, 0, 4),       RUN(many_files),
    RUN_LOOP(until_there_is_a_new_one, 0, 2), RUN(an_old_one_brings_nothing_back),
    RUN_LOOP(can_not_be_written, 0, 2),
};

RUNNER_MAIN("store/twin", cases)
