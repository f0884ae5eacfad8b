/*
 * txn_marks.c - WriteTxnMarkers, as administrators send it: what a producer has open in a partition
 * is ended there, and there alone.
 *
 * The coordinator is not asked, as in Kafka: what it says of the transaction stays as it is, the
 * producer's next batch for the partition is refused, and the end that comes later finds nothing to
 * do there. Where nothing is open nothing is written: a marker of nobody would take an offset and
 * say nothing.
 *
 * To end what others write is to remove it for those who read what is committed, so it needs what
 * DeleteRecords needs.
 */
#include "server/kafka/access.h"
#include "server/kafka/visit.h"

struct marking {
    struct visit visit;
    int64_t producer;
    int16_t epoch;
    bool commit;
};

static int16_t error_of(enum err err)
{
    /* What is refused now alone: clients come again. */
    return err == ERR_LIMIT || err == ERR_NO_SPACE ? KAFKA_NOT_LEADER_OR_FOLLOWER
                                                   : KAFKA_KAFKA_STORAGE_ERROR;
}

static void durable(struct partition_job *j, bool ok)
{
    visit_home(CONTAINER_OF(j, struct visit, job), ok ? KAFKA_NONE : KAFKA_NOT_LEADER_OR_FOLLOWER);
}

static void mark(struct visit *v)
{
    struct marking *m = CONTAINER_OF(v, struct marking, visit);
    struct partition *p = v->partition;
    const struct txn_open *open;
    enum err err;

    if (!visit_knows(v))
        return;
    open = open_txns_find(&p->txns.of, m->producer);
    if (open != NULL && m->epoch < open->epoch) {
        visit_home(v, KAFKA_INVALID_PRODUCER_EPOCH);
        return;
    }
    err = partition_txn_end(p, m->producer, m->epoch, m->commit, &v->job.seq);
    v->job.wake = durable;
    if (err != ERR_OK)
        visit_home(v, error_of(err));
    else if (v->job.seq == 0 || partition_wait(p, &v->job))
        visit_home(v, KAFKA_NONE);
}

static void put(struct visit *v)
{
    struct kafka_write_txn_markers_response_partitions *to = v->answer;

    to->error_code = v->error;
}

static int16_t send(struct visits *s, struct str topic, int32_t index,
                    const struct kafka_write_txn_markers_request_markers *q, void *answer)
{
    struct kafka_request *r = s->request;
    struct marking *m;

    if (!access_may_call(r, "STREAM.PURGE", topic))
        return KAFKA_CLUSTER_AUTHORIZATION_FAILED;
    if (!kafka_has_room(r, sizeof(*m) + TOPIC_NAME_MAX))
        return KAFKA_INVALID_REQUEST;
    m = kafka_arena_alloc(&r->arena, sizeof(*m));
    *m = (struct marking){.visit.answer = answer,
                          .producer = q->producer_id,
                          .epoch = q->producer_epoch,
                          .commit = q->transaction_result};
    return visits_send(s, &m->visit, topic, index) ? KAFKA_NONE : KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
}

static void send_all(struct visits *s, const struct kafka_write_txn_markers_request_markers *q,
                     struct kafka_write_txn_markers_response_markers *to)
{
    struct kafka_request *r = s->request;

    to->producer_id = q->producer_id;
    to->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    to->topics = KAFKA_NEW(&r->arena, write_txn_markers_response_topics, to->topics_n);
    for (int32_t i = 0; i < to->topics_n; i++) {
        const struct kafka_write_txn_markers_request_topics *t = &q->topics[i];
        int32_t n = t->partition_indexes_n > 0 ? t->partition_indexes_n : 0;
        to->topics[i].name = t->name;
        to->topics[i].partitions_n = n;
        to->topics[i].partitions = KAFKA_NEW(&r->arena, write_txn_markers_response_partitions, n);
        for (int32_t k = 0; k < n; k++) {
            struct kafka_write_txn_markers_response_partitions *p = &to->topics[i].partitions[k];
            p->partition_index = t->partition_indexes[k];
            p->error_code = send(s, t->name, p->partition_index, q, p);
        }
    }
}

void kafka_run_write_txn_markers(struct kafka_request *r)
{
    const struct kafka_write_txn_markers_request *q = r->body;
    struct kafka_write_txn_markers_response *a = r->answer;
    struct visits *s = visits_begin(r, mark, put);

    a->markers_n = q->markers_n > 0 ? q->markers_n : 0;
    a->markers = KAFKA_NEW(&r->arena, write_txn_markers_response_markers, a->markers_n);
    for (int32_t i = 0; i < a->markers_n; i++)
        send_all(s, &q->markers[i], &a->markers[i]);
    visits_end(s);
}
