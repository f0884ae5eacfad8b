/* Services that are asked about clients, in a configuration and in operator mode; trusted proxies.
 */
#include "lib/base/mem.h"
#include "lib/jwt/xkey.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/signed_client.h"
#include "tests/lib/token.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct signer issuer, op, sys, acc_a, user_1, user_2;
static uint8_t service_curve[NKEY_KEY_BYTES];
static char service_xkey[NKEY_LEN + 1];

static void make_keys(void)
{
    uint8_t key[NKEY_KEY_BYTES];

    signer_make(&issuer, NKEY_ACCOUNT, 1);
    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&sys, NKEY_ACCOUNT, 2);
    signer_make(&acc_a, NKEY_ACCOUNT, 3);
    signer_make(&user_1, NKEY_USER, 1);
    signer_make(&user_2, NKEY_USER, 2);
    crypto_box_keypair(key, service_curve);
    xkey_public(service_curve, service_xkey);
}

static char config[256];

static void write_config(const char *text)
{
    FILE *f = fopen(config, "we");

    ck_assert(f != NULL);
    fputs(text, f);
    fclose(f);
}

static void start(struct server_process *s, const char *text)
{
    server_process_init(s);
    snprintf(config, sizeof(config), "%s/conf", s->dir);
    write_config(text);
    s->args[0] = "-c";
    s->args[1] = config;
    server_process_start(s);
}

static void reload(const struct server_process *s, const char *text, const char *log)
{
    write_config(text);
    ck_assert_int_eq(kill(s->pid, SIGHUP), 0);
    server_process_log_wait(s, log);
}

#define ACCOUNTS                                                                                   \
    "accounts { AUTH { users: [ {user: auth, password: pw} ] }\n"                                  \
    "  A { users: [ {user: joe, password: pw} ] }, B {} }\n"

/* auth, in account AUTH, answers for everybody; more: of the service, then of the server. */
static void put_config(struct buf *b, const char *accounts, const char *more, const char *rest)
{
    buf_printf(b,
               "%sauthorization { timeout: 2, auth_callout { issuer: %s, account: AUTH,\n"
               "  auth_users: [auth] %s } }\n%s",
               accounts, issuer.key, more, rest);
}

/* joe, a listed user, is in A. */
static void start_with(struct server_process *s, const char *more)
{
    struct buf b = {0};

    make_keys();
    put_config(&b, ACCOUNTS, more, "");
    start(s, buf_cstr(&b));
    buf_free(&b);
}

static void reload_with(const struct server_process *s, const char *accounts, const char *rest,
                        const char *log)
{
    struct buf b = {0};

    put_config(&b, accounts, "", rest);
    reload(s, buf_cstr(&b), log);
    buf_free(&b);
}

static void service(struct raw_client *r, const struct server_process *s)
{
    raw_hello(r, s->port, "\"user\":\"auth\",\"pass\":\"pw\",\"headers\":true");
    raw_send(r, "SUB $SYS.REQ.USER.AUTH 1\r\nPING\r\n");
    raw_skip(r, "PONG\r\n");
}

/* A client that says this and waits. */
static void come(struct raw_client *r, const struct server_process *s, const char *fields)
{
    char text[2000];

    raw_open(r, s->port);
    raw_skip(r, "\r\n");
    snprintf(text, sizeof(text), "CONNECT {\"verbose\":false,\"pedantic\":false%s%s}\r\nPING\r\n",
             fields[0] != '\0' ? "," : "", fields);
    raw_send(r, text);
}

struct question {
    struct raw_msg m;
    struct jwt jwt;
    char *key;    /* of the user that is asked about */
    char *server; /* its id */
    char *xkey;   /* of the server, when the question was sealed */
    char *nats;   /* what it says, as text */
};

static void read_question(struct question *q, struct str token)
{
    struct buf err = {0}, text = {0};

    ck_assert_msg(jwt_decode(token, &q->jwt, &err), "%s", buf_cstr(&err));
    ck_assert_int_eq(q->jwt.kind, JWT_REQUEST);
    ck_assert_str_eq(q->jwt.audience, "nats-authorization-request");
    q->key = mem_strdup(json_string_value(json_object_get(q->jwt.nats, "user_nkey")));
    q->server = mem_strdup(q->jwt.issuer);
    jput_raw(&text, q->jwt.nats);
    q->nats = mem_strdup(buf_cstr(&text));
    buf_free(&text);
    buf_free(&err);
}

static void hear(struct raw_client *r, struct question *q)
{
    struct buf open = {0};
    char *at;

    memset(q, 0, sizeof(*q));
    raw_msg(r, &q->m);
    if (q->m.header_n == 0) {
        read_question(q, str_from(q->m.body, q->m.n));
        return;
    }
    at = strstr(q->m.body, "Nats-Server-Xkey: ");
    ck_assert(at != NULL);
    q->xkey = mem_strndup(at + 18, NKEY_LEN);
    ck_assert(xkey_open(service_curve, str_of(q->xkey),
                        str_from(q->m.body + q->m.header_n, q->m.n - q->m.header_n), &open));
    read_question(q, buf_str(&open));
    buf_free(&open);
}

static void forget(struct question *q)
{
    jwt_free(&q->jwt);
    mem_free(q->key);
    mem_free(q->server);
    mem_free(q->xkey);
    mem_free(q->nats);
    free(q->m.body);
}

static void publish(struct raw_client *r, const char *subject, struct str body)
{
    struct buf b = {0};

    buf_printf(&b, "PUB %s %zu\r\n", subject, body.n);
    buf_put_str(&b, body);
    buf_puts(&b, "\r\n");
    raw_send_bytes(r, b.p, b.n);
    buf_free(&b);
}

/* The token of an answer: fields of "nats", signed by this key, about this user. */
static char *answer_token(const struct question *q, const struct signer *by, const char *fields)
{
    struct jwt j = {.kind = JWT_RESPONSE, .subject = q->key, .audience = q->server};
    struct buf b = {0};
    char *token;

    jwt_encode(&b, &j, str_of(fields), by->kind, by->secret, 1000000);
    token = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return token;
}

/* A user for the question, placed in that account. */
static char *user_token(const struct question *q, const struct signer *by, char *account,
                        char *name, const char *fields)
{
    struct jwt j = {.kind = JWT_USER, .subject = q->key, .audience = account, .name = name};
    struct buf b = {0};
    char *token;

    jwt_encode(&b, &j, str_of(fields), by->kind, by->secret, 1000000);
    token = mem_strdup(buf_cstr(&b));
    buf_free(&b);
    return token;
}

static void answer(struct raw_client *r, const struct question *q, const struct signer *by,
                   char *user)
{
    struct buf fields = {0}, sealed = {0};
    uint8_t nonce[XKEY_NONCE_BYTES] = {1};
    char *token;

    buf_printf(&fields, "\"jwt\":\"%s\"", user);
    token = answer_token(q, by, buf_cstr(&fields));
    if (q->xkey != NULL)
        ck_assert(xkey_seal(service_curve, str_of(q->xkey), nonce, str_of(token), &sealed));
    publish(r, q->m.reply, q->xkey != NULL ? buf_str(&sealed) : str_of(token));
    buf_free(&fields);
    buf_free(&sealed);
    mem_free(token);
    mem_free(user);
}

static void kept_out(struct raw_client *r)
{
    raw_skip(r, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(r);
    raw_close(r);
}

TEST(a_service_lets_in_and_places)
{
    struct server_process s;
    struct raw_client auth, r, joe;
    struct question q;
    char a[] = "A", name[] = "dlc";

    start_with(&s, "");
    service(&auth, &s);
    come(&r, &s, "\"user\":\"x\",\"pass\":\"y\",\"name\":\"app\",\"lang\":\"c\",\"version\":\"1\"");
    hear(&auth, &q);
    ck_assert_str_eq(q.jwt.subject, issuer.key);
    ck_assert_msg(strstr(q.nats, "\"connect_opts\":{\"lang\":\"c\",\"name\":\"app\",\"pass\":\"y\","
                                 "\"protocol\":0,\"user\":\"x\",\"version\":\"1\"}") != NULL,
                  "%s", q.nats);
    ck_assert_msg(strstr(q.nats, "\"kind\":\"Client\",\"name\":\"app\",\"type\":\"nats\",\"user\":"
                                 "\"x\"") != NULL &&
                      strstr(q.nats, "\"client_info\":{\"host\":\"127.0.0.1\"") != NULL,
                  "%s", q.nats);
    answer(&auth, &q, &issuer,
           user_token(&q, &issuer, a, name, UNLIMITED_USER ",\"pub\":{\"deny\":[\"secret\"]}"));
    raw_skip(&r, "PONG\r\n");
    forget(&q);
    /* It is in A, with these permissions: joe, whom the service lets in as well, hears it. */
    come(&joe, &s, "\"user\":\"joe\",\"pass\":\"pw\"");
    hear(&auth, &q);
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, name, UNLIMITED_USER));
    forget(&q);
    raw_skip(&joe, "PONG\r\n");
    raw_send(&joe, "SUB t 1\r\nPING\r\n");
    raw_skip(&joe, "PONG\r\n");
    raw_send(&r, "PUB t 1\r\n1\r\nPUB secret 1\r\nx\r\n");
    raw_skip(&joe, "MSG t 1 1\r\n1\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"secret\"'\r\n");
    /* The service's account must not ask. */
    raw_send(&auth, "PUB $SYS.REQ.USER.AUTH 1\r\nx\r\n");
    raw_skip(&auth, "-ERR 'Permissions Violation for Publish to \"$SYS.REQ.USER.AUTH\"'\r\n");
    raw_close(&r);
    raw_close(&joe);
    raw_close(&auth);
    server_process_deinit(&s);
}

TEST(answers_that_do_not_count)
{
    struct server_process s;
    struct raw_client auth, r;
    struct question q, other;
    char a[] = "A", b[] = "NOBODY", *token, *was;

    start_with(&s, "");
    service(&auth, &s);
    /* The service says no, which its account hears again, or nothing. */
    raw_send(&auth, "SUB $SYS.ACCOUNT.CLIENT.AUTH.ERR 2\r\n");
    raw_fence(&auth);
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    token = answer_token(&q, &issuer, "\"error\":\"not today\"");
    publish(&auth, q.m.reply, str_of(token));
    mem_free(token);
    kept_out(&r);
    forget(&q);
    raw_skip(&auth, "MSG $SYS.ACCOUNT.CLIENT.AUTH.ERR 2 ");
    raw_skip(&auth, "\"user\":\"x\"");
    raw_skip(&auth, "\"reason\":\"Authentication Failure\"}\r\n");
    raw_send(&auth, "UNSUB 2\r\n");
    raw_fence(&auth);
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    publish(&auth, q.m.reply, STR(""));
    kept_out(&r);
    forget(&q);
    /* A user that somebody else has signed; an account that is not there. */
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    answer(&auth, &q, &issuer, user_token(&q, &acc_a, a, NULL, UNLIMITED_USER));
    kept_out(&r);
    forget(&q);
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    answer(&auth, &q, &issuer, user_token(&q, &issuer, b, NULL, UNLIMITED_USER));
    kept_out(&r);
    /* Another question's answer. */
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &other);
    was = other.m.reply[0] != '\0' ? mem_strdup(other.m.reply) : NULL;
    snprintf(q.m.reply, sizeof(q.m.reply), "%s", was);
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    kept_out(&r);
    mem_free(was);
    forget(&q);
    forget(&other);
    /* No answer at all: in time. */
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    kept_out(&r);
    forget(&q);
    raw_close(&auth);
    server_process_deinit(&s);
}

TEST(sealed_questions)
{
    struct server_process s;
    struct raw_client auth, r;
    struct question q;
    char a[] = "A", more[128];

    make_keys();
    snprintf(more, sizeof(more), ", xkey: %s", service_xkey);
    /* start_with makes other curve keys: take those of before. */
    uint8_t curve[NKEY_KEY_BYTES];
    memcpy(curve, service_curve, sizeof(curve));
    start_with(&s, more);
    memcpy(service_curve, curve, sizeof(curve));
    service(&auth, &s);
    come(&r, &s, "\"user\":\"x\",\"pass\":\"y\"");
    hear(&auth, &q);
    ck_assert(q.xkey != NULL);
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    forget(&q);
    /* An answer in the open is one as well. */
    come(&r, &s, "\"user\":\"x\",\"pass\":\"y\"");
    hear(&auth, &q);
    mem_free(q.xkey);
    q.xkey = NULL;
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    forget(&q);
    raw_close(&auth);
    server_process_deinit(&s);
}

/* With allowed accounts, users of others are let in as ever. */
TEST(accounts_that_are_not_asked_about)
{
    struct server_process s;
    struct raw_client joe;

    start_with(&s, ", allowed_accounts: [B]");
    raw_hello(&joe, s.port, "\"user\":\"joe\",\"pass\":\"pw\"");
    raw_close(&joe);
    server_process_deinit(&s);
}

/* ---- reload ---------------------------------------------------------------------------------- */

/* The service that was asked is not asked any more: its answer does not count. */
TEST(a_reload_without_the_service_ends_its_questions)
{
    struct server_process s;
    struct raw_client auth, r, joe;
    struct question q;
    char a[] = "A";

    start_with(&s, "");
    service(&auth, &s);
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    reload(&s, ACCOUNTS, "Reloaded server configuration");
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    kept_out(&r);
    forget(&q);
    raw_hello(&joe, s.port, "\"user\":\"joe\",\"pass\":\"pw\"");
    raw_close(&joe);
    raw_close(&auth);
    server_process_deinit(&s);
}

/* One of something else leaves them as they are. */
TEST(a_reload_with_the_service_keeps_its_questions)
{
    struct server_process s;
    struct raw_client auth, r;
    struct question q;
    char a[] = "A";

    start_with(&s, "");
    service(&auth, &s);
    come(&r, &s, "\"user\":\"x\"");
    hear(&auth, &q);
    reload_with(&s, ACCOUNTS, "max_payload: 100000\n", "Reloaded: max_payload = 100000");
    answer(&auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    raw_skip(&r, "PONG\r\n");
    forget(&q);
    raw_close(&r);
    raw_close(&auth);
    server_process_deinit(&s);
}

static void let_in(struct raw_client *auth, struct raw_client *r, const struct server_process *s)
{
    struct question q;
    char a[] = "A";

    come(r, s, "\"user\":\"x\"");
    hear(auth, &q);
    answer(auth, &q, &issuer, user_token(&q, &issuer, a, NULL, UNLIMITED_USER));
    raw_skip(r, "PONG\r\n");
    forget(&q);
}

/* Who says to be a listed user after an answer let it in is that user, and goes with it. */
TEST(a_second_connect_leaves_the_answer_behind)
{
    struct server_process s;
    struct raw_client auth, r;

    start_with(&s, "");
    service(&auth, &s);
    let_in(&auth, &r, &s);
    raw_send(&r, "CONNECT {\"verbose\":false,\"user\":\"auth\",\"pass\":\"pw\"}\r\nPING\r\n");
    raw_skip(&r, "PONG\r\n");
    raw_send(&r, "SUB own 1\r\nPUB own 0\r\n\r\n");
    raw_skip(&r, "MSG own 1 0\r\n\r\n");
    reload_with(&s, ACCOUNTS, "max_payload: 100000\n", "Reloaded: max_payload = 100000");
    raw_send(&r, "PING\r\n");
    raw_skip(&r, "PONG\r\n");
    reload_with(&s,
                "accounts { AUTH { users: [ {user: auth, password: other} ] }\n"
                "  A { users: [ {user: joe, password: pw} ] }, B {} }\n",
                "max_payload: 100001\n", "Reloaded: max_payload = 100001");
    kept_out(&r);
    kept_out(&auth);
    server_process_deinit(&s);
}

/* An answer without permissions gives what the account's options say, now. */
TEST(a_reload_changes_what_the_account_gives)
{
    struct server_process s;
    struct raw_client auth, r;

    start_with(&s, "");
    service(&auth, &s);
    let_in(&auth, &r, &s);
    raw_send(&r, "PUB no 0\r\n\r\nPING\r\n");
    raw_expect(&r, "PONG\r\n");
    reload_with(&s,
                "accounts { AUTH { users: [ {user: auth, password: pw} ] }\n"
                "  A { users: [ {user: joe, password: pw} ]\n"
                "      default_permissions: { publish: { deny: \"no\" } } }, B {} }\n",
                "", "Reloaded server configuration");
    raw_send(&r, "PUB no 0\r\n\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"no\"'\r\n");
    reload_with(&s, ACCOUNTS, "max_payload: 100000\n", "Reloaded: max_payload = 100000");
    raw_send(&r, "PUB no 0\r\n\r\nPING\r\n");
    raw_expect(&r, "PONG\r\n");
    raw_close(&r);
    raw_close(&auth);
    server_process_deinit(&s);
}

/* ---- operator mode --------------------------------------------------------------------------- */

static void sign_in(struct raw_client *r, const struct server_process *s, const struct signer *user,
                    const char *token)
{
    struct buf b = {0};
    char *sig = signed_open(r, s->port, user);

    buf_printf(&b,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"user\":\"bob\","
               "\"jwt\":\"%s\",\"sig\":\"%s\"}\r\nPING\r\n",
               token, sig);
    raw_send(r, buf_cstr(&b));
    buf_free(&b);
    mem_free(sig);
}

/* The service's account is the issuer's, user_1 its service; users may go to A, whose claims end at
 * that time. */
static void start_operated(struct server_process *s, int64_t expires)
{
    struct buf b = {0};
    char fields[400], *token;

    make_keys();
    token = token_make(&op, JWT_OPERATOR, op.key, "O", "");
    buf_printf(&b, "operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n",
               token, sys.key);
    mem_free(token);
    token = token_make(&op, JWT_ACCOUNT, sys.key, "SYS", UNLIMITED);
    buf_printf(&b, "%s: %s\n", sys.key, token);
    mem_free(token);
    snprintf(fields, sizeof(fields),
             "%s,\"authorization\":{\"auth_users\":[\"%s\"],"
             "\"allowed_accounts\":[\"%s\"]}",
             UNLIMITED, user_1.key, acc_a.key);
    token = token_make(&op, JWT_ACCOUNT, issuer.key, "AUTH", fields);
    buf_printf(&b, "%s: %s\n", issuer.key, token);
    mem_free(token);
    token = token_make_at(&op, JWT_ACCOUNT, acc_a.key, "A", UNLIMITED, 0, expires);
    buf_printf(&b, "%s: %s\n}\n", acc_a.key, token);
    mem_free(token);
    start(s, buf_cstr(&b));
    buf_free(&b);
}

static void service_of_operator(struct raw_client *r, const struct server_process *s)
{
    char *token = token_make(&issuer, JWT_USER, user_1.key, "auth", UNLIMITED_USER);

    sign_in(r, s, &user_1, token);
    raw_skip(r, "PONG\r\n");
    mem_free(token);
    raw_send(r, "SUB $SYS.REQ.USER.AUTH 1\r\nPING\r\n");
    raw_skip(r, "PONG\r\n");
}

TEST(accounts_have_their_users_looked_at)
{
    struct server_process s;
    struct raw_client auth, r;
    struct question q;
    char *token;

    start_operated(&s, 0);
    service_of_operator(&auth, &s);
    token = token_make(&issuer, JWT_USER, user_2.key, "sentinel", UNLIMITED_USER);
    sign_in(&r, &s, &user_2, token);
    hear(&auth, &q);
    ck_assert_str_eq(q.jwt.subject, issuer.key);
    ck_assert_msg(strstr(q.nats, token) != NULL && strstr(q.nats, "\"nonce\":") != NULL, "%s",
                  q.nats);
    ck_assert_msg(strstr(q.nats, "\"name_tag\":\"sentinel\"") != NULL, "%s", q.nats);
    answer(&auth, &q, &issuer, user_token(&q, &acc_a, NULL, NULL, UNLIMITED_USER));
    raw_skip(&r, "PONG\r\n");
    forget(&q);
    raw_close(&r);
    /* An account that the claims do not allow. */
    sign_in(&r, &s, &user_2, token);
    hear(&auth, &q);
    answer(&auth, &q, &issuer, user_token(&q, &sys, NULL, NULL, UNLIMITED_USER));
    kept_out(&r);
    forget(&q);
    mem_free(token);
    raw_close(&auth);
    server_process_deinit(&s);
}

/* An answer does not place anybody in an account whose claims have ended. */
TEST(accounts_that_have_ended_take_nobody)
{
    struct server_process s;
    struct raw_client auth, r, direct;
    struct question q;
    char *token;

    start_operated(&s, (int64_t) time(NULL) + 5);
    service_of_operator(&auth, &s);
    token = token_make(&acc_a, JWT_USER, user_2.key, "direct", UNLIMITED_USER);
    sign_in(&direct, &s, &user_2, token);
    mem_free(token);
    raw_skip(&direct, "PONG\r\n");
    raw_skip(&direct, "-ERR 'Account Authentication Expired'\r\n");
    raw_close(&direct);
    token = token_make(&issuer, JWT_USER, user_2.key, "sentinel", UNLIMITED_USER);
    sign_in(&r, &s, &user_2, token);
    mem_free(token);
    hear(&auth, &q);
    answer(&auth, &q, &issuer, user_token(&q, &acc_a, NULL, NULL, UNLIMITED_USER));
    kept_out(&r);
    forget(&q);
    raw_close(&auth);
    server_process_deinit(&s);
}

/* ---- proxies --------------------------------------------------------------------------------- */

static void come_through(struct raw_client *r, const struct server_process *s,
                         const struct signer *proxy, const char *user)
{
    struct buf b = {0};
    char *sig = signed_open(r, s->port, proxy);

    buf_printf(&b,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":\"%s\",\"pass\":\"pw\","
               "\"proxy_sig\":\"%s\"}\r\nPING\r\n",
               user, sig);
    raw_send(r, buf_cstr(&b));
    buf_free(&b);
    mem_free(sig);
}

TEST(users_that_need_a_proxy)
{
    struct server_process s;
    struct raw_client r;
    char text[400];

    make_keys();
    snprintf(text, sizeof(text),
             "proxies { trusted: [ { key: %s } ] }\n"
             "authorization { users: [ {user: a, password: pw, proxy_required: true}\n"
             "  {user: b, password: pw} ] }\n",
             user_1.key);
    start(&s, text);
    come_through(&r, &s, &user_1, "a");
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    come_through(&r, &s, &user_2, "a");
    kept_out(&r);
    come_through(&r, &s, &user_2, "b"); /* a proxy that nobody trusts */
    kept_out(&r);
    come(&r, &s, "\"user\":\"a\",\"pass\":\"pw\"");
    kept_out(&r);
    come(&r, &s, "\"user\":\"b\",\"pass\":\"pw\"");
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    server_process_deinit(&s);
}

/* Who came through a proxy goes when nobody trusts it any more; others stay. */
TEST(a_reload_drops_a_proxy)
{
    struct server_process s;
    struct raw_client through, other;
    char text[400];

    make_keys();
    snprintf(text, sizeof(text),
             "proxies { trusted: [ { key: %s }, { key: %s } ] }\n"
             "authorization { users: [ {user: b, password: pw} ] }\n",
             user_1.key, user_2.key);
    start(&s, text);
    come_through(&through, &s, &user_1, "b");
    raw_skip(&through, "PONG\r\n");
    come_through(&other, &s, &user_2, "b");
    raw_skip(&other, "PONG\r\n");
    snprintf(text, sizeof(text),
             "proxies { trusted: [ { key: %s } ] }\n"
             "authorization { users: [ {user: b, password: pw} ] }\n",
             user_2.key);
    reload(&s, text, "Reloaded server configuration");
    kept_out(&through);
    raw_send(&other, "PING\r\n");
    raw_skip(&other, "PONG\r\n");
    raw_close(&other);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN(a_service_lets_in_and_places),
    RUN(answers_that_do_not_count),
    RUN(sealed_questions),
    RUN(accounts_that_are_not_asked_about),
    RUN(a_reload_without_the_service_ends_its_questions),
    RUN(a_reload_with_the_service_keeps_its_questions),
    RUN(a_second_connect_leaves_the_answer_behind),
    RUN(a_reload_changes_what_the_account_gives),
    RUN(accounts_have_their_users_looked_at),
    RUN(accounts_that_have_ended_take_nobody),
    RUN(users_that_need_a_proxy),
    RUN(a_reload_drops_a_proxy),
};

RUNNER_MAIN("api/callout", cases)
