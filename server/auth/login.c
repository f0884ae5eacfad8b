/*
 * login.c - the order of the checks is the peer's, and so are the texts, which go to its debug log:
 * a client hears "Authorization Violation" whatever it was.
 */
#include "server/auth/login.h"

#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/auth/template.h"
#include "server/config/options.h"

#include <string.h>
#include <strings.h>

#define SECOND 1000000000ll
#define DAY 86400ll

static bool refuse(struct buf *err, const char *text)
{
    buf_puts(err, text);
    return false;
}

void login_close(struct login *l)
{
    if (l == NULL)
        return;
    mem_free(l->user.name);
    mem_free(l->user.nkey);
    mem_free(l->user.account);
    permissions_free(l->user.may);
    mem_free(l->name);
    mem_free(l->issuer);
    str_list_free(&l->tags);
    mem_free(l);
}

bool login_claims(struct str token, int64_t now, struct user_claims *out, struct buf *err)
{
    struct jwt_issues is = {0};
    bool ok;

    if (token.n == 0)
        return refuse(err, "Authentication requires a user JWT");
    if (!user_claims_read(token, out, err))
        return false;
    user_claims_check(out, now / SECOND, &is);
    ok = !jwt_issues_block(&is, true);
    if (!ok) {
        buf_puts(err, "User JWT no longer valid: ");
        buf_puts(err, is.list[0].text);
        user_claims_free(out);
    }
    jwt_issues_free(&is);
    return ok;
}

const char *login_account(const struct user_claims *u)
{
    return u->jwt.issuer_account != NULL ? u->jwt.issuer_account : jwt_text(u->jwt.issuer);
}

bool login_account_pinned(const struct operators *o, const char *account)
{
    for (size_t i = 0; i < o->pinned.n; i++)
        if (strcmp(o->pinned.items[i], account) == 0)
            return true;
    return !o->pinned_set;
}

/* ---- where, when and how --------------------------------------------------------------------- */

static bool from_there(const struct jwt_user_limits *l, const char *address)
{
    struct jwt_network net;

    for (size_t i = 0; i < l->src.n; i++) {
        if (!jwt_network_parse(str_of(l->src.items[i]), &net))
            return false;
        if (jwt_network_has(&net, address))
            return true;
    }
    return l->src.n == 0;
}

/* Seconds that are left in a range which the time of day is in; 0 = it is not. */
static int64_t left_in(int start, int end, int64_t at)
{
    if (start < at && at < end)
        return end - at;
    if (start > end && at < end)
        return end - at;
    if (start > end && start < at)
        return end + DAY - at;
    return 0;
}

/* False: not now. *left: seconds for which it holds; 0 = for ever. */
static bool at_that_time(const struct jwt_user_limits *l, const struct login_claim *c,
                         int64_t *left)
{
    int64_t offset = l->locale != NULL && strcmp(l->locale, "Local") != 0 ? 0 : c->offset;
    int64_t at = (c->now / SECOND + offset) % DAY;

    *left = 0;
    for (size_t i = 0; i < l->ntimes; i++) {
        int start = jwt_time_of_day(l->times[i].start), end = jwt_time_of_day(l->times[i].end);
        int64_t n = start >= 0 && end >= 0 ? left_in(start, end, at) : 0;
        *left = n > *left ? n : *left;
    }
    return l->ntimes == 0 || *left > 0;
}

/* Zones by name would have to be read: users whose times are in one are kept out. */
static bool zone_known(const struct jwt_user_limits *l)
{
    return l->locale == NULL || strcmp(l->locale, "UTC") == 0 || strcmp(l->locale, "Local") == 0;
}

static bool this_way(const struct jwt_user_limits *l, enum connection_type type)
{
    static const char *const names[] = {"STANDARD", "WEBSOCKET", "LEAFNODE",  "LEAFNODE_WS",
                                        "MQTT",     "MQTT_WS",   "IN_PROCESS"};

    /* Types that nobody knows allow nothing, but are not nothing. */
    for (size_t i = 0; i < l->connection_types.n; i++)
        if (strcasecmp(l->connection_types.items[i], names[type]) == 0)
            return true;
    return l->connection_types.n == 0;
}

/* ---- permissions ----------------------------------------------------------------------------- */

static bool take_permissions(struct login *l, const struct jwt_permissions *p, struct buf *err)
{
    if (!permissions_of_jwt_fit(p))
        return refuse(err, "too many permissions");
    l->user.may = permissions_of_jwt(p);
    return true;
}

static bool set_permissions(struct login *l, const struct user_claims *u,
                            const struct jwt_user_limits *scope, const struct trust *t,
                            struct buf *err)
{
    struct jwt_permissions filled = {0};
    bool ok = true;

    if (scope != NULL) {
        static const struct str_list none;
        struct template_user who = {
            .name = jwt_text(u->jwt.name),
            .subject = jwt_text(u->jwt.subject),
            .account_name = t != NULL ? jwt_text(t->claims.jwt.name) : "",
            .account_subject = jwt_text(u->jwt.issuer_account),
            .tags = &u->jwt.tags,
            .account_tags = t != NULL ? &t->claims.jwt.tags : &none,
        };
        ok = template_fill(&scope->may, &who, &filled, err) && take_permissions(l, &filled, err);
        jwt_permissions_free(&filled);
    } else {
        ok = take_permissions(l, &u->limits.may, err);
    }
    l->by_default = ok && l->user.may == NULL;
    if (l->by_default && t != NULL)
        ok = take_permissions(l, &t->claims.otherwise, err);
    return ok;
}

struct login *login_of_answer(const struct user_claims *u, const struct jwt_user_limits *scope,
                              const char *account, const struct trust *t,
                              const struct login_claim *c, struct buf *err)
{
    const struct jwt_user_limits *limits = scope != NULL ? scope : &u->limits;
    struct login *l;
    int64_t left, ends;

    if (!zone_known(limits) || !at_that_time(limits, c, &left)) {
        refuse(err, "Outside connect times");
        return NULL;
    }
    l = mem_zalloc(sizeof(*l));
    l->user.nkey = mem_strdup(jwt_text(u->jwt.subject));
    l->user.account = mem_strdup(account);
    l->user.kinds = USER_ANY_KIND;
    l->name = u->jwt.name != NULL ? mem_strdup(u->jwt.name) : NULL;
    l->issuer = u->jwt.issuer_account != NULL ? mem_strdup(jwt_text(u->jwt.issuer)) : NULL;
    str_list_copy(&l->tags, &u->jwt.tags);
    l->issued_at = u->jwt.issued_at;
    l->subscriptions = limits->subscriptions;
    l->payload = limits->payload;
    l->bearer = limits->bearer;
    ends = u->jwt.expires > 0 ? u->jwt.expires * SECOND : 0;
    l->until = left > 0 ? c->now + left * SECOND : 0;
    if (ends > 0 && (l->until == 0 || ends < l->until))
        l->until = ends;
    if (!set_permissions(l, u, scope, t, err)) {
        login_close(l);
        return NULL;
    }
    return l;
}

void login_defaults(struct login *l, const struct accounts *accounts)
{
    const struct account_options *a = accounts_find(accounts, l->user.account);

    if (!l->by_default || a == NULL)
        return;
    permissions_free(l->user.may);
    l->user.may = a->otherwise != NULL ? permissions_copy(a->otherwise) : NULL;
}

/* ---- the whole ------------------------------------------------------------------------------- */

static bool issued_by(const struct trust *t, const struct user_claims *u,
                      const struct jwt_user_limits **scope, struct buf *err)
{
    if (!trust_signs(t, jwt_text(u->jwt.issuer), scope))
        return refuse(err, "User JWT issuer is not known");
    if (*scope != NULL && !jwt_user_limits_empty(&u->limits))
        return refuse(err, "User JWT is not valid: scoped users require no permissions or limits "
                           "set");
    return true;
}

static bool signed_nonce(const struct user_claims *u, const struct login_claim *c, struct buf *err)
{
    if (c->sig.n == 0)
        return refuse(err, "Signature missing");
    return nkey_verify(str_of(u->jwt.subject), c->sig, c->nonce) ||
           refuse(err, "Signature not verified");
}

struct login *login_open(const struct trust *t, const struct user_claims *u,
                         const struct login_claim *c, struct buf *err)
{
    const struct jwt_user_limits *scope, *limits;

    if (u->limits.proxy_required && !c->proxied) {
        refuse(err, "proxy connection required");
        return NULL;
    }
    if (!issued_by(t, u, &scope, err))
        return NULL;
    limits = scope != NULL ? scope : &u->limits;
    if (limits->bearer && t->claims.disallow_bearer)
        refuse(err, "Account does not allow bearer tokens");
    else if (!this_way(limits, c->type))
        refuse(err, "Connection type not allowed");
    else if (!limits->bearer && !signed_nonce(u, c, err))
        return NULL;
    else if (trust_revoked(t, jwt_text(u->jwt.subject), u->jwt.issued_at))
        refuse(err, "User authentication revoked");
    else if (!from_there(limits, c->address))
        refuse(err, "Bad src Ip");
    else
        return login_of_answer(u, scope, jwt_text(t->claims.jwt.subject), t, c, err);
    return NULL;
}

/* ---- new claims of the account --------------------------------------------------------------- */

static bool same_list(const struct str_list *a, const struct str_list *b)
{
    return str_list_eq(a, b);
}

static bool same_permissions(const struct jwt_permissions *a, const struct jwt_permissions *b)
{
    return same_list(&a->pub_allow, &b->pub_allow) && same_list(&a->pub_deny, &b->pub_deny) &&
           same_list(&a->sub_allow, &b->sub_allow) && same_list(&a->sub_deny, &b->sub_deny) &&
           a->responses == b->responses && a->responses_max == b->responses_max &&
           a->responses_ns == b->responses_ns;
}

static bool same_text(const char *a, const char *b)
{
    return strcmp(jwt_text(a), jwt_text(b)) == 0;
}

static bool same_scope(const struct jwt_user_limits *a, const struct jwt_user_limits *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->ntimes != b->ntimes)
        return false;
    for (size_t i = 0; i < a->ntimes; i++)
        if (!same_text(a->times[i].start, b->times[i].start) ||
            !same_text(a->times[i].end, b->times[i].end))
            return false;
    return same_permissions(&a->may, &b->may) && same_list(&a->src, &b->src) &&
           same_list(&a->connection_types, &b->connection_types) &&
           same_text(a->locale, b->locale) && a->subscriptions == b->subscriptions &&
           a->data == b->data && a->payload == b->payload && a->bearer == b->bearer &&
           a->proxy_required == b->proxy_required;
}

/* A key that signs no more, or gives something else: its users have to come back. */
static bool key_gone(const struct login *l, const struct trust *before, const struct trust *t)
{
    const struct jwt_user_limits *was = NULL, *is = NULL;

    if (l->issuer == NULL)
        return false;
    if (!trust_signs(t, l->issuer, &is))
        return true;
    return before != NULL && trust_signs(before, l->issuer, &was) && !same_scope(was, is);
}

enum login_end login_recheck(struct login *l, const struct trust *before, const struct trust *t)
{
    if (l->bearer && t->claims.disallow_bearer)
        return LOGIN_REFUSED;
    if (trust_revoked(t, l->user.nkey, l->issued_at))
        return LOGIN_REVOKED;
    if (key_gone(l, before, t))
        return LOGIN_CLOSED;
    if (l->by_default) {
        permissions_free(l->user.may);
        l->user.may = permissions_of_jwt(&t->claims.otherwise);
    }
    return LOGIN_STAYS;
}

bool login_permissions_changed(const struct login *l, const struct trust *before,
                               const struct trust *t)
{
    return l->by_default &&
           (before == NULL || !same_permissions(&before->claims.otherwise, &t->claims.otherwise));
}
