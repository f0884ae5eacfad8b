/*
 * test_kafka_lent.c - batches that are sent from the store's files: byte by byte what was produced,
 * by /kafkaz from files; beside open transactions; to a client that does not read while they are
 * removed; to clients that go; and with damage that comes to the disk behind the first read.
 */
#include "lib/base/buf.h"
#include "lib/wire/kafka_batch.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/kafka_error.h"
#include "tests/api/kafka_producer.h"
#include "tests/lib/runner.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char conf[] = "kafka { listen: \"127.0.0.1:-1\", num_partitions: 1 }\n"
                           "midge { cache: 1000000, spread: true }\n";

#define BATCHES 30
#define RECORDS 3
#define VALUE 200000u
#define ALL (BATCHES * RECORDS)

static struct js_rig rig;
static struct kafka_client client;
static struct buf batches[BATCHES]; /* as they are stored */

/* ---- what is produced ------------------------------------------------------------------------ */

/* Noise of its own for each byte of the topic. */
static void noise(char *out, uint64_t seed)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;

    for (size_t i = 0; i + 8 <= VALUE; i += 8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        memcpy(out + i, &x, 8);
    }
}

static void build(struct buf *out, int64_t offset)
{
    static char value[VALUE];
    struct kafka_builder b;

    buf_reserve(out, RECORDS * (VALUE + 100) + KAFKA_BATCH_HEADER);
    kafka_builder_open(&b, (uint8_t *) out->p, out->cap, offset);
    for (int k = 0; k < RECORDS; k++) {
        noise(value, (uint64_t) offset + (uint64_t) k);
        ck_assert(kafka_builder_add(
            &b, &(struct kafka_record){.offset = offset + k, .value = str_from(value, VALUE)}));
    }
    out->n = kafka_builder_finish(&b, 0, NULL);
}

static void produce(int k, int64_t offset)
{
    build(&batches[k], offset);
    struct kafka_produce_request_partition_data part = {
        .records = {.p = (const uint8_t *) batches[k].p, .n = batches[k].n}};
    struct kafka_produce_request_topic_data t = {
        .name = STR("t"), .partition_data = &part, .partition_data_n = 1};
    const struct kafka_produce_response *a =
        KAFKA_CALL(&client, produce, PRODUCE, 9, .transactional_id = STR_NONE, .acks = -1,
                   .timeout_ms = 60000, .topic_data = &t, .topic_data_n = 1);
    ck_assert_int_eq(a->responses[0].partition_responses[0].error_code, KAFKA_NONE);
    ck_assert_int_eq(a->responses[0].partition_responses[0].base_offset, offset);
}

static void setup_empty(int i)
{
    js_rig_start_conf(&rig, i, conf);
    kafka_client_open(&client, rig.server.kafka_port);
    js_ask(&rig, "$JS.API.STREAM.CREATE.t", "{\"name\":\"t\",\"subjects\":[\"t\"]}", "\"created\"");
}

static void restart(void)
{
    kafka_client_close(&client);
    js_rig_restart(&rig);
    kafka_client_open(&client, rig.server.kafka_port);
}

/* All of it is in sealed segments. */
static void setup(int i)
{
    setup_empty(i);
    for (int k = 0; k < BATCHES; k++)
        produce(k, k * RECORDS);
    restart();
}

static void teardown(void)
{
    kafka_client_close(&client);
    js_rig_end(&rig);
    for (int k = 0; k < BATCHES; k++)
        buf_free(&batches[k]);
}

/* ---- what is read ---------------------------------------------------------------------------- */

static struct kafka_fetch_request fetch_request(int64_t offset, int32_t most, bool committed)
{
    static struct kafka_fetch_request_partitions p;
    static struct kafka_fetch_request_topics t;

    p = (struct kafka_fetch_request_partitions){.current_leader_epoch = -1,
                                                .last_fetched_epoch = -1,
                                                .fetch_offset = offset,
                                                .partition_max_bytes = most};
    t = (struct kafka_fetch_request_topics){.topic = STR("t"), .partitions = &p, .partitions_n = 1};
    return (struct kafka_fetch_request){.replica_id = -1,
                                        .min_bytes = 1,
                                        .max_bytes = most,
                                        .isolation_level = committed,
                                        .session_epoch = -1,
                                        .topics = &t,
                                        .topics_n = 1,
                                        .rack_id = STR("")};
}

static const struct kafka_fetch_response_partitions *fetch(int version, int64_t offset,
                                                           int32_t most, bool committed)
{
    struct kafka_fetch_request q = fetch_request(offset, most, committed);
    const struct kafka_fetch_response *a = kafka_client_call(&client, KAFKA_FETCH, version, &q);

    ck_assert_int_eq(a->responses_n, 1);
    ck_assert_int_eq(a->responses[0].partitions[0].error_code, KAFKA_NONE);
    return &a->responses[0].partitions[0];
}

/* The batches are those of the topic, from this offset on; the offset behind them. */
static int64_t check(const struct kafka_records *got, int64_t offset)
{
    struct str left = str_from(got->p, got->n);
    struct kafka_batch b;

    while (left.n > 0) {
        ck_assert_int_eq(kafka_batch_open(left, &b), KAFKA_BATCH_OK);
        const struct buf *want = &batches[b.base_offset / RECORDS];
        ck_assert(b.base_offset % RECORDS == 0 && b.base_offset <= offset);
        ck_assert_uint_ge(left.n, want->n);
        ck_assert_mem_eq(left.p, want->p, want->n);
        offset = b.base_offset + RECORDS;
        left = str_skip(left, want->n);
    }
    return offset;
}

static void read_all(int32_t most)
{
    for (int64_t offset = 0; offset < ALL;) {
        const struct kafka_fetch_response_partitions *a = fetch(11, offset, most, false);
        ck_assert_int_eq(a->high_watermark, ALL);
        ck_assert_uint_gt(a->records.n, 0);
        offset = check(&a->records, offset);
    }
    kafka_arena_free(&client.arena);
}

/* How many bytes were sent from files, as monitoring tells. */
static uint64_t from_files(void)
{
    static const char name[] = "\"out_file_bytes\": ";
    struct raw_client c;
    struct buf all = {0};
    char byte;

    raw_open(&c, rig.server.http_port);
    raw_send(&c, "GET /kafkaz HTTP/1.0\r\n\r\n");
    while (read(c.fd, &byte, 1) == 1)
        buf_putc(&all, byte);
    raw_close(&c);
    uint64_t n = 0;
    for (const char *at = buf_cstr(&all); (at = strstr(at, name)) != NULL; at += strlen(name))
        n += strtoull(at + strlen(name), NULL, 10);
    buf_free(&all);
    return n / 2; /* of each partition, and of its topic */
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* The first read verifies, the next ones come from files, whatever fits into an answer. Those
 * clients that get something else do not. */
TEST(the_second_read)
{
    static const int32_t most[] = {1, 1300000, 5 << 20, 50 << 20};
    uint64_t before = 0, bytes = 0;

    setup(i);
    read_all(5 << 20);
    for (int k = 0; k < BATCHES; k++)
        bytes += batches[k].n;
    /* Some were read ahead, and not kept: they were verified, too. */
    ck_assert_uint_lt(from_files(), bytes / 2);
    for (size_t k = 0; k < 4; k++) {
        read_all(most[k]);
        ck_assert_uint_gt(from_files(), before + bytes / 5 * 4);
        before = from_files();
    }
    fetch(3, 0, 50 << 20, false);
    ck_assert_uint_eq(from_files(), before);
    ck_assert_int_eq(check(&fetch(12, 7, 1, false)->records, 7), 9); /* from its middle */
    teardown();
}

/* What is behind an open transaction stays there, whichever way it would go. */
TEST(behind_an_open_transaction)
{
    struct producer p;
    const struct kafka_fetch_response_partitions *a;

    setup_empty(i);
    producer_init(&p, &rig, "x");
    for (int k = 0; k < BATCHES / 2; k++)
        produce(k, k * RECORDS);
    ck_assert_int_eq(producer_add(&p, 2, "t", 0), KAFKA_NONE);
    ck_assert_int_eq(producer_write(&p, "t", 0, RECORDS), BATCHES / 2 * RECORDS);
    build(&batches[BATCHES / 2], BATCHES / 2 * RECORDS);
    for (int k = BATCHES / 2 + 1; k < BATCHES; k++)
        produce(k, k * RECORDS);
    for (int round = 0; round < 3; round++) {
        int64_t offset = 0;
        for (; offset < BATCHES / 2 * RECORDS; offset = check(&a->records, offset)) {
            a = fetch(11, offset, 2 << 20, true);
            ck_assert_int_eq(a->last_stable_offset, BATCHES / 2 * RECORDS);
            ck_assert_uint_gt(a->records.n, 0);
        }
        ck_assert_int_eq(offset, BATCHES / 2 * RECORDS);
        struct kafka_fetch_request q = fetch_request(offset, 2 << 20, true);
        q.max_wait_ms = 0;
        const struct kafka_fetch_response *none = kafka_client_call(&client, KAFKA_FETCH, 11, &q);
        ck_assert_uint_eq(none->responses[0].partitions[0].records.n, 0);
        kafka_arena_free(&client.arena);
    }
    ck_assert_uint_gt(from_files(), 0);
    ck_assert_int_eq(producer_end(&p, 2, true), KAFKA_NONE);
    kafka_client_close(&p.c);
    teardown();
}

static bool is_segment(const char *name)
{
    size_t n = strlen(name);

    return n > 4 && strcmp(name + n - 4, ".seg") == 0;
}

/* Files of streams below the store. */
static unsigned count_segments(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;
    char name[600];
    unsigned n = 0;

    if (d == NULL)
        return 0;
    while ((e = readdir(d)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.' && strcmp(e->d_name, "pool") != 0)
            n += count_segments(name);
        n += is_segment(e->d_name);
    }
    closedir(d);
    return n;
}

/* A client that does not read: the stream is purged (i < 3) or deleted meanwhile, and it gets what
 * it asked for. The files go behind it. */
TEST(removed_meanwhile)
{
    struct kafka_client slow;
    struct kafka_fetch_request q;
    char path[200];

    setup(i % 3);
    read_all(5 << 20);
    kafka_client_open(&slow, rig.server.kafka_port);
    q = fetch_request(0, 16 << 20, false);
    uint64_t before = from_files();
    kafka_client_send(&slow, KAFKA_FETCH, 11, &q);
    while (from_files() < before + (10 << 20))
        ;
    snprintf(path, sizeof(path), "%s/store", rig.server.dir);
    unsigned files = count_segments(path);
    ck_assert_uint_gt(files, 2);
    if (i < 3)
        js_ask(&rig, "$JS.API.STREAM.PURGE.t", "", "\"success\":true");
    else
        js_ask(&rig, "$JS.API.STREAM.DELETE.t", "", "\"success\":true");
    const struct kafka_fetch_response *a = kafka_client_take(&slow, KAFKA_FETCH, 11);
    const struct kafka_records *got = &a->responses[0].partitions[0].records;
    ck_assert_uint_gt(got->n, 10 << 20);
    ck_assert_int_gt(check(got, 0), 10);
    kafka_client_close(&slow);
    while (count_segments(path) > (i < 3 ? 1 : 0))
        ;
    teardown();
}

static unsigned descriptors(void)
{
    char path[64];
    unsigned n = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int) rig.server.pid);
    DIR *d = opendir(path);
    ck_assert(d != NULL);
    while (readdir(d) != NULL)
        n++;
    closedir(d);
    return n;
}

/* Clients that ask and go: nothing of theirs is kept. */
TEST(clients_that_go)
{
    struct kafka_fetch_request q = fetch_request(0, 16 << 20, false);
    struct kafka_client gone;
    char path[200];

    setup(i);
    read_all(5 << 20);
    read_all(5 << 20);
    unsigned before = descriptors();
    for (int k = 0; k < 5; k++) {
        uint64_t bytes = from_files();
        kafka_client_open(&gone, rig.server.kafka_port);
        kafka_client_send(&gone, KAFKA_FETCH, 11, &q);
        if (k % 2 == 0) {
            while (from_files() == bytes)
                ;
            free(raw_take(&gone.raw, 4 + (size_t) k * 300000));
        }
        kafka_client_close(&gone);
    }
    while (descriptors() > before)
        ;
    js_ask(&rig, "$JS.API.STREAM.DELETE.t", "", "\"success\":true");
    snprintf(path, sizeof(path), "%s/store", rig.server.dir);
    while (count_segments(path) > 0)
        ;
    teardown();
}

/* Writes over bytes in the middle of the batch, in the file that has it. */
static bool damage(const char *path, const struct buf *batch)
{
    static char all[64 << 20];
    DIR *d = opendir(path);
    struct dirent *e;
    char name[600];
    bool done = false;

    while (d != NULL && !done && (e = readdir(d)) != NULL) {
        snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (e->d_type == DT_DIR && e->d_name[0] != '.')
            done = damage(name, batch);
        FILE *f = is_segment(name) ? fopen(name, "r+") : NULL;
        if (f == NULL)
            continue;
        size_t n = fread(all, 1, sizeof(all), f);
        const char *at = memmem(all, n, batch->p + 100000, 1000);
        if (at != NULL) {
            fseek(f, at - all, SEEK_SET);
            ck_assert_uint_eq(fwrite("damage", 1, 6, f), 6);
            done = true;
        }
        fclose(f);
    }
    if (d != NULL)
        closedir(d);
    return done;
}

/* Who sees that a sum is wrong asks again, and gets past it soon. */
TEST(damage_behind_the_first_read)
{
    char path[200];
    unsigned wrong = 0;

    setup(i);
    read_all(5 << 20);
    read_all(5 << 20);
    snprintf(path, sizeof(path), "%s/store", rig.server.dir);
    ck_assert(damage(path, &batches[4]));
    for (;;) {
        const struct kafka_fetch_response_partitions *a = fetch(11, 4 * RECORDS, 1, false);
        struct str bytes = str_from(a->records.p, a->records.n);
        struct kafka_batch b;
        ck_assert_int_eq(kafka_batch_open(bytes, &b), KAFKA_BATCH_OK);
        if (kafka_batch_sum_ok(bytes, &b)) {
            ck_assert_int_eq(check(&a->records, 5 * RECORDS), 6 * RECORDS);
            break;
        }
        ck_assert_int_lt(wrong++, 8);
    }
    ck_assert_uint_gt(wrong, 0);
    server_process_log_wait(&rig.server, "damaged messages in the batch");
    teardown();
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_second_read, 0, 3),
    RUN_LOOP(behind_an_open_transaction, 0, 2),
    RUN_LOOP(removed_meanwhile, 0, 6),
    RUN_LOOP(clients_that_go, 0, 3),
    RUN_LOOP(damage_behind_the_first_read, 0, 2),
};

RUNNER_MAIN("kafka/lent", cases)
