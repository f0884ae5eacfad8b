/* Log lines to a logger elsewhere: what arrives, and where none can be reached. */
#include "server/logger.h"
#include "tests/lib/runner.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int listen_udp(char url[64])
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    socklen_t n = sizeof(a);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &a, sizeof(a)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *) &a, &n), 0);
    snprintf(url, 64, "udp://127.0.0.1:%u", ntohs(a.sin_port));
    return fd;
}

static void arrives(int fd, const char *begin, const char *end)
{
    char text[1024];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_msg(strncmp(text, begin, strlen(begin)) == 0, "%s", text);
    ck_assert_msg((size_t) n >= strlen(end) && strcmp(text + n - strlen(end), end) == 0, "%s",
                  text);
}

TEST(lines_arrive)
{
    char url[64], why[256], end[96];
    int fd = listen_udp(url);
    struct logger *l =
        logger_open(&(struct logger_options){.remote = url, .tag = "tagged", .debug = true}, why);

    ck_assert_msg(l != NULL, "%s", why);
    LOG_ERR(logger_log(l), "went %s", "wrong");
    snprintf(end, sizeof(end), " tagged[%d]: went wrong\n", (int) getpid());
    arrives(fd, "<27>20", end);
    LOG_INF(logger_log(l), "so");
    arrives(fd, "<29>20", ": so\n");
    LOG_WRN(logger_log(l), "look");
    arrives(fd, "<28>20", ": look\n");
    LOG_DBG(logger_log(l), "small");
    arrives(fd, "<31>20", ": small\n");
    logger_close(l);
    close(fd);
}

TEST(a_path_will_do_and_others_are_refused)
{
    static const char *const bad[] = {"http://127.0.0.1:1", "127.0.0.1:514", "udp://",
                                      "unix:///nowhere/at/all", "tcp://127.0.0.1:1"};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct logger_options o = {.tag = "t"};
    char url[160], why[256];
    struct logger *l;
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/midge-syslog-%d", (int) getpid());
    unlink(a.sun_path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *) &a, sizeof(a)), 0);
    snprintf(url, sizeof(url), "unix://%s", a.sun_path);
    o.remote = url;
    l = logger_open(&o, why);
    ck_assert_msg(l != NULL, "%s", why);
    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++) {
        o.remote = bad[k];
        why[0] = '\0';
        ck_assert_msg(!logger_change(l, &o, why), "%s", bad[k]);
        ck_assert_msg(strncmp(why, "error connecting to syslog: ", 28) == 0, "%s", why);
    }
    /* And nothing has changed. */
    LOG_INF(logger_log(l), "still");
    arrives(fd, "<29>", ": still\n");
    logger_close(l);
    unlink(a.sun_path);
    close(fd);
}

static const struct runner_case cases[] = {
    RUN(lines_arrive),
    RUN(a_path_will_do_and_others_are_refused),
};

RUNNER_MAIN("server/syslog", cases)
