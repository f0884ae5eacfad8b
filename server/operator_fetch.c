/*
 * operator_fetch.c - where claims come from, and who asks for them. A resolver answers at once, or,
 * where it asks a server over HTTP while the workers run, later: lookups are parked until then.
 * Accounts that an account imports from are fetched with it.
 */
#include "lib/base/log.h"
#include "server/operator_int.h"

#include <string.h>

#define DEPTH_MAX 16u /* accounts that import from accounts that import... */

/* ---- what is fetched ------------------------------------------------------------------------- */

static void fetch_later(struct claimed *op, const char *name);

static void load_exporters(struct claimed *op, const struct trust *t, unsigned depth)
{
    for (size_t i = 0; i < t->claims.nimports && depth < DEPTH_MAX; i++) {
        const char *name = t->claims.imports[i].account;
        if (name == NULL || claimed_find(op, name) != NULL)
            continue;
        if (resolver_is_remote(op->resolver) && op->running)
            fetch_later(op, name);
        else
            claimed_load(op, name, depth + 1);
    }
}

/* A token that came for an account which is not known, or does not hold any more. */
static bool accept_token(struct claimed *op, const char *name, struct str token, struct buf *err,
                         unsigned depth)
{
    struct known *k = claimed_find(op, name);
    struct trust *t = trust_open(op->options, token, operator_now(op) / SECOND, err);

    if (t != NULL && strcmp(jwt_text(t->claims.jwt.subject), name) != 0) {
        buf_puts(err, "account validation failed");
        trust_close(t);
        t = NULL;
    }
    if (t == NULL)
        return false;
    k = k != NULL ? k : claimed_add(op, name);
    claimed_take(op, k, t, token);
    load_exporters(op, t, depth);
    return true;
}

/* Fetches an account that is not known, or does not hold any more. */
bool claimed_load(struct claimed *op, const char *name, unsigned depth)
{
    struct buf token = {0}, err = {0};
    bool ok = resolver_fetch(op->resolver, name, &token, &err) &&
              accept_token(op, name, str_trim(buf_str(&token)), &err, depth);

    if (!ok)
        LOG_WRN(op->host.log, "Account fetch failed: %s", buf_cstr(&err));
    buf_free(&token);
    buf_free(&err);
    return ok;
}

/* ---- over HTTP, while the workers run -------------------------------------------------------- */

static void go_on(struct claimed *op, const char *name)
{
    struct account_lookup **at = &op->parked;

    while (*at != NULL) {
        struct account_lookup *l = *at;
        if (strcmp(l->name, name) != 0) {
            at = &l->next;
            continue;
        }
        *at = l->next;
        l->next = op->waiting;
        op->waiting = l;
    }
    claimed_publish(op);
}

static void fetched(void *ctx, const char *name, struct str token, const char *why)
{
    struct claimed *op = ctx;
    struct buf err = {0};

    buf_puts(&err, why);
    if (err.n > 0 || !accept_token(op, name, str_trim(token), &err, 0))
        LOG_WRN(op->host.log, "Account fetch failed: %s", buf_cstr(&err));
    go_on(op, name);
    buf_free(&err);
}

static void fetch_later(struct claimed *op, const char *name)
{
    resolver_fetch_later(op->resolver, name, fetched, op);
}

static void look_up(struct claimed *op, struct account_lookup *l)
{
    bool later = !claimed_holds(op, l->name) && resolver_is_remote(op->resolver);
    struct account_lookup **list = later ? &op->parked : &op->waiting;

    if (!later && !claimed_holds(op, l->name))
        claimed_load(op, l->name, 0);
    l->next = *list;
    *list = l;
    if (later)
        fetch_later(op, l->name);
}

/* ---- what workers ask for -------------------------------------------------------------------- */

void claimed_lookup(struct env *env, struct account_lookup *l)
{
    struct claimed *op = env->lookup_ctx;

    pthread_mutex_lock(&op->lock);
    l->next = op->asked;
    op->asked = l;
    pthread_mutex_unlock(&op->lock);
    op->host.wake(op->host.ctx);
}

void operator_post(struct claimed *op, struct main_task *task)
{
    struct main_task **at;

    pthread_mutex_lock(&op->lock);
    for (at = &op->tasks; *at != NULL; at = &(*at)->next)
        continue;
    task->next = NULL;
    *at = task;
    pthread_mutex_unlock(&op->lock);
    op->host.wake(op->host.ctx);
}

void operator_take(struct claimed *op)
{
    struct account_lookup *asked;
    struct main_task *tasks;
    bool any = false;

    pthread_mutex_lock(&op->lock);
    asked = op->asked;
    tasks = op->tasks;
    op->asked = NULL;
    op->tasks = NULL;
    pthread_mutex_unlock(&op->lock);
    while (asked != NULL) {
        struct account_lookup *l = asked;
        asked = l->next;
        look_up(op, l);
        any = true;
    }
    if (any)
        claimed_publish(op);
    while (tasks != NULL) {
        struct main_task *task = tasks;
        tasks = task->next;
        task->run(task, op);
    }
}
