/* JetStream in several accounts: apart, with limits, over imports, and after a kill. */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const workers[] = {"1", "2", "4"};

static const char conf[] =
    "jetstream: enabled\n"
    "accounts {\n"
    "  A { jetstream: enabled, users: [ {user: a, password: a} ]\n"
    "      exports: [ {service: \"$JS.API.>\", response: stream}, {service: \"$JS.ACK.>\"}\n"
    "                 {stream: \"deliver.>\"} ] }\n"
    "  B { jetstream: { max_streams: 2, max_consumers: 1, disk_max_stream_bytes: 1000000,\n"
    "                   max_memory: 1k }\n"
    "      users: [ {user: b, password: b} ]\n"
    "      imports: [ {service: {account: A, subject: \"$JS.API.>\"}, to: \"JS.A.API.>\"}\n"
    "                 {service: {account: A, subject: \"$JS.ACK.>\"}}\n"
    "                 {stream: {account: A, subject: \"deliver.>\"}, to: \"got.>\"} ] }\n"
    "  C { users: [ {user: c, password: c} ] }\n"
    "}\n";

#define S "$JS.API.STREAM."
#define C "$JS.API.CONSUMER."

static char config[256];

static void start(struct server_process *s, int w)
{
    FILE *f;

    server_process_init(s);
    snprintf(config, sizeof(config), "%s/conf", s->dir);
    f = fopen(config, "we");
    ck_assert(f != NULL);
    fputs(conf, f);
    fclose(f);
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

static void ask(struct raw_client *r, const char *subject, const char *body, const char *want)
{
    char *got = raw_ask(r, subject, body);

    ck_assert_msg(strstr(got, want) != NULL, "%s %s: wanted %s, got %s", subject, body, want, got);
    free(got);
}

static void make(struct raw_client *a, struct raw_client *b)
{
    ask(a, S "CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "\"did_create\":true");
    ask(b, S "CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"],\"max_bytes\":1000000}",
        "\"did_create\":true");
    ask(a, "s", "one", "\"seq\":1}");
    ask(a, "s", "two", "\"seq\":2}");
    ask(b, "s", "other", "\"seq\":1}");
}

TEST(streams_are_apart)
{
    struct server_process s;
    struct raw_client a, b;

    start(&s, i);
    login(&a, &s, "a");
    login(&b, &s, "b");
    make(&a, &b);
    ask(&b, C "CREATE.S.c",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\"}}",
        "\"num_pending\":1");
    for (int k = 0; k < 2; k++) {
        ask(&a, S "INFO.S", "", "\"messages\":2,");
        ask(&b, S "INFO.S", "", "\"messages\":1,");
        ask(&a, C "NAMES.S", "", "\"consumers\":[]");
        ask(&b, C "NAMES.S", "", "\"consumers\":[\"c\"]");
        ask(&a, "$JS.API.INFO", "", "\"streams\":1,\"consumers\":0,");
        if (k == 1)
            break;
        ask(&b, C "MSG.NEXT.S.c", "{\"batch\":1,\"no_wait\":true}", "other");
        raw_close(&a);
        raw_close(&b);
        server_process_kill(&s);
        server_process_start(&s);
        login(&a, &s, "a");
        login(&b, &s, "b");
    }
    ask(&a, S "DELETE.S", "", "\"success\":true");
    ask(&b, S "INFO.S", "", "\"messages\":1,");
    raw_close(&a);
    raw_close(&b);
    server_process_deinit(&s);
}

TEST(accounts_have_limits)
{
    struct server_process s;
    struct raw_client b, c;

    start(&s, i);
    login(&b, &s, "b");
    login(&c, &s, "c");
    ask(&c, "$JS.API.INFO", "", "\"err_code\":10039");
    ask(&c, S "CREATE.S", "{\"name\":\"S\"}", "\"err_code\":10039");
    ask(&b, "$JS.API.INFO", "",
        "\"limits\":{\"max_memory\":1000,\"max_storage\":-1,\"max_streams\":2,\"max_consumers\":"
        "1,");
    ask(&b, S "CREATE.X", "{\"name\":\"X\",\"subjects\":[\"x\"]}", "\"err_code\":10113");
    ask(&b, S "CREATE.X", "{\"name\":\"X\",\"subjects\":[\"x\"],\"max_bytes\":1000001}",
        "\"err_code\":10122");
    ask(&b, S "CREATE.X", "{\"name\":\"X\",\"storage\":\"memory\",\"max_bytes\":1001}",
        "\"err_code\":10028");
    ask(&b, S "CREATE.X", "{\"name\":\"X\",\"storage\":\"memory\",\"max_bytes\":1000}",
        "\"did_create\":true");
    ask(&b, S "CREATE.Y", "{\"name\":\"Y\",\"max_bytes\":5}", "\"did_create\":true");
    ask(&b, S "UPDATE.Y", "{\"name\":\"Y\",\"max_bytes\":1000001}", "\"err_code\":10122");
    ask(&b, S "CREATE.Z", "{\"name\":\"Z\",\"max_bytes\":5}", "\"err_code\":10027");
    ask(&b, S "CREATE.Y", "{\"name\":\"Y\",\"max_bytes\":5}", "\"did_create\":true");
    ask(&b, C "CREATE.Y.c", "{\"stream_name\":\"Y\",\"config\":{\"durable_name\":\"c\"}}",
        "\"name\":\"c\"");
    ask(&b, C "CREATE.Y.d", "{\"stream_name\":\"Y\",\"config\":{\"durable_name\":\"d\"}}",
        "\"err_code\":10026");
    raw_close(&b);
    raw_close(&c);
    server_process_deinit(&s);
}

/* The API of A under another prefix, acknowledgements, and deliveries to an imported subject. */
TEST(imports_reach_streams)
{
    struct server_process s;
    struct raw_client a, b;
    struct raw_msg m;
    char text[900];

    start(&s, i);
    login(&a, &s, "a");
    login(&b, &s, "b");
    make(&a, &b);
    ask(&b, "JS.A.API.STREAM.INFO.S", "", "\"messages\":2,");
    ask(&b, "JS.A.API.CONSUMER.CREATE.S.p",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"p\",\"ack_policy\":\"explicit\"}}",
        "\"num_pending\":2");
    raw_send(&b, "SUB in 1\r\n");
    for (int k = 0; k < 2; k++) {
        raw_send(&b, "PUB JS.A.API.CONSUMER.MSG.NEXT.S.p in 11\r\n{\"batch\":1}\r\n");
        raw_msg(&b, &m);
        ck_assert_str_eq(m.subject, "s");
        ck_assert_str_eq(m.body, k == 0 ? "one" : "two");
        free(m.body);
        ask(&b, m.reply, "+ACK", "");
    }
    ask(&b, "JS.A.API.CONSUMER.INFO.S.p", "",
        "\"ack_floor\":{\"consumer_seq\":2,\"stream_seq\":2,");
    raw_send(&b, "SUB got.x 2\r\n");
    raw_fence(&b);
    ask(&b, "JS.A.API.CONSUMER.CREATE.S.q",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"q\",\"deliver_subject\":\"deliver."
        "x\"}}",
        "\"push_bound\":true");
    for (int k = 0; k < 2; k++) {
        raw_msg(&b, &m);
        snprintf(text, sizeof(text), "$JS.ACK.S.q.1.%d.%d.", k + 1, k + 1);
        ck_assert_msg(strncmp(m.reply, text, strlen(text)) == 0, "%s", m.reply);
        free(m.body);
    }
    raw_send(&b, "UNSUB 2\r\n");
    raw_fence(&b);
    ask(&a, "s", "three", "\"seq\":3}");
    raw_fence(&b);
    raw_send(&b, "SUB got.x 3\r\n");
    raw_msg(&b, &m);
    ck_assert_str_eq(m.body, "three");
    free(m.body);
    raw_close(&a);
    raw_close(&b);
    server_process_deinit(&s);
}

static void reload(const struct server_process *s, const char *text, const char *log)
{
    FILE *f = fopen(config, "we");

    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
    kill(s->pid, SIGHUP);
    server_process_log_wait(s, log);
}

/* An account that a reload adds has JetStream at once, and limits follow reloads. */
TEST(accounts_of_a_reload_have_jetstream)
{
    struct server_process s;
    struct raw_client b, d;

    start(&s, i);
    login(&b, &s, "b");
    ask(&b, S "CREATE.one", "{\"name\":\"one\",\"max_bytes\":1000}", "\"did_create\":true");
    reload(&s,
           "jetstream: enabled\n"
           "accounts {\n"
           "  B { jetstream: { max_streams: 1 }, users: [ {user: b, password: b} ] }\n"
           "  D { jetstream: { max_streams: 1 }, users: [ {user: d, password: d} ] }\n"
           "}\n",
           "Reloaded server configuration");
    ask(&b, S "CREATE.two", "{\"name\":\"two\"}", "maximum number of streams reached");
    login(&d, &s, "d");
    ask(&d, S "CREATE.x", "{\"name\":\"x\",\"subjects\":[\"x\"]}", "\"did_create\":true");
    ask(&d, "x", "hello", "{\"stream\":\"x\",\"seq\":1}");
    ask(&d, S "CREATE.y", "{\"name\":\"y\"}", "maximum number of streams reached");
    raw_close(&b);
    raw_close(&d);
    server_process_deinit(&s);
}

/* An account without JetStream that imports the API of another one has that one's alone: no second
 * answer says that JetStream is not enabled, and what is not imported has nobody. A reload takes
 * the import away. */
TEST(an_imported_api_is_the_only_one)
{
    static const char with[] =
        "max_payload: 10000\n"
        "jetstream: enabled\n"
        "accounts {\n"
        "  A { jetstream: enabled, users: [ {user: a, password: a} ]\n"
        "      exports: [ {service: \"$JS.API.INFO\"}, {service: \"$JS.API.STREAM.INFO.S\"} ] }\n"
        "  C { users: [ {user: c, password: c} ]\n"
        "      imports: [ {service: {account: A, subject: \"$JS.API.INFO\"}}\n"
        "                 {service: {account: A, subject: \"$JS.API.STREAM.INFO.S\"}} ] }\n"
        "}\n";
    struct server_process s;
    struct raw_client a, c;

    start(&s, i);
    login(&c, &s, "c");
    ask(&c, "$JS.API.INFO", "", "\"err_code\":10039");
    reload(&s, with, "Reloaded: max_payload = 10000");
    login(&a, &s, "a");
    ask(&a, S "CREATE.S", "{\"name\":\"S\"}", "\"did_create\":true");
    ask(&c, "$JS.API.INFO", "", "\"streams\":1,");
    ask(&c, S "INFO.S", "", "\"config\":");
    ask(&c, S "NAMES", "", "NATS/1.0 503");
    ask(&c, C "INFO.S.c", "", "NATS/1.0 503");
    raw_close(&a);
    reload(&s, conf, "Reloaded: max_payload = 1048576");
    ask(&c, "$JS.API.INFO", "", "\"err_code\":10039");
    ask(&c, S "NAMES", "", "\"err_code\":10039");
    raw_close(&c);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(an_imported_api_is_the_only_one, 0, 3),
    RUN_LOOP(accounts_of_a_reload_have_jetstream, 0, 3),
    RUN_LOOP(streams_are_apart, 0, 3),
    RUN_LOOP(accounts_have_limits, 0, 3),
    RUN_LOOP(imports_reach_streams, 0, 3),
};

RUNNER_MAIN("api/jetstream_accounts", cases)
