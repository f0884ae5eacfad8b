/* json.c - the table walker. One small function per direction and type; the tables do the rest. */
#include "lib/json/json.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/json/json_syntax.h"

#include <string.h>
#include <strings.h>

/* The years before 1678 and after 2262 do not fit; the peer's zero time is year 1. */
#define ZERO_TIME "0001-01-01T00:00:00Z"

/* ---- lists ----------------------------------------------------------------------------------- */

void str_list_add(struct str_list *l, struct str s)
{
    l->items = mem_realloc(l->items, (l->n + 1) * sizeof(char *));
    l->items[l->n++] = mem_strndup(s.p, s.n);
}

void str_list_free(struct str_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        mem_free(l->items[i]);
    mem_free(l->items);
    *l = (struct str_list){0};
}

void str_list_copy(struct str_list *to, const struct str_list *from)
{
    for (size_t i = 0; i < from->n; i++)
        str_list_add(to, str_of(from->items[i]));
}

bool str_list_eq(const struct str_list *a, const struct str_list *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

json_t *json_parse_object(struct str text, struct buf *err)
{
    json_error_t e;
    json_t *v = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &e);

    if (v == NULL) {
        if (!json_syntax_error(text, err))
            buf_printf(err, "%s", e.text);
        return NULL;
    }
    if (!json_is_object(v)) {
        buf_puts(err, "json: cannot unmarshal value into an object");
        json_decref(v);
        return NULL;
    }
    return v;
}

static bool wrong_type(const struct json_field *f, struct buf *err)
{
    buf_printf(err, "json: cannot unmarshal value into field %s", f->name);
    return false;
}

static bool read_integer(const json_t *v, const struct json_field *f, int64_t *out, struct buf *err)
{
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    return wrong_type(f, err);
}

/* The value as it is written, in quotes once more. */
static bool no_choice(const json_t *v, struct buf *err)
{
    struct buf text = {0};

    jput_raw(&text, v);
    buf_puts(err, "can not unmarshal \"");
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] == '"' || text.p[i] == '\\')
            buf_putc(err, '\\');
        buf_putc(err, text.p[i]);
    }
    buf_putc(err, '"');
    buf_free(&text);
    return false;
}

static bool read_enum(const json_t *v, const struct json_field *f, int *out, struct buf *err)
{
    for (int i = 0; json_is_string(v) && f->texts[i] != NULL; i++)
        if (strcmp(f->texts[i], json_string_value(v)) == 0) {
            *out = i;
            return true;
        }
    return no_choice(v, err);
}

static bool read_time(const json_t *v, const struct json_field *f, int64_t *out, struct buf *err)
{
    if (!json_is_string(v))
        return wrong_type(f, err);
    if (strcmp(json_string_value(v), ZERO_TIME) == 0 && (f->flags & JSON_ZERO_TIME) == 0) {
        *out = 0;
        return true;
    }
    if (fmt_parse_rfc3339(str_of(json_string_value(v)), out))
        return true;
    buf_printf(err, "parsing time \"%s\" as RFC 3339: cannot parse", json_string_value(v));
    return false;
}

static bool read_list(const json_t *v, const struct json_field *f, struct str_list *out,
                      struct buf *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(v))
        return wrong_type(f, err);
    str_list_free(out);
    json_array_foreach(v, i, item)
    {
        if (!json_is_string(item) && !json_is_null(item))
            return wrong_type(f, err);
        str_list_add(out, json_is_null(item)
                              ? STR("")
                              : str_from(json_string_value(item), json_string_length(item)));
    }
    return true;
}

static bool read_integers(const json_t *v, const struct json_field *f, struct i64_list *out,
                          struct buf *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(v))
        return wrong_type(f, err);
    mem_free(out->items);
    out->n = 0;
    out->items = mem_array(json_array_size(v) + 1, sizeof(int64_t));
    json_array_foreach(v, i, item)
    {
        out->items[out->n++] = 0;
        if (!json_is_null(item) && !read_integer(item, f, &out->items[i], err))
            return false;
    }
    return true;
}

static bool read_string(const json_t *v, const struct json_field *f, char **out, struct buf *err)
{
    if (!json_is_string(v))
        return wrong_type(f, err);
    if (strlen(json_string_value(v)) != json_string_length(v)) {
        buf_printf(err, "json: field %s contains a NUL", f->name);
        return false;
    }
    mem_free(*out);
    *out = json_string_length(v) > 0 ? mem_strdup(json_string_value(v)) : NULL;
    return true;
}

static bool read_text(const json_t *v, char **out)
{
    struct buf b = {0};

    jput_raw(&b, v);
    mem_free(*out);
    *out = mem_strndup(b.p, b.n);
    buf_free(&b);
    return true;
}

static bool read_field(json_t *v, const struct json_field *f, void *base, struct buf *err)
{
    void *at = (char *) base + f->offset;

    if (json_is_null(v)) /* nothing, but no name of a choice */
        return f->type != JSON_ENUM_FIELD || no_choice(v, err);
    switch (f->type) {
    case JSON_STRING_FIELD:
        return read_string(v, f, at, err);
    case JSON_BOOL_FIELD:
        if (!json_is_boolean(v))
            return wrong_type(f, err);
        *(bool *) at = json_is_true(v);
        return true;
    case JSON_I64_FIELD:
        return read_integer(v, f, at, err);
    case JSON_U64_FIELD:
        if (!read_integer(v, f, at, err))
            return false;
        return *(int64_t *) at >= 0 || wrong_type(f, err);
    case JSON_ENUM_FIELD:
        return read_enum(v, f, at, err);
    case JSON_TIME_FIELD:
        return read_time(v, f, at, err);
    case JSON_LIST_FIELD:
        return read_list(v, f, at, err);
    case JSON_I64S_FIELD:
        return read_integers(v, f, at, err);
    case JSON_RAW_FIELD:
        json_decref(*(json_t **) at);
        *(json_t **) at = json_incref(v);
        return true;
    case JSON_TEXT_FIELD:
        return read_text(v, at);
    }
    return false;
}

bool fields_read(json_t *object, const struct json_field *fields, size_t n, void *out, bool strict,
                 struct buf *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(object, key, value)
    {
        size_t i = 0;
        while (i < n && strcasecmp(fields[i].name, key) != 0)
            i++;
        if (i < n) {
            if (!read_field(value, &fields[i], out, err))
                return false;
        } else if (strict) {
            buf_printf(err, "json: unknown field \"%s\"", key);
            return false;
        }
    }
    return true;
}

/* ---- writing --------------------------------------------------------------------------------- */

void jput_string(struct buf *b, struct str s)
{
    static const char hex[] = "0123456789abcdef";

    buf_putc(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char) s.p[i];
        if (c == '"' || c == '\\') {
            buf_putc(b, '\\');
            buf_putc(b, (char) c);
        } else if (c == '\n') {
            buf_puts(b, "\\n");
        } else if (c == '\r') {
            buf_puts(b, "\\r");
        } else if (c == '\t') {
            buf_puts(b, "\\t");
        } else if (c < 0x20 || c == '<' || c == '>' || c == '&') {
            buf_puts(b, "\\u00");
            buf_putc(b, hex[c >> 4]);
            buf_putc(b, hex[c & 15]);
        } else {
            buf_putc(b, (char) c);
        }
    }
    buf_putc(b, '"');
}

void jput_time(struct buf *b, int64_t unix_ns)
{
    char text[FMT_TIME_MAX];

    if (unix_ns == 0) {
        buf_puts(b, "\"" ZERO_TIME "\"");
        return;
    }
    fmt_time_rfc3339(text, unix_ns);
    buf_printf(b, "\"%s\"", text);
}

void jput_raw(struct buf *b, const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

    if (text == NULL)
        FATAL("jansson can not print a value that it has parsed");
    buf_puts(b, text);
    mem_free(text);
}

static void put_list(struct buf *b, const struct str_list *l)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0)
            buf_putc(b, ',');
        jput_string(b, str_of(l->items[i]));
    }
    buf_putc(b, ']');
}

static void put_integers(struct buf *b, const struct i64_list *l)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < l->n; i++) {
        if (i > 0)
            buf_putc(b, ',');
        buf_put_i64(b, l->items[i]);
    }
    buf_putc(b, ']');
}

static bool empty(const struct json_field *f, const void *at)
{
    switch (f->type) {
    case JSON_STRING_FIELD:
    case JSON_RAW_FIELD:
    case JSON_TEXT_FIELD:
        return *(void *const *) at == NULL;
    case JSON_BOOL_FIELD:
        return !*(const bool *) at;
    case JSON_I64_FIELD:
    case JSON_U64_FIELD:
    case JSON_TIME_FIELD:
        return *(const int64_t *) at == 0;
    case JSON_ENUM_FIELD:
        return *(const int *) at == 0;
    case JSON_LIST_FIELD:
        return ((const struct str_list *) at)->n == 0;
    case JSON_I64S_FIELD:
        return ((const struct i64_list *) at)->n == 0;
    }
    return true;
}

static void put_value(struct buf *b, const struct json_field *f, const void *at)
{
    switch (f->type) {
    case JSON_STRING_FIELD:
        jput_string(b, str_of(*(char *const *) at));
        return;
    case JSON_BOOL_FIELD:
        buf_puts(b, *(const bool *) at ? "true" : "false");
        return;
    case JSON_I64_FIELD:
        buf_put_i64(b, *(const int64_t *) at);
        return;
    case JSON_U64_FIELD:
        buf_put_u64(b, *(const uint64_t *) at);
        return;
    case JSON_ENUM_FIELD:
        jput_string(b, str_of(f->texts[*(const int *) at]));
        return;
    case JSON_TIME_FIELD:
        jput_time(b, *(const int64_t *) at);
        return;
    case JSON_LIST_FIELD:
        put_list(b, at);
        return;
    case JSON_I64S_FIELD:
        put_integers(b, at);
        return;
    case JSON_RAW_FIELD:
        jput_raw(b, *(json_t *const *) at);
        return;
    case JSON_TEXT_FIELD:
        buf_puts(b, *(char *const *) at);
        return;
    }
}

void fields_write(struct buf *b, const struct json_field *fields, size_t n, const void *in)
{
    bool first = true;

    for (size_t i = 0; i < n; i++) {
        const struct json_field *f = &fields[i];
        const void *at = (const char *) in + f->offset;
        bool none = empty(f, at);
        if ((f->flags & JSON_READ_ONLY) != 0 || (none && (f->flags & JSON_OMIT_EMPTY) != 0))
            continue;
        if (none && (f->type == JSON_RAW_FIELD || f->type == JSON_TEXT_FIELD))
            continue;
        if (!first)
            buf_putc(b, ',');
        first = false;
        buf_printf(b, "\"%s\":", f->name);
        put_value(b, f, at);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

void fields_release(const struct json_field *fields, size_t n, void *in)
{
    for (size_t i = 0; i < n; i++) {
        void *at = (char *) in + fields[i].offset;
        switch (fields[i].type) {
        case JSON_STRING_FIELD:
        case JSON_TEXT_FIELD:
            mem_free(*(char **) at);
            *(char **) at = NULL;
            break;
        case JSON_LIST_FIELD:
            str_list_free(at);
            break;
        case JSON_I64S_FIELD:
            mem_free(((struct i64_list *) at)->items);
            *(struct i64_list *) at = (struct i64_list){0};
            break;
        case JSON_RAW_FIELD:
            json_decref(*(json_t **) at);
            *(json_t **) at = NULL;
            break;
        default:
            break;
        }
    }
}

static void copy_integers(struct i64_list *to, const struct i64_list *from)
{
    to->n = from->n;
    to->items = NULL;
    if (from->n == 0)
        return;
    to->items = mem_array(from->n, sizeof(int64_t));
    memcpy(to->items, from->items, from->n * sizeof(int64_t));
}

static void copy_field(const struct json_field *f, void *to, const void *from)
{
    switch (f->type) {
    case JSON_STRING_FIELD:
    case JSON_TEXT_FIELD:
        *(char **) to = *(char *const *) from != NULL ? mem_strdup(*(char *const *) from) : NULL;
        break;
    case JSON_BOOL_FIELD:
        *(bool *) to = *(const bool *) from;
        break;
    case JSON_I64_FIELD:
    case JSON_U64_FIELD:
    case JSON_TIME_FIELD:
        *(int64_t *) to = *(const int64_t *) from;
        break;
    case JSON_ENUM_FIELD:
        *(int *) to = *(const int *) from;
        break;
    case JSON_LIST_FIELD:
        str_list_copy(to, from);
        break;
    case JSON_I64S_FIELD:
        copy_integers(to, from);
        break;
    case JSON_RAW_FIELD:
        *(json_t **) to = json_incref(*(json_t *const *) from);
        break;
    }
}

void fields_copy(const struct json_field *fields, size_t n, void *to, const void *from)
{
    for (size_t i = 0; i < n; i++)
        copy_field(&fields[i], (char *) to + fields[i].offset,
                   (const char *) from + fields[i].offset);
}

bool fields_equal(const struct json_field *fields, size_t n, const void *a, const void *b)
{
    struct buf x = {0}, y = {0};
    bool same;

    fields_write(&x, fields, n, a);
    fields_write(&y, fields, n, b);
    same = str_eq(buf_str(&x), buf_str(&y));
    buf_free(&x);
    buf_free(&y);
    return same;
}
