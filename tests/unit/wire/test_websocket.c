/*
 * test_websocket.c - frames: every split gives the same events, tables of rejects, heads and close
 * frames; compressed messages there and back.
 */
#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/wire/websocket.h"
#include "lib/wire/websocket_pack.h"
#include "tests/lib/runner.h"

#include <stdlib.h>

/* ---- reading --------------------------------------------------------------------------------- */

static struct ws_reader server_reader(bool packs)
{
    return (struct ws_reader){.must_mask = true, .packs = packs};
}

/* Frames as a client makes them. */
static void put_frame(struct buf *b, unsigned first, const char *payload, size_t n)
{
    static const uint8_t key[4] = {0x11, 0x82, 0x33, 0xf4};
    uint8_t head[WS_HEAD_MAX];
    struct ws_frame f = {.opcode = (enum ws_opcode)(first & 0x0f),
                         .more = (first & 0x80) == 0,
                         .compressed = (first & 0x40) != 0,
                         .key = key,
                         .n = n};
    size_t at;

    buf_put(b, head, ws_write_head(head, &f));
    at = b->n;
    buf_put(b, payload, n);
    ws_mask((uint8_t *) b->p + at, n, key, 0);
}

static void put_text(struct buf *b, unsigned first, const char *payload)
{
    put_frame(b, first, payload, strlen(payload));
}

/* What the events of a reader say, data glued together. */
static void note(struct buf *out, enum ws_event e, const struct ws_got *got)
{
    switch (e) {
    case WS_DATA:
        buf_put_str(out, got->bytes);
        if (got->last)
            buf_puts(out, got->compressed ? "|z" : "|");
        break;
    case WS_PING:
    case WS_PONG:
        buf_printf(out, "<%s %.*s>", e == WS_PING ? "ping" : "pong", STR_ARG(got->bytes));
        break;
    case WS_CLOSE:
        buf_printf(out, "<close %u %.*s>", got->code, STR_ARG(got->bytes));
        break;
    case WS_BAD:
        buf_printf(out, got->numbered ? "<bad %s %u>" : "<bad %s>", got->error, got->number);
        break;
    case WS_MORE:
        break;
    }
}

static bool feed(struct ws_reader *r, const char *bytes, size_t n, struct buf *out)
{
    uint8_t *copy = malloc(n + 1), *at = copy;
    struct ws_got got;
    enum ws_event e;

    memcpy(copy, bytes, n);
    do {
        e = ws_read(r, &at, &n, &got);
        note(out, e, &got);
    } while (e != WS_MORE && e != WS_BAD);
    free(copy);
    return e != WS_BAD;
}

static void feed_in(const struct buf *in, size_t step, bool packs, struct buf *out)
{
    struct ws_reader r = server_reader(packs);

    for (size_t at = 0; at < in->n; at += step)
        if (!feed(&r, in->p + at, step < in->n - at ? step : in->n - at, out))
            return;
}

static void expect(const struct buf *in, bool packs, const char *want)
{
    static const size_t steps[] = {1, 2, 3, 5, 7, 64, 1000, 1000000};

    for (size_t k = 0; k < sizeof(steps) / sizeof(steps[0]); k++) {
        struct buf out = {0};
        feed_in(in, steps[k], packs, &out);
        ck_assert_msg(strcmp(buf_cstr(&out), want) == 0, "step %zu: \"%s\", wanted \"%s\"",
                      steps[k], buf_cstr(&out), want);
        buf_free(&out);
    }
}

TEST(reads_frames_in_any_pieces)
{
    struct buf in = {0};

    put_text(&in, 0x82, "PING\r\n");
    put_text(&in, 0x01, "PU");
    put_text(&in, 0x89, "are you there");
    put_text(&in, 0x00, "B a ");
    put_text(&in, 0x8a, "");
    put_text(&in, 0x00, "");
    put_text(&in, 0x80, "0\r\n\r\n");
    put_text(&in, 0xc2, "packed");
    put_text(&in, 0x42, "pa");
    put_text(&in, 0x80, "cked");
    put_text(&in, 0x82, "");
    put_frame(&in, 0x88,
              "\x03\xe8"
              "bye",
              5);
    expect(&in, true,
           "PING\r\n|PU<ping are you there>B a <pong >0\r\n\r\n|packed|zpacked|z|<close 1000 bye>");
    buf_free(&in);
}

TEST(reads_every_length)
{
    static const size_t lengths[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};

    for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
        struct buf in = {0}, out = {0};
        char *text = malloc(lengths[k] + 1);
        memset(text, 'x', lengths[k]);
        put_frame(&in, 0x82, text, lengths[k]);
        feed_in(&in, 999, false, &out);
        ck_assert_uint_eq(out.n, lengths[k] + 1);
        ck_assert_uint_eq(memcmp(out.p, text, lengths[k]), 0);
        free(text);
        buf_free(&in);
        buf_free(&out);
    }
}

TEST(refuses_frames)
{
    static const struct {
        size_t n;
        const char *bytes, *want;
        bool packs;
    } rows[] = {
        {2, "\xa2\x80", "<bad RSV2 and RSV3 must be clear>", true},
        {2, "\x92\x80", "<bad RSV2 and RSV3 must be clear>", true},
        {2, "\xc2\x80", "<bad compressed frame received without negotiated permessage-deflate>",
         false},
        {2, "\x82\x05", "<bad mask bit missing>", false},
        {2, "\x89\x05", "<bad mask bit missing>", false},
        {2, "\x89\xfe", "<bad control frame length bigger than maximum allowed of 125 bytes>",
         false},
        {2, "\x88\xff", "<bad control frame length bigger than maximum allowed of 125 bytes>",
         false},
        {2, "\x09\x80", "<bad control frame does not have final bit set>", false},
        {2, "\xc9\x80", "<bad control frame must not be compressed>", true},
        {2, "\x80\x80", "<bad invalid continuation frame>", false},
        {8, "\x02\x80\1\2\3\4\x82\x80",
         "<bad new message started before final frame for previous message was received>", false},
        {8, "\x02\x80\1\2\3\4\xc0\x80", "<bad invalid continuation frame>", true},
        {2, "\x83\x80", "<bad unknown opcode 3>", false},
        {2, "\x8b\x80", "<bad unknown opcode 11>", false},
        {14, "\x82\xff\x80\0\0\0\0\0\0\1\1\2\3\4", "<bad invalid 64-bit payload length>", false},
        {7, "\x88\x81\0\0\0\0x", "<bad close frame payload cannot be 1 byte>", false},
        {8, "\x88\x82\0\0\0\0\x03\xe7", "<bad invalid close status code 999>", false},
        {8, "\x88\x82\0\0\0\0\x03\xed", "<bad invalid close status code 1005>", false},
        {8, "\x88\x82\0\0\0\0\x03\xee", "<bad invalid close status code 1006>", false},
        {8, "\x88\x82\0\0\0\0\x07\xd0", "<bad invalid close status code 2000>", false},
        {9, "\x88\x83\0\0\0\0\x03\xe8\xff", "<close 1007 invalid utf8 body in close frame>", false},
        {6, "\x88\x80\0\0\0\0", "<close 1005 >", false},
    };

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct buf in = {0}, out = {0};
        buf_put(&in, rows[k].bytes, rows[k].n);
        for (size_t step = 1; step <= rows[k].n; step += rows[k].n - 1) {
            const char *want = rows[k].want;
            buf_clear(&out);
            feed_in(&in, step, rows[k].packs, &out);
            /* An empty first frame says nothing. */
            ck_assert_msg(strcmp(buf_cstr(&out), want) == 0, "row %zu: \"%s\", wanted \"%s\"", k,
                          buf_cstr(&out), want);
        }
        buf_free(&in);
        buf_free(&out);
    }
}

/* What a server says to a client has no mask, and may. */
TEST(reads_without_masks)
{
    struct ws_reader r = {0};
    struct buf out = {0};

    ck_assert(feed(&r,
                   "\x82\x03"
                   "abc\x82\x83\1\1\1\1```",
                   14, &out));
    ck_assert_str_eq(buf_cstr(&out), "abc|aaa|");
    buf_free(&out);
}

/* ---- writing --------------------------------------------------------------------------------- */

TEST(writes_heads)
{
    static const struct {
        uint64_t n;
        size_t length;
        const char *bytes;
    } rows[] = {
        {0, 2, "\x82\x00"},
        {125, 2, "\x82\x7d"},
        {126, 4, "\x82\x7e\x00\x7e"},
        {65535, 4, "\x82\x7e\xff\xff"},
        {65536, 10, "\x82\x7f\0\0\0\0\0\1\0\0"},
    };
    uint8_t head[WS_HEAD_MAX];

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct ws_frame f = {.opcode = WS_BINARY, .n = rows[k].n};
        ck_assert_uint_eq(ws_write_head(head, &f), rows[k].length);
        ck_assert_int_eq(memcmp(head, rows[k].bytes, rows[k].length), 0);
    }
}

TEST(writes_close_frames)
{
    uint8_t payload[WS_CONTROL_MAX];
    char longer[400];

    ck_assert_uint_eq(ws_write_close(payload, WS_CODE_NONE, STR("x")), 0);
    ck_assert_uint_eq(ws_write_close(payload, 1000, STR("bye")), 5);
    ck_assert_int_eq(memcmp(payload,
                            "\x03\xe8"
                            "bye",
                            5),
                     0);
    memset(longer, 'x', 123);
    ck_assert_uint_eq(ws_write_close(payload, 1001, str_from(longer, 123)), 125);
    memset(longer, 'x', sizeof(longer));
    ck_assert_uint_eq(ws_write_close(payload, 1001, str_from(longer, sizeof(longer))), 125);
    ck_assert_int_eq(memcmp(payload + 122, "...", 3), 0);
    /* A character of two bytes at the place of the cut. */
    for (size_t k = 1; k + 1 < sizeof(longer); k += 2)
        memcpy(longer + k, "\xc3\xa4", 2);
    ck_assert_uint_eq(ws_write_close(payload, 1001, str_from(longer, 399)), 124);
    ck_assert(ws_is_utf8(str_from(payload + 2, 122)));
}

TEST(masks_at_any_offset)
{
    static const uint8_t key[4] = {1, 2, 3, 4};

    for (size_t n = 0; n < 40; n++)
        for (size_t at = 0; at < 4; at++) {
            uint8_t bytes[40];
            for (size_t k = 0; k < n; k++)
                bytes[k] = (uint8_t) k;
            ws_mask(bytes, n, key, at);
            for (size_t k = 0; k < n; k++)
                MUST(bytes[k] == (uint8_t) (k ^ key[(at + k) % 4]));
        }
    ck_assert(true);
}

TEST(knows_utf8)
{
    static const struct {
        const char *text;
        bool right;
    } rows[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xa4", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x90\x9d", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\x80", false},
        {"\xc3", false},
        {"\xc3x", false},
        {"\xc0\x80", false},
        {"\xe0\x80\x80", false},
        {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xff", false},
        {"\xf0\x80\x80\x80", false},
        {"\xf8\x88\x80\x80\x80", false},
    };

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
        ck_assert_msg(ws_is_utf8(str_of(rows[k].text)) == rows[k].right, "row %zu", k);
}

/* ---- compressed messages --------------------------------------------------------------------- */

static bool gather(void *ctx, struct str bytes)
{
    buf_put_str(ctx, bytes);
    return true;
}

static bool unpack(struct ws_pack *p, struct str payload, size_t most, struct buf *out)
{
    buf_clear(out);
    ws_unpack_begin(p, most, gather, out);
    return ws_unpack_add(p, str_take(payload, payload.n / 3)) &&
           ws_unpack_add(p, str_skip(payload, payload.n / 3)) && ws_unpack_end(p);
}

TEST(packs_and_unpacks)
{
    struct ws_pack *p = ws_pack_open();
    struct buf text = {0}, out = {0};
    struct str packed;
    struct prng prng;

    prng_init(&prng, 1);
    for (int round = 0; round < 60; round++) {
        buf_clear(&text);
        for (uint64_t n = prng_below(&prng, 1 + (1u << (round / 3))); n > 0; n--)
            buf_putc(&text, round % 2 == 0 ? 'a' : (char) prng_u64(&prng));
        ws_pack_begin(p);
        ws_pack_add(p, str_take(buf_str(&text), text.n / 2));
        ws_pack_add(p, str_skip(buf_str(&text), text.n / 2));
        packed = ws_pack_end(p);
        ck_assert_ptr_nonnull(packed.p);
        ck_assert(unpack(p, packed, text.n, &out));
        ck_assert(str_eq(buf_str(&out), buf_str(&text)));
        if (text.n > 0)
            ck_assert(!unpack(p, packed, text.n - 1, &out));
    }
    ws_pack_close(p);
    buf_free(&text);
    buf_free(&out);
}

TEST(unpacks_only_what_is_packed)
{
    struct ws_pack *p = ws_pack_open();
    struct buf out = {0};

    ck_assert(!unpack(p, STR("\x07\xff\xff"), 1000, &out));
    ck_assert(!unpack(p, STR("PUB a 0\r\n\r\n and more of this"), 1000, &out));
    /* A message of another implementation: "Hello", RFC 7692 7.2.3.1, and one that ends its
     * stream. */
    ck_assert(unpack(p, STR("\xf2\x48\xcd\xc9\xc9\x07\x00"), 5, &out));
    ck_assert_str_eq(buf_cstr(&out), "Hello");
    ck_assert(unpack(p, STR("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 5, &out));
    ck_assert_str_eq(buf_cstr(&out), "Hello");
    ws_pack_close(p);
    buf_free(&out);
}

static const struct runner_case cases[] = {
    RUN(reads_frames_in_any_pieces),  RUN(reads_every_length), RUN(refuses_frames),
    RUN(reads_without_masks),         RUN(writes_heads),       RUN(writes_close_frames),
    RUN(masks_at_any_offset),         RUN(knows_utf8),         RUN(packs_and_unpacks),
    RUN(unpacks_only_what_is_packed),
};

RUNNER_MAIN("wire/websocket", cases)
