/*
 * io_uring.c - completions by the kernel's rings.
 */
#include <errno.h>
#include <stdio.h>

#include "lib/io/io_backend.h"

int io_uring_open(const struct io_config *config, struct io **out, char *why, size_t why_size)
{
    (void) config;
    (void) out;
    snprintf(why, why_size, "io_uring: not built in");
    return -ENOSYS;
}
