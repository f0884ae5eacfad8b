/* test_s2.c - S2 chunks and blocks: what nats-server wrote, what we write, what is damaged. */
#include "lib/base/base64.h"
#include "lib/base/prng.h"
#include "lib/wire/s2.h"
#include "tests/lib/runner.h"

#include <string.h>

/* A backup of nats-server 2.15.1: a stream with five messages and a consumer. */
static const char backup[] =
    "/wYAAFMyc1R3TwClAgBX9CMIwQfETkFUU0FSQzEKxNeP7ZWrhuoxAADAAXN0YXRlLmpzb257Im1lc3NhZ2Vz"
    "Ijo1LCJieXQBCkAzNTgsImZpcnN0X3NlcSI6MREOnHRzIjoiMjAyNi0xMS0yMVQxMTo0MjoxNi41MTUwODMz"
    "NzhaIiwibGEROQA2DQ1iOAAgOTgxNTAxMDg0ATgkbnVtX3N1YmplYwEwADUJERhkZWxldGVkBYVIY29uc3Vt"
    "ZXJfY291bnQiOjF9Cx3YBMIDESB4cy9DeyJjb25maWciOnsiZHVyYWJsZV9uYW1lIjoiQwFrGQtkZGVsaXZl"
    "cl9wb2xpY3kiOiJhbGwiLCJhY2sZExxleHBsaWNpdA0YIHdhaXQiOjMwMBECFCwibWF4Xw1KLCI6LTEsInJl"
    "cGxheRlDFGluc3RhbgFCPG1heF93YWl0aW5nIjo1MTIJPRxhY2tfcGVuZAUWADEFVCEQAUdAaWNhcyI6MCwi"
    "bWV0YWRhdGEB1YBfbmF0cy5yZXEubGV2ZWwiOiIwIn0sInBhdXNlX3VudGkFEwwwMDEtBQMMVDAwOgUDAFoB"
    "JkUBAUYNswRlZAENMT8p9QAzAScMcmVhbSnLBDR9CfwQZmxvb3JGLgAAMhUABgwzfSwiFc4IeyI0AQXQU2Vx"
    "dWVuY2UiOjMsIlRpbWVzdGFtcCI6MTc5NTI2MTMzNjg3NTQwMjQ4MX19fX0D5PHLn5BBsxQBEwdzLjFBy4Av"
    "MS4wDQpBOiBiMQ0KDQpoZWxsbyAxA+jY6tCQq4bqMQMBKgAzFQAGADMZKiwzA+KTnPeSq4bqMQQBKgA0FQAG"
    "ADQZKiw0A+C0ooyTq4bqMQUBKgA1FQAGADUZKhQ1A7jSs9wFKiAGAElzLmFhYmOyAwAALV4uABAAAAAAAA==";

static void unpack(struct buf *out)
{
    ck_assert(base64_decode(out, STR(backup)));
}

static struct buf read_all(struct str bytes, size_t step)
{
    struct s2_reader r = {0};
    struct buf out = {0};

    while (bytes.n > 0) {
        enum s2_got got;
        s2_reader_feed(&r, str_take(bytes, step));
        bytes = str_skip(bytes, bytes.n < step ? bytes.n : step);
        do
            got = s2_reader_next(&r, &out);
        while (got == S2_CHUNK);
        ck_assert_int_eq(got, S2_MORE);
    }
    ck_assert_uint_eq(s2_reader_waiting(&r), 0);
    s2_reader_free(&r);
    return out;
}

TEST(what_the_peer_wrote_is_read)
{
    static const size_t steps[] = {1, 3, 64, 1000};
    struct buf packed = {0}, plain;

    unpack(&packed);
    plain = read_all(buf_str(&packed), steps[i]);
    ck_assert_uint_eq(plain.n, 961);
    ck_assert(str_starts(buf_str(&plain), STR("NATSARC1")));
    ck_assert_ptr_nonnull(memmem(plain.p, plain.n, "hello 5", 7));
    ck_assert_ptr_nonnull(
        memmem(plain.p, plain.n, "abcabcabcabcabcabcabcabcabc-abcabcabcabcabcabcabcabc", 52));
    buf_free(&packed);
    buf_free(&plain);
}

TEST(what_we_write_is_read)
{
    struct prng p;
    struct buf data = {0}, packed = {0}, plain;
    size_t n = (size_t) i * 30011;

    prng_init(&p, (uint64_t) i + 1);
    prng_fill(&p, buf_reserve(&data, n + 1), n);
    data.n = n;
    s2_put_start(&packed);
    s2_put(&packed, buf_str(&data));
    plain = read_all(buf_str(&packed), 4096);
    ck_assert(str_eq(buf_str(&plain), buf_str(&data)));
    buf_free(&data);
    buf_free(&packed);
    buf_free(&plain);
}

/* Runs, noise, and both in turns, of all lengths that a chunk may have and a bit more. */
static struct buf make_data(size_t n, unsigned kind)
{
    struct prng p;
    struct buf data = {0};

    prng_init(&p, n + kind);
    while (data.n < n) {
        size_t run = 1 + (size_t) prng_below(&p, kind == 2 ? 300 : 40);
        char noise[300];
        run = run < n - data.n ? run : n - data.n;
        prng_fill(&p, noise, sizeof(noise));
        if (kind == 0 || (kind == 2 && run % 2 == 0))
            memset(noise, noise[0] & 3, run);
        else if (kind == 1)
            memcpy(noise, "the same words, and the same words again", run);
        buf_put(&data, noise, run);
    }
    return data;
}

TEST(what_is_packed_is_read)
{
    static const size_t sizes[] = {0,    1,     2,     3,     4,      5,     15,   60,
                                   61,   64,    68,    255,   256,    257,   2047, 2048,
                                   4000, 65535, 65536, 65537, 131072, 200000};
    static struct s2_table table;
    size_t n = sizes[i];

    for (unsigned kind = 0; kind < 3; kind++) {
        struct buf data = make_data(n, kind), packed = {0}, plain;
        s2_put_start(&packed);
        s2_put_packed(&packed, buf_str(&data), &table);
        plain = read_all(buf_str(&packed), 1000);
        ck_assert(str_eq(buf_str(&plain), buf_str(&data)));
        if (n > 1000 && kind == 1)
            ck_assert_uint_lt(packed.n, n / 2);
        ck_assert_uint_le(packed.n, n + 10 + (n / 65536 + 1) * 8);
        buf_free(&data);
        buf_free(&packed);
        buf_free(&plain);
    }
}

/* A reader with a limit refuses more, before it has come. */
TEST(a_limit_is_held)
{
    static const struct {
        struct str chunk;
        enum s2_got got;
    } table[] = {
        {STR_LIT("\x01\x44\x00\x00"), S2_MORE}, /* 64 and the sum */
        {STR_LIT("\x01\xff\x01\x00"), S2_BAD},  /* 511 */
        {STR_LIT("\x80\xff\xff\xff"), S2_BAD},  /* to be skipped */
        {STR_LIT("\x00\x06\x00\x00"
                 "abcd\x41\x00"),
         S2_BAD}, /* 65 say they are in it */
        {STR_LIT("\x01\x45\x00\x00"
                 "abcd"
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
         S2_BAD}, /* 65 are */
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct s2_reader r = {.most = 64};
        struct buf out = {0};
        s2_reader_feed(&r, STR("\xff\x06"));
        ck_assert_int_eq(s2_reader_next(&r, &out), S2_MORE);
        s2_reader_feed(&r, str_from("\x00\x00S2sTwO", 8));
        s2_reader_feed(&r, table[k].chunk);
        ck_assert_int_eq(s2_reader_next(&r, &out), S2_CHUNK);
        ck_assert_msg((int) s2_reader_next(&r, &out) == (int) table[k].got, "chunk %zu", k);
        s2_reader_free(&r);
        buf_free(&out);
    }
}

TEST(every_changed_byte_is_noticed)
{
    struct buf packed = {0};

    unpack(&packed);
    for (size_t at = 0; at < packed.n; at++) {
        struct s2_reader r = {0};
        struct buf out = {0};
        enum s2_got got;
        packed.p[at] ^= 0x20;
        s2_reader_feed(&r, buf_str(&packed));
        do
            got = s2_reader_next(&r, &out);
        while (got == S2_CHUNK);
        /* A changed length may leave a chunk that is not complete. */
        MUST(got == S2_BAD || s2_reader_waiting(&r) > 0);
        packed.p[at] ^= 0x20;
        s2_reader_free(&r);
        buf_free(&out);
    }
    ck_assert_uint_gt(packed.n, 600);
    buf_free(&packed);
}

TEST(blocks)
{
    static const struct {
        struct str block;
        const char *data; /* NULL = malformed */
    } table[] = {
        {STR_LIT("\x00"), ""},
        {STR_LIT("\x03\x08"
                 "abc"),
         "abc"},
        {STR_LIT("\x0a\x08"
                 "abc\x0d\x03"),
         "abcabcabca"}, /* copy of 7 from 3 */
        {STR_LIT("\x0a\x08"
                 "abc\x1a\x03\x00"),
         "abcabcabca"}, /* the same, two bytes */
        {STR_LIT("\x0a\x08"
                 "abc\x1b\x03\x00\x00\x00"),
         "abcabcabca"},
        {STR_LIT("\x0e\x08"
                 "abc\x0d\x03\x01\x00"),
         "abcabcabcabcab"}, /* again: 4 more */
        {STR_LIT("\x13\x08"
                 "abc\x0d\x03\x15\x00\x01"),
         "abcabcabcabcabcabca"},
        {STR_LIT("\x04\xf0\x03"
                 "abcd"),
         "abcd"}, /* literal with its length behind */
        {STR_LIT("\x04\xf4\x03\x00"
                 "abcd"),
         "abcd"},
        {STR_LIT(""), NULL},
        {STR_LIT("\x04\x08"
                 "abc"),
         NULL}, /* less than it says */
        {STR_LIT("\x02\x08"
                 "abc"),
         NULL}, /* more */
        {STR_LIT("\x03\x08"
                 "ab"),
         NULL},                          /* cut off */
        {STR_LIT("\x04\x01\x01"), NULL}, /* a copy of nothing */
        {STR_LIT("\x04\x01\x00"), NULL}, /* again what never was */
        {STR_LIT("\x07\x08"
                 "abc\x01\x04"),
         NULL}, /* from before the beginning */
        {STR_LIT("\x06\x08"
                 "abc\x01\x03"),
         NULL}, /* past the end */
        {STR_LIT("\x07\x08"
                 "abc\x01"),
         NULL},
        {STR_LIT("\xff\xff\xff\xff\x0f\x08"
                 "abc"),
         NULL}, /* 4 GiB */
        {STR_LIT("\x04\xfc\xff\xff\xff\xff"
                 "abcd"),
         NULL},
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct buf out = {0};
        bool ok = s2_block_decode(table[k].block, &out);
        ck_assert_msg(ok == (table[k].data != NULL), "block %zu", k);
        if (ok)
            ck_assert_str_eq(buf_cstr(&out), table[k].data);
        buf_free(&out);
    }
}

TEST(chunks_that_are_none)
{
    static const struct str table[] = {
        STR_LIT("\x01\x04\x00\x00"
                "abcd"), /* without a beginning */
        STR_LIT("\xff\x06\x00\x00"
                "S3sTwO"),
        STR_LIT("\xff\x06\x00\x00"
                "S2sTwO\x02\x00\x00\x00"), /* not known */
        STR_LIT("\xff\x06\x00\x00"
                "S2sTwO\x01\x03\x00\x00"
                "abc"),
    };

    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct s2_reader r = {0};
        struct buf out = {0};
        enum s2_got got;
        s2_reader_feed(&r, table[k]);
        do
            got = s2_reader_next(&r, &out);
        while (got == S2_CHUNK);
        ck_assert_int_eq(got, S2_BAD);
        s2_reader_free(&r);
        buf_free(&out);
    }
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_the_peer_wrote_is_read, 0, 4),
    RUN_LOOP(what_we_write_is_read, 0, 8),
    RUN_LOOP(what_is_packed_is_read, 0, 22),
    RUN(a_limit_is_held),
    RUN(every_changed_byte_is_noticed),
    RUN(blocks),
    RUN(chunks_that_are_none),
};

RUNNER_MAIN("wire/s2", cases)
