/*
 * kafka_compress.c - decompression with a bound, one function a codec.
 *
 *     gzip    one or more members; zlib's own header is taken, too
 *     snappy  a raw block, or Java's framing: "\x82SNAPPY\0", i32 version, i32 oldest compatible
 *             version, then { i32 length, raw block }; integers big-endian
 *     lz4     one or more frames
 *     zstd    one or more frames
 *
 * A snappy block says first how long it will be. That is believed up to what snappy can reach: a
 * copy of 64 bytes takes 3, so 22 times the input; beyond, the block is damaged.
 */
#include "lib/wire/kafka_compress.h"

#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"

#include <limits.h>
#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    ROOM_MIN = 4096,
    SNAPPY_RATIO = 22,
    XERIAL_HEADER = 16,
    ZSTD_WINDOW_LOG = 25,
};

/* ---- room ---------------------------------------------------------------------------------- */

void kafka_room_free(struct kafka_room *r)
{
    mem_free(r->p);
    *r = (struct kafka_room){0};
}

static enum err room_reserve(struct kafka_room *r, size_t cap)
{
    uint8_t *p;

    if (cap <= r->cap)
        return ERR_OK;
    p = mem_try_alloc(cap);
    if (p == NULL)
        return ERR_NO_MEMORY;
    if (r->n != 0)
        memcpy(p, r->p, r->n);
    mem_free(r->p);
    r->p = p;
    r->cap = cap;
    return ERR_OK;
}

/* Room for some more, or why there is none. One byte above the bound tells what is too large. */
static enum err room_more(struct kafka_room *r, size_t bound)
{
    size_t cap = r->cap < ROOM_MIN ? ROOM_MIN : r->cap;

    if (r->n > bound)
        return ERR_TOO_LARGE;
    if (r->n < r->cap)
        return ERR_OK;
    if (r->cap != 0)
        cap = r->cap * 2;
    return room_reserve(r, cap > bound ? bound + 1 : cap);
}

/* ---- codecs -------------------------------------------------------------------------------- */

static enum err gunzip(struct str in, size_t bound, struct kafka_room *out)
{
    z_stream z = {.next_in = (z_const Bytef *) (uintptr_t) in.p, .avail_in = (uInt) in.n};
    enum err err = ERR_OK;
    int res = Z_OK;

    if (inflateInit2(&z, 15 + 32) != Z_OK)
        return ERR_NO_MEMORY;
    while (err == ERR_OK && !(res == Z_STREAM_END && z.avail_in == 0)) {
        if (res == Z_STREAM_END && inflateReset(&z) != Z_OK)
            err = ERR_CORRUPT;
        if (err == ERR_OK)
            err = room_more(out, bound);
        if (err != ERR_OK)
            break;
        z.next_out = out->p + out->n;
        z.avail_out = (uInt) (out->cap - out->n);
        res = inflate(&z, Z_NO_FLUSH);
        bool stuck = z.avail_out != 0 && z.avail_in == 0 && res != Z_STREAM_END;
        out->n = out->cap - z.avail_out;
        if (res == Z_MEM_ERROR)
            err = ERR_NO_MEMORY;
        else if ((res != Z_OK && res != Z_STREAM_END && res != Z_BUF_ERROR) || stuck)
            err = ERR_CORRUPT;
    }
    inflateEnd(&z);
    return err == ERR_OK && out->n > bound ? ERR_TOO_LARGE : err;
}

static enum err snappy_block(struct str in, size_t bound, struct kafka_room *out)
{
    size_t n;

    if (snappy_uncompressed_length(in.p, in.n, &n) != SNAPPY_OK || n > in.n * SNAPPY_RATIO)
        return ERR_CORRUPT;
    if (n > bound - out->n)
        return ERR_TOO_LARGE;
    if (out->n + n > out->cap) {
        size_t cap = out->n + n > out->cap * 2 ? out->n + n : out->cap * 2;
        enum err err = room_reserve(out, cap);
        if (err != ERR_OK)
            return err;
    }
    if (n != 0 && snappy_uncompress(in.p, in.n, (char *) out->p + out->n, &n) != SNAPPY_OK)
        return ERR_CORRUPT;
    out->n += n;
    return ERR_OK;
}

static enum err unsnappy(struct str in, size_t bound, struct kafka_room *out)
{
    enum err err = ERR_OK;

    if (!str_starts(in, STR("\x82SNAPPY\0")))
        return snappy_block(in, bound, out);
    if (in.n < XERIAL_HEADER)
        return ERR_CORRUPT;
    in = str_skip(in, XERIAL_HEADER);
    while (err == ERR_OK && in.n > 0) {
        uint32_t n = in.n < 4 ? UINT32_MAX : kafka_get_u32(in.p);
        if (n > in.n - 4 || in.n < 4)
            return ERR_CORRUPT;
        err = snappy_block(str_from(in.p + 4, n), bound, out);
        in = str_skip(in, 4 + (size_t) n);
    }
    return err;
}

static enum err unlz4(struct str in, size_t bound, struct kafka_room *out)
{
    LZ4F_dctx *ctx;
    enum err err = ERR_OK;
    size_t hint = 1;

    if (LZ4F_isError(LZ4F_createDecompressionContext(&ctx, LZ4F_VERSION)))
        return ERR_NO_MEMORY;
    while (err == ERR_OK && in.n > 0) {
        if ((err = room_more(out, bound)) != ERR_OK)
            break;
        size_t room = out->cap - out->n, taken = in.n;
        hint = LZ4F_decompress(ctx, out->p + out->n, &room, in.p, &taken, NULL);
        if (LZ4F_isError(hint) || (room == 0 && taken == 0)) {
            err = ERR_CORRUPT;
            break;
        }
        out->n += room;
        in = str_skip(in, taken);
    }
    /* What is decoded and had no room yet. */
    while (err == ERR_OK && hint != 0) {
        if ((err = room_more(out, bound)) != ERR_OK)
            break;
        size_t room = out->cap - out->n, none = 0;
        hint = LZ4F_decompress(ctx, out->p + out->n, &room, in.p, &none, NULL);
        if (LZ4F_isError(hint) || (room == 0 && hint != 0))
            err = ERR_CORRUPT;
        else
            out->n += room;
    }
    LZ4F_freeDecompressionContext(ctx);
    return err == ERR_OK && out->n > bound ? ERR_TOO_LARGE : err;
}

static enum err zstd_error(size_t code)
{
    if (strstr(ZSTD_getErrorName(code), "memory") != NULL)
        return ERR_UNSUPPORTED; /* the window, or none to be had */
    return ERR_CORRUPT;
}

static enum err unzstd(struct str in, size_t bound, struct kafka_room *out)
{
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    ZSTD_inBuffer from = {in.p, in.n, 0};
    enum err err = ERR_OK;
    size_t hint = 1;

    if (ctx == NULL)
        return ERR_NO_MEMORY;
    ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
    while (err == ERR_OK && (from.pos < from.size || hint != 0)) {
        if ((err = room_more(out, bound)) != ERR_OK)
            break;
        size_t pos = from.pos;
        ZSTD_outBuffer to = {out->p, out->cap, out->n};
        hint = ZSTD_decompressStream(ctx, &to, &from);
        if (ZSTD_isError(hint))
            err = zstd_error(hint);
        else if (hint != 0 && from.pos == pos && to.pos == out->n)
            err = ERR_CORRUPT; /* cut off */
        else
            out->n = to.pos;
    }
    ZSTD_freeDCtx(ctx);
    return err == ERR_OK && out->n > bound ? ERR_TOO_LARGE : err;
}

static enum err copy(struct str in, size_t bound, struct kafka_room *out)
{
    enum err err = in.n > bound ? ERR_TOO_LARGE : room_reserve(out, in.n);

    if (err != ERR_OK)
        return err;
    if (in.n != 0)
        memcpy(out->p, in.p, in.n);
    out->n = in.n;
    return ERR_OK;
}

enum err kafka_decompress(enum kafka_codec codec, struct str in, size_t bound,
                          struct kafka_room *out)
{
    out->n = 0;
    if (codec == KAFKA_PLAIN)
        return copy(in, bound, out);
    if (in.n == 0 || in.n > INT_MAX)
        return in.n == 0 ? ERR_CORRUPT : ERR_TOO_LARGE;
    switch (codec) {
    case KAFKA_GZIP:
        return gunzip(in, bound, out);
    case KAFKA_SNAPPY:
        return unsnappy(in, bound, out);
    case KAFKA_LZ4:
        return unlz4(in, bound, out);
    case KAFKA_ZSTD:
        return unzstd(in, bound, out);
    default:
        return ERR_UNSUPPORTED;
    }
}

enum err kafka_batch_records(const struct kafka_batch *b, size_t bound, struct kafka_room *room,
                             struct str *records)
{
    enum kafka_codec codec = kafka_batch_codec(b);

    if (codec == KAFKA_PLAIN) {
        *records = b->records;
        return b->records.n > bound ? ERR_TOO_LARGE : ERR_OK;
    }
    enum err err = kafka_decompress(codec, b->records, bound, room);
    *records = str_from(room->p, room->n);
    return err;
}
