/*
 * js_recover.c - streams and consumers that the store found.
 *
 * Streams come before consumers. What can not be read (a configuration of a later version, a
 * damaged state) or can not have its name or subjects is offline: the store keeps its bytes as they
 * are, messages included; the name stays taken, requests for it are answered with the reason, and
 * the log says it once at the start.
 *
 * A recovered stream reads its duplicate window back before it takes publishes (stream_load.c), and
 * what its messages bring about later (stream_effects.c). After an end that was not clean, messages
 * of an interest stream are looked at once, whether somebody still needs them (stream_sweep.c).
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/consumer_int.h"
#include "server/js/consumer_state.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

#include <stdio.h>
#include <string.h>

/* ---- what is offline ------------------------------------------------------------------------- */

static void set_offline(struct js *js, struct str stream, struct str consumer, const char *reason)
{
    struct offline *o = mem_zalloc(sizeof(*o));

    o->stream = mem_strndup(stream.p, stream.n);
    o->consumer = consumer.n > 0 ? mem_strndup(consumer.p, consumer.n) : NULL;
    o->reason = mem_strdup(reason);
    list_push_back(&js->offline, &o->link);
    if (consumer.n > 0)
        LOG_ERR(js->env->log, "JetStream consumer '%s > %s > %s' is offline: %s", js->account->name,
                o->stream, o->consumer, reason);
    else
        LOG_ERR(js->env->log, "JetStream stream '%s > %s' is offline: %s", js->account->name,
                o->stream, reason);
}

void js_offline_free(struct js *js)
{
    struct list *l;

    while ((l = list_pop_front(&js->offline)) != NULL) {
        struct offline *o = LIST_ENTRY(l, struct offline, link);
        mem_free(o->stream);
        mem_free(o->consumer);
        mem_free(o->reason);
        mem_free(o);
    }
}

const char *js_offline_reason(struct js *js, struct str stream, struct str consumer)
{
    LIST_FOREACH(l, &js->offline)
    {
        const struct offline *o = LIST_ENTRY(l, struct offline, link);
        if (str_eq(str_of(o->stream), stream) && str_eq(str_of(o->consumer), consumer))
            return o->reason;
    }
    return NULL;
}

/* A stream that a restore has left. */
struct half {
    struct list link;
    struct store_stream *store;
    store_object_id id;
};

/* ---- streams --------------------------------------------------------------------------------- */

/* Its name is claimed without subjects: they can not be known, or are another's. */
static void stream_offline(struct js *js, struct str name, const char *reason)
{
    directory_claim_offline(js->shared->directory, name, js->env->worker);
    set_offline(js, name, STR_NONE, reason);
}

static void attach_stream(struct js *js, const struct store_object_view *v,
                          const struct stream_config *config, int64_t created)
{
    struct stream *s = js_stream_new(js, config, created);
    struct store_state st;
    struct str blob;

    if (store_stream_attach(js->store, v->id, &stream_store_ops, s, &s->store, &blob) != ERR_OK)
        FATAL("a recovered stream can not be attached");
    s->id = v->id;
    store_stream_compress(s->store, s->config.compression != 0);
    store_stream_state(s->store, &st);
    s->assigned = s->durable = st.last_seq;
    s->last_ts = st.last_ts;
    stream_reader_init(s);
    stream_log_async(s);
    s->used = st.bytes;
    js_resources_recover(&js->shared->resources, (enum storage) s->config.storage,
                         s->config.max_bytes, st.bytes);
    if (st.failed)
        return;
    stream_load_start(s);
    stream_index_start(s);
    stream_effects_start(s);
}

static void describe(struct js *js, const struct stream_config *config)
{
    struct stream_outline o;

    if (config->name == NULL)
        return;
    stream_outline_make(config, &o);
    directory_describe(js->shared->directory, str_of(config->name), &o);
    stream_outline_free(&o);
}

/* A restore that has not come to its end: nothing of it is to be seen. */
static void half_restored(struct js *js, const struct store_object_view *v)
{
    struct half *h = mem_zalloc(sizeof(*h));
    struct str blob;

    if (store_stream_attach(js->store, v->id, &stream_store_ops, NULL, &h->store, &blob) != ERR_OK)
        FATAL("a recovered stream can not be attached");
    h->id = v->id;
    list_push_back(&js->half, &h->link);
}

static bool is_half_restored(const struct jetstream *j, store_object_id id)
{
    for (uint32_t i = 0; i < j->n; i++) {
        if (j->of[i] == NULL)
            continue;
        LIST_FOREACH(l, &j->of[i]->half)
        if (LIST_ENTRY(l, struct half, link)->id == id)
            return true;
    }
    return false;
}

static void delete_half_restored(struct js *js)
{
    struct list *l;

    while ((l = list_pop_front(&js->half)) != NULL) {
        struct half *h = LIST_ENTRY(l, struct half, link);
        LOG_WRN(js->env->log, "A stream whose restore was not complete is deleted");
        store_stream_delete(h->store, NULL);
        mem_free(h);
    }
}

/* Whose stream it is, by the name the store has for it (js_stored_name); *name is left with the
 * stream's own. NULL: the account is not there. */
static struct js *js_of_name(struct jetstream *j, struct str *name)
{
    struct str account = STR(ACCOUNT_DEFAULT);
    size_t n = name->n;

    while (n > 0 && name->p[n - 1] != '/')
        n--;
    if (n > 0) {
        account = str_take(*name, n - 1);
        *name = str_skip(*name, n);
    }
    for (uint32_t i = 0; i < j->n; i++)
        if (j->of[i] != NULL && str_eq(str_of(j->of[i]->account->name), account))
            return j->of[i];
    return NULL;
}

static void recover_stream(struct jetstream *j, const struct store_object_view *v)
{
    struct stream_config config = {0};
    struct str name, blob, stored;
    struct js *js;
    int64_t created;
    bool ok;

    if (store_stream_peek(j->store, v->id, &name, &blob) != ERR_OK) {
        LOG_ERR(j->env->log, "Stream object %llu can not be read and is left as it is",
                (unsigned long long) v->id);
        return;
    }
    stored = name;
    js = js_of_name(j, &name);
    if (js == NULL) {
        LOG_WRN(j->env->log, "Stream '%.*s' is left as it is: its account is not configured",
                STR_ARG(stored));
        return;
    }
    ok = js_stream_parse(blob, &config, &created) && config.name != NULL;
    /* An old copy may be from the time when it was being restored. */
    if (ok && created == 0 && store_stream_adopted(j->store, v->id))
        created = io_wall(j->env->io);
    if (ok && created == 0)
        half_restored(js, v);
    else if (!ok)
        stream_offline(js, name, "its configuration can not be read");
    else if (directory_claim(js->shared->directory, str_of(config.name), &config.subjects,
                             js->env->worker) != DIRECTORY_OK)
        stream_offline(js, name, "its name or its subjects are those of another stream");
    else
        attach_stream(js, v, &config, created);
    describe(js, &config);
    stream_config_release(&config);
}

static struct stream *stream_of_account(struct js *js, store_object_id id)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&js->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        if (s->id == id)
            return s;
    }
    return NULL;
}

static struct stream *stream_by_id(struct jetstream *j, store_object_id id)
{
    struct stream *s = NULL;

    for (uint32_t i = 0; i < j->n && s == NULL; i++)
        if (j->of[i] != NULL)
            s = stream_of_account(j->of[i], id);
    return s;
}

/* ---- consumers ------------------------------------------------------------------------------- */

static bool restore_core(struct consumer *c, const struct consumer_record *rec,
                         const struct store_object_view *v)
{
    bool ok = consumer_state_decode(&c->core, rec->state);

    for (unsigned i = 0; ok && i < v->ndeltas; i++)
        ok = consumer_state_apply(&c->core, v->deltas[i]);
    ok = ok && consumer_last_take(c, rec->last);
    if (ok)
        consumer_state_resume(&c->core, io_now(c->js->env->io));
    return ok;
}

static void attach_consumer(struct stream *s, const struct store_object_view *v,
                            const struct consumer_record *rec)
{
    struct store_state st;
    struct consumer *c;
    bool cut;

    /* It would take what could not be read for gone, and write that down. Nobody attaches it: its
     * record stays as it is, for a start that finds the stream whole. */
    store_stream_state(s->store, &st);
    if (st.failed) {
        set_offline(s->js, str_of(s->config.name), str_of(rec->name),
                    "its stream could not be loaded");
        return;
    }
    c = consumer_new(s, &rec->config, rec->name, rec->created);
    c->id = v->id;
    if (!restore_core(c, rec, v)) {
        consumer_free(c);
        set_offline(s->js, str_of(s->config.name), str_of(rec->name), "its state can not be read");
        return;
    }
    cut = consumer_core_cut(&c->core, s->durable);
    /* What the limits removed while nobody was here was not told to it. */
    if (st.first_seq > 1)
        consumer_core_removed(&c->core, 1, st.first_seq - 1);
    consumer_last_go_on(c);
    consumer_recount(c);
    consumer_attach(c);
    if (cut)
        consumer_rewrite(c, NULL);
    else if (consumer_state_has_log(&c->core))
        consumer_save_later(c);
    consumer_start(c);
}

static void recover_consumer(struct jetstream *j, const struct store_object_view *v)
{
    struct stream *s = stream_by_id(j, v->parent);
    struct consumer_record rec;
    bool ok = consumer_parse(v->full, &rec);

    if (s != NULL && ok)
        attach_consumer(s, v, &rec);
    else if (s != NULL)
        set_offline(s->js, str_of(s->config.name), rec.name != NULL ? str_of(rec.name) : STR("?"),
                    "its configuration can not be read");
    else if (!is_half_restored(j, v->parent))
        LOG_ERR(j->env->log, "Consumer object %llu can not be read and is left as it is",
                (unsigned long long) v->id);
    if (ok)
        consumer_config_release(&rec.config);
    mem_free(rec.name);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Of an offline stream: stays as it is. */
static void recover_sources(struct jetstream *j, const struct store_object_view *v)
{
    struct stream *s = stream_by_id(j, v->parent);

    if (s != NULL)
        stream_positions_recover(s, v);
}

static void recover_memo(struct jetstream *j, const struct store_object_view *v)
{
    struct stream *s = stream_by_id(j, v->parent);

    if (s != NULL)
        stream_memo_recover(s, v);
}

static void recovered(void *ctx, const struct store_object_view *v)
{
    struct jetstream *j = ctx;

    if (v->kind == STORE_KIND_STREAM)
        recover_stream(j, v);
    else if (v->kind == JS_KIND_CONSUMER)
        recover_consumer(j, v);
    else if (v->kind == JS_KIND_SOURCES)
        recover_sources(j, v);
    else if (v->kind == JS_KIND_MEMO)
        recover_memo(j, v);
}

static bool any_offline(struct js *js, const struct stream *s)
{
    LIST_FOREACH(l, &js->offline)
    if (strcmp(LIST_ENTRY(l, struct offline, link)->stream, s->config.name) == 0)
        return true;
    return false;
}

/* Not where a consumer can not be read: it may need them all. */
static void recheck_all(struct js *js)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&js->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        if (!any_offline(js, s))
            stream_interest_lost(s);
    }
}

void js_stored_name(const struct js *js, const char *stream, struct buf *out)
{
    if (strcmp(js->account->name, ACCOUNT_DEFAULT) != 0)
        buf_printf(out, "%s/", js->account->name);
    buf_puts(out, stream);
}

void js_recover(struct jetstream *j)
{
    bool clean = store_dir_recovery(j->server->dir)->clean;

    store_recovered_each(j->store, recovered, j);
    store_recovered_done(j->store);
    for (uint32_t i = 0; i < j->n; i++) {
        if (j->of[i] == NULL)
            continue;
        delete_half_restored(j->of[i]);
        if (!clean)
            recheck_all(j->of[i]);
    }
}
