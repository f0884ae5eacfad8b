/*
 * server_kafka_work.h - what Kafka clients do: producers (server_kafka_work.c), readers and
 * judgement (server_kafka_read.c).
 */
#ifndef TESTS_SIM_SERVER_KAFKA_WORK_H
#define TESTS_SIM_SERVER_KAFKA_WORK_H

#include "tests/sim/server_kafka.h"
#include "tests/sim/server_model.h"

/* Those that the swarm wants. */
void kafka_open_clients(struct world *w);
void kafka_close_clients(struct world *w);
/* A drawn operation of these. */
void kafka_do(struct world *w, enum work_op op);
/* All connected, everything answered, everything stored that was sent. */
bool kafka_at_rest(struct world *w);
/* Producers send again what was refused. */
void kafka_push(struct world *w);
/* Fails and says why it is not at rest; returns when it is. */
void kafka_explain_unrest(struct world *w);
/* Nothing is under way. */
void kafka_settled(struct world *w);

/* ---- server_kafka_read.c --------------------------------------------------------------------- */

/* Where one reader is in each stream; by number of the stream. */
struct kreader {
    struct kclient *client;
    int64_t *at;
    size_t n;
};

void kreader_fetch(struct kreader *r, struct m_stream *s);
void kreader_ask_offsets(struct kreader *r, struct m_stream *s);
/* Until *done, or until c is connected. For inspectors. */
void kafka_wait(struct world *w, const bool *done, const struct kclient *c);
/* The same stream over this protocol: every record is at[sequence], and none is missing. */
void kafka_judge(struct world *w, struct m_stream *s, struct m_msg **at, uint64_t first,
                 uint64_t last);

#endif
