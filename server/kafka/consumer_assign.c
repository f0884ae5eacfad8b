/*
 * consumer_assign.c - who is to own what: the assignors `uniform` and `range`.
 *
 * range: of each topic, the members who want it, in the order of their instance ids or ids, get
 * stretches of equal length, the first ones one more.
 *
 * uniform: numbers of partitions that differ by one at most where all members want the same topics,
 * and otherwise as near to that as what they want allows; and as little as possible moves:
 *
 *     keep     a partition stays with its last owner, if that is there and wants the topic
 *     trim     all want the same: who has more than its share gives up what is beyond
 *     fill     a partition without an owner goes to who wants it and has least
 *     even out they do not want the same: from who has two more than another who wants it
 *
 * The last step ends: each move makes the sum of squares of the counts smaller.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "server/kafka/consumer_int.h"

#include <stdlib.h>
#include <string.h>

#define NOBODY UINT32_MAX
#define PASSES 8

/* A topic's partitions and the members who want it, by their index. */
struct subject {
    const struct consumer_topic *topic;
    uint32_t *wanting;
    uint32_t nwanting, cap;
    uint32_t *owner; /* of each partition */
};

struct plan {
    struct consumer_member **members;
    uint32_t nmembers;
    struct subject *subjects;
    uint32_t nsubjects;
    uint32_t *count; /* of partitions, by member */
    uint64_t total;
    /* A heap of members, least first, and where each lies in it. */
    uint32_t *heap, *place;
    uint32_t nheap;
};

/* ---- the heap -------------------------------------------------------------------------------- */

static bool is_less(const struct plan *p, uint32_t a, uint32_t b)
{
    return p->count[a] != p->count[b] ? p->count[a] < p->count[b] : a < b;
}

static void heap_put(struct plan *p, uint32_t at, uint32_t member)
{
    p->heap[at] = member;
    p->place[member] = at;
}

static void heap_down(struct plan *p, uint32_t at)
{
    uint32_t m = p->heap[at], child;

    while ((child = 2 * at + 1) < p->nheap) {
        if (child + 1 < p->nheap && is_less(p, p->heap[child + 1], p->heap[child]))
            child++;
        if (!is_less(p, p->heap[child], m))
            break;
        heap_put(p, at, p->heap[child]);
        at = child;
    }
    heap_put(p, at, m);
}

static void heap_up(struct plan *p, uint32_t at)
{
    uint32_t m = p->heap[at];

    while (at > 0 && is_less(p, m, p->heap[(at - 1) / 2])) {
        heap_put(p, at, p->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(p, at, m);
}

static void heap_of(struct plan *p, const struct subject *s)
{
    p->nheap = s->nwanting;
    for (uint32_t i = 0; i < s->nwanting; i++)
        heap_put(p, i, s->wanting[i]);
    for (uint32_t i = s->nwanting / 2; i-- > 0;)
        heap_down(p, i);
}

/* ---- uniform --------------------------------------------------------------------------------- */

static bool wants(const struct subject *s, uint32_t member)
{
    uint32_t low = 0, high = s->nwanting;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->wanting[mid] < member)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->nwanting && s->wanting[low] == member;
}

static int by_number(const void *key, const void *of)
{
    uint32_t number = *(const uint32_t *) key;
    const struct subject *s = of;

    return (number > s->topic->number) - (number < s->topic->number);
}

static void keep(struct plan *p)
{
    for (uint32_t m = 0; m < p->nmembers; m++) {
        const struct parts *last = &p->members[m]->target;
        for (size_t i = 0; i < last->n; i++) {
            uint32_t number = part_topic(last->p[i]);
            struct subject *s = bsearch(&number, p->subjects, p->nsubjects, sizeof(*p->subjects),
                                        by_number);
            int32_t index = part_index(last->p[i]);
            if (s == NULL || index >= s->topic->partitions || !wants(s, m))
                continue;
            ASSERT(s->owner[index] == NOBODY);
            s->owner[index] = m;
            p->count[m]++;
        }
    }
}

static bool all_want_the_same(const struct plan *p)
{
    for (uint32_t i = 0; i < p->nsubjects; i++)
        if (p->subjects[i].nwanting != p->nmembers)
            return false;
    return true;
}

/* Who has most keeps the one more that some have to have. */
static void trim(struct plan *p)
{
    uint64_t share = p->total / p->nmembers, more = p->total % p->nmembers;

    for (uint32_t m = 0; m < p->nmembers; m++)
        if (p->count[m] > share && more > 0) {
            more--;
            p->place[m] = 1; /* not in use as a place yet: may have one more */
        } else {
            p->place[m] = 0;
        }
    for (uint32_t i = 0; i < p->nsubjects; i++) {
        struct subject *s = &p->subjects[i];
        for (int32_t k = 0; k < s->topic->partitions; k++) {
            uint32_t m = s->owner[k];
            if (m == NOBODY || p->count[m] <= share + p->place[m])
                continue;
            p->count[m]--;
            s->owner[k] = NOBODY;
        }
    }
}

static void fill(struct plan *p, struct subject *s)
{
    ASSERT(s->nwanting > 0);
    for (int32_t k = 0; k < s->topic->partitions; k++) {
        if (s->owner[k] != NOBODY)
            continue;
        s->owner[k] = p->heap[0];
        p->count[p->heap[0]]++;
        heap_down(p, 0);
    }
}

static bool even_out(struct plan *p, struct subject *s)
{
    bool moved = false;

    for (int32_t k = 0; k < s->topic->partitions; k++) {
        uint32_t from = s->owner[k], to = p->heap[0];
        if (p->count[from] < p->count[to] + 2)
            continue;
        s->owner[k] = to;
        p->count[to]++;
        heap_down(p, 0);
        p->count[from]--;
        heap_up(p, p->place[from]);
        moved = true;
    }
    return moved;
}

static void assign_uniform(struct plan *p)
{
    bool same = all_want_the_same(p), moved = !same;

    keep(p);
    if (same)
        trim(p);
    for (uint32_t i = 0; i < p->nsubjects; i++) {
        heap_of(p, &p->subjects[i]);
        fill(p, &p->subjects[i]);
    }
    for (int pass = 0; moved && pass < PASSES; pass++) {
        moved = false;
        for (uint32_t i = 0; i < p->nsubjects; i++) {
            heap_of(p, &p->subjects[i]);
            moved |= even_out(p, &p->subjects[i]);
        }
    }
}

/* ---- range ----------------------------------------------------------------------------------- */

static struct str order_of(const struct consumer_member *m)
{
    return m->instance.p != NULL ? m->instance : m->id;
}

static int by_order(const void *a, const void *b)
{
    const struct consumer_member *x = *(struct consumer_member *const *) a,
                                 *y = *(struct consumer_member *const *) b;
    int c = str_cmp(order_of(x), order_of(y));

    return c != 0 ? c : str_cmp(x->id, y->id);
}

static void assign_range(struct plan *p)
{
    for (uint32_t i = 0; i < p->nsubjects; i++) {
        struct subject *s = &p->subjects[i];
        uint32_t n = (uint32_t) s->topic->partitions, at = 0;
        ASSERT(s->nwanting > 0);
        for (uint32_t w = 0; w < s->nwanting; w++) {
            uint32_t take = n / s->nwanting + (w < n % s->nwanting);
            for (uint32_t k = 0; k < take; k++)
                s->owner[at++] = s->wanting[w];
        }
    }
}

/* ---- a plan ---------------------------------------------------------------------------------- */

static void add_wanting(struct subject *s, uint32_t member)
{
    if (s->nwanting > 0 && s->wanting[s->nwanting - 1] == member)
        return; /* by name and by its expression */
    if (s->nwanting == s->cap) {
        s->cap = s->cap * 2 + 8;
        s->wanting = mem_realloc(s->wanting, s->cap * sizeof(*s->wanting));
    }
    s->wanting[s->nwanting++] = member;
}

static void list_members(const struct consumer_group *g, struct plan *p, bool in_order)
{
    p->members = mem_array(g->nmembers + 1, sizeof(struct consumer_member *));
    LIST_FOREACH(l, &g->members)
    p->members[p->nmembers++] = LIST_ENTRY(l, struct consumer_member, link);
    if (in_order)
        qsort(p->members, p->nmembers, sizeof(struct consumer_member *), by_order);
}

static void want_named(const struct consumer_group *g, struct plan *p, uint32_t member,
                       struct str name)
{
    const struct consumer_topic *t = consumer_topic_named(g, name);
    struct subject *s = t == NULL ? NULL
                                  : bsearch(&t->number, p->subjects, p->nsubjects,
                                            sizeof(*p->subjects), by_number);

    if (s != NULL)
        add_wanting(s, member);
}

static void list_subjects(const struct consumer_group *g, struct plan *p)
{
    uint32_t n = 0;

    LIST_FOREACH(l, &g->topics)
    n += LIST_ENTRY(l, struct consumer_topic, link)->there;
    p->subjects = mem_array(n + 1, sizeof(*p->subjects));
    memset(p->subjects, 0, (n + 1) * sizeof(*p->subjects));
    LIST_FOREACH(l, &g->topics)
    {
        const struct consumer_topic *t = LIST_ENTRY(l, struct consumer_topic, link);
        struct subject *s = &p->subjects[p->nsubjects];
        if (!t->there)
            continue;
        p->nsubjects++;
        s->topic = t;
        s->owner = mem_array((size_t) t->partitions + 1, sizeof(*s->owner));
        for (int32_t k = 0; k < t->partitions; k++)
            s->owner[k] = NOBODY;
        p->total += (uint32_t) t->partitions;
    }
    for (uint32_t m = 0; m < p->nmembers; m++) {
        const struct consumer_pattern *pattern = p->members[m]->pattern;
        for (uint32_t i = 0; i < p->members[m]->nnames; i++)
            want_named(g, p, m, p->members[m]->names[i]);
        for (uint32_t i = 0; pattern != NULL && i < pattern->nnames; i++)
            want_named(g, p, m, pattern->names[i]);
    }
}

/* Topics by number, partitions by index: the targets come out sorted. */
static void put_targets(struct plan *p)
{
    for (uint32_t m = 0; m < p->nmembers; m++)
        parts_clear(&p->members[m]->target);
    for (uint32_t i = 0; i < p->nsubjects; i++) {
        struct subject *s = &p->subjects[i];
        for (int32_t k = 0; k < s->topic->partitions; k++)
            parts_add(&p->members[s->owner[k]]->target, part_of(s->topic->number, k));
    }
}

static void plan_free(struct plan *p)
{
    for (uint32_t i = 0; i < p->nsubjects; i++) {
        mem_free(p->subjects[i].wanting);
        mem_free(p->subjects[i].owner);
    }
    mem_free(p->subjects);
    mem_free(p->members);
    mem_free(p->count);
    mem_free(p->heap);
    mem_free(p->place);
}

void consumer_assign(struct consumer_group *g, enum consumer_assignor how)
{
    struct plan p = {0};

    if (g->nmembers == 0)
        return;
    list_members(g, &p, how == CONSUMER_RANGE);
    list_subjects(g, &p);
    p.count = mem_zalloc(p.nmembers * sizeof(*p.count));
    p.heap = mem_zalloc(p.nmembers * sizeof(*p.heap));
    p.place = mem_zalloc(p.nmembers * sizeof(*p.place));
    if (how == CONSUMER_RANGE)
        assign_range(&p);
    else
        assign_uniform(&p);
    put_targets(&p);
    plan_free(&p);
}
