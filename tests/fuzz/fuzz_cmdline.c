/*
 * fuzz_cmdline.c - any arguments: they are taken, or something is said and the program leaves with
 * 0 or 1.
 *
 * Input: arguments with a NUL behind each. Names of files are not for a fuzzer: a file that an
 * argument names is always this source's neighbour "none", which does not exist.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "server/config/cmdline.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_MAX 16

/* "-c x", "--config=x" read files: what they name goes. */
static char *harmless(char *arg, const char *before)
{
    const char *name = arg + strspn(arg, "-");

    if (strcmp(before, "-c") == 0 || strcmp(before, "--c") == 0 || strcmp(before, "-config") == 0 ||
        strcmp(before, "--config") == 0)
        snprintf(arg, strlen(arg) + 1, "%s", "/none");
    else if (name > arg && (strncmp(name, "c=", 2) == 0 || strncmp(name, "config=", 7) == 0))
        arg[strcspn(arg, "=") + 1] = '\0';
    return arg;
}

static void parse(int argc, char **argv)
{
    struct options o;
    struct cmdline_result r;
    char why[256];

    options_init(&o);
    r = cmdline_parse(argc, argv, "2.15.0", "0.1.0", &o, NULL);
    if (r.run)
        ASSERT(options_check(&o, why));
    else
        ASSERT(r.exit_code == EXIT_SUCCESS || r.exit_code == EXIT_FAILURE);
    options_free(&o);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static FILE *nowhere;
    FILE *out = stdout, *err = stderr;
    struct str rest = str_from(data, size);
    char program[] = "midge-server", *argv[ARGS_MAX + 2] = {program};
    int argc = 1;

    if (nowhere == NULL)
        nowhere = fopen("/dev/null", "we");
    for (; rest.n > 0 && argc <= ARGS_MAX; argc++) {
        struct str arg = str_cut(rest, '\0', &rest);
        argv[argc] = harmless(strndup(arg.p, arg.n), argv[argc - 1]);
    }
    stdout = stderr = nowhere;
    parse(argc, argv);
    stdout = out;
    stderr = err;
    for (int i = 1; i < argc; i++)
        free(argv[i]);
    return 0;
}
