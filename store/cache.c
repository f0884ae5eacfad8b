/*
 * cache.c - batches in memory: the rooms they are built in, who holds them, and how cold ones come
 * back.
 *
 * A store_batch is one batch, being built, in flight, or durable. It holds one reference on each
 * chunk it lies in; chunks are shared by neighbours: open batches get regions of a chunk (2 to 64
 * KiB, as much as the stream filled lately), and give back what they did not use when they are
 * closed. A thousand quiet streams with an open batch each hold 2 MB so, not 80.
 *
 * States: open -> gathered -> in a commit -> durable -> (unwritten: only the log has it on disk) ->
 * cached -> evicted. Only a cached batch without references may be evicted; that is the LRU list.
 * Batches of memory streams never get there: they are freed when their last message goes.
 *
 * A cold batch is fetched together with its neighbours (up to FETCH_BYTES in one read, twice that
 * ahead of a reader), because somebody who reads one mostly reads on. Whole pages are read, past
 * the page cache until as many bytes were as the segment has: a drain reads everything once, and to
 * fill page-cache memory costs several times what the rest of the drain does. What is read a second
 * time may be read a third. (2 GB of Kafka batches, first drain, two pairs in turn: 287 and 303
 * MB/s with 2.4 and 1.3 s of server CPU a GB through the page cache, 588 and 555 MB/s with 0.43 and
 * 0.48 past it.) Every record is verified then, once; damaged ones are counted and reported as
 * lost, and read as gone. A header that does not verify costs the whole batch, never its
 * neighbours.
 */
#include "store/cache.h"

#include "lib/base/mem.h"
#include "store/plant.h"
#include "store/store_impl.h"

#include <string.h>

#define FETCH_BYTES (256u << 10)
/* ... of those that are read ahead: four chunks of an object. With 256 KiB one of them fits. (512
 * MB of objects, two runs each in turn: 486, 546 MB/s and 0.52, 0.49 s of server CPU; 578, 793 and
 * 0.48, 0.39 with these; with 1 MiB 828, 642 and 0.41, 0.41, the same within what the runs differ.)
 */
#define FETCH_AHEAD_BYTES (528u << 10)
/* How far in front of a reader that goes from batch to batch fetches begin: a pull of cold messages
 * waits for the disk once, and not for every 256 KiB; two Kafka batches of 1 MB. */
#define AHEAD_BYTES (5u << 18)
/* Of the cache's limit: no more than that is being read ahead, for all readers. */
#define AHEAD_SHARE 4
/* Compressed or sealed batches that are decoded at a time: half a MiB, a third of a millisecond. */
#define FETCH_DECODE 8u

struct fetch {
    struct list link; /* segment->fetches */
    struct segment *segment;
    uint32_t first, n; /* entries */
    struct chunk *chunk;
    uint64_t offset; /* of the chunk's bytes */
    uint32_t ahead;  /* counted in cache.ahead */
    struct io_op op;
    struct list waiters;           /* store_reader.wait_link */
    struct store_batch *fetched[]; /* n of them */
};

/* ---- regions --------------------------------------------------------------------------------- */

bool region_take(struct store *st, struct region_pool *pool, uint32_t bytes, struct region *out)
{
    bytes = (uint32_t) round_up(bytes, 8);
    if (bytes > pool->class_bytes) {
        struct chunk *own = chunk_alloc(st->chunks, bytes);
        if (own == NULL)
            return false;
        own->len = bytes;
        *out = (struct region){own, own->data, bytes};
        return true;
    }
    if (pool->chunk == NULL || pool->chunk->cap - pool->used < bytes) {
        struct chunk *fresh = chunk_alloc(st->chunks, pool->class_bytes);
        if (fresh == NULL)
            return false;
        if (pool->chunk != NULL)
            chunk_put(pool->chunk, st->chunks);
        pool->chunk = fresh;
        pool->used = 0;
    }
    chunk_get(pool->chunk);
    *out = (struct region){pool->chunk, pool->chunk->data + pool->used, bytes};
    pool->used += bytes;
    pool->chunk->len = pool->used;
    return true;
}

void region_trim(struct region_pool *pool, const uint8_t *end_used, const uint8_t *end)
{
    if (pool->chunk == NULL || end != pool->chunk->data + pool->used)
        return;
    pool->used = (uint32_t) round_up((uint64_t) (end_used - pool->chunk->data), 8);
}

/* ---- batches --------------------------------------------------------------------------------- */

struct store_batch *batch_new(struct store_stream *s)
{
    struct store_batch *b = mem_zalloc(sizeof(*b));

    list_init(&b->link);
    list_init(&b->write);
    b->stream = s;
    return b;
}

void batch_free(struct store_batch *b)
{
    struct chunk_pool *chunks = b->stream->store->chunks;

    ASSERT(b->refs == 0 && !b->cached);
    list_remove(&b->link);
    list_remove(&b->write);
    if (b->meta_chunk != NULL)
        chunk_put(b->meta_chunk, chunks);
    if (b->body_chunk != NULL)
        chunk_put(b->body_chunk, chunks);
    if (b->messages != NULL)
        chunk_put(b->messages, chunks);
    mem_free(b->bad);
    mem_free(b->disk);
    mem_free(b);
}

uint64_t batch_memory(const struct store_batch *b)
{
    return (b->decoded != 0 ? b->decoded : b->bytes) + b->opened + sizeof(*b);
}

bool batch_record_of(const struct store_batch *b, uint64_t seq, uint32_t *i)
{
    if (b->view.deltas == NULL)
        *i = (uint32_t) (seq - b->first_seq);
    else if (!batch_find(&b->view, seq, i))
        return false;
    return *i < b->count && (b->bad == NULL || ((b->bad[*i / 64] >> (*i % 64)) & 1) == 0);
}

static void evict(struct store *st, struct store_batch *b)
{
    ASSERT(b->cached && b->refs == 0);
    b->cached = false;
    st->cache.bytes -= batch_memory(b);
    b->segment->entries[b->entry].mem = NULL;
    batch_free(b);
}

void batch_unref(struct store_batch *b)
{
    ASSERT(b->refs > 0);
    if (--b->refs > 0)
        return;
    if (b->segment == NULL) { /* its segment was released meanwhile */
        batch_free(b);
        return;
    }
    if (b->cached) {
        struct store *st = b->stream->store;
        list_push_front(&st->cache.lru, &b->link);
        cache_shrink(st, st->cache.limit);
    }
}

void cache_add(struct store *st, struct store_batch *b)
{
    ASSERT(b->durable && b->written && !b->cached && !list_linked(&b->write));
    mem_free(b->disk);
    b->disk = NULL;
    b->cached = true;
    st->cache.bytes += batch_memory(b);
    if (b->refs == 0)
        list_push_front(&st->cache.lru, &b->link);
    cache_shrink(st, st->cache.limit);
}

void cache_touch(struct store *st, struct store_batch *b)
{
    if (!b->cached || !list_linked(&b->link))
        return;
    list_remove(&b->link);
    list_push_front(&st->cache.lru, &b->link);
}

void cache_shrink(struct store *st, uint64_t limit)
{
    while (st->cache.bytes > limit && !list_empty(&st->cache.lru))
        evict(st, LIST_ENTRY(st->cache.lru.prev, struct store_batch, link));
}

/* ---- fetching -------------------------------------------------------------------------------- */

static void count_lost(struct store_batch *b, uint64_t records, uint64_t bytes)
{
    struct store_stream *s = b->stream;

    s->rec.lost_msgs += PLANTED(PLANT_LOSS_UNCOUNTED) ? 0 : records;
    s->rec.lost_bytes += bytes;
    LOG_WRN(s->store->log,
            "%s: %llu damaged messages in the batch at offset %llu (sequences %llu to %llu)",
            b->segment->path, (unsigned long long) records, (unsigned long long) b->offset,
            (unsigned long long) b->first_seq, (unsigned long long) (b->first_seq + b->span - 1));
}

/* A damaged record or batch is reported once, and stays known as lost. */
static void lose_records(struct store_batch *b)
{
    struct segment_entry *e = &b->segment->entries[b->entry];
    uint64_t lost = 0, bytes = 0;
    struct buf delta = {0};

    for (uint32_t i = 0, at; i < e->b.count; i++) {
        uint64_t seq = entry_seq(b->segment, e, i);
        if (!message_exists(b->stream, seq) || batch_record_of(b, seq, &at))
            continue;
        /* Not known before the index is there. */
        uint32_t size = b->stream->loader == NULL ? column_size(&b->segment->column, e->ordinal + i)
                                                  : 0;
        lost++;
        bytes += size;
        stream_delta_lose(&delta, seq, seq, size);
        remove_one(b->stream, seq);
    }
    if (lost > 0) {
        count_lost(b, lost, bytes);
        b->segment->ruined = b->segment->live == 0;
        /* Before what may say that everything below is gone. */
        clog_put(b->stream->store, LOG_DELTA, b->stream->object, buf_str(&delta), NULL);
        stream_settle_first(b->stream);
    }
    buf_free(&delta);
}

/* Table and decoded body in a chunk of their own. */
static enum err decode(struct store_batch *b)
{
    struct chunk_pool *chunks = b->stream->store->chunks;
    struct batch_view *v = &b->view;
    struct chunk *chunk = chunk_alloc(chunks, (uint64_t) v->h.table_bytes + v->h.raw_bytes);

    if (chunk == NULL)
        return ERR_NO_MEMORY;
    b->decoded = chunk->len = v->h.table_bytes + v->h.raw_bytes;
    memcpy(chunk->data, v->table, v->h.table_bytes);
    enum err err = batch_view_decode(v, chunk->data + v->h.table_bytes);
    v->table = chunk->data;
    if (v->deltas != NULL)
        v->deltas = v->table + (size_t) v->h.count * BATCH_ENTRY;
    v->stored = NULL;
    chunk_put(b->body_chunk, chunks);
    b->body_chunk = chunk;
    return err;
}

/* Opens the batch of the entry at bytes, which lie in b->body_chunk. */
static enum err open_fetched(struct store_batch *b, const struct segment_batch *want,
                             const uint8_t *bytes, uint64_t n)
{
    uint8_t *data = b->body_chunk->data;
    uint32_t salt = b->segment->salt;
    enum err err = batch_view_open(bytes, n, salt, &b->view);

    if (err == ERR_CORRUPT &&
        batch_repair_sealed(data + (bytes - data), n, salt, b->segment->crypt))
        err = batch_view_open(bytes, n, salt, &b->view);
    b->view.crypt = b->segment->crypt;
    if (err == ERR_OK && (b->view.h.first_seq != want->first_seq || b->view.h.span != want->span ||
                          batch_messages(&b->view.h) < want->count))
        err = ERR_CORRUPT;
    if (err == ERR_OK && b->view.body == NULL)
        err = decode(b);
    return err;
}

/* Which records are damaged or erased; true when there is one. */
static bool note_bad(struct store_batch *b, enum err err)
{
    uint32_t damaged = b->count;
    size_t words;
    bool any = false;

    if (err == ERR_OK)
        b->count = batch_messages(&b->view.h);
    else
        b->view = (struct batch_view){0};
    words = ((size_t) b->count + 63) / 64;
    b->bad = mem_zalloc(words * 8 + 8);
    if (err == ERR_OK)
        damaged = batch_verify(&b->view, b->segment->salt, b->bad);
    if (err != ERR_OK || (batch_is_kafka(b) && damaged > 0))
        memset(b->bad, 0xff, words * 8);
    for (size_t i = 0; i < words; i++)
        any = any || b->bad[i] != 0;
    if (damaged > 0)
        lose_records(b);
    return any;
}

/* Also while the index is being read, when e->live has those that were removed meanwhile. */
static bool all_exist(const struct store_stream *s, const struct segment_entry *e)
{
    return e->b.first_seq >= s->first_seq &&
           seqset_count_in(&s->rec.removed, e->b.first_seq, e->b.first_seq + e->b.span - 1) == 0;
}

/* Verifies the batch at bytes and puts it into the cache, with a reference; NULL when it is there
 * already, or when there is no memory to decode it. */
static struct store_batch *fetched_batch(struct segment *seg, uint32_t entry, struct chunk *chunk,
                                         const uint8_t *bytes, uint64_t n)
{
    struct segment_entry *e = &seg->entries[entry];
    struct store_batch *b;

    if (e->mem != NULL)
        return NULL;
    b = batch_new(seg->stream);
    b->segment = seg;
    b->entry = entry;
    b->first_seq = e->b.first_seq;
    b->span = e->b.span;
    b->count = e->b.count;
    b->bytes = e->b.bytes;
    b->offset = e->b.offset;
    b->ordinal = e->ordinal;
    b->size = e->live_size;
    b->durable = b->written = true;
    b->body_chunk = chunk;
    chunk_get(chunk);
    enum err err = open_fetched(b, &e->b, bytes, n);
    if (err == ERR_NO_MEMORY) {
        batch_free(b);
        return NULL;
    }
    batch_ref(b); /* until the waiters have theirs */
    e->mem = b;
    bool any_bad = note_bad(b, err);
    b->plain = !any_bad && e->live == e->b.span && e->b.kind == BATCH_NATIVE &&
               (seg->stream->loader == NULL || all_exist(seg->stream, e));
    if (!any_bad) {
        mem_free(b->bad);
        b->bad = NULL;
        segment_note_verified(seg, b);
    }
    cache_add(seg->stream->store, b);
    return b;
}

/* Each waiter holds the batch it waits for from now on: it shall find it, however small the cache
 * is. */
static void tell(struct segment *seg, struct list *waiters)
{
    struct list *w;
    uint32_t entry;

    while ((w = list_pop_front(waiters)) != NULL) {
        struct store_reader *r = LIST_ENTRY(w, struct store_reader, wait_link);
        if (r->batch == NULL && segment_find(seg, r->wait_seq, &entry) &&
            seg->entries[entry].mem != NULL)
            reader_hold(r, seg->entries[entry].mem);
        list_push_back(&seg->stream->store->ready, w);
    }
}

/* The references that fetched_batch took. */
static void release_fetched(const struct fetch *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->fetched[i] != NULL)
            batch_unref(f->fetched[i]);
}

static void fetch_free(struct fetch *f)
{
    chunk_put(f->chunk, f->segment->stream->store->chunks);
    list_remove(&f->link);
    mem_free(f);
}

static void fetch_done(struct io_op *op)
{
    struct fetch *f = CONTAINER_OF(op, struct fetch, op);
    struct segment *seg = f->segment;
    struct store_stream *s = seg->stream;
    struct store *st = s->store;

    seg->jobs--;
    st->jobs--;
    st->cache.ahead -= f->ahead;
    if (op->res < 0) {
        /* A read error is not damage: nothing is said to be lost, the readers ask again in a
         * second. */
        LOG_WRN(st->log, "%s: reading failed: %s", seg->path, strerror((int) -op->res));
        list_splice(&st->retry, &f->waiters);
        store_retry_later(st);
    } else if (seg->state != SEGMENT_RELEASED && s->state != STREAM_DELETING) {
        for (uint32_t i = f->first; i < f->first + f->n; i++) {
            uint64_t at = seg->entries[i].b.offset - f->offset;
            uint64_t n = (uint64_t) op->res > at ? (uint64_t) op->res - at : 0;
            if (n > seg->entries[i].b.bytes)
                n = seg->entries[i].b.bytes;
            f->fetched[i - f->first] = fetched_batch(seg, i, f->chunk, f->chunk->data + at, n);
        }
    }
    tell(seg, &f->waiters);
    release_fetched(f);
    fetch_free(f);
    segment_advance(seg);
}

static struct fetch *fetch_running(const struct segment *seg, uint32_t entry)
{
    LIST_FOREACH(it, &seg->fetches)
    {
        struct fetch *f = LIST_ENTRY(it, struct fetch, link);
        if (entry >= f->first && entry < f->first + f->n)
            return f;
    }
    return NULL;
}

/* The whole pages in which bytes [from, to) lie. */
static uint64_t pages_start(uint64_t from)
{
    return from / SEGMENT_PAGE * SEGMENT_PAGE;
}

static uint64_t pages_bytes(uint64_t from, uint64_t to)
{
    return round_up(to, SEGMENT_PAGE) - pages_start(from);
}

/* How many entries from first on lie within `most` bytes and are not in memory, at least one;
 * *bytes: the pages they lie in. */
static uint32_t fetch_span(const struct segment *seg, uint32_t first, uint64_t most,
                           uint64_t *bytes)
{
    uint64_t start = seg->entries[first].b.offset;
    uint32_t n = 0;

    do {
        const struct segment_entry *e = &seg->entries[first + n];
        uint64_t span = pages_bytes(start, e->b.offset + e->b.bytes);
        if (n > 0 && (e->mem != NULL || span > most || e->b.kind == BATCH_SKIP ||
                      fetch_running(seg, first + n) != NULL ||
                      ((e->b.codec != BATCH_PLAIN || (e->b.flags & BATCH_ENCRYPTED) != 0) &&
                       n == FETCH_DECODE)))
            break;
        *bytes = span;
        n++;
    } while (first + n < seg->nentries);
    return n;
}

/* Reads the batches from `entry` on; false without memory for it. */
static bool fetch_begin(struct segment *seg, uint32_t entry, struct store_reader *waiter)
{
    struct store *st = seg->stream->store;
    struct fetch *f;
    uint64_t bytes = 0;
    uint32_t n = fetch_span(seg, entry, waiter != NULL ? FETCH_BYTES : FETCH_AHEAD_BYTES, &bytes);
    struct chunk *chunk = chunk_alloc(st->chunks, bytes);

    if (chunk == NULL && n > 1) {
        n = 1;
        bytes = pages_bytes(seg->entries[entry].b.offset,
                            seg->entries[entry].b.offset + seg->entries[entry].b.bytes);
        chunk = chunk_alloc(st->chunks, bytes);
    }
    if (chunk == NULL)
        return false;
    chunk->len = (uint32_t) bytes;
    f = mem_zalloc(sizeof(*f) + n * sizeof(f->fetched[0]));
    f->segment = seg;
    f->first = entry;
    f->n = n;
    f->chunk = chunk;
    f->offset = pages_start(seg->entries[entry].b.offset);
    list_init(&f->waiters);
    if (waiter != NULL)
        list_push_back(&f->waiters, &waiter->wait_link);
    else
        st->cache.ahead += f->ahead = (uint32_t) bytes;
    list_push_back(&seg->fetches, &f->link);
    io_op_init(&f->op, fetch_done);
    seg->jobs++;
    st->jobs++;
    st->cache.misses++;
    if (seg->read_once < seg->end) {
        seg->read_once += bytes;
        io_read_once(st->io, &f->op, seg->file, chunk->data, (uint32_t) bytes, f->offset);
    } else {
        io_read(st->io, &f->op, seg->file, chunk->data, (uint32_t) bytes, f->offset);
    }
    return true;
}

void cache_fetch(struct segment *seg, uint32_t entry, uint64_t seq, struct store_reader *waiter)
{
    struct store *st = seg->stream->store;
    struct fetch *f = fetch_running(seg, entry);

    waiter->waiting = true;
    waiter->wait_seq = seq;
    if (f != NULL) {
        list_push_back(&f->waiters, &waiter->wait_link);
    } else if (!fetch_begin(seg, entry, waiter)) { /* told to ask again: memory comes back */
        list_push_back(&st->retry, &waiter->wait_link);
        store_retry_later(st);
    }
}

/* What is not in memory of the entries from this one on that begin within so many bytes. */
static void read_ahead(struct segment *seg, uint32_t entry, uint64_t bytes)
{
    const struct cache *c = &seg->stream->store->cache;
    uint64_t ahead = 0;

    for (; entry < seg->nentries && ahead < bytes && c->ahead < c->limit / AHEAD_SHARE; entry++) {
        const struct segment_entry *e = &seg->entries[entry];
        ahead += e->b.bytes;
        if (e->mem == NULL && e->live > 0 && fetch_running(seg, entry) == NULL &&
            !fetch_begin(seg, entry, NULL))
            return;
    }
}

void cache_read_ahead(struct segment *seg, uint32_t entry)
{
    read_ahead(seg, entry + 1, AHEAD_BYTES);
}

void store_reader_ahead(struct store_reader *r, uint64_t bytes)
{
    struct segment *seg = r->stream != NULL ? stream_segment_of(r->stream, r->seq) : NULL;
    uint32_t entry;

    if (seg != NULL && segment_find(seg, r->seq, &entry))
        read_ahead(seg, entry, bytes);
}

void store_shed_cache(struct store *st)
{
    cache_shrink(st, 0);
}
