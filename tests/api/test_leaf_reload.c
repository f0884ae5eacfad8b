/*
 * test_leaf_reload.c - leaf connections and a configuration that changes under them: whose user is
 * gone goes, whose user is another one comes back, everybody else stays.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/signed_client.h"
#include "tests/lib/token.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LISTEN "listen: \"127.0.0.1:-1\""
#define NAMES "\"name\":\"edge\",\"cluster\":\"edge\",\"headers\":true,\"remote_account\":\"$G\""
#define VIOLATION "-ERR 'Authorization Violation'\r\n"
#define AB "accounts { A { users: [ { user: a, password: a } ] }, B { } }\n"

static struct server_process hub;

static void start_hub(const char *config)
{
    server_process_init(&hub);
    hub.args[0] = "-c";
    hub.args[1] = server_process_config(&hub, config);
    hub.args[2] = "-D";
    server_process_start(&hub);
}

static void reload(const char *config)
{
    server_process_config(&hub, config);
    ck_assert_int_eq(kill(hub.pid, SIGHUP), 0);
    server_process_log_wait(&hub, "Reloaded server configuration");
}

/* proxy: who vouches for it, or NULL. */
static void open_and_say(struct raw_client *raw, const char *fields, const struct signer *proxy)
{
    struct buf b = {0};
    char *sig = signed_open(raw, hub.leaf_port, proxy);

    buf_printf(&b, "CONNECT {" NAMES "%s%s", fields[0] != '\0' ? "," : "", fields);
    if (sig != NULL)
        buf_printf(&b, ",\"proxy_sig\":\"%s\"", sig);
    buf_puts(&b, "}\r\n");
    raw_send(raw, buf_cstr(&b));
    buf_free(&b);
    mem_free(sig);
}

static void join(struct raw_client *raw, const char *fields, const struct signer *proxy)
{
    char *line;

    open_and_say(raw, fields, proxy);
    line = raw_line(raw);
    ck_assert_msg(strstr(line, "\"connect_info\":true") != NULL, "%s", line);
    free(line);
}

static const struct {
    const char *before, *after, *fields;
    const char *end; /* NULL = it stays; "" = it is closed to come back */
} changes[] = {
    {"leafnodes { " LISTEN " }", "leafnodes { " LISTEN " }\nmax_payload: 1000", "", NULL},
    /* the block's own users */
    {"leafnodes { " LISTEN ", authorization { user: u, password: p } }",
     "leafnodes { " LISTEN ", authorization { user: u, password: p } }\nmax_payload: 1000",
     "\"user\":\"u\",\"pass\":\"p\"", NULL},
    {"leafnodes { " LISTEN ", authorization { user: u, password: p } }",
     "leafnodes { " LISTEN ", authorization { user: u, password: q } }",
     "\"user\":\"u\",\"pass\":\"p\"", VIOLATION},
    {AB "leafnodes { " LISTEN ", authorization { users: [ { user: u, password: p, account: A },\n"
        "{ user: v, password: v, account: A } ] } }",
     AB "leafnodes { " LISTEN ", authorization { users: [ { user: v, password: v, account: A } ] "
        "} }",
     "\"user\":\"u\",\"pass\":\"p\"", VIOLATION},
    {AB "leafnodes { " LISTEN ", authorization { users: [ { user: u, password: p, account: A }\n"
        "] } }",
     AB "leafnodes { " LISTEN ", authorization { users: [ { user: v, password: v, account: A },\n"
        "{ user: u, password: p, account: A } ] } }",
     "\"user\":\"u\",\"pass\":\"p\"", NULL},
    {AB "leafnodes { " LISTEN ", authorization { users: [ { user: u, password: p, account: A }\n"
        "] } }",
     AB "leafnodes { " LISTEN ", authorization { users: [ { user: u, password: p, account: B }\n"
        "] } }",
     "\"user\":\"u\",\"pass\":\"p\"", ""},
    /* nobody was asked, and now everybody is */
    {"leafnodes { " LISTEN " }", "leafnodes { " LISTEN ", authorization { user: u, password: p } }",
     "", VIOLATION},
    /* users of clients */
    {"authorization { users: [ { user: u, password: p }, { user: v, password: v } ] }\n"
     "leafnodes { " LISTEN " }",
     "authorization { users: [ { user: v, password: v } ] }\nleafnodes { " LISTEN " }",
     "\"user\":\"u\",\"pass\":\"p\"", VIOLATION},
    {"authorization { users: [ { user: u, password: p } ] }\nleafnodes { " LISTEN " }",
     "authorization { users: [ { user: u, password: p, permissions: { publish: up } } ] }\n"
     "leafnodes { " LISTEN " }",
     "\"user\":\"u\",\"pass\":\"p\"", ""},
    {"authorization { users: [ { user: u, password: p, permissions: { publish: up } } ] }\n"
     "leafnodes { " LISTEN " }",
     "authorization { users: [ { user: u, password: p, permissions: { publish: up } },\n"
     "{ user: v, password: v } ] }\nleafnodes { " LISTEN " }",
     "\"user\":\"u\",\"pass\":\"p\"", NULL},
    /* who comes without a name */
    {"no_auth_user: u\nauthorization { users: [ { user: u, password: p }, { user: v, password: v } "
     "] }\nleafnodes { " LISTEN " }",
     "no_auth_user: u\nauthorization { users: [ { user: u, password: p } ] }\n"
     "leafnodes { " LISTEN " }",
     "", NULL},
    {"no_auth_user: u\nauthorization { users: [ { user: u, password: p }, { user: v, password: v } "
     "] }\nleafnodes { " LISTEN " }",
     "authorization { users: [ { user: u, password: p }, { user: v, password: v } ] }\n"
     "leafnodes { " LISTEN " }",
     "", VIOLATION},
    {"no_auth_user: u\nauthorization { users: [ { user: u, password: p }, { user: v, password: v } "
     "] }\nleafnodes { " LISTEN " }",
     "no_auth_user: v\nauthorization { users: [ { user: u, password: p }, { user: v, password: v } "
     "] }\nleafnodes { " LISTEN " }",
     "", VIOLATION},
};

TEST(a_reload_looks_at_leaf_connections)
{
    struct raw_client raw;

    start_hub(changes[i].before);
    join(&raw, changes[i].fields, NULL);
    reload(changes[i].after);
    if (changes[i].end == NULL) {
        raw_send(&raw, "PING\r\n");
        raw_skip(&raw, "PONG\r\n");
    } else if (changes[i].end[0] != '\0') {
        raw_skip(&raw, changes[i].end);
        raw_expect_end(&raw);
    } else {
        server_process_log_wait(&hub, "Leafnode connection closed: Authentication Failure");
    }
    raw_close(&raw);
    server_process_deinit(&hub);
}

static void refused(const char *fields, const struct signer *proxy, const char *why)
{
    struct raw_client raw;

    open_and_say(&raw, fields, proxy);
    raw_expect(&raw, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&raw);
    raw_close(&raw);
    server_process_log_wait(&hub, why);
}

/* i = 0: of the block's only user; 1: of a user. */
TEST(only_through_a_proxy)
{
    static const char *const texts[] = {
        "leafnodes { " LISTEN ", authorization { user: u, password: p, proxy_required: true } }\n",
        "leafnodes { " LISTEN " }\n"
        "authorization { users: [ { user: u, password: p, proxy_required: true }, "
        "{ user: free, password: p } ] }\n",
    };
    static const char fields[] = "\"user\":\"u\",\"pass\":\"p\"";
    struct signer proxy, other;
    struct raw_client raw, free_one;
    char config[512];

    signer_make(&proxy, NKEY_USER, 1);
    signer_make(&other, NKEY_USER, 2);
    snprintf(config, sizeof(config), "proxies { trusted: [ { key: %s } ] }\n%s", proxy.key,
             texts[i]);
    start_hub(config);
    refused(fields, NULL, "proxy connection required");
    server_process_log_wait(&hub, "Leafnode connection closed: Proxy Required\n");
    refused(fields, &other, "proxy is not trusted");
    server_process_log_wait(&hub, "authentication error - User \"u\"");
    server_process_log_wait(&hub, "Leafnode connection closed: Proxy Not Trusted\n");
    join(&raw, fields, &proxy);
    raw_close(&raw);
    server_process_log_wait(&hub, "Leafnode connection closed: Client Closed - Remote: edge\n");
    if (i == 1) {
        join(&free_one, "\"user\":\"free\",\"pass\":\"p\"", NULL);
        raw_close(&free_one);
    }
    server_process_deinit(&hub);
}

TEST(a_proxy_that_is_not_trusted_any_more_takes_its_leaf_nodes_along)
{
    struct signer proxy, other;
    struct raw_client raw, stays;
    char before[512], after[512];
    static const char text[] = "proxies { trusted: [ { key: %s }, { key: %s } ] }\n"
                               "authorization { users: [ { user: u, password: p } ] }\n"
                               "leafnodes { " LISTEN " }\n";
    static const char fields[] = "\"user\":\"u\",\"pass\":\"p\",\"name\":\"other\"";

    signer_make(&proxy, NKEY_USER, 1);
    signer_make(&other, NKEY_USER, 2);
    snprintf(before, sizeof(before), text, proxy.key, other.key);
    snprintf(after, sizeof(after), text, other.key, other.key);
    start_hub(before);
    join(&raw, "\"user\":\"u\",\"pass\":\"p\"", &proxy);
    join(&stays, fields, &other);
    reload(after);
    raw_skip(&raw, "-ERR ");
    server_process_log_wait(&hub, "Leafnode connection closed: Proxy Not Trusted");
    raw_send(&stays, "PING\r\n");
    raw_skip(&stays, "PONG\r\n");
    raw_close(&raw);
    raw_close(&stays);
    server_process_deinit(&hub);
}

/* Kept in part, such a list would let through what is behind its cut. */
TEST(a_list_that_is_too_long_is_refused)
{
    struct raw_client raw;
    struct buf b = {0};

    start_hub("leafnodes { " LISTEN " }");
    raw_open(&raw, hub.leaf_port);
    free(raw_line(&raw));
    buf_puts(&b, "CONNECT {" NAMES ",\"deny_pub\":[");
    for (int k = 0; k < 1024 + i; k++)
        buf_printf(&b, "%s\"d.%d\"", k > 0 ? "," : "", k);
    buf_puts(&b, "]}\r\nPING\r\n");
    raw_send(&raw, buf_cstr(&b));
    buf_free(&b);
    if (i == 0) {
        raw_skip(&raw, "PONG\r\n");
    } else {
        raw_skip(&raw, "-ERR 'more than 1024 subjects in one list'\r\n");
        raw_expect_end(&raw);
    }
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* ---- remotes --------------------------------------------------------------------------------- */

static struct server_process edge;

/* more: NULL = no remote; else fields of it. */
static void edge_says(const char *more)
{
    char text[512];

    if (more == NULL)
        snprintf(text, sizeof(text), "max_payload: 1000\n");
    else
        snprintf(text, sizeof(text),
                 "leafnodes { remotes: [ { url: \"nats://127.0.0.1:%u\"%s } ] }", hub.leaf_port,
                 more);
    server_process_config(&edge, text);
    edge.args[1] = edge.conf;
}

static void reload_edge(const char *more)
{
    edge_says(more);
    ck_assert_int_eq(kill(edge.pid, SIGHUP), 0);
}

/* The hub hears a question that is asked at the edge, which proves the way. */
static void ask_over(void)
{
    struct raw_client h, e;

    raw_hello(&h, hub.port, "");
    raw_hello(&e, edge.port, "");
    raw_send(&h, "SUB ask 1\r\n");
    raw_fence(&h);
    server_process_log_wait(&edge, "[LS+ ask]");
    raw_send(&e, "PUB ask 1\r\n?\r\n");
    raw_expect(&h, "MSG ask 1 1\r\n?\r\n");
    raw_close(&h);
    raw_close(&e);
}

/* One that is added is joined, one that is disabled or removed is left. */
TEST(remotes_come_and_go)
{
    start_hub("leafnodes { " LISTEN " }");
    server_process_init(&edge);
    edge.args[0] = "-c";
    edge_says(NULL);
    edge.args[2] = "-DV";
    server_process_start(&edge);
    reload_edge("");
    server_process_log_wait(&edge, "Leafnode connection established");
    ask_over();
    if (i == 0) {
        reload_edge(NULL);
        server_process_log_wait(&edge, " removed");
    } else {
        reload_edge(", disabled: true");
    }
    server_process_log_wait(&edge, "Leafnode connection closed");
    server_process_log_wait(&hub, "Leafnode connection closed");
    server_process_stop(&hub);
    server_process_config(&hub, "leafnodes { " LISTEN " }");
    server_process_start(&hub);
    reload_edge("");
    server_process_log_wait(&hub, "Leafnode connection created");
    server_process_deinit(&edge);
    server_process_deinit(&hub);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_reload_looks_at_leaf_connections, 0, sizeof(changes) / sizeof(changes[0])),
    RUN_LOOP(only_through_a_proxy, 0, 2),
    RUN(a_proxy_that_is_not_trusted_any_more_takes_its_leaf_nodes_along),
    RUN_LOOP(remotes_come_and_go, 0, 2),
    RUN_LOOP(a_list_that_is_too_long_is_refused, 0, 2),
};

RUNNER_MAIN("api/leaf_reload", cases)
