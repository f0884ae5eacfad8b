/*
 * kafka.c - batches of Kafka producers, from the reader's side.
 *
 * One is a batch of the segment with a single record, whose payload is what the producer sent; the
 * segment's index counts it as `span` messages, one a sequence, each with an even share of its
 * bytes. So limits, purges, counts and removals work on its messages as on any others, without
 * looking into it. What is removed is known by sequence only; the bytes stay until the segment is
 * written anew (the owner's function then makes a batch without them, rewrite_copy.c) or all of the
 * batch goes, and whoever hands the batch out has to leave those messages out (store_entry.holes).
 *
 * Readers by message need what is in it. Then it is decoded, once, by the function the owner gave,
 * into a table and a body like those of a native batch (inner, in the chunk messages), which live
 * and are counted with the batch in the cache. A batch whose messages nobody asks for is never
 * opened.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

/* ---- messages -------------------------------------------------------------------------------- */

struct opening {
    struct str subject;
    const struct batch_view *view; /* which messages it holds */
    uint8_t *table;                /* in a chunk's order: table, then body */
    uint8_t *body;
    size_t n, cap;
    uint32_t next, messages;
    uint64_t most;
    bool no_memory;
};

static bool reserve(struct opening *o, size_t more)
{
    size_t cap = o->cap == 0 ? 4096 : o->cap;
    uint8_t *p;

    while (cap < o->n + more)
        cap *= 2;
    if (cap == o->cap)
        return true;
    p = mem_try_alloc(cap);
    if (p == NULL)
        return false;
    if (o->n != 0)
        memcpy(p, o->body, o->n);
    mem_free(o->body);
    o->body = p;
    o->cap = cap;
    return true;
}

static bool put_one(struct opening *o, struct str header, struct str payload)
{
    size_t n = batch_record_bytes(o->subject.n, header.n, payload.n);

    if (o->n + n > o->most || !reserve(o, n)) {
        o->no_memory = o->n + n <= o->most;
        return false;
    }
    uint8_t *p = o->body + o->n;
    put_u32(p, (uint32_t) payload.n);
    put_u16(p + 4, (uint16_t) header.n);
    put_u16(p + 6, (uint16_t) o->subject.n);
    put_u32(p + 8, 0);
    p += BATCH_RECORD_HEADER;
    memcpy(p, o->subject.p, o->subject.n);
    p += o->subject.n;
    if (header.n != 0)
        memcpy(p, header.p, header.n);
    p += header.n;
    if (payload.n != 0)
        memcpy(p, payload.p, payload.n);
    memcpy(p + payload.n, "\r\n", 2);
    put_u32(o->table + (size_t) o->next * BATCH_ENTRY, (uint32_t) o->n);
    o->next++;
    o->n += n;
    return true;
}

/* store_kafka_put_fn. */
static bool put(void *to, uint32_t i, struct str header, struct str payload)
{
    struct opening *o = to;

    if (header.n > STORE_HEADER_MAX)
        header = STR_NONE;
    while (o->next < o->messages && batch_kafka_delta(o->view, o->next) < i)
        if (!put_one(o, STR_NONE, STR_NONE))
            return false;
    if (o->next == o->messages || batch_kafka_delta(o->view, o->next) != i)
        return true;
    return put_one(o, header, payload);
}

/* Table and body go into a chunk of their own. */
static bool finish(struct store_batch *b, struct opening *o, int64_t ts)
{
    uint32_t table = o->messages * BATCH_ENTRY;
    struct chunk *chunk = chunk_alloc(b->stream->store->chunks, table + o->n);

    if (chunk == NULL)
        return false;
    chunk->len = table + (uint32_t) o->n;
    memcpy(chunk->data, o->table, table);
    memcpy(chunk->data + table, o->body, o->n);
    b->messages = chunk;
    b->opened = chunk->len;
    b->inner = (struct batch_view){.h = {.first_seq = b->first_seq,
                                         .base_time = ts,
                                         .max_time = ts,
                                         .raw_bytes = (uint32_t) o->n,
                                         .span = o->messages,
                                         .count = o->messages,
                                         .kind = BATCH_NATIVE},
                                   .table = chunk->data,
                                   .body = chunk->data + table};
    if (b->cached)
        b->stream->store->cache.bytes += b->opened;
    return true;
}

bool batch_open_kafka(struct store_batch *b)
{
    store_kafka_decode_fn decode = b->stream->store->options.kafka_decode;
    struct batch_record r;
    struct opening o = {.messages = b->count, .view = &b->view};

    batch_record_get(&b->view, 0, &r);
    o.subject = r.subject;
    /* Beyond, the rest is empty: there is room for that. */
    o.most = BATCH_BODY_MAX;
    o.table = mem_try_alloc((size_t) b->count * BATCH_ENTRY);
    bool good = o.table != NULL;
    if (good && decode != NULL)
        good = decode(r.subject, r.payload, b->first_seq, b->span, put, &o) && !o.no_memory;
    o.most = UINT32_MAX;
    while (good && o.next < o.messages)
        good = put_one(&o, STR_NONE, STR_NONE);
    good = good && finish(b, &o, r.ts);
    mem_free(o.table);
    mem_free(o.body);
    return good;
}

/* ---- batches --------------------------------------------------------------------------------- */

/* Of one that was written anew without some: has it lost more since? */
static bool has_new_holes(const struct store_stream *s, const struct store_batch *b)
{
    if (b->bad != NULL)
        return true;
    if (b->segment != NULL && s->loader == NULL && b->segment->entries[b->entry].live == b->count)
        return false;
    for (uint32_t i = 0; i < b->count; i++) {
        uint64_t seq = b->first_seq + batch_kafka_delta(&b->view, i);
        if (seq >= s->first_seq && !message_exists(s, seq))
            return true;
    }
    return false;
}

static bool has_holes(const struct store_stream *s, const struct store_batch *b)
{
    uint64_t from = b->first_seq < s->first_seq ? s->first_seq : b->first_seq, first, last;

    if (b->view.deltas != NULL)
        return has_new_holes(s, b);
    return b->bad != NULL || (seqset_range_from(&s->rec.removed, from, &first, &last) &&
                              first < b->first_seq + b->span);
}

static void fill_batch(const struct store_stream *s, const struct store_batch *b,
                       struct store_entry *out)
{
    struct batch_record r;

    batch_record_get(&b->view, 0, &r);
    out->kafka = true;
    out->first_seq = b->first_seq;
    out->messages = b->span;
    out->holes = has_holes(s, b);
    out->batch = r.payload;
    out->offset = b->offset + (uint64_t) ((const uint8_t *) r.payload.p - b->view.body) +
                  BATCH_HEADER + b->view.h.table_bytes;
    out->chunk = b->body_chunk;
    out->ts = r.ts;
}

enum store_read store_reader_entry(struct store_reader *r, struct store_entry *out)
{
    uint32_t i;

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
        if (!batch_record_of(b, r->seq, &i)) {
            r->seq++;
            continue;
        }
        *out = (struct store_entry){.first_seq = r->seq, .messages = 1};
        if (batch_is_kafka(b)) {
            fill_batch(r->stream, b, out);
            r->seq = b->first_seq + b->span;
            return STORE_READ_MSG;
        }
        result = reader_fill(r, b, i, &out->msg);
        out->ts = out->msg.ts;
        if (result == STORE_READ_MSG)
            r->seq++;
        return result;
    }
}
