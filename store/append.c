/*
 * append.c - the hot path: store_append.
 *
 * store_append is one pass: find the subject, copy the record into the open batch (batch_append
 * sums it), note id and size in the segment's column, count. All sizes were checked before, so a
 * full batch is the only slow case: it is closed and a new one opened, which may need the next
 * segment. A batch is built for one segment, whose salt seeds its checksums; therefore the segment
 * is chosen when the batch is opened, by the worst case of what lies before it (segment->reserved).
 * The file of that segment may still be in the making: appends go on, commits wait.
 *
 * A group is a batch of its own, with buffers of exactly its size: a batch is what a commit carries
 * and recovery keeps or cuts as a whole.
 */
#include "store/store_impl.h"

#include <string.h>

/* Body of an open batch: as much as the stream filled lately. */
#define BODY_MIN 2048u
#define BODY_MAX BATCH_BODY
/* Alignment that the commits of a segment can cost per batch. */
#define BATCH_SLACK SEGMENT_PAGE
/* One that begins and ends at a page. */
#define PAGES_SLACK (2u * SEGMENT_PAGE)
/* Sequences of one segment: reached by skips only. */
#define SEGMENT_SPAN_MAX (1u << 31)

/* ---- opening and closing batches ------------------------------------------------------------- */

void stream_mark_dirty(struct store_stream *s)
{
    if (s->dirty)
        return;
    s->dirty = true;
    list_push_back(&s->store->dirty, &s->dirty_link);
}

/* The open batch is full or its commit begins. */
void stream_gather_open(struct store_stream *s)
{
    struct store_batch *b = s->open;
    struct store *st = s->store;

    if (b == NULL)
        return;
    s->open = NULL;
    region_trim(&st->body, b->builder.body + batch_body_bytes(&b->builder),
                b->builder.body + b->builder.body_cap);
    region_trim(&st->meta, b->builder.meta + batch_meta_bytes(&b->builder),
                b->builder.meta + b->builder.meta_cap);
    b->count = b->span = batch_builder_span(&b->builder);
    b->bytes = batch_disk_bytes(b);
    b->segment->reserved -= b->reserved;
    b->reserved = b->bytes + (b->pages ? PAGES_SLACK : BATCH_SLACK);
    b->segment->reserved += b->reserved;
    list_push_back(&s->gathered, &b->link);
    s->gathered_bytes += b->bytes;
    s->gathered_n++;
    if (b->bytes > s->body_hint / 2 && s->body_hint < BODY_MAX)
        s->body_hint *= 2;
    else if (b->bytes < s->body_hint / 8 && s->body_hint > BODY_MIN)
        s->body_hint /= 2;
}

/* The segment that a batch of at most `bytes` may be built for. */
static enum err segment_for(struct store_stream *s, uint64_t bytes, uint64_t first_seq)
{
    struct segment *seg = s->active;

    if (seg->end + seg->reserved + bytes + BATCH_SLACK <= seg->capacity &&
        first_seq - seg->base_seq < SEGMENT_SPAN_MAX) {
        if (s->next == NULL && seg->end + seg->reserved > seg->capacity / 2 && !s->no_space &&
            s->disk_bytes > 0) {
            s->next = segment_new(s, s->next_number++, 0, segment_next_capacity(s, 0));
            segment_prepare(s->next);
        }
        return ERR_OK;
    }
    if (s->next != NULL && s->next->capacity < SEGMENT_HEADER + bytes + BATCH_SLACK) {
        /* An unusually big message: the prepared file waits for its turn behind a file of the right
         * size. */
        segment_discard(s->next);
        s->next = NULL;
    }
    if (s->next == NULL) {
        if (s->no_space || (seg->shrunk && !seg->file_ready))
            return ERR_NO_SPACE;
        s->next = segment_new(s, s->next_number++, 0, segment_next_capacity(s, bytes));
        segment_prepare(s->next);
    }
    if (s->no_space)
        return ERR_NO_SPACE;
    seg = s->next;
    s->next = NULL;
    segment_activate(seg, first_seq);
    return ERR_OK;
}

void stream_end_segment(struct store_stream *s)
{
    struct segment *next = s->next;

    if (s->no_space || s->state != STREAM_ACTIVE)
        return;
    if (next == NULL) {
        s->next = segment_new(s, s->next_number++, 0, segment_next_capacity(s, 0));
        segment_prepare(s->next);
    } else if (next->file_ready) {
        stream_gather_open(s);
        s->next = NULL;
        segment_activate(next, s->last_assigned + 1);
    }
}

static void open_in(struct store_stream *s, const struct region *meta, const struct region *body,
                    uint32_t reserved)
{
    struct store_batch *b = batch_new(s);

    b->segment = s->active;
    b->first_seq = s->last_assigned + 1;
    b->ordinal = s->active->column.n;
    b->meta_chunk = meta->chunk;
    b->body_chunk = body->chunk;
    b->reserved = reserved;
    b->segment->reserved += b->reserved;
    batch_open(&b->builder, meta->p, meta->bytes, body->p, body->bytes, b->segment->salt,
               b->first_seq);
    s->open = b;
}

/* With buffers of these sizes, for at most n records. */
static enum err open_sized(struct store_stream *s, uint32_t body, uint32_t meta, uint32_t n)
{
    struct store *st = s->store;
    uint32_t seal = st->dir->ring.n > 0 ? BATCH_SEAL + BATCH_ALIGN : 0;
    struct region meta_region, body_region;
    enum err err;

    if (s->active->column.n > UINT32_MAX - n)
        return ERR_LIMIT;
    err = segment_for(s, (uint64_t) body + meta + seal, s->last_assigned + 1);
    if (err != ERR_OK)
        return err;
    if (!region_take(st, &st->meta, meta, &meta_region))
        return ERR_NO_MEMORY;
    if (!region_take(st, &st->body, body, &body_region)) {
        chunk_put(meta_region.chunk, st->chunks);
        return ERR_NO_MEMORY;
    }
    open_in(s, &meta_region, &body_region, body + meta + seal + BATCH_SLACK);
    return ERR_OK;
}

/* For a record that takes `need` of the body, and more like those before. */
static enum err open_batch(struct store_stream *s, size_t need)
{
    uint32_t body = s->body_hint, meta;

    while (body < need && body < BODY_MAX)
        body *= 2;
    if (body < need)
        body = (uint32_t) round_up(need, 8);
    meta = body > BODY_MAX ? BATCH_HEADER + BATCH_ENTRY : (uint32_t) BATCH_HEADER + body / 4;
    if (meta > BATCH_META)
        meta = BATCH_META;
    return open_sized(s, body, meta, 1);
}

/* ---- append ---------------------------------------------------------------------------------- */

static enum err refuse(const struct store_stream *s)
{
    return s->state == STREAM_FAILED ? ERR_FAILED : ERR_CLOSED;
}

static enum err check_sizes(const struct store_append *m)
{
    if (m->subject.n > STORE_SUBJECT_MAX || m->header.n > STORE_HEADER_MAX ||
        m->payload.n > STORE_PAYLOAD_MAX)
        return ERR_TOO_LARGE;
    return ERR_OK;
}

/* Closes the open batch if there is one, opens one that holds the message, and adds it there. */
static __attribute__((noinline)) enum err append_slow(struct store_stream *s,
                                                      const struct store_append *m, int64_t ts,
                                                      unsigned flags)
{
    stream_gather_open(s);
    enum err err = open_batch(s, batch_body_need(m->subject.n, m->header.n, m->payload.n));
    if (err != ERR_OK)
        return err;
    bool fits = batch_append(&s->open->builder, m->subject, m->header, m->payload, ts, flags);
    ASSERT(fits);
    return ERR_OK;
}

/* Becomes the memo. */
static inline struct subject *find_subject(struct store_stream *s, struct str text)
{
    struct subject *sub = s->memo;

    if (sub != NULL && sub->len == text.n && memcmp(sub->text, text.p, text.n) == 0)
        return sub;
    s->memo_id = subjects_intern(&s->subjects, text);
    s->memo = sub = subjects_by_id(&s->subjects, s->memo_id);
    if (UNLIKELY(sub->msgs == 0 && sub->pending == 0))
        filters_note_subject(s, s->memo_id);
    return sub;
}

static inline unsigned batch_flags(const struct store_append *m)
{
    unsigned flags = (m->flags & STORE_MSG_HAS_ID) != 0 ? BATCH_HAS_IDS : 0;

    if (UNLIKELY((m->flags & STORE_MSG_HAS_EFFECT) != 0))
        flags |= BATCH_HAS_EFFECTS;
    return flags;
}

/* The message is in the open batch. */
static inline void count_assigned(struct store_stream *s, const struct store_append *m, int64_t ts)
{
    struct subject *sub = find_subject(s, m->subject);
    uint64_t size = store_msg_bytes(s->level, m->subject.n, m->header.n, m->payload.n);

    s->last_assigned++;
    s->last_ts_assigned = ts;
    sub->assigned = (uint32_t) s->last_assigned;
    sub->pending++;
    column_add(&s->active->column, s->memo_id, (uint32_t) size);
    s->open->size += size;
    s->open_msgs++;
    s->open_size += size;
}

enum err store_append(struct store_stream *s, const struct store_append *m, uint64_t *seq)
{
    struct store *st = s->store;
    int64_t ts = m->ts >= s->last_ts_assigned ? m->ts : s->last_ts_assigned;
    enum err err;

    if (UNLIKELY(s->state != STREAM_ACTIVE || st->closing))
        return refuse(s);
    /* Also when the open batch has room: nothing of it can be committed now. */
    if (UNLIKELY(s->no_space) && !s->active->file_ready)
        return ERR_NO_SPACE;
    if (UNLIKELY(m->subject.n > STORE_SUBJECT_MAX ||
                 (m->header.n | m->payload.n) > STORE_HEADER_MAX) &&
        (err = check_sizes(m)) != ERR_OK)
        return err;
    size_t n = batch_record_bytes(m->subject.n, m->header.n, m->payload.n);
    if (UNLIKELY(st->staging + n > st->options.staging_bytes && st->staging > 0))
        return ERR_LIMIT;
    unsigned flags = batch_flags(m);
    if (UNLIKELY(s->open == NULL ||
                 !batch_append(&s->open->builder, m->subject, m->header, m->payload, ts, flags)) &&
        (err = append_slow(s, m, ts, flags)) != ERR_OK)
        return err;

    count_assigned(s, m, ts);
    st->staging += n;
    *seq = s->last_assigned;
    stream_mark_dirty(s);
    return ERR_OK;
}

/* Bytes of the records, or why they can be no group. */
static enum err measure_group(const struct store_append *m, size_t n, size_t *bytes)
{
    *bytes = 0;
    if (n == 0 || n > STORE_GROUP_MSGS_MAX)
        return n == 0 ? ERR_INVALID : ERR_TOO_LARGE;
    for (size_t i = 0; i < n; i++) {
        enum err err = check_sizes(&m[i]);
        if (err != ERR_OK)
            return err;
        *bytes += batch_record_bytes(m[i].subject.n, m[i].header.n, m[i].payload.n);
        if (*bytes > BATCH_BODY_MAX - BATCH_SEAL - BATCH_ALIGN)
            return ERR_TOO_LARGE;
    }
    return ERR_OK;
}

enum err store_append_group(struct store_stream *s, const struct store_append *m, size_t n,
                            uint64_t *first_seq)
{
    struct store *st = s->store;
    int64_t ts = n > 0 && m->ts >= s->last_ts_assigned ? m->ts : s->last_ts_assigned;
    size_t bytes;
    enum err err;

    if (s->state != STREAM_ACTIVE || st->closing)
        return refuse(s);
    if (s->no_space && !s->active->file_ready)
        return ERR_NO_SPACE;
    err = measure_group(m, n, &bytes);
    if (err != ERR_OK)
        return err;
    if (st->staging + bytes > st->options.staging_bytes && st->staging > 0)
        return ERR_LIMIT;
    stream_gather_open(s);
    err = open_sized(s, (uint32_t) round_up(bytes, BATCH_ALIGN) + BATCH_ALIGN,
                     (uint32_t) (BATCH_HEADER + n * BATCH_ENTRY), (uint32_t) n);
    if (err != ERR_OK)
        return err;
    *first_seq = s->last_assigned + 1;
    for (size_t i = 0; i < n; i++) {
        bool fits = batch_append(&s->open->builder, m[i].subject, m[i].header, m[i].payload, ts,
                                 batch_flags(&m[i]));
        ASSERT(fits);
        count_assigned(s, &m[i], ts);
    }
    st->staging += bytes;
    stream_gather_open(s);
    stream_mark_dirty(s);
    return ERR_OK;
}

/* ---- Kafka ----------------------------------------------------------------------------------- */

/* A batch of a Kafka producer is in the open batch. */
static void count_kafka(struct store_stream *s, const struct store_kafka_append *a, int64_t ts)
{
    struct subject *sub = find_subject(s, a->subject);
    uint64_t whole = store_msg_bytes(s->level, a->subject.n, 0, a->batch.n);

    for (uint32_t i = 0; i < a->messages; i++) {
        uint32_t size = batch_kafka_share(whole, a->messages, i);
        column_add(&s->active->column, s->memo_id, size);
        s->open->size += size;
        s->open_size += size;
    }
    s->last_assigned += a->messages;
    s->last_ts_assigned = ts;
    sub->assigned = (uint32_t) s->last_assigned;
    sub->pending += a->messages;
    s->open_msgs += a->messages;
}

/* Buffers of one Kafka batch. In one piece on pages where a commit may be written from there. */
static enum err open_kafka(struct store_stream *s, size_t bytes, uint32_t messages)
{
    const uint32_t meta = BATCH_HEADER + BATCH_ENTRY;
    uint32_t body = (uint32_t) round_up(bytes, BATCH_ALIGN) + BATCH_ALIGN;
    struct store *st = s->store;
    struct chunk *chunk;
    enum err err;

    if (bytes < st->options.kafka_pages_min || bytes < commit_log_max(st) ||
        s->level == STORE_MEMORY || st->dir->ring.n > 0)
        return open_sized(s, body, meta, messages);
    if (s->active->column.n > UINT32_MAX - messages)
        return ERR_LIMIT;
    body = (uint32_t) round_up(meta + body, SEGMENT_PAGE) - meta;
    err = segment_for(s, (uint64_t) meta + body + SEGMENT_PAGE, s->last_assigned + 1);
    if (err != ERR_OK)
        return err;
    chunk = chunk_alloc(st->chunks, meta + body);
    if (chunk == NULL)
        return ERR_NO_MEMORY;
    chunk->len = meta + body;
    ASSERT((uintptr_t) chunk->data % SEGMENT_PAGE == 0);
    open_in(s, &(struct region){NULL, chunk->data, meta},
            &(struct region){chunk, chunk->data + meta, body}, meta + body + PAGES_SLACK);
    s->open->pages = true;
    return ERR_OK;
}

enum err store_append_kafka(struct store_stream *s, const struct store_kafka_append *a,
                            uint64_t *first_seq, uint8_t **stored)
{
    struct store_append m = {.subject = a->subject, .payload = a->batch};
    struct store *st = s->store;
    int64_t ts = a->ts >= s->last_ts_assigned ? a->ts : s->last_ts_assigned;
    size_t bytes = batch_record_bytes(a->subject.n, 0, a->batch.n);
    enum err err;

    if (s->state != STREAM_ACTIVE || st->closing)
        return refuse(s);
    if ((st->dir->features.incompat & STORE_KAFKA) == 0)
        return ERR_UNSUPPORTED;
    if (s->no_space && !s->active->file_ready)
        return ERR_NO_SPACE;
    if (a->messages == 0 || a->messages > STORE_KAFKA_MESSAGES_MAX)
        return a->messages == 0 ? ERR_INVALID : ERR_TOO_LARGE;
    if ((err = check_sizes(&m)) != ERR_OK)
        return err;
    if (st->staging + bytes > st->options.staging_bytes && st->staging > 0)
        return ERR_LIMIT;
    stream_gather_open(s);
    err = open_kafka(s, bytes, a->messages);
    if (err != ERR_OK)
        return err;
    struct batch_builder *b = &s->open->builder;
    bool fits = batch_append(b, a->subject, STR_NONE, a->batch, ts, 0);
    ASSERT(fits);
    b->span = a->messages;
    *first_seq = s->last_assigned + 1;
    *stored = b->body + BATCH_RECORD_HEADER + a->subject.n;
    count_kafka(s, a, ts);
    st->staging += bytes;
    stream_gather_open(s);
    stream_mark_dirty(s);
    return ERR_OK;
}

/* ---- skip ------------------------------------------------------------------------------------ */

#define SKIP_MAX (1u << 30)

enum err store_skip(struct store_stream *s, uint64_t n, uint64_t *last_seq)
{
    struct store *st = s->store;
    struct region meta;
    enum err err;

    if (s->state != STREAM_ACTIVE || st->closing)
        return refuse(s);
    if (n == 0 || n > SKIP_MAX)
        return n == 0 ? ERR_INVALID : ERR_TOO_LARGE;
    stream_gather_open(s);
    err = segment_for(s, BATCH_HEADER, s->last_assigned + 1);
    if (err != ERR_OK)
        return err;
    if (!region_take(st, &st->meta, BATCH_HEADER, &meta))
        return ERR_NO_MEMORY;
    struct store_batch *b = batch_new(s);
    b->segment = s->active;
    b->first_seq = s->last_assigned + 1;
    b->ordinal = s->active->column.n;
    b->meta_chunk = meta.chunk;
    b->builder.meta = meta.p;
    b->skip = true;
    b->span = (uint32_t) n;
    b->bytes = BATCH_HEADER;
    b->reserved = BATCH_HEADER + BATCH_SLACK;
    b->segment->reserved += b->reserved;
    list_push_back(&s->gathered, &b->link);
    s->gathered_bytes += b->bytes;
    s->gathered_n++;
    s->last_assigned += n;
    *last_seq = s->last_assigned;
    stream_mark_dirty(s);
    return ERR_OK;
}
