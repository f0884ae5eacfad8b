/*
 * test_midge_js.c - libmidge over the real server: managing streams and consumers, publishing,
 * reading, and what becomes of all that when the server is killed.
 */
#include "tests/api/midge_rig.h"

#include <stdio.h>
#include <string.h>

static struct midge_text text(const char *s)
{
    return midge_text_of(s);
}

static void publish(struct midge *m, const char *subject, const char *payload)
{
    OK(m, midge_js_publish(
              m, &(struct midge_msg){.subject = text(subject), .payload = text(payload)}, NULL));
}

static void make_stream(struct midge *m, const char *name, const char *subject)
{
    OK(m, midge_stream_create(m,
                              &(struct midge_stream_config){.name = name,
                                                            .subjects = MIDGE_TEXTS(subject),
                                                            .allow_direct = true,
                                                            .allow_rollup_hdrs = true,
                                                            .allow_msg_ttl = true},
                              NULL));
}

/* ---- management ------------------------------------------------------------------------------ */

TEST(streams)
{
    struct midge_rig r;
    struct midge_stream_config c = {.name = "ORDERS",
                                    .description = "all \"orders\"",
                                    .subjects = MIDGE_TEXTS("orders.>", "returns.*"),
                                    .retention = MIDGE_WORKQUEUE,
                                    .max_msgs = 1000,
                                    .max_age = 3600000000000,
                                    .discard = MIDGE_DISCARD_NEW,
                                    .compression = MIDGE_S2,
                                    .metadata = "{\"team\":\"blue\"}"};
    struct midge_stream_info info;
    uint64_t purged = 0;

    midge_rig_start(&r, i);
    OK(r.m, midge_stream_create(r.m, &c, &info));
    ck_assert_str_eq(info.config.name, "ORDERS");
    ck_assert_str_eq(info.config.description, "all \"orders\"");
    ck_assert_uint_eq(info.config.subjects.n, 2);
    ck_assert_str_eq(info.config.subjects.items[1], "returns.*");
    ck_assert_int_eq(info.config.retention, MIDGE_WORKQUEUE);
    ck_assert_int_eq(info.config.compression, MIDGE_S2);
    ck_assert_int_eq(info.config.max_msgs, 1000);
    ck_assert_ptr_nonnull(strstr(info.config.metadata, "\"team\":\"blue\""));
    ck_assert_int_gt(info.created, 0);
    midge_stream_info_free(&info);
    OK(r.m, midge_stream_create(r.m, &c, NULL));
    c.max_msgs = 2;
    FAILS(r.m, MIDGE_REFUSED, midge_stream_create(r.m, &c, NULL));
    ck_assert_uint_eq(midge_error_code(r.m), 10058);
    OK(r.m, midge_stream_update(r.m, &c, &info));
    ck_assert_int_eq(info.config.max_msgs, 2);
    midge_stream_info_free(&info);
    for (int k = 0; k < 2; k++)
        publish(r.m, "orders.a", "x");
    FAILS(r.m, MIDGE_REFUSED,
          midge_js_publish(r.m, &(struct midge_msg){.subject = text("orders.a")}, NULL));
    ck_assert_uint_eq(midge_error_code(r.m), 10077);
    OK(r.m, midge_stream_info(r.m, "ORDERS", &info));
    ck_assert_uint_eq(info.messages, 2);
    ck_assert_uint_eq(info.last_seq, 2);
    ck_assert_int_ge(info.last_time, info.first_time);
    midge_stream_info_free(&info);
    OK(r.m, midge_stream_purge(r.m, "ORDERS", &(struct midge_purge){.keep = 1}, &purged));
    ck_assert_uint_eq(purged, 1);
    OK(r.m, midge_stream_delete(r.m, "ORDERS"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_stream_info(r.m, "ORDERS", &info));
    ck_assert_uint_eq(midge_error_code(r.m), 10059);
    ck_assert_str_eq(midge_error(r.m), "stream not found");
    midge_rig_end(&r);
}

static void count_name(void *ctx, const char *name)
{
    ck_assert_int_eq(name[0], 'S');
    ++*(unsigned *) ctx;
}

static void count_stream(void *ctx, const struct midge_stream_info *info)
{
    ck_assert_uint_eq(info->config.subjects.n, 1);
    ++*(unsigned *) ctx;
}

static void sum_subject(void *ctx, const char *subject, uint64_t messages)
{
    ck_assert_int_eq(strncmp(subject, "s7.", 3), 0);
    *(uint64_t *) ctx += messages;
}

/* More streams than one page of the list has. */
TEST(lists_have_pages)
{
    struct midge_rig r;
    struct midge_account_info account;
    unsigned names = 0, streams = 0, filtered = 0;
    uint64_t messages = 0;
    char name[16], subject[16];

    midge_rig_start(&r, i);
    for (int k = 0; k < 300; k++) {
        snprintf(name, sizeof(name), "S%d", k);
        snprintf(subject, sizeof(subject), "s%d.*", k);
        OK(r.m, midge_stream_create(r.m,
                                    &(struct midge_stream_config){.name = name,
                                                                  .storage = MIDGE_MEMORY,
                                                                  .subjects = MIDGE_TEXTS(subject)},
                                    NULL));
    }
    OK(r.m, midge_stream_names(r.m, NULL, count_name, &names));
    OK(r.m, midge_stream_list(r.m, NULL, count_stream, &streams));
    OK(r.m, midge_stream_list(r.m, "s7.*", count_stream, &filtered));
    ck_assert_uint_eq(names, 300);
    ck_assert_uint_eq(streams, 300);
    ck_assert_uint_eq(filtered, 1);
    publish(r.m, "s7.a", "x");
    publish(r.m, "s7.b", "x");
    publish(r.m, "s7.b", "x");
    OK(r.m, midge_stream_subjects(r.m, "S7", NULL, sum_subject, &messages));
    ck_assert_uint_eq(messages, 3);
    OK(r.m, midge_account_info(r.m, &account));
    ck_assert_uint_eq(account.streams, 300);
    ck_assert_uint_ge(account.api_total, 300);
    midge_rig_end(&r);
}

static void count_consumer(void *ctx, const struct midge_consumer_info *info)
{
    ck_assert_str_eq(info->stream, "S");
    ++*(unsigned *) ctx;
}

static void any_name(void *ctx, const char *name)
{
    ck_assert_uint_gt(strlen(name), 0);
    ++*(unsigned *) ctx;
}

TEST(consumers)
{
    struct midge_rig r;
    struct midge_consumer_config c = {
        .durable_name = "C",
        .filter_subjects = MIDGE_TEXTS("s.a", "s.b"),
        .ack_wait = 5000000000,
        .backoff = {(const int64_t[]){1000000000, 2000000000}, 2},
        .max_deliver = 5,
    };
    struct midge_consumer_info info;
    unsigned n = 0;

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    publish(r.m, "s.a", "1");
    publish(r.m, "s.c", "2");
    OK(r.m, midge_consumer_create(r.m, "S", &c, &info));
    ck_assert_str_eq(info.name, "C");
    ck_assert_uint_eq(info.num_pending, 1);
    ck_assert_int_eq(info.config.ack_policy, MIDGE_ACK_EXPLICIT);
    ck_assert_uint_eq(info.config.backoff.n, 2);
    ck_assert_int_eq(info.config.backoff.items[1], 2000000000);
    midge_consumer_info_free(&info);
    c.max_deliver = 6;
    FAILS(r.m, MIDGE_REFUSED, midge_consumer_create(r.m, "S", &c, NULL));
    ck_assert_uint_eq(midge_error_code(r.m), 10148);
    OK(r.m, midge_consumer_update(r.m, "S", &c, NULL));
    OK(r.m, midge_consumer_create(r.m, "S", &(struct midge_consumer_config){0}, &info));
    ck_assert_uint_eq(strlen(info.name), 22);
    midge_consumer_info_free(&info);
    OK(r.m, midge_consumer_list(r.m, "S", count_consumer, &n));
    OK(r.m, midge_consumer_names(r.m, "S", any_name, &n));
    ck_assert_uint_eq(n, 4);
    OK(r.m, midge_consumer_pause(r.m, "S", "C", 4000000000000000000));
    OK(r.m, midge_consumer_info(r.m, "S", "C", &info));
    ck_assert(info.paused);
    midge_consumer_info_free(&info);
    OK(r.m, midge_consumer_pause(r.m, "S", "C", 0));
    OK(r.m, midge_consumer_reset(r.m, "S", "C", 0));
    OK(r.m, midge_consumer_delete(r.m, "S", "C"));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_consumer_info(r.m, "S", "C", &info));
    FAILS(r.m, MIDGE_INVALID, midge_consumer_info(r.m, "S", "a.b", &info));
    FAILS(r.m, MIDGE_INVALID, midge_stream_delete(r.m, ""));
    midge_rig_end(&r);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct seen {
    struct midge *m;
    unsigned n, calls;
    uint64_t last;
    char payloads[4000];
    bool acks;
};

static void see(void *ctx, const struct midge_stored *s)
{
    struct seen *k = ctx;
    size_t n = strlen(k->payloads);

    k->n++;
    k->last = s->seq;
    ck_assert_int_gt(s->time_ns, 0);
    snprintf(k->payloads + n, sizeof(k->payloads) - n, "%.*s=%.*s ", (int) s->subject.n,
             s->subject.p, (int) s->payload.n, s->payload.p);
}

TEST(gets)
{
    struct midge_rig r;
    struct seen k = {0}, none = {0}, some = {0}, each = {0}, api = {0};

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    for (int n = 0; n < 5; n++) {
        publish(r.m, "s.a", "1");
        publish(r.m, "s.b", "2");
    }
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.seq = 3}, see, &k));
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.last_of = "s.b"}, see, &k));
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.seq = 4, .next_of = "s.a"}, see, &k));
    ck_assert_str_eq(k.payloads, "s.a=1 s.b=2 s.a=1 ");
    ck_assert_uint_eq(k.last, 5);
    FAILS(r.m, MIDGE_NOT_FOUND,
          midge_get(r.m, "S", &(struct midge_get){.last_of = "s.x"}, see, &none));
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.seq = 1, .next_of = "s.a", .batch = 4}, see,
                      &some));
    ck_assert_uint_eq(some.n, 4);
    ck_assert_uint_eq(some.last, 7);
    OK(r.m,
       midge_get(r.m, "S", &(struct midge_get){.last_of_each = MIDGE_TEXTS("s.a", "s.b", "s.x")},
                 see, &each));
    ck_assert_str_eq(each.payloads, "s.a=1 s.b=2 ");
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.next_of = "x.y", .seq = 1, .batch = 4}, see,
                      &none));
    ck_assert_uint_eq(none.n, 0);
    OK(r.m, midge_msg_get(r.m, "S", &(struct midge_get){.seq = 2}, see, &api));
    ck_assert_str_eq(api.payloads, "s.b=2 ");
    OK(r.m, midge_msg_delete(r.m, "S", 2, false));
    FAILS(r.m, MIDGE_NOT_FOUND, midge_msg_get(r.m, "S", &(struct midge_get){.seq = 2}, see, &api));
    FAILS(r.m, MIDGE_NO_RESPONDERS, midge_get(r.m, "NONE", &(struct midge_get){.seq = 1}, see, &k));
    midge_rig_end(&r);
}

TEST(publishes_ask_for_what_they_want)
{
    struct midge_rig r;
    struct midge_headers h = {0};
    struct midge_puback ack;
    struct seen k = {0};

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.msg_id = "one",
                                                                      .expect_stream = "S",
                                                                      .expect_last = true,
                                                                      .ttl = 3600000000000}));
    struct midge_msg msg = {.subject = MIDGE_TEXT("s.a"), .header = midge_headers_text(&h)};
    OK(r.m, midge_js_publish(r.m, &msg, &ack));
    ck_assert_str_eq(ack.stream, "S");
    ck_assert_uint_eq(ack.seq, 1);
    FAILS(r.m, MIDGE_CONFLICT, midge_js_publish(r.m, &msg, &ack));
    ck_assert_uint_eq(midge_error_code(r.m), 10071);
    midge_headers_free(&h);
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.msg_id = "one"}));
    msg.header = midge_headers_text(&h);
    OK(r.m, midge_js_publish(r.m, &msg, &ack));
    ck_assert(ack.duplicate);
    ck_assert_uint_eq(ack.seq, 1);
    midge_headers_free(&h);
    OK(r.m, midge_get(r.m, "S", &(struct midge_get){.seq = 1}, see, &k));
    FAILS(r.m, MIDGE_NO_RESPONDERS,
          midge_js_publish(r.m, &(struct midge_msg){.subject = text("nobody.here")}, NULL));
    ck_assert_int_eq(midge_headers_add(&h, "a: b", text("x")), MIDGE_INVALID);
    ck_assert_int_eq(midge_headers_add(&h, "a", text("x\r\ny")), MIDGE_INVALID);
    midge_rig_end(&r);
}

TEST(headers_of_a_schedule)
{
    struct midge_headers h = {0};
    struct midge_text t;

    ck_assert_int_eq(
        midge_headers_publish(&h, &(struct midge_publish_options){.schedule = "@every 1s",
                                                                  .schedule_target = "s.out",
                                                                  .schedule_ttl = 60000000000,
                                                                  .schedule_rollup = true,
                                                                  .ttl = -1}),
        MIDGE_OK);
    t = midge_headers_text(&h);
    ck_assert_int_eq(strncmp(t.p,
                             "NATS/1.0\r\nNats-TTL: never\r\nNats-Schedule: @every 1s\r\n"
                             "Nats-Schedule-Target: s.out\r\nNats-Schedule-TTL: 60\r\n"
                             "Nats-Schedule-Rollup: sub\r\n\r\n",
                             t.n),
                     0);
    midge_headers_free(&h);
}

TEST(schedules_and_counters)
{
    struct midge_rig r;
    struct midge_headers h = {0};
    struct midge_puback ack;
    struct midge_stream_info info = {0};

    midge_rig_start(&r, i);
    OK(r.m, midge_stream_create(r.m,
                                &(struct midge_stream_config){.name = "S",
                                                              .subjects = MIDGE_TEXTS("s.>"),
                                                              .allow_msg_schedules = true,
                                                              .allow_rollup_hdrs = true},
                                NULL));
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.schedule = "@every 1s",
                                                                      .schedule_target = "s.out"}));
    OK(r.m, midge_js_publish(r.m,
                             &(struct midge_msg){.subject = text("s.schedule"),
                                                 .header = midge_headers_text(&h),
                                                 .payload = text("tick")},
                             NULL));
    midge_headers_free(&h);
    while (info.last_seq < 3) {
        midge_stream_info_free(&info);
        OK(r.m, midge_stream_info(r.m, "S", &info));
        midge_poll(r.m, 20000000);
    }
    midge_stream_info_free(&info);
    OK(r.m, midge_stream_create(r.m,
                                &(struct midge_stream_config){.name = "N",
                                                              .subjects = MIDGE_TEXTS("n.>"),
                                                              .allow_direct = true,
                                                              .allow_msg_counter = true},
                                NULL));
    OK(r.m, midge_headers_publish(&h, &(struct midge_publish_options){.increment = "+5"}));
    for (int k = 0; k < 2; k++)
        OK(r.m,
           midge_js_publish(
               r.m, &(struct midge_msg){.subject = text("n.a"), .header = midge_headers_text(&h)},
               &ack));
    ck_assert_str_eq(ack.value, "10");
    midge_headers_free(&h);
    midge_rig_end(&r);
}

/* ---- consuming ------------------------------------------------------------------------------- */

static void take(void *ctx, const struct midge_delivery *d)
{
    struct seen *k = ctx;

    ck_assert_msg(d->stream_seq == k->last + 1 || k->acks, "%llu behind %llu",
                  (unsigned long long) d->stream_seq, (unsigned long long) k->last);
    k->last = d->stream_seq;
    k->n++;
    if (k->acks)
        midge_ack(k->m, d->msg.reply);
}

TEST(fetches)
{
    struct midge_rig r;
    struct seen k = {0};
    unsigned got = 0;

    midge_rig_start(&r, i);
    k.m = r.m;
    k.acks = true;
    make_stream(r.m, "S", "s.*");
    for (int n = 0; n < 7; n++)
        publish(r.m, "s.a", "x");
    OK(r.m,
       midge_consumer_create(r.m, "S", &(struct midge_consumer_config){.durable_name = "C"}, NULL));
    OK(r.m,
       midge_fetch(r.m, "S", "C", &(struct midge_pull_options){.batch = 5, .heartbeat_ms = 1000},
                   take, &k, &got));
    ck_assert_uint_eq(got, 5);
    OK(r.m, midge_fetch(r.m, "S", "C", &(struct midge_pull_options){.batch = 5, .no_wait = true},
                        take, &k, &got));
    ck_assert_uint_eq(got, 2);
    OK(r.m, midge_fetch(r.m, "S", "C", &(struct midge_pull_options){.batch = 5, .expires_ms = 100},
                        take, &k, &got));
    ck_assert_uint_eq(got, 0);
    ck_assert_uint_eq(k.n, 7);
    FAILS(r.m, MIDGE_NOT_FOUND,
          midge_fetch(r.m, "S", "D", &(struct midge_pull_options){.batch = 5}, take, &k, &got));
    midge_rig_end(&r);
}

/* A call that waits has no place in a callback, and says so instead of hanging. */
static void waits(void *ctx, const struct midge_msg *msg)
{
    struct seen *k = ctx;

    (void) msg;
    ck_assert_int_eq(midge_flush(k->m, 1000), MIDGE_INVALID);
    ck_assert_int_eq(midge_stream_delete(k->m, "S"), MIDGE_INVALID);
    ck_assert_int_eq(midge_poll(k->m, 0), MIDGE_INVALID);
    k->n++;
}

TEST(waiting_inside_of_a_callback_is_refused)
{
    struct midge_rig r;
    struct seen k = {0};

    midge_rig_start(&r, i);
    k.m = r.m;
    midge_subscribe(r.m, text("a"), text(""), waits, &k);
    midge_publish(r.m, &(struct midge_msg){.subject = text("a")});
    OK(r.m, midge_flush(r.m, 10000));
    ck_assert_uint_eq(k.n, 1);
    midge_rig_end(&r);
}

/* ---- the server goes away -------------------------------------------------------------------- */

static void count_acks(void *ctx, const struct midge_ack *ack)
{
    struct seen *k = ctx;

    k->calls++;
    if (ack->rc == MIDGE_OK)
        k->n++;
    else
        ck_assert_int_eq(ack->rc, MIDGE_LOST);
}

static void hear(void *ctx, const struct midge_msg *msg)
{
    (void) msg;
    ++*(unsigned *) ctx;
}

/* Subscriptions, the publisher, a pull and an ordered consumer go on after a SIGKILL. */
TEST(all_goes_on_after_a_crash)
{
    struct midge_rig r;
    struct seen pulled = {.acks = true}, ordered = {0}, acks = {0};
    struct midge_publisher *p;
    struct midge_pull *pull;
    struct midge_ordered *o;
    unsigned heard = 0;

    midge_rig_start(&r, i);
    pulled.m = r.m;
    make_stream(r.m, "S", "s.*");
    OK(r.m,
       midge_consumer_create(r.m, "S", &(struct midge_consumer_config){.durable_name = "C"}, NULL));
    midge_subscribe(r.m, text("hello"), text(""), hear, &heard);
    p = midge_publisher_open(r.m, 64, count_acks, &acks);
    pull = midge_pull_open(r.m, "S", "C", 100, take, &pulled);
    o = midge_ordered_open(r.m, "S", NULL, take, &ordered);
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned sent = 0; sent < 200;) {
            if (midge_publisher_send(p, text("s.a"), text(""), text("x"), NULL) == MIDGE_OK)
                sent++;
            else
                ck_assert_int_eq(midge_poll(r.m, 100000000), MIDGE_OK);
        }
        OK(r.m, midge_publisher_wait(p, 20000));
        ck_assert_uint_eq(acks.calls, 200 * round);
        midge_rig_until(r.m, &pulled.n, acks.n);
        midge_rig_until(r.m, &ordered.n, acks.n);
        midge_rig_crash(&r);
        midge_rig_until(r.m, &r.back, round);
        midge_publish(r.m, &(struct midge_msg){.subject = text("hello")});
        midge_rig_until(r.m, &heard, round);
    }
    ck_assert_uint_eq(acks.n, 600);
    ck_assert_ptr_null(midge_pull_error(pull));
    ck_assert_ptr_null(midge_ordered_error(o));
    ck_assert_uint_ge(midge_ordered_restarts(o), 3);
    midge_pull_close(pull);
    midge_ordered_close(o);
    midge_publisher_close(p);
    midge_rig_end(&r);
}

/* Killed with publishes in flight: each ends, with an acknowledgement or as lost; what was
 * acknowledged is there. */
TEST(publishes_in_flight_are_lost_one_by_one)
{
    struct midge_rig r;
    struct seen acks = {0};
    struct midge_publisher *p;
    struct midge_stream_info info;

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    p = midge_publisher_open(r.m, 1000, count_acks, &acks);
    for (unsigned sent = 0; sent < 1000; sent++)
        ck_assert_int_eq(midge_publisher_send(p, text("s.a"), text(""), text("x"), NULL), MIDGE_OK);
    ck_assert_int_eq(midge_publisher_send(p, text("s.a"), text(""), text("x"), NULL), MIDGE_FULL);
    midge_poll(r.m, 0);
    midge_rig_crash(&r);
    OK(r.m, midge_publisher_wait(p, 20000));
    ck_assert_uint_eq(acks.calls, 1000);
    OK(r.m, midge_stream_info(r.m, "S", &info));
    ck_assert_uint_ge(info.messages, acks.n);
    midge_stream_info_free(&info);
    midge_publisher_close(p);
    midge_rig_end(&r);
}

/* The consumer behind an ordered one is deleted: heartbeats stay away, and the next is made. */
TEST(ordered_notices_silence)
{
    struct midge_rig r;
    struct seen k = {0};
    struct midge_ordered_options oo = {.heartbeat_ms = 100};
    struct midge_ordered *o;
    char *names = NULL, subject[128], *at;

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    publish(r.m, "s.a", "1");
    o = midge_ordered_open(r.m, "S", &oo, take, &k);
    midge_rig_until(r.m, &k.n, 1);
    OK(r.m, midge_js_api(r.m, "CONSUMER.NAMES.S", NULL, 5000, &names));
    at = strstr(names, "\"consumers\":[\"");
    ck_assert_ptr_nonnull(at);
    snprintf(subject, sizeof(subject), "CONSUMER.DELETE.S.%.22s", at + 14);
    OK(r.m, midge_js_api(r.m, subject, NULL, 5000, NULL));
    midge_free(names);
    publish(r.m, "s.a", "2");
    midge_rig_until(r.m, &k.n, 2);
    ck_assert_uint_ge(midge_ordered_restarts(o), 1);
    OK(r.m, midge_stream_delete(r.m, "S"));
    while (midge_ordered_error(o) == NULL)
        OK(r.m, midge_poll(r.m, 100000000));
    ck_assert_str_eq(midge_ordered_error(o), "stream not found");
    midge_ordered_close(o);
    midge_rig_end(&r);
}

TEST(a_question_waits_for_the_connection)
{
    struct midge_rig r;
    struct midge_stream_info info;

    midge_rig_start(&r, i);
    make_stream(r.m, "S", "s.*");
    midge_rig_crash(&r);
    ck_assert_int_eq(midge_stream_info(r.m, "S", &info), MIDGE_LOST);
    OK(r.m, midge_stream_info(r.m, "S", &info));
    midge_stream_info_free(&info);
    ck_assert_uint_eq(r.lost, 1);
    midge_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(streams, 0, 2),
    RUN_LOOP(lists_have_pages, 0, 2),
    RUN_LOOP(consumers, 0, 2),
    RUN_LOOP(gets, 0, 2),
    RUN_LOOP(publishes_ask_for_what_they_want, 0, 2),
    RUN(headers_of_a_schedule),
    RUN_LOOP(schedules_and_counters, 0, 2),
    RUN_LOOP(fetches, 0, 2),
    RUN(waiting_inside_of_a_callback_is_refused),
    RUN_LOOP(all_goes_on_after_a_crash, 0, 2),
    RUN_LOOP(publishes_in_flight_are_lost_one_by_one, 0, 2),
    RUN_LOOP(ordered_notices_silence, 0, 2),
    RUN_LOOP(a_question_waits_for_the_connection, 0, 2),
};

RUNNER_MAIN("api/midge_js", cases)
