/* broker_config.c - see broker_config.h. */
#include "server/kafka/broker_config.h"

#include "server/auth/auth.h"
#include "server/kafka/txn.h"

#define MS 1000000

enum which {
    FIXED, /* the number or text in the table */
    LISTENERS,
    NODE,
    PARTITIONS,
    AUTO_CREATE,
    GROUP_DELAY,
    GROUP_HEARTBEAT,
    GROUP_SESSION,
    GROUP_SESSION_MIN,
    OFFSETS_RETENTION,
};

static const struct {
    const char *name;
    enum topic_config_type type;
    enum which which;
    int64_t number;
    const char *value; /* NULL: the number */
    const char *text;
} keys[] = {
    {"advertised.listeners", TOPIC_CONFIG_LIST, LISTENERS, 0, NULL, "where clients are sent"},
    {"auto.create.topics.enable", TOPIC_CONFIG_BOOLEAN, AUTO_CREATE, 0, NULL,
     "a topic that a client asks for is made"},
    {"broker.id", TOPIC_CONFIG_INT, NODE, 0, NULL, "the number of this node"},
    {"compression.type", TOPIC_CONFIG_STRING, FIXED, 0, "producer",
     "batches stay as their producers compressed them"},
    {"default.replication.factor", TOPIC_CONFIG_INT, FIXED, 1, NULL, "copies of a new topic"},
    {"delete.topic.enable", TOPIC_CONFIG_BOOLEAN, FIXED, 0, "true", "topics can be deleted"},
    {"fetch.max.bytes", TOPIC_CONFIG_INT, FIXED, KAFKA_FETCH_MAX, NULL,
     "the most that one fetch is answered with"},
    {"group.consumer.heartbeat.interval.ms", TOPIC_CONFIG_INT, GROUP_HEARTBEAT, 0, NULL,
     "members of the new protocol say so often that they live"},
    {"group.consumer.session.timeout.ms", TOPIC_CONFIG_INT, GROUP_SESSION, 0, NULL,
     "members of the new protocol go when they have not said so for so long"},
    {"group.initial.rebalance.delay.ms", TOPIC_CONFIG_INT, GROUP_DELAY, 0, NULL,
     "the first members of a group wait so long for more"},
    {"group.max.session.timeout.ms", TOPIC_CONFIG_INT, FIXED, 1800000, NULL,
     "the longest session of a classic member"},
    {"group.min.session.timeout.ms", TOPIC_CONFIG_INT, GROUP_SESSION_MIN, 0, NULL,
     "the shortest session of a classic member"},
    {"listeners", TOPIC_CONFIG_LIST, LISTENERS, 0, NULL, "where clients come in"},
    {"log.cleanup.policy", TOPIC_CONFIG_LIST, FIXED, 0, "delete", "of new topics"},
    {"log.message.timestamp.type", TOPIC_CONFIG_STRING, FIXED, 0, "CreateTime", "of new topics"},
    {"log.retention.bytes", TOPIC_CONFIG_LONG, FIXED, -1, NULL, "of new topics"},
    {"log.retention.hours", TOPIC_CONFIG_INT, FIXED, 168, NULL, "of new topics"},
    {"log.retention.ms", TOPIC_CONFIG_LONG, FIXED, 604800000, NULL, "of new topics"},
    {"message.max.bytes", TOPIC_CONFIG_INT, FIXED, 1048588, NULL, "the largest batch"},
    {"min.insync.replicas", TOPIC_CONFIG_INT, FIXED, 1, NULL, "copies that acks=all waits for"},
    {"node.id", TOPIC_CONFIG_INT, NODE, 0, NULL, "the number of this node"},
    {"num.partitions", TOPIC_CONFIG_INT, PARTITIONS, 0, NULL, "of topics that do not say how many"},
    {"offsets.retention.minutes", TOPIC_CONFIG_INT, OFFSETS_RETENTION, 0, NULL,
     "what a group without members has committed is kept so long"},
    {"offsets.topic.num.partitions", TOPIC_CONFIG_INT, FIXED, 1, NULL, "of the offsets topic"},
    {"offsets.topic.replication.factor", TOPIC_CONFIG_INT, FIXED, 1, NULL, "of the offsets topic"},
    {"sasl.enabled.mechanisms", TOPIC_CONFIG_LIST, FIXED, 0, "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
     "how clients say who they are"},
    {"socket.request.max.bytes", TOPIC_CONFIG_INT, FIXED, KAFKA_FRAME_MAX, NULL,
     "the largest request"},
    {"transaction.max.timeout.ms", TOPIC_CONFIG_INT, FIXED, TXN_TIMEOUT_MAX_MS, NULL,
     "the longest transaction"},
    {"transactional.id.expiration.ms", TOPIC_CONFIG_INT, FIXED, TXN_KEPT_MS, NULL,
     "a transactional id that is not used goes after so long"},
    {"unclean.leader.election.enable", TOPIC_CONFIG_BOOLEAN, FIXED, 0, "false",
     "there is one copy, which leads"},
};

size_t broker_config_count(void)
{
    return ARRAY_LEN(keys);
}

static struct str listener(struct kafka_request *r)
{
    const struct options *o = r->kafka->env->options;
    bool sasl = auth_required(o);
    int32_t port;
    struct str host = kafka_conn_advertised(r, &port);

    return kafka_arena_text(&r->arena, "%s%s://%.*s:%d", sasl ? "SASL_" : "",
                            o->kafka_tls ? "SSL" : "PLAINTEXT", STR_ARG(host), port);
}

static int64_t number_of(const struct options *o, size_t i)
{
    switch (keys[i].which) {
    case NODE:
        return o->kafka_node_id;
    case PARTITIONS:
        return o->kafka_num_partitions;
    case GROUP_DELAY:
        return o->kafka_group_delay_ns / MS;
    case GROUP_HEARTBEAT:
        return o->kafka_group_heartbeat_ns / MS;
    case GROUP_SESSION:
        return o->kafka_group_session_ns / MS;
    case GROUP_SESSION_MIN:
        return o->kafka_group_session_min_ns / MS;
    case OFFSETS_RETENTION:
        return o->kafka_offsets_retention_ns / MS / 60000;
    default:
        return keys[i].number;
    }
}

void broker_config_get(struct kafka_request *r, size_t i, struct broker_setting *out)
{
    const struct options *o = r->kafka->env->options;

    *out = (struct broker_setting){.name = keys[i].name,
                                   .type = keys[i].type,
                                   .is_default = keys[i].which == FIXED,
                                   .text = keys[i].text};
    if (keys[i].which == LISTENERS)
        out->value = listener(r);
    else if (keys[i].which == AUTO_CREATE)
        out->value = str_of(o->kafka_auto_create ? "true" : "false");
    else if (keys[i].value != NULL)
        out->value = str_of(keys[i].value);
    else
        out->value = kafka_arena_text(&r->arena, "%lld", (long long) number_of(o, i));
}
