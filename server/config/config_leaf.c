/*
 * config_leaf.c - a leafnodes block.
 *
 *     leafnodes {
 *         listen: "0.0.0.0:7422"
 *         tls { ... }
 *         authorization { user: edge, password: secret, account: A }     or users: [ { ... } ]
 *         remotes: [
 *             { url: "nats-leaf://hub.example.org:7422", account: A, credentials: "edge.creds" }
 *         ]
 *     }
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/jwt/nkey.h"
#include "server/config/config_apply.h"
#include "server/config/leaf_options.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#define AT(member) offsetof(struct options, leaf.member)

static struct leaf_options *block(struct config_context *c)
{
    return &c->o->leaf;
}

static bool text(struct config_context *c, const struct conf_value *v, const char *key, char **out)
{
    if (v->text == NULL)
        return config_fail(c, v, "%s must be a text", key);
    config_keep(out, v->text);
    return true;
}

static bool flag(struct config_context *c, const struct conf_value *v, const char *key, bool *out)
{
    if (v->kind != CONF_BOOL)
        return config_fail(c, v, "%s must be true or false", key);
    *out = v->integer != 0;
    return true;
}

/* ---- URLs ------------------------------------------------------------------------------------ */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %41 and the like become what they stand for. */
static char *decoded(struct str s)
{
    char *out = mem_alloc(s.n + 1);
    size_t n = 0;

    for (size_t i = 0; i < s.n; i++) {
        int high = s.p[i] == '%' && i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;
        out[n++] = low >= 0 ? (char) (high * 16 + low) : s.p[i];
        i += low >= 0 ? 2 : 0;
    }
    out[n] = '\0';
    return out;
}

static bool parse_host(struct str text, uint64_t port, struct leaf_url *out)
{
    size_t end = text.n > 0 && text.p[0] == '[' ? str_index(text, ']') : 0;
    struct str rest = str_skip(text, end < text.n ? end : text.n);
    size_t colon = str_index(rest, ':');
    struct str host = str_take(text, end + colon);

    if (colon < rest.n && (!str_to_u64(str_skip(rest, colon + 1), &port) || port > UINT16_MAX))
        return false;
    if (host.n >= 2 && host.p[0] == '[')
        host = str_from(host.p + 1, host.n - 2);
    if (host.n == 0 || port == 0)
        return false;
    out->host = mem_strndup(host.p, host.n);
    out->port = (uint16_t) port;
    return true;
}

static bool parse_url(const char *text, struct leaf_url *out)
{
    const char *at = strstr(text, "://");
    struct str rest, scheme, user, pass, path;
    size_t sign;

    if (at == NULL)
        return false;
    scheme = str_from(text, (size_t) (at - text));
    out->ws = str_eq_nocase(scheme, STR("ws")) || str_eq_nocase(scheme, STR("wss"));
    out->tls = str_eq_nocase(scheme, STR("tls")) || str_eq_nocase(scheme, STR("wss"));
    if (!str_eq_nocase(scheme, STR("nats-leaf")) && !str_eq_nocase(scheme, STR("nats")) &&
        !out->tls && !str_eq_nocase(scheme, STR("leaf")) && !out->ws)
        return false;
    rest = str_cut(str_of(at + 3), '/', &path);
    while (path.n > 0 && path.p[path.n - 1] == '/')
        path.n--;
    if (path.n > 0)
        out->path = mem_strndup(path.p, path.n);
    sign = rest.n;
    while (sign > 0 && rest.p[sign - 1] != '@')
        sign--;
    if (sign > 0) {
        user = str_cut(str_take(rest, sign - 1), ':', &pass);
        out->user = decoded(user);
        out->pass = pass.p != NULL ? decoded(pass) : NULL;
    }
    return parse_host(str_skip(rest, sign), !out->ws ? LEAF_PORT : out->tls ? 443 : 80, out);
}

static bool add_url(struct config_context *c, const struct conf_value *v,
                    struct leaf_remote_options *r)
{
    if (r->nurls == LEAF_URLS_MAX)
        return config_fail(c, v, "more than %u urls of a remote", LEAF_URLS_MAX);
    r->urls = mem_realloc(r->urls, (r->nurls + 1) * sizeof(*r->urls));
    r->urls[r->nurls] = (struct leaf_url){0};
    if (v->kind != CONF_TEXT)
        return config_fail_said(c, v,
                                "Expected remote leafnode url to be an array or string, got ");
    if (!parse_url(v->text, &r->urls[r->nurls++]))
        return config_fail(c, v, "error parsing leafnode url [\"%s\"]", v->text);
    return true;
}

static bool urls(struct config_context *c, const struct conf_value *v,
                 struct leaf_remote_options *r)
{
    if (v->kind != CONF_LIST)
        return add_url(c, v, r);
    for (size_t i = 0; i < v->n; i++)
        if (!add_url(c, v->items[i], r))
            return false;
    return true;
}

/* ---- remotes --------------------------------------------------------------------------------- */

static bool add_subject(struct config_context *c, const struct conf_value *v,
                        struct subject_rules *out)
{
    if (v->kind != CONF_TEXT || !subject_valid(str_of(v->text)))
        return config_fail(c, v, "subject \"%s\" is not a valid subject",
                           v->text != NULL ? v->text : "");
    if (out->n == SUBJECT_RULES_MAX)
        return config_fail(c, v, "more than %u subjects in one list", SUBJECT_RULES_MAX);
    out->rules = mem_realloc(out->rules, (out->n + 1) * sizeof(*out->rules));
    out->rules[out->n++] = (struct subject_rule){.subject = mem_strdup(v->text)};
    return true;
}

static bool subjects(struct config_context *c, const struct conf_value *v,
                     struct subject_rules *out)
{
    if (v->kind == CONF_TEXT)
        return add_subject(c, v, out);
    if (v->kind != CONF_LIST)
        return config_fail(c, v,
                           "Expected subject permissions to be a subject, or array of subjects, "
                           "got %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!add_subject(c, v->items[i], out))
            return false;
    return true;
}

/* The text does not say it: it may be one with a slip of the pen. */
static bool seed(struct config_context *c, const struct conf_value *v, const char *key, char **at)
{
    uint8_t bytes[NKEY_KEY_BYTES];
    enum nkey_kind kind;

    return text(c, v, key, at) && (nkey_seed_decode(str_of(*at), &kind, bytes) ||
                                   config_fail(c, v, "Remote leafnode nkey is not a valid seed"));
}

static bool rtts(struct config_context *c, const struct conf_value *v, struct leaf_compression *out)
{
    int64_t last = 0;

    if (v->kind != CONF_LIST || v->n == 0 || v->n > LEAF_RTTS_MAX)
        return config_fail(c, v, "rtt_thresholds must be a list of 1 to %u durations",
                           LEAF_RTTS_MAX);
    for (out->nrtts = 0; out->nrtts < v->n; out->nrtts++) {
        int64_t *at = &out->rtt_ns[out->nrtts];
        if (!config_duration(c, v->items[out->nrtts], "", at))
            return false;
        if (*at > 0 && *at < last)
            return config_fail(c, v, "RTT threshold values should be in ascending order");
        last = *at > 0 ? *at : last;
    }
    return last > 0 || config_fail(c, v, "compression requires at least one RTT threshold");
}

static bool mode(struct config_context *c, const struct conf_value *v, enum leaf_mode *out)
{
    static const struct {
        const char *name;
        enum leaf_mode mode;
    } names[] = {
        {"not supported", LEAF_NOT_SUPPORTED},
        {"not_supported", LEAF_NOT_SUPPORTED},
        {"off", LEAF_OFF},
        {"disabled", LEAF_OFF},
        {"none", LEAF_OFF},
        {"false", LEAF_OFF},
        {"accept", LEAF_ACCEPT},
        {"on", LEAF_S2_AUTO},
        {"enabled", LEAF_S2_AUTO},
        {"true", LEAF_S2_AUTO},
        {"auto", LEAF_S2_AUTO},
        {"s2_auto", LEAF_S2_AUTO},
        {"s2_uncompressed", LEAF_S2_UNCOMPRESSED},
        {"fast", LEAF_S2_FAST},
        {"s2_fast", LEAF_S2_FAST},
        {"better", LEAF_S2_BETTER},
        {"s2_better", LEAF_S2_BETTER},
        {"best", LEAF_S2_BEST},
        {"s2_best", LEAF_S2_BEST},
    };

    if (v->kind == CONF_BOOL) {
        *out = v->integer != 0 ? LEAF_S2_AUTO : LEAF_OFF;
        return true;
    }
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "field \"compression\" should be a boolean or a structure, got %s",
                           config_type_name(v));
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(v->text, names[i].name) == 0) {
            *out = names[i].mode;
            return true;
        }
    return config_fail(c, v, "unsupported compression mode \"%s\"", v->text);
}

/* A mode, or { mode, rtt_thresholds }. */
static bool compression(struct config_context *c, const struct conf_value *v,
                        struct leaf_compression *out)
{
    bool named = false;

    if (v->kind != CONF_MAP)
        return mode(c, v, &out->mode);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        if (IS(v->keys[i], "mode")) {
            named = true;
            if (!mode(c, item, &out->mode))
                return false;
        } else if (IS(v->keys[i], "rtt_thresholds", "thresholds", "rtts", "rtt")) {
            if (!rtts(c, item, out))
                return false;
        } else if (!item->used) {
            return config_fail(c, item, "unknown field \"%s\"", v->keys[i]);
        }
    }
    return named || config_fail(c, v, "unsupported compression mode \"\"");
}

static bool own_compression(struct config_context *c, const struct conf_value *v)
{
    return compression(c, v, &c->o->leaf.compression);
}

/* ---- an HTTP proxy --------------------------------------------------------------------------- */

static bool proxy_url(struct config_context *c, const struct conf_value *v, struct leaf_proxy *p)
{
    const char *at = v->kind == CONF_TEXT ? strstr(v->text, "://") : NULL;
    struct str scheme = at != NULL ? str_from(v->text, (size_t) (at - v->text)) : STR_NONE;
    struct leaf_url url = {0};
    struct str rest;

    if (str_eq_nocase(scheme, STR("https")))
        return config_fail(c, v, "a proxy is asked over http alone");
    if (!str_eq_nocase(scheme, STR("http")))
        return config_fail(c, v, "proxy URL scheme must be http or https, got: %.*s",
                           STR_ARG(scheme));
    if (!parse_host(str_cut(str_of(at + 3), '/', &rest), 80, &url))
        return config_fail(c, v, "proxy URL must specify a host");
    mem_free(p->host);
    p->host = url.host;
    p->port = url.port;
    return true;
}

static bool proxy(struct config_context *c, const struct conf_value *v, struct leaf_proxy *p)
{
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "Expected proxy to be a map, got %s", config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        const char *key = v->keys[i];
        bool ok = IS(key, "url")        ? proxy_url(c, item, p)
                  : IS(key, "username") ? text(c, item, key, &p->user)
                  : IS(key, "password") ? text(c, item, key, &p->pass)
                  : IS(key, "timeout")
                      ? config_duration(c, item, "error parsing proxy timeout: ", &p->timeout_ns)
                      : item->used || config_fail(c, item, "unknown field \"%s\"", key);
        if (!ok)
            return false;
    }
    return p->host == NULL || (p->user == NULL) == (p->pass == NULL) ||
           config_fail(c, v, "proxy username and password must both be specified or both be empty");
}

static bool remote_field(struct config_context *c, const char *key, const struct conf_value *v,
                         struct leaf_remote_options *r)
{
    bool ignored;

    if (IS(key, "url", "urls"))
        return urls(c, v, r);
    if (IS(key, "account", "local"))
        return text(c, v, key, &r->account);
    if (IS(key, "creds", "credentials"))
        return text(c, v, key, &r->creds);
    if (IS(key, "nkey", "seed"))
        return seed(c, v, key, &r->nkey);
    if (IS(key, "tls"))
        return config_tls_client(c, v, &r->tls);
    if (IS(key, "hub"))
        return flag(c, v, key, &r->hub);
    if (IS(key, "deny_import", "deny_imports"))
        return subjects(c, v, &r->deny_imports);
    if (IS(key, "deny_export", "deny_exports"))
        return subjects(c, v, &r->deny_exports);
    if (IS(key, "no_randomize", "dont_randomize"))
        return flag(c, v, key, &r->no_randomize);
    if (IS(key, "disabled"))
        return flag(c, v, key, &r->disabled);
    if (IS(key, "isolate_leafnode_interest", "isolate"))
        return flag(c, v, key, &r->isolate);
    if (IS(key, "request_isolation"))
        return flag(c, v, key, &r->request_isolation);
    if (IS(key, "first_info_timeout"))
        return config_duration(c, v,
                               "error parsing first_info_timeout: ", &r->first_info_timeout_ns);
    if (IS(key, "dial_timeout"))
        return config_duration(c, v, "error parsing dial_timeout: ", &r->dial_timeout_ns);
    if (IS(key, "proxy"))
        return proxy(c, v, &r->proxy);
    if (IS(key, "compression"))
        return compression(c, v, &r->compression);
    if (IS(key, "ws_compression", "websocket_compression"))
        return flag(c, v, key, &ignored);
    if (IS(key, "ws_no_masking", "websocket_no_masking"))
        return flag(c, v, key, &r->no_masking);
    if (IS(key, "jetstream_cluster_migrate", "js_cluster_migrate", "ignore_discovered_servers"))
        return true;
    return v->used || config_fail(c, v, "unknown field \"%s\"", key);
}

/* What is encrypted behind the proxy has its certificates looked at here. */
static bool fits_proxy(struct config_context *c, const struct conf_value *v,
                       const struct leaf_remote_options *r)
{
    char url[FMT_HOST_PORT_MAX];

    for (size_t k = 0; k < r->nurls; k++)
        if (r->proxy.host != NULL && r->urls[k].ws && r->urls[k].tls && !r->tls.on)
            return config_fail(c, v,
                               "proxy is configured but remote URL wss://%s requires TLS and no "
                               "TLS configuration is provided. When using proxy with TLS "
                               "endpoints, ensure TLS is properly configured for the leafnode "
                               "remote",
                               fmt_host_port(url, r->urls[k].host, r->urls[k].port));
    return true;
}

static bool remotes(struct config_context *c, const struct conf_value *v)
{
    struct leaf_options *l = block(c);

    if (v->kind != CONF_LIST)
        return config_fail(c, v, "Expected remotes field to be an array, got %s",
                           config_type_name(v));
    if (v->n > LEAF_REMOTES_MAX)
        return config_fail(c, v, "more than %u remotes", LEAF_REMOTES_MAX);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        struct leaf_remote_options *r;
        if (item->kind != CONF_MAP)
            return config_fail_said(c, item,
                                    "Expected remote leafnode entry to be a map/struct, got ");
        l->remotes = mem_realloc(l->remotes, (l->nremotes + 1) * sizeof(*l->remotes));
        r = &l->remotes[l->nremotes++];
        *r = (struct leaf_remote_options){.first_info_timeout_ns = 1000000000,
                                          .compression.mode = LEAF_S2_AUTO};
        for (size_t k = 0; k < item->n; k++)
            if (!remote_field(c, item->keys[k], item->items[k], r))
                return false;
        if (r->nurls == 0)
            return config_fail(c, item, "a remote needs an url");
        if (!fits_proxy(c, item, r))
            return false;
        for (size_t k = 1; k < r->nurls; k++)
            if (r->urls[k].ws != r->urls[0].ws)
                return config_fail(c, item,
                                   "remote leaf node configuration cannot have a mix of websocket "
                                   "and non-websocket urls");
    }
    return true;
}

/* ---- who may connect ------------------------------------------------------------------------- */

static bool user_field(struct config_context *c, const char *key, const struct conf_value *v,
                       struct user *u)
{
    if (IS(key, "user", "username"))
        return text(c, v, key, &u->name);
    if (IS(key, "pass", "password"))
        return text(c, v, key, &u->pass);
    if (IS(key, "account"))
        return text(c, v, key, &u->account);
    if (IS(key, "proxy_required"))
        return flag(c, v, key, &u->proxy_required);
    return v->used || config_fail(c, v, "unknown field \"%s\"", key);
}

static bool users(struct config_context *c, const struct conf_value *v)
{
    struct users *all = &block(c)->users;

    if (v->kind != CONF_LIST)
        return config_fail_said(c, v, "Expected users field to be an array, got ");
    if (v->n > USERS_MAX)
        return config_fail(c, v, "more than %u users", USERS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        struct user *u;
        if (item->kind != CONF_MAP)
            return config_fail_said(c, item, "Expected user entry to be a map/struct, got ");
        all->list = mem_realloc(all->list, (all->n + 1) * sizeof(*all->list));
        u = &all->list[all->n++];
        *u = (struct user){.kinds = USER_ANY_KIND};
        for (size_t k = 0; k < item->n; k++)
            if (!user_field(c, item->keys[k], item->items[k], u))
                return false;
        if (u->name == NULL)
            return config_fail(c, item, "User entry requires a user");
        if (users_find(all, u->name, strlen(u->name)) != u)
            return config_fail(c, item, "duplicate user \"%s\" detected in leafnode authorization",
                               u->name);
    }
    return true;
}

static bool nkey(struct config_context *c, const struct conf_value *v)
{
    struct users *all = &block(c)->users;

    if (v->kind != CONF_TEXT || !nkey_is(str_of(v->text), NKEY_USER))
        return config_fail(c, v, "Not a valid public nkey for leafnode authorization");
    all->list = mem_realloc(all->list, (all->n + 1) * sizeof(*all->list));
    all->list[all->n++] = (struct user){.kinds = USER_ANY_KIND, .nkey = mem_strdup(v->text)};
    return true;
}

static bool auth_timeout(struct config_context *c, const struct conf_value *v)
{
    return config_timeout(c, v, "leafnode authorization", &block(c)->auth_timeout_ns);
}

static const struct config_key auth_keys[] = {
    {"user", CONFIG_TEXT, AT(user), NULL},
    {"username", CONFIG_TEXT, AT(user), NULL},
    {"pass", CONFIG_TEXT, AT(pass), NULL},
    {"password", CONFIG_TEXT, AT(pass), NULL},
    {"nkey", CONFIG_BLOCK, 0, nkey},
    {"account", CONFIG_TEXT, AT(account), NULL},
    {"timeout", CONFIG_BLOCK, 0, auth_timeout},
    {"users", CONFIG_BLOCK, 0, users},
    {"proxy_required", CONFIG_FLAG, AT(proxy_required), NULL},
};

static bool authorization(struct config_context *c, const struct conf_value *v)
{
    struct leaf_options *l = block(c);

    if (!config_apply_map(c, v, "authorization", auth_keys, ARRAY_LEN(auth_keys)))
        return false;
    if (l->user != NULL && l->users.n > 0)
        return config_fail(c, v, "can not have a single user/pass and a users array");
    /* A key's account is the block's. */
    for (size_t i = 0; i < l->users.n; i++)
        if (l->users.list[i].nkey != NULL && l->account != NULL)
            config_keep(&l->users.list[i].account, l->account);
    return true;
}

/* ---- the block ------------------------------------------------------------------------------- */

static bool listen_at(struct config_context *c, const struct conf_value *v)
{
    return config_listen(c, v, &block(c)->host, &block(c)->port);
}

static bool tls(struct config_context *c, const struct conf_value *v)
{
    return config_tls_into(c, v, &block(c)->tls);
}

static bool min_version(struct config_context *c, const struct conf_value *v)
{
    struct str left = str_of(v->text != NULL ? v->text : ""), part;
    uint64_t numbers[3] = {0};

    if (str_starts(left, STR("v")))
        left = str_skip(left, 1);
    for (unsigned i = 0; i < 3; i++) {
        part = str_cut(left, '.', &left);
        if (i == 2)
            part = str_take(part, str_index(part, '-'));
        if (!str_to_u64(part, &numbers[i]))
            return config_fail(c, v, "invalid leafnode's minimum version: invalid semver");
    }
    if (numbers[0] < 2 || (numbers[0] == 2 && numbers[1] < 8))
        return config_fail(c, v, "the minimum version should be at least 2.8.0");
    config_keep(&block(c)->min_version, v->text);
    return true;
}

static bool reconnect(struct config_context *c, const struct conf_value *v)
{
    return config_duration(c, v, "error parsing reconnect: ", &block(c)->reconnect_ns);
}

/* Read; the one of clients counts. */
static bool ignored_duration(struct config_context *c, const struct conf_value *v)
{
    int64_t ignored;

    return config_duration(c, v, "error parsing write_deadline: ", &ignored);
}

static bool ignored_text(struct config_context *c, const struct conf_value *v)
{
    return v->text != NULL || config_fail(c, v, "expected a text");
}

static const struct config_key keys[] = {
    {"listen", CONFIG_BLOCK, 0, listen_at},
    {"port", CONFIG_PORT, AT(port), NULL},
    {"host", CONFIG_TEXT, AT(host), NULL},
    {"net", CONFIG_TEXT, AT(host), NULL},
    {"authorization", CONFIG_BLOCK, 0, authorization},
    {"remotes", CONFIG_BLOCK, 0, remotes},
    {"reconnect", CONFIG_BLOCK, 0, reconnect},
    {"reconnect_delay", CONFIG_BLOCK, 0, reconnect},
    {"reconnect_interval", CONFIG_BLOCK, 0, reconnect},
    {"dial_timeout", CONFIG_DURATION, AT(dial_timeout_ns), NULL},
    {"tls", CONFIG_BLOCK, 0, tls},
    {"leafnode_advertise", CONFIG_TEXT, AT(advertise), NULL},
    {"advertise", CONFIG_TEXT, AT(advertise), NULL},
    {"no_advertise", CONFIG_FLAG, AT(no_advertise), NULL},
    {"min_version", CONFIG_BLOCK, 0, min_version},
    {"minimum_version", CONFIG_BLOCK, 0, min_version},
    {"compression", CONFIG_BLOCK, 0, own_compression},
    {"isolate", CONFIG_FLAG, AT(isolate), NULL},
    {"isolate_leafnode_interest", CONFIG_FLAG, AT(isolate), NULL},
    {"write_deadline", CONFIG_BLOCK, 0, ignored_duration},
    {"write_timeout", CONFIG_BLOCK, 0, ignored_text},
};

bool config_leafnodes(struct config_context *c, const struct conf_value *v)
{
    return config_apply_map(c, v, "leafnodes", keys, ARRAY_LEN(keys));
}

static void free_rules(struct subject_rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        mem_free(r->rules[i].subject);
    mem_free(r->rules);
}

static void free_remote(struct leaf_remote_options *r)
{
    for (size_t i = 0; i < r->nurls; i++) {
        mem_free(r->urls[i].host);
        mem_free(r->urls[i].user);
        mem_free(r->urls[i].pass);
        mem_free(r->urls[i].path);
    }
    mem_free(r->urls);
    mem_free(r->account);
    mem_free(r->creds);
    mem_free(r->nkey);
    mem_free(r->proxy.host);
    mem_free(r->proxy.user);
    mem_free(r->proxy.pass);
    free_rules(&r->deny_imports);
    free_rules(&r->deny_exports);
    tls_options_free(&r->tls);
}

void leaf_options_free(struct leaf_options *l)
{
    for (size_t i = 0; i < l->nremotes; i++)
        free_remote(&l->remotes[i]);
    mem_free(l->remotes);
    mem_free(l->host);
    mem_free(l->advertise);
    mem_free(l->min_version);
    mem_free(l->user);
    mem_free(l->pass);
    mem_free(l->account);
    users_free(&l->users);
    tls_options_free(&l->tls);
    *l = (struct leaf_options){0};
}
