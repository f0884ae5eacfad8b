/*
 * test_io_sim.c - the conformance suite on the deterministic simulator.
 *
 * Every loop of a case lives in one simulated machine, made anew for each case. The seed is fixed:
 * what the suite asks must hold for all, and tests/sim/test_sim.c tries more of them.
 *
 * What the suites of the kernel's backends ask besides (host.c) does not apply here: there are no
 * other threads that could wake a loop, no descriptors that could run out, and full disks and
 * failing syncs are the business of tests/sim/test_sim.c.
 */
#include "tests/sim/sim.h"
#include "tests/unit/io/conformance.h"

const char *const conformance_title = "io/sim";

static struct sim *machine;

static struct sim *the_machine(void)
{
    if (machine == NULL) {
        machine = sim_open(4711, NULL);
        ck_assert_int_eq(fs_mkdir(sim_fs(machine), "dir"), 0);
    }
    return machine;
}

struct io *conformance_open(const struct io_config *config)
{
    return sim_io_open(the_machine(), config);
}

void conformance_close(struct io *io)
{
    io_close(io);
    sim_close(machine);
    machine = NULL;
}

const char *conformance_skip(void)
{
    return NULL;
}

const char *conformance_dir(void)
{
    return "dir";
}

const char *conformance_host(void)
{
    return "127.0.0.1";
}

const struct runner_case *conformance_extra_cases(size_t *count)
{
    printf("skipped: the cases of host.c, which need a kernel: wake-ups from threads, descriptors "
           "that run out\n");
    *count = 0;
    return NULL;
}
