/*
 * server_kafka.c - see server_kafka.h. What goes over the connection are frames: a length of four
 * bytes, then a header and a body by the codec's tables. Answers come in the order of the requests.
 */
#include "tests/sim/server_kafka.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/wire/kafka_bytes.h"

#include <stdlib.h>
#include <string.h>

/* ---- output ---------------------------------------------------------------------------------- */

void kclient_call(struct kclient *c, struct kcall *k, int key, int version, const void *body)
{
    const struct kafka_api *api = kafka_api_of(key);
    bool flexible = kafka_is_flexible(api, version);
    struct buf b = {0};

    ASSERT(c->wire.state == CLIENT_UP);
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
    kafka_append_u32(&c->wire.out, (uint32_t) b.n);
    buf_put_str(&c->wire.out, buf_str(&b));
    sim_trace(c->world->sim, "kafka %u asks %s %d, %zu bytes %016llx", c->id, api->name,
              k->correlation, b.n, (unsigned long long) hash_bytes(b.p, b.n, 0));
    buf_free(&b);
    wire_push(&c->wire);
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

    while (c->wire.state == CLIENT_UP && c->in.n - at >= 4) {
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

static void take(struct wire *x, struct str in)
{
    struct kclient *c = CONTAINER_OF(x, struct kclient, wire);

    buf_put_str(&c->in, in);
    take_frames(c);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void up(struct wire *x)
{
    struct kclient *c = CONTAINER_OF(x, struct kclient, wire);

    c->ops->up(c);
}

static void down(struct wire *x)
{
    struct kclient *c = CONTAINER_OF(x, struct kclient, wire);

    for (struct list *l = list_pop_front(&c->calls); l != NULL; l = list_pop_front(&c->calls)) {
        struct kcall *k = LIST_ENTRY(l, struct kcall, link);
        k->done(k, c, NULL);
    }
    c->ops->down(c);
}

static void closed(struct wire *x)
{
    buf_clear(&CONTAINER_OF(x, struct kclient, wire)->in);
}

static const struct wire_ops wire_ops = {.name = "kafka",
                                         .port = WORLD_KAFKA_PORT,
                                         .up = up,
                                         .take = take,
                                         .down = down,
                                         .closed = closed};

void kclient_disconnect(struct kclient *c)
{
    wire_disconnect(&c->wire);
}

struct kclient *kclient_open(struct world *w, const struct kclient_ops *ops, void *data)
{
    struct kclient *c = calloc(1, sizeof(*c));

    c->world = w;
    c->ops = ops;
    c->data = data;
    list_init(&c->calls);
    wire_open(&c->wire, w, &wire_ops);
    c->id = c->wire.id;
    list_push_back(&w->kclients, &c->link);
    return c;
}

void kclient_close(struct kclient *c)
{
    wire_close(&c->wire);
    list_remove(&c->link);
    buf_free(&c->in);
    free(c);
}
