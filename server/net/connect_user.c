/*
 * connect_user.c - who a connection is let in as: its user, its account, what it may do.
 *
 * Which options count depends on the door (leaf nodes and WebSocket may have users of their own). A
 * connection is bound to a user when its CONNECT was good, when it says nothing and the options
 * name somebody for that, and again when a reload changes what its user may do.
 */
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/auth/trust.h"
#include "server/auth/verdicts.h"
#include "server/config/options.h"
#include "server/net/callout.h"
#include "server/net/conn.h"
#include "server/net/connect_int.h"
#include "server/net/event.h"
#include "server/net/leaf.h"

#include <string.h>

void connect_keep(char **at, struct str s)
{
    char *old = *at;

    *at = s.n > 0 ? mem_strndup(s.p, s.n < 256 ? s.n : 256) : NULL;
    mem_free(old);
}

void connect_refuse(struct conn *c)
{
    connect_refuse_for(c, REASON_AUTH_FAILURE);
}

void connect_refuse_for(struct conn *c, enum conn_reason reason)
{
    connect_refuse_in(c, c->account, reason);
}

void connect_refuse_in(struct conn *c, struct account *whose, enum conn_reason reason)
{
    char who[CONN_TEXT_MAX];

    if (c->user != NULL)
        LOG_ERR(c->net->env->log, "%s - authentication error - %s \"%s\"", conn_text(c, who),
                c->claims != NULL ? c->claims : "User", c->user);
    else
        LOG_ERR(c->net->env->log, "%s - authentication error", conn_text(c, who));
    event_refused(c, whose, conn_reason_text(reason));
    conn_fail(c, reason, STR("Authorization Violation"));
}

void connect_name(struct conn *c, const char *user)
{
    connect_keep(&c->user, str_of(user));
}

/* ---- whose credentials count ------------------------------------------------------------------
 */

/* Those of o, or those of the connection's door in a copy. */
const struct options *connect_at_door(const struct conn *c, const struct options *o,
                                      struct options *copy)
{
    const struct websocket_options *w = &o->websocket;
    const struct leaf_options *l = &o->leaf;

    if (c->door == NET_LEAFS && (l->user != NULL || l->users.n > 0)) {
        *copy = *o;
        copy->user = l->user;
        copy->pass = l->pass;
        copy->token = copy->no_auth_user = NULL;
        copy->users = l->users;
        copy->auth_block = true;
        return copy;
    }
    if (c->door != NET_WEBSOCKET || !websocket_has_auth(w))
        return o;
    *copy = *o;
    copy->user = w->user;
    copy->pass = w->pass;
    copy->token = w->token;
    copy->no_auth_user = w->no_auth_user;
    copy->auth_block = true;
    return copy;
}

const struct options *connect_options(const struct conn *c, struct options *copy)
{
    return connect_at_door(c, c->net->env->options, copy);
}

/* As allowed_connection_types names it. */
uint8_t connect_kind(const struct conn *c)
{
    return c->leaf != NULL            ? (c->ws != NULL ? USER_LEAFNODE_WS : USER_LEAFNODE)
           : c->door == NET_WEBSOCKET ? USER_WEBSOCKET
                                      : USER_STANDARD;
}

bool connect_announced(const struct conn *c)
{
    struct options own;

    return c->leaf != NULL || auth_announced(connect_options(c, &own));
}

/* ---- the user ---------------------------------------------------------------------------------
 */

void connect_leave_account(struct conn *c)
{
    struct account *a = c->account;
    struct env *env = c->net->env;

    if (!c->in_account)
        return;
    c->in_account = false;
    atomic_fetch_sub(&a->connections, 1);
    atomic_fetch_add(&a->gone.in_msgs, c->in_msgs);
    atomic_fetch_add(&a->gone.in_bytes, c->in_bytes);
    atomic_fetch_add(&a->gone.out_msgs, c->out_msgs);
    atomic_fetch_add(&a->gone.out_bytes, c->out_bytes);
    if (c->state == CONN_CLOSING &&
        (c->reason == REASON_SLOW_PENDING || c->reason == REASON_SLOW_DEADLINE))
        atomic_fetch_add(&a->gone.slow_consumers, 1);
    if (env->account_changed != NULL)
        env->account_changed(env, a);
}

/* NULL: an account of the options that is not there yet, or was never made. */
struct account *connect_account_of(const struct conn *c, const struct user *user)
{
    const char *of_leafs = c->net->env->options->leaf.account;

    if (user == NULL && c->leaf != NULL && of_leafs != NULL)
        return account_set_find(c->net->env->accounts, str_of(of_leafs));
    if (user == NULL || user->account == NULL)
        return c->net->env->account;
    return account_set_find(c->net->env->accounts, str_of(user->account));
}

/* Over the limit of its account, or moved to another one by a reload, it can not stay. */
static bool enter_account(struct conn *c, struct account *a)
{
    int64_t max = a != NULL ? atomic_load(&a->max_connections) : 0;

    if (c->in_account && a == c->account)
        return true;
    if (a == NULL || (c->subs.count > 0 && a != c->account)) {
        conn_fail(c, REASON_AUTH_FAILURE, STR("Authorization Violation"));
        return false;
    }
    connect_leave_account(c);
    c->account = a;
    if (c->leaf != NULL) {
        conn_set_limits(c);
        return leaf_fits(c, a);
    }
    c->in_account = true;
    if (atomic_fetch_add(&a->connections, 1) >= max && max >= 0) {
        conn_fail(c, REASON_MAX_ACCOUNT_CONNECTIONS,
                  STR("maximum account active connections exceeded"));
        return false;
    }
    conn_set_limits(c);
    if (c->net->env->account_changed != NULL)
        c->net->env->account_changed(c->net->env, a);
    return true;
}

/* Who lives where the service listens that is asked about clients must not ask it. */
static bool must_not_ask(const struct conn *c)
{
    const struct options *o = c->net->env->options;
    const struct trust *t = atomic_load(&c->account->trust);

    if (operators_on(o))
        return t != NULL && t->claims.auth_users.n > 0;
    return o->callout.issuer != NULL && strcmp(c->account->name, o->callout.account) == 0;
}

static void set_permissions(struct conn *c, const struct user *user)
{
    struct permissions *own = NULL;

    c->may = user != NULL ? users_may(&c->net->env->options->users, user) : NULL;
    if (must_not_ask(c)) {
        own = permissions_copy(c->may);
        permissions_deny_publish(own, CALLOUT_SUBJECT);
        c->may = own;
    }
    permissions_free(c->own_may);
    c->own_may = own;
    verdicts_clear(&c->verdicts);
}

bool connect_bind(struct conn *c, const struct user *user)
{
    if (!enter_account(c, connect_account_of(c, user)))
        return false;
    c->login = user;
    set_permissions(c, user);
    if (user != NULL)
        connect_keep(&c->user, str_of(user->name != NULL ? user->name : user->nkey));
    if (c->may == NULL)
        answers_free(c);
    sub_recheck(c);
    return c->state != CONN_CLOSING; /* what it was told may have been too much for it */
}

void connect_nothing(struct conn *c)
{
    struct options own;
    struct auth_verdict v = auth_check_nothing(connect_options(c, &own));

    if (v.answer != AUTH_YES)
        return;
    connect_bind(c, v.user);
    c->by_nothing = v.by_nothing;
}

void connect_opened(struct conn *c, const struct user *user)
{
    c->by_nothing = false;
    if (!connect_bind(c, user))
        return;
    c->parser.headers = c->headers;
    c->parser.connect_only = false;
    if (c->leaf != NULL) {
        c->got_connect = true;
        leaf_bind(c);
        return;
    }
    c->state = CONN_OPEN;
    c->known = true;
    /* What it said first was waited for by the auth timer; what it says again may have been waited
     * for without any. */
    if ((!c->got_connect && connect_announced(c)) || !wheel_pending(&c->timer))
        conn_start_ping(c);
    c->got_connect = true;
    conn_put_ok(c);
    event_connect(c);
}

/* Let in by the options: what an earlier CONNECT's claims said is over. */
void connect_listed(struct conn *c, const struct user *user)
{
    bool signed_in = c->signed_in != NULL;

    connect_sign_out(c);
    connect_opened(c, user);
    if (signed_in && c->state != CONN_CLOSING)
        conn_set_limits(c);
}
