/*
 * server_wire.c - see server_wire.h.
 *
 *     OFF -- retry timer --> CONNECTING -- connected --> UP -- end, error, told so --> CLOSING
 *      ^                          |                                                       |
 *      +------- refused ----------+-------------------------- closed ---------------------+
 *
 * Output gathers in `out` and goes out with the next step, one send at a time.
 */
#include "tests/sim/server_wire.h"

#define RETRY_MAX_NS 20000000u

/* ---- bytes ----------------------------------------------------------------------------------- */

static void flush(struct wire *x)
{
    struct buf swap = x->sending;

    if (x->state != CLIENT_UP || x->out.n == 0 || io_op_busy(&x->send))
        return;
    x->sending = x->out;
    x->out = swap;
    buf_clear(&x->out);
    x->iov = (struct iovec){x->sending.p, x->sending.n};
    io_send(x->io, &x->send, x->sock, &x->iov, 1);
}

void wire_push(struct wire *x)
{
    sim_want(x->io);
}

bool wire_is_quiet(const struct wire *x)
{
    return x->out.n == 0 && !io_op_busy(&x->send);
}

static void begin_close(struct wire *x)
{
    if (x->state != CLIENT_UP)
        return;
    sim_trace(x->world->sim, "%s %u: connection %llu ends", x->ops->name, x->id,
              (unsigned long long) x->conn);
    x->state = CLIENT_CLOSING;
    io_sock_close(x->io, &x->close, x->sock);
    x->ops->down(x);
}

static void sent(struct io_op *op)
{
    struct wire *x = CONTAINER_OF(op, struct wire, send);

    if (op->res < 0)
        begin_close(x);
}

static void receive(struct wire *x)
{
    if (x->state == CLIENT_UP && !x->asleep && !io_op_busy(&x->recv))
        io_recv(x->io, &x->recv, x->sock);
}

static void received(struct io_op *op)
{
    struct wire *x = CONTAINER_OF(op, struct wire, recv);

    if (x->state != CLIENT_UP)
        return;
    if (op->res <= 0) {
        begin_close(x);
        return;
    }
    x->ops->take(x, str_from(op->data, (size_t) op->res));
    receive(x);
}

void wire_sleep(struct wire *x, bool asleep)
{
    x->asleep = asleep;
    receive(x);
    sim_want(x->io);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void retry_later(struct wire *x)
{
    if (x->stay_off)
        return;
    io_clock_update(x->io);
    io_timer_start(x->io, &x->retry,
                   io_now(x->io) + 1 + prng_below(sim_rng(x->world->sim), RETRY_MAX_NS));
}

static void connected(struct io_op *op)
{
    struct wire *x = CONTAINER_OF(op, struct wire, connect);

    if (op->res < 0) {
        x->state = CLIENT_OFF;
        retry_later(x);
        return;
    }
    x->sock = io_sock_open(x->io, (io_fd) op->res);
    x->state = CLIENT_UP;
    x->conn++;
    receive(x);
    x->ops->up(x);
}

static void try_connect(struct wheel_timer *t)
{
    struct wire *x = CONTAINER_OF(t, struct wire, retry);

    x->state = CLIENT_CONNECTING;
    io_connect(x->io, &x->connect, "127.0.0.1", x->ops->port);
}

static void closed(struct io_op *op)
{
    struct wire *x = CONTAINER_OF(op, struct wire, close);

    x->sock = NULL;
    x->state = CLIENT_OFF;
    x->ops->closed(x);
    buf_clear(&x->out);
    buf_clear(&x->sending);
    retry_later(x);
}

void wire_disconnect(struct wire *x)
{
    begin_close(x);
    sim_want(x->io);
}

void wire_open(struct wire *x, struct world *w, const struct wire_ops *ops)
{
    x->world = w;
    x->ops = ops;
    x->id = ++w->last_client;
    x->io = sim_io_open_remote(w->sim, NULL);
    io_op_init(&x->connect, connected);
    io_op_init(&x->recv, received);
    io_op_init(&x->send, sent);
    io_op_init(&x->close, closed);
    wheel_timer_init(&x->retry, try_connect);
    list_push_back(&w->wires, &x->link);
    retry_later(x);
}

void wire_close(struct wire *x)
{
    struct world *w = x->world;

    x->stay_off = true;
    for (unsigned steps = 0; x->state != CLIENT_OFF || wheel_pending(&x->retry); steps++) {
        io_timer_stop(x->io, &x->retry);
        wire_disconnect(x);
        if (x->state != CLIENT_OFF && (!world_step(w, 1000000000) || steps > 10000))
            world_fail(w, "%s %u can not close its connection", x->ops->name, x->id);
    }
    list_remove(&x->link);
    io_close(x->io);
    buf_free(&x->out);
    buf_free(&x->sending);
}

void wires_step(struct world *w, struct io *io)
{
    LIST_FOREACH(l, &w->wires)
    {
        struct wire *x = LIST_ENTRY(l, struct wire, link);
        if (x->io != io)
            continue;
        io_poll(io, 0);
        flush(x);
        return;
    }
    world_fail(w, "a loop without an owner");
}
