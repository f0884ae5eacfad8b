/*
 * test_store_bucket.c - streams with a limit per subject that start without their index of subjects
 * (load_limits.c), against an array of all messages.
 */
#include "store/segment_format.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/unit/store/index_model.h"

static void check_state(struct bench *b, const struct store_state *before)
{
    struct store_state after;

    store_stream_state(b->t.s, &after);
    ck_assert_uint_eq(after.msgs, before->msgs);
    ck_assert_uint_eq(after.bytes, before->bytes);
    ck_assert_uint_eq(after.first_seq, before->first_seq);
    ck_assert_uint_eq(after.last_seq, before->last_seq);
    ck_assert_uint_le(after.num_subjects, before->num_subjects);
}

static void kill_and_open(struct bench *b)
{
    struct sim *killed = sim_fork(b->sim, SIM_CRASH_KEEP, 1);

    rig_stop(&b->r);
    sim_close(b->sim);
    b->sim = b->r.options.sim = killed;
    rig_start(&b->r);
    rig_attach(&b->r, &b->t, "s");
    store_recovered_done(b->r.store);
    bench_slice(b);
}

/* A stream with a limit per subject, of which much was removed, is opened without its index; what
 * is gone stays gone, and all sums are those from before. i / 10: after a clean close; killed a
 * moment after a commit, when perhaps nothing says what the limit took; when it had been idle;
 * while it was written to, where the subjects of the last messages are looked at. */
TEST(a_bucket_starts_without_its_index)
{
    char names[8][NAME];
    struct store_state before;
    struct bench b;

    bench_open(&b, 35 + i % 10);
    while (b.last < 16000)
        bench_append_some(&b);
    bench_remove_some(&b);
    for (unsigned round = 0; round < 4; round++) {
        store_check(b.r.store);
        rig_settle(&b.r);
        if (i >= 10)
            rig_sleep(&b.r, i < 20 ? 300000000 : 3000000000);
        for (unsigned n = 0; i >= 30 && n < 4; n++) { /* busy, and the claim finds nothing to do */
            bench_append_some(&b);
            rig_sleep(&b.r, n == 3 ? 1000000 : 800000000);
        }
        rig_settle(&b.r);
        store_stream_state(b.t.s, &before);
        (i < 10 ? bench_open_again : kill_and_open)(&b);
        if (i < 10 || i >= 20)
            ck_assert_ptr_nonnull(b.t.s->loader);
        check_state(&b, &before);
        bench_check_gone(&b, prng_below(&b.rng, b.last));
        if (store_index_wait(b.t.s, NULL)) {
            bench_know(&b, names, 8);
            for (unsigned k = 0; k < 8; k++)
                bench_ask_known(&b, names[k]);
            bench_remove_some(&b);
            for (unsigned k = 0; k < 8; k++)
                bench_ask_known(&b, names[k]);
            /* What they push out goes at once, whether the subject was known or is asked for now.
             */
            for (unsigned k = 0; k < 24; k++) {
                if (k >= 8)
                    bench_name((unsigned) prng_below(&b.rng, b.spread), names[k % 8]);
                bench_append_one(&b, names[k % 8]);
                rig_flush(&b.t);
                bench_know_these(&b, names, 8);
                bench_ask_known(&b, names[k % 8]);
            }
        }
        if (round % 2 == 0) {
            while (b.t.s->loader != NULL)
                rig_step(&b.r);
        } else {
            bench_append_some(&b); /* over the limit, until the index is there */
        }
        store_check(b.r.store);
        rig_settle(&b.r);
        bench_ask(&b);
    }
    bench_close(&b);
}

/* A bucket that is killed while it is written to, and one of its footers is damaged (i: nowhere, in
 * its subjects, in its sizes). In its subjects: it can not be asked for those of the last second,
 * so the whole index is read at once. In its sizes: that was seen before, and its batches are read.
 * Nothing is lost or back. */
TEST(a_killed_bucket_with_a_damaged_footer)
{
    static const unsigned sections[] = {SECTION_SUBJECTS, SECTION_SIZES};
    struct store_state before, after;
    struct bench b;

    bench_open(&b, 35 + 3);
    while (b.last < 16000)
        bench_append_some(&b);
    rig_sleep(&b.r, 3000000000);
    for (unsigned n = 0; n < 3; n++) {
        bench_append_some(&b);
        rig_sleep(&b.r, n == 2 ? 1000000 : 800000000);
    }
    rig_settle(&b.r);
    store_stream_state(b.t.s, &before);
    if (i > 0)
        bench_harm_footer(&b, sections[i - 1]);
    kill_and_open(&b);
    ck_assert_int_eq(b.t.s->loader == NULL, i == 1);
    check_state(&b, &before);
    bench_check_gone(&b, 1);
    bench_ask(&b);
    store_stream_state(b.t.s, &after);
    ck_assert_uint_eq(after.lost_msgs, 0);
    ck_assert(!after.failed);
    store_check(b.r.store);
    bench_close(&b);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_bucket_starts_without_its_index, 0, 40),
    RUN_LOOP(a_killed_bucket_with_a_damaged_footer, 0, 3),
};

RUNNER_MAIN("store/store_bucket", cases)
