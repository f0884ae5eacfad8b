/* test_kafka_protocol.c - the listener: frames, order, what ends a connection, ApiVersions. */
#include "lib/wire/kafka_bytes.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdlib.h>
#include <string.h>

static struct server_process server;
static struct kafka_client client;

static void setup(void)
{
    server_process_init(&server);
    server.args[0] = "--kafka=127.0.0.1:-1";
    server.args[1] = "--workers=2";
    server_process_start(&server);
    ck_assert_uint_ne(server.kafka_port, 0);
    kafka_client_open(&client, server.kafka_port);
}

static void teardown(void)
{
    kafka_client_close(&client);
    server_process_stop(&server);
    server_process_deinit(&server);
}

TEST(versions)
{
    struct kafka_api_versions_request q = {STR_LIT("a.b-c"), STR_LIT("1.0")};
    const struct kafka_api_versions_response *a;

    setup();
    for (int version = 0; version <= 4; version++) {
        bool found = false;
        a = kafka_client_call(&client, KAFKA_API_VERSIONS, version, &q);
        ck_assert_int_eq(a->error_code, 0);
        for (int32_t k = 0; k < a->api_keys_n; k++)
            found |= a->api_keys[k].api_key == KAFKA_API_VERSIONS &&
                     a->api_keys[k].min_version == 0 && a->api_keys[k].max_version == 4;
        ck_assert(found);
        ck_assert_int_eq(a->finalized_features_n, version >= 3);
    }
    q.client_software_name = STR("-bad");
    a = kafka_client_call(&client, KAFKA_API_VERSIONS, 3, &q);
    ck_assert_int_eq(a->error_code, 42);
    teardown();
}

/* Whatever follows the header, the answer is version 0's, and the connection goes on. */
TEST(unknown_version_of_api_versions)
{
    struct kafka_api_versions_request q = {STR_LIT("a"), STR_LIT("1")};
    struct kafka_arena arena = {0};
    const struct kafka_api_versions_response *a;
    uint32_t n;
    char *bytes;
    struct str in;

    setup();
    kafka_client_frame(&client, "\0\x12\0\x63\0\0\0\7\0\1x\xff\xff\xff", 14);
    bytes = kafka_client_take_frame(&client, &n);
    ck_assert_uint_eq(kafka_get_u32(bytes), 7);
    in = str_from(bytes + 4, n - 4);
    a = kafka_decode(kafka_struct_api_versions_response(), 0, false, &in, &arena);
    ck_assert_ptr_nonnull(a);
    ck_assert_int_eq(a->error_code, 35);
    ck_assert_int_gt(a->api_keys_n, 0);
    ck_assert_uint_eq(in.n, 0);
    kafka_arena_free(&arena);
    free(bytes);
    kafka_client_call(&client, KAFKA_API_VERSIONS, 3, &q);
    teardown();
}

struct fatal {
    const char *why;
    struct str frame; /* with its length */
};

#define FRAME(literal) STR_LIT(literal)

static const struct fatal fatals[] = {
    {"a length of 0", FRAME("\0\0\0\0")},
    {"a length that no header fits", FRAME("\0\0\0\7")},
    {"a negative length", FRAME("\xff\xff\xff\xff")},
    {"more than 100 MiB", FRAME("\x06\x40\0\1")},
    {"an unknown API", FRAME("\0\0\0\x0a\0\x63\0\0\0\0\0\1\xff\xff")},
    {"an unknown version", FRAME("\0\0\0\x0a\0\3\0\x63\0\0\0\1\xff\xff")},
    {"a negative version", FRAME("\0\0\0\x0a\0\3\xff\xff\0\0\0\1\xff\xff")},
    {"a header that is cut", FRAME("\0\0\0\x0a\0\3\0\0\0\0\0\1\0\x09")},
    {"a body that is cut", FRAME("\0\0\0\x0c\0\3\0\1\0\0\0\1\xff\xff\0\0")},
    {"a count that is too large", FRAME("\0\0\0\x0e\0\3\0\1\0\0\0\1\xff\xff\x7f\xff\xff\xff")},
    {"HTTP", FRAME("GET / HTTP/1.1\r\n\r\n")},
};

TEST(what_ends_a_connection)
{
    setup();
    for (size_t k = 0; k < sizeof(fatals) / sizeof(fatals[0]); k++) {
        struct kafka_client c;
        kafka_client_open(&c, server.kafka_port);
        raw_send_bytes(&c.raw, fatals[k].frame.p, fatals[k].frame.n);
        raw_expect_end(&c.raw);
        kafka_client_close(&c);
    }
    /* The others do not notice. */
    kafka_client_call(&client, KAFKA_API_VERSIONS, 0,
                      KAFKA_NEW(&client.arena, api_versions_request, 1));
    teardown();
}

/* Frames in one piece, and byte by byte: answered in order. */
TEST(order_and_pieces)
{
    static const char two[] = "\0\0\0\x0a\0\x12\0\0\0\0\0\1\xff\xff"
                              "\0\0\0\x0e\0\3\0\1\0\0\0\2\xff\xff\0\0\0\0";
    struct buf many = {0};
    uint32_t n;

    setup();
    for (unsigned k = 0; k < 50; k++)
        buf_put(&many, two, sizeof(two) - 1);
    raw_send_bytes(&client.raw, many.p, many.n);
    for (unsigned k = 0; k < 100; k++) {
        char *bytes = kafka_client_take_frame(&client, &n);
        ck_assert_uint_eq(kafka_get_u32(bytes), k % 2 + 1);
        free(bytes);
    }
    for (size_t k = 0; k < sizeof(two) - 1; k++)
        raw_send_bytes(&client.raw, two + k, 1);
    for (unsigned k = 1; k <= 2; k++) {
        char *bytes = kafka_client_take_frame(&client, &n);
        ck_assert_uint_eq(kafka_get_u32(bytes), k);
        free(bytes);
    }
    buf_free(&many);
    teardown();
}

/* The second request waits until the topic of the first one has been made. */
TEST(answers_wait_for_those_before)
{
    static const char create[] = "\0\0\0\x12\0\3\0\1\0\0\0\1\xff\xff\0\0\0\1\0\2t1";
    static const char versions[] = "\0\0\0\x0a\0\x12\0\0\0\0\0\2\xff\xff";
    uint32_t n;

    setup();
    raw_send_bytes(&client.raw, create, sizeof(create) - 1);
    raw_send_bytes(&client.raw, versions, sizeof(versions) - 1);
    for (unsigned k = 1; k <= 2; k++) {
        char *bytes = kafka_client_take_frame(&client, &n);
        ck_assert_uint_eq(kafka_get_u32(bytes), k);
        free(bytes);
    }
    teardown();
}

/* A client that goes, and a server that stops, with a request under way. */
TEST(gone_in_between)
{
    static const char create[] = "\0\0\0\x12\0\3\0\1\0\0\0\1\xff\xff\0\0\0\1\0\2t2";

    setup();
    for (unsigned k = 0; k < 20; k++) {
        struct kafka_client c;
        kafka_client_open(&c, server.kafka_port);
        raw_send_bytes(&c.raw, create, sizeof(create) - 1);
        kafka_client_close(&c);
    }
    raw_send_bytes(&client.raw, create, sizeof(create) - 1);
    teardown();
}

/* A length alone takes no memory, and what was begun ends with the connection. */
TEST(unfinished_frames)
{
    struct kafka_client many[20];

    setup();
    for (size_t k = 0; k < 20; k++) {
        kafka_client_open(&many[k], server.kafka_port);
        raw_send_bytes(&many[k].raw, "\x06\0\0\0\0\3", 6);
    }
    kafka_client_call(&client, KAFKA_API_VERSIONS, 0,
                      KAFKA_NEW(&client.arena, api_versions_request, 1));
    for (size_t k = 0; k < 20; k++)
        kafka_client_close(&many[k]);
    teardown();
}

static const struct runner_case cases[] = {
    RUN(versions),          RUN(unknown_version_of_api_versions), RUN(what_ends_a_connection),
    RUN(order_and_pieces),  RUN(answers_wait_for_those_before),   RUN(gone_in_between),
    RUN(unfinished_frames),
};

RUNNER_MAIN("api/kafka_protocol", cases)
