/*
 * test_jetstream.c - JetStream requests and their answers as they travel, against a real server;
 * and what a client can do at an awkward moment.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLIENT "\"headers\":true,\"no_responders\":true"

static void start(struct server_process *s, struct raw_client *r, int workers)
{
    static const char *const names[] = {"1", "2", "4"};

    server_process_init(s);
    s->args[0] = "--workers";
    s->args[1] = names[workers];
    server_process_start(s);
    raw_hello(r, s->port, CLIENT);
}

static void end(struct server_process *s, struct raw_client *r)
{
    raw_close(r);
    server_process_stop(s);
    server_process_deinit(s);
}

static void ask(struct raw_client *r, const char *subject, const char *body, const char *want)
{
    char *answer = raw_ask(r, subject, body);

    ck_assert_msg(strstr(answer, want) != NULL, "%s %s: wanted %s, got %s", subject, body, want,
                  answer);
    free(answer);
}

static void add_stream(struct raw_client *r)
{
    ask(r, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"]}",
        "\"did_create\":true");
}

static void publish(struct raw_client *r, int n)
{
    char want[64];

    for (int k = 1; k <= n; k++) {
        snprintf(want, sizeof(want), "\"seq\":%d}", k);
        ask(r, "s.a", "x", want);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

static const struct {
    const char *subject, *body, *want;
} requests[] = {
    {"$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"]}",
     "\"type\":\"io.nats.jetstream.api.v1.stream_create_response\""},
    {"$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"t\"]}",
     "\"code\":400,\"err_code\":10058,\"description\":\"stream name already in use with a "
     "different configuration\""},
    {"$JS.API.STREAM.CREATE.T", "{\"name\":\"U\"}",
     "\"err_code\":10056,\"description\":\"stream name in subject does not match request\""},
    {"$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"s.>\"]}",
     "\"err_code\":10065,\"description\":\"subjects overlap with an existing stream\""},
    {"$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",", "\"err_code\":10025"},
    {"$JS.API.STREAM.CREATE.T",
     "{\"name\":\"T\",\"subjects\":[\"t\"],\"max_msgs_per_subject\":1,\"sealed\":true}",
     "\"err_code\":10052"},
    {"$JS.API.STREAM.UPDATE.X", "{\"name\":\"X\"}",
     "\"err_code\":10059,\"description\":\"stream not found\""},
    {"$JS.API.STREAM.INFO.X", "", "\"code\":404,\"err_code\":10059"},
    {"$JS.API.STREAM.DELETE.S", "{\"a\":1}",
     "\"err_code\":10038,\"description\":\"expected an empty request payload\""},
    {"$JS.API.STREAM.PURGE.S", "{\"seq\":1,\"keep\":1}",
     "\"err_code\":10003,\"description\":\"bad request\""},
    {"$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}", "\"err_code\":10037"},
    {"$JS.API.STREAM.MSG.GET.S", "{}", "\"err_code\":10003"},
    {"$JS.API.CONSUMER.INFO.S.none", "",
     "\"err_code\":10014,\"description\":\"consumer not found\""},
    {"$JS.API.CONSUMER.CREATE.X.c", "{\"stream_name\":\"X\",\"config\":{}}", "\"err_code\":10059"},
    {"$JS.API.STREAM.NONSENSE", "", "\"err_code\":10003"},
    {"$JS.API.CONSUMER.MSG.NEXT.S.none", "", "NATS/1.0 503"},
    {"$JS.API.STREAM.NAMES", "", "\"streams\":[\"S\"]"},
};

TEST(answers_each_request)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, i);
    for (size_t k = 0; k < sizeof(requests) / sizeof(requests[0]); k++)
        ask(&r, requests[k].subject, requests[k].body, requests[k].want);
    end(&s, &r);
}

TEST(purges)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, 0);
    add_stream(&r);
    publish(&r, 6);
    ask(&r, "s.b", "y", "\"seq\":7}");
    ask(&r, "$JS.API.STREAM.PURGE.S", "{\"seq\":3}", "\"purged\":2}");
    ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.a\",\"keep\":1}", "\"purged\":3}");
    ask(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":2,");
    ask(&r, "$JS.API.STREAM.PURGE.S", "", "\"purged\":2}");
    ask(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":0,");
    end(&s, &r);
}

/* Names are text: in a PubAck they are escaped. */
TEST(a_name_with_quotes_and_one_of_255_bytes)
{
    struct server_process s;
    struct raw_client r;
    char name[256], subject[700], body[700];

    start(&s, &r, i);
    ask(&r, "$JS.API.STREAM.CREATE.a\"b", "{\"name\":\"a\\\"b\",\"subjects\":[\"quoted\"]}",
        "\"did_create\":true");
    ask(&r, "quoted", "x", "{\"stream\":\"a\\\"b\",\"seq\":1}");
    memset(name, 'N', 255);
    name[255] = '\0';
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", name);
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"subjects\":[\"long\"]}", name);
    ask(&r, subject, body, "\"did_create\":true");
    ask(&r, "long", "x", "\"seq\":1}");
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", name, name);
    snprintf(
        body, sizeof(body),
        "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\",\"ack_policy\":\"explicit\"}}",
        name, name);
    ask(&r, subject, body, "\"num_pending\":1");
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", name, name);
    ask(&r, subject, "1", "x");
    end(&s, &r);
}

/* ---- pulling --------------------------------------------------------------------------------- */

static void next(struct raw_client *r, const char *body, struct raw_msg *m)
{
    char text[256];

    snprintf(text, sizeof(text), "PUB $JS.API.CONSUMER.MSG.NEXT.S.C in.1 %zu\r\n%s\r\n",
             strlen(body), body);
    raw_send(r, text);
    raw_msg(r, m);
}

static void status(struct raw_client *r, const char *body, const char *want)
{
    struct raw_msg m;

    next(r, body, &m);
    ck_assert_msg(strstr(m.body, want) == m.body, "%s: wanted %s, got %s", body, want, m.body);
    free(m.body);
}

/* Takes one message, checks how often it was delivered, and answers it (double: waits for the
 * answer). */
static void take(struct raw_client *r, int seq, int deliveries, const char *answer)
{
    struct raw_msg m;
    char want[64];

    next(r, "{\"batch\":1,\"expires\":20000000000}", &m);
    snprintf(want, sizeof(want), "$JS.ACK.S.C.%d.%d.", deliveries, seq);
    ck_assert_msg(strncmp(m.reply, want, strlen(want)) == 0, "wanted %s, got %s (%s)", want,
                  m.reply, m.body);
    if (answer != NULL)
        ask(r, m.reply, answer, "");
    free(m.body);
}

TEST(pulls_and_acks)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, i);
    add_stream(&r);
    ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\","
        "\"max_deliver\":2,"
        "\"max_batch\":5,\"max_expires\":60000000000}}",
        "\"num_pending\":0");
    raw_send(&r, "SUB in.* in\r\n");
    status(&r, "{\"no_wait\":true,\"batch\":1}", "NATS/1.0 404 No Messages\r\n");
    status(&r, "{\"expires\":1000000,\"batch\":1}", "NATS/1.0 408 Request Timeout\r\n");
    status(&r, "{\"batch\":6}", "NATS/1.0 409 Exceeded MaxRequestBatch of 5\r\n");
    status(&r, "{\"batch\":1,\"expires\":70000000000}",
           "NATS/1.0 409 Exceeded MaxRequestExpires of 1m");
    status(&r, "{\"batch\":1,\"expires\":1000,\"idle_heartbeat\":9223372036854775807}",
           "NATS/1.0 400 Bad Request");
    status(&r, "{\"batch\":", "NATS/1.0 400 Bad Request");
    publish(&r, 3);
    take(&r, 1, 1, "-NAK");
    take(&r, 1, 2, "-NAK"); /* its last: not a third time */
    take(&r, 2, 1, "+TERM");
    take(&r, 3, 1, "+WPI");
    ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":1");
    /* Unacknowledged over a restart: with a new start it comes again when its time is over, here by
     * hand. */
    raw_close(&r);
    server_process_stop(&s);
    server_process_start(&s);
    raw_hello(&r, s.port, CLIENT);
    ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":1");
    ask(&r, "$JS.ACK.S.C.1.3.3.1.0", "-NAK", "");
    raw_send(&r, "SUB in.* in\r\n");
    take(&r, 3, 2, "+ACK");
    ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":0");
    end(&s, &r);
}

/* With a domain every API subject exists twice. */
TEST(a_domain_has_its_own_subjects)
{
    struct server_process s;
    struct raw_client r;
    char path[256];
    FILE *f;

    server_process_init(&s);
    snprintf(path, sizeof(path), "%s/conf", s.dir);
    f = fopen(path, "we");
    ck_assert(f != NULL);
    fputs("jetstream { domain: hub }\n", f);
    fclose(f);
    s.args[0] = "-c";
    s.args[1] = path;
    server_process_start(&s);
    raw_hello(&r, s.port, CLIENT);
    ask(&r, "$JS.hub.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"]}",
        "\"did_create\":true");
    ask(&r, "s.a", "hello", "{\"stream\":\"S\",\"domain\":\"hub\",\"seq\":1}");
    ask(&r, "$JS.hub.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"num_pending\":1");
    ask(&r, "$JS.hub.API.CONSUMER.MSG.NEXT.S.C", "1", "hello");
    ask(&r, "$JS.other.API.CONSUMER.MSG.NEXT.S.C", "1", "NATS/1.0 503");
    end(&s, &r);
}

/* ---- awkward moments ------------------------------------------------------------------------- */

/* Everything in one send: the deletion comes while the creation is not durable. */
TEST(deletes_what_is_being_created)
{
    struct server_process s;
    struct raw_client r;
    static const char create[] = "{\"name\":\"S\",\"subjects\":[\"s.*\"]}";
    static const char consumer[] = "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"}}";
    char text[1024];

    start(&s, &r, i);
    snprintf(text, sizeof(text),
             "SUB gone.* g\r\nPUB $JS.API.STREAM.CREATE.S gone.1 %zu\r\n%s\r\n"
             "PUB $JS.API.CONSUMER.DURABLE.CREATE.S.C gone.2 %zu\r\n%s\r\n"
             "PUB $JS.API.CONSUMER.DELETE.S.C gone.3 0\r\n\r\n"
             "PUB $JS.API.CONSUMER.DURABLE.CREATE.S.C gone.4 %zu\r\n%s\r\n"
             "PUB $JS.API.STREAM.DELETE.S gone.5 0\r\n\r\n",
             strlen(create), create, strlen(consumer), consumer, strlen(consumer), consumer);
    for (int round = 0; round < 20; round++) {
        raw_send(&r, text);
        for (int k = 0; k < 5; k++) {
            struct raw_msg m;
            raw_msg(&r, &m);
            free(m.body);
        }
        free(raw_ask(&r, "$JS.API.STREAM.DELETE.S", ""));
    }
    add_stream(&r);
    end(&s, &r);
}

/* Reply subjects that lead back into the server: messages to the API are requests it does not know,
 * a pull may feed itself. */
TEST(replies_into_the_server)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, i);
    add_stream(&r);
    ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"name\":\"C\"");
    for (int k = 0; k < 10; k++)
        ask(&r, "s.a", "", "\"seq\":");
    raw_send(
        &r,
        "SUB $JS.ACK.> spy\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.C $JS.API.CONSUMER.DELETE.S.C 11\r\n"
        "{\"batch\":5}\r\n");
    for (int k = 0; k < 5; k++)
        raw_skip(&r, "10003");
    raw_send(&r, "UNSUB spy\r\nPING\r\n");
    raw_skip(&r, "PONG\r\n");
    ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":5");
    raw_send(&r, "PUB $JS.API.CONSUMER.MSG.NEXT.S.C $JS.API.CONSUMER.MSG.NEXT.S.C 1\r\n5\r\n");
    raw_fence(&r);
    raw_send(&r, "PUB $JS.API.CONSUMER.MSG.NEXT.S.C $JS.API.CONSUMER.MSG.NEXT.S.C "
                 "15\r\n{\"no_wait\":1e0}\r\n");
    raw_send(&r, "PUB $JS.API.CONSUMER.MSG.NEXT.S.C $JS.API.CONSUMER.MSG.NEXT.S.C "
                 "16\r\n{\"no_wait\":true}\r\n");
    raw_fence(&r);
    ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"name\":\"C\"");
    end(&s, &r);
}

/* Stops while publishes, requests and pulls are on their way, and comes back with what was
 * acknowledged. */
TEST(stops_with_traffic)
{
    struct server_process s;
    struct raw_client r, other;
    char line[128];

    start(&s, &r, i);
    add_stream(&r);
    ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "\"name\":\"C\"");
    raw_hello(&other, s.port, CLIENT);
    raw_send(&other,
             "SUB in.* 1\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.C in.1 14\r\n{\"batch\":5000}\r\n");
    raw_fence(&other);
    publish(&r, 20);
    raw_send(&r, "SUB out.* o\r\n");
    for (int k = 0; k < 2000; k++) {
        snprintf(line, sizeof(line), "PUB s.b out.%d 3\r\nabc\r\n", k);
        raw_send(&r, line);
        if (k % 50 == 0)
            raw_send(
                &other,
                "PUB $JS.API.STREAM.LIST in.2 0\r\n\r\nPUB $JS.API.STREAM.INFO.S in.3 0\r\n\r\n");
    }
    raw_close(&other);
    raw_close(&r);
    server_process_stop(&s);
    server_process_start(&s);
    raw_hello(&r, s.port, CLIENT);
    ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":20}", "\"subject\":\"s.a\"");
    end(&s, &r);
}

/* The files with the records of streams and consumers are gone: the stream is there, with its
 * configuration and its messages, and the server says so. */
TEST(a_lost_log)
{
    struct server_process s;
    struct raw_client r;
    char command[512];

    start(&s, &r, i);
    ask(&r, "$JS.API.STREAM.CREATE.S",
        "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"max_msgs\":100,\"description\":\"kept\"}",
        "\"did_create\":true");
    publish(&r, 20);
    raw_close(&r);
    if (i == 0)
        server_process_stop(&s);
    else
        server_process_kill(&s);
    snprintf(command, sizeof(command), "rm $(find %s -name '*.log' -path '*/log/*')", s.dir);
    ck_assert_int_eq(system(command), 0);
    server_process_start(&s);
    raw_hello(&r, s.port, CLIENT);
    ask(&r, "$JS.API.STREAM.INFO.S", "", "\"max_msgs\":100,");
    ask(&r, "$JS.API.STREAM.INFO.S", "", "\"description\":\"kept\"");
    if (i == 0) /* after a kill the last ones were in the log alone */
        ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":20}", "\"subject\":\"s.a\"");
    ask(&r, "s.a", "x", i == 0 ? "\"seq\":21}" : "\"seq\":1}");
    end(&s, &r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_lost_log, 0, 2),
    RUN_LOOP(answers_each_request, 0, 3),
    RUN(purges),
    RUN_LOOP(a_name_with_quotes_and_one_of_255_bytes, 0, 2),
    RUN_LOOP(pulls_and_acks, 0, 2),
    RUN(a_domain_has_its_own_subjects),
    RUN_LOOP(deletes_what_is_being_created, 0, 3),
    RUN_LOOP(replies_into_the_server, 0, 2),
    RUN_LOOP(stops_with_traffic, 0, 3),
};

RUNNER_MAIN("api/jetstream", cases)
