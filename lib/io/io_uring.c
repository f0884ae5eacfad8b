/*
 * io_uring.c - completions by the kernel's rings.
 *
 * An operation on a socket waits on the list `pending` until the next turn makes one submission
 * entry of it, then is the kernel's until its one completion entry comes, which names it by address
 * (user_data). So whatever was submitted since the last turn goes to the kernel in one
 * io_uring_enter, which also waits. Files and work go to the pool, as with libevent: a sync in a
 * ring runs on a kernel worker and took twice as long. But big commits on a machine of one core are
 * written through the ring, past the page cache and with their sync (io_direct.h).
 *
 *   pending --turn--> in the kernel --completion--> ready
 *                        |   ^
 *             ENOBUFS    v   |  a buffer came back
 *                       starved
 *
 * Receiving lends from a ring of buffers registered with the kernel, which takes one only when data
 * is there. The ring holds few of them, used round and round, so that they stay in the cache; when
 * they run out, the kernel says ENOBUFS, the ring gets one more (up to BUFFERS_MAX) and the starved
 * receives are submitted again. A receive on a socket that the last one left empty asks the kernel
 * to wait first rather than try.
 *
 * Sending goes on where a short send ended, with a copy of the vectors that is cut, until all is
 * taken.
 *
 * Closing cancels what the kernel has, waits for those completions, and closes the descriptor then:
 * the kernel never works for a socket that is gone, and no completion names freed memory.
 *
 * A process that is killed is gone before its rings are: the kernel takes them down by and by, and
 * until then they hold what requests use. So no request is ever made on a listener, whose port the
 * next server wants: a request polls an epoll descriptor that watches it, and accepting is a call.
 * And a write that is under way may reach its file later than the next server: the ring holds the
 * lock of the directory as a registered file, which it lets go of last (io_hold).
 *
 * The ring is made disabled and enabled by the first turn, because the thread that enables it
 * becomes the only one that may submit (SINGLE_ISSUER), and a loop may be opened elsewhere.
 * DEFER_TASKRUN runs completions inside our own calls; TASKRUN_FLAG shows in shared memory that
 * there are some, so that a spinning loop makes no system calls.
 */
#include "lib/io/io_uring.h"

#include <errno.h>
#include <stdio.h>

#ifndef HAVE_URING

int io_uring_open(const struct io_config *config, struct io **out, char *why, size_t why_size)
{
    (void) config;
    (void) out;
    snprintf(why, why_size, "io_uring: built without it");
    return -ENOSYS;
}

#else

#include "lib/base/mem.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the turn -------------------------------------------------------------------------------- */

static bool kernel_has_news(struct io_ring *r)
{
    unsigned flags = IO_URING_READ_ONCE(*r->ring.sq.kflags);

    return (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) || io_uring_cq_ready(&r->ring) > 0;
}

static bool probe(struct io_host *h)
{
    return kernel_has_news(CONTAINER_OF(h, struct io_ring, host));
}

/* Debian 12's liburing declares io_uring_enable_rings but does not export it. */
static void enable(struct io_ring *r)
{
    int rc = io_uring_register((unsigned) r->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);

    if (rc < 0)
        FATAL("enabling the ring: %s", strerror(-rc));
    r->enabled = true;
}

static void turn(struct io_host *h, uint64_t wait_ns)
{
    struct io_ring *r = CONTAINER_OF(h, struct io_ring, host);

    if (!r->enabled)
        enable(r);
    ring_prepare_pending(r);
    if (wait_ns == 0 || !list_empty(&h->io.ready) || io_uring_cq_ready(&r->ring) > 0) {
        if (io_uring_sq_ready(&r->ring) > 0 || kernel_has_news(r))
            ring_check_enter(io_uring_submit_and_get_events(&r->ring));
    } else {
        struct __kernel_timespec ts = {.tv_sec = (long long) (wait_ns / 1000000000u),
                                       .tv_nsec = (long long) (wait_ns % 1000000000u)};
        struct io_uring_cqe *cqe;
        bool forever = wait_ns > UINT64_MAX / 2;
        ring_check_enter(
            io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, forever ? NULL : &ts, NULL));
    }
    ring_reap(r);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static struct io_sock *sock_new(struct io *io, int fd)
{
    struct io_sock *sock = mem_zalloc(sizeof(*sock));

    sock->io = io;
    sock->fd = fd;
    return sock;
}

static struct io_sock *uring_sock_open(struct io *io, io_fd fd)
{
    return sock_new(io, fd);
}

/* An epoll descriptor, which the kernel may keep open for as long as it likes: what it watches is
 * closed all the same. Returns it, or a negative errno. */
static int make_gate(int fd)
{
    struct epoll_event ev = {.events = EPOLLIN};
    int gate = epoll_create1(EPOLL_CLOEXEC);

    if (gate >= 0 && epoll_ctl(gate, EPOLL_CTL_ADD, fd, &ev) == 0)
        return gate;
    int rc = -errno;
    if (gate >= 0)
        close(gate);
    return rc;
}

static int uring_listen(struct io *io, const char *host, uint16_t port, int backlog,
                        struct io_sock **out, struct io_addr *bound)
{
    int fd = io_net_listen(host, port, backlog, bound), gate;

    if (fd < 0)
        return fd;
    gate = make_gate(fd);
    if (gate < 0) {
        close(fd);
        return gate;
    }
    *out = sock_new(io, fd);
    (*out)->gate = gate;
    return 0;
}

static void uring_hold(struct io *io, fs_fd fd)
{
    io_uring_register_files_update(&ring_of(io)->ring, HELD_FILE, &fd, 1);
}

static void uring_sock_shutdown(struct io *io, struct io_sock *sock)
{
    (void) io;
    shutdown(sock->fd, SHUT_WR);
}

static void uring_sock_free(struct io *io, struct io_sock *sock)
{
    (void) io;
    mem_free(sock);
}

/* Ends it here, or asks the kernel or the pool to; then its completion ends it. */
static void cancel_on_sock(struct io_ring *r, struct io_op *op)
{
    switch (op->state) {
    case IO_OP_READY:
        break;
    case URING_PENDING:
    case URING_STARVED:
        list_remove(&op->link);
        if (op->kind == IO_SEND)
            ring_free_vectors(op);
        ring_finish(r, op, -ECANCELED);
        break;
    case URING_KERNEL:
        op->res = -ECANCELED; /* it does not go on, whatever the kernel says */
        ring_cancel(r, op);
        break;
    default: /* a splice's step on a pool thread */
        splice_cancel(&r->host, op);
        break;
    }
}

static void submit_close(struct io_ring *r, struct io_sock *sock)
{
    if (sock->recv != NULL)
        cancel_on_sock(r, sock->recv);
    if (sock->send != NULL)
        cancel_on_sock(r, sock->send);
    ring_close_if_ended(r, sock);
}

static void send_ended(struct io_host *h, struct io_sock *sock)
{
    ring_close_if_ended(CONTAINER_OF(h, struct io_ring, host), sock);
}

static void splice_wait(struct io_host *h, struct io_op *op)
{
    ring_enqueue(CONTAINER_OF(h, struct io_ring, host), op);
}

static size_t total_of(const struct io_op *op)
{
    const struct iovec *iov = op->ptr;
    size_t total = 0;

    for (unsigned i = 0; i < op->iovcnt; i++)
        total += iov[i].iov_len;
    return total;
}

/* The first of each file goes to the pool, which opens the descriptor. */
static void submit_commit(struct io_ring *r, struct io_op *op)
{
    struct io_host *h = &r->host;
    struct direct_write *w = NULL;

    if (h->one_core)
        w = direct_begin(h->direct, h->files, op->file, op->ptr, op->iovcnt, op->off);
    if (w == NULL) {
        host_submit_file(h, op);
        return;
    }
    op->data = (uint8_t *) w;
    ring_enqueue(r, op);
}

static void uring_submit(struct io *io, struct io_op *op)
{
    struct io_ring *r = ring_of(io);

    switch ((enum io_kind) op->kind) {
    case IO_SEND:
        if (total_of(op) == 0)
            io_complete(io, op, 0);
        else
            ring_enqueue(r, op);
        break;
    case IO_RECV:
    case IO_ACCEPT:
        ring_enqueue(r, op);
        break;
    case IO_SPLICE:
        op->state = URING_SPLICE;
        splice_go(&r->host, op);
        break;
    case IO_CLOSE:
        submit_close(r, op->sock);
        break;
    case IO_COMMIT:
        submit_commit(r, op);
        break;
    default:
        host_submit_file(&r->host, op);
        break;
    }
}

static void uring_cancel(struct io *io, struct io_op *op)
{
    struct io_ring *r = ring_of(io);

    switch ((enum io_kind) op->kind) {
    case IO_RECV:
    case IO_ACCEPT:
    case IO_SEND:
    case IO_SPLICE:
        cancel_on_sock(r, op);
        break;
    case IO_CLOSE:
        break;
    case IO_COMMIT:
        if (op->data == NULL)
            host_cancel(&r->host, op);
        break; /* one in the ring goes on to its end */
    default:
        host_cancel(&r->host, op);
        break;
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void uring_dial(struct io_host *h, struct dial *d)
{
    d->job.op.kind = IO_JOB;
    list_init(&d->job.op.link);
    ring_enqueue(CONTAINER_OF(h, struct io_ring, host), &d->job.op);
}

static void uring_dial_cancel(struct io_host *h, struct dial *d)
{
    struct io_op *op = &d->job.op;

    if (op->state == URING_KERNEL) {
        ring_cancel(CONTAINER_OF(h, struct io_ring, host), op);
        return;
    }
    list_remove(&op->link);
    op->kind = IO_IDLE;
    dial_result(d, -ECANCELED);
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct host_ops host_ops = {
    .turn = turn,
    .probe = probe,
    .dial = uring_dial,
    .dial_cancel = uring_dial_cancel,
    .splice_wait = splice_wait,
    .send_ended = send_ended,
};

static void free_ring(struct io_ring *r)
{
    if (r->ring.ring_fd >= 0)
        io_uring_queue_exit(&r->ring);
    mem_free(r->buffers);
    mem_free(r->buffer_ring);
}

static void uring_close(struct io *io)
{
    struct io_ring *r = ring_of(io);

    host_stop(&r->host);
    free_ring(r);
    io_teardown(io);
    host_free(&r->host);
    mem_free(r);
}

static const struct io_ops uring_ops = {
    .name = "io_uring",
    .close = uring_close,
    .poll = host_poll,
    .wake = host_wake,
    .monotonic = host_monotonic,
    .wall = host_wall,
    .asleep = host_asleep,
    .random = host_random,
    .hold = uring_hold,
    .listen = uring_listen,
    .connect = host_connect,
    .fd_discard = host_fd_discard,
    .sock_open = uring_sock_open,
    .sock_free = uring_sock_free,
    .sock_shutdown = uring_sock_shutdown,
    .sock_addr = host_sock_addr,
    .file_open = host_file_open,
    .file_close = host_file_close,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .after = ring_after,
};

/* The best way of running completions that this kernel has: 6.1, 5.19, any. */
static int make_ring(struct io_ring *r)
{
    static const unsigned ways[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    int rc = -EINVAL;

    for (size_t i = 0; i < ARRAY_LEN(ways) && rc == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = ways[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP | IORING_SETUP_R_DISABLED,
            .cq_entries = CQ_ENTRIES,
        };
        rc = io_uring_queue_init_params(SQ_ENTRIES, &r->ring, &params);
    }
    if (rc < 0)
        r->ring.ring_fd = -1;
    return rc;
}

static int make_buffers(struct io_ring *r, const struct io_config *config)
{
    struct io_uring_buf_reg reg = {.ring_entries = BUFFERS_MAX, .bgid = BUFFER_GROUP};
    size_t ring_bytes = BUFFERS_MAX * sizeof(struct io_uring_buf);

    r->buffers = mem_try_alloc_aligned(4096, BUFFERS_MAX * config->recv_bytes);
    r->buffer_ring = mem_try_alloc_aligned(4096, ring_bytes);
    if (r->buffers == NULL || r->buffer_ring == NULL)
        return -ENOMEM;
    memset(r->buffer_ring, 0, ring_bytes);
    io_uring_buf_ring_init(r->buffer_ring);
    reg.ring_addr = (uint64_t) (uintptr_t) r->buffer_ring;
    return io_uring_register_buf_ring(&r->ring, &reg, 0);
}

/* The failing call by name, for the log. */
static int open_ring(struct io_ring *r, const struct io_config *config, const char **call)
{
    static const int nothing = -1;
    int rc;

    *call = "io_uring_setup";
    rc = config->uring_errno != 0 ? -config->uring_errno : make_ring(r);
    if (rc == 0) {
        *call = "io_uring_register_buf_ring";
        rc = make_buffers(r, config);
    }
    if (rc == 0) {
        *call = "io_uring_register_files";
        rc = io_uring_register_files(&r->ring, &nothing, 1);
    }
    return rc;
}

int io_uring_open(const struct io_config *config, struct io **out, char *why, size_t why_size)
{
    struct io_ring *r = mem_try_alloc_aligned(64, sizeof(*r));
    const char *call = "starting threads";
    int rc;

    if (r == NULL)
        return -ENOMEM;
    memset(r, 0, sizeof(*r));
    list_init(&r->pending);
    list_init(&r->starved);
    r->ring.ring_fd = -1;
    rc = open_ring(r, config, &call);
    if (rc == 0)
        rc = host_open(&r->host, &host_ops, config);
    if (rc < 0) {
        snprintf(why, why_size, "%s: %s", call, strerror(-rc));
        free_ring(r);
        mem_free(r);
        return rc;
    }
    io_setup(&r->host.io, &uring_ops, config, &r->host.fs);
    for (unsigned id = BUFFERS_MAX; id-- > 0;)
        r->spare[r->spare_count++] = (uint8_t) id;
    while (r->spare_count > BUFFERS_MAX - BUFFERS_LEAST)
        ring_give_spare(r);
    *out = &r->host.io;
    return 0;
}

#endif
