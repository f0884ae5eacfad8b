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
    while (s->c->wire.state != CLIENT_UP || !s->c->greeted || s->c->pongs == 0)
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
    list_init(&s->w.kclients);
    list_init(&s->w.wires);
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

/* ---- clocks that are set --------------------------------------------------------------------- */

#define HOUR 3600000000000ll
#define YEAR (365 * 24 * HOUR)

static const struct {
    int64_t by;
    const char *name;
} jumps[] = {
    {YEAR, "a year on"}, {HOUR, "an hour on"}, {-HOUR, "an hour back"}, {-YEAR, "a year back"}};

/* Old messages by max_age (O), by a time to live (T); ids in a window (O); a consumer with one
 * message that is not acknowledged (P), which may come again after its wait and not before. */
static void open_clocks(struct stage *s)
{
    static const char id[] = "NATS/1.0\r\nNats-Msg-Id: one\r\n\r\n";
    static const char ttl[] = "NATS/1.0\r\nNats-TTL: 30m\r\n\r\n";

    open_stage(s, 1u << 20);
    json_decref(ask(s, "$JS.API.STREAM.CREATE.O", "",
                    "{\"name\":\"O\",\"subjects\":[\"o.*\"],\"max_age\":1800000000000,"
                    "\"duplicate_window\":1200000000000}"));
    json_decref(ask(s, "$JS.API.STREAM.CREATE.T", "",
                    "{\"name\":\"T\",\"subjects\":[\"t.*\"],\"allow_msg_ttl\":true,"
                    "\"max_age\":2700000000000}"));
    json_decref(ask(s, "$JS.API.STREAM.CREATE.P", "", "{\"name\":\"P\",\"subjects\":[\"p.*\"]}"));
    json_decref(ask(s, "o.1", id, "x"));
    json_decref(ask(s, "t.1", ttl, "x"));
    json_decref(ask(s, "t.2", "", "x"));
    json_decref(ask(s, "p.1", "", "x"));
    json_decref(ask(s, "$JS.API.CONSUMER.DURABLE.CREATE.P.C", "",
                    "{\"stream_name\":\"P\",\"config\":{\"durable_name\":\"C\",\"ack_policy\":"
                    "\"explicit\",\"ack_wait\":300000000000,\"deliver_subject\":\"in.p\"}}"));
    pass(s, 1000000000);
}

static unsigned messages(struct stage *s, const char *stream)
{
    char subject[64];

    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
    return (unsigned) ask_number(s, subject, "", "state", "messages");
}

/* The times of P's messages do not go back. */
static void check_order(struct stage *s)
{
    json_t *o = ask(s, "$JS.API.STREAM.INFO.P", "", "");
    const json_t *state = json_object_get(o, "state");
    const char *first = json_string_value(json_object_get(state, "first_ts"));
    const char *last = json_string_value(json_object_get(state, "last_ts"));

    ck_assert_msg(strcmp(first, last) <= 0, "%s, then %s", first, last);
    json_decref(o);
}

TEST(a_clock_that_is_set_for_a_moment)
{
    static const char id[] = "NATS/1.0\r\nNats-Msg-Id: one\r\n\r\n";
    struct stage s;
    json_t *o;

    open_clocks(&s);
    ck_assert_uint_eq(
        (unsigned) ask_number(&s, "$JS.API.CONSUMER.INFO.P.C", "", NULL, "num_pending"), 1);
    client_sub(s.c, "in.p", 7);
    pass(&s, 1000000000);
    ck_assert_uint_eq(s.deliveries, 1);
    for (int again = 0; again < 3; again++) {
        sim_jump_wall(s.w.sim, jumps[i].by);
        for (int k = 0; k < 5; k++) {
            pass(&s, 10000000000u);
            json_decref(ask(&s, "p.2", "", "x"));
            json_decref(ask(&s, "o.2", "", "x"));
            json_decref(ask(&s, "t.3", "", "x"));
            check_order(&s);
        }
        sim_jump_wall(s.w.sim, -jumps[i].by);
        pass(&s, 10000000000u);
    }
    ck_assert_uint_eq(messages(&s, "O"), 16);
    ck_assert_uint_eq(messages(&s, "T"), 17);
    ck_assert_uint_eq(s.deliveries, 16);
    o = ask(&s, "o.1", id, "x");
    ck_assert_msg(json_is_true(json_object_get(o, "duplicate")), "%s", jumps[i].name);
    json_decref(o);
    /* And time goes on: everything goes when it is due, and not all at once. */
    pass(&s, 31ull * 60 * 1000000000);
    ck_assert_uint_eq(messages(&s, "O"), 0);
    ck_assert_uint_eq(messages(&s, "T"), 16);
    pass(&s, 20ull * 60 * 1000000000);
    ck_assert_uint_eq(messages(&s, "T"), 0);
    close_stage(&s);
}

/* After a minute it is the time. Forth: what is too old then goes. Back: nothing goes before its
 * age by the new time, and the stream's time stands until it is reached. */
TEST(a_clock_that_stays_set)
{
    struct stage s;
    bool on = jumps[i].by > 0;

    open_clocks(&s);
    sim_jump_wall(s.w.sim, jumps[i].by);
    pass(&s, 50000000000u);
    ck_assert_uint_eq(messages(&s, "O"), 1);
    ck_assert_uint_eq(messages(&s, "T"), 2);
    pass(&s, 360000000000u);
    ck_assert_uint_eq(messages(&s, "O"), on ? 0 : 1);
    ck_assert_uint_eq(messages(&s, "T"), on ? 0 : 2);
    json_decref(ask(&s, "p.2", "", "x"));
    json_decref(ask(&s, "o.2", "", "x"));
    check_order(&s);
    restart(&s);
    json_decref(ask(&s, "p.3", "", "x"));
    check_order(&s);
    ck_assert_uint_eq(messages(&s, "P"), 3);
    ck_assert_uint_eq(messages(&s, "O"), on ? 1 : 2);
    close_stage(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_clock_that_is_set_for_a_moment, 0, 4),
    RUN_LOOP(a_clock_that_stays_set, 0, 4),
    RUN(a_stream_refused_for_space_stays_away),
    RUN(a_filtered_consumer_hears_of_a_large_commit),
    RUN(removed_messages_are_not_pending),
    RUN(ids_survive_a_restart),
};

RUNNER_MAIN("sim/server", cases)
