/*
 * banner.h - the start-up text: the lines that tools parse, and what a person wants to know: which
 * I/O backend runs and why, where the data is, what an acknowledgement means, what to try next.
 */
#ifndef SERVER_BANNER_H
#define SERVER_BANNER_H

#include "lib/base/log.h"
#include "server/config/options.h"

#include <stdint.h>

struct io;
struct js_stats;
struct store_recovery;

void banner_start(struct log *log, const char *program, const struct options *o,
                  const char *server_id);
void banner_io(struct log *log, const struct io *io, unsigned workers);
void banner_jetstream(struct log *log, const struct options *o, const char *store_path,
                      const struct store_recovery *r, const struct js_stats *js);
/* path: how this program was called; the tools are beside it. */
void banner_hints(struct log *log, const char *path, const struct options *o, const char *host,
                  uint16_t port, uint16_t http_port);

#endif
