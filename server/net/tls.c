/*
 * tls.c - see tls.h.
 *
 * The BIO. Reading takes from the slice that was lent and says "try again" at its end: OpenSSL
 * copies what it has of a record and goes on when more is lent. Writing appends to the connection's
 * wire bytes; it fails only when memory does.
 *
 * Errors. OpenSSL's queue of errors belongs to the thread: it is emptied before each call, and read
 * right after one that failed.
 */
#include "server/net/tls.h"

#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "server/net/tls_int.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

struct tls {
    struct tls_context *context;
    SSL *ssl;
    struct str in; /* lent */
    struct outbuf *wire;
    struct chunk_pool *chunks;
    char error[160];
};

/* ---- the BIO --------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *into, size_t max, size_t *n)
{
    struct tls *t = BIO_get_data(bio);

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
    struct tls *t = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!outbuf_put(t->wire, t->chunks, bytes, n))
        return 0;
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

BIO_METHOD *tls_make_bio_method(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slices");

    if (m == NULL)
        FATAL("BIO_meth_new failed");
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_control);
    return m;
}

/* ---- a session ------------------------------------------------------------------------------- */

static struct tls *open_session(struct tls_context *c, struct outbuf *wire,
                                struct chunk_pool *chunks)
{
    struct tls *t = mem_zalloc(sizeof(*t));
    BIO *bio = BIO_new(c->bio_method);

    t->context = tls_context_get(c);
    t->ssl = SSL_new(c->ssl);
    if (t->ssl == NULL || bio == NULL)
        FATAL("SSL_new: out of memory");
    t->wire = wire;
    t->chunks = chunks;
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(t->ssl, bio, bio);
    return t;
}

struct tls *tls_open(struct tls_context *c, struct outbuf *wire, struct chunk_pool *chunks)
{
    struct tls *t = open_session(c, wire, chunks);

    SSL_set_accept_state(t->ssl);
    return t;
}

void tls_expect_host(SSL *ssl, const char *host)
{
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1)
        return;
    SSL_set1_host(ssl, host);
    /* SSL_set_tlsext_host_name, whose macro casts const away. */
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             (void *) (uintptr_t) host);
}

struct tls *tls_open_client(struct tls_context *c, const char *host, struct outbuf *wire,
                            struct chunk_pool *chunks)
{
    struct tls *t = open_session(c, wire, chunks);

    tls_expect_host(t->ssl, host);
    SSL_set_connect_state(t->ssl);
    return t;
}

void tls_close(struct tls *t)
{
    if (t == NULL)
        return;
    SSL_free(t->ssl);
    tls_context_put(t->context);
    mem_free(t);
}

void tls_input(struct tls *t, struct str bytes)
{
    t->in = bytes;
}

/* Why the last call failed, in words. */
static void note_error(struct tls *t)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verified = SSL_get_verify_result(t->ssl);

    if (reason == NULL)
        reason = "connection broken";
    if (verified != X509_V_OK)
        snprintf(t->error, sizeof(t->error), "%s: %s", reason,
                 X509_verify_cert_error_string(verified));
    else
        snprintf(t->error, sizeof(t->error), "%s", reason);
}

static enum tls_answer answer(struct tls *t, int result)
{
    if (result > 0)
        return TLS_OK;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        note_error(t);
        return TLS_FAILED;
    }
}

enum tls_answer tls_handshake(struct tls *t)
{
    ERR_clear_error();
    return answer(t, SSL_do_handshake(t->ssl));
}

enum tls_answer tls_read(struct tls *t, void *into, size_t max, size_t *n)
{
    *n = 0;
    ERR_clear_error();
    return answer(t, SSL_read_ex(t->ssl, into, max, n));
}

bool tls_write(struct tls *t, struct str bytes)
{
    size_t n;

    ERR_clear_error();
    return bytes.n == 0 || answer(t, SSL_write_ex(t->ssl, bytes.p, bytes.n, &n)) == TLS_OK;
}

void tls_end(struct tls *t)
{
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

/* ---- what is known of it --------------------------------------------------------------------- */

const char *tls_error(const struct tls *t)
{
    return t->error;
}

const char *tls_version_name(const struct tls *t)
{
    const char *name = SSL_get_version(t->ssl);

    return strncmp(name, "TLSv", 4) == 0 ? name + 4 : name;
}

const char *tls_cipher_name(const struct tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

    return cipher != NULL ? SSL_CIPHER_standard_name(cipher) : "";
}

bool tls_pinned(const struct tls *t)
{
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    unsigned char sum[EVP_MAX_MD_SIZE], *spki = NULL;
    char hex[2 * TLS_PIN_BYTES + 1];
    unsigned n = 0;
    int len;

    if (t->context->pinned == NULL)
        return true;
    len = cert != NULL ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki) : -1;
    if (len > 0 && EVP_Digest(spki, (size_t) len, sum, &n, EVP_sha256(), NULL) == 1)
        for (unsigned i = 0; i < TLS_PIN_BYTES; i++)
            snprintf(hex + (size_t) 2 * i, 3, "%02x", sum[i]);
    OPENSSL_free(spki);
    return n == TLS_PIN_BYTES && strstr(t->context->pinned, hex) != NULL;
}

static bool each_of_type(GENERAL_NAMES *names, int type,
                         bool (*each)(void *ctx, struct str name, bool subject), void *ctx)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_STRING *text = name->d.ia5;
        if (name->type == type && each(ctx,
                                       str_from((const char *) ASN1_STRING_get0_data(text),
                                                (size_t) ASN1_STRING_length(text)),
                                       false))
            return true;
    }
    return false;
}

static bool subject_name(X509 *cert, bool (*each)(void *ctx, struct str name, bool subject),
                         void *ctx)
{
    BIO *out = BIO_new(BIO_s_mem());
    bool stop = false;
    char *text;
    long n;

    if (out == NULL)
        return false;
    if (X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) > 0) {
        n = BIO_get_mem_data(out, &text);
        stop = each(ctx, str_from(text, (size_t) n), true);
    }
    BIO_free(out);
    return stop;
}

bool tls_names(const struct tls *t, bool (*each)(void *ctx, struct str name, bool subject),
               void *ctx)
{
    static const int types[] = {GEN_EMAIL, GEN_DNS, GEN_URI};
    X509 *cert = SSL_get0_peer_certificate(t->ssl);
    GENERAL_NAMES *names;
    bool stop = false;

    if (cert == NULL)
        return false;
    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (size_t i = 0; names != NULL && i < ARRAY_LEN(types) && !stop; i++)
        stop = each_of_type(names, types[i], each, ctx);
    GENERAL_NAMES_free(names);
    return stop || subject_name(cert, each, ctx);
}

/* ---- for a service that is asked about clients ------------------------------------------------
 */

bool tls_verified(const struct tls *t)
{
    return SSL_get0_verified_chain(t->ssl) != NULL && SSL_get0_peer_certificate(t->ssl) != NULL &&
           SSL_get_verify_result(t->ssl) == X509_V_OK;
}

static void put_certificate(X509 *cert, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *text;
    long n;

    if (bio != NULL && PEM_write_bio_X509(bio, cert) == 1) {
        n = BIO_get_mem_data(bio, &text);
        if (out->n > 0)
            buf_putc(out, ',');
        jput_string(out, str_from(text, (size_t) n));
    }
    BIO_free(bio);
}

void tls_certificates(const struct tls *t, struct buf *out)
{
    bool verified = tls_verified(t);
    STACK_OF(X509) *chain = verified ? SSL_get0_verified_chain(t->ssl)
                                     : SSL_get_peer_cert_chain(t->ssl);
    X509 *own = SSL_get0_peer_certificate(t->ssl);

    if (!verified && own != NULL)
        put_certificate(own, out);
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++)
        put_certificate(sk_X509_value(chain, i), out);
}
