/*
 * kafka_client.h - a Kafka client for tests: requests by the codec's own tables, or byte by byte.
 */
#ifndef TESTS_KAFKA_CLIENT_H
#define TESTS_KAFKA_CLIENT_H

#include "lib/wire/kafka_codec.h"
#include "tests/lib/raw_client.h"

struct kafka_client {
    struct raw_client raw;
    struct kafka_arena arena; /* of requests and answers; freed by kafka_client_close */
    int32_t correlation;
};

void kafka_client_open(struct kafka_client *c, uint16_t port);
void kafka_client_close(struct kafka_client *c);
/* Sends the request; body: struct kafka_<api>_request. */
void kafka_client_send(struct kafka_client *c, int key, int version, const void *body);
/* The answer to the oldest request that was not answered yet; fails the test when its correlation
 * is another one. */
void *kafka_client_take(struct kafka_client *c, int key, int version);
/* Both. */
void *kafka_client_call(struct kafka_client *c, int key, int version, const void *body);
/* The same with the fields of the request; const struct kafka_<name>_response *. */
#define KAFKA_CALL(c, name, KEY, version, ...)                                                     \
    ((const struct kafka_##name##_response *) kafka_client_call(                                   \
        c, KAFKA_##KEY, version, &(struct kafka_##name##_request){__VA_ARGS__}))
/* A frame: its length, then these bytes. */
void kafka_client_frame(struct kafka_client *c, const char *bytes, size_t n);
/* An answer's bytes behind its length; the caller frees them. */
char *kafka_client_take_frame(struct kafka_client *c, uint32_t *n);

#endif
