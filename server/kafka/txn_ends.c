/*
 * txn_ends.c - EndTxn, as clients ask for it: the older ones, whose epoch stays as it is, and since
 * version 5 (transaction.version 2) those who go on with the epoch that the answer says.
 *
 * Of the latter the same request comes again with the epoch that was: one less than the one there
 * is, or of the producer before this one.
 */
#include "server/kafka/access.h"
#include "server/kafka/txn.h"

#define RAISES 5

static void end_failed(struct errand *e, int16_t error)
{
    struct kafka_end_txn_response *a = e->request->answer;

    a->error_code = error;
}

static void answer(const struct txn *t, struct errand *e)
{
    struct kafka_end_txn_response *a = e->request->answer;

    if (e->request->header.version >= RAISES) {
        a->producer_id = t->producer;
        a->producer_epoch = t->epoch;
    }
    errand_done(e);
}

static void ended(struct txn *t, struct errand *e, int16_t error)
{
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        answer(t, e);
}

static void end_classic(struct coordinator *c, struct errand *e)
{
    const struct kafka_end_txn_request *q = e->request->body;
    int16_t error;
    struct txn *t = txn_for(c, q->transactional_id, q->producer_id, q->producer_epoch,
                            txn_fenced(e), &error);

    if (t == NULL)
        errand_failed(e, error);
    else if (t->state == TXN_ONGOING)
        txn_end(t, q->committed, false, e, ended);
    else if (t->state == (q->committed ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT))
        answer(t, e); /* the answer was lost */
    else
        errand_failed(e, KAFKA_INVALID_TXN_STATE);
}

/* Does it ask for what was done? Not when the epoch was raised by who has the id now: who had the
 * one before stays fenced, though an older client has ended a transaction since. */
static bool is_retry(const struct txn *t, const struct kafka_end_txn_request *q)
{
    if ((t->state != TXN_COMPLETE_COMMIT && t->state != TXN_COMPLETE_ABORT) ||
        q->producer_id != t->previous)
        return false;
    return t->previous == t->producer ? q->producer_epoch == t->epoch - 1
                                      : t->epoch == 0 && q->producer_epoch == TXN_EPOCH_LAST;
}

/* What it is told before anything is done; 0: it may. */
static int16_t check_raising(const struct txn *t, const struct kafka_end_txn_request *q, bool retry)
{
    if (t == NULL)
        return KAFKA_INVALID_PRODUCER_ID_MAPPING;
    if (t->op != NULL || t->state == TXN_PREPARE_COMMIT || t->state == TXN_PREPARE_ABORT)
        return KAFKA_CONCURRENT_TRANSACTIONS;
    if (q->producer_id != t->producer && !retry)
        return KAFKA_INVALID_PRODUCER_ID_MAPPING;
    if (q->producer_epoch != t->epoch && !retry)
        return KAFKA_PRODUCER_FENCED;
    if (retry)
        return t->state == (q->committed ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT)
                   ? KAFKA_NONE
                   : KAFKA_INVALID_TXN_STATE;
    /* To abort what has nothing is a way to another epoch. */
    return q->committed && t->state != TXN_ONGOING ? KAFKA_INVALID_TXN_STATE : KAFKA_NONE;
}

static void end_raising(struct coordinator *c, struct errand *e)
{
    const struct kafka_end_txn_request *q = e->request->body;
    struct txn *t = txn_find(c, q->transactional_id);
    bool retry = t != NULL && is_retry(t, q);
    int16_t error = check_raising(t, q, retry);

    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else if (retry)
        answer(t, e);
    else
        txn_end(t, q->committed, true, e, ended);
}

void kafka_run_end_txn(struct kafka_request *r)
{
    const struct kafka_end_txn_request *q = r->body;
    struct kafka_end_txn_response *a = r->answer;

    a->error_code = txn_check_id(r, q->transactional_id);
    if (a->error_code != KAFKA_NONE)
        kafka_reply(r);
    else
        errand_start(r, STR_NONE, r->header.version >= RAISES ? end_raising : end_classic,
                     end_failed, NULL);
}
