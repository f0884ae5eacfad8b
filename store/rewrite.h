/*
 * rewrite.h - the copying half of rewriting segments (rewrite_copy.c), used by rewrite.c. Private
 * to store/.
 *
 * A copy takes the records of one or several neighbouring sealed segments that are still wanted, in
 * order, and makes one new segment of them: other batches, the same sequences, times and bytes.
 * copy_begin, then copy_slice for each slice of batches, then copy_finish; or copy_abandon at any
 * point. These four block: they are called on a work thread, one at a time. Between the calls the
 * loop looks into what is marked as its own.
 */
#ifndef STORE_REWRITE_H
#define STORE_REWRITE_H

#include "store/store_impl.h"

enum { REWRITE_SOURCES = 64 };

struct copy_out; /* the batch being filled */

struct copy {
    /* Set by the loop before copy_begin, and not changed. */
    struct io_fs *fs;
    struct store_pool *pool;
    struct segment *from[REWRITE_SOURCES]; /* neighbours, ascending; sealed: what is read of them
                                              does not change */
    uint32_t nfrom;
    struct codec codec;
    store_kafka_trim_fn trim;
    struct crypt_file *crypt; /* of the new one; NULL = not encrypted */
    struct crypt_nonces nonces;
    struct segment_header header; /* of the new one */
    struct buf record;            /* header.copy */
    uint32_t epoch;
    uint64_t next_seq; /* behind the last sequence of the sources */
    char path[STORE_PATH], unfinished[STORE_PATH], dir[STORE_PATH];
    /* The next slice, set by the loop: entries [first_entry, end_entry) of from[source]. */
    uint32_t source, first_entry, end_entry;
    uint64_t *wanted; /* bit per record of the slice, from the first entry's ordinal on */
    /* Result. A record that does not verify is not copied. */
    struct segment_entry *entries;
    uint32_t nentries, entries_cap;
    struct column column, packed; /* packed by copy_finish */
    uint32_t *seqs;               /* NULL when no batch has holes */
    uint32_t seqs_cap;
    uint64_t live_size;
    int64_t min_time, max_time;
    uint64_t data_end, file_bytes;
    struct seqset damaged; /* wanted, and could not be read */
    bool kafka;            /* there is a Kafka batch in it */
    bool untrimmed;        /* the owner could not leave messages out of one: all stays as it is */
    uint64_t bytes_read;
    /* Private. */
    fs_fd in, out;
    uint32_t in_source; /* what `in` is open for */
    bool in_open, out_open, sparse;
    struct copy_out *batch;
    struct buf write; /* encoded, not yet written */
    uint64_t written; /* offset in the file of its first byte */
    struct codec_room raw, stored, bytes;
    struct buf trimmed;
    struct buf texts; /* subjects, each once */
    struct copy_text {
        uint32_t id, at, n;
    } * names;
    uint32_t nnames, names_cap;
    uint64_t *seen; /* bit per SUBJECT_SLOT */
    uint32_t seen_words;
};

/* 0 or a negative errno. */
int copy_begin(struct copy *c);
int copy_slice(struct copy *c);
/* Footer, sync, name, and the name durable: from here on a start uses the new segment. */
int copy_finish(struct copy *c);
/* Removes what was written, under either name. */
void copy_abandon(struct copy *c);
/* Frees what the result still holds; blocks no more. */
void copy_deinit(struct copy *c);

#endif
