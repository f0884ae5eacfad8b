/* acceptor.c - accept, hand on, accept again. */
#include "lib/io/acceptor.h"

#include <errno.h>
#include <string.h>

#define BACKLOG 1024
#define RETRY_NS 50000000u

static void on_accepted(struct io_op *op)
{
    struct acceptor *a = CONTAINER_OF(op, struct acceptor, accept);

    if (a->closing) {
        if (op->res >= 0)
            io_fd_discard(a->io, (io_fd) op->res);
        return;
    }
    if (op->res >= 0) {
        a->accepted(a, (io_fd) op->res);
    } else if (op->res != -ECONNABORTED && op->res != -EINTR) {
        LOG_ERR(a->log, "Error accepting a connection: %s", strerror((int) -op->res));
        io_timer_start(a->io, &a->retry, io_now(a->io) + RETRY_NS);
        return;
    }
    if (!a->closing)
        io_accept(a->io, &a->accept, a->sock);
}

static void again(struct wheel_timer *t)
{
    struct acceptor *a = CONTAINER_OF(t, struct acceptor, retry);

    io_accept(a->io, &a->accept, a->sock);
}

static void on_closed(struct io_op *op)
{
    struct acceptor *a = CONTAINER_OF(op, struct acceptor, close);

    a->open = false;
    a->closed(a);
}

int acceptor_open(struct acceptor *a, struct io *io, const char *host, uint16_t port,
                  struct io_addr *bound)
{
    int rc = io_listen(io, host, port, BACKLOG, &a->sock, bound);

    if (rc != 0)
        return rc;
    a->io = io;
    a->open = true;
    io_op_init(&a->accept, on_accepted);
    io_op_init(&a->close, on_closed);
    wheel_timer_init(&a->retry, again);
    io_accept(io, &a->accept, a->sock);
    return 0;
}

void acceptor_close(struct acceptor *a)
{
    a->closing = true;
    io_timer_stop(a->io, &a->retry);
    io_sock_close(a->io, &a->close, a->sock);
}
