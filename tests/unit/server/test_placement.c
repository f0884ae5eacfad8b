/* test_placement.c - server/placement: who takes the next connection or stream. */
#include "server/placement.h"
#include "tests/lib/runner.h"

#define SECOND ((uint64_t) 1000000000)

static struct placement p;

static void open_with(unsigned workers, bool spread)
{
    placement_init(&p, workers, spread);
}

static void close_it(void)
{
    placement_deinit(&p);
}

TEST(idle_workers_fill_the_first)
{
    uint32_t busy[3] = {0, 0, 0};

    open_with(3, false);
    for (unsigned k = 0; k < 50; k++)
        ck_assert_uint_eq(placement_choose(&p, busy, k * SECOND), 0);
    close_it();
}

TEST(half_busy_the_least_loaded_takes)
{
    uint32_t busy[3] = {499, 300, 200};

    open_with(3, false);
    ck_assert_uint_eq(placement_choose(&p, busy, 10 * SECOND), 0);
    busy[0] = 500;
    ck_assert_uint_eq(placement_choose(&p, busy, 20 * SECOND), 2);
    busy[2] = 301;
    ck_assert_uint_eq(placement_choose(&p, busy, 30 * SECOND), 1);
    busy[0] = 100;
    ck_assert_uint_eq(placement_choose(&p, busy, 40 * SECOND), 0);
    close_it();
}

TEST(all_busy_still_has_an_answer)
{
    uint32_t busy[2] = {1000, 1000};

    open_with(2, false);
    ck_assert_uint_eq(placement_choose(&p, busy, SECOND), 0);
    ck_assert_uint_eq(placement_choose(&p, busy, SECOND), 1);
    close_it();
}

/* Their traffic has not been seen yet. */
TEST(a_burst_does_not_pile_up)
{
    uint32_t busy[3] = {0, 0, 0}, got[3] = {0, 0, 0};

    open_with(3, false);
    for (unsigned k = 0; k < 900; k++)
        got[placement_choose(&p, busy, 5 * SECOND)]++;
    for (unsigned w = 0; w < 3; w++)
        ck_assert_uint_eq(got[w], 300);
    close_it();
}

TEST(newcomers_grow_old)
{
    uint32_t busy[2] = {0, 0};

    open_with(2, false);
    for (unsigned k = 0; k < 100; k++)
        ck_assert_uint_eq(placement_choose(&p, busy, 5 * SECOND), 0);
    ck_assert_uint_eq(placement_choose(&p, busy, 5 * SECOND), 1);
    ck_assert_uint_eq(placement_choose(&p, busy, 6 * SECOND), 1);
    ck_assert_uint_eq(placement_choose(&p, busy, 7 * SECOND), 0);
    close_it();
}

TEST(spread_goes_in_turn)
{
    uint32_t busy[3] = {0, 900, 1000};

    open_with(3, true);
    for (unsigned k = 0; k < 12; k++)
        ck_assert_uint_eq(placement_choose(&p, busy, 0), k % 3);
    close_it();
}

TEST(one_worker_takes_all)
{
    uint32_t busy[1] = {1000};

    open_with(1, false);
    for (unsigned k = 0; k < 500; k++)
        ck_assert_uint_eq(placement_choose(&p, busy, k * SECOND / 10), 0);
    close_it();
}

static const struct runner_case cases[] = {
    RUN(idle_workers_fill_the_first),  RUN(half_busy_the_least_loaded_takes),
    RUN(all_busy_still_has_an_answer), RUN(a_burst_does_not_pile_up),
    RUN(newcomers_grow_old),           RUN(spread_goes_in_turn),
    RUN(one_worker_takes_all),
};

RUNNER_MAIN("server/placement", cases)
