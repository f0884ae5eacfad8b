/*
 * retention_model.h - a stream with consumers, as plain arrays: what nats-server's documents and
 * behaviour say that must be there after every step. It decides nothing about order where the
 * server may choose: a delivery is judged, not predicted.
 *
 * Time is counted in ticks of 10 s. What the test asks of the server takes far less, and every wait
 * ends in the middle of a tick: an ack wait of 25 s is over after 3 ticks, an age of 55 s after 6.
 */
#ifndef TESTS_RETENTION_MODEL_H
#define TESTS_RETENTION_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { M_CONSUMERS = 3, M_SUBJECTS = 3, M_SEQS = 512, M_ALL = (1 << M_SUBJECTS) - 1 };
enum { M_ACK_WAIT = 3, M_NAK_DELAY = 2, M_MAX_AGE = 6 };
enum m_retention { M_LIMITS, M_INTEREST, M_WORKQUEUE };

struct m_msg {
    bool there;
    unsigned subject, stored; /* wall tick */
};

struct m_pend {
    bool there, ready;
    unsigned deliveries, due; /* tick, when not ready */
    uint64_t dseq;
};

struct m_consumer {
    bool exists, ack_all;
    unsigned subjects; /* bits it wants */
    unsigned max_deliver, max_ack_pending;
    uint64_t next, delivered, floor_c, floor_s;
    struct m_pend pend[M_SEQS];
    bool given_up[M_SEQS]; /* over max_deliver */
};

struct model {
    enum m_retention retention;
    bool ages;
    unsigned max_msgs;   /* 0 = no limit */
    unsigned tick, wall; /* the clock on the wall may jump */
    uint64_t last;
    struct m_msg msgs[M_SEQS];
    struct m_consumer consumers[M_CONSUMERS];
};

unsigned m_count(const struct model *m);
uint64_t m_first(const struct model *m);
bool m_wants(const struct m_consumer *c, unsigned subject);
/* Does anybody listen? On an interest stream a message without one is not kept. */
void m_publish(struct model *m, unsigned subject);
void m_remove(struct model *m, uint64_t seq);
/* Messages of these subjects (M_ALL: without a filter) before `before`, but the newest `keep`.
 * Consumers move up with it. */
void m_purge(struct model *m, unsigned subjects, uint64_t before, unsigned keep);
void m_set_max(struct model *m, unsigned max_msgs);
void m_tick(struct model *m);
/* The server ended, in whatever way, and started `ticks` later by a clock that was set forward. */
void m_restart(struct model *m, unsigned ticks, unsigned jump);

struct m_consumer *m_create(struct model *m, unsigned i, unsigned subjects, bool from_new);
void m_delete(struct model *m, unsigned i);
void m_filter(struct model *m, struct m_consumer *c, unsigned subjects);
void m_reset(struct model *m, struct m_consumer *c, uint64_t seq);
/* Acknowledged or terminated. */
void m_ack(struct model *m, struct m_consumer *c, uint64_t seq);
void m_nak(struct model *m, struct m_consumer *c, uint64_t seq, bool delayed);
void m_working(struct model *m, struct m_consumer *c, uint64_t seq);
/* This was delivered: NULL, or what is wrong with that. */
const char *m_delivered(struct model *m, struct m_consumer *c, uint64_t seq, unsigned deliveries,
                        uint64_t dseq, uint64_t pending);
/* Could anything be delivered? */
bool m_more(const struct model *m, const struct m_consumer *c);

uint64_t m_pending(const struct model *m, const struct m_consumer *c);
unsigned m_ack_pending(const struct m_consumer *c);
unsigned m_redelivered(const struct m_consumer *c);

#endif
