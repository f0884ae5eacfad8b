/*
 * kv_watch.c - watching a bucket, and what is a watch that ends: history, keys, old markers.
 *
 * Behind a watch is an ordered consumer: by default from the last message of each key on, with
 * history from the first message on, for updates only from now on. "Initial" is over when the
 * message came behind which none was pending, or so many came as were there when the consumer was
 * made; markers that the program does not want count.
 *
 * A mirror holds its origin's subjects, so patterns go by the origin's prefix.
 */
#include "client/js_initial.h"
#include "client/kv_int.h"
#include "lib/base/mem.h"

#include <string.h>

struct midge_watch {
    struct midge_kv *kv;
    struct midge_ordered *ordered;
    bool ignore_deletes;
    struct js_initial initial;
    midge_on_entry on_entry;
    void (*on_initial)(void *ctx);
    void *ctx;
};

static void on_start(void *ctx, uint64_t pending)
{
    struct midge_watch *w = ctx;

    if (js_initial_start(&w->initial, pending) && w->on_initial != NULL)
        w->on_initial(w->ctx);
}

static void on_delivery(void *ctx, const struct midge_delivery *d)
{
    struct midge_watch *w = ctx;
    struct midge_kv_entry e;

    if (kv_read_entry(w->kv, d->msg.subject, d->msg.header, d->msg.payload, &e)) {
        e.revision = d->stream_seq;
        e.time_ns = d->time_ns;
        e.pending = d->pending;
        if (e.operation == MIDGE_KV_PUT || !w->ignore_deletes)
            w->on_entry(w->ctx, &e);
    }
    if (js_initial_step(&w->initial, d->pending) && w->on_initial != NULL)
        w->on_initial(w->ctx);
}

/* "$KV.<bucket>.<pattern>" of each. False when one is none. */
static bool make_filters(const struct midge_kv *kv, struct midge_texts patterns,
                         struct str_list *filters)
{
    static const char *const everything[] = {">"};

    if (patterns.n == 0)
        patterns = (struct midge_texts){everything, 1};
    for (size_t i = 0; i < patterns.n; i++) {
        struct buf b = {0};
        if (!kv_pattern_valid(patterns.items[i]))
            return false;
        buf_printf(&b, "%s%s", strstr(kv->put_prefix, "$KV."), patterns.items[i]);
        str_list_add(filters, buf_str(&b));
        buf_free(&b);
    }
    return true;
}

static int deliver_policy(const struct midge_watch_options *o)
{
    if (o->updates_only)
        return MIDGE_DELIVER_NEW;
    if (o->from > 0)
        return MIDGE_DELIVER_FROM_SEQ;
    return o->history ? MIDGE_DELIVER_ALL : MIDGE_DELIVER_LAST_PER_SUBJECT;
}

struct midge_watch *midge_kv_watch(struct midge_kv *kv, struct midge_texts patterns,
                                   const struct midge_watch_options *options,
                                   midge_on_entry on_entry, void (*on_initial)(void *ctx),
                                   void *ctx)
{
    struct midge_watch_options o = options != NULL ? *options : (struct midge_watch_options){0};
    struct str_list filters = {0};
    struct midge_watch *w;

    if (!make_filters(kv, patterns, &filters)) {
        str_list_free(&filters);
        client_error(kv->m, MIDGE_INVALID, "no pattern of keys");
        return NULL;
    }
    w = mem_zalloc(sizeof(*w));
    w->kv = kv;
    w->ignore_deletes = o.ignore_deletes;
    w->on_entry = on_entry;
    w->on_initial = on_initial;
    w->ctx = ctx;
    struct midge_ordered_options oo = {
        .filter_subjects = {(const char *const *) filters.items, filters.n},
        .deliver_policy = deliver_policy(&o),
        .start_seq = o.from,
        .headers_only = o.meta_only,
        .on_start = on_start,
    };
    w->ordered = midge_ordered_open(kv->m, kv->stream, &oo, on_delivery, w);
    str_list_free(&filters);
    return w;
}

const char *midge_watch_error(const struct midge_watch *w)
{
    return midge_ordered_error(w->ordered);
}

void midge_watch_close(struct midge_watch *w)
{
    midge_ordered_close(w->ordered);
    mem_free(w);
}

/* ---- watches that end ------------------------------------------------------------------------ */

struct once {
    bool done;
    unsigned n;
    midge_on_entry on_entry;
    midge_on_name on_name;
    void *ctx;
};

static void once_over(void *ctx)
{
    ((struct once *) ctx)->done = true;
}

static void once_entry(void *ctx, const struct midge_kv_entry *e)
{
    struct once *o = ctx;
    char *name;

    if (o->done)
        return;
    o->n++;
    if (o->on_entry != NULL)
        o->on_entry(o->ctx, e);
    if (o->on_name == NULL)
        return;
    name = mem_strndup(e->key.p, e->key.n);
    o->on_name(o->ctx, name);
    mem_free(name);
}

static int run_once(struct midge_kv *kv, struct midge_texts patterns,
                    const struct midge_watch_options *options, struct once *o)
{
    struct midge *m = kv->m;
    struct midge_watch *w;
    int rc = client_wait_up(m, client_end(m->o.timeout_ms));

    if (rc != MIDGE_OK)
        return rc;
    w = midge_kv_watch(kv, patterns, options, once_entry, once_over, o);
    if (w == NULL)
        return MIDGE_INVALID;
    rc = js_ordered_run(w->ordered, &o->done);
    midge_watch_close(w);
    return rc;
}

int midge_kv_history(struct midge_kv *kv, const char *key, midge_on_entry on_entry, void *ctx)
{
    struct once o = {.on_entry = on_entry, .ctx = ctx};
    int rc;

    if (!kv_key_valid(key))
        return client_error(kv->m, MIDGE_INVALID, "\"%.100s\" is no key", key);
    rc = run_once(kv, (struct midge_texts){&key, 1}, &(struct midge_watch_options){.history = true},
                  &o);
    if (rc == MIDGE_OK && o.n == 0)
        rc = client_error(kv->m, MIDGE_NOT_FOUND, "key not found");
    return rc;
}

int midge_kv_keys(struct midge_kv *kv, struct midge_texts patterns, midge_on_name each, void *ctx)
{
    struct once o = {.on_name = each, .ctx = ctx};

    return run_once(kv, patterns,
                    &(struct midge_watch_options){.ignore_deletes = true, .meta_only = true}, &o);
}

/* ---- old markers ----------------------------------------------------------------------------- */

struct markers {
    struct str_list old, fresh;
    int64_t before;
};

static void take_marker(void *ctx, const struct midge_kv_entry *e)
{
    struct markers *k = ctx;

    if (e->operation != MIDGE_KV_PUT)
        str_list_add(e->time_ns < k->before ? &k->old : &k->fresh, client_str(e->key));
}

/* keep = 1 leaves the marker itself. */
static int purge_keys(struct midge_kv *kv, const struct str_list *keys, uint64_t keep)
{
    int rc = MIDGE_OK;

    for (size_t i = 0; i < keys->n && rc == MIDGE_OK; i++) {
        struct buf subject = {0};
        buf_printf(&subject, "%s%s", kv->prefix, keys->items[i]);
        rc = midge_stream_purge(kv->m, kv->stream,
                                &(struct midge_purge){.filter = buf_cstr(&subject), .keep = keep},
                                NULL);
        buf_free(&subject);
    }
    return rc;
}

int midge_kv_purge_deletes(struct midge_kv *kv, int64_t older_than)
{
    struct markers k = {.before = io_wall(kv->m->io) - older_than};
    struct once o = {.on_entry = take_marker, .ctx = &k};
    int rc = run_once(kv, (struct midge_texts){NULL, 0}, NULL, &o);

    if (rc == MIDGE_OK)
        rc = purge_keys(kv, &k.old, 0);
    if (rc == MIDGE_OK)
        rc = purge_keys(kv, &k.fresh, 1);
    str_list_free(&k.old);
    str_list_free(&k.fresh);
    return rc;
}
