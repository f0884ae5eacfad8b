/*
 * test_tools.c - what command-line tools read in answers and the client libraries do not: fields of
 * every answer, in the order of a session. Each row was compared with the peer's answer.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENT "\"headers\":true,\"no_responders\":true"

struct step {
    const char *subject, *body;
    const char *want;   /* in the answer, */
    const char *unwant; /* not in the answer, or NULL */
};

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

static void run(struct raw_client *r, const struct step *steps, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        const struct step *t = &steps[k];
        char *answer = raw_ask(r, t->subject, t->body);
        ck_assert_msg(strstr(answer, t->want) != NULL, "%s %s: wanted %s, got %s", t->subject,
                      t->body, t->want, answer);
        ck_assert_msg(t->unwant == NULL || strstr(answer, t->unwant) == NULL,
                      "%s %s: unwanted %s in %s", t->subject, t->body, t->unwant, answer);
        free(answer);
    }
}

#define STEPS(steps) (steps), sizeof(steps) / sizeof((steps)[0])
#define C "$JS.API.CONSUMER."
#define S "$JS.API.STREAM."

/* ---- streams -------------------------------------------------------------------------------- */

static const struct step stream_steps[] = {
    /* The version and the level are in answers, the required level is stored. */
    {S "CREATE.A", "{\"name\":\"A\",\"subjects\":[\"a.>\"],\"max_bytes\":1000}",
     "\"metadata\":{\"_nats.level\":\"5\",\"_nats.req.level\":\"0\",\"_nats.ver\":\"2.15.0\"}",
     "\"cluster\""},
    {S "CREATE.A",
     "{\"name\":\"A\",\"subjects\":[\"a.>\"],\"max_bytes\":1000,"
     "\"metadata\":{\"_nats.ver\":\"1\",\"_nats.level\":\"1\",\"_nats.req.level\":\"9\"}}",
     "\"did_create\":true", NULL},
    {S "CREATE.B",
     "{\"name\":\"B\",\"allow_msg_ttl\":true,\"storage\":\"memory\",\"max_bytes\":70,"
     "\"metadata\":{\"b\":\"2\",\"a\":\"1\"}}",
     "\"_nats.req.level\":\"1\",\"_nats.ver\":\"2.15.0\",\"a\":\"1\",\"b\":\"2\"}", NULL},
    {S "CREATE.C", "{\"name\":\"C\",\"metadata\":{\"a\":1}}", "\"err_code\":10025", NULL},
    {S "CREATE.C", "{\"name\":\"C\",\"metadata\":[]}", "\"err_code\":10025", NULL},
    {S "UPDATE.B", "{\"name\":\"B\",\"storage\":\"memory\"}",
     "message TTL status can not be disabled", NULL},
    {"$JS.API.INFO", "", "\"reserved_memory\":70,\"reserved_storage\":1000,", NULL},
    {S "LIST", "", "\"metadata\":{\"_nats.req.level\":\"0\"}", "\"cluster\""},
    {S "INFO.A", "", "\"total\":0,\"offset\":0,\"limit\":0", NULL},
    {S "INFO.A", "", "\"cluster\":{\"leader\":", NULL},
    {S "INFO.X", "", "\"total\":0,\"offset\":0,\"limit\":0}", NULL},
    {"a.1", "x", "\"seq\":1}", NULL},
    {"a.2", "x", "\"seq\":2}", NULL},
    {S "INFO.A", "{\"subjects_filter\":\"a.2\"}", "\"total\":1,\"offset\":0,\"limit\":100000",
     "\"a.1\":1"},
    {S "INFO.A", "{\"subjects_filter\":\"b\"}", "\"total\":0,\"offset\":0,\"limit\":0",
     "\"subjects\":{"},
    {S "MSG.DELETE.A", "{\"seq\":3}",
     "\"code\":500,\"err_code\":10057,\"description\":\"stream store EOF\"", NULL},
    /* Sealing denies, and keeps what is there for good. */
    {S "UPDATE.A", "{\"name\":\"A\",\"subjects\":[\"a.>\"],\"max_age\":86400000000000}",
     "\"max_age\":86400000000000", NULL},
    {S "UPDATE.A",
     "{\"name\":\"A\",\"subjects\":[\"a.>\"],\"max_age\":86400000000000,\"sealed\":true}",
     "\"sealed\":true,\"deny_delete\":true,\"deny_purge\":true", "\"max_age\":8"},
    {S "PURGE.A", "", "\"purged\":0}", "success"},
    {S "CREATE.D", "{\"name\":\"D\",\"deny_purge\":true}", "\"did_create\":true", NULL},
    {S "PURGE.D", "",
     "\"err_code\":10110,\"description\":\"stream purge not permitted\"},\"purged\":0}", NULL},
};

/* What batches ask of a stream: its level, and no early acknowledgement. */
static const struct step batch_steps[] = {
    {S "CREATE.B",
     "{\"name\":\"B\",\"allow_atomic\":true,\"allow_batched\":true,\"placement\":{\"cluster\":\"\"}"
     "}",
     "\"_nats.req.level\":\"4\"", "placement"},
    {S "CREATE.P", "{\"name\":\"P\",\"allow_atomic\":true,\"persist_mode\":\"async\"}",
     "async persist mode is not supported with atomic batch publish", NULL},
    {"B", "x", "\"seq\":1}", NULL},
};

TEST(batch_streams)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, 0);
    run(&r, STEPS(batch_steps));
    end(&s, &r);
}

TEST(streams)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, i);
    run(&r, STEPS(stream_steps));
    end(&s, &r);
}

/* Bodies as client libraries send them when they have nothing to say. */
static const struct step empty_steps[] = {
    {S "CREATE.E", "{\"name\":\"E\"}", "\"did_create\":true", NULL},
    {C "CREATE.E.c", "{\"stream_name\":\"E\",\"config\":{\"durable_name\":\"c\"}}",
     "\"name\":\"c\"", NULL},
    {"$JS.API.INFO", "null", "\"streams\":1", NULL},
    {S "INFO.E", "null", "\"messages\":0", NULL},
    {S "INFO.E", " { } ", "\"messages\":0", NULL},
    {S "INFO.E", "anything", "\"messages\":0", NULL},
    {S "INFO.E", "{anything", "\"err_code\":10025", NULL},
    {S "INFO.E", "[]", "\"err_code\":10025", NULL},
    {S "NAMES", "null", "\"streams\":[\"E\"]", NULL},
    {S "LIST", "x", "\"total\":1", NULL},
    {S "PURGE.E", "null", "\"purged\":0", NULL},
    {S "MSG.GET.E", "null", "\"err_code\":10003", NULL},
    {S "MSG.GET.E", "x", "\"err_code\":10025", NULL},
    {S "MSG.DELETE.E", "{}", "\"err_code\":10003", NULL},
    {C "NAMES.E", "null", "\"consumers\":[\"c\"]", NULL},
    {C "INFO.E.c", "null", "\"err_code\":10038", NULL},
    {C "INFO.E.c", " {\n} ", "\"num_pending\":0", NULL},
    {C "INFO.E.c", "x", "\"err_code\":10038", NULL},
    {C "DELETE.E.c", "null", "\"err_code\":10038", NULL},
    {C "DELETE.E.c", "{}", "\"success\":true", NULL},
    {S "DELETE.E", "null", "\"err_code\":10038", NULL},
    {S "DELETE.E", "", "\"success\":true", NULL},
};

TEST(empty_bodies)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, 0);
    run(&r, STEPS(empty_steps));
    end(&s, &r);
}

/* ---- consumers ------------------------------------------------------------------------------ */

static const struct step limit_steps[] = {
    {S "CREATE.L",
     "{\"name\":\"L\",\"consumer_limits\":{\"max_ack_pending\":10,"
     "\"inactive_threshold\":10000000000}}",
     "\"did_create\":true", NULL},
    {C "CREATE.L.a",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"a\",\"ack_policy\":\"explicit\"}}",
     "\"inactive_threshold\":10000000000", NULL},
    {C "INFO.L.a", "", "\"max_ack_pending\":10", "\"cluster\""},
    {C "CREATE.L.b",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"b\",\"ack_policy\":\"explicit\","
     "\"max_ack_pending\":11}}",
     "consumer max ack pending exceeds system limit of 10", NULL},
    {C "CREATE.L.b",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"b\",\"ack_policy\":\"explicit\","
     "\"inactive_threshold\":10000000001}}",
     "consumer inactive threshold exceeds system limit of 10s", NULL},
    {S "UPDATE.L", "{\"name\":\"L\",\"consumer_limits\":{\"max_ack_pending\":9}}",
     "change to limits violates consumers: a", NULL},
    {S "UPDATE.L", "{\"name\":\"L\",\"consumer_limits\":{\"max_ack_pending\":11}}",
     "\"max_ack_pending\":11", NULL},
    /* Only push consumers without acknowledgements can not have pending ones. */
    {C "CREATE.L.n",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"n\",\"ack_policy\":\"none\","
     "\"max_ack_pending\":9}}",
     "\"max_ack_pending\":9", NULL},
    {C "CREATE.L.m",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"m\",\"ack_policy\":\"none\","
     "\"max_ack_pending\":9,\"deliver_subject\":\"m\"}}",
     "\"err_code\":10082", NULL},
    /* As many steps of backoff as deliveries. */
    {C "CREATE.L.c",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
     "\"max_deliver\":2,\"backoff\":[1000000000,2000000000]}}",
     "\"max_deliver\":2", NULL},
    {C "CREATE.L.d",
     "{\"stream_name\":\"L\",\"config\":{\"durable_name\":\"d\",\"ack_policy\":\"explicit\","
     "\"max_deliver\":1,\"backoff\":[1000000000,2000000000]}}",
     "\"err_code\":10116", NULL},
};

TEST(consumer_limits)
{
    struct server_process s;
    struct raw_client r;

    start(&s, &r, i);
    run(&r, STEPS(limit_steps));
    end(&s, &r);
}

static const struct step pause_steps[] = {
    {S "CREATE.P", "{\"name\":\"P\"}", "\"did_create\":true", NULL},
    {C "CREATE.P.c", "{\"stream_name\":\"P\",\"config\":{\"durable_name\":\"c\"}}",
     "\"name\":\"c\"", "pause"},
    {"P", "x", "\"seq\":1}", NULL},
    {C "PAUSE.P.c", "{\"pause_until\":\"2100-01-01T00:00:00Z\"}",
     "\"paused\":true,\"pause_until\":\"2100-01-01T00:00:00Z\",\"pause_remaining\":", NULL},
    {C "INFO.P.c", "", "\"paused\":true,\"pause_remaining\":", NULL},
    {C "INFO.P.c", "", "\"_nats.req.level\":\"1\"", NULL},
    {C "MSG.NEXT.P.c", "{\"batch\":1,\"expires\":20000000}", "NATS/1.0 408 Request Timeout", NULL},
    {C "PAUSE.P.c", "", "\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\"}", NULL},
    {C "INFO.P.c", "", "\"_nats.req.level\":\"0\"", "paused"},
    {C "MSG.NEXT.P.c", "{\"batch\":1,\"expires\":20000000000}", "x", NULL},
    {C "PAUSE.P.d", "{\"pause_until\":\"2100-01-01T00:00:00Z\"}",
     "\"err_code\":10014,\"description\":\"consumer not found\"},\"paused\":false,"
     "\"pause_until\":\"0001-01-01T00:00:00Z\"}",
     NULL},
    {C "CREATE.P.r",
     "{\"stream_name\":\"P\",\"config\":{\"durable_name\":\"r\",\"num_replicas\":3}}",
     "\"err_code\":10074", NULL},
    {C "PAUSE.P.c", "{\"pause_until\":\"soon\"}", "\"err_code\":10025", NULL},
    /* Paused from the start. */
    {C "CREATE.P.e",
     "{\"stream_name\":\"P\",\"config\":{\"durable_name\":\"e\","
     "\"pause_until\":\"2100-01-01T00:00:00Z\"}}",
     "\"paused\":true", NULL},
    {C "MSG.NEXT.P.e", "{\"batch\":1,\"expires\":20000000}", "NATS/1.0 408 Request Timeout", NULL},
};

TEST(pauses)
{
    struct server_process s;
    struct raw_client r;
    struct raw_msg m;
    char body[64], text[256];
    struct timespec now;
    struct tm utc;
    time_t until;

    start(&s, &r, i);
    run(&r, STEPS(pause_steps));
    /* It ends by itself, and a waiting pull gets its message then. */
    until = time(NULL) + 2;
    strftime(body, sizeof(body), "{\"pause_until\":\"%Y-%m-%dT%H:%M:%SZ\"}",
             gmtime_r(&until, &utc));
    free(raw_ask(&r, C "PAUSE.P.e", body));
    snprintf(text, sizeof(text), "SUB in x\r\nPUB " C "MSG.NEXT.P.e in 0\r\n\r\n");
    raw_send(&r, text);
    raw_msg(&r, &m);
    ck_assert_msg(strncmp(m.reply, "$JS.ACK.P.e.1.1.", 16) == 0, "%s %s", m.reply, m.body);
    clock_gettime(CLOCK_REALTIME, &now);
    ck_assert(now.tv_sec >= until);
    free(m.body);
    end(&s, &r);
}

/* A pull whose receiver has gone does not wait any more, and makes room for others. */
TEST(forgets_pulls_without_receiver)
{
    struct server_process s;
    struct raw_client r;
    static const struct step create[] = {
        {S "CREATE.P", "{\"name\":\"P\"}", "\"did_create\":true", NULL},
        {C "CREATE.P.c",
         "{\"stream_name\":\"P\",\"config\":{\"durable_name\":\"c\",\"ack_policy\":\"explicit\","
         "\"max_waiting\":1}}",
         "\"name\":\"c\"", NULL},
    };
    static const struct step taken[] = {
        {C "INFO.P.c", "", "\"num_ack_pending\":1,", NULL},
        {C "INFO.P.c", "", "\"delivered\":{\"consumer_seq\":1,\"stream_seq\":1,", NULL},
    };
    static const struct step one[] = {{C "INFO.P.c", "", "\"num_waiting\":1,", NULL}};
    static const struct step none[] = {{C "INFO.P.c", "", "\"num_waiting\":0,", NULL}};

    start(&s, &r, i);
    run(&r, STEPS(create));
    raw_send(&r, "SUB in x\r\nPUB " C "MSG.NEXT.P.c in 0\r\n\r\n");
    raw_fence(&r); /* requests to different subjects may overtake each other */
    run(&r, STEPS(one));
    raw_send(&r, "UNSUB x\r\n");
    raw_fence(&r);
    run(&r, STEPS(none));
    raw_send(&r, "SUB in x\r\nPUB " C "MSG.NEXT.P.c in 0\r\n\r\nUNSUB x\r\n");
    raw_fence(&r);
    raw_send(&r, "SUB in2 y\r\nPUB " C "MSG.NEXT.P.c in2 0\r\n\r\n");
    raw_fence(&r);
    run(&r, STEPS(one));
    /* Nor does a message that comes just then use up a consumer sequence for it. */
    raw_send(&r, "UNSUB y\r\nPUB P 1\r\nx\r\n");
    raw_fence(&r);
    raw_send(&r, "SUB in3 z\r\nPUB " C "MSG.NEXT.P.c in3 0\r\n\r\n");
    raw_skip(&r, "$JS.ACK.P.c.1.1.1.");
    raw_skip(&r, "x\r\n");
    run(&r, STEPS(taken));
    end(&s, &r);
}

/* ---- advisories ----------------------------------------------------------------------------- */

static const struct step told_steps[] = {
    {S "CREATE.A", "{\"name\":\"A\"}", "\"did_create\":true", NULL},
    {S "CREATE.A", "{\"name\":\"A\"}", "\"did_create\":true", NULL}, /* nothing new */
    {S "UPDATE.A", "{\"name\":\"A\",\"max_msgs\":7}", "\"max_msgs\":7", NULL},
    {C "CREATE.A.c", "{\"stream_name\":\"A\",\"config\":{\"durable_name\":\"c\"}}",
     "\"name\":\"c\"", NULL},
    {C "PAUSE.A.c", "{\"pause_until\":\"2100-01-01T00:00:00Z\"}", "\"paused\":true", NULL},
    {C "PAUSE.A.c", "", "\"paused\":false", NULL},
    {C "DELETE.A.c", "", "\"success\":true", NULL},
    {S "DELETE.A", "", "\"success\":true", NULL},
};

static const char *const advisories[][2] = {
    {"STREAM.CREATED.A", "\"stream\":\"A\",\"action\":\"create\"}"},
    {"STREAM.UPDATED.A", "\"stream\":\"A\",\"action\":\"modify\"}"},
    {"CONSUMER.CREATED.A.c", "\"stream\":\"A\",\"consumer\":\"c\",\"action\":\"create\"}"},
    {"CONSUMER.PAUSE.A.c", "\"paused\":true,\"pause_until\":\"2100-01-01T00:00:00Z\"}"},
    {"CONSUMER.PAUSE.A.c", "\"paused\":false,\"pause_until\":\"0001-01-01T00:00:00Z\"}"},
    {"CONSUMER.DELETED.A.c", "\"stream\":\"A\",\"consumer\":\"c\",\"action\":\"delete\"}"},
    {"STREAM.DELETED.A", "\"stream\":\"A\",\"action\":\"delete\"}"},
};

TEST(tells_what_changes)
{
    struct server_process s;
    struct raw_client r, ear;

    start(&s, &r, i);
    raw_hello(&ear, s.port, CLIENT);
    raw_send(&ear, "SUB $JS.EVENT.ADVISORY.STREAM.> a\r\nSUB $JS.EVENT.ADVISORY.CONSUMER.> b\r\n");
    raw_fence(&ear);
    run(&r, STEPS(told_steps));
    for (size_t k = 0; k < sizeof(advisories) / sizeof(advisories[0]); k++) {
        struct raw_msg m;
        raw_msg(&ear, &m);
        ck_assert_str_eq(m.subject + strlen("$JS.EVENT.ADVISORY."), advisories[k][0]);
        ck_assert_msg(strstr(m.body, advisories[k][1]) != NULL, "%s", m.body);
        ck_assert_msg(strstr(m.body, "{\"type\":\"io.nats.jetstream.advisory.v1.") == m.body, "%s",
                      m.body);
        free(m.body);
    }
    raw_fence(&ear);
    raw_close(&ear);
    end(&s, &r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(streams, 0, 3),
    RUN(batch_streams),
    RUN(empty_bodies),
    RUN(consumer_limits),
    RUN_LOOP(pauses, 0, 2),
    RUN_LOOP(forgets_pulls_without_receiver, 0, 2),
    RUN_LOOP(tells_what_changes, 0, 2),
};

RUNNER_MAIN("api/tools", cases)
