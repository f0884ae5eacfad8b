/*
 * dir.h - inside of struct store_dir, shared by the blocking half (dir.c, recover.c) and the
 * running half (store.c).
 *
 * Written by store_dir_open on the opening thread; afterwards read-only for all workers, except
 * `workers[w]`, which is worker w's, `pool`, which guards itself, and `twins_missing`.
 */
#ifndef STORE_DIR_H
#define STORE_DIR_H

#include "lib/io/io.h"
#include "store/crypt_keys.h"
#include "store/recover.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct store_pool; /* pool.h */

#define STORE_LOG_FILE_BYTES (64ull << 20)
#define STORE_SEGMENT_MIN (16ull << 20)
#define STORE_SEGMENT_MAX (256ull << 20)
#define STORE_DROP_BYTES (8ull << 20)

struct store_dir {
    struct store_dir_options options; /* defaults filled in */
    char *path;
    fs_fd lock;
    uint8_t uuid[16];
    struct store_features features; /* of store.meta */
    uint64_t generation;            /* of this start; object ids and log names carry it */
    struct prng prng; /* UUIDs and the like; opening thread only: workers seed their own from it */
    uint64_t *seeds;  /* one per worker, for its own struct prng */
    bool settled;     /* the directories were there, durable, before this start */
    struct crypt_ring ring; /* data keys; n = 0: not encrypted */
    /* While it is opened (crypt_open.c). */
    struct crypt_keys keys;
    uint8_t wrapping[CRYPT_KEY];
    bool keys_new;      /* the previous key fitted: there will be a new data key */
    bool keys_differ;   /* one of the two files must be written again */
    uint64_t keys_used; /* bit per key of the ring: a segment is sealed with it */
    bool keys_unknown;  /* a segment does not say */
    struct store_recovery recovery;
    struct recovered_worker *workers; /* options.workers of them */
    struct store_pool *pool;
    _Atomic unsigned twins_missing; /* workers whose log has no twin yet (twin.c) */
};

enum { STORE_PATH = 512 };

/* Paths into the directory; out has STORE_PATH bytes, and store_dir_open refuses a path that leaves
 * no room. */
void store_path(const struct store_dir *dir, char out[STORE_PATH], const char *name);
void store_path_log(const struct store_dir *dir, char out[STORE_PATH], uint64_t generation,
                    uint32_t worker, uint64_t number);
/* The mark of a log that holds what was erased (log_wash.c). */
void store_path_mark(const struct store_dir *dir, char out[STORE_PATH], uint32_t worker);
void store_path_twin(const struct store_dir *dir, char out[STORE_PATH], uint64_t generation,
                     uint32_t worker, uint64_t number);
void store_path_stream(const struct store_dir *dir, char out[STORE_PATH], const uint8_t uuid[16]);
void store_path_segment(const struct store_dir *dir, char out[STORE_PATH], const uint8_t uuid[16],
                        uint64_t number, uint32_t generation);
void store_path_pool(const struct store_dir *dir, char out[STORE_PATH], uint64_t number);

/* Moves a file to quarantine/ under a name that says where it came from, and tells which; 0 or a
 * negative errno. Blocking. */
int store_set_aside(struct store_dir *dir, const char *path, char to[STORE_PATH]);
/* Moves a file to quarantine/ under a name that says where it came from and logs why (WRN).
 * Blocking. */
void store_quarantine(struct store_dir *dir, const char *path, const char *why);

/* crypt_open.c, in this order: finds and unlocks store.keys, changing nothing; makes or changes it
 * when configuration and file ask for it (encrypted: store.meta says that it must be there); lets
 * go of data keys that no segment needs; forgets what only opening needs. ERR_KEY and others, why
 * says it. */
enum err store_keys_unlock(struct store_dir *dir, char why[256]);
enum err store_keys_settle(struct store_dir *dir, bool encrypted, char why[256]);
enum err store_keys_prune(struct store_dir *dir, char why[256]);
void store_keys_forget(struct store_dir *dir);

/* recover.c: fills in generation, workers and recovery. */
enum err store_recover(struct store_dir *dir, char why[256]);

#endif
