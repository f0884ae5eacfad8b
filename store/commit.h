/*
 * commit.h - how gathered batches become durable (commit.c), for the files of the store.
 */
#ifndef STORE_COMMIT_H
#define STORE_COMMIT_H

#include "lib/base/list.h"
#include "lib/io/io.h"

#include <stdbool.h>
#include <stdint.h>

struct segment;
struct store;
struct store_batch;
struct store_stream;

/* How a commit becomes durable. */
enum route {
    ROUTE_MEMORY,  /* at once */
    ROUTE_WRITTEN, /* async level: when the page cache has it */
    ROUTE_LOG,     /* as a data record of the worker's log */
    ROUTE_SEGMENT, /* written and synced in the segment */
};

/* Below, a commit goes through the log. Measured: see docs/internals/store.md. */
#define COMMIT_LOG_MAX (64u << 10)
/* Most that one commit carries. */
#define COMMIT_MAX (4u << 20)
/* A second commit of a stream begins while one is in flight when this much has gathered. */
#define COMMIT_PIPELINE_MIN (256u << 10)
/* Batches of one: with 256 unwritten ones before them they stay below 1024 vectors. */
#define COMMIT_BATCHES 240u

struct commit {
    struct list link;     /* stream->commits, by sequence */
    struct list log_link; /* log commit's data */
    struct store_stream *stream;
    struct segment *segment;
    struct list batches;
    uint32_t nbatches;
    uint64_t first_seq, last_seq;
    uint64_t bytes;  /* of batches, on disk */
    uint64_t staged; /* of store->staging */
    uint64_t offset;
    enum route route;
    bool done;
    bool dead;  /* the stream failed: free it when its operation completes */
    bool syncs; /* clears the segment's log_from */
    int64_t result;
    struct io_op op;
    struct iovec *iov;
    unsigned niov;
    struct store_batch **extra; /* unwritten ones before it, written along */
    uint32_t nextra;
    struct commit *next_free;
};

/* Commits of so many bytes and more do not go through the log. */
uint64_t commit_log_max(const struct store *st);
/* Begins what may begin; true when something did. */
bool commit_try(struct store_stream *s);
/* What commit_try leaves for the log: gathered bytes, when the stream may put a small commit there
 * now. */
uint64_t commit_for_log(const struct store_stream *s);
/* Takes everything gathered (at most max bytes) as a commit through the log. */
struct commit *commit_begin_log(struct store_stream *s, uint64_t max);
/* Its stream failed: what is not in flight of it is freed now, the rest when the operation
 * completes. */
void commit_drop(struct commit *c);
/* The log commit that carries it ended. */
void commit_logged(struct commit *c, int result);
/* Finishes what is done, in order. */
void commits_finish(struct store_stream *s);

#endif
