/*
 * test_secrets.c - no secret in the log, at any level: a server that logs all it can is shown
 * secrets in every way there is, at every door, right ones and wrong ones; then its log is searched
 * for them, as they are and in base64 at every alignment.
 */
#include "lib/base/base64.h"
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/token.h"
#include "tests/lib/ws_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define SECRET "s3cret-Wort" /* what must not be seen; all cases have it */
#define WRONG "wr0ng-Wort-too"

static struct server_process server;

static void start(const char *conf)
{
    server_process_init(&server);
    server.args[0] = "-c";
    server.args[1] = strdup(server_process_config(&server, conf));
    server.args[2] = "-DVV";
    server_process_start(&server);
}

/* Bytes that base64 makes of the secret whatever stands before and behind it. */
static void search_base64(const char *secret)
{
    for (size_t before = 0; before < 3; before++) {
        struct buf plain = {0}, text = {0};
        size_t cut;
        buf_put(&plain, "xxx", before);
        buf_puts(&plain, secret);
        cut = plain.n % 3;
        plain.n -= cut;
        base64_encode(&text, buf_str(&plain));
        ck_assert_msg(!server_process_log_has(&server, buf_cstr(&text) + (before > 0 ? 4 : 0)),
                      "base64 of %s", secret);
        buf_free(&plain);
        buf_free(&text);
    }
}

static void search(const char *secret)
{
    ck_assert_msg(!server_process_log_has(&server, secret), "%s", secret);
    search_base64(secret);
}

static void stop(void)
{
    server_process_stop(&server); /* all has been written */
    search(SECRET);
    search(WRONG);
    server_process_deinit(&server);
}

/* An answer, or the end. */
static void hear_anything(struct raw_client *r)
{
    struct timeval limit = {.tv_sec = 20};
    char bytes[512];

    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    ck_assert(recv(r->fd, bytes, sizeof(bytes), 0) >= 0 || errno == ECONNRESET);
}

/* Comes, says who it is, sends something, is let in or not. */
static void come(const char *fields)
{
    struct raw_client r;
    char text[3000];

    raw_open(&r, server.port);
    raw_skip(&r, "\r\n");
    snprintf(text, sizeof(text), "CONNECT {\"verbose\":false%s%s}\r\nPING\r\n",
             fields[0] != '\0' ? "," : "", fields);
    raw_send(&r, text);
    hear_anything(&r);
    raw_close(&r);
}

TEST(of_clients)
{
    static const struct {
        const char *conf, *right, *wrong;
    } rows[] = {
        {"authorization { user: u, password: '" SECRET "' }\n",
         "\"user\":\"u\",\"pass\":\"" SECRET "\"", "\"user\":\"u\",\"pass\":\"" WRONG "\""},
        {"authorization { token: '" SECRET "' }\n", "\"auth_token\":\"" SECRET "\"",
         "\"auth_token\":\"" WRONG "\""},
        /* A name without a password is a token in many clients' eyes. */
        {"authorization { token: '" SECRET "' }\n", "\"user\":\"" SECRET "\"",
         "\"user\":\"x\",\"pass\":\"" WRONG "\""},
        {"accounts { A { users: [{ user: u, password: '" SECRET "' }] } }\n",
         "\"user\":\"u\",\"pass\":\"" SECRET "\"", "\"user\":\"u\",\"pass\":\"" WRONG "\""},
        /* Hidden in escapes, in capital letters, in what is none of CONNECT, in no JSON at all. */
        {"authorization { user: u, password: '" SECRET "' }\n",
         "\"user\":\"u\",\"p\\u0061ss\":\"" SECRET "\"", "\"PASS\":\"" WRONG "\""},
        {"authorization { user: u, password: '" SECRET "' }\n",
         "\"password\":\"" SECRET "\",\"x\":{\"pass\":\"" SECRET "\"}",
         "\"user\":\"u\",\"pass\":\"" WRONG},
        {"authorization { user: u, password: '" SECRET "' }\n",
         "\"jwt\":\"" SECRET "\",\"sig\":\"" SECRET "\"",
         "\"nkey\":\"x\",\"sig\":\"" WRONG "\",\"proxy_sig\":\"" WRONG "\""},
        {"jetstream { key: '" SECRET "', store_dir: '~/js' }\n", "", ""},
    };

    start(rows[i].conf);
    come(rows[i].right);
    come(rows[i].wrong);
    stop();
}

TEST(of_tokens)
{
    struct signer op, account, user;
    char conf[4000], fields[3000], *of_account, *of_user;
    struct str tail;

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&account, NKEY_ACCOUNT, 1);
    signer_make(&user, NKEY_USER, 1);
    of_account = token_make(&op, JWT_ACCOUNT, account.key, "A", UNLIMITED);
    of_user = token_make(&account, JWT_USER, user.key, "u",
                         "\"subs\":-1,\"data\":-1,\"payload\":-1,\"bearer_token\":true");
    snprintf(conf, sizeof(conf),
             "trusted_keys: %s\nresolver: MEMORY\nresolver_preload { %s: %s }\n", op.key,
             account.key, of_account);
    start(conf);
    snprintf(fields, sizeof(fields), "\"jwt\":\"%s\"", of_user);
    come(fields);
    /* Its signature, without which it is of no use. */
    tail = str_of(of_user);
    tail = str_skip(tail, tail.n - 60);
    ck_assert(!server_process_log_has(&server, tail.p));
    mem_free(of_account);
    mem_free(of_user);
    stop();
}

/* Whoever is asked about clients gets their passwords. */
TEST(of_clients_that_a_service_is_asked_about)
{
    struct signer issuer;
    struct raw_client s, c;
    struct raw_msg m;
    char conf[600];

    signer_make(&issuer, NKEY_ACCOUNT, 1);
    snprintf(conf, sizeof(conf),
             "authorization { timeout: 1, users: [{ user: auth, password: '" WRONG "' }],\n"
             "auth_callout { issuer: %s, auth_users: [auth] } }\n",
             issuer.key);
    start(conf);
    raw_hello(&s, server.port, "\"user\":\"auth\",\"pass\":\"" WRONG "\",\"headers\":true");
    raw_send(&s, "SUB $SYS.REQ.USER.AUTH 1\r\nPING\r\n");
    raw_skip(&s, "PONG\r\n");
    raw_open(&c, server.port);
    raw_skip(&c, "\r\n");
    raw_send(&c, "CONNECT {\"user\":\"u\",\"pass\":\"" SECRET "\"}\r\nPING\r\n");
    raw_msg(&s, &m);
    ck_assert_str_eq(m.subject, "$SYS.REQ.USER.AUTH");
    free(m.body);
    raw_close(&c);
    raw_close(&s);
    stop();
}

TEST(of_browsers)
{
    static const char *const kinds[] = {"user_cookie", "pass_cookie", "token_cookie"};
    struct ws_client w;
    char conf[300];

    snprintf(conf, sizeof(conf),
             "websocket { listen: '127.0.0.1:-1', no_tls: true, %s: c }\n"
             "authorization { user: u, password: '" SECRET "' }\n",
             kinds[i]);
    start(conf);
    free(ws_open(&w, server.ws_port, "Cookie: c=" WRONG "\r\n"));
    ws_say(&w, "CONNECT {\"user\":\"u\",\"pass\":\"" SECRET "\"}\r\nPING\r\n");
    free(ws_hear(&w, "\r\n"));
    ws_close(&w);
    stop();
}

static void kafka_request(struct raw_client *r, uint8_t key, uint8_t version, const char *body,
                          size_t n)
{
    char bytes[256] = {0};
    size_t total = 10 + n;

    bytes[3] = (char) total;
    bytes[5] = (char) key;
    bytes[7] = (char) version;
    bytes[11] = 1;
    bytes[12] = bytes[13] = (char) 0xff;
    memcpy(bytes + 14, body, n);
    raw_send_bytes(r, bytes, 4 + total);
    {
        char *head = raw_take(r, 4);
        free(raw_take(r, (size_t) (unsigned char) head[2] << 8 | (unsigned char) head[3]));
        free(head);
    }
}

TEST(of_kafka_clients)
{
    static const char right[] = "\0\0\0\0\0u\0" SECRET, wrong[] = "\0\0\0\0\0u\0" WRONG;
    const char *said[] = {right, wrong};
    const size_t sizes[] = {sizeof(right) - 1, sizeof(wrong) - 1};

    start("kafka { listen: '127.0.0.1:-1' }\njetstream { store_dir: '~/js' }\n"
          "authorization { user: u, password: '" SECRET "' }\n");
    for (int k = 0; k < 2; k++) {
        struct raw_client r;
        char body[64];
        raw_open(&r, server.kafka_port);
        kafka_request(&r, 17, 1, "\0\5PLAIN", 7);
        memcpy(body, said[k], sizes[k]);
        body[3] = (char) (sizes[k] - 4);
        kafka_request(&r, 36, 0, body, sizes[k]);
        raw_close(&r);
    }
    stop();
}

TEST(of_leaf_nodes)
{
    struct raw_client r;

    start("leafnodes { listen: '127.0.0.1:-1', authorization { user: u, password: '" SECRET "' },\n"
          "remotes: [{ url: 'nats://u:" WRONG "@127.0.0.1:1' },\n"
          "{ url: 'ws://127.0.0.1:2', proxy { url: 'http://127.0.0.1:3', username: u, password: "
          "'" WRONG "' } }] }\n");
    server_process_log_wait(&server, "failed to connect to proxy");
    for (int k = 0; k < 3; k++) {
        raw_open(&r, server.leaf_port);
        raw_skip(&r, "\r\n");
        raw_send(&r, k == 2   ? "CONNECT {\"user\":\"u\",\"pass\":\"" WRONG "}\r\n"
                     : k == 0 ? "CONNECT {\"user\":\"u\",\"pass\":\"" SECRET "\"}\r\n"
                              : "CONNECT {\"user\":\"u\",\"pass\":\"" WRONG "\"}\r\n");
        hear_anything(&r);
        raw_close(&r);
    }
    stop();
}

TEST(of_monitoring_and_reloads)
{
    struct raw_client r;

    start("authorization { user: u, password: '" SECRET "' }\n");
    raw_open(&r, server.http_port);
    raw_send(&r, "GET /connz?auth=" SECRET " HTTP/1.1\r\nAuthorization: Basic " SECRET
                 "\r\nConnection: close\r\n\r\n");
    free(raw_line(&r));
    raw_close(&r);
    server_process_config(&server, "authorization { user: u, password: '" WRONG "' }\n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Reloaded server configuration");
    server_process_config(&server, "authorization { user: u, password: { x: '" WRONG "' } }\n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Failed to reload server configuration");
    server_process_config(&server, "authorization { user: u, password: '" WRONG "' \n");
    kill(server.pid, SIGHUP);
    server_process_log_wait(&server, "Failed to reload server configuration");
    stop();
}

static const struct runner_case cases[] = {
    RUN_LOOP(of_clients, 0, 8),
    RUN(of_tokens),
    RUN(of_clients_that_a_service_is_asked_about),
    RUN_LOOP(of_browsers, 0, 3),
    RUN(of_kafka_clients),
    RUN(of_leaf_nodes),
    RUN(of_monitoring_and_reloads),
};

RUNNER_MAIN("api/secrets", cases)
