/*
 * env.h - what a worker hands down to the layers it runs: net, js, kafka. One per worker, alive as
 * long as it.
 *
 * It exists so that lower layers never include worker.h. Everything in it belongs to this worker's
 * thread, except post, which reaches the others.
 */
#ifndef CORE_ENV_H
#define CORE_ENV_H

#include "lib/base/chunk.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/prng.h"
#include "server/core/account.h"
#include "server/core/route.h"

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct io;
struct options;
struct server_keys;
struct tls_context;
struct env;
struct kafka;

/* Something to run once on another worker's thread (or on the own one, later). Embedded in its
 * owner, who may free it in run. Control traffic only: never per message. */
struct env_task {
    struct env_task *next;
    void (*run)(struct env_task *task, struct env *env); /* env of the worker it runs on */
};

/* A round trip through all lanes: when passed() is called, every other worker has consumed what
 * this one sent before, and this one has consumed what they had sent before they saw the fence. A
 * PONG after publishes to other workers and the end of an UNSUB wait for one. With one worker there
 * is nothing to wait for: passed() comes in the next iteration; callers on a hot path look at
 * env->workers first. */
struct env_fence {
    struct list link;
    uint32_t waiting;
    void (*passed)(struct env_fence *fence);
};

/* An account that has to be fetched: by its key, in operator mode. Embedded in its owner, who keeps
 * it until done() is called, on the worker that asked. */
struct account_lookup {
    struct env_task task; /* the carrier's */
    char name[57];
    bool found; /* done: account_set_find finds it, with claims that hold */
    void (*done)(struct account_lookup *l);
    uint32_t worker;
    struct account_lookup *next; /* the carrier's */
};

/* The certificates of somebody who shows one, which their responders are to be asked about.
 * Embedded in its owner, who keeps it, the chain and the rules until done() is called, on the
 * worker that asked. */
struct peer_check {
    struct env_task task;        /* the carrier's */
    struct stack_st_X509 *chain; /* verified; the one that was shown is the first */
    const struct ocsp_peer_options *rules;
    bool good;
    int at;           /* not good: which of the chain; -1 = none */
    char reason[128]; /* and why */
    void (*done)(struct peer_check *p);
    uint32_t worker;
    int link;                /* the carrier's: where it is in the chain */
    bool was_revoked;        /* the carrier's: by an answer that is out of date */
    struct peer_check *next; /* the carrier's */
};

struct env {
    uint32_t worker; /* own index; 0 is also the registrar and the acceptor */
    uint32_t workers;
    struct io *io;
    struct chunk_pool *chunks;
    struct log *log;
    struct prng *prng;
    struct router *router;
    struct account_set *accounts;      /* all; shared */
    struct account *account;           /* $G: of users that name none */
    struct account *system_account;    /* $SYS, or the one the options name */
    const struct options *options;     /* the current snapshot; replaced between iterations */
    struct tls_context *tls;           /* of its tls block, or NULL; belongs to the server */
    struct tls_context *tls_websocket; /* that of its websocket block */
    struct tls_context *tls_leaf;      /* and of its leafnodes block */
    const char *server_id;             /* 56 characters, starts with N */
    const struct server_keys *keys;    /* its secret parts (net/callout.h); NULL = there are none */
    const char *server_name;
    const char *version;         /* the NATS version whose features we have, for INFO and varz */
    _Atomic uint64_t *event_seq; /* of what is said in the system account; NULL = nothing is */
    /* Connections have come to an account or have gone; NULL = nobody cares. Own thread. */
    void (*account_changed)(struct env *env, struct account *a);
    void *sys; /* of who set account_changed */
    /* Says who that connection of this worker is, as a JSON object; nothing when it has gone. NULL
     * without connections. Own thread. */
    void (*client_info)(struct env *env, handle conn, struct buf *out);

    /* Any worker; FIFO per pair of workers. The target runs it in its next iteration. */
    void (*post)(struct env *env, uint32_t worker, struct env_task *task);

    /* Which worker takes the next connection or stream. Worker 0's thread; the newcomer counts. */
    uint32_t (*place)(struct env *env);

    /* Own thread; never calls back before it returns. */
    void (*fence)(struct env *env, struct env_fence *fence);

    /* Fetches an account (account_lookup); done() comes later, never from within. NULL = nobody
     * does. */
    void (*lookup)(struct env *env, struct account_lookup *l);
    void *lookup_ctx;

    /* Asks about certificates (peer_check); done() comes later, never from within. NULL = nobody
     * does. */
    void (*judge)(struct env *env, struct peer_check *p);
    void *judge_ctx;

    bool refuse_ingest; /* memory is short (core/budget.h): streams take no messages */

    /* Set by the layers, read by each other through their public headers only. */
    struct net *net;
    struct jetstream *jetstream;
    struct kafka *kafka; /* NULL = no Kafka listener */
    /* What Kafka clients do on this worker, for monitoring (server/monitor/kafkaz.c); NULL = there
     * are none. Own thread. */
    struct json_t *(*kafka_info)(struct env *env);
    /* A request will remove messages of a stream of this worker: whoever learns something from them
     * at a start writes it down. True: done. False: go_on is called when it is, or when the stream
     * goes. NULL = nobody learns. */
    bool (*before_removal)(struct env *env, const struct account *a, struct str stream,
                           void (*go_on)(void *ctx), void *ctx);
};

#endif
