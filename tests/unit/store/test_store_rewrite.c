/* Segments that are written anew: what is left of work queues and key-value buckets, compression,
 * erasing in what is compressed, and all of it after a restart. */
#include "store/store_impl.h"
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

/* The sealed segment behind the first one. */
static const struct segment *second_segment(struct rig_stream *t)
{
    const struct segment *seg = LIST_ENTRY(t->s->segments.next->next, struct segment, link);

    ck_assert_int_eq(seg->state, SEGMENT_SEALED);
    return seg;
}

/* A segment that is empty while something in it is still being erased, which needs its file: it
 * goes when that is through, alone, as its neighbours are as they were. */
TEST(empty_when_the_last_erasure_ends)
{
    struct rig r;
    struct rig_stream t;
    struct rig_req q;
    unsigned files, rewritten;

    rig_init(&r, &options);
    rig_create(&r, &t, "work", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 20; k++) {
        ck_assert_int_eq(rig_append(&t, 500, 100, 7), ERR_OK);
        rig_flush(&t);
    }
    rig_settle(&r);
    uint64_t all = disk(&r, &files, &rewritten);
    uint64_t first = second_segment(&t)->base_seq, end = second_segment(&t)->next_seq;
    rig_req_init(&q);
    for (uint64_t seq = first; seq < end; seq++)
        ck_assert_int_eq(store_remove(t.s, seq, seq + 1 == end, seq + 1 == end ? &q.req : NULL),
                         ERR_OK);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    wait_for_disk(&r, all - SEGMENT / 2);
    ck_assert_uint_ge(second_segment(&t)->base_seq, end);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 10000 - (end - first));
        restart(&r, &t, "work");
    }
    disk(&r, &files, &rewritten);
    ck_assert_uint_eq(rewritten, 0);
    ck_assert_uint_eq(r.warnings, 0);
    rig_deinit(&r);
}

/* ---- Kafka batches --------------------------------------------------------------------------- */

#define BATCHES 12u
#define BATCH_MESSAGES 50u
#define BATCH_BYTES 5000u

struct mixed {
    struct rig r;
    struct rig_stream t;
    uint64_t first[BATCHES]; /* of each Kafka batch */
    uint64_t last;
};

static const struct rig_options mixed_options[] = {
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = rig_kafka_decode},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .kafka_decode = rig_kafka_decode,
     .key = "a secret key"},
};

static void check_kafka(struct mixed *x, struct store_reader *reader, uint64_t first)
{
    struct store_entry e;
    struct store_msg m;
    enum store_read result;
    char *want = malloc(BATCH_BYTES);
    char payload[20];
    bool ready = false;

    store_reader_init(reader, x->t.s, first, NULL, 0, rig_on_ready, &ready);
    while ((result = store_reader_entry(reader, &e)) == STORE_READ_WAIT) {
        rig_wait(&x->r, &ready);
        ready = false;
    }
    ck_assert_int_eq(result, STORE_READ_MSG);
    ck_assert(e.kafka && !e.holes && e.first_seq == first && e.messages == BATCH_MESSAGES);
    rig_payload(first, want, BATCH_BYTES);
    ck_assert_uint_eq(e.batch.n, BATCH_BYTES);
    ck_assert_mem_eq(e.batch.p + 12, want + 12, BATCH_BYTES - 12);
    free(want);
    store_reader_deinit(reader);
    for (uint64_t seq = first; seq < first + BATCH_MESSAGES; seq += 7) {
        ck_assert_int_eq(rig_get(&x->t, seq, &m, reader), STORE_READ_MSG);
        rig_payload(seq, payload, sizeof(payload));
        ck_assert(str_eq(m.payload, str_from(payload, sizeof(payload))));
        store_reader_deinit(reader);
    }
}

/* All batches, and so many other messages. */
static void check_mixed(struct mixed *x, uint64_t others)
{
    struct store_reader reader;
    struct store_subject sub;
    struct store_state state;

    store_shed_cache(x->r.store);
    for (unsigned k = 0; k < BATCHES; k++)
        check_kafka(x, &reader, x->first[k]);
    store_stream_state(x->t.s, &state);
    ck_assert(state.msgs == others + BATCHES * BATCH_MESSAGES && state.lost_msgs == 0);
    ck_assert_uint_eq(rig_read_all(&x->t, 1, NULL, 0), state.msgs);
    ck_assert(store_subject_get(x->t.s, STR("k"), &sub));
    ck_assert_uint_eq(sub.msgs, BATCHES * BATCH_MESSAGES);
    store_check(x->r.store);
}

static uint64_t rewrites(struct mixed *x)
{
    struct store_stats stats;

    store_stats(x->r.store, &stats);
    return stats.rewrites;
}

/* Every 900 messages a batch: each full segment has one. */
static void open_mixed(struct mixed *x, int i)
{
    struct store_state state;

    rig_init(&x->r, &mixed_options[i]);
    rig_create(&x->r, &x->t, "mixed", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < BATCHES; k++) {
        ck_assert_int_eq(rig_append(&x->t, 450, 100, 7), ERR_OK);
        rig_flush(&x->t);
        store_stream_state(x->t.s, &state);
        x->first[k] = state.last_seq + 1;
        ck_assert_int_eq(rig_append_kafka(&x->t, "k", BATCH_MESSAGES, BATCH_BYTES), ERR_OK);
        ck_assert_int_eq(rig_append(&x->t, 450, 100, 7), ERR_OK);
        rig_flush(&x->t);
    }
    store_stream_state(x->t.s, &state);
    x->last = state.last_seq;
}

/* Removes all messages of [first, last] but those of Kafka batches and, if not 0, each keep-th. */
static uint64_t thin_out(struct mixed *x, uint64_t first, uint64_t last, unsigned keep)
{
    uint64_t kept = 0;
    unsigned k = 0;

    for (uint64_t seq = first; seq <= last; seq++) {
        while (k < BATCHES && seq >= x->first[k] + BATCH_MESSAGES)
            k++;
        if (k < BATCHES && seq >= x->first[k])
            continue;
        if (keep != 0 && seq % keep == 0)
            kept++;
        else
            ck_assert_int_eq(store_remove(x->t.s, seq, false, NULL), ERR_OK);
    }
    return kept;
}

/* Segments with a Kafka batch are left as they are, however little of them is live; others of the
 * stream are not, and do not take them along. */
TEST(kafka_batches_stay)
{
    struct mixed x;
    unsigned files, rewritten;
    uint64_t others, bytes, last;
    struct store_state state;

    open_mixed(&x, i);
    store_stream_compress(x.t.s, true);
    rig_settle(&x.r);
    others = thin_out(&x, 1, x.last, 300);
    rig_settle(&x.r);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert_uint_eq(rewrites(&x), 0);
        check_mixed(&x, others);
        restart(&x.r, &x.t, "mixed");
        store_stream_compress(x.t.s, true);
        rig_settle(&x.r);
    }
    bytes = disk(&x.r, &files, &rewritten);
    ck_assert_uint_ge(files, 5);
    ck_assert_uint_eq(rewritten, 0);
    for (unsigned k = 0; k < 20; k++) {
        ck_assert_int_eq(rig_append(&x.t, 900, 100, 7), ERR_OK);
        rig_flush(&x.t);
    }
    store_stream_state(x.t.s, &state);
    last = state.last_seq;
    for (uint64_t seq = x.last + 1; seq <= last; seq++)
        if (seq % 1000 != 0)
            ck_assert_int_eq(store_remove(x.t.s, seq, false, NULL), ERR_OK);
        else
            others++;
    wait_for_disk(&x.r, bytes + 3 * SEGMENT);
    ck_assert_uint_gt(rewrites(&x), 0);
    for (unsigned k = 0; k < 2; k++) {
        check_mixed(&x, others);
        restart(&x.r, &x.t, "mixed");
    }
    ck_assert_uint_eq(x.r.warnings, 0);
    rig_deinit(&x.r);
}

/* Without a live message a segment goes, from the middle too. */
TEST(kafka_batches_go_with_their_last_message)
{
    struct mixed x;
    unsigned files, rewritten;
    uint64_t before, others;

    open_mixed(&x, i);
    rig_settle(&x.r);
    before = disk(&x.r, &files, &rewritten);
    others = thin_out(&x, 2, x.first[8] - 1, 0) + 1 + x.last - (x.first[8] - 1);
    for (unsigned k = 0; k < 8; k++)
        for (uint64_t seq = x.first[k]; seq < x.first[k] + BATCH_MESSAGES; seq++)
            ck_assert_int_eq(store_remove(x.t.s, seq, false, NULL), ERR_OK);
    wait_for_disk(&x.r, before - 2 * SEGMENT);
    ck_assert_uint_eq(rewrites(&x), 0);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert_uint_eq(rig_read_all(&x.t, 1, NULL, 0), others);
        restart(&x.r, &x.t, "mixed");
    }
    ck_assert_uint_eq(x.r.warnings, 0);
    rig_deinit(&x.r);
}

/* In a sealed segment with a Kafka batch, and an owner who has no function for those: in place if
 * that is possible, else the message is removed, and the answer says that its bytes stay.
 * (test_store_erase.c has the others.) */
TEST(erasing_beside_kafka_batches)
{
    struct mixed x;
    uint64_t seqs[] = {100, 300, 0};
    struct rig_req q[3];
    struct store_reader reader;
    struct store_msg m;

    open_mixed(&x, i);
    rig_settle(&x.r);
    seqs[2] = x.first[1] - 1;
    for (unsigned k = 0; k < 3; k++) {
        rig_req_init(&q[k]);
        ck_assert_int_eq(store_remove(x.t.s, seqs[k], true, &q[k].req), ERR_OK);
    }
    for (unsigned k = 0; k < 3; k++)
        ck_assert_int_eq(rig_req_wait(&x.r, &q[k]), i == 0 ? ERR_OK : ERR_UNSUPPORTED);
    ck_assert_uint_eq(x.r.warnings, i == 0 ? 0 : 3);
    for (unsigned k = 0; k < 3; k++) {
        for (unsigned n = 0; n < 3; n++)
            ck_assert(!rig_has(&x.t, seqs[n]));
        check_mixed(&x, x.last - BATCHES * BATCH_MESSAGES - 3);
        ck_assert_uint_eq(rewrites(&x), 0);
        restart(&x.r, &x.t, "mixed");
        rig_settle(&x.r);
    }
    rig_req_init(&q[0]);
    ck_assert_int_eq(store_remove(x.t.s, x.first[0] + 5, true, &q[0].req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&x.r, &q[0]), ERR_UNSUPPORTED);
    for (unsigned k = 0; k < 2; k++) {
        ck_assert(!rig_has(&x.t, x.first[0] + 5));
        ck_assert_int_eq(rig_get(&x.t, x.first[0] + 6, &m, &reader), STORE_READ_MSG);
        store_reader_deinit(&reader);
        check_kafka(&x, &reader, x.first[1]);
        restart(&x.r, &x.t, "mixed");
    }
    rig_deinit(&x.r);
}

static const struct runner_case cases[] = {
    RUN(stuck_messages),
    RUN(key_value),
    RUN(compressed),
    RUN(head_of_a_limited_stream_is_left_alone),
    RUN(empty_when_the_last_erasure_ends),
    RUN_LOOP(kafka_batches_stay, 0, 2),
    RUN_LOOP(kafka_batches_go_with_their_last_message, 0, 2),
    RUN_LOOP(erasing_beside_kafka_batches, 0, 2),
};

RUNNER_MAIN("store/rewrite", cases)
