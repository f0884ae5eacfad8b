/*
 * txn_want.c - partitions that a transaction gets by being written to (transaction.version 2).
 *
 * Before a Produce request of version 12 or above goes to its partitions the coordinator is asked
 * whether the transaction has them, and adds those that it does not have, as AddPartitionsToTxn
 * would: the partitions are told, the record is durable, then the batches go. The connection holds
 * its next request meanwhile, so batches stay in their order. While something else is done with the
 * transaction the question waits for that.
 */
#include "lib/base/mem.h"
#include "server/kafka/access.h"
#include "server/kafka/txn.h"

/* What a producer comes again for. */
static int16_t for_producers(int16_t error)
{
    switch (error) {
    case KAFKA_CONCURRENT_TRANSACTIONS:
    case KAFKA_COORDINATOR_NOT_AVAILABLE:
    case KAFKA_COORDINATOR_LOAD_IN_PROGRESS:
    case KAFKA_NOT_COORDINATOR:
        return KAFKA_NOT_ENOUGH_REPLICAS;
    default:
        return error;
    }
}

static void want_failed(struct errand *e, int16_t error)
{
    ((struct txn_want *) e->owner)->error = for_producers(error);
}

static void bound(struct txn *t, struct errand *e, int16_t error)
{
    (void) t;
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else
        errand_done(e);
}

static int16_t add_missing(struct txn *t, const struct txn_want *w)
{
    int16_t error = KAFKA_NONE;

    for (const struct txn_wanted *p = w->parts; p != NULL && error == KAFKA_NONE; p = p->next)
        error = txn_want_part(t, p->topic, p->index);
    return error;
}

static void want_there(struct coordinator *c, struct errand *e)
{
    const struct txn_want *w = e->owner;
    struct txn *t = txn_find(c, w->id);
    uint32_t before;
    int16_t error;

    if (t != NULL && t->op != NULL) {
        if (!txn_wait(t, e))
            errand_failed(e, KAFKA_CONCURRENT_TRANSACTIONS);
        return;
    }
    t = txn_for(c, w->id, w->producer, w->epoch, KAFKA_INVALID_PRODUCER_EPOCH, &error);
    if (t == NULL) {
        errand_failed(e, error);
        return;
    }
    txn_begin(t);
    before = t->nparts;
    error = add_missing(t, w);
    if (error != KAFKA_NONE)
        errand_failed(e, error);
    else if (t->nparts > before || t->unsaved)
        txn_bind(t, false, e, bound);
    else
        errand_done(e);
}

static void want_back(struct errand *e)
{
    struct txn_want *w = e->owner;

    kafka_conn_hold(w->request->conn, false);
    w->done(w);
}

void txn_want_parts(struct txn_want *w)
{
    w->error = txn_check_id(w->request, w->id);
    if (w->error != KAFKA_NONE) {
        w->done(w);
        return;
    }
    kafka_conn_hold(w->request->conn, true);
    errand_before(w->request, w, want_there, want_failed, want_back);
}
