/*
 * test_jetstream_push.c - push consumers over the wire: interest, heartbeats, flow control, deliver
 * groups, ordered consumers, and what happens when two want the same one.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Deliver subjects are subscribed literally: for the peer a wildcard is no interest in one. */
static void start_conf(struct js_rig *r, int i, const char *conf)
{
    js_rig_start_conf(r, i, conf);
    js_stream(r, "[\"s.*\"]", "");
    raw_send(&r->in, "SUB push p\r\n");
    raw_fence(&r->in);
}

static void start(struct js_rig *r, int i)
{
    start_conf(r, i, "");
}

/* ---- interest -------------------------------------------------------------------------------- */

/* Nothing is delivered while nobody listens, and nothing is lost. */
TEST(delivers_while_somebody_listens)
{
    struct js_rig r;

    start(&r, i);
    js_consumer(&r, ",\"deliver_subject\":\"out\",\"ack_policy\":\"explicit\"");
    js_fill(&r, "s.a", 1, 2);
    js_consumer_has(&r, "\"delivered\":{\"consumer_seq\":0,\"stream_seq\":0}");
    raw_send(&r.in, "SUB out 2\r\n");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    js_takes(&r, "s.a", 2, 1, "+ACK");
    js_consumer_has(&r, "\"push_bound\":true");
    raw_send(&r.in, "UNSUB 2\r\n");
    raw_fence(&r.in);
    js_fill(&r, "s.a", 3, 1);
    raw_send(&r.in, "SUB out 3\r\n");
    js_takes(&r, "s.a", 3, 1, "+ACK");
    js_rig_end(&r);
}

TEST(an_ephemeral_one_goes_without_interest)
{
    struct js_rig r;

    start(&r, i);
    raw_send(&r.in, "SUB out 2\r\n");
    raw_fence(&r.in);
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.E",
           "{\"stream_name\":\"S\",\"config\":{\"name\":\"E\",\"deliver_subject\":\"out\","
           "\"inactive_threshold\":50000000}}",
           "\"name\":\"E\"");
    js_fill(&r, "s.a", 1, 1);
    raw_skip(&r.in, "MSG s.a 2 ");
    raw_skip(&r.in, "x\r\n");
    raw_send(&r.in, "UNSUB 2\r\n");
    js_await(&r, "$JS.API.CONSUMER.INFO.S.E", "", "10014");
    js_rig_end(&r);
}

/* The second to come hears that it is in use; when the first has gone it gets it. */
TEST(one_deliver_subject_at_a_time)
{
    struct js_rig r;
    static const char first[] = "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\","
                                "\"deliver_subject\":\"push\"}}";
    static const char second[] = "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\","
                                 "\"deliver_subject\":\"out\"}}";
    char text[1024];

    start(&r, i);
    /* Both at once, on one connection: the second comes while the first is not durable. */
    snprintf(text, sizeof(text),
             "SUB gone.* g\r\nPUB $JS.API.CONSUMER.DURABLE.CREATE.S.C gone.1 %zu\r\n%s\r\n"
             "PUB $JS.API.CONSUMER.DURABLE.CREATE.S.C gone.2 %zu\r\n%s\r\n"
             "PUB $JS.API.CONSUMER.INFO.S.C gone.3 0\r\n\r\n",
             strlen(first), first, strlen(second), second);
    raw_send(&r.api, text);
    for (int k = 0; k < 3; k++) {
        static const char *const want[] = {"\"name\":\"C\"", "\"err_code\":10013",
                                           "\"push_bound\":true"};
        struct raw_msg m;
        raw_msg(&r.api, &m);
        ck_assert_msg(strstr(m.body, want[m.subject[5] - '1']) != NULL, "%s: %s", m.subject,
                      m.body);
        free(m.body);
    }
    raw_send(&r.in, "UNSUB p\r\n");
    raw_fence(&r.in);
    js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", second, "\"deliver_subject\":\"out\"");
    raw_send(&r.in, "SUB out 2\r\n");
    raw_fence(&r.in);
    js_fill(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 1, 1);
    js_rig_end(&r);
}

/* ---- heartbeats and flow control ------------------------------------------------------------- */

TEST(heartbeats_come_while_nothing_else_does)
{
    struct js_rig r;

    start(&r, i);
    js_fill(&r, "s.a", 1, 2);
    js_consumer(&r, ",\"deliver_subject\":\"push\",\"idle_heartbeat\":100000000,"
                    "\"ack_policy\":\"explicit\"");
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    for (int n = 0; n < 3; n++)
        js_hears(&r, "100 Idle Heartbeat\r\nNats-Last-Consumer: 2\r\nNats-Last-Stream: 2\r\n\r\n");
    js_rig_end(&r);
}

/* 40 messages of 100 KB: twice the first window. Until the request is answered no more than the
 * window comes, heartbeats name the request, and the answer lets it go on. */
TEST(flow_control_stops_and_goes_on)
{
    static char big[100001];
    struct js_rig r;
    struct raw_msg m;
    char request[700] = "", want[800];
    int got = 0;

    /* In both forms of the request's subject. */
    start_conf(&r, i % 3, i < 3 ? "" : "feature_flags { js_ack_fc_v2: true }\n");
    memset(big, 'b', sizeof(big) - 1);
    for (int k = 0; k < 40; k++)
        js_ask(&r, "s.a", big, "\"seq\":");
    js_consumer(&r, ",\"deliver_subject\":\"push\",\"idle_heartbeat\":200000000,"
                    "\"flow_control\":true,\"ack_policy\":\"none\"");
    while (got < 40) {
        js_next(&r, &m);
        if (strstr(m.body, "100 FlowControl Request") != NULL) {
            const char *prefix = i < 3 ? "$JS.FC.S.C." : "$JS.FC._.szMpdrwD.S.C.";
            ck_assert_msg(strncmp(m.reply, prefix, strlen(prefix)) == 0, "%s", m.reply);
            snprintf(request, sizeof(request), "%s", m.reply); /* answered later */
        }
        if (strncmp(m.body, "NATS/1.0 100 Idle", 17) == 0) {
            snprintf(want, sizeof(want), "Nats-Consumer-Stalled: %s\r\n", request);
            ck_assert_msg(strstr(m.body, want) != NULL, "%s", m.body);
            free(m.body);
            break;
        }
        if (m.header_n == 0)
            got++;
        free(m.body);
    }
    ck_assert_int_gt(got, 5);
    ck_assert_int_lt(got, 30);
    while (got < 40) {
        snprintf(want, sizeof(want), "PUB %s 0\r\n\r\n", request);
        raw_send(&r.api, want);
        do {
            js_next(&r, &m);
            if (m.header_n == 0)
                got++;
            else if (m.reply[0] != '\0')
                snprintf(request, sizeof(request), "%s", m.reply);
            bool asked = m.reply[0] != '\0' && m.header_n > 0;
            free(m.body);
            if (asked)
                break;
        } while (got < 40);
    }
    js_consumer_has(&r, "\"num_pending\":0");
    js_rig_end(&r);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* Every message goes to one member, and both get some. */
TEST(a_deliver_group_shares)
{
    struct js_rig r;
    struct raw_msg m;
    bool seen[41] = {false};
    int of[2] = {0};

    start(&r, i);
    js_fill(&r, "s.a", 1, 40);
    raw_send(&r.in, "SUB out G 8\r\nSUB out G 9\r\n");
    raw_fence(&r.in);
    js_consumer(&r, ",\"deliver_subject\":\"out\",\"deliver_group\":\"G\",\"ack_policy\":\"none\"");
    for (int n = 0; n < 40; n++) {
        int seq = 0, sid;
        js_next(&r, &m);
        ck_assert_int_eq(sscanf(m.reply, "$JS.ACK.S.C.1.%d.", &seq), 1);
        ck_assert_msg(seq >= 1 && seq <= 40 && !seen[seq], "%s", m.reply);
        seen[seq] = true;
        sid = m.sid[0] - '0';
        ck_assert(sid == 8 || sid == 9);
        of[sid - 8]++;
        free(m.body);
    }
    ck_assert_int_gt(of[0], 0);
    ck_assert_int_gt(of[1], 0);
    js_silent(&r);
    js_rig_end(&r);
}

/* ---- ordered consumers ----------------------------------------------------------------------- */

/* What clients ask for: no acks, one delivery each, in memory, with flow control; after a gap a new
 * one from where the last left. */
TEST(ordered_consumers)
{
    struct js_rig r;
    struct raw_msg m;
    char body[512], sub[64];

    start(&r, i);
    js_fill(&r, "s.a", 1, 30);
    for (int from = 1; from <= 21; from += 10) {
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"S\",\"config\":{\"deliver_subject\":\"o%d\","
                 "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%d,"
                 "\"ack_policy\":\"none\",\"max_deliver\":1,\"flow_control\":true,"
                 "\"idle_heartbeat\":5000000000,\"num_replicas\":1,\"mem_storage\":true}}",
                 from, from);
        snprintf(sub, sizeof(sub), "SUB o%d o%d\r\n", from, from);
        raw_send(&r.in, sub);
        raw_fence(&r.in);
        js_ask(&r, "$JS.API.CONSUMER.CREATE.S", body, "\"mem_storage\":true");
        for (int seq = from; seq <= 30; seq++) {
            int deliveries, sseq, dseq, pending;
            char name[64];
            js_next(&r, &m);
            ck_assert_int_eq(sscanf(m.reply, "$JS.ACK.S.%63[^.].%d.%d.%d.%*d.%d", name, &deliveries,
                                    &sseq, &dseq, &pending),
                             5);
            ck_assert_int_eq(deliveries, 1);
            ck_assert_int_eq(sseq, seq);
            ck_assert_int_eq(dseq, seq - from + 1);
            ck_assert_int_eq(pending, 30 - seq);
            free(m.body);
        }
    }
    js_rig_end(&r);
}

TEST(headers_only)
{
    struct js_rig r;
    struct raw_msg m;

    start(&r, i);
    js_pub(&r, "s.a", "A: b\r\n", "hello", "\"seq\":1}");
    js_ask(&r, "s.a", "hi", "\"seq\":2}");
    js_consumer(&r, ",\"deliver_subject\":\"push\",\"headers_only\":true");
    js_next(&r, &m);
    ck_assert_str_eq(m.body, "NATS/1.0\r\nA: b\r\nNats-Msg-Size: 5\r\n\r\n");
    free(m.body);
    js_next(&r, &m);
    ck_assert_str_eq(m.body, "NATS/1.0\r\nNats-Msg-Size: 2\r\n\r\n");
    free(m.body);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(delivers_while_somebody_listens, 0, 3),
    RUN_LOOP(an_ephemeral_one_goes_without_interest, 0, 3),
    RUN_LOOP(one_deliver_subject_at_a_time, 0, 3),
    RUN_LOOP(heartbeats_come_while_nothing_else_does, 0, 3),
    RUN_LOOP(flow_control_stops_and_goes_on, 0, 6),
    RUN_LOOP(a_deliver_group_shares, 0, 3),
    RUN_LOOP(ordered_consumers, 0, 3),
    RUN_LOOP(headers_only, 0, 3),
};

RUNNER_MAIN("api/jetstream_push", cases)
