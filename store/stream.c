/*
 * stream.c - the life of a stream.
 *
 *     LOADING    recovered and being attached; nothing is asked of it yet
 *     ACTIVE     everything works
 *     FAILED     a write or sync failed (fail_why says which): what was durable stays readable
 *     DELETING   the owner let go of it; the struct lives until nothing in flight needs it
 *
 * Creating: the stream's object goes into the log and its directory and first segment are made on a
 * work thread, both at once; the request completes when both are durable, and data commits wait for
 * the segment. A crash between them leaves an object without segments (the next start makes one) or
 * a directory without an object.
 *
 * Deleting: the object's removal becomes durable first; then the files go, on a work thread. Until
 * they are gone the log file with that record is kept, so that a start after a crash removes them.
 *
 * Failing: whatever is not durable is dropped: open and gathered batches, commits in flight (their
 * buffers live until the operations complete), and the overlay. Nothing is ever written to the
 * stream's files again.
 */
#include "store/stream.h"

#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/pool.h"
#include "store/store_impl.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- state ----------------------------------------------------------------------------------- */

void store_stream_state(struct store_stream *s, struct store_state *out)
{
    *out = (struct store_state){
        .msgs = s->msgs,
        .bytes = s->bytes - index_late_bytes(s),
        .first_seq = s->first_seq,
        .last_seq = s->last_seq,
        .synced_seq = stream_proven(s),
        .first_ts = s->first_ts,
        .last_ts = s->last_ts,
        .num_subjects = s->loader == NULL || s->subjects.live > s->subjects_seen ? s->subjects.live
                                                                                 : s->subjects_seen,
        .num_deleted = s->rec.removed.count,
        .lost_msgs = s->rec.lost_msgs,
        .lost_bytes = s->rec.lost_bytes,
        .failed = s->state == STREAM_FAILED,
    };
}

void store_stream_waiting(const struct store_stream *s, uint64_t *msgs, uint64_t *bytes)
{
    *msgs = s->open_msgs;
    *bytes = s->open_size;
}

void store_stream_state_assigned(struct store_stream *s, uint64_t *last_seq, uint64_t *msgs,
                                 uint64_t *bytes)
{
    *last_seq = s->last_assigned;
    *msgs = s->msgs + s->open_msgs;
    *bytes = s->bytes - index_late_bytes(s) + s->open_size;
}

void store_stream_deleted(struct store_stream *s, uint64_t max,
                          void (*each)(void *ctx, uint64_t first, uint64_t last), void *ctx)
{
    uint64_t seq = 0, first, last;

    while (max > 0 && seqset_range_from(&s->rec.removed, seq, &first, &last)) {
        if (last - first + 1 > max)
            last = first + max - 1;
        max -= last - first + 1;
        each(ctx, first, last);
        seq = last + 1;
    }
}

void store_stream_set_ctx(struct store_stream *s, void *ctx)
{
    s->ctx = ctx;
}

void store_stream_compress(struct store_stream *s, bool on)
{
    s->compression = on ? BATCH_LZ4 : BATCH_PLAIN;
    LIST_FOREACH(it, &s->segments)
    rewrite_consider(LIST_ENTRY(it, struct segment, link));
}

store_object_id store_stream_id(const struct store_stream *s)
{
    return s->object->id;
}

/* ---- failure --------------------------------------------------------------------------------- */

static void drop_batches(struct list *batches)
{
    struct list *it;

    while ((it = list_pop_front(batches)) != NULL) {
        struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        if (b->refs == 0)
            batch_free(b);
        else
            b->segment = NULL; /* the operation in flight frees it */
    }
}

void stream_drop_assigned(struct store_stream *s)
{
    struct store *st = s->store;

    stream_gather_open(s);
    LIST_FOREACH_SAFE(it, tmp, &s->commits)
    {
        struct commit *c = LIST_ENTRY(it, struct commit, link);
        commit_drop(c);
    }
    LIST_FOREACH(it, &s->gathered)
    st->staging -= LIST_ENTRY(it, struct store_batch, link)->builder.body_len;
    drop_batches(&s->gathered);
    s->gathered_bytes = s->gathered_n = 0;
    s->last_assigned = s->last_seq;
    s->last_ts_assigned = s->last_ts;
    s->open_msgs = s->open_size = 0;
    s->memo = NULL;
    subjects_drop_pending(&s->subjects);
}

void stream_fail(struct store_stream *s, enum err err, const char *format, ...)
{
    va_list args;

    if (s->state == STREAM_FAILED || s->state == STREAM_DELETING)
        return;
    s->state = STREAM_FAILED;
    s->fail_err = err;
    va_start(args, format);
    vsnprintf(s->fail_why, sizeof(s->fail_why), format, args);
    va_end(args);
    LOG_ERR(s->store->log, "stream '%s' failed: %s; it is read-only now", s->name, s->fail_why);
    stream_drop_assigned(s);
    tasks_cancel(s, ERR_FAILED);
    s->failing = true;
    stream_mark_dirty(s);
}

/* ---- making one ------------------------------------------------------------------------------ */

static void age_fire(struct wheel_timer *timer)
{
    limits_check(CONTAINER_OF(timer, struct store_stream, age_timer));
}

struct store_stream *stream_new(struct store *st, struct str name, enum store_level level)
{
    struct store_stream *s = mem_zalloc(sizeof(*s));

    s->store = st;
    s->level = level;
    s->state = STREAM_LOADING;
    s->name = mem_strndup(name.p, name.n);
    s->body_hint = 2048;
    s->next_number = 1;
    list_init(&s->dirty_link);
    list_init(&s->claim_link);
    list_init(&s->gathered);
    list_init(&s->commits);
    list_init(&s->segments);
    list_init(&s->readers);
    list_init(&s->filters);
    list_init(&s->lasts);
    list_init(&s->task_link);
    list_init(&s->tasks);
    wheel_timer_init(&s->age_timer, age_fire);
    subjects_init(&s->subjects, prng_u64(&st->prng));
    list_push_back(&st->streams, &s->link);
    return s;
}

/* The record's uuid is known: its directory and its object. */
void stream_bind(struct store_stream *s, struct object *o, const struct store_stream_ops *ops,
                 void *ctx)
{
    char path[STORE_PATH];

    store_path_stream(s->store->dir, path, s->rec.uuid);
    s->dir = mem_strdup(path);
    s->object = o;
    o->stream = s;
    s->ops = ops;
    s->ctx = ctx;
    s->render_config = true;
}

static void create_waited(struct store_stream *s, enum err err)
{
    if (err != ERR_OK && s->create_err == ERR_OK)
        s->create_err = err;
    ASSERT(s->create_waits > 0);
    if (--s->create_waits > 0)
        return;
    if (s->state == STREAM_ACTIVE)
        stream_mark_dirty(s); /* commits waited for it */
    struct store_req *req = s->create_req;
    s->create_req = NULL;
    if (req != NULL)
        req->done(req, s->create_err);
}

static void create_logged(struct store_req *req, enum err err)
{
    struct store_stream *s = CONTAINER_OF(req, struct store_stream, create_log);

    s->jobs--;
    create_waited(s, err);
    stream_maybe_free(s);
}

/* The first segment's file is durable, or can not be made. */
void stream_first_segment(struct store_stream *s, enum err err)
{
    if (s->create_waits > 0)
        create_waited(s, err);
}

enum err store_stream_create(struct store *st, const struct store_stream_options *options,
                             const struct store_stream_ops *ops, void *ctx,
                             struct store_stream **out, struct store_req *req)
{
    uint64_t first = options->first_seq > 1 ? options->first_seq : 1;
    struct store_stream *s;

    if (st->closing || st->clog.failed)
        return st->closing ? ERR_CLOSED : ERR_FAILED;
    if (st->no_space && options->level != STORE_MEMORY)
        return ERR_NO_SPACE;
    s = stream_new(st, options->name, options->level);
    prng_fill(&st->prng, s->rec.uuid, sizeof(s->rec.uuid));
    s->rec.level = options->level;
    buf_put_str(&s->rec.name, options->name);
    buf_put_str(&s->rec.config, options->config);
    s->rec.limits = options->limits;
    s->swept = options->limits.max_msgs_per_subject; /* there is none */
    s->first_seq = first;
    s->last_seq = s->last_assigned = s->synced_seq = first - 1;
    s->rings = options->limits.max_msgs_per_subject > 1;
    subjects_keep_rings(&s->subjects, s->rings);
    stream_bind(s, object_new(st, object_next_id(st), STORE_KIND_STREAM, 0), ops, ctx);
    s->object->in_memory = options->level == STORE_MEMORY;
    s->state = STREAM_ACTIVE;
    struct segment *seg = segment_new(s, s->next_number++, 0, segment_next_capacity(s, 0));
    if (options->level == STORE_MEMORY) {
        segment_activate(seg, first);
        store_defer(st, req, ERR_OK);
    } else {
        struct buf full = {0};
        s->render_config = false; /* the owner has given it to us just now */
        segment_prepare_first(seg, first);
        s->create_req = req;
        s->create_waits = 2;
        s->create_log.done = create_logged;
        s->jobs++;
        stream_render(s, &full);
        s->render_config = true;
        clog_put(st, LOG_FULL, s->object, buf_str(&full), &s->create_log);
        buf_free(&full);
    }
    *out = s;
    return ERR_OK;
}

/* ---- its record ------------------------------------------------------------------------------ */

uint64_t stream_first_proven(const struct store_stream *s)
{
    uint64_t first = s->first_seq <= stream_proven(s) ? s->first_seq : stream_proven(s) + 1;
    uint64_t held = stream_first_held(s);

    return held < first ? held : first;
}

void stream_claim_durable(const struct store_stream *s, struct buf *delta)
{
    uint64_t proven = stream_proven(s);

    stream_delta_durable(delta, proven, proven == s->last_seq ? s->last_ts : 0);
}

/* Of an async stream the record may not claim that what is not synced is gone: those sequences may
 * come again. It names them one by one; a start keeps of it what is below the end it finds. Nor may
 * it speak of what is held. */
static bool first_not_proven(const struct store_stream *s, uint64_t *first, uint64_t *last)
{
    *first = stream_first_proven(s);
    *last = s->first_seq - 1;
    return *first <= *last;
}

void stream_claim_first(struct store_stream *s, struct buf *delta)
{
    uint64_t first, last;

    stream_delta_purge(delta, stream_first_proven(s));
    if (first_not_proven(s, &first, &last)) {
        struct seqset gone = {0};
        seqset_add(&gone, first, last);
        held_take_out(s, &gone);
        stream_delta_remove_set(delta, &gone);
        seqset_free(&gone);
    }
    s->unlogged_head = stream_first_held(s) < s->first_seq;
}

/* A large set goes ahead in records of its own. */
static void claim_part(struct store_stream *s, const struct seqset *part)
{
    struct buf delta = {0};

    stream_delta_remove_set(&delta, part);
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), NULL);
    buf_free(&delta);
}

#define CLAIM_RANGES 1024u

void stream_claim_limits(struct store_stream *s, struct buf *delta)
{
    struct seqset part = {0}, held = {0};
    uint64_t first, last, at = 0;

    if (s->unlogged_head)
        stream_claim_first(s, delta);
    if (stream_holds_any(s)) {
        held_take_out(s, &s->unlogged);
        held_put_in(s, s->first_seq, &held);
    }
    if (s->unlogged.nranges <= CLAIM_RANGES) {
        if (s->unlogged.nranges > 0)
            stream_delta_remove_set(delta, &s->unlogged);
        seqset_free(&s->unlogged);
        s->unlogged = held;
        return;
    }
    while (seqset_range_from(&s->unlogged, at, &first, &last)) {
        seqset_add(&part, first, last);
        at = last + 1;
        if (part.nranges == CLAIM_RANGES) {
            claim_part(s, &part);
            seqset_free(&part);
        }
    }
    if (part.nranges > 0)
        claim_part(s, &part);
    seqset_free(&part);
    seqset_free(&s->unlogged);
    s->unlogged = held;
}

static void ask_config(struct store_stream *s)
{
    if (s->state != STREAM_ACTIVE || s->ops == NULL || s->ops->render_config == NULL ||
        !s->render_config)
        return;
    buf_clear(&s->rec.config);
    s->ops->render_config(s->ctx, &s->rec.config);
}

bool stream_copy(struct store_stream *s, const struct crypt_file *crypt,
                 struct crypt_nonces *nonces, struct buf *out)
{
    struct buf plain = {0};
    uint8_t id[8];

    ask_config(s);
    stream_record_encode_copy(&s->rec, &plain);
    bool fits = plain.n + (crypt != NULL ? CRYPT_PIECE : 0) <= SEGMENT_COPY;
    if (fits && crypt == NULL) {
        buf_put_str(out, buf_str(&plain));
    } else if (fits) {
        put_u64(id, s->object->id);
        buf_reserve(out, plain.n + CRYPT_PIECE);
        crypt_seal_piece(crypt, nonces, id, sizeof(id), plain.p, plain.n, (uint8_t *) out->p);
        out->n = plain.n + CRYPT_PIECE;
    }
    buf_free(&plain);
    return fits;
}

/* Has the limit per subject taken all that it takes, and may the record say so? */
static bool limit_applied(const struct store_stream *s)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject;

    return max != 0 && s->swept == max && !s->sweep && s->nover == 0 && s->loader == NULL &&
           s->state == STREAM_ACTIVE && stream_proven(s) == s->last_seq && !stream_holds_any(s);
}

static void note_applied(struct store_stream *s)
{
    s->rec.applied_seq = s->last_seq;
    s->rec.applied_max = s->rec.limits.max_msgs_per_subject;
}

void stream_claim_applied(struct store_stream *s, struct buf *delta)
{
    if (!limit_applied(s) || s->rec.applied_seq == s->last_seq)
        return;
    stream_claim_limits(s, delta);
    note_applied(s);
    stream_delta_applied(delta, s->rec.applied_seq, s->rec.applied_max);
}

void stream_render(struct store_stream *s, struct buf *out)
{
    uint64_t first, last;
    bool more = first_not_proven(s, &first, &last);

    s->rec.first_seq = stream_first_proven(s);
    s->rec.last_seq = stream_proven(s);
    s->rec.last_ts = s->rec.last_seq == s->last_seq ? s->last_ts : 0;
    s->rec.next_segment = s->next_number;
    if (limit_applied(s))
        note_applied(s);
    ask_config(s);
    if (more)
        seqset_add(&s->rec.removed, first, last);
    held_take_out(s, &s->rec.removed);
    stream_record_encode(&s->rec, out);
    if (more)
        seqset_remove(&s->rec.removed, first, last);
    seqset_free(&s->unlogged);
    held_put_in(s, s->first_seq, &s->rec.removed);
    held_put_in(s, s->first_seq, &s->unlogged);
    s->unlogged_head = stream_first_held(s) < s->first_seq;
}

void store_stream_update(struct store_stream *s, const struct store_limits *limits,
                         struct str config, struct store_req *req)
{
    struct buf full = {0};

    if (s->state != STREAM_ACTIVE) {
        store_defer(s->store, req, ERR_FAILED);
        return;
    }
    stream_let_go_of_held(s);
    s->rec.limits = *limits;
    buf_clear(&s->rec.config);
    buf_put_str(&s->rec.config, config);
    s->render_config = false; /* until the owner has taken over what it gave us */
    stream_render(s, &full);
    s->render_config = true;
    clog_put(s->store, LOG_FULL, s->object, buf_str(&full), req);
    buf_free(&full);
    if (s->active != NULL)
        segment_copy_record(s->active);
    limits_rings(s);
    limits_check(s);
}

/* ---- deleting -------------------------------------------------------------------------------- */

struct remove_files {
    struct io_work work;
    struct store *store;
    struct store_stream *stream;
    char **paths;
    uint64_t *bytes;
    unsigned n;
    char *dir;
};

static void add_name(void *ctx, const char *name)
{
    struct buf *names = ctx;

    buf_put(names, name, strlen(name) + 1);
}

/* What the stream did not know of: it could not be loaded, or begun to write something. */
static void remove_others(struct store_pool *pool, struct io_fs *fs, const char *dir)
{
    struct buf names = {0}, path = {0};

    if (fs_list(fs, dir, add_name, &names) == 0) {
        for (size_t at = 0; at < names.n; at += strlen(names.p + at) + 1) {
            buf_clear(&path);
            buf_printf(&path, "%s/%s", dir, names.p + at);
            store_pool_drop(pool, fs, buf_cstr(&path));
        }
    }
    buf_free(&names);
    buf_free(&path);
}

static void remove_files_run(struct io_work *work)
{
    struct remove_files *job = CONTAINER_OF(work, struct remove_files, work);

    for (unsigned i = 0; i < job->n; i++)
        store_pool_retire(job->store->dir->pool, work->fs, job->paths[i], job->bytes[i]);
    if (fs_rmdir(work->fs, job->dir) < 0) {
        remove_others(job->store->dir->pool, work->fs, job->dir);
        fs_rmdir(work->fs, job->dir);
    }
    fs_sync_parent(work->fs, job->dir);
}

static void remove_files_done(struct io_op *op)
{
    struct remove_files *job = CONTAINER_OF(op, struct remove_files, work.op);

    if (!store_work_done(job->store, &job->work))
        return;
    job->stream->jobs--;
    for (unsigned i = 0; i < job->n; i++)
        mem_free(job->paths[i]);
    mem_free(job->paths);
    mem_free(job->bytes);
    mem_free(job->dir);
    stream_maybe_free(job->stream);
    mem_free(job);
}

/* The removal is durable: now the files. */
static void delete_logged(struct store_req *req, enum err err)
{
    struct store_stream *s = CONTAINER_OF(req, struct store_stream, delete_log);
    struct store_req *owner = s->delete_req;

    s->jobs--;
    s->delete_durable = err == ERR_OK;
    if (owner != NULL)
        owner->done(owner, err);
    stream_maybe_free(s);
}

static void add_path(struct remove_files *job, const struct segment *seg)
{
    job->bytes[job->n] = seg->secret ? 0 : seg->capacity;
    job->paths[job->n++] = mem_strdup(seg->path);
}

static void remove_all_files(struct store_stream *s)
{
    struct remove_files *job = mem_zalloc(sizeof(*job));
    struct store *st = s->store;

    job->store = st;
    job->stream = s;
    job->dir = mem_strdup(s->dir);
    job->paths = mem_array(s->nindex + 2, sizeof(*job->paths));
    job->bytes = mem_array(s->nindex + 2, sizeof(*job->bytes));
    LIST_FOREACH(it, &s->segments)
    add_path(job, LIST_ENTRY(it, struct segment, link));
    if (s->next != NULL)
        add_path(job, s->next);
    job->work.run = remove_files_run;
    io_op_init(&job->work.op, remove_files_done);
    s->jobs++;
    s->files_gone = true;
    store_work_submit(st, &job->work);
}

static void end_readers(struct store_stream *s)
{
    LIST_FOREACH_SAFE(it, tmp, &s->readers)
    {
        struct store_reader *r = LIST_ENTRY(it, struct store_reader, link);
        bool waiting = r->waiting;
        reader_detach(r);
        if (waiting) {
            r->waiting = true;
            list_push_back(&s->store->ready, &r->wait_link);
        }
    }
}

void store_stream_delete(struct store_stream *s, struct store_req *req)
{
    struct store *st = s->store;

    ASSERT(s->state != STREAM_DELETING);
    stream_drop_assigned(s);
    tasks_cancel(s, ERR_CLOSED);
    io_timer_stop(st->io, &s->age_timer);
    s->state = STREAM_DELETING;
    s->failing = false;
    s->ops = NULL;
    end_readers(s);
    list_remove(&s->task_link);
    if (s->dirty) {
        s->dirty = false;
        list_remove(&s->dirty_link);
    }
    store_defer(st, s->create_req, ERR_CANCELED);
    s->create_req = NULL;
    s->delete_req = req;
    s->delete_log.done = delete_logged;
    s->jobs++;
    if (stream_in_file(s))
        s->delete_pin = clog_pin(st); /* until the files are gone */
    object_delete_tree(st, s->object, &s->delete_log);
    s->object = NULL;
}

static void free_stream(struct store_stream *s)
{
    struct store *st = s->store;

    index_loader_free(s);
    early_free(s);
    list_remove(&s->claim_link);
    while (!list_empty(&s->segments))
        segment_free(LIST_ENTRY(list_first(&s->segments), struct segment, link));
    if (s->next != NULL)
        segment_free(s->next);
    if (s->delete_pin != NULL)
        clog_unpin(st, s->delete_pin);
    ASSERT(list_empty(&s->filters) && list_empty(&s->readers) && list_empty(&s->commits));
    list_remove(&s->link);
    io_timer_stop(st->io, &s->age_timer);
    subjects_deinit(&s->subjects);
    mem_free(s->born);
    stream_record_deinit(&s->rec);
    seqset_free(&s->unlogged);
    stream_let_go_of_held(s);
    mem_free(s->index);
    mem_free(s->over);
    buf_free(&s->sweep_at);
    mem_free(s->name);
    mem_free(s->dir);
    mem_free(s);
}

static bool anything_in_flight(const struct store_stream *s)
{
    if (s->jobs > 0 || !list_empty(&s->commits) || (s->next != NULL && s->next->jobs > 0))
        return true;
    LIST_FOREACH(it, &s->segments)
    {
        const struct segment *seg = LIST_ENTRY(it, struct segment, link);
        if (seg->jobs > 0 || seg->writes > 0 || seg->commits > 0)
            return true;
    }
    return false;
}

void stream_maybe_free(struct store_stream *s)
{
    if (s->state != STREAM_DELETING || anything_in_flight(s))
        return;
    if (s->delete_durable && stream_in_file(s) && !s->files_gone) {
        remove_all_files(s);
        return;
    }
    free_stream(s);
}

/* At store_close: nothing is in flight, everything stays on disk. */
void stream_close(struct store_stream *s)
{
    early_cancel(s, ERR_CLOSED);
    index_loader_free(s); /* it may hold a segment, and at its end would begin to seal others */
    ASSERT(s->state == STREAM_DELETING || !anything_in_flight(s));
    tasks_cancel(s, ERR_CLOSED);
    stream_drop_assigned(s);
    end_readers(s);
    list_remove(&s->task_link);
    list_remove(&s->dirty_link);
    free_stream(s);
}
