/*
 * server_model.h - what clients know of a server, from what it told them: a plain ledger.
 *
 * Every published message has a token, which is in its payload, so that a message can be recognised
 * wherever it turns up. Every stream and consumer has a name that is used once.
 *
 * What is *promised* must be there from then on: messages that were acknowledged, delivered or
 * read. What *may go* is excused: a removal was asked for. What is *gone* was acknowledged as
 * removed and may not come back.
 *
 * The ledger also says which tokens are durable on the simulated disk, from the disk itself: each
 * promise is compared with that at the instant at which a client gets it.
 */
#ifndef TESTS_SIM_SERVER_MODEL_H
#define TESTS_SIM_SERVER_MODEL_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "tests/sim/server_world.h"
#include "tests/sim/sim_disk.h"

enum { MODEL_SLOTS = 4, MODEL_SUBJECTS = 8, MODEL_CONSUMERS = 4 };

/* ASKED: may exist. DYING: may still exist. */
enum life { LIFE_ASKED, LIFE_SURE, LIFE_DYING, LIFE_GONE };

enum msg_state {
    MSG_SENT,    /* nobody knows */
    MSG_KNOWN,   /* stored at stream and seq */
    MSG_REFUSED, /* answered with an error, or found not to be stored: must never turn up */
};

struct m_stream;

struct m_msg {
    unsigned token;
    unsigned slot, subject;
    size_t len;  /* of the payload */
    bool has_id; /* Nats-Msg-Id is the token */
    bool again;  /* was sent more than once */
    bool asked;  /* an answer may still come */
    enum msg_state state;
    struct m_stream *stream;
    uint64_t seq;
    unsigned client;
    uint64_t conn; /* of the client */
    uint64_t sent; /* model's clock */
    uint64_t sent_ns;
    struct m_stream *topic; /* it was sent to this topic; NULL = to the slot's subjects */
    unsigned key;           /* of the record; 0 = none */
    struct m_batch *batch;  /* it is part of an atomic one; NULL = of none */
    struct m_msg *prev;     /* what its producer sent to the topic before; NULL = none, no order */
};

struct m_place {
    struct m_msg *msg; /* NULL: not known */
    bool promised, may_go, gone;
    uint64_t since; /* model's clock when it was promised */
    unsigned gone_epoch;
};

enum m_retention { M_LIMITS, M_WORKQUEUE, M_INTEREST };

struct m_stream {
    char name[16];
    unsigned slot;
    enum life life;
    bool memory, async, direct;
    bool atomic;  /* takes atomic batches */
    bool topic;   /* its one subject is its name, so that Kafka clients may produce into it */
    bool compact; /* only the last message of a key is kept */
    enum m_retention retention;
    uint64_t max_msgs, per_subject; /* 0 = none; max_msgs: what it was last set to */
    uint64_t least_max;             /* the smallest max_msgs that was ever asked for; 0 = none */
    bool updating;
    uint64_t updated;   /* model's clock when an update was asked for last */
    uint64_t born;      /* model's clock */
    unsigned again;     /* epoch + 1 in which a client asked for it once more */
    struct m_place *at; /* by sequence; [0] is not used */
    size_t n;
    uint64_t last;                   /* the largest sequence that was promised */
    bool removals;                   /* something may have been removed by request */
    uint64_t purged[MODEL_SUBJECTS]; /* messages sent before this may be gone */
    struct m_consumer *consumers[MODEL_CONSUMERS];
};

enum { GOT = 1, ACK_SENT = 2, ACK_SURE = 4 };

struct m_consumer {
    char name[16];
    struct m_stream *stream;
    enum life life;
    unsigned number; /* in the name */
    bool push, ack_none, ack_all;
    int filter;       /* subject, or -1 */
    unsigned owner;   /* client that subscribes to the deliver subject */
    uint64_t sure_at; /* model's clock when its creation was answered */
    bool fresh;       /* delivers only what is stored after its creation */
    uint8_t *flags;   /* by sequence */
    struct m_acked {
        unsigned epoch, client;
        uint64_t conn;
    } * acked;
    size_t n;
};

struct model {
    struct m_msg **msgs;
    size_t nmsgs;
    uint8_t *durable; /* by token */
    size_t ndurable;
    struct m_stream **streams;
    size_t nstreams;
    struct m_consumer **consumers;
    size_t nconsumers;
    struct m_stream *slots[MODEL_SLOTS];
    uint64_t clock; /* counts what clients do */
    unsigned epoch; /* counts moments at which nothing was under way */
    bool full;      /* the disk, now */
    bool was_full;  /* ... since the last epoch */
    bool unseen;    /* the server has started, and nobody has looked at what it has */
    bool faulty;   /* a write or a sync has failed, or will, since the last boot: errors and silence
                      are fine, broken promises are not */
    bool stopped;  /* the server was told to stop: what it had not made durable is refused */
    bool draining; /* clients acknowledge everything */
    struct m_batch *batches; /* all, server_batch.c */
    struct xledger *txns;    /* server_txn.h; NULL = none */
    int64_t *producers;      /* ids that were given out */
    size_t nproducers;
};

/* Transactions (server_txn.h). */
struct xledger;
void xledger_free(struct xledger *x);
struct m_batch;
void batches_free(struct m_batch *b);

struct model *model_new(void);
void model_free(struct model *m);

struct m_msg *model_msg_new(struct model *m);
void model_payload(const struct m_msg *msg, struct buf *out);
void model_subject(const struct m_msg *msg, char out[32]);
/* Where messages of this subject of the stream are published. */
void model_subject_of(const struct m_stream *s, unsigned subject, char out[32]);
/* The message whose payload this is; fails when there is none, or a byte differs. */
struct m_msg *model_recognise(struct world *w, struct str subject, struct str payload);

struct m_stream *model_stream_new(struct model *m, unsigned slot);
struct m_stream *model_stream_find(struct model *m, struct str name);
struct m_consumer *model_consumer_new(struct model *m, struct m_stream *s);
struct m_consumer *model_consumer_find(struct model *m, struct str name);
bool model_wants(const struct m_consumer *c, const struct m_msg *msg);

struct m_place *model_place(struct m_stream *s, uint64_t seq);
uint8_t *model_flags(struct m_consumer *c, uint64_t seq);
struct m_acked *model_acked(struct m_consumer *c, uint64_t seq);

/* A client was told or shown that msg is stored at seq: fails when that contradicts what is known,
 * or when the disk does not have it. */
void model_promise(struct world *w, struct m_stream *s, uint64_t seq, struct m_msg *msg,
                   const char *how);
/* May msg be at another place than it was? */
bool model_moved(const struct model *m, const struct m_stream *s, const struct m_msg *msg);
/* A client was told that the stream has reached seq. */
void model_reached(struct m_stream *s, uint64_t seq);
/* May this place be empty? last: of the stream now. */
bool model_excused(const struct model *m, const struct m_stream *s, uint64_t seq, uint64_t last);

/* Watches the disk of the world's sim (again after a crash: it is a new one), and reads what it
 * already has. */
void model_watch_disk(struct world *w);

#endif
