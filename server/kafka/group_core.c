/*
 * group_core.c - the generations of a group.
 *
 *               a member joins                 all are in, or time is up
 *     EMPTY ------------------> PREPARING ------------------------------> COMPLETING
 *       ^                        ^     |                                      |
 *       |          a member      |     | nobody is left                       | the leader's
 *       +------------------------------+                                      | assignments
 *                  joins or goes |                                            v
 *                                +------------------- (from both) -------- STABLE
 *
 * PREPARING: members join again; a heartbeat tells them to (27). Who has not by the end of the
 * longest rebalance timeout is no member any more, unless it is static: those stay until their
 * session ends. The first members of an empty group wait a moment for more (initial delay, which
 * starts anew with every one that comes, up to the rebalance timeout). Then the generation begins:
 * a number, a protocol that all know, a leader.
 * COMPLETING: the leader has the list of members and sends assignments; syncs of the others wait
 * for it.
 * STABLE: everybody has or gets its assignment.
 *
 * Sessions: a member that was not heard of for its session timeout goes. While its own join or sync
 * waits for others it can not be heard of, and is not expected to; only a newcomer may not wait for
 * ever (its client may be gone, and nothing else would tell). Who joined a generation and does not
 * ask for its assignment within the rebalance timeout goes, too; three seconds are given to all
 * (clients exist whose timeout is 0).
 *
 * Invariants: docs/internals/kafka.md, checked by group_check.
 */
#include "server/kafka/group_core.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/kafka/group_int.h"
#include "server/kafka/kafka_error.h"

#define MS 1000000u
#define SYNC_LEAST_NS (3000 * (uint64_t) MS)

const char *group_state_name(enum group_state state)
{
    static const char *const names[] = {"Empty", "PreparingRebalance", "CompletingRebalance",
                                        "Stable"};

    return names[state];
}

/* ---- time ------------------------------------------------------------------------------------ */

void group_set_deadline(struct group *g, uint64_t *deadline, uint64_t at)
{
    *deadline = at;
    if (at < g->next)
        g->next = at;
}

void group_touch(struct group *g, struct group_member *m, uint64_t now)
{
    if (!m->newcomer)
        group_set_deadline(g, &m->deadline, now + (uint64_t) m->session_ms * MS);
}

/* The longest that any member gives the others. */
static uint64_t rebalance_ns(const struct group *g)
{
    int32_t longest = 0;

    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->rebalance_ms > longest)
            longest = m->rebalance_ms;
    }
    return (uint64_t) longest * MS;
}

/* ---- answers --------------------------------------------------------------------------------- */

void group_refuse_join(const struct group *g, void *who, struct str member_id, int16_t error)
{
    g->out->joined(
        who, &(struct group_joined){.error = error, .generation = -1, .member_id = member_id});
}

void group_refuse_sync(const struct group *g, void *who, int16_t error)
{
    g->out->synced(who, &(struct group_synced){.error = error});
}

void group_answer_join(struct group *g, struct group_member *m, uint64_t now)
{
    void *who = m->join;

    m->join = NULL;
    group_touch(g, m, now);
    if (who != NULL)
        g->out->joined(who, &(struct group_joined){.generation = g->generation,
                                                   .protocol_type = g->protocol_type,
                                                   .protocol = g->protocol,
                                                   .leader = g->leader->id,
                                                   .member_id = m->id,
                                                   .group = g->leader == m ? g : NULL});
}

void group_answer_sync(struct group_member *m, int16_t error, const struct group *g)
{
    void *who = m->sync;

    m->sync = NULL;
    m->syncing = false;
    if (who == NULL)
        return;
    if (error != KAFKA_NONE)
        group_refuse_sync(g, who, error);
    else
        g->out->synced(who, &(struct group_synced){.protocol_type = g->protocol_type,
                                                   .protocol = g->protocol,
                                                   .assignment = m->assignment});
}

/* ---- joining --------------------------------------------------------------------------------- */

static void enter(struct group *g, enum group_state state, uint64_t phase_end)
{
    g->state = state;
    group_set_deadline(g, &g->phase_end, phase_end);
}

/* The leader of the next generation has to be one who is in; false: nobody is. */
static bool elect(struct group *g)
{
    if (g->leader->joining)
        return true;
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->joining) {
            g->leader = m;
            return true;
        }
    }
    return false;
}

static void drop_missing(struct group *g)
{
    LIST_FOREACH_SAFE(l, tmp, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (!m->joining && m->instance.p == NULL)
            group_free_member(g, m);
    }
}

static void begin_generation(struct group *g, uint64_t now)
{
    uint64_t wait = rebalance_ns(g);
    struct str protocol = group_own(group_vote(g));

    group_disown(&g->protocol);
    g->protocol = protocol;
    g->generation = g->generation == INT32_MAX ? 1 : g->generation + 1;
    g->initial = false;
    if (g->nmembers == 0) {
        enter(g, GROUP_EMPTY, NEVER_NS);
        return;
    }
    enter(g, GROUP_COMPLETING, now + (wait > SYNC_LEAST_NS ? wait : SYNC_LEAST_NS));
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        /* A static member that is not in keeps the end of its session, and need not ask. */
        bool in = m->joining;
        m->joining = m->newcomer = false;
        m->synced = !in;
        group_assign(g, m, STR(""));
        if (in)
            group_answer_join(g, m, now);
    }
}

static void end_joining(struct group *g, uint64_t now)
{
    drop_missing(g);
    if (g->nmembers > 0 && !elect(g)) {
        /* Static members alone, and none of them is back. */
        enter(g, GROUP_PREPARING, now + rebalance_ns(g));
        return;
    }
    begin_generation(g, now);
}

static bool all_in(const struct group *g)
{
    LIST_FOREACH(l, &g->members)
    if (!LIST_ENTRY(l, struct group_member, link)->joining)
        return false;
    return g->npending == 0;
}

void group_begin_joining(struct group *g, uint64_t now)
{
    uint64_t longest = rebalance_ns(g), delay = g->rules->initial_delay_ns;

    if (g->state == GROUP_PREPARING)
        return;
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->syncing) {
            group_answer_sync(m, KAFKA_REBALANCE_IN_PROGRESS, g);
            group_touch(g, m, now);
        }
    }
    g->initial = g->state == GROUP_EMPTY;
    if (g->initial) {
        delay = delay < longest ? delay : longest;
        g->delay_left = longest - delay;
        enter(g, GROUP_PREPARING, now + delay);
    } else {
        enter(g, GROUP_PREPARING, now + longest);
    }
}

void group_rebalance(struct group *g, uint64_t now)
{
    group_begin_joining(g, now);
    if (!g->initial && all_in(g))
        end_joining(g, now);
}

static void joining_is_over(struct group *g, uint64_t now)
{
    if (g->initial && g->arrived && g->delay_left > 0) {
        uint64_t delay = g->rules->initial_delay_ns;
        delay = delay < g->delay_left ? delay : g->delay_left;
        g->delay_left -= delay;
        g->arrived = false;
        group_set_deadline(g, &g->phase_end, now + delay);
        return;
    }
    end_joining(g, now);
}

/* Who has not asked for its assignment is not there. */
static void syncing_is_over(struct group *g, uint64_t now)
{
    bool gone = false;

    g->phase_end = NEVER_NS;
    LIST_FOREACH_SAFE(l, tmp, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (!m->synced) {
            group_answer_sync(m, KAFKA_UNKNOWN_MEMBER_ID, g);
            group_free_member(g, m);
            gone = true;
        }
    }
    if (gone)
        group_rebalance(g, now);
}

/* ---- going ----------------------------------------------------------------------------------- */

void group_remove(struct group *g, struct group_member *m, int16_t error, uint64_t now)
{
    void *who = m->join;

    m->join = NULL;
    if (who != NULL)
        group_refuse_join(g, who, m->id, error);
    group_answer_sync(m, error, g);
    group_free_member(g, m);
    group_rebalance(g, now);
}

int16_t group_leave(struct group *g, struct str id, struct str instance, uint64_t now)
{
    struct group_pending *p = instance.p == NULL ? group_find_pending(g, id) : NULL;
    struct group_member *m;
    int16_t error;

    if (p != NULL) {
        group_drop_pending(g, p);
        if (g->state == GROUP_PREPARING && !g->initial && all_in(g))
            end_joining(g, now);
        return KAFKA_NONE;
    }
    if (instance.p != NULL && id.n == 0) {
        m = group_find_instance(g, instance);
        error = m != NULL ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
    } else {
        error = group_check_member(g, id, instance, &m);
    }
    if (error == KAFKA_NONE)
        group_remove(g, m, KAFKA_UNKNOWN_MEMBER_ID, now);
    return error;
}

/* ---- heartbeats ------------------------------------------------------------------------------ */

int16_t group_check_member(const struct group *g, struct str id, struct str instance,
                           struct group_member **out)
{
    struct group_member *m;

    if (instance.p != NULL) {
        m = group_find_instance(g, instance);
        if (m != NULL && !str_eq(m->id, id))
            return KAFKA_FENCED_INSTANCE_ID;
    } else {
        m = group_find(g, id);
    }
    *out = m;
    return m != NULL ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
}

int16_t group_heartbeat(struct group *g, struct str id, struct str instance, int32_t generation,
                        uint64_t now)
{
    struct group_member *m;
    int16_t error = group_check_member(g, id, instance, &m);

    if (error != KAFKA_NONE)
        return error;
    if (generation != g->generation)
        return KAFKA_ILLEGAL_GENERATION;
    group_touch(g, m, now);
    return g->state == GROUP_PREPARING ? KAFKA_REBALANCE_IN_PROGRESS : KAFKA_NONE;
}

int16_t group_may_commit(struct group *g, struct str id, struct str instance, int32_t generation,
                         bool txn, uint64_t now)
{
    bool named = generation >= 0 || id.n > 0 || instance.p != NULL;
    struct group_member *m;
    int16_t error;

    if (generation < 0 && g->nmembers == 0)
        return KAFKA_NONE;
    if (!named)
        return txn ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
    error = group_check_member(g, id, instance, &m);
    if (error != KAFKA_NONE)
        return error;
    if (generation != g->generation)
        return KAFKA_ILLEGAL_GENERATION;
    if (!txn && g->state == GROUP_COMPLETING)
        return KAFKA_REBALANCE_IN_PROGRESS;
    group_touch(g, m, now);
    return KAFKA_NONE;
}

void group_forget(struct group *g, const void *who)
{
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->join == who)
            m->join = NULL;
        if (m->sync == who)
            m->sync = NULL;
    }
}

/* ---- what is due ----------------------------------------------------------------------------- */

/* Can it be expected to be heard of? */
static bool is_silent(const struct group_member *m)
{
    return (m->joining && !m->newcomer) || m->syncing;
}

static bool expire_pending(struct group *g, uint64_t now)
{
    LIST_FOREACH(l, &g->pending)
    {
        struct group_pending *p = LIST_ENTRY(l, struct group_pending, link);
        if (p->deadline > now)
            continue;
        group_drop_pending(g, p);
        if (g->state == GROUP_PREPARING && !g->initial && all_in(g))
            end_joining(g, now);
        return true;
    }
    return false;
}

static bool expire_member(struct group *g, uint64_t now)
{
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->deadline > now)
            continue;
        if (is_silent(m))
            m->deadline = NEVER_NS;
        else
            group_remove(g, m, KAFKA_UNKNOWN_MEMBER_ID, now);
        return true;
    }
    return false;
}

static bool end_phase(struct group *g, uint64_t now)
{
    if (g->phase_end > now)
        return false;
    if (g->state == GROUP_PREPARING)
        joining_is_over(g, now);
    else
        syncing_is_over(g, now);
    return true;
}

static uint64_t earliest(const struct group *g)
{
    uint64_t at = g->phase_end;

    LIST_FOREACH(l, &g->pending)
    {
        const struct group_pending *p = LIST_ENTRY(l, struct group_pending, link);
        at = p->deadline < at ? p->deadline : at;
    }
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        at = m->deadline < at ? m->deadline : at;
    }
    return at;
}

void group_tick(struct group *g, uint64_t now)
{
    if (g->next > now)
        return;
    while (expire_pending(g, now) || expire_member(g, now) || end_phase(g, now))
        ;
    g->next = earliest(g);
}

uint64_t group_next(const struct group *g)
{
    return g->next;
}

/* ---- life ------------------------------------------------------------------------------------ */

void group_init(struct group *g, const struct group_rules *rules, const struct group_out *out,
                struct prng *prng)
{
    *g = (struct group){
        .rules = rules, .out = out, .prng = prng, .phase_end = NEVER_NS, .next = NEVER_NS};
    list_init(&g->members);
    list_init(&g->pending);
    hmap_init(&g->by_id);
}

void group_deinit(struct group *g, int16_t error)
{
    struct list *l;

    while ((l = list_first(&g->pending)) != NULL)
        group_drop_pending(g, LIST_ENTRY(l, struct group_pending, link));
    while ((l = list_first(&g->members)) != NULL) {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        void *who = m->join;
        m->join = NULL;
        if (who != NULL)
            group_refuse_join(g, who, m->id, error);
        group_answer_sync(m, error, g);
        group_free_member(g, m);
    }
    group_disown(&g->protocol_type);
    group_disown(&g->protocol);
    hmap_deinit(&g->by_id);
}

bool group_unused(const struct group *g)
{
    return g->nmembers == 0 && g->npending == 0;
}

static void check_member(const struct group *g, const struct group_member *m)
{
    ASSERT(group_find(g, m->id) == m);
    ASSERT(m->instance.p == NULL || group_find_instance(g, m->instance) == m);
    ASSERT(m->join == NULL || m->joining);
    ASSERT(m->sync == NULL || m->syncing);
    ASSERT(!m->joining || g->state == GROUP_PREPARING);
    ASSERT(!m->newcomer || m->joining);
    ASSERT(!m->syncing || (g->state == GROUP_COMPLETING && m->synced));
    ASSERT(m->deadline >= g->next);
    ASSERT(m->nprotocols > 0 && m->nprotocols <= GROUP_PROTOCOLS_MAX);
}

void group_check(const struct group *g)
{
    uint32_t members = 0, pending = 0;
    size_t bytes = 0;

    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        check_member(g, m);
        members++;
        bytes += m->bytes;
    }
    LIST_FOREACH(l, &g->pending)
    {
        const struct group_pending *p = LIST_ENTRY(l, struct group_pending, link);
        ASSERT(group_find(g, p->id) == NULL && p->deadline >= g->next);
        pending++;
    }
    hmap_check(&g->by_id);
    ASSERT(members == g->nmembers && members == g->by_id.count && pending == g->npending);
    ASSERT(bytes == g->bytes);
    ASSERT((g->leader == NULL) == (members == 0));
    ASSERT(g->leader == NULL || group_find(g, g->leader->id) == g->leader);
    ASSERT(g->state != GROUP_EMPTY || members == 0);
    ASSERT(members > 0 || g->state == GROUP_EMPTY || g->state == GROUP_PREPARING);
    ASSERT(g->phase_end >= g->next);
    ASSERT(g->state != GROUP_PREPARING || g->phase_end != NEVER_NS);
}
