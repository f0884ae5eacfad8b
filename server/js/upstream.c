/*
 * upstream.c - mirrors and sources: asks an origin for a consumer, stores what it sends, and knows
 * what has become durable.
 *
 * Everything goes through subjects, as if the origin were elsewhere: a request to its API (with the
 * prefix of `external`), a push consumer without acknowledgements (`direct`: not listed, not
 * stored) to a subject of ours, heartbeats each second, flow control. So it makes no difference on
 * which worker the origin lives.
 *
 * What is asked for: a mirror asks for what is behind its last sequence, a source for what is
 * behind its position (upstream_positions.c). An origin with interest or work-queue retention would
 * lose what it has sent to a consumer without acknowledgements: it makes a durable one instead (the
 * request says `sourcing`, and a name that stays the same), whose acknowledgements are the answers
 * to flow control. It goes on behind what was acknowledged; what was taken before is recognised by
 * its sequence. A server that knows nothing of this is asked again without it.
 *
 * Nothing is confirmed upwards before it is durable: an answer to flow control waits for the commit
 * that carries what came before it. So an origin that sends faster than the disk takes is slowed
 * down by its own window.
 *
 * A mirror keeps sequences: what the origin does not have, or filters out, is a skip. A source
 * writes Nats-Stream-Source into each message. Both leave out Nats-Expected-* and Nats-Batch-*,
 * which were about the publish at the origin.
 *
 * An origin that was deleted and made anew has another identity (a hash of its time of creation,
 * Nats-Stream-Identity): a source begins at its first message again. A mirror, whose sequences are
 * the origin's, waits until the new one has come past them.
 *
 * Here: one upstream's life, all of a stream, and what its commits mean. The other parts are in
 * upstream_ask.c, upstream_take.c, upstream_direct.c and upstream_info.c.
 */
#include "server/js/upstream.h"

#include "lib/base/mem.h"
#include "lib/io/io.h"
#include "server/js/stream_int.h"
#include "server/js/upstream_int.h"

/* While the stream reads its duplicate window or its positions back. */
#define LOADING_NS 20000000u

uint64_t upstream_now(const struct upstream *u)
{
    return io_now(u->s->js->env->io);
}

void upstream_arm(struct upstream *u)
{
    io_timer_start(u->s->js->env->io, &u->timer, u->core.due);
}

bool upstream_send(struct upstream *u, struct str subject, struct str reply, struct str header,
                   struct str payload)
{
    struct env *env = u->s->js->env;
    struct msg m = {.subject = subject,
                    .reply = reply,
                    .header = header,
                    .payload = payload,
                    .flags = MSG_F_SYSTEM};
    struct route_result res = route_publish(env->router, u->s->js->account, &m);

    route_flush(env->router);
    return res.receivers > 0;
}

struct interest_sub *upstream_listen(struct upstream *u, struct sink *sink, struct str subject)
{
    struct env *env = u->s->js->env;

    return interest_add(u->s->js->account->interest, &(struct interest_spec){.pattern = subject,
                                                                             .worker = env->worker,
                                                                             .sink = sink->self,
                                                                             .internal = true});
}

void upstream_unlisten(struct upstream *u, struct interest_sub **sub)
{
    if (*sub != NULL)
        interest_remove(u->s->js->account->interest, *sub);
    *sub = NULL;
}
/* ---- ending ---------------------------------------------------------------------------------- */

void upstream_clear_error(struct upstream *u)
{
    u->error = (struct js_error){0};
    mem_free(u->error_text);
    u->error_text = NULL;
}

/* The consumer is not heard any more; nor what is said about it. */
void upstream_hang_up(struct upstream *u)
{
    upstream_unlisten(u, &u->answers_interest);
    upstream_unlisten(u, &u->messages_interest);
    upstream_direct_stop(u);
    mem_free(u->flow_reply);
    u->flow_reply = NULL;
}

/* Best effort: without us it ends by itself. */
static void delete_consumer(struct upstream *u)
{
    struct buf plain = {0}, subject = {0};

    if (u->config.has_consumer || u->core.state == UPSTREAM_IDLE || u->s->js->stopping)
        return;
    buf_printf(&plain, "$JS.API.CONSUMER.DELETE.%s.%s", u->config.name, u->consumer);
    source_config_api(&u->config, buf_cstr(&plain), &subject);
    /* Only requests with a reply are heard. */
    upstream_send(u, buf_str(&subject), str_of(u->reply), STR_NONE, STR_NONE);
    buf_free(&plain);
    buf_free(&subject);
}

void upstream_failed(struct upstream *u, enum js_error_kind kind, const char *text)
{
    upstream_hang_up(u);
    upstream_clear_error(u);
    js_fail(&u->error, kind, "%s", text);
    upstream_core_failed(&u->core, upstream_now(u));
    upstream_arm(u);
}

/* ---- one upstream's life --------------------------------------------------------------------- */

static void fire(struct wheel_timer *t)
{
    struct upstream *u = CONTAINER_OF(t, struct upstream, timer);
    struct stream *s = u->s;

    if (s->failed || s->js->stopping)
        return;
    if (s->load != NULL && u->core.state == UPSTREAM_IDLE) {
        u->core.due = upstream_now(u) + LOADING_NS;
        upstream_arm(u);
        return;
    }
    switch (upstream_core_timer(&u->core, upstream_now(u))) {
    case UPSTREAM_ASK:
        upstream_ask(u);
        break;
    case UPSTREAM_DROP:
        upstream_hang_up(u);
        upstream_arm(u);
        break;
    default:
        upstream_arm(u);
        break;
    }
}

static struct upstream *upstream_new(struct stream *s, json_t *object, bool mirror)
{
    struct upstream *u = mem_zalloc(sizeof(*u));
    struct buf err = {0};

    u->s = s;
    u->mirror = mirror;
    source_config_read(object, false, &u->config, &err);
    source_config_index_name(&u->config, &u->name);
    u->transforms = mem_array(u->config.nmappings + 1, sizeof(struct transform *));
    for (size_t i = 0; i < u->config.nmappings; i++) {
        const struct source_mapping *m = &u->config.mappings[i];
        u->transforms[i] = m->dest != NULL
                               ? transform_new(str_of(m->src), str_of(m->dest), TRANSFORM_ANY, NULL)
                               : NULL;
    }
    buf_free(&err);
    list_init(&u->commits);
    wheel_timer_init(&u->timer, fire);
    u->answers.ops = &upstream_answers_ops;
    u->messages.ops = &upstream_messages_ops;
    router_sink_add(s->js->env->router, &u->answers);
    router_sink_add(s->js->env->router, &u->messages);
    list_push_back(&s->upstreams, &u->link);
    return u;
}

static void forget_commit(struct upstream_commit *c)
{
    list_remove(&c->link);
    mem_free(c);
}

static void forget_commits(struct upstream *u)
{
    struct list *l;

    while ((l = list_first(&u->commits)) != NULL)
        forget_commit(LIST_ENTRY(l, struct upstream_commit, link));
}

static void upstream_free(struct upstream *u)
{
    struct env *env = u->s->js->env;

    upstream_hang_up(u);
    forget_commits(u);
    io_timer_stop(env->io, &u->timer);
    router_sink_remove(env->router, &u->answers);
    router_sink_remove(env->router, &u->messages);
    list_remove(&u->link);
    upstream_clear_error(u);
    buf_free(&u->name);
    mem_free(u->deliver);
    for (size_t i = 0; i < u->config.nmappings; i++)
        transform_free(u->transforms[i]);
    mem_free(u->transforms);
    source_config_release(&u->config);
    mem_free(u);
}

/* Positions are known. */
static void upstream_start(struct upstream *u)
{
    if (u->mirror)
        u->durable = u->s->assigned;
    else
        stream_positions_of(u->s, u);
    u->begun = u->durable;
    upstream_core_init(&u->core, upstream_now(u), u->durable);
    upstream_arm(u);
}

/* ---- all of a stream ------------------------------------------------------------------------- */

static struct upstream *find(struct stream *s, struct str name, bool mirror)
{
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (u->mirror == mirror && str_eq(buf_str(&u->name), name))
            return u;
    }
    return NULL;
}

static void index_name(json_t *object, struct buf *out)
{
    struct source_config c;
    struct buf err = {0};

    buf_clear(out);
    if (source_config_read(object, false, &c, &err)) {
        source_config_index_name(&c, out);
        source_config_release(&c);
    }
    buf_free(&err);
}

static bool wanted(const struct stream *s, const struct upstream *u)
{
    struct buf name = {0};
    bool is = false;
    size_t i;
    json_t *item;

    if (u->mirror)
        return json_is_object(s->config.mirror);
    json_array_foreach(s->config.sources, i, item)
    {
        index_name(item, &name);
        is |= str_eq(buf_str(&name), buf_str(&u->name));
    }
    buf_free(&name);
    return is;
}

static void add_missing(struct stream *s)
{
    struct buf name = {0};
    size_t i;
    json_t *item;

    if (json_is_object(s->config.mirror)) {
        index_name(s->config.mirror, &name);
        if (find(s, buf_str(&name), true) == NULL)
            upstream_start(upstream_new(s, s->config.mirror, true));
    }
    json_array_foreach(s->config.sources, i, item)
    {
        index_name(item, &name);
        if (find(s, buf_str(&name), false) == NULL)
            upstream_start(upstream_new(s, item, false));
    }
    buf_free(&name);
}

void stream_positions_loaded(struct stream *s)
{
    add_missing(s);
}

void stream_upstreams_start(struct stream *s)
{
    if (s->failed)
        return;
    if (json_array_size(s->config.sources) > 0)
        stream_positions_load(s);
    else
        add_missing(s);
}

void stream_upstreams_change(struct stream *s)
{
    LIST_FOREACH_SAFE(l, next, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        if (!wanted(s, u)) {
            delete_consumer(u);
            upstream_free(u);
        } else {
            upstream_direct_stop(u);
            if (u->core.state == UPSTREAM_ACTIVE)
                upstream_direct_start(u);
        }
    }
    stream_upstreams_start(s);
}

void stream_upstreams_leave(struct stream *s)
{
    LIST_FOREACH(l, &s->upstreams)
    delete_consumer(LIST_ENTRY(l, struct upstream, link));
}

void stream_upstreams_stop(struct stream *s)
{
    struct list *l;

    while ((l = list_first(&s->upstreams)) != NULL)
        upstream_free(LIST_ENTRY(l, struct upstream, link));
    stream_positions_free(s);
}

/* ---- commits --------------------------------------------------------------------------------- */

void stream_upstreams_begun(struct stream *s)
{
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        struct upstream_commit *c;
        if (u->core.sseq == u->begun)
            continue;
        c = mem_zalloc(sizeof(*c));
        c->last = s->assigned;
        c->sseq = u->begun = u->core.sseq;
        list_push_back(&u->commits, &c->link);
    }
}

/* Applies what is durable now; true when something was. *through: the stream's sequence up to which
 * that accounts for everything. */
static bool settle(struct upstream *u, uint64_t *through)
{
    struct list *l;
    bool any = false;

    while ((l = list_first(&u->commits)) != NULL) {
        struct upstream_commit *c = LIST_ENTRY(l, struct upstream_commit, link);
        if (c->last > u->s->durable)
            break;
        any = true;
        u->durable = c->sseq;
        *through = c->last > *through ? c->last : *through;
        forget_commit(c);
    }
    return any;
}

void stream_upstreams_committed(struct stream *s)
{
    const struct upstream *changed[16];
    uint64_t through = 0;
    size_t n = 0;

    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        upstream_answer_flow(u);
        if (!settle(u, &through) || u->mirror)
            continue;
        if (n == ARRAY_LEN(changed)) {
            stream_positions_save(s, 0, changed, n);
            n = 0;
        }
        changed[n++] = u;
    }
    if (n > 0 || stream_positions_behind(s))
        stream_positions_save(s, n > 0 ? through : s->durable, changed, n);
}

/* What was not durable has never been: everything behind is asked for again. */
void stream_upstreams_refused(struct stream *s)
{
    struct js_error err = {0};

    js_fail(&err, JS_ERR_STREAM_STORE_FAILED, "no space left on device");
    LIST_FOREACH(l, &s->upstreams)
    {
        struct upstream *u = LIST_ENTRY(l, struct upstream, link);
        forget_commits(u);
        u->begun = u->mirror ? s->assigned : u->durable;
        upstream_give_back(u, u->begun, &err);
    }
}
