/*
 * test_store.c - the running store end to end: append, commit, committed, read, reopen.
 */
#include "lib/base/seqset.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the first path -------------------------------------------------------------------------- */

TEST(append_commit_read)
{
    struct rig r;
    struct rig_stream t;
    struct store_state state;
    enum store_level level = (enum store_level) i;

    rig_init(&r, NULL);
    rig_create(&r, &t, "one", level, NULL);
    ck_assert_int_eq(rig_append(&t, 10, 100, 3), ERR_OK);
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.last_seq, 0); /* nothing is durable yet */
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 0);
    rig_flush(&t);
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.msgs, 10);
    ck_assert_uint_eq(state.first_seq, 1);
    ck_assert_uint_eq(state.last_seq, 10);
    ck_assert_uint_eq(state.num_subjects, 3);
    ck_assert_uint_eq(state.bytes, 10 * store_msg_bytes(level, 3, 0, 100));
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 10);
    ck_assert_uint_eq(rig_read_all(&t, 4, NULL, 100), 7);
    ck_assert_uint_eq(rig_read_all(&t, 1, "s.1", 100), 4);
    rig_settle(&r);
    rig_deinit(&r);
}

TEST(big_commits_go_to_the_segment)
{
    struct rig r;
    struct rig_stream t;
    struct store_stats before, after;
    struct rig_options options = {.ride_ns = 60000000000}; /* what rides does not go meanwhile */

    rig_init(&r, &options);
    rig_create(&r, &t, "big", STORE_DURABLE, NULL);
    store_stats(r.store, &before);
    ck_assert_int_eq(rig_append(&t, 5000, 300, 7), ERR_OK);
    rig_flush(&t);
    store_stats(r.store, &after);
    ck_assert_uint_eq(after.log_commits, before.log_commits);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 300), 5000);
    ck_assert_int_eq(rig_append(&t, 100000, 100, 7), ERR_OK); /* several segments */
    rig_flush(&t);
    ck_assert_uint_eq(rig_read_all(&t, 5001, NULL, 100), 100000);
    rig_settle(&r);
    rig_deinit(&r);
}

/* ---- reopening ------------------------------------------------------------------------------- */

static void same_state(const struct store_state *a, const struct store_state *b)
{
    ck_assert_uint_eq(a->msgs, b->msgs);
    ck_assert_uint_eq(a->bytes, b->bytes);
    ck_assert_uint_eq(a->first_seq, b->first_seq);
    ck_assert_uint_eq(a->last_seq, b->last_seq);
    ck_assert_int_eq(a->first_ts, b->first_ts);
    ck_assert_int_eq(a->last_ts, b->last_ts);
    ck_assert_uint_eq(a->num_subjects, b->num_subjects);
    ck_assert_uint_eq(a->num_deleted, b->num_deleted);
    ck_assert_uint_eq(a->lost_msgs, b->lost_msgs);
}

TEST(reopen_finds_everything)
{
    struct rig_options options = {.segment_min = 256 << 10, .segment_max = 1 << 20};
    struct rig r;
    struct rig_stream t;
    struct store_state before, after;
    struct store_subject sub;

    rig_init(&r, &options);
    rig_create(&r, &t, "again", STORE_DURABLE, NULL);
    for (int k = 0; k < 20; k++) {
        ck_assert_int_eq(rig_append(&t, k % 3 == 0 ? 2000 : 7, 200, 11), ERR_OK);
        rig_flush(&t);
    }
    ck_assert_int_eq(store_remove(t.s, 17, false, NULL), ERR_OK);
    ck_assert_int_eq(store_remove(t.s, 5000, false, NULL), ERR_OK);
    rig_settle(&r);
    store_stream_state(t.s, &before);
    for (int k = 0; k < 3; k++) {
        rig_stop(&r);
        rig_start(&r);
        rig_attach(&r, &t, "again");
        store_recovered_done(r.store);
        store_stream_state(t.s, &after);
        same_state(&before, &after);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), before.msgs);
        ck_assert(!rig_has(&t, 17) && rig_has(&t, 18));
        ck_assert(store_subject_get(t.s, STR("s.3"), &sub));
        ck_assert_uint_eq(rig_read_all(&t, 1, "s.3", 200), sub.msgs);
        rig_append(&t, 100, 200, 11);
        rig_flush(&t);
        rig_settle(&r);
        store_stream_state(t.s, &before);
        ck_assert_uint_eq(before.msgs, after.msgs + 100);
    }
    rig_deinit(&r);
}

/* One message that is longer than what a scan reads at a time, at the beginning of a segment. */
TEST(a_long_message_outlives_a_start)
{
    struct rig r;
    struct rig_stream t;
    struct store_state state;

    rig_init(&r, NULL);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    char *payload = calloc(1, 3 << 20);
    struct store_append m = {.subject = STR("s.0"), .payload = str_from(payload, 3 << 20)};
    uint64_t seq;
    ck_assert_int_eq(store_append(t.s, &m, &seq), ERR_OK);
    rig_flush(&t);
    free(payload);
    rig_stop(&r);
    rig_start(&r);
    rig_attach(&r, &t, "S");
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.msgs, 1);
    ck_assert_uint_eq(rig_read_all(&t, 1, ">", 0), 1);
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

TEST(first_seq_and_reopen_empty)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q;
    struct store_state state;
    struct store_stream_options options = {
        .name = STR("n"), .config = STR("config of n"), .first_seq = 1000};

    rig_init(&r, NULL);
    memset(&t, 0, sizeof(t));
    t.rig = &r;
    rig_req_init(&q);
    ck_assert_int_eq(store_stream_create(r.store, &options, rig_ops(), &t, &t.s, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_stop(&r);
    rig_start(&r);
    rig_attach(&r, &t, "n");
    store_recovered_done(r.store);
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.first_seq, 1000);
    ck_assert_uint_eq(state.last_seq, 999);
    ck_assert_int_eq(rig_append(&t, 3, 10, 1), ERR_OK);
    rig_flush(&t);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 10), 3);
    ck_assert(rig_has(&t, 1000));
    rig_deinit(&r);
}

TEST(skips_survive)
{
    struct rig r;
    struct rig_stream t;
    struct store_state state;
    uint64_t last;

    rig_init(&r, NULL);
    rig_create(&r, &t, "skip", STORE_DURABLE, NULL);
    ck_assert_int_eq(store_skip(t.s, 10, &last), ERR_OK);
    ck_assert_uint_eq(last, 10);
    rig_append(&t, 5, 20, 1);
    ck_assert_int_eq(store_skip(t.s, 1000000, &last), ERR_OK);
    rig_append(&t, 5, 20, 1);
    rig_flush(&t);
    for (int k = 0; k < 2; k++) {
        store_stream_state(t.s, &state);
        ck_assert_uint_eq(state.msgs, 10);
        ck_assert_uint_eq(state.first_seq, 11);
        ck_assert_uint_eq(state.last_seq, 1000020);
        ck_assert_uint_eq(state.num_deleted, 1000000);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 20), 10);
        ck_assert(!rig_has(&t, 16) && rig_has(&t, 1000016));
        rig_settle(&r);
        rig_stop(&r);
        rig_start(&r);
        rig_attach(&r, &t, "skip");
        store_recovered_done(r.store);
    }
    rig_deinit(&r);
}

/* ---- many streams ---------------------------------------------------------------------------- */

TEST(a_thousand_streams_share_commits)
{
    static struct rig_stream t[1000];
    struct store_stats before, after;
    struct rig r;
    char name[32];

    rig_init(&r, NULL);
    for (unsigned k = 0; k < 1000; k++) {
        snprintf(name, sizeof(name), "many%u.", k);
        rig_create(&r, &t[k], name, STORE_DURABLE, NULL);
    }
    rig_settle(&r);
    store_stats(r.store, &before);
    for (unsigned k = 0; k < 1000; k++)
        ck_assert_int_eq(rig_append(&t[k], 3, 50, 2), ERR_OK);
    for (unsigned k = 0; k < 1000; k++)
        rig_flush(&t[k]);
    store_stats(r.store, &after);
    ck_assert_uint_le(after.log_commits - before.log_commits, 2);
    rig_settle(&r);
    rig_stop(&r);
    rig_start(&r);
    for (unsigned k = 0; k < 1000; k += 97) {
        snprintf(name, sizeof(name), "many%u.", k);
        rig_attach(&r, &t[k], name);
        ck_assert_uint_eq(rig_read_all(&t[k], 1, NULL, 50), 3);
    }
    store_recovered_done(r.store);
    rig_deinit(&r);
}

/* ---- the log --------------------------------------------------------------------------------- */

struct counter {
    store_object_id id;
    uint64_t value;
    unsigned rendered;
};

static void render_counter(void *ctx, store_object_id id, struct buf *out)
{
    struct counter *c = ctx;

    ck_assert_uint_eq(id, c->id);
    c->rendered++;
    buf_put(out, &c->value, sizeof(c->value));
    for (int k = 0; k < 100; k++)
        buf_puts(out, "0123456789");
}

/* Value after full record and deltas: each delta is the whole value. */
static void check_counter(void *ctx, const struct store_object_view *v)
{
    struct counter *c = ctx;

    for (unsigned k = 0; k < 8; k++) {
        if (c[k].id != v->id)
            continue;
        struct str last = v->ndeltas > 0 ? v->deltas[v->ndeltas - 1] : v->full;
        uint64_t value;
        memcpy(&value, last.p, sizeof(value));
        ck_assert_uint_eq(value, c[k].value);
        c[k].rendered = 1000000; /* seen */
    }
}

TEST(objects_outlive_recycled_logs)
{
    struct rig_options options = {.log_file_bytes = 1 << 20, .segment_min = 256 << 10};
    struct rig r;
    struct rig_stream t;
    struct counter c[8] = {{0}};
    char full[1008] = {0};
    struct rig_req q;
    uint64_t messages = 0;

    rig_init(&r, &options);
    rig_create(&r, &t, "log", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 8; k++) {
        rig_req_init(&q);
        c[k].id = store_object_create(r.store, STORE_KIND_USER, k % 2 ? t.id : 0,
                                      str_from(full, sizeof(full)), render_counter, &c[k], &q.req);
        ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    }
    for (unsigned round = 0; round < 400; round++) {
        for (unsigned k = 0; k < 7; k++) { /* the last one stays as it was */
            c[k].value++;
            store_object_delta(r.store, c[k].id, str_from(&c[k].value, sizeof(c[k].value)), NULL);
        }
        ck_assert_int_eq(rig_append(&t, 100, 200, 3), ERR_OK);
        messages += 100;
        rig_flush(&t);
    }
    ck_assert_uint_gt(c[0].rendered, 0);
    ck_assert_uint_gt(c[7].rendered, 0); /* its log file was freed */
    rig_settle(&r);
    struct store_stats stats;
    store_stats(r.store, &stats);
    ck_assert_uint_gt(stats.log_bytes, 8u << 20);
    rig_stop(&r);
    rig_start(&r);
    rig_attach(&r, &t, "log");
    store_recovered_each(r.store, check_counter, c);
    for (unsigned k = 0; k < 8; k++)
        ck_assert_uint_eq(c[k].rendered, 1000000);
    store_recovered_done(r.store);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 200), messages);
    /* Nobody attached the counters: they are kept as they are. */
    rig_append(&t, 10, 200, 3);
    rig_flush(&t);
    for (unsigned round = 0; round < 100; round++) {
        rig_append(&t, 100, 200, 3);
        rig_flush(&t);
    }
    rig_stop(&r);
    rig_start(&r);
    store_recovered_each(r.store, check_counter, c);
    store_recovered_done(r.store);
    ck_assert_uint_eq(c[0].rendered, 1000000);
    rig_deinit(&r);
}

TEST(deleted_objects_stay_deleted)
{
    struct rig_options options = {.log_file_bytes = 1 << 20};
    struct rig r;
    struct rig_stream t, u;
    struct counter c[8] = {{0}};
    struct rig_req q;

    rig_init(&r, &options);
    rig_create(&r, &t, "stays", STORE_DURABLE, NULL);
    rig_create(&r, &u, "goes", STORE_DURABLE, NULL);
    c[0].id = store_object_create(r.store, 20, u.id, STR("12345678"), render_counter, &c[0], NULL);
    c[1].id = store_object_create(r.store, 20, t.id, STR("12345678"), render_counter, &c[1], NULL);
    rig_append(&u, 10, 10, 1);
    rig_flush(&u);
    rig_req_init(&q);
    store_stream_delete(u.s, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_req_init(&q);
    store_object_delete(r.store, c[1].id, &q.req);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    rig_settle(&r);
    for (int k = 0; k < 2; k++) {
        rig_stop(&r);
        rig_start(&r);
        c[0].rendered = c[1].rendered = 0;
        store_recovered_each(r.store, check_counter, c);
        ck_assert_uint_eq(c[0].rendered + c[1].rendered, 0);
        rig_attach(&r, &t, "stays");
        store_recovered_done(r.store);
        for (unsigned round = 0; round < 30; round++) {
            rig_append(&t, 100, 400, 3);
            rig_flush(&t);
        }
    }
    rig_deinit(&r);
}

/* ---- cold data ------------------------------------------------------------------------------- */

TEST(reads_cold_data)
{
    struct rig_options options = {
        .cache_bytes = 1, .segment_min = 256 << 10, .segment_max = 1 << 20};
    struct rig r;
    struct rig_stream t;
    struct store_stats stats;
    enum store_level level = i == 0 ? STORE_DURABLE : STORE_ASYNC;

    rig_init(&r, &options);
    rig_create(&r, &t, "cold", level, NULL);
    for (unsigned k = 0; k < 50; k++) {
        rig_append(&t, 300, 333, 10);
        rig_flush(&t);
    }
    ck_assert_int_eq(rig_append_to(&t, "big", 300000), ERR_OK);
    rig_append(&t, 300, 333, 10);
    rig_flush(&t);
    rig_settle(&r);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 0), 15301);
    ck_assert_uint_eq(rig_read_all(&t, 1, "s.4", 333), 1530);
    ck_assert_uint_eq(rig_read_all(&t, 9000, "s.*", 333), 6301);
    store_stats(r.store, &stats);
    ck_assert_uint_gt(stats.cache_misses, 20);
    for (uint64_t seq = 15300; seq > 0; seq -= 50)
        ck_assert(rig_has(&t, seq));
    uint64_t count = 0, at = 0;
    struct str filter = STR("s.4");
    ck_assert_int_eq(store_count(t.s, 7001, &filter, 1, &count, NULL), ERR_OK);
    ck_assert_uint_eq(count, rig_read_all(&t, 7001, "s.4", 333));
    struct rig_req q;
    rig_req_init(&q);
    enum err err = store_seq_at(t.s, 0, &at, &q.req);
    ck_assert_int_eq(err, ERR_OK);
    ck_assert_uint_eq(at, 1);
    rig_settle(&r);
    rig_deinit(&r);
}

/* What was read ahead is there; no more than a share of the cache is asked for at a time. */
TEST(reads_ahead)
{
    enum { EACH = 100000, N = 24 };
    struct rig_options options = {.cache_bytes = 4 << 20};
    struct store_stats before, after;
    struct rig_stream t;
    struct store_reader reader;
    struct store_msg m;
    bool ready = false;
    struct rig r;

    rig_init(&r, &options);
    rig_create(&r, &t, "cold", STORE_DURABLE, NULL);
    for (int k = 0; k < N; k++) {
        ck_assert_int_eq(rig_append_to(&t, "big", EACH), ERR_OK);
        rig_flush(&t);
    }
    rig_settle(&r);
    store_shed_cache(r.store);
    store_reader_init(&reader, t.s, 3, NULL, 0, rig_on_ready, &ready);
    store_stats(r.store, &before);
    store_reader_ahead(&reader, 5 * EACH);
    store_stats(r.store, &after);
    ck_assert_uint_eq(after.cache_misses, before.cache_misses + 1); /* five in one read */
    rig_settle(&r);
    for (uint64_t seq = 3; seq < 8; seq++)
        ck_assert_int_eq(store_reader_get(&reader, seq, &m), STORE_READ_MSG);
    store_stats(r.store, &before); /* with what one who goes from batch to batch reads ahead */
    store_reader_ahead(&reader, 5 * EACH);
    store_stats(r.store, &after);
    ck_assert_uint_eq(after.cache_misses, before.cache_misses);
    rig_settle(&r);
    store_shed_cache(r.store);

    store_reader_seek(&reader, 9);
    store_reader_ahead(&reader, UINT64_MAX);
    store_reader_ahead(&reader, UINT64_MAX);
    store_stats(r.store, &after);
    ck_assert_uint_eq(after.cache_misses, before.cache_misses + 3); /* a quarter of 4 MiB */
    store_reader_seek(&reader, N + 1);
    store_reader_ahead(&reader, UINT64_MAX);
    store_reader_deinit(&reader);
    rig_settle(&r);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 0), N);
    rig_deinit(&r);
}

/* Messages of which one fills a fetch, and two a fetch ahead: each is held for the reader when it
 * comes, and the next ones are asked for then. */
TEST(reads_ahead_of_big_messages)
{
    enum { EACH = 200000, N = 8 };
    struct store_stats before, after;
    struct rig_stream t;
    struct store_reader reader;
    struct store_msg m;
    bool ready = false;
    struct rig r;

    rig_init(&r, &(struct rig_options){0});
    rig_create(&r, &t, "cold", STORE_DURABLE, NULL);
    for (int k = 0; k < N; k++) {
        ck_assert_int_eq(rig_append_to(&t, "big", EACH), ERR_OK);
        rig_flush(&t);
    }
    rig_settle(&r);
    store_shed_cache(r.store);
    store_stats(r.store, &before);
    store_reader_init(&reader, t.s, 1, NULL, 0, rig_on_ready, &ready);
    for (uint64_t seq = 1; seq <= 2; seq++) {
        ck_assert_int_eq(store_reader_next(&reader, &m), STORE_READ_WAIT);
        rig_settle(&r);
        ck_assert_int_eq(store_reader_next(&reader, &m), STORE_READ_MSG);
        ck_assert_uint_eq(m.seq, seq);
    }
    store_stats(r.store, &after);
    ck_assert_uint_eq(after.cache_misses, before.cache_misses + 2 + (N - 2) / 2);
    for (uint64_t seq = 3; seq <= N; seq++)
        ck_assert_int_eq(store_reader_next(&reader, &m), STORE_READ_MSG);
    store_reader_deinit(&reader);
    rig_deinit(&r);
}

/* ---- times ----------------------------------------------------------------------------------- */

TEST(finds_a_time)
{
    struct rig_options options = {.cache_bytes = i == 0 ? 0 : 1};
    struct rig r;
    struct rig_stream t;
    struct rig_req q;
    uint64_t seq;

    rig_init(&r, &options);
    rig_create(&r, &t, "time", STORE_DURABLE, NULL);
    for (unsigned k = 1; k <= 3000; k++) {
        struct store_append m = {.subject = STR("a"), .payload = STR("x"), .ts = 1000 * k};
        ck_assert_int_eq(store_append(t.s, &m, &seq), ERR_OK);
        if (k % 300 == 0)
            rig_flush(&t);
    }
    rig_flush(&t);
    rig_settle(&r);
    for (unsigned k = 1; k <= 3000; k += 123) {
        for (int off = -1; off <= 1; off++) {
            rig_req_init(&q);
            enum err err = store_seq_at(t.s, (int64_t) 1000 * k + off, &seq, &q.req);
            if (err == ERR_AGAIN) {
                ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
                seq = q.req.count;
            }
            ck_assert_uint_eq(seq, off > 0 ? k + 1 : k);
        }
    }
    ck_assert_int_eq(store_seq_at(t.s, 3000001, &seq, NULL), ERR_OK);
    ck_assert_uint_eq(seq, 3001);
    rig_deinit(&r);
}

/* ---- erasing --------------------------------------------------------------------------------- */

static bool file_contains(const char *path, const char *text)
{
    char command[256];

    snprintf(command, sizeof(command), "grep -rqa '%s' %s/streams", text, path);
    return system(command) == 0;
}

TEST(erased_bytes_are_gone)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q[3];
    uint64_t seq;
    char text[32];

    rig_init(&r, NULL);
    rig_create(&r, &t, "erase", STORE_DURABLE, NULL);
    for (int k = 1; k <= 400; k++) { /* small ones by the log, then big ones */
        snprintf(text, sizeof(text), "secret number %d.", k);
        struct store_append m = {.subject = STR("a"), .payload = str_of(text), .ts = k};
        ck_assert_int_eq(store_append(t.s, &m, &seq), ERR_OK);
        if (k == 100)
            rig_flush(&t);
    }
    rig_flush(&t);
    for (int k = 0; k < 3; k++) {
        rig_req_init(&q[k]);
        ck_assert_int_eq(store_remove(t.s, k == 2 ? 1 : 50 + 100 * (uint64_t) k, true, &q[k].req),
                         ERR_OK);
    }
    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(rig_req_wait(&r, &q[k]), ERR_OK);
    for (int k = 0; k < 2; k++) {
        ck_assert(!file_contains(r.path, "secret number 50\\."));
        ck_assert(!file_contains(r.path, "secret number 150\\."));
        ck_assert(!file_contains(r.path, "secret number 1\\."));
        ck_assert(rig_has(&t, 51) && rig_has(&t, 149) && !rig_has(&t, 150));
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 0), 397);
        rig_settle(&r);
        rig_stop(&r);
        ck_assert(file_contains(r.path, "secret number 51\\."));
        rig_start(&r);
        rig_attach(&r, &t, "erase");
        store_recovered_done(r.store);
    }
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

/* A set goes by one change: what of it exists, and nothing else; also the first and the last one.
 */
TEST(a_set_is_removed)
{
    struct seqset set = {0};
    struct rig_req q;
    struct rig r;
    struct rig_stream t;
    struct store_state state;

    rig_init(&r, NULL);
    rig_create(&r, &t, "S", STORE_DURABLE, NULL);
    ck_assert_int_eq(rig_append(&t, 100, 20, 3), ERR_OK);
    rig_flush(&t);
    ck_assert_int_eq(store_remove(t.s, 50, false, NULL), ERR_OK);
    seqset_add(&set, 1, 10);
    seqset_add(&set, 40, 60);
    seqset_add(&set, 99, 200);
    rig_req_init(&q);
    ck_assert_uint_eq(store_remove_set(t.s, &set, &q.req), 10 + 20 + 2);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, 32);
    rig_req_init(&q);
    ck_assert_uint_eq(store_remove_set(t.s, &set, &q.req), 0);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    for (int k = 0; k < 2; k++) {
        store_stream_state(t.s, &state);
        ck_assert_uint_eq(state.msgs, 67);
        ck_assert_uint_eq(state.first_seq, 11);
        ck_assert_uint_eq(state.last_seq, 100);
        ck_assert(rig_has(&t, 39) && !rig_has(&t, 40) && !rig_has(&t, 60) && rig_has(&t, 61));
        ck_assert(rig_has(&t, 98) && !rig_has(&t, 99));
        ck_assert_uint_eq(t.removed, k == 0 ? 33 : 0);
        rig_stop(&r);
        rig_start(&r);
        rig_attach(&r, &t, "S");
        store_recovered_done(r.store);
    }
    seqset_free(&set);
    rig_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(append_commit_read, 0, 3),
    RUN(big_commits_go_to_the_segment),
    RUN(reopen_finds_everything),
    RUN(a_long_message_outlives_a_start),
    RUN(first_seq_and_reopen_empty),
    RUN(skips_survive),
    RUN(a_thousand_streams_share_commits),
    RUN(objects_outlive_recycled_logs),
    RUN(deleted_objects_stay_deleted),
    RUN_LOOP(reads_cold_data, 0, 2),
    RUN(reads_ahead),
    RUN(reads_ahead_of_big_messages),
    RUN_LOOP(finds_a_time, 0, 2),
    RUN(erased_bytes_are_gone),
    RUN(a_set_is_removed),
};

RUNNER_MAIN("store/store", cases)
