/* Operator mode over the wire: claims that change while the server runs, by requests and by a
 * server of tokens. */
#include "lib/base/mem.h"
#include "tests/api/operator_rig.h"
#include "tests/lib/child_server.h"
#include "tests/lib/runner.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void begin_dir(struct operator_world *w, const char *operator_fields, const char *resolver)
{
    operator_begin(w, operator_fields);
    buf_printf(&w->text, "resolver: { %s, dir: \"%s/jwt\" }\nresolver_preload: {\n", resolver,
               w->s.dir);
    operator_put_preload(w, &sys, operator_account(&sys, "SYS", ""));
    buf_puts(&w->text, "}\n");
}

static void start_dir(struct operator_world *w, const char *operator_fields, const char *resolver)
{
    begin_dir(w, operator_fields, resolver);
    operator_ready(w);
}

static void push(struct raw_client *r, char *token, const char *wanted)
{
    operator_ask(r, "$SYS.REQ.CLAIMS.UPDATE", token, wanted);
    mem_free(token);
}

static char *with_connections(unsigned n)
{
    char fields[200];

    snprintf(fields, sizeof(fields),
             "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"
             "\"wildcards\":true,\"conn\":%u,\"leaf\":-1}",
             n);
    return token_make(&op, JWT_ACCOUNT, acc_a.key, "A", fields);
}

/* The newest go, whichever of the workers they are with. */
TEST(claims_with_fewer_connections)
{
    enum { MANY = 12, LEFT = 5 };
    struct operator_world w;
    struct raw_client s, c[MANY];

    begin_dir(&w, "", "type: full");
    buf_puts(&w.text, "midge { workers: 2, spread: true }\n");
    operator_ready(&w);
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    for (int k = 0; k < MANY; k++)
        operator_let_in(&c[k], &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    push(&s, with_connections(LEFT), "jwt updated");
    for (int k = LEFT; k < MANY; k++) {
        raw_skip(&c[k], "-ERR 'maximum account active connections exceeded'\r\n");
        raw_expect_end(&c[k]);
    }
    for (int k = 0; k < LEFT; k++)
        raw_fence(&c[k]);
    for (int k = 0; k < MANY; k++)
        raw_close(&c[k]);
    raw_close(&s);
    operator_end(&w);
}

TEST(the_log_says_by_whose_word_one_is_in)
{
    struct operator_world w;
    struct raw_client s, r;
    char text[512];

    begin_dir(&w, "", "type: full");
    buf_puts(&w.text, "debug: true\n");
    operator_ready(&w);
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    operator_let_in(&r, &w, &user_1,
                    token_make(&acc_a, JWT_USER, user_1.key, "one", UNLIMITED_USER));
    snprintf(text, sizeof(text),
             "Authenticated JWT: Client \"%s\" (claim-name: \"one\", claim-tags: []) signed with "
             "\"%s\" by Account \"%s\" (claim-name: \"A\", claim-tags: []) signed with \"",
             user_1.key, acc_a.key, acc_a.key);
    server_process_log_wait(&w.s, text);
    raw_close(&r);
    raw_close(&s);
    operator_end(&w);
}

TEST(accounts_come_and_change_at_run_time)
{
    struct operator_world w;
    struct raw_client s, r, second, watch;
    char subject[128], wanted[256], *token;

    start_dir(&w, "", "type: full, allow_delete: true");
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    operator_let_in(&watch, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    raw_send(&watch, "SUB $SYS.ACCOUNT.*.DISCONNECT 1\r\n");
    raw_fence(&watch);
    operator_kept_out(&w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    snprintf(wanted, sizeof(wanted),
             "\"data\":{\"account\":\"%s\",\"code\":200,\"message\":\"jwt updated\"}}", acc_a.key);
    push(&s, operator_account(&acc_a, "A", ""), wanted);
    operator_let_in(&r, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    raw_send(&r, "SUB a 1\r\nPUB a 2\r\nhi\r\n");
    raw_skip(&r, "MSG a 1 2\r\nhi\r\n");

    /* One connection at most: the newer one goes. */
    operator_let_in(&second, &w, &user_2, operator_user(&acc_a, &user_2, UNLIMITED_USER));
    token = with_connections(1);
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE", acc_a.key);
    operator_ask(&s, subject, token, wanted);
    snprintf(subject, sizeof(subject), "$SYS.ACCOUNT.%s.CLAIMS.UPDATE", acc_a.key);
    operator_ask(&s, subject, token, wanted); /* its older name */
    mem_free(token);
    raw_skip(&second, "-ERR 'maximum account active connections exceeded'\r\n");
    raw_expect_end(&second);
    raw_close(&second);
    raw_fence(&r);

    /* The one that is left is revoked. */
    snprintf(wanted, sizeof(wanted), "\"revocations\":{\"%s\":%lld}", user_1.key,
             (long long) time(NULL) + 1000);
    push(&s, operator_account(&acc_a, "A", wanted), "jwt updated");
    raw_skip(&r, "-ERR 'User Authentication Revoked'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    snprintf(wanted, sizeof(wanted), "\"issuer_key\":\"%s\"", acc_a.key);
    raw_skip(&watch, wanted);
    raw_skip(&watch, "\"reason\":\"Credentials Revoked\"}");
    raw_close(&watch);

    /* What the directory has, it has after a restart. */
    raw_close(&s);
    server_process_stop(&w.s);
    server_process_start(&w.s);
    operator_let_in(&r, &w, &user_2, operator_user(&acc_a, &user_2, UNLIMITED_USER));
    operator_kept_out(&w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));

    /* The account goes. */
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "\"message\":\"deleted 1 accounts\"");
    mem_free(token);
    raw_skip(&r, "-ERR 'Account Authentication Expired'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    operator_kept_out(&w, &user_2, operator_user(&acc_a, &user_2, UNLIMITED_USER));
    raw_close(&s);
    operator_end(&w);
}

/* A server that joins as a user of A whose token needs no signature. */
static void join(struct raw_client *r, const struct operator_world *w, const struct signer *u)
{
    struct buf b = {0};
    char *token = operator_user(&acc_a, u, UNLIMITED_USER ",\"bearer_token\":true");

    raw_open(r, w->s.leaf_port);
    buf_printf(&b, "CONNECT {\"name\":\"%s\",\"jwt\":\"%s\"}\r\nPING\r\n", u->key, token);
    raw_send(r, buf_cstr(&b));
    raw_skip(r, "PONG\r\n");
    buf_free(&b);
    mem_free(token);
}

TEST(claims_are_for_servers_that_joined_too)
{
    struct operator_world w;
    struct raw_client s, one, two;
    char wanted[256], *token;

    operator_begin(&w, "");
    buf_printf(&w.text, "resolver: { type: full, allow_delete: true, dir: \"%s/jwt\" }\n", w.s.dir);
    buf_puts(&w.text, "leafnodes { listen: \"127.0.0.1:-1\" }\nresolver_preload: {\n");
    operator_put_preload(&w, &sys, operator_account(&sys, "SYS", ""));
    operator_put_preload(&w, &acc_a, operator_account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    join(&one, &w, &user_1);
    join(&two, &w, &user_2);

    snprintf(wanted, sizeof(wanted), "\"revocations\":{\"%s\":%lld}", user_1.key,
             (long long) time(NULL) + 1000);
    push(&s, operator_account(&acc_a, "A", wanted), "jwt updated");
    raw_skip(&one, "-ERR 'User Authentication Revoked'\r\n");
    raw_expect_end(&one);
    raw_close(&one);
    raw_send(&two, "PING\r\n");
    raw_skip(&two, "PONG\r\n");

    /* Other permissions: it has to come back. */
    push(&s, operator_account(&acc_a, "A", "\"default_permissions\":{\"pub\":{\"deny\":[\"x\"]}}"),
         "jwt updated");
    raw_expect_end(&two);
    raw_close(&two);

    join(&one, &w, &user_1);
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "\"message\":\"deleted 1 accounts\"");
    mem_free(token);
    raw_skip(&one, "-ERR 'Account Authentication Expired'\r\n");
    raw_expect_end(&one);
    raw_close(&one);
    raw_close(&s);
    operator_end(&w);
}

static void claims_answers(struct raw_client *s)
{
    char subject[128], wanted[600], *token, *answer;

    operator_ask(
        s, "$SYS.REQ.CLAIMS.UPDATE", "nonsense",
        "\"error\":{\"account\":\"n/a\",\"code\":500,\"description\":\"jwt update resulted in "
        "error "
        "- expected 3 chunks\"}}");
    token = operator_account(&acc_a, "A",
                             "\"exports\":[{\"subject\":\"a b\",\"type\":\"stream\"}]");
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"account\":\"%s\",\"code\":500,\"description\":\"jwt validation failed - "
             "validation errors: [subject \\\"a b\\\" cannot have spaces]\"}}",
             acc_a.key);
    operator_ask(s, "$SYS.REQ.CLAIMS.UPDATE", token, wanted);
    mem_free(token);
    token = operator_account(&acc_a, "A", "");
    snprintf(subject, sizeof(subject), "$SYS.REQ.ACCOUNT.%s.CLAIMS.UPDATE", acc_b.key);
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"account\":\"%s\",\"code\":500,\"description\":\"jwt update resulted in "
             "error - subject does not match jwt content\"}}",
             acc_b.key);
    operator_ask(s, subject, token, wanted);
    operator_ask(s, "$SYS.REQ.CLAIMS.UPDATE", token, "jwt updated");
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
    struct operator_world w;
    struct raw_client s;
    struct raw_msg m;
    char wanted[256], *token;
    bool seen_a = false;

    start_dir(&w, "", "type: full");
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    claims_answers(&s);
    /* Not without leave, not by others. */
    snprintf(wanted, sizeof(wanted), "\"accounts\":[\"%s\"]", acc_a.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", wanted);
    snprintf(wanted, sizeof(wanted),
             "\"error\":{\"code\":500,\"description\":\"delete accounts request by %s failed - "
             "delete must be enabled in server config\"}}",
             op.key);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, wanted);
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
    operator_end(&w);
}

TEST(deletes_are_the_operators)
{
    struct operator_world w;
    struct raw_client s;
    char fields[256], wanted[256], *token;

    start_dir(&w, "", "type: full, allow_delete: true");
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    snprintf(fields, sizeof(fields), "\"accounts\":[\"%s\"]", sys.key);
    snprintf(wanted, sizeof(wanted),
             "delete accounts request by %s failed - not allowed to delete system account", op.key);
    token = token_make(&op, JWT_GENERIC, op.key, "", fields);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, wanted);
    mem_free(token);
    token = token_make(&op_key, JWT_GENERIC, op_key.key, "", fields);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - not trusted");
    mem_free(token);
    token = token_make(&op_key, JWT_GENERIC, op.key, "", fields);
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - not self signed");
    mem_free(token);
    token = token_make(&op, JWT_GENERIC, op.key, "", "\"accounts\":[\"x\"]");
    operator_ask(&s, "$SYS.REQ.CLAIMS.DELETE", token, "failed - malformed request");
    mem_free(token);
    raw_close(&s);
    operator_end(&w);
}

/* Links are made and taken away while clients are there. */
TEST(imports_follow_the_exporter)
{
    struct operator_world w;
    struct raw_client s, a, b;
    char fields[400];

    start_dir(&w, "", "type: full");
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\"}]",
             acc_a.key);
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    push(&s, operator_account(&acc_b, "B", fields), "jwt updated");
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_let_in(&b, &w, &user_2, operator_user(&acc_b, &user_2, UNLIMITED_USER));
    raw_send(&b, "SUB out.> 1\r\nSUB mark 2\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "PUB out.1 1\r\n1\r\n");
    raw_fence(&a);
    raw_fence(&b); /* nothing came */
    push(&s,
         operator_account(
             &acc_a, "A",
             "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\"}]"),
         "jwt updated");
    raw_send(&a, "PUB out.2 1\r\n2\r\n");
    raw_fence(&a);
    raw_skip(&b, "MSG out.2 1 1\r\n2\r\n");
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    raw_send(&a, "PUB out.3 1\r\n3\r\n");
    raw_fence(&a);
    raw_fence(&b);
    raw_close(&a);
    raw_close(&b);
    raw_close(&s);
    operator_end(&w);
}

/* An export on demand takes an activation, until it is taken back. */
TEST(activations_open_private_exports)
{
    struct operator_world w;
    struct raw_client s, a, b;
    char fields[3000], *activation;

    start_dir(&w, "", "type: full");
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    push(&s,
         operator_account(&acc_a, "A",
                          "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\","
                          "\"token_req\":true}]"),
         "jwt updated");
    activation = token_make(&acc_a, JWT_ACTIVATION, acc_b.key, "act",
                            "\"subject\":\"out.>\",\"kind\":\"stream\"");
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\",\"token\":\"%s\"}]",
             acc_a.key, activation);
    push(&s, operator_account(&acc_b, "B", fields), "jwt updated");
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_let_in(&b, &w, &user_2, operator_user(&acc_b, &user_2, UNLIMITED_USER));
    raw_send(&b, "SUB out.> 1\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "PUB out.1 1\r\n1\r\n");
    raw_skip(&b, "MSG out.1 1 1\r\n1\r\n");
    snprintf(fields, sizeof(fields),
             "\"exports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"type\":\"stream\","
             "\"token_req\":true,\"revocations\":{\"%s\":%lld}}]",
             acc_b.key, (long long) time(NULL) + 1000);
    push(&s, operator_account(&acc_a, "A", fields), "jwt updated");
    raw_send(&a, "PUB out.2 1\r\n2\r\n");
    raw_fence(&a);
    raw_fence(&b);
    mem_free(activation);
    raw_close(&a);
    raw_close(&b);
    raw_close(&s);
    operator_end(&w);
}

/* An account that comes at run time has JetStream at once, with its limits. */
TEST(jetstream_of_an_account_that_comes)
{
    struct operator_world w;
    struct raw_client s, a;

    operator_begin(&w, "");
    buf_printf(&w.text, "resolver: { type: full, dir: \"%s/jwt\" }\nresolver_preload: {\n",
               w.s.dir);
    operator_put_preload(&w, &sys, operator_account(&sys, "SYS", ""));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    operator_let_in(&s, &w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    push(&s, operator_account(&acc_a, "A", ""), "jwt updated");
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_ask(&a, "$JS.API.INFO", "", "\"err_code\":10039");
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{" UNLIMITED_FIELDS ","
                    "\"mem_storage\":-1,\"disk_storage\":1000000,\"streams\":1,\"consumer\":-1}"),
         "jwt updated");
    operator_ask(&a, "$JS.API.INFO", "", "\"max_storage\":1000000,\"max_streams\":1");
    operator_ask(&a, "$JS.API.STREAM.CREATE.S", "{\"name\":\"S\",\"subjects\":[\"s\"]}",
                 "\"name\":\"S\"");
    operator_ask(&a, "s", "hello", "{\"stream\":\"S\",\"seq\":1}");
    operator_ask(&a, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\"}",
                 "maximum number of streams reached");
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{" UNLIMITED_FIELDS ",\"tiered_limits\":"
                    "{\"R1\":{\"disk_storage\":2000000,\"streams\":-1,\"consumer\":-1}}}"),
         "jwt updated");
    operator_ask(&a, "$JS.API.INFO", "", "\"tiers\":{\"R1\":{\"memory\":0,");
    operator_ask(&a, "$JS.API.INFO", "",
                 "\"max_storage\":2000000,\"max_streams\":-1,\"max_consumers\":-1");
    operator_ask(&a, "$JS.API.INFO", "",
                 "\"streams\":1,\"consumers\":0,\"limits\":{\"max_memory\":0,");
    operator_ask(&a, "$JS.API.STREAM.CREATE.T", "{\"name\":\"T\"}", "\"did_create\":true");
    /* Tiers of which one server is none. */
    push(&s,
         token_make(&op, JWT_ACCOUNT, acc_a.key, "A",
                    "\"limits\":{" UNLIMITED_FIELDS ",\"tiered_limits\":"
                    "{\"R3\":{\"disk_storage\":2000000,\"streams\":-1,\"consumer\":-1}}}"),
         "jwt updated");
    operator_ask(&a, "$JS.API.STREAM.CREATE.U", "{\"name\":\"U\"}",
                 "\"code\":400,\"err_code\":10120,"
                 "\"description\":\"no JetStream default or applicable tiered limit present\"");
    operator_ask(&a, "$JS.API.STREAM.UPDATE.T", "{\"name\":\"T\"}", "\"err_code\":10120");
    raw_close(&a);
    raw_close(&s);
    /* It is there after a restart. */
    server_process_stop(&w.s);
    server_process_start(&w.s);
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_ask(&a, "$JS.API.STREAM.INFO.S", "", "\"messages\":1");
    raw_close(&a);
    operator_end(&w);
}

/* Who must sign accounts, and users. */
TEST(strict_operators)
{
    struct operator_world w;
    struct raw_client s;
    char fields[400], more[400], *token;

    operator_make_keys();
    snprintf(fields, sizeof(fields), "\"signing_keys\":[\"%s\"],\"strict_signing_key_usage\":true",
             op_key.key);
    operator_begin(&w, fields);
    buf_printf(&w.text, "resolver: { type: full, dir: \"%s/jwt\" }\nresolver_preload: {\n",
               w.s.dir);
    snprintf(more, sizeof(more), "%s,\"signing_keys\":[\"%s\"]", UNLIMITED, key_a.key);
    operator_put_preload(&w, &sys, token_make(&op_key, JWT_ACCOUNT, sys.key, "SYS", more));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    operator_kept_out(&w, &sys_user, operator_user(&sys, &sys_user, UNLIMITED_USER));
    snprintf(more, sizeof(more), "%s,\"issuer_account\":\"%s\"", UNLIMITED_USER, sys.key);
    operator_let_in(&s, &w, &sys_user, operator_user(&key_a, &sys_user, more));
    push(&s, operator_account(&acc_a, "A", ""), "operator requires issuer to be a signing key");
    token = token_make(&op_key, JWT_ACCOUNT, acc_a.key, "A", UNLIMITED);
    push(&s, token, "jwt updated");
    operator_kept_out(&w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    raw_close(&s);
    operator_end(&w);
}

/* ---- a server of tokens ---------------------------------------------------------------------- */

struct shelf {
    const char *path;
    char *token;
};

#define SHELVES 3

static void serve_one(void *ctx, int fd)
{
    const struct shelf *shelf = ctx;
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
    for (size_t i = 0; i < SHELVES; i++)
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

TEST(accounts_come_over_http)
{
    struct operator_world w;
    struct raw_client a, b;
    uint16_t port;
    pid_t pid;
    char fields[400], path[2][80];
    struct shelf shelf[SHELVES] = {{"/jwt/", NULL}, {path[0], NULL}, {path[1], NULL}};

    operator_begin(&w, "");
    snprintf(path[0], sizeof(path[0]), "/jwt/%s", acc_a.key);
    snprintf(path[1], sizeof(path[1]), "/jwt/%s", acc_b.key);
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out\",\"account\":\"%s\",\"type\":"
             "\"stream\"}]",
             acc_a.key);
    shelf[0].token = mem_strdup("here");
    shelf[1].token = operator_account(&acc_a, "A",
                                      "\"exports\":[{\"name\":\"s\",\"subject\":\"out\",\"type\":"
                                      "\"stream\"}]");
    shelf[2].token = operator_account(&acc_b, "B", fields);
    pid = child_server_start(serve_one, shelf, &port);
    buf_printf(&w.text, "resolver: URL(http://127.0.0.1:%u/jwt)\n", port);
    operator_ready(&w);
    /* B comes with the account that it imports from. */
    operator_let_in(&b, &w, &user_2, operator_user(&acc_b, &user_2, UNLIMITED_USER));
    raw_send(&b, "SUB out 1\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    raw_send(&a, "PUB out 1\r\n1\r\n");
    raw_skip(&b, "MSG out 1 1\r\n1\r\n");
    /* One that the server does not have. */
    operator_kept_out(&w, &user_1, operator_user(&key_a, &user_1, UNLIMITED_USER));
    raw_close(&a);
    raw_close(&b);
    child_server_kill(pid);
    operator_end(&w);
    for (size_t k = 0; k < SHELVES; k++)
        mem_free(shelf[k].token);
}

static const struct runner_case cases[] = {
    RUN(claims_with_fewer_connections),
    RUN(the_log_says_by_whose_word_one_is_in),
    RUN(accounts_come_and_change_at_run_time),
    RUN(claims_are_for_servers_that_joined_too),
    RUN(what_requests_about_claims_answer),
    RUN(deletes_are_the_operators),
    RUN(imports_follow_the_exporter),
    RUN(activations_open_private_exports),
    RUN(jetstream_of_an_account_that_comes),
    RUN(strict_operators),
    RUN(accounts_come_over_http),
};

RUNNER_MAIN("api/operator_claims", cases)
