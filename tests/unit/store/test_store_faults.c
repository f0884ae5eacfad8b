/*
 * test_store_faults.c - full disks, failing writes and syncs, a failing log; each on the simulated
 * machine, each followed by a start that finds what was committed.
 */
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t, u;
    uint64_t capacity;
    /* Armed before the store is opened: only, fault, nth, repeat. */
    const char *only;
    enum sim_fault fault;
    uint64_t nth, repeat;
    bool slow_work;
};

static void open_bench_faulty(struct bench *b)
{
    struct sim_options options;

    sim_options_init(&options);
    b->capacity = options.capacity;
    if (b->slow_work)
        options.work = (struct sim_latency){SECOND / 20, SECOND / 10};
    b->sim = sim_open(1, &options);
    sim_fault_only(b->sim, b->only);
    sim_fault_arm(b->sim, b->fault, b->nth, b->repeat);
    struct rig_options rig = {.sim = b->sim,
                              .log_file_bytes = 1 << 20,
                              .segment_min = 64 << 10,
                              .segment_max = 128 << 10};
    rig_init(&b->r, &rig);
    rig_create(&b->r, &b->t, "one", STORE_DURABLE, NULL);
    rig_create(&b->r, &b->u, "two", STORE_DURABLE, NULL);
}

static void open_bench(struct bench *b)
{
    memset(b, 0, sizeof(*b));
    open_bench_faulty(b);
}

static void reopen(struct bench *b, bool second)
{
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "one");
    if (second)
        rig_attach(&b->r, &b->u, "two");
    store_recovered_done(b->r.store);
    store_check(b->r.store);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

TEST(full_disk_refuses_and_goes_on)
{
    struct bench b;
    struct rig_req q;
    uint64_t last, msgs, bytes, n = 0;
    enum err err = ERR_OK;

    open_bench(&b);
    rig_append(&b.t, 100, 200, 3);
    rig_append(&b.u, 5, 200, 3);
    rig_flush(&b.t);
    rig_flush(&b.u);
    sim_disk_set_capacity(sim_disk(b.sim), 1 << 20); /* less than there is: no file can be made */
    while (n < 5000 && (err = rig_append(&b.t, 1, 200, 3)) == ERR_OK) {
        n++;
        rig_step(&b.r);
    }
    ck_assert_int_eq(err, ERR_NO_SPACE);
    ck_assert(!b.t.failed);
    /* The other stream still has room, and requests work. */
    ck_assert_int_eq(rig_append(&b.u, 5, 200, 3), ERR_OK);
    rig_flush(&b.u);
    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b.u.s, 3, false, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    struct store_stream_options options = {.name = STR("new")};
    struct rig_stream c = {.rig = &b.r};
    ck_assert_int_eq(store_stream_create(b.r.store, &options, rig_ops(), &c, &c.s, NULL),
                     ERR_NO_SPACE);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_int_eq(rig_append(&b.t, 1, 200, 3), ERR_NO_SPACE);
    sim_disk_set_capacity(sim_disk(b.sim), 64 << 20);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_int_eq(rig_append(&b.t, 1000, 200, 3), ERR_OK);
    rig_flush(&b.t);
    store_stream_state_assigned(b.t.s, &last, &msgs, &bytes);
    ck_assert_uint_eq(last, 100 + n + 1000);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), last);
    rig_settle(&b.r);
    reopen(&b, true);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), last);
    ck_assert_uint_eq(rig_read_all(&b.u, 1, NULL, 200), 9);
    close_bench(&b);
}

/* Appends outran the file that was being made, and then it could not be made: what was accepted
 * becomes durable when there is room again. */
TEST(full_disk_while_messages_wait)
{
    struct bench b;
    uint64_t last, msgs, bytes;

    open_bench(&b);
    sim_disk_set_capacity(sim_disk(b.sim), 1 << 20);
    ck_assert_int_eq(rig_append(&b.t, 600, 200, 3), ERR_OK); /* about two segments */
    rig_sleep(&b.r, 3 * SECOND);
    store_stream_state_assigned(b.t.s, &last, &msgs, &bytes);
    ck_assert_uint_eq(last, 600);
    ck_assert_uint_lt(b.t.committed, 600);
    ck_assert(!b.t.failed);
    store_check(b.r.store);
    sim_disk_set_capacity(sim_disk(b.sim), 64 << 20);
    rig_flush(&b.t);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 600);
    rig_settle(&b.r);
    close_bench(&b);
}

/* The disk has no room for anything that is not there already. */
static void fill_disk(struct bench *b)
{
    struct sim_disk *d = sim_disk(b->sim);

    sim_disk_set_capacity(d, b->capacity - sim_disk_free_bytes(d));
}

static void make_room(struct bench *b)
{
    sim_disk_set_capacity(sim_disk(b->sim), b->capacity);
}

static void render_nothing(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "state");
}

static void on_refused(void *ctx, enum err err)
{
    struct rig_stream *t = ctx;

    ck_assert_int_eq(err, ERR_NO_SPACE);
    t->begun = t->committed;
    t->removed++; /* nothing else is */
}

/* An owner that wants it is told at once: what waits is given back, and its sequences again. */
TEST(full_disk_gives_back_what_waits)
{
    struct bench b;
    struct store_stream_ops ops = *rig_ops();
    struct rig_stream t = {.rig = &b.r, .config = "config of new"};
    struct store_stream_options options = {.name = STR("new"), .config = STR("config of new")};
    uint64_t last, msgs, bytes;
    struct rig_req q;

    open_bench(&b);
    ops.refused = on_refused;
    rig_req_init(&q);
    ck_assert_int_eq(store_stream_create(b.r.store, &options, &ops, &t, &t.s, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    fill_disk(&b);
    ck_assert_int_eq(rig_append(&t, 600, 200, 3), ERR_OK); /* about two segments */
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_uint_eq(t.removed, 1);
    store_stream_state_assigned(t.s, &last, &msgs, &bytes);
    ck_assert_uint_eq(last, t.committed);
    ck_assert_uint_eq(msgs, t.committed);
    store_check(b.r.store);
    make_room(&b);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_int_eq(rig_append(&t, 600, 200, 3), ERR_OK);
    rig_flush(&t);
    uint64_t all = t.committed;
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), all);
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &t, "new");
    store_recovered_done(b.r.store);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), all);
    close_bench(&b);
}

/* Puts an object n times, each waiting for the one before: about n KiB of log and a page each. */
static enum err put_often(struct bench *b, store_object_id id, unsigned n)
{
    char bytes[1024];
    enum err err = ERR_OK;

    memset(bytes, 'p', sizeof(bytes));
    for (unsigned k = 0; k < n && err == ERR_OK; k++) {
        struct rig_req q;
        rig_req_init(&q);
        store_object_put(b->r.store, id, str_from(bytes, sizeof(bytes)), &q.req);
        err = rig_req_wait(&b->r, &q);
    }
    return err;
}

/* One spare file of the log, which takes the place of the oldest over and over: what needs no new
 * file goes on for as long as it likes. */
TEST(full_disk_leaves_requests_working)
{
    struct bench b;
    struct rig_req q;
    store_object_id id;

    open_bench(&b);
    ck_assert_int_eq(rig_append(&b.t, 300, 200, 3), ERR_OK);
    rig_flush(&b.t);
    rig_req_init(&q);
    id = store_object_create(b.r.store, 20, 0, STR("state"), render_nothing, NULL, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_settle(&b.r);
    fill_disk(&b);
    ck_assert_int_eq(put_often(&b, id, 1000), ERR_OK); /* four log files and more */
    for (uint64_t seq = 1; seq <= 100; seq++) {
        rig_req_init(&q);
        ck_assert_int_eq(store_remove(b.t.s, seq, seq % 7 == 0, &q.req), ERR_OK);
        ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    }
    struct store_purge purge = {.before_seq = 250};
    rig_req_init(&q);
    store_purge(b.t.s, &purge, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 51);
    ck_assert(!b.t.failed && !b.u.failed);
    rig_settle(&b.r);
    close_bench(&b);
}

/* A start finds its log files among the old ones. */
TEST(full_disk_does_not_stop_a_start)
{
    struct bench b;
    struct rig r = {.path = "/data"};
    struct rig_stream t;
    char why[256];

    open_bench(&b);
    ck_assert_int_eq(rig_append(&b.t, 300, 200, 3), ERR_OK);
    rig_flush(&b.t);
    rig_settle(&b.r);
    for (int k = 0; k < 3; k++) {
        struct sim *fork = sim_fork(b.sim, (enum sim_crash) i, (uint64_t) k);
        struct sim_disk *d = sim_disk(fork);
        sim_disk_set_capacity(d, b.capacity - sim_disk_free_bytes(d));
        r.options = b.r.options;
        r.options.sim = fork;
        enum err err = rig_try_start(&r, why);
        ck_assert_msg(err == ERR_OK, "start: %s", why);
        rig_attach(&r, &t, "one");
        store_recovered_done(r.store);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), 300);
        rig_stop(&r);
        sim_close(fork);
    }
    close_bench(&b);
}

/* Power fails now: everything that was committed is there. */
static void cut_and_compare(struct bench *b, uint64_t seed, size_t size)
{
    struct rig r = {.path = "/data", .options = b->r.options};
    struct rig_stream t;

    r.options.sim = sim_fork(b->sim, SIM_CRASH_DROP, seed);
    rig_start(&r);
    rig_attach(&r, &t, "one");
    store_recovered_done(r.store);
    ck_assert_uint_ge(rig_read_all(&t, 1, NULL, size), b->t.committed);
    rig_stop(&r);
    sim_close(r.options.sim);
}

/* The number of a log file that could not be made is used by the next attempt: a start reads the
 * unbroken series, and nothing before a gap. */
TEST(log_file_that_can_not_be_made_leaves_no_gap)
{
    struct bench b = {0};
    struct store_stats stats;
    uint64_t cuts = 0;

    b.only = ".log";
    b.fault = SIM_FAULT_ALLOCATE;
    b.nth = 2; /* the first one is the start's own */
    open_bench_faulty(&b);
    ck_assert_uint_eq(sim_fault_count(b.sim, SIM_FAULT_ALLOCATE), 1);
    rig_sleep(&b.r, 3 * SECOND);
    do {
        ck_assert_int_eq(rig_append(&b.t, 10, 2000, 3), ERR_OK);
        rig_flush(&b.t);
        store_stats(b.r.store, &stats);
        if (stats.log_bytes > b.r.options.log_file_bytes * 9 / 10)
            cut_and_compare(&b, cuts++, 2000);
    } while (stats.log_bytes < b.r.options.log_file_bytes * 12 / 10);
    ck_assert_uint_gt(cuts, 5);
    close_bench(&b);
}

/* What waits for space when the store is closed gets a last try. */
TEST(closing_tries_once_more)
{
    struct bench b;

    open_bench(&b);
    fill_disk(&b);
    ck_assert_int_eq(rig_append(&b.t, 600, 200, 3), ERR_OK);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_uint_lt(b.t.committed, 600);
    make_room(&b);
    reopen(&b, true);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 600);
    close_bench(&b);
}

/* No spare, the log full, the disk full: requests wait, and closing refuses them. */
TEST(closing_with_a_full_log)
{
    struct bench b = {0};
    struct rig_req q[400];
    unsigned done = 0;
    char bytes[1024];

    b.only = ".log";
    b.fault = SIM_FAULT_ALLOCATE;
    b.nth = 2;
    b.repeat = 1000000;
    open_bench_faulty(&b);
    memset(bytes, 'p', sizeof(bytes));
    for (unsigned k = 0; k < 400; k++) {
        rig_req_init(&q[k]);
        store_object_create(b.r.store, 20, 0, str_from(bytes, sizeof(bytes)), render_nothing, NULL,
                            &q[k].req);
        rig_sleep(&b.r, SECOND / 100);
        if (!q[k].done)
            break;
        done++;
    }
    ck_assert_uint_gt(done, 50);
    ck_assert_uint_lt(done, 400);
    ck_assert_int_eq(rig_append(&b.u, 5, 200, 3), ERR_OK); /* through the log: waits too */
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert(!q[done].done);
    rig_stop(&b.r);
    ck_assert(q[done].done);
    ck_assert_int_eq(q[done].err, ERR_NO_SPACE);
    sim_fault_arm(b.sim, SIM_FAULT_ALLOCATE, 0, 0);
    rig_start(&b.r);
    ck_assert_uint_eq(store_dir_recovery(b.r.dir)->objects, done + 2); /* and two streams */
    store_recovered_done(b.r.store);
    close_bench(&b);
}

/* The retry timer fires (because of the log) while streams are being made: their further files wait
 * for their directory. */
TEST(retry_while_streams_are_made)
{
    enum { STREAMS = 50 };
    struct bench b = {0};
    struct rig_stream t[STREAMS];

    b.only = ".log";
    b.fault = SIM_FAULT_ALLOCATE;
    b.nth = 2;
    b.repeat = 1000000;
    b.slow_work = true;
    open_bench_faulty(&b);
    for (int k = 0; k < STREAMS; k++) {
        struct store_stream_options options = {.name = STR("new"), .config = STR("new")};
        t[k] = (struct rig_stream){.rig = &b.r};
        ck_assert_int_eq(store_stream_create(b.r.store, &options, rig_ops(), &t[k], &t[k].s, NULL),
                         ERR_OK);
        ck_assert_int_eq(rig_append(&t[k], 200, 200, 3), ERR_OK); /* more than half a segment */
        rig_sleep(&b.r, SECOND / 20);
    }
    rig_sleep(&b.r, 20 * SECOND);
    for (int k = 0; k < STREAMS; k++) {
        ck_assert(!t[k].failed);
        ck_assert_uint_eq(t[k].committed, 200);
    }
    close_bench(&b);
}

/* More files to be made than io takes works at a time. */
TEST(many_streams_at_once)
{
    enum { STREAMS = 4500 };
    struct bench b;
    static struct rig_stream t[STREAMS];
    static struct rig_req q[STREAMS];

    open_bench(&b);
    for (int k = 0; k < STREAMS; k++) {
        struct store_stream_options options = {.name = STR("many"), .config = STR("many")};
        t[k] = (struct rig_stream){.rig = &b.r};
        rig_req_init(&q[k]);
        ck_assert_int_eq(
            store_stream_create(b.r.store, &options, rig_ops(), &t[k], &t[k].s, &q[k].req), ERR_OK);
    }
    for (int k = 0; k < STREAMS; k++)
        ck_assert_int_eq(rig_req_wait(&b.r, &q[k]), ERR_OK);
    ck_assert_int_eq(rig_append(&t[STREAMS - 1], 300, 200, 3), ERR_OK); /* to the file itself */
    rig_flush(&t[STREAMS - 1]);
    rig_settle(&b.r);
    for (int k = 0; k < STREAMS; k++)
        ck_assert(!t[k].failed);
    close_bench(&b);
}

/* ---- failing writes and syncs ---------------------------------------------------------------- */

static void wait_failed(struct bench *b, const bool *failed)
{
    (void) b;
    rig_wait(&b->r, failed);
}

/* A commit of one stream's segment fails: that stream alone is read-only. */
TEST(segment_failure_stops_one_stream)
{
    struct bench b;
    enum sim_fault fault = i % 2 == 0 ? SIM_FAULT_WRITE : SIM_FAULT_SYNC;
    uint64_t committed;

    open_bench(&b);
    rig_append(&b.t, 50, 200, 3);
    rig_flush(&b.t);
    rig_settle(&b.r);
    committed = b.t.committed;
    sim_fault_only(b.sim, ".seg");
    sim_fault_arm(b.sim, fault, 1, 1000000);
    ck_assert_int_eq(rig_append(&b.t, 400, 200, 3), ERR_OK); /* big enough for the segment itself */
    wait_failed(&b, &b.t.failed);
    sim_fault_arm(b.sim, fault, 0, 0);
    ck_assert_uint_eq(b.t.committed, committed);
    ck_assert_int_eq(rig_append(&b.t, 1, 200, 3), ERR_FAILED);
    ck_assert_int_eq(store_remove(b.t.s, 1, false, NULL), ERR_FAILED);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), committed);
    store_check(b.r.store);
    ck_assert_int_eq(rig_append(&b.u, 400, 200, 3), ERR_OK);
    rig_flush(&b.u);
    ck_assert(!b.u.failed);
    rig_settle(&b.r);
    reopen(&b, true);
    ck_assert_uint_ge(rig_read_all(&b.t, 1, NULL, 200), committed);
    ck_assert_uint_eq(rig_read_all(&b.u, 1, NULL, 200), 400);
    ck_assert_int_eq(rig_append(&b.t, 10, 200, 3), ERR_OK); /* works again */
    rig_flush(&b.t);
    close_bench(&b);
}

static void count_failed_reqs(struct rig *r, struct rig_req *q, unsigned n)
{
    for (unsigned k = 0; k < n; k++)
        ck_assert_int_ne(rig_req_wait(r, &q[k]), ERR_OK);
}

/* The log fails: all streams of the worker, all requests. */
TEST(log_failure_stops_the_worker)
{
    struct bench b;
    enum sim_fault fault = i % 2 == 0 ? SIM_FAULT_WRITE : SIM_FAULT_SYNC;
    struct rig_req q[3];

    open_bench(&b);
    rig_append(&b.t, 50, 200, 3);
    rig_append(&b.u, 50, 200, 3);
    rig_flush(&b.t);
    rig_flush(&b.u);
    rig_settle(&b.r);
    sim_fault_only(b.sim, ".log");
    sim_fault_arm(b.sim, fault, 1, 1000000);
    for (int k = 0; k < 3; k++)
        rig_req_init(&q[k]);
    ck_assert_int_eq(rig_append(&b.t, 10, 200, 3), ERR_OK);
    ck_assert_int_eq(store_remove(b.u.s, 7, false, &q[0].req), ERR_OK);
    store_object_create(b.r.store, 20, 0, STR("state"), render_nothing, NULL, &q[1].req);
    wait_failed(&b, &b.t.failed);
    wait_failed(&b, &b.u.failed);
    store_object_create(b.r.store, 20, 0, STR("state"), render_nothing, NULL, &q[2].req);
    count_failed_reqs(&b.r, q, 3);
    ck_assert_uint_eq(b.t.committed, 50);
    ck_assert_int_eq(rig_append(&b.u, 1, 200, 3), ERR_FAILED);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 50);
    ck_assert_uint_eq(rig_read_all(&b.u, 1, NULL, 200), 49);
    sim_fault_arm(b.sim, fault, 0, 0);
    rig_settle(&b.r);
    reopen(&b, true);
    ck_assert_uint_ge(rig_read_all(&b.t, 1, NULL, 200), 50);
    ck_assert_uint_ge(rig_read_all(&b.u, 1, NULL, 200), 49);
    close_bench(&b);
}

/* The k-th write, sync or name change fails, for k = 1, 2, ... until none is left to fail. */
TEST(every_operation_fails_once)
{
    static const enum sim_fault faults[] = {SIM_FAULT_WRITE, SIM_FAULT_SYNC, SIM_FAULT_NAMES,
                                            SIM_FAULT_ALLOCATE};
    enum sim_fault fault = faults[i % 4];

    for (uint64_t k = 1;; k++) {
        struct bench b;
        uint64_t last, msgs, bytes;

        open_bench(&b);
        uint64_t before = sim_fault_count(b.sim, fault);
        sim_fault_arm(b.sim, fault, k, 0);
        for (int round = 0; round < 12; round++) {
            rig_append(&b.t, round % 4 == 3 ? 400 : 30, 200, 3);
            rig_append(&b.u, 10, 200, 3);
            for (int step = 0; step < 40; step++)
                rig_step(&b.r);
        }
        rig_sleep(&b.r, 3 * SECOND);
        bool hit = sim_fault_count(b.sim, fault) > before;
        sim_fault_arm(b.sim, fault, 0, 0);
        store_check(b.r.store);
        uint64_t committed[2] = {b.t.committed, b.u.committed};
        for (int n = 0; n < 2; n++) {
            struct rig_stream *s = n == 0 ? &b.t : &b.u;
            ck_assert_uint_eq(rig_read_all(s, 1, NULL, 200), committed[n]);
            store_stream_state_assigned(s->s, &last, &msgs, &bytes);
            ck_assert_uint_eq(last, committed[n]); /* nothing hangs */
        }
        reopen(&b, true);
        ck_assert_uint_ge(rig_read_all(&b.t, 1, NULL, 200), committed[0]);
        ck_assert_uint_ge(rig_read_all(&b.u, 1, NULL, 200), committed[1]);
        close_bench(&b);
        if (!hit && getenv("RIG_VERBOSE") != NULL)
            fprintf(stderr, "%llu operations\n", (unsigned long long) k);
        if (!hit)
            break;
        ck_assert_uint_lt(k, 2000);
    }
}

/* ---- reads ----------------------------------------------------------------------------------- */

TEST(failed_reads_are_tried_again)
{
    struct bench b;

    open_bench(&b);
    rig_append(&b.t, 500, 200, 3);
    rig_flush(&b.t);
    rig_settle(&b.r);
    reopen(&b, false);
    sim_fault_arm(b.sim, SIM_FAULT_READ, 1, 2);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 500);
    close_bench(&b);
}

/* ---- a segment that can not be read at a start ----------------------------------------------- */

static void remove_and_purge(struct bench *b)
{
    struct store_purge purge = {.before_seq = 21};
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b->t.s, 50, false, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
    rig_req_init(&q);
    store_purge(b->t.s, &purge, &q.req);
    ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
}

/* So much that every log file is used anew. */
static void wear_log(struct bench *b)
{
    static char bytes[100 << 10];
    struct rig_req q;

    for (int k = 0; k < 60; k++) {
        rig_req_init(&q);
        store_object_create(b->r.store, 20, 0, str_from(bytes, sizeof(bytes)), render_nothing, NULL,
                            &q.req);
        ck_assert_int_eq(rig_req_wait(&b->r, &q), ERR_OK);
    }
    rig_settle(&b->r);
}

static void expect_all_but_removed(struct bench *b, uint64_t last)
{
    struct store_state state;

    store_stream_state(b->t.s, &state);
    ck_assert(!state.failed);
    ck_assert_uint_eq(state.first_seq, 21);
    ck_assert_uint_eq(state.last_seq, last);
    ck_assert_uint_eq(state.msgs, last - 21);
    ck_assert(!rig_has(&b->t, 50));
    ck_assert_uint_eq(rig_read_all(&b->t, 1, NULL, 200), last - 21);
    ck_assert_uint_eq(state.lost_msgs, 0);
}

/* It fails, once; its record stays as it was, whatever the log goes through, and its files stay.
 * i = 0: the start itself meets the error, 1: the worker that attaches the stream. */
TEST(stream_that_can_not_be_loaded_stays_as_it_was)
{
    struct bench b;
    struct store_state state;

    open_bench(&b);
    rig_append(&b.t, 1500, 200, 3);
    rig_flush(&b.t);
    remove_and_purge(&b);
    rig_settle(&b.r);
    rig_stop(&b.r);
    sim_fault_only(b.sim, ".seg");
    if (i == 0)
        sim_fault_arm(b.sim, SIM_FAULT_READ, 1, 1000000);
    rig_start(&b.r);
    sim_fault_arm(b.sim, SIM_FAULT_READ, 1, 1000000);
    rig_attach(&b.r, &b.t, "one");
    sim_fault_arm(b.sim, SIM_FAULT_READ, 0, 0);
    store_recovered_done(b.r.store);
    store_stream_state(b.t.s, &state);
    ck_assert(state.failed);
    wear_log(&b);
    store_check(b.r.store);
    reopen(&b, false);
    expect_all_but_removed(&b, 1500);
    close_bench(&b);
}

static void count_name(void *ctx, const char *name)
{
    (void) name;
    ++*(unsigned *) ctx;
}

/* And when it is deleted nothing of it stays: a later start, whose log does not know of that any
 * more, would take it back. */
TEST(stream_that_can_not_be_loaded_can_be_deleted)
{
    struct bench b;
    struct rig_req q;
    char dir[STORE_PATH];
    unsigned files = 0;

    open_bench(&b);
    rig_append(&b.t, 1500, 200, 3);
    rig_flush(&b.t);
    store_path_stream(b.r.dir, dir, b.t.s->rec.uuid);
    rig_settle(&b.r);
    rig_stop(&b.r);
    sim_fault_only(b.sim, ".seg");
    if (i == 0)
        sim_fault_arm(b.sim, SIM_FAULT_READ, 1, 1000000);
    rig_start(&b.r);
    sim_fault_arm(b.sim, SIM_FAULT_READ, 1, 1000000);
    rig_attach(&b.r, &b.t, "one");
    sim_fault_arm(b.sim, SIM_FAULT_READ, 0, 0);
    store_recovered_done(b.r.store);
    ck_assert_int_eq(fs_list(sim_fs(b.sim), dir, count_name, &files), 0);
    ck_assert_uint_gt(files, 2);
    rig_req_init(&q);
    store_stream_delete(b.t.s, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_settle(&b.r);
    rig_sleep(&b.r, SECOND);
    files = 0;
    ck_assert_int_lt(fs_list(sim_fs(b.sim), dir, count_name, &files), 0);
    ck_assert_uint_eq(files, 0);
    close_bench(&b);
}

/* ---- async streams --------------------------------------------------------------------------- */

TEST(async_loses_only_its_tail)
{
    struct bench b;
    struct rig_stream a;
    struct store_state state;

    open_bench(&b);
    rig_create(&b.r, &a, "async", STORE_ASYNC, NULL);
    for (int k = 0; k < 30; k++) {
        ck_assert_int_eq(rig_append(&a, 50, 200, 3), ERR_OK);
        rig_flush(&a);
        store_remove(a.s, a.committed, false, NULL);
    }
    struct sim *fork = sim_fork(b.sim, (enum sim_crash) i, 99);
    struct rig r = {.options = b.r.options};
    r.options.sim = fork;
    snprintf(r.path, sizeof(r.path), "/data");
    rig_start(&r);
    rig_attach(&r, &a, "async");
    store_recovered_done(r.store);
    store_stream_state(a.s, &state);
    ck_assert_uint_le(state.last_seq, 1500);
    ck_assert_uint_eq(rig_read_all(&a, 1, NULL, 200), state.msgs);
    uint64_t before = state.last_seq;
    ck_assert_int_eq(rig_append(&a, 100, 200, 3), ERR_OK);
    rig_flush(&a);
    for (uint64_t seq = before + 1; seq <= before + 100; seq++)
        ck_assert(rig_has(&a, seq)); /* old removals do not hit new messages */
    rig_stop(&r);
    sim_close(fork);
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN(full_disk_refuses_and_goes_on),
    RUN(full_disk_while_messages_wait),
    RUN(full_disk_gives_back_what_waits),
    RUN(full_disk_leaves_requests_working),
    RUN_LOOP(full_disk_does_not_stop_a_start, 0, SIM_CRASH_MODES),
    RUN(log_file_that_can_not_be_made_leaves_no_gap),
    RUN(closing_tries_once_more),
    RUN(closing_with_a_full_log),
    RUN(retry_while_streams_are_made),
    RUN(many_streams_at_once),
    RUN_LOOP(segment_failure_stops_one_stream, 0, 2),
    RUN_LOOP(log_failure_stops_the_worker, 0, 2),
    RUN_LOOP(every_operation_fails_once, 0, 4),
    RUN(failed_reads_are_tried_again),
    RUN_LOOP(stream_that_can_not_be_loaded_stays_as_it_was, 0, 2),
    RUN_LOOP(stream_that_can_not_be_loaded_can_be_deleted, 0, 2),
    RUN_LOOP(async_loses_only_its_tail, 0, SIM_CRASH_MODES),
};

RUNNER_MAIN("store/store_faults", cases)
