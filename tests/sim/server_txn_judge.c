/*
 * server_txn_judge.c - see server_txn.h: reading as consumers do, and judgement.
 *
 * A reader of committed records leaves out what the answers say was aborted, and moves on to the
 * last stable offset; what it has passed by without showing it must never be committed. The judge
 * reads each topic twice. Reading everything it sees markers, and so what the log says of each
 * record; reading committed records it must see exactly those that the log says are committed. Then
 * the ledger is compared:
 *
 * - committed: all records are there, once, in order, in every topic, and committed;
 * - aborted, or open: none is committed; nothing that was ended by its client is undecided;
 * - a commit without an answer: all or nothing. The ledger takes over which;
 * - the stable offset lies at or before the first undecided record, and at the end when nothing is
 *   open;
 * - the group's offset is that of its last committed transaction which had one.
 *
 * What DeleteRecords was asked to take, what lies in front of a limited partition, and what a later
 * record of its key replaced may be missing (may_be_gone), one by one.
 */
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/kafka_error.h"
#include "tests/sim/server_kafka_work.h"
#include "tests/sim/server_txn.h"
#include "tests/sim/server_work.h"
#include "tests/sim/sim_disk_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FETCH_BYTES 60000
/* Messages that 800 bytes hold in any case. */
#define LIMITED_LEAST 2

enum fate { MISSING, UNDECIDED, COMMITTED, ABORTED };

/* A record as it was read. */
struct found {
    size_t number; /* in the ledger */
    int64_t offset, producer;
    enum fate fate;
};

/* One place, read in one way. */
struct xlog {
    struct kcall call;
    struct world *w;
    unsigned place;
    bool committed; /* only such records */
    bool answered, failed;
    int64_t next, high, stable;
    int64_t jumped; /* the first record there is, when what was asked for had gone; 0 */
    struct found *found;
    size_t n;
    /* Aborted transactions that the records may belong to: by producer. */
    int64_t away[64];
    size_t naway;
};

static void call_fetch(struct kclient *c, struct xlog *l)
{
    struct kafka_arena arena = {0};
    struct kafka_fetch_request *q = KAFKA_NEW(&arena, fetch_request, 1);
    const struct xledger *x = l->w->model->txns;

    q->max_wait_ms = 0;
    q->min_bytes = 1;
    q->max_bytes = FETCH_BYTES;
    q->isolation_level = l->committed;
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, fetch_request_topics, 1);
    q->topics[0].topic = xplace_topic(x, l->place);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(&arena, fetch_request_partitions, 1);
    q->topics[0].partitions[0].partition = xplace_index(x, l->place);
    q->topics[0].partitions[0].fetch_offset = l->next;
    q->topics[0].partitions[0].partition_max_bytes = FETCH_BYTES;
    kclient_call(c, &l->call, KAFKA_FETCH, 11, q);
    kafka_arena_free(&arena);
}

/* ---- what a consumer does with an answer ----------------------------------------------------- */

static bool is_away(const struct xlog *l, int64_t producer)
{
    for (size_t i = 0; i < l->naway; i++)
        if (l->away[i] == producer)
            return true;
    return false;
}

static void come_back(struct xlog *l, int64_t producer)
{
    for (size_t i = 0; i < l->naway; i++)
        if (l->away[i] == producer)
            l->away[i--] = l->away[--l->naway];
}

/* Those whose first record is in this batch, or between it and the one before. */
static void send_away(struct xlog *l, const struct kafka_fetch_response_partitions *a,
                      const struct kafka_batch *b, int64_t behind)
{
    for (int32_t i = 0; i < a->aborted_transactions_n; i++) {
        const struct kafka_fetch_response_aborted_transactions *t = &a->aborted_transactions[i];
        if (t->first_offset <= behind || t->first_offset > b->base_offset + b->last_offset_delta)
            continue;
        if (!is_away(l, t->producer_id) && l->naway < ARRAY_LEN(l->away))
            l->away[l->naway++] = t->producer_id;
    }
}

static void take_marker(struct xlog *l, const struct kafka_batch *b)
{
    struct kafka_record_iter it;
    struct kafka_record r;

    kafka_record_iter_init(&it, b, b->records);
    if (b->producer_id < 0 || !kafka_record_iter_next(&it, &r) || r.key.n < 4)
        return;
    bool commit = kafka_get_u16(r.key.p + 2) == KAFKA_COMMIT;
    if (!commit)
        come_back(l, b->producer_id);
    for (size_t i = 0; i < l->n; i++)
        if (l->found[i].fate == UNDECIDED && l->found[i].producer == b->producer_id)
            l->found[i].fate = commit ? COMMITTED : ABORTED;
}

static void take_record(struct xlog *l, const struct kafka_batch *b, const struct kafka_record *r)
{
    const struct xledger *x = l->w->model->txns;
    uint64_t number;

    if (!str_to_u64(r->value, &number) || number >= x->nrecords ||
        x->records[number]->place != l->place)
        world_fail(l->w, "place %u has a record at offset %lld that nobody sent to it", l->place,
                   (long long) r->offset);
    if (r->offset < l->next)
        return; /* its batch began before what was asked for */
    l->found = sim_grow(l->found, (l->n + 1) * sizeof(*l->found));
    l->found[l->n++] = (struct found){
        .number = number, .offset = r->offset, .producer = b->producer_id, .fate = UNDECIDED};
}

static void take_records(struct xlog *l, const struct kafka_fetch_response_partitions *a)
{
    struct str left = str_from(a->records.p, a->records.n);
    int64_t next = l->next, behind = -1;
    struct kafka_batch b;

    for (; left.n > 0 && kafka_batch_open(left, &b) != KAFKA_BATCH_SHORT;
         left = str_skip(left, b.bytes)) {
        struct kafka_record_iter it;
        struct kafka_record r;
        next = b.base_offset + b.last_offset_delta + 1;
        sim_trace(l->w->sim, "place %u: batch %lld to %lld of producer %lld, attributes %x",
                  l->place, (long long) b.base_offset, (long long) next - 1,
                  (long long) b.producer_id, (unsigned) b.attributes);
        send_away(l, a, &b, behind);
        behind = next - 1;
        if ((b.attributes & KAFKA_CONTROL) != 0)
            take_marker(l, &b);
        else if (!l->committed || !is_away(l, b.producer_id))
            for (kafka_record_iter_init(&it, &b, b.records); kafka_record_iter_next(&it, &r);)
                take_record(l, &b, &r);
    }
    /* Behind a crash it may lie lower than where a reader is already. */
    if (l->committed && next > l->next && next > a->last_stable_offset)
        world_fail(l->w, "place %u: committed records up to offset %lld, and %lld is stable",
                   l->place, (long long) next, (long long) a->last_stable_offset);
    l->next = next;
}

/* What it asks for has gone: it goes on with the first record there is, as a consumer does. */
static bool jump(struct xlog *l, const struct kafka_fetch_response_partitions *p)
{
    const struct xledger *x = l->w->model->txns;
    bool right = xplace_kind(l->w, l->place) == X_LIMITED || x->deleted[l->place] > l->next;

    if (p->error_code != KAFKA_OFFSET_OUT_OF_RANGE || !right || p->log_start_offset <= l->next)
        return false;
    l->next = l->jumped = p->log_start_offset;
    return true;
}

static void fetched(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xlog *l = CONTAINER_OF(k, struct xlog, call);
    const struct kafka_fetch_response *a = answer;
    const struct kafka_fetch_response_partitions *p;

    (void) c;
    l->answered = true;
    l->failed = a == NULL || a->error_code != KAFKA_NONE || a->responses_n != 1 ||
                a->responses[0].partitions_n != 1;
    if (l->failed)
        return;
    p = &a->responses[0].partitions[0];
    l->high = p->high_watermark;
    l->stable = p->last_stable_offset;
    sim_trace(l->w->sim, "place %u at %lld%s: error %d, stable %lld of %lld", l->place,
              (long long) l->next, l->committed ? ", committed" : "", p->error_code,
              (long long) l->stable, (long long) l->high);
    if (p->error_code == KAFKA_NONE)
        take_records(l, p);
    else
        l->failed = !jump(l, p);
}

/* ---- what may be missing --------------------------------------------------------------------- */

/* A later record of its key is committed, or may be. */
static bool is_replaced(const struct xledger *x, const struct xrecord *r)
{
    for (size_t i = 0; i < x->nrecords; i++) {
        const struct xrecord *other = x->records[i];
        if (other->place == r->place && other->key == r->key && other->acked &&
            other->offset > r->offset && other->txn->commit_sent && other->txn->state != X_ABORTED)
            return true;
    }
    return false;
}

static bool may_be_gone(const struct world *w, const struct xrecord *r)
{
    const struct xledger *x = w->model->txns;

    switch (xplace_kind(w, r->place)) {
    case X_LIMITED:
        if (r->offset < x->start[r->place])
            return true;
        break;
    case X_COMPACT:
        return r->offset < 0 || is_replaced(x, r);
    default:
        break;
    }
    return r->offset < x->deleted[r->place];
}

/* ---- the reader ------------------------------------------------------------------------------ */

static void show(struct world *w, const struct found *f)
{
    struct xrecord *r = w->model->txns->records[f->number];

    if (r->seen && !(r->again && xplace_kind(w, r->place) == X_LIMITED))
        world_fail(w, "record %zu of place %u is shown twice, now at offset %lld", f->number,
                   r->place, (long long) f->offset);
    if (r->txn->state == X_ABORTED || (r->txn->state == X_OPEN && !r->txn->commit_sent))
        world_fail(
            w, "record %zu at %lld of place %u is shown, and its transaction %u was not committed",
            f->number, (long long) f->offset, r->place, r->txn->number);
    r->seen = true;
}

static void read_done(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xlog *l = CONTAINER_OF(k, struct xlog, call);
    struct xledger *x = l->w->model->txns;

    fetched(k, c, answer);
    x->reading = false;
    if (!l->failed) {
        x->at[l->place] = l->next;
        x->high[l->place] = l->high;
        if (l->jumped > 0)
            x->jumped[l->place] = l->jumped;
        for (size_t i = 0; i < l->n; i++)
            show(l->w, &l->found[i]);
    } else if (answer != NULL && !l->w->model->faulty && !l->w->model->was_full) {
        world_fail(l->w, "place %u can not be read at %lld", l->place, (long long) l->next);
    }
    free(l->found);
    free(l);
}

/* ---- DeleteRecords --------------------------------------------------------------------------- */

struct xdelete {
    struct kcall call;
    unsigned place;
    int64_t offset;
};

static void told_deleted(struct world *w, const struct xdelete *d, int16_t error, int64_t low)
{
    struct xledger *x = w->model->txns;
    bool excused = w->model->was_full || w->model->faulty || w->model->stopped;

    if (error != KAFKA_NONE && !excused)
        world_fail(w, "place %u: to delete up to %lld is refused with %d", d->place,
                   (long long) d->offset, error);
    if (error != KAFKA_NONE)
        return;
    if (low < d->offset)
        world_fail(w, "place %u: deleted up to %lld, and the first is %lld", d->place,
                   (long long) d->offset, (long long) low);
    if (x->gone[d->place] < d->offset)
        x->gone[d->place] = d->offset;
}

static void deleted(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xdelete *d = CONTAINER_OF(k, struct xdelete, call);
    const struct kafka_delete_records_response *a = answer;

    c->world->model->txns->reading = false;
    if (a != NULL)
        told_deleted(c->world, d, a->topics[0].partitions[0].error_code,
                     a->topics[0].partitions[0].low_watermark);
    free(d);
}

/* Up to anything that its reader knows to be there: also what is not decided. */
static void delete_some(struct world *w, unsigned place)
{
    struct xledger *x = w->model->txns;
    struct kafka_arena arena = {0};
    struct kafka_delete_records_request *q = KAFKA_NEW(&arena, delete_records_request, 1);
    struct xdelete *d = calloc(1, sizeof(*d));

    d->place = place;
    d->offset = (int64_t) prng_below(sim_rng(w->sim), (uint64_t) x->high[place] + 1);
    d->call.done = deleted;
    if (x->deleted[place] < d->offset)
        x->deleted[place] = d->offset;
    x->reading = true;
    sim_trace(w->sim, "place %u: delete up to %lld", place, (long long) d->offset);
    q->timeout_ms = 30000;
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, delete_records_request_topics, 1);
    q->topics[0].name = xplace_topic(x, place);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(&arena, delete_records_request_partitions, 1);
    q->topics[0].partitions[0].partition_index = xplace_index(x, place);
    q->topics[0].partitions[0].offset = d->offset;
    kclient_call(x->reader, &d->call, KAFKA_DELETE_RECORDS, 2, q);
    kafka_arena_free(&arena);
}

void xtxns_read(struct world *w)
{
    struct xledger *x = w->model->txns;
    struct xlog *l;
    unsigned place;

    if (x == NULL || !x->there || x->reading || x->reader->wire.state != CLIENT_UP)
        return;
    place = (unsigned) prng_below(sim_rng(w->sim), xplaces(x));
    if (w->swarm->txn_delete_percent > 0 && xplace_kind(w, place) != X_COMPACT &&
        prng_below(sim_rng(w->sim), 100) < w->swarm->txn_delete_percent) {
        delete_some(w, place);
        return;
    }
    l = calloc(1, sizeof(*l));
    l->w = w;
    l->place = place;
    l->committed = true;
    l->next = x->at[l->place];
    l->call.done = read_done;
    x->reading = true;
    call_fetch(x->reader, l);
}

/* ---- the judge ------------------------------------------------------------------------------- */

static void read_all(struct world *w, struct kclient *c, struct xlog *l, unsigned place,
                     bool committed)
{
    int64_t end, before;

    *l = (struct xlog){.w = w, .place = place, .committed = committed, .call.done = fetched};
    do {
        before = l->next;
        l->answered = false;
        call_fetch(c, l);
        kafka_wait(w, &l->answered, NULL);
        if (l->failed)
            world_fail(w, "the inspector can not read place %u at %lld", place, (long long) before);
        end = committed ? l->stable : l->high;
        if (l->next == before && l->next < end)
            world_fail(w, "Fetch of place %u at %lld leads nowhere, and the end is %lld", place,
                       (long long) before, (long long) end);
    } while (l->next < end);
}

/* Is a transaction open that its client has not ended? */
static bool any_open(const struct world *w)
{
    const struct xledger *x = w->model->txns;

    for (size_t i = 0; i < x->ntxns; i++)
        if (x->txns[i]->state == X_OPEN)
            return true;
    return false;
}

/* What may have gone since the view was taken. */
static size_t skip_gone(const struct xlog *view, size_t k, int64_t to)
{
    const struct xledger *x = view->w->model->txns;

    while (k < view->n && view->found[k].offset < to &&
           may_be_gone(view->w, x->records[view->found[k].number]))
        k++;
    return k;
}

/* What a consumer of committed records sees is what the log says is committed. */
static void judge_views(const struct xlog *all, const struct xlog *view)
{
    struct world *w = all->w;
    int64_t undecided = all->high;
    size_t k = 0;

    for (size_t i = all->n; i > 0; i--)
        if (all->found[i - 1].fate == UNDECIDED)
            undecided = all->found[i - 1].offset;
    if (view->stable > undecided)
        world_fail(w, "place %u is stable up to %lld, and what is at %lld is open", all->place,
                   (long long) view->stable, (long long) undecided);
    if ((w->depth > 0 || !any_open(w)) && view->stable != all->high)
        world_fail(w, "place %u is stable up to %lld, its end is %lld, and nothing is open",
                   all->place, (long long) view->stable, (long long) all->high);
    for (size_t i = 0; i < all->n; i++) {
        const struct found *f = &all->found[i];
        if (f->fate != COMMITTED || f->offset >= view->stable)
            continue;
        k = skip_gone(view, k, f->offset);
        if (k >= view->n || view->found[k].offset != f->offset)
            world_fail(w, "place %u: the committed record %zu at %lld is not shown", all->place,
                       f->number, (long long) f->offset);
        k++;
    }
    k = skip_gone(view, k, INT64_MAX);
    if (k < view->n)
        world_fail(w, "place %u: record %zu at %lld is shown, and is not committed", all->place,
                   view->found[k].number, (long long) view->found[k].offset);
}

/* Each record once, and those of a client in the order in which it sent them. */
static void judge_order(const struct xlog *all, enum fate *fates)
{
    const struct xledger *x = all->w->model->txns;

    for (size_t i = 0; i < all->n; i++) {
        const struct found *f = &all->found[i];
        for (size_t k = i; k > 0; k--) {
            const struct found *before = &all->found[k - 1];
            if (x->records[before->number]->txn->client != x->records[f->number]->txn->client)
                continue;
            if (before->number >= f->number)
                world_fail(all->w, "place %u: record %zu is at %lld, behind %zu", all->place,
                           f->number, (long long) f->offset, before->number);
            break;
        }
        fates[f->number] = f->fate;
        if (f->fate == UNDECIDED &&
            (all->w->depth > 0 || x->records[f->number]->txn->state != X_OPEN))
            world_fail(all->w, "place %u: record %zu at %lld of transaction %u is never decided",
                       all->place, f->number, (long long) f->offset,
                       x->records[f->number]->txn->number);
    }
}

static void judge_txn(struct world *w, const struct xledger *x, struct xtxn *t,
                      const enum fate *fates)
{
    unsigned committed = 0, lacking = 0, all = 0;
    bool sure = t->state == X_COMMITTED;
    bool may = sure || t->commit_sent;

    for (size_t i = 0; i < x->nrecords; i++) {
        const struct xrecord *r = x->records[i];
        if (r->txn != t)
            continue;
        all++;
        committed += fates[i] == COMMITTED;
        if (fates[i] == MISSING && may_be_gone(w, r))
            continue;
        lacking += r->acked != (fates[i] == COMMITTED);
        if (r->seen && fates[i] != COMMITTED)
            world_fail(w, "record %zu of place %u was shown, and is not committed", i, r->place);
    }
    if (committed > 0 && !may)
        world_fail(w, "%u of %u records of transaction %u are committed, which it was not",
                   committed, all, t->number);
    if (lacking > 0 && (sure || committed > 0))
        world_fail(w, "%u of %u records of transaction %u are committed, %u are not as they were",
                   committed, all, t->number, lacking);
    if (w->depth == 0 && t->state == X_UNKNOWN && committed + lacking > 0)
        t->state = committed > 0 ? X_COMMITTED : X_ABORTED;
}

/* What the reader has passed by. */
static void judge_passed(const struct xlog *all)
{
    const struct xledger *x = all->w->model->txns;

    for (size_t i = 0; i < all->n; i++) {
        const struct found *f = &all->found[i];
        if (f->fate == COMMITTED && f->offset < x->at[all->place] &&
            f->offset >= x->jumped[all->place] && !x->records[f->number]->seen &&
            !may_be_gone(all->w, x->records[f->number]))
            world_fail(all->w,
                       "place %u: the reader is at %lld and was never shown record %zu at %lld",
                       all->place, (long long) x->at[all->place], f->number, (long long) f->offset);
    }
}

/* ---- offsets --------------------------------------------------------------------------------- */

struct asked {
    struct kcall call;
    int64_t offset;
    bool answered;
};

static void got_offset(struct kcall *k, struct kclient *c, const void *answer)
{
    struct asked *x = CONTAINER_OF(k, struct asked, call);
    const struct kafka_offset_fetch_response *a = answer;

    if (a == NULL || a->error_code != KAFKA_NONE || a->topics_n != 1 ||
        a->topics[0].partitions_n != 1 || a->topics[0].partitions[0].error_code != KAFKA_NONE)
        world_fail(c->world, "the inspector can not read a group's offset");
    x->offset = a->topics[0].partitions[0].committed_offset;
    x->answered = true;
}

static int64_t offset_of(struct world *w, struct kclient *c, unsigned client)
{
    struct kafka_arena arena = {0};
    struct kafka_offset_fetch_request *q = KAFKA_NEW(&arena, offset_fetch_request, 1);
    struct asked x = {.call.done = got_offset};

    q->group_id = str_of(xtxn_group(client));
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, offset_fetch_request_topics, 1);
    q->topics[0].name = STR("X0");
    q->topics[0].partition_indexes_n = 1;
    q->topics[0].partition_indexes = kafka_arena_alloc(&arena, sizeof(int32_t));
    q->topics[0].partition_indexes[0] = 0;
    kclient_call(c, &x.call, KAFKA_OFFSET_FETCH, 5, q);
    kafka_arena_free(&arena);
    kafka_wait(w, &x.answered, NULL);
    return x.offset;
}

/* The last transaction of this client that was committed with its offset; a later one may have. */
static void judge_offset(struct world *w, struct kclient *c, unsigned client)
{
    const struct xledger *x = w->model->txns;
    int64_t have = offset_of(w, c, client);

    for (size_t i = x->ntxns; i > 0; i--) {
        const struct xtxn *t = x->txns[i - 1];
        bool maybe = t->commit_sent && t->state != X_ABORTED;
        if (t->client != client || !t->maybe_offsets || !maybe)
            continue;
        if (have == (int64_t) t->number)
            return;
        if (t->offsets && t->state == X_COMMITTED)
            world_fail(w, "%s is at %lld, and transaction %u was committed", xtxn_group(client),
                       (long long) have, t->number);
    }
    if (have != -1)
        world_fail(w, "%s is at %lld, which no transaction committed", xtxn_group(client),
                   (long long) have);
}

/* ---- all ------------------------------------------------------------------------------------- */

static void nothing(struct kclient *c)
{
    (void) c;
}

/* Where it begins. */
static void judge_start(const struct xlog *all)
{
    struct world *w = all->w;
    struct xledger *x = w->model->txns;

    x->start[all->place] = all->jumped;
    if (all->n > 0 && all->found[0].offset < x->gone[all->place])
        world_fail(w, "place %u: record %zu at %lld is there, and was deleted", all->place,
                   all->found[0].number, (long long) all->found[0].offset);
    if (xplace_kind(w, all->place) == X_LIMITED && all->jumped > x->deleted[all->place] &&
        all->high - all->jumped < LIMITED_LEAST)
        world_fail(w, "place %u: limits have left %lld of %lld", all->place,
                   (long long) (all->high - all->jumped), (long long) all->high);
}

static void judge_place(struct world *w, struct kclient *c, unsigned place, enum fate *fates)
{
    struct xlog all, view;

    /* In this order: what is open may be aborted meanwhile, as its time is up. */
    read_all(w, c, &view, place, true);
    read_all(w, c, &all, place, false);
    judge_start(&all);
    judge_views(&all, &view);
    judge_order(&all, fates);
    judge_passed(&all);
    free(all.found);
    free(view.found);
}

void xtxns_judge(struct world *w)
{
    static const struct kclient_ops ops = {.up = nothing, .down = nothing};
    struct xledger *x = w->model->txns;
    struct kclient *c;
    enum fate *fates;

    if (x == NULL || !x->there)
        return;
    if (w->depth > 0)
        work_pass(w, xtxns_longest_ns() + 2000000000u);
    c = kclient_open(w, &ops, NULL);
    kafka_wait(w, NULL, c);
    fates = calloc(x->nrecords + 1, sizeof(*fates));
    for (unsigned i = 0; i < xplaces(x); i++)
        judge_place(w, c, i, fates);
    for (size_t i = 0; i < x->ntxns; i++)
        judge_txn(w, x, x->txns[i], fates);
    for (size_t i = 0; i < x->ntxns; i++)
        judge_offset(w, c, x->txns[i]->client);
    free(fates);
    kclient_close(c);
}
