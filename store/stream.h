/*
 * stream.h - a stream and its readers: stream.c (life cycle), append.c, commit.c, held.c, reader.c.
 * A part of store_impl.h.
 */
#ifndef STORE_STREAM_H
#define STORE_STREAM_H

#include "lib/base/buf.h"
#include "lib/base/list.h"
#include "lib/base/seqset.h"
#include "lib/base/wheel.h"
#include "store/plant.h"
#include "store/store.h"
#include "store/stream_record.h"
#include "store/subjects.h"

#include <stdbool.h>
#include <stdint.h>

struct clog_file;
struct crypt_file;
struct crypt_nonces;
struct early;
struct index_loader;
struct object;
struct segment;
struct store_batch;

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

#endif
