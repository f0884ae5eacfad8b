/*
 * ring.h - a bounded queue of pointers between exactly one producer thread and one consumer thread.
 *
 * Wait-free: no call blocks, spins or loops. What the producer wrote before a push is seen by the
 * consumer after the pop. Both sides keep a copy of the other side's index and read the shared one
 * only when the copy says full or empty, so that a busy ring moves two cache lines once per lap or
 * stall instead of per pointer. Producer calls: ring_push, ring_push_n. Consumer calls: ring_pop,
 * ring_pop_n. Either: ring_count.
 */
#ifndef BASE_RING_H
#define BASE_RING_H

#include "lib/base/assert.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define RING_LINE 64

/* Indices count up for ever and wrap with size_t; index & mask is the slot. Padding instead of
 * alignment, so that a ring may be embedded in anything. */
struct ring {
    void **slots;
    size_t mask;
    char pad_shared[RING_LINE];
    _Atomic size_t pushed; /* written by the producer */
    size_t popped_seen;    /* producer's copy of popped, never ahead of it */
    char pad_producer[RING_LINE];
    _Atomic size_t popped; /* written by the consumer */
    size_t pushed_seen;    /* consumer's copy of pushed, never ahead of it */
    char pad_consumer[RING_LINE];
};

/* capacity is a power of two. Before either thread uses it. */
void ring_init(struct ring *r, size_t capacity);
/* After both threads are done; what is still in it stays the caller's. */
void ring_deinit(struct ring *r);
void ring_check(const struct ring *r);

/* Appends up to n pointers in order; returns how many fitted. */
static inline size_t ring_push_n(struct ring *r, void *const *items, size_t n)
{
    /* Relaxed: only this thread writes it. */
    size_t pushed = atomic_load_explicit(&r->pushed, memory_order_relaxed);
    size_t room = r->mask + 1 - (pushed - r->popped_seen);

    if (room < n) {
        /* Acquire, with the release in pop: the consumer has read the slots that we overwrite. */
        r->popped_seen = atomic_load_explicit(&r->popped, memory_order_acquire);
        room = r->mask + 1 - (pushed - r->popped_seen);
        if (room < n)
            n = room;
    }
    for (size_t i = 0; i < n; i++)
        r->slots[(pushed + i) & r->mask] = items[i];
    /* Release, with the acquire in pop: the slots and what they point to come before the index. */
    atomic_store_explicit(&r->pushed, pushed + n, memory_order_release);
    return n;
}

/* Takes up to n pointers, oldest first; returns how many there were. */
static inline size_t ring_pop_n(struct ring *r, void **items, size_t n)
{
    /* Relaxed: only this thread writes it. */
    size_t popped = atomic_load_explicit(&r->popped, memory_order_relaxed);
    size_t ready = r->pushed_seen - popped;

    if (ready < n) {
        /* Acquire, with the release in push: see above. */
        r->pushed_seen = atomic_load_explicit(&r->pushed, memory_order_acquire);
        ready = r->pushed_seen - popped;
        if (ready < n)
            n = ready;
    }
    for (size_t i = 0; i < n; i++)
        items[i] = r->slots[(popped + i) & r->mask];
    /* Release, with the acquire in push: our reads of the slots come before the index. */
    atomic_store_explicit(&r->popped, popped + n, memory_order_release);
    return n;
}

/* False when full. The item is not NULL. */
static inline bool ring_push(struct ring *r, void *item)
{
    return ring_push_n(r, &item, 1) == 1;
}

/* NULL when empty. */
static inline void *ring_pop(struct ring *r)
{
    void *item;
    return ring_pop_n(r, &item, 1) == 1 ? item : NULL;
}

/* How many are in it: exact for a thread while the other side rests. For the consumer never too
 * high, for the producer never too low. */
static inline size_t ring_count(const struct ring *r)
{
    /* Acquire keeps the order of the two loads: popped first, so that the difference is not
     * negative. */
    size_t popped = atomic_load_explicit(&r->popped, memory_order_acquire);
    return atomic_load_explicit(&r->pushed, memory_order_acquire) - popped;
}

#endif
