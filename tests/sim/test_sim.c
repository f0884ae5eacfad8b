/*
 * test_sim.c - the simulator itself: determinism, time, what commits promise, faults, power cuts,
 * connections. That it behaves as the other backends do is the business of the conformance suite of
 * lib/io.
 */
#include "lib/base/hash.h"
#include "tests/lib/runner.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_mem.h"

#include <errno.h>
#include <string.h>

/* ---- a small driver -------------------------------------------------------------------------- */

struct wait {
    struct io_op op;
    bool done;
    char got[65536];
};

static void on_done(struct io_op *op)
{
    struct wait *w = (struct wait *) op;
    w->done = true;
    if (op->data != NULL && op->res > 0)
        memcpy(w->got, op->data,
               (size_t) op->res < sizeof(w->got) ? (size_t) op->res : sizeof(w->got));
}

static struct io_op *wait_init(struct wait *w)
{
    w->done = false;
    io_op_init(&w->op, on_done);
    return &w->op;
}

static int64_t wait_for(struct sim *sim, struct wait *w)
{
    while (!w->done) {
        struct io *io = sim_next(sim, UINT64_MAX);
        ck_assert_ptr_nonnull(io);
        io_poll(io, 0);
    }
    return w->op.res;
}

static void settle(struct sim *sim, uint64_t ns)
{
    struct io *io;
    uint64_t end = sim_now(sim) + ns;
    while (sim_now(sim) < end && (io = sim_next(sim, end - sim_now(sim))) != NULL)
        io_poll(io, 0);
}

static char content(struct sim *sim, const char *path, uint64_t offset)
{
    char c = '-';
    fs_fd fd = fs_open(sim_fs(sim), path, IO_FILE_READ);
    if (fd >= 0) {
        fs_read(sim_fs(sim), fd, &c, 1, offset);
        fs_close(sim_fs(sim), fd);
    }
    return c;
}

static void make_file(struct sim *sim, const char *path)
{
    fs_fd fd = fs_open(sim_fs(sim), path, IO_FILE_CREATE | IO_FILE_WRITE);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fs_sync(sim_fs(sim), fd), 0);
    fs_close(sim_fs(sim), fd);
    ck_assert_int_eq(fs_sync_dir(sim_fs(sim), "."), 0);
}

/* ---- time ------------------------------------------------------------------------------------ */

struct bell {
    struct wheel_timer timer;
    struct io *io;
    uint64_t at;
};

static void ring(struct wheel_timer *t)
{
    struct bell *b = (struct bell *) t;
    b->at = io_now(b->io);
}

TEST(time_jumps_to_what_is_next)
{
    struct sim *sim = sim_open(1, NULL);
    struct io *a = sim_io_open(sim, NULL);
    struct io *b = sim_io_open(sim, NULL);
    struct bell bells[2] = {{.io = a}, {.io = b}};
    uint64_t start = sim_now(sim);
    ck_assert_ptr_null(sim_next(sim, 1000));
    ck_assert_uint_eq(sim_now(sim), start + 1000);
    ck_assert_ptr_null(sim_next(sim, UINT64_MAX));
    wheel_timer_init(&bells[0].timer, ring);
    wheel_timer_init(&bells[1].timer, ring);
    io_timer_start(a, &bells[0].timer, start + 3600000000000u);
    io_timer_start(b, &bells[1].timer, start + 5000000);
    struct io *io;
    while ((io = sim_next(sim, UINT64_MAX)) != NULL)
        io_poll(io, 0);
    ck_assert_uint_ge(bells[1].at, start + 5000000);
    ck_assert_uint_le(bells[1].at, start + 8000000);
    ck_assert_uint_ge(bells[0].at, start + 3600000000000u);
    ck_assert_uint_le(bells[0].at, start + 3600003000000u);
    int64_t wall = io_wall(a);
    sim_jump_wall(sim, -500000000);
    io_clock_update(a);
    ck_assert_int_lt(io_wall(a), wall);
    ck_assert_uint_ge(io_now(a), bells[0].at);
    io_close(a);
    io_close(b);
    sim_close(sim);
}

TEST(waiting_poll_moves_time_itself)
{
    struct sim *sim = sim_open(1, NULL);
    struct io *io = sim_io_open(sim, NULL);
    uint64_t start = sim_now(sim);
    ck_assert_uint_eq(io_poll(io, 7000000), 0);
    ck_assert_uint_ge(sim_now(sim), start + 7000000);
    io_wake(io);
    start = sim_now(sim);
    io_poll(io, 7000000);
    ck_assert_uint_lt(sim_now(sim), start + 7000000);
    ck_assert_ptr_null(sim_next(sim, 10));
    sim_want(io);
    ck_assert_ptr_eq(sim_next(sim, 10), io);
    ck_assert_ptr_null(sim_next(sim, 10));
    io_close(io);
    sim_close(sim);
}

/* ---- files ----------------------------------------------------------------------------------- */

TEST(commit_is_durable_and_write_is_not)
{
    struct sim *sim = sim_open((uint64_t) i, NULL);
    struct io *io = sim_io_open(sim, NULL);
    struct wait w;
    char aaaa[] = "aaaa", bb[] = "bb";
    struct iovec iov[2] = {{aaaa, 4}, {bb, 2}};
    make_file(sim, "f");
    struct io_file *f = io_file_open(io, "f", IO_FILE_WRITE);
    io_commit(io, wait_init(&w), f, iov, 2, 0);
    ck_assert_int_eq(wait_for(sim, &w), 6);
    io_write(io, wait_init(&w), f, iov, 1, 512);
    ck_assert_int_eq(wait_for(sim, &w), 4);
    ck_assert_int_eq(content(sim, "f", 515), 'a');
    struct sim *fork = sim_fork(sim, SIM_CRASH_DROP, 1);
    ck_assert_int_eq(content(fork, "f", 0), 'a');
    ck_assert_int_eq(content(fork, "f", 5), 'b');
    ck_assert_int_eq(content(fork, "f", 512), '-');
    sim_close(fork);
    io_sync(io, wait_init(&w), f);
    ck_assert_int_eq(wait_for(sim, &w), 0);
    io_read(io, wait_init(&w), f, w.got, 100, 510);
    ck_assert_int_eq(wait_for(sim, &w), 6);
    ck_assert_int_eq(memcmp(w.got, "\0\0aaaa", 6), 0);
    io_file_close(io, f);
    sim_crash(sim, SIM_CRASH_DROP);
    ck_assert_int_eq(content(sim, "f", 512), 'a');
    sim_close(sim);
}

/* Many commits in flight complete in any order, and whatever completed is there after a cut. */
TEST(completed_commits_survive_any_cut)
{
    enum { N = 40 };
    struct sim *sim = sim_open((uint64_t) i, NULL);
    struct io *io = sim_io_open(sim, NULL);
    static struct wait waits[N];
    static uint8_t bytes[N][1024];
    struct iovec iov[N];
    unsigned disorder = 0, survivors = 0;
    make_file(sim, "f");
    struct io_file *f = io_file_open(io, "f", IO_FILE_WRITE);
    for (unsigned k = 0; k < N; k++) {
        memset(bytes[k], (int) k + 1, sizeof(bytes[k]));
        iov[k] = (struct iovec){bytes[k], sizeof(bytes[k])};
        io_commit(io, wait_init(&waits[k]), f, &iov[k], 1, k * 1024);
    }
    settle(sim, 250000);
    for (unsigned k = 1; k < N; k++)
        disorder += waits[k].done && !waits[k - 1].done;
    ck_assert_uint_gt(disorder, 0);
    bool done[N];
    for (unsigned k = 0; k < N; k++)
        done[k] = waits[k].done;
    sim_crash(sim, (enum sim_crash)(i % SIM_CRASH_MODES));
    for (unsigned k = 0; k < N; k++) {
        for (unsigned b = 0; done[k] && b < 1024; b += 511)
            ck_assert_int_eq(content(sim, "f", k * 1024 + b), (char) (k + 1));
        survivors += done[k];
    }
    ck_assert_uint_gt(survivors, 0);
    sim_close(sim);
}

struct points {
    unsigned n;
    unsigned lost;
    const unsigned *finished;
};

static void try_cut(void *ctx, struct sim *sim, uint64_t point)
{
    struct points *p = ctx;
    struct sim *fork = sim_fork(sim, (enum sim_crash)(point % SIM_CRASH_MODES), point);
    p->n++;
    for (unsigned k = 0; k < *p->finished; k++)
        p->lost += content(fork, "f", k * 1024) != 'x';
    sim_close(fork);
}

/* Runs twenty commits one after the other with a cut tried at each sync point; returns the trace.
 */
static uint64_t commits_with_cuts(uint64_t seed, unsigned lies, struct points *points)
{
    struct sim *sim = sim_open(seed, NULL);
    struct io *io = sim_io_open(sim, NULL);
    struct wait w;
    char bytes[1024];
    unsigned finished = 0;
    struct iovec iov = {bytes, sizeof(bytes)};
    memset(bytes, 'x', sizeof(bytes));
    make_file(sim, "f");
    *points = (struct points){.finished = &finished};
    sim_lie(sim, lies);
    sim_on_sync_point(sim, try_cut, points);
    struct io_file *f = io_file_open(io, "f", IO_FILE_WRITE);
    for (; finished < 20; finished++) {
        io_commit(io, wait_init(&w), f, &iov, 1, finished * 1024);
        ck_assert_int_eq(wait_for(sim, &w), 1024);
    }
    io_file_close(io, f);
    io_close(io);
    uint64_t hash = sim_trace_hash(sim);
    sim_close(sim);
    return hash;
}

TEST(sync_points_can_be_tried)
{
    struct points points;
    commits_with_cuts(7, SIM_LIE_NONE, &points);
    ck_assert_uint_eq(points.n, 20);
    ck_assert_uint_eq(points.lost, 0);
    commits_with_cuts(7, SIM_LIE_COMMIT, &points);
    ck_assert_uint_gt(points.lost, 20);
}

TEST(same_seed_same_trace)
{
    struct points points;
    uint64_t one = commits_with_cuts((uint64_t) i, SIM_LIE_NONE, &points);
    uint64_t two = commits_with_cuts((uint64_t) i, SIM_LIE_NONE, &points);
    ck_assert_uint_eq(one, two);
    ck_assert_uint_ne(one, commits_with_cuts((uint64_t) i + 1000, SIM_LIE_NONE, &points));
}

TEST(file_objects_open_late)
{
    struct sim *sim = sim_open(3, NULL);
    struct io *io = sim_io_open(sim, NULL);
    struct wait w;
    char a[] = "a";
    struct iovec iov = {a, 1};
    struct io_file *none = io_file_open(io, "none", IO_FILE_WRITE);
    io_write(io, wait_init(&w), none, &iov, 1, 0);
    ck_assert_int_eq(wait_for(sim, &w), -ENOENT);
    struct io_file *new = io_file_open(io, "new", IO_FILE_WRITE | IO_FILE_CREATE);
    ck_assert_int_eq(content(sim, "new", 0), '-');
    for (unsigned k = 0; k < 100; k++) { /* often enough that the LRU evicts it */
        io_write(io, wait_init(&w), new, &iov, 1, k);
        ck_assert_int_eq(wait_for(sim, &w), 1);
    }
    ck_assert_int_eq(content(sim, "new", 99), 'a');
    struct io_file *ro = io_file_open(io, "new", IO_FILE_READ);
    io_write(io, wait_init(&w), ro, &iov, 1, 0);
    ck_assert_int_eq(wait_for(sim, &w), -EBADF);
    io_file_close(io, none);
    io_file_close(io, new);
    io_file_close(io, ro);
    io_close(io);
    sim_close(sim);
}

struct job {
    struct io_work work;
    bool done;
    int rc;
};

static void job_run(struct io_work *work)
{
    struct job *j = (struct job *) work;
    j->rc = fs_replace(work->fs, "config", "new", 3);
}

static void job_done(struct io_op *op)
{
    CONTAINER_OF(op, struct job, work.op)->done = true;
}

TEST(work_runs_later_with_the_file_door)
{
    struct sim *sim = sim_open(3, NULL);
    struct io *io = sim_io_open(sim, NULL);
    struct job jobs[10];
    for (unsigned k = 0; k < 10; k++) {
        memset(&jobs[k], 0, sizeof(jobs[k]));
        io_op_init(&jobs[k].work.op, job_done);
        jobs[k].work.run = job_run;
        io_work_submit(io, &jobs[k].work);
        ck_assert(!jobs[k].done);
    }
    io_cancel(io, &jobs[9].work.op);
    for (unsigned k = 0; k < 10; k++) {
        while (!jobs[k].done)
            io_poll(sim_next(sim, UINT64_MAX), 0);
        ck_assert_int_eq(jobs[k].work.op.res, k == 9 ? -ECANCELED : 0);
        ck_assert_int_eq(jobs[k].rc, 0);
    }
    sim_crash(sim, SIM_CRASH_DROP);
    ck_assert_int_eq(content(sim, "config", 2), 'w');
    sim_close(sim);
}

/* ---- faults ---------------------------------------------------------------------------------- */

TEST(countdown_hits_the_nth)
{
    struct sim *sim = sim_open(1, NULL);
    struct io *io = sim_io_open(sim, NULL);
    struct wait w;
    char abc[] = "abc";
    struct iovec iov = {abc, 3};
    make_file(sim, "f");
    make_file(sim, "g");
    struct io_file *f = io_file_open(io, "f", IO_FILE_WRITE);
    struct io_file *g = io_file_open(io, "g", IO_FILE_WRITE);
    sim_fault_only(sim, "f");
    sim_fault_arm(sim, SIM_FAULT_SYNC, 2, 1);
    static const int64_t expect[] = {3, -EIO, -EIO, 3};
    for (unsigned k = 0; k < 4; k++) {
        io_commit(io, wait_init(&w), g, &iov, 1, 0);
        ck_assert_int_eq(wait_for(sim, &w), 3);
        io_commit(io, wait_init(&w), f, &iov, 1, 0);
        ck_assert_int_eq(wait_for(sim, &w), expect[k]);
    }
    ck_assert_uint_eq(sim_fault_count(sim, SIM_FAULT_SYNC), 2);
    sim_fault_arm(sim, SIM_FAULT_WRITE, 1, 0);
    io_commit(io, wait_init(&w), f, &iov, 1, 0);
    ck_assert_int_eq(wait_for(sim, &w), -EIO);
    sim_fault_arm(sim, SIM_FAULT_READ, 1, 0);
    io_read(io, wait_init(&w), f, w.got, 3, 0);
    ck_assert_int_eq(wait_for(sim, &w), -EIO);
    sim_fault_only(sim, NULL);
    sim_fault_chance(sim, SIM_FAULT_ALLOCATE, 1000000);
    fs_fd fd = fs_open(sim_fs(sim), "f", IO_FILE_WRITE);
    ck_assert_int_eq(fs_allocate(sim_fs(sim), fd, 100000), -ENOSPC);
    sim_fault_chance(sim, SIM_FAULT_ALLOCATE, 0);
    ck_assert_int_eq(fs_allocate(sim_fs(sim), fd, 100000), 0);
    ck_assert_int_eq(fs_lock(sim_fs(sim), fd, 0), 0);
    fs_fd again = fs_open(sim_fs(sim), "f", IO_FILE_WRITE);
    ck_assert_int_eq(fs_lock(sim_fs(sim), again, 0), -EWOULDBLOCK);
    fs_close(sim_fs(sim), fd);
    ck_assert_int_eq(fs_lock(sim_fs(sim), again, 0), 0);
    fs_close(sim_fs(sim), again);
    io_file_close(io, f);
    io_file_close(io, g);
    io_close(io);
    sim_close(sim);
}

TEST(full_disk)
{
    struct sim_options options;
    sim_options_init(&options);
    options.capacity = 16 * SIM_PAGE;
    struct sim *sim = sim_open(1, &options);
    struct io *io = sim_io_open(sim, NULL);
    struct wait w;
    static char bytes[8 * SIM_PAGE];
    struct iovec iov = {bytes, sizeof(bytes)};
    struct io_file *f = io_file_open(io, "f", IO_FILE_WRITE | IO_FILE_CREATE);
    io_commit(io, wait_init(&w), f, &iov, 1, 0);
    ck_assert_int_eq(wait_for(sim, &w), sizeof(bytes));
    ck_assert_int_eq(fs_free_bytes(sim_fs(sim), "."), 8 * SIM_PAGE);
    io_commit(io, wait_init(&w), f, &iov, 1, sizeof(bytes) + SIM_PAGE);
    ck_assert_int_eq(wait_for(sim, &w), sizeof(bytes));
    io_commit(io, wait_init(&w), f, &iov, 1, 4 * sizeof(bytes));
    ck_assert_int_eq(wait_for(sim, &w), -ENOSPC);
    sim_disk_set_capacity(sim_disk(sim), 1u << 20);
    io_commit(io, wait_init(&w), f, &iov, 1, 4 * sizeof(bytes));
    ck_assert_int_eq(wait_for(sim, &w), sizeof(bytes));
    io_file_close(io, f);
    io_close(io);
    sim_close(sim);
}

/* ---- connections ----------------------------------------------------------------------------- */

struct pair {
    struct sim *sim;
    struct io *server, *client;
    struct io_sock *listener, *near, *far;
    struct io_addr bound;
};

static void pair_open(struct pair *p, uint64_t seed)
{
    struct wait a, c;
    p->sim = sim_open(seed, NULL);
    p->server = sim_io_open(p->sim, NULL);
    p->client = sim_io_open_remote(p->sim, NULL);
    ck_assert_int_eq(io_listen(p->server, "localhost", 0, 4, &p->listener, &p->bound), 0);
    io_accept(p->server, wait_init(&a), p->listener);
    io_connect(p->client, wait_init(&c), "127.0.0.1", p->bound.port);
    int64_t near = wait_for(p->sim, &c);
    int64_t far = wait_for(p->sim, &a);
    ck_assert_int_gt(near, 0);
    ck_assert_int_gt(far, 0);
    p->near = io_sock_open(p->client, (io_fd) near);
    p->far = io_sock_open(p->server, (io_fd) far);
}

static void close_sock(struct pair *p, struct io *io, struct io_sock *s)
{
    struct wait w;
    io_sock_close(io, wait_init(&w), s);
    ck_assert_int_eq(wait_for(p->sim, &w), 0);
}

static void pair_close(struct pair *p)
{
    close_sock(p, p->client, p->near);
    close_sock(p, p->server, p->far);
    close_sock(p, p->server, p->listener);
    io_close(p->client);
    io_close(p->server);
    sim_close(p->sim);
}

/* A large transfer arrives complete and in order, whatever the pieces; the reader sees several
 * sizes. */
TEST(stream_keeps_bytes)
{
    struct pair p;
    struct wait s, r;
    static uint8_t bytes[300000];
    unsigned at = 0, pieces = 0;
    pair_open(&p, (uint64_t) i);
    for (unsigned k = 0; k < sizeof(bytes); k++)
        bytes[k] = (uint8_t) (k * 7 + k / 251);
    struct iovec iov[3] = {{bytes, 1}, {bytes + 1, 99999}, {bytes + 100000, 200000}};
    io_send(p.client, wait_init(&s), p.near, iov, 3);
    io_sock_shutdown(p.client, p.near);
    for (;;) {
        io_recv(p.server, wait_init(&r), p.far);
        int64_t n = wait_for(p.sim, &r);
        ck_assert_int_ge(n, 0);
        if (n == 0)
            break;
        size_t look = (size_t) n < sizeof(r.got) ? (size_t) n : sizeof(r.got);
        ck_assert_int_eq(memcmp(r.got, bytes + at, look), 0);
        at += (unsigned) n;
        pieces++;
    }
    ck_assert_uint_eq(at, sizeof(bytes));
    ck_assert_uint_gt(pieces, 1);
    ck_assert_int_eq(wait_for(p.sim, &s), sizeof(bytes));
    pair_close(&p);
}

TEST(slow_reader_stops_the_writer)
{
    struct pair p;
    struct wait s, r;
    static uint8_t bytes[8000000];
    struct iovec iov = {bytes, sizeof(bytes)};
    pair_open(&p, 5);
    io_send(p.client, wait_init(&s), p.near, &iov, 1);
    settle(p.sim, 10000000000u);
    ck_assert(!s.done);
    ck_assert_uint_gt(io_sock_sent(p.near), 0);
    ck_assert_uint_lt(io_sock_sent(p.near), sizeof(bytes));
    while (!s.done) {
        io_recv(p.server, wait_init(&r), p.far);
        ck_assert_int_gt(wait_for(p.sim, &r), 0);
    }
    pair_close(&p);
}

TEST(close_with_unread_data_resets)
{
    struct pair p;
    struct wait s, r;
    char hello[] = "hello";
    struct iovec iov = {hello, 5};
    pair_open(&p, 5);
    io_send(p.client, wait_init(&s), p.near, &iov, 1);
    ck_assert_int_eq(wait_for(p.sim, &s), 5);
    settle(p.sim, 100000000);
    io_recv(p.client, wait_init(&r), p.near);
    close_sock(&p, p.server, p.far);
    ck_assert_int_eq(wait_for(p.sim, &r), -ECONNRESET);
    io_send(p.client, wait_init(&s), p.near, &iov, 1);
    ck_assert_int_eq(wait_for(p.sim, &s), -ECONNRESET);
    close_sock(&p, p.client, p.near);
    close_sock(&p, p.server, p.listener);
    struct wait c;
    io_connect(p.client, wait_init(&c), "127.0.0.1", p.bound.port);
    ck_assert_int_eq(wait_for(p.sim, &c), -ECONNREFUSED);
    io_connect(p.client, wait_init(&c), "no.such.host", 1);
    ck_assert_int_eq(wait_for(p.sim, &c), -EHOSTUNREACH);
    sim_close(p.sim);
}

TEST(crash_resets_the_peers)
{
    struct pair p;
    struct wait r;
    pair_open(&p, 5);
    io_recv(p.client, wait_init(&r), p.near);
    sim_crash(p.sim, SIM_CRASH_DROP);
    ck_assert_int_eq(wait_for(p.sim, &r), -ECONNRESET);
    /* The machine is back: the same port, a new loop. */
    p.server = sim_io_open(p.sim, NULL);
    ck_assert_int_eq(io_listen(p.server, "127.0.0.1", p.bound.port, 4, &p.listener, NULL), 0);
    struct wait c;
    io_connect(p.client, wait_init(&c), "127.0.0.1", p.bound.port);
    ck_assert_int_gt(wait_for(p.sim, &c), 0);
    sim_close(p.sim);
}

TEST(splice_sends_a_file)
{
    struct pair p;
    struct wait s, r;
    pair_open(&p, 6);
    ck_assert_int_eq(fs_replace(sim_fs(p.sim), "f", "0123456789", 10), 0);
    struct io_file *f = io_file_open(p.server, "f", IO_FILE_READ);
    io_splice(p.server, wait_init(&s), p.far, f, 2, 5);
    ck_assert_int_eq(wait_for(p.sim, &s), 5);
    int64_t n = 0;
    char all[8];
    while (n < 5) {
        io_recv(p.client, wait_init(&r), p.near);
        int64_t part = wait_for(p.sim, &r);
        memcpy(all + n, r.got, (size_t) part);
        n += part;
    }
    ck_assert_int_eq(memcmp(all, "23456", 5), 0);
    io_splice(p.server, wait_init(&s), p.far, f, 8, 5);
    ck_assert_int_eq(wait_for(p.sim, &s), -EIO);
    io_file_close(p.server, f);
    pair_close(&p);
}

/* ---- memory ---------------------------------------------------------------------------------- */

TEST(arena_counts_and_frees)
{
    struct sim_arena *a = sim_arena_open();
    struct sim_arena *b = sim_arena_open();
    ck_assert_ptr_null(sim_arena_use(a));
    char *x = mem_zalloc(100);
    char *y = mem_try_alloc_aligned(4096, 50);
    ck_assert_uint_eq((uintptr_t) y % 4096, 0);
    ck_assert_ptr_eq(sim_arena_use(b), a);
    x = mem_realloc(x, 200); /* b's from now on */
    ck_assert_int_eq(x[99], 0);
    ck_assert_uint_eq(sim_arena_blocks(a), 1);
    ck_assert_uint_eq(sim_arena_bytes(a), 50);
    ck_assert_uint_eq(sim_arena_bytes(b), 200);
    mem_free(y);
    ck_assert_uint_eq(sim_arena_blocks(a), 0);
    unsigned long number;
    ck_assert_uint_eq(sim_arena_oldest(b, &number), 200);
    mem_fail_after(2);
    ck_assert_ptr_nonnull(mem_try_alloc(1));
    ck_assert_ptr_null(mem_try_alloc(1));
    ck_assert_ptr_nonnull(mem_try_alloc(1));
    sim_arena_close(b);
    sim_arena_close(a);
    ck_assert_ptr_null(sim_arena_use(NULL));
}

static const struct runner_case cases[] = {
    RUN(time_jumps_to_what_is_next),
    RUN(waiting_poll_moves_time_itself),
    RUN_LOOP(commit_is_durable_and_write_is_not, 0, 20),
    RUN_LOOP(completed_commits_survive_any_cut, 0, 25),
    RUN(sync_points_can_be_tried),
    RUN_LOOP(same_seed_same_trace, 0, 10),
    RUN(file_objects_open_late),
    RUN(work_runs_later_with_the_file_door),
    RUN(countdown_hits_the_nth),
    RUN(full_disk),
    RUN_LOOP(stream_keeps_bytes, 0, 20),
    RUN(slow_reader_stops_the_writer),
    RUN(close_with_unread_data_resets),
    RUN(crash_resets_the_peers),
    RUN(splice_sends_a_file),
    RUN(arena_counts_and_frees),
};

RUNNER_MAIN("sim/sim", cases)
