/*
 * runner.h - a test program is a table of cases; the runner hands them to Check and counts them.
 *
 *     #include "tests/lib/runner.h"
 *
 *     TEST(keeps_order)
 *     {
 *         ck_assert_int_eq(1 + 1, 2);
 *     }
 *
 *     TEST(every_split) // called with i = 0 .. 99
 *     {
 *         ck_assert_int_lt(i, 100);
 *     }
 *
 *     static const struct runner_case cases[] = {
 *         RUN(keeps_order),
 *         RUN_LOOP(every_split, 0, 100),
 *     };
 *
 *     RUNNER_MAIN("wire/nats_parse", cases)
 *
 * Each case runs in its own process, so that a crash fails that case alone, and has 60 seconds (ten
 * times as long under a sanitizer); RUN_SLOW says more. A case that makes no check can not fail:
 * Check does not see that, a reviewer should. Arguments of a test program: part of a case's name
 * runs only the cases that match, -l lists them, -n runs without a process per case (for a
 * debugger; the first failing check aborts), -i N runs only iteration N of a loop. The last line of
 * output is "cases: P passed, F failed", which `./dev test` adds up; a program without cases fails.
 */
#ifndef TESTS_RUNNER_H
#define TESTS_RUNNER_H

#include <check.h>
#include <stddef.h>

/* Check's own writes the place of every check that holds to a file, in case the process dies after
 * it: 2 us each, a minute in a loop over millions. This one only compares. After a crash Check
 * names the case; for the place run it with -n under a debugger, or ./dev asan. */
#undef ck_assert_msg
#define ck_assert_msg(expr, ...)                                                                   \
    ((expr)                                                                                        \
         ? (void) 0                                                                                \
         : _ck_assert_failed(__FILE__, __LINE__, "Assertion '" #expr "' failed", ##__VA_ARGS__))

struct runner_case {
    const struct TTest *test;
    int first; /* i runs from first to end - 1 */
    int end;
    unsigned seconds; /* before the case counts as hung; 0 is the default */
};

/* Defines the case `name`; the body's `i` is the iteration of RUN_LOOP, 0 for RUN. */
#define TEST(name)                                                                                 \
    static void name##_fn(int i);                                                                  \
    static const struct TTest name##_test = {#name, name##_fn, __FILE__, __LINE__};                \
    static void name##_fn(int i __attribute__((unused)))

/* ck_assert for inner loops: Check writes a mark to a file at each ck_assert, this costs nothing
 * while it holds. */
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond))                                                                               \
            ck_abort_msg("%s", #cond);                                                             \
    } while (0)

#define RUN(name)                                                                                  \
    {                                                                                              \
        .test = &name##_test, .end = 1                                                             \
    }
#define RUN_LOOP(name, from, to)                                                                   \
    {                                                                                              \
        .test = &name##_test, .first = (from), .end = (to)                                         \
    }
#define RUN_SLOW(name, limit)                                                                      \
    {                                                                                              \
        .test = &name##_test, .end = 1, .seconds = (limit)                                         \
    }

#define RUNNER_MAIN(title, table)                                                                  \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return runner_main(argc, argv, title, table, sizeof(table) / sizeof((table)[0]));          \
    }

/* Returns the exit status: 0 when at least one case ran and none failed. */
int runner_main(int argc, char **argv, const char *title, const struct runner_case *cases,
                size_t count);

#endif
