/*
 * Chains over a power-of-two array, with growth in steps.
 *
 * When the number of nodes reaches the number of buckets, an array of twice the size becomes
 * `buckets` and the former one `old_buckets`. A node lives in the old array as long as its old
 * bucket has not been moved (index >= moved), also when it is inserted meanwhile, so that every
 * hash has exactly one chain to search. Each insertion moves MOVE_STEP old buckets; with one
 * insertion per bucket left before the next doubling the move is over long before that. Nothing
 * shrinks.
 */
#include "lib/base/hmap.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#define BUCKETS_MIN 8
#define MOVE_STEP 4

void hmap_init(struct hmap *m)
{
    *m = (struct hmap){0};
}

void hmap_deinit(struct hmap *m)
{
    mem_free(m->buckets);
    mem_free(m->old_buckets);
    hmap_init(m);
}

static struct hmap_node **chain(const struct hmap *m, uint64_t hash)
{
    if (UNLIKELY(m->old_buckets != NULL) && (hash & m->old_mask) >= m->moved)
        return &m->old_buckets[hash & m->old_mask];
    return &m->buckets[hash & m->mask];
}

static void push(struct hmap_node **head, struct hmap_node *node)
{
    node->next = *head;
    *head = node;
}

static void move_some(struct hmap *m)
{
    for (unsigned i = 0; i < MOVE_STEP && m->moved <= m->old_mask; i++) {
        struct hmap_node *node = m->old_buckets[m->moved++];
        while (node != NULL) {
            struct hmap_node *next = node->next;
            push(&m->buckets[node->hash & m->mask], node);
            node = next;
        }
    }
    if (m->moved > m->old_mask) {
        mem_free(m->old_buckets);
        m->old_buckets = NULL;
    }
}

static void grow(struct hmap *m)
{
    size_t n = m->buckets != NULL ? (m->mask + 1) * 2 : BUCKETS_MIN;

    m->old_buckets = m->buckets;
    m->old_mask = m->mask;
    m->moved = 0;
    m->buckets = mem_zalloc(n * sizeof(m->buckets[0]));
    m->mask = n - 1;
}

void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash)
{
    if (UNLIKELY(m->old_buckets != NULL))
        move_some(m);
    else if (UNLIKELY(m->buckets == NULL || m->count > m->mask))
        grow(m);
    node->hash = hash;
    push(chain(m, hash), node);
    m->count++;
}

void hmap_remove(struct hmap *m, struct hmap_node *node)
{
    struct hmap_node **at;

    ASSERT(m->count > 0);
    for (at = chain(m, node->hash); *at != node; at = &(*at)->next)
        ASSERT(*at != NULL);
    *at = node->next;
    node->next = NULL;
    m->count--;
}

static struct hmap_node *same_hash(struct hmap_node *node, uint64_t hash)
{
    while (node != NULL && node->hash != hash)
        node = node->next;
    return node;
}

struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash)
{
    return m->buckets != NULL ? same_hash(*chain(m, hash), hash) : NULL;
}

struct hmap_node *hmap_next(const struct hmap_node *node, uint64_t hash)
{
    return same_hash(node->next, hash);
}

static size_t old_count(const struct hmap *m)
{
    return m->old_buckets != NULL ? m->old_mask + 1 : 0;
}

/* Buckets count through the old array (moved ones are empty to us), then the new one. */
struct hmap_node *hmap_each(const struct hmap *m, struct hmap_iter *it)
{
    size_t old = old_count(m);
    size_t end = m->buckets != NULL ? old + m->mask + 1 : 0;
    struct hmap_node *node = it->node;

    while (node == NULL && it->bucket < end) {
        size_t i = it->bucket++;
        if (i >= old)
            node = m->buckets[i - old];
        else if (i >= m->moved)
            node = m->old_buckets[i];
    }
    if (node != NULL)
        it->node = node->next;
    return node;
}

static size_t check_chain(const struct hmap_node *node, uint64_t index, size_t mask)
{
    size_t n = 0;

    for (; node != NULL; node = node->next, n++)
        ASSERT((node->hash & mask) == index);
    return n;
}

void hmap_check(const struct hmap *m)
{
    size_t n = 0;

    if (m->buckets == NULL) {
        ASSERT(m->count == 0 && m->old_buckets == NULL);
        return;
    }
    ASSERT((m->mask & (m->mask + 1)) == 0);
    for (size_t i = 0; i <= m->mask; i++)
        n += check_chain(m->buckets[i], i, m->mask);
    if (m->old_buckets != NULL) {
        ASSERT(m->mask == m->old_mask * 2 + 1 && m->moved <= m->old_mask);
        for (size_t i = m->moved; i <= m->old_mask; i++)
            n += check_chain(m->old_buckets[i], i, m->old_mask);
    }
    ASSERT(n == m->count);
}
