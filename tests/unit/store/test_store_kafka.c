/*
 * test_store_kafka.c - batches of Kafka producers in a stream: what they come back as, verbatim and
 * message by message; beside native ones; with removals, limits, purges; warm and cold, sealed,
 * reopened, encrypted, damaged.
 */
#include "lib/base/bytes.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
};

static void open_bench_with(struct bench *b, enum store_level level, const struct store_limits *l,
                            const char *key, uint32_t pages_min)
{
    *b = (struct bench){.sim = sim_open(1, NULL)};
    struct rig_options options = {.sim = b->sim,
                                  .kafka_pages_min = pages_min,
                                  .log_file_bytes = pages_min > 0 ? 512 << 10 : 1 << 20,
                                  .segment_min = 256 << 10,
                                  .segment_max = 256 << 10,
                                  .cache_bytes = 128 << 10,
                                  .key = key,
                                  .kafka_decode = rig_kafka_decode};
    rig_init(&b->r, &options);
    rig_create(&b->r, &b->t, "s", level, l);
}

static void open_bench(struct bench *b, enum store_level level, const struct store_limits *l,
                       const char *key)
{
    open_bench_with(b, level, l, key, 0);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

static void reopen(struct bench *b)
{
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
}

static struct store_state state_of(struct bench *b)
{
    struct store_state state;

    store_stream_state(b->t.s, &state);
    return state;
}

static enum store_read next_entry(struct bench *b, struct store_reader *r, struct store_entry *e)
{
    for (;;) {
        bool ready = false;
        r->ctx = &ready;
        enum store_read result = store_reader_entry(r, e);
        if (result != STORE_READ_WAIT)
            return result;
        rig_wait(&b->r, &ready);
    }
}

static enum store_read next_message(struct bench *b, struct store_reader *r, struct store_msg *m)
{
    for (;;) {
        bool ready = false;
        r->ctx = &ready;
        enum store_read result = store_reader_next(r, m);
        if (result != STORE_READ_WAIT)
            return result;
        rig_wait(&b->r, &ready);
    }
}

/* The batch that begins at first, as it was appended. */
static void expect_batch(const struct store_entry *e, uint64_t first, uint32_t messages,
                         size_t size)
{
    char *want = mem_alloc(size);

    ck_assert(e->kafka && e->first_seq == first && e->messages == messages);
    ck_assert_uint_eq(e->batch.n, size);
    ck_assert_uint_eq(get_u64(e->batch.p), first);
    ck_assert_uint_eq(get_u32(e->batch.p + 8), 7);
    rig_payload(first, want, size);
    ck_assert_mem_eq(e->batch.p + 12, want + 12, size - 12);
    ck_assert((const uint8_t *) e->batch.p >= e->chunk->data &&
              (const uint8_t *) e->batch.p + size <= e->chunk->data + e->chunk->len);
    mem_free(want);
}

static void expect_message(const struct store_msg *m, uint64_t seq, uint64_t first)
{
    char header[64], payload[20];
    uint64_t i = seq - first;

    snprintf(header, sizeof(header), "NATS/1.0\r\nN: %u\r\n\r\n", (unsigned) i);
    rig_payload(seq, payload, sizeof(payload));
    ck_assert_uint_eq(m->seq, seq);
    if (i % 100 == 99) {
        ck_assert(m->header.n == 0 && m->payload.n == 0);
    } else {
        ck_assert(str_eq(m->header, str_of(header)));
        ck_assert(str_eq(m->payload, str_from(payload, sizeof(payload))));
    }
    ck_assert_mem_eq(m->payload.p + m->payload.n, "\r\n", 2);
}

/* Native, Kafka, native, Kafka: sequences 1 to 10, 11 to 310, 311 to 320, 321. */
static void append_mixture(struct bench *b)
{
    ck_assert_int_eq(rig_append(&b->t, 10, 20, 2), ERR_OK);
    ck_assert_int_eq(rig_append_kafka(&b->t, "k", 300, 9000), ERR_OK);
    ck_assert_int_eq(rig_append(&b->t, 10, 20, 2), ERR_OK);
    ck_assert_int_eq(rig_append_kafka(&b->t, "k", 1, 100), ERR_OK);
    rig_flush(&b->t);
}

static void read_entries(struct bench *b)
{
    struct store_reader r;
    struct store_entry e;

    store_reader_init(&r, b->t.s, 1, NULL, 0, rig_on_ready, NULL);
    for (uint64_t seq = 1; seq <= 321;) {
        ck_assert_int_eq(next_entry(b, &r, &e), STORE_READ_MSG);
        if (seq == 11)
            expect_batch(&e, 11, 300, 9000);
        else if (seq == 321)
            expect_batch(&e, 321, 1, 100);
        else
            ck_assert(!e.kafka && e.msg.seq == seq && e.messages == 1);
        ck_assert(!e.holes);
        seq += e.messages;
        ck_assert_uint_eq(r.seq, seq);
    }
    ck_assert_int_eq(next_entry(b, &r, &e), STORE_READ_END);
    /* From the middle the whole batch comes. */
    store_reader_seek(&r, 200);
    ck_assert_int_eq(next_entry(b, &r, &e), STORE_READ_MSG);
    expect_batch(&e, 11, 300, 9000);
    store_reader_deinit(&r);
}

static void read_messages(struct bench *b)
{
    struct store_reader r;
    struct store_msg m;

    store_reader_init(&r, b->t.s, 1, NULL, 0, rig_on_ready, NULL);
    for (uint64_t seq = 1; seq <= 321; seq++) {
        ck_assert_int_eq(next_message(b, &r, &m), STORE_READ_MSG);
        ck_assert_uint_eq(m.seq, seq);
        if (seq > 10 && seq <= 310)
            expect_message(&m, seq, 11);
        if (seq == 321)
            expect_message(&m, seq, 321);
    }
    ck_assert_int_eq(next_message(b, &r, &m), STORE_READ_END);
    store_reader_deinit(&r);
    ck_assert_int_eq(rig_get(&b->t, 42, &m, &r), STORE_READ_MSG);
    expect_message(&m, 42, 11);
    store_reader_deinit(&r);
}

static void check_mixture(struct bench *b)
{
    struct store_state st = state_of(b);
    struct store_subject sub;

    ck_assert(st.msgs == 321 && st.first_seq == 1 && st.last_seq == 321 && st.num_subjects == 3);
    ck_assert(store_subject_get(b->t.s, STR("k"), &sub));
    ck_assert(sub.msgs == 301 && sub.last_seq == 321);
    store_check(b->r.store);
}

static const enum store_level levels[] = {STORE_DURABLE, STORE_ASYNC, STORE_MEMORY};

TEST(verbatim_and_message_by_message)
{
    struct bench b;
    uint64_t bytes;

    open_bench(&b, levels[i % 3], NULL, i < 3 ? NULL : "a secret key");
    append_mixture(&b);
    bytes = state_of(&b).bytes;
    for (int round = 0; round < 3; round++) {
        check_mixture(&b);
        read_entries(&b);
        read_messages(&b);
        read_entries(&b);
        store_shed_cache(b.r.store);
        if (round > 0 && i % 3 != 2)
            reopen(&b);
        if (i % 3 != 2)
            ck_assert_uint_eq(state_of(&b).bytes, bytes);
    }
    close_bench(&b);
}

/* Large ones first: the average says nothing of where the last bytes begin. */
TEST(the_tail_is_found_by_bytes)
{
    struct bench b;

    open_bench(&b, levels[i], NULL, NULL);
    ck_assert_uint_eq(store_stream_tail(b.t.s, 1000), 1);
    for (int k = 0; k < 40; k++) {
        ck_assert_int_eq(rig_append(&b.t, 1, 50000, 1), ERR_OK);
        rig_flush(&b.t);
    }
    for (int k = 0; k < 3; k++) { /* 41, 541, 1041 */
        ck_assert_int_eq(rig_append_kafka(&b.t, "k", 500, 9000), ERR_OK);
        rig_flush(&b.t);
    }
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(store_stream_tail(b.t.s, 9000), 1041);
        ck_assert_uint_eq(store_stream_tail(b.t.s, 18000), 541);
        ck_assert_uint_eq(store_stream_tail(b.t.s, 27000), 41);
        ck_assert_uint_eq(store_stream_tail(b.t.s, 30000), 40);
        ck_assert_uint_eq(store_stream_tail(b.t.s, 1 << 20), 20);
        ck_assert_uint_eq(store_stream_tail(b.t.s, 1 << 30), 1);
        if (levels[i] == STORE_MEMORY)
            break;
        reopen(&b);
    }
    close_bench(&b);
}

TEST(its_messages_count_for_what_it_takes)
{
    struct bench b;

    open_bench(&b, STORE_DURABLE, NULL, NULL);
    ck_assert_int_eq(rig_append_kafka(&b.t, "k", 7, 9000), ERR_OK);
    rig_flush(&b.t);
    ck_assert_uint_eq(state_of(&b).bytes, store_msg_bytes(STORE_DURABLE, 1, 0, 9000));
    /* Never less than 2 each. */
    ck_assert_int_eq(rig_append_kafka(&b.t, "k", 9000, 100), ERR_OK);
    rig_flush(&b.t);
    ck_assert_uint_eq(state_of(&b).bytes, store_msg_bytes(STORE_DURABLE, 1, 0, 9000) + 18000);
    close_bench(&b);
}

/* Also when it was to be erased, for which the owner would have to make the batch anew. */
TEST(removed_messages_are_holes)
{
    bool erase = i % 2 != 0;
    struct bench b;
    struct store_reader r;
    struct store_entry e;
    struct store_msg m;
    struct rig_req q;

    open_bench(&b, STORE_DURABLE, NULL, NULL);
    append_mixture(&b);
    rig_req_init(&q);
    ck_assert_int_eq(store_remove(b.t.s, 100, erase, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), erase ? ERR_UNSUPPORTED : ERR_OK);
    if (i / 2 != 0)
        reopen(&b);
    ck_assert_uint_eq(state_of(&b).msgs, 320);
    ck_assert_uint_eq(state_of(&b).num_deleted, 1);
    store_reader_init(&r, b.t.s, 50, NULL, 0, rig_on_ready, NULL);
    ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_MSG);
    expect_batch(&e, 11, 300, 9000);
    ck_assert(e.holes && !store_msg_exists(b.t.s, 100) && store_msg_exists(b.t.s, 101));
    store_reader_seek(&r, 99);
    ck_assert_int_eq(next_message(&b, &r, &m), STORE_READ_MSG);
    expect_message(&m, 99, 11);
    ck_assert_int_eq(next_message(&b, &r, &m), STORE_READ_MSG);
    expect_message(&m, 101, 11);
    store_reader_deinit(&r);
    ck_assert_int_eq(rig_get(&b.t, 100, &m, &r), STORE_READ_GONE);
    store_reader_deinit(&r);
    store_check(b.r.store);
    close_bench(&b);
}

/* What was cut off at the front is no hole: readers know where the stream begins. */
TEST(a_purge_may_end_inside)
{
    struct bench b;
    struct store_purge p = {.before_seq = 111};
    struct rig_req q;
    struct store_reader r;
    struct store_entry e;

    open_bench(&b, STORE_DURABLE, NULL, NULL);
    append_mixture(&b);
    rig_req_init(&q);
    store_purge(b.t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, 110);
    if (i != 0)
        reopen(&b);
    ck_assert(state_of(&b).first_seq == 111 && state_of(&b).msgs == 211);
    store_reader_init(&r, b.t.s, 1, NULL, 0, rig_on_ready, NULL);
    ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_MSG);
    expect_batch(&e, 11, 300, 9000);
    ck_assert(!e.holes);
    store_reader_deinit(&r);
    close_bench(&b);
}

TEST(limits_cut_inside)
{
    struct bench b;
    struct store_limits l[] = {{.max_msgs = 50}, {.max_msgs_per_subject = 50}};

    open_bench(&b, STORE_DURABLE, &l[i], NULL);
    for (int n = 0; n < 20; n++)
        ck_assert_int_eq(rig_append_kafka(&b.t, "k", 33, 5000), ERR_OK);
    rig_flush(&b.t);
    rig_settle(&b.r);
    ck_assert(state_of(&b).msgs == 50 && state_of(&b).first_seq == 660 - 49);
    reopen(&b);
    ck_assert(state_of(&b).msgs == 50 && state_of(&b).first_seq == 660 - 49);
    close_bench(&b);
}

/* Large ones, over several segments; those on pages of their own (i = 2) beside others. */
TEST(many_segments)
{
    struct bench b;
    struct store_reader r;
    struct store_entry e;
    uint64_t seq = 1;

    open_bench_with(&b, STORE_DURABLE, NULL, i == 1 ? "a secret key" : NULL, i == 2 ? 40000 : 0);
    for (unsigned n = 0; n < 40; n++) {
        ck_assert_int_eq(rig_append_kafka(&b.t, "k", 1 + n * 10, 1000 + n * 3000), ERR_OK);
        if (n % 5 == 0)
            ck_assert_int_eq(rig_append(&b.t, 3, 100, 1), ERR_OK);
        if (n % 3 == 0)
            rig_flush(&b.t);
    }
    rig_flush(&b.t);
    rig_settle(&b.r);
    for (int round = 0; round < 2; round++) {
        store_shed_cache(b.r.store);
        store_reader_init(&r, b.t.s, 1, NULL, 0, rig_on_ready, NULL);
        seq = 1;
        for (unsigned n = 0; n < 40; n++) {
            ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_MSG);
            expect_batch(&e, seq, 1 + n * 10, 1000 + n * 3000);
            seq += e.messages;
            for (unsigned k = 0; k < 3 && n % 5 == 0; k++, seq++)
                ck_assert(next_entry(&b, &r, &e) == STORE_READ_MSG && !e.kafka);
        }
        ck_assert_int_eq(next_entry(&b, &r, &e), STORE_READ_END);
        store_reader_deinit(&r);
        reopen(&b);
    }
    close_bench(&b);
}

TEST(what_is_refused)
{
    struct bench b;
    struct store_kafka_append a = {.subject = STR("k"), .batch = STR("bytes"), .ts = 1};
    uint64_t first;
    uint8_t *stored;

    open_bench(&b, STORE_DURABLE, NULL, NULL);
    ck_assert_int_eq(store_append_kafka(b.t.s, &a, &first, &stored), ERR_INVALID);
    a.messages = STORE_KAFKA_MESSAGES_MAX + 1;
    ck_assert_int_eq(store_append_kafka(b.t.s, &a, &first, &stored), ERR_TOO_LARGE);
    a.messages = 1;
    a.batch.n = STORE_PAYLOAD_MAX + 1;
    ck_assert_int_eq(store_append_kafka(b.t.s, &a, &first, &stored), ERR_TOO_LARGE);
    rig_stop(&b.r);
    sim_close(b.sim);
    /* A directory that was not opened for it. */
    *(&b) = (struct bench){.sim = sim_open(1, NULL)};
    struct rig_options options = {.sim = b.sim};
    rig_init(&b.r, &options);
    rig_create(&b.r, &b.t, "s", STORE_DURABLE, NULL);
    a.batch = STR("bytes");
    ck_assert_int_eq(store_append_kafka(b.t.s, &a, &first, &stored), ERR_UNSUPPORTED);
    close_bench(&b);
}

/* Until memory comes back. */
TEST(without_memory_a_reader_waits)
{
    struct bench b;
    struct store_reader r;
    struct store_msg m;
    bool ready = false;

    open_bench(&b, STORE_DURABLE, NULL, NULL);
    append_mixture(&b);
    store_reader_init(&r, b.t.s, 20, NULL, 0, rig_on_ready, &ready);
    mem_fail_after((unsigned) i + 1);
    ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_WAIT);
    mem_fail_after(0);
    rig_wait(&b.r, &ready);
    ck_assert_int_eq(store_reader_next(&r, &m), STORE_READ_MSG);
    expect_message(&m, 20, 11);
    store_reader_deinit(&r);
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(verbatim_and_message_by_message, 0, 5),
    RUN_LOOP(the_tail_is_found_by_bytes, 0, 3),
    RUN(its_messages_count_for_what_it_takes),
    RUN_LOOP(removed_messages_are_holes, 0, 4),
    RUN_LOOP(a_purge_may_end_inside, 0, 2),
    RUN_LOOP(limits_cut_inside, 0, 2),
    RUN_LOOP(many_segments, 0, 3),
    RUN(what_is_refused),
    RUN_LOOP(without_memory_a_reader_waits, 0, 2),
};

RUNNER_MAIN("store/store_kafka", cases)
