/*
 * sub.c - a client's subscription: a sink that turns messages into MSG and HMSG operations.
 *
 * A subscription that reaches its max inside a delivery can not leave the interest there (the
 * router is walking it): it is marked by delivered >= max, takes nothing more, and is removed in
 * net_step. With several workers an UNSUB leaves the interest at once, but the sink keeps its slot
 * until a fence has passed, so that what was already routed to it still arrives.
 */
#include "lib/base/buf.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "lib/wire/nats_write.h"
#include "server/auth/permissions.h"
#include "server/config/options.h"
#include "server/net/conn.h"
#include "server/net/leaf.h"

#include <string.h>

#define CONTIGUOUS_MAX 65536u

/* ---- rendering ------------------------------------------------------------------------------- */

/* Clients without header support get the payload alone. */
static struct str header_for(const struct conn *c, const struct msg *m)
{
    return c->headers ? m->header : STR_NONE;
}

static size_t write_line(const struct sub *s, const struct msg *m, struct str header, char *out)
{
    struct nats_to to = {.subject = m->subject, .sid = sub_sid(s), .reply = m->reply};
    uint32_t total = (uint32_t) (header.n + m->payload.n);

    return header.n > 0 ? nats_write_hmsg(out, &to, (uint32_t) header.n, total)
                        : nats_write_msg(out, &to, total);
}

static char *copy(char *out, struct str s)
{
    if (s.n == 0)
        return out;
    memcpy(out, s.p, s.n);
    return out + s.n;
}

/* A payload goes out where it lies if that saves enough copying, and does not keep much more memory
 * than it has bytes. */
static bool worth_a_view(const struct msg *m)
{
    return m->payload.n >= MSG_SLICE_MIN && m->chunk != NULL && m->payload.n >= m->chunk->cap / 4;
}

/* Any size, in as many chunks as it takes. */
static bool write_large(const struct sub *s, const struct msg *m, struct str header,
                        struct outbuf *o, struct chunk_pool *pool)
{
    char *start = (char *) outbuf_reserve(o, pool,
                                          nats_msg_max(m->subject.n, s->sid_n, m->reply.n));

    if (start == NULL)
        return false;
    outbuf_commit(o, write_line(s, m, header, start));
    if (!outbuf_put(o, pool, header.p, header.n))
        return false;
    if (worth_a_view(m) ? !outbuf_put_view(o, pool, m->chunk, m->payload.p, m->payload.n)
                        : !outbuf_put(o, pool, m->payload.p, m->payload.n))
        return false;
    return outbuf_put(o, pool, "\r\n", 2);
}

/* Appends the whole operation; false when memory is short. */
static bool write_msg(const struct sub *s, const struct msg *m, struct outbuf *o,
                      struct chunk_pool *pool)
{
    struct str header = header_for(s->conn, m);
    size_t line_max = nats_msg_max(m->subject.n, s->sid_n, m->reply.n);
    size_t body = header.n + m->payload.n + 2;
    char *start, *p;

    if (LIKELY(line_max + body <= CONTIGUOUS_MAX) &&
        (LIKELY(m->payload.n < MSG_SLICE_MIN) || !worth_a_view(m))) {
        start = (char *) outbuf_reserve(o, pool, line_max + body);
        if (start == NULL)
            return false;
        p = start + write_line(s, m, header, start);
        if (header.n > 0)
            p = copy(p, header);
        p = copy(p, m->payload);
        *p++ = '\r';
        *p++ = '\n';
        outbuf_commit(o, (size_t) (p - start));
        return true;
    }
    return write_large(s, m, header, o, pool);
}

/* ---- the sink -------------------------------------------------------------------------------- */

static bool finished(const struct sub *s)
{
    return s->max > 0 && s->delivered >= s->max;
}

static void note_finished(struct sub *s)
{
    if (finished(s) && !list_linked(&s->dead_link))
        list_push_back(&s->conn->net->dead_subs, &s->dead_link);
}

static void count_out(struct conn *c, uint64_t msgs, uint64_t bytes)
{
    c->out_msgs += msgs;
    c->out_bytes += bytes;
    c->net->stats.out_msgs += msgs;
    c->net->stats.out_bytes += bytes;
}

static __attribute__((noinline)) void trace_out(const struct sub *s, const struct msg *m)
{
    char *line = mem_alloc(nats_msg_max(m->subject.n, s->sid_n, m->reply.n));

    conn_trace_out(s->conn, str_from(line, write_line(s, m, header_for(s->conn, m), line)));
    mem_free(line);
    /* What a service is asked about a client has its password in it. */
    if (!str_eq(m->subject, STR("$SYS.REQ.USER.AUTH")))
        conn_trace_payload(s->conn, "->>", header_for(s->conn, m), m->payload);
}

static __attribute__((noinline)) void trace_delsub(const struct sub *s)
{
    char who[CONN_TEXT_MAX];

    log_print(s->conn->net->env->log, LOG_TRACE, "%s - <-> [DELSUB %.*s]", conn_text(s->conn, who),
              STR_ARG(sub_sid(s)));
}

static unsigned deliver(struct sink *sink, const struct msg *run, unsigned n)
{
    struct sub *s = CONTAINER_OF(sink, struct sub, sink);
    struct conn *c = s->conn;
    bool trace = log_on(c->net->env->log, LOG_TRACE);
    uint64_t before = c->out.bytes;
    uint64_t payload = 0;
    unsigned done = 0;

    if (c->state == CONN_CLOSING)
        return 0;
    while (done < n && !finished(s)) {
        if (!write_msg(s, &run[done], &c->out, c->net->env->chunks)) {
            conn_close(c, REASON_SLOW_PENDING);
            return done;
        }
        if (UNLIKELY(trace))
            trace_out(s, &run[done]);
        payload += run[done].header.n + run[done].payload.n;
        s->delivered++;
        done++;
    }
    note_finished(s);
    count_out(c, done, payload);
    conn_wrote(c, c->out.bytes - before);
    return done;
}

/* As deliver, for users with permissions: does not take what is denied, so that another member of a
 * queue group has it or the publisher is told of nobody, and notes what it may answer. A consumer
 * would try again for as long as somebody is subscribed, so its deliveries are dropped. */
static unsigned deliver_checked(struct sink *sink, const struct msg *run, unsigned n)
{
    struct sub *s = CONTAINER_OF(sink, struct sub, sink);
    struct conn *c = s->conn;
    unsigned done = 0;

    while (done < n) {
        const struct msg *m = &run[done];
        if (c->state == CONN_CLOSING || c->may == NULL ||
            !permissions_deny_delivery(c->may, m->subject, sub_queue(s))) {
            if (deliver(sink, m, 1) == 0)
                break;
            if (m->reply.n > 0 && c->may != NULL)
                answers_expect(c, m->reply);
        } else if (s->queue_n > 0 || (m->flags & MSG_F_BOUNCE) == 0) {
            break;
        }
        done++;
    }
    return done;
}

static void render(struct sink *sink, const struct msg *m, struct outbuf *out)
{
    struct sub *s = CONTAINER_OF(sink, struct sub, sink);

    write_msg(s, m, out, s->conn->net->env->chunks);
}

static void push(struct sink *sink, struct outbuf *out, unsigned msgs)
{
    struct sub *s = CONTAINER_OF(sink, struct sub, sink);
    struct conn *c = s->conn;
    uint64_t bytes = out->bytes;

    if (c->state == CONN_CLOSING || c->drop_output) {
        outbuf_free(out, c->net->env->chunks);
        return;
    }
    outbuf_splice(&c->out, out);
    s->delivered += msgs;
    note_finished(s);
    count_out(c, msgs, bytes);
    conn_wrote(c, bytes);
}

static void describe(struct sink *sink, const struct msg *m, struct buf *out)
{
    const struct sub *s = CONTAINER_OF(sink, struct sub, sink);

    (void) m;
    trace_put_egress(out, s);
}

static const struct sink_ops ops = {
    .deliver = deliver, .render = render, .push = push, .describe = describe, .kind = "client"};
/* With a max every message counts by itself. */
static const struct sink_ops counting_ops = {
    .deliver = deliver, .describe = describe, .kind = "client"};
static const struct sink_ops checked_ops = {
    .deliver = deliver_checked, .describe = describe, .kind = "client"};

static const struct sink_ops leaf_ops = {
    .deliver = deliver, .forward = leaf_forward, .kind = "leaf"};

static const struct sink_ops *ops_for(const struct sub *s)
{
    if (s->conn->leaf != NULL)
        return &leaf_ops;
    const struct permissions *may = s->conn->may;

    if (may != NULL && (may->sub_deny.n > 0 || may->responses))
        return &checked_ops;
    return s->max > 0 ? &counting_ops : &ops;
}

/* ---- adding and removing --------------------------------------------------------------------- */

static struct sub *find(const struct conn *c, struct str sid)
{
    uint64_t h = hash_bytes(sid.p, sid.n, c->net->seed);

    for (struct hmap_node *n = hmap_first(&c->subs, h); n != NULL; n = hmap_next(n, h)) {
        struct sub *s = CONTAINER_OF(n, struct sub, node);
        if (str_eq(sub_sid(s), sid))
            return s;
    }
    return NULL;
}

/* The account's limit is one for each connection. */
static bool fits_account(const struct conn *c)
{
    int64_t max = atomic_load_explicit(&c->account->max_subscriptions, memory_order_relaxed);

    return max < 0 || c->subs.count < (size_t) max;
}

static bool fits_claims(const struct conn *c)
{
    int64_t max = connect_own_subscriptions(c);

    return max < 0 || c->subs.count < (size_t) max;
}

struct ending {
    struct env_fence fence;
    struct env *env;
    struct sub *sub;
};

static void free_sub(struct env *env, struct sub *s)
{
    router_sink_remove(env->router, &s->sink);
    mem_free(s);
}

static void fence_passed(struct env_fence *f)
{
    struct ending *e = CONTAINER_OF(f, struct ending, fence);

    list_remove(&e->sub->dead_link);
    free_sub(e->env, e->sub);
    mem_free(e);
}

static void leave_interest(struct sub *s)
{
    if (s->interest != NULL)
        interest_remove(s->conn->account->interest, s->interest);
    s->interest = NULL;
}

/* at_once: the connection is gone, nothing can be delivered any more. */
static void remove_sub(struct sub *s, bool at_once)
{
    struct conn *c = s->conn;
    struct env *env = c->net->env;

    route_flush(env->router);
    leave_interest(s);
    list_remove(&s->dead_link);
    hmap_remove(&c->subs, &s->node);
    c->net->stats.subscriptions--;
    atomic_fetch_sub_explicit(&c->account->subscriptions, 1, memory_order_relaxed);
    if (env->workers == 1 || at_once) {
        free_sub(env, s);
        return;
    }
    struct ending *e = mem_zalloc(sizeof(*e));
    e->fence.passed = fence_passed;
    e->env = env;
    e->sub = s;
    list_push_back(&c->ending_subs, &s->dead_link);
    env->fence(env, &e->fence);
}

enum sub_verdict sub_add(struct conn *c, struct str subject, struct str queue, struct str sid)
{
    return sub_add_weighted(c, subject, queue, sid, 1);
}

enum sub_verdict sub_add_weighted(struct conn *c, struct str subject, struct str queue,
                                  struct str sid, uint16_t weight)
{
    struct env *env = c->net->env;
    const struct options *o = env->options;
    struct sub *s = find(c, sid);

    if (s != NULL && finished(s)) {
        remove_sub(s, false); /* it would go at the end of this iteration */
        s = NULL;
    }
    if (s != NULL && c->leaf != NULL)
        return SUB_SAME_SID;
    if (o->max_subscriptions > 0 && c->subs.count >= (size_t) o->max_subscriptions)
        return SUB_TOO_MANY;
    if (!fits_account(c) || !fits_claims(c))
        return SUB_TOO_MANY;
    if (s != NULL)
        return SUB_SAME_SID;
    if (!subject_valid(subject))
        return SUB_INVALID;
    s = mem_zalloc(sizeof(*s) + subject.n + queue.n + sid.n);
    s->sink.conn_id = c->cid;
    s->sink.conn = c->self;
    s->conn = c;
    s->sink.ops = ops_for(s);
    s->subject_n = (uint16_t) subject.n;
    s->queue_n = (uint16_t) queue.n;
    s->sid_n = (uint16_t) sid.n;
    copy(copy(copy(s->text, subject), queue), sid);
    s->sink.leaf = c->leaf != NULL;
    s->sink.queue = sub_queue(s);
    list_init(&s->dead_link);
    if (router_sink_add(env->router, &s->sink) == 0) {
        mem_free(s);
        return SUB_TOO_MANY;
    }
    hmap_insert(&c->subs, &s->node, hash_bytes(sid.p, sid.n, c->net->seed));
    s->interest = interest_add(c->account->interest,
                               &(struct interest_spec){.pattern = sub_subject(s),
                                                       .queue = sub_queue(s),
                                                       .worker = env->worker,
                                                       .sink = s->sink.self,
                                                       .leaf = c->leaf != NULL ? c->leaf->id : 0,
                                                       .of_hub = c->leaf != NULL && c->leaf->spoke,
                                                       .weight = weight});
    c->net->stats.subscriptions++;
    atomic_fetch_add_explicit(&c->account->subscriptions, 1, memory_order_relaxed);
    return SUB_OK;
}

void sub_remove(struct conn *c, struct str sid)
{
    struct sub *s = find(c, sid);

    if (s != NULL)
        remove_sub(s, false);
}

void sub_unsub(struct conn *c, struct str sid, uint64_t max)
{
    struct sub *s = find(c, sid);

    if (s == NULL)
        return;
    s->max = max;
    s->sink.ops = ops_for(s);
    if (max > 0 && s->delivered < max)
        return;
    if (UNLIKELY(log_on(c->net->env->log, LOG_TRACE)))
        trace_delsub(s);
    remove_sub(s, false);
}

void sub_remove_all(struct conn *c)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->subs, &it)) != NULL)
        remove_sub(CONTAINER_OF(n, struct sub, node), true);
}

void sub_drop_all(struct conn *c)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->subs, &it)) != NULL)
        remove_sub(CONTAINER_OF(n, struct sub, node), false);
}

static void say_removed(const struct sub *s)
{
    struct buf b = {0};

    buf_printf(&b, "Permissions Violation for Subscription to \"%.*s\"", STR_ARG(sub_subject(s)));
    if (s->queue_n > 0)
        buf_printf(&b, " using queue \"%.*s\"", STR_ARG(sub_queue(s)));
    buf_printf(&b, " (sid \"%.*s\")", STR_ARG(sub_sid(s)));
    conn_put_err(s->conn, buf_str(&b));
    buf_free(&b);
}

void sub_recheck(struct conn *c)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->subs, &it)) != NULL) {
        struct sub *s = CONTAINER_OF(n, struct sub, node);
        s->sink.ops = ops_for(s);
        if (c->may == NULL || permissions_may_subscribe(c->may, sub_subject(s), sub_queue(s)))
            continue;
        say_removed(s);
        remove_sub(s, false);
    }
}

struct sub *sub_matching(struct conn *c, struct str subject)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&c->subs, &it)) != NULL) {
        struct sub *s = CONTAINER_OF(n, struct sub, node);
        if (s->queue_n == 0 && subject_matches(subject, sub_subject(s)))
            return s;
    }
    return NULL;
}

void sub_reap(struct net *net)
{
    struct list *l;

    while ((l = list_first(&net->dead_subs)) != NULL) {
        struct sub *s = LIST_ENTRY(l, struct sub, dead_link);
        if (UNLIKELY(log_on(net->env->log, LOG_TRACE)))
            trace_delsub(s);
        remove_sub(s, false);
    }
}
