/*
 * test_kafka_txn_stuck.c - transactions whose end meets a stream that takes no messages any more: a
 * full one, a sealed one, one that has failed; and the largest that can be ended.
 */
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_producer.h"
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(struct js_rig *r, int i)
{
    js_rig_start_conf(r, i, "kafka { listen: \"127.0.0.1:-1\", group_delay: \"0s\" }\n");
    js_ask(r, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
}

/* The stream t gets these settings. */
static void alter(struct js_rig *r, const char *more)
{
    char body[160];

    snprintf(body, sizeof(body), "{\"name\":\"t\",\"subjects\":[\"t\"],%s}", more);
    js_ask(r, "$JS.API.STREAM.UPDATE.t", body, "\"created\"");
}

static const char *const full[] = {
    "\"max_msgs\":1,\"discard\":\"new\"",
    "\"max_bytes\":1,\"discard\":\"new\"",
    "\"max_msg_size\":1",
    "\"sealed\":true",
};

#define FULL (int) (sizeof(full) / sizeof(*full))

/* What was begun before is decided all the same, and stays so. */
TEST(full_before_the_end)
{
    bool commit = i % 2 == 0;
    struct js_rig r;
    struct producer p;

    start(&r, i / 2 % 3);
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 3), 0);
    alter(&r, full[i / 2]);
    ck_assert_int_lt(producer_write(&p, "t", 3, 1), 0);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    ck_assert_int_eq(producer_end(&p, 3, commit), KAFKA_NONE);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    kafka_client_close(&p.c);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    ck_assert_int_eq(producer_latest(&p, "t", 1), 4);
    ck_assert_int_eq(producer_end(&p, 3, commit), KAFKA_NONE); /* once more */
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* A transaction that has written nothing leaves nothing in a stream that is full. (One that is
 * sealed becomes part of none.) */
TEST(full_from_the_beginning)
{
    struct js_rig r;
    struct producer p;

    start(&r, i % 3);
    js_pub(&r, "t", NULL, "one", "\"seq\":1");
    alter(&r, full[i]);
    producer_init(&p, &r, "p");
    for (int k = 0; k < 3; k++) {
        ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
        ck_assert_int_lt(producer_write(&p, "t", 0, 1), 0);
        ck_assert_int_eq(producer_end(&p, 3, k % 2 == 0), KAFKA_NONE);
    }
    ck_assert_int_eq(producer_latest(&p, "t", 1), 1);
    ck_assert_int_eq(producer_latest(&p, "t", 0), 1);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* ---- many offsets ---------------------------------------------------------------------------- */

enum { MANY_PARTITIONS = 128, MANY_GROUPS = 128 };

static void make_many(struct producer *p)
{
    struct kafka_create_topics_request_topics t = {
        .name = STR("many"), .num_partitions = MANY_PARTITIONS, .replication_factor = 1};
    const struct kafka_create_topics_response *a = KAFKA_CALL(
        &p->c, create_topics, CREATE_TOPICS, 4, .topics = &t, .topics_n = 1, .timeout_ms = 60000);

    ck_assert_int_eq(a->topics[0].error_code, KAFKA_NONE);
}

/* A group's offsets of all partitions; how many were refused with 28. */
static int commit_many(struct producer *p, const char *group)
{
    static struct kafka_txn_offset_commit_request_partitions parts[MANY_PARTITIONS];
    struct kafka_txn_offset_commit_request_topics t = {STR("many"), parts, MANY_PARTITIONS};
    int refused = 0;

    for (int k = 0; k < MANY_PARTITIONS; k++)
        parts[k] = (struct kafka_txn_offset_commit_request_partitions){
            .partition_index = k, .committed_offset = 5, .committed_metadata = STR("m")};
    const struct kafka_txn_offset_commit_response *a = KAFKA_CALL(
        &p->c, txn_offset_commit, TXN_OFFSET_COMMIT, 5, .transactional_id = str_of(p->id),
        .group_id = str_of(group), .producer_id = p->producer, .producer_epoch = p->epoch,
        .generation_id = -1, .member_id = STR(""), .topics = &t, .topics_n = 1);
    for (int k = 0; k < MANY_PARTITIONS; k++) {
        int16_t error = a->topics[0].partitions[k].error_code;
        ck_assert(error == KAFKA_NONE || error == KAFKA_INVALID_COMMIT_OFFSET_SIZE);
        refused += error != KAFKA_NONE;
    }
    return refused;
}

/* As many as a transaction takes can be committed; what is more is refused when it comes. */
TEST(as_many_offsets_as_may_be)
{
    char group[16];
    struct js_rig r;
    struct producer p;

    start(&r, 0);
    producer_init(&p, &r, "p");
    make_many(&p);
    for (int k = 0; k < MANY_GROUPS; k++) {
        snprintf(group, sizeof(group), "g%d", k);
        ck_assert_int_eq(commit_many(&p, group), k == MANY_GROUPS - 1);
    }
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    ck_assert_int_eq(producer_fetched(&p, group, "many", true), 5);
    ck_assert_int_eq(commit_many(&p, "next"), 0); /* it is over */
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

/* ---- a failed stream ------------------------------------------------------------------------- */

/* The directory of the first stream there is. */
static void find_stream(const struct js_rig *r, char *path, size_t cap)
{
    char streams[160];
    struct dirent *e;
    DIR *dir;

    snprintf(streams, sizeof(streams), "%s/store/jetstream/streams", r->server.dir);
    dir = opendir(streams);
    ck_assert_ptr_nonnull(dir);
    while ((e = readdir(dir)) != NULL && e->d_name[0] == '.')
        ;
    ck_assert_ptr_nonnull(e);
    snprintf(path, cap, "%s/%.150s", streams, e->d_name);
    closedir(dir);
}

/* It needs another file, and there is no place for it. */
static void fail_stream(struct js_rig *r, const char *there, const char *away)
{
    static char frame[900100];

    ck_assert_int_eq(rename(there, away), 0);
    int at = snprintf(frame, sizeof(frame), "PUB t 900000\r\n");
    memset(frame + at, 'x', 900000);
    memcpy(frame + at + 900000, "\r\n", 2);
    for (int k = 0; k < 100; k++)
        raw_send_bytes(&r->api, frame, (size_t) at + 900002);
    server_process_log_wait(&r->server, "has failed and is read-only");
}

/* The end is decided and can not be written: it is answered, what would come behind it is told to
 * come again; and it is written by the next start that can. */
TEST(a_failed_stream)
{
    int version = i % 2 == 0 ? 3 : 5;
    char there[320], away[160];
    struct js_rig r;
    struct producer p;

    start(&r, i / 2);
    find_stream(&r, there, sizeof(there));
    snprintf(away, sizeof(away), "%s/away", r.server.dir);
    js_ask(&r, "$JS.API.STREAM.CREATE.u", "{\"name\":\"u\",\"subjects\":[\"u\"]}", "\"created\"");
    producer_init(&p, &r, "p");
    ck_assert_int_eq(producer_add(&p, 3, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_add(&p, 3, "u", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, 3), 0);
    ck_assert_int_eq(producer_write(&p, "u", 0, 1), 0);
    fail_stream(&r, there, away);
    ck_assert_int_eq(producer_end(&p, version, true), KAFKA_NONE);
    ck_assert_int_eq(p.epoch, version == 5);
    ck_assert_int_eq(producer_latest(&p, "u", 1), 2); /* there it is written */
    ck_assert_int_eq(producer_latest(&p, "t", 1), 0);
    ck_assert_int_eq(producer_add(&p, 3, "u", 0), KAFKA_CONCURRENT_TRANSACTIONS);
    ck_assert_int_eq(producer_write_as(&p, 12, NULL, "u", 0, 1), -KAFKA_NOT_ENOUGH_REPLICAS);
    kafka_client_close(&p.c);
    ck_assert_int_eq(rename(away, there), 0);
    js_rig_crash(&r);
    kafka_client_open(&p.c, r.server.kafka_port);
    while (producer_latest(&p, "t", 1) != producer_latest(&p, "t", 0))
        ;
    ck_assert_int_eq(producer_write_as(&p, 12, NULL, "u", version == 3, 1), 2);
    ck_assert_int_eq(producer_latest(&p, "u", 0), 3);
    ck_assert_int_eq(producer_end(&p, 5, true), KAFKA_NONE);
    kafka_client_close(&p.c);
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(full_before_the_end, 0, 2 * FULL),
    RUN_LOOP(full_from_the_beginning, 0, FULL - 1),
    RUN_LOOP(a_failed_stream, 0, 6),
    RUN(as_many_offsets_as_may_be),
};

RUNNER_MAIN("api/kafka_txn_stuck", cases)
