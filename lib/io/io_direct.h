/*
 * io_direct.h - big commits and reads past the page cache.
 *
 * Commits: O_DIRECT and O_DSYNC, from an aligned copy, or from whole pages where all of it lies
 * on such.
 *
 * For a commit of whole pages to a file without unsynced writes a write through the page cache and
 * fdatasync copies the bytes into pages that must be found first, and the kernel then walks them
 * again: 0.29 ns of CPU a byte into a preallocated file, 0.20 into one that is cached already. From
 * an aligned copy with O_DIRECT and O_DSYNC it is 0.13 and a copy of 0.03, the page cache does not
 * grow, and the sync takes as long (measured, 1 MiB).
 *
 * Two ways to the disk. A pool thread that blocks (direct_commit) leaves the loop's core free, when
 * there is another. Where the loop has the only core, waking that thread and switching back and
 * forth cost more than the write: then the loop makes the copy (direct_begin) and lets its ring
 * write. 512 KiB on one core: 71 us of CPU with a blocking thread, without the wake-ups (nine
 * switches each), and 40 from a ring.
 */
#ifndef IO_IO_DIRECT_H
#define IO_IO_DIRECT_H

#include "lib/io/io_files.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_direct;

struct io_direct *direct_open(void);
void direct_close(struct io_direct *d);

/* Writes the vectors durably: how many bytes, a negative errno, or 0: not possible or not worth it
 * here, nothing was written. On pool threads. */
int64_t direct_commit(struct io_direct *d, struct io_files *files, struct io_file *file,
                      const struct iovec *iov, unsigned n, uint64_t offset);

/* A write that is ready for somebody else to submit: fd is open with O_DIRECT and O_DSYNC. */
struct direct_write {
    struct io_file *file;
    uint8_t *buffer;
    uint32_t bytes;
    int fd;
    bool lent; /* the buffer is the caller's */
};
/* NULL: not possible or not worth it, or not without blocking. */
struct direct_write *direct_begin(struct io_direct *d, struct io_files *files, struct io_file *file,
                                  const struct iovec *iov, unsigned n, uint64_t offset);
/* Frees w. res: what the write came to. False: it has to be made another way, from the start: the
 * device wants other boundaries, or the write was cut short without an error. */
bool direct_end(struct io_direct *d, struct io_files *files, struct direct_write *w, int64_t res);

/* Reads whole pages that are not in the page cache, which stays without them, into memory on a page
 * boundary: *res as of a read. False: not possible or not worth it here. cached_fd: a descriptor of
 * the same file for reads through the page cache. On pool threads. */
bool direct_read(struct io_direct *d, struct io_files *files, struct io_file *file, int cached_fd,
                 void *into, uint32_t len, uint64_t offset, int64_t *res);

#endif
