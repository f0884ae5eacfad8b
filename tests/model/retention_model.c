/* retention_model.c - loops over arrays, nothing clever. */
#include "tests/model/retention_model.h"

#include <string.h>

#define EACH_CONSUMER(m, c)                                                                        \
    for (struct m_consumer *c = (m)->consumers; c < (m)->consumers + M_CONSUMERS; c++)             \
        if (c->exists)

unsigned m_count(const struct model *m)
{
    unsigned n = 0;

    for (uint64_t seq = 1; seq <= m->last; seq++)
        n += m->msgs[seq].there;
    return n;
}

uint64_t m_first(const struct model *m)
{
    for (uint64_t seq = 1; seq <= m->last; seq++)
        if (m->msgs[seq].there)
            return seq;
    return m->last + 1;
}

bool m_wants(const struct m_consumer *c, unsigned subject)
{
    return (c->subjects >> subject & 1) != 0;
}

unsigned m_ack_pending(const struct m_consumer *c)
{
    unsigned n = 0;

    for (uint64_t seq = 1; seq < M_SEQS; seq++)
        n += c->pend[seq].there;
    return n;
}

unsigned m_redelivered(const struct m_consumer *c)
{
    unsigned n = 0;

    for (uint64_t seq = 1; seq < M_SEQS; seq++)
        n += (c->pend[seq].there && c->pend[seq].deliveries > 1) || c->given_up[seq];
    return n;
}

uint64_t m_pending(const struct model *m, const struct m_consumer *c)
{
    uint64_t n = 0;

    for (uint64_t seq = c->next; seq <= m->last; seq++)
        n += m->msgs[seq].there && m_wants(c, m->msgs[seq].subject);
    return n;
}

/* The floor is below the oldest message that is pending, and never goes back. */
static void move_floor(struct m_consumer *c)
{
    for (uint64_t seq = 1; seq < M_SEQS; seq++)
        if (c->pend[seq].there) {
            if (seq - 1 > c->floor_s)
                c->floor_s = seq - 1;
            if (c->pend[seq].dseq - 1 > c->floor_c)
                c->floor_c = c->pend[seq].dseq - 1;
            return;
        }
    c->floor_s = c->next - 1;
    c->floor_c = c->delivered;
}

/* ---- retention ------------------------------------------------------------------------------- */

void m_remove(struct model *m, uint64_t seq)
{
    if (!m->msgs[seq].there)
        return;
    m->msgs[seq].there = false;
    EACH_CONSUMER(m, c)
    {
        c->given_up[seq] = false;
        if (c->pend[seq].there) {
            c->pend[seq].there = false;
            move_floor(c);
        }
    }
}

static bool needs(const struct m_consumer *c, uint64_t seq, unsigned subject)
{
    return c->pend[seq].there || c->given_up[seq] || (seq >= c->next && m_wants(c, subject));
}

static bool is_needed(struct model *m, uint64_t seq)
{
    EACH_CONSUMER(m, c)
    if (needs(c, seq, m->msgs[seq].subject))
        return true;
    return false;
}

/* An interest stream has nothing that nobody needs. */
static void settle(struct model *m)
{
    if (m->retention != M_INTEREST)
        return;
    for (uint64_t seq = 1; seq <= m->last; seq++)
        if (m->msgs[seq].there && !is_needed(m, seq))
            m_remove(m, seq);
}

static void obey_limits(struct model *m)
{
    while (m->max_msgs > 0 && m_count(m) > m->max_msgs)
        m_remove(m, m_first(m));
}

void m_publish(struct model *m, unsigned subject)
{
    uint64_t seq = ++m->last;

    m->msgs[seq] = (struct m_msg){.subject = subject, .stored = m->wall, .there = true};
    settle(m);
    obey_limits(m);
}

/* A purge leaves a consumer that has something to do with it in front of what is left. */
static void move_behind(struct model *m, struct m_consumer *c, unsigned subjects)
{
    uint64_t next = m_first(m), floor, oldest = 1;
    bool left = false;

    if (subjects != M_ALL && (c->subjects & ~subjects) != 0 && (subjects & ~c->subjects) != 0)
        return;
    for (uint64_t seq = 1; seq <= m->last; seq++)
        left |= m->msgs[seq].there && (subjects >> m->msgs[seq].subject & 1) != 0;
    if (subjects != M_ALL && (c->subjects & ~subjects) == 0 && !left)
        next = m->last + 1;
    while (oldest < M_SEQS && !c->pend[oldest].there)
        oldest++;
    floor = oldest < next ? oldest - 1 : next - 1;
    if (next > c->next)
        c->next = next;
    if (oldest == M_SEQS)
        move_floor(c);
    else if (floor > c->floor_s)
        c->floor_s = floor;
}

void m_purge(struct model *m, unsigned subjects, uint64_t before, unsigned keep)
{
    uint64_t seq = before - 1 < m->last ? before - 1 : m->last;

    for (; seq > 0; seq--)
        if (m->msgs[seq].there && (subjects >> m->msgs[seq].subject & 1) != 0) {
            if (keep > 0)
                keep--;
            else
                m_remove(m, seq);
        }
    EACH_CONSUMER(m, c)
    move_behind(m, c, subjects);
}

void m_set_max(struct model *m, unsigned max_msgs)
{
    m->max_msgs = max_msgs;
    obey_limits(m);
}

/* ---- time ------------------------------------------------------------------------------------ */

/* What is due and was delivered often enough is given up; the message stays. */
static void come_due(struct model *m, struct m_consumer *c)
{
    for (uint64_t seq = 1; seq < M_SEQS; seq++) {
        struct m_pend *p = &c->pend[seq];
        if (p->there && !p->ready && m->tick >= p->due)
            p->ready = true;
        if (p->there && p->ready && c->max_deliver > 0 && p->deliveries >= c->max_deliver) {
            p->there = false;
            c->given_up[seq] = true;
            move_floor(c);
        }
    }
}

static void grow_old(struct model *m, unsigned ticks)
{
    m->wall += ticks;
    for (uint64_t seq = 1; m->ages && seq <= m->last; seq++)
        if (m->wall >= m->msgs[seq].stored + M_MAX_AGE)
            m_remove(m, seq);
}

void m_tick(struct model *m)
{
    m->tick++;
    grow_old(m, 1);
    EACH_CONSUMER(m, c)
    come_due(m, c);
}

/* Who waits for acks waits anew. */
void m_restart(struct model *m, unsigned ticks, unsigned jump)
{
    m->tick += ticks;
    grow_old(m, ticks + jump);
    EACH_CONSUMER(m, c)
    for (uint64_t seq = 1; seq < M_SEQS; seq++) {
        c->pend[seq].ready = false;
        c->pend[seq].due = m->tick + M_ACK_WAIT;
    }
}

/* ---- consumers ------------------------------------------------------------------------------- */

struct m_consumer *m_create(struct model *m, unsigned i, unsigned subjects, bool from_new)
{
    struct m_consumer *c = &m->consumers[i];

    memset(c, 0, sizeof(*c));
    c->exists = true;
    c->subjects = subjects;
    c->next = from_new ? m->last + 1 : m_first(m);
    c->floor_s = c->next - 1;
    return c;
}

void m_delete(struct model *m, unsigned i)
{
    m->consumers[i].exists = false;
    settle(m);
}

void m_filter(struct model *m, struct m_consumer *c, unsigned subjects)
{
    c->subjects = subjects;
    settle(m);
}

void m_reset(struct model *m, struct m_consumer *c, uint64_t seq)
{
    memset(c->pend, 0, sizeof(c->pend));
    memset(c->given_up, 0, sizeof(c->given_up));
    c->next = seq;
    c->delivered = c->floor_c = 0;
    c->floor_s = seq - 1;
    settle(m);
}

static void done_with(struct model *m, struct m_consumer *c, uint64_t seq)
{
    c->pend[seq].there = c->given_up[seq] = false;
    if (m->retention == M_WORKQUEUE)
        m_remove(m, seq);
}

void m_ack(struct model *m, struct m_consumer *c, uint64_t seq)
{
    if (!c->ack_all) {
        if (!c->pend[seq].there && !c->given_up[seq])
            return;
        done_with(m, c, seq);
    } else {
        if (seq <= c->floor_s || seq >= c->next)
            return;
        for (uint64_t k = 1; k <= seq; k++) {
            if (c->pend[k].there)
                c->floor_c = c->pend[k].dseq;
            if (c->pend[k].there || c->given_up[k])
                done_with(m, c, k);
        }
        c->floor_s = seq;
    }
    move_floor(c);
    settle(m);
}

void m_nak(struct model *m, struct m_consumer *c, uint64_t seq, bool delayed)
{
    struct m_pend *p = &c->pend[seq];

    if (!p->there)
        return;
    p->ready = !delayed;
    p->due = m->tick + M_NAK_DELAY;
    come_due(m, c);
}

void m_working(struct model *m, struct m_consumer *c, uint64_t seq)
{
    if (!c->pend[seq].ready)
        c->pend[seq].due = m->tick + M_ACK_WAIT;
}

static uint64_t next_new(const struct model *m, const struct m_consumer *c)
{
    for (uint64_t seq = c->next; seq <= m->last; seq++)
        if (m->msgs[seq].there && m_wants(c, m->msgs[seq].subject))
            return seq;
    return 0;
}

static bool any_ready(const struct m_consumer *c)
{
    for (uint64_t seq = 1; seq < M_SEQS; seq++)
        if (c->pend[seq].there && c->pend[seq].ready)
            return true;
    return false;
}

bool m_more(const struct model *m, const struct m_consumer *c)
{
    if (any_ready(c))
        return true;
    return m_ack_pending(c) < c->max_ack_pending && next_new(m, c) != 0;
}

const char *m_delivered(struct model *m, struct m_consumer *c, uint64_t seq, unsigned deliveries,
                        uint64_t dseq, uint64_t pending)
{
    struct m_pend *p = &c->pend[seq];

    if (seq >= M_SEQS || !m->msgs[seq].there)
        return "there is no such message";
    if (p->there) {
        if (!p->ready)
            return "it was not due again";
        p->deliveries++;
    } else {
        if (any_ready(c))
            return "a new one before those that are due again";
        if (m_ack_pending(c) >= c->max_ack_pending)
            return "more than max_ack_pending";
        if (seq != next_new(m, c))
            return "it is not the next one";
        *p = (struct m_pend){.there = true, .deliveries = 1, .dseq = dseq};
        c->next = seq + 1;
    }
    p->ready = false;
    p->due = m->tick + M_ACK_WAIT;
    if (++c->delivered != dseq)
        return "the consumer sequence is wrong";
    if (p->deliveries != deliveries)
        return "the number of deliveries is wrong";
    return pending == m_pending(m, c) ? NULL : "the number of pending messages is wrong";
}
