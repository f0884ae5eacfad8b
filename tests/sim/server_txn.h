/*
 * server_txn.h - producers with transactions in the simulated server (server_txn.c), and who reads
 * what they committed (server_txn_judge.c).
 *
 * They have topics of their own, X0 and so on, which nobody else touches. The ledger says of each
 * transaction what its client was told: what was committed is seen whole, once and in order, over
 * all topics, and nothing else ever is. Only what DeleteRecords, a limit or compaction may have
 * taken may be missing.
 */
#ifndef TESTS_SIM_SERVER_TXN_H
#define TESTS_SIM_SERVER_TXN_H

#include "tests/sim/server_kafka.h"
#include "tests/sim/server_model.h"

/* Partitions of all topics together, numbered through, are places. */
enum { XTOPICS = 4, XPLACES = 8 };

/* What becomes of a topic's old messages. */
enum xkind { X_KEEP, X_KEEP_TOO, X_LIMITED, X_COMPACT };

enum xstate {
    X_OPEN,
    X_COMMITTED,
    X_ABORTED,
    X_UNKNOWN, /* a commit was sent, and no answer came: all or nothing, to be seen */
};

struct xtxn {
    unsigned client, number; /* number: over all clients, from 1 */
    enum xstate state;
    bool commit_sent;
    bool offsets; /* it carries the group's offset, which is its number */
    bool maybe_offsets;
    uint64_t began;
};

struct xrecord {
    struct xtxn *txn;
    unsigned place;
    unsigned key;   /* 0: none */
    int64_t offset; /* Produce said so; -1: it did not */
    bool acked;     /* Produce said that it is stored */
    bool seen;      /* by the reader */
    bool again; /* sent again over a start: where a limit has taken the first, there is another */
};

struct xledger {
    unsigned topics, parts;
    bool there; /* the topics are */
    struct xtxn **txns;
    struct xrecord **records; /* by the number in the payload */
    size_t ntxns, nrecords;
    int64_t at[XPLACES];      /* where the reader is */
    int64_t jumped[XPLACES];  /* it could not go on, and went to the first record there was */
    int64_t high[XPLACES];    /* that it has seen */
    int64_t deleted[XPLACES]; /* DeleteRecords was asked for what is before this */
    int64_t gone[XPLACES];    /* ... and has said that it is */
    int64_t start[XPLACES];   /* the first record, when the judge looked */
    struct list clients;      /* struct xclient */
    struct kclient *reader;
    bool reading;
};

/* ---- clients */
void xtxns_open(struct world *w);
void xtxns_close(struct world *w);
/* A drawn step of a drawn client. */
void xtxns_do(struct world *w);
/* Those who wait for another try. */
void xtxns_push(struct world *w);
bool xtxns_at_rest(const struct world *w);
void xtxns_explain_unrest(struct world *w);
uint64_t xtxns_longest_ns(void);
const char *xtxn_group(unsigned client);
unsigned xplaces(const struct xledger *l);
/* "X<n>", and the partition of it. */
struct str xplace_topic(const struct xledger *l, unsigned place);
int32_t xplace_index(const struct xledger *l, unsigned place);
enum xkind xplace_kind(const struct world *w, unsigned place);
/* Of this topic and partition. */
unsigned xplace_of(const struct xledger *l, struct str topic, int32_t index);

/* ---- server_txn_judge.c */
/* The reader of committed records asks for more. */
void xtxns_read(struct world *w);
/* Nothing is under way. On the side of a power cut every transaction has to come to its end. */
void xtxns_judge(struct world *w);

#endif
