/* fuzz_kafka.c - requests of Kafka clients: header and body of whatever message the first bytes
 * name. What is accepted is written, read again, and must be the same bytes then. Responses are
 * read too: a client of ours, and tests, do. */
#include "lib/base/assert.h"
#include "lib/wire/kafka_codec.h"
#include "tests/fuzz/fuzz.h"

static void check(const struct kafka_struct *s, int version, bool flexible, struct str in)
{
    struct kafka_arena arena = {0};
    struct buf once = {0}, twice = {0};
    const void *message = kafka_decode(s, version, flexible, &in, &arena);
    struct str again;

    if (message != NULL) {
        kafka_encode(s, version, flexible, message, &once, NULL);
        again = buf_str(&once);
        message = kafka_decode(s, version, flexible, &again, &arena);
        ASSERT(message != NULL && again.n == 0);
        kafka_encode(s, version, flexible, message, &twice, NULL);
        ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
    }
    buf_free(&once);
    buf_free(&twice);
    kafka_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_from(data, size);
    struct kafka_header h;
    const struct kafka_api *api;

    if (!kafka_take_header(&in, &h) || (api = kafka_api_of(h.key)) == NULL ||
        h.version < api->first || h.version > api->last)
        return 0;
    check(api->request(), h.version, kafka_is_flexible(api, h.version), in);
    check(api->response(), h.version, kafka_is_flexible(api, h.version), in);
    return 0;
}
