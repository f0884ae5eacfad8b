/*
 * hmap.h - intrusive hash map: the table holds pointers to nodes embedded in the caller's objects.
 *
 * Open chaining over a power-of-two array that doubles at load 1 by moving a few buckets with every
 * insert (no pause with a million entries). The caller computes the hash (hash.h) and compares keys
 * itself:
 *
 *     for (struct hmap_node *n = hmap_first(&map, h); n != NULL; n = hmap_next(n, h))
 *         if (key matches CONTAINER_OF(n, ...)) ...
 *
 * Iteration with hmap_iter is in insertion order of buckets, the same for the same seed and
 * history.
 */
#ifndef BASE_HMAP_H
#define BASE_HMAP_H

#include <stddef.h>
#include <stdint.h>

struct hmap_node {
    struct hmap_node *next;
    uint64_t hash;
};

struct hmap {
    struct hmap_node **buckets;
    struct hmap_node **old_buckets; /* while growing, else NULL */
    size_t mask;
    size_t old_mask;
    size_t moved; /* old buckets already moved */
    size_t count;
};

void hmap_init(struct hmap *m);
/* Frees the arrays; the nodes are the caller's. */
void hmap_deinit(struct hmap *m);
void hmap_insert(struct hmap *m, struct hmap_node *node, uint64_t hash);
/* The node must be in the map. */
void hmap_remove(struct hmap *m, struct hmap_node *node);
struct hmap_node *hmap_first(const struct hmap *m, uint64_t hash);
struct hmap_node *hmap_next(const struct hmap_node *node, uint64_t hash);

struct hmap_iter {
    size_t bucket;
    struct hmap_node *node;
};
/* struct hmap_iter it = {0}; while ((n = hmap_each(&m, &it)) != NULL) ...; the current node may be
 * removed. */
struct hmap_node *hmap_each(const struct hmap *m, struct hmap_iter *it);
void hmap_check(const struct hmap *m);

#endif
