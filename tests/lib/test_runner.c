/*
 * test_runner.c - the runner itself: cases run, loops pass every i, a failing check is seen as one.
 *
 * The last is tested in a child process, since a failing case is what the harness must report: the
 * same program is started again with RUNNER_FAIL set, which makes one of its cases fail, and its
 * exit status and last line are read back.
 */
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *self;

TEST(loops_from_first_to_end)
{
    ck_assert_int_ge(i, 3);
    ck_assert_int_lt(i, 6);
}

TEST(fails_when_asked)
{
    ck_assert(getenv("RUNNER_FAIL") == NULL);
}

TEST(reports_a_failing_case)
{
    char command[4096];
    char line[256];
    char last[256] = "";
    snprintf(command, sizeof(command), "RUNNER_FAIL=1 '%s' fails_when", self);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL)
        memcpy(last, line, sizeof(last));
    ck_assert_int_ne(pclose(f), 0);
    ck_assert_str_eq(last, "cases: 0 passed, 1 failed\n");
}

TEST(fails_without_cases)
{
    char command[4096];
    snprintf(command, sizeof(command), "'%s' no_case_has_this_name >/dev/null", self);
    ck_assert_int_ne(system(command), 0);
}

static const struct runner_case cases[] = {
    RUN_LOOP(loops_from_first_to_end, 3, 6),
    RUN(fails_when_asked),
    RUN(reports_a_failing_case),
    RUN(fails_without_cases),
};

int main(int argc, char **argv)
{
    self = argv[0];
    return runner_main(argc, argv, "lib/runner", cases, sizeof(cases) / sizeof(cases[0]));
}
