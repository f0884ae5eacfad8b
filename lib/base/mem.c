#include "lib/base/mem.h"

#include "lib/base/assert.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* The one piece of mutable process state in this layer: 0 unless a test armed it. */
static _Atomic unsigned fail_countdown;

static void *must(void *ptr, size_t bytes)
{
    if (UNLIKELY(ptr == NULL))
        FATAL("out of memory for %zu bytes", bytes);
    return ptr;
}

/* malloc(0) may give NULL, which must stay reserved for failure. */
static size_t at_least_one(size_t bytes)
{
    return bytes != 0 ? bytes : 1;
}

static bool fails_now(void)
{
    unsigned left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    while (UNLIKELY(left != 0)) {
        if (atomic_compare_exchange_weak_explicit(&fail_countdown, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return left == 1;
    }
    return false;
}

void *mem_alloc(size_t bytes)
{
    return must(malloc(at_least_one(bytes)), bytes);
}

void *mem_zalloc(size_t bytes)
{
    return must(calloc(1, at_least_one(bytes)), bytes);
}

void *mem_realloc(void *ptr, size_t bytes)
{
    return must(realloc(ptr, at_least_one(bytes)), bytes);
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

void *mem_try_alloc(size_t bytes)
{
    if (fails_now())
        return NULL;
    return malloc(at_least_one(bytes));
}

void *mem_try_alloc_aligned(size_t alignment, size_t bytes)
{
    void *ptr;

    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    if (fails_now() || posix_memalign(&ptr, alignment, at_least_one(bytes)) != 0)
        return NULL;
    return ptr;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_fail_after(unsigned n)
{
    atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}
