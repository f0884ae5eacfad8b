/*
 * consumer_group.c - members of a consumer group and their heartbeats.
 *
 *     join (epoch 0) -> a member at epoch 0; the group's epoch is raised, a target made, and the
 *                       answer has the member's epoch and what it may own by now
 *     heartbeat      -> its epoch has to be the one that it was told; or the one before, with
 *                       nothing owned that it was not given: an answer was lost
 *     leave (-1)     -> gone; all it had is free at once
 *     pause (-2)     -> a static member comes back: its target waits for it, until its session ends
 *
 * A member goes, too, when it is silent for a session, and when it does not give up in time what it
 * has to (its own rebalance timeout). One who is told 110 or 25 has to join anew. Who joins with an
 * id that is there begins anew: it owns nothing then, whatever it owned.
 *
 * An instance id belongs to one member: another one may take it when that is away (111 else).
 *
 * After a change of what members want, or of topics, the target is made at the next heartbeat of
 * anybody. Invariants: consumer_group_check.
 */
#include "server/kafka/consumer_group.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/kafka/consumer_int.h"
#include "server/kafka/consumer_pattern.h"
#include "server/kafka/kafka_error.h"

#include <stdlib.h>
#include <string.h>

#define NEVER_NS UINT64_MAX

/* ---- strings --------------------------------------------------------------------------------- */

static struct str own(struct str s)
{
    return s.p != NULL ? str_from(mem_strndup(s.p, s.n), s.n) : STR_NONE;
}

static void disown(struct str *s)
{
    mem_free((char *) (uintptr_t) s->p);
    *s = STR_NONE;
}

static void replace(struct str *s, struct str with)
{
    if ((s->p != NULL) == (with.p != NULL) && str_eq(*s, with))
        return;
    disown(s);
    *s = own(with);
}

static int compare_names(const void *a, const void *b)
{
    return str_cmp(*(const struct str *) a, *(const struct str *) b);
}

/* ---- members --------------------------------------------------------------------------------- */

static uint64_t hash_of(struct str id)
{
    return hash_bytes(id.p, id.n, 0);
}

struct consumer_member *consumer_group_find(const struct consumer_group *g, struct str id)
{
    uint64_t h = hash_of(id);

    for (struct hmap_node *n = hmap_first(&g->by_id, h); n != NULL; n = hmap_next(n, h)) {
        struct consumer_member *m = CONTAINER_OF(n, struct consumer_member, node);
        if (str_eq(m->id, id))
            return m;
    }
    return NULL;
}

static struct consumer_member *find_instance(const struct consumer_group *g, struct str instance)
{
    LIST_FOREACH(l, &g->members)
    {
        struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        if (instance.p != NULL && m->instance.p != NULL && str_eq(m->instance, instance))
            return m;
    }
    return NULL;
}

static struct consumer_member *member_new(struct consumer_group *g, const struct consumer_beat *q)
{
    struct consumer_member *m = mem_zalloc(sizeof(*m));

    m->id = own(q->member_id);
    m->instance = own(q->instance);
    m->deadline = m->revoke_by = NEVER_NS;
    m->previous = -1;
    hmap_insert(&g->by_id, &m->node, hash_of(m->id));
    list_push_back(&g->members, &m->link);
    g->nmembers++;
    return m;
}

static void drop_names(struct consumer_group *g, struct consumer_member *m)
{
    for (uint32_t i = 0; i < m->nnames; i++)
        disown(&m->names[i]);
    mem_free(m->names);
    g->nnames -= m->nnames;
    m->names = NULL;
    m->nnames = 0;
}

static size_t names_bytes(const struct str *names, size_t n)
{
    size_t bytes = n * sizeof(*names);

    for (size_t i = 0; i < n; i++)
        bytes += names[i].n;
    return bytes;
}

static void count_bytes(const struct consumer_group *g, struct consumer_member *m)
{
    held_set(g->rules->held, &m->held,
             m->id.n + m->instance.n + m->rack.n + m->client_id.n + m->client_host.n +
                 names_bytes(m->names, m->nnames) + (m->pattern != NULL ? m->pattern->text.n : 0));
}

static void member_free(struct consumer_group *g, struct consumer_member *m)
{
    held_set(g->rules->held, &m->held, 0);
    drop_names(g, m);
    consumer_pattern_set(g, m, STR(""));
    consumer_release(g, m);
    parts_free(&m->assigned);
    parts_free(&m->revoking);
    parts_free(&m->target);
    hmap_remove(&g->by_id, &m->node);
    list_remove(&m->link);
    disown(&m->id);
    disown(&m->instance);
    disown(&m->rack);
    disown(&m->client_id);
    disown(&m->client_host);
    mem_free(m);
    g->nmembers--;
}

/* What members want is not what it was. */
static void changed(struct consumer_group *g)
{
    g->looked = false;
    if (g->epoch == g->target_epoch)
        g->epoch++;
}

static void remove_member(struct consumer_group *g, struct consumer_member *m)
{
    member_free(g, m);
    changed(g);
}

static void rename_member(struct consumer_group *g, struct consumer_member *m, struct str id)
{
    hmap_remove(&g->by_id, &m->node);
    replace(&m->id, id);
    hmap_insert(&g->by_id, &m->node, hash_of(m->id));
}

/* ---- life ------------------------------------------------------------------------------------ */

void consumer_group_init(struct consumer_group *g, const struct consumer_rules *rules,
                         const struct consumer_world *world)
{
    *g = (struct consumer_group){.rules = rules, .world = world, .next = NEVER_NS};
    list_init(&g->members);
    list_init(&g->topics);
    list_init(&g->patterns);
    hmap_init(&g->by_id);
    hmap_init(&g->by_number);
    hmap_init(&g->by_name);
    hmap_init(&g->by_uuid);
    g->assignor = CONSUMER_UNIFORM;
}

void consumer_group_deinit(struct consumer_group *g)
{
    LIST_FOREACH_SAFE(l, tmp, &g->members)
    member_free(g, LIST_ENTRY(l, struct consumer_member, link));
    consumer_topics_free(g);
    hmap_deinit(&g->by_id);
    hmap_deinit(&g->by_number);
    hmap_deinit(&g->by_name);
    hmap_deinit(&g->by_uuid);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t due(const struct consumer_member *m)
{
    return m->state == CONSUMER_UNREVOKED && m->revoke_by < m->deadline ? m->revoke_by
                                                                        : m->deadline;
}

static void touch(struct consumer_group *g, struct consumer_member *m, uint64_t now)
{
    m->deadline = now + g->rules->session_ns;
    if (due(m) < g->next)
        g->next = due(m);
}

void consumer_group_tick(struct consumer_group *g, uint64_t now)
{
    if (now < g->next)
        return;
    g->next = NEVER_NS;
    LIST_FOREACH_SAFE(l, tmp, &g->members)
    {
        struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        if (due(m) <= now)
            remove_member(g, m);
        else if (due(m) < g->next)
            g->next = due(m);
    }
    consumer_topics_sweep(g);
}

/* ---- the target ------------------------------------------------------------------------------ */

/* What most members ask for. */
static enum consumer_assignor vote(const struct consumer_group *g)
{
    uint32_t range = 0, uniform = 0;

    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        range += m->assignor == CONSUMER_RANGE;
        uniform += m->assignor == CONSUMER_UNIFORM;
    }
    return range > uniform ? CONSUMER_RANGE : CONSUMER_UNIFORM;
}

static void keep_up(struct consumer_group *g)
{
    enum consumer_assignor how = vote(g);

    if ((!g->looked || g->version != g->world->version(g->world->ctx)) && consumer_topics_look(g))
        g->epoch += g->epoch == g->target_epoch;
    if (how != g->assignor)
        g->epoch += g->epoch == g->target_epoch;
    if (g->epoch == g->target_epoch)
        return;
    g->assignor = how;
    consumer_assign(g, how);
    g->target_epoch = g->epoch;
}

/* ---- what a heartbeat says ------------------------------------------------------------------- */

static const char *const assignors[] = {
    [CONSUMER_ANY] = "", [CONSUMER_UNIFORM] = "uniform", [CONSUMER_RANGE] = "range"};

const char *consumer_assignor_name(enum consumer_assignor a)
{
    return assignors[a];
}

static bool take_assignor(struct str name, enum consumer_assignor *out)
{
    for (int i = CONSUMER_ANY; i <= CONSUMER_RANGE; i++)
        if (str_eq(name, str_of(assignors[i]))) {
            *out = (enum consumer_assignor) i;
            return true;
        }
    return false;
}

static bool same_names(const struct consumer_member *m, const struct str *names, uint32_t n)
{
    if (m->nnames != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!str_eq(m->names[i], names[i]))
            return false;
    return true;
}

/* True: it wants something else than before. */
static bool take_names(struct consumer_group *g, struct consumer_member *m,
                       const struct consumer_beat *q)
{
    struct str *names;
    uint32_t n = 0;

    if (q->nnames < 0)
        return false;
    names = mem_array((size_t) q->nnames + 1, sizeof(*names));
    for (int32_t i = 0; i < q->nnames; i++)
        names[i] = q->names[i];
    qsort(names, (size_t) q->nnames, sizeof(*names), compare_names);
    for (int32_t i = 0; i < q->nnames; i++)
        if (n == 0 || !str_eq(names[n - 1], names[i]))
            names[n++] = names[i];
    if (same_names(m, names, n)) {
        mem_free(names);
        return false;
    }
    drop_names(g, m);
    for (uint32_t i = 0; i < n; i++)
        names[i] = own(names[i]);
    m->names = names;
    m->nnames = n;
    g->nnames += n;
    return true;
}

static void take_said(struct consumer_group *g, struct consumer_member *m,
                      const struct consumer_beat *q)
{
    enum consumer_assignor before = m->assignor;
    bool other = take_names(g, m, q), joins = q->epoch == CONSUMER_JOIN;

    /* Who joins says all there is. */
    if (joins && q->nnames < 0 && m->nnames > 0) {
        drop_names(g, m);
        other = true;
    }
    if ((joins || q->regex.p != NULL) &&
        !str_eq(q->regex, m->pattern != NULL ? m->pattern->text : STR("")))
        other |= consumer_pattern_set(g, m, q->regex);
    if (q->rack.p != NULL)
        replace(&m->rack, q->rack);
    if (q->rebalance_ms >= 0)
        m->rebalance_ms = q->rebalance_ms;
    if (q->assignor.p != NULL)
        take_assignor(q->assignor, &m->assignor);
    replace(&m->client_id, q->client_id);
    replace(&m->client_host, q->client_host);
    if (other || m->assignor != before)
        changed(g);
}

/* What it says that it owns; of topics that the group does not know it owns nothing that counts. */
static void take_owned(const struct consumer_group *g, const struct consumer_beat *q,
                       struct parts *out)
{
    for (int32_t i = 0; i < q->nowned; i++) {
        const struct consumer_topic *t = consumer_topic_with_id(g, &q->owned[i].topic);
        for (int32_t k = 0; t != NULL && k < q->owned[i].n; k++)
            if (q->owned[i].partitions[k] >= 0)
                parts_add(out, part_of(t->number, q->owned[i].partitions[k]));
    }
    parts_sort(out);
}

/* ---- who is it ------------------------------------------------------------------------------- */

static struct consumer_member *refuse(struct consumer_told *out, int16_t error, const char *text)
{
    out->error = error;
    out->text = str_of(text);
    return NULL;
}

static bool has_room(const struct consumer_group *g, const struct consumer_beat *q)
{
    const struct consumer_member *m = consumer_group_find(g, q->member_id);
    uint32_t now = m != NULL ? m->nnames : 0;

    return q->nnames <= 0 || (uint32_t) q->nnames <= g->rules->max_names - (g->nnames - now);
}

static bool has_room_for_pattern(const struct consumer_group *g, const struct consumer_beat *q)
{
    if (q->regex.n == 0 || g->npatterns < CONSUMER_PATTERNS_MAX)
        return true;
    LIST_FOREACH(l, &g->patterns)
    if (str_eq(LIST_ENTRY(l, struct consumer_pattern, link)->text, q->regex))
        return true;
    return false;
}

/* In what all groups hold. */
static bool may_hold(const struct consumer_group *g, const struct consumer_beat *q)
{
    const struct consumer_member *m = consumer_group_find(g, q->member_id);
    size_t from = m != NULL ? m->held : 0, to = from + q->regex.n;

    if (m == NULL)
        to += q->member_id.n + q->instance.n + q->rack.n + q->client_id.n + q->client_host.n;
    else if (m->pattern != NULL && q->regex.p != NULL)
        to -= m->pattern->text.n;
    if (m != NULL && q->nnames >= 0)
        to -= names_bytes(m->names, m->nnames);
    if (q->nnames > 0)
        to += names_bytes(q->names, (size_t) q->nnames);
    return held_may(g->rules->held, from, to);
}

/* Begins anew: it owns nothing. */
static struct consumer_member *begin_anew(struct consumer_group *g, struct consumer_member *m)
{
    consumer_release(g, m);
    m->epoch = 0;
    m->previous = -1;
    m->state = CONSUMER_UNRELEASED;
    return m;
}

static struct consumer_member *join(struct consumer_group *g, const struct consumer_beat *q,
                                    struct consumer_told *out)
{
    struct consumer_member *m = consumer_group_find(g, q->member_id);
    struct consumer_member *of_instance = find_instance(g, q->instance);

    if (of_instance != NULL && of_instance != m) {
        if (of_instance->epoch != CONSUMER_PAUSE)
            return refuse(out, KAFKA_UNRELEASED_INSTANCE_ID, "another member has this instance id");
        if (m != NULL)
            return refuse(out, KAFKA_INVALID_REQUEST, "this member has another instance id");
        rename_member(g, of_instance, q->member_id);
        return begin_anew(g, of_instance);
    }
    if (m != NULL && m->instance.p != NULL && of_instance != m)
        return refuse(out, KAFKA_INVALID_REQUEST, "this member has another instance id");
    if (m != NULL)
        return begin_anew(g, m);
    if (g->nmembers >= g->rules->max_members)
        return refuse(out, KAFKA_GROUP_MAX_SIZE_REACHED, "the group has no room for more members");
    m = member_new(g, q);
    changed(g);
    return begin_anew(g, m);
}

/* The member of this id, if its instance id is this one. */
static struct consumer_member *known(struct consumer_group *g, const struct consumer_beat *q,
                                     struct consumer_told *out)
{
    struct consumer_member *m = consumer_group_find(g, q->member_id);

    if (q->instance.p != NULL) {
        struct consumer_member *of_instance = find_instance(g, q->instance);
        if (of_instance == NULL)
            return refuse(out, KAFKA_UNKNOWN_MEMBER_ID, "no member has this instance id");
        if (of_instance != m)
            return refuse(out, KAFKA_FENCED_INSTANCE_ID, "another member has this instance id");
    }
    return m != NULL ? m : refuse(out, KAFKA_UNKNOWN_MEMBER_ID, "no such member");
}

static struct consumer_member *at_epoch(struct consumer_group *g, const struct consumer_beat *q,
                                        const struct parts *owned, struct consumer_told *out)
{
    struct consumer_member *m = known(g, q, out);

    if (m == NULL || q->epoch == m->epoch)
        return m;
    if (q->epoch == m->previous && q->nowned >= 0 && parts_within(owned, &m->assigned))
        return m;
    return refuse(out, KAFKA_FENCED_MEMBER_EPOCH, "the member is at another epoch");
}

static void leave(struct consumer_group *g, const struct consumer_beat *q, uint64_t now,
                  struct consumer_told *out)
{
    struct consumer_member *m = known(g, q, out);

    if (m == NULL)
        return;
    out->epoch = q->epoch;
    if (q->epoch == CONSUMER_LEAVE) {
        remove_member(g, m);
    } else {
        consumer_release(g, m);
        m->epoch = CONSUMER_PAUSE;
        m->state = CONSUMER_UNRELEASED;
        touch(g, m, now);
    }
    consumer_topics_sweep(g);
}

/* ---- a heartbeat ----------------------------------------------------------------------------- */

/* More than there could be is not looked at. */
static bool owns_too_much(const struct consumer_group *g, const struct consumer_beat *q)
{
    uint64_t n = 0;

    for (int32_t i = 0; i < q->nowned; i++)
        n += q->owned[i].n > 0 ? (uint64_t) q->owned[i].n : 0;
    return n > 2 * (uint64_t) g->rules->max_partitions;
}

static bool check_beat(const struct consumer_group *g, const struct consumer_beat *q,
                       struct consumer_told *out)
{
    enum consumer_assignor a;

    ASSERT(q->member_id.n > 0);
    if (q->epoch < CONSUMER_PAUSE)
        refuse(out, KAFKA_INVALID_REQUEST, "no such epoch");
    else if (q->instance.p != NULL && q->instance.n == 0)
        refuse(out, KAFKA_INVALID_REQUEST, "an instance id can not be empty");
    else if (q->epoch == CONSUMER_PAUSE && q->instance.p == NULL)
        refuse(out, KAFKA_INVALID_REQUEST, "only a static member can come back");
    else if (q->rack.p != NULL && q->rack.n == 0)
        refuse(out, KAFKA_INVALID_REQUEST, "a rack can not be empty");
    else if (owns_too_much(g, q))
        refuse(out, KAFKA_INVALID_REQUEST, "nobody owns so much");
    else if (q->rebalance_ms < -1)
        refuse(out, KAFKA_INVALID_REQUEST, "a rebalance timeout can not be negative");
    else if (q->epoch == CONSUMER_JOIN &&
             (q->rebalance_ms < 0 || (q->nnames < 0 && q->regex.n == 0) || q->nowned != 0))
        refuse(out, KAFKA_INVALID_REQUEST,
               "who joins says its rebalance timeout and topics, and owns nothing");
    else if (q->assignor.p != NULL && !take_assignor(q->assignor, &a))
        refuse(out, KAFKA_UNSUPPORTED_ASSIGNOR, "the assignors are uniform and range");
    return out->error == KAFKA_NONE;
}

static void answer(struct consumer_group *g, struct consumer_member *m,
                   const struct consumer_beat *q, const struct parts *owned, uint64_t now,
                   struct consumer_told *out)
{
    struct parts before = {0};

    take_said(g, m, q);
    count_bytes(g, m);
    keep_up(g);
    parts_copy(&before, &m->assigned);
    consumer_reconcile(g, m, q->nowned >= 0 ? owned : NULL, now);
    touch(g, m, now);
    out->epoch = m->epoch;
    if (q->nowned >= 0 || !parts_same(&before, &m->assigned))
        out->member = m;
    parts_free(&before);
    consumer_topics_sweep(g);
}

void consumer_group_beat(struct consumer_group *g, const struct consumer_beat *q, uint64_t now,
                         struct consumer_told *out)
{
    struct parts owned = {0};
    struct consumer_member *m;

    *out = (struct consumer_told){.epoch = q->epoch};
    consumer_group_tick(g, now);
    if (!check_beat(g, q, out))
        return;
    if (q->epoch < 0) {
        leave(g, q, now, out);
        return;
    }
    if (!has_room(g, q) || !has_room_for_pattern(g, q)) {
        refuse(out, KAFKA_GROUP_MAX_SIZE_REACHED, "the group's members want too many topics");
        return;
    }
    if (!may_hold(g, q)) {
        refuse(out, KAFKA_GROUP_MAX_SIZE_REACHED, "the groups hold as much as they may");
        return;
    }
    take_owned(g, q, &owned);
    m = q->epoch == CONSUMER_JOIN ? join(g, q, out) : at_epoch(g, q, &owned, out);
    if (m != NULL)
        answer(g, m, q, &owned, now, out);
    parts_free(&owned);
}

int16_t consumer_group_may_commit(const struct consumer_group *g, struct str member_id,
                                  int32_t epoch)
{
    const struct consumer_member *m;

    if (epoch < 0 && member_id.n == 0)
        return g->nmembers == 0 ? KAFKA_NONE : KAFKA_UNKNOWN_MEMBER_ID;
    m = consumer_group_find(g, member_id);
    if (m == NULL)
        return KAFKA_UNKNOWN_MEMBER_ID;
    return epoch > 0 && m->epoch == epoch ? KAFKA_NONE : KAFKA_STALE_MEMBER_EPOCH;
}

/* ---- looking --------------------------------------------------------------------------------- */

void consumer_group_subscriptions(const struct consumer_group *g, const struct once *asked,
                                  struct once *read)
{
    struct hmap_iter it = {0};
    struct str topic;

    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        for (uint32_t i = 0; i < m->nnames; i++)
            if (once_has(asked, m->names[i]))
                once_take(read, m->names[i]);
    }
    while (once_next(asked, &it, &topic))
        LIST_FOREACH(l, &g->patterns)
        {
            const struct consumer_pattern *p = LIST_ENTRY(l, struct consumer_pattern, link);
            if (pattern_matches(p->compiled, topic))
                once_take(read, topic);
        }
}

const char *consumer_group_state(const struct consumer_group *g)
{
    if (g->nmembers == 0)
        return "Empty";
    if (g->epoch != g->target_epoch)
        return "Assigning";
    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        if (m->epoch != g->target_epoch || m->state != CONSUMER_STABLE)
            return "Reconciling";
    }
    return "Stable";
}

static size_t check_owned(const struct consumer_group *g, const struct consumer_member *m,
                          const struct parts *s)
{
    for (size_t i = 0; i < s->n; i++) {
        ASSERT(i == 0 || s->p[i - 1] < s->p[i]);
        ASSERT(consumer_owner(g, s->p[i]) == m);
    }
    return s->n;
}

static void check_member(const struct consumer_group *g, const struct consumer_member *m)
{
    ASSERT(consumer_group_find(g, m->id) == m);
    ASSERT(m->epoch <= g->target_epoch && g->next <= due(m));
    ASSERT(!parts_meet(&m->assigned, &m->revoking));
    ASSERT((m->revoking.n > 0) == (m->state == CONSUMER_UNREVOKED));
    if (m->epoch == g->target_epoch && m->epoch > 0 && m->state != CONSUMER_UNREVOKED)
        ASSERT(parts_within(&m->assigned, &m->target));
    if (m->epoch == g->target_epoch && m->state == CONSUMER_STABLE)
        ASSERT(parts_same(&m->assigned, &m->target));
}

void consumer_group_check(const struct consumer_group *g)
{
    size_t owned = 0, held = 0, names = 0, members = 0, targets = 0, there = 0;

    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        check_member(g, m);
        owned += check_owned(g, m, &m->assigned) + check_owned(g, m, &m->revoking);
        names += m->nnames;
        targets += m->target.n;
        members++;
    }
    LIST_FOREACH(l, &g->topics)
    {
        const struct consumer_topic *t = LIST_ENTRY(l, struct consumer_topic, link);
        held += t->held;
        there += t->there ? (uint32_t) t->partitions : 0;
    }
    ASSERT(held == owned && names == g->nnames && members == g->nmembers);
    ASSERT(g->target_epoch <= g->epoch && g->epoch - g->target_epoch <= 1);
    if (g->epoch == g->target_epoch && members > 0)
        ASSERT(targets == there);
}
