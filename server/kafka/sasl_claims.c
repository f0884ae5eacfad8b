/*
 * sasl_claims.c - users with signed claims, in operator mode.
 *
 * A NATS client signs the nonce of its INFO with its user's key, for which no mechanism of SASL has
 * a place. A user whose claims say that the token alone will do (a bearer token) signs nothing
 * there either: such a token is the password of PLAIN here, whatever the name. Everything that
 * would keep it out there keeps it out here, and a Kafka client is a connection of the kind
 * STANDARD. Who is to be looked at by a service does not come in.
 *
 *     token -> claims of the user -> its account, known -> login -> accepted
 *                                           \-> looked up -/
 *
 * A login ends at its time, or when new claims of its account say so: the connection closes.
 */
#include "lib/base/mem.h"
#include "server/auth/login.h"
#include "server/js/js.h"
#include "server/kafka/sasl_int.h"
#include "server/net/net.h"

/* Lookups come from clients that nobody has let in yet: so many of a worker at a time. */
#define LOOKUPS_MAX 1024u

/* An account that is fetched. */
struct looking_up {
    struct account_lookup lookup;
    struct kafka *kafka;
    struct sasl *sasl; /* NULL: nobody waits for it any more */
    struct kafka_request *request;
    struct user_claims user;
};

static void keep_out(struct sasl *s, struct kafka_request *r, const char *why)
{
    const struct kafka_conn *c = s->conn;

    LOG_DBG(c->kafka->env->log, "%s:%u - Kafka client: %s", c->peer.host, c->peer.port, why);
    sasl_refuse(s, r);
}

/* ---- being logged in ------------------------------------------------------------------------- */

static void close_conn(struct kafka_conn *c, const char *why)
{
    sasl_revoke(c);
    kafka_conn_close(c, why);
}

static void expire(struct wheel_timer *t)
{
    close_conn(CONTAINER_OF(t, struct sasl, expiry)->conn, "authentication expired");
}

void sasl_drop_login(struct sasl *s)
{
    if (s->login == NULL)
        return;
    if (s->conn->user == &s->login->user) {
        s->conn->user = NULL;
        s->conn->may = NULL;
        s->conn->revoked = true;
    }
    io_timer_stop(s->conn->kafka->env->io, &s->expiry);
    login_close(s->login);
    s->login = NULL;
}

static void log_in(struct sasl *s, struct kafka_request *r, struct login *l)
{
    struct io *io = s->conn->kafka->env->io;
    int64_t left = l->until - io_wall(io);

    s->login = l;
    s->user = &l->user;
    wheel_timer_init(&s->expiry, expire);
    if (l->until != 0)
        io_timer_start(io, &s->expiry, io_now(io) + (left > 0 ? (uint64_t) left : 0));
    sasl_accept(s, r);
}

/* ---- who it is ------------------------------------------------------------------------------- */

/* NULL: it is not known, or what is known does not hold any more. */
static const struct trust *trust_of(struct env *env, const char *account)
{
    struct account *a = account_set_find(env->accounts, str_of(account));

    return a != NULL && !atomic_load(&a->expired) ? atomic_load(&a->trust) : NULL;
}

static void open_login(struct sasl *s, struct kafka_request *r, const struct trust *t,
                       const struct user_claims *u)
{
    const struct env *env = s->conn->kafka->env;
    struct buf err = {0};
    struct login_claim claim = {.nonce = STR(""),
                                .address = s->conn->peer.host,
                                .type = CONNECTION_STANDARD,
                                .now = io_wall(env->io),
                                .offset = net_zone_offset(io_wall(env->io))};
    struct login *l = login_open(t, u, &claim, &err);

    if (l != NULL && t->claims.auth_users.n > 0 && !trust_is_auth_user(t, l->user.nkey)) {
        buf_puts(&err, "its account has users looked at by a service");
        login_close(l);
        l = NULL;
    }
    if (l != NULL)
        log_in(s, r, l);
    else
        keep_out(s, r, buf_cstr(&err));
    buf_free(&err);
}

static void looked_up(struct account_lookup *lookup)
{
    struct looking_up *k = CONTAINER_OF(lookup, struct looking_up, lookup);
    const struct trust *t = NULL;
    struct kafka_request *r = k->request;

    k->kafka->lookups--;
    if (k->sasl != NULL) {
        r->cancel = NULL;
        if (lookup->found && !k->sasl->reloaded)
            t = trust_of(k->kafka->env, lookup->name);
        if (t != NULL)
            open_login(k->sasl, r, t, &k->user);
        else
            keep_out(k->sasl, r, "Account JWT lookup error");
    }
    user_claims_free(&k->user);
    mem_free(k);
}

/* The client has gone. */
static void call_off(struct kafka_request *r)
{
    struct looking_up *k = r->ctx;
    struct sasl *s = k->sasl;

    k->sasl = NULL;
    sasl_refuse(s, r);
}

/* Takes the claims over. */
static void look_up(struct sasl *s, struct kafka_request *r, struct user_claims *u)
{
    struct kafka *kafka = s->conn->kafka;
    struct env *env = kafka->env;
    struct looking_up *k;

    if (env->lookup == NULL || kafka->lookups >= LOOKUPS_MAX ||
        !nkey_is(str_of(login_account(u)), NKEY_ACCOUNT)) {
        user_claims_free(u);
        keep_out(s, r, "Account JWT lookup error");
        return;
    }
    k = mem_zalloc(sizeof(*k));
    memcpy(k->lookup.name, login_account(u), NKEY_LEN);
    k->lookup.done = looked_up;
    k->lookup.worker = env->worker;
    k->kafka = kafka;
    k->sasl = s;
    k->request = r;
    k->user = *u;
    kafka->lookups++;
    s->state = SASL_CHECKING;
    r->ctx = k;
    r->cancel = call_off;
    env->lookup(env, &k->lookup);
}

void sasl_take_claims(struct sasl *s, struct kafka_request *r, struct str token)
{
    struct env *env = s->conn->kafka->env;
    const struct operators *o = &env->options->operators;
    const struct trust *t;
    struct user_claims u;
    struct buf err = {0};

    if (!login_claims(token, io_wall(env->io), &u, &err)) {
        keep_out(s, r, buf_cstr(&err));
    } else if (!login_account_pinned(o, login_account(&u))) {
        user_claims_free(&u);
        keep_out(s, r, "its account is not listed as operator pinned account");
    } else if ((t = trust_of(env, login_account(&u))) != NULL) {
        open_login(s, r, t, &u);
        user_claims_free(&u);
    } else {
        look_up(s, r, &u);
    }
    buf_free(&err);
}

/* ---- what it may ----------------------------------------------------------------------------- */

uint64_t sasl_payload_most(const struct kafka_conn *c)
{
    const struct account *a = c->realm->account;
    int64_t of_account = atomic_load_explicit(&a->max_payload, memory_order_relaxed);
    int64_t own = c->sasl != NULL && c->sasl->login != NULL ? c->sasl->login->payload : -1;

    if (own < 0 || (of_account >= 0 && of_account < own))
        own = of_account;
    return own >= 0 ? (uint64_t) own : UINT64_MAX;
}

/* ---- new claims of the account --------------------------------------------------------------- */

static bool stays_in(struct kafka_conn *c, const struct account *a, const struct trust *before,
                     const struct trust *now)
{
    struct login *l = c->sasl->login;

    if (now == NULL || atomic_load(&a->expired) || login_recheck(l, before, now) != LOGIN_STAYS ||
        !jetstream_has(c->kafka->env->jetstream, a))
        return false;
    c->may = l->user.may; /* perhaps others now */
    return true;
}

void sasl_account_changed(struct kafka_conn *c, const struct account *a, const struct trust *before,
                          const struct trust *now)
{
    if (c->sasl == NULL || c->sasl->login == NULL || c->realm == NULL || c->realm->account != a ||
        stays_in(c, a, before, now))
        return;
    close_conn(c, "its account has other claims");
}
