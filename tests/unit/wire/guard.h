/*
 * guard.h - bytes between two unmapped pages: a read outside of them is a crash.
 */
#ifndef TESTS_GUARD_H
#define TESTS_GUARD_H

#include <stddef.h>

struct guard {
    char *map;
    size_t map_n;
    char *start; /* first byte behind the unmapped page in front */
    char *end;   /* first byte of the unmapped page behind */
};

/* At least n bytes between start and end; aborts when there is no memory. */
void guard_init(struct guard *g, size_t n);
void guard_deinit(struct guard *g);

#endif
