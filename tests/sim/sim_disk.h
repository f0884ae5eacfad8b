/*
 * sim_disk.h - a disk that can lose power: files, names and space, with what is durable kept apart
 * from what is merely written.
 *
 * Every file has two images, the one that programs see and the one that a power cut leaves at the
 * least, and between them the list of writes that were not synced. Every directory has two tables
 * of names likewise, and the disk one list of name changes. docs/internals/sim.md is the fault
 * model in prose.
 *
 * One thread. Nothing here knows time, loops or io.h; all calls take effect at once. Errors are
 * negative errno.
 */
#ifndef TESTS_SIM_DISK_H
#define TESTS_SIM_DISK_H

#include "lib/base/prng.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_disk;
struct sim_inode;

/* The unit that is written whole or not at all, and the unit of allocation. */
#define SIM_SECTOR 512u
#define SIM_PAGE 4096u

/* What a power cut does with writes that were not synced. */
enum sim_crash {
    SIM_CRASH_DROP,    /* none of them happened */
    SIM_CRASH_KEEP,    /* all of them happened */
    SIM_CRASH_PREFIX,  /* those up to some moment happened, the one of that moment in part */
    SIM_CRASH_SUBSET,  /* any sector of any of them, in any order */
    SIM_CRASH_GARBAGE, /* as SUBSET, and some sectors that were being written hold noise */
    SIM_CRASH_MODES,
    /* Not a power cut: the processes end, and what they wrote stays as it is. */
    SIM_CRASH_KILL = SIM_CRASH_MODES
};

/* capacity in bytes, counted in pages that files occupy. */
struct sim_disk *sim_disk_open(uint64_t capacity);
void sim_disk_close(struct sim_disk *d);
/* A new disk: what is found when power comes back after a cut at this moment. `d` stays as it is;
 * pages are shared until one of them writes. Open files and locks are gone. */
struct sim_disk *sim_disk_crash(const struct sim_disk *d, enum sim_crash mode, struct prng *rng);
/* A new disk with the contents that programs see now, all of it durable. */
struct sim_disk *sim_disk_clone(const struct sim_disk *d);
/* A new disk like this one in everything, what is not durable included; nobody has it open. */
struct sim_disk *sim_disk_copy(const struct sim_disk *d);

/* Space can shrink and grow while it is in use; what is stored stays. */
void sim_disk_set_capacity(struct sim_disk *d, uint64_t capacity);
uint64_t sim_disk_free_bytes(const struct sim_disk *d);
/* Pages that files hold. */
uint64_t sim_disk_used(const struct sim_disk *d);

/* ---- names ----------------------------------------------------------------------------------- */

/* The inode of a file with a reference for the caller; -ENOENT, -EISDIR, -ENOTDIR. */
int sim_disk_lookup(struct sim_disk *d, const char *path, struct sim_inode **out);
/* The same for a file that must not exist yet; -EEXIST. */
int sim_disk_create(struct sim_disk *d, const char *path, struct sim_inode **out);
void sim_disk_release(struct sim_disk *d, struct sim_inode *ino);
int sim_disk_rename(struct sim_disk *d, const char *from, const char *to);
int sim_disk_unlink(struct sim_disk *d, const char *path);
int sim_disk_mkdir(struct sim_disk *d, const char *path);
int sim_disk_rmdir(struct sim_disk *d, const char *path);
/* Makes all changes of names in this directory durable, and what they depend on. */
int sim_disk_sync_dir(struct sim_disk *d, const char *path);
/* The journal does so now and then by itself: changes up to a seeded one become durable. */
void sim_disk_journal_tick(struct sim_disk *d, struct prng *rng);
int sim_disk_list(struct sim_disk *d, const char *path, void (*each)(void *ctx, const char *name),
                  void *ctx);

/* ---- contents -------------------------------------------------------------------------------- */

uint64_t sim_disk_size(const struct sim_inode *ino);
/* Fewer than n only at the end of the file. */
size_t sim_disk_read(const struct sim_inode *ino, void *into, size_t n, uint64_t offset);
/* Visible at once, durable never by itself. -ENOSPC: nothing was written. */
int sim_disk_write(struct sim_disk *d, struct sim_inode *ino, const void *bytes, size_t n,
                   uint64_t offset);
int sim_disk_truncate(struct sim_disk *d, struct sim_inode *ino, uint64_t size);
int sim_disk_allocate(struct sim_disk *d, struct sim_inode *ino, uint64_t size);
/* A sync in two steps: what was written up to the mark is durable after the harden. */
uint64_t sim_disk_mark(const struct sim_disk *d);
void sim_disk_harden(struct sim_disk *d, struct sim_inode *ino, uint64_t mark);
/* The same for the writes that touch a range: what a commit promises, and not more. Changes of the
 * size or of the allocation up to the mark bring everything with them. */
void sim_disk_harden_range(struct sim_disk *d, struct sim_inode *ino, uint64_t mark,
                           uint64_t offset, uint64_t n);
/* A sync that fails: any part of the changes up to the mark becomes durable, the others never will,
 * though they stay readable until the power fails. */
void sim_disk_fail_sync(struct sim_disk *d, struct sim_inode *ino, uint64_t mark, struct prng *rng);
/* One exclusive lock per inode. */
bool sim_disk_lock(struct sim_inode *ino);
void sim_disk_unlock(struct sim_inode *ino);
/* A number that names the inode in traces, the same in every run. */
unsigned sim_disk_id(const struct sim_inode *ino);

/* Told of every range of a file that a sync made durable, right after it did. One listener, of this
 * disk only: not of what a crash makes of it. */
typedef void (*sim_durable_fn)(void *ctx, const struct sim_inode *ino, uint64_t offset, size_t n);
void sim_disk_on_durable(struct sim_disk *d, sim_durable_fn told, void *ctx);
/* As sim_disk_read, of what a power cut would leave at the least. */
size_t sim_disk_read_durable(const struct sim_inode *ino, void *into, size_t n, uint64_t offset);

/* ---- for judges ------------------------------------------------------------------------------ */

/* Of all names and bytes that programs see, below this path (NULL = all). */
uint64_t sim_disk_digest(struct sim_disk *d, const char *below);
/* Calls each for every file in order of path. */
void sim_disk_walk(struct sim_disk *d,
                   void (*each)(void *ctx, const char *path, struct sim_inode *ino), void *ctx);
/* Flips bits of what is stored, durably: decay of the medium. */
void sim_disk_rot(struct sim_disk *d, struct sim_inode *ino, uint64_t offset, size_t n,
                  struct prng *rng);
/* Copies the tree into a real directory, for the inspector and a look by hand. */
int sim_disk_export(struct sim_disk *d, const char *real_dir);
/* Whole-object validation. */
void sim_disk_check(const struct sim_disk *d);

#endif
