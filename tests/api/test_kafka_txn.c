/*
 * test_kafka_txn.c - transactions: commit, abort, what readers see meanwhile, fencing, timeouts,
 * offsets that go along, restarts; with real clients and by hand; idempotent producers.
 */
#include "lib/wire/kafka_batch.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_producer.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct js_rig *r, int i)
{
    js_rig_start_conf(
        r, i, "kafka { listen: \"127.0.0.1:-1\", num_partitions: 4, group_delay: \"0s\" }\n");
}

/* ---- real clients ---------------------------------------------------------------------------- */

static void python(const char *what, uint16_t port)
{
    static char command[512], said[1 << 16];
    FILE *f;
    int status;

    snprintf(command, sizeof(command),
             "timeout 110 /usr/bin/python3 $MIDGE_SRCDIR/tests/api/kafka_txn.py %s 127.0.0.1:%u "
             "2>&1",
             what, port);
    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    said[fread(said, 1, sizeof(said) - 1, f)] = '\0';
    status = pclose(f);
    ck_assert_msg(status == 0, "status %d: %s", status, said);
}

TEST(ends)
{
    struct js_rig r;

    start(&r, i);
    python("ends", r.server.kafka_port);
    js_rig_crash(&r);
    python("after", r.server.kafka_port);
    js_rig_end(&r);
}

TEST(clients)
{
    static const char *const what[] = {"fenced", "times_out", "moves"};
    struct js_rig r;

    start(&r, i % 2 + 1);
    python(what[i], r.server.kafka_port);
    js_rig_end(&r);
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void make_topic(struct js_rig *r)
{
    js_ask(r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
}

/* A producer p whose transaction has the topic t, which has nothing. */
static void start_open(struct js_rig *r, int i, struct producer *p)
{
    start(r, i);
    make_topic(r);
    producer_init(p, r, "p");
    ck_assert_int_eq(producer_add(p, 3, "t", 0), KAFKA_NONE);
}

TEST(rules)
{
    struct js_rig r;
    struct producer p, q;

    start(&r, i);
    make_topic(&r);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(p.epoch, 0);
    ck_assert_int_eq(producer_init_at(&p, 1, -1, -1, 900001), KAFKA_INVALID_TRANSACTION_TIMEOUT);
    ck_assert_int_eq(producer_init_at(&p, 1, -1, -1, 0), KAFKA_INVALID_TRANSACTION_TIMEOUT);
    ck_assert_int_eq(producer_init_at(&p, 4, p.producer, 7, 1000), KAFKA_PRODUCER_FENCED);
    q = p;
    ck_assert_int_eq(producer_init_at(&p, 4, p.producer, p.epoch, 1000), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 1);
    ck_assert_int_eq(producer_init_at(&p, 4, q.producer, q.epoch, 1000), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, 1); /* the answer was lost */
    ck_assert_int_eq(p.producer, q.producer);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_INVALID_TXN_STATE); /* nothing has begun */
    ck_assert_int_eq(producer_commit_offset(&p, 3, "g", "t", 1), KAFKA_INVALID_TXN_STATE);
    ck_assert_int_eq(producer_add(&p, 3, "nothing", 0), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(producer_add(&p, 3, "t", 1), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    for (int v = 0; v <= 3; v++) {
        ck_assert_int_eq(producer_add(&p, v, "t", 0), KAFKA_NONE);
        ck_assert_int_eq(producer_add(&p, v, "t", 0), KAFKA_NONE);
        ck_assert_int_eq(producer_add_offsets(&p, v, "g"), KAFKA_NONE);
        ck_assert_int_eq(producer_commit_offset(&p, v, "g", "t", 10 + v), KAFKA_NONE);
        ck_assert_int_eq(producer_end(&p, v, v % 2 == 0), KAFKA_NONE);
        ck_assert_int_eq(producer_end(&p, v, v % 2 == 0), KAFKA_NONE); /* once more: the answer was
                                                                          lost */
        ck_assert_int_eq(producer_end(&p, v, v % 2 != 0), KAFKA_INVALID_TXN_STATE);
    }
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 12);
    ck_assert_int_eq(producer_init_at(&p, 4, q.producer, q.epoch, 1000), KAFKA_PRODUCER_FENCED);
    q = p;
    q.producer++;
    ck_assert_int_eq(producer_add(&q, 3, "t", 0), KAFKA_INVALID_PRODUCER_ID_MAPPING);
    q = p;
    q.epoch--;
    ck_assert_int_eq(producer_add(&q, 3, "t", 0), KAFKA_PRODUCER_FENCED);
    ck_assert_int_eq(producer_add(&q, 1, "t", 0), KAFKA_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(producer_end(&q, 3, true), KAFKA_PRODUCER_FENCED);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* The stable end stays where the first open transaction began, through a crash, too. */
TEST(the_stable_end)
{
    struct js_rig r;
    struct producer p, q;

    start(&r, i);
    make_topic(&r);
    js_pub(&r, "t", NULL, "one", "\"seq\":1");
    producer_init(&p, &r, "p");
    producer_init(&q, &r, "q");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 1); /* it has nothing yet */
    ck_assert_int_eq(producer_write(&p, "t", 0, 1), 1);
    js_pub(&r, "t", NULL, "three", "\"seq\":3");
    ck_assert_int_eq(producer_latest(&p, "t", 0), 3);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 1);
    ck_assert_int_eq(producer_add(&q, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_end(&q, 3, true), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 0), 4);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 1);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 1);
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 5);
    ck_assert_int_eq(producer_latest(&p, "t", 0), 5);
    kafka_client_close(&p.c);
    kafka_client_close(&q.c);
    js_rig_end(&r);
}

/* Offsets are the group's when the transaction is committed, and not before. */
TEST(offsets_go_along)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    make_topic(&r);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add_offsets(&p, 3, "g"), KAFKA_NONE);
    ck_assert_int_eq(producer_commit_offset(&p, 3, "g", "t", 5), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", false), -1);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), -KAFKA_UNSTABLE_OFFSET_COMMIT);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), -KAFKA_UNSTABLE_OFFSET_COMMIT);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 5);
    ck_assert_int_eq(producer_add_offsets(&p, 3, "g"), KAFKA_NONE);
    ck_assert_int_eq(producer_commit_offset(&p, 3, "g", "t", 9), KAFKA_NONE);
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_fetched(&p, "g", "t", true), 5);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* A new producer of that name: the old transaction is aborted, and the old one fenced. */
TEST(a_new_epoch)
{
    struct js_rig r;
    struct producer p, q;

    start_open(&r, i, &p);
    producer_init(&q, &r, "p");
    ck_assert_int_eq(q.producer, p.producer);
    ck_assert_int_gt(q.epoch, p.epoch);
    ck_assert_int_eq(producer_latest(&q, "t", 1), 1); /* its end */
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_PRODUCER_FENCED);
    ck_assert_int_eq(producer_add(&q, 3, "t", 0), KAFKA_NONE);
    js_ask(&r, "$JS.API.STREAM.DELETE.t", "", "\"success\":true");
    ck_assert_int_eq(producer_end(&q, 3, true), KAFKA_NONE); /* a partition that is gone is no
                                                                obstacle */
    kafka_client_close(&p.c);
    kafka_client_close(&q.c);
    js_rig_end(&r);
}

/* Fetches what is committed from this offset on; the offset of the only aborted transaction of p in
 * it, -1 when there is none. */
static int64_t aborted_at(struct producer *p, const char *topic, int64_t offset)
{
    struct kafka_fetch_request_partitions part = {
        .current_leader_epoch = -1, .fetch_offset = offset, .partition_max_bytes = 1 << 20};
    struct kafka_fetch_request_topics t = {
        .topic = str_of(topic), .partitions = &part, .partitions_n = 1};
    const struct kafka_fetch_response *a =
        kafka_client_call(&p->c, KAFKA_FETCH, 11,
                          &(struct kafka_fetch_request){.replica_id = -1,
                                                        .max_bytes = 1 << 20,
                                                        .isolation_level = 1,
                                                        .session_epoch = -1,
                                                        .topics = &t,
                                                        .topics_n = 1});
    const struct kafka_fetch_response_partitions *got = &a->responses[0].partitions[0];

    ck_assert_int_eq(got->error_code, KAFKA_NONE);
    ck_assert_int_le(got->aborted_transactions_n, 1);
    if (got->aborted_transactions_n < 1)
        return -1;
    ck_assert_int_eq(got->aborted_transactions[0].producer_id, p->producer);
    return got->aborted_transactions[0].first_offset;
}

/* The offsets stream is deleted while a transaction is open. */
TEST(the_coordinator_goes)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    ck_assert_int_eq(producer_write(&p, "t", 0, 3), 0);
    js_ask(&r, "$JS.API.STREAM.DELETE.__consumer_offsets", "", "\"success\":true");
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_COORDINATOR_NOT_AVAILABLE);
    js_await(&r, "$JS.API.STREAM.INFO.t", "", "\"last_seq\":4,"); /* it was aborted */
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    ck_assert_int_eq(aborted_at(&p, "t", 0), 0);
    ck_assert_int_eq(producer_write(&p, "t", 3, 1), -KAFKA_INVALID_TXN_STATE);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* What was aborted is so when its beginning has been removed, too; and nothing before it is. */
TEST(aborted_without_a_beginning)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    ck_assert_int_eq(producer_write(&p, "t", 0, 5), 0);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 5, 5), 6);
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    if (i < 2) /* the first marker alone, or all up to the second message */
        js_ask(&r, "$JS.API.STREAM.PURGE.t",
               i == 0 ? "{\"filter\":\"$KAFKA.TXN\",\"keep\":1}" : "{\"seq\":9}", "\"purged\":");
    ck_assert_int_ge(aborted_at(&p, "t", 9), 0);
    kafka_client_close(&p.c);
    js_rig_restart(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(aborted_at(&p, "t", 9), i == 1 ? 8 : 6);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* In a stream that keeps four messages of a subject, markers of later transactions do not push out
 * the one that says that the records that are there were aborted. And they do not pile up. */
TEST(few_messages_of_a_subject)
{
    struct js_rig r;
    struct producer p;
    int32_t sequence = 3;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t",
           "{\"name\":\"t\",\"subjects\":[\"t\"],\"max_msgs_per_subject\":4}", "\"created\"");
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 3), 0);
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    for (int k = 0; k < 5; k++) {
        ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
        ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    }
    ck_assert_int_eq(aborted_at(&p, "t", 2), 0);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(aborted_at(&p, "t", 2), 0);
    for (int k = 0; k < 300; k++) {
        ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
        ck_assert_int_ge(producer_write(&p, "t", sequence, 1), 0);
        sequence += 1;
        ck_assert_int_eq(producer_end(&p, 3, k % 2 == 0), KAFKA_NONE);
    }
    js_await(&r, "$JS.API.STREAM.INFO.t", "{\"subjects_filter\":\"t\"}", "\"subjects\":{\"t\":4}");
    /* 300 transactions and more: with all of their markers it were 310. */
    char *answer = raw_ask(&r.api, "$JS.API.STREAM.INFO.t", "");
    const char *at = strstr(answer, "\"messages\":");
    ck_assert_ptr_nonnull(at);
    ck_assert_int_lt(strtol(at + strlen("\"messages\":"), NULL, 10), 300);
    free(answer);
    ck_assert_int_eq(aborted_at(&p, "t", producer_latest(&p, "t", 1) - 2),
                     producer_latest(&p, "t", 1) - 2);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* The beginning of an open one is taken by a limit behind a crash. */
TEST(an_open_one_and_limits)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"],\"max_msgs\":100}",
           "\"created\"");
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 60), 0);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    js_fill(&r, "t", 61, 45);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 5); /* it is open */
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 106);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* An open one stays open when its beginning is gone, and can be aborted. */
TEST(open_without_a_beginning)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    ck_assert_int_eq(producer_write(&p, "t", 0, 5), 0);
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":4}", "\"purged\":3");
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3);
    ck_assert_int_eq(producer_write(&p, "t", 5, 5), 5);
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 11);
    ck_assert_int_eq(aborted_at(&p, "t", 4), 0);
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":6}", "\"purged\":2");
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(aborted_at(&p, "t", 6), 5);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Bytes of committed records at that offset. */
static size_t committed_at(struct producer *p, const char *topic, int64_t offset)
{
    struct kafka_fetch_request_partitions part = {
        .current_leader_epoch = -1, .fetch_offset = offset, .partition_max_bytes = 1 << 20};
    struct kafka_fetch_request_topics t = {
        .topic = str_of(topic), .partitions = &part, .partitions_n = 1};
    const struct kafka_fetch_response *a =
        KAFKA_CALL(&p->c, fetch, FETCH, 11, .replica_id = -1, .max_bytes = 1 << 20,
                   .isolation_level = 1, .session_epoch = -1, .topics = &t, .topics_n = 1);

    ck_assert_int_eq(a->responses[0].partitions[0].error_code, KAFKA_NONE);
    return a->responses[0].partitions[0].records.n;
}

/* What is left of a batch is not decided either. */
TEST(open_with_half_a_batch)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    ck_assert_int_eq(producer_write(&p, "t", 0, 5), 0);
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":4}", "\"purged\":3");
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3);
    ck_assert_uint_eq(committed_at(&p, "t", 3), 0);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_uint_gt(committed_at(&p, "t", 3), 0);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* Behind removed messages a reader gets to the stable end, as it gets to the end of all. */
TEST(a_gap_before_an_open_one)
{
    struct js_rig r;
    struct producer p;

    start(&r, i);
    make_topic(&r);
    js_pub(&r, "t", NULL, "one", "\"seq\":1");
    js_pub(&r, "t", NULL, "two", "\"seq\":2");
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 1), 2);
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":2}", "\"success\":true");
    ck_assert_int_eq(producer_latest(&p, "t", 1), 2);
    ck_assert_uint_gt(committed_at(&p, "t", 1), 0);
    ck_assert_uint_eq(committed_at(&p, "t", 2), 0);
    /* A compacted one may be read from before its first message on. */
    js_ask(&r, "$JS.API.STREAM.UPDATE.t",
           "{\"name\":\"t\",\"subjects\":[\"t\"],"
           "\"metadata\":{\"kafka.config.cleanup.policy\":\"compact\"}}",
           "\"config\"");
    js_ask(&r, "$JS.API.STREAM.MSG.DELETE.t", "{\"seq\":1}", "\"success\":true");
    ck_assert_uint_gt(committed_at(&p, "t", 0), 0);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* The beginning of an open one goes before anybody has asked for the partition since the start, and
 * the server crashes again. */
TEST(open_and_nobody_asks)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    ck_assert_int_eq(producer_write(&p, "t", 0, 5), 0);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    js_ask(&r, "$JS.API.STREAM.PURGE.t", "{\"seq\":4}", "\"purged\":3");
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 3); /* it is open */
    ck_assert_int_eq(producer_end(&p, 3, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 6); /* and has an end */
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* A crash between the addition of a partition and its first record. */
TEST(added_again)
{
    struct js_rig r;
    struct producer p;

    start_open(&r, i, &p);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    if (i % 2 == 0)
        ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 1), 0);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 2);
    ck_assert_int_eq(producer_write(&p, "t", 1, 1), -KAFKA_INVALID_TXN_STATE);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* n messages of 900,000 bytes. */
static void fill_large(struct js_rig *r, int n)
{
    static char frame[900100], want[64];

    int at = snprintf(frame, sizeof(frame), "PUB t 900000\r\n");
    memset(frame + at, 'x', 900000);
    memcpy(frame + at + 900000, "\r\n", 2);
    for (int k = 0; k < n; k++)
        raw_send_bytes(&r->api, frame, (size_t) at + 900002);
    snprintf(want, sizeof(want), "\"messages\":%d,", n);
    js_await(r, "$JS.API.STREAM.INFO.t", "", want);
}

/* A producer's last batches are known after a start, however large what lies before them is. */
TEST(duplicates_behind_large_messages)
{
    struct js_rig r;
    struct producer p = {0};

    start(&r, i);
    make_topic(&r);
    fill_large(&r, 60);
    kafka_client_open(&p.c, r.server.kafka_port);
    p.producer = ((const struct kafka_init_producer_id_response *) kafka_client_call(
                      &p.c, KAFKA_INIT_PRODUCER_ID, 2,
                      &(struct kafka_init_producer_id_request){.producer_id = -1}))
                     ->producer_id;
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(producer_write(&p, "t", k * 500, 500), 60 + k * 500);
    kafka_client_close(&p.c);
    js_rig_restart(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(producer_write(&p, "t", k * 500, 500), 60 + k * 500);
    ck_assert_int_eq(producer_write(&p, "t", 1500, 1), 1560);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

#define SLOW(name, from, to)                                                                       \
    {                                                                                              \
        .test = &name##_test, .first = (from), .end = (to), .seconds = 120                         \
    }

/* What DescribeProducers says of a producer, before, within and behind its transaction. */
TEST(told_of)
{
    int32_t zero = 0;
    struct kafka_describe_producers_request_topics t = {STR("t"), &zero, 1};
    struct kafka_describe_producers_request q = {&t, 1};
    const struct kafka_describe_producers_response_active_producers *a;
    const struct kafka_describe_producers_response *d;
    struct producer p;
    struct js_rig r;

    start(&r, i);
    js_ask(&r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "created");
    producer_init(&p, &r, "x");
    ck_assert_int_eq(producer_add(&p, 2, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 5), 0);
    d = kafka_client_call(&p.c, KAFKA_DESCRIBE_PRODUCERS, 0, &q);
    ck_assert_int_eq(d->topics[0].partitions[0].active_producers_n, 1);
    a = d->topics[0].partitions[0].active_producers;
    ck_assert_int_eq(a->producer_id, p.producer);
    ck_assert_int_eq(a->producer_epoch, p.epoch);
    ck_assert_int_eq(a->last_sequence, 4);
    ck_assert_int_eq(a->current_txn_start_offset, 0);
    ck_assert_int_eq(producer_end(&p, 1, true), KAFKA_NONE);
    d = kafka_client_call(&p.c, KAFKA_DESCRIBE_PRODUCERS, 0, &q);
    ck_assert_int_eq(d->topics[0].partitions[0].active_producers->current_txn_start_offset, -1);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* The error of a marker for the topic's partition. */
static int16_t mark(struct kafka_client *c, int version, const struct producer *p,
                    int32_t partition, bool commit)
{
    struct kafka_write_txn_markers_request_topics t = {STR("t"), &partition, 1};
    struct kafka_write_txn_markers_request_markers m = {.producer_id = p->producer,
                                                        .producer_epoch = p->epoch,
                                                        .transaction_result = commit,
                                                        .topics = &t,
                                                        .topics_n = 1};
    const struct kafka_write_txn_markers_response *a =
        KAFKA_CALL(c, write_txn_markers, WRITE_TXN_MARKERS, version, .markers = &m, .markers_n = 1);

    ck_assert_int_eq(a->markers_n, 1);
    ck_assert_int_eq(a->markers[0].producer_id, p->producer);
    ck_assert_int_eq(a->markers[0].topics[0].partitions[0].partition_index, partition);
    return a->markers[0].topics[0].partitions[0].error_code;
}

/* In one partition alone, behind the coordinator's back: that is so after a crash, too, and the end
 * that the coordinator knows comes to nothing there. */
TEST(ended_by_an_administrator)
{
    struct js_rig r;
    struct kafka_client admin;
    struct producer p, before;

    start_open(&r, i, &p);
    before = p;
    before.epoch--;
    kafka_client_open(&admin, r.server.kafka_port);
    ck_assert_int_eq(producer_write(&p, "t", 0, 3), 0);
    ck_assert_int_eq(mark(&admin, 0, &p, 1, false), KAFKA_UNKNOWN_TOPIC_OR_PARTITION);
    ck_assert_int_eq(mark(&admin, 0, &before, 0, false), KAFKA_INVALID_PRODUCER_EPOCH);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    for (int v = 0; v <= 1; v++) /* the second one finds nothing to do */
        ck_assert_int_eq(mark(&admin, v, &p, 0, false), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    ck_assert_int_eq(aborted_at(&p, "t", 0), 0);
    ck_assert_int_eq(producer_write(&p, "t", 3, 1), -KAFKA_INVALID_TXN_STATE);
    kafka_client_close(&admin);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    ck_assert_int_eq(producer_end(&p, 3, true), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 0), 4);
    ck_assert_int_eq(aborted_at(&p, "t", 0), 0);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    SLOW(ends, 0, 3),
    SLOW(clients, 0, 3),
    SLOW(duplicates_behind_large_messages, 0, 3),
    RUN_LOOP(rules, 0, 3),
    RUN_LOOP(told_of, 0, 3),
    RUN_LOOP(the_stable_end, 0, 3),
    RUN_LOOP(aborted_without_a_beginning, 0, 3),
    RUN_LOOP(open_without_a_beginning, 0, 3),
    RUN_LOOP(open_with_half_a_batch, 0, 2),
    RUN_LOOP(a_gap_before_an_open_one, 0, 2),
    RUN_LOOP(few_messages_of_a_subject, 0, 3),
    RUN_LOOP(an_open_one_and_limits, 0, 3),
    RUN_LOOP(open_and_nobody_asks, 0, 3),
    RUN_LOOP(added_again, 0, 3),
    RUN_LOOP(offsets_go_along, 0, 3),
    RUN_LOOP(a_new_epoch, 0, 3),
    RUN_LOOP(ended_by_an_administrator, 0, 3),
    RUN_LOOP(the_coordinator_goes, 0, 3),
};

RUNNER_MAIN("api/kafka_txn", cases)
