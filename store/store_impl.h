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
#include "lib/io/io.h"
#include "store/cache.h"
#include "store/codec.h"
#include "store/commit.h"
#include "store/commit_log.h"
#include "store/crypt.h"
#include "store/dir.h"
#include "store/filter.h"
#include "store/index.h"
#include "store/object.h"
#include "store/plant.h"
#include "store/remove.h"
#include "store/segment.h"
#include "store/store.h"
#include "store/stream.h"
#include "store/twin.h"

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
    uint64_t closing_since;
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
/* At once, what waits for that. */
void store_retry_now(struct store *st);
/* Of a store that closes. True when it wants another step soon; may free the store. */
bool store_close_step(struct store *st);
/* Nothing of it is in flight: frees it and calls closed(). */
void store_free(struct store *st);
/* Logs the change, if there is one, and frees it. Nobody waits for it. */
void stream_log_delta(struct store_stream *s, struct buf *delta);
/* The file goes to the pool (bytes: what it was made with; 0 = never) or away, on a work thread. */
void store_retire(struct store *st, const char *path, uint64_t bytes);
/* A log file goes away, never to the pool, where nobody would know what is in it. */
void store_retire_log(struct store *st, const char *path);
/* The file goes away, and then who waits for that is told (a list of erasures, which it takes). */
void store_retire_erased(struct store *st, const char *path, struct list *erased);
/* The file goes to quarantine, on a work thread. */
void store_keep_damaged(struct store *st, const char *path);
/* Fills the pool when it wants to be. */
void store_fill_init(struct store *st);
void store_fill_step(struct store *st);

#endif
