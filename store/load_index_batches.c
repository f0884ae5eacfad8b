/*
 * load_index_batches.c - an index from the records themselves: of an unsealed segment, of one whose
 * footer is damaged, and for those who want to be told of each record.
 */
#include "lib/base/mem.h"
#include "store/load_index.h"

#include <string.h>

/* Batches that are read at a time. */
#define RUN_BYTES (1u << 20)

/* The batch, if it has been read. ERR_AGAIN: it has not; ERR_CORRUPT: it is damaged; anything else
 * says nothing about it. */
static enum err open_batch(struct index_loader *l, const struct segment_batch *b,
                           struct batch_view *v)
{
    if (b->offset < l->run_at || b->offset + b->bytes > l->run_at + l->run_n)
        return ERR_AGAIN;
    if (batch_view_open(l->run + (b->offset - l->run_at), b->bytes, l->seg->salt, v) != ERR_OK ||
        v->h.first_seq != b->first_seq || batch_messages(&v->h) != b->count)
        return ERR_CORRUPT;
    return batch_view_decode_room(v, &l->room);
}

/* This entry's batch and those behind it. */
static void read_run_of(struct index_loader *l, bool now)
{
    const struct segment *seg = l->seg;
    const struct segment_batch *b = &seg->entries[l->entry].b;
    struct read_job *job = mem_zalloc(sizeof(*job));

    job->offset = b->offset;
    for (uint32_t i = l->entry; i < seg->nentries; i++, b++) {
        b = &seg->entries[i].b;
        if (job->n > 0 && b->offset + b->bytes - job->offset > RUN_BYTES)
            break;
        job->n = (size_t) (b->offset + b->bytes - job->offset);
    }
    loader_job_start(l, job, now);
}

static enum err take_run(struct index_loader *l, struct read_job *job)
{
    enum err err = job->err;

    mem_free(l->run);
    l->run = job->bytes;
    l->run_at = job->offset;
    l->run_n = err == ERR_OK ? job->n : 0;
    job->bytes = NULL;
    loader_job_free(job);
    return err;
}

/* Message i of the entry is of this subject and size. */
typedef void name_fn(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                     struct str subject, uint32_t size);

/* It counts, when it exists. */
static void name_counted(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                         struct str subject, uint32_t size)
{
    struct store_stream *s = l->stream;
    uint64_t seq = entry_seq(l->seg, e, i);

    *loader_size_of(l->seg, e->ordinal + i) = size;
    if (!loader_counts(s, l->seg, seq))
        return;
    uint32_t id = subjects_intern(&s->subjects, subject);
    *loader_id_of(l->seg, e->ordinal + i) = id;
    loader_count(s, id, seq);
}

/* The subject is only kept. */
static void name_kept(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                      struct str subject, uint32_t size)
{
    struct store_stream *s = l->stream;
    uint32_t id = subjects_intern(&s->subjects, subject);

    *loader_size_of(l->seg, e->ordinal + i) = size;
    *loader_id_of(l->seg, e->ordinal + i) = id;
    subjects_by_id(&s->subjects, id)->pending = 1;
}

/* Somebody is told, and nothing kept. */
static void name_told(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                      struct str subject, uint32_t size)
{
    l->each(l->each_ctx, entry_seq(l->seg, e, i), subject, size);
}

/* One record that is many messages, all of its subject. */
static void name_kafka(struct index_loader *l, const struct segment_entry *e,
                       const struct batch_view *v, name_fn *name)
{
    struct batch_record r;

    if (batch_record_verify(v, 0, l->seg->salt) != BATCH_RECORD_OK)
        return;
    batch_record_get(v, 0, &r);
    uint64_t whole = store_msg_bytes(l->stream->level, r.subject.n, 0, r.payload.n);
    for (uint32_t i = 0; i < e->b.count; i++)
        name(l, e, i, r.subject, batch_kafka_size(v, whole, i));
}

/* The messages of one batch, as open_batch. What is damaged stays without a name: see
 * loader_step_finish.
 */
static enum err name_batch(struct index_loader *l, const struct segment_entry *e, name_fn *name)
{
    struct store_stream *s = l->stream;
    struct batch_view v;
    enum err err = e->b.count == 0 ? ERR_CORRUPT : open_batch(l, &e->b, &v);

    if (err != ERR_OK)
        return err == ERR_CORRUPT ? ERR_OK : err;
    if (v.h.kind == BATCH_KAFKA) {
        name_kafka(l, e, &v, name);
        return ERR_OK;
    }
    for (uint32_t i = 0; i < e->b.count; i++) {
        struct batch_record r;
        if (batch_record_verify(&v, i, l->seg->salt) != BATCH_RECORD_OK)
            continue;
        batch_record_get(&v, i, &r);
        name(l, e, i, r.subject,
             (uint32_t) store_msg_bytes(s->level, r.subject.n, r.header.n, r.payload.n));
    }
    return ERR_OK;
}

/* What was appended since the start lies behind, and has its ids. */
void loader_step_batches(struct index_loader *l, bool now)
{
    struct segment *seg = l->seg;
    struct read_job *job = loader_job_finished(l, now);
    enum err err = job != NULL ? take_run(l, job) : ERR_OK;

    if (l->entry == seg->nentries || seg->entries[l->entry].ordinal >= seg->unnamed) {
        l->entry = 0;
        l->phase = LOADER_FINISH;
        return;
    }
    if (err == ERR_OK)
        err = name_batch(l, &seg->entries[l->entry], name_counted);
    if (err == ERR_AGAIN) {
        read_run_of(l, now);
        return;
    }
    if (err != ERR_OK)
        stream_fail(l->stream, err, "%s can not be read: %s", seg->path, err_text(err));
    l->entry++;
}

/* From the loader's entry on, at once. */
static enum err name_all(struct index_loader *l, name_fn *name)
{
    enum err err = ERR_OK;

    while (l->entry < l->seg->nentries && err == ERR_OK) {
        err = name_batch(l, &l->seg->entries[l->entry], name);
        if (err == ERR_OK) {
            l->entry++;
        } else if (err == ERR_AGAIN) {
            read_run_of(l, true);
            err = take_run(l, loader_job_finished(l, true));
        }
    }
    mem_free(l->run);
    codec_room_free(&l->room);
    return err;
}

enum err index_fill_from_batches(struct store_stream *s, struct segment *seg)
{
    struct index_loader l = {.stream = s, .seg = seg};

    return name_all(&l, name_kept);
}

enum err index_each_in_batches(struct store_stream *s, struct segment *seg, uint64_t behind,
                               index_each_fn *fn, void *ctx)
{
    struct index_loader l = {.stream = s, .seg = seg, .each = fn, .each_ctx = ctx};

    while (l.entry < seg->nentries &&
           seg->entries[l.entry].b.first_seq + seg->entries[l.entry].b.span <= behind + 1)
        l.entry++;
    return name_all(&l, name_told);
}
