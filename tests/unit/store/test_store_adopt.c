/* Streams whose record the log has lost, and its twin, too: they come back from the copies in their
 * segments' header pages, with what the log still says of them. Without a copy they go to
 * quarantine, whole. */
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENT (256u << 10)

static const struct rig_options options[] = {
    {.log_file_bytes = 1 << 20, .segment_min = SEGMENT, .segment_max = SEGMENT},
    {.log_file_bytes = 1 << 20,
     .segment_min = SEGMENT,
     .segment_max = SEGMENT,
     .key = "a secret key"},
};

static void remove_log(const struct rig *r)
{
    char command[300];

    snprintf(command, sizeof(command), "rm %s/log/*.log && rm -f %s/twin/*", r->path, r->path);
    ck_assert_int_eq(system(command), 0);
}

struct names {
    char name[16][64];
    unsigned n;
};

static void take_name(void *ctx, const char *name)
{
    struct names *names = ctx;

    ck_assert_uint_lt(names->n, 16);
    snprintf(names->name[names->n++], sizeof(names->name[0]), "%.60s", name);
}

/* The same on a simulated machine. */
static void unlink_all(const struct rig *r, struct sim *sim, const char *dir)
{
    struct names names = {.n = 0};
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", r->path, dir);
    ck_assert_int_eq(fs_list(sim_fs(sim), path, take_name, &names), 0);
    ck_assert_uint_gt(names.n, 0);
    for (unsigned i = 0; i < names.n; i++) {
        snprintf(path, sizeof(path), "%s/%s/%s", r->path, dir, names.name[i]);
        ck_assert_int_eq(fs_unlink(sim_fs(sim), path), 0);
    }
}

static void unlink_log(const struct rig *r, struct sim *sim)
{
    unlink_all(r, sim, "log");
    unlink_all(r, sim, "twin");
}

static unsigned files_in(const struct rig *r, const char *name)
{
    char path[256];
    unsigned n = 0;

    snprintf(path, sizeof(path), "%s/%s", r->path, name);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir != NULL && (d = readdir(dir)) != NULL;)
        n += d->d_name[0] != '.';
    if (dir != NULL)
        closedir(dir);
    return n;
}

static void fill(struct rig_stream *t, unsigned times)
{
    for (unsigned k = 0; k < times; k++) {
        ck_assert_int_eq(rig_append(t, 500, 100, 7), ERR_OK);
        rig_flush(t);
    }
}

/* Without any log: the stream is there with its name, configuration and messages, goes on, and is
 * an ordinary one from then on. Its limits wait until somebody sets them. */
TEST(without_a_log)
{
    struct store_limits limits = {.max_msgs = 8000};
    struct store_state state;
    struct rig r;
    struct rig_stream t;

    rig_init(&r, &options[i]);
    rig_create(&r, &t, "kept", STORE_DURABLE, &limits);
    fill(&t, 20);
    rig_settle(&r);
    rig_stop(&r);
    remove_log(&r);
    rig_start(&r);
    rig_attach(&r, &t, "kept");
    ck_assert(store_stream_adopted(r.store, t.id));
    store_recovered_done(r.store);
    ck_assert_uint_gt(r.warnings, 0);
    ck_assert(t.s->rec.limits.max_msgs == 0);
    store_stream_state(t.s, &state);
    ck_assert_uint_eq(state.last_seq, 10000);
    ck_assert_uint_eq(state.lost_msgs, 0);
    ck_assert_uint_ge(state.msgs, 8000);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), state.msgs);
    ck_assert_uint_eq(files_in(&r, "quarantine"), 0);
    for (unsigned k = 0; k < 2; k++) {
        t.committed = 0;
        fill(&t, 3);
        rig_settle(&r);
        rig_stop(&r);
        r.warnings = 0;
        rig_start(&r);
        rig_attach(&r, &t, "kept");
        ck_assert(!store_stream_adopted(r.store, t.id));
        store_recovered_done(r.store);
        ck_assert_uint_eq(r.warnings, 0);
        store_stream_state(t.s, &state);
        ck_assert_uint_eq(state.last_seq, 11500 + 1500 * k);
        store_check(r.store);
    }
    rig_deinit(&r);
}

/* A copy that can not be read now may be there the next time: nothing goes to quarantine. */
TEST(a_copy_that_can_not_be_read)
{
    struct rig_options o = options[i];
    struct rig r;
    struct rig_stream t;

    struct sim *sim = o.sim = sim_open(3, NULL);
    rig_init(&r, &o);
    rig_create(&r, &t, "kept", STORE_DURABLE, NULL);
    rig_append(&t, 100, 100, 7);
    rig_flush(&t);
    rig_settle(&r);
    rig_stop(&r);
    for (uint64_t n = 1; n < 100; n++) {
        struct rig after = {.options = o, .log = r.log};
        char why[256] = "";
        memcpy(after.path, r.path, sizeof(r.path));
        struct sim *fork = after.options.sim = sim_fork(sim, SIM_CRASH_KEEP, n);
        unlink_log(&r, fork);
        sim_fault_only(fork, ".seg");
        sim_fault_arm(fork, SIM_FAULT_READ, n, 0);
        enum err err = rig_try_start(&after, why);
        bool hit = sim_fault_count(fork, SIM_FAULT_READ) > 0;
        sim_fault_arm(fork, SIM_FAULT_READ, 0, 0);
        if (err == ERR_OK) {
            store_recovered_done(after.store);
            rig_stop(&after);
        }
        rig_start(&after);
        rig_attach(&after, &t, "kept");
        store_recovered_done(after.store);
        ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 100);
        rig_stop(&after);
        sim_close(fork);
        if (!hit)
            break;
        ck_assert_uint_lt(n, 99);
    }
    sim_close(sim);
}

/* The copy is of the time when the segment began: the youngest one counts. */
TEST(the_youngest_copy)
{
    struct rig r;
    struct rig_stream t;

    rig_init(&r, &options[i]);
    rig_create(&r, &t, "kept", STORE_DURABLE, NULL);
    fill(&t, 8);
    struct buf *config = &t.s->rec.config;
    ck_assert(str_eq(buf_str(config), STR("config of kept")));
    snprintf(t.config, sizeof(t.config), "config of later");
    store_stream_update(t.s, &(struct store_limits){0}, STR("config of later"), NULL);
    fill(&t, 8);
    rig_settle(&r);
    rig_stop(&r);
    remove_log(&r);
    rig_start(&r);
    rig_attach(&r, &t, "later");
    store_recovered_done(r.store);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 8000);
    rig_deinit(&r);
}

/* And that of the active segment follows an update; of several the last one counts. */
TEST(the_copy_follows_an_update)
{
    struct rig r;
    struct rig_stream t;

    rig_init(&r, &options[i]);
    rig_create(&r, &t, "kept", STORE_DURABLE, NULL);
    fill(&t, 1);
    for (unsigned k = 0; k < 5; k++) {
        snprintf(t.config, sizeof(t.config), k < 4 ? "config %u" : "config of later", k);
        store_stream_update(t.s, &(struct store_limits){0}, str_of(t.config), NULL);
    }
    fill(&t, 1);
    rig_settle(&r);
    rig_stop(&r);
    remove_log(&r);
    rig_start(&r);
    rig_attach(&r, &t, "later");
    store_recovered_done(r.store);
    ck_assert_uint_eq(rig_read_all(&t, 1, NULL, 100), 1000);
    rig_deinit(&r);
}

static void ignore_begun(void *ctx, uint64_t last_seq)
{
    (void) ctx;
    (void) last_seq;
}

static void ignore_committed(void *ctx, uint64_t first_seq, uint64_t last_seq)
{
    (void) ctx;
    (void) first_seq;
    (void) last_seq;
}

static const struct store_stream_ops no_owner = {.commit_begun = ignore_begun,
                                                 .committed = ignore_committed};

/* A configuration that does not fit into the page has no copy. */
TEST(too_large_for_a_copy)
{
    struct rig r;
    struct store_stream_options o = {.name = STR("large"), .level = STORE_DURABLE};
    struct buf config = {0};
    struct rig_req q;
    struct store_stream *s;

    rig_init(&r, &options[i]);
    for (unsigned k = 0; k < 4000; k++)
        buf_putc(&config, 'x');
    o.config = buf_str(&config);
    rig_req_init(&q);
    ck_assert_int_eq(store_stream_create(r.store, &o, &no_owner, NULL, &s, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&r, &q), ERR_OK);
    uint64_t seq;
    ck_assert_int_eq(
        store_append(s, &(struct store_append){.subject = STR("a"), .payload = STR("b")}, &seq),
        ERR_OK);
    rig_settle(&r);
    rig_stop(&r);
    remove_log(&r);
    rig_start(&r);
    store_recovered_done(r.store);
    ck_assert_uint_eq(files_in(&r, "quarantine"), 1);
    ck_assert_uint_eq(files_in(&r, "streams"), 0);
    buf_free(&config);
    rig_deinit(&r);
}

/* A segment that was written anew stands for the numbers of its sources, too: the next one gets
 * none of them, for a start would take it for one of those. i = 0: the log is lost, 1: it is
 * there. */
TEST(numbers_that_are_stood_for)
{
    char command[300];
    struct rig r;
    struct rig_stream t;
    uint32_t covers = 0;

    rig_init(&r, &options[0]);
    rig_create(&r, &t, "kept", STORE_DURABLE, NULL);
    fill(&t, 40);
    for (uint64_t seq = 1; seq <= 20000; seq++)
        if (seq % 1000 != 0)
            ck_assert_int_eq(store_remove(t.s, seq, false, NULL), ERR_OK);
    rig_settle(&r);
    for (unsigned k = 0; k < 10000 && covers == 0; k++) {
        rig_turn(&r, 1000000);
        store_step(r.store);
        covers = LIST_ENTRY(t.s->segments.next, struct segment, link)->covers;
    }
    ck_assert_uint_gt(covers, 1);
    rig_settle(&r);
    rig_stop(&r);
    if (i == 0)
        remove_log(&r);
    snprintf(command, sizeof(command), "rm %s/streams/*/??????????.seg", r.path);
    ck_assert_int_eq(system(command), 0);
    rig_start(&r);
    rig_attach(&r, &t, "kept");
    store_recovered_done(r.store);
    uint64_t last = t.s->last_seq;
    t.committed = 0;
    fill(&t, 1);
    for (unsigned k = 0; k < 3; k++) {
        rig_settle(&r);
        rig_stop(&r);
        rig_start(&r);
        rig_attach(&r, &t, "kept");
        store_recovered_done(r.store);
        ck_assert_uint_eq(t.s->last_seq, last + 500);
        ck_assert(rig_has(&t, last + 1) && rig_has(&t, last + 500));
    }
    rig_deinit(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(numbers_that_are_stood_for, 0, 2),  RUN_LOOP(without_a_log, 0, 2),
    RUN_LOOP(a_copy_that_can_not_be_read, 0, 2), RUN_LOOP(the_youngest_copy, 0, 2),
    RUN_LOOP(the_copy_follows_an_update, 0, 2),  RUN_LOOP(too_large_for_a_copy, 0, 2),
};

RUNNER_MAIN("store/adopt", cases)
