/*
 * bench_crowd.c - a great many subscribers on one server.
 *
 *     bench_crowd PORT SERVER_PID SUBSCRIBERS SUBJECTS DELIVERIES_PER_SECOND SECONDS
 *
 * Holds SUBSCRIBERS connections to 127.0.0.1:PORT, each subscribed to one of SUBJECTS subjects
 * (crowd.0 and so on, in turn), from source addresses 127.0.0.2 and up, 25,000 connections each.
 * Then one more connection publishes to the subjects in turn, so often that all subscribers
 * together receive the wanted number of messages a second. Latency counts from the time at which a
 * message was due to the time at which a subscriber has read it; one thread does all of it, so what
 * it can not read in time counts against the server. Prints the server's memory before and after,
 * its CPU time per delivery, and the latency.
 *
 * A million needs room for two million sockets: `sysctl fs.nr_open=1100000`, `ulimit -n 1100000`
 * for both programs, `max_connections` in the server's configuration, and about 10 GiB of memory.
 */
#include "lib/base/hdr.h"
#include "lib/base/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PER_ADDRESS 25000u
#define IN_HANDSHAKE 1000u
#define EVENTS 1024
#define STAMP 16 /* hexadecimal digits of nanoseconds */
#define REST 64  /* longer than any frame */
#define SECOND 1000000000ull

struct conn {
    int fd;
    bool greeted; /* our part of the handshake is sent */
    bool ready;   /* and answered */
    uint8_t n;
    char rest[REST];
};

struct crowd {
    struct conn *conns;
    unsigned wanted, opened, ready, subjects;
    uint16_t port;
    int epoll, publisher;
    uint64_t delivered;
    struct hdr latency;
};

static _Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, ": %s\n", strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * SECOND + (uint64_t) t.tv_nsec;
}

/* ---- the server, from outside ---------------------------------------------------------------- */

static double resident_gib(const char *pid)
{
    char path[64], line[128];
    unsigned long kib = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/status", pid);
    f = fopen(path, "re");
    if (f == NULL)
        die("%s", path);
    while (fgets(line, sizeof(line), f) != NULL)
        if (sscanf(line, "VmRSS: %lu", &kib) == 1)
            break;
    fclose(f);
    return (double) kib / 1024 / 1024;
}

static double cpu_seconds(const char *pid)
{
    char path[64], line[512];
    unsigned long user = 0, kernel = 0;
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%s/stat", pid);
    f = fopen(path, "re");
    if (f == NULL || fgets(line, sizeof(line), f) == NULL)
        die("%s", path);
    fclose(f);
    sscanf(strrchr(line, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &kernel);
    return (double) (user + kernel) / (double) sysconf(_SC_CLK_TCK);
}

/* ---- connections ----------------------------------------------------------------------------- */

static int open_socket(const struct crowd *c, unsigned index, bool wait)
{
    struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (wait ? 0 : SOCK_NONBLOCK), 0);

    if (fd < 0)
        die("socket %u", index);
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + index / PER_ADDRESS);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(c->port);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *) &from, sizeof(from)) < 0)
        die("bind %u", index);
    if (connect(fd, (struct sockaddr *) &to, sizeof(to)) < 0 && errno != EINPROGRESS)
        die("connect %u", index);
    return fd;
}

static void say(int fd, const char *text, size_t n)
{
    if (send(fd, text, n, MSG_NOSIGNAL) != (ssize_t) n)
        die("send");
}

static void greet(struct crowd *c, struct conn *k)
{
    char text[128];
    int n = snprintf(text, sizeof(text),
                     "CONNECT {\"verbose\":false}\r\nSUB crowd.%u 1\r\nPING\r\n",
                     (unsigned) (k - c->conns) % c->subjects);

    say(k->fd, text, (size_t) n);
    k->greeted = true;
}

static void open_more(struct crowd *c)
{
    while (c->opened < c->wanted && c->opened - c->ready < IN_HANDSHAKE) {
        struct conn *k = &c->conns[c->opened];
        struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = c->opened};
        k->fd = open_socket(c, c->opened, false);
        if (epoll_ctl(c->epoll, EPOLL_CTL_ADD, k->fd, &e) < 0)
            die("epoll_ctl");
        c->opened++;
    }
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void delivered(struct crowd *c, const char *stamp)
{
    char text[STAMP + 1];
    uint64_t due;

    memcpy(text, stamp, STAMP);
    text[STAMP] = '\0';
    due = strtoull(text, NULL, 16);
    hdr_record(&c->latency, now_ns() - due);
    c->delivered++;
}

/* One operation at p; its length, 0 = not all of it is there. */
static size_t operation(struct crowd *c, struct conn *k, const char *p, size_t n)
{
    const char *end = memchr(p, '\n', n);
    size_t line = end != NULL ? (size_t) (end - p) + 1 : 0;

    if (line == 0)
        return 0;
    if (p[0] == 'M') {
        if (n < line + STAMP + 2)
            return 0;
        delivered(c, p + line);
        return line + STAMP + 2;
    }
    if (line == 6 && memcmp(p, "PING", 4) == 0)
        say(k->fd, "PONG\r\n", 6);
    else if (line == 6 && memcmp(p, "PONG", 4) == 0 && !k->ready)
        k->ready = ++c->ready > 0;
    else if (p[0] == '-')
        die("connection %u: %.*s", (unsigned) (k - c->conns), (int) line, p);
    return line;
}

static void readable(struct crowd *c, struct conn *k)
{
    char bytes[8192];

    for (;;) {
        size_t at = 0, used, n = k->n;
        memcpy(bytes, k->rest, n);
        ssize_t got = recv(k->fd, bytes + n, sizeof(bytes) - n, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            die("connection %u", (unsigned) (k - c->conns));
        n += (size_t) got;
        while (at < n && (used = operation(c, k, bytes + at, n - at)) > 0)
            at += used;
        if (n - at > REST)
            die("a frame of more than %d bytes", REST);
        k->n = (uint8_t) (n - at);
        memcpy(k->rest, bytes + at, k->n);
        if ((size_t) got < sizeof(bytes) / 2)
            return;
    }
}

static void turn(struct crowd *c, int wait_ms)
{
    struct epoll_event events[EVENTS];
    int n = epoll_wait(c->epoll, events, EVENTS, wait_ms);

    for (int i = 0; i < n; i++) {
        struct conn *k = &c->conns[events[i].data.u32];
        if (!k->greeted && (events[i].events & EPOLLOUT) != 0)
            greet(c, k);
        if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
            readable(c, k);
    }
}

/* ---- a run ----------------------------------------------------------------------------------- */

static void publish(struct crowd *c, uint64_t number, uint64_t due)
{
    char text[96];
    int n = snprintf(text, sizeof(text), "PUB crowd.%llu %d\r\n%016llx\r\n",
                     (unsigned long long) (number % c->subjects), STAMP, (unsigned long long) due);

    say(c->publisher, text, (size_t) n);
}

/* Everything that is due is sent; what has come is read in between. */
static uint64_t run(struct crowd *c, double per_second, unsigned seconds)
{
    double interval = (double) SECOND * c->wanted / c->subjects / per_second;
    uint64_t start = now_ns(), end = start + seconds * SECOND, number = 0, expected;

    while (now_ns() < end) {
        uint64_t due = start + (uint64_t) (interval * (double) number);
        if (due <= now_ns())
            publish(c, number++, due);
        turn(c, 0);
    }
    expected = number * (c->wanted / c->subjects);
    for (end = now_ns() + 30 * SECOND; c->delivered < expected && now_ns() < end;)
        turn(c, 100);
    if (c->delivered != expected)
        fprintf(stderr, "%llu of %llu deliveries came\n", (unsigned long long) c->delivered,
                (unsigned long long) expected);
    return now_ns() - start;
}

static void report(const struct crowd *c, uint64_t took, double cpu)
{
    static const double percents[] = {50, 90, 99, 99.9, 99.99, 100};

    printf("%llu deliveries, %.0f a second, %.0f ns of the server's CPU each; latency",
           (unsigned long long) c->delivered, (double) c->delivered * 1e9 / (double) took,
           cpu * 1e9 / (double) c->delivered);
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++)
        printf(" p%g %.2f ms", percents[i],
               (double) hdr_percentile(&c->latency, percents[i]) / 1e6);
    printf("\n");
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);

    if (*end != '\0' || end == text || n == 0 || n > 100000000) {
        fprintf(stderr, "bench_crowd: %s is no number\n", text);
        exit(2);
    }
    return (unsigned) n;
}

int main(int argc, char **argv)
{
    struct crowd *c = mem_zalloc(sizeof(*c));
    uint64_t start = now_ns();
    struct rlimit files;
    double before, cpu;

    if (argc != 7) {
        fprintf(stderr, "usage: bench_crowd PORT SERVER_PID SUBSCRIBERS SUBJECTS "
                        "DELIVERIES_PER_SECOND SECONDS\n");
        return 2;
    }
    c->port = (uint16_t) number(argv[1]);
    c->wanted = number(argv[3]);
    c->subjects = number(argv[4]);
    c->conns = mem_array(c->wanted, sizeof(*c->conns));
    memset(c->conns, 0, c->wanted * sizeof(*c->conns));
    files = (struct rlimit){c->wanted + 100, c->wanted + 100};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        die("%u descriptors", c->wanted + 100);
    c->epoll = epoll_create1(EPOLL_CLOEXEC);
    before = resident_gib(argv[2]);
    while (c->ready < c->wanted) {
        open_more(c);
        turn(c, 1000);
    }
    printf("%u subscribers in %.1f s; server %.3f GiB, %.2f KiB each\n", c->ready,
           (double) (now_ns() - start) / 1e9, resident_gib(argv[2]),
           (resident_gib(argv[2]) - before) * 1024 * 1024 / c->wanted);
    c->publisher = open_socket(c, c->wanted, true);
    say(c->publisher, "CONNECT {\"verbose\":false}\r\n", 27);
    cpu = cpu_seconds(argv[2]);
    start = run(c, number(argv[5]), number(argv[6]));
    report(c, start, cpu_seconds(argv[2]) - cpu);
    return 0;
}
