/*
 * test_store_pool.c - prewritten files: when they are made, where they come from, what is in them,
 * what a start does with them, and what happens when the disk is full.
 */
#include "store/dir.h"
#include "store/pool.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull
#define SEGMENT (64u << 10)

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    uint64_t capacity;
};

static void open_bench(struct bench *b, uint64_t pool_bytes, const struct store_limits *limits)
{
    struct sim_options options;

    memset(b, 0, sizeof(*b));
    sim_options_init(&options);
    b->capacity = options.capacity;
    b->sim = sim_open(1, &options);
    struct rig_options rig = {.sim = b->sim,
                              .log_file_bytes = 1 << 20,
                              .segment_min = SEGMENT,
                              .segment_max = SEGMENT,
                              .pool_bytes = pool_bytes};
    rig_init(&b->r, &rig);
    rig_create(&b->r, &b->t, "one", STORE_DURABLE, limits);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

static struct store_stats stats_of(struct bench *b)
{
    struct store_stats s;

    store_stats(b->r.store, &s);
    return s;
}

/* About n segments, slowly: the pool has time. */
static void write_segments(struct bench *b, unsigned n)
{
    for (unsigned k = 0; k < 10 * n; k++) {
        ck_assert_int_eq(rig_append(&b->t, 30, 200, 3), ERR_OK);
        rig_flush(&b->t);
        rig_sleep(&b->r, SECOND / 10);
    }
}

static void count_one(void *ctx, const char *name)
{
    (void) name;
    ++*(unsigned *) ctx;
}

static unsigned files_in(struct bench *b, const char *path)
{
    unsigned n = 0;

    ck_assert_int_eq(fs_list(sim_fs(b->sim), path, count_one, &n), 0);
    return n;
}

/* ---- filling --------------------------------------------------------------------------------- */

/* Nothing is made that nobody asked for; then enough. */
TEST(fills_on_demand)
{
    struct bench b;

    open_bench(&b, 1 << 20, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    uint64_t first = stats_of(&b).pool_misses;
    ck_assert_uint_eq(first, 1); /* the first file of the stream */
    write_segments(&b, 10);
    ck_assert_uint_gt(stats_of(&b).pool_files, 0);
    uint64_t misses = stats_of(&b).pool_misses;
    ck_assert_uint_le(misses, first + 3);
    write_segments(&b, 10);
    ck_assert_uint_eq(stats_of(&b).pool_misses, misses);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 6000);
    close_bench(&b);
}

TEST(none_is_none)
{
    struct bench b;

    open_bench(&b, 0, NULL);
    write_segments(&b, 5);
    store_stream_delete(b.t.s, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_uint_eq(stats_of(&b).pool_files, 0);
    ck_assert_uint_eq(stats_of(&b).pool_misses, 0);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), 0);
    close_bench(&b);
}

/* A step that fails is the end of it, quietly for a full disk; commits do not notice. */
TEST(filling_fails)
{
    struct bench b;
    enum sim_fault fault = i == 0 ? SIM_FAULT_ALLOCATE : i == 1 ? SIM_FAULT_WRITE : SIM_FAULT_SYNC;

    open_bench(&b, 1 << 20, NULL);
    sim_fault_only(b.sim, "/pool/");
    sim_fault_arm(b.sim, fault, 1, 1000000);
    write_segments(&b, 6);
    ck_assert_uint_gt(sim_fault_count(b.sim, fault), 0);
    ck_assert_uint_eq(stats_of(&b).pool_files, 0);
    ck_assert_uint_eq(b.r.warnings, fault == SIM_FAULT_ALLOCATE ? 0 : 1);
    ck_assert(!b.t.failed);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), 0);
    sim_fault_arm(b.sim, fault, 0, 0);
    write_segments(&b, 6);
    ck_assert_uint_gt(stats_of(&b).pool_files, 0);
    close_bench(&b);
}

/* ---- recycling ------------------------------------------------------------------------------- */

/* A stream with a limit lives on its own released segments. */
TEST(released_segments_come_back)
{
    struct bench b;
    struct store_limits limits = {.max_msgs = 600};

    open_bench(&b, 1 << 20, &limits);
    write_segments(&b, 10);
    struct store_stats before = stats_of(&b);
    ck_assert_uint_gt(before.pool_files, 0);
    /* From now on none can be made. */
    sim_fault_arm(b.sim, SIM_FAULT_ALLOCATE, 1, 1000000);
    sim_fault_only(b.sim, "/data/pool/");
    uint64_t disk = sim_disk_free_bytes(sim_disk(b.sim));
    write_segments(&b, 30);
    ck_assert_uint_eq(stats_of(&b).pool_misses, before.pool_misses);
    ck_assert_uint_le(stats_of(&b).disk_bytes, before.disk_bytes + 2 * SEGMENT);
    ck_assert_uint_ge(sim_disk_free_bytes(sim_disk(b.sim)) + 4 * SEGMENT, disk);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 600);
    close_bench(&b);
}

/* Never more than the limit. */
TEST(a_deleted_stream_fills_it_to_its_bound)
{
    struct bench b;

    open_bench(&b, 5 * SEGMENT, NULL);
    write_segments(&b, 20);
    store_stream_delete(b.t.s, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_uint_ge(stats_of(&b).pool_files, 4);
    ck_assert_uint_le(stats_of(&b).pool_files, 5);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), stats_of(&b).pool_files);
    ck_assert_uint_eq(files_in(&b, "/data/streams"), 0);
    close_bench(&b);
}

/* Power cuts while a stream is written into files that held another one: what was there never comes
 * up again, and nothing looks damaged. i = mode. */
TEST(old_contents_never_verify)
{
    struct bench b;
    struct rig_stream u;

    open_bench(&b, 1 << 20, NULL);
    write_segments(&b, 12);
    rig_create(&b.r, &u, "two", STORE_DURABLE, NULL);
    store_stream_delete(b.t.s, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    ck_assert_uint_gt(stats_of(&b).pool_files, 8);
    for (unsigned k = 0; k < 60; k++) {
        struct rig r = {.path = "/data", .options = b.r.options};
        struct rig_stream t;
        ck_assert_int_eq(rig_append(&u, 1 + k * 37 % 400, 100, 3), ERR_OK);
        if (k % 3 == 0)
            rig_flush(&u);
        else
            rig_step(&b.r);
        struct sim *fork = sim_fork(b.sim, (enum sim_crash) i, k);
        r.options.sim = fork;
        r.log = b.r.log;
        rig_start(&r);
        ck_assert_msg(r.warnings == 0, "%s", r.last_warning);
        ck_assert_uint_eq(store_dir_recovery(r.dir)->streams, 1);
        rig_attach(&r, &t, "two");
        store_recovered_done(r.store);
        ck_assert_uint_ge(rig_read_all(&t, 1, NULL, 100), u.committed);
        rig_stop(&r);
        sim_close(fork);
    }
    ck_assert_uint_le(stats_of(&b).pool_misses, 6);
    close_bench(&b);
}

/* ---- a start --------------------------------------------------------------------------------- */

static void put_file(struct bench *b, const char *path, uint64_t bytes)
{
    struct io_fs *fs = sim_fs(b->sim);
    fs_fd fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_allocate(fs, fd, bytes), 0);
    ck_assert_int_eq(fs_sync(fs, fd), 0);
    fs_close(fs, fd);
}

/* Sealing cuts a file, or puts a footer behind its end. i = bytes more or less. */
TEST(retired_files_get_their_size_back)
{
    static const int more[] = {0, 9000, -5000, -60000};
    struct bench b;

    open_bench(&b, 1 << 20, NULL);
    struct store_pool *pool = b.r.dir->pool;
    struct io_fs *fs = sim_fs(b.sim);
    uint64_t bytes = SEGMENT + (uint64_t) (int64_t) more[i];
    uint8_t page[4096];
    fs_fd fd = fs_open(fs, "/data/streams/old", IO_FILE_WRITE | IO_FILE_CREATE);
    memset(page, 'x', sizeof(page));
    for (uint64_t at = 0; at < bytes; at += sizeof(page))
        ck_assert_int_eq(
            fs_write(fs, fd, page, bytes - at < sizeof(page) ? bytes - at : sizeof(page), at), 0);
    fs_close(fs, fd);
    store_pool_retire(pool, fs, "/data/streams/old", SEGMENT);
    ck_assert_uint_eq(stats_of(&b).pool_files, 1);
    ck_assert(store_pool_take(pool, fs, SEGMENT, true, "/data/streams/new"));
    ck_assert(!store_pool_take(pool, fs, SEGMENT, false, "/data/streams/another"));
    fd = fs_open(fs, "/data/streams/new", IO_FILE_READ);
    ck_assert_int_eq(fs_size(fs, fd), SEGMENT);
    ck_assert_int_eq(fs_read(fs, fd, page, sizeof(page), 0), sizeof(page));
    ck_assert(page[0] == 0 && page[4095] == 0);
    ck_assert_int_eq(fs_read(fs, fd, page, sizeof(page), SEGMENT - 4096), sizeof(page));
    ck_assert(page[0] == 0 && page[4095] == 0);
    fs_close(fs, fd);
    fs_unlink(fs, "/data/streams/new");
    close_bench(&b);
}

/* A name that is taken is not written over, and a file that is not as big as it was said is no
 * file of the pool. */
TEST(what_is_not_taken)
{
    struct bench b;

    open_bench(&b, 1 << 20, NULL);
    struct store_pool *pool = b.r.dir->pool;
    struct io_fs *fs = sim_fs(b.sim);
    put_file(&b, "/data/streams/a", SEGMENT);
    put_file(&b, "/data/streams/b", SEGMENT + 4096);
    put_file(&b, "/data/streams/c", SEGMENT);
    put_file(&b, "/data/streams/d", SEGMENT);
    store_pool_retire(pool, fs, "/data/streams/a", SEGMENT);
    store_pool_retire(pool, fs, "/data/streams/b", SEGMENT + 4096); /* of no usual size */
    store_pool_retire(pool, fs, "/data/streams/c", 0);
    ck_assert_uint_eq(stats_of(&b).pool_files, 1);
    ck_assert(!store_pool_take(pool, fs, SEGMENT, false, "/data/streams/d"));
    ck_assert_uint_eq(files_in(&b, "/data/pool"), 0);
    ck_assert(!store_pool_take(pool, fs, 100 * SEGMENT, true, "/data/streams/e"));
    ck_assert_uint_eq(stats_of(&b).pool_misses, 1); /* the stream's own */
    fs_unlink(fs, "/data/streams/d");
    close_bench(&b);
}

TEST(a_start_takes_over_what_fits)
{
    struct bench b;

    open_bench(&b, 3 * SEGMENT, NULL);
    write_segments(&b, 1);
    rig_stop(&b.r);
    unsigned before = files_in(&b, "/data/pool");
    put_file(&b, "/data/pool/900.new", SEGMENT);     /* was being made */
    put_file(&b, "/data/pool/901.pre", SEGMENT + 1); /* of no size that is used */
    put_file(&b, "/data/pool/902.pre", 4 * SEGMENT); /* more than all may be */
    put_file(&b, "/data/pool/903.pre", 0);
    put_file(&b, "/data/pool/904.pre", SEGMENT);
    put_file(&b, "/data/pool/readme", 1);
    unsigned warnings = b.r.warnings;
    rig_start(&b.r);
    ck_assert_uint_eq(stats_of(&b).pool_files, before < 3 ? before + 1 : 3);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), stats_of(&b).pool_files + 1);
    ck_assert_uint_eq(b.r.warnings, warnings + 1);
    ck_assert_ptr_nonnull(strstr(b.r.last_warning, "/data/pool/readme"));
    rig_attach(&b.r, &b.t, "one");
    store_recovered_done(b.r.store);
    write_segments(&b, 4);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 1500);
    rig_stop(&b.r);
    b.r.options.pool_bytes = 0; /* turned off: they go */
    rig_start(&b.r);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), 1);
    store_recovered_done(b.r.store);
    close_bench(&b);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

/* What lies ready is used, and what is of another size is given back. */
TEST(a_full_disk_gets_it_back)
{
    struct bench b;
    static char big[300 << 10];
    uint64_t seq;

    open_bench(&b, 1 << 20, NULL);
    write_segments(&b, 20);
    store_stream_delete(b.t.s, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    rig_create(&b.r, &b.t, "again", STORE_DURABLE, NULL);
    rig_sleep(&b.r, 3 * SECOND);
    uint64_t files = stats_of(&b).pool_files;
    ck_assert_uint_gt(files, 12);
    struct sim_disk *d = sim_disk(b.sim);
    sim_disk_set_capacity(d, b.capacity - sim_disk_free_bytes(d));
    write_segments(&b, 4);
    ck_assert_uint_lt(stats_of(&b).pool_files, files);
    struct store_append m = {.subject = STR("s"), .payload = str_from(big, sizeof(big)), .ts = 1};
    ck_assert_int_eq(store_append(b.t.s, &m, &seq), ERR_OK); /* a file of its own size */
    rig_wait_u64(&b.r, &b.t.committed, seq);
    ck_assert_uint_eq(stats_of(&b).pool_files, 0);
    rig_settle(&b.r);
    close_bench(&b);
}

/* The last of the space is not for the pool. */
TEST(does_not_take_the_last_space)
{
    struct bench b;

    open_bench(&b, 1 << 20, NULL);
    struct sim_disk *d = sim_disk(b.sim);
    sim_disk_set_capacity(d, b.capacity - sim_disk_free_bytes(d) + (1 << 20));
    write_segments(&b, 5);
    ck_assert_uint_eq(stats_of(&b).pool_files, 0);
    ck_assert_uint_eq(files_in(&b, "/data/pool"), 0);
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN(fills_on_demand),
    RUN(none_is_none),
    RUN_LOOP(filling_fails, 0, 3),
    RUN(released_segments_come_back),
    RUN(a_deleted_stream_fills_it_to_its_bound),
    RUN_LOOP(old_contents_never_verify, 0, SIM_CRASH_MODES),
    RUN_LOOP(retired_files_get_their_size_back, 0, 4),
    RUN(what_is_not_taken),
    RUN(a_start_takes_over_what_fits),
    RUN(a_full_disk_gets_it_back),
    RUN(does_not_take_the_last_space),
};

RUNNER_MAIN("store/store_pool", cases)
