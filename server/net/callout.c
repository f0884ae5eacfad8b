/*
 * callout.c - one question under way: callout.h.
 *
 * The answer is waited for by a sink of the connection's worker on a reply subject of its own.
 * It comes within a delivery, where connections must not be bound or closed: it is kept and acted
 * on in the next iteration. An answer for an account that is not known (operator mode) waits for a
 * lookup first:
 *
 *     asked -> (answer kept) -> checked -> [account looked up] -> bound, or Authorization Violation
 *          \-> timed out ----------------------------------------------/
 *
 * A reload that takes the service away, or names another one, ends the question: an answer to it
 * counts as a refusal (checking.refused).
 */
#include "server/net/callout.h"

#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "lib/jwt/xkey.h"
#include "server/auth/login.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/tls.h"

#include <ctype.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll
#define ANSWER_MAX (1u << 20)

struct callout {
    struct checking checking;
    struct sink sink;
    struct interest_sub *interest;
    struct wheel_timer timer;
    struct env_task task;
    struct account *account;
    bool operator_mode, answered, opened, proxy_required;
    char key[NKEY_LEN + 1];  /* made for this question */
    char xkey[NKEY_LEN + 1]; /* the service's; "" = nothing is sealed */
    char reply[64];
    struct buf answer;
    struct user_claims user; /* while its account is looked up */
    struct account_lookup lookup;
};

static struct env *env_of(const struct callout *k)
{
    return k->checking.conn->net->env;
}

/* ---- the request ----------------------------------------------------------------------------- */

static void put(struct buf *b, const char *key, const char *value)
{
    if (value == NULL || value[0] == '\0')
        return;
    buf_printf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
    jput_string(b, str_of(value));
}

static void put_list(struct buf *b, const char *key, const struct str_list *l)
{
    for (size_t i = 0; i < l->n; i++) {
        if (i == 0)
            buf_printf(b, ",\"%s\":[", key);
        else
            buf_putc(b, ',');
        jput_string(b, str_of(l->items[i]));
    }
    if (l->n > 0)
        buf_putc(b, ']');
}

static void put_server(struct buf *b, const struct callout *k)
{
    const struct env *env = env_of(k);

    buf_puts(b, "\"server_id\":{\"name\":");
    jput_string(b, str_of(env->server_name));
    buf_puts(b, ",\"host\":");
    jput_string(b, str_of(env->options->host));
    put(b, "id", env->server_id);
    put(b, "version", env->version);
    put(b, "xkey", k->xkey[0] != '\0' ? env->keys->xkey : NULL);
    buf_putc(b, '}');
}

static void put_client(struct buf *b, const struct conn *c, const struct callout_ask *ask)
{
    buf_puts(b, ",\"client_info\":{");
    put(b, "host", c->peer.host);
    buf_printf(b, ",\"id\":%llu", (unsigned long long) c->cid);
    put(b, "user", c->user);
    put(b, "name", c->name);
    if (ask->login != NULL) {
        put_list(b, "tags", &ask->login->tags);
        put(b, "name_tag", ask->login->name);
    }
    put(b, "kind", "Client");
    put(b, "type", c->door == NET_WEBSOCKET ? "websocket" : "nats");
    /* The nonce goes along when something was signed. */
    if (memmem(ask->connect_opts.p, ask->connect_opts.n, "\"sig\":", 6) != NULL)
        put(b, "nonce", c->nonce);
    buf_putc(b, '}');
}

static void put_tls(struct buf *b, const struct conn *c)
{
    struct buf certs = {0};

    if (c->tls == NULL)
        return;
    buf_puts(b, ",\"client_tls\":{");
    put(b, "version", tls_version_name(c->tls));
    put(b, "cipher", tls_cipher_name(c->tls));
    tls_certificates(c->tls, &certs);
    if (certs.n > 0) {
        buf_puts(b, tls_verified(c->tls) ? ",\"verified_chains\":[[" : ",\"certs\":[");
        buf_put_str(b, buf_str(&certs));
        buf_puts(b, tls_verified(c->tls) ? "]]" : "]");
    }
    buf_putc(b, '}');
    buf_free(&certs);
}

/* The claims of the question; connect_opts holds what secrets the client said. */
static void make_request(const struct callout *k, const struct callout_ask *ask, struct buf *out)
{
    const struct conn *c = k->checking.conn;
    const struct env *env = env_of(k);
    const struct options *o = env->options;
    char audience[] = "nats-authorization-request";
    char *subject = mem_strdup(k->operator_mode ? k->account->name : o->callout.issuer);
    int64_t now = io_wall(env->io);
    struct jwt j = {
        .kind = JWT_REQUEST,
        .audience = audience,
        .subject = subject,
        .expires = (now + o->auth_timeout_ns) / SECOND,
    };
    struct buf fields = {0};

    put_server(&fields, k);
    buf_printf(&fields, ",\"user_nkey\":\"%s\"", k->key);
    put_client(&fields, c, ask);
    buf_puts(&fields, ",\"connect_opts\":{");
    buf_put_str(&fields, ask->connect_opts);
    buf_putc(&fields, '}');
    put_tls(&fields, c);
    jwt_encode(out, &j, buf_str(&fields), NKEY_SERVER, env->keys->secret, now / SECOND);
    sodium_memzero(fields.p, fields.n);
    buf_free(&fields);
    mem_free(subject);
}

static void send_request(struct callout *k, const struct callout_ask *ask)
{
    struct env *env = env_of(k);
    struct buf request = {0}, sealed = {0};
    uint8_t nonce[XKEY_NONCE_BYTES];
    char header[128] = "";

    make_request(k, ask, &request);
    if (k->xkey[0] != '\0') {
        io_random(env->io, nonce, sizeof(nonce));
        xkey_seal(env->keys->curve, str_of(k->xkey), nonce, buf_str(&request), &sealed);
        snprintf(header, sizeof(header), "NATS/1.0\r\nNats-Server-Xkey: %s\r\n\r\n",
                 env->keys->xkey);
    }
    route_publish(env->router, k->account,
                  &(struct msg){.subject = STR(CALLOUT_SUBJECT),
                                .reply = str_of(k->reply),
                                .header = str_of(header),
                                .payload = buf_str(sealed.n > 0 ? &sealed : &request),
                                .flags = MSG_F_SYSTEM});
    route_flush(env->router);
    sodium_memzero(request.p, request.n);
    buf_free(&request);
    buf_free(&sealed);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void stop_listening(struct callout *k)
{
    struct env *env = env_of(k);

    if (k->interest != NULL) {
        interest_remove(k->account->interest, k->interest);
        router_sink_remove(env->router, &k->sink);
    }
    k->interest = NULL;
    io_timer_stop(env->io, &k->timer);
}

static void finish(struct callout *k)
{
    stop_listening(k);
    connect_go_on(&k->checking);
    user_claims_free(&k->user);
    buf_free(&k->answer);
    mem_free(k);
}

/* Without a text: nobody has answered. */
static void refuse(struct callout *k, struct buf *why)
{
    struct conn *c = k->checking.conn;

    if (why->n > 0) {
        why->p[0] = (char) toupper((unsigned char) why->p[0]);
        LOG_WRN(env_of(k)->log, "%s", buf_cstr(why));
    } else {
        LOG_DBG(env_of(k)->log,
                "Authorization callout response not received in time on account \"%s\"",
                k->account->name);
    }
    if (c->state != CONN_CLOSING)
        connect_refuse_in(c, k->account, REASON_AUTH_FAILURE);
    finish(k);
}

/* ---- the answer ------------------------------------------------------------------------------ */

static bool fail(struct buf *err, const char *text)
{
    buf_puts(err, text);
    return false;
}

/* The token in the answer, opened when it is sealed. */
static bool open_answer(struct callout *k, struct buf *token, struct buf *err)
{
    struct str answer = buf_str(&k->answer);

    if (answer.n == 0) {
        buf_printf(err, "auth callout violation: \"no reason supplied\" on account \"%s\"",
                   k->account->name);
        return false;
    }
    if (k->xkey[0] == '\0' || str_starts(answer, STR("eyJ"))) {
        buf_put_str(token, answer);
        return true;
    }
    k->opened = xkey_open(env_of(k)->keys->curve, str_of(k->xkey), answer, token);
    if (!k->opened)
        buf_printf(err,
                   "error decrypting auth callout response on account \"%s\": nkeys: cannot "
                   "decrypt",
                   k->account->name);
    return k->opened;
}

static const struct trust *trust_of(const struct account *a)
{
    return a != NULL ? atomic_load(&a->trust) : NULL;
}

/* In operator mode: does the account have claims, and do they still hold? */
static bool holds(const struct account *a)
{
    return trust_of(a) != NULL && !atomic_load(&a->expired);
}

static bool signer_known(const struct callout *k, const struct jwt *j)
{
    const struct trust *t = trust_of(k->account);
    const struct jwt_user_limits *scope;
    const char *key = j->issuer_account != NULL ? j->issuer_account : jwt_text(j->issuer);

    return strcmp(key, k->account->name) == 0 || (t != NULL && trust_signs(t, key, &scope));
}

static bool check_response(struct callout *k, const struct response_claims *r, struct buf *err)
{
    struct env *env = env_of(k);
    struct jwt_issues is = {0};

    response_claims_check(r, io_wall(env->io) / SECOND, &is);
    if (is.n > 0)
        buf_printf(err, "authorization response had validation errors: %s", is.list[0].text);
    else if (strcmp(r->jwt.subject, k->key) != 0)
        buf_puts(err, "auth callout violation: auth callout response is not for expected user");
    else if (strcmp(r->jwt.audience, env->server_id) != 0)
        buf_puts(err, "auth callout violation: auth callout response is not for server");
    else if (r->error != NULL)
        buf_printf(err, "auth callout service returned an error: %s", r->error);
    else if (k->operator_mode && !k->opened && !signer_known(k, &r->jwt))
        buf_puts(err, "auth callout signing key is unknown");
    jwt_issues_free(&is);
    return err->n == 0;
}

static bool check_user(struct callout *k, const struct user_claims *u, struct buf *err)
{
    struct conn *c = k->checking.conn;
    struct jwt_issues is = {0};

    user_claims_check(u, io_wall(env_of(k)->io) / SECOND, &is);
    if ((k->proxy_required || u->limits.proxy_required) && !c->proxied)
        buf_puts(err, "proxy connection required");
    else if (is.n > 0)
        buf_printf(err, "Error validating user JWT: %s", is.list[0].text);
    else if (strcmp(jwt_text(u->jwt.subject), k->key) != 0)
        buf_printf(err, "Expected authorized user of \"%s\" but got \"%s\" on account \"%s\"",
                   k->key, jwt_text(u->jwt.subject), k->account->name);
    jwt_issues_free(&is);
    return err->n == 0;
}

static bool read_answer(struct callout *k, struct buf *err)
{
    struct response_claims r = {0};
    struct buf token = {0};
    bool ok = open_answer(k, &token, err) && response_claims_read(buf_str(&token), &r, err) &&
              check_response(k, &r, err) && user_claims_read(str_of(r.token), &k->user, err) &&
              check_user(k, &k->user, err);

    response_claims_free(&r);
    buf_free(&token);
    return ok;
}

static bool switch_allowed(const struct trust *t, const char *account)
{
    const struct str_list *l = &t->claims.allowed_accounts;

    if (l->n == 1 && strcmp(l->items[0], "*") == 0)
        return true;
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], account) == 0)
            return true;
    return false;
}

/* Where the user goes: the account's name, or NULL with a text. */
static const char *placement(const struct callout *k, struct buf *err)
{
    const struct jwt *j = &k->user.jwt;
    const struct options *o = env_of(k)->options;
    const char *issuer = jwt_text(j->issuer), *account = k->account->name;
    const struct trust *t = trust_of(k->account);

    if (!k->operator_mode && j->issuer_account != NULL) {
        buf_printf(err, "error non operator mode account \"%s\": attempted to use issuer_account",
                   account);
        return NULL;
    }
    if (!k->operator_mode) {
        if (strcmp(issuer, o->callout.issuer) == 0)
            return jwt_text(j->audience);
        buf_printf(err,
                   "wrong issuer for auth callout response on account \"%s\", expected \"%s\" got "
                   "\"%s\"",
                   account, o->callout.issuer, issuer);
        return NULL;
    }
    if (j->issuer_account != NULL)
        issuer = j->issuer_account;
    if (strcmp(issuer, account) == 0 || (t != NULL && switch_allowed(t, issuer)))
        return issuer;
    buf_printf(err,
               "account \"%s\" not permitted as valid account option for auth callout for account "
               "\"%s\"",
               jwt_text(j->issuer), account);
    return NULL;
}

/* Which permissions the key gives that signed the user. */
static bool scope_of(const struct user_claims *u, const struct trust *t,
                     const struct jwt_user_limits **scope, struct buf *err)
{
    *scope = NULL;
    if (t == NULL)
        return true;
    if (!trust_signs(t, jwt_text(u->jwt.issuer), scope)) {
        buf_printf(err, "user JWT issuer \"%s\" is not known", jwt_text(u->jwt.issuer));
        return false;
    }
    if (*scope == NULL || jwt_user_limits_empty(&u->limits))
        return true;
    return fail(err, "user JWT is not valid: scoped users require no permissions or limits set");
}

static bool connection_types_known(const struct user_claims *u, const char *account,
                                   struct buf *err)
{
    static const char *const known[] = {"STANDARD", "WEBSOCKET", "LEAFNODE",  "LEAFNODE_WS",
                                        "MQTT",     "MQTT_WS",   "IN_PROCESS"};
    const struct str_list *l = &u->limits.connection_types;

    for (size_t i = 0; i < l->n; i++)
        for (size_t n = 0; n < ARRAY_LEN(known); n++)
            if (str_eq_nocase(str_of(l->items[i]), str_of(known[n])))
                return true;
    if (l->n > 0)
        buf_printf(err, "authorized user on account \"%s\" using invalid connection type", account);
    return l->n == 0;
}

static void let_in(struct callout *k, struct account *a, const struct trust *t)
{
    struct conn *c = k->checking.conn;
    struct env *env = env_of(k);
    const struct jwt_user_limits *scope;
    struct buf err = {0};
    struct login *l = NULL;

    if (connection_types_known(&k->user, k->account->name, &err) &&
        scope_of(&k->user, t, &scope, &err))
        l = login_of_answer(&k->user, scope, a->name, t,
                            &(struct login_claim){.now = io_wall(env->io),
                                                  .offset = net_zone_offset(io_wall(env->io))},
                            &err);
    if (l == NULL) {
        refuse(k, &err);
        buf_free(&err);
        return;
    }
    login_defaults(l, &env->options->accounts);
    if (k->user.jwt.name != NULL)
        l->user.name = mem_strdup(k->user.jwt.name);
    connect_sign_in(c, l);
    finish(k);
    buf_free(&err);
}

/* False: it is over. */
static bool goes_on(struct callout *k)
{
    bool gone = !k->operator_mode && env_of(k)->options->callout.issuer == NULL;
    struct buf err = {0};

    if (k->checking.conn->state == CONN_CLOSING) {
        finish(k);
        return false;
    }
    if (!k->checking.refused && !gone)
        return true;
    buf_printf(&err, "auth callout on account \"%s\" ended by a reload", k->account->name);
    refuse(k, &err);
    buf_free(&err);
    return false;
}

static void looked_up(struct account_lookup *lookup)
{
    struct callout *k = CONTAINER_OF(lookup, struct callout, lookup);
    struct account *a = account_set_find(env_of(k)->accounts, str_of(lookup->name));
    struct buf err = {0};

    if (!goes_on(k))
        return;
    if (!lookup->found || !holds(a)) {
        buf_printf(&err,
                   "no valid account \"%s\" for auth callout response on account \"%s\": account "
                   "missing",
                   lookup->name, k->account->name);
        refuse(k, &err);
    } else {
        let_in(k, a, trust_of(a));
    }
    buf_free(&err);
}

static void place(struct callout *k, const char *name)
{
    struct env *env = env_of(k);
    struct account *a = account_set_find(env->accounts, str_of(name));
    struct buf err = {0};

    if (k->operator_mode && !holds(a) && env->lookup != NULL && strlen(name) == NKEY_LEN) {
        memcpy(k->lookup.name, name, NKEY_LEN);
        k->lookup.done = looked_up;
        k->lookup.worker = env->worker;
        env->lookup(env, &k->lookup);
    } else if (a == NULL || (k->operator_mode && !holds(a))) {
        buf_printf(&err,
                   "no valid account \"%s\" for auth callout response on account \"%s\": account "
                   "missing",
                   name, k->account->name);
        refuse(k, &err);
    } else {
        let_in(k, a, trust_of(a));
    }
    buf_free(&err);
}

static void act(struct env_task *task, struct env *env)
{
    struct callout *k = CONTAINER_OF(task, struct callout, task);
    const char *name = NULL;
    struct buf err = {0};

    (void) env;
    stop_listening(k);
    if (!goes_on(k))
        return;
    if (read_answer(k, &err))
        name = placement(k, &err);
    if (name != NULL)
        place(k, name);
    else
        refuse(k, &err);
    buf_free(&err);
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct callout *k = CONTAINER_OF(sink, struct callout, sink);
    struct env *env = env_of(k);

    if (k->answered || run[0].payload.n > ANSWER_MAX)
        return n;
    k->answered = true;
    buf_put_str(&k->answer, run[0].payload);
    k->task.run = act;
    env->post(env, env->worker, &k->task);
    return n;
}

static void timed_out(struct wheel_timer *t)
{
    struct callout *k = CONTAINER_OF(t, struct callout, timer);
    struct buf none = {0};

    if (!k->answered)
        refuse(k, &none);
}

static const struct sink_ops ops = {.deliver = deliver, .kind = "auth"};

/* ---- asking ---------------------------------------------------------------------------------- */

static void make_key(struct callout *k)
{
    uint8_t seed[NKEY_KEY_BYTES], key[NKEY_KEY_BYTES], secret[NKEY_SECRET_BYTES];

    io_random(env_of(k)->io, seed, sizeof(seed));
    crypto_sign_seed_keypair(key, secret, seed);
    nkey_encode(NKEY_USER, key, k->key);
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(secret, sizeof(secret));
}

static void make_reply(struct callout *k)
{
    struct prng *prng = env_of(k)->prng;

    snprintf(k->reply, sizeof(k->reply), "$SYS._INBOX.%08llx.%016llx",
             (unsigned long long) (prng_u64(prng) >> 32), (unsigned long long) prng_u64(prng));
}

void callout_start(struct conn *c, const struct callout_ask *ask)
{
    struct env *env = c->net->env;
    const char *xkey = ask->trust != NULL ? ask->trust->claims.xkey : env->options->callout.xkey;
    struct callout *k;

    if (env->keys == NULL || ask->account == NULL) {
        connect_refuse(c);
        return;
    }
    k = mem_zalloc(sizeof(*k));
    k->account = ask->account;
    k->operator_mode = ask->trust != NULL;
    k->proxy_required = ask->proxy_required;
    snprintf(k->xkey, sizeof(k->xkey), "%s", xkey != NULL ? xkey : "");
    k->checking.asked = true;
    connect_wait(c, &k->checking);
    make_key(k);
    make_reply(k);
    k->sink.ops = &ops;
    router_sink_add(env->router, &k->sink);
    k->interest = interest_add(k->account->interest,
                               &(struct interest_spec){.pattern = str_of(k->reply),
                                                       .worker = env->worker,
                                                       .sink = k->sink.self,
                                                       .internal = true});
    wheel_timer_init(&k->timer, timed_out);
    io_timer_start(env->io, &k->timer, io_now(env->io) + (uint64_t) env->options->auth_timeout_ns);
    send_request(k, ask);
}
