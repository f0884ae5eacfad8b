/*
 * subjects.c - see subjects.h.
 *
 * The table is a hash map whose nodes are in the subjects, and a two-level array from id to subject
 * (blocks of 4096 pointers, so that growing never copies). The text is stored behind the struct: a
 * lookup costs the bucket, then one or two adjacent cache lines.
 */
#include "store/subjects.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"

#include <stdlib.h>
#include <string.h>

void subjects_init(struct subjects *t, uint64_t seed)
{
    *t = (struct subjects){.seed = seed};
    hmap_init(&t->map);
}

static void free_subject(struct subject *sub)
{
    seq_ring_free(&sub->ring);
    mem_free(sub);
}

void subjects_deinit(struct subjects *t)
{
    ASSERT(t->frozen == 0);
    for (uint32_t id = 0; id < t->nids; id++)
        if (subjects_by_id(t, id) != NULL)
            free_subject(subjects_by_id(t, id));
    mem_free(t->limbo);
    for (uint32_t i = 0; i < t->nblocks; i++)
        mem_free(t->blocks[i]);
    mem_free(t->blocks);
    mem_free(t->free_ids);
    mem_free(t->sorted);
    hmap_deinit(&t->map);
}

static struct subject *find(const struct subjects *t, struct str text, uint64_t hash)
{
    for (struct hmap_node *n = hmap_first(&t->map, hash); n != NULL; n = hmap_next(n, hash)) {
        struct subject *sub = CONTAINER_OF(n, struct subject, node);
        if (sub->len == text.n && memcmp(sub->text, text.p, text.n) == 0)
            return sub;
    }
    return NULL;
}

struct subject *subjects_find(const struct subjects *t, struct str text)
{
    return find(t, text, hash_bytes(text.p, text.n, t->seed));
}

/* One more block; while frozen the old array of blocks stays where it is. The array doubles, so
 * that eight outgrown ones cover more than all ids. */
static void add_block(struct subjects *t)
{
    if (t->nblocks == t->blocks_cap) {
        uint32_t cap = t->blocks_cap == 0 ? 16 : t->blocks_cap * 16;
        struct subject ***blocks = mem_array(cap, sizeof(*blocks));
        if (t->nblocks > 0)
            memcpy(blocks, t->blocks, t->nblocks * sizeof(*blocks));
        if (t->frozen > 0)
            t->old_blocks[t->nold++] = t->blocks;
        else
            mem_free(t->blocks);
        t->blocks = blocks;
        t->blocks_cap = cap;
    }
    t->blocks[t->nblocks++] = mem_zalloc(SUBJECTS_BLOCK * sizeof(**t->blocks));
}

static uint32_t take_id(struct subjects *t)
{
    if (t->nfree > 0)
        return t->free_ids[--t->nfree];
    if (t->nids == t->nblocks * SUBJECTS_BLOCK)
        add_block(t);
    return t->nids++;
}

static void give_id(struct subjects *t, struct subject *sub)
{
    if (t->nfree == t->free_cap) {
        t->free_cap = t->free_cap == 0 ? 64 : t->free_cap * 2;
        t->free_ids = mem_realloc(t->free_ids, t->free_cap * sizeof(*t->free_ids));
    }
    t->free_ids[t->nfree++] = sub->id;
    t->blocks[sub->id / SUBJECTS_BLOCK][sub->id % SUBJECTS_BLOCK] = NULL;
    free_subject(sub);
}

struct subject *subjects_intern(struct subjects *t, struct str text)
{
    uint64_t hash = hash_bytes(text.p, text.n, t->seed);
    struct subject *sub = find(t, text, hash);

    if (sub != NULL)
        return sub;
    sub = mem_alloc(sizeof(*sub) + text.n);
    *sub = (struct subject){.len = (uint32_t) text.n, .id = take_id(t)};
    memcpy(sub->text, text.p, text.n);
    hmap_insert(&t->map, &sub->node, hash);
    t->blocks[sub->id / SUBJECTS_BLOCK][sub->id % SUBJECTS_BLOCK] = sub;
    return sub;
}

void subjects_release(struct subjects *t, struct subject *sub)
{
    if (sub->msgs != 0 || sub->pending != 0)
        return;
    hmap_remove(&t->map, &sub->node);
    t->nsorted = 0;
    if (t->frozen == 0) {
        give_id(t, sub);
        return;
    }
    sub->dead = true;
    if (t->nlimbo == t->limbo_cap) {
        t->limbo_cap = t->limbo_cap == 0 ? 64 : t->limbo_cap * 2;
        t->limbo = mem_realloc(t->limbo, t->limbo_cap * sizeof(*t->limbo));
    }
    t->limbo[t->nlimbo++] = sub;
}

struct subject **const *subjects_freeze(struct subjects *t)
{
    t->frozen++;
    return t->blocks;
}

void subjects_thaw(struct subjects *t)
{
    ASSERT(t->frozen > 0);
    if (--t->frozen > 0)
        return;
    while (t->nlimbo > 0)
        give_id(t, t->limbo[--t->nlimbo]);
    while (t->nold > 0)
        mem_free(t->old_blocks[--t->nold]);
}

void subjects_remove(struct subjects *t, struct subject *sub, uint64_t seq, uint64_t next,
                     uint64_t prev)
{
    ASSERT(sub->msgs > 0 && seq >= sub->first && seq <= sub->last);
    if (sub->ring.n > 0)
        seq_ring_remove(&sub->ring, seq);
    if (--sub->msgs == 0) {
        sub->first = sub->last = 0;
        if (sub->pending == 0)
            sub->last_assigned = 0;
        t->live--;
        t->nsorted = 0;
        subjects_release(t, sub);
        return;
    }
    if (seq == sub->last) {
        ASSERT(prev != 0);
        if (sub->pending == 0)
            sub->last_assigned = prev;
        sub->last = prev;
    }
    if (seq == sub->first)
        sub->first = next != 0 ? next : seq + 1;
    if (sub->msgs == 1)
        sub->first = sub->last;
}

void subjects_drop_pending(struct subjects *t)
{
    for (uint32_t id = 0; id < t->nids; id++) {
        struct subject *sub = subjects_by_id(t, id);
        if (sub == NULL || sub->pending == 0)
            continue;
        ASSERT(!sub->dead);
        sub->pending = 0;
        sub->last_assigned = sub->last;
        subjects_release(t, sub);
    }
}

/* ---- rings ----------------------------------------------------------------------------------- */

void seq_ring_push(struct seq_ring *r, uint64_t seq)
{
    if (r->n == r->cap) {
        uint32_t cap = r->cap == 0 ? 4 : r->cap * 2;
        uint64_t *seqs = mem_array(cap, sizeof(*seqs));
        for (uint32_t i = 0; i < r->n; i++)
            seqs[i] = seq_ring_at(r, i);
        mem_free(r->seqs);
        *r = (struct seq_ring){.seqs = seqs, .cap = cap, .head = 0, .n = r->n};
    }
    r->seqs[(r->head + r->n++) & (r->cap - 1)] = seq;
}

bool seq_ring_remove(struct seq_ring *r, uint64_t seq)
{
    if (r->n == 0)
        return false;
    if (seq_ring_at(r, 0) == seq) {
        r->head = (r->head + 1) & (r->cap - 1);
        r->n--;
        return true;
    }
    uint32_t low = 0, high = r->n;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (seq_ring_at(r, mid) < seq)
            low = mid + 1;
        else
            high = mid;
    }
    if (low == r->n || seq_ring_at(r, low) != seq)
        return false;
    for (uint32_t i = low; i + 1 < r->n; i++)
        r->seqs[(r->head + i) & (r->cap - 1)] = seq_ring_at(r, i + 1);
    r->n--;
    return true;
}

void seq_ring_free(struct seq_ring *r)
{
    mem_free(r->seqs);
    *r = (struct seq_ring){0};
}

/* ---- listings -------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    const struct subject *x = *(struct subject *const *) a, *y = *(struct subject *const *) b;
    return str_cmp(subject_text(x), subject_text(y));
}

struct subject **subjects_sorted(struct subjects *t, uint64_t *n)
{
    if (t->nsorted != t->live || t->live == 0) {
        uint64_t at = 0;
        mem_free(t->sorted);
        t->sorted = mem_array(t->live + 1, sizeof(*t->sorted));
        for (uint32_t id = 0; id < t->nids; id++) {
            struct subject *sub = subjects_by_id(t, id);
            if (sub != NULL && sub->msgs > 0)
                t->sorted[at++] = sub;
        }
        ASSERT(at == t->live);
        qsort(t->sorted, at, sizeof(*t->sorted), by_text);
        t->nsorted = at;
    }
    *n = t->nsorted;
    return t->sorted;
}

void subjects_check(const struct subjects *t)
{
    uint64_t used = 0, live = 0;

    for (uint32_t id = 0; id < t->nids; id++) {
        const struct subject *sub = subjects_by_id(t, id);
        if (sub == NULL || sub->dead)
            continue;
        used++;
        ASSERT(sub->id == id && find(t, subject_text(sub), sub->node.hash) == sub);
        ASSERT(sub->msgs > 0 || sub->pending > 0);
        ASSERT(sub->last_assigned >= sub->last);
        if (sub->msgs > 0) {
            live++;
            ASSERT(sub->first != 0 && sub->first <= sub->last);
            ASSERT(sub->last - sub->first + 1 >= sub->msgs);
            ASSERT(sub->ring.n == 0 || sub->ring.n == sub->msgs);
        }
    }
    ASSERT(live == t->live && used == t->map.count && used + t->nfree + t->nlimbo == t->nids);
}
