/*
 * closing.c - the end of a worker's store.
 *
 * No more appends; what is pending is committed; page caches are written and synced; the last
 * segment of a stream is sealed when a start would have much of it to walk through; when nothing is
 * in flight any more a close marker goes into the log (a start then need not scan, nor look at the
 * log's data), the log's twin is completed, and closed() is called. There is no marker when the
 * segment of a stream that failed does not have what the log has.
 */
#include "store/store_impl.h"

/* So many seals at once: each has a packed copy of its segment's index. */
#define SEALS_MAX 4u
/* No seal begins later: with thousands of busy streams a stop must not take minutes. What is not
 * sealed is scanned by the next start, as after a crash. */
#define SEALS_NS 2000000000ull

void store_close(struct store *st, void (*closed)(void *ctx), void *ctx)
{
    ASSERT(!st->closing);
    st->closing = true;
    st->closing_since = io_now(st->io);
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

/* ---- sealing --------------------------------------------------------------------------------- */

static bool wants_footer(const struct store_stream *s)
{
    const struct segment *seg = s->active;

    return s->state == STREAM_ACTIVE && stream_in_file(s) && s->loader == NULL && !s->no_space &&
           seg != NULL && seg->state == SEGMENT_ACTIVE && seg->header_durable && seg->records > 0 &&
           seg->end - SEGMENT_HEADER >= s->store->dir->options.seal_bytes;
}

/* The last segments of streams, a few at a time. Nothing of them is unwritten or unsynced, and
 * nothing comes behind them. False: there are no more to begin. */
static bool seal_some(struct store *st)
{
    bool began = false;

    if (st->clog.failed || io_now(st->io) - st->closing_since > SEALS_NS)
        return false;
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (!wants_footer(s))
            continue;
        if (st->jobs >= SEALS_MAX)
            break;
        s->active->state = SEGMENT_CLOSING;
        segment_advance(s->active);
        began = true;
    }
    return began;
}

/* ---- the marker ------------------------------------------------------------------------------ */

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
    if (st->close_state == STORE_CLOSE_NONE && seal_some(st))
        return true;
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
