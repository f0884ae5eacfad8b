/*
 * test_sigkill.c - ten times: publish as fast as it goes, kill the server with SIGKILL in the
 * middle, start it again on the same directory; every message whose PubAck had arrived is there,
 * with its sequence and its bytes.
 */
#include "client/midge_js.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 10
#define PER_ROUND 20000u

struct record {
    uint32_t count;
    uint64_t number_of[ROUNDS * PER_ROUND + 1]; /* by sequence: 1 + what was published, 0 = nothing
                                                   acknowledged */
    uint64_t highest;
};

static struct record record;
static uint64_t first_number;

static void on_ack(void *ctx, const struct midge_ack *ack)
{
    struct record *r = ctx;

    if (ack->error != NULL)
        return;
    ck_assert_uint_le(ack->stream_seq, ROUNDS * PER_ROUND);
    ck_assert_uint_gt(ack->stream_seq, r->highest);
    r->number_of[ack->stream_seq] = 1 + first_number + ack->number;
    r->highest = ack->stream_seq;
    r->count++;
}

static struct midge *dial(const struct server_process *s)
{
    struct midge_options o;
    char err[256];
    struct midge *m;

    midge_options_init(&o);
    o.port = s->port;
    m = midge_connect(&o, err);
    ck_assert_msg(m != NULL, "%s", err);
    return m;
}

static size_t body(uint64_t number, char out[64])
{
    return (size_t) snprintf(out, 64, "message %llu %llx", (unsigned long long) number,
                             (unsigned long long) (number * 0x9e3779b97f4a7c15u));
}

/* Publishes until `until` are acknowledged in this round, then kills. */
static void publish_and_kill(struct server_process *s, uint32_t until)
{
    struct midge *m = dial(s);
    struct midge_publisher *p = midge_publisher_open(m, 1024, on_ack, &record);
    uint32_t before = record.count;
    uint64_t sent = 0;
    char text[64];

    while (record.count - before < until && sent < PER_ROUND) {
        size_t n = body(first_number + sent, text);
        if (midge_publisher_send(p, (struct midge_text) MIDGE_TEXT("k.a"),
                                 (struct midge_text){NULL, 0}, (struct midge_text){text, n},
                                 NULL) == MIDGE_OK)
            sent++;
        else
            ck_assert_int_eq(midge_poll(m, 100000000), MIDGE_OK);
    }
    server_process_kill(s);
    /* What the kernel still holds for us arrived before the kill and counts. */
    while (midge_poll(m, 100000000) == MIDGE_OK)
        ;
    midge_publisher_close(p);
    midge_close(m);
    first_number += PER_ROUND;
}

struct check {
    uint64_t next;
    uint64_t seen;
};

static void on_delivery(void *ctx, const struct midge_delivery *d)
{
    struct check *c = ctx;
    char text[64];

    ck_assert_uint_eq(d->stream_seq, c->next);
    c->next++;
    if (d->stream_seq <= record.highest && record.number_of[d->stream_seq] != 0) {
        size_t n = body(record.number_of[d->stream_seq] - 1, text);
        ck_assert_uint_eq(d->msg.payload.n, n);
        ck_assert_int_eq(memcmp(d->msg.payload.p, text, n), 0);
        c->seen++;
    }
}

static void verify(struct server_process *s, int round)
{
    struct midge *m = dial(s);
    struct check c = {.next = 1};
    char subject[64], json[256], here[32];
    struct midge_push *push;

    /* A deliver subject of its own: the consumer of the round before still lives for a few seconds.
     */
    snprintf(here, sizeof(here), "check.here.%d", round);
    push = midge_push_open(m, (struct midge_text){here, strlen(here)}, (struct midge_text){NULL, 0},
                           on_delivery, &c);
    ck_assert_int_eq(midge_flush(m, 10000), MIDGE_OK);
    snprintf(subject, sizeof(subject), "CONSUMER.CREATE.K.check%d", round);
    snprintf(json, sizeof(json),
             "{\"stream_name\":\"K\",\"config\":{\"name\":\"check%d\",\"deliver_subject\":\"%s\","
             "\"ack_policy\":\"none\"}}",
             round, here);
    ck_assert_msg(midge_js_api(m, subject, json, 10000, NULL) == MIDGE_OK, "%s", midge_error(m));
    while (c.seen < record.count)
        ck_assert_msg(midge_poll(m, 10000000000u) == MIDGE_OK, "%s", midge_error(m));
    midge_push_close(push);
    midge_close(m);
}

TEST(acknowledged_messages_survive_ten_kills)
{
    struct server_process s;
    struct midge *m;

    server_process_init(&s);
    server_process_start(&s);
    m = dial(&s);
    ck_assert_int_eq(
        midge_js_api(m, "STREAM.CREATE.K", "{\"name\":\"K\",\"subjects\":[\"k.>\"]}", 10000, NULL),
        MIDGE_OK);
    midge_close(m);
    for (int round = 0; round < ROUNDS; round++) {
        publish_and_kill(&s, (uint32_t) (round * 997 + 100));
        server_process_start(&s);
        verify(&s, round);
    }
    ck_assert_uint_gt(record.count, ROUNDS * 100);
    server_process_stop(&s);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_SLOW(acknowledged_messages_survive_ten_kills, 180),
};

RUNNER_MAIN("crash/sigkill", cases)
