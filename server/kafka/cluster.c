/*
 * cluster.c - the cluster, which is this node: DescribeCluster, DescribeQuorum, UpdateFeatures,
 * ListConfigResources, AlterReplicaLogDirs.
 *
 *     quorum       of __cluster_metadata, one voter that leads; its log is not there, so ends are 0
 *     features     transaction.version, which is 2: to have it raised to that changes nothing, and
 *                  is done; anything else can not be (95)
 *     log dirs     one, by the name that DescribeLogDirs says: to move there is done already,
 *                  another one does not exist (57)
 */
#include "lib/base/base64.h"
#include "server/kafka/access.h"
#include "server/kafka/kafka_int.h"

enum { RESOURCE_TOPIC = 2, RESOURCE_BROKER = 4, RESOURCE_LOGGER = 8, RESOURCE_METRICS = 16 };
enum { RESOURCE_GROUP = 32 };

static int32_t at_least_0(int32_t n)
{
    return n > 0 ? n : 0;
}

struct str kafka_cluster_id(struct kafka_request *r)
{
    struct buf b = {0};
    struct str s;

    base64url_encode(&b, str_from(r->kafka->shared->cluster.bytes, 16));
    s = kafka_arena_str(&r->arena, buf_str(&b));
    buf_free(&b);
    return s;
}

/* ---- DescribeCluster ------------------------------------------------------------------------- */

void kafka_run_describe_cluster(struct kafka_request *r)
{
    const struct kafka_describe_cluster_request *q = r->body;
    struct kafka_describe_cluster_response *a = r->answer;

    a->endpoint_type = q->endpoint_type;
    a->cluster_id = kafka_cluster_id(r);
    a->controller_id = kafka_node(r->kafka);
    a->brokers = KAFKA_NEW(&r->arena, describe_cluster_response_brokers, 1);
    a->brokers_n = 1;
    a->brokers->broker_id = kafka_node(r->kafka);
    a->brokers->host = kafka_conn_advertised(r, &a->brokers->port);
    if (q->include_cluster_authorized_operations)
        a->cluster_authorized_operations = access_cluster_operations(r);
    kafka_reply(r);
}

/* ---- DescribeQuorum -------------------------------------------------------------------------- */

static void put_voter(struct kafka_request *r, struct kafka_describe_quorum_response_partitions *to)
{
    to->leader_id = kafka_node(r->kafka);
    to->leader_epoch = KAFKA_EPOCH;
    to->current_voters = KAFKA_NEW(&r->arena, describe_quorum_replica, 1);
    to->current_voters_n = 1;
    to->current_voters->replica_id = kafka_node(r->kafka);
}

static void put_node(struct kafka_request *r, struct kafka_describe_quorum_response *a)
{
    struct kafka_describe_quorum_response_listeners *l;
    int32_t port;

    a->nodes = KAFKA_NEW(&r->arena, describe_quorum_response_nodes, 1);
    a->nodes_n = 1;
    a->nodes->node_id = kafka_node(r->kafka);
    l = a->nodes->listeners = KAFKA_NEW(&r->arena, describe_quorum_response_listeners, 1);
    a->nodes->listeners_n = 1;
    l->name = STR("CONTROLLER");
    l->host = kafka_conn_advertised(r, &port);
    l->port = (uint16_t) port;
}

void kafka_run_describe_quorum(struct kafka_request *r)
{
    const struct kafka_describe_quorum_request *q = r->body;
    struct kafka_describe_quorum_response *a = r->answer;

    a->topics_n = at_least_0(q->topics_n);
    a->topics = KAFKA_NEW(&r->arena, describe_quorum_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        struct kafka_describe_quorum_response_topics *to = &a->topics[i];
        to->topic_name = q->topics[i].topic_name;
        to->partitions_n = at_least_0(q->topics[i].partitions_n);
        to->partitions = KAFKA_NEW(&r->arena, describe_quorum_response_partitions,
                                   to->partitions_n);
        for (int32_t k = 0; k < to->partitions_n; k++) {
            int32_t index = q->topics[i].partitions[k].partition_index;
            to->partitions[k].partition_index = index;
            if (index == 0 && str_eq(to->topic_name, STR("__cluster_metadata")))
                put_voter(r, &to->partitions[k]);
            else
                to->partitions[k].error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
        }
    }
    put_node(r, a);
    kafka_reply(r);
}

/* ---- UpdateFeatures -------------------------------------------------------------------------- */

enum { UPGRADE = 1, UNSAFE_DOWNGRADE = 3 };

/* Is it what it would be? */
static bool is_so(const struct kafka_update_features_request_feature_updates *f)
{
    return str_eq(f->feature, STR(KAFKA_TXN_FEATURE)) &&
           f->max_version_level == KAFKA_TXN_VERSION && f->upgrade_type >= UPGRADE &&
           f->upgrade_type <= UNSAFE_DOWNGRADE;
}

#define NOT_TO_BE STR("this server's features are what they are: transaction.version is 2")

/* All of them or none. */
void kafka_run_update_features(struct kafka_request *r)
{
    const struct kafka_update_features_request *q = r->body;
    struct kafka_update_features_response *a = r->answer;
    int32_t n = at_least_0(q->feature_updates_n);

    if (n == 0) {
        a->error_code = KAFKA_INVALID_REQUEST;
        a->error_message = STR("nothing to update");
    }
    for (int32_t i = 0; i < n; i++)
        if (!is_so(&q->feature_updates[i])) {
            a->error_code = KAFKA_INVALID_UPDATE_VERSION;
            a->error_message = NOT_TO_BE;
        }
    a->results_n = n;
    a->results = KAFKA_NEW(&r->arena, update_features_response_results, n);
    for (int32_t i = 0; i < n; i++) {
        a->results[i].feature = q->feature_updates[i].feature;
        a->results[i].error_code = a->error_code;
        a->results[i].error_message = a->error_message;
    }
    kafka_reply(r);
}

/* ---- ListConfigResources --------------------------------------------------------------------- */

static bool wants(const struct kafka_list_config_resources_request *q, int8_t type)
{
    for (int32_t i = 0; i < q->resource_types_n; i++)
        if (q->resource_types[i] == type)
            return true;
    return q->resource_types_n <= 0;
}

static bool all_known(const struct kafka_list_config_resources_request *q)
{
    for (int32_t i = 0; i < q->resource_types_n; i++)
        switch (q->resource_types[i]) {
        case RESOURCE_TOPIC:
        case RESOURCE_BROKER:
        case RESOURCE_LOGGER:
        case RESOURCE_METRICS:
        case RESOURCE_GROUP:
            break;
        default:
            return false;
        }
    return true;
}

/* Loggers, metrics that clients are asked for, and groups have nothing to be configured here; the
 * first version asks for the second of these alone. */
void kafka_run_list_config_resources(struct kafka_request *r)
{
    const struct kafka_list_config_resources_request *q = r->body;
    struct kafka_list_config_resources_response *a = r->answer;
    struct topic *all;
    size_t n = 0;

    if (!all_known(q))
        a->error_code = KAFKA_UNSUPPORTED_VERSION;
    if (a->error_code != KAFKA_NONE || r->header.version == 0) {
        kafka_reply(r);
        return;
    }
    if (wants(q, RESOURCE_TOPIC))
        n = topics_all(r->realm->topics, &r->arena, &all);
    a->config_resources = KAFKA_NEW(&r->arena, list_config_resources_response_config_resources,
                                    n + 1);
    for (size_t i = 0; i < n; i++)
        if (access_may_see(r, &all[i])) {
            a->config_resources[a->config_resources_n].resource_type = RESOURCE_TOPIC;
            a->config_resources[a->config_resources_n++].resource_name = all[i].name;
        }
    if (wants(q, RESOURCE_BROKER)) {
        a->config_resources[a->config_resources_n].resource_type = RESOURCE_BROKER;
        a->config_resources[a->config_resources_n++].resource_name =
            kafka_arena_text(&r->arena, "%d", kafka_node(r->kafka));
    }
    kafka_reply(r);
}

/* ---- AlterReplicaLogDirs --------------------------------------------------------------------- */

static int16_t move(struct kafka_request *r, struct str dir, struct str topic, int32_t index)
{
    struct topic_place place;

    if (!str_eq(dir, STR(KAFKA_LOG_DIR)))
        return KAFKA_LOG_DIR_NOT_FOUND;
    if (!topics_partition(r->realm->topics, topic, index, &place))
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    return access_may_call(r, "STREAM.UPDATE", topic) ? KAFKA_NONE
                                                      : KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

void kafka_run_alter_replica_log_dirs(struct kafka_request *r)
{
    const struct kafka_alter_replica_log_dirs_request *q = r->body;
    struct kafka_alter_replica_log_dirs_response *a = r->answer;
    int32_t n = 0;

    for (int32_t i = 0; i < q->dirs_n; i++)
        n += at_least_0(q->dirs[i].topics_n);
    a->results = KAFKA_NEW(&r->arena, alter_replica_log_dirs_response_results, n);
    for (int32_t i = 0; i < q->dirs_n; i++)
        for (int32_t k = 0; k < q->dirs[i].topics_n; k++) {
            const struct kafka_alter_replica_log_dirs_request_topics *t = &q->dirs[i].topics[k];
            struct kafka_alter_replica_log_dirs_response_results *to = &a->results[a->results_n++];
            to->topic_name = t->name;
            to->partitions_n = at_least_0(t->partitions_n);
            to->partitions = KAFKA_NEW(&r->arena, alter_replica_log_dirs_response_partitions,
                                       to->partitions_n);
            for (int32_t j = 0; j < to->partitions_n; j++) {
                to->partitions[j].partition_index = t->partitions[j];
                to->partitions[j].error_code = move(r, q->dirs[i].path, t->name, t->partitions[j]);
            }
        }
    kafka_reply(r);
}
