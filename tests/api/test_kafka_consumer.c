/*
 * test_kafka_consumer.c - groups of the new protocol over the wire: both versions of both requests,
 * commits by epoch, the two kinds of groups one after the other, what is refused, a restart.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <string.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 4, "
                           "group_delay: \"0s\", group_heartbeat: \"100ms\" }\n";

static struct js_rig rig;
static struct kafka_client client;

static void make_topic(const char *name)
{
    struct kafka_metadata_request_topics t = {.name = str_of(name)};
    const struct kafka_metadata_response *a = KAFKA_CALL(&client, metadata, METADATA, 4,
                                                         .topics = &t, .topics_n = 1,
                                                         .allow_auto_topic_creation = true);

    ck_assert_int_eq(a->topics[0].error_code, KAFKA_NONE);
}

static void setup(int i)
{
    js_rig_start_conf(&rig, i, conf);
    kafka_client_open(&client, rig.server.kafka_port);
    KAFKA_CALL(&client, find_coordinator, FIND_COORDINATOR, 2, .key = STR("g"));
    make_topic("t");
}

static void teardown(void)
{
    kafka_client_close(&client);
    js_rig_end(&rig);
}

typedef const struct kafka_consumer_group_heartbeat_response *beat_answer;

static beat_answer join(int version, const char *group, const char *id)
{
    struct str t = STR("t");

    return KAFKA_CALL(&client, consumer_group_heartbeat, CONSUMER_GROUP_HEARTBEAT, version,
                      .group_id = str_of(group), .member_id = str_of(id), .instance_id = STR_NONE,
                      .rack_id = STR_NONE, .server_assignor = STR_NONE,
                      .subscribed_topic_regex = STR_NONE, .rebalance_timeout_ms = 30000,
                      .subscribed_topic_names = &t, .subscribed_topic_names_n = 1);
}

static beat_answer alive(const char *group, struct str id, int32_t epoch)
{
    return KAFKA_CALL(&client, consumer_group_heartbeat, CONSUMER_GROUP_HEARTBEAT, 1,
                      .group_id = str_of(group), .member_id = id, .member_epoch = epoch,
                      .rebalance_timeout_ms = -1, .subscribed_topic_names_n = -1,
                      .topic_partitions_n = -1);
}

/* It owns the first n partitions of t. */
static beat_answer owns(const char *group, struct str id, int32_t epoch, struct kafka_uuid topic,
                        int32_t n)
{
    int32_t all[] = {0, 1, 2, 3};
    struct kafka_consumer_group_heartbeat_topic_partitions p = {topic, all + 4 - n, n};

    return KAFKA_CALL(&client, consumer_group_heartbeat, CONSUMER_GROUP_HEARTBEAT, 1,
                      .group_id = str_of(group), .member_id = id, .member_epoch = epoch,
                      .rebalance_timeout_ms = -1, .subscribed_topic_names_n = -1,
                      .topic_partitions = &p, .topic_partitions_n = 1);
}

/* ---- members --------------------------------------------------------------------------------- */

TEST(two_members)
{
    struct kafka_uuid topic;
    struct str a = STR("a");
    beat_answer x;

    setup(i);
    x = join(1, "g", "a");
    ck_assert_int_eq(x->error_code, KAFKA_NONE);
    ck_assert(str_eq(x->member_id, a));
    ck_assert_int_eq(x->member_epoch, 1);
    ck_assert_int_eq(x->heartbeat_interval_ms, 100);
    ck_assert_ptr_nonnull(x->assignment);
    ck_assert_int_eq(x->assignment->topic_partitions_n, 1);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions_n, 4);
    topic = x->assignment->topic_partitions[0].topic_id;
    x = alive("g", a, 1);
    ck_assert_int_eq(x->error_code, KAFKA_NONE);
    ck_assert_ptr_null(x->assignment);

    /* Version 0 makes the id. */
    x = join(0, "g", "");
    ck_assert_int_eq(x->error_code, KAFKA_NONE);
    ck_assert_int_eq(x->member_epoch, 2);
    ck_assert_uint_eq(x->member_id.n, 32);
    ck_assert_int_eq(x->assignment->topic_partitions_n, 0);
    struct str b = x->member_id;

    x = owns("g", a, 1, topic, 4);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions_n, 2);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions[0], 2);
    ck_assert_int_eq(x->member_epoch, 1);
    x = owns("g", a, 1, topic, 2);
    ck_assert_int_eq(x->member_epoch, 2);
    x = alive("g", b, 2);
    ck_assert_ptr_nonnull(x->assignment);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions_n, 2);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions[0], 0);
    x = alive("g", a, 1);
    ck_assert_int_eq(x->error_code, KAFKA_FENCED_MEMBER_EPOCH);
    x = alive("g", a, -1);
    ck_assert_int_eq(x->error_code, KAFKA_NONE);
    ck_assert_int_eq(x->member_epoch, -1);
    x = alive("g", b, 2);
    ck_assert_int_eq(x->member_epoch, 3);
    ck_assert_int_eq(x->assignment->topic_partitions[0].partitions_n, 4);
    teardown();
}

TEST(told_of)
{
    struct str names[] = {STR("g"), STR("none"), STR("g"), STR("")}, type = STR("consumer");
    struct str stable = STR("stable");

    setup(i);
    join(1, "g", "a");
    for (int v = 0; v <= 1; v++) {
        const struct kafka_consumer_group_describe_response *d =
            KAFKA_CALL(&client, consumer_group_describe, CONSUMER_GROUP_DESCRIBE, v,
                       .group_ids = names, .group_ids_n = 4);
        ck_assert_int_eq(d->groups_n, 3);
        ck_assert_int_eq(d->groups[0].error_code, KAFKA_NONE);
        ck_assert(str_eq(d->groups[0].group_state, STR("Stable")));
        ck_assert(str_eq(d->groups[0].assignor_name, STR("uniform")));
        ck_assert_int_eq(d->groups[0].group_epoch, 1);
        ck_assert_int_eq(d->groups[0].members_n, 1);
        const struct kafka_consumer_group_describe_response_members *m = d->groups[0].members;
        ck_assert(str_eq(m->member_id, STR("a")));
        ck_assert(str_eq(m->subscribed_topic_names[0], STR("t")));
        ck_assert(str_eq(m->assignment->topic_partitions[0].topic_name, STR("t")));
        ck_assert_int_eq(m->target_assignment->topic_partitions[0].partitions_n, 4);
        ck_assert_int_eq(m->member_type, v == 0 ? -1 : 1);
        ck_assert_int_eq(d->groups[1].error_code, KAFKA_GROUP_ID_NOT_FOUND);
        ck_assert_int_eq(d->groups[2].error_code, KAFKA_INVALID_GROUP_ID);
    }
    const struct kafka_list_groups_response *l =
        KAFKA_CALL(&client, list_groups, LIST_GROUPS, 5, .types_filter = &type, .types_filter_n = 1,
                   .states_filter = &stable, .states_filter_n = 1);
    ck_assert_int_eq(l->groups_n, 1);
    ck_assert(str_eq(l->groups[0].group_type, STR("consumer")));
    ck_assert(str_eq(l->groups[0].protocol_type, STR("consumer")));
    /* The classic request does not know it. */
    const struct kafka_describe_groups_response *old =
        KAFKA_CALL(&client, describe_groups, DESCRIBE_GROUPS, 4, .groups = names, .groups_n = 1);
    ck_assert(str_eq(old->groups[0].group_state, STR("Dead")));
    const struct kafka_delete_groups_response *x = KAFKA_CALL(
        &client, delete_groups, DELETE_GROUPS, 1, .groups_names = names, .groups_names_n = 1);
    ck_assert_int_eq(x->results[0].error_code, KAFKA_NON_EMPTY_GROUP);
    teardown();
}

/* ---- offsets --------------------------------------------------------------------------------- */

static int16_t commit(int version, struct str id, int32_t epoch)
{
    struct kafka_offset_commit_request_partitions p = {.committed_offset = 7,
                                                       .committed_metadata = STR("")};
    struct kafka_offset_commit_request_topics t = {STR("t"), &p, 1};
    const struct kafka_offset_commit_response *a = KAFKA_CALL(
        &client, offset_commit, OFFSET_COMMIT, version, .group_id = STR("g"),
        .generation_id_or_member_epoch = epoch, .member_id = id, .topics = &t, .topics_n = 1);

    return a->topics[0].partitions[0].error_code;
}

static int16_t fetch(struct str id, int32_t epoch, int64_t *offset)
{
    int32_t zero = 0;
    struct kafka_offset_fetch_request_groups_topics t = {STR("t"), &zero, 1};
    struct kafka_offset_fetch_request_groups g = {STR("g"), id, epoch, &t, 1};
    const struct kafka_offset_fetch_response *a = KAFKA_CALL(&client, offset_fetch, OFFSET_FETCH, 9,
                                                             .groups = &g, .groups_n = 1);

    *offset = a->groups[0].error_code == KAFKA_NONE
                  ? a->groups[0].topics[0].partitions[0].committed_offset
                  : -1;
    return a->groups[0].error_code;
}

TEST(offsets)
{
    struct str a = STR("a");
    int64_t offset;

    setup(i);
    ck_assert_int_eq(commit(9, a, 1), KAFKA_UNKNOWN_MEMBER_ID);
    join(1, "g", "a");
    ck_assert_int_eq(commit(9, a, 1), KAFKA_NONE);
    ck_assert_int_eq(commit(9, a, 2), KAFKA_STALE_MEMBER_EPOCH);
    ck_assert_int_eq(commit(8, a, 1), KAFKA_UNSUPPORTED_VERSION);
    ck_assert_int_eq(commit(9, STR("b"), 1), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(commit(9, STR(""), -1), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(fetch(a, 1, &offset), KAFKA_NONE);
    ck_assert_int_eq(offset, 7);
    ck_assert_int_eq(fetch(STR_NONE, -1, &offset), KAFKA_NONE);
    ck_assert_int_eq(offset, 7);
    ck_assert_int_eq(fetch(a, 3, &offset), KAFKA_STALE_MEMBER_EPOCH);
    ck_assert_int_eq(fetch(STR("b"), 1, &offset), KAFKA_UNKNOWN_MEMBER_ID);
    /* With the members gone anybody may. */
    alive("g", a, -1);
    ck_assert_int_eq(commit(9, STR(""), -1), KAFKA_NONE);
    teardown();
}

/* Members are not kept: who comes back after a restart is told so, and joins anew. */
TEST(a_restart)
{
    int64_t offset;

    setup(i);
    join(1, "g", "a");
    ck_assert_int_eq(commit(9, STR("a"), 1), KAFKA_NONE);
    kafka_client_close(&client);
    js_rig_crash(&rig);
    kafka_client_open(&client, rig.server.kafka_port);
    ck_assert_int_eq(alive("g", STR("a"), 1)->error_code, KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(commit(9, STR("a"), 1), KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(join(1, "g", "a")->member_epoch, 1);
    ck_assert_int_eq(fetch(STR("a"), 1, &offset), KAFKA_NONE);
    ck_assert_int_eq(offset, 7);
    teardown();
}

/* ---- the two kinds --------------------------------------------------------------------------- */

static int16_t join_classic(struct str id, struct str *out)
{
    struct kafka_join_group_request_protocols p = {STR("range"), STR("metadata")};
    const struct kafka_join_group_response *j =
        KAFKA_CALL(&client, join_group, JOIN_GROUP, 3, .group_id = STR("g"),
                   .session_timeout_ms = 30000, .rebalance_timeout_ms = 30000, .member_id = id,
                   .protocol_type = STR("consumer"), .protocols = &p, .protocols_n = 1);

    *out = j->member_id;
    return j->error_code;
}

TEST(one_kind_at_a_time)
{
    struct str id;
    beat_answer x;

    setup(i);
    ck_assert_int_eq(join_classic(STR(""), &id), KAFKA_NONE);
    x = join(1, "g", "a");
    ck_assert_int_eq(x->error_code, KAFKA_GROUP_ID_NOT_FOUND);
    KAFKA_CALL(&client, leave_group, LEAVE_GROUP, 1, .group_id = STR("g"), .member_id = id);
    x = join(1, "g", "a");
    ck_assert_int_eq(x->error_code, KAFKA_NONE);
    ck_assert_int_eq(join_classic(STR(""), &id), KAFKA_INCONSISTENT_GROUP_PROTOCOL);
    ck_assert_int_eq(KAFKA_CALL(&client, heartbeat, HEARTBEAT, 3, .group_id = STR("g"),
                                .member_id = STR("a"), .group_instance_id = STR_NONE)
                         ->error_code,
                     KAFKA_UNKNOWN_MEMBER_ID);
    ck_assert_int_eq(commit(9, STR("a"), 1), KAFKA_NONE);
    alive("g", STR("a"), -1);
    ck_assert_int_eq(join_classic(STR(""), &id), KAFKA_NONE);
    teardown();
}

/* ---- what is refused ------------------------------------------------------------------------- */

TEST(rejects)
{
    static char long_id[600];
    struct str t = STR("t"), empty = STR("");
    const struct {
        int16_t error;
        struct kafka_consumer_group_heartbeat_request q;
    } cases[] = {
        {KAFKA_INVALID_REQUEST, {.group_id = STR(""), .member_id = STR("a")}},
        {KAFKA_INVALID_GROUP_ID, {.group_id = str_from(long_id, 513), .member_id = STR("a")}},
        {KAFKA_INVALID_REQUEST, {.group_id = STR("g"), .member_id = STR("")}},
        {KAFKA_INVALID_REQUEST, {.group_id = STR("g"), .member_id = str_from(long_id, 600)}},
        {KAFKA_INVALID_REGULAR_EXPRESSION,
         {.group_id = STR("g"), .member_id = STR("a"), .subscribed_topic_regex = STR("(")}},
        {KAFKA_INVALID_TOPIC_EXCEPTION,
         {.group_id = STR("g"),
          .member_id = STR("a"),
          .subscribed_topic_names = &empty,
          .subscribed_topic_names_n = 1}},
        {KAFKA_UNSUPPORTED_ASSIGNOR,
         {.group_id = STR("g"),
          .member_id = STR("a"),
          .subscribed_topic_names = &t,
          .subscribed_topic_names_n = 1,
          .server_assignor = STR("sticky")}},
        {KAFKA_UNKNOWN_MEMBER_ID,
         {.group_id = STR("g"),
          .member_id = STR("a"),
          .member_epoch = 4,
          .subscribed_topic_names_n = -1}},
    };

    memset(long_id, 'x', sizeof(long_id));
    setup(i);
    for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++) {
        beat_answer a = kafka_client_call(&client, KAFKA_CONSUMER_GROUP_HEARTBEAT, 1, &cases[k].q);
        ck_assert_msg(a->error_code == cases[k].error, "%zu: %d", k, a->error_code);
    }
    ck_assert_int_eq(KAFKA_CALL(&client, list_groups, LIST_GROUPS, 5, 0)->groups_n, 0);
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(two_members, 0, 3),
    RUN_LOOP(told_of, 0, 2),
    RUN_LOOP(offsets, 0, 2),
    RUN_LOOP(a_restart, 0, 2),
    RUN_LOOP(one_kind_at_a_time, 0, 2),
    RUN_LOOP(rejects, 0, 1),
};

RUNNER_MAIN("kafka/consumer", cases)
