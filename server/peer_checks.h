/*
 * peer_checks.h - the certificates that others show us: their responders are asked about them, and
 * the connections that wait are told. Main thread, but for peer_checks_judge.
 */
#ifndef SERVER_PEER_CHECKS_H
#define SERVER_PEER_CHECKS_H

#include "server/core/env.h"
#include "server/url_fetch.h"

struct log;
struct peer_cache;
struct peer_checks;

/* At most so many wait at a time; for more there is no answer. */
#define PEER_CHECKS_MAX 4096u

struct peer_checks_host {
    struct log *log;
    struct url_way way;      /* its timeout is that of the rules */
    void (*wake)(void *ctx); /* makes the main thread call peer_checks_take; any thread */
    /* Calls the task on that worker's thread. */
    void (*post)(void *ctx, unsigned worker, struct env_task *task);
    void *ctx;
};

struct peer_checks *peer_checks_open(const struct peer_checks_host *host);
/* No workers run any more. */
void peer_checks_close(struct peer_checks *p); /* NULL is nothing */
/* Answers are kept there from now on; NULL: they are not. Borrowed. */
void peer_checks_cache(struct peer_checks *p, struct peer_cache *cache);
/* env.judge, with judge_ctx: any worker's thread. */
void peer_checks_judge(struct env *env, struct peer_check *check);
/* Does what workers have asked for. */
void peer_checks_take(struct peer_checks *p);
/* The server ends: whoever waits is told no, and whoever comes. */
void peer_checks_stop(struct peer_checks *p);

#endif
