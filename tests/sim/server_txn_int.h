/*
 * server_txn_int.h - a client with transactions (server_txn.c), and what it asks for in its step
 * (server_txn_ask.c).
 */
#ifndef TESTS_SIM_SERVER_TXN_INT_H
#define TESTS_SIM_SERVER_TXN_INT_H

#include "tests/sim/server_txn.h"

enum step { TOPICS, COORDINATOR, INIT, IDLE, ADD, PRODUCE, OPEN, GROUP, OFFSETS, END };

/* A batch that has to be stored. */
struct xbatch {
    struct buf bytes;
    unsigned n;
    size_t first; /* of the ledger's records */
    bool stored;
    unsigned boots; /* how often the server had booted when it was sent first; 0: it was not */
};

struct xclient {
    struct list link;
    struct kclient *client;
    struct kcall call;
    bool busy; /* the call is under way */
    uint64_t again_at;
    enum step step;
    char id[16];
    bool v2; /* of transaction.version 2 */
    int32_t timeout_ms;
    int64_t producer;
    int16_t epoch;
    struct xtxn *txn; /* open; NULL */
    bool commit;
    bool added[XPLACES];
    int32_t next[XPLACES]; /* sequence number */
    struct xbatch batches[XPLACES];
};

static inline struct world *xclient_world(const struct xclient *x)
{
    return x->client->world;
}

static inline struct xledger *xclient_ledger(const struct xclient *x)
{
    return xclient_world(x)->model->txns;
}

/* ---- server_txn_ask.c */
/* A batch for that place; its records are in the ledger. */
void xclient_build(struct xclient *x, unsigned place);
/* Sends the request of its step. */
void xclient_ask(struct xclient *x);

#endif
