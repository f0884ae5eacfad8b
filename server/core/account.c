#include "server/core/account.h"

#include "lib/base/hash.h"
#include "lib/base/lock.h"
#include "lib/base/mem.h"
#include "server/core/account_wiring.h"

struct account *account_open(const char *name, uint32_t index, uint64_t hash_seed)
{
    struct account *a = mem_alloc(sizeof(*a));

    *a = (struct account){
        .name = mem_strdup(name),
        .index = index,
        .interest = interest_open(hash_seed),
        .max_connections = -1,
        .max_subscriptions = -1,
        .max_payload = -1,
        .max_leafs = -1,
    };
    return a;
}

void account_close(struct account *a)
{
    account_wiring_free((struct account_wiring *) (uintptr_t) atomic_load(&a->wiring));
    interest_close(a->interest);
    mem_free(a->name);
    mem_free(a);
}

/* ---- the set --------------------------------------------------------------------------------- */

struct account_set {
    struct rwlock lock; /* guards list, n and by_name; held for a look */
    struct account **list;
    uint32_t n;
    struct hmap by_name;
    uint64_t seed;
};

struct account_set *account_set_open(uint64_t hash_seed)
{
    struct account_set *set = mem_zalloc(sizeof(*set));

    rwlock_init(&set->lock);
    hmap_init(&set->by_name);
    set->seed = hash_seed;
    return set;
}

void account_set_close(struct account_set *set)
{
    for (uint32_t i = 0; i < set->n; i++)
        account_close(set->list[i]);
    mem_free(set->list);
    hmap_deinit(&set->by_name);
    rwlock_deinit(&set->lock);
    mem_free(set);
}

static uint64_t hash_of(const struct account_set *set, struct str name)
{
    return hash_bytes(name.p, name.n, set->seed);
}

static struct account *find(const struct account_set *set, struct str name)
{
    uint64_t h = hash_of(set, name);

    for (struct hmap_node *n = hmap_first(&set->by_name, h); n != NULL; n = hmap_next(n, h)) {
        struct account *a = CONTAINER_OF(n, struct account, by_name);
        if (str_eq(str_of(a->name), name))
            return a;
    }
    return NULL;
}

struct account *account_set_find(struct account_set *set, struct str name)
{
    struct account *a;

    rwlock_read(&set->lock);
    a = find(set, name);
    rwlock_unlock(&set->lock);
    return a;
}

struct account *account_set_add(struct account_set *set, struct str name)
{
    struct account *a = account_set_find(set, name);
    char *text;

    if (a != NULL)
        return a;
    text = mem_strndup(name.p, name.n);
    a = account_open(text, set->n, set->seed + set->n);
    mem_free(text);
    rwlock_write(&set->lock);
    set->list = mem_realloc(set->list, (set->n + 1) * sizeof(struct account *));
    set->list[set->n++] = a;
    hmap_insert(&set->by_name, &a->by_name, hash_of(set, name));
    rwlock_unlock(&set->lock);
    return a;
}

struct account *account_set_get(struct account_set *set, uint32_t i)
{
    struct account *a;

    rwlock_read(&set->lock);
    a = i < set->n ? set->list[i] : NULL;
    rwlock_unlock(&set->lock);
    return a;
}
