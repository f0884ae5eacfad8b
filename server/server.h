/*
 * server.h - the whole server's life: from options to listening, and from a signal to a clean end.
 *
 * Everything here runs on the main thread, which owns a libevent base with signals, log writing and
 * the monitoring HTTP server, and never touches what belongs to a worker except before the workers
 * start and after they have stopped.
 *
 * States: STARTING -> READY -> STOPPING -> STOPPED. A second signal while STOPPING ends the process
 * at once with exit code 1.
 */
#ifndef SERVER_SERVER_H
#define SERVER_SERVER_H

#include "server/config/options.h"
#include "server/logger.h"

#include <stdbool.h>

/* The NATS version whose features we have; clients gate on it. */
#define NATS_VERSION "2.15.0"

struct buf;
struct server;

/* Makes the options anew for a reload, into initialised ones. False with a text in err. */
struct server_reread {
    bool (*read)(void *ctx, struct options *out, struct buf *err);
    void *ctx;
};

/* Opens the store, the workers and the listeners and logs the start-up text. NULL when something
 * failed; then the reason was logged at FTL. program: the name that texts and files have; path: how
 * it was called. All outlive the server; the options' keys are wiped when they have been used, and
 * after that nobody changes them. */
struct server *server_open(struct options *options, struct logger *logger, const char *program,
                           const char *path, struct server_reread reread);
/* Serves until a signal; returns the exit code. */
int server_run(struct server *s);
void server_close(struct server *s);

/* Are the files that the options name what they should be, and can mappings and imports be made?
 * False with a text in why. */
bool server_check_files(const struct options *o, char why[256]);

#endif
