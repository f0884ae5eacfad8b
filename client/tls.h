/*
 * tls.h - TLS of one connection of libmidge: a session (lib/tls/session.h) made of the options.
 *
 * It is made anew for each try, from the files as they are then, so that renewed certificates count
 * from the next connection on.
 */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H

#include "client/midge.h"
#include "lib/base/buf.h"
#include "lib/tls/session.h"

/* Bytes go through the session. */
struct client_tls {
    struct tls_session session;
    struct ssl_ctx_st *context;
    struct bio_method_st *bytes;
};

/* Reads the options' files: it blocks. Records go to wire, which outlives it. NULL with a text in
 * err. */
struct client_tls *client_tls_open(const struct midge_options *o, struct buf *wire, char err[256]);
void client_tls_close(struct client_tls *t); /* NULL is nothing */

#endif
