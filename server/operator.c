/*
 * operator.c - accounts by their claims.
 *
 * An account that is loaded stays (core/account.h); what changes is its trust (the verified claims)
 * and what follows from it: limits, links, mappings, JetStream. Links depend on two accounts, so a
 * change makes those dirty that the account imports from, before or now, and those that import from
 * it. What is dirty is made anew and published in one go: pointers are exchanged, then every worker
 * looks at the account's connections (ask_all), then the old objects are freed.
 *
 * An import whose exporter is not there, does not export it, or wants an activation that does not
 * hold is left out, and looked at again when the exporter changes or an activation expires.
 */
#include "server/operator.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/operator_int.h"
#include "server/parts.h"

#include <stdio.h>
#include <string.h>

#define HASH_SEED 0x6f7065u

int64_t operator_now(const struct claimed *op)
{
    return resolver_now(&(struct resolver_host){.base = op->host.base});
}

const struct operator_host *operator_host(const struct claimed *op)
{
    return &op->host;
}

struct jwt_dir *operator_dir(struct claimed *op)
{
    return resolver_dir(op->resolver);
}

const struct accounts *operator_accounts(const struct claimed *op)
{
    return &op->all;
}

/* ---- the table ------------------------------------------------------------------------------- */

static uint64_t hash_of(const char *name)
{
    return hash_bytes(name, strlen(name), HASH_SEED);
}

struct known *claimed_find(const struct claimed *op, const char *name)
{
    uint64_t h = hash_of(name);

    for (struct hmap_node *n = hmap_first(&op->known, h); n != NULL; n = hmap_next(n, h))
        if (strcmp(CONTAINER_OF(n, struct known, node)->name, name) == 0)
            return CONTAINER_OF(n, struct known, node);
    return NULL;
}

static void expired(evutil_socket_t fd, short what, void *ctx);

struct known *claimed_add(struct claimed *op, const char *name)
{
    struct known *k = mem_zalloc(sizeof(*k));

    k->op = op;
    snprintf(k->name, sizeof(k->name), "%s", name);
    k->account = account_set_add(op->host.parts->accounts, str_of(name));
    k->timer = evtimer_new(op->host.base, expired, k);
    accounts_add(&k->said, name);
    k->index = op->all.n;
    list_init(&k->link);
    accounts_add_shallow(&op->all, &k->said.list[0]);
    hmap_insert(&op->known, &k->node, hash_of(name));
    return k;
}

bool operator_knows(const struct claimed *op, const char *account)
{
    return claimed_find(op, account) != NULL;
}

const char *operator_token(const struct claimed *op, const char *account)
{
    const struct known *k = claimed_find(op, account);

    return k != NULL ? k->token : NULL;
}

/* ---- what depends on what -------------------------------------------------------------------- */

static void touch(struct known *k)
{
    if (list_empty(&k->link))
        list_push_back(&k->op->touched, &k->link);
}

static void mark_dirty(struct known *k)
{
    k->dirty = true;
    touch(k);
}

static void mark_exporters(struct claimed *op, const struct trust *t)
{
    for (size_t i = 0; t != NULL && i < t->claims.nimports; i++) {
        const char *name = t->claims.imports[i].account;
        struct known *of = name != NULL ? claimed_find(op, name) : NULL;
        if (of != NULL)
            mark_dirty(of);
    }
}

void claimed_drop_edges(struct known *k)
{
    for (size_t i = 0; i < k->nedges; i++)
        hmap_remove(&k->op->edges, &k->edges[i].node);
    mem_free(k->edges);
    k->edges = NULL;
    k->nedges = 0;
}

/* What its new claims import. */
static void make_edges(struct known *k)
{
    const struct trust *t = k->trust;

    claimed_drop_edges(k);
    if (t == NULL || t->claims.nimports == 0)
        return;
    k->edges = mem_zalloc(t->claims.nimports * sizeof(*k->edges));
    for (size_t i = 0; i < t->claims.nimports; i++) {
        const char *name = jwt_text(t->claims.imports[i].account);
        struct edge *e = &k->edges[k->nedges++];
        e->importer = k;
        snprintf(e->exporter, sizeof(e->exporter), "%s", name);
        hmap_insert(&k->op->edges, &e->node, hash_of(e->exporter));
    }
}

static void mark(struct claimed *op, struct known *k, const struct trust *before)
{
    uint64_t h = hash_of(k->name);

    k->changed = true;
    mark_dirty(k);
    mark_exporters(op, before);
    mark_exporters(op, k->trust);
    for (struct hmap_node *n = hmap_first(&op->edges, h); n != NULL; n = hmap_next(n, h)) {
        struct edge *e = CONTAINER_OF(n, struct edge, node);
        if (strcmp(e->exporter, k->name) == 0)
            mark_dirty(e->importer);
    }
}

/* ---- expiry ---------------------------------------------------------------------------------- */

static void set_timer(struct known *k)
{
    int64_t now = operator_now(k->op) / SECOND, at = 0, next;
    struct timeval tv = {0};

    evtimer_del(k->timer);
    if (k->trust == NULL)
        return;
    at = k->trust->claims.jwt.expires;
    next = trust_next_change(k->trust, now);
    if (at == 0 || (next != 0 && next < at))
        at = next;
    if (at == 0)
        return;
    tv.tv_sec = at > now ? at - now : 0;
    evtimer_add(k->timer, &tv);
}

static void expired(evutil_socket_t fd, short what, void *ctx)
{
    struct known *k = ctx;
    int64_t now = operator_now(k->op) / SECOND;

    (void) fd;
    (void) what;
    if (k->trust == NULL)
        return;
    if (k->trust->claims.jwt.expires != 0 && k->trust->claims.jwt.expires <= now)
        atomic_store(&k->account->expired, true);
    mark(k->op, k, k->trust);
    if (!atomic_load(&k->account->expired))
        set_timer(k);
    claimed_publish(k->op);
}

/* ---- claims ---------------------------------------------------------------------------------- */

/* New claims of an account; they are its own. */
void claimed_take(struct claimed *op, struct known *k, struct trust *t, struct str token)
{
    struct trust *before = k->trust;
    int64_t now = operator_now(op) / SECOND;

    k->trust = t;
    make_edges(k);
    mark(op, k, before);
    mem_free(k->token);
    k->token = token.n > 0 ? mem_strndup(token.p, token.n) : NULL;
    atomic_store(&k->account->expired,
                 t != NULL && t->claims.jwt.expires != 0 && t->claims.jwt.expires <= now);
    set_timer(k);
    /* What was never published is nobody's. */
    if (before != NULL && before != k->published)
        trust_close(before);
}

bool claimed_update(struct claimed *op, struct known *k, struct str token, struct buf *err)
{
    struct trust *t;

    token = str_trim(token);
    if (k->trust != NULL && k->token != NULL && str_eq(str_of(k->token), token))
        return true;
    t = trust_open(op->options, token, operator_now(op) / SECOND, err);
    if (t == NULL)
        return false;
    if (strcmp(jwt_text(t->claims.jwt.subject), k->name) != 0) {
        buf_puts(err, "account validation failed");
        trust_close(t);
        return false;
    }
    LOG_DBG(op->host.log, "Updating account claims: %s/%s", k->name, jwt_text(t->claims.jwt.name));
    claimed_take(op, k, t, token);
    return true;
}

bool operator_update(struct claimed *op, const char *account, struct str token, struct buf *err)
{
    struct known *k = claimed_find(op, account);
    bool ok = k != NULL && claimed_update(op, k, token, err);

    if (k == NULL)
        buf_puts(err, "account missing");
    if (ok)
        claimed_publish(op);
    return ok;
}

void operator_remove(struct claimed *op, const char *account)
{
    struct known *k = claimed_find(op, account);

    if (k == NULL)
        return;
    LOG_DBG(op->host.log, "Disable account %s due to remove", account);
    claimed_take(op, k, NULL, STR_NONE);
    claimed_publish(op);
}
