/*
 * consumer_parts.h - sets of partitions: sorted arrays without repetition. A partition is the
 * number of its topic within the group, and its index.
 */
#ifndef KAFKA_CONSUMER_PARTS_H
#define KAFKA_CONSUMER_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct parts {
    uint64_t *p; /* owned */
    size_t n, cap;
};

static inline uint64_t part_of(uint32_t topic, int32_t index)
{
    return (uint64_t) topic << 32 | (uint32_t) index;
}

static inline uint32_t part_topic(uint64_t part)
{
    return (uint32_t) (part >> 32);
}

static inline int32_t part_index(uint64_t part)
{
    return (int32_t) (uint32_t) part;
}

void parts_free(struct parts *s);
static inline void parts_clear(struct parts *s)
{
    s->n = 0;
}
/* Behind the last one; not sorted until parts_sort unless they come in order. */
void parts_add(struct parts *s, uint64_t part);
void parts_sort(struct parts *s);
void parts_copy(struct parts *to, const struct parts *from);
bool parts_have(const struct parts *s, uint64_t part);
bool parts_same(const struct parts *a, const struct parts *b);
/* Is there a partition in both? Are all of a in b? */
bool parts_meet(const struct parts *a, const struct parts *b);
bool parts_within(const struct parts *a, const struct parts *b);
/* What is in both goes to `both`, the rest of a to `rest`; other sets than a and b. */
void parts_split(const struct parts *a, const struct parts *b, struct parts *both,
                 struct parts *rest);

#endif
