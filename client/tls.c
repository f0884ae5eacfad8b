/*
 * tls.c - see tls.h.
 *
 * The BIO. Reading takes from the slice that was lent and says "try again" at its end; writing
 * appends to wire and never fails. OpenSSL's queue of errors belongs to the thread: it is emptied
 * before each call and read right after one that failed.
 *
 * The server's certificate must lead to the given authority (or one of the system's) and have the
 * name, or the address, that was dialled, unless tls_insecure says that anybody will do.
 */
#include "client/tls.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct client_tls {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO_METHOD *method;
    struct str in; /* lent */
    struct buf *wire;
    char error[200];
};

/* ---- the BIO --------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *into, size_t max, size_t *n)
{
    struct client_tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *n = t->in.n < max ? t->in.n : max;
    if (*n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(into, t->in.p, *n);
    t->in = str_skip(t->in, *n);
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t n, size_t *written)
{
    struct client_tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    buf_put(t->wire, bytes, n);
    *written = n;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *p)
{
    (void) bio;
    (void) number;
    (void) p;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO *make_bio(struct client_tls *t)
{
    BIO *bio;

    t->method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slices");
    if (t->method == NULL)
        FATAL("BIO_meth_new failed");
    BIO_meth_set_read_ex(t->method, bio_read);
    BIO_meth_set_write_ex(t->method, bio_write);
    BIO_meth_set_ctrl(t->method, bio_control);
    bio = BIO_new(t->method);
    if (bio == NULL)
        FATAL("BIO_new failed");
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- a session ------------------------------------------------------------------------------- */

/* The queue's last error, and what is wrong with the server's certificate. */
static void note_error(struct client_tls *t)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verified = t->ssl != NULL ? SSL_get_verify_result(t->ssl) : X509_V_OK;

    snprintf(t->error, sizeof(t->error), "%s%s%s", reason != NULL ? reason : "connection broken",
             verified != X509_V_OK ? ": " : "",
             verified != X509_V_OK ? X509_verify_cert_error_string(verified) : "");
}

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

/* Whom we expect there. */
static void take_name(SSL *ssl, const char *name)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1)
        return;
    SSL_set1_host(ssl, name);
    /* SSL_set_tlsext_host_name, whose macro casts const away. */
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             (void *) (uintptr_t) name);
}

struct client_tls *client_tls_open(const struct midge_options *o, struct buf *wire, char err[256])
{
    struct client_tls *t = mem_zalloc(sizeof(*t));
    BIO *bio;

    ERR_clear_error();
    t->wire = wire;
    t->ctx = SSL_CTX_new(TLS_client_method());
    if (t->ctx == NULL)
        FATAL("SSL_CTX_new failed");
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_verify(t->ctx, o->tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (!take_files(t->ctx, o, err)) {
        client_tls_close(t);
        return NULL;
    }
    t->ssl = SSL_new(t->ctx);
    if (t->ssl == NULL)
        FATAL("SSL_new failed");
    bio = make_bio(t);
    SSL_set_bio(t->ssl, bio, bio);
    take_name(t->ssl, o->tls_name != NULL ? o->tls_name : o->host);
    SSL_set_connect_state(t->ssl);
    return t;
}

void client_tls_close(struct client_tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    BIO_meth_free(t->method);
    SSL_CTX_free(t->ctx);
    mem_free(t);
}

void client_tls_input(struct client_tls *t, struct str bytes)
{
    t->in = bytes;
}

static enum client_tls_answer answer(struct client_tls *t, int result)
{
    if (result > 0)
        return CLIENT_TLS_OK;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return CLIENT_TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return CLIENT_TLS_CLOSED;
    default:
        note_error(t);
        return CLIENT_TLS_FAILED;
    }
}

enum client_tls_answer client_tls_shake(struct client_tls *t)
{
    ERR_clear_error();
    return answer(t, SSL_do_handshake(t->ssl));
}

enum client_tls_answer client_tls_read(struct client_tls *t, void *into, size_t max, size_t *n)
{
    *n = 0;
    ERR_clear_error();
    return answer(t, SSL_read_ex(t->ssl, into, max, n));
}

bool client_tls_write(struct client_tls *t, struct str bytes)
{
    size_t n;

    ERR_clear_error();
    return bytes.n == 0 || answer(t, SSL_write_ex(t->ssl, bytes.p, bytes.n, &n)) == CLIENT_TLS_OK;
}

const char *client_tls_error(const struct client_tls *t)
{
    return t->error;
}
