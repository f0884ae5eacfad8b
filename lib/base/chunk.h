/*
 * chunk.h - reference-counted byte buffers and slices of them: how payloads travel without copies.
 *
 * A chunk belongs to the pool it came from. Any thread may take (chunk_get) and drop (chunk_put)
 * references; the last drop on the pool's own thread puts it on the free list, on another thread
 * onto the pool's return stack (lock-free), which the pool empties when its free list runs dry.
 * Counting is one atomic add (5 ns uncontended), so it is done per run, not per message.
 *
 * What is charged to the memory budget is the whole chunk, not the slice: `cap` bytes from
 * allocation until the last reference is gone.
 */
#ifndef BASE_CHUNK_H
#define BASE_CHUNK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunk_pool;

struct chunk {
    uint8_t *data; /* cap bytes, 4096-aligned when the pool was asked for it */
    uint32_t cap;
    uint32_t len; /* bytes filled; meaning is up to the one writer */
    _Atomic uint32_t refs;
    uint32_t size_class; /* of its pool; pool-internal */
    struct chunk_pool *home;
    struct chunk *of;   /* a view's: where its bytes lie */
    struct chunk *next; /* free list link, or the link of whatever single list the one owner keeps
                         */
};

/* A range of a chunk; holding a slice means holding one reference unless the function says
 * "borrowed". */
struct slice {
    struct chunk *chunk;
    uint32_t off;
    uint32_t len;
};

/* One per worker (and one per client connection). Not thread-safe except through chunk_put. */
struct chunk_pool *chunk_pool_open(void);
/* The pool itself goes when the last of its chunks has come home. */
void chunk_pool_close(struct chunk_pool *pool);

/* A chunk with refs = 1, len = 0 and cap >= bytes: size classes 1 KiB, 4 KiB, 16 KiB, 64 KiB, 256
 * KiB, 512 KiB, 1088 KiB, of the last two 64 MiB are kept; then exact multiples of 4 KiB, which are
 * not. Data of 4 KiB and more is 4096-aligned.
 * NULL when memory is short. Only the pool's thread. */
struct chunk *chunk_alloc(struct chunk_pool *pool, size_t bytes);

/* n bytes of another chunk, of any pool, as a chunk of their own: len = cap = n, refs = 1. It holds
 * a reference to the other until its own last one is dropped. The bytes must not change meanwhile.
 * NULL when memory is short. Only the pool's thread. */
struct chunk *chunk_view(struct chunk_pool *pool, struct chunk *of, const void *bytes, uint32_t n);

static inline void chunk_get(struct chunk *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
}

/* Drops one reference. `pool` is the calling thread's own pool, or NULL when it has none. */
void chunk_put(struct chunk *c, struct chunk_pool *pool);

/* Bytes of all chunks handed out or kept on free lists. Any thread may read; approximate. */
size_t chunk_pool_bytes(const struct chunk_pool *pool);
/* Frees what the free lists hold beyond `keep` bytes. Only the pool's thread. */
void chunk_pool_trim(struct chunk_pool *pool, size_t keep);

static inline const uint8_t *slice_data(struct slice s)
{
    return s.chunk->data + s.off;
}

#endif
