/*
 * connect.c - the CONNECT operation: JSON to connection settings, credentials to a verdict.
 *
 * Unknown fields are ignored; a value of the wrong type, or text that is no JSON object, closes the
 * connection without a word. A second CONNECT ends all subscriptions and is processed like the
 * first; when it has no credentials the client stays who it is.
 */
#include "lib/base/base64.h"
#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "server/auth/auth.h"
#include "server/auth/dn.h"
#include "server/config/options.h"
#include "server/net/callout.h"
#include "server/net/conn.h"
#include "server/net/connect_int.h"
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

    connect_keep(&c->name, said->name);
    connect_keep(&c->lang, said->lang);
    connect_keep(&c->version, said->version);
    if (c->rtt_ns == 0)
        c->rtt_ns = age > 0 ? age : 1;
}

/* ---- CONNECT ----------------------------------------------------------------------------------
 */

struct mapping {
    const struct users *users;
    const struct conn *c; /* for the log */
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

static const struct user *user_named(const struct mapping *m, struct str name)
{
    const struct user *user = users_find(m->users, name.p, name.n);

    return user != NULL && (user->kinds & m->kind) != 0 ? user : NULL;
}

static void say_mapped(const struct mapping *m, const char *before, struct str name,
                       const char *behind)
{
    char who[CONN_TEXT_MAX];

    LOG_DBG(m->c->net->env->log, "%s - %s [\"%.*s\"]%s", conn_text(m->c, who), before,
            STR_ARG(name), behind);
}

static void take_subject(struct mapping *m, struct str name)
{
    m->user = user_of_subject(m, name);
    if (m->user != NULL) {
        say_mapped(m, "Using DistinguishedNameMatch for auth", name, "");
        return;
    }
    say_mapped(m, "DistinguishedNameMatch could not be used for auth", name, "");
    m->user = user_named(m, name);
    if (m->user == NULL)
        say_mapped(m, "User in cert", name, ", not found");
}

static bool take_user(void *ctx, enum tls_name kind, struct str name)
{
    static const char *const words[] = {"Using email found in cert for auth",
                                        "Using SAN found in cert for auth",
                                        "Using URI found in cert for auth"};
    struct mapping *m = ctx;

    if (kind == TLS_NAME_SUBJECT) {
        take_subject(m, name);
        return m->user != NULL;
    }
    m->user = user_named(m, name);
    if (m->user != NULL)
        say_mapped(m, words[kind], name, "");
    return m->user != NULL;
}

/* verify_and_map: the certificate says who the client is. */
static const struct user *mapped_user(const struct conn *c)
{
    struct mapping m = {.users = &c->net->env->options->users, .c = c, .kind = connect_kind(c)};
    char who[CONN_TEXT_MAX];

    if (c->tls != NULL && tls_sent_chain(c->tls))
        LOG_DBG(c->net->env->log, "%s - Multiple peer certificates found, selecting first",
                conn_text(c, who));
    if (c->tls != NULL)
        tls_names(c->tls, take_user, &m);
    else
        LOG_DBG(c->net->env->log, "%s - User required in cert, no TLS connection state",
                conn_text(c, who));
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
        .kind = connect_kind(c),
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

bool connect_lists(const struct str_list *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], text) == 0)
            return true;
    return false;
}

/* Is a service asked about the client with that verdict? Not about its own users, nor about those
 * of accounts that are not its business. Who is nobody is always its business. */
static bool is_asked_about(const struct conn *c, const struct auth_verdict *v)
{
    const struct callout_options *o = &c->net->env->options->callout;
    const char *account = v->answer != AUTH_NO && v->user != NULL ? v->user->account : NULL;

    if (o->issuer == NULL || (c->user != NULL && connect_lists(&o->users, c->user)))
        return false;
    return account == NULL || strcmp(account, ACCOUNT_DEFAULT) == 0 || o->allowed.n == 0 ||
           connect_lists(&o->allowed, account);
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
    connect_keep(&c->proxy_key, STR_NONE);
    if (sig.n == 0 || trusted->n == 0)
        return true;
    if (base64_decode(&raw, sig))
        for (size_t i = 0; i < trusted->n && !c->proxied; i++)
            if (nkey_signed(str_of(trusted->items[i]), buf_str(&raw),
                            str_of(c->nonce != NULL ? c->nonce : ""))) {
                c->proxied = true;
                connect_keep(&c->proxy_key, str_of(trusted->items[i]));
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

/* Who it says it is: the log and events name it, also when it is refused. */
static void take_claim(struct conn *c, const struct said *said)
{
    struct str name = or_cookie(c, said->user, WS_COOKIE_USER);
    struct options copy;

    /* A name alone, where a token is asked for, may be it. */
    if (name.n > 0 && said->pass.n == 0 && connect_options(c, &copy)->token != NULL)
        name = STR("[REDACTED]");
    c->claims = said->nkey.n > 0 ? "Nkey" : "User";
    connect_keep(&c->user, said->nkey.n > 0 ? said->nkey : name);
    if (c->user == NULL && or_cookie(c, said->token, WS_COOKIE_TOKEN).n > 0) {
        c->claims = "Token";
        connect_keep(&c->user, STR("[REDACTED]"));
    }
}

static struct auth_verdict check_certificate(struct conn *c, const struct said *said)
{
    const struct user *user = mapped_user(c);

    take_claim(c, said);
    if (user == NULL)
        return (struct auth_verdict){.answer = AUTH_NO};
    if (said->user.n > 0)
        LOG_WRN(c->net->env->log, "User \"%s\" found in connect proto, but user required from cert",
                c->user);
    c->claims = "User";
    connect_keep(&c->user, str_of(user->name));
    return auth_check_named(user, or_cookie(c, said->pass, WS_COOKIE_PASS));
}

static struct auth_verdict check_credentials(struct conn *c, const struct said *said)
{
    struct auth_verdict v = check(c, said);

    take_claim(c, said);
    if (c->user == NULL && v.answer == AUTH_YES && v.user != NULL)
        connect_keep(&c->user, str_of(v.user->name != NULL ? v.user->name : v.user->nkey));
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
    char who[CONN_TEXT_MAX];

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
        LOG_DBG(c->net->env->log, "%s - proxy is not trusted", conn_text(c, who));
        if (!operators_on(c->net->env->options))
            take_claim(c, said);
        connect_refuse_for(c, REASON_PROXY_NOT_TRUSTED);
        return;
    }
    if (operators_on(c->net->env->options)) {
        if (accept_settings(c, said))
            process_claims(c, said);
        return;
    }
    v = conn_tls_options(c)->map ? check_certificate(c, said) : check_credentials(c, said);
    if (is_asked_about(c, &v)) {
        if (accept_settings(c, said))
            ask_about(c, said, &v);
    } else if (lacks_proxy(c, &v)) {
        LOG_DBG(c->net->env->log, "%s - proxy connection required", conn_text(c, who));
        connect_refuse_for(c, REASON_PROXY_REQUIRED);
    } else if (v.answer == AUTH_NO) {
        connect_refuse(c);
    } else if (accept_settings(c, said)) {
        if (v.answer == AUTH_SLOW)
            connect_slowly(c, &v);
        else
            connect_listed(c, v.user);
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
