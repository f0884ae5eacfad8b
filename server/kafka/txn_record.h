/*
 * txn_record.h - a transactional id and its transaction, and how it is kept: one message of the
 * offsets stream per id. Pure.
 *
 *     subject  $KAFKA.TXN.<id>, written as names in the offsets' subjects
 *     payload  version (2, or 3 when there is a previous producer: an end that raised the epoch),
 *              state, producer, epoch, timeout, start, change; in version 3 the previous producer;
 *              the partitions (topic, number, and from version 2 on the sequence in front of which
 *              the transaction has nothing there: open_txns.h); the offsets (group, topic,
 *              partition, offset, epoch, metadata, topic's id)
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
};

struct txn_offset {
    struct str group;          /* owned */
    struct committed_offset o; /* topic and metadata owned; not in a table */
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
    struct wheel_timer timer;
    struct txn_op *op;   /* under way */
    struct list waiting; /* errands, for its end */
    bool unsaved;        /* it is not known to be in its record as it is here */
};

bool txn_has_part(const struct txn *t, struct str topic, int32_t index);
void txn_add_part(struct txn *t, struct str topic, int32_t index, uint64_t from);
/* No more than so many bytes of the offsets stream. */
size_t txn_offset_cost(struct str group, const struct committed_offset *o);
/* A copy, in the place of an earlier one. */
void txn_put_offset(struct txn *t, struct str group, const struct committed_offset *o);
/* Likewise of memory for a partition. */
size_t txn_part_cost(struct str topic);
/* Parts and offsets go. */
void txn_clear(struct txn *t);

void txn_put_subject(struct buf *out, struct str id);
void txn_render(const struct txn *t, struct buf *payload);
/* False: no such message, and nothing is in t. id: appended to names. */
bool txn_parse(struct str subject, struct str payload, struct buf *names, uint64_t seed,
               struct txn *t);

#endif
