/*
 * ref_pool.h - memory addressed by 31-bit references instead of pointers.
 *
 * For tables of a million small things of different sizes: a reference is 4 bytes, an allocation
 * has no header, and it is rounded up to 8 bytes. A block never moves while it lives. What is freed
 * is kept in lists by size and used for the next block of that size.
 *
 * A reference counts units of 8 bytes. Chunk c holds the references 2^c to 2^(c+1) - 1, so chunks
 * double, the place of a block is one table entry and one addition away, and the table of chunks
 * never moves: another thread may follow references that it was given, as long as their blocks
 * live. Large chunks are only address space until they are used. Reference 0 is nothing.
 *
 * One owner, no locks. Running out of references (16 GiB) is asserted.
 */
#ifndef STORE_REF_POOL_H
#define STORE_REF_POOL_H

#include <stddef.h>
#include <stdint.h>

enum { REF_CHUNK_FIRST = 6, REF_CHUNK_END = 31, REF_UNIT = 8 };

struct ref_pool {
    uintptr_t base[REF_CHUNK_END]; /* of chunk c, less 2^c units; 0 = not there */
    uint32_t next, end;            /* unused units of the last chunk */
    uint32_t *free;                /* heads of the lists, NULL while nothing was freed */
    uint64_t used;                 /* bytes given out and not freed */
};

static inline void *ref_at(const struct ref_pool *p, uint32_t ref)
{
    return (void *) (p->base[31 - __builtin_clz(ref)] + (uint64_t) ref * REF_UNIT);
}

void ref_pool_deinit(struct ref_pool *p);
/* What a request of n bytes is rounded up to. */
size_t ref_pool_round(size_t n);
uint32_t ref_pool_alloc(struct ref_pool *p, size_t n);
/* n as it was asked for. */
void ref_pool_free(struct ref_pool *p, uint32_t ref, size_t n);
/* Bytes of memory that it takes, unused ends of chunks left out. */
uint64_t ref_pool_bytes(const struct ref_pool *p);

#endif
