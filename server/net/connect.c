/*
 * connect.c - the CONNECT operation: JSON to connection settings, credentials to a verdict.
 *
 * Unknown fields are ignored; a value of the wrong type, or text that is no JSON object, closes the
 * connection without a word. A second CONNECT ends all subscriptions and is processed like the
 * first; when it has no credentials the client stays who it is.
 *
 * A password with a bcrypt hash takes up to a tenth of a second to check, which a pool thread does.
 * Meanwhile the connection reads nothing, and what came behind the CONNECT is kept:
 *
 *     CONNECT -> checking (held: the rest of that receive) -> bound and open, held is parsed
 *                                                          \-> Authorization Violation
 *
 * A connection that closes meanwhile is freed when the thread is done. In operator mode an account
 * that is not known yet is waited for in the same way (connect_jwt.c).
 */
#include "lib/base/base64.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "server/auth/auth.h"
#include "server/auth/dn.h"
#include "server/auth/login.h"
#include "server/auth/trust.h"
#include "server/auth/verdicts.h"
#include "server/config/options.h"
#include "server/net/callout.h"
#include "server/net/conn.h"
#include "server/net/event.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <jansson.h>
#include <sodium.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* ---- the text ---------------------------------------------------------------------------------
 */

/* What CONNECT may say. A later CONNECT keeps what it does not mention of an earlier one, except
 * for the credentials. */
struct said {
    bool verbose, pedantic, echo, headers, no_responders;
    bool tls_required, new_account;
    json_int_t protocol;
    struct str name, lang, version;
    struct str user, pass, token, nkey, sig, account, jwt, proxy_sig;
    struct str remote_account;
};

/* What is kept behind a CONNECT that waits is one receive, which is far more when it was compressed
 * (WebSocket): at most this, and this from who has not been let in yet. */
#define HELD_MAX (64u << 20)
#define HELD_STRANGER (1u << 20)

enum kind { FLAG, NUMBER, TEXT, RULES };

static const struct {
    const char *name;
    enum kind kind;
    size_t offset;
} fields[] = {
    {"verbose", FLAG, offsetof(struct said, verbose)},
    {"pedantic", FLAG, offsetof(struct said, pedantic)},
    {"echo", FLAG, offsetof(struct said, echo)},
    {"headers", FLAG, offsetof(struct said, headers)},
    {"no_responders", FLAG, offsetof(struct said, no_responders)},
    {"protocol", NUMBER, offsetof(struct said, protocol)},
    {"name", TEXT, offsetof(struct said, name)},
    {"lang", TEXT, offsetof(struct said, lang)},
    {"version", TEXT, offsetof(struct said, version)},
    {"user", TEXT, offsetof(struct said, user)},
    {"pass", TEXT, offsetof(struct said, pass)},
    {"auth_token", TEXT, offsetof(struct said, token)},
    {"nkey", TEXT, offsetof(struct said, nkey)},
    {"sig", TEXT, offsetof(struct said, sig)},
    {"account", TEXT, offsetof(struct said, account)},
    {"jwt", TEXT, offsetof(struct said, jwt)},
    {"proxy_sig", TEXT, offsetof(struct said, proxy_sig)},
    /* Read for their types alone, but for the second. */
    {"tls_required", FLAG, offsetof(struct said, tls_required)},
    {"new_account", FLAG, offsetof(struct said, new_account)},
    {"remote_account", TEXT, offsetof(struct said, remote_account)},
    {"import", RULES, 0},
    {"export", RULES, 0},
};

static bool take(void *at, enum kind kind, const json_t *v)
{
    if (kind == FLAG && json_is_boolean(v))
        *(bool *) at = json_is_true(v);
    else if (kind == NUMBER && json_is_integer(v))
        *(json_int_t *) at = json_integer_value(v);
    else if (kind == TEXT && json_is_string(v))
        *(struct str *) at = str_from(json_string_value(v), json_string_length(v));
    else
        return json_is_null(v) || (kind == RULES && json_is_object(v));
    return true;
}

/* The views are of the JSON object, and of the connection for what it does not mention. False when
 * a value has the wrong type. Names compare without case, as they do at the peer. */
static bool read_said(const struct conn *c, json_t *o, struct said *out)
{
    const char *key;
    json_t *v;

    *out = (struct said){
        .verbose = c->verbose,
        .pedantic = c->pedantic,
        .echo = c->echo,
        .headers = c->headers,
        .no_responders = c->no_responders,
        .protocol = c->protocol,
        .name = str_of(c->name != NULL ? c->name : ""),
        .lang = str_of(c->lang != NULL ? c->lang : ""),
        .version = str_of(c->version != NULL ? c->version : ""),
    };
    json_object_foreach(o, key, v)
    {
        for (size_t i = 0; i < ARRAY_LEN(fields); i++)
            if (strcasecmp(key, fields[i].name) == 0 &&
                !take((char *) out + fields[i].offset, fields[i].kind, v))
                return false;
    }
    return true;
}

static void keep(char **at, struct str s)
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
    char who[CONN_TEXT_MAX];

    if (c->user != NULL)
        LOG_ERR(c->net->env->log, "%s - authentication error - User \"%s\"", conn_text(c, who),
                c->user);
    else
        LOG_ERR(c->net->env->log, "%s - authentication error", conn_text(c, who));
    event_refused(c, conn_reason_text(reason));
    conn_fail(c, reason, STR("Authorization Violation"));
}

void connect_name(struct conn *c, const char *user)
{
    keep(&c->user, str_of(user));
}

/* ---- whose credentials count ------------------------------------------------------------------
 */

/* Those of o, or those of the connection's door in a copy. */
static const struct options *at_door(const struct conn *c, const struct options *o,
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
    return at_door(c, c->net->env->options, copy);
}

/* As allowed_connection_types names it. */
static uint8_t kind_of(const struct conn *c)
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

/* ---- settings ---------------------------------------------------------------------------------
 */

static bool accept_settings(struct conn *c, const struct said *said)
{
    bool headers = said->headers && !c->net->env->options->no_header_support;

    if (c->leaf == NULL && (said->protocol < 0 || said->protocol > 1)) {
        conn_fail(c, REASON_BAD_PROTOCOL, STR("invalid client protocol"));
        return false;
    }
    if (said->no_responders && !headers) {
        conn_fail(c, REASON_NO_RESPONDERS_HEADERS, STR("no responders requires headers support"));
        return false;
    }
    c->protocol = (uint8_t) said->protocol;
    c->verbose = said->verbose;
    c->pedantic = said->pedantic;
    c->echo = said->echo;
    c->headers = headers;
    c->no_responders = said->no_responders;
    return true;
}

/* Also of one that is refused: the log and events say it. */
static void take_names(struct conn *c, const struct said *said)
{
    int64_t age = io_wall(c->net->env->io) - c->start;

    keep(&c->name, said->name);
    keep(&c->lang, said->lang);
    keep(&c->version, said->version);
    if (c->rtt_ns == 0)
        c->rtt_ns = age > 0 ? age : 1;
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
static struct account *account_of(const struct conn *c, const struct user *user)
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
    if (!enter_account(c, account_of(c, user)))
        return false;
    c->login = user;
    set_permissions(c, user);
    if (user != NULL)
        keep(&c->user, str_of(user->name != NULL ? user->name : user->nkey));
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
static void open_listed(struct conn *c, const struct user *user)
{
    bool signed_in = c->signed_in != NULL;

    connect_sign_out(c);
    connect_opened(c, user);
    if (signed_in && c->state != CONN_CLOSING)
        conn_set_limits(c);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

void connect_hold(struct conn *c, struct str rest)
{
    struct buf *held = &c->checking->held;
    size_t most = c->parser.connect_only ? HELD_STRANGER : HELD_MAX;

    if (held->n + rest.n > most)
        conn_fail(c, REASON_MAX_PAYLOAD, STR("Maximum Payload Violation"));
    else
        buf_put_str(held, rest);
}

void connect_wait(struct conn *c, struct checking *k)
{
    k->conn = c;
    c->checking = k;
    io_timer_stop(c->net->env->io, &c->timer); /* it has said who it is in time */
}

void connect_pass_on(struct checking *k)
{
    struct conn *c = k->conn;

    if (c->checking != NULL)
        buf_put_str(&c->checking->held, buf_str(&k->held));
    else if (c->state != CONN_CLOSING)
        conn_take(c, buf_str(&k->held));
    buf_free(&k->held);
}

void connect_go_on(struct checking *k)
{
    k->conn->checking = NULL;
    connect_pass_on(k);
}

/* ---- slow passwords ---------------------------------------------------------------------------
 */

struct slow {
    struct checking checking;
    struct io_work work;
    char *secret, *hash;
    bool matches;
};

static void compare(struct io_work *work)
{
    struct slow *k = CONTAINER_OF(work, struct slow, work);

    k->matches = auth_secret_matches(k->secret, k->hash);
}

static void compared(struct io_op *op)
{
    struct slow *k = CONTAINER_OF(op, struct slow, work.op);
    struct conn *c = k->checking.conn;

    if (c->state != CONN_CLOSING) {
        if (op->res == 0 && k->matches && !k->checking.refused)
            open_listed(c, k->checking.user);
        else
            connect_refuse(c);
    }
    connect_go_on(&k->checking);
    sodium_memzero(k->secret, strlen(k->secret));
    mem_free(k->secret);
    mem_free(k->hash);
    mem_free(k);
}

static void check_slowly(struct conn *c, const struct auth_verdict *v)
{
    struct slow *k = mem_zalloc(sizeof(*k));

    k->checking.user = v->user;
    k->secret = mem_strndup(v->given.n > 0 ? v->given.p : "", v->given.n);
    k->hash = mem_strdup(v->hash);
    io_op_init(&k->work.op, compared);
    k->work.run = compare;
    connect_wait(c, &k->checking);
    io_work_submit(c->net->env->io, &k->work);
}

static bool same_service(const struct callout_options *a, const struct callout_options *b)
{
    return a->issuer != NULL && b->issuer != NULL && strcmp(a->issuer, b->issuer) == 0 &&
           strcmp(a->account, b->account) == 0;
}

/* What a CONNECT waits for: in operator mode claims decide about it, not the options. */
static void reload_checking(struct checking *k, const struct options *before, uint8_t kind,
                            const struct options *now)
{
    if (k->asked)
        k->refused |= !operators_on(now) && !same_service(&before->callout, &now->callout);
    else
        k->refused |= !auth_still_valid(before, k->user, kind, now, &k->user);
}

static bool lists(const struct str_list *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], text) == 0)
            return true;
    return false;
}

/* Another server was told its permissions when it was bound: it comes back for new ones, and for
 * another account. */
static void leaf_user_reload(struct conn *c, const struct options *before,
                             const struct options *now, const struct user *user)
{
    const struct user *was = c->leaf->user;
    const struct permissions *may = user != NULL ? users_may(&now->users, user) : NULL;
    bool same = account_of(c, user) == c->account &&
                permissions_same(was != NULL ? users_may(&before->users, was) : NULL, may);

    c->leaf->user = user;
    if (!same)
        conn_close(c, REASON_AUTH_FAILURE);
}

void connect_reload(struct conn *c, const struct options *old, const struct options *new)
{
    const struct user *user = NULL, *login = c->leaf != NULL ? c->leaf->user : c->login;
    struct options was, is;
    const struct options *before = at_door(c, old, &was), *now = at_door(c, new, &is);

    if (c->proxy_key != NULL && !lists(&now->proxies.trusted, c->proxy_key)) {
        connect_refuse_for(c, REASON_PROXY_NOT_TRUSTED);
        return;
    }
    if (c->checking != NULL)
        reload_checking(c->checking, before, kind_of(c), now);
    if (c->state == CONN_GREETED && login == NULL) {
        /* Nobody yet: the new options decide when it says who it is. */
        c->parser.connect_only = connect_announced(c) && !c->got_connect;
        return;
    }
    if (c->signed_in != NULL && operators_on(now))
        return; /* its account's claims decide */
    if (c->signed_in != NULL && login == &connect_login(c)->user &&
        same_service(&before->callout, &now->callout)) {
        if (c->leaf == NULL)
            connect_login_reload(c);
        return;
    }
    if (!(c->by_nothing ? auth_nothing_still_valid(before, now, &user)
                        : auth_still_valid(before, login, kind_of(c), now, &user))) {
        c->login = NULL;
        c->may = NULL;
        connect_refuse(c);
    } else if (c->leaf != NULL) {
        leaf_user_reload(c, old, new, user);
    } else {
        connect_bind(c, user);
    }
}

/* ---- CONNECT ----------------------------------------------------------------------------------
 */

struct mapping {
    const struct users *users;
    uint8_t kind;
    const struct user *user;
};

/* Names of users that are the certificate's subject: part by part, else in another order. */
static const struct user *user_of_subject(const struct mapping *m, struct str text)
{
    const struct user *found = NULL;
    struct dn subject, name;

    if (!dn_parse(text, &subject))
        return NULL;
    for (size_t pass = 0; pass < 2 && found == NULL; pass++)
        for (size_t i = 0; i < m->users->n && found == NULL; i++) {
            const struct user *u = &m->users->list[i];
            if (u->name == NULL || (u->kinds & m->kind) == 0 || !dn_parse(str_of(u->name), &name))
                continue;
            if (dn_same(&name, &subject, pass == 0))
                found = u;
            dn_free(&name);
        }
    dn_free(&subject);
    return found;
}

static bool take_user(void *ctx, struct str name, bool subject)
{
    struct mapping *m = ctx;

    m->user = subject ? user_of_subject(m, name) : NULL;
    if (m->user == NULL)
        m->user = users_find(m->users, name.p, name.n);
    if (m->user != NULL && (m->user->kinds & m->kind) == 0)
        m->user = NULL;
    return m->user != NULL;
}

/* verify_and_map: the certificate says who the client is. */
static const struct user *mapped_user(const struct conn *c)
{
    struct mapping m = {.users = &c->net->env->options->users, .kind = kind_of(c)};

    if (c->tls != NULL)
        tls_names(c->tls, take_user, &m);
    return m.user;
}

static struct str or_cookie(const struct conn *c, struct str said, enum ws_cookie which)
{
    return said.n > 0 || c->ws == NULL ? said : conn_ws_cookie(c, which);
}

/* What it says, and where it says nothing, its cookies. */
static struct auth_verdict check(const struct conn *c, const struct said *said)
{
    struct options own;
    struct auth_claim claim = {
        .user = or_cookie(c, said->user, WS_COOKIE_USER),
        .pass = or_cookie(c, said->pass, WS_COOKIE_PASS),
        .token = or_cookie(c, said->token, WS_COOKIE_TOKEN),
        .nkey = said->nkey,
        .sig = said->sig,
        .nonce = str_of(c->nonce != NULL ? c->nonce : ""),
        .kind = kind_of(c),
    };

    return auth_check(connect_options(c, &own), &claim);
}

/* ---- a service that is asked ------------------------------------------------------------------
 */

static void put_text(struct buf *b, const char *key, struct str value)
{
    if (value.n == 0)
        return;
    buf_printf(b, "%s\"%s\":", b->n > 0 ? "," : "", key);
    jput_string(b, value);
}

/* What the client said, secrets and all; user: with what the options let it in without, or NULL. */
static void put_opts(const struct conn *c, const struct said *said, const struct user *user,
                     struct buf *b)
{
    struct str name = or_cookie(c, said->user, WS_COOKIE_USER);
    struct str pass = or_cookie(c, said->pass, WS_COOKIE_PASS);

    if (operators_on(c->net->env->options))
        put_text(b, "jwt", or_cookie(c, said->jwt, WS_COOKIE_JWT));
    put_text(b, "nkey", user != NULL && user->nkey != NULL ? str_of(user->nkey) : said->nkey);
    put_text(b, "sig", said->sig);
    put_text(b, "auth_token", or_cookie(c, said->token, WS_COOKIE_TOKEN));
    put_text(b, "user", user != NULL && user->name != NULL ? str_of(user->name) : name);
    put_text(b, "pass", user != NULL && user->pass != NULL ? str_of(user->pass) : pass);
    put_text(b, "name", said->name);
    put_text(b, "lang", said->lang);
    put_text(b, "version", said->version);
    buf_printf(b, "%s\"protocol\":%lld", b->n > 0 ? "," : "", (long long) said->protocol);
}

static void free_opts(struct buf *b)
{
    sodium_memzero(b->p, b->n);
    buf_free(b);
}

/* Is a service asked about the client with that verdict? Not about its own users, nor about those
 * of accounts that are not its business. Who is nobody is always its business. */
static bool is_asked_about(const struct conn *c, const struct auth_verdict *v)
{
    const struct callout_options *o = &c->net->env->options->callout;
    const char *account = v->answer != AUTH_NO && v->user != NULL ? v->user->account : NULL;

    if (o->issuer == NULL || (c->user != NULL && lists(&o->users, c->user)))
        return false;
    return account == NULL || strcmp(account, ACCOUNT_DEFAULT) == 0 || o->allowed.n == 0 ||
           lists(&o->allowed, account);
}

static void ask_about(struct conn *c, const struct said *said, const struct auth_verdict *v)
{
    const struct options *o = c->net->env->options;
    const struct user *user = v->answer == AUTH_YES && said->user.n == 0 && said->nkey.n == 0
                                  ? v->user
                                  : NULL;
    struct buf opts = {0};

    put_opts(c, said, user, &opts);
    callout_start(
        c, &(struct callout_ask){
               .account = account_set_find(c->net->env->accounts, str_of(o->callout.account)),
               .connect_opts = buf_str(&opts),
               .proxy_required = v->user != NULL ? v->user->proxy_required : o->proxies.required,
           });
    free_opts(&opts);
}

/* ---- proxies ----------------------------------------------------------------------------------
 */

/* False: it says that it comes through a trusted proxy, and does not. */
static bool check_proxy(struct conn *c, struct str sig)
{
    const struct str_list *trusted = &c->net->env->options->proxies.trusted;
    struct buf raw = {0};

    c->proxied = false;
    keep(&c->proxy_key, STR_NONE);
    if (sig.n == 0 || trusted->n == 0)
        return true;
    if (base64_decode(&raw, sig))
        for (size_t i = 0; i < trusted->n && !c->proxied; i++)
            if (nkey_signed(str_of(trusted->items[i]), buf_str(&raw),
                            str_of(c->nonce != NULL ? c->nonce : ""))) {
                c->proxied = true;
                keep(&c->proxy_key, str_of(trusted->items[i]));
            }
    buf_free(&raw);
    return c->proxied;
}

static bool lacks_proxy(const struct conn *c, const struct auth_verdict *v)
{
    struct options own;
    const struct options *o = connect_options(c, &own);

    if (c->proxied || v->answer == AUTH_NO)
        return false;
    if (c->door == NET_LEAFS && o->leaf.proxy_required)
        return true;
    if (!auth_required(o))
        return false;
    return v->user != NULL ? v->user->proxy_required : o->proxies.required;
}

/* ---- who it is --------------------------------------------------------------------------------
 */

static void process_claims(struct conn *c, const struct said *said)
{
    struct buf opts = {0};

    put_opts(c, said, NULL, &opts);
    connect_jwt(c, or_cookie(c, said->jwt, WS_COOKIE_JWT), said->sig, buf_str(&opts));
    free_opts(&opts);
}

static struct auth_verdict check_certificate(struct conn *c)
{
    const struct user *user = mapped_user(c);

    if (user == NULL)
        return (struct auth_verdict){.answer = AUTH_NO};
    keep(&c->user, str_of(user->name));
    return (struct auth_verdict){.answer = AUTH_YES, .user = user};
}

static struct auth_verdict check_credentials(struct conn *c, const struct said *said)
{
    struct auth_verdict v = check(c, said);
    struct str name = or_cookie(c, said->user, WS_COOKIE_USER);
    struct options copy;

    /* A name alone, where a token is asked for, may be it. */
    if (name.n > 0 && said->pass.n == 0 && connect_options(c, &copy)->token != NULL)
        name = STR("[REDACTED]");
    keep(&c->user, said->nkey.n > 0 ? said->nkey : name);
    if (c->user == NULL && said->token.n > 0)
        keep(&c->user, STR("[REDACTED]"));
    if (c->user == NULL && v.answer == AUTH_YES && v.user != NULL)
        keep(&c->user, str_of(v.user->name != NULL ? v.user->name : v.user->nkey));
    return v;
}

static bool has_no_credentials(const struct said *said)
{
    return said->user.n + said->pass.n + said->token.n + said->nkey.n + said->sig.n + said->jwt.n +
               said->proxy_sig.n ==
           0;
}

/* Said again by who is in. */
static void stay(struct conn *c)
{
    c->parser.headers = c->headers;
    conn_put_ok(c);
}

static void process(struct conn *c, const struct said *said)
{
    struct auth_verdict v;

    if (c->leaf == NULL && c->got_connect)
        sub_drop_all(c);
    take_names(c, said);
    /* Choosing an account was possible once. */
    if (said->account.n > 0 || said->new_account) {
        connect_refuse(c);
        return;
    }
    if (c->leaf == NULL && c->got_connect && has_no_credentials(said)) {
        if (accept_settings(c, said))
            stay(c);
        return;
    }
    if (!check_proxy(c, said->proxy_sig)) {
        connect_refuse_for(c, REASON_PROXY_NOT_TRUSTED);
        return;
    }
    if (operators_on(c->net->env->options)) {
        if (accept_settings(c, said))
            process_claims(c, said);
        return;
    }
    v = conn_tls_options(c)->map ? check_certificate(c) : check_credentials(c, said);
    if (is_asked_about(c, &v)) {
        if (accept_settings(c, said))
            ask_about(c, said, &v);
    } else if (lacks_proxy(c, &v)) {
        connect_refuse_for(c, REASON_PROXY_REQUIRED);
    } else if (v.answer == AUTH_NO) {
        connect_refuse(c);
    } else if (accept_settings(c, said)) {
        if (v.answer == AUTH_SLOW)
            check_slowly(c, &v);
        else
            open_listed(c, v.user);
        c->by_nothing = v.by_nothing;
    }
}

/* What is nobody's business any more goes out of memory; the bytes that were received are
 * overwritten by what is received next. */
static void wipe_secrets(json_t *o)
{
    static const char *const secret[] = {"pass", "auth_token", "jwt"};
    const char *key;
    json_t *v;

    json_object_foreach(o, key, v)
    {
        for (size_t i = 0; i < ARRAY_LEN(secret); i++)
            if (json_is_string(v) && strcasecmp(key, secret[i]) == 0)
                sodium_memzero((void *) (uintptr_t) json_string_value(v), json_string_length(v));
    }
}

void connect_process(struct conn *c, struct str json)
{
    json_error_t error;
    json_t *o = json_loadb(json.p, json.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    struct said said;
    char who[CONN_TEXT_MAX];

    if ((json_is_object(o) || json_is_null(o)) && read_said(c, o, &said)) {
        process(c, &said);
    } else {
        /* Not the library's text: it quotes what stands there. */
        if (o == NULL)
            LOG_ERR(c->net->env->log, "%s - bad CONNECT: no JSON at byte %d", conn_text(c, who),
                    error.position);
        else
            LOG_ERR(c->net->env->log, "%s - bad CONNECT: wrong type", conn_text(c, who));
        conn_close(c, REASON_PROTOCOL_VIOLATION);
    }
    wipe_secrets(o);
    json_decref(o);
}
