/*
 * More of the system account: answers that are packed, how many subscriptions there are, and what
 * an account hears of who was kept out of it. All of it was said by nats-server 2.15.1, too.
 */
#include "lib/base/assert.h"
#include "lib/wire/kafka_compress.h"
#include "lib/wire/s2.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const workers[] = {"1", "2", "4"};

static const char conf[] =
    "accounts {\n"
    "  A { users: [ {user: a, password: a} ]\n"
    "      imports: [ {service: {account: SYS, subject: \"$SYS.DEBUG.SUBSCRIBERS\"}} ] }\n"
    "  B { users: [ {user: b, password: b} ]\n"
    "      imports: [ {service: {account: SYS, subject: \"$SYS.DEBUG.SUBSCRIBERS\"}} ] }\n"
    "  SYS { users: [ {user: s, password: s} ]\n"
    "        exports: [ {service: \"$SYS.DEBUG.SUBSCRIBERS\"} ] }\n"
    "}\n"
    "system_account: SYS\n"
    "leafnodes { listen: \"127.0.0.1:-1\", authorization { user: l, password: l, account: A } }\n";

static void login(struct raw_client *c, const struct server_process *s, const char *user)
{
    char fields[160];

    snprintf(fields, sizeof(fields),
             "\"user\":\"%s\",\"pass\":\"%s\",\"headers\":true,\"no_responders\":true", user, user);
    raw_hello(c, s->port, fields);
}

static void start(struct server_process *s, int w, const char *text)
{
    server_process_init(s);
    s->args[0] = "--workers";
    s->args[1] = workers[w];
    s->args[2] = "-c";
    s->args[3] = server_process_config(s, text);
    server_process_start(s);
}

/* ---- packed answers -------------------------------------------------------------------------- */

/* A request with that header, to an inbox that is wanted. */
static void ask_headed(struct raw_client *c, const char *subject, const char *header,
                       struct raw_msg *m)
{
    char text[400];
    size_t n = strlen("NATS/1.0\r\n\r\n\r\n") + strlen(header);

    snprintf(text, sizeof(text), "HPUB %s box %zu %zu\r\nNATS/1.0\r\n%s\r\n\r\n\r\n", subject, n, n,
             header);
    raw_send(c, text);
    raw_msg(c, m);
    ck_assert_str_eq(m->subject, "box");
}

static struct buf unpacked(const struct raw_msg *m, const char *encoding)
{
    struct str packed = str_from(m->body + m->header_n, m->n - m->header_n);
    struct buf out = {0};
    struct kafka_room room = {0};
    struct s2_reader r = {0};

    if (strcmp(encoding, "gzip") == 0) {
        ck_assert_int_eq(kafka_decompress(KAFKA_GZIP, packed, 1u << 20, &room), ERR_OK);
        buf_put(&out, room.p, room.n);
        kafka_room_free(&room);
    } else if (strcmp(encoding, "snappy") == 0) {
        ck_assert_int_eq(memcmp(packed.p, "\xff\x06\0\0sNaPpY", 10), 0);
        s2_reader_feed(&r, packed);
        while (s2_reader_next(&r, &out) == S2_CHUNK)
            ;
        ck_assert_uint_eq(s2_reader_waiting(&r), 0);
        s2_reader_free(&r);
    } else {
        buf_put_str(&out, packed);
    }
    return out;
}

TEST(answers_are_packed)
{
    static const struct {
        const char *subject, *accepts, *encoding, *has;
    } rows[] = {
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: gzip", "gzip", "\"data\":{\"server_id\""},
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: snappy", "snappy", "\"data\":{\"server_id"},
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: gzip, S2", "snappy", "\"gomaxprocs\":"},
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: deflate, GZIP;q=1", "gzip", "\"cores\":"},
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: br", "identity", "\"data\":{\"server_id"},
        {"$SYS.REQ.SERVER.PING.VARZ", "Accept-Encoding: ", "", "\"data\":{\"server_id\""},
        {"$SYS.REQ.SERVER.PING.VARZ", "accept-encoding: gzip", "", "\"data\":{\"server_id\""},
        {"$SYS.REQ.ACCOUNT.A.INFO", "Accept-Encoding: gzip", "gzip", "\"account_name\":\"A\""},
        {"$SYS.REQ.SERVER.PING.IPQUEUESZ", "Accept-Encoding: br", "identity", "\"data\":{}}"},
        {"$SYS.REQ.ACCOUNT.PING.STATZ", "Accept-Encoding: snappy", "snappy", "\"account_statz\""},
        /* Without an envelope, or with another one: never. */
        {"$SYS.REQ.SERVER.PING.IDZ", "Accept-Encoding: gzip", "", "\"id\":\"N"},
        {"$SYS.REQ.SERVER.PING.STATSZ", "Accept-Encoding: gzip", "", "\"statsz\":{"},
        {"$SYS.REQ.USER.INFO", "Accept-Encoding: gzip", "", "\"user\":\"s\""},
        {"$SYS.REQ.ACCOUNT.SYS.CONNS", "Accept-Encoding: gzip", "", "account_connections"},
        /* Nor errors. */
        {"$SYS.REQ.ACCOUNT.A.JSZ", "Accept-Encoding: gzip", "", "\"error\":{"},
    };
    struct server_process s;
    struct raw_client c;

    start(&s, i, conf);
    login(&c, &s, "s");
    raw_send(&c, "SUB box 1\r\n");
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        struct raw_msg m;
        struct buf text;
        char header[80] = "";
        ask_headed(&c, rows[k].subject, rows[k].accepts, &m);
        if (rows[k].encoding[0] != '\0')
            snprintf(header, sizeof(header), "NATS/1.0\r\nContent-Encoding: %s\r\n\r\n",
                     rows[k].encoding);
        ck_assert_msg(m.header_n == strlen(header), "%s %s: %s", rows[k].subject, rows[k].accepts,
                      m.body);
        ck_assert_msg(memcmp(m.body, header, m.header_n) == 0, "%s", m.body);
        text = unpacked(&m, rows[k].encoding);
        ck_assert_msg(buf_cstr(&text)[0] == '{' && strstr(buf_cstr(&text), rows[k].has) != NULL,
                      "%s %s: %s", rows[k].subject, rows[k].accepts, buf_cstr(&text));
        buf_free(&text);
        free(m.body);
    }
    raw_close(&c);
    server_process_deinit(&s);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void counts(struct raw_client *c, const char *question, const char *want)
{
    char *got = raw_ask(c, "$SYS.DEBUG.SUBSCRIBERS", question);

    ck_assert_msg(strcmp(got, want) == 0, "\"%s\": %s, wanted %s", question, got, want);
    free(got);
}

static void join(struct raw_client *leaf, const struct server_process *s)
{
    raw_open(leaf, s->leaf_port);
    free(raw_line(leaf));
    raw_send(leaf,
             "CONNECT {\"name\":\"x\",\"server_id\":\"NX\",\"cluster\":\"cx\",\"headers\":true,"
             "\"user\":\"l\",\"pass\":\"l\",\"version\":\"2.15.0\"}\r\nLS+ foo.bar\r\nLS+ foo.bar "
             "g 1\r\nPING\r\n");
    raw_skip(leaf, "PONG\r\n");
}

TEST(subscriptions_are_counted)
{
    static const struct {
        const char *question, *without_leaf, *with_leaf;
    } rows[] = {
        {"foo.bar", "4", "6"},    {"foo.bar g", "1", "2"}, {"foo.bar none", "0", "0"},
        {"foo.*", "3", "5"},      {"foo.* g", "1", "2"},   {"foo.>", "3", "5"},
        {" foo.bar ", "4", "6"},  {"nobody", "1", "1"},    {"", "0", "0"},
        {"foo..bar", "0", "0"},   {"bar.*", "0", "0"},     {"foo.bar.baz", "1", "1"},
        {"foo none g", "0", "0"},
    };
    struct server_process s;
    struct raw_client one, a, b, sys, leaf;

    start(&s, i, conf);
    login(&one, &s, "a");
    login(&a, &s, "a");
    login(&b, &s, "b");
    login(&sys, &s, "s");
    raw_send(&one, "SUB foo.bar 1\r\nSUB foo.* 2\r\nSUB foo.bar g 3\r\nSUB > 4\r\n");
    raw_fence(&one);
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        counts(&a, rows[k].question, rows[k].without_leaf);
        counts(&b, rows[k].question, "0"); /* of its own account */
        counts(&sys, rows[k].question, "0");
    }
    join(&leaf, &s);
    for (size_t k = 0; k < ARRAY_LEN(rows); k++)
        counts(&a, rows[k].question, rows[k].with_leaf);
    raw_close(&one);
    raw_close(&a);
    raw_close(&b);
    raw_close(&sys);
    raw_close(&leaf);
    server_process_deinit(&s);
}

/* ---- who was kept out ------------------------------------------------------------------------ */

/* An account is told of those that would have become its own: the default one's here. */
TEST(accounts_hear_who_was_kept_out)
{
    struct server_process s;
    struct raw_client a, sys, wrong;
    struct raw_msg m;

    start(&s, i,
          "accounts { $SYS { users: [ {user: s, password: s} ] } }\n"
          "authorization { users: [ {user: a, password: a} ] }\n");
    login(&a, &s, "a");
    login(&sys, &s, "s");
    raw_send(&a, "SUB $SYS.ACCOUNT.> 1\r\n");
    raw_fence(&a);
    raw_send(&sys, "SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 1\r\nSUB $SYS.SERVER.*.CLIENT.AUTH.ERR 2\r\n");
    raw_fence(&sys);
    raw_open(&wrong, s.port);
    raw_send(&wrong, "CONNECT {\"user\":\"a\",\"pass\":\"wrong\",\"verbose\":false}\r\n");
    raw_skip(&wrong, "-ERR 'Authorization Violation'\r\n");
    raw_msg(&a, &m);
    ck_assert_str_eq(m.subject, "$SYS.ACCOUNT.CLIENT.AUTH.ERR");
    ck_assert_ptr_nonnull(strstr(m.body, "io.nats.server.advisory.v1.client_disconnect"));
    ck_assert_ptr_nonnull(strstr(m.body, "\"acc\":\"$G\",\"user\":\"a\""));
    ck_assert_ptr_nonnull(strstr(m.body, "\"reason\":\"Authentication Failure\""));
    free(m.body);
    raw_msg(&sys, &m); /* there it is the server's matter alone */
    ck_assert_str_eq(m.sid, "2");
    free(m.body);
    raw_close(&wrong);
    raw_close(&a);
    raw_close(&sys);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(answers_are_packed, 0, 3),
    RUN_LOOP(subscriptions_are_counted, 0, 3),
    RUN_LOOP(accounts_hear_who_was_kept_out, 0, 3),
};

RUNNER_MAIN("api/system_requests", cases)
