#include "tests/unit/io/host.h"

#include "tests/unit/io/conformance.h"
#include "tests/unit/io/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- surroundings ---------------------------------------------------------------------------- */

/* One directory for the program, made and removed by its first process; one below it for each
 * case's. */
static char root[160];
static pid_t root_owner;

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static void remove_root(void)
{
    if (getpid() == root_owner)
        nftw(root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void make_root(void)
{
    const char *tmp = getenv("TMPDIR");

    if (root[0] != '\0')
        return;
    snprintf(root, sizeof(root), "%.120s/midge-io-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(root) == NULL)
        root[0] = '\0';
    root_owner = getpid();
    atexit(remove_root);
}

const char *conformance_dir(void)
{
    static char dir[96];

    make_root();
    snprintf(dir, sizeof(dir), "%s/%d", root, (int) getpid());
    if (mkdir(dir, 0700) < 0)
        ck_assert_int_eq(errno, EEXIST);
    return dir;
}

struct io *conformance_open(const struct io_config *config)
{
    struct io_config mine = *config;
    struct io *io = NULL;

    mine.backend = host_backend;
    mine.cores = host_cores;
    ck_assert_int_eq(io_open(&mine, &io), 0);
    return io;
}

void conformance_close(struct io *io)
{
    io_close(io);
}

const char *conformance_host(void)
{
    return "127.0.0.1";
}

const char *conformance_skip(void)
{
    static char why[200];
    struct io_config config;
    struct io *io;
    int rc;

    make_root();
    io_config_init(&config);
    config.backend = host_backend;
    rc = io_open(&config, &io);
    if (rc < 0) {
        snprintf(why, sizeof(why), "no such backend here: %s", strerror(-rc));
        return why;
    }
    io_close(io);
    return NULL;
}

static struct io *open_io(void)
{
    struct io_config config;

    io_config_init(&config);
    return conformance_open(&config);
}

/* ---- other threads --------------------------------------------------------------------------- */

struct waker {
    struct io *io;
    unsigned times;
};

static void *wake_often(void *arg)
{
    struct waker *w = arg;

    for (unsigned k = 0; k < w->times; k++)
        io_wake(w->io);
    return NULL;
}

/* A poll without a limit returns only because of the other thread. */
TEST(another_thread_wakes_the_loop)
{
    struct io *io = open_io();
    struct waker w = {io, 1};
    pthread_t thread;

    for (int k = 0; k < 50; k++) {
        ck_assert_int_eq(pthread_create(&thread, NULL, wake_often, &w), 0);
        io_poll(io, UINT64_MAX);
        pthread_join(thread, NULL);
        io_poll(io, 0);
    }
    conformance_close(io);
}

TEST(a_storm_of_wakes)
{
    struct io *io = open_io();
    struct waker w = {io, 20000};
    pthread_t threads[3];

    for (int k = 0; k < 3; k++)
        ck_assert_int_eq(pthread_create(&threads[k], NULL, wake_often, &w), 0);
    for (int k = 0; k < 200; k++)
        io_poll(io, 1000000);
    for (int k = 0; k < 3; k++)
        pthread_join(threads[k], NULL);
    ck_assert_uint_ge(io_stats(io)->polls, 200);
    conformance_close(io);
}

struct gate {
    struct io_work work;
    pthread_mutex_t lock;
    pthread_cond_t turn;
    bool open;
    unsigned done;
};

static void gate_run(struct io_work *work)
{
    struct gate *g = CONTAINER_OF(work, struct gate, work);

    pthread_mutex_lock(&g->lock);
    while (!g->open)
        pthread_cond_wait(&g->turn, &g->lock);
    pthread_mutex_unlock(&g->lock);
}

static void gate_done(struct io_op *op)
{
    CONTAINER_OF(op, struct gate, work.op)->done++;
}

/* All work threads are held: a commit still gets through, a waiting work can be cancelled. */
TEST(commits_do_not_wait_for_work)
{
    enum { THREADS = 2 };
    struct io *io = open_io();
    struct gate gates[THREADS + 1];
    struct io_file *file;
    struct probe p;
    struct iovec iov = {(void *) (uintptr_t) "x", 1};
    char path[128];

    for (int k = 0; k < THREADS + 1; k++) {
        gates[k] = (struct gate){.open = false};
        pthread_mutex_init(&gates[k].lock, NULL);
        pthread_cond_init(&gates[k].turn, NULL);
        io_op_init(&gates[k].work.op, gate_done);
        gates[k].work.run = gate_run;
        io_work_submit(io, &gates[k].work);
    }
    snprintf(path, sizeof(path), "%s/f", conformance_dir());
    file = io_file_open(io, path, IO_FILE_CREATE);
    probe_init(&p, io);
    io_commit(io, &p.op, file, &iov, 1, 0);
    ck_assert_int_eq(probe_wait(&p), 1);
    io_cancel(io, &gates[THREADS].work.op);
    probe_wait_calls(io, &gates[THREADS].done, 1);
    ck_assert_int_eq(gates[THREADS].work.op.res, -ECANCELED);
    for (int k = 0; k < THREADS; k++) {
        ck_assert_uint_eq(gates[k].done, 0);
        pthread_mutex_lock(&gates[k].lock);
        gates[k].open = true;
        pthread_cond_signal(&gates[k].turn);
        pthread_mutex_unlock(&gates[k].lock);
        probe_wait_calls(io, &gates[k].done, 1);
        ck_assert_int_eq(gates[k].work.op.res, 0);
    }
    io_file_close(io, file);
    conformance_close(io);
}

/* ---- the second loop of a process ------------------------------------------------------------ */

/* A connection accepted on one loop lives on another. */
TEST(a_socket_moves_to_another_loop)
{
    struct io *first = open_io(), *second = open_io();
    struct pair pair;
    struct probe accepted, connected;
    struct io_sock *server, *client;
    char in[4];

    ck_assert_int_eq(io_listen(first, conformance_host(), 0, 8, &pair.listener, &pair.addr), 0);
    probe_init(&accepted, first);
    probe_init(&connected, second);
    io_accept(first, &accepted.op, pair.listener);
    io_connect(second, &connected.op, pair.addr.host, pair.addr.port);
    ck_assert_int_ge(probe_wait(&connected), 0);
    ck_assert_int_ge(probe_wait(&accepted), 0);
    server = io_sock_open(second, (io_fd) accepted.res);
    client = io_sock_open(second, (io_fd) connected.res);
    ck_assert_int_eq(send_bytes(second, client, "ping", 4), 4);
    ck_assert_int_eq(recv_bytes(second, server, in, 4), 4);
    sock_close(second, server);
    sock_close(second, client);
    sock_close(first, pair.listener);
    conformance_close(first);
    conformance_close(second);
}

static unsigned open_descriptors(void)
{
    unsigned n = 0;

    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* A file of one loop goes out of a socket of another. */
TEST(a_file_of_another_loop)
{
    enum { SIZE = 3 * 1024 * 1024 };
    unsigned before = open_descriptors();
    struct io *first = open_io(), *second = open_io();
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
    struct io_file *file;
    struct pair pair;
    struct probe p;
    char path[128];

    snprintf(path, sizeof(path), "%s/f", conformance_dir());
    pattern_fill(out, SIZE, 9, 0);
    file = io_file_open(first, path, IO_FILE_CREATE);
    probe_init(&p, first);
    io_commit(first, &p.op, file, &(struct iovec){out, SIZE}, 1, 0);
    ck_assert_int_eq(probe_wait(&p), SIZE);
    pair_open(second, &pair);
    for (uint32_t k = 0; k < 3; k++) {
        probe_init(&p, second);
        io_splice(second, &p.op, pair.server, file, k, SIZE - k);
        ck_assert_int_eq(recv_bytes(second, pair.client, in, SIZE - k), SIZE - k);
        ck_assert_int_eq(probe_wait(&p), SIZE - k);
        ck_assert(pattern_is(in, SIZE - k, 9, k));
    }
    pair_close(second, &pair);
    io_file_close(first, file);
    conformance_close(second);
    conformance_close(first);
    ck_assert_uint_eq(open_descriptors(), before);
    free(out);
    free(in);
}

/* Does this machine have addresses of IPv6? */
static bool has_ipv6(struct io *io)
{
    struct io_sock *probe;

    if (io_listen(io, "::1", 0, 1, &probe, NULL) != 0)
        return false;
    sock_close(io, probe);
    return true;
}

/* As with the peer, where "localhost" is ::1 first. Who comes by IPv4 is named so. */
TEST(every_address_is_those_of_ipv6_too)
{
    static const char *const hosts[] = {"127.0.0.1", "::1"};
    struct io *io = open_io();
    struct io_sock *listener;
    struct io_addr at;

    ck_assert_int_eq(io_listen(io, "0.0.0.0", 0, 8, &listener, &at), 0);
    ck_assert_str_eq(at.host, "0.0.0.0");
    for (int k = 0; k < (has_ipv6(io) ? 2 : 1); k++) {
        struct probe accepted, connected;
        struct io_addr peer, local;
        struct io_sock *server;
        probe_init(&accepted, io);
        probe_init(&connected, io);
        io_accept(io, &accepted.op, listener);
        io_connect(io, &connected.op, hosts[k], at.port);
        ck_assert_int_ge(probe_wait(&connected), 0);
        ck_assert_int_ge(probe_wait(&accepted), 0);
        server = io_sock_open(io, (io_fd) accepted.res);
        io_sock_peer(server, &peer);
        io_sock_local(server, &local);
        ck_assert_str_eq(peer.host, hosts[k]);
        ck_assert_str_eq(local.host, hosts[k]);
        sock_close(io, server);
        io_fd_discard(io, (io_fd) connected.res);
    }
    sock_close(io, listener);
    conformance_close(io);
}

static void *poll_until_wake(void *arg)
{
    struct io *io = arg;

    io_poll(io, UINT64_MAX);
    return NULL;
}

/* Opened and closed by this thread, polled by another. */
TEST(the_loop_belongs_to_the_thread_that_polls)
{
    struct io *io = open_io();
    struct io_sock *listener;
    struct probe closed;
    pthread_t thread;

    ck_assert_int_eq(io_listen(io, conformance_host(), 0, 8, &listener, NULL), 0);
    probe_init(&closed, io);
    io_sock_close(io, &closed.op, listener);
    ck_assert_int_eq(pthread_create(&thread, NULL, poll_until_wake, io), 0);
    pthread_join(thread, NULL);
    ck_assert_int_eq(closed.calls, 1);
    conformance_close(io);
}

/* ---- sockets --------------------------------------------------------------------------------- */

/* Every send is cut into many: the smallest send buffer the kernel has. */
TEST(short_transfers)
{
    enum { SIZE = 1024 * 1024, COUNT = 700 };
    struct io *io = open_io();
    struct pair pair = {0};
    struct probe accepted, connected, sent;
    struct iovec iov[COUNT];
    uint8_t *out = malloc(SIZE), *in = malloc(SIZE);
    int tiny = 1;
    size_t at = 0;

    ck_assert_int_eq(io_listen(io, conformance_host(), 0, 8, &pair.listener, &pair.addr), 0);
    probe_init(&accepted, io);
    probe_init(&connected, io);
    io_accept(io, &accepted.op, pair.listener);
    io_connect(io, &connected.op, pair.addr.host, pair.addr.port);
    ck_assert_int_ge(probe_wait(&connected), 0);
    ck_assert_int_ge(probe_wait(&accepted), 0);
    setsockopt((int) connected.res, SOL_SOCKET, SO_SNDBUF, &tiny, sizeof(tiny));
    pair.client = io_sock_open(io, (io_fd) connected.res);
    pair.server = io_sock_open(io, (io_fd) accepted.res);
    pattern_fill(out, SIZE, 11, 0);
    for (size_t k = 0; k < COUNT; k++) {
        iov[k] = (struct iovec){out + at, k == COUNT - 1 ? SIZE - at : (k * 31) % 2900};
        at += iov[k].iov_len;
    }
    probe_init(&sent, io);
    io_send(io, &sent.op, pair.client, iov, COUNT);
    ck_assert_int_eq(recv_bytes(io, pair.server, in, SIZE), SIZE);
    ck_assert_int_eq(probe_wait(&sent), SIZE);
    ck_assert(pattern_is(in, SIZE, 11, 0));
    pair_close(io, &pair);
    conformance_close(io);
    free(out);
    free(in);
}

static void check_options(int fd, const char *congestion)
{
    char name[16] = "";
    int nodelay = 0;
    socklen_t len = sizeof(nodelay);

    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &len), 0);
    ck_assert_int_ne(nodelay, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    len = sizeof(name);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len), 0);
    if (congestion != NULL)
        ck_assert_str_eq(name, congestion);
}

/* Both sides of a connection; reno is in every kernel, the last name in none. */
TEST(sockets_have_their_options)
{
    static const char *const names[] = {NULL, "reno", "no-such-control"};
    struct io_config config;
    struct pair pair;
    struct io *io;

    io_config_init(&config);
    config.congestion = names[i];
    io = conformance_open(&config);
    ck_assert_int_eq(io_listen(io, conformance_host(), 0, 8, &pair.listener, &pair.addr), 0);
    for (int k = 0; k < 2; k++) {
        struct probe accepted, connected;
        probe_init(&accepted, io);
        probe_init(&connected, io);
        io_accept(io, &accepted.op, pair.listener);
        io_connect(io, &connected.op, pair.addr.host, pair.addr.port);
        ck_assert_int_ge(probe_wait(&connected), 0);
        ck_assert_int_ge(probe_wait(&accepted), 0);
        check_options((int) accepted.res, i == 1 ? "reno" : NULL);
        check_options((int) connected.res, i == 1 ? "reno" : NULL);
        io_fd_discard(io, (io_fd) accepted.res);
        io_fd_discard(io, (io_fd) connected.res);
    }
    sock_close(io, pair.listener);
    conformance_close(io);
}

TEST(ipv6)
{
    struct io *io = open_io();
    struct io_addr peer;
    struct pair pair;
    char in[2];
    int rc = io_listen(io, "::1", 0, 8, &pair.listener, &pair.addr);

    if (rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT) {
        printf("ipv6: skipped: no ::1 here\n");
        conformance_close(io);
        return;
    }
    ck_assert_int_eq(rc, 0);
    pair_connect(io, &pair, &pair.client, &pair.server);
    io_sock_peer(pair.client, &peer);
    ck_assert_str_eq(peer.host, "::1");
    ck_assert_int_eq(send_bytes(io, pair.client, "v6", 2), 2);
    ck_assert_int_eq(recv_bytes(io, pair.server, in, 2), 2);
    pair_close(io, &pair);
    conformance_close(io);
}

TEST(connects_by_name)
{
    struct io *io = open_io();
    struct pair pair;
    struct probe accepted, connected, unknown, cancelled;

    ck_assert_int_eq(io_listen(io, "localhost", 0, 8, &pair.listener, &pair.addr), 0);
    probe_init(&accepted, io);
    probe_init(&connected, io);
    probe_init(&unknown, io);
    probe_init(&cancelled, io);
    io_accept(io, &accepted.op, pair.listener);
    io_connect(io, &connected.op, "localhost", pair.addr.port);
    ck_assert_int_ge(probe_wait(&connected), 0);
    ck_assert_int_ge(probe_wait(&accepted), 0);
    io_fd_discard(io, (io_fd) connected.res);
    io_fd_discard(io, (io_fd) accepted.res);
    io_connect(io, &unknown.op, "no such name", 1);
    ck_assert_int_lt(probe_wait(&unknown), 0);
    io_connect(io, &cancelled.op, "localhost", pair.addr.port);
    io_cancel(io, &cancelled.op);
    ck_assert_int_eq(probe_wait(&cancelled), -ECANCELED);
    sock_close(io, pair.listener);
    conformance_close(io);
}

/* An address that never answers, so that the connect is in flight until it is cancelled. */
TEST(a_connect_can_be_cancelled)
{
    struct io *io = open_io();
    struct io_sock *listener;
    struct io_addr addr;
    struct probe p[64];
    unsigned busy = 0;

    /* A backlog of one, never accepted: loopback drops further handshakes and they wait. */
    ck_assert_int_eq(io_listen(io, conformance_host(), 0, 1, &listener, &addr), 0);
    for (int k = 0; k < 64; k++) {
        probe_init(&p[k], io);
        io_connect(io, &p[k].op, addr.host, addr.port);
    }
    for (int k = 0; k < 20; k++)
        io_poll(io, 1000000);
    for (int k = 0; k < 64; k++) {
        if (p[k].calls == 0) {
            busy++;
            io_cancel(io, &p[k].op);
            ck_assert_int_eq(probe_wait(&p[k]), -ECANCELED);
        } else if (p[k].res >= 0) {
            io_fd_discard(io, (io_fd) p[k].res);
        }
    }
    ck_assert_uint_gt(busy, 0);
    sock_close(io, listener);
    conformance_close(io);
}

/* Accepting without descriptors fails, and works again when there are some. */
TEST(descriptors_run_out)
{
    struct io *io = open_io();
    struct pair pair;
    struct probe connected, accepted;
    struct rlimit limit, low;

    ck_assert_int_eq(io_listen(io, conformance_host(), 0, 8, &pair.listener, &pair.addr), 0);
    probe_init(&connected, io);
    io_connect(io, &connected.op, pair.addr.host, pair.addr.port);
    ck_assert_int_ge(probe_wait(&connected), 0);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (int k = 0; k < 2; k++) {
        probe_init(&accepted, io);
        io_accept(io, &accepted.op, pair.listener);
        ck_assert_int_eq(probe_wait(&accepted), -EMFILE);
    }
    setrlimit(RLIMIT_NOFILE, &limit);
    probe_init(&accepted, io);
    io_accept(io, &accepted.op, pair.listener);
    ck_assert_int_ge(probe_wait(&accepted), 0);
    io_fd_discard(io, (io_fd) connected.res);
    io_fd_discard(io, (io_fd) accepted.res);
    sock_close(io, pair.listener);
    conformance_close(io);
}

TEST(nothing_is_left_open)
{
    unsigned before = open_descriptors();
    struct io *io = open_io();
    struct pair pair;
    struct io_file *file;
    struct probe p;
    char path[128], byte;

    pair_open(io, &pair);
    snprintf(path, sizeof(path), "%s/f", conformance_dir());
    file = io_file_open(io, path, IO_FILE_CREATE);
    probe_init(&p, io);
    io_read(io, &p.op, file, &byte, 1, 0);
    ck_assert_int_eq(probe_wait(&p), 0);
    pair_close(io, &pair);
    io_file_close(io, file);
    conformance_close(io);
    ck_assert_uint_eq(open_descriptors(), before);
}

/* The descriptors really are limited. */
TEST(open_files_stay_below_the_limit)
{
    enum { COUNT = 30, MAX = 5, THREADS = 4 };
    struct io_config config;
    struct io_file *files[COUNT];
    unsigned before, most = 0;
    struct io *io;
    char path[128], byte;

    io_config_init(&config);
    config.files_open_max = MAX;
    io = conformance_open(&config);
    before = open_descriptors();
    for (int k = 0; k < COUNT; k++) {
        struct probe p;
        unsigned now;
        snprintf(path, sizeof(path), "%s/f%d", conformance_dir(), k);
        files[k] = io_file_open(io, path, IO_FILE_CREATE);
        probe_init(&p, io);
        io_read(io, &p.op, files[k], &byte, 1, 0);
        ck_assert_int_eq(probe_wait(&p), 0);
        now = open_descriptors() - before;
        most = now > most ? now : most;
    }
    ck_assert_uint_ge(most, MAX);
    ck_assert_uint_le(most, MAX + THREADS);
    for (int k = 0; k < COUNT; k++)
        io_file_close(io, files[k]);
    conformance_close(io);
}

/* ---- choosing a backend ---------------------------------------------------------------------- */

struct lines {
    struct log log;
    char last[256];
};

static void keep_line(struct log *log, enum log_level level, const char *text)
{
    struct lines *l = CONTAINER_OF(log, struct lines, log);

    (void) level;
    snprintf(l->last, sizeof(l->last), "%s", text);
}

TEST(auto_falls_back_and_says_why)
{
    struct lines lines = {.log = {.line = keep_line, .enabled = ~0u}};
    struct io_config config;
    struct io *io = NULL;

    io_config_init(&config);
    config.log = &lines.log;
    config.uring_errno = EPERM;
    ck_assert_int_eq(io_open(&config, &io), 0);
    ck_assert_str_eq(io_backend_name(io), "libevent");
    ck_assert_str_eq(io_backend_reason(io), "io_uring_setup: Operation not permitted");
    ck_assert_str_eq(lines.last, "I/O loop: libevent (io_uring_setup: Operation not permitted)");
    io_close(io);
}

TEST(asked_for_io_uring_it_does_not_fall_back)
{
    struct lines lines = {.log = {.line = keep_line, .enabled = ~0u}};
    struct io_config config;
    struct io *io = NULL;

    io_config_init(&config);
    config.backend = IO_BACKEND_URING;
    config.log = &lines.log;
    config.uring_errno = ENOSYS;
    ck_assert_int_eq(io_open(&config, &io), -ENOSYS);
    ck_assert_ptr_null(io);
    ck_assert_str_eq(lines.last, "I/O backend: io_uring_setup: Function not implemented");
}

TEST(the_choice_is_logged)
{
    struct lines lines = {.log = {.line = keep_line, .enabled = ~0u}};
    struct io_config config;
    char expected[256];
    struct io *io = NULL;

    io_config_init(&config);
    config.backend = host_backend;
    config.log = &lines.log;
    ck_assert_int_eq(io_open(&config, &io), 0);
    snprintf(expected, sizeof(expected), "I/O loop: %s (asked for)", io_backend_name(io));
    ck_assert_str_eq(lines.last, expected);
    io_close(io);
}

/* ---- a full disk ----------------------------------------------------------------------------- */

static int64_t commit_zeros(struct io *io, struct io_file *file, size_t n, uint64_t at)
{
    uint8_t *bytes = calloc(1, n);
    struct iovec iov = {bytes, n};
    struct probe p;

    probe_init(&p, io);
    io_commit(io, &p.op, file, &iov, 1, at);
    probe_wait(&p);
    free(bytes);
    return p.res;
}

/* A file system of one MiB, for this case alone. */
TEST(the_disk_is_full)
{
    struct io *io;
    struct io_file *small, *large;
    char dir[128], path[160];
    fs_fd fd;

    snprintf(dir, sizeof(dir), "%s/full", conformance_dir());
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    if (mount("none", dir, "tmpfs", 0, "size=1m") < 0) {
        printf("the_disk_is_full: skipped: mounting a tmpfs: %s\n", strerror(errno));
        return;
    }
    io = open_io();
    snprintf(path, sizeof(path), "%s/small", dir);
    small = io_file_open(io, path, IO_FILE_CREATE);
    ck_assert_int_eq(commit_zeros(io, small, 4096, 0), 4096);
    snprintf(path, sizeof(path), "%s/large", dir);
    large = io_file_open(io, path, IO_FILE_CREATE);
    ck_assert_int_eq(commit_zeros(io, large, 2 * 1024 * 1024, 0), -ENOSPC);
    ck_assert_int_eq(fs_unlink(io_fs(io), path), 0);
    io_file_close(io, large);
    /* What has its blocks goes on. */
    ck_assert_int_eq(commit_zeros(io, small, 4096, 0), 4096);
    snprintf(path, sizeof(path), "%s/reserved", dir);
    fd = fs_open(io_fs(io), path, IO_FILE_CREATE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_allocate(io_fs(io), fd, 64 * 1024 * 1024), -ENOSPC);
    ck_assert_int_lt(fs_free_bytes(io_fs(io), dir), 1024 * 1024);
    fs_close(io_fs(io), fd);
    io_file_close(io, small);
    conformance_close(io);
    ck_assert_int_eq(umount2(dir, MNT_DETACH), 0);
}

static const struct runner_case cases[] = {
    RUN(another_thread_wakes_the_loop),
    RUN(a_storm_of_wakes),
    RUN(commits_do_not_wait_for_work),
    RUN(a_socket_moves_to_another_loop),
    RUN(a_file_of_another_loop),
    RUN(every_address_is_those_of_ipv6_too),
    RUN(the_loop_belongs_to_the_thread_that_polls),
    RUN(short_transfers),
    RUN_LOOP(sockets_have_their_options, 0, 3),
    RUN(ipv6),
    RUN(connects_by_name),
    RUN(a_connect_can_be_cancelled),
    RUN(descriptors_run_out),
    RUN(nothing_is_left_open),
    RUN(open_files_stay_below_the_limit),
    RUN(auto_falls_back_and_says_why),
    RUN(asked_for_io_uring_it_does_not_fall_back),
    RUN(the_choice_is_logged),
    RUN(the_disk_is_full),
};

const struct runner_case *host_cases(size_t *count)
{
    *count = sizeof(cases) / sizeof(cases[0]);
    return cases;
}
