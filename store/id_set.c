/*
 * id_set.c - open addressing with linear probing, a quarter full at most. Whoever is dropped leaves
 * no mark: the ids behind it move up as far as their own places allow, so that lookups stay short.
 */
#include "store/id_set.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#define BITS_MIN 6u

void id_set_deinit(struct id_set *set)
{
    mem_free(set->slots);
    *set = (struct id_set){0};
}

/* Where it is, or the free slot where it would be. */
static uint32_t find(const struct id_set *set, uint32_t id)
{
    uint32_t mask = (1u << set->bits) - 1, at = id_set_place(set, id);

    while (set->slots[at] != 0 && set->slots[at] != id)
        at = (at + 1) & mask;
    return at;
}

static void grow(struct id_set *set)
{
    struct id_set old = *set;

    set->bits = old.slots == NULL ? BITS_MIN : old.bits + 1;
    set->slots = mem_zalloc(sizeof(*set->slots) << set->bits);
    for (uint32_t i = 0; old.slots != NULL && i < 1u << old.bits; i++)
        if (old.slots[i] != 0)
            set->slots[find(set, old.slots[i])] = old.slots[i];
    mem_free(old.slots);
}

void id_set_add(struct id_set *set, uint32_t id)
{
    ASSERT(id != 0);
    if (set->slots == NULL || (set->n + 1) * 4 > 1u << set->bits)
        grow(set);
    uint32_t at = find(set, id);
    set->n += set->slots[at] == 0;
    set->slots[at] = id;
}

void id_set_drop(struct id_set *set, uint32_t id)
{
    uint32_t mask = (1u << set->bits) - 1, hole;

    if (set->slots == NULL || set->slots[hole = find(set, id)] == 0)
        return;
    set->n--;
    for (uint32_t at = (hole + 1) & mask; set->slots[at] != 0; at = (at + 1) & mask) {
        /* May it stand in the hole: is its place not behind that? */
        uint32_t place = id_set_place(set, set->slots[at]);
        if (((at - place) & mask) >= ((at - hole) & mask)) {
            set->slots[hole] = set->slots[at];
            hole = at;
        }
    }
    set->slots[hole] = 0;
}
