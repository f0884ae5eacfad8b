/*
 * test_kafka_admin.c - requests about what this server does not have (ACLs, quotas, replicas,
 * credentials to alter) and about what partitions and the coordinator know: sizes, producers,
 * transactions. Every version of each.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_client.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 2, "
                           "group_delay: \"0s\" }\nhttp_port: -1\n";

static struct js_rig rig;
static struct kafka_client client;

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

static void make_topic(const char *name)
{
    struct kafka_metadata_request_topics t = {.name = str_of(name)};
    struct kafka_metadata_request q = {
        .topics = &t, .topics_n = 1, .allow_auto_topic_creation = true};
    const struct kafka_metadata_response *a = kafka_client_call(&client, KAFKA_METADATA, 4, &q);

    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->topics[0].error_code, KAFKA_NONE);
}

/* ---- what there is not ----------------------------------------------------------------------- */

TEST(acls)
{
    setup(i);
    for (int v = 0; v <= 3; v++) {
        struct kafka_create_acls_request_creations add[2] = {
            {.resource_type = 2, .resource_name = STR("t"), .principal = STR("User:a")},
            {.resource_type = 2, .resource_name = STR("u"), .principal = STR("User:a")}};
        struct kafka_delete_acls_request_filters gone = {.resource_type_filter = 2};
        const struct kafka_describe_acls_response *d =
            KAFKA_CALL(&client, describe_acls, DESCRIBE_ACLS, v, .resource_type_filter = 1);
        const struct kafka_create_acls_response *c =
            KAFKA_CALL(&client, create_acls, CREATE_ACLS, v, .creations = add, .creations_n = 2);
        const struct kafka_delete_acls_response *x =
            KAFKA_CALL(&client, delete_acls, DELETE_ACLS, v, .filters = &gone, .filters_n = 1);
        ck_assert_int_eq(d->error_code, KAFKA_SECURITY_DISABLED);
        ck_assert_int_eq(d->resources_n, 0);
        ck_assert(str_eq(d->error_message, STR("No Authorizer is configured.")));
        ck_assert_int_eq(c->results_n, 2);
        ck_assert_int_eq(c->results[1].error_code, KAFKA_SECURITY_DISABLED);
        ck_assert_int_eq(x->filter_results_n, 1);
        ck_assert_int_eq(x->filter_results[0].error_code, KAFKA_SECURITY_DISABLED);
    }
    teardown();
}

TEST(quotas)
{
    setup(i);
    for (int v = 0; v <= 1; v++) {
        struct kafka_client_quotas_entity user = {STR("user"), STR("a")};
        struct kafka_alter_client_quotas_request_ops op = {.key = STR("producer_byte_rate")};
        struct kafka_alter_client_quotas_request_entries e = {&user, 1, &op, 1};
        const struct kafka_describe_client_quotas_response *d =
            KAFKA_CALL(&client, describe_client_quotas, DESCRIBE_CLIENT_QUOTAS, v, .strict = true);
        const struct kafka_alter_client_quotas_response *a = KAFKA_CALL(
            &client, alter_client_quotas, ALTER_CLIENT_QUOTAS, v, .entries = &e, .entries_n = 1);
        ck_assert_int_eq(d->error_code, KAFKA_NONE);
        ck_assert_int_eq(d->entries_n, 0);
        ck_assert_int_eq(a->entries_n, 1);
        ck_assert_int_eq(a->entries[0].error_code, KAFKA_POLICY_VIOLATION);
        ck_assert(str_eq(a->entries[0].entity[0].entity_name, STR("a")));
    }
    teardown();
}

/* What is asked for is looked at, though there is none of it. */
TEST(quotas_of_what)
{
    struct kafka_describe_client_quotas_request_components user = {STR("user"), 0, STR("a")},
                                                           any = {STR("client-id"), 2, STR_NONE},
                                                           ip = {STR("ip"), 1, STR_NONE},
                                                           other = {STR("topic"), 2, STR_NONE},
                                                           none = {STR(""), 2, STR_NONE},
                                                           wrong = {STR("user"), 3, STR_NONE};
    const struct {
        struct kafka_describe_client_quotas_request_components of[2];
        int32_t n;
        int16_t error;
    } cases[] = {
        {{user, any}, 2, KAFKA_NONE},
        {{ip}, 1, KAFKA_NONE},
        {{user, ip}, 2, KAFKA_INVALID_REQUEST},
        {{user, user}, 2, KAFKA_INVALID_REQUEST},
        {{none}, 1, KAFKA_INVALID_REQUEST},
        {{wrong}, 1, KAFKA_INVALID_REQUEST},
        {{other}, 1, KAFKA_UNSUPPORTED_VERSION},
    };

    setup(i);
    for (size_t k = 0; k < sizeof(cases) / sizeof(*cases); k++)
        for (int v = 0; v <= 1; v++) {
            const struct kafka_describe_client_quotas_response *d = KAFKA_CALL(
                &client, describe_client_quotas, DESCRIBE_CLIENT_QUOTAS, v,
                .components = (void *) (uintptr_t) cases[k].of, .components_n = cases[k].n);
            ck_assert_int_eq(d->error_code, cases[k].error);
            ck_assert_int_eq(d->entries_n, cases[k].error == KAFKA_NONE ? 0 : -1);
        }
    teardown();
}

TEST(elections)
{
    int32_t parts[] = {0, 1, 2};
    struct kafka_elect_leaders_request_topic_partitions t = {STR("t"), parts, 3};

    setup(i);
    make_topic("t");
    for (int v = 0; v <= 2; v++) {
        const struct kafka_elect_leaders_response *a =
            KAFKA_CALL(&client, elect_leaders, ELECT_LEADERS, v, .topic_partitions = &t,
                       .topic_partitions_n = 1);
        ck_assert_int_eq(a->replica_election_results_n, 1);
        ck_assert_int_eq(a->replica_election_results[0].partition_result_n, 3);
        ck_assert_int_eq(a->replica_election_results[0].partition_result[1].error_code,
                         KAFKA_ELECTION_NOT_NEEDED);
        ck_assert_int_eq(a->replica_election_results[0].partition_result[2].error_code,
                         KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        a = KAFKA_CALL(&client, elect_leaders, ELECT_LEADERS, v, .topic_partitions_n = -1);
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
        ck_assert_int_eq(a->replica_election_results_n, 0);
    }
    teardown();
}

TEST(reassignments)
{
    int32_t here[] = {1}, there[] = {2};
    struct kafka_alter_partition_reassignments_request_partitions p[] = {
        {0, here, 1}, {0, there, 1}, {1, NULL, -1}, {7, here, 1}};
    struct kafka_alter_partition_reassignments_request_topics t = {STR("t"), p, 4};
    static const int16_t want[] = {KAFKA_NONE, KAFKA_INVALID_REPLICA_ASSIGNMENT,
                                   KAFKA_NO_REASSIGNMENT_IN_PROGRESS,
                                   KAFKA_UNKNOWN_TOPIC_OR_PARTITION};
    const struct kafka_alter_partition_reassignments_response *a;
    const struct kafka_list_partition_reassignments_response *l;

    setup(i);
    make_topic("t");
    for (int v = 0; v <= 1; v++) {
        a = KAFKA_CALL(&client, alter_partition_reassignments, ALTER_PARTITION_REASSIGNMENTS, v,
                       .topics = &t, .topics_n = 1, .allow_replication_factor_change = v == 0);
        ck_assert_int_eq(a->responses_n, 1);
        ck_assert_int_eq(a->allow_replication_factor_change, v == 0);
        ck_assert_int_eq(a->responses[0].partitions_n, 4);
        for (int k = 0; k < 4; k++)
            ck_assert_int_eq(a->responses[0].partitions[k].error_code, want[k]);
    }
    l = KAFKA_CALL(&client, list_partition_reassignments, LIST_PARTITION_REASSIGNMENTS, 0,
                   .topics_n = -1);
    ck_assert_int_eq(l->error_code, KAFKA_NONE);
    ck_assert_int_eq(l->topics_n, 0);
    teardown();
}

TEST(credentials)
{
    struct kafka_describe_user_scram_credentials_request_users who[] = {
        {STR("a")}, {STR("b")}, {STR("a")}};
    struct kafka_alter_user_scram_credentials_request_deletions gone = {STR("a"), 1};
    const struct kafka_describe_user_scram_credentials_response *d;
    const struct kafka_alter_user_scram_credentials_response *x;

    setup(i);
    d = KAFKA_CALL(&client, describe_user_scram_credentials, DESCRIBE_USER_SCRAM_CREDENTIALS, 0,
                   .users_n = -1);
    ck_assert_int_eq(d->error_code, KAFKA_NONE);
    ck_assert_int_eq(d->results_n, 0);
    d = KAFKA_CALL(&client, describe_user_scram_credentials, DESCRIBE_USER_SCRAM_CREDENTIALS, 0,
                   .users = who, .users_n = 3);
    ck_assert_int_eq(d->results_n, 2);
    ck_assert_int_eq(d->results[0].error_code, KAFKA_DUPLICATE_RESOURCE);
    ck_assert_int_eq(d->results[1].error_code, KAFKA_RESOURCE_NOT_FOUND);
    x = KAFKA_CALL(&client, alter_user_scram_credentials, ALTER_USER_SCRAM_CREDENTIALS, 0,
                   .deletions = &gone, .deletions_n = 1);
    ck_assert_int_eq(x->results_n, 1);
    ck_assert_int_eq(x->results[0].error_code, KAFKA_CLUSTER_AUTHORIZATION_FAILED);
    teardown();
}

/* ---- what partitions know -------------------------------------------------------------------- */

TEST(log_dirs)
{
    int32_t parts[] = {0, 5};
    struct kafka_describe_log_dirs_request_topics t = {STR("t"), parts, 2};

    setup(i);
    make_topic("t");
    js_fill(&rig, "t.0", 1, 5);
    for (int v = 0; v <= 4; v++) {
        const struct kafka_describe_log_dirs_response *a = KAFKA_CALL(
            &client, describe_log_dirs, DESCRIBE_LOG_DIRS, v, .topics = &t, .topics_n = 1);
        ck_assert_int_eq(a->error_code, KAFKA_NONE);
        ck_assert_int_eq(a->results_n, 1);
        ck_assert_int_eq(a->results[0].topics_n, 1);
        ck_assert_int_eq(a->results[0].topics[0].partitions_n, 1);
        ck_assert_int_gt(a->results[0].topics[0].partitions[0].partition_size, 5);
        a = KAFKA_CALL(&client, describe_log_dirs, DESCRIBE_LOG_DIRS, v, .topics_n = -1);
        ck_assert_int_eq(a->results[0].topics_n, 1);
        ck_assert_int_eq(a->results[0].topics[0].partitions_n, 2);
    }
    teardown();
}

static int64_t begin(const char *id, int16_t *epoch)
{
    int32_t zero = 0;
    struct kafka_add_partitions_to_txn_request_topics t = {STR("t"), &zero, 1};
    const struct kafka_init_producer_id_response *p;
    const struct kafka_add_partitions_to_txn_response *a;

    KAFKA_CALL(&client, find_coordinator, FIND_COORDINATOR, 2, .key = str_of(id), .key_type = 1);
    p = KAFKA_CALL(&client, init_producer_id, INIT_PRODUCER_ID, 2, .transactional_id = str_of(id),
                   .transaction_timeout_ms = 60000);
    ck_assert_int_eq(p->error_code, KAFKA_NONE);
    a = KAFKA_CALL(&client, add_partitions_to_txn, ADD_PARTITIONS_TO_TXN, 2,
                   .v3_and_below_transactional_id = str_of(id),
                   .v3_and_below_producer_id = p->producer_id,
                   .v3_and_below_producer_epoch = p->producer_epoch, .v3_and_below_topics = &t,
                   .v3_and_below_topics_n = 1);
    ck_assert_int_eq(
        a->results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code,
        KAFKA_NONE);
    *epoch = p->producer_epoch;
    return p->producer_id;
}

TEST(transactions)
{
    struct str ids[] = {STR("x"), STR("none"), STR("x")}, states[] = {STR("Ongoing"), STR("Odd")};
    const struct kafka_describe_transactions_response *d;
    const struct kafka_list_transactions_response *l;
    int64_t producer;
    int16_t epoch;

    setup(i);
    l = KAFKA_CALL(&client, list_transactions, LIST_TRANSACTIONS, 0, 0);
    ck_assert_int_eq(l->transaction_states_n, 0);
    make_topic("t");
    producer = begin("x", &epoch);
    d = KAFKA_CALL(&client, describe_transactions, DESCRIBE_TRANSACTIONS, 0, ids, 3);
    ck_assert_int_eq(d->transaction_states_n, 2);
    ck_assert(str_eq(d->transaction_states[0].transaction_state, STR("Ongoing")));
    ck_assert_int_eq(d->transaction_states[0].producer_id, producer);
    ck_assert_int_eq(d->transaction_states[0].topics_n, 1);
    ck_assert(str_eq(d->transaction_states[0].topics[0].topic, STR("t")));
    ck_assert_int_eq(d->transaction_states[0].topics[0].partitions[0], 0);
    ck_assert_int_eq(d->transaction_states[1].error_code, KAFKA_TRANSACTIONAL_ID_NOT_FOUND);
    for (int v = 0; v <= 1; v++) {
        l = KAFKA_CALL(&client, list_transactions, LIST_TRANSACTIONS, v, .state_filters = states,
                       .state_filters_n = 2, .duration_filter = -1);
        ck_assert_int_eq(l->transaction_states_n, 1);
        ck_assert_int_eq(l->transaction_states[0].producer_id, producer);
        ck_assert_int_eq(l->unknown_state_filters_n, 1);
        ck_assert(str_eq(l->unknown_state_filters[0], STR("Odd")));
        producer++;
        l = KAFKA_CALL(&client, list_transactions, LIST_TRANSACTIONS, v,
                       .producer_id_filters = &producer, .producer_id_filters_n = 1,
                       .duration_filter = -1);
        ck_assert_int_eq(l->transaction_states_n, 0);
        producer--;
    }
    l = KAFKA_CALL(&client, list_transactions, LIST_TRANSACTIONS, 1, .duration_filter = 3600000);
    ck_assert_int_eq(l->transaction_states_n, 0);
    teardown();
}

TEST(producers)
{
    int32_t parts[] = {0, 0, 9};
    struct kafka_describe_producers_request_topics t = {STR("t"), parts, 3};
    const struct kafka_describe_producers_response *a;

    setup(i);
    make_topic("t");
    a = KAFKA_CALL(&client, describe_producers, DESCRIBE_PRODUCERS, 0, .topics = &t, .topics_n = 1);
    ck_assert_int_eq(a->topics_n, 1);
    ck_assert_int_eq(a->topics[0].partitions_n, 3);
    ck_assert_int_eq(a->topics[0].partitions[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(a->topics[0].partitions[0].active_producers_n, 0);
    ck_assert_int_eq(a->topics[0].partitions[1].error_code, KAFKA_INVALID_REQUEST);
    ck_assert_int_eq(a->topics[0].partitions[2].error_code, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    teardown();
}

/* ---- monitoring ------------------------------------------------------------------------------ */

static char *http(const char *path)
{
    struct raw_client c;
    struct buf all = {0};
    char request[128], byte;

    raw_open(&c, rig.server.http_port);
    snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\n\r\n", path);
    raw_send(&c, request);
    while (read(c.fd, &byte, 1) == 1)
        buf_putc(&all, byte);
    raw_close(&c);
    buf_putc(&all, '\0');
    return all.p;
}

static void gets(const char *path, const char *want)
{
    char *got = http(path);

    ck_assert_msg(strstr(got, want) != NULL, "%s\nwanted %s", got, want);
    free(got);
}

TEST(monitored)
{
    struct kafka_offset_commit_request_partitions p = {.committed_offset = 2,
                                                       .committed_metadata = STR("")};
    struct kafka_offset_commit_request_topics t = {STR("t"), &p, 1};
    struct kafka_fetch_request_partitions fp = {.current_leader_epoch = -1,
                                                .partition_max_bytes = 1000};
    struct kafka_fetch_request_topics ft = {
        .topic = STR("t"), .partitions = &fp, .partitions_n = 1};

    setup(i);
    make_topic("t");
    KAFKA_CALL(&client, api_versions, API_VERSIONS, 3, STR("soft"), STR("1.2"));
    KAFKA_CALL(&client, find_coordinator, FIND_COORDINATOR, 2, .key = STR("g"));
    js_fill(&rig, "t.0", 1, 5);
    KAFKA_CALL(&client, offset_commit, OFFSET_COMMIT, 7, .group_id = STR("g"),
               .generation_id_or_member_epoch = -1, .group_instance_id = STR_NONE, .topics = &t,
               .topics_n = 1);
    KAFKA_CALL(&client, fetch, FETCH, 4, .min_bytes = 1, .max_bytes = 1000, .topics = &ft,
               .topics_n = 1);
    gets("/kafkaz", "\"software\": \"soft\"");
    gets("/kafkaz", "\"connections\": 1");
    gets("/kafkaz", "\"lag\": 3");
    gets("/kafkaz", "\"end_offset\": 5");
    gets("/kafkaz", "\"state\": \"Empty\"");
    gets("/kafkaz?acc=other", "\"topics\": []");
    gets("/metrics", "software=\"soft\",version=\"1.2\"} 1\n");
    gets("/metrics", "account=\"$G\",consumergroup=\"g\",topic=\"t\",partition=\"0\"} 3\n");
    gets("/metrics", "account=\"$G\",topic=\"t\",partition=\"1\"} 0\n");
    gets("/metrics", "kafka_consumergroup_lag_sum{");
    char *got = http("/kafkaz");
    ck_assert_ptr_null(strstr(got, "\"out_bytes\": 0,\n    \"topic\": \"t\""));
    free(got);
    teardown();
}

TEST(no_listener)
{
    js_rig_start_conf(&rig, i, "http_port: -1\n");
    gets("/kafkaz", "\"disabled\": true");
    js_rig_end(&rig);
}

static const struct runner_case cases[] = {
    RUN_LOOP(acls, 0, 1),         RUN_LOOP(quotas, 0, 1),        RUN_LOOP(quotas_of_what, 0, 1),
    RUN_LOOP(elections, 0, 1),    RUN_LOOP(reassignments, 0, 1), RUN_LOOP(credentials, 0, 1),
    RUN_LOOP(log_dirs, 0, 3),     RUN_LOOP(monitored, 0, 3),     RUN_LOOP(no_listener, 0, 1),
    RUN_LOOP(transactions, 0, 3), RUN_LOOP(producers, 0, 3),
};

RUNNER_MAIN("kafka/admin", cases)
