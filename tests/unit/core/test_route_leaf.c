/*
 * test_route_leaf.c - messages for other servers: once each, whatever matches there; queue groups
 * by name, of which our own members come first; what other servers hand over; taps.
 */
#include "lib/base/assert.h"
#include "lib/base/buf.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"

#include <stdio.h>
#include <string.h>

static struct router_mesh mesh;

/* A subscription of another server; all with the same conn are one server's. */
struct leaf_probe {
    struct sink sink;
    struct interest_sub *sub;
    struct buf *log; /* of the server */
    bool refuses;
};

static bool forward(struct sink *s, const struct msg *m, struct str key, const struct str *queues,
                    unsigned n)
{
    struct leaf_probe *p = CONTAINER_OF(s, struct leaf_probe, sink);

    if (p->refuses)
        return false;
    buf_printf(p->log, "%.*s", STR_ARG(key));
    if (!str_eq(key, m->subject))
        buf_printf(p->log, "(%.*s)", STR_ARG(m->subject));
    for (unsigned k = 0; k < n; k++)
        buf_printf(p->log, " %.*s", STR_ARG(queues[k]));
    buf_printf(p->log, ": %.*s\n", STR_ARG(m->payload));
    return true;
}

static const struct sink_ops ops = {.forward = forward, .kind = "leaf"};

static void leaf(struct leaf_probe *p, uint32_t worker, handle conn, const char *pattern,
                 const char *queue, struct buf *log)
{
    *p = (struct leaf_probe){.log = log};
    p->sink.ops = &ops;
    p->sink.leaf = true;
    p->sink.conn = conn;
    p->sink.queue = str_of(queue != NULL ? queue : "");
    router_sink_add(mesh.r[worker], &p->sink);
    p->sub = interest_add(mesh.account->interest,
                          &(struct interest_spec){.pattern = str_of(pattern),
                                                  .queue = p->sink.queue,
                                                  .worker = worker,
                                                  .sink = p->sink.self,
                                                  .leaf = (uint32_t) conn});
}

static void leaf_end(struct leaf_probe *p, uint32_t worker)
{
    interest_remove(mesh.account->interest, p->sub);
    router_sink_remove(mesh.r[worker], &p->sink);
}

static uint32_t publish(uint32_t worker, const char *subject, const char *payload)
{
    struct msg m = probe_msg(subject, NULL, payload);

    return route_publish(mesh.r[worker], mesh.account, &m).receivers;
}

static void expect(struct buf *log, const char *want)
{
    router_mesh_settle(&mesh);
    ck_assert_str_eq(buf_cstr(log), want);
    buf_clear(log);
}

/* i: the worker that publishes; the other servers are worker 0's. */
TEST(one_message_however_much_matches)
{
    struct leaf_probe a[4], b[2];
    struct buf at_a = {0}, at_b = {0};
    struct sink_probe here;

    router_mesh_open(&mesh, 2);
    leaf(&a[0], 0, 77, "x.*", NULL, &at_a);
    leaf(&a[1], 0, 77, "x.y", NULL, &at_a);
    leaf(&a[2], 0, 77, "x.>", "q", &at_a);
    leaf(&a[3], 0, 77, "x.y", "p", &at_a);
    leaf(&b[0], 0, 78, "x.y", "r", &at_b);
    leaf(&b[1], 0, 78, "other", NULL, &at_b);
    sink_probe_at(&here, &mesh, 0, "x.y", NULL);
    ck_assert_uint_ge(publish((uint32_t) i, "x.y", "1"), 1);
    router_mesh_settle(&mesh);
    /* Groups in any order. */
    ck_assert(strcmp(buf_cstr(&at_a), "x.y q p: 1\n") == 0 ||
              strcmp(buf_cstr(&at_a), "x.y p q: 1\n") == 0);
    buf_clear(&at_a);
    expect(&at_b, "x.y r: 1\n");
    ck_assert_str_eq(sink_probe_log(&here), "x.y 1\n");
    publish((uint32_t) i, "x.z", "2");
    expect(&at_a, "x.z q: 2\n");
    expect(&at_b, "");
    publish((uint32_t) i, "other", "3");
    expect(&at_b, "other: 3\n");
    for (unsigned k = 0; k < 4; k++)
        leaf_end(&a[k], 0);
    leaf_end(&b[0], 0);
    leaf_end(&b[1], 0);
    ck_assert_uint_eq(publish((uint32_t) i, "x.z", "4"), 0);
    sink_probe_free(&here);
    router_mesh_close(&mesh);
    buf_free(&at_a);
    buf_free(&at_b);
}

TEST(our_members_come_first)
{
    struct leaf_probe a;
    struct buf at_a = {0};
    struct sink_probe here;

    router_mesh_open(&mesh, 2);
    leaf(&a, 0, 77, "x", "q", &at_a);
    sink_probe_at(&here, &mesh, 1, "x", "q");
    for (int k = 0; k < 20; k++)
        publish((uint32_t) i, "x", "1");
    expect(&at_a, "");
    ck_assert_uint_eq(here.msgs, 20);
    sink_probe_close(&here);
    publish((uint32_t) i, "x", "2");
    expect(&at_a, "x q: 2\n");
    leaf_end(&a, 0);
    sink_probe_free(&here);
    router_mesh_close(&mesh);
    buf_free(&at_a);
}

/* Routed by another subject than the receiver sees. */
TEST(forwards_under_the_key)
{
    struct leaf_probe a, q;
    struct buf at_a = {0};
    struct msg m = probe_msg("orders.1", "$JS.ACK.S.C", "x");

    router_mesh_open(&mesh, 2);
    leaf(&a, 0, 77, "inbox.*", NULL, &at_a);
    leaf(&q, 0, 77, "deliver", "q", &at_a);
    route_deliver(mesh.r[i], mesh.account, STR("inbox.7"), &m);
    expect(&at_a, "inbox.7(orders.1): x\n");
    route_deliver(mesh.r[i], mesh.account, STR("deliver"), &m);
    expect(&at_a, "deliver(orders.1) q: x\n");
    leaf_end(&a, 0);
    leaf_end(&q, 0);
    router_mesh_close(&mesh);
    buf_free(&at_a);
}

static uint32_t hand_over(handle conn, const char *subject, const char *group, bool every)
{
    struct str name = str_of(group != NULL ? group : "");
    struct route_groups g = {.names = &name, .n = group != NULL, .every_group = every};
    struct msg m = probe_msg(subject, NULL, "m");

    m.flags = MSG_F_NO_ECHO;
    m.origin_conn = conn;
    return route_from_leaf(mesh.r[0], mesh.account, str_of(subject), &m, &g).receivers;
}

TEST(takes_what_other_servers_hand_over)
{
    struct leaf_probe a, b;
    struct buf at_a = {0}, at_b = {0};
    struct sink_probe plain, q, p;

    router_mesh_open(&mesh, 2);
    leaf(&a, 0, 77, "x", NULL, &at_a);
    leaf(&b, 0, 78, "x", NULL, &at_b);
    sink_probe_at(&plain, &mesh, 1, "x", NULL);
    sink_probe_at(&q, &mesh, 0, "x", "q");
    sink_probe_at(&p, &mesh, 1, "x", "p");
    /* Plain ones only, and never back. */
    ck_assert_uint_eq(hand_over(77, "x", NULL, false), 2);
    expect(&at_a, "");
    expect(&at_b, "x: m\n");
    ck_assert_uint_eq(plain.msgs, 1);
    ck_assert_uint_eq(q.msgs + p.msgs, 0);
    hand_over(77, "x", "q", false);
    hand_over(77, "x", "unknown", false);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(plain.msgs, 3);
    ck_assert_uint_eq(q.msgs, 1);
    ck_assert_uint_eq(p.msgs, 0);
    hand_over(77, "x", NULL, true);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(q.msgs, 2);
    ck_assert_uint_eq(p.msgs, 1);
    ck_assert_uint_eq(hand_over(77, "nobody", NULL, false), 0);
    leaf_end(&a, 0);
    leaf_end(&b, 0);
    sink_probe_free(&plain);
    sink_probe_free(&q);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
    buf_free(&at_a);
    buf_free(&at_b);
}

TEST(a_refusal_is_no_receiver)
{
    struct leaf_probe a;
    struct buf at_a = {0};

    router_mesh_open(&mesh, 1);
    leaf(&a, 0, 77, "x", NULL, &at_a);
    a.refuses = true;
    ck_assert_uint_eq(publish(0, "x", "1"), 0);
    leaf_end(&a, 0);
    router_mesh_close(&mesh);
    buf_free(&at_a);
}

/* ---- taps ------------------------------------------------------------------------------------ */

struct listening {
    struct interest_tap tap;
    struct buf log;
};

static void changed(struct interest_tap *tap, const struct interest_spec *spec, bool there)
{
    struct listening *l = CONTAINER_OF(tap, struct listening, tap);

    buf_printf(&l->log, "%c%.*s", there ? '+' : '-', STR_ARG(spec->pattern));
    if (spec->queue.n > 0)
        buf_printf(&l->log, " %.*s %u", STR_ARG(spec->queue), spec->weight);
    buf_printf(&l->log, spec->leaf != 0 ? " of %u\n" : "\n", spec->leaf);
}

TEST(taps_hear_everything)
{
    struct interest *in = interest_open(1);
    struct listening l = {.tap.changed = changed};
    struct interest_spec spec = {.pattern = STR("a.>"), .sink = 1};
    struct interest_sub *one = interest_add(in, &spec), *two;

    interest_tap(in, &l.tap);
    spec = (struct interest_spec){
        .pattern = STR("b"), .queue = STR("q"), .sink = 2, .weight = 3, .leaf = 9};
    two = interest_add(in, &spec);
    interest_remove(in, two);
    interest_remove(in, one);
    ck_assert_str_eq(buf_cstr(&l.log), "+a.>\n+b q 3 of 9\n-b q 3 of 9\n-a.>\n");
    interest_untap(in, &l.tap);
    spec = (struct interest_spec){.pattern = STR("c"), .sink = 3};
    interest_remove(in, interest_add(in, &spec));
    ck_assert_str_eq(buf_cstr(&l.log), "+a.>\n+b q 3 of 9\n-b q 3 of 9\n-a.>\n");
    ck_assert_uint_eq(interest_group_id(in, STR("q")), 0);
    buf_free(&l.log);
    interest_close(in);
}

static const struct runner_case cases[] = {
    RUN_LOOP(one_message_however_much_matches, 0, 2),
    RUN_LOOP(our_members_come_first, 0, 2),
    RUN_LOOP(forwards_under_the_key, 0, 2),
    RUN(takes_what_other_servers_hand_over),
    RUN(a_refusal_is_no_receiver),
    RUN(taps_hear_everything),
};

RUNNER_MAIN("core/route_leaf", cases)
