/*
 * dial.c - how a connection comes to be, breaks, and is made again.
 *
 *     DIALING --INFO, PONG--> UP       with TLS and WebSocket where transport.c says
 *        |                     |
 *        v                     v
 *     CLOSING <--- lost -------+      what waits is dropped, asks and publishes hear of it
 *        |
 *        v  socket closed
 *     WAITING --timer--> DIALING      while the options allow another try
 *        |
 *        v
 *      ENDED
 *
 * A failed try leads to CLOSING like a broken connection does. The first try of midge_connect is
 * the only one that is not repeated. One timer limits DIALING and ends WAITING.
 *
 * Order on a new connection: CONNECT and PING; with the PONG the subscriptions are sent again, and
 * after that whatever the hooks ask for.
 */
#include "client/client_int.h"
#include "lib/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void tell(struct midge *m, enum midge_event event)
{
    if (m->o.on_event != NULL && m->was_up)
        m->o.on_event(m->o.event_ctx, event);
}

/* ---- an end ---------------------------------------------------------------------------------- */

static bool once_more(const struct midge *m)
{
    return m->was_up && !m->stopping &&
           (m->o.max_reconnects < 0 || m->tries < (unsigned) m->o.max_reconnects);
}

static void after_close(struct midge *m)
{
    if (!once_more(m)) {
        m->state = CLIENT_ENDED;
        if (!m->stopping)
            tell(m, MIDGE_EVENT_END);
        return;
    }
    m->tries++;
    m->state = CLIENT_WAITING;
    io_timer_start(m->io, &m->dial_timer,
                   io_now(m->io) + (uint64_t) m->o.reconnect_wait_ms * CLIENT_MS);
}

static void sock_closed(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, close);

    m->sock = NULL;
    after_close(m);
}

static void tell_hooks_lost(struct midge *m)
{
    LIST_FOREACH_SAFE(it, next, &m->hooks)
    {
        struct client_hook *h = LIST_ENTRY(it, struct client_hook, link);
        if (h->lost != NULL)
            h->lost(h);
    }
}

static void end_asks(struct midge *m)
{
    struct list ended;

    list_init(&ended);
    list_splice(&ended, &m->asks);
    while (!list_empty(&ended)) {
        struct client_ask *a = LIST_ENTRY(list_first(&ended), struct client_ask, link);
        client_ask_end(a);
        a->done(a, MIDGE_LOST, NULL);
    }
}

void client_lost(struct midge *m, const char *format, ...)
{
    bool was_up = client_up(m);
    va_list args;

    if (m->state != CLIENT_UP && m->state != CLIENT_DIALING)
        return;
    /* What the server said before it hung up is the better reason. */
    if (!m->said) {
        va_start(args, format);
        vsnprintf(m->error, sizeof(m->error), format, args);
        va_end(args);
    }
    m->state = CLIENT_CLOSING;
    io_timer_stop(m->io, &m->dial_timer);
    io_timer_stop(m->io, &m->ping_timer);
    buf_clear(&m->out);
    if (was_up) {
        end_asks(m);
        tell_hooks_lost(m);
        if (once_more(m))
            tell(m, MIDGE_EVENT_LOST);
    }
    if (m->sock != NULL)
        io_sock_close(m->io, &m->close, m->sock);
    else if (!io_op_busy(&m->connect))
        after_close(m);
    else
        io_cancel(m->io, &m->connect);
}

/* ---- a try ----------------------------------------------------------------------------------- */

static void connected(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, connect);

    if (m->stopping || m->state != CLIENT_DIALING) {
        if (op->res >= 0)
            io_fd_discard(m->io, (io_fd) op->res);
        if (m->state == CLIENT_CLOSING)
            after_close(m);
        return;
    }
    if (op->res < 0) {
        client_lost(m, "%s", strerror((int) -op->res));
        return;
    }
    m->sock = io_sock_open(m->io, (io_fd) op->res);
    client_receive_start(m);
    client_transport_begin(m);
}

static void try_now(struct midge *m)
{
    m->state = CLIENT_DIALING;
    m->generation++;
    m->got_info = m->said = false;
    m->pings_sent = m->pongs_seen = m->ping_mark = 0;
    m->pings_missed = 0;
    client_receive_reset(m);
    client_transport_reset(m);
    io_timer_start(m->io, &m->dial_timer,
                   io_now(m->io) + (uint64_t) m->o.connect_timeout_ms * CLIENT_MS);
    io_connect(m->io, &m->connect, m->o.host, m->o.port);
}

static void dial_due(struct wheel_timer *t)
{
    struct midge *m = CONTAINER_OF(t, struct midge, dial_timer);

    if (m->state == CLIENT_WAITING)
        try_now(m);
    else
        client_lost(m, "connecting took too long");
}

void client_dial_info(struct midge *m)
{
    if (m->state != CLIENT_DIALING || m->got_info)
        return;
    m->got_info = true;
    if (client_transport_secure(m) || m->o.websocket || (!m->o.tls && !m->info.tls_required))
        client_dial_secured(m);
    else if (m->info.tls_required || m->info.tls_available)
        client_transport_secure_now(m);
    else
        client_lost(m, "the server has no TLS");
}

void client_dial_secured(struct midge *m)
{
    if (!client_put_connect(m)) {
        m->said = true;
        client_lost(m, "no credentials");
        return;
    }
    buf_puts(&m->out, "PING\r\n");
    m->pings_sent++;
}

static void restart_pings(struct midge *m)
{
    if (m->o.ping_interval_ms > 0)
        io_timer_start(m->io, &m->ping_timer,
                       io_now(m->io) + (uint64_t) m->o.ping_interval_ms * CLIENT_MS);
}

void client_dial_pong(struct midge *m)
{
    bool again = m->was_up;

    if (m->state != CLIENT_DIALING)
        return;
    io_timer_stop(m->io, &m->dial_timer);
    m->state = CLIENT_UP;
    m->was_up = true;
    m->tries = 0;
    restart_pings(m);
    if (!again)
        return;
    client_resubscribe(m);
    LIST_FOREACH_SAFE(it, next, &m->hooks)
    {
        struct client_hook *h = LIST_ENTRY(it, struct client_hook, link);
        if (h->back != NULL)
            h->back(h);
    }
    tell(m, MIDGE_EVENT_BACK);
}

static void ping_due(struct wheel_timer *t)
{
    struct midge *m = CONTAINER_OF(t, struct midge, ping_timer);

    m->pings_missed = m->pongs_seen < m->ping_mark ? m->pings_missed + 1 : 0;
    if (m->pings_missed >= 2) {
        client_lost(m, "the server does not answer PING");
        return;
    }
    buf_puts(&m->out, "PING\r\n");
    m->ping_mark = ++m->pings_sent;
    restart_pings(m);
}

void client_dial(struct midge *m)
{
    io_op_init(&m->connect, connected);
    io_op_init(&m->close, sock_closed);
    wheel_timer_init(&m->dial_timer, dial_due);
    wheel_timer_init(&m->ping_timer, ping_due);
    try_now(m);
}

void client_dial_stop(struct midge *m)
{
    io_timer_stop(m->io, &m->dial_timer);
    io_timer_stop(m->io, &m->ping_timer);
    if (io_op_busy(&m->connect))
        io_cancel(m->io, &m->connect);
    if (m->sock != NULL && m->state != CLIENT_CLOSING)
        io_sock_close(m->io, &m->close, m->sock);
    while (io_op_busy(&m->connect) || m->sock != NULL || io_op_busy(&m->recv) ||
           io_op_busy(&m->send))
        io_poll(m->io, 10 * CLIENT_MS);
    m->state = CLIENT_ENDED;
    io_timer_stop(m->io, &m->dial_timer);
}
