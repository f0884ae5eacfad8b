/*
 * server_work.h - what clients do (server_work.c: operations; server_take.c: what comes back), and
 * judgement (server_judge.c).
 */
#ifndef TESTS_SIM_SERVER_WORK_H
#define TESTS_SIM_SERVER_WORK_H

#include "tests/sim/server_client.h"
#include "tests/sim/server_model.h"

/* What a client of the workload remembers. */
struct worker_bee {
    uint64_t core_sent;       /* numbers of plain messages, over all connections */
    uint64_t core_sure;       /* ... of which the server has taken at least these */
    uint64_t core_at_ping[8]; /* core_sent when the last pings were sent */
    /* of every client: the last number seen, and from when on none may be missing */
    struct {
        uint64_t seen, conn, wanted_at_ping[8];
    } from[16];
    bool subscribed;    /* the first PONG of this connection came */
    uint64_t forgotten; /* requests up to this one may be answered, and nobody waits for it */
};

extern const struct client_ops work_client_ops;
struct client *work_client_open(struct world *w);
void work_client_close(struct client *c);

/* One drawn operation; those that end the server are the caller's. */
enum work_op work_draw(struct world *w);
void work_do(struct world *w, enum work_op op);
/* Lets everything that was asked for be answered; fails when something is not. A new epoch. */
void work_settle(struct world *w);
/* Clients read and acknowledge until no consumer has anything left. */
void work_drain(struct world *w);
/* Time until the loops have run for so long. */
void work_pass(struct world *w, uint64_t ns);

/* ---- server_take.c --------------------------------------------------------------------------- */

/* A request of the workload. */
enum ask_kind {
    ASK_PUBLISH,
    ASK_STREAM_CREATE,
    ASK_STREAM_AGAIN,
    ASK_STREAM_UPDATE,
    ASK_STREAM_DELETE,
    ASK_PURGE,
    ASK_MSG_DELETE,
    ASK_GET,
    ASK_DIRECT_GET,
    ASK_CONSUMER_CREATE,
    ASK_CONSUMER_DELETE,
    ASK_CONSUMER_INFO,
    ASK_ACK,
    ASK_BATCH, /* the last message of an atomic one */
};

struct ask {
    struct request req;
    enum ask_kind kind;
    struct world *world;
    struct m_stream *stream;
    struct m_consumer *consumer;
    struct m_msg *msg;
    struct m_batch *batch;
    uint64_t seq;    /* MSG_DELETE, GET, ACK; PUBLISH: the last sequence that was expected, + 1 */
    uint64_t clock;  /* model's, when it was sent */
    uint64_t before; /* PURGE: its bound, 0 = none */
    int subject;     /* PURGE: its filter, or -1 */
    bool sure;       /* PUBLISH: the stream was there */
    uint64_t *left;  /* CONSUMER_INFO: messages that are not acknowledged yet */
};

struct ask *ask_new(struct world *w, enum ask_kind kind);
void ask_send(struct client *c, struct ask *a, const char *subject, struct str header,
              struct str payload);
/* A message that a consumer delivered. */
void take_delivery(struct client *c, const struct nats_op *op);
/* {"message":{...}} of a get: the message, and its sequence. NULL when there is none. */
struct m_msg *take_message(struct world *w, struct str json, uint64_t *seq);

/* ---- server_batch.c -------------------------------------------------------------------------- */

/* An atomic batch into a stream that is there. */
void batch_publish(struct client *c, struct m_stream *s);
void batch_answered(struct ask *a, const struct nats_op *op);
/* No answer comes any more; refused: it was not stored. */
void batch_settled(struct m_batch *b, bool refused);
/* All or nothing of every batch; at: by sequence. */
void batch_judge(struct world *w, const struct m_stream *s, struct m_msg *const *at, uint64_t first,
                 uint64_t last);

/* ---- server_judge.c -------------------------------------------------------------------------- */

/* Compares everything the server has with the model, over a connection. adopt: nothing is under
 * way; what is there is promised from now on, and what is not there never was. */
void judge_all(struct world *w, bool adopt);
/* After work_drain: whoever reads everything has had everything that is still there. */
void judge_drained(struct world *w);

#endif
