/*
 * bench_io.c - what lib/io costs: not a test, a ruler for tuning. The numbers in its comments and
 * in docs/internals/io.md come from here.
 *
 *   bench_io ingest [event|uring] [send size] [seconds]   one connection, loopback, receive and
 * drop bench_io echo   [event|uring] [connections] [seconds] 64 bytes there and back bench_io
 * commit [event|uring] [bytes] [in flight] [seconds] [directory]   into a prewritten file bench_io
 * lane   [event|uring] [seconds]               ping-pong between two loops bench_io idle
 * [event|uring] [connections]           memory per idle connection
 *
 * The client is plain blocking sockets on its own thread; "loop cpu" is the loop thread's own time.
 */
#include "lib/base/assert.h"
#include "lib/io/io.h"
#include "lib/io/lane.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_of(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

static struct io *open_loop(const char *backend)
{
    struct io_config config;
    struct io *io;
    const char *spin = getenv("BENCH_SPIN_NS");
    const char *threads;

    io_config_init(&config);
    config.backend = strcmp(backend, "uring") == 0 ? IO_BACKEND_URING : IO_BACKEND_EVENT;
    config.congestion = "cubic";
    config.spin_ns = spin != NULL ? strtoull(spin, NULL, 10) : config.spin_ns;
    threads = getenv("BENCH_COMMIT_THREADS");
    if (threads != NULL)
        config.commit_threads = (unsigned) strtoul(threads, NULL, 10);
    if (io_open(&config, &io) < 0) {
        fprintf(stderr, "no %s here\n", backend);
        exit(1);
    }
    return io;
}

/* ---- the server side ------------------------------------------------------------------------- */

struct conn {
    struct io_op recv, send, close;
    struct io_sock *sock;
    struct iovec iov;
    uint8_t held[4096];
};

static struct {
    struct io *io;
    struct io_op accept;
    struct io_sock *listener;
    struct io_addr addr;
    bool echo;
    unsigned wanted;
    unsigned conns;
    unsigned closed;
} server;

static void on_closed(struct io_op *op)
{
    server.closed++;
    free(CONTAINER_OF(op, struct conn, close));
}

static void on_sent(struct io_op *op)
{
    struct conn *c = CONTAINER_OF(op, struct conn, send);

    io_recv(server.io, &c->recv, c->sock);
}

static void on_received(struct io_op *op)
{
    struct conn *c = CONTAINER_OF(op, struct conn, recv);

    if (op->res <= 0) {
        io_sock_close(server.io, &c->close, c->sock);
    } else if (server.echo) {
        memcpy(c->held, op->data, (size_t) op->res);
        c->iov = (struct iovec){c->held, (size_t) op->res};
        io_send(server.io, &c->send, c->sock, &c->iov, 1);
    } else {
        io_recv(server.io, &c->recv, c->sock);
    }
}

static void on_accepted(struct io_op *op)
{
    struct conn *c = calloc(1, sizeof(*c));

    ASSERT(op->res >= 0);
    io_op_init(&c->recv, on_received);
    io_op_init(&c->send, on_sent);
    io_op_init(&c->close, on_closed);
    c->sock = io_sock_open(server.io, (io_fd) op->res);
    io_recv(server.io, &c->recv, c->sock);
    if (++server.conns < server.wanted)
        io_accept(server.io, op, server.listener);
}

static void serve(const char *backend, unsigned conns, bool echo)
{
    server.io = open_loop(backend);
    server.echo = echo;
    server.wanted = conns;
    io_op_init(&server.accept, on_accepted);
    ASSERT(io_listen(server.io, "127.0.0.1", 0, 1024, &server.listener, &server.addr) == 0);
    io_accept(server.io, &server.accept, server.listener);
}

static void report(const char *what, double units, const char *unit, uint64_t ns, uint64_t cpu_ns)
{
    const struct io_stats *st = io_stats(server.io);

    printf("%s %s: %.3f %s/s, loop cpu %.1f ns per %s, %.0f%% of a core, %.0f polls/s, "
           "%.0f sleeps/s\n",
           io_backend_name(server.io), what, units / ((double) ns / 1e9), unit,
           (double) cpu_ns / units, unit, 100.0 * (double) cpu_ns / (double) ns,
           (double) st->polls / ((double) ns / 1e9), (double) st->sleeps / ((double) ns / 1e9));
}

/* ---- clients --------------------------------------------------------------------------------- */

static struct {
    size_t size;
    unsigned conns;
    uint64_t until;
    uint64_t *samples; /* round trips in ns */
    size_t count;
    size_t room;
} client;

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(server.addr.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;

    inet_pton(AF_INET, server.addr.host, &to.sin_addr);
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    ASSERT(connect(fd, (struct sockaddr *) &to, sizeof(to)) == 0);
    return fd;
}

static void *flood(void *arg)
{
    char *bytes = calloc(1, client.size);
    int fd = dial();

    (void) arg;
    while (clock_of(CLOCK_MONOTONIC) < client.until)
        for (int k = 0; k < 16; k++)
            ASSERT(send(fd, bytes, client.size, MSG_NOSIGNAL) == (ssize_t) client.size);
    close(fd);
    free(bytes);
    return NULL;
}

static void *ping(void *arg)
{
    int *fds = calloc(client.conns, sizeof(*fds));
    char bytes[64] = {0};

    (void) arg;
    for (unsigned k = 0; k < client.conns; k++)
        fds[k] = dial();
    while (clock_of(CLOCK_MONOTONIC) < client.until) {
        uint64_t began = clock_of(CLOCK_MONOTONIC);
        for (unsigned k = 0; k < client.conns; k++)
            ASSERT(send(fds[k], bytes, sizeof(bytes), MSG_NOSIGNAL) == sizeof(bytes));
        for (unsigned k = 0; k < client.conns; k++)
            ASSERT(recv(fds[k], bytes, sizeof(bytes), MSG_WAITALL) == sizeof(bytes));
        if (client.count < client.room)
            client.samples[client.count++] = clock_of(CLOCK_MONOTONIC) - began;
    }
    for (unsigned k = 0; k < client.conns; k++)
        close(fds[k]);
    free(fds);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}

static void percentiles(uint64_t *samples, size_t n)
{
    if (n == 0)
        return;
    qsort(samples, n, sizeof(*samples), by_value);
    printf("  p50 %.1f us, p99 %.1f us, p99.9 %.1f us, max %.1f us\n",
           (double) samples[n / 2] / 1e3, (double) samples[n * 99 / 100] / 1e3,
           (double) samples[n * 999 / 1000] / 1e3, (double) samples[n - 1] / 1e3);
}

static void run_network(const char *backend, unsigned conns, bool echo, double seconds)
{
    uint64_t began, cpu;
    pthread_t thread;

    serve(backend, conns, echo);
    client.conns = conns;
    client.until = clock_of(CLOCK_MONOTONIC) + (uint64_t) (seconds * 1e9);
    client.room = 4u << 20;
    client.samples = malloc(client.room * sizeof(*client.samples));
    began = clock_of(CLOCK_MONOTONIC);
    cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
    pthread_create(&thread, NULL, echo ? ping : flood, NULL);
    while (server.closed < conns)
        io_poll(server.io, 100000000);
    began = clock_of(CLOCK_MONOTONIC) - began;
    cpu = clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu;
    pthread_join(thread, NULL);
    if (echo)
        report("echo", (double) io_stats(server.io)->recvs, "echo", began, cpu);
    else
        report("ingest", (double) io_stats(server.io)->recv_bytes / 1048576.0, "MiB", began, cpu);
    if (!echo)
        printf("  %.1f KiB per receive\n", (double) io_stats(server.io)->recv_bytes / 1024.0 /
                                               (double) io_stats(server.io)->recvs);
    percentiles(client.samples, client.count);
}

/* ---- commits --------------------------------------------------------------------------------- */

enum { FILE_BYTES = 64 << 20, FLIGHT_MAX = 64 };

static struct {
    struct io *io;
    struct io_file *file;
    struct io_op ops[FLIGHT_MAX];
    uint64_t started[FLIGHT_MAX];
    uint64_t *samples;
    size_t count;
    struct iovec iov;
    uint64_t offset;
    uint64_t until;
    unsigned busy;
} commits;

static void next_commit(struct io_op *op)
{
    if (commits.offset + commits.iov.iov_len > FILE_BYTES)
        commits.offset = 0;
    commits.started[op - commits.ops] = clock_of(CLOCK_MONOTONIC);
    io_commit(commits.io, op, commits.file, &commits.iov, 1, commits.offset);
    commits.offset += commits.iov.iov_len;
    commits.busy++;
}

static void on_committed(struct io_op *op)
{
    uint64_t now = clock_of(CLOCK_MONOTONIC);

    ASSERT(op->res == (int64_t) commits.iov.iov_len);
    commits.busy--;
    if (commits.count < (1u << 22))
        commits.samples[commits.count++] = now - commits.started[op - commits.ops];
    if (now < commits.until)
        next_commit(op);
}

static void prewrite(const char *path)
{
    struct io_fs *fs = io_fs(commits.io);
    char *zeros = calloc(1, 1 << 20);
    fs_fd fd;

    fs_unlink(fs, path);
    fd = fs_open(fs, path, IO_FILE_CREATE);
    ASSERT(fd >= 0);
    for (uint64_t at = 0; at < FILE_BYTES; at += 1 << 20)
        ASSERT(fs_write(fs, fd, zeros, 1 << 20, at) == 0);
    ASSERT(fs_sync(fs, fd) == 0);
    fs_close(fs, fd);
    free(zeros);
}

static uint64_t process_cpu(void)
{
    struct rusage ru;

    getrusage(RUSAGE_SELF, &ru);
    return (uint64_t) (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000000u +
           (uint64_t) (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) * 1000u;
}

static void run_commits(const char *backend, size_t bytes, unsigned flight, double seconds,
                        const char *dir)
{
    uint64_t began, cpu, all, ns;
    char path[512];

    ASSERT(flight <= FLIGHT_MAX && bytes <= FILE_BYTES);
    commits.io = server.io = open_loop(backend);
    snprintf(path, sizeof(path), "%s/bench_io.%d", dir, (int) getpid());
    prewrite(path);
    commits.file = io_file_open(commits.io, path, IO_FILE_WRITE);
    commits.iov = (struct iovec){calloc(1, bytes), bytes};
    commits.samples = malloc((1u << 22) * sizeof(*commits.samples));
    began = clock_of(CLOCK_MONOTONIC);
    commits.until = began + (uint64_t) (seconds * 1e9);
    cpu = clock_of(CLOCK_THREAD_CPUTIME_ID);
    all = process_cpu();
    for (unsigned k = 0; k < flight; k++) {
        io_op_init(&commits.ops[k], on_committed);
        next_commit(&commits.ops[k]);
    }
    while (commits.busy > 0)
        io_poll(commits.io, 100000000);
    ns = clock_of(CLOCK_MONOTONIC) - began;
    report("commit", (double) commits.count, "commit", ns, clock_of(CLOCK_THREAD_CPUTIME_ID) - cpu);
    all = process_cpu() - all;
    printf("  all threads: cpu %.1f us per commit, %.0f%% of a core; %.0f MiB/s\n",
           (double) all / 1e3 / (double) commits.count, 100.0 * (double) all / (double) ns,
           (double) commits.count * (double) bytes / 1048576.0 / ((double) ns / 1e9));
    percentiles(commits.samples, commits.count);
    io_file_close(commits.io, commits.file);
    fs_unlink(io_fs(commits.io), path);
}

/* ---- lanes ----------------------------------------------------------------------------------- */

static struct {
    struct io *here, *there;
    struct lane *out, *back;
    atomic_bool stop;
} pong;

static void *pong_main(void *arg)
{
    (void) arg;
    while (!atomic_load(&pong.stop)) {
        struct lane_item *item;
        while ((item = lane_pop(pong.out)) != NULL) {
            lane_done(pong.out, item);
            lane_push(pong.back, item);
        }
        lane_flush(pong.back);
        io_poll(pong.there, 100000000);
    }
    return NULL;
}

static void run_lane(const char *backend, double seconds)
{
    struct lane_item item = {.bytes = 8};
    uint64_t *samples = malloc((1u << 23) * sizeof(*samples));
    size_t count = 0;
    uint64_t began = clock_of(CLOCK_MONOTONIC);
    uint64_t until = began + (uint64_t) (seconds * 1e9);
    pthread_t thread;

    server.io = pong.here = open_loop(backend);
    pong.there = open_loop(backend);
    pong.out = lane_open(pong.there, 16, 1000);
    pong.back = lane_open(pong.here, 16, 1000);
    pthread_create(&thread, NULL, pong_main, NULL);
    while (clock_of(CLOCK_MONOTONIC) < until && count < (1u << 23)) {
        struct lane_item *answer;
        uint64_t sent = clock_of(CLOCK_MONOTONIC);
        lane_push(pong.out, &item);
        lane_flush(pong.out);
        while ((answer = lane_pop(pong.back)) == NULL)
            io_poll(pong.here, 100000000);
        lane_done(pong.back, answer);
        samples[count++] = clock_of(CLOCK_MONOTONIC) - sent;
    }
    atomic_store(&pong.stop, true);
    io_wake(pong.there);
    pthread_join(thread, NULL);
    report("lane", (double) count, "round trip", clock_of(CLOCK_MONOTONIC) - began, 0);
    percentiles(samples, count);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static size_t resident(void)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long size = 0, pages = 0;

    if (f == NULL || fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    if (f != NULL)
        fclose(f);
    return pages * (size_t) sysconf(_SC_PAGESIZE);
}

static void ignore(struct io_op *op)
{
    (void) op;
}

/* Both ends live here, so that the client's cost no user memory but ours counts twice: halved
 * below. The operation belongs to the caller and is not counted. */
static void run_idle(const char *backend, unsigned conns)
{
    int *fds = calloc(2 * conns, sizeof(*fds));
    struct io_op *ops = calloc(2 * conns, sizeof(*ops));
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    size_t before;

    server.io = open_loop(backend);
    ASSERT(bind(listener, (struct sockaddr *) &addr, len) == 0 && listen(listener, 64) == 0);
    getsockname(listener, (struct sockaddr *) &addr, &len);
    for (unsigned k = 0; k < conns; k++) {
        fds[2 * k] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        ASSERT(connect(fds[2 * k], (struct sockaddr *) &addr, len) == 0 || errno == EINPROGRESS);
        fds[2 * k + 1] = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        ASSERT(fds[2 * k + 1] >= 0);
    }
    memset(ops, 1, 2 * conns * sizeof(*ops)); /* touch them now */
    for (unsigned k = 0; k < 2 * conns; k++)
        io_op_init(&ops[k], ignore);
    io_poll(server.io, 0);
    before = resident();
    for (unsigned k = 0; k < 2 * conns; k++)
        io_recv(server.io, &ops[k], io_sock_open(server.io, fds[k]));
    for (int k = 0; k < 10; k++)
        io_poll(server.io, 1000000);
    printf("%s idle: %.0f bytes of ours per connection with a receive in flight\n",
           io_backend_name(server.io), (double) (resident() - before) / (2.0 * conns));
}

/* ---- main ------------------------------------------------------------------------------------ */

static double number(int argc, char **argv, int at, double otherwise)
{
    return argc > at ? strtod(argv[at], NULL) : otherwise;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    const char *backend = argc > 2 ? argv[2] : "event";

    if (strcmp(what, "ingest") == 0) {
        client.size = (size_t) number(argc, argv, 3, 262144);
        run_network(backend, 1, false, number(argc, argv, 4, 2));
    } else if (strcmp(what, "echo") == 0) {
        run_network(backend, (unsigned) number(argc, argv, 3, 1), true, number(argc, argv, 4, 2));
    } else if (strcmp(what, "commit") == 0) {
        run_commits(backend, (size_t) number(argc, argv, 3, 65536),
                    (unsigned) number(argc, argv, 4, 2), number(argc, argv, 5, 2),
                    argc > 6 ? argv[6] : ".");
    } else if (strcmp(what, "lane") == 0) {
        run_lane(backend, number(argc, argv, 3, 2));
    } else if (strcmp(what, "idle") == 0) {
        run_idle(backend, (unsigned) number(argc, argv, 3, 1000));
    } else {
        fprintf(stderr, "usage: bench_io ingest|echo|commit|lane|idle [event|uring] ...\n");
        return 2;
    }
    return 0;
}
