/*
 * io_host.c - waiting and waking, and file operations on the pool's threads.
 *
 * Waking. `woken` says that somebody wants the loop to look around; `asleep` that the loop may be
 * in a system call that only the eventfd ends. A waker first publishes what it has (a finished
 * operation, a lane's counter), then sets woken, then reads asleep; the loop sets asleep, then
 * reads woken. All four are sequentially consistent, so that not both can miss: either the waker
 * sees asleep and writes the eventfd, or the loop sees woken and does not sleep. A waker that finds
 * woken already set leaves the rest to the one who set it. The loop clears woken at the end of
 * poll, before its owner looks at the lanes: what was published before the exchange is visible to
 * it, what comes later sets woken anew. So a loop that is awake or spins costs its wakers one
 * exchange and no system call.
 *
 * Waiting. Work in series makes short waits, and a short wait is spun (io_spin.h): shared memory is
 * looked at, the kernel is asked without blocking, and the core is offered to others (sched_yield)
 * between looks, since on a small machine the thread we wait for may want this very core.
 */
#include "lib/io/io_host.h"

#include "lib/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* ---- clocks and randomness ------------------------------------------------------------------- */

static uint64_t clock_ns(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

uint64_t host_monotonic(struct io *io)
{
    (void) io;
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t host_wall(struct io *io)
{
    (void) io;
    return (int64_t) clock_ns(CLOCK_REALTIME);
}

uint64_t host_asleep(struct io *io)
{
    (void) io;
    return clock_ns(CLOCK_BOOTTIME) - clock_ns(CLOCK_MONOTONIC);
}

void host_random(struct io *io, void *out, size_t n)
{
    unsigned char *at = out;

    (void) io;
    while (n > 0) {
        ssize_t r = getrandom(at, n, 0);
        if (r < 0 && errno != EINTR)
            FATAL("getrandom: %s", strerror(errno));
        if (r > 0) {
            at += r;
            n -= (size_t) r;
        }
    }
}

/* ---- waiting and waking ---------------------------------------------------------------------- */

static void wake(void *ctx)
{
    struct io_host *h = ctx;
    uint64_t one = 1;

    if (atomic_exchange(&h->woken, true))
        return;
    /* The only failure is a full counter, and then the loop has been told already. */
    if (atomic_load(&h->asleep) && write(h->wake_fd, &one, sizeof(one)) < 0)
        return;
}

void host_wake(struct io *io)
{
    wake(host_of(io));
}

static void take_finished(struct io_host *h)
{
    struct list list;
    struct list *node;

    list_init(&list);
    pool_take(h->pool, &list);
    while ((node = list_pop_front(&list)) != NULL) {
        struct io_op *op = LIST_ENTRY(node, struct io_op, link);
        if (op->kind == IO_JOB) {
            op->kind = IO_IDLE;
            op->done(op);
        } else {
            io_complete(&h->io, op, op->res);
        }
    }
}

static bool something(struct io_host *h)
{
    return !list_empty(&h->io.ready) || atomic_load_explicit(&h->woken, memory_order_relaxed) ||
           pool_ready(h->pool);
}

/* A yield with every look: looking 8 or 32 times between yields made the hand-over between two
 * loops slower (4.2, 4.6, 6.2 us, bench_io lane). */
static void spin(struct io_host *h, uint64_t since, uint64_t ns)
{
    do {
        if (h->host_ops->probe(h))
            h->host_ops->turn(h, 0);
        else
            io_spin_pause();
        if (something(h))
            return;
        sched_yield();
    } while (host_monotonic(&h->io) - since < ns);
}

static void sleep_in_kernel(struct io_host *h, uint64_t wait_ns)
{
    atomic_store(&h->asleep, true);
    if (atomic_load(&h->woken) || pool_ready(h->pool))
        wait_ns = 0;
    else
        h->io.stats.sleeps++;
    h->host_ops->turn(h, wait_ns);
    atomic_store_explicit(&h->asleep, false, memory_order_relaxed);
}

static void wait_for_something(struct io_host *h, uint64_t wait_ns)
{
    uint64_t since = host_monotonic(&h->io);
    uint64_t spin_ns = io_spin_ns(&h->spin);
    uint64_t waited = 0;
    bool sleeps;

    if (spin_ns > 0) {
        h->host_ops->turn(h, 0);
        if (!something(h))
            spin(h, since, spin_ns < wait_ns ? spin_ns : wait_ns);
        waited = host_monotonic(&h->io) - since;
    }
    sleeps = !something(h) && waited < wait_ns;
    if (sleeps)
        sleep_in_kernel(h, wait_ns - waited);
    io_spin_learn(&h->spin, host_monotonic(&h->io) - since, spin_ns > 0, sleeps);
}

void host_poll(struct io *io, uint64_t wait_ns)
{
    struct io_host *h = host_of(io);

    take_finished(h);
    if (wait_ns == 0 || something(h))
        h->host_ops->turn(h, 0);
    else
        wait_for_something(h, wait_ns);
    if (atomic_load_explicit(&h->woken, memory_order_relaxed)) {
        atomic_exchange(&h->woken, false);
        io->stats.wakes++;
    }
    take_finished(h);
}

/* ---- file operations, on pool threads -------------------------------------------------------- */

/* Skips `done` bytes of the vectors: *iov and *n become the rest, whose first part is copied to
 * *head. */
static void skip(const struct iovec **iov, unsigned *n, size_t done, struct iovec *head)
{
    while (*n > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        ++*iov;
        --*n;
    }
    if (*n > 0)
        *head = (struct iovec){(char *) (*iov)->iov_base + done, (*iov)->iov_len - done};
}

/* One call for all vectors; after a short write the torn vector goes alone, then the rest. */
static int64_t write_vectors(int fd, const struct iovec *iov, unsigned n, uint64_t offset)
{
    int64_t total = 0;
    struct iovec head = {0};
    bool torn = false;

    while (n > 0) {
        ssize_t r = pwritev(fd, torn ? &head : iov, torn ? 1 : (int) n, (off_t) offset);
        size_t passed;
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return -errno;
        total += r;
        offset += (uint64_t) r;
        passed = (size_t) r + (torn ? iov->iov_len - head.iov_len : 0);
        skip(&iov, &n, passed, &head);
        torn = n > 0 && head.iov_len < iov->iov_len;
    }
    return total;
}

/*
 * Written and to be synced later: the disk begins at once. What gathers in the page cache is else
 * written by the sync, all of it, and everybody's commits queue behind that: 1 KB messages at 50
 * k/s had 10 to 25 ms once a second. Errors are the sync's to report.
 */
static void begin_writing_back(int fd, uint64_t offset, int64_t bytes)
{
    sync_file_range(fd, (off_t) offset, (off_t) bytes, SYNC_FILE_RANGE_WRITE);
}

static int64_t run_write(struct io_host *h, const struct io_op *op)
{
    bool sync = op->kind != IO_WRITE;
    int64_t res = 0;

    if (op->kind == IO_COMMIT) {
        res = direct_commit(h->direct, h->files, op->file, op->ptr, op->iovcnt, op->off);
        if (res != 0)
            return res;
    }
    int fd = files_borrow(h->files, op->file, true);

    if (fd < 0)
        return fd;
    if (op->kind != IO_SYNC)
        res = write_vectors(fd, op->ptr, op->iovcnt, op->off);
    if (res >= 0 && sync && fdatasync(fd) < 0) {
        res = -errno;
        files_fail(h->files, op->file, (int) res);
    } else if (res > 0 && !sync) {
        begin_writing_back(fd, op->off, res);
    }
    int failed = files_return(h->files, op->file, sync && res >= 0);
    return res >= 0 && failed < 0 ? failed : res;
}

static int64_t run_read(struct io_host *h, const struct io_op *op)
{
    int fd = files_borrow(h->files, op->file, false);
    int64_t res;

    if (fd < 0)
        return fd;
    if (op->kind != IO_READ_ONCE ||
        !direct_read(h->direct, h->files, op->file, fd, op->ptr, op->len, op->off, &res))
        res = posix_read_at(fd, op->ptr, op->len, op->off);
    files_return(h->files, op->file, false);
    return res;
}

static void run(void *ctx, struct io_op *op)
{
    struct io_host *h = ctx;

    switch (op->kind) {
    case IO_COMMIT:
    case IO_WRITE:
    case IO_SYNC:
        op->res = run_write(h, op);
        break;
    case IO_READ:
    case IO_READ_ONCE:
        op->res = run_read(h, op);
        break;
    default: /* IO_WORK, IO_JOB */
        op->work->run(op->work);
        op->res = 0;
        break;
    }
}

static enum pool_queue queue_of(const struct io_op *op)
{
    switch (op->kind) {
    case IO_COMMIT:
    case IO_WRITE:
        return POOL_COMMIT;
    default: /* with IO_SYNC: it may last, and nobody who publishes waits for it */
        return POOL_WORK;
    }
}

void host_submit_file(struct io_host *h, struct io_op *op)
{
    pool_submit(h->pool, queue_of(op), op);
}

void host_cancel(struct io_host *h, struct io_op *op)
{
    if (op->kind == IO_CONNECT)
        dial_cancel(h, op);
    else if (pool_cancel(h->pool, queue_of(op), op))
        io_complete(&h->io, op, -ECANCELED);
}

void host_job(struct io_host *h, struct io_work *job, void (*run_job)(struct io_work *),
              void (*done)(struct io_op *))
{
    io_op_init(&job->op, done);
    job->op.kind = IO_JOB;
    job->op.work = job;
    job->run = run_job;
    job->fs = &h->fs;
    pool_submit(h->pool, POOL_WORK, &job->op);
}

struct io_file *host_file_open(struct io *io, const char *path, unsigned flags)
{
    return files_add(host_of(io)->files, path, flags);
}

struct file_closing {
    struct io_work job;
    struct io_host *h;
    struct io_file *file;
};

static void close_file(struct io_work *work)
{
    struct file_closing *c = CONTAINER_OF(work, struct file_closing, job);

    io_files_remove(c->h->files, c->file);
}

static void file_closed(struct io_op *op)
{
    mem_free(CONTAINER_OF(op, struct file_closing, job.op));
}

void host_file_close(struct io *io, struct io_file *file)
{
    struct file_closing *c = mem_zalloc(sizeof(*c));

    c->h = host_of(io);
    c->file = file;
    host_job(c->h, &c->job, close_file, file_closed);
}

void host_fd_discard(struct io *io, io_fd fd)
{
    (void) io;
    close(fd);
}

void host_sock_addr(const struct io_sock *sock, bool peer, struct io_addr *out)
{
    net_addr_of(sock->fd, peer, out);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* With one core there is nobody to spin for. */
static bool several_cores(const struct io_config *config)
{
    cpu_set_t set;

    if (config->cores != 0)
        return config->cores > 1;
    return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

int host_open(struct io_host *h, const struct host_ops *ops, const struct io_config *config)
{
    bool several = several_cores(config);
    struct pool_config pool = {
        .threads = {[POOL_COMMIT] = config->commit_threads, [POOL_WORK] = config->work_threads},
        .spin_ns = several && config->spin_ns > 0 ? POOL_SPIN_NS : 0,
        .run = run,
        .wake = wake,
        .ctx = h,
    };
    int rc;

    ASSERT(config->commit_threads > 0 && config->work_threads > 0 && config->recv_bytes > 0);
    ASSERT(config->files_open_max > 0);
    h->host_ops = ops;
    h->one_core = !several;
    posix_fs_init(&h->fs);
    io_spin_init(&h->spin, several ? config->spin_ns : 0);
    atomic_init(&h->woken, false);
    atomic_init(&h->asleep, false);
    h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->wake_fd < 0)
        return -errno;
    h->files = files_open(config->files_open_max);
    h->direct = direct_open();
    rc = pool_open(&pool, &h->pool);
    if (rc < 0) {
        files_close(h->files);
        direct_close(h->direct);
        close(h->wake_fd);
    }
    return rc;
}

void host_stop(struct io_host *h)
{
    pool_stop(h->pool);
    take_finished(h);
}

void host_free(struct io_host *h)
{
    pool_free(h->pool);
    files_close(h->files);
    direct_close(h->direct);
    close(h->wake_fd);
}
