/*
 * test_ocsp.c - the state of certificates: what the server sends about its own in a handshake, and
 * whom it lets in by what responders say.
 */
#include "lib/tls/ocsp.h"
#include "tests/api/ocsp_responder.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

static struct server_process server;
static struct ocsp_responder responder;

/* ---- the server ------------------------------------------------------------------------------ */

static void prepare(void)
{
    server_process_init(&server);
    ocsp_responder_open(&responder, server.dir);
    certs_make_ocsp(server.dir, responder.port);
}

static void configure(const char *text)
{
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, text);
    server.args[2] = "-D";
}

static void start(const char *text)
{
    configure(text);
    server_process_start(&server);
}

static void stop(void)
{
    server_process_deinit(&server);
    ocsp_responder_close(&responder);
}

#define OWN "cert_file: '~/server.pem', key_file: '~/server.key', ca_file: '~/ca.pem'"
#define PLAIN "cert_file: '~/plain.pem', key_file: '~/plain.key', ca_file: '~/ca.pem'"

static void reload(const char *text, const char *says)
{
    server_process_config(&server, text);
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, says);
}

/* ---- a client -------------------------------------------------------------------------------- */

struct client {
    struct raw_client raw;
    SSL_CTX *ctx;
    SSL *ssl;
};

static const char *file_of(const char *name, const char *ending)
{
    static char path[4][256];
    static unsigned next;
    char *out = path[next++ % 4];

    snprintf(out, 256, "%s/%s.%s", server.dir, name, ending);
    return out;
}

/* Asks for the state of the server's certificate. */
static bool open_client(struct client *c, const char *cert, int version)
{
    struct timeval limit = {.tv_sec = 20};

    *c = (struct client){.ctx = SSL_CTX_new(TLS_client_method())};
    ck_assert_int_eq(SSL_CTX_load_verify_file(c->ctx, file_of("ca", "pem")), 1);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    if (version != 0)
        SSL_CTX_set_max_proto_version(c->ctx, version);
    if (cert != NULL) {
        ck_assert_int_eq(
            SSL_CTX_use_certificate_file(c->ctx, file_of(cert, "pem"), SSL_FILETYPE_PEM), 1);
        ck_assert_int_eq(
            SSL_CTX_use_PrivateKey_file(c->ctx, file_of(cert, "key"), SSL_FILETYPE_PEM), 1);
    }
    raw_open(&c->raw, server.port);
    raw_skip(&c->raw, "\r\n");
    setsockopt(c->raw.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    c->ssl = SSL_new(c->ctx);
    SSL_set_tlsext_status_type(c->ssl, TLSEXT_STATUSTYPE_ocsp);
    SSL_set_fd(c->ssl, c->raw.fd);
    return SSL_connect(c->ssl) == 1;
}

static void close_client(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    raw_close(&c->raw);
    ERR_clear_error();
}

/* The handshake's last flight, and what the client says, in one. */
static bool is_let_in(struct client *c)
{
    static const char hello[] = "CONNECT {\"verbose\":false}\r\nPING\r\n";
    char got[4096];
    size_t n = 0, more;

    if (SSL_write_ex(c->ssl, hello, sizeof(hello) - 1, &more) != 1)
        return false;
    for (got[0] = '\0'; strstr(got, "PONG\r\n") == NULL; got[n] = '\0') {
        if (SSL_read_ex(c->ssl, got + n, sizeof(got) - 1 - n, &more) != 1)
            return false;
        n += more;
    }
    return true;
}

static bool gets_in_with(const char *cert, int version)
{
    struct client c;
    bool in = open_client(&c, cert, version) && is_let_in(&c);

    close_client(&c);
    return in;
}

static bool gets_in(const char *cert)
{
    return gets_in_with(cert, 0);
}

static X509 *read_cert(const char *name)
{
    FILE *f = fopen(file_of(name, "pem"), "re");
    X509 *cert = f != NULL ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;

    ck_assert_ptr_nonnull(cert);
    fclose(f);
    return cert;
}

/* What comes with a handshake: -1 nothing, else enum ocsp_says. */
static int stapled_with(int version)
{
    X509 *ca = read_cert("ca"), *cert = read_cert("server");
    struct ocsp_answer a;
    struct client c;
    unsigned char *der;
    char why[160];
    long n;
    int says = -1;

    ck_assert(open_client(&c, NULL, version));
    n = SSL_get_tlsext_status_ocsp_resp(c.ssl, &der);
    if (n > 0) {
        ck_assert_msg(ocsp_read_answer(str_from(der, (size_t) n), cert, ca, &a, why), "%s", why);
        says = (int) a.says;
    }
    ck_assert(is_let_in(&c));
    close_client(&c);
    X509_free(ca);
    X509_free(cert);
    return says;
}

static int stapled(void)
{
    return stapled_with(0);
}

/* ---- our own --------------------------------------------------------------------------------- */

TEST(a_certificate_that_wants_it_comes_with_its_state)
{
    static const char *const ways[] = {"", "ocsp: true\n", "ocsp { mode: must }\n",
                                       "ocsp { mode: always }\n"};
    char conf[300];

    prepare();
    snprintf(conf, sizeof(conf), "%stls { " OWN " }\n", ways[i]);
    start(conf);
    server_process_log_wait(&server, "OCSP Stapling enabled for Client connections");
    server_process_log_wait(&server, "server.pem': good, next update ");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    ck_assert_int_eq(stapled_with(TLS1_2_VERSION), OCSP_SAYS_GOOD);
    ck_assert_int_eq(responder.questions, 1);
    stop();
}

TEST(others_come_without)
{
    struct client c;
    unsigned char *der;

    prepare();
    start("ocsp: true\ntls { " PLAIN " }\n");
    ck_assert(open_client(&c, NULL, 0));
    ck_assert_int_eq(SSL_get_tlsext_status_ocsp_resp(c.ssl, &der), -1);
    close_client(&c);
    ck_assert_int_eq(responder.questions, 0);
    stop();
}

TEST(always_asks_a_responder_of_the_options)
{
    char conf[300];
    struct client c;
    unsigned char *der;

    prepare();
    snprintf(conf, sizeof(conf),
             "ocsp { mode: always, urls: ['http://127.0.0.1:1/x', 'http://127.0.0.1:%u/y/'] }\n"
             "tls { " PLAIN " }\n",
             responder.port);
    start(conf);
    ck_assert(open_client(&c, NULL, 0));
    ck_assert_int_gt(SSL_get_tlsext_status_ocsp_resp(c.ssl, &der), 0);
    close_client(&c);
    stop();
}

TEST(never_asks_nobody)
{
    prepare();
    start("ocsp: false\ntls { " OWN " }\n");
    server_process_log_wait(&server, "has MustStaple but OCSP is disabled");
    ck_assert_int_eq(stapled(), -1);
    ck_assert_int_eq(responder.questions, 0);
    stop();
}

TEST(a_get_will_do)
{
    prepare();
    responder.manner = OCSP_GET_ALONE;
    start("tls { " OWN " }\n");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    ck_assert_int_eq(responder.questions, 2);
    stop();
}

struct bad_answer {
    int manner;
    const char *signer;
    int since, until;
    const char *says;
};

static void prepare_for(const struct bad_answer *bad)
{
    prepare();
    responder.manner = bad->manner;
    responder.signer = bad->signer;
    responder.since = bad->since;
    responder.until = bad->until;
}

/* No answer, no start. */
TEST(a_start_wants_an_answer)
{
    static const struct bad_answer bad[] = {
        {OCSP_GARBAGE, "ca", -60, 60, "no OCSP response"},
        {OCSP_NOT_FOUND, "ca", -60, 60, "404 Not Found"},
        {OCSP_HANGS_UP, "ca", -60, 60, "no response"},
        {OCSP_ANSWERS, "other", -60, 60, "bad OCSP signature"},
        {OCSP_ANSWERS, "ca", -60, -30, "out of date"},
        {OCSP_ANSWERS, "ca", 600, 6000, "of the future"},
    };

    prepare_for(&bad[i]);
    configure("tls { " OWN " }\n");
    ck_assert(!server_process_try_start(&server));
    ck_assert(server_process_log_has(&server, "bad OCSP status update for certificate at "));
    ck_assert(server_process_log_has(&server, bad[i].says));
    stop();
}

TEST(whom_the_issuer_has_named_may_sign)
{
    prepare();
    responder.signer = "signer";
    start("tls { " OWN " }\n");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    stop();
}

TEST(a_revoked_one_is_told_or_ends_the_server)
{
    prepare();
    responder.status = V_OCSP_CERTSTATUS_REVOKED;
    configure("ocsp { mode: must }\ntls { " OWN " }\n");
    ck_assert(!server_process_try_start(&server));
    ck_assert(server_process_log_has(&server, "found existing OCSP status for certificate at "));
    ck_assert(server_process_log_has(&server, "revoked"));
    start("ocsp { mode: auto }\ntls { " OWN " }\n");
    ck_assert_int_eq(stapled(), OCSP_SAYS_REVOKED);
    stop();
}

TEST(an_answer_is_kept)
{
    struct stat st;
    char path[200];

    prepare();
    start("tls { " OWN " }\n");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    snprintf(path, sizeof(path), "%s/store/ocsp", server.dir);
    ck_assert_int_eq(stat(path, &st), 0);
    server_process_stop(&server);
    responder.manner = OCSP_HANGS_UP;
    server_process_start(&server);
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    ck_assert_int_eq(responder.questions, 1);
    stop();
}

/* Half of its time later. */
TEST(an_answer_is_renewed)
{
    prepare();
    responder.until = 3;
    start("tls { " OWN " }\n");
    responder.until = 3600;
    server_process_log_wait(&server, "Received OCSP status for Client certificate");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    stop();
}

TEST(one_that_is_revoked_later_ends_the_server)
{
    prepare();
    responder.until = 3;
    start("ocsp { mode: always }\ntls { " OWN " }\n");
    responder.status = V_OCSP_CERTSTATUS_REVOKED;
    server_process_wait(&server);
    ck_assert(server_process_log_has(&server, "server.pem': revoked"));
    stop();
}

TEST(an_old_answer_is_not_sent)
{
    prepare();
    responder.until = 3;
    start("tls { " OWN " }\n");
    responder.manner = OCSP_NOT_FOUND;
    server_process_log_wait(&server, "Bad OCSP status update for certificate");
    while (stapled() != -1)
        continue;
    stop();
}

TEST(a_reload_keeps_what_is_known)
{
    prepare();
    start("tls { " OWN " }\n");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    reload("tls { " OWN " }\nmax_payload: 1234\n", "Reloaded server configuration");
    ck_assert_int_eq(stapled(), OCSP_SAYS_GOOD);
    ck_assert_int_eq(responder.questions, 1);
    reload("tls { " OWN " }\nocsp: false\n", "has MustStaple but OCSP is disabled");
    ck_assert_int_eq(stapled(), -1);
    stop();
}

/* ---- others' --------------------------------------------------------------------------------- */

#define PEER(more) "tls { " PLAIN ", verify: true, ocsp_peer { verify: true" more " } }\n"

TEST(a_good_one_gets_in)
{
    prepare();
    start("midge { workers: 2 }\nocsp_cache: true\n" PEER(""));
    ck_assert(gets_in("client"));
    ck_assert(gets_in_with("client", TLS1_2_VERSION));
    ck_assert(gets_in("client"));
    ck_assert_int_eq(responder.questions, 1);
    /* Nobody is asked about one that names nobody. */
    ck_assert(gets_in("nobody"));
    ck_assert(!gets_in(NULL));
    ck_assert_int_eq(responder.questions, 1);
    stop();
}

TEST(a_bad_one_does_not)
{
    static const struct {
        int status;
        const char *says;
    } bad[] = {{V_OCSP_CERTSTATUS_REVOKED, "with CA status [revoked]"},
               {V_OCSP_CERTSTATUS_UNKNOWN, "with CA status [unknown]"}};

    prepare();
    responder.status = bad[i].status;
    start(PEER(""));
    ck_assert(!gets_in("client"));
    server_process_log_wait(&server, bad[i].says);
    server_process_log_wait(&server, "TLS handshake error: client not OCSP valid");
    ck_assert(gets_in("nobody"));
    stop();
}

TEST(no_answer_is_no)
{
    static const struct bad_answer bad[] = {
        {OCSP_GARBAGE, "ca", -60, 60, "Could not parse OCSP CA response for [CN=client]"},
        {OCSP_NOT_FOUND, "ca", -60, 60, "for [CN=client] failed: exhausted"},
        {OCSP_HANGS_UP, "ca", -60, 60, "for [CN=client] failed: exhausted"},
        {OCSP_ANSWERS, "other", -60, 60, "Could not parse OCSP CA response for [CN=client]"},
        {OCSP_ANSWERS, "ca", -600, -60, "obtained for [CN=client] but not current"},
        {OCSP_ANSWERS, "ca", 600, 6000, "obtained for [CN=client] but not current"},
        {OCSP_ANSWERS, "ca", -7200, 0, "obtained for [CN=client] but not current"},
    };

    prepare_for(&bad[i]);
    start(PEER(""));
    ck_assert(!gets_in("client"));
    server_process_log_wait(&server, bad[i].says);
    stop();
}

TEST(the_rules_may_be_mild)
{
    static const struct {
        const char *conf;
        int manner, status, since, until;
        bool in;
        const char *says;
    } mild[] = {
        {PEER(", warn_only: true"), OCSP_ANSWERS, V_OCSP_CERTSTATUS_REVOKED, -60, 60, true,
         "WarnOnly is true so allowing"},
        {PEER(", warn_only: true"), OCSP_GARBAGE, 0, -60, 60, true, "WarnOnly is true so allowing"},
        {PEER(", unknown_is_good: true"), OCSP_ANSWERS, V_OCSP_CERTSTATUS_UNKNOWN, -60, 60, true,
         "OCSP verify pass"},
        {PEER(", unknown_is_good: true"), OCSP_ANSWERS, V_OCSP_CERTSTATUS_REVOKED, -60, 60, false,
         "[revoked]"},
        {PEER(", allow_when_ca_unreachable: true"), OCSP_HANGS_UP, 0, -60, 60, true,
         "no cached revocation so allowing"},
        {PEER(", allow_when_ca_unreachable: true"), OCSP_GARBAGE, 0, -60, 60, false,
         "Could not parse"},
        {PEER(", allowed_clockskew: 120"), OCSP_ANSWERS, 0, -600, -60, true, "verify pass"},
        {PEER(", cache_ttl_when_next_update_unset: '3h'"), OCSP_ANSWERS, 0, -7200, 0, true,
         "verify pass"},
    };

    prepare();
    responder.manner = mild[i].manner;
    responder.status = mild[i].status;
    responder.since = mild[i].since;
    responder.until = mild[i].until;
    start(mild[i].conf);
    ck_assert(gets_in("client") == mild[i].in);
    server_process_log_wait(&server, mild[i].says);
    stop();
}

/* What was said once about a revoked one counts when nobody can be asked. */
TEST(answers_are_kept_on_the_disk)
{
    static const char conf[] = "ocsp_cache { local_store: '~/rc', preserve_revoked: true }\n" PEER(
        ", allow_when_ca_unreachable: true, allowed_clockskew: 0");

    prepare();
    responder.status = V_OCSP_CERTSTATUS_REVOKED;
    responder.until = 2;
    start(conf);
    ck_assert(!gets_in("client"));
    server_process_stop(&server);
    ck_assert_int_eq(access(file_of("rc/cache", "json"), R_OK), 0);
    responder.manner = OCSP_HANGS_UP;
    server_process_start(&server);
    do /* until the answer is out of date */
        ck_assert(!gets_in("client"));
    while (!server_process_log_has(&server, "cached revocation exists so rejecting"));
    server_process_stop(&server);
    unlink(file_of("rc/cache", "json"));
    server_process_start(&server);
    ck_assert(gets_in("client"));
    stop();
}

TEST(without_a_cache_each_is_asked_about)
{
    prepare();
    start("ocsp_cache: false\n" PEER(""));
    ck_assert(gets_in("client"));
    ck_assert(gets_in("client"));
    ck_assert_int_eq(responder.questions, 2);
    stop();
}

TEST(many_at_once_ask_once)
{
    struct client c[8];

    prepare();
    responder.manner = OCSP_ANSWERS;
    start("midge { workers: 2 }\n" PEER(", ca_timeout: 30"));
    for (int k = 0; k < 8; k++)
        ck_assert(open_client(&c[k], "client", 0));
    for (int k = 0; k < 8; k++)
        ck_assert(is_let_in(&c[k]));
    for (int k = 0; k < 8; k++)
        close_client(&c[k]);
    ck_assert_int_ge(responder.questions, 1);
    ck_assert_int_le(responder.questions, 2);
    stop();
}

TEST(the_system_account_hears_of_it)
{
    struct raw_client r;
    struct raw_msg m;

    prepare();
    responder.status = V_OCSP_CERTSTATUS_REVOKED;
    start("accounts { $SYS { users: [{user: s, password: s}] } }\nno_auth_user: s\n"
          "tls { " PLAIN ", verify: true, ocsp_peer: true }\nallow_non_tls: true\n");
    raw_hello(&r, server.port, "\"user\":\"s\",\"pass\":\"s\"");
    raw_send(&r, "SUB $SYS.SERVER.*.OCSP.PEER.> 1\r\n");
    raw_fence(&r);
    ck_assert(!gets_in("client"));
    raw_msg(&r, &m);
    ck_assert_ptr_nonnull(strstr(m.subject, ".OCSP.PEER.LINK.INVALID"));
    ck_assert_ptr_nonnull(strstr(m.body, "\"reason\":\"Invalid OCSP response status: revoked\""));
    ck_assert_ptr_nonnull(
        strstr(m.body, "\"link\":{\"subject\":\"CN=client\",\"issuer\":\"CN=ca\""));
    free(m.body);
    raw_msg(&r, &m);
    ck_assert_ptr_nonnull(strstr(m.subject, ".OCSP.PEER.CONN.REJECT"));
    ck_assert_ptr_nonnull(
        strstr(m.body, "\"type\":\"io.nats.server.advisory.v1.ocsp_peer_reject\""));
    ck_assert_ptr_nonnull(strstr(m.body, "\"kind\":\"Client\""));
    ck_assert_ptr_nonnull(strstr(m.body, "\"reason\":\"client not OCSP valid\""));
    free(m.body);
    raw_close(&r);
    stop();
}

TEST(clients_must_show_one)
{
    prepare();
    configure("tls { " PLAIN ", ocsp_peer: true }\n");
    ck_assert(!server_process_try_start(&server));
    ck_assert(server_process_log_has(&server, "requires TLS verify (mTLS) to be enabled"));
    stop();
}

/* The server goes while somebody waits. */
TEST(an_end_does_not_wait)
{
    struct client c;

    prepare();
    ocsp_responder_close(&responder); /* nobody accepts */
    start(PEER(", ca_timeout: 60"));
    responder.manner = OCSP_HANGS_UP;
    (void) open_client(&c, "client", 0);
    server_process_stop(&server);
    close_client(&c);
    server_process_deinit(&server);
}

/* A leaf node on both sides of it. */
TEST(leaf_nodes_are_asked_about)
{
    struct server_process hub;
    char conf[600], *of_hub;

    prepare();
    responder.status = i == 0 ? V_OCSP_CERTSTATUS_GOOD : V_OCSP_CERTSTATUS_REVOKED;
    hub = server;
    snprintf(conf, sizeof(conf),
             "leafnodes { listen: '127.0.0.1:-1', tls { " OWN ", verify: true%s } }\n",
             i == 1 ? ", ocsp_peer: true" : "");
    server_process_init(&server);
    hub.args[0] = "-c";
    hub.args[1] = of_hub = strdup(server_process_config(&hub, conf));
    hub.args[2] = "-D";
    server_process_start(&hub);
    for (const char *const *name = (const char *const[]){"client", "ca", NULL}; *name != NULL;
         name++)
        for (int k = 0; k < 2; k++) {
            char from[256], to[256];
            snprintf(from, sizeof(from), "%s/%s.%s", hub.dir, *name, k == 0 ? "pem" : "key");
            snprintf(to, sizeof(to), "%s/%s.%s", server.dir, *name, k == 0 ? "pem" : "key");
            ck_assert_int_eq(link(from, to), 0);
        }
    snprintf(conf, sizeof(conf),
             "leafnodes { remotes: [{ url: 'tls://127.0.0.1:%u', tls { cert_file: '~/client.pem', "
             "key_file: '~/client.key', ca_file: '~/ca.pem'%s } }] }\n",
             hub.leaf_port, i != 1 ? ", ocsp_peer: true" : "");
    start(conf);
    if (i == 0) {
        server_process_log_wait(&server, "Leafnode connection created for account");
        server_process_log_wait(&server, "OCSP verify pass for [CN=server]");
        server_process_log_wait(&server, "TLS handshake complete");
    } else if (i == 1) {
        server_process_log_wait(&hub, "TLS handshake error: client not OCSP valid");
    } else {
        server_process_log_wait(&server, "TLS handshake error: server not OCSP valid");
    }
    server_process_deinit(&server);
    server_process_deinit(&hub);
    free(of_hub);
    ocsp_responder_close(&responder);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_certificate_that_wants_it_comes_with_its_state, 0, 4),
    RUN(others_come_without),
    RUN(always_asks_a_responder_of_the_options),
    RUN(never_asks_nobody),
    RUN(a_get_will_do),
    RUN_LOOP(a_start_wants_an_answer, 0, 6),
    RUN(whom_the_issuer_has_named_may_sign),
    RUN(a_revoked_one_is_told_or_ends_the_server),
    RUN(an_answer_is_kept),
    RUN(an_answer_is_renewed),
    RUN(one_that_is_revoked_later_ends_the_server),
    RUN(an_old_answer_is_not_sent),
    RUN(a_reload_keeps_what_is_known),
    RUN(a_good_one_gets_in),
    RUN_LOOP(a_bad_one_does_not, 0, 2),
    RUN_LOOP(no_answer_is_no, 0, 7),
    RUN_LOOP(the_rules_may_be_mild, 0, 8),
    RUN(answers_are_kept_on_the_disk),
    RUN(without_a_cache_each_is_asked_about),
    RUN(many_at_once_ask_once),
    RUN(the_system_account_hears_of_it),
    RUN(clients_must_show_one),
    RUN(an_end_does_not_wait),
    RUN_LOOP(leaf_nodes_are_asked_about, 0, 3),
};

RUNNER_MAIN("api/ocsp", cases)
