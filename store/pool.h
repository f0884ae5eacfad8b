/*
 * pool.h - prewritten files, ready to become segments and commit log files; one per directory,
 * shared by its workers.
 *
 * Functions with an io_fs block: they are for work threads and for start-up. All may be called from
 * any thread; the pool guards itself.
 */
#ifndef STORE_POOL_H
#define STORE_POOL_H

#include "lib/io/io.h"

#include <stdbool.h>
#include <stdint.h>

struct store_dir;
struct store_pool;

/* Takes over what an earlier run left in pool/, as far as it fits, and removes the rest. */
struct store_pool *store_pool_open(struct store_dir *dir);
/* Closes what waits to be removed. */
void store_pool_close(struct store_pool *p, struct io_fs *fs);

/* A file of exactly so many bytes becomes `to`; its contents mean nothing, all its blocks are
 * written, no header page verifies. False: there is none, make one. With `more` that counts as a
 * miss, and more of this size will be kept. The caller syncs the directory of `to`. */
bool store_pool_take(struct store_pool *p, struct io_fs *fs, uint64_t bytes, bool more,
                     const char *to);
/* Nobody needs this file any more, nobody reads it. bytes: what it had when it was made (it may
 * have been cut since), 0 = not to be kept. It moves into the pool, or is removed: its name at
 * once, what is in it in pieces (drop.h). */
void store_pool_retire(struct store_pool *p, struct io_fs *fs, const char *path, uint64_t bytes);
/* The same of a file that is never kept; 0 or a negative errno. */
int store_pool_drop(struct store_pool *p, struct io_fs *fs, const char *path);
/* The disk is full: removes what lies ready, and what waits to be removed. True when there was
 * anything. */
bool store_pool_release(struct store_pool *p, struct io_fs *fs);

/* Filling, and removing in pieces: one at a time does it. store_pool_hungry is cheap.
 * store_pool_fill makes one step of a few milliseconds. */
bool store_pool_hungry(const struct store_pool *p);
bool store_pool_fill_begin(struct store_pool *p);
void store_pool_fill(struct store_pool *p, struct io_fs *fs);
void store_pool_fill_end(struct store_pool *p);

void store_pool_counts(struct store_pool *p, uint64_t *files, uint64_t *bytes, uint64_t *misses);

#endif
