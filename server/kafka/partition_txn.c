/* partition_txn.c - see partition_txn.h. */
#include "server/kafka/partition_txn.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/partition.h"

#include <string.h>

#define BEGINS 1 /* coordinator epoch of a marker that begins */
#define ENDS 0

struct txn_open {
    struct list link;
    int64_t producer;
    int16_t epoch;
    uint64_t begin, end; /* sequences of the markers; end 0 = not yet */
    bool commit;
};

static struct txn_open *find(const struct partition *p, int64_t producer)
{
    LIST_FOREACH(l, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->producer == producer)
            return t;
    }
    return NULL;
}

static void drop(struct txn_open *t)
{
    list_remove(&t->link);
    mem_free(t);
}

/* It has ended. */
static void decide(struct partition *p, struct txn_open *t)
{
    struct partition_txns *x = &p->txns;

    if (!t->commit) {
        if (x->naborted == x->cap) {
            x->cap = x->cap * 2 + 8;
            x->aborted = mem_realloc(x->aborted, x->cap * sizeof(*x->aborted));
        }
        x->aborted[x->naborted++] = (struct txn_aborted){t->producer, t->begin, t->end};
    }
    drop(t);
}

static struct txn_open *open_one(struct partition *p, int64_t producer, int16_t epoch, uint64_t seq)
{
    struct txn_open *t = mem_zalloc(sizeof(*t));

    t->producer = producer;
    t->epoch = epoch;
    t->begin = seq;
    list_push_back(&p->txns.open, &t->link);
    return t;
}

int64_t partition_stable(const struct partition *p)
{
    uint64_t first, last, least;

    partition_bounds(p, &first, &last);
    least = last + 1;
    LIST_FOREACH(l, &p->txns.open)
    {
        const struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->begin < least)
            least = t->begin;
    }
    return (int64_t) least - 1;
}

/* ---- what the stream tells ------------------------------------------------------------------- */

/* Aborted ones of which nothing is left. */
static void forget_old(struct partition *p)
{
    struct partition_txns *x = &p->txns;
    uint64_t first, last;
    size_t n = 0;

    if (x->naborted == 0)
        return;
    partition_bounds(p, &first, &last);
    while (n < x->naborted && x->aborted[n].last < first)
        n++;
    if (n == 0)
        return;
    memmove(x->aborted, x->aborted + n, (x->naborted - n) * sizeof(*x->aborted));
    x->naborted -= n;
}

void partition_txns_committed(struct partition *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end != 0 && t->end <= last_seq)
            decide(p, t);
    }
    forget_old(p);
}

void partition_txns_refused(struct partition *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end > last_seq)
            t->end = 0;
        if (t->begin > last_seq)
            drop(t);
    }
}

/* ---- reading the markers --------------------------------------------------------------------- */

/* Does this control batch end a transaction, and how? False: it is none of ours. */
static bool read_marker(struct str bytes, struct kafka_batch *b, bool *begins, bool *commit)
{
    struct kafka_record_iter it;
    struct kafka_record r;

    if (kafka_batch_open(bytes, b) != KAFKA_BATCH_OK || (b->attributes & KAFKA_CONTROL) == 0 ||
        b->producer_id < 0)
        return false;
    kafka_record_iter_init(&it, b, b->records);
    if (!kafka_record_iter_next(&it, &r) || r.key.n < 4 || r.value.n < 6)
        return false;
    *commit = kafka_get_u16(r.key.p + 2) == KAFKA_COMMIT;
    *begins = kafka_get_u32(r.value.p + 2) == BEGINS;
    return true;
}

static void take_marker(struct partition *p, const struct store_entry *e)
{
    struct kafka_batch b;
    struct txn_open *t;
    bool begins, commit;

    if (!e->kafka || !read_marker(e->batch, &b, &begins, &commit))
        return;
    t = find(p, b.producer_id);
    if (begins && t == NULL) {
        open_one(p, b.producer_id, b.producer_epoch, e->first_seq);
    } else if (!begins && t != NULL) {
        t->end = e->first_seq;
        t->commit = commit;
        decide(p, t);
    }
}

static void read_on(struct store_reader *r)
{
    struct partition *p = r->ctx;
    struct store_entry e;
    enum store_read got;
    struct list *l;

    while ((got = store_reader_entry(r, &e)) == STORE_READ_MSG)
        take_marker(p, &e);
    if (got == STORE_READ_WAIT)
        return;
    store_reader_deinit(r);
    p->txns.known = TXNS_READY;
    while ((l = list_pop_front(&p->txns.parked)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        j->wake(j, true);
    }
}

bool partition_know_txns(struct partition *p, struct partition_job *j)
{
    static const struct str filter = STR_LIT(TXN_SUBJECT);

    if (p->txns.known == TXNS_UNREAD) {
        uint64_t first, last;
        partition_bounds(p, &first, &last);
        p->txns.known = TXNS_READING;
        store_reader_init(&p->txns.reader, p->store, first, &filter, 1, read_on, p);
        read_on(&p->txns.reader);
    }
    if (p->txns.known == TXNS_READY)
        return true;
    list_push_back(&p->txns.parked, &j->link);
    return false;
}

/* ---- markers --------------------------------------------------------------------------------- */

static enum err append(struct partition *p, enum kafka_marker type, int64_t producer, int16_t epoch,
                       int32_t coordinator, uint64_t *seq)
{
    uint8_t bytes[KAFKA_FILLER_BYTES];
    int64_t time = io_wall(p->kafka->env->io) / 1000000;
    size_t n = kafka_batch_marker(bytes, type, 0, 0, time, producer, epoch, coordinator,
                                  KAFKA_EPOCH);
    uint8_t *stored;
    enum err err = stream_append_kafka_as(p->stream, STR(TXN_SUBJECT), str_from(bytes, n), 1, seq,
                                          &stored);

    if (err == ERR_OK)
        kafka_batch_patch(stored, (int64_t) *seq - 1, KAFKA_EPOCH);
    return err;
}

bool partition_txn_is_open(const struct partition *p, int64_t producer, int16_t epoch)
{
    const struct txn_open *t = find(p, producer);

    return t != NULL && t->epoch == epoch && t->end == 0;
}

enum err partition_txn_begin(struct partition *p, int64_t producer, int16_t epoch, uint64_t *seq)
{
    struct txn_open *t = find(p, producer);
    enum err err;

    *seq = 0;
    if (t != NULL && t->end == 0) {
        t->epoch = epoch;
        *seq = t->begin;
        return ERR_OK;
    }
    if (t != NULL)
        return ERR_AGAIN; /* the last one's end is on its way to the disk */
    err = append(p, KAFKA_COMMIT, producer, epoch, BEGINS, seq);
    if (err == ERR_OK)
        open_one(p, producer, epoch, *seq);
    return err;
}

enum err partition_txn_end(struct partition *p, int64_t producer, int16_t epoch, bool commit,
                           uint64_t *seq)
{
    struct txn_open *t = find(p, producer);
    enum err err;

    *seq = 0;
    if (t == NULL)
        return ERR_OK;
    *seq = t->end;
    if (t->end != 0)
        return ERR_OK;
    err = append(p, commit ? KAFKA_COMMIT : KAFKA_ABORT, producer, epoch, ENDS, seq);
    if (err != ERR_OK)
        return err;
    t->end = *seq;
    t->commit = commit;
    producers_fence(&p->producers, producer, epoch);
    return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

void partition_txns_init(struct partition *p)
{
    struct store_subject markers;

    list_init(&p->txns.open);
    list_init(&p->txns.parked);
    p->txns.known = store_subject_get(p->store, STR(TXN_SUBJECT), &markers) ? TXNS_UNREAD
                                                                            : TXNS_READY;
}

void partition_txns_deinit(struct partition *p)
{
    struct list *l;

    while ((l = list_first(&p->txns.open)) != NULL)
        drop(LIST_ENTRY(l, struct txn_open, link));
    if (p->txns.known == TXNS_READING)
        store_reader_deinit(&p->txns.reader);
    mem_free(p->txns.aborted);
}
