/*
 * test_strangers.c - who has not said who it is costs no more than a fixed amount at any door
 * (docs/internals/auth.md, "Strangers"): one that sends without end is closed early, and many that
 * send as much as they may leave the server's memory where it was, but for so much each.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/ws_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define EACH (160u << 10) /* what the page promises */
#define SLACK (16u << 20) /* of a process that begins to work */
#define STRANGERS 200

static struct server_process server;

#define DOORS                                                                                      \
    "authorization { user: u, password: p, timeout: 60 }\n"                                        \
    "websocket { listen: '127.0.0.1:-1', no_tls: true, compression: true }\n"                      \
    "leafnodes { listen: '127.0.0.1:-1', authorization { user: u, password: p, timeout: 60 } }\n"  \
    "kafka { listen: '127.0.0.1:-1' }\njetstream { store_dir: '~/js' }\n"

static void start(void)
{
    server_process_init(&server);
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, DOORS);
    server_process_start(&server);
}

/* What each door is sent: first, then the same again and again. */
static const struct {
    const char *name, *first, *again;
    size_t first_n;
} ways[] = {
    {"clients", "CONNECT {\"user\":\"", "xxxxxxxxxxxxxxxx", 0},
    {"clients", "", "PUB a 1000000\r\nxxxxxxxxxxxxxxxxxxxxxxxx", 0},
    {"clients", "", "PING\r\nPING\r\nPING\r\nPING\r\n", 0},
    {"clients", "", "SUB a 1\r\n", 0},
    {"websocket", "GET / HTTP/1.1\r\nX: ", "xxxxxxxxxxxxxxxx", 0},
    {"websocket", "GET / HTTP/1.1\r\n", "X: xxxxxxxxxxxx\r\n", 0},
    {"leafs", "CONNECT {\"user\":\"", "xxxxxxxxxxxxxxxx", 0},
    {"leafs", "", "LS+ a\r\nLS+ b\r\n", 0},
    {"kafka", "\x00\x20\x00\x00", "xxxxxxxxxxxxxxxx", 4},
    {"kafka", "\x00\x00\xff\xff\x00\x12", "xxxxxxxxxxxxxxxx", 6},
    {"monitoring", "GET /", "xxxxxxxxxxxxxxxx", 0},
    {"monitoring", "GET / HTTP/1.1\r\n", "X: xxxxxxxxxxxx\r\n", 0},
    {"monitoring", "POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", "xxxxxxxxxxxxxxxx", 0},
};
#define WAYS ((int) (sizeof(ways) / sizeof(ways[0])))

static uint16_t port_of(const char *name)
{
    return strcmp(name, "clients") == 0     ? server.port
           : strcmp(name, "websocket") == 0 ? server.ws_port
           : strcmp(name, "leafs") == 0     ? server.leaf_port
           : strcmp(name, "kafka") == 0     ? server.kafka_port
                                            : server.http_port;
}

static bool put(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        n -= (size_t) sent;
    }
    return true;
}

static bool first(const struct raw_client *r, int way)
{
    size_t n = ways[way].first_n != 0 ? ways[way].first_n : strlen(ways[way].first);

    return put(r->fd, ways[way].first, n);
}

/* A server that takes what comes for ever runs into the time of the case. */
TEST(one_is_closed_early)
{
    char lump[4096];
    struct raw_client r;
    size_t n = strlen(ways[i].again), size = 0;

    while (size + n <= sizeof(lump)) {
        memcpy(lump + size, ways[i].again, n);
        size += n;
    }
    start();
    raw_open(&r, port_of(ways[i].name));
    if (first(&r, i))
        while (put(r.fd, lump, size)) /* what comes behind the end is thrown away for a second */
            continue;
    raw_close(&r);
    raw_hello(&r, server.port, "\"user\":\"u\",\"pass\":\"p\"");
    raw_close(&r);
    server_process_deinit(&server);
}

static size_t resident(void)
{
    char path[64];
    unsigned long all, here = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/statm", (int) server.pid);
    f = fopen(path, "re");
    ck_assert(f != NULL && fscanf(f, "%lu %lu", &all, &here) == 2);
    fclose(f);
    return (size_t) here * (size_t) sysconf(_SC_PAGESIZE);
}

/* As much as they may, and no end: a line, a head, a frame that are not whole. */
TEST(many_cost_so_much_each)
{
    static const struct {
        int way;
        size_t n;
    } held[] = {{0, 4000}, {4, 16000}, {6, 60000}, {9, 65000}, {10, 4000}, {11, 8000}};
    static struct raw_client r[STRANGERS];
    size_t before, after;
    char lump[65536];
    const char *again = ways[held[i].way].again;

    for (size_t k = 0; k < sizeof(lump); k++)
        lump[k] = again[k % strlen(again)];
    start();
    raw_hello(&r[0], server.port, "\"user\":\"u\",\"pass\":\"p\"");
    raw_close(&r[0]);
    before = resident();
    for (int k = 0; k < STRANGERS; k++) {
        raw_open(&r[k], port_of(ways[held[i].way].name));
        if (first(&r[k], held[i].way))
            put(r[k].fd, lump, held[i].n);
    }
    raw_hello(&r[0], server.port, "\"user\":\"u\",\"pass\":\"p\"");
    raw_fence(&r[0]);
    after = resident();
    ck_assert_msg(after < before + STRANGERS * (size_t) EACH + SLACK, "%s: %zu KiB each",
                  ways[held[i].way].name, (after - before) / STRANGERS / 1024);
    for (int k = 1; k < STRANGERS; k++)
        raw_close(&r[k]);
    raw_close(&r[0]);
    server_process_deinit(&server);
}

static const struct runner_case cases[] = {
    RUN_LOOP(one_is_closed_early, 0, WAYS),
    RUN_LOOP(many_cost_so_much_each, 0, 6),
};

RUNNER_MAIN("api/strangers", cases)
