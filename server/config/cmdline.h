/*
 * cmdline.h - the command line (feature map C1): flags with one or two dashes, "-f v" or "-f=v", -c
 * applied before the other flags so that flags win.
 */
#ifndef CONFIG_CMDLINE_H
#define CONFIG_CMDLINE_H

#include "server/config/options.h"

#include <stdbool.h>

struct cmdline_result {
    bool run; /* false: everything has been said on stdout or stderr, leave with exit_code */
    int exit_code;
};

/* options must have been initialised. argv[0] decides the program name in texts: a basename of
 * "nats-server" makes it answer like one ("nats-server: v2.x.y"). nats_version: what -v prints
 * then. */
struct cmdline_result cmdline_parse(int argc, char **argv, const char *nats_version,
                                    const char *midge_version, struct options *options);

#endif
