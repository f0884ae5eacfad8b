/*
 * budget.h - one limit for the memory of the whole process's buffers.
 *
 * What counts is every chunk of every worker's pool: output that clients have not read, runs
 * between workers, messages on their way to the disk, the store's cache, and the free lists. It is
 * the chunk that counts, not the slice of it that somebody holds. Each worker reports its pool once
 * per iteration; the sum is shared.
 *
 * Above the limit, in this order and each only while the step before does not suffice:
 *     BUDGET_SHED     caches and free lists are given up
 *     BUDGET_REFUSE   streams refuse messages (JetStream error 10023)
 *     BUDGET_DROP     an eighth above the limit: the connection that owes most is closed as a slow
 *                     consumer, one at a time
 *
 * Any thread.
 */
#ifndef CORE_BUDGET_H
#define CORE_BUDGET_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
    uint64_t limit; /* bytes; UINT64_MAX = none; set before the workers start */
    _Atomic uint64_t used;
};

enum budget_level { BUDGET_FINE, BUDGET_SHED, BUDGET_DROP };

/* Differences below this are not reported: the sum is off by this much per worker at most. */
#define BUDGET_STEP (256u << 10)

/* *reported is the worker's own, 0 at first. */
static inline void budget_report(struct budget *b, uint64_t *reported, uint64_t bytes)
{
    uint64_t more = bytes - *reported;

    if (__builtin_expect(more + BUDGET_STEP <= 2 * (uint64_t) BUDGET_STEP, 1))
        return;
    atomic_fetch_add_explicit(&b->used, more, memory_order_relaxed);
    *reported = bytes;
}

static inline enum budget_level budget_level(const struct budget *b)
{
    uint64_t used = atomic_load_explicit(&b->used, memory_order_relaxed);

    if (__builtin_expect(used <= b->limit, 1))
        return BUDGET_FINE;
    return used - b->limit > b->limit / 8 ? BUDGET_DROP : BUDGET_SHED;
}

#endif
