/* signal_command.c - names to signals, processes by /proc. */
#include "server/signal_command.h"

#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIDS_MAX 256u

static const struct {
    const char *name;
    int number;
} commands[] = {
    {"stop", SIGKILL},   {"quit", SIGINT},   {"term", SIGTERM},
    {"reopen", SIGUSR1}, {"reload", SIGHUP}, {"ldm", SIGUSR2},
};

static int number_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (str_eq(name, str_of(commands[i].name)))
            return commands[i].number;
    return 0;
}

/* The contents of a small file, trimmed; n == 0 when it can not be read. */
static struct str read_small(const char *path, char *out, size_t size)
{
    FILE *f = fopen(path, "re");
    size_t n = 0;

    if (f != NULL) {
        n = fread(out, 1, size, f);
        fclose(f);
    }
    return str_trim(str_from(out, n));
}

/* Is this process one of the program? By the name that it was called with. */
static bool is_one(const char *pid, const char *program)
{
    char path[64], text[4096];
    struct str called;
    size_t n;

    snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
    called = read_small(path, text, sizeof(text));
    called.n = called.n > 0 ? strnlen(called.p, called.n) : 0;
    n = strlen(program);
    return called.n >= n && memcmp(called.p + called.n - n, program, n) == 0 &&
           (called.n == n || called.p[called.n - n - 1] == '/');
}

static size_t running(const char *program, int64_t *pids, size_t max)
{
    DIR *d = opendir("/proc");
    const struct dirent *e;
    size_t n = 0;

    while (d != NULL && n < max && (e = readdir(d)) != NULL)
        if (str_to_i64(str_of(e->d_name), &pids[n]) && pids[n] != getpid() &&
            is_one(e->d_name, program))
            n++;
    if (d != NULL)
        closedir(d);
    return n;
}

static int refuse(const char *program, struct buf *text)
{
    fprintf(stderr, "%s: %s\n", program, buf_cstr(text));
    buf_free(text);
    return EXIT_FAILURE;
}

static int send_to(const char *program, const int64_t *pids, size_t n, const char *beginning,
                   int number, struct str name)
{
    struct buf err = {0};
    char pid[24];

    for (size_t i = 0; i < n; i++) {
        snprintf(pid, sizeof(pid), "%lld", (long long) pids[i]);
        if (beginning != NULL && strncmp(pid, beginning, strlen(beginning)) != 0)
            continue;
        if (kill((pid_t) pids[i], number) != 0)
            buf_printf(&err, "\nsignal \"%.*s\" %s: %s", STR_ARG(name), pid, strerror(errno));
    }
    if (err.n > 0)
        return refuse(program, &err);
    return EXIT_SUCCESS;
}

/* Everything that runs under the name, narrowed by the beginning of a process id. */
static int send_to_running(const char *program, const char *beginning, int number, struct str name)
{
    int64_t pids[PIDS_MAX];
    size_t n = running(program, pids, PIDS_MAX);
    struct buf err = {0};

    if (n == 0) {
        buf_printf(&err, "no %s processes running", program);
        return refuse(program, &err);
    }
    if (n > 1 && beginning == NULL) {
        buf_printf(&err, "multiple %s processes running:", program);
        for (size_t i = 0; i < n; i++)
            buf_printf(&err, "\n%lld", (long long) pids[i]);
        return refuse(program, &err);
    }
    return send_to(program, pids, n, beginning, number, name);
}

int signal_command(const char *text, const char *program)
{
    struct str who, name = str_cut(str_of(text), '=', &who);
    struct buf err = {0};
    char contents[64], beginning[24];
    int number = number_of(name);
    int64_t pid;

    if (number == 0) {
        buf_printf(&err, "unknown signal \"%.*s\"", STR_ARG(name));
        return refuse(program, &err);
    }
    if (who.n == 0)
        return send_to_running(program, NULL, number, name);
    if (who.p[who.n - 1] == '*' && who.n < sizeof(beginning)) {
        snprintf(beginning, sizeof(beginning), "%.*s", (int) who.n - 1, who.p);
        return send_to_running(program, beginning, number, name);
    }
    if (!str_to_i64(who, &pid) &&
        !str_to_i64(read_small(who.p, contents, sizeof(contents)), &pid)) {
        buf_printf(&err, "invalid pid: %.*s", STR_ARG(who));
        return refuse(program, &err);
    }
    return send_to(program, &pid, 1, NULL, number, name);
}
