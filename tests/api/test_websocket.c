/*
 * test_websocket.c - clients over WebSocket: the upgrade and its refusals, frames in all forms,
 * compression, cookies and credentials, the end; with one worker and with two.
 */
#include "lib/base/buf.h"
#include "lib/wire/websocket.h"
#include "lib/wire/websocket_pack.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/ws_client.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

static struct server_process server;

#define DOOR "listen: \"127.0.0.1:-1\", no_tls: true"
#define HELLO "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\nPING\r\n"

static void start(int way, const char *config)
{
    static const char *const workers[] = {"1", "2"};

    server_process_init(&server);
    certs_make(server.dir);
    server.args[0] = "--workers";
    server.args[1] = workers[way % 2];
    server.args[2] = "-c";
    server.args[3] = server_process_config(&server, config);
    server.args[4] = "-DV";
    server_process_start(&server);
    ck_assert_uint_ne(server.ws_port, 0);
}

static void stop(void)
{
    server_process_deinit(&server);
}

static void hear(struct ws_client *w, const char *text)
{
    free(ws_hear(w, text));
}

static void hello(struct ws_client *w, const char *fields)
{
    free(ws_open(w, server.ws_port, fields));
    hear(w, "\r\n");
    ws_say(w, HELLO);
    hear(w, "PONG\r\n");
}

/* ---- the upgrade ----------------------------------------------------------------------------- */

TEST(greets_as_any_door)
{
    struct ws_client w;
    char *text, port[32];

    start(i, "websocket { " DOOR ", headers { X-Served-By: \"edge 1\" } }");
    text = ws_open(&w, server.ws_port, "");
    ck_assert_ptr_nonnull(strstr(text, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"));
    ck_assert_ptr_nonnull(strstr(text, "\r\nX-Served-By: edge 1\r\n"));
    ck_assert_ptr_null(strstr(text, "Sec-WebSocket-Extensions"));
    free(text);
    text = ws_hear(&w, "\r\n");
    snprintf(port, sizeof(port), "\"port\":%u,", server.ws_port);
    ck_assert_int_eq(strncmp(text, "INFO {", 6), 0);
    ck_assert_ptr_nonnull(strstr(text, port));
    ck_assert_ptr_nonnull(strstr(text, "\"client_ip\":\"127.0.0.1\""));
    ck_assert_ptr_null(strstr(text, "tls_required"));
    free(text);
    ws_say(&w, HELLO);
    hear(&w, "PONG\r\n");
    server_process_log_wait(&server, "Listening for websocket clients on ws://127.0.0.1:");
    server_process_log_wait(&server, " - wid:");
    ws_close(&w);
    stop();
}

static const struct {
    const char *request;
    unsigned status;
    const char *log;
} refused[] = {
#define UP "Upgrade: websocket\r\n"
#define CO "Connection: Upgrade\r\n"
#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define HOST "Host: a\r\n"
    {"POST / HTTP/1.1\r\n" HOST UP CO KEY VERSION "\r\n", 405, "request method must be GET"},
    {"GET / HTTP/1.1\r\n" UP CO KEY VERSION "\r\n", 400, "'Host' missing in request"},
    {"GET / HTTP/1.1\r\n" HOST CO KEY VERSION "\r\n", 400, "invalid value for header 'Upgrade'"},
    {"GET / HTTP/1.1\r\n" HOST UP KEY VERSION "\r\n", 400, "invalid value for header 'Connection'"},
    {"GET / HTTP/1.1\r\n" HOST UP CO VERSION "\r\n", 400, "key missing"},
    {"GET / HTTP/1.1\r\n" HOST UP CO VERSION "Sec-WebSocket-Key: abc=\r\n\r\n", 400,
     "invalid websocket key"},
    {"GET / HTTP/1.1\r\n" HOST UP CO KEY "Sec-WebSocket-Version: 12\r\n\r\n", 400,
     "invalid version"},
    {"GET /x/mqtt?a HTTP/1.1\r\n" HOST UP CO KEY VERSION "\r\n", 404,
     "mqtt websocket endpoint not enabled"},
    {"GET / HTTP/1.1\r\n" HOST UP CO KEY VERSION "\r\n\x82", 400,
     "client sent data before handshake is complete"},
    {"GET / HTTP/1.1\r\n" HOST UP CO KEY VERSION "Origin: http://evil\r\n\r\n", 403,
     "origin not allowed: not in the allowed list"},
    {"GET / HTTP/1.1\r\n" HOST UP CO KEY VERSION "Origin: null\r\n\r\n", 403, "origin not allowed"},
    {"GET / HTTP/1.1\r\n" HOST UP CO KEY VERSION "Origin: https://a.example:81\r\n\r\n", 403,
     "origin not allowed: not in the allowed list"},
    {"nonsense\r\n\r\n", 400, "malformed request"},
};

TEST(refuses_upgrades)
{
    char status[32];

    start(0, "websocket { " DOOR ", allowed_origins: [\"https://a.example\", \"http://b:82\"] }");
    for (size_t k = 0; k < sizeof(refused) / sizeof(refused[0]); k++) {
        struct raw_client raw;
        raw_open(&raw, server.ws_port);
        raw_send(&raw, refused[k].request);
        snprintf(status, sizeof(status), "HTTP/1.1 %u ", refused[k].status);
        raw_expect(&raw, status);
        raw_skip(&raw, "\r\n\r\n");
        /* Nonsense is answered without a line's end, as the peer does. */
        raw_skip(&raw, k + 1 < sizeof(refused) / sizeof(refused[0]) ? "\n" : "400 Bad Request");
        raw_expect_end(&raw);
        raw_close(&raw);
        server_process_log_wait(&server, refused[k].log);
    }
    struct ws_client w;
    hello(&w, "Origin: https://A.example\r\n");
    ws_close(&w);
    hello(&w, "Origin: http://b:82/path\r\n");
    ws_close(&w);
    stop();
}

TEST(takes_pages_of_its_own_host)
{
    struct ws_client w;
    char origin[64];

    start(0, "websocket { " DOOR ", same_origin: true }");
    snprintf(origin, sizeof(origin), "Origin: http://127.0.0.1:%u\r\n", server.ws_port);
    hello(&w, origin);
    ws_close(&w);
    ws_ask(&w, server.ws_port, "/", "Origin: http://127.0.0.1\r\n");
    raw_expect(&w.raw, "HTTP/1.1 403 Forbidden\r\n");
    server_process_log_wait(&server, "origin not allowed: not same origin");
    ws_close(&w);
    stop();
}

TEST(upgrades_in_time)
{
    struct raw_client raw;

    start(0, "websocket { " DOOR ", handshake_timeout: \"100ms\" }");
    raw_open(&raw, server.ws_port);
    raw_send(&raw, "GET / HTTP/1.1\r\n");
    raw_expect_end(&raw);
    raw_close(&raw);
    server_process_log_wait(&server, "websocket handshake error: timeout");
    stop();
}

/* ---- frames ---------------------------------------------------------------------------------- */

TEST(carries_operations_in_any_frames)
{
    struct ws_client w;
    struct raw_client raw;
    size_t n;
    char *text;

    start(i, "websocket { " DOOR " }");
    hello(&w, "");
    raw_hello(&raw, server.port, "");
    ws_say(&w, "SUB a 1\r\nPING\r\n");
    hear(&w, "PONG\r\n");
    raw_send(&raw, "SUB b 1\r\n");
    raw_fence(&raw);
    raw_send(&raw, "PUB a 5\r\nhello\r\n");
    text = ws_hear(&w, "\r\nhello\r\n");
    ck_assert_str_eq(text, "MSG a 1 5\r\nhello\r\n");
    free(text);
    /* Text frames, cut anywhere, with a ping between. */
    ws_send_frame(&w, 0x01, "PU", 2);
    ws_send_frame(&w, 0x00, "B b 5\r\nwor", 10);
    ws_send_frame(&w, 0x89, "here?", 5);
    ws_send_frame(&w, 0x00, "", 0);
    ws_send_frame(&w, 0x80, "ld\r\n", 4);
    raw_expect(&raw, "MSG b 1 5\r\nworld\r\n");
    text = ws_take_frame(&w, 0x8a, &n);
    ck_assert_str_eq(text, "here?");
    free(text);
    ws_close(&w);
    raw_close(&raw);
    stop();
}

TEST(carries_large_payloads)
{
    struct ws_client w;
    struct buf b = {0};
    char *text;

    start(i, "websocket { " DOOR " }");
    hello(&w, "");
    buf_puts(&b, "SUB a 1\r\nPUB a 1000000\r\n");
    for (int k = 0; k < 1000000; k++)
        buf_putc(&b, (char) ('a' + k % 26));
    buf_puts(&b, "\r\nPING\r\n");
    ws_say(&w, buf_cstr(&b));
    text = ws_hear(&w, "PONG\r\n");
    ck_assert_uint_eq(strlen(text), strlen("MSG a 1 1000000\r\n") + 1000000 + 2 + 6);
    ck_assert_int_eq(memcmp(text + 17, b.p + 24, 1000000), 0);
    free(text);
    buf_free(&b);
    ws_close(&w);
    stop();
}

/* A browser's frames are short. */
TEST(cuts_frames_for_browsers)
{
    struct ws_client w;
    char body[20001], *text;

    start(i, "websocket { " DOOR " }");
    hello(&w, "User-Agent: Mozilla/5.0 (X11) Chrome/1 Safari/1\r\n");
    memset(body, 'x', 20000);
    body[20000] = '\0';
    ws_say(&w, "SUB a 1\r\nPUB a 20000\r\n");
    ws_say(&w, body);
    ws_say(&w, "\r\n");
    text = ws_hear(&w, "x\r\n");
    ck_assert_uint_eq(strlen(text), strlen("MSG a 1 20000\r\n") + 20002);
    ck_assert_uint_le(w.longest, 4096);
    ck_assert_uint_ge(w.frames, 5);
    free(text);
    ws_close(&w);
    stop();
}

static const struct {
    unsigned first;
    const char *payload;
    size_t n;
    unsigned code;
    const char *text;
} broken[] = {
    {0xa2, "x", 1, 1002, "RSV2 and RSV3 must be clear"},
    {0xc2, "x", 1, 1002, "compressed frame received without negotiated permessage-deflate"},
    {0x80, "x", 1, 1002, "invalid continuation frame"},
    {0x83, "x", 1, 1002, "unknown opcode 3"},
    {0x88, "x", 1, 1002, "close frame payload cannot be 1 byte"},
    {0x88,
     "\x03\xe8"
     "bye",
     5, 1000, "bye"},
    {0x88, "\x0f\xa0", 2, 4000, ""},
    {0x88, "\x03\xe8\xff", 3, 1007, "invalid utf8 body in close frame"},
    {0x88, "", 0, 0, ""},
    {0x82, "nonsense\r\n", 10, 1002, "Protocol Violation"},
};

TEST(ends_with_a_code)
{
    struct ws_client w;

    start(0, "websocket { " DOOR " }");
    hello(&w, "");
    ws_send_frame(&w, broken[i].first, broken[i].payload, broken[i].n);
    ws_expect_close(&w, broken[i].code, broken[i].text);
    ws_close(&w);
    stop();
}

TEST(asks_for_masks)
{
    struct ws_client w;

    start(0, "websocket { " DOOR " }");
    hello(&w, "");
    w.no_mask = true;
    ws_say(&w, "PING\r\n");
    ws_expect_close(&w, 1002, "mask bit missing");
    ws_close(&w);
    stop();
}

TEST(says_that_it_goes)
{
    struct ws_client w;

    start(i, "websocket { " DOOR " }");
    hello(&w, "");
    kill(server.pid, SIGTERM);
    ws_expect_close(&w, 1001, "Server Shutdown");
    server_process_wait(&server);
    ws_close(&w);
    stop();
}

/* ---- compression ----------------------------------------------------------------------------- */

#define OFFER "Sec-WebSocket-Extensions: x, permessage-deflate; client_max_window_bits\r\n"

static bool gather(void *ctx, struct str bytes)
{
    buf_put_str(ctx, bytes);
    return true;
}

TEST(compresses)
{
    struct ws_client w;
    struct ws_pack *p = ws_pack_open();
    struct buf text = {0}, got = {0};
    struct str packed;
    char *payload, *answer;
    size_t n;

    start(i, "websocket { " DOOR ", compression: true }");
    answer = ws_open(&w, server.ws_port, OFFER);
    ck_assert_ptr_nonnull(strstr(answer, "Sec-WebSocket-Extensions: permessage-deflate; "
                                         "server_no_context_takeover; "
                                         "client_no_context_takeover\r\n"));
    free(answer);
    /* INFO is long enough. */
    payload = ws_take_frame(&w, 0xc2, &n);
    ws_unpack_begin(p, 100000, gather, &got);
    ck_assert(ws_unpack_add(p, str_from(payload, n)) && ws_unpack_end(p));
    ck_assert_int_eq(strncmp(buf_cstr(&got), "INFO {\"server_id\"", 17), 0);
    free(payload);
    ws_say(&w, HELLO);
    hear(&w, "PONG\r\n");
    hear(&w, "PING\r\n"); /* the only one for minutes: none comes in between below */
    buf_puts(&text, "SUB a 1\r\n");
    for (int k = 0; k < 20000; k++)
        buf_puts(&text, "PUB a 10\r\n0123456789\r\n");
    ws_pack_begin(p);
    ws_pack_add(p, buf_str(&text));
    packed = ws_pack_end(p);
    ck_assert_uint_lt(packed.n, text.n / 10);
    ws_send_frame(&w, 0x42, packed.p, packed.n / 2);
    ws_send_frame(&w, 0x89, "?", 1);
    ws_send_frame(&w, 0x80, packed.p + packed.n / 2, packed.n - packed.n / 2);
    free(ws_take_frame(&w, 0x8a, &n));
    buf_clear(&got);
    while (got.n < 20000 * strlen("MSG a 1 10\r\n0123456789\r\n")) {
        payload = ws_take_frame(&w, 0xc2, &n);
        ws_unpack_begin(p, 10000000, gather, &got);
        ck_assert(ws_unpack_add(p, str_from(payload, n)) && ws_unpack_end(p));
        free(payload);
    }
    ck_assert_uint_eq(got.n, 20000 * strlen("MSG a 1 10\r\n0123456789\r\n"));
    /* Short ones stay as they are. */
    ws_say(&w, "PING\r\n");
    payload = ws_take_frame(&w, 0x82, &n);
    ck_assert_str_eq(payload, "PONG\r\n");
    free(payload);
    buf_free(&text);
    buf_free(&got);
    ws_pack_close(p);
    ws_close(&w);
    stop();
}

TEST(refuses_what_does_not_unpack)
{
    struct ws_client w;

    start(0, "websocket { " DOOR ", compression: true }");
    free(ws_open(&w, server.ws_port, OFFER));
    ws_send_frame(&w, 0xc2, "\x07\xff\xff", 3);
    ws_expect_close(&w, 1009, "compressed message is broken or too long");
    ws_close(&w);
    stop();
}

/* Who has not said who it is may not make the server keep or unpack much. */
TEST(strangers_unpack_little)
{
    struct ws_client w;
    struct ws_pack *p = ws_pack_open();
    struct buf text = {0};
    struct str packed;

    start(0, "authorization { token: t }\nwebsocket { " DOOR ", compression: true }");
    for (int k = 0; k < 100000; k++)
        buf_puts(&text, "PING\r\n");
    ws_pack_begin(p);
    ws_pack_add(p, buf_str(&text));
    packed = ws_pack_end(p);
    free(ws_open(&w, server.ws_port, OFFER));
    buf_clear(&text);
    for (int k = 0; k < 70000; k++)
        buf_putc(&text, (char) k);
    ws_send_frame(&w, 0x42, text.p, text.n);
    ws_expect_close(&w, 1009, "compressed message is too long");
    ws_close(&w);
    buf_free(&text);
    ck_assert_ptr_nonnull(packed.p);
    ws_pack_close(p);
    stop();
}

/* bcrypt of "slow", at a cost that takes a good part of a second. */
#define SLOW_USER                                                                                  \
    "authorization { users: [ {user: bob, password: "                                              \
    "\"$2a$11$abcdefghijklmnopqrstuunCeKINGCIR2HCghh6O3jDKZvMFq0Aja\"} ] }\n"

static void put_packed(struct buf *out, struct str packed)
{
    uint8_t head[WS_HEAD_MAX];
    const uint8_t key[4] = {0};

    buf_put(out, head,
            ws_write_head(head,
                          &(struct ws_frame){
                              .opcode = WS_BINARY, .compressed = true, .key = key, .n = packed.n}));
    buf_put_str(out, packed);
}

/* While its CONNECT is looked at, what came behind it is kept: not all that it may become. */
TEST(strangers_keep_little_waiting)
{
    static const char hello[] = "CONNECT {\"user\":\"bob\",\"pass\":\"slow\"}\r\n";
    struct ws_client w;
    struct ws_pack *p = ws_pack_open();
    struct buf text = {0}, all = {0};
    struct str packed;

    start(0, SLOW_USER "websocket { " DOOR ", compression: true }");
    free(ws_open(&w, server.ws_port, OFFER));
    ws_pack_begin(p);
    ws_pack_add(p, str_of(hello));
    put_packed(&all, ws_pack_end(p));
    for (int k = 0; k < 10000; k++)
        buf_puts(&text, "PONG\r\n");
    ws_pack_begin(p);
    ws_pack_add(p, buf_str(&text));
    packed = ws_pack_end(p);
    for (int k = 0; k < 40; k++)
        put_packed(&all, packed);
    ck_assert_uint_lt(all.n, 60000); /* one receive */
    raw_send_bytes(&w.raw, all.p, all.n);
    ws_expect_close(&w, 1009, "Maximum Message Payload Exceeded");
    ws_close(&w);
    buf_free(&text);
    buf_free(&all);
    ws_pack_close(p);
    stop();
}

/* Who pings and does not read the answers, before it says who it is. */
TEST(strangers_are_owed_little)
{
    struct timeval patience = {.tv_sec = 20};
    struct ws_client w;
    char pings[131 * 100];
    ssize_t n = 0;
    size_t sent = 0;

    start(0, "authorization { token: t, timeout: 60 }\nwebsocket { " DOOR " }");
    free(ws_open(&w, server.ws_port, ""));
    memset(pings, 0, sizeof(pings));
    for (unsigned k = 0; k < sizeof(pings); k += 131) {
        pings[k] = (char) 0x89;
        pings[k + 1] = (char) (0x80 | 125);
    }
    setsockopt(w.raw.fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    while (n >= 0 && sent < 48u << 20) {
        n = send(w.raw.fd, pings, sizeof(pings), MSG_NOSIGNAL);
        sent += n > 0 ? (size_t) n : 0;
    }
    ck_assert_msg(n < 0, "%zu bytes of pings are taken", sent);
    ck_assert(errno == ECONNRESET || errno == EPIPE);
    ws_close(&w);
    stop();
}

/* ---- who it is ------------------------------------------------------------------------------- */

TEST(takes_credentials_from_cookies)
{
    struct ws_client w;

    start(i, "authorization { users: [ { user: joe, password: s3 } ] }\n"
             "websocket { " DOOR ", user_cookie: u, pass_cookie: p }");
    hello(&w, "Cookie: x=1; u=joe; p=\"s3\"\r\n");
    ws_say(&w, "SUB a 1\r\nPUB a 0\r\n\r\n");
    hear(&w, "MSG a 1 0\r\n\r\n");
    ws_close(&w);
    free(ws_open(&w, server.ws_port, "Cookie: u=joe; p=wrong\r\n"));
    hear(&w, "\r\n");
    ws_say(&w, HELLO);
    hear(&w, "-ERR 'Authorization Violation'\r\n");
    ws_expect_close(&w, 1008, "Authentication Failure");
    ws_close(&w);
    stop();
}

TEST(has_credentials_of_its_own)
{
    struct ws_client w;
    struct raw_client raw;
    char *info;

    start(i, "authorization { token: main }\n"
             "websocket { " DOOR ", authorization { user: web, password: pass, timeout: 10 } }");
    free(ws_open(&w, server.ws_port, ""));
    info = ws_hear(&w, "\r\n");
    ck_assert_ptr_nonnull(strstr(info, "\"auth_required\":true"));
    free(info);
    ws_say(&w, "CONNECT {\"verbose\":false,\"user\":\"web\",\"pass\":\"pass\"}\r\nPING\r\n");
    hear(&w, "PONG\r\n");
    ws_close(&w);
    free(ws_open(&w, server.ws_port, ""));
    hear(&w, "\r\n");
    ws_say(&w, "CONNECT {\"verbose\":false,\"auth_token\":\"main\"}\r\nPING\r\n");
    hear(&w, "-ERR 'Authorization Violation'\r\n");
    ws_close(&w);
    raw_hello(&raw, server.port, "\"auth_token\":\"main\"");
    raw_close(&raw);
    stop();
}

TEST(knows_kinds_of_connections)
{
    struct ws_client w;
    struct raw_client raw;
    static const char config[] =
        "authorization { users: [\n"
        "  { user: web, password: p, allowed_connection_types: [WEBSOCKET] }\n"
        "  { user: tcp, password: p, allowed_connection_types: [STANDARD] } ] }\n"
        "websocket { " DOOR " }";

    start(i, config);
    free(ws_open(&w, server.ws_port, ""));
    ws_say(&w, "CONNECT {\"verbose\":false,\"user\":\"web\",\"pass\":\"p\"}\r\nPING\r\n");
    hear(&w, "PONG\r\n");
    ws_close(&w);
    free(ws_open(&w, server.ws_port, ""));
    ws_say(&w, "CONNECT {\"verbose\":false,\"user\":\"tcp\",\"pass\":\"p\"}\r\nPING\r\n");
    hear(&w, "-ERR 'Authorization Violation'\r\n");
    ws_close(&w);
    raw_hello(&raw, server.port, "\"user\":\"tcp\",\"pass\":\"p\"");
    raw_close(&raw);
    raw_open(&raw, server.port);
    raw_skip(&raw, "\r\n");
    raw_send(&raw, "CONNECT {\"user\":\"web\",\"pass\":\"p\"}\r\n");
    raw_expect(&raw, "-ERR 'Authorization Violation'\r\n");
    raw_close(&raw);
    stop();
}

/* For the log. Anybody can say so: the client's address stays that of its socket. */
TEST(names_a_forwarded_address)
{
    static const struct {
        const char *field, *log;
    } rows[] = {
        {"X-Forwarded-For: 192.0.2.7\r\n", " 192.0.2.7/127.0.0.1:"},
        {"X-Forwarded-For: 2001:db8::7\r\n", " [2001:db8::7]/127.0.0.1:"},
        {"X-Forwarded-For: nobody\r\n", " 127.0.0.1:"},
    };
    struct ws_client w;
    char *info;

    start(0, "websocket { " DOOR " }");
    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        free(ws_open(&w, server.ws_port, rows[k].field));
        info = ws_hear(&w, "\r\n");
        ck_assert_ptr_nonnull(strstr(info, "\"client_ip\":\"127.0.0.1\""));
        free(info);
        server_process_log_wait(&server, rows[k].log);
        ws_close(&w);
    }
    stop();
}

TEST(has_a_limit_of_connections)
{
    struct ws_client one, two;

    start(0, "max_connections: 1\nwebsocket { " DOOR " }");
    hello(&one, "");
    free(ws_open(&two, server.ws_port, ""));
    hear(&two, "-ERR 'maximum connections exceeded'\r\n");
    ws_expect_close(&two, 1008, "Maximum Connections Exceeded");
    ws_close(&one);
    ws_close(&two);
    stop();
}

/* Who has not asked for the upgrade yet is not refused by it; but not everybody may wait there. */
TEST(not_everybody_may_wait_in_front_of_the_upgrade)
{
    static struct raw_client waiting[257];
    struct raw_client late;

    start(0, "max_connections: 1\nwebsocket { " DOOR " }");
    for (int k = 0; k < 257; k++)
        raw_open(&waiting[k], server.ws_port);
    raw_open(&late, server.ws_port);
    raw_expect_end(&late);
    raw_close(&late);
    raw_send(&waiting[256], "GET / HTTP/1.1\r\n\r\n");
    raw_skip(&waiting[256], "HTTP/1.1 400 ");
    for (int k = 0; k < 257; k++)
        raw_close(&waiting[k]);
    stop();
}

TEST(shows_the_kind_in_connz)
{
    struct ws_client w;
    struct raw_client http;
    char *body;

    start(0, "websocket { " DOOR " }");
    hello(&w, "");
    raw_open(&http, server.http_port);
    raw_send(&http, "GET /connz HTTP/1.0\r\n\r\n");
    raw_skip(&http, "\"connections\"");
    raw_skip(&http, "\"type\": \"");
    body = raw_take(&http, 9);
    ck_assert_str_eq(body, "websocket");
    free(body);
    raw_close(&http);
    ws_close(&w);
    stop();
}

/* ---- TLS ------------------------------------------------------------------------------------- */

static void tls_say(SSL *ssl, const void *bytes, size_t n)
{
    size_t written;

    ck_assert_int_eq(SSL_write_ex(ssl, bytes, n, &written), 1);
}

/* Whatever comes, up to the text. */
static void tls_hear(SSL *ssl, struct buf *got, const char *text)
{
    size_t n;

    while (strstr(buf_cstr(got), text) == NULL) {
        char *at = buf_reserve(got, 4096);
        ck_assert_int_eq(SSL_read_ex(ssl, at, 4096, &n), 1);
        for (size_t k = 0; k < n; k++) /* heads of frames have zeros */
            at[k] = at[k] != '\0' ? at[k] : '.';
        got->n += n;
    }
}

TEST(speaks_tls)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: a\r\n" UP CO KEY VERSION "\r\n";
    static const char ping[] = "\x82\x86\0\0\0\0PING\r\n";
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    struct raw_client raw;
    struct buf got = {0};
    SSL *ssl;

    start(i, "websocket { listen: \"127.0.0.1:-1\", "
             "tls { cert_file: '~/server.pem', key_file: '~/server.key' } }");
    raw_open(&raw, server.ws_port);
    ssl = SSL_new(ctx);
    SSL_set_fd(ssl, raw.fd);
    ck_assert_int_eq(SSL_connect(ssl), 1);
    tls_say(ssl, request, sizeof(request) - 1);
    tls_hear(ssl, &got, "\r\n\r\n");
    tls_hear(ssl, &got, "INFO {");
    tls_hear(ssl, &got, "\"tls_required\":true");
    tls_say(ssl, ping, sizeof(ping) - 1);
    tls_hear(ssl, &got, "PONG\r\n");
    server_process_log_wait(&server, "Listening for websocket clients on wss://127.0.0.1:");
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    buf_free(&got);
    raw_close(&raw);
    stop();
}

static const struct runner_case cases[] = {
    RUN_LOOP(greets_as_any_door, 0, 2),
    RUN(refuses_upgrades),
    RUN(takes_pages_of_its_own_host),
    RUN(upgrades_in_time),
    RUN_LOOP(carries_operations_in_any_frames, 0, 2),
    RUN_LOOP(carries_large_payloads, 0, 2),
    RUN_LOOP(cuts_frames_for_browsers, 0, 2),
    RUN_LOOP(ends_with_a_code, 0, (int) (sizeof(broken) / sizeof(broken[0]))),
    RUN(asks_for_masks),
    RUN_LOOP(says_that_it_goes, 0, 2),
    RUN_LOOP(compresses, 0, 2),
    RUN(refuses_what_does_not_unpack),
    RUN(strangers_unpack_little),
    RUN(strangers_keep_little_waiting),
    RUN(strangers_are_owed_little),
    RUN_LOOP(takes_credentials_from_cookies, 0, 2),
    RUN_LOOP(has_credentials_of_its_own, 0, 2),
    RUN_LOOP(knows_kinds_of_connections, 0, 2),
    RUN(names_a_forwarded_address),
    RUN(has_a_limit_of_connections),
    RUN(not_everybody_may_wait_in_front_of_the_upgrade),
    RUN(shows_the_kind_in_connz),
    RUN_LOOP(speaks_tls, 0, 2),
};

RUNNER_MAIN("api/websocket", cases)
