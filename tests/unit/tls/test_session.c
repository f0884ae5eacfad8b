/*
 * test_session.c - a client's and a server's session, each with the other one's records as its
 * input, in pieces of any size; and what they say when names, bytes or memory are wrong.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/prng.h"
#include "lib/tls/session.h"
#include "tests/lib/runner.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

/* One end: its session, and the records it has put and the other one has not been given. */
struct end {
    struct tls_session s;
    struct buf records;
    bool full;
};

struct pair {
    SSL_CTX *server_context, *client_context;
    BIO_METHOD *bytes;
    struct end server, client;
    struct prng prng;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static bool put_record(void *to, const char *bytes, size_t n)
{
    struct end *e = to;

    if (e->full)
        return false;
    buf_put(&e->records, bytes, n);
    return true;
}

/* A certificate that signs itself, for names as in "DNS:a,IP:1.2.3.4". */
static X509 *make_certificate(EVP_PKEY *key, const char *names)
{
    X509 *cert = X509_new();
    X509V3_CTX v3;
    X509_EXTENSION *ext;

    X509_set_version(cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *) "test", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    X509V3_set_ctx(&v3, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &v3, NID_subject_alt_name, names);
    ck_assert_ptr_nonnull(ext);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
    ck_assert_int_gt(X509_sign(cert, key, EVP_sha256()), 0);
    return cert;
}

static void begin(struct pair *p, const char *names, const char *host)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = make_certificate(key, names);

    memset(p, 0, sizeof(*p));
    prng_init(&p->prng, 1);
    p->bytes = tls_session_bytes();
    p->server_context = SSL_CTX_new(TLS_server_method());
    p->client_context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_use_certificate(p->server_context, cert);
    SSL_CTX_use_PrivateKey(p->server_context, key);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(p->client_context), cert);
    SSL_CTX_set_verify(p->client_context, SSL_VERIFY_PEER, NULL);
    X509_free(cert);
    EVP_PKEY_free(key);
    tls_session_accept(&p->server.s, p->server_context, p->bytes, put_record, &p->server);
    tls_session_connect(&p->client.s, p->client_context, p->bytes, host, put_record, &p->client);
}

static void finish(struct pair *p)
{
    tls_session_close(&p->server.s);
    tls_session_close(&p->client.s);
    tls_session_close(&p->client.s);
    BIO_meth_free(p->bytes);
    SSL_CTX_free(p->server_context);
    SSL_CTX_free(p->client_context);
    buf_free(&p->server.records);
    buf_free(&p->client.records);
}

/* The first n bytes that `from` has put are lent to `to`, while step is done there. */
static enum tls_answer shake_piece(struct end *from, struct end *to, size_t n)
{
    struct buf lent = {0};
    enum tls_answer answer;

    buf_put(&lent, from->records.p, n);
    if (n > 0)
        memmove(from->records.p, from->records.p + n, from->records.n - n);
    from->records.n -= n;
    tls_session_input(&to->s, buf_str(&lent));
    answer = tls_session_handshake(&to->s);
    ck_assert_uint_eq(answer == TLS_FAILED ? 0 : to->s.in.n, 0);
    tls_session_input(&to->s, STR_NONE);
    buf_free(&lent);
    return answer;
}

/* Both sides' answers behind the handshake, in pieces of at most `piece` bytes. What the server has
 * put when it is done are tickets, for the client's first read. */
static void shake(struct pair *p, size_t piece, enum tls_answer *server, enum tls_answer *client)
{
    *server = tls_session_handshake(&p->server.s);
    *client = tls_session_handshake(&p->client.s);
    while (*server == TLS_MORE && *client != TLS_FAILED) {
        size_t n = min_size(p->client.records.n, piece);
        *server = shake_piece(&p->client, &p->server, n);
        n = min_size(p->server.records.n, piece);
        if (*client == TLS_MORE && *server != TLS_FAILED)
            *client = shake_piece(&p->server, &p->client, n);
    }
}

/* Reads all that `from` has put, in pieces drawn up to `piece`; the last answer. */
static enum tls_answer drain(struct pair *p, struct end *from, struct end *to, size_t piece,
                             struct buf *plain)
{
    enum tls_answer answer = TLS_MORE;
    struct str left = buf_str(&from->records);
    char into[1000];
    size_t n;

    while (left.n > 0 && answer == TLS_MORE) {
        size_t lend = min_size(left.n, prng_below(&p->prng, piece) + 1);
        tls_session_input(&to->s, str_from(left.p, lend));
        while ((answer = tls_session_read(&to->s, into, sizeof(into), &n)) == TLS_OK) {
            ck_assert_uint_gt(n, 0);
            buf_put(plain, into, n);
        }
        ck_assert_uint_eq(n, 0);
        left = str_skip(left, lend);
    }
    buf_clear(&from->records);
    tls_session_input(&to->s, STR_NONE);
    return answer;
}

static const struct {
    const char *names, *host;
    bool good;
} hosts[] = {
    {"DNS:a.example", "a.example", true},
    {"DNS:*.b.example", "a.b.example", true},
    {"DNS:a.example", "b.example", false},
    {"DNS:a.example,IP:127.0.0.1", "127.0.0.1", true},
    {"DNS:a.example,IP:127.0.0.1", "127.0.0.2", false},
    {"DNS:127.0.0.1", "127.0.0.1", false}, /* an address is not a name */
    {"IP:0:0:0:0:0:0:0:1", "::1", true},
};

TEST(only_who_is_named_is_shaken_hands_with)
{
    enum tls_answer server, client;
    struct pair p;

    begin(&p, hosts[i].names, hosts[i].host);
    shake(&p, 1 << 20, &server, &client);
    if (hosts[i].good) {
        ck_assert_int_eq(client, TLS_OK);
        ck_assert_str_eq(p.client.s.error, "");
    } else {
        ck_assert_int_eq(client, TLS_FAILED);
        ck_assert_ptr_nonnull(strstr(p.client.s.error, "certificate verify failed: "));
        ck_assert_uint_gt(p.client.records.n, 0); /* the alert */
    }
    finish(&p);
}

static const size_t pieces[] = {1, 7, 1000, 1 << 20};

TEST(bytes_pass_in_pieces_of_any_size)
{
    enum tls_answer server, client;
    struct buf said = {0}, heard = {0};
    struct pair p;

    begin(&p, "DNS:a", "a");
    shake(&p, pieces[i], &server, &client);
    ck_assert_int_eq(server, TLS_OK);
    ck_assert_int_eq(client, TLS_OK);
    for (int k = 0; k < 5000; k++)
        buf_printf(&said, "line %d\r\n", k);
    ck_assert(tls_session_write(&p.server.s, buf_str(&said)));
    ck_assert_int_eq(drain(&p, &p.server, &p.client, pieces[i], &heard), TLS_MORE);
    ck_assert(str_eq(buf_str(&heard), buf_str(&said)));
    buf_clear(&heard);
    ck_assert(tls_session_write(&p.client.s, STR_NONE));
    ck_assert_uint_eq(p.client.records.n, 0);
    ck_assert(tls_session_write(&p.client.s, buf_str(&said)));
    ck_assert_int_eq(drain(&p, &p.client, &p.server, pieces[i], &heard), TLS_MORE);
    ck_assert(str_eq(buf_str(&heard), buf_str(&said)));
    buf_free(&said);
    buf_free(&heard);
    finish(&p);
}

TEST(an_end_is_told_from_a_break)
{
    enum tls_answer server, client;
    struct buf heard = {0};
    struct pair p;

    begin(&p, "DNS:a", "a");
    shake(&p, 100, &server, &client);
    ck_assert(tls_session_write(&p.client.s, STR("last")));
    tls_session_end(&p.client.s);
    ck_assert_int_eq(drain(&p, &p.client, &p.server, 5, &heard), TLS_CLOSED);
    ck_assert(str_eq(buf_str(&heard), STR("last")));
    buf_free(&heard);
    finish(&p);
}

TEST(a_flipped_bit_breaks_the_session)
{
    enum tls_answer server, client;
    struct buf heard = {0};
    struct pair p;

    begin(&p, "DNS:a", "a");
    shake(&p, 100, &server, &client);
    ck_assert(tls_session_write(&p.client.s, STR("hello")));
    p.client.records.p[p.client.records.n - 1] ^= 1;
    ck_assert_int_eq(drain(&p, &p.client, &p.server, 100, &heard), TLS_FAILED);
    ck_assert_ptr_nonnull(strstr(p.server.s.error, "bad record mac"));
    ck_assert_uint_eq(heard.n, 0);
    finish(&p);
}

TEST(what_is_not_tls_fails)
{
    struct pair p;

    begin(&p, "DNS:a", "a");
    ck_assert_int_eq(tls_session_handshake(&p.server.s), TLS_MORE);
    tls_session_input(&p.server.s, STR("CONNECT {}\r\nPING\r\n"));
    ck_assert_int_eq(tls_session_handshake(&p.server.s), TLS_FAILED);
    ck_assert_str_ne(p.server.s.error, "");
    finish(&p);
}

TEST(no_memory_for_records_is_an_error)
{
    enum tls_answer server, client;
    struct pair p;

    begin(&p, "DNS:a", "a");
    shake(&p, 100, &server, &client);
    p.server.full = true;
    ck_assert(!tls_session_write(&p.server.s, STR("hello")));
    finish(&p);
}

/* OpenSSL gives 127 type numbers to BIOs in the life of a process: a client that tries again and
 * again must not need one a try. */
TEST(sessions_have_no_end_of_numbers)
{
    enum tls_answer server, client;
    struct pair p;

    for (int k = 0; k < 200; k++)
        BIO_meth_free(tls_session_bytes());
    ck_assert_int_lt(BIO_get_new_index() & 0xff, 200);
    begin(&p, "DNS:a", "a");
    shake(&p, 100, &server, &client);
    ck_assert_int_eq(client, TLS_OK);
    finish(&p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(only_who_is_named_is_shaken_hands_with, 0, ARRAY_LEN(hosts)),
    RUN_LOOP(bytes_pass_in_pieces_of_any_size, 0, ARRAY_LEN(pieces)),
    RUN(an_end_is_told_from_a_break),
    RUN(a_flipped_bit_breaks_the_session),
    RUN(what_is_not_tls_fails),
    RUN(no_memory_for_records_is_an_error),
    RUN(sessions_have_no_end_of_numbers),
};

RUNNER_MAIN("tls/session", cases)
