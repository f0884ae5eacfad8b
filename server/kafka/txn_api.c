/*
 * txn_api.c - InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, TxnOffsetCommit.
 *
 * A producer is who it says by producer id and epoch; InitProducerId raises the epoch, and with it
 * fences whoever had the transactional id before. A producer says which partitions it will write to
 * before it does, or (transaction.version 2) leaves that to its first Produce (txn_want.c), and to
 * its first TxnOffsetCommit.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/kafka/access.h"
#include "server/kafka/txn.h"

static bool id_valid(struct str id)
{
    return id.n > 0 && id.n <= TXN_ID_MAX;
}

/* 0, or why not. */
int16_t txn_check_id(const struct kafka_request *r, struct str id)
{
    if (!id_valid(id))
        return KAFKA_INVALID_REQUEST;
    return access_may_transact(r, id) ? KAFKA_NONE : KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

/* Before version 2 of most requests there was no word for it. */
int16_t txn_fenced(const struct errand *e)
{
    return e->request->header.version >= 2 ? KAFKA_PRODUCER_FENCED : KAFKA_INVALID_PRODUCER_EPOCH;
}

/* ---- InitProducerId -------------------------------------------------------------------------- */

static void init_failed(struct errand *e, int16_t error)
{
    struct kafka_init_producer_id_response *a = e->request->answer;

    a->error_code = error;
    a->producer_id = -1;
    a->producer_epoch = -1;
}

static void init_saved(struct txn *t, struct errand *e, int16_t error)
{
    struct kafka_init_producer_id_response *a = e->request->answer;

    if (error != KAFKA_NONE) {
        errand_failed(e, error);
        return;
    }
    a->producer_id = t->producer;
    a->producer_epoch = t->epoch;
    errand_done(e);
}

/* Does the request come from the one who has the id, if it says who it is? */
static bool is_current(const struct txn *t, const struct kafka_init_producer_id_request *q)
{
    return q->producer_id < 0 || (q->producer_id == t->producer && q->producer_epoch == t->epoch);
}

/* ... or has its epoch from it, and the answer was lost (KIP-360)? */
static bool is_asked_again(const struct txn *t, const struct kafka_init_producer_id_request *q)
{
    return t->state == TXN_EMPTY && q->producer_id >= 0 && q->producer_id == t->asked_producer &&
           q->producer_epoch == t->asked_epoch;
}

static void raise_epoch(struct coordinator *c, struct txn *t,
                        const struct kafka_init_producer_id_request *q)
{
    t->asked_producer = q->producer_id;
    t->asked_epoch = q->producer_epoch;
    if (t->producer < 0 || t->epoch >= TXN_EPOCH_LAST) {
        t->producer = txn_new_producer(c->kafka);
        t->epoch = 0;
    } else {
        t->epoch++;
    }
    t->previous = -1;
}

/* A request, and who asks (txn_table.h). */
struct asked_init {
    struct kafka_init_producer_id_request q;
    struct str who;
};

static void init(struct coordinator *c, struct errand *e)
{
    const struct asked_init *asked = e->request->body;
    const struct kafka_init_producer_id_request *q = &asked->q;
    struct txn *t = txn_get(c, q->transactional_id, asked->who);
    bool again = t != NULL && is_asked_again(t, q);

    if (t == NULL) {
        errand_failed(e, KAFKA_COORDINATOR_NOT_AVAILABLE);
    } else if (!again && !is_current(t, q)) {
        errand_failed(e, e->request->header.version >= 4 ? KAFKA_PRODUCER_FENCED
                                                         : KAFKA_INVALID_PRODUCER_EPOCH);
    } else if (t->op != NULL || t->state == TXN_PREPARE_COMMIT || t->state == TXN_PREPARE_ABORT) {
        errand_failed(e, KAFKA_CONCURRENT_TRANSACTIONS);
    } else if (t->state == TXN_ONGOING) {
        /* Raised for whoever had the id, unless it is the same one that begins anew. */
        txn_end(t, false, q->producer_id < 0, NULL, NULL);
        errand_failed(e, KAFKA_CONCURRENT_TRANSACTIONS);
    } else {
        if (!again)
            raise_epoch(c, t, q);
        txn_table_own(&c->txns, t, asked->who);
        t->state = TXN_EMPTY;
        t->timeout_ms = q->transaction_timeout_ms;
        txn_save(t, e, init_saved);
    }
}

/* At home: the user may be another one there. */
static const struct asked_init *name_asker(struct kafka_request *r)
{
    const struct kafka_conn *c = r->conn;
    struct asked_init *asked = kafka_arena_alloc(&r->arena, sizeof(*asked));
    const char *name = c->user == NULL         ? NULL
                       : c->user->name != NULL ? c->user->name
                                               : c->user->nkey;

    asked->q = *(const struct kafka_init_producer_id_request *) r->body;
    asked->who = kafka_arena_str(&r->arena, str_of(name != NULL ? name : c->peer.host));
    return asked;
}

void kafka_run_init_producer_id(struct kafka_request *r)
{
    const struct kafka_init_producer_id_request *q = r->body;
    struct kafka_init_producer_id_response *a = r->answer;

    a->producer_epoch = 0;
    if (q->transactional_id.p == NULL) {
        a->producer_id = txn_new_producer(r->kafka);
        kafka_reply(r);
        return;
    }
    a->error_code = txn_check_id(r, q->transactional_id);
    if (a->error_code == KAFKA_NONE &&
        (q->transaction_timeout_ms <= 0 || q->transaction_timeout_ms > TXN_TIMEOUT_MAX_MS))
        a->error_code = KAFKA_INVALID_TRANSACTION_TIMEOUT;
    if (a->error_code != KAFKA_NONE) {
        kafka_reply(r);
        return;
    }
    r->body = name_asker(r);
    errand_start(r, STR_NONE, init, init_failed, NULL);
}

/* ---- AddPartitionsToTxn ---------------------------------------------------------------------- */

static void parts_failed(struct errand *e, int16_t error)
{
    struct kafka_add_partitions_to_txn_response *a = e->request->answer;

    for (int32_t i = 0; i < a->results_by_topic_v3_and_below_n; i++) {
        struct kafka_add_partitions_to_txn_response_topic_results *t =
            &a->results_by_topic_v3_and_below[i];
        for (int32_t k = 0; k < t->results_by_partition_n; k++)
            t->results_by_partition[k].partition_error_code = error;
    }
}

static void parts_bound(struct txn *t, struct errand *e, int16_t error)
{
    (void) t;
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        errand_done(e);
}

static int16_t add_missing(struct txn *t, const struct kafka_add_partitions_to_txn_request *q)
{
    int16_t error = KAFKA_NONE;

    for (int32_t i = 0; i < q->v3_and_below_topics_n; i++) {
        const struct kafka_add_partitions_to_txn_request_topics *topic = &q->v3_and_below_topics[i];
        for (int32_t k = 0; k < topic->partitions_n && error == KAFKA_NONE; k++)
            error = txn_want_part(t, topic->name, topic->partitions[k]);
    }
    return error;
}

static void add_parts(struct coordinator *c, struct errand *e)
{
    const struct kafka_add_partitions_to_txn_request *q = e->request->body;
    int16_t error;
    struct txn *t = txn_for(c, q->v3_and_below_transactional_id, q->v3_and_below_producer_id,
                            q->v3_and_below_producer_epoch, txn_fenced(e), &error);

    if (t == NULL) {
        errand_failed(e, error);
        return;
    }
    txn_begin(t);
    error = add_missing(t, q);
    /* Also when none is new: the record may have failed the last time. */
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        txn_bind(t, true, e, parts_bound);
}

/* True when all of them can be written to. */
static bool check_parts(struct kafka_request *r)
{
    const struct kafka_add_partitions_to_txn_request *q = r->body;
    struct kafka_add_partitions_to_txn_response *a = r->answer;
    bool good = true;

    for (int32_t i = 0; i < a->results_by_topic_v3_and_below_n; i++) {
        struct kafka_add_partitions_to_txn_response_topic_results *t =
            &a->results_by_topic_v3_and_below[i];
        for (int32_t k = 0; k < t->results_by_partition_n; k++) {
            int32_t index = t->results_by_partition[k].partition_index;
            struct topic_place place;
            int16_t error = KAFKA_OPERATION_NOT_ATTEMPTED; /* unless all are good */
            if (!topics_partition(r->realm->topics, q->v3_and_below_topics[i].name, index, &place))
                error = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            else if (!place.writable || !access_may_write(r, t->name, index))
                error = KAFKA_TOPIC_AUTHORIZATION_FAILED;
            t->results_by_partition[k].partition_error_code = error;
            good = good && error == KAFKA_OPERATION_NOT_ATTEMPTED;
        }
    }
    return good;
}

static void nothing_wrong(struct errand *e)
{
    if (e->error == KAFKA_NONE)
        parts_failed(e, KAFKA_NONE);
}

void kafka_run_add_partitions_to_txn(struct kafka_request *r)
{
    const struct kafka_add_partitions_to_txn_request *q = r->body;
    struct kafka_add_partitions_to_txn_response *a = r->answer;
    int32_t n = q->v3_and_below_topics_n > 0 ? q->v3_and_below_topics_n : 0;
    int16_t error = txn_check_id(r, q->v3_and_below_transactional_id);

    a->results_by_topic_v3_and_below_n = n;
    a->results_by_topic_v3_and_below = KAFKA_NEW(&r->arena,
                                                 add_partitions_to_txn_response_topic_results, n);
    for (int32_t i = 0; i < n; i++) {
        struct kafka_add_partitions_to_txn_response_topic_results *t =
            &a->results_by_topic_v3_and_below[i];
        int32_t m = q->v3_and_below_topics[i].partitions_n;
        t->name = q->v3_and_below_topics[i].name;
        t->results_by_partition_n = m > 0 ? m : 0;
        t->results_by_partition = KAFKA_NEW(&r->arena,
                                            add_partitions_to_txn_response_results_by_partition,
                                            t->results_by_partition_n);
        for (int32_t k = 0; k < m; k++)
            t->results_by_partition[k].partition_index = q->v3_and_below_topics[i].partitions[k];
    }
    if (error != KAFKA_NONE)
        parts_failed(&(struct errand){.request = r}, error);
    else if (check_parts(r)) {
        errand_start(r, STR_NONE, add_parts, parts_failed, nothing_wrong);
        return;
    }
    kafka_reply(r);
}

/* ---- AddOffsetsToTxn ------------------------------------------------------------------------- */

static void group_failed(struct errand *e, int16_t error)
{
    struct kafka_add_offsets_to_txn_response *a = e->request->answer;

    a->error_code = error;
}

static void saved(struct txn *t, struct errand *e, int16_t error)
{
    (void) t;
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        errand_done(e);
}

static void add_group(struct coordinator *c, struct errand *e)
{
    const struct kafka_add_offsets_to_txn_request *q = e->request->body;
    int16_t error;
    struct txn *t = txn_for(c, q->transactional_id, q->producer_id, q->producer_epoch,
                            txn_fenced(e), &error);

    if (t == NULL) {
        errand_failed(e, error);
        return;
    }
    if (t->state == TXN_ONGOING) {
        errand_done(e);
        return;
    }
    txn_begin(t);
    txn_save(t, e, saved);
}

void kafka_run_add_offsets_to_txn(struct kafka_request *r)
{
    const struct kafka_add_offsets_to_txn_request *q = r->body;
    struct kafka_add_offsets_to_txn_response *a = r->answer;

    a->error_code = txn_check_id(r, q->transactional_id);
    if (a->error_code == KAFKA_NONE && !coordinator_name_valid(q->group_id))
        a->error_code = KAFKA_INVALID_GROUP_ID;
    if (a->error_code != KAFKA_NONE)
        kafka_reply(r);
    else
        errand_start(r, q->group_id, add_group, group_failed, NULL);
}

/* ---- TxnOffsetCommit ------------------------------------------------------------------------- */

/* From this version on AddOffsetsToTxn is not needed before it. */
#define BY_ITSELF 5

/* The places that have no error yet. */
static void offsets_failed(struct errand *e, int16_t error)
{
    struct kafka_txn_offset_commit_response *a = e->request->answer;

    for (int32_t i = 0; i < a->topics_n; i++)
        for (int32_t k = 0; k < a->topics[i].partitions_n; k++)
            if (a->topics[i].partitions[k].error_code == KAFKA_NONE)
                a->topics[i].partitions[k].error_code = error;
}

static int16_t check_group(struct coordinator *c, struct errand *e)
{
    const struct kafka_txn_offset_commit_request *q = e->request->body;
    struct group_entry *g = coordinator_find(c, q->group_id);
    int16_t error;

    if (g == NULL)
        return q->generation_id < 0 ? KAFKA_NONE : KAFKA_ILLEGAL_GENERATION;
    if (g->consumer == NULL)
        error = group_may_commit(&g->core, q->member_id, q->group_instance_id, q->generation_id,
                                 true, io_now(e->env->io));
    else if (q->generation_id < 0 && q->member_id.n == 0)
        error = KAFKA_NONE; /* a producer that does not say which member it commits for */
    else
        error = consumer_group_may_commit(g->consumer, q->member_id, q->generation_id);
    if (error == KAFKA_STALE_MEMBER_EPOCH)
        error = KAFKA_ILLEGAL_GENERATION;
    coordinator_touch(g);
    return error;
}

/* The end of the transaction asks nobody: so groups may hold more by what transactions may have. */
static bool may_hold(struct coordinator *c, struct str group, const struct committed_offset *o)
{
    const struct group_entry *g = coordinator_find(c, group);
    const struct committed_offset *now = g != NULL
                                             ? committed_find(&g->offsets, o->topic, o->partition)
                                             : NULL;

    return held_may(&c->offsets_held, now != NULL ? now->metadata.n : 0, o->metadata.n);
}

static void put_offsets(struct errand *e, struct txn *t)
{
    struct kafka_request *r = e->request;
    const struct kafka_txn_offset_commit_request *q = r->body;
    struct kafka_txn_offset_commit_response *a = r->answer;

    for (int32_t i = 0; i < a->topics_n; i++)
        for (int32_t k = 0; k < a->topics[i].partitions_n; k++) {
            const struct kafka_txn_offset_commit_request_partitions *p =
                &q->topics[i].partitions[k];
            struct kafka_txn_offset_commit_response_partitions *to = &a->topics[i].partitions[k];
            struct committed_offset o = {.topic = q->topics[i].name,
                                         .partition = p->partition_index,
                                         .offset = p->committed_offset,
                                         .epoch = p->committed_leader_epoch,
                                         .metadata = p->committed_metadata};
            struct topic_place place;
            if (to->error_code != KAFKA_NONE)
                continue;
            if (p->committed_metadata.n > COMMITTED_METADATA_MAX ||
                !may_hold(t->coordinator, q->group_id, &o))
                to->error_code = KAFKA_OFFSET_METADATA_TOO_LARGE;
            else if (!topics_partition(r->realm->topics, o.topic, o.partition, &place))
                to->error_code = KAFKA_UNKNOWN_TOPIC_OR_PARTITION;
            else if (t->noffsets >= TXN_OFFSETS_MAX ||
                     t->offset_bytes + txn_offset_cost(q->group_id, &o) > TXN_OFFSET_BYTES_MAX)
                to->error_code = KAFKA_INVALID_COMMIT_OFFSET_SIZE;
            else if (!txn_table_may_hold(&t->coordinator->txns, t,
                                         txn_offset_cost(q->group_id, &o)))
                to->error_code = KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
            if (to->error_code != KAFKA_NONE)
                continue;
            o.topic_id = place.id;
            txn_put_offset(t, q->group_id, &o);
        }
}

static void txn_offsets(struct coordinator *c, struct errand *e)
{
    const struct kafka_txn_offset_commit_request *q = e->request->body;
    int16_t error;
    struct txn *t = txn_for(c, q->transactional_id, q->producer_id, q->producer_epoch,
                            KAFKA_INVALID_PRODUCER_EPOCH, &error);

    if (t != NULL && t->state != TXN_ONGOING && e->request->header.version < BY_ITSELF)
        error = KAFKA_INVALID_TXN_STATE;
    if (error == KAFKA_NONE)
        error = check_group(c, e);
    if (error != KAFKA_NONE) {
        errand_failed(e, error);
        return;
    }
    txn_begin(t);
    put_offsets(e, t);
    txn_save(t, e, saved);
}

void kafka_run_txn_offset_commit(struct kafka_request *r)
{
    const struct kafka_txn_offset_commit_request *q = r->body;
    struct kafka_txn_offset_commit_response *a = r->answer;
    int16_t error = txn_check_id(r, q->transactional_id);

    if (error == KAFKA_NONE && !coordinator_name_valid(q->group_id))
        error = KAFKA_INVALID_GROUP_ID;
    a->topics_n = q->topics_n > 0 ? q->topics_n : 0;
    a->topics = KAFKA_NEW(&r->arena, txn_offset_commit_response_topics, a->topics_n);
    for (int32_t i = 0; i < a->topics_n; i++) {
        int32_t n = q->topics[i].partitions_n > 0 ? q->topics[i].partitions_n : 0;
        a->topics[i].name = q->topics[i].name;
        a->topics[i].partitions_n = n;
        a->topics[i].partitions = KAFKA_NEW(&r->arena, txn_offset_commit_response_partitions, n);
        for (int32_t k = 0; k < n; k++) {
            int32_t index = q->topics[i].partitions[k].partition_index;
            a->topics[i].partitions[k].partition_index = index;
            if (error == KAFKA_NONE && !access_may_read(r, q->topics[i].name, index))
                a->topics[i].partitions[k].error_code = KAFKA_TOPIC_AUTHORIZATION_FAILED;
        }
    }
    if (error != KAFKA_NONE) {
        offsets_failed(&(struct errand){.request = r}, error);
        kafka_reply(r);
        return;
    }
    errand_start(r, q->group_id, txn_offsets, offsets_failed, NULL);
}
