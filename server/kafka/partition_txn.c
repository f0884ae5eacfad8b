/*
 * partition_txn.c - see partition_txn.h.
 *
 * The coordinator epoch of a marker says what it is, and how far before it the transaction began,
 * in messages: 1 + how far where it begins or goes on, minus how far where it ends; FAR and 0 when
 * that is too far to be said, or was not written. So an end says by itself which messages were
 * aborted, also when the limits have taken the beginning and not yet all of the messages. Of an
 * open transaction the beginning is written anew when it has been removed, as long as there is a
 * message of anybody: a start has to find it. Where there are limits a new one is written long
 * before, when the last one lies in the older half of the stream; so only a purge that takes it can
 * be followed by a crash before the new one is there, which loses it.
 */
#include "server/kafka/partition_txn.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/partition.h"

#include <string.h>

#define FAR INT32_MAX
/* Sequences between two looks for markers that nobody needs. */
#define CLEAR_EVERY 256u

struct txn_open {
    struct list link;
    int64_t producer;
    int16_t epoch;
    uint64_t begin, end; /* sequences of the markers; end 0 = not yet */
    uint64_t marker;     /* the newest that says that it is open */
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
    t->begin = t->marker = seq;
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
            least = t->begin < first ? first : t->begin;
    }
    return (int64_t) least - 1;
}

/* ---- markers --------------------------------------------------------------------------------- */

/* How far before the next sequence this one lies; FAR: further than can be said. */
static int32_t back_to(const struct partition *p, uint64_t begin)
{
    uint64_t last, msgs, bytes;

    store_stream_state_assigned(p->store, &last, &msgs, &bytes);
    return last + 1 - begin < FAR ? (int32_t) (last + 1 - begin) : FAR;
}

static enum err append(struct partition *p, enum kafka_marker type, int64_t producer, int16_t epoch,
                       int32_t coordinator, uint64_t *seq)
{
    uint8_t bytes[KAFKA_FILLER_BYTES];
    int64_t time = io_wall(p->kafka->env->io) / 1000000;
    size_t n = kafka_batch_marker(bytes, type, 0, 0, time, producer, epoch, coordinator,
                                  KAFKA_EPOCH);
    struct buf subject = {0};
    uint64_t last, msgs, size;
    uint8_t *stored;

    buf_puts(&subject, TXN_SUBJECT);
    store_stream_state_assigned(p->store, &last, &msgs, &size);
    if (stream_limits_subjects(p->stream))
        buf_printf(&subject, ".%llu", (unsigned long long) last + 1);
    enum err err = stream_append_kafka_as(p->stream, buf_str(&subject), str_from(bytes, n), 1, seq,
                                          &stored);
    buf_free(&subject);
    if (err == ERR_OK)
        kafka_batch_patch(stored, (int64_t) *seq - 1, KAFKA_EPOCH);
    return err;
}

/* It goes on; the marker of it that there was is gone. */
static void renew(struct partition *p, struct txn_open *t)
{
    int32_t back = back_to(p, t->begin);
    uint64_t seq;

    if (append(p, KAFKA_COMMIT, t->producer, t->epoch, back == FAR ? FAR : 1 + back, &seq) ==
        ERR_OK)
        t->marker = seq;
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

/* Is there more than markers? Where there is not, new ones would take the place of each other. */
static bool add_markers(void *ctx, const struct store_subject *sub)
{
    *(uint64_t *) ctx += sub->msgs;
    return true;
}

static bool has_messages(const struct partition *p)
{
    struct store_subject markers;
    struct store_state st;
    uint64_t n = 0;

    store_stream_state(p->store, &st);
    if (store_subject_get(p->store, STR(TXN_SUBJECT), &markers))
        n = markers.msgs;
    if (stream_limits_subjects(p->stream))
        store_subjects_each(p->store, STR(TXN_SUBJECTS), add_markers, &n);
    return n < st.msgs;
}

/* Before this sequence there is no record of a producer, nor the beginning of anything open. */
static uint64_t no_record_before(const struct partition *p)
{
    struct store_subject records;
    uint64_t first, last, least;

    partition_bounds(p, &first, &last);
    least = last + 1;
    if (store_subject_get(p->store, stream_kafka_subject(p->stream), &records))
        least = records.first_seq;
    LIST_FOREACH(l, &p->txns.open)
    {
        const struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        least = t->begin < least ? t->begin : least;
        least = t->marker < least ? t->marker : least;
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

/* Is it in the older half of what limits take from the front? */
static bool is_old(const struct partition *p, uint64_t seq, uint64_t first, uint64_t last)
{
    return seq < first || (seq - first < last - seq && stream_is_half_full(p->stream));
}

void partition_txns_removed(struct partition *p)
{
    uint64_t first, last;

    clear_markers(p);
    if (list_empty(&p->txns.open))
        return;
    partition_bounds(p, &first, &last);
    LIST_FOREACH(l, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end == 0 && t->marker <= last && is_old(p, t->marker, first, last) &&
            has_messages(p))
            renew(p, t);
    }
}

void partition_txns_committed(struct partition *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end != 0 && t->end <= last_seq)
            decide(p, t);
    }
    partition_txns_removed(p);
    forget_old(p);
}

void partition_txns_refused(struct partition *p, uint64_t last_seq)
{
    LIST_FOREACH_SAFE(l, tmp, &p->txns.open)
    {
        struct txn_open *t = LIST_ENTRY(l, struct txn_open, link);
        if (t->end > last_seq)
            t->end = 0;
        if (t->marker > last_seq)
            t->marker = t->begin;
        if (t->begin > last_seq)
            drop(t);
    }
}

bool partition_txn_was_aborted(const struct partition *p, int64_t producer, uint64_t seq)
{
    for (size_t i = 0; i < p->txns.naborted; i++) {
        const struct txn_aborted *a = &p->txns.aborted[i];
        if (a->producer == producer && a->first <= seq && seq <= a->last)
            return true;
    }
    return false;
}

void partition_txns_compacted(struct partition *p)
{
    struct partition_txns *x = &p->txns;
    size_t n = 0;

    for (size_t i = 0; i < x->naborted; i++)
        if (store_msg_exists(p->store, x->aborted[i].last))
            x->aborted[n++] = x->aborted[i];
    x->naborted = n;
}

/* ---- reading the markers --------------------------------------------------------------------- */

struct marker {
    int64_t producer;
    int16_t epoch;
    bool begins, commit; /* begins: or goes on */
    uint64_t begin;      /* of what is left */
};

/* A control batch; false: it is none of ours. */
static bool read_marker(const struct partition *p, const struct store_entry *e, struct marker *m)
{
    struct kafka_batch b;
    struct kafka_record_iter it;
    struct kafka_record r;
    uint64_t first, last, back;

    if (!e->kafka || kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK ||
        (b.attributes & KAFKA_CONTROL) == 0 || b.producer_id < 0)
        return false;
    kafka_record_iter_init(&it, &b, b.records);
    if (!kafka_record_iter_next(&it, &r) || r.key.n < 4 || r.value.n < 6)
        return false;
    int32_t coordinator = (int32_t) kafka_get_u32(r.value.p + 2);
    m->producer = b.producer_id;
    m->epoch = b.producer_epoch;
    m->commit = kafka_get_u16(r.key.p + 2) == KAFKA_COMMIT;
    m->begins = coordinator > 0;
    partition_bounds(p, &first, &last);
    if (coordinator == FAR || coordinator == 0)
        back = UINT64_MAX;
    else
        back = m->begins ? (uint64_t) coordinator - 1 : (uint64_t) - (int64_t) coordinator;
    m->begin = back < e->first_seq && e->first_seq - back > first ? e->first_seq - back : first;
    return true;
}

static void take_marker(struct partition *p, const struct store_entry *e)
{
    struct marker m;
    struct txn_open *t;

    if (!read_marker(p, e, &m))
        return;
    t = find(p, m.producer);
    if (t == NULL && (m.begins || !m.commit))
        t = open_one(p, m.producer, m.epoch, m.begin);
    if (t == NULL)
        return;
    if (m.begins) {
        t->marker = e->first_seq;
        return;
    }
    t->end = e->first_seq;
    t->commit = m.commit;
    decide(p, t);
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
    static const struct str filters[] = {STR_LIT(TXN_SUBJECT), STR_LIT(TXN_SUBJECTS)};

    if (p->txns.known == TXNS_UNREAD) {
        uint64_t first, last;
        partition_bounds(p, &first, &last);
        p->txns.known = TXNS_READING;
        store_reader_init(&p->txns.reader, p->store, first, filters, ARRAY_LEN(filters), read_on,
                          p);
        read_on(&p->txns.reader);
    }
    if (p->txns.known == TXNS_READY)
        return true;
    list_push_back(&p->txns.parked, &j->link);
    return false;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

bool partition_txn_is_open(const struct partition *p, int64_t producer, int16_t epoch)
{
    const struct txn_open *t = find(p, producer);

    return t != NULL && t->epoch == epoch && t->end == 0;
}

uint64_t partition_txn_first(const struct partition *p, int64_t producer)
{
    const struct txn_open *t = find(p, producer);

    return t != NULL && t->end == 0 ? t->begin : 0;
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
    err = append(p, KAFKA_COMMIT, producer, epoch, 1, seq);
    if (err == ERR_OK)
        open_one(p, producer, epoch, *seq);
    return err;
}

enum err partition_txn_end(struct partition *p, int64_t producer, int16_t epoch, bool commit,
                           uint64_t *seq)
{
    struct txn_open *t = find(p, producer);
    int32_t back;
    enum err err;

    *seq = 0;
    if (t == NULL)
        return ERR_OK;
    *seq = t->end;
    if (t->end != 0)
        return ERR_OK;
    back = back_to(p, t->begin);
    err = append(p, commit ? KAFKA_COMMIT : KAFKA_ABORT, producer, epoch, back == FAR ? 0 : -back,
                 seq);
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
    bool any = store_subject_get(p->store, STR(TXN_SUBJECT), &markers) ||
               store_subject_last_match(p->store, STR(TXN_SUBJECTS)) != 0;
    p->txns.known = any ? TXNS_UNREAD : TXNS_READY;
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
