/*
 * resolver.c - see resolver.h.
 *
 * In a directory tokens may expire by age (`ttl`): an event looks now and then. A name that is
 * asked for over HTTP is in `fetching` until its answer is there, so that a thousand clients of one
 * account make one request.
 */
#include "server/resolver.h"

#include "lib/base/list.h"
#include "lib/base/mem.h"
#include "lib/jwt/nkey.h"
#include "server/config/options.h"
#include "server/jwt_dir.h"
#include "server/net/tls.h"
#include "server/url_fetch.h"

#include <event2/dns.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define DIR_TICK_S 60

struct resolver {
    struct resolver_host host;
    struct jwt_dir *dir;
    struct evdns_base *dns;  /* NULL: the system looks names up */
    struct tls_context *tls; /* NULL: no https */
    struct event *tick;
    struct list fetching; /* struct fetching: tokens on their way over HTTP */
};

struct fetching {
    struct list link;
    struct resolver *resolver;
    char name[NKEY_LEN + 1];
    resolver_done *done;
    void *ctx;
    struct url_fetch *fetch;
};

int64_t resolver_now(const struct resolver_host *host)
{
    struct timeval tv;

    event_base_gettimeofday_cached(host->base, &tv);
    return (int64_t) tv.tv_sec * SECOND + (int64_t) tv.tv_usec * 1000;
}

struct jwt_dir *resolver_dir(const struct resolver *r)
{
    return r->dir;
}

static const struct resolver_options *options_of(const struct resolver *r)
{
    return &r->host.options->operators.resolver;
}

bool resolver_is_remote(const struct resolver *r)
{
    return options_of(r)->kind == RESOLVER_URL;
}

/* ---- at once --------------------------------------------------------------------------------- */

static void put_url(const struct resolver *r, const char *name, struct buf *out)
{
    buf_printf(out, "%s%s", options_of(r)->url, name);
}

static struct url_way way_of(const struct resolver *r)
{
    return (struct url_way){.base = r->host.base,
                            .dns = r->dns,
                            .tls = r->tls,
                            .timeout_ns = options_of(r)->timeout_ns};
}

static bool fetch_url(const struct resolver *r, const char *name, struct buf *token,
                      struct buf *err)
{
    struct url_way way = way_of(r);
    struct buf url = {0};
    bool ok;

    put_url(r, name, &url);
    ok = url_fetch_now(&way, buf_cstr(&url), token, err);
    buf_free(&url);
    return ok;
}

bool resolver_fetch(struct resolver *r, const char *name, struct buf *token, struct buf *err)
{
    const struct operators *o = &r->host.options->operators;

    if (!nkey_is(str_of(name), NKEY_ACCOUNT)) {
        buf_puts(err, "will only fetch valid account keys");
        return false;
    }
    if (resolver_is_remote(r))
        return fetch_url(r, name, token, err);
    if (r->dir != NULL) {
        if (jwt_dir_load(r->dir, name, resolver_now(&r->host), token))
            return true;
        buf_puts(err, "account jwt not found");
        return false;
    }
    for (size_t i = o->npreload; i > 0; i--)
        if (strcmp(o->preload[i - 1].account, name) == 0) {
            buf_puts(token, o->preload[i - 1].token);
            return true;
        }
    buf_puts(err, "account missing");
    return false;
}

/* ---- over HTTP, while the workers run -------------------------------------------------------- */

static void fetched(void *ctx, struct str body, const char *why)
{
    struct fetching *f = ctx;

    list_remove(&f->link);
    f->done(f->ctx, f->name, body, why);
    mem_free(f);
}

static bool is_under_way(const struct resolver *r, const char *name)
{
    LIST_FOREACH(l, &r->fetching)
    {
        if (strcmp(LIST_ENTRY(l, struct fetching, link)->name, name) == 0)
            return true;
    }
    return false;
}

void resolver_fetch_later(struct resolver *r, const char *name, resolver_done *done, void *ctx)
{
    struct url_way way = way_of(r);
    struct fetching *f;
    struct buf url = {0}, err = {0};

    if (is_under_way(r, name))
        return;
    if (!nkey_is(str_of(name), NKEY_ACCOUNT)) {
        done(ctx, name, STR_NONE, "will only fetch valid account keys");
        return;
    }
    f = mem_zalloc(sizeof(*f));
    f->resolver = r;
    f->done = done;
    f->ctx = ctx;
    snprintf(f->name, sizeof(f->name), "%s", name);
    list_push_back(&r->fetching, &f->link);
    put_url(r, name, &url);
    f->fetch = url_fetch_start(&way, buf_cstr(&url), fetched, f, &err);
    if (f->fetch == NULL)
        fetched(f, STR_NONE, buf_cstr(&err));
    buf_free(&url);
    buf_free(&err);
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool open_dir(struct resolver *r, char why[256])
{
    const struct resolver_options *o = options_of(r);

    if (o->kind != RESOLVER_FULL && o->kind != RESOLVER_CACHE)
        return true;
    r->dir = jwt_dir_open(
        &(struct jwt_dir_options){
            .fs = r->host.fs,
            .path = o->dir,
            .cache = o->kind == RESOLVER_CACHE,
            .soft_delete = o->allow_delete && !o->hard_delete,
            .limit = o->limit,
            .ttl_ns = o->ttl_ns,
        },
        resolver_now(&r->host), why);
    return r->dir != NULL;
}

static void tick(evutil_socket_t fd, short what, void *ctx)
{
    struct resolver *r = ctx;

    (void) fd;
    (void) what;
    jwt_dir_expire(r->dir, resolver_now(&r->host));
}

static void start_tick(struct resolver *r)
{
    int64_t ttl = options_of(r)->ttl_ns / SECOND / 2;
    struct timeval every = {.tv_sec = ttl > 0 && ttl < DIR_TICK_S ? ttl : DIR_TICK_S};

    if (r->dir == NULL)
        return;
    r->tick = event_new(r->host.base, -1, EV_PERSIST, tick, r);
    event_add(r->tick, &every);
}

static bool open_tls(struct resolver *r, char why[256])
{
    if (!resolver_is_remote(r) || !str_starts(str_of(options_of(r)->url), STR("https://")))
        return true;
    r->tls = tls_context_open_client(&options_of(r)->tls, why);
    return r->tls != NULL;
}

/* A server of tokens has to answer at a start. */
static bool anybody_home(const struct resolver *r, char why[256])
{
    struct buf body = {0}, err = {0};
    bool ok = !resolver_is_remote(r) || fetch_url(r, "", &body, &err);

    if (!ok)
        snprintf(why, 256, "%.250s", buf_cstr(&err));
    buf_free(&body);
    buf_free(&err);
    return ok;
}

struct resolver *resolver_open(const struct resolver_host *host, char why[256])
{
    struct resolver *r = mem_zalloc(sizeof(*r));

    r->host = *host;
    list_init(&r->fetching);
    if (resolver_is_remote(r))
        r->dns = evdns_base_new(host->base, EVDNS_BASE_INITIALIZE_NAMESERVERS |
                                                EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    if (!open_dir(r, why) || !open_tls(r, why) || !anybody_home(r, why)) {
        resolver_close(r);
        return NULL;
    }
    start_tick(r);
    return r;
}

void resolver_reload(struct resolver *r, const struct options *now)
{
    r->host.options = now;
}

void resolver_close(struct resolver *r)
{
    struct list *l;

    if (r == NULL)
        return;
    if (r->tick != NULL)
        event_free(r->tick);
    while ((l = list_pop_front(&r->fetching)) != NULL) {
        url_fetch_stop(LIST_ENTRY(l, struct fetching, link)->fetch);
        mem_free(LIST_ENTRY(l, struct fetching, link));
    }
    if (r->dns != NULL)
        evdns_base_free(r->dns, 0);
    tls_context_put(r->tls);
    jwt_dir_close(r->dir);
    mem_free(r);
}
