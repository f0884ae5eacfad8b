/*
 * test_proxy.c - clients through a proxy that says whose they are: both versions, headers cut in
 * two, clients without one, and wrong ones.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct server_process server;

static void start(void)
{
    server_process_init(&server);
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, "proxy_protocol: true\n");
    server.args[2] = "-D";
    server_process_start(&server);
}

#define HELLO "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n"
#define SIG "\r\n\r\n\0\r\nQUIT\n"

static const struct {
    size_t n;
    const char *header, *log;
} rows[] = {
#define ROW(header, log)                                                                           \
    {                                                                                              \
        sizeof(header) - 1, header, log                                                            \
    }
    ROW("PROXY TCP4 192.0.2.1 192.0.2.9 56324 4222\r\n", "192.0.2.1:56324 - cid:"),
    ROW("PROXY TCP6 2001:db8::1 ::1 7 8\r\n", "[2001:db8::1]:7 - cid:"),
    ROW("PROXY UNKNOWN\r\n", "127.0.0.1:"),
    ROW(SIG "\x21\x11\0\x0f\xc0\x00\x02\x02\xc0\x00\x02\x09\xdc\x04\x10\x7e"
            "tlv",
        "192.0.2.2:56324 - cid:"),
    ROW(SIG "\x20\x00\0\x02xx", "127.0.0.1:"),
    ROW("", "127.0.0.1:"),
};
#define ROWS ((int) (sizeof(rows) / sizeof(rows[0])))

/* Whole with what follows; its first half first; byte by byte. */
TEST(believes_headers)
{
    struct raw_client raw;
    char *info;

    start();
    for (int way = 0; way < 3; way++) {
        size_t n = rows[i].n, first = way == 0 ? n : n / 2;
        raw_open(&raw, server.port);
        info = raw_line(&raw);
        ck_assert_ptr_null(strstr(info, "client_ip"));
        free(info);
        if (way < 2) {
            raw_send_bytes(&raw, rows[i].header, first);
            raw_send_bytes(&raw, rows[i].header + first, n - first);
        }
        for (size_t k = 0; way == 2 && k < n; k++)
            raw_send_bytes(&raw, rows[i].header + k, 1);
        raw_send(&raw, HELLO);
        raw_expect(&raw, "PONG\r\n");
        info = raw_line(&raw);
        ck_assert_ptr_nonnull(strstr(info, "\"connect_info\":true"));
        ck_assert_ptr_nonnull(strstr(info, "\"client_ip\""));
        free(info);
        raw_close(&raw);
    }
    server_process_log_wait(&server, rows[i].log);
    server_process_deinit(&server);
}

TEST(refuses_wrong_headers)
{
    static const char text[] = "PROXY TCP4 192.0.2.1 192.0.2.9 56324\r\n";
    static const char binary[] = "\r\n\r\n\0\r\rQUIT\n";
    struct raw_client raw;

    start();
    for (int k = 0; k < 2; k++) {
        raw_open(&raw, server.port);
        free(raw_line(&raw));
        if (k == 0)
            raw_send(&raw, text);
        else
            raw_send_bytes(&raw, binary, sizeof(binary) - 1);
        raw_expect_end(&raw);
        raw_close(&raw);
    }
    server_process_log_wait(&server, "invalid PROXY protocol header: invalid v1 format");
    server_process_log_wait(&server, "invalid PROXY protocol header: invalid signature");
    server_process_deinit(&server);
}

TEST(shows_the_address_in_connz)
{
    struct raw_client raw, http;

    start();
    raw_open(&raw, server.port);
    free(raw_line(&raw));
    raw_send(&raw, rows[0].header);
    raw_send(&raw, HELLO);
    raw_expect(&raw, "PONG\r\n");
    raw_open(&http, server.http_port);
    raw_send(&http, "GET /connz HTTP/1.0\r\n\r\n");
    raw_skip(&http, "\"ip\": \"192.0.2.1\"");
    raw_skip(&http, "\"port\": 56324");
    raw_close(&http);
    raw_close(&raw);
    server_process_deinit(&server);
}

static const struct runner_case cases[] = {
    RUN_LOOP(believes_headers, 0, ROWS),
    RUN(refuses_wrong_headers),
    RUN(shows_the_address_in_connz),
};

RUNNER_MAIN("api/proxy", cases)
