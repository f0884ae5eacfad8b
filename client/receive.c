/*
 * receive.c - what comes in: bytes to operations, operations to what they are for.
 */
#include "client/client_int.h"
#include "lib/base/mem.h"

#include <stdio.h>
#include <string.h>

#define MAX_CONTROL_LINE 65536u
#define MAX_SUBS 65536u

static void take_msg(struct midge *m, const struct nats_op *op)
{
    struct midge_msg msg = {
        .subject = client_text(op->subject),
        .reply = client_text(op->reply),
        .header = client_text(nats_op_header(op)),
        .payload = client_text(nats_op_payload(op)),
    };
    struct midge_sub *s;
    uint64_t sid;

    if (!str_to_u64(op->sid, &sid) || sid % MAX_SUBS >= m->nsubs)
        return;
    s = m->subs[sid % MAX_SUBS].sub;
    if (s != NULL && s->sid == sid)
        s->on_msg(s->ctx, &msg);
}

static void act(struct midge *m, const struct nats_op *op)
{
    switch (op->verb) {
    case NATS_VERB_MSG:
    case NATS_VERB_HMSG:
        take_msg(m, op);
        if (op->collected) {
            mem_free(m->collecting);
            m->collecting = NULL;
        }
        break;
    case NATS_VERB_PING:
        buf_puts(&m->out, "PONG\r\n");
        break;
    case NATS_VERB_PONG:
        m->pongs_seen++;
        client_dial_pong(m);
        break;
    case NATS_VERB_INFO:
        if (client_info_read(&m->info, op->args))
            client_dial_info(m);
        else
            client_lost(m, "the server's INFO is not understood");
        break;
    case NATS_VERB_ERR:
        client_error(m, 0, "%.*s", STR_ARG(nats_err_text(op->args)));
        m->said = true;
        break;
    default:
        break;
    }
}

static bool broken(const struct midge *m)
{
    return m->state == CLIENT_CLOSING || m->state == CLIENT_ENDED;
}

/* An INFO that made TLS begin must have been all that was said in the clear. */
static bool overtaken(struct midge *m, struct str rest)
{
    if (m->transport.step == CLIENT_STEP_ON)
        return false;
    if (rest.n > 0)
        client_lost(m, "the server went on without TLS");
    return true;
}

void client_take(struct midge *m, struct str in)
{
    struct nats_op op;

    while (!broken(m)) {
        switch (nats_parse(&m->parser, &in, &op)) {
        case NATS_PARSE_OP:
            act(m, &op);
            if (overtaken(m, in))
                return;
            break;
        case NATS_PARSE_COLLECT:
            m->collecting = mem_try_alloc(op.body.n + 2);
            if (m->collecting == NULL) {
                client_lost(m, "out of memory for a message of %zu bytes", op.body.n);
                return;
            }
            nats_parse_collect(&m->parser, m->collecting);
            break;
        case NATS_PARSE_MORE:
            return;
        case NATS_PARSE_ERROR:
            client_lost(m, "the server sent something that is not NATS: %s",
                        nats_error_log((enum nats_error) m->parser.error));
            return;
        }
    }
}

static void received(struct io_op *op)
{
    struct midge *m = CONTAINER_OF(op, struct midge, recv);

    if (m->stopping || broken(m))
        return;
    if (op->res <= 0) {
        client_lost(m, "%s",
                    op->res == 0 ? "the server closed the connection" : strerror((int) -op->res));
        return;
    }
    client_transport_take(m, op->data, (size_t) op->res);
    if (!broken(m))
        io_recv(m->io, &m->recv, m->sock);
}

static void init_parser(struct midge *m)
{
    nats_parser_init(
        &m->parser, NATS_ROLE_CLIENT,
        (struct nats_limits){.max_control_line = MAX_CONTROL_LINE, .max_payload = NATS_NO_LIMIT});
    m->parser.headers = true;
}

void client_receive_init(struct midge *m)
{
    io_op_init(&m->recv, received);
    init_parser(m);
}

void client_receive_start(struct midge *m)
{
    io_recv(m->io, &m->recv, m->sock);
}

void client_receive_reset(struct midge *m)
{
    nats_parser_deinit(&m->parser);
    init_parser(m);
    mem_free(m->collecting);
    m->collecting = NULL;
}
