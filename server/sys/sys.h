/*
 * sys.h - the system account: requests that are answered there, and what the server says there by
 * itself from time to time. (What it says about a connection, net says: net/event.h.)
 *
 * Requests arrive on worker 0 and are answered by the main thread, where documents are made
 * (monitor/report.h); answers are published by worker 0.
 */
#ifndef SYS_SYS_H
#define SYS_SYS_H

#include "server/core/env.h"
#include "server/monitor/report.h"

#include <stdbool.h>

struct event_base;
struct sys;

struct sys_host {
    void *ctx;
    struct event_base *base;
    struct reports *reports;
    struct log *log;
    /* As monitor_host.collect. */
    void (*collect)(void *ctx, struct monitor_collect *c);
    /* Runs a task on that worker. */
    void (*post)(void *ctx, unsigned worker, struct env_task *task);
    /* Any thread: makes the main thread call sys_take soon. */
    void (*wake)(void *ctx);
    /* Reads the configuration again; then done(done_ctx, NULL), or why not. */
    void (*reload)(void *ctx, void (*done)(void *ctx, const char *why), void *done_ctx);
};

/* Before the workers run; envs[0..workers - 1] stay. They get their event_seq and account_changed.
 */
struct sys *sys_open(const struct sys_host *host, struct env *const *envs, unsigned workers);
/* Answers what has arrived; main thread. */
void sys_take(struct sys *s);
/* "LAMEDUCK" or "SHUTDOWN": says it to those who listen, before anything that is posted to worker 0
 * from now on. */
void sys_say(struct sys *s, const char *what);
/* No more timers. */
void sys_stop(struct sys *s);
/* The workers have stopped. */
void sys_close(struct sys *s);

#endif
