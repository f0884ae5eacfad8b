/*
 * test_jetstream_subjects.c - subject_transform and republish over the wire: what is stored under
 * which subject, what is sent on, with which headers, and when not.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- subject_transform ----------------------------------------------------------------------- */

static void has_at(struct js_rig *r, int seq, const char *subject)
{
    char body[64], want[128];

    snprintf(body, sizeof(body), "{\"seq\":%d}", seq);
    snprintf(want, sizeof(want), "\"subject\":\"%s\"", subject);
    js_ask(r, "$JS.API.STREAM.MSG.GET.S", body, want);
}

TEST(transforms_what_is_stored)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.>\"]",
              ",\"subject_transform\":{\"src\":\"s.*.*\",\"dest\":\"t.$2.{{wildcard(1)}}\"}");
    js_pub(&r, "s.a.b", NULL, "x", "\"seq\":1}");
    js_pub(&r, "s.a", NULL, "x", "\"seq\":2}");
    has_at(&r, 1, "t.b.a");
    has_at(&r, 2, "s.a"); /* its source does not match: as it came */
    /* Checks ask for the subject as it is stored. */
    js_pub(&r, "s.a.b", "Nats-Expected-Last-Subject-Sequence: 1\r\n", "x", "\"seq\":3}");
    js_pub(&r, "s.a.b", "Nats-Expected-Last-Subject-Sequence: 1\r\n", "x",
           "wrong last sequence: 3");
    js_rig_crash(&r);
    js_pub(&r, "s.c.d", NULL, "x", "\"seq\":4}");
    has_at(&r, 4, "t.d.c");
    js_ask(&r, "$JS.API.STREAM.UPDATE.S", "{\"name\":\"S\",\"subjects\":[\"s.>\"]}",
           "\"subjects\":[\"s.\\u003e\"]");
    js_pub(&r, "s.c.d", NULL, "x", "\"seq\":5}");
    has_at(&r, 5, "s.c.d");
    js_rig_end(&r);
}

/* ---- republish ------------------------------------------------------------------------------- */

static void gets(struct js_rig *r, const char *subject, const char *lines, const char *body)
{
    struct raw_msg m;
    char head[512];

    js_next(r, &m);
    ck_assert_str_eq(m.subject, subject);
    snprintf(head, sizeof(head), "NATS/1.0\r\n%s", lines);
    ck_assert_msg(strncmp(m.body, head, strlen(head)) == 0, "wanted %s, got %s", head, m.body);
    ck_assert_str_eq(m.body + m.header_n, body);
    free(m.body);
}

TEST(republishes)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"republish\":{\"src\":\"s.*\",\"dest\":\"in.$1\"}");
    js_pub(&r, "s.a", NULL, "one", "\"seq\":1}");
    gets(&r, "in.a",
         "Nats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 1\r\nNats-Time-Stamp: ", "one");
    js_pub(&r, "s.b", "X: y\r\n", "two", "\"seq\":2}");
    gets(&r, "in.b",
         "X: y\r\nNats-Stream: S\r\nNats-Subject: s.b\r\nNats-Sequence: 2\r\nNats-Time-Stamp: ",
         "two");
    /* Refused messages are not republished. */
    js_pub(&r, "s.b", "Nats-Expected-Last-Sequence: 7\r\n", "no", "\"err_code\":10071");
    js_silent(&r);
    js_rig_crash(&r);
    js_pub(&r, "s.a", NULL, "three", "\"seq\":3}");
    gets(&r, "in.a", "Nats-Stream: S\r\nNats-Subject: s.a\r\nNats-Sequence: 3\r\n", "three");
    js_silent(&r);
    js_rig_end(&r);
}

/* The message of its subject before, also when a limit has taken that at once. */
TEST(says_what_came_before)
{
    struct js_rig r;
    struct raw_msg m;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]",
              ",\"max_msgs\":1,\"republish\":{\"src\":\">\",\"dest\":\"in.>\",\"headers_only\":"
              "true}");
    raw_send(&r.api, "PUB s.a 1\r\nx\r\nPUB s.a 2\r\nxy\r\nPUB s.b 3\r\nxyz\r\nPUB s.a 0\r\n\r\n");
    for (int k = 0; k < 4; k++) {
        static const char *const want[] = {
            "Nats-Last-Sequence: 0\r\nNats-Msg-Size: 1\r\n\r\n",
            "Nats-Last-Sequence: 1\r\nNats-Msg-Size: 2\r\n\r\n",
            "Nats-Last-Sequence: 0\r\nNats-Msg-Size: 3\r\n\r\n",
            "Nats-Msg-Size: 0\r\n\r\n",
        };
        js_next(&r, &m);
        ck_assert_str_eq(m.subject, k == 2 ? "in.s.b" : "in.s.a");
        ck_assert_msg(strstr(m.body, want[k]) != NULL, "%d: %s", k, m.body);
        free(m.body);
    }
    js_silent(&r);
    js_rig_end(&r);
}

/* What the stream itself would capture is not sent: it would come back for ever. */
TEST(never_feeds_itself)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"republish\":{\"src\":\"s.*\",\"dest\":\"s.x\"}"
           "}",
           "stream configuration for republish destination forms a cycle");
    js_stream(&r, "[\"in.*.*\"]",
              ",\"republish\":{\"src\":\"in.*.*\",\"dest\":\"{{wildcard(1)}}.$1.$2\"}");
    js_pub(&r, "in.in.b", NULL, "x", "\"seq\":1}");
    js_pub(&r, "in.s.b", NULL, "x", "\"seq\":2}");
    js_stream_has(&r, "\"messages\":2,");
    js_rig_end(&r);
}

/* Everything to everything is meant behind the transform of the only subject. */
TEST(follows_the_transform)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.>\"]",
              ",\"subject_transform\":{\"src\":\"s.>\",\"dest\":\"in.>\"},"
              "\"republish\":{\"src\":\">\",\"dest\":\">\"}");
    js_pub(&r, "s.a", NULL, "x", "\"seq\":1}");
    gets(&r, "in.a", "Nats-Stream: S\r\nNats-Subject: in.a\r\n", "x");
    js_stream_has(&r, "\"republish\":{\"dest\":\"in.>\",\"src\":\"in.>\"}");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(transforms_what_is_stored, 0, 2), RUN_LOOP(republishes, 0, 2),
    RUN_LOOP(says_what_came_before, 0, 2),     RUN_LOOP(never_feeds_itself, 0, 2),
    RUN_LOOP(follows_the_transform, 0, 2),
};

RUNNER_MAIN("api/jetstream_subjects", cases)
