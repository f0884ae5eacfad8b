/*
 * fs_overlay.h - a file system door that reads what another one has and keeps every change to
 * itself, in memory: what would happen to a directory can be tried and looked at.
 *
 * Nothing is ever written through. A lock is taken below, on a file that is there, so that whoever
 * has it really is respected. One thread; blocking. Meant for a few changed files: names are looked
 * up one by one, changed pages are kept until the end.
 */
#ifndef LIB_IO_FS_OVERLAY_H
#define LIB_IO_FS_OVERLAY_H

#include "lib/io/io.h"

#include <stdbool.h>

struct fs_overlay;

struct fs_overlay *fs_overlay_open(struct io_fs *below);
void fs_overlay_close(struct fs_overlay *o);
struct io_fs *fs_overlay_door(struct fs_overlay *o);

/* Each name that is not as it is below, in the order in which they were first touched: what it has
 * become. from: the name it had below, for what was renamed; else NULL. */
enum fs_change { FS_CREATED, FS_WRITTEN, FS_REMOVED, FS_RENAMED };
void fs_overlay_changes(const struct fs_overlay *o,
                        void (*each)(void *ctx, enum fs_change change, const char *path,
                                     const char *from),
                        void *ctx);

#endif
