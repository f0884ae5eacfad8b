/* test_jetstream_index.c - questions about subjects right after a start, while the store still
 * reads those of a large stream: all are answered, and rightly. Which of them come too late to wait
 * is the machine's business; that the answers are the same is the point. */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES 120000

/* Subjects s.0 to s.<MESSAGES - 1>, one message each; one in a thousand asks for an answer. */
static void fill(struct js_rig *r)
{
    const size_t cap = 64 * 1000;
    char *text = malloc(cap);
    char subject[32], want[32];

    for (int k = 0; k < MESSAGES; k++) {
        size_t n = 0;
        for (int i = 1; i < 1000; i++, k++)
            n += (size_t) snprintf(text + n, cap - n, "PUB s.%d 1\r\nx\r\n", k);
        raw_send(&r->api, text);
        snprintf(subject, sizeof(subject), "s.%d", k);
        snprintf(want, sizeof(want), "\"seq\":%d}", k + 1);
        js_ask(r, subject, "x", want);
    }
    free(text);
}

/* A request whose answer goes to "a". */
static void send_request(struct js_rig *r, const char *subject, const char *body)
{
    char text[256];

    snprintf(text, sizeof(text), "PUB %s a %zu\r\n%s\r\n", subject, strlen(body), body);
    raw_send(&r->api, text);
}

/* i: 0 to 2 with 1, 2 and 4 workers after a clean stop, 3 to 5 after a kill. */
TEST(answers_right_after_a_start)
{
    struct js_rig r;

    js_rig_start(&r, i % 3);
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true");
    fill(&r);
    if (i < 3)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    /* They are sent before the first answer is read. */
    raw_send(&r.api, "SUB a 1\r\n");
    send_request(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.119998\"}");
    send_request(&r, "$JS.API.DIRECT.GET.S.s.77777", "");
    send_request(&r, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\"s.600\"}");
    send_request(&r, "s.new", "x");
    unsigned seen = 0;
    for (unsigned k = 0; k < 4; k++) {
        struct raw_msg m;
        raw_msg(&r.api, &m);
        seen |= strstr(m.body, "\"seq\":119999") != NULL ? 1u : 0;
        seen |= m.header_n > 0 && strcmp(m.body + m.header_n, "x") == 0 ? 2u : 0;
        seen |= strstr(m.body, "\"subjects\":{\"s.600\":1}") != NULL ? 4u : 0;
        seen |= strstr(m.body, "\"seq\":120001}") != NULL ? 8u : 0;
        free(m.body);
    }
    ck_assert_uint_eq(seen, 15);
    raw_send(&r.api, "UNSUB 1\r\n");
    js_ask(&r, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\">\"}", "\"num_subjects\":120001");
    js_rig_end(&r);
}

/* A consumer at the last messages, a publish that expects a sequence, and what is behind it. */
TEST(consumers_and_publishes_that_need_a_subject)
{
    struct js_rig r;

    js_rig_start(&r, i % 3);
    js_stream(&r, "[\"s.*\"]", "");
    fill(&r);
    js_rig_crash(&r);
    js_pub(&r, "s.7", "Nats-Expected-Last-Subject-Sequence: 7\r\n", "x",
           "\"err_code\":10071,\"description\":\"wrong last sequence: 8\"");
    js_pub(&r, "s.7", "Nats-Expected-Last-Subject-Sequence: 8\r\n", "y", "\"seq\":120001}");
    js_rig_crash(&r);
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":9}", "\"success\":true");
    js_consumer(&r, ",\"deliver_policy\":\"last_per_subject\",\"filter_subjects\":[\"s.7\",\"s.8\","
                    "\"s.9\"]");
    js_consumer_has(&r, "\"num_pending\":2,");
    js_rig_crash(&r);
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.1\",\"keep\":0}", "\"purged\":1}");
    js_ask(&r, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\"s.*\"}", "\"messages\":119999,");
    js_rig_end(&r);
}

#define LAST_PER_SUBJECT(filter)                                                                   \
    "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\","       \
    "\"deliver_policy\":\"last_per_subject\",\"filter_subject\":\"" filter "\"}}"

/* The list of a consumer at the last messages is longer than what is made at once. It is that of
 * the moment: what is published, removed and purged right behind the request changes nothing but
 * that what is gone is passed over. i / 2: the server goes on, is stopped or killed right after the
 * answer. */
TEST(a_long_list_of_last_messages)
{
    struct js_rig r;

    js_rig_start(&r, 0);
    js_stream(&r, "[\"s.*\",\"t\"]", "");
    fill(&r);
    js_pub(&r, "s.1", NULL, "x", "\"seq\":120001}");
    js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
           i % 2 == 0 ? LAST_PER_SUBJECT("s.>") : LAST_PER_SUBJECT("s.*"),
           "\"num_pending\":120000,");
    js_pub(&r, "s.0", NULL, "y", "\"seq\":120002}");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":4}", "\"success\":true");
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.4\"}", "\"purged\":1}");
    if (i / 2 == 1)
        js_rig_restart(&r);
    if (i / 2 == 2)
        js_rig_crash(&r);
    js_pull(&r, "3");
    js_takes(&r, "s.0", 1, 1, "+ACK");
    js_takes(&r, "s.2", 3, 1, "+ACK");
    js_takes(&r, "s.5", 6, 1, "+ACK");
    js_await(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_ack_pending\":0,");
    js_rig_restart(&r);
    js_pull(&r, "1");
    js_takes(&r, "s.6", 7, 1, "+ACK");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_long_list_of_last_messages, 0, 6),
    RUN_LOOP(answers_right_after_a_start, 0, 6),
    RUN_LOOP(consumers_and_publishes_that_need_a_subject, 0, 3),
};

RUNNER_MAIN("api/jetstream_index", cases)
