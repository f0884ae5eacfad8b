/*
 * subjects.c - see subjects.h.
 *
 * A hash table of ids, chained through the subjects, and the tree that has them in byte order. The
 * text is stored behind the struct: a lookup costs the bucket, then one or two adjacent cache
 * lines. The table doubles by moving two old buckets with every insert, so that there is no pause
 * with a million subjects.
 */
#include "store/subjects.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"

#include <string.h>

enum { BUCKETS_MIN = 8 };

/* The smallest subject takes more than a slot. */
_Static_assert(sizeof(struct subject) >= 4 * REF_UNIT, "slots of subjects");

void subjects_init(struct subjects *t, uint64_t seed)
{
    *t = (struct subjects){.seed = seed};
    subject_tree_init(&t->tree, &t->pool);
}

void subjects_deinit(struct subjects *t)
{
    ASSERT(t->frozen == 0);
    subjects_keep_rings(t, false);
    subject_tree_deinit(&t->tree);
    ref_pool_deinit(&t->pool);
    mem_free(t->limbo);
    mem_free(t->buckets);
    mem_free(t->old_buckets);
    t->buckets = t->old_buckets = NULL;
    t->count = 0;
}

/* ---- the hash table -------------------------------------------------------------------------- */

static uint32_t *bucket_of(const struct subjects *t, uint64_t hash)
{
    if (UNLIKELY(t->old_buckets != NULL) && ((uint32_t) hash & t->old_mask) >= t->moved)
        return &t->old_buckets[(uint32_t) hash & t->old_mask];
    return &t->buckets[(uint32_t) hash & t->mask];
}

static uint64_t hash_text(const struct subjects *t, struct str text)
{
    return hash_bytes(text.p, text.n, t->seed);
}

static uint32_t find(const struct subjects *t, struct str text, uint64_t hash)
{
    uint32_t id = *bucket_of(t, hash);

    while (id != 0) {
        const struct subject *sub = subjects_by_id(t, id);
        if (sub->len == text.n && memcmp(sub->text, text.p, text.n) == 0)
            break;
        id = sub->next;
    }
    return id;
}

uint32_t subjects_find(const struct subjects *t, struct str text)
{
    return t->count > 0 ? find(t, text, hash_text(t, text)) : 0;
}

static void move_bucket(struct subjects *t)
{
    uint32_t id = t->old_buckets[t->moved], next;

    for (; id != 0; id = next) {
        struct subject *sub = subjects_by_id(t, id);
        uint32_t *bucket = &t->buckets[(uint32_t) hash_text(t, subject_text(sub)) & t->mask];
        next = sub->next;
        sub->next = *bucket;
        *bucket = id;
    }
    if (t->moved++ == t->old_mask) {
        mem_free(t->old_buckets);
        t->old_buckets = NULL;
    }
}

static void make_room(struct subjects *t)
{
    for (unsigned i = 0; i < 2 && t->old_buckets != NULL; i++)
        move_bucket(t);
    if (t->buckets == NULL) {
        t->buckets = mem_zalloc(BUCKETS_MIN * sizeof(*t->buckets));
        t->mask = BUCKETS_MIN - 1;
    } else if (t->count > t->mask) {
        ASSERT(t->old_buckets == NULL && t->mask < UINT32_MAX / 4);
        t->old_buckets = t->buckets;
        t->old_mask = t->mask;
        t->moved = 0;
        t->mask = t->mask * 2 + 1;
        t->buckets = mem_zalloc(((size_t) t->mask + 1) * sizeof(*t->buckets));
    }
}

static size_t subject_size(size_t len)
{
    return sizeof(struct subject) + len;
}

static __attribute__((noinline)) uint32_t add(struct subjects *t, struct str text, uint64_t hash)
{
    uint32_t id = ref_pool_alloc(&t->pool, subject_size(text.n));
    struct subject *sub = subjects_by_id(t, id);

    ASSERT(text.n <= UINT16_MAX);
    make_room(t);
    uint32_t *bucket = bucket_of(t, hash);
    *sub = (struct subject){.len = (uint16_t) text.n, .next = *bucket};
    memcpy(sub->text, text.p, text.n);
    *bucket = id;
    t->count++;
    subject_tree_insert(&t->tree, id);
    return id;
}

uint32_t subjects_intern(struct subjects *t, struct str text)
{
    uint64_t hash = hash_text(t, text);
    uint32_t id = t->count > 0 ? find(t, text, hash) : 0;

    return id != 0 ? id : add(t, text, hash);
}

static void give_id(struct subjects *t, uint32_t id)
{
    struct seq_ring *ring = subject_ring(t, id);

    if (ring != NULL)
        seq_ring_free(ring);
    ref_pool_free(&t->pool, id, subject_size(subjects_by_id(t, id)->len));
}

void subjects_release(struct subjects *t, uint32_t id)
{
    struct subject *sub = subjects_by_id(t, id);

    if (sub->msgs != 0 || sub->pending != 0)
        return;
    uint32_t *link = bucket_of(t, hash_text(t, subject_text(sub)));
    while (*link != id)
        link = &((struct subject *) subjects_by_id(t, *link))->next;
    *link = sub->next;
    t->count--;
    subject_tree_remove(&t->tree, id);
    if (t->frozen == 0) {
        give_id(t, id);
        return;
    }
    sub->dead = true;
    if (t->nlimbo == t->limbo_cap) {
        t->limbo_cap = t->limbo_cap == 0 ? 64 : t->limbo_cap * 2;
        t->limbo = mem_realloc(t->limbo, t->limbo_cap * sizeof(*t->limbo));
    }
    t->limbo[t->nlimbo++] = id;
}

uint32_t subjects_each(const struct subjects *t, struct subjects_iter *it)
{
    uint64_t old = t->old_buckets != NULL ? (uint64_t) t->old_mask + 1 : 0;
    uint32_t id = it->next;

    while (id == 0) {
        if (t->buckets == NULL || it->bucket > old + t->mask)
            return 0;
        /* Old buckets that were moved are left as they were. */
        if (it->bucket >= old)
            id = t->buckets[it->bucket - old];
        else if (it->bucket >= t->moved)
            id = t->old_buckets[it->bucket];
        it->bucket++;
    }
    it->next = subjects_by_id(t, id)->next;
    return id;
}

void subjects_freeze(struct subjects *t)
{
    t->frozen++;
}

void subjects_thaw(struct subjects *t)
{
    ASSERT(t->frozen > 0);
    if (--t->frozen > 0)
        return;
    while (t->nlimbo > 0)
        give_id(t, t->limbo[--t->nlimbo]);
}

void subjects_remove(struct subjects *t, uint32_t id, uint64_t seq, uint64_t next, uint64_t prev)
{
    struct subject *sub = subjects_by_id(t, id);
    struct seq_ring *ring = subject_ring(t, id);

    ASSERT(sub->msgs > 0 && seq >= sub->first && seq <= sub->last);
    if (ring != NULL)
        seq_ring_remove(ring, seq);
    if (--sub->msgs == 0) {
        sub->first = sub->last = 0;
        t->live--;
        subjects_release(t, id);
        return;
    }
    if (seq == sub->last) {
        ASSERT(prev != 0);
        sub->last = prev;
    }
    if (seq == sub->first)
        sub->first = next != 0 ? next : seq + 1;
    if (sub->msgs == 1)
        sub->first = sub->last;
}

void subjects_drop_pending(struct subjects *t)
{
    struct subjects_iter it = {0};
    uint32_t id;

    while ((id = subjects_each(t, &it)) != 0) {
        struct subject *sub = subjects_by_id(t, id);
        if (sub->pending == 0)
            continue;
        ASSERT(!sub->dead);
        sub->pending = 0;
        subjects_release(t, id);
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

/* A subject that came after the last growth has no ring yet: it gets an empty one when asked. */
struct seq_ring *subject_ring(struct subjects *t, uint32_t id)
{
    if (LIKELY(!t->rings))
        return NULL;
    if (SUBJECT_SLOT(id) >= t->nring) {
        uint32_t n = SUBJECT_SLOT(id) * 2 + 64;
        t->ring_of = mem_realloc(t->ring_of, n * sizeof(*t->ring_of));
        memset(t->ring_of + t->nring, 0, (n - t->nring) * sizeof(*t->ring_of));
        t->nring = n;
    }
    return &t->ring_of[SUBJECT_SLOT(id)];
}

void subjects_keep_rings(struct subjects *t, bool keep)
{
    for (uint32_t i = 0; i < t->nring; i++)
        seq_ring_free(&t->ring_of[i]);
    mem_free(t->ring_of);
    t->ring_of = NULL;
    t->nring = 0;
    t->rings = keep;
}

uint64_t subjects_bytes(const struct subjects *t)
{
    uint64_t buckets = t->buckets != NULL ? (uint64_t) t->mask + 1 : 0;

    if (t->old_buckets != NULL)
        buckets += (uint64_t) t->old_mask + 1;
    return ref_pool_bytes(&t->pool) + ref_pool_bytes(&t->tree.nodes) +
           buckets * sizeof(*t->buckets);
}

static void check_ring(const struct subjects *t, uint32_t id, const struct subject *sub)
{
    if (!t->rings)
        return;
    uint32_t n = SUBJECT_SLOT(id) < t->nring ? t->ring_of[SUBJECT_SLOT(id)].n : 0;
    ASSERT(n == sub->msgs);
}

void subjects_check(const struct subjects *t)
{
    struct subjects_iter it = {0};
    uint64_t used = 0, live = 0;
    uint32_t id;

    while ((id = subjects_each(t, &it)) != 0) {
        const struct subject *sub = subjects_by_id(t, id);
        used++;
        ASSERT(!sub->dead && subjects_find(t, subject_text(sub)) == id);
        ASSERT(sub->msgs > 0 || sub->pending > 0);
        check_ring(t, id, sub);
        if (sub->msgs > 0) {
            live++;
            ASSERT(sub->first != 0 && sub->first <= sub->last);
            ASSERT(sub->last - sub->first + 1 >= sub->msgs);
        }
    }
    ASSERT(live == t->live && used == t->count);
    subject_tree_check(&t->tree, used);
}
