/*
 * io_dial.c - connecting to a name or an address.
 *
 * A numeric host is tried at once. A name is resolved on a work thread; then its addresses are
 * tried in order until one answers, and the operation fails with the error of the last. Cancelled
 * while the resolver runs (it can not be stopped), the operation completes at once and the attempt
 * is freed when the thread is back.
 */
#include "lib/base/mem.h"
#include "lib/io/io_host.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static void finish(struct dial *d, int64_t res)
{
    struct io_op *op = d->op;
    struct io_host *h = d->h;

    mem_free(d);
    op->ptr = NULL;
    io_complete(&h->io, op, res);
}

/* Tries the next address; failures to even make a socket count as answers of that address. */
static void try_next(struct dial *d, int rc)
{
    while (d->next < d->count) {
        d->fd = net_socket(&d->h->io.config, d->addrs[d->next].sa.ss_family);
        if (d->fd >= 0) {
            d->h->host_ops->dial(d->h, d);
            return;
        }
        rc = d->fd;
        d->next++;
    }
    finish(d, rc);
}

void dial_result(struct dial *d, int rc)
{
    if (rc == 0 && !d->cancelled) {
        finish(d, d->fd);
        return;
    }
    close(d->fd);
    d->fd = -1;
    d->next++;
    if (d->cancelled)
        finish(d, -ECANCELED);
    else
        try_next(d, rc);
}

static void resolve(struct io_work *job)
{
    struct dial *d = CONTAINER_OF(job, struct dial, job);

    d->count = net_resolve(d->host, d->port, false, d->addrs);
}

static void resolved(struct io_op *job)
{
    struct dial *d = CONTAINER_OF(job, struct dial, job.op);

    if (d->op == NULL)
        mem_free(d);
    else
        try_next(d, d->count < 0 ? d->count : -EHOSTUNREACH);
}

void host_connect(struct io *io, struct io_op *op, const char *host, uint16_t port)
{
    struct io_host *h = CONTAINER_OF(io, struct io_host, io);
    size_t size = strlen(host) + 1;
    struct dial *d = mem_zalloc(sizeof(*d) + size);

    memcpy(d->host, host, size);
    d->h = h;
    d->op = op;
    d->port = port;
    d->fd = -1;
    op->ptr = d;
    if (net_parse(host, port, &d->addrs[0])) {
        d->count = 1;
        try_next(d, 0);
    } else {
        host_job(h, &d->job, resolve, resolved);
    }
}

void dial_cancel(struct io_host *h, struct io_op *op)
{
    struct dial *d = op->ptr;

    if (d->cancelled)
        return;
    d->cancelled = true;
    if (d->fd >= 0) {
        h->host_ops->dial_cancel(h, d);
        return;
    }
    d->op = NULL;
    op->ptr = NULL;
    io_complete(&h->io, op, -ECANCELED);
}
