/*
 * server_kafka.c - see server_kafka.h. The life of a connection is that of server_client.c; what
 * goes over it are frames: a length of four bytes, then a header and a body by the codec's tables.
 * Answers come in the order of the requests.
 */
#include "tests/sim/server_kafka.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/wire/kafka_bytes.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_MAX_NS 20000000u

static void begin_close(struct kclient *c);

/* ---- output ---------------------------------------------------------------------------------- */

static void flush(struct kclient *c)
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
    struct kclient *c = CONTAINER_OF(op, struct kclient, send);

    if (op->res < 0)
        begin_close(c);
}

void kclient_call(struct kclient *c, struct kcall *k, int key, int version, const void *body)
{
    const struct kafka_api *api = kafka_api_of(key);
    bool flexible = kafka_is_flexible(api, version);
    struct buf b = {0};

    ASSERT(c->state == CLIENT_UP);
    k->key = key;
    k->version = version;
    k->correlation = ++c->correlation;
    k->at = sim_now(c->world->sim);
    list_push_back(&c->calls, &k->link);
    kafka_append_u16(&b, (uint16_t) key);
    kafka_append_u16(&b, (uint16_t) version);
    kafka_append_u32(&b, (uint32_t) k->correlation);
    buf_put(&b, "\0\3sim\0", flexible ? 6 : 5);
    kafka_encode(api->request(), version, flexible, body, &b, NULL);
    kafka_append_u32(&c->out, (uint32_t) b.n);
    buf_put_str(&c->out, buf_str(&b));
    sim_trace(c->world->sim, "kafka %u asks %s %d, %zu bytes %016llx", c->id, api->name,
              k->correlation, b.n, (unsigned long long) hash_bytes(b.p, b.n, 0));
    buf_free(&b);
    sim_want(c->io);
}

/* ---- input ----------------------------------------------------------------------------------- */

static void answered(struct kclient *c, struct str frame)
{
    struct list *l = list_pop_front(&c->calls);
    struct kafka_arena arena = {0};

    if (l == NULL || frame.n < 4)
        world_fail(c->world, "kafka client %u: an answer that nobody asked for", c->id);
    struct kcall *k = LIST_ENTRY(l, struct kcall, link);
    const struct kafka_api *api = kafka_api_of(k->key);
    bool flexible = kafka_is_flexible(api, k->version);
    size_t header = flexible && k->key != KAFKA_API_VERSIONS ? 5 : 4;
    sim_trace(c->world->sim, "kafka %u: %s %d, %zu bytes %016llx", c->id, api->name, k->correlation,
              frame.n, (unsigned long long) hash_bytes(frame.p, frame.n, 0));
    if (frame.n < header || (int32_t) kafka_get_u32(frame.p) != k->correlation)
        world_fail(c->world, "kafka client %u: the answer to %s is to another request", c->id,
                   api->name);
    struct str in = str_skip(frame, header);
    const void *answer = kafka_decode(api->response(), k->version, flexible, &in, &arena);
    if (answer == NULL || in.n > 0)
        world_fail(c->world, "kafka client %u: the answer to %s can not be read", c->id, api->name);
    k->done(k, c, answer);
    kafka_arena_free(&arena);
}

static void take_frames(struct kclient *c)
{
    size_t at = 0;

    while (c->state == CLIENT_UP && c->in.n - at >= 4) {
        size_t n = kafka_get_u32(c->in.p + at);
        if (n > 64u << 20)
            world_fail(c->world, "kafka client %u: a frame of %zu bytes", c->id, n);
        if (c->in.n - at - 4 < n)
            break;
        answered(c, str_from(c->in.p + at + 4, n));
        at += 4 + n;
    }
    if (at == 0)
        return;
    memmove(c->in.p, c->in.p + at, c->in.n - at);
    c->in.n -= at;
}

static void receive(struct kclient *c)
{
    if (c->state == CLIENT_UP && !io_op_busy(&c->recv))
        io_recv(c->io, &c->recv, c->sock);
}

static void received(struct io_op *op)
{
    struct kclient *c = CONTAINER_OF(op, struct kclient, recv);

    if (c->state != CLIENT_UP)
        return;
    if (op->res <= 0) {
        begin_close(c);
        return;
    }
    buf_put(&c->in, op->data, (size_t) op->res);
    take_frames(c);
    receive(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void retry_later(struct kclient *c)
{
    if (c->stay_off)
        return;
    io_clock_update(c->io);
    io_timer_start(c->io, &c->retry,
                   io_now(c->io) + 1 + prng_below(sim_rng(c->world->sim), RETRY_MAX_NS));
}

static void connected(struct io_op *op)
{
    struct kclient *c = CONTAINER_OF(op, struct kclient, connect);

    if (op->res < 0) {
        c->state = CLIENT_OFF;
        retry_later(c);
        return;
    }
    c->sock = io_sock_open(c->io, (io_fd) op->res);
    c->state = CLIENT_UP;
    c->conn++;
    receive(c);
    c->ops->up(c);
}

static void try_connect(struct wheel_timer *t)
{
    struct kclient *c = CONTAINER_OF(t, struct kclient, retry);

    c->state = CLIENT_CONNECTING;
    io_connect(c->io, &c->connect, "127.0.0.1", WORLD_KAFKA_PORT);
}

static void closed(struct io_op *op)
{
    struct kclient *c = CONTAINER_OF(op, struct kclient, close);

    c->sock = NULL;
    c->state = CLIENT_OFF;
    buf_clear(&c->in);
    buf_clear(&c->out);
    buf_clear(&c->sending);
    retry_later(c);
}

static void begin_close(struct kclient *c)
{
    if (c->state != CLIENT_UP)
        return;
    sim_trace(c->world->sim, "kafka %u: connection %llu ends", c->id, (unsigned long long) c->conn);
    c->state = CLIENT_CLOSING;
    io_sock_close(c->io, &c->close, c->sock);
    for (struct list *l = list_pop_front(&c->calls); l != NULL; l = list_pop_front(&c->calls)) {
        struct kcall *k = LIST_ENTRY(l, struct kcall, link);
        k->done(k, c, NULL);
    }
    c->ops->down(c);
}

void kclient_disconnect(struct kclient *c)
{
    begin_close(c);
    sim_want(c->io);
}

struct kclient *kclient_open(struct world *w, const struct kclient_ops *ops, void *data)
{
    struct kclient *c = calloc(1, sizeof(*c));

    c->world = w;
    c->ops = ops;
    c->data = data;
    c->id = ++w->last_client;
    c->io = sim_io_open_remote(w->sim, NULL);
    io_op_init(&c->connect, connected);
    io_op_init(&c->recv, received);
    io_op_init(&c->send, sent);
    io_op_init(&c->close, closed);
    wheel_timer_init(&c->retry, try_connect);
    list_init(&c->calls);
    list_push_back(&w->kclients, &c->link);
    retry_later(c);
    return c;
}

void kclient_close(struct kclient *c)
{
    struct world *w = c->world;

    c->stay_off = true;
    for (unsigned steps = 0; c->state != CLIENT_OFF || wheel_pending(&c->retry); steps++) {
        io_timer_stop(c->io, &c->retry);
        kclient_disconnect(c);
        if (c->state != CLIENT_OFF && (!world_step(w, 1000000000) || steps > 10000))
            world_fail(w, "kafka client %u can not close its connection", c->id);
    }
    list_remove(&c->link);
    io_close(c->io);
    buf_free(&c->in);
    buf_free(&c->out);
    buf_free(&c->sending);
    free(c);
}

bool kclient_step(struct world *w, struct io *io)
{
    LIST_FOREACH(l, &w->kclients)
    {
        struct kclient *c = LIST_ENTRY(l, struct kclient, link);
        if (c->io != io)
            continue;
        io_poll(io, 0);
        flush(c);
        return true;
    }
    return false;
}
