/*
 * host.h - the suite's surroundings on a real kernel, shared by the programs of the two backends,
 * and the cases that need one: other threads, full disks, descriptors running out, sockets with
 * tiny buffers.
 */
#ifndef TESTS_UNIT_IO_HOST_H
#define TESTS_UNIT_IO_HOST_H

#include "lib/io/io.h"
#include "tests/lib/runner.h"

/* Which backend conformance_open takes; defined by each program. */
extern const enum io_backend host_backend;
/* io_config.cores. */
extern const unsigned host_cores;

const struct runner_case *host_cases(size_t *count);

#endif
