/*
 * tls_staple.c - the state of our own certificate in the handshake (OCSP stapling).
 *
 * Who asks responders and keeps answers is server/staple.c. Here is what handshakes need: a copy of
 * the newest answer, under a lock that is held for that copy. It goes to clients that ask for it,
 * with the certificate that it is about; an answer that is out of date is taken away, and what
 * a client makes of a certificate without one is its own business.
 */
#include "lib/base/mem.h"
#include "server/net/tls.h"
#include "server/net/tls_int.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct x509_st *tls_context_certificate(struct tls_context *c)
{
    return c->ncerts > 0 ? c->certs[0].certificate : SSL_CTX_get0_certificate(c->ssl);
}

int64_t tls_context_ends(struct tls_context *c)
{
    const X509 *cert = tls_context_certificate(c);
    struct tm when;

    if (cert == NULL || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &when) != 1)
        return 0;
    return (int64_t) timegm(&when) * 1000000000;
}

/* ---- who signed it --------------------------------------------------------------------------- */

static STACK_OF(X509) * own_chain(struct tls_context *c)
{
    STACK_OF(X509) *chain = NULL;

    if (c->ncerts > 0)
        return c->certs[0].chain;
    SSL_CTX_get0_chain_certs(c->ssl, &chain);
    return chain;
}

static X509 *issuer_in_store(X509 *cert, const char *ca_file)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *look = X509_STORE_CTX_new();
    X509 *issuer = NULL;
    int ok = store == NULL || look == NULL ? 0
             : ca_file != NULL             ? X509_STORE_load_file(store, ca_file)
                                           : X509_STORE_set_default_paths(store);

    if (ok == 1 && X509_STORE_CTX_init(look, store, cert, NULL) == 1 &&
        X509_STORE_CTX_get1_issuer(&issuer, look, cert) != 1)
        issuer = NULL;
    X509_STORE_CTX_free(look);
    X509_STORE_free(store);
    return issuer;
}

bool tls_context_own(struct tls_context *c, const struct tls_options *options, struct tls_own *out,
                     char why[256])
{
    STACK_OF(X509) *chain = own_chain(c);

    ERR_clear_error();
    *out = (struct tls_own){.cert = tls_context_certificate(c)};
    if (out->cert != NULL && sk_X509_num(chain) > 0 && X509_up_ref(sk_X509_value(chain, 0)) == 1)
        out->issuer = sk_X509_value(chain, 0);
    else if (out->cert != NULL)
        out->issuer = issuer_in_store(out->cert, options->ca_file);
    if (out->issuer == NULL || X509_verify(out->cert, X509_get0_pubkey(out->issuer)) != 1)
        snprintf(why, 256, "no issuers found");
    else if (X509_check_ca(out->issuer) == 0)
        snprintf(why, 256, "invalid ca basic constraints: is not ca");
    else if (X509_up_ref(out->cert) == 1)
        return true;
    ERR_clear_error();
    X509_free(out->issuer);
    *out = (struct tls_own){0};
    return false;
}

void tls_own_free(struct tls_own *own)
{
    X509_free(own->cert);
    X509_free(own->issuer);
    *own = (struct tls_own){0};
}

/* ---- handshakes ------------------------------------------------------------------------------ */

/* Of this moment, as OpenSSL's library wants it: its own memory. */
static unsigned char *copy_staple(struct tls_context *c, size_t *n)
{
    unsigned char *copy = NULL;

    mutex_lock(&c->staple_lock);
    *n = c->staple.n;
    if (*n > 0)
        copy = OPENSSL_memdup(c->staple.p, *n);
    mutex_unlock(&c->staple_lock);
    return copy;
}

static int put_status(SSL *ssl, void *arg)
{
    struct tls_context *c = arg;
    unsigned char *copy;
    size_t n;

    if (SSL_get_certificate(ssl) != tls_context_certificate(c))
        return SSL_TLSEXT_ERR_NOACK;
    copy = copy_staple(c, &n);
    if (copy == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (int) n);
    return SSL_TLSEXT_ERR_OK;
}

void tls_context_staple(struct tls_context *c, struct str answer)
{
    mutex_lock(&c->staple_lock);
    buf_clear(&c->staple);
    buf_put_str(&c->staple, answer);
    mutex_unlock(&c->staple_lock);
}

void tls_allow_staple(struct tls_context *c)
{
    SSL_CTX_set_tlsext_status_cb(c->ssl, put_status);
    SSL_CTX_set_tlsext_status_arg(c->ssl, c);
}
