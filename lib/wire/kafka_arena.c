/* kafka_arena.c - memory of one request and its response, freed in one go: blocks that grow with
 * what was taken. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_codec.h"

#include <stdarg.h>
#include <stdio.h>

#define BLOCK_MIN 2048u
#define BLOCK_MAX (64u << 10)
#define ALIGN 8u

struct kafka_arena_block {
    struct kafka_arena_block *next;
    size_t used, cap;
    _Alignas(ALIGN) uint8_t bytes[];
};

static struct kafka_arena_block *grow(struct kafka_arena *a, size_t bytes)
{
    size_t cap = a->blocks == NULL ? BLOCK_MIN : a->blocks->cap * 2;
    struct kafka_arena_block *b;

    if (cap > BLOCK_MAX)
        cap = BLOCK_MAX;
    if (cap < bytes)
        cap = bytes;
    b = mem_zalloc(sizeof(*b) + cap);
    b->cap = cap;
    b->next = a->blocks;
    a->blocks = b;
    return b;
}

void *kafka_arena_alloc(struct kafka_arena *a, size_t bytes)
{
    struct kafka_arena_block *b = a->blocks;
    void *p;

    bytes = (bytes + ALIGN - 1) & ~(size_t) (ALIGN - 1);
    if (b == NULL || b->cap - b->used < bytes)
        b = grow(a, bytes);
    p = b->bytes + b->used;
    b->used += bytes;
    a->used += bytes;
    return p;
}

struct str kafka_arena_str(struct kafka_arena *a, struct str s)
{
    char *p = kafka_arena_alloc(a, s.n + 1);

    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return str_from(p, s.n);
}

struct str kafka_arena_text(struct kafka_arena *a, const char *format, ...)
{
    va_list args;
    char *p;
    int n;

    va_start(args, format);
    n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(n >= 0);
    p = kafka_arena_alloc(a, (size_t) n + 1);
    va_start(args, format);
    vsnprintf(p, (size_t) n + 1, format, args);
    va_end(args);
    return str_from(p, (size_t) n);
}

void kafka_arena_free(struct kafka_arena *a)
{
    struct kafka_arena_block *b = a->blocks;

    while (b != NULL) {
        struct kafka_arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
    *a = (struct kafka_arena){0};
}
