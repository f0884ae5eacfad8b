/*
 * drop.h - files that nobody needs any more go in pieces: one list per directory, shared by its
 * workers.
 *
 * Functions with an io_fs block: they are for work threads and for start-up. All may be called from
 * any thread, store_drops_step from one at a time; the list guards itself.
 */
#ifndef STORE_DROP_H
#define STORE_DROP_H

#include "lib/io/io.h"

#include <stdbool.h>
#include <stdint.h>

struct store_drops;

/* piece: how much goes at once; files of no more than two pieces go whole. */
struct store_drops *store_drops_open(uint64_t piece);
/* What still waits goes whole. */
void store_drops_close(struct store_drops *d, struct io_fs *fs);

/* The name is gone when this returns; 0 or the negative errno of that. The contents of a big file
 * wait for store_drops_step. Nobody may read the file. */
int store_drop_file(struct store_drops *d, struct io_fs *fs, const char *path);
/* Cheap. */
bool store_drops_wait(const struct store_drops *d);
/* One piece of the file that has waited longest. */
void store_drops_step(struct store_drops *d, struct io_fs *fs);
/* Room is needed now: all that waits goes whole. True when there was anything. */
bool store_drops_hurry(struct store_drops *d, struct io_fs *fs);

#endif
