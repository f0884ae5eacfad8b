/*
 * seqset.h - a set of 64-bit sequences kept as sorted, disjoint, non-adjacent ranges.
 *
 * For interior deletes and acknowledged-above-the-floor: mostly long ranges, sometimes a million single
 * holes. Ranges live in sorted blocks (a two-level B-tree), so that insert, remove and lookup are
 * O(log n) with moves inside one small block, and memory is 16 bytes a range plus slack.
 * Zero-initialised is empty. One owner.
 */
#ifndef BASE_SEQSET_H
#define BASE_SEQSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct seqset_block;

struct seqset {
    struct seqset_block **blocks;
    size_t nblocks;
    size_t cap;
    uint64_t count;   /* sequences in the set */
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

/* Ranges as delta varints, appended to out; decode reads the whole of `in` (false when malformed). */
void seqset_encode(const struct seqset *s, struct buf *out);
bool seqset_decode(struct seqset *s, struct str in);
void seqset_check(const struct seqset *s);

#endif
