/*
 * api_stream_remove.c - requests that delete streams and purge them.
 *
 * A deletion begins on worker 0, which hides the stream from lookups, is carried out on the
 * stream's worker, and comes back when it is durable: then name and subjects are free, the request
 * is answered, and creations that waited for them begin (api_release).
 */
#include "lib/base/mem.h"
#include "server/js/advisory.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"
#include "server/js/stream_parts.h"
#include "server/js/upstream.h"

struct deletion {
    struct store_req req;
    struct api_request *r;
};

static void deleted(struct store_req *req, enum err err)
{
    struct deletion *d = CONTAINER_OF(req, struct deletion, req);

    if (err == ERR_OK) {
        buf_puts(&d->r->out, ",\"success\":true");
        advise_stream(d->r->js, ADVISE_DELETED, d->r->tokens[0]);
    } else {
        js_fail(&d->r->error, JS_ERR_STREAM_DELETE, "%s", err_text(err));
    }
    api_release(d->r);
    mem_free(d);
}

static void delete_here(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream *s = r != NULL ? js_stream_find(r->js, r->tokens[0]) : NULL;
    struct store_stream *store;
    struct deletion *d;

    if (r == NULL)
        return;
    if (s == NULL) { /* its creation has failed */
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
        return;
    }
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        consumer_core_end_pulls(&c->core, STATUS_CONSUMER_DELETED);
        consumer_run_effects(c);
        if (c->id != 0)
            advise_consumer(c, ADVISE_DELETED);
    }
    d = mem_zalloc(sizeof(*d));
    d->r = r;
    d->req.done = deleted;
    store = s->store;
    stream_upstreams_leave(s);
    js_stream_free(s);
    store_stream_delete(store, &d->req);
}

/* What can not be read is kept until somebody who can read it decides. */
static void offline_stays(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);

    if (r != NULL)
        api_stream(r);
}

void api_stream_delete(struct api_request *r)
{
    struct directory *d = r->js->shared->directory;
    uint32_t worker;

    if (!api_expect_empty(r))
        return;
    if (!directory_stream(d, r->tokens[0], &worker))
        api_error_kind(r, JS_ERR_STREAM_NOT_FOUND);
    else if (directory_retire(d, r->tokens[0]))
        api_go_to(r, worker, delete_here);
    else
        api_go_to(r, worker, offline_stays);
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
    uint64_t first; /* what the next message gets at least, 0 = what it would get */
};

/* So far ahead a purge may set the next sequence: a skip is a batch for each 2^30. */
#define AHEAD_MAX (1ull << 40)

/* A purge up to a sequence that is still to come: the next message gets that one. */
static void skip_ahead(struct purging *p)
{
    struct stream *s = p->first > 0 ? js_stream_find(p->r->js, p->r->tokens[0]) : NULL;

    if (s != NULL && p->first - 1 > s->assigned && p->first - s->assigned <= AHEAD_MAX)
        stream_skip_to(s, p->first - 1);
}

static void move_consumers(struct purging *p)
{
    struct stream *s = js_stream_find(p->r->js, p->r->tokens[0]);

    if (s == NULL)
        return;
    LIST_FOREACH(l, &s->consumers)
    consumer_purged(LIST_ENTRY(l, struct consumer, stream_link), str_of(p->filter));
}

static void purged(struct store_req *req, enum err err)
{
    struct purging *p = CONTAINER_OF(req, struct purging, req);
    struct js_error e = {0};

    if (err == ERR_OK) {
        move_consumers(p);
        skip_ahead(p);
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

    if (s == NULL || !stream_memo_is_written(s, r) ||
        !api_read_options(r, &shape_stream_purge_request, purge_fields, ARRAY_LEN(purge_fields),
                          &q))
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
    p->first = q.filter == NULL || q.filter[0] == '\0' ? q.seq : 0;
    store_purge(
        s->store,
        &(struct store_purge){.filter = str_of(p->filter), .before_seq = q.seq, .keep = q.keep},
        &p->req);
}
