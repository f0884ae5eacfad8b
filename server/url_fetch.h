/*
 * url_fetch.h - one GET or POST over HTTP or HTTPS on the main thread's loop: tokens of accounts
 * from a server of the operator, the state of certificates from responders.
 */
#ifndef SERVER_URL_FETCH_H
#define SERVER_URL_FETCH_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct event_base;
struct evdns_base;
struct tls_context;
struct url_fetch;

/* What is said there; borrowed for the call that starts it. */
struct url_post {
    struct str body;
    const char *type, *accept; /* header fields */
};

/* How to get there. All of it but post outlives the fetch. */
struct url_way {
    struct event_base *base;
    struct evdns_base *dns;  /* looks names up; NULL: the system does, and the call waits for it */
    struct tls_context *tls; /* of a client, for https; NULL: there is none */
    int64_t timeout_ns;
    const struct url_post *post; /* NULL: a GET */
};

/* err empty: body is what came with status 200; both are borrowed. Once. */
typedef void url_fetched(void *ctx, struct str body, const char *err);

/* done comes later, never within this call. NULL with a text in err: nothing was started. */
struct url_fetch *url_fetch_start(const struct url_way *way, const char *url, url_fetched *done,
                                  void *ctx, struct buf *err);
/* Without a call of done. */
void url_fetch_stop(struct url_fetch *f);
/* Waits for it, on a loop of its own: at a start. Of the way only tls, timeout_ns and post count.
 */
bool url_fetch_now(const struct url_way *way, const char *url, struct buf *body, struct buf *err);

#endif
