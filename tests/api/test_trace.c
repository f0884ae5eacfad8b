/* Traced messages: what an event tells, what is not delivered, borders of accounts. */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const workers[] = {"1", "2", "4"};

static const char conf[] =
    "server_name: here\n"
    "accounts {\n"
    "  A { users: [ {user: a, password: a}\n"
    "               {user: c, password: c, permissions: {publish: [open, t.*]}} ]\n"
    "      jetstream: enabled\n"
    "      exports: [ {stream: \"out.>\"}, {service: svc, allow_trace: true}, {service: dark} ]\n"
    "      msg_trace: t.ext\n"
    "      mappings: { from: to } }\n"
    "  B { users: [ {user: b, password: b} ]\n"
    "      msg_trace: {dest: t.some, sampling: \"100%\"}\n"
    "      imports: [ {stream: {account: A, subject: \"out.a.>\"}, prefix: x, allow_trace: true}\n"
    "                 {stream: {account: A, subject: \"out.b.>\"}, prefix: x}\n"
    "                 {service: {account: A, subject: svc}}\n"
    "                 {service: {account: A, subject: dark}, to: d} ] }\n"
    "}\n";

struct rig {
    struct server_process server;
    char config[200];
    struct raw_client a, b, events, events_b;
};

static void login(struct raw_client *c, const struct rig *r, const char *name)
{
    char fields[160];

    snprintf(fields, sizeof(fields),
             "\"user\":\"%s\",\"pass\":\"%s\",\"headers\":true,\"no_responders\":true,"
             "\"name\":\"of %s\"",
             name, name, name);
    raw_hello(c, r->server.port, fields);
}

static void start(struct rig *r, int w)
{
    FILE *f;

    server_process_init(&r->server);
    snprintf(r->config, sizeof(r->config), "%s/conf", r->server.dir);
    f = fopen(r->config, "we");
    ck_assert(f != NULL);
    fputs(conf, f);
    fclose(f);
    r->server.args[0] = "--workers";
    r->server.args[1] = workers[w];
    r->server.args[2] = "-c";
    r->server.args[3] = r->config;
    server_process_start(&r->server);
    login(&r->a, r, "a");
    login(&r->b, r, "b");
    login(&r->events, r, "a");
    login(&r->events_b, r, "b");
    raw_send(&r->events, "SUB t.* 1\r\n");
    raw_send(&r->events_b, "SUB t.* 1\r\n");
    raw_fence(&r->events);
    raw_fence(&r->events_b);
}

static void end(struct rig *r)
{
    raw_close(&r->a);
    raw_close(&r->b);
    raw_close(&r->events);
    raw_close(&r->events_b);
    server_process_deinit(&r->server);
}

static void publish(struct raw_client *c, const char *subject, const char *headers)
{
    char text[600];
    size_t n = strlen("NATS/1.0\r\n") + strlen(headers) + 2;

    snprintf(text, sizeof(text), "HPUB %s %zu %zu\r\nNATS/1.0\r\n%s\r\nhi\r\n", subject, n, n + 2,
             headers);
    raw_send(c, text);
}

/* The next event has these texts, and as many receivers as there are "eg" and "js" in it. */
static void tells(struct raw_client *c, const char *subject, int receivers,
                  const char *const *wants)
{
    struct raw_msg m;
    int n = 0;

    raw_msg(c, &m);
    ck_assert_str_eq(m.subject, subject);
    for (; *wants != NULL; wants++)
        ck_assert_msg(strstr(m.body, *wants) != NULL, "%s\nwanted %s", m.body, *wants);
    for (const char *at = m.body; (at = strstr(at, "\"type\":\"")) != NULL; at++)
        n += strncmp(at + 8, "eg", 2) == 0 || strncmp(at + 8, "js", 2) == 0;
    ck_assert_msg(n == receivers, "%s", m.body);
    free(m.body);
}
#define TELLS(c, subject, n, ...) tells(c, subject, n, (const char *const[]){__VA_ARGS__, NULL})

#define TO_1 "Nats-Trace-Dest: t.1\r\n"
#define ONLY TO_1 "Nats-Trace-Only: true\r\n"

TEST(names_all_receivers)
{
    struct rig r;
    struct raw_client more[3];
    struct raw_msg m;

    start(&r, i);
    raw_send(&r.a, "SUB foo 2\r\nSUB foo g 3\r\n");
    raw_fence(&r.a);
    for (int k = 0; k < 3; k++) {
        login(&more[k], &r, "a");
        raw_send(&more[k], "SUB f* 7\r\nSUB f*.> 8\r\nSUB foo g 9\r\nSUB * 10\r\n");
        raw_fence(&more[k]);
    }
    publish(&r.a, "foo", TO_1);
    TELLS(&r.events, "t.1", 1 + 1 + 3, "\"server\":{\"name\":\"here\"",
          "\"request\":{\"header\":{\"Nats-Trace-Dest\":[\"t.1\"]},\"msgsize\":36}",
          "\"events\":[{\"type\":\"in\",", "\"acc\":\"A\",\"subj\":\"foo\"}", "\"name\":\"of a\"",
          "\"sub\":\"*\"", "\"queue\":\"g\"");
    for (int k = 0; k < 3; k++) {
        /* It was delivered to each, whoever of the group got it, too. */
        do {
            raw_msg(&more[k], &m);
            ck_assert_str_eq(m.subject, "foo");
            free(m.body);
        } while (strcmp(m.sid, "10") != 0);
    }
    publish(&r.a, "foo", ONLY);
    TELLS(&r.events, "t.1", 1 + 1 + 3, "\"Nats-Trace-Only\":[\"true\"]");
    raw_send(&r.a, "PUB end 0\r\n\r\n");
    for (int k = 0; k < 3; k++) {
        do {
            raw_msg(&more[k], &m);
            ck_assert_msg(strcmp(m.subject, "foo") != 0 || strcmp(m.sid, "9") == 0, "%s %s",
                          m.subject, m.sid);
            free(m.body);
        } while (strcmp(m.subject, "end") != 0);
        raw_close(&more[k]);
    }
    publish(&r.a, "nobody.here", TO_1);
    TELLS(&r.events, "t.1", 0, "\"subj\":\"nobody.here\"");
    end(&r);
}

TEST(mappings_and_streams)
{
    struct rig r;
    char *got;

    start(&r, i);
    got = raw_ask(&r.a, "$JS.API.STREAM.CREATE.S",
                  "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"subject_transform\":{\"src\":\"s.*\","
                  "\"dest\":\"z.$1\"}}");
    ck_assert_msg(strstr(got, "\"config\"") != NULL, "%s", got);
    free(got);
    publish(&r.a, "from", TO_1);
    TELLS(&r.events, "t.1", 0, "\"type\":\"sm\"", "\"to\":\"to\"");
    publish(&r.a, "s.1", ONLY);
    TELLS(&r.events, "t.1", 1, "\"type\":\"js\"", "\"stream\":\"S\"", "\"subject\":\"z.1\"");
    publish(&r.a, "s.1", TO_1);
    TELLS(&r.events, "t.1", 1, "\"type\":\"js\"");
    got = raw_ask(&r.a, "$JS.API.STREAM.INFO.S", "");
    /* Only one of them is there. Before it is durable there may be none. */
    ck_assert_msg(strstr(got, "\"last_seq\":2") == NULL, "%s", got);
    free(got);
    end(&r);
}

TEST(borders)
{
    struct rig r;
    struct raw_msg m;

    start(&r, i);
    raw_send(&r.a, "SUB svc 2\r\nSUB dark 3\r\n");
    raw_fence(&r.a);
    raw_send(&r.b, "SUB x.> 2\r\n");
    raw_fence(&r.b);
    publish(&r.a, "out.a.1", ONLY);
    TELLS(&r.events, "t.1", 1, "\"type\":\"se\"", "\"acc\":\"B\",\"to\":\"x.out.a.1\"",
          "\"type\":\"eg\"");
    publish(&r.a, "out.b.1", ONLY);
    TELLS(&r.events, "t.1", 0, "\"type\":\"se\"", "\"acc\":\"B\",\"to\":\"x.out.b.1\"");
    publish(&r.a, "out.b.1", TO_1);
    TELLS(&r.events, "t.1", 0, "\"type\":\"se\"");
    raw_msg(&r.b, &m);
    ck_assert_str_eq(m.subject, "x.out.b.1");
    ck_assert_msg(strstr(m.body, "Nats-Trace-Dest: trace disabled\r\n") != NULL, "%s", m.body);
    free(m.body);
    publish(&r.b, "svc", ONLY);
    TELLS(&r.events_b, "t.1", 1, "\"type\":\"si\"", "\"acc\":\"A\",\"from\":\"svc\",\"to\":\"svc\"",
          "\"type\":\"eg\"");
    publish(&r.b, "d", ONLY);
    TELLS(&r.events_b, "t.1", 0, "\"type\":\"si\"", "\"from\":\"d\",\"to\":\"dark\"");
    publish(&r.b, "d", TO_1);
    TELLS(&r.events_b, "t.1", 0, "\"type\":\"si\"");
    raw_msg(&r.a, &m);
    ck_assert_str_eq(m.subject, "dark");
    free(m.body);
    raw_fence(&r.events);
    end(&r);
}

TEST(traces_from_elsewhere)
{
    static const char *const not_sampled[] = {
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-f1\r\n",
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0x\r\n",
        "traceparent:\r\n",
        "Nats-Trace-Dest: trace disabled\r\n",
        "Nats-Trace-Only: true\r\n",
        "trace: 1\r\n",
    };
    struct rig r;

    start(&r, i);
    for (size_t k = 0; k < sizeof(not_sampled) / sizeof(not_sampled[0]); k++)
        publish(&r.a, "quiet", not_sampled[k]);
    publish(&r.a, "ext",
            "TraceParent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n");
    TELLS(&r.events, "t.ext", 0, "\"subj\":\"ext\"", "\"TraceParent\":[\"00-");
    publish(&r.b, "ext",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03\r\n");
    TELLS(&r.events_b, "t.some", 0, "\"acc\":\"B\"");
    end(&r);
}

TEST(rights)
{
    struct rig r;
    struct raw_client c;

    start(&r, i);
    login(&c, &r, "c");
    publish(&c, "shut", TO_1);
    raw_expect(&c, "-ERR 'Permissions Violation for Publish to \"shut\"'\r\n");
    TELLS(&r.events, "t.1", 0, "\"error\":\"Permissions Violation for Publish to \\\"shut\\\"\"");
    publish(&c, "open", "Nats-Trace-Dest: elsewhere\r\n");
    raw_expect(&c, "-ERR 'Permissions Violation for Publish to \"elsewhere\"'\r\n");
    publish(&c, "open", "Nats-Trace-Dest: not.a.*\r\nNats-Trace-Only: 1\r\n");
    publish(&c, "open", TO_1);
    TELLS(&r.events, "t.1", 0, "\"subj\":\"open\"");
    raw_fence(&c);
    raw_close(&c);
    end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(names_all_receivers, 0, 3),
    RUN_LOOP(mappings_and_streams, 0, 3),
    RUN_LOOP(borders, 0, 3),
    RUN_LOOP(traces_from_elsewhere, 0, 3),
    RUN_LOOP(rights, 0, 3),
};

RUNNER_MAIN("api/trace", cases)
