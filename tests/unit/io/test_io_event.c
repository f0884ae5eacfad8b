/*
 * The conformance suite on libevent.
 */
#include "tests/unit/io/conformance.h"
#include "tests/unit/io/host.h"

const char *const conformance_title = "io/event";
const enum io_backend host_backend = IO_BACKEND_EVENT;
const unsigned host_cores = 2;

const struct runner_case *conformance_extra_cases(size_t *count)
{
    return host_cases(count);
}
