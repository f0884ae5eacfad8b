/*
 * surplus.h - behind a reload: where more clients are connected than the limits of the server or of
 * an account allow now, the newest go, whichever worker they are with.
 *
 * Every worker is asked which connections it has, and then told which are to go: two round trips,
 * and none when nobody is over a limit.
 */
#ifndef SERVER_SURPLUS_H
#define SERVER_SURPLUS_H

#include "server/parts.h"

/* Main thread. Calls done on it when all are told, or at once. */
void surplus_close(struct server_parts *parts, void (*done)(void *ctx), void *ctx);

#endif
