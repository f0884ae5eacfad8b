/*
 * open_txns.c - see open_txns.h.
 *
 * The coordinator epoch of a marker says how far before it the transaction began, in messages:
 * minus that where it ends; 0 when it is too far to be said, or was not written. So an end says by
 * itself which messages were aborted, also when the limits have taken the first ones. A marker of
 * the older kind, which begins a transaction or goes on with it, says 1 + how far, or FAR.
 */
#include "server/kafka/open_txns.h"

#include "lib/base/mem.h"

#include <string.h>

#define FAR INT32_MAX

void open_txns_init(struct open_txns *x)
{
    *x = (struct open_txns){0};
    list_init(&x->open);
}

void open_txns_drop(struct txn_open *t)
{
    list_remove(&t->link);
    mem_free(t);
}

void open_txns_deinit(struct open_txns *x)
{
    struct list *l;

    while ((l = list_first(&x->open)) != NULL)
        open_txns_drop(LIST_ENTRY(l, struct txn_open, link));
    mem_free(x->aborted);
}

struct txn_open *open_txns_find(const struct open_txns *x, int64_t producer)
{
    LIST_FOREACH(l, &x->open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->producer == producer)
            return t;
    }
    return NULL;
}

static struct txn_open *add(struct open_txns *x, int64_t producer, int16_t epoch)
{
    struct txn_open *t = mem_zalloc(sizeof(*t));

    t->producer = producer;
    t->epoch = epoch;
    list_push_back(&x->open, &t->link);
    return t;
}

/* ---- while it is open ------------------------------------------------------------------------ */

enum err open_txns_bind(struct open_txns *x, int64_t producer, int16_t epoch, uint64_t durable,
                        uint64_t *from)
{
    struct txn_open *t = open_txns_find(x, producer);

    *from = 0;
    if (t != NULL && t->end != 0)
        return ERR_AGAIN;
    if (t == NULL) {
        t = add(x, producer, epoch);
        /* Not what is assigned: that may be taken back, and given to its first batch. */
        t->from = durable + 1;
    }
    t->epoch = epoch;
    *from = t->from;
    return ERR_OK;
}

void open_txns_remind(struct open_txns *x, int64_t producer, int16_t epoch, uint64_t from,
                      uint64_t durable)
{
    struct txn_open *t;

    if (open_txns_find(x, producer) != NULL)
        return;
    t = add(x, producer, epoch);
    /* A stream that had lost its end may give these sequences away a second time. */
    t->from = t->begin = from > durable + 1 ? durable + 1 : from;
}

bool open_txns_may_write(const struct open_txns *x, int64_t producer, int16_t epoch)
{
    const struct txn_open *t = open_txns_find(x, producer);

    return t != NULL && t->epoch == epoch && t->end == 0;
}

void open_txns_wrote(struct open_txns *x, int64_t producer, uint64_t seq)
{
    struct txn_open *t = open_txns_find(x, producer);

    if (t != NULL && t->begin == 0)
        t->begin = seq;
}

void open_txns_ended(struct txn_open *t, uint64_t seq, bool commit)
{
    t->end = seq;
    t->commit = commit;
}

/* ---- what the stream tells ------------------------------------------------------------------- */

static void note_aborted(struct open_txns *x, int64_t producer, uint64_t first, uint64_t last)
{
    if (x->naborted == x->cap) {
        x->cap = x->cap * 2 + 8;
        x->aborted = mem_realloc(x->aborted, x->cap * sizeof(*x->aborted));
    }
    /* Those whose ends become durable together come in another order. */
    size_t at = x->naborted++;
    for (; at > 0 && x->aborted[at - 1].last > last; at--)
        x->aborted[at] = x->aborted[at - 1];
    x->aborted[at] = (struct txn_aborted){producer, first, last};
}

size_t open_txns_aborted_from(const struct open_txns *x, uint64_t seq)
{
    size_t from = 0, to = x->naborted;

    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (x->aborted[middle].last < seq)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

/* One without a message is in nobody's way. */
static void decide(struct open_txns *x, struct txn_open *t)
{
    if (!t->commit && t->begin != 0)
        note_aborted(x, t->producer, t->begin, t->end);
    open_txns_drop(t);
}

void open_txns_committed(struct open_txns *x, uint64_t durable)
{
    LIST_FOREACH_SAFE(l, tmp, &x->open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end != 0 && t->end <= durable)
            decide(x, t);
    }
}

void open_txns_refused(struct open_txns *x, uint64_t durable)
{
    LIST_FOREACH(l, &x->open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end > durable)
            t->end = 0;
        if (t->begin > durable)
            t->begin = 0;
    }
}

void open_txns_forget(struct open_txns *x, uint64_t first)
{
    size_t n = open_txns_aborted_from(x, first);

    if (n == 0)
        return;
    memmove(x->aborted, x->aborted + n, (x->naborted - n) * sizeof(*x->aborted));
    x->naborted -= n;
}

uint64_t open_txns_undecided(const struct open_txns *x, uint64_t first, uint64_t durable)
{
    uint64_t least = durable + 1;

    LIST_FOREACH(l, &x->open)
    {
        const struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->begin != 0 && t->begin < least)
            least = t->begin < first ? first : t->begin;
    }
    return least;
}

bool open_txns_was_aborted(const struct open_txns *x, int64_t producer, uint64_t seq)
{
    /* The first one of this producer that ends there or behind it. */
    for (size_t i = open_txns_aborted_from(x, seq); i < x->naborted; i++)
        if (x->aborted[i].producer == producer)
            return x->aborted[i].first <= seq;
    return false;
}

/* ---- markers --------------------------------------------------------------------------------- */

int32_t open_txns_end_epoch(const struct txn_open *t, uint64_t seq)
{
    uint64_t back = t->begin != 0 && t->begin < seq ? seq - t->begin : 1;

    return back < FAR ? -(int32_t) back : 0;
}

/* Where the transaction began, as this says; first when it does not. */
static uint64_t begin_of(const struct txn_marker *m, uint64_t first)
{
    uint64_t back;

    if (m->coordinator == FAR || m->coordinator == 0)
        return first;
    back = txn_marker_begins(m) ? (uint64_t) m->coordinator - 1
                                : (uint64_t) - (int64_t) m->coordinator;
    return back < m->seq && m->seq - back > first ? m->seq - back : first;
}

void open_txns_take(struct open_txns *x, const struct txn_marker *m, uint64_t first)
{
    struct txn_open *t = open_txns_find(x, m->producer);
    uint64_t begin = begin_of(m, first);

    if (txn_marker_begins(m)) {
        if (t == NULL)
            t = add(x, m->producer, m->epoch);
        if (t->begin == 0)
            t->begin = begin;
        return;
    }
    if (t != NULL && m->seq >= t->from) {
        if (m->coordinator == 0 && t->begin != 0)
            begin = t->begin;
        open_txns_drop(t);
    }
    if (!m->commit)
        note_aborted(x, m->producer, begin, m->seq);
}
