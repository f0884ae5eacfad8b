/*
 * test_kafka_ahead.c - Produce requests that are sent without waiting: they wait for the disk
 * together, and answers, errors and other requests keep their places, also when the server is
 * killed.
 */
#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REQUESTS 300

static void start(struct js_rig *r, int workers)
{
    static const char *const names[] = {"1", "2"};

    server_process_init(&r->server);
    r->server.args[0] = "--workers";
    r->server.args[1] = names[workers];
    r->server.args[2] = "--spread";
    r->server.args[3] = "--kafka=127.0.0.1:-1";
    server_process_start(&r->server);
    raw_hello(&r->api, r->server.port, "\"headers\":true,\"no_responders\":true");
    raw_hello(&r->in, r->server.port, "\"headers\":true,\"no_responders\":true");
    js_ask(r, "$JS.API.STREAM.CREATE.a", "{\"name\":\"a\",\"subjects\":[\"a\"]}", "\"created\"");
    js_ask(r, "$JS.API.STREAM.CREATE.b", "{\"name\":\"b\",\"subjects\":[\"b\"]}", "\"created\"");
}

/* One record, a number; with `broken` the batch's sum is wrong. */
static void send_number(struct kafka_client *c, const char *topic, int acks, int number,
                        bool broken)
{
    uint8_t bytes[256];
    char text[16];
    struct kafka_builder b;

    snprintf(text, sizeof(text), "%d", number);
    kafka_builder_open(&b, bytes, sizeof(bytes), 0);
    ck_assert(kafka_builder_add(&b, &(struct kafka_record){.value = str_of(text)}));
    size_t n = kafka_builder_finish(&b, -1, NULL);
    if (broken)
        bytes[n - 1] ^= 1;
    struct kafka_produce_request_partition_data part = {.records = {.p = bytes, .n = n}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &part, .partition_data_n = 1};
    struct kafka_produce_request q = {
        .acks = (int16_t) acks, .timeout_ms = 1000, .topic_data = &t, .topic_data_n = 1};
    kafka_client_send(c, KAFKA_PRODUCE, 7, &q);
}

/* What the k-th request is. */
static bool is_broken(int k)
{
    return k % 17 == 5;
}

static bool is_metadata(int k)
{
    return k % 41 == 40;
}

static void take_answer(struct kafka_client *c, int k, int64_t *next)
{
    if (is_metadata(k)) {
        const struct kafka_metadata_response *m = kafka_client_take(c, KAFKA_METADATA, 4);
        ck_assert_int_eq(m->brokers_n, 1);
        return;
    }
    const struct kafka_produce_response *a = kafka_client_take(c, KAFKA_PRODUCE, 7);
    ck_assert_int_eq(a->responses_n, 1);
    const struct kafka_produce_response_partition_responses *p =
        &a->responses[0].partition_responses[0];
    if (is_broken(k)) {
        ck_assert_int_eq(p->error_code, KAFKA_CORRUPT_MESSAGE);
        return;
    }
    ck_assert_int_eq(p->error_code, KAFKA_NONE);
    ck_assert_int_eq(p->base_offset, next[k % 2]++);
}

TEST(in_their_order)
{
    static const char *const names[] = {"a", "b"};
    struct kafka_metadata_request all = {0};
    int64_t next[2] = {0, 0};
    struct js_rig r;
    struct kafka_client c;
    char want[64];

    start(&r, i);
    kafka_client_open(&c, r.server.kafka_port);
    for (int k = 0; k < REQUESTS; k++)
        if (is_metadata(k))
            kafka_client_send(&c, KAFKA_METADATA, 4, &all);
        else
            send_number(&c, names[k % 2], k % 3 == 0 ? 1 : -1, k, is_broken(k));
    c.correlation -= REQUESTS; /* answers are counted from the first one on */
    for (int k = 0; k < REQUESTS; k++) {
        c.correlation++;
        take_answer(&c, k, next);
    }
    kafka_client_close(&c);
    for (int k = 0; k < 2; k++) {
        char subject[64];
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", names[k]);
        snprintf(want, sizeof(want), "\"messages\":%lld,", (long long) next[k]);
        js_ask(&r, subject, "", want);
    }
    js_rig_end(&r);
}

/* Values of 200 to 700 KB, and small ones between: frames of both kinds behind each other, whose
 * bytes come in other pieces each. */
TEST(big_ones)
{
    enum { COUNT = 40, SIZE = 700 << 10 };
    struct kafka_metadata_request all = {0};
    struct js_rig r;
    struct kafka_client c;
    uint8_t *bytes = malloc(SIZE + 256), *value = malloc(SIZE);
    int64_t next = 0;

    for (size_t k = 0; k < SIZE; k++)
        value[k] = (uint8_t) (k * 7919 >> 5);
    start(&r, i);
    kafka_client_open(&c, r.server.kafka_port);
    for (int k = 0; k < COUNT; k++) {
        struct kafka_builder b;
        size_t size = k % 5 == 4 ? 10 : (200u << 10) + (size_t) k * 13007 % (500u << 10);
        kafka_builder_open(&b, bytes, SIZE + 256, 0);
        ck_assert(kafka_builder_add(&b, &(struct kafka_record){.value = {(char *) value, size}}));
        struct kafka_produce_request_partition_data part = {
            .records = {.p = bytes, .n = kafka_builder_finish(&b, -1, NULL)}};
        struct kafka_produce_request_topic_data t = {
            .name = STR("a"), .partition_data = &part, .partition_data_n = 1};
        struct kafka_produce_request q = {
            .acks = -1, .timeout_ms = 1000, .topic_data = &t, .topic_data_n = 1};
        kafka_client_send(&c, KAFKA_PRODUCE, 7, &q);
        if (k % 9 == 8)
            kafka_client_send(&c, KAFKA_METADATA, 4, &all);
    }
    c.correlation -= COUNT + COUNT / 9;
    for (int k = 0; k < COUNT; k++) {
        c.correlation++;
        const struct kafka_produce_response *a = kafka_client_take(&c, KAFKA_PRODUCE, 7);
        ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, next++);
        if (k % 9 == 8) {
            c.correlation++;
            kafka_client_take(&c, KAFKA_METADATA, 4);
        }
    }
    raw_send_bytes(&c.raw, "\x7f\xff\xff\xff", 4); /* the length of no frame */
    raw_expect_end(&c.raw);
    kafka_client_close(&c);
    js_rig_end(&r);
    free(value);
    free(bytes);
}

/* Nobody is there to hear the answers; an acks=0 that fails ends the connection in its turn. */
TEST(gone_before_the_answers)
{
    struct js_rig r;
    struct kafka_client c;

    start(&r, i);
    for (int round = 0; round < 10; round++) {
        kafka_client_open(&c, r.server.kafka_port);
        for (int k = 0; k < 40; k++)
            send_number(&c, k % 2 == 0 ? "a" : "b", -1, k, false);
        if (round % 2 == 0) {
            send_number(&c, "a", 0, 0, true);
            send_number(&c, "a", -1, 0, false);
            c.correlation -= 42;
            for (int k = 0; k < 40; k++) {
                c.correlation++;
                kafka_client_take(&c, KAFKA_PRODUCE, 7);
            }
            raw_expect_end(&c.raw);
        }
        kafka_client_close(&c);
    }
    kafka_client_open(&c, r.server.kafka_port);
    send_number(&c, "a", -1, 0, false);
    const struct kafka_produce_response *a = kafka_client_take(&c, KAFKA_PRODUCE, 7);
    ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, KAFKA_NONE);
    kafka_client_close(&c);
    js_rig_end(&r);
}

/* Record `number` of producer 7, which counts from 0. */
static void send_sequence(struct kafka_client *c, int number)
{
    uint8_t bytes[256];
    char text[16];
    struct kafka_builder b;
    struct kafka_batch like = {.producer_id = 7, .base_sequence = number};

    snprintf(text, sizeof(text), "%d", number);
    kafka_builder_open(&b, bytes, sizeof(bytes), 0);
    ck_assert(kafka_builder_add(&b, &(struct kafka_record){.value = str_of(text)}));
    size_t n = kafka_builder_finish(&b, -1, &like);
    struct kafka_produce_request_partition_data part = {.records = {.p = bytes, .n = n}};
    struct kafka_produce_request_topic_data t = {
        .name = STR("a"), .partition_data = &part, .partition_data_n = 1};
    struct kafka_produce_request q = {
        .acks = -1, .timeout_ms = 1000, .topic_data = &t, .topic_data_n = 1};
    kafka_client_send(c, KAFKA_PRODUCE, 7, &q);
}

/* Five requests are out when the server is killed, of which some were answered: sent again, every
 * record is there once, at the offset that is its number. */
TEST(killed_in_between)
{
    struct js_rig r;
    struct kafka_client c;
    int done = 0;

    start(&r, i);
    for (int round = 0; round < 12; round++) {
        kafka_client_open(&c, r.server.kafka_port);
        for (int k = 0; k < 5; k++)
            send_sequence(&c, done + k);
        c.correlation = 0;
        for (int k = 0; k < round % 6; k++, done++) {
            c.correlation++;
            const struct kafka_produce_response *a = kafka_client_take(&c, KAFKA_PRODUCE, 7);
            ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, KAFKA_NONE);
            ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, done);
        }
        js_rig_crash(&r);
        kafka_client_close(&c);
    }
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(in_their_order, 0, 2),
    RUN_LOOP(big_ones, 0, 2),
    RUN_LOOP(gone_before_the_answers, 0, 2),
    RUN_LOOP(killed_in_between, 0, 2),
};

RUNNER_MAIN("api/kafka_ahead", cases)
