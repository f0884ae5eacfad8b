/*
 * stream_subjects.c - subject_transform and republish: read, checked, made.
 *
 * A republish destination must not lead back into the stream. One case of `>` to `>` is meant
 * otherwise: behind a transform of the stream's only subject it stands for the transform's
 * destination, and is kept as that.
 */
#include "server/js/stream_subjects.h"

#include "lib/base/subject.h"
#include "server/js/stream_config.h"

static struct str member(const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, name);

    return json_is_string(v) ? str_from(json_string_value(v), json_string_length(v)) : STR_NONE;
}

bool subject_mapping_read(const json_t *object, struct subject_mapping *out)
{
    *out = (struct subject_mapping){0};
    if (object == NULL)
        return false;
    out->source = member(object, "src");
    out->dest = member(object, "dest");
    out->headers_only = json_is_true(json_object_get(object, "headers_only"));
    return true;
}

static json_t *rule_object(struct str source, struct str dest, bool headers_only)
{
    json_t *o = json_object();

    json_object_set_new(o, "src", json_stringn(source.p, source.n));
    json_object_set_new(o, "dest", json_stringn(dest.p, dest.n));
    if (headers_only)
        json_object_set_new(o, "headers_only", json_true());
    return o;
}

static bool check_transform(const struct stream_config *c, struct js_error *err)
{
    struct subject_mapping r;
    struct buf why = {0};
    bool ok;

    if (!subject_mapping_read(c->subject_transform, &r))
        return true;
    if (r.source.n > 0 && !subject_valid(r.source))
        return js_fail(err, JS_ERR_STREAM_TRANSFORM_INVALID_SOURCE, "invalid subject %.*s",
                       STR_ARG(r.source));
    ok = transform_check(r.source, r.dest, &why) ||
         js_fail(err, JS_ERR_STREAM_TRANSFORM_INVALID_DESTINATION, "%s", buf_cstr(&why));
    buf_free(&why);
    return ok;
}

static bool pedantic(const struct stream_config *c, const char *text, struct js_error *err)
{
    return !c->pedantic || js_fail(err, JS_ERR_PEDANTIC, "%s", text);
}

static void set_republish(struct stream_config *c, struct subject_mapping *r, struct str source,
                          struct str dest)
{
    json_t *o = rule_object(source, dest, r->headers_only);

    json_decref(c->republish);
    c->republish = o;
    subject_mapping_read(o, r);
}

/* Everything, as the transform of the only subject makes it? */
static bool follows_transform(const struct stream_config *c, const struct subject_mapping *r)
{
    struct subject_mapping t;

    return str_eq(r->source, STR(">")) && str_eq(r->dest, STR(">")) &&
           subject_mapping_read(c->subject_transform, &t) && c->subjects.n == 1 &&
           str_eq(t.source, str_of(c->subjects.items[0]));
}

static bool check_republish(struct stream_config *c, struct js_error *err)
{
    struct subject_mapping r;
    struct transform *t;

    if (!subject_mapping_read(c->republish, &r))
        return true;
    if (r.source.n == 0) {
        if (!pedantic(c, "republish source can not be empty", err))
            return false;
        set_republish(c, &r, STR(">"), r.dest);
    }
    if (follows_transform(c, &r)) {
        if (!pedantic(c, "implicit republish based on subject transform", err))
            return false;
        struct str dest = member(c->subject_transform, "dest");
        set_republish(c, &r, dest, dest);
    }
    for (size_t i = 0; i < c->subjects.n; i++)
        if (r.dest.n > 0 && subject_overlap(r.dest, str_of(c->subjects.items[i])))
            return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                           "stream configuration for republish destination forms a cycle");
    if (r.dest.n == 0)
        return true;
    t = transform_new(r.source, r.dest, TRANSFORM_ANY, NULL);
    transform_free(t);
    return t != NULL ||
           js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                   "stream configuration for republish with transform from '%.*s' to '%.*s' not "
                   "valid",
                   STR_ARG(r.source), STR_ARG(r.dest));
}

bool subject_mappings_check(struct stream_config *c, struct js_error *err)
{
    return check_transform(c, err) && check_republish(c, err);
}

struct transform *subject_mapping_compile(const json_t *object)
{
    struct subject_mapping r;

    if (!subject_mapping_read(object, &r) || r.dest.n == 0)
        return NULL;
    return transform_new(r.source, r.dest, TRANSFORM_ANY, NULL);
}
