/*
 * ocsp.h - the server's part in the state of certificates: staples of its own (staple.h), questions
 * about those of others (peer_checks.h) and where answers are kept. Main thread.
 */
#ifndef SERVER_OCSP_H
#define SERVER_OCSP_H

#include "server/peer_cache.h"

#include <stdbool.h>

struct event_base;
struct ocsp;
struct options;
struct parts_tls;
struct server_parts;

struct ocsp_host {
    struct event_base *base;
    struct server_parts *parts; /* with workers; they do not run yet */
    struct log *log;
    void (*wake)(void *ctx); /* makes the main thread call ocsp_take; any thread */
    void (*end)(void *ctx);  /* a certificate of ours was revoked: the server is to stop */
    void *ctx;
};

/* Waits for answers about our own certificates. NULL with a text when one that must be there is
 * not. */
struct ocsp *ocsp_open(const struct ocsp_host *host, const struct options *o,
                       const struct parts_tls *tls, char why[256]);
/* Other options and contexts; what does not work with them is logged. */
void ocsp_reload(struct ocsp *s, const struct options *now, const struct parts_tls *tls);
void ocsp_take(struct ocsp *s);
/* The server ends: nobody waits any more. */
void ocsp_stop(struct ocsp *s);
/* No workers run any more. NULL is nothing. */
void ocsp_close(struct ocsp *s);

/* False: answers are not kept, or nobody is asked about. */
bool ocsp_cache_stats(const struct ocsp *s, struct peer_cache_stats *out);
/* Does a tls block of the options have others' certificates looked at? */
bool ocsp_peers_checked(const struct options *o);

#endif
