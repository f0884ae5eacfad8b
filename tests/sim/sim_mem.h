/*
 * sim_mem.h - memory that a power cut takes away.
 *
 * Linking this replaces lib/base/mem.c: everything that code under test allocates belongs to the
 * arena that is current, so that a simulated machine which vanished without closing anything can be
 * freed as a whole, and one that closed properly can be shown to have freed everything. One thread.
 */
#ifndef TESTS_SIM_MEM_H
#define TESTS_SIM_MEM_H

#include "lib/base/mem.h"

#include <stddef.h>

struct sim_arena;

/* For the main of a simulator: large blocks come from the heap as well, and stay in it. A recovery
 * takes and gives back some megabytes, thousands of times a run. */
void sim_mem_keep(void);

struct sim_arena *sim_arena_open(void);
/* Frees it and everything in it. */
void sim_arena_close(struct sim_arena *a);
/* Makes it the current one (NULL: none, allocations belong to nobody); returns the one before. */
struct sim_arena *sim_arena_use(struct sim_arena *a);
size_t sim_arena_bytes(const struct sim_arena *a);
size_t sim_arena_blocks(const struct sim_arena *a);
/* The size of the oldest block that is left, for the report of a leak; 0 = none. */
size_t sim_arena_oldest(const struct sim_arena *a, unsigned long *number);

#endif
