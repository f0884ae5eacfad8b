/* txn_table.c - see txn_table.h. */
#include "server/kafka/txn_table.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"

static uint64_t hash_of(const struct txn_table *x, struct str s)
{
    return hash_bytes(s.p, s.n, x->seed);
}

static struct str own(struct str s)
{
    return str_from(mem_strndup(s.p, s.n), s.n);
}

static void owner_init(struct txn_owner *o, struct str name)
{
    *o = (struct txn_owner){.name = name};
    list_init(&o->link);
    list_init(&o->resting);
}

void txn_table_init(struct txn_table *x, uint64_t seed, uint32_t max, size_t max_bytes)
{
    *x = (struct txn_table){.seed = seed,
                            .max = max,
                            .max_of_one = max - max / 4,
                            .max_bytes = max_bytes,
                            .max_bytes_of_one = max_bytes - max_bytes / 4};
    hmap_init(&x->map);
    hmap_init(&x->by_name);
    list_init(&x->all);
    list_init(&x->owners);
    owner_init(&x->nobody, STR_NONE);
    list_push_back(&x->owners, &x->nobody.link);
}

void txn_table_deinit(struct txn_table *x)
{
    ASSERT(x->map.count == 0 && x->by_name.count == 0);
    hmap_deinit(&x->map);
    hmap_deinit(&x->by_name);
}

struct txn *txn_table_find(const struct txn_table *x, struct str id)
{
    uint64_t h = hash_of(x, id);

    for (struct hmap_node *n = hmap_first(&x->map, h); n != NULL; n = hmap_next(n, h)) {
        struct txn *t = CONTAINER_OF(n, struct txn, node);
        if (str_eq(t->id, id))
            return t;
    }
    return NULL;
}

/* ---- owners ---------------------------------------------------------------------------------- */

static struct txn_owner *owner_find(struct txn_table *x, struct str name)
{
    uint64_t h = hash_of(x, name);

    if (name.p == NULL)
        return &x->nobody;
    for (struct hmap_node *n = hmap_first(&x->by_name, h); n != NULL; n = hmap_next(n, h)) {
        struct txn_owner *o = CONTAINER_OF(n, struct txn_owner, node);
        if (str_eq(o->name, name))
            return o;
    }
    return NULL;
}

static struct txn_owner *owner_get(struct txn_table *x, struct str name)
{
    struct txn_owner *o = owner_find(x, name);

    if (o != NULL)
        return o;
    o = mem_alloc(sizeof(*o));
    owner_init(o, own(name));
    hmap_insert(&x->by_name, &o->node, hash_of(x, name));
    list_push_back(&x->owners, &o->link);
    return o;
}

/* An owner without ids goes. */
static void disown(struct txn_table *x, struct txn *t)
{
    struct txn_owner *o = t->owner;

    txn_table_rest(x, t, false);
    o->bytes -= t->counted;
    t->owner = NULL;
    if (--o->n > 0 || o == &x->nobody)
        return;
    hmap_remove(&x->by_name, &o->node);
    list_remove(&o->link);
    mem_free((char *) (uintptr_t) o->name.p);
    mem_free(o);
}

static void own_by(struct txn *t, struct txn_owner *o)
{
    t->owner = o;
    o->n++;
    o->bytes += t->counted;
}

void txn_table_own(struct txn_table *x, struct txn *t, struct str owner)
{
    struct txn_owner *o = owner_get(x, owner);
    bool rested = list_linked(&t->resting);

    if (t->owner == o)
        return;
    disown(x, t);
    own_by(t, o);
    txn_table_rest(x, t, rested);
}

void txn_table_rest(struct txn_table *x, struct txn *t, bool rests)
{
    struct txn_owner *o = t->owner;

    x->bytes += t->bytes - t->counted;
    o->bytes += t->bytes - t->counted;
    t->counted = t->bytes;
    if (list_linked(&t->resting)) {
        list_remove(&t->resting);
        o->nresting--;
    }
    if (rests) {
        list_push_back(&o->resting, &t->resting);
        o->nresting++;
    }
}

bool txn_table_may_hold(const struct txn_table *x, const struct txn *t, size_t more)
{
    more += t->bytes - t->counted;
    return x->bytes + more <= x->max_bytes &&
           (t->owner == &x->nobody || t->owner->bytes + more <= x->max_bytes_of_one);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static struct txn *longest_at_rest(const struct txn_owner *o)
{
    struct list *l = list_first(&o->resting);

    return l != NULL ? LIST_ENTRY(l, struct txn, resting) : NULL;
}

bool txn_table_room(struct txn_table *x, struct str owner, struct txn **out)
{
    struct txn_owner *o = owner_find(x, owner), *most = &x->nobody;

    *out = NULL;
    if (o != NULL && o != &x->nobody && o->n >= x->max_of_one) {
        *out = longest_at_rest(o);
        return *out != NULL;
    }
    if (x->map.count < x->max)
        return true;
    LIST_FOREACH(l, &x->owners)
    {
        struct txn_owner *other = LIST_ENTRY(l, struct txn_owner, link);
        if (other->nresting > most->nresting)
            most = other;
    }
    *out = longest_at_rest(most);
    return *out != NULL;
}

struct txn *txn_table_add(struct txn_table *x, struct str id, struct str owner)
{
    struct txn *t = mem_zalloc(sizeof(*t));

    t->id = own(id);
    t->seed = x->seed;
    list_init(&t->resting);
    list_init(&t->waiting);
    hmap_insert(&x->map, &t->node, hash_of(x, id));
    list_push_back(&x->all, &t->link);
    own_by(t, owner_get(x, owner));
    txn_table_rest(x, t, true);
    return t;
}

void txn_table_remove(struct txn_table *x, struct txn *t)
{
    txn_clear(t);
    disown(x, t);
    hmap_remove(&x->map, &t->node);
    list_remove(&t->link);
    mem_free((char *) (uintptr_t) t->id.p);
    mem_free(t);
}
