/*
 * load_index.h - the loader of an index that a start left for later (load_index.c): what its parts
 * share. load_index_read.c reads pieces of files, load_index_batches.c names the records of
 * batches, load_index_end.c has what follows when a segment, or all, has been read.
 */
#ifndef STORE_LOAD_INDEX_H
#define STORE_LOAD_INDEX_H

#include "store/recover.h"
#include "store/store_impl.h"

/* Records of a step. */
#define LOADER_STEP_RECORDS 128u

enum phase {
    LOADER_NEXT,
    LOADER_READ,
    LOADER_SIZES,
    LOADER_SUBJECTS,
    LOADER_BATCHES,
    LOADER_FINISH,
    LOADER_PACK,
    LOADER_RINGS,
    LOADER_LATE
};

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

/* ---- load_index_read.c ---- */

/* Begins to read what the job says; with now it is read when this returns. What was read of the
 * same by a job that is not through counts no more. */
void loader_job_start(struct index_loader *l, struct read_job *job, bool now);
/* The job, when it is through; the caller frees it. */
struct read_job *loader_job_finished(struct index_loader *l, bool now);
/* Nobody waits for it any more. */
void loader_job_drop(struct index_loader *l);
void loader_job_free(struct read_job *job);

/* ---- the records of one segment ---- */

static inline bool loader_sealed(const struct segment *seg)
{
    return seg->state == SEGMENT_SEALED;
}

/* In the wide column. */
static inline uint32_t *loader_size_of(struct segment *seg, uint32_t at)
{
    return &seg->column.blocks[at / COLUMN_BLOCK]->size[at % COLUMN_BLOCK];
}

static inline uint32_t *loader_id_of(struct segment *seg, uint32_t at)
{
    return &seg->column.blocks[at / COLUMN_BLOCK]->id[at % COLUMN_BLOCK];
}

/* Was the message there when the stream was opened? What was removed since counts until LATE. */
bool loader_counts(const struct store_stream *s, const struct segment *seg, uint64_t seq);
/* A message of this subject counts. */
void loader_count(struct store_stream *s, uint32_t id, uint64_t seq);

/* ---- the phases of other files; each does some of it ---- */

void loader_step_batches(struct index_loader *l, bool now);
void loader_step_finish(struct index_loader *l);
void loader_step_pack(struct index_loader *l);
void loader_step_rings(struct index_loader *l);
/* True when there is nothing more to do. */
bool loader_step_late(struct index_loader *l);

#endif
