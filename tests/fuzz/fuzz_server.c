/*
 * fuzz_server.c - a whole server on the simulator, and somebody who connects and says anything.
 *
 * Input: a letter, then pieces with the bytes ff fe between them. Each piece is sent when the
 * server has nothing left to do about the one before it. The letter says where, and what a piece
 * is:
 *
 *     c, u   a client's bytes; with u the server has users, and permissions
 *     a      a request: subject, newline, [header, blank line,] body. The subject is below $JS.API,
 *            or, behind a "!", a whole one
 *     l, h   a leaf node's bytes; with h the server is the one that has dialled
 *     w, f   bytes at the WebSocket door; f: of frames, behind an upgrade that was agreed on
 *     k, s   a Kafka request without its length; with s the server has users
 *
 * Afterwards the connection ends and the server has to stop by itself, with nothing left (the leak
 * check of the sanitizer).
 */
#include "lib/base/bytes.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/server_stage.h"

#include <string.h>

#define PIECES_MAX 64u

enum { LEAFS = 7422, HUB = 7423 };

#define LEAF_DOOR "leafnodes { listen: \"127.0.0.1:7422\" }\n"

static const char *const open_conf = STAGE_DOORS LEAF_DOOR;
static const char *const hub_conf = STAGE_DOORS
    "leafnodes { remotes: [ { url: \"nats-leaf://u:p@127.0.0.1:7423\" } ] }\n";
static const char *const users_conf = STAGE_DOORS LEAF_DOOR
    "accounts {\n"
    " A { jetstream: enabled, users: [ { user: a, password: a }\n"
    "   { user: b, password: b, permissions { publish: [ \"b.>\", \"$JS.API.>\" ]\n"
    "     subscribe { deny: \"b.no\" }, allow_responses: true } }\n"
    "   { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 } ]\n"
    "   exports: [ { service: q }, { stream: t } ], mappings { m: n } }\n"
    " B { users: [ { user: c, password: c } ]\n"
    "   imports: [ { service: { account: A, subject: q } }\n"
    "     { stream: { account: A, subject: t }, prefix: p } ] }\n"
    "}\n";

/* ---- what is said ---------------------------------------------------------------------------- */

static void put_request(struct buf *out, struct str piece)
{
    struct str body, subject = str_cut(piece, '\n', &body), header = STR_NONE;
    const char *end = body.n > 4 ? memmem(body.p, body.n, "\r\n\r\n", 4) : NULL;
    bool whole = subject.n > 0 && subject.p[0] == '!';

    if (str_starts(body, STR("NATS/1.0")) && end != NULL)
        header = str_take(body, (size_t) (end + 4 - body.p));
    buf_printf(out, "%s %s%.*s _r.1 ", header.n > 0 ? "HPUB" : "PUB", whole ? "" : "$JS.API.",
               STR_ARG(str_skip(subject, whole)));
    if (header.n > 0)
        buf_printf(out, "%zu ", header.n);
    buf_printf(out, "%zu\r\n", body.n);
    buf_put_str(out, body);
    buf_puts(out, "\r\n");
}

/* A frame with a mask of zeroes. */
static void put_frame(struct buf *out, struct str piece)
{
    if (piece.n < 1)
        return;
    buf_putc(out, piece.p[0]);
    piece = str_take(str_skip(piece, 1), UINT16_MAX);
    buf_putc(out, (char) (0x80 | (piece.n < 126 ? piece.n : 126)));
    if (piece.n >= 126) {
        buf_putc(out, (char) (piece.n >> 8));
        buf_putc(out, (char) piece.n);
    }
    buf_put(out, "\0\0\0", 4);
    buf_put_str(out, piece);
}

static void put_piece(struct buf *out, char door, struct str piece)
{
    uint32_t n = (uint32_t) piece.n;

    switch (door) {
    case 'a':
        put_request(out, piece);
        break;
    case 'f':
        put_frame(out, piece);
        break;
    case 'k':
    case 's':
        for (int shift = 24; shift >= 0; shift -= 8)
            buf_putc(out, (char) (n >> shift));
        buf_put_str(out, piece);
        break;
    default:
        buf_put_str(out, piece);
        break;
    }
}

static void put_greeting(struct buf *out, char door)
{
    if (door == 'a')
        buf_puts(out, "CONNECT {\"verbose\":false,\"headers\":true,\"no_responders\":true}\r\n"
                      "SUB _r.* 1\r\n");
    if (door == 'f')
        buf_puts(out, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                      "Sec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
}

static void say_all(struct stage *s, char door, struct str in)
{
    struct far *f = &s->far;

    stage_settle(s);
    put_greeting(&f->out, door);
    stage_say(s);
    for (unsigned i = 0; i < PIECES_MAX && in.n > 0; i++) {
        const char *at = memmem(in.p, in.n, "\xff\xfe", 2);
        size_t n = at != NULL ? (size_t) (at - in.p) : in.n;
        if (stage_can_say(s))
            put_piece(&f->out, door, str_take(in, n));
        in = str_skip(in, at != NULL ? n + 2 : n);
        stage_say(s);
    }
}

static const struct {
    char letter;
    uint16_t port;
    const char *const *conf;
} doors[] = {
    {'c', STAGE_CLIENTS, &open_conf},
    {'u', STAGE_CLIENTS, &users_conf},
    {'a', STAGE_CLIENTS, &open_conf},
    {'l', LEAFS, &open_conf},
    {'h', HUB, &hub_conf},
    {'w', STAGE_WEBSOCKET, &open_conf},
    {'f', STAGE_WEBSOCKET, &open_conf},
    {'k', STAGE_KAFKA, &open_conf},
    {'s', STAGE_KAFKA, &users_conf},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct stage s = {0};
    size_t d = 0;

    while (size > 0 && d < ARRAY_LEN(doors) && doors[d].letter != (char) data[0])
        d++;
    if (size == 0 || d == ARRAY_LEN(doors))
        return 0;
    stage_open(&s, *doors[d].conf);
    if (doors[d].port == HUB)
        stage_listen(&s, HUB);
    else
        stage_connect(&s, doors[d].port);
    say_all(&s, doors[d].letter, str_from(data + 1, size - 1));
    stage_close(&s);
    return 0;
}
