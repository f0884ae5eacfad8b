/* Accounts over the wire: isolation, imports and exports, mappings, limits, reload. */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const workers[] = {"1", "2", "4"};

static char config[256];

static void write_config(const struct server_process *s, const char *text)
{
    FILE *f;

    snprintf(config, sizeof(config), "%s/conf", s->dir);
    f = fopen(config, "we");
    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void start(struct server_process *s, int w, const char *text)
{
    server_process_init(s);
    write_config(s, text);
    s->args[0] = "--workers";
    s->args[1] = workers[w];
    s->args[2] = "-c";
    s->args[3] = config;
    server_process_start(s);
}

static void login(struct raw_client *r, const struct server_process *s, const char *name)
{
    char fields[128];

    snprintf(fields, sizeof(fields),
             "\"user\":\"%s\",\"pass\":\"%s\",\"headers\":true,\"no_responders\":true", name, name);
    raw_hello(r, s->port, fields);
}

static const char three[] =
    "accounts {\n"
    "  A { users: [ {user: a, password: a} ]\n"
    "      exports: [ {stream: \"out.>\"}, {service: \"svc.*\"}, {service: many, response: "
    "stream}\n"
    "                 {service: private, accounts: [C]} ]\n"
    "      mappings: { foo: bar, \"w.*\": \"x.$1\" } }\n"
    "  B { users: [ {user: b, password: b} ]\n"
    "      imports: [ {stream: {account: A, subject: \"out.>\"}, prefix: froma}\n"
    "                 {service: {account: A, subject: \"svc.*\"}, to: \"my.svc.*\"}\n"
    "                 {service: {account: A, subject: many}} ]\n"
    "      limits: { max_connections: 4, max_subscriptions: 3, max_payload: 100 } }\n"
    "  C { users: [ {user: c, password: c} ]\n"
    "      imports: [ {service: {account: A, subject: private}, to: p}\n"
    "                 {stream: {account: A, subject: out.one}, to: one} ] }\n"
    "}\n";

TEST(accounts_are_apart)
{
    struct server_process s;
    struct raw_client a, b;

    start(&s, i, three);
    login(&a, &s, "a");
    login(&b, &s, "b");
    raw_send(&a, "SUB > 1\r\n");
    raw_fence(&a);
    raw_send(&b, "SUB > 1\r\nPUB x 1\r\nb\r\n");
    raw_expect(&b, "MSG x 1 1\r\nb\r\n");
    raw_fence(&b);
    raw_send(&a, "PUB y 1\r\na\r\n");
    raw_expect(&a, "MSG y 1 1\r\na\r\n");
    raw_fence(&a);
    raw_fence(&b);
    raw_close(&a);
    raw_close(&b);
    server_process_deinit(&s);
}

TEST(streams_cross)
{
    struct server_process s;
    struct raw_client a, b, c;

    start(&s, i, three);
    login(&a, &s, "a");
    login(&b, &s, "b");
    login(&c, &s, "c");
    raw_send(&b, "SUB froma.> 1\r\n");
    raw_send(&c, "SUB one g 1\r\n");
    raw_fence(&b);
    raw_fence(&c);
    raw_send(&a, "PUB out.one r 1\r\n1\r\nPUB out.two 1\r\n2\r\nPUB in.one 1\r\n3\r\n");
    raw_expect(&b, "MSG froma.out.one 1 r 1\r\n1\r\nMSG froma.out.two 1 1\r\n2\r\n");
    raw_expect(&c, "MSG one 1 r 1\r\n1\r\n");
    raw_fence(&a);
    raw_fence(&b);
    raw_fence(&c);
    raw_close(&a);
    raw_close(&b);
    raw_close(&c);
    server_process_deinit(&s);
}

static void answer(struct raw_client *a, const char *subject, const char *payload,
                   const char *answers)
{
    struct raw_msg m;
    char text[900];

    raw_msg(a, &m);
    ck_assert_str_eq(m.subject, subject);
    ck_assert_msg(strncmp(m.reply, "_R_.", 4) == 0, "%s", m.reply);
    ck_assert_msg(strstr(m.body, "Nats-Request-Info: {\"acc\":\"") != NULL, "%s", m.body);
    ck_assert_str_eq(m.body + m.header_n, payload);
    for (; *answers != '\0'; answers++) {
        snprintf(text, sizeof(text), "PUB %s %d\r\n%.*s\r\n", m.reply, *answers != '.',
                 *answers != '.', answers);
        raw_send(a, text);
    }
    free(m.body);
}

TEST(services_cross)
{
    struct server_process s;
    struct raw_client a, b, c;

    start(&s, i, three);
    login(&a, &s, "a");
    login(&b, &s, "b");
    login(&c, &s, "c");
    raw_send(&a, "SUB svc.* 1\r\nSUB many 2\r\nSUB private 3\r\n");
    raw_fence(&a);
    raw_send(&b, "SUB in.* 9\r\nPUB my.svc.q in.1 2\r\nhi\r\n");
    answer(&a, "svc.q", "hi", "12");
    raw_expect(&b, "MSG in.1 9 1\r\n1\r\n");
    raw_send(&b, "PUB my.svc.* in.1 2\r\nhi\r\n"); /* a token like others */
    answer(&a, "svc.*", "hi", "7");
    raw_expect(&b, "MSG in.1 9 1\r\n7\r\n");
    raw_send(&b, "PUB many in.2 2\r\nhi\r\n");
    answer(&a, "many", "hi", "12.3");
    raw_expect(&b, "MSG in.2 9 1\r\n1\r\nMSG in.2 9 1\r\n2\r\nMSG in.2 9 0\r\n\r\n");
    raw_send(&c, "SUB in.* 9\r\nPUB p in.3 0\r\n\r\n");
    answer(&a, "private", "", "x");
    raw_expect(&c, "MSG in.3 9 1\r\nx\r\n");
    /* Not by its own name, not what was not exported, and not when nobody is there. */
    raw_send(&b, "PUB svc.q in.4 0\r\n\r\n");
    raw_expect(&b, "HMSG in.4 9 37 37\r\nNATS/1.0 503\r\nNats-Subject: svc.q\r\n\r\n\r\n");
    raw_send(&a, "UNSUB 1\r\n");
    raw_fence(&a);
    raw_send(&b, "PUB my.svc.q in.5 0\r\n\r\n");
    raw_expect(&b, "HMSG in.5 9 40 40\r\nNATS/1.0 503\r\nNats-Subject: my.svc.q\r\n\r\n\r\n");
    raw_fence(&a);
    raw_fence(&b);
    raw_close(&a);
    raw_close(&b);
    raw_close(&c);
    server_process_deinit(&s);
}

TEST(mappings_and_limits)
{
    struct server_process s;
    struct raw_client a, b, more;

    start(&s, i, three);
    login(&a, &s, "a");
    raw_send(&a, "SUB bar 1\r\nSUB x.* 2\r\nSUB foo 3\r\nSUB w.* 4\r\nPUB foo 1\r\n1\r\nPUB w.z "
                 "1\r\n2\r\nPUB foo 1\r\n3\r\nPUB bar 1\r\n4\r\n");
    raw_expect(&a, "MSG bar 1 1\r\n1\r\nMSG x.z 2 1\r\n2\r\nMSG bar 1 1\r\n3\r\nMSG bar 1 "
                   "1\r\n4\r\n");
    raw_fence(&a);
    login(&b, &s, "b");
    raw_send(&b, "SUB 1 1\r\nSUB 2 2\r\nSUB 3 3\r\nSUB 4 4\r\n");
    raw_expect(&b, "-ERR 'maximum subscriptions exceeded'\r\n");
    raw_send(&b, "UNSUB 1\r\nSUB 4 4\r\n");
    raw_fence(&b);
    login(&more, &s, "b"); /* each connection has as many */
    raw_send(&more, "SUB 1 1\r\nSUB 2 2\r\nSUB 3 3\r\n");
    raw_fence(&more);
    raw_close(&more);
    login(&more, &s, "b");
    raw_send(&more, "PUB x 101\r\n");
    raw_skip(&more, "-ERR 'Maximum Payload Violation'\r\n");
    raw_expect_end(&more);
    raw_close(&more);
    raw_close(&a);
    raw_close(&b);
    server_process_deinit(&s);
}

TEST(full_accounts_refuse)
{
    struct server_process s;
    struct raw_client in[4], out;

    start(&s, i, three);
    for (int k = 0; k < 4; k++)
        login(&in[k], &s, "b");
    raw_open(&out, s.port);
    raw_send(&out, "CONNECT {\"verbose\":false,\"user\":\"b\",\"pass\":\"b\"}\r\nPING\r\n");
    raw_skip(&out, "-ERR 'maximum account active connections exceeded'\r\n");
    raw_expect_end(&out);
    raw_close(&out);
    login(&out, &s, "c");
    raw_close(&out);
    for (int k = 0; k < 4; k++)
        raw_close(&in[k]);
    server_process_deinit(&s);
}

static void reload(const struct server_process *s, const char *text, const char *log)
{
    write_config(s, text);
    kill(s->pid, SIGHUP);
    server_process_log_wait(s, log);
}

/* Imports, accounts and users come and go with a reload; who stays keeps its connection. */
TEST(reloads)
{
    struct server_process s;
    struct raw_client a, b, d;

    start(&s, i,
          "accounts { A { users: [ {user: a, password: a} ] }\n"
          "B { users: [ {user: b, password: b} ] } }\n");
    login(&a, &s, "a");
    login(&b, &s, "b");
    raw_send(&b, "SUB > 1\r\n");
    raw_fence(&b);
    raw_send(&a, "PUB out 1\r\n1\r\n");
    raw_fence(&a);
    raw_fence(&b);
    reload(&s,
           "accounts { A { users: [ {user: a, password: a} ], exports: [ {stream: out} ] }\n"
           "B { users: [ {user: b, password: b} ]\n"
           "    imports: [ {stream: {account: A, subject: out}, to: in} ] }\n"
           "D { users: [ {user: d, password: d} ]\n"
           "    imports: [ {stream: {account: A, subject: out}} ] } }\n",
           "Reloaded server configuration");
    login(&d, &s, "d");
    raw_send(&d, "SUB > 1\r\n");
    raw_fence(&d);
    raw_send(&a, "PUB out 1\r\n2\r\n");
    raw_expect(&b, "MSG in 1 1\r\n2\r\n");
    raw_expect(&d, "MSG out 1 1\r\n2\r\n");
    reload(&s, "accounts { A { imports: [ {stream: {account: B, subject: x}} ] }, B {} }\n",
           "Failed to reload server configuration");
    raw_send(&a, "PUB out 1\r\n3\r\n");
    raw_expect(&b, "MSG in 1 1\r\n3\r\n");
    raw_close(&a);
    raw_close(&b);
    raw_close(&d);
    server_process_deinit(&s);
}

/* Has the server ended this one? It says why. */
static bool was_told_to_go(struct raw_client *r)
{
    char *line;
    bool gone;

    raw_send(r, "PING\r\n");
    line = raw_line(r);
    gone = strcmp(line, "-ERR 'maximum account active connections exceeded'") == 0;
    if (!gone)
        ck_assert_str_eq(line, "PONG");
    free(line);
    return gone;
}

/* What is too much by a lowered limit goes with its words, wherever it lives. */
TEST(a_reload_lowers_a_limit)
{
    struct server_process s;
    struct raw_client in[4];
    struct pollfd ends[4];
    int gone = -1;

    start(&s, i, three);
    for (int k = 0; k < 4; k++) {
        login(&in[k], &s, "b");
        ends[k] = (struct pollfd){.fd = in[k].fd, .events = POLLIN};
    }
    reload(&s, "accounts { B { users: [ {user: b, password: b} ], limits: { max_conn: 3 } } }\n",
           "Reloaded server configuration");
    while (gone < 0) { /* others may have a PING of the server's */
        ck_assert_int_gt(poll(ends, 4, 20000), 0);
        for (int k = 0; k < 4 && gone < 0; k++)
            if (ends[k].revents != 0 && was_told_to_go(&in[k]))
                gone = k;
    }
    raw_expect_end(&in[gone]);
    for (int k = 0; k < 4; k++) {
        if (k != gone)
            raw_fence(&in[k]);
        raw_close(&in[k]);
    }
    server_process_deinit(&s);
}

/* INFO behind the first PONG names the account, and says whether it is the system's. */
TEST(who_is_in_is_told_where)
{
    static const char *const users[] = {"a", "s"};
    struct server_process s;
    struct raw_client r;
    char *line, text[128];

    start(&s, 0,
          "accounts { A { users: [ {user: a, password: a} ] }\n"
          "SYS { users: [ {user: s, password: s} ] } }\n"
          "system_account: SYS\n");
    for (int k = 0; k < 2; k++) {
        raw_open(&r, s.port);
        snprintf(text, sizeof(text),
                 "CONNECT {\"verbose\":false,\"protocol\":1,\"user\":\"%s\",\"pass\":\"%s\"}\r\n"
                 "PING\r\n",
                 users[k], users[k]);
        raw_send(&r, text);
        raw_skip(&r, "PONG\r\n");
        line = raw_line(&r);
        ck_assert_ptr_nonnull(
            strstr(line, k == 0 ? "\"remote_account\":\"A\"" : "\"remote_account\":\"SYS\""));
        ck_assert_int_eq(strstr(line, "\"acc_is_sys\":true") != NULL, k);
        free(line);
        raw_close(&r);
    }
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(accounts_are_apart, 0, 3),      RUN_LOOP(streams_cross, 0, 3),
    RUN_LOOP(services_cross, 0, 3),          RUN_LOOP(mappings_and_limits, 0, 3),
    RUN_LOOP(full_accounts_refuse, 0, 3),    RUN_LOOP(reloads, 0, 3),
    RUN_LOOP(a_reload_lowers_a_limit, 0, 3), RUN(who_is_in_is_told_where),
};

RUNNER_MAIN("api/accounts", cases)
