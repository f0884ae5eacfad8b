/*
 * mem.h - the only door to the heap.
 *
 * Control objects (connections, streams, tables) come from mem_alloc and friends: they never return
 * NULL, because a process that can not allocate a few hundred bytes has no better answer than to
 * stop with a message. Data buffers, whose size a client chooses, come from mem_try_alloc, and a
 * NULL there becomes an ordinary error. Tests can make mem_try_alloc fail at the n-th call
 * (mem_fail_after). All functions may be called from any thread.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *mem_zalloc(size_t bytes) __attribute__((malloc, alloc_size(1), returns_nonnull));
/* Resizes; keeps the old contents; never returns NULL. */
void *mem_realloc(void *ptr, size_t bytes) __attribute__((alloc_size(2), returns_nonnull));
/* An array of count elements; the product is checked for overflow. */
void *mem_array(size_t count, size_t bytes_each) __attribute__((alloc_size(1, 2), returns_nonnull));
char *mem_strdup(const char *text) __attribute__((returns_nonnull));
/* Copies n bytes and adds a NUL. */
char *mem_strndup(const char *text, size_t n) __attribute__((returns_nonnull));

/* NULL when memory is short or when a test asked for it. */
void *mem_try_alloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
/* Aligned to a power of two, for O_DIRECT buffers and cache lines; NULL when memory is short. */
void *mem_try_alloc_aligned(size_t alignment, size_t bytes);

/* Accepts NULL. Frees memory of any function above. */
void mem_free(void *ptr);

/* Test aid: the n-th mem_try_alloc* from now fails (1 = the next), then all succeed again; 0 = off.
 */
void mem_fail_after(unsigned n);

#endif
