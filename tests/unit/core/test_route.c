/* One router: who gets what, in which order, in how many calls; re-entry and removal. */
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"

#include <stdio.h>

static struct router_mesh mesh;

static uint32_t publish(const char *subject, const char *payload)
{
    struct msg m = probe_msg(subject, NULL, payload);
    return route_publish(mesh.r[0], mesh.account, &m).receivers;
}

static void at(struct sink_probe *p, const char *pattern, const char *queue)
{
    sink_probe_at(p, &mesh, 0, pattern, queue);
}

TEST(one_sink_gets_a_run)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "orders.>", NULL);
    ck_assert_uint_eq(publish("orders.new", "1"), 1);
    ck_assert_uint_eq(publish("orders.old", "2"), 1);
    ck_assert_uint_eq(publish("orders.eu.old", "3"), 1);
    ck_assert_uint_eq(publish("other", "4"), 0);
    ck_assert_uint_eq(publish("orders", "5"), 0);
    ck_assert_uint_eq(p.calls, 0);
    route_flush(mesh.r[0]);
    ck_assert_str_eq(sink_probe_log(&p), "orders.new 1\norders.old 2\norders.eu.old 3\n");
    ck_assert_uint_eq(p.calls, 1);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

TEST(runs_have_a_limit)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "x", NULL);
    for (unsigned k = 0; k < ROUTE_RUN * 2 + 5; k++)
        publish("x", "m");
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(p.msgs, ROUTE_RUN * 2 + 5);
    ck_assert_uint_eq(p.calls, 3);
    ck_assert_uint_eq(p.longest, ROUTE_RUN);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

static void note_order(struct sink_probe *p, const struct msg *m)
{
    struct buf *order = p->ctx;

    buf_put_str(order, m->payload);
    buf_putc(order, (char) ('A' + p->sink.conn_id));
    buf_putc(order, ' ');
}

/* Messages to a, to a and b, to b, to a: the gathered run never is overtaken. */
TEST(order_across_sinks)
{
    struct sink_probe a, b;
    struct buf order = {0};

    router_mesh_open(&mesh, 1);
    at(&a, "a.*", NULL);
    at(&b, "*.b", NULL);
    a.on_msg = b.on_msg = note_order;
    a.ctx = b.ctx = &order;
    b.sink.conn_id = 1;
    publish("a.a", "1");
    publish("a.c", "2");
    publish("a.b", "3");
    publish("c.b", "4");
    publish("a.d", "5");
    route_flush(mesh.r[0]);
    ck_assert_str_eq(sink_probe_log(&a), "a.a 1\na.c 2\na.b 3\na.d 5\n");
    ck_assert_str_eq(sink_probe_log(&b), "a.b 3\nc.b 4\n");
    /* One publisher's messages come in the order of publishing even across sinks of a worker. */
    ck_assert(strstr(buf_cstr(&order), "1A 2A 3") == buf_cstr(&order));
    ck_assert(strstr(buf_cstr(&order), "4B 5A ") != NULL);
    sink_probe_free(&a);
    sink_probe_free(&b);
    buf_free(&order);
    router_mesh_close(&mesh);
}

TEST(fan_out_counts_receivers)
{
    struct sink_probe p[5];

    router_mesh_open(&mesh, 1);
    at(&p[0], "f", NULL);
    at(&p[1], "*", NULL);
    at(&p[2], ">", NULL);
    at(&p[3], "f", "q");
    at(&p[4], "f.g", NULL);
    ck_assert_uint_eq(publish("f", "1"), 4);
    for (unsigned k = 0; k < 4; k++)
        ck_assert_uint_eq(p[k].msgs, 1);
    ck_assert_uint_eq(p[4].msgs, 0);
    for (unsigned k = 0; k < 5; k++)
        sink_probe_free(&p[k]);
    ck_assert_uint_eq(publish("f", "2"), 0);
    router_mesh_close(&mesh);
}

TEST(echo_is_suppressed)
{
    struct sink_probe mine, other, queue;
    struct sink_probe_options o = {.worker = 0, .pattern = "e", .conn = 77};
    struct msg m = probe_msg("e", NULL, "1");

    router_mesh_open(&mesh, 1);
    o.router = mesh.r[0];
    o.account = mesh.account;
    sink_probe_open(&mine, &o);
    m.flags = MSG_F_NO_ECHO;
    m.origin_conn = 77;
    ck_assert_uint_eq(route_publish(mesh.r[0], mesh.account, &m).receivers, 0);
    at(&other, "e", NULL);
    ck_assert_uint_eq(route_publish(mesh.r[0], mesh.account, &m).receivers, 1);
    m.origin_worker = 1; /* the same handle on another worker is another connection */
    ck_assert_uint_eq(route_publish(mesh.r[0], mesh.account, &m).receivers, 2);
    m.origin_worker = 0;
    sink_probe_close(&mine);
    sink_probe_close(&other);
    o.queue = "q";
    sink_probe_open(&queue, &o);
    ck_assert_uint_eq(route_publish(mesh.r[0], mesh.account, &m).receivers, 0);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(mine.msgs, 1);
    ck_assert_uint_eq(other.msgs, 2);
    ck_assert_uint_eq(queue.msgs, 0);
    sink_probe_free(&mine);
    sink_probe_free(&other);
    sink_probe_free(&queue);
    router_mesh_close(&mesh);
}

TEST(deliver_by_another_key)
{
    struct sink_probe inbox;
    struct msg m = probe_msg("orders.new", "$JS.ACK.S.C.1", "1");

    router_mesh_open(&mesh, 1);
    at(&inbox, "_INBOX.abc.*", NULL);
    for (unsigned k = 0; k < 3; k++)
        ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("_INBOX.abc.7"), &m).receivers,
                          1);
    ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("_INBOX.abd.7"), &m).receivers, 0);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(inbox.calls, 1);
    ck_assert_uint_eq(inbox.msgs, 3);
    ck_assert(strncmp(sink_probe_log(&inbox), "orders.new 1 > $JS.ACK.S.C.1\n", 29) == 0);
    sink_probe_free(&inbox);
    router_mesh_close(&mesh);
}

/* ---- sinks that go while messages come ------------------------------------------------------- */

TEST(limit_cuts_a_run)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "x", NULL);
    p.limit = 3;
    for (unsigned k = 0; k < 5; k++)
        ck_assert_uint_eq(publish("x", "m"), 1);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(p.msgs, 3);
    ck_assert_uint_eq(publish("x", "m"), 0);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* Published before the UNSUB: delivered. */
TEST(removal_delivers_what_was_gathered)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "x", NULL);
    publish("x", "1");
    sink_probe_close(&p);
    ck_assert_str_eq(sink_probe_log(&p), "x 1\n");
    ck_assert_uint_eq(publish("x", "2"), 0);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(p.msgs, 1);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

static void close_other(struct sink_probe *p, const struct msg *m)
{
    struct sink_probe **other = p->ctx;

    (void) m;
    if (*other == NULL)
        return;
    sink_probe_free(*other);
    mem_free(*other);
    *other = NULL;
}

/* The first of four closes and frees the third in the middle of the fan-out. */
TEST(sink_freed_during_fan_out)
{
    struct sink_probe p[3], *victim = mem_alloc(sizeof(*victim));

    router_mesh_open(&mesh, 1);
    at(&p[0], "x", NULL);
    at(&p[1], "x", NULL);
    at(victim, "x", NULL);
    at(&p[2], "x", NULL);
    p[0].on_msg = close_other;
    p[0].ctx = &victim;
    ck_assert_uint_eq(publish("x", "1"), 3);
    ck_assert_ptr_null(victim);
    ck_assert_uint_eq(publish("x", "2"), 3);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(p[2].msgs, 2);
    for (unsigned k = 0; k < 3; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* Closes itself and opens a sink in the same slot with another generation. */
static void replace_itself(struct sink_probe *p, const struct msg *m)
{
    struct sink_probe *next = p->ctx;

    (void) m;
    sink_probe_close(p);
    at(next, "x", NULL);
}

TEST(slot_is_reused_during_a_run)
{
    struct sink_probe a, b;

    router_mesh_open(&mesh, 1);
    at(&a, "x", NULL);
    a.on_msg = replace_itself;
    a.ctx = &b;
    publish("x", "1");
    publish("x", "2"); /* gathered for a, which is gone when its turn comes */
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(a.msgs, 1);
    ck_assert_uint_eq(b.msgs, 0);
    publish("x", "3");
    route_flush(mesh.r[0]);
    ck_assert_str_eq(sink_probe_log(&b), "x 3\n");
    sink_probe_free(&a);
    sink_probe_free(&b);
    router_mesh_close(&mesh);
}

/* ---- sinks that publish ---------------------------------------------------------------------- */

static void answer(struct sink_probe *p, const struct msg *m)
{
    struct msg reply = {.subject = m->reply, .payload = STR("pong"), .flags = MSG_F_SYSTEM};

    if (m->reply.n > 0)
        ck_assert_uint_eq(route_publish(p->router, p->account, &reply).receivers, 1);
}

/* Replies made during a run do not disturb the run. */
TEST(reply_within_a_run)
{
    struct sink_probe api, inbox;
    struct msg m = probe_msg("api", "inbox.1", "ping");

    router_mesh_open(&mesh, 1);
    at(&api, "api", NULL);
    at(&inbox, "inbox.*", NULL);
    api.on_msg = answer;
    for (unsigned k = 0; k < 10; k++)
        route_publish(mesh.r[0], mesh.account, &m);
    ck_assert_uint_eq(inbox.msgs, 0);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(api.calls, 1);
    ck_assert_uint_eq(api.msgs, 10);
    ck_assert_uint_eq(inbox.msgs, 10);
    ck_assert(strncmp(sink_probe_log(&inbox), "inbox.1 pong\ninbox.1 pong\n", 26) == 0);
    ck_assert(strncmp(sink_probe_log(&api), "api ping > inbox.1\napi ping > inbox.1\n", 38) == 0);
    sink_probe_free(&api);
    sink_probe_free(&inbox);
    router_mesh_close(&mesh);
}

static void republish(struct sink_probe *p, const struct msg *m)
{
    unsigned n = (unsigned) (m->payload.p[0] - '0');
    char text[2] = {(char) ('0' + n - 1), '\0'};
    struct msg next = probe_msg(p->ctx, NULL, text);

    if (n > 0)
        ck_assert_uint_eq(route_publish(p->router, p->account, &next).receivers, 1);
}

/* A sink that publishes to itself is not entered twice, and gets its messages in order. */
TEST(publishes_to_itself)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "self", NULL);
    p.on_msg = republish;
    p.ctx = (char[]){"self"};
    publish("self", "2");
    publish("self", "1");
    route_flush(mesh.r[0]);
    ck_assert(router_busy(mesh.r[0]));
    publish("self", "0 new"); /* behind what waits */
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p), "self 2\nself 1\nself 1\nself 0\nself 0\nself 0 new\n");
    ck_assert(!router_busy(mesh.r[0]));
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

static void forward(struct sink_probe *p, const struct msg *m)
{
    struct msg next = {.subject = str_of(p->ctx), .payload = m->payload};

    ck_assert_uint_eq(route_publish(p->router, p->account, &next).receivers, 1);
}

/* A chain of forwarders longer than the depth limit: everything arrives, the stack stays shallow.
 */
TEST(depth_has_a_limit)
{
    enum { LENGTH = 100 };
    static struct sink_probe p[LENGTH];
    static char names[LENGTH + 1][8];
    struct router_stats stats;

    router_mesh_open(&mesh, 1);
    for (unsigned k = 0; k <= LENGTH; k++)
        snprintf(names[k], sizeof(names[k]), "s%u", k);
    for (unsigned k = 0; k < LENGTH; k++) {
        at(&p[k], names[k], NULL);
        if (k + 1 < LENGTH) {
            p[k].on_msg = forward;
            p[k].ctx = names[k + 1];
        }
    }
    publish("s0", "x");
    router_mesh_settle(&mesh);
    for (unsigned k = 0; k < LENGTH; k++)
        ck_assert_uint_eq(p[k].msgs, 1);
    router_stats(mesh.r[0], &stats);
    ck_assert_uint_ge(stats.deferred, LENGTH / 17);
    for (unsigned k = 0; k < LENGTH; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* A message that waits for a sink which then goes: dropped, nothing touched. */
TEST(deferred_for_a_sink_that_goes)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 1);
    at(&p, "self", NULL);
    p.on_msg = republish;
    p.ctx = (char[]){"self"};
    p.limit = 1;
    publish("self", "3");
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(p.msgs, 1);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

static void stall(struct sink_probe *p, const struct msg *m)
{
    (void) m;
    router_note_stall(p->router);
}

TEST(stall_is_reported_once)
{
    struct sink_probe p, q;
    struct msg m = probe_msg("x", NULL, "1");

    router_mesh_open(&mesh, 1);
    at(&p, "x", NULL);
    p.on_msg = stall;
    ck_assert(!route_publish(mesh.r[0], mesh.account, &m).stall);
    ck_assert(route_flush(mesh.r[0]));
    ck_assert(!route_flush(mesh.r[0]));
    at(&q, "x", NULL);
    ck_assert(route_publish(mesh.r[0], mesh.account, &m).stall);
    ck_assert(!route_flush(mesh.r[0]));
    sink_probe_free(&p);
    sink_probe_free(&q);
    router_mesh_close(&mesh);
}

/* ---- direct subjects ------------------------------------------------------------------------- */

struct direct {
    struct route_target target;
    unsigned asked;
};

static bool resolve(void *ctx, struct account *a, struct str subject, struct route_target *out)
{
    struct direct *d = ctx;

    (void) a;
    d->asked++;
    if (!str_starts(subject, STR("$JS.ACK.S.C.")))
        return false;
    *out = d->target;
    return true;
}

TEST(resolver_names_the_sink)
{
    struct sink_probe consumer, spy, api;
    struct direct d = {0};

    router_mesh_open(&mesh, 1);
    at(&consumer, "unused", NULL);
    at(&api, "$JS.API.>", NULL);
    d.target = (struct route_target){.sink = consumer.sink.self, .prefix = 12};
    router_set_resolver(mesh.r[0], resolve, &d);
    ck_assert_uint_eq(publish("$JS.ACK.S.C.1.2.3.4.5", "+ACK"), 1);
    ck_assert_uint_eq(publish("$JS.ACK.S.C.2.3.4.5.6", "+ACK"), 1);
    ck_assert_uint_eq(publish("$JS.API.INFO", ""), 1);
    ck_assert_uint_eq(publish("$JS.ACK.S.D.1", "+ACK"), 0);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(consumer.msgs, 2);
    ck_assert_uint_eq(consumer.calls, 1);
    ck_assert_uint_eq(api.msgs, 1);
    ck_assert_uint_eq(d.asked, 4);
    at(&spy, "$JS.ACK.*.*.*.2.>", NULL);
    ck_assert_uint_eq(publish("$JS.ACK.S.C.1.2.3.4.5", "+ACK"), 2);
    ck_assert_uint_eq(publish("$JS.ACK.S.C.1.3.3.4.5", "+ACK"), 1);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(consumer.msgs, 4);
    ck_assert_uint_eq(spy.msgs, 1);
    sink_probe_free(&consumer);
    sink_probe_free(&spy);
    sink_probe_free(&api);
    router_mesh_close(&mesh);
}

static const struct runner_case cases[] = {
    RUN(one_sink_gets_a_run),       RUN(runs_have_a_limit),
    RUN(order_across_sinks),        RUN(fan_out_counts_receivers),
    RUN(echo_is_suppressed),        RUN(deliver_by_another_key),
    RUN(limit_cuts_a_run),          RUN(removal_delivers_what_was_gathered),
    RUN(sink_freed_during_fan_out), RUN(slot_is_reused_during_a_run),
    RUN(reply_within_a_run),        RUN(publishes_to_itself),
    RUN(depth_has_a_limit),         RUN(deferred_for_a_sink_that_goes),
    RUN(stall_is_reported_once),    RUN(resolver_names_the_sink),
};

RUNNER_MAIN("core/route", cases)
