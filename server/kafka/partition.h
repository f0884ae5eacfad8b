/*
 * partition.h - a partition on the worker of its stream: what Kafka requests have to do with it.
 *
 * Made when the first request comes for it, gone with the stream. All of it belongs to the stream's
 * worker; requests reach it by tasks (partition_task), and what they leave here says how it is
 * taken back: every job is told once of what it waits for, or that the partition has gone.
 */
#ifndef KAFKA_PARTITION_H
#define KAFKA_PARTITION_H

#include "server/js/stream_follow.h"
#include "server/kafka/kafka_int.h"
#include "server/kafka/partition_txn.h"
#include "server/kafka/producers.h"
#include "store/store.h"

/* How far a compacted one has been compacted (compact.c). */
#define PARTITION_PASSES 16u
struct partition_compact {
    uint64_t clean_to;   /* below it there is one message per key; 0: not known since the start */
    uint64_t clean_msgs; /* there, when the last pass ended */
    /* When passes ended, and where: what they left has been alone since then. Ascending. */
    struct {
        uint64_t end;
        int64_t time;
    } past[PARTITION_PASSES];
    unsigned npast;
    uint64_t horizon;    /* of the last pass */
    uint64_t waiting;    /* what waits for a later one */
    int64_t not_before;  /* min.compaction.lag.ms of the first message that is not compacted */
    int64_t dirty_since; /* 0: it is not */
};

struct partition {
    struct hmap_node node;
    struct kafka *kafka;
    struct realm *realm;
    struct stream *stream;
    struct store_stream *store;
    struct stream_follower follower;
    struct producers producers;
    /* Producers are read back from the last batches, once, before the first that wants to know. */
    uint64_t memo_through; /* what was written down of them speaks up to it; 0: there is nothing */
    enum { PRODUCERS_UNREAD, PRODUCERS_READING, PRODUCERS_READY } known;
    struct store_reader reader;
    struct partition_txns txns;
    struct list waits;   /* partition_job: until `seq` is durable, ascending */
    struct list watches; /* partition_job: until something becomes visible */
    struct list parked;  /* partition_job: until the producers are known */
    struct list busy;    /* partition_job: at work; told only of the end */
    struct partition_compact compact;
    uint64_t in_records, in_bytes, out_bytes; /* of Kafka clients, since it was made */
    uint64_t file_bytes;                      /* of out_bytes: sent from the store's files */
    char name[];
};

struct partition_job {
    struct list link;
    uint64_t seq;
    /* What it waited for is so (ok), or never will be. It is not linked any more. */
    void (*wake)(struct partition_job *j, bool ok);
    /* The partition goes, and with it its stream. It is not linked any more. */
    void (*gone)(struct partition_job *j);
};

/* On the stream's worker; NULL: it is not here. */
struct partition *partition_get(struct realm *realm, struct str stream_name);
/* This worker is stopping: its partitions are not gone because they are not there. */
bool partition_env_stops(const struct env *env);
/* If a request has come for it; else NULL. */
struct partition *partition_known(const struct realm *realm, struct str stream_name);
void partitions_close(struct realm *realm);
/* Durable: sequences of the first message and of the last one there ever was. */
void partition_bounds(const struct partition *p, uint64_t *first, uint64_t *last);
/* Until this sequence is durable: now (true, the job is not linked) or later. */
bool partition_wait(struct partition *p, struct partition_job *j);
/* True: they are known now. Else the job is parked. */
bool partition_know_producers(struct partition *p, struct partition_job *j);
/* env->before_removal: what a start learns from the batches of producers is kept apart from them,
 * in the stream's memo, once a request removes messages. */
bool partition_before_removal(struct env *env, const struct account *a, struct str stream,
                              void (*go_on)(void *ctx), void *ctx);

/* Where a partition is, and its stream's name, in the arena. False: there is none (now). */
bool partition_find(struct realm *realm, struct kafka_arena *arena, struct str topic, int32_t index,
                    struct topic_place *place, struct str *stream_name);

#endif
