/*
 * sim_net.c - a network in a box: connections between the loops of one simulator.
 *
 * A connection is two ends. What one end sends travels as segments to the other, which keeps
 * arrived bytes until they are received. A segment takes a drawn time but never overtakes; a send
 * is cut into segments and arrived bytes are handed out in pieces as the dice say, so the receiver
 * sees every kind of split and merge. An end takes at most `window` bytes that were not received
 * yet; a send waits for room, so a slow reader stops its writer.
 *
 * An end that was closed answers data with a reset, and closing with unread data resets at once, as
 * TCP does. Both ends stay until both are closed and nothing travels between them any more.
 *
 * Lent receive buffers are exactly as long as their data and freed when the callback returns, so
 * that a memory checker sees whoever reads past them or keeps them.
 */
#include "lib/base/assert.h"
#include "tests/sim/sim_int.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FD_BASE 1000

/* Bytes on their way to `to`. */
struct segment {
    struct sim_event ev;
    struct list link; /* of to->segments, in order of sending */
    struct sim_end *to;
    bool fin, reset;
    size_t n;
    uint8_t data[];
};

struct sim_end {
    struct list link; /* of the sim */
    struct sim *sim;
    int fd;
    struct sim_end *peer;  /* NULL: a listener */
    struct sim_sock *sock; /* NULL: not adopted */
    struct sim_loop *loop; /* who answers for it */
    struct io_addr local, remote;
    bool closed;
    /* listener */
    bool listening;
    unsigned backlog, queued;
    struct list queue;      /* ends to accept */
    struct list queue_link; /* of the listener's queue */
    /* coming in */
    struct list segments;
    uint64_t last_at;
    uint8_t *rx; /* arrived; [rx_at, rx_n) was not received yet */
    size_t rx_at, rx_n, rx_cap;
    bool rx_fin, rx_reset;
    size_t window;
    size_t unread; /* travelling and arrived */
    /* going out */
    bool fin_sent;
};

struct sim_sock {
    struct io_sock sock; /* first */
    struct list link;    /* of the loop */
    struct sim_end *end;
    struct sim_event pump_ev;
    struct sim_event close_ev;
};

static void pump(struct sim *sim, struct sim_sock *s);

static struct sim_sock *sock_of(struct io_sock *sock)
{
    return (struct sim_sock *) sock;
}

/* ---- ends ------------------------------------------------------------------------------------ */

static struct sim_end *end_new(struct sim *sim)
{
    struct sim_end *e = sim_alloc(sizeof(*e));
    size_t i = 0;
    while (i < sim->nends && sim->ends[i] != NULL)
        i++;
    if (i == sim->nends)
        sim->ends = sim_grow(sim->ends, ++sim->nends * sizeof(struct sim_end *));
    sim->ends[i] = e;
    e->sim = sim;
    e->fd = FD_BASE + (int) i;
    list_init(&e->queue);
    list_init(&e->queue_link);
    list_init(&e->segments);
    list_push_back(&sim->all_ends, &e->link);
    e->window = sim->options.window_min << prng_below(&sim->rng, 6);
    return e;
}

static void end_free(struct sim_end *e)
{
    LIST_FOREACH_SAFE(it, tmp, &e->segments)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, link);
        sim_event_stop(e->sim, &seg->ev);
        free(seg);
    }
    while (list_pop_front(&e->queue) != NULL)
        ;
    list_remove(&e->queue_link);
    list_remove(&e->link);
    e->sim->ends[e->fd - FD_BASE] = NULL;
    free(e->rx);
    free(e);
}

static bool end_spent(const struct sim_end *e)
{
    return e->closed && e->sock == NULL && list_empty(&e->segments);
}

static void pair_free_if_spent(struct sim_end *e)
{
    struct sim_end *peer = e->peer;
    if (!end_spent(e) || (peer != NULL && !end_spent(peer)))
        return;
    if (peer != NULL)
        end_free(peer);
    end_free(e);
}

static struct sim_end *end_of_fd(struct sim *sim, io_fd fd)
{
    ASSERT(fd >= FD_BASE && (size_t) (fd - FD_BASE) < sim->nends);
    struct sim_end *e = sim->ends[fd - FD_BASE];
    ASSERT(e != NULL && e->sock == NULL && !e->closed);
    return e;
}

/* ---- travelling ------------------------------------------------------------------------------ */

static void wake_receiver(struct sim_end *e)
{
    if (e->sock == NULL)
        return;
    struct io_op *op = e->sock->sock.recv;
    if (op != NULL && op->state == IO_OP_WAITING)
        io_complete_lazy(e->sock->sock.io, op);
}

static void segment_arrives(struct sim *sim, struct sim_event *ev);

static void travel(struct sim_end *to, const uint8_t *bytes, size_t n, bool fin, bool reset)
{
    struct sim *sim = to->sim;
    struct segment *seg = sim_alloc(sizeof(*seg) + n);
    uint64_t at = sim->now + sim_draw(sim, &sim->options.net);
    seg->to = to;
    seg->fin = fin;
    seg->reset = reset;
    seg->n = n;
    if (n > 0)
        memcpy(seg->data, bytes, n);
    to->unread += n;
    /* One nanosecond apart, because equal times have a drawn order. */
    to->last_at = at > to->last_at ? at : to->last_at + 1;
    list_push_back(&to->segments, &seg->link);
    sim_event_start(sim, &seg->ev, to->last_at, segment_arrives);
}

static void reset_arrives(struct sim_end *e)
{
    e->rx_reset = true;
    e->unread -= e->rx_n - e->rx_at;
    e->rx_at = e->rx_n;
    wake_receiver(e);
    if (e->sock != NULL)
        pump(e->sim, e->sock);
}

static void data_arrives(struct sim_end *e, const struct segment *seg)
{
    if (e->rx_at == e->rx_n)
        e->rx_at = e->rx_n = 0;
    if (e->rx_n + seg->n > e->rx_cap) {
        e->rx_cap = (e->rx_n + seg->n) * 2;
        e->rx = sim_grow(e->rx, e->rx_cap);
    }
    memcpy(e->rx + e->rx_n, seg->data, seg->n);
    e->rx_n += seg->n;
    wake_receiver(e);
}

static void segment_arrives(struct sim *sim, struct sim_event *ev)
{
    struct segment *seg = CONTAINER_OF(ev, struct segment, ev);
    struct sim_end *e = seg->to;
    list_remove(&seg->link);
    sim_trace(sim, "net %d gets %zu%s%s", e->fd, seg->n, seg->fin ? " fin" : "",
              seg->reset ? " reset" : "");
    bool fault = seg->n > 0 && !e->closed && sim_fails(sim, SIM_FAULT_RESET, NULL);
    if (fault || (e->closed && seg->n > 0) || e->rx_reset || seg->reset)
        e->unread -= seg->n;
    if (e->closed) {
        if (seg->n > 0 && !e->peer->rx_reset)
            travel(e->peer, NULL, 0, false, true);
    } else if (fault || seg->reset) {
        if (fault)
            travel(e->peer, NULL, 0, false, true);
        reset_arrives(e);
    } else if (seg->fin) {
        e->rx_fin = true;
        wake_receiver(e);
    } else if (!e->rx_reset) {
        data_arrives(e, seg);
    }
    free(seg);
    pair_free_if_spent(e);
}

/* Cuts bytes into segments. */
static void travel_bytes(struct sim_end *to, const uint8_t *bytes, size_t n)
{
    struct sim *sim = to->sim;
    while (n > 0) {
        size_t part = n;
        if (sim_chance(sim, sim->options.split_percent))
            part = 1 + (size_t) prng_below(&sim->rng, n);
        travel(to, bytes, part, false, false);
        bytes += part;
        n -= part;
    }
}

/* May free it. What nobody accepted from a listener is reset. */
static void close_end(struct sim_end *e, bool reset)
{
    struct list *node;
    if (e->closed)
        return;
    e->closed = true;
    while ((node = list_pop_front(&e->queue)) != NULL)
        close_end(LIST_ENTRY(node, struct sim_end, queue_link), true);
    if (e->peer != NULL && !e->rx_reset) {
        if (reset || e->rx_at < e->rx_n)
            travel(e->peer, NULL, 0, false, true);
        else if (!e->fin_sent)
            travel(e->peer, NULL, 0, true, false);
    }
    e->unread -= e->rx_n - e->rx_at;
    e->rx_at = e->rx_n = 0;
    pair_free_if_spent(e);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void run_pump(struct sim *sim, struct sim_event *ev)
{
    pump(sim, CONTAINER_OF(ev, struct sim_sock, pump_ev));
}

static void pump_soon(struct sim *sim, struct sim_sock *s)
{
    if (s->pump_ev.place == 0)
        sim_event_start(sim, &s->pump_ev, sim->now + prng_below(&sim->rng, 5000), run_pump);
}

static uint64_t vectors_total(const struct io_op *op)
{
    const struct iovec *iov = op->ptr;
    uint64_t n = 0;
    for (unsigned i = 0; i < op->iovcnt; i++)
        n += iov[i].iov_len;
    return n;
}

/* Sends up to `room` bytes of the vectors from `skip` on. */
static size_t send_vectors(struct sim_end *to, const struct io_op *op, uint64_t skip, size_t room)
{
    const struct iovec *iov = op->ptr;
    size_t sent = 0;
    for (unsigned i = 0; i < op->iovcnt && sent < room; i++) {
        size_t len = iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        size_t part = len - (size_t) skip < room - sent ? len - (size_t) skip : room - sent;
        travel_bytes(to, (const uint8_t *) iov[i].iov_base + skip, part);
        sent += part;
        skip = 0;
    }
    return sent;
}

/* The same from a file; a negative errno when it is too short or unreadable. */
static int64_t send_file(struct sim_end *to, struct io_op *op, uint64_t skip, size_t room)
{
    size_t n = op->len - (size_t) skip < room ? op->len - (size_t) skip : room;
    uint8_t *bytes = sim_alloc(n + 1);
    int64_t got = sim_file_peek(to->sim, op->splice_from, bytes, n, op->off + skip);
    if (got >= 0 && (size_t) got < n)
        got = -EIO;
    if (got > 0)
        travel_bytes(to, bytes, n);
    free(bytes);
    return got;
}

/* Moves what fits of the send in flight. */
static void pump(struct sim *sim, struct sim_sock *s)
{
    struct io_op *op = s->sock.send;
    struct sim_end *e = s->end;
    struct io *io = s->sock.io;
    if (op == NULL || op->state != IO_OP_WAITING || s->sock.closing != NULL)
        return;
    if (e->rx_reset || e->fin_sent) {
        io_complete(io, op, e->fin_sent ? -EPIPE : -ECONNRESET);
        return;
    }
    uint64_t total = op->kind == IO_SEND ? vectors_total(op) : op->len;
    struct sim_end *to = e->peer;
    size_t room = to->unread < to->window ? to->window - to->unread : 0;
    int64_t sent = 0;
    if (room > 0 && s->sock.sent < total) {
        sent = op->kind == IO_SEND ? (int64_t) send_vectors(to, op, s->sock.sent, room)
                                   : send_file(to, op, s->sock.sent, room);
    }
    sim_trace(sim, "net %d sends %lld of %llu", e->fd, (long long) sent,
              (unsigned long long) total);
    if (sent < 0) {
        io_complete(io, op, sent);
        return;
    }
    s->sock.sent += (uint64_t) sent;
    if (s->sock.sent == total)
        io_complete(io, op, (int64_t) total);
}

/* ---- receiving ------------------------------------------------------------------------------- */

bool sim_net_before(struct io *io, struct io_op *op)
{
    struct sim *sim = sim_loop_of(io)->sim;
    struct sim_end *e = sock_of(op->sock)->end;
    size_t n = e->rx_n - e->rx_at;
    if (n == 0) {
        if (!e->rx_fin && !e->rx_reset)
            return false;
        op->res = e->rx_reset ? -ECONNRESET : 0;
        return true;
    }
    if (n > op->len)
        n = op->len;
    if (sim_chance(sim, sim->options.split_percent))
        n = 1 + (size_t) prng_below(&sim->rng, n);
    if (op->ptr == NULL)
        op->data = sim_alloc(n);
    op->res = (int64_t) n;
    memcpy(op->ptr != NULL ? op->ptr : op->data, e->rx + e->rx_at, n);
    e->rx_at += n;
    e->unread -= n;
    if (e->peer->sock != NULL)
        pump_soon(sim, e->peer->sock);
    return true;
}

void sim_net_after(struct io *io, uint8_t *data)
{
    (void) io;
    free(data);
}

/* ---- making connections ---------------------------------------------------------------------- */

/* "localhost" is the one name there is. */
static int resolve(const char *host, struct io_addr *out)
{
    if (strcmp(host, "localhost") == 0)
        host = "127.0.0.1";
    size_t n = strlen(host);
    bool numeric = strspn(host, "0123456789.") == n || strchr(host, ':') != NULL;
    if (!numeric || n >= sizeof(out->host))
        return -EHOSTUNREACH;
    memcpy(out->host, host, n + 1);
    return 0;
}

static struct sim_end *find_listener(struct sim *sim, const char *host, uint16_t port)
{
    LIST_FOREACH(it, &sim->all_ends)
    {
        struct sim_end *e = LIST_ENTRY(it, struct sim_end, link);
        if (e->listening && !e->closed && e->local.port == port &&
            (strcmp(e->local.host, host) == 0 || strcmp(e->local.host, "0.0.0.0") == 0 ||
             strcmp(host, "0.0.0.0") == 0))
            return e;
    }
    return NULL;
}

static struct sim_sock *sock_new(struct sim_loop *loop, struct sim_end *e)
{
    struct sim_sock *s = sim_alloc(sizeof(*s));
    s->sock.io = &loop->io;
    s->sock.fd = e->fd;
    s->end = e;
    e->sock = s;
    e->loop = loop;
    list_push_back(&loop->socks, &s->link);
    return s;
}

static uint16_t free_port(struct sim *sim)
{
    while (find_listener(sim, "0.0.0.0", ++sim->next_port) != NULL || sim->next_port < 1024)
        ;
    return sim->next_port;
}

int sim_net_listen(struct io *io, const char *host, uint16_t port, int backlog,
                   struct io_sock **out, struct io_addr *bound)
{
    struct sim_loop *loop = sim_loop_of(io);
    struct io_addr addr = {.port = port};
    int rc = resolve(host, &addr);
    if (rc < 0)
        return rc;
    if (port == 0)
        addr.port = free_port(loop->sim);
    else if (find_listener(loop->sim, addr.host, port) != NULL)
        return -EADDRINUSE;
    struct sim_end *e = end_new(loop->sim);
    e->listening = true;
    e->backlog = backlog > 0 ? (unsigned) backlog : 1;
    e->local = addr;
    *out = &sock_new(loop, e)->sock;
    if (bound != NULL)
        *bound = addr;
    return 0;
}

static void hand_out(struct sim_end *listener)
{
    struct io_op *op = listener->sock != NULL ? listener->sock->sock.recv : NULL;
    if (op == NULL || op->state != IO_OP_WAITING || list_empty(&listener->queue))
        return;
    struct sim_end *e = LIST_ENTRY(list_pop_front(&listener->queue), struct sim_end, queue_link);
    listener->queued--;
    e->loop = listener->loop;
    io_complete(op->sock->io, op, e->fd);
}

static struct sim_end *make_pair(struct sim *sim, struct sim_end *listener)
{
    struct sim_end *near = end_new(sim);
    struct sim_end *far = end_new(sim);
    near->peer = far;
    far->peer = near;
    near->remote = listener->local;
    if (strcmp(near->remote.host, "0.0.0.0") == 0)
        memcpy(near->remote.host, "127.0.0.1", sizeof("127.0.0.1"));
    near->local = (struct io_addr){.host = "127.0.0.1", .port = free_port(sim)};
    far->local = near->remote;
    far->remote = near->local;
    far->loop = listener->loop;
    list_push_back(&listener->queue, &far->queue_link);
    listener->queued++;
    return near;
}

static void run_connect(struct sim *sim, struct sim_event *ev)
{
    struct sim_pending *p = CONTAINER_OF(ev, struct sim_pending, ev);
    struct io_addr addr;
    int rc = resolve(p->host, &addr);
    struct sim_end *listener = rc == 0 ? find_listener(sim, addr.host, p->port) : NULL;
    if (listener == NULL) {
        sim_pending_done(p, rc < 0 ? rc : -ECONNREFUSED);
        return;
    }
    if (listener->queued >= listener->backlog) {
        sim_event_start(sim, &p->ev, sim->now + 1000000 + sim_draw(sim, &sim->options.net),
                        run_connect);
        return;
    }
    struct sim_end *near = make_pair(sim, listener);
    near->loop = p->loop;
    sim_pending_done(p, near->fd);
    hand_out(listener);
}

void sim_net_connect(struct io *io, struct io_op *op, const char *host, uint16_t port)
{
    struct sim_loop *loop = sim_loop_of(io);
    struct sim *sim = loop->sim;
    struct sim_pending *p = sim_pending_new(loop, op);
    p->host = sim_strdup(host);
    p->port = port;
    sim_event_start(sim, &p->ev, sim->now + sim_draw(sim, &sim->options.net), run_connect);
}

void sim_net_discard(struct io *io, io_fd fd)
{
    close_end(end_of_fd(sim_loop_of(io)->sim, fd), false);
}

struct io_sock *sim_net_sock_open(struct io *io, io_fd fd)
{
    struct sim_loop *loop = sim_loop_of(io);
    return &sock_new(loop, end_of_fd(loop->sim, fd))->sock;
}

void sim_net_addr(const struct io_sock *sock, bool peer, struct io_addr *out)
{
    const struct sim_end *e = ((const struct sim_sock *) sock)->end;
    *out = peer ? e->remote : e->local;
}

void sim_net_shutdown(struct io *io, struct io_sock *sock)
{
    struct sim_end *e = sock_of(sock)->end;
    (void) io;
    if (e->peer == NULL || e->fin_sent || e->rx_reset)
        return;
    e->fin_sent = true;
    travel(e->peer, NULL, 0, true, false);
}

/* ---- submitting, cancelling, closing --------------------------------------------------------- */

static void run_close(struct sim *sim, struct sim_event *ev)
{
    struct sim_sock *s = CONTAINER_OF(ev, struct sim_sock, close_ev);
    (void) sim;
    io_complete(s->sock.io, s->sock.closing, 0);
}

/* Also one that is queued to be delivered with what has arrived: the bytes stay for the next
 * receive. */
static void cancel_op(struct io *io, struct io_op *op)
{
    if (op == NULL || op->state == IO_OP_READY)
        return;
    list_remove(&op->link);
    op->state = IO_OP_WAITING;
    io_complete(io, op, -ECANCELED);
}

void sim_net_cancel(struct sim_loop *loop, struct io_op *op)
{
    if (op->kind != IO_CLOSE)
        cancel_op(&loop->io, op);
}

static void submit_close(struct sim_loop *loop, struct sim_sock *s)
{
    struct sim *sim = loop->sim;
    struct sim_end *e = s->end;
    /* An accept that completed but was not delivered leaves its descriptor with the caller. */
    cancel_op(&loop->io, s->sock.recv);
    cancel_op(&loop->io, s->sock.send);
    sim_event_stop(sim, &s->pump_ev);
    sim_trace(sim, "net %d closes", e->fd);
    close_end(e, false);
    sim_event_start(sim, &s->close_ev, sim->now + prng_below(&sim->rng, 20000), run_close);
}

void sim_net_submit(struct sim_loop *loop, struct io_op *op)
{
    struct sim_sock *s = sock_of(op->sock);
    struct sim_end *e = s->end;
    switch (op->kind) {
    case IO_ACCEPT:
        hand_out(e);
        break;
    case IO_RECV:
        if (e->rx_at < e->rx_n || e->rx_fin || e->rx_reset)
            io_complete_lazy(&loop->io, op);
        break;
    case IO_SEND:
    case IO_SPLICE:
        s->sock.sent = 0;
        pump_soon(loop->sim, s);
        break;
    case IO_CLOSE:
        submit_close(loop, s);
        break;
    default:
        FATAL("kind %d is not a socket's", op->kind);
    }
}

static void sock_free(struct sim_sock *s)
{
    struct sim_end *e = s->end;
    sim_event_stop(e->sim, &s->pump_ev);
    sim_event_stop(e->sim, &s->close_ev);
    list_remove(&s->link);
    e->sock = NULL;
    free(s);
    pair_free_if_spent(e);
}

void sim_net_sock_free(struct io *io, struct io_sock *sock)
{
    (void) io;
    sock_free(sock_of(sock));
}

/* ---- the end --------------------------------------------------------------------------------- */

void sim_net_vanish(struct sim_loop *loop)
{
    struct sim *sim = loop->sim;
    LIST_FOREACH(it, &sim->all_ends)
    {
        struct sim_end *e = LIST_ENTRY(it, struct sim_end, link);
        if (e->loop == loop && !e->closed && e->peer != NULL && !e->peer->closed)
            travel(e->peer, NULL, 0, false, true);
        if (e->loop == loop)
            e->closed = true;
    }
    LIST_FOREACH_SAFE(it, tmp, &loop->socks)
    sock_free(LIST_ENTRY(it, struct sim_sock, link));
    /* Ends that no socket held, and pairs of which both sides went, stay until sim_net_free: they
     * are few. */
}

void sim_net_free(struct sim *sim)
{
    LIST_FOREACH_SAFE(it, tmp, &sim->all_ends)
    end_free(LIST_ENTRY(it, struct sim_end, link));
    free(sim->ends);
}
