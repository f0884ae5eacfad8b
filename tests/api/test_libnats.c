/*
 * test_libnats.c - the server as Debian's C client sees it: publish, request, streams, asynchronous
 * publishing, pulling with acknowledgements, and everything again after a restart and after a kill.
 * Each case runs with both I/O backends and with 1, 2 and 4 workers.
 */
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS 6
#define OK(call) ck_assert_msg((call) == NATS_OK, "%s: %s", #call, nats_GetLastError(NULL))

struct bench {
    struct server_process server;
    natsConnection *nc;
    jsCtx *js;
};

static void dial(struct bench *b)
{
    OK(natsConnection_ConnectTo(&b->nc, b->server.url));
    OK(natsConnection_JetStream(&b->js, b->nc, NULL));
}

static void hang_up(struct bench *b)
{
    jsCtx_Destroy(b->js);
    natsConnection_Destroy(b->nc);
}

static void setup(struct bench *b, int kind)
{
    static const char *const workers[] = {"1", "2", "4"};

    server_process_init(&b->server);
    b->server.args[0] = "--workers";
    b->server.args[1] = workers[kind % 3];
    b->server.args[2] = "--io";
    b->server.args[3] = kind < 3 ? "uring" : "event";
    server_process_start(&b->server);
    dial(b);
}

static void teardown(struct bench *b)
{
    hang_up(b);
    server_process_stop(&b->server);
    server_process_deinit(&b->server);
}

static void add_stream(struct bench *b, const char *name, const char *subject)
{
    jsStreamConfig config;
    const char *subjects[] = {subject};

    jsStreamConfig_Init(&config);
    config.Name = name;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    OK(js_AddStream(NULL, b->js, &config, NULL, NULL));
}

static uint64_t messages(struct bench *b, const char *stream)
{
    jsStreamInfo *info = NULL;
    uint64_t n;

    OK(js_GetStreamInfo(&info, b->js, stream, NULL, NULL));
    n = info->State.Msgs;
    jsStreamInfo_Destroy(info);
    return n;
}

/* ---- core ------------------------------------------------------------------------------------ */

static void answer(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void) sub;
    (void) closure;
    natsConnection_Publish(nc, natsMsg_GetReply(msg), natsMsg_GetData(msg),
                           natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
}

TEST(publishes_and_requests)
{
    struct bench b;
    natsSubscription *sub = NULL, *echo = NULL;
    natsConnection *other = NULL;
    natsMsg *msg = NULL;

    setup(&b, i);
    OK(natsConnection_ConnectTo(&other, b.server.url));
    OK(natsConnection_SubscribeSync(&sub, other, "greet.*"));
    OK(natsConnection_Subscribe(&echo, other, "echo", answer, NULL));
    OK(natsConnection_Flush(other));
    OK(natsConnection_PublishString(b.nc, "greet.joe", "hello"));
    OK(natsSubscription_NextMsg(&msg, sub, 5000));
    ck_assert_str_eq(natsMsg_GetSubject(msg), "greet.joe");
    ck_assert_str_eq(natsMsg_GetData(msg), "hello");
    natsMsg_Destroy(msg);
    for (int n = 0; n < 100; n++) {
        char text[16];
        snprintf(text, sizeof(text), "%d", n);
        OK(natsConnection_RequestString(&msg, b.nc, "echo", text, 5000));
        ck_assert_str_eq(natsMsg_GetData(msg), text);
        natsMsg_Destroy(msg);
    }
    ck_assert_int_eq(natsConnection_RequestString(&msg, b.nc, "nobody", "x", 5000),
                     NATS_NO_RESPONDERS);
    natsSubscription_Destroy(sub);
    natsSubscription_Destroy(echo);
    natsConnection_Destroy(other);
    teardown(&b);
}

TEST(carries_a_megabyte_and_headers)
{
    struct bench b;
    natsSubscription *sub = NULL;
    natsMsg *msg = NULL, *out = NULL;
    const char *value = NULL;
    size_t size = 1000000;
    char *data = malloc(size);

    setup(&b, i);
    for (size_t n = 0; n < size; n++)
        data[n] = (char) (n * 31 + n / 251);
    OK(natsConnection_SubscribeSync(&sub, b.nc, "big"));
    OK(natsMsg_Create(&out, "big", NULL, data, (int) size));
    OK(natsMsgHeader_Set(out, "Colour", "blue"));
    OK(natsConnection_PublishMsg(b.nc, out));
    OK(natsSubscription_NextMsg(&msg, sub, 5000));
    ck_assert_int_eq(natsMsg_GetDataLength(msg), (int) size);
    ck_assert_int_eq(memcmp(natsMsg_GetData(msg), data, size), 0);
    OK(natsMsgHeader_Get(msg, "Colour", &value));
    ck_assert_str_eq(value, "blue");
    natsMsg_Destroy(msg);
    natsMsg_Destroy(out);
    natsSubscription_Destroy(sub);
    free(data);
    teardown(&b);
}

/* ---- JetStream ------------------------------------------------------------------------------- */

static void publish_async(struct bench *b, const char *subject, int from, int to)
{
    for (int n = from; n < to; n++) {
        char text[16];
        int len = snprintf(text, sizeof(text), "%d", n);
        OK(js_PublishAsync(b->js, subject, text, len, NULL));
    }
    OK(js_PublishAsyncComplete(b->js, NULL));
}

/* Pulls until `to`, in order, each message once; acknowledges. */
static void pull(natsSubscription *sub, int from, int to)
{
    while (from < to) {
        natsMsgList list = {0};
        OK(natsSubscription_Fetch(&list, sub, 100, 5000, NULL));
        for (int n = 0; n < list.Count; n++, from++) {
            ck_assert_int_eq(strtol(natsMsg_GetData(list.Msgs[n]), NULL, 10), from);
            if (n + 1 == list.Count)
                OK(natsMsg_AckSync(list.Msgs[n], NULL, NULL));
            else
                OK(natsMsg_Ack(list.Msgs[n], NULL));
        }
        natsMsgList_Destroy(&list);
    }
}

TEST(stores_acknowledges_and_survives_a_restart)
{
    struct bench b;
    natsSubscription *sub = NULL;

    setup(&b, i);
    add_stream(&b, "ORDERS", "orders.>");
    publish_async(&b, "orders.new", 0, 5000);
    ck_assert_uint_eq(messages(&b, "ORDERS"), 5000);
    OK(js_PullSubscribe(&sub, b.js, "orders.>", "worker", NULL, NULL, NULL));
    pull(sub, 0, 2000);
    natsSubscription_Destroy(sub);
    hang_up(&b);
    server_process_stop(&b.server);

    server_process_start(&b.server);
    dial(&b);
    ck_assert_uint_eq(messages(&b, "ORDERS"), 5000);
    OK(js_PullSubscribe(&sub, b.js, "orders.>", "worker", NULL, NULL, NULL));
    pull(sub, 2000, 5000);
    natsSubscription_Destroy(sub);
    teardown(&b);
}

TEST(refuses_what_is_wrong)
{
    struct bench b;
    jsErrCode code = 0;
    jsPubOptions options;

    setup(&b, i);
    add_stream(&b, "S", "s.>");
    jsPubOptions_Init(&options);
    options.ExpectStream = "OTHER";
    ck_assert_int_ne(js_Publish(NULL, b.js, "s.a", "x", 1, &options, &code), NATS_OK);
    ck_assert_int_eq((int) code, 10060);
    jsPubOptions_Init(&options);
    options.ExpectLastSeq = 7;
    ck_assert_int_ne(js_Publish(NULL, b.js, "s.a", "x", 1, &options, &code), NATS_OK);
    ck_assert_int_eq((int) code, 10071);
    ck_assert_int_ne(js_DeleteStream(b.js, "NONE", NULL, &code), NATS_OK);
    ck_assert_int_eq((int) code, 10059);
    teardown(&b);
}

TEST(a_duplicate_is_acknowledged_and_not_stored)
{
    struct bench b;
    jsPubOptions options;
    jsPubAck *ack = NULL;

    setup(&b, i);
    add_stream(&b, "S", "s.>");
    jsPubOptions_Init(&options);
    options.MsgId = "one";
    for (int n = 0; n < 3; n++) {
        OK(js_Publish(&ack, b.js, "s.a", "x", 1, &options, NULL));
        ck_assert_uint_eq(ack->Sequence, 1);
        ck_assert_int_eq(ack->Duplicate, n > 0);
        jsPubAck_Destroy(ack);
    }
    ck_assert_uint_eq(messages(&b, "S"), 1);
    teardown(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(publishes_and_requests, 0, KINDS),
    RUN_LOOP(carries_a_megabyte_and_headers, 0, KINDS),
    RUN_LOOP(stores_acknowledges_and_survives_a_restart, 0, KINDS),
    RUN_LOOP(refuses_what_is_wrong, 0, KINDS),
    RUN_LOOP(a_duplicate_is_acknowledged_and_not_stored, 0, KINDS),
};

RUNNER_MAIN("api/libnats", cases)
