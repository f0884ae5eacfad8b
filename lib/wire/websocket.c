/*
 * websocket.c - see websocket.h.
 *
 *     byte 0   FIN | RSV1 (compressed, first frame of a message) | RSV2 | RSV3 | opcode (4 bits)
 *     byte 1   MASK | length (7 bits): 126 = two bytes follow, 127 = eight, big endian
 *     key      4 bytes, when MASK
 *     payload
 *
 *     between frames --head complete--> in a frame --its last byte--> between frames
 *
 * Control frames (opcode 8 and above) are at most 125 bytes, final, never compressed, and may stand
 * between the frames of a message; their payload is gathered, so that they are handed on whole.
 * Whatever breaks these rules ends the connection: a reader that said WS_BAD is not asked again.
 */
#include "lib/wire/websocket.h"

#include <string.h>

#define FIN 0x80u
#define RSV1 0x40u
#define RSV23 0x30u
#define OPCODE 0x0fu
#define MASK 0x80u
#define LENGTH 0x7fu

/* ---- masks ----------------------------------------------------------------------------------- */

void ws_mask(uint8_t *bytes, size_t n, const uint8_t key[4], size_t at)
{
    uint8_t turned[8];
    uint64_t wide, word;
    size_t i = 0;

    for (unsigned k = 0; k < sizeof(turned); k++)
        turned[k] = key[(at + k) & 3];
    memcpy(&wide, turned, sizeof(wide));
    for (; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        word ^= wide;
        memcpy(bytes + i, &word, sizeof(word));
    }
    for (; i < n; i++)
        bytes[i] ^= turned[i & 7];
}

/* ---- a frame's head -------------------------------------------------------------------------- */

static uint64_t big_endian(const uint8_t *p, unsigned n)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* How many bytes of length follow the second. */
static unsigned length_bytes(uint8_t second)
{
    return (second & LENGTH) == 126 ? 2 : (second & LENGTH) == 127 ? 8 : 0;
}

static unsigned head_needs(const struct ws_reader *r)
{
    if (r->head_n < 2)
        return 2;
    return 2 + length_bytes(r->head[1]) + ((r->head[1] & MASK) != 0 ? 4 : 0);
}

static const char unknown_opcode[] = "unknown opcode";

/* From the two bytes that say everything but length and key; NULL: right. */
static const char *flags_wrong(const struct ws_reader *r)
{
    uint8_t first = r->head[0], second = r->head[1];
    bool final = (first & FIN) != 0, compressed = (first & RSV1) != 0;

    if ((first & RSV23) != 0)
        return "RSV2 and RSV3 must be clear";
    if (compressed && !r->packs)
        return "compressed frame received without negotiated permessage-deflate";
    if (r->must_mask && (second & MASK) == 0)
        return "mask bit missing";
    switch (first & OPCODE) {
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG:
        if ((second & LENGTH) > WS_CONTROL_MAX)
            return "control frame length bigger than maximum allowed of 125 bytes";
        if (!final)
            return "control frame does not have final bit set";
        return compressed ? "control frame must not be compressed" : NULL;
    case WS_TEXT:
    case WS_BINARY:
        return r->in_message
                   ? "new message started before final frame for previous message was received"
                   : NULL;
    case WS_CONTINUATION:
        return !r->in_message || compressed ? "invalid continuation frame" : NULL;
    default:
        return unknown_opcode;
    }
}

static bool is_control(uint8_t opcode)
{
    return opcode >= WS_OP_CLOSE;
}

/* NULL: right; the reader is in the frame. */
static const char *begin_frame(struct ws_reader *r)
{
    unsigned n = length_bytes(r->head[1]);

    r->left = n > 0 ? big_endian(r->head + 2, n) : (uint64_t) (r->head[1] & LENGTH);
    if (r->left >> 63 != 0)
        return "invalid 64-bit payload length";
    r->opcode = r->head[0] & OPCODE;
    r->masked = (r->head[1] & MASK) != 0;
    memcpy(r->key, r->head + 2 + n, sizeof(r->key));
    r->key_at = 0;
    r->head_n = 0;
    r->in_frame = true;
    if (is_control(r->opcode)) {
        r->control_n = 0;
        return NULL;
    }
    r->final = (r->head[0] & FIN) != 0;
    if (r->opcode != WS_CONTINUATION)
        r->compressed = (r->head[0] & RSV1) != 0;
    r->in_message = !r->final;
    return NULL;
}

/* True when the head is complete, or wrong. */
static bool take_head(struct ws_reader *r, uint8_t **at, size_t *n, const char **error)
{
    *error = NULL;
    while (r->head_n < head_needs(r)) {
        if (*n == 0)
            return false;
        r->head[r->head_n++] = *(*at)++;
        --*n;
        if (r->head_n == 2 && (*error = flags_wrong(r)) != NULL)
            return true;
    }
    *error = begin_frame(r);
    return true;
}

/* ---- payloads -------------------------------------------------------------------------------- */

/* As much of the frame as is there, unmasked. */
static struct str take_payload(struct ws_reader *r, uint8_t **at, size_t *n)
{
    size_t now = r->left < *n ? (size_t) r->left : *n;
    struct str bytes = str_from(*at, now);

    if (r->masked && now > 0) {
        ws_mask(*at, now, r->key, r->key_at);
        r->key_at = (uint8_t) ((r->key_at + now) & 3);
    }
    *at += now;
    *n -= now;
    r->left -= now;
    r->in_frame = r->left > 0;
    return bytes;
}

static enum ws_event bad(struct ws_got *out, const char *error)
{
    out->error = error;
    out->numbered = false;
    return WS_BAD;
}

static enum ws_event bad_number(struct ws_got *out, const char *error, unsigned number)
{
    bad(out, error);
    out->numbered = true;
    out->number = number;
    return WS_BAD;
}

static enum ws_event closing(struct str payload, struct ws_got *out)
{
    out->code = WS_CODE_NONE;
    out->bytes = STR_NONE;
    if (payload.n == 0)
        return WS_CLOSE;
    if (payload.n == 1)
        return bad(out, "close frame payload cannot be 1 byte");
    out->code = (unsigned) big_endian((const uint8_t *) payload.p, 2);
    if (!ws_code_valid(out->code))
        return bad_number(out, "invalid close status code", out->code);
    out->bytes = str_skip(payload, 2);
    if (!ws_is_utf8(out->bytes)) {
        out->code = WS_CODE_DATA;
        out->bytes = STR("invalid utf8 body in close frame");
    }
    return WS_CLOSE;
}

/* The frame is complete. */
static enum ws_event control(struct ws_reader *r, struct ws_got *out)
{
    struct str payload = str_from(r->control, r->control_n);

    out->bytes = payload;
    if (r->opcode == WS_OP_PING)
        return WS_PING;
    return r->opcode == WS_OP_PONG ? WS_PONG : closing(payload, out);
}

enum ws_event ws_read(struct ws_reader *r, uint8_t **at, size_t *n, struct ws_got *out)
{
    const char *error;
    struct str bytes;

    *out = (struct ws_got){0};
    while (r->in_frame || *n > 0) {
        if (!r->in_frame) {
            if (!take_head(r, at, n, &error))
                return WS_MORE;
            if (error != NULL)
                return error == unknown_opcode ? bad_number(out, error, r->head[0] & OPCODE)
                                               : bad(out, error);
        }
        if (r->left > 0 && *n == 0)
            return WS_MORE;
        bytes = take_payload(r, at, n);
        if (is_control(r->opcode)) {
            if (bytes.n > 0)
                memcpy(r->control + r->control_n, bytes.p, bytes.n);
            r->control_n = (uint8_t) (r->control_n + bytes.n);
            if (!r->in_frame)
                return control(r, out);
            continue;
        }
        out->bytes = bytes;
        out->compressed = r->compressed;
        out->last = r->final && !r->in_frame;
        return WS_DATA;
    }
    return WS_MORE;
}

/* ---- writing --------------------------------------------------------------------------------- */

size_t ws_write_head(uint8_t out[WS_HEAD_MAX], const struct ws_frame *f)
{
    unsigned extra = f->n > UINT16_MAX ? 8 : f->n > 125 ? 2 : 0;
    size_t n = 2;

    out[0] = (uint8_t) (f->opcode | (f->more ? 0 : FIN) | (f->compressed ? RSV1 : 0));
    out[1] = (uint8_t) (extra == 8 ? 127 : extra == 2 ? 126 : f->n);
    for (unsigned i = 0; i < extra; i++)
        out[n++] = (uint8_t) (f->n >> (8 * (extra - 1 - i)));
    if (f->key != NULL) {
        out[1] |= MASK;
        memcpy(out + n, f->key, 4);
        n += 4;
    }
    return n;
}

size_t ws_write_close(uint8_t out[WS_CONTROL_MAX], unsigned code, struct str text)
{
    static const char dots[] = "...";
    size_t room = WS_CONTROL_MAX - 2, n = text.n;

    if (code == WS_CODE_NONE)
        return 0;
    out[0] = (uint8_t) (code >> 8);
    out[1] = (uint8_t) code;
    if (n > room) {
        n = room - (sizeof(dots) - 1);
        /* Not within a character. */
        while (n > 0 && ((unsigned char) text.p[n] & 0xc0u) == 0x80u)
            n--;
    }
    if (n > 0)
        memcpy(out + 2, text.p, n);
    if (n == text.n)
        return n + 2;
    memcpy(out + 2 + n, dots, sizeof(dots) - 1);
    return n + 2 + sizeof(dots) - 1;
}

/* ---- what is allowed ------------------------------------------------------------------------- */

bool ws_code_valid(unsigned code)
{
    if (code < 1000 || code >= 5000 || (code >= 1016 && code <= 2999))
        return false;
    return code != 1004 && code != WS_CODE_NONE && code != 1006 && code != WS_CODE_TLS;
}

/* Bytes behind the first one of a character, and the smallest number that needs as many; 0 and
 * first < 0x80: none. -1: no first byte. */
static int following(unsigned char first, uint32_t *least)
{
    static const uint32_t leasts[] = {0, 0x80, 0x800, 0x10000};
    int n = first < 0x80               ? 0
            : (first & 0xe0u) == 0xc0u ? 1
            : (first & 0xf0u) == 0xe0u ? 2
            : (first & 0xf8u) == 0xf0u ? 3
                                       : -1;

    *least = n > 0 ? leasts[n] : 0;
    return n;
}

bool ws_is_utf8(struct str s)
{
    size_t i = 0;

    while (i < s.n) {
        unsigned char first = (unsigned char) s.p[i++];
        uint32_t least, c;
        int more = following(first, &least);
        if (more < 0)
            return false;
        c = more == 0 ? first : first & (0x3fu >> more);
        for (; more > 0; more--) {
            if (i == s.n || ((unsigned char) s.p[i] & 0xc0u) != 0x80u)
                return false;
            c = c << 6 | ((unsigned char) s.p[i++] & 0x3fu);
        }
        if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
            return false;
    }
    return true;
}
