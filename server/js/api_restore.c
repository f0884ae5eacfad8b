/*
 * api_restore.c - the request STREAM.RESTORE, up to where chunks can come (restore.c).
 *
 * Name and subjects are claimed on worker 0 as for a create; the name is hidden until the restore
 * is complete, so that nobody sees a part of the stream, and a create of the same name waits.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/backup.h"
#include "server/js/stream_int.h"

#include <string.h>

struct beginning {
    struct store_req req;
    struct env_task task;
    struct api_request *r;
    struct stream_config config;
    uint64_t birth;
    enum err err; /* why there can be none */
};

static void beginning_free(struct beginning *b)
{
    stream_config_release(&b->config);
    mem_free(b);
}

/* What was claimed goes first. */
static void begin_failed(struct beginning *b, enum err err)
{
    js_fail(&b->r->error, JS_ERR_STREAM_RESTORE, "%s", err_text(err));
    api_release(b->r);
    beginning_free(b);
}

/* Where the task was posted to; false when JetStream has ended there, and everything was freed. */
static bool arrive(struct beginning *b, struct env *env)
{
    struct js *js = js_of(env, b->r->account);

    if (js == NULL || js->stopping) {
        api_request_free(b->r);
        beginning_free(b);
        return false;
    }
    b->r->js = js;
    list_push_back(&js->requests, &b->r->link);
    return true;
}

/* What the store may have of it is deleted; at the next start, if it can not do that now. */
static void undo_here(struct env_task *task, struct env *env)
{
    struct beginning *b = CONTAINER_OF(task, struct beginning, task);
    struct store_stream *store;
    struct stream *s;

    if (!arrive(b, env))
        return;
    s = js_stream_find(b->r->js, str_of(b->config.name));
    if (s != NULL && s->birth == b->birth) {
        store = s->store;
        js_stream_free(s);
        store_stream_delete(store, NULL);
    }
    begin_failed(b, b->err);
}

static void made(struct store_req *req, enum err err)
{
    struct beginning *b = CONTAINER_OF(req, struct beginning, req);
    struct env *env = b->r->js->env;
    struct stream *s = js_stream_find(b->r->js, str_of(b->config.name));

    if (err == ERR_OK && s != NULL && s->birth == b->birth) {
        restore_begin(b->r, s);
        beginning_free(b);
        return;
    }
    if (b->r->js->stopping) {
        begin_failed(b, ERR_CANCELED);
        return;
    }
    /* Not in here: the store is not done with the stream. */
    b->err = err != ERR_OK ? err : ERR_CANCELED;
    b->task.run = undo_here;
    list_remove(&b->r->link);
    env->post(env, env->worker, &b->task);
}

static void make_here(struct env_task *task, struct env *env)
{
    struct beginning *b = CONTAINER_OF(task, struct beginning, task);
    struct stream *s;
    enum err err;

    if (!arrive(b, env))
        return;
    s = js_stream_new(b->r->js, &b->config, 0); /* not created: not complete */
    b->birth = s->birth;
    b->req.done = made;
    err = api_make_stream(s, &b->req);
    if (err != ERR_OK) {
        js_stream_free(s);
        begin_failed(b, err);
    }
}

static bool claim(struct js *js, const struct stream_config *c, uint32_t worker,
                  struct js_error *err)
{
    struct directory *d = js->shared->directory;

    switch (directory_claim(d, str_of(c->name), &c->subjects, worker)) {
    case DIRECTORY_OK:
        break;
    case DIRECTORY_OVERLAP:
        return js_fail(err, JS_ERR_STREAM_SUBJECT_OVERLAP, NULL);
    default:
        return js_fail(err, JS_ERR_STREAM_NAME_EXIST_RESTORE_FAILED, NULL);
    }
    if (!js_resources_reserve(&js->shared->resources, (enum storage) c->storage, c->max_bytes)) {
        directory_release(d, str_of(c->name));
        return js_fail(err, api_no_room(c), NULL);
    }
    api_describe(js, c);
    directory_retire(d, str_of(c->name));
    return true;
}

struct restore_request {
    json_t *config, *state;
};

static const struct json_field request_fields[] = {
    {"config", JSON_RAW_FIELD, offsetof(struct restore_request, config), 0, NULL},
    {"state", JSON_RAW_FIELD, offsetof(struct restore_request, state), 0, NULL},
};

static bool read_config(struct api_request *r, json_t *config, struct stream_config *out,
                        struct js_error *err)
{
    const struct options *o = r->js->env->options;
    struct buf text = {0};
    bool ok;

    if (json_is_object(config))
        jput_raw(&text, config);
    else
        buf_puts(&text, "{}");
    ok = stream_config_read(buf_str(&text), o->js_strict, out, err);
    buf_free(&text);
    if (ok && (out->name == NULL || out->name[0] == '\0')) {
        mem_free(out->name);
        out->name = mem_strndup(r->tokens[0].p, r->tokens[0].n);
    }
    if (ok && !str_eq(r->tokens[0], str_of(out->name)))
        ok = js_fail(err, JS_ERR_STREAM_MISMATCH, NULL);
    ok = ok && api_check_separators(r, err) &&
         stream_config_check(out, o->js_duplicate_window_ns, err) &&
         api_check_origins(r->js, out, err);
    if (ok && out->num_replicas > 1)
        ok = js_fail(err, JS_ERR_STREAM_REPLICAS_NOT_SUPPORTED, NULL);
    return ok;
}

void api_stream_restore(struct api_request *r)
{
    struct restore_request q = {0};
    struct js *js = r->js;
    struct js_error err = {0};
    struct beginning *b;
    uint32_t worker;

    if (api_body_empty(r)) {
        api_error_kind(r, JS_ERR_BAD_REQUEST);
        return;
    }
    if (!api_read_body(r, &shape_stream_restore_request, request_fields, ARRAY_LEN(request_fields),
                       &q))
        return;
    b = mem_zalloc(sizeof(*b));
    b->r = r;
    worker = 0;
    if (read_config(r, q.config, &b->config, &err) && api_fits_account(js, &b->config, &err)) {
        if (directory_stream(js->shared->directory, str_of(b->config.name), &worker)) {
            js_fail(&err, JS_ERR_STREAM_NAME_EXIST_RESTORE_FAILED, NULL);
        } else {
            worker = js->env->place(js->env);
            claim(js, &b->config, worker, &err);
        }
    }
    fields_release(request_fields, ARRAY_LEN(request_fields), &q);
    if (err.kind != JS_OK) {
        beginning_free(b);
        api_error(r, &err);
        return;
    }
    list_remove(&r->link);
    b->task.run = make_here;
    js->env->post(js->env, worker, &b->task);
}
