/*
 * conn_ws.c - a connection whose operations travel in WebSocket frames.
 *
 *     out  --frames--> framed --socket, or records of TLS--> client
 *     receive, or what was decrypted --frames--> conn_take
 *
 *     begin --request, 101--> upgraded: INFO now, then as any connection; of a leaf node, which a
 *       |                     path says, as of one at its own door
 *       \--anything else, or too late--> an HTTP answer, closed
 *     dial --our request, 101--> upgraded: what we send has masks, unless that was agreed on
 *
 * The upgrade request is gathered until its end, HTTP_HEAD_MAX bytes at most; what is put in `out`
 * before is dropped. Answer and control frames go to `framed` at once, operations become frames
 * when a send begins: one message for all that waits, up to FRAME_BYTES of whole chunks. Browsers
 * get frames of BROWSER_BYTES. A message of more than PACK_MIN bytes is compressed when that was
 * agreed on.
 *
 * Of a compressed message that comes in several pieces the pieces are kept until it is complete:
 * at most PACKED_TIMES the largest payload, PACKED_MAX, and PACKED_STRANGER before the client has
 * said who it is. Unpacked it may be as long. Who has not said it, pings and does not read the
 * answers is closed when it is owed OWED_STRANGER.
 *
 * Closing: whoever ends it sends a close frame last. The client's is answered with its own code;
 * ours has a code for the reason.
 *
 * pending counts what the client is owed: operations as long as they wait, then their frames.
 */
#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "lib/wire/http_head.h"
#include "lib/wire/websocket.h"
#include "lib/wire/websocket_pack.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/ws_upgrade.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FRAME_BYTES (1u << 20)
#define BROWSER_BYTES 4096u
#define PACK_MIN 64u
#define PACKED_TIMES 8u
#define PACKED_MAX (64u << 20)
#define PACKED_STRANGER (64u << 10)
#define OWED_STRANGER (64u << 10)
#define UPGRADE_NS 10000000000u /* unless the options say otherwise */

struct conn_ws {
    bool upgraded, packs, browser, whole;
    bool dialled, masks;      /* by us; what we send */
    bool ask_no_masking;      /* of the server */
    char key[WS_KEY_LEN + 1]; /* of our request */
    bool goodbye;    /* the reason why it closes came in a frame, or is about one: close_* say it */
    bool close_sent; /* our close frame */
    struct ws_reader in;
    struct buf request;   /* as far as it has arrived */
    struct outbuf pieces; /* of a compressed message */
    unsigned close_code;
    char close_text[WS_CONTROL_MAX];
    size_t close_n;
    char *cookies[WS_COOKIES];
    char *forwarded; /* the address that the request says it comes from, or NULL */
};

/* ---- output ---------------------------------------------------------------------------------- */

/* Behind everything that is framed already. False: memory is short. */
static bool put_framed(struct conn *c, const void *bytes, size_t n)
{
    if (!outbuf_put(&c->framed, c->net->env->chunks, bytes, n))
        return false;
    c->pending += n;
    return true;
}

static bool put_head(struct conn *c, const struct ws_frame *f)
{
    uint8_t head[WS_HEAD_MAX];

    return put_framed(c, head, ws_write_head(head, f));
}

/* One whole frame with a mask: a copy, because the payload may be others' too. */
static bool put_masked(struct conn *c, enum ws_opcode opcode, struct str payload)
{
    uint8_t key[4], *copy = mem_alloc(payload.n + 1);
    bool ok;

    io_random(c->net->env->io, key, sizeof(key));
    if (payload.n > 0)
        memcpy(copy, payload.p, payload.n);
    ws_mask(copy, payload.n, key, 0);
    ok = put_head(c, &(struct ws_frame){.opcode = opcode, .key = key, .n = payload.n}) &&
         put_framed(c, copy, payload.n);
    mem_free(copy);
    return ok;
}

static bool put_control(struct conn *c, enum ws_opcode opcode, struct str payload)
{
    if (c->ws->masks)
        return put_masked(c, opcode, payload);
    return put_head(c, &(struct ws_frame){.opcode = opcode, .n = payload.n}) &&
           put_framed(c, payload.p, payload.n);
}

static void send_soon(struct conn *c)
{
    conn_wrote(c, 0);
}

/* The payload of one message, in frames of at most `most` bytes. */
static bool put_frames(struct conn *c, struct str payload, size_t most, bool compressed)
{
    bool first = true;

    do {
        struct str now = str_take(payload, most);
        payload = str_skip(payload, now.n);
        if (!put_head(c, &(struct ws_frame){.opcode = first ? WS_BINARY : WS_CONTINUATION,
                                            .more = payload.n > 0,
                                            .compressed = first && compressed,
                                            .n = now.n}) ||
            !put_framed(c, now.p, now.n))
            return false;
        first = false;
    } while (payload.n > 0);
    return true;
}

static bool pack(struct conn *c, const struct outbuf *message)
{
    struct net *net = c->net;
    struct str packed;

    if (net->pack == NULL)
        net->pack = ws_pack_open();
    ws_pack_begin(net->pack);
    for (const struct chunk *k = message->head; k != NULL; k = k->next)
        ws_pack_add(net->pack, str_from(k->data, k->len));
    packed = ws_pack_end(net->pack);
    return packed.p != NULL &&
           put_frames(c, packed, c->ws->browser && !c->ws->whole ? BROWSER_BYTES : SIZE_MAX, true);
}

/* Frees what it does not take. */
static bool frame(struct conn *c, struct outbuf *message)
{
    struct chunk_pool *chunks = c->net->env->chunks;
    bool ok = true;

    c->pending -= message->bytes;
    if (c->ws->masks) {
        for (const struct chunk *k = message->head; ok && k != NULL; k = k->next)
            ok = put_masked(c, WS_BINARY, str_from(k->data, k->len));
    } else if (c->ws->packs && message->bytes > PACK_MIN) {
        ok = pack(c, message);
    } else if (c->ws->browser) {
        for (const struct chunk *k = message->head; ok && k != NULL; k = k->next)
            for (size_t at = 0; ok && at < k->len; at += BROWSER_BYTES)
                ok = put_frames(c, str_take(str_from(k->data + at, k->len - at), BROWSER_BYTES),
                                BROWSER_BYTES, false);
    } else {
        ok = put_head(c, &(struct ws_frame){.opcode = WS_BINARY, .n = message->bytes});
        if (ok) {
            c->pending += message->bytes;
            outbuf_splice(&c->framed, message);
        }
    }
    outbuf_free(message, chunks);
    return ok;
}

void conn_ws_flush(struct conn *c)
{
    struct outbuf message = {0};

    if (!c->ws->upgraded && c->ws->dialled)
        return;
    if (!c->ws->upgraded) {
        c->pending -= c->out.bytes;
        outbuf_free(&c->out, c->net->env->chunks);
        return;
    }
    while (c->out.head != NULL) {
        outbuf_move(&message, &c->out, UINT_MAX, FRAME_BYTES);
        if (!frame(c, &message)) {
            c->drop_output = true;
            conn_close(c, REASON_WRITE_ERROR);
            conn_drop_output(c);
            return;
        }
    }
}

/* ---- the upgrade ----------------------------------------------------------------------------- */

void conn_ws_begin(struct conn *c)
{
    struct io *io = c->net->env->io;
    int64_t timeout = c->net->env->options->websocket.handshake_timeout_ns;

    c->ws = mem_zalloc(sizeof(*c->ws));
    io_timer_start(io, &c->timer, io_now(io) + (timeout > 0 ? (uint64_t) timeout : UPGRADE_NS));
}

bool conn_ws_upgraded(const struct conn *c)
{
    return c->ws->upgraded;
}

static void say_failed(const struct conn *c, const char *why)
{
    char peer[FMT_HOST_PORT_MAX];

    LOG_ERR(c->net->env->log, "%s - websocket handshake error: %s",
            fmt_host_port(peer, c->peer.host, c->peer.port), why);
}

void conn_ws_timed_out(struct conn *c)
{
    say_failed(c, "timeout");
    conn_close(c, REASON_PROTOCOL_VIOLATION);
}

/* Says why not, and closes. */
static void refuse(struct conn *c, struct buf *answer, const char *why)
{
    say_failed(c, why);
    put_framed(c, answer->p, answer->n);
    conn_close(c, REASON_PROTOCOL_VIOLATION);
}

static void refuse_status(struct conn *c, unsigned status, const char *why)
{
    struct buf answer = {0};

    ws_upgrade_refuse(status, false, &answer);
    refuse(c, &answer, why);
    buf_free(&answer);
}

static void refuse_nonsense(struct conn *c, unsigned status, const char *why)
{
    struct buf answer = {0};

    ws_upgrade_nonsense(status, &answer);
    refuse(c, &answer, why);
    buf_free(&answer);
}

static void keep_cookies(struct conn *c, const struct http_head *request)
{
    const struct websocket_options *w = &c->net->env->options->websocket;
    const char *const names[WS_COOKIES] = {w->jwt_cookie, w->user_cookie, w->pass_cookie,
                                           w->token_cookie};

    for (unsigned i = 0; i < WS_COOKIES; i++) {
        struct str value = names[i] != NULL ? http_cookie(request, names[i]) : STR_NONE;
        if (value.n > 0)
            c->ws->cookies[i] = mem_strndup(value.p, value.n);
    }
}

/* From here on it is a client like any other. */
static void greet(struct conn *c)
{
    io_timer_stop(c->net->env->io, &c->timer);
    c->greeted = true;
    info_put(c, false);
    if (!conn_has_room(c->net)) {
        conn_announce(c);
        conn_fail(c, REASON_MAX_CONNECTIONS, STR("maximum connections exceeded"));
        return;
    }
    conn_start(c);
}

static void accept_upgrade(struct conn *c, const struct http_head *request,
                           const struct ws_upgrade *u, struct buf *answer)
{
    struct conn_ws *ws = c->ws;

    if (!put_framed(c, answer->p, answer->n)) {
        conn_close(c, REASON_WRITE_ERROR);
        return;
    }
    if (u->leaf && c->net->env->options->leaf.port == 0) {
        LOG_ERR(c->net->env->log, "Not configured to accept leaf node connections");
        conn_close(c, REASON_PROTOCOL_VIOLATION);
        return;
    }
    ws->packs = ws->in.packs = u->packs;
    ws->in.must_mask = !u->no_masking;
    ws->browser = u->browser;
    ws->whole = u->whole;
    if (u->client_ip.n > 0)
        ws->forwarded = mem_strndup(u->client_ip.p, u->client_ip.n);
    keep_cookies(c, request);
    ws->upgraded = true;
    if (u->leaf)
        conn_become_leaf(c);
    else
        greet(c);
}

static void act_on(struct conn *c, const struct http_head *request, size_t behind)
{
    const struct websocket_options *w = &c->net->env->options->websocket;
    struct ws_upgrade u;
    struct buf answer = {0};

    ws_upgrade_check(w, request, c->tls_state == CONN_TLS_ON, &u);
    if (u.status == 101 && behind > 0) {
        refuse_status(c, 400, "client sent data before handshake is complete");
        return;
    }
    ws_upgrade_answer(w, &u, &answer);
    if (u.status == 101)
        accept_upgrade(c, request, &u, &answer);
    else
        refuse(c, &answer, u.why);
    buf_free(&answer);
}

static void take_request(struct conn *c, struct str bytes)
{
    struct buf *b = &c->ws->request;
    struct http_head head;

    buf_put_str(b, str_take(bytes, HTTP_HEAD_MAX + 1 - b->n));
    switch (http_request_parse(buf_str(b), &head)) {
    case HTTP_MORE:
        conn_receive(c);
        return;
    case HTTP_BAD:
        refuse_nonsense(c, 400, "malformed request");
        break;
    case HTTP_TOO_LONG:
        refuse_nonsense(c, 431, "request too long");
        break;
    case HTTP_OK:
        act_on(c, &head, b->n - head.length);
        break;
    }
    buf_free(b);
    *b = (struct buf){0};
    send_soon(c);
    conn_receive(c);
}

/* ---- our request ----------------------------------------------------------------------------- */

void conn_ws_dial(struct conn *c, const struct conn_ws_dial *d)
{
    struct buf request = {0}, key = {0};
    uint8_t bytes[16];
    char host[FMT_HOST_PORT_MAX];

    io_random(c->net->env->io, bytes, sizeof(bytes));
    base64_encode(&key, str_from(bytes, sizeof(bytes)));
    c->ws = mem_zalloc(sizeof(*c->ws));
    c->ws->dialled = c->ws->masks = true;
    c->ws->ask_no_masking = d->no_masking;
    snprintf(c->ws->key, sizeof(c->ws->key), "%s", buf_cstr(&key));
    buf_printf(&request,
               "GET %s%s" WS_LEAF_PATH " HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n",
               d->path != NULL ? "/" : "", d->path != NULL ? d->path : "",
               fmt_host_port(host, d->host, d->port), c->ws->key);
    if (d->no_masking)
        buf_puts(&request, "Nats-No-Masking: true\r\n");
    buf_puts(&request, "\r\n");
    if (put_framed(c, request.p, request.n))
        send_soon(c);
    else
        conn_close(c, REASON_WRITE_ERROR);
    buf_free(&request);
    buf_free(&key);
}

static bool is_agreed(const struct conn_ws *ws, const struct http_head *answer)
{
    struct buf want = {0};
    bool ok;

    ws_upgrade_accept_key(str_of(ws->key), &want);
    ok = answer->status == 101 && http_field_lists(answer, "Upgrade", "websocket") &&
         http_field_lists(answer, "Connection", "Upgrade") &&
         str_eq(http_field(answer, "Sec-WebSocket-Accept"), buf_str(&want)) &&
         http_field(answer, "Sec-WebSocket-Extensions").p == NULL;
    buf_free(&want);
    return ok;
}

static void take_frames(struct conn *c, uint8_t *bytes, size_t n);

static void take_response(struct conn *c, struct str bytes)
{
    struct conn_ws *ws = c->ws;
    struct buf b;
    struct http_head head;
    enum http_answer answer;
    char peer[FMT_HOST_PORT_MAX];

    buf_put_str(&ws->request, bytes);
    answer = http_response_parse(buf_str(&ws->request), &head);
    if (answer == HTTP_MORE) {
        conn_receive(c);
        return;
    }
    if (answer != HTTP_OK || !is_agreed(ws, &head)) {
        LOG_ERR(c->net->env->log,
                "%s - Error soliciting websocket connection: invalid websocket connection",
                fmt_host_port(peer, c->peer.host, c->peer.port));
        conn_close(c, REASON_READ_ERROR);
        return;
    }
    ws->masks = !ws->ask_no_masking || !str_eq(http_field(&head, "Nats-No-Masking"), STR("true"));
    ws->upgraded = true;
    b = ws->request;
    ws->request = (struct buf){0};
    take_frames(c, (uint8_t *) b.p + head.length, b.n - head.length);
    buf_free(&b);
}

/* ---- input ----------------------------------------------------------------------------------- */

static bool give(void *ctx, struct str bytes)
{
    struct conn *c = ctx;

    if (c->checking != NULL)
        connect_hold(c, bytes);
    else
        conn_take(c, bytes);
    return c->state != CONN_CLOSING;
}

static void end(struct conn *c, unsigned code, struct str text, enum conn_reason reason)
{
    struct conn_ws *ws = c->ws;

    ws->goodbye = true;
    ws->close_code = code;
    ws->close_n = text.n < sizeof(ws->close_text) ? text.n : sizeof(ws->close_text);
    if (ws->close_n > 0)
        memcpy(ws->close_text, text.p, ws->close_n);
    conn_close(c, reason);
}

static void fail(struct conn *c, unsigned code, const char *why, enum conn_reason reason)
{
    char text[CONN_TEXT_MAX];

    LOG_ERR(c->net->env->log, "%s - read error: %s", conn_text(c, text), why);
    end(c, code, str_of(why), reason);
}

static void fail_frame(struct conn *c, const struct ws_got *got)
{
    char why[128];

    if (got->numbered)
        snprintf(why, sizeof(why), "%s %u", got->error, got->number);
    fail(c, WS_CODE_PROTOCOL, got->numbered ? why : got->error, REASON_READ_ERROR);
}

static size_t packed_most(const struct conn *c)
{
    uint64_t most = conn_max_payload(c) * PACKED_TIMES;

    if (c->parser.connect_only)
        return PACKED_STRANGER;
    return most < PACKED_MAX ? (size_t) most : PACKED_MAX;
}

static void unpack(struct conn *c, struct str last)
{
    struct net *net = c->net;
    struct outbuf pieces = c->ws->pieces;
    bool ok = true;

    c->ws->pieces = (struct outbuf){0};
    if (net->pack == NULL)
        net->pack = ws_pack_open();
    ws_unpack_begin(net->pack, packed_most(c), give, c);
    for (const struct chunk *k = pieces.head; ok && k != NULL; k = k->next)
        ok = ws_unpack_add(net->pack, str_from(k->data, k->len));
    ok = ok && ws_unpack_add(net->pack, last) && ws_unpack_end(net->pack);
    outbuf_free(&pieces, net->env->chunks);
    if (!ok && c->state != CONN_CLOSING)
        fail(c, WS_CODE_TOO_BIG, "compressed message is broken or too long", REASON_MAX_PAYLOAD);
}

static void take_packed(struct conn *c, const struct ws_got *got)
{
    struct outbuf *pieces = &c->ws->pieces;

    if (pieces->bytes + got->bytes.n > packed_most(c))
        fail(c, WS_CODE_TOO_BIG, "compressed message is too long", REASON_MAX_PAYLOAD);
    else if (got->last)
        unpack(c, got->bytes);
    else if (!outbuf_put(pieces, c->net->env->chunks, got->bytes.p, got->bytes.n))
        fail(c, WS_CODE_TOO_BIG, "memory is short", REASON_MAX_PAYLOAD);
}

static void take_data(struct conn *c, const struct ws_got *got)
{
    if (got->compressed)
        take_packed(c, got);
    else if (got->bytes.n > 0)
        give(c, got->bytes);
}

static void take_ping(struct conn *c, struct str payload)
{
    if (c->parser.connect_only && c->pending > OWED_STRANGER)
        conn_close_slow(c);
    else if (put_control(c, WS_OP_PONG, payload))
        send_soon(c);
    else
        conn_close(c, REASON_WRITE_ERROR);
}

static void take_frames(struct conn *c, uint8_t *bytes, size_t n)
{
    struct ws_got got;

    while (c->state != CONN_CLOSING) {
        switch (ws_read(&c->ws->in, &bytes, &n, &got)) {
        case WS_MORE:
            conn_receive(c);
            return;
        case WS_DATA:
            take_data(c, &got);
            break;
        case WS_PING:
            take_ping(c, got.bytes);
            break;
        case WS_PONG:
            break;
        case WS_CLOSE:
            end(c, got.code, got.bytes, REASON_CLIENT_CLOSED);
            break;
        case WS_BAD:
            fail_frame(c, &got);
            break;
        }
    }
}

void conn_ws_take(struct conn *c, uint8_t *bytes, size_t n)
{
    if (c->ws->upgraded)
        take_frames(c, bytes, n);
    else if (c->ws->dialled)
        take_response(c, str_from(bytes, n));
    else
        take_request(c, str_from(bytes, n));
}

/* ---- the end --------------------------------------------------------------------------------- */

static unsigned code_for(enum conn_reason reason)
{
    switch (reason) {
    case REASON_CLIENT_CLOSED:
        return WS_CODE_NORMAL;
    case REASON_AUTH_TIMEOUT:
    case REASON_AUTH_FAILURE:
    case REASON_SLOW_PENDING:
    case REASON_SLOW_DEADLINE:
    case REASON_MAX_ACCOUNT_CONNECTIONS:
    case REASON_MAX_CONNECTIONS:
    case REASON_MAX_CONTROL_LINE:
    case REASON_MAX_SUBSCRIPTIONS:
        return WS_CODE_POLICY;
    case REASON_PARSE_ERROR:
    case REASON_PROTOCOL_VIOLATION:
    case REASON_BAD_PROTOCOL:
        return WS_CODE_PROTOCOL;
    case REASON_MAX_PAYLOAD:
        return WS_CODE_TOO_BIG;
    case REASON_WRITE_ERROR:
    case REASON_READ_ERROR:
    case REASON_STALE:
    case REASON_SHUTDOWN:
        return WS_CODE_GOING_AWAY;
    default:
        return WS_CODE_INTERNAL;
    }
}

bool conn_ws_said_goodbye(const struct conn *c)
{
    return c->ws != NULL && c->ws->goodbye;
}

bool conn_ws_end(struct conn *c)
{
    struct conn_ws *ws = c->ws;
    uint8_t payload[WS_CONTROL_MAX];
    struct str text = str_of(conn_reason_text(c->reason));
    size_t n;

    if (ws == NULL || !ws->upgraded || ws->close_sent)
        return false;
    ws->close_sent = true;
    if (ws->goodbye)
        n = ws_write_close(payload, ws->close_code, str_from(ws->close_text, ws->close_n));
    else
        n = ws_write_close(payload, code_for(c->reason), text);
    if (!put_control(c, WS_OP_CLOSE, str_from(payload, n)))
        return false;
    conn_flush(c);
    return true;
}

void conn_ws_free(struct conn *c)
{
    struct conn_ws *ws = c->ws;

    if (ws == NULL)
        return;
    buf_free(&ws->request);
    outbuf_free(&ws->pieces, c->net->env->chunks);
    for (unsigned i = 0; i < WS_COOKIES; i++)
        mem_free(ws->cookies[i]);
    mem_free(ws->forwarded);
    mem_free(ws);
    c->ws = NULL;
}

struct str conn_ws_cookie(const struct conn *c, enum ws_cookie which)
{
    return str_of(c->ws->cookies[which]);
}

const char *conn_ws_forwarded(const struct conn *c)
{
    return c->ws->forwarded;
}
