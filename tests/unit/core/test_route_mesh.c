/* Several routers in one thread: what travels, stale picks, bounces, late 503s. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"

#include <stdio.h>

static struct router_mesh mesh;

static struct route_result publish_at(uint32_t worker, const struct msg *m)
{
    return route_publish(mesh.r[worker], mesh.account, m);
}

static uint32_t publish(uint32_t worker, const char *subject, const char *payload)
{
    struct msg m = probe_msg(subject, NULL, payload);

    return publish_at(worker, &m).receivers;
}

static void at(struct sink_probe *p, uint32_t worker, const char *pattern, const char *queue)
{
    sink_probe_at(p, &mesh, worker, pattern, queue);
}

static struct router_stats stats(uint32_t worker)
{
    struct router_stats s;

    router_stats(mesh.r[worker], &s);
    return s;
}

/* ---- plain ----------------------------------------------------------------------------------- */

TEST(once_to_each_worker)
{
    struct sink_probe p[8];

    router_mesh_open(&mesh, 4);
    for (unsigned k = 0; k < 8; k++)
        at(&p[k], k / 2, k % 2 == 0 ? "x.*" : "x.y", NULL);
    /* Two here, and three workers. */
    ck_assert_uint_eq(publish(0, "x.y", "1"), 5);
    ck_assert_uint_eq(stats(0).remote, 3);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(mesh.runs, 3);
    for (unsigned k = 0; k < 8; k++)
        ck_assert_str_eq(sink_probe_log(&p[k]), "x.y 1\n");
    for (unsigned k = 0; k < 8; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

TEST(everything_of_a_message_travels)
{
    struct sink_probe p;
    struct msg m = probe_msg("x", "inbox.1", "payload");

    router_mesh_open(&mesh, 2);
    at(&p, 1, "x", NULL);
    m.header = STR("NATS/1.0\r\nA: b\r\n\r\n");
    publish_at(0, &m);
    m.payload = STR_NONE;
    m.reply = STR_NONE;
    m.header = STR_NONE;
    publish_at(0, &m);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p), "x payload > inbox.1\nx \n");
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* Runs become big, several are needed, and the order stays. */
TEST(order_over_many_runs)
{
    enum { N = 5000 };
    struct sink_probe p;
    struct buf want = {0};
    char text[64];

    router_mesh_open(&mesh, 2);
    at(&p, 1, "x.>", NULL);
    for (unsigned k = 0; k < N; k++) {
        char subject[16];
        snprintf(subject, sizeof(subject), "x.%u", k % 7);
        snprintf(text, sizeof(text), "%040u", k);
        ck_assert_uint_eq(publish(0, subject, text), 1);
        buf_printf(&want, "%s %s\n", subject, text);
    }
    router_mesh_settle(&mesh);
    ck_assert_uint_gt(mesh.runs, 5);
    ck_assert_str_eq(sink_probe_log(&p), buf_cstr(&want));
    ck_assert_uint_eq(p.longest, ROUTE_RUN);
    ck_assert_uint_lt(p.calls, N / ROUTE_RUN + 2 * (unsigned) mesh.runs);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
    buf_free(&want);
}

/* A payload in a chunk is referenced; one without is copied into its run; both arrive and are
 * freed. */
TEST(big_payloads)
{
    struct sink_probe p;
    struct chunk *c;
    struct msg m = probe_msg("x", NULL, "");
    size_t n = 40000;

    router_mesh_open(&mesh, 2);
    at(&p, 1, "x", NULL);
    c = chunk_alloc(mesh.chunks[0], n);
    memset(c->data, 'q', n);
    m.payload = str_from(c->data, n);
    publish_at(0, &m);
    ck_assert_uint_eq(atomic_load(&c->refs), 1);
    m.chunk = c;
    publish_at(0, &m);
    ck_assert_uint_eq(atomic_load(&c->refs), 2);
    m.payload = str_from(c->data, 100);
    publish_at(0, &m);
    ck_assert_uint_eq(atomic_load(&c->refs), 2);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(atomic_load(&c->refs), 1);
    ck_assert_uint_eq(p.msgs, 3);
    ck_assert_uint_eq(p.log.n, 3 * 3 + 2 * n + 100);
    publish_at(0, &m);
    m.payload = str_from(c->data, n);
    publish_at(0, &m);
    ck_assert_uint_eq(atomic_load(&c->refs), 2);
    router_mesh_flush(&mesh);
    sink_probe_free(&p);
    router_mesh_close(&mesh); /* frees a run nobody takes */
    chunk_put(c, NULL);
}

/* Who subscribes before the run arrives gets it; who has gone does not. */
TEST(plain_interest_is_looked_up_on_arrival)
{
    struct sink_probe a, b;

    router_mesh_open(&mesh, 2);
    at(&a, 1, "x", NULL);
    publish(0, "x", "1");
    router_mesh_flush(&mesh);
    at(&b, 1, "x", NULL);
    sink_probe_close(&a);
    router_mesh_drain(&mesh);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(a.msgs, 0);
    ck_assert_str_eq(sink_probe_log(&b), "x 1\n");
    sink_probe_free(&a);
    sink_probe_free(&b);
    router_mesh_close(&mesh);
}

TEST(no_echo_across_workers)
{
    struct sink_probe p;
    struct sink_probe_options o = {.worker = 1, .pattern = "e", .conn = 77};
    struct msg m = probe_msg("e", NULL, "1");

    router_mesh_open(&mesh, 2);
    o.router = mesh.r[1];
    o.account = mesh.account;
    sink_probe_open(&p, &o);
    m.flags = MSG_F_NO_ECHO;
    m.origin_conn = 77;
    publish_at(0, &m); /* 77 of worker 0 is another connection */
    m.origin_worker = 1;
    publish_at(0, &m); /* a message that has moved on from its connection's worker */
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(p.msgs, 1);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* ---- queue groups ---------------------------------------------------------------------------- */

/* Members 1, 1, 2 and 4 on four workers: each of the eight gets an eighth. */
TEST(members_are_picked_uniformly)
{
    static const uint32_t where[] = {0, 1, 2, 2, 3, 3, 3, 3};
    enum { N = 8000, EACH = N / 8 };
    struct sink_probe p[8], plain;
    double chi = 0;

    router_mesh_open(&mesh, 4);
    for (unsigned k = 0; k < 8; k++)
        at(&p[k], where[k], k % 2 == 0 ? "q.*" : "q.>", "workers");
    at(&plain, 1, "q.x", NULL);
    for (unsigned k = 0; k < N; k++)
        ck_assert_uint_ge(publish((uint32_t) i, "q.x", "1"), 1);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(plain.msgs, N);
    for (unsigned k = 0; k < 8; k++) {
        double d = (double) p[k].msgs - EACH;
        chi += d * d / EACH;
    }
    /* 7 degrees of freedom: 24.3 is passed once in a thousand; the seed is fixed. */
    ck_assert_msg(chi < 24.3, "chi square %.1f", chi);
    for (unsigned k = 0; k < 8; k++)
        sink_probe_free(&p[k]);
    sink_probe_free(&plain);
    router_mesh_close(&mesh);
}

TEST(one_member_of_each_group)
{
    struct sink_probe p[6];

    router_mesh_open(&mesh, 2);
    for (unsigned k = 0; k < 6; k++)
        at(&p[k], k % 2, "g", k < 2 ? "a" : k < 4 ? "b" : "c");
    for (unsigned k = 0; k < 100; k++)
        publish(0, "g", "1");
    router_mesh_settle(&mesh);
    for (unsigned k = 0; k < 6; k += 2)
        ck_assert_uint_eq(p[k].msgs + p[k + 1].msgs, 100);
    /* A message for picks and nobody else: one record for the other worker, whatever was picked
     * there. */
    ck_assert_uint_le(stats(0).remote, 100);
    for (unsigned k = 0; k < 6; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* A run in which a message for one member is followed by one for two: gathered first, still first.
 */
TEST(order_of_picks_in_a_run)
{
    struct sink_probe s, t;

    router_mesh_open(&mesh, 2);
    at(&s, 1, "q.>", "g");
    at(&t, 1, "q.b", "h");
    publish(0, "q.a", "1");
    publish(0, "q.b", "2");
    publish(0, "q.a", "3");
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&s), "q.a 1\nq.b 2\nq.a 3\n");
    ck_assert_str_eq(sink_probe_log(&t), "q.b 2\n");
    sink_probe_free(&s);
    sink_probe_free(&t);
    router_mesh_close(&mesh);
}

/* The publisher's own member is passed over. */
TEST(no_echo_in_a_group)
{
    struct sink_probe mine, other;
    struct sink_probe_options o = {.worker = 0, .pattern = "q", .queue = "g", .conn = 9};
    struct msg m = probe_msg("q", NULL, "1");

    router_mesh_open(&mesh, 1);
    o.router = mesh.r[0];
    o.account = mesh.account;
    sink_probe_open(&mine, &o);
    at(&other, 0, "q", "g");
    m.flags = MSG_F_NO_ECHO;
    m.origin_conn = 9;
    for (unsigned k = 0; k < 50; k++)
        ck_assert_uint_eq(publish_at(0, &m).receivers, 1);
    ck_assert_uint_eq(mine.msgs, 0);
    ck_assert_uint_eq(other.msgs, 50);
    sink_probe_free(&mine);
    sink_probe_free(&other);
    router_mesh_close(&mesh);
}

/* Picked on another worker, gone before the run arrives: picked again there, and found on a third.
 */
TEST(stale_pick_is_made_again)
{
    struct sink_probe gone, left;

    router_mesh_open(&mesh, 4);
    at(&gone, 1, "q", "g");
    ck_assert_uint_eq(publish(0, "q", "1"), 1);
    router_mesh_flush(&mesh);
    at(&left, 2 + (uint32_t) i, "q", "g");
    sink_probe_close(&gone);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(gone.msgs, 0);
    ck_assert_str_eq(sink_probe_log(&left), "q 1\n");
    ck_assert_uint_eq(stats(1).queue_repicks, 1);
    sink_probe_free(&gone);
    sink_probe_free(&left);
    router_mesh_close(&mesh);
}

/* A deliver group: the pick is made again by the key, which receivers never see. */
TEST(stale_pick_by_key)
{
    struct sink_probe gone, left;
    struct msg m = probe_msg("orders.new", NULL, "1");

    router_mesh_open(&mesh, 3);
    at(&gone, 1, "deliver", "g");
    ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("deliver"), &m).receivers, 1);
    router_mesh_flush(&mesh);
    at(&left, 2, "deliver", "g");
    sink_probe_close(&gone);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&left), "orders.new 1\n");
    sink_probe_free(&gone);
    sink_probe_free(&left);
    router_mesh_close(&mesh);
}

struct nobody {
    unsigned n;
    handle conn;
    char subject[16], reply[16];
};

static void note_nobody(void *ctx, handle conn, struct account *a, struct str subject,
                        struct str reply)
{
    struct nobody *x = ctx;

    ck_assert_ptr_eq(a, mesh.account);
    x->n++;
    x->conn = conn;
    snprintf(x->subject, sizeof(x->subject), "%.*s", STR_ARG(subject));
    snprintf(x->reply, sizeof(x->reply), "%.*s", STR_ARG(reply));
}

/* Nobody left: 503 goes back to the connection that asked, and only for a request of a client. */
TEST(stale_pick_with_nobody_left)
{
    struct sink_probe p;
    struct nobody x[2] = {{0}};
    struct msg m = probe_msg("q", "inbox.7", "1"), internal = m, one_way = m;

    router_mesh_open(&mesh, 2);
    router_set_nobody(mesh.r[0], note_nobody, &x[0]);
    router_set_nobody(mesh.r[1], note_nobody, &x[1]);
    at(&p, 1, "q", "g");
    m.origin_conn = one_way.origin_conn = 55;
    one_way.reply = STR_NONE;
    ck_assert_uint_eq(publish_at(0, &m).receivers, 1);
    publish_at(0, &internal);
    publish_at(0, &one_way);
    router_mesh_flush(&mesh);
    sink_probe_close(&p);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(x[1].n, 0);
    ck_assert_uint_eq(x[0].n, 1);
    ck_assert_uint_eq(x[0].conn, 55);
    ck_assert_str_eq(x[0].subject, "q");
    ck_assert_str_eq(x[0].reply, "inbox.7");
    ck_assert_uint_eq(publish_at(0, &m).receivers, 0); /* now the caller knows at once */
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* i: the worker of the only subscription, which takes one message of three: 503 for the others, and
 * all that it takes. With a second one somewhere nobody is told. */
TEST(plain_one_that_does_not_take_all)
{
    struct sink_probe p, other;
    struct nobody x = {0};
    struct msg m = probe_msg("s", "inbox", "no");

    router_mesh_open(&mesh, 2);
    router_set_nobody(mesh.r[0], note_nobody, &x);
    m.origin_conn = 5;
    at(&p, (uint32_t) i, "s", NULL);
    p.refuses = "no";
    for (unsigned k = 0; k < 3; k++) {
        m.payload = k == 1 ? STR("yes") : STR("no");
        ck_assert_uint_eq(publish_at(0, &m).receivers, 1);
    }
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p), "s yes > inbox\n");
    ck_assert_uint_eq(x.n, 2);
    at(&other, 1, "s", NULL);
    ck_assert_uint_eq(publish_at(0, &m).receivers, 1);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(x.n, 2);
    ck_assert_uint_eq(other.msgs, 1);
    sink_probe_free(&p);
    sink_probe_free(&other);
    router_mesh_close(&mesh);
}

/* The same on one worker: members that take no more are passed over while there is another. */
TEST(members_with_a_limit)
{
    struct sink_probe p[3];
    struct nobody x = {0};
    struct msg m = probe_msg("q", "inbox", "1");
    unsigned taken = 0;

    router_mesh_open(&mesh, 1);
    router_set_nobody(mesh.r[0], note_nobody, &x);
    m.origin_conn = 5;
    for (unsigned k = 0; k < 3; k++) {
        at(&p[k], 0, "q", "g");
        p[k].limit = 10;
    }
    for (unsigned k = 0; k < 40; k++)
        taken += publish_at(0, &m).receivers;
    route_flush(mesh.r[0]);
    for (unsigned k = 0; k < 3; k++)
        ck_assert_uint_eq(p[k].msgs, 10);
    /* The last member's run was counted before it refused: those are answered, the others the
     * caller saw. */
    ck_assert_uint_eq(taken - x.n, 30);
    ck_assert_uint_gt(x.n, 0);
    for (unsigned k = 0; k < 3; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* A gathered run for the only member, which goes; another member has come meanwhile. */
TEST(gathered_run_is_picked_again)
{
    struct sink_probe a, b;

    router_mesh_open(&mesh, 2);
    at(&a, 0, "q", "g");
    a.limit = 2;
    for (unsigned k = 0; k < 5; k++)
        publish(0, "q", "1");
    at(&b, 1, "q", "g");
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(a.msgs, 2);
    ck_assert_uint_eq(b.msgs, 3);
    sink_probe_free(&a);
    sink_probe_free(&b);
    router_mesh_close(&mesh);
}

/* Draining member: unsubscribed, yet what was routed to it before arrives, because its sink stays
 * until the fence. */
TEST(draining_member_keeps_its_messages)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 2);
    at(&p, 1, "q", "g");
    publish(0, "q", "1");
    router_mesh_flush(&mesh);
    interest_remove(mesh.account->interest, p.sub);
    ck_assert_uint_eq(publish(0, "q", "2"), 0);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p), "q 1\n");
    router_sink_remove(mesh.r[1], &p.sink);
    p.sub = NULL;
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* ---- deliveries that bounce ------------------------------------------------------------------ */

static struct msg delivery(const struct sink_probe *consumer, uint32_t worker, uint64_t seq)
{
    struct msg m = probe_msg("orders.new", "$JS.ACK.S.C", "1");

    m.flags = MSG_F_BOUNCE | MSG_F_SYSTEM;
    m.bounce_to = consumer->sink.self;
    m.bounce_worker = worker;
    m.bounce_seq = seq;
    return m;
}

TEST(keyed_delivery_to_another_worker)
{
    struct sink_probe consumer, inbox;
    struct msg m;

    router_mesh_open(&mesh, 2);
    at(&consumer, 0, "unused", NULL);
    at(&inbox, 1, "_INBOX.n.*", NULL);
    m = delivery(&consumer, 0, 7);
    for (unsigned k = 0; k < 10; k++)
        ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("_INBOX.n.1"), &m).receivers,
                          1);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(inbox.msgs, 10);
    ck_assert_uint_eq(inbox.calls, 1);
    ck_assert(strncmp(sink_probe_log(&inbox), "orders.new 1 > $JS.ACK.S.C\n", 27) == 0);
    ck_assert_uint_eq(consumer.bounces, 0);
    sink_probe_free(&consumer);
    sink_probe_free(&inbox);
    router_mesh_close(&mesh);
}

/* The receiver is plain or in a group (i = 1), and goes while the run travels. */
TEST(bounce_from_another_worker)
{
    struct sink_probe consumer, inbox;
    struct msg m;

    router_mesh_open(&mesh, 2);
    at(&consumer, 0, "unused", NULL);
    at(&inbox, 1, "deliver", i == 1 ? "g" : NULL);
    m = delivery(&consumer, 0, 7);
    ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("deliver"), &m).receivers, 1);
    router_mesh_flush(&mesh);
    sink_probe_close(&inbox);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(consumer.bounces, 1);
    ck_assert_uint_eq(consumer.bounced_seq, 7);
    /* Known at once: told by the result, not by a bounce. */
    ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("deliver"), &m).receivers, 0);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(consumer.bounces, 1);
    sink_probe_free(&consumer);
    sink_probe_free(&inbox);
    router_mesh_close(&mesh);
}

/* Gathered here for a receiver that takes 2 of 5; the consumer redelivers within bounced(). */
static void redeliver(struct sink_probe *p, uint64_t seq)
{
    struct msg m = delivery(p, 0, seq + 100);

    ck_assert_uint_eq(route_deliver(p->router, p->account, STR("deliver.2"), &m).receivers, 1);
}

TEST(bounce_here)
{
    struct sink_probe consumer, first, second;

    router_mesh_open(&mesh, 1);
    at(&consumer, 0, "unused", NULL);
    at(&first, 0, "deliver.1", NULL);
    at(&second, 0, "deliver.2", NULL);
    first.limit = 2;
    consumer.on_bounce = redeliver;
    for (unsigned k = 0; k < 5; k++) {
        struct msg m = delivery(&consumer, 0, k);
        ck_assert_uint_eq(route_deliver(mesh.r[0], mesh.account, STR("deliver.1"), &m).receivers,
                          1);
    }
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(first.msgs, 2);
    ck_assert_uint_eq(consumer.bounces, 3);
    ck_assert_uint_eq(consumer.bounced_seq, 4);
    ck_assert_uint_eq(second.msgs, 3);
    sink_probe_free(&consumer);
    sink_probe_free(&first);
    sink_probe_free(&second);
    router_mesh_close(&mesh);
}

/* With other receivers a message does not bounce; with a consumer that has gone it is not told to
 * anybody. */
TEST(no_bounce)
{
    struct sink_probe consumer, a, b;
    struct msg m;

    router_mesh_open(&mesh, 2);
    at(&consumer, 0, "unused", NULL);
    at(&a, 0, "deliver", NULL);
    at(&b, 1, "deliver", NULL);
    m = delivery(&consumer, 0, 7);
    route_deliver(mesh.r[0], mesh.account, STR("deliver"), &m);
    router_mesh_flush(&mesh);
    sink_probe_close(&b);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(consumer.bounces, 0);
    at(&b, 1, "alone", NULL);
    route_deliver(mesh.r[0], mesh.account, STR("alone"), &m);
    router_mesh_flush(&mesh);
    sink_probe_close(&b);
    sink_probe_close(&consumer);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(consumer.bounces, 0);
    sink_probe_free(&consumer);
    sink_probe_free(&a);
    sink_probe_free(&b);
    router_mesh_close(&mesh);
}

/* ---- direct targets -------------------------------------------------------------------------- */

static bool resolve(void *ctx, struct account *a, struct str subject, struct route_target *out)
{
    (void) a;
    (void) subject;
    *out = *(struct route_target *) ctx;
    return true;
}

/* i: the worker of the target. */
TEST(direct_target_goes)
{
    struct sink_probe consumer;
    struct nobody x = {0};
    struct route_target target = {.worker = (uint32_t) i};
    struct msg m = probe_msg("$JS.N", "inbox", "1");

    router_mesh_open(&mesh, 2);
    router_set_nobody(mesh.r[0], note_nobody, &x);
    router_set_resolver(mesh.r[0], resolve, &target);
    at(&consumer, (uint32_t) i, "unused", NULL);
    target.sink = consumer.sink.self;
    m.origin_conn = 5;
    for (unsigned k = 0; k < 3; k++)
        ck_assert_uint_eq(publish_at(0, &m).receivers, 1);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(consumer.msgs, 3);
    ck_assert_uint_eq(consumer.calls, 1);
    publish_at(0, &m);
    if (i == 1) {
        router_mesh_flush(&mesh);
        sink_probe_close(&consumer);
    } else {
        consumer.limit = 3; /* takes nothing more, as when its stream is deleted within the run */
    }
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(x.n, 1);
    ck_assert_str_eq(x.subject, "$JS.N");
    sink_probe_free(&consumer);
    router_mesh_close(&mesh);
}

/* ---- all at once ----------------------------------------------------------------------------- */

/* Lines "t.a <publisher>.<number>": the numbers of each publisher rise. */
static void check_order(struct str log)
{
    uint64_t last[4] = {0}, from, number;

    while (log.n > 0) {
        struct str line = str_cut(log, '\n', &log);
        struct str text = str_cut(str_skip(line, 4), '.', &line);
        ck_assert(str_to_u64(text, &from) && from < 4 && str_to_u64(line, &number));
        ck_assert(number + 1 > last[from]);
        last[from] = number + 1;
    }
}

/* Random publishing and subscribing on four workers, every publisher's messages stay in order at
 * every sink, and while nobody leaves each group gets each message exactly once. */
TEST(random_traffic)
{
    enum { SINKS = 24, N = 4000 };
    static struct sink_probe p[SINKS];
    struct prng rng;
    unsigned got[4] = {0};
    char text[32];

    router_mesh_open(&mesh, 4);
    prng_init(&rng, (uint64_t) i);
    for (unsigned k = 0; k < SINKS; k++) {
        static const char *const patterns[] = {"t.a", "t.*", "t.>", "*.a"};
        static const char *const queues[] = {NULL, "g0", "g1", NULL};
        at(&p[k], k % 4, patterns[prng_below(&rng, 4)], queues[k % 3]);
    }
    for (unsigned k = 0; k < N; k++) {
        uint32_t from = (uint32_t) prng_below(&rng, 4);
        snprintf(text, sizeof(text), "%u.%06u", from, k);
        publish(from, "t.a", text);
        if (prng_below(&rng, 50) == 0)
            router_mesh_flush(&mesh);
        if (prng_below(&rng, 80) == 0)
            router_mesh_drain(&mesh);
    }
    router_mesh_settle(&mesh);
    for (unsigned k = 0; k < SINKS; k++) {
        check_order(buf_str(&p[k].log));
        if (k % 3 == 0)
            ck_assert_uint_eq(p[k].msgs, N);
        else
            got[k % 3] += p[k].msgs;
    }
    ck_assert_uint_eq(got[1], N);
    ck_assert_uint_eq(got[2], N);
    for (unsigned k = 0; k < SINKS; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* Members come and go while runs travel: a group gets a message once, or its publisher hears of it.
 */
TEST(churn_loses_no_request)
{
    enum { SINKS = 6, N = 3000 };
    static struct sink_probe p[SINKS];
    struct nobody x[4] = {{0}};
    struct msg m = probe_msg("svc", "inbox", "1");
    struct prng rng;
    unsigned taken = 0, counted = 0, heard = 0, immediate = 0;

    router_mesh_open(&mesh, 4);
    prng_init(&rng, (uint64_t) i);
    for (uint32_t w = 0; w < 4; w++)
        router_set_nobody(mesh.r[w], note_nobody, &x[w]);
    for (unsigned k = 0; k < SINKS; k++)
        at(&p[k], k % 4, "svc", "g");
    m.origin_conn = 5;
    for (unsigned k = 0; k < N; k++) {
        unsigned s = (unsigned) prng_below(&rng, SINKS);
        m.origin_worker = (uint32_t) prng_below(&rng, 4);
        if (publish_at(m.origin_worker, &m).receivers > 0)
            counted++;
        else
            immediate++;
        if (prng_below(&rng, 3) == 0) {
            if (p[s].sub != NULL) {
                sink_probe_close(&p[s]);
            } else {
                taken += p[s].msgs;
                sink_probe_free(&p[s]);
                at(&p[s], s % 4, "svc", "g");
            }
        }
        if (prng_below(&rng, 20) == 0)
            router_mesh_flush(&mesh);
        if (prng_below(&rng, 20) == 0)
            router_mesh_drain(&mesh);
    }
    router_mesh_settle(&mesh);
    for (unsigned k = 0; k < SINKS; k++) {
        taken += p[k].msgs;
        sink_probe_free(&p[k]);
    }
    for (unsigned w = 0; w < 4; w++)
        heard += x[w].n;
    ck_assert_uint_eq(counted + immediate, N);
    ck_assert_uint_eq(taken + heard, counted);
    router_mesh_close(&mesh);
}

/* Without memory for a run the message is not counted as received. */
TEST(no_memory_for_a_run)
{
    struct sink_probe p;

    router_mesh_open(&mesh, 2);
    at(&p, 1, "x", NULL);
    mem_fail_after(1);
    ck_assert_uint_eq(publish(0, "x", "1"), 0);
    mem_fail_after(0);
    ck_assert_uint_eq(stats(0).dropped, 1);
    ck_assert_uint_eq(publish(0, "x", "2"), 1);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p), "x 2\n");
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

static const struct runner_case cases[] = {
    RUN(once_to_each_worker),
    RUN(everything_of_a_message_travels),
    RUN(order_over_many_runs),
    RUN(big_payloads),
    RUN(plain_interest_is_looked_up_on_arrival),
    RUN(no_echo_across_workers),
    RUN_LOOP(members_are_picked_uniformly, 0, 4),
    RUN(one_member_of_each_group),
    RUN(order_of_picks_in_a_run),
    RUN(no_echo_in_a_group),
    RUN_LOOP(stale_pick_is_made_again, -1, 2),
    RUN(stale_pick_by_key),
    RUN(stale_pick_with_nobody_left),
    RUN(members_with_a_limit),
    RUN(gathered_run_is_picked_again),
    RUN(draining_member_keeps_its_messages),
    RUN(keyed_delivery_to_another_worker),
    RUN_LOOP(bounce_from_another_worker, 0, 2),
    RUN(bounce_here),
    RUN(no_bounce),
    RUN_LOOP(direct_target_goes, 0, 2),
    RUN_LOOP(plain_one_that_does_not_take_all, 0, 2),
    RUN_LOOP(random_traffic, 0, 4),
    RUN_LOOP(churn_loses_no_request, 0, 8),
    RUN(no_memory_for_a_run),
};

RUNNER_MAIN("core/route_mesh", cases)
