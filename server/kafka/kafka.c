/*
 * kafka.c - opening, handing connections out, the loop stage, the end.
 *
 * Stopping: the acceptor closes, calls to JetStream end without an answer, requests under way are
 * cancelled, and what they answer is still sent; then the connections close.
 */
#include "server/kafka/kafka.h"

#include "lib/base/mem.h"
#include "server/js/js.h"
#include "server/kafka/compact.h"
#include "server/kafka/coordinator.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/partition.h"
#include "server/kafka/sasl.h"
#include "server/kafka/txn_record.h"
#include "store/store.h"

/* ---- shared ---------------------------------------------------------------------------------- */

static void open_topics(struct kafka_world *w, struct js_server *js)
{
    if (w->topics != NULL || !js_server_has(js, w->account))
        return;
    w->topics = topics_open();
    js_server_watch(js, w->account, topics_watch(w->topics));
}

void kafka_shared_accounts(struct kafka_shared *shared, struct js_server *js,
                           struct account_set *accounts)
{
    uint32_t n = shared->nworlds;
    struct account *a;

    while (account_set_get(accounts, n) != NULL)
        n++;
    shared->worlds = mem_realloc(shared->worlds, ((size_t) n + 1) * sizeof(*shared->worlds));
    for (; (a = account_set_get(accounts, shared->nworlds)) != NULL; shared->nworlds++) {
        struct kafka_world *w = &shared->worlds[shared->nworlds];
        *w = (struct kafka_world){.account = a};
        open_topics(w, js);
    }
}

void kafka_shared_account(struct kafka_shared *shared, struct js_server *js,
                          struct account_set *accounts, const struct account *a)
{
    if (a->index >= shared->nworlds)
        kafka_shared_accounts(shared, js, accounts);
    open_topics(&shared->worlds[a->index], js);
}

struct kafka_shared *kafka_shared_open(const struct options *options, struct js_server *js,
                                       struct account_set *accounts, struct store_dir *dir,
                                       const struct kafka_limits *limits)
{
    struct kafka_shared *shared = mem_zalloc(sizeof(*shared));

    shared->txn_whole_least = limits->txn_whole_least > 0 ? limits->txn_whole_least
                                                          : TXN_WHOLE_LEAST;
    shared->groups_held_most = limits->groups_held_most > 0 ? limits->groups_held_most
                                                            : COORDINATOR_HELD_MAX;
    shared->options = options;
    store_dir_uuid(dir, shared->cluster.bytes);
    kafka_shared_accounts(shared, js, accounts);
    return shared;
}

void kafka_shared_close(struct kafka_shared *shared)
{
    for (uint32_t i = 0; i < shared->nworlds; i++)
        if (shared->worlds[i].topics != NULL)
            topics_close(shared->worlds[i].topics);
    mem_free(shared->worlds);
    mem_free(shared);
}

/* ---- realms ---------------------------------------------------------------------------------- */

struct realm *realm_here(const struct env *env, const struct realm *of)
{
    return env->kafka != NULL && of->index < env->kafka->nrealms ? env->kafka->realms[of->index]
                                                                 : NULL;
}

struct realm *realm_of(struct kafka *k, const struct account *a)
{
    if (a->index >= k->nrealms || k->realms[a->index]->topics == NULL)
        return NULL;
    return k->realms[a->index];
}

/* It has topics, perhaps only now. */
static void furnish(struct realm *realm)
{
    const struct kafka_world *w = &realm->kafka->shared->worlds[realm->index];

    if (realm->topics != NULL || w->topics == NULL)
        return;
    realm->topics = w->topics;
    realm->calls = js_calls_open(realm);
}

/* Those that are new. They stay where they are: clients and requests point at them. */
static void open_realms(struct kafka *k)
{
    uint32_t n = k->shared->nworlds;

    k->realms = mem_realloc(k->realms, ((size_t) n + 1) * sizeof(struct realm *));
    for (; k->nrealms < n; k->nrealms++) {
        const struct kafka_world *w = &k->shared->worlds[k->nrealms];
        struct realm *realm = mem_zalloc(sizeof(*realm));
        *realm = (struct realm){.kafka = k, .index = k->nrealms, .account = w->account};
        hmap_init(&realm->partitions);
        list_init(&realm->deaf);
        furnish(realm);
        k->realms[k->nrealms] = realm;
    }
}

static void end_calls(struct kafka *k)
{
    for (uint32_t i = 0; i < k->nrealms; i++)
        if (k->realms[i]->calls != NULL)
            js_calls_end(k->realms[i]->calls);
}

static void close_realms(struct kafka *k)
{
    for (uint32_t i = 0; i < k->nrealms; i++) {
        partitions_close(k->realms[i]);
        if (k->realms[i]->calls != NULL)
            js_calls_close(k->realms[i]->calls);
        mem_free(k->realms[i]);
    }
    mem_free(k->realms);
}

/* ---- accepting ------------------------------------------------------------------------------- */

struct handed {
    struct env_task task;
    io_fd fd;
};

static void take_handed(struct env_task *task, struct env *env)
{
    struct handed *h = CONTAINER_OF(task, struct handed, task);

    if (env->kafka == NULL || env->kafka->stopping)
        io_fd_discard(env->io, h->fd);
    else
        kafka_conn_adopt(env->kafka, h->fd);
    mem_free(h);
}

static void hand_out(struct acceptor *a, io_fd fd)
{
    struct kafka *k = CONTAINER_OF(a, struct kafka, acceptor);
    struct env *env = k->env;
    uint32_t to = env->place(env);
    struct handed *h;

    if (to == env->worker) {
        kafka_conn_adopt(k, fd);
        return;
    }
    h = mem_zalloc(sizeof(*h));
    h->task.run = take_handed;
    h->fd = fd;
    env->post(env, to, &h->task);
}

static void acceptor_closed(struct acceptor *a)
{
    io_wake(CONTAINER_OF(a, struct kafka, acceptor)->env->io);
}

int kafka_listen(struct kafka *k, uint16_t *port)
{
    const struct options *o = k->env->options;
    struct io_addr bound;
    int rc;

    k->acceptor.accepted = hand_out;
    k->acceptor.closed = acceptor_closed;
    k->acceptor.log = k->env->log;
    rc = acceptor_open(&k->acceptor, k->env->io, o->kafka_host,
                       o->kafka_port > 0 ? (uint16_t) o->kafka_port : 0, &bound);
    if (rc == 0)
        *port = k->shared->port = bound.port;
    return rc;
}

/* ---- life ------------------------------------------------------------------------------------ */

void kafka_open(struct env *env, struct kafka_shared *shared, struct kafka **out)
{
    struct kafka *k = mem_zalloc(sizeof(*k));

    k->env = env;
    k->shared = shared;
    list_init(&k->conns);
    list_init(&k->dirty);
    list_init(&k->closing);
    open_realms(k);
    k->compactor = compactor_open(k);
    fetch_sessions_init(&k->sessions, env->prng);
    env->kafka_info = kafka_info;
    env->before_removal = partition_before_removal;
    *out = k;
}

static void wake_coordinators(struct kafka *k)
{
    k->woken = true;
    for (uint32_t i = 0; i < k->nrealms; i++)
        coordinator_wake(k->realms[i]);
}

bool kafka_step(struct kafka *k)
{
    struct list now, *l;

    if (!k->woken && !k->stopping)
        wake_coordinators(k);

    list_init(&now);
    list_splice(&now, &k->dirty);
    while ((l = list_pop_front(&now)) != NULL)
        kafka_conn_step(LIST_ENTRY(l, struct kafka_conn, dirty_link));
    LIST_FOREACH_SAFE(it, tmp, &k->closing)
    kafka_conn_reap(LIST_ENTRY(it, struct kafka_conn, link));
    if (k->stopping && k->closed != NULL && list_empty(&k->conns) && list_empty(&k->closing) &&
        !k->acceptor.open && compactor_is_quiet(k->compactor)) {
        void (*closed)(void *ctx) = k->closed;
        k->closed = NULL;
        closed(k->closed_ctx);
    }
    return !list_empty(&k->dirty);
}

void kafka_shutdown(struct kafka *k, void (*closed)(void *ctx), void *ctx)
{
    k->stopping = true;
    k->closed = closed;
    k->closed_ctx = ctx;
    if (k->acceptor.open)
        acceptor_close(&k->acceptor);
    compactor_stop(k->compactor);
    end_calls(k);
    LIST_FOREACH_SAFE(it, tmp, &k->conns)
    kafka_conn_close(LIST_ENTRY(it, struct kafka_conn, link), "server shutdown");
    io_wake(k->env->io);
}

void kafka_lame_duck(struct kafka *k)
{
    if (k->acceptor.open)
        acceptor_close(&k->acceptor);
}

void kafka_reload(struct kafka *k, const struct options *before)
{
    if (!k->stopping)
        open_realms(k);
    LIST_FOREACH_SAFE(it, tmp, &k->conns)
    {
        struct kafka_conn *c = LIST_ENTRY(it, struct kafka_conn, link);
        if (!sasl_still_valid(c, before)) {
            sasl_revoke(c);
            kafka_conn_close(c, "authentication revoked");
        }
    }
    /* What closes may have a request under way, which still looks at its user. */
    LIST_FOREACH(it, &k->closing)
    {
        struct kafka_conn *c = LIST_ENTRY(it, struct kafka_conn, link);
        if (!sasl_still_valid(c, before))
            sasl_revoke(c);
    }
}

void kafka_account_changed(struct kafka *k, struct account *a, const struct trust *before,
                           const struct trust *now)
{
    if (!k->stopping && a->index < k->shared->nworlds) {
        open_realms(k);
        furnish(k->realms[a->index]);
    }
    LIST_FOREACH_SAFE(it, tmp, &k->conns)
    sasl_account_changed(LIST_ENTRY(it, struct kafka_conn, link), a, before, now);
    LIST_FOREACH(it, &k->closing)
    sasl_account_changed(LIST_ENTRY(it, struct kafka_conn, link), a, before, now);
    io_wake(k->env->io);
}

void kafka_close(struct kafka *k)
{
    compactor_close(k->compactor);
    fetch_sessions_deinit(&k->sessions);
    close_realms(k);
    mem_free(k);
}
