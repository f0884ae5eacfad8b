/*
 * test_tls.c - clients over TLS: who gets in, in which order things are said, and that what is sent
 * arrives as without.
 */
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct server_process server;
static char config[256];

/* ---- the server ------------------------------------------------------------------------------ */

/* ~ in the text is the directory with the certificates. */
static void write_config(const char *text)
{
    FILE *f;

    snprintf(config, sizeof(config), "%s/conf", server.dir);
    f = fopen(config, "we");
    ck_assert_ptr_nonnull(f);
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '~')
            fputs(server.dir, f);
        else
            fputc(*p, f);
    fclose(f);
}

#define CERT "cert_file: '~/server.pem', key_file: '~/server.key'"

static const struct {
    const char *workers, *io;
} ways[] = {{"1", "auto"}, {"2", "auto"}, {"1", "event"}};

static void start(int way, const char *text)
{
    server_process_init(&server);
    certs_make(server.dir);
    write_config(text);
    server.args[0] = "--workers";
    server.args[1] = ways[way].workers;
    server.args[2] = "--io";
    server.args[3] = ways[way].io;
    server.args[4] = "-c";
    server.args[5] = config;
    server.args[6] = "-D";
    server_process_start(&server);
}

static void stop(void)
{
    server_process_deinit(&server);
}

/* ---- a client -------------------------------------------------------------------------------- */

struct client {
    struct raw_client raw;
    SSL_CTX *ctx;
    SSL *ssl;
    char *got;
    size_t n, cap;
};

struct want {
    bool no_info;     /* begin at once */
    const char *cert; /* name of the client's certificate */
    int max_version;
    const char *ciphers;
    int alert;        /* of a handshake that fails; 0 = any */
    const char *host; /* the name that it asks for */
};

static char *file_of(const char *name, const char *ending)
{
    static char path[2][256];
    static unsigned next;
    char *out = path[next++ % 2];

    snprintf(out, 256, "%s/%s.%s", server.dir, name, ending);
    return out;
}

static void prepare(struct client *c, const struct want *w)
{
    *c = (struct client){.ctx = SSL_CTX_new(TLS_client_method())};
    ck_assert_int_eq(SSL_CTX_load_verify_file(c->ctx, file_of("ca", "pem")), 1);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    if (w->cert != NULL) {
        ck_assert_int_eq(
            SSL_CTX_use_certificate_file(c->ctx, file_of(w->cert, "pem"), SSL_FILETYPE_PEM), 1);
        ck_assert_int_eq(
            SSL_CTX_use_PrivateKey_file(c->ctx, file_of(w->cert, "key"), SSL_FILETYPE_PEM), 1);
    }
    if (w->max_version != 0)
        SSL_CTX_set_max_proto_version(c->ctx, w->max_version);
    if (w->ciphers != NULL)
        ck_assert_int_eq(SSL_CTX_set_cipher_list(c->ctx, w->ciphers), 1);
    raw_open(&c->raw, server.port);
    if (!w->no_info) {
        raw_skip(&c->raw, "\r\n");
        ck_assert_uint_eq(c->raw.n, 0);
    }
    c->ssl = SSL_new(c->ctx);
    SSL_set_fd(c->ssl, c->raw.fd);
    if (w->host != NULL)
        SSL_set_tlsext_host_name(c->ssl, w->host);
}

static bool shake_hands(struct client *c)
{
    struct timeval limit = {.tv_sec = 20};

    setsockopt(c->raw.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return SSL_connect(c->ssl) == 1;
}

static void open_client(struct client *c, const struct want *w)
{
    prepare(c, w);
    ck_assert(shake_hands(c));
}

static void say(struct client *c, const char *text)
{
    size_t n = strlen(text), written;

    ck_assert_int_eq(SSL_write_ex(c->ssl, text, n, &written), 1);
    ck_assert_uint_eq(n, written);
}

/* Everything up to and with the text; false when the server ends first. */
static bool hear(struct client *c, const char *text)
{
    char *at;
    size_t more;

    for (;;) {
        at = c->n > 0 ? strstr(c->got, text) : NULL;
        if (at != NULL)
            break;
        if (c->cap - c->n < 65537)
            c->got = realloc(c->got, c->cap += 1 << 20);
        if (SSL_read_ex(c->ssl, c->got + c->n, 65536, &more) != 1)
            return false;
        c->n += more;
        c->got[c->n] = '\0';
    }
    at += strlen(text);
    c->n -= (size_t) (at - c->got);
    memmove(c->got, at, c->n + 1);
    return true;
}

static void close_client(struct client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->ctx);
    raw_close(&c->raw);
    free(c->got);
}

/* A handshake that works, and a publish to itself. */
static void works(const struct want *w, const char *connect)
{
    struct client c;

    open_client(&c, w);
    if (w->no_info)
        ck_assert(hear(&c, "\r\n"));
    say(&c, "CONNECT {\"verbose\":false");
    say(&c, connect);
    say(&c, "}\r\nSUB a.* 1\r\nPUB a.b 5\r\nhello\r\nPING\r\n");
    ck_assert(hear(&c, "MSG a.b 1 5\r\nhello\r\n"));
    ck_assert(hear(&c, "PONG\r\n"));
    close_client(&c);
}

static void fails(const struct want *w)
{
    struct client c;
    char byte;

    prepare(&c, w);
    /* With TLS 1.3 the client is done before the server has looked at its certificate. */
    ck_assert(!shake_hands(&c) || SSL_read(c.ssl, &byte, 1) <= 0);
    if (w->alert != 0)
        ck_assert_int_eq(ERR_GET_REASON(ERR_peek_last_error()), w->alert);
    ERR_clear_error();
    close_client(&c);
}

/* ---- getting in ------------------------------------------------------------------------------ */

TEST(info_asks_for_it)
{
    struct raw_client r;
    char *line;

    start(i, "tls { " CERT " }\n");
    server_process_log_wait(&server, "TLS required for client connections");
    raw_open(&r, server.port);
    line = raw_line(&r);
    ck_assert_ptr_nonnull(strstr(line, "\"tls_required\":true"));
    ck_assert_ptr_null(strstr(line, "tls_verify"));
    ck_assert_ptr_null(strstr(line, "tls_available"));
    free(line);
    raw_close(&r);
    works(&(struct want){0}, "");
    works(&(struct want){.max_version = TLS1_2_VERSION}, "");
    fails(&(struct want){.max_version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"});
    stop();
}

TEST(a_plain_client_is_closed)
{
    struct raw_client r;

    start(i, "tls { " CERT " }\n");
    raw_open(&r, server.port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "CONNECT {}\r\nPING\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    server_process_log_wait(&server, "first record does not look like a TLS handshake");
    server_process_log_wait(&server, "TLS Handshake Failure");
    works(&(struct want){0}, "");
    stop();
}

TEST(who_does_not_begin_is_closed)
{
    struct raw_client r;

    start(i, "tls { " CERT ", timeout: 0.2 }\n");
    raw_open(&r, server.port);
    raw_skip(&r, "\r\n");
    raw_expect(&r, "-ERR 'Secure Connection - TLS Required'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    server_process_log_wait(&server, "TLS handshake timeout");
    stop();
}

TEST(who_does_not_go_on_is_closed)
{
    struct raw_client r;

    start(i, "tls { " CERT ", timeout: 0.2 }\n");
    raw_open(&r, server.port);
    raw_skip(&r, "\r\n");
    raw_send_bytes(&r, "\x16\x03\x01\x02\x00\x01", 6);
    raw_expect_end(&r);
    raw_close(&r);
    server_process_log_wait(&server, "TLS handshake timeout");
    stop();
}

/* The first that has something to say. */
static struct raw_client *who_speaks(struct raw_client *r, int n)
{
    struct pollfd p[64];

    for (int k = 0; k < n; k++) {
        if (r[k].n > 0)
            return &r[k];
        p[k] = (struct pollfd){.fd = r[k].fd, .events = POLLIN};
    }
    ck_assert_int_gt(poll(p, (nfds_t) n, 20000), 0);
    for (int k = 0; k < n; k++)
        if (p[k].revents != 0)
            return &r[k];
    return NULL;
}

TEST(only_so_many_begin_in_a_second)
{
    const char text[] = "-ERR 'Connection throttling is active. Please try again later.'\r\n";
    struct raw_client r[40], *told;

    start(i, "tls { " CERT ", connection_rate_limit: 2, timeout: 30 }\n");
    /* Whatever the machine is busy with: three of them begin within a second. */
    for (int k = 0; k < 40; k++)
        raw_open(&r[k], server.port);
    for (int k = 0; k < 40; k++)
        raw_skip(&r[k], "}\r\n");
    told = who_speaks(r, 40);
    raw_expect(told, text);
    raw_expect_end(told);
    server_process_log_wait(&server, "Connection throttling is active");
    for (int k = 0; k < 40; k++)
        raw_close(&r[k]);
    stop();
}

TEST(garbage_is_closed)
{
    struct raw_client r;
    char bytes[4096];

    start(i, "tls { " CERT " }\n");
    memset(bytes, 0x16, sizeof(bytes));
    raw_open(&r, server.port);
    raw_skip(&r, "\r\n");
    raw_send_bytes(&r, bytes, sizeof(bytes));
    server_process_log_wait(&server, "TLS handshake error");
    raw_close(&r);
    works(&(struct want){0}, "");
    stop();
}

TEST(the_handshake_may_come_first)
{
    struct raw_client r;

    start(i, "tls { " CERT ", handshake_first: true, timeout: 0.3 }\n");
    works(&(struct want){.no_info = true}, "");
    raw_open(&r, server.port);
    raw_expect(&r, "-ERR 'Secure Connection - TLS Required'\r\n"); /* and no INFO */
    raw_expect_end(&r);
    raw_close(&r);
    stop();
}

TEST(info_comes_after_a_while)
{
    start(i, "tls { " CERT ", handshake_first: '300ms' }\n");
    works(&(struct want){.no_info = true}, "");
    works(&(struct want){0}, "");
    stop();
}

TEST(plain_clients_may_be_allowed)
{
    struct raw_client r;
    char *line;

    start(i, "allow_non_tls: true\ntls { " CERT " }\n");
    raw_open(&r, server.port);
    line = raw_line(&r);
    ck_assert_ptr_null(strstr(line, "\"tls_required\""));
    ck_assert_ptr_nonnull(strstr(line, "\"tls_available\":true"));
    free(line);
    raw_send(&r, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    raw_expect(&r, "PONG\r\n");
    works(&(struct want){0}, "");
    raw_fence(&r);
    raw_close(&r);
    stop();
}

/* ---- certificates of clients ----------------------------------------------------------------- */

TEST(clients_need_a_certificate)
{
    struct raw_client r;
    char *line;

    start(i, "tls { " CERT ", ca_file: '~/ca.pem', verify: true }\n");
    raw_open(&r, server.port);
    line = raw_line(&r);
    ck_assert_ptr_nonnull(strstr(line, "\"tls_verify\":true"));
    free(line);
    raw_close(&r);
    fails(&(struct want){0});
    fails(&(struct want){.cert = "stranger", .alert = SSL_R_TLSV1_ALERT_UNKNOWN_CA});
    fails(&(struct want){.cert = "impostor", .alert = SSL_R_TLSV1_ALERT_UNKNOWN_CA});
    works(&(struct want){.cert = "client"}, "");
    stop();
}

TEST(a_certificate_says_who_it_is)
{
    static const char *const names[] = {"derek@nats.io", "dns.nats.io", "CN=client", "cn= client"};
    struct client c;
    char text[512];

    snprintf(text, sizeof(text),
             "tls { " CERT ", ca_file: '~/ca.pem', verify_and_map: true }\n"
             "authorization { users: [ { user: '%s', permissions: { publish: 'a.*', subscribe: "
             "'a.*' } } ] }\n",
             names[i]);
    start(0, text);
    works(&(struct want){.cert = "client"}, "");
    open_client(&c, &(struct want){.cert = "client"});
    say(&c, "CONNECT {\"verbose\":false}\r\nPUB b 0\r\n\r\n");
    ck_assert(hear(&c, "-ERR 'Permissions Violation for Publish to \"b\"'\r\n"));
    close_client(&c);
    /* One of the same authority with other names. */
    open_client(&c, &(struct want){.cert = "second"});
    say(&c, "CONNECT {\"user\":\"derek@nats.io\"}\r\n");
    ck_assert(hear(&c, "-ERR 'Authorization Violation'\r\n"));
    ck_assert(!hear(&c, "anything"));
    close_client(&c);
    stop();
}

TEST(certificates_may_be_pinned)
{
    char text[512], pin[65];

    server_process_init(&server);
    certs_make(server.dir);
    certs_pin(file_of("client", "pem"), pin);
    snprintf(text, sizeof(text),
             "tls { " CERT ", ca_file: '~/ca.pem', verify: true, pinned_certs: ['%s'] }\n", pin);
    write_config(text);
    server.args[0] = "-c";
    server.args[1] = config;
    server_process_start(&server);
    works(&(struct want){.cert = "client"}, "");
    fails(&(struct want){.cert = "second"});
    server_process_log_wait(&server, "certificate not pinned");
    stop();
}

TEST(versions_and_suites_are_obeyed)
{
    start(0, "tls { " CERT ", min_version: '1.3' }\n");
    fails(&(struct want){.max_version = TLS1_2_VERSION});
    works(&(struct want){0}, "");
    stop();
    start(0, "tls { " CERT ", cipher_suites: ['TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256'], "
             "curve_preferences: [CurveP384] }\n");
    fails(
        &(struct want){.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384"});
    works(&(struct want){.max_version = TLS1_2_VERSION, .ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"},
          "");
    stop();
}

/* ---- what is sent ---------------------------------------------------------------------------- */

/* The client's records one byte at a time. */
TEST(a_handshake_in_pieces)
{
    struct client c;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    char bytes[4096];
    ssize_t n;
    int m;

    start(i, "tls { " CERT " }\n");
    prepare(&c, &(struct want){0});
    SSL_set_bio(c.ssl, in, out);
    SSL_set_connect_state(c.ssl);
    while (SSL_do_handshake(c.ssl) != 1 || BIO_pending(out) > 0) {
        while ((m = BIO_read(out, bytes, sizeof(bytes))) > 0)
            for (int k = 0; k < m; k++)
                raw_send_bytes(&c.raw, bytes + k, 1);
        if (SSL_is_init_finished(c.ssl))
            break;
        n = recv(c.raw.fd, bytes, 100, 0);
        ck_assert_int_gt(n, 0);
        ck_assert_int_eq(BIO_write(in, bytes, (int) n), (int) n);
    }
    say(&c, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    m = BIO_read(out, bytes, sizeof(bytes));
    for (int k = 0; k < m; k++)
        raw_send_bytes(&c.raw, bytes + k, 1);
    do {
        n = recv(c.raw.fd, bytes, 7, 0);
        ck_assert_int_gt(n, 0);
        BIO_write(in, bytes, (int) n);
        m = SSL_read(c.ssl, bytes, sizeof(bytes));
    } while (m <= 0);
    ck_assert_mem_eq(bytes, "PONG\r\n", 6);
    close_client(&c);
    stop();
}

/* Many small ones and a few big ones, there and back: more than buffers hold. */
TEST(what_is_sent_arrives)
{
    enum { BIG = 900000, SMALL = 20000, ROUNDS = 3 };
    struct client c;
    char *big = malloc(BIG + 64);
    char line[64];
    size_t head;

    start(i, "tls { " CERT " }\n");
    open_client(&c, &(struct want){0});
    say(&c, "CONNECT {\"verbose\":false}\r\nSUB s 1\r\nSUB b 2\r\nPING\r\n");
    ck_assert(hear(&c, "PONG\r\n"));
    head = (size_t) snprintf(big, 64, "PUB b %d\r\n", BIG);
    for (unsigned r = 0; r < ROUNDS; r++) {
        memset(big + head, 'a' + (int) r, BIG);
        memcpy(big + head + BIG, "\r\n", 3);
        say(&c, big);
        snprintf(line, sizeof(line), "MSG b 2 %d\r\n", BIG);
        ck_assert(hear(&c, line));
        ck_assert(hear(&c, "\r\n"));
        for (unsigned k = 0; k < SMALL / ROUNDS; k++) {
            snprintf(line, sizeof(line), "PUB s 5\r\n%05u\r\n", k);
            say(&c, line);
        }
        for (unsigned k = 0; k < SMALL / ROUNDS; k++) {
            snprintf(line, sizeof(line), "MSG s 1 5\r\n%05u\r\n", k);
            ck_assert(hear(&c, line));
        }
    }
    close_client(&c);
    free(big);
    stop();
}

/* Acknowledgements take another way out than messages. */
TEST(streams_acknowledge)
{
    struct client c;
    char line[128];

    start(i, "jetstream { store_dir: '~/js' }\ntls { " CERT " }\n");
    open_client(&c, &(struct want){0});
    say(&c, "CONNECT {\"verbose\":false}\r\nSUB in.* 1\r\n"
            "PUB $JS.API.STREAM.CREATE.S in.0 29\r\n{\"name\":\"S\",\"subjects\":[\"s\"]}\r\n");
    ck_assert(hear(&c, "\"did_create\":true"));
    for (unsigned k = 1; k <= 2000; k++) {
        snprintf(line, sizeof(line), "PUB s in.%u 100\r\n%0100u\r\n", k, k);
        say(&c, line);
    }
    for (unsigned k = 1; k <= 2000; k++) {
        snprintf(line, sizeof(line), "{\"stream\":\"S\",\"seq\":%u}\r\n", k);
        ck_assert(hear(&c, line));
    }
    close_client(&c);
    stop();
}

/* An error is the last thing that a client hears, and then the end of the session. */
TEST(the_last_words_arrive)
{
    struct client c;
    char byte;

    start(i, "tls { " CERT " }\n");
    open_client(&c, &(struct want){0});
    say(&c, "CONNECT {\"verbose\":false}\r\nNONSENSE\r\n");
    ck_assert(hear(&c, "-ERR 'Unknown Protocol Operation'\r\n"));
    ck_assert_int_le(SSL_read(c.ssl, &byte, 1), 0);
    ck_assert_int_eq(SSL_get_error(c.ssl, 0), SSL_ERROR_ZERO_RETURN);
    close_client(&c);
    stop();
}

TEST(slow_passwords_work)
{
    struct client c;

    /* bcrypt of "pwd", cost 4. */
    start(i, "tls { " CERT " }\nauthorization { user: u, password: "
             "'$2a$04$abcdefghijklmnopqrstuuqtiI0Tl5F/fxfNcbXsmpm7lUDL4dq6G' }\n");
    works(&(struct want){0}, ",\"user\":\"u\",\"pass\":\"pwd\"");
    open_client(&c, &(struct want){0});
    say(&c, "CONNECT {\"verbose\":false,\"user\":\"u\",\"pass\":\"no\"}\r\nPING\r\n");
    ck_assert(hear(&c, "-ERR 'Authorization Violation'\r\n"));
    close_client(&c);
    stop();
}

/* ---- reload ---------------------------------------------------------------------------------- */

static void name_for_is(const char *host, const char *name)
{
    struct client c;
    char text[128];

    open_client(&c, &(struct want){.host = host});
    X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(c.ssl)),
                              NID_commonName, text, sizeof(text));
    ck_assert_str_eq(text, name);
    close_client(&c);
}

static void server_name_is(const char *name)
{
    name_for_is(NULL, name);
}

TEST(a_name_chooses_the_certificate)
{
    start(i, "tls { certs: [ {" CERT "}, {cert_file: '~/second.pem', key_file: '~/second.key'} ] "
             "}\n");
    server_name_is("server");
    name_for_is("localhost", "server");
    name_for_is("second.test", "second");
    name_for_is("nobody.test", "server");
    works(&(struct want){.host = "second.test"}, "");
    works(&(struct want){.host = "second.test", .max_version = TLS1_2_VERSION}, "");
    write_config("tls { certs: [ {cert_file: '~/second.pem', key_file: '~/second.key'} ] }\n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Reloaded server configuration");
    name_for_is("localhost", "second");
    stop();
}

TEST(a_reload_changes_certificates)
{
    struct client old;

    start(i, "tls { " CERT " }\n");
    server_name_is("server");
    open_client(&old, &(struct want){0});
    write_config("tls { cert_file: '~/second.pem', key_file: '~/second.key' }\n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Reloaded server configuration");
    server_name_is("second");
    say(&old, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    ck_assert(hear(&old, "PONG\r\n"));
    write_config("tls { cert_file: '~/none.pem', key_file: '~/second.key' }\n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Failed to reload server configuration: error parsing X509 "
                                     "certificate/key pair: open ");
    server_name_is("second");
    say(&old, "PING\r\n");
    ck_assert(hear(&old, "PONG\r\n"));
    close_client(&old);
    stop();
}

/* Who is in between may put something behind the hub's INFO, before the handshake: none of it
 * counts. */
TEST(nothing_comes_before_the_handshake)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct raw_client liar = {0}, e;
    char text[256];

    ck_assert_int_eq(bind(fd, (struct sockaddr *) &a, n), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &a, &n), 0);
    snprintf(text, sizeof(text),
             "leafnodes { reconnect: \"50ms\", remotes: [ { url: \"tls://127.0.0.1:%u\", "
             "first_info_timeout: \"20s\", tls { insecure: true } } ] }",
             ntohs(a.sin_port));
    start(i, text);
    raw_hello(&e, server.port, "");
    raw_send(&e, "SUB x 1\r\n");
    raw_fence(&e);
    liar.fd = accept(fd, NULL, NULL);
    ck_assert_int_ge(liar.fd, 0);
    raw_send(&liar, "INFO {\"client_id\":1,\"leafnode_urls\":[\"a\"],\"tls_required\":true,"
                    "\"info_on_connect\":true}\r\nINFO {\"connect_info\":true}\r\n"
                    "LMSG x 1\r\n!\r\n");
    server_process_log_wait(&server, "Leafnode connection closed: TLS Handshake Failure");
    raw_fence(&e);
    ck_assert(!server_process_log_has(&server, "Leafnode connection established"));
    raw_close(&liar);
    close(fd);
    raw_close(&e);
    stop();
}

static const struct runner_case cases[] = {
    RUN_LOOP(info_asks_for_it, 0, 3),
    RUN_LOOP(a_plain_client_is_closed, 0, 3),
    RUN_LOOP(who_does_not_begin_is_closed, 0, 3),
    RUN_LOOP(only_so_many_begin_in_a_second, 0, 3),
    RUN_LOOP(who_does_not_go_on_is_closed, 0, 3),
    RUN_LOOP(garbage_is_closed, 0, 3),
    RUN_LOOP(the_handshake_may_come_first, 0, 3),
    RUN_LOOP(info_comes_after_a_while, 0, 3),
    RUN_LOOP(plain_clients_may_be_allowed, 0, 3),
    RUN_LOOP(clients_need_a_certificate, 0, 3),
    RUN_LOOP(a_certificate_says_who_it_is, 0, 4),
    RUN(certificates_may_be_pinned),
    RUN(versions_and_suites_are_obeyed),
    RUN_LOOP(a_handshake_in_pieces, 0, 3),
    RUN_LOOP(what_is_sent_arrives, 0, 3),
    RUN_LOOP(streams_acknowledge, 0, 3),
    RUN_LOOP(the_last_words_arrive, 0, 3),
    RUN_LOOP(slow_passwords_work, 0, 3),
    RUN_LOOP(a_name_chooses_the_certificate, 0, 3),
    RUN_LOOP(a_reload_changes_certificates, 0, 3),
    RUN_LOOP(nothing_comes_before_the_handshake, 0, 2),
};

RUNNER_MAIN("api/tls", cases)
