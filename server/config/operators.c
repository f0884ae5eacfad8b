/* operators.c - what operator mode takes from the operators' own claims, and what it excludes. */
#include "server/config/operators.h"

#include "lib/base/mem.h"
#include "server/config/options.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll

/* The version whose features the server has, for operators that ask for a minimum. */
static const int64_t version[3] = {2, 15, 1};

void operators_free(struct operators *o)
{
    for (size_t i = 0; i < o->n; i++)
        operator_claims_free(&o->list[i]);
    mem_free(o->list);
    str_list_free(&o->tokens);
    str_list_free(&o->trusted);
    str_list_free(&o->pinned);
    mem_free(o->resolver.url);
    mem_free(o->resolver.dir);
    tls_options_free(&o->resolver.tls);
    for (size_t i = 0; i < o->npreload; i++) {
        mem_free(o->preload[i].account);
        mem_free(o->preload[i].token);
    }
    mem_free(o->preload);
    if (o->default_sentinel != NULL)
        sodium_memzero(o->default_sentinel, strlen(o->default_sentinel));
    mem_free(o->default_sentinel);
    memset(o, 0, sizeof(*o));
}

static bool lists(const struct str_list *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], text) == 0)
            return true;
    return false;
}

bool operators_on(const struct options *o)
{
    return o->operators.n > 0 || o->operators.trusted.n > 0;
}

bool operators_trust(const struct options *o, const char *issuer)
{
    return lists(&o->operators.trusted, issuer);
}

bool operators_strict(const struct options *o, const char *issuer)
{
    for (size_t i = 0; i < o->operators.n; i++)
        if (o->operators.list[i].strict_signing_keys &&
            lists(&o->operators.list[i].signing_keys, issuer))
            return true;
    return false;
}

/* Trusted keys and operators exclude each other (operators_check), so that the list is empty. */
static void add_trusted(struct operators *o)
{
    if (o->trusted.n > 0)
        return;
    for (size_t i = 0; i < o->n; i++) {
        if (!o->list[i].strict_signing_keys)
            str_list_add(&o->trusted, str_of(jwt_text(o->list[i].jwt.subject)));
        str_list_copy(&o->trusted, &o->list[i].signing_keys);
    }
}

void operators_finish(struct options *o)
{
    struct operators *p = &o->operators;
    struct resolver_options *r = &p->resolver;

    if (p->n == 1 && o->system_account == NULL && p->list[0].system_account != NULL)
        o->system_account = mem_strdup(p->list[0].system_account);
    if (p->n == 1 && r->kind == RESOLVER_NONE && p->list[0].account_server_url != NULL) {
        struct buf url = {0};
        buf_printf(&url, "%s/accounts/", p->list[0].account_server_url);
        r->kind = RESOLVER_URL;
        r->url = mem_strdup(buf_cstr(&url));
        buf_free(&url);
    }
    if (r->interval_ns <= 0)
        r->interval_ns = 60 * SECOND;
    if (r->timeout_ns <= 0)
        r->timeout_ns = 2 * SECOND;
    if (r->kind == RESOLVER_CACHE && r->limit <= 0)
        r->limit = 1000;
    /* Accounts of the pinned are compared by key; the system account is always one of them. */
    if (p->pinned.n > 0 && o->system_account != NULL && !lists(&p->pinned, o->system_account))
        str_list_add(&p->pinned, str_of(o->system_account));
    if (!p->pinned_set)
        str_list_free(&p->pinned);
    add_trusted(p);
}

/* ---- checks ---------------------------------------------------------------------------------- */

static bool check_sentinel(const struct operators *p, char why[256])
{
    struct user_claims u;
    struct buf err = {0};
    bool ok;

    if (p->default_sentinel == NULL)
        return true;
    ok = user_claims_read(str_of(p->default_sentinel), &u, &err);
    buf_free(&err);
    if (!ok) {
        snprintf(why, 256, "default sentinel JWT not valid");
        return false;
    }
    /* A user without anything of its own may be a scoped one: that shows when it is used. */
    ok = u.limits.bearer || (u.jwt.issuer_account != NULL && jwt_user_limits_empty(&u.limits));
    if (!ok)
        snprintf(why, 256, "default sentinel must be a bearer token");
    user_claims_free(&u);
    return ok;
}

static bool check_system(const struct options *o, char why[256])
{
    const struct operators *p = &o->operators;
    bool said = false, same = false;

    for (size_t i = 0; i < p->n; i++) {
        const char *of = p->list[i].system_account;
        said |= of != NULL;
        same |= of != NULL && o->system_account != NULL && strcmp(of, o->system_account) == 0;
    }
    if (o->system_account != NULL && said && !same)
        snprintf(why, 256, "system_account in config and operator JWT must be identical");
    else if (o->system_account == NULL && p->list[0].system_account == NULL &&
             (p->resolver.kind == RESOLVER_FULL || p->resolver.kind == RESOLVER_CACHE))
        snprintf(why, 256,
                 "using nats based account resolver - the system account needs to be specified in "
                 "configuration or the operator jwt");
    else
        return true;
    return false;
}

/* "1.2.3"; empty is 0.0.0. False with a text. */
static bool parse_version(const char *text, int64_t out[3], char why[256])
{
    struct str rest = str_of(text);

    out[0] = out[1] = out[2] = 0;
    if (text[0] == '\0')
        return true;
    for (unsigned i = 0; i < 3; i++) {
        struct str part = str_cut(rest, '.', &rest);
        if ((rest.p == NULL) != (i == 2)) {
            snprintf(why, 256,
                     "asserted server version must be of the form <major>.<minor>.<update>");
            return false;
        }
        if (!str_to_i64(part, &out[i])) {
            snprintf(why, 256, "asserted server version cant parse %.*s to int", STR_ARG(part));
            return false;
        }
        if (out[i] < 0) {
            snprintf(why, 256, "asserted server version can'b contain negative values: %.64s",
                     text);
            return false;
        }
    }
    return true;
}

static bool check_version(const struct operator_claims *o, char why[256])
{
    static const char *const parts[] = {"major", "minor", "update"};
    const char *text = jwt_text(o->assert_server_version);
    char error[256];
    int64_t wanted[3];

    if (!parse_version(text, wanted, error)) {
        snprintf(why, 256, "operator %s expects version %.32s got error instead: %.100s",
                 jwt_text(o->jwt.subject), text, error);
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (wanted[i] < version[i])
            return true;
        if (wanted[i] > version[i]) {
            snprintf(why, 256, "operator %s expected %s version %lld > server %s version %lld",
                     jwt_text(o->jwt.subject), parts[i], (long long) wanted[i], parts[i],
                     (long long) version[i]);
            return false;
        }
    }
    return true;
}

static bool check_keys(const struct operators *p, char why[256])
{
    for (size_t i = 0; i < p->trusted.n; i++)
        if (!nkey_is(str_of(p->trusted.items[i]), NKEY_OPERATOR)) {
            snprintf(why, 256,
                     "trusted Keys \"%.100s\" are required to be a valid public operator nkey",
                     p->trusted.items[i]);
            return false;
        }
    for (size_t i = 0; i < p->pinned.n; i++)
        if (!nkey_is(str_of(p->pinned.items[i]), NKEY_ACCOUNT)) {
            snprintf(why, 256, "pinned account key \"%.100s\" is not a valid public account nkey",
                     p->pinned.items[i]);
            return false;
        }
    return true;
}

static bool check_preload(const struct operators *p, char why[256])
{
    if (p->npreload == 0 || (p->resolver.kind != RESOLVER_NONE && p->resolver.kind != RESOLVER_URL))
        return true;
    snprintf(why, 256,
             "resolver preloads only available for writeable resolver types "
             "MEM/DIR/CACHE_DIR");
    return false;
}

bool operators_check(const struct options *o, char why[256])
{
    const struct operators *p = &o->operators;

    if (p->n == 0 && p->default_sentinel != NULL)
        snprintf(why, 256, "default sentinel requires operators and accounts");
    else if (p->n == 0)
        return check_keys(p, why);
    else if (!check_sentinel(p, why))
        return false;
    else if (p->resolver.kind == RESOLVER_NONE)
        snprintf(why, 256, "operators require an account resolver to be configured");
    else if (o->accounts.n > 0)
        snprintf(why, 256, "operators do not allow Accounts to be configured directly");
    else if (o->users.n > 0)
        snprintf(why, 256, "operators do not allow users to be configured directly");
    else if (o->no_auth_user != NULL)
        snprintf(why, 256, "no_auth_user not compatible with Trusted Operator");
    else if (o->callout.issuer != NULL)
        snprintf(why, 256,
                 "operators do not allow authorization callouts to be configured "
                 "directly");
    else if (!check_system(o, why) || !check_preload(p, why))
        return false;
    else {
        for (size_t i = 0; i < p->n; i++)
            if (!check_version(&p->list[i], why))
                return false;
        return check_keys(p, why);
    }
    return false;
}
