/*
 * consumer_pull.c - the queue of waiting pull requests. Who of them may get a message at all says
 * consumer_priority.c.
 *
 * Turns. With one request everything goes to it. With several, each gets up to `quantum` messages
 * before the next one's turn: the backlog divided by the number of requests, between 1 and 64. So
 * few messages are spread evenly, as users of work queues expect, and a long backlog moves in runs.
 *
 * A request ends by: its batch filled or its max_bytes met exactly (silently); a message that is
 * larger than what is left of its max_bytes; its expiry; no_wait and nothing more to get; its
 * receiver gone; the consumer deleted. Its heartbeat timer restarts with every message.
 *
 * While as much as max_ack_pending allows is not acknowledged, a request that does not wait stays:
 * a client that has acknowledged half of what it holds asks for more (nats.c), and an end before
 * its acks have arrived would be the end of its reading. It ends with the next timer of any request
 * of the consumer, as at the peer.
 */
#include "lib/base/mem.h"
#include "server/js/consumer_core.h"

#include <string.h>

#define QUANTUM_MAX 64u

static void end_pull(struct pull *p)
{
    struct consumer_core *c = p->core;

    wheel_stop(c->wheel, &p->expiry);
    wheel_stop(c->wheel, &p->heartbeat);
    list_remove(&p->link);
    c->npulls--;
    c->nbytes -= p->has_bytes;
    c->quantum = 0;
    mem_free(p);
}

static int64_t bytes_of(const struct pull *p)
{
    return p->has_bytes ? p->bytes_left : 0;
}

static void end_with(struct pull *p, enum consumer_status status)
{
    consumer_status_add(p->core, status, p->reply, p->left, bytes_of(p));
    end_pull(p);
}

/* Does it not wait for more? */
static bool is_over(const struct pull *p)
{
    return p->no_wait && (p->delivered > 0 || !p->expires);
}

static void end_one_shots(struct consumer_core *c)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    {
        struct pull *p = LIST_ENTRY(l, struct pull, link);
        if (is_over(p))
            end_with(p, STATUS_NO_MESSAGES);
    }
}

static void expired(struct wheel_timer *t)
{
    struct pull *p = CONTAINER_OF(t, struct pull, expiry);
    struct consumer_core *c = p->core;

    end_with(p, STATUS_REQUEST_TIMEOUT);
    end_one_shots(c);
    c->wake(c);
}

static void restart_heartbeat(struct pull *p)
{
    if (p->heartbeat_ns > 0)
        wheel_start(p->core->wheel, &p->heartbeat, p->core->now + (uint64_t) p->heartbeat_ns);
}

static void beat(struct wheel_timer *t)
{
    struct pull *p = CONTAINER_OF(t, struct pull, heartbeat);
    struct consumer_core *c = p->core;

    c->now = t->due_tick * WHEEL_TICK_NS > c->now ? t->due_tick * WHEEL_TICK_NS : c->now;
    if (!is_over(p)) {
        consumer_effect_add(c, EFFECT_HEARTBEAT)->to = mem_strdup(p->reply);
        restart_heartbeat(p);
    }
    end_one_shots(c);
    c->wake(c);
}

/* Messages that waiting requests could still take. */
static uint64_t wanted(const struct consumer_core *c)
{
    uint64_t n = 0;

    LIST_FOREACH(l, &c->pulls)
    n += (uint64_t) LIST_ENTRY(l, struct pull, link)->left;
    return n;
}

/* A status that refuses the request, or STATUS_COUNT; in the order in which nats-server looks. */
static enum consumer_status refusal(struct consumer_core *c, const struct pull_spec *s)
{
    const struct consumer_rules *r = &c->rules;
    uint64_t available = c->num_pending;
    enum consumer_status no;

    if (r->push)
        return STATUS_PUSH_BASED;
    if (s->heartbeat_ns > 0 && s->heartbeat_ns > s->expires_ns / 2)
        return STATUS_BAD_HEARTBEAT;
    if (s->too_late)
        return STATUS_REQUEST_TIMEOUT;
    if (r->max_batch > 0 && s->batch > r->max_batch)
        return STATUS_EXCEEDED_BATCH;
    if (r->max_expires_ns > 0 && s->expires_ns > r->max_expires_ns)
        return STATUS_EXCEEDED_EXPIRES;
    if (r->max_bytes > 0 && s->max_bytes > r->max_bytes)
        return STATUS_EXCEEDED_BYTES;
    if ((no = consumer_priority_refusal(c, s)) != STATUS_COUNT)
        return no;
    LIST_FOREACH(l, &c->ready)
    available++;
    if (s->no_wait && available == 0 && s->expires_ns == 0)
        return STATUS_NO_MESSAGES;
    if (s->no_wait && available > 0 && available < wanted(c))
        return STATUS_REQUESTS_PENDING;
    if (c->npulls >= r->max_waiting)
        return STATUS_EXCEEDED_WAITING;
    return STATUS_COUNT;
}

static uint32_t turn_length(const struct consumer_core *c)
{
    uint64_t share;

    if (c->npulls <= 1)
        return QUANTUM_MAX;
    share = c->num_pending / c->npulls;
    return share < 1 ? 1 : (share > QUANTUM_MAX ? QUANTUM_MAX : (uint32_t) share);
}

void consumer_core_pull(struct consumer_core *c, uint64_t now, const struct pull_spec *spec,
                        struct str reply)
{
    enum consumer_status no;
    struct pull *p;

    c->now = now;
    p = mem_zalloc(sizeof(*p) + reply.n + 1);
    memcpy(p->reply, reply.p, reply.n);
    p->reply_len = (uint32_t) reply.n;
    no = refusal(c, spec);
    if (no != STATUS_COUNT) {
        /* With heartbeats the client would ask again at once: let it miss them instead. */
        if (no != STATUS_EXCEEDED_WAITING || spec->heartbeat_ns == 0)
            consumer_status_add(c, no, p->reply, spec->too_late ? 0 : spec->batch, spec->max_bytes);
        mem_free(p);
        return;
    }
    p->core = c;
    p->left = spec->batch;
    p->has_bytes = spec->max_bytes > 0;
    p->bytes_left = spec->max_bytes;
    p->heartbeat_ns = spec->heartbeat_ns;
    p->no_wait = spec->no_wait;
    p->expires = spec->expires_ns > 0;
    consumer_priority_take(p, spec);
    wheel_timer_init(&p->expiry, expired);
    wheel_timer_init(&p->heartbeat, beat);
    consumer_priority_queue(c, p);
    c->npulls++;
    c->nbytes += p->has_bytes;
    /* The turn of one that was alone has no end. */
    if (c->quantum > turn_length(c))
        c->quantum = turn_length(c);
    if (p->expires)
        wheel_start(c->wheel, &p->expiry, now + (uint64_t) spec->expires_ns);
    restart_heartbeat(p);
}

static void use(struct pull *p, uint64_t size)
{
    p->left--;
    p->delivered++;
    if (!p->has_bytes)
        return;
    p->bytes_left -= (int64_t) size;
    if (p->bytes_left == 0)
        p->left = 0; /* met exactly: it ends like one whose batch is filled */
}

struct pull *consumer_pull_next(struct consumer_core *c, uint64_t size, uint64_t pending)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    {
        struct pull *p = LIST_ENTRY(l, struct pull, link);
        enum fit fit = consumer_priority_fit(c, p, pending);
        if (fit == FIT_LATER)
            continue;
        if (fit == FIT_WRONG_PIN) {
            end_with(p, STATUS_WRONG_PIN);
            continue;
        }
        if (p->has_bytes && size > (uint64_t) p->bytes_left) {
            end_with(p, STATUS_SIZE_EXCEEDS_MAX_BYTES);
            continue;
        }
        consumer_priority_chosen(c, p);
        if (c->quantum == 0)
            c->quantum = turn_length(c);
        use(p, size);
        return p;
    }
    return NULL;
}

void consumer_pull_passed(struct consumer_core *c)
{
    end_one_shots(c);
}

void consumer_core_sent(struct consumer_core *c, struct pull *p)
{
    if (p == NULL)
        return;
    restart_heartbeat(p);
    if (p->left == 0) {
        if (p->has_bytes && p->bytes_left > 0)
            end_with(p, STATUS_BATCH_COMPLETED);
        else
            end_pull(p);
        return;
    }
    if (--c->quantum == 0 && c->npulls > 1) {
        list_remove(&p->link);
        consumer_priority_queue(c, p);
    }
}

void consumer_core_end(struct consumer_core *c, uint64_t now)
{
    c->now = now;
    /* Whatever became of messages that were counted. */
    c->num_pending = 0;
    end_one_shots(c);
}

void consumer_core_stalled(struct consumer_core *c, uint64_t now)
{
    c->now = now;
    end_one_shots(c);
}

void consumer_core_end_pulls(struct consumer_core *c, enum consumer_status status)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    end_with(LIST_ENTRY(l, struct pull, link), status);
}

struct pull *consumer_core_first_pull(const struct consumer_core *c)
{
    LIST_FOREACH(l, &c->pulls)
    {
        struct pull *p = LIST_ENTRY(l, struct pull, link);
        if (consumer_priority_fit(c, p, c->num_pending) == FIT_NOW)
            return p;
    }
    return NULL;
}

void consumer_core_leave(struct pull *p)
{
    end_pull(p);
}

void consumer_core_prune(struct consumer_core *c, bool (*keep)(void *ctx, struct str reply),
                         void *ctx)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    {
        struct pull *p = LIST_ENTRY(l, struct pull, link);
        if (!keep(ctx, str_from(p->reply, p->reply_len)))
            end_pull(p);
    }
}

void consumer_core_drop_pull(struct consumer_core *c, struct str reply)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    {
        struct pull *p = LIST_ENTRY(l, struct pull, link);
        if (str_eq(str_from(p->reply, p->reply_len), reply))
            end_pull(p);
    }
}

void consumer_pull_deinit(struct consumer_core *c)
{
    LIST_FOREACH_SAFE(l, tmp, &c->pulls)
    end_pull(LIST_ENTRY(l, struct pull, link));
}
