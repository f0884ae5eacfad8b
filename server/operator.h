/*
 * operator.h - the accounts of operator mode: fetched from the resolver when somebody asks for
 * them, verified, made into objects, changed while the server runs. Main thread, but for
 * operator_lookup.
 *
 *     lookup (a worker)  -\
 *     CLAIMS.UPDATE       --> claims -> accounts changed -> published to all workers -> old ones
 * freed, reload, expiry     -/                                                            lookups
 * answered
 *
 * Changes are gathered while one is being published. Before the workers run they are made at once.
 */
#ifndef SERVER_OPERATOR_H
#define SERVER_OPERATOR_H

#include "lib/base/buf.h"
#include "server/core/env.h"

#include <stdbool.h>
#include <stdint.h>

struct accounts;
struct event_base;
struct js_server;
struct jwt_dir;
struct claimed; /* what there is of operator mode */
struct options;
struct server_parts;

struct operator_host {
    struct event_base *base;
    struct server_parts *parts; /* with workers and accounts */
    const struct options *options;
    struct log *log;
    void (*wake)(void *ctx); /* makes the main thread call operator_take; any thread */
    void *ctx;
    const char *server_id;
};

/* Loads what a start needs: the system account, those of a preload, those of a directory that have
 * JetStream. NULL with a text. */
struct claimed *operator_open(const struct operator_host *host, char why[256]);
/* The workers run from now on. */
void operator_started(struct claimed *op);
/* Does what workers have asked for. */
void operator_take(struct claimed *op);
/* A reload gave other options: what was loaded before is looked at again. */
void operator_reload(struct claimed *op, const struct options *now);
/* No workers run any more. */
void operator_close(struct claimed *op);

/* What the claims say of the accounts that are loaded; changes while the server runs. */
const struct accounts *operator_accounts(const struct claimed *op);

/* For requests about claims (claims_api.h). */
struct jwt_dir *operator_dir(struct claimed *op);
/* What its claims were read from; NULL: there are none. Until they change. */
const char *operator_token(const struct claimed *op, const char *account);
bool operator_knows(const struct claimed *op, const char *account);
/* Takes new claims of an account that is loaded; false with a text. */
bool operator_update(struct claimed *op, const char *account, struct str token, struct buf *err);
/* Its clients go, nobody comes. */
void operator_remove(struct claimed *op, const char *account);
const struct operator_host *operator_host(const struct claimed *op);
int64_t operator_now(const struct claimed *op); /* unix ns */
/* Runs on the main thread, soon; any thread. */
struct main_task {
    struct main_task *next;
    void (*run)(struct main_task *task, struct claimed *op);
};
void operator_post(struct claimed *op, struct main_task *task);

#endif
