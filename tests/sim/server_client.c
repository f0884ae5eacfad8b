/* server_client.c - see server_client.h. */
#include "tests/sim/server_client.h"

#include "lib/base/hash.h"
#include "lib/wire/nats_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char hello[] =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"lang\":\"sim\",\"version\":\"1\","
    "\"protocol\":1,\"headers\":true,\"no_responders\":true,\"echo\":true}\r\n";

/* ---- output ---------------------------------------------------------------------------------- */

static void put(struct client *c, const void *bytes, size_t n)
{
    buf_put(&c->wire.out, bytes, n);
    wire_push(&c->wire);
}

void client_sub(struct client *c, const char *subject, unsigned sid)
{
    buf_printf(&c->wire.out, "SUB %s %u\r\n", subject, sid);
    wire_push(&c->wire);
}

void client_ping(struct client *c)
{
    put(c, "PING\r\n", 6);
    c->pings++;
}

void client_pub(struct client *c, struct str subject, struct str reply, struct str header,
                struct str payload)
{
    ASSERT(c->wire.state == CLIENT_UP);
    buf_puts(&c->wire.out, header.n > 0 ? "HPUB " : "PUB ");
    buf_put_str(&c->wire.out, subject);
    if (reply.n > 0)
        buf_printf(&c->wire.out, " %.*s", STR_ARG(reply));
    if (header.n > 0)
        buf_printf(&c->wire.out, " %zu", header.n);
    buf_printf(&c->wire.out, " %zu\r\n", header.n + payload.n);
    buf_put_str(&c->wire.out, header);
    buf_put_str(&c->wire.out, payload);
    put(c, "\r\n", 2);
}

struct str client_inbox(struct client *c, char out[64], uint64_t *number)
{
    *number = ++c->last_inbox;
    int n = snprintf(out, 64, "_I.%u.%llu.%llu", c->id, (unsigned long long) c->wire.conn,
                     (unsigned long long) *number);
    return str_from(out, (size_t) n);
}

uint64_t client_inbox_number(const struct client *c, struct str subject)
{
    char prefix[64];
    uint64_t number;
    int n = snprintf(prefix, sizeof(prefix), "_I.%u.%llu.", c->id,
                     (unsigned long long) c->wire.conn);

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
    uint64_t number = client_inbox_number(c, op->subject);

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
    snprintf(inbox, sizeof(inbox), "_I.%u.%llu.*", c->id, (unsigned long long) c->wire.conn);
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

    while (c->wire.state == CLIENT_UP) {
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

static void take(struct wire *x, struct str in)
{
    parse(CONTAINER_OF(x, struct client, wire), in);
}

void client_sleep(struct client *c, bool asleep)
{
    wire_sleep(&c->wire, asleep);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void up(struct wire *x)
{
    struct client *c = CONTAINER_OF(x, struct client, wire);

    c->last_inbox = c->pings = c->pongs = 0;
    c->greeted = false;
    nats_parser_init(&c->parser, NATS_ROLE_CLIENT, (struct nats_limits){1u << 20, 64u << 20});
    c->parser.headers = true;
}

static void down(struct wire *x)
{
    struct client *c = CONTAINER_OF(x, struct client, wire);

    for (struct list *l = list_pop_front(&c->requests); l != NULL;
         l = list_pop_front(&c->requests)) {
        struct request *r = LIST_ENTRY(l, struct request, link);
        r->done(r, c, NULL);
    }
    c->ops->down(c);
}

static void closed(struct wire *x)
{
    struct client *c = CONTAINER_OF(x, struct client, wire);

    nats_parser_deinit(&c->parser);
    free(c->collecting);
    c->collecting = NULL;
}

static const struct wire_ops wire_ops = {
    .name = "client", .port = WORLD_PORT, .up = up, .take = take, .down = down, .closed = closed};

void client_disconnect(struct client *c)
{
    wire_disconnect(&c->wire);
}

struct client *client_open(struct world *w, const struct client_ops *ops)
{
    struct client *c = calloc(1, sizeof(*c));

    c->world = w;
    c->ops = ops;
    list_init(&c->requests);
    wire_open(&c->wire, w, &wire_ops);
    c->id = c->wire.id;
    list_push_back(&w->clients, &c->link);
    return c;
}

void client_close(struct client *c)
{
    wire_close(&c->wire);
    list_remove(&c->link);
    free(c);
}
