/*
 * test_jetstream_backup.c - snapshot and restore: what comes out goes in again, and what is
 * damaged, cut off or in the way leaves nothing behind.
 */
#include "tests/lib/restore_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void await_info(struct js_rig *r, const char *want)
{
    js_await(r, "$JS.API.STREAM.INFO.S", "", want);
}

/* Five messages of which one is gone, a consumer with one acknowledged and two pending. */
static void prepare(struct js_rig *r, const char *more)
{
    js_stream(r, "[\"s.*\"]", more);
    js_fill(r, "s.a", 1, 2);
    js_pub(r, "s.b", "A: b\r\nNats-Msg-Id: one\r\n", "with a header", "\"seq\":3}");
    js_fill(r, "s.a", 4, 3);
    js_ask(r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":5}", "\"success\":true");
    js_consumer(r, ",\"ack_policy\":\"explicit\"");
    js_pull(r, "3");
    js_takes(r, "s.a", 1, 1, "+ACK");
    js_gets(r, "s.a", 2, 1);
    js_gets(r, "s.b", 3, 1);
}

static void check_all(struct js_rig *r)
{
    await_info(r, "\"messages\":5,");
    await_info(r, "\"first_seq\":1,");
    await_info(r, "\"last_seq\":6,");
    await_info(r, "\"num_deleted\":1,");
    js_ask(r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":3}", "\"data\":\"d2l0aCBhIGhlYWRlcg==\"");
    js_consumer_has(r, "\"delivered\":{\"consumer_seq\":3,\"stream_seq\":3");
    js_consumer_has(r, "\"ack_floor\":{\"consumer_seq\":1,\"stream_seq\":1");
    js_consumer_has(r, "\"num_ack_pending\":2,");
    js_await(r, "$JS.API.CONSUMER.INFO.S.C", "", "\"num_pending\":2,");
}

TEST(what_comes_out_goes_in_again)
{
    static const size_t steps[] = {100000, 512, 7};
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    prepare(&r, "");
    backup(&r, "", "204", &b);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), steps[i]),
           "io.nats.jetstream.api.v1.stream_create_response\",\"config\":");
    check_all(&r);
    js_ask(&r, "s.a", "x", "\"seq\":7}");
    js_rig_restart(&r);
    js_ask(&r, "s.a", "x", "\"seq\":8}");
    js_pull(&r, "1");
    js_gets(&r, "s.a", 4, 1);
    js_rig_end(&r);
    buf_free(&b);
}

TEST(without_consumers)
{
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    prepare(&r, "");
    backup(&r, ",\"no_consumers\":true", "204", &b);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), 1000), "\"last_seq\":6,");
    js_ask(&r, "$JS.API.CONSUMER.NAMES.S", "", "\"total\":0,");
    js_rig_crash(&r);
    await_info(&r, "\"messages\":5,");
    js_rig_end(&r);
    buf_free(&b);
}

TEST(an_empty_stream)
{
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    if (i == 1) {
        js_fill(&r, "s.a", 1, 3);
        js_ask(&r, "$JS.API.STREAM.PURGE.S", "", "\"purged\":3");
    }
    backup(&r, "", "204", &b);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), 1000), "\"messages\":0,");
    js_ask(&r, "s.a", "x", i == 1 ? "\"seq\":4}" : "\"seq\":1}");
    js_rig_end(&r);
    buf_free(&b);
}

TEST(much)
{
    enum { N = 3000 };
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 1; k <= N; k++) {
        char text[1200];
        snprintf(text, sizeof(text), "PUB s.%d 1024\r\n%01024d\r\n", k % 100, k);
        raw_send(&r.api, text);
    }
    await_info(&r, "\"messages\":3000,");
    backup(&r, ",\"chunk_size\":32768,\"window_size\":65536", "204", &b);
    ck_assert_uint_gt(b.n, N * 1024);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), 131072), "\"messages\":3000,");
    js_rig_restart(&r);
    await_info(&r, "\"messages\":3000,");
    await_info(&r, "\"num_subjects\":100,");
    js_rig_end(&r);
    buf_free(&b);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

static void nothing_there(struct js_rig *r)
{
    js_await(r, "$JS.API.STREAM.INFO.S", "", "\"err_code\":10059");
    js_ask(r, "$JS.API.STREAM.NAMES", "", "\"total\":0");
}

TEST(damaged_or_cut_off_leaves_nothing)
{
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    prepare(&r, "");
    backup(&r, "", "204", &b);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    expect(restore(&r.api, "", str_take(buf_str(&b), b.n / 2), 64), "\"err_code\":10062");
    nothing_there(&r);
    b.p[b.n / 2] ^= 1;
    expect(restore(&r.api, "", buf_str(&b), 64), "\"err_code\":10062");
    b.p[b.n / 2] ^= 1;
    nothing_there(&r);
    expect(restore(&r.api, "", STR("nonsense"), 64), "\"err_code\":10062");
    nothing_there(&r);
    js_rig_restart(&r);
    nothing_there(&r);
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), 64), "\"last_seq\":6,");
    check_all(&r);
    js_rig_end(&r);
    buf_free(&b);
}

TEST(a_crash_in_between_leaves_nothing)
{
    struct js_rig r;
    struct buf b = {0};
    char subject[256];

    js_rig_start(&r, i);
    prepare(&r, "");
    backup(&r, "", "204", &b);
    js_ask(&r, "$JS.API.STREAM.DELETE.S", "", "\"success\":true");
    restore_begin(&r.api, ",\"subjects\":[\"s.*\"]", subject);
    /* All but the end: everything is stored. */
    expect(ask_bytes(&r.api, subject, buf_str(&b)), "");
    js_ask(&r, "$JS.API.STREAM.INFO.S", "", "\"err_code\":10059");
    js_rig_crash(&r);
    nothing_there(&r);
    expect(restore(&r.api, ",\"subjects\":[\"s.*\"]", buf_str(&b), 4000), "\"last_seq\":6,");
    check_all(&r);
    js_rig_end(&r);
    buf_free(&b);
}

TEST(what_a_request_may_not_say)
{
    struct js_rig r;

    js_rig_start(&r, 0);
    js_stream(&r, "[\"s.*\"]", "");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.S", "", "\"err_code\":10003");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.X", "{\"deliver_subject\":\"a\"}", "\"err_code\":10059");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"a.*\"}", "\"err_code\":10015");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.S", "{\"deliver_subject\":5}", "\"err_code\":10025");
    js_ask(&r, "$JS.API.STREAM.RESTORE.S", "", "\"err_code\":10003");
    js_ask(&r, "$JS.API.STREAM.RESTORE.S", "{\"config\":{\"name\":\"S\"}}", "\"err_code\":10130");
    js_ask(&r, "$JS.API.STREAM.RESTORE.T", "{\"config\":{\"name\":\"S\"}}", "\"err_code\":10056");
    js_ask(&r, "$JS.API.STREAM.RESTORE.T", "{\"config\":{\"subjects\":[\"s.a\"]}}",
           "\"err_code\":10065");
    js_rig_end(&r);
}

TEST(nobody_listens_or_answers)
{
    struct js_rig r;
    struct raw_msg m;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    for (int k = 1; k <= 40; k++) {
        char text[1200];
        snprintf(text, sizeof(text), "PUB s.a 1024\r\n%01024d\r\n", k);
        raw_send(&r.api, text);
    }
    await_info(&r, "\"messages\":40,");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"nobody\"}", "\"config\":");
    js_ask(&r, "$JS.API.STREAM.SNAPSHOT.S",
           "{\"deliver_subject\":\"in.x\",\"chunk_size\":1024,\"window_size\":4096}",
           "\"config\":");
    for (int k = 0; k < 4; k++) {
        js_next(&r, &m);
        ck_assert_uint_eq(m.n, 1024);
        free(m.body);
    }
    js_next(&r, &m);
    ck_assert_msg(strstr(m.body, "408 No Flow Response") != NULL, "%s", m.body);
    free(m.body);
    js_rig_end(&r);
}

/* Each of them waits two seconds for somebody to come. */
TEST(a_stream_has_few_at_a_time)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 1);
    js_await(&r, "$JS.API.STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"nobody\"}",
             "\"err_code\":10064,\"description\":\"snapshot failed: too many snapshots");
    js_await(&r, "$JS.API.STREAM.SNAPSHOT.S", "{\"deliver_subject\":\"nobody\"}", "\"config\":");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(what_comes_out_goes_in_again, 0, 3),
    RUN(without_consumers),
    RUN_LOOP(an_empty_stream, 0, 2),
    RUN_LOOP(much, 0, 2),
    RUN_LOOP(damaged_or_cut_off_leaves_nothing, 0, 2),
    RUN_LOOP(a_crash_in_between_leaves_nothing, 0, 2),
    RUN(what_a_request_may_not_say),
    RUN(nobody_listens_or_answers),
    RUN_LOOP(a_stream_has_few_at_a_time, 0, 2),
};

RUNNER_MAIN("api/jetstream_backup", cases)
