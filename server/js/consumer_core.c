/*
 * consumer_core.c - deliveries, acknowledgements and the ack floor.
 *
 * A message's way:  NEW --deliver--> PENDING(waiting) --ack/term--> gone
 *                                     |   ^
 *                 ack wait, nak, backoff   deliver again
 *                                     v   |
 *                                   PENDING(ready)  --over max_deliver--> GIVEN UP, with an
 * advisory
 *
 * A message that was given up is not delivered again by itself; retention keeps it until a late
 * acknowledgement, its removal or a reset.
 *
 * Invariants (consumer_core_check): floor.stream < every pending sseq; floor <= delivered in both
 * components; a ready entry has no timer and a waiting one has; num_redelivered counts entries with
 * deliveries > 1. With ACK_NONE nothing is ever pending and the floor is what is delivered.
 */
#include "server/js/consumer_core.h"

#include "lib/base/mem.h"
#include "server/js/consumer_state.h"

#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

void consumer_core_init(struct consumer_core *c, const struct consumer_rules *rules,
                        struct wheel *wheel, void (*wake)(struct consumer_core *))
{
    memset(c, 0, sizeof(*c));
    c->rules = *rules;
    c->wheel = wheel;
    c->wake = wake;
    c->next_seq = 1;
    pend_table_init(&c->pending);
    list_init(&c->ready);
    list_init(&c->pulls);
    consumer_priority_init(c);
}

void consumer_core_deinit(struct consumer_core *c)
{
    struct pend *p;

    consumer_pull_deinit(c);
    consumer_priority_deinit(c);
    while ((p = pend_first(&c->pending)) != NULL) {
        wheel_stop(c->wheel, &p->due);
        pend_remove(&c->pending, p);
    }
    pend_table_deinit(&c->pending);
    seqset_free(&c->given_up);
    consumer_core_clear_effects(c);
    mem_free(c->effects);
    buf_free(&c->log);
}

void consumer_core_start(struct consumer_core *c, uint64_t first_seq)
{
    c->next_seq = first_seq;
    c->delivered.stream = first_seq - 1;
    c->floor.stream = first_seq - 1;
}

void consumer_core_set_rules(struct consumer_core *c, const struct consumer_rules *rules)
{
    c->rules = *rules;
    if (rules->priority_policy != PRIORITY_PINNED_CLIENT)
        consumer_priority_deinit(c);
}

/* ---- effects --------------------------------------------------------------------------------- */

struct consumer_effect *consumer_effect_add(struct consumer_core *c, enum effect_kind kind)
{
    struct consumer_effect *e;

    if (c->neffects == c->effects_cap) {
        c->effects_cap = c->effects_cap == 0 ? 8 : c->effects_cap * 2;
        c->effects = mem_realloc(c->effects, c->effects_cap * sizeof(*e));
    }
    e = &c->effects[c->neffects++];
    *e = (struct consumer_effect){.kind = kind};
    return e;
}

void consumer_status_add(struct consumer_core *c, enum consumer_status status, const char *reply,
                         int64_t left, int64_t bytes)
{
    struct consumer_effect *e = consumer_effect_add(c, EFFECT_STATUS);

    e->status = status;
    e->to = mem_strdup(reply);
    e->left = left;
    e->bytes = bytes;
}

void consumer_core_clear_effects(struct consumer_core *c)
{
    for (size_t i = 0; i < c->neffects; i++)
        mem_free(c->effects[i].to);
    c->neffects = 0;
}

/* Consecutive sequences become one effect: retention removes ranges. */
static void note_acked(struct consumer_core *c, uint64_t first, uint64_t last)
{
    struct consumer_effect *e = c->neffects > 0 ? &c->effects[c->neffects - 1] : NULL;

    if (e != NULL && e->kind == EFFECT_ACKED && e->last + 1 == first) {
        e->last = last;
        return;
    }
    e = consumer_effect_add(c, EFFECT_ACKED);
    e->seq = first;
    e->last = last;
}

/* ---- pending --------------------------------------------------------------------------------- */

static uint64_t wait_for(const struct consumer_core *c, uint64_t deliveries)
{
    const struct consumer_rules *r = &c->rules;
    uint64_t step;

    if (r->nbackoff == 0)
        return (uint64_t) r->ack_wait_ns;
    step = deliveries > 0 ? deliveries - 1 : 0;
    return (uint64_t) r->backoff_ns[step < r->nbackoff ? step : r->nbackoff - 1];
}

static bool is_over(const struct consumer_core *c, const struct pend *p)
{
    return c->rules.max_deliver > 0 && p->deliveries >= (uint64_t) c->rules.max_deliver;
}

/* What will be given up goes first: that does not need anybody who waits for messages. */
static void make_ready(struct pend *p)
{
    struct consumer_core *c = p->core;

    if (p->state == PEND_READY)
        return;
    wheel_stop(c->wheel, &p->due);
    p->state = PEND_READY;
    if (is_over(c, p))
        list_push_front(&c->ready, &p->ready);
    else
        list_push_back(&c->ready, &p->ready);
}

static void came_due(struct wheel_timer *t)
{
    struct pend *p = CONTAINER_OF(t, struct pend, due);
    struct consumer_core *c = p->core;

    make_ready(p);
    c->wake(c);
}

static void start_waiting(struct pend *p, uint64_t ns)
{
    list_remove(&p->ready);
    p->state = PEND_WAITING;
    if (p->core->rules.ack_policy != ACK_FLOW_CONTROL)
        wheel_start(p->core->wheel, &p->due, p->core->now + ns);
}

void consumer_core_restart_wait(struct pend *p)
{
    wheel_timer_init(&p->due, came_due);
    p->sent_at = p->core->now;
    start_waiting(p, wait_for(p->core, p->deliveries));
}

static struct pend *add_pending(struct consumer_core *c, uint64_t sseq, uint64_t dseq)
{
    struct pend *p = pend_add(&c->pending, sseq);

    p->core = c;
    p->dseq = dseq;
    p->deliveries = 1;
    p->sent_at = c->now;
    wheel_timer_init(&p->due, came_due);
    return p;
}

static void drop_pending(struct consumer_core *c, struct pend *p)
{
    wheel_stop(c->wheel, &p->due);
    if (p->deliveries > 1)
        c->num_redelivered--;
    pend_remove(&c->pending, p);
}

/* The floor follows the oldest pending message; with none it is everything delivered. */
static void move_floor(struct consumer_core *c)
{
    const struct pend *oldest = pend_first(&c->pending);

    if (oldest == NULL) {
        c->floor = c->delivered;
        return;
    }
    if (oldest->sseq - 1 > c->floor.stream)
        c->floor.stream = oldest->sseq - 1;
    if (oldest->dseq - 1 > c->floor.consumer)
        c->floor.consumer = oldest->dseq - 1;
}

/* ---- delivering ------------------------------------------------------------------------------ */

static bool someone_waits(const struct consumer_core *c)
{
    return c->rules.push || !list_empty(&c->pulls);
}

static void exceed_max_deliver(struct consumer_core *c, struct pend *p)
{
    struct consumer_effect *e = consumer_effect_add(c, EFFECT_MAX_DELIVERIES);

    e->seq = p->sseq;
    e->count = p->deliveries;
    consumer_log(c, OP_GIVE_UP, p->sseq);
    seqset_add(&c->given_up, p->sseq, p->sseq);
    drop_pending(c, p);
    move_floor(c);
}

enum consumer_want consumer_core_want(struct consumer_core *c, uint64_t now, uint64_t *seq)
{
    struct list *l;

    c->now = now;
    while ((l = list_first(&c->ready)) != NULL) {
        struct pend *p = LIST_ENTRY(l, struct pend, ready);
        if (is_over(c, p)) {
            exceed_max_deliver(c, p);
            continue;
        }
        if (!someone_waits(c))
            return WANT_NOTHING;
        *seq = p->sseq;
        return WANT_SEQ;
    }
    if (!someone_waits(c))
        return WANT_NOTHING;
    if (c->rules.ack_policy != ACK_NONE && c->rules.max_ack_pending > 0 &&
        c->pending.count >= (size_t) c->rules.max_ack_pending)
        return WANT_ACKS;
    return WANT_NEW;
}

static void deliver_again(struct consumer_core *c, struct pend *p, struct delivery *out)
{
    p->deliveries++;
    p->sent_at = c->now;
    if (p->deliveries == 2)
        c->num_redelivered++;
    out->dseq = ++c->delivered.consumer;
    out->deliveries = p->deliveries;
    consumer_log(c, OP_REDELIVER, p->sseq);
    start_waiting(p, wait_for(c, p->deliveries));
}

static void deliver_new(struct consumer_core *c, uint64_t seq, struct delivery *out)
{
    out->dseq = ++c->delivered.consumer;
    out->deliveries = 1;
    c->delivered.stream = seq;
    c->next_seq = seq + 1;
    if (c->num_pending > 0)
        c->num_pending--;
    consumer_log(c, OP_DELIVER, seq);
    if (c->rules.ack_policy == ACK_NONE) {
        c->floor = c->delivered;
        note_acked(c, seq, seq);
        return;
    }
    start_waiting(add_pending(c, seq, out->dseq), wait_for(c, 1));
}

void consumer_core_preview(const struct consumer_core *c, uint64_t seq, struct delivery *out)
{
    const struct pend *p = seq < c->next_seq ? pend_find(&c->pending, seq) : NULL;

    out->to = NULL;
    out->dseq = c->delivered.consumer + 1;
    out->deliveries = p != NULL ? p->deliveries + 1 : 1;
    out->pending = c->num_pending - (p == NULL && c->num_pending > 0);
}

bool consumer_core_counts_bytes(const struct consumer_core *c)
{
    return c->nbytes > 0;
}

bool consumer_core_deliver(struct consumer_core *c, uint64_t now, uint64_t seq, uint64_t size,
                           struct delivery *out)
{
    struct pend *p;

    c->now = now;
    out->to = NULL;
    p = seq < c->next_seq ? pend_find(&c->pending, seq) : NULL;
    if (!c->rules.push) {
        out->to = consumer_pull_next(c, size, c->num_pending + (p != NULL));
        if (out->to == NULL) {
            consumer_pull_passed(c);
            return false;
        }
    }
    if (p != NULL)
        deliver_again(c, p, out);
    else
        deliver_new(c, seq, out);
    out->pending = c->num_pending;
    return true;
}

void consumer_core_undeliverable(struct consumer_core *c, uint64_t now, uint64_t seq,
                                 struct str reply)
{
    struct pend *p = pend_find(&c->pending, seq);

    c->now = now;
    if (reply.n > 0)
        consumer_core_drop_pull(c, reply);
    if (p == NULL)
        return;
    /* The attempt does not count against max_deliver, also after a crash. The consumer sequence
     * stays used. */
    if (p->deliveries > 0) {
        consumer_log(c, OP_TAKE_BACK, seq);
        if (--p->deliveries == 1)
            c->num_redelivered--;
    }
    make_ready(p);
}

void consumer_core_gone(struct consumer_core *c, uint64_t seq)
{
    consumer_core_removed(c, seq, seq);
}

static bool drop_one(struct consumer_core *c, struct pend *p)
{
    if (p == NULL)
        return false;
    consumer_log(c, OP_DROP, p->sseq);
    drop_pending(c, p);
    return true;
}

/* What was given up and has gone needs no memory. */
static void forget_given_up(struct consumer_core *c, uint64_t first, uint64_t last)
{
    uint64_t seq, end;

    while (UNLIKELY(seqset_range_from(&c->given_up, first, &seq, &end)) && seq <= last) {
        if (seq < first)
            seq = first;
        consumer_log(c, OP_DROP, seq);
        seqset_remove(&c->given_up, seq, seq);
    }
}

void consumer_core_removed(struct consumer_core *c, uint64_t first, uint64_t last)
{
    bool any = false;

    forget_given_up(c, first, last);
    if (last - first < c->pending.count) {
        for (uint64_t seq = first; seq <= last; seq++)
            any |= drop_one(c, pend_find(&c->pending, seq));
    } else {
        LIST_FOREACH_SAFE(l, tmp, &c->pending.order)
        {
            struct pend *p = LIST_ENTRY(l, struct pend, order);
            if (p->sseq >= first && p->sseq <= last)
                any |= drop_one(c, p);
        }
    }
    if (!any)
        return;
    move_floor(c);
    /* There may be room for new ones below max_ack_pending, and no ack comes to say so. */
    c->wake(c);
}

bool consumer_core_cut(struct consumer_core *c, uint64_t last)
{
    /* Who has delivered nothing may wait for what is still to come. */
    if (c->next_seq <= last + 1 || c->delivered.consumer == 0)
        return false;
    consumer_core_removed(c, last + 1, UINT64_MAX);
    c->next_seq = last + 1;
    if (c->delivered.stream > last)
        c->delivered.stream = last;
    if (c->floor.stream > last)
        c->floor.stream = last;
    return true;
}

bool consumer_core_purged(struct consumer_core *c, uint64_t next)
{
    const struct pend *oldest = pend_first(&c->pending);
    uint64_t floor = oldest != NULL && oldest->sseq < next ? oldest->sseq - 1 : next - 1;

    if (next <= c->next_seq && floor <= c->floor.stream)
        return false;
    if (next > c->next_seq) {
        c->next_seq = next;
        c->delivered.stream = next - 1;
    }
    if (oldest == NULL)
        c->floor = c->delivered;
    else if (floor > c->floor.stream)
        c->floor.stream = floor;
    return true;
}

void consumer_core_reset(struct consumer_core *c, uint64_t seq)
{
    struct pend *p;

    while ((p = pend_first(&c->pending)) != NULL)
        drop_pending(c, p);
    seqset_free(&c->given_up);
    c->next_seq = seq;
    c->delivered = c->floor = (struct seq_pair){.stream = seq - 1};
    c->wake(c);
}

void consumer_core_appended(struct consumer_core *c, uint64_t matching)
{
    c->num_pending += matching;
}

/* ---- acknowledgements ------------------------------------------------------------------------ */

static bool ack_one(struct consumer_core *c, uint64_t sseq)
{
    struct pend *p = pend_find(&c->pending, sseq);

    if (p == NULL && !seqset_has(&c->given_up, sseq))
        return false;
    consumer_log(c, OP_ACK, sseq);
    if (p != NULL)
        drop_pending(c, p);
    else
        seqset_remove(&c->given_up, sseq, sseq);
    move_floor(c);
    note_acked(c, sseq, sseq);
    return true;
}

/* What was given up is acknowledged with what was delivered behind it. */
static void ack_given_up(struct consumer_core *c, uint64_t last)
{
    uint64_t first, end;

    while (seqset_range_from(&c->given_up, 0, &first, &end) && first <= last) {
        if (end > last)
            end = last;
        seqset_remove(&c->given_up, first, end);
        note_acked(c, first, end);
    }
}

static bool ack_all(struct consumer_core *c, uint64_t sseq)
{
    struct pend *p;

    if (sseq <= c->floor.stream || sseq >= c->next_seq)
        return false;
    consumer_log(c, OP_ACK_ALL, sseq);
    /* What was not delivered here is none of its business: others may still need it. */
    while ((p = pend_first(&c->pending)) != NULL && p->sseq <= sseq) {
        c->floor.consumer = p->dseq;
        note_acked(c, p->sseq, p->sseq);
        drop_pending(c, p);
    }
    ack_given_up(c, sseq);
    c->floor.stream = sseq;
    move_floor(c);
    return true;
}

bool consumer_core_ack(struct consumer_core *c, uint64_t now, uint64_t sseq)
{
    c->now = now;
    switch (c->rules.ack_policy) {
    case ACK_EXPLICIT:
        return ack_one(c, sseq);
    case ACK_ALL:
    case ACK_FLOW_CONTROL:
        return ack_all(c, sseq);
    default:
        return false;
    }
}

/* With policy all it takes everything before it along, as an acknowledgement does. */
bool consumer_core_term(struct consumer_core *c, uint64_t now, uint64_t sseq)
{
    return consumer_core_ack(c, now, sseq);
}

bool consumer_core_nak(struct consumer_core *c, uint64_t now, uint64_t sseq, int64_t delay_ns)
{
    struct pend *p = pend_find(&c->pending, sseq);

    c->now = now;
    if (p == NULL)
        return false;
    if (delay_ns > 0)
        start_waiting(p, (uint64_t) delay_ns);
    else
        make_ready(p);
    return true;
}

bool consumer_core_working(struct consumer_core *c, uint64_t now, uint64_t sseq)
{
    struct pend *p = pend_find(&c->pending, sseq);

    c->now = now;
    if (p == NULL)
        return false;
    if (p->state == PEND_WAITING)
        start_waiting(p, wait_for(c, p->deliveries));
    return true;
}

uint64_t consumer_core_age(const struct consumer_core *c, uint64_t now, uint64_t sseq)
{
    const struct pend *p = pend_find(&c->pending, sseq);

    return p != NULL && now > p->sent_at ? now - p->sent_at : 0;
}

/* ---- proof ----------------------------------------------------------------------------------- */

void consumer_core_check(const struct consumer_core *c)
{
    uint64_t last = 0, redelivered = 0;
    size_t count = 0;

    ASSERT(c->floor.stream <= c->delivered.stream);
    ASSERT(c->floor.consumer <= c->delivered.consumer);
    ASSERT(c->delivered.stream < c->next_seq || c->next_seq == 0);
    LIST_FOREACH(l, &c->pending.order)
    {
        const struct pend *p = LIST_ENTRY(l, struct pend, order);
        ASSERT(p->sseq > last && p->sseq > c->floor.stream && p->sseq <= c->delivered.stream);
        ASSERT(pend_find(&c->pending, p->sseq) == p);
        ASSERT(!seqset_has(&c->given_up, p->sseq));
        ASSERT((p->state == PEND_READY) == list_linked(&p->ready));
        ASSERT((p->state == PEND_WAITING && c->rules.ack_policy != ACK_FLOW_CONTROL) ==
               wheel_pending(&p->due));
        last = p->sseq;
        count++;
        redelivered += p->deliveries > 1;
    }
    ASSERT(count == c->pending.count);
    ASSERT(redelivered == c->num_redelivered);
    ASSERT(c->rules.ack_policy != ACK_NONE || count == 0);
}
