/*
 * store_impl.h - the structures of a running store and which file owns them. Private to store/.
 *
 *     store.c       open, step, close, statistics; deferred callbacks       struct store
 *     stream.c      life cycle, append, skip                                struct store_stream
 *     commit.c      from gathered batches to committed()                    struct commit
 *     segment.c     files of a stream; segment_write.c, segment_find.c      struct segment
 *     sealing.c     packing and footers on a work thread, releasing
 *     commit_log.c  frames, files, freeing                                  struct clog
 *     twin.c        the second copy of what the log says of objects          struct twin
 *     object.c      objects and stream records                              struct object
 *     cache.c       batches in memory, fetching cold ones                   struct store_batch
 *     filter.c      which subject ids a set of patterns matches             struct filter
 *     index.c       where the messages of given subjects are
 *     early.c       the same for a few, before the index has been read
 *     header_copy.c the copy of a record in the active segment, after an update
 *     lasts.c       snapshots of the last messages of all subjects
 *     held.c        async level: what limits took, and the record does not say yet
 *     reader.c, query.c, remove.c, limits.c, check.c
 *
 * How a message travels: store_append puts it into the stream's open batch. When the batch is full,
 * or its commit begins, it is closed and joins `gathered`. A commit takes all gathered batches,
 * gives them their offsets, and goes one of four routes (enum route). Commits of a stream finish in
 * order: then their batches enter the segment's index, their records the subject states, and
 * committed() is called.
 */
#ifndef STORE_STORE_IMPL_H
#define STORE_STORE_IMPL_H

#include "lib/base/hmap.h"
#include "lib/base/seqset.h"
#include "lib/io/io.h"
#include "store/batch.h"
#include "store/codec.h"
#include "store/column.h"
#include "store/commit.h"
#include "store/crypt.h"
#include "store/dir.h"
#include "store/id_set.h"
#include "store/log_format.h"
#include "store/plant.h"
#include "store/segment_format.h"
#include "store/store.h"
#include "store/stream_record.h"
#include "store/subjects.h"
#include "store/twin.h"

#define NO_LOG_FILE UINT64_MAX

/* ---- batches in memory (cache.c) ---- */

struct store_batch {
    /* Hot for readers. */
    uint64_t first_seq;
    uint32_t span;
    uint32_t count;
    bool plain; /* every sequence of it has a message that exists: index = seq - first_seq */
    struct batch_view view;                /* valid once sealed or fetched */
    struct chunk *body_chunk, *meta_chunk; /* one reference each; meta_chunk NULL when fetched */

    struct list link;  /* gathered, a commit's batches, or the cache's LRU (when nothing else holds
                          it) */
    struct list write; /* segment's unwritten */
    struct store_stream *stream;
    struct segment *segment;
    uint32_t entry; /* in segment->entries, once durable */
    uint32_t refs;  /* readers, writers; above 0 it can not be evicted */
    bool durable, cached;
    bool written; /* the segment's file has it */
    bool skip;
    bool pages;       /* in its segment it has whole pages to itself, in memory one piece */
    uint32_t bytes;   /* on disk, without what fills its last page */
    uint32_t decoded; /* table and body in memory, when they are not as on disk; else 0 */
    uint32_t ordinal; /* of its first record in the column */
    uint64_t offset;
    uint64_t size;     /* sum of store_msg_bytes */
    uint32_t reserved; /* what it holds of segment->reserved */
    struct batch_builder builder;
    uint64_t *bad; /* bit per damaged record, NULL = none */
    /* A Kafka batch whose messages were asked for (kafka.c). */
    struct chunk *messages;
    uint32_t opened; /* bytes of it */
    struct batch_view inner;
    uint8_t *disk; /* sealed, for an encrypted segment, from its commit until it is written */
};

struct cache {
    struct list lru; /* most recent first */
    uint64_t bytes, limit;
    uint64_t ahead; /* bytes being read that nobody waited for when it began */
    uint64_t hits, misses;
};

struct store;
struct store_batch *batch_new(struct store_stream *s);
void batch_free(struct store_batch *b);
static inline bool batch_is_kafka(const struct store_batch *b)
{
    return b->view.h.kind == BATCH_KAFKA;
}
/* kafka.c: the batch's messages lie in b->inner and b->messages from now on. False without memory.
 */
bool batch_open_kafka(struct store_batch *b);
static inline void batch_ref(struct store_batch *b)
{
    b->refs++;
}
void batch_unref(struct store_batch *b);
/* Durable and in a file (or memory for good): may be evicted from now on when nobody holds it. */
void cache_add(struct store *st, struct store_batch *b);
void cache_touch(struct store *st, struct store_batch *b);
void cache_shrink(struct store *st, uint64_t limit);
uint64_t batch_memory(const struct store_batch *b);
/* Where the message is in b->view; false when it is not there, or damaged. */
bool batch_record_of(const struct store_batch *b, uint64_t seq, uint32_t *i);
/* Begins reading the batch at entry, which holds seq, from disk; the waiter (its wait_link) is told
 * when it is there and holds it then. */
void cache_fetch(struct segment *seg, uint32_t entry, uint64_t seq, struct store_reader *waiter);
/* A reader goes from batch to batch and holds that of `entry`: fetches the next ones if they are
 * cold. */
void cache_read_ahead(struct segment *seg, uint32_t entry);

/* Room for open batches: regions of shared chunks, so that quiet streams do not hold a chunk each.
 */
struct region_pool {
    struct chunk *chunk;
    uint32_t used, class_bytes;
};
struct region {
    struct chunk *chunk;
    uint8_t *p;
    uint32_t bytes;
};
bool region_take(struct store *st, struct region_pool *pool, uint32_t bytes, struct region *out);
/* Gives back what lies behind `used` if nothing was taken since. */
void region_trim(struct region_pool *pool, const uint8_t *end_used, const uint8_t *end);

/* ---- segments (segment.c, segment_write.c, segment_find.c) ---- */

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
    uint32_t covers;          /* numbers behind its own that it stands for */
    uint64_t full_size;       /* about what its records count for, removed ones included */
    struct rewrite *rewrite;  /* is being rewritten */
    unsigned rewrite_why;     /* REWRITE_*, while it is on store->rewrites */
    struct list rewrite_link; /* store->rewrites */
    bool replaced;            /* by a newer generation: it goes when nobody uses it any more */
    bool not_rewritten;       /* something in it is damaged: it stays as it is */
    bool kafka;               /* has a Kafka batch */
    bool ruined;              /* the last of its messages was lost: its file is kept */
    bool untrimmed;           /* as not_rewritten: the owner can not leave out what is removed */
    bool secret;              /* its file must not be kept in the pool */
    struct list erasures;     /* struct erasure.of_segment */
    uint32_t nerasures;       /* each is one of the jobs */
    struct list erased;       /* the same: they wait for the file of this replaced one to go */
    uint32_t jobs;            /* work, reads, syncs in flight that use it */
    struct list fetches;      /* struct fetch */
    uint64_t read_once;       /* bytes of fetches past the page cache (cache.c) */
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

/* ---- streams (stream.c) ---- */

enum stream_state { STREAM_LOADING, STREAM_ACTIVE, STREAM_FAILED, STREAM_DELETING };

/* What limits took while messages up to `until` were not synced (held.c). */
struct held {
    struct seqset set;
    uint64_t until;
};

struct store_stream {
    /* Hot for append. */
    struct store *store;
    enum stream_state state;
    enum store_level level;
    struct store_batch *open;
    struct subject *memo; /* of the last append */
    uint32_t memo_id;
    uint64_t last_assigned;
    uint64_t open_msgs, open_size; /* of messages assigned and not durable */
    int64_t last_ts_assigned;
    bool dirty; /* on store->dirty */
    bool rings; /* subjects keep rings */
    uint8_t flags_seen;

    /* Durable state. */
    uint64_t last_seq, first_seq; /* first_seq = last_seq + 1 when empty */
    uint64_t synced_seq; /* async level: below last_seq by what is only in the page cache */
    uint64_t msgs, bytes;
    int64_t first_ts, last_ts;
    int64_t first_ts_latest; /* first_ts, or later when that is only a lower bound */
    struct subjects subjects;
    struct index_loader *loader; /* subjects and columns are not complete; NULL = they are */
    struct early *early;    /* subjects that were asked for meanwhile (early.c); NULL = none yet */
    uint64_t subjects_seen; /* while they are not: there are at least so many */
    /* What the log keeps of it. Always current: name, config, limits, removed (interior; skipped
     * ones too), lost_*, segments; first_seq, last_seq, last_ts are filled in when it is rendered.
     */
    struct stream_record rec;
    /* What limits took since the log was last told: interior ones; and whether first_seq moved. */
    struct seqset unlogged;
    bool unlogged_head;
    struct held held[2]; /* async level: since the last sync began, and before */

    /* Gathering and committing. */
    struct list dirty_link;
    struct list claim_link;  /* store->claims */
    uint64_t claim_seen;     /* last_seq when the timer fired last */
    struct list gathered;    /* closed batches */
    uint64_t gathered_bytes; /* on disk, without the open one */
    uint32_t gathered_n;
    uint32_t body_hint; /* size of the next open batch's body */
    struct list commits;
    unsigned inflight;

    /* Segments. */
    struct list segments;
    struct segment **index; /* the same, by number: for binary search */
    uint32_t nindex, index_cap;
    struct segment *active, *next;
    uint8_t compression; /* enum batch_codec of sealed segments */
    uint64_t next_number;
    uint64_t disk_bytes; /* capacity of all segments */
    bool no_space;
    bool dir_coming; /* its directory is being made, with the first segment */

    /* Owner and record. */
    struct list link; /* store->streams */
    struct object *object;
    const struct store_stream_ops *ops;
    void *ctx;
    char *name;
    char *dir;
    struct list readers;
    struct list filters;
    struct list lasts; /* struct store_lasts that walk */
    uint32_t *born;    /* ids of new subjects, the last FILTER_BORN; NULL = none yet */
    uint64_t nborn;
    bool loading;   /* being attached: removals are not told */
    bool trim_due;  /* over a limit: limits_step has work */
    uint32_t *over; /* ids of subjects over their limit, from the commit just merged */
    uint32_t nover, over_cap;
    uint64_t swept; /* no subject has more messages than this, but for `over`; of limits per subject
                     */
    bool sweep;     /* subjects from this text on may be over a lowered limit */
    struct buf sweep_at;
    struct list task_link; /* store->tasks */
    struct list tasks;     /* struct task: purges, counts */
    struct wheel_timer age_timer;
    struct store_req *create_req; /* the owner's; waits for create_log and the first segment */
    struct store_req create_log;
    unsigned create_waits;
    enum err create_err;
    struct store_req *delete_req;
    struct store_req delete_log;
    struct clog_file *delete_pin;
    bool delete_durable, files_gone;
    bool render_config; /* ask the owner for its blob when the record is rendered */
    uint32_t jobs;      /* in flight that need the struct */
    bool failing;       /* failed() is still to be called */
    enum err fail_err;
    char fail_why[160];
};

struct store_stream *stream_new(struct store *st, struct str name, enum store_level level);
void stream_bind(struct store_stream *s, struct object *o, const struct store_stream_ops *ops,
                 void *ctx);
void stream_gather_open(struct store_stream *s);
/* What is appended from now on goes into another segment than the active one; not at once, when
 * that has no file yet: to be asked again. */
void stream_end_segment(struct store_stream *s);
void stream_mark_dirty(struct store_stream *s);
/* Everything assigned and not durable is gone: batches, commits, overlay. */
void stream_drop_assigned(struct store_stream *s);
void stream_fail(struct store_stream *s, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Appends the stream's full record. */
void stream_render(struct store_stream *s, struct buf *out);
/* The copy of its record for a header page, sealed when crypt is not NULL; false: too large. */
bool stream_copy(struct store_stream *s, const struct crypt_file *crypt,
                 struct crypt_nonces *nonces, struct buf *out);
void stream_first_segment(struct store_stream *s, enum err err);
void stream_close(struct store_stream *s);
void reader_detach(struct store_reader *r);
/* Moves r->seq to the next message that exists and matches: MSG, END or WAIT. */
enum store_read reader_find_next(struct store_reader *r);
/* The batch with seq, held by the reader; NULL when it must be fetched (which has begun). */
struct store_batch *reader_hold_seq(struct store_reader *r, uint64_t seq);
/* Without memory: asked again later. */
enum store_read reader_wait_for_memory(struct store_reader *r, uint64_t seq);
void reader_let_go(struct store_reader *r);
/* Message i of a batch that the reader holds. */
enum store_read reader_fill(struct store_reader *r, struct store_batch *b, uint32_t i,
                            struct store_msg *out);
/* The reader holds nothing yet. */
void reader_hold(struct store_reader *r, struct store_batch *b);
/* Frees it when it is DELETING and nothing in flight needs it. */
void stream_maybe_free(struct store_stream *s);
/* Highest sequence that a start will certainly find: what a batch header or a record may claim. */
static inline uint64_t stream_proven(const struct store_stream *s)
{
    if (PLANTED(PLANT_PROVEN_EARLY))
        return s->last_assigned;
    return s->level == STORE_ASYNC ? s->synced_seq : s->last_seq;
}
/* Async level (held.c): limits took these; the record is to say so only when what is durable now is
 * synced. The second one passes over what is removed already. */
void stream_hold(struct store_stream *s, uint64_t first, uint64_t last);
void stream_hold_range(struct store_stream *s, uint64_t first, uint64_t last);
static inline bool stream_holds_any(const struct store_stream *s)
{
    return s->held[0].set.count != 0 || s->held[1].set.count != 0;
}
bool stream_holds(const struct store_stream *s, uint64_t first, uint64_t last);
/* UINT64_MAX when there is none. */
uint64_t stream_first_held(const struct store_stream *s);
void held_take_out(const struct store_stream *s, struct seqset *set);
/* Those from `from` on. */
void held_put_in(const struct store_stream *s, uint64_t from, struct seqset *set);
/* synced_seq has moved. */
void stream_held_synced(struct store_stream *s);
/* Before a request that makes room: the record may be told everything. */
void stream_let_go_of_held(struct store_stream *s);
/* first_seq as far as a record may claim it. */
uint64_t stream_first_proven(const struct store_stream *s);
/* Appends to a delta what is proven durable. */
void stream_claim_durable(const struct store_stream *s, struct buf *delta);
/* The same: everything below first_seq is gone. */
void stream_claim_first(struct store_stream *s, struct buf *delta);
/* The same: what limits took. Goes before a removal on request, which may make room below a limit:
 * a start would find no reason any more to take them again. */
void stream_claim_limits(struct store_stream *s, struct buf *delta);
/* The same, and, when the limit per subject has taken what it takes of everything durable, that it
 * has: then a start need not apply it to know what is there. */
void stream_claim_applied(struct store_stream *s, struct buf *delta);
static inline bool stream_in_file(const struct store_stream *s)
{
    return s->level != STORE_MEMORY;
}

/* ---- objects (object.c) ---- */

struct object {
    struct hmap_node node;
    store_object_id id, parent;
    unsigned kind;
    uint64_t version;
    store_render_fn render; /* NULL: raw is kept as it is */
    void *ctx;
    struct str raw_full; /* recovered and not attached, or as_found */
    struct str *raw_deltas;
    unsigned nraw;
    bool raw_coming; /* they are being written again */
    bool as_found;   /* a stream that could not be loaded: raw stands for it, no change is logged */
    uint64_t full_bytes, delta_bytes;
    struct clog_file *home; /* file of its last full record */
    struct list home_link;
    struct list refresh; /* clog->refresh: wants a new full record */
    struct list children, sibling;
    bool in_memory; /* never logged */
    struct store_stream *stream;
};

struct object *object_find(struct store *st, store_object_id id);
struct object *object_new(struct store *st, store_object_id id, unsigned kind,
                          store_object_id parent);
void object_free(struct store *st, struct object *o);
store_object_id object_next_id(struct store *st);
/* Appends its full record; false when nobody can render it: raw_full and raw_deltas stand for it.
 */
bool object_render(struct object *o, struct buf *out);
/* Nobody attached it: keeps copies of what was recovered. */
void object_keep_raw(struct object *o, const struct store_object_view *v);
/* Logs the removal of it and all below, and forgets them. */
void object_delete_tree(struct store *st, struct object *o, struct store_req *req);
void objects_free_all(struct store *st);

/* ---- the worker's commit log (commit_log.c) ---- */

struct clog_file {
    struct list link;
    uint64_t number;
    uint64_t bytes; /* 0 = not known: it is not recycled */
    bool written;   /* a spare: all its blocks hold something */
    char *path;
    struct io_file *file;
    uint32_t salt;
    uint64_t first_commit;
    struct list objects; /* last full record is here */
    uint64_t free_after; /* log commit that must be durable before it may be freed */
    uint32_t pins;       /* what else needs it, or a later one */
};

/* One frame in flight. */
struct log_commit {
    struct list link;
    struct store *store;
    struct log_frame frame;
    struct io_op op;
    struct iovec iov[3];
    uint8_t *header;  /* header page when it is the file's first frame */
    struct list data; /* struct commit by log_link */
    struct list reqs;
    uint64_t number;
    uint64_t bytes;
    struct clog_file *file;
    bool done, busy;
    int64_t result;
};

enum { LOG_INFLIGHT = 2 };

struct clog {
    struct store *store;
    struct list files;       /* oldest first; the last one is written */
    struct clog_file *spare; /* allocated, name durable, not begun */
    bool spare_coming;
    uint64_t file_bytes; /* of new files */
    uint64_t next_number;
    uint64_t offset; /* in the current file */
    uint64_t next_commit, durable_commit;
    uint32_t prev_crc;
    bool begin_file;  /* the current file has no header page yet */
    struct buf queue; /* struct queued + bytes, in order */
    uint32_t queued_n;
    uint64_t queued_bytes; /* log_record_bytes of them */
    struct list reqs;      /* wait for the queue to be durable */
    bool urgent;           /* somebody waits for the queue */
    struct wheel_timer ride;
    struct list refresh; /* objects to be rendered into the next frame */
    bool refresh_now;    /* even if nothing else asks for a frame */
    bool spare_wanted;   /* it could not be made; the retry timer asks again */
    bool said_spare;     /* ... and that was logged */
    bool waits_for_file; /* a frame is due and has no room */
    struct buf scratch;
    struct crypt_file crypt; /* its key; id 0: records are not sealed */
    struct buf sealed;
    struct log_commit slots[LOG_INFLIGHT];
    struct list inflight; /* slots, oldest first */
    unsigned ninflight;
    bool failed;
};

void clog_init(struct store *st);
void clog_deinit(struct store *st);
/* Queues a record; bytes are copied. req may be NULL: then it rides. */
void clog_put(struct store *st, enum log_type type, struct object *o, struct str bytes,
              struct store_req *req);
/* Queues bytes as they will be written over those in the segment. False: too large. */
bool clog_put_image(struct store *st, const struct object *o, uint64_t segment, uint64_t offset,
                    struct str bytes, struct store_req *req);
/* The last record of all: a clean close. */
void clog_put_close(struct store *st, struct store_req *req);
/* Completes req when everything queued or in flight so far is durable. */
void clog_barrier(struct store *st, struct store_req *req);
static inline struct clog_file *clog_writing(const struct clog *l)
{
    return LIST_ENTRY(l->files.prev, struct clog_file, link);
}
/* What is queued from now on stays in the log until pins of the returned file goes down. */
struct clog_file *clog_pin(struct store *st);
/* Begins frames; true when one began. */
bool clog_try(struct store *st);
/* Something was queued with urgency after clog_try, and nothing in flight will call it again. */
bool clog_waits_for_step(const struct store *st);
/* log_files.c */
struct clog_file *clog_add_file(struct store *st, uint64_t number, uint64_t bytes);
void clog_file_header(struct store *st, struct clog_file *f, uint8_t **page);
struct clog_file *clog_file_new(struct store *st, uint64_t number);
void clog_file_free(struct store *st, struct clog_file *f);
/* log_spare.c */
/* Goes on in the spare; false when it is still being made. */
bool clog_switch(struct store *st);
/* Makes one, or of the freed file at this path (which becomes the callee's; NULL = none). */
void clog_make_spare(struct store *st, char *recycled);
/* Sees to it that there is one, and that it is written over before it is needed. */
void clog_want_spare(struct store *st);
/* After a full disk: tries again. */
void clog_retry_spare(struct store *st);
/* One that a start has found. */
void clog_adopt_spare(struct store *st);
/* Another file can not be made, and half of this one is used. */
static inline bool clog_short(const struct clog *l)
{
    return l->spare_wanted && l->spare == NULL && l->offset > l->file_bytes / 2;
}
/* A frame is due, the file is full, and another one can not be made. */
static inline bool clog_stuck(const struct clog *l)
{
    return l->waits_for_file && l->spare == NULL && l->spare_wanted && !l->spare_coming;
}
void clog_files_close(struct store *st);
/* Keeps the log short: asks for checkpoints and renders, frees the oldest file. */
void clog_maintain(struct store *st);
void clog_fail(struct store *st, enum err err, const char *why);
/* The store closes while the log is stuck: what waits for a frame is refused. */
void clog_give_up(struct store *st);

/* ---- filters (filter.c) ---- */

enum { FILTER_FEW = 32, FILTER_BORN = 1024, FILTER_PATIENCE = 16384 };

struct filter {
    struct list link; /* stream->filters */
    struct store_stream *stream;
    uint32_t refs;
    unsigned n;
    struct str *patterns; /* copies */
    bool asked;           /* whether they are few */
    bool wanted;          /* its subjects are being looked up (early.c) */
    bool few;             /* ids are all that match, as of `seen` */
    bool sieved;          /* sieve is all that match, as of `seen`, and they are not few */
    unsigned nids;
    uint64_t seen;    /* of stream->nborn */
    uint8_t *verdict; /* by slot: 0 not asked yet, 1 no, 2 yes */
    uint32_t cap;
    struct id_set sieve;
    /* Of many: records looked at, and after how many it is tried whether a sieve holds them. */
    uint64_t looked, patience;
    uint32_t ids[FILTER_FEW];
};

/* NULL for "everything" (no pattern, or one that is ">"). */
struct filter *filter_get(struct store_stream *s, const struct str *patterns, unsigned n);
void filter_put(struct filter *f);
bool filter_ask(struct filter *f, uint32_t id);
static inline bool filter_matches(struct filter *f, uint32_t id)
{
    if (f->sieved)
        return id_set_has(&f->sieve, id);
    if (LIKELY(SUBJECT_SLOT(id) < f->cap && f->verdict[SUBJECT_SLOT(id)] != 0))
        return f->verdict[SUBJECT_SLOT(id)] == 2;
    return filter_ask(f, id);
}
/* Before asking anything: new subjects are taken in. */
void filter_prepare(struct filter *f);
/* First existing sequence in [*from, last] that matches, looking at most at *budget records; or 0:
 * then *from is where to go on, behind last when it is through. */
uint64_t filter_scan(struct filter *f, uint64_t *from, uint64_t last, uint32_t *budget);
bool filter_matches_text(const struct filter *f, struct str subject);
/* Messages of all subjects that match. Costs as much as there are subjects of that kind. */
uint64_t filter_total(struct filter *f);
/* Bounds of what can match: no match below first or above last. */
uint64_t filter_first(struct filter *f);
uint64_t filter_last(struct filter *f);
/* A new subject got this id. */
void filters_note_subject(struct store_stream *s, uint32_t id);

/* ---- the index of subjects (index.c) ---- */

/* First existing message of any of the subjects in [*from, last], while the budget lasts; or 0:
 * then *from is where to go on, behind last when it is through. */
uint64_t index_next(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                    uint64_t last, uint32_t *budget);
/* Last existing message of the subject below this sequence; 0 = none. */
uint64_t index_prev(const struct store_stream *s, uint32_t id, uint64_t below);
/* The same, above another one: behind it all records have their ids. */
uint64_t index_prev_above(const struct store_stream *s, uint32_t id, uint64_t below,
                          uint64_t above);
/* Adds to *count the existing messages of the subjects (each once in ids) in [*from, last], while
 * the budget lasts; it is through when *from is behind last. */
void index_count(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                 uint64_t last, uint64_t *count, uint32_t *budget);
/* First existing message of a subject that has one. */
uint64_t index_first(struct store_stream *s, uint32_t id);

/* ---- an index that is not complete (load_index.c) ---- */

/* Some segments of the stream are not INDEX_HERE. */
void index_loader_start(struct store_stream *s);
void index_loader_free(struct store_stream *s);
void index_load_all(struct store_stream *s);
/* load_limits.c, while a stream is opened and has a loader: removes what the limit per subject took
 * that the record does not say. False: it has to be told from the whole index. */
bool load_limits(struct store_stream *s);
/* It is being read, and nobody needs to ask for that. */
bool index_comes(const struct store_stream *s);
/* Ids and sizes of a segment's records from its file; keeps the subjects as pending. An error when
 * the file can not be read; what is damaged has id and size 0. */
enum err index_fill_from_batches(struct store_stream *s, struct segment *seg);
/* Tells of every readable record of the segment's batches that reach behind this sequence, in
 * order.
 */
typedef void index_each_fn(void *ctx, uint64_t seq, struct str subject, uint32_t size);
enum err index_each_in_batches(struct store_stream *s, struct segment *seg, uint64_t behind,
                               index_each_fn *fn, void *ctx);
/* A message that was removed before its subject was known: its record is taken out at the end. */
void index_remove_later(struct store_stream *s, uint64_t seq);
/* The size of one of those, once; 0 = not known. And how many bytes of the stream's are theirs. */
void index_late_size(struct store_stream *s, uint64_t seq, uint32_t size);
uint64_t index_late_bytes(const struct store_stream *s);
/* Seals segments that a start has left unsealed. */
void segments_seal_full(struct store_stream *s);
/* Before looking at subjects, or at the columns of segments. Holds the worker until it is read. */
static inline void stream_need_index(struct store_stream *s)
{
    if (UNLIKELY(s->loader != NULL))
        index_load_all(s);
}

/* ---- lists of last messages (lasts.c) ---- */

void lasts_note_all(struct store_stream *s, uint32_t id);
/* Before the subject's last message becomes another one. */
static inline void lasts_note(struct store_stream *s, uint32_t id)
{
    if (UNLIKELY(!list_empty(&s->lasts)))
        lasts_note_all(s, id);
}
/* No message is left: what was not listed yet is gone. */
void lasts_end_all(struct store_stream *s);

/* ---- tasks: sliced work ---- */

struct task {
    struct list link; /* stream->tasks */
    struct store_stream *stream;
    struct store_req *req;
    bool parked; /* waits for a reader, or for work */
    bool loads;  /* the index; the others wait for it */
    /* Does some of it, at most about 20 us; true when finished (then free is called). */
    bool (*step)(struct task *t);
    void (*free)(struct task *t);
};

void task_start(struct store_stream *s, struct task *t);
void stream_has_tasks(struct store_stream *s);
/* Completes all with err. */
void tasks_cancel(struct store_stream *s, enum err err);

/* ---- removal (remove.c, limits.c) ---- */

/* Takes one existing message out of all indexes; stream_settle_first must follow. */
void remove_one(struct store_stream *s, uint64_t seq);
/* The rest of it, for one that was removed while the index was being read. */
void remove_noted(struct store_stream *s, uint64_t seq);
/* Removes messages from the first on, below sequence max, at most limit of them; how many. */
uint64_t remove_head(struct store_stream *s, uint64_t max, uint32_t limit,
                     enum store_reason reason);
uint64_t remove_everything(struct store_stream *s, enum store_reason reason);
bool message_exists(const struct store_stream *s, uint64_t seq);
bool limits_over(const struct store_stream *s);
/* After commits or a change of limits: is anything over? */
void limits_check(struct store_stream *s);
/* The subject has more messages than the limit per subject allows. */
void limits_subject(struct store_stream *s, uint32_t id);
/* This message goes, by a limit. */
void limits_take(struct store_stream *s, uint64_t seq);
/* Removes what is over, in slices; true when more is to do. */
bool limits_step(struct store_stream *s);
/* (Re)starts the timer of the oldest message's age. */
void limits_timer(struct store_stream *s);
/* Keeps or drops rings as the limit per subject asks. */
void limits_rings(struct store_stream *s);
/* Advances first_seq behind removed sequences. */
void stream_settle_first(struct store_stream *s);
/* erase.c: the request that the intent's record completes; req (may be NULL) follows when the bytes
 * are gone. */
struct store_req *erase_start(struct store_stream *s, uint64_t seq, struct store_req *req);
/* Goes on with what the last run did not finish: the intents in the record. */
void erase_resume(struct store_stream *s);
void erasures_step(struct store *st);
/* Does one of them wait for the segment to be rewritten? */
bool erasures_want_rewrite(const struct segment *seg);
/* `to` has taken the place of `from`, without the messages that were removed before; late: those
 * that it may have nevertheless. */
void erasures_rewritten(struct segment *from, struct segment *to, const struct seqset *late);
/* The file of a segment that was replaced has gone: the requests of these are through. */
void erasures_tell(struct list *erased);
/* Lets go of leading segments without messages. */
void segments_release(struct store_stream *s);
/* Of this one, wherever it is, if nothing uses it. */
void segment_release_empty(struct segment *seg);
/* Queues what removed() is to be told; removals_tell tells it. */
void removals_tell(struct store *st);
void stream_removed(struct store_stream *s, uint64_t first, uint64_t last, uint64_t msgs,
                    enum store_reason reason);

/* ---- the store (store.c) ---- */

struct store {
    struct store_dir *dir;
    unsigned worker;
    struct io *io;
    struct chunk_pool *chunks;
    struct log *log;
    struct store_options options;
    uint8_t uuid[16];
    uint64_t generation;
    struct prng prng;
    struct crypt_nonces nonces;
    struct list streams;
    struct list dirty;
    struct list tasks;    /* streams with tasks or trims */
    struct list logged;   /* segments by log_from */
    struct list deferred; /* struct deferred */
    struct list removals; /* removed() to be called */
    struct list erasures; /* wait for their batch to be written */
    struct list rewrites; /* segments that want to be rewritten */
    struct rewrite *rewriting;
    bool rewrites_paused; /* until retry_timer fires */
    struct list ready;    /* readers to be told */
    struct list retry;    /* readers whose read failed; told by retry_timer */
    struct hmap objects;
    uint32_t next_object;
    struct clog clog;
    struct twin twin;
    struct cache cache;
    struct region_pool meta, body;
    uint64_t staging;
    uint64_t segment_min, segment_max;
    uint64_t filter_patience;      /* first of filters; tests want it shorter */
    uint64_t tasks_ns;             /* of a step for tasks; 0, in tests: one slice */
    struct wheel_timer sync_timer; /* syncs what async streams wrote */
    struct list claims;            /* streams whose end the log is to be told */
    struct wheel_timer claim_timer;
    struct wheel_timer retry_timer; /* a second after a full disk or a failed read */
    bool no_space, said_no_space;
    uint32_t jobs;          /* work in flight or waiting for its turn */
    struct list work_queue; /* io_op.link of works that wait */
    uint32_t works;         /* given to io */
    struct io_work fill;    /* a step of filling the pool */
    bool fill_running, fill_paused;
    uint64_t fill_begun;
    struct wheel_timer fill_timer;
    bool closing;
    enum { STORE_CLOSE_NONE, STORE_CLOSE_MARKING, STORE_CLOSE_MARKED } close_state;
    struct store_req close_req;
    void (*closed)(void *ctx);
    void *closed_ctx;
    struct store_stats stats;
    struct commit *free_commits;
};

/* work.c: long work with the store's files, a few at a time; counts as a job. The completion calls
 * store_work_done first, and goes no further when that says false: it will run later. */
void store_work_submit(struct store *st, struct io_work *work);
bool store_work_done(struct store *st, struct io_work *work);
void store_works_step(struct store *st);
/* Calls req->done from the next store_step. req may be NULL. */
void store_defer(struct store *st, struct store_req *req, enum err err);
/* The stream has committed something: when it has been idle for a while the log is told its end. */
void store_claim_end(struct store_stream *s);
/* The disk is full; a timer tries again. */
void store_no_space(struct store *st);
void store_retry_later(struct store *st);
/* The file goes to the pool (bytes: what it was made with; 0 = never) or away, on a work thread. */
void store_retire(struct store *st, const char *path, uint64_t bytes);
/* The file goes away, and then who waits for that is told (a list of erasures, which it takes). */
void store_retire_erased(struct store *st, const char *path, struct list *erased);
/* The file goes to quarantine, on a work thread. */
void store_keep_damaged(struct store *st, const char *path);
/* Fills the pool when it wants to be. */
void store_fill_init(struct store *st);
void store_fill_step(struct store *st);

#endif
