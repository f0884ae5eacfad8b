/*
 * source_others.c - the rules of a mirror and of sources that need the streams they name: sizes,
 * direct gets, prefixes of external ones, and that no stream gets its own messages back.
 *
 * The others are known by their outlines, which the directory keeps: a rule never waits for a
 * stream of another worker.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/js/source_config.h"

#include <string.h>

/* ---- outlines -------------------------------------------------------------------------------- */

static bool add_origin(void *ctx, const struct source_config *s, bool mirror)
{
    struct stream_outline *o = ctx;

    o->mirror |= mirror;
    if (!s->external) {
        str_list_add(&o->origins, str_of(s->name));
        str_list_add(&o->filters, s->filter_subject != NULL ? str_of(s->filter_subject) : STR(""));
    }
    return true;
}

void stream_outline_make(const struct stream_config *c, struct stream_outline *out)
{
    *out = (struct stream_outline){
        .max_msg_size = c->max_msg_size,
        .allow_direct = c->allow_direct,
    };
    str_list_copy(&out->subjects, &c->subjects);
    source_configs_each(c, add_origin, out);
}

void stream_outline_copy(struct stream_outline *to, const struct stream_outline *from)
{
    *to = *from;
    to->origins = to->filters = to->subjects = (struct str_list){0};
    str_list_copy(&to->origins, &from->origins);
    str_list_copy(&to->filters, &from->filters);
    str_list_copy(&to->subjects, &from->subjects);
}

void stream_outline_free(struct stream_outline *o)
{
    str_list_free(&o->origins);
    str_list_free(&o->filters);
    str_list_free(&o->subjects);
    *o = (struct stream_outline){0};
}

/* ---- rules that need other streams ----------------------------------------------------------- */

struct others {
    struct stream_config *c;
    bool (*find)(void *ctx, struct str name, struct stream_outline *out);
    void *ctx;
    struct js_error *err;
    struct str_list subjects, deliver, api; /* of origins; prefixes of external ones */
};

static bool too_small(const struct stream_config *c, const struct stream_outline *origin)
{
    return c->max_msg_size > 0 && origin->max_msg_size > 0 &&
           c->max_msg_size < origin->max_msg_size;
}

static bool inherit_direct(struct others *o, const struct stream_outline *origin)
{
    if (o->c->pedantic && o->c->mirror_direct != origin->allow_direct)
        return js_fail(o->err, JS_ERR_PEDANTIC,
                       "origin stream has direct get set, mirror has it disabled");
    o->c->mirror_direct = origin->allow_direct;
    return true;
}

static bool check_origin(void *ctx, const struct source_config *s, bool mirror)
{
    struct others *o = ctx;
    struct stream_outline origin = {0};
    bool ok = true;

    if (s->external) {
        if (s->deliver_prefix != NULL)
            str_list_add(&o->deliver, str_of(s->deliver_prefix));
        if (s->api_prefix != NULL)
            str_list_add(&o->api, str_of(s->api_prefix));
        return true;
    }
    if (!o->find(o->ctx, str_of(s->name), &origin))
        return true;
    str_list_copy(&o->subjects, &origin.subjects);
    if (too_small(o->c, &origin))
        ok = js_fail(o->err,
                     mirror ? JS_ERR_MIRROR_MAX_MESSAGE_SIZE_TOO_BIG
                            : JS_ERR_SOURCE_MAX_MESSAGE_SIZE_TOO_BIG,
                     NULL);
    else if (mirror)
        ok = inherit_direct(o, &origin);
    stream_outline_free(&origin);
    return ok;
}

static bool check_deliver_prefix(const struct others *o, const char *prefix)
{
    struct buf b = {0};
    bool ok = true;

    if (!subject_valid_literal(str_of(prefix)))
        return js_fail(o->err, JS_ERR_STREAM_INVALID_EXTERNAL_DELIVERY_SUBJ, "%s", prefix);
    for (size_t i = 0; ok && i < o->subjects.n; i++) {
        const char *subject = o->subjects.items[i];
        buf_clear(&b);
        buf_printf(&b, "%s.%s", prefix, subject);
        if (subject_overlap(str_of(subject), buf_str(&b)))
            ok = js_fail(o->err, JS_ERR_STREAM_EXTERNAL_DEL_PREFIX_OVERLAPS,
                         "%s overlaps with stream subject %s", prefix, subject);
    }
    buf_free(&b);
    return ok;
}

static bool check_api_prefix(const struct others *o, const char *prefix)
{
    if (!subject_valid_literal(str_of(prefix)))
        return js_fail(o->err, JS_ERR_STREAM_INVALID_CONFIG,
                       "stream external api prefix \"%s\" must be a valid subject without "
                       "wildcards",
                       prefix);
    if (subject_overlap(str_of(prefix), STR("$JS.API")))
        return js_fail(o->err, JS_ERR_STREAM_EXTERNAL_API_OVERLAP,
                       "%s must not overlap with $JS.API", prefix);
    return true;
}

/* ---- cycles ---------------------------------------------------------------------------------- */

struct visit {
    struct others *o;
    struct str_list names; /* in the order of the walk: the stream itself, then those of todo */
    size_t visited;        /* so many of the names */
    struct stream_outline *todo;
    size_t ntodo;
};

static size_t place_of(const struct visit *v, const char *name)
{
    size_t i = 0;

    while (i < v->names.n && strcmp(v->names.items[i], name) != 0)
        i++;
    return i;
}

static bool subjects_meet(const struct str_list *subjects, const char *filter)
{
    if (filter[0] == '\0')
        return true;
    for (size_t i = 0; i < subjects->n; i++)
        if (subject_overlap(str_of(subjects->items[i]), str_of(filter)))
            return true;
    return false;
}

static void visit_later(struct visit *v, const char *name)
{
    struct stream_outline next = {0};

    if (!v->o->find(v->o->ctx, str_of(name), &next))
        return;
    str_list_add(&v->names, str_of(name));
    v->todo = mem_realloc(v->todo, (v->ntodo + 1) * sizeof(*v->todo));
    v->todo[v->ntodo++] = next;
}

/* False when it leads back to a stream that was visited before: a circle, or a second and longer
 * way to one origin, which nats-server takes for a circle too. Two ways of the same length are
 * none: the walk goes by levels, and what waits to be visited has not been. */
static bool visit(struct visit *v, const struct stream_outline *o)
{
    v->visited++;
    for (size_t i = 0; i < o->origins.n; i++) {
        size_t at = place_of(v, o->origins.items[i]);
        if (at == v->names.n)
            visit_later(v, o->origins.items[i]);
        else if (at < v->visited && (o->mirror || subjects_meet(&o->subjects, o->filters.items[i])))
            return false;
    }
    return true;
}

static bool check_cycle(struct others *o)
{
    struct visit v = {.o = o};
    struct stream_outline self;
    bool ok;

    stream_outline_make(o->c, &self);
    str_list_add(&v.names, str_of(o->c->name));
    ok = visit(&v, &self);
    for (size_t i = 0; i < v.ntodo; i++) {
        struct stream_outline now = v.todo[i]; /* todo may move */
        ok = ok && visit(&v, &now);
        stream_outline_free(&now);
    }
    stream_outline_free(&self);
    str_list_free(&v.names);
    mem_free(v.todo);
    return ok || js_fail(o->err, JS_ERR_STREAM_INVALID_CONFIG, "detected cycle");
}

bool source_configs_check_others(struct stream_config *c,
                                 bool (*find)(void *ctx, struct str name,
                                              struct stream_outline *out),
                                 void *ctx, struct js_error *err)
{
    struct others o = {.c = c, .find = find, .ctx = ctx, .err = err};
    bool ok;

    if (source_config_none(c->mirror) && json_array_size(c->sources) == 0)
        return true;
    ok = source_configs_each(c, check_origin, &o);
    for (size_t i = 0; ok && i < o.deliver.n; i++)
        ok = check_deliver_prefix(&o, o.deliver.items[i]);
    for (size_t i = 0; ok && i < o.api.n; i++)
        ok = check_api_prefix(&o, o.api.items[i]);
    ok = ok && check_cycle(&o);
    str_list_free(&o.subjects);
    str_list_free(&o.deliver);
    str_list_free(&o.api);
    return ok;
}
