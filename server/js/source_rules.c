/*
 * source_rules.c - the rules of a mirror and of sources that need no other stream, in the order in
 * which the peer checks them.
 */
#include "lib/base/assert.h"
#include "lib/base/subject.h"
#include "server/core/transform.h"
#include "server/js/source_config.h"

/* ---- rules of one source --------------------------------------------------------------------- */

/* The two halves of the rules differ in their errors alone. */
struct rule_errors {
    enum js_error_kind name, many_filters, bad_filter, bad_destination, overlap, consumer;
};
static const struct rule_errors mirror_errors = {
    JS_ERR_MIRROR_INVALID_STREAM_NAME,         JS_ERR_MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED,
    JS_ERR_MIRROR_INVALID_SUBJECT_FILTER,      JS_ERR_MIRROR_INVALID_TRANSFORM_DESTINATION,
    JS_ERR_MIRROR_OVERLAPPING_SUBJECT_FILTERS, JS_ERR_MIRROR_DURABLE_CONSUMER_CFG_INVALID};
static const struct rule_errors source_errors = {
    JS_ERR_SOURCE_INVALID_STREAM_NAME,         JS_ERR_SOURCE_MULTIPLE_FILTERS_NOT_ALLOWED,
    JS_ERR_SOURCE_INVALID_SUBJECT_FILTER,      JS_ERR_SOURCE_INVALID_TRANSFORM_DESTINATION,
    JS_ERR_SOURCE_OVERLAPPING_SUBJECT_FILTERS, JS_ERR_SOURCE_DURABLE_CONSUMER_CFG_INVALID};

static bool check_consumer(const struct source_config *c, const struct rule_errors *e,
                           struct js_error *err)
{
    if (!c->has_consumer)
        return true;
    if (!js_name_valid(c->consumer_name) || !subject_valid_literal(str_of(c->consumer_deliver)) ||
        c->opt_start_seq != 0 || c->opt_start_time != 0 || c->filter_subject != NULL)
        return js_fail(err, e->consumer, NULL);
    return true;
}

/* nats-server finds it when it sets the stream up. */
static bool check_filter(const struct source_config *c, const char *whose, struct js_error *err)
{
    return c->filter_subject == NULL || subject_valid(str_of(c->filter_subject)) ||
           js_fail(err, JS_ERR_STREAM_CREATE, "subject filter '%s' for the %s invalid subject",
                   c->filter_subject, whose);
}

static bool check_mapping(const struct source_mapping *m, const struct rule_errors *e,
                          struct js_error *err)
{
    struct buf why = {0};

    if (m->src != NULL && !subject_valid(str_of(m->src)))
        return js_fail(err, e->bad_filter, "invalid subject %s", m->src);
    if (!transform_check(str_of(m->src), str_of(m->dest), &why))
        js_fail(err, e->bad_destination, "%s", buf_cstr(&why));
    buf_free(&why);
    return err->kind == JS_OK;
}

static bool mappings_overlap(const struct source_mapping *a, const struct source_mapping *b,
                             bool subset)
{
    struct str x = str_of(a->src), y = str_of(b->src);

    if (a->src == NULL || b->src == NULL) /* everything, but nobody compares it */
        return false;
    return subset ? subject_subset(x, y) : subject_overlap(x, y);
}

static bool check_mappings(const struct source_config *c, const struct rule_errors *e,
                           struct js_error *err)
{
    if (c->filter_subject != NULL && c->nmappings > 0)
        return js_fail(err, e->many_filters, NULL);
    for (size_t i = 0; i < c->nmappings; i++)
        if (!check_mapping(&c->mappings[i], e, err))
            return false;
    for (size_t i = 0; i < c->nmappings; i++)
        for (size_t k = 0; k < c->nmappings; k++)
            if (i != k && mappings_overlap(&c->mappings[i], &c->mappings[k], e == &source_errors))
                return js_fail(err, e->overlap, NULL);
    return true;
}

/* ---- a mirror -------------------------------------------------------------------------------- */

static bool check_alone(const struct stream_config *c, struct js_error *err)
{
    const struct {
        bool used;
        enum js_error_kind kind;
    } table[] = {
        {c->first_seq > 0, JS_ERR_MIRROR_WITH_FIRST_SEQ},
        {c->subjects.n > 0, JS_ERR_MIRROR_WITH_SUBJECTS},
        {json_array_size(c->sources) > 0, JS_ERR_MIRROR_WITH_SOURCES},
        {c->allow_msg_counter, JS_ERR_MIRROR_WITH_COUNTERS},
        {c->allow_atomic, JS_ERR_MIRROR_WITH_ATOMIC_PUBLISH},
        {c->allow_batched, JS_ERR_MIRROR_WITH_BATCH_PUBLISH},
        {c->allow_msg_schedules, JS_ERR_MIRROR_WITH_MSG_SCHEDULES},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].used)
            return js_fail(err, table[i].kind, NULL);
    return true;
}

static bool check_mirror(const struct stream_config *c, const struct source_config *m,
                         struct js_error *err)
{
    if (!check_alone(c, err) || !check_consumer(m, &mirror_errors, err))
        return false;
    if (m->filter_subject != NULL && m->nmappings > 0)
        return js_fail(err, JS_ERR_MIRROR_MULTIPLE_FILTERS_NOT_ALLOWED, NULL);
    if (c->subject_delete_marker_ttl_ns > 0)
        return js_fail(err, JS_ERR_STREAM_INVALID_CONFIG,
                       "subject delete markers forbidden on mirrors");
    if (!check_mappings(m, &mirror_errors, err))
        return false;
    if (!m->external && !js_name_valid(m->name))
        return js_fail(err, JS_ERR_MIRROR_INVALID_STREAM_NAME, NULL);
    return check_filter(m, "mirror", err);
}

/* ---- sources --------------------------------------------------------------------------------- */

/* Adds the name; false when it was there. */
static bool add_once(struct str_list *seen, const struct buf *name)
{
    for (size_t i = 0; i < seen->n; i++)
        if (str_eq(str_of(seen->items[i]), buf_str(name)))
            return false;
    str_list_add(seen, buf_str(name));
    return true;
}

struct seen {
    struct str_list sources, consumers;
};

static bool check_source(const struct source_config *c, struct seen *seen, struct js_error *err)
{
    struct buf name = {0};
    bool ok;

    if (!js_name_valid(c->name))
        return js_fail(err, JS_ERR_SOURCE_INVALID_STREAM_NAME, NULL);
    source_config_index_name(c, &name);
    ok = add_once(&seen->sources, &name) || js_fail(err, JS_ERR_SOURCE_DUPLICATE_DETECTED, NULL);
    ok = ok && check_mappings(c, &source_errors, err) && check_consumer(c, &source_errors, err) &&
         check_filter(c, "source:", err);
    if (ok && c->has_consumer) {
        buf_clear(&name);
        source_config_origin(c, &name);
        buf_printf(&name, " %s", c->consumer_name);
        ok = add_once(&seen->consumers, &name) ||
             js_fail(err, JS_ERR_SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED, NULL);
    }
    buf_free(&name);
    return ok;
}

/* ---- all of a stream ------------------------------------------------------------------------- */

struct check {
    const struct stream_config *c;
    struct seen seen;
    struct js_error *err;
};

static bool check_one(void *ctx, const struct source_config *s, bool mirror)
{
    struct check *k = ctx;

    return mirror ? check_mirror(k->c, s, k->err) : check_source(s, &k->seen, k->err);
}

bool source_configs_check(const struct stream_config *c, struct js_error *err)
{
    struct check k = {.c = c, .err = err};
    bool ok;

    if (source_config_none(c->mirror) && json_array_size(c->sources) > 0 && c->allow_msg_schedules)
        return js_fail(err, JS_ERR_SOURCE_WITH_MSG_SCHEDULES, NULL);
    ok = source_configs_each(c, check_one, &k);
    str_list_free(&k.seen.sources);
    str_list_free(&k.seen.consumers);
    return ok;
}
