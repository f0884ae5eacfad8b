/* txn_pending.c - see txn_pending.h. */
#include "server/kafka/txn_pending.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"

struct txn_pending_one {
    struct hmap_node node;
    const struct txn_offset *offset;
};

static uint64_t hash_of(const struct txn_pending *p, struct str group, struct str topic,
                        int32_t partition)
{
    uint64_t h = hash_bytes(group.p, group.n, p->seed);

    return hash_bytes(topic.p, topic.n, h ^ (uint32_t) partition);
}

static void add(struct txn_pending *p, struct txn_pending_one *one, const struct txn_offset *o)
{
    if (txn_pending_has(p, o->group, o->o.topic, o->o.partition))
        return; /* of another transaction, too */
    one->offset = o;
    hmap_insert(&p->map, &one->node, hash_of(p, o->group, o->o.topic, o->o.partition));
}

void txn_pending_init(struct txn_pending *p, const struct txn_table *x)
{
    size_t n = 0;

    *p = (struct txn_pending){.seed = x->seed};
    hmap_init(&p->map);
    LIST_FOREACH(l, &x->all)
    n += LIST_ENTRY(l, struct txn, link)->noffsets;
    p->all = mem_array(n + 1, sizeof(*p->all));
    n = 0;
    LIST_FOREACH(l, &x->all)
    {
        const struct txn *t = LIST_ENTRY(l, struct txn, link);
        for (uint32_t i = 0; i < t->noffsets; i++)
            add(p, &p->all[n++], &t->offsets[i]);
    }
}

void txn_pending_deinit(struct txn_pending *p)
{
    hmap_deinit(&p->map);
    mem_free(p->all);
}

bool txn_pending_has(const struct txn_pending *p, struct str group, struct str topic,
                     int32_t partition)
{
    uint64_t h = hash_of(p, group, topic, partition);

    for (struct hmap_node *n = hmap_first(&p->map, h); n != NULL; n = hmap_next(n, h)) {
        const struct txn_offset *o = CONTAINER_OF(n, struct txn_pending_one, node)->offset;
        if (o->o.partition == partition && str_eq(o->group, group) && str_eq(o->o.topic, topic))
            return true;
    }
    return false;
}
