/*
 * cache.h - batches in memory: open, in a commit, or cached; reading those that are not (cache.c,
 * kafka.c, batches of streams in append.c). A part of store_impl.h.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include "lib/base/chunk.h"
#include "lib/base/list.h"
#include "store/batch.h"

#include <stdbool.h>
#include <stdint.h>

struct segment;
struct store_reader;
struct store_stream;

struct store_batch {
    /* Hot for readers. */
    uint64_t first_seq;
    uint32_t span;
    uint32_t count;
    bool plain; /* every sequence of it has a message that exists: index = seq - first_seq */
    struct batch_view view;                /* valid once sealed or fetched */
    struct chunk *body_chunk, *meta_chunk; /* one reference each; meta_chunk NULL when fetched */

    struct list link;  /* gathered, a commit's batches, or the cache's LRU (when nothing else holds
                          it) */
    struct list write; /* segment's unwritten */
    struct store_stream *stream;
    struct segment *segment;
    uint32_t entry; /* in segment->entries, once durable */
    uint32_t refs;  /* readers, writers; above 0 it can not be evicted */
    bool durable, cached;
    bool written; /* the segment's file has it */
    bool skip;
    bool pages;       /* in its segment it has whole pages to itself, in memory one piece */
    uint32_t bytes;   /* on disk, without what fills its last page */
    uint32_t decoded; /* table and body in memory, when they are not as on disk; else 0 */
    uint32_t ordinal; /* of its first record in the column */
    uint64_t offset;
    uint64_t size;     /* sum of store_msg_bytes */
    uint32_t reserved; /* what it holds of segment->reserved */
    struct batch_builder builder;
    uint64_t *bad; /* bit per damaged record, NULL = none */
    /* A Kafka batch whose messages were asked for (kafka.c). */
    struct chunk *messages;
    uint32_t opened; /* bytes of it */
    struct batch_view inner;
    uint8_t *disk; /* sealed, for an encrypted segment, from its commit until it is written */
};

struct cache {
    struct list lru; /* most recent first */
    uint64_t bytes, limit;
    uint64_t ahead; /* bytes being read that nobody waited for when it began */
    uint64_t hits, misses;
};

struct store;
struct store_batch *batch_new(struct store_stream *s);
void batch_free(struct store_batch *b);
static inline bool batch_is_kafka(const struct store_batch *b)
{
    return b->view.h.kind == BATCH_KAFKA;
}
/* kafka.c: the batch's messages lie in b->inner and b->messages from now on. False without memory.
 */
bool batch_open_kafka(struct store_batch *b);
static inline void batch_ref(struct store_batch *b)
{
    b->refs++;
}
void batch_unref(struct store_batch *b);
/* Durable and in a file (or memory for good): may be evicted from now on when nobody holds it. */
void cache_add(struct store *st, struct store_batch *b);
void cache_touch(struct store *st, struct store_batch *b);
void cache_shrink(struct store *st, uint64_t limit);
uint64_t batch_memory(const struct store_batch *b);
/* Where the message is in b->view; false when it is not there, or damaged. */
bool batch_record_of(const struct store_batch *b, uint64_t seq, uint32_t *i);
/* Begins reading the batch at entry, which holds seq, from disk; the waiter (its wait_link) is told
 * when it is there and holds it then. */
void cache_fetch(struct segment *seg, uint32_t entry, uint64_t seq, struct store_reader *waiter);
/* A reader goes from batch to batch and holds that of `entry`: fetches the next ones if they are
 * cold. */
void cache_read_ahead(struct segment *seg, uint32_t entry);

/* Room for open batches: regions of shared chunks, so that quiet streams do not hold a chunk each.
 */
struct region_pool {
    struct chunk *chunk;
    uint32_t used, class_bytes;
};
struct region {
    struct chunk *chunk;
    uint8_t *p;
    uint32_t bytes;
};
bool region_take(struct store *st, struct region_pool *pool, uint32_t bytes, struct region *out);
/* Gives back what lies behind `used` if nothing was taken since. */
void region_trim(struct region_pool *pool, const uint8_t *end_used, const uint8_t *end);

#endif
