/* tls_int.h - what tls.c and tls_context.c share. */
#ifndef NET_TLS_INT_H
#define NET_TLS_INT_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <stdint.h>

#define TLS_PIN_BYTES 32u /* SHA-256 */

struct tls_context {
    _Atomic uint32_t refs; /* its owner and its sessions */
    SSL_CTX *ssl;
    BIO_METHOD *bio_method;
    char *pinned; /* NULL = any */
};

BIO_METHOD *tls_make_bio_method(void);
/* Whom the other side's certificate must name. */
void tls_expect_host(SSL *ssl, const char *host);

#endif
