/*
 * main.c - nats-bench: a load generator and latency meter for NATS servers.
 *
 * Exit status: 0 all went well, 1 something failed (results are printed as far as they go), 2 the
 * command line makes no sense.
 */
#include "tools/nats-bench/bench.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    struct bench b = {0};
    char err[256];
    bool well;

    if (!options_parse(&b.o, argc, argv, err)) {
        fprintf(stderr, "nats-bench: %s\n", err);
        return 2;
    }
    if (b.o.help) {
        options_print_help();
        return 0;
    }
    well = bench_run(&b);
    if (b.nclients > 0 && b.started)
        report_print(&b);
    bench_free(&b);
    return well ? 0 : 1;
}
