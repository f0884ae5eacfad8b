/*
 * config_websocket.c - a websocket block, and what an origin is.
 *
 *     websocket {
 *         listen: "0.0.0.0:8080"            or host and port
 *         advertise: "example.org:443"
 *         tls { ... }                       or no_tls: true
 *         same_origin: true
 *         allowed_origins: [ "https://example.org" ]
 *         compression: true
 *         handshake_timeout: "2s"
 *         ping_interval: "1m"
 *         headers { X-Name: value }
 *         jwt_cookie: "jwt", user_cookie: "u", pass_cookie: "p", token_cookie: "t"
 *         authorization { user: "joe", password: "secret", token: "s3cr3t", timeout: "2s" }
 *         no_auth_user: "joe"
 *     }
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"
#include "server/config/websocket_options.h"

#include <string.h>
#include <strings.h>

#define AT(member) offsetof(struct options, websocket.member)

static struct websocket_options *block(struct config_context *c)
{
    return &c->o->websocket;
}

/* ---- origins --------------------------------------------------------------------------------- */

bool websocket_host(struct str text, bool tls, struct str *host, uint16_t *port)
{
    size_t end = text.n > 0 && text.p[0] == '[' ? str_index(text, ']') : 0;
    struct str rest = str_skip(text, end < text.n ? end : text.n);
    size_t colon = str_index(rest, ':');
    uint64_t n;

    *host = str_take(text, end + colon);
    *port = tls ? 443 : 80;
    if (colon == rest.n)
        return host->n > 0;
    if (!str_to_u64(str_skip(rest, colon + 1), &n) || n == 0 || n > UINT16_MAX)
        return false;
    *port = (uint16_t) n;
    return host->n > 0;
}

bool websocket_origin(struct str text, struct str *scheme, struct str *host, uint16_t *port)
{
    struct str rest;

    *scheme = str_cut(text, ':', &rest);
    if (!str_eq_nocase(*scheme, STR("http")) && !str_eq_nocase(*scheme, STR("https")))
        return false;
    if (!str_starts(rest, STR("//")))
        return false;
    rest = str_skip(rest, 2);
    return websocket_host(str_take(rest, str_index(rest, '/')), scheme->n == 5, host, port);
}

static bool add_origin(struct config_context *c, const struct conf_value *v, const char *in,
                       struct buf *out)
{
    struct str scheme, host;
    uint16_t port;

    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing allowed origins: unsupported type%s %s", in,
                           config_type_name(v));
    if (strchr(v->text, ',') != NULL || !websocket_origin(str_of(v->text), &scheme, &host, &port))
        return config_fail(c, v,
                           "unable to parse allowed origin \"%s\": allowed origins must be "
                           "absolute URLs with http or https scheme",
                           v->text);
    buf_printf(out, "%s%s", out->n > 0 ? "," : "", v->text);
    return true;
}

static bool origins(struct config_context *c, const struct conf_value *v)
{
    struct buf all = {0};
    bool ok = true;

    if (v->kind == CONF_LIST)
        for (size_t i = 0; ok && i < v->n; i++)
            ok = add_origin(c, v->items[i], " in array", &all);
    else
        ok = add_origin(c, v, "", &all);
    if (ok && all.n > 0)
        config_keep(&block(c)->origins, buf_cstr(&all));
    buf_free(&all);
    return ok;
}

/* ---- headers of the answer ------------------------------------------------------------------- */

/* Those that the answer has of its own. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {"host", "content-length", "connection", "upgrade",
                                        "nats-no-masking"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static bool is_one_line(const char *text)
{
    return text != NULL && strpbrk(text, "\r\n") == NULL;
}

static bool headers(struct config_context *c, const struct conf_value *v)
{
    struct buf all = {0};
    bool ok = true;

    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing headers: unsupported type %s", config_type_name(v));
    for (size_t i = 0; ok && i < v->n; i++) {
        const char *name = v->keys[i], *value = v->items[i]->text;
        if (v->items[i]->kind != CONF_TEXT || !is_one_line(value) || !is_one_line(name))
            ok = config_fail(c, v->items[i], "error parsing header key %s: expected a text", name);
        else if (is_reserved(name))
            ok = config_fail(c, v->items[i], "websocket: invalid header \"%s\" not allowed", name);
        else if (strncasecmp(name, "sec-websocket-", 14) == 0)
            ok = config_fail(c, v->items[i],
                             "websocket: invalid header \"%s\", \"Sec-WebSocket-\" prefix not "
                             "allowed",
                             name);
        else
            buf_printf(&all, "%s: %s\r\n", name, value);
    }
    if (ok && all.n > 0)
        config_keep(&block(c)->headers, buf_cstr(&all));
    buf_free(&all);
    return ok;
}

/* ---- the block ------------------------------------------------------------------------------- */

static const struct config_key auth_keys[] = {
    {"user", CONFIG_TEXT, AT(user), NULL},
    {"username", CONFIG_TEXT, AT(user), NULL},
    {"pass", CONFIG_TEXT, AT(pass), NULL},
    {"password", CONFIG_TEXT, AT(pass), NULL},
    {"token", CONFIG_TEXT, AT(token), NULL},
    {"timeout", CONFIG_DURATION, AT(auth_timeout_ns), NULL},
};

static bool authorization(struct config_context *c, const struct conf_value *v)
{
    return config_apply_map(c, v, "authorization", auth_keys, ARRAY_LEN(auth_keys));
}

static bool listen_at(struct config_context *c, const struct conf_value *v)
{
    return config_listen(c, v, &block(c)->host, &block(c)->port);
}

static bool tls(struct config_context *c, const struct conf_value *v)
{
    return config_tls_into(c, v, &block(c)->tls);
}

static bool handshake_timeout(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_INT && v->kind != CONF_FLOAT && v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing handshake timeout: unsupported type %s",
                           config_type_name(v));
    return config_duration(c, v, "", &block(c)->handshake_timeout_ns);
}

static const struct config_key keys[] = {
    {"listen", CONFIG_BLOCK, 0, listen_at},
    {"port", CONFIG_PORT, AT(port), NULL},
    {"host", CONFIG_TEXT, AT(host), NULL},
    {"net", CONFIG_TEXT, AT(host), NULL},
    {"advertise", CONFIG_TEXT, AT(advertise), NULL},
    {"no_tls", CONFIG_FLAG, AT(no_tls), NULL},
    {"tls", CONFIG_BLOCK, 0, tls},
    {"same_origin", CONFIG_FLAG, AT(same_origin), NULL},
    {"allowed_origins", CONFIG_BLOCK, 0, origins},
    {"allowed_origin", CONFIG_BLOCK, 0, origins},
    {"allow_origins", CONFIG_BLOCK, 0, origins},
    {"allow_origin", CONFIG_BLOCK, 0, origins},
    {"origins", CONFIG_BLOCK, 0, origins},
    {"origin", CONFIG_BLOCK, 0, origins},
    {"handshake_timeout", CONFIG_BLOCK, 0, handshake_timeout},
    {"compress", CONFIG_FLAG, AT(compression), NULL},
    {"compression", CONFIG_FLAG, AT(compression), NULL},
    {"authorization", CONFIG_BLOCK, 0, authorization},
    {"authentication", CONFIG_BLOCK, 0, authorization},
    {"jwt_cookie", CONFIG_TEXT, AT(jwt_cookie), NULL},
    {"user_cookie", CONFIG_TEXT, AT(user_cookie), NULL},
    {"pass_cookie", CONFIG_TEXT, AT(pass_cookie), NULL},
    {"token_cookie", CONFIG_TEXT, AT(token_cookie), NULL},
    {"no_auth_user", CONFIG_TEXT, AT(no_auth_user), NULL},
    {"headers", CONFIG_BLOCK, 0, headers},
    {"ping_interval", CONFIG_DURATION, AT(ping_interval_ns), NULL},
};

bool config_websocket(struct config_context *c, const struct conf_value *v)
{
    return config_apply_map(c, v, "websocket", keys, ARRAY_LEN(keys));
}

void websocket_options_free(struct websocket_options *w)
{
    char **texts[] = {&w->host,       &w->advertise,   &w->origins,     &w->headers,
                      &w->jwt_cookie, &w->user_cookie, &w->pass_cookie, &w->token_cookie,
                      &w->user,       &w->pass,        &w->token,       &w->no_auth_user};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        mem_free(*texts[i]);
        *texts[i] = NULL;
    }
    tls_options_free(&w->tls);
}
