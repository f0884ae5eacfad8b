/*
 * tls.c - see tls.h.
 */
#include "server/net/tls.h"

#include "lib/base/mem.h"
#include "lib/json/json.h"
#include "server/net/net.h"
#include "server/net/tls_int.h"

#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* ---- its life -------------------------------------------------------------------------------- */

static bool put_record(void *to, const char *bytes, size_t n)
{
    struct tls *t = to;

    return outbuf_put(t->wire, t->chunks, bytes, n);
}

static struct tls *make(struct tls_context *c, struct outbuf *wire, struct chunk_pool *chunks)
{
    struct tls *t = mem_zalloc(sizeof(*t));

    t->context = tls_context_get(c);
    t->wire = wire;
    t->chunks = chunks;
    return t;
}

struct tls *tls_open(struct tls_context *c, struct outbuf *wire, struct chunk_pool *chunks)
{
    struct tls *t = make(c, wire, chunks);

    tls_session_accept(&t->session, c->ssl, c->bytes, put_record, t);
    SSL_set_app_data(t->session.ssl, t);
    return t;
}

struct tls *tls_open_client(struct tls_context *c, const char *host, struct outbuf *wire,
                            struct chunk_pool *chunks)
{
    struct tls *t = make(c, wire, chunks);

    tls_read_system(c);
    tls_session_connect(&t->session, c->ssl, c->bytes, host, put_record, t);
    return t;
}

void tls_close(struct tls *t)
{
    if (t == NULL)
        return;
    tls_session_close(&t->session);
    buf_free(&t->refusal);
    tls_context_put(t->context);
    mem_free(t);
}

/* ---- what is known of it --------------------------------------------------------------------- */

const char *tls_version_name(const struct tls *t)
{
    const char *name = SSL_get_version(t->session.ssl);

    return strncmp(name, "TLSv", 4) == 0 ? name + 4 : name;
}

const char *tls_cipher_name(const struct tls *t)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(t->session.ssl);

    return cipher != NULL ? SSL_CIPHER_standard_name(cipher) : "";
}

/* As RFC 2253 says it. */
static bool put_subject(X509 *cert, struct buf *b)
{
    BIO *out = BIO_new(BIO_s_mem());
    bool ok = out != NULL &&
              X509_NAME_print_ex(out, X509_get_subject_name(cert), 0, XN_FLAG_RFC2253) > 0;
    char *text;
    long n;

    if (ok) {
        n = BIO_get_mem_data(out, &text);
        buf_put(b, text, (size_t) n);
    }
    BIO_free(out);
    return ok;
}

/* The sum of what was encoded, which is freed; "" when it could not be. */
static void sum_text(unsigned char *der, int len, char hex[TLS_PIN_TEXT])
{
    unsigned char sum[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    hex[0] = '\0';
    if (len > 0 && EVP_Digest(der, (size_t) len, sum, &n, EVP_sha256(), NULL) == 1)
        for (unsigned i = 0; i < TLS_PIN_BYTES; i++)
            snprintf(hex + (size_t) 2 * i, 3, "%02x", sum[i]);
    OPENSSL_free(der);
}

static void key_sum(X509 *cert, char hex[TLS_PIN_TEXT])
{
    unsigned char *spki = NULL;
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);

    sum_text(spki, len, hex);
}

bool tls_pinned(const struct tls *t, const struct tls_context *by, char hex[TLS_PIN_TEXT])
{
    X509 *cert = SSL_get0_peer_certificate(t->session.ssl);

    hex[0] = '\0';
    if (by->pinned == NULL)
        return true;
    if (cert != NULL)
        key_sum(cert, hex);
    return hex[0] != '\0' && strstr(by->pinned, hex) != NULL;
}

typedef void each_cert(void *ctx, const struct net_peer_cert *p);

static void one_cert(X509 *cert, each_cert *each, void *ctx)
{
    char key[TLS_PIN_TEXT], whole[TLS_PIN_TEXT];
    struct buf subject = {0};
    unsigned char *der = NULL;
    int len = i2d_X509(cert, &der);

    sum_text(der, len, whole);
    key_sum(cert, key);
    put_subject(cert, &subject);
    each(ctx, &(struct net_peer_cert){
                  .subject = buf_cstr(&subject), .spki_sha256 = key, .cert_sha256 = whole});
    buf_free(&subject);
}

void tls_peer_certs(const struct tls *t, each_cert *each, void *ctx)
{
    X509 *own = SSL_get0_peer_certificate(t->session.ssl);
    STACK_OF(X509) *others = SSL_get_peer_cert_chain(t->session.ssl);

    if (own == NULL)
        return;
    one_cert(own, each, ctx);
    for (int i = 0; i < sk_X509_num(others); i++)
        if (sk_X509_value(others, i) != own)
            one_cert(sk_X509_value(others, i), each, ctx);
}

static bool each_of_type(GENERAL_NAMES *names, int type, enum tls_name kind, tls_each_name *each,
                         void *ctx)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        const ASN1_STRING *text = name->d.ia5;
        if (name->type == type && each(ctx, kind,
                                       str_from((const char *) ASN1_STRING_get0_data(text),
                                                (size_t) ASN1_STRING_length(text))))
            return true;
    }
    return false;
}

static bool subject_name(X509 *cert, tls_each_name *each, void *ctx)
{
    struct buf text = {0};
    bool stop = put_subject(cert, &text) && each(ctx, TLS_NAME_SUBJECT, buf_str(&text));

    buf_free(&text);
    return stop;
}

bool tls_sent_chain(const struct tls *t)
{
    return sk_X509_num(SSL_get_peer_cert_chain(t->session.ssl)) > 0;
}

bool tls_names(const struct tls *t, tls_each_name *each, void *ctx)
{
    static const struct {
        int type;
        enum tls_name kind;
    } types[] = {{GEN_EMAIL, TLS_NAME_EMAIL}, {GEN_DNS, TLS_NAME_DNS}, {GEN_URI, TLS_NAME_URI}};
    X509 *cert = SSL_get0_peer_certificate(t->session.ssl);
    GENERAL_NAMES *names;
    bool stop = false;

    if (cert == NULL)
        return false;
    names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (size_t i = 0; names != NULL && i < ARRAY_LEN(types) && !stop; i++)
        stop = each_of_type(names, types[i].type, types[i].kind, each, ctx);
    GENERAL_NAMES_free(names);
    return stop || subject_name(cert, each, ctx);
}

/* ---- for a service that is asked about clients ----------------------------------------------- */

bool tls_verified(const struct tls *t)
{
    return SSL_get0_verified_chain(t->session.ssl) != NULL &&
           SSL_get0_peer_certificate(t->session.ssl) != NULL &&
           SSL_get_verify_result(t->session.ssl) == X509_V_OK;
}

struct stack_st_X509 *tls_chain(const struct tls *t)
{
    return tls_verified(t) ? SSL_get0_verified_chain(t->session.ssl) : NULL;
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
    STACK_OF(X509) *chain = verified ? SSL_get0_verified_chain(t->session.ssl)
                                     : SSL_get_peer_cert_chain(t->session.ssl);
    X509 *own = SSL_get0_peer_certificate(t->session.ssl);

    if (!verified && own != NULL)
        put_certificate(own, out);
    for (int i = 0; chain != NULL && i < sk_X509_num(chain); i++)
        put_certificate(sk_X509_value(chain, i), out);
}
