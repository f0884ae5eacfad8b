/*
 * load_index.c - the index of subjects of a stream that was too large to be read when it was
 * opened.
 *
 * A start reads of a large sealed segment only summary and batches, and scans a large unsealed one
 * for its batches and sums. That is enough to append, to read and to remove by sequence, and for
 * the numbers of messages and bytes. Everything that asks for subjects needs more: which record is
 * whose. Until that is read the stream has a loader. It works in slices, as the first of the
 * stream's tasks: others wait for it, purges and counts among them; readers with filters are told
 * to ask again; limits are applied at its end. An owner with a question about subjects waits for it
 * (store_index_wait), as one that does not (stream_need_index) holds up the worker until all is
 * read.
 *
 * Segment by segment:
 *
 *     READ       the footer comes from the disk on a work thread, and is verified there
 *     SIZES      sizes go to the records
 *     SUBJECTS   subjects are interned, their ids go to the records, and their states are added up
 *     BATCHES    instead of the three: the records of an unsealed segment, or of one whose footer
 *                is damaged, are read batch by batch, 1 MiB at a time on a work thread
 *     FINISH     sums are compared; a record that nobody named is lost
 *     PACK       the column of a sealed segment is packed
 *
 * and at last
 *
 *     RINGS      the sequences of each subject, under a limit per subject above 1 (limits.c)
 *     LATE       what was removed meanwhile leaves segments and subjects
 *
 * Of a segment some of whose messages were gone when the stream was opened these are passed over:
 * what is there was counted then by the footer's sizes (load.c). A message that is removed while
 * there is a loader is gone at once for everybody who asks, but its record stays in its segment's
 * sums and counts for its subject until LATE, so that what the phases before rely on stays true;
 * the stream's bytes have it until then, unless its size is known (index_late_size). Erasing waits.
 * Messages that are appended meanwhile count themselves: a subject's first, last and number are
 * sums, and the order in which segments add to them does not matter.
 */
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/recover.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

/* Records of a step. */
#define STEP_RECORDS 128u
/* Messages that were removed meanwhile; each looks for the one of its subject before it. */
#define STEP_LATE 16u
/* Batches that are read at a time. */
#define RUN_BYTES (1u << 20)

/* No message of the subject was there yet. */
#define NOT_INTERNED UINT32_MAX

enum phase { NEXT, READ, SIZES, SUBJECTS, BATCHES, FINISH, PACK, RINGS, LATE };

/* A piece of a segment's file. */
struct read_job {
    struct io_work work;
    struct store *store;
    struct index_loader *loader; /* NULL: nobody waits for it any more */
    char *path;
    enum err err;
    /* Its footer ... */
    uint64_t file_bytes;
    uint32_t salt;
    struct segment_index x;
    /* ... or, when n is not 0, these bytes. */
    uint64_t offset;
    size_t n;
    uint8_t *bytes;
};

struct index_loader {
    struct task task;
    bool task_on;
    struct store_stream *stream;
    enum phase phase;
    struct segment *seg;
    bool holds; /* seg, which must not go meanwhile */
    struct read_job *job;
    struct segment_index x;
    struct size_iter sizes;
    struct subject_iter subjects;
    uint32_t id; /* of the run in work; 0 = none */
    uint32_t entry;
    uint64_t bytes_found; /* of the segment's records */
    index_each_fn *each;  /* is told instead (index_each_in_batches) */
    void *each_ctx;
    /* Batches of the segment's file. */
    uint8_t *run;
    uint64_t run_at;
    size_t run_n;
    struct codec_room room;
    struct column_packing packing;
    uint64_t ring_seq; /* RINGS: all below are in theirs */
    struct seqset late;
    struct seqset sized; /* of these, whose sizes are known: in the sum, and in the stream's bytes
                          */
    uint64_t sized_bytes;
};

static enum err read_bytes(struct io_fs *fs, struct read_job *job)
{
    fs_fd fd = fs_open(fs, job->path, IO_FILE_READ);

    if (fd < 0)
        return err_from_errno(fd);
    job->bytes = mem_try_alloc(job->n);
    int64_t got = job->bytes == NULL ? -ENOMEM : fs_read(fs, fd, job->bytes, job->n, job->offset);
    fs_close(fs, fd);
    if (got < 0)
        return err_from_errno((int) got);
    return (size_t) got == job->n ? ERR_OK : ERR_IO;
}

static void read_now(struct io_fs *fs, struct read_job *job)
{
    job->err = job->n > 0 ? read_bytes(fs, job)
                          : segment_index_read(fs, job->path, job->file_bytes, job->salt, &job->x);
}

static void run_read(struct io_work *work)
{
    read_now(work->fs, CONTAINER_OF(work, struct read_job, work));
}

static void free_job(struct read_job *job)
{
    segment_index_deinit(&job->x);
    mem_free(job->bytes);
    mem_free(job->path);
    mem_free(job);
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
    free_job(job);
}

/* Begins to read what the job says; with now it is read when this returns. What was read of the
 * same by a job that is not through counts no more. */
static void start_job(struct index_loader *l, struct read_job *job, bool now)
{
    struct store *st = l->stream->store;

    job->store = st;
    job->path = mem_strdup(l->seg->path);
    l->job = job;
    if (now) {
        read_now(st->dir->options.fs, job);
        return;
    }
    job->loader = l;
    job->work.run = run_read;
    io_op_init(&job->work.op, read_done);
    l->task.parked = true;
    store_work_submit(st, &job->work);
}

/* The job, when it is through. */
static struct read_job *finished_job(struct index_loader *l, bool now)
{
    struct read_job *job = l->job;

    if (job == NULL || (!now && l->task.parked))
        return NULL;
    if (now && l->task.parked) { /* whoever waits can not wait for the work thread */
        job->loader = NULL;
        l->task.parked = false;
        job = NULL;
    }
    l->job = NULL;
    return job;
}

static void drop_job(struct index_loader *l)
{
    struct read_job *job = l->job;

    l->job = NULL;
    if (job == NULL)
        return;
    if (l->task.parked)
        job->loader = NULL;
    else
        free_job(job);
    l->task.parked = false;
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
    l->holds = l->task_on;
    seg->jobs += l->holds;
    l->entry = l->id = 0;
    l->bytes_found = 0;
    if (is_sealed(seg) && seg->column.n == 0)
        column_blank(&seg->column, seg->records);
    l->phase = seg->index_at == INDEX_IN_FOOTER ? READ : BATCHES;
}

static void let_go(struct index_loader *l)
{
    if (l->holds)
        l->seg->jobs--;
    l->holds = false;
}

static void leave_segment(struct index_loader *l)
{
    let_go(l);
    l->seg = NULL;
    mem_free(l->run);
    l->run = NULL;
    l->run_n = 0;
}

/* Not of one that has nothing left and is being released: its file goes any moment. */
static bool is_to_do(const struct segment *seg, int where)
{
    return (int) seg->index_at == where && seg->state != SEGMENT_RELEASED;
}

/* The oldest that nothing names but itself (early.c waits for those), then the oldest. */
static struct segment *next_segment(const struct store_stream *s)
{
    for (uint32_t i = 0; i < s->nindex; i++)
        if (is_to_do(s->index[i], INDEX_IN_BATCHES))
            return s->index[i];
    for (uint32_t i = 0; i < s->nindex; i++)
        if (is_to_do(s->index[i], INDEX_IN_FOOTER))
            return s->index[i];
    return NULL;
}

static void step_next(struct index_loader *l)
{
    struct store_stream *s = l->stream;
    struct segment *seg = next_segment(s);

    leave_segment(l);
    early_go_on(s);
    if (seg != NULL)
        begin_segment(l, seg);
    else
        l->phase = RINGS;
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
        l->x.summary.next_seq != l->seg->next_seq || l->x.summary.msgs != l->seg->footer_msgs) {
        use_batches(l);
        return;
    }
    size_iter_init(&l->sizes, l->x.sizes, l->seg->base_seq);
    l->phase = SIZES;
}

static void step_read(struct index_loader *l, bool now)
{
    struct read_job *job = finished_job(l, now);

    if (job != NULL) {
        take_footer(l, &job->x, job->err);
        free_job(job);
        return;
    }
    job = mem_zalloc(sizeof(*job));
    job->file_bytes = l->seg->capacity;
    job->salt = l->seg->salt;
    start_job(l, job, now);
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

/* Was the message there when the stream was opened? What was removed since counts until LATE. */
static bool counts(const struct store_stream *s, const struct segment *seg, uint64_t seq)
{
    return !seg->partly || message_exists(s, seq) || seqset_has(&s->loader->late, seq);
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
            if (record_of(l->seg, seq, &l->entry, &at) && counts(s, l->seg, seq)) {
                if (l->id == NOT_INTERNED)
                    l->id = subjects_intern(&s->subjects, buf_str(&l->subjects.subject));
                *id_of(l->seg, at) = l->id;
                count(s, l->id, seq);
            }
        } else if (subject_iter_next(&l->subjects)) {
            l->id = NOT_INTERNED;
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
    start_job(l, job, now);
}

static enum err take_run(struct index_loader *l, struct read_job *job)
{
    enum err err = job->err;

    mem_free(l->run);
    l->run = job->bytes;
    l->run_at = job->offset;
    l->run_n = err == ERR_OK ? job->n : 0;
    job->bytes = NULL;
    free_job(job);
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

    *size_of(l->seg, e->ordinal + i) = size;
    if (!counts(s, l->seg, seq))
        return;
    uint32_t id = subjects_intern(&s->subjects, subject);
    *id_of(l->seg, e->ordinal + i) = id;
    count(s, id, seq);
}

/* The subject is only kept. */
static void name_kept(struct index_loader *l, const struct segment_entry *e, uint32_t i,
                      struct str subject, uint32_t size)
{
    struct store_stream *s = l->stream;
    uint32_t id = subjects_intern(&s->subjects, subject);

    *size_of(l->seg, e->ordinal + i) = size;
    *id_of(l->seg, e->ordinal + i) = id;
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

/* The messages of one batch, as open_batch. What is damaged stays without a name: see step_finish.
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
static void step_batches(struct index_loader *l, bool now)
{
    struct segment *seg = l->seg;
    struct read_job *job = finished_job(l, now);
    enum err err = job != NULL ? take_run(l, job) : ERR_OK;

    if (l->entry == seg->nentries || seg->entries[l->entry].ordinal >= seg->unnamed) {
        l->entry = 0;
        l->phase = FINISH;
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
            err = take_run(l, finished_job(l, true));
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

/* ---- the end of a segment -------------------------------------------------------------------- */

/* Neither footer nor batch says whose it is. */
static void lose(struct store_stream *s, struct segment *seg, struct segment_entry *e, uint32_t i)
{
    uint64_t seq = entry_seq(seg, e, i);

    e->live--;
    seg->live--;
    if (seqset_remove(&s->loader->late, seq, seq) > 0)
        return; /* it had gone before */
    LOG_WRN(s->store->log, "%s: message %llu is damaged, lost", seg->path,
            (unsigned long long) seq);
    stream_record_lose(&s->rec, seq, seq, 0);
    if (e->mem != NULL)
        e->mem->plain = false;
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
            if (!named && seg->partly && !counts(l->stream, seg, entry_seq(seg, e, i)))
                continue;
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

/* ---- rings ----------------------------------------------------------------------------------- */

static void push_ring(struct store_stream *s, const struct segment *seg, uint32_t entry,
                      uint64_t seq)
{
    const struct segment_entry *e = &seg->entries[entry];
    uint32_t i;

    if (!(message_exists(s, seq) || seqset_has(&s->loader->late, seq)) ||
        !entry_find(seg, e, seq, &i))
        return;
    seq_ring_push(subject_ring(&s->subjects, column_id(&seg->column, e->ordinal + i)), seq);
}

/* In order of sequence; what is appended meanwhile is met at the end. */
static void step_rings(struct index_loader *l)
{
    struct store_stream *s = l->stream;
    uint32_t entry = 0;

    if (s->rec.limits.max_msgs_per_subject <= 1 || s->rings || s->state == STREAM_FAILED) {
        l->phase = LATE;
        return;
    }
    if (!s->subjects.rings)
        subjects_keep_rings(&s->subjects, true);
    for (uint32_t n = 0; n < STEP_RECORDS && l->ring_seq <= s->last_seq; n++) {
        struct segment *seg = stream_segment_of(s, l->ring_seq);
        if (seg == NULL || !segment_find(seg, l->ring_seq, &entry)) {
            l->ring_seq = seg != NULL ? seg->next_seq : s->last_seq + 1;
            continue;
        }
        if (l->ring_seq < seg->entries[entry].b.first_seq)
            l->ring_seq = seg->entries[entry].b.first_seq;
        push_ring(s, seg, entry, l->ring_seq++);
    }
    if (l->ring_seq <= s->last_seq)
        return;
    s->rings = true;
    l->phase = LATE;
}

/* ---- what was removed meanwhile -------------------------------------------------------------- */

void index_remove_later(struct store_stream *s, uint64_t seq)
{
    seqset_add(&s->loader->late, seq, seq);
}

void index_late_size(struct store_stream *s, uint64_t seq, uint32_t size)
{
    if (size != 0 && seqset_add(&s->loader->sized, seq, seq) > 0)
        s->loader->sized_bytes += size;
}

uint64_t index_late_bytes(const struct store_stream *s)
{
    return s->loader != NULL ? s->loader->sized_bytes : 0;
}

/* In order, so that what is left of a subject below its last message exists. */
static bool step_late(struct index_loader *l)
{
    uint64_t first, last;

    for (uint32_t n = 0; n < STEP_LATE; n++) {
        if (!seqset_range_from(&l->late, 0, &first, &last))
            return true;
        seqset_remove(&l->late, first, first);
        uint64_t bytes = l->stream->bytes;
        remove_noted(l->stream, first);
        if (seqset_remove(&l->sized, first, first) > 0)
            l->sized_bytes -= bytes - l->stream->bytes;
    }
    return false;
}

/* ---- the loader ------------------------------------------------------------------------------ */

/* True when there is nothing more to do. */
static bool step(struct index_loader *l, bool now)
{
    switch (l->phase) {
    case NEXT:
        step_next(l);
        break;
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
        step_batches(l, now);
        break;
    case FINISH:
        step_finish(l);
        break;
    case PACK:
        step_pack(l);
        break;
    case RINGS:
        step_rings(l);
        break;
    case LATE:
        return step_late(l);
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
    leave_segment(l);
    seqset_free(&l->late);
    seqset_free(&l->sized);
    if (l->phase == SUBJECTS)
        subject_iter_deinit(&l->subjects);
    segment_index_deinit(&l->x);
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
    early_free(s);
    limits_rings(s); /* a limit per subject may have come meanwhile */
    stream_settle_first(s);
    segments_seal_full(s);
    s->trim_due = s->trim_due || s->state == STREAM_ACTIVE; /* perhaps */
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

/* Also when tasks are cancelled, of a stream that fails or goes: then the loader waits for somebody
 * who needs it. */
static void slice_end(struct task *t)
{
    struct index_loader *l = CONTAINER_OF(t, struct index_loader, task);

    l->task_on = false;
    let_go(l);
    if (t->parked) { /* and the work thread for nobody */
        l->job->loader = NULL;
        l->job = NULL;
        t->parked = false;
    }
    if (l->phase == LATE && l->late.count == 0)
        finish(l->stream);
}

void index_loader_start(struct store_stream *s)
{
    struct index_loader *l = mem_zalloc(sizeof(*l));

    l->stream = s;
    l->task = (struct task){.stream = s, .step = load_slice, .free = slice_end, .loads = true};
    l->phase = NEXT;
    l->task_on = true;
    s->loader = l;
    task_start(s, &l->task);
}
