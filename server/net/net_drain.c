/*
 * net_drain.c - what is done to all connections of a worker at once: lame duck, draining, reload.
 *
 * Lame duck: the listener closes and every client that can take a second INFO gets one with "ldm",
 * so that it can look for another server. After the grace period the clients are closed one after
 * the other, with a pause between two of half to all of (time / clients), at most a second, so that
 * they do not all arrive elsewhere in one moment. Where that is less than a tick of the timer
 * several are closed at a time.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"

#include <string.h>

#define PAUSE_MAX_NS 1000000000u

int64_t net_shared_connections(const struct net_shared *shared)
{
    return atomic_load(&shared->connections);
}

static void put_infos(struct net *net)
{
    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        if (c->got_first_ping && c->protocol >= 1)
            info_put(c, false);
    }
}

/* ---- lame duck ------------------------------------------------------------------------------- */

void net_lame_duck(struct net *net)
{
    net->lame_duck = true;
    net_stop_listening(net);
    put_infos(net);
}

static size_t count(const struct list *l)
{
    size_t n = 0;

    LIST_FOREACH(it, l)
    n++;
    return n;
}

void net_drain_next(struct wheel_timer *t)
{
    struct net *net = CONTAINER_OF(t, struct net, drain);
    struct io *io = net->env->io;
    struct list *l;

    for (size_t i = 0; i < net->drain_batch && (l = list_first(&net->conns)) != NULL; i++)
        conn_close(LIST_ENTRY(l, struct conn, link), REASON_SHUTDOWN);
    if (!list_empty(&net->conns))
        io_timer_start(io, &net->drain,
                       io_now(io) + net->drain_pause_ns / 2 +
                           prng_below(net->env->prng, net->drain_pause_ns / 2 + 1));
}

void net_drain(struct net *net, uint64_t over_ns, void (*done)(void *ctx), void *ctx)
{
    size_t n = count(&net->conns);
    uint64_t pause = n > 0 ? over_ns / n : 0;

    net->drained = done;
    net->drained_ctx = ctx;
    net->drain_batch = pause < WHEEL_TICK_NS ? (size_t) (n * WHEEL_TICK_NS / over_ns) + 1 : 1;
    if (pause < WHEEL_TICK_NS)
        pause = WHEEL_TICK_NS;
    net->drain_pause_ns = pause < PAUSE_MAX_NS ? pause : PAUSE_MAX_NS;
    net_drain_next(&net->drain);
    io_wake(net->env->io);
}

/* ---- reload ---------------------------------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

void net_list_ids(const struct net *net, struct net_conn_ids *out)
{
    out->n = 0;
    out->items = mem_alloc((count(&net->conns) + 1) * sizeof(*out->items));
    LIST_FOREACH(l, &net->conns)
    {
        const struct conn *c = LIST_ENTRY(l, struct conn, link);
        out->items[out->n++] = (struct net_conn_id){
            .cid = c->cid, .account = c->account->index, .in_account = c->in_account};
    }
}

static const struct net_conn_id *find_id(const struct net_conn_ids *ids, uint64_t cid)
{
    size_t from = 0, to = ids->n;

    while (from < to) {
        size_t mid = from + (to - from) / 2;
        if (ids->items[mid].cid == cid)
            return &ids->items[mid];
        if (ids->items[mid].cid > cid)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

void net_close_surplus(struct net *net, const struct net_conn_ids *ids)
{
    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        const struct net_conn_id *id = find_id(ids, c->cid);
        if (id != NULL && id->by_account)
            conn_fail(c, REASON_MAX_ACCOUNT_CONNECTIONS,
                      STR("maximum account active connections exceeded"));
        else if (id != NULL)
            conn_fail(c, REASON_MAX_CONNECTIONS, STR("maximum connections exceeded"));
    }
    io_wake(net->env->io);
}

/* Those whose certificates are not pinned any more. */
static void close_unpinned(struct net *net)
{
    uint32_t n = 0;

    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        if (conn_tls_unpinned(c)) {
            conn_close(c, REASON_TLS_HANDSHAKE);
            n++;
        }
    }
    LIST_FOREACH_SAFE(leaf, after, &net->leafs)
    {
        struct conn *c = LIST_ENTRY(leaf, struct conn_leaf, link)->conn;
        if (conn_tls_unpinned(c)) {
            conn_close(c, REASON_TLS_HANDSHAKE);
            n++;
        }
    }
    if (n > 0)
        LOG_INF(net->env->log, "Disconnect %u clients due to pinned certs reload", n);
}

void net_reload(struct net *net, const struct options *before)
{
    const struct options *now = net->env->options;

    route_flush(net->env->router);
    close_unpinned(net);
    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        conn_set_limits(c);
        connect_reload(c, before, now);
    }
    LIST_FOREACH_SAFE(leaf, after, &net->leafs)
    leaf_reload(LIST_ENTRY(leaf, struct conn_leaf, link)->conn, before, now);
    leaf_remotes_reload(net);
    if (before->max_payload != now->max_payload ||
        !same_text(before->client_advertise, now->client_advertise))
        put_infos(net);
    io_wake(net->env->io);
}

/* ---- accounts -------------------------------------------------------------------------------- */

static void tell(struct conn *c, const struct trust *before, const struct trust *now, bool expired)
{
    if (expired)
        conn_fail(c, REASON_AUTH_EXPIRED, STR("Account Authentication Expired"));
    else
        connect_account_changed(c, before, now);
}

void net_account_changed(struct net *net, struct account *a, const struct trust *before,
                         const struct trust *now)
{
    bool expired = now == NULL || atomic_load(&a->expired);

    route_flush(net->env->router);
    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    {
        struct conn *c = LIST_ENTRY(it, struct conn, link);
        if (c->account == a && c->in_account)
            tell(c, before, now, expired);
    }
    /* Servers that have joined here; those that were dialled have no claims of the account. */
    LIST_FOREACH_SAFE(leaf, after, &net->leafs)
    {
        struct conn_leaf *l = LIST_ENTRY(leaf, struct conn_leaf, link);
        if (l->conn->account == a && l->remote == NULL && l->bound)
            tell(l->conn, before, now, expired);
    }
    leaf_close_surplus(net, a);
    io_wake(net->env->io);
}
