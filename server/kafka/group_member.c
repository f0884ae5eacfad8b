/* group_member.c - members of a group, ids that were given out, protocols and votes. */
#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"
#include "server/kafka/group_int.h"

#include <stdio.h>

/* ---- strings --------------------------------------------------------------------------------- */

struct str group_own(struct str s)
{
    return s.p != NULL ? str_from(mem_strndup(s.p, s.n), s.n) : STR_NONE;
}

void group_disown(struct str *s)
{
    mem_free((char *) (uintptr_t) s->p);
    *s = STR_NONE;
}

/* ---- ids ------------------------------------------------------------------------------------- */

struct str group_make_id(struct group *g, const struct group_join *q)
{
    struct str name = str_take(q->instance.p != NULL ? q->instance : q->client_id, 128);
    size_t n = name.n + 33;
    char *text = mem_alloc(n + 1);

    if (name.n > 0)
        memcpy(text, name.p, name.n);
    snprintf(text + name.n, 34, "-%016llx%016llx", (unsigned long long) prng_u64(g->prng),
             (unsigned long long) prng_u64(g->prng));
    return str_from(text, n);
}

struct group_pending *group_find_pending(const struct group *g, struct str id)
{
    LIST_FOREACH(l, &g->pending)
    {
        struct group_pending *p = LIST_ENTRY(l, struct group_pending, link);
        if (str_eq(p->id, id))
            return p;
    }
    return NULL;
}

void group_add_pending(struct group *g, struct str id, uint64_t deadline)
{
    struct group_pending *p = mem_zalloc(sizeof(*p));

    p->id = group_own(id);
    group_set_deadline(g, &p->deadline, deadline);
    list_push_back(&g->pending, &p->link);
    g->npending++;
}

void group_drop_pending(struct group *g, struct group_pending *p)
{
    list_remove(&p->link);
    group_disown(&p->id);
    mem_free(p);
    g->npending--;
}

/* ---- members --------------------------------------------------------------------------------- */

static uint64_t hash_of(struct str id)
{
    return hash_bytes(id.p, id.n, 0);
}

struct group_member *group_find(const struct group *g, struct str id)
{
    uint64_t h = hash_of(id);

    for (struct hmap_node *n = hmap_first(&g->by_id, h); n != NULL; n = hmap_next(n, h)) {
        struct group_member *m = CONTAINER_OF(n, struct group_member, node);
        if (str_eq(m->id, id))
            return m;
    }
    return NULL;
}

struct group_member *group_find_instance(const struct group *g, struct str instance)
{
    LIST_FOREACH(l, &g->members)
    {
        struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m->instance.p != NULL && str_eq(m->instance, instance))
            return m;
    }
    return NULL;
}

static void free_protocols(struct group_member *m)
{
    for (uint32_t i = 0; i < m->nprotocols; i++) {
        group_disown(&m->protocols[i].name);
        group_disown(&m->protocols[i].metadata);
    }
    mem_free(m->protocols);
    m->protocols = NULL;
    m->nprotocols = 0;
}

size_t group_protocol_bytes(const struct group_protocol *p, uint32_t n)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < n; i++)
        bytes += p[i].name.n + p[i].metadata.n;
    return bytes;
}

static void count_bytes(struct group *g, struct group_member *m)
{
    g->bytes -= m->bytes;
    m->bytes = group_protocol_bytes(m->protocols, m->nprotocols) + m->assignment.n;
    g->bytes += m->bytes;
    held_set(g->rules->held, &m->held,
             m->bytes + m->id.n + m->instance.n + m->client_id.n + m->client_host.n);
}

/* What it says takes the place of what the member has said; of an assignment nothing changes. */
static size_t held_by_join(const struct group_member *m, const struct group_join *q)
{
    size_t names = m != NULL ? m->held - m->bytes
                             : q->instance.n + 2 * q->client_id.n + q->client_host.n;

    return group_protocol_bytes(q->protocols, q->nprotocols) + names +
           (m != NULL ? m->assignment.n : 0);
}

bool group_may_hold_join(const struct group *g, const struct group_join *q)
{
    const struct group_member *m = q->instance.p != NULL ? group_find_instance(g, q->instance)
                                                         : group_find(g, q->member_id);

    return held_may(g->rules->held, m != NULL ? m->held : 0, held_by_join(m, q));
}

bool group_may_hold_sync(const struct group *g, const struct group_sync *q)
{
    size_t now = 0;

    LIST_FOREACH(l, &g->members)
    now += LIST_ENTRY(l, struct group_member, link)->assignment.n;
    return held_may(g->rules->held, now, group_protocol_bytes(q->assignments, q->nassignments));
}

void group_update(struct group *g, struct group_member *m, const struct group_join *q)
{
    m->session_ms = q->session_ms;
    m->rebalance_ms = q->rebalance_ms >= 0 ? q->rebalance_ms : q->session_ms;
    free_protocols(m);
    m->protocols = mem_array(q->nprotocols, sizeof(*m->protocols));
    m->nprotocols = q->nprotocols;
    for (uint32_t i = 0; i < q->nprotocols; i++) {
        m->protocols[i].name = group_own(q->protocols[i].name);
        m->protocols[i].metadata = group_own(q->protocols[i].metadata);
    }
    count_bytes(g, m);
}

struct group_member *group_add(struct group *g, const struct group_join *q, struct str id)
{
    struct group_member *m = mem_zalloc(sizeof(*m));

    m->id = group_own(id);
    m->instance = group_own(q->instance);
    m->client_id = group_own(q->client_id);
    m->client_host = group_own(q->client_host);
    m->newcomer = true;
    m->deadline = NEVER_NS;
    group_update(g, m, q);
    list_push_back(&g->members, &m->link);
    hmap_insert(&g->by_id, &m->node, hash_of(m->id));
    if (g->nmembers++ == 0) {
        group_disown(&g->protocol_type);
        g->protocol_type = group_own(q->protocol_type);
    }
    if (g->leader == NULL)
        g->leader = m;
    return m;
}

void group_free_member(struct group *g, struct group_member *m)
{
    ASSERT(m->join == NULL && m->sync == NULL);
    hmap_remove(&g->by_id, &m->node);
    list_remove(&m->link);
    g->nmembers--;
    g->bytes -= m->bytes;
    held_set(g->rules->held, &m->held, 0);
    if (g->leader == m)
        g->leader = list_empty(&g->members)
                        ? NULL
                        : LIST_ENTRY(list_first(&g->members), struct group_member, link);
    free_protocols(m);
    group_disown(&m->id);
    group_disown(&m->instance);
    group_disown(&m->client_id);
    group_disown(&m->client_host);
    group_disown(&m->assignment);
    mem_free(m);
}

void group_rename(struct group *g, struct group_member *m, struct str id)
{
    hmap_remove(&g->by_id, &m->node);
    group_disown(&m->id);
    m->id = group_own(id);
    hmap_insert(&g->by_id, &m->node, hash_of(m->id));
    count_bytes(g, m);
}

void group_assign(struct group *g, struct group_member *m, struct str assignment)
{
    struct str old = m->assignment;

    m->assignment = group_own(assignment);
    group_disown(&old);
    count_bytes(g, m);
}

/* ---- protocols ------------------------------------------------------------------------------- */

bool group_same_protocols(const struct group_member *m, const struct group_join *q)
{
    if (m->nprotocols != q->nprotocols)
        return false;
    for (uint32_t i = 0; i < m->nprotocols; i++)
        if (!str_eq(m->protocols[i].name, q->protocols[i].name) ||
            !str_eq(m->protocols[i].metadata, q->protocols[i].metadata))
            return false;
    return true;
}

static bool knows(const struct group_member *m, struct str name)
{
    for (uint32_t i = 0; i < m->nprotocols; i++)
        if (str_eq(m->protocols[i].name, name))
            return true;
    return false;
}

static bool all_know(const struct group *g, const struct group_member *but, struct str name)
{
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        if (m != but && !knows(m, name))
            return false;
    }
    return true;
}

bool group_supports(const struct group *g, const struct group_member *self,
                    const struct group_join *q)
{
    if (q->protocol_type.n == 0 || q->nprotocols == 0)
        return false;
    if (g->nmembers == (self != NULL))
        return true;
    if (!str_eq(g->protocol_type, q->protocol_type))
        return false;
    for (uint32_t i = 0; i < q->nprotocols; i++)
        if (all_know(g, self, q->protocols[i].name))
            return true;
    return false;
}

static const struct group_member *first_member(const struct group *g)
{
    return LIST_ENTRY(list_first(&g->members), struct group_member, link);
}

/* Its favourite among those of `first` that all know: an index there. */
static uint32_t favourite(const struct group_member *m, const struct group_member *first,
                          const bool *common)
{
    for (uint32_t i = 0; i < m->nprotocols; i++)
        for (uint32_t k = 0; k < first->nprotocols; k++)
            if (common[k] && str_eq(m->protocols[i].name, first->protocols[k].name))
                return k;
    return 0;
}

struct str group_vote(const struct group *g)
{
    uint32_t votes[GROUP_PROTOCOLS_MAX] = {0}, best = 0;
    bool common[GROUP_PROTOCOLS_MAX] = {false};
    const struct group_member *first;

    if (g->nmembers == 0)
        return STR_NONE;
    first = first_member(g);
    for (uint32_t k = 0; k < first->nprotocols; k++)
        common[k] = all_know(g, NULL, first->protocols[k].name);
    LIST_FOREACH(l, &g->members)
    votes[favourite(LIST_ENTRY(l, struct group_member, link), first, common)]++;
    for (uint32_t k = 1; k < first->nprotocols; k++)
        if (votes[k] > votes[best])
            best = k;
    ASSERT(common[best]);
    return first->protocols[best].name;
}

struct str group_metadata(const struct group *g, const struct group_member *m)
{
    for (uint32_t i = 0; g->protocol.p != NULL && i < m->nprotocols; i++)
        if (str_eq(m->protocols[i].name, g->protocol))
            return m->protocols[i].metadata;
    return STR("");
}

/* A consumer's metadata begins with a version and the list of its topics. False: it can not be
 * read. */
static bool read_topics(struct str in, const struct once *asked, struct once *read)
{
    uint32_t n;

    if (in.n < 6)
        return false;
    n = kafka_get_u32(in.p + 2);
    in = str_skip(in, 6);
    for (uint32_t i = 0; i < n; i++) {
        size_t bytes = in.n >= 2 ? kafka_get_u16(in.p) : SIZE_MAX;
        if (bytes == SIZE_MAX || in.n < 2 + bytes)
            return false;
        if (once_has(asked, str_from(in.p + 2, bytes)))
            once_take(read, str_from(in.p + 2, bytes));
        in = str_skip(in, 2 + bytes);
    }
    return true;
}

bool group_subscriptions(const struct group *g, const struct once *asked, struct once *read)
{
    if (g->nmembers > 0 && !str_eq(g->protocol_type, STR("consumer")))
        return false;
    LIST_FOREACH(l, &g->members)
    {
        const struct group_member *m = LIST_ENTRY(l, struct group_member, link);
        for (uint32_t i = 0; i < m->nprotocols; i++)
            if (!read_topics(m->protocols[i].metadata, asked, read))
                return false;
    }
    return true;
}
