/* test_jetstream_ttl.c - messages that go at their time, and what they leave behind. */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INFO "$JS.API.STREAM.INFO.S"
#define SECOND "000000000" /* behind a number of seconds */

/* ---- what is accepted ------------------------------------------------------------------------ */

TEST(where_it_is_not_allowed)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_pub(&r, "s.a", "Nats-TTL: 5s\r\n", "x",
           "{\"error\":{\"code\":400,\"err_code\":10166,\"description\":\"per-message TTL is "
           "disabled\"},\"stream\":\"S\",\"seq\":0}");
    js_pub(&r, "s.a", "Nats-TTL: never\r\n", "x", "\"err_code\":10166");
    js_pub(&r, "s.a", "Nats-TTL: soon\r\n", "x",
           "\"err_code\":10165,\"description\":\"invalid per-message TTL\"");
    js_pub(&r, "s.a", "Nats-TTL: 00\r\n", "x", "\"seq\":1}");
    js_pub(&r, "s.a", "Nats-TTL:\r\n", "x", "\"seq\":2}");
    /* Checks that come before it, and after it. */
    js_pub(&r, "s.a", "Nats-TTL: 1\r\nNats-Expected-Stream: T\r\n", "x", "\"err_code\":10060");
    js_pub(&r, "s.a", "Nats-TTL: 1\r\nNats-Expected-Last-Sequence: 9\r\n", "x",
           "\"err_code\":10166");
    js_pub(&r, "s.a", "Nats-TTL: x\r\nNats-Expected-Last-Sequence: 9\r\n", "x",
           "\"err_code\":10071");
    js_pub(&r, "s.a", "Nats-TTL: x\r\nNats-Rollup: sub\r\n", "x", "\"err_code\":10111");
    js_stream_has(&r, "\"messages\":2,");
    js_rig_end(&r);
}

static const struct {
    const char *ttl, *want;
} texts[] = {
    {"1", "\"seq\":1}"},          {"1h30m", "\"seq\":2}"},      {"NEVER", "\"seq\":3}"},
    {"1500ms", "\"seq\":4}"},     {"0", "\"err_code\":10165"},  {"999ms", "\"err_code\":10165"},
    {"-1", "\"err_code\":10165"}, {"1d", "\"err_code\":10165"}, {"1.5", "\"err_code\":10165"},
};

TEST(texts)
{
    struct js_rig r;
    char line[64];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_ttl\":true");
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_msg_ttl\":false}",
           "\"err_code\":10052,\"description\":\"message TTL status can not be disabled\"");
    for (size_t k = 0; k < sizeof(texts) / sizeof(texts[0]); k++) {
        snprintf(line, sizeof(line), "Nats-TTL: %s\r\n", texts[k].ttl);
        js_pub(&r, "s.a", line, "x", texts[k].want);
    }
    js_await(&r, INFO, "", "\"messages\":2,");
    js_stream_has(&r, "\"first_seq\":2,");
    js_rig_end(&r);
}

static const struct {
    const char *fields, *want;
} configs[] = {
    {"\"subject_delete_marker_ttl\":5", "subject delete marker TTL must be at least 1 second"},
    {"\"subject_delete_marker_ttl\":-5", "subject delete marker TTL must not be negative"},
    {"\"subject_delete_marker_ttl\":1" SECOND ",\"pedantic\":true",
     "subject delete marker cannot be set if message TTLs are disabled"},
    {"\"subject_delete_marker_ttl\":1" SECOND ",\"allow_msg_ttl\":true,\"pedantic\":true",
     "subject delete marker cannot be set if roll-ups are disabled"},
    {"\"subject_delete_marker_ttl\":1" SECOND ",\"deny_purge\":true",
     "\"deny_purge\":false,\"allow_rollup_hdrs\":true"},
};

TEST(configurations)
{
    struct js_rig r;
    char body[512];

    js_rig_start(&r, i);
    for (size_t k = 0; k < sizeof(configs) / sizeof(configs[0]); k++) {
        snprintf(body, sizeof(body), "{\"name\":\"S\",\"subjects\":[\"s.*\"],%s}",
                 configs[k].fields);
        js_ask(&r, "$JS.API.STREAM.CREATE.S", body, configs[k].want);
    }
    js_stream_has(&r, "\"allow_msg_ttl\":true,\"subject_delete_marker_ttl\":1" SECOND);
    js_rig_end(&r);
}

/* ---- what goes ------------------------------------------------------------------------------- */

/* max_age takes all but what says never, in whatever order they came; a TTL that is longer does not
 * help. */
TEST(age_and_never)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]",
              i % 2 == 0 ? ",\"allow_msg_ttl\":true,\"max_age\":2" SECOND
                         : ",\"allow_msg_ttl\":true,\"max_age\":1" SECOND
                           ",\"storage\":\"memory\"");
    js_fill(&r, "s.a", 1, 3);
    js_pub(&r, "s.b", "Nats-TTL: never\r\n", "x", "\"seq\":4}");
    js_fill(&r, "s.a", 5, 1);
    js_pub(&r, "s.c", "Nats-TTL: 1h\r\n", "x", "\"seq\":6}");
    js_await(&r, INFO, "", "\"messages\":1,");
    js_stream_has(&r, "\"first_seq\":4,");
    js_fill(&r, "s.a", 7, 2);
    js_await(&r, INFO, "", "\"messages\":1,");
    js_stream_has(&r, "\"last_seq\":8,");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.b\"}", "\"seq\":4,");
    js_rig_end(&r);
}

/* A start knows all deadlines again. */
TEST(after_a_restart)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_ttl\":true,\"max_age\":3" SECOND);
    js_pub(&r, "s.a", "Nats-TTL: 2s\r\n", "x", "\"seq\":1}");
    js_pub(&r, "s.b", "Nats-TTL: never\r\n", "x", "\"seq\":2}");
    js_fill(&r, "s.c", 3, 1);
    js_pub(&r, "s.d", "Nats-TTL: 2\r\n", "x", "\"seq\":4}");
    js_pub(&r, "s.e", "Nats-TTL: 1h\r\n", "x", "\"seq\":5}");
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    js_await(&r, INFO, "{\"subjects_filter\":\">\"}", "\"subjects\":{\"s.b\":1}");
    js_stream_has(&r, "\"last_seq\":5,");
    js_rig_end(&r);
}

/* An age that was the store's becomes the stream's with an update, and the other way it can not. */
TEST(allowed_later)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"max_age\":3600" SECOND);
    js_fill(&r, "s.a", 1, 2);
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_msg_ttl\":true,\"max_age\":1" SECOND
           ",\"duplicate_window\":1" SECOND "}",
           "\"allow_msg_ttl\":true");
    js_pub(&r, "s.b", "Nats-TTL: never\r\n", "x", "\"seq\":3}");
    js_await(&r, INFO, "", "\"messages\":1,\"bytes\"");
    js_stream_has(&r, "\"first_seq\":3,");
    js_rig_end(&r);
}

/* ---- markers --------------------------------------------------------------------------------- */

/* The next message of the consumer C is a marker. */
static void takes_marker(struct js_rig *r, const char *subject, const char *ttl)
{
    struct raw_msg m;
    char want[128];

    snprintf(want, sizeof(want),
             "NATS/1.0\r\nNats-Marker-Reason: MaxAge\r\nNats-TTL: %s\r\nNats-Rollup: sub\r\n\r\n",
             ttl);
    js_next(r, &m);
    ck_assert_msg(strcmp(m.subject, subject) == 0 && strcmp(m.body, want) == 0,
                  "wanted a marker of %s, got %s %s", subject, m.subject, m.body);
    free(m.body);
}

static const char *const marker_configs[] = {
    ",\"subject_delete_marker_ttl\":1" SECOND "",
    ",\"subject_delete_marker_ttl\":1" SECOND ",\"storage\":\"memory\"",
    ",\"subject_delete_marker_ttl\":1" SECOND ",\"max_age\":1" SECOND "",
};

/* Three messages at once. */
static void publish_three(struct js_rig *r, const char *line)
{
    static const char *const subjects[] = {"s.a", "s.a", "s.b"};
    char text[512];
    size_t n = 0;

    for (int k = 0; k < 3; k++)
        n += (size_t) snprintf(text + n, sizeof(text) - n,
                               "HPUB %s %zu %zu\r\nNATS/1.0\r\n%s\r\nx\r\n", subjects[k],
                               12 + strlen(line), 13 + strlen(line), line);
    raw_send(&r->api, text);
}

TEST(markers)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", marker_configs[i]);
    js_consumer(&r, ",\"ack_policy\":\"none\"");
    js_pull(&r, "{\"batch\":10,\"expires\":30000000000}");
    publish_three(&r, i == 2 ? "X: y\r\n" : "Nats-TTL: 1\r\n");
    js_gets(&r, "s.a", 1, 1);
    js_gets(&r, "s.a", 2, 1);
    js_gets(&r, "s.b", 3, 1);
    takes_marker(&r, "s.a", "1s");
    takes_marker(&r, "s.b", "1s");
    /* Markers go without a trace. */
    js_await(&r, INFO, "", "\"messages\":0,");
    js_stream_has(&r, "\"last_seq\":5,");
    js_rig_end(&r);
}

/* Each subject gets one marker, whenever the server is killed. */
TEST(markers_after_a_crash)
{
    struct js_rig r;
    char subject[16], want[32];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]",
              ",\"subject_delete_marker_ttl\":3600" SECOND ",\"max_msgs_per_subject\":1");
    for (int k = 1; k <= 20; k++) {
        snprintf(subject, sizeof(subject), "s.%d", k);
        snprintf(want, sizeof(want), "\"seq\":%d}", k);
        js_pub(&r, subject, "Nats-TTL: 1\r\n", "x", want);
    }
    for (int k = 0; k < 3; k++)
        js_rig_crash(&r);
    js_await(&r, INFO, "", "\"first_seq\":21,");
    js_stream_has(&r, "\"messages\":20,");
    js_stream_has(&r, "\"last_seq\":40,");
    js_rig_crash(&r);
    js_await(&r, INFO, "", "\"last_seq\":40,");
    js_stream_has(&r, "\"messages\":20,");
    js_rig_end(&r);
}

/* With more than one message per subject no TTL is shorter than that of a marker. */
TEST(raised)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"subject_delete_marker_ttl\":3600" SECOND);
    js_pub(&r, "s.1", "Nats-TTL: 1\r\n", "x", "\"seq\":1}");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":1}",
           "\"hdrs\":\"TkFUUy8xLjANCk5hdHMtVFRMOiAzNjAwDQoNCg==\"");
    js_pub(&r, "s.1", "Nats-TTL: 2h\r\n", "x", "\"seq\":2}");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":2}",
           "\"hdrs\":\"TkFUUy8xLjANCk5hdHMtVFRMOiAyaA0KDQo=\"");
    js_rig_end(&r);
}

/* A client's own markers get none: those of key-value purges. */
TEST(no_marker_for_a_marker)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"subject_delete_marker_ttl\":1" SECOND);
    js_pub(&r, "s.a", "KV-Operation: PURGE\r\nNats-TTL: 1\r\n", "", "\"seq\":1}");
    js_pub(&r, "s.b", "Nats-Marker-Reason: Remove\r\nNats-TTL: 1\r\n", "", "\"seq\":2}");
    js_await(&r, INFO, "", "\"messages\":0,");
    js_stream_has(&r, "\"last_seq\":2,");
    js_pub(&r, "s.c", "KV-Operation: DEL\r\nNats-TTL: 1\r\n", "", "\"seq\":3}");
    js_await(&r, INFO, "", "\"last_seq\":4,");
    js_await(&r, INFO, "", "\"messages\":0,");
    js_rig_end(&r);
}

/* Now and this age are more than a number can say: it never comes. */
TEST(an_age_of_centuries)
{
    static const char *const more[] = {"", ",\"allow_msg_ttl\":true",
                                       ",\"subject_delete_marker_ttl\":1" SECOND};
    char config[256];
    struct js_rig r;

    js_rig_start(&r, 0);
    snprintf(config, sizeof(config), ",\"max_age\":9223372036854775807%s", more[i]);
    js_stream(&r, "[\"s.*\"]", config);
    js_fill(&r, "s.a", 1, 3);
    js_stream_has(&r, "\"messages\":3,");
    js_rig_restart(&r);
    js_fill(&r, "s.a", 4, 3);
    js_stream_has(&r, "\"messages\":6,");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(where_it_is_not_allowed, 0, 3),
    RUN_LOOP(texts, 0, 3),
    RUN_LOOP(configurations, 0, 3),
    RUN_LOOP(age_and_never, 0, 6),
    RUN_LOOP(after_a_restart, 0, 6),
    RUN_LOOP(allowed_later, 0, 3),
    RUN_LOOP(markers, 0, 3),
    RUN_LOOP(markers_after_a_crash, 0, 3),
    RUN_LOOP(raised, 0, 3),
    RUN_LOOP(no_marker_for_a_marker, 0, 3),
    RUN_LOOP(an_age_of_centuries, 0, 3),
};

RUNNER_MAIN("api/jetstream_ttl", cases)
