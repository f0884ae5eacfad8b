/*
 * runner.c - see runner.h. One Check suite per program, one Check test case per entry of the table,
 * so that each has its own name in the output and its own time limit.
 */
#include "tests/lib/runner.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CASE_SECONDS 60
#ifdef MIDGE_SANITIZE
#define TIME_FACTOR 10
#else
#define TIME_FACTOR 1
#endif

struct selection {
    const char *part; /* of the case's name; NULL takes all */
    int iteration;    /* -1 takes all */
    int list;
    int no_fork;
};

static int parse_arguments(int argc, char **argv, struct selection *sel)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-l") == 0) {
            sel->list = 1;
        } else if (strcmp(argv[i], "-n") == 0) {
            sel->no_fork = 1;
        } else if (strcmp(argv[i], "-i") == 0 && i + 1 < argc) {
            sel->iteration = (int) strtol(argv[++i], NULL, 10);
        } else if (argv[i][0] == '-' || sel->part != NULL) {
            fprintf(stderr, "usage: %s [-l] [-n] [-i iteration] [part of a case's name]\n",
                    argv[0]);
            return -1;
        } else {
            sel->part = argv[i];
        }
    }
    return 0;
}

static void add_case(Suite *suite, const struct runner_case *c, const struct selection *sel)
{
    int first = c->first;
    int end = c->end;
    if (sel->part != NULL && strstr(c->test->name, sel->part) == NULL)
        return;
    if (sel->iteration >= 0) {
        first = sel->iteration;
        end = first + 1;
    }
    if (sel->list) {
        printf("%s [%d, %d)\n", c->test->name, first, end);
        return;
    }
    TCase *tcase = tcase_create(c->test->name);
    tcase_set_timeout(tcase, TIME_FACTOR * (c->seconds != 0 ? c->seconds : CASE_SECONDS));
    tcase_add_loop_test(tcase, c->test, first, end);
    suite_add_tcase(suite, tcase);
}

/* ---- scratch space ---------------------------------------------------------------------------
 *
 * A case that fails, or is killed for its time limit, leaves its files where they are: servers' log
 * files of 64 MiB each. All that the cases make is below one directory, which goes with the
 * program; MIDGE_KEEP=1 leaves it to be looked at.
 */

struct scratch {
    char path[128];
};

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void) st;
    (void) kind;
    (void) at;
    return remove(path) != 0 && errno != ENOENT;
}

static void scratch_make(struct scratch *s)
{
    const char *temp = getenv("TMPDIR");

    snprintf(s->path, sizeof(s->path), "%.100s/midge-run-XXXXXX", temp != NULL ? temp : "/tmp");
    if (mkdtemp(s->path) == NULL || setenv("TMPDIR", s->path, 1) != 0)
        s->path[0] = '\0';
}

static void scratch_remove(const struct scratch *s)
{
    if (s->path[0] == '\0')
        return;
    if (getenv("MIDGE_KEEP") != NULL)
        fprintf(stderr, "files are kept in %s\n", s->path);
    else
        nftw(s->path, remove_one, 64, FTW_DEPTH | FTW_PHYS);
}

int runner_main(int argc, char **argv, const char *title, const struct runner_case *cases,
                size_t count)
{
    struct selection sel = {.iteration = -1};
    if (parse_arguments(argc, argv, &sel) != 0)
        return 2;
    Suite *suite = suite_create(title);
    SRunner *runner = srunner_create(suite);
    for (size_t i = 0; i < count; i++)
        add_case(suite, &cases[i], &sel);
    if (sel.no_fork)
        srunner_set_fork_status(runner, CK_NOFORK);
    int run = 0;
    int failed = 0;
    if (!sel.list) {
        struct scratch scratch;
        scratch_make(&scratch);
        srunner_run_all(runner, CK_NORMAL);
        scratch_remove(&scratch);
        run = srunner_ntests_run(runner);
        failed = srunner_ntests_failed(runner);
        printf("cases: %d passed, %d failed\n", run - failed, failed);
    }
    srunner_free(runner);
    return sel.list || (run > 0 && failed == 0) ? 0 : 1;
}
