/*
 * router_priv.h - the inside of struct router, shared by router.c, route_queue.c, route_run.c and
 * hold.c.
 */
#ifndef CORE_ROUTER_PRIV_H
#define CORE_ROUTER_PRIV_H

#include "lib/base/chunk.h"
#include "lib/base/handle.h"
#include "server/core/account_wiring.h"
#include "server/core/match_cache.h"
#include "server/core/route.h"
#include "server/core/route_run.h"

/* Deliveries inside deliveries: a request that a handler answers is 2. Deeper ones wait for
 * route_flush. */
#define ROUTE_DEPTH_MAX 16u
/* Times a queue pick may be forwarded because it was stale; each forward knows more than the one
 * before. */
#define ROUTE_HOPS_MAX 8u

/* Instead of a queue group's id: what becomes of a message that the sink does not take. */
#define ROUTE_PLAIN 0u          /* dropped */
#define ROUTE_DIRECT UINT32_MAX /* 503 */

/* No sink's handle: slots end far below. */
#define NO_RUN_SINK UINT64_MAX

/* What goes with a message on its way. */
struct delivery {
    struct account *account;
    struct str key; /* p == NULL: the message's subject */
    uint32_t group; /* of the sink it is for: an id, ROUTE_PLAIN or ROUTE_DIRECT */
    uint32_t hops;
};

static inline struct str delivery_key(const struct delivery *d, const struct msg *m)
{
    return d->key.p != NULL ? d->key : m->subject;
}

struct route_pick {
    uint32_t worker;
    uint32_t group; /* id */
    handle sink;
    uint32_t index;  /* of the group in its match */
    uint32_t member; /* within the group */
};

struct router {
    struct account *account; /* of `cache`: the last one used */
    struct match_cache *cache;
    uint32_t worker, workers;
    unsigned depth;
    bool stall;

    /* The run being gathered; only at depth 0, so that it stays as it is while it is delivered. */
    handle run_sink; /* NO_RUN_SINK when nrun is 0 */
    unsigned nrun;
    uint32_t run_group;
    struct account *run_account;
    struct msg run[ROUTE_RUN];

    struct handle_table sinks;
    /* Sinks in their deliver, outermost first; 0: other calls that may route. */
    handle active[ROUTE_DEPTH_MAX + 4 + ACCOUNT_LINKS_MAX];

    struct match_cache **caches; /* by account->index */
    uint32_t ncaches;
    uint32_t cache_entries;
    uint64_t hash_seed;

    struct chunk_pool *chunks;
    struct prng *prng;
    void (*post)(void *ctx, uint32_t worker, struct lane_item *run);
    void *post_ctx;
    route_resolve_fn resolve;
    void *resolve_ctx;
    route_nobody_fn nobody;
    void *nobody_ctx;

    struct run_writer *out;     /* by worker */
    struct run_writer deferred; /* for sinks in their deliver, or too deep, or replies released
                                   within a deliver */

    /* A stack: each routing in progress owns the part above its base. */
    struct route_pick *picks;
    uint32_t npicks, picks_cap;

    uint64_t now_ns;             /* of this iteration */
    struct route_tracer *tracer; /* of the message being routed; NULL = it is not traced */
    struct route_tracer *(*trace_begin)(void *ctx, const struct msg *m);
    void (*trace_end)(void *ctx, struct route_tracer *t, uint32_t origin);
    void *trace_ctx;
    const struct route_services *services; /* NULL = none */
    void *services_ctx;
    struct router_links *links; /* answers of other accounts' services; NULL = none yet */

    struct router_stats stats;
};

/* ---- router.c -------------------------------------------------------------------------------- */

/* Makes the account's cache the current one. */
struct match_cache *router_switch_cache(struct router *r, struct account *a);

static inline struct match_cache *router_cache(struct router *r, struct account *a)
{
    return LIKELY(a == r->account) ? r->cache : router_switch_cache(r, a);
}

/* Adds to the run being gathered; at depth 0 only. The bytes stay until route_flush_run. */
void router_gather(struct router *r, const struct delivery *d, handle sink, const struct msg *m);
/* Delivers the run being gathered. */
void route_flush_run(struct router *r);
/* Gives messages to a sink now, or keeps copies for later; returns how many it took. Stale handles
 * take none. */
unsigned route_hand(struct router *r, const struct delivery *d, handle sink, const struct msg *run,
                    unsigned n);
/* Like route_hand, for what has waited: never keeps. */
unsigned route_hand_now(struct router *r, handle sink, const struct msg *run, unsigned n);
/* To the local plain subscriptions of e (pinned by the caller); returns how many took it. */
uint32_t route_hand_local(struct router *r, const struct delivery *d, const struct match *e,
                          const struct msg *m);
/* The whole of route_publish but resolver and counting. */
uint32_t route_message(struct router *r, struct account *a, struct str key, const struct msg *m);

/* The same with the resolver of "$JS." subjects. */
uint32_t route_any(struct router *r, struct account *a, struct str key, const struct msg *m);

/* ---- route_leaf.c ---------------------------------------------------------------------------- */

/* Picks that are other servers'. */
struct leaf_picks {
    handle sinks[ROUTE_LEAF_GROUPS];
    unsigned n;
};
/* Notes the pick when it is one; true then, and the caller leaves it alone. */
bool leaf_picks_add(const struct router *r, struct leaf_picks *p, handle sink, const struct msg *m);
/* Once to every server that is among the plain receivers of e (NULL: none) or the picks, which are
 * used up. Returns how many it went to. */
uint32_t route_hand_leafs(struct router *r, const struct delivery *d, const struct match *e,
                          const struct msg *m, struct leaf_picks *p);

/* ---- route_link.c ---------------------------------------------------------------------------- */

/* Along all links of a that match; returns how many receivers there were. Nothing that was
 * gathered is overtaken. */
uint32_t route_links(struct router *r, struct account *a, struct str key, const struct msg *m);
void router_links_close(struct router *r);

static inline bool route_is_echo(const struct router *r, const struct msg *m, handle conn)
{
    return (m->flags & MSG_F_NO_ECHO) != 0 && conn != 0 && m->origin_conn == conn &&
           m->origin_worker == r->worker;
}

/* ---- route_queue.c --------------------------------------------------------------------------- */

/* The groups a message is for; NULL = all. */
struct route_only {
    uint32_t ids[ROUTE_LEAF_GROUPS];
    unsigned n;
};
/* Picks a member of every group of e that it is for, as entries from r->npicks on. */
void route_choose(struct router *r, const struct match *e, const struct route_only *only);
/* Gives the message to the pick or, when that does not take it, to the next member that does. e is
 * pinned. */
bool route_hand_group(struct router *r, const struct delivery *d, const struct match *e,
                      const struct route_pick *pick, const struct msg *m);
/* A sink did not take this message that was counted as received: what its group or its flags ask
 * for. */
void route_unclaimed(struct router *r, const struct delivery *d, const struct msg *m);
/* The end of a message that nobody took: bounced, or 503. */
void route_nobody(struct router *r, struct account *a, const struct msg *m);
void route_bounced(struct router *r, handle sink, uint64_t seq);
void route_answer_nobody(struct router *r, handle conn, struct account *a, struct str subject,
                         struct str reply);

#endif
