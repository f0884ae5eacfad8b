/*
 * server_signals.c - what a running server is told by signals: stop, lame duck, reload, open the
 * log again.
 *
 * Stop (INT, TERM): all workers end their part, then the main loop ends. A second one leaves at
 * once. TERM is ignored while lame duck runs.
 *
 * Lame duck (USR2): the listener closes, every client is told by INFO; without clients that is all.
 * After lame_duck_grace_period the clients are closed one after the other in the rest of
 * lame_duck_duration; then stop. JetStream works until the last client is gone.
 *
 * Reload (HUP): file and flags are read again into a new snapshot. One that is not valid, or that
 * changes what can only change with a restart, is refused as a whole. Else every worker gets it
 * between two iterations and looks at its connections again; when the last one has, the old
 * snapshot is freed. Readers of the options on the main thread follow at the same moment. JetStream
 * that comes is there before, and one that goes ends behind all that.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/js/js.h"
#include "server/kafka/kafka.h"
#include "server/monitor/monitor.h"
#include "server/net/net.h"
#include "server/net/tls.h"
#include "server/ocsp.h"
#include "server/operator.h"
#include "server/reload.h"
#include "server/server_int.h"
#include "server/surplus.h"
#include "server/sys/sys.h"
#include "server/wiring.h"
#include "server/worker_pause.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

const int server_signals[SERVER_SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};

/* ---- stop ------------------------------------------------------------------------------------ */

static void all_stopped(struct server_parts *parts)
{
    struct server *s = CONTAINER_OF(parts, struct server, parts);

    s->state = STOPPED;
    event_base_loopbreak(s->base);
}

void server_stop_workers(struct server *s)
{
    s->state = STOPPING;
    if (s->ocsp != NULL)
        ocsp_stop(s->ocsp);
    parts_stop(&s->parts, all_stopped);
}

static void begin_stop(struct server *s)
{
    if (s->state != READY && s->state != LAME_DUCK)
        return;
    s->stop_wanted = s->leaving;
    if (s->leaving) /* one after the other */
        return;
    LOG_INF(s->log, "Initiating Shutdown...");
    if (s->sys != NULL)
        sys_say(s->sys, "SHUTDOWN");
    server_stop_workers(s);
}

void server_stop(struct server *s)
{
    begin_stop(s);
}

/* ---- lame duck ------------------------------------------------------------------------------- */

static void drained(struct ask_all *ask)
{
    begin_stop(CONTAINER_OF(ask, struct server, draining));
}

static void worker_drained(void *ctx)
{
    ask_all_stepped(ctx);
}

static void drain_worker(struct ask_all *ask, struct worker *w)
{
    const struct options *o = w->env.options;

    net_drain(w->env.net, (uint64_t) (o->lame_duck_duration_ns - o->lame_duck_grace_ns),
              worker_drained, ask);
}

static void grace_over(evutil_socket_t fd, short what, void *ctx)
{
    struct server *s = ctx;

    (void) fd;
    (void) what;
    if (s->state != LAME_DUCK)
        return;
    LOG_INF(s->log, "Closing existing clients");
    s->draining = (struct ask_all){.step = drain_worker, .done = drained};
    ask_all_start(s->parts.workers, &s->draining);
}

static void quieten_worker(struct ask_all *ask, struct worker *w)
{
    net_lame_duck(w->env.net);
    if (w->env.kafka != NULL)
        kafka_lame_duck(w->env.kafka);
    ask_all_stepped(ask);
}

static void quietened(struct ask_all *ask)
{
    struct server *s = CONTAINER_OF(ask, struct server, draining);
    int64_t ns = s->options->lame_duck_grace_ns;
    struct timeval grace = {.tv_sec = ns / 1000000000, .tv_usec = ns % 1000000000 / 1000};

    if (s->state != LAME_DUCK)
        return;
    if (net_shared_connections(s->parts.net_shared) == 0) {
        begin_stop(s);
        return;
    }
    s->grace = evtimer_new(s->base, grace_over, s);
    event_add(s->grace, &grace);
}

static void begin_lame_duck(struct server *s)
{
    if (s->state != READY)
        return;
    s->state = LAME_DUCK;
    LOG_INF(s->log, "Entering lame duck mode, stop accepting new clients");
    if (s->sys != NULL)
        sys_say(s->sys, "LAMEDUCK");
    s->draining = (struct ask_all){.step = quieten_worker, .done = quietened};
    ask_all_start(s->parts.workers, &s->draining);
}

/* ---- reload ---------------------------------------------------------------------------------- */

struct reloading {
    struct ask_all ask;
    struct server *server;
    const struct options *before;
    struct options *before_own; /* before, or NULL when it is not ours */
    const struct options *now;
    struct parts_tls tls_before, tls;
    struct wiring *wiring_before;
    struct surplus *surplus; /* NULL: nobody is over a limit */
};

static void free_snapshot(struct options *o)
{
    if (o != NULL)
        options_free(o);
    mem_free(o);
}

static void reload_worker(struct ask_all *ask, struct worker *w)
{
    const struct reloading *r = CONTAINER_OF(ask, struct reloading, ask);

    w->env.options = r->now;
    if (w->env.jetstream != NULL)
        jetstream_accounts(w->env.jetstream);
    parts_set_tls(w, &r->tls);
    net_reload(w->env.net, r->before);
    if (w->env.kafka != NULL)
        kafka_reload(w->env.kafka, r->before);
    ask_all_stepped(ask);
}

static void say_changed(void *ctx, const char *line)
{
    LOG_INF((struct log *) ctx, "Reloaded: %s", line);
}

static void begin_reload(struct server *s);

struct reload_waiter {
    struct reload_waiter *next;
    void (*done)(void *ctx, const char *why);
    void *ctx;
};

/* Those who asked while this one was under way want the next one. */
static void tell_waiters(struct server *s, const char *why)
{
    struct reload_waiter *list = s->waiters, *next;

    s->waiters = NULL;
    for (; list != NULL; list = next) {
        next = list->next;
        list->done(list->ctx, why);
        mem_free(list);
    }
}

static void reload_done(void *ctx)
{
    struct reloading *r = ctx;
    struct server *s = r->server;

    reload_changes(r->before, r->now, say_changed, s->log);
    LOG_INF(s->log, "Reloaded server configuration (%s)", r->now->config_digest);
    if (s->claims != NULL)
        operator_reload(s->claims, r->now);
    free_snapshot(r->before_own);
    server_put_tls(&r->tls_before);
    wiring_free(r->wiring_before);
    surplus_free(r->surplus);
    s->reloading = NULL;
    mem_free(r);
    if (s->reload_again) {
        s->reload_again = false;
        begin_reload(s);
        return;
    }
    tell_waiters(s, NULL);
}

static void jetstream_left(struct server_parts *parts)
{
    struct server *s = CONTAINER_OF(parts, struct server, parts);

    LOG_INF(s->log, "JetStream Shutdown");
    s->leaving = false;
    reload_done(s->reloading);
    if (s->stop_wanted)
        begin_stop(s);
}

/* JetStream goes behind everything else: no worker has it in its options any more. */
static void end_jetstream(void *ctx)
{
    struct reloading *r = ctx;
    struct server *s = r->server;

    if (r->now->jetstream || s->parts.store_dir == NULL || s->state != READY) {
        reload_done(r);
        return;
    }
    LOG_INF(s->log, "Initiating JetStream Shutdown...");
    s->leaving = true;
    parts_stop_jetstream(&s->parts, jetstream_left);
}

static void reloaded(struct ask_all *ask)
{
    struct reloading *r = CONTAINER_OF(ask, struct reloading, ask);

    if (r->server->state == READY)
        r->surplus = surplus_new(&r->server->parts);
    if (r->surplus != NULL)
        surplus_close(r->surplus, end_jetstream, r);
    else
        end_jetstream(r);
}

/* What the main thread does with options; before the workers, so that a log file that can not be
 * opened refuses the reload. */
static bool follow(struct server *s, const struct options *now, char why[256])
{
    if (!logger_change(s->logger,
                       &(struct logger_options){
                           .file = now->log_file,
                           .syslog = now->syslog,
                           .remote = now->remote_syslog,
                           .tag = s->program,
                           .debug = now->debug,
                           .trace = now->trace,
                           .time = now->logtime,
                           .utc = now->logtime_utc,
                           .size_limit = now->log_size_limit,
                           .max_num = now->log_max_num,
                       },
                       why))
        return false;
    reports_set_options(s->reports, now);
    files_remove(&s->files);
    server_write_files(s, now);
    return true;
}

static void follow_accounts(struct server *s, struct reloading *r)
{
    r->wiring_before = wiring_apply(s->parts.accounts, r->now);
    s->parts.said = &r->now->accounts;
    if (s->parts.js_server != NULL)
        js_server_accounts(s->parts.js_server, r->now, s->parts.accounts, &r->now->accounts,
                           s->parts.system_account);
    if (s->parts.kafka_shared != NULL)
        kafka_shared_accounts(s->parts.kafka_shared, s->parts.js_server, s->parts.accounts);
}

/* JetStream comes before everything else: the workers stand still until it is there. If it can not
 * be opened the reload goes on without. */
static void start_jetstream(struct server *s, struct options *now)
{
    struct worker_pause *pause;
    char why[256];

    if (!now->jetstream || s->parts.store_dir != NULL)
        return;
    LOG_INF(s->log, "Restarting JetStream");
    pause = worker_pause_begin(s->parts.workers);
    for (unsigned i = 0; i < worker_group_count(s->parts.workers); i++)
        worker_group_get(s->parts.workers, i)->env.options = now;
    if (!server_open_jetstream(s, why)) {
        LOG_WRN(s->log, "%s", why);
        now->jetstream = false;
    }
    worker_pause_end(pause);
}

static void begin_reload(struct server *s)
{
    struct options *now;
    struct parts_tls tls = {0};
    struct reloading *r;
    struct buf err = {0};
    char why[256];

    if (s->reloading != NULL)
        s->reload_again = true; /* the file may have changed since it was read */
    if (s->state != READY || s->reloading != NULL)
        return;
    now = mem_zalloc(sizeof(*now));
    options_init(now);
    if (!s->reread.read(s->reread.ctx, now, &err) ||
        (!reload_possible(s->options, now, why) && (buf_puts(&err, why), true)) ||
        (!reload_keys_same(&s->js_keys, now, why) && (buf_puts(&err, why), true)) ||
        (!wiring_check(now, why) && (buf_puts(&err, why), true)) ||
        (!server_open_tls(now, &tls, why) && (buf_puts(&err, why), true)) ||
        (!follow(s, now, why) && (buf_puts(&err, why), true))) {
        LOG_ERR(s->log, "Failed to reload server configuration: %s", buf_cstr(&err));
        tell_waiters(s, buf_cstr(&err));
        server_put_tls(&tls);
        free_snapshot(now);
        buf_free(&err);
        return;
    }
    r = mem_zalloc(sizeof(*r));
    *r = (struct reloading){
        .server = s,
        .before = s->options,
        .before_own = s->own_options,
        .now = now,
        .tls_before = s->tls,
        .tls = tls,
    };
    if (s->parts.js_server != NULL && now->jetstream)
        js_server_limits(s->parts.js_server, now);
    if (s->claims == NULL)
        follow_accounts(s, r);
    s->options = s->parts.options = s->own_options = now;
    start_jetstream(s, now);
    options_wipe_keys(now);
    s->tls = tls;
    ocsp_reload(s->ocsp, now, &tls); /* before handshakes are made with these */
    r->ask.step = reload_worker;
    r->ask.done = reloaded;
    s->reloading = r;
    ask_all_start(s->parts.workers, &r->ask);
    buf_free(&err);
}

void server_reload(void *ctx, void (*done)(void *ctx, const char *why), void *done_ctx)
{
    struct server *s = ctx;
    struct reload_waiter *w;

    if (s->state != READY) {
        done(done_ctx, "server is shutting down");
        return;
    }
    w = mem_zalloc(sizeof(*w));
    w->done = done;
    w->ctx = done_ctx;
    w->next = s->waiters;
    s->waiters = w;
    begin_reload(s);
}

/* ---- signals --------------------------------------------------------------------------------- */

static const char *signal_text(int number)
{
    switch (number) {
    case SIGINT:
        return "interrupt";
    case SIGTERM:
        return "terminated";
    case SIGHUP:
        return "hangup";
    case SIGUSR1:
        return "user defined signal 1";
    default:
        return "user defined signal 2";
    }
}

static void stop_signal(struct server *s, int number)
{
    if (s->state == STOPPING) {
        LOG_WRN(s->log, "Second signal: leaving without waiting for connections");
        logger_stop(s->logger);
        _exit(EXIT_FAILURE);
    }
    if (number == SIGINT || s->state != LAME_DUCK)
        begin_stop(s);
}

void server_on_signal(int number, short what, void *ctx)
{
    struct server *s = ctx;

    (void) what;
    LOG_INF(s->log, "Trapped \"%s\" signal", signal_text(number));
    switch (number) {
    case SIGINT:
    case SIGTERM:
        stop_signal(s, number);
        break;
    case SIGUSR1:
        logger_reopen(s->logger);
        break;
    case SIGUSR2:
        begin_lame_duck(s);
        break;
    default:
        begin_reload(s);
        break;
    }
    logger_drain(s->logger);
}

void server_signals_close(struct server *s)
{
    if (s->grace != NULL)
        event_free(s->grace);
    if (s->reloading != NULL) {
        free_snapshot(s->reloading->before_own);
        wiring_free(s->reloading->wiring_before);
        surplus_free(s->reloading->surplus);
    }
    mem_free(s->reloading);
    tell_waiters(s, "server is shutting down");
    free_snapshot(s->own_options);
}
