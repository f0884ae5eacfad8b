/*
 * test_kafka_cluster.c - what is told of the cluster, which is this node: its number, the quorum,
 * features, resources, directories; topics page by page; what a client may do. Every version of
 * each.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <limits.h>

static struct js_rig rig;
static struct kafka_client client;

static void setup(int i, const char *conf)
{
    js_rig_start_conf(&rig, i, conf);
    kafka_client_open(&client, rig.server.kafka_port);
}

static void setup_node_0(int i)
{
    setup(i, "kafka { listen: \"127.0.0.1:-1\", num_partitions: 3, group_delay: \"0s\", "
             "node_id: 0 }\n");
}

static void teardown(void)
{
    kafka_client_close(&client);
    js_rig_end(&rig);
}

static const struct kafka_metadata_response *ask_topic(const char *name, int version)
{
    static struct kafka_metadata_request_topics t;

    t.name = str_of(name);
    return KAFKA_CALL(&client, metadata, METADATA, version, .topics = &t, .topics_n = 1,
                      .allow_auto_topic_creation = true,
                      .include_topic_authorized_operations = true,
                      .include_cluster_authorized_operations = true);
}

#define ALL_OF_TOPIC 0xdf8    /* read, write, create, delete, alter, describe, two of configs */
#define ALL_OF_CLUSTER 0x1fa0 /* create, alter, describe, action, two of configs, idempotent */
#define ALL_OF_GROUP 0x148    /* read, delete, describe */

/* ---- the node -------------------------------------------------------------------------------- */

TEST(its_number)
{
    const struct kafka_metadata_response *m;
    const struct kafka_describe_cluster_response *d;
    struct kafka_find_coordinator_request q = {.key = STR("g")};

    setup_node_0(i);
    for (int v = 4; v <= 13; v++) {
        m = ask_topic("t", v);
        ck_assert_int_eq(m->brokers[0].node_id, 0);
        ck_assert_int_eq(m->controller_id, 0);
        ck_assert_int_eq(m->topics[0].partitions[2].leader_id, 0);
        ck_assert_int_eq(m->topics[0].partitions[2].replica_nodes[0], 0);
        ck_assert_int_eq(m->error_code, KAFKA_NONE);
        ck_assert_int_eq(m->topics[0].topic_authorized_operations, v < 8 ? INT_MIN : ALL_OF_TOPIC);
        ck_assert_int_eq(m->cluster_authorized_operations,
                         v < 8 || v > 10 ? INT_MIN : ALL_OF_CLUSTER);
    }
    for (int v = 0; v <= 2; v++) {
        d = KAFKA_CALL(&client, describe_cluster, DESCRIBE_CLUSTER, v, .endpoint_type = 1,
                       .include_cluster_authorized_operations = v > 0);
        ck_assert_int_eq(d->controller_id, 0);
        ck_assert_int_eq(d->brokers[0].broker_id, 0);
        ck_assert(!d->brokers[0].is_fenced);
        ck_assert_int_eq(d->cluster_authorized_operations, v == 0 ? INT_MIN : ALL_OF_CLUSTER);
    }
    const struct kafka_find_coordinator_response *f =
        kafka_client_call(&client, KAFKA_FIND_COORDINATOR, 2, &q);
    ck_assert_int_eq(f->node_id, 0);
    teardown();
}

TEST(described_by_its_number)
{
    struct str node = STR("node.id");
    struct kafka_describe_configs_request_resources asked[] = {{4, STR("0"), &node, 1},
                                                               {4, STR("1"), &node, 1}};
    const struct kafka_describe_configs_response *a;

    setup_node_0(i);
    a = KAFKA_CALL(&client, describe_configs, DESCRIBE_CONFIGS, 4, .resources = asked,
                   .resources_n = 2);
    ck_assert_int_eq(a->results[0].error_code, KAFKA_NONE);
    ck_assert(str_eq(a->results[0].configs[0].value, STR("0")));
    ck_assert_int_eq(a->results[1].error_code, KAFKA_INVALID_REQUEST);
    teardown();
}

/* ---- the quorum ------------------------------------------------------------------------------ */

TEST(quorum)
{
    struct kafka_describe_quorum_request_partitions parts[] = {{0}, {1}};
    struct kafka_describe_quorum_request_topics t[] = {{STR("__cluster_metadata"), parts, 2},
                                                       {STR("t"), parts, 1}};

    setup_node_0(i);
    for (int v = 0; v <= 2; v++) {
        const struct kafka_describe_quorum_response *a =
            KAFKA_CALL(&client, describe_quorum, DESCRIBE_QUORUM, v, .topics = t, .topics_n = 2);
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
        ck_assert_int_eq(a->topics_n, 2);
        ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->topics[0].partitions[0].leader_id, 0);
        ck_assert_int_eq(a->topics[0].partitions[0].current_voters_n, 1);
        ck_assert_int_eq(a->topics[0].partitions[0].current_voters->replica_id, 0);
        ck_assert_int_eq(a->topics[0].partitions[0].observers_n, 0);
        ck_assert_int_eq(a->topics[0].partitions[1].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        ck_assert_int_eq(a->topics[1].partitions[0].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        ck_assert_int_eq(a->nodes_n, v == 2);
        if (v == 2)
            ck_assert_int_eq(a->nodes[0].listeners[0].port, rig.server.kafka_port);
    }
    teardown();
}

TEST(features)
{
    struct kafka_update_features_request_feature_updates f = {.feature = STR("metadata.version"),
                                                              .max_version_level = 7};
    struct kafka_update_features_request_feature_updates same = {
        .feature = STR("transaction.version"), .max_version_level = 2, .upgrade_type = 1};
    struct kafka_update_features_request_feature_updates both[] = {same, f};

    setup_node_0(i);
    for (int v = 0; v <= 2; v++) {
        const struct kafka_update_features_response *done =
            KAFKA_CALL(&client, update_features, UPDATE_FEATURES, v, .feature_updates = &same,
                       .feature_updates_n = 1);
        ck_assert_int_eq(done->error_code, KAFKA_NONE);
        if (v < 2)
            ck_assert_int_eq(done->results[0].error_code, KAFKA_NONE);
        done = KAFKA_CALL(&client, update_features, UPDATE_FEATURES, v, .feature_updates = both,
                          .feature_updates_n = 2);
        ck_assert_int_eq(done->error_code, KAFKA_INVALID_UPDATE_VERSION);
        const struct kafka_update_features_response *a =
            KAFKA_CALL(&client, update_features, UPDATE_FEATURES, v, .feature_updates = &f,
                       .feature_updates_n = 1);
        ck_assert_int_eq(a->error_code, KAFKA_INVALID_UPDATE_VERSION);
        ck_assert_int_eq(a->results_n, v < 2);
        if (v < 2)
            ck_assert_int_eq(a->results[0].error_code, KAFKA_INVALID_UPDATE_VERSION);
        a = KAFKA_CALL(&client, update_features, UPDATE_FEATURES, v, .timeout_ms = 1);
        ck_assert_int_eq(a->error_code, KAFKA_INVALID_REQUEST);
    }
    teardown();
}

TEST(resources)
{
    int8_t topics = 2, several[] = {4, 8, 16, 32}, wrong[] = {2, 3};
    const struct kafka_list_config_resources_response *a;

    setup_node_0(i);
    ask_topic("t", 4);
    a = KAFKA_CALL(&client, list_config_resources, LIST_CONFIG_RESOURCES, 0, NULL, 0);
    ck_assert_int_eq(a->error_code, KAFKA_NONE);
    ck_assert_int_eq(a->config_resources_n, 0);
    a = KAFKA_CALL(&client, list_config_resources, LIST_CONFIG_RESOURCES, 1, NULL, 0);
    ck_assert_int_eq(a->config_resources_n, 2);
    ck_assert_int_eq(a->config_resources[0].resource_type, 2);
    ck_assert(str_eq(a->config_resources[0].resource_name, STR("t")));
    ck_assert_int_eq(a->config_resources[1].resource_type, 4);
    ck_assert(str_eq(a->config_resources[1].resource_name, STR("0")));
    a = KAFKA_CALL(&client, list_config_resources, LIST_CONFIG_RESOURCES, 1, &topics, 1);
    ck_assert_int_eq(a->config_resources_n, 1);
    a = KAFKA_CALL(&client, list_config_resources, LIST_CONFIG_RESOURCES, 1, several, 4);
    ck_assert_int_eq(a->config_resources_n, 1);
    ck_assert_int_eq(a->config_resources[0].resource_type, 4);
    a = KAFKA_CALL(&client, list_config_resources, LIST_CONFIG_RESOURCES, 1, wrong, 2);
    ck_assert_int_eq(a->error_code, KAFKA_UNSUPPORTED_VERSION);
    teardown();
}

TEST(directories)
{
    int32_t parts[] = {0, 7};
    struct kafka_alter_replica_log_dirs_request_topics t = {STR("t"), parts, 2};
    struct kafka_alter_replica_log_dirs_request_dirs dirs[] = {{STR("jetstream"), &t, 1},
                                                               {STR("/elsewhere"), &t, 1}};

    setup_node_0(i);
    ask_topic("t", 4);
    for (int v = 0; v <= 2; v++) {
        const struct kafka_alter_replica_log_dirs_response *a = KAFKA_CALL(
            &client, alter_replica_log_dirs, ALTER_REPLICA_LOG_DIRS, v, .dirs = dirs, .dirs_n = 2);
        ck_assert_int_eq(a->results_n, 2);
        ck_assert_int_eq(a->results[0].partitions[0].error_code, KAFKA_NONE);
        ck_assert_int_eq(a->results[0].partitions[1].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        ck_assert_int_eq(a->results[1].partitions[0].error_code, KAFKA_LOG_DIR_NOT_FOUND);
    }
    teardown();
}

/* ---- page by page ---------------------------------------------------------------------------- */

static const struct kafka_describe_topic_partitions_response *page(
    struct kafka_describe_topic_partitions_request_topics *t, int32_t n, int32_t limit,
    const char *from, int32_t index)
{
    struct kafka_describe_topic_partitions_cursor c = {
        .topic_name = from != NULL ? str_of(from) : STR_NONE, .partition_index = index};

    return KAFKA_CALL(&client, describe_topic_partitions, DESCRIBE_TOPIC_PARTITIONS, 0, .topics = t,
                      .topics_n = n, .response_partition_limit = limit,
                      .cursor = from != NULL ? &c : NULL);
}

TEST(pages)
{
    struct kafka_describe_topic_partitions_request_topics t[] = {
        {STR("b")}, {STR("no")}, {STR("a")}, {STR("b")}, {STR("not/a/name")}};
    const struct kafka_describe_topic_partitions_response *a;

    setup_node_0(i);
    ask_topic("a", 4);
    ask_topic("b", 4);
    a = page(NULL, 0, 2000, NULL, 0);
    ck_assert_int_eq(a->topics_n, 2);
    ck_assert_ptr_null(a->next_cursor);
    ck_assert(str_eq(a->topics[1].name, STR("b")));
    ck_assert_int_eq(a->topics[1].partitions_n, 3);
    ck_assert_int_eq(a->topics[1].partitions[2].partition_index, 2);
    ck_assert_int_eq(a->topics[1].partitions[2].leader_id, 0);
    ck_assert_int_eq(a->topics[1].partitions[2].isr_nodes_n, 1);
    ck_assert_int_eq(a->topics[1].topic_authorized_operations, ALL_OF_TOPIC);
    /* Four of six: all of a, one of b. */
    a = page(t, 5, 4, NULL, 0);
    ck_assert_int_eq(a->topics_n, 2);
    ck_assert_int_eq(a->topics[1].partitions_n, 1);
    ck_assert(str_eq(a->next_cursor->topic_name, STR("b")));
    ck_assert_int_eq(a->next_cursor->partition_index, 1);
    a = page(t, 5, 4, "b", 1);
    ck_assert_int_eq(a->topics_n, 3);
    ck_assert_int_eq(a->topics[0].partitions_n, 2);
    ck_assert_int_eq(a->topics[0].partitions[0].partition_index, 1);
    ck_assert_int_eq(a->topics[1].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(a->topics[2].error_code, KAFKA_INVALID_TOPIC_EXCEPTION);
    ck_assert_ptr_null(a->next_cursor);
    /* The end of a topic is the end of the page. */
    a = page(t, 5, 3, NULL, 0);
    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->next_cursor->partition_index, 0);
    /* Behind the last; of a topic that is gone; in front of the first; no room at all. */
    a = page(t, 3, 4, "b", 3);
    ck_assert_int_eq(a->topics_n, 2);
    ck_assert_int_eq(a->topics[0].partitions_n, 0);
    a = page(t, 3, 10, "no", 1);
    ck_assert_int_eq(a->topics_n, 0);
    a = page(t, 1, 0, NULL, 0);
    ck_assert_int_eq(a->topics[0].partitions_n, 1);
    a = page(t, 1, 10, "b", -1);
    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->topics[0].error_code, KAFKA_INVALID_REQUEST);
    teardown();
}

/* ---- other new versions ---------------------------------------------------------------------- */

TEST(groups)
{
    struct str name = STR("g");
    const struct kafka_describe_groups_response *a;

    setup_node_0(i);
    for (int v = 0; v <= 6; v++)
        for (int round = 0; round < 2; round++) {
            a = KAFKA_CALL(&client, describe_groups, DESCRIBE_GROUPS, v, .groups = &name,
                           .groups_n = 1, .include_authorized_operations = v >= 3);
            ck_assert_int_eq(a->groups[0].error_code, v < 6 ? 0 : KAFKA_GROUP_ID_NOT_FOUND);
            ck_assert(str_eq(a->groups[0].group_state, STR("Dead")));
            ck_assert_int_eq(a->groups[0].authorized_operations, v < 3 ? INT_MIN : ALL_OF_GROUP);
            /* With a coordinator as without. */
            KAFKA_CALL(&client, find_coordinator, FIND_COORDINATOR, 2, .key = name);
        }
    teardown();
}

static int64_t offset_of(int version, int64_t time, int16_t error)
{
    struct kafka_list_offsets_request_partitions part = {.timestamp = time,
                                                         .current_leader_epoch = -1};
    struct kafka_list_offsets_request_topics t = {STR("t"), &part, 1};
    const struct kafka_list_offsets_response *a = KAFKA_CALL(&client, list_offsets, LIST_OFFSETS,
                                                             version, .replica_id = -1,
                                                             .topics = &t, .topics_n = 1);

    ck_assert_int_eq(a->topics[0].partitions[0].error_code, error);
    return a->topics[0].partitions[0].offset;
}

TEST(tiers)
{
    setup_node_0(i);
    ask_topic("t", 4);
    js_fill(&rig, "t.0", 1, 5);
    js_ask(&rig, "$JS.API.STREAM.PURGE.t", "{\"seq\":3}", "\"purged\":2");
    for (int v = 8; v <= 10; v++) {
        ck_assert_int_eq(offset_of(v, -1, KAFKA_NONE), 5);
        ck_assert_int_eq(offset_of(v, -2, KAFKA_NONE), 2);
        ck_assert_int_eq(offset_of(v, -4, KAFKA_NONE), 2);
        ck_assert_int_eq(offset_of(v, -5, KAFKA_NONE), -1);
        ck_assert_int_eq(offset_of(v, -6, KAFKA_INVALID_REQUEST), -1);
    }
    teardown();
}

/* ---- who may not do everything --------------------------------------------------------------- */

TEST(less_than_everything)
{
    struct str group = STR("g");

    setup(i, "kafka { listen: \"127.0.0.1:-1\" }\nno_auth_user: u\nauthorization { users: [ {user: "
             "u, password: p, permissions: { publish: [\"t\", \"$JS.API.INFO\", "
             "\"$JS.API.STREAM.CREATE.t\"], subscribe: [\"_INBOX.>\", \"in.>\"] } } ] }\n");
    const struct kafka_metadata_response *m = ask_topic("t", 9);
    ck_assert_int_eq(m->topics[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(m->topics[0].topic_authorized_operations, 0x530);
    ck_assert_int_eq(m->cluster_authorized_operations, 0x1500);
    const struct kafka_describe_groups_response *a =
        KAFKA_CALL(&client, describe_groups, DESCRIBE_GROUPS, 5, .groups = &group, .groups_n = 1,
                   .include_authorized_operations = true);
    ck_assert_int_eq(a->groups[0].error_code, KAFKA_GROUP_AUTHORIZATION_FAILED);
    ck_assert_int_eq(a->groups[0].authorized_operations, INT_MIN);
    const struct kafka_describe_topic_partitions_response *d = page(NULL, 0, 10, NULL, 0);
    ck_assert_int_eq(d->topics_n, 1);
    ck_assert_int_eq(d->topics[0].topic_authorized_operations, 0x530);
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(its_number, 0, 1), RUN_LOOP(described_by_its_number, 0, 1),
    RUN_LOOP(quorum, 0, 1),     RUN_LOOP(features, 0, 1),
    RUN_LOOP(resources, 0, 1),  RUN_LOOP(directories, 0, 1),
    RUN_LOOP(pages, 0, 3),      RUN_LOOP(groups, 0, 3),
    RUN_LOOP(tiers, 0, 3),      RUN_LOOP(less_than_everything, 0, 1),
};

RUNNER_MAIN("api/kafka_cluster", cases)
