/*
 * test_kafka_compact.c - topics with cleanup.policy=compact, with real clients: one message per key
 * stays, the head is left alone, offsets keep their gaps and readers come to the end; null values,
 * transactions, messages of NATS clients; after a restart and a crash. And messages that are erased
 * from the batches of any topic.
 */
#include "tests/api/kafka_shell.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct js_rig *r, int i)
{
    js_rig_start_conf(r, i,
                      "kafka { listen: \"127.0.0.1:-1\", compaction_interval: \"50ms\", "
                      "group_delay: \"0s\" }\n");
}

#define READ "timeout 60 kcat $K -C -q -o beginning -e -t t "
#define WRITE "timeout 60 kcat $K -P -t t -K: "

/* The topic t: everything but the last batch may be compacted, at once; more of its metadata. */
static void topic(struct js_rig *r, const char *policy, const char *more)
{
    char body[1024];

    snprintf(body, sizeof(body),
             "{\"name\":\"t\",\"subjects\":[\"t\"],\"metadata\":{"
             "\"kafka.config.cleanup.policy\":\"%s\",\"kafka.config.segment.bytes\":\"14\","
             "\"kafka.config.min.cleanable.dirty.ratio\":\"0\"%s}}",
             policy, more);
    js_ask(r, "$JS.API.STREAM.CREATE.t", body, "\"created\"");
}

static void await_messages(struct js_rig *r, int n)
{
    char want[32];

    snprintf(want, sizeof(want), "\"messages\":%d,", n);
    js_await(r, "$JS.API.STREAM.INFO.t", "", want);
}

static const char *const codecs[] = {"none", "gzip", "snappy", "lz4", "zstd"};

TEST(one_message_per_key)
{
    struct js_rig r;

    start(&r, i % 3);
    topic(&r, "compact", "");
    /* 1000 values for 10 keys, in one or more batches; then the head. */
    KAFKA_EXPECT(&r, "",
                 "seq 0 999 | sed 's/\\(.*\\)\\(.\\)$/k\\2:\\1\\2/;s/^\\(.\\)$/k\\1:\\1/' | " WRITE
                 "-z %s",
                 codecs[i % 5]);
    KAFKA_EXPECT(&r, "", "echo head:1 | " WRITE);
    await_messages(&r, 11);
    KAFKA_EXPECT(
        &r,
        "k0=990@990\nk1=991@991\nk2=992@992\nk3=993@993\nk4=994@994\nk5=995@995\nk6=996@996\n"
        "k7=997@997\nk8=998@998\nk9=999@999\nhead=1@1000\n",
        READ "-f '%%k=%%s@%%o\\n'");
    /* So they are after a crash, and what came since is compacted, too. */
    js_rig_crash(&r);
    KAFKA_EXPECT(&r, "", "echo k3:new | " WRITE "; echo head:2 | " WRITE);
    await_messages(&r, 12);
    KAFKA_EXPECT(&r, "head=1@1000\nk3=new@1001\nhead=2@1002\n",
                 READ "-f '%%k=%%s@%%o\\n' | tail -3");
    js_rig_restart(&r);
    KAFKA_EXPECT(&r, "10\n",
                 "timeout 60 kcat $K -C -q -o 5 -e -t t -f '%%k\\n' | head -10 | wc -l");
    js_rig_end(&r);
}

/* The last batch is the head, whatever is in it; with the default segment.bytes all is. */
TEST(the_head_stays)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", "");
    KAFKA_EXPECT(&r, "", "printf 'a:1\\na:2\\n' | " WRITE);
    js_ask(&r, "$JS.API.STREAM.CREATE.u",
           "{\"name\":\"u\",\"subjects\":[\"u\"],\"metadata\":{"
           "\"kafka.config.cleanup.policy\":\"compact\","
           "\"kafka.config.min.cleanable.dirty.ratio\":\"0\"}}",
           "\"created\"");
    KAFKA_EXPECT(&r, "", "printf 'a:1\\na:2\\n' | timeout 60 kcat $K -P -t u -K:");
    KAFKA_EXPECT(&r, "", "printf 'a:3\\n' | timeout 60 kcat $K -P -t u -K:");
    KAFKA_EXPECT(&r, "", "printf 'b:1\\nb:2\\n' | " WRITE);
    await_messages(&r, 3);
    KAFKA_EXPECT(&r, "a=2@1\nb=1@2\nb=2@3\n", READ "-f '%%k=%%s@%%o\\n'");
    js_ask(&r, "$JS.API.STREAM.INFO.u", "", "\"messages\":3,");
    js_rig_end(&r);
}

TEST(null_values)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", ",\"kafka.config.delete.retention.ms\":\"0\"");
    KAFKA_EXPECT(&r, "", "printf 'a:1\\nb:1\\n' | " WRITE);
    KAFKA_EXPECT(&r, "", "printf 'a:\\n' | " WRITE "-Z");
    KAFKA_EXPECT(&r, "", "echo head:1 | " WRITE);
    await_messages(&r, 2);
    KAFKA_EXPECT(&r, "b=1@1\nhead=1@3\n", READ "-f '%%k=%%s@%%o\\n'");
    js_rig_end(&r);
}

/* delete.retention.ms is a day: the null value stays, what it deletes does not. */
TEST(a_null_value_stays_for_a_while)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", "");
    KAFKA_EXPECT(&r, "", "printf 'a:1\\nb:1\\n' | " WRITE);
    KAFKA_EXPECT(&r, "", "printf 'a:\\n' | " WRITE "-Z");
    KAFKA_EXPECT(&r, "", "echo head:1 | " WRITE);
    await_messages(&r, 3);
    KAFKA_EXPECT(&r, "b 1\na -1\nhead 1\n", READ "-f '%%k %%S\\n'");
    js_rig_end(&r);
}

/* Messages of NATS clients with a key count, those without stay. */
TEST(nats_clients_beside)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", "");
    js_pub(&r, "t", "Kafka-Key: a\r\n", "1", "\"seq\":1");
    js_pub(&r, "t", NULL, "without", "\"seq\":2");
    js_pub(&r, "t", "Kafka-Key: b\r\n", "1", "\"seq\":3");
    KAFKA_EXPECT(&r, "", "printf 'a:2\\n' | " WRITE);
    js_pub(&r, "t", "Kafka-Key: b\r\n", "2", "\"seq\":5");
    KAFKA_EXPECT(&r, "", "echo head:1 | " WRITE);
    await_messages(&r, 4);
    KAFKA_EXPECT(&r, "=without\na=2\nb=2\nhead=1\n", READ "-f '%%k=%%s\\n'");
    js_ask(&r, "$JS.API.STREAM.MSG.GET.t", "{\"seq\":3}", "\"err_code\":10037");
    js_rig_end(&r);
}

/* What is younger than min.compaction.lag.ms stays. */
TEST(young_messages_stay)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", ",\"kafka.config.min.compaction.lag.ms\":\"3600000\"");
    js_ask(&r, "$JS.API.STREAM.CREATE.u",
           "{\"name\":\"u\",\"subjects\":[\"u\"],\"metadata\":{"
           "\"kafka.config.cleanup.policy\":\"compact\",\"kafka.config.segment.bytes\":\"14\","
           "\"kafka.config.min.cleanable.dirty.ratio\":\"0\"}}",
           "\"created\"");
    KAFKA_EXPECT(&r, "", "for i in 1 2 3; do echo a:$i | " WRITE "; done");
    KAFKA_EXPECT(&r, "", "for i in 1 2 3; do echo a:$i | timeout 60 kcat $K -P -t u -K:; done");
    js_await(&r, "$JS.API.STREAM.INFO.u", "", "\"messages\":2,");
    js_ask(&r, "$JS.API.STREAM.INFO.t", "", "\"messages\":3,");
    js_rig_end(&r);
}

/* Who goes on in front of the first message is led to it; what is gone of its batch is not shown.
 */
TEST(a_first_message_inside_of_a_batch)
{
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t",
           "{\"name\":\"t\",\"subjects\":[\"t\"],\"metadata\":{"
           "\"kafka.config.cleanup.policy\":\"compact\"}}",
           "\"created\"");
    KAFKA_EXPECT(&r, "", "printf 'a:1\nb:1\nc:1\nd:1\n' | " WRITE "-X linger.ms=500");
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":3}", "\"purged\":2");
    KAFKA_EXPECT(&r, "c=1@2\nd=1@3\n", "timeout 60 kcat $K -C -q -o 0 -e -t t -f '%%k=%%s@%%o\n'");
    js_rig_end(&r);
}

/* compact,delete: the limits hold, too. */
TEST(both_policies)
{
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t",
           "{\"name\":\"t\",\"subjects\":[\"t\"],\"max_msgs\":3,\"metadata\":{"
           "\"kafka.config.cleanup.policy\":\"compact,delete\","
           "\"kafka.config.segment.bytes\":\"14\","
           "\"kafka.config.min.cleanable.dirty.ratio\":\"0\"}}",
           "\"created\"");
    KAFKA_EXPECT(&r, "", "for i in 1 2 3 4 5 6; do echo a$i:1 | " WRITE "; done");
    KAFKA_EXPECT(&r, "a4\na5\na6\n", READ "-f '%%k\\n'");
    KAFKA_EXPECT(&r, "", "for i in 1 2; do echo a5:$i | " WRITE "; done; echo head:1 | " WRITE);
    await_messages(&r, 2);
    KAFKA_EXPECT(&r, "a5=2\nhead=1\n", READ "-f '%%k=%%s\\n'");
    js_rig_end(&r);
}

TEST(transactions)
{
    struct js_rig r;

    start(&r, i);
    topic(&r, "compact", ",\"kafka.config.delete.retention.ms\":\"0\"");
    KAFKA_EXPECT(
        &r, "",
        "timeout 100 /usr/bin/python3 $MIDGE_SRCDIR/tests/api/kafka_compact.py 127.0.0.1:%u "
        "2>&1",
        r.server.kafka_port);
    /* The markers of what has ended go, too; what is left are last messages and the head. */
    await_messages(&r, 4);
    KAFKA_EXPECT(&r, "b=committed\nc=committed\na=last\nhead=1\n", READ "-f '%%k=%%s\\n'");
    js_rig_restart(&r);
    KAFKA_EXPECT(&r, "b=committed\nc=committed\na=last\nhead=1\n", READ "-f '%%k=%%s\\n'");
    js_rig_end(&r);
}

/* ---- erasing --------------------------------------------------------------------------------- */

/* Some stream's file has the text. */
static bool stored(const struct js_rig *r, const char *text)
{
    char command[512];

    snprintf(command, sizeof(command), "grep -rqaF '%s' $(find %s -name streams -type d)", text,
             r->server.dir);
    return system(command) == 0;
}

static void erase(struct js_rig *r, int offset)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"seq\":%d}", offset + 1);
    js_ask(r, "$JS.API.STREAM.MSG.DELETE.t", body, "\"success\":true");
}

/* STREAM.MSG.DELETE without no_erase: when the answer comes no file has the message; clients read
 * the others of the batch at their offsets, and go on. */
TEST(erased_messages)
{
    struct js_rig r;

    js_rig_start_conf(&r, i % 3,
                      i < 5 ? "kafka { listen: \"127.0.0.1:-1\" }\n"
                            : "kafka { listen: \"127.0.0.1:-1\" }\n"
                              "jetstream { cipher: chacha, key: \"a secret key\" }\n");
    js_ask(&r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
    KAFKA_EXPECT(&r, "", "seq 0 999 | sed 's/.*/k&:<secret &>/' | " WRITE "-z %s", codecs[i % 5]);
    KAFKA_EXPECT(&r, "", "echo more:1 | " WRITE);
    js_rig_restart(&r); /* the segment's file has it */
    bool visible = stored(&r, "<secret 3>");
    ck_assert(visible == (i == 0) || i % 5 == 2 || i % 5 == 3);
    erase(&r, 3);
    ck_assert(!stored(&r, "<secret 3>"));
    for (unsigned k = 0; k < 3; k++) {
        KAFKA_EXPECT(&r, "<secret 2>@2\n<secret 4>@4\n", READ "-f '%%s@%%o\\n' | sed -n 3,4p");
        KAFKA_EXPECT(&r, "1000\n", READ "-f '%%s@%%o\\n' | wc -l");
        k == 0 ? js_rig_crash(&r) : js_rig_restart(&r);
    }
    erase(&r, 0);
    erase(&r, 1000);
    ck_assert(!stored(&r, "<secret 0>") && !stored(&r, "<secret 3>"));
    KAFKA_EXPECT(&r, "", "echo last:1 | " WRITE "-z %s", codecs[i % 5]);
    KAFKA_EXPECT(&r, "<secret 999>@999\n1@1001\n", READ "-f '%%s@%%o\\n' | tail -2");
    KAFKA_EXPECT(&r, "999\n", READ "-f '%%s\\n' | wc -l");
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(one_message_per_key, 0, 5),
    RUN_LOOP(the_head_stays, 0, 3),
    RUN_LOOP(null_values, 0, 3),
    RUN_LOOP(a_null_value_stays_for_a_while, 0, 3),
    RUN_LOOP(nats_clients_beside, 0, 3),
    RUN_LOOP(young_messages_stay, 0, 3),
    RUN_LOOP(a_first_message_inside_of_a_batch, 0, 3),
    RUN_LOOP(both_policies, 0, 3),
    RUN_LOOP(transactions, 0, 3),
    RUN_LOOP(erased_messages, 0, 10),
};

RUNNER_MAIN("api/kafka_compact", cases)
