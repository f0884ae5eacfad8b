/*
 * reader.c - positions in a stream, and getting at messages.
 *
 * The fast case: the reader holds a batch all of whose sequences exist, has no filters, and the
 * next sequence lies in it: one table entry and one record header are read, about 10 ns. Everything
 * else goes through next_slow: the next sequence that exists and matches is found from the sets and
 * columns in memory, then its batch, which may have to come from the disk.
 *
 * A call scans at most SCAN_SLICE records for a filter; then it answers WAIT and the reader is told
 * to ask again at the next step, so that a filter that matches nothing in a hundred million
 * messages never holds the worker.
 *
 * A reader keeps a reference on the batch of its last message, so that what it handed out stays
 * valid until its next call. Readers know only durable messages: a batch gets into an index when
 * its commit is durable.
 */
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/store_impl.h"

#define SCAN_SLICE 65536u

void store_reader_init(struct store_reader *r, struct store_stream *s, uint64_t seq,
                       const struct str *filters, unsigned nfilters,
                       void (*ready)(struct store_reader *), void *ctx)
{
    *r = (struct store_reader){
        .ready = ready,
        .ctx = ctx,
        .stream = s,
        .seq = seq,
        .filters = filters,
        .nfilters = nfilters,
        .filter = filter_get(s, filters, nfilters),
    };
    list_init(&r->wait_link);
    list_init(&r->link);
    list_push_back(&s->readers, &r->link);
}

void reader_let_go(struct store_reader *r)
{
    struct store_batch *b = r->batch;

    r->batch = NULL;
    if (b != NULL)
        batch_unref(b);
}

void reader_detach(struct store_reader *r)
{
    reader_let_go(r);
    filter_put(r->filter);
    r->filter = NULL;
    r->stream = NULL;
    r->waiting = false;
    list_remove(&r->link);
    list_remove(&r->wait_link);
}

void store_reader_deinit(struct store_reader *r)
{
    reader_detach(r);
}

void store_reader_seek(struct store_reader *r, uint64_t seq)
{
    r->seq = seq;
    if (r->waiting) {
        r->waiting = false;
        list_remove(&r->wait_link);
    }
}

/* ---- one message ----------------------------------------------------------------------------- */

static inline void fill(const struct batch_view *v, uint32_t i, struct chunk *chunk,
                        struct store_msg *out)
{
    struct batch_record rec;

    batch_record_get(v, i, &rec);
    out->seq = rec.seq;
    out->ts = rec.ts;
    out->subject = rec.subject;
    out->header = rec.header;
    out->payload = rec.payload;
    out->chunk = chunk;
}

/* One that came from the batch before goes on to the next ones, which are fetched already. */
void reader_hold(struct store_reader *r, struct store_batch *b)
{
    if (b->refs == 0)
        list_remove(&b->link); /* off the LRU while held */
    batch_ref(b);
    r->batch = b;
    if (b->first_seq == r->after)
        cache_read_ahead(b->segment, b->entry);
    r->after = b->first_seq + b->span;
}

struct store_batch *reader_hold_seq(struct store_reader *r, uint64_t seq)
{
    struct store_batch *b = r->batch;
    struct store *st = r->stream->store;
    struct segment *seg;
    uint32_t entry;

    if (b != NULL && b->segment != NULL && seq - b->first_seq < b->span)
        return b;
    reader_let_go(r);
    seg = stream_segment_of(r->stream, seq);
    ASSERT(seg != NULL);
    bool found = segment_find(seg, seq, &entry);
    ASSERT(found);
    b = seg->entries[entry].mem;
    if (b == NULL) {
        cache_fetch(seg, entry, seq, r);
        return NULL;
    }
    st->cache.hits++;
    reader_hold(r, b);
    return b;
}

/* ---- finding the next ------------------------------------------------------------------------ */

static enum store_read wait_a_step(struct store_reader *r)
{
    r->waiting = true;
    list_remove(&r->wait_link);
    list_push_back(&r->stream->store->ready, &r->wait_link);
    return STORE_READ_WAIT;
}

/* The index is still being read: a few literal subjects can be looked up. */
static enum store_read find_early(struct store_reader *r)
{
    struct store_stream *s = r->stream;
    struct filter *f = r->filter;

    if (!early_knows(s, f->patterns, f->n)) {
        if (!f->wanted && early_can(s, f->patterns, f->n)) {
            f->wanted = true;
            early_want(s, f->patterns, f->n, NULL);
        }
        return wait_a_step(r);
    }
    uint64_t found = early_next_of(s, f->patterns, f->n, r->seq, s->last_seq);
    r->seq = found != 0 ? found : s->last_seq + 1;
    return found != 0 ? STORE_READ_MSG : STORE_READ_END;
}

enum store_read reader_find_next(struct store_reader *r)
{
    struct store_stream *s = r->stream;
    uint32_t budget = SCAN_SLICE;
    uint64_t first, last;

    if (r->seq < s->first_seq)
        r->seq = s->first_seq;
    if (r->filter == NULL) {
        if (seqset_range_from(&s->rec.removed, r->seq, &first, &last) && first <= r->seq)
            r->seq = last + 1;
        return r->seq <= s->last_seq ? STORE_READ_MSG : STORE_READ_END;
    }
    if (r->seq > s->last_seq)
        return STORE_READ_END;
    if (index_comes(s))
        return find_early(r);
    filter_prepare(r->filter);
    uint64_t found = filter_scan(r->filter, &r->seq, s->last_seq, &budget);
    if (found == 0)
        return budget == 0 && r->seq <= s->last_seq ? wait_a_step(r) : STORE_READ_END;
    r->seq = found;
    return STORE_READ_MSG;
}

enum store_read reader_wait_for_memory(struct store_reader *r, uint64_t seq)
{
    r->waiting = true;
    r->wait_seq = seq;
    list_remove(&r->wait_link);
    list_push_back(&r->stream->store->retry, &r->wait_link);
    store_retry_later(r->stream->store);
    return STORE_READ_WAIT;
}

enum store_read reader_fill(struct store_reader *r, struct store_batch *b, uint32_t i,
                            struct store_msg *out)
{
    if (LIKELY(!batch_is_kafka(b))) {
        fill(&b->view, i, b->body_chunk, out);
        return STORE_READ_MSG;
    }
    if (b->messages == NULL && !batch_open_kafka(b))
        return reader_wait_for_memory(r, b->first_seq + i);
    fill(&b->inner, i, b->messages, out);
    /* Of one that was written anew without some, i counts those that are left. */
    out->seq = b->first_seq + batch_kafka_delta(&b->view, i);
    return STORE_READ_MSG;
}

static __attribute__((noinline)) enum store_read next_slow(struct store_reader *r,
                                                           struct store_msg *out)
{
    if (r->stream == NULL)
        return STORE_READ_END;
    if (r->waiting)
        return STORE_READ_WAIT;
    for (;;) {
        enum store_read result = reader_find_next(r);
        if (result == STORE_READ_END && r->batch != NULL)
            reader_let_go(r);
        if (result != STORE_READ_MSG)
            return result;
        struct store_batch *b = reader_hold_seq(r, r->seq);
        if (b == NULL)
            return STORE_READ_WAIT;
        uint32_t i;
        if (!batch_record_of(b, r->seq++, &i))
            continue;
        result = reader_fill(r, b, i, out);
        if (result == STORE_READ_WAIT)
            r->seq--;
        return result;
    }
}

enum store_read store_reader_next(struct store_reader *r, struct store_msg *out)
{
    struct store_batch *b = r->batch;

    if (LIKELY(b != NULL && b->plain && r->filter == NULL && r->seq - b->first_seq < b->count &&
               r->seq >= r->stream->first_seq)) {
        fill(&b->view, (uint32_t) (r->seq - b->first_seq), b->body_chunk, out);
        r->seq++;
        return STORE_READ_MSG;
    }
    return next_slow(r, out);
}

enum store_read store_reader_get(struct store_reader *r, uint64_t seq, struct store_msg *out)
{
    struct store_stream *s = r->stream;

    if (s == NULL || !message_exists(s, seq))
        return STORE_READ_GONE;
    if (r->waiting)
        return STORE_READ_WAIT;
    struct store_batch *b = reader_hold_seq(r, seq);
    if (b == NULL)
        return STORE_READ_WAIT;
    uint32_t i;
    if (!batch_record_of(b, seq, &i))
        return STORE_READ_GONE;
    return reader_fill(r, b, i, out);
}
