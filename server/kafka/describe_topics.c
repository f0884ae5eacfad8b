/*
 * describe_topics.c - DescribeTopicPartitions: topics in the order of their names, so many
 * partitions at a time. Where there are more, the answer says where they go on (a cursor), and the
 * next request begins there. Nothing is kept between the two.
 */
#include "server/kafka/access.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/once.h"

#include <stdlib.h>

/* Most partitions of an answer, as Kafka's max.request.partition.size.limit. */
#define PARTITIONS_MAX 2000

typedef struct kafka_describe_topic_partitions_response_partitions told_partition;
typedef struct kafka_describe_topic_partitions_response_topics told_topic;

struct walk {
    struct kafka_request *r;
    const struct kafka_describe_topic_partitions_cursor *from; /* NULL: from the first */
    int32_t left;
};

static void put_partition(struct kafka_request *r, const struct topic *t, int32_t index,
                          told_partition *p)
{
    int32_t *node = kafka_arena_alloc(&r->arena, sizeof(*node));

    *node = kafka_node(r->kafka);
    p->partition_index = index;
    p->leader_id = *node;
    p->leader_epoch = KAFKA_EPOCH;
    p->replica_nodes = p->isr_nodes = node;
    p->replica_nodes_n = p->isr_nodes_n = 1;
    if (t->workers[index] == TOPIC_NOWHERE) {
        p->error_code = KAFKA_LEADER_NOT_AVAILABLE;
        p->leader_id = -1;
    }
}

/* From this partition on; false: there is no room for all of them, *next is the first of these. */
static bool put_topic(struct walk *w, const struct topic *t, int32_t first, told_topic *to,
                      int32_t *next)
{
    struct kafka_request *r = w->r;
    int32_t n = t->partitions > first ? t->partitions - first : 0;

    if (n > w->left)
        n = w->left;
    to->topic_id = t->id;
    to->is_internal = t->internal;
    to->topic_authorized_operations = access_topic_operations(r, t);
    to->partitions_n = n;
    to->partitions = KAFKA_NEW(&r->arena, describe_topic_partitions_response_partitions, n);
    for (int32_t i = 0; i < n; i++)
        put_partition(r, t, first + i, &to->partitions[i]);
    w->left -= n;
    *next = first + n;
    return *next >= t->partitions;
}

/* False: the answer is full. */
static bool put_name(struct walk *w, struct str name)
{
    struct kafka_request *r = w->r;
    struct kafka_describe_topic_partitions_response *a = r->answer;
    told_topic *to = &a->topics[a->topics_n];
    bool resumed = w->from != NULL && str_eq(w->from->topic_name, name);
    int32_t next = resumed ? w->from->partition_index : 0;
    struct topic t;

    if (!topics_find(r->realm->topics, name, &r->arena, &t)) {
        if (resumed)
            return true; /* it has gone since the last answer */
        to->name = name;
        to->error_code = topic_name_valid(name) ? KAFKA_UNKNOWN_TOPIC_OR_PARTITION
                                                : KAFKA_INVALID_TOPIC_EXCEPTION;
        a->topics_n++;
        return true;
    }
    to->name = name;
    if (!access_may_see(r, &t)) {
        to->error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
        a->topics_n++;
        return true;
    }
    if (w->left > 0) {
        a->topics_n++;
        if (put_topic(w, &t, next, to, &next))
            return true;
    }
    a->next_cursor = KAFKA_NEW(&r->arena, describe_topic_partitions_cursor, 1);
    a->next_cursor->topic_name = name;
    a->next_cursor->partition_index = next;
    return false;
}

static int by_name(const void *a, const void *b)
{
    return str_cmp(*(const struct str *) a, *(const struct str *) b);
}

/* Those that are asked for, each once; without any all that the client may see. */
static struct str *names_of(struct kafka_request *r, size_t *n)
{
    const struct kafka_describe_topic_partitions_request *q = r->body;
    struct str *names;
    struct topic *all;
    struct once once;
    size_t count;

    *n = 0;
    if (q->topics_n <= 0) {
        count = topics_all(r->realm->topics, &r->arena, &all);
        names = kafka_arena_alloc(&r->arena, (count + 1) * sizeof(*names));
        for (size_t i = 0; i < count; i++)
            if (access_may_see(r, &all[i]))
                names[(*n)++] = all[i].name;
        return names;
    }
    names = kafka_arena_alloc(&r->arena, (size_t) q->topics_n * sizeof(*names));
    once_init(&once, &r->arena, kafka_seed(r));
    for (int32_t i = 0; i < q->topics_n; i++)
        if (once_take(&once, q->topics[i].name))
            names[(*n)++] = q->topics[i].name;
    once_deinit(&once);
    return names;
}

void kafka_run_describe_topic_partitions(struct kafka_request *r)
{
    const struct kafka_describe_topic_partitions_request *q = r->body;
    struct kafka_describe_topic_partitions_response *a = r->answer;
    struct walk w = {.r = r, .from = q->cursor, .left = q->response_partition_limit};
    size_t n;
    struct str *names;

    if (w.left < 1 || w.left > PARTITIONS_MAX)
        w.left = w.left < 1 ? 1 : PARTITIONS_MAX;
    names = names_of(r, &n);
    qsort(names, n, sizeof(*names), by_name);
    a->topics = KAFKA_NEW(&r->arena, describe_topic_partitions_response_topics, n);
    for (size_t i = 0; i < n; i++) {
        if (q->cursor != NULL && q->cursor->partition_index < 0) {
            a->topics[a->topics_n].name = names[i];
            a->topics[a->topics_n++].error_code = KAFKA_INVALID_REQUEST;
        } else if (w.from != NULL && str_cmp(names[i], w.from->topic_name) < 0) {
            continue;
        } else if (!put_name(&w, names[i])) {
            break;
        }
    }
    kafka_reply(r);
}
