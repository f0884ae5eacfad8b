/*
 * Queue groups: one member of each gets a message, picked uniformly over the members of all
 * workers; and what becomes of messages that nobody took.
 *
 * A pick is made where the message is published, from an answer that may be a moment old. The
 * member can have gone when the message arrives: its handle is stale, or the sink takes nothing
 * more. Then the worker where that is found asks its own cache (its generations say whether that is
 * still true; interest is removed before the sink, so a stale handle is never in a fresh answer)
 * and picks again among the members that are left, which may be on a third worker. Each such
 * forward counts a hop. With nobody left, or after ROUTE_HOPS_MAX hops, the message ends: a bounce
 * if it asked for one, else 503 to the connection that waits for a reply, else nothing.
 *
 * Choosing among the rest after a refusal goes round from the member that refused; only the first
 * pick is uniform. That is a matter of single messages while a group shrinks.
 */
#include "lib/base/mem.h"
#include "server/core/router_priv.h"

static struct route_pick *push_pick(struct router *r)
{
    if (r->npicks == r->picks_cap) {
        r->picks_cap = r->picks_cap > 0 ? r->picks_cap * 2 : 16;
        r->picks = mem_realloc(r->picks, r->picks_cap * sizeof(r->picks[0]));
    }
    return &r->picks[r->npicks++];
}

static struct route_pick make_pick(const struct match *e, uint32_t index, uint32_t member)
{
    const struct match_group *g = &e->groups[index];
    const struct match_member *m = &e->members[g->first + member];

    return (struct route_pick){
        .worker = m->worker, .group = g->id, .sink = m->sink, .index = index, .member = member};
}

static uint32_t any_member(struct router *r, const struct match_group *g)
{
    return g->count > 1 ? (uint32_t) prng_below(r->prng, g->count) : 0;
}

static bool is_for(const struct route_only *only, uint32_t group)
{
    for (unsigned i = 0; i < only->n; i++)
        if (only->ids[i] == group)
            return true;
    return false;
}

void route_choose(struct router *r, const struct match *e, const struct route_only *only)
{
    for (uint32_t i = 0; i < e->ngroups; i++)
        if (LIKELY(only == NULL) || is_for(only, e->groups[i].id))
            *push_pick(r) = make_pick(e, i, any_member(r, &e->groups[i]));
}

static bool send_to_member(struct router *r, const struct delivery *d,
                           const struct route_pick *pick, const struct msg *m)
{
    struct run_put put = {
        .kind = RUN_INTEREST,
        .alone = true,
        .delivery = d,
        .m = m,
        .picks = pick,
        .npicks = 1,
        .worker = pick->worker,
    };

    return route_send(r, &put);
}

static bool hand_to_member(struct router *r, const struct delivery *d,
                           const struct route_pick *pick, const struct msg *m)
{
    struct delivery mine = *d;
    const struct sink *s;

    if (pick->worker != r->worker)
        return send_to_member(r, d, pick, m);
    s = handle_get(&r->sinks, pick->sink);
    if (s == NULL || route_is_echo(r, m, s->conn))
        return false;
    mine.group = pick->group;
    return route_hand(r, &mine, pick->sink, m, 1) == 1;
}

bool route_hand_group(struct router *r, const struct delivery *d, const struct match *e,
                      const struct route_pick *pick, const struct msg *m)
{
    const struct match_group *g = &e->groups[pick->index];

    for (uint32_t i = 0; i < g->count; i++) {
        struct route_pick next = make_pick(e, pick->index, (pick->member + i) % g->count);
        if (i > 0)
            r->stats.queue_repicks++;
        if (hand_to_member(r, d, &next, m))
            return true;
    }
    return false;
}

/* Again, from what is known now. */
static bool repick(struct router *r, const struct delivery *d, const struct msg *m)
{
    struct match_cache *c = router_cache(r, d->account);
    struct match *e = match_cache_find(c, delivery_key(d, m));
    struct delivery again = *d;
    struct route_pick pick;
    bool took = false;

    if (d->hops >= ROUTE_HOPS_MAX)
        return false;
    again.hops++;
    match_pin(e);
    for (uint32_t i = 0; i < e->ngroups && !took; i++)
        if (e->groups[i].id == d->group) {
            r->stats.queue_repicks++;
            pick = make_pick(e, i, any_member(r, &e->groups[i]));
            took = route_hand_group(r, &again, e, &pick, m);
        }
    match_unpin(c, e);
    return took;
}

void route_unclaimed(struct router *r, const struct delivery *d, const struct msg *m)
{
    if (d->group == ROUTE_PLAIN) {
        if ((m->flags & (MSG_F_BOUNCE | MSG_F_SHARED)) != MSG_F_SHARED)
            route_nobody(r, d->account, m);
        return;
    }
    if (d->group == ROUTE_DIRECT || !repick(r, d, m))
        route_nobody(r, d->account, m);
}

/* ---- the end of a message -------------------------------------------------------------------- */

void route_bounced(struct router *r, handle sink, uint64_t seq)
{
    struct sink *s = handle_get(&r->sinks, sink);

    if (s == NULL || s->ops->bounced == NULL)
        return;
    /* It may route: as within a delivery. */
    r->active[r->depth++] = 0;
    s->ops->bounced(s, seq);
    r->depth--;
}

void route_answer_nobody(struct router *r, handle conn, struct account *a, struct str subject,
                         struct str reply)
{
    if (r->nobody == NULL)
        return;
    r->active[r->depth++] = 0;
    r->nobody(r->nobody_ctx, conn, a, subject, reply);
    r->depth--;
}

static void send_back(struct router *r, enum run_kind kind, uint32_t worker, struct account *a,
                      const struct msg *m)
{
    struct delivery d = {.account = a};
    struct msg head = *m;
    struct run_put put = {.kind = kind, .delivery = &d, .m = &head, .worker = worker};

    head.header = STR_NONE;
    head.payload = STR_NONE;
    head.chunk = NULL;
    put.alone = true;
    route_send(r, &put);
}

static void bounce(struct router *r, struct account *a, const struct msg *m)
{
    r->stats.bounces++;
    if (m->bounce_worker == r->worker)
        route_bounced(r, m->bounce_to, m->bounce_seq);
    else
        send_back(r, RUN_BOUNCE, m->bounce_worker, a, m);
}

void route_nobody(struct router *r, struct account *a, const struct msg *m)
{
    if ((m->flags & MSG_F_BOUNCE) != 0) {
        bounce(r, a, m);
        return;
    }
    if (m->reply.n == 0 || m->origin_conn == 0)
        return;
    r->stats.no_responders++;
    if (m->origin_worker == r->worker)
        route_answer_nobody(r, m->origin_conn, a, m->subject, m->reply);
    else
        send_back(r, RUN_NOBODY, m->origin_worker, a, m);
}
