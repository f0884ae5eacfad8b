/* Segments that are written anew: what is left of work queues and key-value buckets, compression,
 * erasing in what is compressed, and all of it after a restart. */
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SEGMENT (256u << 10)

static const struct rig_options options = {
    .log_file_bytes = 1 << 20, .segment_min = SEGMENT, .segment_max = SEGMENT};

/* Bytes of all segments; how many there are, and how many of them are rewritten. */
static uint64_t disk(const struct rig *r, unsigned *files, unsigned *rewritten)
{
    char path[256], file[600];
    uint64_t bytes = 0;
    struct stat st;

    snprintf(path, sizeof(path), "%s/streams", r->path);
    *files = *rewritten = 0;
    DIR *streams = opendir(path);
    ck_assert_ptr_nonnull(streams);
    for (struct dirent *d; (d = readdir(streams)) != NULL;) {
        if (d->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/streams/%.64s", r->path, d->d_name);
        DIR *stream = opendir(path);
        for (struct dirent *f; stream != NULL && (f = readdir(stream)) != NULL;) {
            snprintf(file, sizeof(file), "%s/%s", path, f->d_name);
            if (f->d_name[0] == '.' || stat(file, &st) != 0)
                continue;
            bytes += (uint64_t) st.st_size;
            ++*files;
            *rewritten += strchr(f->d_name, '-') != NULL;
        }
        closedir(stream);
    }
    closedir(streams);
    return bytes;
}

static bool contains(const struct rig *r, const char *text)
{
    char command[256];

    snprintf(command, sizeof(command), "grep -rqa '%s' %s/streams %s/pool", text, r->path, r->path);
    return system(command) == 0;
}

/* Steps until the segments take at most so many bytes. */
static void wait_for_disk(struct rig *r, uint64_t at_most)
{
    unsigned files, rewritten;
    uint64_t bytes = 0;

    for (unsigned k = 0; k < 10000; k++) {
        if (k % 20 == 0 && (bytes = disk(r, &files, &rewritten)) <= at_most)
            return;
        store_step(r->store);
        rig_turn(r, 1000000);
    }
    ck_abort_msg("%llu bytes in %u files", (unsigned long long) bytes, files);
}

static void restart(struct rig *r, struct rig_stream *t, const char *name)
{
    rig_settle(r);
    store_check(r->store);
    rig_stop(r);
    rig_start(r);
    rig_attach(r, t, name);
    store_recovered_done(r->store);
    store_check(r->store);
}

/* A work queue: of 30,000 messages every 1000th stays. */
TEST(stuck_messages)
{
    struct rig r;
    struct rig_stream t;
    unsigned files, rewritten;
    struct store_state state;

    rig_init(&r, &options);
    rig_create(&r, &t, "work", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 30; k++) {
        ck_assert_int_eq(rig_append(&t, 1000, 100, 7), ERR_OK);
        rig_flush(&t);
    }
    ck_assert_uint_gt(disk(&r, &files, &rewritten), 3000000);
    for (uint64_t seq = 1; seq <= 30000; seq++) {
        if (seq % 1000 != 0)
            ck_assert_int_eq(store_remove(t.s, seq, false, NULL), ERR_OK);
        if (seq % 500 == 0)
            rig_step(&r);
    }
    /* The active segment, the one that is ready, and next to nothing. */
    wait_for_disk(&r, 2 * SEGMENT + (64u << 10));
    for (unsigned k = 0; k < 2; k++) {
        store_stream_state(t.s, &state);
        ck_assert_uint_eq(state.msgs, 30);
        ck_assert(state.first_seq == 1000 && state.last_seq == 30000 && state.lost_msgs == 0);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 30);
        ck_assert_uint_eq(rig_read_all(&t, 1, "s.3", 100), 4);
        ck_assert(rig_has(&t, 7000) && !rig_has(&t, 7001));
        restart(&r, &t, "work");
    }
    disk(&r, &files, &rewritten);
    ck_assert_uint_le(files, 4); /* neighbours were joined */
    ck_assert_uint_eq(store_skip(t.s, 1, &state.last_seq), ERR_OK);
    rig_flush(&t);
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

/* A bucket with one value per key, all keys written over and over. */
TEST(key_value)
{
    struct store_limits limits = {.max_msgs_per_subject = 1};
    struct rig r;
    struct rig_stream t;
    struct store_state state;

    rig_init(&r, &options);
    rig_create(&r, &t, "bucket", STORE_DURABLE, &limits);
    ck_assert_int_eq(rig_append(&t, 500, 200, 500), ERR_OK); /* 400 of them stay as they are */
    for (unsigned k = 0; k < 300; k++) {
        ck_assert_int_eq(rig_append(&t, 100, 200, 100), ERR_OK);
        rig_flush(&t);
    }
    wait_for_disk(&r, 4 * SEGMENT + 2 * 500 * 250);
    for (unsigned k = 0; k < 2; k++) {
        store_stream_state(t.s, &state);
        ck_assert_uint_eq(state.msgs, 500);
        ck_assert_uint_eq(state.num_subjects, 500);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), 500);
        restart(&r, &t, "bucket");
    }
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

static void append_orders(struct rig_stream *t, unsigned n)
{
    char text[160];
    uint64_t seq;

    for (unsigned k = 0; k < n; k++) {
        snprintf(text, sizeof(text),
                 "{\"order\": %u, \"customer\": \"somebody\", \"state\": \"shipped\", "
                 "\"secret\": \"s%06ue\"}",
                 k, (k + 1) * 37 % 1000000);
        struct store_append m = {.subject = STR("orders.new"), .payload = str_of(text), .ts = k};
        ck_assert_int_eq(store_append(t->s, &m, &seq), ERR_OK);
        if (k % 500 == 499)
            rig_flush(t);
    }
    rig_flush(t);
}

static void check_order(struct rig_stream *t, uint64_t seq)
{
    struct store_reader reader;
    struct store_msg m;
    char text[32];

    store_reader_init(&reader, t->s, 1, NULL, 0, rig_on_ready, NULL);
    store_reader_deinit(&reader);
    ck_assert_int_eq(rig_get(t, seq, &m, &reader), STORE_READ_MSG);
    snprintf(text, sizeof(text), "\"s%06llue\"}", (unsigned long long) (seq * 37 % 1000000));
    ck_assert(m.payload.n > strlen(text) &&
              memcmp(m.payload.p + m.payload.n - strlen(text), text, strlen(text)) == 0);
    ck_assert_int_eq(m.ts, (int64_t) seq - 1);
    store_reader_deinit(&reader);
}

TEST(compressed)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q[3];
    unsigned files, rewritten;
    char text[32];

    rig_init(&r, &options);
    rig_create(&r, &t, "orders", STORE_DURABLE, NULL);
    store_stream_compress(t.s, true);
    append_orders(&t, 20000);
    wait_for_disk(&r, 2500000 / 2);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 0), 20000);
        for (uint64_t seq = 1; seq <= 20000; seq += 1234)
            check_order(&t, seq);
        restart(&r, &t, "orders");
        store_stream_compress(t.s, true);
    }
    disk(&r, &files, &rewritten);
    ck_assert_uint_gt(rewritten, 4);
    /* Two of one segment, and one that is active: gone when the requests say so. */
    for (unsigned k = 0; k < 3; k++) {
        rig_req_init(&q[k]);
        ck_assert_int_eq(store_remove(t.s, k == 2 ? 19999 : 100 + k, true, &q[k].req), ERR_OK);
    }
    for (unsigned k = 0; k < 3; k++)
        ck_assert_int_eq(rig_req_wait(&r, &q[k]), ERR_OK);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert(!rig_has(&t, 100) && !rig_has(&t, 101) && !rig_has(&t, 19999));
        check_order(&t, 99);
        check_order(&t, 102);
        snprintf(text, sizeof(text), "s%06ue", 19999 * 37 % 1000000);
        ck_assert(!contains(&r, text));
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 0), 19997);
        restart(&r, &t, "orders");
    }
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

/* What is in front of the first message does not count as waste: the head of a limited stream is
 * never rewritten. */
TEST(head_of_a_limited_stream_is_left_alone)
{
    struct store_limits limits = {.max_msgs = 5000};
    struct store_stats stats;
    struct rig r;
    struct rig_stream t;

    rig_init(&r, &options);
    rig_create(&r, &t, "limited", STORE_DURABLE, &limits);
    for (unsigned k = 0; k < 40; k++) {
        ck_assert_int_eq(rig_append(&t, 500, 100, 3), ERR_OK);
        rig_flush(&t);
    }
    rig_settle(&r);
    store_stats(r.store, &stats);
    ck_assert_uint_eq(stats.rewrites, 0);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 5000);
    rig_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN(stuck_messages),
    RUN(key_value),
    RUN(compressed),
    RUN(head_of_a_limited_stream_is_left_alone),
};

RUNNER_MAIN("store/rewrite", cases)
