/*
 * batches.h - messages that belong together: atomic batches (batch_atomic.c), which become visible
 * all at once or not at all, and fast-ingest batches (batch_fast.c), which are acknowledged a few
 * hundred at a time. Both end when their publisher is silent for too long.
 */
#ifndef JS_BATCHES_H
#define JS_BATCHES_H

#include "lib/base/hmap.h"
#include "server/js/ingest.h"
#include "server/js/stream_int.h"

/* Longest batch id. */
#define BATCH_ID_MAX 64u

struct fast_batch;

/* Of one stream; made with its first batch. */
struct stream_batches {
    struct hmap atomic, fast; /* by id */
    struct fast_batch *heard; /* of the fast ones the last that stored a message; NULL = none */
    uint64_t staged;          /* bytes of atomic batches */
    /* Of an interest stream: durable and then to be looked at, whether anybody wants them. */
    uint64_t recheck_first, recheck_last;
};

/* The stream's, made when there are none yet. */
struct stream_batches *stream_batches(struct stream *s);

/* One message of a batch: checked, kept or stored, answered. False: nothing of it was done, it has
 * to wait until the stream goes on (stream_park.c), and comes again. */
bool batch_atomic_take(struct stream *s, const struct msg *m, struct str id, int64_t now);
bool batch_fast_take(struct stream *s, const struct msg *m, int64_t now);
/* The short way for one without headers that no check can refuse (plain_now): it is the one behind
 * the last of the batch that was heard last, and nothing else. False: nothing was done, take it. */
bool batch_fast_append(struct stream *s, const struct msg *m, int64_t now);

/* What no message gets past, in a batch or not: sealed, no resources, too large. */
bool batch_check_stream(struct stream *s, const struct msg *m, struct js_error *err);
/* Nats-Required-Api-Level: false when this server has less. *present: it is to be removed. */
bool batch_level_met(struct str header, bool *present);

/* Forgets them without a word. */
void batch_atomic_drop_all(struct stream *s);
void batch_fast_drop_all(struct stream *s);

#endif
