/*
 * kafka_api.c - the requests that are served: a table of handlers, and who asks for it.
 *
 * What is not in the table is not offered. ApiVersions tells of the table, and of one feature:
 * clients that know transaction.version 2 do not add partitions before they write, and end with
 * another epoch. Which way a client goes is seen by the versions of its requests.
 */
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/kafka_int.h"

#include <stdio.h>

struct handler {
    int16_t key, first, last; /* versions that are served */
    void (*run)(struct kafka_request *r);
};

static const struct handler handlers[] = {
    {KAFKA_PRODUCE, 0, 13, kafka_run_produce},
    {KAFKA_FETCH, 0, 17, kafka_run_fetch},
    {KAFKA_LIST_OFFSETS, 0, 10, kafka_run_list_offsets},
    {KAFKA_METADATA, 0, 13, kafka_run_metadata},
    {KAFKA_OFFSET_COMMIT, 0, 9, kafka_run_offset_commit},
    {KAFKA_OFFSET_FETCH, 0, 9, kafka_run_offset_fetch},
    {KAFKA_FIND_COORDINATOR, 0, 6, kafka_run_find_coordinator},
    {KAFKA_JOIN_GROUP, 0, 9, kafka_run_join_group},
    {KAFKA_HEARTBEAT, 0, 4, kafka_run_heartbeat},
    {KAFKA_LEAVE_GROUP, 0, 5, kafka_run_leave_group},
    {KAFKA_SYNC_GROUP, 0, 5, kafka_run_sync_group},
    {KAFKA_DESCRIBE_GROUPS, 0, 6, kafka_run_describe_groups},
    {KAFKA_LIST_GROUPS, 0, 5, kafka_run_list_groups},
    {KAFKA_SASL_HANDSHAKE, 0, 1, kafka_run_sasl_handshake},
    {KAFKA_API_VERSIONS, 0, 4, kafka_run_api_versions},
    {KAFKA_CREATE_TOPICS, 0, 7, kafka_run_create_topics},
    {KAFKA_DELETE_TOPICS, 0, 6, kafka_run_delete_topics},
    {KAFKA_DELETE_RECORDS, 0, 2, kafka_run_delete_records},
    {KAFKA_ADD_PARTITIONS_TO_TXN, 0, 3, kafka_run_add_partitions_to_txn},
    {KAFKA_ADD_OFFSETS_TO_TXN, 0, 4, kafka_run_add_offsets_to_txn},
    {KAFKA_END_TXN, 0, 5, kafka_run_end_txn},
    {KAFKA_WRITE_TXN_MARKERS, 0, 1, kafka_run_write_txn_markers},
    {KAFKA_TXN_OFFSET_COMMIT, 0, 5, kafka_run_txn_offset_commit},
    {KAFKA_DESCRIBE_ACLS, 0, 3, kafka_run_describe_acls},
    {KAFKA_CREATE_ACLS, 0, 3, kafka_run_create_acls},
    {KAFKA_DELETE_ACLS, 0, 3, kafka_run_delete_acls},
    {KAFKA_DESCRIBE_CONFIGS, 0, 4, kafka_run_describe_configs},
    {KAFKA_ALTER_CONFIGS, 0, 2, kafka_run_alter_configs},
    {KAFKA_ALTER_REPLICA_LOG_DIRS, 0, 2, kafka_run_alter_replica_log_dirs},
    {KAFKA_DESCRIBE_LOG_DIRS, 0, 4, kafka_run_describe_log_dirs},
    {KAFKA_SASL_AUTHENTICATE, 0, 2, kafka_run_sasl_authenticate},
    {KAFKA_CREATE_PARTITIONS, 0, 3, kafka_run_create_partitions},
    {KAFKA_DELETE_GROUPS, 0, 2, kafka_run_delete_groups},
    {KAFKA_ELECT_LEADERS, 0, 2, kafka_run_elect_leaders},
    {KAFKA_INCREMENTAL_ALTER_CONFIGS, 0, 1, kafka_run_incremental_alter_configs},
    {KAFKA_ALTER_PARTITION_REASSIGNMENTS, 0, 1, kafka_run_alter_partition_reassignments},
    {KAFKA_LIST_PARTITION_REASSIGNMENTS, 0, 0, kafka_run_list_partition_reassignments},
    {KAFKA_INIT_PRODUCER_ID, 0, 5, kafka_run_init_producer_id},
    {KAFKA_OFFSET_FOR_LEADER_EPOCH, 2, 4, kafka_run_offset_for_leader_epoch},
    {KAFKA_OFFSET_DELETE, 0, 0, kafka_run_offset_delete},
    {KAFKA_DESCRIBE_CLIENT_QUOTAS, 0, 1, kafka_run_describe_client_quotas},
    {KAFKA_ALTER_CLIENT_QUOTAS, 0, 1, kafka_run_alter_client_quotas},
    {KAFKA_DESCRIBE_USER_SCRAM_CREDENTIALS, 0, 0, kafka_run_describe_user_scram_credentials},
    {KAFKA_ALTER_USER_SCRAM_CREDENTIALS, 0, 0, kafka_run_alter_user_scram_credentials},
    {KAFKA_DESCRIBE_QUORUM, 0, 2, kafka_run_describe_quorum},
    {KAFKA_UPDATE_FEATURES, 0, 2, kafka_run_update_features},
    {KAFKA_DESCRIBE_CLUSTER, 0, 2, kafka_run_describe_cluster},
    {KAFKA_DESCRIBE_PRODUCERS, 0, 0, kafka_run_describe_producers},
    {KAFKA_DESCRIBE_TRANSACTIONS, 0, 0, kafka_run_describe_transactions},
    {KAFKA_LIST_TRANSACTIONS, 0, 1, kafka_run_list_transactions},
    {KAFKA_CONSUMER_GROUP_HEARTBEAT, 0, 1, kafka_run_consumer_group_heartbeat},
    {KAFKA_CONSUMER_GROUP_DESCRIBE, 0, 1, kafka_run_consumer_group_describe},
    {KAFKA_LIST_CONFIG_RESOURCES, 0, 1, kafka_run_list_config_resources},
    {KAFKA_DESCRIBE_TOPIC_PARTITIONS, 0, 0, kafka_run_describe_topic_partitions},
};

static const struct handler *find(int key)
{
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++)
        if (handlers[i].key == key)
            return &handlers[i];
    return NULL;
}

/* ---- ApiVersions ----------------------------------------------------------------------------- */

static void put_versions(struct kafka_arena *arena, struct kafka_api_versions_response *a)
{
    a->api_keys = KAFKA_NEW(arena, api_versions_response_api_keys, ARRAY_LEN(handlers));
    a->api_keys_n = (int32_t) ARRAY_LEN(handlers);
    for (size_t i = 0; i < ARRAY_LEN(handlers); i++) {
        a->api_keys[i].api_key = handlers[i].key;
        a->api_keys[i].min_version = handlers[i].first;
        a->api_keys[i].max_version = handlers[i].last;
    }
}

/* Java clients that ask with version 3 throw when a feature may have level 0, and never connect:
 * only from version 4 on are they told of the range. */
static void put_features(struct kafka_arena *arena, int16_t version,
                         struct kafka_api_versions_response *a)
{
    if (version >= 4) {
        a->supported_features = KAFKA_NEW(arena, api_versions_response_supported_features, 1);
        a->supported_features_n = 1;
        a->supported_features[0].name = STR(KAFKA_TXN_FEATURE);
        a->supported_features[0].max_version = KAFKA_TXN_VERSION;
    }
    a->finalized_features = KAFKA_NEW(arena, api_versions_response_finalized_features, 1);
    a->finalized_features_n = 1;
    a->finalized_features[0].name = STR(KAFKA_TXN_FEATURE);
    a->finalized_features[0].max_version_level = KAFKA_TXN_VERSION;
    a->finalized_features[0].min_version_level = KAFKA_TXN_VERSION;
    a->finalized_features_epoch = 0;
}

static bool software_char(char c, bool end)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (!end && (c == '-' || c == '.'));
}

/* What clients say of themselves goes into metrics and logs: letters, digits, inside also - and .
 */
static bool software_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!software_char(s.p[i], i == 0 || i == s.n - 1))
            return false;
    return s.n > 0;
}

static void note_software(struct kafka_conn *c, const struct kafka_api_versions_request *q)
{
    snprintf(c->software, sizeof(c->software), "%.*s",
             STR_ARG(str_take(q->client_software_name, 64)));
    snprintf(c->software_version, sizeof(c->software_version), "%.*s",
             STR_ARG(str_take(q->client_software_version, 64)));
}

void kafka_run_api_versions(struct kafka_request *r)
{
    const struct kafka_api_versions_request *q = r->body;
    struct kafka_api_versions_response *a = r->answer;

    put_versions(&r->arena, a);
    put_features(&r->arena, r->header.version, a);
    if (r->header.version >= 3 &&
        (!software_ok(q->client_software_name) || !software_ok(q->client_software_version)))
        a->error_code = KAFKA_INVALID_REQUEST;
    else if (r->header.version >= 3)
        note_software(r->conn, q);
    kafka_reply(r);
}

/* A version that we do not know: the body is not looked at; version 0 is understood by all. */
static void answer_unknown_version(struct kafka_request *r)
{
    struct kafka_api_versions_response *a;

    r->header.version = 0;
    r->answer = a = KAFKA_NEW(&r->arena, api_versions_response, 1);
    put_versions(&r->arena, a);
    a->error_code = KAFKA_UNSUPPORTED_VERSION;
    kafka_reply(r);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static bool refuse(const struct kafka_request *r, const char *why)
{
    LOG_DBG(r->kafka->env->log, "%s:%u - Kafka request %d version %d: %s", r->conn->peer.host,
            r->conn->peer.port, r->header.key, r->header.version, why);
    return false;
}

/* Before a client has said who it is. */
static bool is_for_strangers(int16_t key)
{
    return key == KAFKA_API_VERSIONS || key == KAFKA_SASL_HANDSHAKE ||
           key == KAFKA_SASL_AUTHENTICATE;
}

bool kafka_dispatch(struct kafka_request *r)
{
    struct str in = str_from(r->frame->data, r->frame->len);
    const struct handler *h;
    bool flexible;

    if (!kafka_take_header(&in, &r->header))
        return refuse(r, "malformed header");
    h = find(r->header.key);
    r->api = kafka_api_of(r->header.key);
    if (h == NULL || r->api == NULL)
        return refuse(r, "not served");
    if (r->realm == NULL && !is_for_strangers(r->header.key))
        return refuse(r, "not authenticated");
    if (r->header.version < h->first || r->header.version > h->last) {
        if (r->header.key != KAFKA_API_VERSIONS)
            return refuse(r, "version not served");
        answer_unknown_version(r);
        return true;
    }
    flexible = kafka_is_flexible(r->api, r->header.version);
    r->body = kafka_decode(r->api->request(), r->header.version, flexible, &in, &r->arena);
    if (r->body == NULL)
        return refuse(r, "malformed");
    r->answer = kafka_arena_structs(&r->arena, r->api->response(), 1);
    h->run(r);
    return true;
}
