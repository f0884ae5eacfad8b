/*
 * config_callout.c - who else decides about clients.
 *
 *     authorization { auth_callout { issuer: "A...", account: AUTH, auth_users: [auth],
 *                                    xkey: "X...", allowed_accounts: [A, B] } }
 *     proxies { trusted: [ { key: "U..." } ] }
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/config/config_apply.h"

#include <string.h>
#include <strings.h>

static bool is(const char *key, const char *a, const char *b)
{
    return strcasecmp(key, a) == 0 || strcasecmp(key, b) == 0;
}

static bool texts(struct config_context *c, const struct conf_value *v, const char *what,
                  struct str_list *out)
{
    if (v->kind != CONF_LIST)
        return config_fail(c, v, "Expected %s field to be an array, got %s", what,
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        if (v->items[i]->text == NULL)
            return config_fail(c, v->items[i], "Expected %s field to be an array of texts", what);
        str_list_add(out, str_of(v->items[i]->text));
    }
    return true;
}

static bool callout_field(struct config_context *c, const char *key, const struct conf_value *v)
{
    struct callout_options *o = &c->o->callout;
    const char *text = v->text != NULL ? v->text : "";

    if (is(key, "issuer", "issuer")) {
        config_keep(&o->issuer, text);
        return nkey_is(str_of(text), NKEY_ACCOUNT) ||
               config_fail(c, v,
                           "Expected callout user to be a valid public account nkey, got \"%s\"",
                           text);
    }
    if (is(key, "account", "acc")) {
        config_keep(&o->account, text);
        return v->text != NULL || config_fail(c, v, "%s must be a text", key);
    }
    if (is(key, "auth_users", "users"))
        return texts(c, v, "auth_users", &o->users);
    if (is(key, "xkey", "key")) {
        config_keep(&o->xkey, text);
        return nkey_is(str_of(text), NKEY_CURVE) ||
               config_fail(c, v, "Expected callout xkey to be a valid public xkey, got \"%s\"",
                           text);
    }
    if (is(key, "allowed_accounts", "allowed_accounts"))
        return texts(c, v, "allowed accounts", &o->allowed);
    return v->used || config_fail(c, v, "Unknown field \"%s\" parsing authorization callout", key);
}

bool config_callout(struct config_context *c, const struct conf_value *v)
{
    struct callout_options *o = &c->o->callout;
    bool ok = true;

    if (v->kind != CONF_MAP)
        return config_fail_said(c, v, "Expected authorization callout to be a map/struct, got ");
    for (size_t i = 0; i < v->n; i++)
        ok &= callout_field(c, v->keys[i], v->items[i]);
    if (o->account == NULL)
        o->account = mem_strdup(ACCOUNT_DEFAULT);
    if (o->issuer == NULL)
        return config_fail(c, v, "Authorization callouts require an issuer to be specified");
    if (o->users.n == 0)
        return config_fail(c, v, "Authorization callouts require authorized users to be specified");
    return ok;
}

static bool trusted(struct config_context *c, const struct conf_value *v)
{
    enum nkey_kind kind;
    uint8_t key[NKEY_KEY_BYTES];

    if (v->kind != CONF_LIST)
        return config_fail(c, v, "expected proxies' trusted field to be an array, got %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        if (item->kind != CONF_MAP)
            return config_fail(c, item,
                               "expected proxies' trusted entry to be a map/struct, got %s",
                               config_type_name(item));
        for (size_t k = 0; k < item->n; k++) {
            const char *text = item->items[k]->text;
            if (!is(item->keys[k], "key", "public_key")) {
                if (item->items[k]->used)
                    continue;
                return config_fail(c, item->items[k], "unknown field \"%s\"", item->keys[k]);
            }
            if (text == NULL || !nkey_decode_any(str_of(text), &kind, key))
                return config_fail(c, item->items[k], "invalid proxy key \"%s\"",
                                   text != NULL ? text : "");
            str_list_add(&c->o->proxies.trusted, str_of(text));
        }
    }
    return true;
}

static const struct config_key keys[] = {
    {"trusted", CONFIG_BLOCK, 0, trusted},
};

bool config_proxies(struct config_context *c, const struct conf_value *v)
{
    c->o->proxies.set = true;
    return config_apply_map(c, v, "proxies", keys, ARRAY_LEN(keys));
}
