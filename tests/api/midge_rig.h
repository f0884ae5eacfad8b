/*
 * midge_rig.h - a server and a libmidge connection that comes back, for tests of the library over
 * the real server.
 */
#ifndef TESTS_MIDGE_RIG_H
#define TESTS_MIDGE_RIG_H

#include "client/midge_js.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

struct midge_rig {
    struct server_process server;
    struct midge *m;
    char workers[8];
    unsigned lost, back, ended;
};

/* i = 0, 1: with one and two workers. The port stays the same over restarts. */
void midge_rig_start(struct midge_rig *r, int i);
/* The same with a configuration file's text. */
void midge_rig_start_conf(struct midge_rig *r, int i, const char *conf);
void midge_rig_end(struct midge_rig *r);
/* SIGKILL, and the server again at the same port; does not poll the connection. */
void midge_rig_crash(struct midge_rig *r);
/* Another connection to the same server, which reconnects too. */
struct midge *midge_rig_dial(struct midge_rig *r);
/* Polls until the counter is at least `want`; 20 s. */
void midge_rig_until(struct midge *m, const unsigned *counter, unsigned want);

/* It went well; else the test fails with the library's error. */
#define OK(m, call)                                                                                \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        ck_assert_msg(rc_ == MIDGE_OK, "%s: %d %s", #call, rc_, midge_error(m));                   \
    } while (0)
/* It failed in this way. */
#define FAILS(m, code, call)                                                                       \
    do {                                                                                           \
        int rc_ = (call);                                                                          \
        ck_assert_msg(rc_ == (code), "%s: %d, not %d; %s", #call, rc_, (code), midge_error(m));    \
    } while (0)

#endif
