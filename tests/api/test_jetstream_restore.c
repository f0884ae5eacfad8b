/*
 * test_jetstream_restore.c - backups that no server has made: what they say is checked like what a
 * client says, what they cost has bounds, and what their messages bring about later comes after the
 * restore.
 */
#include "lib/base/bytes.h"
#include "lib/base/crc32c.h"
#include "lib/wire/s2.h"
#include "tests/lib/restore_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OLD 1600000000000000000ll /* a day in 2020, unix ns */
#define SUBJECTS ",\"subjects\":[\"s.*\"]"

static void nothing_there(struct js_rig *r)
{
    js_await(r, "$JS.API.STREAM.INFO.S", "", "\"err_code\":10059");
    js_ask(r, "$JS.API.STREAM.NAMES", "", "\"total\":0");
}

/* Restores S from what was made by hand; frees that. */
static char *restore_made(struct js_rig *r, const char *config, struct buf *plain)
{
    struct buf framed = {0};
    char *answer;

    archive_frame(plain, &framed);
    answer = restore(&r->api, config, buf_str(&framed), 65536);
    buf_free(plain);
    buf_free(&framed);
    return answer;
}

/* ---- what comes later ------------------------------------------------------------------------ */

static const char *const storages[] = {"", ",\"storage\":\"memory\""};

TEST(a_schedule_runs_when_it_is_restored)
{
    struct js_rig r;
    struct buf b = {0};
    char config[256];

    js_rig_start(&r, 0);
    archive_begin(&b, 1, 1, 0);
    archive_message(&b, 1, OLD, "s.plan",
                    "Nats-Schedule: @at 2020-10-10T10:10:10Z\r\nNats-Schedule-Target: s.done\r\n"
                    "Nats-Rollup: sub\r\n",
                    STR("x"));
    archive_end(&b);
    snprintf(config, sizeof(config),
             SUBJECTS ",\"allow_msg_schedules\":true,\"allow_rollup_hdrs\":true%s", storages[i]);
    expect(restore_made(&r, config, &b), "stream_create_response\",\"config\":");
    js_await(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.done\"}", "\"seq\":2,");
    js_await(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.plan\"}", "10037");
    js_rig_end(&r);
}

/* Its place is in the middle of the backup. */
TEST(nothing_expires_while_it_is_restored)
{
    struct js_rig r;
    struct buf b = {0}, framed = {0};
    char subject[256];
    size_t half;

    js_rig_start(&r, 0);
    js_ask(&r, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}", "did_create");
    archive_begin(&b, 1, 2, 0);
    archive_message(&b, 1, OLD, "s.a", NULL, STR("x"));
    archive_frame(&b, &framed);
    half = framed.n;
    buf_clear(&b);
    archive_message(&b, 2, OLD + 1, "s.b", NULL, STR("x"));
    archive_end(&b);
    s2_put(&framed, buf_str(&b));
    restore_begin(&r.api,
                  SUBJECTS ",\"max_age\":3600000000000,\"subject_delete_marker_ttl\":"
                           "3600000000000,\"allow_rollup_hdrs\":true",
                  subject);
    expect(ask_bytes(&r.api, subject, str_take(buf_str(&framed), half)), "");
    for (int k = 1; k < 5; k++) /* a worker's turn each, behind a commit */
        js_ask(&r, "t", "x", "\"seq\":");
    expect(ask_bytes(&r.api, subject, str_skip(buf_str(&framed), half)), "");
    expect(ask_bytes(&r.api, subject, STR_NONE), "\"last_seq\":2,");
    js_await(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.b\"}", "\"seq\":4,");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.a\"}", "\"seq\":3,");
    js_rig_end(&r);
    buf_free(&b);
    buf_free(&framed);
}

/* As at the peer: what would go at once is left out, and has no marker. */
TEST(what_has_expired_is_left_out)
{
    struct js_rig r;
    struct buf b = {0};

    js_rig_start(&r, i);
    archive_begin(&b, 1, 3, 0);
    archive_message(&b, 1, OLD, "s.a", "Nats-TTL: 60\r\n", STR("x"));
    archive_message(&b, 2, OLD, "s.b", "Nats-TTL: never\r\n", STR("x"));
    archive_message(&b, 3, OLD, "s.c", "Nats-TTL: 1s\r\n", STR("x"));
    archive_end(&b);
    expect(restore_made(&r,
                        SUBJECTS ",\"allow_msg_ttl\":true,\"allow_rollup_hdrs\":true,"
                                 "\"subject_delete_marker_ttl\":3600000000000",
                        &b),
           "\"messages\":1,");
    js_ask(&r, "s.d", "x", "\"seq\":4}");
    js_stream_has(&r, "\"first_seq\":2,");
    js_rig_end(&r);
}

/* ---- consumers ------------------------------------------------------------------------------- */

#define STATE                                                                                      \
    "\"state\":{\"delivered\":{\"consumer_seq\":2,\"stream_seq\":2},"                              \
    "\"ack_floor\":{\"consumer_seq\":0,\"stream_seq\":0}"

/* Consumers of a stream with two messages; the answer. */
static char *restore_consumers(struct js_rig *r, const char *config, const char *const *json,
                               unsigned n)
{
    struct buf b = {0};

    archive_begin(&b, 1, 2, n);
    for (unsigned k = 0; k < n; k++) {
        char name[8];
        snprintf(name, sizeof(name), "%c", 'C' + (int) k);
        archive_consumer(&b, name, json[k]);
    }
    archive_message(&b, 1, OLD, "s.a", NULL, STR("x"));
    archive_message(&b, 2, OLD, "s.b", NULL, STR("x"));
    archive_end(&b);
    return restore_made(r, config, &b);
}

TEST(consumers_are_checked)
{
    static const struct {
        const char *config, *want;
    } table[] = {
        {"\"deliver_subject\":\"s.x\"", "cycle"},
        {"\"deliver_subject\":\"d.*\"", "wildcard"},
        {"\"filter_subject\":\"s..a\",\"ack_policy\":\"explicit\"", "invalid subject"},
        {"\"ack_policy\":\"explicit\",\"backoff\":[-1]", "needs to be positive"},
        {"\"ack_policy\":\"explicit\",\"filter_subjects\":[\"s.a\",\"s.*\"]", "overlap"},
        {"\"name\":\"X\",\"ack_policy\":\"explicit\"", "have to be equal"},
    };
    struct js_rig r;

    js_rig_start(&r, i);
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        char json[512];
        const char *one = json;
        char *answer;
        snprintf(json, sizeof(json), "{\"config\":{\"durable_name\":\"C\",%s}," STATE "}}",
                 table[k].config);
        answer = restore_consumers(&r, SUBJECTS, &one, 1);
        ck_assert_msg(strstr(answer, "\"err_code\":10062") != NULL, "%s", answer);
        ck_assert_msg(strstr(answer, "failed to add consumer \\\"C\\\": ") != NULL, "%s", answer);
        expect(answer, table[k].want);
        nothing_there(&r);
    }
    js_rig_end(&r);
}

TEST(there_are_no_more_than_may_be)
{
    static const char *const two[] = {
        "{\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}," STATE "}}",
        "{\"config\":{\"durable_name\":\"D\",\"ack_policy\":\"explicit\"}," STATE "}}",
    };
    struct js_rig r;

    js_rig_start(&r, i);
    expect(restore_consumers(&r, SUBJECTS ",\"max_consumers\":1", two, 2),
           "maximum consumers limit");
    nothing_there(&r);
    expect(restore_consumers(&r, SUBJECTS ",\"retention\":\"workqueue\"", two, 2),
           "multiple non-filtered consumers");
    nothing_there(&r);
    expect(restore_consumers(&r, SUBJECTS, two, 2), "\"messages\":2,");
    js_ask(&r, "$JS.API.CONSUMER.NAMES.S", "", "\"total\":2,");
    js_rig_end(&r);
}

/* A start reads only what is well formed. */
TEST(a_number_twice_is_pending_once)
{
    static const char *const one[] = {
        "{\"config\":{\"durable_name\":\"C\",\"ack_policy\":\"explicit\"}," STATE
        ",\"pending\":{\"2\":{\"Sequence\":2,\"Timestamp\":1},\"01\":{\"Sequence\":1,"
        "\"Timestamp\":1},\"1\":{\"Sequence\":1,\"Timestamp\":1}},"
        "\"redelivered\":{\"2\":3}}}"};
    struct js_rig r;

    js_rig_start(&r, i);
    expect(restore_consumers(&r, SUBJECTS, one, 1), "\"messages\":2,");
    js_consumer_has(&r, "\"num_ack_pending\":2,");
    js_consumer_has(&r, "\"num_redelivered\":1,");
    js_rig_restart(&r);
    js_consumer_has(&r, "\"num_ack_pending\":2,");
    js_rig_end(&r);
}

/* ---- what it costs --------------------------------------------------------------------------- */

static void put_chunk(struct buf *out, uint8_t type, struct str body)
{
    const uint8_t head[4] = {type, (uint8_t) body.n, (uint8_t) (body.n >> 8),
                             (uint8_t) (body.n >> 16)};

    buf_put(out, head, sizeof(head));
    buf_put_str(out, body);
}

/* 4 MiB of zeros in a few bytes, n times. */
static void put_zeros(struct buf *out, unsigned n)
{
    static const char zeros[4u << 20];
    /* Length, a literal of one byte, a copy of 4 with offset 1, one with the same of the rest. */
    static const char block[] = "\x80\x80\x80\x02\x00\x00\x01\x01\x1d\x00\xf7\xff\x3e";
    uint32_t crc = crc32c_kafka(zeros, sizeof(zeros));
    struct buf body = {0};
    uint8_t masked[4];

    put_u32(masked, ((crc >> 15) | (crc << 17)) + 0xa282ead8u);
    buf_put(&body, masked, sizeof(masked));
    buf_put(&body, block, sizeof(block) - 1);
    for (unsigned i = 0; i < n; i++)
        put_chunk(out, 0, buf_str(&body));
    buf_free(&body);
}

TEST(what_lies_behind_the_end_is_not_read)
{
    struct js_rig r;
    struct buf b = {0}, framed = {0};
    char subject[256];

    js_rig_start(&r, i);
    archive_begin(&b, 1, 1, 0);
    archive_message(&b, 1, OLD, "s.a", NULL, STR("x"));
    archive_end(&b);
    archive_frame(&b, &framed);
    put_zeros(&framed, 4000);
    restore_begin(&r.api, SUBJECTS, subject);
    expect(ask_bytes(&r.api, subject, buf_str(&framed)), "");
    expect(ask_bytes(&r.api, subject, STR_NONE), "\"messages\":1,");
    js_rig_end(&r);
    buf_free(&b);
    buf_free(&framed);
}

TEST(states_of_consumers_have_a_bound)
{
    enum { N = 300, JUNK = 1000000 };
    struct js_rig r;
    struct buf b = {0}, json = {0};
    char *answer;

    js_rig_start(&r, i);
    archive_begin(&b, 1, 1, N);
    buf_puts(&json, "{\"config\":{\"ack_policy\":\"explicit\"}," STATE ",\"x\":\"");
    for (int k = 0; k < JUNK; k++)
        buf_putc(&json, 'x');
    buf_puts(&json, "\"}}");
    for (int k = 0; k < N; k++) {
        char name[16];
        snprintf(name, sizeof(name), "c%d", k);
        archive_consumer(&b, name, buf_cstr(&json));
    }
    answer = restore_made(&r, SUBJECTS, &b);
    expect(answer, "states of the consumers are too large");
    nothing_there(&r);
    js_rig_end(&r);
    buf_free(&json);
}

/* A sender waits for its answers, or it may be told to go: what it has sent would lie in memory. */
TEST(a_sender_that_does_not_wait_is_refused)
{
    enum { BIG = 1000000, MANY = 1200, CHUNK = 1000000 };
    struct js_rig r;
    struct buf b = {0}, framed = {0}, zeros = {0};
    struct raw_msg m;
    char subject[256], text[600];
    bool answered;

    js_rig_start(&r, 0);
    archive_begin(&b, 1, MANY, 0);
    for (int k = 0; k < BIG; k++)
        buf_putc(&zeros, '\0');
    for (unsigned k = 1; k <= MANY; k++)
        archive_message(&b, k, OLD, "s.a", NULL, buf_str(&zeros));
    archive_frame(&b, &framed);
    restore_begin(&r.api, SUBJECTS, subject);
    raw_send(&r.in, "SUB rr.* 9\r\n");
    for (int k = 0; k < 40; k++)
        put_chunk(&framed, 0xfe, buf_str(&zeros));
    for (size_t at = 0; at < framed.n; at += CHUNK) {
        struct str chunk = str_take(str_skip(buf_str(&framed), at), CHUNK);
        snprintf(text, sizeof(text), "PUB %s rr.x %zu\r\n", subject, chunk.n);
        raw_send(&r.in, text);
        raw_send_bytes(&r.in, chunk.p, chunk.n);
        raw_send(&r.in, "\r\n");
    }
    do { /* answers to chunks, and that nobody takes the later ones */
        js_next(&r, &m);
        answered = m.n > m.header_n;
        if (answered)
            ck_assert_msg(strstr(m.body, "has to wait for its answers") != NULL, "%s", m.body);
        free(m.body);
    } while (!answered);
    nothing_there(&r);
    js_rig_end(&r);
    buf_free(&b);
    buf_free(&framed);
    buf_free(&zeros);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_schedule_runs_when_it_is_restored, 0, 2),
    RUN(nothing_expires_while_it_is_restored),
    RUN_LOOP(what_has_expired_is_left_out, 0, 2),
    RUN_LOOP(consumers_are_checked, 0, 2),
    RUN_LOOP(there_are_no_more_than_may_be, 0, 2),
    RUN_LOOP(a_number_twice_is_pending_once, 0, 2),
    RUN_LOOP(what_lies_behind_the_end_is_not_read, 0, 2),
    RUN_LOOP(states_of_consumers_have_a_bound, 0, 2),
    RUN(a_sender_that_does_not_wait_is_refused),
};

RUNNER_MAIN("api/jetstream_restore", cases)
