/*
 * test_server.c - small scenarios of a whole simulated server: what seeds of sim_server found and
 * no lower layer can show.
 */
#include "tests/lib/runner.h"
#include "tests/sim/server_client.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS 30000000000ull

struct stage {
    struct world w;
    struct swarm swarm;
    struct client *c;
    unsigned deliveries;
};

static struct stage *stage_of(const struct client *c)
{
    return CONTAINER_OF(c->world, struct stage, w);
}

static void nothing(struct client *c)
{
    (void) c;
}

static void count(struct client *c, const struct nats_op *op)
{
    stage_of(c)->deliveries += str_starts(op->reply, STR("$JS.ACK."));
}

static void no_pong(struct client *c, uint64_t n)
{
    (void) c;
    (void) n;
}

static const struct client_ops ops = {
    .up = nothing, .down = nothing, .message = count, .pong = no_pong};

static void pass(struct stage *s, uint64_t ns)
{
    uint64_t end = sim_now(s->w.sim) + ns;

    while (sim_now(s->w.sim) < end)
        world_step(&s->w, end - sim_now(s->w.sim));
}

static void connect_again(struct stage *s)
{
    while (s->c->state != CLIENT_UP || !s->c->greeted || s->c->pongs == 0)
        ck_assert(world_step(&s->w, PATIENCE_NS));
}

static void open_stage(struct stage *s, size_t cache_bytes)
{
    struct sim_options options;

    *s = (struct stage){
        .swarm = {.workers = 1,
                  .log_file_bytes = 1u << 20,
                  .segment_min = 1u << 20,
                  .segment_max = 1u << 20,
                  .disk_bytes = 64u << 20,
                  .cache_bytes = cache_bytes,
                  .net_max_ns = 2000,
                  .window_min = 64u << 10},
        .w = {.seed = 1},
    };
    json_set_alloc_funcs(mem_alloc, mem_free);
    s->w.swarm = &s->swarm;
    list_init(&s->w.clients);
    sim_options_init(&options);
    swarm_sim_options(&s->swarm, &options);
    s->w.sim = sim_open(1, &options);
    world_boot(&s->w);
    s->c = client_open(&s->w, &ops);
    connect_again(s);
}

static void close_stage(struct stage *s)
{
    client_close(s->c);
    world_stop(&s->w);
    sim_close(s->w.sim);
}

struct call {
    struct request req;
    json_t *answer;
};

static void answered(struct request *r, struct client *c, const struct nats_op *op)
{
    struct call *call = CONTAINER_OF(r, struct call, req);
    json_error_t e;

    (void) c;
    ck_assert_ptr_nonnull(op);
    call->answer = json_loadb(op->body.p, op->body.n, 0, &e);
    ck_assert_ptr_nonnull(call->answer);
}

static json_t *ask(struct stage *s, const char *subject, const char *header, const char *body)
{
    struct call call = {.req.done = answered};
    uint64_t end = sim_now(s->w.sim) + PATIENCE_NS;

    client_request(s->c, &call.req, str_of(subject), str_of(header), str_of(body));
    while (call.answer == NULL) {
        ck_assert(world_step(&s->w, PATIENCE_NS));
        ck_assert(sim_now(s->w.sim) < end);
    }
    return call.answer;
}

static json_int_t ask_number(struct stage *s, const char *subject, const char *body,
                             const char *object, const char *name)
{
    json_t *o = ask(s, subject, "", body);
    const json_t *at = object != NULL ? json_object_get(o, object) : o;
    json_int_t n = json_integer_value(json_object_get(at, name));

    json_decref(o);
    return n;
}

static void restart(struct stage *s)
{
    world_stop(&s->w);
    world_boot(&s->w);
    connect_again(s);
}

/* Once its file can not be allocated, once because the store knows already that there is no space:
 * both are refused, and neither is there after a restart. */
TEST(a_stream_refused_for_space_stays_away)
{
    struct stage s;
    struct sim_disk *d;

    open_stage(&s, 1u << 20);
    d = sim_disk(s.w.sim);
    sim_disk_set_capacity(d, s.swarm.disk_bytes - sim_disk_free_bytes(d));
    ck_assert_int_eq(
        ask_number(&s, "$JS.API.STREAM.CREATE.A", "{\"name\":\"A\"}", "error", "err_code"), 10047);
    ck_assert_int_eq(
        ask_number(&s, "$JS.API.STREAM.CREATE.B", "{\"name\":\"B\"}", "error", "err_code"), 10047);
    sim_disk_set_capacity(d, s.swarm.disk_bytes);
    pass(&s, 2500000000u);
    ck_assert_int_eq(
        ask_number(&s, "$JS.API.STREAM.CREATE.B", "{\"name\":\"B\"}", "error", "err_code"), 0);
    restart(&s);
    ck_assert_int_eq(ask_number(&s, "$JS.API.STREAM.NAMES", "", NULL, "total"), 1);
    close_stage(&s);
}

static void publish_many(struct stage *s, const char *subject, unsigned n, size_t len)
{
    char *payload = calloc(1, len);

    memset(payload, 'x', len);
    for (unsigned i = 0; i < n; i++)
        client_pub(s->c, str_of(subject), STR_NONE, STR_NONE, str_from(payload, len));
    free(payload);
}

/* A cache smaller than a commit: its batches have left it when consumers are told. */
TEST(a_filtered_consumer_hears_of_a_large_commit)
{
    struct stage s;

    open_stage(&s, 4u << 10);
    json_decref(ask(&s, "$JS.API.STREAM.CREATE.A", "", "{\"name\":\"A\",\"subjects\":[\"a.*\"]}"));
    client_sub(s.c, "D", 5);
    json_decref(ask(&s, "$JS.API.CONSUMER.DURABLE.CREATE.A.C", "",
                    "{\"stream_name\":\"A\",\"config\":{\"durable_name\":\"C\",\"deliver_subject\":"
                    "\"D\",\"ack_policy\":\"none\",\"filter_subject\":\"a.1\"}}"));
    publish_many(&s, "a.1", 200, 2000);
    pass(&s, 100000000);
    ck_assert_uint_eq(s.deliveries, 200);
    ck_assert_int_eq(ask_number(&s, "$JS.API.CONSUMER.INFO.A.C", "", NULL, "num_pending"), 0);
    close_stage(&s);
}

/* What a limit takes before the consumer comes there is not pending. */
TEST(removed_messages_are_not_pending)
{
    struct stage s;
    unsigned pending;

    open_stage(&s, 1u << 20);
    json_decref(ask(&s, "$JS.API.STREAM.CREATE.A", "",
                    "{\"name\":\"A\",\"subjects\":[\"a.*\"],\"max_msgs_per_subject\":3}"));
    client_sub(s.c, "D", 5);
    json_decref(ask(&s, "$JS.API.CONSUMER.DURABLE.CREATE.A.C", "",
                    "{\"stream_name\":\"A\",\"config\":{\"durable_name\":\"C\",\"deliver_subject\":"
                    "\"D\",\"ack_policy\":\"none\"}}"));
    for (unsigned k = 0; k < 20; k++) {
        publish_many(&s, "a.1", 1 + k, 100);
        pass(&s, 100000 * (k % 5));
    }
    pass(&s, 100000000);
    pending = (unsigned) ask_number(&s, "$JS.API.CONSUMER.INFO.A.C", "", NULL, "num_pending");
    ck_assert_uint_eq(pending, 0);
    close_stage(&s);
}

/* A message id is remembered over a restart. */
TEST(ids_survive_a_restart)
{
    static const char header[] = "NATS/1.0\r\nNats-Msg-Id: one\r\n\r\n";
    struct stage s;
    json_t *o;

    open_stage(&s, 1u << 20);
    json_decref(ask(&s, "$JS.API.STREAM.CREATE.A", "", "{\"name\":\"A\",\"subjects\":[\"a.*\"]}"));
    json_decref(ask(&s, "a.1", header, "x"));
    restart(&s);
    o = ask(&s, "a.1", header, "x");
    ck_assert(json_is_true(json_object_get(o, "duplicate")));
    ck_assert_int_eq(json_integer_value(json_object_get(o, "seq")), 1);
    json_decref(o);
    close_stage(&s);
}

static const struct runner_case cases[] = {
    RUN(a_stream_refused_for_space_stays_away),
    RUN(a_filtered_consumer_hears_of_a_large_commit),
    RUN(removed_messages_are_not_pending),
    RUN(ids_survive_a_restart),
};

RUNNER_MAIN("sim/server", cases)
