/*
 * swarm.h - what one seed's run of the store is like: sizes, how many of what, which operations and
 * faults at all.
 *
 * Drawing whole features on or off per run, instead of a little of everything in each, makes runs
 * differ: one fills segments with large messages, another does nothing but small removals in a log
 * of two files.
 */
#ifndef TESTS_SIM_SWARM_H
#define TESTS_SIM_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct prng;

enum work_op {
    WORK_APPEND,
    WORK_SKIP,
    WORK_REMOVE,
    WORK_PURGE,
    WORK_STREAM_CREATE,
    WORK_STREAM_UPDATE,
    WORK_STREAM_DELETE,
    WORK_OBJECT_CREATE,
    WORK_OBJECT_PUT,
    WORK_OBJECT_DELTA,
    WORK_OBJECT_DELETE,
    WORK_READER_OPEN,
    WORK_READER_STEP,
    WORK_READER_CLOSE,
    WORK_GET,
    WORK_IDLE,   /* lets some time pass */
    WORK_VERIFY, /* lets everything come to rest and compares it all */
    WORK_REOPEN, /* clean close, open */
    WORK_CRASH,  /* power cut, recovery */
    WORK_FULL,   /* the disk fills up for a while */
    WORK_FAULT,  /* the n-th write or sync from now fails */
    WORK_OPS
};

struct swarm {
    unsigned workers;
    uint64_t pool_bytes, log_file_bytes, segment_min, segment_max;
    size_t cache_bytes, staging_bytes;
    uint64_t ride_ns;
    uint64_t disk_bytes;
    unsigned ops;               /* of the workload */
    unsigned weights[WORK_OPS]; /* 0 = never in this run */
    unsigned streams_max, objects_max, readers_max;
    unsigned subjects;
    unsigned burst;       /* messages of one WORK_APPEND, at most */
    unsigned payload_max; /* ordinary */
    unsigned big_percent; /* payloads around and above 64 KiB */
    unsigned header_percent;
    unsigned limits_percent; /* streams with limits */
    unsigned async_percent, memory_percent;
    unsigned compress_percent;  /* streams whose sealed segments are compressed */
    unsigned erase_percent;     /* removals that erase */
    unsigned kafka_percent;     /* appends that are a Kafka batch */
    unsigned ride_percent;      /* deltas and removals that nobody waits for */
    unsigned unclaimed_percent; /* objects that are not attached after a recovery */
    unsigned fork_percent;      /* sync points at which a power cut is tried on the side */
    unsigned again_percent;     /* recoveries during which a power cut is tried */
    unsigned kill_percent;      /* ends that are a SIGKILL, not a power cut */
    unsigned steps;             /* of the loops between two operations, at most */
    bool encrypted;             /* from the first opening on ... */
    unsigned rekey_percent;     /* ... or from one of the openings; each may have a new key */
};

void swarm_draw(struct swarm *s, struct prng *rng);
/* Makes it a run so short and small that power can fail at every moment of it. */
void swarm_shorten(struct swarm *s, struct prng *rng);
/* One line about it. */
void swarm_print(const struct swarm *s, char *out, size_t n);

#endif
