/*
 * sasl.c - see sasl.h.
 *
 *     SaslHandshake (mechanism) -> tokens: SaslAuthenticate (handshake version 1), or frames that
 *     are tokens and nothing else (version 0)
 *
 *     NONE --handshake--> CHOSEN --PLAIN: token--> CHECKING --> DONE
 *                           \--SCRAM: client-first--> CHALLENGED --client-final--> CHECKING -->
 * DONE
 *
 * A failure is told (error 58; to raw tokens nothing) and closes the connection. Until DONE only
 * ApiVersions and these two requests are served, and frames are small. An unknown user of SCRAM is
 * challenged as any other, and refused at the end, after the work that a wrong password takes; so
 * is every refusal of PLAIN, where there are bcrypt hashes.
 *
 * One authentication per connection: a second handshake closes it.
 *
 * What this door can not ask for, it does not do without: a user about whom a service would be
 * asked (auth_callout), or who has to come through a trusted proxy, does not come in here. Nor does
 * anybody by an empty password: a user without one is known by a certificate or by nothing.
 */
#include "server/kafka/sasl.h"

#include "lib/base/base64.h"
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/js/js.h"
#include "server/kafka/sasl_int.h"

#include <string.h>

static const struct str mechanisms[] = {STR_LIT("PLAIN"), STR_LIT("SCRAM-SHA-256"),
                                        STR_LIT("SCRAM-SHA-512")};

/* ---- who may come in ------------------------------------------------------------------------- */

static bool lists(const struct str_list *l, const char *text)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->items[i], text) == 0)
            return true;
    return false;
}

/* Would the service be asked about this user? The rule of NATS clients: not about its own users,
 * nor about those of accounts that are not its business. */
static bool is_asked_about(const struct options *o, const struct user *user)
{
    const struct callout_options *k = &o->callout;
    const char *account = user != NULL ? user->account : NULL;
    const char *name = user == NULL ? o->user : user->name != NULL ? user->name : user->nkey;

    if (k->issuer == NULL || (name != NULL && lists(&k->users, name)))
        return false;
    return account == NULL || strcmp(account, ACCOUNT_DEFAULT) == 0 || k->allowed.n == 0 ||
           lists(&k->allowed, account);
}

static bool needs_proxy(const struct options *o, const struct user *user)
{
    return auth_required(o) && (user != NULL ? user->proxy_required : o->proxies.required);
}

static bool may_enter(const struct options *o, const struct user *user)
{
    return !is_asked_about(o, user) && !needs_proxy(o, user);
}

/* ---- becoming a user ------------------------------------------------------------------------- */

void sasl_leave(struct kafka_conn *c)
{
    if (c->counted != NULL)
        atomic_fetch_sub(&c->counted->connections, 1);
    c->counted = NULL;
}

/* False: the account has as many connections as it may have. */
static bool enter_account(struct kafka_conn *c, struct account *a)
{
    int64_t max = atomic_load(&a->max_connections);

    if (c->counted == a)
        return true;
    sasl_leave(c);
    if (atomic_fetch_add(&a->connections, 1) >= max && max >= 0) {
        atomic_fetch_sub(&a->connections, 1);
        return false;
    }
    c->counted = a;
    return true;
}

static void become(struct kafka_conn *c, const struct user *user)
{
    struct env *env = c->kafka->env;
    struct account *a = env->account;

    if (user != NULL && user->account != NULL)
        a = account_set_find(env->accounts, str_of(user->account));
    c->realm = NULL;
    if (may_enter(env->options, user) && a != NULL && jetstream_has(env->jetstream, a))
        c->realm = realm_of(c->kafka, a);
    if (c->realm != NULL && !enter_account(c, a))
        c->realm = NULL;
    c->user = user;
    c->may = user != NULL ? users_may(&env->options->users, user) : NULL;
}

void sasl_begin(struct kafka_conn *c)
{
    struct auth_verdict v = auth_check_nothing(c->kafka->env->options);

    if (v.answer == AUTH_YES)
        become(c, v.user);
}

static void wipe(struct sasl *s)
{
    if (s->secret != NULL)
        explicit_bzero(s->secret, strlen(s->secret));
    mem_free(s->secret);
    mem_free(s->hash);
    s->secret = s->hash = NULL;
}

void sasl_free(struct kafka_conn *c)
{
    struct sasl *s = c->sasl;

    if (s == NULL)
        return;
    wipe(s);
    sasl_drop_login(s);
    scram_free(&s->scram);
    buf_free(&s->name);
    buf_free(&s->final);
    buf_free(&s->answer);
    mem_free(s);
    c->sasl = NULL;
}

bool sasl_wants_token(const struct kafka_conn *c)
{
    return c->sasl != NULL && c->sasl->raw && c->sasl->state != SASL_DONE;
}

bool sasl_still_valid(struct kafka_conn *c, const struct options *before)
{
    const struct options *o = c->kafka->env->options;
    const struct user *now;
    /* Nobody asked it, and it has not said who it is. */
    bool by_nothing = c->sasl == NULL || c->sasl->state != SASL_DONE;

    if (c->sasl != NULL && c->sasl->state != SASL_DONE)
        c->sasl->reloaded = true;
    if (c->realm == NULL)
        return true;
    if (c->sasl != NULL && c->sasl->login != NULL)
        return operators_on(o); /* its account's claims decide */
    if (!(by_nothing ? auth_nothing_still_valid(before, o, &now)
                     : auth_still_valid(before, c->user, USER_STANDARD, o, &now)))
        return false;
    become(c, now);
    return c->realm != NULL;
}

void sasl_revoke(struct kafka_conn *c)
{
    c->realm = NULL;
    c->user = NULL;
    c->may = NULL;
    c->revoked = true;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void answer_token(struct sasl *s, struct kafka_request *r, struct str bytes)
{
    struct kafka_sasl_authenticate_response *a = r->answer;

    if (s->raw) {
        kafka_reply_bytes(r, bytes);
        return;
    }
    a->auth_bytes = kafka_arena_str(&r->arena, bytes);
    kafka_reply(r);
}

/* Told, and then the connection is closed. */
void sasl_refuse(struct sasl *s, struct kafka_request *r)
{
    struct kafka_conn *c = s->conn;

    LOG_ERR(c->kafka->env->log, "%s:%u - Kafka client: authentication error - User \"%.*s\"",
            c->peer.host, c->peer.port, STR_ARG(buf_str(&s->name)));
    s->state = SASL_NONE;
    if (s->raw) {
        kafka_fail(r);
        return;
    }
    struct kafka_sasl_authenticate_response *a = r->answer;
    a->error_code = KAFKA_SASL_AUTHENTICATION_FAILED;
    a->error_message = STR("Authentication failed: invalid credentials");
    kafka_reply(r);
    kafka_conn_close(c, "authentication failed");
}

void sasl_accept(struct sasl *s, struct kafka_request *r)
{
    struct kafka_conn *c = s->conn;

    become(c, s->user);
    if (c->realm == NULL) {
        LOG_ERR(c->kafka->env->log, "%s:%u - Kafka client: user \"%.*s\" %s", c->peer.host,
                c->peer.port, STR_ARG(buf_str(&s->name)),
                may_enter(c->kafka->env->options, s->user)
                    ? "has an account without JetStream, or with too many connections"
                    : "is for auth_callout or a trusted proxy to let in");
        sasl_refuse(s, r);
        return;
    }
    s->state = SASL_DONE;
    if (c->state == KAFKA_CONN_OPEN)
        kafka_conn_expect(c);
    LOG_DBG(c->kafka->env->log, "%s:%u - Kafka client is user \"%.*s\"", c->peer.host, c->peer.port,
            STR_ARG(buf_str(&s->name)));
    answer_token(s, r, buf_str(&s->answer));
}

static void checked(struct io_op *op)
{
    struct sasl *s = CONTAINER_OF(op, struct sasl, work.op);
    struct kafka_request *r = s->request;

    s->request = NULL;
    wipe(s);
    if (op->res == 0 && s->good && !s->reloaded)
        sasl_accept(s, r);
    else
        sasl_refuse(s, r);
}

static void check(struct io_work *work)
{
    struct sasl *s = CONTAINER_OF(work, struct sasl, work);
    uint8_t derived[SCRAM_HASH_MAX];

    if (s->mechanism == MECHANISM_PLAIN) {
        s->good = auth_secret_matches(s->secret, s->hash) && !s->nobody;
        return;
    }
    scram_derive(&s->scram, str_of(s->secret), derived);
    s->good = scram_finish(&s->scram, buf_str(&s->final), derived, &s->answer) && !s->nobody;
    explicit_bzero(derived, sizeof(derived));
}

static void check_on_pool(struct sasl *s, struct kafka_request *r)
{
    s->state = SASL_CHECKING;
    s->request = r;
    io_op_init(&s->work.op, checked);
    s->work.run = check;
    io_work_submit(s->conn->kafka->env->io, &s->work);
}

/* ---- PLAIN ----------------------------------------------------------------------------------- */

/* A bcrypt hash that somebody has; NULL: nobody does. */
static const char *any_hash(const struct options *o)
{
    for (size_t i = 0; i < o->users.n; i++)
        if (o->users.list[i].pass != NULL && auth_is_hash(o->users.list[i].pass))
            return o->users.list[i].pass;
    return NULL;
}

/* After the work of a wrong password, where passwords are hashes: the time does not tell which
 * names there are. */
static void refuse_in_time(struct sasl *s, struct kafka_request *r, struct str password)
{
    const char *hash = any_hash(s->conn->kafka->env->options);

    if (hash == NULL) {
        sasl_refuse(s, r);
        return;
    }
    s->nobody = true;
    s->secret = mem_strndup(password.p, password.n);
    s->hash = mem_strdup(hash);
    check_on_pool(s, r);
}

/* [authorize as] NUL user NUL password. */
static void take_plain(struct sasl *s, struct kafka_request *r, struct str token)
{
    const struct options *o = s->conn->kafka->env->options;
    struct str as = str_cut(token, '\0', &token), user = str_cut(token, '\0', &token);
    struct auth_claim claim = {
        .user = user, .pass = token, .token = token, .kind = USER_STANDARD, .needs_password = true};
    struct auth_verdict v;

    buf_put_str(&s->name, user);
    if (token.p == NULL || user.n == 0 || (as.n > 0 && !str_eq(as, user))) {
        sasl_refuse(s, r);
        return;
    }
    if (operators_on(o)) {
        sasl_take_claims(s, r, token);
        return;
    }
    v = auth_check(o, &claim);
    s->user = v.user;
    if (v.answer == AUTH_YES) {
        sasl_accept(s, r);
    } else if (v.answer == AUTH_SLOW) {
        s->secret = mem_strndup(v.given.p, v.given.n);
        s->hash = mem_strdup(v.hash);
        check_on_pool(s, r);
    } else {
        refuse_in_time(s, r, token);
    }
}

/* ---- SCRAM ----------------------------------------------------------------------------------- */

/* The password in the options; NULL: no such user, or one that has none or whose password is not
 * known. */
static const char *password_of(struct sasl *s, struct str name)
{
    const struct options *o = s->conn->kafka->env->options;
    const char *password = NULL;

    s->user = NULL;
    if (!auth_required(o))
        return NULL;
    if (o->users.n > 0) {
        s->user = users_find(&o->users, name.p, name.n);
        if (s->user != NULL && (s->user->kinds & USER_STANDARD) != 0)
            password = s->user->pass;
    } else if (o->user != NULL && str_eq(str_of(o->user), name)) {
        password = o->pass;
    }
    if (password == NULL || password[0] == '\0' || auth_is_hash(password))
        return NULL;
    return password;
}

static void challenge(struct sasl *s, struct kafka_request *r, struct str token)
{
    struct io *io = s->conn->kafka->env->io;
    uint8_t salt[SCRAM_SALT], random[18];
    struct buf text = {0};

    if (!scram_begin(&s->scram, token, &s->name)) {
        sasl_refuse(s, r);
        return;
    }
    io_random(io, salt, sizeof(salt));
    io_random(io, random, sizeof(random));
    base64_encode(&text, str_from(random, sizeof(random)));
    s->state = SASL_CHALLENGED;
    answer_token(s, r, scram_challenge(&s->scram, buf_str(&text), salt));
    buf_free(&text);
}

static void take_proof(struct sasl *s, struct kafka_request *r, struct str token)
{
    const char *password = password_of(s, buf_str(&s->name));
    uint8_t random[18];
    struct buf text = {0};

    s->nobody = password == NULL;
    io_random(s->conn->kafka->env->io, random, sizeof(random));
    base64_encode(&text, str_from(random, sizeof(random)));
    s->secret = mem_strdup(s->nobody ? buf_cstr(&text) : password);
    buf_free(&text);
    buf_put_str(&s->final, token);
    check_on_pool(s, r);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void take_token(struct sasl *s, struct kafka_request *r, struct str token)
{
    if (s->state == SASL_CHOSEN && s->mechanism == MECHANISM_PLAIN)
        take_plain(s, r, token);
    else if (s->state == SASL_CHOSEN)
        challenge(s, r, token);
    else if (s->state == SASL_CHALLENGED)
        take_proof(s, r, token);
    else
        kafka_fail(r);
}

void sasl_take_token(struct kafka_request *r)
{
    take_token(r->conn->sasl, r, str_from(r->frame->data, r->frame->len));
}

void kafka_run_sasl_authenticate(struct kafka_request *r)
{
    const struct kafka_sasl_authenticate_request *q = r->body;
    struct sasl *s = r->conn->sasl;

    if (s == NULL || s->raw)
        kafka_fail(r);
    else
        take_token(s, r, q->auth_bytes);
}

static void choose(struct kafka_request *r, size_t mechanism)
{
    struct kafka_conn *c = r->conn;
    struct sasl *s;

    sasl_free(c);
    c->sasl = s = mem_zalloc(sizeof(*s));
    s->conn = c;
    s->state = SASL_CHOSEN;
    s->mechanism = (enum sasl_mechanism) mechanism;
    s->raw = r->header.version == 0;
    scram_init(&s->scram, s->mechanism == MECHANISM_SCRAM_512);
}

void kafka_run_sasl_handshake(struct kafka_request *r)
{
    const struct kafka_sasl_handshake_request *q = r->body;
    struct kafka_sasl_handshake_response *a = r->answer;
    struct str *list = kafka_arena_alloc(&r->arena, sizeof(mechanisms));
    size_t i = 0;

    if (r->conn->sasl != NULL && r->conn->sasl->state != SASL_NONE) {
        kafka_fail(r);
        return;
    }
    memcpy(list, mechanisms, sizeof(mechanisms));
    a->mechanisms = list;
    a->mechanisms_n = (int32_t) ARRAY_LEN(mechanisms);
    while (i < ARRAY_LEN(mechanisms) && !str_eq(mechanisms[i], q->mechanism))
        i++;
    if (i < ARRAY_LEN(mechanisms))
        choose(r, i);
    else
        a->error_code = KAFKA_UNSUPPORTED_SASL_MECHANISM;
    kafka_reply(r);
}
