/*
 * route.h - from a subject to sinks: the hot middle of the server. One router per worker.
 *
 * route_publish resolves a subject through the worker's match cache (match_cache.h) and hands the
 * message on: to sinks of this worker by a call, once to every other worker with interest by an
 * entry in the run for that worker, and for each queue group to one member picked uniformly over
 * all workers. Consecutive messages with one and the same single local sink are gathered into runs
 * of up to ROUTE_RUN messages, so that a stream's ingest or a subscriber is called once per run;
 * route_flush ends a run and must be called before the bytes behind the messages go away (end of a
 * receive buffer, end of a lane run, end of a handler that publishes from its own memory).
 * Gathering happens outside of deliveries only: what a sink publishes during deliver has been
 * delivered when route_publish returns.
 *
 * Order: messages of one publisher to one sink stay in order, because a run is flushed before
 * anything that could overtake it and because lanes are FIFO.
 *
 * A pick or a cached answer may be stale when it arrives: plain: dropped; queue: the worker where
 * that is found picks again among all members, and with nobody left answers 503 to a reply; a
 * direct target: 503; MSG_F_BOUNCE: bounced.
 *
 * Direct subjects: for subjects that begin with "$JS." a resolver (the JetStream layer) may name
 * the sink by parsing instead of by the trie ($JS.ACK, $JS.FC, CONSUMER.MSG.NEXT); other
 * subscribers of such subjects still get theirs.
 */
#ifndef CORE_ROUTE_H
#define CORE_ROUTE_H

#include "lib/base/lane_item.h"
#include "lib/base/prng.h"
#include "server/core/account.h"
#include "server/core/msg.h"
#include "server/core/sink.h"

#include <stdbool.h>
#include <stdint.h>

#define ROUTE_RUN 64u

struct account_link;
struct buf;
struct router;

struct route_target {
    uint32_t worker;
    handle sink;
    /* Bytes of the subject, with a dot at their end, that all subjects of this target share and
     * that are at least three tokens: "$JS.ACK.S.C.". Other subscribers are looked for once per
     * such prefix. 0: by the whole subject. */
    uint32_t prefix;
};

/* What the worker gives its router. */
struct router_options {
    uint32_t worker;  /* own index */
    uint32_t workers; /* how many there are */
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

/* Registers a sink on this worker: sets s->self. 0 when the table is full (limit 16 M). Order of
 * life: router_sink_add, interest_add; interest_remove, router_sink_remove. */
handle router_sink_add(struct router *r, struct sink *s);
/* From here on s is not touched. A run gathered for it is delivered first (not when called within a
 * delivery, where nothing is gathered). */
void router_sink_remove(struct router *r, struct sink *s);
struct sink *router_sink_get(struct router *r, handle h);

/* Once per iteration, before messages: for answers that are waited for. */
void router_set_time(struct router *r, uint64_t now_ns);

/* The resolver for "$JS." subjects: true and the target when the subject is one of its own. */
typedef bool (*route_resolve_fn)(void *ctx, struct account *a, struct str subject,
                                 struct route_target *out);
void router_set_resolver(struct router *r, route_resolve_fn fn, void *ctx);

/* A message from connection `conn` of this worker had a reply, was counted as received, and found
 * nobody after all (its only subscription, its queue member or its direct target has gone or does
 * not take it): answer 503 if that connection asked for it. */
typedef void (*route_nobody_fn)(void *ctx, handle conn, struct account *a, struct str subject,
                                struct str reply);
void router_set_nobody(struct router *r, route_nobody_fn fn, void *ctx);

struct route_result {
    uint32_t receivers; /* sinks and workers that will get it; 0 = no responders, and no bounce or
                           503 will follow */
    bool stall;         /* a receiver is above 75 % of its output limit: slow this publisher down */
};

/*
 * Tracing: a message whose way is written down. took is called for each sink of this worker before
 * it gets the message (or would get it: `only`), link for each link that is followed, sent for each
 * other worker that a record went to. There, the begin of router_set_tracing makes a tracer for
 * what the record meets (its sent is NULL), and end gets it back: one end for each sent, in their
 * order per pair of workers. What sinks publish in turn is not traced.
 */
struct route_tracer {
    bool only;
    void (*took)(struct route_tracer *t, struct sink *s, const struct msg *m);
    void (*sent)(struct route_tracer *t, uint32_t worker);
    void (*link)(struct route_tracer *t, const struct account *to, bool service, struct str from,
                 struct str subject);
};
struct route_result route_traced(struct router *r, struct account *a, const struct msg *m,
                                 struct route_tracer *t);
void router_set_tracing(struct router *r,
                        struct route_tracer *(*begin)(void *ctx, const struct msg *m),
                        void (*end)(void *ctx, struct route_tracer *t, uint32_t origin), void *ctx);

/*
 * What the router does not know of requests to services of other accounts. client appends a JSON
 * object that says who asked, more of it when `share`. ask may begin a measurement of a request
 * that goes along a link with latency (wanted: it has a reply subject); exactly one of the others
 * ends it: the first answer is there, or there will be none (503 nobody to ask, 504 too late).
 */
struct route_services {
    void (*client)(void *ctx, const struct account *a, const struct msg *m, bool share,
                   struct buf *out);
    void *(*ask)(void *ctx, const struct account_link *l, struct account *a, const struct msg *m,
                 bool wanted);
    void (*answered)(void *ctx, void *measure, const struct msg *m);
    void (*failed)(void *ctx, void *measure, int status);
};
void router_set_services(struct router *r, const struct route_services *services, void *ctx);
/* No answers of services are waited for any more. */
void router_drop_answers(struct router *r);

/* m->subject is the routing key. */
struct route_result route_publish(struct router *r, struct account *a, const struct msg *m);
/* Routes by `key` while receivers see m->subject: a delivery to a pull's inbox or a deliver subject
 * (a deliver group is a queue group of the deliver subject). No resolver. */
struct route_result route_deliver(struct router *r, struct account *a, struct str key,
                                  const struct msg *m);
/* What another server hands over: routed by `key` to plain subscriptions, and to a member of each
 * of the queue groups named (all of them with every_group), because that server has picked them.
 * Never back to origin_conn. */
struct route_groups {
    const struct str *names;
    unsigned n; /* at most ROUTE_LEAF_GROUPS */
    bool every_group;
};
#define ROUTE_LEAF_GROUPS 64u
struct route_result route_from_leaf(struct router *r, struct account *a, struct str key,
                                    const struct msg *m, const struct route_groups *groups);
/* Delivers the run being gathered, and what had to wait for the end of a delivery. True when a
 * receiver asked for a stall since the last result that said so. */
bool route_flush(struct router *r);
/* Something waits for the next route_flush: a gathered run, or messages that a flush has just put
 * off (sinks that publish to each other without end): do not sleep. */
bool router_busy(const struct router *r);

/* A receiver sets this during deliver when it is nearly full; route_publish or route_flush reports
 * it. */
void router_note_stall(struct router *r);

/* ---- held replies: routed now, sent when something has become durable ------------------------ */

/*
 * A hold gathers complete messages (PubAcks) in order, per destination, as finished bytes: local
 * client subscriptions get rendered frames, other workers get encoded runs. hold_release moves the
 * buffers to their destinations; frames whose subscription has gone or changed meanwhile are routed
 * again one by one from their bytes. Resolving is done once per run of replies with the same
 * prefix. About 30 ns for a PubAck, 20 of them to render it. Owned by who made it; all calls on the
 * router's worker. Everything must be released or dropped before router_close.
 */
struct hold;
struct hold *hold_open(struct router *r, struct account *a);
/* to: the reply subject. Copies everything. */
void hold_add(struct hold *h, struct str to, struct str header, struct str payload);
uint64_t hold_count(const struct hold *h);
uint64_t hold_bytes(const struct hold *h);
/* Sends all and frees the hold. Ends a gathered run. */
void hold_release(struct hold *h);
/* What some of the replies said did not come true: sends what choose makes of each payload, without
 * a header, and frees the hold. What choose returns is copied before it is called again. */
void hold_release_instead(struct hold *h, struct str (*choose)(void *ctx, struct str payload),
                          void *ctx);
/* Frees it unsent. */
void hold_drop(struct hold *h);

/* ---- runs from other workers ----------------------------------------------------------------- */

/* Lane item kinds of the router. */
enum { LANE_RUN = 1 };

/* Publishes the runs gathered for other workers: at the end of an iteration, and earlier when they
 * are full. */
void router_flush_remote(struct router *r);
/* Frees a run that nobody will take, at shutdown. */
void route_run_free(struct lane_item *run, struct chunk_pool *pool);
/* Executes a run that arrived; frees it. */
void router_take(struct router *r, struct lane_item *run);

struct router_stats {
    uint64_t published; /* route_publish, route_deliver, held replies that were routed */
    uint64_t delivered; /* accepted by sinks of this worker */
    uint64_t remote;    /* entries in runs for other workers */
    uint64_t cache_hits, cache_misses, cache_evictions, cache_entries, cache_bytes;
    uint64_t queue_repicks, bounces, no_responders; /* no_responders: found out late, answered by
                                                       503 */
    uint64_t deferred;                              /* waited for the end of a delivery */
    uint64_t dropped;                               /* for want of memory */
};
void router_stats(const struct router *r, struct router_stats *out);
void router_check(struct router *r);

#endif
