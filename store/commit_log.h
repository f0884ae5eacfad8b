/*
 * commit_log.h - the worker's commit log: frames (commit_log.c), files (log_files.c), the spare
 * (log_spare.c), what becomes of erased messages in it (log_wash.c). A part of store_impl.h.
 */
#ifndef STORE_COMMIT_LOG_H
#define STORE_COMMIT_LOG_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/wheel.h"
#include "lib/io/io.h"
#include "store/crypt.h"
#include "store/log_format.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct object;

#define NO_LOG_FILE UINT64_MAX

struct clog_file {
    struct list link;
    uint64_t number;
    uint64_t bytes; /* 0 = not known: it is not recycled */
    bool written;   /* a spare: all its blocks hold something */
    bool fresh;     /* made anew, and nothing was written to it but zeros */
    bool stained;   /* it may hold a message that was erased: it is not used again (log_wash.c) */
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

/* log_wash.c */
struct log_wash {
    enum { WASH_NONE, WASH_MARKING, WASH_MARKED, WASH_UNMARKING } mark; /* the file that says so */
    bool due;                 /* the current file is to be left */
    bool keep;                /* the mark, until the next start: something can not be removed */
    uint64_t erasures;        /* not through yet */
    uint64_t not_before;      /* on io's clock: the next one */
    struct list reqs;         /* answered when the mark is durable */
    struct wheel_timer timer; /* until it is due */
    struct io_work work;      /* marks, or takes the mark away */
    int result;
};

struct clog {
    struct store *store;
    struct list files;       /* oldest first; the last one is written */
    struct clog_file *spare; /* allocated, name durable, not begun */
    uint32_t dropping;       /* files that are about to be removed: one at a time */
    bool let_go;             /* what may have held the oldest file does not any more */
    bool spare_coming;
    struct clog_file *coming; /* what it will be */
    uint64_t file_bytes;      /* of new files */
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
    struct list refresh;   /* objects to be rendered into the next frame */
    bool refresh_now;      /* even if nothing else asks for a frame */
    uint64_t refresh_need; /* what the first of them takes, for which the file has no room */
    bool spare_wanted;     /* it could not be made; the retry timer asks again */
    bool said_spare;       /* ... and that was logged */
    bool waits_for_file;   /* a frame is due and has no room */
    struct buf scratch;
    struct log_wash wash;
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
/* A record that says nothing new, for a file that is begun without anything to be written. */
void clog_put_start(struct store *st);
/* The last record of all: a clean close. */
void clog_put_close(struct store *st, struct store_req *req);
/* Completes req when everything queued or in flight so far is durable. */
void clog_barrier(struct store *st, struct store_req *req);
static inline struct clog_file *clog_writing(const struct clog *l)
{
    return LIST_ENTRY(l->files.prev, struct clog_file, link);
}
/* What is queued from now on stays in the log until the returned file is unpinned. */
struct clog_file *clog_pin(struct store *st);
void clog_unpin(struct store *st, struct clog_file *f);
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
/* Another one instead, of which nothing was ever written. */
void clog_replace_spare(struct store *st);
/* Writes over the one that is there with zeros, if that is worth it; true when it has begun. */
bool clog_prewrite(struct store *st);
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
/* One that was let go of has gone, or could not be removed. */
void clog_dropped(struct store *st, const char *path, int result);
/* The same when something has let go of a file, which no commit may come to see. */
void clog_step(struct store *st);
/* log_wash.c */
void wash_init(struct store *st);
/* A start could not do without the old files: they are this log's now. */
void wash_adopt(struct store *st);
void wash_deinit(struct store *st);
/* An erasure begins. */
void wash_begin(struct store *st);
/* Its bytes are gone from its stream, or it has failed: req, if any, is completed, at once or
 * later. */
void wash_end(struct store *st, struct store_req *req, enum err err);
void wash_step(struct store *st);
void clog_fail(struct store *st, enum err err, const char *why);
/* The store closes while the log is stuck: what waits for a frame is refused. */
void clog_give_up(struct store *st);

#endif
