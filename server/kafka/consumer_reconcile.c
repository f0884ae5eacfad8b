/*
 * consumer_reconcile.c - one member's way from what it owns to its target.
 *
 *     assigned - target       to be given up: REVOKING, told to the member by their absence; its
 *                             epoch stays until it says that it owns none of them
 *     target - assigned       its own as soon as nobody else owns it; UNRELEASED while somebody
 *                             does. The member is at the target's epoch then
 *
 * A partition has one owner at most: who has it among assigned or revoking.
 */
#include "lib/base/assert.h"
#include "server/kafka/consumer_int.h"

static void disown_all(struct consumer_group *g, struct parts *s)
{
    for (size_t i = 0; i < s->n; i++)
        consumer_own(g, s->p[i], NULL);
    parts_clear(s);
}

void consumer_release(struct consumer_group *g, struct consumer_member *m)
{
    disown_all(g, &m->assigned);
    disown_all(g, &m->revoking);
}

/* What it is to have and nobody has. True: nothing is missing. */
static bool take_free(struct consumer_group *g, struct consumer_member *m,
                      const struct parts *wanted)
{
    bool all = true;

    for (size_t i = 0; i < wanted->n; i++) {
        if (consumer_owner(g, wanted->p[i]) != NULL) {
            all = false;
            continue;
        }
        consumer_own(g, wanted->p[i], m);
        parts_add(&m->assigned, wanted->p[i]);
    }
    parts_sort(&m->assigned);
    return all;
}

static void set_epoch(struct consumer_member *m, int32_t epoch)
{
    if (m->epoch == epoch)
        return;
    m->previous = m->epoch;
    m->epoch = epoch;
}

void consumer_reconcile(struct consumer_group *g, struct consumer_member *m,
                        const struct parts *owned, uint64_t now)
{
    struct parts keep = {0}, lose = {0}, have = {0}, want = {0};

    if (m->state == CONSUMER_STABLE && m->epoch == g->target_epoch)
        return;
    if (m->state == CONSUMER_UNREVOKED) {
        if (owned == NULL || parts_meet(owned, &m->revoking))
            return;
        disown_all(g, &m->revoking);
        m->state = CONSUMER_STABLE;
    }
    parts_split(&m->assigned, &m->target, &keep, &lose);
    parts_copy(&m->assigned, &keep);
    if (lose.n > 0 && (owned == NULL || parts_meet(owned, &lose))) {
        parts_copy(&m->revoking, &lose);
        m->state = CONSUMER_UNREVOKED;
        m->revoke_by = now + (uint64_t) m->rebalance_ms * 1000000;
    } else {
        disown_all(g, &lose);
        parts_split(&m->target, &m->assigned, &have, &want);
        m->state = take_free(g, m, &want) ? CONSUMER_STABLE : CONSUMER_UNRELEASED;
        set_epoch(m, g->target_epoch);
    }
    parts_free(&keep);
    parts_free(&lose);
    parts_free(&have);
    parts_free(&want);
}
