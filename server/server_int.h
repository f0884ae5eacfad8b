/*
 * server_int.h - the inside of a server, shared by server.c (start and end) and server_signals.c
 * (what happens in between). Main thread.
 *
 *     STARTING -> READY -> LAME_DUCK -> STOPPING -> STOPPED
 *                      \________________/
 */
#ifndef SERVER_SERVER_INT_H
#define SERVER_SERVER_INT_H

#include "server/files.h"
#include "server/monitor/monitor.h"
#include "server/net/callout.h"
#include "server/parts.h"
#include "server/reload.h"
#include "server/server.h"
#include "server/server_id.h"

enum server_state { STARTING, READY, LAME_DUCK, STOPPING, STOPPED };

struct claimed;
struct ocsp;
struct reloading;

struct server {
    const struct options *options; /* the current snapshot */
    /* The same, once it comes from a reload. The first one is the caller's, who keeps it until the
     * end: its strings of what can not change are used everywhere. */
    struct options *own_options;
    struct server_reread reread;
    struct logger *logger;
    struct log *log;
    const char *program;
    enum server_state state;
    int exit_code;
    int64_t start_wall_ns;
    char id[SERVER_ID_LEN + 1];
    struct server_keys keys;

    struct event_base *base;
    struct event *signals[5];
    struct event *woken; /* eventfd: log lines to write, asks to finish */
    int wake_fd;

    struct parts_tls tls;
    struct server_parts parts;
    struct reports *reports;
    struct monitor *monitor;
    struct monitor_tls monitor_tls;
    struct sys *sys; /* NULL = no system account */
    struct ocsp *ocsp;
    struct claimed *claims; /* NULL = accounts are those of the options */
    struct files files;

    char host[64], ws_host[64], leaf_host[64];
    uint16_t port, http_port, kafka_port, ws_port, leaf_port;

    struct reload_keys js_keys; /* those that the options began with */
    bool leaving;               /* JetStream goes, alone */
    bool stop_wanted;           /* ... and then everything */

    struct event *grace; /* lame duck: the clients' time to look for another server */
    struct ask_all draining;
    struct reloading *reloading;   /* NULL = none under way */
    bool reload_again;             /* asked for once more meanwhile */
    struct reload_waiter *waiters; /* who wants to hear how it went */
};

#define SERVER_SIGNALS 5
extern const int server_signals[SERVER_SIGNALS];

/* The contexts of the tls blocks. False with a text, and nothing is open. */
bool server_open_tls(const struct options *o, struct parts_tls *out, char why[256]);
void server_put_tls(const struct parts_tls *tls);
/* JetStream as the options want it, while no worker runs. False with a text; parts.store_dir says
 * whether something is open all the same. */
bool server_open_jetstream(struct server *s, char why[256]);
/* Pid and ports file, as the options want them. False when that ends a start. */
bool server_write_files(struct server *s, const struct options *o);
/* An event callback; ctx is the server. */
void server_on_signal(int number, short what, void *ctx);
/* As a signal would. */
void server_stop(struct server *s);
/* Stops whatever runs, without a word; the base's loop ends when it is done. */
void server_stop_workers(struct server *s);
/* Reads the configuration again; done hears why not, or NULL. ctx is the server. */
void server_reload(void *ctx, void (*done)(void *ctx, const char *why), void *done_ctx);
/* Frees what lame duck and reload made. */
void server_signals_close(struct server *s);

#endif
