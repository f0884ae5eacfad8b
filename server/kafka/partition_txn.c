/* partition_txn.c - see partition_txn.h. */
#include "server/kafka/partition_txn.h"

#include "lib/io/io.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/partition.h"
#include "server/kafka/txn_word.h"

#include <string.h>

/* Sequences between two looks for markers that nobody needs. */
#define CLEAR_EVERY 256u

static uint64_t last_durable(const struct partition *p)
{
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    return last;
}

int64_t partition_stable(const struct partition *p)
{
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    return (int64_t) open_txns_undecided(&p->txns.of, first, last) - 1;
}

/* ---- what the stream tells ------------------------------------------------------------------- */

/* Before this sequence there is no record of a producer, nor the beginning of anything open. */
static uint64_t no_record_before(const struct partition *p)
{
    struct store_subject records;
    uint64_t first, last, least;

    partition_bounds(p, &first, &last);
    least = last + 1;
    if (store_subject_get(p->store, stream_kafka_subject(p->stream), &records))
        least = records.first_seq;
    LIST_FOREACH(l, &p->txns.of.open)
    {
        const struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        uint64_t begin = t->begin != 0 ? t->begin : t->from;
        least = begin < least ? begin : least;
    }
    return least;
}

/* Markers that have a subject of their own go when nobody needs them any more, now and then. */
static void clear_markers(struct partition *p)
{
    uint64_t before;

    if (p->txns.known != TXNS_READY || !stream_limits_subjects(p->stream))
        return;
    before = no_record_before(p);
    if (before < p->txns.cleared_to + CLEAR_EVERY)
        return;
    p->txns.cleared_to = before;
    partition_txns_compacted(p);
    if (store_subject_last_match(p->store, STR(TXN_SUBJECTS)) != 0)
        store_purge(p->store,
                    &(struct store_purge){.filter = STR(TXN_SUBJECTS), .before_seq = before}, NULL);
}

void partition_txns_removed(struct partition *p)
{
    uint64_t first, last;

    clear_markers(p);
    if (p->txns.of.naborted == 0)
        return;
    partition_bounds(p, &first, &last);
    open_txns_forget(&p->txns.of, first);
}

void partition_txns_committed(struct partition *p, uint64_t last_seq)
{
    open_txns_committed(&p->txns.of, last_seq);
    partition_txns_removed(p);
}

void partition_txns_refused(struct partition *p, uint64_t last_seq)
{
    open_txns_refused(&p->txns.of, last_seq);
}

bool partition_txn_was_aborted(const struct partition *p, int64_t producer, uint64_t seq)
{
    return open_txns_was_aborted(&p->txns.of, producer, seq);
}

void partition_txns_compacted(struct partition *p)
{
    struct open_txns *x = &p->txns.of;
    size_t n = 0;

    for (size_t i = 0; i < x->naborted; i++)
        if (store_msg_exists(p->store, x->aborted[i].last))
            x->aborted[n++] = x->aborted[i];
    x->naborted = n;
}

/* ---- reading the markers --------------------------------------------------------------------- */

/* A control batch; false: it is none of a transaction. */
static bool read_marker(const struct store_entry *e, struct txn_marker *m)
{
    struct kafka_batch b;
    struct kafka_record_iter it;
    struct kafka_record r;

    if (!e->kafka || kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK ||
        (b.attributes & KAFKA_CONTROL) == 0 || b.producer_id < 0)
        return false;
    kafka_record_iter_init(&it, &b, b.records);
    if (!kafka_record_iter_next(&it, &r) || r.key.n < 4 || r.value.n < 6)
        return false;
    *m = (struct txn_marker){.producer = b.producer_id,
                             .epoch = b.producer_epoch,
                             .commit = kafka_get_u16(r.key.p + 2) == KAFKA_COMMIT,
                             .coordinator = (int32_t) kafka_get_u32(r.value.p + 2),
                             .seq = e->first_seq};
    return true;
}

static void are_known(struct partition *p)
{
    struct list *l;

    p->txns.known = TXNS_READY;
    while ((l = list_pop_front(&p->txns.parked)) != NULL) {
        struct partition_job *j = LIST_ENTRY(l, struct partition_job, link);
        j->wake(j, true);
    }
}

static void read_on(struct store_reader *r)
{
    struct partition *p = r->ctx;
    struct txn_marker m;
    struct store_entry e;
    enum store_read got;
    uint64_t first, last;

    partition_bounds(p, &first, &last);
    while ((got = store_reader_entry(r, &e)) == STORE_READ_MSG)
        if (read_marker(&e, &m))
            open_txns_take(&p->txns.of, &m, first);
    if (got == STORE_READ_WAIT)
        return;
    store_reader_deinit(r);
    are_known(p);
}

static void read_markers(struct partition *p)
{
    static const struct str filters[] = {STR_LIT(TXN_SUBJECT), STR_LIT(TXN_SUBJECTS)};
    struct store_subject markers;
    uint64_t first, last;

    if (!store_subject_get(p->store, STR(TXN_SUBJECT), &markers) &&
        store_subject_last_match(p->store, STR(TXN_SUBJECTS)) == 0) {
        are_known(p);
        return;
    }
    partition_bounds(p, &first, &last);
    p->txns.known = TXNS_READING;
    store_reader_init(&p->txns.reader, p->store, first, filters, ARRAY_LEN(filters), read_on, p);
    read_on(&p->txns.reader);
}

void partition_txns_heard(struct partition *p)
{
    if (p->txns.known == TXNS_UNREAD)
        read_markers(p);
}

bool partition_know_txns(struct partition *p, struct partition_job *j)
{
    if (p->txns.known == TXNS_UNREAD && txn_word_heard(p))
        read_markers(p);
    if (p->txns.known == TXNS_READY)
        return true;
    list_push_back(&p->txns.parked, &j->link);
    return false;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

bool partition_txn_is_open(const struct partition *p, int64_t producer, int16_t epoch)
{
    return open_txns_may_write(&p->txns.of, producer, epoch);
}

void partition_txn_wrote(struct partition *p, int64_t producer, uint64_t seq)
{
    open_txns_wrote(&p->txns.of, producer, seq);
}

uint64_t partition_txn_first(const struct partition *p, int64_t producer)
{
    const struct txn_open *t = open_txns_find(&p->txns.of, producer);

    return t != NULL && t->end == 0 ? t->begin : 0;
}

enum err partition_txn_bind(struct partition *p, int64_t producer, int16_t epoch, uint64_t *from)
{
    return open_txns_bind(&p->txns.of, producer, epoch, last_durable(p), from);
}

void partition_txn_remind(struct partition *p, int64_t producer, int16_t epoch, uint64_t from)
{
    open_txns_remind(&p->txns.of, producer, epoch, from, last_durable(p));
}

/* *seq: where it is going to be. Of one that has written nothing no marker is needed: it is refused
 * as any message is. */
static enum err append(struct partition *p, const struct txn_open *t, int16_t epoch, bool commit,
                       uint64_t *seq)
{
    uint8_t bytes[KAFKA_FILLER_BYTES];
    int64_t time = io_wall(p->kafka->env->io) / 1000000;
    struct buf subject = {0};
    uint64_t last, msgs, size;
    uint8_t *stored;

    store_stream_state_assigned(p->store, &last, &msgs, &size);
    size_t n = kafka_batch_marker(bytes, commit ? KAFKA_COMMIT : KAFKA_ABORT, 0, 0, time,
                                  t->producer, epoch, open_txns_end_epoch(t, last + 1),
                                  KAFKA_EPOCH);
    buf_puts(&subject, TXN_SUBJECT);
    if (stream_limits_subjects(p->stream))
        buf_printf(&subject, ".%llu", (unsigned long long) last + 1);
    enum err err = t->begin != 0 ? stream_append_kafka_end(p->stream, buf_str(&subject),
                                                           str_from(bytes, n), seq, &stored)
                                 : stream_append_kafka_as(p->stream, buf_str(&subject),
                                                          str_from(bytes, n), 1, seq, &stored);
    buf_free(&subject);
    if (err == ERR_OK)
        kafka_batch_patch(stored, (int64_t) *seq - 1, KAFKA_EPOCH);
    return err;
}

enum err partition_txn_end(struct partition *p, int64_t producer, int16_t epoch, bool commit,
                           uint64_t *seq)
{
    struct txn_open *t = open_txns_find(&p->txns.of, producer);
    enum err err;

    *seq = 0;
    if (t == NULL)
        return ERR_OK;
    *seq = t->end;
    if (t->end != 0)
        return ERR_OK;
    err = append(p, t, epoch, commit, seq);
    if (err != ERR_OK && t->begin != 0)
        return err;
    if (err == ERR_OK) {
        open_txns_ended(t, *seq, commit);
    } else {
        open_txns_drop(t);
        *seq = 0;
    }
    producers_fence(&p->producers, producer, epoch);
    return ERR_OK;
}

/* ---- life ------------------------------------------------------------------------------------ */

void partition_txns_init(struct partition *p)
{
    open_txns_init(&p->txns.of);
    list_init(&p->txns.parked);
    list_init(&p->txns.deaf);
    p->txns.known = TXNS_UNREAD;
}

void partition_txns_deinit(struct partition *p)
{
    list_remove(&p->txns.deaf);
    if (p->txns.known == TXNS_READING)
        store_reader_deinit(&p->txns.reader);
    open_txns_deinit(&p->txns.of);
}
