/*
 * test_protocol.c - the text protocol byte for byte (verbs, errors, limits, delivery), against a
 * real server.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static void start(struct server_process *s, const char *workers, const char *config)
{
    static char path[256];
    FILE *f;

    server_process_init(s);
    s->args[0] = "--workers";
    s->args[1] = workers;
    if (config != NULL) {
        snprintf(path, sizeof(path), "%s/conf", s->dir);
        f = fopen(path, "we");
        ck_assert(f != NULL);
        fputs(config[0] != '\0' ? config : "debug: false\n", f); /* empty is refused */
        fclose(f);
        s->args[2] = "-c";
        s->args[3] = path;
    }
    server_process_start(s);
}

static void end(struct server_process *s)
{
    server_process_stop(s);
    server_process_deinit(s);
}

/* ---- what is answered ------------------------------------------------------------------------ */

#define UNKNOWN "-ERR 'Unknown Protocol Operation'\r\n"
#define PLAIN ""
#define HEADERS "\"headers\":true"
#define STAYS false
#define CLOSES true

static const struct {
    const char *hello, *send, *answer;
    bool closes;
} lines[] = {
#define LINE(hello, send, answer, end) {hello, send, answer, end},
#include "tests/api/protocol_lines.def"
#undef LINE
};

TEST(answers_each_line)
{
    struct server_process s;

    start(&s, "1", NULL);
    for (size_t k = 0; k < sizeof(lines) / sizeof(lines[0]); k++) {
        struct raw_client r;
        raw_hello(&r, s.port, lines[k].hello);
        raw_send(&r, lines[k].send);
        raw_expect(&r, lines[k].answer);
        if (lines[k].closes)
            raw_expect_end(&r);
        else
            raw_fence(&r);
        raw_close(&r);
    }
    end(&s);
}

/* Arguments above max_control_line end the connection, whatever the verb. */
TEST(a_long_line_ends_the_connection)
{
    static const char *const verbs[] = {"SUB ",  "PUB ",  "UNSUB ",
                                        "INFO ", "-ERR ", "CONNECT {\"name\":\""};
    struct server_process s;
    struct raw_client r;
    char line[6000];

    start(&s, "1", NULL);
    for (size_t k = 0; k < sizeof(verbs) / sizeof(verbs[0]); k++) {
        raw_hello(&r, s.port, "");
        memset(line, 'a', sizeof(line));
        memcpy(line, verbs[k], strlen(verbs[k]));
        raw_send_bytes(&r, line, sizeof(line));
        raw_expect(&r, "-ERR 'maximum control line exceeded'\r\n");
        raw_expect_end(&r);
        raw_close(&r);
    }
    end(&s);
}

/* With a lot of input unread the server ends with a FIN behind its reason, not with a reset that
 * may take the reason away: it shuts its side down and takes the rest before it closes. */
TEST(an_end_with_unread_input_is_no_reset)
{
    enum { REST = 2 << 20 };
    struct server_process s;
    struct raw_client r;
    char *rest = malloc(REST);

    start(&s, "1", NULL);
    memset(rest, 'x', REST);
    for (int k = 0; k < 20; k++) {
        raw_hello(&r, s.port, "");
        raw_send(&r, "FOO\r\n");
        raw_send_bytes(&r, rest, REST);
        raw_expect(&r, UNKNOWN);
        ck_assert_int_eq(recv(r.fd, rest, 1, 0), 0);
        raw_close(&r);
    }
    free(rest);
    end(&s);
}

/* ---- delivery -------------------------------------------------------------------------------- */

TEST(headers_echo_and_no_responders)
{
    struct server_process s;
    struct raw_client with, without, deaf;

    start(&s, i == 0 ? "1" : "2", NULL);
    raw_hello(&with, s.port, "\"headers\":true,\"no_responders\":true");
    raw_hello(&without, s.port, "");
    raw_hello(&deaf, s.port, "\"echo\":false");
    raw_send(&without, "SUB h.* 7\r\n");
    raw_fence(&without);
    raw_send(&with, "SUB h.a 8\r\nHPUB h.a re 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nxy\r\n");
    raw_expect(&with, "HMSG h.a 8 re 18 20\r\nNATS/1.0\r\nA: b\r\n\r\nxy\r\n");
    raw_expect(&without, "MSG h.a 7 re 2\r\nxy\r\n");
    raw_send(&deaf, "SUB d 1\r\nPUB d 1\r\nx\r\n");
    raw_fence(&deaf);
    raw_send(&with, "SUB inbox.* 9\r\nPUB nobody inbox.1 2\r\nhi\r\n");
    raw_expect(&with, "HMSG inbox.1 9 38 38\r\nNATS/1.0 503\r\nNats-Subject: nobody\r\n\r\n\r\n");
    raw_fence(&with);
    raw_close(&with);
    raw_close(&without);
    raw_close(&deaf);
    end(&s);
}

TEST(a_max_counts_from_the_start)
{
    static const char *const workers[] = {"1", "2", "4"};
    struct server_process s;
    struct raw_client sub, pub;

    start(&s, workers[i], NULL);
    raw_hello(&sub, s.port, "");
    raw_hello(&pub, s.port, "");
    raw_send(&sub, "SUB m 1\r\nUNSUB 1 2\r\n");
    raw_fence(&sub);
    raw_send(&pub, "PUB m 1\r\n1\r\nPUB m 1\r\n2\r\nPUB m 1\r\n3\r\n");
    raw_fence(&pub);
    raw_expect(&sub, "MSG m 1 1\r\n1\r\nMSG m 1 1\r\n2\r\n");
    raw_fence(&sub);
    /* The PONG of the publisher is behind the effect on every worker; after UNSUB and PING nothing
     * comes. */
    raw_send(&sub, "SUB m 2\r\n");
    raw_fence(&sub);
    raw_send(&pub, "PUB m 1\r\n4\r\n");
    raw_fence(&pub);
    raw_send(&sub, "UNSUB 2\r\nPING\r\n");
    raw_expect(&sub, "MSG m 2 1\r\n4\r\nPONG\r\n");
    raw_send(&pub, "PUB m 1\r\n5\r\n");
    raw_fence(&pub);
    raw_fence(&sub);
    raw_close(&sub);
    raw_close(&pub);
    end(&s);
}

TEST(a_queue_member_gets_each_message_once)
{
    enum { MEMBERS = 5, MSGS = 500 };
    static const char *const workers[] = {"1", "2", "4"};
    struct server_process s;
    struct raw_client member[MEMBERS], pub;
    bool seen[MSGS] = {false};
    int total = 0;

    start(&s, workers[i], NULL);
    for (int k = 0; k < MEMBERS; k++) {
        raw_hello(&member[k], s.port, "");
        raw_send(&member[k], "SUB q.* group 1\r\n");
        raw_fence(&member[k]);
    }
    raw_hello(&pub, s.port, "");
    for (int k = 0; k < MSGS; k++) {
        char text[64];
        snprintf(text, sizeof(text), "PUB q.%d 0\r\n\r\n", k);
        raw_send(&pub, text);
    }
    raw_fence(&pub);
    for (int k = 0; k < MEMBERS; k++) {
        int mine = 0;
        raw_send(&member[k], "PING\r\n");
        for (;;) {
            char *line = raw_line(&member[k]);
            long at;
            if (strcmp(line, "PONG") == 0) {
                free(line);
                break;
            }
            ck_assert_int_eq(strncmp(line, "MSG q.", 6), 0);
            at = strtol(line + 6, NULL, 10);
            ck_assert(at >= 0 && at < MSGS && !seen[at]);
            seen[at] = true;
            mine++;
            free(line);
            raw_expect(&member[k], "\r\n");
        }
        total += mine;
        raw_close(&member[k]);
    }
    ck_assert_int_eq(total, MSGS);
    raw_close(&pub);
    end(&s);
}

/* A publish that is cut at each place, with another one right behind: both arrive as they were. */
TEST(every_cut_gives_the_same)
{
    static const char ops[] =
        "PUB cut.a 11\r\nhello world\r\nPUB cut.b re.ply 5\r\nthere\r\nPUB cut.c 0\r\n\r\n";
    struct server_process s;
    struct raw_client sub, pub;

    start(&s, "1", NULL);
    raw_hello(&sub, s.port, "");
    raw_hello(&pub, s.port, "");
    raw_send(&sub, "SUB cut.* 1\r\n");
    raw_fence(&sub);
    for (size_t at = 1; at < sizeof(ops) - 1; at++) {
        raw_send(&pub, "PING\r\n");
        raw_send_bytes(&pub, ops, at);
        raw_expect(&pub, "PONG\r\n");
        raw_send_bytes(&pub, ops + at, sizeof(ops) - 1 - at);
        raw_expect(&sub, "MSG cut.a 1 11\r\nhello world\r\nMSG cut.b 1 re.ply 5\r\nthere\r\nMSG "
                         "cut.c 1 0\r\n\r\n");
    }
    raw_close(&sub);
    raw_close(&pub);
    end(&s);
}

TEST(large_bodies_in_odd_pieces)
{
    static const size_t sizes[] = {16383, 16384, 65535, 65536, 65537, 1048576};
    struct server_process s;
    struct raw_client sub, pub;
    char *body = malloc(1048576 + 64);

    start(&s, i == 0 ? "1" : "2", NULL);
    raw_hello(&sub, s.port, "");
    raw_hello(&pub, s.port, "\"pedantic\":true");
    raw_send(&sub, "SUB big 1\r\n");
    raw_fence(&sub);
    for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
        size_t n = sizes[k], piece = 7001, done = 0;
        char line[64], *got;
        /* A refused one first: its body must go. */
        snprintf(line, sizeof(line), "PUB big.> %zu\r\n", n);
        for (size_t j = 0; j < n; j++)
            body[j] = (char) ('a' + (j * 31 + k) % 26);
        memcpy(body + n, "\r\n", 2);
        raw_send(&pub, line);
        raw_send_bytes(&pub, body, n + 2);
        raw_expect(&pub, "-ERR 'Invalid Publish Subject'\r\n");
        snprintf(line, sizeof(line), "PUB big %zu\r\n", n);
        raw_send(&pub, line);
        for (; done < n + 2; done += piece)
            raw_send_bytes(&pub, body + done, n + 2 - done < piece ? n + 2 - done : piece);
        snprintf(line, sizeof(line), "MSG big 1 %zu\r\n", n);
        raw_expect(&sub, line);
        got = raw_take(&sub, n + 2);
        ck_assert(memcmp(got, body, n + 2) == 0);
        free(got);
    }
    free(body);
    raw_close(&sub);
    raw_close(&pub);
    end(&s);
}

/* ---- limits and credentials ------------------------------------------------------------------ */

TEST(configured_limits_hold)
{
    struct server_process s;
    struct raw_client a, b, c;

    start(&s, "1",
          "max_connections: 2\nmax_subscriptions: 2\nmax_payload: 64\nmax_control_line: 512\n"
          "max_subscription_tokens: 3\n");
    raw_hello(&a, s.port, "");
    raw_hello(&b, s.port, "");
    raw_open(&c, s.port);
    raw_skip(&c, "}\r\n");
    raw_expect(&c, "-ERR 'maximum connections exceeded'\r\n");
    raw_expect_end(&c);
    raw_close(&c);
    raw_send(&a, "SUB a.b.c.d 9\r\n");
    raw_expect(&a,
               "-ERR 'Permissions Violation for Subscription to \"a.b.c.d\", too many tokens'\r\n");
    raw_send(&a, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    raw_expect(&a, "-ERR 'maximum subscriptions exceeded'\r\n");
    raw_send(&a, "UNSUB 1\r\nSUB c 3\r\n");
    raw_fence(&a);
    raw_send(&a, "PUB a 65\r\n");
    raw_expect(&a, "-ERR 'Maximum Payload Violation'\r\n");
    raw_expect_end(&a);
    raw_close(&a);
    raw_close(&b);
    end(&s);
}

/* Of "secret", at the lowest cost. */
#define BCRYPT "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define BCRYPT_USER "authorization { users: [ {user: joe, password: \"" BCRYPT "\"} ] }\n"
#define TWO_USERS                                                                                  \
    "authorization { users: [ {user: a, pass: 1}, {user: b, pass: 2}, {user: ws, pass: 3, "        \
    "connection_types: [WEBSOCKET]} ] }\n"

/* Where INFO says that the server is. */
static const struct {
    const char *config, *has;
} infos[] = {
    {"", "\"host\":\"127.0.0.1\",\"port\":"},
    {"client_advertise: \"edge.example:4333\"\n", "\"host\":\"edge.example\",\"port\":4333,"},
    {"client_advertise: \"[::1]:4333\"\n", "\"host\":\"::1\",\"port\":4333,"},
    {"client_advertise: edge.example\n", "\"host\":\"edge.example\",\"port\":"},
};

TEST(info_says_where_the_server_is)
{
    struct server_process s;
    struct raw_client r;

    start(&s, "1", infos[i].config);
    raw_open(&r, s.port);
    raw_skip(&r, infos[i].has);
    raw_close(&r);
    end(&s);
}

static const struct {
    const char *config, *send, *answer;
    bool closes;
} logins[] = {
    {"authorization { user: joe, password: secret }\n",
     "CONNECT {\"user\":\"joe\",\"pass\":\"secret\",\"verbose\":false}\r\n", "", false},
    {"authorization { user: joe, password: secret }\n",
     "CONNECT {\"user\":\"joe\",\"pass\":\"secre\"}\r\n", "-ERR 'Authorization Violation'\r\n",
     CLOSES},
    {"authorization { user: joe, password: secret }\n", "CONNECT {\"auth_token\":\"secret\"}\r\n",
     "-ERR 'Authorization Violation'\r\n", CLOSES},
    {"authorization { user: joe, password: secret }\n", "PING\r\n",
     "-ERR 'Authorization Violation'\r\n", CLOSES},
    {"authorization { token: t0k }\n", "CONNECT {\"auth_token\":\"t0k\",\"verbose\":false}\r\n", "",
     false},
    {"authorization { token: t0k }\n", "CONNECT {}\r\n", "-ERR 'Authorization Violation'\r\n",
     CLOSES},
    {"authorization { token: t0k, timeout: 0.2 }\n", "", "-ERR 'Authentication Timeout'\r\n",
     CLOSES},
    /* bcrypt of "secret", a list of users, what comes behind a slow CONNECT */
    {BCRYPT_USER, "CONNECT {\"user\":\"joe\",\"pass\":\"secret\",\"verbose\":false}\r\nPING\r\n",
     "PONG\r\n", false},
    {BCRYPT_USER, "CONNECT {\"user\":\"joe\",\"pass\":\"secreT\"}\r\nPING\r\n",
     "-ERR 'Authorization Violation'\r\n", CLOSES},
    {"authorization { token: \"" BCRYPT "\" }\n",
     "CONNECT {\"auth_token\":\"secret\",\"verbose\":false}\r\nSUB a 1\r\nPUB a 0\r\n\r\n",
     "MSG a 1 0\r\n\r\n", false},
    {TWO_USERS, "CONNECT {\"user\":\"b\",\"pass\":\"2\",\"verbose\":false}\r\n", "", false},
    {TWO_USERS, "CONNECT {\"user\":\"b\",\"pass\":\"1\"}\r\n", "-ERR 'Authorization Violation'\r\n",
     CLOSES},
    {TWO_USERS, "CONNECT {\"user\":\"ws\",\"pass\":\"3\"}\r\n",
     "-ERR 'Authorization Violation'\r\n", CLOSES},
    {TWO_USERS, "CONNECT {}\r\n", "-ERR 'Authorization Violation'\r\n", CLOSES},
};

TEST(credentials)
{
    struct server_process s;
    struct raw_client r;

    start(&s, "1", logins[i].config);
    raw_open(&r, s.port);
    raw_expect(&r, "INFO {");
    raw_skip(&r, "\"auth_required\":true");
    raw_skip(&r, "\r\n");
    raw_send(&r, logins[i].send);
    raw_expect(&r, logins[i].answer);
    if (logins[i].closes)
        raw_expect_end(&r);
    else
        raw_fence(&r);
    raw_close(&r);
    end(&s);
}

/* A second CONNECT that takes time takes nothing away: the server still asks whether it is there.
 */
TEST(pings_behind_a_second_slow_connect)
{
    static const char hello[] =
        "CONNECT {\"user\":\"joe\",\"pass\":\"secret\",\"verbose\":false}\r\nPING\r\n";
    struct server_process s;
    struct raw_client r;

    start(&s, "1", BCRYPT_USER "ping_interval: 1\n");
    raw_open(&r, s.port);
    raw_skip(&r, "\r\n");
    raw_send(&r, hello);
    raw_skip(&r, "PONG\r\n");
    raw_send(&r, hello);
    raw_skip(&r, "PONG\r\n");
    raw_skip(&r, "PING\r\n");
    raw_close(&r);
    end(&s);
}

/* What a user with permissions may do, line by line. */
static const struct {
    const char *user, *send, *answer;
} permitted[] = {
    {"pub", "PUB foo 0\r\n\r\n", ""},
    {"pub", "PUB fooo 0\r\n\r\n", "-ERR 'Permissions Violation for Publish to \"fooo\"'\r\n"},
    {"pub", "PUB a.b 0\r\n\r\nPUB a.x 0\r\n\r\n",
     "-ERR 'Permissions Violation for Publish to \"a.x\"'\r\n"},
    {"pub", "SUB bar 1\r\nSUB b.> 2\r\n",
     "-ERR 'Permissions Violation for Subscription to \"b.>\"'\r\n"},
    {"pub", "SUB bar q 1\r\n", ""},
    {"sub", "SUB s.* 1\r\nPUB s.open 0\r\n\r\nPUB s.shut 0\r\n\r\n", "MSG s.open 1 0\r\n\r\n"},
    {"sub", "SUB s.shut 1\r\n", "-ERR 'Permissions Violation for Subscription to \"s.shut\"'\r\n"},
    {"sub", "SUB > 1\r\n", "-ERR 'Permissions Violation for Subscription to \">\"'\r\n"},
    {"queue", "SUB q.a v1.x 1\r\nSUB q.a v2 2\r\n",
     "-ERR 'Permissions Violation for Subscription to \"q.a\" using queue \"v2\"'\r\n"},
    {"queue", "SUB q.a 1\r\n", "-ERR 'Permissions Violation for Subscription to \"q.a\"'\r\n"},
    {"none", "PUB x 0\r\n\r\n", "-ERR 'Permissions Violation for Publish to \"x\"'\r\n"},
    {"none", "PUB only 0\r\n\r\n", ""},
    {"answer", "SUB req 1\r\nPUB req 0\r\n\r\n",
     "-ERR 'Permissions Violation for Publish to \"req\"'\r\n"},
};

static const char permissions_config[] =
    "authorization {\n"
    "  RW = { publish: [foo, a.*] , subscribe: bar }\n"
    "  default_permissions: { publish: only }\n"
    "  users: [\n"
    "    {user: pub, pass: p, permissions: { publish: { allow: [foo, a.*], deny: a.x }, subscribe: "
    "bar }}\n"
    "    {user: sub, pass: p, permissions: { subscribe: { allow: s.>, deny: [s.shut] } }}\n"
    "    {user: queue, pass: p, permissions: { subscribe: \"q.* v1.>\" }}\n"
    "    {user: answer, pass: p, permissions: { subscribe: req, allow_responses: { max: 2 } }}\n"
    "    {user: rw, pass: p, permissions: $RW}\n"
    "    {user: none, pass: p}\n"
    "    {user: all, pass: p, permissions: {}}\n"
    "  ]\n"
    "}\n";

static void login(struct raw_client *r, const struct server_process *s, const char *user)
{
    char fields[128];

    snprintf(fields, sizeof(fields), "\"user\":\"%s\",\"pass\":\"p\"", user);
    raw_hello(r, s->port, fields);
}

TEST(permissions_are_held)
{
    struct server_process s;

    start(&s, "1", permissions_config);
    for (size_t k = 0; k < sizeof(permitted) / sizeof(permitted[0]); k++) {
        struct raw_client r;
        login(&r, &s, permitted[k].user);
        raw_send(&r, permitted[k].send);
        raw_expect(&r, permitted[k].answer);
        raw_fence(&r);
        raw_close(&r);
    }
    end(&s);
}

/* One request may be answered twice, another subject never. */
/* What one member of a queue group may not have another one gets; with nobody else nobody has it.
 */
TEST(a_member_that_may_not_receive_is_passed_over)
{
    struct server_process s;
    struct raw_client held, free_one, asks;

    start(&s, i == 0 ? "1" : "2",
          "authorization { users: [ {user: held, pass: p, permissions: { subscribe: { allow: "
          "['a.*'], deny: [a.b] } }}, {user: any, pass: p} ] }\n");
    raw_hello(&held, s.port, "\"user\":\"held\",\"pass\":\"p\"");
    raw_hello(&free_one, s.port, "\"user\":\"any\",\"pass\":\"p\"");
    raw_hello(&asks, s.port,
              "\"user\":\"any\",\"pass\":\"p\",\"headers\":true,\"no_responders\":true");
    raw_send(&held, "SUB a.* q 1\r\n");
    raw_fence(&held);
    raw_send(&asks, "SUB r 1\r\nPUB a.b r 1\r\nx\r\n");
    raw_skip(&asks, "NATS/1.0 503\r\n");
    raw_send(&free_one, "SUB a.* q 1\r\n");
    raw_fence(&free_one);
    for (int k = 0; k < 50; k++) {
        raw_send(&asks, "PUB a.b 1\r\nx\r\n");
        raw_expect(&free_one, "MSG a.b 1 1\r\nx\r\n");
    }
    raw_fence(&held); /* nothing came there */
    raw_close(&held);
    raw_close(&free_one);
    raw_close(&asks);
    end(&s);
}

/* What a refused one said it is, as the peer's log has it. */
TEST(the_log_names_who_is_refused)
{
    static const struct {
        const char *config, *connect, *log;
    } tries[] = {
        {"user: a, password: b", "\"user\":\"x\",\"pass\":\"y\"", " - User \"x\""},
        {"user: a, password: b", "\"nkey\":\"UKEY\",\"sig\":\"eA\"", " - Nkey \"UKEY\""},
        {"token: a", "\"auth_token\":\"x\"", " - Token \"[REDACTED]\""},
        {"token: a", "\"user\":\"x\"", " - User \"[REDACTED]\""},
    };
    struct server_process s;
    struct raw_client c;
    char text[128];

    snprintf(text, sizeof(text), "authorization { %s }\n", tries[i].config);
    start(&s, "1", text);
    raw_open(&c, s.port);
    free(raw_line(&c));
    snprintf(text, sizeof(text), "CONNECT {%s}\r\n", tries[i].connect);
    raw_send(&c, text);
    raw_expect(&c, "-ERR 'Authorization Violation'\r\n");
    snprintf(text, sizeof(text), "authentication error%s\n", tries[i].log);
    server_process_log_wait(&s, text);
    raw_close(&c);
    end(&s);
}

/* As at the peer: who asks is told that nobody heard it. */
TEST(a_subscription_that_may_not_receive_is_no_receiver)
{
    struct server_process s;
    struct raw_client held, asks;

    start(&s, i == 0 ? "1" : "2",
          "authorization { users: [ {user: held, pass: p, permissions: { subscribe: { allow: "
          "['a.*'], deny: [a.b] } }}, {user: any, pass: p} ] }\n");
    raw_hello(&held, s.port, "\"user\":\"held\",\"pass\":\"p\"");
    raw_hello(&asks, s.port,
              "\"user\":\"any\",\"pass\":\"p\",\"headers\":true,\"no_responders\":true");
    raw_send(&held, "SUB a.* 1\r\n");
    raw_fence(&held);
    raw_send(&asks,
             "SUB r.* 1\r\nPUB a.b r.1 1\r\nx\r\nPUB a.c r.2 1\r\ny\r\nPUB a.b r.3 1\r\nz\r\n");
    raw_skip(&asks, "HMSG r.1 1 ");
    raw_skip(&asks, "NATS/1.0 503\r\n");
    raw_skip(&asks, "HMSG r.3 1 ");
    raw_skip(&asks, "NATS/1.0 503\r\n");
    raw_expect(&held, "MSG a.c 1 r.2 1\r\ny\r\n");
    raw_close(&held);
    raw_close(&asks);
    end(&s);
}

TEST(a_response_is_allowed_as_often_as_configured)
{
    struct server_process s;
    struct raw_client a, r;

    start(&s, i == 0 ? "1" : "2", permissions_config);
    login(&r, &s, "all");
    login(&a, &s, "answer");
    raw_send(&a, "SUB req 1\r\n");
    raw_fence(&a);
    raw_send(&r, "SUB in.* 1\r\nPUB req in.1 0\r\n\r\n");
    raw_fence(&r);
    raw_expect(&a, "MSG req 1 in.1 0\r\n\r\n");
    raw_send(&a, "PUB in.2 0\r\n\r\n");
    raw_expect(&a, "-ERR 'Permissions Violation for Publish to \"in.2\"'\r\n");
    raw_send(&a, "PUB in.1 1\r\na\r\nPUB in.1 1\r\nb\r\nPUB in.1 1\r\nc\r\n");
    raw_expect(&a, "-ERR 'Permissions Violation for Publish to \"in.1\"'\r\n");
    raw_expect(&r, "MSG in.1 1 1\r\na\r\nMSG in.1 1 1\r\nb\r\n");
    raw_fence(&r);
    raw_close(&a);
    raw_close(&r);
    end(&s);
}

/* Who offers nothing is the named user, also without a CONNECT; wrong credentials stay wrong. */
TEST(no_auth_user_takes_in_who_offers_nothing)
{
    struct server_process s;
    struct raw_client r;

    start(&s, "1",
          "no_auth_user: guest\nauthorization { users: [ {user: guest, pass: g, permissions: "
          "{publish: a}} {user: joe, pass: secret} ] }\n");
    raw_open(&r, s.port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "PUB b 0\r\n\r\n");
    raw_expect(&r, "-ERR 'Permissions Violation for Publish to \"b\"'\r\n");
    raw_close(&r);
    raw_hello(&r, s.port, "");
    raw_send(&r, "PUB b 0\r\n\r\n");
    raw_expect(&r, "-ERR 'Permissions Violation for Publish to \"b\"'\r\n");
    raw_send(&r,
             "CONNECT {\"user\":\"joe\",\"pass\":\"secret\",\"verbose\":false}\r\nPUB b 0\r\n\r\n");
    raw_fence(&r);
    raw_send(&r, "CONNECT {\"user\":\"joe\",\"pass\":\"x\"}\r\n");
    raw_expect(&r, "-ERR 'Authorization Violation'\r\n");
    raw_close(&r);
    end(&s);
}

/* A consumer that does not read is closed at max_pending, others are not disturbed, and the server
 * can stop. */
TEST(a_slow_consumer_is_closed)
{
    struct server_process s;
    struct raw_client slow, pub;
    char *body = malloc(65536 + 64);
    int head = snprintf(body, 64, "PUB slow 65000\r\n");

    start(&s, i == 0 ? "1" : "2", "max_pending: 1MB\nno_fast_producer_stall: true\n");
    raw_hello(&slow, s.port, "");
    raw_send(&slow, "SUB slow 1\r\n");
    raw_fence(&slow);
    raw_hello(&pub, s.port, "");
    memset(body + head, 'x', 65000);
    memcpy(body + head + 65000, "\r\n", 2);
    for (int k = 0; k < 2000 && !server_process_log_has(
                                    &s, "Slow Consumer Detected: MaxPending of 1048576 Exceeded");
         k++) {
        raw_send_bytes(&pub, body, (size_t) head + 65002);
        raw_fence(&pub);
    }
    ck_assert(server_process_log_has(&s, "Slow Consumer Detected: MaxPending of 1048576 Exceeded"));
    raw_fence(&pub);
    raw_close(&slow);
    raw_close(&pub);
    free(body);
    end(&s);
}

/* A send that does not end within write_deadline ends the connection. */
TEST(a_missed_write_deadline_closes)
{
    struct server_process s;
    struct raw_client deaf, pub;
    char *body = malloc(65536 + 64);
    int head = snprintf(body, 64, "PUB deaf 65000\r\n");

    start(&s, i == 0 ? "1" : "2", "write_deadline: \"1s\"\nno_fast_producer_stall: true\n");
    raw_hello(&deaf, s.port, "");
    raw_send(&deaf, "SUB deaf 1\r\n");
    raw_fence(&deaf);
    raw_hello(&pub, s.port, "");
    memset(body + head, 'x', 65000);
    memcpy(body + head + 65000, "\r\n", 2);
    for (int k = 0; k < 400; k++)
        raw_send_bytes(&pub, body, (size_t) head + 65002);
    raw_fence(&pub);
    server_process_log_wait(&s, "Slow Consumer Detected: WriteDeadline of 1s exceeded with ");
    raw_fence(&pub);
    free(body);
    raw_close(&deaf);
    raw_close(&pub);
    end(&s);
}

/* Who answers none of ping_max pings is gone. */
TEST(a_silent_client_is_stale)
{
    struct server_process s;
    struct raw_client r;

    start(&s, "1", "ping_interval: \"200ms\"\nping_max: 2\n");
    raw_hello(&r, s.port, "");
    raw_skip(&r, "PING\r\nPING\r\n-ERR 'Stale Connection'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    end(&s);
}

/* A client may be gone before the fence of its PING has come back from the other workers; what
 * waits for it must not look at its socket. (What it would read there, the address sanitizer sees.)
 */
TEST(a_pong_for_nobody)
{
    static const char hello[] = "CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
    struct server_process s;
    struct raw_client r;

    start(&s, "4", NULL);
    for (int k = 0; k < 300; k++) {
        raw_open(&r, s.port);
        raw_send(&r, hello);
        setsockopt(r.fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1},
                   sizeof(struct linger));
        raw_close(&r);
    }
    raw_hello(&r, s.port, "");
    raw_close(&r);
    end(&s);
}

/* One that is being closed and does not read must not keep the server from stopping. 0 is the
 * default deadline, not none. */
TEST(stops_while_a_client_does_not_read)
{
    static const char *const configs[] = {
        "write_deadline: \"1s\"\nno_fast_producer_stall: true\n",
        "write_deadline: 0\nno_fast_producer_stall: true\n",
    };
    struct server_process s;
    struct raw_client deaf, pub;
    char *body = malloc(65536 + 64);
    int head = snprintf(body, 64, "PUB deaf 65000\r\n");

    start(&s, "1", configs[i]);
    raw_hello(&deaf, s.port, "");
    raw_send(&deaf, "SUB deaf 1\r\n");
    raw_fence(&deaf);
    raw_hello(&pub, s.port, "");
    memset(body + head, 'x', 65000);
    memcpy(body + head + 65000, "\r\n", 2);
    for (int k = 0; k < 300; k++)
        raw_send_bytes(&pub, body, (size_t) head + 65002);
    raw_fence(&pub);
    free(body);
    end(&s);
    raw_close(&deaf);
    raw_close(&pub);
}

static const struct runner_case cases[] = {
    RUN(answers_each_line),
    RUN(a_long_line_ends_the_connection),
    RUN(an_end_with_unread_input_is_no_reset),
    RUN_LOOP(headers_echo_and_no_responders, 0, 2),
    RUN_LOOP(a_max_counts_from_the_start, 0, 3),
    RUN_LOOP(a_queue_member_gets_each_message_once, 0, 3),
    RUN(every_cut_gives_the_same),
    RUN_LOOP(large_bodies_in_odd_pieces, 0, 2),
    RUN(configured_limits_hold),
    RUN_LOOP(info_says_where_the_server_is, 0, (int) (sizeof(infos) / sizeof(infos[0]))),
    RUN(pings_behind_a_second_slow_connect),
    RUN_LOOP(credentials, 0, (int) (sizeof(logins) / sizeof(logins[0]))),
    RUN(permissions_are_held),
    RUN_LOOP(a_member_that_may_not_receive_is_passed_over, 0, 2),
    RUN_LOOP(the_log_names_who_is_refused, 0, 4),
    RUN_LOOP(a_subscription_that_may_not_receive_is_no_receiver, 0, 2),
    RUN_LOOP(a_response_is_allowed_as_often_as_configured, 0, 2),
    RUN(no_auth_user_takes_in_who_offers_nothing),
    RUN_LOOP(a_slow_consumer_is_closed, 0, 2),
    RUN_LOOP(a_missed_write_deadline_closes, 0, 2),
    RUN(a_silent_client_is_stale),
    RUN(a_pong_for_nobody),
    RUN_LOOP(stops_while_a_client_does_not_read, 0, 2),
};

RUNNER_MAIN("api/protocol", cases)
