/*
 * segment.h - the files of a stream: segment.c (making, switching, letting go), segment_write.c,
 * segment_find.c, sealing.c; rewriting them. A part of store_impl.h.
 */
#ifndef STORE_SEGMENT_H
#define STORE_SEGMENT_H

#include "lib/base/list.h"
#include "lib/base/seqset.h"
#include "lib/io/io.h"
#include "store/cache.h"
#include "store/column.h"
#include "store/segment_format.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct crypt_file;
struct rewrite;
struct segment_fences;

enum segment_state {
    SEGMENT_PREPARED,
    SEGMENT_ACTIVE,
    SEGMENT_CLOSING,
    SEGMENT_SEALED,
    SEGMENT_RELEASED
};

struct segment_entry {
    struct segment_batch b;
    uint32_t ordinal;
    uint32_t live;           /* messages that exist */
    uint64_t live_size;      /* what they count for */
    struct store_batch *mem; /* NULL = only on disk */
};

struct segment {
    struct list link; /* stream->segments, by number */
    struct store_stream *stream;
    uint64_t number;
    uint32_t generation;
    uint32_t salt;
    struct crypt_file *crypt; /* NULL: not encrypted */
    enum segment_state state;
    char *path;
    struct io_file *file; /* NULL: memory, or its file is not ready */
    bool file_ready;      /* created, allocated, and its name is durable */
    bool header_durable;
    bool first_made;    /* its file is made with directory and header page */
    bool header_coming; /* its header page is being written anew (header_copy.c) */
    bool header_again;  /* and once more then */
    bool wants_file;    /* found the disk full, or no directory yet: to be prepared again */
    bool discarded;
    bool seal_later; /* sealing found the disk full */
    uint8_t *header_page;
    struct iovec header_iov;
    struct io_op header_op, sync_op;
    uint64_t base_seq;             /* 0 until active */
    uint64_t next_seq;             /* behind the last durable sequence */
    uint64_t capacity;             /* of the file */
    bool shrunk;                   /* there was no space for a larger one */
    uint64_t end;                  /* where the next commit goes */
    uint64_t reserved;             /* worst case of batches that have no offset yet */
    struct segment_entry *entries; /* durable batches, by sequence */
    uint32_t nentries, entries_cap;
    struct column column; /* records, durable or not */
    uint32_t *seqs;       /* per record, sequence - base_seq; NULL: a batch's records are its
                             sequences in order */
    uint32_t records;     /* durable ones */
    struct segment_fences *fences; /* early_lookup.c; NULL = not read */
    enum { INDEX_HERE, INDEX_IN_FOOTER, INDEX_IN_BATCHES } index_at; /* of subjects, load_index.c */
    /* Not INDEX_HERE: records that a start found, whose subjects are not known, and their bytes. */
    uint32_t unnamed;
    uint64_t unnamed_bytes;
    uint64_t footer_msgs; /* as its summary says */
    bool partly;          /* some of them were gone when the stream was opened */
    uint64_t live, live_size;
    int64_t min_time, max_time;
    uint32_t commits; /* in flight */
    /* Page cache and checkpoint. */
    struct list unwritten; /* store_batch.write: in the log only; offsets ascending, contiguous */
    uint64_t unwritten_bytes;
    uint32_t unwritten_n;
    uint32_t writes;        /* io_write in flight */
    bool checkpoint_due;    /* when the writes in flight are through */
    bool syncing;           /* a sync (or commit) in flight will clear log_from */
    bool flushed;           /* written by segment_flush, and no sync since: no commit covers it */
    uint64_t syncing_to;    /* last sequence that the sync in flight covers */
    bool unsynced;          /* async level: written and not synced */
    bool erasing;           /* one at a time */
    uint64_t log_from;      /* oldest log file with data that is not synced here */
    uint64_t log_after;     /* the same for data placed since the sync in flight began */
    struct list logged;     /* store->logged, while log_from is set */
    uint64_t release_after; /* log commit that must be durable before the file may go */
    /* Rewriting. */
    uint32_t covers;           /* numbers behind its own that it stands for */
    uint64_t full_size;        /* about what its records count for, removed ones included */
    struct rewrite *rewrite;   /* is being rewritten */
    unsigned rewrite_why;      /* REWRITE_*, while it is on store->rewrites */
    struct list rewrite_link;  /* store->rewrites */
    bool replaced;             /* by a newer generation: it goes when nobody uses it any more */
    bool not_rewritten;        /* something in it is damaged: it stays as it is */
    bool kafka;                /* has a Kafka batch */
    bool ruined;               /* the last of its messages was lost: its file is kept */
    bool untrimmed;            /* as not_rewritten: the owner can not leave out what is removed */
    bool secret;               /* its file must not be kept in the pool */
    struct list erasures;      /* struct erasure.of_segment */
    uint32_t nerasures;        /* each is one of the jobs */
    struct list erased;        /* the same: they wait for the file of this replaced one to go */
    uint32_t jobs;             /* work, reads, syncs in flight that use it */
    struct list fetches;       /* struct fetch */
    uint64_t read_once;        /* bytes of fetches past the page cache (cache.c) */
    struct lendable *lendable; /* per entry (lend.c); NULL = none yet */
};

/* A segment that exists in memory only; its file is made by segment_prepare. */
struct segment *segment_new(struct store_stream *s, uint64_t number, uint32_t generation,
                            uint64_t capacity);
void segment_free(struct segment *seg);
uint64_t segment_next_capacity(const struct store_stream *s, uint64_t need);
/* A recovered one: with the key that its header page names; 0 = none. */
void segment_set_key(struct segment *seg, uint32_t key_id);
/* What a batch that is built will take on disk. */
static inline uint32_t batch_disk_bytes(const struct store_batch *b)
{
    const struct batch_builder *d = &b->builder;

    return LIKELY(b->segment->crypt == NULL)
               ? batch_bytes(d)
               : batch_encrypted_bytes(d->count * BATCH_ENTRY, d->body_len);
}
/* Creates the file on a work thread. */
void segment_prepare(struct segment *seg);
/* The stream's first: base_seq is known, so that the work thread writes the header page too. */
void segment_prepare_first(struct segment *seg, uint64_t base_seq);
/* Its header page, with a copy of the stream's record as it is now. The caller frees it. */
uint8_t *segment_make_header(struct segment *seg);
/* The stream was updated: the copy in the active segment's header page follows (header_copy.c). */
void segment_copy_record(struct segment *seg);
/* A prepared one that is not needed. */
void segment_discard(struct segment *seg);
/* Becomes the active one: base_seq is known, the header page goes out. */
void segment_header_if_due(struct segment *seg);
/* Nothing in `first` and behind it is durable, and nothing waits for them any more: first is the
 * active one, empty, and those behind it have never been. */
void segment_withdraw(struct segment *first);
void segment_activate(struct segment *seg, uint64_t base_seq);
/* Can a commit begin in it now? */
static inline bool segment_ready(const struct segment *seg)
{
    return seg->header_durable;
}
/* A recovered one: its file is there. */
void segment_adopt(struct segment *seg, uint64_t base_seq);
struct segment_entry *segment_new_entry(struct segment *seg);
/* The batch, next in order, became durable. */
void segment_add_entry(struct segment *seg, struct store_batch *b);
/* Record i < e->b.count of the entry. */
static inline uint64_t entry_seq(const struct segment *seg, const struct segment_entry *e,
                                 uint32_t i)
{
    return seg->seqs == NULL ? e->b.first_seq + i : seg->base_seq + seg->seqs[e->ordinal + i];
}
/* The entry's first record at or behind seq; e->b.count when there is none. */
uint32_t entry_from(const struct segment *seg, const struct segment_entry *e, uint64_t seq);
/* The entry's record of seq; false when it has none. */
bool entry_find(const struct segment *seg, const struct segment_entry *e, uint64_t seq,
                uint32_t *i);
/* The entry that covers seq or the first behind it; false when none. */
bool segment_find(const struct segment *seg, uint64_t seq, uint32_t *entry);
/* Where the next batch may begin. */
uint64_t segment_behind(const struct store_batch *b);
/* A batch's pieces as vectors (at most 2; one, whole pages, of a batch with pages of its own), and
 * zeros from end to the next page (at most 1). */
unsigned segment_iov(struct iovec *iov, const struct store_batch *b);
unsigned segment_iov_padding(struct iovec *iov, uint64_t end);
void segment_put_unwritten(struct segment *seg, struct store_batch *b);
/* Takes all unwritten batches, each with a reference; *offset = where the first lies (or seg->end).
 */
uint32_t segment_take_unwritten(struct segment *seg, struct store_batch **batches,
                                uint64_t *offset);
/* Writes unwritten batches to the page cache. */
void segment_flush(struct segment *seg);
void segment_flush_if_due(struct segment *seg);
/* Flushes, then syncs, so that log_from moves on. */
void segment_checkpoint(struct segment *seg);
/* Async level: written without a sync; a timer brings one. */
void segment_unsynced(struct segment *seg);
/* A sync that covers everything placed so far has begun / ended well. */
void segment_sync_begin(struct segment *seg);
void segment_sync_end(struct segment *seg);
void segment_log_placed(struct segment *seg, uint64_t log_file);
/* The disk was full; perhaps it is not any more. */
void segments_retry(struct store_stream *s);
/* What follows when something in flight ended: closing, sealing, releasing. */
void segment_advance(struct segment *seg);
/* Writes the footer on a work thread (sealing.c). */
void segment_seal(struct segment *seg);
/* Number of the first durable record at or behind seq; seg->records when there is none. */
uint32_t segment_ordinal(const struct segment *seg, uint64_t seq);
/* The entry that holds this record, and its sequence. */
uint32_t segment_entry_at(const struct segment *seg, uint32_t ordinal);
uint64_t segment_seq(const struct segment *seg, uint32_t ordinal);
/* Puts `seg` in the place of the n segments from `first` on, which stay until nothing uses them
 * (segment_drop_replaced). */
void segment_replace(struct segment *first, uint32_t n, struct segment *seg);
void segment_drop_replaced(struct segment *seg);
/* The segment whose durable range holds seq, or the next one; NULL behind the end. */
struct segment *stream_segment_of(const struct store_stream *s, uint64_t seq);
struct segment *segment_after(const struct segment *seg);

/* lend.c: the batch was read from the disk and all of it verified. */
void segment_note_verified(struct segment *seg, const struct store_batch *b);

/* ---- rewriting sealed segments (rewrite.c) ---- */

enum {
    REWRITE_COMPACT = 1, /* less than half of it is live, or nothing */
    REWRITE_COMPRESS = 2,
    REWRITE_ERASE = 4, /* a message is to be erased that can not be in place */
};

/* Asks for it; it is looked at again when its turn comes. */
void rewrite_want(struct segment *seg, unsigned why);
/* The segment was sealed, or loaded, or lost a message: does it want to be rewritten? */
void rewrite_consider(struct segment *seg);
/* A message of a segment that is being rewritten is gone; or all messages of the stream. */
void rewrite_removed(struct segment *seg, uint64_t seq);
void rewrite_stale(struct store_stream *s);
/* Begins the next one. */
void rewrites_step(struct store *st);
/* As far as Kafka batches go. */
bool rewrite_possible(const struct segment *seg);
/* Takes it off the queue. */
void rewrite_forget(struct segment *seg);

#endif
