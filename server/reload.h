/*
 * reload.h - what changed between two snapshots of options, and whether a running server can
 * follow. Pure.
 *
 * Everything that connections look up in the options can change: limits, times, users, what is
 * logged and where, the pid file. What was bound, opened or sized at the start can not: addresses,
 * names, the store, the threads.
 */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "server/config/options.h"

#include <stdbool.h>

/* False with a text in why when something differs that can only change with a restart. */
bool reload_possible(const struct options *before, const struct options *now, char why[256]);
/* Calls each with a line for the log, as "max_payload = 1024", for everything that differs. */
void reload_changes(const struct options *before, const struct options *now,
                    void (*each)(void *ctx, const char *line), void *ctx);

#endif
