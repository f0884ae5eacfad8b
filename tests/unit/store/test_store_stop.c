/*
 * test_store_stop.c - a store that is closed in the midst of work: while the index is being read,
 * commits are in flight, a purge goes through, a message is erased, segments are written anew and
 * removed files are cut. A run of all that is stopped at one step after the other, and the next
 * start is judged. (sim_store closes several workers in the midst of what it drew.)
 */
#include "store/pool.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull
#define SEGMENT (64u << 10)
#define FILLED 3000u
#define ERASED 9u /* of subject s.0, which is not purged */
#define STOPS 120u

/* What was under way at the stops. */
struct seen {
    unsigned loads, commits, rewrites, erasures, purges, works;
};

struct bench {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    struct rig_req erase, purge[2];
    bool asks;          /* for these; else it only appends, and the index is read for nobody */
    uint64_t committed; /* when it was closed */
};

/* A stream of three subjects, closed. */
static void make_base(struct bench *b, const char *key, bool asks)
{
    struct rig_options o = {.log_file_bytes = 256 << 10,
                            .segment_min = SEGMENT,
                            .segment_max = SEGMENT,
                            .drop_bytes = 8192,
                            .index_lazy_bytes = 1,
                            .key = key};

    memset(b, 0, sizeof(*b));
    b->asks = asks;
    o.sim = b->sim = sim_open(11, NULL);
    rig_init(&b->r, &o);
    rig_create(&b->r, &b->t, "one", STORE_DURABLE, NULL);
    for (unsigned k = 0; k < FILLED / 100; k++) {
        ck_assert_int_eq(rig_append(&b->t, 100, 200, 3), ERR_OK);
        rig_flush(&b->t);
    }
    rig_sleep(&b->r, 5 * SECOND);
    rig_stop(&b->r);
}

static void start(struct bench *b)
{
    b->r.warnings = 0;
    rig_start(&b->r);
    ck_assert_uint_eq(b->r.warnings, 0);
    rig_attach(&b->r, &b->t, "one");
    store_recovered_done(b->r.store);
    ck_assert(!b->t.failed);
}

/* Everything is begun, nothing waited for. */
static void begin_work(struct bench *b)
{
    static const char *const filters[] = {"s.1", "s.2"};

    b->r.store->tasks_ns = 0; /* one slice a step */
    if (!b->asks) {
        b->erase = b->purge[0] = b->purge[1] = (struct rig_req){.done = true, .err = ERR_CLOSED};
        return;
    }
    rig_req_init(&b->erase);
    ck_assert_int_eq(store_remove(b->t.s, ERASED, true, &b->erase.req), ERR_OK);
    for (unsigned k = 0; k < 2; k++) {
        struct store_purge purge = {.filter = str_of(filters[k])};
        rig_req_init(&b->purge[k]);
        store_purge(b->t.s, &purge, &b->purge[k].req);
    }
}

static bool is_quiet(const struct bench *b)
{
    const struct store *st = b->r.store;

    return b->erase.done && b->purge[0].done && b->purge[1].done && b->t.s->loader == NULL &&
           st->rewriting == NULL && list_empty(&st->rewrites) && st->works == 0 &&
           !store_pool_hungry(st->dir->pool);
}

/* So many steps, with appends between; fewer when there is nothing more to do. */
static unsigned work(struct bench *b, unsigned steps)
{
    unsigned k = 0;

    for (; k < steps && !is_quiet(b); k++) {
        if (k % 8 == 0)
            ck_assert_int_eq(rig_append(&b->t, 2, 200, 3), ERR_OK);
        rig_step(&b->r);
    }
    return k;
}

static void look(const struct bench *b, struct seen *seen)
{
    const struct store *st = b->r.store;

    seen->loads += b->t.s->loader != NULL;
    seen->commits += !list_empty(&b->t.s->commits) || b->t.s->gathered_n > 0;
    seen->rewrites += st->rewriting != NULL;
    seen->erasures += !b->erase.done;
    seen->purges += !b->purge[0].done || !b->purge[1].done;
    seen->works += st->works > 0;
}

/* Everything that was committed is there, but for what was asked to go; what is said to have gone
 * has. */
static void judge(struct bench *b)
{
    const struct store_recovery *found = store_dir_recovery(b->r.dir);

    ck_assert(found->clean && found->lost_messages == 0 && found->quarantined_files == 0);
    ck_assert_uint_ge(b->t.s->last_seq, b->committed);
    for (uint64_t seq = 1; seq <= b->committed; seq++) {
        bool there = rig_has(&b->t, seq);
        unsigned subject = (unsigned) (seq % 3);
        if (seq == ERASED)
            ck_assert(!there || b->erase.err != ERR_OK);
        else if (seq > FILLED || subject == 0)
            ck_assert_msg(there, "message %llu is gone", (unsigned long long) seq);
        else
            ck_assert(!there || b->purge[subject - 1].err != ERR_OK);
    }
    ck_assert_uint_eq(rig_read_all(&b->t, 1, NULL, 200), b->t.s->msgs);
    store_check(b->r.store);
    ck_assert_uint_eq(b->r.warnings, 0);
}

/* A copy of the base is stopped after so many steps. */
static void stop_after(const struct bench *base, unsigned steps, struct seen *seen)
{
    struct bench b = *base;

    b.sim = b.r.options.sim = sim_fork(base->sim, SIM_CRASH_KEEP, steps + 1);
    b.r.options.seal_bytes = steps % 2; /* every other close seals what there is */
    start(&b);
    begin_work(&b);
    work(&b, steps);
    look(&b, seen);
    b.committed = b.t.committed;
    rig_close(&b.r);
    ck_assert(b.erase.done && b.purge[0].done && b.purge[1].done);
    ck_assert(!b.t.failed);
    for (unsigned k = 0; k < 2; k++) {
        start(&b);
        judge(&b);
        rig_stop(&b.r);
    }
    sim_close(b.sim);
}

static unsigned steps_of_all(const struct bench *base)
{
    struct bench b = *base;

    b.sim = b.r.options.sim = sim_fork(base->sim, SIM_CRASH_KEEP, 1);
    start(&b);
    begin_work(&b);
    unsigned steps = work(&b, 1000000);
    ck_assert(is_quiet(&b));
    rig_stop(&b.r);
    sim_close(b.sim);
    return steps;
}

/* i: as it is; encrypted, where nothing is erased in place and no index is read later; without
 * requests, for which a close waits. */
TEST(in_the_midst_of_work)
{
    struct seen seen = {0};
    struct bench base;

    make_base(&base, i == 1 ? "a secret key" : NULL, i < 2);
    unsigned steps = steps_of_all(&base);
    for (unsigned k = 0; k < STOPS; k++)
        stop_after(&base, k < STOPS / 2 ? k : steps * (k - STOPS / 2) / (STOPS / 2), &seen);
    ck_assert(i == 1 || seen.loads > 5);
    ck_assert(seen.commits > 5 && seen.works > 5);
    ck_assert(i == 2 || (seen.rewrites > 5 && seen.erasures > 5 && seen.purges > 5));
    sim_close(base.sim);
}

static const struct runner_case cases[] = {
    RUN_LOOP(in_the_midst_of_work, 0, 3),
};

RUNNER_MAIN("store/store_stop", cases)
