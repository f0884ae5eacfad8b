/*
 * io.c - the part of the door that is the same for every backend: rules of submitting, the queue of
 * completed operations, timers, and what happens in which order inside io_poll.
 *
 * An operation is idle (kind 0), waiting (with the backend) or ready (on io->ready). It leaves
 * ready only through deliver(), which makes it idle before it calls done, so that done may submit
 * it again or free it.
 *
 * One iteration: the backend submits, waits and completes; both clocks are read; due timers fire;
 * then done is called for everything that was ready at that point. What callbacks complete on the
 * spot (a cancelled operation, a close) is delivered by the next iteration, which then does not
 * wait. So a callback never runs inside a submit, and one iteration always ends.
 */
#include "lib/io/io.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/io/io_backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void io_op_init(struct io_op *op, void (*done)(struct io_op *op))
{
    memset(op, 0, sizeof(*op));
    op->done = done;
    list_init(&op->link);
}

void io_config_init(struct io_config *config)
{
    *config = (struct io_config){
        .backend = IO_BACKEND_AUTO,
        .commit_threads = 2,
        .work_threads = 2,
        .recv_bytes = 256 * 1024,
        .spin_ns = 50 * 1000,
        .files_open_max = 512,
    };
}

void io_setup(struct io *io, const struct io_ops *ops, const struct io_config *config,
              struct io_fs *fs)
{
    io->ops = ops;
    io->config = *config;
    io->fs = fs;
    list_init(&io->ready);
    io_clock_update(io);
    io->wheel = wheel_open(io->now_ns);
}

void io_teardown(struct io *io)
{
    wheel_close(io->wheel);
}

/* AUTO: io_uring first; the reason for the second choice goes to the log and the banner. */
int io_open(const struct io_config *config, struct io **out)
{
    char why[160] = "asked for";
    int rc = -EINVAL;

    switch (config->backend) {
    case IO_BACKEND_URING:
        rc = io_uring_open(config, out, why, sizeof(why));
        break;
    case IO_BACKEND_EVENT:
        rc = io_event_open(config, out);
        break;
    case IO_BACKEND_AUTO:
        rc = io_uring_open(config, out, why, sizeof(why));
        if (rc < 0)
            rc = io_event_open(config, out);
        else
            snprintf(why, sizeof(why), "the kernel has it");
        break;
    case IO_BACKEND_SIM: /* opened by its own function, tests/sim */
        break;
    }
    if (rc < 0) {
        LOG_ERR(config->log, "I/O backend: %s", why);
        return rc;
    }
    snprintf((*out)->reason, sizeof((*out)->reason), "%s", why);
    LOG_DBG(config->log, "I/O loop: %s (%s)", io_backend_name(*out), why);
    return 0;
}

void io_close(struct io *io)
{
    ASSERT(io->in_flight == 0);
    ASSERT(io->socks == 0 && io->files == 0);
    io->ops->close(io);
}

void io_hold(struct io *io, fs_fd fd)
{
    if (io->ops->hold != NULL)
        io->ops->hold(io, fd);
}

const char *io_backend_name(const struct io *io)
{
    return io->ops->name;
}

const char *io_backend_reason(const struct io *io)
{
    return io->reason;
}

const struct io_stats *io_stats(const struct io *io)
{
    return &io->stats;
}

/* ---- clocks, timers, randomness -------------------------------------------------------------- */

uint64_t io_now(const struct io *io)
{
    return io->now_ns;
}

int64_t io_wall(const struct io *io)
{
    return io->wall_ns;
}

static void doubt_clock(struct io *io, int64_t wall)
{
    uint64_t asleep = io->ops->asleep != NULL ? io->ops->asleep(io) : 0;
    enum io_clock_news news;

    io->wall_ns = io_clock_look(&io->clock, io->now_ns, wall, asleep, &news);
    if (news == IO_CLOCK_DOUBTED)
        LOG_WRN(io->config.log,
                "the clock was set by %lld s: believed when it has stood for a minute",
                (long long) ((wall - io->wall_ns) / 1000000000));
    else if (news == IO_CLOCK_BELIEVED)
        LOG_WRN(io->config.log, "the clock that was set is believed from now on");
    else if (news == IO_CLOCK_BACK)
        LOG_INF(io->config.log, "the clock is right again");
}

void io_clock_update(struct io *io)
{
    int64_t wall = io->ops->wall(io);

    io->now_ns = io->ops->monotonic(io);
    if (LIKELY(io_clock_agrees(&io->clock, io->now_ns, wall))) {
        io->clock.offset = wall - (int64_t) io->now_ns;
        io->wall_ns = wall;
    } else {
        doubt_clock(io, wall);
    }
}

void io_random(struct io *io, void *out, size_t n)
{
    io->ops->random(io, out, n);
}

void io_timer_start(struct io *io, struct wheel_timer *timer, uint64_t due_ns)
{
    wheel_start(io->wheel, timer, due_ns);
}

void io_timer_start_next(struct io *io, struct wheel_timer *timer)
{
    wheel_start(io->wheel, timer, 0);
}

struct wheel *io_wheel(struct io *io)
{
    return io->wheel;
}

void io_timer_stop(struct io *io, struct wheel_timer *timer)
{
    wheel_stop(io->wheel, timer);
}

/* ---- completing and delivering --------------------------------------------------------------- */

void io_complete(struct io *io, struct io_op *op, int64_t res)
{
    ASSERT(op->kind != IO_IDLE && op->state != IO_OP_READY && op->state != IO_OP_LAZY);
    op->res = res;
    op->state = IO_OP_READY;
    list_push_back(&io->ready, &op->link);
}

void io_complete_lazy(struct io *io, struct io_op *op)
{
    ASSERT(op->kind != IO_IDLE && op->state != IO_OP_READY && op->state != IO_OP_LAZY);
    op->state = IO_OP_LAZY;
    list_push_back(&io->ready, &op->link);
}

static void account_file(struct io *io, const struct io_op *op)
{
    struct io_stats *st = &io->stats;

    ASSERT(op->file->in_flight > 0);
    op->file->in_flight--;
    if (op->res < 0)
        return;
    if (op->kind == IO_COMMIT) {
        st->commits++;
        st->commit_bytes += (uint64_t) op->res;
        st->commit_ns += io->now_ns - op->started_ns;
    } else if (op->kind == IO_READ || op->kind == IO_READ_ONCE) {
        st->reads++;
        st->read_bytes += (uint64_t) op->res;
    }
}

/* A send or splice ended: a FIN that waited for it goes out. */
static void account_send(struct io *io, const struct io_op *op)
{
    struct io_sock *sock = op->sock;

    sock->send = NULL;
    sock->sent = 0;
    if (op->res >= 0) {
        io->stats.sends++;
        io->stats.send_bytes += (uint64_t) op->res;
    }
    if (sock->fin && sock->closing == NULL) {
        sock->fin = false;
        io->ops->sock_shutdown(io, sock);
    }
}

static void account(struct io *io, const struct io_op *op)
{
    switch ((enum io_kind) op->kind) {
    case IO_RECV:
        op->sock->recv = NULL;
        if (op->res > 0) {
            io->stats.recvs++;
            io->stats.recv_bytes += (uint64_t) op->res;
        }
        break;
    case IO_ACCEPT:
        op->sock->recv = NULL;
        break;
    case IO_SEND:
    case IO_SPLICE:
        account_send(io, op);
        if (op->kind == IO_SPLICE && op->splice_from->io == io)
            op->splice_from->in_flight--;
        break;
    case IO_CLOSE:
        ASSERT(op->sock->recv == NULL && op->sock->send == NULL);
        io->socks--;
        io->ops->sock_free(io, op->sock);
        break;
    case IO_COMMIT:
    case IO_WRITE:
    case IO_SYNC:
    case IO_READ:
    case IO_READ_ONCE:
        account_file(io, op);
        break;
    case IO_WORK:
        io->works--;
        io->stats.works++;
        break;
    case IO_CONNECT:
    case IO_IDLE:
        break;
    }
}

static unsigned deliver(struct io *io, struct io_op *op)
{
    uint8_t *lent;

    if (op->state == IO_OP_LAZY) {
        op->state = IO_OP_WAITING;
        if (!io->ops->before(io, op))
            return 0;
    }
    account(io, op);
    lent = op->kind == IO_RECV ? op->data : NULL;
    op->kind = IO_IDLE;
    io->in_flight--;
    op->done(op);
    if (lent != NULL && io->ops->after != NULL)
        io->ops->after(io, lent);
    return 1;
}

/* How long the backend may wait: not at all with something to deliver, else until the next timer.
 */
static uint64_t wait_bound(struct io *io, uint64_t max_wait_ns)
{
    uint64_t next;

    if (max_wait_ns == 0 || !list_empty(&io->ready))
        return 0;
    next = wheel_next_ns(io->wheel);
    if (next != UINT64_MAX) {
        uint64_t now = io->ops->monotonic(io);
        uint64_t left = next > now ? next - now : 0;
        return left < max_wait_ns ? left : max_wait_ns;
    }
    return max_wait_ns;
}

unsigned io_poll(struct io *io, uint64_t max_wait_ns)
{
    struct list batch;
    struct list *node;
    unsigned ran;

    io->stats.polls++;
    io->ops->poll(io, wait_bound(io, max_wait_ns));
    io_clock_update(io);
    list_init(&batch);
    list_splice(&batch, &io->ready);
    ran = wheel_advance(io->wheel, io->now_ns);
    while ((node = list_pop_front(&batch)) != NULL)
        ran += deliver(io, LIST_ENTRY(node, struct io_op, link));
    return ran;
}

void io_wake(struct io *io)
{
    io->ops->wake(io);
}

/* ---- submitting ------------------------------------------------------------------------------ */

static void begin(struct io *io, struct io_op *op, enum io_kind kind)
{
    ASSERT(op->kind == IO_IDLE && op->done != NULL);
    op->kind = (uint8_t) kind;
    op->state = IO_OP_WAITING;
    op->res = 0;
    op->data = NULL;
    op->off = 0;
    op->len = 0;
    op->iovcnt = 0;
    op->ptr = NULL;
    list_init(&op->link);
    io->in_flight++;
}

static void begin_sock(struct io *io, struct io_op *op, enum io_kind kind, struct io_sock *sock)
{
    ASSERT(sock->io == io && sock->closing == NULL);
    begin(io, op, kind);
    op->sock = sock;
}

static void begin_file(struct io *io, struct io_op *op, enum io_kind kind, struct io_file *file,
                       const struct iovec *iov, unsigned n, uint64_t offset)
{
    ASSERT(file->io == io && n <= IO_IOV_MAX);
    begin(io, op, kind);
    op->file = file;
    op->ptr = (void *) (uintptr_t) iov;
    op->iovcnt = (uint16_t) n;
    op->off = offset;
    file->in_flight++;
}

int io_listen(struct io *io, const char *host, uint16_t port, int backlog, struct io_sock **out,
              struct io_addr *bound)
{
    int rc = io->ops->listen(io, host, port, backlog, out, bound);

    if (rc < 0)
        return rc;
    (*out)->io = io;
    (*out)->listener = true;
    io->socks++;
    return 0;
}

void io_accept(struct io *io, struct io_op *op, struct io_sock *listener)
{
    ASSERT(listener->listener && listener->recv == NULL);
    begin_sock(io, op, IO_ACCEPT, listener);
    listener->recv = op;
    io->ops->submit(io, op);
}

void io_connect(struct io *io, struct io_op *op, const char *host, uint16_t port)
{
    begin(io, op, IO_CONNECT);
    io->ops->connect(io, op, host, port);
}

void io_fd_discard(struct io *io, io_fd fd)
{
    io->ops->fd_discard(io, fd);
}

struct io_sock *io_sock_open(struct io *io, io_fd fd)
{
    struct io_sock *sock = io->ops->sock_open(io, fd);

    sock->io = io;
    io->socks++;
    return sock;
}

void io_sock_close(struct io *io, struct io_op *op, struct io_sock *sock)
{
    begin_sock(io, op, IO_CLOSE, sock);
    sock->closing = op;
    io->ops->submit(io, op);
}

void io_sock_shutdown(struct io *io, struct io_sock *sock)
{
    ASSERT(sock->closing == NULL);
    if (sock->send != NULL)
        sock->fin = true;
    else
        io->ops->sock_shutdown(io, sock);
}

void io_sock_peer(const struct io_sock *sock, struct io_addr *out)
{
    sock->io->ops->sock_addr(sock, true, out);
}

void io_sock_local(const struct io_sock *sock, struct io_addr *out)
{
    sock->io->ops->sock_addr(sock, false, out);
}

static void begin_recv(struct io *io, struct io_op *op, struct io_sock *sock, void *into,
                       uint32_t n)
{
    ASSERT(!sock->listener && sock->recv == NULL);
    begin_sock(io, op, IO_RECV, sock);
    op->ptr = into;
    op->len = n;
    sock->recv = op;
    io->ops->submit(io, op);
}

void io_recv(struct io *io, struct io_op *op, struct io_sock *sock)
{
    begin_recv(io, op, sock, NULL, (uint32_t) io->config.recv_bytes);
}

void io_recv_into(struct io *io, struct io_op *op, struct io_sock *sock, void *into, uint32_t n)
{
    ASSERT(into != NULL && n > 0);
    begin_recv(io, op, sock, into, n);
}

void io_send(struct io *io, struct io_op *op, struct io_sock *sock, const struct iovec *iov,
             unsigned n)
{
    ASSERT(!sock->listener && sock->send == NULL && !sock->fin && n <= IO_IOV_MAX);
    begin_sock(io, op, IO_SEND, sock);
    op->ptr = (void *) (uintptr_t) iov;
    op->iovcnt = (uint16_t) n;
    sock->send = op;
    io->ops->submit(io, op);
}

void io_splice(struct io *io, struct io_op *op, struct io_sock *sock, struct io_file *file,
               uint64_t offset, uint32_t len)
{
    ASSERT(!sock->listener && sock->send == NULL && !sock->fin);
    begin_sock(io, op, IO_SPLICE, sock);
    op->splice_from = file;
    op->off = offset;
    op->len = len;
    if (file->io == io) /* else it is its owner's to count */
        file->in_flight++;
    sock->send = op;
    io->ops->submit(io, op);
}

uint64_t io_sock_sent(const struct io_sock *sock)
{
    return sock->sent;
}

struct io_file *io_file_open(struct io *io, const char *path, unsigned flags)
{
    struct io_file *file = io->ops->file_open(io, path, flags);

    file->io = io;
    io->files++;
    return file;
}

void io_file_close(struct io *io, struct io_file *file)
{
    ASSERT(file->io == io && file->in_flight == 0);
    io->files--;
    io->ops->file_close(io, file);
}

void io_commit(struct io *io, struct io_op *op, struct io_file *file, const struct iovec *iov,
               unsigned n, uint64_t offset)
{
    begin_file(io, op, IO_COMMIT, file, iov, n, offset);
    op->started_ns = io->ops->monotonic(io);
    io->ops->submit(io, op);
}

void io_write(struct io *io, struct io_op *op, struct io_file *file, const struct iovec *iov,
              unsigned n, uint64_t offset)
{
    begin_file(io, op, IO_WRITE, file, iov, n, offset);
    io->ops->submit(io, op);
}

void io_sync(struct io *io, struct io_op *op, struct io_file *file)
{
    begin_file(io, op, IO_SYNC, file, NULL, 0, 0);
    io->ops->submit(io, op);
}

static void begin_read(struct io *io, struct io_op *op, enum io_kind kind, struct io_file *file,
                       void *into, uint32_t len, uint64_t offset)
{
    begin_file(io, op, kind, file, NULL, 0, offset);
    op->ptr = into;
    op->len = len;
    io->ops->submit(io, op);
}

void io_read(struct io *io, struct io_op *op, struct io_file *file, void *into, uint32_t len,
             uint64_t offset)
{
    begin_read(io, op, IO_READ, file, into, len, offset);
}

void io_read_once(struct io *io, struct io_op *op, struct io_file *file, void *into, uint32_t len,
                  uint64_t offset)
{
    begin_read(io, op, IO_READ_ONCE, file, into, len, offset);
}

void io_work_submit(struct io *io, struct io_work *work)
{
    begin(io, &work->op, IO_WORK);
    work->op.work = work;
    work->fs = io->fs;
    if (++io->works > IO_WORKS_MAX)
        io_complete(io, &work->op, -EAGAIN);
    else
        io->ops->submit(io, &work->op);
}

void io_cancel(struct io *io, struct io_op *op)
{
    if (op->kind != IO_IDLE && op->state != IO_OP_READY)
        io->ops->cancel(io, op);
}
