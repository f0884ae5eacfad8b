/* once.c - see once.h. */
#include "server/kafka/once.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/wire/kafka_codec.h"

struct taken {
    struct hmap_node node;
    struct str name;
};

void once_init(struct once *o, struct kafka_arena *arena, uint64_t seed)
{
    hmap_init(&o->map);
    o->arena = arena;
    o->seed = seed;
}

void once_deinit(struct once *o)
{
    hmap_deinit(&o->map);
}

static uint64_t hash_of(const struct once *o, struct str name)
{
    return hash_bytes(name.p, name.n, o->seed);
}

bool once_has(const struct once *o, struct str name)
{
    uint64_t h = hash_of(o, name);

    for (struct hmap_node *n = hmap_first(&o->map, h); n != NULL; n = hmap_next(n, h))
        if (str_eq(CONTAINER_OF(n, struct taken, node)->name, name))
            return true;
    return false;
}

bool once_take(struct once *o, struct str name)
{
    uint64_t h = hash_of(o, name);
    struct taken *t;

    if (once_has(o, name))
        return false;
    t = kafka_arena_alloc(o->arena, sizeof(*t));
    t->name = name;
    hmap_insert(&o->map, &t->node, h);
    return true;
}

bool once_next(const struct once *o, struct hmap_iter *it, struct str *name)
{
    struct hmap_node *n = hmap_each(&o->map, it);

    if (n != NULL)
        *name = CONTAINER_OF(n, struct taken, node)->name;
    return n != NULL;
}

bool once_take_partition(struct once *o, struct str topic, int32_t index)
{
    return once_take(o, kafka_arena_text(o->arena, "%d %.*s", index, STR_ARG(topic)));
}
