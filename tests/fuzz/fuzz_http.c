/*
 * fuzz_http.c - any bytes on a connection to the monitoring port: paths, queries, headers, several
 * requests in a row. With two connections to report, made up here instead of asked from workers.
 *
 * The listener is a real one on 127.0.0.1. The loop runs in this thread; loopback delivers at once,
 * so a few turns of it see everything through. The client ends with a reset, which leaves no socket
 * behind in TIME_WAIT.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/monitor/monitor.h"
#include "server/monitor/monitor_int.h"
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TURNS 8

struct host {
    struct event_base *base;
    struct monitor *monitor;
    struct reports *reports;
    struct account_set *accounts;
    struct options options;
    uint16_t port;
};

static void fill(struct query *q)
{
    struct part *part = &q->parts[0];

    part->nconns = 2;
    part->conns = mem_zalloc(2 * sizeof(*part->conns));
    part->conns[0].info.cid = 5;
    part->conns[1].info.cid = 7;
    part->conns[0].info.type = part->conns[1].info.type = "nats";
    part->conns[0].info.reason = part->conns[1].info.reason = "Client Closed";
    part->subs = json_array();
    part->bad = json_array();
    part->accounts = mem_zalloc(2 * sizeof(*part->accounts));
    part->naccounts = 2;
}

static void collect(void *ctx, struct monitor_collect *what)
{
    (void) ctx;
    fill(CONTAINER_OF(what, struct query, collect));
    what->done(what);
}

static const char *unhealthy(void *ctx)
{
    (void) ctx;
    return NULL;
}

static void open_host(struct host *h)
{
    char why[256];

    options_init(&h->options);
    h->base = event_base_new();
    h->accounts = account_set_open(1);
    h->reports = reports_open(&(struct monitor_host){
        .ctx = h,
        .workers = 1,
        .collect = collect,
        .options = &h->options,
        .accounts = h->accounts,
        .account = account_set_add(h->accounts, STR("$G")),
        .system_account = account_set_add(h->accounts, STR("$SYS")),
        .server_id = "NFUZZ",
        .server_name = "fuzz",
        .version = "2.15.0",
        .git_commit = "",
        .io_backend = "none",
        .io_reason = "a fuzz target",
        .host = "127.0.0.1",
        .unhealthy = unhealthy,
    });
    h->monitor = monitor_open(h->base, h->reports, NULL, "127.0.0.1", &h->port, why);
    ASSERT(h->monitor != NULL);
}

static void turn(struct host *h)
{
    for (int i = 0; i < TURNS; i++)
        event_base_loop(h->base, EVLOOP_NONBLOCK);
}

static void check_answer(const char *bytes, size_t n)
{
    static const char begins[] = "HTTP/";

    if (n >= sizeof(begins) - 1)
        ASSERT(memcmp(bytes, begins, sizeof(begins) - 1) == 0);
}

/* The fuzzer's alarm may interrupt, and ports may be short for a moment. */
static int dial(const struct host *h)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(h->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT(fd >= 0);
    if (connect(fd, (const struct sockaddr *) &to, sizeof(to)) == 0)
        return fd;
    ASSERT(errno == EINTR || errno == EADDRNOTAVAIL);
    close(fd);
    return -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct host host;
    struct linger reset = {.l_onoff = 1};
    char answer[4096];
    ssize_t n;
    int fd;

    if (host.base == NULL)
        open_host(&host);
    fd = dial(&host);
    if (fd < 0)
        return 0;
    n = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    turn(&host);
    n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
    if (n > 0)
        check_answer(answer, (size_t) n);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    turn(&host);
    return 0;
}
