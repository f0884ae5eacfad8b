/*
 * tls_words.c - why a handshake failed, as nats-server's log says it: who watches a log for
 * "certificate signed by unknown authority" finds it with either server. What has no such words has
 * OpenSSL's.
 */
#include "lib/base/fmt.h"
#include "lib/base/mem.h"
#include "server/net/tls.h"
#include "server/net/tls_int.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* Of the certificates that a client sends so many are named. */
#define CHAIN_MAX 4

struct word {
    int code;
    const char *text;
};

static const char *word(const struct word *list, size_t n, int code)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].code == code)
            return list[i].text;
    return NULL;
}

/* ---- what the other side complained of ------------------------------------------------------- */

static const struct word alerts[] = {
    {SSL3_AD_UNEXPECTED_MESSAGE, "unexpected message"},
    {SSL3_AD_BAD_RECORD_MAC, "bad record MAC"},
    {TLS1_AD_DECRYPTION_FAILED, "decryption failed"},
    {TLS1_AD_RECORD_OVERFLOW, "record overflow"},
    {SSL3_AD_HANDSHAKE_FAILURE, "handshake failure"},
    {SSL3_AD_BAD_CERTIFICATE, "bad certificate"},
    {SSL3_AD_UNSUPPORTED_CERTIFICATE, "unsupported certificate"},
    {SSL3_AD_CERTIFICATE_REVOKED, "revoked certificate"},
    {SSL3_AD_CERTIFICATE_EXPIRED, "expired certificate"},
    {SSL3_AD_CERTIFICATE_UNKNOWN, "unknown certificate"},
    {SSL3_AD_ILLEGAL_PARAMETER, "illegal parameter"},
    {TLS1_AD_UNKNOWN_CA, "unknown certificate authority"},
    {TLS1_AD_ACCESS_DENIED, "access denied"},
    {TLS1_AD_DECODE_ERROR, "error decoding message"},
    {TLS1_AD_DECRYPT_ERROR, "error decrypting message"},
    {TLS1_AD_PROTOCOL_VERSION, "protocol version not supported"},
    {TLS1_AD_INSUFFICIENT_SECURITY, "insufficient security level"},
    {TLS1_AD_INTERNAL_ERROR, "internal error"},
    {TLS1_AD_USER_CANCELLED, "user canceled"},
    {TLS1_AD_NO_RENEGOTIATION, "no renegotiation"},
    {TLS13_AD_MISSING_EXTENSION, "missing extension"},
    {TLS1_AD_UNSUPPORTED_EXTENSION, "unsupported extension"},
    {TLS1_AD_UNRECOGNIZED_NAME, "unrecognized name"},
    {TLS1_AD_BAD_CERTIFICATE_STATUS_RESPONSE, "bad certificate status response"},
    {TLS1_AD_UNKNOWN_PSK_IDENTITY, "unknown PSK identity"},
    {TLS13_AD_CERTIFICATE_REQUIRED, "certificate required"},
    {TLS1_AD_NO_APPLICATION_PROTOCOL, "no application protocol"},
};

/* ---- what is wrong with its certificate ------------------------------------------------------ */

static void put_time(struct buf *b, const ASN1_TIME *t)
{
    struct tm tm;

    if (t != NULL && ASN1_TIME_to_tm(t, &tm) == 1)
        buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year + 1900, tm.tm_mon + 1,
                   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static void put_out_of_date(struct buf *b, X509 *cert, bool over)
{
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);

    buf_puts(b, "certificate has expired or is not yet valid: current time ");
    put_time(b, now);
    buf_puts(b, over ? " is after " : " is before ");
    put_time(b, over ? X509_get0_notAfter(cert) : X509_get0_notBefore(cert));
    ASN1_TIME_free(now);
}

/* Which one it is. */
static void put_who(struct buf *b, X509 *cert, const char *before)
{
    BIO *bio = BIO_new(BIO_s_mem());
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    char *text;
    long len;

    if (bio != NULL && X509_digest(cert, EVP_sha256(), sum, &n) == 1 &&
        X509_NAME_print_ex(bio, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_get_mem_data(bio, &text);
        buf_printf(b, "%s%.*s SHA-256: ", before, len < 256 ? (int) len : 256, text);
        for (unsigned i = 0; i < n; i++)
            buf_printf(b, "%02x", sum[i]);
    }
    BIO_free(bio);
}

/* The certificates that came. */
static void put_chain(struct buf *b, X509_STORE_CTX *chain)
{
    STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(chain);

    for (int i = 0; i < sk_X509_num(sent) && i < CHAIN_MAX; i++)
        put_who(b, sk_X509_value(sent, i), i == 0 ? " (" : "; ");
    if (sk_X509_num(sent) > 0)
        buf_puts(b, ")");
}

void tls_note_refusal(X509_STORE_CTX *chain)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = SSL_get_app_data(ssl);
    X509 *cert = X509_STORE_CTX_get_current_cert(chain);
    int code = X509_STORE_CTX_get_error(chain);
    struct buf *b;

    if (t == NULL)
        return;
    b = &t->refusal;
    buf_clear(b);
    buf_puts(b, "tls: failed to verify certificate: x509: ");
    switch (code) {
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        buf_puts(b, "certificate signed by unknown authority");
        break;
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        if (cert != NULL)
            put_out_of_date(b, cert, code == X509_V_ERR_CERT_HAS_EXPIRED);
        break;
    case X509_V_ERR_INVALID_PURPOSE:
        buf_puts(b, "certificate specifies an incompatible key usage");
        break;
    default:
        buf_puts(b, X509_verify_cert_error_string(code));
    }
    t->refusal_n = b->n;
    put_chain(b, chain);
}

/* ---- what it offers -------------------------------------------------------------------------- */

/* From the newest that it knows downwards. */
static void put_versions(struct buf *b, const SSL *ssl)
{
    int newest = SSL_client_version(ssl);

    buf_puts(b, "tls: client offered only unsupported versions: [");
    for (int v = newest; v >= TLS1_VERSION; v--)
        buf_printf(b, "%s%x", v < newest ? " " : "", (unsigned) v);
    buf_puts(b, "]");
}

static void put_ciphers(struct buf *b, SSL *ssl)
{
    unsigned char *list = NULL;
    size_t n = SSL_get0_raw_cipherlist(ssl, &list);

    buf_puts(b, "tls: no cipher suite supported by both client and server; client offered: [");
    for (size_t i = 0; i + 1 < n; i += 2)
        buf_printf(b, "%s%x", i > 0 ? " " : "", (unsigned) (list[i] << 8 | list[i + 1]));
    buf_puts(b, "]");
}

static void put_refusal(const struct tls *t, bool chain, struct buf *out)
{
    if (t->refusal.n > 0)
        buf_put(out, t->refusal.p, chain ? t->refusal.n : t->refusal_n);
    else
        buf_puts(out, t->session.error);
}

void tls_failure(const struct tls *t, bool chain, struct buf *out)
{
    SSL *ssl = t->session.ssl;
    int reason = ERR_GET_REASON(t->session.code);
    const char *alert = word(alerts, ARRAY_LEN(alerts), reason - SSL_AD_REASON_OFFSET);

    if (alert != NULL)
        buf_printf(out, "remote error: tls: %s", alert);
    else if (reason == SSL_R_CERTIFICATE_VERIFY_FAILED)
        put_refusal(t, chain, out);
    else if (reason == SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE)
        buf_puts(out, "tls: client didn't provide a certificate");
    else if (reason == SSL_R_UNSUPPORTED_PROTOCOL && SSL_is_server(ssl))
        put_versions(out, ssl);
    else if (reason == SSL_R_NO_SHARED_CIPHER && SSL_is_server(ssl))
        put_ciphers(out, ssl);
    else
        buf_puts(out, t->session.error);
}
