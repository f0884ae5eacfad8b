/*
 * lent.h - a producer's batch that is sent from the store's file (store_reader_lend).
 *
 * It has one holder: who reads the partition, then the answer, then the connection; whoever drops
 * it gives it back, on any worker.
 */
#ifndef KAFKA_LENT_H
#define KAFKA_LENT_H

#include "server/core/env.h"
#include "server/core/sink.h"
#include "store/store.h"

struct kafka_lent {
    struct env_task task;
    struct store_lent of;
    uint32_t worker;     /* the stream's */
    struct list link;    /* the connection's */
    struct outbuf after; /* what the connection sends behind it */
};

/* Takes what store_reader_in_file told of; on the stream's worker. */
struct kafka_lent *kafka_lent_take(struct env *env, struct store_reader *r,
                                   const struct store_lent *of);
void kafka_lent_return(struct kafka_lent *l, struct env *env);

#endif
