/*
 * test_leaf_pair.c - leaf connections between two servers: over TLS and WebSocket, with credentials
 * of an operator's users, and through a restart too.
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "tests/api/leaf_rig.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/signed_client.h"
#include "tests/lib/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- two servers ----------------------------------------------------------------------------- */

static void start_edge(int way, const char *before, const char *remote)
{
    char config[1024];

    server_process_init(&edge);
    certs_make(edge.dir);
    snprintf(config, sizeof(config), "%s\nleafnodes { reconnect: \"50ms\", remotes: [ { %s } ] }",
             before, remote);
    leaf_start(&edge, way, config);
}

static void start_both(int way, const char *hub_more, const char *url_more)
{
    char config[512], remote[512];

    snprintf(config, sizeof(config), "leafnodes { " LISTEN "%s }", hub_more);
    leaf_start_hub(way, config);
    snprintf(remote, sizeof(remote), "url: \"nats-leaf://%s127.0.0.1:%u\"", url_more,
             hub.leaf_port);
    start_edge(way / 2, "", remote);
}

static void stop_both(void)
{
    server_process_deinit(&edge);
    server_process_deinit(&hub);
}

#define CLIENT "\"headers\":true,\"no_responders\":true"

/* One of the hub, one of the edge, once the servers have met. */
static void open_clients(struct raw_client *h, struct raw_client *e)
{
    server_process_log_wait(&edge, "Leafnode connection established");
    raw_hello(h, hub.port, CLIENT);
    raw_hello(e, edge.port, CLIENT);
}

TEST(servers_find_each_other)
{
    struct raw_client h, e;

    start_both(i, "", "");
    open_clients(&h, &e);
    raw_send(&e, "SUB ask 1\r\nSUB work q 2\r\n");
    raw_fence(&e);
    raw_send(&h, "SUB told 1\r\n");
    raw_fence(&h);
    server_process_log_wait(&hub, "[LS+ work q 1]");
    server_process_log_wait(&edge, "[LS+ told]");
    raw_send(&h, "SUB in 3\r\nPUB ask in 1\r\n?\r\n");
    raw_expect(&e, "MSG ask 1 in 1\r\n?\r\n");
    raw_send(&e, "PUB in 1\r\n!\r\n");
    raw_expect(&h, "MSG in 3 1\r\n!\r\n");
    raw_send(&e, "PUB told 1\r\nx\r\n");
    raw_expect(&h, "MSG told 1 1\r\nx\r\n");
    raw_send(&h, "PUB work 1\r\n1\r\n");
    raw_expect(&e, "MSG work 2 1\r\n1\r\n");
    /* A member of its own comes first. */
    raw_send(&h, "SUB work q 4\r\nPING\r\n");
    raw_expect(&h, "PONG\r\n");
    for (int k = 0; k < 10; k++) {
        raw_send(&h, "PUB work 1\r\n2\r\n");
        raw_expect(&h, "MSG work 4 1\r\n2\r\n");
    }
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

TEST(keeps_secrets_out_of_the_log)
{
    start_both(i, ", authorization { user: u, password: s3cret }", "u:s3cret@");
    server_process_log_wait(&edge, "Leafnode connection established");
    server_process_log_wait(&edge, "->> [CONNECT {");
    server_process_log_wait(&hub, "<<- [CONNECT {");
    ck_assert(!server_process_log_has(&edge, "s3cret"));
    ck_assert(!server_process_log_has(&hub, "s3cret"));
    stop_both();
}

TEST(connects_again)
{
    struct raw_client h, e;
    char port[32];

    start_both(i, "", "");
    server_process_log_wait(&edge, "Leafnode connection established");
    server_process_kill(&hub);
    server_process_log_wait(&edge, "Leafnode connection closed");
    snprintf(port, sizeof(port), "127.0.0.1:%u", hub.leaf_port);
    {
        char config[128];
        snprintf(config, sizeof(config), "leafnodes { listen: \"%s\" }", port);
        server_process_config(&hub, config);
    }
    server_process_start(&hub);
    server_process_log_wait(&hub, "Leafnode connection created");
    raw_hello(&h, hub.port, CLIENT);
    raw_hello(&e, edge.port, CLIENT);
    raw_send(&e, "SUB ask 1\r\n");
    raw_fence(&e);
    server_process_log_wait(&hub, "[LS+ ask]");
    raw_send(&h, "PUB ask 1\r\n?\r\n");
    raw_expect(&e, "MSG ask 1 1\r\n?\r\n");
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

TEST(speaks_tls)
{
    struct raw_client h, e;
    char remote[256];

    leaf_start_hub(i, "leafnodes { " LISTEN
                      ", tls { cert_file: '~/server.pem', key_file: '~/server.key', "
                      "ca_file: '~/ca.pem', verify: true } }");
    snprintf(remote, sizeof(remote),
             "url: \"tls://127.0.0.1:%u\", tls { ca_file: '%s/ca.pem', cert_file: '%s/client.pem', "
             "key_file: '%s/client.key' }",
             hub.leaf_port, hub.dir, hub.dir, hub.dir);
    start_edge(i, "", remote);
    open_clients(&h, &e);
    raw_send(&e, "SUB ask 1\r\n");
    raw_fence(&e);
    server_process_log_wait(&hub, "[LS+ ask]");
    raw_send(&h, "PUB ask 1\r\n?\r\n");
    raw_expect(&e, "MSG ask 1 1\r\n?\r\n");
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

/* As a WebSocket client comes: plain, encrypted, without masks, with compression offered. */
static const struct {
    const char *door, *scheme, *more;
} sockets[] = {
    {"no_tls: true", "ws", ""},
    {"no_tls: true", "ws", ", ws_no_masking: true"},
    {"tls { cert_file: '~/server.pem', key_file: '~/server.key' }", "wss", ""},
};

TEST(joins_over_websocket)
{
    struct raw_client h, e;
    char config[512], remote[512], body[70001];

    snprintf(config, sizeof(config),
             "leafnodes { " LISTEN " }\nwebsocket { " LISTEN ", compression: true, %s }",
             sockets[i % 3].door);
    leaf_start_hub(i / 3, config);
    snprintf(remote, sizeof(remote), "url: \"%s://127.0.0.1:%u\", tls { ca_file: '%s/ca.pem' }%s",
             sockets[i % 3].scheme, hub.ws_port, hub.dir, sockets[i % 3].more);
    start_edge(i / 3, "", remote);
    open_clients(&h, &e);
    raw_send(&e, "SUB ask 1\r\n");
    raw_fence(&e);
    raw_send(&h, "SUB told 1\r\n");
    raw_fence(&h);
    server_process_log_wait(&hub, "[LS+ ask]");
    server_process_log_wait(&edge, "[LS+ told]");
    raw_send(&h, "PUB ask 1\r\n?\r\n");
    raw_expect(&e, "MSG ask 1 1\r\n?\r\n");
    memset(body, 'x', 70000);
    body[70000] = '\0';
    raw_send(&e, "PUB told 70000\r\n");
    raw_send(&e, body);
    raw_send(&e, "\r\n");
    raw_expect(&h, "MSG told 1 70000\r\n");
    raw_expect(&h, body);
    raw_expect(&h, "\r\n");
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

TEST(needs_leafnodes_for_their_path)
{
    struct raw_client raw;

    server_process_init(&hub);
    leaf_start(&hub, 0, "websocket { " LISTEN ", no_tls: true }");
    raw_open(&raw, hub.ws_port);
    raw_send(&raw, "GET /leafnode HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
                   "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                   "Sec-WebSocket-Version: 13\r\n\r\n");
    raw_skip(&raw, "\r\n\r\n");
    raw_expect_end(&raw);
    server_process_log_wait(&hub, "Not configured to accept leaf node connections");
    raw_close(&raw);
    server_process_deinit(&hub);
}

/* ---- an operator's users --------------------------------------------------------------------- */

static void start_operated_hub(const struct signer *account)
{
    struct buf b = {0};
    struct signer op, sys;
    char *op_token, *sys_token, *token;

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&sys, NKEY_ACCOUNT, 1);
    op_token = token_make(&op, JWT_OPERATOR, op.key, "O", "");
    sys_token = token_make(&op, JWT_ACCOUNT, sys.key, "SYS", UNLIMITED);
    token = token_make(&op, JWT_ACCOUNT, account->key, "A", UNLIMITED);
    buf_printf(&b,
               "operator: %s\nsystem_account: %s\nresolver: MEMORY\n"
               "resolver_preload: {\n %s: %s\n %s: %s\n}\nleafnodes { " LISTEN " }\n",
               op_token, sys.key, sys.key, sys_token, account->key, token);
    leaf_start_hub(0, buf_cstr(&b));
    mem_free(op_token);
    mem_free(sys_token);
    mem_free(token);
    buf_free(&b);
}

/* A file as tools of an operator write it; its name goes to path. */
static char *write_creds(const struct signer *account, const struct signer *user,
                         const char *fields, char *path, size_t size)
{
    char *token = token_make(account, JWT_USER, user->key, "edge", fields);
    FILE *f;

    snprintf(path, size, "%s/edge.creds", hub.dir);
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fprintf(
        f,
        "-----BEGIN NATS UNLIMITED_USER JWT-----\n%s\n------END NATS UNLIMITED_USER JWT------\n\n"
        "*** IMPORTANT ***\n\n-----BEGIN UNLIMITED_USER NKEY SEED-----\n%s\n"
        "------END UNLIMITED_USER NKEY SEED------\n",
        token, user->seed);
    fclose(f);
    return token;
}

static void start_edge_with(const char *creds)
{
    char remote[512];

    snprintf(remote, sizeof(remote), "url: \"nats-leaf://127.0.0.1:%u\", credentials: \"%s\"",
             hub.leaf_port, creds);
    start_edge(0, "", remote);
}

/* A client of the hub with the user's claims. */
static void open_claimed(struct raw_client *r, const struct signer *user, const char *token)
{
    struct buf b = {0};
    char *sig = signed_open(r, hub.port, user);

    buf_printf(&b, "CONNECT {\"jwt\":\"%s\",\"sig\":\"%s\",\"verbose\":false}\r\nPING\r\n", token,
               sig);
    raw_send(r, buf_cstr(&b));
    raw_skip(r, "PONG\r\n");
    buf_free(&b);
    mem_free(sig);
}

TEST(joins_with_credentials)
{
    struct signer account, user;
    struct raw_client h, e;
    char path[256], *token;

    signer_make(&account, NKEY_ACCOUNT, 2);
    signer_make(&user, NKEY_USER, 2);
    start_operated_hub(&account);
    token = write_creds(&account, &user, UNLIMITED_USER, path, sizeof(path));
    start_edge_with(path);
    server_process_log_wait(&edge, "Leafnode connection established");
    open_claimed(&h, &user, token);
    raw_hello(&e, edge.port, CLIENT);
    raw_send(&e, "SUB a 1\r\n");
    raw_fence(&e);
    server_process_log_wait(&hub, "[LS+ a]");
    raw_send(&h, "SUB b 1\r\nPUB a 1\r\n1\r\n");
    raw_expect(&e, "MSG a 1 1\r\n1\r\n");
    server_process_log_wait(&edge, "[LS+ b]");
    raw_send(&e, "PUB b 1\r\n2\r\n");
    raw_expect(&h, "MSG b 1 1\r\n2\r\n");
    mem_free(token);
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

/* Not for leaf nodes; no file; not a user of an account of the operator. */
TEST(needs_good_credentials)
{
    static const char *const fields[] = {UNLIMITED_USER
                                         ",\"allowed_connection_types\":[\"STANDARD\"]",
                                         UNLIMITED_USER, UNLIMITED_USER};
    struct signer account, other, user;
    char path[256], *token;

    signer_make(&account, NKEY_ACCOUNT, 2);
    signer_make(&other, NKEY_ACCOUNT, 3);
    signer_make(&user, NKEY_USER, 2);
    start_operated_hub(&account);
    token = write_creds(i == 2 ? &other : &account, &user, fields[i], path, sizeof(path));
    if (i == 1)
        ck_assert_int_eq(remove(path), 0);
    start_edge_with(path);
    if (i == 1)
        server_process_log_wait(&edge, "No such file or directory");
    else
        server_process_log_wait(&hub, "authentication error");
    mem_free(token);
    stop_both();
}

TEST(looks_at_certificates)
{
    char remote[256];

    leaf_start_hub(0, "leafnodes { " LISTEN
                      ", tls { cert_file: '~/server.pem', key_file: '~/server.key' } }");
    snprintf(remote, sizeof(remote), "url: \"nats-leaf://127.0.0.1:%u\", tls { ca_file: '%s/%s' }",
             hub.leaf_port, hub.dir, "stranger.pem");
    start_edge(0, "", remote);
    server_process_log_wait(&edge, "TLS handshake error: certificate verify failed");
    stop_both();
}

TEST(jetstream_keeps_its_domain)
{
    struct raw_client h, e;
    char remote[128], *text;

    leaf_start_hub(i, "jetstream { domain: hub }\nleafnodes { " LISTEN " }");
    snprintf(remote, sizeof(remote), "url: \"nats-leaf://127.0.0.1:%u\"", hub.leaf_port);
    start_edge(i, "jetstream { domain: edge }", remote);
    open_clients(&h, &e);
    free(raw_ask(&h, "$JS.API.STREAM.CREATE.S",
                 "{\"name\":\"S\",\"subjects\":[\"s.*\"],\"storage\":\"memory\"}"));
    text = raw_ask(&e, "$JS.API.STREAM.NAMES", "");
    ck_assert_ptr_nonnull(strstr(text, "\"total\":0"));
    free(text);
    text = raw_ask(&e, "$JS.hub.API.STREAM.NAMES", "");
    ck_assert_ptr_nonnull(strstr(text, "\"streams\":[\"S\"]"));
    free(text);
    server_process_log_wait(&edge, "[LS+ s.*]");
    text = raw_ask(&e, "s.1", "x");
    ck_assert_ptr_nonnull(strstr(text, "\"domain\":\"hub\""));
    free(text);
    text = raw_ask(&e, "$JS.hub.API.CONSUMER.CREATE.S.C",
                   "{\"stream_name\":\"S\",\"config\":{\"durable_name\":\"C\"}}");
    ck_assert_ptr_null(strstr(text, "\"error\""));
    free(text);
    raw_send(&e, "SUB in 9\r\nPUB $JS.hub.API.CONSUMER.MSG.NEXT.S.C in 1\r\n1\r\n");
    raw_skip(&e, "MSG s.1 9 $JS.ACK.S.C.1.1.1.");
    raw_skip(&e, "x\r\n");
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

TEST(denies_what_the_remote_denies)
{
    struct raw_client h, e;
    char remote[256];

    leaf_start_hub(i, "leafnodes { " LISTEN " }");
    snprintf(
        remote, sizeof(remote),
        "url: \"nats-leaf://127.0.0.1:%u\", deny_imports: \"in.no\", deny_exports: [\"out.no\"]",
        hub.leaf_port);
    start_edge(i, "", remote);
    open_clients(&h, &e);
    raw_send(&e, "SUB in.* 1\r\n");
    raw_fence(&e);
    raw_send(&h, "SUB out.* 1\r\n");
    raw_fence(&h);
    server_process_log_wait(&hub, "[LS+ in.*]");
    server_process_log_wait(&edge, "[LS+ out.*]");
    raw_send(&h, "PUB in.no 1\r\n1\r\nPUB in.yes 1\r\n2\r\n");
    raw_expect(&e, "MSG in.yes 1 1\r\n2\r\n");
    raw_send(&e, "PUB out.no 1\r\n1\r\nPUB out.yes 1\r\n2\r\n");
    raw_expect(&h, "MSG out.yes 1 1\r\n2\r\n");
    raw_close(&h);
    raw_close(&e);
    stop_both();
}

TEST(a_wrong_port_is_noticed)
{
    char remote[128];

    leaf_start_hub(0, "leafnodes { " LISTEN " }");
    snprintf(remote, sizeof(remote), "url: \"nats-leaf://127.0.0.1:%u\"", hub.port);
    start_edge(0, "", remote);
    server_process_log_wait(&edge, "attempted to connect to wrong port");
    stop_both();
}

static const struct runner_case cases[] = {
    RUN_LOOP(servers_find_each_other, 0, 4),
    RUN(keeps_secrets_out_of_the_log),
    RUN_LOOP(connects_again, 0, 2),
    RUN_LOOP(speaks_tls, 0, 2),
    RUN_LOOP(joins_over_websocket, 0, 6),
    RUN(needs_leafnodes_for_their_path),
    RUN(joins_with_credentials),
    RUN_LOOP(needs_good_credentials, 0, 3),
    RUN(looks_at_certificates),
    RUN_LOOP(jetstream_keeps_its_domain, 0, 2),
    RUN_LOOP(denies_what_the_remote_denies, 0, 2),
    RUN(a_wrong_port_is_noticed),
};

RUNNER_MAIN("api/leaf_pair", cases)
