/*
 * config_values.c - single values of a configuration tree into options, and what is said of those
 * that do not fit: in nats-server's words where it has some.
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECOND 1000000000ll
#define SECONDS_MAX 9e9 /* what an int64_t of nanoseconds holds */

bool config_fail(struct config_context *c, const struct conf_value *v, const char *format, ...)
{
    va_list args;

    if (c->err->n > 0)
        buf_putc(c->err, '\n');
    buf_printf(c->err, "%s:%u:%u: ", v->file, v->line, v->col);
    va_start(args, format);
    buf_vprintf(c->err, format, args);
    va_end(args);
    return false;
}

/* ---- single values --------------------------------------------------------------------------- */

const char *config_type_name(const struct conf_value *v)
{
    static const char *const names[] = {
        [CONF_TEXT] = "string",
        [CONF_INT] = "int64",
        [CONF_FLOAT] = "float64",
        [CONF_BOOL] = "bool",
        [CONF_TIME] = "time.Time",
        [CONF_LIST] = "[]interface {}",
        [CONF_MAP] = "map[string]interface {}",
    };

    return names[v->kind];
}

/* A value as Go prints it: [a b], map[k:v]. */
static void put_said(struct buf *out, const struct conf_value *v)
{
    const char *ends = v->kind == CONF_MAP ? "map[" : "[";

    if (v->kind != CONF_LIST && v->kind != CONF_MAP) {
        buf_puts(out, v->kind != CONF_BOOL ? v->text : v->integer != 0 ? "true" : "false");
        return;
    }
    buf_puts(out, ends);
    for (size_t i = 0; i < v->n; i++) {
        buf_puts(out, i > 0 ? " " : "");
        if (v->kind == CONF_MAP)
            buf_printf(out, "%s:", v->keys[i]);
        put_said(out, v->items[i]);
    }
    buf_putc(out, ']');
}

bool config_said(struct config_context *c, const struct conf_value *v)
{
    put_said(c->err, v);
    return false;
}

bool config_fail_said(struct config_context *c, const struct conf_value *v, const char *before)
{
    config_fail(c, v, "%s", before);
    put_said(c->err, v);
    return false;
}

void config_keep(char **at, const char *text)
{
    mem_free(*at);
    *at = mem_strdup(text);
}

bool config_is(const char *key, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcasecmp(key, *names) == 0)
            return true;
    return false;
}

/* Why a text is no duration, as Go says it. */
static void put_why(struct buf *out, const char *text)
{
    const char *p = text + (*text == '-' || *text == '+');

    for (;;) {
        size_t whole = strspn(p, "0123456789"), point = p[whole] == '.';
        size_t part = point > 0 ? strspn(p + whole + 1, "0123456789") : 0;
        const char *unit = p + whole + point + part;
        size_t n = strcspn(unit, ".0123456789");
        struct str u = str_from(unit, n);
        if (whole + part == 0)
            break;
        if (n == 0) {
            buf_printf(out, "time: missing unit in duration \"%s\"", text);
            return;
        }
        if (!str_eq(u, STR("h")) && !str_eq(u, STR("m")) && !str_eq(u, STR("s")) &&
            !str_eq(u, STR("ms")) && !str_eq(u, STR("us")) && !str_eq(u, STR("ns")) &&
            !str_eq(u, STR("\xc2\xb5s")) && !str_eq(u, STR("\xce\xbcs"))) {
            buf_printf(out, "time: unknown unit \"%.*s\" in duration \"%s\"", STR_ARG(u), text);
            return;
        }
        p = unit + n;
    }
    buf_printf(out, "time: invalid duration \"%s\"", text);
}

bool config_duration(struct config_context *c, const struct conf_value *v, const char *before,
                     int64_t *out)
{
    bool ok = false;

    if (v->kind == CONF_INT) {
        ok = !__builtin_mul_overflow(v->integer, SECOND, out);
    } else if (v->kind == CONF_FLOAT) {
        ok = v->real >= -SECONDS_MAX && v->real <= SECONDS_MAX;
        *out = ok ? (int64_t) (v->real * (double) SECOND) : 0;
    } else if (v->kind == CONF_TEXT && !fmt_parse_go_duration(str_of(v->text), out)) {
        config_fail(c, v, "%s", before);
        put_why(c->err, v->text);
        return false;
    } else if (v->kind == CONF_TEXT) {
        ok = true;
    }
    if (!ok)
        return config_fail(c, v, "%sexpected a duration, as \"2s\"", before);
    return *out >= 0 || config_fail(c, v, "%sa duration must not be negative", before);
}

bool config_timeout(struct config_context *c, const struct conf_value *v, const char *block,
                    int64_t *out)
{
    char before[64];

    if (v->kind != CONF_INT && v->kind != CONF_FLOAT && v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing %s config, 'timeout' wrong type", block);
    snprintf(before, sizeof(before), "error parsing %s config, 'timeout' ", block);
    return config_duration(c, v, before, out);
}

bool config_size(struct config_context *c, const struct conf_value *v, const char *name,
                 int64_t *out)
{
    static const char letters[] = "KMGT";
    size_t n = v->kind == CONF_TEXT ? strlen(v->text) : 0;
    const char *at;
    struct str digits;

    if (v->kind == CONF_INT) {
        *out = v->integer;
        return true;
    }
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "%s must be int64 or string", name);
    *out = 0;
    if (n == 0)
        return true;
    digits = str_from(v->text, n - 1);
    if (!str_to_i64(digits, out))
        return config_fail(c, v, "%s strconv.ParseInt: parsing \"%.*s\": invalid syntax", name,
                           STR_ARG(digits));
    at = strchr(letters, v->text[n - 1]);
    if (at == NULL)
        return config_fail(c, v, "%s sizes defined as strings must end in K, M, G, T", name);
    return !__builtin_mul_overflow(*out, (int64_t) 1 << (10 * (at - letters + 1)), out) ||
           config_fail(c, v, "%s is too large", name);
}

static bool is_port(int64_t n)
{
    return n >= -1 && n <= OPTIONS_PORT_MAX;
}

bool config_listen(struct config_context *c, const struct conf_value *v, char **host, int *port)
{
    const char *colon;
    int64_t n;

    if (v->kind == CONF_INT) {
        if (!is_port(v->integer))
            return config_fail(c, v, "port %s is not between -1 and 65535", v->text);
        *port = (int) v->integer;
        return true;
    }
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "expected port or host:port, got %s", config_type_name(v));
    colon = strrchr(v->text, ':');
    if (colon == NULL)
        return config_fail(c, v, "could not parse address string \"%s\"", v->text);
    if (!str_to_i64(str_of(colon + 1), &n) || !is_port(n))
        return config_fail(c, v, "could not parse port \"%s\"", colon + 1);
    *port = (int) n;
    if (colon > v->text) {
        bool bracket = v->text[0] == '[' && colon[-1] == ']';
        mem_free(*host);
        *host = mem_strndup(v->text + bracket, (size_t) (colon - v->text) - 2 * (size_t) bracket);
    }
    return true;
}

static bool number(struct config_context *c, const struct conf_value *v, const struct config_key *k)
{
    void *at = (char *) c->o + k->offset;

    if (v->kind != CONF_INT)
        return config_fail(c, v, "%s must be an integer", k->name);
    if ((k->how == CONFIG_U32 || k->how == CONFIG_U64) && v->integer < 0)
        return config_fail(c, v, "%s must not be negative", k->name);
    if (k->how == CONFIG_U32 && v->integer > UINT32_MAX)
        return config_fail(c, v, "%s is too large", k->name);
    if (k->how == CONFIG_INT && (v->integer > INT32_MAX || v->integer < -1))
        return config_fail(c, v, "%s is out of range", k->name);
    if (k->how == CONFIG_PORT && !is_port(v->integer))
        return config_fail(c, v, "%s is not between -1 and 65535", k->name);
    if (k->how == CONFIG_INT || k->how == CONFIG_PORT)
        *(int *) at = (int) v->integer;
    else if (k->how == CONFIG_U32)
        *(uint32_t *) at = (uint32_t) v->integer;
    else
        *(int64_t *) at = v->integer;
    return true;
}

/* Where a key has several names nats-server says one of them. */
static const char *size_name(const char *key)
{
    return strncmp(key, "max_mem", 7) == 0    ? "max_mem_store"
           : strncmp(key, "max_file", 8) == 0 ? "max_file_store"
                                              : key;
}

static bool apply(struct config_context *c, const struct conf_value *v, const struct config_key *k)
{
    void *at = (char *) c->o + k->offset;
    char before[64];

    switch (k->how) {
    case CONFIG_TEXT:
        if (v->text == NULL)
            return config_fail(c, v, "%s must be a text", k->name);
        config_keep(at, v->text);
        return true;
    case CONFIG_FLAG:
        if (v->kind != CONF_BOOL)
            return config_fail(c, v, "%s must be true or false", k->name);
        *(bool *) at = v->integer != 0;
        return true;
    case CONFIG_DURATION:
        snprintf(before, sizeof(before), "error parsing %s: ", k->name);
        return config_duration(c, v, before, at);
    case CONFIG_SIZE:
        return config_size(c, v, size_name(k->name), at);
    case CONFIG_LISTEN:
        return config_listen(c, v, &c->o->host, &c->o->port);
    case CONFIG_HTTP:
        return config_listen(c, v, &c->o->http_host, &c->o->http_port);
    case CONFIG_KAFKA:
        return config_listen(c, v, &c->o->kafka_host, &c->o->kafka_port);
    case CONFIG_BLOCK:
        return k->block(c, v);
    default:
        return number(c, v, k);
    }
}

/* What each block's text for another kind is, as nats-server says it. */
static bool no_map(struct config_context *c, const struct conf_value *v, const char *what)
{
    static const struct {
        const char *what, *text;
    } texts[] = {
        {"leafnodes", "Expected map to define a leafnode"},
        {"websocket", "Expected websocket to be a map"},
        {"proxies", "expected proxies to be a map/struct"},
        {"limits", "Expected a map to define JetStreamLimits"},
        {"batch", "Expected a map to define batch limits"},
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if (strcmp(texts[i].what, what) == 0)
            return config_fail(c, v, "%s, got %s", texts[i].text, config_type_name(v));
    return config_fail(c, v, "%s must be a map", what);
}

bool config_apply_map(struct config_context *c, const struct conf_value *v, const char *what,
                      const struct config_key *keys, size_t n)
{
    bool ok = true;

    if (v->kind != CONF_MAP)
        return no_map(c, v, what);
    for (size_t i = 0; i < v->n; i++) {
        size_t k = 0;
        while (k < n && strcasecmp(keys[k].name, v->keys[i]) != 0)
            k++;
        if (k == n && v->items[i]->used)
            continue;
        if (k == n)
            ok = config_fail(c, v->items[i], "%sunknown field \"%s\"",
                             strcmp(what, "tls") == 0 ? "error parsing tls config, " : "",
                             v->keys[i]);
        else
            ok &= apply(c, v->items[i], &keys[k]);
    }
    return ok;
}
