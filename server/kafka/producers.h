/*
 * producers.h - what a partition knows of its idempotent producers, so that a batch that is sent
 * twice is stored once and none is missing in between.
 *
 * Of each producer id the epoch and the last five batches: first and last sequence number, and the
 * stream sequence of the first message. A batch with the numbers of one of the five is a duplicate;
 * the one that follows the last is new; any other is out of order. Of an unknown producer, and of a
 * new epoch, the first batch decides. Numbers go from 2^31 - 1 to 0.
 *
 * When the first batch of a producer can not be stored, those behind it are out of order until it
 * comes again: otherwise one of them would decide, and there would be a gap.
 *
 * What is read back at a start may begin in the middle and have holes: limits and compaction have
 * taken the rest. A batch that lies before what is left of its producer, or between, was stored
 * then, because there are no gaps; only its offset is not known.
 *
 * The state describes what is assigned: a duplicate may be one of a batch that is not durable yet.
 * When the stream takes back what it had assigned, producers_forget does, too. Pure.
 */
#ifndef KAFKA_PRODUCERS_H
#define KAFKA_PRODUCERS_H

#include "lib/base/buf.h"
#include "lib/base/hmap.h"
#include "lib/base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define PRODUCERS_BATCHES 5u
/* Most producers of one partition; beyond, the one that was silent longest is forgotten. */
#define PRODUCERS_MAX 4096u

struct producers {
    struct hmap map;
    struct list recent; /* of struct producer; the last that wrote first */
    uint64_t n;
};

struct producer_batch {
    int64_t producer;
    int16_t epoch;
    int32_t first; /* sequence number of the first record */
    int32_t count;
    uint64_t seq;   /* of the stream, of the first record */
    bool read_back; /* by a start; for producers_note */
    bool follows;   /* producers_check says: the one before it is known, of the same epoch */
};

enum producers_verdict {
    PRODUCERS_NEW,
    PRODUCERS_DUPLICATE,
    PRODUCERS_WAS_STORED, /* a duplicate of what has gone since: nobody knows its offset */
    PRODUCERS_OUT_OF_ORDER,
    PRODUCERS_OLD_EPOCH,
};

void producers_init(struct producers *p);
void producers_deinit(struct producers *p);
/* b->seq is set for a duplicate: where the first one lies. */
enum producers_verdict producers_check(const struct producers *p, struct producer_batch *b);
/* It was appended at b->seq. Also for what is read back at a start, in order. */
void producers_note(struct producers *p, const struct producer_batch *b);
/* It was new and could not be appended. */
void producers_refuse(struct producers *p, const struct producer_batch *b);
/* One of them as it is told of. */
struct producer_state {
    int64_t id;
    int16_t epoch;
    int32_t last;      /* sequence number; -1: none in this epoch */
    uint64_t last_seq; /* of the stream, of that batch's first record; 0: none */
};
/* Room for p->n of them; the one that wrote last comes first. */
void producers_list(const struct producers *p, struct producer_state *out);
/* Would a start that finds what is durable now, up to that sequence, need the batch at seq to know
 * this producer's numbers? It is its last durable one, or may be it: that is not known when all
 * that are known are not durable yet. */
bool producers_need(const struct producers *p, int64_t producer, uint64_t seq, uint64_t durable);
/* A transaction of this producer has ended in this epoch: earlier ones have no say any more. */
void producers_fence(struct producers *p, int64_t producer, int16_t epoch);
/* All is read back, of a stream that begins at `first` now; of what a record told, it spoke up to
 * `through`. Of whom all that is known has been taken by limits, later batches may have been, too:
 * behind `through`, or while the others were read. He is forgotten. */
void producers_doubt(struct producers *p, uint64_t first, uint64_t through);
/* Nothing behind this sequence of the stream has ever been. */
void producers_forget(struct producers *p, uint64_t last_seq);

/*
 * What is known, as a record that is kept apart from the batches, for when these are removed. One
 * part behind the other; a part is, little-endian:
 *
 *     u64 through    the sequence up to which it speaks
 *     u32 n          entries: those of one producer together, the one that wrote last at the end
 *     n times        i64 producer, i16 epoch, i32 first number, i32 count, u64 sequence;
 *                    count 0: the epoch, and no batch of it
 *
 * A producer's entries in one part replace those in earlier ones.
 */
/* A part with what is durable, up to that sequence, of all, or of those of whom there is more than
 * in earlier parts. False: then there are none, and nothing is written. */
bool producers_put(struct producers *p, uint64_t durable, bool all, struct buf *out);
/* Of all parts; batches behind `through` are to be noted then. False: it can not be read, and
 * nothing has changed. */
bool producers_take(struct producers *p, struct str record, uint64_t *through);

#endif
