/*
 * parts.c - the parts of a server in the order they need each other.
 *
 * Open: accounts -> workers (loops, routers, lanes) -> JetStream (parts_jetstream.c) -> per worker:
 * net -> listen -> kafka -> listen. Nothing runs meanwhile; a client that connects early waits in
 * the listen queue.
 *
 * Stop: waiting pulls are told, behind a fence; then per worker net_shutdown (no new connections,
 * flush, close) -> kafka_shutdown (likewise) -> JetStream. Close: what is left, in reverse;
 * store_dir_close marks the directory clean.
 */
#include "server/parts.h"

#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/core/account.h"
#include "server/js/js.h"
#include "server/kafka/kafka.h"
#include "server/net/net.h"
#include "server/wiring.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

/* ---- opening --------------------------------------------------------------------------------- */

/* The machine's memory or, when that is less, what its group may use; a group without a limit says
 * "max". */
static uint64_t memory_limit(struct server_parts *p)
{
    struct io_fs *fs = io_fs(worker_group_get(p->workers, 0)->env.io);
    uint64_t group;
    char text[32];
    int64_t n;
    fs_fd fd;

    if (p->memory_bytes == 0)
        return UINT64_MAX;
    fd = fs_open(fs, "/sys/fs/cgroup/memory.max", IO_FILE_READ);
    if (fd < 0)
        return p->memory_bytes;
    n = fs_read(fs, fd, text, sizeof(text), 0);
    fs_close(fs, fd);
    if (n > 0 && str_to_u64(str_trim(str_from(text, (size_t) n)), &group) &&
        group < p->memory_bytes)
        return group;
    return p->memory_bytes;
}

static bool open_accounts(struct server_parts *p, const struct server_parts_options *o,
                          char why[256])
{
    const char *system = o->options->system_account;
    struct wiring *before;

    p->accounts = account_set_open(o->seed);
    p->account = account_set_add(p->accounts, STR(ACCOUNT_DEFAULT));
    p->system_account = account_set_add(p->accounts,
                                        str_of(system != NULL ? system : ACCOUNT_SYSTEM));
    if (!wiring_check(o->options, why))
        return false;
    before = wiring_apply(p->accounts, o->options);
    wiring_free(before);
    return true;
}

bool parts_open_workers(struct server_parts *p, const struct server_parts_options *o, char why[256])
{
    const char *name = o->options->server_name;
    struct worker_group_options g = {
        .workers = o->workers,
        .io = o->io,
        .log = o->log,
        .options = o->options,
        .server_id = o->server_id,
        .keys = o->keys,
        .server_name = name != NULL ? name : o->server_id,
        .version = o->version,
        .seed = o->workers_seed,
        .open_io = o->open_io,
        .ctx = o->ctx,
    };
    int rc;

    p->options = o->options;
    p->log = o->log;
    p->said = &o->options->accounts;
    p->memory_bytes = o->memory_bytes;
    p->store_seed = o->store_seed;
    p->log_file_bytes = o->log_file_bytes;
    p->segment_bytes_min = o->segment_bytes_min;
    p->segment_bytes_max = o->segment_bytes_max;
    p->index_lazy_bytes = o->index_lazy_bytes;
    p->seal_bytes = o->seal_bytes;
    p->kafka_limits = o->kafka_limits;
    if (!open_accounts(p, o, why))
        return false;
    g.accounts = p->accounts;
    g.account = p->account;
    g.system_account = p->system_account;
    rc = worker_group_open(&g, &p->workers);
    if (rc != 0) {
        snprintf(why, 256, "can not open I/O loops: %s", strerror(-rc));
        return false;
    }
    p->memory_share = memory_limit(p) / 4 * 3;
    worker_group_set_memory(p->workers, o->options->memory_bytes != 0 ? o->options->memory_bytes
                                                                      : p->memory_share);
    return true;
}

void parts_set_tls(struct worker *w, const struct parts_tls *tls)
{
    w->env.tls = tls->clients;
    w->env.tls_websocket = tls->websocket;
    w->env.tls_leaf = tls->leaf;
}

bool parts_open_net(struct server_parts *p, const struct parts_tls *tls, char host[64],
                    uint16_t *port, char why[256])
{
    char text[256];

    p->net_shared = net_shared_open(p->options);
    for (unsigned i = 0; i < worker_group_count(p->workers); i++) {
        struct env *env = &worker_group_get(p->workers, i)->env;
        int rc;
        if (tls != NULL)
            parts_set_tls(worker_group_get(p->workers, i), tls);
        rc = net_open(env, p->net_shared, &env->net);
        if (rc != 0) {
            snprintf(why, 256, "can not open connections: %s", strerror(-rc));
            return false;
        }
    }
    if (net_listen(worker_group_get(p->workers, 0)->env.net, NET_CLIENTS, host, port, text) != 0) {
        snprintf(why, 256, "Error listening on port: %s:%d, \"%.180s\"", p->options->host,
                 p->options->port < 0 ? 0 : p->options->port, text);
        return false;
    }
    return true;
}

bool parts_open_websocket(struct server_parts *p, char host[64], uint16_t *port, char why[256])
{
    char text[200];

    *port = 0;
    if (p->options->websocket.port == 0)
        return true;
    if (net_listen(worker_group_get(p->workers, 0)->env.net, NET_WEBSOCKET, host, port, why) == 0)
        return true;
    snprintf(text, sizeof(text), "%s", why);
    snprintf(why, 256, "Unable to listen for websocket connections: %s", text);
    return false;
}

bool parts_open_leafs(struct server_parts *p, char host[64], uint16_t *port, char why[256])
{
    struct net *net = worker_group_get(p->workers, 0)->env.net;
    char text[256];

    *port = 0;
    if (p->options->leaf.port != 0 && net_listen(net, NET_LEAFS, host, port, text) != 0) {
        snprintf(why, 256, "Error listening on leafnode port: %d - %.180s", p->options->leaf.port,
                 text);
        return false;
    }
    net_dial_leafs(net);
    return true;
}

bool parts_open_kafka(struct server_parts *p, uint16_t *port, char why[256])
{
    const struct options *o = p->options;
    int rc;

    *port = 0;
    if (p->kafka_shared == NULL)
        return true;
    for (unsigned i = 0; i < worker_group_count(p->workers); i++) {
        struct env *env = &worker_group_get(p->workers, i)->env;
        kafka_open(env, p->kafka_shared, &env->kafka);
    }
    rc = kafka_listen(worker_group_get(p->workers, 0)->env.kafka, port);
    if (rc != 0)
        snprintf(why, 256, "Error listening for Kafka clients on %s:%d: %s", o->kafka_host,
                 o->kafka_port < 0 ? 0 : o->kafka_port, strerror(-rc));
    return rc == 0;
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void kafka_stopped(void *ctx)
{
    parts_end_jetstream(ctx);
}

static void net_stopped(void *ctx)
{
    struct worker *w = ctx;

    if (w->env.kafka != NULL)
        kafka_shutdown(w->env.kafka, kafka_stopped, w);
    else
        kafka_stopped(w);
}

static void stop_worker(struct ask_all *ask, struct worker *w)
{
    w->stopping = ask;
    if (w->env.net != NULL)
        net_shutdown(w->env.net, net_stopped, w);
    else /* the start failed before */
        net_stopped(w);
}

static void all_stopped(struct ask_all *ask)
{
    struct server_parts *p = CONTAINER_OF(ask, struct server_parts, stopping);

    p->stopped(p);
}

struct farewell {
    struct env_fence fence;
    struct ask_all *ask;
};

static void said(struct env_fence *fence)
{
    struct farewell *f = CONTAINER_OF(fence, struct farewell, fence);

    ask_all_stepped(f->ask);
    mem_free(f);
}

/* Behind the fence, what waiting clients are told has reached the workers of their connections. */
static void say_farewell(struct ask_all *ask, struct worker *w)
{
    struct farewell *f = mem_zalloc(sizeof(*f));

    f->ask = ask;
    f->fence.passed = said;
    if (w->env.jetstream != NULL)
        jetstream_end_pulls(w->env.jetstream);
    w->env.fence(&w->env, &f->fence);
}

static void all_said(struct ask_all *ask)
{
    struct server_parts *p = CONTAINER_OF(ask, struct server_parts, stopping);

    p->stopping = (struct ask_all){.step = stop_worker, .done = all_stopped};
    ask_all_start(p->workers, &p->stopping);
}

void parts_stop(struct server_parts *p, void (*stopped)(struct server_parts *p))
{
    p->stopped = stopped;
    p->stopping = (struct ask_all){.step = say_farewell, .done = all_said};
    ask_all_start(p->workers, &p->stopping);
}

/* ---- closing --------------------------------------------------------------------------------- */

static void close_worker(struct worker *w)
{
    if (w->env.net != NULL)
        net_close(w->env.net);
    w->env.net = NULL;
    if (w->env.kafka != NULL)
        kafka_close(w->env.kafka);
    w->env.kafka = NULL;
    if (w->env.jetstream != NULL)
        jetstream_close(w->env.jetstream);
}

static void close_workers(struct worker_group *g)
{
    for (unsigned i = 0; i < worker_group_count(g); i++)
        close_worker(worker_group_get(g, i));
    worker_group_drain(g);
}

void parts_close(struct server_parts *p)
{
    if (p->workers != NULL)
        close_workers(p->workers);
    if (p->js_server != NULL)
        js_server_close(p->js_server);
    if (p->kafka_shared != NULL)
        kafka_shared_close(p->kafka_shared);
    if (p->net_shared != NULL)
        net_shared_close(p->net_shared);
    if (p->store_dir != NULL)
        store_dir_close(p->store_dir);
    if (p->workers != NULL)
        worker_group_close(p->workers);
    if (p->accounts != NULL)
        account_set_close(p->accounts);
}
