/*
 * js.h - JetStream of one worker, as main, the worker loop and monitoring see it.
 *
 * One struct js per worker drives that worker's streams and consumers over its struct store. struct
 * js_shared is the directory all workers share: stream and consumer names -> (worker, sink handle),
 * subject claims, account usage; worker 0 (the registrar) alone changes names and claims, everybody
 * reads under a read-write lock that never spans a callback.
 */
#ifndef JS_JS_H
#define JS_JS_H

#include "lib/base/buf.h"
#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct js;
struct js_shared;
struct store;
struct store_dir;

/* memory, disk: what the limits are taken to be when they are not configured. */
struct js_shared *js_shared_open(const struct options *options, struct store_dir *dir,
                                 uint64_t memory, uint64_t disk);
void js_shared_close(struct js_shared *shared);

/* Who wants to hear of every stream of every worker: that it is there, or has changed (there), and
 * that it has gone. Called on the stream's worker, or while no worker runs; name and config are
 * borrowed. One at most, set before js_open. */
struct stream_config;
struct js_watch {
    void (*there)(void *ctx, const struct stream_config *config, int64_t created, uint32_t worker);
    void (*gone)(void *ctx, struct str name);
    void *ctx;
};
void js_shared_watch(struct js_shared *shared, struct js_watch watch);

/* Attaches to the recovered streams and consumers of this worker's store, publishes their interest,
 * and starts to serve $JS.API. Called for all workers before the first connection is accepted. */
void js_open(struct env *env, struct js_shared *shared, struct store *store, struct js **out);
/* Loop stage after the lanes are drained and before store_step: ingest runs, deliveries, timers'
 * work. True = more soon. */
bool js_step(struct js *js);
/* Something for js_step came up since it ran: the store's stage behind it has called back. */
bool js_waiting(const struct js *js);
/* Ends waiting pulls with 409 Server Shutdown, while there are still connections to hear it. */
void js_end_pulls(struct js *js);
/* Ends the pulls that have come since, saves consumer states; closed is called when all is
 * durable. */
void js_shutdown(struct js *js, void (*closed)(void *ctx), void *ctx);
void js_close(struct js *js);

struct js_stats {
    uint64_t streams, consumers, messages, bytes, memory, storage;
    uint64_t reserved_memory, reserved_storage; /* max_bytes of streams that have one */
    uint64_t api_total, api_errors, api_inflight;
    /* Of the whole server, the same at every worker. */
    uint64_t max_memory, max_storage;
};
void js_stats(const struct js *js, struct js_stats *out);

/* For /jsz and /healthz: what this worker has, as plain JSON text appended to out (an array of
 * stream details), with config and consumers when asked. */
struct js_detail_options {
    bool streams, consumers, config;
};
void js_details(struct js *js, const struct js_detail_options *o, struct buf *out);

#endif
