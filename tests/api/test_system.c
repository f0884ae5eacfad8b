/* The system account: requests and their answers, what accounts may ask, events. */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const workers[] = {"1", "2", "4"};

static const char conf[] =
    "server_name: here\n"
    "server_tags: [\"a:1\", b]\n"
    "server_metadata: { k: v }\n"
    "authorization { timeout: 60 }\n"
    "accounts {\n"
    "  A { users: [ {user: a, password: a, permissions: {\n"
    "          publish: {allow: \">\", deny: never}, subscribe: [\">\", \"q g\"],\n"
    "          allow_responses: {max: 3, expires: \"1m\"}}} ]\n"
    "      jetstream: enabled }\n"
    "  B { users: [ {user: b, password: b} ] }\n"
    "  SYS { users: [ {user: s, password: s} ] }\n"
    "}\n"
    "system_account: SYS\n"
    "lame_duck_duration: 30\n"
    "lame_duck_grace_period: 100ms\n";

struct rig {
    struct server_process server;
    char config[200];
    struct raw_client sys, a;
    char id[64]; /* the server's */
};

static void write_config(const struct rig *r, const char *text)
{
    FILE *f = fopen(r->config, "we");

    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void login(struct raw_client *c, const struct rig *r, const char *name)
{
    char fields[160];

    snprintf(fields, sizeof(fields),
             "\"user\":\"%s\",\"pass\":\"%s\",\"headers\":true,\"no_responders\":true,"
             "\"protocol\":1,\"name\":\"of %s\"",
             name, name, name);
    raw_hello(c, r->server.port, fields);
    raw_skip(c, "\"api_lvl\":5}\r\n"); /* protocol 1: a second INFO */
}

/* %s in the subject is the server. */
static char *ask(struct raw_client *c, const struct rig *r, const char *subject, const char *body)
{
    const char *id = strstr(subject, "%s");
    char text[200];

    if (id == NULL)
        return raw_ask(c, subject, body);
    snprintf(text, sizeof(text), "%.*s%s%s", (int) (id - subject), subject, r->id, id + 2);
    return raw_ask(c, text, body);
}

static void ask_has(struct raw_client *c, const struct rig *r, const char *subject,
                    const char *body, const char *want)
{
    char *got = ask(c, r, subject, body);

    ck_assert_msg(strstr(got, want) != NULL, "%s: %s\nwanted %s", subject, got, want);
    free(got);
}

static void start(struct rig *r, int w)
{
    char *got;
    const char *at;

    server_process_init(&r->server);
    snprintf(r->config, sizeof(r->config), "%s/conf", r->server.dir);
    write_config(r, conf);
    r->server.args[0] = "--workers";
    r->server.args[1] = workers[w];
    r->server.args[2] = "-c";
    r->server.args[3] = r->config;
    server_process_start(&r->server);
    login(&r->sys, r, "s");
    login(&r->a, r, "a");
    got = raw_ask(&r->sys, "$SYS.REQ.SERVER.PING.IDZ", "");
    at = strstr(got, "\"id\":\"");
    ck_assert_msg(at != NULL, "%s", got);
    snprintf(r->id, sizeof(r->id), "%.56s", at + 6);
    free(got);
}

static void end(struct rig *r)
{
    raw_close(&r->sys);
    raw_close(&r->a);
    server_process_deinit(&r->server);
}

/* The next event on that subject has this; others are passed over. */
static void hears(struct raw_client *c, const char *subject, const char *const *wants)
{
    struct raw_msg m;

    for (;;) {
        raw_msg(c, &m);
        if (strstr(m.subject, subject) != NULL)
            break;
        free(m.body);
    }
    for (; *wants != NULL; wants++)
        ck_assert_msg(strstr(m.body, *wants) != NULL, "%s: %s\nwanted %s", m.subject, m.body,
                      *wants);
    free(m.body);
}
#define HEARS(c, subject, ...) hears(c, subject, (const char *const[]){__VA_ARGS__, NULL})

TEST(users_learn_who_they_are)
{
    struct rig r;
    struct raw_client b;

    start(&r, i);
    login(&b, &r, "b");
    ask_has(&r.a, &r, "$SYS.REQ.USER.INFO", "",
            "\"data\":{\"user\":\"a\",\"account\":\"A\",\"account_name\":\"A\",\"permissions\":{"
            "\"publish\":{\"allow\":[\">\"],\"deny\":[\"never\"]},\"subscribe\":{\"allow\":[\">\","
            "\"q g\"]},"
            "\"responses\":{\"max\":3,\"ttl\":60000000000}}}}");
    ask_has(&b, &r, "$SYS.REQ.USER.INFO", "",
            "\"data\":{\"user\":\"b\",\"account\":\"B\",\"account_name\":\"B\"}}");
    ask_has(&r.sys, &r, "$SYS.REQ.USER.INFO", "", "\"data\":{\"user\":\"s\",\"account\":\"SYS\"");
    raw_close(&b);
    end(&r);
}

TEST(accounts_see_themselves_alone)
{
    struct rig r;
    struct raw_client b;
    char *got;

    start(&r, i);
    login(&b, &r, "b");
    ask_has(&b, &r, "$SYS.REQ.SERVER.PING.CONNZ", "", "\"num_connections\":1,\"total\":1");
    ask_has(&b, &r, "$SYS.REQ.ACCOUNT.PING.CONNZ", "{\"auth\":true}", "\"account\":\"B\"");
    /* Whatever it says, it is asked about its own. */
    got = ask(&b, &r, "$SYS.REQ.ACCOUNT.PING.CONNZ", "{\"acc\":\"A\",\"auth\":true}");
    ck_assert_msg(strstr(got, "\"account\":\"A\"") == NULL, "%s", got);
    free(got);
    ask_has(&b, &r, "$SYS.REQ.ACCOUNT.PING.STATZ", "{\"accounts\":[\"A\"]}", "\"acc\":\"B\"");
    ask_has(&b, &r, "$SYS.REQ.SERVER.PING.VARZ", "", "NATS/1.0 503");
    ask_has(&b, &r, "$SYS.REQ.SERVER.%s.KICK", "{\"cid\":1}", "NATS/1.0 503");
    ask_has(&b, &r, "$SYS.REQ.USER.A.INFO", "", "NATS/1.0 503");
    raw_close(&b);
    end(&r);
}

TEST(documents)
{
    static const struct {
        const char *subject, *body, *want;
    } table[] = {
        {"$SYS.REQ.SERVER.PING", "", "\"statsz\":{\"start\":"},
        {"$SYS.REQ.SERVER.PING.STATSZ", "", "\"active_accounts\":2"},
        {"$SYS.REQ.SERVER.%s.VARZ", "", "\"server_name\":\"here\""},
        {"$SYS.REQ.SERVER.%s.CONNZ", "{\"acc\":\"A\",\"subscriptions\":true}", "\"name\":\"of a\""},
        {"$SYS.REQ.SERVER.%s.CONNZ", "{\"user\":\"a\",\"limit\":1}", "\"num_connections\":1"},
        {"$SYS.REQ.SERVER.%s.CONNZ", "{\"acc\":\"A\",\"filter_subject\":\"nobody.here\"}",
         "\"connections\":[]"},
        {"$SYS.REQ.SERVER.%s.SUBSZ", "{\"subscriptions\":true,\"account\":\"SYS\"}",
         "\"account\":\"SYS\""},
        {"$SYS.REQ.SERVER.%s.ROUTEZ", "", "\"routes\":[]"},
        {"$SYS.REQ.SERVER.%s.GATEWAYZ", "", "\"inbound_gateways\":{}"},
        {"$SYS.REQ.SERVER.%s.LEAFZ", "", "\"leafs\":[]"},
        {"$SYS.REQ.SERVER.%s.ACCOUNTZ", "", "\"accounts\":["},
        {"$SYS.REQ.SERVER.%s.JSZ", "{\"accounts\":true}", "\"account_details\":[{\"name\":\"A\""},
        {"$SYS.REQ.SERVER.%s.HEALTHZ", "", "\"data\":{\"status\":\"ok\",\"status_code\":200}"},
        {"$SYS.REQ.SERVER.%s.EXPVARZ", "", "\"cmdline\":["},
        {"$SYS.REQ.SERVER.%s.PROFILEZ", "{\"name\":\"x\"}", "not found"},
        {"$SYS.REQ.ACCOUNT.A.CONNZ", "", "\"total\":1"},
        {"$SYS.REQ.ACCOUNT.SYS.SUBSZ", "", "\"subscriptions_list\":["},
        {"$SYS.REQ.ACCOUNT.A.INFO", "", "\"jetstream_enabled\":true"},
        {"$SYS.REQ.ACCOUNT.A.JSZ", "", "\"data\":{\"name\":\"A\""},
        {"$SYS.REQ.ACCOUNT.A.CONNS", "", "\"type\":\"io.nats.server.advisory.v1.account_connect"},
        {"$SYS.REQ.ACCOUNT.A.STATZ", "", "\"account_statz\":[{\"acc\":\"A\""},
        {"$SYS.REQ.ACCOUNT.PING.STATZ", "", "\"acc\":\"SYS\""},
        /* only for those that are meant */
        {"$SYS.REQ.SERVER.PING.VARZ", "{\"server_name\":\"her\"}", "\"data\":{"},
        {"$SYS.REQ.SERVER.PING.VARZ", "{\"server_name\":\"here\",\"exact_match\":true}",
         "\"data\":{"},
        {"$SYS.REQ.SERVER.PING.VARZ", "{\"host\":\"127\"}", "\"data\":{"},
        {"$SYS.REQ.SERVER.PING.VARZ", "{\"tags\":[\"A:1\",\"b\"]}",
         "\"tags\":[\"a:1\",\"b\"],\"metadata\":{\"k\":\"v\"}"},
        /* errors */
        {"$SYS.REQ.SERVER.PING.VARZ", "{", "\"error\":{\"code\":400,"},
        {"$SYS.REQ.SERVER.PING.CONNZ", "{\"sort\":\"x\"}",
         "\"data\":null,\"error\":{\"code\":500,\"description\":\"invalid sorting option: x\"}"},
        {"$SYS.REQ.ACCOUNT.NOPE.INFO", "", "Account NOPE does not exist"},
        {"$SYS.REQ.SERVER.PING.NOPE", "", "NATS/1.0 503"},
        {"$SYS.REQ.ACCOUNT.A.NOPE", "", "NATS/1.0 503"},
        {"$SYS.REQ.SERVER.SOMEBODYELSE.VARZ", "", "NATS/1.0 503"},
    };
    struct rig r;

    start(&r, i);
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++)
        ask_has(&r.sys, &r, table[k].subject, table[k].body, table[k].want);
    end(&r);
}

TEST(others_are_meant)
{
    static const char *const bodies[] = {
        "{\"server_name\":\"there\"}", "{\"server_name\":\"her\",\"exact_match\":true}",
        "{\"cluster\":\"c\"}",         "{\"host\":\"nowhere\"}",
        "{\"domain\":\"d\"}",          "{\"tags\":[\"t\"]}",
        "{\"tags\":[\"b\",\"t\"]}",
    };
    struct rig r;
    struct raw_msg m;

    start(&r, i);
    raw_send(&r.sys, "SUB me.* 5\r\n");
    for (size_t k = 0; k < sizeof(bodies) / sizeof(bodies[0]); k++) {
        char text[200];
        snprintf(text, sizeof(text), "PUB $SYS.REQ.SERVER.PING.VARZ me.%zu %zu\r\n%s\r\n", k,
                 strlen(bodies[k]), bodies[k]);
        raw_send(&r.sys, text);
    }
    /* Requests are answered in their order: with the first answer all before had theirs. */
    raw_send(&r.sys, "PUB $SYS.REQ.SERVER.PING.IDZ me.last 0\r\n\r\n");
    raw_msg(&r.sys, &m);
    ck_assert_str_eq(m.subject, "me.last");
    free(m.body);
    end(&r);
}

static unsigned cid_of(const struct rig *r, struct raw_client *sys, const char *user)
{
    char body[64], *got;
    const char *at;
    unsigned cid;

    snprintf(body, sizeof(body), "{\"user\":\"%s\"}", user);
    got = ask(sys, r, "$SYS.REQ.SERVER.%s.CONNZ", body);
    at = strstr(got, "\"cid\":");
    ck_assert_msg(at != NULL, "%s", got);
    cid = (unsigned) strtoul(at + 6, NULL, 10);
    free(got);
    return cid;
}

TEST(kicks_and_tells)
{
    struct rig r;
    char body[64];

    start(&r, i);
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.KICK", "{\"cid\":999999}",
            "\"error\":{\"code\":500,\"description\":\"no such client or leafnode id\"}");
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.LDM", "{\"cid\":999999}",
            "\"error\":{\"code\":500,\"description\":\"no such client id\"}");
    snprintf(body, sizeof(body), "{\"cid\":%u}", cid_of(&r, &r.sys, "a"));
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.LDM", body, "\"time\":");
    raw_skip(&r.a, "\"ldm\":true");
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.KICK", body, "\"time\":");
    raw_skip(&r.a, "}\r\n");
    raw_expect_end(&r.a);
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.CONNZ", "{\"state\":1,\"acc\":\"A\"}",
            "\"reason\":\"Kicked\"");
    end(&r);
}

TEST(reloads)
{
    struct rig r;

    start(&r, i);
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.RELOAD", "", "\"time\":");
    write_config(&r, "nonsense: 1\n");
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.RELOAD", "", "\"error\":{\"code\":500,");
    write_config(&r, "max_pending: 47110000\naccounts { A { users: [ {user: a, password: a} ] }\n"
                     "B { users: [ {user: b, password: b} ] }\n"
                     "SYS { users: [ {user: s, password: s} ] } }\n"
                     "system_account: SYS\nserver_name: here\n");
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.RELOAD", "", "\"time\":");
    ask_has(&r.sys, &r, "$SYS.REQ.SERVER.%s.VARZ", "", "\"max_pending\":47110000");
    ask_has(&r.sys, &r, "$SYS.REQ.USER.INFO", "", "\"user\":\"s\"");
    end(&r);
}

TEST(events_of_connections)
{
    struct rig r;
    struct raw_client b;

    start(&r, i);
    raw_send(&r.sys, "SUB $SYS.ACCOUNT.*.* 2\r\nSUB $SYS.SERVER.*.CLIENT.> 3\r\n");
    raw_fence(&r.sys);
    login(&b, &r, "b");
    HEARS(&r.sys, "$SYS.ACCOUNT.B.CONNECT",
          "\"type\":\"io.nats.server.advisory.v1.client_connect\"", "\"acc\":\"B\"",
          "\"user\":\"b\"", "\"name\":\"of b\"", "\"kind\":\"Client\"", "\"client_type\":\"nats\"",
          "\"server\":{\"name\":\"here\"");
    raw_send(&b, "PUB x 5\r\nhello\r\n");
    raw_fence(&b);
    raw_close(&b);
    HEARS(&r.sys, "$SYS.ACCOUNT.B.DISCONNECT",
          "\"type\":\"io.nats.server.advisory.v1.client_disconnect\"",
          "\"sent\":{\"msgs\":1,\"bytes\":5}", "\"received\":{\"msgs\":0,\"bytes\":0}",
          "\"reason\":\"Client Closed\"", "\"stop\":");
    raw_open(&b, r.server.port);
    raw_send(&b, "CONNECT {\"user\":\"b\",\"pass\":\"x\",\"name\":\"wrong\"}\r\nPING\r\n");
    HEARS(&r.sys, ".CLIENT.AUTH.ERR", "\"user\":\"b\"", "\"name\":\"wrong\"",
          "\"reason\":\"Authentication Failure\"");
    raw_close(&b);
    end(&r);
}

TEST(events_of_accounts)
{
    struct rig r;
    struct raw_client b;

    start(&r, i);
    raw_send(&r.sys, "SUB $SYS.ACCOUNT.B.SERVER.CONNS 2\r\nSUB $SYS.SERVER.*.STATSZ 3\r\n");
    raw_fence(&r.sys);
    login(&b, &r, "b");
    HEARS(&r.sys, "$SYS.ACCOUNT.B.SERVER.CONNS",
          "\"type\":\"io.nats.server.advisory.v1.account_connections\"", "\"acc\":\"B\"",
          "\"conns\":1,", "\"total_conns\":1,");
    raw_close(&b);
    HEARS(&r.sys, "$SYS.ACCOUNT.B.SERVER.CONNS", "\"conns\":0,");
    HEARS(&r.sys, ".STATSZ", "\"statsz\":{", "\"server\":{");
    /* Without a reply the numbers go to everybody. */
    raw_send(&r.sys, "PUB $SYS.REQ.SERVER.PING 0\r\n\r\n");
    HEARS(&r.sys, ".STATSZ", "\"statsz\":{");
    end(&r);
}

static size_t memory_of(const struct rig *r)
{
    char path[64], line[256];
    unsigned long kb = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/status", (int) r->server.pid);
    f = fopen(path, "re");
    ck_assert_ptr_nonnull(f);
    while (fgets(line, sizeof(line), f) != NULL)
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtoul(line + 6, NULL, 10);
    fclose(f);
    return kb >> 10;
}

/* Any client may ask about itself, and with any body: what waits for the main thread has a limit,
 * and what the server has to say itself still comes. */
TEST(floods_are_dropped)
{
    enum { BODY = 900000, N = 700 };
    struct rig r;
    struct raw_client b;
    char *body = malloc(BODY + 3), head[80];
    int n;

    start(&r, i);
    raw_send(&r.sys, "SUB $SYS.ACCOUNT.B.SERVER.CONNS 2\r\n");
    raw_fence(&r.sys);
    memcpy(body, "{\"x\":[0", 7);
    for (int k = 7; k < BODY - 1; k += 2)
        memcpy(body + k, ",0", 2);
    memcpy(body + BODY - 3, "]}\r\n", 4);
    n = snprintf(head, sizeof(head), "PUB $SYS.REQ.ACCOUNT.PING.CONNZ r %d\r\n", BODY - 1);
    for (int k = 0; k < N; k++) {
        raw_send_bytes(&r.a, head, (size_t) n);
        raw_send_bytes(&r.a, body, BODY + 1);
    }
    raw_fence(&r.a);
    ck_assert_uint_lt(memory_of(&r), 400);
    login(&b, &r, "b");
    HEARS(&r.sys, "$SYS.ACCOUNT.B.SERVER.CONNS", "\"conns\":1,");
    raw_close(&b);
    free(body);
    end(&r);
}

TEST(the_log_shows_both_directions)
{
    struct rig r;

    start(&r, i);
    raw_close(&r.a);
    raw_close(&r.sys);
    server_process_stop(&r.server);
    r.server.args[4] = "-V";
    server_process_start(&r.server);
    raw_hello(&r.a, r.server.port,
              "\"user\":\"b\",\"pass\":\"b\",\"headers\":true,"
              "\"name\":\"n\",\"lang\":\"c\",\"version\":\"1\"");
    raw_send(&r.a, "SUB foo 1\r\nPUB foo bar 2\r\nhi\r\n");
    raw_expect(&r.a, "MSG foo 1 bar 2\r\nhi\r\n");
    raw_send(&r.a, "HPUB foo 12 14\r\nNATS/1.0\r\n\r\nhi\r\nUNSUB 1\r\nSUB a..b 2\r\n");
    raw_expect(&r.a, "HMSG foo 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n-ERR 'Invalid Subject'\r\n");
    server_process_log_wait(&r.server, " - \"v1:c:n\" - \"B/user:b\" - <<- [SUB foo 1]");
    server_process_log_wait(&r.server, " - \"v1:c:n\" - \"B/user:b\" - <<- [PUB foo bar 2]");
    server_process_log_wait(&r.server, " - <<- MSG_PAYLOAD: [\"hi\"]");
    server_process_log_wait(&r.server, " - \"v1:c:n\" - \"B/user:b\" - ->> [MSG foo 1 bar 2]");
    server_process_log_wait(&r.server, " - ->> [HMSG foo 1 12 14]");
    server_process_log_wait(&r.server, " - ->> [-ERR Invalid Subject]");
    server_process_log_wait(&r.server, " - ->> [PONG]");
    ck_assert(server_process_log_has(&r.server, "\"pass\":\"[REDACTED]\""));
    raw_close(&r.a);
    server_process_deinit(&r.server);
}

TEST(says_that_it_goes)
{
    struct rig r;

    start(&r, i);
    raw_close(&r.a);
    raw_close(&r.sys);
    raw_hello(&r.sys, r.server.port, "\"user\":\"s\",\"pass\":\"s\""); /* without INFO */
    raw_send(&r.sys, "SUB $SYS.SERVER.*.LAMEDUCK 2\r\nSUB $SYS.SERVER.*.SHUTDOWN 3\r\n");
    raw_fence(&r.sys);
    kill(r.server.pid, SIGUSR2);
    HEARS(&r.sys, ".LAMEDUCK", "\"name\":\"here\"", "\"seq\":");
    kill(r.server.pid, SIGINT);
    HEARS(&r.sys, ".SHUTDOWN", "\"name\":\"here\"");
    raw_close(&r.sys);
    server_process_wait(&r.server);
    server_process_deinit(&r.server);
}

static const struct runner_case cases[] = {
    RUN_LOOP(users_learn_who_they_are, 0, 3),
    RUN_LOOP(accounts_see_themselves_alone, 0, 3),
    RUN_LOOP(documents, 0, 3),
    RUN_LOOP(others_are_meant, 0, 3),
    RUN_LOOP(kicks_and_tells, 0, 3),
    RUN_LOOP(reloads, 0, 3),
    RUN_LOOP(events_of_connections, 0, 3),
    RUN_LOOP(events_of_accounts, 0, 3),
    RUN_LOOP(floods_are_dropped, 0, 2),
    RUN_LOOP(the_log_shows_both_directions, 0, 3),
    RUN_LOOP(says_that_it_goes, 0, 3),
};

RUNNER_MAIN("api/system", cases)
