/*
 * fuzz_websocket.c - frames, whole and in pieces, must give the same bytes and end the same way;
 * and what a compressed message may be.
 *
 * Byte 0: masks are asked for (bit 0), compression was agreed on (bit 1). Byte 1: seed of the cuts.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/wire/websocket.h"
#include "lib/wire/websocket_pack.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define UNPACKED_MAX 100000u

struct side {
    struct ws_reader reader;
    struct buf text;
    bool ended;
};

static void note(struct side *s, enum ws_event e, const struct ws_got *got)
{
    if (e == WS_DATA) {
        buf_put_str(&s->text, got->bytes);
        if (got->last)
            buf_puts(&s->text, got->compressed ? "|z" : "|");
    } else if (e == WS_BAD) {
        buf_puts(&s->text, got->error);
    } else if (e != WS_MORE) {
        ASSERT(got->bytes.n <= WS_CONTROL_MAX);
        buf_printf(&s->text, "<%d %u %zu>", (int) e, got->code, got->bytes.n);
        buf_put_str(&s->text, got->bytes);
    }
}

static void feed(struct side *s, const uint8_t *data, size_t n)
{
    uint8_t *copy = mem_alloc(n + 1), *at = copy;
    enum ws_event e = WS_BAD;
    struct ws_got got;

    memcpy(copy, data, n);
    while (!s->ended) {
        e = ws_read(&s->reader, &at, &n, &got);
        note(s, e, &got);
        s->ended = e == WS_BAD || e == WS_CLOSE;
        if (e == WS_MORE)
            break;
    }
    mem_free(copy);
}

static bool count(void *ctx, struct str bytes)
{
    *(size_t *) ctx += bytes.n;
    return true;
}

static void unpack(const uint8_t *data, size_t n)
{
    struct ws_pack *p = ws_pack_open();
    size_t got = 0;

    ws_unpack_begin(p, UNPACKED_MAX, count, &got);
    if (ws_unpack_add(p, str_from(data, n)))
        ws_unpack_end(p);
    ASSERT(got <= UNPACKED_MAX);
    ws_pack_close(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side whole = {0}, pieces = {0};
    struct prng prng;

    if (size < 2)
        return 0;
    whole.reader.must_mask = pieces.reader.must_mask = (data[0] & 1) != 0;
    whole.reader.packs = pieces.reader.packs = (data[0] & 2) != 0;
    prng_init(&prng, data[1]);
    data += 2;
    size -= 2;
    feed(&whole, data, size);
    for (size_t at = 0, n; at < size; at += n) {
        n = (size_t) prng_below(&prng, 9) + 1;
        n = n < size - at ? n : size - at;
        feed(&pieces, data + at, n);
    }
    ASSERT(str_eq(buf_str(&whole.text), buf_str(&pieces.text)));
    buf_free(&whole.text);
    buf_free(&pieces.text);
    unpack(data, size);
    return 0;
}
