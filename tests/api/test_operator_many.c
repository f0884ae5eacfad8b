/*
 * test_operator_many.c - operator mode with a thousand accounts in a directory: a start,
 * everybody comes once, again, and after a reload. All of them import a service of one. Nothing may
 * take longer with every account that is there: with what was linear once this test took minutes.
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
#include <sys/stat.h>
#include <time.h>

static struct server_process server;
static struct signer op, sys, shared;
static unsigned naccounts = 1000;

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void write_account(const struct signer *a, const char *name, const char *more)
{
    char *token, path[320];
    struct buf b = {0};
    FILE *f;

    buf_printf(&b, UNLIMITED "%s", more);
    token = token_make(&op, JWT_ACCOUNT, a->key, name, buf_cstr(&b));
    snprintf(path, sizeof(path), "%s/jwt/%s.jwt", server.dir, a->key);
    f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fputs(token, f);
    fclose(f);
    mem_free(token);
    buf_free(&b);
}

static void write_all(void)
{
    struct signer a;
    struct buf import = {0};
    char path[160];

    snprintf(path, sizeof(path), "%s/jwt", server.dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    write_account(&sys, "SYS", "");
    write_account(&shared, "SHARED",
                  ",\"exports\":[{\"name\":\"t\",\"subject\":\"time\",\"type\":\"service\"}]");
    buf_printf(&import,
               ",\"imports\":[{\"name\":\"t\",\"subject\":\"time\",\"account\":\"%s\","
               "\"type\":\"service\"}]",
               shared.key);
    for (unsigned i = 0; i < naccounts; i++) {
        signer_make(&a, NKEY_ACCOUNT, 10 + i);
        write_account(&a, "A", buf_cstr(&import));
    }
    buf_free(&import);
}

static void come_in(unsigned account)
{
    struct signer a, user;
    struct raw_client r;
    struct buf b = {0};
    char *sig, *token;

    signer_make(&a, NKEY_ACCOUNT, 10 + account);
    signer_make(&user, NKEY_USER, account);
    token = token_make(&a, JWT_USER, user.key, "u", UNLIMITED_USER);
    sig = signed_open(&r, server.port, &user);
    buf_printf(&b, "CONNECT {\"verbose\":false,\"jwt\":\"%s\",\"sig\":\"%s\"}\r\nPING\r\n", token,
               sig);
    raw_send(&r, buf_cstr(&b));
    raw_skip(&r, "PONG\r\n");
    raw_close(&r);
    buf_free(&b);
    mem_free(token);
    mem_free(sig);
}

static void everybody(const char *what)
{
    double before = seconds();

    for (unsigned i = 0; i < naccounts; i++)
        come_in(i);
    fprintf(stderr, "%s: %.1f s\n", what, seconds() - before);
}

TEST(many_accounts)
{
    const char *n = getenv("MIDGE_ACCOUNTS");
    char *token, config[4096];
    double before;

    naccounts = n != NULL ? (unsigned) strtoul(n, NULL, 10) : naccounts;
    signer_make(&op, NKEY_OPERATOR, 1);
    signer_make(&sys, NKEY_ACCOUNT, 1);
    signer_make(&shared, NKEY_ACCOUNT, 2);
    server_process_init(&server);
    write_all();
    token = token_make(&op, JWT_OPERATOR, op.key, "O", "");
    snprintf(config, sizeof(config),
             "operator: %s\nsystem_account: %s\nresolver: { type: full, dir: \"~/jwt\" }\n", token,
             sys.key);
    server.args[0] = "-c";
    server.args[1] = server_process_config(&server, config);
    before = seconds();
    server_process_start(&server);
    fprintf(stderr, "start: %.1f s\n", seconds() - before);
    everybody("first");
    everybody("again");
    before = seconds();
    ck_assert_int_eq(kill(server.pid, SIGHUP), 0);
    server_process_log_wait(&server, "Reloaded server configuration");
    fprintf(stderr, "reload: %.1f s\n", seconds() - before);
    before = seconds();
    for (unsigned k = 0; k < 100; k++)
        come_in(k);
    fprintf(stderr, "a hundred: %.2f s\n", seconds() - before);
    mem_free(token);
    server_process_deinit(&server);
}

static const struct runner_case cases[] = {
    RUN_SLOW(many_accounts, 240),
};

RUNNER_MAIN("api/operator_many", cases)
