/* source_config.c - tables of the fields, the index name, and the rules in the order in which the
 * peer checks them. */
#include "server/js/source_config.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/core/transform.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

/* ---- reading --------------------------------------------------------------------------------- */

struct raw_source {
    json_t *transforms, *external, *consumer;
};

static const struct json_field plain_fields[] = {
    {"name", JSON_STRING_FIELD, offsetof(struct source_config, name), 0, NULL},
    {"opt_start_seq", JSON_U64_FIELD, offsetof(struct source_config, opt_start_seq), 0, NULL},
    {"opt_start_time", JSON_TIME_FIELD, offsetof(struct source_config, opt_start_time), 0, NULL},
    {"filter_subject", JSON_STRING_FIELD, offsetof(struct source_config, filter_subject), 0, NULL},
};
static const struct json_field nested_fields[] = {
    {"subject_transforms", JSON_RAW_FIELD, offsetof(struct raw_source, transforms), 0, NULL},
    {"external", JSON_RAW_FIELD, offsetof(struct raw_source, external), 0, NULL},
    {"consumer", JSON_RAW_FIELD, offsetof(struct raw_source, consumer), 0, NULL},
};
static const struct json_field mapping_fields[] = {
    {"src", JSON_STRING_FIELD, offsetof(struct source_mapping, src), 0, NULL},
    {"dest", JSON_STRING_FIELD, offsetof(struct source_mapping, dest), 0, NULL},
};
static const struct json_field external_fields[] = {
    {"api", JSON_STRING_FIELD, offsetof(struct source_config, api_prefix), 0, NULL},
    {"deliver", JSON_STRING_FIELD, offsetof(struct source_config, deliver_prefix), 0, NULL},
};
static const struct json_field consumer_fields[] = {
    {"name", JSON_STRING_FIELD, offsetof(struct source_config, consumer_name), 0, NULL},
    {"deliver_subject", JSON_STRING_FIELD, offsetof(struct source_config, consumer_deliver), 0,
     NULL},
};

static bool is_nothing(const json_t *v)
{
    return v == NULL || json_is_null(v);
}

static bool not_an_object(const char *field, struct buf *err)
{
    buf_printf(err, "json: cannot unmarshal value into field %s", field);
    return false;
}

static bool read_object(json_t *object, const char *name, const struct json_field *fields, size_t n,
                        bool strict, void *out, struct buf *err)
{
    if (!json_is_object(object))
        return not_an_object(name, err);
    return fields_read(object, fields, n, out, strict, err);
}

static bool read_mappings(json_t *array, bool strict, struct source_config *out, struct buf *err)
{
    size_t i;
    json_t *item;

    if (is_nothing(array))
        return true;
    if (!json_is_array(array))
        return not_an_object("subject_transforms", err);
    out->mappings = mem_array(json_array_size(array) + 1, sizeof(*out->mappings));
    json_array_foreach(array, i, item)
    {
        out->mappings[i] = (struct source_mapping){0};
        out->nmappings = i + 1;
        if (!is_nothing(item) &&
            !read_object(item, "subject_transforms", mapping_fields, ARRAY_LEN(mapping_fields),
                         strict, &out->mappings[i], err))
            return false;
    }
    return true;
}

static bool read_nested(const struct raw_source *raw, bool strict, struct source_config *out,
                        struct buf *err)
{
    out->external = !is_nothing(raw->external);
    out->has_consumer = !is_nothing(raw->consumer);
    if (out->external && !read_object(raw->external, "external", external_fields,
                                      ARRAY_LEN(external_fields), strict, out, err))
        return false;
    if (out->has_consumer && !read_object(raw->consumer, "consumer", consumer_fields,
                                          ARRAY_LEN(consumer_fields), strict, out, err))
        return false;
    return read_mappings(raw->transforms, strict, out, err);
}

/* Keys that neither table knows are unknown. */
static bool known_keys(json_t *object, struct buf *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        bool known = false;
        for (size_t i = 0; i < ARRAY_LEN(plain_fields); i++)
            known |= strcasecmp(key, plain_fields[i].name) == 0;
        for (size_t i = 0; i < ARRAY_LEN(nested_fields); i++)
            known |= strcasecmp(key, nested_fields[i].name) == 0;
        if (!known) {
            buf_printf(err, "json: unknown field \"%s\"", key);
            return false;
        }
    }
    return true;
}

/* The empty text says the same as none. */
static void drop_empty(char **text)
{
    if (*text != NULL && **text == '\0') {
        mem_free(*text);
        *text = NULL;
    }
}

static void normalise(struct source_config *c)
{
    if (c->name == NULL) /* as an external mirror may have it */
        c->name = mem_strdup("");
    drop_empty(&c->filter_subject);
    drop_empty(&c->api_prefix);
    drop_empty(&c->deliver_prefix);
    for (size_t i = 0; i < c->nmappings; i++) {
        drop_empty(&c->mappings[i].src);
        drop_empty(&c->mappings[i].dest);
    }
}

bool source_config_read(json_t *object, bool strict, struct source_config *out, struct buf *err)
{
    struct raw_source raw = {0};
    bool ok;

    *out = (struct source_config){0};
    if (is_nothing(object))
        return true;
    if (!json_is_object(object))
        return not_an_object("sources", err);
    ok = (!strict || known_keys(object, err)) &&
         fields_read(object, plain_fields, ARRAY_LEN(plain_fields), out, false, err) &&
         fields_read(object, nested_fields, ARRAY_LEN(nested_fields), &raw, false, err) &&
         read_nested(&raw, strict, out, err);
    fields_release(nested_fields, ARRAY_LEN(nested_fields), &raw);
    if (ok)
        normalise(out);
    else
        source_config_release(out);
    return ok;
}

void source_config_release(struct source_config *c)
{
    for (size_t i = 0; i < c->nmappings; i++)
        fields_release(mapping_fields, ARRAY_LEN(mapping_fields), &c->mappings[i]);
    mem_free(c->mappings);
    fields_release(plain_fields, ARRAY_LEN(plain_fields), c);
    fields_release(external_fields, ARRAY_LEN(external_fields), c);
    fields_release(consumer_fields, ARRAY_LEN(consumer_fields), c);
    *c = (struct source_config){0};
}

static void put_mappings(const struct source_config *c, struct buf *b)
{
    buf_puts(b, ",\"subject_transforms\":[");
    for (size_t i = 0; i < c->nmappings; i++) {
        buf_puts(b, i > 0 ? ",{\"src\":" : "{\"src\":");
        jput_string(b, str_of(c->mappings[i].src));
        buf_puts(b, ",\"dest\":");
        jput_string(b, str_of(c->mappings[i].dest));
        buf_putc(b, '}');
    }
    buf_putc(b, ']');
}

static void put_pair(struct buf *b, const char *head, const char *first, const char *second,
                     const char *name)
{
    buf_puts(b, head);
    jput_string(b, str_of(first));
    buf_printf(b, ",\"%s\":", name);
    jput_string(b, str_of(second));
    buf_putc(b, '}');
}

static void put_source(const struct source_config *c, struct buf *b)
{
    buf_puts(b, "{\"name\":");
    jput_string(b, str_of(c->name));
    if (c->opt_start_seq > 0)
        buf_printf(b, ",\"opt_start_seq\":%llu", (unsigned long long) c->opt_start_seq);
    if (c->opt_start_time != 0) {
        buf_puts(b, ",\"opt_start_time\":");
        jput_time(b, c->opt_start_time);
    }
    if (c->filter_subject != NULL) {
        buf_puts(b, ",\"filter_subject\":");
        jput_string(b, str_of(c->filter_subject));
    }
    if (c->nmappings > 0)
        put_mappings(c, b);
    if (c->external)
        put_pair(b, ",\"external\":{\"api\":", c->api_prefix, c->deliver_prefix, "deliver");
    if (c->has_consumer)
        put_pair(b, ",\"consumer\":{\"name\":", c->consumer_name, c->consumer_deliver,
                 "deliver_subject");
    buf_putc(b, '}');
}

/* Reads a source and gives it in the form that is answered, or NULL. */
static json_t *normal_form(json_t *object, bool strict, struct buf *err)
{
    struct source_config one;
    struct buf text = {0};
    json_t *v;

    if (!source_config_read(object, strict, &one, err))
        return NULL;
    put_source(&one, &text);
    source_config_release(&one);
    v = json_parse_object(buf_str(&text), err);
    buf_free(&text);
    return v;
}

bool source_configs_valid(struct stream_config *c, bool strict, struct buf *err)
{
    json_t *v;

    if (!is_nothing(c->mirror)) {
        if ((v = normal_form(c->mirror, strict, err)) == NULL)
            return false;
        json_decref(c->mirror);
        c->mirror = v;
    }
    if (is_nothing(c->sources))
        return true;
    if (!json_is_array(c->sources))
        return not_an_object("sources", err);
    for (size_t i = 0; i < json_array_size(c->sources); i++) {
        v = normal_form(json_array_get(c->sources, i), strict, err);
        if (v == NULL || json_array_set_new(c->sources, i, v) != 0)
            return false;
    }
    return true;
}

/* ---- names ----------------------------------------------------------------------------------- */

void source_hash(struct str text, char out[SOURCE_HASH_LEN + 1])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    unsigned char sum[crypto_hash_sha256_BYTES];

    crypto_hash_sha256(sum, (const unsigned char *) text.p, text.n);
    for (unsigned i = 0; i < SOURCE_HASH_LEN; i++)
        out[i] = digits[sum[i] % 62];
    out[SOURCE_HASH_LEN] = '\0';
}

static void put_hash(struct buf *out, const char *text)
{
    char hash[SOURCE_HASH_LEN + 1];

    source_hash(str_of(text), hash);
    buf_puts(out, hash);
}

static void put_origin(const struct source_config *c, struct buf *out)
{
    buf_puts(out, c->name);
    if (c->external) {
        buf_putc(out, ':');
        put_hash(out, c->api_prefix);
    }
}

static const char *or_all(const char *text)
{
    return text != NULL ? text : ">";
}

void source_config_index_name(const struct source_config *c, struct buf *out)
{
    put_origin(c, out);
    if (c->has_consumer) {
        buf_puts(out, ":C=");
        put_hash(out, c->consumer_name);
    }
    buf_putc(out, ' ');
    if (c->nmappings == 0) {
        buf_printf(out, "%s >", or_all(c->filter_subject));
        return;
    }
    for (size_t i = 0; i < c->nmappings; i++)
        buf_printf(out, "%s%s", i > 0 ? "\f" : "", or_all(c->mappings[i].src));
    buf_putc(out, ' ');
    for (size_t i = 0; i < c->nmappings; i++)
        buf_printf(out, "%s%s", i > 0 ? "\f" : "", or_all(c->mappings[i].dest));
}

void source_config_api(const struct source_config *c, const char *subject, struct buf *out)
{
    if (c->api_prefix == NULL || strncmp(subject, "$JS.API.", 8) != 0) {
        buf_puts(out, subject);
        return;
    }
    buf_puts(out, c->api_prefix);
    if (out->n == 0 || out->p[out->n - 1] != '.')
        buf_putc(out, '.');
    buf_puts(out, subject + 8);
}

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
        put_origin(c, &name);
        buf_printf(&name, " %s", c->consumer_name);
        ok = add_once(&seen->consumers, &name) ||
             js_fail(err, JS_ERR_SOURCE_DURABLE_CONSUMER_DUPLICATE_DETECTED, NULL);
    }
    buf_free(&name);
    return ok;
}

/* ---- all of a stream ------------------------------------------------------------------------- */

/* Calls each for the mirror and for every source, until one says false. */
static bool each_source(const struct stream_config *c,
                        bool (*each)(void *ctx, const struct source_config *s, bool mirror),
                        void *ctx)
{
    struct buf err = {0};
    struct source_config one;
    bool ok = true;
    size_t i;
    json_t *item;

    if (!is_nothing(c->mirror) && source_config_read(c->mirror, false, &one, &err)) {
        ok = each(ctx, &one, true);
        source_config_release(&one);
    }
    json_array_foreach(c->sources, i, item)
    {
        if (ok && source_config_read(item, false, &one, &err)) {
            ok = each(ctx, &one, false);
            source_config_release(&one);
        }
    }
    buf_free(&err);
    return ok;
}

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

    if (is_nothing(c->mirror) && json_array_size(c->sources) > 0 && c->allow_msg_schedules)
        return js_fail(err, JS_ERR_SOURCE_WITH_MSG_SCHEDULES, NULL);
    ok = each_source(c, check_one, &k);
    str_list_free(&k.seen.sources);
    str_list_free(&k.seen.consumers);
    return ok;
}

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
        .consumes = c->retention != RETENTION_LIMITS,
    };
    str_list_copy(&out->subjects, &c->subjects);
    each_source(c, add_origin, out);
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

    if (is_nothing(c->mirror) && json_array_size(c->sources) == 0)
        return true;
    ok = each_source(c, check_origin, &o);
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
