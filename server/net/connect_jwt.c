/*
 * connect_jwt.c - clients that come with signed claims: operator mode.
 *
 *     CONNECT {jwt, sig} -> claims of the user -> its account, known  -> login -> bound and open
 *                                                       \-> looked up -/     \-> Authorization
 *                                                                                Violation
 *
 * The token names the key of its account. An account that is known has its claims at hand; another
 * one is fetched by the main thread (env->lookup), and the connection waits as for a slow password.
 * Fetches come from clients that nobody has let in yet: LOOKUPS_MAX of them may be under way per
 * worker, the next one is refused.
 *
 * A login ends at its time (User Authentication Expired), or when new claims of its account say so.
 */
#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "server/auth/login.h"
#include "server/config/options.h"
#include "server/net/callout.h"
#include "server/net/conn.h"

#include <sodium.h>
#include <string.h>
#include <time.h>

#define LOOKUPS_MAX 1024u
#define SECOND 1000000000ll

/* What is kept of a login. */
struct signed_in {
    struct conn *conn;
    struct login *login;
    struct wheel_timer expiry;
};

/* ---- being logged in ------------------------------------------------------------------------- */

static void expire(struct wheel_timer *t)
{
    struct signed_in *s = CONTAINER_OF(t, struct signed_in, expiry);
    char text[CONN_TEXT_MAX];

    LOG_DBG(s->conn->net->env->log, "%s - User Authentication Expired", conn_text(s->conn, text));
    conn_fail(s->conn, REASON_AUTH_EXPIRED, STR("User Authentication Expired"));
}

void connect_sign_out(struct conn *c)
{
    if (c->signed_in == NULL)
        return;
    if (c->login == &c->signed_in->login->user) {
        c->login = NULL;
        c->may = NULL;
    }
    io_timer_stop(c->net->env->io, &c->signed_in->expiry);
    login_close(c->signed_in->login);
    mem_free(c->signed_in);
    c->signed_in = NULL;
}

void connect_sign_in(struct conn *c, struct login *l)
{
    struct io *io = c->net->env->io;
    struct signed_in *s = mem_zalloc(sizeof(*s));
    int64_t left = l->until - io_wall(io);

    connect_sign_out(c);
    s->conn = c;
    s->login = l;
    wheel_timer_init(&s->expiry, expire);
    c->signed_in = s;
    if (l->until != 0)
        io_timer_start(io, &s->expiry, io_now(io) + (left > 0 ? (uint64_t) left : 0));
    connect_opened(c, &l->user);
    if (c->state != CONN_CLOSING)
        conn_set_limits(c);
}

void connect_login_reload(struct conn *c)
{
    login_defaults(c->signed_in->login, &c->net->env->options->accounts);
    connect_bind(c, &c->signed_in->login->user);
}

int64_t connect_own_payload(const struct conn *c)
{
    return c->signed_in != NULL ? c->signed_in->login->payload : -1;
}

int64_t connect_own_subscriptions(const struct conn *c)
{
    return c->signed_in != NULL ? c->signed_in->login->subscriptions : -1;
}

/* False: new claims of its account have ended the login. */
static bool stays_in(struct conn *c, const struct trust *before, const struct trust *now)
{
    if (c->signed_in == NULL)
        return true;
    switch (login_recheck(c->signed_in->login, before, now)) {
    case LOGIN_REFUSED:
        c->may = NULL;
        connect_refuse(c);
        return false;
    case LOGIN_REVOKED:
        conn_fail(c, REASON_REVOKED, STR("User Authentication Revoked"));
        return false;
    case LOGIN_CLOSED:
        conn_close(c, REASON_AUTH_FAILURE);
        return false;
    case LOGIN_STAYS:
        break;
    }
    return true;
}

void connect_account_changed(struct conn *c, const struct trust *before, const struct trust *now)
{
    if (!stays_in(c, before, now))
        return;
    conn_set_limits(c);
    /* Another server was told its permissions when it was bound: it comes back for new ones. */
    if (c->leaf == NULL && c->signed_in != NULL)
        connect_bind(c, &c->signed_in->login->user);
    else if (c->signed_in != NULL && login_permissions_changed(c->signed_in->login, before, now))
        conn_close(c, REASON_AUTH_FAILURE);
}

/* ---- who it is ------------------------------------------------------------------------------- */

static void refuse(struct conn *c, struct buf *why)
{
    char text[CONN_TEXT_MAX];

    LOG_DBG(c->net->env->log, "%s - %s", conn_text(c, text), buf_cstr(why));
    connect_refuse(c);
}

int64_t net_zone_offset(int64_t now)
{
    time_t t = (time_t) (now / SECOND);
    struct tm local;

    return localtime_r(&t, &local) != NULL ? local.tm_gmtoff : 0;
}

/* NULL: it is not known, or what is known does not hold any more. */
static struct account *known_account(struct env *env, const char *name, const struct trust **trust)
{
    struct account *a = account_set_find(env->accounts, str_of(name));

    *trust = a != NULL ? atomic_load(&a->trust) : NULL;
    return *trust != NULL && !atomic_load(&a->expired) ? a : NULL;
}

/* The account has its users looked at by a service, all but those of the service. */
static bool is_delegated(const struct trust *t, const struct login *l)
{
    return t->claims.auth_users.n > 0 && !trust_is_auth_user(t, l->user.nkey);
}

/* What a connection is for a user's "allowed_connection_types". */
static enum connection_type type_of(const struct conn *c)
{
    if (c->leaf != NULL)
        return c->ws != NULL ? CONNECTION_LEAFNODE_WS : CONNECTION_LEAFNODE;
    return c->door == NET_WEBSOCKET ? CONNECTION_WEBSOCKET : CONNECTION_STANDARD;
}

static void put_quoted(struct buf *b, const char *before, const char *text)
{
    buf_puts(b, before);
    jput_string(b, str_of(jwt_text(text)));
}

static void put_tags(struct buf *b, const struct str_list *tags)
{
    buf_puts(b, ", claim-tags: [");
    for (size_t i = 0; i < tags->n; i++)
        put_quoted(b, i > 0 ? " " : "", tags->items[i]);
    buf_puts(b, "])");
}

/* By whose word it is let in. */
static void say_authenticated(const struct conn *c, const struct trust *t,
                              const struct user_claims *u)
{
    struct log *log = c->net->env->log;
    struct buf b = {0};
    char who[CONN_TEXT_MAX];

    if (!log_on(log, LOG_DEBUG))
        return;
    buf_puts(&b, c->leaf != NULL ? "Leafnode" : "Client");
    put_quoted(&b, " ", u->jwt.subject);
    put_quoted(&b, " (claim-name: ", u->jwt.name);
    put_tags(&b, &u->jwt.tags);
    put_quoted(&b, " signed with ", u->jwt.issuer);
    put_quoted(&b, " by Account ", t->claims.jwt.subject);
    put_quoted(&b, " (claim-name: ", t->claims.jwt.name);
    put_tags(&b, &t->claims.jwt.tags);
    put_quoted(&b, " signed with ", t->claims.jwt.issuer);
    buf_printf(&b, " has mappings %s", t->claims.nmappings > 0 ? "true" : "false");
    LOG_DBG(log, "%s - Authenticated JWT: %s", conn_text(c, who), buf_cstr(&b));
    buf_free(&b);
}

/* For others to see: of a bearer it would let them in. */
static void keep_token(struct conn *c, struct str token)
{
    mem_free(c->jwt);
    c->jwt = token.n > 0 ? mem_strndup(token.p, token.n) : NULL;
}

static void log_in(struct conn *c, const struct trust *t, const struct user_claims *u,
                   struct str sig, struct str connect_opts)
{
    struct buf err = {0};
    struct login *l = login_open(t, u,
                                 &(struct login_claim){
                                     .sig = sig,
                                     .nonce = str_of(c->nonce != NULL ? c->nonce : ""),
                                     .address = c->peer.host,
                                     .type = type_of(c),
                                     .proxied = c->proxied,
                                     .now = io_wall(c->net->env->io),
                                     .offset = net_zone_offset(io_wall(c->net->env->io)),
                                 },
                                 &err);

    if (l == NULL) {
        refuse(c, &err);
    } else if (is_delegated(t, l)) {
        connect_name(c, l->user.nkey);
        callout_start(
            c, &(struct callout_ask){
                   .account = account_set_find(c->net->env->accounts, str_of(l->user.account)),
                   .trust = t,
                   .login = l,
                   .connect_opts = connect_opts,
                   .proxy_required = u->limits.proxy_required,
               });
        login_close(l);
    } else {
        if (l->bearer) /* by the key that signed it */
            keep_token(c, STR_NONE);
        say_authenticated(c, t, u);
        connect_sign_in(c, l);
    }
    buf_free(&err);
}

/* ---- accounts that are not known yet --------------------------------------------------------- */

struct looking_up {
    struct checking checking;
    struct account_lookup lookup;
    struct user_claims user;
    char *sig, *connect_opts;
};

static void looked_up(struct account_lookup *l)
{
    struct looking_up *k = CONTAINER_OF(l, struct looking_up, lookup);
    struct conn *c = k->checking.conn;
    const struct trust *trust = NULL;
    struct buf err = {0};

    c->net->lookups--;
    c->checking = NULL; /* something else may be waited for now */
    if (c->state != CONN_CLOSING) {
        if (l->found && !k->checking.refused)
            known_account(c->net->env, l->name, &trust);
        if (trust != NULL) {
            log_in(c, trust, &k->user, str_of(k->sig), str_of(k->connect_opts));
        } else {
            buf_puts(&err, "Account JWT lookup error");
            refuse(c, &err);
        }
    }
    connect_pass_on(&k->checking);
    user_claims_free(&k->user);
    mem_free(k->sig);
    sodium_memzero(k->connect_opts, strlen(k->connect_opts));
    mem_free(k->connect_opts);
    buf_free(&err);
    mem_free(k);
}

static void look_up(struct conn *c, struct user_claims *u, struct str sig, struct str connect_opts)
{
    struct env *env = c->net->env;
    struct looking_up *k;
    struct buf err = {0};

    if (env->lookup == NULL || c->net->lookups >= LOOKUPS_MAX ||
        !nkey_is(str_of(login_account(u)), NKEY_ACCOUNT)) {
        buf_puts(&err, "Account JWT lookup error");
        refuse(c, &err);
        buf_free(&err);
        user_claims_free(u);
        return;
    }
    k = mem_zalloc(sizeof(*k));
    memcpy(k->lookup.name, login_account(u), NKEY_LEN);
    k->lookup.done = looked_up;
    k->lookup.worker = env->worker;
    k->user = *u;
    k->sig = mem_strndup(sig.n > 0 ? sig.p : "", sig.n);
    k->connect_opts = mem_strndup(connect_opts.p, connect_opts.n);
    c->net->lookups++;
    connect_wait(c, &k->checking);
    env->lookup(env, &k->lookup);
}

/* ---- CONNECT --------------------------------------------------------------------------------- */

void connect_jwt(struct conn *c, struct str token, struct str sig, struct str connect_opts)
{
    struct env *env = c->net->env;
    const struct operators *o = &env->options->operators;
    const struct trust *trust;
    struct user_claims u;
    struct buf err = {0};

    if (token.n == 0 && o->default_sentinel != NULL)
        token = str_of(o->default_sentinel);
    keep_token(c, STR_NONE);
    if (!login_claims(token, io_wall(env->io), &u, &err)) {
        refuse(c, &err);
        buf_free(&err);
        return;
    }
    if (!u.limits.bearer)
        keep_token(c, str_trim(token));
    if (!login_account_pinned(o, login_account(&u))) {
        c->net->stats.pinned_account_fails++;
        buf_printf(&err, "Account %s not listed as operator pinned account", login_account(&u));
        refuse(c, &err);
        user_claims_free(&u);
    } else if (known_account(env, login_account(&u), &trust) != NULL) {
        log_in(c, trust, &u, sig, connect_opts);
        user_claims_free(&u);
    } else {
        look_up(c, &u, sig, connect_opts);
    }
    buf_free(&err);
}

/* ---- for others to see ----------------------------------------------------------------------- */

const struct login *connect_login(const struct conn *c)
{
    return c->signed_in != NULL ? c->signed_in->login : NULL;
}

const char *connect_account_tag(const struct account *a)
{
    const struct trust *t = atomic_load(&a->trust);

    return t != NULL && t->claims.jwt.name != NULL ? t->claims.jwt.name : a->name;
}
