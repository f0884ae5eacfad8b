/*
 * The conformance suite on io_uring as on a machine of one core, where big commits are written
 * through the ring; skipped, saying so, where the kernel refuses it.
 */
#include "tests/unit/io/conformance.h"
#include "tests/unit/io/host.h"

const char *const conformance_title = "io/uring/one core";
const enum io_backend host_backend = IO_BACKEND_URING;
const unsigned host_cores = 1;

const struct runner_case *conformance_extra_cases(size_t *count)
{
    return host_cases(count);
}
