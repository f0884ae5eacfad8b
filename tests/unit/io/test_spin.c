/*
 * When a thread spins: the rule of io_spin.h as a table of waits.
 */
#include "lib/io/io_spin.h"
#include "tests/lib/runner.h"

enum { LIMIT = 50000 };

/* n waits, slept at once when it does not spin. */
static void waits(struct io_spin *spin, unsigned n, uint64_t ns)
{
    for (unsigned k = 0; k < n; k++) {
        uint64_t spins = io_spin_ns(spin);
        bool slept = ns > spins;
        io_spin_learn(spin, ns + (slept ? 25000 : 0), spins > 0, slept);
    }
}

TEST(starts_asleep_and_learns)
{
    struct io_spin spin;

    io_spin_init(&spin, LIMIT);
    ck_assert_uint_eq(io_spin_ns(&spin), 0);
    waits(&spin, 10, 20000);
    ck_assert_uint_eq(io_spin_ns(&spin), LIMIT);
    waits(&spin, 1, 1000000000); /* one long pause is not yet a change */
    ck_assert_uint_eq(io_spin_ns(&spin), LIMIT);
    waits(&spin, 10, 200000);
    ck_assert_uint_eq(io_spin_ns(&spin), 0);
}

/* Just above the limit: spinning never helps, so it must not go on for long. */
TEST(does_not_spin_in_vain)
{
    struct io_spin spin;
    unsigned spun = 0;

    io_spin_init(&spin, LIMIT);
    for (unsigned k = 0; k < 1000; k++) {
        spun += io_spin_ns(&spin) > 0;
        waits(&spin, 1, LIMIT + 10000);
    }
    ck_assert_uint_lt(spun, 10);
}

TEST(a_limit_of_zero_never_spins)
{
    struct io_spin spin;

    io_spin_init(&spin, 0);
    waits(&spin, 100, 1);
    ck_assert_uint_eq(io_spin_ns(&spin), 0);
}

static const struct runner_case cases[] = {
    RUN(starts_asleep_and_learns),
    RUN(does_not_spin_in_vain),
    RUN(a_limit_of_zero_never_spins),
};

RUNNER_MAIN("io/spin", cases)
