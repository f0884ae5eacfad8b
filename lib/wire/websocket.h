/*
 * websocket.h - frames of the WebSocket protocol (RFC 6455), both directions, without I/O.
 *
 * Reading: a reader is fed what arrives, in pieces of any size, and gives back the payload of data
 * frames as soon as it is there, unmasked where it lies, and control frames whole. It holds no
 * more than one frame's head and one control frame. What the frames carry is one stream of bytes:
 * where messages and frames end means nothing, but for compressed messages, which are unpacked as
 * a whole (websocket_pack.h).
 *
 * Writing: heads only; the payload stays where it is. A close frame is built whole.
 */
#ifndef WIRE_WEBSOCKET_H
#define WIRE_WEBSOCKET_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WS_HEAD_MAX 14u
#define WS_CONTROL_MAX 125u /* payload of a control frame */
#define WS_KEY_LEN 24u      /* of Sec-WebSocket-Key: 16 bytes in base64 */

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_OP_CLOSE = 8,
    WS_OP_PING = 9,
    WS_OP_PONG = 10
};

enum {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NONE = 1005, /* never sent: a close frame without a code */
    WS_CODE_DATA = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL = 1011,
    WS_CODE_TLS = 1015
};

/* ---- reading --------------------------------------------------------------------------------- */

struct ws_reader {
    bool must_mask; /* a frame without a mask is an error: what clients send to servers */
    bool packs;     /* compressed messages were agreed on */
    /* private */
    bool in_frame, in_message, compressed, final, masked;
    uint8_t opcode, head_n, control_n, key_at;
    uint8_t head[WS_HEAD_MAX], key[4];
    uint8_t control[WS_CONTROL_MAX];
    uint64_t left;
};

enum ws_event {
    WS_MORE, /* all is consumed */
    WS_DATA,
    WS_PING,
    WS_PONG,
    WS_CLOSE,
    WS_BAD /* to be answered with a close frame of WS_CODE_PROTOCOL and this text; nothing more is
              read */
};

struct ws_got {
    struct str bytes;  /* DATA: a part of a payload; PING, PONG: the payload; CLOSE: its text */
    bool compressed;   /* DATA: of a compressed message */
    bool last;         /* DATA: the message ends here */
    unsigned code;     /* CLOSE: 1005 when it says none; 1007 when its text is no UTF-8 */
    const char *error; /* BAD */
    bool numbered;     /* BAD: the text ends with number */
    unsigned number;
};

/* Zeroed, with the two flags set, is a new reader. The next event of the n bytes at *at, both moved
 * forward; bytes are unmasked in place. What `out` has is good until the next call. */
enum ws_event ws_read(struct ws_reader *r, uint8_t **at, size_t *n, struct ws_got *out);

/* ---- writing --------------------------------------------------------------------------------- */

struct ws_frame {
    enum ws_opcode opcode;
    bool more;          /* the message goes on in another frame */
    bool compressed;    /* first frame of a compressed message */
    const uint8_t *key; /* 4 bytes the payload is masked with; NULL = not masked */
    uint64_t n;         /* bytes of payload */
};
/* Returns the length of the head. */
size_t ws_write_head(uint8_t out[WS_HEAD_MAX], const struct ws_frame *f);
/* bytes[i] ^= key[(at + i) % 4] */
void ws_mask(uint8_t *bytes, size_t n, const uint8_t key[4], size_t at);
/* The payload of a close frame: the code, and the text, cut with "..." where it is too long.
 * Returns its length. WS_CODE_NONE: nothing. */
size_t ws_write_close(uint8_t out[WS_CONTROL_MAX], unsigned code, struct str text);

/* May a close frame have this code? */
bool ws_code_valid(unsigned code);
bool ws_is_utf8(struct str s);

#endif
