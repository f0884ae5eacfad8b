/*
 * test_jetstream_batch.c - what the table of batches (tests/compat) can not ask: crashes, silence,
 * configured limits, and what is seen of a batch that is not committed.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void batch(struct js_rig *r, const char *id, int seq, const char *commit, const char *want)
{
    char lines[256];

    snprintf(lines, sizeof(lines), "Nats-Batch-Id: %s\r\nNats-Batch-Sequence: %d\r\n%s%s%s", id,
             seq, commit != NULL ? "Nats-Batch-Commit: " : "", commit != NULL ? commit : "",
             commit != NULL ? "\r\n" : "");
    js_pub(r, "s.a", lines, "x", want);
}

/* What was acknowledged is there after a crash, what was only staged is not. */
TEST(atomic_after_a_crash)
{
    struct js_rig r;
    char want[64];

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_atomic\":true");
    for (int k = 1; k <= 300; k++)
        batch(&r, "one", k, NULL, "");
    js_stream_has(&r, "\"messages\":0,");
    batch(&r, "one", 301, "eob", "{\"stream\":\"S\",\"seq\":300,\"batch\":\"one\",\"count\":300}");
    batch(&r, "two", 1, NULL, "");
    js_rig_crash(&r);
    js_stream_has(&r, "\"messages\":300,");
    batch(&r, "two", 2, "1", "\"err_code\":10176");
    batch(&r, "three", 1, "1", "{\"stream\":\"S\",\"seq\":301,\"batch\":\"three\",\"count\":1}");
    snprintf(want, sizeof(want), "\"messages\":%d,", 301);
    js_stream_has(&r, want);
    js_rig_end(&r);
}

static void hears_abandoned(struct js_rig *r, const char *id, const char *reason)
{
    struct raw_msg m;
    char want[128];

    js_next(r, &m);
    ck_assert_str_eq(m.subject, "$JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.S");
    ck_assert_msg(
        strstr(m.body, "\"type\":\"io.nats.jetstream.advisory.v1.stream_batch_abandoned\"") != NULL,
        "%s", m.body);
    snprintf(want, sizeof(want), "\"stream\":\"S\",\"batch\":\"%s\",\"reason\":\"%s\"}", id,
             reason);
    ck_assert_msg(strstr(m.body, want) != NULL, "wanted %s, got %s", want, m.body);
    free(m.body);
}

TEST(limits_and_advisories)
{
    struct js_rig r;

    js_rig_start_conf(&r, i,
                      "jetstream { limits { batch { max_inflight_per_stream: 2, max_msgs: 3, "
                      "timeout: 1s } } }\n");
    raw_send(&r.in, "SUB $JS.EVENT.ADVISORY.STREAM.BATCH_ABANDONED.> 2\r\n");
    raw_fence(&r.in);
    js_stream(&r, "[\"s.*\"]", ",\"allow_atomic\":true");
    batch(&r, "gap", 1, NULL, "");
    batch(&r, "gap", 3, NULL, "\"err_code\":10176");
    hears_abandoned(&r, "gap", "incomplete");
    for (int k = 1; k <= 3; k++)
        batch(&r, "large", k, NULL, "");
    batch(&r, "large", 4, NULL, "atomic publish batch is too large: 3");
    hears_abandoned(&r, "large", "large");
    js_pub(&r, "s.a",
           "Nats-Batch-Id: level\r\nNats-Batch-Sequence: 1\r\nNats-Required-Api-Level: 99\r\n", "x",
           "\"err_code\":10185");
    hears_abandoned(&r, "level", "unsupported");
    batch(&r, "a", 1, NULL, "");
    batch(&r, "b", 1, NULL, "");
    batch(&r, "c", 1, NULL, "\"err_code\":10210");
    hears_abandoned(&r, "a", "timeout");
    hears_abandoned(&r, "b", "timeout");
    batch(&r, "c", 1, "1", "\"count\":1}");
    js_rig_end(&r);
}

/* Consumers of an interest stream get their part of a batch; the rest does not stay. */
TEST(interest_takes_its_part)
{
    struct js_rig r;
    static const char *const subjects[] = {"s.a", "s.b", "s.a"};

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_atomic\":true,\"retention\":\"interest\"");
    js_consumer(&r, ",\"filter_subject\":\"s.b\",\"ack_policy\":\"explicit\"");
    for (int k = 1; k <= 3; k++) {
        char lines[128];
        snprintf(lines, sizeof(lines), "Nats-Batch-Id: x\r\nNats-Batch-Sequence: %d\r\n%s", k,
                 k == 3 ? "Nats-Batch-Commit: 1\r\n" : "");
        js_pub(&r, subjects[k - 1], lines, "x", k == 3 ? "\"seq\":3,\"batch\":\"x\"" : "");
    }
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":1,");
    js_pull(&r, "{\"batch\":1}");
    js_takes(&r, "s.b", 2, 1, "+ACK");
    js_await(&r, "$JS.API.STREAM.INFO.S", "", "\"messages\":0,");
    js_rig_end(&r);
}

/* ---- fast ingest ----------------------------------------------------------------------------- */

static void fast_pub(struct js_rig *r, int flow, int seq, int op)
{
    char text[128];

    snprintf(text, sizeof(text), "PUB s.a in.q.%d.fail.%d.%d.$FI 1\r\nx\r\n", flow, seq, op);
    raw_send(&r->api, text);
}

static void hears(struct js_rig *r, const char *want)
{
    struct raw_msg m;

    js_next(r, &m);
    ck_assert_str_eq(m.body, want);
    free(m.body);
}

/* An acknowledgement of a batch is worth as much as a PubAck. */
TEST(fast_after_a_crash)
{
    struct js_rig r;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_batched\":true");
    fast_pub(&r, 100, 1, 0);
    hears(&r, "{\"type\":\"ack\",\"seq\":0,\"msgs\":100}");
    for (int k = 2; k <= 250; k++)
        fast_pub(&r, 100, k, 1);
    hears(&r, "{\"type\":\"ack\",\"seq\":100,\"msgs\":100}");
    hears(&r, "{\"type\":\"ack\",\"seq\":200,\"msgs\":100}");
    js_rig_crash(&r);
    fast_pub(&r, 100, 251, 2);
    hears(&r, "{\"error\":{\"code\":400,\"err_code\":10208,\"description\":\"batch publish ID "
              "unknown\"},\"stream\":\"S\",\"seq\":0}");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":200}", "\"subject\":\"s.a\"");
    js_rig_end(&r);
}

/* All at once: as few answers as asked for, and the end. */
TEST(fast_in_one_write)
{
    struct js_rig r;
    char *text = malloc(1 << 20);
    size_t n = 0;

    js_rig_start(&r, i);
    js_stream(&r, "[\"s.*\"]", ",\"allow_batched\":true");
    for (int k = 1; k <= 5000; k++)
        n += (size_t) snprintf(text + n, 100, "PUB s.a in.q.60000.fail.%d.%d.$FI 1\r\nx\r\n", k,
                               k == 1      ? 0
                               : k == 5000 ? 2
                                           : 1);
    raw_send(&r.api, text);
    hears(&r, "{\"type\":\"ack\",\"seq\":0,\"msgs\":500}");
    for (int k = 500; k < 5000; k += 500) {
        char want[64];
        snprintf(want, sizeof(want), "{\"type\":\"ack\",\"seq\":%d,\"msgs\":500}", k);
        hears(&r, want);
    }
    hears(&r, "{\"stream\":\"S\",\"seq\":5000,\"batch\":\"q\",\"count\":5000}");
    js_silent(&r);
    free(text);
    js_rig_end(&r);
}

/* A batch that ends makes room for the next. */
TEST(fast_limits)
{
    struct js_rig r;

    js_rig_start_conf(&r, i, "jetstream { limits { batch { max_inflight_per_stream: 1 } } }\n");
    js_stream(&r, "[\"s.*\"]", ",\"allow_batched\":true");
    raw_send(&r.api, "PUB s.a in.p.10.fail.1.0.$FI 1\r\nx\r\n");
    hears(&r, "{\"type\":\"ack\",\"seq\":0,\"msgs\":10}");
    fast_pub(&r, 10, 1, 0);
    hears(&r, "{\"error\":{\"code\":429,\"err_code\":10211,\"description\":\"batch publish too "
              "many inflight\"},\"stream\":\"S\",\"seq\":0}");
    raw_send(&r.api, "PUB s.a in.p.10.fail.2.2.$FI 1\r\nx\r\n");
    hears(&r, "{\"stream\":\"S\",\"seq\":2,\"batch\":\"p\",\"count\":2}");
    fast_pub(&r, 10, 1, 0);
    hears(&r, "{\"type\":\"ack\",\"seq\":0,\"msgs\":10}");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(atomic_after_a_crash, 0, 2),    RUN_LOOP(limits_and_advisories, 0, 2),
    RUN_LOOP(interest_takes_its_part, 0, 2), RUN_LOOP(fast_after_a_crash, 0, 2),
    RUN_LOOP(fast_in_one_write, 0, 3),       RUN_LOOP(fast_limits, 0, 2),
};

RUNNER_MAIN("api/jetstream_batch", cases)
