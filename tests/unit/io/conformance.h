/*
 * conformance.h - one suite for every backend of lib/io.
 *
 * conformance.c has the cases and main; a program adds one small file that defines these. The suite
 * uses only io.h, both ends of every connection are on one loop, and nothing in it depends on real
 * time passing, so that the simulator passes it too. What only a kernel has (other threads, full
 * disks, sockets of this process used behind the loop's back) is in host.c and comes as extra
 * cases.
 */
#ifndef TESTS_UNIT_IO_CONFORMANCE_H
#define TESTS_UNIT_IO_CONFORMANCE_H

#include "lib/io/io.h"
#include "tests/lib/runner.h"

extern const char *const conformance_title;
/* Opens a loop with this configuration, whose backend field is to be replaced; fails the test if it
 * can't. */
struct io *conformance_open(const struct io_config *config);
void conformance_close(struct io *io);
/* NULL, or why the suite can not run here. */
const char *conformance_skip(void);
/* An existing, empty directory of this process; the same on every call; without a final slash. */
const char *conformance_dir(void);
/* An address to listen on. */
const char *conformance_host(void);

/* Files and work, conformance_file.c. */
const struct runner_case *conformance_file_cases(size_t *count);
/* Random operations, conformance_churn.c. */
const struct runner_case *conformance_churn_cases(size_t *count);
/* What only this backend is asked. */
const struct runner_case *conformance_extra_cases(size_t *count);

#endif
