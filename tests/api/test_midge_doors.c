/*
 * test_midge_doors.c - libmidge's ways in: TLS, WebSocket, both, and every kind of credentials, on
 * the real server. Each way carries the same messages, breaks, and comes back.
 */
#include "client/midge.h"
#include "lib/base/mem.h"
#include "lib/jwt/nkey.h"
#include "tests/api/tls_certs.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS UINT64_C(20000000000)
#define BIG 300000u
#define SERVER_CERT "cert_file: '~/server.pem', key_file: '~/server.key'"
#define WS "websocket { listen: '127.0.0.1:-1', "

static struct server_process server;

static void start(const char *conf)
{
    server_process_init(&server);
    certs_make(server.dir);
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, conf);
    server_process_start(&server);
}

static const char *file(const char *name)
{
    static char paths[4][256];
    static unsigned at;
    char *path = paths[at++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", server.dir, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    FILE *f = fopen(file(name), "we");

    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct seen {
    unsigned n, back;
    size_t size;
    unsigned char sum;
};

static void see(void *ctx, const struct midge_msg *msg)
{
    struct seen *s = ctx;

    s->n++;
    s->size = msg->payload.n;
    for (size_t i = 0; i < msg->payload.n; i++)
        s->sum = (unsigned char) (s->sum + msg->payload.p[i]);
}

static void on_event(void *ctx, enum midge_event event)
{
    ((struct seen *) ctx)->back += event == MIDGE_EVENT_BACK;
}

static void until(struct midge *m, const unsigned *counter, unsigned want)
{
    uint64_t end = midge_now() + PATIENCE_NS;

    while (*counter < want) {
        ck_assert_msg(midge_now() < end, "%u of %u came; %s", *counter, want, midge_error(m));
        ck_assert_msg(midge_poll(m, 100000000) == MIDGE_OK, "%s", midge_error(m));
    }
}

static void publish(struct midge *m, const char *bytes, size_t n)
{
    struct midge_msg msg = {.subject = MIDGE_TEXT("s"), .payload = {bytes, n}};

    ck_assert_int_eq(midge_publish(m, &msg), MIDGE_OK);
}

/* Small ones, none at all, and one that is longer than a record, a receive and a frame's head. */
static void exchange(struct midge *m, struct seen *seen)
{
    char *big = malloc(BIG);
    unsigned char sum = 0;

    for (size_t i = 0; i < BIG; i++) {
        big[i] = (char) (i * 7 + i / 251);
        sum = (unsigned char) (sum + big[i]);
    }
    for (unsigned i = 0; i < 100; i++)
        publish(m, "", 0);
    until(m, &seen->n, seen->n + 100);
    seen->sum = 0;
    publish(m, big, BIG);
    until(m, &seen->n, seen->n + 1);
    ck_assert_uint_eq(seen->size, BIG);
    ck_assert_uint_eq(seen->sum, sum);
    ck_assert_int_eq(midge_flush(m, 20000), MIDGE_OK);
    free(big);
}

/* ---- the ways -------------------------------------------------------------------------------- */

static void by_tls(struct midge_options *o)
{
    o->tls_ca = file("ca.pem");
}

static void by_tls_named(struct midge_options *o)
{
    o->host = "localhost";
    o->tls = true;
    o->tls_ca = file("ca.pem");
    o->tls_cert = file("client.pem");
    o->tls_key = file("client.key");
}

static void by_tls_first(struct midge_options *o)
{
    by_tls(o);
    o->tls_first = true;
}

static void by_ws(struct midge_options *o)
{
    o->port = server.ws_port;
    o->websocket = true;
}

static void by_wss(struct midge_options *o)
{
    by_ws(o);
    o->tls = true;
    o->tls_ca = file("ca.pem");
    o->ws_path = "/any/path";
}

static void by_insecure(struct midge_options *o)
{
    o->tls = o->tls_insecure = true;
}

static void plain(struct midge_options *o)
{
    (void) o;
}

static const struct {
    const char *conf;
    void (*set)(struct midge_options *o);
} ways[] = {
    {"", plain},
    {"tls { " SERVER_CERT " }", by_tls},
    {"tls { " SERVER_CERT ", ca_file: '~/ca.pem', verify: true }", by_tls_named},
    {"tls { " SERVER_CERT ", handshake_first: true }", by_tls_first},
    {"tls { " SERVER_CERT " }\nallow_non_tls: true", by_insecure},
    {"tls { " SERVER_CERT " }\nallow_non_tls: true", plain},
    {WS "no_tls: true }", by_ws},
    {WS "no_tls: true, compression: true }", by_ws},
    {WS "tls { " SERVER_CERT " } }", by_wss},
    {"tls { " SERVER_CERT " }\n" WS "no_tls: true }", by_ws},
};

static struct midge *dial(void (*set)(struct midge_options *o), struct seen *seen, char err[256])
{
    struct midge_options o;

    midge_options_init(&o);
    o.port = server.port;
    o.max_reconnects = -1;
    o.reconnect_wait_ms = 20;
    o.connect_timeout_ms = o.timeout_ms = 20000;
    o.on_event = on_event;
    o.event_ctx = seen;
    set(&o);
    return midge_connect(&o, err);
}

TEST(every_way_carries_messages_and_comes_back)
{
    struct seen seen = {0};
    struct midge *m;
    char err[256] = "", port[8];

    start(ways[i].conf);
    m = dial(ways[i].set, &seen, err);
    ck_assert_msg(m != NULL, "way %d: %s", i, err);
    ck_assert_ptr_nonnull(midge_subscribe(m, (struct midge_text) MIDGE_TEXT("s"),
                                          (struct midge_text){0}, see, &seen));
    exchange(m, &seen);
    if (server.ws_port == 0) { /* its port stays */
        snprintf(port, sizeof(port), "%u", server.port);
        server.args[2] = "-p";
        server.args[3] = port;
        server_process_kill(&server);
        server_process_start(&server);
    } else {
        midge_close(m);
        seen = (struct seen){.back = 1};
        m = dial(ways[i].set, &seen, err);
        ck_assert_msg(m != NULL, "way %d: %s", i, err);
        ck_assert_ptr_nonnull(midge_subscribe(m, (struct midge_text) MIDGE_TEXT("s"),
                                              (struct midge_text){0}, see, &seen));
    }
    until(m, &seen.back, 1);
    exchange(m, &seen);
    midge_close(m);
    server_process_deinit(&server);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void wrong_authority(struct midge_options *o)
{
    o->tls_ca = file("stranger.pem");
}

static void wrong_name(struct midge_options *o)
{
    o->tls_ca = file("ca.pem");
    o->tls_name = "elsewhere.example";
}

static void no_such_file(struct midge_options *o)
{
    o->tls_ca = file("none.pem");
}

static void want_tls(struct midge_options *o)
{
    o->tls = true;
}

static void ws_at_nats(struct midge_options *o)
{
    o->websocket = true;
    o->connect_timeout_ms = 20000;
}

static void nkey_unasked(struct midge_options *o)
{
    write_file("seed", "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY");
    o->nkey = file("seed");
}

static void creds_of_nothing(struct midge_options *o)
{
    write_file("creds", "-----BEGIN NATS USER JWT-----\n");
    o->creds = file("creds");
}

static void creds_not_there(struct midge_options *o)
{
    o->creds = file("nowhere");
}

static const struct {
    const char *conf;
    void (*set)(struct midge_options *o);
    const char *text;
} refusals[] = {
    {"tls { " SERVER_CERT " }", wrong_authority, "certificate verify failed"},
    {"tls { " SERVER_CERT " }", plain, "certificate verify failed"},
    {"tls { " SERVER_CERT " }", wrong_name, "hostname mismatch"},
    {"tls { " SERVER_CERT " }", no_such_file, "none.pem"},
    {"tls { " SERVER_CERT ", ca_file: '~/ca.pem', verify: true }", by_tls, ""},
    {"", want_tls, "the server has no TLS"},
    {"", ws_at_nats, "the answer to the upgrade is not understood"},
    {"", nkey_unasked, "the server does not ask for an nkey"},
    {"", creds_of_nothing, "no creds file"},
    {"", creds_not_there, "No such file"},
};

TEST(what_is_not_right_is_refused_with_a_text)
{
    struct seen seen = {0};
    char err[256] = "";

    start(refusals[i].conf);
    ck_assert_ptr_null(dial(refusals[i].set, &seen, err));
    ck_assert_msg(err[0] != '\0' && strstr(err, refusals[i].text) != NULL, "%d: %s", i, err);
    server_process_deinit(&server);
}

/* ---- who it is ------------------------------------------------------------------------------- */

static void as_user(struct midge_options *o)
{
    o->user = "ann";
    o->pass = "secret";
}

static void as_token(struct midge_options *o)
{
    o->token = "s3cr3t";
}

static void as_nkey(struct midge_options *o)
{
    struct signer user;
    char text[128];

    signer_make(&user, NKEY_USER, 7);
    snprintf(text, sizeof(text), "%s\n", user.seed);
    write_file("user.nk", text);
    o->nkey = file("user.nk");
}

static void as_creds(struct midge_options *o)
{
    struct signer account, user;
    char *token, text[4096];

    signer_make(&account, NKEY_ACCOUNT, 1);
    signer_make(&user, NKEY_USER, 7);
    token = token_make(&account, JWT_USER, user.key, "u", "");
    snprintf(text, sizeof(text),
             "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
             "Keep the seed to yourself.\n\n"
             "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
             token, user.seed);
    write_file("user.creds", text);
    mem_free(token);
    o->creds = file("user.creds");
}

static char *operator_conf(void)
{
    struct signer op, account;
    char *o, *a, *text = malloc(8192);

    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&account, NKEY_ACCOUNT, 1);
    o = token_make(&op, JWT_OPERATOR, op.key, "O", "");
    a = token_make(&op, JWT_ACCOUNT, account.key, "A", UNLIMITED);
    snprintf(text, 8192, "operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n", o,
             account.key, a);
    mem_free(o);
    mem_free(a);
    return text;
}

static char *nkey_conf(void)
{
    struct signer user;
    char *text = malloc(256);

    signer_make(&user, NKEY_USER, 7);
    snprintf(text, 256, "authorization { users: [ { nkey: %s } ] }", user.key);
    return text;
}

static const struct {
    const char *conf;
    char *(*make)(void);
    void (*set)(struct midge_options *o);
} users[] = {
    {"authorization { user: ann, password: secret }", NULL, as_user},
    {"authorization { token: s3cr3t }", NULL, as_token},
    {NULL, nkey_conf, as_nkey},
    {NULL, operator_conf, as_creds},
};

TEST(every_kind_of_credentials_lets_in_and_its_absence_does_not)
{
    char *made = users[i].make != NULL ? users[i].make() : NULL, err[256] = "";
    struct seen seen = {0};
    struct midge *m;

    start(made != NULL ? made : users[i].conf);
    m = dial(users[i].set, &seen, err);
    ck_assert_msg(m != NULL, "%d: %s", i, err);
    ck_assert_int_eq(midge_flush(m, 20000), MIDGE_OK);
    midge_close(m);
    ck_assert_ptr_null(dial(plain, &seen, err));
    ck_assert_str_eq(err, "Authorization Violation");
    server_process_deinit(&server);
    free(made);
}

static const struct runner_case cases[] = {
    RUN_LOOP(every_way_carries_messages_and_comes_back, 0, sizeof(ways) / sizeof(ways[0])),
    RUN_LOOP(what_is_not_right_is_refused_with_a_text, 0, sizeof(refusals) / sizeof(refusals[0])),
    RUN_LOOP(every_kind_of_credentials_lets_in_and_its_absence_does_not, 0,
             sizeof(users) / sizeof(users[0])),
};

RUNNER_MAIN("api/midge_doors", cases)
