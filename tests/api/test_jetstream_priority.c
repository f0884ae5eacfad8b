/*
 * test_jetstream_priority.c - priority groups, unpin and reset over the wire.
 *
 * The same program passes against nats-server 2.15.1 (a script in place of bin/midge-server).
 */
#include "lib/base/assert.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPLICIT ",\"ack_policy\":\"explicit\""
#define LONG "\"expires\":20000000000"
#define GROUP ",\"priority_groups\":[\"A\"],\"priority_policy\":"
#define UNPIN "$JS.API.CONSUMER.UNPIN.S.C"
#define RESET "$JS.API.CONSUMER.RESET.S.C"
#define ERR(code) "\"err_code\":" #code ","

static void start(struct js_rig *r, int i, const char *more)
{
    char config[512];

    js_rig_start(r, i);
    js_stream(r, "[\"s.*\"]", "");
    snprintf(config, sizeof(config), EXPLICIT "%s", more);
    js_consumer(r, config);
}

/* A pull whose messages go to in.<n>. */
static void pull_to(struct js_rig *r, int n, const char *body)
{
    char text[1024];

    snprintf(text, sizeof(text), "PUB $JS.API.CONSUMER.MSG.NEXT.S.C in.%d %zu\r\n%s\r\n", n,
             strlen(body), body);
    raw_send(&r->api, text);
    raw_fence(&r->api);
}

static void refused(struct js_rig *r, const char *body, const char *status)
{
    js_pull(r, body);
    js_hears(r, status);
}

/* The next message carries this pin, or (id empty) any, which is left there. */
static void gets_pinned(struct js_rig *r, int seq, char id[32])
{
    struct raw_msg m;
    char want[64];
    const char *at;

    js_next(r, &m);
    snprintf(want, sizeof(want), ".C.1.%d.", seq);
    at = strstr(m.body, "Nats-Pin-Id: ");
    ck_assert_msg(at != NULL && strstr(m.reply, want) != NULL, "wanted %s, got %s %s", want,
                  m.reply, m.body);
    if (id[0] == '\0')
        snprintf(id, 32, "%.22s", at + 13);
    ck_assert_int_eq(strncmp(at + 13, id, 22), 0);
    free(m.body);
}

/* ---- requests -------------------------------------------------------------------------------- */

TEST(requests_name_their_group)
{
    struct js_rig r;

    start(&r, i, GROUP "\"overflow\"");
    refused(&r, "{\"batch\":1}", "400 Bad Request - Priority Group missing\r\n\r\n");
    refused(&r, "{\"batch\":1,\"group\":\"B\"}",
            "400 Bad Request - Invalid Priority Group\r\n\r\n");
    refused(&r, "{\"batch\":1,\"group\":\"A\",\"id\":\"x\"}",
            "400 Bad Request - Not a Pinned Client Priority consumer\r\n\r\n");
    refused(&r, "{\"batch\":1,\"group\":\"A\",\"priority\":10}",
            "400 Bad Request - Priority must be between 0 and 9\r\n\r\n");
    refused(&r, "{\"batch\":1,\"group\":\"A\",\"priority\":-1}",
            "400 Bad Request - Priority must be between 0 and 9\r\n\r\n");
    /* Whoever asks without JSON belongs to no group and is served. */
    js_fill(&r, "s.a", 1, 1);
    js_pull(&r, "1");
    js_gets(&r, "s.a", 1, 1);
    js_rig_end(&r);
}

TEST(other_policies_refuse_what_is_not_theirs)
{
    struct js_rig r;

    start(&r, i, "");
    refused(&r, "{\"batch\":1,\"min_pending\":1}",
            "400 Bad Request - Not a Overflow Priority consumer\r\n\r\n");
    refused(&r, "{\"batch\":1,\"min_ack_pending\":1}",
            "400 Bad Request - Not a Overflow Priority consumer\r\n\r\n");
    refused(&r, "{\"batch\":1,\"id\":\"x\"}",
            "400 Bad Request - Not a Pinned Client Priority consumer\r\n\r\n");
    js_rig_end(&r);
}

/* ---- overflow -------------------------------------------------------------------------------- */

TEST(overflow_waits_for_its_mark)
{
    struct js_rig r;

    start(&r, i, GROUP "\"overflow\"");
    pull_to(&r, 1, "{\"batch\":10," LONG ",\"group\":\"A\",\"min_pending\":3}");
    js_fill(&r, "s.a", 1, 2);
    js_silent(&r);
    /* One without a mark takes what is there. */
    pull_to(&r, 2, "{\"batch\":1," LONG ",\"group\":\"A\"}");
    js_gets(&r, "s.a", 1, 1);
    js_silent(&r);
    js_fill(&r, "s.a", 3, 2);
    js_gets(&r, "s.a", 2, 1);
    js_silent(&r);
    js_rig_end(&r);
}

TEST(overflow_by_unacknowledged_messages)
{
    struct js_rig r;

    start(&r, i, GROUP "\"overflow\"");
    pull_to(&r, 1, "{\"batch\":10," LONG ",\"group\":\"A\",\"min_ack_pending\":2}");
    js_fill(&r, "s.a", 1, 3);
    js_silent(&r);
    pull_to(&r, 2, "{\"batch\":2," LONG ",\"group\":\"A\"}");
    for (int seq = 1; seq <= 3; seq++)
        js_gets(&r, "s.a", seq, 1);
    /* One that does not wait hears that there is nothing for it. */
    js_fill(&r, "s.a", 4, 1);
    js_gets(&r, "s.a", 4, 1);
    refused(&r, "{\"batch\":1,\"no_wait\":true,\"group\":\"A\",\"min_pending\":100}",
            "404 No Messages\r\n\r\n");
    js_rig_end(&r);
}

/* ---- pinned client --------------------------------------------------------------------------- */

TEST(one_client_is_pinned)
{
    struct js_rig r;
    char id[32] = "", body[256];

    start(&r, i, GROUP "\"pinned_client\",\"priority_timeout\":20000000000");
    js_consumer_has(&r, "\"priority_groups\":[{\"group\":\"A\",\"pinned_ts\":"
                        "\"0001-01-01T00:00:00Z\"}]");
    pull_to(&r, 1, "{\"batch\":2," LONG ",\"group\":\"A\"}");
    pull_to(&r, 2, "{\"batch\":2," LONG ",\"group\":\"A\"}");
    js_fill(&r, "s.a", 1, 3);
    gets_pinned(&r, 1, id);
    gets_pinned(&r, 2, id);
    js_silent(&r); /* the second waits although there is a message */
    snprintf(body, sizeof(body), "\"pinned_client_id\":\"%s\",\"pinned_ts\":\"2", id);
    js_consumer_has(&r, body);
    refused(&r, "{\"batch\":1,\"group\":\"A\",\"id\":\"other\"}",
            "423 Nats-Pin-Id mismatch\r\n\r\n");
    snprintf(body, sizeof(body), "{\"batch\":1," LONG ",\"group\":\"A\",\"id\":\"%s\"}", id);
    pull_to(&r, 1, body);
    gets_pinned(&r, 3, id);
    js_rig_end(&r);
}

TEST(unpin_gives_the_next_one_its_turn)
{
    struct js_rig r;
    char id[32] = "", other[32] = "";

    start(&r, i, GROUP "\"pinned_client\"");
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.CONSUMER.*.S.C 2\r\n");
    raw_fence(&r.in);
    pull_to(&r, 1, "{\"batch\":5," LONG ",\"group\":\"A\"}");
    js_fill(&r, "s.a", 1, 1);
    raw_skip(&r.in, "consumer_group_pinned\"");
    raw_skip(&r.in, "\"pinned_id\":\"");
    raw_skip(&r.in, "}\r\n");
    js_consumer_has(&r, "\"pinned_client_id\":\"");
    js_ask(&r, UNPIN, "{\"group\":\"A\"}", "consumer_unpin_response\"}");
    raw_skip(&r.in, "consumer_group_unpinned\"");
    raw_skip(&r.in, "\"reason\":\"admin\"");
    raw_skip(&r.in, "}\r\n");
    js_consumer_has(&r, "\"pinned_ts\":\"0001-01-01T00:00:00Z\"");
    raw_send(&r.in, "UNSUB 2\r\n");
    raw_fence(&r.in);
    /* What is left of the old pin's request is of no use any more. */
    js_fill(&r, "s.a", 2, 1);
    js_hears(&r, "423 Nats-Wrong-Pin-Id\r\nNats-Pending-Messages: 4\r\n"
                 "Nats-Pending-Bytes: 0\r\n\r\n");
    pull_to(&r, 2, "{\"batch\":5," LONG ",\"group\":\"A\"}");
    gets_pinned(&r, 2, id);
    js_fill(&r, "s.a", 3, 1);
    gets_pinned(&r, 3, id);
    js_ask(&r, UNPIN, "{\"group\":\"A\"}", "consumer_unpin_response\"}");
    js_fill(&r, "s.a", 4, 1);
    js_hears(&r, "423 Nats-Wrong-Pin-Id\r\n");
    pull_to(&r, 3, "{\"batch\":5," LONG ",\"group\":\"A\"}");
    gets_pinned(&r, 4, other);
    ck_assert_str_ne(id, other);
    js_rig_end(&r);
}

TEST(a_pin_ends_when_its_client_does_not_ask)
{
    struct js_rig r;
    char id[32] = "";

    start(&r, i, GROUP "\"pinned_client\",\"priority_timeout\":200000000");
    js_fill(&r, "s.a", 1, 1);
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.CONSUMER.UNPINNED.S.C 2\r\n");
    raw_fence(&r.in);
    pull_to(&r, 1, "{\"batch\":1," LONG ",\"group\":\"A\"}");
    gets_pinned(&r, 1, id);
    raw_skip(&r.in, "\"reason\":\"timeout\"");
    raw_skip(&r.in, "}\r\n");
    js_fill(&r, "s.a", 2, 1);
    id[0] = '\0';
    pull_to(&r, 2, "{\"batch\":1," LONG ",\"group\":\"A\"}");
    gets_pinned(&r, 2, id);
    js_rig_end(&r);
}

TEST(unpin_is_refused_with_its_reason)
{
    static const struct {
        const char *subject, *body, *want;
    } table[] = {
        {UNPIN, "{\"group\":\"\"}",
         ERR(10025) "\"description\":\"invalid JSON: consumer group not "
                    "specified\""},
        {UNPIN, "{\"group\":\"a b\"}", ERR(10162)},
        {UNPIN, "{\"group\":\"12345678901234567\"}", ERR(10162)},
        {UNPIN, "{\"group\":\"B\"}", ERR(10160)},
        {"$JS.API.CONSUMER.UNPIN.S.X", "{\"group\":\"A\"}", ERR(10014)},
        {"$JS.API.CONSUMER.UNPIN.X.C", "{\"group\":\"A\"}", ERR(10059)},
    };
    struct js_rig r;

    start(&r, i, GROUP "\"pinned_client\"");
    for (size_t k = 0; k < ARRAY_LEN(table); k++)
        js_ask(&r, table[k].subject, table[k].body, table[k].want);
    js_rig_end(&r);
}

/* ---- prioritized ----------------------------------------------------------------------------- */

TEST(the_lowest_number_goes_first)
{
    struct js_rig r;

    start(&r, i, GROUP "\"prioritized\"");
    pull_to(&r, 3, "{\"batch\":1," LONG ",\"group\":\"A\",\"priority\":3,\"max_bytes\":10}");
    pull_to(&r, 1, "{\"batch\":2," LONG ",\"group\":\"A\",\"priority\":1}");
    js_fill(&r, "s.a", 1, 2);
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    /* Only now is the other one looked at, and its limit too small. */
    js_fill(&r, "s.a", 3, 1);
    js_hears(&r, "409 Message Size Exceeds MaxBytes\r\n");
    js_rig_end(&r);
}

/* ---- reset ----------------------------------------------------------------------------------- */

TEST(reset_goes_back_to_the_floor)
{
    struct js_rig r;

    start(&r, i, "");
    js_fill(&r, "s.a", 1, 5);
    js_pull(&r, "3");
    js_takes(&r, "s.a", 1, 1, "");
    js_gets(&r, "s.a", 2, 1);
    js_takes(&r, "s.a", 3, 1, "");
    js_ask(&r, RESET, "", "\"reset_seq\":2");
    js_consumer_has(&r, "\"delivered\":{\"consumer_seq\":0,\"stream_seq\":1},\"ack_floor\":{"
                        "\"consumer_seq\":0,\"stream_seq\":1},\"num_ack_pending\":0,"
                        "\"num_redelivered\":0,\"num_waiting\":0,\"num_pending\":4");
    js_pull(&r, "4");
    for (int seq = 2; seq <= 5; seq++)
        js_gets(&r, "s.a", seq, 1);
    js_rig_restart(&r);
    js_consumer_has(&r, "\"num_ack_pending\":4,");
    js_rig_end(&r);
}

TEST(reset_to_a_sequence)
{
    struct js_rig r;

    start(&r, i, "");
    js_fill(&r, "s.a", 1, 5);
    js_ask(&r, RESET, "{\"seq\":4}", "\"reset_seq\":4");
    js_consumer_has(&r, "\"num_pending\":2");
    js_rig_crash(&r);
    js_consumer_has(&r, "\"delivered\":{\"consumer_seq\":0,\"stream_seq\":3}");
    js_consumer_has(&r, "\"num_pending\":2");
    js_pull(&r, "1");
    js_takes(&r, "s.a", 4, 1, "");
    js_ask(&r, RESET, "{\"seq\":1}", "\"reset_seq\":1");
    js_pull(&r, "1");
    js_gets(&r, "s.a", 1, 1);
    js_rig_end(&r);
}

TEST(reset_is_refused_below_the_start)
{
    struct js_rig r;

    start(&r, i, ",\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":3");
    js_fill(&r, "s.a", 1, 5);
    js_ask(&r, RESET, "{\"seq\":2}",
           ERR(10204) "\"description\":\"invalid reset: below start seq\"");
    js_ask(&r, RESET, "{\"seq\":3}", "\"reset_seq\":3");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_consumer(&r, EXPLICIT ",\"deliver_policy\":\"new\"");
    js_ask(&r, RESET, "{\"seq\":3}", "invalid reset: not allowed");
    js_ask(&r, RESET, "", "\"reset_seq\":6");
    js_ask(&r, "$JS.API.CONSUMER.DELETE.S.C", "", "\"success\":true");
    js_consumer(&r, EXPLICIT ",\"deliver_policy\":\"by_start_time\","
                             "\"opt_start_time\":\"2100-01-01T00:00:00Z\"");
    js_ask(&r, RESET, "{\"seq\":2}", "invalid reset: below start time");
    js_rig_end(&r);
}

/* Whoever goes forward leaves nothing behind on an interest stream. */
TEST(reset_forward_gives_up_interest)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"retention\":\"interest\"");
    js_consumer(&r, EXPLICIT);
    js_fill(&r, "s.a", 1, 5);
    js_ask(&r, RESET, "{\"seq\":4}", "\"reset_seq\":4");
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":2,");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(requests_name_their_group, 0, 3),
    RUN_LOOP(other_policies_refuse_what_is_not_theirs, 0, 3),
    RUN_LOOP(unpin_is_refused_with_its_reason, 0, 3),
    RUN_LOOP(overflow_waits_for_its_mark, 0, 3),
    RUN_LOOP(overflow_by_unacknowledged_messages, 0, 3),
    RUN_LOOP(one_client_is_pinned, 0, 3),
    RUN_LOOP(unpin_gives_the_next_one_its_turn, 0, 3),
    RUN_LOOP(a_pin_ends_when_its_client_does_not_ask, 0, 3),
    RUN_LOOP(the_lowest_number_goes_first, 0, 3),
    RUN_LOOP(reset_goes_back_to_the_floor, 0, 3),
    RUN_LOOP(reset_to_a_sequence, 0, 3),
    RUN_LOOP(reset_is_refused_below_the_start, 0, 3),
    RUN_LOOP(reset_forward_gives_up_interest, 0, 3),
};

RUNNER_MAIN("api/jetstream_priority", cases)
