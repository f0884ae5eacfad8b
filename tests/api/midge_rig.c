/* midge_rig.c - every wait has a deadline of 20 s. */
#include "tests/api/midge_rig.h"

#include <stdio.h>
#include <string.h>

#define PATIENCE_NS UINT64_C(20000000000)

static void on_event(void *ctx, enum midge_event event)
{
    struct midge_rig *r = ctx;

    r->lost += event == MIDGE_EVENT_LOST;
    r->back += event == MIDGE_EVENT_BACK;
    r->ended += event == MIDGE_EVENT_END;
}

static struct midge *dial(struct midge_rig *r, void (*event)(void *ctx, enum midge_event event))
{
    struct midge_options o;
    struct midge *m;
    char err[256];

    midge_options_init(&o);
    o.port = r->server.port;
    o.max_reconnects = -1;
    o.reconnect_wait_ms = 20;
    o.timeout_ms = 20000;
    o.on_event = event;
    o.event_ctx = r;
    m = midge_connect(&o, err);
    ck_assert_msg(m != NULL, "%s", err);
    return m;
}

struct midge *midge_rig_dial(struct midge_rig *r)
{
    return dial(r, NULL);
}

static void start(struct midge_rig *r, int i, const char *conf)
{
    static char path[256];
    FILE *f;

    memset(r, 0, sizeof(*r));
    server_process_init(&r->server);
    r->server.args[0] = "--workers";
    r->server.args[1] = i == 0 ? "1" : "2";
    if (conf != NULL) {
        snprintf(path, sizeof(path), "%s/conf", r->server.dir);
        f = fopen(path, "we");
        ck_assert(f != NULL);
        fputs(conf[0] != '\0' ? conf : "debug: false\n", f); /* empty is refused */
        fclose(f);
        r->server.args[2] = "-c";
        r->server.args[3] = path;
    }
    server_process_start(&r->server);
}

void midge_rig_start_conf(struct midge_rig *r, int i, const char *conf)
{
    start(r, i, conf);
    r->m = dial(r, on_event);
}

void midge_rig_start(struct midge_rig *r, int i)
{
    midge_rig_start_conf(r, i, NULL);
}

void midge_rig_end(struct midge_rig *r)
{
    midge_close(r->m);
    server_process_deinit(&r->server);
}

void midge_rig_crash(struct midge_rig *r)
{
    static char port[8];
    size_t n = 0;

    while (r->server.args[n] != NULL)
        n++;
    if (port[0] == '\0') {
        snprintf(port, sizeof(port), "%u", r->server.port);
        r->server.args[n] = "-p";
        r->server.args[n + 1] = port;
    }
    server_process_kill(&r->server);
    server_process_start(&r->server);
}

void midge_rig_until(struct midge *m, const unsigned *counter, unsigned want)
{
    uint64_t end = midge_now() + PATIENCE_NS;

    while (*counter < want) {
        ck_assert_msg(midge_now() < end, "%u of %u came; %s", *counter, want, midge_error(m));
        ck_assert_msg(midge_poll(m, 100000000) == MIDGE_OK, "%s", midge_error(m));
    }
}
