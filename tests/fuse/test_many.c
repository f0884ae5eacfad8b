/*
 * test_many.c - many streams on one directory: what goes to all of them at once is a few syncs, not
 * one for each, and all of it is there when power has failed.
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

#define CAPACITY (4ull << 30)
#define MANY 400u
#define ROUNDS 5u
/* A round is one send. However it is cut into pieces on the way, it is far from a sync a stream. */
#define SYNCS_MAX (MANY * ROUNDS / 8)

static void take_answers(struct raw_client *r, unsigned count, const char *want)
{
    for (unsigned k = 0; k < count; k++) {
        struct raw_msg m;
        raw_msg(r, &m);
        ck_assert_msg(strstr(m.body, want) != NULL, "wanted %s, got %s", want, m.body);
        free(m.body);
    }
}

static void create_all(struct raw_client *r)
{
    static char text[MANY * 200];
    size_t n = 0;

    for (unsigned k = 0; k < MANY; k++) {
        char body[80];
        int size = snprintf(body, sizeof(body), "{\"name\":\"S%u\",\"subjects\":[\"s.%u\"]}", k, k);
        n += (size_t) snprintf(text + n, sizeof(text) - n,
                               "PUB $JS.API.STREAM.CREATE.S%u in.c %d\r\n%s\r\n", k, size, body);
    }
    raw_send_bytes(r, text, n);
    take_answers(r, MANY, "\"did_create\":true");
}

static void publish_all(struct raw_client *r)
{
    static char text[MANY * 40];
    size_t n = 0;

    for (unsigned k = 0; k < MANY; k++)
        n += (size_t) snprintf(text + n, sizeof(text) - n, "PUB s.%u in.p 5\r\nhello\r\n", k);
    raw_send_bytes(r, text, n);
    take_answers(r, MANY, "\"seq\":");
}

static void check_all(struct raw_client *r)
{
    char subject[64], want[32];

    snprintf(want, sizeof(want), "\"messages\":%u,", ROUNDS);
    for (unsigned k = 0; k < MANY; k++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.S%u", k);
        char *answer = raw_ask(r, subject, "");
        ck_assert_msg(strstr(answer, want) != NULL, "S%u: %s", k, answer);
        free(answer);
    }
}

static const char *const workers[] = {"1", "2"};

static void go(struct server_process *s, struct raw_client *r)
{
    server_process_start(s);
    raw_hello(r, s->port, "\"headers\":true,\"no_responders\":true");
}

TEST(many_streams_share_their_syncs)
{
    struct server_process s;
    struct lossfs *fs;
    struct raw_client r;
    char store[160];

    server_process_init(&s);
    snprintf(store, sizeof(store), "%s/store", s.dir);
    ck_assert_int_eq(mkdir(store, 0700), 0);
    fs = lossfs_namespace() ? lossfs_open(store, CAPACITY, 1) : NULL;
    if (fs == NULL) {
        printf("SKIPPED: no FUSE here (%s): nothing was tested\n", strerror(errno));
        server_process_deinit(&s);
        return;
    }
    s.args[0] = "--workers";
    s.args[1] = workers[i];
    go(&s, &r);
    raw_send(&r, "SUB in.* 1\r\n");
    create_all(&r);
    lossfs_fail(fs, LOSSFS_SYNC, "/", EIO, 0); /* counts */
    for (unsigned k = 0; k < ROUNDS; k++)
        publish_all(&r);
    ck_assert_uint_gt(lossfs_calls(fs, LOSSFS_SYNC), 0);
    ck_assert_uint_le(lossfs_calls(fs, LOSSFS_SYNC), SYNCS_MAX);
    printf("%u messages in %u streams: %u syncs\n", MANY * ROUNDS, MANY,
           lossfs_calls(fs, LOSSFS_SYNC));
    raw_close(&r);
    server_process_kill(&s);
    lossfs_power(fs, SIM_CRASH_DROP);
    go(&s, &r);
    check_all(&r);
    raw_close(&r);
    server_process_stop(&s);
    go(&s, &r);
    check_all(&r);
    raw_close(&r);
    server_process_stop(&s);
    lossfs_close(fs);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(many_streams_share_their_syncs, 0, 2),
};

RUNNER_MAIN("fuse/many", cases)
