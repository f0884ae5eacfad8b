/*
 * api_stream.c - requests that make and change streams, and the account's.
 *
 * Create and update begin on worker 0, which claims the name and the subjects in the directory, go
 * to the worker that owns (or will own) the stream, and answer from there when the change is
 * durable.
 *
 * What is claimed by a stream that is being deleted (api_stream_remove.c) is not there for lookups
 * and not free for claims: a create that wants it waits in js->parked until the deletion is
 * durable, and begins again. So a name has one stream at most in every state that a crash can
 * leave.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

#include <string.h>

/* ---- account --------------------------------------------------------------------------------- */

enum {
    SUM_MEMORY,
    SUM_STORAGE,
    SUM_RESERVED_MEMORY,
    SUM_RESERVED_STORAGE,
    SUM_STREAMS,
    SUM_CONSUMERS,
    SUM_TOTAL,
    SUM_ERRORS
};

/* What is used, and of how much. */
static void put_tier(const uint64_t *n, const struct account_jetstream *l, int64_t max_ack_pending,
                     struct buf *b)
{
    buf_printf(
        b,
        "\"memory\":%llu,\"storage\":%llu,\"reserved_memory\":%llu,\"reserved_storage\":%llu,"
        "\"streams\":%llu,\"consumers\":%llu,"
        "\"limits\":{\"max_memory\":%lld,\"max_storage\":%lld,\"max_streams\":%lld,"
        "\"max_consumers\":%lld,\"max_ack_pending\":%lld,\"memory_max_stream_bytes\":%lld,"
        "\"storage_max_stream_bytes\":%lld,\"max_bytes_required\":%s}",
        (unsigned long long) n[SUM_MEMORY], (unsigned long long) n[SUM_STORAGE],
        (unsigned long long) n[SUM_RESERVED_MEMORY], (unsigned long long) n[SUM_RESERVED_STORAGE],
        (unsigned long long) n[SUM_STREAMS], (unsigned long long) n[SUM_CONSUMERS],
        (long long) l->max_memory, (long long) l->max_store, (long long) l->max_streams,
        (long long) l->max_consumers, (long long) max_ack_pending,
        (long long) l->memory_max_stream_bytes, (long long) l->disk_max_stream_bytes,
        l->max_bytes_required ? "true" : "false");
}

static void put_account(struct api_request *r)
{
    static const struct account_jetstream nothing;
    const uint64_t *n = r->sum;
    struct buf *b = &r->out;
    const struct options *o = r->js->env->options;
    const struct account_jetstream *l = &r->js->limits;
    int64_t acks = -1;

    if (l->max_ack_pending > 0)
        acks = l->max_ack_pending;
    else if (o->js_max_ack_pending > 0)
        acks = o->js_max_ack_pending;
    buf_putc(b, ',');
    put_tier(n, l->tiered ? &nothing : l, l->tiered ? 0 : acks, b);
    if (l->tiered && !l->no_tier) {
        buf_puts(b, ",\"tiers\":{\"R1\":{");
        put_tier(n, l, acks, b);
        buf_puts(b, "}}");
    }
    if (o->domain != NULL) {
        buf_puts(b, ",\"domain\":");
        jput_string(b, str_of(o->domain));
    }
    buf_printf(b, ",\"api\":{\"level\":%d,\"total\":%llu,\"errors\":%llu}", JS_API_LEVEL,
               (unsigned long long) n[SUM_TOTAL], (unsigned long long) n[SUM_ERRORS]);
}

static void visit_account(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct js_stats st;

    if (r == NULL)
        return;
    js_stats_of(r->js, &st);
    r->sum[SUM_MEMORY] += st.memory;
    r->sum[SUM_STORAGE] += st.storage;
    r->sum[SUM_RESERVED_MEMORY] += st.reserved_memory;
    r->sum[SUM_RESERVED_STORAGE] += st.reserved_storage;
    r->sum[SUM_STREAMS] += st.streams;
    r->sum[SUM_CONSUMERS] += st.consumers;
    r->sum[SUM_TOTAL] += st.api_total;
    r->sum[SUM_ERRORS] += st.api_errors;
    if (env->worker + 1 < env->workers) {
        api_go_to(r, env->worker + 1, visit_account);
        return;
    }
    put_account(r);
    api_reply(r);
}

void api_info(struct api_request *r)
{
    list_remove(&r->link);
    visit_account(&r->task, r->js->env);
}

/* ---- create and update ----------------------------------------------------------------------- */

struct stream_change {
    struct store_req req;
    struct api_request *r;
    struct stream_config config;
    uint64_t birth; /* of the stream being created */
    enum err err;   /* why it can not be */
    bool created;
};

void api_change_free(struct stream_change *ch)
{
    stream_config_release(&ch->config);
    mem_free(ch);
}

static void put_changed(struct api_request *r, struct stream *s, enum info_kind kind)
{
    buf_putc(&r->out, ',');
    stream_info(s, &(struct info_options){.kind = kind}, &r->out);
}

static void why_failed(const struct stream_change *ch, enum err err, struct js_error *out)
{
    if (err == ERR_NO_SPACE)
        js_fail(out, JS_ERR_STORAGE_RESOURCES_EXCEEDED, NULL);
    else
        js_fail(out, ch->created ? JS_ERR_STREAM_CREATE : JS_ERR_STREAM_UPDATE, "%s",
                err_text(err));
}

static void change_failed(struct stream_change *ch, enum err err)
{
    struct js_error e = {0};

    why_failed(ch, err, &e);
    api_error(ch->r, &e);
}

/* The claims go first. */
static void create_failed(struct stream_change *ch, enum err err)
{
    why_failed(ch, err, &ch->r->error);
    api_release(ch->r);
}

static void undone(struct store_req *req, enum err err)
{
    struct stream_change *ch = CONTAINER_OF(req, struct stream_change, req);

    (void) err;
    create_failed(ch, ch->err);
}

/* What the store has made of it goes again, durably: a stream that was refused must not be there
 * after a restart. */
static void undo_create(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct store_stream *store;
    struct stream *s;

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_find(r->js, str_of(ch->config.name));
    if (s == NULL || s->birth != ch->birth) { /* it was deleted meanwhile */
        change_failed(ch, ch->err);
        return;
    }
    store = s->store;
    js_stream_free(s);
    ch->req.done = undone;
    store_stream_delete(store, &ch->req);
}

static void create_durable(struct store_req *req, enum err err)
{
    struct stream_change *ch = CONTAINER_OF(req, struct stream_change, req);
    struct js *js = ch->r->js;
    struct stream *s = js_stream_find(js, str_of(ch->config.name));

    /* It may have been deleted again, and even another one created, before it was durable. */
    if (s == NULL || s->birth != ch->birth) {
        change_failed(ch, err != ERR_OK ? err : ERR_CANCELED);
    } else if (err != ERR_OK) {
        /* Not in here: the store is not done with the stream. */
        ch->err = err;
        api_go_to(ch->r, js->env->worker, undo_create);
    } else {
        stream_publish_interest(s);
        stream_log_async(s);
        api_created(s);
        put_changed(ch->r, s, INFO_CREATED);
        buf_puts(&ch->r->out, ",\"did_create\":true");
        advise_stream(js, ADVISE_CREATED, str_of(s->config.name));
        api_reply(ch->r);
    }
}

static enum store_level level_of(const struct stream_config *c)
{
    if (c->storage == STORAGE_MEMORY)
        return STORE_MEMORY;
    return c->persist_mode != 0 ? STORE_ASYNC : STORE_DURABLE;
}

enum err api_make_stream(struct stream *s, struct store_req *req)
{
    struct store_stream_options o = {.level = level_of(&s->config)};
    struct buf blob = {0}, name = {0};
    enum err err;

    /* What is restored says itself where it begins. */
    o.first_seq = s->created != 0 ? s->config.first_seq : 0;
    stream_limits(&s->config, &o.limits);
    js_stream_render(s, &blob);
    o.config = buf_str(&blob);
    js_stored_name(s->js, s->config.name, &name);
    o.name = buf_str(&name);
    err = store_stream_create(s->js->store, &o, &stream_store_ops, s, &s->store, req);
    buf_free(&blob);
    buf_free(&name);
    if (err != ERR_OK)
        return err;
    s->id = store_stream_id(s->store);
    store_stream_compress(s->store, s->config.compression != 0);
    s->assigned = s->durable = o.first_seq > 1 ? o.first_seq - 1 : 0;
    stream_reader_init(s);
    return ERR_OK;
}

static void create_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct stream *s;
    enum err err;

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_new(r->js, &ch->config, io_wall(env->io));
    ch->birth = s->birth;
    ch->req.done = create_durable;
    err = api_make_stream(s, &ch->req);
    if (err != ERR_OK) {
        js_stream_free(s);
        create_failed(ch, err);
    }
}

bool api_waits_for_stream(struct api_request *r, struct stream *s,
                          void (*run)(struct env_task *task, struct env *env))
{
    if (s->sink.self != 0)
        return false;
    r->task.run = run;
    list_remove(&r->link);
    list_push_back(&s->waiting, &r->link);
    return true;
}

void api_created(struct stream *s)
{
    struct list *l;

    while ((l = list_pop_front(&s->waiting)) != NULL) {
        struct api_request *r = LIST_ENTRY(l, struct api_request, link);
        api_go_to(r, s->js->env->worker, r->task.run);
    }
}

static void claim_again(struct env_task *task, struct env *env);

/* Creating what exists with the same configuration is answered as if it had been created now. */
static void compare_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct stream *s;

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_find(r->js, str_of(ch->config.name));
    if (s == NULL) {
        if (!api_is_offline(r, STR_NONE))
            api_go_to(r, 0, claim_again); /* its creation has failed meanwhile */
    } else if (api_waits_for_stream(r, s, compare_here)) {
        ;
    } else if (!stream_config_equal(&s->config, &ch->config)) {
        api_error_kind(r, JS_ERR_STREAM_NAME_EXIST);
    } else {
        put_changed(r, s, INFO_CREATED);
        buf_puts(&r->out, ",\"did_create\":true");
        api_reply(r);
    }
}

/* Before its configuration is looked at as a whole. */
static bool check_new(const struct stream_config *c, struct js_error *err)
{
    if (c->sealed)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "stream configuration for create can not be sealed");
    if (c->mirror_direct && c->mirror == NULL)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "stream has no mirror but does have mirror direct");
    return true;
}

static bool outline_of(void *ctx, struct str name, struct stream_outline *out)
{
    const struct js *js = ctx;

    return directory_outline(js->shared->directory, name, out);
}

bool api_check_origins(struct js *js, struct stream_config *config, struct js_error *err)
{
    return source_configs_check_others(config, outline_of, js, err);
}

void api_describe(struct js *js, const struct stream_config *config)
{
    struct stream_outline o;

    stream_outline_make(config, &o);
    directory_describe(js->shared->directory, str_of(config->name), &o);
    stream_outline_free(&o);
}

static bool is_unnamed(const struct stream_config *c)
{
    return c->name == NULL || c->name[0] == '\0';
}

static bool is_named(const struct stream_config *c, struct str name)
{
    return c->name != NULL && str_eq(name, str_of(c->name));
}

bool api_check_separators(const struct api_request *r, struct js_error *err)
{
    struct str name = r->tokens[0];

    if (str_index(name, '/') == name.n && str_index(name, '\\') == name.n)
        return true;
    return js_fail(err, JS_ERR_STREAM_NAME_CONTAINS_PATH_SEPARATORS, NULL);
}

/* Reads and checks the configuration in the body; NULL after having answered. */
static struct stream_change *read_change(struct api_request *r, bool create)
{
    const struct options *o = r->js->env->options;
    struct stream_change *ch = r->change = mem_zalloc(sizeof(*ch));
    struct js_error err = {0};
    bool ok = api_check_kinds(r, &shape_stream_config_request, &err) &&
              stream_config_read(buf_str(&r->body), o->js_strict, &ch->config, &err);

    /* An update without a name fails as a configuration. */
    if (ok && (create || !is_unnamed(&ch->config)) && !is_named(&ch->config, r->tokens[0]))
        ok = js_fail(&err, JS_ERR_STREAM_MISMATCH, NULL);
    ok = ok && (!create || (api_check_separators(r, &err) && check_new(&ch->config, &err))) &&
         stream_config_check(&ch->config, o->js_duplicate_window_ns, &err) &&
         api_check_origins(r->js, &ch->config, &err);
    if (ok && create && ch->config.num_replicas > 1)
        ok = js_fail(&err, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED, NULL);
    if (!ok) {
        api_error(r, &err);
        return NULL;
    }
    ch->r = r;
    return ch;
}

enum js_error_kind api_no_room(const struct stream_config *c)
{
    return c->storage == STORAGE_MEMORY ? JS_ERR_MEMORY_RESOURCES_EXCEEDED
                                        : JS_ERR_STORAGE_RESOURCES_EXCEEDED;
}

/* Of the limits of the account, those that are about one stream. */
static bool fits_one(const struct account_jetstream *l, const struct stream_config *c,
                     struct js_error *err)
{
    int64_t max = c->storage == STORAGE_MEMORY ? l->memory_max_stream_bytes
                                               : l->disk_max_stream_bytes;

    if (l->no_tier)
        return js_fail(err, JS_ERR_NO_LIMITS, NULL);
    if (l->max_consumers > 0 && c->max_consumers > l->max_consumers)
        return js_fail(err, JS_ERR_MAXIMUM_CONSUMERS_LIMIT, NULL);
    if ((l->max_bytes_required || max > 0) && c->max_bytes <= 0)
        return js_fail(err, JS_ERR_STREAM_MAX_BYTES_REQUIRED, NULL);
    if (max > 0 && c->max_bytes > max)
        return js_fail(err, JS_ERR_STREAM_MAX_STREAM_BYTES_EXCEEDED, NULL);
    return true;
}

bool api_fits_account(const struct js *js, const struct stream_config *c, struct js_error *err)
{
    int64_t max = js->limits.max_streams;

    if (!fits_one(&js->limits, c, err))
        return false;
    if (max > 0 && directory_count(js->shared->directory) >= (size_t) max)
        return js_fail(err, JS_ERR_MAXIMUM_STREAMS_LIMIT, NULL);
    return true;
}

/* On worker 0, and again when something that was in the way has gone. */
static void claim(struct api_request *r)
{
    struct js *js = r->js;
    struct directory *d = js->shared->directory;
    const struct stream_config *c = &r->change->config;
    struct js_error err = {0};
    uint32_t worker;

    if (directory_stream(d, str_of(c->name), &worker)) {
        api_go_to(r, worker, compare_here);
        return;
    }
    if (!api_fits_account(js, c, &err)) {
        api_error(r, &err);
        return;
    }
    worker = js->env->place(js->env);
    switch (directory_claim(d, str_of(c->name), &c->subjects, worker)) {
    case DIRECTORY_OK:
        api_describe(js, c);
        if (js_resources_reserve(&js->shared->resources, (enum storage) c->storage, c->max_bytes)) {
            api_go_to(r, worker, create_here);
        } else {
            directory_release(d, str_of(c->name));
            api_error_kind(r, api_no_room(c));
        }
        break;
    case DIRECTORY_BUSY:
        list_remove(&r->link);
        list_push_back(&js->parked, &r->link);
        break;
    default:
        api_error_kind(r, JS_ERR_STREAM_SUBJECT_OVERLAP);
        break;
    }
}

static void claim_again(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r != NULL)
        claim(r);
}

void api_stream_create(struct api_request *r)
{
    struct stream_change *ch = read_change(r, true);

    if (ch == NULL)
        return;
    ch->created = true;
    claim(r);
}

void api_retry_parked(struct js *js)
{
    struct list waited, *l;

    list_init(&waited);
    list_splice(&waited, &js->parked);
    while ((l = list_pop_front(&waited)) != NULL) {
        list_push_back(&js->requests, l);
        claim(LIST_ENTRY(l, struct api_request, link));
    }
}

static void release_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct js *js;

    if (r == NULL)
        return;
    js = r->js;
    directory_release(js->shared->directory, r->tokens[0]);
    if (r->error.kind != JS_OK)
        api_error(r, &r->error);
    else
        api_reply(r);
    api_retry_parked(js);
}

void api_release(struct api_request *r)
{
    api_go_to(r, 0, release_here);
}

static void update_durable(struct store_req *req, enum err err)
{
    struct stream_change *ch = CONTAINER_OF(req, struct stream_change, req);
    struct stream *s = js_stream_find(ch->r->js, str_of(ch->config.name));

    if (err != ERR_OK || s == NULL) {
        change_failed(ch, err != ERR_OK ? err : ERR_CANCELED);
    } else {
        put_changed(ch->r, s, INFO_CHANGED);
        advise_stream(ch->r->js, ADVISE_UPDATED, str_of(s->config.name));
        api_reply(ch->r);
    }
}

static void apply_update(struct stream *s, struct stream_change *ch)
{
    struct store_limits limits;
    struct buf blob = {0};
    bool was_interest = s->config.retention == RETENTION_INTEREST;

    stream_change_interest(s, &ch->config);
    stream_config_release(&s->config);
    stream_config_copy(&s->config, &ch->config);
    s->dedup.window_ns = s->config.duplicate_window_ns;
    if (s->expiry == NULL && stream_expires(&s->config))
        stream_effects_start(s); /* what was copied from elsewhere may have times already */
    stream_expiry_configure(s);
    stream_subjects_configure(s);
    stream_ingest_configure(s);
    stream_batches_configure(s);
    stream_limits(&s->config, &limits);
    js_stream_render(s, &blob);
    ch->req.done = update_durable;
    store_stream_compress(s->store, s->config.compression != 0);
    store_stream_update(s->store, &limits, buf_str(&blob), &ch->req);
    if (!was_interest) /* what nobody wants goes, if interest is what counts now */
        stream_interest_lost(s);
    stream_upstreams_change(s);
    stream_tell(s);
    buf_free(&blob);
}

/* Consumers stay within limits that become narrower. */
static bool consumers_fit(const struct stream *s, const struct stream_config *config,
                          struct js_error *err)
{
    struct consumer_limits l;
    struct buf names = {0};
    bool fit;

    stream_config_limits(config, &l);
    LIST_FOREACH(link, &s->consumers)
    {
        const struct consumer *c = LIST_ENTRY(link, struct consumer, stream_link);
        bool more = (l.max_ack_pending > 0 && c->config.max_ack_pending > l.max_ack_pending) ||
                    (l.inactive_threshold_ns > 0 &&
                     c->config.inactive_threshold_ns > l.inactive_threshold_ns);
        if (more)
            buf_printf(&names, "%s%s", names.n > 0 ? ", " : "", c->name);
    }
    fit = names.n == 0 || js_fail(err, JS_ERR_STREAM_UPDATE,
                                  "change to limits violates consumers: %s", buf_cstr(&names));
    buf_free(&names);
    return fit;
}

/* The difference; a stream that gets smaller gives back. */
static bool reserve_more(struct stream *s, const struct stream_config *new, struct js_error *err)
{
    struct js_resources *res = &s->js->shared->resources;
    enum storage kind = (enum storage) s->config.storage;
    int64_t old = s->config.max_bytes > 0 ? s->config.max_bytes : 0;

    if (!fits_one(&s->js->limits, new, err))
        return false;
    if (new->max_bytes > old && !js_resources_reserve(res, kind, new->max_bytes - old))
        return js_fail(err, api_no_room(new), NULL);
    if (new->max_bytes < old)
        js_resources_release(res, kind, old - (new->max_bytes > 0 ? new->max_bytes : 0));
    return true;
}

static void update_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct stream *s;
    struct js_error err = {0};

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_find(r->js, str_of(ch->config.name));
    if (s == NULL) {
        if (!api_is_offline(r, STR_NONE))
            api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
        return;
    }
    if (api_waits_for_stream(r, s, update_here))
        return;
    if (stream_config_check_update(&s->config, &ch->config, &err) &&
        consumers_fit(s, &ch->config, &err))
        reserve_more(s, &ch->config, &err);
    if (err.kind != JS_OK) {
        directory_reclaim(r->js->shared->directory, str_of(s->config.name), &s->config.subjects);
        api_describe(r->js, &s->config);
        api_error(r, &err);
    } else {
        apply_update(s, ch);
    }
}

void api_stream_update(struct api_request *r)
{
    struct directory *d = r->js->shared->directory;
    struct stream_change *ch = read_change(r, false);
    uint32_t worker;

    if (ch == NULL)
        return;
    if (!directory_stream(d, str_of(ch->config.name), &worker)) {
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    } else if (directory_reclaim(d, str_of(ch->config.name), &ch->config.subjects) !=
               DIRECTORY_OK) {
        api_error_kind(r, JS_ERR_STREAM_SUBJECT_OVERLAP);
    } else {
        api_describe(r->js, &ch->config);
        api_go_to(r, worker, update_here);
    }
}
