/*
 * seqset.h - a set of 64-bit sequences kept as sorted, disjoint, non-adjacent ranges.
 *
 * For interior deletes and acknowledged-above-the-floor: mostly long ranges, sometimes a million
 * single holes. Ranges live in sorted blocks (a two-level B-tree), so that insert, remove and
 * lookup are O(log n) with moves inside one small block, and memory is 16 bytes a range plus slack.
 * Members are below UINT64_MAX (asserted by seqset_add, refused by seqset_decode); bounds of
 * questions may be anything. Zero-initialised is empty. One owner.
 */
#ifndef BASE_SEQSET_H
#define BASE_SEQSET_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct seqset_block;

/* What a search needs to know of a block without touching it. */
struct seqset_node {
    uint64_t first; /* of its first range */
    uint64_t count; /* sequences in it */
    struct seqset_block *block;
};

struct seqset {
    struct seqset_node *nodes;
    size_t nblocks;
    size_t cap;
    uint64_t count; /* sequences in the set */
    uint64_t nranges;
};

void seqset_free(struct seqset *s);
/* Adds [first, last]; returns how many were new. */
uint64_t seqset_add(struct seqset *s, uint64_t first, uint64_t last);
/* Removes [first, last]; returns how many were there. */
uint64_t seqset_remove(struct seqset *s, uint64_t first, uint64_t last);
bool seqset_has(const struct seqset *s, uint64_t seq);
/* The first range that ends at or after seq: true and its full bounds, or false. */
bool seqset_range_from(const struct seqset *s, uint64_t seq, uint64_t *first, uint64_t *last);
/* How many of [first, last] are in the set. */
uint64_t seqset_count_in(const struct seqset *s, uint64_t first, uint64_t last);
/* Smallest and largest member; false when empty. */
bool seqset_bounds(const struct seqset *s, uint64_t *min, uint64_t *max);

/* Ranges as delta varints, appended to out. Decode replaces what s holds by the whole of `in`; when
 * that is malformed it returns false and leaves s empty. */
void seqset_encode(const struct seqset *s, struct buf *out);
bool seqset_decode(struct seqset *s, struct str in);
void seqset_check(const struct seqset *s);

#endif
