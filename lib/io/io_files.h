/*
 * io_files.h - file objects and the LRU of the descriptors behind them.
 *
 * A file object is a path and flags. Pool threads borrow its descriptor for one call (files_borrow,
 * files_return); it opens on first use and stays open until more than `max` are, when the one that
 * was idle longest closes. Borrowed descriptors never close, so that the limit may be exceeded by
 * the number of pool threads. Borrow, return and close run on pool threads, opening and freeing
 * objects on the loop's.
 */
#ifndef IO_IO_FILES_H
#define IO_IO_FILES_H

#include "lib/io/io_backend.h"

struct io_files;

struct io_files *files_open(unsigned max);
/* All objects are freed. */
void files_close(struct io_files *files);

struct io_file *files_add(struct io_files *files, const char *path, unsigned flags);
/* A descriptor, or a negative errno. With `writing` the file counts as dirty until files_synced. */
int files_borrow(struct io_files *files, struct io_file *file, bool writing);
/* A second descriptor of a file that exists and has no failure behind it, for writes and reads of
 * whole pages past the page cache (O_DIRECT, O_DSYNC), or a negative errno. Without may_block, for
 * the loop's thread: -EAGAIN when it is not open yet. */
int files_borrow_direct(struct io_files *files, struct io_file *file, bool may_block);
void files_return_direct(struct io_files *files, struct io_file *file);
/* A sync of it failed: from now on nothing is written or synced any more. */
void files_fail(struct io_files *files, struct io_file *file, int error);
/* synced: everything that had been written to it when it was borrowed is durable now; unless this
 * returns the negative errno of another sync, which failed. Else 0. */
int files_return(struct io_files *files, struct io_file *file, bool synced);
/* Closes the descriptor, if any, and frees the object. Not borrowed. */
void io_files_remove(struct io_files *files, struct io_file *file);
/* Descriptors open at the moment; for tests. */
unsigned files_count(struct io_files *files);

#endif
