/*
 * conf_parse.c - recursive descent over one file at a time; an include parses into the same map.
 */
#include "server/config/conf_parse.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DEPTH_MAX 64u
#define INCLUDES_MAX 16u
#define TEXT_MAX (16u << 20)
#define VALUES_MAX 1000000u

struct scope {
    const struct conf_value *map;
    const struct scope *outer;
};

struct parser {
    const struct conf_source *source;
    struct conf_tree *tree;
    struct buf *err;
    const char *file;
    struct str text;
    size_t at;
    unsigned line;
    size_t line_start;
    unsigned depth, includes;
    size_t values; /* made so far */
};

/* ---- errors and values ----------------------------------------------------------------------- */

static bool fail_at(struct parser *p, unsigned line, unsigned column, const char *text)
{
    buf_clear(p->err);
    buf_printf(p->err, "%s:%u:%u: %s", p->file, line, column, text);
    return false;
}

static unsigned col(const struct parser *p)
{
    return (unsigned) (p->at - p->line_start) + 1;
}

static bool fail(struct parser *p, const char *text)
{
    return fail_at(p, p->line, col(p), text);
}

static int peek(const struct parser *p)
{
    return p->at < p->text.n ? (unsigned char) p->text.p[p->at] : -1;
}

/* Where nats-server says that a value is: columns count from 1, in the first line from 0, and a
 * text in quotes begins behind them. */
static unsigned place_col(const struct parser *p)
{
    return col(p) - (p->line == 1) + (peek(p) == '"' || peek(p) == '\'');
}

static struct conf_value *new_value(const struct parser *p, enum conf_kind kind)
{
    struct conf_value *v = mem_zalloc(sizeof(*v));

    v->kind = kind;
    v->file = p->file;
    v->line = p->line;
    v->col = place_col(p);
    return v;
}

static void free_value(struct conf_value *v)
{
    if (v == NULL)
        return;
    for (size_t i = 0; i < v->n; i++) {
        free_value(v->items[i]);
        if (v->keys != NULL)
            mem_free(v->keys[i]);
    }
    mem_free(v->items);
    mem_free(v->keys);
    if (v->text != NULL) /* it may be a password or a key */
        sodium_memzero(v->text, strlen(v->text));
    mem_free(v->text);
    mem_free(v);
}

/* Maps and lists within; the value itself. */
static size_t count_values(const struct conf_value *v)
{
    size_t n = 1;

    for (size_t i = 0; i < v->n; i++)
        n += count_values(v->items[i]);
    return n;
}

static struct conf_value *copy_value(const struct conf_value *v)
{
    struct conf_value *c = mem_zalloc(sizeof(*c));

    *c = *v;
    c->text = v->text != NULL ? mem_strdup(v->text) : NULL;
    c->items = v->n > 0 ? mem_array(v->n, sizeof(*c->items)) : NULL;
    c->keys = v->keys != NULL ? mem_array(v->n, sizeof(*c->keys)) : NULL;
    for (size_t i = 0; i < v->n; i++) {
        c->items[i] = copy_value(v->items[i]);
        if (c->keys != NULL)
            c->keys[i] = mem_strdup(v->keys[i]);
    }
    return c;
}

static void add(struct conf_value *to, struct str key, struct conf_value *item)
{
    to->items = mem_realloc(to->items, (to->n + 1) * sizeof(*to->items));
    if (to->kind == CONF_MAP) {
        to->keys = mem_realloc(to->keys, (to->n + 1) * sizeof(*to->keys));
        to->keys[to->n] = mem_strndup(key.p, key.n);
    }
    to->items[to->n++] = item;
}

static struct conf_value *find(const struct conf_value *map, const char *key)
{
    for (size_t i = map->n; i > 0; i--)
        if (strcasecmp(map->keys[i - 1], key) == 0)
            return map->items[i - 1];
    return NULL;
}

const struct conf_value *conf_get(const struct conf_value *map, const char *key)
{
    return find(map, key);
}

/* ---- characters ------------------------------------------------------------------------------ */

static int peek2(const struct parser *p)
{
    return p->at + 1 < p->text.n ? (unsigned char) p->text.p[p->at + 1] : -1;
}

static int take(struct parser *p)
{
    int c = peek(p);

    if (c < 0)
        return c;
    p->at++;
    if (c == '\n') {
        p->line++;
        p->line_start = p->at;
    }
    return c;
}

static bool at_comment(const struct parser *p)
{
    return peek(p) == '#' || (peek(p) == '/' && peek2(p) == '/');
}

static void skip_comment(struct parser *p)
{
    while (peek(p) >= 0 && peek(p) != '\n')
        take(p);
}

/* Blanks; with lines: also newlines, comments and separators. */
static void skip(struct parser *p, bool lines)
{
    for (;;) {
        int c = peek(p);
        if (c == ' ' || c == '\t' || c == '\r')
            take(p);
        else if (lines && (c == '\n' || c == ',' || c == ';'))
            take(p);
        else if (lines && at_comment(p))
            skip_comment(p);
        else
            return;
    }
}

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static bool escape(struct parser *p, struct buf *out)
{
    int c = take(p), high, low;

    switch (c) {
    case 't':
        buf_putc(out, '\t');
        return true;
    case 'n':
        buf_putc(out, '\n');
        return true;
    case 'r':
        buf_putc(out, '\r');
        return true;
    case '"':
    case '\\':
        buf_putc(out, (char) c);
        return true;
    case 'x':
        high = hex_digit(take(p));
        low = hex_digit(take(p));
        if (high < 0 || low < 0)
            return fail(p, "Expected two hexadecimal digits after '\\x'");
        buf_putc(out, (char) (high * 16 + low));
        return true;
    default:
        return fail(p,
                    "Invalid escape character. Only the following escape characters are allowed: "
                    "\\xXX, \\t, \\n, \\r, \\\", \\\\.");
    }
}

static bool quoted(struct parser *p, struct buf *out)
{
    unsigned line = p->line, start = col(p);
    int quote = take(p);

    for (;;) {
        int c = take(p);
        if (c < 0 || (c == '\n' && quote == '\''))
            return fail_at(p, line, start, "Unexpected end of a quoted text");
        if (c == quote)
            return true;
        if (c == '\\' && quote == '"') {
            if (!escape(p, out))
                return false;
        } else {
            buf_putc(out, (char) c);
        }
    }
}

/* A closing parenthesis alone on its line ends a block. */
static bool ends_block(const struct parser *p)
{
    int next = peek2(p);

    return peek(p) == ')' && p->at == p->line_start && (next < 0 || next == '\n' || next == '\r');
}

static bool block(struct parser *p, struct buf *out)
{
    unsigned line = p->line, start = col(p);

    take(p);
    while (!ends_block(p)) {
        if (peek(p) < 0)
            return fail_at(p, line, start, "Unexpected end of a block text");
        buf_putc(out, (char) take(p));
    }
    take(p);
    return true;
}

static bool ends_bare(int c)
{
    return c < 0 || strchr(" \t\r\n,;]}", c) != NULL || c == '#';
}

/* ---- bare words ------------------------------------------------------------------------------ */

static bool word_bool(struct str s, int64_t *out)
{
    static const char *const yes[] = {"true", "yes", "on"};
    static const char *const no[] = {"false", "no", "off"};

    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eq_nocase(s, str_of(yes[i]))) {
            *out = 1;
            return true;
        }
        if (str_eq_nocase(s, str_of(no[i]))) {
            *out = 0;
            return true;
        }
    }
    return false;
}

/* 0 when the suffix is none. k = 1000; kb, ki, kib = 1024; likewise m g t p e. */
static int64_t suffix(struct str s)
{
    static const char letters[] = "kmgtpe";
    const char *at;
    int64_t unit, factor = 1;

    if (s.n == 0)
        return 1;
    at = memchr(letters, s.p[0] | 0x20, 6);
    if (at == NULL)
        return 0;
    if (s.n == 1)
        unit = 1000;
    else if (str_eq_nocase(str_skip(s, 1), STR("b")) || str_eq_nocase(str_skip(s, 1), STR("i")) ||
             str_eq_nocase(str_skip(s, 1), STR("ib")))
        unit = 1024;
    else
        return 0;
    for (long i = 0; i <= at - letters; i++)
        factor *= unit;
    return factor;
}

static bool word_int(struct str s, int64_t *out)
{
    size_t digits = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    int64_t v, factor;

    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    if (!str_to_i64(str_take(s, digits), &v))
        return false;
    factor = suffix(str_skip(s, digits));
    return factor != 0 && !__builtin_mul_overflow(v, factor, out);
}

static bool word_float(struct str s, double *out)
{
    char text[64];
    char *end;

    if (s.n == 0 || s.n >= sizeof(text) || memchr(s.p, '.', s.n) == NULL ||
        strspn(s.p, "+-0123456789.eE") < s.n)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *out = strtod(text, &end);
    return *end == '\0';
}

static void classify(struct conf_value *v, struct str s)
{
    v->text = mem_strndup(s.p, s.n);
    if (word_bool(s, &v->integer))
        v->kind = CONF_BOOL;
    else if (word_int(s, &v->integer))
        v->kind = CONF_INT;
    else if (word_float(str_of(v->text), &v->real))
        v->kind = CONF_FLOAT;
    else if (s.n >= 20 && s.p[4] == '-' && fmt_parse_rfc3339(s, &v->integer))
        v->kind = CONF_TIME;
    else
        v->kind = CONF_TEXT;
}

/* ---- variables ------------------------------------------------------------------------------- */

static struct conf_value *variable(struct parser *p, struct str name, const struct scope *scope,
                                   unsigned line, unsigned start)
{
    char key[256];
    const char *text;
    struct conf_value *v;

    snprintf(key, sizeof(key), "%.*s", STR_ARG(name));
    for (const struct scope *s = scope; s != NULL; s = s->outer) {
        struct conf_value *found = find(s->map, key);
        if (found == NULL)
            continue;
        found->used = true;
        p->values += count_values(found);
        if (p->values <= VALUES_MAX)
            return copy_value(found);
        fail_at(p, line, start, "Too many values");
        return NULL;
    }
    text = p->source->environment(p->source->ctx, key);
    if (text == NULL) {
        char where[320];
        snprintf(where, sizeof(where), "variable reference for '%s' on line %u can not be found",
                 key, line);
        fail_at(p, line, start, where);
        return NULL;
    }
    v = new_value(p, CONF_TEXT);
    classify(v, str_trim(str_of(text)));
    return v;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool parse_map(struct parser *p, struct conf_value *map, const struct scope *outer, int end);

static struct conf_value *parse_bare(struct parser *p, const struct scope *scope)
{
    size_t from = p->at;
    unsigned line = p->line, start = col(p);
    struct conf_value *v = new_value(p, CONF_TEXT);
    struct str s;

    while (!ends_bare(peek(p)))
        take(p);
    s = str_from(p->text.p + from, p->at - from);
    if (s.n == 0) {
        fail(p, "Expected a value");
        free_value(v);
        return NULL;
    }
    /* "$2a$..." is a bcrypt hash. */
    if (s.p[0] == '$' && !str_starts(s, STR("$2a$"))) {
        free_value(v);
        return variable(p, str_skip(s, 1), scope, line, start);
    }
    classify(v, s);
    return v;
}

static struct conf_value *parse_value(struct parser *p, const struct scope *scope);

/* A map in a list is where its first key is. */
static bool parse_list(struct parser *p, struct conf_value *list, const struct scope *scope)
{
    take(p);
    for (;;) {
        struct conf_value *item;
        const struct conf_value *first;
        unsigned line, column;
        skip(p, true);
        if (peek(p) < 0)
            return fail_at(p, list->line, list->col, "Unexpected end of an array");
        if (peek(p) == ']') {
            take(p);
            return true;
        }
        line = p->line;
        column = place_col(p);
        item = parse_value(p, scope);
        if (item == NULL)
            return false;
        first = item->kind == CONF_MAP && item->n > 0 ? item->items[0] : NULL;
        item->line = first != NULL ? first->line : line;
        item->col = first != NULL ? first->col : column;
        add(list, STR_NONE, item);
    }
}

static struct conf_value *parse_text(struct parser *p)
{
    struct conf_value *v = new_value(p, CONF_TEXT);
    struct buf b = {0};
    bool ok = peek(p) == '(' ? block(p, &b) : quoted(p, &b);

    v->text = mem_strndup(b.p != NULL ? b.p : "", b.n);
    buf_free(&b);
    if (ok)
        return v;
    free_value(v);
    return NULL;
}

static struct conf_value *parse_value(struct parser *p, const struct scope *scope)
{
    struct conf_value *v;
    bool ok;

    if (++p->values > VALUES_MAX) {
        fail(p, "Too many values");
        return NULL;
    }
    switch (peek(p)) {
    case '"':
    case '\'':
    case '(':
        return parse_text(p);
    case '{':
    case '[':
        if (p->depth >= DEPTH_MAX) {
            fail(p, "Nested too deeply");
            return NULL;
        }
        p->depth++;
        v = new_value(p, peek(p) == '{' ? CONF_MAP : CONF_LIST);
        if (v->kind == CONF_MAP) {
            take(p);
            ok = parse_map(p, v, scope, '}');
        } else {
            ok = parse_list(p, v, scope);
        }
        p->depth--;
        if (ok)
            return v;
        free_value(v);
        return NULL;
    default:
        return parse_bare(p, scope);
    }
}

/* ---- keys and includes ----------------------------------------------------------------------- */

static bool parse_key(struct parser *p, struct buf *out, bool *bare)
{
    int c = peek(p);

    *bare = c != '"' && c != '\'';
    if (!*bare)
        return quoted(p, out);
    while ((c = peek(p)) >= 0 && strchr(" \t\r\n:={}[],;#", c) == NULL)
        buf_putc(out, (char) take(p));
    if (out->n == 0) {
        char text[48];
        snprintf(text, sizeof(text), "Expected a key, got '%c'", c < 0 ? ' ' : c);
        return fail(p, c < 0 ? "Expected a key, got the end of the file" : text);
    }
    return true;
}

static bool parse_file(struct parser *p, const char *path, struct conf_value *map,
                       const struct scope *outer);

static bool include(struct parser *p, struct conf_value *map, const struct scope *scope)
{
    struct conf_value *name;
    struct buf path = {0};
    const char *slash = strrchr(p->file, '/');
    bool ok;

    skip(p, false);
    name = parse_value(p, scope);
    if (name == NULL)
        return false;
    if (name->kind != CONF_TEXT) {
        fail_at(p, name->line, name->col, "Expected a file name after 'include'");
        free_value(name);
        return false;
    }
    if (name->text[0] != '/' && slash != NULL)
        buf_put(&path, p->file, (size_t) (slash - p->file) + 1);
    buf_puts(&path, name->text);
    free_value(name);
    ok = p->includes < INCLUDES_MAX || fail(p, "Too many nested includes");
    if (ok) {
        struct parser saved = *p;
        p->includes++;
        ok = parse_file(p, buf_cstr(&path), map, scope != NULL ? scope->outer : NULL);
        saved.values = p->values;
        if (ok)
            *p = saved;
    }
    buf_free(&path);
    return ok;
}

static bool parse_pair(struct parser *p, struct conf_value *map, const struct scope *scope)
{
    struct buf key = {0};
    struct conf_value *v = NULL;
    unsigned line = p->line, column = place_col(p);
    bool bare, ok = parse_key(p, &key, &bare);

    if (ok && bare && str_eq_nocase(buf_str(&key), STR("include"))) {
        skip(p, false);
        if (peek(p) != ':' && peek(p) != '=') {
            buf_free(&key);
            return include(p, map, scope);
        }
    }
    if (ok) {
        skip(p, false);
        if (peek(p) == ':' || peek(p) == '=')
            take(p);
        skip(p, false);
        if (peek(p) == '\n')
            skip(p, true);
        v = parse_value(p, scope);
    }
    if (v != NULL) {
        v->line = line;
        v->col = column;
        add(map, buf_str(&key), v);
    }
    buf_free(&key);
    return v != NULL;
}

static bool parse_map(struct parser *p, struct conf_value *map, const struct scope *outer, int end)
{
    struct scope scope = {map, outer};

    for (;;) {
        skip(p, true);
        if (peek(p) == end) {
            take(p);
            return true;
        }
        if (peek(p) < 0)
            return fail_at(p, map->line, map->col, "Unexpected end of a map");
        if (!parse_pair(p, map, &scope))
            return false;
    }
}

/* Braces around the whole document are optional, so that a JSON object is one. */
static bool parse_document(struct parser *p, struct conf_value *map, const struct scope *outer)
{
    skip(p, true);
    if (peek(p) != '{')
        return parse_map(p, map, outer, -1);
    take(p);
    if (!parse_map(p, map, outer, '}'))
        return false;
    skip(p, true);
    return peek(p) < 0 || fail(p, "Unexpected text behind the closing brace");
}

static bool parse_file(struct parser *p, const char *path, struct conf_value *map,
                       const struct scope *outer)
{
    struct buf text = {0};
    struct buf why = {0};
    bool ok = p->source->read(p->source->ctx, path, &text, &why);
    struct conf_tree *t = p->tree;

    if (!ok) {
        if (p->file != NULL)
            fail(p, buf_cstr(&why));
        else
            buf_put_str(p->err, buf_str(&why));
    }
    t->files = mem_realloc(t->files, (t->nfiles + 1) * sizeof(*t->files));
    t->files[t->nfiles++] = mem_strdup(path);
    if (ok) {
        p->file = t->files[t->nfiles - 1];
        p->text = buf_str(&text);
        p->at = 0;
        p->line = 1;
        p->line_start = 0;
        if (map->file == NULL)
            map->file = p->file;
        ok = text.n <= TEXT_MAX ? parse_document(p, map, outer) : fail(p, "File is too large");
    }
    if (text.n > 0)
        sodium_memzero(text.p, text.n);
    buf_free(&text);
    buf_free(&why);
    return ok;
}

bool conf_parse(const struct conf_source *source, const char *path, struct conf_tree *out,
                struct buf *err)
{
    struct parser p = {.source = source, .tree = out, .err = err};

    memset(out, 0, sizeof(*out));
    out->root = mem_zalloc(sizeof(*out->root));
    out->root->kind = CONF_MAP;
    out->root->line = out->root->col = 1;
    return parse_file(&p, path, out->root, NULL);
}

void conf_tree_free(struct conf_tree *tree)
{
    free_value(tree->root);
    for (size_t i = 0; i < tree->nfiles; i++)
        mem_free(tree->files[i]);
    mem_free(tree->files);
    memset(tree, 0, sizeof(*tree));
}
