/*
 * txn_table.h - the transactional ids that a coordinator knows, and whose they are. Pure.
 *
 * An id belongs to who asked for its producer last: a user, or an address where clients have no
 * names. Ids of which nothing is open or under way are at rest; these may go, and whoever comes
 * with one again is told that its producer is not known (49), as when an id has expired.
 *
 * When the table is full, room is made by the one who has the most ids at rest: the id goes that
 * rests longest. One owner has no more than three quarters of the table, whatever its ids do: so
 * nobody keeps others out. The same holds for the memory of what transactions have. Whose the ids
 * are is not in their records: those of before a start belong to nobody until they are asked for
 * again.
 */
#ifndef KAFKA_TXN_TABLE_H
#define KAFKA_TXN_TABLE_H

#include "server/kafka/txn_record.h"

struct txn_owner {
    struct hmap_node node;
    struct list link; /* table->owners */
    struct str name;  /* owned */
    uint32_t n, nresting;
    size_t bytes;        /* of what its transactions have */
    struct list resting; /* struct txn, that which rests longest first */
};

struct txn_table {
    struct hmap map;
    struct list all; /* struct txn, in the order in which they came */
    struct hmap by_name;
    struct list owners;
    struct txn_owner nobody;
    uint64_t seed;
    uint32_t max, max_of_one;
    size_t bytes, max_bytes, max_bytes_of_one;
};

void txn_table_init(struct txn_table *x, uint64_t seed, uint32_t max, size_t max_bytes);
/* It is empty. */
void txn_table_deinit(struct txn_table *x);

struct txn *txn_table_find(const struct txn_table *x, struct str id);
/* May this owner (p == NULL: nobody) have another one? True: when *out has gone, or at once when it
 * is NULL. False: none of those that could go is at rest. */
bool txn_table_room(struct txn_table *x, struct str owner, struct txn **out);
/* There is room, and no such id; at rest. */
struct txn *txn_table_add(struct txn_table *x, struct str id, struct str owner);
/* It belongs to this one from now on. */
void txn_table_own(struct txn_table *x, struct txn *t, struct str owner);
/* Freed, with what it has. */
void txn_table_remove(struct txn_table *x, struct txn *t);
/* It is at rest from now on, or not; and what it has now is counted. */
void txn_table_rest(struct txn_table *x, struct txn *t, bool rests);
/* May it have so many more bytes? */
bool txn_table_may_hold(const struct txn_table *x, const struct txn *t, size_t more);

#endif
