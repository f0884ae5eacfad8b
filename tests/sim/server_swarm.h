/*
 * server_swarm.h - what one seed's run of the server is like: sizes, how many of what, which
 * operations and faults at all (swarm.h says why features are on or off per run).
 */
#ifndef TESTS_SIM_SERVER_SWARM_H
#define TESTS_SIM_SERVER_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct prng;
struct sim_options;

enum work_op {
    WORK_PUBLISH,
    WORK_CORE, /* plain messages between clients, and fences */
    WORK_PING,
    WORK_STREAM_CREATE,
    WORK_STREAM_AGAIN, /* creates what may be there already */
    WORK_STREAM_UPDATE,
    WORK_STREAM_DELETE,
    WORK_PURGE,
    WORK_MSG_DELETE,
    WORK_GET,
    WORK_CONSUMER_CREATE,
    WORK_CONSUMER_DELETE,
    WORK_PULL,
    WORK_DISCONNECT,
    WORK_SLOW,    /* a client does not read for a while */
    WORK_IDLE,    /* time passes */
    WORK_VERIFY,  /* lets everything come to rest and compares it all */
    WORK_RESTART, /* clean stop, start */
    WORK_CRASH,   /* power cut, start */
    WORK_KILL,    /* the process ends, the page cache stays; start */
    WORK_FULL,    /* the disk fills up, or has space again */
    WORK_FAULT,   /* a write or a sync will fail; ends with the next start */
    WORK_NET,     /* connections break by chance for a while */
    WORK_KAFKA,   /* from here on: only with clients of Kafka */
    WORK_KAFKA_PRODUCE = WORK_KAFKA,
    WORK_KAFKA_AGAIN, /* the last batch that was answered, as if the answer had been lost */
    WORK_KAFKA_READ,
    WORK_KAFKA_OFFSETS,
    WORK_KAFKA_DISCONNECT,
    WORK_BATCH, /* an atomic one */
    WORK_TXN,   /* a producer with transactions takes a step */
    WORK_TXN_READ,
    WORK_OPS
};

struct swarm {
    unsigned workers;
    unsigned clients;
    unsigned ops;               /* of the workload */
    unsigned steps;             /* of the loops between two operations, at most */
    unsigned weights[WORK_OPS]; /* 0 = never in this run */
    unsigned slots;             /* stream names in use at a time */
    unsigned subjects;          /* per stream */
    unsigned consumers;         /* per stream, at most */
    unsigned burst;             /* messages of one WORK_PUBLISH, at most */
    unsigned payload_max;
    unsigned big_percent; /* payloads of some 10 KiB */
    unsigned limits_percent, memory_percent, async_percent, direct_percent;
    unsigned workqueue_percent, interest_percent;
    unsigned id_percent, expect_percent, no_reply_percent;
    unsigned push_percent, double_percent, nak_percent, ignore_percent;
    unsigned fork_percent; /* sync points at which a power cut is tried on the side */
    unsigned forks_max;
    uint64_t pool_bytes, log_file_bytes, segment_min, segment_max, disk_bytes;
    size_t cache_bytes;
    uint64_t net_max_ns;
    unsigned split_percent;
    size_t window_min;
    /* Clients of Kafka; drawn apart, so that runs without them are what they were. */
    bool kafka;
    unsigned producers, readers;
    unsigned topics_percent;  /* streams that are topics, which Kafka clients produce into */
    unsigned compact_percent; /* ... of which only the last message of a key is kept */
    unsigned plain_percent;   /* producers without an id */
    unsigned batch;           /* records of one, at most */
    int64_t compaction_ns;
    /* Producers with transactions, and their topics; 0 = none. */
    unsigned txn_clients, txn_topics, txn_parts; /* txn_parts partitions each */
    unsigned txn_kinds;                          /* enum xkind of each topic, two bits each */
    unsigned txn_delete_percent;                 /* of what their reader asks for */
};

void swarm_draw(struct swarm *s, struct prng *rng);
/* With atomic batches: half of the seeds. */
void swarm_with_batches(struct swarm *s, uint64_t seed);
/* With clients of Kafka: drawn from the seed itself. */
void swarm_with_kafka(struct swarm *s, uint64_t seed);
/* With transactions, where it has clients of Kafka: a third of these. */
void swarm_with_txns(struct swarm *s, uint64_t seed);
/* Is this seed one of those? */
bool swarm_is_txns(uint64_t seed);
/* Is this seed one of those that have them? */
bool swarm_is_kafka(uint64_t seed);
/* Also ends by SIGKILL; also failing writes and syncs. */
void swarm_with_kills(struct swarm *s);
void swarm_with_faults(struct swarm *s);
/* One line about it. */
void swarm_print(const struct swarm *s, char *out, size_t n);
/* What it means for the simulator. */
void swarm_sim_options(const struct swarm *s, struct sim_options *o);

#endif
