/*
 * test_kafka_fetch.c - Fetch request by request: every version, topics by name and by id, ids that
 * mean nothing (any more).
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 2 }\n";

static struct js_rig rig;
static struct kafka_client client;

#define CALL(name, KEY, version, ...)                                                              \
    ((const struct kafka_##name##_response *) kafka_client_call(                                   \
        &client, KAFKA_##KEY, version, &(struct kafka_##name##_request){__VA_ARGS__}))

static struct kafka_uuid make_topic(const char *name)
{
    struct kafka_metadata_request_topics t = {.name = str_of(name)};
    const struct kafka_metadata_response *a = CALL(
        metadata, METADATA, 12, .topics = &t, .topics_n = 1, .allow_auto_topic_creation = true);

    ck_assert_int_eq(a->topics[0].error_code, KAFKA_NONE);
    return a->topics[0].topic_id;
}

static void setup(int i)
{
    js_rig_start_conf(&rig, i, conf);
    kafka_client_open(&client, rig.server.kafka_port);
}

static void teardown(void)
{
    kafka_client_close(&client);
    js_rig_end(&rig);
}

static const struct kafka_fetch_response *fetch(int version, const char *name, struct kafka_uuid id,
                                                int32_t partition)
{
    struct kafka_fetch_request_partitions p = {.partition = partition,
                                               .current_leader_epoch = -1,
                                               .last_fetched_epoch = -1,
                                               .partition_max_bytes = 1 << 20};
    struct kafka_fetch_request_topics t = {str_of(name), id, &p, 1};
    const struct kafka_fetch_response *a =
        CALL(fetch, FETCH, version, .cluster_id = STR_NONE, .min_bytes = 1, .max_bytes = 1 << 20,
             .session_epoch = -1, .topics = &t, .topics_n = 1, .rack_id = STR(""));

    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->responses_n, 1);
    ck_assert_int_eq(a->responses[0].partitions_n, 1);
    return a;
}

static int16_t error_of(const struct kafka_fetch_response *a)
{
    return a->responses[0].partitions[0].error_code;
}

TEST(every_version)
{
    struct kafka_uuid id;

    setup(i);
    id = make_topic("t");
    js_fill(&rig, "t.1", 1, 3);
    for (int v = 4; v <= 17; v++) {
        const struct kafka_fetch_response *a = fetch(v, "t", id, 1);
        ck_assert_int_eq(error_of(a), KAFKA_NONE);
        ck_assert_int_eq(a->responses[0].partitions[0].high_watermark, 3);
        ck_assert_uint_gt(a->responses[0].partitions[0].records.n, 61);
        if (v < 13)
            ck_assert(str_eq(a->responses[0].topic, STR("t")));
        else
            ck_assert_int_eq(memcmp(&a->responses[0].topic_id, &id, sizeof(id)), 0);
        ck_assert_int_eq(error_of(fetch(v, "t", id, 2)), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    }
    teardown();
}

/* There are no sessions. What asks for everything is answered, also when it ends a session; what
 * goes on with one is told that it is not there. */
TEST(sessions)
{
    static const struct {
        int32_t id, epoch;
        int16_t error;
    } table[] = {
        {0, -1, KAFKA_NONE},
        {0, 0, KAFKA_NONE},
        {-1, -1, KAFKA_NONE},
        {7, 0, KAFKA_NONE},
        {7, -1, KAFKA_NONE},
        {7, 1, KAFKA_FETCH_SESSION_ID_NOT_FOUND},
        {0, 1, KAFKA_FETCH_SESSION_ID_NOT_FOUND},
    };
    struct kafka_fetch_request_partitions p = {
        .current_leader_epoch = -1, .last_fetched_epoch = -1, .partition_max_bytes = 1 << 20};
    struct kafka_fetch_request_topics t = {.topic = STR("t"), .partitions = &p, .partitions_n = 1};

    setup(i);
    make_topic("t");
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        const struct kafka_fetch_response *a = CALL(fetch, FETCH, 11, .session_id = table[k].id,
                                                    .session_epoch = table[k].epoch, .topics = &t,
                                                    .topics_n = 1, .rack_id = STR(""));
        ck_assert_int_eq(a->error_code, table[k].error);
        ck_assert_int_eq(a->session_id, 0);
        ck_assert_int_eq(a->responses_n, table[k].error == KAFKA_NONE);
    }
    teardown();
}

TEST(ids_that_mean_nothing)
{
    struct kafka_uuid none = {{0}}, old, id;
    struct str name = STR("t");

    setup(i);
    old = make_topic("t");
    ck_assert_int_eq(error_of(fetch(13, "t", none, 0)), KAFKA_UNKNOWN_TOPIC_ID);
    ck_assert_int_eq(error_of(fetch(13, "t", old, 0)), KAFKA_NONE);
    ck_assert_int_eq(CALL(delete_topics, DELETE_TOPICS, 1, .topic_names = &name, .topic_names_n = 1)
                         ->responses[0]
                         .error_code,
                     KAFKA_NONE);
    ck_assert_int_eq(error_of(fetch(17, "t", old, 0)), KAFKA_UNKNOWN_TOPIC_ID);
    id = make_topic("t");
    ck_assert_int_ne(memcmp(&id, &old, sizeof(id)), 0);
    ck_assert_int_eq(error_of(fetch(17, "t", old, 0)), KAFKA_UNKNOWN_TOPIC_ID);
    ck_assert_int_eq(error_of(fetch(17, "t", id, 0)), KAFKA_NONE);
    teardown();
}

/* A restored copy has the id of the one that it is of: no harm to either's name. */
TEST(two_of_one_id)
{
    static const char config[] = "{\"name\":\"%s\",\"subjects\":[\"%s\"],\"metadata\":"
                                 "{\"kafka.topic_id\":\"00112233445566778899aabbccddeeff\"}}";
    struct kafka_uuid id;
    char body[256];

    setup(i);
    for (const char *name = "a"; name != NULL; name = *name == 'a' ? "b" : NULL) {
        char subject[64];
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", name);
        snprintf(body, sizeof(body), config, name, name);
        js_ask(&rig, subject, body, "\"created\"");
    }
    id = make_topic("a");
    ck_assert_int_eq(error_of(fetch(17, "", id, 0)), KAFKA_NONE);
    js_ask(&rig, "$JS.API.STREAM.DELETE.a", "", "\"success\":true");
    ck_assert_int_eq(error_of(fetch(17, "", id, 0)), KAFKA_NONE);
    js_ask(&rig, "$JS.API.STREAM.DELETE.b", "", "\"success\":true");
    ck_assert_int_eq(error_of(fetch(17, "", id, 0)), KAFKA_UNKNOWN_TOPIC_ID);
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(every_version, 0, 3),
    RUN_LOOP(sessions, 0, 1),
    RUN_LOOP(ids_that_mean_nothing, 0, 2),
    RUN_LOOP(two_of_one_id, 0, 2),
};

RUNNER_MAIN("kafka/fetch", cases)
