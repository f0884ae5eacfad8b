/*
 * api_consumer.c - requests about consumers that are there: names, lists, info, pause, delete. All
 * run on the worker of the stream.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/api_int.h"
#include "server/js/consumer_int.h"

#define NAMES_PAGE 1024u
#define LIST_PAGE 256u

void api_put_consumer(struct api_request *r, struct consumer *c)
{
    buf_putc(&r->out, ',');
    consumer_info(c, INFO_ASKED, &r->out);
}

/* ---- names, lists, info, delete -------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct consumer *const *) a)->name, (*(struct consumer *const *) b)->name);
}

/* All that are durable in order of their names; the caller frees the array. */
static struct consumer **sorted(const struct stream *s, size_t *n)
{
    struct consumer **all = mem_array(s->nconsumers + 1, sizeof(*all));

    *n = 0;
    LIST_FOREACH(l, &s->consumers)
    {
        struct consumer *c = LIST_ENTRY(l, struct consumer, stream_link);
        if (c->creation == NULL && !c->config.direct)
            all[(*n)++] = c;
    }
    qsort(all, *n, sizeof(*all), by_name);
    return all;
}

static void list(struct api_request *r, struct stream *s, unsigned page,
                 void (*put)(struct consumer *c, struct buf *b))
{
    size_t n;
    struct consumer **all = sorted(s, &n);

    if (r->offset > n)
        r->offset = n;
    buf_printf(&r->out, ",\"total\":%zu,\"offset\":%llu,\"limit\":%u,\"consumers\":[", n,
               (unsigned long long) r->offset, page);
    for (size_t i = r->offset; i < n && i < r->offset + page; i++) {
        if (i > r->offset)
            buf_putc(&r->out, ',');
        put(all[i], &r->out);
    }
    buf_putc(&r->out, ']');
    mem_free(all);
    api_reply(r);
}

static void put_name(struct consumer *c, struct buf *b)
{
    jput_string(b, str_of(c->name));
}

static void put_object(struct consumer *c, struct buf *b)
{
    buf_putc(b, '{');
    consumer_info(c, INFO_LISTED, b);
    buf_putc(b, '}');
}

void api_consumer_names(struct api_request *r)
{
    struct stream *s = api_stream(r);

    if (s != NULL && api_read_offset(r))
        list(r, s, NAMES_PAGE, put_name);
}

void api_consumer_list(struct api_request *r)
{
    struct stream *s = api_stream_caught_up(r);

    if (s != NULL && api_read_offset(r))
        list(r, s, LIST_PAGE, put_object);
}

void api_consumer_info(struct api_request *r)
{
    struct stream *s = api_stream_caught_up(r);
    struct consumer *c;

    if (s == NULL || !api_expect_empty(r) || (c = api_consumer(r, s)) == NULL)
        return;
    api_put_consumer(r, c);
    api_reply(r);
}

/* ---- pause ----------------------------------------------------------------------------------- */

struct pause_request {
    int64_t pause_until;
};

static const struct json_field pause_fields[] = {
    {"pause_until", JSON_TIME_FIELD, offsetof(struct pause_request, pause_until), 0, NULL},
};

static void put_pause(struct api_request *r, struct consumer *c)
{
    int64_t until = c->config.pause_until;
    int64_t left = until != 0 ? until - io_wall(r->js->env->io) : 0;

    buf_printf(&r->out, ",\"paused\":%s,\"pause_until\":", left > 0 ? "true" : "false");
    jput_time(&r->out, until);
    if (left > 0)
        buf_printf(&r->out, ",\"pause_remaining\":%lld", (long long) left);
}

/* An empty request, a zero time and one that has passed resume. */
void api_consumer_pause(struct api_request *r)
{
    struct pause_request q = {0};
    struct consumer_config config;
    struct stream *s = api_stream(r);
    struct consumer *c;

    if (s == NULL ||
        !api_read_options(r, &shape_consumer_pause_request, pause_fields, ARRAY_LEN(pause_fields),
                          &q) ||
        (c = api_consumer(r, s)) == NULL)
        return;
    consumer_config_copy(&config, &c->config);
    config.pause_until = q.pause_until;
    consumer_config_stamp(&config);
    consumer_change(r, c, &config, put_pause);
    consumer_config_release(&config);
}

/* ---- delete ---------------------------------------------------------------------------------- */

struct ending {
    struct store_req req;
    struct api_request *r;
};

static void gone(struct store_req *req, enum err err)
{
    struct ending *e = CONTAINER_OF(req, struct ending, req);

    if (err == ERR_OK) {
        buf_puts(&e->r->out, ",\"success\":true");
        api_reply(e->r);
    } else {
        api_error_kind(e->r, JS_ERR_INSUFFICIENT_RESOURCES);
    }
    mem_free(e);
}

void api_consumer_delete(struct api_request *r)
{
    struct stream *s = api_stream(r);
    struct consumer *c;
    struct ending *e;
    bool nothing_stored;

    if (s == NULL || !api_expect_empty(r) || (c = api_consumer(r, s)) == NULL)
        return;
    e = mem_zalloc(sizeof(*e));
    e->r = r;
    e->req.done = gone;
    nothing_stored = c->id == 0;
    consumer_delete(c, STATUS_CONSUMER_DELETED, &e->req);
    if (nothing_stored)
        gone(&e->req, ERR_OK);
}
