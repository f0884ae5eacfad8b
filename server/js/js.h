/*
 * js.h - JetStream of one worker, as main, the worker loop and monitoring see it.
 *
 * One struct jetstream per worker drives that worker's streams and consumers, of all accounts, over
 * its struct store. struct js_server is what all workers share: per account a directory of stream
 * and consumer names -> (worker, sink handle), subject claims and usage; worker 0 (the registrar)
 * alone changes names and claims, everybody reads under a read-write lock that never spans a
 * callback.
 *
 * Which accounts have JetStream: the default one when the options define no others, else those
 * whose block says so. Accounts without it answer requests with an error, as does the system
 * account, which can purge others (ACCOUNT.PURGE). An account that comes later gets JetStream then;
 * what the store has of it from an earlier run stays as it is until the next start.
 */
#ifndef JS_JS_H
#define JS_JS_H

#include "lib/base/buf.h"
#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct jetstream;
struct js_server;
struct store;
struct store_dir;

/* said: the options' accounts or, in operator mode, what their claims say. memory, disk: what the
 * limits are taken to be when they are not configured. */
struct account_jetstream;
struct accounts;
struct js_server *js_server_open(const struct options *options, struct account_set *accounts,
                                 const struct accounts *said, const struct account *system,
                                 struct store_dir *dir, uint64_t memory, uint64_t disk);
/* An account is new, or has other limits; NULL = none, JetStream is off for it. Main thread, while
 * no jetstream_account runs; then jetstream_account on every worker. */
void js_server_account(struct js_server *server, struct account *a,
                       const struct account_jetstream *limits);
/* The server's own limits, as far as the options say any, after a reload. */
void js_server_limits(struct js_server *server, const struct options *options);
/* All of them, after a reload; then jetstream_accounts on every worker. */
void js_server_accounts(struct js_server *server, const struct options *options,
                        struct account_set *accounts, const struct accounts *said,
                        const struct account *system);
void js_server_close(struct js_server *server);

/* Who wants to hear of every stream of an account, of every worker: that it is there, or has
 * changed (there), and that it has gone. Called on the stream's worker, or while no worker runs;
 * name and config are borrowed. One at most, set before jetstream_open. */
struct stream_config;
struct js_watch {
    void (*there)(void *ctx, const struct stream_config *config, int64_t created, uint32_t worker);
    void (*gone)(void *ctx, struct str name);
    void *ctx;
};
/* Can it ever have streams (is it not the system account)? */
bool js_server_has(const struct js_server *server, const struct account *a);
void js_server_watch(struct js_server *server, const struct account *a, struct js_watch watch);

/* Attaches to the recovered streams and consumers of this worker's store, publishes their interest,
 * and starts to serve $JS.API. Called for all workers before the first connection is accepted. Sets
 * env->jetstream. */
void jetstream_open(struct env *env, struct js_server *server, struct store *store);
/* Loop stage after the lanes are drained and before store_step: ingest runs, deliveries, timers'
 * work. True = more soon. */
bool jetstream_step(struct jetstream *j);
/* Something for jetstream_step came up since it ran: the store's stage behind it has called back.
 */
bool jetstream_waiting(const struct jetstream *j);
/* What js_server_account was told, on this worker. */
void jetstream_account(struct jetstream *j, const struct account *a);
void jetstream_accounts(struct jetstream *j);
/* Ends waiting pulls with 409 Server Shutdown, while there are still connections to hear it. */
void jetstream_end_pulls(struct jetstream *j);
/* Nobody reaches it any more: what is published is for others, and pulls have ended. Clients may
 * stay; jetstream_shutdown follows behind a fence. */
void jetstream_leave(struct jetstream *j);
/* Ends the pulls that have come since, saves consumer states; closed is called when all is
 * durable. */
void jetstream_shutdown(struct jetstream *j, void (*closed)(void *ctx), void *ctx);
/* And env->jetstream is NULL. */
void jetstream_close(struct jetstream *j);

struct js_stats {
    uint64_t streams, consumers, messages, bytes, memory, storage;
    uint64_t reserved_memory, reserved_storage; /* max_bytes of streams that have one */
    uint64_t api_total, api_errors;
    /* Of the whole server, the same at every worker. */
    uint64_t max_memory, max_storage, accounts, api_inflight;
};
/* Of all accounts together. */
void jetstream_stats(const struct jetstream *j, struct js_stats *out);
/* Does this account have JetStream? */
bool jetstream_has(const struct jetstream *j, const struct account *a);

/* For /jsz: what this worker has, as JSON text appended to out: an array with an object for each
 * account that has JetStream, with its sums and, when asked for, streams, consumers, their
 * configurations. In slices, because there may be very many: `most` accounts, streams and consumers
 * at a time, or one stream that has more. False: that was the last one, and the text is whole. What
 * comes meanwhile may be left out. */
struct js_detail_options {
    bool streams, consumers, direct_consumers, config, raft;
};
/* How far it is; zero-initialised before the first slice. */
struct js_details_at {
    uint32_t account;
    bool inside;        /* an account has its beginning, not its end */
    bool second;        /* a comma goes before the next one */
    struct buf streams; /* names of the account's, each with its NUL */
    size_t next;        /* the stream to go on with, in there */
};
bool jetstream_details(struct jetstream *j, const struct js_detail_options *o,
                       struct js_details_at *at, size_t most, struct buf *out);
void jetstream_details_end(struct js_details_at *at);

/* For /healthz: does this worker have what is named (NULL = not asked for), and which of its
 * streams are not well? The account is found at every worker. lost: to damage, so many messages,
 * and more than the stream's metadata says somebody has seen. */
#define JS_LOST_SEEN "midge.lost_seen"
struct js_health_question {
    const char *account, *stream, *consumer;
    void (*bad)(void *ctx, const char *account, const char *stream, const char *reason);
    void (*lost)(void *ctx, const char *account, const char *stream, uint64_t msgs);
    void *ctx;
};
struct js_health {
    bool account, stream, consumer;
    bool log_alone; /* store_log_is_alone */
};
void jetstream_health(const struct jetstream *j, const struct js_health_question *q,
                      struct js_health *out);

#endif
