/*
 * twin.h - the twin of a worker's commit log: a second copy of all that the log says of objects
 * (twin.c). Everything here is called on the worker's thread; `job` is the work thread's while
 * `running`. A part of struct store.
 */
#ifndef STORE_TWIN_H
#define STORE_TWIN_H

#include "lib/base/buf.h"
#include "lib/io/io.h"
#include "store/log_format.h"

struct clog_file;
struct log_commit;
struct store;
struct store_stream;

/* The work thread's, while it runs; what it keeps from run to run is where it stands in the file.
 */
struct twin_job {
    struct io_work work;
    struct store *store;
    /* Asked for. */
    bool base;   /* a new one, of these log files, up to this commit; of the last file so much */
    bool sync;   /* and let go of files below `drop` */
    bool forget; /* remove it all */
    uint64_t base_first, base_last, base_bytes, base_to;
    struct buf entries;
    uint64_t mark; /* the log's commit that is reached then */
    uint64_t drop;
    int result;
    int removed; /* after `forget`, or when it failed: 0 = all its files have gone, durably */
    /* Where it stands. */
    fs_fd fd;
    uint64_t number, lowest; /* of the file that is written, of the oldest one */
    uint64_t offset, commit; /* where the next frame goes, and its number */
    uint64_t synced;         /* the last frame that is */
    uint64_t base_seen;
    uint32_t salt, prev_crc;
    bool name_synced;
    bool counted; /* in dir->twins_missing */
    struct log_frame frame;
};

struct twin {
    struct store *store;
    enum { TWIN_BASE, TWIN_ON, TWIN_OFF } state;
    struct buf pending; /* records that are durable in the log, for the next run */
    uint64_t commit;    /* of the log, up to which they go */
    uint64_t synced;    /* of the log, up to which the twin is durable */
    uint64_t drop;      /* log files below have gone */
    struct wheel_timer timer;
    uint64_t sync_due;
    bool armed;    /* the timer is to write, not only to sync */
    bool unsynced; /* something was written and not synced */
    bool sync_wanted;
    bool running;
    bool gone; /* TWIN_OFF: no file of it will be found by a start */
    struct twin_job job;
};

void twin_init(struct store *st);
void twin_deinit(struct store *st);
/* A frame is durable: its records will be copied. */
void twin_frame(struct store *st, const struct log_commit *lc);
/* Says where the stream ends. */
void twin_end(struct store_stream *s);
/* Must this log file stay for the twin's sake? Then clog_maintain is called again. */
bool twin_holds(struct store *st, const struct clog_file *f);
/* The log file has gone. */
void twin_freed(struct store *st, uint64_t number);
/* If it was given up: tries again. */
void twin_again(struct store *st);
/* At a close: true when everything is written and synced; else it is being done. */
bool twin_settle(struct store *st);

#endif
