/*
 * test_kafka_frames.c - requests as real clients send them are read to their last byte, and written
 * again they are the same bytes.
 */
#include "lib/wire/kafka_codec.h"
#include "tests/lib/runner.h"

#include <string.h>

static const struct frame {
    const char *client, *hex;
} frames[] = {
#define FRAME(client, hex) {client, hex},
#include "tests/unit/wire/kafka_frames.def"
#undef FRAME
};
#define FRAMES ((int) (sizeof(frames) / sizeof(frames[0])))

static uint8_t digit(char c)
{
    return (uint8_t) (c <= '9' ? c - '0' : c - 'a' + 10);
}

static void unhex(const char *hex, struct buf *out)
{
    for (; *hex != '\0'; hex += 2)
        buf_putc(out, (char) (digit(hex[0]) << 4 | digit(hex[1])));
}

TEST(read_and_written)
{
    const struct frame *f = &frames[i];
    struct kafka_arena arena = {0};
    struct buf bytes = {0}, again = {0};
    struct kafka_header h;
    const struct kafka_api *api;
    const void *body;
    struct str in, rest;

    unhex(f->hex, &bytes);
    rest = buf_str(&bytes);
    ck_assert_msg(kafka_take_header(&rest, &h), "%s, frame %d: header", f->client, i);
    api = kafka_api_of(h.key);
    ck_assert_msg(api != NULL && h.version >= api->first && h.version <= api->last,
                  "%s, frame %d: key %d, version %d", f->client, i, h.key, h.version);
    in = rest;
    body = kafka_decode(api->request(), h.version, kafka_is_flexible(api, h.version), &in, &arena);
    ck_assert_msg(body != NULL && in.n == 0, "%s, %s %d: body", f->client, api->name, h.version);
    kafka_encode(api->request(), h.version, kafka_is_flexible(api, h.version), body, &again, NULL);
    ck_assert_msg(str_eq(buf_str(&again), rest), "%s, %s %d: written otherwise", f->client,
                  api->name, h.version);
    buf_free(&bytes);
    buf_free(&again);
    kafka_arena_free(&arena);
}

static const struct runner_case cases[] = {
    RUN_LOOP(read_and_written, 0, FRAMES),
};

RUNNER_MAIN("wire/kafka_frames", cases)
