/*
 * test_store_cuts.c - short stories with a power cut at each of their sync points.
 *
 * A story does something on a simulated machine. At every sync point, and for every kind of power
 * cut, a copy of the machine loses power, a store recovers from it without a warning, and the
 * story's check looks at what is there.
 */
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct story {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    void (*check)(struct story *s, struct rig *after);
    unsigned cuts;
};

static void cut(struct story *s, struct sim *fork)
{
    static struct rig after;
    char why[256];

    memset(&after, 0, sizeof(after));
    after.options = s->r.options;
    after.options.sim = fork;
    after.log = s->r.log;
    memcpy(after.path, s->r.path, sizeof(after.path));
    enum err err = rig_try_start(&after, why);
    ck_assert_msg(err == ERR_OK, "recovery: %s", why);
    ck_assert_msg(after.warnings == 0, "%s", after.last_warning);
    s->check(s, &after);
    store_recovered_done(after.store);
    rig_stop(&after);
}

static void at_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct story *s = ctx;

    if (s->check == NULL)
        return;
    for (unsigned mode = 0; mode < SIM_CRASH_MODES; mode++) {
        struct sim *fork = sim_fork(sim, (enum sim_crash) mode, point);
        cut(s, fork);
        sim_close(fork);
        s->cuts++;
    }
}

/* The n-th log file (1 = the start's own) can not be made, nor at the two attempts that follow. */
static void begin(struct story *s, const struct rig_options *options, uint64_t n)
{
    struct rig_options o = *options;

    memset(s, 0, sizeof(*s));
    s->sim = o.sim = sim_open(1, NULL);
    sim_fault_only(s->sim, "/log/");
    sim_fault_arm(s->sim, SIM_FAULT_ALLOCATE, n, 2);
    rig_init(&s->r, &o);
    sim_on_sync_point(s->sim, at_point, s);
}

static void end(struct story *s)
{
    ck_assert_uint_gt(s->cuts, 0);
    s->check = NULL;
    rig_stop(&s->r);
    sim_close(s->sim);
}

/* ---- objects ----------------------------------------------------------------------------------
 */

static void find_boxes(void *ctx, const struct store_object_view *v)
{
    if (v->kind != STORE_KIND_USER)
        return;
    ck_assert_uint_eq(v->ndeltas, 3);
    ck_assert(str_eq(v->full, STR("box")) && str_eq(v->deltas[2], STR("c")));
    ++*(unsigned *) ctx;
}

static void check_boxes(struct story *s, struct rig *after)
{
    unsigned boxes = 0;

    (void) s;
    store_recovered_each(after->store, find_boxes, &boxes);
    ck_assert_uint_eq(boxes, 5);
}

static void render_box(void *ctx, store_object_id id, struct buf *out)
{
    (void) ctx;
    (void) id;
    buf_puts(out, "box");
}

/* Their full record is written again when its log file goes, and so are their changes, perhaps in a
 * later frame. */
TEST(objects_that_nobody_attached_keep_their_changes)
{
    struct rig_options options = {.log_file_bytes = 128 << 10, .segment_min = 256 << 10};
    static struct story s;
    struct rig_req q;

    begin(&s, &options, 0);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < 5; k++) {
        store_object_id id = store_object_create(s.r.store, STORE_KIND_USER, 0, STR("box"),
                                                 render_box, NULL, NULL);
        for (unsigned n = 0; n < 3; n++) {
            rig_req_init(&q);
            store_object_delta(s.r.store, id, str_from(&"abc"[n], 1), &q.req);
            ck_assert_int_eq(rig_req_wait(&s.r, &q), ERR_OK);
        }
    }
    rig_stop(&s.r);
    rig_start(&s.r);
    rig_attach(&s.r, &s.t, "log");
    store_recovered_done(s.r.store);
    s.check = check_boxes;
    for (unsigned n = 0; n < 60; n++) {
        rig_append(&s.t, 4, 600, 3);
        rig_flush(&s.t);
    }
    ck_assert_int_gt((int) s.cuts, 100);
    end(&s);
}

/* ---- the log ----------------------------------------------------------------------------------
 */

static void check_committed(struct story *s, struct rig *after)
{
    struct store_state state;
    struct rig_stream t;

    rig_attach(after, &t, "log");
    store_stream_state(t.s, &state);
    ck_assert_uint_ge(state.last_seq, s->t.committed);
    ck_assert_uint_eq(state.msgs, state.last_seq);
}

/* The number of a log file that could not be made is used again: a start reads an unbroken series.
 */
TEST(log_goes_on_after_a_file_that_could_not_be_made)
{
    struct rig_options options = {.log_file_bytes = 64 << 10, .segment_min = 256 << 10};
    static struct story s;

    begin(&s, &options, 2);
    rig_create(&s.r, &s.t, "log", STORE_DURABLE, NULL);
    for (unsigned n = 0; n < 40; n++) {
        rig_append(&s.t, 4, 600, 3);
        if (n == 13)
            s.check = check_committed;
        rig_flush(&s.t);
    }
    ck_assert_uint_gt(sim_fault_count(s.sim, SIM_FAULT_ALLOCATE), 0);
    end(&s);
}

static const struct runner_case cases[] = {
    RUN(log_goes_on_after_a_file_that_could_not_be_made),
    RUN(objects_that_nobody_attached_keep_their_changes),
};

RUNNER_MAIN("store/store_cuts", cases)
