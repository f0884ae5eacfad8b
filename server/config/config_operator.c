/*
 * config_operator.c - operator mode in a configuration.
 *
 *     operator: "/etc/nats/op.jwt"            a file, decorated or not, or the token itself; or a
 * list resolver: MEMORY                        URL("http://host:9090/jwt/v1/accounts/"), or a map:
 *     resolver: { type: full, dir: "./jwt", allow_delete: true, interval: "2m", limit: 1000 }
 *     resolver_preload: { ACCOUNTKEY: token }
 *     trusted_keys: [ "O..." ]                in place of operators
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <string.h>
#include <strings.h>

#define OPERATORS_MAX 64u
#define PRELOADS_MAX 65536u

/* Calls each with every text of a text or a list of texts. */
static bool each_text(struct config_context *c, const struct conf_value *v, const char *what,
                      bool (*each)(struct config_context *c, const struct conf_value *v))
{
    if (v->kind == CONF_TEXT)
        return each(c, v);
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "error parsing %s: unsupported type %s", what,
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i]->kind != CONF_TEXT)
            return config_fail(c, v->items[i], "error parsing %s: unsupported type in array %s",
                               what, config_type_name(v->items[i]));
        if (!each(c, v->items[i]))
            return false;
    }
    return true;
}

/* ---- operators ------------------------------------------------------------------------------- */

/* The file when there is one, else the text itself when it looks like a token. */
static bool read_token(struct config_context *c, const char *text, struct buf *out, struct buf *err)
{
    if (strncmp(text, "eyJ", 3) == 0) {
        buf_puts(out, text);
        return true;
    }
    if (c->source != NULL && c->source->read(NULL, text, out, err))
        return true;
    buf_clear(err);
    buf_printf(err, "open %s: no such file or directory", text);
    return false;
}

static bool one_operator(struct config_context *c, const struct conf_value *v)
{
    struct operators *o = &c->o->operators;
    struct buf text = {0}, err = {0};
    struct str token;
    bool ok;

    if (o->n == OPERATORS_MAX)
        return config_fail(c, v, "more than %u operators", OPERATORS_MAX);
    o->list = mem_realloc(o->list, (o->n + 1) * sizeof(*o->list));
    ok = read_token(c, v->text, &text, &err);
    token = str_trim(jwt_undecorate(buf_str(&text)));
    ok = ok && operator_claims_read(token, &o->list[o->n], &err);
    if (ok) {
        o->n++;
        str_list_add(&o->tokens, token);
    } else {
        config_fail(c, v, "error parsing operator JWT: %s", buf_cstr(&err));
    }
    buf_free(&text);
    buf_free(&err);
    return ok;
}

bool config_operators(struct config_context *c, const struct conf_value *v)
{
    return each_text(c, v, "operators", one_operator);
}

static bool one_trusted(struct config_context *c, const struct conf_value *v)
{
    if (!nkey_is(str_of(v->text), NKEY_OPERATOR))
        return config_fail(c, v, "trust key \"%s\" required to be a valid public operator nkey",
                           v->text);
    str_list_add(&c->o->operators.trusted, str_of(v->text));
    return true;
}

bool config_trusted(struct config_context *c, const struct conf_value *v)
{
    return each_text(c, v, "trusted", one_trusted);
}

static bool one_pinned(struct config_context *c, const struct conf_value *v)
{
    str_list_add(&c->o->operators.pinned, str_of(v->text));
    return true;
}

bool config_pinned(struct config_context *c, const struct conf_value *v)
{
    c->o->operators.pinned_set = true;
    return each_text(c, v, "resolver_pinned_accounts", one_pinned);
}

bool config_sentinel(struct config_context *c, const struct conf_value *v)
{
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "default_sentinel must be a text");
    config_keep(&c->o->operators.default_sentinel, v->text);
    return true;
}

/* ---- preload --------------------------------------------------------------------------------- */

bool config_preload(struct config_context *c, const struct conf_value *v)
{
    struct operators *o = &c->o->operators;

    if (v->kind != CONF_MAP)
        return config_fail(c, v, "preload should be a map of account_public_key:account_jwt");
    if (v->n > PRELOADS_MAX)
        return config_fail(c, v, "more than %u accounts", PRELOADS_MAX);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        struct account_claims a;
        struct buf err = {0};
        bool ok;
        if (item->used)
            continue;
        if (item->kind != CONF_TEXT)
            return config_fail(c, item, "preload map value should be a string JWT");
        ok = account_claims_read(str_of(item->text), &a, &err);
        buf_free(&err);
        if (!ok)
            return config_fail(c, item, "invalid account JWT");
        account_claims_free(&a);
        o->preload = mem_realloc(o->preload, (o->npreload + 1) * sizeof(*o->preload));
        o->preload[o->npreload++] = (struct preload){.account = mem_strdup(v->keys[i]),
                                                     .token = mem_strdup(item->text)};
    }
    return true;
}

/* ---- the resolver ---------------------------------------------------------------------------- */

static bool set_url(struct config_context *c, const struct conf_value *v, struct str url)
{
    struct resolver_options *r = &c->o->operators.resolver;
    struct buf b = {0};

    if (url.n >= 2 && (url.p[0] == '"' || url.p[0] == '\''))
        url = str_from(url.p + 1, url.n - 2);
    if (!str_starts(url, STR("http://")) && !str_starts(url, STR("https://")))
        return config_fail(c, v, "error parsing account resolver url [\"%.*s\"]", STR_ARG(url));
    buf_put_str(&b, url);
    if (b.p[b.n - 1] != '/')
        buf_putc(&b, '/');
    r->kind = RESOLVER_URL;
    config_keep(&r->url, buf_cstr(&b));
    buf_free(&b);
    return true;
}

static bool resolver_text(struct config_context *c, const struct conf_value *v)
{
    struct str rest, text = str_trim(str_of(v->text)), word = str_cut(text, '(', &rest);

    word = str_trim(word);
    rest = str_trim(rest);
    if (str_eq_nocase(word, STR("MEM")) || str_eq_nocase(word, STR("MEMORY"))) {
        c->o->operators.resolver.kind = RESOLVER_MEMORY;
        return true;
    }
    if (str_eq_nocase(word, STR("URL")) && rest.n > 1 && rest.p[rest.n - 1] == ')')
        return set_url(c, v, str_trim(str_take(rest, rest.n - 1)));
    return config_fail(c, v,
                       "error parsing account resolver, should be MEM or  URL(\"url\") or a "
                       "map containing dir and type state=[FULL|CACHE])");
}

static bool resolver_kind(struct config_context *c, const struct conf_value *v, const char *kind)
{
    struct resolver_options *r = &c->o->operators.resolver;

    if (kind != NULL && strcasecmp(kind, "full") == 0)
        r->kind = RESOLVER_FULL;
    else if (kind != NULL && strcasecmp(kind, "cache") == 0)
        r->kind = RESOLVER_CACHE;
    else if (kind != NULL && (strcasecmp(kind, "mem") == 0 || strcasecmp(kind, "memory") == 0))
        r->kind = RESOLVER_MEMORY;
    else
        return config_fail(c, v,
                           "error parsing account resolver, should be MEM or  URL(\"url\") or a "
                           "map containing dir and type state=[FULL|CACHE])");
    return true;
}

static bool flag(struct config_context *c, const struct conf_value *v, const char *key, bool *out)
{
    *out = v->integer != 0;
    return v->kind == CONF_BOOL || config_fail(c, v, "%s must be true or false", key);
}

static bool text(struct config_context *c, const struct conf_value *v, const char *key, char **out)
{
    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "%s must be a text", key);
    config_keep(out, v->text);
    return true;
}

bool config_resolver_tls(struct config_context *c, const struct conf_value *v)
{
    return config_tls_client(c, v, &c->o->operators.resolver.tls);
}

struct said {
    char *kind;
    bool hard_delete, interval, ttl;
};

static bool resolver_field(struct config_context *c, const char *key, const struct conf_value *v,
                           struct said *said)
{
    struct resolver_options *r = &c->o->operators.resolver;

    if (strcasecmp(key, "type") == 0)
        return text(c, v, key, &said->kind);
    if (strcasecmp(key, "dir") == 0)
        return text(c, v, key, &r->dir);
    if (strcasecmp(key, "allow_delete") == 0)
        return flag(c, v, key, &r->allow_delete);
    if (strcasecmp(key, "hard_delete") == 0)
        return (said->hard_delete = true) && flag(c, v, key, &r->hard_delete);
    if (strcasecmp(key, "limit") == 0) {
        r->limit = v->integer;
        return v->kind == CONF_INT || config_fail(c, v, "limit must be an integer");
    }
    if (strcasecmp(key, "ttl") == 0)
        return (said->ttl = true) && config_duration(c, v, "", &r->ttl_ns);
    if (strcasecmp(key, "interval") == 0)
        return (said->interval = true) && config_duration(c, v, "", &r->interval_ns);
    if (strcasecmp(key, "timeout") == 0)
        return config_duration(c, v, "", &r->timeout_ns);
    return v->used || config_fail(c, v, "unknown field \"%s\"", key);
}

static bool resolver_fits(struct config_context *c, const struct conf_value *v,
                          const struct said *said)
{
    const struct resolver_options *r = &c->o->operators.resolver;

    if (r->kind == RESOLVER_MEMORY)
        return true;
    if (r->dir == NULL || r->dir[0] == '\0')
        return config_fail(c, v, "dir has no value and needs to point to a directory");
    if (r->kind == RESOLVER_CACHE && said->interval)
        return config_fail(c, v, "CACHE does not accept sync");
    if (r->kind == RESOLVER_CACHE && r->allow_delete)
        return config_fail(c, v, "CACHE does not accept allow_delete");
    if (r->kind == RESOLVER_CACHE && said->hard_delete)
        return config_fail(c, v, "CACHE does not accept hard_delete");
    if (r->kind == RESOLVER_FULL && said->ttl)
        return config_fail(c, v, "FULL does not accept ttl");
    if (r->kind == RESOLVER_FULL && said->hard_delete && !r->allow_delete)
        return config_fail(c, v, "hard_delete has no effect without delete");
    return true;
}

bool config_resolver(struct config_context *c, const struct conf_value *v)
{
    struct said said = {0};
    bool ok = true;

    if (v->kind == CONF_TEXT)
        return resolver_text(c, v);
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing operator resolver, wrong type %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n && ok; i++)
        ok = resolver_field(c, v->keys[i], v->items[i], &said);
    ok = ok && resolver_kind(c, v, said.kind) && resolver_fits(c, v, &said);
    mem_free(said.kind);
    return ok;
}
