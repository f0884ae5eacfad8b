/*
 * test_leaf_proxy.c - a leaf node that reaches its hub over WebSocket through an HTTP proxy: what
 * the proxy is asked, who gets through, and what is made of a proxy that does not want to.
 */
#include "lib/base/buf.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server_process hub, leaf;

/* ---- a proxy --------------------------------------------------------------------------------- */

static struct {
    int fd;
    uint16_t port, to; /* to: where connections lead, whatever they ask for */
    pthread_t thread;
    const char *says; /* instead of 200; NULL = lets through, "" = nothing at all */
    char asked[2048];
    _Atomic int requests;
} proxy;

static int dial(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(connect(fd, (struct sockaddr *) &a, sizeof(a)), 0);
    return fd;
}

static bool carry(int from, int to)
{
    char bytes[16384];
    ssize_t n = recv(from, bytes, sizeof(bytes), 0);

    return n > 0 && send(to, bytes, (size_t) n, MSG_NOSIGNAL) == n;
}

static void pump(int a)
{
    int b = dial(proxy.to);
    struct pollfd p[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    bool on = true;

    while (on && poll(p, 2, -1) > 0)
        on = (p[0].revents == 0 || carry(a, b)) && (p[1].revents == 0 || carry(b, a));
    close(b);
}

static void serve(int fd)
{
    size_t n = 0;
    ssize_t more;

    do {
        more = recv(fd, proxy.asked + n, sizeof(proxy.asked) - 1 - n, 0);
        n += more > 0 ? (size_t) more : 0;
        proxy.asked[n] = '\0';
    } while (more > 0 && strstr(proxy.asked, "\r\n\r\n") == NULL);
    proxy.requests++;
    if (proxy.says == NULL) {
        static const char yes[] = "HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n";
        ck_assert_int_eq(send(fd, yes, sizeof(yes) - 1, MSG_NOSIGNAL), sizeof(yes) - 1);
        pump(fd);
    } else {
        send(fd, proxy.says, strlen(proxy.says), MSG_NOSIGNAL);
        if (proxy.says[0] == '\0') /* until it gives up */
            recv(fd, proxy.asked, 1, 0);
    }
    close(fd);
}

static void *run(void *ctx)
{
    int fd;

    (void) ctx;
    while ((fd = accept4(proxy.fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
        serve(fd);
    return NULL;
}

static void proxy_open(const char *says)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);

    proxy.says = says;
    proxy.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(proxy.fd, (struct sockaddr *) &a, sizeof(a)), 0);
    ck_assert_int_eq(listen(proxy.fd, 16), 0);
    ck_assert_int_eq(getsockname(proxy.fd, (struct sockaddr *) &a, &n), 0);
    proxy.port = ntohs(a.sin_port);
    ck_assert_int_eq(pthread_create(&proxy.thread, NULL, run, NULL), 0);
}

/* The servers have ended: nobody holds it up. */
static void proxy_close(void)
{
    shutdown(proxy.fd, SHUT_RDWR);
    pthread_join(proxy.thread, NULL);
    close(proxy.fd);
}

/* ---- servers --------------------------------------------------------------------------------- */

static void start(struct server_process *s, const char *conf)
{
    s->args[0] = "-c";
    s->args[1] = strdup(server_process_config(s, conf));
    s->args[2] = "-D";
    server_process_start(s);
}

static void start_hub(bool tls)
{
    char conf[400];

    server_process_init(&hub);
    certs_make(hub.dir);
    snprintf(conf, sizeof(conf),
             "websocket { listen: '127.0.0.1:-1', %s }\n"
             "leafnodes { listen: '127.0.0.1:-1' }\n",
             tls ? "tls { cert_file: '~/server.pem', key_file: '~/server.key' }" : "no_tls: true");
    start(&hub, conf);
    proxy.to = hub.ws_port;
}

/* The name leads nowhere: only the proxy knows it. */
static void start_leaf(const char *scheme, const char *more)
{
    char conf[600];

    server_process_init(&leaf);
    snprintf(conf, sizeof(conf),
             "leafnodes { reconnect: '100ms', remotes: [{ url: '%s://hub.invalid:4711/x', "
             "proxy { url: 'http://127.0.0.1:%u'%s } }] }\n",
             scheme, proxy.port, more);
    start(&leaf, conf);
}

static void stop(void)
{
    server_process_deinit(&leaf);
    if (hub.pid != 0)
        server_process_deinit(&hub);
    proxy_close();
}

/* What is said at the hub is heard at the leaf. */
static void talk(void)
{
    struct raw_client a, b;
    struct raw_msg m;

    raw_hello(&b, leaf.port, "\"lang\":\"c\"");
    raw_send(&b, "SUB a.b 1\r\n");
    raw_fence(&b);
    server_process_log_wait(&hub, "[LS+ a.b]");
    raw_hello(&a, hub.port, "\"lang\":\"c\"");
    raw_send(&a, "PUB a.b 5\r\nhello\r\n");
    raw_fence(&a);
    raw_msg(&b, &m);
    ck_assert_str_eq(m.body, "hello");
    free(m.body);
    raw_close(&a);
    raw_close(&b);
}

TEST(asked_and_passed)
{
    static const char *const more[] = {"", ", username: 'joe', password: 's3cret', timeout: '20s'"};

    proxy_open(NULL);
    start_hub(false);
    start_leaf("ws", more[i]);
    server_process_log_wait(&leaf, "Leafnode connection created for account");
    server_process_log_wait(&leaf, "Leafnode connection established to");
    ck_assert_ptr_eq(strstr(proxy.asked, "CONNECT hub.invalid:4711 HTTP/1.1\r\n"), proxy.asked);
    ck_assert_ptr_nonnull(strstr(proxy.asked, "\r\nHost: hub.invalid:4711\r\n"));
    if (i == 0)
        ck_assert_ptr_null(strstr(proxy.asked, "Proxy-Authorization"));
    else
        ck_assert_ptr_nonnull(
            strstr(proxy.asked, "\r\nProxy-Authorization: Basic am9lOnMzY3JldA==\r\n"));
    ck_assert(!server_process_log_has(&leaf, "s3cret"));
    stop();
}

TEST(messages_come_through)
{
    proxy_open(NULL);
    start_hub(false);
    server_process_stop(&hub);
    hub.args[3] = "-V";
    server_process_start(&hub);
    proxy.to = hub.ws_port;
    start_leaf("ws", "");
    server_process_log_wait(&leaf, "Leafnode connection established to");
    talk();
    stop();
}

TEST(tls_behind_it)
{
    proxy_open(NULL);
    start_hub(true);
    server_process_init(&leaf);
    char conf[600];
    snprintf(conf, sizeof(conf),
             "leafnodes { remotes: [{ url: 'wss://127.0.0.1:4711', tls { ca_file: '%s/ca.pem' }, "
             "proxy { url: 'http://127.0.0.1:%u' } }] }\n",
             hub.dir, proxy.port);
    start(&leaf, conf);
    server_process_log_wait(&leaf, "TLS handshake complete");
    server_process_log_wait(&leaf, "Leafnode connection established to");
    stop();
}

TEST(one_that_does_not_want_to)
{
    static const struct {
        const char *says, *log;
    } rows[] = {
        {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno",
         "proxy CONNECT failed: 407 Proxy Authentication Required"},
        {"HTTP/1.1 302 Found\r\nLocation: x\r\n\r\n", "proxy CONNECT failed: 302 Found"},
        {"SSH-2.0\r\n\r\n", "failed to read proxy response: malformed HTTP response"},
        {"HTTP/1.1 200 OK\r\n\r\nx", "failed to read proxy response: more than its head"},
        {"", "failed to read proxy response: i/o timeout"},
    };

    proxy_open(rows[i].says);
    start_leaf("ws", ", timeout: '300ms'");
    server_process_log_wait(&leaf, rows[i].log);
    ck_assert_int_ge(proxy.requests, 1);
    stop();
}

TEST(nobody_there)
{
    proxy_open(NULL);
    proxy_close();
    start_leaf("ws", "");
    server_process_log_wait(&leaf, "failed to connect to proxy: Connection refused");
    server_process_deinit(&leaf);
}

static const struct runner_case cases[] = {
    RUN_LOOP(asked_and_passed, 0, 2),          RUN(messages_come_through), RUN(tls_behind_it),
    RUN_LOOP(one_that_does_not_want_to, 0, 5), RUN(nobody_there),
};

RUNNER_MAIN("api/leaf_proxy", cases)
