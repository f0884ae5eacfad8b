/* test_jetstream_schedule.c - messages that publish others at their time. */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define INFO "$JS.API.STREAM.INFO.S"
#define ALLOWED ",\"allow_msg_schedules\":true,\"allow_msg_ttl\":true"

/* ---- what is accepted ------------------------------------------------------------------------ */

static const struct {
    const char *fields, *want;
} configs[] = {
    {"\"discard\":\"new\"", "message scheduling cannot use discard new"},
    {"\"pedantic\":true,\"max_msgs\":-1,\"max_bytes\":-1,\"max_msg_size\":-1,\"max_consumers\":-1,"
     "\"max_msgs_per_subject\":-1",
     "message scheduling cannot be set if roll-ups are disabled"},
    {"\"deny_purge\":true", "\"deny_purge\":false,\"allow_rollup_hdrs\":true"},
};

TEST(configurations)
{
    struct js_rig r;
    char body[512];

    js_rig_start(&r, i);
    for (size_t k = 0; k < sizeof(configs) / sizeof(configs[0]); k++) {
        snprintf(body, sizeof(body),
                 "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_msg_schedules\":true,%s}",
                 configs[k].fields);
        js_ask(&r, "$JS.API.STREAM.CREATE.S", body, configs[k].want);
    }
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_rollup_hdrs\":true}",
           "message schedules can not be disabled");
    js_rig_end(&r);
}

#define AT "Nats-Schedule: @at 2200-01-01T00:00:00Z\r\n"
#define TO "Nats-Schedule-Target: s.to\r\n"

/* In order, to s.a. */
static const struct {
    const char *lines, *want;
} published[] = {
    {AT TO, "\"seq\":1}"},
    {AT TO "Nats-Rollup: sub\r\n", "\"seq\":2}"},
    {"Nats-Schedule: @every 1h\r\n" TO "Nats-Schedule-TTL: 5m\r\nNats-Schedule-Rollup: sub\r\n"
     "Nats-Schedule-Source: s.from\r\n",
     "\"seq\":3}"},
    {"Nats-Schedule: 0 30 2 * * *\r\n" TO "Nats-Schedule-Time-Zone: Europe/Berlin\r\n",
     "\"seq\":4}"},
    {"Nats-Schedule: @yearly\r\n" TO "Nats-Schedule-Time-Zone: UTC\r\n", "\"seq\":5}"},
    {"Nats-Schedule:\r\n", "\"seq\":6}"},
    {"Nats-Schedule-Time-Zone: UTC\r\n", "\"seq\":7}"},
    {"Nats-Schedule: @every 1ms\r\n" TO,
     "{\"error\":{\"code\":400,\"err_code\":10189,\"description\":\"message schedules pattern is "
     "invalid\"},\"stream\":\"S\",\"seq\":0}"},
    {"Nats-Schedule: @at soon\r\n" TO, "\"err_code\":10189"},
    {"Nats-Schedule: 0 0 0 30 2 *\r\n" TO, "\"err_code\":10189"},
    {AT TO "Nats-Schedule-Time-Zone: UTC\r\n", "\"err_code\":10189"},
    {"Nats-Schedule: @hourly\r\n" TO "Nats-Schedule-Time-Zone: Nowhere/Land\r\n",
     "\"err_code\":10223"},
    {"Nats-Schedule: @hourly\r\n" TO "Nats-Schedule-Time-Zone:\r\n", "\"err_code\":10223"},
    {"Nats-Schedule: @bad\r\n" TO "Nats-Schedule-Time-Zone: ../etc\r\n", "\"err_code\":10223"},
    {AT TO "Nats-Schedule-TTL: x\r\nNats-Schedule-Rollup: all\r\n", "\"err_code\":10191"},
    {AT "Nats-Schedule-Rollup: all\r\n", "\"err_code\":10192"},
    {AT TO "Nats-Rollup: all\r\n", "\"err_code\":10192"},
    {AT, "\"err_code\":10190"},
    {AT "Nats-Schedule-Target: s.*\r\n", "\"err_code\":10190"},
    {AT "Nats-Schedule-Target: s.a\r\n", "\"err_code\":10190"},
    {AT "Nats-Schedule-Target: t.a\r\n", "\"err_code\":10190"},
    {AT TO "Nats-Schedule-Source: s.to\r\n", "\"err_code\":10203"},
    {AT TO "Nats-Schedule-Source: s.a\r\n", "\"err_code\":10203"},
    {AT TO "Nats-Schedule-Source: s.*\r\n", "\"err_code\":10203"},
    {AT TO "Nats-Schedule-Source: t.a\r\n", "\"err_code\":10203"},
    {"Nats-Schedule-Next: 2200-01-01T00:00:00Z\r\nNats-Scheduler: s.b\r\n", "\"err_code\":10212"},
    {"Nats-Schedule-Next: purge\r\n", "\"err_code\":10212"},
    {"Nats-Schedule-Next: purge\r\nNats-Scheduler: s.a\r\n", "\"err_code\":10212"},
    {"Nats-Schedule-Next: purge\r\nNats-Scheduler: s.*\r\n", "\"err_code\":10212"},
    {"Nats-Scheduler: s.b\r\n", "\"err_code\":10212"},
    {"Nats-Schedule-Next: purge\r\nNats-Scheduler: s.none\r\n", "\"seq\":8}"},
    {AT TO "Nats-Expected-Last-Sequence: 1\r\n", "\"err_code\":10071"},
    {"Nats-Schedule: x\r\nNats-Msg-Id: 1\r\nNats-Stream-Source: T 1 > > s\r\n",
     "\"err_code\":10189"},
};

TEST(checks)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ALLOWED);
    for (size_t k = 0; k < sizeof(published) / sizeof(published[0]); k++)
        js_pub(&r, "s.a", published[k].lines, "x", published[k].want);
    js_await(&r, INFO, "{\"subjects_filter\":\"s.a\"}", "\"s.a\":4}");
    js_ask(&r, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}", "did_create");
    js_pub(&r, "t", AT TO, "x", "\"err_code\":10188");
    js_pub(&r, "t", "Nats-Schedule: x\r\n", "x", "\"err_code\":10188");
    js_pub(&r, "t", "Nats-Schedule-Time-Zone: x\r\n", "x", "\"err_code\":10188");
    js_pub(&r, "t", "Nats-Schedule-Next: purge\r\nNats-Scheduler: s.b\r\n", "x",
           "\"err_code\":10188");
    js_pub(&r, "t", "Nats-Schedule-TTL: x\r\n", "x", "\"seq\":1}");
    js_ask(&r, "$JS.API.STREAM.CREATE.U",
           "{\"name\":\"U\",\"subjects\":[\"u.*\"],\"allow_msg_schedules\":true}", "did_create");
    js_pub(&r, "u.a", AT "Nats-Schedule-Target: u.b\r\nNats-Schedule-TTL: 5\r\n", "x",
           "\"err_code\":10166");
    js_rig_end(&r);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void at_soon(char *out, size_t cap, int seconds, const char *more)
{
    time_t at = time(NULL) + seconds;
    struct tm tm;
    char text[64];

    gmtime_r(&at, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    snprintf(out, cap, "Nats-Schedule: @at %s\r\n" TO "%s", text, more);
}

static void gets_body(struct js_rig *r, const char *subject, const char *want)
{
    struct raw_msg m;

    js_next(r, &m);
    ck_assert_msg(strcmp(m.subject, subject) == 0 && strcmp(m.body, want) == 0,
                  "wanted %s, got %s %s", want, m.subject, m.body);
    free(m.body);
}

/* Once: the message is there with its own headers, the schedule is not any more. */
TEST(once)
{
    struct js_rig r;
    char lines[512];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ALLOWED);
    js_consumer(&r, ",\"ack_policy\":\"none\",\"filter_subject\":\"s.to\"");
    js_pull(&r, "{\"batch\":10,\"expires\":30000000000}");
    at_soon(lines, sizeof(lines), 1, "X: y\r\nNats-Msg-Id: 1\r\nNats-TTL: 1h\r\n");
    js_pub(&r, "s.a", lines, "hello", "\"seq\":1}");
    gets_body(&r, "s.to",
              "NATS/1.0\r\nX: y\r\nNats-Scheduler: s.a\r\nNats-Schedule-Next: purge\r\n\r\nhello");
    js_await(&r, INFO, "{\"subjects_filter\":\">\"}", "\"subjects\":{\"s.to\":1}");
    js_stream_has(&r, "\"last_seq\":2,");
    /* Another one, with a source, a TTL and a rollup; one in the past runs at once. */
    js_pub(&r, "s.from", "A: b\r\nNats-TTL: 1h\r\n", "body", "\"seq\":3}");
    js_pub(&r, "s.b",
           "Nats-Schedule: @at 2001-01-01T00:00:00Z\r\n" TO
           "Nats-Schedule-Source: s.from\r\nNats-Schedule-TTL: 7h\r\nNats-Schedule-Rollup: sub\r\n",
           "unused", "\"seq\":4}");
    gets_body(&r, "s.to",
              "NATS/1.0\r\nA: b\r\nNats-Scheduler: s.b\r\nNats-Schedule-Next: purge\r\n"
              "Nats-TTL: 7h\r\nNats-Rollup: sub\r\n\r\nbody");
    js_await(&r, INFO, "{\"subjects_filter\":\">\"}", "\"subjects\":{\"s.from\":1,\"s.to\":1}");
    js_rig_end(&r);
}

/* Time and again, until it is replaced, deleted, or ended by a message. */
TEST(repeated)
{
    struct js_rig r;
    struct raw_msg m;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ALLOWED);
    js_consumer(&r, ",\"ack_policy\":\"none\",\"filter_subject\":\"s.to\"");
    js_pull(&r, "{\"batch\":10,\"expires\":60000000000}");
    js_pub(&r, "s.a",
           i == 0 ? "Nats-Schedule: @every 1s\r\n" TO
                  : "Nats-Schedule: * * * * * *\r\n" TO "Nats-Schedule-Time-Zone: Asia/Kolkata\r\n",
           "tick", "\"seq\":1}");
    for (int k = 0; k < 3; k++) {
        js_next(&r, &m);
        ck_assert_ptr_nonnull(strstr(m.body, "Nats-Scheduler: s.a\r\nNats-Schedule-Next: 2"));
        ck_assert_ptr_nonnull(strstr(m.body, i == 0 ? "Z\r\n\r\ntick" : "+05:30\r\n\r\ntick"));
        free(m.body);
    }
    if (i == 0) {
        js_pub(&r, "s.b", "Nats-Schedule-Next: purge\r\nNats-Scheduler: s.a\r\n", "x", "\"seq\"");
    } else if (i == 1) {
        js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.a\"}", "\"purged\":1");
    } else {
        js_pub(&r, "s.a", "Nats-Schedule: @every 1h\r\n" TO "Nats-Schedule-Rollup: sub\r\n", "x",
               "\"seq\"");
    }
    js_await(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.a\"}",
             i == 2 ? "\"subject\":\"s.a\"" : "\"err_code\":10037");
    js_rig_end(&r);
}

/* Each that was due runs once, whenever the server is killed; what repeats goes on. */
TEST(after_a_crash)
{
    struct js_rig r;
    char lines[512], subject[16];

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ALLOWED);
    js_pub(&r, "s.r",
           "Nats-Schedule: @every 1s\r\nNats-Schedule-Target: s.tick\r\n"
           "Nats-Schedule-Rollup: sub\r\n",
           "x", "\"seq\":1}");
    for (int k = 0; k < 20; k++) {
        at_soon(lines, sizeof(lines), 2 + k % 3, "");
        snprintf(subject, sizeof(subject), "s.%d", k);
        js_pub(&r, subject, lines, "x", "\"seq\"");
    }
    for (int k = 0; k < 4; k++) {
        if (i % 2 == 0)
            js_rig_restart(&r);
        else
            js_rig_crash(&r);
        js_await(&r, INFO, "{\"subjects_filter\":\"s.tick\"}", "\"s.tick\":1}");
    }
    js_await(&r, INFO, "{\"subjects_filter\":\"s.to\"}", "\"s.to\":20}");
    /* Nothing but the repeated one is left. */
    js_await(&r, INFO, "{\"subjects_filter\":\">\"}",
             "\"subjects\":{\"s.r\":1,\"s.tick\":1,\"s.to\":20}");
    js_rig_end(&r);
}

static void batched(struct js_rig *r, const char *subject, int seq, const char *lines,
                    const char *want)
{
    char all[512];

    snprintf(all, sizeof(all), "Nats-Batch-Id: x\r\nNats-Batch-Sequence: %d\r\n%s", seq, lines);
    js_pub(r, subject, all, "x", want);
}

#define COMMIT "Nats-Batch-Commit: 1\r\n"
#define END(subject) "Nats-Schedule-Next: purge\r\nNats-Scheduler: " subject "\r\n"

/* A batch with a schedule may wait for its time zone; messages see the schedules before them. */
TEST(in_a_batch)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ALLOWED ",\"allow_atomic\":true");
    batched(&r, "s.a", 1, AT TO, "");
    batched(&r, "s.b", 2, "Nats-Schedule: @yearly\r\n" TO "Nats-Schedule-Time-Zone: UTC\r\n", "");
    batched(&r, "s.c", 3,
            "Nats-Schedule: @yearly\r\n" TO "Nats-Schedule-Time-Zone: Asia/Tokyo\r\n" COMMIT,
            "{\"stream\":\"S\",\"seq\":3,\"batch\":\"x\",\"count\":3}");
    js_await(&r, INFO, "", "\"messages\":3,");
    batched(&r, "s.a", 1, "", "");
    batched(&r, "s.a", 2, AT TO COMMIT, "batch rollup sub invalid");
    batched(&r, "s.d", 1, "", "");
    batched(&r, "s.e", 2, END("s.d") COMMIT, "\"err_code\":10212");
    batched(&r, "s.a", 1, AT TO, "");
    batched(&r, "s.e", 2, END("s.a") COMMIT, "\"seq\":5,\"batch\":\"x\",\"count\":2}");
    js_await(&r, INFO, "", "\"messages\":3,"); /* s.b, s.c, s.e */
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.a\"}", "\"err_code\":10037");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(configurations, 0, 3), RUN_LOOP(checks, 0, 3),        RUN_LOOP(once, 0, 3),
    RUN_LOOP(repeated, 0, 3),       RUN_LOOP(after_a_crash, 0, 6), RUN_LOOP(in_a_batch, 0, 3),
};

RUNNER_MAIN("api/jetstream_schedule", cases)
