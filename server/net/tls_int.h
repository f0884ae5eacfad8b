/* tls_int.h - what tls.c and tls_context.c share. */
#ifndef NET_TLS_INT_H
#define NET_TLS_INT_H

#include "lib/base/buf.h"
#include "lib/base/lock.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdint.h>

/* One of several certificates that a server has. */
struct tls_certificate {
    X509 *certificate;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
};

struct tls_context {
    _Atomic uint32_t refs; /* its owner and its sessions */
    SSL_CTX *ssl;
    BIO_METHOD *bytes;
    char *pinned; /* NULL = any */
    struct tls_certificate *certs;
    size_t ncerts;
    struct mutex system_lock;
    bool system_due;          /* guarded: the system's certificates have to be read */
    struct mutex staple_lock; /* guards what follows: handshakes read it, the main thread writes */
    struct buf staple;        /* the answer about the first certificate, DER; empty = none */
};

/* Before a session of it dials: the certificates of the system are read then, once. There are some
 * 150, which take half of the time of a start, and few ever dial. Without any no server is
 * believed.
 */
void tls_read_system(struct tls_context *c);

/* tls_words.c: remembers what is wrong with a certificate, in the call that judges it. */
void tls_note_refusal(X509_STORE_CTX *chain);

/* Sessions of it send what tls_context_staple gave. */
void tls_allow_staple(struct tls_context *c);

#endif
