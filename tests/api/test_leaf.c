/*
 * test_leaf.c - leaf connections: what an accepted one says and takes, line by line; who gets in;
 * permissions, loops, queue groups.
 */
#include "tests/api/leaf_rig.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES "\"name\":\"edge\",\"cluster\":\"edge\",\"headers\":true,\"remote_account\":\"$G\""

/* Up to the INFO that says that it is bound. */
static void join(struct raw_client *raw, const char *fields)
{
    char text[512], *line;

    raw_open(raw, hub.leaf_port);
    line = raw_line(raw);
    ck_assert_int_eq(strncmp(line, "INFO {", 6), 0);
    ck_assert_ptr_nonnull(strstr(line, "\"leafnode_urls\":[\"127.0.0.1:"));
    ck_assert_ptr_nonnull(strstr(line, "\"client_id\":"));
    ck_assert_ptr_nonnull(strstr(line, "\"info_on_connect\":true"));
    ck_assert_ptr_nonnull(strstr(line, "\"nonce\":\""));
    free(line);
    snprintf(text, sizeof(text), "CONNECT {" NAMES "%s%s}\r\n", fields[0] != '\0' ? "," : "",
             fields);
    raw_send(raw, text);
    line = raw_line(raw);
    ck_assert_msg(strstr(line, "\"connect_info\":true") != NULL, "%s", line);
    free(line);
}

/* The subject for loops, and everything before it. */
static char *take_lds(struct raw_client *raw)
{
    char *line;

    for (;;) {
        line = raw_line(raw);
        if (strncmp(line, "LS+ $LDS.", 9) == 0)
            return line;
        free(line);
    }
}

static void joined(struct raw_client *raw)
{
    join(raw, "");
    free(take_lds(raw));
}

/* The next LS+ or LS- that is not about an inbox of the server's own. */
static void expect_line(struct raw_client *raw, const char *want)
{
    char *line = raw_line(raw);

    ck_assert_str_eq(line, want);
    free(line);
}

TEST(tells_what_is_wanted)
{
    struct raw_client raw, one, two;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_hello(&one, hub.port, "");
    raw_hello(&two, hub.port, "");
    raw_send(&one, "SUB a.* 1\r\n");
    raw_fence(&one);
    expect_line(&raw, "LS+ a.*");
    raw_send(&two, "SUB a.* 1\r\nSUB a.* q 2\r\n");
    raw_fence(&two);
    expect_line(&raw, "LS+ a.* q 1");
    raw_send(&one, "UNSUB 1\r\nSUB a.* q 2\r\n");
    raw_fence(&one);
    expect_line(&raw, "LS+ a.* q 2");
    raw_send(&two, "UNSUB 2\r\nUNSUB 1\r\n");
    raw_fence(&two);
    expect_line(&raw, "LS+ a.* q 1");
    expect_line(&raw, "LS- a.*");
    raw_close(&one);
    expect_line(&raw, "LS- a.* q");
    raw_close(&two);
    raw_close(&raw);
    server_process_deinit(&hub);
}

TEST(carries_messages)
{
    struct raw_client raw, one;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_send(&raw, "LS+ a.*\r\nLS+ a.b\r\nLS+ a.> q 2\r\nLS+ c p 1\r\n");
    raw_fence(&raw);
    raw_hello(&one, hub.port, "\"headers\":true,\"no_responders\":true");
    raw_send(&one, "PUB a.b 2\r\nhi\r\nPUB a.b r 2\r\nhi\r\nPUB c 1\r\nx\r\nPUB c r 1\r\nx\r\n"
                   "HPUB a.b.c 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    raw_fence(&one);
    raw_expect(&raw, "LMSG a.b | q 2\r\nhi\r\nLMSG a.b + r q 2\r\nhi\r\n"
                     "LMSG c | p 1\r\nx\r\nLMSG c + r p 1\r\nx\r\n"
                     "HMSG a.b.c | q 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
    /* And the other way: groups by name, and never back. */
    raw_send(&one, "SUB a.b 1\r\nSUB a.b q 2\r\n");
    raw_fence(&one);
    expect_line(&raw, "LS+ a.b");
    expect_line(&raw, "LS+ a.b q 1");
    raw_send(&raw, "LMSG a.b 1\r\n1\r\nLMSG a.b + r q 1\r\n2\r\nLMSG a.b | p 1\r\n3\r\n"
                   "HMSG a.b 12 13\r\nNATS/1.0\r\n\r\n4\r\n");
    raw_fence(&raw);
    raw_expect(&one, "MSG a.b 1 1\r\n1\r\n");
    raw_skip(&one, "MSG a.b 1 1\r\n3\r\nHMSG a.b 1 12 13\r\nNATS/1.0\r\n\r\n4\r\n");
    /* Nobody there: who asks is told. */
    raw_send(&raw, "LS- c p\r\n");
    raw_fence(&raw);
    raw_send(&one, "SUB in 5\r\nPUB c in 0\r\n\r\n");
    raw_skip(&one, "HMSG in 5 33 33\r\nNATS/1.0 503\r\nNats-Subject: c\r\n\r\n\r\n");
    raw_close(&one);
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* Interest arrives before the request that depends on it. */
TEST(answers_find_their_way)
{
    struct raw_client raw, one;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_send(&raw, "LS+ ask\r\n");
    raw_fence(&raw);
    raw_hello(&one, hub.port, "");
    raw_send(&one, "SUB in.1 1\r\nPUB ask in.1 1\r\n?\r\n");
    raw_expect(&raw, "LS+ in.1\r\nLMSG ask in.1 1\r\n?\r\n");
    raw_send(&raw, "LMSG in.1 1\r\n!\r\n");
    raw_expect(&one, "MSG in.1 1 1\r\n!\r\n");
    raw_close(&one);
    raw_close(&raw);
    server_process_deinit(&hub);
}

TEST(consumers_deliver_and_are_answered)
{
    struct raw_client raw, one;
    char *info;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_send(&raw, "LS+ far.*\r\n");
    raw_fence(&raw);
    raw_hello(&one, hub.port, "\"headers\":true");
    free(raw_ask(&one, "$JS.API.STREAM.CREATE.S",
                 "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"storage\":\"memory\"}"));
    raw_skip(&raw, "LS+ s.*\r\n");
    raw_send(&raw, "LMSG s.1 5\r\nhello\r\nPING\r\n");
    raw_skip(&raw, "PONG\r\n");
    free(raw_ask(&one, "$JS.API.CONSUMER.CREATE.S.C",
                 "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\","
                 "\"deliver_subject\":\"far.1\",\"ack_policy\":\"explicit\"}}"));
    raw_skip(&raw, "LS+ $JS.ACK.S.C.>\r\n");
    raw_expect(&raw, "LMSG far.1 $JS.ACK.S.C.1.1.1.");
    raw_skip(&raw, "@s.1 5\r\nhello\r\n");
    raw_send(&raw, "LMSG $JS.ACK.S.C.1.1.1.1.0 reply.1 4\r\n+ACK\r\nPING\r\n");
    raw_skip(&raw, "PONG\r\n");
    for (int k = 0; k < 200; k++) {
        info = raw_ask(&one, "$JS.API.CONSUMER.INFO.S.C", "");
        if (strstr(info, "\"num_ack_pending\":0") != NULL)
            break;
        free(info);
        info = NULL;
    }
    ck_assert_ptr_nonnull(info);
    free(info);
    raw_close(&one);
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* What a consumer elsewhere delivers is seen under the stream's subject. */
TEST(puts_subjects_back)
{
    struct raw_client raw, one;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_hello(&one, hub.port, "");
    raw_send(&one, "SUB in.1 1\r\n");
    raw_fence(&one);
    raw_send(&raw, "LMSG in.1 $JS.ACK.S.C.1.1.1.1.0@orders.7 1\r\nx\r\n");
    raw_expect(&one, "MSG orders.7 1 $JS.ACK.S.C.1.1.1.1.0 1\r\nx\r\n");
    /* What is no subject is not seen as one. */
    raw_send(&raw, "LMSG in.1 $JS.ACK.S.C.1.1.1.1.0@ 1\r\nx\r\n"
                   "LMSG in.1 $JS.ACK.S.C.1.1.1.1.0@a..b 1\r\nx\r\n"
                   "LMSG in.1 $JS.ACK.S.C.1.1.1.1.0@a.* 1\r\nx\r\n");
    raw_expect(&one, "MSG in.1 1 $JS.ACK.S.C.1.1.1.1.0@ 1\r\nx\r\n"
                     "MSG in.1 1 $JS.ACK.S.C.1.1.1.1.0@a..b 1\r\nx\r\n"
                     "MSG in.1 1 $JS.ACK.S.C.1.1.1.1.0@a.* 1\r\nx\r\n");
    raw_close(&one);
    raw_close(&raw);
    server_process_deinit(&hub);
}

TEST(finds_loops)
{
    struct raw_client raw;
    char *lds, *line;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    join(&raw, "");
    lds = take_lds(&raw);
    raw_send(&raw, lds);
    raw_send(&raw, "\r\n");
    line = raw_line(&raw);
    ck_assert_str_eq(line, "-ERR 'Loop detected for leafnode account=\"$G\". Delaying attempt to "
                           "reconnect for 30s'");
    free(line);
    free(lds);
    raw_expect_end(&raw);
    raw_close(&raw);
    server_process_deinit(&hub);
}

static const struct {
    const char *config, *says, *answer;
} turned_away[] = {
    {"", "CONNECT {\"lang\":\"c\",\"name\":\"x\"}\r\n",
     "-ERR 'attempted to connect to leaf node port'\r\n"},
    {"", "CONNECT {\"name\":\"x\",\"cluster\":\"a b\"}\r\n",
     "-ERR 'cluster name cannot contain spaces'\r\n"},
    {"", "CONNECT {\"name\":\"x\",\"gateway\":\"g\"}\r\n",
     "-ERR 'Rejecting connection from gateway \"g\" on the leafnode port'\r\n"},
    {", min_version: \"2.11.0\"", "CONNECT {\"name\":\"x\",\"version\":\"2.10.9\"}\r\n",
     "-ERR 'connection rejected since minimum version required is \"2.11.0\"'\r\n"},
    {", authorization { user: u, password: p }", "CONNECT {\"name\":\"x\",\"user\":\"u\"}\r\n",
     "-ERR 'Authorization Violation'\r\n"},
    {", authorization { timeout: \"100ms\" }", "", "-ERR 'Authentication Timeout'\r\n"},
    {"", "LS+ a\r\n", "-ERR 'Authorization Violation'\r\n"},
    {"", "SUB a 1\r\n", "-ERR 'Authorization Violation'\r\n"},
    {"", "CONNECT {\"name\":\"x\"}\r\nLMSG a b c 1\r\nx\r\n",
     "-ERR 'Unknown Protocol Operation'\r\n"},
    {"", "CONNECT {\"name\":\"x\"}\r\nPUB a 1\r\nx\r\n", "-ERR 'Unknown Protocol Operation'\r\n"},
};

TEST(turns_away)
{
    struct raw_client raw;
    char config[256];

    snprintf(config, sizeof(config), "leafnodes { " LISTEN "%s }", turned_away[i].config);
    leaf_start_hub(0, config);
    raw_open(&raw, hub.leaf_port);
    free(raw_line(&raw));
    raw_send(&raw, turned_away[i].says);
    raw_skip(&raw, turned_away[i].answer);
    raw_expect_end(&raw);
    raw_close(&raw);
    server_process_deinit(&hub);
}

TEST(accounts_have_limits)
{
    struct raw_client one, two;

    leaf_start_hub(i,
                   "accounts { A { limits { max_leafnodes: 1 } } }\n"
                   "leafnodes { " LISTEN ", authorization { account: A, user: u, password: p } }");
    join(&one, "\"user\":\"u\",\"pass\":\"p\"");
    free(take_lds(&one));
    raw_open(&two, hub.leaf_port);
    free(raw_line(&two));
    raw_send(&two, "CONNECT {" NAMES ",\"user\":\"u\",\"pass\":\"p\"}\r\n");
    raw_expect(&two, "-ERR 'maximum account active connections exceeded'\r\n");
    raw_expect_end(&two);
    raw_close(&two);
    raw_send(&one, "PING\r\n");
    raw_expect(&one, "PONG\r\n");
    raw_close(&one);
    server_process_log_wait(&hub, "Leafnode connection closed: Client Closed");
    join(&one, "\"user\":\"u\",\"pass\":\"p\"");
    raw_close(&one);
    server_process_deinit(&hub);
}

/* Who has not said who it is counts, and once it has, another one may come. */
TEST(strangers_have_a_limit)
{
    struct raw_client one, two;

    leaf_start_hub(i, "max_connections: 1\nleafnodes { " LISTEN " }");
    raw_open(&one, hub.leaf_port);
    free(raw_line(&one));
    raw_open(&two, hub.leaf_port);
    raw_expect(&two, "INFO {");
    raw_skip(&two, "\r\n");
    raw_expect(&two, "-ERR 'maximum connections exceeded'\r\n");
    raw_expect_end(&two);
    raw_close(&two);
    raw_send(&one, "CONNECT {" NAMES "}\r\n");
    free(take_lds(&one));
    raw_open(&two, hub.leaf_port);
    free(raw_line(&two));
    raw_close(&two);
    server_process_log_wait(&hub, "Leafnode connection closed: Client Closed");
    raw_open(&two, hub.leaf_port);
    free(raw_line(&two));
    raw_send(&two, "CONNECT {\"name\":\"other\",\"remote_account\":\"$G\"}\r\n");
    free(take_lds(&two));
    raw_close(&two);
    raw_close(&one);
    server_process_deinit(&hub);
}

TEST(has_users_and_accounts)
{
    struct raw_client raw, a, b;

    leaf_start_hub(
        i, "accounts { A { users: [ { user: a, password: a } ] }\n"
           "  B { users: [ { user: b, password: b } ] } }\n"
           "leafnodes { " LISTEN ", authorization { users: [\n"
           "  { user: la, password: x, account: A }, { user: lb, password: y, account: B }\n"
           "] } }");
    join(&raw, "\"user\":\"lb\",\"pass\":\"y\"");
    free(take_lds(&raw));
    raw_hello(&a, hub.port, "\"user\":\"a\",\"pass\":\"a\"");
    raw_hello(&b, hub.port, "\"user\":\"b\",\"pass\":\"b\"");
    raw_send(&a, "SUB x 1\r\n");
    raw_fence(&a);
    raw_send(&b, "SUB y 1\r\n");
    raw_fence(&b);
    expect_line(&raw, "LS+ y");
    raw_send(&raw, "LMSG x 0\r\n\r\nLMSG y 0\r\n\r\n");
    raw_expect(&b, "MSG y 1 0\r\n\r\n");
    raw_fence(&a);
    raw_close(&a);
    raw_close(&b);
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* Users of clients, with their permissions, which the other side is told. */
TEST(keeps_permissions)
{
    static const char config[] = "authorization { users: [ { user: u, password: p, permissions: {\n"
                                 "  publish: { allow: [\"up.>\"] }, subscribe: { allow: "
                                 "\"down.>\", deny: \"down.no\" } } },\n"
                                 "  { user: all, password: p } ] }\n"
                                 "leafnodes { " LISTEN " }";
    struct raw_client raw, one;
    char *line;

    leaf_start_hub(i, config);
    raw_hello(&one, hub.port, "\"user\":\"all\",\"pass\":\"p\"");
    raw_send(&one, "SUB up.1 1\r\nSUB other 2\r\n");
    raw_fence(&one);
    raw_open(&raw, hub.leaf_port);
    free(raw_line(&raw));
    raw_send(&raw, "CONNECT {" NAMES ",\"user\":\"u\",\"pass\":\"p\"}\r\n");
    line = raw_line(&raw);
    ck_assert_ptr_nonnull(
        strstr(line, "\"import\":{\"allow\":[\"down.\\u003e\"],\"deny\":[\"down.no\"]}"));
    ck_assert_ptr_nonnull(strstr(line, "\"export\":{\"allow\":[\"up.\\u003e\"]}"));
    free(line);
    /* Asked for: what it may send. */
    line = raw_line(&raw);
    while (strcmp(line, "LS+ up.1") != 0) {
        ck_assert_str_ne(line, "LS+ other");
        free(line);
        line = raw_line(&raw);
    }
    free(line);
    raw_fence(&one);
    raw_send(&raw, "LS+ down.*\r\n");
    raw_send(&raw, "LMSG up.1 1\r\nx\r\n");
    raw_expect(&one, "MSG up.1 1 1\r\nx\r\n");
    raw_send(&one, "PUB down.no 1\r\n1\r\nPUB down.yes 1\r\n2\r\n");
    raw_skip(&raw, "LMSG down.yes 1\r\n2\r\n");
    raw_send(&raw, "LMSG sideways 1\r\nx\r\n");
    raw_skip(&raw, "-ERR 'Permissions Violation for Publish to \"sideways\"'\r\n");
    raw_expect_end(&raw);
    raw_close(&raw);
    raw_open(&raw, hub.leaf_port);
    free(raw_line(&raw));
    raw_send(&raw, "CONNECT {" NAMES ",\"user\":\"u\",\"pass\":\"p\"}\r\nLS+ secret\r\n");
    raw_skip(&raw, "-ERR 'Permissions Violation for Subscription to \"secret\"'\r\n");
    raw_close(&raw);
    raw_close(&one);
    server_process_deinit(&hub);
}

/* Who joins as a hub is held to its user's permissions as well. */
TEST(a_hub_is_held_to_its_permissions)
{
    struct raw_client raw, one;

    leaf_start_hub(i, "authorization { users: [ { user: c, password: c },\n"
                      "  { user: u, password: p, permissions: { publish: { allow: [] },\n"
                      "    subscribe: \"svc\", allow_responses: true } } ] }\n"
                      "leafnodes { " LISTEN " }");
    raw_hello(&one, hub.port, "\"user\":\"c\",\"pass\":\"c\"");
    raw_send(&one, "SUB other 1\r\n");
    raw_fence(&one);
    raw_open(&raw, hub.leaf_port);
    free(raw_line(&raw));
    raw_send(&raw, "CONNECT {" NAMES ",\"user\":\"u\",\"pass\":\"p\",\"is_hub\":true}\r\n"
                   "LS+ secret\r\nLS+ svc\r\nLMSG other 4\r\nevil\r\nPING\r\n");
    raw_skip(&raw, "PONG\r\n");
    raw_fence(&one);
    raw_send(&one, "PUB secret 1\r\n1\r\nPUB svc 1\r\n2\r\n");
    raw_expect(&raw, "LMSG svc 1\r\n2\r\n");
    raw_close(&raw);
    raw_close(&one);
    server_process_deinit(&hub);
}

/* Rules with queue groups: only one without lets a subject across, and then for all groups but
 * those that are denied. As at nats-server, but where the rule without is a wildcard and the one
 * with is a subject of it: there that subject does not cross (the last row but one). */
TEST(keeps_permissions_for_groups)
{
    static const char closed[] = "", nobody[] = "503";
    static const struct {
        const char *rules, *asks;
        const char *becomes; /* a request to q.x: what the leaf node gets, or one of the above */
    } rows[] = {
        {"{ allow: \"q.x g1\" }", "LS+ q.x g1 1\r\n", closed},
        {"{ allow: \"q.x g1\" }", "LS+ q.x g2 1\r\n", closed},
        {"{ allow: \"q.x g1\" }", "LS+ q.x\r\n", closed},
        {"{ allow: \"q.x g1\" }", "LS+ q.* g1 1\r\n", nobody},
        {"{ allow: \"q.x g1\" }", "LS+ q.* g2 1\r\n", nobody},
        {"{ allow: \"q.x g1\" }", "LS+ >\r\n", nobody},
        {"[\"q.x g1\", \"q.y\"]", "LS+ q.* g1 1\r\n", nobody},
        {"[\"q.x g1\", \"q.x\"]", "LS+ q.x g1 1\r\n", "LMSG q.x + r g1 1\r\n"},
        {"[\"q.x g1\", \"q.x\"]", "LS+ q.x\r\n", "LMSG q.x r 1\r\n"},
        {"[\"q.x g1\", \"q.x\"]", "LS+ q.x g2 1\r\n", "LMSG q.x + r g2 1\r\n"},
        {"[\"q.*\", \"q.* g1\"]", "LS+ q.x g2 1\r\n", "LMSG q.x + r g2 1\r\n"},
        {"[\"q.>\", \"q.x g1\"]", "LS+ q.> g2 1\r\n", "LMSG q.x + r g2 1\r\n"},
        {"{ deny: \"q.x g1\" }", "LS+ q.x g1 1\r\n", nobody},
        {"{ deny: \"q.x g1\" }", "LS+ q.x g2 1\r\n", "LMSG q.x + r g2 1\r\n"},
        {"{ allow: [\"q.x\", \"q.x g1\"], deny: \"q.x g2\" }", "LS+ q.x g2 1\r\n", nobody},
        {"[\"q.*\", \"q.x g1\"]", "LS+ q.x\r\n", "LMSG q.x r 1\r\n"},
        {"{ allow: [\"q.x\", \"q.x g1\"], deny: \"q.x g2\" }", "LS+ q.x g3 1\r\n",
         "LMSG q.x + r g3 1\r\n"},
    };
    char conf[400];

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct raw_client raw, one;
        snprintf(conf, sizeof(conf),
                 "authorization { users: [ { user: c, password: c },\n"
                 "  { user: u, password: p, permissions: { subscribe: %s } } ] }\n"
                 "leafnodes { " LISTEN " }",
                 rows[k].rules);
        leaf_start_hub(i, conf);
        raw_hello(&one, hub.port,
                  "\"user\":\"c\",\"pass\":\"c\",\"headers\":true,\"no_responders\":true");
        raw_send(&one, "SUB r 1\r\n");
        raw_fence(&one);
        join(&raw, "\"user\":\"u\",\"pass\":\"p\"");
        free(take_lds(&raw));
        raw_send(&raw, rows[k].asks);
        if (rows[k].becomes == closed) {
            raw_skip(&raw, "-ERR 'Permissions Violation for Subscription to \"q.x\"'\r\n");
            raw_expect_end(&raw);
        } else {
            raw_send(&raw, "PING\r\n");
            raw_skip(&raw, "PONG\r\n");
        }
        raw_send(&one, "PUB q.x r 1\r\n1\r\n");
        if (rows[k].becomes == closed || rows[k].becomes == nobody)
            raw_skip(&one, "NATS/1.0 503\r\n");
        else
            raw_skip(&raw, rows[k].becomes);
        raw_close(&raw);
        raw_close(&one);
        server_process_deinit(&hub);
    }
}

/* What can be no subject is told, and the connection stays. */
TEST(invalid_subjects_are_refused)
{
    static const char *const bad[] = {"a..b", ".a", "a.>.b", "a..b g 1"};
    char text[64];

    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        struct raw_client raw;
        leaf_start_hub(i, "leafnodes { " LISTEN " }");
        join(&raw, "\"name\":\"x\"");
        free(take_lds(&raw));
        snprintf(text, sizeof(text), "LS+ %s\r\nPING\r\n", bad[k]);
        raw_send(&raw, text);
        raw_skip(&raw, "-ERR 'Invalid Subscription'\r\n");
        raw_skip(&raw, "PONG\r\n");
        raw_close(&raw);
        server_process_deinit(&hub);
    }
}

/* The next line but for a PING. */
static void hears(struct raw_client *raw, const char *want)
{
    char *line = raw_line(raw);

    if (strcmp(line, "PING") == 0) {
        free(line);
        line = raw_line(raw);
    }
    ck_assert_str_eq(line, want);
    free(line);
}

/* What is wanted here may be wider than what the user may send: it is asked for all the same. */
TEST(asks_for_more_than_may_come)
{
    static const struct {
        const char *wanted, *told; /* NULL: nothing */
    } rows[] = {
        {"q.*", "LS+ q.*"}, {"*.x", "LS+ *.x"}, {">", "LS+ >"}, {"q.* g", "LS+ q.* g 1"},
        {"q.x", "LS+ q.x"}, {"q.y", NULL},      {"w.*", NULL},  {"no.*", NULL},
    };
    char text[80];

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct raw_client raw, one;
        leaf_start_hub(i, "authorization { users: [ { user: c, password: c },\n"
                          "  { user: u, password: p, permissions: { publish: {\n"
                          "    allow: [\"q.x\", \"no.x\"], deny: \"no.*\" } } } ] }\n"
                          "leafnodes { " LISTEN " }");
        raw_hello(&one, hub.port, "\"user\":\"c\",\"pass\":\"c\"");
        join(&raw, "\"user\":\"u\",\"pass\":\"p\"");
        free(take_lds(&raw));
        raw_send(&raw, "PING\r\n");
        raw_skip(&raw, "PONG\r\n");
        snprintf(text, sizeof(text), "SUB %s 1\r\n", rows[k].wanted);
        raw_send(&one, text);
        raw_fence(&one);
        raw_send(&raw, "PING\r\n");
        hears(&raw, rows[k].told != NULL ? rows[k].told : "PONG");
        if (rows[k].told != NULL) {
            bool group = strchr(rows[k].wanted, ' ') != NULL;
            raw_send(&raw, group ? "LMSG q.x | g 1\r\n1\r\n" : "LMSG q.x 1\r\n1\r\n");
            raw_skip(&one, "MSG q.x 1 1\r\n1\r\n");
        }
        raw_close(&raw);
        raw_close(&one);
        server_process_deinit(&hub);
    }
}

/* What matches for a group that the user may not be in goes nowhere, and who asks is told. */
TEST(a_group_that_may_not_hear_is_no_receiver)
{
    struct raw_client raw, one;

    leaf_start_hub(i, "authorization { users: [ { user: c, password: c },\n"
                      "  { user: u, password: p, permissions: {\n"
                      "    subscribe: { allow: \">\", deny: \"a.b workers\" } } } ] }\n"
                      "leafnodes { " LISTEN " }");
    raw_hello(&one, hub.port,
              "\"user\":\"c\",\"pass\":\"c\",\"headers\":true,\"no_responders\":true");
    join(&raw, "\"user\":\"u\",\"pass\":\"p\"");
    free(take_lds(&raw));
    raw_send(&raw, "LS+ a.* workers 1\r\nPING\r\n");
    raw_skip(&raw, "PONG\r\n");
    raw_send(&one, "SUB r 1\r\nPUB a.b r 1\r\n1\r\n");
    raw_skip(&one, "NATS/1.0 503\r\n");
    raw_send(&one, "PUB a.c r 1\r\n2\r\n");
    raw_skip(&raw, "LMSG a.c + r workers 1\r\n2\r\n");
    raw_close(&raw);
    raw_close(&one);
    server_process_deinit(&hub);
}

TEST(the_newest_connection_stays)
{
    struct raw_client one, two;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&one);
    joined(&two);
    raw_skip(&one, "-ERR 'Duplicate Remote LeafNode Connection'\r\n");
    raw_expect_end(&one);
    raw_fence(&two);
    raw_close(&one);
    raw_close(&two);
    server_process_deinit(&hub);
}

TEST(shows_in_monitoring)
{
    struct raw_client raw, http;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&raw);
    raw_send(&raw, "LS+ x.y\r\n");
    raw_fence(&raw);
    raw_open(&http, hub.http_port);
    raw_send(&http, "GET /leafz?subs=1 HTTP/1.0\r\n\r\n");
    raw_skip(&http, "\"leafnodes\": 1");
    raw_skip(&http, "\"name\": \"edge\"");
    raw_skip(&http, "\"is_spoke\": false");
    raw_skip(&http, "\"account\": \"$G\"");
    raw_skip(&http, "\"subscriptions\": 1");
    raw_skip(&http, "\"x.y\"");
    raw_close(&http);
    raw_open(&http, hub.http_port);
    raw_send(&http, "GET /varz HTTP/1.0\r\n\r\n");
    raw_skip(&http, "\"leaf\": {");
    raw_skip(&http, "\"host\": \"127.0.0.1\"");
    raw_skip(&http, "\"leafnodes\": 1");
    raw_close(&http);
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* Between leaf nodes: they hear of each other, but not what a hub's other side wants twice. */
TEST(leaf_nodes_reach_each_other)
{
    struct raw_client one, two;

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    joined(&one);
    raw_open(&two, hub.leaf_port);
    free(raw_line(&two));
    raw_send(&two, "CONNECT {\"name\":\"other\",\"remote_account\":\"$G\"}\r\n");
    free(take_lds(&two));
    raw_send(&one, "LS+ x\r\nLS+ x q 3\r\nLS+ $LDS.one\r\n");
    raw_skip(&two, "LS+ x\r\n");
    raw_skip(&two, "LS+ x q 3\r\n");
    raw_skip(&two, "LS+ $LDS.one\r\n");
    raw_send(&two, "LMSG x | q 1\r\n1\r\nLMSG x 1\r\n2\r\n");
    raw_expect(&one, "LMSG x | q 1\r\n1\r\nLMSG x 1\r\n2\r\n");
    raw_close(&one);
    raw_skip(&two, "LS- x\r\n");
    raw_close(&two);
    server_process_deinit(&hub);
}

static const struct runner_case cases[] = {
    RUN_LOOP(tells_what_is_wanted, 0, 2),
    RUN_LOOP(carries_messages, 0, 2),
    RUN_LOOP(answers_find_their_way, 0, 2),
    RUN_LOOP(consumers_deliver_and_are_answered, 0, 2),
    RUN_LOOP(puts_subjects_back, 0, 2),
    RUN_LOOP(finds_loops, 0, 2),
    RUN_LOOP(turns_away, 0, (int) (sizeof(turned_away) / sizeof(turned_away[0]))),
    RUN_LOOP(strangers_have_a_limit, 0, 2),
    RUN_LOOP(accounts_have_limits, 0, 2),
    RUN_LOOP(has_users_and_accounts, 0, 2),
    RUN_LOOP(keeps_permissions, 0, 2),
    RUN_LOOP(a_hub_is_held_to_its_permissions, 0, 2),
    RUN_LOOP(keeps_permissions_for_groups, 0, 2),
    RUN_LOOP(invalid_subjects_are_refused, 0, 2),
    RUN_LOOP(asks_for_more_than_may_come, 0, 2),
    RUN_LOOP(a_group_that_may_not_hear_is_no_receiver, 0, 2),
    RUN_LOOP(the_newest_connection_stays, 0, 2),
    RUN_LOOP(shows_in_monitoring, 0, 2),
    RUN_LOOP(leaf_nodes_reach_each_other, 0, 2),
};

RUNNER_MAIN("api/leaf", cases)
