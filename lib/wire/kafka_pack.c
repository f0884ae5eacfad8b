/* kafka_pack.c - see kafka_pack.h. */
#include "lib/wire/kafka_pack.h"

#include "lib/base/crc32c.h"
#include "lib/wire/kafka_bytes.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define MOST (1u << 30)
#define SNAPPY_BLOCK (32u << 10)
#define ZSTD_LEVEL 3

static enum err gzip(struct str in, struct buf *out)
{
    z_stream z = {0};

    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return ERR_NO_MEMORY;
    size_t room = deflateBound(&z, in.n) + 64;
    z.next_out = (Bytef *) buf_reserve(out, room);
    z.avail_out = (uInt) room;
    z.next_in = (z_const Bytef *) (uintptr_t) in.p;
    z.avail_in = (uInt) in.n;
    int rc = deflate(&z, Z_FINISH);
    out->n += rc == Z_STREAM_END ? room - z.avail_out : 0;
    deflateEnd(&z);
    return rc == Z_STREAM_END ? ERR_OK : ERR_NO_MEMORY;
}

/* Java's: a header, then blocks behind their lengths. */
static enum err snappy(struct str in, struct buf *out)
{
    static const uint8_t header[16] = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0,
                                       0,    0,   0,   1,   0,   0,   0,   1};

    buf_put(out, header, sizeof(header));
    while (in.n > 0) {
        size_t take = in.n < SNAPPY_BLOCK ? in.n : SNAPPY_BLOCK;
        size_t n = snappy_max_compressed_length(take);
        char *p = buf_reserve(out, 4 + n);
        if (snappy_compress(in.p, take, p + 4, &n) != SNAPPY_OK)
            return ERR_NO_MEMORY;
        kafka_put_u32(p, (uint32_t) n);
        out->n += 4 + n;
        in = str_skip(in, take);
    }
    return ERR_OK;
}

static enum err lz4(struct str in, struct buf *out)
{
    LZ4F_preferences_t how = {
        .frameInfo = {.blockMode = LZ4F_blockIndependent, .blockSizeID = LZ4F_max64KB}};
    size_t room = LZ4F_compressFrameBound(in.n, &how);
    size_t n = LZ4F_compressFrame(buf_reserve(out, room), room, in.p, in.n, &how);

    if (LZ4F_isError(n))
        return ERR_NO_MEMORY;
    out->n += n;
    return ERR_OK;
}

static enum err zstd(struct str in, struct buf *out)
{
    size_t room = ZSTD_compressBound(in.n);
    size_t n = ZSTD_compress(buf_reserve(out, room), room, in.p, in.n, ZSTD_LEVEL);

    if (ZSTD_isError(n))
        return ERR_NO_MEMORY;
    out->n += n;
    return ERR_OK;
}

enum err kafka_compress(enum kafka_codec codec, struct str in, struct buf *out)
{
    if (in.n > MOST)
        return ERR_TOO_LARGE;
    switch (codec) {
    case KAFKA_PLAIN:
        buf_put_str(out, in);
        return ERR_OK;
    case KAFKA_GZIP:
        return gzip(in, out);
    case KAFKA_SNAPPY:
        return snappy(in, out);
    case KAFKA_LZ4:
        return lz4(in, out);
    case KAFKA_ZSTD:
        return zstd(in, out);
    default:
        return ERR_UNSUPPORTED;
    }
}

enum err kafka_batch_pack(struct str batch, enum kafka_codec codec, struct buf *out)
{
    size_t at = out->n;
    struct kafka_batch b;

    if (kafka_batch_open(batch, &b) != KAFKA_BATCH_OK || kafka_batch_codec(&b) != KAFKA_PLAIN)
        return ERR_CORRUPT;
    buf_put(out, batch.p, KAFKA_BATCH_HEADER);
    enum err err = kafka_compress(codec, b.records, out);
    if (err != ERR_OK) {
        out->n = at;
        return err;
    }
    uint8_t *p = (uint8_t *) out->p + at;
    size_t n = out->n - at;
    kafka_put_u32(p + 8, (uint32_t) (n - 12));
    kafka_put_u16(p + 21, (uint16_t) (b.attributes | codec));
    kafka_put_u32(p + 17, crc32c_kafka(p + KAFKA_BATCH_SUMMED, n - KAFKA_BATCH_SUMMED));
    return ERR_OK;
}
