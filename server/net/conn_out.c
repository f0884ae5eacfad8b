/*
 * conn_out.c - a connection's output: gathered during an iteration, sent once at its end.
 *
 * out gathers; at net_step it becomes `sending` and one vectored send carries it, up to SEND_BYTES
 * at a time, while new output gathers behind. pending counts both: above max_pending the consumer
 * is too slow and is closed; above three quarters of it, publishers are told to slow down
 * (router_note_stall).
 */
#include "lib/base/buf.h"
#include "lib/base/mem.h"
#include "lib/wire/nats_write.h"
#include "server/config/options.h"
#include "server/net/conn.h"

#include <string.h>

/* One send takes this much at most: more gains nothing (loopback: 0.14 ns a byte either way) and
 * delays other connections. */
#define SEND_BYTES (1u << 20)
#define SEND_VECTORS 64u

void conn_wrote(struct conn *c, uint64_t bytes)
{
    const struct options *o = c->net->env->options;
    char text[CONN_TEXT_MAX];

    c->pending += bytes;
    if (!list_linked(&c->dirty_link))
        list_push_back(&c->net->dirty, &c->dirty_link);
    if (LIKELY(c->pending <= o->max_pending / 4 * 3))
        return;
    router_note_stall(c->net->env->router);
    if (c->pending <= o->max_pending || c->state == CONN_CLOSING)
        return;
    LOG_INF(c->net->env->log, "%s - Slow Consumer Detected: MaxPending of %llu Exceeded",
            conn_text(c, text), (unsigned long long) o->max_pending);
    conn_close_slow(c);
}

void conn_close_slow(struct conn *c)
{
    c->net->stats.slow_consumers++;
    c->drop_output = true;
    conn_close(c, REASON_SLOW_PENDING);
}

void conn_put(struct conn *c, struct str bytes)
{
    if (c->state == CONN_CLOSING)
        return;
    if (UNLIKELY(log_on(c->net->env->log, LOG_TRACE)))
        conn_trace_out(c, bytes);
    if (outbuf_put(&c->out, c->net->env->chunks, bytes.p, bytes.n))
        conn_wrote(c, bytes.n);
    else
        conn_close(c, REASON_SLOW_PENDING);
}

void conn_put_err(struct conn *c, struct str text)
{
    struct buf b = {0};

    buf_puts(&b, "-ERR '");
    buf_put_str(&b, text);
    buf_puts(&b, "'\r\n");
    conn_put(c, buf_str(&b));
    buf_free(&b);
}

void conn_put_ok(struct conn *c)
{
    if (c->verbose)
        conn_put(c, NATS_OK);
}

void conn_drop_output(struct conn *c)
{
    outbuf_free(&c->out, c->net->env->chunks);
    outbuf_free(&c->framed, c->net->env->chunks);
    outbuf_free(&c->wire, c->net->env->chunks);
    outbuf_free(&c->sending, c->net->env->chunks);
    mem_free(c->iov);
    c->iov = NULL;
    c->pending = 0;
}

void conn_start_deadline(struct conn *c)
{
    struct io *io = c->net->env->io;

    io_timer_start(io, &c->deadline,
                   io_now(io) + (uint64_t) c->net->env->options->write_deadline_ns);
}

void conn_flush(struct conn *c)
{
    struct io *io = c->net->env->io;
    bool plain = LIKELY(c->tls_state == CONN_TLS_NONE);
    struct outbuf *from = plain ? conn_unencrypted(c) : &c->wire;
    unsigned n, i = 0;

    list_remove(&c->dirty_link);
    if (io_op_busy(&c->send) || c->sock_closed || c->drop_output)
        return;
    if (UNLIKELY(c->ws != NULL))
        conn_ws_flush(c);
    else if (UNLIKELY(c->pack != NULL))
        conn_pack_flush(c);
    if (!plain)
        conn_tls_flush(c);
    if (from->head == NULL || c->drop_output)
        return;
    n = outbuf_move(&c->sending, from, SEND_VECTORS, SEND_BYTES);
    c->iov = mem_array(n, sizeof(*c->iov));
    for (struct chunk *k = c->sending.head; k != NULL; k = k->next)
        c->iov[i++] = (struct iovec){k->data, k->len};
    io_send(io, &c->send, c->sock, c->iov, n);
    if (c->state != CONN_CLOSING)
        conn_start_deadline(c);
}

void conn_sent(struct io_op *op)
{
    struct conn *c = CONTAINER_OF(op, struct conn, send);

    if (c->state != CONN_CLOSING)
        io_timer_stop(c->net->env->io, &c->deadline);
    mem_free(c->iov);
    c->iov = NULL;
    if (op->res >= 0)
        c->pending -= c->sending.bytes;
    outbuf_free(&c->sending, c->net->env->chunks);
    if (op->res < 0) {
        c->drop_output = true;
        conn_close(c, REASON_WRITE_ERROR);
        conn_drop_output(c);
        return;
    }
    if (c->drop_output)
        conn_drop_output(c);
    else if ((c->out.head != NULL || c->framed.head != NULL || c->wire.head != NULL) &&
             !list_linked(&c->dirty_link))
        list_push_back(&c->net->dirty, &c->dirty_link);
}
