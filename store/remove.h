/*
 * remove.h - removing messages: sliced tasks, requests (remove.c), limits (limits.c), erasing
 * (erase.c). A part of store_impl.h.
 */
#ifndef STORE_REMOVE_H
#define STORE_REMOVE_H

#include "lib/base/list.h"
#include "lib/base/seqset.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

struct segment;
struct store_stream;

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
void erasures_tell(struct store *st, struct list *erased);
/* Lets go of leading segments without messages. */
void segments_release(struct store_stream *s);
/* Of this one, wherever it is, if nothing uses it. */
void segment_release_empty(struct segment *seg);
/* Queues what removed() is to be told; removals_tell tells it. */
void removals_tell(struct store *st);
void stream_removed(struct store_stream *s, uint64_t first, uint64_t last, uint64_t msgs,
                    enum store_reason reason);

#endif
