/*
 * conn.c - a connection's life: adopted, timed, closed, freed.
 *
 * The timer serves two phases: until CONNECT it is the authentication timeout (when authentication
 * is required), afterwards it is the ping timer: the first ping comes after FIRST_PING_NS so that
 * the round trip time is known early, the next ones after ping_interval plus a jitter that keeps
 * ten thousand connections from pinging in step.
 */
#include "server/net/conn.h"

#include "lib/base/assert.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/auth/auth.h"
#include "server/auth/verdicts.h"
#include "server/config/options.h"
#include "server/net/event.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define FIRST_PING_NS 2000000000u
/* A message's line carries a subject and a reply of its publisher and a sid of its receiver, and
 * must fit one output chunk of 64 KiB. */
#define CONTROL_LINE_MAX 30000u

const char *conn_reason_text(enum conn_reason r)
{
    static const char *const texts[] = {
#define REASON(name, text) text,
#include "server/net/reasons.def"
#undef REASON
    };
    return texts[r];
}

/* Text in a buffer of CONN_TEXT_MAX bytes; what does not fit is cut. */
struct str_out {
    char *text;
    size_t n;
};

static __attribute__((format(printf, 2, 3))) void put(struct str_out *out, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vsnprintf(out->text + out->n, CONN_TEXT_MAX - out->n, format, args);
    va_end(args);
    if (n > 0)
        out->n = out->n + (size_t) n < CONN_TEXT_MAX ? out->n + (size_t) n : CONN_TEXT_MAX - 1;
}

/* As Go quotes a text, so that a line stays a line and its parts stay apart. */
static void put_quoted(struct str_out *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char) *text;
        if (c == '"' || c == '\\')
            put(out, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            put(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c < ' ' || c == 0x7f)
            put(out, "\\x%02x", c);
        else
            put(out, "%c", c);
    }
}

/* What a client has said of itself: "v1.2:go:name", as much of it as there is. */
static void put_said(struct str_out *out, const struct conn *c)
{
    const char *texts[] = {c->version, c->lang, c->name};
    bool any = false;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (texts[i] == NULL || texts[i][0] == '\0')
            continue;
        put(out, "%s%s", any ? ":" : " - \"", i == 0 ? "v" : "");
        put_quoted(out, texts[i]);
        any = true;
    }
    put(out, "%s", any ? "\"" : "");
}

/* Who it is: the account, and by what it was let in. */
static void put_user(struct str_out *out, const struct conn *c)
{
    const struct options *o = c->net->env->options;
    const char *account = c->account->name, *tag = connect_account_tag(c->account);
    bool named = strcmp(account, tag) != 0;
    const char *how = operators_on(o)                              ? "jwt:"
                      : c->login != NULL && c->login->nkey != NULL ? "nkey:"
                                                                   : "user:";

    if (c->user == NULL)
        return;
    put(out, " - \"");
    put_quoted(out, account);
    put(out, "%s", named ? "/" : "");
    put_quoted(out, named ? tag : "");
    if (o->token != NULL && c->login == NULL)
        put(out, "/token\"");
    else {
        put(out, "/%s", how);
        put_quoted(out, c->user);
        put(out, "\"");
    }
}

const char *conn_text(const struct conn *c, char text[CONN_TEXT_MAX])
{
    const char *forwarded = c->ws != NULL ? conn_ws_forwarded(c) : NULL;
    bool v6 = forwarded != NULL && strchr(forwarded, ':') != NULL;
    struct str_out out = {text, 0};
    char peer[FMT_HOST_PORT_MAX];

    put(&out, "%s%s%s%s%s - %s:%llu", v6 ? "[" : "", forwarded != NULL ? forwarded : "",
        v6 ? "]" : "", forwarded != NULL ? "/" : "",
        fmt_host_port(peer, c->peer.host, c->peer.port),
        c->leaf != NULL            ? "lid"
        : c->door == NET_WEBSOCKET ? "wid"
                                   : "cid",
        (unsigned long long) c->cid);
    if (c->known) {
        put_said(&out, c);
        put_user(&out, c);
    }
    return text;
}

/* ---- timers -----------------------------------------------------------------------------------
 */

static void timed_out(struct wheel_timer *t);

static void start_timer(struct conn *c, uint64_t ns)
{
    struct io *io = c->net->env->io;

    /* Whatever was just put may have closed the connection: it is freed without looking at timers
     * again. */
    if (c->state != CONN_CLOSING)
        io_timer_start(io, &c->timer, io_now(io) + ns);
}

void conn_start_ping(struct conn *c)
{
    const struct options *o = c->net->env->options;
    bool own = c->door == NET_WEBSOCKET && o->websocket.ping_interval_ns > 0;
    uint64_t interval = (uint64_t) (own ? o->websocket.ping_interval_ns : o->ping_interval_ns);

    if (c->ping_sent == 0 && interval > FIRST_PING_NS) {
        start_timer(c, FIRST_PING_NS);
        return;
    }
    start_timer(c, interval + prng_below(c->net->env->prng, interval / 5 + 1));
}

static void send_ping(struct conn *c)
{
    c->pings_out++;
    c->ping_sent = io_now(c->net->env->io);
    conn_put(c, STR("PING\r\n"));
}

static void timed_out(struct wheel_timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, timer);
    const struct options *o = c->net->env->options;
    uint64_t now = io_now(c->net->env->io);
    char who[CONN_TEXT_MAX];

    if (c->leaf != NULL && !c->leaf->bound && c->tls_state != CONN_TLS_GREETED) {
        leaf_timed_out(c);
        return;
    }

    if (c->tls_state != CONN_TLS_NONE && c->tls_state != CONN_TLS_ON) {
        conn_tls_timed_out(c);
        return;
    }
    if (c->ws != NULL && c->leaf == NULL && !conn_ws_upgraded(c)) {
        conn_ws_timed_out(c);
        return;
    }
    if (c->state == CONN_GREETED && connect_announced(c)) {
        LOG_DBG(c->net->env->log, "%s - Authentication Timeout", conn_text(c, who));
        conn_fail(c, REASON_AUTH_TIMEOUT, STR("Authentication Timeout"));
        return;
    }
    /* Data that arrived since the last ping is as good as a PONG. */
    if (c->ping_sent != 0 && c->last_in > c->ping_sent &&
        now - c->last_in < (uint64_t) o->ping_interval_ns)
        c->pings_out = 0;
    if (c->pings_out >= o->ping_max) {
        c->net->stats.stale_connections++;
        conn_fail(c, REASON_STALE, STR("Stale Connection"));
        return;
    }
    send_ping(c);
    conn_start_ping(c);
}

static void resume(struct wheel_timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, pause);

    c->paused = false;
    conn_receive(c);
}

static void missed_deadline(struct wheel_timer *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, deadline);
    char text[CONN_TEXT_MAX], deadline[FMT_TIME_MAX];
    unsigned chunks = 0;

    if (c->fin_sent) {
        c->linger_over = true;
        return;
    }
    if (c->state == CONN_CLOSING) {
        c->drop_output = true;
        return;
    }
    c->net->stats.slow_consumers++;
    for (const struct chunk *k = c->sending.head; k != NULL; k = k->next)
        chunks++;
    fmt_go_duration(deadline, c->net->env->options->write_deadline_ns);
    LOG_INF(
        c->net->env->log,
        "%s - Slow Consumer Detected: WriteDeadline of %s exceeded with %u chunks of %llu total "
        "bytes.",
        conn_text(c, text), deadline, chunks, (unsigned long long) c->sending.bytes);
    if (c->net->env->options->write_retry)
        conn_start_deadline(c); /* what is in flight goes on */
    else
        conn_close(c, REASON_SLOW_DEADLINE);
}

/* ---- adopting ---------------------------------------------------------------------------------
 */

/* What its door gives a client to say who it is. */
static int64_t auth_timeout(const struct conn *c)
{
    const struct options *o = c->net->env->options;

    if (c->door == NET_WEBSOCKET && o->websocket.auth_timeout_ns > 0)
        return o->websocket.auth_timeout_ns;
    return c->door == NET_LEAFS ? o->leaf.auth_timeout_ns : o->auth_timeout_ns;
}

void conn_announce(struct conn *c)
{
    char text[CONN_TEXT_MAX];

    if (c->announced)
        return;
    c->announced = true;
    if (c->leaf != NULL)
        LOG_INF(c->net->env->log, "%s - Leafnode connection created", conn_text(c, text));
    else
        LOG_DBG(c->net->env->log, "%s - Client connection created", conn_text(c, text));
}

void conn_start(struct conn *c)
{
    conn_announce(c);
    if (c->leaf == NULL)
        connect_nothing(c);
    if (connect_announced(c)) {
        c->parser.connect_only = true;
        start_timer(c, (uint64_t) auth_timeout(c));
    } else {
        conn_start_ping(c);
    }
}

static void sock_is_closed(struct io_op *op)
{
    struct conn *c = CONTAINER_OF(op, struct conn, close);
    c->sock_closed = true;
}

uint64_t conn_max_payload(const struct conn *c)
{
    int64_t of_account = atomic_load_explicit(&c->account->max_payload, memory_order_relaxed);
    int64_t own = connect_own_payload(c);
    uint64_t max = c->net->env->options->max_payload;

    if (of_account >= 0 && (uint64_t) of_account < max)
        max = (uint64_t) of_account;
    return own >= 0 && (uint64_t) own < max ? (uint64_t) own : max;
}

void conn_set_limits(struct conn *c)
{
    const struct options *o = c->net->env->options;

    /* Servers name queue groups in their lines. */
    uint32_t line = c->leaf != NULL ? o->max_control_line * 16 : o->max_control_line;

    c->parser.max_control_line = line < CONTROL_LINE_MAX ? line : CONTROL_LINE_MAX;
    c->parser.max_payload = (uint32_t) (conn_max_payload(c) < NATS_NO_LIMIT ? conn_max_payload(c)
                                                                            : NATS_NO_LIMIT);
}

/* Who comes by WebSocket hears behind its upgrade that there is no room, and may be another server,
 * which needs none. So many more may be there to say what they are. */
#define WS_STRANGERS_MAX 256

static bool is_one_too_many(const struct net *net)
{
    int64_t max = net->env->options->max_connections;

    return max >= 0 && atomic_load(&net->shared->connections) > max + WS_STRANGERS_MAX;
}

bool conn_has_room(const struct net *net)
{
    int64_t max = net->env->options->max_connections;

    return max < 0 || atomic_load(&net->shared->connections) <= max;
}

static struct conn *make_conn(struct net *net, io_fd fd, enum net_door door)
{
    struct conn *c = mem_zalloc(sizeof(*c));
    c->net = net;
    c->door = door;
    c->account = net->env->account;
    c->cid = atomic_fetch_add(&net->shared->next_cid, 1) + 1;
    c->self = handle_add(&net->handles, c);
    c->sock = io_sock_open(net->env->io, fd);
    list_init(&c->link);
    list_init(&c->dirty_link);
    io_op_init(&c->recv, conn_received);
    io_op_init(&c->send, conn_sent);
    io_op_init(&c->close, sock_is_closed);
    wheel_timer_init(&c->timer, timed_out);
    wheel_timer_init(&c->pause, resume);
    wheel_timer_init(&c->deadline, missed_deadline);
    nats_parser_init(&c->parser, door == NET_LEAFS ? NATS_ROLE_LEAF : NATS_ROLE_SERVER,
                     (struct nats_limits){0});
    hmap_init(&c->subs);
    list_init(&c->ending_subs);
    c->verbose = c->pedantic = c->echo = true;
    c->start = c->last_activity = io_wall(net->env->io);
    io_sock_peer(c->sock, &c->peer);
    return c;
}

static void make_nonce(struct conn *c)
{
    uint8_t random[AUTH_NONCE_BYTES];

    c->nonce = mem_alloc(AUTH_NONCE_LEN + 1);
    io_random(c->net->env->io, random, sizeof(random));
    auth_nonce_text(random, c->nonce);
}

/* Another server comes in. */
static void adopt_leaf(struct net *net, io_fd fd)
{
    struct conn *c = make_conn(net, fd, NET_LEAFS);

    leaf_begin(c, NULL);
    conn_set_limits(c);
    make_nonce(c);
    if (conn_tls_context(c) != NULL && leaf_has_room(net)) {
        conn_tls_begin(c);
        return;
    }
    info_put(c, false);
    if (!leaf_has_room(net)) {
        conn_fail(c, REASON_MAX_CONNECTIONS, STR("maximum connections exceeded"));
        return;
    }
    conn_start(c);
    conn_receive(c);
}

void conn_become_leaf(struct conn *c)
{
    struct net *net = c->net;

    list_remove(&c->link);
    net->stats.connections--;
    net->stats.total_connections--;
    atomic_fetch_sub(&net->shared->connections, 1);
    c->door = NET_LEAFS;
    nats_parser_deinit(&c->parser);
    nats_parser_init(&c->parser, NATS_ROLE_LEAF, (struct nats_limits){0});
    leaf_begin(c, NULL);
    conn_set_limits(c);
    if (c->nonce == NULL)
        make_nonce(c);
    c->greeted = true;
    info_put(c, false);
    if (leaf_has_room(net))
        conn_start(c);
    else
        conn_fail(c, REASON_MAX_CONNECTIONS, STR("maximum connections exceeded"));
}

void leaf_dialled(struct conn *c)
{
    struct leaf_remote *remote = c->leaf->remote;

    start_timer(c, (uint64_t) remote->options->first_info_timeout_ns);
    if (remote->options->tls.first || (remote->url->ws && remote->url->tls))
        conn_tls_dial(c, leaf_remote_tls(remote), remote->url->host);
    else if (remote->url->ws)
        leaf_secured(c);
}

void conn_adopt_remote(struct net *net, io_fd fd, struct leaf_remote *remote)
{
    struct conn *c = make_conn(net, fd, NET_LEAFS);
    const char *account = remote->options->account;
    char text[CONN_TEXT_MAX];

    leaf_begin(c, remote);
    remote->conn = c;
    if (account != NULL)
        c->account = account_set_find(net->env->accounts, str_of(account));
    conn_set_limits(c);
    LOG_INF(net->env->log, "%s - Leafnode connection created for account: %s", conn_text(c, text),
            account != NULL ? account : "$G");
    if (leaf_remote_proxy(remote) != NULL) {
        start_timer(c, (uint64_t) leaf_remote_patience(remote));
        conn_tunnel_begin(c, leaf_remote_proxy(remote));
    } else {
        leaf_dialled(c);
    }
    conn_receive(c);
}

void conn_adopt(struct net *net, io_fd fd, enum net_door door)
{
    const struct options *o = net->env->options;
    struct conn *c;

    if (door == NET_LEAFS) {
        adopt_leaf(net, fd);
        return;
    }
    c = make_conn(net, fd, door);
    atomic_fetch_add(&net->shared->connections, 1);
    list_push_back(&net->conns, &c->link);
    conn_set_limits(c);
    net->stats.connections++;
    net->stats.total_connections++;
    if (door == NET_WEBSOCKET && is_one_too_many(net)) {
        conn_close(c, REASON_MAX_CONNECTIONS);
        return;
    }
    if (auth_wants_nonce(o))
        make_nonce(c);
    if (o->proxy_protocol && door == NET_CLIENTS)
        conn_proxy_begin(c);
    if (conn_tls_context(c) != NULL && (conn_has_room(net) || door == NET_WEBSOCKET)) {
        conn_tls_begin(c);
        return;
    }
    if (door == NET_WEBSOCKET) {
        conn_ws_begin(c);
        conn_receive(c);
        return;
    }
    /* Clients read INFO before anything else, also before a refusal. */
    info_put(c, false);
    if (!conn_has_room(net)) {
        conn_fail(c, REASON_MAX_CONNECTIONS, STR("maximum connections exceeded"));
        return;
    }
    conn_start(c);
    conn_receive(c);
}

/* ---- closing ----------------------------------------------------------------------------------
 */

static bool peer_can_not_read(enum conn_reason r)
{
    return r == REASON_SLOW_PENDING || r == REASON_SLOW_DEADLINE || r == REASON_WRITE_ERROR ||
           r == REASON_READ_ERROR || r == REASON_CLIENT_CLOSED;
}

void conn_close(struct conn *c, enum conn_reason reason)
{
    struct net *net = c->net;
    struct io *io = net->env->io;
    char text[CONN_TEXT_MAX];
    bool was_bound = c->leaf != NULL && c->leaf->bound;

    if (c->state == CONN_CLOSING)
        return;
    c->state = CONN_CLOSING;
    c->reason = reason;
    if (c->leaf == NULL && (c->announced || c->door == NET_CLIENTS))
        LOG_DBG(net->env->log, "%s - Client connection closed: %s", conn_text(c, text),
                conn_reason_text(reason));
    io_timer_stop(io, &c->timer);
    io_timer_stop(io, &c->pause);
    conn_proxy_free(c);
    if (peer_can_not_read(reason) && !conn_ws_said_goodbye(c)) {
        c->drop_output = true;
        if (!io_op_busy(&c->send))
            conn_drop_output(c);
    }
    io_timer_start(io, &c->deadline, io_now(io) + CONN_CLOSE_NS);
    list_remove(&c->link);
    list_push_back(&net->closing, &c->link);
    if (c->leaf == NULL) {
        net->stats.connections--;
        atomic_fetch_sub(&net->shared->connections, 1);
        event_disconnect(c, conn_reason_text(reason));
    }
    connect_leave_account(c);
    if (c->leaf != NULL) {
        bool named = c->leaf->name != NULL && (was_bound || c->leaf->remote != NULL);
        LOG_INF(net->env->log, "%s - Leafnode connection closed: %s%s%s", conn_text(c, text),
                conn_reason_text(reason), named ? " - Remote: " : "", named ? c->leaf->name : "");
    } else if (c->ws == NULL || conn_ws_upgraded(c))
        net_remember_closed(net, c);
    conn_flush(c);
}

void conn_fail(struct conn *c, enum conn_reason reason, struct str text)
{
    char who[CONN_TEXT_MAX];

    if (c->state == CONN_CLOSING)
        return;
    if (reason == REASON_MAX_CONNECTIONS || reason == REASON_BAD_PROTOCOL ||
        reason == REASON_NO_RESPONDERS_HEADERS)
        LOG_ERR(c->net->env->log, "%s - %.*s", conn_text(c, who), STR_ARG(text));
    conn_put_err(c, text);
    conn_close(c, reason);
}

static void free_conn(struct conn *c)
{
    struct net *net = c->net;

    ASSERT(c->subs.count == 0);
    list_remove(&c->link);
    list_remove(&c->dirty_link);
    io_timer_stop(net->env->io, &c->deadline);
    nats_parser_deinit(&c->parser);
    if (c->collecting != NULL)
        chunk_put(c->collecting, net->env->chunks);
    hmap_deinit(&c->subs);
    handle_remove(&net->handles, c->self);
    mem_free(c->name);
    mem_free(c->lang);
    mem_free(c->version);
    mem_free(c->user);
    buf_free(&c->mapped);
    mem_free(c->nonce);
    mem_free(c->proxy_key);
    mem_free(c->jwt);
    tls_close(c->tls);
    conn_ws_free(c);
    conn_pack_free(c);
    leaf_free(c);
    answers_free(c);
    connect_sign_out(c);
    permissions_free(c->own_may);
    verdicts_clear(&c->verdicts);
    mem_free(c);
}

/* Shuts our side down; true while the client still has time to close its side. */
static bool lingers(struct conn *c)
{
    struct io *io = c->net->env->io;

    if (c->drop_output || c->linger_over)
        return false;
    if (!c->fin_sent) {
        c->fin_sent = true;
        io_sock_shutdown(io, c->sock);
        io_timer_start(io, &c->deadline,
                       io_now(io) + (c->net->stopping ? CONN_LINGER_STOPPING_NS : CONN_LINGER_NS));
        if (!io_op_busy(&c->recv))
            io_recv(io, &c->recv, c->sock);
    }
    return true;
}

bool conn_reap(struct conn *c)
{
    bool output = c->out.bytes > 0 || c->framed.bytes > 0 || c->wire.bytes > 0 ||
                  io_op_busy(&c->send);

    /* Not in conn_close: that may run inside a delivery, where the interest must not change. */
    if (c->leaf != NULL)
        leaf_stop(c);
    if (c->subs.count > 0)
        sub_remove_all(c);
    if (output && !c->drop_output) {
        conn_flush(c);
        return false;
    }
    if (!c->close_submitted) {
        if (!c->drop_output && (conn_ws_end(c) || conn_tls_end(c)))
            return false;
        if (lingers(c))
            return false;
        c->close_submitted = true;
        io_sock_close(c->net->env->io, &c->close, c->sock);
    }
    if (!c->sock_closed || io_op_busy(&c->recv) || io_op_busy(&c->send) || c->fences > 0 ||
        c->checking != NULL || c->judged != NULL || !list_empty(&c->ending_subs))
        return false;
    conn_drop_output(c);
    free_conn(c);
    return true;
}
