/*
 * test_jetstream_retention.c - what interest and work-queue streams keep, and what consumers find
 * after a restart: retention, deliver last per subject, pending counts; what can not be read.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A second consumer D of S. */
static void consumer_d(struct js_rig *r, const char *more)
{
    char body[512];

    snprintf(body, sizeof(body), "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"D\"%s}}",
             more);
    js_ask(r, "$JS.API.CONSUMER.DURABLE.CREATE.S.D", body, "\"name\":\"D\"");
}

static void again(struct js_rig *r, int how)
{
    if (how % 2 == 0)
        js_rig_restart(r);
    else
        js_rig_crash(r);
}

static void await_messages(struct js_rig *r, int n)
{
    char want[64];

    snprintf(want, sizeof(want), "\"messages\":%d,", n);
    js_await(r, "$JS.API.STREAM.INFO.S", "", want);
}

/* ---- interest -------------------------------------------------------------------------------- */

TEST(interest_keeps_what_somebody_needs)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"interest\"");
    js_ask(&r, "s.a", "x", "\"seq\":1}");
    js_stream_has(&r, "\"messages\":0,");
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"filter_subject\":\"s.a\"");
    js_ask(&r, "s.b", "x", "\"seq\":2}"); /* nobody wants it */
    consumer_d(&r, ",\"ack_policy\":\"explicit\"");
    js_fill(&r, "s.a", 3, 2);
    js_fill(&r, "s.b", 5, 1);
    await_messages(&r, 3);
    js_pull(&r, "2");
    js_takes(&r, "s.a", 3, 1, "+ACK");
    js_takes(&r, "s.a", 4, 1, "+ACK");
    await_messages(&r, 3); /* D wants them all */
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.D", "", "\"success\":true");
    await_messages(&r, 0);
    js_rig_end(&r);
}

/* The last consumer takes what was kept for it along. */
TEST(interest_without_consumers_keeps_nothing)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"interest\"");
    js_consumer(&r, ",\"ack_policy\":\"explicit\"");
    js_fill(&r, "s.a", 1, 3);
    js_rig_restart(&r);
    js_stream_has(&r, "\"messages\":3,");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    await_messages(&r, 0);
    js_rig_end(&r);
}

TEST(interest_without_acks_is_done_when_delivered)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"interest\"");
    js_consumer(&r, ",\"ack_policy\":\"none\"");
    js_fill(&r, "s.a", 1, 3);
    js_pull(&r, "2");
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    await_messages(&r, 1);
    js_rig_end(&r);
}

/* Half acknowledged by one of two; what is still needed is there after the restart, whatever the
 * batches' place, and goes with its last acknowledgement. */
TEST(interest_over_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"interest\"");
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"filter_subject\":\"s.a\"");
    consumer_d(&r, ",\"ack_policy\":\"explicit\",\"filter_subject\":\"s.b\"");
    js_fill(&r, "s.a", 1, 2);
    js_fill(&r, "s.b", 3, 2);
    js_pull(&r, "1");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    await_messages(&r, 3);
    again(&r, i);
    js_stream_has(&r, "\"messages\":3,");
    js_pull(&r, "1");
    js_takes(&r, "s.a", 2, 1, "+ACK"); /* from the disk now */
    await_messages(&r, 2);
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.D", "", "\"success\":true");
    await_messages(&r, 0);
    js_rig_end(&r);
}

/* ---- work queue ------------------------------------------------------------------------------ */

TEST(a_work_queue_is_worked_off)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"workqueue\"");
    js_fill(&r, "s.a", 1, 4); /* kept without consumers */
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"filter_subject\":\"s.a\"");
    js_ask(
        &r, "$JS.API.CONSUMER.DURABLE.CREATE.S.D",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"D\",\"ack_policy\":\"explicit\"}}",
        "\"err_code\":10099");
    js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.D",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"D\",\"ack_policy\":\"explicit\","
           "\"filter_subject\":\"s.*\"}}",
           "\"err_code\":10100");
    js_pull(&r, "3");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    js_takes(&r, "s.a", 2, 1, "+TERM");
    js_gets(&r, "s.a", 3, 1);
    await_messages(&r, 2);
    again(&r, i);
    js_stream_has(&r, "\"messages\":2,");
    js_consumer_has(&r, "\"num_ack_pending\":1,\"num_redelivered\":0,\"num_waiting\":0,"
                        "\"num_pending\":1");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_stream_has(&r, "\"messages\":2,");
    js_rig_end(&r);
}

/* ---- starts and counts ----------------------------------------------------------------------- */

/* The rest of the list comes after a restart, then what is new; older ones of a subject never. */
TEST(last_per_subject_over_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 2);
    js_fill(&r, "s.b", 3, 2);
    js_fill(&r, "s.c", 5, 2);
    js_fill(&r, "s.d", 7, 2);
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"deliver_policy\":\"last_per_subject\","
                    "\"filter_subject\":\"s.*\"");
    js_consumer_has(&r, "\"num_pending\":4");
    js_pull(&r, "1");
    js_takes(&r, "s.a", 2, 1, "+ACK");
    js_fill(&r, "s.c", 9, 1); /* the list stays as it was */
    js_consumer_has(&r, "\"num_pending\":4");
    again(&r, i);
    js_consumer_has(&r, "\"num_pending\":4");
    js_pull(&r, "2");
    js_takes(&r, "s.b", 4, 1, "+ACK");
    js_takes(&r, "s.c", 6, 1, "+ACK");
    again(&r, i);
    js_pull(&r, "3");
    js_takes(&r, "s.d", 8, 1, "+ACK");
    js_takes(&r, "s.c", 9, 1, "+ACK");
    again(&r, i);
    js_fill(&r, "s.a", 10, 1);
    js_pull(&r, "1");
    js_takes(&r, "s.a", 10, 1, "+ACK");
    js_consumer_has(&r, "\"num_pending\":0");
    js_rig_end(&r);
}

/* Two filters of which neither contains the other: what both match comes once, and counts once. */
TEST(filters_that_overlap)
{
    static const struct {
        const char *policy;
        int pending;
    } all[] = {{"all", 5}, {"last_per_subject", 3}};
    struct js_rig r;
    char more[256], pending[32];

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.>\"]", "");
    js_fill(&r, "s.x.y", 1, 2);
    js_fill(&r, "s.x.z", 3, 1);
    js_fill(&r, "s.q.z", 4, 1);
    js_fill(&r, "s.q.y", 5, 2);
    snprintf(more, sizeof(more),
             ",\"ack_policy\":\"explicit\",\"deliver_policy\":\"%s\","
             "\"filter_subjects\":[\"s.x.*\",\"s.*.y\"]",
             all[i % 2].policy);
    js_consumer(&r, more);
    snprintf(pending, sizeof(pending), "\"num_pending\":%d", all[i % 2].pending);
    js_consumer_has(&r, pending);
    again(&r, i);
    js_consumer_has(&r, pending);
    js_pull(&r, "6");
    if (i % 2 == 0)
        js_takes(&r, "s.x.y", 1, 1, "+ACK");
    js_takes(&r, "s.x.y", 2, 1, "+ACK");
    js_takes(&r, "s.x.z", 3, 1, "+ACK");
    if (i % 2 == 0)
        js_takes(&r, "s.q.y", 5, 1, "+ACK");
    js_takes(&r, "s.q.y", 6, 1, "+ACK");
    js_fill(&r, "s.x.y", 7, 1);
    js_gets(&r, "s.x.y", 7, 1);
    js_consumer_has(&r, "\"num_pending\":0");
    js_rig_end(&r);
}

TEST(filtered_counts_over_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 0; k < 20; k++) {
        js_ask(&r, "s.a", "x", "\"seq\":");
        js_ask(&r, "s.b", "x", "\"seq\":");
    }
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"filter_subjects\":[\"s.b\",\"s.c\"]");
    js_consumer_has(&r, "\"num_pending\":20");
    js_pull(&r, "5");
    for (int k = 1; k <= 5; k++)
        js_takes(&r, "s.b", 2 * k, 1, "+ACK");
    again(&r, i);
    js_await(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_pending\":15");
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.b\",\"keep\":3}", "\"purged\":17");
    js_await(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_pending\":3");
    js_ask(&r, "s.c", "x", "\"seq\":41}");
    js_consumer_has(&r, "\"num_pending\":4");
    js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\","
           "\"filter_subject\":\"s.a\"}}",
           "\"filter_subject\":\"s.a\"");
    js_await(&r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_pending\":15");
    js_rig_end(&r);
}

/* A consumer in memory does all that others do, and a restart forgets it. */
TEST(consumers_in_memory)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"mem_storage\":true");
    js_pull(&r, "2");
    js_takes(&r, "s.a", 1, 1, "+ACK");
    js_takes(&r, "s.a", 2, 1, "-NAK");
    js_pull(&r, "1");
    js_takes(&r, "s.a", 2, 2, "+ACK");
    js_consumer_has(&r, "\"ack_floor\":{\"consumer_seq\":3,\"stream_seq\":2");
    js_ask(
        &r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
        "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}}",
        "storage type can not be updated");
    js_ask(&r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\","
           "\"mem_storage\":true,\"description\":\"new\"}}",
           "\"name\":\"C\"");
    js_consumer_has(&r, "\"description\":\"new\"");
    js_rig_restart(&r);
    js_ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "10014");
    js_consumer(&r, ",\"ack_policy\":\"explicit\",\"mem_storage\":true");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_ask(&r, "$JS.API.CONSUMER.INFO.S.C", "", "10014");
    js_rig_end(&r);
}

/* The name in the subject counts. */
TEST(a_consumer_has_the_name_in_the_subject)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.C",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\",\"name\":\"other\"}}",
           "\"durable_name\":\"C\",\"name\":\"C\"");
    js_ask(&r, "$JS.API.CONSUMER.CREATE.S.D",
           "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"}}", "10017");
    js_rig_end(&r);
}

TEST(deliver_policies)
{
    static const struct {
        const char *more;
        int first, pending;
    } table[] = {
        {",\"deliver_policy\":\"all\"", 1, 6},
        {",\"deliver_policy\":\"last\"", 6, 1},
        {",\"deliver_policy\":\"last\",\"filter_subject\":\"s.a\"", 3, 1},
        {",\"deliver_policy\":\"new\"", 7, 0},
        {",\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":4", 4, 3},
        {",\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"2020-01-01T00:00:00Z\"", 1, 6},
        {",\"deliver_policy\":\"last_per_subject\",\"filter_subject\":\"s.*\"", 3, 2},
    };
    struct js_rig r;
    char want[64];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    js_fill(&r, "s.b", 4, 3);
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        js_consumer(&r, table[k].more);
        snprintf(want, sizeof(want), "\"num_pending\":%d", table[k].pending);
        js_consumer_has(&r, want);
        if (table[k].pending > 0) {
            js_pull(&r, "1");
            js_gets(&r, table[k].first <= 3 ? "s.a" : "s.b", table[k].first, 1);
        }
        js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    }
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(interest_keeps_what_somebody_needs, 0, 3),
    RUN_LOOP(interest_without_consumers_keeps_nothing, 0, 3),
    RUN_LOOP(interest_without_acks_is_done_when_delivered, 0, 3),
    RUN_LOOP(interest_over_a_restart, 0, 6),
    RUN_LOOP(a_work_queue_is_worked_off, 0, 6),
    RUN_LOOP(last_per_subject_over_a_restart, 0, 6),
    RUN_LOOP(filters_that_overlap, 0, 6),
    RUN_LOOP(filtered_counts_over_a_restart, 0, 6),
    RUN_LOOP(consumers_in_memory, 0, 3),
    RUN_LOOP(a_consumer_has_the_name_in_the_subject, 0, 3),
    RUN_LOOP(deliver_policies, 0, 3),
};

RUNNER_MAIN("api/jetstream_retention", cases)
