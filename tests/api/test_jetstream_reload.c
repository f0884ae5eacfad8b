/*
 * test_jetstream_reload.c - JetStream that comes and goes with a reload, while clients stay: what
 * was acknowledged is there again when it comes back, waiting pulls are told, nobody is closed.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ON "jetstream: enabled\n"
#define OFF ""
#define STREAMS 6u
#define RESPONDS "\"headers\":true,\"no_responders\":true"

static const char *const workers[] = {"1", "2", "4"};
static unsigned reloads;

/* max_payload is another one each time, so that the log tells one reload from the others. */
static void configure(struct server_process *s, const char *text)
{
    char all[400];

    snprintf(all, sizeof(all), "%smax_payload: %u\n", text, 100000 + ++reloads);
    server_process_config(s, all);
}

static void wait_reloaded(struct server_process *s)
{
    char line[80];

    snprintf(line, sizeof(line), "Reloaded: max_payload = %u", 100000 + reloads);
    server_process_log_wait(s, line);
}

static void reload(struct server_process *s, const char *text)
{
    configure(s, text);
    ck_assert_int_eq(kill(s->pid, SIGHUP), 0);
    wait_reloaded(s);
}

static void init(struct server_process *s, int w, const char *text)
{
    server_process_init(s);
    s->js_by_config = true;
    configure(s, text);
    s->args[0] = "--workers";
    s->args[1] = workers[w];
    s->args[2] = "-c";
    s->args[3] = s->conf;
}

static void start(struct server_process *s, int w, const char *text)
{
    init(s, w, text);
    server_process_start(s);
}

static void asks(struct raw_client *c, const char *subject, const char *body, const char *want)
{
    char *got = raw_ask(c, subject, body);

    ck_assert_msg(strstr(got, want) != NULL, "%s %s: %s, wanted %s", subject, body, got, want);
    free(got);
}

/* What a client that comes now is told. */
static void greets(const struct server_process *s, bool jetstream)
{
    struct raw_client c;
    char *info;

    raw_open(&c, s->port);
    info = raw_line(&c);
    ck_assert_msg((strstr(info, "\"jetstream\":true") != NULL) == jetstream, "%s", info);
    free(info);
    raw_close(&c);
}

static void make_streams(struct raw_client *c)
{
    char subject[80], body[160];

    for (unsigned n = 0; n < STREAMS; n++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.CREATE.S%u", n);
        snprintf(body, sizeof(body), "{\"name\":\"S%u\",\"subjects\":[\"s%u.>\"]}", n, n);
        asks(c, subject, body, "\"did_create\":true");
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DURABLE.CREATE.S%u.C", n);
        snprintf(body, sizeof(body),
                 "{\"stream_name\":\"S%u\",\"config\":{\"durable_name\":\"C\","
                 "\"ack_policy\":\"explicit\"}}",
                 n);
        asks(c, subject, body, "\"name\":\"C\"");
    }
}

/* The consumers of all streams wait for the message behind those that are there. */
static void drain_and_wait(struct raw_client *c)
{
    static const char forever[] = "{\"expires\":600000000000}";
    char text[800];
    struct raw_msg m;

    for (unsigned n = 0; n < STREAMS; n++) {
        snprintf(text, sizeof(text), "PUB $JS.API.CONSUMER.MSG.NEXT.S%u.C w.%u 1\r\n1\r\n", n, n);
        raw_send(c, text);
        raw_msg(c, &m);
        snprintf(text, sizeof(text),
                 "PUB %s 0\r\n\r\nPUB $JS.API.CONSUMER.MSG.NEXT.S%u.C w.%u %zu\r\n%s\r\n", m.reply,
                 n, n, strlen(forever), forever);
        raw_send(c, text);
        free(m.body);
    }
    raw_fence(c);
}

static void hears_the_end(struct raw_client *c)
{
    struct raw_msg m;

    for (unsigned n = 0; n < STREAMS; n++) {
        raw_msg(c, &m);
        ck_assert_msg(strstr(m.body, "NATS/1.0 409 Server Shutdown") != NULL, "%s", m.body);
        free(m.body);
    }
}

static void is_as_left(struct raw_client *c, unsigned messages)
{
    char subject[80], want[80];

    for (unsigned n = 0; n < STREAMS; n++) {
        snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.S%u", n);
        snprintf(want, sizeof(want), "\"messages\":%u,", messages);
        asks(c, subject, "", want);
        snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.S%u.C", n);
        snprintf(want, sizeof(want), "\"ack_floor\":{\"consumer_seq\":%u,", messages);
        asks(c, subject, "", want);
    }
}

TEST(comes_and_goes)
{
    struct server_process s;
    struct raw_client c, waits;
    char subject[80];

    start(&s, i, OFF);
    raw_hello(&c, s.port, RESPONDS);
    raw_hello(&waits, s.port, RESPONDS);
    raw_send(&waits, "SUB w.* 9\r\n");
    for (unsigned round = 0; round < 4; round++) {
        greets(&s, false);
        asks(&c, "$JS.API.INFO", "", "503");
        asks(&c, "s0.x", "", "503");
        reload(&s, ON);
        greets(&s, true);
        if (round == 0)
            make_streams(&c);
        is_as_left(&c, round);
        for (unsigned n = 0; n < STREAMS; n++) {
            snprintf(subject, sizeof(subject), "s%u.x", n);
            asks(&c, subject, "m", "\"stream\":\"S");
        }
        drain_and_wait(&waits);
        reload(&s, OFF);
        hears_the_end(&waits);
    }
    server_process_stop(&s);
    raw_close(&c);
    raw_close(&waits);
    configure(&s, ON);
    server_process_start(&s);
    raw_hello(&c, s.port, RESPONDS);
    is_as_left(&c, 4);
    raw_close(&c);
    server_process_deinit(&s);
}

/* The largest sequence that this connection has heard of, up to the answer of "end". */
static unsigned last_acked(struct raw_client *c)
{
    struct raw_msg m;
    unsigned last = 0;
    bool end = false;

    while (!end) {
        const char *at;
        raw_msg(c, &m);
        at = m.header_n == 0 ? strstr(m.body, "\"seq\":") : NULL;
        end = strcmp(m.subject, "end") == 0;
        if (at != NULL && !end) {
            unsigned seq = (unsigned) strtoul(at + 6, NULL, 10);
            last = seq > last ? seq : last;
        }
        free(m.body);
    }
    return last;
}

/* Publishers that do not care: what they were told is stored is there. */
TEST(publishers_stay)
{
    enum { CLIENTS = 4, ROUNDS = 12, MESSAGES = 40 };
    struct server_process s;
    struct raw_client c[CLIENTS], asking;
    unsigned last = 0, seq;
    char want[80];

    start(&s, i, ON);
    for (unsigned k = 0; k < CLIENTS; k++) {
        raw_hello(&c[k], s.port, RESPONDS);
        raw_send(&c[k], "SUB a 9\r\nSUB end 8\r\n");
    }
    make_streams(&c[0]);
    for (unsigned round = 0; round < ROUNDS; round++) {
        configure(&s, round % 2 == 0 ? OFF : ON);
        kill(s.pid, SIGHUP);
        for (unsigned k = 0; k < CLIENTS; k++)
            for (unsigned n = 0; n < MESSAGES; n++)
                raw_send(&c[k], "PUB s0.x a 1\r\nm\r\n");
        if (round % 3 == 2) /* else the next one comes while this one is under way */
            wait_reloaded(&s);
    }
    wait_reloaded(&s);
    for (unsigned k = 0; k < CLIENTS; k++) {
        raw_send(&c[k], "PUB s0.x end 1\r\nm\r\n");
        seq = last_acked(&c[k]);
        last = seq > last ? seq : last;
    }
    ck_assert_uint_gt(last, 0);
    raw_hello(&asking, s.port, RESPONDS);
    asks(&asking, "$JS.API.STREAM.INFO.S0", "", "\"first_seq\":1,");
    snprintf(want, sizeof(want), "{\"seq\":%u}", last);
    asks(&asking, "$JS.API.STREAM.MSG.GET.S0", want, "\"data\":\"bQ==\"");
    raw_close(&asking);
    for (unsigned k = 0; k < CLIENTS; k++)
        raw_close(&c[k]);
    server_process_deinit(&s);
}

/* A server that is told to end meanwhile ends as ever. */
TEST(ends_while_it_goes)
{
    struct server_process s;
    struct raw_client c;

    start(&s, i, ON);
    raw_hello(&c, s.port, RESPONDS);
    make_streams(&c);
    asks(&c, "s1.x", "m", "\"seq\":1");
    configure(&s, OFF);
    kill(s.pid, SIGHUP);
    server_process_stop(&s);
    raw_close(&c);
    configure(&s, ON);
    server_process_start(&s);
    raw_hello(&c, s.port, RESPONDS);
    asks(&c, "$JS.API.STREAM.INFO.S1", "", "\"messages\":1,");
    raw_close(&c);
    server_process_deinit(&s);
}

/* Where it can not start the reload is one without it; the next one tries again. */
TEST(can_not_come)
{
    struct server_process s;
    struct raw_client c;
    char path[200];
    int fd;

    init(&s, i, OFF);
    snprintf(path, sizeof(path), "%s/store", s.dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    close(fd);
    server_process_start(&s);
    raw_hello(&c, s.port, RESPONDS);
    reload(&s, ON);
    ck_assert(server_process_log_has(&s, "[WRN] "));
    greets(&s, false);
    asks(&c, "$JS.API.INFO", "", "503");
    ck_assert_int_eq(unlink(path), 0);
    reload(&s, ON);
    greets(&s, true);
    asks(&c, "$JS.API.INFO", "", "\"streams\":0");
    raw_close(&c);
    server_process_deinit(&s);
}

/* The keys of encryption stay what they are, and are not shown. */
TEST(keys_stay)
{
    struct server_process s;

    start(&s, i, "jetstream { enabled: false, key: \"first key\" }\n");
    reload(&s, "jetstream { enabled: true, key: \"first key\" }\n");
    ck_assert(server_process_log_has(&s, "Encryption:      ChaCha20-Poly1305"));
    configure(&s, "jetstream { enabled: true, key: \"other key\" }\n");
    kill(s.pid, SIGHUP);
    server_process_log_wait(&s, "config reload not supported for JetStreamKey: old=[REDACTED], "
                                "new=[REDACTED]");
    configure(&s, "jetstream { enabled: true, key: \"first key\", prev_key: \"other key\" }\n");
    kill(s.pid, SIGHUP);
    server_process_log_wait(&s, "config reload not supported for JetStreamOldKey: old=, "
                                "new=[REDACTED]");
    configure(&s, "jetstream { enabled: true, key: \"first key\", cipher: aes }\n");
    kill(s.pid, SIGHUP);
    server_process_log_wait(&s, "config reload not supported for JetStreamCipher: "
                                "old=ChaCha20-Poly1305, new=AES-GCM");
    configure(&s, OFF);
    kill(s.pid, SIGHUP);
    server_process_log_wait(&s, "config reload not supported for JetStreamKey: old=[REDACTED], "
                                "new=\n");
    reload(&s, "jetstream { enabled: true, key: \"first key\", cipher: chacha }\n");
    ck_assert(!server_process_log_has(&s, "first key") && !server_process_log_has(&s, "other key"));
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(comes_and_goes, 0, 3),
    RUN_LOOP(publishers_stay, 0, 3),
    RUN_LOOP(ends_while_it_goes, 0, 3),
    RUN_LOOP(can_not_come, 0, 2),
    RUN(keys_stay),
};

RUNNER_MAIN("api/jetstream_reload", cases)
