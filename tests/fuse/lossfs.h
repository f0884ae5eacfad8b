/*
 * lossfs.h - a real file system, mounted with FUSE, on a disk that can lose power.
 *
 * The disk is the simulator's (tests/sim/sim_disk.h): what is written and what is durable are kept
 * apart, contents and names alike, and a power cut keeps of the rest what its mode says. Here the
 * programs above it are real: a server with its threads, io_uring, O_DIRECT, the kernel's page
 * cache. A power cut is one of programs and caches as well: it unmounts.
 *
 * Calls belong to one thread, and that must not wait for the file system while it makes them.
 */
#ifndef TESTS_FUSE_LOSSFS_H
#define TESTS_FUSE_LOSSFS_H

#include "tests/sim/sim_disk.h"

struct lossfs;

enum lossfs_call {
    LOSSFS_READ,
    LOSSFS_WRITE,
    LOSSFS_SYNC,     /* of a file, or a write that is its own (O_DSYNC) */
    LOSSFS_SYNC_DIR, /* of a directory */
    LOSSFS_ALLOCATE,
    LOSSFS_NAMES, /* create, rename, unlink, mkdir, rmdir */
    LOSSFS_CALLS
};

/* Makes a mount namespace for this process, so that no mount outlives it or is seen by others. As
 * root, or where users may have a namespace. False with errno. */
bool lossfs_namespace(void);
/* Mounts an empty one at this directory. NULL with errno where /dev/fuse can not be used. */
struct lossfs *lossfs_open(const char *at, uint64_t capacity, uint64_t seed);
/* Nobody uses it any more. */
void lossfs_close(struct lossfs *fs);

/* Power fails in the midst of the n-th call that changes something from now on: that one is done
 * whole, in part or not at all, and it and all others end with EIO. */
void lossfs_cut_after(struct lossfs *fs, uint64_t n);
bool lossfs_is_cut(struct lossfs *fs);
/* Power is back: mounts what is left, in the same place. The programs that used it have ended. */
void lossfs_power(struct lossfs *fs, enum sim_crash mode);

/* From now on calls of this kind on paths that contain `part` fail, the first `count` of them. A
 * sync that fails leaves any part, for good (sim_disk_fail_sync). */
void lossfs_fail(struct lossfs *fs, enum lossfs_call call, const char *part, int error,
                 unsigned count);
/* How many calls of the kind there were since the last lossfs_fail of the kind, on its paths. */
unsigned lossfs_calls(struct lossfs *fs, enum lossfs_call call);
void lossfs_set_capacity(struct lossfs *fs, uint64_t capacity);

#endif
