/*
 * net.c - accepting, handing out, the loop stage, the end.
 *
 * Worker 0 accepts one connection after the other (lib/io/acceptor.h) and gives each to the worker
 * that env->place names.
 */
#include "server/net/net.h"

#include "lib/base/mem.h"
#include "lib/wire/websocket_pack.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/event.h"
#include "server/net/leaf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Who owes less is not closed for want of memory: it would help nobody. */
#define DROP_MIN (1u << 20)
#define CONNS_MAX (1u << 22)

struct net_shared *net_shared_open(const struct options *options)
{
    (void) options;
    return mem_zalloc(sizeof(struct net_shared));
}

void net_shared_close(struct net_shared *shared)
{
    mem_free(shared);
}

/* ---- accepting ------------------------------------------------------------------------------- */

struct handed {
    struct env_task task;
    io_fd fd;
    enum net_door door;
};

static void take_handed(struct env_task *task, struct env *env)
{
    struct handed *h = CONTAINER_OF(task, struct handed, task);

    if (env->net == NULL || env->net->stopping)
        io_fd_discard(env->io, h->fd);
    else
        conn_adopt(env->net, h->fd, h->door);
    mem_free(h);
}

static void hand_out(struct net *net, io_fd fd, enum net_door door)
{
    struct env *env = net->env;
    uint32_t to = env->place(env);
    struct handed *h;

    if (to == env->worker) {
        conn_adopt(net, fd, door);
        return;
    }
    h = mem_zalloc(sizeof(*h));
    h->task.run = take_handed;
    h->fd = fd;
    h->door = door;
    env->post(env, to, &h->task);
}

static void accepted(struct acceptor *a, io_fd fd)
{
    struct listener *l = CONTAINER_OF(a, struct listener, acceptor);

    /* Other servers are worker 0's, and they may come as WebSocket clients do. */
    if (l->door == NET_LEAFS || (l->door == NET_WEBSOCKET && l->net->env->options->leaf.port != 0))
        conn_adopt(l->net, fd, l->door);
    else
        hand_out(l->net, fd, l->door);
}

static void listener_closed(struct acceptor *a)
{
    io_wake(CONTAINER_OF(a, struct listener, acceptor)->net->env->io);
}

static void address_of(const struct options *o, enum net_door door, const char **host, int *port)
{
    *host = o->host;
    *port = o->port;
    if (door == NET_WEBSOCKET) {
        *host = o->websocket.host != NULL ? o->websocket.host : "0.0.0.0";
        *port = o->websocket.port;
    } else if (door == NET_LEAFS) {
        *host = o->leaf.host != NULL ? o->leaf.host : "0.0.0.0";
        *port = o->leaf.port;
    }
}

int net_listen(struct net *net, enum net_door door, char host[64], uint16_t *port, char why[256])
{
    struct listener *l = &net->listeners[door];
    struct io_addr bound;
    const char *at;
    int want, rc;

    address_of(net->env->options, door, &at, &want);
    l->net = net;
    l->door = door;
    l->acceptor.accepted = accepted;
    l->acceptor.closed = listener_closed;
    l->acceptor.log = net->env->log;
    rc = acceptor_open(&l->acceptor, net->env->io, at, want > 0 ? (uint16_t) want : 0, &bound);
    if (rc != 0) {
        snprintf(why, 256, "listen tcp %s:%d: bind: %s", at, want, strerror(-rc));
        return rc;
    }
    snprintf(host, 64, "%s", at);
    *port = l->port = bound.port;
    return 0;
}

void net_dial_leafs(struct net *net)
{
    leaf_remotes_start(net);
}

/* A request that was counted as received found nobody after all. */
static void nobody(void *ctx, handle conn, struct account *a, struct str subject, struct str reply)
{
    struct net *net = ctx;
    struct conn *c = handle_get(&net->handles, conn);

    (void) a;
    if (c != NULL)
        conn_no_responders(c, subject, reply);
}

/* ---- life ------------------------------------------------------------------------------------ */

int net_open(struct env *env, struct net_shared *shared, struct net **out)
{
    struct net *net = mem_zalloc(sizeof(*net));

    net->env = env;
    net->shared = shared;
    net->seed = prng_u64(env->prng);
    list_init(&net->conns);
    list_init(&net->dirty);
    list_init(&net->closing);
    list_init(&net->dead_subs);
    list_init(&net->said);
    nuid_init(&net->event_ids, env->prng);
    traces_open(net);
    latency_open(net);
    list_init(&net->leafs);
    list_init(&net->remotes);
    handle_table_init(&net->handles, CONNS_MAX);
    wheel_timer_init(&net->drain, net_drain_next);
    router_set_nobody(env->router, nobody, net);
    net->closed_cap = env->options->max_closed_clients / env->workers;
    *out = net;
    return 0;
}

bool net_drop_slowest(struct net *net)
{
    struct conn *slowest = NULL;
    char text[CONN_TEXT_MAX];

    LIST_FOREACH(l, &net->conns)
    {
        struct conn *c = LIST_ENTRY(l, struct conn, link);
        if (c->state != CONN_CLOSING && c->pending > DROP_MIN &&
            (slowest == NULL || c->pending > slowest->pending))
            slowest = c;
    }
    if (slowest == NULL)
        return false;
    LOG_WRN(net->env->log,
            "%s - Slow Consumer Detected: memory is short, and %llu bytes wait for it",
            conn_text(slowest, text), (unsigned long long) slowest->pending);
    conn_close_slow(slowest);
    return true;
}

static bool listens(const struct net *net)
{
    for (unsigned i = 0; i < NET_DOORS; i++)
        if (net->listeners[i].acceptor.open)
            return true;
    return false;
}

bool net_step(struct net *net)
{
    struct list *l;
    /* Ended subscriptions send fences, which the next iteration carries to the others: it should
     * not wait. */
    bool more = !list_empty(&net->dead_subs);

    sub_reap(net);
    events_say(net);
    LIST_FOREACH_SAFE(leaf, after, &net->leafs)
    leaf_interest_drain(LIST_ENTRY(leaf, struct conn_leaf, link));
    while ((l = list_first(&net->dirty)) != NULL)
        conn_flush(LIST_ENTRY(l, struct conn, dirty_link));
    LIST_FOREACH_SAFE(it, tmp, &net->closing)
    conn_reap(LIST_ENTRY(it, struct conn, link));
    if (net->drained != NULL && list_empty(&net->conns)) {
        void (*drained)(void *ctx) = net->drained;
        net->drained = NULL;
        io_timer_stop(net->env->io, &net->drain);
        drained(net->drained_ctx);
    }
    if (net->stopping && net->stopped != NULL && list_empty(&net->conns) &&
        list_empty(&net->closing) && !listens(net) && leaf_remotes_quiet(net)) {
        void (*stopped)(void *ctx) = net->stopped;
        net->stopped = NULL;
        stopped(net->stopped_ctx);
    }
    return more || !list_empty(&net->dirty) || !list_empty(&net->said);
}

void net_stop_listening(struct net *net)
{
    for (unsigned i = 0; i < NET_DOORS; i++) {
        struct acceptor *a = &net->listeners[i].acceptor;
        if (a->open && !a->closing)
            acceptor_close(a);
    }
}

void net_shutdown(struct net *net, void (*closed)(void *ctx), void *ctx)
{
    net->stopping = true;
    net->stopped = closed;
    net->stopped_ctx = ctx;
    io_timer_stop(net->env->io, &net->drain);
    net_stop_listening(net);
    LIST_FOREACH_SAFE(it, tmp, &net->conns)
    conn_close(LIST_ENTRY(it, struct conn, link), REASON_SHUTDOWN);
    leaf_remotes_stop(net);
    LIST_FOREACH_SAFE(leaf, after, &net->leafs)
    conn_close(LIST_ENTRY(leaf, struct conn_leaf, link)->conn, REASON_SHUTDOWN);
    io_wake(net->env->io);
}

void net_close(struct net *net)
{
    /* Without a shutdown before (a failed start) nothing but the listener can be open; the process
     * ends next. */
    events_drop(net);
    traces_close(net);
    latency_close(net);
    handle_table_deinit(&net->handles);
    net_forget_closed(net);
    mem_free(net->plain);
    ws_pack_close(net->pack);
    leaf_remotes_free(net);
    mem_free(net->lds);
    mem_free(net);
}
