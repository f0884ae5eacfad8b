/*
 * s2.c - chunks and blocks.
 *
 * A block is a varint with the length of its data, then elements; the low two bits of the first
 * byte say which: 0  literal: length - 1 in the upper six bits, or (60..63) in the next 1..4 bytes
 *     1  copy: length - 4 in bits 2..4, offset in bits 5..7 and the next byte; offset 0 means the
 *        last one again, and then lengths 5, 6, 7 stand for 4, 256, 65536 plus the next 1, 2, 3
 *        bytes, plus 4
 *     2  copy: length - 1 in the upper six bits, offset in the next 2 bytes
 *     3  the same with 4 bytes
 * A copy may reach into what it writes: it repeats.
 */
#include "lib/wire/s2.h"

#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/varint.h"

#include <string.h>

#define CHUNK_HEADER 4u
#define CHUNK_DATA 65536u

enum { CHUNK_COMPRESSED = 0x00, CHUNK_PLAIN = 0x01, CHUNK_SKIP = 0x80, CHUNK_START = 0xff };

static uint32_t masked_crc(const void *data, size_t n)
{
    uint32_t c = crc32c_kafka(data, n);

    return ((c >> 15) | (c << 17)) + 0xa282ead8u;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void put_header(struct buf *out, unsigned type, size_t n)
{
    const uint8_t h[CHUNK_HEADER] = {(uint8_t) type, (uint8_t) n, (uint8_t) (n >> 8),
                                     (uint8_t) (n >> 16)};

    buf_put(out, h, sizeof(h));
}

void s2_put_start(struct buf *out)
{
    put_header(out, CHUNK_START, 6);
    buf_puts(out, "S2sTwO");
}

void s2_put(struct buf *out, struct str data)
{
    while (data.n > 0) {
        struct str part = str_take(data, CHUNK_DATA);
        uint8_t crc[4];
        put_u32(crc, masked_crc(part.p, part.n));
        put_header(out, CHUNK_PLAIN, part.n + sizeof(crc));
        buf_put(out, crc, sizeof(crc));
        buf_put_str(out, part);
        data = str_skip(data, part.n);
    }
}

/* ---- one block ------------------------------------------------------------------------------- */

/* The element's first byte has gone; takes `n` more as a little-endian number. */
static bool take_number(struct str *in, unsigned n, size_t *out)
{
    *out = 0;
    if (in->n < n)
        return false;
    for (unsigned i = 0; i < n; i++)
        *out |= (size_t) (uint8_t) in->p[i] << (8 * i);
    *in = str_skip(*in, n);
    return true;
}

struct element {
    size_t literal;        /* bytes that follow, or 0 and: */
    size_t length, offset; /* offset stays from element to element */
};

static bool take_literal(struct str *in, unsigned tag, struct element *e)
{
    size_t more = 0;
    unsigned x = tag >> 2;

    if (x >= 60 && !take_number(in, x - 59, &more))
        return false;
    e->literal = (x >= 60 ? more : x) + 1;
    return e->literal <= in->n;
}

static bool take_short_copy(struct str *in, unsigned tag, struct element *e)
{
    size_t low, more = 0;

    if (!take_number(in, 1, &low))
        return false;
    e->length = tag >> 2 & 7;
    if (((size_t) (tag & 0xe0) << 3 | low) != 0) {
        e->offset = (size_t) (tag & 0xe0) << 3 | low;
    } else if (e->length >= 5) {
        static const size_t base[] = {4, 1u << 8, 1u << 16};
        unsigned k = (unsigned) e->length - 5;
        if (!take_number(in, k + 1, &more))
            return false;
        e->length = base[k] + more;
    }
    e->length += 4;
    return true;
}

static bool take_element(struct str *in, struct element *e)
{
    size_t tag;

    if (!take_number(in, 1, &tag))
        return false;
    e->literal = 0;
    switch (tag & 3) {
    case 0:
        return take_literal(in, (unsigned) tag, e);
    case 1:
        return take_short_copy(in, (unsigned) tag, e);
    default:
        e->length = (tag >> 2) + 1;
        return take_number(in, (tag & 3) == 2 ? 2 : 4, &e->offset);
    }
}

bool s2_block_decode(struct str block, struct buf *out)
{
    struct element e = {0};
    size_t start = out->n, at = 0;
    uint64_t n;
    char *to;

    if (!varint_take(&block, &n) || n > S2_BLOCK_MAX)
        return false;
    to = buf_reserve(out, n);
    while (block.n > 0) {
        if (!take_element(&block, &e))
            return false;
        if (e.literal > 0) {
            if (e.literal > n - at)
                return false;
            memcpy(to + at, block.p, e.literal);
            block = str_skip(block, e.literal);
            at += e.literal;
            continue;
        }
        if (e.offset == 0 || e.offset > at || e.length > n - at)
            return false;
        for (size_t i = 0; i < e.length; i++, at++)
            to[at] = to[at - e.offset];
    }
    out->n = start + at;
    return at == n;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool take_data(unsigned type, struct str body, struct buf *out)
{
    size_t start = out->n;
    uint32_t crc;

    if (body.n < 4)
        return false;
    crc = get_u32(body.p);
    body = str_skip(body, 4);
    if (type == CHUNK_COMPRESSED) {
        if (!s2_block_decode(body, out))
            return false;
    } else {
        if (body.n > S2_BLOCK_MAX)
            return false;
        buf_put_str(out, body);
    }
    body = str_skip(buf_str(out), start);
    return masked_crc(body.p, body.n) == crc;
}

static bool take_chunk(struct s2_reader *r, unsigned type, struct str body, struct buf *out)
{
    if (type == CHUNK_START) {
        r->started = str_eq(body, STR("S2sTwO")) || str_eq(body, STR("sNaPpY"));
        return r->started;
    }
    if (!r->started)
        return false;
    if (type == CHUNK_COMPRESSED || type == CHUNK_PLAIN)
        return take_data(type, body, out);
    return type >= CHUNK_SKIP;
}

void s2_reader_feed(struct s2_reader *r, struct str bytes)
{
    size_t left = s2_reader_waiting(r);

    if (r->at > 0 && left > 0)
        memmove(r->in.p, r->in.p + r->at, left);
    r->in.n = left;
    r->at = 0;
    buf_put_str(&r->in, bytes);
}

enum s2_got s2_reader_next(struct s2_reader *r, struct buf *out)
{
    struct str left = str_skip(buf_str(&r->in), r->at);
    uint32_t head;
    size_t n;

    if (left.n < CHUNK_HEADER)
        return S2_MORE;
    head = get_u32(left.p);
    n = head >> 8;
    if (left.n - CHUNK_HEADER < n)
        return S2_MORE;
    if (!take_chunk(r, head & 0xff, str_take(str_skip(left, CHUNK_HEADER), n), out))
        return S2_BAD;
    r->at += CHUNK_HEADER + n;
    return S2_CHUNK;
}

size_t s2_reader_waiting(const struct s2_reader *r)
{
    return r->in.n - r->at;
}

void s2_reader_free(struct s2_reader *r)
{
    buf_free(&r->in);
}
