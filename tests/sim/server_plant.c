/*
 * server_plant.c - see server_plant.h.
 *
 * PLANT_EARLY_REPLIES is one of the past: replies wait for the commit before the one that carries
 * their messages. With one commit in flight at a time it makes no difference; only with two, and
 * only when power fails, or a reply arrives, between the two. The others are of Kafka's clients:
 * answers that do not wait for the sync, producers, or ends of transactions, that a start does not
 * read back; and of transaction.version 2, where a partition becomes part of a transaction by being
 * written to: a record of that which is believed before it is durable, an end that leaves the
 * epoch.
 */
#include "tests/sim/server_plant.h"

#include "server/core/account.h"
#include "server/js/stream_int.h"
#include "server/kafka/partition.h"

static void plant_early_replies(struct worker *w)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (w->env.jetstream != NULL &&
           (n = hmap_each(&w->env.jetstream->of[0]->streams, &it)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, node);
        uint64_t before = s->durable;
        LIST_FOREACH(l, &s->held)
        {
            struct held *h = LIST_ENTRY(l, struct held, link);
            uint64_t own = h->last_seq;
            /* The first waits for its own commit, the others for the one before. */
            if (before != s->durable)
                h->last_seq = before;
            before = own;
        }
    }
}

/* The partitions of the one account there is. */
static struct realm *realm_of_all(struct worker *w)
{
    return w->env.kafka != NULL && w->env.kafka->nrealms > 0 ? w->env.kafka->realms[0] : NULL;
}

/* Who waits until something is durable there hears that it is. */
static void wake_early(struct partition *p)
{
    struct list *l;

    while ((l = list_pop_front(&p->waits)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        j->wake(j, true);
    }
}

static void plant_early_produce(struct worker *w)
{
    struct realm *realm = realm_of_all(w);
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (realm != NULL && (n = hmap_each(&realm->partitions, &it)) != NULL)
        wake_early(CONTAINER_OF(n, struct partition, node));
}

static void plant_early_records(struct worker *w)
{
    struct realm *realm = realm_of_all(w);
    struct partition *p = NULL;

    if (realm != NULL && realm->coordinator != NULL)
        p = partition_known(realm, STR("__consumer_offsets"));
    if (p != NULL)
        wake_early(p);
}

static void plant_no_producers(struct worker *w)
{
    struct realm *realm = realm_of_all(w);
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (realm != NULL && w->env.jetstream != NULL &&
           (n = hmap_each(&w->env.jetstream->of[0]->streams, &it)) != NULL) {
        const struct stream *s = CONTAINER_OF(n, struct stream, node);
        struct partition *p = partition_get(realm, str_of(s->config.name));
        if (p != NULL && p->known == PRODUCERS_UNREAD)
            p->known = PRODUCERS_READY;
    }
}

static void plant_no_markers(struct worker *w)
{
    struct realm *realm = realm_of_all(w);
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while (realm != NULL && (n = hmap_each(&realm->partitions, &it)) != NULL) {
        struct partition *p = CONTAINER_OF(n, struct partition, node);
        if (p->txns.known == TXNS_UNREAD && list_empty(&p->txns.parked))
            p->txns.known = TXNS_READY;
    }
}

/* ---- in the server's functions --------------------------------------------------------------- */

static unsigned planted;

struct txn;
struct errand;
typedef void (*txn_end_done)(struct txn *t, struct errand *e, int16_t error);

void __real_txn_end(struct txn *t, bool commit, bool raise, struct errand *e, txn_end_done done);
void __wrap_txn_end(struct txn *t, bool commit, bool raise, struct errand *e, txn_end_done done);

void __wrap_txn_end(struct txn *t, bool commit, bool raise, struct errand *e, txn_end_done done)
{
    /* One that a client asked for. */
    bool stays = (planted & PLANT_OLD_EPOCHS) != 0 && e != NULL;

    __real_txn_end(t, commit, raise && !stays, e, done);
}

/* ---- around a step --------------------------------------------------------------------------- */

void plant_before(const struct world *w, struct worker *x)
{
    planted = w->plants;
    if ((w->plants & PLANT_NO_PRODUCERS) != 0)
        plant_no_producers(x);
}

void plant_after(const struct world *w, struct worker *x)
{
    if ((w->plants & PLANT_EARLY_REPLIES) != 0)
        plant_early_replies(x);
    if ((w->plants & PLANT_EARLY_PRODUCE) != 0)
        plant_early_produce(x);
    if ((w->plants & PLANT_EARLY_RECORDS) != 0)
        plant_early_records(x);
    if ((w->plants & PLANT_NO_MARKERS) != 0)
        plant_no_markers(x);
}
