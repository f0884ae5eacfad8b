/*
 * io_uring_submit.c - what goes into the ring: one entry for each operation, and the buffers that
 * receives take (io_uring.c).
 */
#include "lib/io/io_uring.h"

#ifdef HAVE_URING

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* The length of a submission entry has 32 bits. */
#define SEND_MAX ((size_t) 1 << 30)

/* ---- submission entries ---------------------------------------------------------------------- */

/* EAGAIN, EBUSY: completions have to be reaped first; the entries stay queued. */
void ring_check_enter(int rc)
{
    if (rc < 0 && rc != -EAGAIN && rc != -EBUSY && rc != -EINTR && rc != -ETIME)
        FATAL("io_uring_enter: %s", strerror(-rc));
}

/* NULL: the queue is full and the kernel takes none until completions are reaped. */
static struct io_uring_sqe *next_entry(struct io_ring *r)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&r->ring);

    if (sqe == NULL) {
        ring_check_enter(io_uring_submit(&r->ring));
        sqe = io_uring_get_sqe(&r->ring);
    }
    return sqe;
}

void ring_enqueue(struct io_ring *r, struct io_op *op)
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

void ring_prepare_pending(struct io_ring *r)
{
    arm_wake(r);
    while (!list_empty(&r->pending)) {
        struct io_uring_sqe *sqe = next_entry(r);
        if (sqe == NULL)
            return;
        prepare(r, sqe, LIST_ENTRY(list_pop_front(&r->pending), struct io_op, link));
    }
}

void ring_cancel(struct io_ring *r, struct io_op *op)
{
    struct io_uring_sqe *sqe = next_entry(r);

    while (sqe == NULL) { /* rare: a full queue that the kernel refuses; it drains by reaping */
        ring_check_enter(io_uring_submit_and_get_events(&r->ring));
        sqe = io_uring_get_sqe(&r->ring);
    }
    io_uring_prep_cancel(sqe, op, 0);
    io_uring_sqe_set_data64(sqe, NOBODY);
}

/* ---- receive buffers ------------------------------------------------------------------------- */

void ring_give_buffer(struct io_ring *r, unsigned id)
{
    size_t size = r->host.io.config.recv_bytes;

    io_uring_buf_ring_add(r->buffer_ring, r->buffers + id * size, (unsigned) size,
                          (unsigned short) id, io_uring_buf_ring_mask(BUFFERS_MAX), 0);
    io_uring_buf_ring_advance(r->buffer_ring, 1);
}

void ring_give_spare(struct io_ring *r)
{
    ring_give_buffer(r, r->spare[--r->spare_count]);
}

static void feed_starved(struct io_ring *r)
{
    LIST_FOREACH(it, &r->starved)
    LIST_ENTRY(it, struct io_op, link)->state = URING_PENDING;
    list_splice(&r->pending, &r->starved);
}

void ring_starve(struct io_ring *r, struct io_op *op)
{
    op->state = URING_STARVED;
    list_push_back(&r->starved, &op->link);
    r->calm = 0;
    if (r->spare_count > 0) {
        ring_give_spare(r);
        feed_starved(r);
    }
}

void ring_after(struct io *io, uint8_t *data)
{
    struct io_ring *r = ring_of(io);
    unsigned id = (unsigned) ((size_t) (data - r->buffers) / io->config.recv_bytes);

    if (++r->calm >= CALM_RECEIVES && r->spare_count < BUFFERS_MAX - BUFFERS_LEAST) {
        r->calm = 0;
        r->spare[r->spare_count++] = (uint8_t) id;
        return;
    }
    ring_give_buffer(r, id);
    feed_starved(r);
}

#endif
