/*
 * fetch_read.h - record batches of one partition from an offset on, on the partition's worker.
 *
 * What producers sent goes out as it lies in memory, or in the store's file; messages of NATS
 * clients are built into batches; batches with removed records are built anew without them. Where
 * the last messages before the end have been removed a filler leads to the end, so that whoever
 * reads gets there.
 */
#ifndef KAFKA_FETCH_READ_H
#define KAFKA_FETCH_READ_H

#include "lib/base/chunk.h"
#include "lib/wire/kafka_batch.h"
#include "server/kafka/partition.h"

struct fetch_piece {
    struct chunk *chunk; /* one reference */
    const void *bytes;
    size_t n;
    struct kafka_lent *lent; /* instead of the chunk: it is in the store's file (lent.h) */
};

/* What all partitions of a request may give together, on whatever workers they are. */
struct fetch_room {
    _Atomic uint64_t taken;
    uint64_t bytes; /* the first batch may be larger */
};

struct fetch_read {
    /* Asked. */
    int64_t offset;
    uint64_t max_bytes; /* the first batch may be larger */
    struct fetch_room *room;
    bool committed; /* nothing behind the stable offset */
    bool compacted; /* an offset in front of the first message is as good as the first */
    bool in_file;   /* who asked can send from a file */
    void (*done)(struct fetch_read *f);
    /* Answered: what the offsets are at the moment of done; high = the offset behind the last. */
    int16_t error;
    int64_t high, start, stable;
    /* Of committed: transactions that overlap what is in the pieces; mem_free. */
    struct txn_aborted *aborted;
    size_t naborted;
    struct fetch_piece *pieces; /* mem_free; each has a reference for the owner */
    size_t npieces, pieces_cap;
    uint64_t bytes;
    bool full; /* more is there, and there was no room for it */
    /* Inside. */
    struct partition *partition;
    struct partition_job job; /* in partition->busy */
    struct store_reader reader;
    uint64_t next; /* sequence behind what is in the pieces */
    bool ahead;    /* what comes next would be read into memory */
    struct chunk *building;
    struct kafka_builder builder;
};

/* Calls done, now or later. */
void fetch_read_start(struct fetch_read *f, struct partition *p);
/* Lets go of the pieces, on any worker. */
void fetch_read_release(struct fetch_read *f, struct env *env);

#endif
