/*
 * test_resolver_https.c - claims of accounts from a server over HTTPS: by its address and by its
 * name, and not when somebody else signs its certificate.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/child_server.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/signed_client.h"
#include "tests/lib/token.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct server_process server;
static struct signer op, account, user;

/* One request, whose path is the directory's or the account's. */
static void answer(SSL *ssl, const char *token)
{
    char text[2048], head[160], want[128];
    const char *body;
    int n = 0, k;

    do {
        k = SSL_read(ssl, text + n, (int) sizeof(text) - 1 - n);
        n += k > 0 ? k : 0;
        text[n] = '\0';
    } while (k > 0 && strstr(text, "\r\n\r\n") == NULL);
    snprintf(want, sizeof(want), "GET /jwt/%s HTTP/1.1\r\n", account.key);
    body = strncmp(text, "GET /jwt/ HTTP", 14) == 0 ? "here"
           : strncmp(text, want, strlen(want)) == 0 ? token
                                                    : NULL;
    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
             body != NULL ? "200 OK" : "404 Not Found", body != NULL ? strlen(body) : 0);
    SSL_write(ssl, head, (int) strlen(head));
    if (body != NULL)
        SSL_write(ssl, body, (int) strlen(body));
    SSL_shutdown(ssl);
}

struct shop {
    SSL_CTX *ctx;
    const char *token;
};

static void serve_one(void *ctx, int fd)
{
    const struct shop *shop = ctx;
    SSL *ssl = SSL_new(shop->ctx);

    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1)
        answer(ssl, shop->token);
    SSL_free(ssl);
    close(fd);
}

/* The server's certificate is that of ours. */
static pid_t serve(const char *token, uint16_t *port)
{
    struct shop shop = {.ctx = SSL_CTX_new(TLS_server_method()), .token = token};
    char path[256];
    pid_t pid;

    snprintf(path, sizeof(path), "%s/server.pem", server.dir);
    ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(shop.ctx, path), 1);
    snprintf(path, sizeof(path), "%s/server.key", server.dir);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(shop.ctx, path, SSL_FILETYPE_PEM), 1);
    pid = child_server_start(serve_one, &shop, port);
    SSL_CTX_free(shop.ctx);
    return pid;
}

static void make_keys(void)
{
    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&account, NKEY_ACCOUNT, 1);
    signer_make(&user, NKEY_USER, 1);
}

static void configure(const char *host, uint16_t port, const char *ca)
{
    char *token = token_make(&op, JWT_OPERATOR, op.key, "O", ""), text[2048];

    snprintf(text, sizeof(text),
             "operator: %s\nresolver: URL(https://%s:%u/jwt)\n"
             "resolver_tls { ca_file: '~/%s.pem' }\n",
             token, host, port, ca);
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, text);
    mem_free(token);
}

static void come_in(void)
{
    char *token = token_make(&account, JWT_USER, user.key, "u", UNLIMITED_USER);
    struct raw_client r;
    struct buf b = {0};
    char *sig = signed_open(&r, server.port, &user);

    buf_printf(&b, "CONNECT {\"verbose\":false,\"jwt\":\"%s\",\"sig\":\"%s\"}\r\nPING\r\n", token,
               sig);
    raw_send(&r, buf_cstr(&b));
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    buf_free(&b);
    mem_free(sig);
    mem_free(token);
}

TEST(accounts_come_over_https)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost"};
    uint16_t port;
    char *token;
    pid_t pid;

    make_keys();
    server_process_init(&server);
    certs_make(server.dir);
    token = token_make(&op, JWT_ACCOUNT, account.key, "A", UNLIMITED);
    pid = serve(token, &port);
    configure(hosts[i], port, "ca");
    server_process_start(&server);
    come_in();
    child_server_kill(pid);
    server_process_deinit(&server);
    mem_free(token);
}

/* -t does not ask; a start does, and ends. */
TEST(a_stranger_is_not_asked)
{
    char line[2048], command[512];
    uint16_t port;
    pid_t pid;
    FILE *f;
    size_t n;

    make_keys();
    server_process_init(&server);
    certs_make(server.dir);
    pid = serve("x", &port);
    configure("127.0.0.1", port, "stranger");
    snprintf(command, sizeof(command),
             "%s/bin/midge-server -a 127.0.0.1 -p -1 -c %s 2>&1; echo status $?",
             getenv("MIDGE_BUILDDIR") != NULL ? getenv("MIDGE_BUILDDIR") : ".", server.args[1]);
    f = popen(command, "re");
    ck_assert_ptr_nonnull(f);
    n = fread(line, 1, sizeof(line) - 1, f);
    line[n] = '\0';
    pclose(f);
    ck_assert_msg(strstr(line, "could not fetch <\"https://127.0.0.1:") != NULL, "%s", line);
    ck_assert_msg(strstr(line, "status 1") != NULL, "%s", line);
    child_server_kill(pid);
    server_process_deinit(&server);
}

static const struct runner_case cases[] = {
    RUN_LOOP(accounts_come_over_https, 0, 2),
    RUN(a_stranger_is_not_asked),
};

RUNNER_MAIN("api/resolver_https", cases)
