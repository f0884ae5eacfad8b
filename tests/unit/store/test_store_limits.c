/*
 * test_store_limits.c - what goes and why: limits, removal, purges; every case also after a reopen.
 */
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ll

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
};

static void open_bench(struct bench *b, enum store_level level, const struct store_limits *limits)
{
    b->sim = sim_open(1, NULL);
    struct rig_options options = {.sim = b->sim,
                                  .log_file_bytes = 1 << 20,
                                  .segment_min = 64 << 10,
                                  .segment_max = 256 << 10};
    rig_init(&b->r, &options);
    rig_create(&b->r, &b->t, "s", level, limits);
}

static void reopen(struct bench *b)
{
    rig_settle(&b->r);
    rig_stop(&b->r);
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
    store_check(b->r.store);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

static void expect(struct bench *b, uint64_t msgs, uint64_t first, uint64_t last)
{
    struct store_state s;

    store_stream_state(b->t.s, &s);
    ck_assert_uint_eq(s.msgs, msgs);
    ck_assert_uint_eq(s.first_seq, first);
    ck_assert_uint_eq(s.last_seq, last);
    ck_assert_uint_eq(rig_read_all(&b->t, 0, NULL, 0), msgs);
    if (msgs == 0)
        ck_assert_uint_eq(s.bytes + s.num_subjects + s.num_deleted, 0);
}

/* ---- limits ---------------------------------------------------------------------------------- */

struct limit_case {
    struct store_limits limits;
    unsigned batch, rounds, size, subjects;
    uint64_t msgs, first;
};

static const struct limit_case limit_cases[] = {
    {{.max_msgs = 10}, 1, 30, 50, 3, 10, 21},
    {{.max_msgs = 10}, 100, 3, 50, 3, 10, 291},
    {{.max_msgs = 1}, 7, 3, 50, 3, 1, 21},
    {{.max_msgs = 5000}, 1000, 20, 100, 9, 5000, 15001},
    {{.max_bytes = 1000}, 10, 10, 67, 10, 10, 91}, /* 22 + 3 + 67 + 8 = 100 each */
    {{.max_bytes = 999}, 10, 10, 67, 10, 9, 92},
    {{.max_bytes = 100}, 10, 1, 67, 10, 1, 10},
    {{.max_bytes = 99}, 10, 1, 67, 10, 0, 11},
    {{.max_msgs = 50, .max_bytes = 1000}, 10, 10, 67, 10, 10, 91},
    {{.max_msgs_per_subject = 1}, 10, 10, 50, 5, 5, 96},
    {{.max_msgs_per_subject = 3}, 10, 10, 50, 5, 15, 86},
    {{.max_msgs_per_subject = 64}, 500, 4, 50, 5, 320, 1681},
    {{.max_msgs_per_subject = 1000}, 500, 4, 50, 5, 2000, 1},
    {{.max_msgs = 12, .max_msgs_per_subject = 3}, 10, 10, 50, 5, 12, 89},
};

TEST(limits_hold)
{
    const struct limit_case *c = &limit_cases[i / 3];
    enum store_level level = (enum store_level)(i % 3);
    struct bench b;

    if (level == STORE_MEMORY && c->limits.max_bytes != 0)
        level = STORE_DURABLE; /* other sizes */
    open_bench(&b, level, &c->limits);
    for (unsigned k = 0; k < c->rounds; k++) {
        ck_assert_int_eq(rig_append(&b.t, c->batch, c->size, c->subjects), ERR_OK);
        rig_flush(&b.t);
        store_check(b.r.store);
    }
    rig_settle(&b.r);
    expect(&b, c->msgs, c->first, (uint64_t) c->batch * c->rounds);
    ck_assert_uint_eq(b.t.removed, (uint64_t) c->batch * c->rounds - c->msgs);
    ck_assert_uint_eq(b.t.removed_by[STORE_BY_LIMIT], b.t.removed);
    if (level == STORE_MEMORY) {
        close_bench(&b);
        return;
    }
    reopen(&b);
    expect(&b, c->msgs, c->first, (uint64_t) c->batch * c->rounds);
    rig_append(&b.t, 1, c->size, c->subjects);
    rig_flush(&b.t);
    rig_settle(&b.r);
    close_bench(&b);
}

TEST(age_removes)
{
    struct bench b;
    struct store_limits limits = {.max_age_ns = 10 * SECOND};

    open_bench(&b, i == 0 ? STORE_DURABLE : STORE_MEMORY, &limits);
    rig_append(&b.t, 10, 50, 3);
    rig_flush(&b.t);
    rig_sleep(&b.r, 6 * SECOND);
    rig_append(&b.t, 10, 50, 3);
    rig_flush(&b.t);
    expect(&b, 20, 1, 20);
    rig_sleep(&b.r, 5 * SECOND);
    expect(&b, 10, 11, 20);
    ck_assert_uint_eq(b.t.removed_by[STORE_BY_AGE], 10);
    rig_sleep(&b.r, 6 * SECOND);
    expect(&b, 0, 21, 20);
    close_bench(&b);
}

/* Now and this age are more than a number can say. */
TEST(an_age_of_centuries_removes_nothing)
{
    struct bench b;
    struct store_limits limits = {.max_age_ns = INT64_MAX};

    open_bench(&b, i == 0 ? STORE_DURABLE : STORE_MEMORY, &limits);
    rig_append(&b.t, 10, 50, 3);
    rig_flush(&b.t);
    rig_sleep(&b.r, 1000 * SECOND);
    expect(&b, 10, 1, 10);
    close_bench(&b);
}

TEST(age_counts_while_closed)
{
    struct bench b;
    struct store_limits limits = {.max_age_ns = 10 * SECOND};

    open_bench(&b, STORE_DURABLE, &limits);
    rig_append(&b.t, 10, 50, 3);
    rig_flush(&b.t);
    rig_sleep(&b.r, 6 * SECOND);
    rig_append(&b.t, 10, 50, 3);
    rig_flush(&b.t);
    rig_settle(&b.r);
    rig_stop(&b.r);
    sim_next(b.sim, 5 * SECOND);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "s");
    store_recovered_done(b.r.store);
    expect(&b, 10, 11, 20);
    rig_sleep(&b.r, 6 * SECOND);
    expect(&b, 0, 21, 20);
    close_bench(&b);
}

TEST(update_trims_and_lasts)
{
    struct bench b;
    struct store_limits limits = {.max_msgs = 40}, per = {.max_msgs_per_subject = 2};
    struct rig_req q;

    open_bench(&b, STORE_DURABLE, NULL);
    rig_append(&b.t, 100, 50, 5);
    rig_flush(&b.t);
    rig_req_init(&q);
    store_stream_update(b.t.s, &limits, str_of(b.t.config), &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_settle(&b.r);
    expect(&b, 40, 61, 100);
    reopen(&b);
    expect(&b, 40, 61, 100);
    rig_req_init(&q);
    store_stream_update(b.t.s, &per, str_of(b.t.config), &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_settle(&b.r);
    expect(&b, 10, 91, 100);
    rig_append(&b.t, 7, 50, 5);
    rig_flush(&b.t);
    expect(&b, 10, 98, 107);
    reopen(&b);
    expect(&b, 10, 98, 107);
    close_bench(&b);
}

/* ---- removal --------------------------------------------------------------------------------- */

static enum err remove_wait(struct bench *b, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    enum err err = store_remove(b->t.s, seq, false, &q.req);
    return err != ERR_OK ? err : rig_req_wait(&b->r, &q);
}

TEST(remove_here_and_there)
{
    struct bench b;
    struct store_subject sub;
    struct store_state s;
    enum store_level level = (enum store_level) i;

    open_bench(&b, level, NULL);
    rig_append(&b.t, 20, 50, 4);
    rig_flush(&b.t);
    ck_assert_int_eq(remove_wait(&b, 0), ERR_NOT_FOUND);
    ck_assert_int_eq(remove_wait(&b, 21), ERR_NOT_FOUND);
    ck_assert_int_eq(remove_wait(&b, 10), ERR_OK);
    ck_assert_int_eq(remove_wait(&b, 10), ERR_NOT_FOUND);
    ck_assert(!rig_has(&b.t, 10) && rig_has(&b.t, 9) && rig_has(&b.t, 11));
    expect(&b, 19, 1, 20);
    ck_assert_int_eq(remove_wait(&b, 1), ERR_OK);
    expect(&b, 18, 2, 20);
    ck_assert_int_eq(remove_wait(&b, 3), ERR_OK);
    ck_assert_int_eq(remove_wait(&b, 2), ERR_OK); /* 2 and 3 go with it */
    expect(&b, 16, 4, 20);
    ck_assert(store_subject_get(b.t.s, STR("s.0"), &sub));
    ck_assert_uint_eq(sub.last_seq, 20);
    ck_assert_int_eq(remove_wait(&b, 20), ERR_OK); /* the subject's last: the one before counts */
    ck_assert(store_subject_get(b.t.s, STR("s.0"), &sub));
    ck_assert_uint_eq(sub.last_seq, 16);
    ck_assert_uint_eq(sub.msgs, 4);
    ck_assert_uint_eq(store_subject_last_match(b.t.s, STR("s.*")), 19);
    expect(&b, 15, 4, 20);
    store_stream_state(b.t.s, &s);
    ck_assert_uint_eq(s.num_deleted, 2); /* 10 and 20 */
    rig_settle(&b.r);
    ck_assert_uint_eq(b.t.removed_by[STORE_BY_REQUEST], 5);
    if (level != STORE_MEMORY) {
        reopen(&b);
        expect(&b, 15, 4, 20);
        ck_assert(store_subject_get(b.t.s, STR("s.0"), &sub));
        ck_assert_uint_eq(sub.last_seq, 16);
    }
    for (uint64_t seq = 4; seq <= 20; seq++)
        store_remove(b.t.s, seq, seq % 2 == 0, NULL);
    expect(&b, 0, 21, 20);
    ck_assert(!store_subject_get(b.t.s, STR("s.0"), &sub));
    rig_settle(&b.r);
    rig_append(&b.t, 1, 50, 4);
    rig_flush(&b.t);
    expect(&b, 1, 21, 21);
    if (level != STORE_MEMORY) {
        reopen(&b);
        expect(&b, 1, 21, 21);
    }
    close_bench(&b);
}

/* ---- purges ---------------------------------------------------------------------------------- */

struct purge_case {
    const char *filter;
    uint64_t before, keep;
    uint64_t removed, first, msgs;
};

/* 3000 messages, subject s.(seq % 10). */
static const struct purge_case purge_cases[] = {
    {"", 0, 0, 3000, 3001, 0},       {">", 0, 0, 3000, 3001, 0},   {"s.*", 0, 0, 3000, 3001, 0},
    {"", 1001, 0, 1000, 1001, 2000}, {"", 1, 0, 0, 1, 3000},       {"", 5000, 0, 3000, 3001, 0},
    {"", 0, 100, 2900, 2901, 100},   {"", 0, 5000, 0, 1, 3000},    {"s.1", 0, 0, 300, 2, 2700},
    {"s.3", 0, 0, 300, 1, 2700},     {"s.3", 0, 10, 290, 1, 2710}, {"s.3", 1000, 0, 100, 1, 2900},
    {"none", 0, 0, 0, 1, 3000},
};

TEST(purges)
{
    const struct purge_case *c = &purge_cases[i / 2];
    enum store_level level = i % 2 == 0 ? STORE_DURABLE : STORE_MEMORY;
    struct store_purge p = {.filter = str_of(c->filter), .before_seq = c->before, .keep = c->keep};
    struct rig_req q;
    struct bench b;

    open_bench(&b, level, NULL);
    for (int k = 0; k < 30; k++) {
        rig_append(&b.t, 100, 200, 10);
        rig_flush(&b.t);
    }
    rig_req_init(&q);
    store_purge(b.t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, c->removed);
    rig_settle(&b.r);
    expect(&b, c->msgs, c->first, 3000);
    ck_assert_uint_eq(b.t.removed_by[STORE_BY_PURGE], c->removed);
    if (level != STORE_MEMORY) {
        reopen(&b);
        expect(&b, c->msgs, c->first, 3000);
    }
    rig_append(&b.t, 10, 200, 10);
    rig_flush(&b.t);
    expect(&b, c->msgs + 10, c->first, 3010);
    rig_settle(&b.r);
    close_bench(&b);
}

TEST(purge_while_appending)
{
    struct store_purge p = {.keep = 0};
    struct rig_req q;
    struct bench b;

    open_bench(&b, STORE_DURABLE, NULL);
    rig_append(&b.t, 100, 200, 10);
    rig_flush(&b.t);
    rig_append(&b.t, 5, 200, 10); /* in flight: stay */
    rig_req_init(&q);
    store_purge(b.t.s, &p, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    ck_assert_uint_eq(q.req.count, 100);
    rig_flush(&b.t);
    expect(&b, 5, 101, 105);
    close_bench(&b);
}

/* ---- counting against a naive count ---------------------------------------------------------- */

TEST(counts_and_subjects)
{
    static const char *const filters[] = {"s.1", "s.*", ">", "s.12", "x", "*.7"};
    struct bench b;
    struct prng *rng;

    open_bench(&b, STORE_DURABLE, NULL);
    rng = sim_rng(b.sim);
    for (int k = 0; k < 20; k++) {
        rig_append(&b.t, 200, 60, 17);
        rig_flush(&b.t);
    }
    for (int k = 0; k < 300; k++)
        store_remove(b.t.s, 1 + prng_below(rng, 4000), false, NULL);
    rig_settle(&b.r);
    for (int k = 0; k < 2; k++) {
        for (unsigned f = 0; f < 6; f++) {
            struct str filter = str_of(filters[f]);
            for (uint64_t from = 0; from < 4100; from += 373) {
                uint64_t count;
                ck_assert_int_eq(store_count(b.t.s, from, &filter, 1, &count, NULL), ERR_OK);
                ck_assert_uint_eq(count, rig_read_all(&b.t, from, filters[f], 60));
            }
        }
        reopen(&b);
    }
    close_bench(&b);
}

/* What the first message of a subject takes is known without reading, whatever goes. */
TEST(bytes_of_a_subjects_first)
{
    struct store_limits limits = {.max_msgs_per_subject = 2};
    static const size_t sizes[] = {10, 200, 30, 4000, 50};
    enum store_level level = i == 0 ? STORE_DURABLE : STORE_MEMORY;
    struct bench b;

    open_bench(&b, level, &limits);
    ck_assert_uint_eq(store_subject_first_bytes(b.t.s, STR("a")), UINT64_MAX);
    for (unsigned k = 0; k < 5; k++) {
        ck_assert_int_eq(rig_append_to(&b.t, "a", sizes[k]), ERR_OK);
        ck_assert_int_eq(rig_append_to(&b.t, "b", 500), ERR_OK);
        rig_flush(&b.t);
        rig_settle(&b.r);
        ck_assert_uint_eq(store_subject_first_bytes(b.t.s, STR("a")),
                          store_msg_bytes(level, 1, 0, sizes[k > 0 ? k - 1 : 0]));
    }
    if (level == STORE_DURABLE) {
        reopen(&b);
        rig_settle(&b.r);
        ck_assert_uint_eq(store_subject_first_bytes(b.t.s, STR("a")),
                          store_msg_bytes(level, 1, 0, 4000));
    }
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(limits_hold, 0, 3 * (int) (sizeof(limit_cases) / sizeof(limit_cases[0]))),
    RUN_LOOP(age_removes, 0, 2),
    RUN_LOOP(an_age_of_centuries_removes_nothing, 0, 2),
    RUN(age_counts_while_closed),
    RUN(update_trims_and_lasts),
    RUN_LOOP(remove_here_and_there, 0, 3),
    RUN_LOOP(purges, 0, 2 * (int) (sizeof(purge_cases) / sizeof(purge_cases[0]))),
    RUN(purge_while_appending),
    RUN(counts_and_subjects),
    RUN_LOOP(bytes_of_a_subjects_first, 0, 2),
};

RUNNER_MAIN("store/store_limits", cases)
