/*
 * io_pool.h - the threads behind a loop: some that write and sync, some for everything else that
 * blocks.
 *
 * The loop queues operations; a thread runs each once (run(ctx, op) sets op->res) and hands it
 * back; the loop takes what is finished. While an operation is queued or running it is the pool's;
 * only its link and res are written. Two queues, so that a commit never waits behind a directory
 * scan or a name lookup.
 *
 * Waking: the pool calls wake(ctx) after every finished operation, from its thread; the other way a
 * queue's threads spin for a moment when work comes in series, and sleep on a condition else.
 */
#ifndef IO_IO_POOL_H
#define IO_IO_POOL_H

#include "lib/io/io.h"

#include <stdbool.h>

struct io_pool;

enum pool_queue { POOL_COMMIT, POOL_WORK, POOL_QUEUES };

struct pool_config {
    unsigned threads[POOL_QUEUES];
    uint64_t spin_ns;
    void (*run)(void *ctx, struct io_op *op); /* pool threads */
    void (*wake)(void *ctx);                  /* pool threads */
    void *ctx;
};

/* Starts the threads: a negative errno when the system gives none. */
int pool_open(const struct pool_config *config, struct io_pool **out);
/* Runs what is queued, stops the threads; pool_take may be called once more before pool_free. */
void pool_stop(struct io_pool *p);
void pool_free(struct io_pool *p);

void pool_submit(struct io_pool *p, enum pool_queue queue, struct io_op *op);
/* True: it had not started and is the caller's again. False: it will be finished. */
bool pool_cancel(struct io_pool *p, enum pool_queue queue, struct io_op *op);
/* Whether something is finished; cheap. */
bool pool_ready(const struct io_pool *p);
/* Appends what is finished to `to`, in the order in which it finished. */
void pool_take(struct io_pool *p, struct list *to);

#endif
