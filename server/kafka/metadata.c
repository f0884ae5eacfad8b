/*
 * metadata.c - who is there and which topics: Metadata.
 *
 * A topic that is asked for by name and does not exist is created when the server does that
 * (auto_create_topics) and the client did not say no; the answer waits for it and then tells of the
 * topic as it is.
 *
 * A topic that is asked for many times is told of once: answers are as large as what there is, not
 * as what a client repeats.
 */
#include "server/kafka/access.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/once.h"
#include "server/kafka/steps.h"
#include "server/kafka/topic_create.h"

static void put_partition(struct kafka_request *r, const struct topic *t, int32_t index,
                          struct kafka_metadata_response_partitions *p)
{
    int32_t *node = kafka_arena_alloc(&r->arena, sizeof(*node));

    *node = kafka_node(r->kafka);
    p->partition_index = index;
    p->leader_epoch = KAFKA_EPOCH;
    p->replica_nodes = p->isr_nodes = node;
    p->replica_nodes_n = p->isr_nodes_n = 1;
    p->leader_id = kafka_node(r->kafka);
    if (t->workers[index] == TOPIC_NOWHERE) {
        p->error_code = KAFKA_LEADER_NOT_AVAILABLE;
        p->leader_id = -1;
    }
}

static void put_topic(struct kafka_request *r, const struct topic *t,
                      struct kafka_metadata_response_topics *out)
{
    out->name = t->name;
    out->topic_id = t->id;
    out->is_internal = t->internal;
    if (((const struct kafka_metadata_request *) r->body)->include_topic_authorized_operations)
        out->topic_authorized_operations = access_topic_operations(r, t);
    out->partitions_n = t->partitions;
    out->partitions = KAFKA_NEW(&r->arena, metadata_response_partitions, t->partitions);
    for (int32_t i = 0; i < t->partitions; i++)
        put_partition(r, t, i, &out->partitions[i]);
}

static void put_all(struct kafka_request *r, struct kafka_metadata_response *a)
{
    struct topic *all;
    size_t n = topics_all(r->realm->topics, &r->arena, &all);

    a->topics = KAFKA_NEW(&r->arena, metadata_response_topics, n);
    for (size_t i = 0; i < n; i++)
        if (access_may_see(r, &all[i]))
            put_topic(r, &all[i], &a->topics[a->topics_n++]);
}

static void put_asked_topic(struct kafka_request *r, const struct topic *t,
                            struct kafka_metadata_response_topics *out)
{
    if (access_may_see(r, t))
        put_topic(r, t, out);
    else
        out->error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
}

static void put_asked(struct kafka_request *r, const struct kafka_metadata_request_topics *q,
                      struct kafka_metadata_response_topics *out)
{
    struct topics *topics = r->realm->topics;
    bool by_id = q->name.p == NULL;
    struct topic t;

    out->name = q->name;
    out->topic_id = q->topic_id;
    if (by_id ? topics_find_id(topics, &q->topic_id, &r->arena, &t)
              : topics_find(topics, q->name, &r->arena, &t))
        put_asked_topic(r, &t, out);
    else if (by_id)
        out->error_code = KAFKA_UNKNOWN_TOPIC_ID;
    else if (!topic_name_valid(q->name))
        out->error_code = KAFKA_INVALID_TOPIC_EXCEPTION;
    else
        out->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

/* Each once, as often as it is there. */
static void put_each(struct kafka_request *r, const struct kafka_metadata_request *q,
                     struct kafka_metadata_response *a)
{
    struct once names, ids;
    uint64_t seed = kafka_seed(r);

    once_init(&names, &r->arena, seed);
    once_init(&ids, &r->arena, seed);
    a->topics = KAFKA_NEW(&r->arena, metadata_response_topics, q->topics_n);
    for (int32_t i = 0; i < q->topics_n; i++) {
        const struct kafka_metadata_request_topics *t = &q->topics[i];
        if (t->name.p != NULL ? once_take(&names, t->name)
                              : once_take(&ids, str_from(&t->topic_id, sizeof(t->topic_id))))
            put_asked(r, t, &a->topics[a->topics_n++]);
    }
    once_deinit(&names);
    once_deinit(&ids);
}

static void answer_metadata(struct kafka_request *r)
{
    const struct kafka_metadata_request *q = r->body;
    struct kafka_metadata_response *a = r->answer;

    a->brokers = KAFKA_NEW(&r->arena, metadata_response_brokers, 1);
    a->brokers_n = 1;
    a->brokers->node_id = kafka_node(r->kafka);
    a->brokers->host = kafka_conn_advertised(r, &a->brokers->port);
    a->cluster_id = kafka_cluster_id(r);
    if (q->include_cluster_authorized_operations)
        a->cluster_authorized_operations = access_cluster_operations(r);
    a->controller_id = kafka_node(r->kafka);
    /* Version 0 asks for all of them by an empty list, the others by null. */
    if (q->topics_n < 0 || (q->topics_n == 0 && r->header.version == 0))
        put_all(r, a);
    else
        put_each(r, q, a);
    kafka_reply(r);
}

struct missing {
    struct steps steps;
    struct kafka_request *r;
};

static void created(void *ctx, const struct topic_outcome *outcome)
{
    struct missing *m = ctx;

    (void) outcome; /* the table says whether it is there */
    steps_done(&m->steps);
}

static bool create_missing(struct steps *s, int32_t i)
{
    struct missing *m = CONTAINER_OF(s, struct missing, steps);
    struct kafka_request *r = m->r;
    const struct kafka_metadata_request *q = r->body;
    struct str name = q->topics[i].name;
    struct topic_place place;

    if (name.p == NULL || !topic_name_valid(name) || topic_name_reserved(name) ||
        !access_may_call(r, "STREAM.CREATE", name) ||
        topics_partition(r->realm->topics, name, 0, &place))
        return false;
    topic_create(r->realm,
                 &(struct topic_wish){
                     .name = name,
                     .partitions = (int32_t) r->kafka->env->options->kafka_num_partitions,
                 },
                 created, m);
    return true;
}

static void all_there(struct steps *s)
{
    answer_metadata(CONTAINER_OF(s, struct missing, steps)->r);
}

void kafka_run_metadata(struct kafka_request *r)
{
    const struct kafka_metadata_request *q = r->body;
    struct missing *m;

    if (q->topics_n <= 0 || !q->allow_auto_topic_creation ||
        !r->kafka->env->options->kafka_auto_create) {
        answer_metadata(r);
        return;
    }
    m = kafka_arena_alloc(&r->arena, sizeof(*m));
    m->r = r;
    m->steps = (struct steps){.n = q->topics_n, .step = create_missing, .end = all_there};
    steps_run(&m->steps);
}
