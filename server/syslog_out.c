/*
 * syslog_out.c - one datagram a line, or one line behind the other on a stream.
 *
 *     here     <29>Jan  2 15:04:05 nats-server[4711]: text
 *     remote   <29>2026-01-02T15:04:05Z host nats-server[4711]: text\n
 *
 * The number is the facility (daemon, 3) times 8 and the severity. A stream that breaks is not
 * connected again before the log is opened again: connecting may take long, and whoever logs waits.
 */
#include "server/syslog_out.h"

#include "lib/base/buf.h"
#include "lib/base/fmt.h"
#include "lib/base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define DAEMON 24
#define LOCAL_PATH "/dev/log"

struct syslog_out {
    int fd; /* -1: it has broken */
    bool remote;
    char *tag, host[256];
};

static int severity(enum log_level level)
{
    switch (level) {
    case LOG_FATAL:
        return 2;
    case LOG_ERROR:
        return 3;
    case LOG_WARN:
        return 4;
    case LOG_DEBUG:
        return 7;
    default:
        return 5; /* notice */
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int dial_path(const char *path)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(to.sun_path))
        return -ENAMETOOLONG;
    memcpy(to.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *) &to, sizeof(to)) == 0)
        return fd;
    close(fd);
    return -errno;
}

static int dial_address(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);

    if (fd < 0)
        return -errno;
    if (connect(fd, a->ai_addr, a->ai_addrlen) == 0)
        return fd;
    close(fd);
    return -errno;
}

/* host:port; 514 when there is no port. */
static int dial_host(struct str where, int type)
{
    char host[256], port[16];
    size_t colon = where.n;
    struct addrinfo hints = {.ai_socktype = type}, *list;
    int fd = -EHOSTUNREACH;

    while (colon > 0 && where.p[colon - 1] != ':' && where.p[colon - 1] != ']')
        colon--;
    if (colon == 0 || where.p[colon - 1] == ']') {
        snprintf(port, sizeof(port), "514");
        colon = where.n + 1;
    } else {
        snprintf(port, sizeof(port), "%.*s", STR_ARG(str_skip(where, colon)));
    }
    where = str_take(where, colon - 1);
    if (where.n >= 2 && where.p[0] == '[' && where.p[where.n - 1] == ']')
        where = str_from(where.p + 1, where.n - 2);
    snprintf(host, sizeof(host), "%.*s", STR_ARG(where));
    if (getaddrinfo(host, port, &hints, &list) != 0)
        return fd;
    for (const struct addrinfo *a = list; a != NULL && fd < 0; a = a->ai_next)
        fd = dial_address(a);
    freeaddrinfo(list);
    return fd;
}

static int dial(const char *remote)
{
    struct str s = str_of(remote);

    if (remote == NULL)
        return dial_path(LOCAL_PATH);
    if (str_starts(s, STR("udp://")))
        return dial_host(str_skip(s, 6), SOCK_DGRAM);
    if (str_starts(s, STR("tcp://")))
        return dial_host(str_skip(s, 6), SOCK_STREAM);
    if (str_starts(s, STR("unix://")))
        return dial_path(remote + 7);
    return -EPROTONOSUPPORT;
}

struct syslog_out *syslog_out_open(const char *remote, const char *tag, char why[256])
{
    int fd = dial(remote);
    struct syslog_out *s;

    if (fd < 0) {
        snprintf(why, 256, "error connecting to syslog: %.160s: %s",
                 remote != NULL ? remote : LOCAL_PATH, strerror(-fd));
        return NULL;
    }
    s = mem_zalloc(sizeof(*s));
    s->fd = fd;
    s->remote = remote != NULL;
    s->tag = mem_strdup(tag);
    if (gethostname(s->host, sizeof(s->host) - 1) != 0)
        snprintf(s->host, sizeof(s->host), "localhost");
    return s;
}

void syslog_out_close(struct syslog_out *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        close(s->fd);
    mem_free(s->tag);
    mem_free(s);
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void put_head(struct buf *b, const struct syslog_out *s, const struct timespec *when)
{
    char time[FMT_TIME_MAX];
    struct tm tm;

    if (s->remote) {
        fmt_time_rfc3339(time, (int64_t) when->tv_sec * 1000000000);
        buf_printf(b, "%s %s ", time, s->host);
    } else {
        localtime_r(&when->tv_sec, &tm);
        strftime(time, sizeof(time), "%b %e %H:%M:%S ", &tm);
        buf_puts(b, time);
    }
    buf_printf(b, "%s[%d]: ", s->tag, (int) getpid());
}

void syslog_out_line(struct syslog_out *s, enum log_level level, const struct timespec *when,
                     const char *text)
{
    struct buf b = {0};
    ssize_t n;

    if (s->fd < 0)
        return;
    buf_printf(&b, "<%d>", DAEMON + severity(level));
    put_head(&b, s, when);
    buf_puts(&b, text);
    if (s->remote)
        buf_putc(&b, '\n');
    n = send(s->fd, b.p, b.n, MSG_DONTWAIT | MSG_NOSIGNAL);
    /* Half a line on a stream would spoil the next; a datagram that nobody took spoils nothing. */
    if ((n >= 0 && (size_t) n < b.n) || (n < 0 && (errno == EPIPE || errno == ECONNRESET))) {
        close(s->fd);
        s->fd = -1;
    }
    buf_free(&b);
}
