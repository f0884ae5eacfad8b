/*
 * url_fetch.h - one GET over HTTP on the main thread's loop: tokens of accounts from a server of
 * the operator. Plain HTTP; the host's name is looked up when the request starts, which may take as
 * long as the system takes.
 */
#ifndef SERVER_URL_FETCH_H
#define SERVER_URL_FETCH_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct url_fetch;

/* err empty: body is what came with status 200; both are borrowed. Once. */
typedef void url_fetched(void *ctx, struct str body, const char *err);

/* done comes later, never within this call. NULL with a text in err: nothing was started. */
struct url_fetch *url_fetch_start(struct event_base *base, const char *url, int64_t timeout_ns,
                                  url_fetched *done, void *ctx, struct buf *err);
/* Without a call of done. */
void url_fetch_stop(struct url_fetch *f);
/* Waits for it, on a loop of its own: at a start. */
bool url_fetch_now(const char *url, int64_t timeout_ns, struct buf *body, struct buf *err);

#endif
