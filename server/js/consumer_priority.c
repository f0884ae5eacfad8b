/*
 * consumer_priority.c - priority groups: which of the waiting pulls may get the next message.
 *
 *     overflow       a pull with min_pending or min_ack_pending gets messages only while one of the
 *                    two is reached; one without both always
 *     pinned_client  all messages go to the pulls that carry the pin's id. Without a pin the first
 *                    pull without an id gets a new pin with its first message (the id is in that
 *                    message's header). A pull with another id is told so and ended. A pin ends
 * when its client has not pulled for the priority timeout, or by request. prioritized    the pulls
 * with the lowest number first, those with the same one in turn. A request that was no JSON comes
 * behind all.
 *
 * One group is pinned at a time, as at the peer: a consumer's groups share the pin. A request
 * without JSON belongs to no group and is never pinned.
 */
#include "lib/base/mem.h"
#include "server/js/consumer_core.h"

#include <string.h>

#define PRIORITY_MAX 9
#define PRIORITY_LAST 255u /* of requests that have none */

/* ---- the pin --------------------------------------------------------------------------------- */

static void unpinned(struct consumer_core *c, const char *group, bool by_request)
{
    struct consumer_effect *e = consumer_effect_add(c, EFFECT_UNPINNED);

    e->to = mem_strdup(group);
    e->seq = by_request;
}

static void drop_pin(struct consumer_core *c)
{
    wheel_stop(c->wheel, &c->pin.expiry);
    c->pin.id[0] = '\0';
}

static void expired(struct wheel_timer *t)
{
    struct consumer_core *c = CONTAINER_OF(t, struct consumer_core, pin.expiry);

    drop_pin(c);
    unpinned(c, c->pin.group, false);
    c->wake(c);
}

static void renew(struct consumer_core *c)
{
    wheel_start(c->wheel, &c->pin.expiry, c->now + (uint64_t) c->rules.pin_ns);
}

void consumer_priority_init(struct consumer_core *c)
{
    wheel_timer_init(&c->pin.expiry, expired);
}

void consumer_priority_deinit(struct consumer_core *c)
{
    drop_pin(c);
}

void consumer_core_unpin(struct consumer_core *c, struct str group)
{
    char name[PRIORITY_GROUP_MAX + 1] = {0};

    memcpy(name, group.p, group.n < PRIORITY_GROUP_MAX ? group.n : PRIORITY_GROUP_MAX);
    drop_pin(c);
    unpinned(c, name, true);
    c->wake(c);
}

void consumer_priority_chosen(struct consumer_core *c, struct pull *p)
{
    if (c->rules.priority_policy != PRIORITY_PINNED_CLIENT || c->pin.id[0] != '\0' || !p->formal)
        return;
    nuid_next(c->pin.ids, c->pin.id);
    memcpy(p->id, c->pin.id, sizeof(c->pin.id));
    memcpy(c->pin.group, p->group, sizeof(p->group));
    renew(c);
    consumer_effect_add(c, EFFECT_PINNED);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool is_group(const struct consumer_rules *r, struct str name)
{
    for (unsigned i = 0; i < r->ngroups; i++)
        if (str_eq(str_of(r->groups[i]), name))
            return true;
    return false;
}

/* In the order in which nats-server looks. */
enum consumer_status consumer_priority_refusal(struct consumer_core *c, const struct pull_spec *s)
{
    enum priority_policy policy = c->rules.priority_policy;

    if (!s->formal)
        return STATUS_COUNT;
    if ((s->min_pending != 0 || s->min_ack_pending != 0) && policy != PRIORITY_OVERFLOW)
        return STATUS_NOT_OVERFLOW;
    if (s->id.n > 0 && policy != PRIORITY_PINNED_CLIENT)
        return STATUS_NOT_PINNED;
    if (s->priority < 0 || s->priority > PRIORITY_MAX)
        return STATUS_BAD_PRIORITY;
    if (policy == PRIORITY_NONE)
        return STATUS_COUNT;
    if (s->group.n == 0)
        return STATUS_GROUP_MISSING;
    if (!is_group(&c->rules, s->group))
        return STATUS_GROUP_INVALID;
    if (c->pin.id[0] == '\0' || s->id.n == 0)
        return STATUS_COUNT;
    if (!str_eq(s->id, str_of(c->pin.id)))
        return STATUS_PIN_MISMATCH;
    renew(c);
    return STATUS_COUNT;
}

void consumer_priority_take(struct pull *p, const struct pull_spec *s)
{
    p->formal = s->formal;
    p->priority = s->formal ? (uint8_t) s->priority : PRIORITY_LAST;
    p->min_pending = s->min_pending;
    p->min_ack_pending = s->min_ack_pending;
    if (s->group.n > 0 && s->group.n <= PRIORITY_GROUP_MAX)
        memcpy(p->group, s->group.p, s->group.n);
    if (s->id.n > 0)
        memcpy(p->id, s->id.p, s->id.n < sizeof(p->id) - 1 ? s->id.n : sizeof(p->id) - 1);
}

/* ---- turns ----------------------------------------------------------------------------------- */

void consumer_priority_queue(struct consumer_core *c, struct pull *p)
{
    struct list *after = c->pulls.prev;

    if (c->rules.priority_policy == PRIORITY_PRIORITIZED) {
        while (after != &c->pulls && LIST_ENTRY(after, struct pull, link)->priority > p->priority)
            after = after->prev;
        c->quantum = 0; /* the one whose turn it is may be another one now */
    }
    list_push_front(after, &p->link);
}

static bool reached(int64_t limit, uint64_t count)
{
    return limit > 0 && (uint64_t) limit <= count;
}

static bool overflows(const struct consumer_core *c, const struct pull *p, uint64_t pending)
{
    if (p->min_pending <= 0 && p->min_ack_pending <= 0)
        return true;
    return reached(p->min_pending, pending) || reached(p->min_ack_pending, c->pending.count);
}

static enum fit fit_pin(const struct consumer_core *c, const struct pull *p)
{
    if (p->id[0] == '\0')
        return c->pin.id[0] == '\0' ? FIT_NOW : FIT_LATER;
    return strcmp(p->id, c->pin.id) == 0 ? FIT_NOW : FIT_WRONG_PIN;
}

enum fit consumer_priority_fit(const struct consumer_core *c, const struct pull *p,
                               uint64_t pending)
{
    switch (c->rules.priority_policy) {
    case PRIORITY_PINNED_CLIENT:
        return fit_pin(c, p);
    case PRIORITY_OVERFLOW:
        return overflows(c, p, pending) ? FIT_NOW : FIT_LATER;
    default:
        return FIT_NOW;
    }
}
