/*
 * Ranges in blocks of up to BLOCK_MAX, and an array of nodes with what a search needs of each
 * block.
 *
 * Invariants (seqset_check):
 * 1. Ranges are sorted, first <= last < UINT64_MAX, and at least one absent sequence lies between
 * two.
 * 2. No block is empty. A node's first and count describe its block; s->count and s->nranges the
 * whole.
 * 3. A position (block, index) names a range, or is (nblocks, 0) behind the last one.
 *
 * All changes go through set_range, insert_range and erase_ranges, which keep 2. Blocks are as
 * small as what they hold (a consumer without gaps has one of a few ranges), split in halves when
 * full except at the end, where sequences arrive in order and full blocks stay full, and merge with
 * a neighbour when both together fill at most half of one.
 */
#include "lib/base/seqset.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"

#include <string.h>

#define BLOCK_MIN 4
#define BLOCK_MAX 256
#define NODES_MIN 4

struct range {
    uint64_t first;
    uint64_t last;
};

struct seqset_block {
    uint32_t n;
    uint32_t cap;
    struct range ranges[];
};

struct pos {
    size_t b;
    uint32_t i;
};

static uint64_t length(struct range r)
{
    return r.last - r.first + 1;
}

static struct range *at(const struct seqset *s, struct pos p)
{
    return &s->nodes[p.b].block->ranges[p.i];
}

static bool is_end(const struct seqset *s, struct pos p)
{
    return p.b == s->nblocks;
}

static struct pos next(const struct seqset *s, struct pos p)
{
    if (++p.i == s->nodes[p.b].block->n)
        p = (struct pos){p.b + 1, 0};
    return p;
}

/* Number of nodes whose first is at or below seq. */
static size_t nodes_up_to(const struct seqset *s, uint64_t seq)
{
    size_t low = 0, high = s->nblocks;

    /* Most changes happen at the end. */
    if (high > 0 && s->nodes[high - 1].first <= seq)
        return high;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->nodes[mid].first <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* The first range that ends at or after seq. */
static struct pos find(const struct seqset *s, uint64_t seq)
{
    size_t up_to = nodes_up_to(s, seq);
    const struct seqset_block *block;
    uint32_t low = 0, high;

    if (up_to == 0)
        return (struct pos){0, 0};
    block = s->nodes[up_to - 1].block;
    high = block->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (block->ranges[mid].last < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low == block->n ? (struct pos){up_to, 0} : (struct pos){up_to - 1, low};
}

static struct seqset_block *resize(struct seqset_block *block, uint32_t cap)
{
    block = mem_realloc(block, sizeof(*block) + cap * sizeof(block->ranges[0]));
    block->cap = cap;
    return block;
}

/* An empty block before node number b; the caller puts a range in at once. */
static void insert_block(struct seqset *s, size_t b, uint32_t cap)
{
    if (s->nblocks == s->cap) {
        s->cap = s->cap != 0 ? s->cap * 2 : NODES_MIN;
        s->nodes = mem_realloc(s->nodes, s->cap * sizeof(s->nodes[0]));
    }
    memmove(&s->nodes[b + 1], &s->nodes[b], (s->nblocks - b) * sizeof(s->nodes[0]));
    s->nblocks++;
    s->nodes[b] = (struct seqset_node){.block = resize(NULL, cap)};
    s->nodes[b].block->n = 0;
}

static void recount(struct seqset_node *node)
{
    node->first = node->block->ranges[0].first;
    node->count = 0;
    for (uint32_t i = 0; i < node->block->n; i++)
        node->count += length(node->block->ranges[i]);
}

/* Moves the ranges from index `from` of block b to the end of block `to`, which has room. */
static void move_ranges(struct seqset *s, size_t b, uint32_t from, size_t to)
{
    struct seqset_block *source = s->nodes[b].block, *target = s->nodes[to].block;
    uint32_t n = source->n - from;

    memcpy(&target->ranges[target->n], &source->ranges[from], n * sizeof(source->ranges[0]));
    target->n += n;
    source->n = from;
}

static void split(struct seqset *s, size_t b)
{
    insert_block(s, b + 1, BLOCK_MAX);
    move_ranges(s, b, BLOCK_MAX / 2, b + 1);
    recount(&s->nodes[b]);
    recount(&s->nodes[b + 1]);
}

/* The place where a range before p goes, with room for it; p is not valid afterwards. */
static struct pos make_room(struct seqset *s, struct pos p)
{
    struct seqset_block *block;

    if (is_end(s, p) && s->nblocks > 0)
        p = (struct pos){s->nblocks - 1, s->nodes[s->nblocks - 1].block->n};
    if (s->nblocks == 0 || p.i == BLOCK_MAX) {
        /* Empty, or in order behind a full last block. */
        p = (struct pos){s->nblocks, 0};
        insert_block(s, p.b, BLOCK_MIN);
        return p;
    }
    block = s->nodes[p.b].block;
    if (block->n == BLOCK_MAX) {
        split(s, p.b);
        if (p.i > BLOCK_MAX / 2)
            p = (struct pos){p.b + 1, p.i - BLOCK_MAX / 2};
    } else if (block->n == block->cap) {
        s->nodes[p.b].block = resize(block, block->cap * 2);
    }
    return p;
}

/* Puts r before the range at p. */
static void insert_range(struct seqset *s, struct pos p, struct range r)
{
    struct seqset_block *block;

    p = make_room(s, p);
    block = s->nodes[p.b].block;
    memmove(&block->ranges[p.i + 1], &block->ranges[p.i], (block->n - p.i) * sizeof(r));
    block->ranges[p.i] = r;
    block->n++;
    s->nodes[p.b].first = block->ranges[0].first;
    s->nodes[p.b].count += length(r);
    s->count += length(r);
    s->nranges++;
}

static void set_range(struct seqset *s, struct pos p, struct range r)
{
    uint64_t more = length(r) - length(*at(s, p)); /* modulo 2^64 */

    *at(s, p) = r;
    s->nodes[p.b].first = s->nodes[p.b].block->ranges[0].first;
    s->nodes[p.b].count += more;
    s->count += more;
}

/* Takes the ranges from..to - 1 out of one block, which may be empty afterwards. */
static void erase_in_block(struct seqset *s, size_t b, uint32_t from, uint32_t to)
{
    struct seqset_node *node = &s->nodes[b];
    struct seqset_block *block = node->block;
    uint64_t count = 0;

    for (uint32_t i = from; i < to; i++)
        count += length(block->ranges[i]);
    memmove(&block->ranges[from], &block->ranges[to], (block->n - to) * sizeof(block->ranges[0]));
    block->n -= to - from;
    if (block->n > 0)
        node->first = block->ranges[0].first;
    node->count -= count;
    s->count -= count;
    s->nranges -= to - from;
}

/* Takes whole blocks from..to - 1 out. */
static void erase_blocks(struct seqset *s, size_t from, size_t to)
{
    if (from == to)
        return;
    for (size_t b = from; b < to; b++) {
        s->count -= s->nodes[b].count;
        s->nranges -= s->nodes[b].block->n;
        mem_free(s->nodes[b].block);
    }
    memmove(&s->nodes[from], &s->nodes[to], (s->nblocks - to) * sizeof(s->nodes[0]));
    s->nblocks -= to - from;
}

/* Joins block b with the one behind it when both are small. */
static void merge_with_next(struct seqset *s, size_t b)
{
    uint32_t n;

    if (b + 1 >= s->nblocks)
        return;
    n = s->nodes[b].block->n + s->nodes[b + 1].block->n;
    if (n > BLOCK_MAX / 2)
        return;
    if (s->nodes[b].block->cap < n)
        s->nodes[b].block = resize(s->nodes[b].block, BLOCK_MAX / 2);
    move_ranges(s, b + 1, 0, b);
    s->nodes[b].count += s->nodes[b + 1].count;
    s->nodes[b + 1].count = 0;
    erase_blocks(s, b + 1, b + 2);
}

/* Drops block b when it is empty, else keeps its slack in bounds. */
static void tidy(struct seqset *s, size_t b)
{
    struct seqset_block *block;

    if (b >= s->nblocks)
        return;
    block = s->nodes[b].block;
    if (block->n == 0) {
        erase_blocks(s, b, b + 1);
        return;
    }
    if (block->n <= block->cap / 4 && block->cap > BLOCK_MIN)
        s->nodes[b].block = resize(block, block->cap / 2);
    merge_with_next(s, b);
    if (b > 0)
        merge_with_next(s, b - 1);
}

/* Takes the ranges from `from` up to, not including, `to` out. */
static void erase_ranges(struct seqset *s, struct pos from, struct pos to)
{
    if (from.b == to.b) {
        if (from.i == to.i)
            return;
        erase_in_block(s, from.b, from.i, to.i);
    } else {
        erase_in_block(s, from.b, from.i, s->nodes[from.b].block->n);
        if (!is_end(s, to))
            erase_in_block(s, to.b, 0, to.i);
        erase_blocks(s, from.b + 1, to.b);
    }
    tidy(s, from.b);
}

void seqset_free(struct seqset *s)
{
    erase_blocks(s, 0, s->nblocks);
    mem_free(s->nodes);
    *s = (struct seqset){0};
}

uint64_t seqset_add(struct seqset *s, uint64_t first, uint64_t last)
{
    uint64_t before = s->count;
    struct range grown = {first, last};
    struct pos from, to;

    ASSERT(first <= last && last < UINT64_MAX);
    from = to = find(s, first > 0 ? first - 1 : 0);
    /* All ranges that overlap or touch become one. */
    while (!is_end(s, to) && at(s, to)->first <= last + 1) {
        if (at(s, to)->first < grown.first)
            grown.first = at(s, to)->first;
        if (at(s, to)->last > grown.last)
            grown.last = at(s, to)->last;
        to = next(s, to);
    }
    if (from.b == to.b && from.i == to.i) {
        insert_range(s, from, grown);
        return s->count - before;
    }
    /* First the others go, so that the sets' counts never pass 2^64. */
    struct pos rest = next(s, from);
    if (rest.b != to.b || rest.i != to.i) {
        uint64_t key = at(s, from)->first;
        erase_ranges(s, rest, to);
        from = find(s, key);
    }
    set_range(s, from, grown);
    return s->count - before;
}

/* Cuts the middle [first, last] out of the range at p, which is larger at both ends. */
static void punch(struct seqset *s, struct pos p, uint64_t first, uint64_t last)
{
    struct range right = {last + 1, at(s, p)->last};

    set_range(s, p, (struct range){at(s, p)->first, first - 1});
    insert_range(s, next(s, p), right);
}

uint64_t seqset_remove(struct seqset *s, uint64_t first, uint64_t last)
{
    uint64_t before = s->count;
    struct pos from, to;

    ASSERT(first <= last);
    from = find(s, first);
    if (is_end(s, from))
        return 0;
    if (at(s, from)->first < first) {
        if (at(s, from)->last > last) {
            punch(s, from, first, last);
            return before - s->count;
        }
        set_range(s, from, (struct range){at(s, from)->first, first - 1});
        from = next(s, from);
    }
    for (to = from; !is_end(s, to) && at(s, to)->last <= last; to = next(s, to))
        continue;
    if (!is_end(s, to) && at(s, to)->first <= last)
        set_range(s, to, (struct range){last + 1, at(s, to)->last});
    erase_ranges(s, from, to);
    return before - s->count;
}

bool seqset_has(const struct seqset *s, uint64_t seq)
{
    struct pos p = find(s, seq);
    return !is_end(s, p) && at(s, p)->first <= seq;
}

bool seqset_range_from(const struct seqset *s, uint64_t seq, uint64_t *first, uint64_t *last)
{
    struct pos p = find(s, seq);

    if (is_end(s, p))
        return false;
    *first = at(s, p)->first;
    *last = at(s, p)->last;
    return true;
}

uint64_t seqset_count_in(const struct seqset *s, uint64_t first, uint64_t last)
{
    uint64_t count = 0;
    struct pos p;

    if (first > last)
        return 0;
    for (p = find(s, first); !is_end(s, p) && at(s, p)->first <= last;) {
        /* A block that lies inside as a whole is known. */
        if (p.i == 0 && s->nodes[p.b].first >= first && p.b + 1 < s->nblocks &&
            s->nodes[p.b + 1].first <= last) {
            count += s->nodes[p.b].count;
            p.b++;
            continue;
        }
        struct range r = *at(s, p);
        if (r.first < first)
            r.first = first;
        if (r.last > last)
            r.last = last;
        count += length(r);
        p = next(s, p);
    }
    return count;
}

bool seqset_bounds(const struct seqset *s, uint64_t *min, uint64_t *max)
{
    const struct seqset_block *block;

    if (s->nblocks == 0)
        return false;
    block = s->nodes[s->nblocks - 1].block;
    *min = s->nodes[0].first;
    *max = block->ranges[block->n - 1].last;
    return true;
}

/* Each range as two numbers: its distance from the first sequence that it could begin with (0, or
 * two behind the range before it), and its length less one. */
void seqset_encode(const struct seqset *s, struct buf *out)
{
    uint64_t base = 0;

    for (struct pos p = {0}; !is_end(s, p); p = next(s, p)) {
        struct range r = *at(s, p);
        varint_put_buf(out, r.first - base);
        varint_put_buf(out, r.last - r.first);
        base = r.last + 2;
    }
}

static bool take_range(struct str *in, uint64_t base, struct range *r)
{
    uint64_t gap, more;

    return varint_take(in, &gap) && varint_take(in, &more) &&
           !__builtin_add_overflow(base, gap, &r->first) &&
           !__builtin_add_overflow(r->first, more, &r->last) && r->last < UINT64_MAX;
}

bool seqset_decode(struct seqset *s, struct str in)
{
    uint64_t base = 0;
    struct range r;

    seqset_free(s);
    while (in.n > 0) {
        /* base wraps to 0 only behind a range that ends at the very end: nothing may follow it. */
        if ((base == 0 && s->nblocks > 0) || !take_range(&in, base, &r)) {
            seqset_free(s);
            return false;
        }
        insert_range(s, (struct pos){s->nblocks, 0}, r);
        base = r.last + 2;
    }
    return true;
}

void seqset_check(const struct seqset *s)
{
    uint64_t count = 0, nranges = 0, lowest = 0;

    ASSERT(s->nblocks <= s->cap);
    for (size_t b = 0; b < s->nblocks; b++) {
        const struct seqset_node *node = &s->nodes[b];
        uint64_t in_block = 0;
        ASSERT(node->block->n > 0 && node->block->n <= node->block->cap);
        ASSERT(node->block->cap <= BLOCK_MAX && node->first == node->block->ranges[0].first);
        for (uint32_t i = 0; i < node->block->n; i++) {
            struct range r = node->block->ranges[i];
            ASSERT(r.first >= lowest && r.first <= r.last && r.last < UINT64_MAX);
            /* lowest wraps to 0 behind the last sequence: nothing may follow. */
            ASSERT(lowest != 0 || count + in_block == 0);
            lowest = r.last + 2;
            in_block += length(r);
        }
        ASSERT(in_block == node->count);
        count += in_block;
        nranges += node->block->n;
    }
    ASSERT(count == s->count && nranges == s->nranges);
}
