/*
 * server_txn.h - producers with transactions in the simulated server (server_txn.c), and who reads
 * what they committed (server_txn_judge.c).
 *
 * They have topics of their own, X0 and so on, which nobody else touches. The ledger says of each
 * transaction what its client was told: what was committed is seen whole, once and in order, over
 * all topics, and nothing else ever is.
 */
#ifndef TESTS_SIM_SERVER_TXN_H
#define TESTS_SIM_SERVER_TXN_H

#include "tests/sim/server_kafka.h"
#include "tests/sim/server_model.h"

enum { XTOPICS = 4 };

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
    unsigned topic;
    bool acked; /* Produce said that it is stored */
    bool seen;  /* by the reader */
};

struct xledger {
    unsigned topics;
    bool there; /* the topics are */
    struct xtxn **txns;
    struct xrecord **records; /* by the number in the payload */
    size_t ntxns, nrecords;
    int64_t at[XTOPICS]; /* where the reader is */
    struct list clients; /* struct xclient */
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

/* ---- server_txn_judge.c */
/* The reader of committed records asks for more. */
void xtxns_read(struct world *w);
/* Nothing is under way. On the side of a power cut every transaction has to come to its end. */
void xtxns_judge(struct world *w);

#endif
