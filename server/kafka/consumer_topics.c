/*
 * consumer_topics.c - the topics of a consumer group: what the names that its members want to read
 * mean now, and who owns which partition.
 *
 * A topic that is made anew has another id and is another topic: the old one stays, nobody's
 * target, until no member owns a part of it any more.
 */
#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/kafka/consumer_int.h"
#include "server/kafka/consumer_pattern.h"

#include <string.h>

static uint64_t hash_name(struct str name)
{
    return hash_bytes(name.p, name.n, 0);
}

static uint64_t hash_id(const struct kafka_uuid *id)
{
    return hash_bytes(id, sizeof(*id), 0);
}

static uint64_t hash_number(uint32_t number)
{
    return hash_bytes(&number, sizeof(number), 0);
}

struct consumer_topic *consumer_group_topic(const struct consumer_group *g, uint32_t number)
{
    uint64_t h = hash_number(number);

    for (struct hmap_node *n = hmap_first(&g->by_number, h); n != NULL; n = hmap_next(n, h)) {
        struct consumer_topic *t = CONTAINER_OF(n, struct consumer_topic, by_number);
        if (t->number == number)
            return t;
    }
    return NULL;
}

/* The names of topics that are there are different ones. */
static struct consumer_topic *any_named(const struct consumer_group *g, struct str name, bool there)
{
    uint64_t h = hash_name(name);

    for (struct hmap_node *n = hmap_first(&g->by_name, h); n != NULL; n = hmap_next(n, h)) {
        struct consumer_topic *t = CONTAINER_OF(n, struct consumer_topic, by_name);
        if (t->there == there && str_eq(t->name, name))
            return t;
    }
    return NULL;
}

struct consumer_topic *consumer_topic_named(const struct consumer_group *g, struct str name)
{
    return any_named(g, name, true);
}

struct consumer_topic *consumer_topic_with_id(const struct consumer_group *g,
                                              const struct kafka_uuid *id)
{
    uint64_t h = hash_id(id);

    for (struct hmap_node *n = hmap_first(&g->by_uuid, h); n != NULL; n = hmap_next(n, h)) {
        struct consumer_topic *t = CONTAINER_OF(n, struct consumer_topic, by_uuid);
        if (memcmp(&t->id, id, sizeof(*id)) == 0)
            return t;
    }
    return NULL;
}

/* ---- owners ---------------------------------------------------------------------------------- */

void consumer_own(struct consumer_group *g, uint64_t part, struct consumer_member *m)
{
    struct consumer_topic *t = consumer_group_topic(g, part_topic(part));
    struct consumer_member **owner;

    ASSERT(t != NULL && part_index(part) < t->room);
    owner = &t->owners[part_index(part)];
    ASSERT((*owner == NULL) == (m != NULL));
    *owner = m;
    t->held += m != NULL ? 1 : -1u;
}

struct consumer_member *consumer_owner(const struct consumer_group *g, uint64_t part)
{
    const struct consumer_topic *t = consumer_group_topic(g, part_topic(part));

    return t != NULL && part_index(part) < t->room ? t->owners[part_index(part)] : NULL;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static struct consumer_topic *topic_new(struct consumer_group *g, struct str name,
                                        const struct consumer_found *found)
{
    struct consumer_topic *t = mem_zalloc(sizeof(*t));

    t->number = ++g->last_number;
    t->name = str_from(mem_strndup(name.p, name.n), name.n);
    t->id = found->id;
    hmap_insert(&g->by_number, &t->by_number, hash_number(t->number));
    hmap_insert(&g->by_name, &t->by_name, hash_name(t->name));
    hmap_insert(&g->by_uuid, &t->by_uuid, hash_id(&t->id));
    list_push_back(&g->topics, &t->link);
    return t;
}

static void topic_free(struct consumer_group *g, struct consumer_topic *t)
{
    hmap_remove(&g->by_number, &t->by_number);
    hmap_remove(&g->by_name, &t->by_name);
    hmap_remove(&g->by_uuid, &t->by_uuid);
    list_remove(&t->link);
    mem_free((char *) (uintptr_t) t->name.p);
    mem_free(t->owners);
    mem_free(t);
}

static void topic_resize(struct consumer_topic *t, int32_t partitions)
{
    t->partitions = partitions;
    if (partitions <= t->room)
        return;
    t->owners = mem_realloc(t->owners, (size_t) partitions * sizeof(struct consumer_member *));
    for (int32_t i = t->room; i < partitions; i++)
        t->owners[i] = NULL;
    t->room = partitions;
}

/* One name; partitions of it count for *room. True: it is not what it was. */
static bool look_up(struct consumer_group *g, struct str name, uint32_t *room)
{
    struct consumer_topic *t = consumer_topic_named(g, name);
    struct consumer_found found;
    bool changed = false;

    if (t != NULL && t->wanted)
        return false;
    if (!g->world->find(g->world->ctx, name, &found) || found.partitions < 0 ||
        (uint32_t) found.partitions > *room)
        return false; /* if it was there, it is not wanted any more */
    *room -= (uint32_t) found.partitions;
    if (t != NULL && memcmp(&t->id, &found.id, sizeof(found.id)) != 0) {
        t->there = false;
        t = NULL;
        changed = true;
    }
    if (t == NULL) {
        t = consumer_topic_with_id(g, &found.id);
        if (t != NULL && !str_eq(t->name, name))
            return changed; /* two topics of one id: a copy of a stream; the first is read */
        if (t == NULL)
            t = topic_new(g, name, &found);
        t->there = changed = true;
    }
    t->wanted = true;
    changed |= t->partitions != found.partitions;
    topic_resize(t, found.partitions);
    return changed;
}

/* ---- regular expressions --------------------------------------------------------------------- */

static void drop_names(struct consumer_pattern *p)
{
    for (uint32_t i = 0; i < p->nnames; i++)
        mem_free((char *) (uintptr_t) p->names[i].p);
    p->nnames = 0;
}

static void drop_pattern(struct consumer_group *g, struct consumer_pattern *p)
{
    if (p == NULL || --p->users > 0)
        return;
    drop_names(p);
    list_remove(&p->link);
    g->npatterns--;
    mem_free(p->names);
    mem_free((char *) (uintptr_t) p->text.p);
    pattern_free(p->compiled);
    mem_free(p);
}

static struct consumer_pattern *find_pattern(const struct consumer_group *g, struct str text)
{
    LIST_FOREACH(l, &g->patterns)
    {
        struct consumer_pattern *p = LIST_ENTRY(l, struct consumer_pattern, link);
        if (str_eq(p->text, text))
            return p;
    }
    return NULL;
}

static struct consumer_pattern *new_pattern(struct consumer_group *g, struct str text)
{
    struct pattern *compiled = g->npatterns < CONSUMER_PATTERNS_MAX ? pattern_compile(text) : NULL;
    struct consumer_pattern *p;

    if (compiled == NULL)
        return NULL;
    p = mem_zalloc(sizeof(*p));
    p->compiled = compiled;
    p->text = str_from(mem_strndup(text.p, text.n), text.n);
    list_push_back(&g->patterns, &p->link);
    g->npatterns++;
    return p;
}

bool consumer_pattern_set(struct consumer_group *g, struct consumer_member *m, struct str text)
{
    struct consumer_pattern *p = NULL;

    if (text.n > 0) {
        p = find_pattern(g, text);
        if (p == NULL)
            p = new_pattern(g, text);
        if (p == NULL)
            return false;
        p->users++;
    }
    drop_pattern(g, m->pattern);
    m->pattern = p;
    return true;
}

static void take_match(void *to, struct str name)
{
    struct consumer_pattern *p = to;

    if (!pattern_matches(p->compiled, name))
        return;
    if (p->nnames == p->cap) {
        p->cap = p->cap * 2 + 8;
        p->names = mem_realloc(p->names, p->cap * sizeof(*p->names));
    }
    p->names[p->nnames++] = str_from(mem_strndup(name.p, name.n), name.n);
}

static bool look_up_matches(struct consumer_group *g, bool again, uint32_t *room)
{
    bool changed = false;

    LIST_FOREACH(l, &g->patterns)
    {
        struct consumer_pattern *p = LIST_ENTRY(l, struct consumer_pattern, link);
        if (again || !p->looked) {
            drop_names(p);
            g->world->each(g->world->ctx, take_match, p);
            p->looked = true;
        }
        for (uint32_t i = 0; i < p->nnames; i++)
            changed |= look_up(g, p->names[i], room);
    }
    return changed;
}

bool consumer_topics_look(struct consumer_group *g)
{
    uint64_t version = g->world->version(g->world->ctx);
    uint32_t room = g->rules->max_partitions;
    bool changed = false, again = version != g->version;

    g->version = version;
    g->looked = true;
    LIST_FOREACH(l, &g->topics)
    LIST_ENTRY(l, struct consumer_topic, link)->wanted = false;
    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        for (uint32_t i = 0; i < m->nnames; i++)
            changed |= look_up(g, m->names[i], &room);
    }
    changed |= look_up_matches(g, again, &room);
    LIST_FOREACH(l, &g->topics)
    {
        struct consumer_topic *t = LIST_ENTRY(l, struct consumer_topic, link);
        changed |= t->there && !t->wanted;
        t->there &= t->wanted;
    }
    return changed;
}

void consumer_topics_sweep(struct consumer_group *g)
{
    LIST_FOREACH_SAFE(l, tmp, &g->topics)
    {
        struct consumer_topic *t = LIST_ENTRY(l, struct consumer_topic, link);
        if (!t->there && t->held == 0)
            topic_free(g, t);
    }
}

void consumer_topics_free(struct consumer_group *g)
{
    LIST_FOREACH_SAFE(l, tmp, &g->topics)
    topic_free(g, LIST_ENTRY(l, struct consumer_topic, link));
}
