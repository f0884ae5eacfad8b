/* server_process.c - fork, exec, ports file, signals, waitpid. */
#include "tests/lib/server_process.h"

#include "tests/lib/runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 2000 /* of 10 ms */
#define STOP_TRIES 3000

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

void server_process_init(struct server_process *s)
{
    const char *temp = getenv("TMPDIR");

    memset(s, 0, sizeof(*s));
    snprintf(s->dir, sizeof(s->dir), "%.90s/midge-test-XXXXXX", temp != NULL ? temp : "/tmp");
    ck_assert_msg(mkdtemp(s->dir) != NULL, "mkdtemp %s: %s", s->dir, strerror(errno));
}

/* The port in the first URL behind that key; 0 = there is none. */
static uint16_t port_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);

    at = at != NULL ? strstr(at, "://127.0.0.1:") : NULL;
    return at != NULL ? (uint16_t) strtoul(at + 13, NULL, 10) : 0;
}

static void read_ports(struct server_process *s, const char *path)
{
    char text[4096];
    const char *at;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;

    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    if (n <= 0 || text[n - 1] != '}')
        return;
    s->port = port_of(text, "\"nats\"");
    at = strstr(text, "http://127.0.0.1:");
    s->http_port = at != NULL ? (uint16_t) strtoul(at + 17, NULL, 10) : 0;
    at = strstr(text, "https://127.0.0.1:");
    if (at != NULL)
        s->http_port = (uint16_t) strtoul(at + 18, NULL, 10);
    at = strstr(text, "kafka://127.0.0.1:");
    s->kafka_port = at != NULL ? (uint16_t) strtoul(at + 18, NULL, 10) : 0;
    s->ws_port = port_of(text, "\"websocket\"");
    s->leaf_port = port_of(text, "\"leafnodes\"");
}

static void exec_server(const struct server_process *s)
{
    const char *build = getenv("MIDGE_BUILDDIR");
    char program[512];
    const char *argv[48] = {program, "-a",     "127.0.0.1", "-p",      "-1", "-m",
                            "-1",    "--pool", "0",         "--spread"}; /* several workers shall
                                                                            meet */
    char store[192], log[192];
    int n = 10;

    snprintf(program, sizeof(program), "%s/bin/midge-server", build != NULL ? build : ".");
    snprintf(store, sizeof(store), "-sd=%s/store", s->dir);
    snprintf(log, sizeof(log), "--log=%s/log", s->dir);
    if (!s->js_by_config)
        argv[n++] = "-js";
    argv[n++] = store;
    argv[n++] = log;
    argv[n++] = "--ports_file_dir";
    argv[n++] = s->dir;
    for (int i = 0; s->args[i] != NULL; i++)
        argv[n++] = s->args[i];
    execv(argv[0], (char *const *) (const void *) argv);
    fprintf(stderr, "exec %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

const char *server_process_config(struct server_process *s, const char *text)
{
    FILE *f;

    snprintf(s->conf, sizeof(s->conf), "%s/conf", s->dir);
    f = fopen(s->conf, "we");
    ck_assert_ptr_nonnull(f);
    if (text[0] == '\0')
        text = "debug: false\n"; /* a configuration without a value is refused */
    for (const char *p = text; *p != '\0'; p++)
        if (*p == '~')
            fputs(s->dir, f);
        else
            fputc(*p, f);
    fclose(f);
    return s->conf;
}

bool server_process_try_start(struct server_process *s)
{
    char path[256];

    s->port = 0;
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0)
        exec_server(s);
    snprintf(path, sizeof(path), "%s/midge-server_%d.ports", s->dir, (int) s->pid);
    for (int i = 0; i < START_TRIES && s->port == 0; i++) {
        int status;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            return false;
        }
        read_ports(s, path);
        nap();
    }
    ck_assert_msg(s->port != 0, "the server did not start; see %s/log", s->dir);
    snprintf(s->url, sizeof(s->url), "nats://127.0.0.1:%u", s->port);
    return true;
}

void server_process_start(struct server_process *s)
{
    ck_assert_msg(server_process_try_start(s), "the server ended while starting; see %s/log",
                  s->dir);
}

void server_process_wait(struct server_process *s)
{
    int status = 0;
    pid_t done = 0;

    for (int i = 0; i < STOP_TRIES && done == 0; i++) {
        done = waitpid(s->pid, &status, WNOHANG);
        if (done == 0)
            nap();
    }
    if (done == 0) {
        server_process_kill(s);
        ck_abort_msg("the server did not stop within 30 s");
    }
    s->pid = 0;
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the server ended with status %d",
                  status);
}

void server_process_stop(struct server_process *s)
{
    kill(s->pid, SIGTERM);
    server_process_wait(s);
}

void server_process_kill(struct server_process *s)
{
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

static void remove_tree(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        char sub[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        snprintf(sub, sizeof(sub), "%s/%s", path, e->d_name);
        if (unlink(sub) != 0)
            remove_tree(sub);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

void server_process_deinit(struct server_process *s)
{
    if (s->pid != 0)
        server_process_kill(s);
    remove_tree(s->dir);
}

bool server_process_log_has(const struct server_process *s, const char *text)
{
    char path[192], line[4096];
    bool found = false;
    FILE *f;

    snprintf(path, sizeof(path), "%s/log", s->dir);
    f = fopen(path, "re");
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = strstr(line, text) != NULL;
    if (f != NULL)
        fclose(f);
    return found;
}

void server_process_log_wait(const struct server_process *s, const char *text)
{
    for (int i = 0; i < START_TRIES; i++) {
        if (server_process_log_has(s, text))
            return;
        nap();
    }
    ck_abort_msg("the log does not say \"%s\"; see %s/log", text, s->dir);
}
