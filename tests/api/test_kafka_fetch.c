/*
 * test_kafka_fetch.c - Fetch request by request: every version, topics by name and by id, ids that
 * mean nothing (any more).
 */
#include "lib/wire/kafka_compress.h"
#include "lib/wire/kafka_pack.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 2 }\n";

static struct js_rig rig;
static struct kafka_client client;

static struct kafka_uuid make_topic(const char *name)
{
    struct kafka_metadata_request_topics t = {.name = str_of(name)};
    const struct kafka_metadata_response *a = KAFKA_CALL(&client, metadata, METADATA, 12,
                                                         .topics = &t, .topics_n = 1,
                                                         .allow_auto_topic_creation = true);

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
    const struct kafka_fetch_response *a = KAFKA_CALL(
        &client, fetch, FETCH, version, .cluster_id = STR_NONE, .min_bytes = 1,
        .max_bytes = 1 << 20, .session_epoch = -1, .topics = &t, .topics_n = 1, .rack_id = STR(""));

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
    for (int v = 0; v <= 17; v++) {
        const struct kafka_fetch_response *a = fetch(v, "t", id, 1);
        ck_assert_int_eq(error_of(a), KAFKA_NONE);
        ck_assert_int_eq(a->responses[0].partitions[0].high_watermark, 3);
        ck_assert_uint_gt(a->responses[0].partitions[0].records.n, v < 4 ? 26 : 61);
        if (v < 13)
            ck_assert(str_eq(a->responses[0].topic, STR("t")));
        else
            ck_assert_int_eq(memcmp(&a->responses[0].topic_id, &id, sizeof(id)), 0);
        ck_assert_int_eq(error_of(fetch(v, "t", id, 2)), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    }
    teardown();
}

/* Bytes of records of partitions `first` and the other one, which share max_bytes. Who asks for
 * more than that at least does not wait for it. */
static void share(int32_t first, int32_t max_bytes, size_t got[2])
{
    struct kafka_fetch_request_partitions p[2] = {
        {.partition = first, .current_leader_epoch = -1, .partition_max_bytes = 1 << 20},
        {.partition = 1 - first, .current_leader_epoch = -1, .partition_max_bytes = 1 << 20}};
    struct kafka_fetch_request_topics t = {.topic = STR("t"), .partitions = p, .partitions_n = 2};
    const struct kafka_fetch_response *a =
        KAFKA_CALL(&client, fetch, FETCH, 11, .max_wait_ms = 600000, .min_bytes = 1 << 20,
                   .max_bytes = max_bytes, .session_epoch = -1, .topics = &t, .topics_n = 1,
                   .rack_id = STR(""));

    ck_assert_int_eq(a->responses[0].partitions_n, 2);
    for (int k = 0; k < 2; k++) {
        ck_assert_int_eq(a->responses[0].partitions[k].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->responses[0].partitions[k].high_watermark, 100);
        got[k] = a->responses[0].partitions[k].records.n;
    }
}

/* One batch is always sent, and what fits; the first partition goes first where both are on one
 * worker. */
TEST(partitions_share_the_answer)
{
    size_t got[2];

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.0", 1, 100);
    js_fill(&rig, "t.1", 1, 100);
    for (int32_t first = 0; first < 2; first++) {
        share(first, 1, got);
        ck_assert_uint_gt(got[0] + got[1], 61);
        ck_assert((got[0] == 0) != (got[1] == 0));
        ck_assert(i > 0 || got[0] > 0);
        share(first, 1000, got);
        ck_assert_uint_gt(got[0] + got[1], 300);
        ck_assert_uint_le(got[0] + got[1], 1000);
        ck_assert(i > 0 || got[0] > 300);
        share(first, 4000, got);
        ck_assert_uint_gt(got[0] + got[1], 900);
        ck_assert_uint_gt(got[0], 300);
        ck_assert_uint_gt(got[1], 300);
        ck_assert_uint_le(got[0] + got[1], 4000);
    }
    teardown();
}

struct ask {
    int32_t id, epoch;
    int version, partitions; /* of t, from 0 on */
    int64_t offset;
    int32_t forget; /* this partition; -1: none */
};

/* Asks; says whether the answer has the error and these partitions of t, a bit each. */
static int32_t session(const struct ask *q, int16_t error, unsigned told)
{
    struct kafka_fetch_request_partitions p[8];
    struct kafka_fetch_request_topics t = {
        .topic = STR("t"), .partitions = p, .partitions_n = q->partitions};
    int32_t forget = q->forget;
    struct kafka_fetch_request_forgotten_topics_data f = {
        .topic = STR("t"), .partitions = &forget, .partitions_n = 1};
    unsigned got = 0;

    for (int k = 0; k < q->partitions; k++)
        p[k] = (struct kafka_fetch_request_partitions){.partition = k,
                                                       .fetch_offset = q->offset,
                                                       .current_leader_epoch = -1,
                                                       .last_fetched_epoch = -1,
                                                       .partition_max_bytes = 1 << 20};
    const struct kafka_fetch_response *a = KAFKA_CALL(
        &client, fetch, FETCH, q->version, .session_id = q->id, .session_epoch = q->epoch,
        .max_bytes = 1 << 20, .topics = &t, .topics_n = q->partitions > 0,
        .forgotten_topics_data = &f, .forgotten_topics_data_n = q->forget >= 0,
        .cluster_id = STR_NONE, .rack_id = STR(""));
    ck_assert_int_eq(a->error_code, error);
    for (int32_t k = 0; k < a->responses_n; k++)
        for (int32_t n = 0; n < a->responses[k].partitions_n; n++)
            got |= 1u << a->responses[k].partitions[n].partition_index;
    ck_assert_uint_eq(got, told);
    return a->session_id;
}

#define ASK(id, epoch, partitions, offset, forget)                                                 \
    (&(struct ask){id, epoch, 11, partitions, offset, forget})

/* Full, then what is new alone; wrong ids and epochs; what is forgotten; the end. */
TEST(sessions)
{
    int32_t id;

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.1", 1, 1);
    /* Without one. */
    ck_assert_int_eq(session(ASK(0, -1, 2, 0, -1), KAFKA_NONE, 3), 0);
    ck_assert_int_eq(session(ASK(-1, -1, 2, 0, -1), KAFKA_NONE, 3), 0);
    ck_assert_int_eq(session(ASK(7, 1, 2, 0, -1), KAFKA_FETCH_SESSION_ID_NOT_FOUND, 0), 0);
    ck_assert_int_eq(session(ASK(0, 1, 2, 0, -1), KAFKA_FETCH_SESSION_ID_NOT_FOUND, 0), 0);
    id = session(ASK(0, 0, 2, 0, -1), KAFKA_NONE, 3);
    ck_assert_int_gt(id, 0);
    /* Records are told until they are not asked for any more. */
    ck_assert_int_eq(session(ASK(id, 1, 0, 0, -1), KAFKA_NONE, 2), id);
    session(ASK(id, 1, 0, 0, -1), KAFKA_INVALID_FETCH_SESSION_EPOCH, 0);
    session(ASK(id, 3, 0, 0, -1), KAFKA_INVALID_FETCH_SESSION_EPOCH, 0);
    session(ASK(id, 2, 2, 1, -1), KAFKA_NONE, 1); /* behind the end of partition 0: its error */
    session(ASK(id, 3, 1, 0, -1), KAFKA_NONE, 1); /* and that it has gone */
    session(ASK(id, 4, 0, 0, -1), KAFKA_NONE, 0);
    js_fill(&rig, "t.1", 2, 1);
    session(ASK(id, 5, 0, 0, -1), KAFKA_NONE, 2);
    session(ASK(id, 6, 0, 0, 1), KAFKA_NONE, 0);
    /* By name, not by id. */
    session(&(struct ask){id, 7, 13, 0, 0, -1}, KAFKA_FETCH_SESSION_TOPIC_ID_ERROR, 0);
    /* Nothing is left of it. */
    ck_assert_int_eq(session(ASK(id, 7, 0, 0, 0), KAFKA_NONE, 0), 0);
    session(ASK(id, 8, 0, 0, -1), KAFKA_FETCH_SESSION_ID_NOT_FOUND, 0);
    /* A full one with its id ends it and begins anew; -1 ends it. */
    id = session(ASK(0, 0, 2, 0, -1), KAFKA_NONE, 3);
    int32_t next = session(ASK(id, 0, 2, 0, -1), KAFKA_NONE, 3);
    ck_assert_int_ne(next, id);
    session(ASK(id, 1, 0, 0, -1), KAFKA_FETCH_SESSION_ID_NOT_FOUND, 0);
    ck_assert_int_eq(session(ASK(next, -1, 2, 0, -1), KAFKA_NONE, 3), 0);
    session(ASK(next, 1, 0, 0, -1), KAFKA_FETCH_SESSION_ID_NOT_FOUND, 0);
    teardown();
}

/* However often it is named it is read and told once. */
TEST(one_partition_many_times)
{
    enum { TIMES = 20000 };
    struct kafka_fetch_request_partitions *p = calloc(TIMES, sizeof(*p));
    struct kafka_fetch_request_topics t[2] = {
        {.topic = STR("t"), .partitions = p, .partitions_n = TIMES},
        {.topic = STR("t"), .partitions = p, .partitions_n = TIMES}};

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.1", 1, 1);
    for (int k = 0; k < TIMES; k++)
        p[k] = (struct kafka_fetch_request_partitions){.partition = 1,
                                                       .current_leader_epoch = -1,
                                                       .last_fetched_epoch = -1,
                                                       .partition_max_bytes = 1 << 20};
    const struct kafka_fetch_response *a =
        KAFKA_CALL(&client, fetch, FETCH, 11, .max_bytes = 1 << 20, .min_bytes = 1,
                   .session_epoch = -1, .topics = t, .topics_n = 2, .rack_id = STR(""));
    ck_assert_int_eq(a->responses_n, 1);
    ck_assert_int_eq(a->responses[0].partitions_n, 1);
    ck_assert_uint_gt(a->responses[0].partitions[0].records.n, 61);
    free(p);
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
    ck_assert_int_eq(KAFKA_CALL(&client, delete_topics, DELETE_TOPICS, 1, .topic_names = &name,
                                .topic_names_n = 1)
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

/* ---- many partitions --------------------------------------------------------------------------
 */

/* A request may name a partition as often as it likes, and one that names very many is refused as a
 * whole: they take more memory here than there. */
#define MANY 200000

TEST(very_many_partitions)
{
    static struct kafka_fetch_request_partitions parts[MANY];
    struct kafka_fetch_request_topics t = {.topic = STR("t"), .partitions = parts};
    const struct kafka_fetch_response *a;

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.1", 1, 3);
    for (int k = 0; k < MANY; k++)
        parts[k] = (struct kafka_fetch_request_partitions){.partition = k % 2 == 0 ? 1 : 7,
                                                           .current_leader_epoch = -1,
                                                           .partition_max_bytes = 1 << 20};
    for (int k = 0; k < 2; k++) {
        t.partitions_n = k == 0 ? 1000 : MANY;
        a = KAFKA_CALL(&client, fetch, FETCH, 11, .replica_id = -1, .max_bytes = 1 << 20,
                       .session_epoch = -1, .topics = &t, .topics_n = 1, .rack_id = STR(""));
        ck_assert_int_eq(a->error_code, k == 0 ? KAFKA_NONE : KAFKA_INVALID_REQUEST);
        ck_assert_int_eq(a->responses_n, k == 0);
        if (k == 0)
            ck_assert_int_eq(a->responses[0].partitions_n, 2);
    }
    teardown();
}

/* To look for a time is to read the partition: once in a request. */
TEST(offsets_of_a_partition_named_twice)
{
    struct kafka_list_offsets_request_partitions p[3];
    struct kafka_list_offsets_request_topics t = {STR("t"), p, 3};
    const struct kafka_list_offsets_response *a;

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.1", 1, 3);
    for (int k = 0; k < 3; k++)
        p[k] = (struct kafka_list_offsets_request_partitions){
            .partition_index = k == 2 ? 0 : 1, .current_leader_epoch = -1, .timestamp = 1};
    for (int v = 1; v <= 7; v += 3) {
        a = KAFKA_CALL(&client, list_offsets, LIST_OFFSETS, v, .replica_id = -1, .topics = &t,
                       .topics_n = 1);
        ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->topics[0].partitions[0].offset, 0);
        ck_assert_int_eq(a->topics[0].partitions[1].error_code, KAFKA_INVALID_REQUEST);
        ck_assert_int_eq(a->topics[0].partitions[2].error_code, KAFKA_NONE);
    }
    teardown();
}

/* ---- who does not read ------------------------------------------------------------------------
 */

#define UNREAD 40

/* n messages of 900,000 bytes. */
static void fill_large(int n)
{
    static char frame[900100];
    char want[64];
    int at = snprintf(frame, sizeof(frame), "PUB t.1 900000\r\n");

    memset(frame + at, 'x', 900000);
    memcpy(frame + at + 900000, "\r\n", 2);
    for (int k = 0; k < n; k++)
        raw_send_bytes(&rig.api, frame, (size_t) at + 900002);
    snprintf(want, sizeof(want), "\"messages\":%d,", n);
    js_await(&rig, "$JS.API.STREAM.INFO.t=p1", "", want);
}

/* Requests begin when the answers before them are on their way: of forty answers of 8 MB that
 * nobody reads few are made. The others are made of what is there later, which is nothing. */
TEST(answers_that_nobody_reads)
{
    struct kafka_fetch_request_partitions p = {
        .partition = 1, .current_leader_epoch = -1, .partition_max_bytes = 8 << 20};
    struct kafka_fetch_request_topics t = {.topic = STR("t"), .partitions = &p, .partitions_n = 1};
    struct kafka_fetch_request q = {.replica_id = -1,
                                    .max_bytes = 8 << 20,
                                    .session_epoch = -1,
                                    .topics = &t,
                                    .topics_n = 1,
                                    .rack_id = STR("")};
    struct kafka_client slow;
    int full = 0;

    setup(i);
    make_topic("t");
    fill_large(9);
    kafka_client_open(&slow, rig.server.kafka_port);
    for (int k = 0; k < UNREAD; k++)
        kafka_client_send(&slow, KAFKA_FETCH, 11, &q);
    for (int k = 0; k < 500; k++)
        KAFKA_CALL(&client, metadata, METADATA, 4, .topics_n = -1);
    js_ask(&rig, "$JS.API.STREAM.PURGE.t=p1", "", "\"success\":true");
    slow.correlation -= UNREAD;
    for (int k = 0; k < UNREAD; k++) {
        slow.correlation++;
        const struct kafka_fetch_response *a = kafka_client_take(&slow, KAFKA_FETCH, 11);
        full += a->responses[0].partitions[0].records.n > 1 << 20;
    }
    ck_assert_int_gt(full, 0);
    ck_assert_int_lt(full, 10);
    kafka_client_close(&slow);
    teardown();
}

/* ---- a batch that is too large to be opened ---------------------------------------------------
 */

#define LARGE (KAFKA_PLAIN_MAX + (1u << 20))

/* Three records, of which the first one has more bytes than a batch may have to be opened, in some
 * 70 KB. */
static void produce_large(const char *topic)
{
    size_t cap = LARGE + 4096, n;
    uint8_t *plain = calloc(1, cap);
    char *value = calloc(1, LARGE);
    struct kafka_batch like = {.producer_id = -1, .producer_epoch = -1, .base_sequence = -1};
    struct kafka_builder b;
    struct buf packed = {0};

    like.last_offset_delta = 2;
    kafka_builder_open(&b, plain, cap, 0);
    for (int k = 0; k < 3; k++)
        ck_assert(kafka_builder_add(
            &b, &(struct kafka_record){.offset = k,
                                       .value = k == 0 ? str_from(value, LARGE) : STR("small")}));
    n = kafka_builder_finish(&b, -1, &like);
    ck_assert_int_eq(kafka_batch_pack(str_from(plain, n), KAFKA_GZIP, &packed), ERR_OK);
    struct kafka_produce_request_partition_data part = {
        .records = {.p = (const uint8_t *) packed.p, .n = packed.n}};
    struct kafka_produce_request_topic_data t = {
        .name = str_of(topic), .partition_data = &part, .partition_data_n = 1};
    const struct kafka_produce_response *a =
        KAFKA_CALL(&client, produce, PRODUCE, 9, .transactional_id = STR_NONE, .acks = -1,
                   .timeout_ms = 60000, .topic_data = &t, .topic_data_n = 1);
    ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, KAFKA_NONE);
    buf_free(&packed);
    free(value);
    free(plain);
}

/* It is handed out as it came, also with a record that is removed: the others are not to be missed.
 * Who reads its records as messages is told that they can not be read. */
TEST(a_batch_too_large_to_be_opened)
{
    const struct kafka_records *got;
    struct kafka_batch b;

    setup(i);
    js_ask(&rig, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
    produce_large("t");
    js_ask(&rig, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":2,\"no_erase\":true}",
           "\"success\":true");
    for (int k = 0; k < 2; k++) {
        got = &fetch(12, "t", (struct kafka_uuid){0}, 0)->responses[0].partitions[0].records;
        ck_assert_int_eq(kafka_batch_open(str_from(got->p, got->n), &b), KAFKA_BATCH_OK);
        ck_assert_int_eq(b.base_offset, 0);
        ck_assert_int_eq(b.count, 3);
        js_ask(&rig, "$JS.API.STREAM.MSG.GET.t", "{\"seq\":2}", "no message found");
        js_ask(&rig, "$JS.API.STREAM.MSG.GET.t", "{\"seq\":3}", "\"hdrs\":");
        js_rig_restart(&rig);
        kafka_client_close(&client);
        kafka_client_open(&client, rig.server.kafka_port);
    }
    js_ask(&rig, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":1}", "not supported"); /* its bytes stay
                                                                                  */
    js_ask(&rig, "$JS.API.STREAM.INFO.t", "", "\"messages\":1,");
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(very_many_partitions, 0, 3),
    RUN_LOOP(answers_that_nobody_reads, 0, 3),
    RUN_LOOP(offsets_of_a_partition_named_twice, 0, 3),
    RUN_LOOP(a_batch_too_large_to_be_opened, 0, 3),
    RUN_LOOP(every_version, 0, 3),
    RUN_LOOP(partitions_share_the_answer, 0, 3),
    RUN_LOOP(sessions, 0, 2),
    RUN_LOOP(one_partition_many_times, 0, 1),
    RUN_LOOP(ids_that_mean_nothing, 0, 2),
    RUN_LOOP(two_of_one_id, 0, 2),
};

RUNNER_MAIN("kafka/fetch", cases)
