/*
 * conn_tls.c - a connection with TLS between the socket and the parser.
 *
 *     out  --records--> wire --socket--> client        (CONN_TLS_ON)
 *     INFO ------------> wire                           (before the handshake)
 *     receive --records--> net->plain --> conn_plain_take
 *
 * Between `out` and records lie frames on a WebSocket door (conn_ws.c), where the handshake always
 * comes first.
 *
 * A client learns from INFO that it has to begin a handshake, or (handshake_first) begins it
 * without; with a time to wait for that the server speaks first after all:
 *
 *     FIRST --bytes--> HANDSHAKE --done--> ON: INFO now, then as any connection
 *       \--no bytes for first_wait_ns--> GREETED --bytes--> HANDSHAKE --done--> ON
 *                                           \--allow_non_tls, and no TLS record,
 *                                              or nothing for the timeout--> NONE
 *
 * With ocsp_peer a state lies before ON, JUDGED (conn_peer.c).
 *
 * Until ON nothing that is in out can be sent; a connection that closes before drops it. The
 * connection's timer is the handshake's until it is done: conn_start begins what comes then.
 *
 * pending counts what the client is owed: plain bytes as long as they are plain, then their
 * records.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"
#include "server/net/tls.h"

/* A receive is at most twice as long. */
#define PLAIN_BYTES (128u << 10)
/* Not more records at a time than one send takes. */
#define WIRE_BYTES (1u << 20)
#define RECORD_HANDSHAKE 0x16
/* Of one that we begin, when the options do not say. */
#define HANDSHAKE_NS 2000000000

const struct tls_options *conn_tls_options(const struct conn *c)
{
    const struct options *o = c->net->env->options;

    if (c->leaf != NULL && c->leaf->remote != NULL)
        return &c->leaf->remote->options->tls;
    return c->door == NET_LEAFS       ? &o->leaf.tls
           : c->door == NET_WEBSOCKET ? &o->websocket.tls
                                      : &o->tls;
}

struct tls_context *conn_tls_context(const struct conn *c)
{
    const struct env *env = c->net->env;

    return c->door == NET_LEAFS       ? env->tls_leaf
           : c->door == NET_WEBSOCKET ? env->tls_websocket
                                      : env->tls;
}

static void start_timer(struct conn *c, int64_t ns)
{
    struct io *io = c->net->env->io;

    io_timer_start(io, &c->timer, io_now(io) + (uint64_t) ns);
}

/* ---- before the handshake -------------------------------------------------------------------- */

static bool may_go_plain(const struct conn *c)
{
    return c->net->env->options->allow_non_tls && c->leaf == NULL;
}

static void say_starting(const struct conn *c)
{
    char text[CONN_TEXT_MAX];

    LOG_DBG(c->net->env->log, "%s - Starting TLS %s connection handshake", conn_text(c, text),
            c->leaf != NULL ? "leafnode" : "client");
}

/* What was put goes as it is. */
static void send_plain(struct conn *c)
{
    struct outbuf *w = &c->wire;

    if (c->out.head == NULL)
        return;
    if (w->tail != NULL)
        w->tail->next = c->out.head;
    else
        w->head = c->out.head;
    w->tail = c->out.tail;
    w->bytes += c->out.bytes;
    c->out = (struct outbuf){0};
}

static void greet(struct conn *c)
{
    c->tls_state = CONN_TLS_GREETED;
    c->greeted = true;
    info_put(c, false);
    send_plain(c);
    start_timer(c, conn_tls_options(c)->timeout_ns);
    if (!may_go_plain(c))
        say_starting(c);
}

/* Handshakes cost far more than connections: only so many of clients begin in a second. Workers
 * that meet at the end of one may let a few more in. */
static bool may_begin(struct conn *c)
{
    struct net_shared *s = c->net->shared;
    int64_t limit = conn_tls_options(c)->rate_limit;
    uint64_t now = io_now(c->net->env->io);

    if (limit <= 0 || c->door != NET_CLIENTS)
        return true;
    if (now >= atomic_load(&s->handshakes_until)) {
        atomic_store(&s->handshakes_until, now + 1000000000u);
        atomic_store(&s->handshakes, 0);
    }
    return atomic_fetch_add(&s->handshakes, 1) < limit;
}

static void turn_away(struct conn *c)
{
    static const char text[] = "Connection throttling is active. Please try again later.";
    char who[CONN_TEXT_MAX];

    c->tls_state = CONN_TLS_GREETED;
    if (!conn_tls_options(c)->first)
        info_put(c, false);
    conn_put_err(c, STR(text));
    send_plain(c);
    LOG_ERR(c->net->env->log, "%s - %s", conn_text(c, who), text);
    conn_close(c, REASON_MAX_CONNECTIONS);
}

void conn_tls_begin(struct conn *c)
{
    const struct tls_options *o = conn_tls_options(c);

    if (c->door == NET_CLIENTS)
        conn_announce(c);
    if (UNLIKELY(!may_begin(c))) {
        turn_away(c);
        return;
    }
    if (c->door == NET_WEBSOCKET) {
        c->tls_state = CONN_TLS_FIRST;
        start_timer(c, o->timeout_ns);
    } else if (o->first) {
        c->tls_state = CONN_TLS_FIRST;
        start_timer(c, o->first_wait_ns > 0 ? o->first_wait_ns : o->timeout_ns);
        if (o->first_wait_ns == 0)
            say_starting(c);
    } else {
        greet(c);
    }
    conn_receive(c);
}

/* The client does without, or says nothing for so long that it waits for something else. */
static void go_plain(struct conn *c, uint8_t *bytes, size_t n)
{
    c->tls_state = CONN_TLS_NONE;
    c->out = c->wire; /* INFO, if it is still there */
    c->wire = (struct outbuf){0};
    conn_start(c);
    if (n > 0)
        conn_plain_take(c, bytes, n);
}

void conn_tls_timed_out(struct conn *c)
{
    char text[CONN_TEXT_MAX];

    if (c->tls_state == CONN_TLS_GREETED && may_go_plain(c)) {
        go_plain(c, NULL, 0);
        return;
    }
    if (c->tls_state == CONN_TLS_FIRST && c->door != NET_WEBSOCKET &&
        conn_tls_options(c)->first_wait_ns > 0) {
        greet(c);
        return;
    }
    LOG_ERR(c->net->env->log, "%s - TLS handshake timeout", conn_text(c, text));
    if (c->tls_state != CONN_TLS_HANDSHAKE && c->door != NET_WEBSOCKET) {
        conn_put_err(c, STR("Secure Connection - TLS Required"));
        send_plain(c);
    }
    conn_close(c, REASON_TLS_HANDSHAKE);
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void handshake_failed(struct conn *c, const char *why)
{
    struct log *log = c->net->env->log;
    char text[CONN_TEXT_MAX], peer[FMT_HOST_PORT_MAX];

    if (c->door == NET_WEBSOCKET)
        LOG_ERR(log, "websocket: TLS handshake error from %s: %s",
                fmt_host_port(peer, c->peer.host, c->peer.port), why);
    else
        LOG_ERR(log, "%s - TLS handshake error: %s", conn_text(c, text), why);
    conn_close(c, REASON_TLS_HANDSHAKE);
}

static void session_failed(struct conn *c)
{
    struct buf why = {0};

    tls_failure(c->tls, c->door != NET_WEBSOCKET, &why);
    handshake_failed(c, buf_cstr(&why));
    buf_free(&why);
}

static bool is_http(struct str in)
{
    return str_starts(in, STR("GET /")) || str_starts(in, STR("HEAD ")) ||
           str_starts(in, STR("POST ")) || str_starts(in, STR("PUT /")) ||
           str_starts(in, STR("OPTIO"));
}

/* Of whom it is no use to tell everybody: a client of another kind has lost its way. */
static void is_no_tls(struct conn *c, struct str in)
{
    static const char sorry[] = "HTTP/1.0 400 Bad Request\r\n\r\n"
                                "Client sent an HTTP request to an HTTPS server.\n";
    static const char what[] = "tls: first record does not look like a TLS handshake";
    char text[CONN_TEXT_MAX];

    if (c->door == NET_WEBSOCKET && is_http(in)) {
        conn_put(c, STR(sorry));
        send_plain(c);
        handshake_failed(c, "client sent an HTTP request to an HTTPS server");
    } else if (c->door == NET_WEBSOCKET) {
        handshake_failed(c, what);
    } else {
        LOG_DBG(c->net->env->log, "%s - TLS handshake error: %s", conn_text(c, text), what);
        conn_close(c, REASON_TLS_HANDSHAKE);
    }
}

bool conn_tls_unpinned(const struct conn *c)
{
    const struct tls_context *now = conn_tls_context(c);
    char key[TLS_PIN_TEXT];

    return c->tls != NULL && c->tls_state == CONN_TLS_ON && now != NULL &&
           (c->leaf == NULL || c->leaf->remote == NULL) && !tls_pinned(c->tls, now, key);
}

bool conn_tls_shaking(const struct conn *c)
{
    return c->tls_state == CONN_TLS_FIRST || c->tls_state == CONN_TLS_GREETED ||
           c->tls_state == CONN_TLS_HANDSHAKE;
}

void conn_tls_refused(struct conn *c, const char *why)
{
    handshake_failed(c, why);
}

void conn_tls_good(struct conn *c)
{
    struct net *net = c->net;
    char text[CONN_TEXT_MAX];

    if (c->door != NET_WEBSOCKET) {
        LOG_DBG(net->env->log, "%s - TLS handshake complete", conn_text(c, text));
        LOG_DBG(net->env->log, "%s - TLS version %s, cipher suite %s", text,
                tls_version_name(c->tls), tls_cipher_name(c->tls));
    }
    io_timer_stop(net->env->io, &c->timer);
    c->tls_state = CONN_TLS_ON;
    if (c->door == NET_WEBSOCKET) {
        conn_ws_begin(c);
        return;
    }
    if (c->leaf != NULL && c->leaf->remote != NULL) {
        leaf_secured(c);
        return;
    }
    if (!c->greeted) {
        c->greeted = c->tls_first = true;
        info_put(c, false);
    }
    conn_start(c);
}

static void established(struct conn *c)
{
    char text[CONN_TEXT_MAX], key[TLS_PIN_TEXT];

    if (!tls_pinned(c->tls, c->tls->context, key)) {
        LOG_DBG(c->net->env->log, "%s - Failed pinned cert test for key id: %s", conn_text(c, text),
                key);
        handshake_failed(c, "certificate not pinned");
    } else if (UNLIKELY(conn_peer_wants(c))) {
        c->tls_state = CONN_TLS_JUDGED;
        conn_peer_ask(c);
    } else {
        conn_tls_good(c);
    }
}

/* What OpenSSL wants to send of its own. */
static void note_wire(struct conn *c, uint64_t before)
{
    if (c->wire.bytes > before && c->state != CONN_CLOSING)
        conn_wrote(c, c->wire.bytes - before);
}

static void shake_hands(struct conn *c)
{
    uint64_t before = c->wire.bytes;
    enum tls_answer answer = tls_session_handshake(&c->tls->session);

    note_wire(c, before);
    if (answer == TLS_OK)
        established(c);
    else if (answer == TLS_CLOSED)
        handshake_failed(c, "EOF");
    else if (answer != TLS_MORE)
        session_failed(c);
}

void conn_tls_dial(struct conn *c, struct tls_context *context, const char *host)
{
    if (context == NULL) {
        conn_close(c, REASON_TLS_HANDSHAKE);
        return;
    }
    c->tls = tls_open_client(context, host, &c->wire, c->net->env->chunks);
    c->tls_state = CONN_TLS_HANDSHAKE;
    c->tls_begun = true;
    start_timer(c, conn_tls_options(c)->timeout_ns > 0 ? conn_tls_options(c)->timeout_ns
                                                       : HANDSHAKE_NS);
    tls_session_input(&c->tls->session, STR_NONE);
    shake_hands(c);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* As many records as there are and fit. */
static enum tls_answer fill(struct conn *c, size_t *n)
{
    enum tls_answer answer = TLS_OK;
    uint64_t before = c->wire.bytes;
    size_t more;

    *n = 0;
    while (answer == TLS_OK && *n < PLAIN_BYTES) {
        answer = tls_session_read(&c->tls->session, c->net->plain + *n, PLAIN_BYTES - *n, &more);
        *n += more;
    }
    note_wire(c, before);
    return answer;
}

static void read_all(struct conn *c)
{
    enum tls_answer answer = TLS_OK;
    char text[CONN_TEXT_MAX];
    size_t n;

    if (c->net->plain == NULL)
        c->net->plain = mem_alloc(PLAIN_BYTES);
    while (answer == TLS_OK && c->state != CONN_CLOSING) {
        answer = fill(c, &n);
        if (n > 0 && UNLIKELY(c->tls_state == CONN_TLS_JUDGED))
            conn_peer_hold(c, c->net->plain, n);
        else if (n > 0)
            conn_plain_take(c, c->net->plain, n);
    }
    if (answer == TLS_FAILED && c->state != CONN_CLOSING)
        LOG_ERR(c->net->env->log, "%s - TLS read error: %s", conn_text(c, text),
                c->tls->session.error);
    if (answer == TLS_CLOSED || answer == TLS_FAILED)
        conn_close(c, answer == TLS_CLOSED ? REASON_CLIENT_CLOSED : REASON_READ_ERROR);
}

/* Until now it could have been something else that begins. */
static bool starts_late(const struct conn *c)
{
    return c->tls_state == CONN_TLS_GREETED
               ? may_go_plain(c)
               : c->door != NET_WEBSOCKET && conn_tls_options(c)->first_wait_ns > 0;
}

void conn_tls_take(struct conn *c, uint8_t *bytes, size_t n)
{
    struct env *env = c->net->env;
    struct str in = str_from(bytes, n);

    if (UNLIKELY(c->tls_state == CONN_TLS_TUNNEL)) {
        conn_tunnel_take(c, bytes, n);
        return;
    }

    if (c->tls_state == CONN_TLS_GREETED && may_go_plain(c) && in.p[0] != RECORD_HANDSHAKE) {
        go_plain(c, bytes, n);
        return;
    }
    if (c->tls == NULL) {
        if (conn_tls_context(c) == NULL) { /* a reload took it away */
            conn_close(c, REASON_TLS_HANDSHAKE);
            return;
        }
        if (starts_late(c))
            say_starting(c);
        c->tls = tls_open(conn_tls_context(c), &c->wire, env->chunks);
        c->tls_state = CONN_TLS_HANDSHAKE;
        start_timer(c, conn_tls_options(c)->timeout_ns);
    }
    if (c->tls_state == CONN_TLS_HANDSHAKE && !c->tls_begun && in.p[0] != RECORD_HANDSHAKE) {
        is_no_tls(c, in);
        return;
    }
    c->tls_begun = true;
    tls_session_input(&c->tls->session, in);
    if (c->tls_state == CONN_TLS_HANDSHAKE)
        shake_hands(c);
    if ((c->tls_state == CONN_TLS_ON || c->tls_state == CONN_TLS_JUDGED) &&
        c->state != CONN_CLOSING)
        read_all(c);
    conn_receive(c);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void drop_plain(struct conn *c)
{
    struct outbuf *out = conn_unencrypted(c);

    c->pending -= out->bytes;
    outbuf_free(out, c->net->env->chunks);
}

/* The first chunk becomes records. */
static bool encrypt_chunk(struct conn *c)
{
    struct outbuf *out = conn_unencrypted(c);
    struct chunk *k = out->head;
    uint64_t before = c->wire.bytes;
    bool ok = tls_session_write(&c->tls->session, str_from(k->data, k->len));

    out->head = k->next;
    if (out->head == NULL)
        out->tail = NULL;
    out->bytes -= k->len;
    c->pending += c->wire.bytes - before;
    c->pending -= k->len;
    chunk_put(k, c->net->env->chunks);
    return ok;
}

void conn_tls_flush(struct conn *c)
{
    if (c->tls_state != CONN_TLS_ON) {
        if (c->state == CONN_CLOSING)
            drop_plain(c);
        return;
    }
    while (conn_unencrypted(c)->head != NULL && c->wire.bytes < WIRE_BYTES) {
        if (!encrypt_chunk(c)) {
            c->drop_output = true;
            conn_close(c, REASON_WRITE_ERROR);
            conn_drop_output(c);
            return;
        }
    }
}

bool conn_tls_end(struct conn *c)
{
    uint64_t before = c->wire.bytes;

    if (c->tls_state != CONN_TLS_ON || c->tls_ended)
        return false;
    c->tls_ended = true;
    tls_session_end(&c->tls->session);
    c->pending += c->wire.bytes - before;
    conn_flush(c);
    return true;
}
