/*
 * visit.h - a request's way to the workers of partitions: a visit goes there, does its work, now or
 * later, and comes home, where it puts what it has into the answer; that leaves when all are back.
 */
#ifndef KAFKA_VISIT_H
#define KAFKA_VISIT_H

#include "server/kafka/partition.h"

struct visits;

/* In the request's arena, zeroed. */
struct visit {
    struct visits *of;
    void *answer; /* the caller's */

    struct partition *partition; /* there */
    struct partition_job job;    /* there, for `wake`; when the partition goes it is home with 3 */
    int16_t error;               /* at home */

    /* The rest is visit.c's. */
    struct env_task task;
    struct env *env;
    struct str stream;
};

struct visits {
    struct kafka_request *request;
    struct kafka *home;
    void (*look)(struct visit *v); /* there: calls visit_home, now or later */
    void (*put)(struct visit *v);  /* at home, also when there was no such partition any more */
    uint32_t left;
};

/* In the request's arena. */
struct visits *visits_begin(struct kafka_request *r, void (*look)(struct visit *v),
                            void (*put)(struct visit *v));
/* False: there is no such partition, and it does not go. */
bool visits_send(struct visits *s, struct visit *v, struct str topic, int32_t index);
/* All were sent. */
void visits_end(struct visits *s);

/* There, at its end. */
void visit_home(struct visit *v, int16_t error);
/* True: producers and transactions of the partition are known; else `look` is called again when
 * they are. */
bool visit_knows(struct visit *v);

#endif
