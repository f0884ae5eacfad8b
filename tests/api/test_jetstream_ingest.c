/*
 * test_jetstream_ingest.c - what a stream takes and refuses over the wire: expected headers,
 * duplicates, discard new, limits of the server; names that are given up and taken again.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- headers --------------------------------------------------------------------------------- */

/* In order: each sees what the ones before have left. */
static const struct {
    const char *subject, *lines, *want;
} published[] = {
    {"s.a", "Nats-Expected-Last-Sequence: 0\r\n", "{\"stream\":\"S\",\"seq\":1}"},
    {"s.a", "Nats-Expected-Last-Sequence: 0\r\n",
     "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last sequence: "
     "1\"},\"stream\":\"S\",\"seq\":0}"},
    {"s.a", "Nats-Expected-Stream: S\r\n", "\"seq\":2}"},
    {"s.a", "Nats-Expected-Stream: T\r\n", "\"err_code\":10060"},
    {"s.b", "Nats-Expected-Last-Subject-Sequence: 0\r\n", "\"seq\":3}"},
    {"s.b", "Nats-Expected-Last-Subject-Sequence: 0\r\n", "wrong last sequence: 3"},
    {"s.b", "Nats-Expected-Last-Subject-Sequence: 3\r\n", "\"seq\":4}"},
    {"s.b",
     "Nats-Expected-Last-Subject-Sequence: 2\r\nNats-Expected-Last-Subject-Sequence-Subject: "
     "s.a\r\n",
     "\"seq\":5}"},
    {"s.b",
     "Nats-Expected-Last-Subject-Sequence: 2\r\nNats-Expected-Last-Subject-Sequence-Subject: "
     "s.*\r\n",
     "wrong last sequence: 5"},
    {"s.b", "Nats-Expected-Last-Subject-Sequence-Subject: s.*\r\n", "\"err_code\":10193"},
    {"s.a", "Nats-Msg-Id: one\r\n", "\"seq\":6}"},
    {"s.a", "Nats-Msg-Id: one\r\n", "{\"stream\":\"S\",\"seq\":6,\"duplicate\": true}"},
    {"s.a", "Nats-Expected-Last-Msg-Id: two\r\n",
     "\"err_code\":10070,\"description\":\"wrong last msg ID: one\""},
    {"s.a", "Nats-Expected-Last-Msg-Id: one\r\nNats-Msg-Id: two\r\n", "\"seq\":7}"},
    {"s.a", "Nats-Rollup: sub\r\n", "\"err_code\":10111,\"description\":\"rollup not permitted\""},
};

TEST(expected_headers)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (size_t k = 0; k < sizeof(published) / sizeof(published[0]); k++)
        js_pub(&r, published[k].subject, published[k].lines, "x", published[k].want);
    js_stream_has(&r, "\"messages\":7,");
    js_rig_end(&r);
}

/* The window survives a stop and a crash: what was stored lately is not stored again. */
TEST(duplicates_after_a_restart)
{
    struct js_rig r;
    char id[64], want[64];

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    for (int k = 4; k <= 9; k++) {
        snprintf(id, sizeof(id), "Nats-Msg-Id: id%d\r\n", k);
        snprintf(want, sizeof(want), "\"seq\":%d}", k);
        js_pub(&r, "s.a", id, "x", want);
    }
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    js_pub(&r, "s.a", "Nats-Msg-Id: id9\r\n", "x", "\"seq\":9,\"duplicate\": true}");
    js_pub(&r, "s.b", "Nats-Msg-Id: id4\r\n", "x", "\"seq\":4,\"duplicate\": true}");
    js_pub(&r, "s.a", "Nats-Expected-Last-Msg-Id: id8\r\n", "x", "wrong last msg ID: id9");
    js_pub(&r, "s.a", "Nats-Expected-Last-Msg-Id: id9\r\n", "x", "\"seq\":10}");
    js_pub(&r, "s.a", "Nats-Msg-Id: id10\r\n", "x", "\"seq\":11}");
    js_rig_end(&r);
}

TEST(rollups)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_rollup_hdrs\":true");
    js_fill(&r, "s.a", 1, 3);
    js_fill(&r, "s.b", 4, 3);
    js_pub(&r, "s.a", "Nats-Rollup: sub\r\n", "x", "\"seq\":7}");
    js_await(&r, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\">\"}", "\"messages\":4,");
    js_ask(&r, "$JS.API.STREAM.INFO.S", "{\"subjects_filter\":\"s.a\"}", "{\"s.a\":1}");
    js_pub(&r, "s.a", "Nats-Rollup: all\r\n", "x", "\"seq\":8}");
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    js_pub(&r, "s.a", "Nats-Rollup: some\r\n", "x", "rollup value invalid: \\\"some\\\"");
    js_rig_end(&r);
}

/* ---- limits of the stream -------------------------------------------------------------------- */

TEST(discard_new)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"discard\":\"new\",\"max_msgs\":3");
    js_fill(&r, "s.a", 1, 3);
    js_ask(&r, "s.a", "x",
           "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum messages "
           "exceeded\"},\"stream\":\"S\",\"seq\":0}");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":2}", "\"success\":true");
    js_fill(&r, "s.a", 4, 1);
    js_rig_restart(&r);
    js_ask(&r, "s.a", "x", "maximum messages exceeded");
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    js_stream(&r, "[\"s.*\"]", ",\"discard\":\"new\",\"max_bytes\":100");
    js_fill(&r, "s.a", 1, 2);
    js_ask(&r, "s.a", "a message that is too long for what is left", "maximum bytes exceeded");
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    js_stream(&r, "[\"s.*\"]",
              ",\"discard\":\"new\",\"max_msgs_per_subject\":1,\"discard_new_per_subject\":true");
    js_fill(&r, "s.a", 1, 1);
    js_ask(&r, "s.a", "x", "maximum messages per subject exceeded");
    js_fill(&r, "s.b", 2, 1);
    js_rig_end(&r);
}

TEST(discard_old)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"max_msgs\":3,\"max_msgs_per_subject\":2,\"max_msg_size\":10");
    js_fill(&r, "s.a", 1, 3);
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":2,");
    js_fill(&r, "s.b", 4, 2);
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"first_seq\":3,");
    js_ask(&r, "s.a", "eleven byte", "\"err_code\":10054");
    js_rig_end(&r);
}

/* ---- limits of the server -------------------------------------------------------------------- */

TEST(server_limits)
{
    struct js_rig r;
    static char big[60001];

    js_rig_start_conf(&r, i, "jetstream { max_file_store: 200000, max_memory_store: 100000 }\n");
    js_ask(&r, "$JS.API.STREAM.CREATE.F",
           "{\"name\":\"F\",\"subjects\":[\"f\"],\"max_bytes\":200001}",
           "\"code\":500,\"err_code\":10047,\"description\":\"insufficient storage resources "
           "available\"");
    js_ask(&r, "$JS.API.STREAM.CREATE.M",
           "{\"name\":\"M\",\"subjects\":[\"m\"],\"storage\":\"memory\",\"max_bytes\":100001}",
           "\"err_code\":10028");
    js_ask(&r, "$JS.API.STREAM.CREATE.F",
           "{\"name\":\"F\",\"subjects\":[\"f\"],\"max_bytes\":150000}", "\"did_create\":true");
    js_ask(&r, "$JS.API.INFO", "", "\"reserved_memory\":0,\"reserved_storage\":150000,");
    js_ask(&r, "$JS.API.STREAM.CREATE.G",
           "{\"name\":\"G\",\"subjects\":[\"g\"],\"max_bytes\":60000}", "\"err_code\":10047");
    js_ask(&r, "$JS.API.STREAM.UPDATE.F",
           "{\"name\":\"F\",\"subjects\":[\"f\"],\"max_bytes\":100000}", "\"max_bytes\":100000");
    js_ask(&r, "$JS.API.STREAM.CREATE.G",
           "{\"name\":\"G\",\"subjects\":[\"g\"],\"max_bytes\":60000}", "\"did_create\":true");
    js_ask(&r, "$JS.API.STREAM.UPDATE.F",
           "{\"name\":\"F\",\"subjects\":[\"f\"],\"max_bytes\":150000}", "\"err_code\":10047");
    js_ask(&r, "$JS.API.STREAM.DELETE.F", "", "\"success\":true");
    js_ask(&r, "$JS.API.STREAM.DELETE.G", "", "\"success\":true");
    js_ask(&r, "$JS.API.INFO", "", "\"reserved_storage\":0,");
    js_stream(&r, "[\"s\"]", "");
    memset(big, 'b', sizeof(big) - 1);
    for (int k = 0; k < 4; k++)
        js_ask(&r, "s", big, "\"seq\":");
    js_ask(&r, "s", "x",
           "\"code\":503,\"err_code\":10023,\"description\":\"insufficient resources\"");
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "", "\"purged\":4");
    js_ask(&r, "s", "x", "\"seq\":5}");
    js_ask(&r, "$JS.API.STREAM.CREATE.M",
           "{\"name\":\"M\",\"subjects\":[\"m\"],\"storage\":\"memory\"}", "\"did_create\":true");
    for (int k = 0; k < 2; k++)
        js_ask(&r, "m", big, "\"seq\":");
    js_ask(&r, "m", "x", "\"err_code\":10023");
    js_ask(&r, "s", "x", "\"seq\":6}");
    js_rig_end(&r);
}

/* One send of many publishes to a stream that may have few on their way: some are refused, those
 * that are acknowledged are there, and it goes on. */
TEST(too_many_at_once)
{
    struct js_rig r;
    static const char one[] = "PUB s acks 1\r\nx\r\n";
    char text[4096], want[64];
    int taken = 0, refused = 0;

    js_rig_start_conf(&r, i, "jetstream { max_buffered_msgs: 10 }\n");
    js_stream(&r, "[\"s\"]", "");
    raw_send(&r.api, "SUB acks a\r\n");
    for (size_t k = 0; k < 100; k++)
        memcpy(text + k * (sizeof(one) - 1), one, sizeof(one));
    raw_send(&r.api, text);
    for (int k = 0; k < 100; k++) {
        struct raw_msg m;
        raw_msg(&r.api, &m);
        if (strstr(m.body, "\"code\":429,\"err_code\":10167,\"description\":\"too many requests\""))
            refused++;
        else
            ck_assert_msg(strstr(m.body, "{\"stream\":\"S\",\"seq\":") != NULL, "%s", m.body),
                taken++;
        free(m.body);
    }
    ck_assert_int_ge(taken, 10);
    ck_assert_int_gt(refused, 0);
    snprintf(want, sizeof(want), "\"messages\":%d,", taken);
    js_stream_has(&r, want);
    snprintf(want, sizeof(want), "\"seq\":%d}", taken + 1);
    js_ask(&r, "s", "x", want);
    js_rig_end(&r);
}

/* ---- names ----------------------------------------------------------------------------------- */

/* A create behind a delete in one send gets the name, and the subjects. */
TEST(a_name_is_free_after_its_delete)
{
    struct js_rig r;
    static const char same[] = "{\"name\":\"S\",\"subjects\":[\"t.*\"]}";
    static const char other[] = "{\"name\":\"T\",\"subjects\":[\"s.*\"]}";
    char text[1024];

    js_rig_start(&r, i);
    snprintf(text, sizeof(text),
             "PUB $JS.API.STREAM.DELETE.S gone.1 0\r\n\r\n"
             "PUB $JS.API.STREAM.INFO.S gone.2 0\r\n\r\n"
             "PUB $JS.API.STREAM.CREATE.T gone.3 %zu\r\n%s\r\n"
             "PUB $JS.API.STREAM.CREATE.S gone.4 %zu\r\n%s\r\n",
             strlen(other), other, strlen(same), same);
    raw_send(&r.api, "SUB gone.* g\r\n");
    for (int round = 0; round < 20; round++) {
        static const char *const want[] = {"\"success\":true", "10059", "\"did_create\":true",
                                           "\"did_create\":true"};
        js_stream(&r, "[\"s.*\"]", "");
        js_fill(&r, "s.a", 1, 1);
        raw_send(&r.api, text);
        for (int k = 0; k < 4; k++) {
            struct raw_msg m;
            raw_msg(&r.api, &m);
            ck_assert_msg(strstr(m.body, want[m.subject[5] - '1']) != NULL, "%s: %s", m.subject,
                          m.body);
            free(m.body);
        }
        js_ask(&r, "s.a", "x", "{\"stream\":\"T\",\"seq\":1}");
        js_ask(&r, "t.a", "x", "{\"stream\":\"S\",\"seq\":1}");
        js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
        js_ask(&r, "$JS.API.STREAM.DELETE.T", "", "\"success\":true");
    }
    js_rig_end(&r);
}

/* Two equal creates at once: both are told that it exists, when it does. */
TEST(two_creates_at_once)
{
    struct js_rig r;
    static const char create[] = "{\"name\":\"S\",\"subjects\":[\"s.*\"]}";
    char text[1024];

    js_rig_start(&r, i);
    snprintf(text, sizeof(text),
             "SUB both b\r\nPUB $JS.API.STREAM.CREATE.S both %zu\r\n%s\r\n"
             "PUB $JS.API.STREAM.CREATE.S both %zu\r\n%s\r\n",
             strlen(create), create, strlen(create), create);
    raw_send(&r.api, text);
    for (int k = 0; k < 2; k++) {
        struct raw_msg m;
        raw_msg(&r.api, &m);
        ck_assert_msg(strstr(m.body, "\"did_create\":true") != NULL, "%s", m.body);
        free(m.body);
    }
    js_fill(&r, "s.a", 1, 1);
    js_rig_crash(&r);
    js_stream_has(&r, "\"messages\":1,");
    js_rig_end(&r);
}

/* While a stream's subjects change, what others publish to a subject that it has before and
 * afterwards is stored, each once. */
TEST(subjects_change_under_publishers)
{
    static const char *const subjects[] = {"[\"s.*\",\"t\"]", "[\"u\",\"s.>\"]", "[\"s.*\"]"};
    struct js_rig r;
    char body[128], want[64];
    int sent = 0;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 0; k < 60; k++) {
        for (int n = 0; n < 50; n++, sent++)
            raw_send(&r.in, "PUB s.a 1\r\nx\r\n");
        snprintf(body, sizeof(body), "{\"name\":\"S\",\"subjects\":%s}", subjects[k % 3]);
        js_ask(&r, "$JS.API.STREAM.UPDATE.S", body, "\"config\":");
    }
    raw_fence(&r.in);
    snprintf(want, sizeof(want), "\"messages\":%d,", sent);
    js_await(&r, "$JS.API.STREAM.INFO.S", "", want);
    js_rig_end(&r);
}

/* ---- persist_mode ---------------------------------------------------------------------------- */

/* How often the log says so. */
static int warnings(const struct js_rig *r)
{
    static char text[1 << 20];
    char path[256];
    FILE *f;
    int n = 0;

    snprintf(path, sizeof(path), "%s/log", r->server.dir);
    f = fopen(path, "re");
    ck_assert(f != NULL);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    for (const char *at = text; (at = strstr(at, "(persist_mode async)")) != NULL; at++)
        n++;
    return n;
}

/* Lines are written by a thread of their own, by and by: each look is a request, too. */
static void await_warnings(struct js_rig *r, int n)
{
    for (int k = 0; k < 20000 && warnings(r) < n; k++)
        js_stream_has(r, "\"messages\":10,");
    ck_assert_int_eq(warnings(r), n);
}

/* A stream whose acknowledgements promise less is told of when it is made, and when it is found. */
TEST(async_is_in_the_log)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"persist_mode\":\"async\"");
    js_fill(&r, "s.a", 1, 10);
    await_warnings(&r, 1);
    js_rig_restart(&r);
    await_warnings(&r, 2);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(async_is_in_the_log, 0, 2),
    RUN_LOOP(expected_headers, 0, 3),
    RUN_LOOP(duplicates_after_a_restart, 0, 6),
    RUN_LOOP(rollups, 0, 3),
    RUN_LOOP(discard_new, 0, 3),
    RUN_LOOP(discard_old, 0, 3),
    RUN_LOOP(server_limits, 0, 3),
    RUN_LOOP(too_many_at_once, 0, 3),
    RUN_LOOP(a_name_is_free_after_its_delete, 0, 3),
    RUN_LOOP(two_creates_at_once, 0, 3),
    RUN_LOOP(subjects_change_under_publishers, 0, 3),
};

RUNNER_MAIN("api/jetstream_ingest", cases)
