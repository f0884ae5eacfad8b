/*
 * test_libnats_tls.c - Debian's C client and the doors of the server: TLS, certificates of clients,
 * nkeys and credentials, alone and together, with what is published and stored behind them. Each
 * with 1 and 2 workers, and with the other I/O backend.
 */
#include "lib/base/mem.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/token.h"

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 3
#define OK(call) ck_assert_msg((call) == NATS_OK, "%s: %s", #call, nats_GetLastError(NULL))
#define CERT "cert_file: '~/server.pem', key_file: '~/server.key'"

static struct server_process server;
static char path[256];

static void start(int way, const char *text)
{
    static const char *const ways[WAYS][2] = {{"1", "auto"}, {"2", "auto"}, {"1", "event"}};
    unsigned k = 0;

    server_process_init(&server);
    certs_make(server.dir);
    server.args[k++] = "--workers";
    server.args[k++] = ways[way][0];
    server.args[k++] = "--io";
    server.args[k++] = ways[way][1];
    server.args[k++] = "-c";
    server.args[k++] = server_process_config(&server, text);
    server_process_start(&server);
}

static void stop(void)
{
    server_process_stop(&server);
    server_process_deinit(&server);
}

/* Its path in the server's directory; holds until the next call. */
static const char *file(const char *name)
{
    snprintf(path, sizeof(path), "%s/%s", server.dir, name);
    return path;
}

static const char *write_file(const char *name, const char *text)
{
    FILE *f = fopen(file(name), "we");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
    return path;
}

/* ---- a client -------------------------------------------------------------------------------- */

static natsOptions *options(void)
{
    natsOptions *o = NULL;
    char url[80];

    OK(natsOptions_Create(&o));
    snprintf(url, sizeof(url), "nats://127.0.0.1:%u", server.port);
    OK(natsOptions_SetURL(o, url));
    OK(natsOptions_SetTimeout(o, 20000));
    OK(natsOptions_SetAllowReconnect(o, false));
    return o;
}

static natsOptions *with_tls(const char *ca)
{
    natsOptions *o = options();

    OK(natsOptions_SetSecure(o, true));
    if (ca != NULL)
        OK(natsOptions_LoadCATrustedCertificates(o, file(ca)));
    return o;
}

static void with_certificate(natsOptions *o, const char *name)
{
    char cert[300], key[300];

    snprintf(cert, sizeof(cert), "%s/%s.pem", server.dir, name);
    snprintf(key, sizeof(key), "%s/%s.key", server.dir, name);
    OK(natsOptions_LoadCertificatesChain(o, cert, key));
}

static void answer(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    (void) sub;
    (void) closure;
    natsConnection_Publish(nc, natsMsg_GetReply(msg), natsMsg_GetData(msg),
                           natsMsg_GetDataLength(msg));
    natsMsg_Destroy(msg);
}

/* A request of half a megabyte, many small ones, and a stream. */
static void use(natsConnection *nc)
{
    enum { BIG = 500000 };
    natsSubscription *sub = NULL;
    natsMsg *msg = NULL;
    char *big = mem_alloc(BIG);
    jsStreamConfig config;
    const char *subjects[] = {"a.s.*"};
    jsPubAck *ack = NULL;
    jsCtx *js = NULL;

    for (int k = 0; k < BIG; k++)
        big[k] = (char) (k % 251);
    OK(natsConnection_Subscribe(&sub, nc, "a.echo", answer, NULL));
    OK(natsConnection_Request(&msg, nc, "a.echo", big, BIG, 20000));
    ck_assert_int_eq(natsMsg_GetDataLength(msg), BIG);
    ck_assert_int_eq(memcmp(natsMsg_GetData(msg), big, BIG), 0);
    natsMsg_Destroy(msg);
    for (int k = 0; k < 50; k++) {
        OK(natsConnection_RequestString(&msg, nc, "a.echo", "x", 20000));
        natsMsg_Destroy(msg);
    }
    OK(natsConnection_JetStream(&js, nc, NULL));
    jsStreamConfig_Init(&config);
    config.Name = "S";
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    OK(js_AddStream(NULL, js, &config, NULL, NULL));
    OK(js_Publish(&ack, js, "a.s.1", big, BIG, NULL, NULL));
    ck_assert_uint_eq(ack->Sequence, 1);
    jsPubAck_Destroy(ack);
    OK(js_DeleteStream(js, "S", NULL, NULL));
    jsCtx_Destroy(js);
    natsSubscription_Destroy(sub);
    mem_free(big);
}

static void gets_in(natsOptions *o)
{
    natsConnection *nc = NULL;

    OK(natsConnection_Connect(&nc, o));
    use(nc);
    natsConnection_Destroy(nc);
    natsOptions_Destroy(o);
}

/* NATS_OK as reason: whatever the client makes of it. In TLS 1.3 the server's verdict on a
 * certificate comes behind the client's end of the handshake. */
static void is_refused(natsOptions *o, natsStatus why)
{
    natsConnection *nc = NULL;
    natsStatus s = natsConnection_Connect(&nc, o);

    ck_assert_msg(s != NATS_OK && (why == NATS_OK || s == why), "%s", natsStatus_GetText(s));
    ck_assert_ptr_null(nc);
    natsOptions_Destroy(o);
}

/* ---- TLS ------------------------------------------------------------------------------------- */

TEST(the_server_is_who_it_says)
{
    natsOptions *o;

    start(i, "jetstream: enabled\ntls { " CERT " }\n");
    gets_in(with_tls("ca.pem"));
    is_refused(with_tls("stranger.pem"), NATS_SSL_ERROR);
    is_refused(with_tls("impostor.pem"), NATS_SSL_ERROR);
    is_refused(with_tls(NULL), NATS_SSL_ERROR);
    o = with_tls("ca.pem");
    OK(natsOptions_SetExpectedHostname(o, "localhost"));
    gets_in(o);
    o = with_tls("ca.pem");
    OK(natsOptions_SetExpectedHostname(o, "elsewhere.test"));
    is_refused(o, NATS_SSL_ERROR);
    o = with_tls(NULL);
    OK(natsOptions_SkipServerVerification(o, true));
    gets_in(o);
    stop();
}

TEST(the_client_is_who_it_says)
{
    natsOptions *o;

    start(i, "jetstream: enabled\ntls { " CERT ", ca_file: '~/ca.pem', verify: true }\n");
    o = with_tls("ca.pem");
    with_certificate(o, "client");
    gets_in(o);
    is_refused(with_tls("ca.pem"), NATS_OK);
    o = with_tls("ca.pem");
    with_certificate(o, "stranger");
    is_refused(o, NATS_OK);
    stop();
}

/* A client that waits for INFO, where the handshake may come first. */
TEST(info_comes_to_who_waits)
{
    start(i, "jetstream: enabled\ntls { " CERT ", handshake_first: 50ms }\n");
    gets_in(with_tls("ca.pem"));
    stop();
}

/* ---- keys ------------------------------------------------------------------------------------ */

static natsStatus sign(char **error, unsigned char **signature, int *length, const char *nonce,
                       void *closure)
{
    (void) error;
    return nats_Sign(closure, nonce, signature, length);
}

TEST(nkeys_open)
{
    struct signer known, other;
    natsOptions *o;
    char text[512];

    signer_make(&known, NKEY_USER, 1);
    signer_make(&other, NKEY_USER, 2);
    snprintf(text, sizeof(text),
             "jetstream: enabled\ntls { " CERT " }\nauthorization { users: [ { nkey: %s } ] }\n",
             known.key);
    start(i, text);
    o = with_tls("ca.pem");
    OK(natsOptions_SetNKeyFromSeed(o, known.key, write_file("seed", known.seed)));
    gets_in(o);
    o = with_tls("ca.pem");
    OK(natsOptions_SetNKey(o, known.key, sign, known.seed));
    gets_in(o);
    o = with_tls("ca.pem");
    OK(natsOptions_SetNKey(o, known.key, sign, other.seed));
    is_refused(o, NATS_CONNECTION_AUTH_FAILED);
    o = with_tls("ca.pem");
    OK(natsOptions_SetNKey(o, other.key, sign, other.seed));
    is_refused(o, NATS_CONNECTION_AUTH_FAILED);
    is_refused(with_tls("ca.pem"), NATS_CONNECTION_AUTH_FAILED);
    stop();
}

#define LIMITS                                                                                     \
    "\"limits\":{" UNLIMITED_FIELDS ",\"mem_storage\":-1,\"disk_storage\":-1,"                     \
    "\"streams\":-1,\"consumer\":-1}"

/* The configuration of an operator with one account; the caller frees. */
static char *operator_mode(const struct signer *account)
{
    struct signer op, sys;
    struct buf b = {0};
    char *of_op, *of_sys, *of_account, *text;

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&sys, NKEY_ACCOUNT, 1);
    of_op = token_make(&op, JWT_OPERATOR, op.key, "O", "");
    of_sys = token_make(&op, JWT_ACCOUNT, sys.key, "SYS", LIMITS);
    of_account = token_make(&op, JWT_ACCOUNT, account->key, "A", LIMITS);
    buf_printf(&b,
               "jetstream: enabled\ntls { " CERT " }\noperator: %s\nsystem_account: %s\n"
               "resolver: MEMORY\nresolver_preload: { %s: %s, %s: %s }\n",
               of_op, sys.key, sys.key, of_sys, account->key, of_account);
    mem_free(of_op);
    mem_free(of_sys);
    mem_free(of_account);
    text = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return text;
}

/* With the file that the tools of an operator make for a user. */
static natsOptions *with_credentials(const char *token, const struct signer *user)
{
    natsOptions *o = with_tls("ca.pem");
    struct buf b = {0};

    buf_printf(&b,
               "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
               "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
               token, user->seed);
    OK(natsOptions_SetUserCredentialsFromFiles(o, write_file("u.creds", buf_cstr(&b)), NULL));
    buf_free(&b);
    return o;
}

TEST(credentials_open)
{
    static const char fields[] =
        "\"subs\":-1,\"data\":-1,\"payload\":-1,\"pub\":{\"deny\":[\"b\"]}";
    struct signer account, stranger, user, other;
    char *conf, *token, *foreign;

    signer_make(&account, NKEY_ACCOUNT, 2);
    signer_make(&stranger, NKEY_ACCOUNT, 3);
    signer_make(&user, NKEY_USER, 1);
    signer_make(&other, NKEY_USER, 2);
    token = token_make(&account, JWT_USER, user.key, "u", fields);
    foreign = token_make(&stranger, JWT_USER, user.key, "u", fields);
    conf = operator_mode(&account);
    start(i, conf);

    gets_in(with_credentials(token, &user));
    /* A token of an account that nobody knows, and one that is somebody else's. */
    is_refused(with_credentials(foreign, &user), NATS_CONNECTION_AUTH_FAILED);
    is_refused(with_credentials(token, &other), NATS_CONNECTION_AUTH_FAILED);
    is_refused(with_tls("ca.pem"), NATS_CONNECTION_AUTH_FAILED);
    stop();
    mem_free(conf);
    mem_free(token);
    mem_free(foreign);
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_server_is_who_it_says, 0, WAYS), RUN_LOOP(the_client_is_who_it_says, 0, WAYS),
    RUN_LOOP(info_comes_to_who_waits, 0, WAYS),   RUN_LOOP(nkeys_open, 0, WAYS),
    RUN_LOOP(credentials_open, 0, WAYS),
};

RUNNER_MAIN("api/libnats_tls", cases)
