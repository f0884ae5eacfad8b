/*
 * conn_in.c - from received bytes to actions.
 *
 * One receive is one loop over its operations; published messages go to the router as views of the
 * receive buffer, and route_flush before the buffer is given back makes sure that nobody keeps one.
 * An operation that was cut between two receives is a view of memory that lives until the next one
 * is parsed: it is flushed at once. When a receiver of what was published is nearly full, this
 * connection stops receiving for a few milliseconds (fast producer stall).
 */
#include "lib/base/buf.h"
#include "lib/base/header.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/wire/nats_write.h"
#include "server/auth/permissions.h"
#include "server/auth/verdicts.h"
#include "server/config/options.h"
#include "server/core/account_wiring.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

/* The peer stalls 2 to 5 ms at a time. */
#define STALL_NS 3000000u
#define ERR_TEXT_MAX 512u

/* ---- errors -----------------------------------------------------------------------------------
 */

static enum conn_reason reason_of(enum nats_error e)
{
    switch (e) {
    case NATS_ERROR_NOT_CONNECT:
        return REASON_AUTH_FAILURE;
    case NATS_ERROR_CONTROL_LINE:
        return REASON_MAX_CONTROL_LINE;
    case NATS_ERROR_PAYLOAD:
        return REASON_MAX_PAYLOAD;
    default:
        return REASON_PROTOCOL_VIOLATION;
    }
}

/* What was published before goes out before: a client may read its own messages. */
static void put_err(struct conn *c, struct str text)
{
    c->stalled |= route_flush(c->net->env->router);
    conn_put_err(c, text);
}

static struct str last_word(struct str s)
{
    size_t from = s.n;

    while (from > 0 && s.p[from - 1] != ' ' && s.p[from - 1] != '\t')
        from--;
    return str_take(str_skip(s, from), 24);
}

static void parse_failed(struct conn *c, const struct nats_op *op)
{
    enum nats_error e = (enum nats_error) c->parser.error;
    const char *wire = nats_error_wire(e);
    char text[CONN_TEXT_MAX];

    route_flush(c->net->env->router);
    if (e == NATS_ERROR_PAYLOAD)
        LOG_ERR(c->net->env->log, "%s - maximum payload exceeded: %.*s vs %llu", conn_text(c, text),
                STR_ARG(last_word(op->args)), (unsigned long long) conn_max_payload(c));
    else if (e == NATS_ERROR_NOT_CONNECT)
        LOG_ERR(c->net->env->log, "%s - %s", conn_text(c, text), nats_error_log(e));
    else
        LOG_ERR(c->net->env->log, "%s - %s: \"%.*s\"", conn_text(c, text), nats_error_log(e),
                (int) (op->args.n < 64 ? op->args.n : 64), op->args.p);
    if (wire[0] != '\0')
        conn_fail(c, reason_of(e), str_of(wire));
    else
        conn_close(c, reason_of(e));
}

static void err_about(struct conn *c, const char *what, struct str subject)
{
    struct buf b = {0};

    buf_printf(&b, "%s \"%.*s\"", what, (int) (subject.n < ERR_TEXT_MAX ? subject.n : ERR_TEXT_MAX),
               subject.p);
    put_err(c, buf_str(&b));
    buf_free(&b);
}

/* ---- publishing -------------------------------------------------------------------------------
 */

/* Reply subjects that only the server makes. */
static bool reserved_reply(struct str reply)
{
    return reply.n > 0 && (reply.p[0] == '$' || reply.p[0] == '_') &&
           (str_starts(reply, STR("$JS.ACK.")) || str_starts(reply, STR("_R_.")) ||
            str_starts(reply, STR("_GR_.")));
}

void conn_no_responders(struct conn *c, struct str subject, struct str reply)
{
    const struct sub *s;
    size_t max;
    char *out;

    if (!c->no_responders || reply.n == 0 || (s = sub_matching(c, reply)) == NULL)
        return;
    route_flush(c->net->env->router);
    max = nats_no_responders_max(reply.n, s->sid_n, subject.n);
    out = mem_alloc(max);
    conn_put(c, str_from(out, nats_write_no_responders(out, reply, sub_sid(s), subject)));
    mem_free(out);
}

/* Subjects that servers talk to each other on. */
static bool reserved_subject(struct str subject)
{
    return subject.n > 5 && (subject.p[0] == '$' || subject.p[0] == '_') &&
           (str_starts(subject, STR("$NRG.")) || str_starts(subject, STR("_GR_.")));
}

static bool allowed_subject(struct conn *c, struct str subject)
{
    if (UNLIKELY(reserved_subject(subject)))
        return false;
    return LIKELY(c->may == NULL) ||
           verdicts_may_publish(&c->verdicts, c->may, subject, c->net->seed) ||
           answers_take(c, subject);
}

static void refuse_publish(struct conn *c, struct trace *t, const char *what, struct str subject)
{
    struct buf b = {0};

    err_about(c, what, subject);
    if (t != NULL) {
        buf_printf(&b, "%s \"%.*s\"", what, STR_ARG(subject));
        trace_refused(t, buf_str(&b));
    }
    buf_free(&b);
}

/* False after having said why not. t: NULL = it is not traced. */
static bool may_publish(struct conn *c, const struct nats_op *op, struct trace *t)
{
    char text[CONN_TEXT_MAX];

    if (UNLIKELY(!allowed_subject(c, op->subject))) {
        LOG_ERR(c->net->env->log, "%s - Publish Violation - Subject \"%.*s\"", conn_text(c, text),
                STR_ARG(op->subject));
        refuse_publish(c, t, "Permissions Violation for Publish to", op->subject);
        return false;
    }
    if (UNLIKELY(reserved_reply(op->reply))) {
        refuse_publish(c, t, "Permissions Violation for Publish with Reply of", op->reply);
        return false;
    }
    if (UNLIKELY(c->verbose)) {
        c->stalled |= route_flush(c->net->env->router);
        conn_put_ok(c);
    }
    return true;
}

/* By the account's mappings; false: to be lost. */
static bool map_subject(struct conn *c, struct msg *m, struct trace *t)
{
    struct env *env = c->net->env;

    c->mapped.n = 0;
    switch (account_map_subject(c->account, m->subject, env->prng, &c->mapped)) {
    case MAPPED_LOST:
        return false;
    case MAPPED_OTHER:
        m->subject = buf_str(&c->mapped);
        if (t != NULL)
            trace_mapped(t, m->subject);
        return true;
    default:
        return true;
    }
}

struct str conn_without_domain(const struct conn *c, struct str subject)
{
    const struct options *o = c->net->env->options;
    struct str rest, domain;

    if (LIKELY(subject.n < 5 || subject.p[0] != '$') || !o->jetstream)
        return subject;
    domain = str_of(o->domain);
    if (domain.n == 0)
        return subject;
    if (!str_starts(subject, STR("$JS.")) || !str_starts(str_skip(subject, 4), domain))
        return subject;
    rest = str_skip(subject, 4 + domain.n);
    if (!str_starts(rest, STR(".API.$KV.")) && !str_starts(rest, STR(".API.$OBJ.")))
        return subject;
    return str_skip(rest, 5);
}

static void route(struct conn *c, const struct nats_op *op, struct trace *t)
{
    struct net *net = c->net;
    struct route_result res;
    struct msg m = {
        .subject = conn_without_domain(c, op->subject),
        .reply = op->reply,
        .header = nats_op_header(op),
        .payload = nats_op_payload(op),
        .chunk = op->collected ? c->collecting : NULL,
        .flags = c->echo ? 0 : MSG_F_NO_ECHO,
        .origin_worker = net->env->worker,
        .origin_conn = c->self,
    };
    if (UNLIKELY(atomic_load_explicit(&c->account->maps, memory_order_relaxed)) &&
        !map_subject(c, &m, t))
        return;
    if (UNLIKELY(t != NULL))
        res = route_traced(net->env->router, c->account, &m, trace_tracer(t));
    else
        res = route_publish(net->env->router, c->account, &m);
    if (UNLIKELY(res.receivers == 0))
        conn_no_responders(c, op->subject, op->reply);
    c->stalled |= res.stall;
    /* The next publish may need the memory of the mapped subject. */
    if (UNLIKELY(m.subject.p == c->mapped.p))
        c->stalled |= route_flush(net->env->router);
}

/* A message that may have to be traced. */
static __attribute__((noinline)) void publish_traced(struct conn *c, const struct nats_op *op)
{
    struct trace *t;

    if (!trace_begin(c, op, &t))
        return;
    if (may_publish(c, op, t))
        route(c, op, t);
    if (t != NULL)
        trace_end(t);
}

static void publish(struct conn *c, const struct nats_op *op)
{
    struct env *env = c->net->env;

    c->in_msgs++;
    c->in_bytes += op->body.n;
    /* Said, and no more than that: it goes on. */
    if (UNLIKELY(c->pedantic) && !subject_valid_literal(op->subject))
        put_err(c, STR("Invalid Publish Subject"));
    if (UNLIKELY(c->leaf != NULL))
        leaf_route(c, op);
    else if (UNLIKELY(trace_asked(nats_op_header(op))))
        publish_traced(c, op);
    else if (may_publish(c, op, NULL))
        route(c, op, NULL);
    /* A cut operation lies in the parser's own memory, which the next nats_parse frees. */
    if (UNLIKELY(c->parser.partial != NULL || op->collected))
        c->stalled |= route_flush(env->router);
    if (UNLIKELY(op->collected)) {
        chunk_put(c->collecting, env->chunks);
        c->collecting = NULL;
    }
}

/* ---- other operations -------------------------------------------------------------------------
 */

/* False after having said why not. */
static bool may_subscribe(struct conn *c, const struct nats_op *op)
{
    struct buf b = {0};
    char text[CONN_TEXT_MAX];

    if (c->may == NULL || permissions_may_subscribe(c->may, op->subject, op->queue))
        return true;
    buf_printf(&b, "Permissions Violation for Subscription to \"%.*s\"", STR_ARG(op->subject));
    if (op->queue.n > 0)
        buf_printf(&b, " using queue \"%.*s\"", STR_ARG(op->queue));
    LOG_ERR(c->net->env->log, "%s - Subscription Violation - Subject \"%.*s\", SID %.*s",
            conn_text(c, text), STR_ARG(op->subject), STR_ARG(op->sid));
    put_err(c, buf_str(&b));
    buf_free(&b);
    return false;
}

static void subscribe(struct conn *c, const struct nats_op *op)
{
    char text[CONN_TEXT_MAX];
    const struct options *o = c->net->env->options;

    if (!may_subscribe(c, op))
        return;
    if (o->max_subscription_tokens > 0 &&
        subject_count_tokens(op->subject) > o->max_subscription_tokens) {
        struct buf b = {0};
        buf_printf(&b, "Permissions Violation for Subscription to \"%.*s\", too many tokens",
                   STR_ARG(op->subject));
        put_err(c, buf_str(&b));
        buf_free(&b);
        return;
    }
    route_flush(c->net->env->router);
    switch (sub_add(c, op->subject, op->queue, op->sid)) {
    case SUB_TOO_MANY:
        LOG_ERR(c->net->env->log, "%s - maximum subscriptions exceeded", conn_text(c, text));
        conn_put_err(c, STR("maximum subscriptions exceeded"));
        break;
    case SUB_INVALID:
        conn_put_err(c, STR("Invalid Subject"));
        break;
    default:
        conn_put_ok(c);
        break;
    }
}

struct pong_wait {
    struct env_fence fence;
    struct conn *conn;
};

static void put_pong(struct conn *c)
{
    /* It may have closed while the fence was on its way: then there is no socket any more. */
    if (c->state == CONN_CLOSING)
        return;
    conn_put(c, NATS_PONG);
    if (!c->got_first_ping && c->got_connect && c->leaf == NULL) {
        c->got_first_ping = true;
        if (c->protocol >= 1)
            info_put(c, true);
    }
}

static void pong_passed(struct env_fence *f)
{
    struct pong_wait *w = CONTAINER_OF(f, struct pong_wait, fence);

    w->conn->fences--;
    put_pong(w->conn);
    mem_free(w);
}

/* A PONG says that everything before it has had its effect, on other workers too. */
static void ping(struct conn *c)
{
    struct env *env = c->net->env;
    struct pong_wait *w;

    route_flush(env->router);
    if (env->workers == 1) {
        put_pong(c);
        return;
    }
    w = mem_zalloc(sizeof(*w));
    w->fence.passed = pong_passed;
    w->conn = c;
    c->fences++;
    env->fence(env, &w->fence);
}

static void pong(struct conn *c)
{
    if (c->ping_sent != 0 && c->pings_out > 0)
        c->rtt_ns = (int64_t) (io_now(c->net->env->io) - c->ping_sent);
    c->pings_out = 0;
}

/* Nothing in it is for a server, but it has to be one. */
static void client_info(struct conn *c, struct str text)
{
    json_error_t error;
    json_t *o = json_loadb(text.p, text.n, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    char who[CONN_TEXT_MAX];

    if (!json_is_object(o) && !json_is_null(o)) {
        LOG_ERR(c->net->env->log, "%s - bad INFO", conn_text(c, who));
        conn_close(c, REASON_PROTOCOL_VIOLATION);
    }
    json_decref(o);
}

/* A client that reports an error is done. */
static void client_error(struct conn *c, struct str text)
{
    char who[CONN_TEXT_MAX];

    LOG_ERR(c->net->env->log, "%s - Client Error %.*s", conn_text(c, who), STR_ARG(text));
    conn_close(c, REASON_PARSE_ERROR);
}

static void act(struct conn *c, const struct nats_op *op)
{
    switch (op->verb) {
    case NATS_VERB_PUB:
    case NATS_VERB_HPUB:
    case NATS_VERB_LMSG:
    case NATS_VERB_LHMSG:
        publish(c, op);
        break;
    case NATS_VERB_LSUB:
        leaf_take_sub(c, op->subject, op->queue, op->max);
        break;
    case NATS_VERB_LUNSUB:
        leaf_take_unsub(c, op->subject, op->queue);
        break;
    case NATS_VERB_INFO:
        if (c->leaf != NULL)
            leaf_take_info(c, op->args);
        else
            client_info(c, op->args);
        break;
    case NATS_VERB_SUB:
        subscribe(c, op);
        break;
    case NATS_VERB_UNSUB:
        route_flush(c->net->env->router);
        conn_put_ok(c);
        sub_unsub(c, op->sid, op->max);
        break;
    case NATS_VERB_PING:
        ping(c);
        break;
    case NATS_VERB_PONG:
        pong(c);
        break;
    case NATS_VERB_CONNECT:
        if (c->leaf == NULL || leaf_take_connect(c, op->args))
            connect_process(c, op->args);
        break;
    case NATS_VERB_ERR:
        if (c->leaf != NULL)
            leaf_take_error(c, nats_err_text(op->args));
        else
            client_error(c, op->args);
        break;
    default: /* +OK: nothing a server acts on */
        break;
    }
}

/* ---- receiving --------------------------------------------------------------------------------
 */

static bool collect(struct conn *c, const struct nats_op *op)
{
    c->collecting = chunk_alloc(c->net->env->chunks, op->body.n + 2);
    if (c->collecting == NULL) {
        conn_fail(c, REASON_MAX_PAYLOAD, STR("Maximum Payload Violation"));
        return false;
    }
    nats_parse_collect(&c->parser, (char *) c->collecting->data);
    return true;
}

static void parse_all(struct conn *c, struct str in)
{
    struct nats_op op;
    const struct conn_pack *pack = c->pack;
    bool trace = log_on(c->net->env->log, LOG_TRACE);

    while (c->state != CONN_CLOSING) {
        switch (nats_parse(&c->parser, &in, &op)) {
        case NATS_PARSE_OP:
            if (UNLIKELY(trace))
                conn_trace_in(c, &op);
            act(c, &op);
            if (UNLIKELY(c->checking != NULL)) {
                connect_hold(c, in);
                return;
            }
            if (UNLIKELY(c->tls_state == CONN_TLS_HANDSHAKE)) {
                /* An INFO has begun it. What stands behind that is nobody's word. */
                if (in.n > 0)
                    conn_close(c, REASON_TLS_HANDSHAKE);
                return;
            }
            if (UNLIKELY(c->pack != pack)) {
                /* An INFO has begun it, and waits for an answer. */
                if (in.n > 0)
                    conn_close(c, REASON_PROTOCOL_VIOLATION);
                return;
            }
            break;
        case NATS_PARSE_COLLECT:
            if (!collect(c, &op))
                return;
            break;
        case NATS_PARSE_MORE:
            return;
        case NATS_PARSE_ERROR:
            parse_failed(c, &op);
            return;
        }
    }
}

void conn_receive(struct conn *c)
{
    if (c->state != CONN_CLOSING && !c->paused && c->checking == NULL && c->judged == NULL &&
        !io_op_busy(&c->recv))
        io_recv(c->net->env->io, &c->recv, c->sock);
}

void conn_plain_take(struct conn *c, uint8_t *bytes, size_t n)
{
    if (UNLIKELY(c->ws != NULL))
        conn_ws_take(c, bytes, n);
    else if (UNLIKELY(c->pack != NULL))
        conn_pack_take(c, bytes, n);
    else if (UNLIKELY(c->checking != NULL))
        connect_hold(c, str_from(bytes, n));
    else
        conn_take(c, str_from(bytes, n));
}

void conn_wire_take(struct conn *c, uint8_t *bytes, size_t n)
{
    if (LIKELY(c->tls_state == CONN_TLS_NONE))
        conn_plain_take(c, bytes, n);
    else
        conn_tls_take(c, bytes, n);
}

void conn_take(struct conn *c, struct str in)
{
    struct net *net = c->net;
    uint64_t msgs = c->in_msgs, bytes = c->in_bytes;

    parse_all(c, in);
    c->stalled |= route_flush(net->env->router);
    net->stats.in_msgs += c->in_msgs - msgs;
    net->stats.in_bytes += c->in_bytes - bytes;
    if (UNLIKELY(c->stalled) && c->state != CONN_CLOSING &&
        !net->env->options->no_fast_producer_stall) {
        c->paused = true;
        c->stalls++;
        net->stats.stalled_clients++;
        io_timer_start(net->env->io, &c->pause, io_now(net->env->io) + STALL_NS);
    }
    c->stalled = false;
    conn_receive(c);
}

void conn_received(struct io_op *op)
{
    struct conn *c = CONTAINER_OF(op, struct conn, recv);
    struct net *net = c->net;

    if (c->state == CONN_CLOSING) {
        if (op->res <= 0)
            c->linger_over = true;
        else if (c->fin_sent && !c->close_submitted)
            io_recv(net->env->io, &c->recv, c->sock);
        return;
    }
    if (op->res <= 0 && UNLIKELY(conn_tls_shaking(c))) {
        conn_tls_refused(c, op->res == 0 ? "EOF" : "connection reset by peer");
        return;
    }
    if (op->res <= 0) {
        conn_close(c, op->res == 0 || op->res == -ECONNRESET || op->res == -ECANCELED
                          ? REASON_CLIENT_CLOSED
                          : REASON_READ_ERROR);
        return;
    }
    c->last_in = io_now(net->env->io);
    c->last_activity = io_wall(net->env->io);
    if (UNLIKELY(c->proxy != NULL))
        conn_proxy_take(c, op->data, (size_t) op->res);
    else
        conn_wire_take(c, op->data, (size_t) op->res);
}
