/*
 * parts.h - everything of a server that lives on its workers, without what lives on the main
 * thread (signals, monitoring, files, banner).
 *
 * server.c opens the parts one after the other and says on the log what it did; the simulator opens
 * the same parts on loops of its own and steps the workers by hand. Opening and closing happen on
 * one thread while no worker runs.
 *
 * Zero-initialised is closed. After a failed step only parts_close may follow.
 */
#ifndef SERVER_PARTS_H
#define SERVER_PARTS_H

#include "lib/io/io.h"
#include "server/kafka/kafka.h"
#include "server/worker.h"

#include <stdbool.h>
#include <stdint.h>

struct account;
struct account_set;
struct js_server;
struct kafka_shared;
struct net_shared;
struct options;
struct server_keys;
struct store_dir;
struct tls_context;

struct server_parts_options {
    const struct options *options;
    struct log *log;
    const char *server_id;
    const struct server_keys *keys; /* NULL = it signs nothing */
    const char *version;
    unsigned workers;
    struct io_config io;
    uint64_t memory_bytes; /* the machine's; 0 = memory streams have no limit but a configured one
                            */
    uint64_t seed;         /* of the interest's hashes */
    uint64_t workers_seed; /* of the workers' generators; 0 = each from the system */
    int (*open_io)(void *ctx, unsigned worker, struct io **out); /* NULL = io_open with `io` */
    void *ctx;

    /* The store's, see store_dir_options; 0 = its defaults. */
    uint64_t store_seed;
    uint64_t log_file_bytes, segment_bytes_min, segment_bytes_max, index_lazy_bytes, seal_bytes;
    struct kafka_limits kafka_limits;
};

struct server_parts {
    const struct options *options;
    struct log *log;
    uint64_t store_seed, log_file_bytes, segment_bytes_min, segment_bytes_max, index_lazy_bytes,
        seal_bytes;
    struct kafka_limits kafka_limits;
    uint64_t memory_bytes, memory_share; /* the machine's; what buffers and memory streams may have
                                          */
    struct account_set *accounts;
    struct account *account, *system_account; /* of the set */
    const struct accounts *said; /* of the accounts: the options', or what their claims say */
    struct worker_group *workers;
    struct store_dir *store_dir;
    struct js_server *js_server;
    struct net_shared *net_shared;
    struct kafka_shared *kafka_shared; /* NULL = no Kafka listener */
    struct ask_all stopping;
    void (*stopped)(struct server_parts *p);
    struct ask_all leaving; /* of JetStream alone */
    void (*left)(struct server_parts *p);
};

/* Accounts, loops, routers and lanes. False: `why` says it. */
bool parts_open_workers(struct server_parts *p, const struct server_parts_options *o,
                        char why[256]);
/* The store directory at `path` with its recovery, then every worker's store and JetStream. One
 * that is in use and that no option has named: `path`.1 or the next that is free. With workers that
 * run only while they pause. After a failed step parts_stop_jetstream may follow, when there is a
 * store_dir. */
bool parts_open_jetstream(struct server_parts *p, const char *path, char why[256]);
/* JetStream goes, clients stay: consumer states and commits durable, the directory clean and
 * closed; then left is called by ask_all_reap. Nothing else is stopped meanwhile. There is no Kafka
 * listener, and the workers run. */
void parts_stop_jetstream(struct server_parts *p, void (*left)(struct server_parts *p));
/* The part of one worker, when its connections have ended; then its `stopping` has its step. */
void parts_end_jetstream(struct worker *w);
/* What the tls blocks of the doors became; NULL = none. The caller's. */
struct parts_tls {
    struct tls_context *clients, *websocket, *leaf;
};
/* Every worker's connections, and the clients' listener on worker 0. tls: NULL = none. port: what
 * it became. */
bool parts_open_net(struct server_parts *p, const struct parts_tls *tls, char host[64],
                    uint16_t *port, char why[256]);
/* The listener for WebSocket, when the options have one; else port is 0. */
bool parts_open_websocket(struct server_parts *p, char host[64], uint16_t *port, char why[256]);
/* Leaf nodes: their listener, when the options have one, else port is 0; and the servers that this
 * one connects to. */
bool parts_open_leafs(struct server_parts *p, char host[64], uint16_t *port, char why[256]);
void parts_set_tls(struct worker *w, const struct parts_tls *tls);

/* Every worker's Kafka connections, and their listener, when the options have one; else port is 0.
 */
bool parts_open_kafka(struct server_parts *p, uint16_t *port, char why[256]);

/* Connections flushed and closed, consumer states and commits durable, stores closed; then stopped
 * is called by ask_all_reap. The workers must run. */
void parts_stop(struct server_parts *p, void (*stopped)(struct server_parts *p));
/* Frees everything; no worker runs any more. After parts_stop the directory is marked clean. */
void parts_close(struct server_parts *p);

#endif
