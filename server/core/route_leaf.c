/*
 * route_leaf.c - messages to other servers over leaf connections.
 *
 * What another server wants is subscriptions of its connection here, with sinks that forward. A
 * message goes there once, however many of them match: for its plain subscriptions, and for those
 * queue groups of which the pick fell on that server, by name, because each side picks among its
 * own. So plain receivers and picks of one connection are put together before anything is handed
 * over; the match cache keeps only one of a connection's plain subscriptions, and prefers members
 * of ours to those of other servers.
 *
 * A forward writes and does not route: it needs no place on the stack of deliveries, and can not be
 * put off. More than ROUTE_LEAF_GROUPS groups on one server for one message: the rest are handed
 * over one by one, as a pick that stands alone is.
 */
#include "server/core/router_priv.h"

static struct sink *leaf_of(const struct router *r, handle h)
{
    struct sink *s = handle_get(&r->sinks, h);

    return s != NULL && s->leaf ? s : NULL;
}

bool leaf_picks_add(const struct router *r, struct leaf_picks *p, handle sink, const struct msg *m)
{
    const struct sink *s = leaf_of(r, sink);

    if (s == NULL || p->n == ROUTE_LEAF_GROUPS || route_is_echo(r, m, s->conn))
        return false;
    p->sinks[p->n++] = sink;
    return true;
}

/* Takes the queues of one connection's picks out. */
static unsigned take_queues(const struct router *r, struct leaf_picks *p, handle conn,
                            struct str queues[ROUTE_LEAF_GROUPS])
{
    unsigned n = 0, kept = 0;

    for (unsigned i = 0; i < p->n; i++) {
        const struct sink *s = leaf_of(r, p->sinks[i]);
        if (s != NULL && s->conn == conn)
            queues[n++] = s->queue;
        else
            p->sinks[kept++] = p->sinks[i];
    }
    p->n = kept;
    return n;
}

static uint32_t forward(struct router *r, const struct delivery *d, struct sink *s,
                        const struct msg *m, struct leaf_picks *p)
{
    struct str queues[ROUTE_LEAF_GROUPS];
    unsigned n = take_queues(r, p, s->conn, queues);

    if (!s->ops->forward(s, m, delivery_key(d, m), queues, n))
        return 0;
    r->stats.delivered++;
    return 1;
}

uint32_t route_hand_leafs(struct router *r, const struct delivery *d, const struct match *e,
                          const struct msg *m, struct leaf_picks *p)
{
    uint32_t took = 0;
    struct sink *s;

    for (uint32_t i = 0; e != NULL && i < e->nlocal; i++) {
        const struct match_local *l = &e->local[i];
        if (l->leaf && !route_is_echo(r, m, l->conn) && (s = leaf_of(r, l->sink)) != NULL)
            took += forward(r, d, s, m, p);
    }
    while (p->n > 0) {
        s = leaf_of(r, p->sinks[0]);
        if (s != NULL)
            took += forward(r, d, s, m, p);
        else
            p->sinks[0] = p->sinks[--p->n];
    }
    return took;
}
