/*
 * txn_pending.h - the offsets that transactions have and have not decided yet, as a set: made for
 * one request, on the coordinator's worker, and gone with it.
 */
#ifndef KAFKA_TXN_PENDING_H
#define KAFKA_TXN_PENDING_H

#include "server/kafka/txn_table.h"

struct txn_pending {
    struct hmap map;
    struct txn_pending_one *all;
    uint64_t seed;
};

/* Looks at every transaction once. */
void txn_pending_init(struct txn_pending *p, const struct txn_table *x);
void txn_pending_deinit(struct txn_pending *p);
bool txn_pending_has(const struct txn_pending *p, struct str group, struct str topic,
                     int32_t partition);

#endif
