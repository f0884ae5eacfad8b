/*
 * test_kafka_limits.c - what a Kafka coordinator refuses when its groups hold as much as they may:
 * with a small limit, in a simulated server.
 */
#include "lib/wire/kafka_bytes.h"
#include "lib/wire/kafka_codec.h"
#include "server/kafka/kafka_error.h"
#include "tests/lib/runner.h"
#include "tests/sim/server_stage.h"

#include <string.h>

#define HELD_MOST 1000u

static const char metadata[4096];

/* The answer, in the arena. */
static const void *ask(struct stage *s, struct kafka_arena *arena, int key, int version,
                       const void *body)
{
    const struct kafka_api *api = kafka_api_of(key);
    struct kafka_header h = {.key = (int16_t) key, .version = (int16_t) version};
    struct buf *out = &s->far.out, header = {0};
    const void *answer;
    struct str in;
    size_t at = out->n;

    ck_assert(stage_can_say(s));
    ck_assert(!kafka_is_flexible(api, version));
    buf_clear(&s->far.in);
    kafka_append_u32(out, 0);
    kafka_append_u16(out, (uint16_t) key);
    kafka_append_u16(out, (uint16_t) version);
    kafka_append_u32(out, 0);
    kafka_append_u16(out, UINT16_MAX); /* no name */
    kafka_encode(api->request(), version, false, body, out, NULL);
    kafka_put_u32(out->p + at, (uint32_t) (out->n - at - 4));
    stage_say(s);
    kafka_put_response_header(&header, &h);
    in = kafka_arena_str(arena, str_skip(buf_str(&s->far.in), 4 + header.n));
    answer = kafka_decode(api->response(), version, false, &in, arena);
    ck_assert_ptr_nonnull(answer);
    ck_assert_uint_eq(in.n, 0);
    buf_free(&header);
    return answer;
}

static int16_t commit(struct stage *s, const char *group, size_t bytes)
{
    struct kafka_arena arena = {0};
    struct kafka_offset_commit_request_partitions part = {
        .committed_metadata = str_from(metadata, bytes)};
    struct kafka_offset_commit_request_topics t = {STR("t"), &part, 1};
    const struct kafka_offset_commit_response *a =
        ask(s, &arena, KAFKA_OFFSET_COMMIT, 6,
            &(struct kafka_offset_commit_request){.group_id = str_of(group),
                                                  .generation_id_or_member_epoch = -1,
                                                  .topics = &t,
                                                  .topics_n = 1});
    int16_t error = a->topics[0].partitions[0].error_code;

    kafka_arena_free(&arena);
    return error;
}

static int16_t join(struct stage *s, const char *group, size_t bytes)
{
    struct kafka_arena arena = {0};
    struct kafka_join_group_request_protocols p = {STR("range"), str_from(metadata, bytes)};
    const struct kafka_join_group_response *a =
        ask(s, &arena, KAFKA_JOIN_GROUP, 2,
            &(struct kafka_join_group_request){.group_id = str_of(group),
                                               .session_timeout_ms = 10000,
                                               .rebalance_timeout_ms = 10000,
                                               .member_id = STR(""),
                                               .protocol_type = STR("consumer"),
                                               .protocols = &p,
                                               .protocols_n = 1});
    int16_t error = a->error_code;

    kafka_arena_free(&arena);
    return error;
}

struct producer {
    int64_t id;
    int16_t epoch;
};

static struct producer begin(struct stage *s, const char *group)
{
    struct kafka_arena arena = {0};
    const struct kafka_init_producer_id_response *i =
        ask(s, &arena, KAFKA_INIT_PRODUCER_ID, 1,
            &(struct kafka_init_producer_id_request){.transactional_id = STR("x"),
                                                     .transaction_timeout_ms = 60000});
    struct producer p = {i->producer_id, i->producer_epoch};
    const struct kafka_add_offsets_to_txn_response *a =
        ask(s, &arena, KAFKA_ADD_OFFSETS_TO_TXN, 1,
            &(struct kafka_add_offsets_to_txn_request){.transactional_id = STR("x"),
                                                       .producer_id = p.id,
                                                       .producer_epoch = p.epoch,
                                                       .group_id = str_of(group)});

    ck_assert_int_eq(i->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    kafka_arena_free(&arena);
    return p;
}

static int16_t commit_with(struct stage *s, struct producer p, const char *group, size_t bytes)
{
    struct kafka_arena arena = {0};
    struct kafka_txn_offset_commit_request_partitions part = {
        .committed_metadata = str_from(metadata, bytes)};
    struct kafka_txn_offset_commit_request_topics t = {STR("t"), &part, 1};
    const struct kafka_txn_offset_commit_response *a =
        ask(s, &arena, KAFKA_TXN_OFFSET_COMMIT, 2,
            &(struct kafka_txn_offset_commit_request){.transactional_id = STR("x"),
                                                      .group_id = str_of(group),
                                                      .producer_id = p.id,
                                                      .producer_epoch = p.epoch,
                                                      .topics = &t,
                                                      .topics_n = 1});
    int16_t error = a->topics[0].partitions[0].error_code;

    kafka_arena_free(&arena);
    return error;
}

static void start(struct stage *s)
{
    struct kafka_arena arena = {0};
    struct kafka_metadata_request_topics t = {.name = STR("t")};
    const struct kafka_find_coordinator_response *c;

    memset(s, 0, sizeof(*s));
    s->limits.groups_held_most = HELD_MOST;
    stage_open(s, STAGE_DOORS);
    stage_connect(s, STAGE_KAFKA);
    stage_settle(s);
    ask(s, &arena, KAFKA_METADATA, 4,
        &(struct kafka_metadata_request){
            .topics = &t, .topics_n = 1, .allow_auto_topic_creation = true});
    c = ask(s, &arena, KAFKA_FIND_COORDINATOR, 1,
            &(struct kafka_find_coordinator_request){.key = STR("g")});
    ck_assert_int_eq(c->error_code, KAFKA_NONE);
    kafka_arena_free(&arena);
}

/* What is refused can be committed without metadata; what takes the place of as much is taken. */
TEST(offsets_of_all_groups)
{
    struct stage s;

    start(&s);
    ck_assert_int_eq(commit(&s, "g", 600), KAFKA_NONE);
    ck_assert_int_eq(commit(&s, "h", 600), KAFKA_OFFSET_METADATA_TOO_LARGE);
    ck_assert_int_eq(commit(&s, "h", 0), KAFKA_NONE);
    ck_assert_int_eq(commit(&s, "h", 400), KAFKA_NONE);
    ck_assert_int_eq(commit(&s, "h", 401), KAFKA_OFFSET_METADATA_TOO_LARGE);
    ck_assert_int_eq(commit(&s, "g", 600), KAFKA_NONE);
    ck_assert_int_eq(commit(&s, "g", 500), KAFKA_NONE);
    ck_assert_int_eq(commit(&s, "h", 500), KAFKA_NONE);
    stage_close(&s);
}

TEST(members_of_all_groups)
{
    struct stage s;

    start(&s);
    ck_assert_int_eq(commit(&s, "g", 1000), KAFKA_NONE);
    ck_assert_int_eq(join(&s, "m", HELD_MOST), KAFKA_GROUP_MAX_SIZE_REACHED);
    ck_assert_int_eq(join(&s, "m", 600), KAFKA_NONE);
    ck_assert_int_eq(join(&s, "n", 600), KAFKA_GROUP_MAX_SIZE_REACHED);
    ck_assert_int_eq(join(&s, "n", 200), KAFKA_NONE);
    stage_close(&s);
}

TEST(offsets_of_transactions)
{
    struct stage s;
    struct producer p;

    start(&s);
    ck_assert_int_eq(commit(&s, "g", 600), KAFKA_NONE);
    p = begin(&s, "h");
    ck_assert_int_eq(commit_with(&s, p, "h", 600), KAFKA_OFFSET_METADATA_TOO_LARGE);
    ck_assert_int_eq(commit_with(&s, p, "h", 300), KAFKA_NONE);
    ck_assert_int_eq(commit_with(&s, p, "g", 600), KAFKA_NONE);
    stage_close(&s);
}

static const struct runner_case cases[] = {
    RUN(offsets_of_all_groups),
    RUN(members_of_all_groups),
    RUN(offsets_of_transactions),
};

RUNNER_MAIN("sim/kafka_limits", cases)
