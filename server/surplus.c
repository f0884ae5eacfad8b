/*
 * surplus.c - see surplus.h: two questions to all workers (worker.h), and a choice between them on
 * the main thread. A step writes what is its worker's alone, and reads `all`, which nobody changes
 * then.
 */
#include "server/surplus.h"

#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/core/account.h"
#include "server/net/net.h"
#include "server/worker.h"

#include <stdlib.h>

struct surplus {
    struct ask_all list, tell;
    struct server_parts *parts;
    void (*done)(void *ctx);
    void *ctx;
    struct net_conn_ids *has; /* of each worker */
    unsigned workers;
    struct net_conn_ids all; /* then: what is to go, the newest first */
};

/* ---- the limits ------------------------------------------------------------------------------ */

static int64_t over_server(const struct server_parts *p)
{
    int64_t max = p->options->max_connections;

    return max >= 0 ? net_shared_connections(p->net_shared) - max : 0;
}

static int64_t over_account(const struct account *a)
{
    int64_t max = atomic_load(&a->max_connections);

    return max >= 0 ? atomic_load(&a->connections) - max : 0;
}

static bool is_anything_over(const struct server_parts *p)
{
    bool over = over_server(p) > 0;
    const struct account *a;

    for (uint32_t i = 0; !over && (a = account_set_get(p->accounts, i)) != NULL; i++)
        over = over_account(a) > 0;
    return over;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct net_conn_id *) a)->cid, y = ((const struct net_conn_id *) b)->cid;

    return x < y ? 1 : -(x > y);
}

static void gather(struct surplus *s)
{
    for (unsigned i = 0; i < s->workers; i++)
        s->all.n += s->has[i].n;
    s->all.items = mem_alloc((s->all.n + 1) * sizeof(*s->all.items));
    s->all.n = 0;
    for (unsigned i = 0; i < s->workers; i++)
        for (size_t k = 0; k < s->has[i].n; k++)
            s->all.items[s->all.n++] = s->has[i].items[k];
    qsort(s->all.items, s->all.n, sizeof(*s->all.items), newest_first);
}

static bool goes(struct net_conn_id *id, int64_t *server, int64_t *accounts, uint32_t naccounts)
{
    int64_t *of = id->in_account && id->account < naccounts ? &accounts[id->account] : NULL;
    bool goes = *server > 0 || (of != NULL && *of > 0);

    id->by_account = *server <= 0;
    if (goes) {
        --*server;
        if (of != NULL)
            --*of;
    }
    return goes;
}

static void choose(struct surplus *s)
{
    int64_t server = over_server(s->parts), *accounts;
    uint32_t naccounts = 0;
    size_t n = 0;

    while (account_set_get(s->parts->accounts, naccounts) != NULL)
        naccounts++;
    accounts = mem_alloc((naccounts + 1) * sizeof(*accounts));
    for (uint32_t i = 0; i < naccounts; i++)
        accounts[i] = over_account(account_set_get(s->parts->accounts, i));
    for (size_t i = 0; i < s->all.n; i++)
        if (goes(&s->all.items[i], &server, accounts, naccounts))
            s->all.items[n++] = s->all.items[i];
    s->all.n = n;
    mem_free(accounts);
}

/* ---- asking and telling ---------------------------------------------------------------------- */

static void tell(struct ask_all *ask, struct worker *w)
{
    struct surplus *s = CONTAINER_OF(ask, struct surplus, tell);

    net_close_surplus(w->env.net, &s->all);
    ask_all_stepped(ask);
}

static void told(struct ask_all *ask)
{
    struct surplus *s = CONTAINER_OF(ask, struct surplus, tell);

    s->done(s->ctx);
}

static void list(struct ask_all *ask, struct worker *w)
{
    struct surplus *s = CONTAINER_OF(ask, struct surplus, list);

    net_list_ids(w->env.net, &s->has[w->env.worker]);
    ask_all_stepped(ask);
}

static void listed(struct ask_all *ask)
{
    struct surplus *s = CONTAINER_OF(ask, struct surplus, list);

    gather(s);
    choose(s);
    s->tell.step = tell;
    s->tell.done = told;
    ask_all_start(s->parts->workers, &s->tell);
}

struct surplus *surplus_new(struct server_parts *parts)
{
    struct surplus *s;

    if (!is_anything_over(parts))
        return NULL;
    s = mem_zalloc(sizeof(*s));
    s->parts = parts;
    s->workers = worker_group_count(parts->workers);
    s->has = mem_zalloc(s->workers * sizeof(*s->has));
    return s;
}

void surplus_close(struct surplus *s, void (*done)(void *ctx), void *ctx)
{
    s->done = done;
    s->ctx = ctx;
    s->list.step = list;
    s->list.done = listed;
    ask_all_start(s->parts->workers, &s->list);
}

void surplus_free(struct surplus *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->workers; i++)
        mem_free(s->has[i].items);
    mem_free(s->has);
    mem_free(s->all.items);
    mem_free(s);
}
