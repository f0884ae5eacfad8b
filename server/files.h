/*
 * files.h - the files a server leaves for others while it runs: pid file and ports file, and the
 * making of its store directory. Main thread; blocking.
 */
#ifndef SERVER_FILES_H
#define SERVER_FILES_H

#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "server/config/options.h"

#include <stdbool.h>
#include <stdint.h>

struct files {
    char *pid_file;
    char *ports_file;
};

/* Creates store_dir and store_dir/jetstream when missing; the latter's path goes to out. store_dir
 * NULL: <temp>/nats/jetstream's parent, as the peer does. False with a text in why. */
bool files_make_store_dir(const char *store_dir, struct buf *out, char why[256]);
/* Where the server listens; 0 = not at all. */
struct files_ports {
    const char *scheme, *host; /* "nats"; "tls": who does not begin TLS is not let in */
    uint16_t port, http_port, kafka_port;
    const char *ws_host, *ws_scheme, *leaf_host;
    uint16_t ws_port, leaf_port;
};

/* Writes the pid file, if one is configured that is not there yet. */
bool files_write_pid(struct files *f, const struct options *o, struct log *log);
/* Writes the pid file and the ports file that are configured; a failure is logged and is not fatal
 * for the ports file, fatal for the pid file. */
bool files_write(struct files *f, const struct options *o, const char *program, struct log *log,
                 const struct files_ports *ports);
void files_remove(struct files *f);

#endif
