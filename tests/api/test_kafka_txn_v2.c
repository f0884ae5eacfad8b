/*
 * test_kafka_txn_v2.c - transactions as clients of transaction.version 2 have them: partitions and
 * groups are added by being written to, every end gives another epoch, topics have ids.
 */
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_producer.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void start(struct js_rig *r, int i)
{
    js_rig_start_conf(r, i, "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\" }\n");
    js_ask(r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
    js_ask(r, "$JS.API.STREAM.CREATE.u", "{\"name\":\"u\",\"subjects\":[\"u\"]}", "\"created\"");
}

static int64_t write_v2(struct producer *p, const char *topic, int32_t sequence, int count)
{
    return producer_write_as(p, 12, NULL, topic, sequence, count);
}

TEST(what_is_told)
{
    struct kafka_client c;
    struct js_rig r;

    start(&r, 0);
    for (int v = 3; v <= 4; v++) {
        kafka_client_open(&c, r.server.kafka_port);
        const struct kafka_api_versions_response *a = kafka_client_call(
            &c, KAFKA_API_VERSIONS, v,
            &(struct kafka_api_versions_request){.client_software_name = STR("test"),
                                                 .client_software_version = STR("1")});
        ck_assert_int_eq(a->finalized_features_n, 1);
        ck_assert(str_eq(a->finalized_features[0].name, STR("transaction.version")));
        ck_assert_int_eq(a->finalized_features[0].max_version_level, 2);
        ck_assert_int_eq(a->finalized_features[0].min_version_level, 2);
        ck_assert_int_ge(a->finalized_features_epoch, 0);
        ck_assert_int_eq(a->supported_features_n, v >= 4); /* before, a 0 is a client's end */
        if (v >= 4) {
            ck_assert_int_eq(a->supported_features[0].min_version, 0);
            ck_assert_int_eq(a->supported_features[0].max_version, 2);
        }
        kafka_client_close(&c);
    }
    js_rig_end(&r);
}

TEST(ends)
{
    struct js_rig r;
    struct producer p, before;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_init_at(&p, 5, p.producer, p.epoch, 60000), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 1);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_INVALID_TXN_STATE); /* nothing has begun */
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 2);
    ck_assert_int_eq(write_v2(&p, "t", 0, 2), 0);
    ck_assert_int_eq(write_v2(&p, "t", 2, 1), 2);
    ck_assert_int_eq(write_v2(&p, "t", 2, 1), 2); /* once more */
    ck_assert_int_eq(write_v2(&p, "u", 0, 1), 0);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    before = p;
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(p.producer, before.producer);
    ck_assert_int_eq(p.epoch, 3);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    ck_assert_int_eq(producer_latest(&p, "u", 1), 2);
    /* The answer was lost; or it was another request. */
    p.epoch = 2;
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 3);
    p.epoch = 1;
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_PRODUCER_FENCED);
    /* What was sent before the end and comes late. */
    p.epoch = 2;
    ck_assert_int_eq(write_v2(&p, "t", 3, 1), -KAFKA_INVALID_PRODUCER_EPOCH);
    p.epoch = 3;
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    p.producer++;
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_INVALID_PRODUCER_ID_MAPPING);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), -KAFKA_INVALID_PRODUCER_ID_MAPPING);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Whose id another one has, an older client, is not let in again by what that one has ended. */
TEST(fenced_by_an_older_one)
{
    struct js_rig r;
    struct producer p, older;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 0);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    producer_init(&older, &r, "p");
    ck_assert_int_eq(older.epoch, p.epoch + 1);
    for (int commit = 0; commit <= 1; commit++) {
        ck_assert_int_eq(producer_add(&older, 3, "t", 0), KAFKA_NONE);
        ck_assert_int_eq(producer_end(&older, 3, commit), KAFKA_NONE);
        ck_assert_int_eq(producer_end(&p, 5, commit), KAFKA_PRODUCER_FENCED);
    }
    kafka_client_close(&older.c);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* What a transaction writes first into a partition has the number 0: what comes behind a batch that
 * was refused does not take its place. */
TEST(the_first_batch)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(write_v2(&p, "t", 5, 1), -KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
    ck_assert_int_eq(write_v2(&p, "t", 0, 5), 0);
    ck_assert_int_eq(write_v2(&p, "t", 5, 1), 5);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    ck_assert_int_eq(write_v2(&p, "t", 6, 1), -KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 7);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* A client that finds another server behind its connection goes the newer way from one transaction
 * to the next: with the numbers and the epoch that it had. */
TEST(the_newer_way_from_now_on)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 2), 0);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_int_eq(write_v2(&p, "t", 3, 1), -KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
    ck_assert_int_eq(write_v2(&p, "t", 2, 1), 3);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(write_v2(&p, "t", 3, 1), -KAFKA_OUT_OF_ORDER_SEQUENCE_NUMBER);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 5);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

TEST(offsets)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_commit_offset(&p, 4, "g", "t", 5), KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_commit_offset(&p, 5, "g", "t", 5), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), -KAFKA_UNSTABLE_OFFSET_COMMIT);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 5);
    ck_assert_int_eq(producer_commit_offset(&p, 5, "g", "t", 9), KAFKA_NONE);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 5);
    p.epoch--;
    ck_assert_int_eq(producer_commit_offset(&p, 5, "g", "t", 9), KAFKA_INVALID_PRODUCER_EPOCH);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Versions in between add partitions before, and learn that they may abort. */
TEST(versions_between)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write_as(&p, 11, NULL, "t", 0, 1), 0);
    ck_assert_int_eq(producer_write_as(&p, 10, NULL, "u", 0, 1), -KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_write_as(&p, 11, NULL, "u", 0, 1), -KAFKA_TRANSACTION_ABORTABLE);
    ck_assert_int_eq(producer_add_offsets(&p, 4, "g"), KAFKA_NONE);
    ck_assert_int_eq(producer_commit_offset(&p, 4, "g", "t", 5), KAFKA_NONE);
    ck_assert_int_eq(producer_end(&p, 4, true), KAFKA_NONE);
    ck_assert_int_eq(producer_end(&p, 4, true), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 5);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

TEST(topics_by_id)
{
    struct kafka_uuid unknown = {{1, 2, 3}}, id;
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    struct kafka_metadata_request_topics t = {.name = STR("t")};
    const struct kafka_metadata_response *a = kafka_client_call(
        &p.c, KAFKA_METADATA, 12, &(struct kafka_metadata_request){.topics = &t, .topics_n = 1});
    id = a->topics[0].topic_id;
    ck_assert_int_eq(producer_write_as(&p, 13, &id, NULL, 0, 2), 0);
    ck_assert_int_eq(producer_write_as(&p, 13, &unknown, NULL, 0, 2), -KAFKA_UNKNOWN_TOPIC_ID);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Open through a crash; ended, and asked again for behind another one. */
TEST(crashes)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(write_v2(&p, "t", 0, 2), 0);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    ck_assert_int_eq(write_v2(&p, "t", 2, 1), 2);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    p.epoch--;
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 1);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    p.epoch--;
    ck_assert_int_eq(write_v2(&p, "t", 3, 1), -KAFKA_INVALID_PRODUCER_EPOCH);
    p.epoch++;
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 4);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 6);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* So long that a few of them are more than is written as a whole each time. */
enum { LONG_NAME = 400 };

static void put_group(char *out, unsigned k)
{
    memset(out, 'g', LONG_NAME);
    snprintf(out + LONG_NAME, 16, "%u", k);
}

static void commit_groups(struct producer *p, unsigned first, unsigned n, int64_t offset)
{
    char group[LONG_NAME + 16];

    for (unsigned k = first; k < first + n; k++) {
        put_group(group, k);
        ck_assert_int_eq(producer_commit_offset(p, 5, group, "t", offset + k), KAFKA_NONE);
    }
}

static void check_groups(struct producer *p, unsigned n, int64_t offset)
{
    char group[LONG_NAME + 16];

    for (unsigned k = 0; k < n; k++) {
        put_group(group, k);
        ck_assert_int_eq(producer_fetched(p, group, "t", true), offset < 0 ? offset : offset + k);
    }
}

static void crash(struct js_rig *r, struct producer *p)
{
    kafka_client_close(&p->c);
    js_rig_crash(r);
    kafka_client_open(&p->c, r->server.kafka_port);
}

/* Commits behind the record, through crashes in between; nothing of them stays when it has ended.
 */
TEST(many_small_commits)
{
    static const char only[] = "{\"subjects_filter\":\"$KAFKA.TXN.>\"}";
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    commit_groups(&p, 0, 20, 1000);
    js_ask(&r, "$JS.API.STREAM.INFO.__consumer_offsets", only, "\"$KAFKA.TXN.p.0\":1");
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 0);
    crash(&r, &p);
    commit_groups(&p, 15, 10, 2000);
    check_groups(&p, 25, -KAFKA_UNSTABLE_OFFSET_COMMIT);
    crash(&r, &p);
    commit_groups(&p, 0, 15, 2000);
    ck_assert_int_eq(write_v2(&p, "t", 1, 1), 1);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    check_groups(&p, 25, 2000);
    js_ask(&r, "$JS.API.STREAM.INFO.__consumer_offsets", only, "\"subjects\":{\"$KAFKA.TXN.p\":1}");
    commit_groups(&p, 0, 20, 3000);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    crash(&r, &p);
    check_groups(&p, 25, 2000);
    js_ask(&r, "$JS.API.STREAM.INFO.__consumer_offsets", only, "\"subjects\":{\"$KAFKA.TXN.p\":1}");
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* ---- several at a time ----------------------------------------------------------------------- */

enum { AT_ONCE = 20 };

/* A batch of one record; no answer is taken. */
static void send(struct producer *p, const char *topic, int32_t sequence)
{
    uint8_t bytes[256];
    struct kafka_builder b;
    struct kafka_batch like = {.attributes = KAFKA_TRANSACTIONAL,
                               .producer_id = p->producer,
                               .producer_epoch = p->epoch,
                               .base_sequence = sequence};

    kafka_builder_open(&b, bytes, sizeof(bytes), 0);
    ck_assert(kafka_builder_add(&b, &(struct kafka_record){.value = STR("v")}));
    size_t n = kafka_builder_finish(&b, 0, &like);
    struct kafka_produce_request_partition_data part = {.records = {.p = bytes, .n = n}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &part, .partition_data_n = 1};
    kafka_client_send(&p->c, KAFKA_PRODUCE, 12,
                      &(struct kafka_produce_request){.transactional_id = str_of(p->id),
                                                      .acks = -1,
                                                      .timeout_ms = 60000,
                                                      .topic_data = &t,
                                                      .topic_data_n = 1});
}

static int64_t take(struct producer *p, int32_t correlation)
{
    const struct kafka_produce_response *a;
    int32_t last = p->c.correlation;

    p->c.correlation = correlation;
    a = kafka_client_take(&p->c, KAFKA_PRODUCE, 12);
    p->c.correlation = last;
    int16_t error = a->responses[0].partition_responses[0].error_code;
    return error != KAFKA_NONE ? -error : a->responses[0].partition_responses[0].base_offset;
}

/* The first one of a transaction adds the partition; those behind it stay behind it. */
TEST(without_waiting)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "p");
    for (int round = 0; round < 3; round++) {
        int32_t from = p.c.correlation + 1;
        for (int32_t k = 0; k < AT_ONCE; k++)
            send(&p, k % 2 == 0 ? "t" : "u", k / 2);
        for (int32_t k = 0; k < AT_ONCE; k++)
            ck_assert_int_eq(take(&p, from + k), round * (AT_ONCE / 2 + 1) + k / 2);
        ck_assert_int_eq(producer_end(&p, 5, round != 1), KAFKA_NONE);
    }
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Two connections of one producer: the question of the second waits for the first one's. */
TEST(two_connections)
{
    struct js_rig r;
    struct producer p, q;

    start(&r, i);
    producer_init(&p, &r, "p");
    for (int round = 0; round < 10; round++) {
        q = p;
        kafka_client_open(&q.c, r.server.kafka_port);
        send(&p, "t", 0);
        send(&q, "u", 0);
        ck_assert_int_eq(take(&p, p.c.correlation), 2 * round);
        ck_assert_int_eq(take(&q, q.c.correlation), 2 * round);
        kafka_client_close(&q.c);
        ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    }
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* ---- epochs run out -------------------------------------------------------------------------- */

/* The record of a producer that has the last epoch. */
static void put_record(struct js_rig *r)
{
    struct raw_client c;
    struct buf b = {0};
    char head[64];

    kafka_append_u16(&b, 2); /* version */
    kafka_append_u16(&b, 0); /* EMPTY */
    kafka_append_u64(&b, 77);
    kafka_append_u16(&b, INT16_MAX - 2);
    kafka_append_u32(&b, 60000);
    kafka_append_u64(&b, 0);
    kafka_append_u64(&b, (uint64_t) time(NULL) * 1000);
    kafka_append_u32(&b, 0);
    kafka_append_u32(&b, 0);
    raw_hello(&c, r->server.port, "");
    snprintf(head, sizeof(head), "PUB $KAFKA.TXN.p %zu\r\n", b.n);
    raw_send(&c, head);
    raw_send_bytes(&c, b.p, b.n);
    raw_send(&c, "\r\n");
    raw_fence(&c);
    raw_close(&c);
    buf_free(&b);
}

TEST(the_last_epoch)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    producer_init(&p, &r, "other"); /* there is a coordinator */
    kafka_client_close(&p.c);
    put_record(&r);
    js_rig_restart(&r);
    p = (struct producer){.id = "p", .producer = 77, .epoch = INT16_MAX - 2};
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 0);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_ne(p.producer, 77);
    ck_assert_int_eq(p.epoch, 0);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 2);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 1);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* The answer to that end was lost. */
TEST(the_last_epoch_again)
{
    struct js_rig r;
    struct producer p;
    int64_t next;

    start(&r, i);
    producer_init(&p, &r, "other");
    kafka_client_close(&p.c);
    put_record(&r);
    js_rig_restart(&r);
    p = (struct producer){.id = "p", .producer = 77, .epoch = INT16_MAX - 2};
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(write_v2(&p, "t", 0, 1), 0);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    next = p.producer;
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    p = (struct producer){.id = "p", .producer = 77, .epoch = INT16_MAX - 2};
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_end(&p, 5, false), KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(p.producer, next);
    ck_assert_int_eq(p.epoch, 0);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN(what_is_told),
    RUN_LOOP(ends, 0, 3),
    RUN_LOOP(fenced_by_an_older_one, 0, 3),
    RUN_LOOP(the_first_batch, 0, 3),
    RUN_LOOP(the_newer_way_from_now_on, 0, 3),
    RUN_LOOP(offsets, 0, 3),
    RUN_LOOP(versions_between, 0, 3),
    RUN_LOOP(topics_by_id, 0, 3),
    RUN_LOOP(crashes, 0, 3),
    RUN_LOOP(many_small_commits, 0, 3),
    RUN_LOOP(without_waiting, 0, 3),
    RUN_LOOP(two_connections, 0, 3),
    RUN_LOOP(the_last_epoch, 0, 3),
    RUN_LOOP(the_last_epoch_again, 0, 3),
};

RUNNER_MAIN("api/kafka_txn_v2", cases)
