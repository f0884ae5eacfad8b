/* Held replies: as frames, as runs, and what happens when the world has changed at release. Also
 * the outbuf. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "tests/lib/runner.h"
#include "tests/lib/sink_probe.h"

#include <stdio.h>

static struct router_mesh mesh;

/* A client's subscription: with a byte form. */
static void client(struct sink_probe *p, uint32_t worker, const char *pattern)
{
    struct sink_probe_options o = {
        .router = mesh.r[worker],
        .account = mesh.account,
        .worker = worker,
        .pattern = pattern,
        .pool = mesh.chunks[worker],
    };

    sink_probe_open(p, &o);
}

static void add(struct hold *h, const char *to, const char *payload)
{
    hold_add(h, str_of(to), STR_NONE, str_of(payload));
}

TEST(frames_of_a_live_subscription)
{
    struct sink_probe p, q;
    struct hold *h;

    router_mesh_open(&mesh, 1);
    client(&p, 0, "_INBOX.a.*");
    client(&q, 0, "_INBOX.b.*");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "_INBOX.a.1", "one");
    add(h, "_INBOX.b.1", "two");
    add(h, "_INBOX.a.2", "three");
    hold_add(h, STR("_INBOX.a.3"), STR("NATS/1.0\r\nA: b\r\n\r\n"), STR("x"));
    ck_assert_uint_eq(hold_count(h), 4);
    ck_assert_uint_gt(hold_bytes(h), 100);
    ck_assert_uint_eq(p.log.n + q.log.n, 0);
    hold_release(h);
    ck_assert_str_eq(sink_probe_log(&p),
                     "MSG _INBOX.a.1 7 3\r\none\r\n"
                     "MSG _INBOX.a.2 7 5\r\nthree\r\n"
                     "HMSG _INBOX.a.3 7 18 19\r\nNATS/1.0\r\nA: b\r\n\r\nx\r\n");
    ck_assert_str_eq(sink_probe_log(&q), "MSG _INBOX.b.1 7 3\r\ntwo\r\n");
    ck_assert_uint_eq(p.frames, 3);
    sink_probe_free(&p);
    sink_probe_free(&q);
    router_mesh_close(&mesh);
}

/* Released frames do not overtake what was gathered for the same sink. */
TEST(order_with_gathered_messages)
{
    struct sink_probe p;
    struct msg m = probe_msg("_INBOX.a.0", NULL, "zero");
    struct hold *h;

    router_mesh_open(&mesh, 1);
    client(&p, 0, "_INBOX.a.*");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "_INBOX.a.1", "one");
    route_publish(mesh.r[0], mesh.account, &m);
    hold_release(h);
    ck_assert_str_eq(sink_probe_log(&p), "_INBOX.a.0 zero\nMSG _INBOX.a.1 7 3\r\none\r\n");
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* Hundreds of clients in turn: each gets its own, in order. */
TEST(many_clients)
{
    enum { CLIENTS = 300, ROUNDS = 5 };
    static struct sink_probe p[CLIENTS];
    struct hold *h;
    char text[64], want[256];

    router_mesh_open(&mesh, 1);
    for (unsigned k = 0; k < CLIENTS; k++) {
        snprintf(text, sizeof(text), "_INBOX.%u.*", k);
        client(&p[k], 0, text);
    }
    h = hold_open(mesh.r[0], mesh.account);
    for (unsigned r = 0; r < ROUNDS; r++)
        for (unsigned k = 0; k < CLIENTS; k++) {
            snprintf(text, sizeof(text), "_INBOX.%u.%u", k, r);
            add(h, text, "");
        }
    hold_release(h);
    for (unsigned k = 0; k < CLIENTS; k++) {
        unsigned n = 0;
        for (unsigned r = 0; r < ROUNDS; r++)
            n += (unsigned) snprintf(want + n, sizeof(want) - n, "MSG _INBOX.%u.%u 7 0\r\n\r\n", k,
                                     r);
        ck_assert_str_eq(sink_probe_log(&p[k]), want);
        sink_probe_free(&p[k]);
    }
    router_mesh_close(&mesh);
}

/* The subscription goes before release: another one gets the replies, read back from the frames;
 * enough of them to fill several chunks. */
TEST(reroutes_frames)
{
    enum { N = 2000 };
    struct sink_probe old, next;
    struct hold *h;
    struct buf want = {0};
    char text[64];

    router_mesh_open(&mesh, 2);
    client(&old, 0, "_INBOX.a.*");
    h = hold_open(mesh.r[0], mesh.account);
    for (unsigned k = 0; k < N; k++) {
        snprintf(text, sizeof(text), "%050u", k);
        add(h, "_INBOX.a.1", text);
        buf_printf(&want, "_INBOX.a.1 %s\n", text);
    }
    sink_probe_close(&old);
    client(&next, (uint32_t) i, "_INBOX.a.*");
    hold_release(h);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(old.msgs + old.frames, 0);
    ck_assert_uint_eq(next.frames, 0);
    ck_assert_str_eq(sink_probe_log(&next), buf_cstr(&want));
    sink_probe_free(&old);
    sink_probe_free(&next);
    router_mesh_close(&mesh);
    buf_free(&want);
}

static void keep_header(struct sink_probe *p, const struct msg *m)
{
    buf_put_str(p->ctx, m->header);
}

TEST(rerouted_frames_keep_their_header)
{
    struct sink_probe old, next;
    struct buf header = {0};
    struct hold *h;
    static char big[15000];

    router_mesh_open(&mesh, 1);
    client(&old, 0, "r");
    h = hold_open(mesh.r[0], mesh.account);
    memset(big, 'z', sizeof(big));
    hold_add(h, STR("r"), STR("NATS/1.0 503\r\n\r\n"), STR(""));
    for (unsigned k = 0; k < 20; k++)
        hold_add(h, STR("r"), STR_NONE, str_from(big, sizeof(big)));
    sink_probe_close(&old);
    client(&next, 0, "r");
    next.on_msg = keep_header;
    next.ctx = &header;
    hold_release(h);
    ck_assert_str_eq(buf_cstr(&header), "NATS/1.0 503\r\n\r\n");
    ck_assert_uint_eq(next.msgs, 21);
    ck_assert_uint_eq(next.log.n, 21 * 3 + 20 * sizeof(big));
    buf_free(&header);
    sink_probe_free(&old);
    sink_probe_free(&next);
    router_mesh_close(&mesh);
}

TEST(nobody_left)
{
    struct sink_probe p;
    struct hold *h;

    router_mesh_open(&mesh, 1);
    client(&p, 0, "r");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "r", "1");
    sink_probe_close(&p);
    hold_release(h);
    ck_assert_uint_eq(p.log.n, 0);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* A max set after the frames were made: delivered one by one, and no more than it takes. */
TEST(subscription_begins_to_count)
{
    struct sink_probe p;
    struct hold *h;

    router_mesh_open(&mesh, 1);
    client(&p, 0, "r");
    h = hold_open(mesh.r[0], mesh.account);
    for (unsigned k = 0; k < 5; k++)
        add(h, "r", "1");
    sink_probe_take_singly(&p);
    p.limit = 2;
    hold_release(h);
    ck_assert_uint_eq(p.frames, 0);
    ck_assert_str_eq(sink_probe_log(&p), "r 1\nr 1\n");
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* Without a byte form, to several receivers, to a group: routed at release. */
TEST(other_receivers)
{
    struct sink_probe p[5];
    struct hold *h;

    router_mesh_open(&mesh, 2);
    sink_probe_at(&p[0], &mesh, 0, "plain", NULL);
    client(&p[1], 0, "both");
    client(&p[2], 1, "both");
    sink_probe_at(&p[3], &mesh, 1, "group", "g");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "plain", "1");
    add(h, "both", "2");
    add(h, "group", "3");
    add(h, "late", "4");
    sink_probe_at(&p[4], &mesh, 0, "late", NULL);
    ck_assert_uint_eq(hold_count(h), 4);
    hold_release(h);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p[0]), "plain 1\n");
    ck_assert_str_eq(sink_probe_log(&p[1]), "both 2\n");
    ck_assert_str_eq(sink_probe_log(&p[2]), "both 2\n");
    ck_assert_str_eq(sink_probe_log(&p[3]), "group 3\n");
    ck_assert_str_eq(sink_probe_log(&p[4]), "late 4\n");
    for (unsigned k = 0; k < 5; k++)
        sink_probe_free(&p[k]);
    router_mesh_close(&mesh);
}

/* Behind what was sent to that worker before, and not before release. */
TEST(to_another_worker)
{
    struct sink_probe p;
    struct msg m = probe_msg("_INBOX.a.0", NULL, "first");
    struct hold *h;
    static char big[20000];

    router_mesh_open(&mesh, 2);
    client(&p, 1, "_INBOX.a.*");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "_INBOX.a.1", "one");
    add(h, "_INBOX.a.2", "two");
    memset(big, 'b', sizeof(big));
    hold_add(h, STR("_INBOX.a.3"), STR_NONE, str_from(big, sizeof(big)));
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(p.msgs, 0);
    route_publish(mesh.r[0], mesh.account, &m);
    hold_release(h);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(p.msgs, 4);
    ck_assert_uint_eq(p.calls, 3); /* a run each: before, small, big */
    ck_assert(str_starts(buf_str(&p.log),
                         STR("_INBOX.a.0 first\n_INBOX.a.1 one\n_INBOX.a.2 two\n_INBOX.a.3 bb")));
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

TEST(long_replies_are_routed)
{
    struct sink_probe p;
    struct hold *h;
    static char big[100000];

    router_mesh_open(&mesh, 1);
    client(&p, 0, "r");
    h = hold_open(mesh.r[0], mesh.account);
    memset(big, 'b', sizeof(big));
    hold_add(h, STR("r"), STR_NONE, str_from(big, sizeof(big)));
    ck_assert_uint_eq(hold_count(h), 1);
    hold_release(h);
    ck_assert_uint_eq(p.frames, 0);
    ck_assert_uint_eq(p.msgs, 1);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

TEST(dropped_unsent)
{
    struct sink_probe p, q;
    struct hold *h;

    router_mesh_open(&mesh, 2);
    client(&p, 0, "a");
    client(&q, 1, "b");
    h = hold_open(mesh.r[0], mesh.account);
    add(h, "a", "1");
    add(h, "b", "1");
    add(h, "c", "1");
    hold_drop(h);
    h = hold_open(mesh.r[0], mesh.account);
    hold_drop(h);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(p.log.n + q.log.n, 0);
    sink_probe_free(&p);
    sink_probe_free(&q);
    router_mesh_close(&mesh);
}

static struct str deny(void *ctx, struct str payload)
{
    ck_assert_ptr_eq(ctx, &mesh);
    return str_eq(payload, STR("stays")) ? payload : STR("no");
}

/* To frames, to another worker, to whoever comes later: all hear the other payload, or their own.
 */
TEST(something_else_instead)
{
    struct sink_probe p, q, later;
    struct hold *h;
    static char big[20000];

    router_mesh_open(&mesh, 2);
    client(&p, 0, "a.*");
    client(&q, 1, "b");
    h = hold_open(mesh.r[0], mesh.account);
    hold_add(h, STR("a.1"), STR("NATS/1.0\r\nA: b\r\n\r\n"), STR("true"));
    add(h, "a.2", "true");
    add(h, "a.2", "stays");
    add(h, "b", "true");
    add(h, "b", "stays");
    add(h, "c", "true");
    memset(big, 'b', sizeof(big));
    hold_add(h, STR("a.3"), STR_NONE, str_from(big, sizeof(big)));
    client(&later, 0, "c");
    hold_release_instead(h, deny, &mesh);
    router_mesh_settle(&mesh);
    ck_assert_str_eq(sink_probe_log(&p),
                     "MSG a.1 7 2\r\nno\r\nMSG a.2 7 2\r\nno\r\nMSG a.2 7 5\r\nstays\r\n"
                     "MSG a.3 7 2\r\nno\r\n");
    ck_assert_str_eq(sink_probe_log(&q), "b no\nb stays\n");
    ck_assert_str_eq(sink_probe_log(&later), "MSG c 7 2\r\nno\r\n");
    h = hold_open(mesh.r[0], mesh.account);
    hold_release_instead(h, deny, &mesh);
    sink_probe_free(&p);
    sink_probe_free(&q);
    sink_probe_free(&later);
    router_mesh_close(&mesh);
}

struct nested {
    struct hold *hold;
};

static void release_it(struct sink_probe *p, const struct msg *m)
{
    struct nested *n = p->ctx;

    (void) m;
    if (n->hold != NULL) {
        struct hold *h = n->hold;
        n->hold = NULL;
        hold_release(h);
    }
}

/* A stream whose commit completes within its ingest: released inside a deliver. */
TEST(released_within_a_delivery)
{
    struct sink_probe stream, direct, several[2];
    struct nested n;
    struct msg m = probe_msg("orders", NULL, "1");

    router_mesh_open(&mesh, 1);
    sink_probe_at(&stream, &mesh, 0, "orders", NULL);
    client(&direct, 0, "r.1");
    client(&several[0], 0, "r.2");
    client(&several[1], 0, "r.2");
    n.hold = hold_open(mesh.r[0], mesh.account);
    add(n.hold, "r.1", "x");
    add(n.hold, "r.2", "y");
    add(n.hold, "orders", "self");
    stream.on_msg = release_it;
    stream.ctx = &n;
    route_publish(mesh.r[0], mesh.account, &m);
    route_publish(mesh.r[0], mesh.account, &m);
    router_mesh_settle(&mesh);
    ck_assert_uint_eq(direct.frames, 1);
    ck_assert_str_eq(sink_probe_log(&several[0]), "r.2 y\n");
    ck_assert_str_eq(sink_probe_log(&several[1]), "r.2 y\n");
    ck_assert_str_eq(sink_probe_log(&stream), "orders 1\norders 1\norders self\n");
    sink_probe_free(&stream);
    sink_probe_free(&direct);
    sink_probe_free(&several[0]);
    sink_probe_free(&several[1]);
    router_mesh_close(&mesh);
}

TEST(no_memory)
{
    struct sink_probe p;
    struct router_stats stats;
    struct hold *h;

    router_mesh_open(&mesh, 2);
    client(&p, 0, "r");
    h = hold_open(mesh.r[0], mesh.account);
    mem_fail_after(1);
    add(h, "r", "lost");
    mem_fail_after(1);
    add(h, "nobody", "lost");
    mem_fail_after(0);
    ck_assert_uint_eq(hold_count(h), 0);
    add(h, "r", "kept");
    hold_release(h);
    ck_assert_str_eq(sink_probe_log(&p), "MSG r 7 4\r\nkept\r\n");
    router_stats(mesh.r[0], &stats);
    ck_assert_uint_eq(stats.dropped, 2);
    sink_probe_free(&p);
    router_mesh_close(&mesh);
}

/* ---- outbuf ---------------------------------------------------------------------------------- */

static void compare(const struct outbuf *o, const struct buf *want)
{
    size_t at = 0;

    outbuf_check(o);
    ck_assert_uint_eq(o->bytes, want->n);
    for (const struct chunk *c = o->head; c != NULL; c = c->next) {
        ck_assert_mem_eq(c->data, want->p + at, c->len);
        at += c->len;
    }
}

/* A view between copies: in order, without a copy, and what follows begins small again. */
TEST(outbuf_shows_chunks_of_others)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct chunk *of = chunk_alloc(pool, 100000);
    struct outbuf o = {0};
    struct buf want = {0};

    memset(of->data, 'v', 100000);
    for (int k = 0; k < 3; k++) {
        ck_assert(outbuf_put(&o, pool, "line", 4));
        ck_assert(outbuf_put_view(&o, pool, of, of->data + k, 90000));
        ck_assert_ptr_eq(o.tail->data, of->data + k);
        buf_puts(&want, "line");
        buf_put(&want, of->data, 90000);
    }
    ck_assert(outbuf_put(&o, pool, "end", 3));
    ck_assert_uint_le(o.tail->cap, 1024);
    buf_puts(&want, "end");
    chunk_put(of, pool);
    compare(&o, &want);
    outbuf_free(&o, pool);
    buf_free(&want);
    chunk_pool_close(pool);
}

TEST(outbuf_keeps_bytes_in_order)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct outbuf o = {0};
    struct buf want = {0};
    struct prng rng;
    static char text[70000];

    prng_init(&rng, 3);
    prng_fill(&rng, text, sizeof(text));
    for (unsigned k = 0; k < 400; k++) {
        size_t n = (size_t) prng_below(&rng, k % 50 == 0 ? sizeof(text) : 300);
        if (k % 2 == 0) {
            ck_assert(outbuf_put(&o, pool, text, n));
        } else {
            uint8_t *at = outbuf_reserve(&o, pool, n + 10);
            ck_assert_ptr_nonnull(at);
            memcpy(at, text, n);
            outbuf_commit(&o, n);
        }
        buf_put(&want, text, n);
        if (k % 20 == 0)
            compare(&o, &want);
    }
    compare(&o, &want);
    outbuf_free(&o, pool);
    ck_assert(o.head == NULL && o.tail == NULL && o.bytes == 0);
    buf_free(&want);
    chunk_pool_close(pool);
}

/* The k-th allocation fails: nothing of that put is there. */
TEST(outbuf_without_memory)
{
    struct chunk_pool *pool = chunk_pool_open();
    struct outbuf o = {0};
    struct buf want = {0};
    static char text[400000];

    memset(text, 'x', sizeof(text));
    if (i % 2 == 0) {
        ck_assert(outbuf_put(&o, pool, text, 100));
        buf_put(&want, text, 100);
    }
    mem_fail_after((unsigned) i / 2 + 1);
    ck_assert(!outbuf_put(&o, pool, text, sizeof(text)));
    mem_fail_after(0);
    compare(&o, &want);
    ck_assert(outbuf_put(&o, pool, text, sizeof(text)));
    buf_put(&want, text, sizeof(text));
    compare(&o, &want);
    outbuf_free(&o, pool);
    buf_free(&want);
    chunk_pool_close(pool);
}

static const struct runner_case cases[] = {
    RUN(frames_of_a_live_subscription),
    RUN(order_with_gathered_messages),
    RUN(many_clients),
    RUN_LOOP(reroutes_frames, 0, 2),
    RUN(rerouted_frames_keep_their_header),
    RUN(nobody_left),
    RUN(subscription_begins_to_count),
    RUN(other_receivers),
    RUN(to_another_worker),
    RUN(long_replies_are_routed),
    RUN(dropped_unsent),
    RUN(something_else_instead),
    RUN(released_within_a_delivery),
    RUN(no_memory),
    RUN(outbuf_shows_chunks_of_others),
    RUN(outbuf_keeps_bytes_in_order),
    RUN_LOOP(outbuf_without_memory, 0, 10),
};

RUNNER_MAIN("core/hold", cases)
