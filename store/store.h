/*
 * store.h - libmidgestore: durable streams of messages, and small durable objects, in one
 * directory.
 *
 * It knows subjects (bytes between dots) but no network, no accounts and no JSON.
 * docs/internals/store-format.md is the byte-exact format, docs/internals/store.md the life of a
 * commit.
 *
 * Shape:  struct store_dir   one per process: lock, identity, recovery, pool of prewritten files,
 * shared by all workers struct store       one per worker: its commit log, its streams and objects,
 * its batch cache struct store_stream one stream; touched only by its worker struct store_reader a
 * position in a stream (a consumer, a get) object             a blob with a kind and a parent
 * (stream configuration, consumer state), kept in the commit log as a full record followed by
 * deltas
 *
 * Two frontiers. *Assigned*: store_append gave the message its sequence. *Durable*: the commit that
 * carries it is on stable storage. Everything readable (state, readers, subject states) describes
 * the durable frontier; functions with `_assigned` in their name describe the other one, for checks
 * at ingest. Messages become durable strictly in order of sequence. For memory storage and for
 * `async` streams a commit counts as durable when it is complete in memory, or written but not
 * synced.
 *
 * Completion style: nothing here blocks and nothing calls back from inside the call that asked;
 * callbacks come from io_poll of the worker's loop or from store_step. Every object belongs to the
 * worker that opened it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "lib/base/buf.h"
#include "lib/base/chunk.h"
#include "lib/base/err.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/base/prng.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct io;
struct io_fs;
struct store_dir;
struct store;
struct store_stream;

/* Largest subject, header and payload of one message; the server's own limits are below these. */
#define STORE_SUBJECT_MAX 65535u
#define STORE_HEADER_MAX 65535u
#define STORE_PAYLOAD_MAX (64u << 20)

typedef uint64_t store_object_id; /* unique in the directory, never reused, never 0 */

/* ---- the directory --------------------------------------------------------------------------- */

struct store_dir_options {
    struct io_fs *fs;
    const char *path; /* created when missing */
    struct log *log;
    unsigned workers;          /* how many struct store will be opened */
    uint64_t pool_bytes;       /* prewritten files kept ready; 0 = none (fallocate instead) */
    uint64_t log_file_bytes;   /* size of one commit log file; default 64 MiB */
    uint64_t index_lazy_bytes; /* a start leaves the index of subjects for later where it would read
                                  more than this for a segment; default 64 KiB */
    uint64_t segment_bytes_min, segment_bytes_max; /* default 16 MiB and 256 MiB: grows with the
                                                      stream */
    uint64_t lock_patience_ns; /* how long a directory in use is waited for; default 2 s */
    uint64_t seal_bytes; /* a clean close seals a stream's last segment that has so much; default 4
                            MiB: a start goes through it in 2 to 4 ms */
    uint64_t drop_bytes; /* a removed file that is larger goes in pieces of so much; default 8 MiB
                          */
    /* Encryption at rest. key: a passphrase or random text, empty = none. With one everything
     * written from now on is encrypted; what was written before stays readable. prev_key: opens a
     * store whose key was that one until now, and is not needed a second time. The bytes are not
     * kept: wipe them when store_dir_open has returned. cipher: enum crypt_cipher, 0 = chacha. */
    struct str key, prev_key;
    unsigned cipher;
    /* Which worker gets a recovered stream (and the objects below it). */
    unsigned (*place)(void *ctx, store_object_id stream, struct str name);
    uint64_t (*clock)(void *ctx); /* monotonic ns, to time recovery; NULL = it is not timed */
    void *ctx;                    /* of place and clock */
    bool kafka; /* Kafka batches will be appended: older programs can not open the store any more */
    uint64_t seed; /* salts and UUIDs come from here in simulation; 0 = from the system */
};

/* Creates or recovers: takes the lock (LOCK names the owning pid), reads the commit logs, writes
 * back what they hold, scans the active segments, cuts torn tails (logged with their bytes),
 * quarantines what is damaged, and writes one fresh log per worker. Blocking; start-up only. On
 * failure `why` says it in one line
 * ("data/LOCK: in use by process 4711"). Recovering twice gives the same bytes. */
enum err store_dir_open(const struct store_dir_options *options, struct store_dir **out,
                        char why[256]);
/* All stores are closed. A clean close has sealed what the next open would have to go through, and
 * marked the logs, so that it believes that. */
void store_dir_close(struct store_dir *dir);
const char *store_dir_path(const struct store_dir *dir);
void store_dir_uuid(const struct store_dir *dir, uint8_t out[16]);
/* What recovery found: for the start-up log and /healthz. */
struct store_recovery {
    uint64_t streams, segments, messages, objects;
    uint64_t log_bytes_replayed, bytes_scanned, bytes_cut, lost_messages, quarantined_files;
    uint64_t ns;
    bool clean;                  /* the last owner closed it */
    bool encrypted, key_changed; /* what is written is sealed; it was opened with prev_key */
};
const struct store_recovery *store_dir_recovery(const struct store_dir *dir);

/* ---- a worker's store ------------------------------------------------------------------------ */

/* How the store learns what messages are in such a batch, when somebody reads them as messages: the
 * decoder calls put for each of them, i ascending from 0; what it leaves out is empty. put says
 * false when there is no memory; then the decoder returns. False: it had no memory itself; the
 * batch is asked for again, later. */
typedef bool (*store_kafka_put_fn)(void *to, uint32_t i, struct str header, struct str payload);
typedef bool (*store_kafka_decode_fn)(struct str subject, struct str batch, uint64_t first_seq,
                                      uint32_t messages, store_kafka_put_fn put, void *to);

/* How the store gets rid of removed messages of such a batch: appends the same batch without those
 * whose bit in keep (`messages` of them, bit i for message i) is clear; at least one is set. On a
 * work thread. ERR_NO_MEMORY: it is asked again later; any other error: it can not be done, the
 * batch stays as it is. */
typedef enum err (*store_kafka_trim_fn)(struct str batch, uint32_t messages, const uint64_t *keep,
                                        struct buf *out);

struct store_options {
    struct io *io;
    struct chunk_pool *chunks;
    struct log *log;
    size_t cache_bytes;   /* batches kept in memory after they are durable; default 256 MiB */
    size_t staging_bytes; /* appended but not durable, over all streams; beyond, store_append says
                             ERR_LIMIT */
    store_kafka_decode_fn kafka_decode; /* NULL: messages of Kafka batches read as empty ones */
    store_kafka_trim_fn kafka_trim;     /* NULL: segments with such batches are not written anew,
                                           and nothing is erased from such a batch */
    uint32_t kafka_pages_min;           /* Kafka batches of so many bytes and more begin at a page,
                                           in memory and in their segment; default 128 KiB */
    uint64_t ride_ns; /* how long a delta that nobody waits for may wait for a commit; default 100
                         ms */
};

/* Opens the part of the directory that was placed on this worker. `io` must be polled by the same
 * thread. */
enum err store_open(struct store_dir *dir, unsigned worker, const struct store_options *options,
                    struct store **out);
/* Asynchronous: no more appends; commits what is pending, then calls closed. */
void store_close(struct store *st, void (*closed)(void *ctx), void *ctx);

/* The loop's "start commits" stage: begins whatever commits are due (at most two in flight per
 * stream and for the log), advances sliced work (trims, index loads) by at most 200 us, applies
 * deferred callbacks. Call once per iteration; returns true when it wants another iteration soon.
 */
bool store_step(struct store *st);
/* Memory is short: forgets every cached batch that nobody holds. */
void store_shed_cache(struct store *st);

struct store_stats {
    uint64_t streams, objects, messages, bytes;
    uint64_t appends, append_bytes, commits, commit_bytes, log_commits, log_bytes;
    uint64_t cache_bytes, cache_hits, cache_misses, staging_bytes;
    uint64_t pool_files, pool_misses;   /* of the directory */
    uint64_t disk_bytes;                /* allocated; the pool's count for worker 0 */
    uint64_t rewrites, rewritten_bytes; /* segments written anew; bytes read for it */
};
void store_stats(const struct store *st, struct store_stats *out);
/* The commit log has no second copy for now, as that could not be written: damage to the log would
 * not be mended. A line in the log has said why; the next file of the log tries again. */
bool store_log_is_alone(const struct store *st);

/* ---- requests -------------------------------------------------------------------------------- */

/* Something that completes when it is durable. The owner embeds it; done may free it. */
struct store_req {
    struct list link;
    void (*done)(struct store_req *req, enum err err);
    uint64_t count; /* result of removals: messages removed */
};

/* ---- objects --------------------------------------------------------------------------------- */

/* The store's own kinds are below 16. */
enum { STORE_KIND_STREAM = 1, STORE_KIND_USER = 16 };

struct store_object_view {
    store_object_id id, parent;
    unsigned kind;
    struct str full;          /* last full record */
    const struct str *deltas; /* after it, oldest first */
    unsigned ndeltas;
};

/* How the store asks for a fresh full record, when deltas outgrow it or a log file is to be freed.
 * Appends the object's current state (which includes every delta given so far). */
typedef void (*store_render_fn)(void *ctx, store_object_id id, struct buf *out);

/* Calls each for the recovered objects of this worker, parents before children; once, right after
 * store_open. The views live until store_recovered_done. Each must be claimed by
 * store_object_attach (and streams by store_stream_attach) or deleted; what is neither is kept as
 * it is. */
void store_recovered_each(struct store *st,
                          void (*each)(void *ctx, const struct store_object_view *v), void *ctx);
void store_recovered_done(struct store *st);
void store_object_attach(struct store *st, store_object_id id, store_render_fn render, void *ctx);

/* A new object; the id is usable at once, req (may be NULL) completes when it is durable. parent 0
 * = none; deleting a parent deletes its children. */
store_object_id store_object_create(struct store *st, unsigned kind, store_object_id parent,
                                    struct str full, store_render_fn render, void *ctx,
                                    struct store_req *req);
/* Replaces the whole record. */
void store_object_put(struct store *st, store_object_id id, struct str full, struct store_req *req);
/* Adds a delta. With req NULL it rides with the next commit, at the latest after ride_ns. */
void store_object_delta(struct store *st, store_object_id id, struct str delta,
                        struct store_req *req);
void store_object_delete(struct store *st, store_object_id id, struct store_req *req);

/* ---- streams --------------------------------------------------------------------------------- */

enum store_level { STORE_DURABLE, STORE_ASYNC, STORE_MEMORY };

/* 0 = no limit, for all of them. */
struct store_limits {
    uint64_t max_msgs;
    uint64_t max_bytes;
    uint64_t max_msgs_per_subject;
    int64_t max_age_ns;
};

struct store_stream_options {
    struct str name;   /* for logs and the inspector; not unique here */
    struct str config; /* the owner's blob, kept in the stream object's full record */
    enum store_level level;
    uint64_t first_seq; /* 0 and 1 = start at 1 */
    struct store_limits limits;
};

/* Why messages went, for removed(). */
enum store_reason { STORE_BY_LIMIT, STORE_BY_AGE, STORE_BY_REQUEST, STORE_BY_PURGE };

/* What a stream tells its owner. From io_poll or store_step only, never from inside a call. */
struct store_stream_ops {
    /* A commit has begun: it carries all messages up to last_seq that were not in earlier ones. */
    void (*commit_begun)(void *ctx, uint64_t last_seq);
    /* [first_seq, last_seq] are durable, indexed and visible. Called in order, before any removal
     * they cause. */
    void (*committed)(void *ctx, uint64_t first_seq, uint64_t last_seq);
    /* Messages are gone: those of [first_seq, last_seq] that still existed: msgs of them. */
    void (*removed)(void *ctx, uint64_t first_seq, uint64_t last_seq, uint64_t msgs,
                    enum store_reason reason);
    /* The stream is FAILED: nothing that was not committed will be. why is constant text or lives
     * as the stream. */
    void (*failed)(void *ctx, enum err err, const char *why);
    /* No space: everything appended behind the last committed sequence is gone, and the stream goes
     * on as if it had never been. NULL: it waits until there is space. */
    void (*refused)(void *ctx, enum err err);
    /* The owner's configuration blob, for a fresh full record. */
    void (*render_config)(void *ctx, struct buf *out);
};

/* The stream exists when req completes (its object and its first segment header are durable).
 * Appends are accepted at once. ERR_NO_SPACE when no file can be allocated. */
enum err store_stream_create(struct store *st, const struct store_stream_options *options,
                             const struct store_stream_ops *ops, void *ctx,
                             struct store_stream **out, struct store_req *req);
/* Name and configuration blob of a recovered stream that is not attached (yet): an owner that can
 * not read the blob leaves the stream as it is. They live until store_recovered_done. */
enum err store_stream_peek(struct store *st, store_object_id id, struct str *name,
                           struct str *config);
/* Was its record lost, so that its configuration is that of an old copy, and it has no limits? */
bool store_stream_adopted(struct store *st, store_object_id id);
/* A recovered stream by its object id; *config lives until store_recovered_done. */
enum err store_stream_attach(struct store *st, store_object_id id,
                             const struct store_stream_ops *ops, void *ctx,
                             struct store_stream **out, struct str *config);
store_object_id store_stream_id(const struct store_stream *s);
/* Shall sealed segments be compressed? Those that are already follow in the background. Not kept:
 * the owner says it each time after store_stream_create and store_stream_attach. */
void store_stream_compress(struct store_stream *s, bool on);
/* Gives the callbacks another ctx: for an owner that is made after it has read the recovered
 * configuration. */
void store_stream_set_ctx(struct store_stream *s, void *ctx);
/* Changes limits and the blob durably; what is now over a limit goes, in slices. */
void store_stream_update(struct store_stream *s, const struct store_limits *limits,
                         struct str config, struct store_req *req);
/* The stream, its messages and the objects below it go; readers end. s is invalid after the call.
 */
void store_stream_delete(struct store_stream *s, struct store_req *req);

struct store_state {
    uint64_t msgs, bytes;         /* bytes: the peer's formula, see store_msg_bytes */
    uint64_t first_seq, last_seq; /* empty: first_seq = last_seq + 1 */
    uint64_t synced_seq;          /* what is in the page cache alone lies behind it (async level) */
    int64_t first_ts, last_ts;    /* unix ns; 0 when there never was one */
    uint64_t num_subjects;        /* at least; exact when the index of subjects is read */
    uint64_t num_deleted;         /* interior */
    /* To damage, since the stream was created. At most so many: where sequences that a limit had
     * taken, or that never held a message, were known only from the damaged place they count, too.
     */
    uint64_t lost_msgs, lost_bytes;
    bool failed;
};
void store_stream_state(struct store_stream *s, struct store_state *out);
/* With what is assigned but not durable yet. */
void store_stream_state_assigned(struct store_stream *s, uint64_t *last_seq, uint64_t *msgs,
                                 uint64_t *bytes);

/* Where the last `bytes` of it begin, as they lie in its segments: the first sequence of a batch;
 * first_seq when there are not so many. */
uint64_t store_stream_tail(struct store_stream *s, uint64_t bytes);

/* First sequence of the segment that is written to: what lies before it does not change any more
 * but by removals. */
uint64_t store_stream_head(const struct store_stream *s);

/* Messages that are assigned and not durable yet, and their bytes. */
void store_stream_waiting(const struct store_stream *s, uint64_t *msgs, uint64_t *bytes);

/* What a message counts for in state.bytes, max_bytes and account usage: the peer's file formula
 * (22 bytes of record header, 8 of hash, 4 more when it has headers) for files and its memory
 * formula for memory. */
uint64_t store_msg_bytes(enum store_level level, size_t subject, size_t header, size_t payload);

/* Interior deleted sequences, at most max of them, as ranges: each(ctx, first, last). */
void store_stream_deleted(struct store_stream *s, uint64_t max,
                          void (*each)(void *ctx, uint64_t first, uint64_t last), void *ctx);

/* ---- append ---------------------------------------------------------------------------------- */

/* Hints about the header, so that a start reads only the batches it needs. */
enum {
    STORE_MSG_HAS_ID = 1,     /* a message id: for the duplicate window */
    STORE_MSG_HAS_EFFECT = 2, /* it brings something about later: a time to live, a rollup, a
                                 schedule */
};

struct store_append {
    struct str subject; /* valid and literal */
    struct str header;  /* whole block or empty */
    struct str payload;
    int64_t ts; /* unix ns, not before the last message's */
    unsigned flags;
};

/* Copies the message into the open batch and assigns the next sequence. ERR_OK; ERR_FAILED;
 * ERR_NO_SPACE (no file can be allocated now; a timer retries); ERR_LIMIT (staging is full);
 * ERR_TOO_LARGE. On error nothing has changed. The hot path: no allocation, 30 to 40 ns. */
enum err store_append(struct store_stream *s, const struct store_append *m, uint64_t *seq);
/* Most messages of a group, and most bytes of their subjects, headers and payloads. */
#define STORE_GROUP_MSGS_MAX 16384u
#define STORE_GROUP_BYTES_MAX (64u << 20)
/* Appends all with consecutive sequences and the time of the first, or none: they become durable
 * and visible at once, also when the power fails between. ERR_TOO_LARGE beyond the limits. */
enum err store_append_group(struct store_stream *s, const struct store_append *m, size_t n,
                            uint64_t *first_seq);
/* A batch of a Kafka producer, kept as it is: one entry of the stream that is `messages` messages
 * of one subject, with consecutive sequences. It becomes durable and visible at once. */
#define STORE_KAFKA_MESSAGES_MAX (1u << 18)
struct store_kafka_append {
    struct str subject;
    struct str batch;
    uint32_t messages;
    int64_t ts; /* of all of them */
};
/* *stored: the copy, in which the caller may write what depends on *first_seq, until he returns to
 * the loop. Errors as for store_append; ERR_UNSUPPORTED when the directory was not opened for it;
 * ERR_TOO_LARGE, too, for too many messages. */
enum err store_append_kafka(struct store_stream *s, const struct store_kafka_append *a,
                            uint64_t *first_seq, uint8_t **stored);

/* Uses up `n` sequences without messages, as interest streams without interest do. */
enum err store_skip(struct store_stream *s, uint64_t n, uint64_t *last_seq);

/* ---- subjects -------------------------------------------------------------------------------- */

struct store_subject {
    struct str subject;                 /* lives until the next call that changes the stream */
    uint64_t first_seq, last_seq, msgs; /* in a listing first_seq may be below the first message */
};
/* A start leaves the index of subjects of a large stream for later; then this is true, and req (may
 * be NULL) completes when it has been read. Until then the functions of this part hold up the
 * worker while all of it is read (about 0.6 us a message); everything else goes on, or waits by
 * itself.
 */
bool store_index_wait(struct store_stream *s, struct store_req *req);
/* The same for questions about these subjects alone: literal ones are looked up where they lie, a
 * read or two in each segment. Counts and readers with such filters do that by themselves. */
bool store_subjects_wait(struct store_stream *s, const struct str *subjects, unsigned n,
                         struct store_req *req);

/* The last message of each subject that one of the patterns matches (none = all), as it is now,
 * however much is appended and removed until the list has been made: slices of it are made between
 * other things, and then req completes. What is removed meanwhile is in it. Only messages up to
 * `upto` (UINT64_MAX = all there are now); a later one of a subject stands for the one before it.
 * *count becomes their number, or UINT64_MAX when that is known only at the end. While the index is
 * being read (store_index_wait) it begins behind that. An error: the stream failed, or goes. */
struct store_lasts;
struct store_lasts *store_lasts_begin(struct store_stream *s, const struct str *patterns,
                                      unsigned n, uint64_t upto, uint64_t *count,
                                      struct store_req *req);
/* When req has completed: the sequences, ascending, the caller's to mem_free. */
uint64_t *store_lasts_take(struct store_lasts *l, size_t *n);
/* True: req will not complete any more. */
bool store_lasts_free(struct store_lasts *l);
/* Does a listing with this filter look at so many subjects at most? */
bool store_subjects_few(struct store_stream *s, struct str filter, uint32_t most);

/* Durable state of one subject; false when it has no message. */
bool store_subject_get(struct store_stream *s, struct str subject, struct store_subject *out);
/* Last sequence and number of messages with what is assigned; 0 when none. */
uint64_t store_subject_last_assigned(struct store_stream *s, struct str subject, uint64_t *msgs);
/* What the first durable message of the subject counts for; UINT64_MAX: there is none, or its
 * segment is still being read. */
uint64_t store_subject_first_bytes(struct store_stream *s, struct str subject);
/* All subjects that match the filter (">" or empty = all), in byte order; each may return false to
 * stop. */
void store_subjects_each(struct store_stream *s, struct str filter,
                         bool (*each)(void *ctx, const struct store_subject *sub), void *ctx);
/* Largest last sequence of the subjects matching the filter; 0 = none. */
uint64_t store_subject_last_match(struct store_stream *s, struct str filter);
/* Last sequence of a literal subject at or below max_seq; 0 = none. */
uint64_t store_subject_last_upto(struct store_stream *s, struct str subject, uint64_t max_seq);

/* ---- reading --------------------------------------------------------------------------------- */

struct store_msg {
    uint64_t seq;
    int64_t ts;
    struct str subject, header, payload;
    /* header and payload (with its CRLF behind it) lie in this chunk; chunk_get it to keep them.
     * The views alone live until the next call on the same reader or the end of the callback. */
    struct chunk *chunk;
};

enum store_read {
    STORE_READ_MSG,  /* *out is filled; the reader stands behind it */
    STORE_READ_END,  /* nothing more up to the durable frontier */
    STORE_READ_WAIT, /* must be fetched from disk; ready() will be called, then ask again */
    STORE_READ_GONE, /* store_reader_get: this sequence does not exist (removed, lost, never there)
                      */
};

struct store_batch;
struct filter;

struct store_reader {
    /* The owner's. */
    void (*ready)(struct store_reader *r); /* after STORE_READ_WAIT, once */
    void *ctx;
    /* The store's. */
    struct store_stream *stream; /* NULL when the stream was deleted */
    uint64_t seq;                /* next candidate; read freely, change by seek */
    const struct str *filters;   /* NULL = everything */
    unsigned nfilters;
    struct store_batch *batch;
    struct filter *filter; /* NULL = everything; shared by readers with the same filters */
    struct list link;
    struct list wait_link;
    uint64_t wait_seq; /* what is being fetched */
    uint64_t after;    /* first sequence behind the batch it held last */
    bool waiting;
};

/* filters (patterns) must outlive the reader; none = all messages. Starts at seq. */
void store_reader_init(struct store_reader *r, struct store_stream *s, uint64_t seq,
                       const struct str *filters, unsigned nfilters,
                       void (*ready)(struct store_reader *), void *ctx);
void store_reader_deinit(struct store_reader *r);
void store_reader_seek(struct store_reader *r, uint64_t seq);
/* The next message at or after r->seq that matches; a run of them costs about 10 ns each from
 * memory. */
enum store_read store_reader_next(struct store_reader *r, struct store_msg *out);
/* Exactly this sequence, whatever the filters; does not move the reader. MSG, WAIT or GONE. */
enum store_read store_reader_get(struct store_reader *r, uint64_t seq, struct store_msg *out);

/* Begins to read from the disk what lies at r->seq and behind it, up to about so many bytes, for
 * somebody who will go on there soon; not while much of that kind is being read already. */
void store_reader_ahead(struct store_reader *r, uint64_t bytes);

/* What lies at or behind r->seq: a whole Kafka batch, or one message. */
struct store_entry {
    bool kafka;
    struct store_msg msg; /* unless kafka */
    uint64_t first_seq;   /* of the batch; may be before what was asked for */
    uint32_t messages;
    bool holes;          /* some of them that are not below the stream's first one are removed */
    struct str batch;    /* as it was appended; lives as store_msg's views do */
    uint64_t offset;     /* of its bytes in the file, when they are there */
    struct chunk *chunk; /* holds the batch */
    int64_t ts;
};
/* As store_reader_next; the reader then stands behind the batch or the message. */
enum store_read store_reader_entry(struct store_reader *r, struct store_entry *out);

/* A Kafka batch where it lies in a file, byte by byte as it was appended. */
struct store_lent {
    struct io_file *file; /* of the store's loop */
    uint64_t offset;
    uint32_t bytes;
    uint32_t messages;
    uint64_t first_seq; /* may be before what was asked for */
    struct segment *segment;
};
/* For who sends from files. True: the next entry is a batch of STORE_LEND_MIN bytes or more, whole,
 * that store_reader_entry would have to read from the disk; it was read and verified before, and
 * lent less than STORE_LEND_MOST times since. Nothing has changed yet. */
#define STORE_LEND_MIN (64u << 10)
#define STORE_LEND_MOST 8u
bool store_reader_in_file(struct store_reader *r, struct store_lent *out);
/* Takes what that has told of: the reader stands behind it, and file and bytes stay as they are
 * until store_lent_return, also when it is removed, erased or its stream deleted meanwhile: an
 * erasure's answer and the store's end wait for it. */
void store_reader_lend(struct store_reader *r, const struct store_lent *l);
void store_lent_return(const struct store_lent *l);
/* Messages from seq to the durable end that match; ERR_AGAIN when that needs the disk: then done is
 * called with the number in req->count. */
enum err store_count(struct store_stream *s, uint64_t seq, const struct str *filters,
                     unsigned nfilters, uint64_t *count, struct store_req *req);
/* First sequence with a timestamp >= ts; last + 1 when there is none. Answers as store_count does.
 */
enum err store_seq_at(struct store_stream *s, int64_t ts, uint64_t *seq, struct store_req *req);

/* First sequence at or behind seq of a batch in which a message was appended with STORE_MSG_HAS_ID
 * (not necessarily that message); 0 = none. From memory. */
uint64_t store_seq_with_id(struct store_stream *s, uint64_t seq);
/* The same for STORE_MSG_HAS_EFFECT. */
uint64_t store_seq_with_effect(struct store_stream *s, uint64_t seq);
/* First sequence at or behind seq of a Kafka batch; 0 = none. From memory. */
uint64_t store_seq_of_kafka(struct store_stream *s, uint64_t seq);
/* Is there a message with this sequence? Durable ones only; from memory. */
bool store_msg_exists(const struct store_stream *s, uint64_t seq);

/* ---- removal --------------------------------------------------------------------------------- */

/* Removes one message: ERR_OK and req completes when that is durable; ERR_NOT_FOUND. Readers do not
 * see it any more at once. req may be NULL (it then rides).
 * erase: req completes when no file of the stream has its bytes any more; they were written over,
 * or its segment was written anew without it, which takes as long as copying it, some hundred
 * milliseconds for the largest. Copies in the commit log stay until its files come round again.
 * ERR_UNSUPPORTED: it is removed, and its bytes stay (a Kafka batch that kafka_trim can not make
 * anew); ERR_CORRUPT: the same (damage hides where they are); ERR_CLOSED: the next opening sees to
 * them. */
enum err store_remove(struct store_stream *s, uint64_t seq, bool erase, struct store_req *req);

/* Removes those of the set that exist, in one change: for who works through a stream in slices, as
 * each message costs 200 to 500 ns. Returns how many; req (may be NULL) as above, its count that
 * number. ERR_FAILED streams have none. */
struct seqset;
uint64_t store_remove_set(struct store_stream *s, const struct seqset *set, struct store_req *req);

struct store_purge {
    struct str filter;   /* empty = all subjects */
    uint64_t before_seq; /* only messages below it; 0 = no bound */
    uint64_t keep;       /* leave this many of the last; 0 = none */
};
/* In slices; req->count = messages removed. */
void store_purge(struct store_stream *s, const struct store_purge *p, struct store_req *req);

/* ---- proof ----------------------------------------------------------------------------------- */

/* Whole-object validation: indexes against batches, frontiers, counters, lists. */
void store_check(struct store *st);

#endif
