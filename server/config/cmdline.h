/*
 * cmdline.h - the command line: flags with one or two dashes, "-f v" or "-f=v", -c applied before
 * the other flags so that flags win.
 */
#ifndef CONFIG_CMDLINE_H
#define CONFIG_CMDLINE_H

#include "lib/base/buf.h"
#include "server/config/options.h"

#include <stdbool.h>

struct cmdline_result {
    bool run; /* false: everything has been said on stdout or stderr, leave with exit_code */
    int exit_code;
};

/* What -t looks at behind the options: the files that they name. False with a text in why. */
typedef bool cmdline_check(const struct options *options, char why[256]);

/* options must have been initialised. argv[0] decides the program name in texts: a basename of
 * "nats-server" makes it answer like one ("nats-server: v2.x.y"). nats_version: what -v prints
 * then. check: NULL = nothing. */
struct cmdline_result cmdline_parse(int argc, char **argv, const char *nats_version,
                                    const char *midge_version, struct options *options,
                                    cmdline_check *check);

/* The same again for a reload, into initialised options: the file is read anew, the flags win over
 * it. Prints nothing; false with a text in err. */
bool cmdline_reread(int argc, char **argv, struct options *options, struct buf *err);

#endif
