/* ref_pool.c - see ref_pool.h. Sizes up to 64 units have a list each, larger ones four per
 * doubling. */
#include "store/ref_pool.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <string.h>

enum { EXACT = 64, CLASSES = EXACT + 1 + 4 * 12 };

/* Units of a request, rounded up to what its class holds. */
static uint32_t round_units(size_t n, unsigned *class_of)
{
    uint32_t units = (uint32_t) ((n + REF_UNIT - 1) / REF_UNIT);

    if (units <= EXACT) {
        *class_of = units;
        return units;
    }
    unsigned doubling = 31u - (unsigned) __builtin_clz(units - 1); /* 6: 65 to 128 */
    uint32_t step = 1u << (doubling - 2);
    uint32_t rounded = (units + step - 1) / step * step;
    *class_of = EXACT + 1 + (doubling - 6) * 4 + (rounded - (1u << doubling)) / step - 1;
    ASSERT(*class_of < CLASSES);
    return rounded;
}

size_t ref_pool_round(size_t n)
{
    unsigned class_of;

    return (size_t) round_units(n, &class_of) * REF_UNIT;
}

void ref_pool_deinit(struct ref_pool *p)
{
    for (unsigned c = REF_CHUNK_FIRST; c < REF_CHUNK_END; c++)
        if (p->base[c] != 0)
            mem_free((void *) (p->base[c] + ((uintptr_t) REF_UNIT << c)));
    mem_free(p->free);
    *p = (struct ref_pool){0};
}

/* The next chunk that a block of this size fits into. */
static void grow(struct ref_pool *p, uint32_t units)
{
    unsigned c = p->end == 0 ? REF_CHUNK_FIRST : 31u - (unsigned) __builtin_clz(p->end);

    while ((1u << c) < units)
        c++;
    ASSERT(c < REF_CHUNK_END);
    p->base[c] = (uintptr_t) mem_alloc((size_t) REF_UNIT << c) - ((uintptr_t) REF_UNIT << c);
    p->next = 1u << c;
    p->end = p->next * 2;
}

uint32_t ref_pool_alloc(struct ref_pool *p, size_t n)
{
    unsigned class_of;
    uint32_t units = round_units(n, &class_of), ref;

    p->used += (uint64_t) units * REF_UNIT;
    if (p->free != NULL && p->free[class_of] != 0) {
        ref = p->free[class_of];
        memcpy(&p->free[class_of], ref_at(p, ref), sizeof(ref));
        return ref;
    }
    if (p->end - p->next < units)
        grow(p, units);
    ref = p->next;
    p->next += units;
    return ref;
}

void ref_pool_free(struct ref_pool *p, uint32_t ref, size_t n)
{
    unsigned class_of;
    uint32_t units = round_units(n, &class_of);

    ASSERT(ref != 0 && p->used >= (uint64_t) units * REF_UNIT);
    p->used -= (uint64_t) units * REF_UNIT;
    if (p->free == NULL)
        p->free = mem_zalloc(CLASSES * sizeof(*p->free));
    memcpy(ref_at(p, ref), &p->free[class_of], sizeof(ref));
    p->free[class_of] = ref;
}

uint64_t ref_pool_bytes(const struct ref_pool *p)
{
    uint64_t bytes = p->free != NULL ? CLASSES * sizeof(*p->free) : 0;

    for (unsigned c = REF_CHUNK_FIRST; c < REF_CHUNK_END; c++)
        if (p->base[c] != 0)
            bytes += (uint64_t) REF_UNIT << c;
    return bytes - (uint64_t) (p->end - p->next) * REF_UNIT;
}
