/*
 * ocsp.c - see ocsp.h.
 *
 * A question names the certificate by SHA-1 of its issuer's name and key and by its serial number,
 * as all responders expect. An answer is taken when
 *
 *     its status is "successful" and it is a basic answer,
 *     its signature verifies with the issuer's certificate, or with one that came along, was signed
 *         by the issuer, and has the usage for it (OpenSSL looks at that),
 *     and it speaks of the certificate that was asked about.
 *
 * The issuer is what is trusted here, whoever signed it: that its chain leads somewhere was
 * verified by the handshake, or is our own certificate's business.
 */
#include "lib/tls/ocsp.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STATUS_REQUEST 5 /* the TLS feature that wants an answer with the handshake */

const char *ocsp_says_text(enum ocsp_says s)
{
    static const char *const texts[] = {"good", "revoked", "unknown"};

    return texts[s];
}

/* ---- questions ------------------------------------------------------------------------------- */

bool ocsp_put_question(X509 *cert, X509 *issuer, struct buf *out)
{
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    unsigned char *der = NULL;
    int n = -1;

    if (request != NULL && id != NULL && OCSP_request_add0_id(request, id) != NULL) {
        id = NULL; /* the request's */
        n = i2d_OCSP_REQUEST(request, &der);
    }
    if (n > 0)
        buf_put(out, (const char *) der, (size_t) n);
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    return n > 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static bool fail(char why[160], const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    snprintf(why, 160, "%s%s%.100s", what, reason != NULL ? ": " : "",
             reason != NULL ? reason : "");
    return false;
}

static int64_t seconds(const ASN1_GENERALIZEDTIME *t)
{
    struct tm tm;

    return t != NULL && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t) timegm(&tm) : 0;
}

static bool is_signed(OCSP_BASICRESP *basic, X509 *issuer, char why[160])
{
    X509_STORE *store = X509_STORE_new();
    STACK_OF(X509) *known = sk_X509_new_null();
    bool ok = false;

    if (store != NULL && known != NULL && X509_STORE_add_cert(store, issuer) == 1 &&
        sk_X509_push(known, issuer) > 0) {
        X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
        ok = OCSP_basic_verify(basic, known, store, OCSP_PARTIAL_CHAIN) == 1;
    }
    sk_X509_free(known);
    X509_STORE_free(store);
    return ok || fail(why, "bad OCSP signature");
}

static bool find(OCSP_BASICRESP *basic, X509 *cert, X509 *issuer, struct ocsp_answer *out,
                 char why[160])
{
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), cert, issuer);
    ASN1_GENERALIZEDTIME *since = NULL, *until = NULL;
    int status = -1, reason;
    bool found = id != NULL &&
                 OCSP_resp_find_status(basic, id, &status, &reason, NULL, &since, &until) == 1;

    OCSP_CERTID_free(id);
    if (!found)
        return fail(why, "no response matching the supplied certificate");
    out->says = status == V_OCSP_CERTSTATUS_GOOD      ? OCSP_SAYS_GOOD
                : status == V_OCSP_CERTSTATUS_REVOKED ? OCSP_SAYS_REVOKED
                                                      : OCSP_SAYS_UNKNOWN;
    out->this_update = seconds(since);
    out->next_update = seconds(until);
    return out->this_update != 0 || fail(why, "bad time");
}

bool ocsp_read_answer(struct str der, X509 *cert, X509 *issuer, struct ocsp_answer *out,
                      char why[160])
{
    const unsigned char *at = (const unsigned char *) der.p;
    OCSP_RESPONSE *response;
    OCSP_BASICRESP *basic = NULL;
    bool ok = false;
    int status;

    ERR_clear_error();
    response = d2i_OCSP_RESPONSE(NULL, &at, (long) der.n);
    if (response == NULL)
        return fail(why, "no OCSP response");
    status = OCSP_response_status(response);
    if (status != OCSP_RESPONSE_STATUS_SUCCESSFUL)
        snprintf(why, 160, "error from server: %.100s", OCSP_response_status_str(status));
    else if ((basic = OCSP_response_get1_basic(response)) == NULL)
        fail(why, "no basic OCSP response");
    else
        ok = is_signed(basic, issuer, why) && find(basic, cert, issuer, out, why);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    ERR_clear_error();
    return ok;
}

bool ocsp_answer_is_current(const struct ocsp_answer *a, int64_t now, int64_t skew, int64_t ttl)
{
    int64_t end = a->next_update != 0 ? a->next_update : ttl > 0 ? a->this_update + ttl : INT64_MAX;

    return end >= now - skew && a->this_update <= now + skew;
}

/* ---- what a certificate says ----------------------------------------------------------------- */

bool ocsp_must_staple(X509 *cert)
{
    TLS_FEATURE *features = X509_get_ext_d2i(cert, NID_tlsfeature, NULL, NULL);
    bool must = false;

    for (int i = 0; features != NULL && i < sk_ASN1_INTEGER_num(features); i++)
        must |= ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == STATUS_REQUEST;
    TLS_FEATURE_free(features);
    return must;
}

static bool is_web(struct str url)
{
    return str_starts(url, STR("http://")) || str_starts(url, STR("https://"));
}

size_t ocsp_each_url(X509 *cert, bool (*each)(void *ctx, struct str url), void *ctx)
{
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(cert);
    bool go_on = each != NULL;
    size_t n = 0;

    for (int i = 0; urls != NULL && i < sk_OPENSSL_STRING_num(urls); i++) {
        struct str url = str_of(sk_OPENSSL_STRING_value(urls, i));
        if (!is_web(url))
            continue;
        n++;
        go_on = go_on && each(ctx, url);
    }
    X509_email_free(urls);
    return n;
}

bool ocsp_fingerprint(X509 *cert, uint8_t out[OCSP_FINGERPRINT_BYTES])
{
    unsigned n = 0;

    return X509_digest(cert, EVP_sha256(), out, &n) == 1 && n == OCSP_FINGERPRINT_BYTES;
}

void ocsp_put_name(X509 *cert, bool issuer, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    const X509_NAME *name = issuer ? X509_get_issuer_name(cert) : X509_get_subject_name(cert);
    char *text;

    if (bio != NULL && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253) >= 0) {
        long n = BIO_get_mem_data(bio, &text);
        if (n > 0)
            buf_put(out, text, (size_t) n);
    }
    BIO_free(bio);
}

X509 *ocsp_cert_get(X509 *cert)
{
    X509_up_ref(cert);
    return cert;
}

void ocsp_cert_put(X509 *cert)
{
    X509_free(cert);
}

bool ocsp_cert_same(const X509 *a, const X509 *b)
{
    return X509_cmp(a, b) == 0;
}

int ocsp_chain_length(const struct stack_st_X509 *chain)
{
    return chain != NULL ? sk_X509_num(chain) : 0;
}

X509 *ocsp_chain_at(const struct stack_st_X509 *chain, int at)
{
    return sk_X509_value(chain, at);
}
