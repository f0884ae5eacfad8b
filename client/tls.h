/*
 * tls.h - TLS of one connection of libmidge: wire bytes in, plain bytes out, and the reverse.
 *
 * OpenSSL on a BIO over memory: it never sees the socket and never blocks. What it wants to send is
 * appended to `wire`, which outlives the session; what is given by client_tls_input is lent until
 * the next call of it. A session is made anew for each try, from the files as they are then, so
 * that renewed certificates count from the next connection on.
 */
#ifndef CLIENT_TLS_H
#define CLIENT_TLS_H

#include "client/midge.h"
#include "lib/base/buf.h"
#include "lib/base/str.h"

struct client_tls;

/* Reads the options' files: it blocks. NULL with a text in err. */
struct client_tls *client_tls_open(const struct midge_options *o, struct buf *wire, char err[256]);
void client_tls_close(struct client_tls *t); /* NULL is nothing */

void client_tls_input(struct client_tls *t, struct str bytes);

enum client_tls_answer {
    CLIENT_TLS_OK,
    CLIENT_TLS_MORE,   /* when more has arrived */
    CLIENT_TLS_CLOSED, /* the server says that it sends nothing more */
    CLIENT_TLS_FAILED, /* client_tls_error says why */
};
/* Begins, or goes on with, the handshake: OK when it is done, and the server is who it should be.
 */
enum client_tls_answer client_tls_shake(struct client_tls *t);
/* OK with *n > 0 bytes. */
enum client_tls_answer client_tls_read(struct client_tls *t, void *into, size_t max, size_t *n);
/* All of them, as records in wire. */
bool client_tls_write(struct client_tls *t, struct str bytes);
const char *client_tls_error(const struct client_tls *t);

#endif
