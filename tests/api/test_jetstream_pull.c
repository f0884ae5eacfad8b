/*
 * test_jetstream_pull.c - pull requests and acknowledgements over the wire:
 * every status line, heartbeats, limits of the request and of the consumer, redelivery.
 *
 * The same program passes against nats-server 2.15.1 (a script in place of bin/midge-server), but
 * for acknowledgements over a crash, which that server may forget.
 */
#include "lib/base/str.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPLICIT ",\"ack_policy\":\"explicit\""
#define LONG "\"expires\":20000000000"

static void start(struct js_rig *r, int i, const char *consumer)
{
    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", "");
    js_consumer(r, consumer);
}

/* A request that is refused, and how. */
static void refused(struct js_rig *r, const char *body, const char *status)
{
    js_pull(r, body);
    js_hears(r, status);
}

/* ---- refusals -------------------------------------------------------------------------------- */

TEST(requests_are_refused_with_their_reason)
{
    struct js_rig r;

    start(&r, i,
          EXPLICIT ",\"max_batch\":5,\"max_expires\":60000000000,\"max_bytes\":1000,"
                   "\"max_waiting\":2");
    refused(&r, "{\"batch\":", "400 Bad Request - ");
    refused(&r, "{\"batch\":1,\"expires\":1000000000,\"idle_heartbeat\":600000000}",
            "400 Bad Request - heartbeat value too large\r\n\r\n");
    refused(&r, "{\"batch\":6}", "409 Exceeded MaxRequestBatch of 5\r\n\r\n");
    refused(&r, "6", "409 Exceeded MaxRequestBatch of 5\r\n\r\n");
    refused(&r, "{\"batch\":1,\"expires\":61000000000}",
            "409 Exceeded MaxRequestExpires of 1m0s\r\n\r\n");
    refused(&r, "{\"batch\":1,\"max_bytes\":1001}",
            "409 Exceeded MaxRequestMaxBytes of 1000\r\n\r\n");
    refused(&r, "{\"batch\":1,\"no_wait\":true}", "404 No Messages\r\n\r\n");
    js_pull(&r, "{\"batch\":1," LONG "}");
    js_pull(&r, "{\"batch\":1," LONG "}");
    js_consumer_has(&r, "\"num_waiting\":2");
    refused(&r, "{\"batch\":1," LONG "}", "409 Exceeded MaxWaiting\r\n\r\n");
    /* With heartbeats the client is left to miss them, or it would ask again at once. */
    js_pull(&r, "{\"batch\":1," LONG ",\"idle_heartbeat\":5000000000}");
    js_silent(&r);
    js_rig_end(&r);
}

TEST(a_push_consumer_can_not_be_pulled)
{
    struct js_rig r;

    start(&r, i, EXPLICIT ",\"deliver_subject\":\"out\"");
    refused(&r, "1", "409 Consumer is push based\r\n\r\n");
    js_rig_end(&r);
}

/* Clients that have gone do not keep the queue full. */
TEST(requests_of_clients_that_left_make_room)
{
    struct js_rig r;
    struct raw_client other;
    static const char pull[] = "SUB gone.1 g\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S.C gone.1 "
                               "36\r\n{\"batch\":1,\"expires\":20000000000000}\r\n";

    start(&r, i, EXPLICIT ",\"max_waiting\":1");
    raw_hello(&other, r.server.port, "\"headers\":true,\"no_responders\":true");
    raw_send(&other, pull);
    raw_fence(&other);
    js_consumer_has(&r, "\"num_waiting\":1");
    raw_close(&other);
    js_await(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_waiting\":0");
    js_pull(&r, "{\"batch\":1," LONG "}");
    js_fill(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 1, 1);
    js_rig_end(&r);
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(requests_end_with_what_is_left_of_them)
{
    struct js_rig r;

    start(&r, i, EXPLICIT);
    refused(&r, "{\"batch\":3,\"expires\":50000000}",
            "408 Request Timeout\r\nNats-Pending-Messages: 3\r\nNats-Pending-Bytes: 0\r\n\r\n");
    js_fill(&r, "s.a", 1, 5);
    js_pull(&r, "{\"batch\":3,\"no_wait\":true}");
    for (int seq = 1; seq <= 3; seq++)
        js_gets(&r, "s.a", seq, 1);
    js_silent(&r); /* filled: no status */
    js_pull(&r, "{\"batch\":3,\"no_wait\":true}");
    js_gets(&r, "s.a", 4, 1);
    js_gets(&r, "s.a", 5, 1);
    js_hears(&r, "404 No Messages\r\n\r\n");
    /* no_wait with expires: waits for the first, then ends. */
    js_pull(&r, "{\"batch\":3,\"no_wait\":true," LONG "}");
    js_fill(&r, "s.a", 6, 1);
    js_gets(&r, "s.a", 6, 1);
    js_hears(&r, "404 No Messages\r\n\r\n");
    js_pull(&r, "{\"batch\":1,\"max_bytes\":10000," LONG "}");
    js_fill(&r, "s.a", 7, 1);
    js_gets(&r, "s.a", 7, 1);
    js_hears(&r, "409 Batch Completed\r\nNats-Pending-Messages: 0\r\nNats-Pending-Bytes: ");
    refused(&r, "{\"batch\":2,\"expires\":50000000,\"max_bytes\":10}",
            "408 Request Timeout\r\nNats-Pending-Messages: 2\r\nNats-Pending-Bytes: 10\r\n\r\n");
    js_rig_end(&r);
}

/* Subject, reply subject, header and payload count. */
TEST(max_bytes_counts_what_the_client_sees)
{
    struct js_rig r;
    struct raw_msg m;
    char body[128];
    size_t size;

    start(&r, i, EXPLICIT);
    js_fill(&r, "s.a", 1, 9);
    js_pull(&r, "1");
    js_next(&r, &m);
    size = strlen(m.subject) + strlen(m.reply) + strlen(m.body);
    free(m.body);
    snprintf(body, sizeof(body), "{\"batch\":9,\"max_bytes\":%zu}", size * 2 + 1);
    js_pull(&r, body);
    js_gets(&r, "s.a", 2, 1);
    js_gets(&r, "s.a", 3, 1);
    js_hears(&r, "409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 7\r\n"
                 "Nats-Pending-Bytes: 1\r\n\r\n");
    /* Met exactly: nothing more is said. */
    snprintf(body, sizeof(body), "{\"batch\":9,\"max_bytes\":%zu}", size * 2);
    js_pull(&r, body);
    js_gets(&r, "s.a", 4, 1);
    js_gets(&r, "s.a", 5, 1);
    js_silent(&r);
    js_consumer_has(&r, "\"num_waiting\":0");
    js_pull(&r, "{\"batch\":1,\"max_bytes\":5}");
    js_hears(&r, "409 Message Size Exceeds MaxBytes\r\nNats-Pending-Messages: 1\r\n"
                 "Nats-Pending-Bytes: 5\r\n\r\n");
    js_rig_end(&r);
}

TEST(deleting_and_stopping_end_what_waits)
{
    struct js_rig r;

    start(&r, i, EXPLICIT);
    js_pull(&r, "{\"batch\":1," LONG "}");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_hears(&r, "409 Consumer Deleted\r\n");
    js_consumer(&r, EXPLICIT);
    js_pull(&r, "{\"batch\":1," LONG "}");
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    js_hears(&r, "409 Consumer Deleted\r\n");
    js_ask(&r, "$JS.API.CONSUMER.MSG.NEXT.S.C", "1", "NATS/1.0 503");
    js_stream(&r, "[\"s.*\"]", "");
    js_consumer(&r, EXPLICIT);
    js_pull(&r, "{\"batch\":1," LONG "}");
    server_process_stop(&r.server);
    js_hears(&r, "409 Server Shutdown\r\n");
    raw_close(&r.api);
    raw_close(&r.in);
    server_process_deinit(&r.server);
}

TEST(heartbeats_while_nothing_comes)
{
    struct js_rig r;

    start(&r, i, EXPLICIT);
    js_fill(&r, "s.a", 1, 1);
    js_pull(&r, "{\"batch\":2," LONG ",\"idle_heartbeat\":60000000}");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    for (int n = 0; n < 3; n++)
        js_hears(&r, "100 Idle Heartbeat\r\nNats-Last-Consumer: 1\r\nNats-Last-Stream: 1\r\n\r\n");
    js_rig_end(&r);
}

/* ---- max_ack_pending ------------------------------------------------------------------------- */

TEST(stops_at_max_ack_pending)
{
    struct js_rig r;

    start(&r, i, EXPLICIT ",\"max_ack_pending\":2");
    js_fill(&r, "s.a", 1, 4);
    js_pull(&r, "{\"batch\":5," LONG "}");
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    js_silent(&r);
    js_consumer_has(&r, "\"num_ack_pending\":2,\"num_redelivered\":0,\"num_waiting\":1,"
                        "\"num_pending\":2");
    /* What waits already wants more than there is. */
    refused(&r, "{\"batch\":1,\"no_wait\":true}", "408 Requests Pending\r\n\r\n");
    js_ask(&r, "$JS.ACK.S.C.1.1.1.1.0", "", "");
    js_gets(&r, "s.a", 3, 1);
    js_ask(&r, "$JS.ACK.S.C.1.2.2.1.0", "+TERM enough", "");
    js_gets(&r, "s.a", 4, 1);
    js_rig_end(&r);
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

/* Sends an ack with the reply subject in.1. */
static void next(struct js_rig *r, int deliveries, int seq, const char *body)
{
    char text[256];

    snprintf(text, sizeof(text), "PUB $JS.ACK.S.C.%d.%d.%d.1.0 in.1 %zu\r\n%s\r\n", deliveries, seq,
             seq, strlen(body), body);
    raw_send(&r->api, text);
    raw_fence(&r->api);
}

TEST(an_ack_may_ask_for_the_next)
{
    struct js_rig r;

    start(&r, i, EXPLICIT);
    js_fill(&r, "s.a", 1, 6);
    js_pull(&r, "1");
    js_gets(&r, "s.a", 1, 1);
    next(&r, 1, 1, "+NXT");
    js_gets(&r, "s.a", 2, 1);
    next(&r, 1, 2, "+NXT 2");
    js_gets(&r, "s.a", 3, 1);
    js_gets(&r, "s.a", 4, 1);
    next(&r, 1, 3, "+NXT {\"batch\":1}");
    js_gets(&r, "s.a", 5, 1);
    next(&r, 1, 4, "+NXT {\"batch\":3,\"no_wait\":true}");
    js_gets(&r, "s.a", 6, 1);
    js_hears(&r, "404 No Messages");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":4,\"stream_seq\":4");
    js_consumer_has(&r, "\"num_ack_pending\":2");
    js_rig_end(&r);
}

TEST(naks_come_again)
{
    struct js_rig r;

    start(&r, i, EXPLICIT);
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.CONSUMER.MSG_NAKED.S.C 2\r\n");
    raw_fence(&r.in);
    js_fill(&r, "s.a", 1, 2);
    js_pull(&r, "{\"batch\":6," LONG "}");
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    raw_send(&r.in, "UNSUB 2\r\n");
    raw_fence(&r.in);
    js_ask(&r, "$JS.ACK.S.C.1.1.1.1.0", "-NAK", "");
    js_gets(&r, "s.a", 1, 2);
    js_ask(&r, "$JS.ACK.S.C.2.1.3.1.0", "-NAK {\"delay\":50000000}", "");
    js_gets(&r, "s.a", 1, 3);
    js_ask(&r, "$JS.ACK.S.C.3.1.4.1.0", "-NAK 50ms", "");
    js_gets(&r, "s.a", 1, 4);
    js_consumer_has(&r, "\"num_redelivered\":1");
    js_ask(&r, "$JS.ACK.S.C.4.1.5.1.0", "", "");
    js_consumer_has(&r, "\"num_redelivered\":0");
    js_rig_end(&r);
}

/* By ack wait, and by backoff; after max_deliver an advisory and no more. */
TEST(redelivers_until_max_deliver)
{
    struct js_rig r;
    struct raw_msg m;
    bool backoff = i % 2 == 1;

    start(&r, i / 2,
          backoff ? EXPLICIT ",\"max_deliver\":3,\"backoff\":[60000000,90000000]"
                  : EXPLICIT ",\"max_deliver\":3,\"ack_wait\":60000000");
    js_consumer_has(&r, "\"ack_wait\":60000000,");
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.S.C 2\r\n");
    raw_fence(&r.in);
    js_fill(&r, "s.a", 1, 1);
    js_pull(&r, "{\"batch\":9," LONG "}");
    for (int n = 1; n <= 3; n++)
        js_gets(&r, "s.a", 1, n);
    js_next(&r, &m);
    ck_assert_msg(strstr(m.body, "\"type\":\"io.nats.jetstream.advisory.v1.max_deliver\"") !=
                          NULL &&
                      strstr(m.body, "\"stream_seq\":1,\"deliveries\":3") != NULL,
                  "%s", m.body);
    free(m.body);
    js_silent(&r);
    js_stream_has(&r, "\"messages\":1,"); /* given up, not removed */
    js_rig_end(&r);
}

TEST(acks_all_and_acks_none)
{
    struct js_rig r;

    start(&r, i, ",\"ack_policy\":\"all\"");
    js_fill(&r, "s.a", 1, 5);
    js_pull(&r, "5");
    for (int seq = 1; seq <= 5; seq++)
        js_gets(&r, "s.a", seq, 1);
    js_ask(&r, "$JS.ACK.S.C.1.3.3.1.0", "", "");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":3,\"stream_seq\":3");
    js_consumer_has(&r, "\"num_ack_pending\":2");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_consumer(&r, ",\"ack_policy\":\"none\"");
    js_pull(&r, "5");
    for (int seq = 1; seq <= 5; seq++)
        js_gets(&r, "s.a", seq, 1);
    js_consumer_has(&r, "\"num_ack_pending\":0");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":5,\"stream_seq\":5");
    js_ask(&r, "$JS.ACK.S.C.1.5.5.1.0", "+ACK", "NATS/1.0 503"); /* nobody listens */
    js_rig_end(&r);
}

/* What was delivered, acknowledged and redelivered is there after a stop and after a crash. */
TEST(states_survive)
{
    struct js_rig r;

    start(&r, i / 2, EXPLICIT);
    js_fill(&r, "s.a", 1, 5);
    js_pull(&r, "4");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    js_gets(&r, "s.a", 2, 1);
    js_takes(&r, "s.a", 3, 1, "+ACK");
    js_takes(&r, "s.a", 4, 1, "+TERM");
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    js_consumer_has(&r, "\"delivered\":{\"consumer_seq\":4,\"stream_seq\":4");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":1,\"stream_seq\":1");
    js_consumer_has(&r, "\"num_ack_pending\":1,\"num_redelivered\":0,\"num_waiting\":0,"
                        "\"num_pending\":1");
    js_pull(&r, "2");
    js_takes(&r, "s.a", 5, 1, "+ACK");
    js_ask(&r, "$JS.ACK.S.C.1.2.2.1.0", "-NAK", "");
    js_takes(&r, "s.a", 2, 2, "+ACK");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":6,\"stream_seq\":5");
    js_rig_end(&r);
}

/* With the flag subjects say the domain and the account, too; both forms are taken. */
TEST(acks_of_the_second_form)
{
    struct js_rig r;
    struct raw_msg m;

    js_rig_start_conf(&r, i, "feature_flags { js_ack_fc_v2: true }\njetstream { domain: hub }\n");
    js_stream(&r, "[\"s.*\"]", "");
    js_consumer(&r, "");
    js_fill(&r, "s.a", 1, 2);
    js_pull(&r, "2");
    js_next(&r, &m);
    ck_assert_msg(str_starts(str_of(m.reply), STR("$JS.ACK.hub.szMpdrwD.S.C.1.1.1.")), "%s",
                  m.reply);
    js_ask(&r, m.reply, "+ACK", "");
    free(m.body);
    js_next(&r, &m);
    js_ask(&r, "$JS.ACK.S.C.1.2.2.1.0", "+ACK", "");
    free(m.body);
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":2,\"stream_seq\":2");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(requests_are_refused_with_their_reason, 0, 3),
    RUN_LOOP(a_push_consumer_can_not_be_pulled, 0, 3),
    RUN_LOOP(requests_of_clients_that_left_make_room, 0, 3),
    RUN_LOOP(requests_end_with_what_is_left_of_them, 0, 3),
    RUN_LOOP(max_bytes_counts_what_the_client_sees, 0, 3),
    RUN_LOOP(deleting_and_stopping_end_what_waits, 0, 3),
    RUN_LOOP(heartbeats_while_nothing_comes, 0, 3),
    RUN_LOOP(stops_at_max_ack_pending, 0, 3),
    RUN_LOOP(an_ack_may_ask_for_the_next, 0, 3),
    RUN_LOOP(naks_come_again, 0, 3),
    RUN_LOOP(redelivers_until_max_deliver, 0, 6),
    RUN_LOOP(acks_all_and_acks_none, 0, 3),
    RUN_LOOP(states_survive, 0, 6),
    RUN_LOOP(acks_of_the_second_form, 0, 3),
};

RUNNER_MAIN("api/jetstream_pull", cases)
