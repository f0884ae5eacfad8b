/*
 * partition_txn.h - transactions on one partition: which are open, which were aborted, and so what
 * a reader of committed records may see (open_txns.h).
 *
 * Where one ends is in the stream: Kafka's markers, control batches under the subject $KAFKA.TXN.
 * The store finds them by their subject, so that nobody has to read the records in between, and a
 * stream without transactions costs nothing. What is open is known by the coordinator, too, and
 * after a start by it alone: so a partition has nothing to say until it has heard from it
 * (txn_word.h) and has read its markers. All of it belongs to the partition's worker.
 *
 * In a stream with max_msgs_per_subject one subject for all markers would mean that the newest push
 * out older ones that readers still need; there each has a subject of its own, and those of ended
 * transactions are removed when the messages in front of them are gone.
 */
#ifndef KAFKA_PARTITION_TXN_H
#define KAFKA_PARTITION_TXN_H

#include "lib/base/list.h"
#include "lib/wire/kafka_batch.h"
#include "server/kafka/open_txns.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define TXN_SUBJECT "$KAFKA.TXN"
/* Where the stream keeps so many messages of a subject each marker has one of its own, of these. */
#define TXN_SUBJECTS "$KAFKA.TXN.*"

struct partition;
struct partition_job;

struct partition_txns {
    enum { TXNS_UNREAD, TXNS_READING, TXNS_READY } known;
    struct open_txns of;
    struct store_reader reader;
    struct list parked;  /* partition_job: until it is known */
    struct list deaf;    /* of the realm's word, until that is there */
    uint64_t cleared_to; /* below it markers of what has ended were removed (TXN_SUBJECTS) */
};

void partition_txns_init(struct partition *p);
void partition_txns_deinit(struct partition *p);
/* True: known now. Else the job is parked. */
bool partition_know_txns(struct partition *p, struct partition_job *j);
/* The coordinator has said what was open. */
void partition_txns_heard(struct partition *p);
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
/* A batch of it was appended. */
void partition_txn_wrote(struct partition *p, int64_t producer, uint64_t seq);
/* Sequence of the first message of what this producer has open, or an earlier one; 0: nothing. */
uint64_t partition_txn_first(const struct partition *p, int64_t producer);

/* The producer may write from now on; *from as of open_txns_bind. ERR_AGAIN: not yet. */
enum err partition_txn_bind(struct partition *p, int64_t producer, int16_t epoch, uint64_t *from);
/* It was open before the start. */
void partition_txn_remind(struct partition *p, int64_t producer, int16_t epoch, uint64_t from);
/* ERR_OK and *seq = the sequence whose durability makes it so; 0 = it is so already. */
enum err partition_txn_end(struct partition *p, int64_t producer, int16_t epoch, bool commit,
                           uint64_t *seq);

#endif
