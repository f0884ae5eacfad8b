/*
 * test_kafka_times.c - topics that say something about the times of their records: which they take,
 * and that they give them their own; and a topic of which nothing is cleaned up.
 */
#include "lib/base/assert.h"
#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <time.h>

static struct js_rig rig;
static struct kafka_client client;

static void setup(int i)
{
    js_rig_start_conf(&rig, i, "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\" }\n");
    kafka_client_open(&client, rig.server.kafka_port);
}

static void teardown(void)
{
    kafka_client_close(&client);
    js_rig_end(&rig);
}

static void create(const char *name, const char *key, const char *value)
{
    struct kafka_create_topics_request_configs c = {str_of(key), str_of(value)};
    struct kafka_create_topics_request_topics t = {.name = str_of(name),
                                                   .num_partitions = 1,
                                                   .replication_factor = 1,
                                                   .configs = &c,
                                                   .configs_n = 1};
    const struct kafka_create_topics_response *a = kafka_client_call(
        &client, KAFKA_CREATE_TOPICS, 4,
        &(struct kafka_create_topics_request){.topics = &t, .topics_n = 1, .timeout_ms = 30000});

    ck_assert_int_eq(a->topics[0].error_code, KAFKA_NONE);
}

static int64_t now_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static const struct kafka_produce_response_partition_responses *produce(const char *topic,
                                                                        const int64_t *times, int n)
{
    uint8_t bytes[4096];
    struct kafka_builder b;

    kafka_builder_open(&b, bytes, sizeof(bytes), 0);
    for (int k = 0; k < n; k++)
        ck_assert(kafka_builder_add(
            &b, &(struct kafka_record){.offset = k, .time = times[k], .value = STR("v")}));
    struct kafka_produce_request_partition_data part = {
        .records = {.p = bytes, .n = kafka_builder_finish(&b, -1, NULL)}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &part, .partition_data_n = 1};
    const struct kafka_produce_response *a = kafka_client_call(
        &client, KAFKA_PRODUCE, 8,
        &(struct kafka_produce_request){
            .acks = -1, .timeout_ms = 60000, .topic_data = &t, .topic_data_n = 1});

    return &a->responses[0].partition_responses[0];
}

static int64_t time_at(const char *topic, int64_t offset)
{
    struct kafka_fetch_request_partitions part = {
        .current_leader_epoch = -1, .fetch_offset = offset, .partition_max_bytes = 1 << 20};
    struct kafka_fetch_request_topics t = {
        .topic = str_of(topic), .partitions = &part, .partitions_n = 1};
    const struct kafka_fetch_response *a =
        kafka_client_call(&client, KAFKA_FETCH, 11,
                          &(struct kafka_fetch_request){.replica_id = -1,
                                                        .max_bytes = 1 << 20,
                                                        .session_epoch = -1,
                                                        .topics = &t,
                                                        .topics_n = 1});
    const struct kafka_records *got = &a->responses[0].partitions[0].records;
    struct str bytes = str_from(got->p, got->n);
    struct kafka_record_iter it;
    struct kafka_record r;
    struct kafka_batch b;

    ck_assert_int_eq(kafka_batch_open(bytes, &b), KAFKA_BATCH_OK);
    ck_assert(kafka_batch_sum_ok(bytes, &b));
    kafka_record_iter_init(&it, &b, b.records);
    while (kafka_record_iter_next(&it, &r))
        if (r.offset == offset)
            return r.time;
    return -2;
}

TEST(the_time_of_appending)
{
    const int64_t times[] = {5, 7};
    const struct kafka_produce_response_partition_responses *a;
    int64_t before = now_ms();

    setup(i);
    create("t", "message.timestamp.type", "LogAppendTime");
    a = produce("t", times, 2);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_ge(a->log_append_time_ms, before);
    int64_t given = a->log_append_time_ms;
    ck_assert_int_eq(time_at("t", 0), given);
    ck_assert_int_eq(time_at("t", 1), given);
    kafka_client_close(&client);
    js_rig_crash(&rig);
    kafka_client_open(&client, rig.server.kafka_port);
    ck_assert_int_eq(time_at("t", 1), given);
    create("u", "message.timestamp.type", "CreateTime");
    a = produce("u", times, 2);
    ck_assert_int_eq(a->log_append_time_ms, -1);
    ck_assert_int_eq(time_at("u", 1), 7);
    teardown();
}

/* Which of three records are refused: hours from now. */
TEST(times_that_are_too_far)
{
    static const struct {
        const char *key, *value;
        int hours[3], refused[3], n;
    } table[] = {
        {"message.timestamp.after.max.ms", "3600000", {0, 2, -99}, {1}, 1},
        {"message.timestamp.before.max.ms", "3600000", {99, -2, -3}, {1, 2}, 2},
        {"message.timestamp.difference.max.ms", "3600000", {2, 0, -2}, {0, 2}, 2},
        {"message.timestamp.after.max.ms", "9223372036854775807", {2, 99, -99}, {0}, 0},
    };
    const struct kafka_produce_response_partition_responses *a;
    char name[8] = "t0";

    setup(i);
    for (size_t k = 0; k < ARRAY_LEN(table); k++, name[1]++) {
        int64_t times[3];
        create(name, table[k].key, table[k].value);
        for (int j = 0; j < 3; j++)
            times[j] = now_ms() + table[k].hours[j] * INT64_C(3600000);
        a = produce(name, times, 3);
        ck_assert_int_eq(a->error_code, table[k].n > 0 ? KAFKA_INVALID_TIMESTAMP : KAFKA_NONE);
        ck_assert_int_eq(a->record_errors_n, table[k].n);
        for (int j = 0; j < table[k].n; j++)
            ck_assert_int_eq(a->record_errors[j].batch_index, table[k].refused[j]);
        /* None is no time. */
        a = produce(name, (const int64_t[]){-1, -1}, 2);
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
    }
    teardown();
}

/* An empty cleanup.policy: neither age nor keys. */
TEST(nothing_is_cleaned_up)
{
    setup(i);
    create("t", "cleanup.policy", "");
    js_ask(&rig, "$JS.API.STREAM.INFO.t", "", "\"max_age\":0,");
    create("u", "cleanup.policy", "delete,compact");
    js_ask(&rig, "$JS.API.STREAM.INFO.u", "", "\"max_age\":604800000000000,");
    create("v", "retention.ms", "5000");
    js_ask(&rig, "$JS.API.STREAM.INFO.v", "", "\"max_age\":5000000000,");
    struct kafka_incremental_alter_configs_request_configs c = {STR("cleanup.policy"), 0, STR("")};
    struct kafka_incremental_alter_configs_request_resources t = {2, STR("v"), &c, 1};
    const struct kafka_incremental_alter_configs_response *a = kafka_client_call(
        &client, KAFKA_INCREMENTAL_ALTER_CONFIGS, 1,
        &(struct kafka_incremental_alter_configs_request){.resources = &t, .resources_n = 1});
    ck_assert_int_eq(a->responses[0].error_code, KAFKA_NONE);
    js_ask(&rig, "$JS.API.STREAM.INFO.v", "", "\"max_age\":0,");
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_time_of_appending, 0, 3),
    RUN_LOOP(times_that_are_too_far, 0, 1),
    RUN_LOOP(nothing_is_cleaned_up, 0, 1),
};

RUNNER_MAIN("api/kafka_times", cases)
