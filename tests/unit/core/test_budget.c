/* test_budget.c - the shared sum of memory and its levels. */
#include "server/core/budget.h"
#include "tests/lib/runner.h"

TEST(sums_what_workers_report)
{
    struct budget b = {.limit = 100 << 20};
    uint64_t one = 0, two = 0;

    budget_report(&b, &one, 10 << 20);
    budget_report(&b, &two, 20 << 20);
    ck_assert_uint_eq(b.used, 30 << 20);
    budget_report(&b, &one, 5 << 20);
    ck_assert_uint_eq(b.used, 25 << 20);
    /* Small differences wait. */
    budget_report(&b, &one, (5 << 20) + BUDGET_STEP - 1);
    ck_assert_uint_eq(b.used, 25 << 20);
    budget_report(&b, &one, (5 << 20) - BUDGET_STEP + 1);
    ck_assert_uint_eq(b.used, 25 << 20);
    budget_report(&b, &one, (5 << 20) + 2 * BUDGET_STEP);
    ck_assert_uint_eq(b.used, (25 << 20) + 2 * BUDGET_STEP);
    budget_report(&b, &one, 0);
    budget_report(&b, &two, 0);
    ck_assert_uint_eq(b.used, 0);
}

TEST(levels)
{
    static const struct {
        uint64_t used;
        enum budget_level level;
    } table[] = {
        {0, BUDGET_FINE},   {800, BUDGET_FINE}, {801, BUDGET_SHED},
        {900, BUDGET_SHED}, {901, BUDGET_DROP}, {UINT64_MAX, BUDGET_DROP},
    };
    struct budget b = {.limit = 800};

    for (unsigned k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        b.used = table[k].used;
        ck_assert_int_eq(budget_level(&b), table[k].level);
    }
    b.limit = UINT64_MAX;
    ck_assert_int_eq(budget_level(&b), BUDGET_FINE);
}

static const struct runner_case cases[] = {
    RUN(sums_what_workers_report),
    RUN(levels),
};

RUNNER_MAIN("core/budget", cases)
