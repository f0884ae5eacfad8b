/*
 * tls.c - see tls.h.
 *
 * The server's certificate must lead to the given authority (or one of the system's) and have the
 * name, or the address, that was dialled, unless tls_insecure says that anybody will do.
 */
#include "client/tls.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

static bool bad_file(const char *what, const char *path, char err[256])
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    snprintf(err, 256, "TLS: %s %.120s: %.80s", what, path, reason != NULL ? reason : "not usable");
    return false;
}

static bool take_files(SSL_CTX *ctx, const struct midge_options *o, char err[256])
{
    const char *key = o->tls_key != NULL ? o->tls_key : o->tls_cert;

    if (o->tls_ca != NULL && SSL_CTX_load_verify_file(ctx, o->tls_ca) != 1)
        return bad_file("certificates of authorities", o->tls_ca, err);
    if (o->tls_ca == NULL && SSL_CTX_set_default_verify_paths(ctx) != 1)
        return bad_file("certificates of authorities", "of the system", err);
    if (o->tls_cert == NULL)
        return true;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->tls_cert) != 1)
        return bad_file("certificate", o->tls_cert, err);
    if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        return bad_file("key", key, err);
    return true;
}

static bool put_record(void *to, const char *bytes, size_t n)
{
    buf_put(to, bytes, n);
    return true;
}

struct client_tls *client_tls_open(const struct midge_options *o, struct buf *wire, char err[256])
{
    struct client_tls *t = mem_zalloc(sizeof(*t));

    ERR_clear_error();
    t->bytes = tls_session_bytes();
    t->context = SSL_CTX_new(TLS_client_method());
    if (t->context == NULL)
        FATAL("SSL_CTX_new failed");
    SSL_CTX_set_min_proto_version(t->context, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(t->context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(t->context, o->tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!take_files(t->context, o, err)) {
        client_tls_close(t);
        return NULL;
    }
    tls_session_connect(&t->session, t->context, t->bytes,
                        o->tls_name != NULL ? o->tls_name : o->host, put_record, wire);
    return t;
}

void client_tls_close(struct client_tls *t)
{
    if (t == NULL)
        return;
    tls_session_close(&t->session);
    BIO_meth_free(t->bytes);
    SSL_CTX_free(t->context);
    mem_free(t);
}
