/*
 * io_direct.h - big commits past the page cache: O_DIRECT and O_DSYNC, from an aligned copy.
 *
 * For a commit of whole pages to a file without unsynced writes a write through the page cache and
 * fdatasync copies the bytes into pages that must be found first, and the kernel then walks them
 * again: 0.29 ns of CPU a byte into a preallocated file, 0.20 into one that is cached already. From
 * an aligned copy with O_DIRECT and O_DSYNC it is 0.13 and a copy of 0.03, the page cache does not
 * grow, and the sync takes as long (measured, 1 MiB).
 */
#ifndef IO_IO_DIRECT_H
#define IO_IO_DIRECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct io_direct;

struct io_direct *direct_open(void);
void direct_close(struct io_direct *d);
/* Is it worth it, and possible as far as one can say: page boundaries, size? */
size_t direct_bytes(const struct io_direct *d, const struct iovec *iov, unsigned n,
                    uint64_t offset);
/* Writes bytes (as direct_bytes said) durably: bytes, a negative errno, or 0: not possible here,
 * nothing was written. On pool threads. */
int64_t direct_commit(struct io_direct *d, const char *path, const struct iovec *iov, unsigned n,
                      size_t bytes, uint64_t offset);

#endif
