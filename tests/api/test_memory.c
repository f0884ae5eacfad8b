/*
 * test_memory.c - the budget of memory: with little of it a client that does not read makes streams
 * refuse messages, then it is closed; afterwards everything goes on. Nothing that was acknowledged
 * is lost.
 */
#include "tests/lib/js_rig.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* With more than the budget for one connection to owe. */
#define CONF "max_pending: 256mb\nmax_payload: 1mb\nmidge { memory: 64mb }\n"
#define LUMP 1000000
#define LUMPS 400

static void send_lump(struct raw_client *r)
{
    char head[64], *lump = malloc(LUMP + 2);
    int n = snprintf(head, sizeof(head), "PUB lump %d\r\n", LUMP);

    memset(lump, 'l', LUMP);
    memcpy(lump + LUMP, "\r\n", 2);
    raw_send_bytes(r, head, (size_t) n);
    raw_send_bytes(r, lump, LUMP + 2);
    free(lump);
}

static bool refused(struct js_rig *r)
{
    char *answer = raw_ask(&r->api, "s.a", "x");
    bool yes = strstr(answer, "\"err_code\":10023") != NULL;

    if (!yes)
        ck_assert_msg(strstr(answer, "\"seq\":") != NULL, "%s", answer);
    free(answer);
    return yes;
}

TEST(a_client_that_does_not_read_is_the_first_to_go)
{
    struct js_rig r;
    struct raw_client deaf;
    bool any = false;

    js_rig_start_conf(&r, i, CONF);
    js_stream(&r, "[\"s.*\"]", "");
    js_pub(&r, "s.a", NULL, "x", "\"seq\":1}");
    raw_hello(&deaf, r.server.port, "\"echo\":true");
    raw_send(&deaf, "SUB lump 1\r\n");
    raw_fence(&deaf);
    for (int k = 0; k < LUMPS && !server_process_log_has(&r.server, "memory is short"); k++) {
        send_lump(&r.api);
        raw_fence(&r.api);
        any = refused(&r) || any;
    }
    ck_assert_msg(any, "no message was refused");
    server_process_log_wait(&r.server, "memory is short");
    raw_close(&deaf);
    while (refused(&r))
        ;
    js_rig_end(&r);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_client_that_does_not_read_is_the_first_to_go, 0, 3),
};

RUNNER_MAIN("api/memory", cases)
