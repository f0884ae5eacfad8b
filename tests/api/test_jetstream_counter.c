/* test_jetstream_counter.c - subjects that count. */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *fields, *want;
} configs[] = {
    {"\"discard\":\"new\"", "counter stream cannot use discard new"},
    {"\"allow_msg_ttl\":true", "counter stream cannot use message TTLs"},
    {"\"allow_msg_schedules\":true", "counter stream cannot use message schedules"},
    {"\"retention\":\"workqueue\"", "counter stream can only use limits retention"},
    {"\"max_msgs_per_subject\":1", "\"_nats.req.level\":\"2\""},
};

TEST(configurations)
{
    struct js_rig r;
    char body[512];

    js_rig_start(&r, i);
    for (size_t k = 0; k < sizeof(configs) / sizeof(configs[0]); k++) {
        snprintf(body, sizeof(body),
                 "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"allow_msg_counter\":true,%s}",
                 configs[k].fields);
        js_ask(&r, "$JS.API.STREAM.CREATE.S", body, configs[k].want);
    }
    js_ask(&r, "$JS.API.STREAM.UPDATE.S",
           "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"max_msgs_per_subject\":1}",
           "stream configuration update can not change message counter setting");
    js_rig_end(&r);
}

/* In order. */
static const struct {
    const char *subject, *lines, *body, *want;
} published[] = {
    {"s.a", "Nats-Incr: 1\r\n", "", "{\"stream\":\"S\",\"seq\":1,\"val\":\"1\"}"},
    {"s.a", "Nats-Incr: +5\r\n", "", "{\"stream\":\"S\",\"seq\":2,\"val\":\"6\"}"},
    {"s.a", "Nats-Incr: -10\r\n", "", "\"seq\":3,\"val\":\"-4\"}"},
    {"s.b", "Nats-Incr: 99999999999999999999999999999999\r\n", "",
     "\"seq\":4,\"val\":\"99999999999999999999999999999999\"}"},
    {"s.b", "Nats-Incr: 1\r\n", "", "\"val\":\"100000000000000000000000000000000\"}"},
    {"s.b", "Nats-Incr: 0\r\n", "", "\"seq\":6,\"val\":\"100000000000000000000000000000000\"}"},
    {"s.a", "Nats-Incr: 007\r\nNats-Msg-Id: x\r\n", "", "\"seq\":7,\"val\":\"3\"}"},
    {"s.a", "Nats-Incr: 7\r\nNats-Msg-Id: x\r\n", "",
     "{\"stream\":\"S\",\"seq\":7,\"duplicate\": true}"},
    {"s.a", "X: y\r\n", "",
     "{\"error\":{\"code\":400,\"err_code\":10169,\"description\":\"message counter increment is "
     "missing\"},\"stream\":\"S\",\"seq\":0}"},
    {"s.a", NULL, "", "\"err_code\":10169"},
    {"s.a", NULL, "1", "\"err_code\":10169"},
    {"s.a", "Nats-Incr:\r\n", "", "\"err_code\":10169"},
    {"s.a", "Nats-Incr: 1\r\n", "1", "\"err_code\":10170"},
    {"s.a", "Nats-Incr: x\r\n", "1", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1.5\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1_0\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 0x1\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Rollup: sub\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Expected-Stream: S\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Expected-Last-Sequence: 7\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Expected-Last-Subject-Sequence: 7\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Expected-Last-Msg-Id: x\r\n", "", "\"err_code\":10171"},
    {"s.a", "Nats-Incr: 1\r\nNats-Stream-Source: T 1 > > s.a\r\n", "", "\"err_code\":10227"},
    {"s.a", "Nats-Incr: 1\r\nNats-Schedule: @every 1s\r\n", "", "\"err_code\":10188"},
};

TEST(counts)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true");
    for (size_t k = 0; k < sizeof(published) / sizeof(published[0]); k++)
        js_pub(&r, published[k].subject, published[k].lines, published[k].body, published[k].want);
    /* {"val":"3"} */
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"last_by_subj\":\"s.a\"}",
           "\"seq\":7,\"hdrs\":\"TkFUUy8xLjANCk5hdHMtSW5jcjogMDA3DQpOYXRzLU1zZy1JZDogeA0KDQo=\","
           "\"data\":\"eyJ2YWwiOiIzIn0=\"");
    js_ask(&r, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t\"]}", "did_create");
    js_pub(&r, "t", "Nats-Incr: 1\r\n", "", "\"err_code\":10168");
    js_pub(&r, "t", "Nats-Incr: x\r\n", "", "\"err_code\":10171");
    js_rig_end(&r);
}

/* A deleted message's value is forgotten with it. */
TEST(deleted)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"1\"}");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"2\"}");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"3\"}");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.S", "{\"seq\":3}", "\"success\":true");
    js_pub(&r, "s.a", "Nats-Incr: 5\r\n", "", "\"seq\":4,\"val\":\"7\"}");
    js_ask(&r, "$JS.API.STREAM.PURGE.S", "{\"filter\":\"s.a\"}", "\"purged\":3");
    js_pub(&r, "s.a", "Nats-Incr: 5\r\n", "", "\"seq\":5,\"val\":\"5\"}");
    js_rig_end(&r);
}

/* Values go on where they were; those of a start come from the disk, and what is published
 * meanwhile keeps its order. Sums of what was acknowledged and of what was not may differ by the
 * latter only. */
TEST(after_a_restart)
{
    struct js_rig r;
    char subject[16], want[64];

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true,\"max_msgs_per_subject\":1");
    for (int k = 0; k < 200; k++) {
        snprintf(subject, sizeof(subject), "s.%d", k % 20);
        snprintf(want, sizeof(want), "\"val\":\"%d\"}", 3 * (k / 20 + 1));
        js_pub(&r, subject, "Nats-Incr: 3\r\n", "", want);
    }
    if (i % 2 == 0)
        js_rig_restart(&r);
    else
        js_rig_crash(&r);
    for (int k = 0; k < 40; k++) {
        snprintf(subject, sizeof(subject), "s.%d", k % 20);
        for (int n = 0; n < 3; n++) {
            char text[128];
            snprintf(text, sizeof(text), "HPUB %s 26 26\r\nNATS/1.0\r\nNats-Incr: 3\r\n\r\n\r\n",
                     subject);
            raw_send(&r.api, text);
        }
        snprintf(want, sizeof(want), "\"val\":\"%d\"}", 30 + 10 * (k / 20 + 1));
        js_pub(&r, subject, "Nats-Incr: 1\r\n", "", want);
    }
    js_stream_has(&r, "\"last_seq\":360,");
    js_rig_end(&r);
}

/* What is no counter does not become one by counting. */
TEST(limits)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true,\"max_msg_size\":40");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"1\"}");
    js_pub(&r, "s.a", "Nats-Incr: 999999999\r\n", "", "\"err_code\":10054");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"seq\":2,\"val\":\"2\"}");
    js_pub(&r, "s.b", "Nats-Incr: 1\r\nNats-Counter-Sources: x\r\n", "", "\"err_code\":10054");
    js_rig_end(&r);
}

/* Adds 2 to a subject, number seq of an atomic batch. */
static void batched(struct js_rig *r, const char *id, int seq, const char *subject,
                    const char *commit, const char *want)
{
    char lines[256];

    snprintf(lines, sizeof(lines),
             "Nats-Incr: 2\r\nNats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n%s", id, seq, commit);
    js_pub(r, subject, lines, "", want);
}

static void restart(struct js_rig *r, bool crash)
{
    if (crash)
        js_rig_crash(r);
    else
        js_rig_restart(r);
}

/* Increments of a batch see those before them, stored or not; a batch whose values have to be read
 * first is not taken twice. */
TEST(atomic_batches)
{
    struct js_rig r;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true,\"allow_atomic\":true");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"1\"}");
    js_pub(&r, "s.b", "Nats-Incr: 10\r\n", "", "\"val\":\"10\"}");
    restart(&r, i % 2 != 0);
    batched(&r, "one", 1, "s.a", "", "");
    batched(&r, "one", 2, "s.b", "", "");
    batched(&r, "one", 3, "s.c", "", "");
    batched(&r, "one", 4, "s.a", "Nats-Batch-Commit: 1\r\n",
            "{\"stream\":\"S\",\"seq\":6,\"batch\":\"one\",\"count\":4}");
    js_pub(&r, "s.a", "Nats-Incr: 0\r\n", "", "\"seq\":7,\"val\":\"5\"}");
    js_pub(&r, "s.b", "Nats-Incr: 0\r\n", "", "\"seq\":8,\"val\":\"12\"}");
    restart(&r, i % 2 != 0);
    batched(&r, "two", 1, "s.b", "", "");
    batched(&r, "two", 2, "s.b", "", "");
    batched(&r, "two", 3, "s.b", "Nats-Batch-Commit: eob\r\n",
            "{\"stream\":\"S\",\"seq\":10,\"batch\":\"two\",\"count\":2}");
    js_pub(&r, "s.b", "Nats-Incr: 0\r\n", "", "\"seq\":11,\"val\":\"16\"}");
    js_pub(&r, "s.a", "Nats-Batch-Id: x\r\nNats-Batch-Sequence: 1\r\nNats-Batch-Commit: 1\r\n", "",
           "\"err_code\":10169");
    js_rig_end(&r);
}

static void fast(struct js_rig *r, const char *subject, int seq, int op, const char *want)
{
    char text[256];
    struct raw_msg m;

    snprintf(text, sizeof(text),
             "HPUB %s in.q.1.fail.%d.%d.$FI 26 26\r\nNATS/1.0\r\nNats-Incr: 3\r\n\r\n\r\n", subject,
             seq, op);
    raw_send(&r->api, text);
    js_next(r, &m);
    ck_assert_str_eq(m.body, want);
    free(m.body);
}

/* As atomic_batches; what waits is answered once. */
TEST(fast_batches)
{
    struct js_rig r;
    struct raw_msg m;

    js_rig_start(&r, i / 2);
    js_stream(&r, "[\"s.*\"]", ",\"allow_msg_counter\":true,\"allow_batched\":true");
    js_pub(&r, "s.a", "Nats-Incr: 1\r\n", "", "\"val\":\"1\"}");
    js_pub(&r, "s.b", "Nats-Incr: 10\r\n", "", "\"val\":\"10\"}");
    restart(&r, i % 2 != 0);
    fast(&r, "s.a", 1, 0, "{\"type\":\"ack\",\"seq\":0,\"msgs\":1}");
    js_next(&r, &m);
    ck_assert_str_eq(m.body, "{\"type\":\"ack\",\"seq\":1,\"msgs\":1}");
    free(m.body);
    fast(&r, "s.b", 2, 1, "{\"type\":\"ack\",\"seq\":2,\"msgs\":1}");
    fast(&r, "s.a", 3, 2, "{\"stream\":\"S\",\"seq\":5,\"batch\":\"q\",\"count\":3}");
    js_pub(&r, "s.a", "Nats-Incr: 0\r\n", "", "\"seq\":6,\"val\":\"7\"}");
    js_pub(&r, "s.b", "Nats-Incr: 0\r\n", "", "\"seq\":7,\"val\":\"13\"}");
    js_silent(&r);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(configurations, 0, 3),  RUN_LOOP(counts, 0, 3), RUN_LOOP(deleted, 0, 3),
    RUN_LOOP(after_a_restart, 0, 6), RUN_LOOP(limits, 0, 3), RUN_LOOP(atomic_batches, 0, 4),
    RUN_LOOP(fast_batches, 0, 4),
};

RUNNER_MAIN("api/jetstream_counter", cases)
