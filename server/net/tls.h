/*
 * tls.h - TLS of the server's connections: what certificates and rules of a tls block make, and
 * what is known of who is on the other side.
 *
 * A context is what a tls block makes; it is immutable, shared by all workers, and counted: a
 * session holds the one it began with, whatever a reload brings. A session belongs to its
 * connection's worker.
 */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "lib/tls/session.h"
#include "server/config/tls_options.h"
#include "server/core/sink.h"

struct tls_context;

/* Reads the files. NULL with a text in why. Start-up and reload only: it blocks. */
struct tls_context *tls_context_open(const struct tls_options *options, char why[256]);
/* For connections that we dial: a certificate of our own is not needed. */
struct tls_context *tls_context_open_client(const struct tls_options *options, char why[256]);
struct tls_context *tls_context_get(struct tls_context *c);
void tls_context_put(struct tls_context *c); /* any thread; NULL is nothing */
/* tls_staple.c: what a responder says of a context's own certificate (the first, when there are
 * several), sent with it to clients that ask. */
struct tls_own {
    struct x509_st *cert, *issuer; /* the caller frees them, with tls_own_free */
};
/* The issuer is the second certificate of the file, or one of ca_file, or of the system. False with
 * a text. */
bool tls_context_own(struct tls_context *c, const struct tls_options *options, struct tls_own *out,
                     char why[256]);
/* The certificate alone, borrowed; NULL: there is none. */
struct x509_st *tls_context_certificate(struct tls_context *c);
/* When it ends, unix ns; 0: there is none. */
int64_t tls_context_ends(struct tls_context *c);
void tls_own_free(struct tls_own *own);
/* From now on; empty = none. Any thread. */
void tls_context_staple(struct tls_context *c, struct str answer);

/* A session of OpenSSL on its own, for a listener that is none of ours (monitoring): it asks for no
 * certificate of the client. The caller frees it. */
struct ssl_st *tls_context_session(struct tls_context *c);

/* The same for a connection that we make, to a host, a name or an address, which the server's
 * certificate must have. */
struct ssl_st *tls_context_client_session(struct tls_context *c, const char *host);

/* Bytes go through the session (lib/tls/session.h); its records end in wire. */
struct tls {
    struct tls_session session;
    struct tls_context *context;
    struct outbuf *wire;
    struct chunk_pool *chunks;
    struct buf refusal; /* of the other side's certificate; empty = none */
    size_t refusal_n;   /* of it, without what says which certificates came */
};

/* wire outlives it. */
struct tls *tls_open(struct tls_context *c, struct outbuf *wire, struct chunk_pool *chunks);
/* As the client of a host, a name or an address, which its certificate must have. */
struct tls *tls_open_client(struct tls_context *c, const char *host, struct outbuf *wire,
                            struct chunk_pool *chunks);
void tls_close(struct tls *t);

/* tls_words.c: why the handshake failed; appended. chain: also which certificates came. */
void tls_failure(const struct tls *t, bool chain, struct buf *out);
const char *tls_version_name(const struct tls *t); /* "1.3" */
const char *tls_cipher_name(const struct tls *t);  /* as in RFCs */

/* Did a chain of the client's certificate lead to the ca_file's? */
bool tls_verified(const struct tls *t);
/* Its certificates as PEM texts in JSON strings, with commas between; appended. The chain when it
 * is verified, else what the client sent. */
void tls_certificates(const struct tls *t, struct buf *out);
/* The certificates themselves, the client's own first. */
struct net_peer_cert;
void tls_peer_certs(const struct tls *t, void (*each)(void *ctx, const struct net_peer_cert *p),
                    void *ctx);
/* SHA-256, and its text in hexadecimal digits. */
#define TLS_PIN_BYTES 32u
#define TLS_PIN_TEXT (2 * TLS_PIN_BYTES + 1)

/* Is the client's certificate one of those that a context pins? True when it pins none. key: what
 * would have to be among them; empty without a certificate. */
bool tls_pinned(const struct tls *t, const struct tls_context *by, char key[TLS_PIN_TEXT]);
/* The chain that was verified, from the other side's certificate on; borrowed, NULL = none was. */
struct stack_st_X509 *tls_chain(const struct tls *t);
/* Did the client send certificates behind its own? */
bool tls_sent_chain(const struct tls *t);

enum tls_name { TLS_NAME_EMAIL, TLS_NAME_DNS, TLS_NAME_URI, TLS_NAME_SUBJECT };

/* Names in the client's certificate, in the order in which they are looked up as users: mail
 * addresses, DNS names, URIs, the subject (as RFC 2253 says it). each returns true to stop; so does
 * this then. */
typedef bool tls_each_name(void *ctx, enum tls_name kind, struct str name);
bool tls_names(const struct tls *t, tls_each_name *each, void *ctx);

#endif
