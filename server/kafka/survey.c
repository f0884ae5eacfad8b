/*
 * survey.c - what partitions say of themselves, each on its worker: DescribeLogDirs,
 * DescribeProducers (visit.h).
 */
#include "lib/base/mem.h"
#include "server/kafka/access.h"
#include "server/kafka/once.h"
#include "server/kafka/visit.h"

/* Most partitions in one question for producers: each may have thousands of them. */
#define PRODUCERS_ASKED_MAX 1024u

/* 0, or why nobody goes there. */
static int16_t go(struct visits *s, struct visit *v, struct str topic, int32_t index, void *answer)
{
    v->answer = answer;
    if (!access_may_read(s->request, topic, index))
        return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    return visits_send(s, v, topic, index) ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

/* ---- DescribeLogDirs ------------------------------------------------------------------------- */

struct sizing {
    struct visit visit;
    uint64_t bytes;
};

static void look_size(struct visit *v)
{
    struct store_state st;

    store_stream_state(v->partition->store, &st);
    CONTAINER_OF(v, struct sizing, visit)->bytes = st.bytes;
    visit_home(v, KAFKA_NONE);
}

static void put_size(struct visit *v)
{
    struct kafka_describe_log_dirs_response_partitions *p = v->answer;

    p->partition_size = (int64_t) CONTAINER_OF(v, struct sizing, visit)->bytes;
}

static void add_partition(struct visits *s, struct kafka_describe_log_dirs_response_topics *t,
                          int32_t index)
{
    struct kafka_describe_log_dirs_response_partitions *p = &t->partitions[t->partitions_n];

    struct sizing *z = kafka_arena_alloc(&s->request->arena, sizeof(*z));

    p->partition_index = index;
    if (go(s, &z->visit, t->name, index, p) == KAFKA_NONE)
        t->partitions_n++;
    else
        p->partition_index = 0;
}

static void size_all(struct visits *s, struct kafka_describe_log_dirs_response_results *dir)
{
    struct kafka_request *r = s->request;
    struct topic *all;
    size_t n = topics_all(r->realm->topics, &r->arena, &all);

    dir->topics = KAFKA_NEW(&r->arena, describe_log_dirs_response_topics, n);
    for (size_t i = 0; i < n; i++) {
        struct kafka_describe_log_dirs_response_topics *t = &dir->topics[dir->topics_n];
        if (!access_may_read(r, all[i].name, -1) ||
            !kafka_has_room(r, (size_t) all[i].partitions * sizeof(struct sizing)))
            continue;
        dir->topics_n++;
        t->name = all[i].name;
        t->partitions = KAFKA_NEW(&r->arena, describe_log_dirs_response_partitions,
                                  all[i].partitions);
        for (int32_t k = 0; k < all[i].partitions; k++)
            add_partition(s, t, k);
    }
}

static void size_asked(struct visits *s, struct kafka_describe_log_dirs_response_results *dir)
{
    struct kafka_request *r = s->request;
    const struct kafka_describe_log_dirs_request *q = r->body;

    dir->topics_n = q->topics_n;
    dir->topics = KAFKA_NEW(&r->arena, describe_log_dirs_response_topics, q->topics_n);
    for (int32_t i = 0; i < q->topics_n; i++) {
        const struct kafka_describe_log_dirs_request_topics *from = &q->topics[i];
        int32_t n = from->partitions_n > 0 ? from->partitions_n : 0;
        dir->topics[i].name = from->topic;
        dir->topics[i].partitions = KAFKA_NEW(&r->arena, describe_log_dirs_response_partitions, n);
        for (int32_t k = 0; k < n && kafka_has_room(r, sizeof(struct sizing)); k++)
            add_partition(s, &dir->topics[i], from->partitions[k]);
    }
}

/* One directory, by a name: its path is nobody's business here. */
void kafka_run_describe_log_dirs(struct kafka_request *r)
{
    const struct kafka_describe_log_dirs_request *q = r->body;
    struct kafka_describe_log_dirs_response *a = r->answer;
    struct visits *s = visits_begin(r, look_size, put_size);

    a->results = KAFKA_NEW(&r->arena, describe_log_dirs_response_results, 1);
    a->results_n = 1;
    a->results->log_dir = STR(KAFKA_LOG_DIR);
    if (q->topics_n < 0)
        size_all(s, a->results);
    else
        size_asked(s, a->results);
    visits_end(s);
}

/* ---- DescribeProducers ----------------------------------------------------------------------- */

struct listing {
    struct visit visit;
    struct producer_state *producers; /* until the answer holds them */
    uint64_t *begins;                 /* of their transactions */
    uint64_t n;
};

static void look_producers(struct visit *v)
{
    struct listing *x = CONTAINER_OF(v, struct listing, visit);
    struct partition *p = v->partition;

    if (!visit_knows(v))
        return;
    x->n = p->producers.n;
    x->producers = mem_array(x->n + 1, sizeof(*x->producers));
    x->begins = mem_array(x->n + 1, sizeof(*x->begins));
    producers_list(&p->producers, x->producers);
    for (uint64_t i = 0; i < x->n; i++)
        x->begins[i] = partition_txn_first(p, x->producers[i].id);
    visit_home(v, KAFKA_NONE);
}

static void tell_producers(struct kafka_request *r, const struct listing *x,
                           struct kafka_describe_producers_response_partitions *p)
{
    size_t n = (size_t) x->n;

    if (!kafka_has_room(r, n * sizeof(*p->active_producers)))
        return;
    p->active_producers_n = (int32_t) n;
    p->active_producers = KAFKA_NEW(&r->arena, describe_producers_response_active_producers, n);
    for (size_t i = 0; i < n; i++) {
        struct kafka_describe_producers_response_active_producers *to = &p->active_producers[i];
        to->producer_id = x->producers[i].id;
        to->producer_epoch = x->producers[i].epoch;
        to->last_sequence = x->producers[i].last;
        to->coordinator_epoch = -1;
        to->current_txn_start_offset = x->begins[i] != 0 ? (int64_t) x->begins[i] - 1 : -1;
    }
}

static void put_producers(struct visit *v)
{
    struct listing *x = CONTAINER_OF(v, struct listing, visit);
    struct kafka_describe_producers_response_partitions *p = v->answer;

    p->error_code = v->error;
    if (v->error == KAFKA_NONE)
        tell_producers(v->of->request, x, p);
    mem_free(x->producers);
    mem_free(x->begins);
}

/* Each partition once. */
static int16_t ask_producers(struct visits *s, struct once *asked, struct str topic,
                             struct kafka_describe_producers_response_partitions *p)
{
    struct kafka_request *r = s->request;
    struct listing *x;

    if (asked->map.count >= PRODUCERS_ASKED_MAX || !kafka_has_room(r, TOPIC_NAME_MAX) ||
        topic.n > TOPIC_NAME_MAX || !once_take_partition(asked, topic, p->partition_index))
        return KAFKA_INVALID_REQUEST;
    x = kafka_arena_alloc(&r->arena, sizeof(*x));
    return go(s, &x->visit, topic, p->partition_index, p);
}

void kafka_run_describe_producers(struct kafka_request *r)
{
    const struct kafka_describe_producers_request *q = r->body;
    struct kafka_describe_producers_response *a = r->answer;
    struct visits *s = visits_begin(r, look_producers, put_producers);
    struct once asked;

    once_init(&asked, &r->arena, kafka_seed(r));
    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, describe_producers_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        struct kafka_describe_producers_response_topics *t = &a->topics[i];
        int32_t n = q->topics[i].partition_indexes_n;
        t->name = q->topics[i].name;
        t->partitions_n = n > 0 ? n : 0;
        t->partitions = KAFKA_NEW(&r->arena, describe_producers_response_partitions,
                                  t->partitions_n);
        for (int32_t k = 0; k < t->partitions_n; k++) {
            t->partitions[k].partition_index = q->topics[i].partition_indexes[k];
            t->partitions[k].error_code = ask_producers(s, &asked, t->name, &t->partitions[k]);
        }
    }
    once_deinit(&asked);
    visits_end(s);
}
