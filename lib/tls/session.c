/*
 * session.c - see session.h.
 *
 * The BIO. Reading takes from the slice that was lent and says "try again" at its end: OpenSSL
 * copies what it has of a record and goes on when more is lent. Writing gives to put() and fails
 * only when that does. It has no type number: OpenSSL has 127 to give in the life of a process, and
 * they serve only to search chains of BIOs.
 *
 * Errors. OpenSSL's queue of errors belongs to the thread: it is emptied before each call, and read
 * right after one that failed.
 */
#include "lib/tls/session.h"

#include "lib/base/assert.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* ---- the BIO --------------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *into, size_t max, size_t *n)
{
    struct tls_session *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    *n = s->in.n < max ? s->in.n : max;
    if (*n == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(into, s->in.p, *n);
    s->in = str_skip(s->in, *n);
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t n, size_t *written)
{
    struct tls_session *s = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    if (!s->put(s->to, bytes, n))
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

BIO_METHOD *tls_session_bytes(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_NONE, "slices");

    if (m == NULL)
        FATAL("BIO_meth_new: out of memory");
    BIO_meth_set_read_ex(m, bio_read);
    BIO_meth_set_write_ex(m, bio_write);
    BIO_meth_set_ctrl(m, bio_control);
    return m;
}

/* ---- its life -------------------------------------------------------------------------------- */

static void open_session(struct tls_session *s, SSL_CTX *context, BIO_METHOD *bytes, tls_put *put,
                         void *to)
{
    BIO *bio = BIO_new(bytes);

    *s = (struct tls_session){.ssl = SSL_new(context), .put = put, .to = to};
    if (s->ssl == NULL || bio == NULL)
        FATAL("SSL_new: out of memory");
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
}

void tls_session_accept(struct tls_session *s, SSL_CTX *context, BIO_METHOD *bytes, tls_put *put,
                        void *to)
{
    open_session(s, context, bytes, put, to);
    SSL_set_accept_state(s->ssl);
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

void tls_session_connect(struct tls_session *s, SSL_CTX *context, BIO_METHOD *bytes,
                         const char *host, tls_put *put, void *to)
{
    open_session(s, context, bytes, put, to);
    tls_expect_host(s->ssl, host);
    SSL_set_connect_state(s->ssl);
}

void tls_session_close(struct tls_session *s)
{
    SSL_free(s->ssl);
    s->ssl = NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

void tls_session_input(struct tls_session *s, struct str bytes)
{
    s->in = bytes;
}

/* Why the last call failed, in words; and what is wrong with the other side's certificate. */
static void note_error(struct tls_session *s)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verified = SSL_get_verify_result(s->ssl);

    s->code = code;
    if (reason == NULL)
        reason = "connection broken";
    if (verified != X509_V_OK)
        snprintf(s->error, sizeof(s->error), "%s: %s", reason,
                 X509_verify_cert_error_string(verified));
    else
        snprintf(s->error, sizeof(s->error), "%s", reason);
}

static enum tls_answer answer(struct tls_session *s, int result)
{
    if (result > 0)
        return TLS_OK;
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_MORE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_CLOSED;
    default:
        note_error(s);
        return TLS_FAILED;
    }
}

enum tls_answer tls_session_handshake(struct tls_session *s)
{
    ERR_clear_error();
    return answer(s, SSL_do_handshake(s->ssl));
}

enum tls_answer tls_session_read(struct tls_session *s, void *into, size_t max, size_t *n)
{
    *n = 0;
    ERR_clear_error();
    return answer(s, SSL_read_ex(s->ssl, into, max, n));
}

bool tls_session_write(struct tls_session *s, struct str bytes)
{
    size_t n;

    ERR_clear_error();
    return bytes.n == 0 || answer(s, SSL_write_ex(s->ssl, bytes.p, bytes.n, &n)) == TLS_OK;
}

void tls_session_end(struct tls_session *s)
{
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}
