/*
 * io_event.c - libevent's readiness turned into completions.
 *
 * Every socket is registered once, for reading and writing, edge-triggered; its event never changes
 * until it closes, so that a hot connection costs epoll_wait, recv and send and no epoll_ctl. What
 * an edge said is kept in flags of the socket:
 *
 *   READABLE   an edge came, or the last receive filled its buffer: a receive is worth a try. A
 * receive that got less than it had room for emptied the socket and clears the flag, the next edge
 * sets it again; but an end of stream that was already there makes no further edge, so HUP keeps
 * READABLE set. WRITABLE   nothing says that the socket is full. Cleared by EAGAIN, set by an edge.
 *   EDGE       a writing edge came since a splice's step began on its pool thread; that step's
 * EAGAIN is old then.
 *
 * Receives complete lazily: io.c calls before() just ahead of the callback, and only there the
 * bytes are read, into the one buffer of the loop. So no socket owns a buffer, and the bytes are in
 * the cache when the callback looks at them. A try that finds nothing puts the operation back.
 *
 * Sends are tried in the submit phase of the turn, then at each edge, until all is taken.
 *
 * The loop sleeps in event_base_loop, woken by an edge on the host's eventfd or by one libevent
 * timer. struct event is 128 bytes here, a whole socket 176 (plus 32 + 8 in libevent's tables).
 */
#include "lib/base/mem.h"
#include "lib/io/io_host.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READABLE = 1, WRITABLE = 2, HUP = 4, EDGE = 8 };
enum {
    EVENT_ARMED = IO_OP_PRIVATE,
    EVENT_QUEUED
}; /* waits for an edge; waits for the submit phase */

struct io_event {
    struct io_host host;
    struct event_base *base;
    struct event *wake;
    struct event *timeout;
    struct list sends; /* operations to try in the next submit phase */
    uint8_t *buffer;   /* the receive buffer, recv_bytes */
};

/* libevent's struct follows: its header can not be included beside ours (both have a LIST_ENTRY),
 * and its size is a question to the library anyway. */
struct event_sock {
    struct io_sock sock;
    _Alignas(void *) unsigned char event[];
};

static struct event *event_in(struct io_sock *sock)
{
    return (void *) CONTAINER_OF(sock, struct event_sock, sock)->event;
}

static struct io_event *event_of(struct io *io)
{
    return CONTAINER_OF(io, struct io_event, host.io);
}

/* ---- receiving and accepting ----------------------------------------------------------------- */

static bool would_block(int e)
{
    return e == EAGAIN || e == EWOULDBLOCK;
}

static void arm_recv(struct io *io, struct io_op *op)
{
    op->state = EVENT_ARMED;
    if (op->sock->flags & READABLE)
        io_complete_lazy(io, op);
}

/* False: nothing there. */
static bool try_recv(struct io_event *e, struct io_op *op)
{
    size_t room = op->len;
    struct io_sock *sock = op->sock;
    ssize_t r;

    do
        r = recv(sock->fd, op->ptr != NULL ? op->ptr : e->buffer, room, 0);
    while (r < 0 && errno == EINTR);
    if ((size_t) r != room && !(sock->flags & HUP))
        sock->flags &= (uint16_t) ~READABLE;
    if (r < 0 && would_block(errno)) {
        sock->flags &= (uint16_t) ~READABLE;
        return false;
    }
    op->res = r < 0 ? -errno : r;
    op->data = r > 0 && op->ptr == NULL ? e->buffer : NULL;
    return true;
}

static bool try_accept(struct io_event *e, struct io_op *op)
{
    int fd;

    do
        fd = net_accept(&e->host.io.config, op->sock->fd);
    while (fd == -EINTR || fd == -ECONNABORTED);
    if (fd < 0 && would_block(-fd)) {
        op->sock->flags &= (uint16_t) ~READABLE;
        return false;
    }
    op->res = fd;
    return true;
}

static bool event_before(struct io *io, struct io_op *op)
{
    struct io_event *e = event_of(io);

    if (op->kind == IO_ACCEPT ? try_accept(e, op) : try_recv(e, op))
        return true;
    op->state = EVENT_ARMED;
    return false;
}

/* ---- sending --------------------------------------------------------------------------------- */

enum { REST_MAX = 256 };

/* The vectors from byte `done` on: the caller's own array while nothing was taken, else a copy
 * whose first is cut, as far as it fits. */
static const struct iovec *rest_of(const struct io_op *op, struct iovec *copy, size_t *n)
{
    const struct iovec *iov = op->ptr;
    unsigned count = op->iovcnt;
    size_t done = op->off;
    unsigned i = 0;

    if (done == 0) {
        *n = count;
        return iov;
    }
    while (i < count && done >= iov[i].iov_len)
        done -= iov[i++].iov_len;
    *n = count - i < REST_MAX ? count - i : REST_MAX;
    memcpy(copy, iov + i, *n * sizeof(*copy));
    if (*n > 0) {
        copy[0].iov_base = (char *) copy[0].iov_base + done;
        copy[0].iov_len -= done;
    }
    return copy;
}

static size_t total_of(const struct io_op *op)
{
    const struct iovec *iov = op->ptr;
    size_t total = 0;

    for (unsigned i = 0; i < op->iovcnt; i++)
        total += iov[i].iov_len;
    return total;
}

/* Sends until all is taken or the socket is full. */
static void try_send(struct io_event *e, struct io_op *op)
{
    struct io_sock *sock = op->sock;
    size_t total = total_of(op);
    struct iovec copy[REST_MAX];

    while (op->off < total) {
        struct msghdr msg = {0};
        ssize_t r;
        msg.msg_iov = (struct iovec *) (uintptr_t) rest_of(op, copy, &msg.msg_iovlen);
        r = sendmsg(sock->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (r >= 0) {
            op->off += (uint64_t) r;
            sock->sent = op->off;
        } else if (would_block(errno)) {
            sock->flags &= (uint16_t) ~WRITABLE;
            op->state = EVENT_ARMED;
            return;
        } else if (errno != EINTR) {
            io_complete(&e->host.io, op, -errno);
            return;
        }
    }
    io_complete(&e->host.io, op, (int64_t) total);
}

static void go_on_sending(struct io_event *e, struct io_op *op)
{
    op->state = EVENT_ARMED;
    if (op->kind == IO_SEND) {
        try_send(e, op);
    } else {
        op->sock->flags &= (uint16_t) ~EDGE;
        splice_go(&e->host, op);
    }
}

/* The socket was full; the edge may have come while the pool thread was still at it. */
static void splice_wait(struct io_host *h, struct io_op *op)
{
    struct io_event *e = CONTAINER_OF(h, struct io_event, host);

    op->state = EVENT_ARMED;
    if (op->sock->flags & EDGE)
        go_on_sending(e, op);
    else
        op->sock->flags &= (uint16_t) ~WRITABLE;
}

static void submit_send(struct io_event *e, struct io_op *op)
{
    if (op->sock->flags & WRITABLE) {
        op->state = EVENT_QUEUED;
        list_push_back(&e->sends, &op->link);
    } else {
        op->state = EVENT_ARMED;
    }
}

/* ---- edges ----------------------------------------------------------------------------------- */

static void on_edge(evutil_socket_t fd, short what, void *arg)
{
    struct io_sock *sock = arg;
    struct io_event *e = event_of(sock->io);

    (void) fd;
    if (what & EV_CLOSED)
        sock->flags |= HUP | READABLE;
    if (what & EV_READ)
        sock->flags |= READABLE;
    if (sock->recv != NULL && sock->recv->state == EVENT_ARMED && (sock->flags & READABLE))
        io_complete_lazy(sock->io, sock->recv);
    if (what & EV_WRITE) {
        sock->flags |= WRITABLE | EDGE;
        if (sock->send != NULL && sock->send->state == EVENT_ARMED)
            go_on_sending(e, sock->send);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void) fd;
    (void) what;
    (void) arg;
}

static void submit_sends(struct io_event *e)
{
    struct list batch;
    struct list *node;

    list_init(&batch);
    list_splice(&batch, &e->sends);
    while ((node = list_pop_front(&batch)) != NULL) {
        struct io_op *op = LIST_ENTRY(node, struct io_op, link);
        go_on_sending(e, op);
    }
}

static void turn(struct io_host *h, uint64_t wait_ns)
{
    struct io_event *e = CONTAINER_OF(h, struct io_event, host);
    int flags = EVLOOP_ONCE;

    submit_sends(e);
    if (wait_ns == 0 || !list_empty(&h->io.ready)) {
        event_base_loop(e->base, EVLOOP_NONBLOCK);
        return;
    }
    if (wait_ns < UINT64_MAX / 2) {
        uint64_t us = (wait_ns + 999) / 1000;
        struct timeval tv = {.tv_sec = (time_t) (us / 1000000), .tv_usec = (long) (us % 1000000)};
        event_add(e->timeout, &tv);
        event_base_loop(e->base, flags);
        event_del(e->timeout);
    } else {
        event_base_loop(e->base, flags);
    }
}

/* Only the kernel knows. */
static bool probe(struct io_host *h)
{
    (void) h;
    return true;
}

/* ---- sockets --------------------------------------------------------------------------------- */

static struct io_sock *sock_new(struct io_event *e, int fd)
{
    struct event_sock *s = mem_zalloc(sizeof(*s) + event_get_struct_event_size());

    s->sock.io = &e->host.io;
    s->sock.fd = fd;
    s->sock.flags = WRITABLE;
    event_assign(event_in(&s->sock), e->base, fd,
                 EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST, on_edge, &s->sock);
    if (event_add(event_in(&s->sock), NULL) < 0)
        FATAL("event_add of descriptor %d failed", fd);
    return &s->sock;
}

static struct io_sock *event_sock_open(struct io *io, io_fd fd)
{
    return sock_new(event_of(io), fd);
}

static int event_listen(struct io *io, const char *host, uint16_t port, int backlog,
                        struct io_sock **out, struct io_addr *bound)
{
    int fd = io_net_listen(host, port, backlog, bound);

    if (fd < 0)
        return fd;
    *out = sock_new(event_of(io), fd);
    return 0;
}

static void event_sock_shutdown(struct io *io, struct io_sock *sock)
{
    (void) io;
    shutdown(sock->fd, SHUT_WR);
}

static void event_sock_free(struct io *io, struct io_sock *sock)
{
    (void) io;
    mem_free(CONTAINER_OF(sock, struct event_sock, sock));
}

/* True when it has ended (or will be delivered with its result), false when a pool thread still has
 * it. */
static bool cancel_on_sock(struct io_event *e, struct io_op *op)
{
    if (op == NULL || op->state == IO_OP_READY)
        return true;
    if (op->state == IO_OP_LAZY || op->state == EVENT_QUEUED) {
        list_remove(&op->link);
        op->state = EVENT_ARMED;
    }
    if (op->kind == IO_SPLICE)
        return !splice_cancel(&e->host, op);
    io_complete(&e->host.io, op, -ECANCELED);
    return true;
}

static void close_now(struct io_event *e, struct io_sock *sock)
{
    event_del(event_in(sock));
    close(sock->fd);
    sock->fd = -1;
    io_complete(&e->host.io, sock->closing, 0);
}

static void send_ended(struct io_host *h, struct io_sock *sock)
{
    close_now(CONTAINER_OF(h, struct io_event, host), sock);
}

static void submit_close(struct io_event *e, struct io_sock *sock)
{
    cancel_on_sock(e, sock->recv);
    if (cancel_on_sock(e, sock->send))
        close_now(e, sock);
}

static void event_submit(struct io *io, struct io_op *op)
{
    struct io_event *e = event_of(io);

    switch ((enum io_kind) op->kind) {
    case IO_RECV:
    case IO_ACCEPT:
        arm_recv(io, op);
        break;
    case IO_SEND:
    case IO_SPLICE:
        submit_send(e, op);
        break;
    case IO_CLOSE:
        submit_close(e, op->sock);
        break;
    default:
        host_submit_file(&e->host, op);
        break;
    }
}

static void event_cancel(struct io *io, struct io_op *op)
{
    struct io_event *e = event_of(io);

    switch ((enum io_kind) op->kind) {
    case IO_RECV:
    case IO_ACCEPT:
    case IO_SEND:
    case IO_SPLICE:
        cancel_on_sock(e, op);
        break;
    case IO_CLOSE:
        break;
    default:
        host_cancel(&e->host, op);
        break;
    }
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
    struct dial *d = arg;
    int error = 0;
    socklen_t len = sizeof(error);

    (void) what;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    event_free(d->backend);
    d->backend = NULL;
    dial_result(d, -error);
}

static void event_dial(struct io_host *h, struct dial *d)
{
    struct io_event *e = CONTAINER_OF(h, struct io_event, host);
    const struct net_addr *addr = &d->addrs[d->next];

    if (connect(d->fd, (const struct sockaddr *) &addr->sa, addr->len) == 0) {
        dial_result(d, 0);
    } else if (errno == EINPROGRESS) {
        d->backend = event_new(e->base, d->fd, EV_WRITE, on_connected, d);
        if (d->backend == NULL || event_add(d->backend, NULL) < 0)
            FATAL("event_add of descriptor %d failed", d->fd);
    } else {
        dial_result(d, -errno);
    }
}

static void event_dial_cancel(struct io_host *h, struct dial *d)
{
    (void) h;
    event_free(d->backend);
    d->backend = NULL;
    dial_result(d, -ECANCELED);
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct host_ops host_ops = {
    .turn = turn,
    .probe = probe,
    .dial = event_dial,
    .dial_cancel = event_dial_cancel,
    .splice_wait = splice_wait,
    .send_ended = send_ended,
};

static void free_base(struct io_event *e)
{
    if (e->wake != NULL)
        event_free(e->wake);
    if (e->timeout != NULL)
        event_free(e->timeout);
    if (e->base != NULL)
        event_base_free(e->base);
    mem_free(e->buffer);
}

static void event_close(struct io *io)
{
    struct io_event *e = event_of(io);

    host_stop(&e->host);
    free_base(e);
    io_teardown(io);
    host_free(&e->host);
    mem_free(e);
}

static const struct io_ops event_ops = {
    .name = "libevent",
    .close = event_close,
    .poll = host_poll,
    .wake = host_wake,
    .monotonic = host_monotonic,
    .wall = host_wall,
    .asleep = host_asleep,
    .random = host_random,
    .listen = event_listen,
    .connect = host_connect,
    .fd_discard = host_fd_discard,
    .sock_open = event_sock_open,
    .sock_free = event_sock_free,
    .sock_shutdown = event_sock_shutdown,
    .sock_addr = host_sock_addr,
    .file_open = host_file_open,
    .file_close = host_file_close,
    .submit = event_submit,
    .cancel = event_cancel,
    .before = event_before,
};

/* One thread per base: no locks. Edges and early close are what epoll has and select has not. */
static struct event_base *new_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base = NULL;

    if (config == NULL)
        return NULL;
    if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
        event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME) == 0 &&
        event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE) == 0)
        base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

static int open_base(struct io_event *e, const struct io_config *config)
{
    e->base = new_base();
    if (e->base == NULL)
        return -ENOSYS;
    e->buffer = mem_try_alloc_aligned(4096, config->recv_bytes);
    e->timeout = event_new(e->base, -1, 0, on_wake, NULL);
    e->wake = event_new(e->base, e->host.wake_fd, EV_READ | EV_ET | EV_PERSIST, on_wake, NULL);
    if (e->buffer == NULL || e->timeout == NULL || e->wake == NULL || event_add(e->wake, NULL) < 0)
        return -ENOMEM;
    return 0;
}

int io_event_open(const struct io_config *config, struct io **out)
{
    struct io_event *e = mem_try_alloc_aligned(64, sizeof(*e));
    int rc;

    if (e == NULL)
        return -ENOMEM;
    memset(e, 0, sizeof(*e));
    list_init(&e->sends);
    rc = host_open(&e->host, &host_ops, config);
    if (rc < 0) {
        mem_free(e);
        return rc;
    }
    rc = open_base(e, config);
    if (rc < 0) {
        host_stop(&e->host);
        free_base(e);
        host_free(&e->host);
        mem_free(e);
        return rc;
    }
    io_setup(&e->host.io, &event_ops, config, &e->host.fs);
    *out = &e->host.io;
    return 0;
}
