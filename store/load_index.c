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
#include "store/load_index.h"

#include "lib/base/mem.h"
#include "store/early.h"

/* No message of the subject was there yet. */
#define NOT_INTERNED UINT32_MAX

/* ---- the records of one segment -------------------------------------------------------------- */

/* Where the record of a sequence is in the column; false when the index is wrong about it. */
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
    if (loader_sealed(seg) && seg->column.n == 0)
        column_blank(&seg->column, seg->records);
    l->phase = seg->index_at == INDEX_IN_FOOTER ? LOADER_READ : LOADER_BATCHES;
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
        l->phase = LOADER_RINGS;
}

/* The footer can not be used: what it says of subjects is in the batches, too. */
static void use_batches(struct index_loader *l)
{
    LOG_WRN(l->stream->store->log, "%s: footer damaged, the segment is scanned", l->seg->path);
    segment_index_deinit(&l->x);
    l->seg->index_at = INDEX_IN_BATCHES;
    l->phase = LOADER_BATCHES;
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
    l->phase = LOADER_SIZES;
}

static void step_read(struct index_loader *l, bool now)
{
    struct read_job *job = loader_job_finished(l, now);

    if (job != NULL) {
        take_footer(l, &job->x, job->err);
        loader_job_free(job);
        return;
    }
    job = mem_zalloc(sizeof(*job));
    job->file_bytes = l->seg->capacity;
    job->salt = l->seg->salt;
    loader_job_start(l, job, now);
}

static void step_sizes(struct index_loader *l)
{
    uint32_t size, at;
    uint64_t seq;

    for (uint32_t n = 0; n < LOADER_STEP_RECORDS * 8; n++) {
        if (!size_iter_next(&l->sizes, &seq, &size)) {
            subject_iter_init(&l->subjects, l->x.subjects, l->seg->base_seq);
            l->phase = LOADER_SUBJECTS;
            l->id = 0;
            return;
        }
        if (record_of(l->seg, seq, &l->entry, &at))
            *loader_size_of(l->seg, at) = size;
    }
}

bool loader_counts(const struct store_stream *s, const struct segment *seg, uint64_t seq)
{
    return !seg->partly || message_exists(s, seq) || seqset_has(&s->loader->late, seq);
}

void loader_count(struct store_stream *s, uint32_t id, uint64_t seq)
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

    for (uint32_t n = 0; n < LOADER_STEP_RECORDS; n++) {
        if (l->id != 0 && subject_run_next(&l->subjects, &seq)) {
            if (record_of(l->seg, seq, &l->entry, &at) && loader_counts(s, l->seg, seq)) {
                if (l->id == NOT_INTERNED)
                    l->id = subjects_intern(&s->subjects, buf_str(&l->subjects.subject));
                *loader_id_of(l->seg, at) = l->id;
                loader_count(s, l->id, seq);
            }
        } else if (subject_iter_next(&l->subjects)) {
            l->id = NOT_INTERNED;
            l->entry = 0;
        } else {
            subject_iter_deinit(&l->subjects);
            segment_index_deinit(&l->x);
            l->entry = 0;
            l->phase = LOADER_FINISH;
            return;
        }
    }
}

/* ---- the loader ------------------------------------------------------------------------------ */

/* True when there is nothing more to do. */
static bool step(struct index_loader *l, bool now)
{
    switch (l->phase) {
    case LOADER_NEXT:
        step_next(l);
        break;
    case LOADER_READ:
        step_read(l, now);
        break;
    case LOADER_SIZES:
        step_sizes(l);
        break;
    case LOADER_SUBJECTS:
        step_subjects(l);
        break;
    case LOADER_BATCHES:
        loader_step_batches(l, now);
        break;
    case LOADER_FINISH:
        loader_step_finish(l);
        break;
    case LOADER_PACK:
        loader_step_pack(l);
        break;
    case LOADER_RINGS:
        loader_step_rings(l);
        break;
    case LOADER_LATE:
        return loader_step_late(l);
    }
    return false;
}

void index_loader_free(struct store_stream *s)
{
    struct index_loader *l = s->loader;

    if (l == NULL)
        return;
    s->loader = NULL;
    loader_job_drop(l);
    if (l->task_on)
        list_remove(&l->task.link);
    leave_segment(l);
    seqset_free(&l->late);
    seqset_free(&l->sized);
    if (l->phase == LOADER_SUBJECTS)
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
    if (l->phase == LOADER_LATE && l->late.count == 0)
        finish(l->stream);
}

void index_loader_start(struct store_stream *s)
{
    struct index_loader *l = mem_zalloc(sizeof(*l));

    l->stream = s;
    l->task = (struct task){.stream = s, .step = load_slice, .free = slice_end, .loads = true};
    l->phase = LOADER_NEXT;
    l->task_on = true;
    s->loader = l;
    task_start(s, &l->task);
}
