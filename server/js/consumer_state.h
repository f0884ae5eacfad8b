/*
 * consumer_state.h - a consumer's durable state as bytes: full records and logs of operations.
 *
 * Full record, all numbers varints:
 *     version (2), delivered.consumer, delivered.stream, floor.consumer, floor.stream, next_seq,
 * count, then per pending entry in order of sseq: sseq - previous sseq, zigzag(dseq - previous
 * dseq), deliveries; then what was given up, as seqset_encode writes it (not in version 1)
 *
 * Log: operations, each: op * 2 + (run ? 1 : 0), zigzag(seq - seq of the operation before), and for
 * runs the count: seq, seq + 1, ... A log continues where the full record before it ends; several
 * logs are applied in order.
 */
#ifndef JS_CONSUMER_STATE_H
#define JS_CONSUMER_STATE_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>

struct consumer_core;

enum consumer_op {
    OP_NONE,
    OP_DELIVER, /* first delivery */
    OP_REDELIVER,
    OP_ACK,       /* acknowledged or terminated */
    OP_ACK_ALL,   /* everything up to seq */
    OP_DROP,      /* gone from the stream */
    OP_GIVE_UP,   /* over max_deliver */
    OP_TAKE_BACK, /* the last delivery of it reached nobody */
    OP_COUNT
};

/* Appends the full record of the state as it is now. */
void consumer_state_encode(const struct consumer_core *c, struct buf *out);
/* The same, and forgets the operations that have not been taken yet: the record contains them, and
 * replaying them on top of it would be damage. What a store asks for between two logs. */
void consumer_state_checkpoint(struct consumer_core *c, struct buf *out);
/* Appends the operations since the last call to out and forgets them; nothing when there were none.
 */
void consumer_state_take_log(struct consumer_core *c, struct buf *out);
bool consumer_state_has_log(const struct consumer_core *c);

/* Into a core fresh from consumer_core_init; false when malformed (then the core is to be thrown
 * away). */
bool consumer_state_decode(struct consumer_core *c, struct str in);
/* Applies one log. */
bool consumer_state_apply(struct consumer_core *c, struct str log);
/* After the last log: starts the ack waits of what is pending. */
void consumer_state_resume(struct consumer_core *c, uint64_t now);

#endif
