/*
 * group_join.c - JoinGroup and SyncGroup: who may, and what becomes of it in each state.
 *
 * A join of a member whose protocols are what they were changes nothing while the generation is
 * young (COMPLETING: the answer was lost) or stable, unless the leader asks: that is how it demands
 * another assignment.
 *
 * A static member that comes back under its instance without an id takes the place of the one that
 * was: a new id, the old assignment, no rebalance if the protocols are the same. Whoever still uses
 * the old id is fenced.
 */
#include "lib/base/assert.h"
#include "server/kafka/group_int.h"
#include "server/kafka/kafka_error.h"

#define MS 1000000u

/* ---- joining --------------------------------------------------------------------------------- */

/* What can be said of a join without looking for the member. */
static int16_t check(const struct group *g, const struct group_join *q)
{
    if (q->session_ms < g->rules->session_min_ms || q->session_ms > g->rules->session_max_ms)
        return KAFKA_INVALID_SESSION_TIMEOUT;
    if (q->nprotocols > GROUP_PROTOCOLS_MAX)
        return KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (g->bytes + group_protocol_bytes(q->protocols, q->nprotocols) > g->rules->max_bytes ||
        !group_may_hold_join(g, q))
        return KAFKA_GROUP_MAX_SIZE_REACHED;
    return KAFKA_NONE;
}

/* The one who waited under this member's name hears that somebody else does now. */
static void wait_join(struct group *g, struct group_member *m, void *who)
{
    void *old = m->join;

    m->join = who;
    m->joining = true;
    if (old != NULL)
        group_refuse_join(g, old, m->id, KAFKA_REBALANCE_IN_PROGRESS);
}

static void update_and_rebalance(struct group *g, struct group_member *m,
                                 const struct group_join *q, uint64_t now)
{
    group_answer_sync(m, KAFKA_REBALANCE_IN_PROGRESS, g);
    group_update(g, m, q);
    group_begin_joining(g, now);
    wait_join(g, m, q->who);
    group_rebalance(g, now);
}

static void add(struct group *g, const struct group_join *q, struct str id, uint64_t now)
{
    struct group_member *m = group_add(g, q, id);

    g->arrived = g->state == GROUP_PREPARING;
    group_begin_joining(g, now);
    group_set_deadline(g, &m->deadline, now + g->rules->newcomer_ns);
    wait_join(g, m, q->who);
    group_rebalance(g, now);
}

static void answer_now(struct group *g, struct group_member *m, void *who, uint64_t now)
{
    ASSERT(m->join == NULL);
    m->join = who;
    group_answer_join(g, m, now);
}

/* ---- static members -------------------------------------------------------------------------- */

/* As before, in the new place: no rebalance. Older clients take themselves for the leader, and make
 * assignments, when they are told so: they are told of the id that was. */
static void come_back(struct group *g, struct group_member *m, const struct group_join *q,
                      struct str old_leader, uint64_t now)
{
    bool leads = g->leader == m;

    group_touch(g, m, now);
    g->out->joined(q->who,
                   &(struct group_joined){.generation = g->generation,
                                          .protocol_type = g->protocol_type,
                                          .protocol = g->protocol,
                                          .leader = q->can_skip ? g->leader->id : old_leader,
                                          .member_id = m->id,
                                          .skip_assignment = q->can_skip && leads,
                                          .group = q->can_skip && leads ? g : NULL});
}

static void replace(struct group *g, struct group_member *m, const struct group_join *q,
                    uint64_t now)
{
    struct str id = group_make_id(g, q), old_leader = group_own(g->leader->id);
    bool same = group_same_protocols(m, q);
    void *who = m->join;

    m->join = NULL;
    if (who != NULL)
        group_refuse_join(g, who, m->id, KAFKA_FENCED_INSTANCE_ID);
    group_answer_sync(m, KAFKA_FENCED_INSTANCE_ID, g);
    group_rename(g, m, id);
    if (g->state == GROUP_STABLE && same) {
        group_update(g, m, q);
        come_back(g, m, q, old_leader, now);
    } else {
        update_and_rebalance(g, m, q, now);
    }
    group_disown(&id);
    group_disown(&old_leader);
}

/* ---- without an id --------------------------------------------------------------------------- */

static void join_unknown(struct group *g, const struct group_join *q, uint64_t now)
{
    struct group_member *m = q->instance.p != NULL ? group_find_instance(g, q->instance) : NULL;
    struct str id;

    if (!group_supports(g, m, q)) {
        group_refuse_join(g, q->who, STR(""), KAFKA_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    if (m != NULL) {
        replace(g, m, q, now);
        return;
    }
    if (g->nmembers + g->npending >= g->rules->max_members) {
        group_refuse_join(g, q->who, STR(""), KAFKA_GROUP_MAX_SIZE_REACHED);
        return;
    }
    id = group_make_id(g, q);
    if (q->need_id && q->instance.p == NULL) {
        group_add_pending(g, id, now + (uint64_t) q->session_ms * MS);
        group_refuse_join(g, q->who, id, KAFKA_MEMBER_ID_REQUIRED);
    } else {
        add(g, q, id, now);
    }
    group_disown(&id);
}

/* ---- with one -------------------------------------------------------------------------------- */

static void join_pending(struct group *g, struct group_pending *p, const struct group_join *q,
                         uint64_t now)
{
    if (!group_supports(g, NULL, q)) {
        group_refuse_join(g, q->who, q->member_id, KAFKA_INCONSISTENT_GROUP_PROTOCOL);
        return;
    }
    group_drop_pending(g, p);
    add(g, q, q->member_id, now);
}

static void join_known(struct group *g, const struct group_join *q, uint64_t now)
{
    struct group_pending *p = q->instance.p == NULL ? group_find_pending(g, q->member_id) : NULL;
    struct group_member *m;
    int16_t error;

    if (p != NULL) {
        join_pending(g, p, q, now);
        return;
    }
    error = group_check_member(g, q->member_id, q->instance, &m);
    if (error == KAFKA_NONE && !group_supports(g, m, q))
        error = KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (error != KAFKA_NONE)
        group_refuse_join(g, q->who, q->member_id, error);
    else if (g->state == GROUP_COMPLETING && group_same_protocols(m, q))
        answer_now(g, m, q->who, now);
    else if (g->state == GROUP_STABLE && g->leader != m && group_same_protocols(m, q))
        answer_now(g, m, q->who, now);
    else
        update_and_rebalance(g, m, q, now);
}

void group_join(struct group *g, const struct group_join *q, uint64_t now)
{
    int16_t error = check(g, q);

    group_tick(g, now);
    if (error != KAFKA_NONE)
        group_refuse_join(g, q->who, q->member_id, error);
    else if (q->member_id.n == 0)
        join_unknown(g, q, now);
    else
        join_known(g, q, now);
}

/* ---- syncing --------------------------------------------------------------------------------- */

static int16_t check_sync(const struct group *g, const struct group_sync *q,
                          struct group_member **m)
{
    int16_t error = group_check_member(g, q->member_id, q->instance, m);

    if (error != KAFKA_NONE)
        return error;
    if (q->generation != g->generation)
        return KAFKA_ILLEGAL_GENERATION;
    if (q->protocol_type.p != NULL && !str_eq(q->protocol_type, g->protocol_type))
        return KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    if (q->protocol.p != NULL && !str_eq(q->protocol, g->protocol))
        return KAFKA_INCONSISTENT_GROUP_PROTOCOL;
    return g->state == GROUP_PREPARING ? KAFKA_REBALANCE_IN_PROGRESS : KAFKA_NONE;
}

static void take_assignments(struct group *g, const struct group_sync *q)
{
    for (uint32_t i = 0; i < q->nassignments; i++) {
        struct group_member *m = group_find(g, q->assignments[i].name);
        if (m != NULL)
            group_assign(g, m, q->assignments[i].metadata);
    }
}

/* The leader's: everybody has an assignment now, if an empty one. */
static void become_stable(struct group *g, uint64_t now)
{
    g->state = GROUP_STABLE;
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->syncing) {
            group_touch(g, m, now);
            group_answer_sync(m, KAFKA_NONE, g);
        }
    }
}

void group_sync(struct group *g, const struct group_sync *q, uint64_t now)
{
    struct group_member *m;
    int16_t error;

    group_tick(g, now);
    error = check_sync(g, q, &m);
    if (error == KAFKA_NONE && g->leader == m && g->state == GROUP_COMPLETING &&
        (g->bytes + group_protocol_bytes(q->assignments, q->nassignments) > g->rules->max_bytes ||
         !group_may_hold_sync(g, q)))
        error = KAFKA_GROUP_MAX_SIZE_REACHED;
    if (error != KAFKA_NONE) {
        group_refuse_sync(g, q->who, error);
        return;
    }
    group_answer_sync(m, KAFKA_REBALANCE_IN_PROGRESS, g);
    m->sync = q->who;
    m->syncing = m->synced = true;
    group_touch(g, m, now);
    if (g->state == GROUP_COMPLETING && g->leader == m) {
        take_assignments(g, q);
        become_stable(g, now);
    } else if (g->state == GROUP_STABLE) {
        group_answer_sync(m, KAFKA_NONE, g);
    }
}
