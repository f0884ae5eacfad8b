/* Operator mode over the wire: who gets in with which claims, and what they may do. */
#include "lib/base/mem.h"
#include "tests/api/operator_rig.h"
#include "tests/lib/runner.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TEST(users_get_in_with_claims_alone)
{
    struct operator_world w;
    struct raw_client r, other;
    char *old;

    operator_start(&w, "");
    operator_let_in(&r, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    raw_send(&r, "SUB a 1\r\nPUB a 2\r\nhi\r\n");
    raw_skip(&r, "MSG a 1 2\r\nhi\r\n");
    /* Somebody else's signature. */
    operator_kept_out(&w, &user_2, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    /* An account that nobody knows. */
    operator_kept_out(&w, &user_1, operator_user(&acc_b, &user_1, UNLIMITED_USER));
    /* Not a token at all, none, and one that is over. */
    operator_kept_out(&w, &user_1, mem_strdup("eyJ"));
    operator_kept_out(&w, &user_1, mem_strdup(""));
    old = token_make_at(&acc_a, JWT_USER, user_1.key, "old", UNLIMITED_USER, 1000, 2000);
    operator_kept_out(&w, &user_1, old);
    /* Users and passwords do not count. */
    raw_open(&other, w.s.port);
    raw_skip(&other, "\r\n");
    raw_send(&other, "CONNECT {\"user\":\"a\",\"pass\":\"a\"}\r\n");
    raw_expect(&other, "-ERR 'Authorization Violation'\r\n");
    raw_close(&other);
    raw_close(&r);
    operator_end(&w);
}

TEST(accounts_are_worlds_of_their_own)
{
    struct operator_world w;
    struct raw_client a, b;

    operator_begin(&w, "");
    operator_preloads(&w);
    operator_put_preload(&w, &acc_a,
                         operator_account(&acc_a, "A",
                                          "\"exports\":[{\"name\":\"s\",\"subject\":"
                                          "\"out.>\",\"type\":\"stream\"},{\"name\":\"q\","
                                          "\"subject\":\"ask.*\",\"type\":\"service\"}]"));
    char fields[512];
    snprintf(fields, sizeof(fields),
             "\"imports\":[{\"name\":\"s\",\"subject\":\"out.>\",\"account\":\"%s\",\"type\":"
             "\"stream\",\"local_subject\":\"from.a.>\"},{\"name\":\"q\",\"subject\":\"ask.*\","
             "\"account\":\"%s\",\"type\":\"service\",\"local_subject\":\"q.*\"}]",
             acc_a.key, acc_a.key);
    operator_put_preload(&w, &acc_b, operator_account(&acc_b, "B", fields));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    operator_let_in(&a, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_let_in(&b, &w, &user_2, operator_user(&acc_b, &user_2, UNLIMITED_USER));
    raw_send(&b, "SUB x 1\r\nSUB from.a.> 2\r\nSUB in 3\r\nPING\r\n");
    raw_skip(&b, "PONG\r\n");
    raw_send(&a, "SUB ask.* 1\r\nPUB x 1\r\nx\r\nPUB out.1 1\r\n1\r\nPING\r\n");
    raw_skip(&a, "PONG\r\n");
    raw_skip(&b, "MSG from.a.1 2 1\r\n1\r\n");
    raw_send(&b, "PUB q.7 in 1\r\n?\r\n");
    raw_skip(&a, "MSG ask.7 1 _R_.");
    raw_close(&a);
    raw_close(&b);
    operator_end(&w);
}

TEST(permissions_and_limits_of_users)
{
    struct operator_world w;
    struct raw_client r;

    operator_start(&w, "\"default_permissions\":{\"pub\":{\"deny\":[\"secret\"]}}");
    operator_let_in(
        &r, &w, &user_1,
        operator_user(&acc_a, &user_1,
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
    operator_let_in(&r, &w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    raw_send(&r, "PUB secret 1\r\nx\r\n");
    raw_skip(&r, "-ERR 'Permissions Violation for Publish to \"secret\"'\r\n");
    raw_close(&r);
    operator_end(&w);
}

TEST(signing_keys_and_scopes)
{
    struct operator_world w;
    struct raw_client r;
    struct signer other;
    char fields[600];

    operator_make_keys();
    signer_make(&other, NKEY_ACCOUNT, 9);
    snprintf(fields, sizeof(fields),
             "\"signing_keys\":[\"%s\",{\"kind\":\"user_scope\",\"key\":\"%s\",\"role\":\"r\","
             "\"template\":{\"pub\":{\"allow\":[\"u.{{name()}}.>\",\"t.{{tag(team)}}\"]},"
             "\"sub\":{\"allow\":[\"{{account-name()}}.{{subject()}}\",\"_INBOX.>\"]},"
             "\"subs\":-1,\"data\":-1,\"payload\":-1}}]",
             other.key, key_a.key);
    operator_start(&w, fields);
    /* Users of scoped keys say nothing of their own. */
    operator_kept_out(&w, &user_1, operator_user_of_key(&user_1, UNLIMITED_USER));
    operator_let_in(&r, &w, &user_1,
                    operator_user_of_key(&user_1, "\"tags\":[\"team:red\",\"team:blue\"]"));
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
    snprintf(fields, sizeof(fields), "%s,\"issuer_account\":\"%s\"", UNLIMITED_USER, acc_a.key);
    operator_let_in(&r, &w, &user_1, operator_user(&other, &user_1, fields));
    raw_close(&r);
    operator_kept_out(&w, &user_1, operator_user(&acc_b, &user_1, fields));
    operator_end(&w);
}

TEST(bearer_sources_and_kinds_of_connections)
{
    struct operator_world w;
    struct raw_client r;

    operator_start(&w, "");
    /* A bearer needs no signature. */
    operator_let_in(&r, &w, &user_2,
                    operator_user(&acc_a, &user_1, UNLIMITED_USER ",\"bearer_token\":true"));
    raw_close(&r);
    operator_let_in(
        &r, &w, &user_1,
        operator_user(&acc_a, &user_1, UNLIMITED_USER ",\"src\":[\"10.0.0.0/8\",\"127.0.0.0/8\"]"));
    raw_close(&r);
    operator_kept_out(&w, &user_1,
                      operator_user(&acc_a, &user_1, UNLIMITED_USER ",\"src\":[\"10.0.0.0/8\"]"));
    operator_let_in(&r, &w, &user_1,
                    operator_user(&acc_a, &user_1,
                                  UNLIMITED_USER
                                  ",\"allowed_connection_types\":[\"standard\",\"MQTT\"]"));
    raw_close(&r);
    operator_kept_out(&w, &user_1,
                      operator_user(&acc_a, &user_1,
                                    UNLIMITED_USER
                                    ",\"allowed_connection_types\":[\"WEBSOCKET\"]"));
    operator_kept_out(&w, &user_1,
                      operator_user(&acc_a, &user_1,
                                    UNLIMITED_USER
                                    ",\"allowed_connection_types\":[\"SOMETHING\"]"));
    operator_let_in(&r, &w, &user_1,
                    operator_user(&acc_a, &user_1,
                                  UNLIMITED_USER
                                  ",\"times\":[{\"start\":\"00:00:00\",\"end\":\"23:59:59\"}]"));
    raw_close(&r);
    operator_kept_out(&w, &user_1,
                      operator_user(&acc_a, &user_1,
                                    UNLIMITED_USER
                                    ",\"times\":[{\"start\":\"00:00:00\",\"end\":\"00:00:00\"}]"));
    operator_end(&w);
}

/* What a request to WebSocket says about the address it comes from is no proof of it. */
TEST(a_forwarded_address_is_not_the_source)
{
    static const char *const sources[] = {"10.0.0.0/8", "127.0.0.0/8"};
    struct operator_world w;
    struct raw_client r;
    struct buf text = {0}, fields = {0};
    char *token;

    operator_begin(&w, "");
    operator_preloads(&w);
    operator_put_preload(&w, &acc_a, operator_account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\nwebsocket { listen: \"127.0.0.1:-1\", no_tls: true }\n");
    operator_ready(&w);
    buf_printf(&fields, UNLIMITED_USER ",\"bearer_token\":true,\"src\":[\"%s\"]", sources[i]);
    token = operator_user(&acc_a, &user_1, buf_cstr(&fields));
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
    operator_end(&w);
}

TEST(users_are_revoked)
{
    struct operator_world w;
    struct raw_client r;
    char fields[200];

    operator_make_keys();
    snprintf(fields, sizeof(fields), "\"revocations\":{\"%s\":%lld,\"*\":1000}", user_1.key,
             (long long) time(NULL) + 1000);
    operator_start(&w, fields);
    operator_kept_out(&w, &user_1, operator_user(&acc_a, &user_1, UNLIMITED_USER));
    operator_let_in(&r, &w, &user_2, operator_user(&acc_a, &user_2, UNLIMITED_USER));
    raw_close(&r);
    operator_kept_out(&w, &user_2,
                      token_make_at(&acc_a, JWT_USER, user_2.key, "joe", UNLIMITED_USER, 1000, 0));
    operator_end(&w);
}

TEST(a_login_ends_at_its_time)
{
    struct operator_world w;
    struct raw_client r;

    operator_start(&w, "");
    operator_let_in(&r, &w, &user_1,
                    token_make_at(&acc_a, JWT_USER, user_1.key, "joe", UNLIMITED_USER, 0,
                                  (int64_t) time(NULL) + 2));
    raw_skip(&r, "-ERR 'User Authentication Expired'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    operator_end(&w);
}

/* Names in the claims are told; a proxy that is asked for has to be there. */
TEST(names_and_proxies_of_users)
{
    struct operator_world w;
    struct raw_client r;
    char wanted[200];

    operator_start(&w, "");
    operator_let_in(&r, &w, &user_1,
                    token_make_at(&acc_a, JWT_USER, user_1.key, "joe", UNLIMITED_USER, 0,
                                  (int64_t) time(NULL) + 1000));
    snprintf(wanted, sizeof(wanted),
             "\"data\":{\"user\":\"%s\",\"account\":\"%s\",\"account_name\":\"A\","
             "\"user_name\":\"joe\"",
             user_1.key, acc_a.key);
    operator_ask(&r, "$SYS.REQ.USER.INFO", "", wanted);
    operator_ask(&r, "$SYS.REQ.USER.INFO", "", "\"expires\":99");
    raw_close(&r);
    operator_kept_out(&w, &user_1,
                      operator_user(&acc_a, &user_1, UNLIMITED_USER ",\"proxy_required\":true"));
    operator_end(&w);
}

TEST(a_default_sentinel_speaks_for_those_without_claims)
{
    struct operator_world w;
    struct raw_client r;
    char *token;

    operator_begin(&w, "");
    token = operator_user(&acc_a, &user_1, UNLIMITED_USER ",\"bearer_token\":true");
    buf_printf(&w.text, "default_sentinel: %s\n", token);
    mem_free(token);
    operator_preloads(&w);
    operator_put_preload(&w, &acc_a, operator_account(&acc_a, "A", ""));
    buf_puts(&w.text, "}\n");
    operator_ready(&w);
    raw_open(&r, w.s.port);
    raw_skip(&r, "\r\n");
    raw_send(&r, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    raw_expect(&r, "PONG\r\n");
    raw_close(&r);
    operator_end(&w);
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
    RUN(names_and_proxies_of_users),
    RUN(a_default_sentinel_speaks_for_those_without_claims),
};

RUNNER_MAIN("api/operator", cases)
