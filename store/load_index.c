/*
 * load_index.c - the index of subjects of a stream that was too large to be read when it was
 * opened.
 *
 * A start reads of a large sealed segment only summary and batches, and scans a large unsealed one
 * for its batches and sums. That is enough to append, to read by sequence, and for the numbers of
 * messages and bytes. Everything that asks for subjects needs more: which record is whose. Until
 * that is read the stream has a loader. It works in slices, as the first of the stream's tasks
 * (others wait for it); readers with filters are told to ask again; and who asks a question that
 * has to be answered now (stream_need_index), or removes something, waits while all of it is read.
 *
 * Segment by segment:
 *
 *     READ       the footer comes from the disk on a work thread, and is verified there
 *     SIZES      sizes go to the records
 *     SUBJECTS   subjects are interned, their ids go to the records, and their states are added up
 *     BATCHES    instead of the three: the records of an unsealed segment, or of one whose footer
 * is damaged, are read batch by batch FINISH     sums are compared; a record that nobody named is
 * lost PACK       the column of a sealed segment is packed
 *
 * Only segments whose records all exist are loaded this way; the others are read at once, when the
 * stream is opened (load.c). Nothing is removed before the index is there, so that stays true.
 * Messages that are appended meanwhile count themselves: a subject's first, last and number are
 * sums, and the order in which segments add to them does not matter.
 */
#include "lib/base/mem.h"
#include "store/recover.h"
#include "store/store_impl.h"

#include <string.h>

/* Records of a step. */
#define STEP_RECORDS 128u

enum phase { NEXT, READ, SIZES, SUBJECTS, BATCHES, FINISH, PACK };

struct read_job {
    struct io_work work;
    struct store *store;
    struct index_loader *loader; /* NULL: nobody waits for it any more */
    char *path;
    uint64_t file_bytes;
    uint32_t salt;
    struct segment_index x;
    enum err err;
};

struct index_loader {
    struct task task;
    bool task_on;
    struct store_stream *stream;
    enum phase phase;
    struct segment *seg;
    struct read_job *job;
    struct segment_index x;
    struct size_iter sizes;
    struct subject_iter subjects;
    uint32_t id; /* of the run in work; 0 = none */
    uint32_t entry;
    uint64_t bytes_found; /* of the segment's records */
    fs_fd file;
    struct codec_room stored, room;
    struct column_packing packing;
};

static void run_read(struct io_work *work)
{
    struct read_job *job = CONTAINER_OF(work, struct read_job, work);

    job->err = segment_index_read(work->fs, job->path, job->file_bytes, job->salt, &job->x);
}

static void read_done(struct io_op *op)
{
    struct read_job *job = CONTAINER_OF(op, struct read_job, work.op);

    if (!store_work_done(job->store, &job->work))
        return;
    if (job->loader != NULL) {
        job->loader->task.parked = false;
        stream_has_tasks(job->loader->stream);
        return;
    }
    segment_index_deinit(&job->x);
    mem_free(job->path);
    mem_free(job);
}

static void drop_job(struct index_loader *l)
{
    if (l->job != NULL)
        l->job->loader = NULL;
    l->job = NULL;
}

/* ---- the records of one segment -------------------------------------------------------------- */

static bool is_sealed(const struct segment *seg)
{
    return seg->state == SEGMENT_SEALED;
}

/* The record of a sequence in the wide column; NULL when the index is wrong about it. */
static uint32_t *size_of(struct segment *seg, uint32_t at)
{
    return &seg->column.blocks[at / COLUMN_BLOCK]->size[at % COLUMN_BLOCK];
}

static uint32_t *id_of(struct segment *seg, uint32_t at)
{
    return &seg->column.blocks[at / COLUMN_BLOCK]->id[at % COLUMN_BLOCK];
}

static bool record_of(const struct segment *seg, uint64_t seq, uint32_t *hint, uint32_t *at)
{
    uint32_t i;

    if (*hint >= seg->nentries || seq < seg->entries[*hint].b.first_seq ||
        seq - seg->entries[*hint].b.first_seq >= seg->entries[*hint].b.span)
        if (!segment_find(seg, seq, hint))
            return false;
    const struct segment_entry *e = &seg->entries[*hint];
    if (!entry_find(seg, e, seq, &i))
        return false;
    *at = e->ordinal + i;
    return true;
}

static void begin_segment(struct index_loader *l, struct segment *seg)
{
    l->seg = seg;
    l->entry = l->id = 0;
    l->bytes_found = 0;
    if (is_sealed(seg) && seg->column.n == 0)
        column_blank(&seg->column, seg->records);
    l->phase = seg->index_at == INDEX_IN_FOOTER ? READ : BATCHES;
}

static void step_next(struct index_loader *l)
{
    struct store_stream *s = l->stream;

    for (uint32_t i = 0; i < s->nindex; i++)
        if (s->index[i]->index_at != INDEX_HERE) {
            begin_segment(l, s->index[i]);
            return;
        }
    l->seg = NULL;
}

/* The footer can not be used: what it says of subjects is in the batches, too. */
static void use_batches(struct index_loader *l)
{
    LOG_WRN(l->stream->store->log, "%s: footer damaged, the segment is scanned", l->seg->path);
    segment_index_deinit(&l->x);
    l->seg->index_at = INDEX_IN_BATCHES;
    l->phase = BATCHES;
}

static void take_footer(struct index_loader *l, struct segment_index *x, enum err err)
{
    l->x = *x;
    *x = (struct segment_index){0};
    if (err != ERR_OK || l->x.summary.base_seq != l->seg->base_seq ||
        l->x.summary.next_seq != l->seg->next_seq || l->x.summary.msgs != l->seg->live) {
        use_batches(l);
        return;
    }
    size_iter_init(&l->sizes, l->x.sizes, l->seg->base_seq);
    l->phase = SIZES;
}

/* now: whoever waits can not wait for the work thread. */
static void step_read(struct index_loader *l, bool now)
{
    struct store *st = l->stream->store;
    struct read_job *job = l->job;
    struct segment_index x;

    if (now) {
        drop_job(l);
        enum err err = segment_index_read(st->dir->options.fs, l->seg->path, l->seg->capacity,
                                          l->seg->salt, &x);
        take_footer(l, &x, err);
        return;
    }
    if (job != NULL) {
        l->job = NULL;
        take_footer(l, &job->x, job->err);
        mem_free(job->path);
        mem_free(job);
        return;
    }
    l->job = job = mem_zalloc(sizeof(*job));
    job->store = st;
    job->loader = l;
    job->path = mem_strdup(l->seg->path);
    job->file_bytes = l->seg->capacity;
    job->salt = l->seg->salt;
    job->work.run = run_read;
    io_op_init(&job->work.op, read_done);
    l->task.parked = true;
    store_work_submit(st, &job->work);
}

static void step_sizes(struct index_loader *l)
{
    uint32_t size, at;
    uint64_t seq;

    for (uint32_t n = 0; n < STEP_RECORDS * 8; n++) {
        if (!size_iter_next(&l->sizes, &seq, &size)) {
            subject_iter_init(&l->subjects, l->x.subjects, l->seg->base_seq);
            l->phase = SUBJECTS;
            l->id = 0;
            return;
        }
        if (record_of(l->seg, seq, &l->entry, &at))
            *size_of(l->seg, at) = size;
    }
}

static void count(struct store_stream *s, uint32_t id, uint64_t seq)
{
    struct subject *sub = subjects_by_id(&s->subjects, id);

    if (sub->msgs++ == 0) {
        s->subjects.live++;
        sub->first = sub->last = seq;
    }
    sub->first = seq < sub->first ? seq : sub->first;
    sub->last = seq > sub->last ? seq : sub->last;
}

static void step_subjects(struct index_loader *l)
{
    struct store_stream *s = l->stream;
    uint64_t seq;
    uint32_t at;

    for (uint32_t n = 0; n < STEP_RECORDS; n++) {
        if (l->id != 0 && subject_run_next(&l->subjects, &seq)) {
            if (record_of(l->seg, seq, &l->entry, &at)) {
                *id_of(l->seg, at) = l->id;
                count(s, l->id, seq);
            }
        } else if (subject_iter_next(&l->subjects)) {
            l->id = subjects_intern(&s->subjects, buf_str(&l->subjects.subject));
            l->entry = 0;
        } else {
            subject_iter_deinit(&l->subjects);
            segment_index_deinit(&l->x);
            l->entry = 0;
            l->phase = FINISH;
            return;
        }
    }
}

/* ---- from batches ---------------------------------------------------------------------------- */

/* ERR_CORRUPT when it is damaged; anything else says nothing about it. */
static enum err read_batch(struct index_loader *l, const struct segment_batch *b,
                           struct batch_view *v)
{
    struct io_fs *fs = l->stream->store->dir->options.fs;

    if (l->file < 0)
        l->file = fs_open(fs, l->seg->path, IO_FILE_READ);
    if (l->file < 0)
        return err_from_errno(l->file);
    if (!codec_room_reserve(&l->stored, b->bytes))
        return ERR_NO_MEMORY;
    if (fs_read(fs, l->file, l->stored.p, b->bytes, b->offset) != (int64_t) b->bytes)
        return ERR_IO;
    if (batch_view_open(l->stored.p, b->bytes, l->seg->salt, v) != ERR_OK ||
        v->h.first_seq != b->first_seq || batch_messages(&v->h) != b->count)
        return ERR_CORRUPT;
    if (v->body != NULL)
        return ERR_OK;
    if (!codec_room_reserve(&l->room, v->h.raw_bytes))
        return ERR_NO_MEMORY;
    return batch_view_decode(v, l->room.p);
}

static void close_file(struct index_loader *l)
{
    if (l->file >= 0)
        fs_close(l->stream->store->dir->options.fs, l->file);
    l->file = -1;
}

/* Message i of the entry is of this subject and size. counted: it exists, and is counted; else the
 * subject is only kept. */
static void name_message(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                         uint32_t id, uint32_t size, bool counted)
{
    struct store_stream *s = l->stream;

    *id_of(l->seg, e->ordinal + i) = id;
    *size_of(l->seg, e->ordinal + i) = size;
    if (counted)
        count(s, id, entry_seq(l->seg, e, i));
    else
        subjects_by_id(&s->subjects, id)->pending = 1;
}

/* One record that is many messages, all of its subject. */
static void name_kafka(struct index_loader *l, const struct segment_entry *e,
                       const struct batch_view *v, bool counted)
{
    struct batch_record r;

    if (batch_record_verify(v, 0, l->seg->salt) != BATCH_RECORD_OK)
        return;
    batch_record_get(v, 0, &r);
    uint64_t whole = store_msg_bytes(l->stream->level, r.subject.n, 0, r.payload.n);
    uint32_t id = subjects_intern(&l->stream->subjects, r.subject);
    for (uint32_t i = 0; i < e->b.count; i++)
        name_message(l, e, i, id, batch_kafka_share(whole, e->b.count, i), counted);
}

/* The messages of one batch. */
static enum err name_batch(struct index_loader *l, const struct segment_entry *e, bool counted)
{
    struct store_stream *s = l->stream;
    struct batch_view v;
    enum err err = e->b.count == 0 ? ERR_CORRUPT : read_batch(l, &e->b, &v);

    if (err == ERR_CORRUPT) /* or without records; what is damaged is lost: see step_finish */
        return ERR_OK;
    if (err == ERR_OK && v.h.kind == BATCH_KAFKA) {
        name_kafka(l, e, &v, counted);
        return ERR_OK;
    }
    for (uint32_t i = 0; err == ERR_OK && i < e->b.count; i++) {
        struct batch_record r;
        if (batch_record_verify(&v, i, l->seg->salt) != BATCH_RECORD_OK)
            continue;
        batch_record_get(&v, i, &r);
        name_message(l, e, i, subjects_intern(&s->subjects, r.subject),
                     (uint32_t) store_msg_bytes(s->level, r.subject.n, r.header.n, r.payload.n),
                     counted);
    }
    return err;
}

/* What was appended since the start lies behind, and has its ids. */
static void step_batches(struct index_loader *l)
{
    if (l->entry < l->seg->nentries && l->seg->entries[l->entry].ordinal < l->seg->unnamed) {
        enum err err = name_batch(l, &l->seg->entries[l->entry++], true);
        if (err != ERR_OK)
            stream_fail(l->stream, err, "%s can not be read: %s", l->seg->path, err_text(err));
        return;
    }
    close_file(l);
    l->entry = 0;
    l->phase = FINISH;
}

enum err index_fill_from_batches(struct store_stream *s, struct segment *seg)
{
    struct index_loader l = {.stream = s, .seg = seg, .file = -1};
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < seg->nentries && err == ERR_OK; i++)
        err = name_batch(&l, &seg->entries[i], false);
    close_file(&l);
    codec_room_free(&l.stored);
    codec_room_free(&l.room);
    return err;
}

/* ---- the end of a segment -------------------------------------------------------------------- */

/* Neither footer nor batch says whose it is. */
static void lose(struct store_stream *s, struct segment *seg, struct segment_entry *e, uint32_t i)
{
    uint64_t seq = entry_seq(seg, e, i);

    LOG_WRN(s->store->log, "%s: message %llu is damaged, lost", seg->path,
            (unsigned long long) seq);
    stream_record_lose(&s->rec, seq, seq, 0);
    if (e->mem != NULL)
        e->mem->plain = false;
    e->live--;
    seg->live--;
    s->msgs--;
}

/* The sums were those of the summary. */
static void end_segment(struct index_loader *l)
{
    struct segment *seg = l->seg;

    seg->live_size += l->bytes_found - seg->unnamed_bytes;
    l->stream->bytes += l->bytes_found - seg->unnamed_bytes;
    seg->index_at = INDEX_HERE;
    l->phase = is_sealed(seg) ? PACK : NEXT;
}

static void step_finish(struct index_loader *l)
{
    struct segment *seg = l->seg;

    for (uint32_t n = 0; n < STEP_RECORDS; l->entry++) {
        struct segment_entry *e = l->entry < seg->nentries ? &seg->entries[l->entry] : NULL;
        if (e == NULL || e->ordinal >= seg->unnamed) {
            end_segment(l);
            return;
        }
        for (uint32_t i = 0; i < e->b.count; i++) {
            bool named = *id_of(seg, e->ordinal + i) != 0;
            if (!named && l->stream->state != STREAM_FAILED)
                lose(l->stream, seg, e, i);
            else if (named)
                e->live_size += *size_of(seg, e->ordinal + i);
        }
        n += e->b.count + 1;
        l->bytes_found += e->live_size;
    }
}

static void step_pack(struct index_loader *l)
{
    struct column packed;

    if (!column_pack_step(&l->seg->column, &l->packing, &packed))
        return;
    column_deinit(&l->seg->column);
    l->seg->column = packed;
    l->phase = NEXT;
}

/* ---- the loader ------------------------------------------------------------------------------ */

/* True when there is nothing more to do. */
static bool step(struct index_loader *l, bool now)
{
    switch (l->phase) {
    case NEXT:
        step_next(l);
        return l->seg == NULL;
    case READ:
        step_read(l, now);
        break;
    case SIZES:
        step_sizes(l);
        break;
    case SUBJECTS:
        step_subjects(l);
        break;
    case BATCHES:
        step_batches(l);
        break;
    case FINISH:
        step_finish(l);
        break;
    case PACK:
        step_pack(l);
        break;
    }
    return false;
}

void index_loader_free(struct store_stream *s)
{
    struct index_loader *l = s->loader;

    if (l == NULL)
        return;
    s->loader = NULL;
    drop_job(l);
    if (l->task_on)
        list_remove(&l->task.link);
    close_file(l);
    if (l->phase == SUBJECTS)
        subject_iter_deinit(&l->subjects);
    segment_index_deinit(&l->x);
    codec_room_free(&l->stored);
    codec_room_free(&l->room);
    column_packing_deinit(&l->packing);
    mem_free(l);
}

void segments_seal_full(struct store_stream *s)
{
    if (s->state != STREAM_ACTIVE)
        return;
    LIST_FOREACH_SAFE(it, tmp, &s->segments)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, link);
        if (seg->state == SEGMENT_CLOSING)
            segment_advance(seg);
    }
}

/* The index is complete. */
static void finish(struct store_stream *s)
{
    index_loader_free(s);
    stream_settle_first(s);
    segments_seal_full(s);
    stream_has_tasks(s);
}

bool index_comes(const struct store_stream *s)
{
    return s->loader != NULL && s->loader->task_on;
}

void index_load_all(struct store_stream *s)
{
    while (!step(s->loader, true))
        ;
    finish(s);
}

static bool load_slice(struct task *t)
{
    struct index_loader *l = CONTAINER_OF(t, struct index_loader, task);

    return step(l, false);
}

/* Also when tasks are cancelled: then the loader waits for somebody who needs it. */
static void slice_end(struct task *t)
{
    struct index_loader *l = CONTAINER_OF(t, struct index_loader, task);

    l->task_on = false;
    if (l->phase == NEXT && l->seg == NULL)
        finish(l->stream);
}

void index_loader_start(struct store_stream *s)
{
    struct index_loader *l = mem_zalloc(sizeof(*l));

    l->stream = s;
    l->file = -1;
    l->task = (struct task){.stream = s, .step = load_slice, .free = slice_end, .loads = true};
    l->phase = NEXT;
    l->seg = s->index[0];
    l->task_on = true;
    s->loader = l;
    task_start(s, &l->task);
}
