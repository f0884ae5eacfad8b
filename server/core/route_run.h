/*
 * route_run.h - runs: messages written behind each other into chunks, for another worker or for
 * later.
 *
 * A run is one chunk that begins with a struct lane_item, so that it travels through a lane as it
 * is. The format is described in route_run.c; it never leaves the process.
 */
#ifndef CORE_ROUTE_RUN_H
#define CORE_ROUTE_RUN_H

#include "lib/base/chunk.h"
#include "lib/base/lane_item.h"
#include "server/core/msg.h"

#include <stdbool.h>
#include <stdint.h>

struct router;
struct delivery;
struct route_pick;
struct account;
struct route_run;

/* Runs under construction for one destination: finished ones in order, then the open one.
 * Zero-initialised is empty. */
struct run_writer {
    struct lane_item *head, *tail;
    struct route_run *open;
    bool more; /* a run has been filled: the next one is big */
    uint64_t bytes;
};

enum run_kind {
    RUN_INTEREST, /* to the plain subscriptions of the worker, and to the picks listed */
    RUN_ROUTE,    /* route it as if it were published now */
    RUN_DEFERRED, /* to the one pick listed, whose sink was in its deliver */
    RUN_BOUNCE,   /* tell the sink bounce_to that bounce_seq found nobody */
    RUN_NOBODY,   /* answer 503 on origin_conn */
};

struct run_put {
    enum run_kind kind;
    bool plain; /* RUN_INTEREST */
    bool alone; /* else the message has other receivers: MSG_F_BOUNCE is taken off, and
                   MSG_F_SHARED put on */
    const struct delivery *delivery;
    const struct msg *m;
    const struct route_pick *picks; /* only those for `worker` are taken */
    uint32_t npicks;
    uint32_t worker;
};

/* Appends; false when memory is short (counted as dropped). Payloads of MSG_SLICE_MIN and more that
 * lie in a chunk are referenced, all else is copied. */
bool run_put(struct router *r, struct run_writer *w, const struct run_put *p);
/* Takes all runs out, linked by next, and begins anew. */
struct lane_item *run_take_all(struct run_writer *w);
/* Puts ready-made runs behind what is there. */
void run_append(struct run_writer *w, struct lane_item *runs);
/* Frees them unsent. */
void run_discard(struct run_writer *w, struct chunk_pool *pool);
bool run_is_empty(const struct run_writer *w);
/* All messages that wait there, in order; the views live as long as the run. */
void run_each(const struct run_writer *w,
              void (*each)(void *ctx, struct str subject, struct str payload), void *ctx);

/* Appends to the runs for another worker and posts those that are full. */
bool route_send(struct router *r, const struct run_put *p);
/* Posts ready-made runs behind what was sent so far. */
void route_send_runs(struct router *r, uint32_t worker, struct lane_item *runs);
/* Executes a run in place and frees it; at depth 0. */
void run_execute(struct router *r, struct lane_item *run);

#endif
