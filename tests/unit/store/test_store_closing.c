/*
 * test_store_closing.c - what a clean close seals: the last segment of a stream gets a footer when
 * a start would have much to go through, and the next start scans nothing. When it is not done (a
 * full disk, too little time, an index that is still being read) nothing is lost but that.
 * (test_store_stop closes in the midst of work.)
 */
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull
#define SEGMENT (256u << 10)
#define STREAMS 24u

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
};

static void open_bench(struct bench *b, const struct rig_options *options,
                       const struct sim_options *sim)
{
    struct rig_options o = *options;

    memset(b, 0, sizeof(*b));
    o.sim = b->sim = sim_open(5, sim);
    o.log_file_bytes = 256 << 10;
    o.segment_min = o.segment_max = SEGMENT;
    rig_init(&b->r, &o);
    rig_create(&b->r, &b->t, "one", STORE_DURABLE, NULL);
}

static void close_bench(struct bench *b)
{
    rig_deinit(&b->r);
    sim_close(b->sim);
}

static void write_some(struct rig_stream *t, unsigned n)
{
    for (unsigned k = 0; k < n; k += 10) {
        ck_assert_int_eq(rig_append(t, 10, 100, 3), ERR_OK);
        rig_flush(t);
    }
}

/* What the start scanned. */
static uint64_t again(struct bench *b)
{
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "one");
    store_recovered_done(b->r.store);
    ck_assert(!b->t.failed);
    ck_assert_uint_eq(b->r.warnings, 0);
    const struct store_recovery *found = store_dir_recovery(b->r.dir);
    ck_assert(found->clean);
    ck_assert(found->lost_messages == 0 && found->bytes_cut == 0);
    return found->bytes_scanned;
}

static unsigned segments_of(const struct bench *b)
{
    return b->t.s->nindex;
}

static struct segment *first_of(const struct bench *b)
{
    return b->t.s->index[0];
}

/* Closed and opened again and again, with messages between: each start reads footers alone. */
TEST(a_start_scans_nothing)
{
    struct bench b;

    open_bench(&b, &(struct rig_options){.seal_bytes = 1, .key = i ? "a secret key" : NULL}, NULL);
    for (unsigned k = 1; k <= 5; k++) {
        write_some(&b.t, 100);
        rig_stop(&b.r);
        ck_assert_uint_eq(again(&b), 0);
        ck_assert_uint_eq(b.t.s->last_seq, 100 * k);
        ck_assert_uint_eq(segments_of(&b), k + 1);
        ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 100 * k);
    }
    rig_stop(&b.r); /* nothing was written: nothing to seal, and no file more */
    again(&b);
    ck_assert_uint_eq(segments_of(&b), 6);
    close_bench(&b);
}

/* A small one goes on where it was. */
TEST(small_ones_stay)
{
    struct bench b;

    open_bench(&b, &(struct rig_options){.seal_bytes = 64 << 10}, NULL);
    for (unsigned k = 1; k <= 5; k++) {
        write_some(&b.t, 50);
        rig_stop(&b.r);
        ck_assert_uint_gt(again(&b), 0);
        ck_assert_uint_eq(segments_of(&b), 1);
    }
    write_some(&b.t, 500);
    rig_stop(&b.r);
    ck_assert_uint_eq(again(&b), 0);
    ck_assert_uint_eq(segments_of(&b), 2);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 750);
    close_bench(&b);
}

/* All its messages are gone: it is sealed all the same, and goes when the next start has another.
 */
TEST(an_empty_one)
{
    struct bench b;
    struct rig_req q;
    struct store_purge all = {0};

    open_bench(&b, &(struct rig_options){.seal_bytes = 1}, NULL);
    write_some(&b.t, 300);
    rig_req_init(&q);
    store_purge(b.t.s, &all, &q.req);
    ck_assert_int_eq(rig_req_wait(&b.r, &q), ERR_OK);
    rig_stop(&b.r);
    ck_assert_uint_eq(again(&b), 0);
    ck_assert_uint_eq(b.t.s->msgs, 0);
    write_some(&b.t, 10);
    ck_assert_uint_eq(b.t.s->last_seq, 310);
    rig_sleep(&b.r, SECOND);
    ck_assert_uint_eq(segments_of(&b), 1);
    ck_assert_uint_eq(first_of(&b)->base_seq, 301);
    rig_stop(&b.r);
    again(&b);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 10);
    close_bench(&b);
}

/* Closed before its subjects were known, as they would have to be for a footer: the close reads
 * them, or leaves the segment as it is. */
TEST(an_index_that_is_not_read)
{
    struct bench b;

    open_bench(&b, &(struct rig_options){.index_lazy_bytes = 1, .seal_bytes = UINT64_MAX}, NULL);
    write_some(&b.t, 400);
    rig_close(&b.r);
    b.r.options.seal_bytes = 1;
    ck_assert_uint_gt(again(&b), 0);
    ck_assert(b.t.s->loader != NULL);
    rig_close(&b.r);
    again(&b);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, "s.1", 100), 134);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 400);
    close_bench(&b);
}

/* There is no space for the footer, or what was written can not be synced. */
TEST(a_disk_that_refuses)
{
    static const enum sim_fault faults[] = {SIM_FAULT_ALLOCATE, SIM_FAULT_SYNC};
    struct bench b;

    open_bench(&b, &(struct rig_options){.seal_bytes = 1}, NULL);
    write_some(&b.t, 100);
    sim_fault_only(b.sim, ".seg");
    sim_fault_arm(b.sim, faults[i], 1, 1000);
    rig_close(&b.r);
    ck_assert_uint_gt(sim_fault_count(b.sim, faults[i]), 0);
    sim_fault_arm(b.sim, faults[i], 0, 0);
    b.r.warnings = 0;
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "one");
    store_recovered_done(b.r.store);
    ck_assert(!b.t.failed);
    ck_assert_uint_eq(store_dir_recovery(b.r.dir)->lost_messages, 0);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 100);
    write_some(&b.t, 100);
    rig_stop(&b.r);
    again(&b);
    ck_assert_uint_eq(rig_read_all(&b.t, 1, NULL, 100), 200);
    close_bench(&b);
}

/* Each seal takes a second here: what was not begun within two is left to the next start. */
TEST(many_streams)
{
    struct rig_stream streams[STREAMS];
    struct sim_options slow;
    struct bench b;
    char name[16];
    unsigned sealed = 0;

    sim_options_init(&slow);
    slow.work = (struct sim_latency){.min_ns = SECOND, .max_ns = SECOND};
    open_bench(&b, &(struct rig_options){.seal_bytes = 1}, &slow);
    for (unsigned k = 0; k < STREAMS; k++) {
        snprintf(name, sizeof(name), "s%u", k);
        rig_create(&b.r, &streams[k], name, STORE_DURABLE, NULL);
        write_some(&streams[k], 20);
    }
    rig_stop(&b.r);
    rig_start(&b.r);
    rig_attach(&b.r, &b.t, "one");
    ck_assert(store_dir_recovery(b.r.dir)->clean);
    for (unsigned k = 0; k < STREAMS; k++) {
        snprintf(name, sizeof(name), "s%u", k);
        rig_attach(&b.r, &streams[k], name);
        sealed += streams[k].s->index[0]->state == SEGMENT_SEALED;
        ck_assert_uint_eq(rig_read_all(&streams[k], 1, NULL, 100), 20);
    }
    store_recovered_done(b.r.store);
    ck_assert(sealed > 0 && sealed < STREAMS);
    close_bench(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_start_scans_nothing, 0, 2),
    RUN(small_ones_stay),
    RUN(an_empty_one),
    RUN(an_index_that_is_not_read),
    RUN_LOOP(a_disk_that_refuses, 0, 2),
    RUN(many_streams),
};

RUNNER_MAIN("store/store_closing", cases)
