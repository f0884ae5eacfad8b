/* operator_start.c - operator mode begins, reads its configuration again, and ends. */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/claims_api.h"
#include "server/config/options.h"
#include "server/jwt_dir.h"
#include "server/operator_int.h"
#include "server/parts.h"
#include "server/surplus.h"

#include <stdio.h>
#include <string.h>

/* ---- start ----------------------------------------------------------------------------------- */

static void load_preloads(struct claimed *op)
{
    const struct operators *o = &op->options->operators;

    for (size_t i = 0; i < o->npreload; i++)
        if (claimed_find(op, o->preload[i].account) == NULL)
            claimed_load(op, o->preload[i].account, 0);
}

/* Into a directory, where nothing newer is there. */
static bool store_preloads(struct claimed *op, char why[256])
{
    const struct operators *o = &op->options->operators;
    struct buf err = {0};

    for (size_t i = 0; i < o->npreload; i++)
        if (claims_api_save_newer(op, o->preload[i].account, str_of(o->preload[i].token), &err) ==
            JWT_DIR_FAILED) {
            snprintf(why, 256, "preload account error for \"%s\": %.128s", o->preload[i].account,
                     buf_cstr(&err));
            buf_free(&err);
            return false;
        }
    return true;
}

static void load_stored(void *ctx, const char *key, struct str token)
{
    struct claimed *op = ctx;
    struct account_claims a;
    struct buf err = {0};

    if (claimed_find(op, key) == NULL && account_claims_read(token, &a, &err)) {
        if (account_claims_jetstream(&a))
            claimed_load(op, key, 0);
        account_claims_free(&a);
    }
    buf_free(&err);
}

static bool open_resolver(struct claimed *op, char why[256])
{
    op->resolver = resolver_open(
        &(struct resolver_host){
            .base = op->host.base,
            .fs = io_fs(worker_group_get(op->host.parts->workers, 0)->env.io),
            .options = op->options,
        },
        why);
    return op->resolver != NULL && (operator_dir(op) == NULL || store_preloads(op, why));
}

/* A system account that can not be fetched yet is one whose own key signs its users, so that
 * somebody can bring its claims. */
static void bootstrap(struct claimed *op, const char *name)
{
    struct known *k;
    struct trust *t;

    if ((operator_dir(op) == NULL && !resolver_is_remote(op->resolver)) ||
        !nkey_is(str_of(name), NKEY_ACCOUNT))
        return;
    k = claimed_add(op, name);
    t = mem_zalloc(sizeof(*t));
    t->claims.jwt.subject = mem_strdup(name);
    t->claims.subscriptions = t->claims.payload = JWT_NO_LIMIT;
    t->claims.connections = t->claims.leafnodes = JWT_NO_LIMIT;
    claimed_take(op, k, t, STR_NONE);
    LOG_INF(op->host.log, "Using bootstrapping system account");
}

static void say_time(struct log *log, const char *what, int64_t seconds)
{
    char text[FMT_TIME_MAX];

    if (seconds == 0) {
        LOG_INF(log, "  %s: Never", what);
        return;
    }
    fmt_time_rfc3339(text, seconds * SECOND);
    LOG_INF(log, "  %s: %s", what, text);
}

static void introduce(const struct operator_host *host)
{
    const struct operators *o = &host->options->operators;

    if (o->n > 0)
        LOG_INF(host->log, "Trusted Operators");
    for (size_t i = 0; i < o->n; i++) {
        const struct jwt *j = &o->list[i].jwt;
        LOG_INF(host->log, "  System  : \"%s\"", jwt_text(j->audience));
        LOG_INF(host->log, "  Operator: \"%s\"", jwt_text(j->name));
        say_time(host->log, "Issued  ", j->issued_at);
        say_time(host->log, "Expires ", j->expires);
    }
    if (o->n > 0 && host->options->system_account == NULL)
        LOG_WRN(host->log, "Trusted Operators should utilize a System Account");
}

struct claimed *operator_open(const struct operator_host *host, char why[256])
{
    struct claimed *op = mem_zalloc(sizeof(*op));
    const char *system = host->options->system_account;

    op->host = *host;
    op->options = host->options;
    introduce(host);
    hmap_init(&op->known);
    hmap_init(&op->edges);
    list_init(&op->touched);
    pthread_mutex_init(&op->lock, NULL);
    if (!open_resolver(op, why)) {
        operator_close(op);
        return NULL;
    }
    if (system != NULL && !claimed_load(op, system, 0))
        bootstrap(op, system);
    if (operator_dir(op) == NULL)
        load_preloads(op);
    else
        jwt_dir_each(operator_dir(op), operator_now(op), load_stored, op);
    claimed_publish(op);
    for (unsigned i = 0; i < worker_group_count(host->parts->workers); i++) {
        struct env *env = &worker_group_get(host->parts->workers, i)->env;
        env->lookup = claimed_lookup;
        env->lookup_ctx = op;
    }
    op->api = claims_api_open(op, &worker_group_get(host->parts->workers, 0)->env);
    return op;
}

void operator_started(struct claimed *op)
{
    op->running = true;
}

static void changed_on_disk(void *ctx, const char *key)
{
    struct claimed *op = ctx;

    if (claimed_find(op, key) != NULL)
        claimed_load(op, key, 0);
}

/* Accounts that a preload does not have any more go. */
static void reload_preloads(struct claimed *op)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&op->known, &it)) != NULL) {
        struct known *k = CONTAINER_OF(n, struct known, node);
        struct buf token = {0}, err = {0};
        bool there = resolver_fetch(op->resolver, k->name, &token, &err);
        buf_clear(&err);
        if (k->trust != NULL && (!there || !claimed_update(op, k, buf_str(&token), &err))) {
            LOG_INF(op->host.log, "Reloaded: deleting account [%s]: \"%s\"",
                    there ? "bad claims" : "removed", k->name);
            claimed_take(op, k, NULL, STR_NONE);
        } else if (there && k->trust == NULL) {
            claimed_update(op, k, buf_str(&token), &err);
        }
        buf_free(&token);
        buf_free(&err);
    }
    load_preloads(op);
}

void operator_reload(struct claimed *op, const struct options *now)
{
    char why[256];

    op->options = op->host.options = now;
    resolver_reload(op->resolver, now);
    if (operator_dir(op) != NULL) {
        if (!store_preloads(op, why))
            LOG_ERR(op->host.log, "%s", why);
        jwt_dir_reload(operator_dir(op), operator_now(op), changed_on_disk, op);
    } else if (now->operators.resolver.kind == RESOLVER_MEMORY) {
        reload_preloads(op);
    }
    claimed_publish(op);
}

void operator_close(struct claimed *op)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (op->api != NULL)
        claims_api_close(op->api);
    for (size_t i = 0; i < op->nchanges; i++)
        if (op->changes[i].before != op->changes[i].now)
            trust_close(op->changes[i].before);
    mem_free(op->changes);
    wiring_free(op->before);
    surplus_free(op->surplus);
    while ((n = hmap_each(&op->known, &it)) != NULL) {
        struct known *k = CONTAINER_OF(n, struct known, node);
        hmap_remove(&op->known, n);
        claimed_drop_edges(k);
        if (k->published != k->trust)
            trust_close(k->published);
        trust_close(k->trust);
        accounts_free(&k->said);
        mem_free(k->token);
        event_free(k->timer);
        mem_free(k);
    }
    hmap_deinit(&op->known);
    hmap_deinit(&op->edges);
    accounts_free_shallow(&op->all);
    resolver_close(op->resolver);
    pthread_mutex_destroy(&op->lock);
    mem_free(op);
}
