/*
 * api_stream_list.c - what streams there are, and what one of them is.
 *
 * A list is made on worker 0 (the names, in order) and goes from worker to worker as the names lie,
 * so that the answer is in their order.
 */
#include "lib/base/mem.h"
#include "server/js/api_int.h"
#include "server/js/stream_int.h"

#include <string.h>

#define NAMES_PAGE 1024u
#define LIST_PAGE 256u

/* ---- names and lists ------------------------------------------------------------------------- */

struct list_request {
    int64_t offset;
    char *subject;
};

static const struct json_field list_fields[] = {
    {"offset", JSON_I64_FIELD, offsetof(struct list_request, offset), 0, NULL},
    {"subject", JSON_STRING_FIELD, offsetof(struct list_request, subject), 0, NULL},
};

/* Fills r->names and r->offset; false after having answered. */
static bool collect_names(struct api_request *r, const struct json_shape *shape)
{
    struct list_request q = {0};

    if (!api_read_options(r, shape, list_fields, ARRAY_LEN(list_fields), &q))
        return false;
    r->offset = q.offset > 0 ? (uint64_t) q.offset : 0;
    directory_names(r->js->shared->directory, str_of(q.subject), &r->names);
    if (r->offset > r->names.n)
        r->offset = r->names.n;
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

    if (!collect_names(r, &shape_stream_names_request))
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

static void put_listed(struct api_request *r, struct js *js, struct str name)
{
    struct stream *s = js_stream_find(js, name);
    const char *reason = js_offline_reason(js, name, STR_NONE);

    if (s != NULL && s->store != NULL) {
        buf_puts(&r->out, r->sum[0]++ > 0 ? ",{" : "{");
        stream_info(s, &(struct info_options){.kind = INFO_LISTED}, &r->out);
        buf_putc(&r->out, '}');
    } else if (reason != NULL) {
        buf_puts(&r->extra, r->extra.n > 0 ? "," : ",\"offline\":{");
        jput_string(&r->extra, name);
        buf_putc(&r->extra, ':');
        jput_string(&r->extra, str_of(reason));
    }
}

/* In order of the names, on the worker of each. */
static void visit_list(struct env_task *task, struct env *env)
{
    struct api_request *r = api_request_of(task, env);
    struct stream *s;
    uint32_t worker;

    if (r == NULL)
        return;
    for (; r->at < r->names.n && r->at < r->offset + LIST_PAGE; r->at++) {
        struct str name = str_of(r->names.items[r->at]);
        if (!directory_stream(r->js->shared->directory, name, &worker))
            continue; /* deleted meanwhile */
        if (worker != env->worker) {
            api_go_to(r, worker, visit_list);
            return;
        }
        s = js_stream_find(r->js, name);
        if (s != NULL && s->store != NULL && api_waits_for_sync(r, s, visit_list))
            return;
        r->behind = 0;
        put_listed(r, r->js, name);
    }
    buf_putc(&r->out, ']');
    if (r->extra.n > 0)
        buf_putc(&r->extra, '}');
    buf_put(&r->out, r->extra.p, r->extra.n);
    api_reply(r);
}

void api_stream_list(struct api_request *r)
{
    if (!collect_names(r, &shape_stream_list_request))
        return;
    put_page(&r->out, r->names.n, r->offset, LIST_PAGE);
    buf_puts(&r->out, ",\"streams\":[");
    r->at = r->offset;
    list_remove(&r->link);
    visit_list(&r->task, r->js->env);
}

/* ---- info ------------------------------------------------------------------------------------ */

struct info_request {
    int64_t offset;
    bool deleted_details;
    char *subjects_filter;
};

static const struct json_field info_fields[] = {
    {"offset", JSON_I64_FIELD, offsetof(struct info_request, offset), 0, NULL},
    {"deleted_details", JSON_BOOL_FIELD, offsetof(struct info_request, deleted_details), 0, NULL},
    {"subjects_filter", JSON_STRING_FIELD, offsetof(struct info_request, subjects_filter), 0, NULL},
};

void api_stream_info(struct api_request *r)
{
    struct info_request q = {0};
    struct stream *s = api_stream_caught_up(r);
    uint64_t matched = 0;

    if (s == NULL ||
        !api_read_options(r, &shape_stream_info_request, info_fields, ARRAY_LEN(info_fields), &q))
        return;
    struct str filter = str_of(q.subjects_filter);
    uint64_t offset = q.offset > 0 ? (uint64_t) q.offset : 0;
    if (q.subjects_filter != NULL && api_waits_for_subjects(r, s, &filter, 1)) {
        fields_release(info_fields, ARRAY_LEN(info_fields), &q);
        return;
    }
    buf_putc(&r->out, ',');
    stream_info(
        s,
        &(struct info_options){INFO_ASKED, q.deleted_details, q.subjects_filter, offset, &matched},
        &r->out);
    if (matched > 0)
        put_page(&r->out, matched, offset, SUBJECTS_PAGE);
    else
        put_page(&r->out, 0, 0, 0);
    fields_release(info_fields, ARRAY_LEN(info_fields), &q);
    api_reply(r);
}
