/* dedup.c - a hash map and a queue over the same entries. */
#include "server/js/dedup.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"

struct entry {
    struct hmap_node node; /* first half of the id's hash */
    struct list link;
    uint64_t hash2;
    uint64_t seq;
    int64_t ts;
};

void dedup_init(struct dedup *d, uint64_t seed, int64_t window_ns)
{
    hmap_init(&d->map);
    list_init(&d->order);
    d->seed = seed;
    d->window_ns = window_ns;
}

static void drop(struct dedup *d, struct entry *e)
{
    hmap_remove(&d->map, &e->node);
    list_remove(&e->link);
    mem_free(e);
}

void dedup_deinit(struct dedup *d)
{
    LIST_FOREACH_SAFE(l, tmp, &d->order)
    drop(d, LIST_ENTRY(l, struct entry, link));
    hmap_deinit(&d->map);
}

static void expire(struct dedup *d, int64_t now)
{
    struct list *l;

    while ((l = list_first(&d->order)) != NULL) {
        struct entry *e = LIST_ENTRY(l, struct entry, link);
        if (now - e->ts <= d->window_ns)
            return;
        drop(d, e);
    }
}

static uint64_t first_half(const struct dedup *d, struct str id)
{
    return hash_bytes(id.p, id.n, d->seed);
}

static uint64_t second_half(const struct dedup *d, struct str id)
{
    return hash_bytes(id.p, id.n, ~d->seed * 0x9e3779b97f4a7c15u);
}

uint64_t dedup_find(struct dedup *d, struct str id, int64_t now_unix_ns)
{
    uint64_t h = first_half(d, id);
    uint64_t h2 = second_half(d, id);

    expire(d, now_unix_ns);
    for (struct hmap_node *n = hmap_first(&d->map, h); n != NULL; n = hmap_next(n, h))
        if (CONTAINER_OF(n, struct entry, node)->hash2 == h2)
            return CONTAINER_OF(n, struct entry, node)->seq;
    return 0;
}

void dedup_add(struct dedup *d, struct str id, uint64_t seq, int64_t ts)
{
    struct entry *e = mem_alloc(sizeof(*e));

    e->hash2 = second_half(d, id);
    e->seq = seq;
    e->ts = ts;
    list_push_back(&d->order, &e->link);
    hmap_insert(&d->map, &e->node, first_half(d, id));
}

void dedup_forget_above(struct dedup *d, uint64_t seq)
{
    LIST_FOREACH_SAFE(l, tmp, &d->order)
    {
        struct entry *e = LIST_ENTRY(l, struct entry, link);
        if (e->seq > seq)
            drop(d, e);
    }
}
