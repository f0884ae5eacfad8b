/*
 * loop_fs.h - a small real file system in a file, mounted through a loop device in a mount
 * namespace of the test's own. Needs root and loop devices; where they are not allowed
 * loop_fs_open says so.
 */
#ifndef TESTS_CRASH_LOOP_FS_H
#define TESTS_CRASH_LOOP_FS_H

#include <stdbool.h>
#include <stdint.h>

struct loop_fs {
    const char *type; /* ext4, xfs */
    char image[200], at[200];
    char device[32]; /* "/dev/loop3" */
};

/* Makes the image beside `at`, a directory, and mounts it there. False where that can not be: says
 * why on stdout. */
bool loop_fs_open(struct loop_fs *fs, const char *type, const char *at, uint64_t bytes);
/* Unmounts; fails the running test when somebody still uses it. */
void loop_fs_unmount(struct loop_fs *fs);
/* Mounts it again, which replays its journal. */
void loop_fs_mount(struct loop_fs *fs, bool read_only);
/* The file system stops at once, as if power had failed: what is in memory alone is lost, and every
 * call ends with EIO. */
void loop_fs_stop(struct loop_fs *fs);
/* ext4 meets a damaged structure and makes itself read-only. False where that can not be asked for.
 */
bool loop_fs_break(struct loop_fs *fs);
void loop_fs_close(struct loop_fs *fs);

#endif
