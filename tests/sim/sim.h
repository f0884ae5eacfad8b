/*
 * sim.h - the deterministic simulator: lib/io on virtual time, in one thread, from one seed.
 *
 * A struct sim is a machine room: one clock, one disk, one network, one source of randomness, and
 * any number of loops (struct io) that stand for worker threads or for programs on other machines.
 * Code under test calls io.h and notices nothing. The same seed, options and calls give the same
 * run, byte for byte: sim_trace_hash says so.
 *
 *     struct sim *sim = sim_open(seed, NULL);
 *     struct io *io = sim_io_open(sim, NULL);
 *     ... hand io and sim_fs(sim) to the code under test ...
 *     while ((io = sim_next(sim, UINT64_MAX)) != NULL)
 *         step the owner of io (which calls io_poll(io, 0));
 *
 * A power cut is sim_crash (the loops vanish, the disk keeps what it must and what the dice say) or
 * sim_fork (the same on a copy, while the original goes on). docs/internals/sim.md is the fault
 * model in prose.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include "lib/io/io.h"
#include "tests/sim/sim_disk.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct sim;

/* How long something takes: uniform in [min, max], now and then (1 in 50) ten times as long. */
struct sim_latency {
    uint64_t min_ns, max_ns;
};

struct sim_options {
    uint64_t capacity; /* of the disk; default 1 GiB */
    int64_t wall_ns;   /* unix time at the start; default 2030-01-01 */
    struct sim_latency write, sync, read, work, net;
    unsigned split_percent;       /* writes and received data that come in pieces; default 20 */
    unsigned early_names_percent; /* name changes followed by a tick of the journal; default 10 */
    unsigned evict_percent;       /* operations that find their file's descriptor closed by the LRU;
                                     default 5 */
    size_t window_min; /* bytes that a connection holds unread, at least; up to 32 times that;
                          default 64 KiB */
    bool trace_forks;  /* also what forks do */
    FILE *trace;       /* where to print every event; default NULL */
};

void sim_options_init(struct sim_options *options);
/* options NULL = the defaults. */
struct sim *sim_open(uint64_t seed, const struct sim_options *options);
/* Also when loops are still open: they vanish. */
void sim_close(struct sim *sim);

/* ---- loops and time -------------------------------------------------------------------------- */

/* A loop of this machine; config NULL = the defaults. Closed by io_close, or by a crash. */
struct io *sim_io_open(struct sim *sim, const struct io_config *config);
/* A loop on another machine: it has no disk, and a crash does not touch it; its peers' connections
 * are reset. */
struct io *sim_io_open_remote(struct sim *sim, const struct io_config *config);
/* The blocking file system door, for code that runs before or without a loop. */
struct io_fs *sim_fs(struct sim *sim);

/* The loop that runs next: a seeded choice among those that have something to do. With none, time
 * moves to the next event until one has. NULL when nothing will ever happen, or nothing within
 * max_wait_ns (then the time has passed). */
struct io *sim_next(struct sim *sim, uint64_t max_wait_ns);
/* The loop's owner wants to be chosen although nothing completes, once. */
void sim_want(struct io *io);
uint64_t sim_now(const struct sim *sim);
int64_t sim_wall(const struct sim *sim);
/* The wall clock jumps. */
void sim_jump_wall(struct sim *sim, int64_t by_ns);

/* ---- faults ---------------------------------------------------------------------------------- */

enum sim_fault {
    SIM_FAULT_READ,  /* io_read, fs_read: -EIO */
    SIM_FAULT_WRITE, /* io_write, io_commit, fs_write: -EIO, any part may have been written */
    SIM_FAULT_SYNC,  /* io_sync, io_commit, fs_sync: -EIO, any part became durable; the rest never
                        will */
    SIM_FAULT_ALLOCATE, /* fs_allocate: -ENOSPC */
    SIM_FAULT_NAMES,    /* create, rename, unlink, mkdir, rmdir, sync_dir: -EIO */
    SIM_FAULT_RESET,    /* a segment that arrives resets the connection */
    SIM_FAULTS
};

/* The n-th occasion from now fails (1 = the next), and the `repeat` after it too; 0 = off. */
void sim_fault_arm(struct sim *sim, enum sim_fault fault, uint64_t n, uint64_t repeat);
/* Every occasion fails with this chance of a million. */
void sim_fault_chance(struct sim *sim, enum sim_fault fault, unsigned per_million);
/* Only files whose path contains the text are meant (NULL = all); not for RESET. Text is copied. */
void sim_fault_only(struct sim *sim, const char *text);
uint64_t sim_fault_count(const struct sim *sim, enum sim_fault fault);
/* Space on the disk, see sim_disk.h. */
struct sim_disk *sim_disk(struct sim *sim);

/* Kinds of durability that the disk claims and does not give: the canary that a durability test
 * must find. */
enum sim_lie { SIM_LIE_NONE = 0, SIM_LIE_COMMIT = 1, SIM_LIE_SYNC = 2, SIM_LIE_DIR = 4 };
void sim_lie(struct sim *sim, unsigned lies);

/* ---- power cuts ------------------------------------------------------------------------------ */

/* With SIM_CRASH_KILL the same as sim_kill. Otherwise power fails and comes back: every loop of
 * this machine vanishes without a call, operations in flight happened, or not, or in part; the disk
 * is what `mode` leaves. The memory of the code under test is its owner's problem (sim_mem.h). Wall
 * and monotonic time go on. */
void sim_crash(struct sim *sim, enum sim_crash mode);
/* The processes of this machine end without a word (SIGKILL): their loops vanish, operations in
 * flight happened, or not, or in part. The disk and what it has not made durable yet stay. */
void sim_kill(struct sim *sim);
/* A power cut, or a kill, on a new sim without loops, seeded anew; this one does not notice. */
struct sim *sim_fork(struct sim *sim, enum sim_crash mode, uint64_t seed);

/* Moments at which power may fail: bits. */
enum sim_moment {
    SIM_BEFORE_SYNC = 1, /* of a file, a range or a directory: it is in flight */
    SIM_AFTER_SYNC = 2,  /* it is complete, and nobody was told */
    SIM_AFTER_NAME = 4,  /* a create, rename, unlink, mkdir or rmdir */
    SIM_AFTER_WRITE = 8, /* a write (of one in pieces: each), truncate or allocate */
    SIM_ANY_MOMENT = 15
};

/* Called at such a moment with the number of the point: sim_fork here tries the power cut. May not
 * change this sim. NULL = none. The first is for SIM_BEFORE_SYNC alone. */
typedef void (*sim_point_fn)(void *ctx, struct sim *sim, uint64_t point);
void sim_on_sync_point(struct sim *sim, sim_point_fn point, void *ctx);
void sim_on_moments(struct sim *sim, unsigned moments, sim_point_fn point, void *ctx);
/* How many there were: syncs, and the other moments that were asked for. */
uint64_t sim_sync_points(const struct sim *sim);

/* ---- the record of a run --------------------------------------------------------------------- */

/* One line of the trace: time and text; hashed always, printed on demand. */
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t sim_trace_hash(const struct sim *sim);
/* A log that writes into the trace. */
struct log *sim_log(struct sim *sim);
/* Randomness for the workload, from the seed, apart from the simulator's own. */
struct prng *sim_rng(struct sim *sim);

#endif
