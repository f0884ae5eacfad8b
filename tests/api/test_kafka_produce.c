/*
 * test_kafka_produce.c - produce and fetch with real clients: kcat with every codec, keys, headers,
 * nulls; what NATS clients publish and remove; restarts; Python's clients.
 */
#include "tests/api/kafka_shell.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct js_rig *r, int workers)
{
    static const char *const names[] = {"1", "2", "4"};

    server_process_init(&r->server);
    r->server.args[0] = "--workers";
    r->server.args[1] = names[workers];
    r->server.args[2] = "--kafka";
    r->server.args[3] = "127.0.0.1:-1";
    server_process_start(&r->server);
    raw_hello(&r->api, r->server.port, "\"headers\":true,\"no_responders\":true");
    raw_hello(&r->in, r->server.port, "\"headers\":true,\"no_responders\":true");
}

#define READ "timeout 60 kcat $K -C -q -o beginning -e "

TEST(every_codec)
{
    static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};
    struct js_rig r;

    start(&r, i % 3);
    KAFKA_EXPECT(&r, "",
                 "seq 1 3000 | sed 's/.*/k&:value &/' | "
                 "timeout 60 kcat $K -P -t t -K: -z %s -H h=x -H h=y",
                 codecs[i]);
    KAFKA_EXPECT(&r, "",
                 READ "-t t -f '%%o %%k=%%s %%h\\n' > $$.got; "
                      "seq 1 3000 | awk '{print $1-1, \"k\" $1 \"=value \" $1 \" h=x,h=y\"}' | "
                      "cmp - $$.got 2>&1; rm $$.got");
    /* The same as messages. */
    js_ask(&r, "$JS.API.STREAM.INFO.t", "", "\"messages\":3000,");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.t", "{\"seq\":1234}", "\"data\":\"dmFsdWUgMTIzNA==\"");
    js_rig_end(&r);
}

TEST(nulls_and_empty_ones)
{
    struct js_rig r;

    start(&r, i);
    KAFKA_EXPECT(&r, "", "printf 'a:\\n:b\\n:\\n' | timeout 60 kcat $K -P -t t -K: -Z");
    KAFKA_EXPECT(&r, "0 1 -1\n1 -1 1\n2 -1 -1\n", READ "-t t -f '%%o %%K %%S\\n'");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.t", "{\"seq\":1}", "\"seq\":1");
    js_rig_end(&r);
}

/* Both directions, in one stream. */
TEST(nats_clients_beside)
{
    struct js_rig r;

    start(&r, i);
    KAFKA_EXPECT(&r, "", "printf 'k:one\\n' | timeout 60 kcat $K -P -t t -K:");
    js_pub(&r, "t", "Kafka-Key: n\r\nA: b\r\n", "two", "\"seq\":2");
    js_pub(&r, "t", NULL, "three", "\"seq\":3");
    KAFKA_EXPECT(&r, "", "printf 'k:four\\n' | timeout 60 kcat $K -P -t t -K: -z lz4");
    KAFKA_EXPECT(&r, "0 k=one \n1 n=two A=b\n2 =three \n3 k=four \n",
                 READ "-t t -f '%%o %%k=%%s %%h\\n'");
    KAFKA_EXPECT(&r, "2 =three\n3 k=four\n",
                 "timeout 60 kcat $K -C -q -o 2 -e -t t -f '%%o %%k=%%s\\n'");
    js_rig_end(&r);
}

/* A reader comes to the end whatever was removed. */
TEST(what_is_removed_is_not_read)
{
    struct js_rig r;

    start(&r, i);
    KAFKA_EXPECT(&r, "", "seq 1 6 | timeout 60 kcat $K -P -t t -z gzip -X linger.ms=100");
    js_pub(&r, "t", NULL, "7", "\"seq\":7");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":3}", "\"success\":true");
    KAFKA_EXPECT(&r, "1\n2\n4\n5\n6\n7\n", READ "-t t");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":7}", "\"success\":true");
    KAFKA_EXPECT(&r, "1\n2\n4\n5\n6\n", READ "-t t");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":6}", "\"success\":true");
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":2}", "\"purged\":1");
    js_rig_crash(&r);
    KAFKA_EXPECT(&r, "1 2\n3 4\n4 5\n", READ "-t t -f '%%o %%s\\n'");
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "", "\"purged\":3");
    KAFKA_EXPECT(&r, "", READ "-t t");
    js_rig_end(&r);
}

/* Read and written again after a crash. */
TEST(what_was_acknowledged_stays)
{
    struct js_rig r;

    start(&r, i);
    for (int k = 0; k < 3; k++) {
        KAFKA_EXPECT(&r, "",
                     "seq 1 500 | timeout 60 kcat $K -P -t t -z snappy "
                     "-X enable.idempotence=true -X acks=%s",
                     k == 1 ? "all" : "-1");
        js_rig_crash(&r);
        KAFKA_EXPECT(&r, "",
                     READ "-t t > $$.got; for k in $(seq 0 %d); do seq 1 500; done | "
                          "cmp - $$.got 2>&1; rm $$.got",
                     k);
    }
    js_rig_end(&r);
}

/* Records without a key are refused, compressed or not. */
TEST(a_compacted_topic_wants_keys)
{
    static const char *const codecs[] = {"none", "gzip", "zstd"};
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t",
           "{\"name\":\"t\",\"subjects\":[\"t\"],"
           "\"metadata\":{\"kafka.config.cleanup.policy\":\"compact\"}}",
           "\"created\"");
    KAFKA_EXPECT(&r, "refused\n",
                 "seq 1 10 | timeout 60 kcat $K -P -t t -z %s 2>/dev/null || echo refused",
                 codecs[i]);
    KAFKA_EXPECT(&r, "", "seq 1 10 | sed 's/.*/k&:v/' | timeout 60 kcat $K -P -t t -K: -z %s",
                 codecs[i]);
    js_ask(&r, "$JS.API.STREAM.INFO.t", "", "\"messages\":10,");
    js_rig_end(&r);
}

/* A waiting fetch hears of what comes. */
TEST(a_long_poll_is_answered)
{
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
    char *command = NULL;
    ck_assert_int_gt(asprintf(&command,
                              "timeout 60 kcat -b 127.0.0.1:%u -C -q -o beginning -c 1 -t t "
                              "-X fetch.wait.max.ms=20000 -X fetch.error.backoff.ms=1",
                              r.server.kafka_port),
                     0);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    js_pub(&r, "t", NULL, "came", "\"seq\":1");
    char text[16] = "";
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
    ck_assert_str_eq(text, "came\n");
    ck_assert_int_eq(pclose(f), 0);
    free(command);
    js_rig_end(&r);
}

static const char *const scripts[] = {"confluent", "old", "older"};

TEST(python_clients)
{
    struct js_rig r;

    start(&r, i % 3);
    KAFKA_EXPECT(&r, "",
                 "timeout 100 /usr/bin/python3 $MIDGE_SRCDIR/tests/api/kafka_produce.py %s "
                 "127.0.0.1:%u 2>&1",
                 scripts[i / 3], r.server.kafka_port);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(every_codec, 0, 5),
    RUN_LOOP(nulls_and_empty_ones, 0, 3),
    RUN_LOOP(nats_clients_beside, 0, 3),
    RUN_LOOP(what_is_removed_is_not_read, 0, 3),
    RUN_LOOP(what_was_acknowledged_stays, 0, 3),
    RUN_LOOP(a_compacted_topic_wants_keys, 0, 3),
    RUN_LOOP(a_long_poll_is_answered, 0, 3),
    RUN_LOOP(python_clients, 0, 9),
};

RUNNER_MAIN("api/kafka_produce", cases)
