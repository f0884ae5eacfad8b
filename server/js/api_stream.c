/*
 * api_stream.c - requests about streams.
 *
 * Create and update begin on worker 0, which claims the name and the subjects in the directory, go
 * to the worker that owns (or will own) the stream, and answer from there when the change is
 * durable. Lists visit the workers one after the other.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/js_int.h"

#include <string.h>

#define NAMES_PAGE 1024u
#define LIST_PAGE 256u

/* ---- account ----------------------------------------------------------------------------------
 */

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

static void put_account(struct api_request *r)
{
    const uint64_t *n = r->sum;
    struct buf *b = &r->out;
    const struct options *o = r->js->env->options;

    buf_printf(
        b,
        ",\"memory\":%llu,\"storage\":%llu,\"reserved_memory\":%llu,\"reserved_storage\":%llu,"
        "\"streams\":%llu,\"consumers\":%llu,"
        "\"limits\":{\"max_memory\":-1,\"max_storage\":-1,\"max_streams\":-1,\"max_consumers\":-1,"
        "\"max_ack_pending\":%lld,\"memory_max_stream_bytes\":-1,\"storage_max_stream_bytes\":-1,"
        "\"max_bytes_required\":false}",
        (unsigned long long) n[SUM_MEMORY], (unsigned long long) n[SUM_STORAGE],
        (unsigned long long) n[SUM_RESERVED_MEMORY], (unsigned long long) n[SUM_RESERVED_STORAGE],
        (unsigned long long) n[SUM_STREAMS], (unsigned long long) n[SUM_CONSUMERS],
        (long long) (o->js_max_ack_pending > 0 ? o->js_max_ack_pending : -1));
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
    js_stats(env->js, &st);
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

/* ---- create and update ------------------------------------------------------------------------
 */

struct stream_change {
    struct store_req req;
    struct api_request *r;
    struct stream_config config;
    uint64_t birth; /* of the stream being created */
    bool created;
};

void api_change_free(struct stream_change *ch)
{
    stream_config_release(&ch->config);
    mem_free(ch);
}

static void put_changed(struct api_request *r, struct stream *s)
{
    buf_putc(&r->out, ',');
    stream_info(s, &(struct info_options){.kind = INFO_CHANGED}, &r->out);
}

static void change_failed(struct stream_change *ch, enum err err)
{
    struct js_error e = {0};

    if (err == ERR_NO_SPACE)
        js_fail(&e, JS_ERR_STORAGE_RESOURCES_EXCEEDED, NULL);
    else
        js_fail(&e, ch->created ? JS_ERR_STREAM_CREATE : JS_ERR_STREAM_UPDATE, "%s", err_text(err));
    api_error(ch->r, &e);
}

static void create_durable(struct store_req *req, enum err err)
{
    struct stream_change *ch = CONTAINER_OF(req, struct stream_change, req);
    struct stream *s = js_stream_find(ch->r->js, str_of(ch->config.name));

    /* It may have been deleted again, and even another one created, before it was durable. */
    if (s == NULL || s->birth != ch->birth) {
        change_failed(ch, err != ERR_OK ? err : ERR_CANCELED);
    } else if (err != ERR_OK) {
        directory_release(s->js->shared->directory, str_of(s->config.name));
        js_stream_free(s);
        change_failed(ch, err);
    } else {
        stream_publish_interest(s);
        put_changed(ch->r, s);
        buf_puts(&ch->r->out, ",\"did_create\":true");
        api_reply(ch->r);
    }
    api_change_free(ch);
}

static enum store_level level_of(const struct stream_config *c)
{
    if (c->storage == STORAGE_MEMORY)
        return STORE_MEMORY;
    return c->persist_mode != 0 ? STORE_ASYNC : STORE_DURABLE;
}

static void create_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct js *js = env->js;
    struct store_stream_options o = {0};
    struct stream_change *ch;
    struct buf blob = {0};
    struct stream *s;
    enum err err;

    if (r == NULL)
        return;
    ch = r->change;
    o.name = str_of(ch->config.name);
    o.level = level_of(&ch->config);
    s = js_stream_new(js, &ch->config, io_wall(env->io));
    ch->birth = s->birth;
    o.first_seq = ch->config.first_seq;
    stream_limits(&ch->config, &o.limits);
    js_stream_render(s, &blob);
    o.config = buf_str(&blob);
    ch->req.done = create_durable;
    err = store_stream_create(js->store, &o, &stream_store_ops, s, &s->store, &ch->req);
    buf_free(&blob);
    if (err != ERR_OK) {
        directory_release(js->shared->directory, str_of(ch->config.name));
        js_stream_free(s);
        change_failed(ch, err);
        api_change_free(ch);
        return;
    }
    s->id = store_stream_id(s->store);
    s->assigned = s->durable = o.first_seq > 1 ? o.first_seq - 1 : 0;
    stream_reader_init(s);
}

/* Creating what exists with the same configuration is answered as if it had been created now. */
static void compare_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct stream *s;

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_find(env->js, str_of(ch->config.name));
    if (s == NULL || !stream_config_equal(&s->config, &ch->config)) {
        api_error_kind(r, JS_ERR_STREAM_NAME_EXIST);
    } else {
        put_changed(r, s);
        buf_puts(&r->out, ",\"did_create\":true");
        api_reply(r);
    }
    api_change_free(ch);
}

/* Reads and checks the configuration in the body; NULL after having answered. */
static struct stream_change *read_change(struct api_request *r)
{
    const struct options *o = r->js->env->options;
    struct stream_change *ch = mem_zalloc(sizeof(*ch));
    struct js_error err = {0};
    bool ok = stream_config_read(buf_str(&r->body), o->js_strict, &ch->config, &err);

    if (ok && (ch->config.name == NULL || !str_eq(r->tokens[0], str_of(ch->config.name))))
        ok = js_fail(&err, JS_ERR_STREAM_MISMATCH, NULL);
    ok = ok && stream_config_check(&ch->config, o->js_duplicate_window_ns, &err);
    if (!ok) {
        api_change_free(ch);
        api_error(r, &err);
        return NULL;
    }
    ch->r = r;
    r->change = ch;
    return ch;
}

void api_stream_create(struct api_request *r)
{
    struct js *js = r->js;
    struct stream_change *ch = read_change(r);
    uint32_t worker;

    if (ch == NULL)
        return;
    if (ch->config.sealed) {
        struct js_error err = {0};
        js_fail(&err, JS_ERR_STREAM_INVALID_CONFIG,
                "stream configuration for create can not be sealed");
        api_change_free(ch);
        api_error(r, &err);
        return;
    }
    ch->created = true;
    if (directory_stream(js->shared->directory, str_of(ch->config.name), &worker)) {
        api_go_to(r, worker, compare_here);
        return;
    }
    worker = atomic_fetch_add(&js->shared->next_worker, 1) % js->env->workers;
    if (directory_claim(js->shared->directory, str_of(ch->config.name), &ch->config.subjects,
                        worker) != DIRECTORY_OK) {
        api_change_free(ch);
        api_error_kind(r, JS_ERR_STREAM_SUBJECT_OVERLAP);
        return;
    }
    api_go_to(r, worker, create_here);
}

static void update_durable(struct store_req *req, enum err err)
{
    struct stream_change *ch = CONTAINER_OF(req, struct stream_change, req);
    struct stream *s = js_stream_find(ch->r->js, str_of(ch->config.name));

    if (err != ERR_OK || s == NULL) {
        change_failed(ch, err);
    } else {
        put_changed(ch->r, s);
        api_reply(ch->r);
    }
    api_change_free(ch);
}

static void apply_update(struct stream *s, struct stream_change *ch)
{
    struct store_limits limits;
    struct buf blob = {0};

    stream_withdraw_interest(s);
    stream_config_release(&s->config);
    stream_config_copy(&s->config, &ch->config);
    s->dedup.window_ns = s->config.duplicate_window_ns;
    stream_publish_interest(s);
    stream_limits(&s->config, &limits);
    js_stream_render(s, &blob);
    ch->req.done = update_durable;
    store_stream_update(s->store, &limits, buf_str(&blob), &ch->req);
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

static void update_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream_change *ch;
    struct stream *s;
    struct js_error err = {0};

    if (r == NULL)
        return;
    ch = r->change;
    s = js_stream_find(env->js, str_of(ch->config.name));
    if (s == NULL) {
        api_change_free(ch);
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    } else if (!stream_config_check_update(&s->config, &ch->config, &err) ||
               !consumers_fit(s, &ch->config, &err)) {
        directory_reclaim(env->js->shared->directory, str_of(s->config.name), &s->config.subjects);
        api_change_free(ch);
        api_error(r, &err);
    } else {
        apply_update(s, ch);
    }
}

void api_stream_update(struct api_request *r)
{
    struct directory *d = r->js->shared->directory;
    struct stream_change *ch = read_change(r);
    uint32_t worker;

    if (ch == NULL)
        return;
    if (!directory_stream(d, str_of(ch->config.name), &worker)) {
        api_change_free(ch);
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    } else if (directory_reclaim(d, str_of(ch->config.name), &ch->config.subjects) !=
               DIRECTORY_OK) {
        api_change_free(ch);
        api_error_kind(r, JS_ERR_STREAM_SUBJECT_OVERLAP);
    } else {
        api_go_to(r, worker, update_here);
    }
}

/* ---- names and lists --------------------------------------------------------------------------
 */

struct list_request {
    uint64_t offset;
    char *subject;
};

static const struct json_field list_fields[] = {
    {"offset", JSON_U64_FIELD, offsetof(struct list_request, offset), 0, NULL},
    {"subject", JSON_STRING_FIELD, offsetof(struct list_request, subject), 0, NULL},
};

/* Fills r->names and r->offset; false after having answered. */
static bool collect_names(struct api_request *r)
{
    struct list_request q = {0};

    if (!api_read_body(r, list_fields, ARRAY_LEN(list_fields), &q))
        return false;
    r->offset = q.offset;
    directory_names(r->js->shared->directory, str_of(q.subject), &r->names);
    fields_release(list_fields, ARRAY_LEN(list_fields), &q);
    return true;
}

static void put_page(struct buf *b, uint64_t total, uint64_t offset, unsigned limit)
{
    buf_printf(b, ",\"total\":%llu,\"offset\":%llu,\"limit\":%u", (unsigned long long) total,
               (unsigned long long) offset, limit);
}

void api_stream_names(struct api_request *r)
{
    bool first = true;

    if (!collect_names(r))
        return;
    put_page(&r->out, r->names.n, r->offset, NAMES_PAGE);
    if (r->names.n <= r->offset) {
        buf_puts(&r->out, ",\"streams\":null");
        api_reply(r);
        return;
    }
    buf_puts(&r->out, ",\"streams\":[");
    for (size_t i = r->offset; i < r->names.n && i < r->offset + NAMES_PAGE; i++) {
        if (!first)
            buf_putc(&r->out, ',');
        first = false;
        jput_string(&r->out, str_of(r->names.items[i]));
    }
    buf_putc(&r->out, ']');
    api_reply(r);
}

static void visit_list(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r == NULL)
        return;
    for (size_t i = r->offset; i < r->names.n && i < r->offset + LIST_PAGE; i++) {
        struct stream *s = js_stream_find(env->js, str_of(r->names.items[i]));
        if (s == NULL || s->store == NULL)
            continue;
        buf_puts(&r->out, r->at++ > 0 ? ",{" : "{");
        stream_info(s, &(struct info_options){.kind = INFO_LISTED}, &r->out);
        buf_putc(&r->out, '}');
    }
    if (env->worker + 1 < env->workers) {
        api_go_to(r, env->worker + 1, visit_list);
        return;
    }
    buf_putc(&r->out, ']');
    api_reply(r);
}

void api_stream_list(struct api_request *r)
{
    if (!collect_names(r))
        return;
    put_page(&r->out, r->names.n, r->offset, LIST_PAGE);
    buf_puts(&r->out, ",\"streams\":[");
    list_remove(&r->link);
    visit_list(&r->task, r->js->env);
}

/* ---- info, delete, purge ----------------------------------------------------------------------
 */

struct info_request {
    uint64_t offset;
    bool deleted_details;
    char *subjects_filter;
};

static const struct json_field info_fields[] = {
    {"offset", JSON_U64_FIELD, offsetof(struct info_request, offset), 0, NULL},
    {"deleted_details", JSON_BOOL_FIELD, offsetof(struct info_request, deleted_details), 0, NULL},
    {"subjects_filter", JSON_STRING_FIELD, offsetof(struct info_request, subjects_filter), 0, NULL},
};

void api_stream_info(struct api_request *r)
{
    struct info_request q = {0};
    struct stream *s = api_stream(r);
    uint64_t matched = 0;

    if (s == NULL || !api_read_body(r, info_fields, ARRAY_LEN(info_fields), &q))
        return;
    buf_putc(&r->out, ',');
    stream_info(s,
                &(struct info_options){INFO_ASKED, q.deleted_details, q.subjects_filter, q.offset,
                                       &matched},
                &r->out);
    if (matched > 0)
        put_page(&r->out, matched, q.offset, SUBJECTS_PAGE);
    else
        put_page(&r->out, 0, 0, 0);
    fields_release(info_fields, ARRAY_LEN(info_fields), &q);
    api_reply(r);
}

struct deletion {
    struct store_req req;
    struct api_request *r;
    char *name;
};

static void deleted(struct store_req *req, enum err err)
{
    struct deletion *d = CONTAINER_OF(req, struct deletion, req);
    struct js_error e = {0};

    directory_release(d->r->js->shared->directory, str_of(d->name));
    if (err == ERR_OK) {
        buf_puts(&d->r->out, ",\"success\":true");
        api_reply(d->r);
    } else {
        js_fail(&e, JS_ERR_STREAM_DELETE, "%s", err_text(err));
        api_error(d->r, &e);
    }
    mem_free(d->name);
    mem_free(d);
}

void api_stream_delete(struct api_request *r)
{
    struct stream *s = api_stream(r);
    struct deletion *d;
    struct store_stream *store;

    if (s == NULL || !api_expect_empty(r))
        return;
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        consumer_core_end_pulls(&c->core, STATUS_CONSUMER_DELETED);
        consumer_run_effects(c);
    }
    d = mem_zalloc(sizeof(*d));
    d->r = r;
    d->req.done = deleted;
    d->name = mem_strdup(s->config.name);
    store = s->store;
    js_stream_free(s);
    store_stream_delete(store, &d->req);
}

struct purge_request {
    uint64_t seq, keep;
    char *filter;
};

static const struct json_field purge_fields[] = {
    {"seq", JSON_U64_FIELD, offsetof(struct purge_request, seq), 0, NULL},
    {"keep", JSON_U64_FIELD, offsetof(struct purge_request, keep), 0, NULL},
    {"filter", JSON_STRING_FIELD, offsetof(struct purge_request, filter), 0, NULL},
};

struct purging {
    struct store_req req;
    struct api_request *r;
    char *filter;
};

static void purged(struct store_req *req, enum err err)
{
    struct purging *p = CONTAINER_OF(req, struct purging, req);
    struct js_error e = {0};

    if (err == ERR_OK) {
        buf_printf(&p->r->out, ",\"success\":true,\"purged\":%llu",
                   (unsigned long long) req->count);
        api_reply(p->r);
    } else {
        js_fail(&e, JS_ERR_STREAM_PURGE_FAILED, "%s", err_text(err));
        api_error(p->r, &e);
    }
    mem_free(p->filter);
    mem_free(p);
}

void api_stream_purge(struct api_request *r)
{
    struct purge_request q = {0};
    struct stream *s = api_stream(r);
    struct js_error err = {0};
    struct purging *p;

    if (s == NULL || !api_read_body(r, purge_fields, ARRAY_LEN(purge_fields), &q))
        return;
    if (s->config.sealed)
        js_fail(&err, JS_ERR_STREAM_SEALED, NULL);
    else if (s->config.deny_purge)
        js_fail(&err, JS_ERR_STREAM_PURGE_FAILED, "stream purge not permitted");
    else if (q.seq > 0 && q.keep > 0)
        js_fail(&err, JS_ERR_BAD_REQUEST, NULL);
    if (err.kind != JS_OK) {
        fields_release(purge_fields, ARRAY_LEN(purge_fields), &q);
        api_error(r, &err);
        return;
    }
    p = mem_zalloc(sizeof(*p));
    p->r = r;
    p->req.done = purged;
    p->filter = q.filter;
    store_purge(
        s->store,
        &(struct store_purge){.filter = str_of(p->filter), .before_seq = q.seq, .keep = q.keep},
        &p->req);
}
