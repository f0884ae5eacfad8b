/*
 * worker.h - one thread of the server: a loop over its own I/O, and everything that lives on it.
 *
 * worker_step is one iteration, in this order: completions and their callbacks (io_poll), tasks
 * from others, inbound lanes, JetStream, commits, lanes out, connections out. The loop itself is
 * four lines (worker_main), so that the simulator can step several workers in one thread.
 *
 * Ownership: the worker owns its env, io, chunk pool, router, net, js and store. Lanes between
 * workers are owned by the group: lane[i][j] carries items from i to j.
 */
#ifndef SERVER_WORKER_H
#define SERVER_WORKER_H

#include "lib/io/io.h"
#include "lib/io/lane.h"
#include "server/core/env.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct ask_all;
struct store;
struct worker_group;

/* Lane item kinds beside the router's (core/route.h). */
enum { LANE_FENCE = 2, LANE_FENCE_BACK = 3 };

/* Counters other threads may read at any time (relaxed): the watchdog and /varz. */
struct worker_meter {
    _Atomic uint64_t iterations;
    _Atomic uint64_t busy_ns; /* inside iterations, without waiting */
    _Atomic uint64_t slow;    /* iterations over WORKER_SLOW_NS */
    _Atomic uint64_t slow_ns_max;
    /* Share of the time it was busy, of 1000, smoothed over windows of WORKER_WINDOW_NS; and when
     * the last one ended: an idle worker has no iterations to say so. */
    _Atomic uint32_t share;
    _Atomic uint64_t share_ns;
    uint64_t window_began, window_busy; /* its own thread's */
};

/* An iteration longer than this is counted and logged at debug level: nothing on a worker may
 * block. */
#define WORKER_SLOW_NS 5000000u
#define WORKER_WINDOW_NS 100000000u

struct worker {
    struct env env; /* first: env_task callbacks get it */
    struct worker_group *group;
    struct store *store;
    struct prng prng;
    pthread_t thread;
    bool running; /* thread started */
    bool busy;    /* the last iteration left something to do at once */
    atomic_bool stop;

    pthread_mutex_t inbox_lock; /* guards inbox alone; held for a list operation */
    struct env_task *inbox_head, **inbox_tail;
    atomic_bool inbox_full; /* a look without the lock */

    struct ask_all *stopping; /* the shutdown this worker is part of */
    struct list fences;       /* round trips under way, oldest first */
    struct worker_meter meter;
    uint64_t reported; /* to the budget */
    uint64_t dropped;  /* when it last closed a connection for want of memory */
};

struct worker_group_options {
    unsigned workers;
    struct io_config io; /* backend, threads, spin */
    struct log *log;
    const struct options *options;
    struct account_set *accounts;
    struct account *account, *system_account;
    const char *server_id, *server_name, *version;
    const struct server_keys *keys;
    uint64_t seed; /* 0 = from the system */
    /* Opens the loop of one worker; NULL = io_open with `io`. The simulator gives its own. */
    int (*open_io)(void *ctx, unsigned worker, struct io **out);
    void *ctx;
};

/* Makes all workers with their loops, routers and lanes; no thread runs yet. 0 or a negative errno.
 */
int worker_group_open(const struct worker_group_options *options, struct worker_group **out);
unsigned worker_group_count(const struct worker_group *g);
struct worker *worker_group_get(struct worker_group *g, unsigned index);
/* Limits the memory of all buffers; before start. */
void worker_group_set_memory(struct worker_group *g, uint64_t bytes);
/* Starts the threads. 0 or a negative errno. */
int worker_group_start(struct worker_group *g);
/* Tells every loop to end after its current iteration and joins. */
void worker_group_stop(struct worker_group *g);
/* Between stop and close, when net and js are gone: runs the tasks that were posted too late, so
 * that they free what they carry. */
void worker_group_drain(struct worker_group *g);
/* All net, js and store objects are closed. */
void worker_group_close(struct worker_group *g);

/* One iteration, waiting at most max_wait_ns for something to happen. */
void worker_step(struct worker *w, uint64_t max_wait_ns);

/* Runs the task on that worker's thread; from any thread, also the main one. */
void worker_post(struct worker *w, struct env_task *task);

/*
 * ask_all: the one way to do something on every worker and then answer once (monitoring documents,
 * reload, shutdown). step runs on each worker's thread, with no order between workers, and calls
 * ask_all_stepped when its part is complete (at once or later); after the last one done runs on the
 * main thread.
 */
struct ask_all {
    void (*step)(struct ask_all *ask, struct worker *w);
    void (*done)(struct ask_all *ask);
    /* private */
    atomic_uint left;
    struct worker_group *group;
    struct ask_all *next;
    struct ask_all_task *tasks;
};
/* From the main thread. The caller keeps `ask` alive until done. */
void ask_all_start(struct worker_group *g, struct ask_all *ask);
void ask_all_stepped(struct ask_all *ask);
/* How finished asks reach the main thread: called on a worker's thread; must make the main thread
 * call ask_all_reap soon. Set once before start. */
void worker_group_on_done(struct worker_group *g, void (*notify)(void *ctx), void *ctx);
/* Runs done of the finished ones; main thread. */
void ask_all_reap(struct worker_group *g);

#endif
