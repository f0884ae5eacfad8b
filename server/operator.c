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

#include "lib/base/fmt.h"
#include "lib/base/hash.h"
#include "lib/base/hmap.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/auth/trust.h"
#include "server/claims_api.h"
#include "server/config/options.h"
#include "server/js/js.h"
#include "server/jwt_dir.h"
#include "server/net/net.h"
#include "server/parts.h"
#include "server/resolver.h"
#include "server/wiring.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define DEPTH_MAX 16u /* accounts that import from accounts that import... */
#define HASH_SEED 0x6f7065u

/* An account that somebody has asked for. */
struct known {
    struct hmap_node node;
    struct claimed *op;
    char name[NKEY_LEN + 1];
    struct account *account;
    struct trust *trust;     /* NULL: there was none, or it was removed */
    struct trust *published; /* what the workers have; freed when they have another */
    char *token;
    struct accounts said; /* one: what trust says */
    size_t index;         /* in all */
    struct list link;     /* in touched, when one of the two is set: */
    bool dirty;           /* its objects have to be made anew */
    bool changed;         /* its connections have to be looked at */
    struct edge *edges;   /* one for each import that its claims name */
    size_t nedges;
    struct event *timer; /* the next time at which something of it expires */
};

/* That somebody imports from a name, by the name; it need not be known. */
struct edge {
    struct hmap_node node;
    struct known *importer;
    char exporter[NKEY_LEN + 1];
};

struct change {
    struct known *known;
    struct trust *before, *now;
};

struct claimed {
    struct operator_host host;
    const struct options *options;
    struct hmap known, edges;
    struct list touched; /* known accounts of which something has changed */
    struct accounts all; /* shallow copies of what each says */
    struct resolver *resolver;
    struct claims_api *api;
    bool running; /* workers have threads */

    pthread_mutex_t lock; /* guards the two lists alone */
    struct account_lookup *asked;
    struct main_task *tasks;

    /* a publication under way */
    struct ask_all ask;
    bool publishing, again;
    struct wiring *before;
    struct change *changes;
    size_t nchanges;
    struct account_lookup *parked;              /* lookups that wait for a server of tokens */
    struct account_lookup *waiting, *answering; /* lookups that wait for the next one, for this one
                                                 */
};

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

/* ---- the table --------------------------------------------------------------------------------
 */

static uint64_t hash_of(const char *name)
{
    return hash_bytes(name, strlen(name), HASH_SEED);
}

static struct known *find(const struct claimed *op, const char *name)
{
    uint64_t h = hash_of(name);

    for (struct hmap_node *n = hmap_first(&op->known, h); n != NULL; n = hmap_next(n, h))
        if (strcmp(CONTAINER_OF(n, struct known, node)->name, name) == 0)
            return CONTAINER_OF(n, struct known, node);
    return NULL;
}

static void expired(evutil_socket_t fd, short what, void *ctx);

static struct known *add(struct claimed *op, const char *name)
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
    return find(op, account) != NULL;
}

/* ---- what depends on what ---------------------------------------------------------------------
 */

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
        struct known *of = name != NULL ? find(op, name) : NULL;
        if (of != NULL)
            mark_dirty(of);
    }
}

static void drop_edges(struct known *k)
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

    drop_edges(k);
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

/* ---- expiry -----------------------------------------------------------------------------------
 */

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

static void publish(struct claimed *op);

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
    publish(k->op);
}

/* ---- making the objects -----------------------------------------------------------------------
 */

static const struct trust *trust_of(void *ctx, const char *name)
{
    struct known *k = find(ctx, name);

    return k != NULL ? k->trust : NULL;
}

static void say(struct claimed *op, struct known *k)
{
    accounts_free(&k->said);
    accounts_add(&k->said, k->name);
    if (k->trust != NULL)
        trust_options(k->trust, &k->said.list[0], operator_now(op) / SECOND, trust_of, op);
    else
        k->said.list[0].limits = (struct account_limits){0};
    op->all.list[k->index] = k->said.list[0];
}

static void free_import(struct account_import *im)
{
    mem_free(im->account);
    mem_free(im->subject);
    mem_free(im->to);
    mem_free(im->prefix);
}

static bool import_holds(struct claimed *op, const struct known *k, const struct account_import *im)
{
    const struct account_options *of = accounts_find(&op->all, im->account);
    const char *kind = im->service ? "service" : "stream", *why;

    if (of == NULL) {
        LOG_ERR(op->host.log,
                "Can't locate account [%s] for import of [%s] %s (err=account missing)",
                im->account, im->subject, kind);
        return false;
    }
    why = account_import_error(&op->all, &k->said.list[0], im, of);
    if (why != NULL)
        LOG_DBG(op->host.log, "Error adding %s import to account [%s]: %s", kind, k->name, why);
    return why == NULL;
}

/* Only imports that hold are left. */
static void drop_imports(struct claimed *op, struct known *k)
{
    struct account_options *a = &k->said.list[0];
    bool *hold = mem_zalloc(a->nimports + 1);
    size_t n = 0;

    for (size_t i = 0; i < a->nimports; i++)
        hold[i] = import_holds(op, k, &a->imports[i]);
    for (size_t i = 0; i < a->nimports; i++) {
        if (hold[i])
            a->imports[n++] = a->imports[i];
        else
            free_import(&a->imports[i]);
    }
    a->nimports = n;
    op->all.list[k->index] = *a;
    mem_free(hold);
}

static void make_dirty(struct claimed *op)
{
    LIST_FOREACH(first, &op->touched)
    {
        if (LIST_ENTRY(first, struct known, link)->dirty)
            say(op, LIST_ENTRY(first, struct known, link));
    }
    LIST_FOREACH(second, &op->touched)
    {
        if (LIST_ENTRY(second, struct known, link)->dirty)
            drop_imports(op, LIST_ENTRY(second, struct known, link));
    }
    LIST_FOREACH(third, &op->touched)
    {
        struct known *k = LIST_ENTRY(third, struct known, link);
        if (k->dirty)
            wiring_apply_one(op->host.parts->accounts, op->options, &op->all, k->account,
                             op->before, op->host.log);
        k->dirty = false;
    }
}

static void tell_jetstream(struct claimed *op, const struct known *k)
{
    struct js_server *js = op->host.parts->js_server;

    if (js != NULL && k->account != op->host.parts->system_account)
        js_server_account(js, k->account, &k->said.list[0].js);
}

static void collect_changes(struct claimed *op)
{
    struct list *l;

    while ((l = list_pop_front(&op->touched)) != NULL) {
        struct known *k = LIST_ENTRY(l, struct known, link);
        if (!k->changed)
            continue;
        k->changed = false;
        op->changes = mem_realloc(op->changes, (op->nchanges + 1) * sizeof(*op->changes));
        op->changes[op->nchanges++] = (struct change){k, k->published, k->trust};
        k->published = k->trust;
        atomic_store(&k->account->trust, k->trust);
        tell_jetstream(op, k);
    }
}

/* ---- publishing -------------------------------------------------------------------------------
 */

static void answer_here(struct env_task *task, struct env *env)
{
    struct account_lookup *l = CONTAINER_OF(task, struct account_lookup, task);

    (void) env;
    l->done(l);
}

static bool holds(const struct claimed *op, const char *name)
{
    const struct known *k = find(op, name);

    return k != NULL && k->published != NULL && !atomic_load(&k->account->expired);
}

static void answer(struct claimed *op, struct account_lookup *list)
{
    while (list != NULL) {
        struct account_lookup *l = list;
        list = l->next;
        l->found = holds(op, l->name);
        l->task.run = answer_here;
        worker_post(worker_group_get(op->host.parts->workers, l->worker), &l->task);
    }
}

static void look(struct ask_all *ask, struct worker *w)
{
    const struct claimed *op = CONTAINER_OF(ask, struct claimed, ask);

    for (size_t i = 0; i < op->nchanges; i++) {
        const struct change *c = &op->changes[i];
        if (w->env.jetstream != NULL)
            jetstream_account(w->env.jetstream, c->known->account);
        if (w->env.net != NULL)
            net_account_changed(w->env.net, c->known->account, c->before, c->now);
    }
    ask_all_stepped(ask);
}

static void published(struct claimed *op)
{
    struct account_lookup *list = op->answering;

    wiring_free(op->before);
    op->before = NULL;
    for (size_t i = 0; i < op->nchanges; i++)
        if (op->changes[i].before != op->changes[i].now)
            trust_close(op->changes[i].before);
    mem_free(op->changes);
    op->changes = NULL;
    op->nchanges = 0;
    op->publishing = false;
    op->answering = NULL;
    answer(op, list);
    if (op->again)
        publish(op);
}

static void all_looked(struct ask_all *ask)
{
    published(CONTAINER_OF(ask, struct claimed, ask));
}

static void publish(struct claimed *op)
{
    op->again = op->publishing;
    if (op->publishing)
        return;
    op->publishing = true;
    op->answering = op->waiting;
    op->waiting = NULL;
    op->before = wiring_new();
    make_dirty(op);
    collect_changes(op);
    if (!op->running) {
        published(op);
        return;
    }
    op->ask = (struct ask_all){.step = look, .done = all_looked};
    ask_all_start(op->host.parts->workers, &op->ask);
}

/* ---- claims -----------------------------------------------------------------------------------
 */

/* New claims of an account; they are its own. */
static void take(struct claimed *op, struct known *k, struct trust *t, struct str token)
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

static bool update(struct claimed *op, struct known *k, struct str token, struct buf *err)
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
    take(op, k, t, token);
    return true;
}

bool operator_update(struct claimed *op, const char *account, struct str token, struct buf *err)
{
    struct known *k = find(op, account);
    bool ok = k != NULL && update(op, k, token, err);

    if (k == NULL)
        buf_puts(err, "account missing");
    if (ok)
        publish(op);
    return ok;
}

void operator_remove(struct claimed *op, const char *account)
{
    struct known *k = find(op, account);

    if (k == NULL)
        return;
    LOG_DBG(op->host.log, "Disable account %s due to remove", account);
    take(op, k, NULL, STR_NONE);
    publish(op);
}

/* ---- what is fetched
 * -----------------------------------------------------------------------------
 */

static bool load(struct claimed *op, const char *name, unsigned depth);
static void fetch_later(struct claimed *op, const char *name);

static void load_exporters(struct claimed *op, const struct trust *t, unsigned depth)
{
    for (size_t i = 0; i < t->claims.nimports && depth < DEPTH_MAX; i++) {
        const char *name = t->claims.imports[i].account;
        if (name == NULL || find(op, name) != NULL)
            continue;
        if (resolver_is_remote(op->resolver) && op->running)
            fetch_later(op, name);
        else
            load(op, name, depth + 1);
    }
}

/* A token that came for an account which is not known, or does not hold any more. */
static bool accept_token(struct claimed *op, const char *name, struct str token, struct buf *err,
                         unsigned depth)
{
    struct known *k = find(op, name);
    struct trust *t = trust_open(op->options, token, operator_now(op) / SECOND, err);

    if (t != NULL && strcmp(jwt_text(t->claims.jwt.subject), name) != 0) {
        buf_puts(err, "account validation failed");
        trust_close(t);
        t = NULL;
    }
    if (t == NULL)
        return false;
    k = k != NULL ? k : add(op, name);
    take(op, k, t, token);
    load_exporters(op, t, depth);
    return true;
}

/* Fetches an account that is not known, or does not hold any more. */
static bool load(struct claimed *op, const char *name, unsigned depth)
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

/* ---- over HTTP, while the workers run ----------------------------------------------------------
 */

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
    publish(op);
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
    bool later = !holds(op, l->name) && resolver_is_remote(op->resolver);
    struct account_lookup **list = later ? &op->parked : &op->waiting;

    if (!later && !holds(op, l->name))
        load(op, l->name, 0);
    l->next = *list;
    *list = l;
    if (later)
        fetch_later(op, l->name);
}

/* ---- what workers ask for ---------------------------------------------------------------------
 */

static void lookup(struct env *env, struct account_lookup *l)
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
        publish(op);
    while (tasks != NULL) {
        struct main_task *task = tasks;
        tasks = task->next;
        task->run(task, op);
    }
}

/* ---- start ------------------------------------------------------------------------------------
 */

static void load_preloads(struct claimed *op)
{
    const struct operators *o = &op->options->operators;

    for (size_t i = 0; i < o->npreload; i++)
        if (find(op, o->preload[i].account) == NULL)
            load(op, o->preload[i].account, 0);
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

    if (find(op, key) == NULL && account_claims_read(token, &a, &err)) {
        if (account_claims_jetstream(&a))
            load(op, key, 0);
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
    k = add(op, name);
    t = mem_zalloc(sizeof(*t));
    t->claims.jwt.subject = mem_strdup(name);
    t->claims.subscriptions = t->claims.payload = JWT_NO_LIMIT;
    t->claims.connections = t->claims.leafnodes = JWT_NO_LIMIT;
    take(op, k, t, STR_NONE);
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
    if (system != NULL && !load(op, system, 0))
        bootstrap(op, system);
    if (operator_dir(op) == NULL)
        load_preloads(op);
    else
        jwt_dir_each(operator_dir(op), operator_now(op), load_stored, op);
    publish(op);
    for (unsigned i = 0; i < worker_group_count(host->parts->workers); i++) {
        struct env *env = &worker_group_get(host->parts->workers, i)->env;
        env->lookup = lookup;
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

    if (find(op, key) != NULL)
        load(op, key, 0);
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
        if (k->trust != NULL && (!there || !update(op, k, buf_str(&token), &err))) {
            LOG_INF(op->host.log, "Reloaded: deleting account [%s]: \"%s\"",
                    there ? "bad claims" : "removed", k->name);
            take(op, k, NULL, STR_NONE);
        } else if (there && k->trust == NULL) {
            update(op, k, buf_str(&token), &err);
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
    publish(op);
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
    while ((n = hmap_each(&op->known, &it)) != NULL) {
        struct known *k = CONTAINER_OF(n, struct known, node);
        hmap_remove(&op->known, n);
        drop_edges(k);
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
