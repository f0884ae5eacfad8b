/*
 * consumer_push.c - what only push consumers have: interest in the deliver subject, idle
 * heartbeats, flow control.
 *
 * Interest. A watch tells when the first subscriber appears and the last one goes, on whatever
 * thread changed it; a small task carries the edge to the consumer's worker, addressed by the
 * handle of its sink, so that a consumer deleted meanwhile is not found. There is one watch in the
 * consumer's account and one in each account that imports the deliver subject, as they are when the
 * consumer starts; nheard counts those that have a subscriber.
 *
 * Heartbeats. One is due when nothing has been sent for the interval: the timer looks at when the
 * last message went, so that messages need not restart it.
 *
 * Flow control. fc_bytes counts what was sent and not confirmed. Over half a window without an
 * outstanding request, one is sent; its answer takes those bytes off and doubles the window up to
 * FLOW_WINDOW_MAX. Above the window nothing is sent.
 */
#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/consumer_int.h"

#include <stdio.h>
#include <string.h>

#define FLOW_WINDOW_MAX (32u << 20)

/* ---- interest -------------------------------------------------------------------------------- */

struct edge_task {
    struct env_task task;
    handle sink;
    bool on;
};

struct watch_ctx {
    struct env *env; /* of the consumer's worker; only its post is used */
    handle sink;
};

static void run_edge(struct env_task *task, struct env *env)
{
    struct edge_task *e = CONTAINER_OF(task, struct edge_task, task);
    struct sink *sink = router_sink_get(env->router, e->sink);

    if (sink != NULL && sink->ops == &consumer_sink_ops) {
        struct consumer *c = CONTAINER_OF(sink, struct consumer, sink);
        c->nheard = e->on ? c->nheard + 1 : c->nheard > 0 ? c->nheard - 1 : 0;
        c->interested = c->nheard > 0;
        consumer_touch(c);
        if (e->on)
            consumer_wake(c);
    }
    mem_free(e);
}

static void edge(void *ctx, bool on)
{
    struct watch_ctx *w = ctx;
    struct edge_task *e = mem_zalloc(sizeof(*e));

    e->task.run = run_edge;
    e->sink = w->sink;
    e->on = on;
    w->env->post(w->env, w->env->worker, &e->task);
}

/* ---- flow control ---------------------------------------------------------------------------- */

static void ask_flow(struct consumer *c)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char reply[640];

    for (unsigned i = 0; i < 4; i++)
        c->fc_reply[i] = digits[prng_below(c->js->env->prng, 62)];
    c->fc_reply[4] = '\0';
    c->fc_asked_bytes = c->fc_bytes;
    snprintf(reply, sizeof(reply), "%s%s", c->fc_prefix, c->fc_reply);
    js_publish(c->js, str_of(c->config.deliver_subject), str_of(reply),
               STR("NATS/1.0 100 FlowControl Request\r\n\r\n"), STR_NONE);
}

/* Acknowledged by flow control alone: nothing else would come to make room. */
static bool acks_are_full(const struct consumer *c)
{
    return c->config.ack_policy == ACK_FLOW_CONTROL &&
           c->core.pending.count >= (size_t) c->config.max_ack_pending;
}

void consumer_pushed(struct consumer *c, uint64_t size)
{
    c->last_pushed = io_now(c->js->env->io);
    if (!c->config.flow_control)
        return;
    c->fc_bytes += size;
    if (c->fc_reply[0] == '\0' && (c->fc_bytes > c->fc_window / 2 || acks_are_full(c)))
        ask_flow(c);
}

/* The answer says how far its sender has come. */
static void take_flow_ack(struct consumer *c, const struct msg *m)
{
    struct str text = header_get(m->header, STR("Nats-Last-Stream"));
    uint64_t seq;

    if (c->config.ack_policy != ACK_FLOW_CONTROL || text.p == NULL || !str_to_u64(text, &seq))
        return;
    if (consumer_core_ack(&c->core, io_now(c->js->env->io), seq)) {
        c->last_ack = io_wall(c->js->env->io);
        consumer_save_later(c);
    }
}

void consumer_take_flow_reply(struct consumer *c, const struct msg *m)
{
    struct str last = subject_token(m->subject, subject_count_tokens(m->subject) - 1);

    if (c->fc_reply[0] == '\0' || !str_eq(last, str_of(c->fc_reply)))
        return;
    if (c->fc_window < FLOW_WINDOW_MAX)
        c->fc_window *= 2;
    c->fc_bytes -= c->fc_asked_bytes < c->fc_bytes ? c->fc_asked_bytes : c->fc_bytes;
    c->fc_asked_bytes = 0;
    c->fc_reply[0] = '\0';
    take_flow_ack(c, m);
    consumer_wake(c);
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

static void start_heartbeat(struct consumer *c)
{
    struct io *io = c->js->env->io;

    if (c->config.idle_heartbeat_ns > 0)
        io_timer_start(io, &c->heartbeat, io_now(io) + (uint64_t) c->config.idle_heartbeat_ns);
}

static void beat(struct wheel_timer *t)
{
    struct consumer *c = CONTAINER_OF(t, struct consumer, heartbeat);

    uint64_t due = c->last_pushed + (uint64_t) c->config.idle_heartbeat_ns;

    if (due > io_now(c->js->env->io)) {
        io_timer_start(c->js->env->io, t, due);
        return;
    }
    if (c->interested) {
        consumer_send_heartbeat(c, str_of(c->config.deliver_subject));
        if (c->config.ack_policy == ACK_FLOW_CONTROL && c->core.pending.count > 0 &&
            c->fc_reply[0] == '\0')
            ask_flow(c);
    }
    start_heartbeat(c);
}

/* ---- start and stop -------------------------------------------------------------------------- */

static void watch(void *ctx, struct account *a, struct str subject)
{
    struct consumer *c = ctx;
    struct consumer_watch *w;
    bool now;

    c->watches = mem_realloc(c->watches, (c->nwatches + 1) * sizeof(*c->watches));
    w = &c->watches[c->nwatches++];
    w->account = a;
    w->watch = interest_watch(a->interest, subject, edge, c->watch_ctx, &now);
    c->nheard += now;
}

void consumer_start_push(struct consumer *c)
{
    struct watch_ctx *w = mem_zalloc(sizeof(*w));

    w->env = c->js->env;
    w->sink = c->sink.self;
    c->watch_ctx = w;
    c->nheard = 0;
    account_reaches(c->js->account, str_of(c->config.deliver_subject), watch, c);
    c->interested = c->nheard > 0;
    wheel_timer_init(&c->heartbeat, beat);
    start_heartbeat(c);
}

void consumer_stop_push(struct consumer *c)
{
    if (c->watches == NULL)
        return;
    for (unsigned i = 0; i < c->nwatches; i++)
        interest_unwatch(c->watches[i].account->interest, c->watches[i].watch);
    mem_free(c->watches);
    mem_free(c->watch_ctx);
    c->watches = NULL;
    c->nwatches = 0;
    c->watch_ctx = NULL;
    io_timer_stop(c->js->env->io, &c->heartbeat);
}
