/* js_rig.c - every wait has the deadline of raw_client. */
#include "tests/lib/js_rig.h"

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLIENT "\"headers\":true,\"no_responders\":true"

/* ---- the server ------------------------------------------------------------------------------ */

static void connect_both(struct js_rig *r)
{
    raw_hello(&r->api, r->server.port, CLIENT);
    raw_hello(&r->in, r->server.port, CLIENT);
    raw_send(&r->in, "SUB in.> 1\r\n");
    raw_fence(&r->in);
}

static void init(struct js_rig *r, int i)
{
    static const char *const workers[] = {"1", "2", "4"};

    server_process_init(&r->server);
    r->server.args[0] = "--workers";
    r->server.args[1] = workers[i];
}

void js_rig_start(struct js_rig *r, int i)
{
    init(r, i);
    server_process_start(&r->server);
    connect_both(r);
}

void js_rig_start_conf(struct js_rig *r, int i, const char *conf)
{
    static char path[256];
    FILE *f;

    init(r, i);
    snprintf(path, sizeof(path), "%s/conf", r->server.dir);
    f = fopen(path, "we");
    ck_assert(f != NULL);
    fputs(conf[0] != '\0' ? conf : "debug: false\n", f); /* empty is refused */
    fclose(f);
    r->server.args[2] = "-c";
    r->server.args[3] = path;
    server_process_start(&r->server);
    connect_both(r);
}

static void disconnect(struct js_rig *r)
{
    raw_close(&r->api);
    raw_close(&r->in);
}

void js_rig_restart(struct js_rig *r)
{
    disconnect(r);
    server_process_stop(&r->server);
    server_process_start(&r->server);
    connect_both(r);
}

void js_rig_crash(struct js_rig *r)
{
    disconnect(r);
    server_process_kill(&r->server);
    server_process_start(&r->server);
    connect_both(r);
}

void js_rig_end(struct js_rig *r)
{
    disconnect(r);
    server_process_stop(&r->server);
    server_process_deinit(&r->server);
}

/* ---- asking ---------------------------------------------------------------------------------- */

void js_ask(struct js_rig *r, const char *subject, const char *body, const char *want)
{
    char *answer = raw_ask(&r->api, subject, body);

    ck_assert_msg(strstr(answer, want) != NULL, "%s %s: wanted %s, got %s", subject, body, want,
                  answer);
    free(answer);
}

static bool says(struct js_rig *r, const char *subject, const char *body, const char *want)
{
    char *answer = raw_ask(&r->api, subject, body);
    bool yes = strstr(answer, want) != NULL;

    free(answer);
    return yes;
}

/* Not the wall clock: a machine that was stopped for a while sets that forward when it goes on, and
 * the server had none of that time. */
static time_t seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec;
}

void js_await(struct js_rig *r, const char *subject, const char *body, const char *want)
{
    time_t end = seconds() + 20;

    while (seconds() < end) {
        if (says(r, subject, body, want))
            return;
        sched_yield();
    }
    js_ask(r, subject, body, want);
}

void js_pub(struct js_rig *r, const char *subject, const char *lines, const char *body,
            const char *want)
{
    char text[4096], header[2048];
    struct raw_msg m;

    if (lines == NULL) {
        js_ask(r, subject, body, want);
        return;
    }
    snprintf(header, sizeof(header), "NATS/1.0\r\n%s\r\n", lines);
    raw_send(&r->api, "SUB ack.1 a\r\nUNSUB a 1\r\n");
    snprintf(text, sizeof(text), "HPUB %s ack.1 %zu %zu\r\n%s%s\r\n", subject, strlen(header),
             strlen(header) + strlen(body), header, body);
    raw_send(&r->api, text);
    raw_msg(&r->api, &m);
    ck_assert_msg(strstr(m.body, want) != NULL, "%s %s: wanted %s, got %s", subject, lines, want,
                  m.body);
    free(m.body);
}

void js_fill(struct js_rig *r, const char *subject, int first, int n)
{
    char want[32];

    for (int seq = first; seq < first + n; seq++) {
        snprintf(want, sizeof(want), "\"seq\":%d}", seq);
        js_ask(r, subject, "x", want);
    }
}

void js_stream(struct js_rig *r, const char *subjects, const char *more)
{
    char body[1024];

    snprintf(body, sizeof(body), "{\"name\":\"S\",\"subjects\":%s%s}", subjects, more);
    js_ask(r, "$JS.API.STREAM.CREATE.S", body, "\"did_create\":true");
}

void js_consumer(struct js_rig *r, const char *more)
{
    char body[1024];

    snprintf(body, sizeof(body), "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"%s}}",
             more);
    js_ask(r, "$JS.API.CONSUMER.DURABLE.CREATE.S.C", body, "\"name\":\"C\"");
}

void js_stream_has(struct js_rig *r, const char *want)
{
    js_ask(r, "$JS.API.STREAM.INFO.S", "", want);
}

void js_consumer_has(struct js_rig *r, const char *want)
{
    js_ask(r, "$JS.API.CONSUMER.INFO.S.C", "", want);
}

/* ---- receiving ------------------------------------------------------------------------------- */

void js_pull(struct js_rig *r, const char *body)
{
    char text[1024];

    snprintf(text, sizeof(text), "PUB $JS.API.CONSUMER.MSG.NEXT.S.C in.1 %zu\r\n%s\r\n",
             strlen(body), body);
    raw_send(&r->api, text);
    raw_fence(&r->api);
}

void js_next(struct js_rig *r, struct raw_msg *m)
{
    raw_msg(&r->in, m);
}

static void check_delivery(const struct raw_msg *m, const char *subject, int seq, int deliveries)
{
    char want[64];
    const char *at = strstr(m->reply, ".C.");

    snprintf(want, sizeof(want), ".C.%d.%d.", deliveries, seq);
    ck_assert_msg(
        strcmp(m->subject, subject) == 0 && at != NULL && strncmp(at, want, strlen(want)) == 0,
        "wanted %s and ...%s, got %s %s %s", subject, want, m->subject, m->reply, m->body);
}

void js_gets(struct js_rig *r, const char *subject, int seq, int deliveries)
{
    struct raw_msg m;

    js_next(r, &m);
    check_delivery(&m, subject, seq, deliveries);
    free(m.body);
}

void js_takes(struct js_rig *r, const char *subject, int seq, int deliveries, const char *ack)
{
    struct raw_msg m;

    js_next(r, &m);
    check_delivery(&m, subject, seq, deliveries);
    free(m.body);
    js_ask(r, m.reply, ack, "");
}

void js_hears(struct js_rig *r, const char *status)
{
    struct raw_msg m;

    js_next(r, &m);
    ck_assert_msg(strncmp(m.body, "NATS/1.0 ", 9) == 0 &&
                      strncmp(m.body + 9, status, strlen(status)) == 0,
                  "wanted %s, got %s %s", status, m.subject, m.body);
    free(m.body);
}

void js_silent(struct js_rig *r)
{
    raw_fence(&r->api);
    raw_fence(&r->in);
}
