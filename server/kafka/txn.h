/*
 * txn.h - transactions, on the coordinator's worker: their life, and the operations on them.
 *
 * One operation at a time per transactional id; while one is under way the next is told 51, and
 * clients come again. An operation writes the record of the transaction first, and does then what
 * the record says; so a crash is followed by doing it again, which changes nothing where it was
 * done (partition_txn.h).
 */
#ifndef KAFKA_TXN_H
#define KAFKA_TXN_H

#include "server/kafka/coordinator.h"
#include "server/kafka/txn_record.h"

/* Kafka's transaction.max.timeout.ms. */
#define TXN_TIMEOUT_MAX_MS 900000
/* Most transactional ids of one coordinator; the longest an unused one is kept, if there is room
 * (txn_table.h). */
#define TXNS_MAX 65536u
/* What all transactions together have of partitions and offsets; what is more comes again. */
#define TXNS_BYTES_MAX (256u << 20)
#define TXN_KEPT_MS (7 * INT64_C(86400000))
/* A transaction may begin with the epochs below this one: two ends that raise it are left. */
#define TXN_EPOCH_LAST (INT16_MAX - 2)

struct txn *txn_find(struct coordinator *c, struct str id);
/* Made when there is none, and belongs to this owner then (p == NULL: nobody); NULL: there are too
 * many. */
struct txn *txn_get(struct coordinator *c, struct str id, struct str owner);
/* The one whose producer and epoch these are, and nothing is under way; NULL: *error. fenced: what
 * an old epoch is told. */
struct txn *txn_for(struct coordinator *c, struct str id, int64_t producer, int16_t epoch,
                    int16_t fenced, int16_t *error);
/* It has that partition from now on; 0, or why it can not. */
int16_t txn_want_part(struct txn *t, struct str topic, int32_t index);
/* It is ONGOING; the time runs from now if it was not. */
void txn_begin(struct txn *t);
/* A number that no producer has had. */
int64_t txn_new_producer(struct kafka *k);
/* Nothing of it is open or under way. */
bool txn_at_rest(const struct txn *t);
/* Its errand runs again when what is under way has ended. False: that may be never. */
bool txn_wait(struct txn *t, struct errand *e);

/* Writes the record; done is called with an error or 0, later, unless the errand was told that the
 * coordinator goes. */
void txn_save(struct txn *t, struct errand *e,
              void (*done)(struct txn *t, struct errand *e, int16_t error));
/* Tells its partitions (all, or those that have not said their place yet) that the producer may
 * write, and writes the record with what they say. */
void txn_bind(struct txn *t, bool all, struct errand *e,
              void (*done)(struct txn *t, struct errand *e, int16_t error));
/* Ends it: the state (PREPARE_...), the markers, the offsets. raise: whoever has written so far has
 * an old epoch from then on; when there is none left, it is a new producer that goes on. e may be
 * NULL. */
void txn_end(struct txn *t, bool commit, bool raise, struct errand *e,
             void (*done)(struct txn *t, struct errand *e, int16_t error));

/* ---- txn_api.c, for the requests */
/* 0, or why not. */
int16_t txn_check_id(const struct kafka_request *r, struct str id);
/* What an old epoch is told. */
int16_t txn_fenced(const struct errand *e);
/* Partitions of a Produce request (version 12 and above) that its transaction has to have. */
struct txn_wanted {
    struct txn_wanted *next;
    struct str topic;
    int32_t index;
};
struct txn_want {
    struct kafka_request *request;
    struct str id;
    int64_t producer;
    int16_t epoch;
    struct txn_wanted *parts;
    int16_t error; /* afterwards: why they may not be written to; 0 */
    void (*done)(struct txn_want *w);
};
/* done, at home: perhaps before this returns. The request's arena is not used until then. */
void txn_want_parts(struct txn_want *w);

/* ---- coordinator.c calls; the first one: txn_store.c */
/* A message of the offsets stream; true: it was a transaction's. */
bool txn_take_message(struct coordinator *c, const struct store_msg *m);
/* All messages were taken: goes on with what was under way. */
void txns_loaded(struct coordinator *c);
void txns_sweep(struct coordinator *c);
void txns_close(struct coordinator *c);

#endif
