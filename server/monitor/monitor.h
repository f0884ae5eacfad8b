/*
 * monitor.h - the monitoring documents over HTTP, on the main thread's libevent base.
 *
 * A document that needs what the workers know is made in two halves: step runs on every worker's
 * thread and copies plain data, done runs on the main thread, merges and answers. The host
 * (server.c) carries the steps there and back.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include "server/core/env.h"

#include <stdint.h>

struct event_base;
struct monitor;

struct monitor_collect {
    /* On each worker's thread, in no order, one worker at a time or several at once: the callee
     * locks or uses env->worker as index. */
    void (*step)(struct monitor_collect *c, struct env *env);
    /* On the main thread, after all steps. */
    void (*done)(struct monitor_collect *c);
};

struct monitor_host {
    void *ctx;
    unsigned workers;
    void (*collect)(void *ctx, struct monitor_collect *c);
    const struct options *options;
    int64_t config_load_wall_ns;
    const char *server_id, *server_name, *version, *git_commit;
    int64_t start_wall_ns;
    const char *io_backend, *io_reason;
    /* Bound address of the client listener. */
    const char *host;
    uint16_t port;
    /* NULL = healthy, else the text for /healthz. */
    const char *(*unhealthy)(void *ctx);
    struct log *log;
};

/* Listens; *port becomes the bound port. NULL with a text in why. */
struct monitor *monitor_open(struct event_base *base, const struct monitor_host *host,
                             const char *address, uint16_t *port, char why[256]);
/* After a reload; the old ones are not looked at any more. */
void monitor_set_options(struct monitor *m, const struct options *options);
void monitor_close(struct monitor *m);

#endif
