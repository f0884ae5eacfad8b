/* test_codec.c - the small codecs: bytes, varints, base64, CRC-32C, error texts. */
#include "lib/base/assert.h"
#include "lib/base/base64.h"
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/base/crc32c_own.h"
#include "lib/base/err.h"
#include "lib/base/prng.h"
#include "lib/base/varint.h"
#include "tests/lib/runner.h"

#include <errno.h>
#include <stdio.h>

TEST(bytes_at_any_alignment)
{
    unsigned char at[24];

    for (unsigned k = 0; k < 8; k++) {
        memset(at, 0xee, sizeof(at));
        put_u64(at + k, 0x0102030405060708u);
        ck_assert(at[k] == 8 && at[k + 7] == 1 && at[k + 8] == 0xee);
        ck_assert(get_u64(at + k) == 0x0102030405060708u);
        ck_assert_uint_eq(get_u32(at + k), 0x05060708u);
        ck_assert_uint_eq(get_u16(at + k + 6), 0x0102u);
        put_u32(at + k, 0xa1a2a3a4u);
        put_u16(at + k + 4, 0xb1b2u);
        ck_assert(get_u64(at + k) == 0x0102b1b2a1a2a3a4u);
    }
    ck_assert_uint_eq(round_up(0, 8), 0);
    ck_assert_uint_eq(round_up(1, 4096), 4096);
    ck_assert_uint_eq(round_up(4096, 4096), 4096);
    ck_assert_uint_eq(round_up(4097, 4096), 8192);
}

static void check_varint(uint64_t v)
{
    uint8_t out[VARINT_MAX + 1];
    unsigned n = varint_put(out, v);
    struct str in = str_from(out, n + 1);
    uint64_t back;

    MUST(n <= VARINT_MAX);
    out[n] = 0x55;
    MUST(varint_take(&in, &back));
    MUST(back == v && in.n == 1 && in.p == (char *) out + n);
    for (unsigned cut = 0; cut < n; cut++) {
        in = str_from(out, cut);
        MUST(!varint_take(&in, &back));
        MUST(in.n == cut);
    }
    MUST(unzigzag(zigzag((int64_t) v)) == (int64_t) v);
}

TEST(varints_of_every_length)
{
    struct prng r;

    prng_init(&r, 1);
    for (unsigned k = 0; k < 64; k++) {
        uint64_t one = (uint64_t) 1 << k;
        check_varint(one - 1);
        check_varint(one);
        check_varint(one + 1);
        for (unsigned j = 0; j < 1000; j++)
            check_varint(prng_u64(&r) >> k);
    }
    check_varint(UINT64_MAX);
    ck_assert_uint_eq(zigzag(0), 0);
    ck_assert_uint_eq(zigzag(-1), 1);
    ck_assert_uint_eq(zigzag(1), 2);
    ck_assert(zigzag(INT64_MIN) == UINT64_MAX);
}

TEST(varints_refused)
{
    static const struct str bad[] = {
        STR_LIT(""),
        STR_LIT("\x80"),
        STR_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
        STR_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
        STR_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"),
        STR_LIT("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    };

    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        struct str in = bad[k];
        uint64_t v = 77;
        ck_assert_msg(!varint_take(&in, &v), "%zu", k);
        ck_assert(in.p == bad[k].p && in.n == bad[k].n && v == 77);
    }
}

TEST(varints_in_a_buffer)
{
    struct buf b = {0};
    struct str in;
    uint64_t v;

    for (uint64_t k = 0; k < 5000; k++)
        varint_put_buf(&b, k * k * k);
    in = buf_str(&b);
    for (uint64_t k = 0; k < 5000; k++)
        ck_assert(varint_take(&in, &v) && v == k * k * k);
    ck_assert_uint_eq(in.n, 0);
    buf_free(&b);
}

TEST(base64_vectors)
{
    static const struct {
        const char *plain, *standard, *url;
    } rows[] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xff\xef\xbe", "/+++", "_---"},
    };
    struct buf b = {0};

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        buf_clear(&b);
        base64_encode(&b, str_of(rows[k].plain));
        ck_assert_str_eq(buf_cstr(&b), rows[k].standard);
        buf_clear(&b);
        base64url_encode(&b, str_of(rows[k].plain));
        ck_assert_str_eq(buf_cstr(&b), rows[k].url);
        buf_clear(&b);
        ck_assert(base64_decode(&b, str_of(rows[k].standard)));
        ck_assert(base64_decode(&b, str_of(rows[k].url)));
        ck_assert_uint_eq(b.n, 2 * strlen(rows[k].plain));
        ck_assert(memcmp(buf_cstr(&b), rows[k].plain, b.n / 2) == 0);
        ck_assert(memcmp(buf_cstr(&b) + b.n / 2, rows[k].plain, b.n / 2) == 0);
    }
    buf_free(&b);
}

TEST(base64_refused)
{
    static const char *const bad[] = {
        "Z",      "Zg=",   "Zg===",  "Z===", "=",        "==",   "====", "Zm8==", "Zm9v=",
        "Zm9v==", "Zm 9v", "Zm9v\n", "Zm.9", "Zg==Zg==", "Z=g=", "=Zg=", "Zm9vY", "\x80mm9",
    };
    struct buf b = {0};

    buf_puts(&b, "kept");
    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        ck_assert_msg(!base64_decode(&b, str_of(bad[k])), "%s", bad[k]);
        ck_assert_str_eq(buf_cstr(&b), "kept");
    }
    /* Every byte outside of the two alphabets, in every place. */
    for (int c = 0; c < 256; c++) {
        static const char alphabet[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_";
        bool known = memchr(alphabet, c, sizeof(alphabet) - 1) != NULL;
        for (int at = 0; at < 3; at++) {
            char text[4] = {'A', 'A', 'A', 'A'};
            text[at] = (char) c;
            buf_clear(&b);
            ck_assert_int_eq(base64_decode(&b, str_from(text, 4)), known);
        }
    }
    buf_free(&b);
}

TEST(base64_round_trip)
{
    struct prng r;
    struct buf text = {0}, back = {0};
    char in[200];

    prng_init(&r, 9);
    for (int k = 0; k < 20000; k++) {
        size_t n = prng_below(&r, sizeof(in));
        prng_fill(&r, in, n);
        buf_clear(&text);
        buf_clear(&back);
        if (k % 2)
            base64_encode(&text, str_from(in, n));
        else
            base64url_encode(&text, str_from(in, n));
        MUST(base64_decode(&back, buf_str(&text)));
        MUST(str_eq(buf_str(&back), str_from(in, n)));
    }
    buf_free(&text);
    buf_free(&back);
}

/* Bit by bit, from the polynomial. */
static uint32_t naive_crc(uint32_t crc, const unsigned char *p, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        crc ^= p[k];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
    }
    return crc;
}

TEST(crc_vectors)
{
    unsigned char block[32];

    ck_assert_uint_eq(crc32c_kafka("123456789", 9), 0xe3069283u);
    ck_assert_uint_eq(crc32c_kafka("", 0), 0);
    ck_assert_uint_eq(crc32c(5, NULL, 0), 5);
    memset(block, 0, sizeof(block));
    ck_assert_uint_eq(crc32c_kafka(block, sizeof(block)), 0x8a9136aau);
    memset(block, 0xff, sizeof(block));
    ck_assert_uint_eq(crc32c_kafka(block, sizeof(block)), 0x62a8ab43u);
    for (unsigned k = 0; k < 32; k++)
        block[k] = (unsigned char) k;
    ck_assert_uint_eq(crc32c_kafka(block, sizeof(block)), 0x46dd794eu);
}

TEST(crc_against_the_polynomial)
{
    struct prng r;
    unsigned char data[700];

    prng_init(&r, 11);
    prng_fill(&r, data, sizeof(data));
    for (size_t n = 0; n < 600; n++) {
        uint32_t seed = (uint32_t) prng_u64(&r);
        size_t at = prng_below(&r, 64), cut = prng_below(&r, n + 1);
        uint32_t want = naive_crc(seed, data + at, n);
        ck_assert_uint_eq(crc32c(seed, data + at, n), want);
        ck_assert_uint_eq(crc32c(crc32c(seed, data + at, cut), data + at + cut, n - cut), want);
        ck_assert_uint_eq(crc32c_kafka(data + at, n), ~naive_crc(~0u, data + at, n));
    }
}

/* Those that builds without ISA-L use. */
TEST(crc_of_our_own)
{
    static unsigned char data[6000];
    struct prng r;

    prng_init(&r, 12);
    prng_fill(&r, data, sizeof(data));
    for (int k = 0; k < 2000; k++) {
        uint32_t seed = (uint32_t) prng_u64(&r);
        size_t at = prng_below(&r, 64), n = prng_below(&r, k < 1000 ? 100 : 5900);
        uint32_t want = naive_crc(seed, data + at, n);
        ck_assert_uint_eq(crc32c_by_table(seed, data + at, n), want);
        if (crc32c_has_instruction())
            ck_assert_uint_eq(crc32c_by_instruction(seed, data + at, n), want);
        ck_assert_uint_eq(crc32c_own(seed, data + at, n), want);
    }
}

TEST(errors_have_texts)
{
    for (int e = 0; e < ERR_COUNT; e++) {
        ck_assert_ptr_nonnull(err_text((enum err) e));
        ck_assert_str_ne(err_text((enum err) e), "");
        for (int other = 0; other < e; other++)
            ck_assert_str_ne(err_text((enum err) e), err_text((enum err) other));
    }
    ck_assert_str_eq(err_text(ERR_OK), "ok");
    ck_assert_str_eq(err_text(ERR_COUNT), "unknown error");
}

TEST(errors_from_errno)
{
    static const struct {
        int number;
        enum err e;
    } rows[] = {
        {0, ERR_OK},
        {ENOSPC, ERR_NO_SPACE},
        {EDQUOT, ERR_NO_SPACE},
        {EIO, ERR_IO},
        {ECANCELED, ERR_CANCELED},
        {ENOMEM, ERR_NO_MEMORY},
        {ENOENT, ERR_NOT_FOUND},
        {EEXIST, ERR_EXISTS},
        {EAGAIN, ERR_AGAIN},
        {ETIMEDOUT, ERR_TIMEOUT},
        {EPIPE, ERR_CLOSED},
        {ECONNRESET, ERR_CLOSED},
        {EBUSY, ERR_BUSY},
        {EINVAL, ERR_INVALID},
        {EROFS, ERR_IO},
        {EMFILE, ERR_LIMIT},
        {EOPNOTSUPP, ERR_UNSUPPORTED},
        {EFBIG, ERR_TOO_LARGE},
    };

    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        ck_assert_int_eq(err_from_errno(rows[k].number), rows[k].e);
        ck_assert_int_eq(err_from_errno(-rows[k].number), rows[k].e);
    }
}

static const struct runner_case cases[] = {
    RUN(bytes_at_any_alignment),
    RUN(varints_of_every_length),
    RUN(varints_refused),
    RUN(varints_in_a_buffer),
    RUN(base64_vectors),
    RUN(base64_refused),
    RUN(base64_round_trip),
    RUN(crc_vectors),
    RUN(crc_against_the_polynomial),
    RUN(crc_of_our_own),
    RUN(errors_have_texts),
    RUN(errors_from_errno),
};

RUNNER_MAIN("base/codec", cases)
