/* Services of other accounts: who asks, and how long answers take; who uses the API. */
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
    "  A { users: [ {user: a, password: a} ]\n"
    "      jetstream: enabled\n"
    "      exports: [ {service: all, latency: {sampling: 100, subject: lat}}\n"
    "                 {service: some, latency: {sampling: headers, subject: lat}}\n"
    "                 {service: slow, threshold: \"100ms\", latency: lat} ] }\n"
    "  B { users: [ {user: b, password: b} ]\n"
    "      imports: [ {service: {account: A, subject: all}, share: true}\n"
    "                 {service: {account: A, subject: slow}}\n"
    "                 {service: {account: A, subject: some}, to: s} ]\n"
    "      exports: [ {service: far} ] }\n"
    "}\n";

struct rig {
    struct server_process server;
    char config[200];
    struct raw_client service, b, events;
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
    login(&r->service, r, "a");
    login(&r->b, r, "b");
    login(&r->events, r, "a");
    raw_send(&r->events, "SUB lat 1\r\nSUB $JS.EVENT.ADVISORY.API 2\r\n");
    raw_fence(&r->events);
}

static void end(struct rig *r)
{
    raw_close(&r->service);
    raw_close(&r->b);
    raw_close(&r->events);
    server_process_deinit(&r->server);
}

static void hears(struct raw_client *c, const char *const *wants)
{
    struct raw_msg m;

    raw_msg(c, &m);
    for (; *wants != NULL; wants++)
        ck_assert_msg(strstr(m.body, *wants) != NULL, "%s\nwanted %s", m.body, *wants);
    free(m.body);
}
#define HEARS(c, ...) hears(c, (const char *const[]){__VA_ARGS__, NULL})

static void publish(struct raw_client *c, const char *subject, const char *headers)
{
    char text[600];
    size_t n = strlen("NATS/1.0\r\n") + strlen(headers) + 2;

    snprintf(text, sizeof(text), "HPUB %s in.1 %zu %zu\r\nNATS/1.0\r\n%s\r\nhi\r\n", subject, n,
             n + 2, headers);
    raw_send(c, text);
}

static void answer(struct rig *r, const char *info)
{
    struct raw_msg m;
    char text[800];

    raw_msg(&r->service, &m);
    ck_assert_msg(strstr(m.body, info) != NULL, "%s\nwanted %s", m.body, info);
    snprintf(text, sizeof(text), "PUB %s 1\r\nx\r\n", m.reply);
    raw_send(&r->service, text);
    free(m.body);
}

#define TYPE "\"type\":\"io.nats.server.metric.v1.service_latency\""

TEST(measures)
{
    struct rig r;

    start(&r, i);
    raw_send(&r.b, "SUB in.* 1\r\n");
    raw_send(&r.b, "PUB all in.0 0\r\n\r\n");
    HEARS(&r.events, TYPE, "\"status\":503,\"description\":\"Service Unavailable\"",
          "\"user\":\"b\"", "\"service\":0,\"system\":0,\"total\":0");
    raw_skip(&r.b, "503");
    raw_skip(&r.b, "\r\n\r\n\r\n");
    raw_send(&r.service, "SUB all 1\r\nSUB some 2\r\nSUB slow 3\r\n");
    raw_fence(&r.service);
    raw_send(&r.b, "PUB all 0\r\n\r\n");
    HEARS(&r.events, TYPE, "\"status\":400,\"description\":\"Bad Request\"");
    raw_send(&r.b, "PUB all in.1 2\r\nhi\r\n");
    HEARS(&r.service, "Nats-Request-Info: {\"start\":"); /* that without a reply */
    answer(&r, "\"user\":\"b\",\"name\":\"of b\"");
    HEARS(&r.events, TYPE, "\"status\":200,\"requestor\":{\"start\":", "\"responder\":{\"start\":",
          "\"name\":\"of a\"", "\"kind\":\"Client\"", "\"total\":");
    raw_expect(&r.b, "MSG in.1 1 1\r\nx\r\n");
    raw_send(&r.b, "PUB slow in.2 2\r\nhi\r\n");
    HEARS(&r.events, TYPE, "\"status\":504,\"description\":\"Service Timeout\"",
          "\"requestor\":{\"acc\":\"B\"");
    end(&r);
}

TEST(measures_what_headers_ask_for)
{
    static const struct {
        const char *header, *want; /* NULL: it is not measured */
    } table[] = {
        {"x: y\r\n", NULL},
        {"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n", NULL},
        {"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\ntracestate: "
         "a=b\r\n",
         "\"header\":{\"Traceparent\":[\"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\"]"
         ",\"Tracestate\":[\"a=b\"]}"},
        {"X-B3-Sampled: 0\r\nX-B3-TraceId: 1\r\n", NULL},
        {"X-B3-Sampled: 1\r\n", "\"header\":{\"X-B3-Sampled\":[\"1\"]}"},
        {"x-b3-traceid: 7\r\n", "\"header\":{\"X-B3-Traceid\":[\"7\"]}"},
        {"b3: 0\r\n", NULL},
        {"b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-0\r\n", NULL},
        {"b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1\r\n", "\"header\":{\"B3\":["},
        {"Uber-Trace-Id: 1:2:3:0\r\n", NULL},
        {"Uber-Trace-Id: 1:2:3:1\r\n", "\"header\":{\"Uber-Trace-Id\":[\"1:2:3:1\"]}"},
        {"Uber-Trace-Id: 1:2:3\r\n", NULL},
        {"Uber-Trace-Id: ::::\r\n", NULL},
    };
    struct rig r;

    start(&r, i);
    raw_send(&r.service, "SUB some 2\r\nSUB all 3\r\n");
    raw_fence(&r.service);
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        publish(&r.b, "s", table[k].header);
        answer(&r, "Nats-Request-Info: {\"acc\":\"B\"");
        if (table[k].want != NULL)
            HEARS(&r.events, TYPE, table[k].want, "\"requestor\":{\"acc\":\"B\"");
    }
    /* Nothing was measured that was not asked for: this one comes next. */
    publish(&r.b, "all", "x: y\r\n");
    answer(&r, "\"user\":\"b\"");
    HEARS(&r.events, TYPE, "\"user\":\"b\"");
    end(&r);
}

TEST(nobody_says_who_it_is_itself)
{
    struct rig r;
    struct raw_msg m;

    start(&r, i);
    raw_send(&r.service, "SUB some 2\r\n");
    raw_fence(&r.service);
    publish(&r.b, "s", "Nats-Request-Info: {\"acc\":\"A\"}\r\nNats-Request-Info: 2\r\n");
    raw_msg(&r.service, &m);
    ck_assert_msg(strstr(m.body, "{\"acc\":\"A\"}") == NULL, "%s", m.body);
    ck_assert_msg(strstr(m.body, "Nats-Request-Info: {\"acc\":\"B\",\"rtt\":") != NULL, "%s",
                  m.body);
    ck_assert_msg(strstr(strstr(m.body, "Nats-Request-Info") + 1, "Nats-Request-Info") == NULL,
                  "%s", m.body);
    free(m.body);
    end(&r);
}

TEST(audits_name_the_client)
{
    struct rig r;
    struct raw_client c;

    start(&r, i);
    login(&c, &r, "a");
    free(raw_ask(&c, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}"));
    HEARS(&r.events, "\"type\":\"io.nats.jetstream.advisory.v1.api_audit\"",
          "\"subject\":\"$JS.API.STREAM.CREATE.S\"",
          "\"acc\":\"A\",\"user\":\"a\",\"name\":\"of a\"", "\"server\":\"here\"",
          "\"client_type\":\"nats\"");
    free(raw_ask(&c, "$JS.API.CONSUMER.NAMES.S", ""));
    HEARS(&r.events, "\"subject\":\"$JS.API.CONSUMER.NAMES.S\"", "\"user\":\"a\"");
    raw_close(&c);
    end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(measures, 0, 3),
    RUN_LOOP(measures_what_headers_ask_for, 0, 3),
    RUN_LOOP(nobody_says_who_it_is_itself, 0, 3),
    RUN_LOOP(audits_name_the_client, 0, 3),
};

RUNNER_MAIN("api/latency", cases)
