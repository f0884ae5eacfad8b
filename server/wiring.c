#include "server/wiring.h"

#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct wiring {
    struct account_wiring **list;
    size_t n;
};

/* ---- transforms ------------------------------------------------------------------------------ */

/* From a pattern to a subject whose stars, if it has some, stand for those of the pattern. */
static struct transform *make(struct str source, struct str dest, enum transform_kind kind,
                              struct buf *err)
{
    struct buf numbered = {0};
    struct transform *t;

    transform_number_stars(dest, &numbered);
    t = transform_new(source, buf_str(&numbered), kind, err);
    buf_free(&numbered);
    return t;
}

/* NULL and true: the subject stays. */
static bool stream_transform(const struct account_import *im, struct transform **out,
                             struct buf *err)
{
    struct buf local = {0};

    *out = NULL;
    account_import_local(im, &local);
    if (!str_eq(buf_str(&local), str_of(im->subject))) {
        *out = make(str_of(im->subject), buf_str(&local), TRANSFORM_REVERSIBLE, err);
        if (*out == NULL) {
            buf_free(&local);
            return false;
        }
    }
    buf_free(&local);
    return true;
}

/* The pattern of the requests, and what they become. The import says it the other way round, with
 * the exporter's stars numbered in the local subject: made from there, and turned. */
static bool service_transform(const struct account_import *im, struct buf *pattern,
                              struct transform **out, struct buf *err)
{
    struct str remote = str_of(im->subject), local = str_of(im->to != NULL ? im->to : im->subject);
    struct transform *back;

    *out = NULL;
    transform_dest_pattern(local, pattern);
    if (str_eq(remote, local))
        return true;
    if (!subject_has_wildcard(remote)) {
        *out = transform_new(local, remote, TRANSFORM_ANY, err);
        return *out != NULL;
    }
    back = make(remote, local, TRANSFORM_REVERSIBLE, err);
    if (back == NULL)
        return false;
    *out = transform_reverse(back);
    transform_free(back);
    return *out != NULL;
}

/* ---- links ----------------------------------------------------------------------------------- */

static const struct account_export *export_of(const struct account_options *a, const char *subject)
{
    for (size_t i = 0; i < a->nexports; i++)
        if (a->exports[i].service && strcmp(a->exports[i].subject, subject) == 0)
            return &a->exports[i];
    for (size_t i = 0; i < a->nexports; i++)
        if (a->exports[i].service && subject_subset(str_of(subject), str_of(a->exports[i].subject)))
            return &a->exports[i];
    return NULL;
}

static bool link_service(struct account_wiring *w, const struct account_import *im,
                         struct account *to, const struct account_options *exporter,
                         struct buf *err)
{
    const struct account_export *e = export_of(exporter, im->subject);
    struct buf pattern = {0};
    struct transform *t;
    struct account_link *l;
    bool ok = service_transform(im, &pattern, &t, err);

    if (ok) {
        l = account_wiring_link(w);
        *l = (struct account_link){
            .to = to,
            .pattern = mem_strdup(buf_cstr(&pattern)),
            .transform = t,
            .service = true,
            .share = im->share,
            .allow_trace = e != NULL && e->allow_trace,
            .latency = e != NULL && e->latency.subject != NULL ? mem_strdup(e->latency.subject)
                                                               : NULL,
            .sampling = e != NULL && !e->latency.headers ? e->latency.sampling : 0,
            .many = e != NULL && e->response != RESPONSE_SINGLE,
            .patience_ns = e != NULL ? e->threshold_ns : 0,
        };
    }
    buf_free(&pattern);
    return ok;
}

static bool link_stream(struct account_wiring *w, const struct account_import *im,
                        struct account *to, struct buf *err)
{
    struct transform *t;
    struct account_link *l;

    if (!stream_transform(im, &t, err))
        return false;
    l = account_wiring_link(w);
    *l = (struct account_link){.to = to,
                               .pattern = mem_strdup(im->subject),
                               .transform = t,
                               .allow_trace = im->allow_trace};
    return true;
}

static bool import_failed(const struct account_import *im, struct buf *err, char why[256])
{
    snprintf(why, 256, "%.96sError adding %s import \"%.48s\": %.80s", im->at != NULL ? im->at : "",
             im->service ? "service" : "stream", im->subject, buf_cstr(err));
    return false;
}

/* Those that another account's imports, or its own, put into account a. */
static bool link_imports(struct account_wiring *w, struct account_set *set,
                         const struct accounts *all, const struct account_options *a,
                         const struct account_options *importer, char why[256])
{
    struct buf err = {0};
    bool ok = true;

    for (size_t i = 0; ok && i < importer->nimports; i++) {
        const struct account_import *im = &importer->imports[i];
        const char *to = im->service ? im->account : importer->name;
        struct account *target;
        if (im->service ? importer != a : strcmp(im->account, a->name) != 0)
            continue;
        target = set != NULL ? account_set_find(set, str_of(to)) : NULL;
        ok = im->service ? link_service(w, im, target, accounts_find(all, im->account), &err)
                         : link_stream(w, im, target, &err);
        if (!ok)
            import_failed(im, &err, why);
    }
    buf_free(&err);
    return ok;
}

static bool exports_streams(const struct account_options *a)
{
    for (size_t i = 0; i < a->nexports; i++)
        if (!a->exports[i].service)
            return true;
    return false;
}

/* The links that stand in account a: its service imports, and the stream imports of others, for
 * which all are looked through when it has streams to offer. set may be NULL: a trial. */
static bool add_links(struct account_wiring *w, struct account_set *set, const struct accounts *all,
                      const struct account_options *a, char why[256])
{
    bool ok = true;

    if (!exports_streams(a))
        return link_imports(w, set, all, a, a, why);
    for (size_t k = 0; ok && k < all->n; k++)
        ok = link_imports(w, set, all, a, &all->list[k], why);
    return ok;
}

/* What every account may ask the system account, with its own name put in. */
static void add_system_links(struct account_wiring *w, struct account_set *set,
                             const struct options *o, const char *name)
{
    static const struct {
        const char *pattern, *to;
    } all[] = {
        {"$SYS.REQ.USER.INFO", "$SYS.REQ.USER.%s.INFO"},
        {"$SYS.REQ.SERVER.PING.CONNZ", "$SYS.REQ.ACCOUNT.%s.CONNZ"},
        {"$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.ACCOUNT.%s.CONNZ"},
        {"$SYS.REQ.ACCOUNT.PING.STATZ", "$SYS.REQ.ACCOUNT.%s.STATZ"},
    };
    const char *system = o->system_account != NULL ? o->system_account : ACCOUNT_SYSTEM;
    struct account *to = account_set_find(set, str_of(system));
    struct buf err = {0};

    if (o->no_system_account || to == NULL || strcmp(system, name) == 0)
        return;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        const char *at = strstr(all[i].to, "%s");
        struct buf there = {0};
        struct transform *t;
        buf_put(&there, all[i].to, (size_t) (at - all[i].to));
        buf_puts(&there, name);
        buf_puts(&there, at + 2);
        t = transform_new(str_of(all[i].pattern), buf_str(&there), TRANSFORM_ANY, &err);
        /* A name that is no token can not be asked for. */
        if (t != NULL)
            *account_wiring_link(w) = (struct account_link){
                .to = to,
                .pattern = mem_strdup(all[i].pattern),
                .transform = t,
                .service = true,
            };
        buf_free(&there);
    }
    buf_free(&err);
}

/* ---- mappings -------------------------------------------------------------------------------- */

static bool lists_itself(const struct account_mapping *m)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp(m->dests[i].subject, m->source) == 0)
            return true;
    return false;
}

static bool add_way(struct account_map *map, struct str source, struct str dest, unsigned weight,
                    struct buf *err)
{
    unsigned before = map->n > 0 ? map->ways[map->n - 1].below : 0;
    struct transform *t = make(source, dest, TRANSFORM_ANY, err);

    if (t == NULL)
        return false;
    map->ways = mem_realloc(map->ways, (map->n + 1) * sizeof(*map->ways));
    map->ways[map->n++] = (struct account_way){.transform = t, .below = before + weight};
    return true;
}

static bool add_map(struct account_wiring *w, const struct account_mapping *m, struct buf *err)
{
    struct account_map *map = account_wiring_map(w);
    struct str source = str_of(m->source);
    unsigned sum = 0;

    map->pattern = mem_strdup(m->source);
    for (size_t i = 0; i < m->n; i++) {
        sum += m->dests[i].weight;
        if (!add_way(map, source, str_of(m->dests[i].subject), m->dests[i].weight, err))
            return false;
    }
    return sum >= 100 || lists_itself(m) || add_way(map, source, source, 100 - sum, err);
}

/* As nats-server says it; a place before it in a configuration. */
static void mapping_failed(const struct account_mapping *m, const char *err, char why[256])
{
    struct buf b = {0};

    buf_printf(&b, "%sError adding mapping for \"%.64s\"", m->at != NULL ? m->at : "", m->source);
    if (m->plain)
        buf_printf(&b, " to \"%.64s\"", m->dests[0].subject);
    snprintf(why, 256, "%.170s : %.80s", buf_cstr(&b), err);
    buf_free(&b);
}

static bool add_maps(struct account_wiring *w, const struct account_options *a, char why[256])
{
    struct buf err = {0};
    bool ok = true;

    for (size_t i = 0; ok && i < a->nmappings; i++) {
        ok = add_map(w, &a->mappings[i], &err);
        if (!ok)
            mapping_failed(&a->mappings[i], buf_cstr(&err), why);
    }
    buf_free(&err);
    return ok;
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* all: what is said about accounts. set: NULL = a trial. NULL with an empty why: the account
 * needs none. */
static struct account_wiring *wiring_of(struct account_set *set, const struct options *o,
                                        const struct accounts *all, const char *name, char why[256])
{
    const struct account_options *of = accounts_find(all, name);
    struct account_wiring *w = mem_zalloc(sizeof(*w));
    bool ok = of == NULL || (add_links(w, set, all, of, why) && add_maps(w, of, why));

    if (ok && set != NULL)
        add_system_links(w, set, o, name);
    if (ok && w->nlinks + w->nmaps > 0)
        return w;
    account_wiring_free(w);
    return NULL;
}

bool wiring_try(const struct options *o, char why[256])
{
    why[0] = '\0';
    for (size_t i = 0; !operators_on(o) && i < o->accounts.n && why[0] == '\0'; i++)
        account_wiring_free(wiring_of(NULL, o, &o->accounts, o->accounts.list[i].name, why));
    return why[0] == '\0';
}

bool wiring_check(const struct options *o, char why[256])
{
    const char *system = o->system_account;

    if (operators_on(o))
        return true; /* accounts come with their claims */
    if (system != NULL && strcmp(system, ACCOUNT_SYSTEM) != 0 &&
        accounts_find(&o->accounts, system) == NULL) {
        snprintf(why, 256, "error resolving system account: account missing");
        return false;
    }
    return wiring_try(o, why);
}

static void set_limits(struct account *a, const struct account_options *o)
{
    atomic_store(&a->max_connections, o != NULL ? o->limits.connections : -1);
    atomic_store(&a->max_subscriptions, o != NULL ? o->limits.subscriptions : -1);
    atomic_store(&a->max_payload, o != NULL ? o->limits.payload : -1);
    atomic_store(&a->max_leafs, o != NULL ? o->limits.leafnodes : -1);
}

static void retire(struct wiring *w, struct account_wiring *old)
{
    if (old == NULL)
        return;
    w->list = mem_realloc(w->list, (w->n + 1) * sizeof(*w->list));
    w->list[w->n++] = old;
}

struct wiring *wiring_apply(struct account_set *set, const struct options *o)
{
    struct wiring *before = mem_zalloc(sizeof(*before));
    struct account *a;
    char why[256] = "";

    for (size_t i = 0; i < o->accounts.n; i++)
        account_set_add(set, str_of(o->accounts.list[i].name));
    for (uint32_t i = 0; (a = account_set_get(set, i)) != NULL; i++) {
        const struct account_options *of = accounts_find(&o->accounts, a->name);
        struct account_wiring *w = wiring_of(set, o, &o->accounts, a->name, why);
        set_limits(a, of);
        if (w != NULL || atomic_load(&a->wiring) != NULL)
            retire(before, account_wire(a, w));
    }
    return before;
}

struct wiring *wiring_new(void)
{
    return mem_zalloc(sizeof(struct wiring));
}

void wiring_apply_one(struct account_set *set, const struct options *o, const struct accounts *all,
                      struct account *a, struct wiring *before, struct log *log)
{
    const struct account_options *of = accounts_find(all, a->name);
    char why[256] = "";
    struct account_wiring *w = wiring_of(set, o, all, a->name, why);

    if (why[0] != '\0')
        LOG_ERR(log, "Account %s: %s", a->name, why);
    set_limits(a, of);
    if (w != NULL || atomic_load(&a->wiring) != NULL)
        retire(before, account_wire(a, w));
}

void wiring_free(struct wiring *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->n; i++)
        account_wiring_free(w->list[i]);
    mem_free(w->list);
    mem_free(w);
}
