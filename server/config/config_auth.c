/*
 * config_auth.c - the authorization block: one user, one token, or a list of users with
 * permissions.
 *
 *     authorization {
 *         ADMIN = { publish: ">" }                       a variable, allowed because it is used
 *         default_permissions: { subscribe: "public.>" } of users without own ones
 *         users: [
 *             { user: joe, password: secret, permissions: $ADMIN }
 *             { nkey: UA..., permissions: { publish: { allow: [a, b], deny: "b" }, subscribe: "x q"
 * } }
 *         ]
 *     }
 *
 * A subscribe entry may name a queue group behind a blank. allow_responses lets a client answer
 * requests whose reply subject it may not publish to otherwise; with it a missing publish list
 * allows nothing.
 */
#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/jwt/nkey.h"
#include "server/config/config_apply.h"

#include <string.h>
#include <strings.h>

#define RESPONSES_MAX 1
#define RESPONSES_NS 120000000000ll
/* ---- permissions ----------------------------------------------------------------------------- */

static bool add_rule(struct config_context *c, const struct conf_value *v, bool queues,
                     struct subject_rules *out)
{
    struct str subject, queue;
    struct subject_rule *r;

    if (v->kind != CONF_TEXT)
        return config_fail(c, v, "Subject in permissions array cannot be cast to string");
    if (out->n == SUBJECT_RULES_MAX)
        return config_fail(c, v, "more than %u subjects in one list", SUBJECT_RULES_MAX);
    subject = str_cut(str_trim(str_of(v->text)), ' ', &queue);
    queue = str_trim(queue);
    if (!subject_valid(subject) || (queue.n > 0 && (!queues || !subject_valid(queue))))
        return config_fail(c, v, "subject \"%s\" is not a valid subject", v->text);
    out->rules = mem_realloc(out->rules, (out->n + 1) * sizeof(*out->rules));
    r = &out->rules[out->n++];
    r->subject = mem_strndup(subject.p, subject.n);
    r->queue = queue.n > 0 ? mem_strndup(queue.p, queue.n) : NULL;
    return true;
}

/* One subject or a list of them. */
static bool rules(struct config_context *c, const struct conf_value *v, bool queues,
                  struct subject_rules *out)
{
    out->set = true;
    if (v->kind == CONF_TEXT)
        return add_rule(c, v, queues, out);
    if (v->kind != CONF_LIST)
        return config_fail(c, v,
                           "Expected subject permissions to be a subject, or array of subjects, "
                           "got %s",
                           config_type_name(v));
    for (size_t i = 0; i < v->n; i++)
        if (!add_rule(c, v->items[i], queues, out))
            return false;
    return true;
}

/* A list, which allows, or { allow, deny }. */
static bool both_rules(struct config_context *c, const struct conf_value *v, bool queues,
                       struct subject_rules *allow, struct subject_rules *deny)
{
    if (v->kind != CONF_MAP)
        return rules(c, v, queues, allow);
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        bool ok = true;
        if (IS(v->keys[i], "allow"))
            ok = rules(c, item, queues, allow);
        else if (IS(v->keys[i], "deny"))
            ok = rules(c, item, queues, deny);
        else if (!item->used)
            return config_fail(c, item,
                               "Unknown field name \"%s\" parsing subject permissions, only "
                               "'allow' or 'deny' are permitted",
                               v->keys[i]);
        if (!ok)
            return false;
    }
    return true;
}

/* true, false or { max, expires }; 0 means the default, a negative number no limit. */
static bool responses(struct config_context *c, const struct conf_value *v, struct permissions *p)
{
    p->responses_max = RESPONSES_MAX;
    p->responses_ns = RESPONSES_NS;
    p->responses = v->kind == CONF_MAP || (v->kind == CONF_BOOL && v->integer != 0);
    if (v->kind == CONF_BOOL)
        return true;
    if (v->kind != CONF_MAP)
        return config_fail(c, v, "error parsing response permissions, expected a boolean or a map");
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        int64_t n;
        if (IS(v->keys[i], "max", "max_msgs", "max_messages", "max_responses")) {
            if (item->kind != CONF_INT)
                return config_fail(c, item, "%s must be an integer", v->keys[i]);
            p->responses_max = item->integer != 0 ? item->integer : RESPONSES_MAX;
        } else if (IS(v->keys[i], "expires", "expiration", "ttl")) {
            if (item->kind != CONF_TEXT || !fmt_parse_go_duration(str_of(item->text), &n))
                return config_fail(c, item, "error parsing expires, not a duration string");
            p->responses_ns = n != 0 ? n : RESPONSES_NS;
        } else if (!item->used) {
            return config_fail(c, item, "Unknown field \"%s\" parsing permissions", v->keys[i]);
        }
    }
    return true;
}

bool config_permissions(struct config_context *c, const struct conf_value *v,
                        struct permissions **out)
{
    struct permissions *p = *out;

    if (v->kind != CONF_MAP)
        return config_fail_said(c, v, "Expected permissions to be a map/struct, got ");
    if (p != NULL)
        return config_fail(c, v, "permissions are given twice");
    /* It hangs on its owner at once, who frees it also after an error. */
    p = *out = mem_zalloc(sizeof(*p));
    for (size_t i = 0; i < v->n; i++) {
        const struct conf_value *item = v->items[i];
        bool ok = true;
        if (IS(v->keys[i], "pub", "publish", "import"))
            ok = both_rules(c, item, false, &p->pub_allow, &p->pub_deny);
        else if (IS(v->keys[i], "sub", "subscribe", "export"))
            ok = both_rules(c, item, true, &p->sub_allow, &p->sub_deny);
        else if (IS(v->keys[i], "publish_allow_responses", "allow_responses"))
            ok = responses(c, item, p);
        else if (!item->used)
            return config_fail(c, item, "Unknown field \"%s\" parsing permissions", v->keys[i]);
        if (!ok)
            return false;
    }
    if (p->responses)
        p->pub_allow.set = true;
    return true;
}

/* ---- users ----------------------------------------------------------------------------------- */

static bool text(struct config_context *c, const struct conf_value *v, const char *key, char **out)
{
    if (v->text == NULL)
        return config_fail(c, v, "%s must be a text", key);
    config_keep(out, v->text);
    return true;
}

/* The names of the kinds of connections that there may be; 0: one that this server never has. */
static const struct {
    const char *name;
    uint8_t kind;
} kinds[] = {
    {"STANDARD", USER_STANDARD},
    {"WEBSOCKET", USER_WEBSOCKET},
    {"LEAFNODE", USER_LEAFNODE},
    {"LEAFNODE_WS", USER_LEAFNODE_WS},
    {"MQTT", 0},
    {"MQTT_WS", 0},
    {"IN_PROCESS", 0},
};

static bool connection_types(struct config_context *c, const struct conf_value *v, struct user *u)
{
    size_t n = v->kind == CONF_LIST ? v->n : 1;

    if (v->kind != CONF_LIST && v->kind != CONF_TEXT)
        return config_fail(c, v, "error parsing allowed connection types: unsupported type %s",
                           config_type_name(v));
    u->kinds = 0;
    for (size_t i = 0; i < n; i++) {
        const struct conf_value *item = v->kind == CONF_LIST ? v->items[i] : v;
        size_t k = 0;
        while (k < ARRAY_LEN(kinds) && item->text != NULL &&
               strcasecmp(kinds[k].name, item->text) != 0)
            k++;
        if (item->text == NULL || k == ARRAY_LEN(kinds))
            return config_fail(c, item, "invalid connection types [\"%s\"]",
                               item->text != NULL ? item->text : "");
        u->kinds |= kinds[k].kind;
    }
    return true;
}

static bool user_field(struct config_context *c, const char *key, const struct conf_value *v,
                       struct user *u)
{
    if (IS(key, "user", "username"))
        return text(c, v, key, &u->name);
    if (IS(key, "pass", "password"))
        return text(c, v, key, &u->pass);
    if (IS(key, "nkey"))
        return text(c, v, key, &u->nkey);
    if (IS(key, "permission", "permissions", "authorization"))
        return config_permissions(c, v, &u->may);
    if (IS(key, "allowed_connection_types", "connection_types", "clients"))
        return connection_types(c, v, u);
    if (IS(key, "proxy_required")) {
        u->proxy_required = v->integer != 0;
        return v->kind == CONF_BOOL || config_fail(c, v, "%s must be true or false", key);
    }
    return v->used || config_fail(c, v, "unknown field \"%s\"", key);
}

static bool nkey_valid(const char *key)
{
    return nkey_is(str_of(key), NKEY_USER);
}

static bool user_check(struct config_context *c, const struct conf_value *v, const struct user *u)
{
    const struct users *all = &c->o->users;

    if (u->nkey == NULL && u->name == NULL)
        return config_fail(c, v, "User entry requires a user");
    if (u->nkey == NULL)
        return users_find(all, u->name, strlen(u->name)) == u ||
               config_fail(c, v, "Duplicate user \"%s\" detected", u->name);
    if (!nkey_valid(u->nkey))
        return config_fail(c, v, "Not a valid public nkey for a user");
    if (u->name != NULL || u->pass != NULL)
        return config_fail(c, v, "Nkey users do not take usernames or passwords");
    return users_find_nkey(all, u->nkey, NKEY_LEN) == u ||
           config_fail(c, v, "Duplicate nkey \"%s\" detected", u->nkey);
}

bool config_users(struct config_context *c, const struct conf_value *v, const char *account)
{
    struct users *all = &c->o->users;
    bool ok = true;

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
        *u = (struct user){.kinds = USER_ANY_KIND,
                           .account = account != NULL ? mem_strdup(account) : NULL};
        for (size_t k = 0; k < item->n; k++)
            ok &= user_field(c, item->keys[k], item->items[k], u);
        ok &= user_check(c, item, u);
    }
    return ok;
}

static bool users(struct config_context *c, const struct conf_value *v)
{
    return config_users(c, v, NULL);
}

static bool otherwise(struct config_context *c, const struct conf_value *v)
{
    return config_permissions(c, v, &c->o->users.otherwise);
}

static bool timeout(struct config_context *c, const struct conf_value *v)
{
    return config_timeout(c, v, "authorization", &c->o->auth_timeout_ns);
}

#define AT(member) offsetof(struct options, member)

static const struct config_key keys[] = {
    {"user", CONFIG_TEXT, AT(user), NULL},
    {"username", CONFIG_TEXT, AT(user), NULL},
    {"pass", CONFIG_TEXT, AT(pass), NULL},
    {"password", CONFIG_TEXT, AT(pass), NULL},
    {"token", CONFIG_TEXT, AT(token), NULL},
    {"timeout", CONFIG_BLOCK, 0, timeout},
    {"users", CONFIG_BLOCK, 0, users},
    {"default_permission", CONFIG_BLOCK, 0, otherwise},
    {"default_permissions", CONFIG_BLOCK, 0, otherwise},
    {"permissions", CONFIG_BLOCK, 0, otherwise},
    {"auth_callout", CONFIG_BLOCK, 0, config_callout},
    {"auth_hook", CONFIG_BLOCK, 0, config_callout},
    {"proxy_required", CONFIG_FLAG, AT(proxies.required), NULL},
};

bool config_authorization(struct config_context *c, const struct conf_value *v)
{
    struct options *o = c->o;

    o->auth_block = true;
    if (!config_apply_map(c, v, "authorization", keys, ARRAY_LEN(keys)))
        return false;
    if (o->token != NULL && o->user != NULL)
        return config_fail(c, v, "Cannot have a user/pass and token");
    if (o->users.n > 0 && o->user != NULL)
        return config_fail(c, v, "Can not have a single user/pass and a users array");
    if (o->users.n > 0 && o->token != NULL)
        return config_fail(c, v, "Can not have a token and a users array");
    return true;
}
