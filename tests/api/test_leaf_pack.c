/*
 * test_leaf_pack.c - leaf connections that are compressed: what two modes make, messages both ways,
 * over TLS as well; and what a stranger may send packed.
 */
#include "lib/base/buf.h"
#include "lib/wire/s2.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct server_process hub, edge;

static void start(struct server_process *s, const char *config)
{
    s->args[0] = "-c";
    s->args[1] = server_process_config(s, config);
    server_process_start(s);
}

static void start_hub(const char *fields)
{
    char text[512];

    server_process_init(&hub);
    certs_make(hub.dir);
    snprintf(text, sizeof(text), "leafnodes { listen: '127.0.0.1:-1' %s }", fields);
    start(&hub, text);
}

static void start_edge(const char *fields)
{
    char text[512];

    server_process_init(&edge);
    snprintf(text, sizeof(text),
             "leafnodes { reconnect: '50ms', remotes: [ { url: 'nats-leaf://127.0.0.1:%u' %s } ] }",
             hub.leaf_port, fields);
    start(&edge, text);
    server_process_log_wait(&edge, "Leafnode connection established");
}

static void stop_both(void)
{
    server_process_deinit(&edge);
    server_process_deinit(&hub);
}

/* Messages that pack well and one that does not, longer than a chunk. */
static void send_some(struct raw_client *from)
{
    struct buf b = {0};

    for (unsigned k = 0; k < 500; k++)
        buf_printf(&b, "PUB x 40\r\n%040u\r\n", k);
    buf_puts(&b, "PUB x 200000\r\n");
    for (unsigned k = 0; k < 200000; k++)
        buf_putc(&b, (char) (k * k * 2654435761u >> 13));
    buf_puts(&b, "\r\n");
    raw_send_bytes(from, b.p, b.n);
    buf_free(&b);
}

static void hear_some(struct raw_client *to)
{
    char want[80], *body;

    for (unsigned k = 0; k < 500; k++) {
        snprintf(want, sizeof(want), "MSG x 1 40\r\n%040u\r\n", k);
        raw_expect(to, want);
    }
    raw_expect(to, "MSG x 1 200000\r\n");
    body = raw_take(to, 200002);
    for (unsigned k = 0; k < 200000; k++)
        MUST(body[k] == (char) (k * k * 2654435761u >> 13));
    free(body);
}

/* The interest crosses when it does: says "ready" until it is heard, which ends. */
static void until_heard(struct raw_client *from, struct raw_client *to)
{
    struct pollfd p = {.fd = to->fd, .events = POLLIN};

    for (unsigned k = 0; k < 1000; k++) {
        raw_send(from, "PUB ready 0\r\n\r\n");
        raw_fence(from);
        if (poll(&p, 1, 20) == 1)
            break;
    }
    raw_send(to, "UNSUB 2\r\nPING\r\n");
    raw_skip(to, "PONG\r\n");
}

static void one_way(struct server_process *from, struct server_process *to)
{
    struct raw_client a, b;

    raw_hello(&a, to->port, "");
    raw_send(&a, "SUB x 1\r\nSUB ready 2\r\n");
    raw_fence(&a);
    raw_hello(&b, from->port, "");
    raw_fence(&b);
    until_heard(&b, &a);
    send_some(&b);
    hear_some(&a);
    raw_close(&a);
    raw_close(&b);
}

#define TLS_HUB ", tls { cert_file: '~/server.pem', key_file: '~/server.key' }"

static const struct {
    const char *hub, *edge;
} pairs[] = {
    {"", ""},
    {", compression: off", ""},
    {", compression: 'not supported'", ""},
    {", compression: accept", ", compression: accept"},
    {", compression: accept", ", compression: s2_best"},
    {", compression: s2_fast", ", compression: off"},
    {", compression: s2_fast", ", compression: accept"},
    {", compression: s2_fast", ", compression: s2_better"},
    {", compression: s2_uncompressed", ", compression: s2_uncompressed"},
    {", compression: s2_best", ", compression: s2_uncompressed"},
    {", compression: { mode: s2_auto, rtt_thresholds: ['0s', '10s'] }", ""},
    {TLS_HUB ", compression: s2_fast", ", compression: s2_fast, tls { insecure: true }"},
};

TEST(messages_cross)
{
    start_hub(pairs[i].hub);
    start_edge(pairs[i].edge);
    one_way(&hub, &edge);
    one_way(&edge, &hub);
    stop_both();
}

/* ---- a stranger ------------------------------------------------------------------------------ */

static void begin(struct raw_client *r)
{
    char *start;

    raw_open(r, hub.leaf_port);
    raw_skip(r, "\"compression\":\"s2_auto\"");
    raw_skip(r, "\r\n");
    raw_send(r, "INFO {\"compression\":\"s2_fast\"}\r\n");
    start = raw_take(r, 10); /* packed from here on */
    ck_assert_mem_eq(start + 4, "S2sTwO", 6);
    free(start);
}

/* Whatever comes before. */
static void ends(struct raw_client *r)
{
    char bytes[4096];

    while (recv(r->fd, bytes, sizeof(bytes), 0) > 0)
        continue;
}

static const struct {
    struct str bytes;
} bad[] = {
    {STR_LIT("CONNECT {}\r\n")},
    {STR_LIT("\xff\x06\x00\x00S3sTwO")},
    {STR_LIT("\xff\x06\x00\x00S2sTwO\x02\x00\x00\x00")},
    {STR_LIT("\xff\x06\x00\x00S2sTwO\x01\x05\x00\x00"
             "abcde")},
    {STR_LIT("\xff\x06\x00\x00S2sTwO\x01\xff\xff\xff")}, /* 16 MiB to come */
    {STR_LIT("\xff\x06\x00\x00S2sTwO\x80\xff\xff\xff")}, /* to be skipped */
    {STR_LIT("\xff\x06\x00\x00S2sTwO\x00\x08\x00\x00"
             "abcd\x81\x80\x04\x00")}, /* 65537 bytes */
};

TEST(a_stranger_is_bounded)
{
    struct raw_client r;

    start_hub("");
    begin(&r);
    raw_send_bytes(&r, bad[i].bytes.p, bad[i].bytes.n);
    ends(&r);
    raw_close(&r);
    server_process_log_wait(&hub, "s2: corrupt input");
    server_process_deinit(&hub);
}

/* What stands behind the INFO can be neither packed nor not. */
TEST(nothing_stands_behind_the_info)
{
    struct raw_client r;

    start_hub("");
    raw_open(&r, hub.leaf_port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "INFO {\"compression\":\"s2_fast\"}\r\nCONNECT {}\r\n");
    ends(&r);
    server_process_log_wait(&hub, "Leafnode connection closed: Protocol Violation");
    raw_close(&r);
    server_process_deinit(&hub);
}

TEST(an_unknown_mode_is_refused)
{
    struct raw_client r;

    start_hub("");
    raw_open(&r, hub.leaf_port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "INFO {\"compression\":\"zip\"}\r\n");
    raw_expect(&r, "-ERR 'unsupported route compression mode \"zip\"'\r\n");
    raw_close(&r);
    server_process_deinit(&hub);
}

static const struct runner_case cases[] = {
    RUN_LOOP(messages_cross, 0, (int) (sizeof(pairs) / sizeof(pairs[0]))),
    RUN_LOOP(a_stranger_is_bounded, 0, (int) (sizeof(bad) / sizeof(bad[0]))),
    RUN(nothing_stands_behind_the_info),
    RUN(an_unknown_mode_is_refused),
};

RUNNER_MAIN("api/leaf_pack", cases)
