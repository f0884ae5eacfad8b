/*
 * test_jetstream_pace.c - deliveries that keep a pace (replay original, rate limit), metrics of
 * acknowledgements, and consumers that are acknowledged by flow control.
 *
 * The same program passes against nats-server 2.15.1 (a script in place of bin/midge-server).
 * Times are only compared from below: what must not come early.
 */
#include "lib/base/assert.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPLICIT ",\"ack_policy\":\"explicit\""
#define PUSH ",\"deliver_subject\":\"out\""

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

/* A stream, and `in` hears the deliver subject itself: for the peer a wildcard is no interest. */
static void start_with(struct js_rig *r, int i, const char *more)
{
    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", more);
    raw_send(&r->in, "SUB out 3\r\n");
    raw_fence(&r->in);
}

static void start(struct js_rig *r, int i)
{
    start_with(r, i, "");
}

/* ---- replay ---------------------------------------------------------------------------------- */

/* Three messages, each at least 150 ms after the one before. */
static void store_with_gaps(struct js_rig *r)
{
    for (int seq = 1; seq <= 3; seq++) {
        double began = now();
        while (seq > 1 && now() - began < 0.15)
            js_stream_has(r, "\"config\"");
        js_fill(r, "s.a", seq, 1);
    }
}

TEST(replays_at_the_speed_of_the_original)
{
    struct js_rig r;
    double began;

    start(&r, i);
    store_with_gaps(&r);
    js_consumer(&r, ",\"replay_policy\":\"original\"" PUSH);
    js_gets(&r, "s.a", 1, 1);
    began = now();
    js_gets(&r, "s.a", 2, 1);
    js_gets(&r, "s.a", 3, 1);
    ck_assert_double_ge(now() - began, 0.28);
    /* What is new is delivered as it comes. */
    js_fill(&r, "s.a", 4, 1);
    js_gets(&r, "s.a", 4, 1);
    js_rig_end(&r);
}

TEST(replays_to_pulls_too)
{
    struct js_rig r;
    double began;

    start(&r, i);
    store_with_gaps(&r);
    js_consumer(&r, EXPLICIT ",\"replay_policy\":\"original\"");
    js_pull(&r, "{\"batch\":3,\"expires\":20000000000}");
    js_gets(&r, "s.a", 1, 1);
    began = now();
    js_gets(&r, "s.a", 2, 1);
    js_gets(&r, "s.a", 3, 1);
    ck_assert_double_ge(now() - began, 0.28);
    js_rig_end(&r);
}

/* ---- rate limit ------------------------------------------------------------------------------ */

/* 80,000 bits a second are 10,000 bytes; a bucket of 1000 bytes. */
TEST(a_rate_limit_spreads_messages)
{
    struct js_rig r;
    char body[900];
    double began;

    start_with(&r, i, ",\"max_msg_size\":1000");
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    for (int k = 0; k < 5; k++)
        js_ask(&r, "s.a", body, "\"seq\":");
    began = now();
    js_consumer(&r, ",\"rate_limit_bps\":80000" PUSH);
    for (int seq = 1; seq <= 5; seq++)
        js_gets(&r, "s.a", seq, 1);
    ck_assert_double_ge(now() - began, 0.3); /* 4500 bytes, 1000 of them at once */
    js_rig_end(&r);
}

/* ---- sampling -------------------------------------------------------------------------------- */

static void takes_one(struct js_rig *r, const char *frequency, bool sampled)
{
    char config[128];

    snprintf(config, sizeof(config), EXPLICIT ",\"sample_freq\":\"%s\"", frequency);
    js_consumer(r, config);
    js_pull(r, "1");
    js_takes(r, "s.a", 1, 1, "+ACK");
    if (sampled) {
        raw_skip(&r->in, "MSG $JS.EVENT.METRIC.CONSUMER.ACK.S.C 2 ");
        raw_skip(&r->in, "{\"type\":\"io.nats.jetstream.metric.v1.consumer_ack\",\"id\":\"");
        raw_skip(&r->in, "\"stream\":\"S\",\"consumer\":\"C\",\"consumer_seq\":1,\"stream_seq\":1,"
                         "\"ack_time\":");
        raw_skip(&r->in, "\"deliveries\":1}\r\n");
    } else {
        js_silent(r);
    }
    js_ask(r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
}

TEST(acknowledgements_are_sampled)
{
    struct js_rig r;

    start(&r, i);
    js_fill(&r, "s.a", 1, 1);
    raw_send(&r.in, "SUB $JS.EVENT.METRIC.> 2\r\n");
    raw_fence(&r.in);
    takes_one(&r, "100%", true);
    takes_one(&r, "100", true);
    takes_one(&r, "0", false);
    js_rig_end(&r);
}

/* ---- flow control acknowledges --------------------------------------------------------------- */

/* Answers the next flow control request with this header block. */
static void answers_flow(struct js_rig *r, const char *header)
{
    struct raw_msg m;
    char text[1024];

    do {
        js_next(r, &m);
        if (strstr(m.body, "FlowControl Request") != NULL)
            break;
        free(m.body);
    } while (true);
    ck_assert_int_eq(strncmp(m.reply, "$JS.FC.S.C.", 11), 0);
    snprintf(text, sizeof(text), "HPUB %s %zu %zu\r\n%s\r\n", m.reply, strlen(header),
             strlen(header), header);
    raw_send(&r->api, text);
    raw_fence(&r->api);
    free(m.body);
}

TEST(flow_control_acknowledges)
{
    struct js_rig r;

    start(&r, i);
    js_consumer(&r, ",\"ack_policy\":\"flow_control\",\"max_ack_pending\":3" PUSH);
    js_consumer_has(&r, "\"idle_heartbeat\":1000000000");
    js_consumer_has(&r, "\"flow_control\":true");
    js_fill(&r, "s.a", 1, 5);
    for (int seq = 1; seq <= 3; seq++)
        js_gets(&r, "s.a", seq, 1);
    js_consumer_has(&r, "\"num_ack_pending\":3,");
    answers_flow(&r, "NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 2\r\n\r\n");
    js_gets(&r, "s.a", 4, 1);
    js_gets(&r, "s.a", 5, 1);
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":2,\"stream_seq\":2");
    js_consumer_has(&r, "\"num_ack_pending\":3,");
    /* An answer without sequences makes room for bytes alone. */
    answers_flow(&r, "NATS/1.0\r\n\r\n");
    js_consumer_has(&r, "\"num_ack_pending\":3,");
    /* The next request comes with a heartbeat. */
    answers_flow(&r, "NATS/1.0\r\nNats-Last-Consumer: 5\r\nNats-Last-Stream: 5\r\n\r\n");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":5,\"stream_seq\":5");
    js_consumer_has(&r, "\"num_ack_pending\":0,");
    js_rig_end(&r);
}

TEST(flow_control_removes_from_a_work_queue)
{
    struct js_rig r;

    start_with(&r, i, ",\"retention\":\"workqueue\"");
    js_consumer(&r, ",\"ack_policy\":\"flow_control\",\"max_ack_pending\":3" PUSH);
    js_fill(&r, "s.a", 1, 3);
    answers_flow(&r, "NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 2\r\n\r\n");
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    js_rig_restart(&r);
    js_stream_has(&r, "\"first_seq\":3,");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":2,\"stream_seq\":2");
    js_rig_end(&r);
}

/* What lies between its messages is another consumer's. */
TEST(flow_control_of_some_subjects_leaves_the_others)
{
    struct js_rig r;

    start_with(&r, i, ",\"retention\":\"workqueue\"");
    js_consumer(&r, ",\"ack_policy\":\"flow_control\",\"max_ack_pending\":2,"
                    "\"filter_subject\":\"s.a\"" PUSH);
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.D",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"D\",\"filter_subject\":\"s.b\""
           ",\"ack_policy\":\"explicit\"}}",
           "\"num_pending\":0,");
    js_fill(&r, "s.b", 1, 1);
    js_fill(&r, "s.a", 2, 1);
    js_fill(&r, "s.b", 3, 1);
    js_fill(&r, "s.a", 4, 1);
    js_fill(&r, "s.b", 5, 1);
    answers_flow(&r, "NATS/1.0\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 4\r\n\r\n");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":2,\"stream_seq\":4");
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":3,");
    js_ask(&r, "$JS.API.CONSUMER.INFO.S.D", "", "\"num_pending\":3,");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(replays_at_the_speed_of_the_original, 0, 3),
    RUN_LOOP(replays_to_pulls_too, 0, 3),
    RUN_LOOP(a_rate_limit_spreads_messages, 0, 3),
    RUN_LOOP(acknowledgements_are_sampled, 0, 3),
    RUN_LOOP(flow_control_acknowledges, 0, 3),
    RUN_LOOP(flow_control_removes_from_a_work_queue, 0, 3),
    RUN_LOOP(flow_control_of_some_subjects_leaves_the_others, 0, 3),
};

RUNNER_MAIN("api/jetstream_pace", cases)
