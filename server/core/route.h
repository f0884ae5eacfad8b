/*
 * route.h - from a subject to sinks: the hot middle of the server. One router per worker.
 *
 * route_publish resolves a subject through the worker's match cache (about 10 ns when cached, 2 ns when it is the same
 * subject as before) and hands the message on: to sinks of this worker by a call, once to every other worker with
 * interest by an entry in the run for that worker, and for each queue group to one member picked uniformly over all
 * workers. Consecutive messages with one and the same single local sink are gathered into runs of up to
 * ROUTE_RUN messages, so that a stream's ingest or a subscriber is called once per run; route_flush ends a run and must be called
 * before the bytes behind the messages go away (end of a receive buffer, end of a lane run).
 *
 * Order: messages of one publisher to one sink stay in order, because runs are flushed before anything that could
 * overtake them and because lanes are FIFO.
 *
 * A pick or a cached answer may be stale when it arrives at its worker: plain: dropped; queue: the target worker
 * picks again among all members, and with nobody left answers 503 to a reply; MSG_F_BOUNCE: bounced.
 *
 * Direct subjects: for subjects that begin with "$JS." a resolver (the JetStream layer) may name the sink by parsing instead of by the
 * trie ($JS.ACK, $JS.FC, CONSUMER.MSG.NEXT); other subscribers of such subjects still get theirs.
 */
#ifndef CORE_ROUTE_H
#define CORE_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/prng.h"
#include "server/core/account.h"
#include "server/core/msg.h"
#include "server/core/sink.h"

#define ROUTE_RUN 64u

struct router;
struct lane_item;

struct route_target {
    uint32_t worker;
    handle sink;
};

/* What the worker gives its router. */
struct router_options {
    uint32_t worker;   /* own index */
    uint32_t workers;  /* how many there are */
    struct chunk_pool *chunks;
    struct prng *prng;
    uint64_t hash_seed;
    /* Hands a finished run (route_run_* below) to another worker; takes it over. */
    void (*post)(void *ctx, uint32_t worker, struct lane_item *run);
    void *ctx;
    uint32_t cache_entries; /* per account; default 16384 */
};

struct router *router_open(const struct router_options *options);
void router_close(struct router *r);

/* Registers a sink on this worker: sets s->self. 0 when the table is full (limit 16 M). */
handle router_sink_add(struct router *r, struct sink *s);
void router_sink_remove(struct router *r, struct sink *s);
struct sink *router_sink_get(struct router *r, handle h);

/* The resolver for "$JS." subjects: true and the target when the subject is one of its own. */
typedef bool (*route_resolve_fn)(void *ctx, struct account *a, struct str subject, struct route_target *out);
void router_set_resolver(struct router *r, route_resolve_fn fn, void *ctx);

struct route_result {
    uint32_t receivers; /* sinks and workers that will get it; 0 = no responders */
    bool stall;         /* a receiver is above 75 % of its output limit: slow this publisher down */
};

/* m->subject is the routing key. */
struct route_result route_publish(struct router *r, struct account *a, const struct msg *m);
/* Routes by `key` while receivers see m->subject: a delivery to a pull's inbox or a deliver subject. prefix_hint: key is an
 * inbox whose last token is unique; resolve by prefix first. */
struct route_result route_deliver(struct router *r, struct account *a, struct str key, const struct msg *m);
/* Deliver to one member of this queue group only (push consumers with a deliver group use the ordinary rule: the group is a
 * queue group of the deliver subject). Ends the run being gathered. */
void route_flush(struct router *r);

/* A receiver sets this during deliver when it is nearly full; route_publish reports it. */
void router_note_stall(struct router *r);

/* ---- held replies: routed now, sent when something has become durable ------------------------- */

/*
 * A hold gathers complete messages (PubAcks) in order, per destination, as finished bytes: local client subscriptions get
 * rendered frames, other workers get encoded runs. hold_release moves the buffers to their destinations; frames whose
 * subscription has gone meanwhile are routed again one by one from their bytes. Resolving is done once per run of
 * replies with the same prefix. About 25 ns for a PubAck. Owned by who made it; all calls on the router's worker.
 */
struct hold;
struct hold *hold_open(struct router *r, struct account *a);
/* to: the reply subject. Copies everything. */
void hold_add(struct hold *h, struct str to, struct str header, struct str payload);
uint64_t hold_count(const struct hold *h);
uint64_t hold_bytes(const struct hold *h);
/* Sends all and frees the hold. */
void hold_release(struct hold *h);
/* Frees it unsent. */
void hold_drop(struct hold *h);

/* ---- runs from other workers ------------------------------------------------------------------- */

/* Lane item kinds of the router. */
enum { LANE_RUN = 1 };

/* Publishes the runs gathered for other workers: at the end of an iteration, and earlier when they are full. */
void router_flush_remote(struct router *r);
/* Frees a run that nobody will take, at shutdown. */
void route_run_free(struct lane_item *run, struct chunk_pool *pool);
/* Executes a run that arrived; frees it. */
void router_take(struct router *r, struct lane_item *run);

struct router_stats {
    uint64_t published, delivered, remote, cache_hits, cache_misses, queue_repicks, bounces, no_responders;
    uint64_t cache_entries;
};
void router_stats(const struct router *r, struct router_stats *out);
void router_check(struct router *r);

#endif
