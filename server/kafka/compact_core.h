/*
 * compact_core.h - what of a compacted partition can go: one message per key stays, the last one.
 *
 * A pass goes over the partition twice. First its new part, from where the last pass ended
 * (compact_note): the last sequence of each key, in a table. Then all of it from the first message
 * on (compact_look): what has a later message of its key goes. Between the two the caller gives it
 * what it has read, in order; nothing here waits or reads, so it may run on a pool thread.
 *
 * What goes, too: records of aborted transactions, at once; and, below `horizon`, null values that
 * are the last of their key, and the markers of transactions that have ended (the beginning before
 * the end, so that nothing looks open that is not). What stays whatever its key: a message without
 * one, the last record of a producer's last batch, and what can not be read.
 *
 * Keys are told apart by 128 bits of SHA-256, so a table of a million takes 50 MB at most.
 * Pure but for allocations.
 */
#ifndef KAFKA_COMPACT_CORE_H
#define KAFKA_COMPACT_CORE_H

#include "lib/base/seqset.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Keys of one pass; where there are more, the pass ends before the first that has no place. */
#define COMPACT_KEYS_MAX (1u << 20)

struct compact_slot {
    uint64_t hash[2];
    uint64_t seq; /* 0: free */
};

struct compact_begin; /* the beginning of a transaction whose end has not come yet */

struct compact_pass {
    /* Set by the caller after compact_pass_init. */
    uint32_t most_keys;
    uint64_t horizon; /* null values and markers below it go */
    /* Result of noting: the first sequence that found no place; 0 = all have. */
    uint64_t full;
    /* Result of looking: what is to be removed; the caller takes it and frees it. */
    struct seqset gone;
    uint64_t waiting; /* null values and markers that stay because of the horizon alone */
    /* Private. */
    struct compact_slot *slots;
    uint32_t nkeys, cap;
    uint64_t seed;
    struct compact_begin *begins;
    size_t nbegins, begins_cap;
};

/* A producer's batch, or one message of a NATS client, as it is in the stream. */
struct compact_entry {
    uint64_t first_seq;
    uint32_t messages;
    bool kafka;
    struct str batch;  /* kafka */
    struct str header; /* else */
    size_t payload;    /* bytes of it */
    bool aborted;      /* kafka: of a transaction that was */
    bool keep_last;    /* kafka: the last message stays: its producer's last batch */
    /* kafka: bit per message that does not exist any more, or NULL; such count for nothing. */
    const uint64_t *holes;
};

/* seed: so that clients can not choose keys that lie in one place of the table. */
void compact_pass_init(struct compact_pass *p, uint64_t seed);
void compact_pass_deinit(struct compact_pass *p);
/* False: there is no place for a key of it; p->full says where. */
bool compact_note(struct compact_pass *p, const struct compact_entry *e);
void compact_look(struct compact_pass *p, const struct compact_entry *e);

#endif
