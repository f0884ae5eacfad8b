/*
 * test_drop.c - files that nobody needs any more go in pieces: how much at once, in which order,
 * what goes whole, and what a store that removes segments makes of it.
 */
#include "store/dir.h"
#include "store/drop.h"
#include "store/pool.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PIECE 8192u
#define SEGMENT (64u << 10)
#define SECOND 1000000000ull

static struct sim *open_sim(void)
{
    struct sim *sim = sim_open(1, NULL);

    ck_assert_int_eq(fs_mkdir(sim_fs(sim), "/d"), 0);
    return sim;
}

static uint64_t space(struct sim *sim)
{
    return sim_disk_free_bytes(sim_disk(sim));
}

static void make(struct sim *sim, const char *path, uint64_t bytes)
{
    struct io_fs *fs = sim_fs(sim);
    fs_fd fd = fs_open(fs, path, IO_FILE_WRITE | IO_FILE_CREATE);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_allocate(fs, fd, bytes), 0);
    fs_close(fs, fd);
}

static bool is_there(struct sim *sim, const char *path)
{
    fs_fd fd = fs_open(sim_fs(sim), path, IO_FILE_READ);

    if (fd >= 0)
        fs_close(sim_fs(sim), fd);
    return fd >= 0;
}

/* ---- the list -------------------------------------------------------------------------------- */

/* The name goes at once, then a piece with every step, the oldest file's first. */
TEST(piece_by_piece)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);
    uint64_t whole = space(sim), most = 0;
    unsigned steps = 0;

    make(sim, "/d/a", 10 * PIECE + 4096);
    make(sim, "/d/b", 3 * PIECE);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/a"), 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/b"), 0);
    ck_assert(!is_there(sim, "/d/a") && !is_there(sim, "/d/b"));
    ck_assert_uint_eq(space(sim), whole - 13 * PIECE - 4096);
    for (; store_drops_wait(d); steps++) {
        uint64_t before = space(sim);
        store_drops_step(d, fs);
        most = space(sim) - before > most ? space(sim) - before : most;
    }
    ck_assert_uint_eq(most, PIECE);
    ck_assert_uint_eq(steps, 11 + 3);
    ck_assert_uint_eq(space(sim), whole);
    store_drops_step(d, fs); /* nothing waits */
    store_drops_close(d, fs);
    sim_close(sim);
}

/* The kernel writes zeros behind an end within a page, and a socket may still have that page. */
TEST(cut_at_whole_pages)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);
    uint64_t last = 5 * PIECE + 1000;

    make(sim, "/d/a", last);
    fs_fd fd = fs_open(fs, "/d/a", IO_FILE_READ);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/a"), 0);
    for (unsigned n = 0; n < 4; n++) {
        store_drops_step(d, fs);
        uint64_t now = (uint64_t) fs_size(fs, fd);
        ck_assert_uint_eq(now % 4096, 0);
        ck_assert_uint_lt(now, last);
        last = now;
    }
    fs_close(fs, fd);
    store_drops_close(d, fs);
    sim_close(sim);
}

/* Power fails while it is cut: its name is not there again, whatever the disk has lost. */
TEST(no_half_file_after_a_power_cut)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);

    make(sim, "/d/a", 10 * PIECE);
    ck_assert_int_eq(fs_sync_dir(fs, "/d"), 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/a"), 0);
    store_drops_step(d, fs);
    store_drops_close(d, fs);
    sim_crash(sim, i);
    ck_assert(!is_there(sim, "/d/a"));
    sim_close(sim);
}

TEST(small_files_go_whole)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);
    uint64_t whole = space(sim);

    make(sim, "/d/a", 2 * PIECE);
    make(sim, "/d/b", 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/a"), 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/b"), 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/none"), -ENOENT);
    ck_assert(!store_drops_wait(d) && !is_there(sim, "/d/b"));
    ck_assert_uint_eq(space(sim), whole);
    store_drops_close(d, fs);
    sim_close(sim);
}

/* Those that are too many go whole, and the others when somebody needs the room. */
TEST(no_more_than_so_many_wait)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);
    uint64_t whole = space(sim);
    char path[32];

    for (unsigned k = 0; k < 70; k++) {
        snprintf(path, sizeof(path), "/d/%u", k);
        make(sim, path, 4 * PIECE);
        ck_assert_int_eq(store_drop_file(d, fs, path), 0);
        ck_assert(!is_there(sim, path));
    }
    ck_assert_uint_eq(space(sim), whole - 64 * 4 * PIECE);
    store_drops_step(d, fs);
    make(sim, "/d/more", 4 * PIECE);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/more"), 0); /* the first still has its place */
    ck_assert_uint_eq(space(sim), whole - (64 * 4 - 1) * PIECE);
    ck_assert(store_drops_hurry(d, fs));
    ck_assert_uint_eq(space(sim), whole);
    ck_assert(!store_drops_wait(d) && !store_drops_hurry(d, fs));
    store_drops_close(d, fs);
    sim_close(sim);
}

/* A file that can not be cut goes whole; so does what still waits at the end, and a file of which
 * nobody can say whether its name would be there again. */
TEST(what_can_not_be_cut)
{
    struct sim *sim = open_sim();
    struct io_fs *fs = sim_fs(sim);
    struct store_drops *d = store_drops_open(PIECE);
    uint64_t whole = space(sim);

    make(sim, "/d/a", 10 * PIECE);
    make(sim, "/d/b", 10 * PIECE);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/a"), 0);
    ck_assert_int_eq(store_drop_file(d, fs, "/d/b"), 0);
    sim_fault_arm(sim, SIM_FAULT_WRITE, 1, 1);
    store_drops_step(d, fs);
    ck_assert_uint_eq(space(sim), whole - 10 * PIECE);
    ck_assert(store_drops_wait(d));
    make(sim, "/d/c", 10 * PIECE);
    sim_fault_arm(sim, SIM_FAULT_NAMES, 2, 1); /* the unlink works */
    ck_assert_int_eq(store_drop_file(d, fs, "/d/c"), 0);
    ck_assert_uint_eq(space(sim), whole - 10 * PIECE);
    store_drops_close(d, fs);
    ck_assert_uint_eq(space(sim), whole);
    sim_close(sim);
}

/* ---- in a store ------------------------------------------------------------------------------ */

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
};

static void open_bench(struct bench *b)
{
    struct rig_options rig = {.log_file_bytes = 1 << 20,
                              .segment_min = SEGMENT,
                              .segment_max = SEGMENT,
                              .drop_bytes = PIECE};

    memset(b, 0, sizeof(*b));
    rig.sim = b->sim = sim_open(1, NULL);
    rig_init(&b->r, &rig);
    rig_create(&b->r, &b->t, "one", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 30; k++) {
        ck_assert_int_eq(rig_append(&b->t, 100, 200, 3), ERR_OK);
        rig_flush(&b->t);
    }
    rig_sleep(&b->r, 3 * SECOND);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

/* Steps until the space of `least` segments is free again; what came free at once, at most. */
static uint64_t watch(struct bench *b, uint64_t least)
{
    uint64_t begun = space(b->sim), most = 0;

    for (unsigned k = 0; k < 100000 && space(b->sim) < begun + least; k++) {
        uint64_t before = space(b->sim);
        store_step(b->r.store);
        io_poll(b->r.io, SECOND / 1000);
        if (space(b->sim) > before && space(b->sim) - before > most)
            most = space(b->sim) - before;
    }
    ck_assert_uint_ge(space(b->sim), begun + least);
    return most;
}

/* i: purged, or deleted with its stream. */
TEST(segments_go_in_pieces)
{
    struct store_purge all = {0};
    struct bench b;

    open_bench(&b);
    if (i == 0)
        store_purge(b.t.s, &all, NULL);
    else
        store_stream_delete(b.t.s, NULL);
    ck_assert_uint_le(watch(&b, 8 * SEGMENT), 2 * PIECE);
    close_bench(&b);
}

/* A stop does not wait for them, and nothing is left. */
TEST(an_end_while_they_wait)
{
    struct store_purge all = {0};
    struct bench b;

    open_bench(&b);
    uint64_t before = space(b.sim);
    store_purge(b.t.s, &all, NULL);
    watch(&b, SEGMENT);
    ck_assert_uint_lt(space(b.sim), before + 6 * SEGMENT); /* some do wait */
    rig_stop(&b.r);
    ck_assert_uint_ge(space(b.sim), before + 8 * SEGMENT);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "one");
    store_recovered_done(b.r.store);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 200), 0);
    ck_assert_uint_eq(b.r.warnings, 0);
    close_bench(&b);
}

/* When the disk is full nobody waits for the pauses. */
TEST(a_full_disk_gets_it_all)
{
    struct store_purge all = {0};
    struct bench b;

    open_bench(&b);
    uint64_t before = space(b.sim);
    store_purge(b.t.s, &all, NULL);
    watch(&b, SEGMENT);
    ck_assert(store_pool_hungry(b.r.dir->pool));
    ck_assert(store_pool_release(b.r.dir->pool, sim_fs(b.sim)));
    ck_assert(!store_pool_hungry(b.r.dir->pool));
    ck_assert_uint_ge(space(b.sim), before + 2 * SEGMENT);
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN(cut_at_whole_pages),
    RUN(piece_by_piece),
    RUN_LOOP(no_half_file_after_a_power_cut, 0, SIM_CRASH_MODES),
    RUN(small_files_go_whole),
    RUN(no_more_than_so_many_wait),
    RUN(what_can_not_be_cut),
    RUN_LOOP(segments_go_in_pieces, 0, 2),
    RUN(an_end_while_they_wait),
    RUN(a_full_disk_gets_it_all),
};

RUNNER_MAIN("store/drop", cases)
