/*
 * sim_mem.c - lib/base/mem.h with a list of what is allocated, see sim_mem.h.
 *
 * A block is a header and the bytes behind it. Fresh memory is filled with a pattern, freed memory
 * is given back at once, so that a memory checker keeps its eyes on it.
 */
#include "tests/sim/sim_mem.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"
#include "lib/base/list.h"

#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FRESH 0xa5

struct sim_arena {
    struct list blocks; /* oldest first */
    size_t bytes;
    size_t count;
    unsigned long number; /* of the last allocation */
};

struct block {
    struct list link;
    struct sim_arena *arena; /* NULL: nobody's */
    void *base;              /* what malloc returned */
    size_t n;
    unsigned long number;
};

static struct sim_arena *current;
static unsigned fail_countdown;

void sim_mem_keep(void)
{
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 16 << 20);
}

struct sim_arena *sim_arena_open(void)
{
    struct sim_arena *a = calloc(1, sizeof(*a));
    ASSERT(a != NULL);
    list_init(&a->blocks);
    return a;
}

static void block_free(struct block *b)
{
    if (b->arena != NULL) {
        b->arena->bytes -= b->n;
        b->arena->count--;
    }
    list_remove(&b->link);
    free(b->base);
}

void sim_arena_close(struct sim_arena *a)
{
    LIST_FOREACH_SAFE(it, tmp, &a->blocks)
    block_free(LIST_ENTRY(it, struct block, link));
    if (current == a)
        current = NULL;
    free(a);
}

struct sim_arena *sim_arena_use(struct sim_arena *a)
{
    struct sim_arena *before = current;
    current = a;
    return before;
}

size_t sim_arena_bytes(const struct sim_arena *a)
{
    return a->bytes;
}

size_t sim_arena_blocks(const struct sim_arena *a)
{
    return a->count;
}

size_t sim_arena_oldest(const struct sim_arena *a, unsigned long *number)
{
    if (list_empty(&a->blocks))
        return 0;
    const struct block *b = LIST_ENTRY(a->blocks.next, struct block, link);
    *number = b->number;
    return b->n;
}

/* ---- the functions of mem.h ------------------------------------------------------------------ */

static void *allocate(size_t alignment, size_t n)
{
    void *base = malloc(sizeof(struct block) + alignment + n + 1);
    if (base == NULL)
        FATAL("out of memory for %zu bytes", n);
    uintptr_t at = (uintptr_t) round_up((uintptr_t) base + sizeof(struct block), alignment);
    struct block *b = (struct block *) at - 1;
    b->arena = current;
    b->base = base;
    b->n = n;
    list_init(&b->link);
    if (current != NULL) {
        b->number = ++current->number;
        current->bytes += n;
        current->count++;
        list_push_back(&current->blocks, &b->link);
    }
    memset((void *) at, FRESH, n);
    return (void *) at;
}

void *mem_alloc(size_t bytes)
{
    return allocate(16, bytes);
}

void *mem_zalloc(size_t bytes)
{
    return memset(allocate(16, bytes), 0, bytes);
}

void *mem_realloc(void *ptr, size_t bytes)
{
    void *p = allocate(16, bytes);
    if (ptr != NULL) {
        size_t old = ((struct block *) ptr - 1)->n;
        memcpy(p, ptr, old < bytes ? old : bytes);
        mem_free(ptr);
    }
    return p;
}

void *mem_array(size_t count, size_t bytes_each)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, bytes_each, &bytes))
        FATAL("array of %zu times %zu bytes is too large", count, bytes_each);
    return mem_alloc(bytes);
}

char *mem_strdup(const char *text)
{
    return mem_strndup(text, strlen(text));
}

char *mem_strndup(const char *text, size_t n)
{
    char *copy = mem_alloc(n + 1);
    if (n != 0)
        memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

static bool fails_now(void)
{
    return fail_countdown != 0 && --fail_countdown == 0;
}

void *mem_try_alloc(size_t bytes)
{
    return fails_now() ? NULL : mem_alloc(bytes);
}

void *mem_try_alloc_aligned(size_t alignment, size_t bytes)
{
    return fails_now() ? NULL : allocate(alignment < 16 ? 16 : alignment, bytes);
}

void mem_free(void *ptr)
{
    if (ptr != NULL)
        block_free((struct block *) ptr - 1);
}

void mem_fail_after(unsigned n)
{
    fail_countdown = n;
}
