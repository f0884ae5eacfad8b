/*
 * json_kinds.c - a walk over a text that is known to be JSON.
 *
 * The walk goes down only where the shape says what is inside; everything else is skipped by its
 * brackets and quotes, so depth needs no limit. The place of a value is kept as it is told:
 * ".sources.0.name", the keys as they were written. A number keeps its digits until the end, so
 * that one too large for any type is told as it came.
 */
#include "lib/json/json_kinds.h"

#include "lib/base/assert.h"
#include "lib/json/json_syntax.h"
#include "lib/json/json_time.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

struct walk {
    struct str rest;
    const struct json_shape *root;
    bool strict;
    struct buf path;
    struct buf *err;
};

static const char *const type_names[] = {
    [KIND_STRING] = "string",
    [KIND_BOOL] = "bool",
    [KIND_INT] = "int",
    [KIND_INT32] = "int32",
    [KIND_INT64] = "int64",
    [KIND_UINT64] = "uint64",
    [KIND_DURATION] = "time.Duration",
    [KIND_TIME] = "time.Time",
    [KIND_STRINGS] = "[]string",
    [KIND_UINT64S] = "[]uint64",
    [KIND_DURATIONS] = "[]time.Duration",
    [KIND_TEXT_MAP] = "map[string]string",
    [KIND_NUMBER_MAP] = "map[string]uint64",
};

/* ---- the text -------------------------------------------------------------------------------- */

static void space(struct walk *w)
{
    while (w->rest.n > 0 && memchr(" \t\r\n", w->rest.p[0], 4) != NULL)
        w->rest = str_skip(w->rest, 1);
}

static char first(struct walk *w)
{
    space(w);
    return w->rest.n > 0 ? w->rest.p[0] : '\0';
}

/* Goes past the character if it is the next one. */
static bool past(struct walk *w, char c)
{
    if (first(w) != c)
        return false;
    w->rest = str_skip(w->rest, 1);
    return true;
}

/* Goes past a whole value, and gives it as it is written. */
static struct str whole(struct walk *w)
{
    size_t i = 0, depth = 0;
    bool quoted = false;
    struct str v;

    space(w);
    for (; i < w->rest.n; i++) {
        char c = w->rest.p[i];
        if (quoted) {
            i += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (depth > 0 && (c == '}' || c == ']')) {
            depth--;
        } else if (depth == 0 && memchr(",:}] \t\r\n", c, 8) != NULL) {
            break;
        }
    }
    if (i > w->rest.n)
        i = w->rest.n;
    v = str_from(w->rest.p, i);
    w->rest = str_skip(w->rest, i);
    return v;
}

/* What is between the quotes, as it is written. */
static struct str inner(struct str v)
{
    return v.n >= 2 ? str_from(v.p + 1, v.n - 2) : STR_NONE;
}

/* ---- what is said ---------------------------------------------------------------------------- */

static const char *kind_of(char c)
{
    return c == '"'               ? "string"
           : c == '{'             ? "object"
           : c == '['             ? "array"
           : c == 't' || c == 'f' ? "bool"
                                  : "number";
}

/* The value of the type is at the path: what is there instead? item: the path ends in a number. */
static bool wrong(struct walk *w, struct str v, const char *prefix, const char *type, bool digits,
                  bool item)
{
    buf_printf(w->err, "json: cannot unmarshal %s", kind_of(v.p[0]));
    if (digits)
        buf_printf(w->err, " %.*s", STR_ARG(v));
    if (w->path.n == 0) {
        buf_printf(w->err, " into Go value of type %s%s", prefix, type);
        return false;
    }
    buf_printf(w->err, " into %s%s%s of type %s%s", item ? "" : "Go struct field ",
               w->root->name != NULL ? w->root->name : "", buf_cstr(&w->path), prefix, type);
    return false;
}

/* The key as a step of the path: '~' and '/' are escaped, as in a JSON pointer. */
static void step_down(struct walk *w, struct str key)
{
    buf_putc(&w->path, '.');
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '~')
            buf_puts(&w->path, "~0");
        else if (key.p[i] == '/')
            buf_puts(&w->path, "~1");
        else
            buf_putc(&w->path, key.p[i]);
    }
}

static void step_up(struct walk *w, size_t n)
{
    w->path.n = n;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* Digits, and no more than the type holds. */
static bool fits(struct str v, enum json_kind kind)
{
    bool negative = v.p[0] == '-';
    uint64_t max = kind == KIND_UINT64  ? UINT64_MAX
                   : kind == KIND_INT32 ? (uint64_t) INT32_MAX + negative
                                        : (uint64_t) INT64_MAX + negative;
    uint64_t n = 0;

    if (negative && kind == KIND_UINT64)
        return false;
    for (size_t i = negative; i < v.n; i++) {
        unsigned d = (unsigned) (v.p[i] - '0');
        if (d > 9 || n > (max - d) / 10)
            return false;
        n = n * 10 + d;
    }
    return true;
}

static bool number(struct walk *w, enum json_kind kind, bool item)
{
    struct str v = whole(w);

    if (strcmp(kind_of(v.p[0]), "number") != 0)
        return wrong(w, v, "", type_names[kind], false, item);
    return fits(v, kind) || wrong(w, v, "", type_names[kind], true, item);
}

static bool plain(struct walk *w, enum json_kind kind, bool item)
{
    struct str v;

    if (first(w) == 'n')
        return whole(w).n > 0;
    if (kind != KIND_STRING && kind != KIND_BOOL && kind != KIND_TIME)
        return number(w, kind, item);
    v = whole(w);
    if ((kind == KIND_BOOL) != (v.p[0] == 't' || v.p[0] == 'f') ||
        (kind != KIND_BOOL && v.p[0] != '"'))
        return wrong(w, v, "", type_names[kind], false, item);
    return kind != KIND_TIME || json_time_check(inner(v), w->err);
}

static bool list(struct walk *w, enum json_kind items, const char *type)
{
    size_t above = w->path.n;

    if (first(w) == 'n')
        return whole(w).n > 0;
    if (first(w) != '[')
        return wrong(w, whole(w), "", type, false, false);
    past(w, '[');
    for (size_t i = 0; !past(w, ']'); i++) {
        buf_printf(&w->path, ".%zu", i);
        if (!plain(w, items, true))
            return false;
        step_up(w, above);
        past(w, ',');
    }
    return true;
}

static bool map(struct walk *w, enum json_kind values, const char *type)
{
    size_t above = w->path.n;

    if (first(w) == 'n')
        return whole(w).n > 0;
    if (first(w) != '{')
        return wrong(w, whole(w), "", type, false, false);
    past(w, '{');
    while (!past(w, '}')) {
        step_down(w, inner(whole(w)));
        past(w, ':');
        if (!plain(w, values, false))
            return false;
        step_up(w, above);
        past(w, ',');
    }
    return true;
}

/* The value as it is written, in quotes once more. */
static void put_quoted(struct buf *b, struct str v)
{
    buf_puts(b, "can not unmarshal \"");
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"' || v.p[i] == '\\')
            buf_putc(b, '\\');
        buf_putc(b, v.p[i]);
    }
    buf_putc(b, '"');
}

static bool choice(struct walk *w, const struct json_member *m)
{
    struct str v = whole(w);
    size_t place;

    for (size_t i = 0; v.p[0] == '"' && m->texts[i] != NULL; i++)
        if (str_eq(inner(v), str_of(m->texts[i])))
            return true;
    if (m->refusal == NULL) {
        put_quoted(w->err, v);
        return false;
    }
    place = strcspn(m->refusal, "%");
    if (m->refusal[place] == '\0' && v.p[0] != '"' && v.p[0] != 'n') {
        step_up(w, 0);
        return wrong(w, v, "", "string", false, false);
    }
    buf_put(w->err, m->refusal, place);
    if (m->refusal[place] != '\0')
        buf_put(w->err, v.p, v.n);
    return false;
}

static bool object(struct walk *w, const struct json_shape *shape, bool item);

static bool objects(struct walk *w, const struct json_member *m)
{
    size_t above = w->path.n;

    if (first(w) == 'n')
        return whole(w).n > 0;
    if (first(w) != '[')
        return wrong(w, whole(w), m->type != NULL ? "" : "[]server.",
                     m->type != NULL ? m->type : m->inside->name, false, false);
    past(w, '[');
    for (size_t i = 0; !past(w, ']'); i++) {
        buf_printf(&w->path, ".%zu", i);
        if (!object(w, m->inside, true))
            return false;
        step_up(w, above);
        past(w, ',');
    }
    return true;
}

static bool value(struct walk *w, const struct json_member *m)
{
    switch (m->kind) {
    case KIND_STRINGS:
        return list(w, KIND_STRING, type_names[m->kind]);
    case KIND_UINT64S:
        return list(w, KIND_UINT64, type_names[m->kind]);
    case KIND_DURATIONS:
        return list(w, KIND_DURATION, type_names[m->kind]);
    case KIND_TEXT_MAP:
        return map(w, KIND_STRING, type_names[m->kind]);
    case KIND_NUMBER_MAP:
        return map(w, KIND_UINT64, type_names[m->kind]);
    case KIND_OBJECT:
        return object(w, m->inside, false);
    case KIND_OBJECTS:
        return objects(w, m);
    case KIND_CHOICE:
        return choice(w, m);
    default:
        return plain(w, m->kind, false);
    }
}

static const struct json_member *find(const struct json_shape *shape, struct str key)
{
    for (size_t i = 0; i < shape->n; i++) {
        const char *name = shape->members[i].name;
        if (strlen(name) == key.n && strncasecmp(name, key.p, key.n) == 0)
            return &shape->members[i];
    }
    return NULL;
}

static bool object(struct walk *w, const struct json_shape *shape, bool item)
{
    size_t above = w->path.n;

    if (first(w) == 'n')
        return whole(w).n > 0;
    if (first(w) != '{')
        return wrong(w, whole(w), shape->name != NULL ? "server." : "",
                     shape->name != NULL ? shape->name : "struct", false, item);
    past(w, '{');
    while (!past(w, '}')) {
        struct str key = inner(whole(w));
        const struct json_member *m = find(shape, key);
        past(w, ':');
        if (m == NULL && w->strict) {
            buf_printf(w->err, "json: unknown field \"%.*s\"", STR_ARG(key));
            return false;
        }
        step_down(w, key);
        if (m == NULL)
            whole(w);
        else if (!value(w, m))
            return false;
        step_up(w, above);
        past(w, ',');
    }
    return true;
}

/* json_syntax_error says nothing of such a text, so it need not be JSON. */
static bool too_deep(struct str text)
{
    size_t depth = 0, most = 0;
    bool quoted = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (quoted)
            i += c == '\\';
        if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && depth > 0)
            depth--;
        most = depth > most ? depth : most;
    }
    return most >= JSON_SYNTAX_DEPTH;
}

bool json_check(struct str text, const struct json_shape *shape, bool strict, struct buf *err)
{
    struct walk w = {.rest = text, .root = shape, .strict = strict, .err = err};
    bool ok;

    if (json_syntax_error(text, err))
        return false;
    if (too_deep(text)) {
        buf_puts(err, "json: exceeded max depth");
        return false;
    }
    ok = object(&w, shape, false);
    buf_free(&w.path);
    return ok;
}
