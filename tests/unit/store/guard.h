/*
 * guard.h - bytes that end at an unreadable page, so that a parser that reads one byte too many
 * dies.
 *
 *     struct guard g = guard_copy(bytes, n);   the copy's last byte is the last readable one
 */
#ifndef TESTS_GUARD_H
#define TESTS_GUARD_H

#include "tests/lib/runner.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

struct guard {
    uint8_t *p; /* the n bytes */
    size_t n;
    uint8_t *map;
    size_t map_bytes;
};

static inline struct guard guard_copy(const void *bytes, size_t n)
{
    size_t pages = (n + 4095) / 4096 * 4096;
    struct guard g = {.n = n, .map_bytes = pages + 4096};

    g.map = mmap(NULL, g.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(g.map, MAP_FAILED);
    ck_assert_int_eq(mprotect(g.map + pages, 4096, PROT_NONE), 0);
    g.p = g.map + pages - n;
    if (n != 0)
        memcpy(g.p, bytes, n);
    return g;
}

static inline void guard_free(struct guard *g)
{
    munmap(g->map, g->map_bytes);
}

#endif
