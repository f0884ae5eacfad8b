/* kafka_client.c - frames over a raw client. */
#include "tests/api/kafka_client.h"

#include "lib/wire/kafka_bytes.h"
#include "tests/lib/runner.h"

#include <stdlib.h>
#include <string.h>

void kafka_client_open(struct kafka_client *c, uint16_t port)
{
    memset(c, 0, sizeof(*c));
    raw_open(&c->raw, port);
}

void kafka_client_close(struct kafka_client *c)
{
    raw_close(&c->raw);
    kafka_arena_free(&c->arena);
}

void kafka_client_frame(struct kafka_client *c, const char *bytes, size_t n)
{
    char length[4];

    kafka_put_u32(length, (uint32_t) n);
    raw_send_bytes(&c->raw, length, 4);
    raw_send_bytes(&c->raw, bytes, n);
}

void kafka_client_send(struct kafka_client *c, int key, int version, const void *body)
{
    const struct kafka_api *api = kafka_api_of(key);
    bool flexible = kafka_is_flexible(api, version);
    struct buf b = {0};
    char header[8];

    kafka_put_u16(header, (uint16_t) key);
    kafka_put_u16(header + 2, (uint16_t) version);
    kafka_put_u32(header + 4, (uint32_t) ++c->correlation);
    buf_put(&b, header, 8);
    buf_put(&b, "\0\4test\0", flexible ? 7 : 6);
    kafka_encode(api->request(), version, flexible, body, &b, NULL);
    kafka_client_frame(c, b.p, b.n);
    buf_free(&b);
}

char *kafka_client_take_frame(struct kafka_client *c, uint32_t *n)
{
    char *length = raw_take(&c->raw, 4);

    *n = kafka_get_u32(length);
    free(length);
    return raw_take(&c->raw, *n);
}

void *kafka_client_take(struct kafka_client *c, int key, int version)
{
    const struct kafka_api *api = kafka_api_of(key);
    bool flexible = kafka_is_flexible(api, version);
    size_t header = flexible && key != KAFKA_API_VERSIONS ? 5 : 4;
    uint32_t n;
    char *bytes = kafka_client_take_frame(c, &n);
    struct str in;
    void *answer;

    ck_assert_uint_ge(n, header);
    ck_assert_int_eq((int32_t) kafka_get_u32(bytes), c->correlation);
    in = kafka_arena_str(&c->arena, str_from(bytes + header, n - header));
    free(bytes);
    answer = kafka_decode(api->response(), version, flexible, &in, &c->arena);
    ck_assert_ptr_nonnull(answer);
    ck_assert_uint_eq(in.n, 0);
    return answer;
}

void *kafka_client_call(struct kafka_client *c, int key, int version, const void *body)
{
    kafka_client_send(c, key, version, body);
    return kafka_client_take(c, key, version);
}
