/*
 * kafka.h - Kafka clients of one worker, as the worker loop and parts.c see them; kafka_int.h is
 * the inside, docs/internals/kafka.md the whole.
 *
 * Worker 0 listens and hands connections out as it does those of NATS. A connection belongs to one
 * worker. struct kafka_shared is what all workers share: the topics.
 */
#ifndef KAFKA_KAFKA_H
#define KAFKA_KAFKA_H

#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct js_server;
struct kafka;
struct options;
struct kafka_shared;
struct store_dir;

/* Of a coordinator; 0: the usual one. */
struct kafka_limits {
    uint64_t txn_whole_least;  /* transactions with more are kept in pieces (txn_record.h) */
    uint64_t groups_held_most; /* what clients say of themselves and with offsets (held.h) */
};

/* Before jetstream_open, which tells it of the recovered streams: those of an account are its
 * topics. The cluster is the store: its id is that of the directory. */
struct kafka_shared *kafka_shared_open(const struct options *options, struct js_server *js,
                                       struct account_set *accounts, struct store_dir *dir,
                                       const struct kafka_limits *limits);
/* Accounts that a reload has made get topics. Main thread, before their JetStream begins on the
 * workers; then kafka_reload on every worker. */
void kafka_shared_accounts(struct kafka_shared *shared, struct js_server *js,
                           struct account_set *accounts);
/* The same for one account that claims have made, or given JetStream; then kafka_account_changed.
 */
void kafka_shared_account(struct kafka_shared *shared, struct js_server *js,
                          struct account_set *accounts, const struct account *a);
/* After the last jetstream_close. */
void kafka_shared_close(struct kafka_shared *shared);

void kafka_open(struct env *env, struct kafka_shared *shared, struct kafka **out);
/* Worker 0, before the workers run. Returns 0 or a negative errno. port: what it became. */
int kafka_listen(struct kafka *k, uint16_t *port);
/* The loop's stage behind net_step; true when something is left to do soon. */
bool kafka_step(struct kafka *k);
/* No new connections; the others answer what they can and are closed; then closed is called. While
 * JetStream still runs. */
void kafka_shutdown(struct kafka *k, void (*closed)(void *ctx), void *ctx);
void kafka_close(struct kafka *k);
/* No new connections; the others go on until the shutdown. */
void kafka_lame_duck(struct kafka *k);
/* The claims of an account changed (trust.h; now == NULL: it is gone), or it has expired: behind
 * jetstream_account. Clients that may not stay are closed. */
struct account;
struct trust;
void kafka_account_changed(struct kafka *k, struct account *a, const struct trust *before,
                           const struct trust *now);
/* env->options are new; clients that may not stay are closed. */
void kafka_reload(struct kafka *k, const struct options *before);

#endif
