/*
 * closing.c - the end of a worker's store.
 *
 * No more appends; what is pending is committed; page caches are written and synced; when nothing
 * is in flight any more a close marker goes into the log (a start then need not scan, nor look at
 * the log's data), the log's twin is completed, and closed() is called. There is no marker when the
 * segment of a stream that failed does not have what the log has.
 */
#include "store/store_impl.h"

void store_close(struct store *st, void (*closed)(void *ctx), void *ctx)
{
    ASSERT(!st->closing);
    st->closing = true;
    st->closed = closed;
    st->closed_ctx = ctx;
    store_retry_now(st); /* perhaps there is space by now: one last try */
}

/* Anything assigned, queued, unwritten or unsynced? Asks for its end. */
static bool still_busy(struct store *st)
{
    bool busy = st->jobs > 0 || !list_empty(&st->erasures) || !list_empty(&st->deferred) ||
                !list_empty(&st->removals);

    if (!busy && clog_stuck(&st->clog) && !st->clog.failed)
        clog_give_up(st);
    if (st->clog.queued_n > 0 && !st->clog.failed)
        busy = st->clog.urgent = true;
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (s->state == STREAM_DELETING || s->jobs > 0)
            busy = true;
        if (s->state != STREAM_ACTIVE || !stream_in_file(s))
            continue;
        if (s->last_assigned != s->last_seq && !s->no_space && !st->clog.failed)
            busy = true;
        LIST_FOREACH(seg_it, &s->segments)
        {
            struct segment *seg = LIST_ENTRY(seg_it, struct segment, link);
            if (!seg->header_durable || seg->state == SEGMENT_SEALED ||
                seg->state == SEGMENT_RELEASED)
                continue;
            if (seg->unwritten_n > 0 || seg->log_from != NO_LOG_FILE || seg->unsynced ||
                seg->syncing) {
                segment_checkpoint(seg);
                busy = true;
            }
        }
    }
    return busy;
}

static void close_marked(struct store_req *req, enum err err)
{
    struct store *st = CONTAINER_OF(req, struct store, close_req);

    (void) err;
    st->close_state = STORE_CLOSE_MARKED;
}

/* Where each stream ends: without it a start could not tell a last segment that is damaged or gone
 * from one that was never written. */
static void log_ends(struct store *st)
{
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        struct buf delta = {0};
        if (s->state != STREAM_ACTIVE || !stream_in_file(s))
            continue;
        if (stream_proven(s) != s->rec.last_seq)
            stream_claim_durable(s, &delta);
        stream_claim_applied(s, &delta);
        stream_log_delta(s, &delta);
    }
}

bool store_close_step(struct store *st)
{
    if (still_busy(st))
        return st->clog.queued_n > 0 || !list_empty(&st->deferred) || !list_empty(&st->removals);
    if (st->close_state == STORE_CLOSE_NONE && !st->clog.failed && list_empty(&st->logged)) {
        st->close_state = STORE_CLOSE_MARKING;
        log_ends(st);
        st->close_req.done = close_marked;
        clog_put_close(st, &st->close_req);
        return true;
    }
    if (st->close_state != STORE_CLOSE_MARKING && twin_settle(st))
        store_free(st);
    return false;
}
