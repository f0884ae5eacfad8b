/*
 * io_splice.c - file to socket through the kernel, on a pool thread, because reading the file may
 * block.
 *
 * One step moves what the socket takes now and ends with all moved, an error, or a full socket;
 * then the loop waits until the socket is writable and starts the next step. The step has its own
 * copies of everything: the operation is the loop's alone. A file shorter than asked breaks the
 * stream, so that is -EIO.
 */
#include "lib/base/mem.h"
#include "lib/io/io_host.h"

#include <errno.h>
#include <sys/sendfile.h>

enum { SPLICE_WAITING = IO_OP_PRIVATE + 8, SPLICE_STEPPING, SPLICE_CANCELLED };

struct step {
    struct io_work job;
    struct io_host *h;
    struct io_op *op;
    struct io_files *files; /* of the file's loop */
    struct io_file *file;
    int sock_fd;
    off_t off;
    uint32_t left;
    uint32_t moved;
    int rc;
};

static void step_run(struct io_work *job)
{
    struct step *s = CONTAINER_OF(job, struct step, job);
    int fd = files_borrow(s->files, s->file, false);

    if (fd < 0) {
        s->rc = fd;
        return;
    }
    while (s->left > 0) {
        ssize_t r = sendfile(s->sock_fd, fd, &s->off, s->left);
        if (r < 0 && errno == EINTR)
            continue;
        if (r <= 0) {
            s->rc = r == 0 ? -EIO : -errno;
            break;
        }
        s->left -= (uint32_t) r;
        s->moved += (uint32_t) r;
    }
    files_return(s->files, s->file, false);
}

static void step_done(struct io_op *job)
{
    struct step *s = CONTAINER_OF(job, struct step, job.op);
    struct io_host *h = s->h;
    struct io_op *op = s->op;
    struct io_sock *sock = op->sock;
    bool cancelled = op->state == SPLICE_CANCELLED;

    sock->sent += s->moved;
    op->off += s->moved;
    op->len -= s->moved;
    op->state = SPLICE_WAITING;
    if (cancelled)
        io_complete(&h->io, op, -ECANCELED);
    else if (s->rc == -EAGAIN)
        h->host_ops->splice_wait(h, op);
    else
        io_complete(&h->io, op, s->rc < 0 ? s->rc : (int64_t) sock->sent);
    mem_free(s);
    if (op->state == IO_OP_READY && sock->closing != NULL)
        h->host_ops->send_ended(h, sock);
}

void splice_go(struct io_host *h, struct io_op *op)
{
    struct step *s = mem_zalloc(sizeof(*s));

    s->h = h;
    s->op = op;
    s->file = op->splice_from;
    s->files = host_of(s->file->io)->files;
    s->sock_fd = op->sock->fd;
    s->off = (off_t) op->off;
    s->left = op->len;
    op->state = SPLICE_STEPPING;
    host_job(h, &s->job, step_run, step_done);
}

bool splice_cancel(struct io_host *h, struct io_op *op)
{
    if (op->state == SPLICE_STEPPING)
        op->state = SPLICE_CANCELLED;
    if (op->state == SPLICE_CANCELLED)
        return true;
    io_complete(&h->io, op, -ECANCELED);
    return false;
}
