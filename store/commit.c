/*
 * commit.c - group commit: from gathered batches to committed().
 *
 * When one begins. With nothing in flight a commit takes whatever there is, at once: a lone
 * publisher waits for one sync and nothing else. While one is in flight messages gather; a second
 * begins when so much has gathered (COMMIT_PIPELINE_MIN) that the disk has work for both, a third
 * never. So the size of commits follows the load: the more messages arrive during a sync, the more
 * share the next one.
 *
 * Where it goes (enum route). Small commits of all streams of the worker share one frame of the
 * commit log; big ones (COMMIT_LOG_MAX and more) are written and synced in the segment itself,
 * since writing them twice would cost more than sharing a sync saves. So are all when the disk is
 * full and the log has no file to go on in: what is left of it is for what can go nowhere else.
 *
 * Big Kafka batches have pages of their own (store_batch.pages): each lies in memory as it will on
 * disk, zeros behind it included, and what comes next begins at the next page. A commit of nothing
 * else is whole pages at whole pages, which lib/io writes from where they are; others it copies
 * first. Such a batch never is in the log: it is longer than what goes there.
 *
 * How it ends. Operations complete in any order, commits finish in order of sequence: a later one
 * that is through first waits (commits_finish). Only then its batches enter the segment's index,
 * its records move from the overlay to the durable state, and committed() is called. On a failure
 * nothing of it and nothing behind it becomes visible: the stream fails (stream_fail), and what is
 * in flight is dropped when it comes home.
 *
 * A commit lies in one segment, and the first commit of a segment waits until those of the one
 * before are finished: so a header page's base_seq speaks of durable messages only.
 */
#include "store/commit.h"

#include "lib/base/mem.h"
#include "store/early.h"
#include "store/store_impl.h"

#include <string.h>

/* ---- what waits ------------------------------------------------------------------------------ */

static uint64_t waiting_bytes(const struct store_stream *s)
{
    return s->gathered_bytes + (s->open != NULL ? batch_disk_bytes(s->open) : 0);
}

static const struct store_batch *first_waiting(const struct store_stream *s)
{
    if (!list_empty(&s->gathered))
        return LIST_ENTRY(s->gathered.next, struct store_batch, link);
    return s->open;
}

/* May a commit begin now? Then *bytes is what waits. */
static bool may_begin(const struct store_stream *s, uint64_t *bytes)
{
    const struct store_batch *b = first_waiting(s);

    *bytes = waiting_bytes(s);
    if (b == NULL || s->state != STREAM_ACTIVE || !segment_ready(b->segment) || s->inflight >= 2)
        return false;
    if (s->create_waits > 0) /* nothing is durable in a stream that is not */
        return false;
    if (s->inflight == 0)
        return true;
    const struct commit *before = LIST_ENTRY(s->commits.prev, struct commit, link);
    return before->segment == b->segment && *bytes >= COMMIT_PIPELINE_MIN;
}

/* A small log takes small commits only: a frame must hold one. */
uint64_t commit_log_max(const struct store *st)
{
    uint64_t part = st->clog.file_bytes / 16;

    return part < COMMIT_LOG_MAX ? part : COMMIT_LOG_MAX;
}

static enum route route_of(const struct store_stream *s, uint64_t bytes)
{
    if (s->level == STORE_MEMORY)
        return ROUTE_MEMORY;
    if (s->level == STORE_ASYNC)
        return ROUTE_WRITTEN;
    return bytes < commit_log_max(s->store) && !clog_short(&s->store->clog) ? ROUTE_LOG
                                                                            : ROUTE_SEGMENT;
}

uint64_t commit_for_log(const struct store_stream *s)
{
    uint64_t bytes;

    if (!may_begin(s, &bytes) || route_of(s, bytes) != ROUTE_LOG)
        return 0;
    return bytes;
}

/* ---- beginning ------------------------------------------------------------------------------- */

static struct commit *commit_new(struct store_stream *s, enum route route)
{
    struct store *st = s->store;
    struct commit *c = st->free_commits;

    if (c != NULL)
        st->free_commits = c->next_free;
    else
        c = mem_alloc(sizeof(*c));
    *c = (struct commit){.stream = s, .route = route};
    list_init(&c->link);
    list_init(&c->log_link);
    list_init(&c->batches);
    return c;
}

static void commit_free(struct commit *c)
{
    struct store *st = c->stream->store;

    ASSERT(list_empty(&c->batches));
    list_remove(&c->link);
    list_remove(&c->log_link);
    mem_free(c->iov);
    mem_free(c->extra);
    c->next_free = st->free_commits;
    st->free_commits = c;
}

/* Header and checksum of a batch, now that durable_seq is known. */
static void seal(struct store_stream *s, struct store_batch *b)
{
    uint32_t epoch = (uint32_t) s->store->generation;

    if (b->skip)
        batch_encode_skip(b->builder.meta, b->segment->salt, b->first_seq, b->span,
                          s->last_ts_assigned, stream_proven(s), epoch);
    else
        batch_seal(&b->builder, stream_proven(s), epoch);
    if (b->pages)
        memset(b->builder.meta + b->bytes, 0, round_up(b->bytes, SEGMENT_PAGE) - b->bytes);
    if (UNLIKELY(b->segment->crypt != NULL && !b->skip)) {
        b->disk = mem_alloc(b->bytes);
        batch_encrypt(b->builder.meta, b->builder.body, b->segment->salt, b->segment->crypt,
                      &s->store->nonces, b->disk);
    }
}

/* Moves batches of one segment from gathered to the commit and gives them their places. */
static void take_batches(struct store_stream *s, struct commit *c, uint64_t max)
{
    uint64_t at;

    c->segment = first_waiting(s)->segment;
    if (s->gathered_bytes < max &&
        (list_empty(&s->gathered) || s->open == NULL || s->open->segment == c->segment))
        stream_gather_open(s);
    c->offset = at = c->segment->end;
    while (!list_empty(&s->gathered)) {
        struct store_batch *b = LIST_ENTRY(s->gathered.next, struct store_batch, link);
        if (b->segment != c->segment ||
            (c->nbatches > 0 && (c->bytes + b->bytes > max || c->nbatches >= COMMIT_BATCHES)))
            break;
        list_remove(&b->link);
        list_push_back(&c->batches, &b->link);
        b->offset = b->pages ? round_up(at, SEGMENT_PAGE) : at;
        at = segment_behind(b);
        b->segment->reserved -= b->reserved;
        b->reserved = 0;
        s->gathered_bytes -= b->bytes;
        s->gathered_n--;
        if (c->nbatches++ == 0)
            c->first_seq = b->first_seq;
        c->last_seq = b->first_seq + b->span - 1;
        c->bytes += b->bytes;
        c->staged += b->builder.body_len;
        seal(s, b);
    }
    c->segment->end = at;
    ASSERT(c->nbatches > 0 && at <= c->segment->capacity);
}

static struct commit *begin(struct store_stream *s, enum route route, uint64_t max)
{
    struct commit *c = commit_new(s, route);

    take_batches(s, c, max);
    list_push_back(&s->commits, &c->link);
    s->inflight++;
    c->segment->commits++;
    s->store->stats.commits++;
    s->store->stats.commit_bytes += c->bytes;
    if (s->ops != NULL && s->ops->commit_begun != NULL)
        s->ops->commit_begun(s->ctx, c->last_seq);
    return c;
}

struct commit *commit_begin_log(struct store_stream *s, uint64_t max)
{
    struct commit *c = begin(s, ROUTE_LOG, max);

    LIST_FOREACH(it, &c->batches)
    segment_put_unwritten(c->segment, LIST_ENTRY(it, struct store_batch, link));
    return c;
}

static void written(struct store_batch *b)
{
    b->written = true;
    if (b->durable && b->segment != NULL)
        cache_add(b->stream->store, b);
}

static void operation_done(struct io_op *op)
{
    struct commit *c = CONTAINER_OF(op, struct commit, op);
    struct segment *seg = c->segment;
    struct store_stream *s = c->stream;
    struct store *st = s->store;

    st->jobs--;
    c->result = op->res < 0 ? op->res : 0;
    c->done = true;
    for (uint32_t i = 0; i < c->nextra; i++) {
        if (op->res >= 0)
            written(c->extra[i]);
        batch_unref(c->extra[i]);
    }
    c->nextra = 0;
    if (c->syncs && op->res >= 0)
        segment_sync_end(seg);
    else if (c->syncs)
        seg->syncing = false;
    if (c->route == ROUTE_WRITTEN)
        seg->writes--;
    seg->jobs++; /* commits_finish may let go of it */
    commits_finish(s);
    seg->jobs--;
    segment_advance(seg);
}

static void put_batches(struct commit *c)
{
    uint64_t at = c->offset;

    LIST_FOREACH(it, &c->batches)
    {
        const struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        if (b->offset > at) /* at a page; only what is not aligned is in front of it */
            c->niov += segment_iov_padding(c->iov + c->niov, at);
        c->niov += segment_iov(c->iov + c->niov, b);
        at = segment_behind(b);
    }
}

/* Writes c's batches, and what lies unwritten before them, with or without a sync. */
static void submit(struct commit *c, bool sync)
{
    struct segment *seg = c->segment;
    struct store *st = c->stream->store;
    uint64_t offset = c->offset, first;

    c->extra = seg->unwritten_n > 0 ? mem_array(seg->unwritten_n, sizeof(*c->extra)) : NULL;
    c->nextra = segment_take_unwritten(seg, c->extra, &first);
    if (c->nextra > 0)
        offset = first;
    c->iov = mem_array(2 * ((size_t) c->nextra + c->nbatches) + 1, sizeof(*c->iov));
    for (uint32_t i = 0; i < c->nextra; i++)
        c->niov += segment_iov(c->iov + c->niov, c->extra[i]);
    put_batches(c);
    c->niov += segment_iov_padding(c->iov + c->niov, seg->end);
    seg->end = round_up(seg->end, SEGMENT_PAGE);
    ASSERT(offset % SEGMENT_PAGE == 0);
    if (sync && !seg->syncing && seg->writes == 0 && !seg->flushed && !seg->unsynced) {
        c->syncs = true;
        segment_sync_begin(seg);
    }
    io_op_init(&c->op, operation_done);
    st->jobs++;
    if (sync) {
        io_commit(st->io, &c->op, seg->file, c->iov, c->niov, offset);
    } else {
        seg->writes++;
        segment_unsynced(seg);
        io_write(st->io, &c->op, seg->file, c->iov, c->niov, offset);
    }
}

bool commit_try(struct store_stream *s)
{
    bool any = false;
    uint64_t bytes;

    while (may_begin(s, &bytes)) {
        enum route route = route_of(s, bytes);
        if (route == ROUTE_LOG)
            break;
        struct commit *c = begin(s, route, COMMIT_MAX);
        any = true;
        if (route == ROUTE_MEMORY) {
            c->done = true;
            commits_finish(s);
            break; /* the owner may have let go of the stream */
        }
        submit(c, route == ROUTE_SEGMENT);
    }
    return any;
}

/* ---- ending ---------------------------------------------------------------------------------- */

/* n records of one subject, from seq on, became durable. */
static inline void subject_durable(struct store_stream *s, uint32_t id, uint64_t seq, uint32_t n)
{
    struct subject *sub = subjects_by_id(&s->subjects, id);

    lasts_note(s, id);
    subjects_commit(&s->subjects, sub, seq);
    if (n > 1) {
        sub->msgs += n - 1;
        sub->last = seq + n - 1;
        sub->pending -= n - 1;
    }
    if (UNLIKELY(s->rings))
        for (uint32_t i = 0; i < n; i++)
            seq_ring_push(subject_ring(&s->subjects, id), seq + i);
    if (UNLIKELY(s->rec.limits.max_msgs_per_subject != 0) && s->loader != NULL)
        early_limit(s, id);
    else if (UNLIKELY(s->rec.limits.max_msgs_per_subject != 0 &&
                      sub->msgs > s->rec.limits.max_msgs_per_subject))
        limits_subject(s, id);
}

static void merge_subjects(struct store_stream *s, const struct store_batch *b)
{
    const struct column *col = &b->segment->column;
    uint32_t i = 0;

    while (i < b->count) {
        uint32_t at = b->ordinal + i, n = 1;
        const uint32_t *id = &col->blocks[at / COLUMN_BLOCK]->id[at % COLUMN_BLOCK];
        uint32_t left = COLUMN_BLOCK - at % COLUMN_BLOCK;
        if (left > b->count - i)
            left = b->count - i;
        while (n < left && id[n] == *id)
            n++;
        subject_durable(s, *id, b->first_seq + i, n);
        i += n;
    }
}

static void merge_skip(struct store_stream *s, const struct store_batch *b)
{
    if (s->msgs == 0)
        s->first_seq = b->first_seq + b->span;
    else
        seqset_add(&s->rec.removed, b->first_seq, b->first_seq + b->span - 1);
}

static void merge_batch(struct store_stream *s, struct store_batch *b)
{
    if (b->skip) {
        struct batch_header h;
        batch_header_decode(b->builder.meta, &h);
        b->view = (struct batch_view){.h = h};
        merge_skip(s, b);
    } else {
        batch_view_builder(&b->builder, &b->view);
        if (s->msgs == 0) {
            s->first_seq = b->first_seq;
            s->first_ts = s->first_ts_latest = b->view.h.base_time;
        }
        s->last_ts = b->view.h.max_time;
    }
    b->durable = true;
    b->plain = !b->skip && b->builder.span == 0;
    segment_add_entry(b->segment, b);
    s->msgs += b->count;
    s->bytes += b->size;
    s->open_msgs -= b->count;
    s->open_size -= b->size;
    merge_subjects(s, b);
    s->last_seq = b->first_seq + b->span - 1;
    if (b->written)
        cache_add(s->store, b);
}

static void merge(struct store_stream *s, struct commit *c)
{
    struct list *it;

    ASSERT(c->first_seq == s->last_seq + 1);
    while ((it = list_pop_front(&c->batches)) != NULL) {
        struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        if (c->route == ROUTE_SEGMENT || c->route == ROUTE_WRITTEN)
            b->written = true;
        s->store->stats.appends += b->count;
        s->store->stats.append_bytes += b->size;
        merge_batch(s, b);
    }
    ASSERT(s->last_seq == c->last_seq);
    s->store->staging -= c->staged;
    if (c->route == ROUTE_LOG)
        segment_flush_if_due(c->segment);
}

/* Its stream is gone or failed, and nothing in flight needs it any more. */
static void discard(struct commit *c)
{
    struct store_stream *s = c->stream;
    struct list *it;

    while ((it = list_pop_front(&c->batches)) != NULL) {
        struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        if (list_linked(&b->write)) {
            list_remove(&b->write);
            b->segment->unwritten_n--;
            b->segment->unwritten_bytes -= b->bytes;
        }
        if (b->refs == 0)
            batch_free(b);
        else
            b->segment = NULL; /* the write in flight frees it */
    }
    s->store->staging -= c->staged;
    s->inflight--;
    c->segment->commits--;
    commit_free(c);
}

void commit_drop(struct commit *c)
{
    c->dead = true;
    if (c->route == ROUTE_LOG || c->done)
        discard(c);
}

void commit_logged(struct commit *c, int result)
{
    c->done = true;
    c->result = result;
    commits_finish(c->stream);
}

static void finish_first(struct store_stream *s, struct commit *c)
{
    struct segment *seg = c->segment;
    uint64_t first = c->first_seq, last = c->last_seq;

    merge(s, c);
    s->inflight--;
    seg->commits--;
    commit_free(c);
    store_claim_end(s);
    seg->jobs++; /* the callback may remove all its messages */
    s->ops->committed(s->ctx, first, last);
    if (s->state == STREAM_ACTIVE)
        limits_check(s);
    seg->jobs--;
    if (s->state == STREAM_DELETING)
        return;
    struct segment *next = segment_after(seg);
    if (next != NULL)
        segment_header_if_due(next);
    if (seg->state == SEGMENT_CLOSING)
        segment_advance(seg);
}

void commits_finish(struct store_stream *s)
{
    s->jobs++; /* callbacks may delete it */
    while (!list_empty(&s->commits)) {
        struct commit *c = LIST_ENTRY(s->commits.next, struct commit, link);
        if (!c->done)
            break;
        if (c->dead) {
            discard(c);
        } else if (c->result < 0) {
            stream_fail(s, err_from_errno((int) c->result), "committing to %s: %s",
                        c->route == ROUTE_LOG ? "the commit log" : c->segment->path,
                        strerror((int) -c->result));
        } else {
            finish_first(s, c);
        }
    }
    s->jobs--;
    stream_maybe_free(s);
}
