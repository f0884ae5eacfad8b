/*
 * connect_wait.c - a CONNECT that can not be answered at once, and what comes behind it meanwhile.
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
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/net/conn.h"
#include "server/net/connect_int.h"

#include <sodium.h>
#include <string.h>

/* What is kept behind a CONNECT that waits is one receive, which is far more when it was compressed
 * (WebSocket): at most this, and this from who has not been let in yet. */
#define HELD_MAX (64u << 20)
#define HELD_STRANGER (1u << 20)

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
            connect_listed(c, k->checking.user);
        else
            connect_refuse(c);
    }
    connect_go_on(&k->checking);
    sodium_memzero(k->secret, strlen(k->secret));
    mem_free(k->secret);
    mem_free(k->hash);
    mem_free(k);
}

void connect_slowly(struct conn *c, const struct auth_verdict *v)
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
