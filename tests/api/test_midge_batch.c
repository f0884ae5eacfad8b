/* test_midge_batch.c - batches of libmidge over the real server. */
#include "client/midge_batch.h"
#include "tests/api/midge_rig.h"

#include <stdio.h>
#include <string.h>

static struct midge_text text(const char *s)
{
    return midge_text_of(s);
}

static void stream(struct midge *m, bool allowed)
{
    OK(m, midge_stream_create(m,
                              &(struct midge_stream_config){.name = "S",
                                                            .subjects = MIDGE_TEXTS("s.*"),
                                                            .allow_direct = true,
                                                            .allow_atomic = allowed,
                                                            .allow_batched = allowed},
                              NULL));
}

static uint64_t messages(struct midge *m)
{
    struct midge_stream_info info;
    uint64_t n;

    OK(m, midge_stream_info(m, "S", &info));
    n = info.messages;
    midge_stream_info_free(&info);
    return n;
}

static struct midge_msg message(void)
{
    return (struct midge_msg){.subject = MIDGE_TEXT("s.a"), .payload = MIDGE_TEXT("x")};
}

/* ---- atomic ---------------------------------------------------------------------------------- */

TEST(atomic)
{
    struct midge_rig r;
    struct midge_msg msg = message();
    struct midge_headers h = {0};
    struct midge_batch *b;
    struct midge_puback ack;

    midge_rig_start(&r, i);
    stream(r.m, true);
    b = midge_batch_open(r.m, NULL);
    FAILS(r.m, MIDGE_INVALID, midge_batch_commit(b, NULL, NULL));
    for (int n = 0; n < 250; n++)
        OK(r.m, midge_batch_add(b, &msg));
    ck_assert_uint_eq(messages(r.m), 0);
    OK(r.m, midge_batch_commit(b, NULL, &ack));
    ck_assert_uint_eq(ack.batch_size, 250);
    ck_assert_uint_eq(ack.seq, 250);
    ck_assert_uint_eq(strlen(ack.batch), 22);
    FAILS(r.m, MIDGE_INVALID, midge_batch_add(b, &msg));
    midge_batch_close(b);
    b = midge_batch_open(r.m, "mine");
    OK(r.m, midge_batch_commit(b, &msg, &ack));
    ck_assert_str_eq(ack.batch, "mine");
    midge_batch_close(b);
    /* One expectation that does not hold refuses all. */
    b = midge_batch_open(r.m, NULL);
    OK(r.m, midge_batch_add(b, &msg));
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.expect_stream = "OTHER"}));
    msg.header = midge_headers_text(&h);
    FAILS(r.m, MIDGE_REFUSED, midge_batch_commit(b, &msg, &ack));
    ck_assert_uint_eq(midge_error_code(r.m), 10060);
    midge_batch_close(b);
    midge_headers_free(&h);
    ck_assert_uint_eq(messages(r.m), 251);
    midge_rig_end(&r);
}

TEST(not_allowed)
{
    struct midge_rig r;
    struct midge_msg msg = message();
    struct midge_batch *b;
    struct midge_ingest *f;
    char id[66];

    midge_rig_start(&r, i);
    stream(r.m, false);
    b = midge_batch_open(r.m, NULL);
    FAILS(r.m, MIDGE_REFUSED, midge_batch_add(b, &msg));
    ck_assert_uint_eq(midge_error_code(r.m), 10174);
    FAILS(r.m, MIDGE_REFUSED, midge_batch_commit(b, &msg, NULL));
    midge_batch_close(b);
    memset(id, 'x', 65);
    id[65] = '\0';
    b = midge_batch_open(r.m, id);
    FAILS(r.m, MIDGE_INVALID, midge_batch_add(b, &msg));
    midge_batch_close(b);
    f = midge_ingest_open(r.m, NULL, NULL);
    FAILS(r.m, MIDGE_INVALID, midge_ingest_commit(f, NULL));
    OK(r.m, midge_ingest_add(f, msg.subject, msg.header, msg.payload));
    FAILS(r.m, MIDGE_REFUSED, midge_ingest_commit(f, NULL));
    ck_assert_uint_eq(midge_error_code(r.m), 10205);
    midge_ingest_close(f);
    midge_rig_end(&r);
}

/* More messages than the server takes: the commit says so, and nothing is stored. */
TEST(too_large)
{
    struct midge_rig r;
    struct midge_msg msg = message();
    struct midge_batch *b;
    int rc = MIDGE_OK;

    midge_rig_start(&r, i);
    stream(r.m, true);
    b = midge_batch_open(r.m, NULL);
    for (int n = 0; n < 1101 && rc == MIDGE_OK; n++)
        rc = midge_batch_add(b, &msg);
    if (rc == MIDGE_OK)
        rc = midge_batch_commit(b, NULL, NULL);
    ck_assert_int_eq(rc, MIDGE_REFUSED);
    ck_assert_uint_eq(messages(r.m), 0);
    midge_batch_close(b);
    midge_rig_end(&r);
}

/* ---- fast ------------------------------------------------------------------------------------ */

static void add(struct midge *m, struct midge_ingest *f, const char *subject)
{
    int rc;

    while ((rc = midge_ingest_add(f, text(subject), text(""), text("payload"))) == MIDGE_FULL)
        OK(m, midge_poll(m, 100000000));
    OK(m, rc);
}

TEST(fast)
{
    struct midge_rig r;
    struct midge_ingest *f;
    struct midge_puback ack;

    midge_rig_start(&r, i);
    stream(r.m, true);
    f = midge_ingest_open(r.m, &(struct midge_ingest_options){.flow = 100, .window = 1000}, NULL);
    for (int n = 0; n < 20000; n++)
        add(r.m, f, "s.a");
    ck_assert_uint_ge(midge_ingest_acked(f), 18000);
    OK(r.m, midge_ingest_commit(f, &ack));
    ck_assert_uint_eq(ack.batch_size, 20000);
    ck_assert_uint_eq(midge_ingest_acked(f), 20000);
    FAILS(r.m, MIDGE_INVALID, midge_ingest_add(f, text("s.a"), text(""), text("")));
    midge_ingest_close(f);
    ck_assert_uint_eq(messages(r.m), 20000);
    midge_rig_end(&r);
}

struct seen {
    unsigned refused;
    uint64_t number;
};

static void see_refused(void *ctx, uint64_t number, const char *why)
{
    struct seen *k = ctx;

    ck_assert_str_eq(why, "expected stream does not match");
    k->refused++;
    k->number = number;
}

/* With gaps allowed a refused message is named and the rest goes on. */
TEST(fast_with_a_refusal)
{
    struct midge_rig r;
    struct seen k = {0};
    struct midge_headers h = {0};
    struct midge_ingest *f;
    struct midge_puback ack;

    midge_rig_start(&r, i);
    stream(r.m, true);
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.expect_stream = "OTHER"}));
    f = midge_ingest_open(
        r.m, &(struct midge_ingest_options){.gaps_ok = true, .on_refused = see_refused}, &k);
    add(r.m, f, "s.a");
    OK(r.m, midge_ingest_add(f, text("s.a"), midge_headers_text(&h), text("x")));
    add(r.m, f, "s.a");
    OK(r.m, midge_ingest_commit(f, &ack));
    ck_assert_uint_eq(k.refused, 1);
    ck_assert_uint_eq(k.number, 2);
    ck_assert_uint_eq(messages(r.m), 2);
    midge_ingest_close(f);
    midge_headers_free(&h);
    midge_rig_end(&r);
}

/* What was acknowledged is there after a SIGKILL; the batch ends as lost. */
TEST(fast_after_a_crash)
{
    struct midge_rig r;
    struct midge_ingest *f;

    midge_rig_start(&r, i);
    stream(r.m, true);
    f = midge_ingest_open(r.m, &(struct midge_ingest_options){.flow = 50, .window = 500}, NULL);
    for (int n = 0; n < 5000; n++)
        add(r.m, f, "s.a");
    midge_rig_crash(&r);
    midge_rig_until(r.m, &r.back, 1);
    FAILS(r.m, MIDGE_LOST, midge_ingest_add(f, text("s.a"), text(""), text("")));
    FAILS(r.m, MIDGE_LOST, midge_ingest_commit(f, NULL));
    ck_assert_uint_ge(midge_ingest_acked(f), 4500);
    ck_assert_uint_ge(messages(r.m), midge_ingest_acked(f));
    midge_ingest_close(f);
    midge_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(atomic, 0, 2), RUN_LOOP(not_allowed, 0, 2),         RUN_LOOP(too_large, 0, 2),
    RUN_LOOP(fast, 0, 2),   RUN_LOOP(fast_with_a_refusal, 0, 2), RUN_LOOP(fast_after_a_crash, 0, 2),
};

RUNNER_MAIN("api/midge_batch", cases)
