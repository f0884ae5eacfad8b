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

enum fate { UNDECIDED, COMMITTED, ABORTED };

/* A record as it was read. */
struct found {
    size_t number; /* in the ledger */
    int64_t offset, producer;
    enum fate fate;
};

/* One topic, read in one way. */
struct xlog {
    struct kcall call;
    struct world *w;
    unsigned topic;
    bool committed; /* only such records */
    bool answered, failed;
    int64_t next, high, stable;
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
    char name[8];

    snprintf(name, sizeof(name), "X%u", l->topic);
    q->max_wait_ms = 0;
    q->min_bytes = 1;
    q->max_bytes = FETCH_BYTES;
    q->isolation_level = l->committed;
    q->topics_n = 1;
    q->topics = KAFKA_NEW(&arena, fetch_request_topics, 1);
    q->topics[0].topic = str_of(name);
    q->topics[0].partitions_n = 1;
    q->topics[0].partitions = KAFKA_NEW(&arena, fetch_request_partitions, 1);
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
        x->records[number]->topic != l->topic)
        world_fail(l->w, "X%u has a record at offset %lld that nobody sent to it", l->topic,
                   (long long) r->offset);
    if (r->offset < l->next)
        return; /* its batch began before what was asked for */
    l->found = sim_grow(l->found, (l->n + 1) * sizeof(*l->found));
    l->found[l->n++] =
        (struct found){.number = number, .offset = r->offset, .producer = b->producer_id};
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
        world_fail(l->w, "X%u: committed records up to offset %lld, and %lld is stable", l->topic,
                   (long long) next, (long long) a->last_stable_offset);
    l->next = next;
}

static void fetched(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xlog *l = CONTAINER_OF(k, struct xlog, call);
    const struct kafka_fetch_response *a = answer;

    (void) c;
    l->answered = true;
    l->failed = a == NULL || a->error_code != KAFKA_NONE || a->responses_n != 1 ||
                a->responses[0].partitions_n != 1 ||
                a->responses[0].partitions[0].error_code != KAFKA_NONE;
    if (l->failed)
        return;
    l->high = a->responses[0].partitions[0].high_watermark;
    l->stable = a->responses[0].partitions[0].last_stable_offset;
    take_records(l, &a->responses[0].partitions[0]);
}

/* ---- the reader ------------------------------------------------------------------------------ */

static void show(struct world *w, const struct found *f)
{
    struct xrecord *r = w->model->txns->records[f->number];

    if (r->seen)
        world_fail(w, "record %zu of X%u is shown twice, now at offset %lld", f->number, r->topic,
                   (long long) f->offset);
    if (r->txn->state == X_ABORTED || (r->txn->state == X_OPEN && !r->txn->commit_sent))
        world_fail(w,
                   "record %zu at %lld of X%u is shown, and its transaction %u was not committed",
                   f->number, (long long) f->offset, r->topic, r->txn->number);
    r->seen = true;
}

static void read_done(struct kcall *k, struct kclient *c, const void *answer)
{
    struct xlog *l = CONTAINER_OF(k, struct xlog, call);
    struct xledger *x = l->w->model->txns;

    fetched(k, c, answer);
    x->reading = false;
    if (!l->failed) {
        x->at[l->topic] = l->next;
        for (size_t i = 0; i < l->n; i++)
            show(l->w, &l->found[i]);
    } else if (answer != NULL && !l->w->model->faulty && !l->w->model->was_full) {
        world_fail(l->w, "X%u can not be read at %lld", l->topic, (long long) l->next);
    }
    free(l->found);
    free(l);
}

void xtxns_read(struct world *w)
{
    struct xledger *x = w->model->txns;
    struct xlog *l;

    if (x == NULL || !x->there || x->reading || x->reader->wire.state != CLIENT_UP)
        return;
    l = calloc(1, sizeof(*l));
    l->w = w;
    l->topic = (unsigned) prng_below(sim_rng(w->sim), x->topics);
    l->committed = true;
    l->next = x->at[l->topic];
    l->call.done = read_done;
    x->reading = true;
    call_fetch(x->reader, l);
}

/* ---- the judge ------------------------------------------------------------------------------- */

static void read_all(struct world *w, struct kclient *c, struct xlog *l, unsigned topic,
                     bool committed)
{
    int64_t end, before;

    *l = (struct xlog){.w = w, .topic = topic, .committed = committed, .call.done = fetched};
    do {
        before = l->next;
        l->answered = false;
        call_fetch(c, l);
        kafka_wait(w, &l->answered, NULL);
        if (l->failed)
            world_fail(w, "the inspector can not read X%u at %lld", topic, (long long) before);
        end = committed ? l->stable : l->high;
        if (l->next == before && l->next < end)
            world_fail(w, "Fetch of X%u at %lld leads nowhere, and the end is %lld", topic,
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
        world_fail(w, "X%u is stable up to %lld, and what is at %lld is open", all->topic,
                   (long long) view->stable, (long long) undecided);
    if ((w->depth > 0 || !any_open(w)) && view->stable != all->high)
        world_fail(w, "X%u is stable up to %lld, its end is %lld, and nothing is open", all->topic,
                   (long long) view->stable, (long long) all->high);
    for (size_t i = 0; i < all->n; i++) {
        const struct found *f = &all->found[i];
        if (f->fate != COMMITTED || f->offset >= view->stable)
            continue;
        if (k >= view->n || view->found[k].offset != f->offset)
            world_fail(w, "X%u: the committed record %zu at %lld is not shown", all->topic,
                       f->number, (long long) f->offset);
        k++;
    }
    if (k < view->n)
        world_fail(w, "X%u: record %zu at %lld is shown, and is not committed", all->topic,
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
                world_fail(all->w, "X%u: record %zu is at %lld, behind %zu", all->topic, f->number,
                           (long long) f->offset, before->number);
            break;
        }
        fates[f->number] = f->fate;
        if (f->fate == UNDECIDED &&
            (all->w->depth > 0 || x->records[f->number]->txn->state != X_OPEN))
            world_fail(all->w, "X%u: record %zu at %lld of transaction %u is never decided",
                       all->topic, f->number, (long long) f->offset,
                       x->records[f->number]->txn->number);
    }
}

static void judge_txn(struct world *w, const struct xledger *x, struct xtxn *t,
                      const enum fate *fates)
{
    unsigned committed = 0, acked = 0, all = 0;
    bool sure = t->state == X_COMMITTED;
    bool may = sure || t->commit_sent;

    for (size_t i = 0; i < x->nrecords; i++) {
        const struct xrecord *r = x->records[i];
        if (r->txn != t)
            continue;
        all++;
        acked += r->acked;
        committed += fates[i] == COMMITTED;
        if (r->seen && fates[i] != COMMITTED)
            world_fail(w, "record %zu of X%u was shown, and is not committed", i, r->topic);
    }
    if (committed > 0 && !may)
        world_fail(w, "%u of %u records of transaction %u are committed, which it was not",
                   committed, all, t->number);
    if (committed != acked && (sure || committed > 0))
        world_fail(w, "%u of %u records of transaction %u are committed", committed, acked,
                   t->number);
    if (w->depth == 0 && t->state == X_UNKNOWN && all > 0)
        t->state = committed > 0 ? X_COMMITTED : X_ABORTED;
}

/* What the reader has passed by. */
static void judge_passed(const struct xlog *all)
{
    const struct xledger *x = all->w->model->txns;

    for (size_t i = 0; i < all->n; i++) {
        const struct found *f = &all->found[i];
        if (f->fate == COMMITTED && f->offset < x->at[all->topic] && !x->records[f->number]->seen)
            world_fail(all->w, "X%u: the reader is at %lld and was never shown record %zu at %lld",
                       all->topic, (long long) x->at[all->topic], f->number, (long long) f->offset);
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

static void judge_topic(struct world *w, struct kclient *c, unsigned topic, enum fate *fates)
{
    struct xlog all, view;

    /* In this order: what is open may be aborted meanwhile, as its time is up. */
    read_all(w, c, &view, topic, true);
    read_all(w, c, &all, topic, false);
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
    for (unsigned i = 0; i < x->topics; i++)
        judge_topic(w, c, i, fates);
    for (size_t i = 0; i < x->ntxns; i++)
        judge_txn(w, x, x->txns[i], fates);
    for (size_t i = 0; i < x->ntxns; i++)
        judge_offset(w, c, x->txns[i]->client);
    free(fates);
    kclient_close(c);
}
