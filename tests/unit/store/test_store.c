/*
 * test_store.c - the running store end to end: append, commit, committed, read, reopen.
 */
#include "tests/lib/runner.h"
#include "tests/unit/store/rig.h"

#include <stdio.h>
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

    rig_init(&r, NULL);
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

static const struct runner_case cases[] = {
    RUN_LOOP(append_commit_read, 0, 3),
    RUN(big_commits_go_to_the_segment),
};

RUNNER_MAIN("store/store", cases)
