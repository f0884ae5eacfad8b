/*
 * offsets.c - ListOffsets and OffsetForLeaderEpoch: where a partition begins and ends, and where a
 * time is.
 *
 * Producers' times need not ascend, and what the store indexes is when messages were appended: a
 * question for a time, or for the greatest one, looks through the batches from the first on, at
 * their headers; only in the batch that has the time at its records.
 */
#include "lib/base/mem.h"
#include "lib/wire/kafka_compress.h"
#include "server/kafka/access.h"
#include "server/kafka/once.h"
#include "server/kafka/partition.h"

/* Nothing is moved to another storage: what is local begins with the first, and nothing is the last
 * that was moved. */
enum { LATEST = -1, EARLIEST = -2, MAX_TIME = -3, EARLIEST_LOCAL = -4, LATEST_TIERED = -5 };

struct asking;

struct part {
    struct env_task task;
    struct partition_job job;
    struct asking *asking;
    struct topic_place place;
    struct str stream;
    struct env *env;
    int64_t time; /* asked */
    bool reading; /* reader is in use */
    bool stable;  /* what is not decided yet is not there */
    struct store_reader reader;
    struct partition *partition;
    int16_t error;
    int64_t found_time, offset;
    void (*put)(struct part *part);
    void *answer;
};

struct asking {
    struct kafka_request *request;
    struct kafka *home;
    bool stable;
    uint32_t left;
};

static void finish(struct asking *x)
{
    if (--x->left == 0)
        kafka_reply(x->request);
}

static void come_home(struct env_task *task, struct env *env)
{
    struct part *part = CONTAINER_OF(task, struct part, task);

    (void) env;
    part->put(part);
    finish(part->asking);
}

static void send_home(struct part *part, int16_t error)
{
    part->error = error;
    part->task.run = come_home;
    part->env->post(part->env, part->asking->home->env->worker, &part->task);
}

/* ---- times ----------------------------------------------------------------------------------- */

static void found(struct part *part, int16_t error)
{
    list_remove(&part->job.link);
    store_reader_deinit(&part->reader);
    send_home(part, error);
}

/* The first record of the batch at or behind the time, or the last one with the greatest. */
static void look_inside(struct part *part, const struct kafka_batch *b, int64_t base)
{
    struct kafka_room room = {0};
    struct kafka_record_iter it;
    struct kafka_record r;
    struct str records;

    part->offset = base;
    part->found_time = b->max_time;
    if (kafka_batch_records(b, KAFKA_PLAIN_MAX, &room, &records) == ERR_OK) {
        kafka_record_iter_init(&it, b, records);
        while (kafka_record_iter_next(&it, &r)) {
            bool exists = store_msg_exists(part->partition->store, (uint64_t) r.offset + 1);
            if (exists && (part->time == MAX_TIME ? r.time == b->max_time : r.time >= part->time)) {
                part->offset = r.offset;
                part->found_time = r.time;
                break;
            }
        }
    }
    kafka_room_free(&room);
}

/* True: this is it. */
static bool look_at(struct part *part, const struct store_entry *e)
{
    struct kafka_batch b = {.max_time = e->ts / 1000000};
    bool good = e->kafka && kafka_batch_open(e->batch, &b) == KAFKA_BATCH_OK;

    if (part->time == MAX_TIME ? b.max_time <= part->found_time : b.max_time < part->time)
        return false;
    if (good) {
        look_inside(part, &b, (int64_t) e->first_seq - 1);
    } else {
        part->offset = (int64_t) e->first_seq - 1;
        part->found_time = b.max_time;
    }
    return part->time != MAX_TIME;
}

static void search(struct store_reader *r)
{
    struct part *part = r->ctx;
    struct store_entry e;
    enum store_read got;

    while ((got = store_reader_entry(r, &e)) == STORE_READ_MSG)
        if (look_at(part, &e))
            break;
    if (got != STORE_READ_WAIT)
        found(part, KAFKA_NONE);
}

static void part_gone(struct partition_job *j)
{
    struct part *part = CONTAINER_OF(j, struct part, job);

    if (part->reading)
        found(part, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    else
        send_home(part, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
}

static void stable_known(struct partition_job *j, bool ok)
{
    struct part *part = CONTAINER_OF(j, struct part, job);

    (void) ok;
    part->offset = partition_stable(part->partition);
    send_home(part, KAFKA_NONE);
}

static void arrive(struct env_task *task, struct env *env)
{
    struct part *part = CONTAINER_OF(task, struct part, task);
    struct realm *realm = realm_here(env, part->asking->request->realm);
    struct partition *p = realm != NULL ? partition_get(realm, part->stream) : NULL;
    uint64_t first, last;

    part->env = env;
    part->found_time = part->offset = -1;
    if (p == NULL) {
        send_home(part, KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
        return;
    }
    partition_bounds(p, &first, &last);
    if (part->time == LATEST && part->stable) {
        part->partition = p;
        part->job.gone = part_gone;
        part->job.wake = stable_known;
        if (partition_know_txns(p, &part->job))
            stable_known(&part->job, true);
    } else if (part->time == LATEST_TIERED) {
        send_home(part, KAFKA_NONE);
    } else if (part->time == LATEST || part->time == EARLIEST || part->time == EARLIEST_LOCAL) {
        part->offset = part->time == LATEST ? (int64_t) last : (int64_t) first - 1;
        send_home(part, KAFKA_NONE);
    } else if (part->time < MAX_TIME) {
        send_home(part, KAFKA_INVALID_REQUEST);
    } else {
        part->partition = p;
        part->job.gone = part_gone;
        part->reading = true;
        list_push_back(&p->busy, &part->job.link);
        store_reader_init(&part->reader, p->store, first, NULL, 0, search, part);
        search(&part->reader);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct asking *asking_new(struct kafka_request *r)
{
    struct asking *x = kafka_arena_alloc(&r->arena, sizeof(*x));

    *x = (struct asking){.request = r, .home = r->kafka, .left = 1};
    return x;
}

/* 0, or the error that is known at once. */
static int16_t ask(struct asking *x, struct str topic, int32_t index, int32_t epoch, int64_t time,
                   void (*put)(struct part *part), void *answer)
{
    struct kafka_request *r = x->request;
    struct part *part = kafka_arena_alloc(&r->arena, sizeof(*part));

    part->asking = x;
    part->time = time;
    part->stable = x->stable;
    part->put = put;
    part->answer = answer;
    list_init(&part->job.link);
    if (!partition_find(r->realm, &r->arena, topic, index, &part->place, &part->stream))
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (!access_may_read(r, topic, index))
        return KAFKA_TOPIC_AUTHORIZATION_FAILED;
    if (epoch > KAFKA_EPOCH)
        return KAFKA_UNKNOWN_LEADER_EPOCH;
    x->left++;
    part->task.run = arrive;
    r->kafka->env->post(r->kafka->env, part->place.worker, &part->task);
    return KAFKA_NONE;
}

static void put_offset(struct part *part)
{
    struct kafka_list_offsets_response_partitions *a = part->answer;

    a->error_code = part->error;
    a->timestamp = part->found_time;
    a->offset = part->offset;
    a->leader_epoch = KAFKA_EPOCH;
    if (part->asking->request->header.version == 0 && part->error == KAFKA_NONE &&
        part->offset >= 0) { /* a list: of one */
        a->old_style_offsets = kafka_arena_alloc(&part->asking->request->arena, sizeof(int64_t));
        a->old_style_offsets[0] = part->offset;
        a->old_style_offsets_n = 1;
    }
}

/* Each partition once: to look for a time is to read it. */
static int16_t ask_once(struct asking *x, struct once *asked, struct str topic,
                        const struct kafka_list_offsets_request_partitions *p,
                        struct kafka_list_offsets_response_partitions *answer)
{
    if (topic.n > TOPIC_NAME_MAX)
        return KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
    if (!kafka_has_room(x->request, sizeof(struct part) + 2 * TOPIC_NAME_MAX) ||
        !once_take_partition(asked, topic, p->partition_index))
        return KAFKA_INVALID_REQUEST;
    return ask(x, topic, p->partition_index, p->current_leader_epoch, p->timestamp, put_offset,
               answer);
}

void kafka_run_list_offsets(struct kafka_request *r)
{
    const struct kafka_list_offsets_request *q = r->body;
    struct kafka_list_offsets_response *a = r->answer;
    struct asking *x = asking_new(r);
    struct once asked;

    once_init(&asked, &r->arena, kafka_seed(r));
    x->stable = q->isolation_level == 1;
    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, list_offsets_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        const struct kafka_list_offsets_request_topics *t = &q->topics[i];
        int32_t n = t->partitions_n > 0 ? t->partitions_n : 0;
        a->topics[i].name = t->name;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, list_offsets_response_partitions, n);
        for (int32_t k = 0; k < n; k++) {
            struct kafka_list_offsets_response_partitions *o = &a->topics[i].partitions[k];
            o->partition_index = t->partitions[k].partition_index;
            o->error_code = ask_once(x, &asked, t->name, &t->partitions[k], o);
        }
    }
    once_deinit(&asked);
    finish(x);
}

static void put_end(struct part *part)
{
    struct kafka_offset_for_leader_epoch_response_partitions *a = part->answer;

    a->error_code = part->error;
    a->leader_epoch = KAFKA_EPOCH;
    a->end_offset = part->offset;
}

void kafka_run_offset_for_leader_epoch(struct kafka_request *r)
{
    const struct kafka_offset_for_leader_epoch_request *q = r->body;
    struct kafka_offset_for_leader_epoch_response *a = r->answer;
    struct asking *x = asking_new(r);

    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, offset_for_leader_epoch_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        const struct kafka_offset_for_leader_epoch_request_topics *t = &q->topics[i];
        int32_t n = t->partitions_n > 0 ? t->partitions_n : 0;
        a->topics[i].topic = t->topic;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, offset_for_leader_epoch_response_partitions,
                                            n);
        for (int32_t k = 0; k < n; k++) {
            const struct kafka_offset_for_leader_epoch_request_partitions *p = &t->partitions[k];
            struct kafka_offset_for_leader_epoch_response_partitions *o =
                &a->topics[i].partitions[k];
            o->partition = p->partition;
            /* An epoch that never was has no end. */
            if (p->leader_epoch == KAFKA_EPOCH)
                o->error_code = ask(x, t->topic, p->partition, p->current_leader_epoch, LATEST,
                                    put_end, o);
        }
    }
    finish(x);
}
