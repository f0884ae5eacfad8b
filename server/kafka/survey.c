/*
 * survey.c - what partitions say of themselves, each on its worker: DescribeLogDirs,
 * DescribeProducers.
 *
 * A visit goes to the partition's worker, writes there what it saw, and comes home; the answer is
 * put together when all are back.
 */
#include "lib/base/mem.h"
#include "server/kafka/access.h"
#include "server/kafka/once.h"
#include "server/kafka/partition.h"

/* Most partitions in one question for producers: each may have thousands of them. */
#define PRODUCERS_ASKED_MAX 1024u

struct survey;

struct visit {
    struct env_task task;
    struct partition_job job;
    struct survey *survey;
    struct env *env;
    struct topic_place place;
    struct str stream;
    struct partition *partition;
    int16_t error;
    uint64_t bytes;
    struct producer_state *producers; /* owned, until the answer holds them */
    uint64_t *begins;                 /* of their transactions */
    uint64_t nproducers;
    void *answer;
};

struct survey {
    struct kafka_request *request;
    struct kafka *home;
    void (*look)(struct visit *v); /* there; calls back_home, now or later */
    void (*put)(struct visit *v);  /* at home */
    uint32_t left;
};

static struct survey *survey_new(struct kafka_request *r, void (*look)(struct visit *v),
                                 void (*put)(struct visit *v))
{
    struct survey *s = kafka_arena_alloc(&r->arena, sizeof(*s));

    *s = (struct survey){.request = r, .home = r->kafka, .look = look, .put = put, .left = 1};
    return s;
}

static void finish(struct survey *s)
{
    if (--s->left == 0)
        kafka_reply(s->request);
}

static void at_home(struct env_task *task, struct env *env)
{
    struct visit *v = CONTAINER_OF(task, struct visit, task);

    (void) env;
    v->survey->put(v);
    mem_free(v->producers);
    mem_free(v->begins);
    finish(v->survey);
}

static void back_home(struct visit *v, int16_t error)
{
    v->error = error;
    v->task.run = at_home;
    v->env->post(v->env, v->survey->home->env->worker, &v->task);
}

static void there(struct env_task *task, struct env *env)
{
    struct visit *v = CONTAINER_OF(task, struct visit, task);
    struct realm *realm = realm_here(env, v->survey->request->realm);

    v->env = env;
    v->partition = realm != NULL ? partition_get(realm, v->stream) : NULL;
    if (v->partition != NULL)
        v->survey->look(v);
    else
        back_home(v, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

/* 0, or why nobody goes there. */
static int16_t go(struct survey *s, struct str topic, int32_t index, void *answer)
{
    struct kafka_request *r = s->request;
    struct visit *v = kafka_arena_alloc(&r->arena, sizeof(*v));

    v->survey = s;
    v->answer = answer;
    list_init(&v->job.link);
    if (!partition_find(r->realm, &r->arena, topic, index, &v->place, &v->stream))
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (!access_may_read(r, topic, index))
        return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    s->left++;
    v->task.run = there;
    r->kafka->env->post(r->kafka->env, v->place.worker, &v->task);
    return KAFKA_NONE;
}

/* ---- DescribeLogDirs ------------------------------------------------------------------------- */

static void look_size(struct visit *v)
{
    struct store_state st;

    store_stream_state(v->partition->store, &st);
    v->bytes = st.bytes;
    back_home(v, KAFKA_NONE);
}

static void put_size(struct visit *v)
{
    struct kafka_describe_log_dirs_response_partitions *p = v->answer;

    p->partition_size = (int64_t) v->bytes;
}

static void add_partition(struct survey *s, struct kafka_describe_log_dirs_response_topics *t,
                          int32_t index)
{
    struct kafka_describe_log_dirs_response_partitions *p = &t->partitions[t->partitions_n];

    p->partition_index = index;
    if (go(s, t->name, index, p) == KAFKA_NONE)
        t->partitions_n++;
    else
        p->partition_index = 0;
}

static void size_all(struct survey *s, struct kafka_describe_log_dirs_response_results *dir)
{
    struct kafka_request *r = s->request;
    struct topic *all;
    size_t n = topics_all(r->realm->topics, &r->arena, &all);

    dir->topics = KAFKA_NEW(&r->arena, describe_log_dirs_response_topics, n);
    for (size_t i = 0; i < n; i++) {
        struct kafka_describe_log_dirs_response_topics *t = &dir->topics[dir->topics_n];
        if (!access_may_read(r, all[i].name, -1) ||
            !kafka_has_room(r, (size_t) all[i].partitions * sizeof(struct visit)))
            continue;
        dir->topics_n++;
        t->name = all[i].name;
        t->partitions = KAFKA_NEW(&r->arena, describe_log_dirs_response_partitions,
                                  all[i].partitions);
        for (int32_t k = 0; k < all[i].partitions; k++)
            add_partition(s, t, k);
    }
}

static void size_asked(struct survey *s, struct kafka_describe_log_dirs_response_results *dir)
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
        for (int32_t k = 0; k < n && kafka_has_room(r, sizeof(struct visit)); k++)
            add_partition(s, &dir->topics[i], from->partitions[k]);
    }
}

/* One directory, by a name: its path is nobody's business here. */
void kafka_run_describe_log_dirs(struct kafka_request *r)
{
    const struct kafka_describe_log_dirs_request *q = r->body;
    struct kafka_describe_log_dirs_response *a = r->answer;
    struct survey *s = survey_new(r, look_size, put_size);

    a->results = KAFKA_NEW(&r->arena, describe_log_dirs_response_results, 1);
    a->results_n = 1;
    a->results->log_dir = STR(KAFKA_LOG_DIR);
    if (q->topics_n < 0)
        size_all(s, a->results);
    else
        size_asked(s, a->results);
    finish(s);
}

/* ---- DescribeProducers ----------------------------------------------------------------------- */

static void list_producers(struct visit *v)
{
    struct partition *p = v->partition;

    v->nproducers = p->producers.n;
    v->producers = mem_array(v->nproducers + 1, sizeof(*v->producers));
    v->begins = mem_array(v->nproducers + 1, sizeof(*v->begins));
    producers_list(&p->producers, v->producers);
    for (uint64_t i = 0; i < v->nproducers; i++)
        v->begins[i] = partition_txn_first(p, v->producers[i].id);
    back_home(v, KAFKA_NONE);
}

static void visit_gone(struct partition_job *j)
{
    back_home(CONTAINER_OF(j, struct visit, job), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

static void txns_known(struct partition_job *j, bool ok)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);

    if (ok)
        list_producers(v);
    else
        visit_gone(j);
}

static void producers_known(struct partition_job *j, bool ok)
{
    struct visit *v = CONTAINER_OF(j, struct visit, job);

    v->job.wake = txns_known;
    if (!ok)
        visit_gone(j);
    else if (partition_know_txns(v->partition, j))
        list_producers(v);
}

static void look_producers(struct visit *v)
{
    v->job.wake = producers_known;
    v->job.gone = visit_gone;
    if (partition_know_producers(v->partition, &v->job))
        producers_known(&v->job, true);
}

static void put_producers(struct visit *v)
{
    struct kafka_describe_producers_response_partitions *p = v->answer;
    struct kafka_request *r = v->survey->request;
    size_t n = (size_t) v->nproducers;

    p->error_code = v->error;
    if (v->error != KAFKA_NONE || !kafka_has_room(r, n * sizeof(*p->active_producers)))
        return;
    p->active_producers_n = (int32_t) n;
    p->active_producers = KAFKA_NEW(&r->arena, describe_producers_response_active_producers, n);
    for (size_t i = 0; i < n; i++) {
        struct kafka_describe_producers_response_active_producers *to = &p->active_producers[i];
        to->producer_id = v->producers[i].id;
        to->producer_epoch = v->producers[i].epoch;
        to->last_sequence = v->producers[i].last;
        to->coordinator_epoch = -1;
        to->current_txn_start_offset = v->begins[i] != 0 ? (int64_t) v->begins[i] - 1 : -1;
    }
}

/* Each partition once. */
static int16_t ask_producers(struct survey *s, struct once *asked, struct str topic,
                             struct kafka_describe_producers_response_partitions *p)
{
    struct kafka_request *r = s->request;

    if (asked->map.count >= PRODUCERS_ASKED_MAX || !kafka_has_room(r, TOPIC_NAME_MAX) ||
        topic.n > TOPIC_NAME_MAX ||
        !once_take(asked,
                   kafka_arena_text(&r->arena, "%d %.*s", p->partition_index, STR_ARG(topic))))
        return KAFKA_INVALID_REQUEST;
    return go(s, topic, p->partition_index, p);
}

void kafka_run_describe_producers(struct kafka_request *r)
{
    const struct kafka_describe_producers_request *q = r->body;
    struct kafka_describe_producers_response *a = r->answer;
    struct survey *s = survey_new(r, look_producers, put_producers);
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
    finish(s);
}
