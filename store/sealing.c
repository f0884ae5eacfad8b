/*
 * sealing.c - what turns a full segment into a sealed one, on a work thread.
 *
 * Input is what no one changes any more: the batch index (copied), the wide column (a full segment
 * gets no more records), the texts of its subjects (the subject table is frozen meanwhile), and
 * which of its messages are gone (copied). The thread packs the column, builds the footer, writes
 * it behind the last batch, cuts the file there and syncs it. A message removed meanwhile is in the
 * footer and in the stream's record; a start takes it out.
 *
 * A full disk leaves the segment unsealed, to be tried again: a start would have to scan it,
 * nothing else is lost.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <errno.h>
#include <string.h>

struct seal_job {
    struct io_work work;
    struct segment *segment;
    struct segment_batch *batches;
    uint32_t *ordinals;
    uint32_t nbatches;
    const struct column *wide;
    struct column packed;
    struct column_numbers numbers;
    struct seqset gone;
    uint64_t first_seq; /* of the stream */
    struct segment_header header;
    struct crypt_nonces nonces;
    uint64_t data_end, next_seq;
    uint32_t at_batch, at_record; /* next_messages */
    int result;
};

/* Walks the messages that are still there. */
static size_t next_messages(void *ctx, bool restart, struct segment_message *out, size_t max)
{
    struct seal_job *job = ctx;
    uint64_t base = job->header.base_seq;
    size_t n = 0;

    if (restart)
        job->at_batch = job->at_record = 0;
    for (; job->at_batch < job->nbatches; job->at_batch++, job->at_record = 0) {
        const struct segment_batch *batch = &job->batches[job->at_batch];
        uint64_t first, last;
        bool holes = seqset_range_from(&job->gone, batch->first_seq, &first, &last) &&
                     first < batch->first_seq + batch->span;
        for (; job->at_record < batch->count; job->at_record++) {
            uint64_t seq = batch->first_seq + job->at_record;
            uint32_t at = job->ordinals[job->at_batch] + job->at_record;
            if (seq < job->first_seq || (holes && seqset_has(&job->gone, seq)))
                continue;
            if (n == max)
                return n;
            out[n++] = (struct segment_message){
                .delta = (uint32_t) (seq - base),
                .subject = job->numbers.number_of[SUBJECT_SLOT(column_id(&job->packed, at))],
                .bytes = column_size(&job->packed, at),
            };
        }
    }
    return n;
}

static enum err build(struct seal_job *job, struct buf *out, uint64_t *offset)
{
    struct footer_input in = {.header = job->header,
                              .batches = job->batches,
                              .nbatches = job->nbatches,
                              .nsubjects = job->numbers.n,
                              .next_seq = job->next_seq,
                              .data_end = job->data_end,
                              .next = next_messages,
                              .ctx = job,
                              .crypt = job->segment->crypt,
                              .nonces = &job->nonces};
    struct str *subjects = mem_array(in.nsubjects + 1, sizeof(*subjects));
    /* One that is no more, or another one by now: all its messages here are gone, and the entry is
     * unused. */
    for (uint32_t i = 0; i < job->numbers.n; i++)
        subjects[i] =
            subject_text(subjects_by_id(&job->segment->stream->subjects, job->numbers.ids[i]));
    in.subjects = subjects;
    in.footer_offset = *offset = round_up(job->data_end, SEGMENT_PAGE);
    enum err err = footer_build(&in, out);
    mem_free(subjects);
    return err;
}

static int write_footer(struct io_fs *fs, struct seal_job *job, const struct buf *footer,
                        uint64_t offset)
{
    fs_fd fd = fs_open(fs, job->segment->path, IO_FILE_WRITE);
    int result;

    if (fd < 0)
        return fd;
    result = fs_allocate(fs, fd, offset + footer->n);
    if (result == 0)
        result = fs_write(fs, fd, footer->p, footer->n, offset);
    if (result == 0)
        result = fs_shrink(fs, fd, job->segment->capacity, offset + footer->n,
                           job->segment->stream->store->dir->options.drop_bytes);
    if (result == 0)
        result = fs_sync(fs, fd);
    fs_close(fs, fd);
    return result;
}

static void seal_run(struct io_work *work)
{
    struct seal_job *job = CONTAINER_OF(work, struct seal_job, work);
    struct buf footer = {0};
    uint64_t offset;

    column_pack(job->wide, &job->packed);
    column_number(&job->packed, &job->numbers);
    if (build(job, &footer, &offset) != ERR_OK)
        job->result = -ENOMEM;
    else
        job->result = write_footer(work->fs, job, &footer, offset);
    buf_free(&footer);
}

static void sealed(struct segment *seg, struct seal_job *job)
{
    column_deinit(&seg->column);
    seg->column = job->packed;
    job->packed = (struct column){0};
    seg->state = SEGMENT_SEALED;
    seg->full_size = job->data_end - SEGMENT_HEADER;
    rewrite_consider(seg);
}

static void seal_done(struct io_op *op)
{
    struct seal_job *job = CONTAINER_OF(op, struct seal_job, work.op);
    struct segment *seg = job->segment;
    struct store_stream *s = seg->stream;

    if (!store_work_done(s->store, &job->work))
        return;
    seg->jobs--;
    subjects_thaw(&s->subjects);
    if (job->result == 0) {
        sealed(seg, job);
    } else if (job->result == -ENOSPC || job->result == -EDQUOT || job->result == -ENOMEM) {
        seg->seal_later = true;
        store_retry_later(s->store);
    } else {
        stream_fail(s, err_from_errno(job->result), "sealing %s: %s", seg->path,
                    strerror(-job->result));
    }
    column_deinit(&job->packed);
    column_numbers_deinit(&job->numbers);
    seqset_free(&job->gone);
    mem_free(job->batches);
    mem_free(job->ordinals);
    mem_free(job);
    segment_advance(seg);
}

void segment_seal(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    struct seal_job *job;
    uint64_t first, last, seq = seg->base_seq;

    if (s->loader != NULL)
        return; /* it comes when its subjects are known */
    if (seg->live == 0 && list_empty(&seg->erasures) && segment_after(seg) != NULL) {
        rewrite_want(seg, REWRITE_COMPACT); /* to be released: nobody needs a footer */
        return;
    }
    if (seg->seal_later)
        return; /* it was tried a moment ago */
    job = mem_zalloc(sizeof(*job));
    job->segment = seg;
    job->nbatches = seg->nentries;
    job->batches = mem_array(seg->nentries, sizeof(*job->batches));
    job->ordinals = mem_array(seg->nentries, sizeof(*job->ordinals));
    for (uint32_t i = 0; i < seg->nentries; i++) {
        job->batches[i] = seg->entries[i].b;
        job->ordinals[i] = seg->entries[i].ordinal;
        job->data_end = seg->entries[i].b.offset + seg->entries[i].b.bytes;
    }
    while (seqset_range_from(&s->rec.removed, seq, &first, &last) && first < seg->next_seq) {
        seqset_add(&job->gone, first, last);
        seq = last + 1;
    }
    job->first_seq = s->first_seq;
    job->next_seq = seg->next_seq;
    job->wide = &seg->column;
    subjects_freeze(&s->subjects);
    job->header = (struct segment_header){.number = seg->number,
                                          .base_seq = seg->base_seq,
                                          .salt = seg->salt,
                                          .generation = seg->generation};
    memcpy(job->header.store, s->store->uuid, sizeof(job->header.store));
    memcpy(job->header.stream, s->rec.uuid, sizeof(job->header.stream));
    crypt_nonces_init(&job->nonces, &s->store->dir->ring, &s->store->prng);
    job->work.run = seal_run;
    io_op_init(&job->work.op, seal_done);
    seg->jobs++;
    store_work_submit(s->store, &job->work);
}
