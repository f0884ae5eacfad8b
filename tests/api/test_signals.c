/*
 * test_signals.c - what a running server is told by signals: lame duck, reload, open the log again.
 */
#include "tests/lib/raw_client.h"
#include "tests/lib/runner.h"
#include "tests/lib/server_process.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static char config[256];

static void write_config(const struct server_process *s, const char *text)
{
    FILE *f;

    snprintf(config, sizeof(config), "%s/conf", s->dir);
    f = fopen(config, "we");
    ck_assert(f != NULL);
    fputs(text[0] != '\0' ? text : "debug: false\n", f); /* one without a value is refused */
    fclose(f);
}

static void start(struct server_process *s, const char *workers, const char *text)
{
    server_process_init(s);
    write_config(s, text);
    s->args[0] = "--workers";
    s->args[1] = workers;
    s->args[2] = "-c";
    s->args[3] = config;
    server_process_start(s);
}

static void reload(const struct server_process *s, const char *text, const char *log)
{
    write_config(s, text);
    kill(s->pid, SIGHUP);
    server_process_log_wait(s, log);
}

static bool refused(const struct server_process *s)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(s->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    ck_assert_int_ge(fd, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = connect(fd, (struct sockaddr *) (void *) &to, sizeof(to));
    rc = rc == 0 ? 0 : errno;
    close(fd);
    return rc == ECONNREFUSED;
}

static const char *const workers[] = {"1", "2"};

/* ---- lame duck --------------------------------------------------------------------------------
 */

TEST(a_lame_duck_tells_its_clients_and_goes)
{
    struct server_process s;
    struct raw_client a, b, old;

    start(&s, workers[i], "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"500ms\"\n");
    raw_hello(&a, s.port, "\"protocol\":1");
    raw_skip(&a, "\"connect_info\":true");
    raw_skip(&a, "\r\n");
    raw_hello(&b, s.port, "\"protocol\":1");
    raw_hello(&old, s.port, "\"protocol\":0");
    kill(s.pid, SIGUSR2);
    raw_skip(&a, "\"ldm\":true");
    raw_skip(&b, "\"ldm\":true");
    server_process_log_wait(&s, "Entering lame duck mode, stop accepting new clients");
    while (!refused(&s))
        ;
    raw_skip(&a, "\r\n");
    raw_fence(&a); /* works as before */
    raw_expect_end(&a);
    raw_skip(&b, "\r\n");
    raw_expect_end(&b);
    raw_expect_end(&old);
    raw_close(&a);
    raw_close(&b);
    raw_close(&old);
    server_process_wait(&s);
    ck_assert(server_process_log_has(&s, "Closing existing clients"));
    ck_assert(server_process_log_has(&s, "Server Exiting.."));
    server_process_deinit(&s);
}

TEST(a_lame_duck_without_clients_goes_at_once)
{
    struct server_process s;

    start(&s, workers[i], "");
    kill(s.pid, SIGUSR2);
    server_process_wait(&s);
    ck_assert(!server_process_log_has(&s, "Closing existing clients"));
    server_process_deinit(&s);
}

TEST(a_lame_duck_ignores_term_and_not_int)
{
    struct server_process s;
    struct raw_client a;

    start(&s, "1", "lame_duck_grace_period: \"20s\"\n");
    raw_hello(&a, s.port, "\"protocol\":1");
    kill(s.pid, SIGUSR2);
    raw_skip(&a, "\"ldm\":true");
    raw_skip(&a, "\r\n");
    kill(s.pid, SIGTERM);
    server_process_log_wait(&s, "Trapped \"terminated\" signal");
    raw_fence(&a);
    kill(s.pid, SIGUSR2); /* once is enough */
    kill(s.pid, SIGINT);
    server_process_wait(&s);
    raw_close(&a);
    server_process_deinit(&s);
}

/* ---- reload -----------------------------------------------------------------------------------
 */

#define SIX "authorization { users: [ { user: u, password: p, permissions: { publish: [ "
#define REST "b, c, d, e, f, g ] } } ] }\n"

/* With so many rules a connection remembers what it may. */
TEST(a_reload_forgets_what_was_allowed)
{
    struct server_process s;
    struct raw_client a;

    start(&s, workers[i], SIX "a, " REST);
    raw_hello(&a, s.port, "\"user\":\"u\",\"pass\":\"p\"");
    raw_send(&a, "PUB a 0\r\n\r\nPUB a 0\r\n\r\n");
    raw_fence(&a);
    reload(&s, SIX REST, "Reloaded server configuration");
    raw_send(&a, "PUB a 0\r\n\r\n");
    raw_expect(&a, "-ERR 'Permissions Violation for Publish to \"a\"'\r\n");
    raw_send(&a, "PUB b 0\r\n\r\n");
    raw_fence(&a);
    raw_close(&a);
    server_process_stop(&s);
    server_process_deinit(&s);
}

/* The newest go, whichever of the workers they are with, of the server and of an account. */
TEST(a_reload_with_fewer_connections)
{
    enum { MANY = 12, LEFT = 5 };
    static const char *const says[] = {"-ERR 'maximum connections exceeded'\r\n",
                                       "-ERR 'maximum account active connections exceeded'\r\n"};
    static const char *const limits[] = {
        "max_connections: 5\n",
        "accounts { A { users: [ {user: u, password: p} ], limits { max_connections: 5 } } }\n"};
    struct server_process s;
    struct raw_client c[MANY];

    start(&s, workers[i % 2],
          i < 2 ? "" : "accounts { A { users: [ {user: u, password: p} ] } }\n");
    for (int k = 0; k < MANY; k++)
        raw_hello(&c[k], s.port, "\"protocol\":0,\"user\":\"u\",\"pass\":\"p\"");
    reload(&s, limits[i / 2], "Reloaded server configuration (sha256:");
    for (int k = LEFT; k < MANY; k++) {
        raw_expect(&c[k], says[i / 2]);
        raw_expect_end(&c[k]);
    }
    for (int k = 0; k < LEFT; k++)
        raw_fence(&c[k]);
    for (int k = 0; k < MANY; k++)
        raw_close(&c[k]);
    server_process_stop(&s);
    server_process_deinit(&s);
}

TEST(a_reload_changes_limits)
{
    struct server_process s;
    struct raw_client a, b;

    start(&s, workers[i], "max_payload: 64\n");
    raw_hello(&a, s.port, "\"protocol\":0");
    raw_hello(&b, s.port, "\"protocol\":0");
    reload(&s, "max_payload: 100\nmax_connections: 1\ndebug: true\n",
           "Reloaded server configuration (sha256:");
    ck_assert(server_process_log_has(&s, "Reloaded: max_payload = 100"));
    ck_assert(server_process_log_has(&s, "Reloaded: debug = true"));
    raw_expect(&b, "-ERR 'maximum connections exceeded'\r\n");
    raw_expect_end(&b);
    raw_send(&a, "SUB a 1\r\nPUB a 70\r\n");
    raw_send(&a, "0123456789012345678901234567890123456789012345678901234567890123456789\r\n");
    raw_expect(&a, "MSG a 1 70\r\n");
    raw_skip(&a, "\r\n");
    raw_send(&a, "PUB a 101\r\n");
    raw_expect(&a, "-ERR 'Maximum Payload Violation'\r\n");
    raw_expect_end(&a);
    raw_close(&a);
    raw_close(&b);
    server_process_stop(&s);
    ck_assert(server_process_log_has(&s, "[DBG]"));
    server_process_deinit(&s);
}

static const char users_before[] =
    "authorization { users: [\n"
    "{user: kept, pass: k, permissions: {subscribe: [a, b], publish: x}}\n"
    "{user: gone, pass: g}\n"
    "{user: changed, pass: one}\n"
    "] }\n";
static const char users_after[] =
    "authorization { users: [\n"
    "{user: kept, pass: k, permissions: {subscribe: [b, c], publish: y}}\n"
    "{user: changed, pass: two}\n"
    "] }\n";

#define TWO_USERS "authorization { users: [ {user: guest, pass: g}, {user: joe, pass: j} ] }\n"

/* Whom no_auth_user let in goes with it; who said the same user's password stays. */
TEST(a_reload_closes_the_doors_of_those_who_said_nothing)
{
    struct server_process s;
    struct raw_client silent, knows;

    start(&s, workers[i], TWO_USERS "no_auth_user: guest\n");
    raw_hello(&silent, s.port, "");
    raw_hello(&knows, s.port, "\"user\":\"guest\",\"pass\":\"g\"");
    reload(&s, TWO_USERS "no_auth_user: guest\nmax_payload: 100\n", "Reloaded: max_payload = 100");
    raw_send(&silent, "PING\r\n");
    raw_skip(&silent, "PONG\r\n");
    reload(&s, TWO_USERS "max_payload: 101\n", "Reloaded: max_payload = 101");
    raw_skip(&silent, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&silent);
    raw_send(&knows, "PING\r\n");
    raw_skip(&knows, "PONG\r\n");
    raw_close(&silent);
    raw_close(&knows);
    server_process_stop(&s);
    server_process_deinit(&s);
}

TEST(a_reload_asks_again_who_may_do_what)
{
    struct server_process s;
    struct raw_client kept, gone, changed;

    start(&s, workers[i], users_before);
    raw_hello(&kept, s.port, "\"user\":\"kept\",\"pass\":\"k\"");
    raw_hello(&gone, s.port, "\"user\":\"gone\",\"pass\":\"g\"");
    raw_hello(&changed, s.port, "\"user\":\"changed\",\"pass\":\"one\"");
    raw_send(&kept, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n");
    raw_expect(&kept, "-ERR 'Permissions Violation for Subscription to \"c\"'\r\n");
    raw_fence(&kept);
    reload(&s, users_after, "Reloaded server configuration (sha256:");
    raw_expect(&gone, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&gone);
    raw_expect(&changed, "-ERR 'Authorization Violation'\r\n");
    raw_expect_end(&changed);
    raw_expect(&kept, "-ERR 'Permissions Violation for Subscription to \"a\" (sid \"1\")'\r\n");
    raw_send(&kept, "SUB c 3\r\nPUB y 0\r\n\r\nPUB x 0\r\n\r\n");
    raw_expect(&kept, "-ERR 'Permissions Violation for Publish to \"x\"'\r\n");
    raw_fence(&kept);
    ck_assert(server_process_log_has(&s, "Reloaded: authorization users"));
    raw_close(&kept);
    raw_close(&gone);
    raw_close(&changed);
    server_process_stop(&s);
    server_process_deinit(&s);
}

static const struct {
    const char *config, *log;
} impossible[] = {
    {"max_payload: 64\nserver_name: other\n",
     "Failed to reload server configuration: config reload not supported for ServerName: old=, "
     "new=other"},
    {"max_payload: 64\njetstream { max_file_store: 1gb }\n",
     "config reload not supported for jetstream dynamic max memory and store"},
    {"max_payload: 64\nnonsense: 1\n", "conf:2:1: unknown field \"nonsense\""},
    {"max_payload: 2mb\nmax_pending: 1mb\n",
     "max_payload (2097152) cannot be higher than max_pending (1048576)"},
};

/* A refused one changes nothing, and the next one is looked at again. */
TEST(a_reload_is_refused_as_a_whole)
{
    struct server_process s;
    struct raw_client a;

    start(&s, "1", "max_payload: 32\n");
    for (size_t k = 0; k < sizeof(impossible) / sizeof(impossible[0]); k++)
        reload(&s, impossible[k].config, impossible[k].log);
    raw_open(&a, s.port);
    raw_skip(&a, "\"max_payload\":32,");
    raw_close(&a);
    reload(&s, "max_payload: 16\n", "Reloaded: max_payload = 16");
    raw_open(&a, s.port);
    raw_skip(&a, "\"max_payload\":16,");
    raw_close(&a);
    server_process_stop(&s);
    server_process_deinit(&s);
}

TEST(a_reload_needs_a_file)
{
    struct server_process s;

    server_process_init(&s);
    server_process_start(&s);
    kill(s.pid, SIGHUP);
    server_process_log_wait(&s, "Failed to reload server configuration: can only reload config "
                                "when a file is provided using -c or --config");
    server_process_stop(&s);
    server_process_deinit(&s);
}

/* ---- the log, and signals by command ----------------------------------------------------------
 */

TEST(usr1_opens_the_log_again)
{
    struct server_process s;
    char log[192], moved[192];

    server_process_init(&s);
    server_process_start(&s);
    snprintf(log, sizeof(log), "%s/log", s.dir);
    snprintf(moved, sizeof(moved), "%s/log.old", s.dir);
    ck_assert_int_eq(rename(log, moved), 0);
    kill(s.pid, SIGUSR1);
    server_process_log_wait(&s, "File log re-opened");
    server_process_stop(&s);
    ck_assert(server_process_log_has(&s, "Server Exiting.."));
    server_process_deinit(&s);
}

/* Runs the server's executable with --signal; its exit code. */
static int command(const char *text)
{
    const char *build = getenv("MIDGE_BUILDDIR");
    char program[512];
    int status;
    pid_t pid;

    snprintf(program, sizeof(program), "%s/bin/midge-server", build != NULL ? build : ".");
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        execl(program, program, "--signal", text, (char *) NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

TEST(a_command_finds_the_server)
{
    struct server_process s;
    char pid_file[192], text[256];

    server_process_init(&s);
    snprintf(pid_file, sizeof(pid_file), "%s/pid", s.dir);
    s.args[0] = "-P";
    s.args[1] = pid_file;
    server_process_start(&s);
    ck_assert_int_eq(command("dance"), 1);
    ck_assert_int_eq(command("reload=x"), 1);
    ck_assert_int_eq(command("reload=99999999"), 1);
    snprintf(text, sizeof(text), "reopen=%s", pid_file);
    ck_assert_int_eq(command(text), 0);
    server_process_log_wait(&s, "Trapped \"user defined signal 1\" signal");
    snprintf(text, sizeof(text), "reload=%d", (int) s.pid);
    ck_assert_int_eq(command(text), 0);
    server_process_log_wait(&s, "Trapped \"hangup\" signal");
    snprintf(text, sizeof(text), "ldm=%d*", (int) s.pid);
    ck_assert_int_eq(command(text), 0);
    server_process_wait(&s);
    server_process_deinit(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_lame_duck_tells_its_clients_and_goes, 0, 2),
    RUN_LOOP(a_lame_duck_without_clients_goes_at_once, 0, 2),
    RUN(a_lame_duck_ignores_term_and_not_int),
    RUN_LOOP(a_reload_with_fewer_connections, 0, 4),
    RUN_LOOP(a_reload_changes_limits, 0, 2),
    RUN_LOOP(a_reload_forgets_what_was_allowed, 0, 2),
    RUN_LOOP(a_reload_closes_the_doors_of_those_who_said_nothing, 0, 2),
    RUN_LOOP(a_reload_asks_again_who_may_do_what, 0, 2),
    RUN(a_reload_is_refused_as_a_whole),
    RUN(a_reload_needs_a_file),
    RUN(usr1_opens_the_log_again),
    RUN(a_command_finds_the_server),
};

RUNNER_MAIN("api/signals", cases)
