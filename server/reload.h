/*
 * reload.h - what changed between two snapshots of options, and whether a running server can
 * follow. Pure.
 *
 * Everything that connections look up in the options can change: limits, times, users, what is
 * logged and where, the pid file, whether there is JetStream. What was bound, opened or sized can
 * not: addresses, names, the store's directory and keys, the threads.
 */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "server/config/options.h"

#include <stdbool.h>
#include <stdint.h>

/* False with a text in why when something differs that can only change with a restart. */
bool reload_possible(const struct options *before, const struct options *now, char why[256]);
/* The keys of JetStream's encryption, which are wiped from the options once the store is open: what
 * tells others from them. */
struct reload_keys {
    uint8_t secret[32];            /* anything, the caller's */
    uint8_t key[32], prev_key[32]; /* all 0: there is none */
};
void reload_keys_note(struct reload_keys *k, const struct options *o);
/* False with a text in why: they can only change with a restart. */
bool reload_keys_same(const struct reload_keys *k, const struct options *now, char why[256]);
/* Calls each with a line for the log, as "max_payload = 1024", for everything that differs. */
void reload_changes(const struct options *before, const struct options *now,
                    void (*each)(void *ctx, const char *line), void *ctx);

#endif
