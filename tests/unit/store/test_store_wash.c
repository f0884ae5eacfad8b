/*
 * test_store_wash.c - erased messages leave the commit log: its current file, what an earlier round
 * left behind the end of that, the spare; after a kill or a power cut, too; without space; and who
 * erases all day does not make a log file for each.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull
#define TEXT 300u
#define MESSAGES 900u
#define MORE 400u

static const struct rig_options options[] = {
    {.log_file_bytes = 64 << 10, .segment_min = 1 << 20},
    {.log_file_bytes = 64 << 10, .segment_min = 1 << 20, .pool_bytes = 1 << 20},
};
static const struct rig_options large = {.log_file_bytes = 16 << 20, .segment_min = 1 << 20};
/* Of the last rounds: the log holds about 200 in a file. */
static const uint64_t seqs[] = {MESSAGES, MESSAGES - 3,   MESSAGES - 90,
                                730,      MESSAGES - 250, MESSAGES - 330};

/* The same behind MORE messages. */
static const uint64_t late[] = {1290, 1220, 1150, 1080, 1010, 950};

struct place {
    struct sim *sim;
    struct rig r;
    struct rig_stream t;
    bool answered[MESSAGES + MORE + 1];
    unsigned cuts;
};

static void text_of(uint64_t seq, char out[TEXT + 1])
{
    memset(out, '.', TEXT);
    snprintf(out, TEXT, "<what nobody is to read any more, number %06u>", (unsigned) seq);
    out[strlen(out)] = '.';
    out[TEXT] = '\0';
}

struct search {
    char text[TEXT + 1];
    char in[128]; /* the last file with it */
    unsigned files, marks;
};

static void look(void *ctx, const char *path, struct sim_inode *ino)
{
    struct search *s = ctx;
    size_t n = sim_disk_size(ino);
    char *bytes = mem_alloc(n + 1);

    n = sim_disk_read(ino, bytes, n, 0);
    if (memmem(bytes, n, s->text, 48) != NULL) {
        s->files++;
        snprintf(s->in, sizeof(s->in), "%s", path);
    }
    s->marks += strstr(path, ".erased") != NULL;
    mem_free(bytes);
}

static struct search search(struct sim *sim, uint64_t seq)
{
    struct search s = {.files = 0};

    text_of(seq, s.text);
    sim_disk_walk(sim_disk(sim), look, &s);
    return s;
}

static void append(struct place *p, unsigned n)
{
    char text[TEXT + 1];

    for (unsigned k = 0; k < n; k++) {
        uint64_t seq;
        text_of(p->t.s->last_assigned + 1, text);
        struct store_append m = {.subject = STR("s"), .payload = str_from(text, TEXT), .ts = 1 + k};
        ck_assert_int_eq(store_append(p->t.s, &m, &seq), ERR_OK);
        if (k % 10 == 9)
            rig_flush(&p->t);
    }
    rig_flush(&p->t);
}

static void begin(struct place *p, const struct rig_options *o)
{
    struct rig_options with = *o;

    memset(p, 0, sizeof(*p));
    p->sim = with.sim = sim_open(1, NULL);
    rig_init(&p->r, &with);
    rig_create(&p->r, &p->t, "s", STORE_DURABLE, NULL);
    append(p, MESSAGES);
    rig_settle(&p->r);
}

static void end(struct place *p)
{
    sim_on_sync_point(p->sim, NULL, NULL);
    rig_stop(&p->r);
    sim_close(p->sim);
}

static void erase(struct place *p, uint64_t seq)
{
    struct rig_req q;

    rig_req_init(&q);
    ck_assert_int_eq(store_remove(p->t.s, seq, true, &q.req), ERR_OK);
    ck_assert_int_eq(rig_req_wait(&p->r, &q), ERR_OK);
    p->answered[seq] = true;
}

static void check_gone(struct sim *sim, uint64_t seq)
{
    struct search s = search(sim, seq);

    ck_assert_msg(s.files == 0, "%u is in %s", (unsigned) seq, s.in);
    ck_assert_uint_eq(s.marks, 0);
}

static void erase_all(struct place *p)
{
    for (unsigned k = 0; k < ARRAY_LEN(seqs); k++)
        erase(p, seqs[k]);
}

static void check_all_gone(struct place *p)
{
    for (unsigned k = 0; k < ARRAY_LEN(seqs); k++)
        check_gone(p->sim, seqs[k]);
}

static void check_rest(struct rig_stream *t)
{
    struct store_state st;

    store_stream_state(t->s, &st);
    ck_assert_uint_eq(st.lost_msgs, 0);
    ck_assert(rig_has(t, 1) && rig_has(t, MESSAGES - 1) && rig_has(t, 500));
}

/* ---- the log of a server that is there ---------------------------------------------------------
 */

TEST(they_leave_every_file)
{
    struct place *p = mem_alloc(sizeof(*p));
    unsigned in_log = 0;

    begin(p, &options[i]);
    for (unsigned k = 0; k < ARRAY_LEN(seqs); k++) {
        erase(p, seqs[k]);
        struct search s = search(p->sim, seqs[k]);
        in_log += s.files > 0;
        ck_assert_uint_eq(s.marks, 1);
        ck_assert(s.files == 0 || strstr(s.in, "/log/") != NULL);
    }
    ck_assert_uint_gt(in_log, 2);
    rig_sleep(&p->r, 3 * SECOND);
    check_all_gone(p);
    append(p, 20); /* the log goes on */
    check_rest(&p->t);
    ck_assert_uint_eq(p->r.warnings, 0);
    end(p);
    mem_free(p);
}

/* The first is washed at once, and then all of half a minute together. */
TEST(who_erases_all_day)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &large);
    uint64_t before = p->r.store->clog.next_number;
    for (unsigned k = 0; k < 640; k++) {
        erase(p, 10 + k);
        rig_sleep(&p->r, SECOND / 10);
    }
    uint64_t made = p->r.store->clog.next_number - before;
    ck_assert_msg(made >= 2 && made <= 4, "%u log files", (unsigned) made);
    rig_sleep(&p->r, 40 * SECOND);
    for (unsigned k = 0; k < 640; k += 40)
        check_gone(p->sim, 10 + k);
    check_gone(p->sim, 649);
    end(p);
    mem_free(p);
}

/* ---- in odd states
 * -------------------------------------------------------------------------------
 */

/* Is it over? */
static bool is_washed(const struct place *p)
{
    return p->r.store->clog.wash.mark == WASH_NONE;
}

static void at_deletion(void *ctx, struct sim *sim, uint64_t point)
{
    struct place *p = ctx;
    static struct rig after;
    char why[256];

    for (unsigned mode = 0; mode <= SIM_CRASH_KILL; mode++) {
        struct sim *fork = sim_fork(sim, (enum sim_crash) mode, point);
        memset(&after, 0, sizeof(after));
        after.options = p->r.options;
        after.options.sim = fork;
        after.log = p->r.log;
        memcpy(after.path, p->r.path, sizeof(after.path));
        ck_assert_int_eq(rig_try_start(&after, why), ERR_OK);
        ck_assert_msg(after.warnings == 0, "%s", after.last_warning);
        store_recovered_done(after.store);
        rig_sleep(&after, 3 * SECOND);
        check_gone(fork, seqs[0]);
        rig_stop(&after);
        sim_close(fork);
        p->cuts++;
    }
}

/* No object is left that would be written to the file which the log moves to: a start takes a
 * worker without a used file for one that has lost its log. */
TEST(when_the_stream_is_gone)
{
    struct place *p = mem_alloc(sizeof(*p));
    struct rig_req q;

    begin(p, &options[i]);
    rig_sleep(&p->r, 20 * SECOND);
    erase(p, seqs[0]);
    rig_req_init(&q);
    store_stream_delete(p->t.s, &q.req);
    ck_assert_int_eq(rig_req_wait(&p->r, &q), ERR_OK);
    sim_on_sync_point(p->sim, at_deletion, p);
    rig_sleep(&p->r, 20 * SECOND);
    at_deletion(p, p->sim, 1);
    ck_assert_uint_gt(p->cuts, 10);
    ck_assert(is_washed(p));
    check_gone(p->sim, seqs[0]);
    end(p);
    mem_free(p);
}

/* Nothing else happens when what holds the old file lets go of it. */
TEST(a_file_that_is_held)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    struct clog_file *held = clog_pin(p->r.store);
    erase(p, seqs[0]);
    rig_sleep(&p->r, 30 * SECOND);
    ck_assert(!is_washed(p) && search(p->sim, seqs[0]).marks == 1);
    clog_unpin(p->r.store, held);
    rig_sleep(&p->r, SECOND);
    ck_assert(is_washed(p));
    check_gone(p->sim, seqs[0]);
    end(p);
    mem_free(p);
}

static void check_start_washes(struct place *p)
{
    rig_stop(&p->r);
    ck_assert_uint_eq(search(p->sim, seqs[0]).marks, 1);
    rig_start(&p->r);
    rig_attach(&p->r, &p->t, "s");
    store_recovered_done(p->r.store);
    for (uint64_t seq = 1; seq <= MESSAGES; seq++)
        if (p->answered[seq])
            check_gone(p->sim, seq);
    check_rest(&p->t);
}

/* It stays until the next start, and is not tried again and again. */
TEST(a_mark_that_can_not_be_removed)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    erase(p, seqs[0]);
    while (p->r.store->clog.wash.mark != WASH_UNMARKING)
        rig_step(&p->r);
    sim_fault_only(p->sim, "/log");
    sim_fault_arm(p->sim, SIM_FAULT_NAMES, 1, UINT64_MAX / 2);
    rig_sleep(&p->r, 5 * SECOND);
    ck_assert_uint_le(sim_fault_count(p->sim, SIM_FAULT_NAMES), 2);
    ck_assert_uint_eq(search(p->sim, seqs[0]).marks, 1);
    sim_fault_arm(p->sim, SIM_FAULT_NAMES, 0, 0);
    erase(p, seqs[1]);
    check_start_washes(p);
    end(p);
    mem_free(p);
}

/* The mark stays with it, and the next start removes it. */
TEST(a_file_that_can_not_be_removed)
{
    struct place *p = mem_alloc(sizeof(*p));
    const struct clog_file *old;

    begin(p, &options[i]);
    erase_all(p);
    old = clog_writing(&p->r.store->clog);
    sim_fault_only(p->sim, strrchr(old->path, '/'));
    sim_fault_arm(p->sim, SIM_FAULT_NAMES, 1, 0);
    rig_sleep(&p->r, 20 * SECOND);
    ck_assert_uint_eq(sim_fault_count(p->sim, SIM_FAULT_NAMES), 1);
    check_start_washes(p);
    end(p);
    mem_free(p);
}

/* ---- starts ------------------------------------------------------------------------------------
 */

/* A stop does not wait for the washing. */
TEST(a_clean_start)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    erase_all(p);
    rig_stop(&p->r);
    ck_assert_uint_eq(search(p->sim, seqs[0]).marks, 1);
    rig_start(&p->r);
    rig_attach(&p->r, &p->t, "s");
    store_recovered_done(p->r.store);
    check_all_gone(p);
    check_rest(&p->t);
    end(p);
    mem_free(p);
}

static void at_point(void *ctx, struct sim *sim, uint64_t point)
{
    struct place *p = ctx;
    static struct rig after;
    struct rig_stream t;
    char why[256];

    for (unsigned mode = 0; mode <= SIM_CRASH_KILL; mode++) {
        struct sim *fork = sim_fork(sim, (enum sim_crash) mode, point);
        memset(&after, 0, sizeof(after));
        after.options = p->r.options;
        after.options.sim = fork;
        after.log = p->r.log;
        memcpy(after.path, p->r.path, sizeof(after.path));
        ck_assert_int_eq(rig_try_start(&after, why), ERR_OK);
        rig_attach(&after, &t, "s");
        store_recovered_done(after.store);
        rig_sleep(&after, 3 * SECOND);
        for (uint64_t seq = 1; seq <= MESSAGES + MORE; seq++)
            if (p->answered[seq])
                check_gone(fork, seq);
        check_rest(&t);
        ck_assert_uint_eq(after.warnings, 0);
        rig_stop(&after);
        sim_close(fork);
        p->cuts++;
    }
}

TEST(when_power_fails)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    sim_on_sync_point(p->sim, at_point, p);
    erase_all(p);
    rig_sleep(&p->r, 3 * SECOND);
    ck_assert_uint_gt(p->cuts, 50);
    end(p);
    mem_free(p);
}

/* Between two washings the log goes on: what said that something is to be erased is gone from it,
 * and the spare with the copies has become the current file. */
TEST(when_power_fails_later)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    erase(p, 2);
    rig_sleep(&p->r, 3 * SECOND);
    append(p, MORE);
    for (unsigned k = 0; k < ARRAY_LEN(late); k++)
        erase(p, late[k]);
    sim_on_sync_point(p->sim, at_point, p);
    append(p, MORE);
    ck_assert_uint_gt(p->cuts, 50);
    end(p);
    mem_free(p);
}

/* ---- without space -----------------------------------------------------------------------------
 */

/* The start can make no file, and uses an old one: it is washed when there is space. */
TEST(a_start_without_space)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    erase_all(p);
    rig_stop(&p->r);
    sim_fault_only(p->sim, "/log/");
    sim_fault_arm(p->sim, SIM_FAULT_ALLOCATE, 1, 1);
    rig_start(&p->r);
    rig_attach(&p->r, &p->t, "s");
    store_recovered_done(p->r.store);
    ck_assert_uint_eq(search(p->sim, seqs[0]).marks, 1);
    append(p, 3);
    rig_sleep(&p->r, 5 * SECOND);
    ck_assert_uint_eq(sim_fault_count(p->sim, SIM_FAULT_ALLOCATE), 2);
    check_all_gone(p);
    end(p);
    mem_free(p);
}

/* It is said, and what is erased is erased nevertheless. */
TEST(a_mark_that_can_not_be_made)
{
    struct place *p = mem_alloc(sizeof(*p));

    begin(p, &options[i]);
    sim_fault_only(p->sim, ".erased");
    sim_fault_arm(p->sim, SIM_FAULT_NAMES, 1, 0);
    erase(p, seqs[0]);
    ck_assert_uint_eq(p->r.warnings, 1);
    ck_assert_ptr_nonnull(strstr(p->r.last_warning, "can not be marked"));
    rig_sleep(&p->r, 3 * SECOND);
    check_gone(p->sim, seqs[0]);
    end(p);
    mem_free(p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(they_leave_every_file, 0, 2),
    RUN(who_erases_all_day),
    RUN_LOOP(when_the_stream_is_gone, 0, 2),
    RUN_LOOP(a_file_that_is_held, 0, 2),
    RUN_LOOP(a_mark_that_can_not_be_removed, 0, 2),
    RUN_LOOP(a_file_that_can_not_be_removed, 0, 2),
    RUN_LOOP(a_clean_start, 0, 2),
    RUN_LOOP(when_power_fails, 0, 2),
    RUN_LOOP(when_power_fails_later, 0, 2),
    RUN_LOOP(a_start_without_space, 0, 2),
    RUN_LOOP(a_mark_that_can_not_be_made, 0, 2),
};

RUNNER_MAIN("store/store_wash", cases)
