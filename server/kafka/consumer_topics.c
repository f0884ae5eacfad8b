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

bool consumer_topics_look(struct consumer_group *g)
{
    uint32_t room = g->rules->max_partitions;
    bool changed = false;

    g->version = g->world->version(g->world->ctx);
    g->looked = true;
    LIST_FOREACH(l, &g->topics)
    LIST_ENTRY(l, struct consumer_topic, link)->wanted = false;
    LIST_FOREACH(l, &g->members)
    {
        const struct consumer_member *m = LIST_ENTRY(l, struct consumer_member, link);
        for (uint32_t i = 0; i < m->nnames; i++)
            changed |= look_up(g, m->names[i], &room);
    }
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
