/*
 * websocket_pack.c - see websocket_pack.h.
 *
 * A packed message is a deflate stream that was flushed to a byte boundary, without the four bytes
 * 00 00 ff ff which such a flush ends with: they are cut off when packing and put back when
 * unpacking.
 */
#include "lib/wire/websocket_pack.h"

#include "lib/base/buf.h"
#include "lib/base/mem.h"

#define ZLIB_CONST
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#define WINDOW_BITS (-15) /* raw */
#define MEM_LEVEL 8
#define STEP 65536u
#define TAIL_LEN 4u

static const uint8_t tail[TAIL_LEN] = {0x00, 0x00, 0xff, 0xff};

struct ws_pack {
    z_stream out, in;
    bool has_out, has_in, failed;
    struct buf packed;
    size_t left; /* bytes that the message being unpacked may still become */
    bool (*each)(void *ctx, struct str bytes);
    void *ctx;
    uint8_t piece[STEP];
};

/* zlib's tables are ours to account for. */
static voidpf get(voidpf ctx, uInt items, uInt size)
{
    (void) ctx;
    return mem_alloc((size_t) items * size);
}

static void put(voidpf ctx, voidpf p)
{
    (void) ctx;
    mem_free(p);
}

struct ws_pack *ws_pack_open(void)
{
    struct ws_pack *p = mem_zalloc(sizeof(*p));

    p->out.zalloc = p->in.zalloc = get;
    p->out.zfree = p->in.zfree = put;
    return p;
}

void ws_pack_close(struct ws_pack *p)
{
    if (p == NULL)
        return;
    if (p->has_out)
        deflateEnd(&p->out);
    if (p->has_in)
        inflateEnd(&p->in);
    buf_free(&p->packed);
    mem_free(p);
}

/* ---- packing --------------------------------------------------------------------------------- */

void ws_pack_begin(struct ws_pack *p)
{
    if (!p->has_out)
        p->has_out = deflateInit2(&p->out, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEM_LEVEL,
                                  Z_DEFAULT_STRATEGY) == Z_OK;
    else
        deflateReset(&p->out);
    p->failed = !p->has_out;
    buf_clear(&p->packed);
}

static void run(struct ws_pack *p, int flush)
{
    int rc = Z_OK;

    do {
        p->out.next_out = (Bytef *) buf_reserve(&p->packed, STEP);
        p->out.avail_out = STEP;
        rc = deflate(&p->out, flush);
        p->packed.n += STEP - p->out.avail_out;
    } while (p->out.avail_out == 0 && rc == Z_OK);
    p->failed |= rc != Z_OK && rc != Z_BUF_ERROR;
}

void ws_pack_add(struct ws_pack *p, struct str bytes)
{
    if (p->failed || bytes.n == 0)
        return;
    p->out.next_in = (const Bytef *) bytes.p;
    p->out.avail_in = (uInt) bytes.n;
    run(p, Z_NO_FLUSH);
}

struct str ws_pack_end(struct ws_pack *p)
{
    struct str packed;

    if (p->failed)
        return STR_NONE;
    run(p, Z_SYNC_FLUSH);
    packed = buf_str(&p->packed);
    if (p->failed || packed.n < TAIL_LEN ||
        memcmp(packed.p + packed.n - TAIL_LEN, tail, TAIL_LEN) != 0)
        return STR_NONE;
    return str_take(packed, packed.n - TAIL_LEN);
}

/* ---- unpacking ------------------------------------------------------------------------------- */

void ws_unpack_begin(struct ws_pack *p, size_t most, bool (*each)(void *ctx, struct str bytes),
                     void *ctx)
{
    if (!p->has_in)
        p->has_in = inflateInit2(&p->in, WINDOW_BITS) == Z_OK;
    else
        inflateReset(&p->in);
    p->left = most;
    p->each = each;
    p->ctx = ctx;
}

bool ws_unpack_add(struct ws_pack *p, struct str payload)
{
    z_stream *z = &p->in;
    int rc = Z_OK;

    if (!p->has_in || payload.n > UINT_MAX)
        return false;
    z->next_in = (const Bytef *) payload.p;
    z->avail_in = (uInt) payload.n;
    do {
        size_t got;
        z->next_out = p->piece;
        z->avail_out = STEP;
        rc = inflate(z, Z_SYNC_FLUSH);
        if (rc != Z_OK && rc != Z_STREAM_END && rc != Z_BUF_ERROR)
            return false;
        got = STEP - z->avail_out;
        if (got > p->left)
            return false;
        p->left -= got;
        if (got > 0 && !p->each(p->ctx, str_from(p->piece, got)))
            return false;
    } while (rc == Z_OK && (z->avail_in > 0 || z->avail_out == 0));
    return true;
}

bool ws_unpack_end(struct ws_pack *p)
{
    return ws_unpack_add(p, str_from(tail, TAIL_LEN));
}
