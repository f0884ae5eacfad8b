/* source_config.c - sources and mirrors in JSON and in memory, and what they are called. */
#include "server/js/source_config.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

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

bool source_config_none(const json_t *v)
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

    if (source_config_none(array))
        return true;
    if (!json_is_array(array))
        return not_an_object("subject_transforms", err);
    out->mappings = mem_array(json_array_size(array) + 1, sizeof(*out->mappings));
    json_array_foreach(array, i, item)
    {
        out->mappings[i] = (struct source_mapping){0};
        out->nmappings = i + 1;
        if (!source_config_none(item) &&
            !read_object(item, "subject_transforms", mapping_fields, ARRAY_LEN(mapping_fields),
                         strict, &out->mappings[i], err))
            return false;
    }
    return true;
}

static bool read_nested(const struct raw_source *raw, bool strict, struct source_config *out,
                        struct buf *err)
{
    out->external = !source_config_none(raw->external);
    out->has_consumer = !source_config_none(raw->consumer);
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
    if (source_config_none(object))
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

void source_config_put_mappings(const struct source_config *c, struct buf *b)
{
    if (c->nmappings == 0)
        return;
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

void source_config_put_external(const struct source_config *c, struct buf *b)
{
    if (c->external)
        put_pair(b, ",\"external\":{\"api\":", c->api_prefix, c->deliver_prefix, "deliver");
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
    source_config_put_mappings(c, b);
    source_config_put_external(c, b);
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

    if (!source_config_none(c->mirror)) {
        if ((v = normal_form(c->mirror, strict, err)) == NULL)
            return false;
        json_decref(c->mirror);
        c->mirror = v;
    }
    if (source_config_none(c->sources))
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

void source_config_origin(const struct source_config *c, struct buf *out)
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
    source_config_origin(c, out);
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

/* ---- all of a stream ------------------------------------------------------------------------- */

bool source_configs_each(const struct stream_config *c,
                         bool (*each)(void *ctx, const struct source_config *s, bool mirror),
                         void *ctx)
{
    struct buf err = {0};
    struct source_config one;
    bool ok = true;
    size_t i;
    json_t *item;

    if (!source_config_none(c->mirror) && source_config_read(c->mirror, false, &one, &err)) {
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
