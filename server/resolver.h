/*
 * resolver.h - where the claims of accounts come from: memory (the preload), a directory, a server
 * of the operator over HTTP. Main thread.
 *
 * Memory and directories answer at once. A server is asked at once only before the workers run;
 * later its answer comes by a call.
 */
#ifndef SERVER_RESOLVER_H
#define SERVER_RESOLVER_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct io_fs;
struct jwt_dir;
struct options;
struct resolver;

struct resolver_host {
    struct event_base *base;
    struct io_fs *fs;
    const struct options *options;
};

/* Opens the directory, or asks the server whether it is there. NULL with a text. */
struct resolver *resolver_open(const struct resolver_host *host, char why[256]);
void resolver_close(struct resolver *r); /* NULL is nothing; nothing is called any more */
void resolver_reload(struct resolver *r, const struct options *now);
/* NULL: claims do not come from one. */
struct jwt_dir *resolver_dir(const struct resolver *r);
/* Does a server have them? */
bool resolver_is_remote(const struct resolver *r);

/* Waits for it. False with a text. */
bool resolver_fetch(struct resolver *r, const char *name, struct buf *token, struct buf *err);
/* done is called once for each name that is asked for, maybe within this call; while one is under
 * way, asking for it again is nothing. why empty: token is what came, borrowed. */
typedef void resolver_done(void *ctx, const char *name, struct str token, const char *why);
void resolver_fetch_later(struct resolver *r, const char *name, resolver_done *done, void *ctx);

int64_t resolver_now(const struct resolver_host *host); /* unix ns, of this turn of the loop */

#endif
