/*
 * test_jetstream_get.c - single messages over the wire: STREAM.MSG.GET and DIRECT.GET in all their
 * forms.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct js_rig *r, int i)
{
    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", ",\"allow_direct\":true");
    js_fill(r, "s.a", 1, 1);
    js_pub(r, "s.b", "A: 1\r\nB: 2\r\n", "two", "\"seq\":2}");
    js_fill(r, "s.a", 3, 1);
    js_ask(r, "s.c", "", "\"seq\":4}");
}

/* A direct get whose answer must have these headers, in this order, and this payload. */
static void direct(struct js_rig *r, const char *subject, const char *body, const char *header,
                   const char *payload)
{
    struct raw_client c;
    struct raw_msg m;
    char text[512];

    raw_hello(&c, r->server.port, "\"headers\":true,\"no_responders\":true");
    snprintf(text, sizeof(text), "SUB in.d 1\r\nPUB %s in.d %zu\r\n%s\r\n", subject, strlen(body),
             body);
    raw_send(&c, text);
    raw_msg(&c, &m);
    ck_assert_msg(strncmp(m.body, header, strlen(header)) == 0, "%s %s: wanted %s, got %s", subject,
                  body, header, m.body);
    ck_assert_msg(strcmp(m.body + m.header_n, payload) == 0, "%s %s: wanted %s, got %s", subject,
                  body, payload, m.body);
    free(m.body);
    raw_close(&c);
}

#define GET "$JS.API.DIRECT.GET.S"

TEST(direct_gets)
{
    struct js_rig r;

    start(&r, i);
    direct(&r, GET, "{\"seq\":1}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n"
           "Nats-Time-Stamp: 2",
           "x");
    direct(&r, GET, "{\"seq\":2}",
           "NATS/1.0\r\nA: 1\r\nB: 2\r\nNats-Stream: S\r\nNats-Subject: s.b\r\nNats-Sequence: "
           "2\r\nNats-Time-Stamp: 2",
           "two");
    direct(&r, GET, "{\"last_by_subj\":\"s.a\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 3\r\n", "x");
    direct(&r, GET, "{\"last_by_subj\":\"s.*\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.c\r\nNats-Sequence: 4\r\n", "");
    direct(&r, GET, "{\"next_by_subj\":\"s.a\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n", "x");
    direct(&r, GET, "{\"seq\":2,\"next_by_subj\":\"s.a\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 3\r\n", "x");
    direct(&r, GET, "{\"seq\":2,\"next_by_subj\":\">\"}",
           "NATS/1.0\r\nA: 1\r\nB: 2\r\nNats-Stream: S\r\nNats-Subject: s.b\r\n", "two");
    direct(&r, GET, "{\"start_time\":\"2020-01-01T00:00:00Z\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n", "x");
    direct(&r, GET, "{\"seq\":1,\"no_such_field\":1}", "NATS/1.0\r\nNats-Stream: S\r\n", "x");
    direct(&r, GET, "{\"seq\":2,\"no_hdr\":true}", "", "two");
    direct(&r, GET ".s.b", "", "NATS/1.0\r\nA: 1\r\nB: 2\r\nNats-Stream: S\r\n", "two");
    js_rig_end(&r);
}

TEST(direct_gets_that_fail)
{
    struct js_rig r;

    start(&r, i);
    direct(&r, GET, "", "NATS/1.0 408 Empty Request\r\n\r\n", "");
    direct(&r, GET, "{\"seq\":", "NATS/1.0 408 Malformed Request\r\n\r\n", "");
    direct(&r, GET, "{}", "NATS/1.0 408 Empty Request\r\n\r\n", "");
    direct(&r, GET, "{\"seq\":1,\"last_by_subj\":\"s.a\"}", "NATS/1.0 408 Bad Request\r\n\r\n", "");
    direct(&r, GET, "{\"seq\":5}", "NATS/1.0 404 Message Not Found\r\n\r\n", "");
    direct(&r, GET, "{\"last_by_subj\":\"s.none\"}", "NATS/1.0 404 Message Not Found\r\n\r\n", "");
    direct(&r, GET, "{\"seq\":4,\"next_by_subj\":\"s.a\"}",
           "NATS/1.0 404 Message Not Found\r\n\r\n", "");
    direct(&r, GET ".s.none", "", "NATS/1.0 404 Message Not Found\r\n\r\n", "");
    direct(&r, GET ".s.b", "{\"seq\":1}", "NATS/1.0 408 Bad Request\r\n\r\n", "");
    direct(&r, "$JS.API.DIRECT.GET.X", "{\"seq\":1}", "NATS/1.0 503\r\n", "");
    js_rig_end(&r);
}

TEST(message_gets)
{
    struct js_rig r;
    static const struct {
        const char *body, *want;
    } gets[] = {
        {"{\"seq\":1}",
         "\"message\":{\"subject\":\"s.a\",\"seq\":1,\"data\":\"eA==\",\"time\":\"2"},
        {"{\"seq\":2}", "\"hdrs\":\"TkFUUy8xLjANCkE6IDENCkI6IDINCg0K\",\"data\":\"dHdv\""},
        {"{\"last_by_subj\":\"s.a\"}", "\"seq\":3,"},
        {"{\"seq\":2,\"next_by_subj\":\"s.a\"}", "\"seq\":3,"},
        {"{\"start_time\":\"2020-01-01T00:00:00Z\"}", "\"seq\":1,"},
        {"{\"seq\":5}", "\"code\":404,\"err_code\":10037"},
        {"{\"seq\":1,\"last_by_subj\":\"s.a\"}", "\"err_code\":10003"},
        {"{\"start_time\":\"2020-01-01T00:00:00Z\",\"next_by_subj\":\"s.b\"}", "\"seq\":2,"},
        {"{\"next_by_subj\":\"s.*\"}", "\"seq\":1,"},
        {"{\"start_time\":\"2100-01-01T00:00:00Z\"}", "\"err_code\":10037"},
        {"{\"start_time\":\"2020-01-01T00:00:00Z\",\"last_by_subj\":\"s.b\"}",
         "\"err_code\":10003"},
        {"{\"seq\":2,\"no_hdr\":true}", "\"seq\":2,\"data\":\"dHdv\""},
        {"{\"seq\":1,\"batch\":2}", "\"err_code\":10003"},
        {"{}", "\"err_code\":10003"},
        {"", "\"err_code\":10003"},
    };

    start(&r, i);
    for (size_t k = 0; k < sizeof(gets) / sizeof(gets[0]); k++)
        js_ask(&r, "$JS.API.STREAM.MSG.GET.S", gets[k].body, gets[k].want);
    js_rig_end(&r);
}

/* ---- batches --------------------------------------------------------------------------------- */

static void asks(struct js_rig *r, const char *body)
{
    char text[1024];

    snprintf(text, sizeof(text), "PUB " GET " in.b %zu\r\n%s\r\n", strlen(body), body);
    raw_send(&r->api, text);
    raw_fence(&r->api);
}

/* The next message of the batch. */
static void member(struct js_rig *r, const char *subject, int seq, int pending, int last)
{
    struct raw_msg m;
    char want[128];

    js_next(r, &m);
    snprintf(want, sizeof(want), "Nats-Subject: %s\r\nNats-Sequence: %d\r\n", subject, seq);
    ck_assert_msg(strstr(m.body, want) != NULL, "wanted %s, got %s", want, m.body);
    snprintf(want, sizeof(want), "Nats-Num-Pending: %d\r\nNats-Last-Sequence: %d\r\n\r\n", pending,
             last);
    ck_assert_msg(strstr(m.body, want) != NULL, "wanted %s, got %s", want, m.body);
    free(m.body);
}

static void eob(struct js_rig *r, int pending, int last, int up_to)
{
    char want[160];
    int n = snprintf(want, sizeof(want),
                     "204 EOB\r\nNats-Num-Pending: %d\r\nNats-Last-Sequence: %d\r\n", pending,
                     last);

    if (up_to > 0)
        snprintf(want + n, sizeof(want) - (size_t) n, "Nats-UpTo-Sequence: %d\r\n\r\n", up_to);
    else
        snprintf(want + n, sizeof(want) - (size_t) n, "\r\n");
    js_hears(r, want);
}

TEST(direct_batches)
{
    struct js_rig r;

    start(&r, i);
    asks(&r, "{\"seq\":1,\"batch\":2}");
    member(&r, "s.a", 1, 3, 0);
    member(&r, "s.b", 2, 2, 1);
    eob(&r, 2, 2, 0);
    asks(&r, "{\"seq\":3,\"batch\":10}");
    member(&r, "s.a", 3, 1, 0);
    member(&r, "s.c", 4, 0, 3);
    eob(&r, 0, 4, 0);
    asks(&r, "{\"next_by_subj\":\"s.a\",\"batch\":10}");
    member(&r, "s.a", 1, 1, 0);
    member(&r, "s.a", 3, 0, 1);
    eob(&r, 0, 3, 0);
    asks(&r, "{\"seq\":2,\"next_by_subj\":\"s.a\",\"batch\":1}");
    member(&r, "s.a", 3, 0, 0);
    eob(&r, 0, 3, 0);
    asks(&r, "{\"start_time\":\"2020-01-01T00:00:00Z\",\"next_by_subj\":\"s.b\",\"batch\":5}");
    member(&r, "s.b", 2, 0, 0);
    eob(&r, 0, 2, 0);
    /* The message that meets max_bytes is the last one. */
    asks(&r, "{\"seq\":1,\"batch\":9,\"max_bytes\":5}");
    member(&r, "s.a", 1, 3, 0);
    member(&r, "s.b", 2, 2, 1);
    eob(&r, 2, 2, 0);
    asks(&r, "{\"seq\":5,\"batch\":9}");
    js_hears(&r, "404 Message Not Found\r\n\r\n");
    asks(&r, "{\"start_time\":\"2100-01-01T00:00:00Z\",\"batch\":9}");
    js_hears(&r, "404 Message Not Found\r\n\r\n");
    asks(&r, "{\"last_by_subj\":\"s.a\",\"batch\":2}");
    js_hears(&r, "408 Bad Request\r\n\r\n");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2}", "\"success\":true");
    asks(&r, "{\"seq\":1,\"batch\":2}");
    member(&r, "s.a", 1, 2, 0);
    member(&r, "s.a", 3, 1, 1);
    eob(&r, 1, 3, 0);
    js_rig_end(&r);
}

TEST(direct_last_of_many_subjects)
{
    struct js_rig r;

    start(&r, i);
    asks(&r, "{\"multi_last\":[\"s.*\"]}");
    member(&r, "s.b", 2, 2, 0);
    member(&r, "s.a", 3, 1, 2);
    member(&r, "s.c", 4, 0, 3);
    eob(&r, 0, 4, 4);
    asks(&r, "{\"multi_last\":[\"s.b\",\"s.*\",\"s.none\"],\"batch\":1}");
    member(&r, "s.b", 2, 2, 0);
    eob(&r, 2, 2, 4);
    /* As it was. */
    asks(&r, "{\"multi_last\":[\"s.*\"],\"up_to_seq\":2}");
    member(&r, "s.a", 1, 1, 0);
    member(&r, "s.b", 2, 0, 1);
    eob(&r, 0, 2, 2);
    asks(&r, "{\"multi_last\":[\"s.a\",\"s.c\"],\"up_to_seq\":3}");
    member(&r, "s.a", 3, 0, 0);
    eob(&r, 0, 3, 3);
    asks(&r, "{\"multi_last\":[\"s.*\"],\"seq\":3}");
    member(&r, "s.a", 3, 1, 0);
    member(&r, "s.c", 4, 0, 3);
    eob(&r, 0, 4, 4);
    asks(&r, "{\"multi_last\":[\"s.*\"],\"max_bytes\":5}");
    member(&r, "s.b", 2, 2, 0);
    eob(&r, 2, 2, 4);
    asks(&r, "{\"multi_last\":[\"s.*\"],\"up_to_time\":\"2100-01-01T00:00:00Z\"}");
    member(&r, "s.b", 2, 2, 0);
    member(&r, "s.a", 3, 1, 2);
    member(&r, "s.c", 4, 0, 3);
    eob(&r, 0, 4, 4);
    asks(&r, "{\"multi_last\":[\"s.*\"],\"up_to_time\":\"2020-01-01T00:00:00Z\"}");
    js_hears(&r, "404 No Results\r\n\r\n");
    asks(&r, "{\"multi_last\":[\"s.none\"]}");
    js_hears(&r, "404 No Results\r\n\r\n");
    asks(&r, "{\"multi_last\":[\"\"]}");
    js_hears(&r, "404 No Results\r\n\r\n");
    asks(&r, "{\"multi_last\":[\"s.*\"],\"last_by_subj\":\"s.a\"}");
    js_hears(&r, "408 Bad Request\r\n\r\n");
    asks(&r, "{\"multi_last\":[\"s.*\"],\"next_by_subj\":\"s.a\"}");
    js_hears(&r, "408 Bad Request\r\n\r\n");
    asks(&r, "{\"multi_last\":[\"s.*\"],\"up_to_seq\":1,\"up_to_time\":\"2100-01-01T00:00:00Z\"}");
    js_hears(&r, "408 Bad Request\r\n\r\n");
    asks(&r, "{\"multi_last\":\"s.*\"}");
    js_hears(&r, "408 Malformed Request\r\n\r\n");
    js_rig_end(&r);
}

/* 1024 subjects are answered, in several slices; one more is too many. */
TEST(direct_multi_has_a_limit)
{
    struct js_rig r;
    char text[64];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true,\"storage\":\"memory\"");
    for (int k = 1; k <= 1024; k++) {
        snprintf(text, sizeof(text), "PUB s.%d 1\r\nx\r\n", k);
        raw_send(&r.api, text);
    }
    raw_fence(&r.api);
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":1024,");
    asks(&r, "{\"multi_last\":[\"s.*\",\"s.7\"]}");
    for (int k = 1; k <= 1024; k++) {
        snprintf(text, sizeof(text), "s.%d", k);
        member(&r, text, k, 1024 - k, k - 1);
    }
    eob(&r, 0, 1024, 1024);
    js_ask(&r, "s.x", "", "\"seq\":1025");
    asks(&r, "{\"multi_last\":[\"s.*\"]}");
    js_hears(&r, "413 Too Many Results\r\n\r\n");
    asks(&r, "{\"seq\":1,\"batch\":2000}");
    for (int k = 1; k <= 1024; k++) {
        snprintf(text, sizeof(text), "s.%d", k);
        member(&r, text, k, 1025 - k, k - 1);
    }
    member(&r, "s.x", 1025, 0, 1024);
    eob(&r, 0, 1025, 0);
    js_rig_end(&r);
}

/* A removed message is not got, by no way; what is left is. */
TEST(gets_after_removal)
{
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":3}", "\"success\":true");
    direct(&r, GET, "{\"seq\":3}", "NATS/1.0 404 Message Not Found\r\n\r\n", "");
    direct(&r, GET, "{\"last_by_subj\":\"s.a\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n", "x");
    js_rig_restart(&r);
    direct(&r, GET, "{\"last_by_subj\":\"s.a\"}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\n", "x");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":3}", "\"err_code\":10043");
    js_rig_end(&r);
}

/* Without allow_direct nobody answers; with a domain there are two subjects. */
TEST(direct_gets_of_a_domain)
{
    struct js_rig r;

    js_rig_start_conf(&r, i, "jetstream { domain: hub }\n");
    js_stream(&r, "[\"s.*\"]", "");
    js_ask(&r, "s.a", "x", "\"seq\":1}");
    direct(&r, GET ".s.a", "", "NATS/1.0 503\r\n", "");
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_direct\":true}",
           "\"allow_direct\":true");
    direct(&r, GET ".s.a", "", "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\n", "x");
    direct(&r, "$JS.hub.API.DIRECT.GET.S.s.a", "",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\n", "x");
    direct(&r, "$JS.hub.API.DIRECT.GET.S", "{\"seq\":1}",
           "NATS/1.0\r\nNats-Stream: S\r\nNats-Subject: s.a\r\n", "x");
    direct(&r, "$JS.other.API.DIRECT.GET.S.s.a", "", "NATS/1.0 503\r\n", "");
    js_rig_end(&r);
}

/* A receiver that does not read has asked for so much that all of it waits; one get more. It is cut
 * off soon, with what it has asked for: on a machine that is away in between too soon. */
static bool one_more_is_refused(struct js_rig *r)
{
    enum { LIMIT = 8 * 2 };
    struct raw_client slow;
    char *answer;
    bool is;

    raw_hello(&slow, r->server.port, "\"headers\":true");
    raw_send(&slow, "SUB slow.> 1\r\n");
    raw_fence(&slow);
    for (int k = 0; k < LIMIT; k++)
        raw_send(&r->api, "PUB $JS.API.DIRECT.GET.S slow.x 43\r\n"
                          "{\"seq\":1,\"batch\":320,\"max_bytes\":100000000}\r\n");
    answer = raw_ask(&r->api, GET ".s.b", "");
    is = strstr(answer, "NATS/1.0 429 Too Many Requests\r\n") != NULL;
    free(answer);
    raw_close(&slow);
    return is;
}

TEST(gets_that_wait_are_bounded)
{
    enum { BIG = 100000, MESSAGES = 320 };
    static char body[BIG + 1];
    struct js_rig r;
    unsigned tries = 0;

    js_rig_start_conf(&r, 0, "max_pending: 16MB\njetstream { request_queue_limit: 2 }\n");
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true,\"storage\":\"memory\"");
    memset(body, 'x', BIG);
    for (int k = 0; k < MESSAGES; k++)
        js_ask(&r, "s.a", body, "\"seq\":");
    js_ask(&r, "s.b", "small", "\"seq\":");
    while (!one_more_is_refused(&r))
        ck_assert_uint_lt(tries++, 20);
    js_await(&r, GET ".s.b", "", "small");
    js_rig_end(&r);
}

/* A quarter of a million filters that select the same thousand subjects: others have their turns.
 */
TEST(many_filters_leave_turns_to_others)
{
    enum { FILTERS = 250000, SUBJECTS = 1000 };
    static char text[FILTERS * 4 + 200];
    struct js_rig r;
    size_t n, body = FILTERS * 4 - 1 + strlen("{\"multi_last\":[]}");

    js_rig_start(&r, 0);
    js_stream(&r, "[\"s.*\"]", ",\"allow_direct\":true,\"storage\":\"memory\"");
    for (int k = 0; k < SUBJECTS; k++) {
        snprintf(text, sizeof(text), "PUB s.%d 1\r\nx\r\n", k);
        raw_send(&r.api, text);
    }
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":1000,");
    n = (size_t) snprintf(text, sizeof(text), "PUB %s in.m %zu\r\n{\"multi_last\":[", GET, body);
    for (int k = 0; k < FILTERS; k++)
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s\">\"", k > 0 ? "," : "");
    snprintf(text + n, sizeof(text) - n, "]}\r\n");
    raw_send(&r.api, text);
    js_ask(&r, GET ".s.7", "", "x");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN(many_filters_leave_turns_to_others),
    RUN(gets_that_wait_are_bounded),
    RUN_LOOP(direct_gets, 0, 3),
    RUN_LOOP(direct_gets_that_fail, 0, 3),
    RUN_LOOP(message_gets, 0, 3),
    RUN_LOOP(direct_batches, 0, 3),
    RUN_LOOP(direct_last_of_many_subjects, 0, 3),
    RUN_LOOP(direct_multi_has_a_limit, 0, 3),
    RUN_LOOP(gets_after_removal, 0, 3),
    RUN_LOOP(direct_gets_of_a_domain, 0, 3),
};

RUNNER_MAIN("api/jetstream_get", cases)
