/* txn_admin.c - DescribeTransactions, ListTransactions: what the coordinator knows. */
#include "lib/io/io.h"
#include "server/kafka/access.h"
#include "server/kafka/once.h"
#include "server/kafka/txn.h"

#include <stdlib.h>
#include <string.h>

/* Most filters in one request. */
#define FILTERS_MAX 1024

static const struct str states[TXN_STATES] = {
    [TXN_EMPTY] = STR_LIT("Empty"),
    [TXN_ONGOING] = STR_LIT("Ongoing"),
    [TXN_PREPARE_COMMIT] = STR_LIT("PrepareCommit"),
    [TXN_PREPARE_ABORT] = STR_LIT("PrepareAbort"),
    [TXN_COMPLETE_COMMIT] = STR_LIT("CompleteCommit"),
    [TXN_COMPLETE_ABORT] = STR_LIT("CompleteAbort"),
};

/* ---- DescribeTransactions -------------------------------------------------------------------- */

typedef struct kafka_describe_transactions_response_transaction_states told_txn;

static int by_topic(const void *a, const void *b)
{
    const struct txn_part *x = a, *y = b;
    int c = str_cmp(x->topic, y->topic);

    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

static void put_parts(struct kafka_request *r, const struct txn *t, told_txn *to)
{
    struct txn_part *parts = kafka_arena_alloc(&r->arena, (t->nparts + 1) * sizeof(*parts));
    int32_t *indexes = kafka_arena_alloc(&r->arena, (t->nparts + 1) * sizeof(*indexes));

    memcpy(parts, t->parts, t->nparts * sizeof(*parts));
    qsort(parts, t->nparts, sizeof(*parts), by_topic);
    to->topics = KAFKA_NEW(&r->arena, describe_transactions_response_topics, t->nparts);
    for (uint32_t i = 0; i < t->nparts; i++) {
        if (i == 0 || !str_eq(parts[i].topic, parts[i - 1].topic)) {
            to->topics[to->topics_n].topic = kafka_arena_str(&r->arena, parts[i].topic);
            to->topics[to->topics_n++].partitions = &indexes[i];
        }
        indexes[i] = parts[i].index;
        to->topics[to->topics_n - 1].partitions_n++;
    }
}

static void put_txn(struct kafka_request *r, const struct txn *t, told_txn *to)
{
    to->transaction_state = states[t->state];
    to->transaction_timeout_ms = t->timeout_ms;
    to->transaction_start_time_ms = t->state == TXN_EMPTY ? -1 : t->started_ms;
    to->producer_id = t->producer;
    to->producer_epoch = t->epoch;
    if (t->nparts > 0)
        put_parts(r, t, to);
}

static void describe(struct coordinator *c, struct errand *e)
{
    struct kafka_describe_transactions_response *a = e->request->answer;

    for (int32_t i = 0; i < a->transaction_states_n; i++) {
        told_txn *to = &a->transaction_states[i];
        const struct txn *t = txn_find(c, to->transactional_id);
        if (to->error_code != KAFKA_NONE)
            continue;
        if (t != NULL)
            put_txn(e->request, t, to);
        else
            to->error_code = KAFKA_TRANSACTIONAL_ID_NOT_FOUND;
    }
    errand_done(e);
}

static void describe_failed(struct errand *e, int16_t error)
{
    struct kafka_describe_transactions_response *a = e->request->answer;

    for (int32_t i = 0; i < a->transaction_states_n; i++)
        a->transaction_states[i].error_code = error;
}

void kafka_run_describe_transactions(struct kafka_request *r)
{
    const struct kafka_describe_transactions_request *q = r->body;
    struct kafka_describe_transactions_response *a = r->answer;
    int32_t n = q->transactional_ids_n > 0 ? q->transactional_ids_n : 0;
    struct once ids;

    once_init(&ids, &r->arena, kafka_seed(r));
    a->transaction_states = KAFKA_NEW(&r->arena, describe_transactions_response_transaction_states,
                                      n);
    for (int32_t i = 0; i < n; i++) {
        told_txn *to = &a->transaction_states[a->transaction_states_n];
        if (!once_take(&ids, q->transactional_ids[i]))
            continue;
        a->transaction_states_n++;
        to->transactional_id = q->transactional_ids[i];
        if (to->transactional_id.n == 0 || to->transactional_id.n > TXN_ID_MAX)
            to->error_code = KAFKA_INVALID_REQUEST;
        else if (!access_may_transact(r, to->transactional_id))
            to->error_code = KAFKA_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
    }
    once_deinit(&ids);
    errand_start(r, STR_NONE, describe, describe_failed, NULL);
}

/* ---- ListTransactions ------------------------------------------------------------------------ */

static bool wants_state(const struct kafka_list_transactions_request *q, enum txn_state state)
{
    for (int32_t i = 0; i < q->state_filters_n; i++)
        if (str_eq(q->state_filters[i], states[state]))
            return true;
    return q->state_filters_n <= 0;
}

static bool wants_producer(const struct kafka_list_transactions_request *q, int64_t producer)
{
    for (int32_t i = 0; i < q->producer_id_filters_n; i++)
        if (q->producer_id_filters[i] == producer)
            return true;
    return q->producer_id_filters_n <= 0;
}

static void list(struct coordinator *c, struct errand *e)
{
    struct kafka_request *r = e->request;
    const struct kafka_list_transactions_request *q = r->body;
    struct kafka_list_transactions_response *a = r->answer;
    int64_t now = io_wall(c->kafka->env->io) / 1000000;

    a->transaction_states = KAFKA_NEW(&r->arena, list_transactions_response_transaction_states,
                                      c->txns.map.count);
    LIST_FOREACH(l, &c->txns.all)
    {
        const struct txn *t = LIST_ENTRY(l, struct txn, link);
        struct kafka_list_transactions_response_transaction_states *to;
        if (!wants_state(q, t->state) || !wants_producer(q, t->producer) ||
            (q->duration_filter >= 0 &&
             (t->state == TXN_EMPTY || now - t->started_ms < q->duration_filter)))
            continue;
        to = &a->transaction_states[a->transaction_states_n++];
        to->transactional_id = kafka_arena_str(&r->arena, t->id);
        to->producer_id = t->producer;
        to->transaction_state = states[t->state];
    }
    errand_done(e);
}

/* At home: what this client may use is what it sees. */
static void list_filter(struct errand *e)
{
    struct kafka_list_transactions_response *a = e->request->answer;
    int32_t n = 0;

    for (int32_t i = 0; i < a->transaction_states_n; i++)
        if (access_may_transact(e->request, a->transaction_states[i].transactional_id))
            a->transaction_states[n++] = a->transaction_states[i];
    a->transaction_states_n = n;
}

static void list_failed(struct errand *e, int16_t error)
{
    struct kafka_list_transactions_response *a = e->request->answer;

    a->error_code = error;
}

static bool is_state(struct str name)
{
    for (int i = 0; i < TXN_STATES; i++)
        if (str_eq(name, states[i]))
            return true;
    return false;
}

void kafka_run_list_transactions(struct kafka_request *r)
{
    const struct kafka_list_transactions_request *q = r->body;
    struct kafka_list_transactions_response *a = r->answer;
    struct topic_place place;
    int32_t n = q->state_filters_n > 0 ? q->state_filters_n : 0;

    if (n > FILTERS_MAX || q->producer_id_filters_n > FILTERS_MAX) {
        a->error_code = KAFKA_INVALID_REQUEST;
        kafka_reply(r);
        return;
    }
    a->unknown_state_filters = kafka_arena_alloc(&r->arena,
                                                 (size_t) n * sizeof(*a->unknown_state_filters));
    for (int32_t i = 0; i < n; i++)
        if (!is_state(q->state_filters[i]))
            a->unknown_state_filters[a->unknown_state_filters_n++] = q->state_filters[i];
    /* Without the offsets stream there are no transactions. */
    if (topics_partition(r->realm->topics, STR(COORDINATOR_TOPIC), 0, &place))
        errand_start(r, STR_NONE, list, list_failed, list_filter);
    else
        kafka_reply(r);
}
