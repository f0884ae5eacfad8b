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
    BIO_METHOD *bytes;
    char *pinned; /* NULL = any */
};

#endif
