/*
 * txn_store.h - the records of transactions, and their pieces (txn_record.h), in the offsets
 * stream; on the coordinator's worker.
 */
#ifndef KAFKA_TXN_STORE_H
#define KAFKA_TXN_STORE_H

#include "server/kafka/txn.h"
#include "store/store.h"

/* The next piece; or the record, and behind it, when they are to be committed, the offsets. *bytes:
 * of the record or piece. */
enum err txn_append(struct txn *t, bool piece, bool offsets, uint64_t *first, size_t *bytes);
/* They are not needed any more. */
void txn_drop_pieces(struct txn *t);
/* All messages were read: those of it that there are, also of before its record. */
void txn_find_pieces(struct txn *t);
/* With its pieces. */
void txn_drop_record(struct txn *t);

#endif
