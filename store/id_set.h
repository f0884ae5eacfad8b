/*
 * id_set.h - a set of subject ids that answers "is it in there?" in a nanosecond.
 *
 * For filters that match hundreds of subjects out of millions: a scan asks about every record, and
 * nearly always the answer is no, from one look at a table of four to eight places an id, which
 * mostly fits the first-level cache. Ids are not 0, and random enough once multiplied.
 */
#ifndef STORE_ID_SET_H
#define STORE_ID_SET_H

#include <stdbool.h>
#include <stdint.h>

struct id_set {
    uint32_t *slots; /* 0 = free; NULL = nothing was ever put in */
    uint32_t n;
    uint32_t bits; /* 1 << bits slots */
};

void id_set_deinit(struct id_set *set); /* empty and usable again */
/* No effect when it is there already. */
void id_set_add(struct id_set *set, uint32_t id);
void id_set_drop(struct id_set *set, uint32_t id);

static inline uint32_t id_set_place(const struct id_set *set, uint32_t id)
{
    return (id * 2654435761u) >> (32 - set->bits);
}

/* Of a set to which something was added. */
static inline bool id_set_has(const struct id_set *set, uint32_t id)
{
    uint32_t mask = (1u << set->bits) - 1, at = id_set_place(set, id);

    for (;; at = (at + 1) & mask) {
        if (__builtin_expect(set->slots[at] == 0, 1))
            return false;
        if (set->slots[at] == id)
            return true;
    }
}

#endif
