/*
 * txn.c - see txn.h.
 *
 *     EMPTY --partitions or offsets--> ONGOING --end--> PREPARE --markers--> COMPLETE --...-->
 * ONGOING
 *                                        \--time is up: epoch + 1, abort--/
 *
 * Since EndTxn 5 every end raises the epoch: so nothing that was sent before it, and comes late, is
 * taken for part of the next transaction, and partitions need not be added before they are written
 * to.
 *
 * Ending: the record says PREPARE (durable) -> a marker in every partition (durable) -> offsets, if
 * it commits, and the record that says COMPLETE, in one append (durable). A partition that does not
 * exist any more needs no marker. One that is busy is asked again, and so is one whose worker is
 * stopping, which has no partitions any more; when this one stops, the rest is the next start's.
 */
#include "server/kafka/txn.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/kafka/txn_store.h"
#include "server/kafka/txn_word.h"

#define AGAIN_NS (100 * UINT64_C(1000000))

typedef void (*txn_done)(struct txn *t, struct errand *e, int16_t error);

/* A marker on its way, or the word to a partition that a transaction begins. */
struct mark {
    struct env_task task;
    struct partition_job job;
    struct txn_op *op;
    struct partition *partition;
    struct env *env; /* of the partition's worker */
    struct str topic, stream;
    int32_t index;
    uint64_t from; /* of a beginning: see open_txns_bind */
    bool again;    /* it could not be done now */
    bool done;     /* it was */
    bool skip;     /* the partition knows */
};

struct txn_op {
    struct txn *txn;    /* NULL: the coordinator has gone */
    struct realm realm; /* its index: the realms of a worker may go before a marker is back */
    uint32_t home;      /* the coordinator's worker */
    struct errand *errand;
    txn_done done;
    struct partition_job job; /* a record on its way to the disk */
    void (*saved)(struct txn_op *op, int16_t error);
    struct kafka_arena arena;
    struct mark *marks;
    uint32_t nmarks, left;
    void (*marked)(struct txn_op *op);
    enum txn_state before; /* its end */
    bool begin, commit, raised;
    bool stuck; /* it could not be done at once, and perhaps never: nobody waits for it any more */
    int64_t previous; /* before it */
    int64_t producer;
    int16_t epoch;
    struct wheel_timer timer;
    uint64_t first_seq; /* of the record; the offsets are behind it */
    bool piece;         /* it is a piece that is on its way */
    size_t bytes;
};

static struct env *env_of(const struct txn *t)
{
    return t->coordinator->kafka->env;
}

static int64_t wall_ms(const struct txn *t)
{
    return io_wall(env_of(t)->io) / 1000000;
}

/* ---- table ----------------------------------------------------------------------------------- */

struct txn *txn_find(struct coordinator *c, struct str id)
{
    return txn_table_find(&c->txns, id);
}

static void time_is_up(struct wheel_timer *timer);

static void free_txn(struct txn *t)
{
    struct list *l;

    while ((l = list_pop_front(&t->waiting)) != NULL)
        errand_failed(LIST_ENTRY(l, struct errand, link), KAFKA_NOT_COORDINATOR);
    io_timer_stop(env_of(t)->io, &t->timer);
    txn_table_remove(&t->coordinator->txns, t);
}

static void forget(struct txn *t)
{
    txn_drop_record(t);
    free_txn(t);
}

struct txn *txn_get(struct coordinator *c, struct str id, struct str owner)
{
    struct txn *t = txn_find(c, id), *old;

    if (t != NULL || !txn_table_room(&c->txns, owner, &old))
        return t;
    if (old != NULL)
        forget(old);
    t = txn_table_add(&c->txns, id, owner);
    t->coordinator = c;
    t->producer = t->previous = t->asked_producer = -1;
    t->epoch = -1;
    wheel_timer_init(&t->timer, time_is_up);
    return t;
}

bool txn_at_rest(const struct txn *t)
{
    return t->op == NULL && (t->state == TXN_EMPTY || t->state == TXN_COMPLETE_COMMIT ||
                             t->state == TXN_COMPLETE_ABORT);
}

struct txn *txn_for(struct coordinator *c, struct str id, int64_t producer, int16_t epoch,
                    int16_t fenced, int16_t *error)
{
    struct txn *t = txn_find(c, id);

    *error = KAFKA_NONE;
    if (t == NULL || t->producer != producer)
        *error = KAFKA_INVALID_PRODUCER_ID_MAPPING;
    else if (t->epoch != epoch)
        *error = fenced;
    else if (t->op != NULL || t->state == TXN_PREPARE_COMMIT || t->state == TXN_PREPARE_ABORT)
        *error = KAFKA_CONCURRENT_TRANSACTIONS;
    return *error == KAFKA_NONE ? t : NULL;
}

static void arm(struct txn *t, uint64_t ns)
{
    io_timer_start(env_of(t)->io, &t->timer, io_now(env_of(t)->io) + ns);
}

void txn_begin(struct txn *t)
{
    if (t->state == TXN_ONGOING)
        return;
    txn_clear(t);
    txn_table_rest(&t->coordinator->txns, t, false);
    t->previous = -1;
    t->state = TXN_ONGOING;
    t->unsaved = true;
    t->started_ms = wall_ms(t);
    arm(t, (uint64_t) t->timeout_ms * 1000000);
}

int16_t txn_want_part(struct txn *t, struct str topic, int32_t index)
{
    if (txn_has_part(t, topic, index))
        return KAFKA_NONE;
    if (t->nparts == TXN_PARTS_MAX)
        return KAFKA_INVALID_REQUEST;
    if (!txn_table_may_hold(&t->coordinator->txns, t, txn_part_cost(topic)))
        return KAFKA_COORDINATOR_LOAD_IN_PROGRESS;
    txn_put_part(t, topic, index, 0);
    return KAFKA_NONE;
}

/* ms of the wall clock at the first one (41 bits), worker (8 bits), a counter (14 bits, which runs
 * into the time): nobody makes 16,000 producers in every millisecond of a run. So no other producer
 * has the number, also not one of an earlier run of the server. */
int64_t txn_new_producer(struct kafka *k)
{
    if (k->producer_ids == 0)
        k->producer_ids = (uint64_t) (io_wall(k->env->io) / 1000000) << 14;
    k->producer_ids++;
    return (int64_t) (((k->producer_ids << 8) | (k->env->worker & 0xff)) & INT64_MAX);
}

/* ---- operations ------------------------------------------------------------------------------ */

static struct txn_op *op_new(struct txn *t, struct errand *e, txn_done done)
{
    struct txn_op *op = mem_zalloc(sizeof(*op));

    ASSERT(t->op == NULL);
    op->txn = t;
    op->realm = *t->coordinator->realm;
    op->home = env_of(t)->worker;
    op->errand = e;
    op->done = done;
    list_init(&op->job.link);
    t->op = op;
    txn_table_rest(&t->coordinator->txns, t, false);
    return op;
}

static void op_free(struct txn_op *op)
{
    kafka_arena_free(&op->arena);
    mem_free(op);
}

bool txn_wait(struct txn *t, struct errand *e)
{
    if (t->op->stuck)
        return false;
    list_push_back(&t->waiting, &e->link);
    return true;
}

static void go_on_waiting(struct txn *t)
{
    struct list *l;

    while (t->op == NULL && (l = list_pop_front(&t->waiting)) != NULL) {
        struct errand *e = LIST_ENTRY(l, struct errand, link);
        e->run(t->coordinator, e);
    }
}

static void op_done(struct txn_op *op, int16_t error)
{
    struct txn *t = op->txn;
    struct errand *e = op->errand;
    txn_done done = op->done;

    t->op = NULL;
    op_free(op);
    if (done != NULL)
        done(t, e, error);
    go_on_waiting(t);
    txn_table_rest(&t->coordinator->txns, t, txn_at_rest(t));
}

/* An end that is decided and can not be written now: it is tried again until it can. Who asked for
 * it has his answer, as from Kafka; only when that is another producer, which is known when all is
 * written, he asks again. Others come again, too. */
static void let_go(struct txn_op *op)
{
    struct txn *t = op->txn;
    struct errand *e = op->errand;
    txn_done done = op->done;
    struct list *l;

    op->stuck = true;
    op->errand = NULL;
    op->done = NULL;
    if (done != NULL)
        done(t, e, t->epoch > TXN_EPOCH_LAST ? KAFKA_CONCURRENT_TRANSACTIONS : KAFKA_NONE);
    while ((l = list_pop_front(&t->waiting)) != NULL)
        errand_failed(LIST_ENTRY(l, struct errand, link), KAFKA_CONCURRENT_TRANSACTIONS);
}

static void try_again(struct txn_op *op)
{
    struct io *io = env_of(op->txn)->io;

    if (!op->begin)
        let_go(op);
    io_timer_start(io, &op->timer, io_now(io) + AGAIN_NS);
}

/* ---- records --------------------------------------------------------------------------------- */

static void record_durable(struct partition_job *j, bool ok)
{
    struct txn_op *op = CONTAINER_OF(j, struct txn_op, job);

    op->txn->unsaved = !ok;
    if (ok)
        txn_recorded(op->txn, op->piece, op->bytes);
    op->saved(op, ok ? KAFKA_NONE : KAFKA_COORDINATOR_NOT_AVAILABLE);
}

/* The coordinator ends with it, and all who wait. */
static void record_gone(struct partition_job *j)
{
    (void) j;
}

static void save(struct txn_op *op, bool offsets, void (*saved)(struct txn_op *op, int16_t error))
{
    struct txn *t = op->txn;
    enum err err;

    op->saved = saved;
    t->unsaved = true;
    t->changed_ms = wall_ms(t);
    op->piece = txn_may_add(t, t->coordinator->kafka->shared->txn_whole_least);
    err = txn_append(t, op->piece, offsets, &op->first_seq, &op->bytes);
    if (err != ERR_OK) {
        saved(op, KAFKA_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    op->job.wake = record_durable;
    op->job.gone = record_gone;
    op->job.seq = op->first_seq + (offsets ? t->noffsets : 0);
    if (partition_wait(t->coordinator->partition, &op->job))
        record_durable(&op->job, true);
}

void txn_save(struct txn *t, struct errand *e, txn_done done)
{
    save(op_new(t, e, done), false, op_done);
}

/* ---- markers --------------------------------------------------------------------------------- */

static void send_marks(struct txn_op *op);

static void ask_again(struct wheel_timer *timer)
{
    send_marks(CONTAINER_OF(timer, struct txn_op, timer));
}

static void mark_is_back(struct env_task *task, struct env *env)
{
    struct mark *m = CONTAINER_OF(task, struct mark, task);
    struct txn_op *op = m->op;
    bool again = false;

    if (--op->left > 0)
        return;
    if (op->txn == NULL) {
        op_free(op);
        return;
    }
    for (uint32_t i = 0; i < op->nmarks; i++) {
        op->marks[i].done = !op->marks[i].again;
        again = again || op->marks[i].again;
    }
    if (again && partition_env_stops(env))
        op_done(op, KAFKA_COORDINATOR_NOT_AVAILABLE);
    else if (again)
        try_again(op);
    else
        op->marked(op);
}

static void send_back(struct mark *m)
{
    m->task.run = mark_is_back;
    m->env->post(m->env, m->op->home, &m->task);
}

static void mark_durable(struct partition_job *j, bool ok)
{
    struct mark *m = CONTAINER_OF(j, struct mark, job);

    m->again = !ok;
    send_back(m);
}

static void mark_gone(struct partition_job *j)
{
    struct mark *m = CONTAINER_OF(j, struct mark, job);

    m->again = partition_env_stops(m->env);
    send_back(m);
}

static void write_mark(struct mark *m)
{
    const struct txn_op *op = m->op;
    enum err err;

    m->job.seq = 0; /* a beginning is nothing that has to be durable there */
    if (op->begin)
        err = partition_txn_bind(m->partition, op->producer, op->epoch, &m->from);
    else
        err = partition_txn_end(m->partition, op->producer, op->epoch, op->commit, &m->job.seq);
    m->again = err != ERR_OK;
    m->job.wake = mark_durable;
    if (err != ERR_OK || m->job.seq == 0 || partition_wait(m->partition, &m->job))
        send_back(m);
}

static void producers_known(struct partition_job *j, bool ok)
{
    (void) ok;
    write_mark(CONTAINER_OF(j, struct mark, job));
}

static void txns_known(struct partition_job *j, bool ok)
{
    struct mark *m = CONTAINER_OF(j, struct mark, job);

    (void) ok;
    j->wake = producers_known;
    if (partition_know_producers(m->partition, j))
        write_mark(m);
}

static void mark_there(struct env_task *task, struct env *env)
{
    struct mark *m = CONTAINER_OF(task, struct mark, task);
    struct realm *realm = realm_here(env, &m->op->realm);

    m->env = env;
    m->again = false;
    m->partition = realm != NULL ? partition_get(realm, m->stream) : NULL;
    if (m->partition == NULL) {
        m->again = partition_env_stops(env);
        send_back(m);
        return;
    }
    list_init(&m->job.link);
    m->job.gone = mark_gone;
    m->job.wake = txns_known;
    if (partition_know_txns(m->partition, &m->job))
        txns_known(&m->job, true);
}

/* False: there is no such partition any more. */
static bool find_place(struct txn_op *op, struct mark *m, struct topic_place *place)
{
    struct realm *realm = op->txn->coordinator->realm;

    if (m->stream.p == NULL)
        return partition_find(realm, &op->arena, m->topic, m->index, place, &m->stream);
    return topics_partition(realm->topics, m->topic, m->index, place) &&
           place->worker != TOPIC_NOWHERE;
}

/* To every partition that there still is, and that was not reached yet. */
static void send_marks(struct txn_op *op)
{
    struct txn *t = op->txn;
    struct env *env = env_of(t);
    struct topic_place place;

    if (partition_env_stops(env)) {
        op_done(op, KAFKA_COORDINATOR_NOT_AVAILABLE);
        return;
    }
    op->left = 1;
    for (uint32_t i = 0; i < op->nmarks; i++) {
        struct mark *m = &op->marks[i];
        m->again = false;
        if (m->skip || m->done || !find_place(op, m, &place))
            continue;
        op->left++;
        m->task.run = mark_there;
        env->post(env, place.worker, &m->task);
    }
    if (--op->left == 0)
        op->marked(op);
}

static void put_marks(struct txn_op *op, bool begin, bool commit, void (*marked)(struct txn_op *op))
{
    struct txn *t = op->txn;

    op->begin = begin;
    op->commit = commit;
    op->marked = marked;
    op->producer = t->producer;
    op->epoch = t->epoch;
    op->nmarks = t->nparts;
    op->marks = kafka_arena_alloc(&op->arena, t->nparts * sizeof(*op->marks));
    wheel_timer_init(&op->timer, ask_again);
    for (uint32_t i = 0; i < t->nparts; i++) {
        op->marks[i].op = op;
        op->marks[i].topic = kafka_arena_str(&op->arena, t->parts[i].topic);
        op->marks[i].index = t->parts[i].index;
    }
}

static void mark_all(struct txn_op *op, bool commit, void (*marked)(struct txn_op *op))
{
    put_marks(op, false, commit, marked);
    send_marks(op);
}

/* The partitions take its batches from now on. What they said goes into the record, which says
 * after a crash where to look; no batch comes before it is durable and the producer has its answer.
 */
static void begun(struct txn_op *op)
{
    for (uint32_t i = 0; i < op->nmarks; i++)
        if (!op->marks[i].skip)
            txn_place_part(op->txn, i, op->marks[i].from);
    save(op, false, op_done);
}

void txn_bind(struct txn *t, bool all, struct errand *e, txn_done done)
{
    struct txn_op *op = op_new(t, e, done);

    put_marks(op, true, false, begun);
    for (uint32_t i = 0; i < op->nmarks; i++)
        op->marks[i].skip = !all && t->parts[i].from != 0;
    send_marks(op);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* What was committed with it is committed. */
static void apply_offsets(struct txn_op *op)
{
    struct txn *t = op->txn;

    for (uint32_t i = 0; i < t->noffsets; i++) {
        struct txn_offset *o = &t->offsets[i];
        struct group_entry *g = coordinator_get(t->coordinator, o->group);
        if (g == NULL)
            continue;
        o->o.seq = op->first_seq + 1 + i;
        committed_put(&g->offsets, &o->o);
        coordinator_touch(g);
    }
}

static void complete(struct txn_op *op);

static void completed(struct txn_op *op, int16_t error)
{
    struct txn *t = op->txn;

    if (error != KAFKA_NONE) { /* the markers are there; this has to come */
        op->marked = complete;
        t->state = op->commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT;
        try_again(op);
        return;
    }
    if (op->commit)
        apply_offsets(op);
    txn_clear(t);
    txn_drop_pieces(t);
    op_done(op, KAFKA_NONE);
}

/* The last epoch was given to its end: who goes on is another producer. */
static void renew(struct txn *t)
{
    t->previous = t->producer;
    t->producer = txn_new_producer(t->coordinator->kafka);
    t->epoch = 0;
}

static void complete(struct txn_op *op)
{
    struct txn *t = op->txn;

    if (t->epoch > TXN_EPOCH_LAST)
        renew(t);
    t->state = op->commit ? TXN_COMPLETE_COMMIT : TXN_COMPLETE_ABORT;
    if (op->commit)
        for (uint32_t i = 0; i < t->noffsets; i++)
            t->offsets[i].o.time_ms = wall_ms(t);
    save(op, op->commit, completed);
}

static void prepared(struct txn_op *op, int16_t error)
{
    struct txn *t = op->txn;

    if (error != KAFKA_NONE) {
        t->state = op->before;
        t->epoch = (int16_t) (t->epoch - op->raised);
        t->previous = op->previous;
        if (t->state == TXN_ONGOING)
            arm(t, (uint64_t) t->timeout_ms * 1000000);
        op_done(op, error);
        return;
    }
    mark_all(op, op->commit, complete);
}

void txn_end(struct txn *t, bool commit, bool raise, struct errand *e, txn_done done)
{
    struct txn_op *op = op_new(t, e, done);

    io_timer_stop(env_of(t)->io, &t->timer);
    op->commit = commit;
    op->before = t->state;
    op->raised = raise && t->epoch < INT16_MAX;
    t->epoch = (int16_t) (t->epoch + op->raised);
    op->previous = t->previous;
    t->previous = op->raised ? t->producer : -1;
    t->state = commit ? TXN_PREPARE_COMMIT : TXN_PREPARE_ABORT;
    save(op, false, prepared);
}

static void time_is_up(struct wheel_timer *timer)
{
    struct txn *t = CONTAINER_OF(timer, struct txn, timer);

    if (t->state != TXN_ONGOING)
        return;
    if (t->op != NULL) {
        arm(t, AGAIN_NS);
        return;
    }
    LOG_DBG(env_of(t)->log, "Kafka transaction of \"%.*s\" timed out", STR_ARG(t->id));
    txn_end(t, false, true, NULL, NULL); /* whoever had it is fenced */
}

/* ---- what was open before a start ------------------------------------------------------------ */

void txns_loaded(struct coordinator *c)
{
    LIST_FOREACH_SAFE(l, tmp, &c->txns.all)
    {
        struct txn *t = LIST_ENTRY(l, struct txn, link);
        struct txn_op *op;
        txn_find_pieces(t);
        if (t->state != TXN_ONGOING)
            txn_drop_pieces(t);
        if (t->state == TXN_ONGOING) {
            arm(t, (uint64_t) t->timeout_ms * 1000000);
            txn_word_remind(t);
        } else if (t->state == TXN_PREPARE_COMMIT || t->state == TXN_PREPARE_ABORT) {
            txn_word_remind(t);
            op = op_new(t, NULL, NULL);
            mark_all(op, t->state == TXN_PREPARE_COMMIT, complete);
        }
    }
}

void txns_sweep(struct coordinator *c)
{
    LIST_FOREACH_SAFE(l, tmp, &c->txns.all)
    {
        struct txn *t = LIST_ENTRY(l, struct txn, link);
        if (t->op != NULL || t->state == TXN_ONGOING || wall_ms(t) - t->changed_ms < TXN_KEPT_MS)
            continue;
        forget(t);
    }
}

/* Markers that are on their way come back to an operation of nobody. */
static void abandon(struct txn_op *op)
{
    struct errand *e = op->errand;
    struct env *env = env_of(op->txn);

    list_remove(&op->job.link);
    if (op->marks != NULL)
        io_timer_stop(env->io, &op->timer);
    op->txn->op = NULL;
    op->txn = NULL;
    if (e != NULL)
        errand_failed(e, KAFKA_NOT_COORDINATOR);
    if (op->left == 0)
        op_free(op);
}

static void orphaned(struct txn_op *op)
{
    op->txn->op = NULL;
    op_free(op);
}

/* The offsets stream was deleted: nobody could end what is open any more. */
static void abort_orphan(struct txn *t)
{
    mark_all(op_new(t, NULL, NULL), false, orphaned);
    if (t->op != NULL)
        t->op->txn = NULL;
    t->op = NULL;
}

void txns_close(struct coordinator *c)
{
    struct list *l;

    while ((l = list_first(&c->txns.all)) != NULL) {
        struct txn *t = LIST_ENTRY(l, struct txn, link);
        if (t->op != NULL)
            abandon(t->op);
        if (t->nparts > 0 && !c->kafka->stopping)
            abort_orphan(t);
        free_txn(t);
    }
    txn_table_deinit(&c->txns);
}
