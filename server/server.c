/*
 * server.c - opening everything in order, waiting on the main loop, closing everything in reverse.
 *
 * Start: server id -> workers (loops, routers) -> per worker: net -> listen -> store directory
 * (recovery) -> per worker: store, js -> threads -> monitoring -> files (pid, ports) -> "Server is
 * ready". Up to the threads everything runs here on the main thread. The port for clients is bound
 * before the store is opened: who connects meanwhile waits in the listen queue for INFO, instead of
 * being refused (a first log file of 64 MiB takes 0.1 s to write, and scripts do not try twice).
 *
 * Stop: per worker net_shutdown (no new connections, flush, close) -> js_shutdown (consumer states
 * durable) -> store_close (commits done) -> threads joined -> objects freed -> store_dir_close
 * marks the directory clean.
 */
#include "server/server.h"

#include "lib/base/buf.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/banner.h"
#include "server/js/js.h"
#include "server/monitor/monitor.h"
#include "server/net/tls.h"
#include "server/ocsp.h"
#include "server/operator.h"
#include "server/server_int.h"
#include "server/sys/sys.h"
#include "server/wiring.h"
#include "store/store.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* ---- waking the main thread ------------------------------------------------------------------ */

static void wake_main(void *ctx)
{
    struct server *s = ctx;
    uint64_t one = 1;
    ssize_t n = write(s->wake_fd, &one, sizeof(one));
    (void) n; /* full means that it is awake already */
}

static void on_woken(evutil_socket_t fd, short what, void *ctx)
{
    struct server *s = ctx;
    uint64_t count;
    ssize_t n = read(fd, &count, sizeof(count));

    (void) n;
    (void) what;
    logger_drain(s->logger);
    if (s->parts.workers != NULL)
        ask_all_reap(s->parts.workers);
    if (s->sys != NULL)
        sys_take(s->sys);
    if (s->claims != NULL)
        operator_take(s->claims);
    if (s->ocsp != NULL)
        ocsp_take(s->ocsp);
    logger_drain(s->logger);
}

/* ---- starting -------------------------------------------------------------------------------- */

static bool open_base(struct server *s)
{
    s->base = event_base_new();
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->base == NULL || s->wake_fd < 0) {
        log_print(s->log, LOG_FATAL, "can not make the main event loop: %s", strerror(errno));
        return false;
    }
    s->woken = event_new(s->base, s->wake_fd, EV_READ | EV_PERSIST, on_woken, s);
    event_add(s->woken, NULL);
    for (size_t i = 0; i < SERVER_SIGNALS; i++) {
        s->signals[i] = evsignal_new(s->base, server_signals[i], server_on_signal, s);
        event_add(s->signals[i], NULL);
    }
    return true;
}

static unsigned worker_count(const struct options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (o->workers > 0)
        return o->workers < WORKERS_MAX ? o->workers : WORKERS_MAX;
    if (cores <= 2)
        return 1;
    return cores - 1 < (long) WORKERS_MAX ? (unsigned) (cores - 1) : WORKERS_MAX;
}

static enum io_backend backend_of(const char *name)
{
    if (name != NULL && strcmp(name, "uring") == 0)
        return IO_BACKEND_URING;
    if (name != NULL && strcmp(name, "event") == 0)
        return IO_BACKEND_EVENT;
    return IO_BACKEND_AUTO;
}

static bool open_workers(struct server *s)
{
    struct server_parts_options o = {
        .options = s->options,
        .log = s->log,
        .server_id = s->id,
        .keys = &s->keys,
        .version = NATS_VERSION,
        .workers = worker_count(s->options),
        .memory_bytes = (uint64_t) sysconf(_SC_PHYS_PAGES) * (uint64_t) sysconf(_SC_PAGESIZE),
    };
    char why[256];

    randombytes_buf(&o.seed, sizeof(o.seed));
    io_config_init(&o.io);
    o.io.backend = backend_of(s->options->io_backend);
    o.io.log = s->log;
    o.io.congestion = s->options->congestion;
    if (!parts_open_workers(&s->parts, &o, why)) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    worker_group_on_done(s->parts.workers, wake_main, s);
    return true;
}

static bool open_operator(struct server *s)
{
    char why[256];

    if (!operators_on(s->options))
        return true;
    s->claims = operator_open(
        &(struct operator_host){
            .base = s->base,
            .parts = &s->parts,
            .options = s->options,
            .log = s->log,
            .wake = wake_main,
            .ctx = s,
            .server_id = s->id,
        },
        why);
    if (s->claims == NULL) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    s->parts.said = operator_accounts(s->claims);
    return true;
}

bool server_open_jetstream(struct server *s, char why[256])
{
    struct buf path = {0};
    bool ok;
    struct js_stats stats;

    LOG_INF(s->log, "Starting JetStream");
    ok = files_make_store_dir(s->options->store_dir, &path, why) &&
         parts_open_jetstream(&s->parts, buf_cstr(&path), why);
    buf_free(&path);
    if (!ok)
        return false;
    jetstream_stats(worker_group_get(s->parts.workers, 0)->env.jetstream, &stats);
    banner_jetstream(s->log, s->options, store_dir_path(s->parts.store_dir),
                     store_dir_recovery(s->parts.store_dir), &stats);
    return true;
}

static bool open_jetstream(struct server *s)
{
    char why[256];

    if (!s->options->jetstream || server_open_jetstream(s, why))
        return true;
    log_print(s->log, LOG_FATAL, "%s", why);
    return false;
}

static bool open_tls(const struct tls_options *o, struct tls_context **out, char why[256])
{
    *out = o->on ? tls_context_open(o, why) : NULL;
    return *out != NULL || !o->on;
}

bool server_open_tls(const struct options *o, struct parts_tls *out, char why[256])
{
    bool ok;

    *out = (struct parts_tls){0};
    ok = open_tls(&o->tls, &out->clients, why) &&
         open_tls(&o->websocket.tls, &out->websocket, why) &&
         open_tls(&o->leaf.tls, &out->leaf, why);
    if (!ok) {
        server_put_tls(out);
        *out = (struct parts_tls){0};
    }
    return ok;
}

bool server_check_files(const struct options *o, char why[256])
{
    struct parts_tls tls;

    if (!wiring_try(o, why) || !server_open_tls(o, &tls, why))
        return false;
    server_put_tls(&tls);
    return true;
}

void server_put_tls(const struct parts_tls *tls)
{
    tls_context_put(tls->clients);
    tls_context_put(tls->websocket);
    tls_context_put(tls->leaf);
}

static void end_revoked(void *ctx)
{
    server_stop(ctx);
}

static bool open_ocsp(struct server *s, char why[256])
{
    s->ocsp = ocsp_open(
        &(struct ocsp_host){
            .base = s->base,
            .parts = &s->parts,
            .log = s->log,
            .wake = wake_main,
            .end = end_revoked,
            .ctx = s,
        },
        s->options, &s->tls, why);
    return s->ocsp != NULL;
}

static bool open_net(struct server *s)
{
    char why[256];

    if (!server_open_tls(s->options, &s->tls, why) || !open_ocsp(s, why) ||
        !parts_open_net(&s->parts, &s->tls, s->host, &s->port, why)) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    return true;
}

static void say_listening(struct server *s)
{
    const struct tls_options *tls = &s->options->tls;
    bool first = tls->first && tls->first_wait_ns == 0;
    char at[FMT_HOST_PORT_MAX];

    LOG_INF(s->log, "Listening for client connections on %s", fmt_host_port(at, s->host, s->port));
    if (s->tls.clients != NULL)
        LOG_INF(s->log, "TLS %s for client connections",
                s->options->allow_non_tls && !first ? "available" : "required");
    if (s->tls.clients != NULL && first)
        LOG_WRN(s->log, "Clients that are not using \"TLS Handshake First\" option will fail to "
                        "connect");
}

static bool open_websocket(struct server *s)
{
    const char *scheme = s->tls.websocket != NULL ? "wss" : "ws";
    char why[256], at[FMT_HOST_PORT_MAX];

    if (!parts_open_websocket(&s->parts, s->ws_host, &s->ws_port, why)) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    if (s->ws_port == 0)
        return true;
    LOG_INF(s->log, "Listening for websocket clients on %s://%s", scheme,
            fmt_host_port(at, s->ws_host, s->ws_port));
    if (s->tls.websocket == NULL)
        LOG_WRN(s->log, "Websocket not configured with TLS. DO NOT USE IN PRODUCTION!");
    return true;
}

static bool open_leafs(struct server *s)
{
    char why[256], at[FMT_HOST_PORT_MAX];

    if (!parts_open_leafs(&s->parts, s->leaf_host, &s->leaf_port, why)) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    if (s->leaf_port != 0)
        LOG_INF(s->log, "Listening for leafnode connections on %s",
                fmt_host_port(at, s->leaf_host, s->leaf_port));
    return true;
}

static bool open_kafka(struct server *s)
{
    char why[256], at[FMT_HOST_PORT_MAX];

    if (!parts_open_kafka(&s->parts, &s->kafka_port, why)) {
        log_print(s->log, LOG_FATAL, "%s", why);
        return false;
    }
    if (s->kafka_port != 0)
        LOG_INF(s->log, "Listening for Kafka clients on %s",
                fmt_host_port(at, s->options->kafka_host, s->kafka_port));
    return true;
}

/* ---- monitoring ------------------------------------------------------------------------------ */

struct collecting {
    struct ask_all ask;
    struct monitor_collect *collect;
};

static void collect_step(struct ask_all *ask, struct worker *w)
{
    struct collecting *c = CONTAINER_OF(ask, struct collecting, ask);

    c->collect->step(c->collect, &w->env);
    ask_all_stepped(ask);
}

static void collect_done(struct ask_all *ask)
{
    struct collecting *c = CONTAINER_OF(ask, struct collecting, ask);

    c->collect->done(c->collect);
    mem_free(c);
}

static void collect(void *ctx, struct monitor_collect *what)
{
    struct server *s = ctx;
    struct collecting *c = mem_zalloc(sizeof(*c));

    c->collect = what;
    c->ask.step = collect_step;
    c->ask.done = collect_done;
    ask_all_start(s->parts.workers, &c->ask);
}

static const char *unhealthy(void *ctx)
{
    const struct server *s = ctx;
    return s->state == READY || s->state == LAME_DUCK ? NULL : "server is shutting down";
}

static bool kept_answers(void *ctx, struct monitor_ocsp_cache *out)
{
    const struct server *s = ctx;
    struct peer_cache_stats c;

    if (!ocsp_cache_stats(s->ocsp, &c))
        return false;
    *out = (struct monitor_ocsp_cache){.hits = c.hits,
                                       .misses = c.misses,
                                       .responses = c.responses,
                                       .good = c.by_status[OCSP_SAYS_GOOD],
                                       .revoked = c.by_status[OCSP_SAYS_REVOKED],
                                       .unknown = c.by_status[OCSP_SAYS_UNKNOWN]};
    return true;
}

static int64_t cert_ends(void *ctx, enum monitor_door door)
{
    const struct server *s = ctx;
    struct tls_context *const all[] = {[MONITOR_CLIENTS] = s->tls.clients,
                                       [MONITOR_WEBSOCKET] = s->tls.websocket,
                                       [MONITOR_LEAFS] = s->tls.leaf};

    return all[door] != NULL ? tls_context_ends(all[door]) : 0;
}

static const char *account_token(void *ctx, const char *account)
{
    const struct server *s = ctx;

    return s->claims != NULL ? operator_token(s->claims, account) : NULL;
}

static void open_reports(struct server *s)
{
    struct io *io = worker_group_get(s->parts.workers, 0)->env.io;

    s->reports = reports_open(&(struct monitor_host){
        .ctx = s,
        .workers = worker_group_count(s->parts.workers),
        .collect = collect,
        .options = s->options,
        .accounts = s->parts.accounts,
        .account = s->parts.account,
        .system_account = s->options->no_system_account ? NULL : s->parts.system_account,
        .server_id = s->id,
        .server_name = worker_group_get(s->parts.workers, 0)->env.server_name,
        .version = NATS_VERSION,
        .git_commit = "",
        .start_wall_ns = s->start_wall_ns,
        .config_load_wall_ns = s->start_wall_ns,
        .io_backend = io_backend_name(io),
        .io_reason = io_backend_reason(io),
        .host = s->host,
        .port = s->port,
        .unhealthy = unhealthy,
        .ocsp_cache = kept_answers,
        .cert_ends = cert_ends,
        .account_token = account_token,
        .log = s->log,
    });
}

static struct bufferevent *wrap_monitor(struct event_base *base, void *ctx)
{
    struct server *s = ctx;

    /* With the certificate of now, whatever a reload has brought. */
    return bufferevent_openssl_socket_new(base, -1, tls_context_session(s->tls.clients),
                                          BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
}

static bool open_monitor(struct server *s)
{
    const struct options *o = s->options;
    const char *host = o->http_host != NULL ? o->http_host : o->host;
    bool tls = o->https_port != 0;
    int port = tls ? o->https_port : o->http_port;
    char why[256], at[FMT_HOST_PORT_MAX];

    if (port == 0)
        return true;
    s->http_port = port > 0 ? (uint16_t) port : 0;
    s->monitor_tls = (struct monitor_tls){.wrap = wrap_monitor, .ctx = s};
    s->monitor = monitor_open(s->base, s->reports, tls ? &s->monitor_tls : NULL, host,
                              &s->http_port, why);
    if (s->monitor == NULL) {
        log_print(s->log, LOG_FATAL, "Can't listen to the monitor port: %s", why);
        return false;
    }
    reports_set_ports(s->reports, tls ? 0 : s->http_port, tls ? s->http_port : 0);
    LOG_INF(s->log, "Starting %s monitor on %s", tls ? "https" : "http",
            fmt_host_port(at, host, s->http_port));
    return true;
}

/* ---- the system account ---------------------------------------------------------------------- */

static void post(void *ctx, unsigned worker, struct env_task *task)
{
    struct server *s = ctx;

    worker_post(worker_group_get(s->parts.workers, worker), task);
}

static void open_sys(struct server *s)
{
    unsigned n = worker_group_count(s->parts.workers);
    struct env *envs[WORKERS_MAX];

    if (s->options->no_system_account)
        return;
    for (unsigned i = 0; i < n; i++)
        envs[i] = &worker_group_get(s->parts.workers, i)->env;
    s->sys = sys_open(
        &(struct sys_host){
            .ctx = s,
            .base = s->base,
            .reports = s->reports,
            .log = s->log,
            .collect = collect,
            .post = post,
            .wake = wake_main,
            .reload = server_reload,
        },
        envs, n);
}

/* ---- life ------------------------------------------------------------------------------------ */

bool server_write_files(struct server *s, const struct options *o)
{
    bool tls = s->tls.clients != NULL && !o->allow_non_tls;

    return files_write(&s->files, o, s->program, s->log,
                       &(struct files_ports){
                           .scheme = tls ? "tls" : "nats",
                           .host = s->host,
                           .port = s->port,
                           .http_port = s->http_port,
                           .kafka_port = s->kafka_port,
                           .ws_host = s->ws_host,
                           .ws_port = s->ws_port,
                           .leaf_host = s->leaf_host,
                           .leaf_port = s->leaf_port,
                           .ws_scheme = s->tls.websocket != NULL ? "wss" : "ws",
                       });
}

static bool start(struct server *s)
{
    struct timespec now;

    if (sodium_init() < 0)
        FATAL("libsodium can not be initialised");
    clock_gettime(CLOCK_REALTIME, &now);
    s->start_wall_ns = (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
    server_id_make(s->id, &s->keys);
    if (!open_base(s))
        return false;
    banner_start(s->log, s->program, s->options, s->id);
    if (!open_workers(s))
        return false;
    banner_io(s->log, worker_group_get(s->parts.workers, 0)->env.io,
              worker_group_count(s->parts.workers));
    if (!open_operator(s) || !open_net(s))
        return false;
    /* Who finds the port open may want to end the server by this file, before JetStream is there.
     */
    if (!files_write_pid(&s->files, s->options, s->log) || !open_jetstream(s))
        return false;
    say_listening(s);
    if (!open_websocket(s) || !open_leafs(s) || !open_kafka(s))
        return false;
    open_reports(s);
    open_sys(s);
    if (!open_monitor(s))
        return false;
    return server_write_files(s, s->options);
}

static bool start_threads(struct server *s)
{
    int rc;

    logger_start(s->logger, wake_main, s);
    rc = worker_group_start(s->parts.workers);
    if (rc != 0)
        log_print(s->log, LOG_FATAL, "can not start a thread: %s", strerror(-rc));
    return rc == 0;
}

/* What a start that fails late has opened (stores, a listener) has operations in flight, and only
 * running workers see them end: so the workers run, to stop as they always do. */
static void give_up(struct server *s)
{
    if (s->parts.workers != NULL) {
        if (!start_threads(s)) {
            logger_stop(s->logger);
            _exit(EXIT_FAILURE);
        }
        server_stop_workers(s);
        event_base_dispatch(s->base);
    }
    server_close(s);
}

struct server *server_open(struct options *options, struct logger *logger, const char *program,
                           const char *path, struct server_reread reread)
{
    struct server *s = mem_zalloc(sizeof(*s));
    bool started;

    s->options = options;
    s->reread = reread;
    s->logger = logger;
    s->log = logger_log(logger);
    s->program = program;
    s->wake_fd = -1;
    started = start(s);
    randombytes_buf(s->js_keys.secret, sizeof(s->js_keys.secret));
    reload_keys_note(&s->js_keys, options);
    options_wipe_keys(options); /* before the workers, which copy options */
    if (!started) {
        give_up(s);
        return NULL;
    }
    if (!start_threads(s)) {
        logger_stop(logger);
        _exit(EXIT_FAILURE);
    }
    if (s->claims != NULL)
        operator_started(s->claims);
    s->state = READY;
    LOG_INF(s->log, "Server is ready");
    banner_hints(s->log, path, options, s->host, s->port, s->http_port);
    logger_drain(logger);
    return s;
}

int server_run(struct server *s)
{
    event_base_dispatch(s->base);
    LOG_INF(s->log, "Server Exiting..");
    return s->exit_code;
}

void server_close(struct server *s)
{
    logger_stop(s->logger);
    if (s->monitor != NULL)
        monitor_close(s->monitor);
    if (s->sys != NULL)
        sys_stop(s->sys);
    files_remove(&s->files);
    if (s->parts.workers != NULL)
        worker_group_stop(s->parts.workers);
    if (s->sys != NULL)
        sys_close(s->sys);
    if (s->claims != NULL)
        operator_close(s->claims);
    ocsp_close(s->ocsp);
    parts_close(&s->parts);
    if (s->reports != NULL)
        reports_close(s->reports);
    server_put_tls(&s->tls);
    server_signals_close(s);
    for (size_t i = 0; i < ARRAY_LEN(s->signals); i++)
        if (s->signals[i] != NULL)
            event_free(s->signals[i]);
    if (s->woken != NULL)
        event_free(s->woken);
    if (s->base != NULL)
        event_base_free(s->base);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    server_id_wipe(&s->keys);
    mem_free(s);
}
