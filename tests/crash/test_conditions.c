/* test_conditions.c - a machine that does not play along: no descriptors left, a directory that
 * another server has, one that can not be made. */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define STREAMS 40
#define CLIENTS 80

/* More streams than descriptors, and clients that take all they get: the store goes on, since the
 * last descriptors are not for clients. */
TEST(no_descriptors_left)
{
    struct rlimit before, low;
    struct raw_client clients[CLIENTS];
    struct js_rig r;
    char subject[64], body[128], want[64];

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = i == 0 ? 64 : 100;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    js_rig_start(&r, i);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int k = 0; k < STREAMS; k++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.S%d", k);
        snprintf(body, sizeof(body), "{\"name\":\"S%d\",\"subjects\":[\"s%d.*\"]}", k, k);
        js_ask(&r, subject, body, "\"did_create\":true");
    }
    for (int k = 0; k < CLIENTS; k++)
        raw_open(&clients[k], r.server.port);
    for (int round = 1; round <= 3; round++)
        for (int k = 0; k < STREAMS; k++) {
            snprintf(subject, sizeof(subject), "s%d.a", k);
            snprintf(want, sizeof(want), "\"seq\":%d}", round);
            js_ask(&r, subject, "hello", want);
        }
    js_ask(&r, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\",\"subjects\":[\"t.*\"]}",
           "\"did_create\":true");
    js_ask(&r, "t.a", "hello", "\"seq\":1}");
    for (int k = 0; k < CLIENTS; k++)
        raw_close(&clients[k]);
    js_rig_restart(&r);
    for (int k = 0; k < STREAMS; k++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.S%d", k);
        snprintf(want, sizeof(want), "\"subject\":\"s%d.a\"", k);
        js_ask(&r, subject, "{\"seq\":3}", want);
    }
    js_rig_end(&r);
}

/* Runs a server that is to end by itself; what it said. */
static int run_server(const char *directory, char *out, size_t cap)
{
    const char *build = getenv("MIDGE_BUILDDIR");
    char command[600];
    size_t n = 0, got;

    snprintf(command, sizeof(command),
             "timeout 30 %s/bin/midge-server -a 127.0.0.1 -p -1 -js -sd %s 2>&1",
             build != NULL ? build : ".", directory);
    FILE *f = popen(command, "r");
    ck_assert_ptr_nonnull(f);
    while (n + 1 < cap && (got = fread(out + n, 1, cap - 1 - n, f)) > 0)
        n += got;
    out[n] = '\0';
    int status = pclose(f);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* The second one says whose the directory is, and ends; the first one goes on. */
TEST(two_servers_on_one_directory)
{
    struct js_rig r;
    char out[8192], want[64], store[160];

    js_rig_start(&r, 0);
    snprintf(store, sizeof(store), "%s/store", r.server.dir);
    js_stream(&r, "[\"s.*\"]", "");
    js_fill(&r, "s.a", 1, 3);
    ck_assert_int_ne(run_server(store, out, sizeof(out)), 0);
    snprintf(want, sizeof(want), "LOCK: in use by process %d", (int) r.server.pid);
    ck_assert_msg(strstr(out, want) != NULL, "wanted %s, got %s", want, out);
    js_fill(&r, "s.a", 4, 3);
    js_rig_end(&r);
}

TEST(a_directory_that_can_not_be_made)
{
    char out[8192];

    ck_assert_int_ne(run_server("/dev/null/store", out, sizeof(out)), 0);
    ck_assert_msg(strstr(out, "/dev/null/store") != NULL && strstr(out, "Not a directory") != NULL,
                  "got %s", out);
}

static const struct runner_case cases[] = {
    RUN_LOOP(no_descriptors_left, 0, 3),
    RUN(two_servers_on_one_directory),
    RUN(a_directory_that_can_not_be_made),
};

RUNNER_MAIN("crash/conditions", cases)
