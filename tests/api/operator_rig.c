/* operator_rig.c - see operator_rig.h. */
#include "tests/api/operator_rig.h"

#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/lib/signed_client.h"

struct signer op, op_key, sys, sys_user, acc_a, acc_b, key_a, user_1, user_2;

void operator_make_keys(void)
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

char *operator_account(const struct signer *a, const char *name, const char *more)
{
    struct buf b = {0};
    char *token;

    buf_printf(&b, "%s%s%s", UNLIMITED, more[0] != '\0' ? "," : "", more);
    token = token_make(&op, JWT_ACCOUNT, a->key, name, buf_cstr(&b));
    buf_free(&b);
    return token;
}

void operator_put_preload(struct operator_world *w, const struct signer *a, char *token)
{
    buf_printf(&w->text, "  %s: %s\n", a->key, token);
    mem_free(token);
}

/* The operator and the system account; preloads follow, then operator_ready(). */
void operator_begin(struct operator_world *w, const char *operator_fields)
{
    char *token;

    operator_make_keys();
    memset(w, 0, sizeof(*w));
    server_process_init(&w->s);
    token = token_make(&op, JWT_OPERATOR, op.key, "O", operator_fields);
    buf_printf(&w->text, "operator: %s\nsystem_account: %s\n", token, sys.key);
    mem_free(token);
}

void operator_preloads(struct operator_world *w)
{
    buf_puts(&w->text, "resolver: MEMORY\nresolver_preload: {\n");
    operator_put_preload(w, &sys, operator_account(&sys, "SYS", ""));
}

static void write_config(struct operator_world *w)
{
    FILE *f;

    snprintf(w->config, sizeof(w->config), "%s/conf", w->s.dir);
    f = fopen(w->config, "we");
    ck_assert(f != NULL);
    fputs(buf_cstr(&w->text), f);
    fclose(f);
}

void operator_ready(struct operator_world *w)
{
    write_config(w);
    w->s.args[0] = "-c";
    w->s.args[1] = w->config;
    server_process_start(&w->s);
}

void operator_end(struct operator_world *w)
{
    server_process_deinit(&w->s);
    buf_free(&w->text);
}

/* Operator, system account and account A with these fields. */
void operator_start(struct operator_world *w, const char *fields_of_a)
{
    operator_begin(w, "");
    operator_preloads(w);
    operator_put_preload(w, &acc_a, operator_account(&acc_a, "A", fields_of_a));
    buf_puts(&w->text, "}\n");
    operator_ready(w);
}

/* Sends CONNECT with a token and a signature of the nonce. */
void operator_connect(struct raw_client *r, const struct operator_world *w,
                      const struct signer *user, const char *token, const char *more)
{
    struct buf b = {0};
    char *sig = signed_open(r, w->s.port, user);

    buf_printf(&b,
               "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,"
               "\"no_responders\":true,\"jwt\":\"%s\",\"sig\":\"%s\"%s}\r\nPING\r\n",
               token, sig, more);
    raw_send(r, buf_cstr(&b));
    buf_free(&b);
    mem_free(sig);
}

void operator_let_in(struct raw_client *r, const struct operator_world *w,
                     const struct signer *user, char *token)
{
    operator_connect(r, w, user, token, "");
    raw_skip(r, "PONG\r\n");
    mem_free(token);
}

void operator_kept_out(const struct operator_world *w, const struct signer *user, char *token)
{
    struct raw_client r;

    operator_connect(&r, w, user, token, "");
    raw_expect(&r, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&r);
    raw_close(&r);
    mem_free(token);
}

char *operator_user(const struct signer *by, const struct signer *u, const char *fields)
{
    return token_make(by, JWT_USER, u->key, "joe", fields);
}

/* A user of a signing key of A. */
char *operator_user_of_key(const struct signer *u, const char *fields)
{
    struct buf b = {0};
    char *token;

    buf_printf(&b, "%s%s\"issuer_account\":\"%s\"", fields, fields[0] != '\0' ? "," : "",
               acc_a.key);
    token = operator_user(&key_a, u, buf_cstr(&b));
    buf_free(&b);
    return token;
}

/* The answer without the server's description. */
void operator_ask(struct raw_client *r, const char *subject, const char *body, const char *wanted)
{
    char *answer = raw_ask(r, subject, body);

    ck_assert_msg(strstr(answer, wanted) != NULL, "%s: %s", subject, answer);
    free(answer);
}
