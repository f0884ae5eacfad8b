/*
 * io_uring_complete.c - what comes out of the ring: the ends of operations, and what follows from
 * them (io_uring.c).
 */
#ifdef HAVE_URING

#include "lib/base/mem.h"
#include "lib/io/io_uring.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static bool ended(const struct io_op *op)
{
    return op == NULL || op->state == IO_OP_READY;
}

/* Once nothing is in flight any more. */
void ring_close_if_ended(struct io_ring *r, struct io_sock *sock)
{
    if (sock->fd < 0 || !ended(sock->recv) || !ended(sock->send))
        return;
    close(sock->fd);
    if (sock->listener)
        close(sock->gate);
    sock->fd = -1;
    io_complete(&r->host.io, sock->closing, 0);
}

void ring_finish(struct io_ring *r, struct io_op *op, int64_t res)
{
    struct io_sock *sock = op->sock;

    op->state = IO_OP_WAITING;
    io_complete(&r->host.io, op, res);
    if (sock->closing != NULL)
        ring_close_if_ended(r, sock);
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
        ring_starve(r, op);
        return;
    }
    if (flags & IORING_CQE_F_BUFFER) {
        if (res > 0)
            op->data = r->buffers + id * r->host.io.config.recv_bytes;
        else
            ring_give_buffer(r, id);
    }
    ring_finish(r, op, res == -ENOBUFS ? -ECANCELED : res);
}

/* Somebody may be at the gate. */
static void accepted(struct io_ring *r, struct io_op *op, int res)
{
    if (res < 0 || op->res != 0) {
        ring_finish(r, op, res < 0 ? res : -ECANCELED);
        return;
    }
    res = net_accept(&r->host.io.config, op->sock->fd);
    if (res == -EAGAIN || res == -ECONNABORTED || res == -EINTR) {
        ring_enqueue(r, op);
        return;
    }
    ring_finish(r, op, res);
}

void ring_free_vectors(struct io_op *op)
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
                ring_enqueue(r, op);
                return;
            }
            res = -ECANCELED;
        }
    }
    ring_free_vectors(op);
    ring_finish(r, op, res < 0 ? res : (int64_t) op->off);
}

static void writable(struct io_ring *r, struct io_op *op, int res)
{
    if (res == -ECANCELED || op->res != 0) {
        ring_finish(r, op, -ECANCELED);
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

void ring_reap(struct io_ring *r)
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

#endif
