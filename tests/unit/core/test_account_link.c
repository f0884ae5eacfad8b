/* Links between accounts and mappings: who gets what under which subject, and the ways back. */
#include "lib/base/mem.h"
#include "server/core/account_wiring.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"

#include <stdio.h>

static struct router_mesh mesh;
static struct account *other;

static void open_mesh(unsigned workers)
{
    router_mesh_open(&mesh, workers);
    other = account_open("B", 1, 77);
}

static void close_mesh(void)
{
    router_mesh_close(&mesh);
    account_close(other);
}

static void link(struct account *in, struct account *to, const char *pattern, const char *dest,
                 bool service, bool many)
{
    struct account_wiring *w = mem_zalloc(sizeof(*w));

    *account_wiring_link(w) = (struct account_link){
        .to = to,
        .pattern = mem_strdup(pattern),
        .transform =
            dest != NULL ? transform_new(str_of(pattern), str_of(dest), TRANSFORM_ANY, NULL) : NULL,
        .service = service,
        .many = many,
        .patience_ns = 1000000000,
    };
    ck_assert_ptr_null(account_wire(in, w));
}

static void at(struct sink_probe *p, unsigned worker, struct account *a, const char *pattern,
               const char *queue)
{
    sink_probe_open(p, &(struct sink_probe_options){
                           .router = mesh.r[worker],
                           .account = a,
                           .worker = worker,
                           .pattern = pattern,
                           .queue = queue,
                       });
}

static uint32_t publish(struct account *a, const char *subject, const char *reply)
{
    struct msg m = probe_msg(subject, reply, "x");
    uint32_t n = route_publish(mesh.r[0], a, &m).receivers;

    router_mesh_settle(&mesh);
    return n;
}

TEST(a_stream_crosses)
{
    struct sink_probe own, theirs, group;

    open_mesh((unsigned) i);
    at(&theirs, (unsigned) i - 1, other, "a.>", NULL);
    at(&own, 0, mesh.account, "out.one", NULL);
    ck_assert_uint_eq(publish(mesh.account, "out.one", NULL), 1);
    link(mesh.account, other, "out.*", "a.$1.b", false, false);
    at(&group, 0, other, "a.*.b", "q");
    ck_assert_uint_eq(publish(mesh.account, "out.one", "r"), 1 + (i == 1 ? 2 : 2));
    ck_assert_uint_eq(publish(mesh.account, "out.two", NULL), 2);
    ck_assert_uint_eq(publish(mesh.account, "out", NULL), 0);
    ck_assert_uint_eq(publish(other, "out.one", NULL), 0);
    ck_assert_str_eq(sink_probe_log(&own), "out.one x\nout.one x > r\n");
    ck_assert_str_eq(sink_probe_log(&theirs), "a.one.b x > r\na.two.b x\n");
    ck_assert_str_eq(sink_probe_log(&group), "a.one.b x > r\na.two.b x\n");
    sink_probe_free(&own);
    sink_probe_free(&theirs);
    sink_probe_free(&group);
    close_mesh();
}

/* What was gathered before a linked message is delivered before it. */
TEST(keeps_order)
{
    struct sink_probe p;

    open_mesh(1);
    at(&p, 0, other, ">", NULL);
    link(mesh.account, other, "out", "in", false, false);
    for (int k = 0; k < 2; k++) {
        struct msg a = probe_msg("direct", NULL, "1"), b = probe_msg("out", NULL, "2");
        route_publish(mesh.r[0], other, &a);
        route_publish(mesh.r[0], mesh.account, &b);
    }
    route_flush(mesh.r[0]);
    ck_assert_str_eq(sink_probe_log(&p), "direct 1\nin 2\ndirect 1\nin 2\n");
    sink_probe_free(&p);
    close_mesh();
}

static char reply[64];

static void note_reply(struct sink_probe *p, const struct msg *m)
{
    (void) p;
    snprintf(reply, sizeof(reply), "%.*s", STR_ARG(m->reply));
    ck_assert(str_starts(m->header, STR("NATS/1.0\r\nNats-Request-Info: {\"acc\":")));
}

TEST(a_service_answers_once)
{
    struct sink_probe server, client;

    open_mesh((unsigned) i);
    link(mesh.account, other, "my.*", "svc.$1", true, false);
    at(&client, 0, mesh.account, "inbox.1", NULL);
    ck_assert_uint_eq(publish(mesh.account, "my.q", "inbox.1"), 0); /* nobody serves */
    at(&server, (unsigned) i - 1, other, "svc.*", NULL);
    server.on_msg = note_reply;
    ck_assert_uint_eq(publish(mesh.account, "my.q", "inbox.1"), 1);
    ck_assert(str_starts(str_of(reply), STR("_R_.")));
    ck_assert_uint_eq(publish(other, reply, NULL), 1);
    ck_assert_uint_eq(publish(other, reply, NULL), 0);
    ck_assert_str_eq(sink_probe_log(&client), "inbox.1 x\n");
    ck_assert_uint_eq(server.msgs, 1);
    sink_probe_free(&server);
    sink_probe_free(&client);
    close_mesh();
}

/* Inside the delivery of the request. */
static void answer_at_once(struct sink_probe *p, const struct msg *m)
{
    struct msg a = probe_msg("", NULL, "now");

    a.subject = m->reply;
    route_publish(p->router, p->account, &a);
}

TEST(a_service_answers_at_once)
{
    struct sink_probe server, client;

    open_mesh(1);
    link(mesh.account, other, "ask", NULL, true, i == 1);
    at(&client, 0, mesh.account, "inbox.1", NULL);
    at(&server, 0, other, "ask", NULL);
    server.on_msg = answer_at_once;
    ck_assert_uint_eq(publish(mesh.account, "ask", "inbox.1"), 1);
    ck_assert_str_eq(sink_probe_log(&client), "inbox.1 now\n");
    sink_probe_free(&server);
    sink_probe_free(&client);
    close_mesh();
}

TEST(many_answers_end_with_an_empty_one_or_with_patience)
{
    struct sink_probe server, client;
    struct msg last;

    open_mesh(1);
    link(mesh.account, other, "ask", NULL, true, true);
    at(&client, 0, mesh.account, "inbox.1", NULL);
    at(&server, 0, other, "ask", NULL);
    server.on_msg = note_reply;
    router_set_time(mesh.r[0], 5000000000);
    publish(mesh.account, "ask", "inbox.1");
    ck_assert_uint_eq(publish(other, reply, NULL), 1);
    ck_assert_uint_eq(publish(other, reply, NULL), 1);
    last = probe_msg(reply, NULL, "");
    ck_assert_uint_eq(route_publish(mesh.r[0], other, &last).receivers, 1);
    route_flush(mesh.r[0]);
    ck_assert_uint_eq(publish(other, reply, NULL), 0);
    ck_assert_uint_eq(client.msgs, 3);

    publish(mesh.account, "ask", "inbox.1");
    router_set_time(mesh.r[0], 6000000000); /* the second of patience begins here */
    router_set_time(mesh.r[0], 6900000000);
    ck_assert_uint_eq(publish(other, reply, NULL), 1);
    router_set_time(mesh.r[0], 7800000000);
    router_set_time(mesh.r[0], 8700000000);
    ck_assert_uint_eq(publish(other, reply, NULL), 1);
    router_set_time(mesh.r[0], 8800000000);
    router_set_time(mesh.r[0], 9900000000);
    ck_assert_uint_eq(publish(other, reply, NULL), 0);
    sink_probe_free(&server);
    sink_probe_free(&client);
    close_mesh();
}

/* A delivery by key keeps its subject; held replies find their way too. */
TEST(answers_by_key_and_from_holds)
{
    struct sink_probe server, client;
    struct msg m = probe_msg("orders.1", NULL, "o");
    struct hold *h;

    open_mesh(1);
    link(mesh.account, other, "ask", NULL, true, true);
    at(&client, 0, mesh.account, "inbox.1", NULL);
    at(&server, 0, other, "ask", NULL);
    server.on_msg = note_reply;
    publish(mesh.account, "ask", "inbox.1");
    route_deliver(mesh.r[0], other, str_of(reply), &m);
    h = hold_open(mesh.r[0], other);
    hold_add(h, str_of(reply), STR_NONE, STR("held"));
    hold_release(h);
    route_flush(mesh.r[0]);
    ck_assert_str_eq(sink_probe_log(&client), "orders.1 o\ninbox.1 held\n");
    sink_probe_free(&server);
    sink_probe_free(&client);
    close_mesh();
}

/* Configurations refuse circles; should there be one, messages do not run for ever. */
TEST(circles_end)
{
    struct sink_probe p;

    open_mesh(1);
    link(mesh.account, other, "a", NULL, false, false);
    link(other, mesh.account, "a", NULL, false, false);
    at(&p, 0, other, "a", NULL);
    ck_assert_uint_eq(publish(mesh.account, "a", NULL), 2);
    sink_probe_free(&p);
    close_mesh();
}

TEST(rewiring_counts_at_once)
{
    struct sink_probe p;

    open_mesh(1);
    at(&p, 0, other, "in", NULL);
    ck_assert_uint_eq(publish(mesh.account, "out", NULL), 0);
    link(mesh.account, other, "out", "in", false, false);
    ck_assert_uint_eq(publish(mesh.account, "out", NULL), 1);
    account_wiring_free(account_wire(mesh.account, NULL));
    ck_assert_uint_eq(publish(mesh.account, "out", NULL), 0);
    sink_probe_free(&p);
    close_mesh();
}

static void add_way(struct account_map *m, const char *dest, unsigned below)
{
    m->ways = mem_realloc(m->ways, (m->n + 1) * sizeof(*m->ways));
    m->ways[m->n++] = (struct account_way){
        .transform = transform_new(str_of(m->pattern), str_of(dest), TRANSFORM_ANY, NULL),
        .below = below,
    };
}

TEST(mappings_have_weights)
{
    struct account_wiring *w = mem_zalloc(sizeof(*w));
    struct account_map *m = account_wiring_map(w);
    unsigned a = 0, b = 0, lost = 0;
    struct prng prng;

    other = account_open("B", 1, 77);
    prng_init(&prng, 3);
    m->pattern = mem_strdup("in.*");
    add_way(m, "a.$1", 20);
    add_way(m, "b.$1", 90);
    account_wire(other, w);
    for (unsigned k = 0; k < 10000; k++) {
        struct buf out = {0};
        switch (account_map_subject(other, STR("in.x"), &prng, &out)) {
        case MAPPED_OTHER:
            a += str_eq(buf_str(&out), STR("a.x"));
            b += str_eq(buf_str(&out), STR("b.x"));
            break;
        case MAPPED_LOST:
            lost++;
            break;
        default:
            ck_abort();
        }
        buf_free(&out);
    }
    ck_assert_uint_eq(a + b + lost, 10000);
    ck_assert(a > 1800 && a < 2200);
    ck_assert(lost > 850 && lost < 1150);
    ck_assert_uint_eq(account_map_subject(other, STR("out.x"), &prng, NULL), MAPPED_SAME);
    account_close(other);
}

static const struct runner_case cases[] = {
    RUN_LOOP(a_stream_crosses, 1, 3),
    RUN(keeps_order),
    RUN_LOOP(a_service_answers_once, 1, 3),
    RUN_LOOP(a_service_answers_at_once, 0, 2),
    RUN(many_answers_end_with_an_empty_one_or_with_patience),
    RUN(answers_by_key_and_from_holds),
    RUN(circles_end),
    RUN(rewiring_counts_at_once),
    RUN(mappings_have_weights),
};

RUNNER_MAIN("core/account_link", cases)
