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
#include "lib/io/io_backend.h"

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
#include "lib/io/io_host.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define SQ_ENTRIES 256
#define CQ_ENTRIES 4096
/* The length of a submission entry has 32 bits. */
#define SEND_MAX ((size_t) 1 << 30)
/* How many buffers are in the ring at least. Two are enough for one hot connection, and more cost
 * cache misses: 94, 110 and 148 us of loop time per MiB with 2, 16 and 64 (bench_io ingest, means
 * of four). */
#define BUFFERS_LEAST 2
#define BUFFERS_MAX 64
#define BUFFER_GROUP 0
#define HELD_FILE 0 /* the only registered file */
/* So many receives without running out retire a buffer. */
#define CALM_RECEIVES 256

enum { URING_PENDING = IO_OP_PRIVATE, URING_KERNEL, URING_STARVED, URING_SPLICE };
enum { NONEMPTY = 1 };         /* flags of a socket: the last receive left something */
enum { NOBODY = 0, WAKE = 1 }; /* user_data that is no address */

struct io_ring {
    struct io_host host;
    struct io_uring ring;
    bool enabled;
    bool wake_armed;
    struct list pending;
    struct list starved;
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers; /* BUFFERS_MAX of recv_bytes; memory is touched only as they enter the ring */
    uint8_t spare[BUFFERS_MAX]; /* ids of the buffers that are not in use, the last first */
    unsigned spare_count;
    unsigned calm;                     /* receives since the ring ran out or a buffer was retired */
    struct msghdr headers[SQ_ENTRIES]; /* by submission slot */
};

static struct io_ring *ring_of(struct io *io)
{
    return CONTAINER_OF(io, struct io_ring, host.io);
}

/* ---- submission entries ---------------------------------------------------------------------- */

/* EAGAIN, EBUSY: completions have to be reaped first; the entries stay queued. */
static void check_enter(int rc)
{
    if (rc < 0 && rc != -EAGAIN && rc != -EBUSY && rc != -EINTR && rc != -ETIME)
        FATAL("io_uring_enter: %s", strerror(-rc));
}

/* NULL: the queue is full and the kernel takes none until completions are reaped. */
static struct io_uring_sqe *next_entry(struct io_ring *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

    if (sqe == NULL) {
        check_enter(io_uring_submit(&r->ring));
        sqe = io_uring_get_sqe(&r->ring);
    }
    return sqe;
}

static void enqueue(struct io_ring *r, struct io_op *op)
{
    op->state = URING_PENDING;
    list_push_back(&r->pending, &op->link);
}

static void prepare_recv(struct io_uring_sqe *sqe, const struct io_op *op)
{
    io_uring_prep_recv(sqe, op->sock->fd, op->ptr, op->len, 0);
    if (op->ptr == NULL) {
        sqe->flags |= IOSQE_BUFFER_SELECT;
        sqe->buf_group = BUFFER_GROUP;
    }
    if (!(op->sock->flags & NONEMPTY))
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
}

/* The vectors are the caller's, or after a short send our copy at op->data. */
static void prepare_send(struct io_ring *r, struct io_uring_sqe *sqe, const struct io_op *op)
{
    struct msghdr *header = &r->headers[sqe - r->ring.sq.sqes];

    if (op->iovcnt == 1) {
        const struct iovec *iov = op->ptr;
        size_t len = iov->iov_len < SEND_MAX ? iov->iov_len : SEND_MAX;
        io_uring_prep_send(sqe, op->sock->fd, iov->iov_base, len, MSG_NOSIGNAL);
        return;
    }
    memset(header, 0, sizeof(*header));
    header->msg_iov = op->ptr;
    header->msg_iovlen = op->iovcnt;
    io_uring_prep_sendmsg(sqe, op->sock->fd, header, MSG_NOSIGNAL);
}

static void prepare(struct io_ring *r, struct io_uring_sqe *sqe, struct io_op *op)
{
    switch (op->kind) {
    case IO_RECV:
        prepare_recv(sqe, op);
        break;
    case IO_ACCEPT:
        io_uring_prep_poll_add(sqe, op->sock->gate, POLLIN);
        break;
    case IO_SEND:
        prepare_send(r, sqe, op);
        break;
    case IO_SPLICE:
        io_uring_prep_poll_add(sqe, op->sock->fd, POLLOUT);
        break;
    case IO_COMMIT: {
        const struct direct_write *w = (const struct direct_write *) (void *) op->data;
        io_uring_prep_write(sqe, w->fd, w->buffer, w->bytes, op->off);
        break;
    }
    default: { /* IO_JOB: a dial */
        const struct dial *d = CONTAINER_OF(op, struct dial, job.op);
        const struct net_addr *addr = &d->addrs[d->next];
        io_uring_prep_connect(sqe, d->fd, (const struct sockaddr *) &addr->sa, addr->len);
        break;
    }
    }
    io_uring_sqe_set_data(sqe, op);
    op->state = URING_KERNEL;
}

static void arm_wake(struct io_ring *r)
{
    struct io_uring_sqe *sqe = r->wake_armed ? NULL : next_entry(r);

    if (sqe == NULL)
        return;
    io_uring_prep_poll_multishot(sqe, r->host.wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, WAKE);
    r->wake_armed = true;
}

static void prepare_pending(struct io_ring *r)
{
    arm_wake(r);
    while (!list_empty(&r->pending)) {
        struct io_uring_sqe *sqe = next_entry(r);
        if (sqe == NULL)
            return;
        prepare(r, sqe, LIST_ENTRY(list_pop_front(&r->pending), struct io_op, link));
    }
}

/* The kernel's completion of the cancelled operation tells how it went, this request's own says
 * nothing. */
static void cancel_in_kernel(struct io_ring *r, struct io_op *op)
{
    struct io_uring_sqe *sqe = next_entry(r);

    while (sqe == NULL) { /* rare: a full queue that the kernel refuses; it drains by reaping */
        check_enter(io_uring_submit_and_get_events(&r->ring));
        sqe = io_uring_get_sqe(&r->ring);
    }
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data64(sqe, NOBODY);
}

/* ---- receive buffers ------------------------------------------------------------------------- */

static void give_buffer(struct io_ring *r, unsigned id)
{
    size_t size = r->host.io.config.recv_bytes;

    io_uring_buf_ring_add(r->buffer_ring, r->buffers + id * size, (unsigned) size,
                          (unsigned short) id, io_uring_buf_ring_mask(BUFFERS_MAX), 0);
    io_uring_buf_ring_advance(r->buffer_ring, 1);
}

static void give_spare(struct io_ring *r)
{
    give_buffer(r, r->spare[--r->spare_count]);
}

static void feed_starved(struct io_ring *r)
{
    LIST_FOREACH(it, &r->starved)
    LIST_ENTRY(it, struct io_op, link)->state = URING_PENDING;
    list_splice(&r->pending, &r->starved);
}

static void starve(struct io_ring *r, struct io_op *op)
{
    op->state = URING_STARVED;
    list_push_back(&r->starved, &op->link);
    r->calm = 0;
    if (r->spare_count > 0) {
        give_spare(r);
        feed_starved(r);
    }
}

static void uring_after(struct io *io, uint8_t *data)
{
    struct io_ring *r = ring_of(io);
    unsigned id = (unsigned) ((size_t) (data - r->buffers) / io->config.recv_bytes);

    if (++r->calm >= CALM_RECEIVES && r->spare_count < BUFFERS_MAX - BUFFERS_LEAST) {
        r->calm = 0;
        r->spare[r->spare_count++] = (uint8_t) id;
        return;
    }
    give_buffer(r, id);
    feed_starved(r);
}

/* ---- completion entries ---------------------------------------------------------------------- */

static bool ended(const struct io_op *op)
{
    return op == NULL || op->state == IO_OP_READY;
}

/* Once nothing is in flight any more. */
static void close_if_ended(struct io_ring *r, struct io_sock *sock)
{
    if (sock->fd < 0 || !ended(sock->recv) || !ended(sock->send))
        return;
    close(sock->fd);
    if (sock->listener)
        close(sock->gate);
    sock->fd = -1;
    io_complete(&r->host.io, sock->closing, 0);
}

static void finish(struct io_ring *r, struct io_op *op, int64_t res)
{
    struct io_sock *sock = op->sock;

    op->state = IO_OP_WAITING;
    io_complete(&r->host.io, op, res);
    if (sock->closing != NULL)
        close_if_ended(r, sock);
}

static void received(struct io_ring *r, struct io_op *op, int res, unsigned flags)
{
    struct io_sock *sock = op->sock;
    unsigned id = flags >> IORING_CQE_BUFFER_SHIFT;

    if (flags & IORING_CQE_F_SOCK_NONEMPTY)
        sock->flags |= NONEMPTY;
    else
        sock->flags &= (uint16_t) ~NONEMPTY;
    if (res == -ENOBUFS && op->res == 0) {
        sock->flags |= NONEMPTY;
        starve(r, op);
        return;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        if (res > 0)
            op->data = r->buffers + id * r->host.io.config.recv_bytes;
        else
            give_buffer(r, id);
    }
    finish(r, op, res == -ENOBUFS ? -ECANCELED : res);
}

/* Somebody may be at the gate. */
static void accepted(struct io_ring *r, struct io_op *op, int res)
{
    if (res < 0 || op->res != 0) {
        finish(r, op, res < 0 ? res : -ECANCELED);
        return;
    }
    res = net_accept(&r->host.io.config, op->sock->fd);
    if (res == -EAGAIN || res == -ECONNABORTED || res == -EINTR) {
        enqueue(r, op);
        return;
    }
    finish(r, op, res);
}

static void free_vectors(struct io_op *op)
{
    mem_free(op->data);
    op->data = NULL;
}

/* Cuts `done` bytes off the front of the vectors; false: nothing is left. The first cut makes our
 * copy. */
static bool cut_vectors(struct io_op *op, size_t done)
{
    struct iovec *iov = op->ptr;
    unsigned n = op->iovcnt;

    while (n > 0 && done >= iov->iov_len) {
        done -= iov->iov_len;
        iov++;
        n--;
    }
    if (n > 0 && done > 0 && op->data == NULL) {
        struct iovec *copy = mem_array(n, sizeof(*copy));
        memcpy(copy, iov, n * sizeof(*copy));
        op->data = (uint8_t *) copy;
        iov = copy;
    }
    if (n > 0 && done > 0) {
        iov->iov_base = (char *) iov->iov_base + done;
        iov->iov_len -= done;
    }
    op->ptr = iov;
    op->iovcnt = (uint16_t) n;
    return n > 0;
}

static void sent(struct io_ring *r, struct io_op *op, int res)
{
    struct io_sock *sock = op->sock;

    if (res >= 0) {
        op->off += (uint64_t) res;
        sock->sent = op->off;
        if (cut_vectors(op, (size_t) res)) {
            if (op->res == 0) {
                enqueue(r, op);
                return;
            }
            res = -ECANCELED;
        }
    }
    free_vectors(op);
    finish(r, op, res < 0 ? res : (int64_t) op->off);
}

static void writable(struct io_ring *r, struct io_op *op, int res)
{
    if (res == -ECANCELED || op->res != 0) {
        finish(r, op, -ECANCELED);
        return;
    }
    op->state = URING_SPLICE;
    splice_go(&r->host, op);
}

static void committed(struct io_ring *r, struct io_op *op, int res)
{
    struct direct_write *w = (struct direct_write *) (void *) op->data;

    op->data = NULL;
    op->state = IO_OP_WAITING;
    if (direct_end(r->host.direct, r->host.files, w, res))
        io_complete(&r->host.io, op, res);
    else
        host_submit_file(&r->host, op);
}

static void complete(struct io_ring *r, const struct io_uring_cqe *cqe)
{
    struct io_op *op;

    if (cqe->user_data == WAKE && !(cqe->flags & IORING_CQE_F_MORE))
        r->wake_armed = false;
    if (cqe->user_data == WAKE || cqe->user_data == NOBODY)
        return;
    op = io_uring_cqe_get_data(cqe);
    switch (op->kind) {
    case IO_RECV:
        received(r, op, cqe->res, cqe->flags);
        break;
    case IO_ACCEPT:
        accepted(r, op, cqe->res);
        break;
    case IO_SEND:
        sent(r, op, cqe->res);
        break;
    case IO_SPLICE:
        writable(r, op, cqe->res);
        break;
    case IO_COMMIT:
        committed(r, op, cqe->res);
        break;
    default: /* IO_JOB: a dial */
        op->kind = IO_IDLE;
        dial_result(CONTAINER_OF(op, struct dial, job.op), cqe->res);
        break;
    }
}

static void reap(struct io_ring *r)
{
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned n = 0;

    io_uring_for_each_cqe(&r->ring, head, cqe)
    {
        complete(r, cqe);
        n++;
    }
    io_uring_cq_advance(&r->ring, n);
}

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
    prepare_pending(r);
    if (wait_ns == 0 || !list_empty(&h->io.ready) || io_uring_cq_ready(&r->ring) > 0) {
        if (io_uring_sq_ready(&r->ring) > 0 || kernel_has_news(r))
            check_enter(io_uring_submit_and_get_events(&r->ring));
    } else {
        struct __kernel_timespec ts = {.tv_sec = (long long) (wait_ns / 1000000000u),
                                       .tv_nsec = (long long) (wait_ns % 1000000000u)};
        struct io_uring_cqe *cqe;
        bool forever = wait_ns > UINT64_MAX / 2;
        check_enter(
            io_uring_submit_and_wait_timeout(&r->ring, &cqe, 1, forever ? NULL : &ts, NULL));
    }
    reap(r);
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
            free_vectors(op);
        finish(r, op, -ECANCELED);
        break;
    case URING_KERNEL:
        op->res = -ECANCELED; /* it does not go on, whatever the kernel says */
        cancel_in_kernel(r, op);
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
    close_if_ended(r, sock);
}

static void send_ended(struct io_host *h, struct io_sock *sock)
{
    close_if_ended(CONTAINER_OF(h, struct io_ring, host), sock);
}

static void splice_wait(struct io_host *h, struct io_op *op)
{
    enqueue(CONTAINER_OF(h, struct io_ring, host), op);
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
    enqueue(r, op);
}

static void uring_submit(struct io *io, struct io_op *op)
{
    struct io_ring *r = ring_of(io);

    switch ((enum io_kind) op->kind) {
    case IO_SEND:
        if (total_of(op) == 0)
            io_complete(io, op, 0);
        else
            enqueue(r, op);
        break;
    case IO_RECV:
    case IO_ACCEPT:
        enqueue(r, op);
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
    enqueue(CONTAINER_OF(h, struct io_ring, host), &d->job.op);
}

static void uring_dial_cancel(struct io_host *h, struct dial *d)
{
    struct io_op *op = &d->job.op;

    if (op->state == URING_KERNEL) {
        cancel_in_kernel(CONTAINER_OF(h, struct io_ring, host), op);
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
    .after = uring_after,
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
        give_spare(r);
    *out = &r->host.io;
    return 0;
}

#endif
