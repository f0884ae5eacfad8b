/* tls_certs.c - see tls_certs.h. */
#include "tests/api/tls_certs.h"

#include "tests/lib/runner.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY (24 * 3600L)

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    ck_assert_ptr_nonnull(e);
    ck_assert_int_eq(X509_add_ext(cert, e, -1), 1);
    X509_EXTENSION_free(e);
}

static void write_files(const char *dir, const char *name, X509 *cert, EVP_PKEY *key)
{
    char path[256];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s.pem", dir, name);
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_X509(f, cert), 1);
    fclose(f);
    snprintf(path, sizeof(path), "%s/%s.key", dir, name);
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(f);
}

struct pair {
    X509 *cert;
    EVP_PKEY *key;
};

struct extension {
    int nid;
    const char *value;
};

/* issuer NULL: signs itself. more: ends with nid 0, or NULL. */
static struct pair make_with(const char *dir, const char *name, const char *names,
                             const struct pair *issuer, const struct extension *more)
{
    static long serial;
    struct pair p = {.cert = X509_new(), .key = EVP_EC_gen("P-256")};
    const struct pair *by = issuer != NULL ? issuer : &p;
    X509_NAME *subject;

    ck_assert(p.cert != NULL && p.key != NULL);
    X509_set_version(p.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(p.cert), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(p.cert), -DAY);
    X509_gmtime_adj(X509_getm_notAfter(p.cert), DAY);
    subject = X509_get_subject_name(p.cert);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1,
                               0);
    X509_set_issuer_name(p.cert, X509_get_subject_name(by->cert));
    X509_set_pubkey(p.cert, p.key);
    add_extension(p.cert, by->cert, NID_basic_constraints,
                  issuer == NULL ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (names != NULL)
        add_extension(p.cert, by->cert, NID_subject_alt_name, names);
    for (; more != NULL && more->nid != 0; more++)
        add_extension(p.cert, by->cert, more->nid, more->value);
    ck_assert_int_gt(X509_sign(p.cert, by->key, EVP_sha256()), 0);
    write_files(dir, name, p.cert, p.key);
    return p;
}

static struct pair make(const char *dir, const char *name, const char *names,
                        const struct pair *issuer)
{
    return make_with(dir, name, names, issuer, NULL);
}

static void drop(struct pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
}

void certs_make(const char *dir)
{
    static const struct {
        const char *name, *names;
    } signed_ones[] = {
        {"server", "DNS:localhost,IP:127.0.0.1"},
        {"second", "DNS:localhost,IP:127.0.0.1,DNS:second.test"},
        {"client", "email:derek@nats.io,DNS:dns.nats.io"},
    };
    struct pair ca = make(dir, "ca", NULL, NULL), other = make(dir, "impostor", NULL, &ca);

    drop(&other);
    drop(&ca);
    ca = make(dir, "ca", NULL, NULL);
    for (unsigned i = 0; i < 3; i++) {
        other = make(dir, signed_ones[i].name, signed_ones[i].names, &ca);
        drop(&other);
    }
    other = make(dir, "stranger", "email:derek@nats.io", NULL);
    drop(&other);
    drop(&ca);
}

void certs_make_ocsp(const char *dir, unsigned port)
{
    char url[80];
    const char *host = "DNS:localhost,IP:127.0.0.1";
    struct pair ca, p;

    snprintf(url, sizeof(url), "OCSP;URI:http://127.0.0.1:%u", port);
    const struct extension must[] = {
        {NID_info_access, url}, {NID_tlsfeature, "status_request"}, {0, NULL}};
    const struct extension may_sign[] = {{NID_ext_key_usage, "OCSPSigning"}, {0, NULL}};
    const struct extension asked[] = {{NID_info_access, url}, {0, NULL}};
    const struct {
        const char *name, *names;
        const struct extension *more;
    } all[] = {{"server", host, must}, {"plain", host, NULL},      {"client", NULL, asked},
               {"nobody", NULL, NULL}, {"signer", NULL, may_sign}, {"other", NULL, NULL}};

    ca = make(dir, "ca", NULL, NULL);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        p = make_with(dir, all[i].name, all[i].names, &ca, all[i].more);
        drop(&p);
    }
    drop(&ca);
}

void certs_pin(const char *path, char out[65])
{
    FILE *f = fopen(path, "re");
    X509 *cert = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    unsigned char *spki = NULL, sum[EVP_MAX_MD_SIZE];
    int n;

    ck_assert_ptr_nonnull(cert);
    fclose(f);
    n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &spki);
    ck_assert_int_gt(n, 0);
    ck_assert_int_eq(EVP_Digest(spki, (size_t) n, sum, NULL, EVP_sha256(), NULL), 1);
    for (size_t i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", sum[i]);
    OPENSSL_free(spki);
    X509_free(cert);
}
