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
 *
 * The packer looks four bytes up in a table of where they were seen last; a match goes on as long
 * as the bytes are the same. Where nothing matches it takes longer and longer steps.
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

void s2_put_start_snappy(struct buf *out)
{
    put_header(out, CHUNK_START, 6);
    buf_puts(out, "sNaPpY");
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

/* ---- packing --------------------------------------------------------------------------------- */

static void put_literal(struct buf *out, struct str s)
{
    size_t n = s.n - 1;

    if (s.n == 0)
        return;
    if (n < 60) {
        buf_putc(out, (char) (n << 2));
    } else if (n < 256) {
        buf_putc(out, (char) (60 << 2));
        buf_putc(out, (char) n);
    } else {
        buf_putc(out, (char) (61 << 2));
        buf_putc(out, (char) n);
        buf_putc(out, (char) (n >> 8));
    }
    buf_put_str(out, s);
}

static void put_long_copy(struct buf *out, size_t offset, size_t n)
{
    buf_putc(out, (char) ((n - 1) << 2 | 2));
    buf_putc(out, (char) offset);
    buf_putc(out, (char) (offset >> 8));
}

/* n: 4 at least, and what is left of it after pieces of 64 as well. */
static void put_copy(struct buf *out, size_t offset, size_t n)
{
    for (; n >= 68; n -= 64)
        put_long_copy(out, offset, 64);
    if (n > 64) {
        put_long_copy(out, offset, 60);
        n -= 60;
    }
    if (n >= 12 || offset >= 2048) {
        put_long_copy(out, offset, n);
        return;
    }
    buf_putc(out, (char) (offset >> 8 << 5 | (n - 4) << 2 | 1));
    buf_putc(out, (char) offset);
}

static size_t slot_of(uint32_t four)
{
    return four * 0x1e35a7bdu >> 18;
}

static size_t same_bytes(struct str data, size_t from, size_t at)
{
    size_t n = 4;

    while (at + n < data.n && data.p[from + n] == data.p[at + n])
        n++;
    return n;
}

void s2_block_encode(struct str data, struct s2_table *table, struct buf *out)
{
    size_t at = 1, done = 0, steps = 32;

    varint_put_buf(out, data.n);
    memset(table, 0, sizeof(*table));
    while (at + 4 <= data.n) {
        uint32_t four = get_u32(data.p + at);
        size_t slot = slot_of(four), from = table->at[slot], n;
        table->at[slot] = (uint16_t) at;
        if (from >= at || get_u32(data.p + from) != four) {
            at += steps++ >> 5;
            continue;
        }
        n = same_bytes(data, from, at);
        put_literal(out, str_from(data.p + done, at - done));
        put_copy(out, at - from, n);
        at += n;
        done = at;
        steps = 32;
    }
    put_literal(out, str_skip(data, done));
}

void s2_put_packed(struct buf *out, struct str data, struct s2_table *table)
{
    struct buf block = {0};

    while (data.n > 0) {
        struct str part = str_take(data, CHUNK_DATA);
        uint8_t crc[4];
        buf_clear(&block);
        s2_block_encode(part, table, &block);
        if (block.n >= part.n - part.n / 8) {
            s2_put(out, part);
        } else {
            put_u32(crc, masked_crc(part.p, part.n));
            put_header(out, CHUNK_COMPRESSED, block.n + sizeof(crc));
            buf_put(out, crc, sizeof(crc));
            buf_put_str(out, buf_str(&block));
        }
        data = str_skip(data, part.n);
    }
    buf_free(&block);
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

static bool decode(struct str block, size_t most, struct buf *out)
{
    struct element e = {0};
    size_t start = out->n, at = 0;
    uint64_t n;
    char *to;

    if (!varint_take(&block, &n) || n > most)
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

bool s2_block_decode(struct str block, struct buf *out)
{
    return decode(block, S2_BLOCK_MAX, out);
}

/* ---- reading --------------------------------------------------------------------------------- */

static size_t most_of(const struct s2_reader *r)
{
    return r->most > 0 ? r->most : S2_BLOCK_MAX;
}

static bool take_data(const struct s2_reader *r, unsigned type, struct str body, struct buf *out)
{
    size_t start = out->n;
    uint32_t crc;

    if (body.n < 4)
        return false;
    crc = get_u32(body.p);
    body = str_skip(body, 4);
    if (type == CHUNK_COMPRESSED) {
        if (!decode(body, most_of(r), out))
            return false;
    } else {
        if (body.n > most_of(r))
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
        return take_data(r, type, body, out);
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
    if (r->most > 0 && n > r->most + r->most / 6 + 64) /* more than a block can grow */
        return S2_BAD;
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
