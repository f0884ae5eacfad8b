/*
 * session.h - TLS of one connection as bytes: records in, plain bytes out, and the reverse. The
 * server's connections and libmidge's are both made of it.
 *
 * OpenSSL stands on a BIO of our own: it never sees a socket, never blocks, and has no thread. A
 * session belongs to its connection's thread; contexts, which sessions are made of, may be shared
 * by threads, and outlive their sessions.
 *
 *     tls_session_input(s, bytes)      lent until the next call of it
 *     tls_session_handshake(s)         until TLS_OK
 *     tls_session_read(s, ...)         until TLS_MORE
 *     tls_session_write(s, plain)      any time after the handshake; records go to put()
 *
 * put() is called from within all of them: handshakes, alerts and tickets are records too.
 */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct ssl_st;
struct ssl_ctx_st;
struct bio_method_st;

/* Takes records that are to be sent, all of them; false (no memory) breaks the session. */
typedef bool tls_put(void *to, const char *bytes, size_t n);

/* Embedded; everything in it is private but `ssl`, for questions about who is on the other side,
 * and what went wrong. */
struct tls_session {
    struct ssl_st *ssl; /* NULL: not open */
    struct str in;
    tls_put *put;
    void *to;
    char error[200];
    unsigned long code; /* OpenSSL's, of that error */
};

enum tls_answer {
    TLS_OK,
    TLS_MORE,   /* when more has arrived */
    TLS_CLOSED, /* the other side says that it sends nothing more */
    TLS_FAILED, /* s->error says why; an alert may have been put */
};

/* What OpenSSL's side of the bytes is made of: one for all sessions of a context, freed with
 * BIO_meth_free behind the last of them. */
struct bio_method_st *tls_session_bytes(void);

/* The server's side, of the context's certificate. */
void tls_session_accept(struct tls_session *s, struct ssl_ctx_st *context,
                        struct bio_method_st *bytes, tls_put *put, void *to);
/* The client's side. The other one's certificate must name host, if the context has it verified. */
void tls_session_connect(struct tls_session *s, struct ssl_ctx_st *context,
                         struct bio_method_st *bytes, const char *host, tls_put *put, void *to);
/* Says nothing to the other side; one that is not open is nothing. */
void tls_session_close(struct tls_session *s);

void tls_session_input(struct tls_session *s, struct str bytes);

/* Begins, or goes on. OK: it is done, and the other side is who it should be. */
enum tls_answer tls_session_handshake(struct tls_session *s);
/* TLS_OK with *n > 0 bytes. */
enum tls_answer tls_session_read(struct tls_session *s, void *into, size_t max, size_t *n);
/* All of them. False: put() failed, or the session is broken. */
bool tls_session_write(struct tls_session *s, struct str bytes);
/* Says that nothing more will be sent. */
void tls_session_end(struct tls_session *s);

/* Whom the other side's certificate must name, an address or a name (asked for by that name, too):
 * for sessions of OpenSSL that are not ours. */
void tls_expect_host(struct ssl_st *ssl, const char *host);

#endif
