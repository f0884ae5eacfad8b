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

/* All on the main thread. NULL: nobody is over a limit. parts are borrowed until it is freed. */
struct surplus *surplus_new(struct server_parts *parts);
/* Once; the workers must run. done is called when all are told. */
void surplus_close(struct surplus *s, void (*done)(void *ctx), void *ctx);
/* In done or behind it, or when the workers have ended. NULL is nothing. */
void surplus_free(struct surplus *s);

#endif
