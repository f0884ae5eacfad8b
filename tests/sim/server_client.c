/*
 * server_client.c - see server_client.h.
 *
 *     OFF -- retry timer --> CONNECTING -- connected --> UP -- end, error, told so --> CLOSING
 *      ^                          |                                                       |
 *      +------- refused ----------+-------------------------- closed ---------------------+
 *
 * Output gathers in `out` and goes out with the next step, one send at a time.
 */
#include "tests/sim/server_client.h"

#include "lib/base/hash.h"
#include "lib/wire/nats_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MAX_NS 20000000u

static const char hello[] =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"sim\",\"version\":\"1\","
    "\"protocol\":1,\"headers\":true,\"no_responders\":true,\"echo\":true}\r\n";

static void begin_close(struct client *c);

/* ---- output ---------------------------------------------------------------------------------- */

static void put(struct client *c, const void *bytes, size_t n)
{
    buf_put(&c->out, bytes, n);
    sim_want(c->io);
}

static void flush(struct client *c)
{
    struct buf swap = c->sending;

    if (c->state != CLIENT_UP || c->out.n == 0 || io_op_busy(&c->send))
        return;
    c->sending = c->out;
    c->out = swap;
    buf_clear(&c->out);
    c->iov = (struct iovec){c->sending.p, c->sending.n};
    io_send(c->io, &c->send, c->sock, &c->iov, 1);
}

static void sent(struct io_op *op)
{
    struct client *c = CONTAINER_OF(op, struct client, send);

    if (op->res < 0)
        begin_close(c);
}

void client_sub(struct client *c, const char *subject, unsigned sid)
{
    buf_printf(&c->out, "SUB %s %u\r\n", subject, sid);
    sim_want(c->io);
}

void client_ping(struct client *c)
{
    put(c, "PING\r\n", 6);
    c->pings++;
}

void client_pub(struct client *c, struct str subject, struct str reply, struct str header,
                struct str payload)
{
    ASSERT(c->state == CLIENT_UP);
    buf_puts(&c->out, header.n > 0 ? "HPUB " : "PUB ");
    buf_put_str(&c->out, subject);
    if (reply.n > 0)
        buf_printf(&c->out, " %.*s", STR_ARG(reply));
    if (header.n > 0)
        buf_printf(&c->out, " %zu", header.n);
    buf_printf(&c->out, " %zu\r\n", header.n + payload.n);
    buf_put_str(&c->out, header);
    buf_put_str(&c->out, payload);
    put(c, "\r\n", 2);
}

struct str client_inbox(struct client *c, char out[64], uint64_t *number)
{
    *number = ++c->last_inbox;
    int n = snprintf(out, 64, "_I.%u.%llu.%llu", c->id, (unsigned long long) c->conn,
                     (unsigned long long) *number);
    return str_from(out, (size_t) n);
}

/* The number when the subject is an inbox of the current connection, else 0. */
static uint64_t inbox_number(const struct client *c, struct str subject)
{
    char prefix[64];
    uint64_t number;
    int n = snprintf(prefix, sizeof(prefix), "_I.%u.%llu.", c->id, (unsigned long long) c->conn);

    if (!str_starts(subject, str_from(prefix, (size_t) n)) ||
        !str_to_u64(str_skip(subject, (size_t) n), &number))
        return 0;
    return number;
}

void client_request(struct client *c, struct request *r, struct str subject, struct str header,
                    struct str payload)
{
    char inbox[64];

    r->at = sim_now(c->world->sim);
    list_push_back(&c->requests, &r->link);
    client_pub(c, subject, client_inbox(c, inbox, &r->number), header, payload);
}

/* True when it was the answer to a request. */
static bool answered(struct client *c, const struct nats_op *op)
{
    uint64_t number = inbox_number(c, op->subject);

    LIST_FOREACH(l, &c->requests)
    {
        struct request *r = LIST_ENTRY(l, struct request, link);
        if (r->number != number || number == 0)
            continue;
        list_remove(&r->link);
        r->done(r, c, op);
        return true;
    }
    return false;
}

/* ---- input ----------------------------------------------------------------------------------- */

static void greet(struct client *c)
{
    char inbox[64];

    if (c->greeted)
        return;
    c->greeted = true;
    put(c, hello, sizeof(hello) - 1);
    snprintf(inbox, sizeof(inbox), "_I.%u.%llu.*", c->id, (unsigned long long) c->conn);
    client_sub(c, inbox, 1);
    c->ops->up(c);
    client_ping(c);
}

static void trace_op(struct client *c, const struct nats_op *op)
{
    bool msg = op->verb == NATS_VERB_MSG || op->verb == NATS_VERB_HMSG;

    if (msg)
        sim_trace(c->world->sim, "client %u: %.*s %.*s %zu %016llx %.*s", c->id,
                  STR_ARG(op->subject), STR_ARG(op->reply), op->body.n,
                  (unsigned long long) hash_bytes(op->body.p, op->body.n, 0),
                  (int) (op->body.n < 960 ? op->body.n : 960), op->body.p);
    else
        sim_trace(c->world->sim, "client %u: %s %.*s", c->id,
                  nats_verb_name((enum nats_verb) op->verb),
                  op->verb == NATS_VERB_ERR ? (int) op->args.n : 0, op->args.p);
}

static void act(struct client *c, const struct nats_op *op)
{
    trace_op(c, op);
    switch (op->verb) {
    case NATS_VERB_INFO:
        greet(c);
        break;
    case NATS_VERB_PING:
        put(c, "PONG\r\n", 6);
        break;
    case NATS_VERB_PONG:
        if (++c->pongs > c->pings)
            world_fail(c->world, "client %u: a PONG that nobody asked for", c->id);
        c->ops->pong(c, c->pongs);
        break;
    case NATS_VERB_MSG:
    case NATS_VERB_HMSG:
        if (!answered(c, op))
            c->ops->message(c, op);
        break;
    default:
        break;
    }
    free(c->collecting);
    c->collecting = NULL;
}

static void parse(struct client *c, struct str in)
{
    struct nats_op op;

    while (c->state == CLIENT_UP) {
        switch (nats_parse(&c->parser, &in, &op)) {
        case NATS_PARSE_OP:
            act(c, &op);
            break;
        case NATS_PARSE_COLLECT:
            c->collecting = malloc(op.body.n + 2);
            nats_parse_collect(&c->parser, c->collecting);
            break;
        case NATS_PARSE_MORE:
            return;
        case NATS_PARSE_ERROR:
            world_fail(c->world, "client %u can not parse what the server sends: %s", c->id,
                       nats_error_log((enum nats_error) c->parser.error));
        }
    }
}

static void receive(struct client *c)
{
    if (c->state == CLIENT_UP && !c->asleep && !io_op_busy(&c->recv))
        io_recv(c->io, &c->recv, c->sock);
}

static void received(struct io_op *op)
{
    struct client *c = CONTAINER_OF(op, struct client, recv);

    if (c->state != CLIENT_UP)
        return;
    if (op->res <= 0) {
        begin_close(c);
        return;
    }
    parse(c, str_from(op->data, (size_t) op->res));
    receive(c);
}

void client_sleep(struct client *c, bool asleep)
{
    c->asleep = asleep;
    receive(c);
    sim_want(c->io);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void retry_later(struct client *c)
{
    if (c->stay_off)
        return;
    io_clock_update(c->io);
    io_timer_start(c->io, &c->retry,
                   io_now(c->io) + 1 + prng_below(sim_rng(c->world->sim), RETRY_MAX_NS));
}

static void connected(struct io_op *op)
{
    struct client *c = CONTAINER_OF(op, struct client, connect);

    if (op->res < 0) {
        c->state = CLIENT_OFF;
        retry_later(c);
        return;
    }
    c->sock = io_sock_open(c->io, (io_fd) op->res);
    c->state = CLIENT_UP;
    c->conn++;
    c->last_inbox = c->pings = c->pongs = 0;
    c->greeted = false;
    nats_parser_init(&c->parser, NATS_ROLE_CLIENT, (struct nats_limits){1u << 20, 64u << 20});
    c->parser.headers = true;
    receive(c);
}

static void try_connect(struct wheel_timer *t)
{
    struct client *c = CONTAINER_OF(t, struct client, retry);

    c->state = CLIENT_CONNECTING;
    io_connect(c->io, &c->connect, "127.0.0.1", WORLD_PORT);
}

static void closed(struct io_op *op)
{
    struct client *c = CONTAINER_OF(op, struct client, close);

    c->sock = NULL;
    c->state = CLIENT_OFF;
    nats_parser_deinit(&c->parser);
    free(c->collecting);
    c->collecting = NULL;
    buf_clear(&c->out);
    buf_clear(&c->sending);
    retry_later(c);
}

static void begin_close(struct client *c)
{
    if (c->state != CLIENT_UP)
        return;
    sim_trace(c->world->sim, "client %u: connection %llu ends", c->id,
              (unsigned long long) c->conn);
    c->state = CLIENT_CLOSING;
    io_sock_close(c->io, &c->close, c->sock);
    for (struct list *l = list_pop_front(&c->requests); l != NULL;
         l = list_pop_front(&c->requests)) {
        struct request *r = LIST_ENTRY(l, struct request, link);
        r->done(r, c, NULL);
    }
    c->ops->down(c);
}

void client_disconnect(struct client *c)
{
    begin_close(c);
    sim_want(c->io);
}

struct client *client_open(struct world *w, const struct client_ops *ops)
{
    struct client *c = calloc(1, sizeof(*c));

    c->world = w;
    c->ops = ops;
    c->id = ++w->last_client;
    c->io = sim_io_open_remote(w->sim, NULL);
    io_op_init(&c->connect, connected);
    io_op_init(&c->recv, received);
    io_op_init(&c->send, sent);
    io_op_init(&c->close, closed);
    wheel_timer_init(&c->retry, try_connect);
    list_init(&c->requests);
    list_push_back(&w->clients, &c->link);
    retry_later(c);
    return c;
}

void client_close(struct client *c)
{
    struct world *w = c->world;

    c->stay_off = true;
    for (unsigned steps = 0; c->state != CLIENT_OFF || wheel_pending(&c->retry); steps++) {
        io_timer_stop(c->io, &c->retry);
        client_disconnect(c);
        if (c->state != CLIENT_OFF && (!world_step(w, 1000000000) || steps > 10000))
            world_fail(w, "client %u can not close its connection", c->id);
    }
    list_remove(&c->link);
    io_close(c->io);
    buf_free(&c->out);
    buf_free(&c->sending);
    free(c);
}

void client_step(struct world *w, struct io *io)
{
    LIST_FOREACH(l, &w->clients)
    {
        struct client *c = LIST_ENTRY(l, struct client, link);
        if (c->io != io)
            continue;
        io_poll(io, 0);
        flush(c);
        return;
    }
    if (w->step_other == NULL || !w->step_other(w, io))
        world_fail(w, "a loop without an owner");
}
