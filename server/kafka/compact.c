/*
 * compact.c - compaction of topics by key: when, and how a partition is worked through.
 *
 *     look around   every compaction_interval: which partitions of this worker have enough that is
 *                   new (min.cleanable.dirty.ratio), or null values whose time has come
 *     KNOWING       its producers and transactions are read back, if nobody has asked yet
 *     NOTING        the new part is read: the last message of each key
 *     LOOKING       all of it is read again from the first message on; what is superseded goes
 *
 * One partition at a time. The worker reads entries (from the cache or the disk) and removes; keys
 * are taken out of batches, hashed and looked up on a pool thread (compact_core.h), a megabyte at a
 * time, and removals come in slices. So neither publishers nor readers wait.
 *
 * What is never touched is the head: the segment that is written to (or the last segment.bytes, if
 * that is more), unless nothing came for segment.ms; what is younger than min.compaction.lag.ms;
 * everything from the first open transaction on; and what is not synced yet (of an async stream),
 * because a power cut that took a key's last message would find those before it removed.
 *
 * A null value goes when it has been the only message of its key for delete.retention.ms: a reader
 * that began before has that long to hear of it. How long that is, is known from the passes since
 * the start (struct partition_compact); after a start it counts anew. So does where the last pass
 * ended: the first one reads everything.
 *
 * What is removed here is removed as by a request: durable with one of the next commits, and the
 * space comes back when segments are written anew (store/rewrite.c).
 */
#include "server/kafka/compact.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "lib/wire/kafka_batch.h"
#include "server/kafka/compact_core.h"
#include "server/kafka/partition.h"
#include "server/kafka/topic_config.h"

#include <errno.h>
#include <stdlib.h>

#define MS INT64_C(1000000)
/* Of one piece of work. */
#define ITEMS 1024u
#define ITEM_BYTES (1u << 20)
/* Removed in one go. */
#define REMOVE_SLICE 256u

struct settings {
    int64_t retention_ns, min_lag_ns, max_lag_ns, segment_ns;
    uint64_t segment_bytes;
    double ratio;
};

struct item {
    struct compact_entry e;
    struct chunk *chunk; /* one reference */
    uint64_t *holes;
};

enum phase { KNOWING, NOTING, LOOKING };

struct pass {
    struct compactor *c;
    struct partition *p;      /* NULL: it has gone */
    struct partition_job job; /* in p->busy, or waiting for what is to be known */
    struct settings set;
    struct compact_pass core;
    enum phase phase;
    struct store_reader reader;
    uint64_t end;   /* nothing from here on */
    bool unblocked; /* markers may go: nobody has read what they are about */
    bool at_end, reading, working, yielding;
    struct item items[ITEMS];
    uint32_t n;
    struct io_work work;
    struct env_task yield;
};

struct compactor {
    struct kafka *kafka;
    struct wheel_timer timer;
    bool stopping;
    /* What this look around has found, and not come to yet. */
    struct kafka_arena arena;
    struct queued {
        struct realm *realm;
        struct topic_piece piece;
    } * queue;
    size_t n, at;
    struct pass *pass;
};

static struct env *env_of(const struct pass *x)
{
    return x->c->kafka->env;
}

/* ---- the end of a pass ----------------------------------------------------------------------- */

static void let_go_of_items(struct pass *x)
{
    for (uint32_t i = 0; i < x->n; i++) {
        chunk_put(x->items[i].chunk, env_of(x)->chunks);
        mem_free(x->items[i].holes);
    }
    x->n = 0;
}

static void stop_reading(struct pass *x)
{
    if (x->reading)
        store_reader_deinit(&x->reader);
    x->reading = false;
}

/* When nobody calls back any more. */
static void end_pass(struct pass *x)
{
    struct compactor *c = x->c;

    stop_reading(x);
    list_remove(&x->job.link);
    if (x->working || x->yielding) {
        x->p = NULL;
        return;
    }
    let_go_of_items(x);
    compact_pass_deinit(&x->core);
    mem_free(x);
    c->pass = NULL;
    if (c->stopping)
        io_wake(c->kafka->env->io);
    else /* not from here: perhaps its stream is just going */
        io_timer_start_next(c->kafka->env->io, &c->timer);
}

static void pass_gone(struct partition_job *j)
{
    struct pass *x = CONTAINER_OF(j, struct pass, job);

    x->p = NULL;
    end_pass(x);
}

/* A pass has come to its end: below x->end there is one message per key. The newest note moves on
 * until it lies a part of the retention behind the one before it, so that there are never many. */
static void note_pass(struct pass *x)
{
    struct partition_compact *k = &x->p->compact;
    int64_t now = io_wall(env_of(x)->io);
    struct store_state st;
    unsigned n = k->npast;

    store_stream_state(x->p->store, &st);
    k->clean_to = x->end;
    uint64_t behind = st.last_seq + 1 - x->end;
    k->clean_msgs = st.msgs > behind ? st.msgs - behind : 0;
    k->horizon = x->core.horizon;
    k->waiting = x->core.waiting;
    k->dirty_since = 0;
    while (n > 1 && k->past[1].end <= x->core.horizon) {
        for (unsigned i = 1; i < n; i++)
            k->past[i - 1] = k->past[i];
        n--;
    }
    if (n > 0 && k->past[n - 1].end >= x->end) {
        k->npast = n;
        return;
    }
    bool slides = n > 1 && k->past[n - 1].time - k->past[n - 2].time <
                               x->set.retention_ns / (int64_t) (PARTITION_PASSES - 2);
    if (!slides && n < PARTITION_PASSES)
        n++;
    k->past[n - 1].end = x->end;
    k->past[n - 1].time = now;
    k->npast = n;
}

/* Below it what was alone has been so for long enough. */
static uint64_t horizon_of(const struct partition_compact *k, int64_t now, int64_t retention)
{
    uint64_t end = 0;

    for (unsigned i = 0; i < k->npast; i++)
        if (now - k->past[i].time >= retention)
            end = k->past[i].end;
    return end;
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_on(struct store_reader *r);

static void set_holes(struct item *it, const struct store_stream *s)
{
    uint32_t n = it->e.messages;

    it->holes = mem_zalloc(((size_t) n + 63) / 64 * sizeof(*it->holes));
    for (uint32_t i = 0; i < n; i++)
        if (!store_msg_exists(s, it->e.first_seq + i))
            it->holes[i / 64] |= (uint64_t) 1 << (i % 64);
    it->e.holes = it->holes;
}

static void set_batch(struct pass *x, struct item *it, const struct store_entry *e)
{
    struct kafka_batch b;
    uint64_t first, last;

    it->e.batch = e->batch;
    partition_bounds(x->p, &first, &last);
    if (e->holes || e->first_seq < first)
        set_holes(it, x->p->store);
    if (kafka_batch_open(e->batch, &b) != KAFKA_BATCH_OK || b.producer_id < 0 ||
        (b.attributes & KAFKA_CONTROL) != 0)
        return;
    it->e.keep_last = producers_need(&x->p->producers, b.producer_id, e->first_seq, last);
    it->e.aborted = (b.attributes & KAFKA_TRANSACTIONAL) != 0 &&
                    partition_txn_was_aborted(x->p, b.producer_id, e->first_seq);
}

static size_t put_item(struct pass *x, const struct store_entry *e)
{
    struct item *it = &x->items[x->n];

    if (!e->kafka && e->msg.header.n == 0)
        return 0; /* it has no key */
    *it =
        (struct item){.e = {.first_seq = e->first_seq, .messages = e->messages, .kafka = e->kafka},
                      .chunk = e->kafka ? e->chunk : e->msg.chunk};
    if (e->kafka) {
        set_batch(x, it, e);
    } else {
        it->e.header = e->msg.header;
        it->e.payload = e->msg.payload.n;
    }
    chunk_get(it->chunk);
    x->n++;
    return e->kafka ? e->batch.n : e->msg.header.n;
}

/* Does the part that is read end in front of it? */
static bool is_behind(struct pass *x, const struct store_entry *e)
{
    int64_t wait = e->ts + x->set.min_lag_ns;

    if (e->first_seq >= x->end)
        return true;
    if (x->phase == LOOKING || x->set.min_lag_ns == 0 || wait <= io_wall(env_of(x)->io))
        return false;
    x->p->compact.not_before = wait;
    x->end = e->first_seq;
    return true;
}

static void work_run(struct io_work *work)
{
    struct pass *x = CONTAINER_OF(work, struct pass, work);

    for (uint32_t i = 0; i < x->n; i++)
        if (x->phase == LOOKING)
            compact_look(&x->core, &x->items[i].e);
        else if (!compact_note(&x->core, &x->items[i].e))
            return;
}

static void work_done(struct io_op *op);

static void submit(struct pass *x)
{
    x->working = true;
    x->work.run = work_run;
    io_op_init(&x->work.op, work_done);
    io_work_submit(env_of(x)->io, &x->work);
}

static void read_on(struct store_reader *r)
{
    struct pass *x = r->ctx;
    struct store_entry e;
    enum store_read got = STORE_READ_END;
    size_t bytes = 0;

    if (x->working || x->yielding)
        return;
    for (uint32_t i = 0; i < ITEMS && x->n < ITEMS && bytes < ITEM_BYTES; i++) {
        got = store_reader_entry(r, &e);
        if (got != STORE_READ_MSG)
            break;
        if (is_behind(x, &e)) {
            got = STORE_READ_END;
            break;
        }
        bytes += put_item(x, &e);
    }
    if (got == STORE_READ_WAIT && x->n == 0)
        return;
    x->at_end = got == STORE_READ_END;
    submit(x);
}

static void start_reading(struct pass *x, enum phase phase, uint64_t from)
{
    stop_reading(x);
    x->phase = phase;
    x->at_end = false;
    x->reading = true;
    store_reader_init(&x->reader, x->p->store, from, NULL, 0, read_on, x);
    read_on(&x->reader);
}

/* ---- what the pool has found ----------------------------------------------------------------- */

/* The next ones; true when all are gone. */
static bool remove_some(struct pass *x)
{
    struct seqset some = {0};
    uint64_t first, last;

    while (some.count < REMOVE_SLICE && seqset_range_from(&x->core.gone, 0, &first, &last)) {
        if (last - first >= REMOVE_SLICE - some.count)
            last = first + REMOVE_SLICE - some.count - 1;
        seqset_add(&some, first, last);
        seqset_remove(&x->core.gone, first, last);
    }
    if (some.count > 0)
        store_remove_set(x->p->store, &some, NULL);
    seqset_free(&some);
    return x->core.gone.count == 0;
}

static void finish(struct pass *x)
{
    note_pass(x);
    partition_txns_compacted(x->p);
    end_pass(x);
}

static void noted(struct pass *x)
{
    struct partition_compact *k = &x->p->compact;
    uint64_t first, last;

    if (x->core.full != 0)
        x->end = x->core.full;
    partition_bounds(x->p, &first, &last);
    if (x->end <= k->clean_to && x->core.horizon <= k->horizon)
        end_pass(x);
    else
        start_reading(x, LOOKING, first);
}

static void go_on(struct pass *x)
{
    if (x->phase == LOOKING && x->at_end)
        finish(x);
    else if (x->phase == NOTING && (x->at_end || x->core.full != 0))
        noted(x);
    else
        read_on(&x->reader);
}

static void yielded(struct env_task *task, struct env *env);

static void remove_or_go_on(struct pass *x)
{
    if (remove_some(x)) {
        go_on(x);
        return;
    }
    x->yielding = true;
    x->yield.run = yielded;
    env_of(x)->post(env_of(x), env_of(x)->worker, &x->yield);
}

static bool may_go_on(struct pass *x)
{
    if (x->p != NULL && !x->c->stopping)
        return true;
    end_pass(x);
    return false;
}

static void yielded(struct env_task *task, struct env *env)
{
    struct pass *x = CONTAINER_OF(task, struct pass, yield);

    (void) env;
    x->yielding = false;
    if (may_go_on(x))
        remove_or_go_on(x);
}

static void work_done(struct io_op *op)
{
    struct pass *x = CONTAINER_OF(op, struct pass, work.op);

    x->working = false;
    if (op->res == -EAGAIN && x->p != NULL && !x->c->stopping) {
        end_pass(x); /* the pool is full: next time */
        return;
    }
    let_go_of_items(x);
    if (may_go_on(x))
        remove_or_go_on(x);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static void start_noting(struct pass *x)
{
    struct partition *p = x->p;
    struct partition_compact *k = &p->compact;
    int64_t now = io_wall(env_of(x)->io);
    uint64_t first, last, undecided = (uint64_t) partition_stable(p) + 1;

    list_push_back(&p->busy, &x->job.link);
    partition_bounds(p, &first, &last);
    if (undecided < x->end)
        x->end = undecided;
    x->core.horizon = x->unblocked ? horizon_of(k, now, x->set.retention_ns) : 0;
    start_reading(x, NOTING, k->clean_to > first ? k->clean_to : first);
}

static void txns_known(struct partition_job *j, bool ok)
{
    struct pass *x = CONTAINER_OF(j, struct pass, job);

    (void) ok;
    if (x->c->stopping)
        end_pass(x);
    else
        start_noting(x);
}

static void producers_known(struct partition_job *j, bool ok)
{
    struct pass *x = CONTAINER_OF(j, struct pass, job);

    (void) ok;
    j->wake = txns_known;
    if (partition_know_txns(x->p, j))
        txns_known(j, true);
}

static void begin(struct compactor *c, struct partition *p, const struct settings *set,
                  uint64_t end)
{
    struct pass *x = mem_zalloc(sizeof(*x));

    compact_pass_init(&x->core, prng_u64(c->kafka->env->prng));
    x->c = c;
    x->p = p;
    x->set = *set;
    x->end = end;
    x->unblocked = list_empty(&p->busy);
    list_init(&x->job.link);
    x->job.gone = pass_gone;
    x->job.wake = producers_known;
    c->pass = x;
    if (partition_know_producers(p, &x->job))
        producers_known(&x->job, true);
}

/* ---- which ----------------------------------------------------------------------------------- */

static int64_t number(const struct topic *t, const char *name, struct kafka_arena *arena)
{
    const struct topic_config_key *k = topic_config_find(str_of(name));
    bool is_default;
    int64_t n = 0;

    (void) str_to_i64(topic_config_value(t, k, arena, &is_default), &n);
    return n;
}

static int64_t span(const struct topic *t, const char *name, struct kafka_arena *arena)
{
    int64_t ms = number(t, name, arena);

    return ms > INT64_MAX / 4 / MS ? INT64_MAX / 4 : ms * MS;
}

static double ratio(const struct topic *t, struct kafka_arena *arena)
{
    bool is_default;
    struct str value = topic_config_value(t, topic_config_find(STR("min.cleanable.dirty.ratio")),
                                          arena, &is_default);

    return strtod(kafka_arena_text(arena, "%.*s", STR_ARG(value)).p, NULL);
}

static bool settings_of(struct topics *topics, struct str name, struct kafka_arena *arena,
                        struct settings *out)
{
    struct topic t;

    if (!topics_find(topics, name, arena, &t))
        return false;
    *out = (struct settings){.retention_ns = span(&t, "delete.retention.ms", arena),
                             .min_lag_ns = span(&t, "min.compaction.lag.ms", arena),
                             .max_lag_ns = span(&t, "max.compaction.lag.ms", arena),
                             .segment_ns = span(&t, "segment.ms", arena),
                             .segment_bytes = (uint64_t) number(&t, "segment.bytes", arena),
                             .ratio = ratio(&t, arena)};
    return true;
}

/* Where the head begins, which is left alone. */
static uint64_t head_of(const struct partition *p, const struct settings *set, int64_t now)
{
    struct store_state st;
    uint64_t head = store_stream_head(p->store), tail;

    store_stream_state(p->store, &st);
    if (st.last_ts <= now - set->segment_ns)
        return st.synced_seq + 1;
    /* A small segment.bytes: what Kafka would have put into earlier segments counts as such. */
    if (set->segment_bytes < 16u << 20) {
        tail = store_stream_tail(p->store, set->segment_bytes);
        head = tail > head ? tail : head;
    }
    return head <= st.synced_seq ? head : st.synced_seq + 1;
}

static bool is_due(struct partition *p, const struct settings *set, uint64_t head, int64_t now)
{
    struct partition_compact *k = &p->compact;
    uint64_t first, last, from, dirty;

    partition_bounds(p, &first, &last);
    from = k->clean_to > first ? k->clean_to : first;
    dirty = head > from ? head - from : 0;
    if (dirty > 0 && k->dirty_since == 0)
        k->dirty_since = now;
    if (k->waiting > 0 && horizon_of(k, now, set->retention_ns) > k->horizon)
        return true;
    if (dirty == 0 || now < k->not_before)
        return false;
    return (double) dirty >= set->ratio * (double) (dirty + k->clean_msgs) ||
           now - k->dirty_since >= set->max_lag_ns;
}

/* True: a pass has begun. */
static bool consider(struct compactor *c, const struct queued *q)
{
    int64_t now = io_wall(c->kafka->env->io);
    struct buf name = {0};
    struct settings set;
    struct partition *p;
    uint64_t head;

    if (!settings_of(q->realm->topics, q->piece.topic, &c->arena, &set))
        return false;
    topic_stream_name(&name, q->piece.topic, q->piece.partition);
    p = partition_get(q->realm, buf_str(&name));
    buf_free(&name);
    if (p == NULL)
        return false;
    head = head_of(p, &set, now);
    if (!is_due(p, &set, head, now))
        return false;
    begin(c, p, &set, head);
    return true;
}

static void set_timer(struct compactor *c)
{
    struct io *io = c->kafka->env->io;
    int64_t every = c->kafka->env->options->kafka_compaction_ns;

    /* Off for now: a reload may turn it on. */
    io_timer_start(io, &c->timer, io_now(io) + (uint64_t) (every > 0 ? every : 1000 * MS));
}

static void next_partition(struct compactor *c)
{
    while (!c->stopping && c->at < c->n)
        if (consider(c, &c->queue[c->at++]))
            return;
    kafka_arena_free(&c->arena);
    c->arena = (struct kafka_arena){0};
    c->queue = NULL;
    c->n = c->at = 0;
    if (!c->stopping)
        set_timer(c);
}

static void fill_queue(struct compactor *c)
{
    struct kafka *k = c->kafka;

    for (uint32_t i = 0; k->env->options->kafka_compaction_ns > 0 && i < k->nrealms; i++) {
        struct topic_piece *pieces;
        size_t n, before = c->n;

        if (k->realms[i]->topics == NULL)
            continue;
        n = topics_compacted(k->realms[i]->topics, k->env->worker, &c->arena, &pieces);
        if (n == 0)
            continue;
        struct queued *queue = kafka_arena_alloc(&c->arena, (before + n) * sizeof(*queue));
        for (size_t q = 0; q < before; q++)
            queue[q] = c->queue[q];
        for (size_t q = 0; q < n; q++)
            queue[before + q] = (struct queued){k->realms[i], pieces[q]};
        c->queue = queue;
        c->n = before + n;
    }
}

static void look_around(struct wheel_timer *t)
{
    struct compactor *c = CONTAINER_OF(t, struct compactor, timer);

    if (c->n == 0)
        fill_queue(c);
    next_partition(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

struct compactor *compactor_open(struct kafka *k)
{
    struct compactor *c = mem_zalloc(sizeof(*c));

    c->kafka = k;
    wheel_timer_init(&c->timer, look_around);
    set_timer(c);
    return c;
}

void compactor_stop(struct compactor *c)
{
    c->stopping = true;
    io_timer_stop(c->kafka->env->io, &c->timer);
    if (c->pass != NULL && c->pass->p != NULL)
        end_pass(c->pass);
}

bool compactor_is_quiet(const struct compactor *c)
{
    return c->pass == NULL;
}

void compactor_close(struct compactor *c)
{
    io_timer_stop(c->kafka->env->io, &c->timer);
    kafka_arena_free(&c->arena);
    mem_free(c);
}
