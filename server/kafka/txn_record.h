/*
 * txn_record.h - a transactional id and its transaction, and how it is kept: one message of the
 * offsets stream per id, and while it goes on, behind that, what has been added since. Pure.
 *
 *     subject  $KAFKA.TXN.<id>, written as names in the offsets' subjects
 *     payload  version (2, or 3 when there is a previous producer: an end that raised the epoch),
 *              state, producer, epoch, timeout, start, change; in version 3 the previous producer;
 *              the partitions (topic, number, and from version 2 on the sequence in front of which
 *              the transaction has nothing there: open_txns.h); the offsets (group, topic,
 *              partition, offset, epoch, metadata, topic's id)
 *
 * A transaction that has more than TXN_WHOLE_LEAST is not written anew for every change: a piece
 * has the partitions and offsets that are new or others than they were.
 *
 *     subject  $KAFKA.TXN.<id>.<number>
 *     payload  version (1), producer, epoch, partitions, offsets, as above
 *
 * A record stands for all pieces in front of it in the stream; those behind it belong to it, in
 * their order, from number 0 on. So it does not matter when pieces go that are not needed any more.
 */
#ifndef KAFKA_TXN_RECORD_H
#define KAFKA_TXN_RECORD_H

#include "lib/base/wheel.h"
#include "server/kafka/committed.h"

#define TXN_ID_MAX 512u
/* Most partitions of one transaction; most offsets, and bytes of them as they are committed: with
 * the record they are appended in one group of the store. */
#define TXN_PARTS_MAX 16384u
#define TXN_OFFSETS_MAX (16384u - 1)
#define TXN_OFFSET_BYTES_MAX (48u << 20)
/* Up to so much (bytes, as below) it is written as a whole. So much may be in pieces, if that is
 * more than its record, with what a message takes for itself; and most pieces. So what is written
 * is a few times what was added, and how many messages there are is bounded by what all may have.
 */
#define TXN_WHOLE_LEAST (32u << 10)
#define TXN_PIECE_COST 256u
#define TXN_PIECES_MAX 8192u

enum txn_state {
    TXN_EMPTY,
    TXN_ONGOING,
    TXN_PREPARE_COMMIT,
    TXN_PREPARE_ABORT,
    TXN_COMPLETE_COMMIT,
    TXN_COMPLETE_ABORT,
    TXN_STATES
};

struct txn_part {
    struct str topic; /* owned */
    int32_t index;
    uint64_t from; /* 0: not known */
    bool changed;
};

struct txn_offset {
    struct str group;          /* owned */
    struct committed_offset o; /* topic and metadata owned; not in a table */
    bool changed;
};

/* Places of those that are not in a record or piece as they are, each once. */
struct txn_changes {
    uint32_t *at; /* mem_free */
    uint32_t n;
};

/* Places of an array by a hash of what is there, open addressing. */
struct txn_index {
    struct txn_slot *slots;
    uint32_t room; /* 0, or a power of two */
};

struct coordinator;
struct txn_op;
struct txn_owner;

struct txn {
    struct hmap_node node;
    struct list link;
    struct txn_owner *owner;
    struct list resting; /* owner->resting, or nothing */
    struct coordinator *coordinator;
    struct str id;
    enum txn_state state;
    int64_t producer;
    int16_t epoch;
    int64_t previous; /* whose epoch the last end raised: this one, or one whose epochs ran out; -1:
                         none, it stayed, or there is another transaction since */
    int64_t asked_producer; /* who was this producer before it asked for this epoch; -1: nobody. */
    int16_t asked_epoch;    /* Not in the record: a broker's successor does not know it either */
    int32_t timeout_ms;
    int64_t started_ms, changed_ms; /* wall clock */
    struct txn_part *parts;
    uint32_t nparts;
    struct txn_offset *offsets;
    uint32_t noffsets;
    size_t offset_bytes; /* at most, as they are committed */
    size_t bytes;        /* of partitions and offsets together */
    size_t counted;      /* txn_table.c's: what its owner has of them */
    struct txn_index part_index, offset_index;
    uint64_t seed; /* of their hashes: so that clients can not choose names that collide */
    struct txn_changes changed_parts, changed_offsets;
    bool recorded;           /* this transaction has a record */
    size_t whole_bytes;      /* its length */
    uint32_t npieces;        /* behind it */
    size_t piece_bytes;      /* theirs */
    uint32_t piece_subjects; /* there may be so many, from 0 on, with those of before the record */
    struct wheel_timer timer;
    struct txn_op *op;   /* under way */
    struct list waiting; /* errands, for its end */
    bool unsaved;        /* it is not known to be in its record as it is here */
};

bool txn_has_part(const struct txn *t, struct str topic, int32_t index);
/* A copy; if it has that one, its place. */
void txn_put_part(struct txn *t, struct str topic, int32_t index, uint64_t from);
void txn_place_part(struct txn *t, uint32_t i, uint64_t from);
/* No more than so many bytes of the offsets stream. */
size_t txn_offset_cost(struct str group, const struct committed_offset *o);
/* A copy, in the place of an earlier one. */
void txn_put_offset(struct txn *t, struct str group, const struct committed_offset *o);
/* Likewise of memory for a partition. */
size_t txn_part_cost(struct str topic);
/* Parts and offsets go. */
void txn_clear(struct txn *t);
/* Nothing of it has changed. */
void txn_kept(struct txn *t);

/* Is what has changed worth a piece, and not another record? least: TXN_WHOLE_LEAST, or less. */
bool txn_may_add(const struct txn *t, size_t least);
/* It is as its record says, of so many bytes; or the next piece. */
void txn_recorded(struct txn *t, bool piece, size_t bytes);

void txn_put_subject(struct buf *out, struct str id);
void txn_render(const struct txn *t, struct buf *payload);
void txn_put_piece_subject(struct buf *out, struct str id, uint32_t number);
void txn_render_piece(const struct txn *t, struct buf *payload);
/* False: no such message, and nothing is in t. id: appended to names. */
bool txn_parse(struct str subject, struct str payload, struct buf *names, uint64_t seed,
               struct txn *t);
/* False: no such subject. *id: a view of names. */
bool txn_parse_piece_subject(struct str subject, struct buf *names, struct str *id,
                             uint32_t *number);
/* Behind its record, and the pieces before this one. False: it is none of this transaction, which
 * stays as it is. */
bool txn_take_piece(struct txn *t, uint32_t number, struct str payload);

#endif
