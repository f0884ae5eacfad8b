/*
 * connect.c - the CONNECT operation: JSON to connection settings, credentials to a verdict.
 *
 * Unknown fields are ignored, wrong types count as absent, text that is no JSON object closes the
 * connection. A second CONNECT is processed like the first.
 *
 * A password with a bcrypt hash takes up to a tenth of a second to check, which a pool thread does.
 * Meanwhile the connection reads nothing, and what came behind the CONNECT is kept:
 *
 *     CONNECT -> checking (held: the rest of that receive) -> bound and open, held is parsed
 *                                                          \-> Authorization Violation
 *
 * A connection that closes meanwhile is freed when the thread is done.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/config/options.h"
#include "server/net/conn.h"

#include <jansson.h>
#include <string.h>

static bool flag(const json_t *o, const char *key, bool absent)
{
    const json_t *v = json_object_get(o, key);
    return json_is_boolean(v) ? json_is_true(v) : absent;
}

static struct str text(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_string(v) ? str_from(json_string_value(v), json_string_length(v)) : STR_NONE;
}

static void keep(char **at, struct str s)
{
    mem_free(*at);
    *at = s.n > 0 ? mem_strndup(s.p, s.n < 256 ? s.n : 256) : NULL;
}

static void refuse(struct conn *c)
{
    char who[160];

    LOG_ERR(c->net->env->log, "%s - authentication error", conn_text(c, who));
    conn_fail(c, REASON_AUTH_FAILURE, STR("Authorization Violation"));
}

/* ---- settings ---------------------------------------------------------------------------------
 */

static bool accept_settings(struct conn *c, const json_t *o)
{
    const json_t *protocol = json_object_get(o, "protocol");
    json_int_t version = json_is_integer(protocol) ? json_integer_value(protocol) : 0;

    if (version < 0 || version > 1) {
        conn_fail(c, REASON_BAD_PROTOCOL, STR("invalid client protocol"));
        return false;
    }
    c->protocol = (uint8_t) version;
    c->verbose = flag(o, "verbose", true);
    c->pedantic = flag(o, "pedantic", true);
    c->echo = flag(o, "echo", true);
    c->headers = flag(o, "headers", false) && !c->net->env->options->no_header_support;
    c->no_responders = flag(o, "no_responders", false);
    if (c->no_responders && !c->headers) {
        conn_fail(c, REASON_NO_RESPONDERS_HEADERS, STR("no responders requires headers support"));
        return false;
    }
    keep(&c->name, text(o, "name"));
    keep(&c->lang, text(o, "lang"));
    keep(&c->version, text(o, "version"));
    return true;
}

/* ---- the user ---------------------------------------------------------------------------------
 */

void connect_bind(struct conn *c, const struct user *user)
{
    c->login = user;
    c->may = user != NULL ? users_may(&c->net->env->options->users, user) : NULL;
    if (user != NULL)
        keep(&c->user, str_of(user->name != NULL ? user->name : user->nkey));
    if (c->may == NULL)
        answers_free(c);
    sub_recheck(c);
}

void connect_nothing(struct conn *c)
{
    struct auth_verdict v = auth_check_nothing(c->net->env->options);

    if (v.answer == AUTH_YES && v.user != NULL)
        connect_bind(c, v.user);
}

/* The client is who it says: it may do more than CONNECT. */
static void opened(struct conn *c, const struct user *user)
{
    connect_bind(c, user);
    c->parser.headers = c->headers;
    c->parser.connect_only = false;
    c->state = CONN_OPEN;
    if (!c->got_connect && auth_announced(c->net->env->options))
        conn_start_ping(c);
    c->got_connect = true;
    conn_put_ok(c);
}

/* ---- slow passwords ---------------------------------------------------------------------------
 */

struct checking {
    struct io_work work;
    struct conn *conn;
    const struct user *user;
    char *secret, *hash;
    bool matches;
    bool refused; /* a reload took the user away meanwhile */
    struct buf held;
};

static void compare(struct io_work *work)
{
    struct checking *k = CONTAINER_OF(work, struct checking, work);

    k->matches = auth_secret_matches(k->secret, k->hash);
}

static void compared(struct io_op *op)
{
    struct checking *k = CONTAINER_OF(op, struct checking, work.op);
    struct conn *c = k->conn;

    c->checking = NULL;
    if (c->state != CONN_CLOSING) {
        if (op->res == 0 && k->matches && !k->refused) {
            opened(c, k->user);
            conn_take(c, buf_str(&k->held));
        } else {
            refuse(c);
        }
    }
    memset(k->secret, 0, strlen(k->secret));
    mem_free(k->secret);
    mem_free(k->hash);
    buf_free(&k->held);
    mem_free(k);
}

static void check_slowly(struct conn *c, const struct auth_verdict *v)
{
    struct checking *k = mem_zalloc(sizeof(*k));

    k->conn = c;
    k->user = v->user;
    k->secret = mem_strndup(v->given.n > 0 ? v->given.p : "", v->given.n);
    k->hash = mem_strdup(v->hash);
    io_op_init(&k->work.op, compared);
    k->work.run = compare;
    c->checking = k;
    io_work_submit(c->net->env->io, &k->work);
}

void connect_hold(struct conn *c, struct str rest)
{
    buf_put_str(&c->checking->held, rest);
}

void connect_reload(struct conn *c, const struct options *before, const struct options *now)
{
    const struct user *user = NULL;
    struct checking *k = c->checking;

    if (k != NULL)
        k->refused |= !auth_still_valid(before, k->user, now, &k->user);
    if (c->state == CONN_GREETED && c->login == NULL) {
        /* Nobody yet: the new options decide when it says who it is. */
        c->parser.connect_only = auth_announced(now) && !c->got_connect;
        return;
    }
    if (!auth_still_valid(before, c->login, now, &user)) {
        c->login = NULL;
        c->may = NULL;
        refuse(c);
        return;
    }
    connect_bind(c, user);
}

/* ---- CONNECT ----------------------------------------------------------------------------------
 */

void connect_process(struct conn *c, struct str json)
{
    json_error_t error;
    json_t *o = json_loadb(json.p, json.n, JSON_ALLOW_NUL, &error);
    struct auth_verdict v;

    if (!json_is_object(o)) {
        json_decref(o);
        conn_fail(c, REASON_PROTOCOL_VIOLATION, STR("Unknown Protocol Operation"));
        return;
    }
    v = auth_check(c->net->env->options, &(struct auth_claim){
                                             .user = text(o, "user"),
                                             .pass = text(o, "pass"),
                                             .token = text(o, "auth_token"),
                                             .nkey = text(o, "nkey"),
                                             .sig = text(o, "sig"),
                                             .nonce = str_of(c->nonce != NULL ? c->nonce : ""),
                                         });
    if (v.answer == AUTH_NO) {
        refuse(c);
    } else if (accept_settings(c, o)) {
        keep(&c->user, text(o, "user"));
        if (v.answer == AUTH_SLOW)
            check_slowly(c, &v);
        else
            opened(c, v.user);
    }
    json_decref(o);
}
