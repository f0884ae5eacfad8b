/*
 * recover.h - what store_dir_open found, as plain data for store_open. Internal to the store.
 *
 * All of it belongs to the store_dir and lives until store_recovered_done of its worker
 * (recovered_worker_free), which the worker calls after it has taken what it needs; it may take
 * members by moving them out (set the pointer to NULL, the buf or seqset to zero).
 *
 * When store_dir_open returns: the log of the new generation is durable and holds a full record of
 * every object (followed by the owner's deltas as they were); segments hold every byte that the old
 * log had for them, synced; every segment but a stream's last is sealed, and a cut one too, except
 * large ones of which nothing is doubtful (RECOVERED_FULL); old logs are gone (or in the pool).
 */
#ifndef STORE_RECOVER_H
#define STORE_RECOVER_H

#include "store/segment_format.h"
#include "store/store.h"
#include "store/stream_record.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_dir;

/* Index of one segment, from its footer or from a scan. */
struct segment_index {
    struct segment_summary summary;
    struct segment_batch *batches; /* summary.batches of them */
    struct str subjects;           /* SECTION_SUBJECTS: subject_iter_init with summary.base_seq */
    struct str sizes;              /* SECTION_SIZES */
    uint32_t *record_sizes; /* instead, without subjects: per record; NULL = none, or not known */
    struct buf owned;       /* where the two views point ... */
    struct buf opened;      /* ... or here, when they were sealed */
};
void segment_index_deinit(struct segment_index *x);

enum recovered_state {
    RECOVERED_SEALED, /* footer valid */
    RECOVERED_ACTIVE, /* the stream's last: goes on at write_offset; index is filled in */
    RECOVERED_FULL, /* all of it is good; to be sealed. The index is filled in, but for subjects and
                       sizes */
};

struct recovered_segment {
    uint64_t number;
    uint64_t base_seq;
    uint64_t next_seq; /* last sequence it covers + 1 */
    uint32_t generation, covers;
    uint32_t salt;
    uint32_t key_id; /* as segment_set_key's */
    enum recovered_state state;
    uint64_t file_bytes;
    uint64_t data_end;
    uint64_t write_offset; /* ACTIVE: next page boundary behind data_end */
    uint64_t msgs, bytes;  /* as in its summary: removed messages included */
    int64_t min_time, max_time;
    /* ACTIVE, FULL, and where subjects and sizes are left for later (they are NULL then); else
     * empty: recovered_segment_load. */
    struct segment_index index;
};

struct recovered_stream {
    struct store_object_view view; /* full = what the new log holds; no deltas */
    uint64_t version;              /* of the object: the next record gets version + 1 */
    uint8_t uuid[16];              /* rec's, and still here when rec was moved out */
    struct stream_record rec;
    struct recovered_segment *segments; /* ascending; may be empty: then create one */
    size_t nsegments;
    uint64_t last_seq; /* durable end, from segments and record */
    int64_t last_ts;
    bool adopted; /* made of the copy in a segment: the log had lost it */
    bool failed;  /* metadata or a segment not understood; why */
    char why[160];
};

struct recovered_object {
    struct store_object_view view;
    uint64_t version;
    uint64_t full_bytes, delta_bytes;
};

/* Where this worker's commit log goes on. */
struct recovered_log {
    uint64_t number; /* of the file that is open for writing */
    uint64_t file_bytes;
    uint64_t offset; /* page boundary: where the next frame goes */
    uint64_t next_commit;
    uint32_t prev_crc;
    uint32_t salt;
    int64_t created;
    uint64_t first_commit; /* of that file */
    bool spare;            /* the file with the next number is there, unused */
    bool stained;          /* old files were used for it that may hold what was erased */
};

struct recovered_worker {
    struct recovered_log log;
    struct recovered_stream *streams;
    size_t nstreams;
    struct recovered_object *objects; /* all but streams, parents before children */
    size_t nobjects;
    struct buf *blobs; /* where the views point */
    size_t nblobs;
};
void recovered_worker_free(struct recovered_worker *w);

/* Reads a sealed segment's footer (blocking) into *out, or moves what the segment has there.
 * ERR_CORRUPT, ERR_IO. */
enum err recovered_segment_load(struct store_dir *dir, const struct recovered_stream *s,
                                struct recovered_segment *segment, struct segment_index *out);

/* One section of the footer of a file that is not encrypted, appended to out, which is empty. Only
 * its sum is checked. ERR_CORRUPT, ERR_IO. */
enum err segment_section_read(struct io_fs *fs, const char *path, uint64_t file_bytes,
                              uint32_t salt, unsigned section, struct buf *out);

/* The footer's SIZES alone, for this summary: appended to out, which is empty. ERR_CORRUPT, ERR_IO,
 * ERR_NO_MEMORY. */
enum err segment_sizes_read(struct io_fs *fs, const char *path, uint64_t file_bytes, uint32_t salt,
                            const struct segment_summary *summary, struct buf *out);

/* The footer of this file, which is not encrypted. ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
enum err segment_index_read(struct io_fs *fs, const char *path, uint64_t file_bytes, uint32_t salt,
                            struct segment_index *out);

/* Object ids are never reused, without anything being stored: generation of the start, worker,
 * counter. */
static inline store_object_id store_object_id_make(uint64_t generation, unsigned worker,
                                                   uint32_t counter)
{
    return (generation << 40) | ((uint64_t) (worker & 255u) << 32) | counter;
}

#endif
