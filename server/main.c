/* main.c - command line, log, server, exit code. */
#include "server/config/cmdline.h"
#include "server/server.h"
#include "server/signal_command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *program_name(const char *argv0)
{
    const char *slash = strrchr(argv0, '/');
    return slash != NULL ? slash + 1 : argv0;
}

static struct logger *open_logger(const struct options *o, const char *program)
{
    char why[256];
    struct logger *l = logger_open(
        &(struct logger_options){
            .file = o->log_file,
            .syslog = o->syslog,
            .remote = o->remote_syslog,
            .tag = program,
            .debug = o->debug,
            .trace = o->trace,
            .time = o->logtime,
            .utc = o->logtime_utc,
            .size_limit = o->log_size_limit,
            .max_num = o->log_max_num,
        },
        why);

    if (l == NULL)
        fprintf(stderr, "%s: %s\n", program, why);
    return l;
}

struct arguments {
    int argc;
    char **argv;
};

static bool reread(void *ctx, struct options *out, struct buf *err)
{
    const struct arguments *a = ctx;
    return cmdline_reread(a->argc, a->argv, out, err);
}

int main(int argc, char **argv)
{
    const char *program = program_name(argc > 0 ? argv[0] : "midge-server");
    struct arguments arguments = {argc, argv};
    struct options options;
    struct cmdline_result parsed;
    struct logger *logger;
    struct server *server;
    int exit_code = EXIT_FAILURE;

    signal(SIGPIPE, SIG_IGN);
    options_init(&options);
    parsed = cmdline_parse(argc, argv, NATS_VERSION, PACKAGE_VERSION, &options, server_check_files);
    if (!parsed.run) {
        options_free(&options);
        return parsed.exit_code;
    }
    if (options.signal != NULL) {
        exit_code = signal_command(options.signal, program);
        options_free(&options);
        return exit_code;
    }
    logger = open_logger(&options, program);
    if (logger != NULL) {
        server = server_open(&options, logger, program, argc > 0 ? argv[0] : program,
                             (struct server_reread){reread, &arguments});
        if (server != NULL) {
            exit_code = server_run(server);
            server_close(server);
        }
        logger_close(logger);
    }
    options_free(&options);
    return exit_code;
}
