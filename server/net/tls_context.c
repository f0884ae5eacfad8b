/*
 * tls_context.c - certificates, keys and rules of a tls block into what sessions are made of.
 *
 * Suites have the names of RFCs in the configuration; OpenSSL wants its own, in two lists: those of
 * TLS 1.3, where there is little to choose, and those before. Session tickets are off: a ticket's
 * key would have to be rotated, and clients of a message server connect rarely.
 *
 * Of several certificates (`certs`) the first serves that has the name the client asks for, and
 * whose key can sign as the client wants; when there is none, the first of all.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "server/net/tls.h"
#include "server/net/tls_int.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool fail(char why[256], const char *what, const char *name)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;

    snprintf(why, 256, "%s %.120s%s%.100s", what, name, reason != NULL ? ": " : "",
             reason != NULL ? reason : "");
    return false;
}

static bool readable(const char *path, char why[256])
{
    char reason[80];

    if (access(path, R_OK) == 0)
        return true;
    snprintf(reason, sizeof(reason), "%s", strerror(errno));
    reason[0] = (char) tolower((unsigned char) reason[0]);
    snprintf(why, 256, "error parsing X509 certificate/key pair: open %.120s: %s", path, reason);
    return false;
}

static bool take_certificate(SSL_CTX *ssl, const struct tls_options *o, char why[256])
{
    if (!readable(o->cert_file, why) || !readable(o->key_file, why))
        return false;
    if (SSL_CTX_use_certificate_chain_file(ssl, o->cert_file) != 1)
        return fail(why, "error parsing certificate", o->cert_file);
    if (SSL_CTX_use_PrivateKey_file(ssl, o->key_file, SSL_FILETYPE_PEM) != 1)
        return fail(why, "error parsing private key", o->key_file);
    return SSL_CTX_check_private_key(ssl) == 1 ||
           fail(why, "private key and certificate do not fit:", o->key_file);
}

/* ---- several certificates -------------------------------------------------------------------- */

static bool fits(SSL *ssl, const char *name, const struct tls_certificate *c)
{
    if (name != NULL && X509_check_host(c->certificate, name, strlen(name), 0, NULL) != 1)
        return false;
    return (SSL_check_chain(ssl, c->certificate, c->key, c->chain) & CERT_PKEY_SIGN) != 0;
}

static int choose_certificate(SSL *ssl, void *arg)
{
    const struct tls_context *t = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const struct tls_certificate *c = &t->certs[0];

    for (size_t i = 0; i < t->ncerts; i++)
        if (fits(ssl, name, &t->certs[i])) {
            c = &t->certs[i];
            break;
        }
    SSL_certs_clear(ssl);
    return SSL_use_cert_and_key(ssl, c->certificate, c->key, c->chain, 1);
}

/* OpenSSL's own reading of the files, by a context that serves nobody. */
static bool read_pair(const struct tls_pair *p, struct tls_certificate *out, char why[256])
{
    const struct tls_options one = {.cert_file = p->cert_file, .key_file = p->key_file};
    SSL_CTX *ssl = SSL_CTX_new(TLS_server_method());
    STACK_OF(X509) *chain = NULL;
    bool ok;

    if (ssl == NULL)
        FATAL("SSL_CTX_new failed");
    ok = take_certificate(ssl, &one, why);
    if (ok) {
        SSL_CTX_get0_chain_certs(ssl, &chain);
        out->certificate = SSL_CTX_get0_certificate(ssl);
        X509_up_ref(out->certificate);
        out->key = SSL_CTX_get0_privatekey(ssl);
        EVP_PKEY_up_ref(out->key);
        out->chain = chain != NULL ? X509_chain_up_ref(chain) : NULL;
    }
    SSL_CTX_free(ssl);
    return ok;
}

static bool take_pairs(struct tls_context *t, const struct tls_options *o, char why[256])
{
    t->certs = mem_zalloc(o->ncerts * sizeof(*t->certs));
    for (size_t i = 0; i < o->ncerts; i++)
        if (!read_pair(&o->certs[i], &t->certs[t->ncerts++], why))
            return false;
    SSL_CTX_set_cert_cb(t->ssl, choose_certificate, t);
    return true;
}

static void free_pairs(struct tls_context *t)
{
    for (size_t i = 0; i < t->ncerts; i++) {
        X509_free(t->certs[i].certificate);
        EVP_PKEY_free(t->certs[i].key);
        sk_X509_pop_free(t->certs[i].chain, X509_free);
    }
    mem_free(t->certs);
}

static bool take_own(struct tls_context *t, const struct tls_options *o, char why[256])
{
    return o->ncerts > 0 ? take_pairs(t, o, why) : take_certificate(t->ssl, o, why);
}

/* ---- the rest of the block ------------------------------------------------------------------- */

/* A signature that does not fit was made by somebody else under the name of one whom we know. To
 * the client that is an unknown signer, as at nats-server; OpenSSL's word for it is an alert that
 * reads like a broken connection. */
static int look_at_client(int ok, X509_STORE_CTX *chain)
{
    if (ok == 0 && X509_STORE_CTX_get_error(chain) == X509_V_ERR_CERT_SIGNATURE_FAILURE)
        X509_STORE_CTX_set_error(chain, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
    if (ok == 0)
        tls_note_refusal(chain);
    return ok;
}

static bool take_clients(SSL_CTX *ssl, const struct tls_options *o, char why[256])
{
    STACK_OF(X509_NAME) * names;

    if (!o->verify)
        return true;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, look_at_client);
    if (o->ca_file == NULL)
        return SSL_CTX_set_default_verify_paths(ssl) == 1 ||
               fail(why, "no certificates of the system", "");
    if (!readable(o->ca_file, why))
        return false;
    names = SSL_load_client_CA_file(o->ca_file);
    if (names == NULL || SSL_CTX_load_verify_file(ssl, o->ca_file) != 1)
        return fail(why, "failed to parse root ca certificate", o->ca_file);
    SSL_CTX_set_client_CA_list(ssl, names);
    return true;
}

static bool take_suites(SSL_CTX *ssl, const char *names, char why[256])
{
    struct buf old = {0}, new = {0};
    struct str left = str_of(names), name;
    bool ok = true;

    while (ok && left.n > 0) {
        char one[64];
        name = str_cut(left, ',', &left);
        snprintf(one, sizeof(one), "%.*s", STR_ARG(name));
        const char *theirs = OPENSSL_cipher_name(one);
        struct buf *list = theirs != NULL && strncmp(theirs, "TLS_", 4) == 0 ? &new : &old;
        ok = theirs != NULL && strcmp(theirs, "(NONE)") != 0;
        if (!ok)
            snprintf(why, 256, "unrecognized cipher %s", one);
        else
            buf_printf(list, "%s%s", list->n > 0 ? ":" : "", theirs);
    }
    if (ok && new.n > 0 && SSL_CTX_set_ciphersuites(ssl, buf_cstr(&new)) != 1)
        ok = fail(why, "cipher_suites", names);
    if (ok && old.n > 0 && SSL_CTX_set_cipher_list(ssl, buf_cstr(&old)) != 1)
        ok = fail(why, "cipher_suites", names);
    buf_free(&old);
    buf_free(&new);
    return ok;
}

static bool take_curves(SSL_CTX *ssl, const char *names, char why[256])
{
    static const struct {
        const char *ours, *theirs;
    } curves[] = {{"X25519", "X25519"},
                  {"CurveP256", "P-256"},
                  {"CurveP384", "P-384"},
                  {"CurveP521", "P-521"}};
    struct buf list = {0};
    struct str left = str_of(names), name;
    bool ok;

    while (left.n > 0) {
        name = str_cut(left, ',', &left);
        for (size_t i = 0; i < ARRAY_LEN(curves); i++)
            if (str_eq(name, str_of(curves[i].ours)))
                buf_printf(&list, "%s%s", list.n > 0 ? ":" : "", curves[i].theirs);
    }
    (void) buf_cstr(&list); /* a NUL behind it */
    ok = SSL_CTX_set1_groups_list(ssl, list.p) == 1 || fail(why, "curve_preferences", names);
    buf_free(&list);
    return ok;
}

/* In the peer's order: AES with 128 bits first, which is also the fastest. */
static void prefer_suites(SSL_CTX *ssl)
{
    static const char new[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:"
                              "TLS_CHACHA20_POLY1305_SHA256";
    static const char old[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                              "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                              "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                              "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:"
                              "ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";

    if (SSL_CTX_set_ciphersuites(ssl, new) != 1 || SSL_CTX_set_cipher_list(ssl, old) != 1)
        FATAL("no TLS cipher suites");
}

static void set_common(SSL_CTX *ssl, const struct tls_options *o)
{
    prefer_suites(ssl);
    SSL_CTX_set_min_proto_version(ssl, o->min_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    /* An idle connection keeps no record buffers. */
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                 SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_num_tickets(ssl, 0);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
}

static bool fill(struct tls_context *t, const struct tls_options *o, char why[256])
{
    SSL_CTX *ssl = t->ssl;

    set_common(ssl, o);
    tls_allow_staple(t);
    if (o->ocsp_peer.verify && !o->verify) {
        snprintf(why, 256,
                 "OCSP peer verification for client connections requires TLS verify (mTLS) to be "
                 "enabled");
        return false;
    }
    return take_own(t, o, why) && take_clients(ssl, o, why) &&
           (o->ciphers == NULL || take_suites(ssl, o->ciphers, why)) &&
           (o->curves == NULL || take_curves(ssl, o->curves, why));
}

/* Who signs the certificates of the servers that we dial. */
static bool take_servers(struct tls_context *t, const struct tls_options *o, char why[256])
{
    SSL_CTX *ssl = t->ssl;

    if (o->insecure)
        return true;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    t->system_due = o->ca_file == NULL;
    if (t->system_due)
        return true;
    return readable(o->ca_file, why) &&
           (SSL_CTX_load_verify_file(ssl, o->ca_file) == 1 ||
            fail(why, "failed to parse root ca certificate", o->ca_file));
}

static bool has_own(const struct tls_options *o)
{
    return o->ncerts > 0 || (o->cert_file != NULL && o->key_file != NULL);
}

static bool fill_client(struct tls_context *t, const struct tls_options *o, char why[256])
{
    SSL_CTX *ssl = t->ssl;

    set_common(ssl, o);
    return (!has_own(o) || take_own(t, o, why)) && take_servers(t, o, why) &&
           (o->ciphers == NULL || take_suites(ssl, o->ciphers, why)) &&
           (o->curves == NULL || take_curves(ssl, o->curves, why));
}

typedef bool take_options(struct tls_context *t, const struct tls_options *o, char why[256]);

static struct tls_context *open_context(const SSL_METHOD *method, take_options *take,
                                        const struct tls_options *options, char why[256])
{
    SSL_CTX *ssl = SSL_CTX_new(method);
    struct tls_context *c;

    if (ssl == NULL)
        FATAL("SSL_CTX_new failed");
    ERR_clear_error();
    c = mem_zalloc(sizeof(*c));
    atomic_init(&c->refs, 1);
    c->ssl = ssl;
    c->bytes = tls_session_bytes();
    mutex_init(&c->system_lock);
    mutex_init(&c->staple_lock);
    c->pinned = options->pinned != NULL ? mem_strdup(options->pinned) : NULL;
    if (take(c, options, why))
        return c;
    tls_context_put(c);
    return NULL;
}

struct tls_context *tls_context_open(const struct tls_options *options, char why[256])
{
    return open_context(TLS_server_method(), fill, options, why);
}

struct tls_context *tls_context_open_client(const struct tls_options *options, char why[256])
{
    return open_context(TLS_client_method(), fill_client, options, why);
}

struct tls_context *tls_context_get(struct tls_context *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void tls_context_put(struct tls_context *c)
{
    if (c == NULL || atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    SSL_CTX_free(c->ssl);
    free_pairs(c);
    BIO_meth_free(c->bytes);
    mem_free(c->pinned);
    mutex_deinit(&c->system_lock);
    mutex_deinit(&c->staple_lock);
    buf_free(&c->staple);
    mem_free(c);
}

struct ssl_st *tls_context_session(struct tls_context *c)
{
    SSL *ssl = SSL_new(c->ssl);

    if (ssl == NULL)
        FATAL("out of memory");
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL);
    return ssl;
}

void tls_read_system(struct tls_context *c)
{
    mutex_lock(&c->system_lock);
    if (c->system_due)
        SSL_CTX_set_default_verify_paths(c->ssl);
    c->system_due = false;
    mutex_unlock(&c->system_lock);
}

struct ssl_st *tls_context_client_session(struct tls_context *c, const char *host)
{
    tls_read_system(c);
    SSL *ssl = SSL_new(c->ssl);

    if (ssl == NULL)
        FATAL("out of memory");
    tls_expect_host(ssl, host);
    return ssl;
}
