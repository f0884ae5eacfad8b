/* upstream_core.c - the states of upstream_core.h. */
#include "server/js/upstream_core.h"

#include "lib/base/assert.h"

void upstream_core_init(struct upstream_core *c, uint64_t now, uint64_t sseq)
{
    *c = (struct upstream_core){.state = UPSTREAM_IDLE, .due = now, .sseq = sseq};
}

static uint64_t backoff(const struct upstream_core *c)
{
    uint64_t wait = UPSTREAM_RETRY_MIN_NS;

    for (unsigned i = 1; i < c->fails && wait < UPSTREAM_RETRY_MAX_NS; i++)
        wait *= 2;
    return wait < UPSTREAM_RETRY_MAX_NS ? wait : UPSTREAM_RETRY_MAX_NS;
}

static void go_idle(struct upstream_core *c, uint64_t due)
{
    c->state = UPSTREAM_IDLE;
    c->due = due;
}

void upstream_core_failed(struct upstream_core *c, uint64_t now)
{
    c->fails++;
    go_idle(c, now + backoff(c));
}

void upstream_core_refused(struct upstream_core *c, uint64_t now, uint64_t sseq)
{
    c->sseq = sseq;
    go_idle(c, now + UPSTREAM_REFUSED_NS);
}

void upstream_core_again(struct upstream_core *c, uint64_t now, uint64_t sseq)
{
    c->sseq = sseq;
    go_idle(c, now);
}

enum upstream_do upstream_core_timer(struct upstream_core *c, uint64_t now)
{
    if (now < c->due)
        return UPSTREAM_NOTHING;
    switch (c->state) {
    case UPSTREAM_IDLE:
        c->state = UPSTREAM_ASKING;
        c->due = now + UPSTREAM_ANSWER_NS;
        return UPSTREAM_ASK;
    case UPSTREAM_ACTIVE:
        if (now - c->heard < UPSTREAM_SILENCE_NS) {
            c->due = c->heard + UPSTREAM_SILENCE_NS;
            return UPSTREAM_NOTHING;
        }
        break;
    default:
        break;
    }
    upstream_core_failed(c, now);
    return UPSTREAM_DROP;
}

void upstream_core_created(struct upstream_core *c, uint64_t now, uint64_t delivered,
                           uint64_t pending, bool exact)
{
    ASSERT(c->state == UPSTREAM_ASKING);
    c->state = UPSTREAM_ACTIVE;
    c->fails = 0;
    c->dseq = 0;
    c->seen = delivered;
    if (exact || delivered > c->sseq)
        c->sseq = delivered;
    c->lag = pending;
    c->heard = now;
    c->due = now + UPSTREAM_SILENCE_NS;
}

enum upstream_verdict upstream_core_message(struct upstream_core *c, uint64_t now, uint64_t sseq,
                                            uint64_t dseq, uint64_t pending, uint64_t *skipped)
{
    if (c->state != UPSTREAM_ACTIVE || dseq <= c->dseq)
        return UPSTREAM_STRAY;
    c->heard = now;
    if (dseq != c->dseq + 1) {
        go_idle(c, now);
        return UPSTREAM_LOST;
    }
    c->dseq = dseq;
    c->seen = sseq;
    c->lag = pending;
    if (sseq <= c->sseq)
        return UPSTREAM_OLD;
    *skipped = sseq - c->sseq - 1;
    c->sseq = sseq;
    return UPSTREAM_TAKE;
}

bool upstream_core_heartbeat(struct upstream_core *c, uint64_t now, uint64_t dseq)
{
    if (c->state != UPSTREAM_ACTIVE)
        return true;
    c->heard = now;
    if (dseq == 0 || dseq == c->dseq)
        return true;
    go_idle(c, now);
    return false;
}

void upstream_core_check(const struct upstream_core *c)
{
    ASSERT(c->state <= UPSTREAM_ACTIVE);
    ASSERT(c->state != UPSTREAM_ACTIVE || c->heard != 0);
    ASSERT(c->dseq == 0 || c->heard != 0);
}
