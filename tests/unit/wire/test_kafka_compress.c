/* test_kafka_compress.c - decompression: each codec, each cut, each bound, what is damaged. */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"
#include "tests/lib/runner.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum form { GZIP, GZIP_TWICE, SNAPPY_RAW, SNAPPY_JAVA, LZ4, LZ4_TWICE, ZSTD, ZSTD_STREAM, FORMS };

static const enum kafka_codec codecs[FORMS] = {
    KAFKA_GZIP, KAFKA_GZIP, KAFKA_SNAPPY, KAFKA_SNAPPY,
    KAFKA_LZ4,  KAFKA_LZ4,  KAFKA_ZSTD,   KAFKA_ZSTD,
};

static void put_gzip(struct buf *out, struct str in)
{
    z_stream z = {0};

    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, in.n) + 64;
    z.next_out = (Bytef *) buf_reserve(out, room);
    z.avail_out = (uInt) room;
    z.next_in = (z_const Bytef *) (uintptr_t) in.p;
    z.avail_in = (uInt) in.n;
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->n += room - z.avail_out;
    deflateEnd(&z);
}

static void put_snappy(struct buf *out, struct str in)
{
    size_t n = snappy_max_compressed_length(in.n);
    char *p = buf_reserve(out, n);

    ck_assert_int_eq(snappy_compress(in.p, in.n, p, &n), SNAPPY_OK);
    out->n += n;
}

static void put_java(struct buf *out, struct str in)
{
    buf_put(out, "\x82SNAPPY\0\0\0\0\1\0\0\0\1", 16);
    while (in.n > 0) {
        struct str block = str_take(in, 1000);
        size_t at = out->n;
        buf_put(out, "\0\0\0\0", 4);
        put_snappy(out, block);
        kafka_put_u32(out->p + at, (uint32_t) (out->n - at - 4));
        in = str_skip(in, block.n);
    }
}

static void put_lz4(struct buf *out, struct str in)
{
    size_t room = LZ4F_compressFrameBound(in.n, NULL);
    size_t n = LZ4F_compressFrame(buf_reserve(out, room), room, in.p, in.n, NULL);

    ck_assert(!LZ4F_isError(n));
    out->n += n;
}

static void put_zstd(struct buf *out, struct str in, bool stream)
{
    size_t room = ZSTD_compressBound(in.n);
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    ZSTD_outBuffer to = {buf_reserve(out, room), room, 0};
    ZSTD_inBuffer from = {in.p, in.n, 0};

    if (stream) { /* its length is not said */
        ck_assert(!ZSTD_isError(ZSTD_compressStream2(ctx, &to, &from, ZSTD_e_flush)));
        ck_assert_uint_eq(ZSTD_compressStream2(ctx, &to, &from, ZSTD_e_end), 0);
    } else {
        ck_assert_uint_eq(ZSTD_compressStream2(ctx, &to, &from, ZSTD_e_end), 0);
    }
    out->n += to.pos;
    ZSTD_freeCCtx(ctx);
}

static void put_form(struct buf *out, enum form form, struct str in)
{
    struct str half = str_take(in, in.n / 2), rest = str_skip(in, half.n);

    switch (form) {
    case GZIP:
        put_gzip(out, in);
        break;
    case GZIP_TWICE:
        put_gzip(out, half);
        put_gzip(out, rest);
        break;
    case SNAPPY_RAW:
        put_snappy(out, in);
        break;
    case SNAPPY_JAVA:
        put_java(out, in);
        break;
    case LZ4:
        put_lz4(out, in);
        break;
    case LZ4_TWICE:
        put_lz4(out, half);
        put_lz4(out, rest);
        break;
    default:
        put_zstd(out, in, form == ZSTD_STREAM);
    }
}

static struct buf sample(size_t n)
{
    struct prng rng;
    struct buf out = {0};

    prng_init(&rng, n);
    while (out.n < n)
        buf_printf(&out, "record %llu of some text;", (unsigned long long) (prng_u64(&rng) % 1000));
    out.n = n;
    return out;
}

static const size_t sizes[] = {1, 100, 4096, 4097, 70000, 1000000};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

TEST(every_codec_gives_back_what_went_in)
{
    enum form form = (enum form)(i / SIZES);
    struct buf in = sample(sizes[i % SIZES]), packed = {0};
    struct kafka_room out = {0};

    put_form(&packed, form, buf_str(&in));
    ck_assert_int_eq(kafka_decompress(codecs[form], buf_str(&packed), in.n, &out), ERR_OK);
    ck_assert_uint_eq(out.n, in.n);
    ck_assert_mem_eq(out.p, in.p, in.n);
    /* Again into the same room. */
    ck_assert_int_eq(kafka_decompress(codecs[form], buf_str(&packed), 1 << 20, &out), ERR_OK);
    ck_assert_uint_eq(out.n, in.n);
    ck_assert_int_eq(kafka_decompress(codecs[form], buf_str(&packed), in.n - 1, &out),
                     ERR_TOO_LARGE);
    kafka_room_free(&out);
    buf_free(&in);
    buf_free(&packed);
}

TEST(every_cut_is_damage)
{
    enum form form = (enum form) i;
    struct buf in = sample(3000), packed = {0};
    struct kafka_room out = {0};

    put_form(&packed, form, buf_str(&in));
    for (size_t n = 0; n < packed.n; n++) {
        enum err err = kafka_decompress(codecs[form], str_from(packed.p, n), 1 << 20, &out);
        /* Between two members, frames or blocks it is whole. */
        if (err == ERR_OK)
            ck_assert((form == GZIP_TWICE || form == LZ4_TWICE || form == SNAPPY_JAVA) &&
                      out.n < in.n);
        else
            ck_assert_int_eq(err, ERR_CORRUPT);
    }
    kafka_room_free(&out);
    buf_free(&in);
    buf_free(&packed);
}

TEST(wrong_bytes_never_go_beyond_the_bound)
{
    enum form form = (enum form)(i % FORMS);
    struct buf in = sample(3000), packed = {0};
    struct kafka_room out = {0};
    struct prng rng;

    put_form(&packed, form, buf_str(&in));
    prng_init(&rng, (uint64_t) i);
    for (unsigned k = 0; k < 200; k++) {
        size_t at = prng_u64(&rng) % packed.n;
        char was = packed.p[at];
        packed.p[at] = (char) prng_u64(&rng);
        enum err err = kafka_decompress(codecs[form], buf_str(&packed), 5000, &out);
        ck_assert(err == ERR_OK || err == ERR_CORRUPT || err == ERR_TOO_LARGE ||
                  err == ERR_UNSUPPORTED);
        ck_assert_uint_le(out.cap, 5001 > 4096 * 2 ? 5001 : 4096 * 2);
        packed.p[at] = was;
    }
    kafka_room_free(&out);
    buf_free(&in);
    buf_free(&packed);
}

TEST(a_length_alone_allocates_nothing)
{
    struct kafka_room out = {0};

    /* A snappy block that says 64 MiB. */
    ck_assert_int_eq(
        kafka_decompress(KAFKA_SNAPPY, str_from("\x80\x80\x80\x20", 4), 64u << 20, &out),
        ERR_CORRUPT);
    ck_assert_uint_eq(out.cap, 0);
    ck_assert_int_eq(kafka_decompress(KAFKA_SNAPPY,
                                      str_from("\x82SNAPPY\0\0\0\0\1\0\0\0\1\x7f\xff\xff\xff", 20),
                                      64u << 20, &out),
                     ERR_CORRUPT);
    ck_assert_uint_eq(out.cap, 0);
}

TEST(nothing_and_unknown_codecs)
{
    struct kafka_room out = {0};

    for (int c = KAFKA_GZIP; c <= KAFKA_ZSTD; c++)
        ck_assert_int_eq(kafka_decompress((enum kafka_codec) c, STR_NONE, 100, &out), ERR_CORRUPT);
    ck_assert_int_eq(kafka_decompress((enum kafka_codec) 5, STR("x"), 100, &out), ERR_UNSUPPORTED);
    ck_assert_int_eq(kafka_decompress(KAFKA_PLAIN, STR("x"), 100, &out), ERR_OK);
    ck_assert_uint_eq(out.n, 1);
    ck_assert_int_eq(kafka_decompress(KAFKA_PLAIN, STR("xyz"), 2, &out), ERR_TOO_LARGE);
    kafka_room_free(&out);
}

TEST(a_huge_window_is_refused)
{
    struct buf in = sample(100000), packed = {0};
    struct kafka_room out = {0};
    ZSTD_CCtx *ctx = ZSTD_createCCtx();
    ZSTD_outBuffer to = {buf_reserve(&packed, 200000), 200000, 0};
    ZSTD_inBuffer from = {in.p, in.n, 0};

    ZSTD_CCtx_setParameter(ctx, ZSTD_c_windowLog, 27);
    ck_assert(!ZSTD_isError(ZSTD_compressStream2(ctx, &to, &from, ZSTD_e_flush)));
    ck_assert_uint_eq(ZSTD_compressStream2(ctx, &to, &from, ZSTD_e_end), 0);
    ck_assert_int_eq(kafka_decompress(KAFKA_ZSTD, str_from(packed.p, to.pos), 1 << 20, &out),
                     ERR_UNSUPPORTED);
    ZSTD_freeCCtx(ctx);
    kafka_room_free(&out);
    buf_free(&in);
    buf_free(&packed);
}

TEST(without_memory_it_is_an_error)
{
    struct buf in = sample(10000), packed = {0};
    struct kafka_room out = {0};

    put_form(&packed, (enum form) i, buf_str(&in));
    mem_fail_after(1);
    ck_assert_int_eq(kafka_decompress(codecs[i], buf_str(&packed), 1 << 20, &out), ERR_NO_MEMORY);
    mem_fail_after(0);
    kafka_room_free(&out);
    buf_free(&in);
    buf_free(&packed);
}

TEST(records_of_a_batch)
{
    struct kafka_room room = {0};
    struct str records;
    struct buf packed = {0};
    struct kafka_batch b = {.records = STR("as they are")};

    ck_assert_int_eq(kafka_batch_records(&b, 100, &room, &records), ERR_OK);
    ck_assert(records.p == b.records.p && records.n == b.records.n);
    ck_assert_int_eq(kafka_batch_records(&b, 5, &room, &records), ERR_TOO_LARGE);
    put_lz4(&packed, STR("packed"));
    b.attributes = KAFKA_LZ4;
    b.records = buf_str(&packed);
    ck_assert_int_eq(kafka_batch_records(&b, 100, &room, &records), ERR_OK);
    ck_assert(str_eq(records, STR("packed")));
    kafka_room_free(&room);
    buf_free(&packed);
}

/* What is compressed here is what went in, of every size around the blocks. */
TEST(what_is_packed_comes_out)
{
    static const size_t lengths[] = {1, 100, 32767, 32768, 32769, 65536, 300000};
    struct prng prng;
    char *plain = mem_alloc(300000);

    prng_init(&prng, 3);
    for (size_t k = 0; k < 300000; k++)
        plain[k] = (char) (k % 7 == 0 ? prng_below(&prng, 256) : 'a');
    for (enum kafka_codec codec = KAFKA_PLAIN; codec < KAFKA_CODECS; codec++)
        for (size_t k = 0; k < sizeof(lengths) / sizeof(*lengths); k++) {
            struct buf packed = {0};
            struct kafka_room room = {0};
            buf_puts(&packed, "before");
            ck_assert_int_eq(kafka_compress(codec, str_from(plain, lengths[k]), &packed), ERR_OK);
            ck_assert_int_eq(
                kafka_decompress(codec, str_skip(buf_str(&packed), 6), lengths[k], &room), ERR_OK);
            ck_assert_uint_eq(room.n, lengths[k]);
            ck_assert_mem_eq(room.p, plain, lengths[k]);
            kafka_room_free(&room);
            buf_free(&packed);
        }
    struct buf none = {0};
    ck_assert_int_eq(kafka_compress(KAFKA_CODECS, STR("x"), &none), ERR_UNSUPPORTED);
    mem_free(plain);
}

static const struct runner_case cases[] = {
    RUN_LOOP(every_codec_gives_back_what_went_in, 0, (int) FORMS *(int) SIZES),
    RUN_LOOP(every_cut_is_damage, 0, FORMS),
    RUN_LOOP(wrong_bytes_never_go_beyond_the_bound, 0, 3 * FORMS),
    RUN(a_length_alone_allocates_nothing),
    RUN(nothing_and_unknown_codecs),
    RUN(a_huge_window_is_refused),
    RUN_LOOP(without_memory_it_is_an_error, 0, FORMS),
    RUN(records_of_a_batch),
    RUN(what_is_packed_comes_out),
};

RUNNER_MAIN("wire/kafka_compress", cases)
