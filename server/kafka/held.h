/*
 * held.h - how many bytes of what clients told it a coordinator holds for its groups, and how many
 * it may: what members say of themselves, their assignments, the metadata of committed offsets.
 * Pure.
 *
 * Whoever holds something counts it (held_set) and asks before it takes more (held_may). What takes
 * the place of as much or more is never refused, so that who is in stays in.
 */
#ifndef KAFKA_HELD_H
#define KAFKA_HELD_H

#include <stdbool.h>
#include <stddef.h>

struct held {
    size_t bytes, max;
};

/* May what has so many bytes have that many? h == NULL: nobody counts. */
static inline bool held_may(const struct held *h, size_t from, size_t to)
{
    return h == NULL || to <= from || (h->bytes <= h->max && to - from <= h->max - h->bytes);
}

/* What had *of bytes has that many. */
static inline void held_set(struct held *h, size_t *of, size_t to)
{
    if (h != NULL)
        h->bytes = h->bytes - *of + to;
    *of = to;
}

#endif
