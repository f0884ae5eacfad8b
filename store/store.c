/*
 * store.c - a worker's store: opening, the step of the loop, statistics.
 *
 * store_step, in this order: callbacks that were put off (completed requests, failed(), removed(),
 * readers that may go on); commits of streams, each to its own segment; one frame of the commit log
 * for everything else; tasks. All of it is bounded: tasks by time (200 us), the rest by what the
 * callers put in.
 */
#include "store/store.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/pool.h"
#include "store/store_impl.h"

#include <string.h>

#define CACHE_BYTES (256ull << 20)
#define STAGING_BYTES (64ull << 20)
/* A stream is idle when it commits nothing for as long, or twice. */
#define CLAIM_NS 1000000000u
/* From here on a commit goes past the page cache (lib/io/io_direct.c). Produce with batches of 1
 * MB, under load, server CPU s a GB, two pairs: pages alone had no clear gain; with frames received
 * into their chunks 1.10, 1.04 -> 0.87, 0.97 of one partition, 1.14, 1.21 -> 0.99, 1.11 of 16. */
#define KAFKA_PAGES_MIN (128u << 10)
#define RIDE_NS 100000000ull
#define RETRY_NS 1000000000ull
#define STEP_NS 200000ull

static void retry_fire(struct wheel_timer *timer);
static void sync_fire(struct wheel_timer *timer);
static void claim_fire(struct wheel_timer *timer);

/* ---- opening --------------------------------------------------------------------------------- */

static void open_log(struct store *st, const struct recovered_worker *w)
{
    struct clog *l = &st->clog;
    struct clog_file *f;

    l->file_bytes = st->dir->options.log_file_bytes;
    l->next_number = w->log.number + 1;
    if (w->log.spare)
        clog_adopt_spare(st);
    l->offset = w->log.offset;
    l->next_commit = w->log.next_commit;
    l->durable_commit = w->log.next_commit - 1;
    l->prev_crc = w->log.prev_crc;
    for (uint64_t n = 0; n < w->log.number; n++)
        clog_add_file(st, n, 0);
    f = clog_add_file(st, w->log.number, w->log.file_bytes);
    f->first_commit = w->log.first_commit;
    ASSERT(f->salt == w->log.salt);
    if (w->log.stained)
        wash_adopt(st);
}

static void adopt_object(struct store *st, const struct store_object_view *v, uint64_t version,
                         uint64_t full, uint64_t deltas)
{
    struct object *o = object_new(st, v->id, v->kind, v->parent);
    /* At most that old; which of the first files it is does not matter. */
    struct clog_file *f = LIST_ENTRY(st->clog.files.next, struct clog_file, link);

    o->version = version;
    o->full_bytes = full;
    o->delta_bytes = deltas;
    o->home = f;
    list_push_back(&f->objects, &o->home_link);
}

static void adopt_objects(struct store *st, const struct recovered_worker *w)
{
    for (size_t i = 0; i < w->nstreams; i++)
        adopt_object(st, &w->streams[i].view, w->streams[i].version, w->streams[i].view.full.n, 0);
    for (size_t i = 0; i < w->nobjects; i++)
        adopt_object(st, &w->objects[i].view, w->objects[i].version, w->objects[i].full_bytes,
                     w->objects[i].delta_bytes);
}

enum err store_open(struct store_dir *dir, unsigned worker, const struct store_options *options,
                    struct store **out)
{
    struct store *st;

    if (worker >= dir->options.workers)
        return ERR_INVALID;
    st = mem_zalloc(sizeof(*st));
    st->dir = dir;
    st->worker = worker;
    st->options = *options;
    st->io = options->io;
    io_hold(st->io, dir->lock);
    st->chunks = options->chunks;
    st->log = options->log;
    st->generation = dir->generation;
    memcpy(st->uuid, dir->uuid, sizeof(st->uuid));
    /* A fixed seed must not give the streams of two starts the same UUIDs. */
    prng_init(&st->prng, dir->seeds[worker] ^ hash_mix(dir->generation, 0x9e3779b97f4a7c15u));
    if (st->options.cache_bytes == 0)
        st->options.cache_bytes = CACHE_BYTES;
    if (st->options.staging_bytes == 0)
        st->options.staging_bytes = STAGING_BYTES;
    if (st->options.kafka_pages_min == 0)
        st->options.kafka_pages_min = KAFKA_PAGES_MIN;
    if (st->options.ride_ns == 0)
        st->options.ride_ns = RIDE_NS;
    st->segment_min = dir->options.segment_bytes_min;
    st->segment_max = dir->options.segment_bytes_max;
    st->filter_patience = FILTER_PATIENCE;
    st->tasks_ns = STEP_NS;
    list_init(&st->streams);
    list_init(&st->dirty);
    list_init(&st->tasks);
    list_init(&st->logged);
    list_init(&st->deferred);
    list_init(&st->removals);
    list_init(&st->erasures);
    list_init(&st->rewrites);
    list_init(&st->ready);
    list_init(&st->retry);
    list_init(&st->work_queue);
    hmap_init(&st->objects);
    list_init(&st->cache.lru);
    st->cache.limit = st->options.cache_bytes;
    st->meta.class_bytes = BATCH_META;
    st->body.class_bytes = BATCH_BODY;
    wheel_timer_init(&st->retry_timer, retry_fire);
    wheel_timer_init(&st->sync_timer, sync_fire);
    list_init(&st->claims);
    wheel_timer_init(&st->claim_timer, claim_fire);
    store_fill_init(st);
    crypt_nonces_init(&st->nonces, &dir->ring, &st->prng);
    clog_init(st);
    open_log(st, &dir->workers[worker]);
    adopt_objects(st, &dir->workers[worker]);
    twin_init(st);
    clog_want_spare(st);
    *out = st;
    return ERR_OK;
}

void store_recovered_each(struct store *st,
                          void (*each)(void *ctx, const struct store_object_view *v), void *ctx)
{
    const struct recovered_worker *w = &st->dir->workers[st->worker];

    for (size_t i = 0; i < w->nstreams; i++)
        each(ctx, &w->streams[i].view);
    for (size_t i = 0; i < w->nobjects; i++)
        each(ctx, &w->objects[i].view);
}

static void keep_unclaimed(struct store *st, const struct store_object_view *v)
{
    struct object *o = object_find(st, v->id);

    if (o != NULL && o->stream == NULL && o->render == NULL)
        object_keep_raw(o, v);
}

void store_recovered_done(struct store *st)
{
    struct recovered_worker *w = &st->dir->workers[st->worker];

    for (size_t i = 0; i < w->nstreams; i++)
        keep_unclaimed(st, &w->streams[i].view);
    for (size_t i = 0; i < w->nobjects; i++)
        keep_unclaimed(st, &w->objects[i].view);
    recovered_worker_free(w);
}

/* ---- deferred callbacks ---------------------------------------------------------------------- */

struct deferred {
    struct list link;
    struct store_req *req;
    enum err err;
};

void store_defer(struct store *st, struct store_req *req, enum err err)
{
    struct deferred *d;

    if (req == NULL)
        return;
    d = mem_alloc(sizeof(*d));
    d->req = req;
    d->err = err;
    list_push_back(&st->deferred, &d->link);
}

/* Only what was put off before this call: a callback may put off more. */
static void run_deferred(struct store *st)
{
    struct list batch, *it;

    list_init(&batch);
    list_splice(&batch, &st->deferred);
    while ((it = list_pop_front(&batch)) != NULL) {
        struct deferred *d = LIST_ENTRY(it, struct deferred, link);
        struct store_req *req = d->req;
        enum err err = d->err;
        mem_free(d);
        req->done(req, err);
    }
}

static void wake_readers(struct store *st)
{
    struct list batch, *it;

    list_init(&batch);
    list_splice(&batch, &st->ready);
    while ((it = list_pop_front(&batch)) != NULL) {
        struct store_reader *r = LIST_ENTRY(it, struct store_reader, wait_link);
        r->waiting = false;
        r->ready(r);
    }
}

static void retry_fire(struct wheel_timer *timer)
{
    struct store *st = CONTAINER_OF(timer, struct store, retry_timer);

    st->no_space = st->rewrites_paused = false;
    list_splice(&st->ready, &st->retry);
    clog_retry_spare(st);
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (s->state == STREAM_ACTIVE)
            segments_retry(s);
    }
}

static void sync_fire(struct wheel_timer *timer)
{
    struct store *st = CONTAINER_OF(timer, struct store, sync_timer);

    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (s->state != STREAM_ACTIVE || s->level != STORE_ASYNC)
            continue;
        LIST_FOREACH(seg, &s->segments)
        if (LIST_ENTRY(seg, struct segment, link)->unsynced)
            segment_checkpoint(LIST_ENTRY(seg, struct segment, link));
    }
}

void store_retry_later(struct store *st)
{
    if (!wheel_pending(&st->retry_timer))
        io_timer_start(st->io, &st->retry_timer, io_now(st->io) + RETRY_NS);
}

void store_retry_now(struct store *st)
{
    if (wheel_pending(&st->retry_timer))
        retry_fire(&st->retry_timer);
}

/* ---- where streams end ----------------------------------------------------------------------- */

void stream_log_delta(struct store_stream *s, struct buf *delta)
{
    if (delta->n > 0)
        clog_put(s->store, LOG_DELTA, s->object, buf_str(delta), NULL);
    buf_free(delta);
}

/* A batch proves that those before it are durable; nothing in a segment proves its last one. So a
 * last batch that is damaged would look like one that was never finished. */
static void claim_end(struct store_stream *s)
{
    struct buf delta = {0};

    if (s->state != STREAM_ACTIVE || s->store->closing || s->store->clog.failed)
        return;
    if (stream_proven(s) != s->rec.last_seq)
        stream_claim_durable(s, &delta);
    s->rec.last_seq = stream_proven(s);
    stream_claim_applied(s, &delta);
    stream_log_delta(s, &delta);
}

/* So that a start has to look at the last second alone (load_limits.c). */
static void claim_applied(struct store_stream *s)
{
    struct buf delta = {0};

    if (!s->store->closing && !s->store->clog.failed)
        stream_claim_applied(s, &delta);
    stream_log_delta(s, &delta);
}

static void claim_fire(struct wheel_timer *timer)
{
    struct store *st = CONTAINER_OF(timer, struct store, claim_timer);

    LIST_FOREACH_SAFE(it, tmp, &st->claims)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, claim_link);
        bool idle = s->claim_seen == s->last_seq && stream_proven(s) == s->last_seq;
        s->claim_seen = s->last_seq;
        if (s->state == STREAM_ACTIVE)
            twin_end(s);
        if (!idle && s->state == STREAM_ACTIVE) {
            claim_applied(s);
            continue;
        }
        list_remove(&s->claim_link);
        claim_end(s);
    }
    if (!list_empty(&st->claims) && !st->closing)
        io_timer_start(st->io, &st->claim_timer, io_now(st->io) + CLAIM_NS);
}

void store_claim_end(struct store_stream *s)
{
    struct store *st = s->store;

    if (list_linked(&s->claim_link) || !stream_in_file(s))
        return;
    list_push_back(&st->claims, &s->claim_link);
    if (!wheel_pending(&st->claim_timer))
        io_timer_start(st->io, &st->claim_timer, io_now(st->io) + CLAIM_NS);
}

void store_no_space(struct store *st)
{
    if (!st->said_no_space)
        LOG_WRN(st->log,
                "no space left for a file of the store; publishes are refused until there is");
    st->no_space = st->said_no_space = true;
    store_retry_later(st);
}

/* ---- tasks ----------------------------------------------------------------------------------- */

void stream_has_tasks(struct store_stream *s)
{
    if (!list_linked(&s->task_link))
        list_push_back(&s->store->tasks, &s->task_link);
}

void task_start(struct store_stream *s, struct task *t)
{
    list_push_back(&s->tasks, &t->link);
    stream_has_tasks(s);
}

static void end_task(struct task *t)
{
    list_remove(&t->link);
    t->free(t);
}

void tasks_cancel(struct store_stream *s, enum err err)
{
    early_cancel(s, err);
    while (!list_empty(&s->tasks)) {
        struct task *t = LIST_ENTRY(s->tasks.next, struct task, link);
        store_defer(s->store, t->req, err);
        t->req = NULL;
        end_task(t);
    }
}

/* One slice of one thing; false when the stream has nothing more to do now. */
static bool stream_slice(struct store_stream *s)
{
    if (s->trim_due && s->loader == NULL)
        limits_step(s);
    LIST_FOREACH_SAFE(it, tmp, &s->tasks)
    {
        struct task *t = LIST_ENTRY(it, struct task, link);
        if (t->parked || (s->loader != NULL && !t->loads))
            continue;
        if (t->step(t))
            end_task(t);
        break;
    }
    LIST_FOREACH(it, &s->tasks)
    {
        const struct task *t = LIST_ENTRY(it, struct task, link);
        if (!t->parked && (s->loader == NULL || t->loads))
            return true;
    }
    return s->trim_due && s->loader == NULL;
}

static void run_tasks(struct store *st)
{
    uint64_t begin = io_now(st->io);

    if (list_empty(&st->tasks))
        return;
    io_clock_update(st->io);
    begin = io_now(st->io);
    do {
        struct store_stream *s = LIST_ENTRY(list_pop_front(&st->tasks), struct store_stream,
                                            task_link);
        if (stream_slice(s))
            stream_has_tasks(s);
        io_clock_update(st->io);
    } while (!list_empty(&st->tasks) && io_now(st->io) - begin < st->tasks_ns);
}

/* ---- the step -------------------------------------------------------------------------------- */

static void tell_failed(struct store_stream *s)
{
    s->failing = false;
    if (s->ops != NULL && s->ops->failed != NULL)
        s->ops->failed(s->ctx, s->fail_err, s->fail_why);
}

/* There is no space for the file that the oldest waiting batch goes to: who waits hears so now, not
 * when there is space. */
static void refuse_waiting(struct store_stream *s)
{
    const struct store_batch *first = !list_empty(&s->gathered)
                                          ? LIST_ENTRY(s->gathered.next, struct store_batch, link)
                                          : s->open;
    struct segment *seg;

    if (s->ops == NULL || s->ops->refused == NULL || first == NULL || first->segment->file_ready ||
        !list_empty(&s->commits))
        return;
    seg = first->segment;
    ASSERT(seg->base_seq == s->last_seq + 1);
    stream_drop_assigned(s);
    segment_withdraw(seg);
    s->ops->refused(s->ctx, ERR_NO_SPACE);
}

/* Streams with something to commit: those that are through leave the list. */
static bool step_streams(struct store *st)
{
    struct list batch, *it;
    bool any = false;

    list_init(&batch);
    list_splice(&batch, &st->dirty);
    while ((it = list_pop_front(&batch)) != NULL) {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, dirty_link);
        s->dirty = false;
        s->jobs++;
        if (s->failing)
            tell_failed(s);
        if (s->no_space && s->state == STREAM_ACTIVE)
            refuse_waiting(s);
        if (s->state == STREAM_ACTIVE && commit_try(s))
            any = true;
        if (s->state == STREAM_ACTIVE && (s->open != NULL || !list_empty(&s->gathered)))
            stream_mark_dirty(s);
        s->jobs--;
        stream_maybe_free(s);
    }
    return any;
}

bool store_step(struct store *st)
{
    run_deferred(st);
    wake_readers(st);
    store_works_step(st);
    store_fill_step(st);
    bool any = step_streams(st);
    clog_step(st);
    wash_step(st);
    any = clog_try(st) || any;
    run_tasks(st);
    removals_tell(st);
    erasures_step(st);
    rewrites_step(st);
    if (st->closing)
        return store_close_step(st) || any;
    return any || !list_empty(&st->tasks) || !list_empty(&st->deferred) ||
           !list_empty(&st->ready) || clog_waits_for_step(st);
}

/* ---- its end --------------------------------------------------------------------------------- */

void store_free(struct store *st)
{
    void (*closed)(void *ctx) = st->closed;
    void *ctx = st->closed_ctx;

    while (!list_empty(&st->streams))
        stream_close(LIST_ENTRY(st->streams.next, struct store_stream, link));
    run_deferred(st);
    wake_readers(st);
    cache_shrink(st, 0);
    io_timer_stop(st->io, &st->retry_timer);
    io_timer_stop(st->io, &st->sync_timer);
    io_timer_stop(st->io, &st->claim_timer);
    io_timer_stop(st->io, &st->fill_timer);
    objects_free_all(st);
    hmap_deinit(&st->objects);
    twin_deinit(st);
    clog_deinit(st);
    if (st->meta.chunk != NULL)
        chunk_put(st->meta.chunk, st->chunks);
    if (st->body.chunk != NULL)
        chunk_put(st->body.chunk, st->chunks);
    while (st->free_commits != NULL) {
        struct commit *c = st->free_commits;
        st->free_commits = c->next_free;
        mem_free(c);
    }
    mem_free(st);
    closed(ctx);
}

void store_stats(const struct store *st, struct store_stats *out)
{
    *out = st->stats;
    out->streams = out->messages = out->bytes = out->disk_bytes = 0;
    LIST_FOREACH(it, &st->streams)
    {
        const struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (s->state == STREAM_DELETING)
            continue;
        out->streams++;
        out->messages += s->msgs;
        out->bytes += s->bytes - index_late_bytes(s);
        out->disk_bytes += stream_in_file(s) ? s->disk_bytes : 0;
    }
    LIST_FOREACH(it, &st->clog.files)
    out->disk_bytes += st->clog.file_bytes;
    out->disk_bytes += st->clog.spare != NULL ? st->clog.file_bytes : 0;
    uint64_t pool_bytes;
    store_pool_counts(st->dir->pool, &out->pool_files, &pool_bytes, &out->pool_misses);
    out->disk_bytes += st->worker == 0 ? pool_bytes : 0;
    out->cache_bytes = st->cache.bytes;
    out->cache_hits = st->cache.hits;
    out->cache_misses = st->cache.misses;
    out->staging_bytes = st->staging;
}
