/*
 * test_faults.c - the server on a file system whose calls fail: a sync of a segment, a sync of the
 * log, reads, allocations. What was acknowledged survives the power cut that follows; a stream
 * whose sync failed takes nothing any more, and the sync is not tried again.
 */
#include "tests/fuse/lossfs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CAPACITY (1ull << 30)
#define LARGE 300000u /* a commit of its own, straight into the segment */
#define DEADLINE_S 20
#define REFUSED "\"err_code\":10077,"

struct stage {
    struct server_process s;
    struct lossfs *fs;
    struct raw_client r;
};

static const char *const backends[] = {"uring", "event"};

static void go(struct stage *t)
{
    server_process_start(&t->s);
    raw_hello(&t->r, t->s.port, "\"headers\":true,\"no_responders\":true");
}

static bool open_stage(struct stage *t, int i)
{
    char store[160];

    memset(t, 0, sizeof(*t));
    server_process_init(&t->s);
    snprintf(store, sizeof(store), "%s/store", t->s.dir);
    ck_assert_int_eq(mkdir(store, 0700), 0);
    t->fs = lossfs_namespace() ? lossfs_open(store, CAPACITY, (uint64_t) i) : NULL;
    if (t->fs == NULL) {
        printf("SKIPPED: no FUSE here (%s): nothing was tested\n", strerror(errno));
        server_process_deinit(&t->s);
        return false;
    }
    t->s.args[0] = "--workers";
    t->s.args[1] = "1";
    t->s.args[2] = "--io";
    t->s.args[3] = backends[i];
    go(t);
    return true;
}

static void close_stage(struct stage *t)
{
    raw_close(&t->r);
    server_process_stop(&t->s);
    lossfs_close(t->fs);
    server_process_deinit(&t->s);
}

static bool ask(struct stage *t, const char *subject, const char *body, const char *want)
{
    char *answer = raw_ask(&t->r, subject, body);
    bool refused = strstr(answer, REFUSED) != NULL;
    bool is = !refused && strstr(answer, want) != NULL;

    ck_assert_msg(is || refused, "%s: %.300s", subject, answer);
    free(answer);
    return is;
}

static void add(struct stage *t, const char *name)
{
    char subject[64], body[200];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.%s", name);
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"subjects\":[\"%s\"]}", name, name);
    ck_assert(ask(t, subject, body, "\"did_create\":true"));
}

static const char *large(void)
{
    static char body[LARGE + 1];

    memset(body, 'l', LARGE);
    return body;
}

/* Messages 1 to n of the stream are there. */
static void has(struct stage *t, const char *name, unsigned n)
{
    char subject[64], body[64];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", name);
    for (unsigned seq = 1; seq <= n; seq++) {
        snprintf(body, sizeof(body), "{\"seq\":%u}", seq);
        ck_assert_msg(ask(t, subject, body, "\"message\":"), "%s has no message %u", name, seq);
    }
}

static void cut_and_start(struct stage *t)
{
    raw_close(&t->r);
    server_process_kill(&t->s);
    lossfs_power(t->fs, SIM_CRASH_DROP);
    go(t);
}

/* One stream is read-only, the others go on. */
TEST(a_sync_of_a_segment_fails)
{
    static struct stage t;
    unsigned acked = 0;

    if (!open_stage(&t, i))
        return;
    add(&t, "S");
    add(&t, "T");
    for (; acked < 5; acked++)
        ck_assert(ask(&t, "S", large(), "\"seq\":"));
    ck_assert(ask(&t, "T", "small", "\"seq\":1}"));
    lossfs_fail(t.fs, LOSSFS_SYNC, ".seg", EIO, 1);
    ck_assert(!ask(&t, "S", large(), "\"seq\":"));
    ck_assert_uint_eq(lossfs_calls(t.fs, LOSSFS_SYNC), 1);
    for (int k = 0; k < 5; k++) {
        ck_assert(!ask(&t, "S", large(), "\"seq\":"));
        ck_assert(!ask(&t, "S", "small", "\"seq\":"));
    }
    ck_assert_uint_eq(lossfs_calls(t.fs, LOSSFS_SYNC), 1);
    server_process_log_wait(&t.s, "JetStream stream '$G > S' has failed and is read-only");
    ck_assert(ask(&t, "T", "small", "\"seq\":2}"));
    has(&t, "S", acked);
    cut_and_start(&t);
    has(&t, "S", acked);
    has(&t, "T", 2);
    ck_assert(ask(&t, "S", large(), "\"seq\":"));
    close_stage(&t);
}

/* All streams of the worker are read-only. */
TEST(a_sync_of_the_log_fails)
{
    static struct stage t;
    unsigned syncs;

    if (!open_stage(&t, i))
        return;
    add(&t, "S");
    add(&t, "T");
    ck_assert(ask(&t, "S", "one", "\"seq\":1}") && ask(&t, "T", "one", "\"seq\":1}"));
    lossfs_fail(t.fs, LOSSFS_SYNC, "/log/", EIO, 1);
    ck_assert(!ask(&t, "S", "two", "\"seq\":"));
    server_process_log_wait(&t.s, "all streams of this worker are read-only now");
    syncs = lossfs_calls(t.fs, LOSSFS_SYNC);
    ck_assert(!ask(&t, "S", "two", "\"seq\":") && !ask(&t, "T", "two", "\"seq\":"));
    ck_assert_uint_eq(lossfs_calls(t.fs, LOSSFS_SYNC), syncs);
    has(&t, "S", 1);
    has(&t, "T", 1);
    cut_and_start(&t);
    has(&t, "S", 1);
    has(&t, "T", 1);
    ck_assert(ask(&t, "S", "two", "\"seq\":"));
    close_stage(&t);
}

/* A write fails: nothing that was acknowledged is touched by it. */
TEST(a_write_of_the_log_fails)
{
    static struct stage t;

    if (!open_stage(&t, i))
        return;
    add(&t, "S");
    ck_assert(ask(&t, "S", "one", "\"seq\":1}"));
    lossfs_fail(t.fs, LOSSFS_WRITE, "/log/", EIO, 1);
    ck_assert(!ask(&t, "S", "two", "\"seq\":"));
    has(&t, "S", 1);
    cut_and_start(&t);
    has(&t, "S", 1);
    ck_assert(ask(&t, "S", "two", "\"seq\":2}"));
    close_stage(&t);
}

/* Reads are tried again until they work. */
TEST(reads_fail_for_a_while)
{
    static struct stage t;
    char *answer;

    if (!open_stage(&t, i))
        return;
    add(&t, "S");
    for (unsigned k = 0; k < 5; k++)
        ck_assert(ask(&t, "S", large(), "\"seq\":"));
    raw_close(&t.r);
    server_process_stop(&t.s);
    lossfs_power(t.fs, SIM_CRASH_KEEP); /* nothing in the page cache any more */
    go(&t);
    lossfs_fail(t.fs, LOSSFS_READ, ".seg", EIO, 2);
    answer = raw_ask(&t.r, "$JS.API.STREAM.MSG.GET.S", "{\"seq\":2}");
    ck_assert_msg(strstr(answer, "\"message\":") != NULL, "%.200s", answer);
    free(answer);
    ck_assert_uint_gt(lossfs_calls(t.fs, LOSSFS_READ), 2);
    answer = raw_ask(&t.r, "$JS.API.STREAM.INFO.S", "");
    ck_assert_msg(strstr(answer, "\"lost\"") == NULL, "an error is no damage: %s", answer);
    free(answer);
    has(&t, "S", 5);
    close_stage(&t);
}

/* Refused with the right text, and accepted again when there is space. */
TEST(there_is_no_space_for_a_while)
{
    static struct stage t;
    unsigned acked = 0;
    time_t end = time(NULL) + DEADLINE_S;

    if (!open_stage(&t, i))
        return;
    add(&t, "S");
    ck_assert(ask(&t, "S", large(), "\"seq\":"));
    lossfs_set_capacity(t.fs, 0);
    for (acked = 1; ask(&t, "S", large(), "\"seq\":"); acked++)
        ck_assert_uint_lt(acked, 1000);
    char *answer = raw_ask(&t.r, "S", large());
    ck_assert_msg(strstr(answer, "\"description\":\"no space left on device\"") != NULL, "%s",
                  answer);
    free(answer);
    lossfs_set_capacity(t.fs, CAPACITY);
    while (!ask(&t, "S", large(), "\"seq\":"))
        ck_assert_int_lt(time(NULL), end);
    cut_and_start(&t);
    has(&t, "S", acked + 1);
    close_stage(&t);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_sync_of_a_segment_fails, 0, 2),     RUN_LOOP(a_sync_of_the_log_fails, 0, 2),
    RUN_LOOP(a_write_of_the_log_fails, 0, 2),      RUN_LOOP(reads_fail_for_a_while, 0, 2),
    RUN_LOOP(there_is_no_space_for_a_while, 0, 2),
};

RUNNER_MAIN("fuse/faults", cases)
