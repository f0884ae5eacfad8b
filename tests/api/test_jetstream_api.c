/*
 * test_jetstream_api.c - what all API requests have in common: strict JSON, required API levels,
 * paging, the audit, requests that need a cluster, and errors that belong to no other file.
 *
 * The same program passes against nats-server 2.15.1 (a script in place of bin/midge-server).
 */
#include "lib/base/assert.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API "$JS.API."
#define ERR(code) "\"err_code\":" #code ","
#define EXPLICIT ",\"ack_policy\":\"explicit\""

static void start(struct js_rig *r, int i)
{
    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", "");
}

/* ---- strictness ------------------------------------------------------------------------------ */

TEST(unknown_fields_are_refused)
{
    static const char *const subjects[] = {
        "STREAM.CREATE.X",     "STREAM.UPDATE.S",  "STREAM.NAMES",     "STREAM.LIST",
        "STREAM.INFO.S",       "STREAM.PURGE.S",   "STREAM.MSG.GET.S", "STREAM.MSG.DELETE.S",
        "CONSUMER.CREATE.S.X", "CONSUMER.NAMES.S", "CONSUMER.LIST.S",
    };
    struct js_rig r;
    char subject[64];

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(subjects); k++) {
        snprintf(subject, sizeof(subject), API "%s", subjects[k]);
        js_ask(&r, subject, "{\"no_such_field\":1}",
               ERR(10025) "\"description\":\"invalid JSON: json: unknown field "
                          "\\\"no_such_field\\\"\"");
    }
    js_rig_end(&r);
}

TEST(lenient_servers_pass_over_unknown_fields)
{
    struct js_rig r;

    js_rig_start_conf(&r, i, "jetstream { strict: false }\n");
    js_stream(&r, "[\"s.*\"]", ",\"no_such_field\":1");
    js_ask(&r, API "STREAM.NAMES", "{\"no_such_field\":1}", "\"streams\":[\"S\"]");
    js_rig_end(&r);
}

TEST(bodies_that_must_be_empty)
{
    static const char *const subjects[] = {"STREAM.DELETE.S", "CONSUMER.INFO.S.C",
                                           "CONSUMER.DELETE.S.C"};
    struct js_rig r;
    char subject[64];

    start(&r, i);
    js_consumer(&r, EXPLICIT);
    for (size_t k = 0; k < ARRAY_LEN(subjects); k++) {
        snprintf(subject, sizeof(subject), API "%s", subjects[k]);
        js_ask(&r, subject, "{\"a\":1}", ERR(10038));
    }
    js_rig_end(&r);
}

/* ---- levels ---------------------------------------------------------------------------------- */

TEST(a_request_may_require_a_level)
{
    static const struct {
        const char *subject, *body, *want;
    } table[] = {
        {API "INFO", "", "account_info_response\",\"error\":{\"code\":412,"},
        {API "STREAM.CREATE.X", "{\"name\":\"X\"}", "stream_create_response\",\"error\":{"},
        {API "STREAM.INFO.S", "", "stream_info_response\",\"error\":{\"code\":412,"},
        {API "CONSUMER.CREATE.S.X", "{\"stream_name\":\"S\",\"config\":{}}",
         "consumer_create_response\",\"error\":{\"code\":412,"},
    };
    struct js_rig r;

    start(&r, i);
    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        js_pub(&r, table[k].subject, "Nats-Required-Api-Level: 99\r\n", table[k].body,
               table[k].want);
        js_pub(&r, table[k].subject, "Nats-Required-Api-Level: x\r\n", table[k].body, ERR(10185));
    }
    js_pub(&r, API "STREAM.INFO.S", "Nats-Required-Api-Level: 1\r\n", "", "\"config\":{");
    js_pub(&r, API "STREAM.INFO.X", "", "", ERR(10059));
    js_rig_end(&r);
}

TEST(direct_gets_and_pulls_may_too)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true");
    js_consumer(&r, EXPLICIT);
    js_fill(&r, "s.a", 1, 1);
    js_pub(&r, API "DIRECT.GET.S", "Nats-Required-Api-Level: 99\r\n", "{\"seq\":1}",
           "412 Required Api Level");
    js_pub(&r, API "DIRECT.GET.S.s.a", "Nats-Required-Api-Level: 99\r\n", "",
           "412 Required Api Level");
    js_pub(&r, API "CONSUMER.MSG.NEXT.S.C", "Nats-Required-Api-Level: 99\r\n", "1",
           "412 Required Api Level");
    js_pub(&r, API "CONSUMER.RESET.S.C", "Nats-Required-Api-Level: 99\r\n", "", ERR(10185));
    js_rig_end(&r);
}

/* ---- what needs a cluster -------------------------------------------------------------------- */

TEST(requests_that_need_a_cluster)
{
    static const char *const subjects[] = {
        "STREAM.PEER.REMOVE.S",
        "STREAM.LEADER.STEPDOWN.S",
        "CONSUMER.LEADER.STEPDOWN.S.C",
    };
    struct js_rig r;
    char subject[64];

    start(&r, i);
    js_consumer(&r, EXPLICIT);
    for (size_t k = 0; k < ARRAY_LEN(subjects); k++) {
        snprintf(subject, sizeof(subject), API "%s", subjects[k]);
        js_ask(&r, subject, "", ERR(10010));
    }
    js_ask(&r, API "STREAM.CREATE.X", "{\"name\":\"X\",\"num_replicas\":3}", ERR(10074));
    js_rig_end(&r);
}

/* ---- the rest of the errors ------------------------------------------------------------------ */

/* A consumer with this text between the two halves of its configuration. */
static void refuse_long(struct js_rig *r, const char *before, const char *after, size_t n,
                        const char *want)
{
    char *text = malloc(n + 1);
    char *body = malloc(n + 512);

    memset(text, 'x', n);
    text[n] = '\0';
    snprintf(body, n + 512, "{\"stream_name\":\"S\",\"config\":{%s%s%s}}", before, text, after);
    js_ask(r, API "CONSUMER.CREATE.S.X", body, want);
    free(text);
    free(body);
}

TEST(consumers_that_are_too_much)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"max_consumers\":1");
    refuse_long(&r, "\"description\":\"", "\"", 4097, ERR(10107));
    refuse_long(&r, "\"metadata\":{\"a\":\"", "\"}", 128 * 1024,
                ERR(10135) "\"description\":\"consumer metadata exceeds maximum size of 128KB\"");
    js_ask(&r, API "CONSUMER.CREATE.S",
           "{\"stream_name\":\"S\",\"config\":{\"deliver_subject\":\"out\",\"direct\":true,"
           "\"durable_name\":\"d\"}}",
           ERR(10020));
    js_ask(&r, API "CONSUMER.CREATE.S.d",
           "{\"stream_name\":\"S\",\"config\":{\"deliver_subject\":\"out\",\"direct\":true,"
           "\"durable_name\":\"d\"}}",
           ERR(10091));
    js_consumer(&r, EXPLICIT);
    js_ask(&r, API "CONSUMER.CREATE.S.X", "{\"stream_name\":\"S\",\"config\":{}}", ERR(10026));
    js_rig_end(&r);
}

TEST(consumers_bind_the_limits_of_their_stream)
{
    struct js_rig r;

    start(&r, i);
    js_consumer(&r, EXPLICIT ",\"max_ack_pending\":100");
    js_ask(&r, API "STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"consumer_limits\":{\"max_ack_pending\":10}}",
           ERR(10069) "\"description\":\"change to limits violates consumers: C\"");
    js_rig_end(&r);
}

TEST(sealed_streams_refuse)
{
    struct js_rig r;

    start(&r, i);
    js_fill(&r, "s.a", 1, 1);
    js_ask(&r, API "STREAM.UPDATE.S", "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"sealed\":true}",
           "\"sealed\":true");
    js_ask(&r, API "STREAM.MSG.DELETE.S", "{\"seq\":1}", ERR(10109));
    js_ask(&r, API "STREAM.PURGE.S", "", ERR(10109));
    js_ask(&r, "s.a", "x", ERR(10109));
    js_rig_end(&r);
}

TEST(features_that_a_stream_does_not_have)
{
    struct js_rig r;

    start(&r, i);
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", ERR(10168));
    js_pub(&r, "s.a", "Nats-Schedule: @every 1s\r\nNats-Schedule-Target: s.b\r\n", "", ERR(10188));
    js_pub(&r, "s.a", "Nats-Stream-Source: X 1 > > s.a\r\n", "", ERR(10227));
    js_rig_end(&r);
}

TEST(headers_have_a_limit)
{
    struct js_rig r;
    size_t n = 70000;
    char *text = malloc(n + 200);
    struct raw_msg m;
    int at;

    start(&r, i);
    at = snprintf(text, n + 200,
                  "SUB ack.1 a\r\nHPUB s.a ack.1 %zu %zu\r\nNATS/1.0\r\nA: ", n + 10 + 3 + 4,
                  n + 10 + 3 + 4);
    memset(text + at, 'x', n);
    snprintf(text + at + n, 16, "\r\n\r\n\r\n");
    raw_send_bytes(&r.api, text, (size_t) at + n + 6);
    raw_msg(&r.api, &m);
    ck_assert_msg(strstr(m.body, ERR(10097)) != NULL, "%s", m.body);
    free(m.body);
    free(text);
    js_rig_end(&r);
}

/* ---- paging ---------------------------------------------------------------------------------- */

static void has(const char *answer, const char *want)
{
    ck_assert_msg(strstr(answer, want) != NULL, "wanted %s in %.300s", want, answer);
}

static void lacks(const char *answer, const char *what)
{
    ck_assert_msg(strstr(answer, what) == NULL, "%s is in %.300s", what, answer);
}

static void page(struct js_rig *r, const char *subject, const char *body, const char *head,
                 const char *there, const char *beyond)
{
    char *answer = raw_ask(&r->api, subject, body);

    has(answer, head);
    if (there != NULL)
        has(answer, there);
    if (beyond != NULL)
        lacks(answer, beyond);
    free(answer);
}

TEST(lists_come_in_pages)
{
    struct js_rig r;
    char subject[64], body[160];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"storage\":\"memory\"");
    for (int k = 0; k < 300; k++) {
        snprintf(subject, sizeof(subject), API "CONSUMER.CREATE.S.c%04d", k);
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"S\",\"config\":{\"mem_storage\":true,"
                 "\"inactive_threshold\":600000000000}}");
        js_ask(&r, subject, body, "\"name\":\"c");
    }
    page(&r, API "CONSUMER.NAMES.S", "", "\"total\":300,\"offset\":0,\"limit\":1024", "\"c0299\"",
         NULL);
    page(&r, API "CONSUMER.NAMES.S", "{\"offset\":280}", "\"total\":300,\"offset\":280,",
         "\"c0280\"", "\"c0279\"");
    page(&r, API "CONSUMER.LIST.S", "", "\"total\":300,\"offset\":0,\"limit\":256",
         "\"name\":\"c0255\"", "\"name\":\"c0256\"");
    page(&r, API "CONSUMER.LIST.S", "{\"offset\":256}", "\"total\":300,\"offset\":256,",
         "\"name\":\"c0299\"", "\"name\":\"c0255\"");
    page(&r, API "CONSUMER.NAMES.S", "{\"offset\":5000}", "\"total\":300,\"offset\":300,", NULL,
         "\"c0299\"");
    js_rig_end(&r);
}

TEST(streams_come_in_pages)
{
    struct js_rig r;
    char subject[64], body[128];

    js_rig_start(&r, i);
    for (int k = 0; k < 260; k++) {
        snprintf(subject, sizeof(subject), API "STREAM.CREATE.t%04d", k);
        snprintf(body, sizeof(body), "{\"name\":\"t%04d\",\"storage\":\"memory\"}", k);
        js_ask(&r, subject, body, "\"did_create\":true");
    }
    page(&r, API "STREAM.LIST", "", "\"total\":260,\"offset\":0,\"limit\":256",
         "\"name\":\"t0255\"", "\"name\":\"t0256\"");
    page(&r, API "STREAM.LIST", "{\"offset\":256}", "\"total\":260,\"offset\":256,",
         "\"name\":\"t0259\"", "\"name\":\"t0255\"");
    page(&r, API "STREAM.NAMES", "{\"offset\":258}", "\"total\":260,\"offset\":258,\"limit\":1024",
         "\"t0259\"", "\"t0257\"");
    page(&r, API "STREAM.NAMES", "{\"subject\":\"t0007\"}", "\"total\":1,", "\"t0007\"",
         "\"t0008\"");
    js_rig_end(&r);
}

/* ---- audit ----------------------------------------------------------------------------------- */

TEST(requests_are_audited)
{
    struct js_rig r;

    start(&r, i);
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.API 2\r\n");
    raw_fence(&r.in);
    js_ask(&r, API "STREAM.INFO.X", "{\"offset\":3}", ERR(10059));
    raw_skip(&r.in, "MSG $JS.EVENT.ADVISORY.API 2 ");
    raw_skip(&r.in, "{\"type\":\"io.nats.jetstream.advisory.v1.api_audit\",\"id\":\"");
    raw_skip(&r.in, "\"server\":\"");
    raw_skip(&r.in, "\"client\":{");
    raw_skip(&r.in, "\"acc\":\"$G\"");
    raw_skip(&r.in, "\"subject\":\"$JS.API.STREAM.INFO.X\",\"request\":\"{\\\"offset\\\":3}\","
                    "\"response\":\"{\\\"type\\\":\\\"io.nats.jetstream.api.v1."
                    "stream_info_response\\\",\\\"error\\\":{\\\"code\\\":404,");
    js_rig_end(&r);
}

/* Of requests that come together some are more than may wait; the others are answered. */
TEST(requests_beyond_the_limit_are_dropped)
{
    struct js_rig r;
    char text[4096] = "";
    size_t n = 0;

    js_rig_start_conf(&r, i, "jetstream { request_queue_limit: 2 }\n");
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.API.LIMIT_REACHED 2\r\nSUB answers 3\r\n");
    raw_fence(&r.in);
    for (int k = 0; k < 60; k++)
        n += (size_t) snprintf(text + n, sizeof(text) - n,
                               "PUB $JS.API.STREAM.CREATE.T answers 12\r\n{\"name\":\"T\"}\r\n");
    ck_assert_uint_lt(n, sizeof(text));
    raw_send(&r.api, text);
    raw_skip(&r.in, "MSG $JS.EVENT.ADVISORY.API.LIMIT_REACHED 2 ");
    raw_skip(&r.in, "{\"type\":\"io.nats.jetstream.advisory.v1.api_limit_reached\",\"id\":\"");
    raw_skip(&r.in, "\"server\":\"");
    raw_skip(&r.in, "\"dropped\":");
    raw_skip(&r.in, "MSG answers 3 ");
    raw_skip(&r.in, "MSG answers 3 ");
    js_ask(&r, API "STREAM.INFO.T", "", "\"name\":\"T\"");
    js_rig_end(&r);
}

/* What another connection has published and flushed, without waiting for any acknowledgement. */
TEST(questions_see_what_was_flushed)
{
    struct js_rig r;
    char body[64], want[64], list[64];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_consumer(&r, "");
    for (int k = 1; k <= 50; k++) {
        raw_send(&r.in, "PUB s.a 1\r\nx\r\n");
        raw_fence(&r.in);
        snprintf(body, sizeof(body), "{\"seq\":%d}", k);
        snprintf(want, sizeof(want), "\"num_pending\":%d", k);
        snprintf(list, sizeof(list), "\"messages\":%d,", k);
        if (k % 3 == 0)
            js_ask(&r, "$JS.API.STREAM.MSG.GET.S", body, "\"subject\":\"s.a\"");
        else if (k % 3 == 1)
            js_consumer_has(&r, want);
        else if (k % 6 == 2)
            js_ask(&r, "$JS.API.CONSUMER.LIST.S", "", want);
        else
            js_ask(&r, "$JS.API.STREAM.LIST", "", list);
        snprintf(want, sizeof(want), "\"messages\":%d,", k);
        js_stream_has(&r, want);
    }
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(questions_see_what_was_flushed, 0, 3),
    RUN_LOOP(unknown_fields_are_refused, 0, 3),
    RUN_LOOP(lenient_servers_pass_over_unknown_fields, 0, 3),
    RUN_LOOP(bodies_that_must_be_empty, 0, 3),
    RUN_LOOP(a_request_may_require_a_level, 0, 3),
    RUN_LOOP(direct_gets_and_pulls_may_too, 0, 3),
    RUN_LOOP(requests_that_need_a_cluster, 0, 3),
    RUN_LOOP(consumers_that_are_too_much, 0, 3),
    RUN_LOOP(consumers_bind_the_limits_of_their_stream, 0, 3),
    RUN_LOOP(sealed_streams_refuse, 0, 3),
    RUN_LOOP(features_that_a_stream_does_not_have, 0, 3),
    RUN_LOOP(headers_have_a_limit, 0, 3),
    RUN_LOOP(lists_come_in_pages, 0, 3),
    RUN_LOOP(streams_come_in_pages, 0, 3),
    RUN_LOOP(requests_are_audited, 0, 3),
    RUN_LOOP(requests_beyond_the_limit_are_dropped, 0, 3),
};

RUNNER_MAIN("api/jetstream_api", cases)
