/*
 * open_txns.h - the transactions of a partition: which are open, which were aborted. Pure.
 *
 * A transaction takes one offset more than its records, for its end. Where it begins is not a
 * message: the coordinator asks the partition before the producer may write (bind), is told a
 * sequence in front of which the transaction has nothing, and keeps that in the transaction's
 * record. From then on the first batch of the producer is the beginning.
 *
 * After a start the coordinator says again what was open, and from where (remind); what it says is
 * taken for the beginning, which is as early or earlier. So nobody has to look for the first batch,
 * and the offset before which everything is decided may lie a little lower than before. Then the
 * markers that are stored are taken in their order: an end behind the place of which the
 * coordinator spoke is that transaction's. Until both have happened nobody may ask what is decided.
 *
 * Programs before this one stored a marker where a transaction begins, too (a commit marker with a
 * coordinator epoch above 0): those are still understood, and the coordinator's records of that
 * time, which say nothing of a place (0).
 *
 * Sequences are those of the stream. "Durable" below is the last durable one.
 */
#ifndef KAFKA_OPEN_TXNS_H
#define KAFKA_OPEN_TXNS_H

#include "lib/base/err.h"
#include "lib/base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct txn_open {
    struct list link;
    int64_t producer;
    int16_t epoch;
    uint64_t from;  /* it has nothing in front of it; 0: not known */
    uint64_t begin; /* its first message, or an earlier one; 0: it has none yet */
    uint64_t end;   /* the marker; 0: there is none yet */
    bool commit;
};

struct txn_aborted {
    int64_t producer;
    uint64_t first, last; /* its first message, or an earlier one; the marker */
};

struct open_txns {
    struct list open; /* in the order in which they were bound */
    struct txn_aborted *aborted;
    size_t naborted, cap; /* in the order in which they ended */
};

void open_txns_init(struct open_txns *x);
void open_txns_deinit(struct open_txns *x);
struct txn_open *open_txns_find(const struct open_txns *x, int64_t producer);

/* A producer will write. *from is for the record; the same as before when it is bound already.
 * ERR_AGAIN: its last transaction's end is not durable yet. */
enum err open_txns_bind(struct open_txns *x, int64_t producer, int16_t epoch, uint64_t durable,
                        uint64_t *from);
/* The coordinator's word after a start. Where it is bound already this changes nothing. */
void open_txns_remind(struct open_txns *x, int64_t producer, int16_t epoch, uint64_t from,
                      uint64_t durable);
/* Is it open, for this epoch? */
bool open_txns_may_write(const struct open_txns *x, int64_t producer, int16_t epoch);
/* A batch of it was appended. */
void open_txns_wrote(struct open_txns *x, int64_t producer, uint64_t seq);
/* Its end was appended. */
void open_txns_ended(struct txn_open *t, uint64_t seq, bool commit);
/* It has written nothing, and needs no end: t is gone. */
void open_txns_drop(struct txn_open *t);

/* More is durable; or nothing behind it ever was. */
void open_txns_committed(struct open_txns *x, uint64_t durable);
void open_txns_refused(struct open_txns *x, uint64_t durable);
/* Aborted ones of which nothing is left go. */
void open_txns_forget(struct open_txns *x, uint64_t first);

/* The first sequence that is not decided; durable + 1 when all is. first: of what there is. */
uint64_t open_txns_undecided(const struct open_txns *x, uint64_t first, uint64_t durable);
/* The first of the aborted ones that ends at this sequence or behind it. */
size_t open_txns_aborted_from(const struct open_txns *x, uint64_t seq);
/* Was the transaction aborted that this producer's message belongs to? */
bool open_txns_was_aborted(const struct open_txns *x, int64_t producer, uint64_t seq);

/* ---- markers as they are stored: producer and epoch are the batch's, the rest is in the record */
struct txn_marker {
    int64_t producer;
    int16_t epoch;
    bool commit;
    int32_t coordinator; /* the coordinator's epoch */
    uint64_t seq;
};

/* Does it begin a transaction, or go on with one? Else it ends one. */
static inline bool txn_marker_begins(const struct txn_marker *m)
{
    return m->coordinator > 0;
}

/* What the end of this one says, if it is stored at seq. */
int32_t open_txns_end_epoch(const struct txn_open *t, uint64_t seq);
/* A stored marker, all of them in their order. first: of what there is. */
void open_txns_take(struct open_txns *x, const struct txn_marker *m, uint64_t first);

#endif
