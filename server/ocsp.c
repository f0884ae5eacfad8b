/* ocsp.c - see ocsp.h. */
#include "server/ocsp.h"

#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/config/options.h"
#include "server/net/tls.h"
#include "server/parts.h"
#include "server/peer_checks.h"
#include "server/staple.h"
#include "server/worker.h"

#include <event2/dns.h>
#include <event2/event.h>

#define SECOND 1000000000ll
#define SAVE_NS (300 * SECOND)
#define STAPLES 2

struct ocsp {
    struct ocsp_host host;
    struct io_fs *fs;
    struct evdns_base *dns;
    struct tls_context *tls; /* for responders behind https; NULL = there is no such way */
    struct staple *staples[STAPLES];
    struct peer_checks *checks;
    struct peer_cache *cache; /* NULL: nobody is asked about, or answers are not kept */
    struct event *save;
};

bool ocsp_peers_checked(const struct options *o)
{
    bool any = o->tls.ocsp_peer.verify || o->websocket.tls.ocsp_peer.verify ||
               o->leaf.tls.ocsp_peer.verify;

    for (size_t i = 0; i < o->leaf.nremotes; i++)
        any |= o->leaf.remotes[i].tls.ocsp_peer.verify;
    return any;
}

static struct url_way way_of(const struct ocsp *s)
{
    return (struct url_way){.base = s->host.base, .dns = s->dns, .tls = s->tls};
}

/* ---- our own certificates -------------------------------------------------------------------- */

static bool open_staples(struct ocsp *s, const struct options *o, const struct parts_tls *tls,
                         struct staple *const before[STAPLES], struct staple *out[STAPLES],
                         char why[256])
{
    const struct staple_host host = {.way = way_of(s),
                                     .fs = s->fs,
                                     .log = s->host.log,
                                     .revoked = s->host.end,
                                     .ctx = s->host.ctx};
    const struct {
        struct tls_context *context;
        const struct tls_options *tls;
    } ours[STAPLES] = {{tls->clients, &o->tls}, {tls->websocket, &o->websocket.tls}};
    bool ok = true;

    for (size_t i = 0; i < STAPLES; i++) {
        out[i] = NULL;
        if (ok && ours[i].context != NULL)
            ok = staple_open(&host,
                             &(struct staple_want){.context = ours[i].context,
                                                   .tls = ours[i].tls,
                                                   .ocsp = &o->ocsp,
                                                   .store_dir = o->store_dir,
                                                   .before = before != NULL ? before[i] : NULL,
                                                   .wait = before == NULL},
                             &out[i], why);
    }
    return ok;
}

static void close_staples(struct staple *list[STAPLES])
{
    for (size_t i = 0; i < STAPLES; i++) {
        staple_close(list[i]);
        list[i] = NULL;
    }
}

/* ---- what is kept about others --------------------------------------------------------------- */

static void save(evutil_socket_t fd, short what, void *ctx)
{
    const struct ocsp *s = ctx;

    (void) fd;
    (void) what;
    peer_cache_save(s->cache);
}

static void open_cache(struct ocsp *s, const struct options *o)
{
    int64_t ns = o->ocsp_cache.save_interval_ns > 0 ? o->ocsp_cache.save_interval_ns : SAVE_NS;
    struct timeval every = {.tv_sec = ns / SECOND, .tv_usec = ns % SECOND / 1000};

    if (!ocsp_peers_checked(o))
        return;
    if (!o->ocsp_cache.none) {
        s->cache = peer_cache_open(&o->ocsp_cache, s->fs, s->host.log);
        event_add(s->save, &every);
    }
    peer_checks_cache(s->checks, s->cache);
    LOG_INF(s->host.log, "OCSP peer cache online, type [%s]", s->cache != NULL ? "local" : "none");
}

static void close_cache(struct ocsp *s)
{
    event_del(s->save);
    peer_cache_save(s->cache);
    peer_cache_close(s->cache);
    s->cache = NULL;
    peer_checks_cache(s->checks, NULL);
}

bool ocsp_cache_stats(const struct ocsp *s, struct peer_cache_stats *out)
{
    if (s == NULL || s->cache == NULL)
        return false;
    peer_cache_stats(s->cache, out);
    return true;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void post(void *ctx, unsigned worker, struct env_task *task)
{
    const struct ocsp *s = ctx;

    worker_post(worker_group_get(s->host.parts->workers, worker), task);
}

static void wake(void *ctx)
{
    const struct ocsp *s = ctx;

    s->host.wake(s->host.ctx);
}

static void open_checks(struct ocsp *s)
{
    struct worker_group *g = s->host.parts->workers;

    s->checks = peer_checks_open(&(struct peer_checks_host){
        .log = s->host.log, .way = way_of(s), .wake = wake, .post = post, .ctx = s});
    for (unsigned i = 0; i < worker_group_count(g); i++) {
        struct env *env = &worker_group_get(g, i)->env;
        env->judge = peer_checks_judge;
        env->judge_ctx = s->checks;
    }
}

struct ocsp *ocsp_open(const struct ocsp_host *host, const struct options *o,
                       const struct parts_tls *tls, char why[256])
{
    static const struct tls_options of_the_system = {0};
    struct ocsp *s = mem_zalloc(sizeof(*s));

    s->host = *host;
    s->fs = io_fs(worker_group_get(host->parts->workers, 0)->env.io);
    s->dns = evdns_base_new(host->base,
                            EVDNS_BASE_INITIALIZE_NAMESERVERS | EVDNS_BASE_DISABLE_WHEN_INACTIVE);
    s->tls = tls_context_open_client(&of_the_system, why);
    s->save = event_new(host->base, -1, EV_PERSIST, save, s);
    open_checks(s);
    if (!open_staples(s, o, tls, NULL, s->staples, why)) {
        ocsp_close(s);
        return NULL;
    }
    open_cache(s, o);
    return s;
}

void ocsp_reload(struct ocsp *s, const struct options *now, const struct parts_tls *tls)
{
    struct staple *before[STAPLES];
    char why[256];

    for (size_t i = 0; i < STAPLES; i++)
        before[i] = s->staples[i];
    if (!open_staples(s, now, tls, before, s->staples, why))
        LOG_WRN(s->host.log, "Can't restart OCSP features: %s", why);
    close_staples(before);
    close_cache(s);
    open_cache(s, now);
}

void ocsp_take(struct ocsp *s)
{
    peer_checks_take(s->checks);
}

void ocsp_stop(struct ocsp *s)
{
    peer_checks_stop(s->checks);
}

void ocsp_close(struct ocsp *s)
{
    if (s == NULL)
        return;
    close_staples(s->staples);
    close_cache(s);
    peer_checks_close(s->checks);
    event_free(s->save);
    if (s->dns != NULL)
        evdns_base_free(s->dns, 0);
    tls_context_put(s->tls);
    mem_free(s);
}
