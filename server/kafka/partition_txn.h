/*
 * partition_txn.h - transactions on one partition: which are open, which were aborted, and so what
 * a reader of committed records may see.
 *
 * What is known is in the stream: markers, which are control batches under the subject $KAFKA.TXN.
 * One begins a transaction (a commit marker with the producer's id and a coordinator epoch above 0:
 * clients step over it), one ends it (Kafka's marker, coordinator epoch 0 or less). The store finds
 * them by their subject, so that nobody has to read the records in between, and a stream without
 * transactions costs nothing. All of it belongs to the partition's worker.
 *
 * In a stream with max_msgs_per_subject one subject for all markers would mean that the newest push
 * out older ones that readers still need; there each has a subject of its own, and those of ended
 * transactions are removed when the messages in front of them are gone.
 */
#ifndef KAFKA_PARTITION_TXN_H
#define KAFKA_PARTITION_TXN_H

#include "lib/base/list.h"
#include "lib/wire/kafka_batch.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define TXN_SUBJECT "$KAFKA.TXN"
/* Where the stream keeps so many messages of a subject each marker has one of its own, of these. */
#define TXN_SUBJECTS "$KAFKA.TXN.*"

struct partition;
struct partition_job;

struct txn_aborted {
    int64_t producer;
    uint64_t first, last; /* sequences of the markers */
};

struct partition_txns {
    enum { TXNS_UNREAD, TXNS_READING, TXNS_READY } known;
    struct list open;            /* in the order in which they began */
    struct txn_aborted *aborted; /* in the order in which they ended */
    size_t naborted, cap;
    struct store_reader reader;
    struct list parked;  /* partition_job: until it is known */
    uint64_t cleared_to; /* below it markers of what has ended were removed (TXN_SUBJECTS) */
};

void partition_txns_init(struct partition *p);
void partition_txns_deinit(struct partition *p);
/* True: known now. Else the job is parked. */
bool partition_know_txns(struct partition *p, struct partition_job *j);
/* The offset before which everything is decided; the end of the partition if all is. */
int64_t partition_stable(const struct partition *p);

/* The stream has more that is durable; or nothing behind last_seq ever was; or it has less. */
void partition_txns_committed(struct partition *p, uint64_t last_seq);
void partition_txns_refused(struct partition *p, uint64_t last_seq);
void partition_txns_removed(struct partition *p);

/* Was the transaction aborted that this producer's message belongs to? */
bool partition_txn_was_aborted(const struct partition *p, int64_t producer, uint64_t seq);
/* Aborted transactions whose markers have been removed are forgotten. */
void partition_txns_compacted(struct partition *p);

/* Is a transaction of this producer open? */
bool partition_txn_is_open(const struct partition *p, int64_t producer, int16_t epoch);
/* Sequence of the first message of what this producer has open; 0: nothing. */
uint64_t partition_txn_first(const struct partition *p, int64_t producer);
/* Both: ERR_OK and *seq = the sequence whose durability makes it so; 0 = it is so already. */
enum err partition_txn_begin(struct partition *p, int64_t producer, int16_t epoch, uint64_t *seq);
enum err partition_txn_end(struct partition *p, int64_t producer, int16_t epoch, bool commit,
                           uint64_t *seq);

#endif
