/*
 * The router of one worker: publish, gather, deliver.
 *
 * States of a message here:
 *
 *     published --- one local receiver, depth 0 ---> gathered --- flush ---> delivered
 *         |                                                         |
 *         +--- anything else ---> delivered at once                  +--> sink is in its deliver:
 * deferred, |                       and written to runs                     delivered at the next
 * outermost flush
 *         +--- no receiver ---> the caller answers
 *
 * Re-entry. A sink's deliver may publish. depth counts the delivers on the stack. The gathered run
 * exists at depth 0 only; it is taken (nrun = 0) before its sink is called and nothing can be
 * gathered until that has returned, so the array the sink reads does not change under it. At depth
 * > 0 messages are delivered at once. Two things must not happen there and are deferred, that is,
 * copied into a run for this worker itself: entering a sink that is on the stack, and going deeper
 * than ROUTE_DEPTH_MAX. A sink with deferred messages gets everything behind them (sink.deferred),
 * so order holds. route_flush delivers what was deferred before it began, in one pass: sinks that
 * publish to each other without end take turns with the rest of the worker instead of filling the
 * stack.
 *
 * Use after free. Nothing here keeps a pointer to a sink. The match cache, the gathered run, picks
 * and runs hold handles; a handle is turned into a pointer immediately before the call of deliver,
 * and the pointer is not used after it. A sink that was removed, by whomever, resolves to NULL; one
 * that took its slot has another generation. Generations of the interest make cached answers
 * *right*; that they are *safe* needs handles alone. Entries of the cache that are iterated while
 * sinks are called are pinned (match_cache.c).
 *
 * Order. Let one publisher publish m1, then m2, both for sink S of this worker. If m1 was delivered
 * at once, m2 comes later. If m1 was gathered, then m2 is gathered behind it (same sink), or the
 * run is flushed before m2 is handed on: by router_gather for another sink, by route_many for
 * several receivers, by hold_release, by router_sink_remove. If m1 was deferred, m2 is deferred
 * behind it. For a sink of another worker both are written to the same run writer in order, runs
 * are posted in order, lanes are FIFO, and run_execute goes through route_hand or the gathered run
 * like everybody else.
 */
#include "lib/base/mem.h"
#include "server/core/route.h"
#include "server/core/router_priv.h"

#define SINKS_MAX (16u << 20)
#define CACHE_ENTRIES_DEFAULT 16384u

struct router *router_open(const struct router_options *o)
{
    struct router *r = mem_zalloc(sizeof(*r));

    ASSERT(o->worker < o->workers && o->workers <= WORKERS_MAX);
    r->worker = o->worker;
    r->workers = o->workers;
    r->chunks = o->chunks;
    r->prng = o->prng;
    r->hash_seed = o->hash_seed;
    r->post = o->post;
    r->post_ctx = o->ctx;
    r->cache_entries = o->cache_entries != 0 ? o->cache_entries : CACHE_ENTRIES_DEFAULT;
    r->run_sink = NO_RUN_SINK;
    r->out = mem_zalloc(o->workers * sizeof(r->out[0]));
    handle_table_init(&r->sinks, SINKS_MAX);
    return r;
}

void router_close(struct router *r)
{
    ASSERT(r->depth == 0);
    for (uint32_t w = 0; w < r->workers; w++)
        run_discard(&r->out[w], r->chunks);
    run_discard(&r->deferred, r->chunks);
    router_links_close(r);
    for (uint32_t i = 0; i < r->ncaches; i++)
        if (r->caches[i] != NULL) {
            match_cache_deinit(r->caches[i]);
            mem_free(r->caches[i]);
        }
    mem_free(r->caches);
    mem_free(r->out);
    mem_free(r->picks);
    handle_table_deinit(&r->sinks);
    mem_free(r);
}

/* ---- sinks and caches ------------------------------------------------------------------------ */

handle router_sink_add(struct router *r, struct sink *s)
{
    s->deferred = 0;
    s->self = handle_add(&r->sinks, s);
    return s->self;
}

void router_sink_remove(struct router *r, struct sink *s)
{
    if (r->nrun > 0 && r->run_sink == s->self)
        route_flush_run(r);
    /* That delivery may have closed the sink itself. */
    if (s->self == 0)
        return;
    handle_remove(&r->sinks, s->self);
    s->self = 0;
}

struct sink *router_sink_get(struct router *r, handle h)
{
    return handle_get(&r->sinks, h);
}

void router_set_resolver(struct router *r, route_resolve_fn fn, void *ctx)
{
    r->resolve = fn;
    r->resolve_ctx = ctx;
}

void router_set_nobody(struct router *r, route_nobody_fn fn, void *ctx)
{
    r->nobody = fn;
    r->nobody_ctx = ctx;
}

static struct match_cache *open_cache(struct router *r, struct account *a)
{
    struct match_cache *c = mem_alloc(sizeof(*c));
    struct match_cache_options o = {
        .account = a,
        .sinks = &r->sinks,
        .worker = r->worker,
        .entries = r->cache_entries,
        .seed = r->hash_seed,
    };

    match_cache_init(c, &o);
    return c;
}

struct match_cache *router_switch_cache(struct router *r, struct account *a)
{
    if (a->index >= r->ncaches) {
        uint32_t n = a->index + 1;
        r->caches = mem_realloc(r->caches, n * sizeof(struct match_cache *));
        for (uint32_t i = r->ncaches; i < n; i++)
            r->caches[i] = NULL;
        r->ncaches = n;
    }
    if (r->caches[a->index] == NULL)
        r->caches[a->index] = open_cache(r, a);
    r->account = a;
    r->cache = r->caches[a->index];
    return r->cache;
}

/* ---- handing messages to sinks --------------------------------------------------------------- */

static bool is_active(const struct router *r, handle sink)
{
    for (unsigned i = 0; i < r->depth; i++)
        if (r->active[i] == sink)
            return true;
    return false;
}

static bool defer(struct router *r, const struct delivery *d, struct sink *s, const struct msg *m)
{
    struct route_pick pick = {.worker = r->worker, .group = d->group, .sink = s->self};
    struct msg later = *m;
    struct run_put put = {
        .kind = RUN_DEFERRED,
        .alone = true,
        .delivery = d,
        .m = &later,
        .picks = &pick,
        .npicks = 1,
        .worker = r->worker,
    };

    if (d->group == ROUTE_PLAIN)
        later.flags |= MSG_F_SHARED;
    if (!run_put(r, &r->deferred, &put))
        return false;
    s->deferred++;
    r->stats.deferred++;
    return true;
}

static __attribute__((noinline)) unsigned deliver_traced(struct router *r, struct sink *s,
                                                         const struct msg *run, unsigned n)
{
    struct route_tracer *t = r->tracer;

    for (unsigned i = 0; i < n; i++)
        t->took(t, s, &run[i]);
    if (t->only)
        return n;
    r->tracer = NULL;
    r->active[r->depth++] = s->self;
    n = s->ops->deliver(s, run, n);
    r->depth--;
    r->tracer = t;
    r->stats.delivered += n;
    return n;
}

static unsigned call_deliver(struct router *r, struct sink *s, const struct msg *run, unsigned n)
{
    unsigned accepted;

    if (UNLIKELY(r->tracer != NULL))
        return deliver_traced(r, s, run, n);
    r->active[r->depth++] = s->self;
    accepted = s->ops->deliver(s, run, n);
    r->depth--;
    r->stats.delivered += accepted;
    return accepted;
}

unsigned route_hand_now(struct router *r, handle sink, const struct msg *run, unsigned n)
{
    struct sink *s = handle_get(&r->sinks, sink);

    return s != NULL ? call_deliver(r, s, run, n) : 0;
}

/* Notes a message that would have to wait; true when it does not. */
static bool is_traced_only(struct router *r, struct sink *s, const struct msg *m)
{
    if (LIKELY(r->tracer == NULL))
        return false;
    r->tracer->took(r->tracer, s, m);
    return r->tracer->only;
}

unsigned route_hand(struct router *r, const struct delivery *d, handle sink, const struct msg *run,
                    unsigned n)
{
    struct sink *s = handle_get(&r->sinks, sink);
    unsigned kept = 0;

    if (UNLIKELY(s == NULL))
        return 0;
    if (UNLIKELY(s->leaf)) {
        while (kept < n && s->ops->forward(s, &run[kept], delivery_key(d, &run[kept]), &s->queue,
                                           s->queue.n > 0))
            kept++;
        return kept;
    }
    if (LIKELY(s->deferred == 0 && r->depth < ROUTE_DEPTH_MAX && !is_active(r, sink)))
        return call_deliver(r, s, run, n);
    while (kept < n && (is_traced_only(r, s, &run[kept]) || defer(r, d, s, &run[kept])))
        kept++;
    return kept;
}

uint32_t route_hand_local(struct router *r, const struct delivery *d, const struct match *e,
                          const struct msg *m)
{
    uint32_t took = 0;

    for (uint32_t i = 0; i < e->nlocal; i++)
        if (!e->local[i].leaf && !route_is_echo(r, m, e->local[i].conn))
            took += route_hand(r, d, e->local[i].sink, m, 1);
    return took;
}

/* ---- the gathered run ------------------------------------------------------------------------ */

void route_flush_run(struct router *r)
{
    struct delivery d = {.account = r->run_account, .group = r->run_group};
    handle sink = r->run_sink;
    unsigned n = r->nrun, took;

    if (n == 0)
        return;
    ASSERT(r->depth == 0);
    r->nrun = 0;
    r->run_sink = NO_RUN_SINK;
    took = route_hand(r, &d, sink, r->run, n);
    if (LIKELY(took == n))
        return;
    /* Depth keeps what the following calls from gathering into the array we read. */
    r->active[r->depth++] = 0;
    while (took < n) {
        route_unclaimed(r, &d, &r->run[took++]);
        if (took < n)
            took += route_hand(r, &d, sink, &r->run[took], n - took);
    }
    r->depth--;
}

static inline __attribute__((always_inline)) void append(struct router *r, const struct msg *m)
{
    r->run[r->nrun++] = *m;
}

static void gather(struct router *r, struct account *a, uint32_t group, handle sink,
                   const struct msg *m)
{
    if (r->run_sink != sink || r->nrun == ROUTE_RUN) {
        route_flush_run(r);
        r->run_sink = sink;
        r->run_group = group;
        r->run_account = a;
    }
    append(r, m);
}

void router_gather(struct router *r, const struct delivery *d, handle sink, const struct msg *m)
{
    ASSERT(r->depth == 0);
    gather(r, d->account, d->group, sink, m);
}

/* One pass over what had to wait. */
static void run_deferred(struct router *r)
{
    struct lane_item *run = run_take_all(&r->deferred), *next;

    for (; run != NULL; run = next) {
        next = run->next;
        run_execute(r, run);
    }
}

static inline bool take_stall(struct router *r)
{
    bool stall = r->stall;

    if (UNLIKELY(stall))
        r->stall = false;
    return stall;
}

bool route_flush(struct router *r)
{
    if (r->depth > 0)
        return false;
    route_flush_run(r);
    if (UNLIKELY(!run_is_empty(&r->deferred)))
        run_deferred(r);
    return take_stall(r);
}

bool router_busy(const struct router *r)
{
    return r->nrun > 0 || !run_is_empty(&r->deferred);
}

void router_note_stall(struct router *r)
{
    r->stall = true;
}

/* ---- routing --------------------------------------------------------------------------------- */

static uint64_t bit(uint32_t worker)
{
    return 1ull << worker;
}

/* Once to every worker that has interest or a pick. */
static uint32_t send_remote(struct router *r, const struct delivery *d, const struct match *e,
                            uint32_t base, const struct msg *m)
{
    struct run_put put = {.kind = RUN_INTEREST, .delivery = d, .m = m};
    uint64_t workers = e->remote;
    uint32_t sent = 0;

    put.alone = e->nlocal + e->ngroups == 1 && e->remote == 0;
    for (uint32_t i = base; i < r->npicks; i++)
        workers |= bit(r->picks[i].worker);
    workers &= ~bit(r->worker);
    while (workers != 0) {
        put.worker = (uint32_t) __builtin_ctzll(workers);
        workers &= workers - 1;
        put.plain = (e->remote & bit(put.worker)) != 0;
        put.picks = &r->picks[base];
        put.npicks = r->npicks - base;
        sent += route_send(r, &put);
    }
    return sent;
}

/* Any number of receivers, anywhere. Nothing that was gathered may be overtaken. */
static uint32_t route_many(struct router *r, const struct delivery *d, struct match_cache *c,
                           struct match *e, const struct msg *m, const struct route_only *only)
{
    uint32_t base = r->npicks, end, took;
    struct leaf_picks leafs;

    match_pin(e);
    if (r->depth == 0)
        route_flush_run(r);
    route_choose(r, e, only);
    end = r->npicks;
    took = send_remote(r, d, e, base, m);
    if (UNLIKELY(e->leafs)) {
        leafs.n = 0;
        for (uint32_t i = base; i < end; i++)
            if (r->picks[i].worker == r->worker && leaf_picks_add(r, &leafs, r->picks[i].sink, m))
                r->picks[i].sink = 0;
        took += route_hand_leafs(r, d, e, m, &leafs);
    }
    took += route_hand_local(r, d, e, m);
    for (uint32_t i = base; i < end; i++) {
        struct route_pick pick = r->picks[i]; /* the stack may move while sinks run */
        if (pick.worker == r->worker && pick.sink != 0)
            took += route_hand_group(r, d, e, &pick, m);
    }
    r->npicks = base;
    match_unpin(c, e);
    return took;
}

/* The plain subscriptions of one other worker: nothing here can be overtaken, nothing foreign runs.
 */
static uint32_t route_one_worker(struct router *r, const struct delivery *d, uint32_t worker,
                                 const struct msg *m)
{
    struct run_put put = {
        .kind = RUN_INTEREST,
        .plain = true,
        .alone = true,
        .delivery = d,
        .m = m,
        .worker = worker,
    };

    return route_send(r, &put);
}

/* To all receivers of an answer that is not gathered. */
static uint32_t route_found(struct router *r, struct account *a, struct str key,
                            const struct msg *m, struct match_cache *c, struct match *e,
                            const struct route_only *only)
{
    struct delivery d = {.account = a};

    if (e->nlocal + e->ngroups == 0 && e->remote == 0)
        return 0;
    if (key.p != m->subject.p || key.n != m->subject.n)
        d.key = key;
    if (e->nlocal + e->ngroups == 0 && (e->remote & (e->remote - 1)) == 0)
        return route_one_worker(r, &d, (uint32_t) __builtin_ctzll(e->remote), m);
    return route_many(r, &d, c, e, m, only);
}

static uint32_t route_only_key(struct router *r, struct account *a, struct str key,
                               const struct msg *m, const struct route_only *only)
{
    struct match_cache *c = router_cache(r, a);
    struct match *e = match_cache_find(c, key);
    bool linked;
    uint32_t took;

    /* A group may need its key again, which only the subject keeps for as long as the run lives. */
    if (LIKELY(e->sink != 0 && r->depth == 0 &&
               (e->group == 0 || (key.p == m->subject.p && only == NULL)))) {
        if (UNLIKELY(route_is_echo(r, m, e->conn)))
            return 0;
        gather(r, a, e->group, e->sink, m);
        return 1;
    }
    linked = e->linked;
    took = route_found(r, a, key, m, c, e, only);
    if (UNLIKELY(linked))
        took += route_links(r, a, key, m);
    return took;
}

static uint32_t route_key(struct router *r, struct account *a, struct str key, const struct msg *m)
{
    return route_only_key(r, a, key, m, NULL);
}

/*
 * One more message for the run being gathered: the same answer as before, still fresh. run_sink is
 * a sink only at depth 0 and while something is gathered, so that one comparison says all that.
 */
static inline __attribute__((always_inline)) bool route_same(struct router *r, struct account *a,
                                                             struct str key, const struct msg *m)
{
    const struct match *e;

    if (UNLIKELY(a != r->account))
        return false;
    e = r->cache->last;
    if (e->fast != r->run_sink || r->nrun == ROUTE_RUN || (m->flags & MSG_F_NO_ECHO) != 0 ||
        !match_covers(e, key) || UNLIKELY(!match_is_fresh(r->cache, e)))
        return false;
    r->stats.published++;
    append(r, m);
    return true;
}

uint32_t route_message(struct router *r, struct account *a, struct str key, const struct msg *m)
{
    return route_key(r, a, key, m);
}

static uint32_t route_direct(struct router *r, struct account *a, const struct route_target *t,
                             const struct msg *m)
{
    struct delivery d = {.account = a, .group = ROUTE_DIRECT};
    struct route_pick pick = {.worker = t->worker, .group = ROUTE_DIRECT, .sink = t->sink};
    struct run_put put = {
        .kind = RUN_INTEREST,
        .alone = true,
        .delivery = &d,
        .m = m,
        .picks = &pick,
        .npicks = 1,
        .worker = t->worker,
    };

    if (t->worker != r->worker)
        return route_send(r, &put);
    if (r->depth > 0)
        return route_hand(r, &d, t->sink, m, 1);
    gather(r, a, ROUTE_DIRECT, t->sink, m);
    return 1;
}

static uint32_t route_js(struct router *r, struct account *a, const struct msg *m,
                         const struct route_only *only)
{
    struct route_target t = {0};
    struct match_cache *c;
    struct msg shared;
    uint32_t took;

    if (!r->resolve(r->resolve_ctx, a, m->subject, &t))
        return route_only_key(r, a, m->subject, m, only);
    took = route_direct(r, a, &t, m);
    c = router_cache(r, a);
    if (t.prefix == 0 || match_cache_any_below(c, str_take(m->subject, t.prefix))) {
        shared = *m;
        shared.flags |= MSG_F_SHARED;
        took += route_only_key(r, a, m->subject, &shared, only);
    }
    return took;
}

static inline bool is_js(struct str s)
{
    return UNLIKELY(s.n > 4 && s.p[0] == '$') && memcmp(s.p, "$JS.", 4) == 0;
}

uint32_t route_any(struct router *r, struct account *a, struct str key, const struct msg *m)
{
    if (is_js(key) && r->resolve != NULL && key.p == m->subject.p)
        return route_js(r, a, m, NULL);
    return route_key(r, a, key, m);
}

struct route_result route_from_leaf(struct router *r, struct account *a, struct str key,
                                    const struct msg *m, const struct route_groups *groups)
{
    struct route_only list = {.n = groups->n};
    const struct route_only *only = groups->every_group ? NULL : &list;
    struct route_result result;

    for (unsigned i = 0; i < groups->n; i++)
        list.ids[i] = interest_group_id(a->interest, groups->names[i]);
    r->stats.published++;
    if (is_js(key) && r->resolve != NULL && key.p == m->subject.p)
        result.receivers = route_js(r, a, m, only);
    else
        result.receivers = route_only_key(r, a, key, m, only);
    result.stall = take_stall(r);
    return result;
}

static __attribute__((noinline)) struct route_result publish_slow(struct router *r,
                                                                  struct account *a,
                                                                  const struct msg *m)
{
    struct route_result result;

    r->stats.published++;
    result.receivers = route_any(r, a, m->subject, m);
    result.stall = take_stall(r);
    return result;
}

struct route_result route_publish(struct router *r, struct account *a, const struct msg *m)
{
    if (LIKELY(route_same(r, a, m->subject, m)))
        return (struct route_result){.receivers = 1};
    return publish_slow(r, a, m);
}

struct route_result route_traced(struct router *r, struct account *a, const struct msg *m,
                                 struct route_tracer *t)
{
    struct route_result result;

    ASSERT(r->depth == 0 && r->tracer == NULL);
    /* As from within a delivery: nothing is gathered, all is known at the end. */
    route_flush_run(r);
    r->active[r->depth++] = 0;
    r->tracer = t;
    r->stats.published++;
    result.receivers = route_any(r, a, m->subject, m);
    r->tracer = NULL;
    r->depth--;
    result.stall = take_stall(r);
    return result;
}

void router_set_services(struct router *r, const struct route_services *services, void *ctx)
{
    r->services = services;
    r->services_ctx = ctx;
}

void router_drop_answers(struct router *r)
{
    router_links_close(r);
}

void router_set_tracing(struct router *r,
                        struct route_tracer *(*begin)(void *ctx, const struct msg *m),
                        void (*end)(void *ctx, struct route_tracer *t, uint32_t origin), void *ctx)
{
    r->trace_begin = begin;
    r->trace_end = end;
    r->trace_ctx = ctx;
}

static __attribute__((noinline)) struct route_result deliver_slow(struct router *r,
                                                                  struct account *a, struct str key,
                                                                  const struct msg *m)
{
    struct route_result result;

    r->stats.published++;
    result.receivers = route_key(r, a, key, m);
    result.stall = take_stall(r);
    return result;
}

struct route_result route_deliver(struct router *r, struct account *a, struct str key,
                                  const struct msg *m)
{
    if (LIKELY(r->run_group == 0) && LIKELY(route_same(r, a, key, m)))
        return (struct route_result){.receivers = 1};
    return deliver_slow(r, a, key, m);
}

/* ---- the whole ------------------------------------------------------------------------------- */

void router_stats(const struct router *r, struct router_stats *out)
{
    *out = r->stats;
    for (uint32_t i = 0; i < r->ncaches; i++) {
        const struct match_cache *c = r->caches[i];
        if (c == NULL)
            continue;
        out->cache_misses += c->misses;
        out->cache_evictions += c->evictions;
        out->cache_entries += c->entries;
        out->cache_bytes += c->bytes;
    }
    /* Hits are not counted, they are what is left. */
    if (out->published > out->cache_misses)
        out->cache_hits = out->published - out->cache_misses;
}

void router_check(struct router *r)
{
    ASSERT(r->depth <= ROUTE_DEPTH_MAX + 1);
    ASSERT((r->nrun == 0) == (r->run_sink == NO_RUN_SINK));
    ASSERT(r->nrun == 0 || r->depth == 0);
    ASSERT(r->nrun <= ROUTE_RUN);
    ASSERT(r->depth > 0 || r->npicks == 0);
    handle_table_check(&r->sinks);
    for (uint32_t i = 0; i < r->ncaches; i++)
        if (r->caches[i] != NULL)
            match_cache_check(r->caches[i]);
}
