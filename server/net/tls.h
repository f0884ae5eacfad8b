/*
 * tls.h - TLS of one connection: wire bytes in, plain bytes out, and the reverse. OpenSSL on a BIO
 * over slices: it never sees a socket, never blocks, and has no thread.
 *
 * A context is what the certificates and rules of a tls block make; it is immutable, shared by all
 * workers, and counted: a session holds the one it began with, whatever a reload brings.
 *
 * A session belongs to its connection's worker. Bytes given by tls_input are lent until the next
 * call of it; everything OpenSSL wants to send is appended to the outbuf given to tls_open.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "server/config/tls_options.h"
#include "server/core/sink.h"

struct tls_context;
struct tls;

/* Reads the files. NULL with a text in why. Start-up and reload only: it blocks. */
struct tls_context *tls_context_open(const struct tls_options *options, char why[256]);
/* For connections that we dial: a certificate of our own is not needed. */
struct tls_context *tls_context_open_client(const struct tls_options *options, char why[256]);
struct tls_context *tls_context_get(struct tls_context *c);
void tls_context_put(struct tls_context *c); /* any thread; NULL is nothing */
/* A session of OpenSSL on its own, for a listener that is none of ours (monitoring): it asks for no
 * certificate of the client. The caller frees it. */
struct ssl_st *tls_context_session(struct tls_context *c);

/* The same for a connection that we make, to a host, a name or an address, which the server's
 * certificate must have. */
struct ssl_st *tls_context_client_session(struct tls_context *c, const char *host);

/* wire outlives the session. */
struct tls *tls_open(struct tls_context *c, struct outbuf *wire, struct chunk_pool *chunks);
/* As the client of a host, a name or an address, which its certificate must have. */
struct tls *tls_open_client(struct tls_context *c, const char *host, struct outbuf *wire,
                            struct chunk_pool *chunks);
void tls_close(struct tls *t);

void tls_input(struct tls *t, struct str bytes);

enum tls_answer {
    TLS_OK,
    TLS_MORE,   /* when more has arrived */
    TLS_CLOSED, /* the other side says that it sends nothing more */
    TLS_FAILED, /* tls_error says why; an alert may be in wire */
};
enum tls_answer tls_handshake(struct tls *t);
/* TLS_OK with *n > 0 bytes. */
enum tls_answer tls_read(struct tls *t, void *into, size_t max, size_t *n);
/* All of them, as records in wire. False: memory is short, or the session is broken. */
bool tls_write(struct tls *t, struct str bytes);
/* Says that nothing more will be sent. */
void tls_end(struct tls *t);

const char *tls_error(const struct tls *t);
const char *tls_version_name(const struct tls *t); /* "1.3" */
const char *tls_cipher_name(const struct tls *t);  /* as in RFCs */

/* Did a chain of the client's certificate lead to the ca_file's? */
bool tls_verified(const struct tls *t);
/* Its certificates as PEM texts in JSON strings, with commas between; appended. The chain when it
 * is verified, else what the client sent. */
void tls_certificates(const struct tls *t, struct buf *out);
/* Is the client's certificate one of the pinned ones? True when none are pinned. */
bool tls_pinned(const struct tls *t);
/* Names in the client's certificate, in the order in which they are looked up as users: mail
 * addresses, DNS names, URIs, the subject (subject: as RFC 2253 says it). each returns true to
 * stop; so does this then. */
bool tls_names(const struct tls *t, bool (*each)(void *ctx, struct str name, bool subject),
               void *ctx);

#endif
