/* Questions and answers about certificates: who may sign, what is taken, and when it counts. */
#include "lib/tls/ocsp.h"
#include "tests/lib/runner.h"

#include <openssl/ocsp.h>
#include <openssl/x509v3.h>
#include <string.h>

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

static void extend(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(e);
    X509_add_ext(cert, e, -1);
    X509_EXTENSION_free(e);
}

static struct pair make(const char *name, long serial, const struct pair *issuer, int nid,
                        const char *value)
{
    struct pair p = {.cert = X509_new(), .key = EVP_EC_gen("P-256")};
    const struct pair *by = issuer != NULL ? issuer : &p;

    X509_set_version(p.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(p.cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(p.cert), "CN", MBSTRING_ASC,
                               (const unsigned char *) name, -1, -1, 0);
    X509_set_issuer_name(p.cert, X509_get_subject_name(by->cert));
    X509_set_pubkey(p.cert, p.key);
    extend(p.cert, by->cert, NID_basic_constraints,
           issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (value != NULL)
        extend(p.cert, by->cert, nid, value);
    ck_assert_int_gt(X509_sign(p.cert, by->key, EVP_sha256()), 0);
    return p;
}

static void drop(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

static void answer(const struct pair *about, const struct pair *issuer, const struct pair *signer,
                   int status, struct buf *out)
{
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    OCSP_CERTID *id = OCSP_cert_to_id(EVP_sha1(), about->cert, issuer->cert);
    ASN1_TIME *since = X509_gmtime_adj(NULL, -60), *until = X509_gmtime_adj(NULL, 60);
    OCSP_RESPONSE *r;
    unsigned char *der = NULL;
    int n;

    OCSP_basic_add1_status(basic, id, status, 0, status == V_OCSP_CERTSTATUS_REVOKED ? since : NULL,
                           since, until);
    ck_assert_int_eq(OCSP_basic_sign(basic, signer->cert, signer->key, EVP_sha256(), NULL, 0), 1);
    r = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
    n = i2d_OCSP_RESPONSE(r, &der);
    ck_assert_int_gt(n, 0);
    buf_put(out, der, (size_t) n);
    OPENSSL_free(der);
    OCSP_RESPONSE_free(r);
    OCSP_BASICRESP_free(basic);
    OCSP_CERTID_free(id);
    ASN1_TIME_free(since);
    ASN1_TIME_free(until);
}

TEST(who_may_sign)
{
    struct pair ca = make("ca", 1, NULL, 0, NULL), own = make("own", 2, &ca, 0, NULL);
    struct pair named = make("named", 3, &ca, NID_ext_key_usage, "OCSPSigning");
    struct pair other_ca = make("ca", 1, NULL, 0, NULL);
    struct pair foreign = make("named", 3, &other_ca, NID_ext_key_usage, "OCSPSigning");
    const struct {
        const struct pair *about, *signer;
        bool ok;
    } rows[] = {
        {&own, &ca, true},        {&own, &named, true},    {&own, &own, false},
        {&own, &other_ca, false}, {&own, &foreign, false}, {&named, &ca, false},
    };

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct ocsp_answer a;
        struct buf der = {0};
        char why[160] = "";
        bool ok;
        answer(rows[k].about, &ca, rows[k].signer, V_OCSP_CERTSTATUS_REVOKED, &der);
        ok = ocsp_read_answer(buf_str(&der), own.cert, ca.cert, &a, why);
        ck_assert_msg(ok == rows[k].ok, "row %zu: %s", k, why);
        ck_assert(ok ? a.says == OCSP_SAYS_REVOKED && a.next_update - a.this_update == 120
                     : why[0] != '\0');
        buf_free(&der);
    }
    drop(&ca);
    drop(&own);
    drop(&named);
    drop(&other_ca);
    drop(&foreign);
}

/* Every byte counts, and every part of it is too little. */
TEST(what_is_broken_is_refused)
{
    struct pair ca = make("ca", 1, NULL, 0, NULL), own = make("own", 2, &ca, 0, NULL);
    struct ocsp_answer a;
    struct buf der = {0};
    char why[160];

    answer(&own, &ca, &ca, V_OCSP_CERTSTATUS_REVOKED, &der);
    for (size_t n = 0; n < der.n; n++)
        ck_assert(!ocsp_read_answer(str_from(der.p, n), own.cert, ca.cert, &a, why));
    for (size_t n = 0; n < der.n; n++)
        for (int bit = 0; bit < 8; bit += 3) {
            der.p[n] = (char) (der.p[n] ^ (1 << bit));
            /* Certificates that came along and serve nothing may change. */
            if (ocsp_read_answer(buf_str(&der), own.cert, ca.cert, &a, why))
                MUST(a.says == OCSP_SAYS_REVOKED);
            der.p[n] = (char) (der.p[n] ^ (1 << bit));
        }
    ck_assert(ocsp_read_answer(buf_str(&der), own.cert, ca.cert, &a, why));
    buf_free(&der);
    drop(&ca);
    drop(&own);
}

TEST(when_it_counts)
{
    static const struct {
        struct ocsp_answer a;
        int64_t skew, ttl;
        bool now;
    } rows[] = {
        {{OCSP_SAYS_GOOD, 900, 1100}, 0, 0, true},    {{OCSP_SAYS_GOOD, 900, 1000}, 0, 0, true},
        {{OCSP_SAYS_GOOD, 900, 999}, 0, 0, false},    {{OCSP_SAYS_GOOD, 900, 999}, 1, 0, true},
        {{OCSP_SAYS_GOOD, 1000, 2000}, 0, 0, true},   {{OCSP_SAYS_GOOD, 1001, 2000}, 0, 0, false},
        {{OCSP_SAYS_GOOD, 1001, 2000}, 1, 0, true},   {{OCSP_SAYS_GOOD, 900, 0}, 0, 0, true},
        {{OCSP_SAYS_GOOD, 900, 0}, 0, 100, true},     {{OCSP_SAYS_GOOD, 900, 0}, 0, 99, false},
        {{OCSP_SAYS_REVOKED, 900, 999}, 0, 0, false},
    };

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
        ck_assert_msg(ocsp_answer_is_current(&rows[k].a, 1000, rows[k].skew, rows[k].ttl) ==
                          rows[k].now,
                      "row %zu", k);
}

static bool count(void *ctx, struct str url)
{
    unsigned *n = ctx;

    ck_assert(str_eq(url, STR("http://a/")) || str_eq(url, STR("https://b")));
    return ++*n < 2;
}

TEST(what_a_certificate_says)
{
    struct pair ca = make("ca", 1, NULL, 0, NULL);
    struct pair urls = make("u", 2, &ca, NID_info_access,
                            "OCSP;URI:http://a/,OCSP;URI:ldap://c,OCSP;URI:https://b");
    struct pair must = make("m", 3, &ca, NID_tlsfeature, "status_request");
    struct pair other = make("o", 4, &ca, NID_tlsfeature, "status_request_v2");
    struct buf name = {0}, question = {0};
    unsigned n = 0;

    ck_assert_uint_eq(ocsp_each_url(urls.cert, count, &n), 2);
    ck_assert_uint_eq(n, 2);
    ck_assert_uint_eq(ocsp_each_url(ca.cert, count, &n), 0);
    ck_assert(ocsp_must_staple(must.cert));
    ck_assert(!ocsp_must_staple(other.cert) && !ocsp_must_staple(ca.cert));
    ocsp_put_name(must.cert, false, &name);
    ocsp_put_name(must.cert, true, &name);
    ck_assert_str_eq(buf_cstr(&name), "CN=mCN=ca");
    ck_assert(ocsp_put_question(must.cert, ca.cert, &question));
    ck_assert_uint_gt(question.n, 60);
    buf_free(&name);
    buf_free(&question);
    drop(&ca);
    drop(&urls);
    drop(&must);
    drop(&other);
}

static const struct runner_case cases[] = {
    RUN(who_may_sign),
    RUN(what_is_broken_is_refused),
    RUN(when_it_counts),
    RUN(what_a_certificate_says),
};

RUNNER_MAIN("tls/ocsp", cases)
