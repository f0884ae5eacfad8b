/*
 * rewrite_copy.c - the records of sealed segments into a new one, on a work thread.
 *
 *     batch of a source -> decoded -> its wanted records, verified one by one -> the batch being
 *     filled (at most 64 KiB of records) -> encoded -> 1 MiB of them -> the new file
 *
 * A record is copied byte for byte but for its time, which counts from the new batch's; its
 * checksum is made anew, as the new file has another salt. So damage can not be copied into
 * something that verifies: what does not verify is left out and reported.
 *
 * A Kafka batch is copied as it is, or made anew by the owner without what is not wanted; then it
 * has holes.
 *
 * The batches of the new file answer for every sequence of the sources, without a gap: one with
 * holes for what follows it, too; in front of one without a skip batch stands for what is missing.
 * So a scan of the file, if its footer is damaged one day, takes no hole for a loss.
 *
 * The file has the ending ".new" until it is complete and synced. A start removes such files.
 */
#include "lib/base/mem.h"
#include "store/pool.h"
#include "store/rewrite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WRITE_BYTES (1u << 20)
#define BATCH_RECORDS 4096u

struct copy_out {
    uint8_t *body;
    size_t cap;
    uint32_t n;
    uint32_t count;
    uint16_t flags;
    int64_t base_time, max_time;
    uint64_t next; /* first sequence that no batch answers for */
    uint64_t seqs[BATCH_RECORDS];
    uint32_t at[BATCH_RECORDS];
    uint32_t crc[BATCH_RECORDS];
    uint64_t live_size;
};

/* ---- writing --------------------------------------------------------------------------------- */

static int flush(struct copy *c)
{
    int result = c->write.n > 0 ? fs_write(c->fs, c->out, c->write.p, c->write.n, c->written) : 0;

    c->written += c->write.n;
    buf_clear(&c->write);
    return result;
}

static uint64_t offset_now(const struct copy *c)
{
    return c->written + c->write.n;
}

static struct segment_entry *new_entry(struct copy *c)
{
    if (c->nentries == c->entries_cap) {
        c->entries_cap = c->entries_cap == 0 ? 64 : c->entries_cap * 2;
        c->entries = mem_realloc(c->entries, c->entries_cap * sizeof(*c->entries));
    }
    c->entries[c->nentries] = (struct segment_entry){0};
    return &c->entries[c->nentries++];
}

/* Sequences [first, first + span) without a message. */
static void put_skip(struct copy *c, uint64_t first, uint64_t span, int64_t time)
{
    uint64_t offset = offset_now(c);
    struct batch_header h;

    ASSERT(span > 0 && span <= UINT32_MAX);
    buf_reserve(&c->write, BATCH_HEADER);
    uint8_t *p = (uint8_t *) c->write.p + c->write.n;
    batch_encode_skip(p, c->header.salt, first, (uint32_t) span, time, c->next_seq - 1, c->epoch);
    enum err err = batch_header_decode(p, &h);
    ASSERT(err == ERR_OK);
    c->write.n += BATCH_HEADER;
    struct segment_entry *e = new_entry(c);
    segment_batch_of(&h, offset, &e->b);
    e->ordinal = c->column.n - c->batch->count;
}

static void fill_table(const struct copy_out *b, uint8_t *table, uint64_t first, bool sparse)
{
    uint8_t *deltas = table + (size_t) b->count * BATCH_ENTRY;

    for (uint32_t i = 0; i < b->count; i++) {
        put_u32(table + (size_t) i * BATCH_ENTRY, b->at[i]);
        put_u32(table + (size_t) i * BATCH_ENTRY + 4, b->crc[i]);
        if (sparse)
            put_u32(deltas + (size_t) i * 4, (uint32_t) (b->seqs[i] - first));
    }
}

/* Encrypts it behind c->write, where there is room; its bytes. */
static uint32_t put_sealed(struct copy *c, const struct batch_header *h, uint64_t first,
                           bool sparse, const uint8_t *stored)
{
    uint8_t *meta = mem_alloc(BATCH_HEADER + (size_t) h->table_bytes);

    batch_header_encode(h, meta);
    fill_table(c->batch, meta + BATCH_HEADER, first, sparse);
    batch_encrypt(meta, stored, c->header.salt, c->crypt, &c->nonces,
                  (uint8_t *) c->write.p + c->write.n);
    mem_free(meta);
    return batch_encrypted_bytes(h->table_bytes, h->body_bytes);
}

/* It is in c->write: its entry, and an empty batch to go on with. */
static int end_batch(struct copy *c, const struct batch_header *h, uint64_t offset, uint64_t stop,
                     bool sparse)
{
    struct copy_out *b = c->batch;
    struct segment_entry *e = new_entry(c);

    segment_batch_of(h, offset, &e->b);
    e->ordinal = c->column.n - b->count;
    e->live = b->count;
    e->live_size = b->live_size;
    c->sparse = c->sparse || sparse;
    b->next = stop;
    b->n = b->count = b->flags = 0;
    b->live_size = 0;
    return c->write.n >= WRITE_BYTES ? flush(c) : 0;
}

/* Encodes the batch; it answers for [b->next, end). */
static int put_batch(struct copy *c, uint64_t end)
{
    struct copy_out *b = c->batch;
    uint64_t first = b->seqs[0], last = b->seqs[b->count - 1];
    bool sparse = last - first + 1 != b->count;
    const uint8_t *stored;

    if (first > b->next)
        put_skip(c, b->next, first - b->next, b->base_time);
    uint64_t offset = offset_now(c), stop = sparse ? end : last + 1;
    struct batch_header h = {
        .table_bytes = b->count * (uint32_t) (sparse ? BATCH_ENTRY + 4 : BATCH_ENTRY),
        .raw_bytes = b->n,
        .first_seq = first,
        .durable_seq = c->next_seq - 1,
        .base_time = b->base_time,
        .max_time = b->max_time,
        .span = (uint32_t) (stop - first),
        .count = b->count,
        .epoch = c->epoch,
        .kind = BATCH_NATIVE,
        .flags = (uint16_t) (b->flags | (sparse ? BATCH_SPARSE : 0)),
    };
    ASSERT(stop - first <= UINT32_MAX);
    if (!codec_room_reserve(&c->stored, codec_bound(&c->codec, b->n)))
        return -ENOMEM;
    codec_encode(&c->codec, &h, b->body, c->stored.p, &stored);
    uint32_t head = BATCH_HEADER + h.table_bytes;
    h.bytes = (uint32_t) round_up((uint64_t) head + h.body_bytes, BATCH_ALIGN);
    buf_reserve(&c->write, h.bytes + BATCH_SEAL + BATCH_ALIGN);
    uint8_t *p = (uint8_t *) c->write.p + c->write.n;
    if (c->crypt != NULL) {
        c->write.n += put_sealed(c, &h, first, sparse, stored);
        batch_header_decode((uint8_t *) c->write.p + (offset - c->written), &h);
        return end_batch(c, &h, offset, stop, sparse);
    }
    fill_table(b, p + BATCH_HEADER, first, sparse);
    memcpy(p + head, stored, h.body_bytes);
    memset(p + head + h.body_bytes, 0, h.bytes - head - h.body_bytes);
    batch_header_encode(&h, p);
    h.crc = batch_header_crc(c->header.salt, p, p + BATCH_HEADER, h.table_bytes);
    batch_header_encode(&h, p);
    c->write.n += h.bytes;
    return end_batch(c, &h, offset, stop, sparse);
}

/* ---- one record ------------------------------------------------------------------------------ */

/* The text of the subject, once per id. */
static void note_subject(struct copy *c, uint32_t id, struct str text)
{
    uint32_t slot = SUBJECT_SLOT(id);

    if (slot / 64 >= c->seen_words) {
        uint32_t words = slot / 64 + 1 > c->seen_words * 2 ? slot / 64 + 1 : c->seen_words * 2;
        c->seen = mem_realloc(c->seen, words * sizeof(*c->seen));
        memset(c->seen + c->seen_words, 0, (words - c->seen_words) * sizeof(*c->seen));
        c->seen_words = words;
    }
    if (c->seen[slot / 64] >> (slot % 64) & 1)
        return;
    c->seen[slot / 64] |= (uint64_t) 1 << (slot % 64);
    if (c->nnames == c->names_cap) {
        c->names_cap = c->names_cap == 0 ? 64 : c->names_cap * 2;
        c->names = mem_realloc(c->names, c->names_cap * sizeof(*c->names));
    }
    c->names[c->nnames++] = (struct copy_text){id, (uint32_t) c->texts.n, (uint32_t) text.n};
    buf_put_str(&c->texts, text);
}

static void note_seq(struct copy *c, uint64_t seq)
{
    uint32_t n = c->column.n;

    if (n == c->seqs_cap) {
        c->seqs_cap = n == 0 ? 1024 : n * 2;
        c->seqs = mem_realloc(c->seqs, c->seqs_cap * sizeof(*c->seqs));
    }
    c->seqs[n] = (uint32_t) (seq - c->header.base_seq);
}

static bool fits(const struct copy_out *b, uint32_t bytes, const struct batch_record *r)
{
    return b->count == 0 ||
           (b->count < BATCH_RECORDS && b->n + bytes <= BATCH_BODY && r->ts >= b->base_time &&
            (uint64_t) r->ts - (uint64_t) b->base_time <= UINT32_MAX);
}

static int put_record(struct copy *c, const struct batch_view *v, uint32_t i, uint32_t id,
                      uint32_t size)
{
    struct copy_out *b = c->batch;
    struct batch_record r;
    uint32_t from = batch_record_offset(v, i);
    uint32_t end = i + 1 < v->h.count ? batch_record_offset(v, i + 1) : v->h.raw_bytes;
    uint32_t bytes = end - from;
    int result = 0;

    batch_record_get(v, i, &r);
    if (!fits(b, bytes, &r))
        result = put_batch(c, r.seq);
    if (result != 0)
        return result;
    if (b->n + bytes > b->cap) { /* a large message has a batch of its own */
        mem_free(b->body);
        b->body = mem_try_alloc(bytes);
        b->cap = b->body != NULL ? bytes : 0;
        if (b->body == NULL)
            return -ENOMEM;
    }
    if (b->count == 0)
        b->base_time = b->max_time = r.ts;
    uint8_t *to = b->body + b->n;
    memcpy(to, v->body + from, bytes);
    put_u32(to + 8, (uint32_t) ((uint64_t) r.ts - (uint64_t) b->base_time));
    b->seqs[b->count] = r.seq;
    b->at[b->count] = b->n;
    b->crc[b->count] = crc32c(batch_record_seed(c->header.salt, r.seq), to, bytes);
    b->count++;
    b->n += bytes;
    b->flags |= v->h.flags & (BATCH_HAS_IDS | BATCH_HAS_EFFECTS);
    b->live_size += size;
    if (r.ts > b->max_time)
        b->max_time = r.ts;
    note_subject(c, id, r.subject);
    note_seq(c, r.seq);
    column_add(&c->column, id, size);
    c->live_size += size;
    return 0;
}

/* ---- a Kafka batch --------------------------------------------------------------------------- */

/* One that is written: what it holds, and of it the messages that stay. */
struct kafka_out {
    struct batch_record r; /* subject and time; the payload is what goes out */
    uint64_t first_seq;
    uint32_t span, n;
    uint32_t *deltas, *sizes; /* of n */
};

/* Header, then one entry and, with holes, all deltas and all sizes. */
static void fill_kafka(const struct copy *c, const struct kafka_out *o, struct batch_header *h,
                       uint8_t *meta, const uint8_t *body)
{
    uint8_t *table = meta + BATCH_HEADER;
    bool sparse = (h->flags & BATCH_SPARSE) != 0;
    uint64_t seq = o->first_seq + (sparse ? o->deltas[0] : 0);

    put_u32(table, 0);
    put_u32(table + 4, crc32c(batch_record_seed(c->header.salt, seq), body, h->raw_bytes));
    for (uint32_t i = 0; sparse && i < o->n; i++) {
        put_u32(table + BATCH_ENTRY + (size_t) i * 4, o->deltas[i]);
        put_u32(table + BATCH_ENTRY + ((size_t) o->n + i) * 4, o->sizes[i]);
    }
    batch_header_encode(h, meta);
    h->crc = batch_header_crc(c->header.salt, meta, table, h->table_bytes);
    batch_header_encode(h, meta);
}

static void fill_body(const struct kafka_out *o, uint8_t *p)
{
    put_u32(p, (uint32_t) o->r.payload.n);
    put_u16(p + 4, 0);
    put_u16(p + 6, (uint16_t) o->r.subject.n);
    put_u32(p + 8, 0);
    p += BATCH_RECORD_HEADER;
    memcpy(p, o->r.subject.p, o->r.subject.n);
    memcpy(p + o->r.subject.n, o->r.payload.p, o->r.payload.n);
    memcpy(p + o->r.subject.n + o->r.payload.n, "\r\n", 2);
}

static void note_kafka(struct copy *c, const struct kafka_out *o, uint32_t id,
                       const struct batch_header *h, uint64_t offset)
{
    struct segment_entry *e = new_entry(c);

    segment_batch_of(h, offset, &e->b);
    e->ordinal = c->column.n;
    e->live = o->n;
    note_subject(c, id, o->r.subject);
    for (uint32_t i = 0; i < o->n; i++) {
        note_seq(c, o->first_seq + o->deltas[i]);
        column_add(&c->column, id, o->sizes[i]);
        e->live_size += o->sizes[i];
    }
    c->live_size += e->live_size;
    c->sparse = c->sparse || o->n < o->span;
    c->kafka = true;
    c->batch->next = o->first_seq + o->span;
}

/* Behind what has been filled. */
static int put_kafka(struct copy *c, const struct kafka_out *o, uint32_t id)
{
    bool sparse = o->n < o->span;
    uint32_t raw = (uint32_t) batch_record_bytes(o->r.subject.n, 0, o->r.payload.n);
    struct batch_header h = {
        .table_bytes = BATCH_ENTRY + (sparse ? o->n * 8 : 0),
        .body_bytes = raw,
        .raw_bytes = raw,
        .first_seq = o->first_seq,
        .durable_seq = c->next_seq - 1,
        .base_time = o->r.ts,
        .max_time = o->r.ts,
        .span = o->span,
        .count = 1,
        .epoch = c->epoch,
        .kind = BATCH_KAFKA,
        .flags = sparse ? BATCH_SPARSE : 0,
    };
    int result = c->batch->count > 0 ? put_batch(c, o->first_seq) : 0;

    if (result != 0)
        return result;
    if (c->batch->next < o->first_seq)
        put_skip(c, c->batch->next, o->first_seq - c->batch->next, o->r.ts);
    uint64_t offset = offset_now(c);
    uint32_t head = BATCH_HEADER + h.table_bytes;
    h.bytes = (uint32_t) round_up((uint64_t) head + raw, BATCH_ALIGN);
    buf_reserve(&c->write,
                (size_t) h.bytes * (c->crypt != NULL ? 2 : 1) + BATCH_SEAL + BATCH_ALIGN);
    uint8_t *p = (uint8_t *) c->write.p + c->write.n;
    uint8_t *meta = c->crypt != NULL ? p + batch_encrypted_bytes(h.table_bytes, raw) : p;
    memset(meta, 0, h.bytes);
    fill_body(o, meta + head);
    fill_kafka(c, o, &h, meta, meta + head);
    if (c->crypt != NULL) {
        batch_encrypt(meta, meta + head, c->header.salt, c->crypt, &c->nonces, p);
        enum err err = batch_header_decode(p, &h);
        ASSERT(err == ERR_OK);
    }
    c->write.n += h.bytes;
    note_kafka(c, o, id, &h, offset);
    return c->write.n >= WRITE_BYTES ? flush(c) : 0;
}

/* The messages of the entry that are wanted: into o; keep has a bit for each of the span. Returns
 * the id of their subject: one that was removed before the index was read has none. */
static uint32_t choose_messages(const struct copy *c, const struct segment *seg,
                                const struct segment_entry *e, uint32_t first, struct kafka_out *o,
                                uint64_t *keep)
{
    uint32_t id = 0;

    for (uint32_t i = 0; i < e->b.count; i++) {
        if ((c->wanted[(first + i) / 64] >> ((first + i) % 64) & 1) == 0)
            continue;
        id = column_id(&seg->column, e->ordinal + i);
        uint32_t delta = (uint32_t) (entry_seq(seg, e, i) - e->b.first_seq);
        o->deltas[o->n] = delta;
        o->sizes[o->n++] = column_size(&seg->column, e->ordinal + i);
        keep[delta / 64] |= (uint64_t) 1 << (delta % 64);
    }
    return id;
}

/* The payload becomes one without what is not wanted. */
static int trim(struct copy *c, struct kafka_out *o, const uint64_t *keep)
{
    enum err err = ERR_TOO_LARGE;

    buf_clear(&c->trimmed);
    if (BATCH_ENTRY + (uint64_t) o->n * 8 <= BATCH_TABLE_MAX)
        err = c->trim(o->r.payload, o->span, keep, &c->trimmed);
    if (err == ERR_NO_MEMORY)
        return -ENOMEM;
    if (err != ERR_OK ||
        batch_record_bytes(o->r.subject.n, 0, c->trimmed.n) + BATCH_SEAL > BATCH_BODY_MAX) {
        c->untrimmed = true;
        return 0;
    }
    o->r.payload = buf_str(&c->trimmed);
    return 0;
}

/* v == NULL: it can not be read. At least one message of it is wanted. */
static int copy_kafka(struct copy *c, const struct segment *seg, const struct segment_entry *e,
                      uint32_t first, const struct batch_view *v)
{
    uint64_t *keep = mem_zalloc(((size_t) e->b.span + 63) / 64 * sizeof(*keep));
    uint32_t *of = mem_array((size_t) e->b.count * 2, sizeof(*of));
    struct kafka_out o = {
        .first_seq = e->b.first_seq, .span = e->b.span, .deltas = of, .sizes = of + e->b.count};
    int result = 0;

    uint32_t id = choose_messages(c, seg, e, first, &o, keep);
    if (v == NULL || batch_record_verify(v, 0, seg->salt) != BATCH_RECORD_OK) {
        for (uint32_t i = 0; i < o.n; i++)
            seqset_add(&c->damaged, o.first_seq + o.deltas[i], o.first_seq + o.deltas[i]);
    } else {
        batch_record_get(v, 0, &o.r);
        if (o.n < batch_messages(&v->h))
            result = trim(c, &o, keep);
        if (result == 0 && !c->untrimmed)
            result = put_kafka(c, &o, id);
    }
    mem_free(keep);
    mem_free(of);
    return result;
}

/* ---- one batch of a source ------------------------------------------------------------------- */

static int open_source(struct copy *c)
{
    if (c->in_open && c->in_source == c->source)
        return 0;
    if (c->in_open)
        fs_close(c->fs, c->in);
    c->in_open = false;
    c->in = fs_open(c->fs, c->from[c->source]->path, IO_FILE_READ);
    if (c->in < 0)
        return c->in;
    c->in_open = true;
    c->in_source = c->source;
    return 0;
}

/* Reads and decodes the batch. 1: it is damaged as a whole. */
static int open_batch(struct copy *c, const struct segment *seg, const struct segment_batch *b,
                      struct batch_view *v)
{
    if (!codec_room_reserve(&c->bytes, b->bytes))
        return -ENOMEM;
    int64_t got = fs_read(c->fs, c->in, c->bytes.p, b->bytes, b->offset);
    if (got < 0)
        return (int) got;
    c->bytes_read += (uint64_t) got;
    enum err err = batch_view_open(c->bytes.p, (size_t) got, seg->salt, v);
    if (err == ERR_CORRUPT && batch_repair_sealed(c->bytes.p, (size_t) got, seg->salt, seg->crypt))
        err = batch_view_open(c->bytes.p, (size_t) got, seg->salt, v);
    v->crypt = seg->crypt;
    if (err == ERR_OK)
        err = batch_view_decode_room(v, &c->raw);
    if (err == ERR_NO_MEMORY)
        return -ENOMEM;
    return err != ERR_OK || v->h.first_seq != b->first_seq;
}

static bool is_wanted(const struct copy *c, uint32_t record)
{
    return (c->wanted[record / 64] >> (record % 64) & 1) != 0;
}

static int copy_entry(struct copy *c, const struct segment *seg, const struct segment_entry *e,
                      uint32_t slice_ordinal)
{
    uint32_t first = e->ordinal - slice_ordinal, i = 0, at;
    struct batch_view v;

    while (i < e->b.count && !is_wanted(c, first + i))
        i++;
    if (i == e->b.count)
        return 0;
    int result = open_batch(c, seg, &e->b, &v);
    if (result < 0)
        return result;
    if (e->b.kind == BATCH_KAFKA)
        return copy_kafka(c, seg, e, first, result == 0 ? &v : NULL);
    for (bool whole = result == 0; i < e->b.count; i++) {
        uint64_t seq = entry_seq(seg, e, i);
        if (!is_wanted(c, first + i))
            continue;
        if (!whole || !batch_find(&v, seq, &at) || at >= v.h.count ||
            batch_record_verify(&v, at, seg->salt) != BATCH_RECORD_OK) {
            seqset_add(&c->damaged, seq, seq);
            continue;
        }
        result = put_record(c, &v, at, column_id(&seg->column, e->ordinal + i),
                            column_size(&seg->column, e->ordinal + i));
        if (result != 0)
            return result;
    }
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------- */

int copy_begin(struct copy *c)
{
    uint8_t page[SEGMENT_HEADER];

    c->batch = mem_zalloc(sizeof(*c->batch));
    c->batch->next = c->header.base_seq;
    c->batch->cap = BATCH_BODY;
    c->batch->body = mem_alloc(BATCH_BODY);
    c->out = fs_open(c->fs, c->unfinished, IO_FILE_WRITE | IO_FILE_CREATE);
    if (c->out == -EEXIST && fs_unlink(c->fs, c->unfinished) == 0)
        c->out = fs_open(c->fs, c->unfinished, IO_FILE_WRITE | IO_FILE_CREATE);
    if (c->out < 0)
        return c->out;
    c->out_open = true;
    c->header.features.incompat = STORE_REWRITTEN |
                                  (c->codec.compression != BATCH_PLAIN ? STORE_COMPRESSED : 0);
    for (uint32_t i = 0; i < c->nfrom; i++)
        if (c->from[i]->kafka)
            c->header.features.incompat |= STORE_KAFKA | STORE_TRIMMED;
    segment_header_encode(&c->header, page);
    buf_put(&c->write, page, sizeof(page));
    return 0;
}

int copy_slice(struct copy *c)
{
    const struct segment *seg = c->from[c->source];
    int result = open_source(c);

    for (uint32_t i = c->first_entry; i < c->end_entry && result == 0; i++)
        result = copy_entry(c, seg, &seg->entries[i], seg->entries[c->first_entry].ordinal);
    return result;
}

static int order_names(const void *a, const void *b)
{
    const struct copy_text *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

struct walk {
    const struct copy *copy;
    struct column_numbers numbers;
    uint32_t record;
};

static size_t next_messages(void *ctx, bool restart, struct segment_message *out, size_t max)
{
    struct walk *w = ctx;
    const struct copy *c = w->copy;
    size_t n = 0;

    if (restart)
        w->record = 0;
    for (; w->record < c->packed.n && n < max; w->record++)
        out[n++] = (struct segment_message){
            .delta = c->seqs[w->record],
            .subject = w->numbers.number_of[SUBJECT_SLOT(column_id(&c->packed, w->record))],
            .bytes = column_size(&c->packed, w->record),
        };
    return n;
}

static enum err build_footer(struct copy *c, struct buf *out)
{
    struct walk w = {.copy = c};
    struct segment_batch *batches = mem_array((size_t) c->nentries + 1, sizeof(*batches));
    struct str *subjects = mem_array((size_t) c->nnames + 1, sizeof(*subjects));
    struct footer_input in = {.header = c->header,
                              .batches = batches,
                              .nbatches = c->nentries,
                              .subjects = subjects,
                              .nsubjects = c->nnames,
                              .next_seq = c->next_seq,
                              .data_end = c->data_end,
                              .footer_offset = round_up(c->data_end, SEGMENT_PAGE),
                              .next = next_messages,
                              .ctx = &w,
                              .crypt = c->crypt,
                              .nonces = &c->nonces};

    if (c->packed.n > 0)
        column_number(&c->packed, &w.numbers);
    ASSERT(w.numbers.n == c->nnames); /* the same ids, ascending */
    if (c->nnames > 0)
        qsort(c->names, c->nnames, sizeof(*c->names), order_names);
    for (uint32_t i = 0; i < c->nnames; i++)
        subjects[i] = str_from(c->texts.p + c->names[i].at, c->names[i].n);
    for (uint32_t i = 0; i < c->nentries; i++)
        batches[i] = c->entries[i].b;
    enum err err = footer_build(&in, out);
    column_numbers_deinit(&w.numbers);
    mem_free(batches);
    mem_free(subjects);
    return err;
}

static void note_times(struct copy *c)
{
    for (uint32_t i = 0; i < c->nentries; i++) {
        const struct segment_batch *b = &c->entries[i].b;
        if (i == 0 || b->min_time < c->min_time)
            c->min_time = b->min_time;
        if (i == 0 || b->max_time > c->max_time)
            c->max_time = b->max_time;
    }
}

/* The last batches and the footer; then everything is in the file. */
static int write_rest(struct copy *c)
{
    struct buf footer = {0};
    int result = c->batch->count > 0 ? put_batch(c, c->next_seq) : 0;

    if (result != 0)
        return result;
    if (c->batch->next < c->next_seq)
        put_skip(c, c->batch->next, c->next_seq - c->batch->next,
                 c->nentries > 0 ? c->entries[c->nentries - 1].b.max_time : c->header.last_time);
    c->data_end = offset_now(c);
    result = flush(c);
    column_pack(&c->column, &c->packed);
    column_deinit(&c->column);
    note_times(c);
    if (result == 0 && build_footer(c, &footer) != ERR_OK)
        result = -ENOMEM;
    uint64_t at = round_up(c->data_end, SEGMENT_PAGE);
    if (result == 0)
        result = fs_write(c->fs, c->out, footer.p, footer.n, at);
    c->file_bytes = at + footer.n;
    buf_free(&footer);
    return result;
}

static void close_files(struct copy *c)
{
    if (c->in_open)
        fs_close(c->fs, c->in);
    if (c->out_open)
        fs_close(c->fs, c->out);
    c->in_open = c->out_open = false;
}

int copy_finish(struct copy *c)
{
    int result = write_rest(c);

    if (result == 0 && !PLANTED(PLANT_REWRITE_UNSYNCED))
        result = fs_sync(c->fs, c->out);
    close_files(c);
    if (result == 0)
        result = fs_rename(c->fs, c->unfinished, c->path);
    if (result == 0)
        result = fs_sync_dir(c->fs, c->dir);
    if (result == 0 && !c->sparse) {
        mem_free(c->seqs);
        c->seqs = NULL;
    }
    return result;
}

void copy_abandon(struct copy *c)
{
    close_files(c);
    store_pool_drop(c->pool, c->fs, c->unfinished);
    store_pool_drop(c->pool, c->fs, c->path);
}

void copy_deinit(struct copy *c)
{
    if (c->batch != NULL)
        mem_free(c->batch->body);
    mem_free(c->batch);
    mem_free(c->wanted);
    mem_free(c->entries);
    mem_free(c->seqs);
    mem_free(c->names);
    mem_free(c->seen);
    column_deinit(&c->column);
    column_deinit(&c->packed);
    seqset_free(&c->damaged);
    if (c->crypt != NULL)
        crypt_file_wipe(c->crypt);
    mem_free(c->crypt);
    codec_room_free(&c->raw);
    codec_room_free(&c->stored);
    codec_room_free(&c->bytes);
    buf_free(&c->record);
    buf_free(&c->texts);
    buf_free(&c->trimmed);
    buf_free(&c->write);
}
