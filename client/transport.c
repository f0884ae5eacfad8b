/*
 * transport.c - what lies between the socket and the protocol: nothing, TLS, WebSocket, or
 * WebSocket over TLS.
 *
 *     out --frames--> (frames) --records--> wire --socket-->
 *     <-- protocol <--frames-- <--records-- receive
 *
 * A connection passes through these steps, leaving out what it does not use:
 *
 *     TLS (tls_first, or WebSocket with TLS) -> UPGRADE (WebSocket) -> ON
 *     ON --INFO: the server wants TLS, or we do--> TLS -> ON
 *
 * In the second case the server has said INFO in the clear and waits for the handshake. Whatever
 * else it said before that did not come from who the certificate will name: it ends the connection.
 *
 * Until a connection is ON, what is in out stays there; the handshake's own bytes go to wire.
 *
 * WebSocket: one binary frame for what has gathered, masked with a key from the connection's
 * generator. Compression is not offered. The answer to the upgrade must fit HTTP_HEAD_MAX.
 */
#include "client/client_int.h"
#include "client/tls.h"
#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/base/mem.h"
#include "lib/wire/http_head.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define PLAIN_BYTES (64u << 10)

static void take_plain(struct midge *m, char *bytes, size_t n);

static bool is_on(const struct midge *m)
{
    return m->transport.step == CLIENT_STEP_ON;
}

static bool is_plain(const struct client_transport *t)
{
    return t->tls == NULL && !t->websocket;
}

static bool ended(const struct midge *m)
{
    return m->state != CLIENT_DIALING && m->state != CLIENT_UP;
}

/* ---- the upgrade to WebSocket ---------------------------------------------------------------- */

static void ask_upgrade(struct midge *m)
{
    struct client_transport *t = &m->transport;
    bool colons = strchr(m->o.host, ':') != NULL;
    const char *path = m->o.ws_path != NULL ? m->o.ws_path : "";
    struct buf request = {0};
    uint8_t nonce[16];

    io_random(m->io, nonce, sizeof(nonce));
    buf_clear(&t->key);
    base64_encode(&t->key, str_from((const char *) nonce, sizeof(nonce)));
    buf_printf(&request,
               "GET %s%s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUpgrade: websocket\r\n"
               "Connection: Upgrade\r\nSec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
               path[0] == '/' ? "" : "/", path, colons ? "[" : "", m->o.host, colons ? "]" : "",
               m->o.port, buf_cstr(&t->key));
    t->step = CLIENT_STEP_UPGRADE;
    t->websocket = true;
    if (t->tls == NULL)
        buf_put_str(&t->wire, buf_str(&request));
    else if (!tls_session_write(&t->tls->session, buf_str(&request)))
        client_lost(m, "TLS: %s", t->tls->session.error);
    buf_free(&request);
}

/* What a server makes of our key, and nobody else. */
static void accept_of(struct str key, struct buf *out)
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    struct buf both = {0};
    unsigned n = 0;

    buf_put_str(&both, key);
    buf_puts(&both, "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    if (EVP_Digest(both.p, both.n, sum, &n, EVP_sha1(), NULL) != 1)
        FATAL("SHA-1 is not to be had");
    base64_encode(out, str_from((const char *) sum, n));
    buf_free(&both);
}

static bool upgraded(const struct client_transport *t, const struct http_head *h)
{
    struct buf want = {0};
    bool good;

    accept_of(buf_str(&t->key), &want);
    good = h->status == 101 && http_field_lists(h, "Upgrade", "websocket") &&
           http_field_lists(h, "Connection", "Upgrade") &&
           str_eq(http_field(h, "Sec-WebSocket-Accept"), buf_str(&want));
    buf_free(&want);
    return good;
}

/* The head of the answer may come in pieces, and with frames behind it. */
static void take_answer(struct midge *m, const char *bytes, size_t n)
{
    struct client_transport *t = &m->transport;
    struct http_head h;
    struct buf rest = {0};

    buf_put(&t->head, bytes, n);
    switch (http_response_parse(buf_str(&t->head), &h)) {
    case HTTP_MORE:
        return;
    case HTTP_OK:
        break;
    default:
        client_lost(m, "WebSocket: the answer to the upgrade is not understood");
        return;
    }
    if (!upgraded(t, &h)) {
        client_lost(m, "WebSocket: the server refused the upgrade (%u)", h.status);
        return;
    }
    buf_put_str(&rest, str_skip(buf_str(&t->head), h.length));
    buf_free(&t->head);
    t->ws = (struct ws_reader){0};
    t->step = CLIENT_STEP_ON;
    if (rest.n > 0)
        take_plain(m, rest.p, rest.n);
    buf_free(&rest);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void put_frame(struct midge *m, struct buf *to, enum ws_opcode opcode, struct str payload)
{
    uint8_t key[4];
    char *at = buf_reserve(to, WS_HEAD_MAX + payload.n);
    size_t head;

    prng_fill(&m->prng, key, sizeof(key));
    head = ws_write_head((uint8_t *) at,
                         &(struct ws_frame){.opcode = opcode, .key = key, .n = payload.n});
    if (payload.n > 0) {
        memcpy(at + head, payload.p, payload.n);
        ws_mask((uint8_t *) at + head, payload.n, key, 0);
    }
    to->n += head + payload.n;
}

static void say_frame(struct midge *m, enum ws_opcode opcode, struct str payload)
{
    struct client_transport *t = &m->transport;

    if (t->tls == NULL) {
        put_frame(m, &t->wire, opcode, payload);
        return;
    }
    buf_clear(&t->frames);
    put_frame(m, &t->frames, opcode, payload);
    if (!tls_session_write(&t->tls->session, buf_str(&t->frames)))
        client_lost(m, "TLS: %s", t->tls->session.error);
}

static void take_frames(struct midge *m, uint8_t *at, size_t n)
{
    struct ws_got got;

    while (!ended(m)) {
        switch (ws_read(&m->transport.ws, &at, &n, &got)) {
        case WS_MORE:
            return;
        case WS_DATA:
            client_take(m, got.bytes);
            break;
        case WS_PING:
            say_frame(m, WS_OP_PONG, got.bytes);
            break;
        case WS_PONG:
            break;
        case WS_CLOSE:
            client_lost(m, "the server closed the WebSocket: %u %.*s", got.code,
                        STR_ARG(got.bytes));
            break;
        case WS_BAD:
            client_lost(m, "WebSocket: %s", got.error);
            break;
        }
    }
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void tls_done(struct midge *m)
{
    m->transport.step = CLIENT_STEP_ON;
    if (m->o.websocket)
        ask_upgrade(m);
    else if (m->got_info)
        client_dial_secured(m);
}

static void shake(struct midge *m)
{
    struct client_transport *t = &m->transport;

    switch (tls_session_handshake(&t->tls->session)) {
    case TLS_OK:
        tls_done(m);
        break;
    case TLS_MORE:
        break;
    case TLS_CLOSED:
        client_lost(m, "TLS: the server ended the handshake");
        break;
    case TLS_FAILED:
        client_lost(m, "TLS: %s", t->tls->session.error);
        break;
    }
}

static void begin_tls(struct midge *m)
{
    struct client_transport *t = &m->transport;
    char err[256];

    t->step = CLIENT_STEP_TLS;
    t->tls = client_tls_open(&m->o, &t->wire, err);
    if (t->tls == NULL)
        client_lost(m, "%s", err);
    else
        shake(m);
}

static void take_records(struct midge *m)
{
    struct client_transport *t = &m->transport;
    enum tls_answer answer = TLS_OK;
    size_t n;

    if (t->plain == NULL)
        t->plain = mem_alloc(PLAIN_BYTES);
    while (!ended(m) && answer == TLS_OK) {
        answer = tls_session_read(&t->tls->session, t->plain, PLAIN_BYTES, &n);
        if (n > 0)
            take_plain(m, t->plain, n);
    }
    if (answer == TLS_CLOSED)
        client_lost(m, "the server closed the connection");
    else if (answer == TLS_FAILED)
        client_lost(m, "TLS: %s", t->tls->session.error);
}

/* ---- from and to the socket ------------------------------------------------------------------ */

static void take_plain(struct midge *m, char *bytes, size_t n)
{
    if (m->transport.step == CLIENT_STEP_UPGRADE)
        take_answer(m, bytes, n);
    else if (m->transport.websocket)
        take_frames(m, (uint8_t *) bytes, n);
    else
        client_take(m, str_from(bytes, n));
}

void client_transport_take(struct midge *m, uint8_t *bytes, size_t n)
{
    struct client_transport *t = &m->transport;

    if (t->tls == NULL) {
        take_plain(m, (char *) bytes, n);
        return;
    }
    tls_session_input(&t->tls->session, str_from((const char *) bytes, n));
    if (t->step == CLIENT_STEP_TLS)
        shake(m);
    if (t->step != CLIENT_STEP_TLS && !ended(m))
        take_records(m);
}

void client_transport_fill(struct midge *m)
{
    struct client_transport *t = &m->transport;
    struct buf swap;

    if (is_on(m) && !is_plain(t) && m->out.n > 0) {
        if (t->websocket)
            say_frame(m, WS_BINARY, buf_str(&m->out));
        else if (!tls_session_write(&t->tls->session, buf_str(&m->out)))
            client_lost(m, "TLS: %s", t->tls->session.error);
        buf_clear(&m->out);
    }
    swap = m->sending;
    if (is_on(m) && is_plain(t)) {
        m->sending = m->out;
        m->out = swap;
    } else {
        m->sending = t->wire;
        t->wire = swap;
    }
}

void client_transport_begin(struct midge *m)
{
    if (m->o.tls_first || (m->o.websocket && m->o.tls))
        begin_tls(m);
    else if (m->o.websocket)
        ask_upgrade(m);
    else
        m->transport.step = CLIENT_STEP_ON;
}

bool client_transport_secure(const struct midge *m)
{
    return m->transport.tls != NULL;
}

void client_transport_secure_now(struct midge *m)
{
    begin_tls(m);
}

void client_transport_reset(struct midge *m)
{
    struct client_transport *t = &m->transport;

    client_tls_close(t->tls);
    buf_free(&t->key);
    buf_free(&t->head);
    buf_free(&t->frames);
    buf_free(&t->wire);
    mem_free(t->plain);
    *t = (struct client_transport){0};
}
