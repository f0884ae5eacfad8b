/*
 * segment_write.c - a segment's batches go to the page cache, and become durable there.
 *
 * What lies where. A stream's commits take the offsets [end, ...) in order of sequence. Batches of
 * commits that went through the log (ROUTE_LOG) lie densely and are `unwritten`: the log has them;
 * they are written to the page cache together when 256 KiB of them have come, or when the log wants
 * its space back. Whatever is handed to io_write or io_commit starts on a 4 KiB page of its own and
 * is padded with zeros to the next one: no page has two writers, and none that a sync declared
 * durable is touched again. The price is at most 4 KiB for each such write.
 *
 * log_from is the oldest log file that holds data of this segment which no sync of the segment
 * covers. A sync that begins with nothing unwritten and no write in flight covers all that was
 * placed before it; what is placed meanwhile counts in log_after and becomes log_from when the sync
 * is through.
 *
 * A failed write or sync makes the stream FAILED. Its log files stay (log_from is never cleared),
 * so that the next start can bring the data back.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

/* Unwritten batches are written when there are that many bytes or batches. */
#define FLUSH_BYTES (256u << 10)
#define FLUSH_BATCHES 256u

/* How long an async stream's data may be in the page cache alone. */
#define ASYNC_SYNC_NS 1000000000ull

static const uint8_t zeros[SEGMENT_PAGE];

struct segment_write {
    struct io_op op;
    struct segment *segment;
    struct store_batch **batches;
    struct iovec *iov;
    unsigned n;
};

static void write_done(struct io_op *op)
{
    struct segment_write *w = CONTAINER_OF(op, struct segment_write, op);
    struct segment *seg = w->segment;
    struct store_stream *s = seg->stream;

    seg->writes--;
    s->store->jobs--;
    for (unsigned i = 0; i < w->n; i++) {
        struct store_batch *b = w->batches[i];
        b->written = op->res >= 0;
        if (b->written && b->durable && b->segment != NULL)
            cache_add(s->store, b);
        batch_unref(b);
    }
    mem_free(w->batches);
    mem_free(w->iov);
    if (op->res < 0)
        stream_fail(s, err_from_errno((int) op->res), "writing %s: %s", seg->path,
                    strerror((int) -op->res));
    mem_free(w);
    segment_advance(seg);
}

uint64_t segment_behind(const struct store_batch *b)
{
    uint64_t end = b->offset + b->bytes;

    return b->pages ? round_up(end, SEGMENT_PAGE) : end;
}

unsigned segment_iov(struct iovec *iov, const struct store_batch *b)
{
    const struct batch_builder *d = &b->builder;

    if (b->pages) {
        iov[0] = (struct iovec){d->meta, segment_behind(b) - b->offset};
        return 1;
    }
    if (b->skip) {
        iov[0] = (struct iovec){d->meta, BATCH_HEADER};
        return 1;
    }
    if (b->disk != NULL) {
        iov[0] = (struct iovec){b->disk, b->bytes};
        return 1;
    }
    iov[0] = (struct iovec){d->meta, batch_meta_bytes(d)};
    iov[1] = (struct iovec){d->body, batch_body_bytes(d)};
    return 2;
}

unsigned segment_iov_padding(struct iovec *iov, uint64_t end)
{
    uint64_t padding = round_up(end, SEGMENT_PAGE) - end;

    if (padding == 0)
        return 0;
    *iov = (struct iovec){(void *) (uintptr_t) zeros, padding};
    return 1;
}

uint32_t segment_take_unwritten(struct segment *seg, struct store_batch **batches, uint64_t *offset)
{
    uint32_t n = 0;
    struct list *it;

    *offset = seg->end;
    while ((it = list_pop_front(&seg->unwritten)) != NULL) {
        struct store_batch *b = LIST_ENTRY(it, struct store_batch, write);
        if (n == 0)
            *offset = b->offset;
        batch_ref(b);
        batches[n++] = b;
    }
    seg->unwritten_bytes = seg->unwritten_n = 0;
    return n;
}

void segment_flush(struct segment *seg)
{
    struct store *st = seg->stream->store;
    struct segment_write *w;
    uint64_t offset;
    unsigned niov = 0;

    if (seg->unwritten_n == 0 || seg->stream->state == STREAM_FAILED)
        return;
    w = mem_zalloc(sizeof(*w));
    w->segment = seg;
    w->batches = mem_array(seg->unwritten_n, sizeof(*w->batches));
    w->iov = mem_array(2 * (size_t) seg->unwritten_n + 1, sizeof(*w->iov));
    w->n = segment_take_unwritten(seg, w->batches, &offset);
    for (unsigned i = 0; i < w->n; i++)
        niov += segment_iov(w->iov + niov, w->batches[i]);
    niov += segment_iov_padding(w->iov + niov, seg->end);
    seg->end = round_up(seg->end, SEGMENT_PAGE);
    io_op_init(&w->op, write_done);
    seg->writes++;
    seg->flushed = true;
    st->jobs++;
    io_write(st->io, &w->op, seg->file, w->iov, niov, offset);
}

void segment_put_unwritten(struct segment *seg, struct store_batch *b)
{
    ASSERT(!b->pages);
    list_push_back(&seg->unwritten, &b->write);
    seg->unwritten_n++;
    seg->unwritten_bytes += b->bytes;
}

void segment_flush_if_due(struct segment *seg)
{
    if (seg->unwritten_bytes >= FLUSH_BYTES || seg->unwritten_n >= FLUSH_BATCHES)
        segment_flush(seg);
}

void segment_log_placed(struct segment *seg, uint64_t log_file)
{
    if (seg->syncing) {
        if (seg->log_after == NO_LOG_FILE)
            seg->log_after = log_file;
        if (seg->log_from != NO_LOG_FILE)
            return;
    }
    if (seg->log_from == NO_LOG_FILE) {
        seg->log_from = log_file;
        list_push_back(&seg->stream->store->logged, &seg->logged);
    }
}

/* Of two commits that complete in the wrong order both are written, and the second one is not in
 * the index yet when the end of the first one begins a sync. */
static uint64_t written_to(const struct segment *seg)
{
    uint64_t last = seg->next_seq - 1;

    LIST_FOREACH(it, &seg->stream->commits)
    {
        const struct commit *c = LIST_ENTRY(it, struct commit, link);
        if (c->segment != seg || !c->done || c->result < 0)
            break;
        last = c->last_seq;
    }
    return last;
}

void segment_sync_begin(struct segment *seg)
{
    ASSERT(!seg->syncing && seg->unwritten_n == 0 && seg->writes == 0);
    seg->syncing = true;
    seg->syncing_to = written_to(seg);
    seg->unsynced = seg->flushed = false; /* what is written from now on is not covered */
    seg->log_after = NO_LOG_FILE;
}

void segment_sync_end(struct segment *seg)
{
    struct segment *next = segment_after(seg);

    seg->syncing = false;
    if (seg->syncing_to > seg->stream->synced_seq)
        seg->stream->synced_seq = seg->syncing_to;
    stream_held_synced(seg->stream);
    if (next != NULL)
        segment_header_if_due(next);
    list_remove(&seg->logged);
    seg->log_from = seg->log_after;
    seg->log_after = NO_LOG_FILE;
    if (seg->log_from != NO_LOG_FILE)
        list_push_back(&seg->stream->store->logged, &seg->logged);
    seg->stream->store->clog.let_go = true;
}

void segment_unsynced(struct segment *seg)
{
    struct store *st = seg->stream->store;

    seg->unsynced = true;
    if (!wheel_pending(&st->sync_timer))
        io_timer_start(st->io, &st->sync_timer, io_now(st->io) + ASYNC_SYNC_NS);
}

static void sync_done(struct io_op *op)
{
    struct segment *seg = CONTAINER_OF(op, struct segment, sync_op);
    struct store_stream *s = seg->stream;

    seg->jobs--;
    s->store->jobs--;
    if (op->res < 0) {
        seg->syncing = false;
        stream_fail(s, err_from_errno((int) op->res), "syncing %s: %s", seg->path,
                    strerror((int) -op->res));
    } else {
        segment_sync_end(seg);
    }
    segment_advance(seg);
}

void segment_checkpoint(struct segment *seg)
{
    struct store *st = seg->stream->store;

    if (seg->syncing || seg->stream->state == STREAM_FAILED)
        return;
    segment_flush(seg);
    seg->checkpoint_due = seg->writes > 0;
    if (seg->checkpoint_due || (seg->log_from == NO_LOG_FILE && !seg->unsynced))
        return; /* write_done comes back through segment_advance; or there is nothing to sync */
    segment_sync_begin(seg);
    io_op_init(&seg->sync_op, sync_done);
    seg->jobs++;
    st->jobs++;
    io_sync(st->io, &seg->sync_op, seg->file);
}
