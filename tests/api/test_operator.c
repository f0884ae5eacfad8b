/* Operator mode over the wire: who gets in with which claims, what they may do, how claims change
 * while the server runs. */
#include "lib/base/mem.h"
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"
#include "tests/lib/token.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNLIMITED                                                                                  \
    "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"            \
    "\"wildcards\":true,\"conn\":-1,\"leaf\":-1}"
#define USER "\"subs\":-1,\"data\":-1,\"payload\":-1"

/* Keys that all cases use. */
static struct signer op, op_key, sys, sys_user, acc_a, acc_b, key_a, user_1, user_2;

struct world {
    struct server_process s;
    char config[256];
    struct buf text;
};

static void make_keys(void)
{
    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&op_key, NKEY_OPERATOR, 2);
    signer_make(&sys, NKEY_ACCOUNT, 1);
    signer_make(&acc_a, NKEY_ACCOUNT, 2);
    signer_make(&acc_b, NKEY_ACCOUNT, 3);
    signer_make(&key_a, NKEY_ACCOUNT, 4);
    signer_make(&sys_user, NKEY_USER, 1);
    signer_make(&user_1, NKEY_USER, 2);
    signer_make(&user_2, NKEY_USER, 3);
}

static char *account(const struct signer *a, const char *name, const char *more)
{
    struct buf b = {0};
    char *token;

    buf_printf(&b, "%s%s%s", UNLIMITED, more[0] != '\0' ? "," : "", more);
    token = token_make(&op, JWT_ACCOUNT, a->key, name, buf_cstr(&b));
    buf_free(&b);
    return token;
}

static void put_preload(struct world *w, const struct signer *a, char *token)
{
    buf_printf(&w->text, "  %s: %s\n", a->key, token);
    mem_free(token);
}

/* The operator and the system account; preloads follow, then ready(). */
static void begin(struct world *w, const char *operator_fields)
{
    char *token;

    make_keys();
    memset(w, 0, sizeof(*w));
    server_process_init(&w->s);
    token = token_make(&op, JWT_OPERATOR, op.key, "O", operator_fields);
    buf_printf(&w->text, "operator: %s\nsystem_account: %s\n", token, sys.key);
    mem_free(token);
}

static void preloads(struct world *w)
{
    buf_puts(&w->text, "resolver: MEMORY\nresolver_preload: {\n");
    put_preload(w, &sys, account(&sys, "SYS", ""));
}

static void write_config(struct world *w)
{
    FILE *f;

    snprintf(w->config, sizeof(w->config), "%s/conf", w->s.dir);
    f = fopen(w->config, "we");
    ck_assert(f != NULL);
    fputs(buf_cstr(&w->text), f);
    fclose(f);
}

static void ready(struct world *w)
{
    write_config(w);
    w->s.args[0] = "-c";
    w->s.args[1] = w->config;
    server_process_start(&w->s);
}

static void end(struct world *w)
{
    server_process_deinit(&w->s);
    buf_free(&w->text);
}

/* Operator, system account and account A with these fields. */
static void start_with(struct world *w, const char *fields_of_a)
{
    begin(w, "");
    preloads(w);
    put_preload(w, &acc_a, account(&acc_a, "A", fields_of_a));
    buf_puts(&w->text, "}\n");
    ready(w);
}

/* Sends CONNECT with a token and a signature of the nonce. */
static void connect_with(struct raw_client *r, const struct world *w, const struct signer *user,
                         const char *token, const char *more)
{
    struct buf b = {0};
    char *info, *nonce, *at, *sig;

    raw_open(r, w->s.port);
    info = raw_line(r);
    at = strstr(info, "\"nonce\":\"");
    ck_assert_msg(at != NULL, "%s", info);
    nonce = mem_strndup(at + 9, strcspn(at + 9, "\""));
    sig = token_sign_nonce(user, nonce);
    buf_printf(&b,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
               "\"no_responders\":true,\"jwt\":\"%s\",\"sig\":\"%s\"%s}\r\nPING\r\n",
               token, sig, more);
    raw_send(r, buf_cstr(&b));
    buf_free(&b);
    mem_free(sig);
    mem_free(nonce);
    free(info);
}

static void let_in(struct raw_client *r, const struct world *w, const struct signer *user,
                   char *token)
{
    connect_with(r, w, user, token, "");
    raw_skip(r, "PONG\r\n");
    mem_free(token);
}

static void kept_out(const struct world *w, const struct signer *user, char *token)
{
    struct raw_client r;

    connect_with(&r, w, user, token, "");
    raw_expect(&r, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    mem_free(token);
}

static char *user(const struct signer *by, const struct signer *u, const char *fields)
{
    return token_make(by, JWT_USER, u->key, "joe", fields);
}

/* A user of a signing key of A. */
static char *user_of_key(const struct signer *u, const char *fields)
{
    struct buf b = {0};
    char *token;

    buf_printf(&b, "%s%s\"issuer_account\":\"%s\"", fields, fields[0] != '\0' ? "," : "",
               acc_a.key);
    token = user(&key_a, u, buf_cstr(&b));
    buf_free(&b);
    return token;
}

/* ---- getting in ------------------------------------------------------------------------------ */

TEST(users_get_in_with_claims_alone)
{
    struct world w;
    struct raw_client r, other;
    char *old;

    start_with(&w, "");
    let_in(&r, &w, &user_1, user(&acc_a, &user_1, USER));
    raw_send(&r, "SUB a 1\r\nPUB a 2\r\nhi\r\n");
    raw_skip(&r, "MSG a 1 2\r\nhi\r\n");
    /* Somebody else's signature. */
    kept_out(&w, &user_2, user(&acc_a, &user_1, USER));
    /* An account that nobody knows. */
    kept_out(&w, &user_1, user(&acc_b, &user_1, USER));
    /* Not a token at all, none, and one that is over. */
    kept_out(&w, &user_1, mem_strdup("eyJ"));
    kept_out(&w, &user_1, mem_strdup(""));
    old = token_make_at(&acc_a, JWT_USER, user_1.key, "old", USER, 1000, 2000);
    kept_out(&w, &user_1, old);
    /* Users and passwords do not count. */
    raw_open(&other, w.s.port);
    raw_skip(&other, "\r\n");
    raw_send(&other, "CONNECT {\"user\":\"a\",\"pass\":\"a\"}\r\n");
    raw_expect(&other, "-ERR 'Authorization Violation'\r\n");
    raw_close(&other);
    raw_close(&r);
    end(&w);
}

TEST(accounts_are_worlds_of_their_own)
{
    struct world w;
    struct raw_client a, b;

    begin(&w, "");
    preloads(&w);
    put_preload(&w, &acc_a,
                account(&acc_a, "A",
                        "\"exports\":[{\"name\":\"s\",\"subject\":"
                        "\"out.>\",\"type\":\"stream\"},{\"name\":\"q\","
                        "\"subject\":\"ask.*\",\"type\":\"service\"}]"));
    char fields[512];
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\",\"local_subject\":\"from.a.>\"},{\"name\":\"q\",\"subject\":\"ask.*\","
             "\"account\":\"%s\",\"type\":\"service\",\"local_subject\":\"q.*\"}]",
             acc_a.key, acc_a.key);
    put_preload(&w, &acc_b, account(&acc_b, "B", fields));
    buf_puts(&w.text, "}\n");
    ready(&w);
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    let_in(&b, &w, &user_2, user(&acc_b, &user_2, USER));
    raw_send(&b, "SUB x 1\r\nSUB from.a.> 2\r\nSUB in 3\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "SUB ask.* 1\r\nPUB x 1\r\nx\r\nPUB out.1 1\r\n1\r\nPING\r\n");
    raw_skip(&a, "PONG\r\n");
    raw_skip(&b, "MSG from.a.1 2 1\r\n1\r\n");
    raw_send(&b, "PUB q.7 in 1\r\n?\r\n");
    raw_skip(&a, "MSG ask.7 1 _R_.");
    raw_close(&a);
    raw_close(&b);
    end(&w);
}

TEST(permissions_and_limits_of_users)
{
    struct world w;
    struct raw_client r;

    start_with(&w, "\"default_permissions\":{\"pub\":{\"deny\":[\"secret\"]}}");
    let_in(&r, &w, &user_1,
           user(&acc_a, &user_1,
                "\"pub\":{\"allow\":[\"p.>\"]},\"sub\":{\"allow\":[\"s q\",\"t\"]},"
                "\"subs\":1,\"data\":-1,\"payload\":4"));
    raw_send(&r, "PUB x 1\r\nx\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"x\"'\r\n");
    raw_send(&r, "SUB u 1\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Subscription to \"u\"'\r\n");
    raw_send(&r, "SUB s q 2\r\nSUB t 3\r\n");
    raw_skip(&r, "-ERR 'maximum subscriptions exceeded'\r\n");
    raw_send(&r, "PUB p.1 5\r\nxxxxx\r\n");
    raw_skip(&r, "-ERR 'Maximum Payload Violation'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    /* Without own permissions the account's count. */
    let_in(&r, &w, &user_1, user(&acc_a, &user_1, USER));
    raw_send(&r, "PUB secret 1\r\nx\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"secret\"'\r\n");
    raw_close(&r);
    end(&w);
}

TEST(signing_keys_and_scopes)
{
    struct world w;
    struct raw_client r;
    struct signer other;
    char fields[600];

    make_keys();
    signer_make(&other, NKEY_ACCOUNT, 9);
    snprintf(fields, sizeof(fields),
             "\"signing_keys\":[\"%s\",{\"kind\":\"user_scope\",\"key\":\"%s\",\"role\":\"r\","
             "\"template\":{\"pub\":{\"allow\":[\"u.{{name()}}.>\",\"t.{{tag(team)}}\"]},"
             "\"sub\":{\"allow\":[\"{{account-name()}}.{{subject()}}\",\"_INBOX.>\"]},"
             "\"subs\":-1,\"data\":-1,\"payload\":-1}}]",
             other.key, key_a.key);
    start_with(&w, fields);
    /* Users of scoped keys say nothing of their own. */
    kept_out(&w, &user_1, user_of_key(&user_1, USER));
    let_in(&r, &w, &user_1, user_of_key(&user_1, "\"tags\":[\"team:red\",\"team:blue\"]"));
    raw_send(&r, "PUB u.joe.1 1\r\nx\r\nPUB t.red 1\r\nx\r\nPUB t.blue 1\r\nx\r\nPUB t.green "
                 "1\r\nx\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"t.green\"'\r\n");
    raw_send(&r, "PUB u.jim.1 1\r\nx\r\n");
    raw_expect(&r, "-ERR 'Permissions Violation for Publish to \"u.jim.1\"'\r\n");
    snprintf(fields, sizeof(fields), "SUB A.%s 1\r\nSUB other 2\r\n", user_1.key);
    raw_send(&r, fields);
    raw_expect(&r, "-ERR 'Permissions Violation for Subscription to \"other\"'\r\n");
    raw_close(&r);
    /* A key without a scope, and one that is none of the account's. */
    snprintf(fields, sizeof(fields), "%s,\"issuer_account\":\"%s\"", USER, acc_a.key);
    let_in(&r, &w, &user_1, user(&other, &user_1, fields));
    raw_close(&r);
    kept_out(&w, &user_1, user(&acc_b, &user_1, fields));
    end(&w);
}

TEST(bearer_sources_and_kinds_of_connections)
{
    struct world w;
    struct raw_client r;

    start_with(&w, "");
    /* A bearer needs no signature. */
    let_in(&r, &w, &user_2, user(&acc_a, &user_1, USER ",\"bearer_token\":true"));
    raw_close(&r);
    let_in(&r, &w, &user_1,
           user(&acc_a, &user_1, USER ",\"src\":[\"10.0.0.0/8\",\"127.0.0.0/8\"]"));
    raw_close(&r);
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER ",\"src\":[\"10.0.0.0/8\"]"));
    let_in(&r, &w, &user_1,
           user(&acc_a, &user_1, USER ",\"allowed_connection_types\":[\"standard\",\"MQTT\"]"));
    raw_close(&r);
    kept_out(&w, &user_1,
             user(&acc_a, &user_1, USER ",\"allowed_connection_types\":[\"WEBSOCKET\"]"));
    kept_out(&w, &user_1,
             user(&acc_a, &user_1, USER ",\"allowed_connection_types\":[\"SOMETHING\"]"));
    let_in(
        &r, &w, &user_1,
        user(&acc_a, &user_1, USER ",\"times\":[{\"start\":\"00:00:00\",\"end\":\"23:59:59\"}]"));
    raw_close(&r);
    kept_out(
        &w, &user_1,
        user(&acc_a, &user_1, USER ",\"times\":[{\"start\":\"00:00:00\",\"end\":\"00:00:00\"}]"));
    end(&w);
}

/* What a request to WebSocket says about the address it comes from is no proof of it. */
TEST(a_forwarded_address_is_not_the_source)
{
    static const char *const sources[] = {"10.0.0.0/8", "127.0.0.0/8"};
    struct world w;
    struct raw_client r;
    struct buf text = {0}, fields = {0};
    char *token;

    begin(&w, "");
    preloads(&w);
    put_preload(&w, &acc_a, account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\nwebsocket { listen: \"127.0.0.1:-1\", no_tls: true }\n");
    ready(&w);
    buf_printf(&fields, USER ",\"bearer_token\":true,\"src\":[\"%s\"]", sources[i]);
    token = user(&acc_a, &user_1, buf_cstr(&fields));
    raw_open(&r, w.s.ws_port);
    raw_send(&r, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                 "Nats-No-Masking: true\r\nX-Forwarded-For: 10.1.2.3\r\n\r\n");
    raw_skip(&r, "INFO {");
    raw_skip(&r, "\r\n");
    buf_printf(&text, "CONNECT {\"verbose\":false,\"jwt\":\"%s\"}\r\nPING\r\n", token);
    raw_send_bytes(&r, (char[]){(char) 0x82, 126, (char) (text.n >> 8), (char) text.n}, 4);
    raw_send_bytes(&r, text.p, text.n);
    raw_skip(&r, i == 0 ? "-ERR 'Authorization Violation'\r\n" : "PONG\r\n");
    raw_close(&r);
    mem_free(token);
    buf_free(&text);
    buf_free(&fields);
    end(&w);
}

TEST(users_are_revoked)
{
    struct world w;
    struct raw_client r;
    char fields[200];

    make_keys();
    snprintf(fields, sizeof(fields), "\"revocations\":{\"%s\":%lld,\"*\":1000}", user_1.key,
             (long long) time(NULL) + 1000);
    start_with(&w, fields);
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER));
    let_in(&r, &w, &user_2, user(&acc_a, &user_2, USER));
    raw_close(&r);
    kept_out(&w, &user_2, token_make_at(&acc_a, JWT_USER, user_2.key, "joe", USER, 1000, 0));
    end(&w);
}

TEST(a_login_ends_at_its_time)
{
    struct world w;
    struct raw_client r;

    start_with(&w, "");
    let_in(&r, &w, &user_1,
           token_make_at(&acc_a, JWT_USER, user_1.key, "joe", USER, 0, (int64_t) time(NULL) + 2));
    raw_skip(&r, "-ERR 'User Authentication Expired'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    end(&w);
}

/* ---- changing claims ------------------------------------------------------------------------- */

static void start_dir(struct world *w, const char *operator_fields, const char *resolver)
{
    begin(w, operator_fields);
    buf_printf(&w->text, "resolver: { %s, dir: \"%s/jwt\" }\nresolver_preload: {\n", resolver,
               w->s.dir);
    put_preload(w, &sys, account(&sys, "SYS", ""));
    buf_puts(&w->text, "}\n");
    ready(w);
}

/* The answer without the server's description. */
static void ask(struct raw_client *r, const char *subject, const char *body, const char *wanted)
{
    char *answer = raw_ask(r, subject, body);

    ck_assert_msg(strstr(answer, wanted) != NULL, "%s: %s", subject, answer);
    free(answer);
}

static void push(struct raw_client *r, char *token, const char *wanted)
{
    ask(r, "$SYS.REQ.CLAIMS.UPDATE", token, wanted);
    mem_free(token);
}

TEST(accounts_come_and_change_at_run_time)
{
    struct world w;
    struct raw_client s, r, second;
    char subject[128], wanted[256], *token;

    start_dir(&w, "", "type: full, allow_delete: true");
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER));
    snprintf(wanted, sizeof(wanted),
             "\"data\":{\"account\":\"%s\",\"code\":200,\"message\":\"jwt updated\"}}", acc_a.key);
    push(&s, account(&acc_a, "A", ""), wanted);
    let_in(&r, &w, &user_1, user(&acc_a, &user_1, USER));
    raw_send(&r, "SUB a 1\r\nPUB a 2\r\nhi\r\n");
    raw_skip(&r, "MSG a 1 2\r\nhi\r\n");

    /* One connection at most: the newer one goes. */
    let_in(&second, &w, &user_2, user(&acc_a, &user_2, USER));
    token = token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                       "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                       "\"exports\":-1,\"wildcards\":true,\"conn\":1,\"leaf\":-1}");
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE", acc_a.key);
    ask(&s, subject, token, wanted);
    mem_free(token);
    raw_skip(&second, "-ERR 'maximum account active connections exceeded'\r\n");
    raw_expect_end(&second);
    raw_close(&second);
    raw_fence(&r);

    /* The one that is left is revoked. */
    snprintf(wanted, sizeof(wanted), "\"revocations\":{\"%s\":%lld}", user_1.key,
             (long long) time(NULL) + 1000);
    push(&s, account(&acc_a, "A", wanted), "jwt updated");
    raw_skip(&r, "-ERR 'User Authentication Revoked'\r\n");
    raw_expect_end(&r);
    raw_close(&r);

    /* What the directory has, it has after a restart. */
    raw_close(&s);
    server_process_stop(&w.s);
    server_process_start(&w.s);
    let_in(&r, &w, &user_2, user(&acc_a, &user_2, USER));
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER));

    /* The account goes. */
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "\"message\":\"deleted 1 accounts\"");
    mem_free(token);
    raw_skip(&r, "-ERR 'Account Authentication Expired'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    kept_out(&w, &user_2, user(&acc_a, &user_2, USER));
    raw_close(&s);
    end(&w);
}

/* A server that joins as a user of A whose token needs no signature. */
static void join(struct raw_client *r, const struct world *w, const struct signer *u)
{
    struct buf b = {0};
    char *token = user(&acc_a, u, USER ",\"bearer_token\":true");

    raw_open(r, w->s.leaf_port);
    buf_printf(&b, "CONNECT {\"name\":\"%s\",\"jwt\":\"%s\"}\r\nPING\r\n", u->key, token);
    raw_send(r, buf_cstr(&b));
    raw_skip(r, "PONG\r\n");
    buf_free(&b);
    mem_free(token);
}

TEST(claims_are_for_servers_that_joined_too)
{
    struct world w;
    struct raw_client s, one, two;
    char wanted[256], *token;

    begin(&w, "");
    buf_printf(&w.text, "resolver: { type: full, allow_delete: true, dir: \"%s/jwt\" }\n", w.s.dir);
    buf_puts(&w.text, "leafnodes { listen: \"127.0.0.1:-1\" }\nresolver_preload: {\n");
    put_preload(&w, &sys, account(&sys, "SYS", ""));
    put_preload(&w, &acc_a, account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\n");
    ready(&w);
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    join(&one, &w, &user_1);
    join(&two, &w, &user_2);

    snprintf(wanted, sizeof(wanted), "\"revocations\":{\"%s\":%lld}", user_1.key,
             (long long) time(NULL) + 1000);
    push(&s, account(&acc_a, "A", wanted), "jwt updated");
    raw_skip(&one, "-ERR 'User Authentication Revoked'\r\n");
    raw_expect_end(&one);
    raw_close(&one);
    raw_send(&two, "PING\r\n");
    raw_skip(&two, "PONG\r\n");

    /* Other permissions: it has to come back. */
    push(&s, account(&acc_a, "A", "\"default_permissions\":{\"pub\":{\"deny\":[\"x\"]}}"),
         "jwt updated");
    raw_expect_end(&two);
    raw_close(&two);

    join(&one, &w, &user_1);
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "\"message\":\"deleted 1 accounts\"");
    mem_free(token);
    raw_skip(&one, "-ERR 'Account Authentication Expired'\r\n");
    raw_expect_end(&one);
    raw_close(&one);
    raw_close(&s);
    end(&w);
}

static void claims_answers(struct raw_client *s)
{
    char subject[128], wanted[600], *token, *answer;

    ask(s, "$SYS.REQ.CLAIMS.UPDATE", "nonsense",
        "\"error\":{\"account\":\"n/a\",\"code\":500,\"description\":\"jwt update resulted in "
        "error "
        "- expected 3 chunks\"}}");
    token = account(&acc_a, "A", "\"exports\":[{\"subject\":\"a b\",\"type\":\"stream\"}]");
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"account\":\"%s\",\"code\":500,\"description\":\"jwt validation failed - "
             "validation errors: [subject \\\"a b\\\" cannot have spaces]\"}}",
             acc_a.key);
    ask(s, "$SYS.REQ.CLAIMS.UPDATE", token, wanted);
    mem_free(token);
    token = account(&acc_a, "A", "");
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE", acc_b.key);
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"account\":\"%s\",\"code\":500,\"description\":\"jwt update resulted in "
             "error - subject does not match jwt content\"}}",
             acc_b.key);
    ask(s, subject, token, wanted);
    ask(s, "$SYS.REQ.CLAIMS.UPDATE", token, "jwt updated");
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP", acc_a.key);
    answer = raw_ask(s, subject, "");
    ck_assert_str_eq(answer, token);
    free(answer);
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.LOOKUP", acc_b.key);
    answer = raw_ask(s, subject, "");
    ck_assert_str_eq(answer, "");
    free(answer);
    answer = raw_ask(s, "$SYS.REQ.CLAIMS.LIST", "");
    ck_assert_msg(strncmp(answer, "{\"data\":[\"", 10) == 0 && strstr(answer, acc_a.key) != NULL &&
                      strstr(answer, sys.key) != NULL && strstr(answer, "],\"server\":{") != NULL,
                  "%s", answer);
    free(answer);
    mem_free(token);
}

TEST(what_requests_about_claims_answer)
{
    struct world w;
    struct raw_client s;
    struct raw_msg m;
    char wanted[256], *token;
    bool seen_a = false;

    start_dir(&w, "", "type: full");
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    claims_answers(&s);
    /* Not without leave, not by others. */
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"code\":500,\"description\":\"delete accounts request by %s failed - "
             "delete must be enabled in server config\"}}",
             op.key);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, wanted);
    mem_free(token);
    /* Everything, one by one, then nothing. */
    raw_send(&s, "SUB pack 9\r\nPUB $SYS.REQ.CLAIMS.PACK pack 0\r\n\r\n");
    do {
        raw_msg(&s, &m);
        seen_a |= m.n > 57 && strncmp(m.body, acc_a.key, 56) == 0 && m.body[56] == '|';
        free(m.body);
    } while (m.n > 0);
    ck_assert(seen_a);
    raw_close(&s);
    end(&w);
}

TEST(deletes_are_the_operators)
{
    struct world w;
    struct raw_client s;
    char fields[256], wanted[256], *token;

    start_dir(&w, "", "type: full, allow_delete: true");
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    snprintf(fields, sizeof(fields), "\"accounts\":[\"%s\"]", sys.key);
    snprintf(wanted, sizeof(wanted),
             "delete accounts request by %s failed - not allowed to delete system account", op.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", fields);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, wanted);
    mem_free(token);
    token = token_make(&op_key, JWT_GENERIC, op_key.key, "", fields);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - not trusted");
    mem_free(token);
    token = token_make(&op_key, JWT_GENERIC, op.key, "", fields);
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - not self signed");
    mem_free(token);
    token = token_make(&op, JWT_GENERIC, op.key, "", "\"accounts\":[\"x\"]");
    ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - malformed request");
    mem_free(token);
    raw_close(&s);
    end(&w);
}

/* Links are made and taken away while clients are there. */
TEST(imports_follow_the_exporter)
{
    struct world w;
    struct raw_client s, a, b;
    char fields[400];

    start_dir(&w, "", "type: full");
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\"}]",
             acc_a.key);
    push(&s, account(&acc_a, "A", ""), "jwt updated");
    push(&s, account(&acc_b, "B", fields), "jwt updated");
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    let_in(&b, &w, &user_2, user(&acc_b, &user_2, USER));
    raw_send(&b, "SUB out.> 1\r\nSUB mark 2\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "PUB out.1 1\r\n1\r\n");
    raw_fence(&a);
    raw_fence(&b); /* nothing came */
    push(&s,
         account(&acc_a, "A",
                 "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\"}]"),
         "jwt updated");
    raw_send(&a, "PUB out.2 1\r\n2\r\n");
    raw_fence(&a);
    raw_skip(&b, "MSG out.2 1 1\r\n2\r\n");
    push(&s, account(&acc_a, "A", ""), "jwt updated");
    raw_send(&a, "PUB out.3 1\r\n3\r\n");
    raw_fence(&a);
    raw_fence(&b);
    raw_close(&a);
    raw_close(&b);
    raw_close(&s);
    end(&w);
}

/* An export on demand takes an activation, until it is taken back. */
TEST(activations_open_private_exports)
{
    struct world w;
    struct raw_client s, a, b;
    char fields[3000], *activation;

    start_dir(&w, "", "type: full");
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    push(&s,
         account(&acc_a, "A",
                 "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\","
                 "\"token_req\":true}]"),
         "jwt updated");
    activation = token_make(&acc_a, JWT_ACTIVATION, acc_b.key, "act",
                            "\"subject\":\"out.>\",\"kind\":\"stream\"");
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\",\"token\":\"%s\"}]",
             acc_a.key, activation);
    push(&s, account(&acc_b, "B", fields), "jwt updated");
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    let_in(&b, &w, &user_2, user(&acc_b, &user_2, USER));
    raw_send(&b, "SUB out.> 1\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "PUB out.1 1\r\n1\r\n");
    raw_skip(&b, "MSG out.1 1 1\r\n1\r\n");
    snprintf(fields, sizeof(fields),
             "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\","
             "\"token_req\":true,\"revocations\":{\"%s\":%lld}}]",
             acc_b.key, (long long) time(NULL) + 1000);
    push(&s, account(&acc_a, "A", fields), "jwt updated");
    raw_send(&a, "PUB out.2 1\r\n2\r\n");
    raw_fence(&a);
    raw_fence(&b);
    mem_free(activation);
    raw_close(&a);
    raw_close(&b);
    raw_close(&s);
    end(&w);
}

/* An account that comes at run time has JetStream at once, with its limits. */
TEST(jetstream_of_an_account_that_comes)
{
    struct world w;
    struct raw_client s, a;

    begin(&w, "");
    buf_printf(&w.text, "resolver: { type: full, dir: \"%s/jwt\" }\nresolver_preload: {\n",
               w.s.dir);
    put_preload(&w, &sys, account(&sys, "SYS", ""));
    buf_puts(&w.text, "}\n");
    ready(&w);
    let_in(&s, &w, &sys_user, user(&sys, &sys_user, USER));
    push(&s, account(&acc_a, "A", ""), "jwt updated");
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    ask(&a, "$JS.API.INFO", "", "\"err_code\":10039");
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                    "\"exports\":-1,\"wildcards\":true,\"conn\":-1,\"leaf\":-1,"
                    "\"mem_storage\":-1,\"disk_storage\":1000000,\"streams\":1,\"consumer\":-1}"),
         "jwt updated");
    ask(&a, "$JS.API.INFO", "", "\"max_storage\":1000000,\"max_streams\":1");
    ask(&a, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}", "\"name\":\"S\"");
    ask(&a, "s", "hello", "{\"stream\":\"S\",\"seq\":1}");
    ask(&a, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\"}", "maximum number of streams reached");
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                    "\"exports\":-1,\"wildcards\":true,\"conn\":-1,\"leaf\":-1,\"tiered_limits\":"
                    "{\"R1\":{\"disk_storage\":2000000,\"streams\":-1,\"consumer\":-1}}}"),
         "jwt updated");
    ask(&a, "$JS.API.INFO", "", "\"tiers\":{\"R1\":{\"memory\":0,");
    ask(&a, "$JS.API.INFO", "", "\"max_storage\":2000000,\"max_streams\":-1,\"max_consumers\":-1");
    ask(&a, "$JS.API.INFO", "", "\"streams\":1,\"consumers\":0,\"limits\":{\"max_memory\":0,");
    ask(&a, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\"}", "\"did_create\":true");
    /* Tiers of which one server is none. */
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,"
                    "\"exports\":-1,\"wildcards\":true,\"conn\":-1,\"leaf\":-1,\"tiered_limits\":"
                    "{\"R3\":{\"disk_storage\":2000000,\"streams\":-1,\"consumer\":-1}}}"),
         "jwt updated");
    ask(&a, "$JS.API.STREAM.CREATE.U", "{\"name\":\"U\"}",
        "\"code\":400,\"err_code\":10120,"
        "\"description\":\"no JetStream default or applicable tiered limit present\"");
    ask(&a, "$JS.API.STREAM.UPDATE.T", "{\"name\":\"T\"}", "\"err_code\":10120");
    raw_close(&a);
    raw_close(&s);
    /* It is there after a restart. */
    server_process_stop(&w.s);
    server_process_start(&w.s);
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    ask(&a, "$JS.API.STREAM.INFO.S", "", "\"messages\":1");
    raw_close(&a);
    end(&w);
}

/* Who must sign accounts, and users. */
TEST(strict_operators)
{
    struct world w;
    struct raw_client s;
    char fields[400], more[400], *token;

    make_keys();
    snprintf(fields, sizeof(fields), "\"signing_keys\":[\"%s\"],\"strict_signing_key_usage\":true",
             op_key.key);
    begin(&w, fields);
    buf_printf(&w.text, "resolver: { type: full, dir: \"%s/jwt\" }\nresolver_preload: {\n",
               w.s.dir);
    snprintf(more, sizeof(more), "%s,\"signing_keys\":[\"%s\"]", UNLIMITED, key_a.key);
    put_preload(&w, &sys, token_make(&op_key, JWT_ACCOUNT, sys.key, "SYS", more));
    buf_puts(&w.text, "}\n");
    ready(&w);
    kept_out(&w, &sys_user, user(&sys, &sys_user, USER));
    snprintf(more, sizeof(more), "%s,\"issuer_account\":\"%s\"", USER, sys.key);
    let_in(&s, &w, &sys_user, user(&key_a, &sys_user, more));
    push(&s, account(&acc_a, "A", ""), "operator requires issuer to be a signing key");
    token = token_make(&op_key, JWT_ACCOUNT, acc_a.key, "A", UNLIMITED);
    push(&s, token, "jwt updated");
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER));
    raw_close(&s);
    end(&w);
}

/* ---- a server of tokens ---------------------------------------------------------------------- */

struct shelf {
    const char *path;
    char *token;
};

static void serve_one(int fd, const struct shelf *shelf, size_t n)
{
    char text[2048] = "", head[128];
    const char *body = NULL;
    size_t got = 0;

    while (strstr(text, "\r\n\r\n") == NULL && got < sizeof(text) - 1) {
        ssize_t more = recv(fd, text + got, sizeof(text) - 1 - got, 0);
        if (more <= 0)
            break;
        got += (size_t) more;
        text[got] = '\0';
    }
    for (size_t i = 0; i < n; i++)
        if (strncmp(text + 4, shelf[i].path, strlen(shelf[i].path)) == 0 &&
            text[4 + strlen(shelf[i].path)] == ' ')
            body = shelf[i].token;
    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
             body != NULL ? "200 OK" : "404 Not Found", body != NULL ? strlen(body) : 0);
    send(fd, head, strlen(head), MSG_NOSIGNAL);
    if (body != NULL)
        send(fd, body, strlen(body), MSG_NOSIGNAL);
    close(fd);
}

/* A child that answers until it is killed. */
static pid_t serve(const struct shelf *shelf, size_t n, uint16_t *port)
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *) (void *) &at, sizeof(at)), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) (void *) &at, &len), 0);
    *port = ntohs(at.sin_port);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    while (pid == 0) {
        int c = accept(fd, NULL, NULL);
        if (c < 0)
            _exit(0);
        serve_one(c, shelf, n);
    }
    close(fd);
    return pid;
}

TEST(accounts_come_over_http)
{
    struct world w;
    struct raw_client a, b;
    uint16_t port;
    pid_t pid;
    char fields[400], path[2][80];
    struct shelf shelf[3] = {{"/jwt/", NULL}, {path[0], NULL}, {path[1], NULL}};

    begin(&w, "");
    snprintf(path[0], sizeof(path[0]), "/jwt/%s", acc_a.key);
    snprintf(path[1], sizeof(path[1]), "/jwt/%s", acc_b.key);
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out\",\"account\":\"%s\",\"type\":"
             "\"stream\"}]",
             acc_a.key);
    shelf[0].token = mem_strdup("here");
    shelf[1].token = account(&acc_a, "A",
                             "\"exports\":[{\"name\":\"s\",\"subject\":\"out\",\"type\":"
                             "\"stream\"}]");
    shelf[2].token = account(&acc_b, "B", fields);
    pid = serve(shelf, 3, &port);
    buf_printf(&w.text, "resolver: URL(http://127.0.0.1:%u/jwt)\n", port);
    ready(&w);
    /* B comes with the account that it imports from. */
    let_in(&b, &w, &user_2, user(&acc_b, &user_2, USER));
    raw_send(&b, "SUB out 1\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    let_in(&a, &w, &user_1, user(&acc_a, &user_1, USER));
    raw_send(&a, "PUB out 1\r\n1\r\n");
    raw_skip(&b, "MSG out 1 1\r\n1\r\n");
    /* One that the server does not have. */
    kept_out(&w, &user_1, user(&key_a, &user_1, USER));
    raw_close(&a);
    raw_close(&b);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    end(&w);
    for (size_t k = 0; k < 3; k++)
        mem_free(shelf[k].token);
}

/* Names in the claims are told; a proxy that is asked for has to be there. */
TEST(names_and_proxies_of_users)
{
    struct world w;
    struct raw_client r;
    char wanted[200];

    start_with(&w, "");
    let_in(
        &r, &w, &user_1,
        token_make_at(&acc_a, JWT_USER, user_1.key, "joe", USER, 0, (int64_t) time(NULL) + 1000));
    snprintf(wanted, sizeof(wanted),
             "\"data\":{\"user\":\"%s\",\"account\":\"%s\",\"account_name\":\"A\","
             "\"user_name\":\"joe\"",
             user_1.key, acc_a.key);
    ask(&r, "$SYS.REQ.USER.INFO", "", wanted);
    ask(&r, "$SYS.REQ.USER.INFO", "", "\"expires\":99");
    raw_close(&r);
    kept_out(&w, &user_1, user(&acc_a, &user_1, USER ",\"proxy_required\":true"));
    end(&w);
}

TEST(a_default_sentinel_speaks_for_those_without_claims)
{
    struct world w;
    struct raw_client r;
    char *token;

    begin(&w, "");
    token = user(&acc_a, &user_1, USER ",\"bearer_token\":true");
    buf_printf(&w.text, "default_sentinel: %s\n", token);
    mem_free(token);
    preloads(&w);
    put_preload(&w, &acc_a, account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\n");
    ready(&w);
    raw_open(&r, w.s.port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    raw_expect(&r, "PONG\r\n");
    raw_close(&r);
    end(&w);
}

static const struct runner_case cases[] = {
    RUN(users_get_in_with_claims_alone),
    RUN(accounts_are_worlds_of_their_own),
    RUN(permissions_and_limits_of_users),
    RUN(signing_keys_and_scopes),
    RUN(bearer_sources_and_kinds_of_connections),
    RUN_LOOP(a_forwarded_address_is_not_the_source, 0, 2),
    RUN(users_are_revoked),
    RUN(a_login_ends_at_its_time),
    RUN(accounts_come_and_change_at_run_time),
    RUN(claims_are_for_servers_that_joined_too),
    RUN(what_requests_about_claims_answer),
    RUN(deletes_are_the_operators),
    RUN(imports_follow_the_exporter),
    RUN(activations_open_private_exports),
    RUN(jetstream_of_an_account_that_comes),
    RUN(strict_operators),
    RUN(accounts_come_over_http),
    RUN(names_and_proxies_of_users),
    RUN(a_default_sentinel_speaks_for_those_without_claims),
};

RUNNER_MAIN("api/operator", cases)
