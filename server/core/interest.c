/*
 * Subscriptions of one account: the trie, its locks, its generations.
 *
 * A change (add, remove) runs so:
 *
 *     lock change                    one change at a time
 *       find or make the queue name
 *       lock for writing             matching waits only here
 *         alter the trie
 *         raise the generations
 *       unlock
 *       call the edges of watches    in the order of changes, because change is still held
 *     unlock change
 *
 * A match reads the generation, then takes the read lock. If a change happens in between, the
 * answer is newer than its generation says and is thrown away at its next use: one match too many,
 * never one too few. If the generation was read after it was raised, the read lock waits until the
 * alteration is done. So an answer whose generation still holds is the answer the trie would give.
 *
 * Which generations a change raises. Let the head of a subject be its first two tokens (three below
 * $JS and $KV), or all of them when there are fewer. Every subject has one bucket: the hash of its
 * head. A pattern without wildcards in its head matches only subjects with the same head: raise
 * that bucket. A pattern with one matches subjects of many buckets: raise the global generation.
 * Answers shared by prefix use the head of the prefix, which may be shorter than the head of its
 * subjects; therefore a change also raises the buckets of all beginnings of the head.
 *
 * Queue names are kept once per account, with a number that answers and routers use instead of the
 * name.
 */
#include "server/core/interest.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/core/interest_priv.h"

struct queue_name {
    struct hmap_node node;
    uint32_t id;
    uint32_t members;
    size_t n;
    char text[];
};

struct interest_sub {
    struct trie_entry entry;
    struct queue_name *queue; /* NULL = plain */
    handle sink;
    uint32_t leaf;
    uint16_t worker;
    uint16_t weight;
    bool internal, of_hub;
};

static struct interest_sub *sub_of(struct trie_entry *e)
{
    return CONTAINER_OF(e, struct interest_sub, entry);
}

struct interest *interest_open(uint64_t hash_seed)
{
    struct interest *in = mem_zalloc(sizeof(*in));

    in->seed = hash_seed;
    rwlock_init(&in->lock);
    mutex_init(&in->change);
    trie_init(&in->trie, hash_seed);
    hmap_init(&in->queues);
    in->next_queue_id = 1;
    interest_watch_init(in);
    list_init(&in->taps);
    return in;
}

static void free_entry(void *ctx, struct trie_entry *e)
{
    (void) ctx;
    mem_free(sub_of(e));
}

void interest_close(struct interest *in)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    interest_watch_deinit(in);
    trie_each(&in->trie, free_entry, NULL);
    trie_deinit(&in->trie);
    while ((n = hmap_each(&in->queues, &it)) != NULL)
        mem_free(CONTAINER_OF(n, struct queue_name, node));
    hmap_deinit(&in->queues);
    mutex_deinit(&in->change);
    rwlock_deinit(&in->lock);
    mem_free(in);
}

/* ---- generations ----------------------------------------------------------------------------- */

const struct interest_clock *interest_clock(const struct interest *in)
{
    return &in->clock;
}

static unsigned head_tokens(struct str s)
{
    return str_starts(s, STR("$JS.")) || str_starts(s, STR("$KV.")) ? 3 : 2;
}

/* The first `tokens` tokens of s, or all. */
static struct str beginning(struct str s, unsigned tokens)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '.' && --tokens == 0)
            return str_take(s, i);
    return s;
}

static uint64_t hash_text(const struct interest *in, struct str s)
{
    return hash_bytes(s.p, s.n, in->seed);
}

uint64_t interest_head_hash(const struct interest *in, struct str subject)
{
    return hash_text(in, beginning(subject, head_tokens(subject)));
}

bool interest_head_is_literal(struct str pattern)
{
    return !subject_has_wildcard(beginning(pattern, head_tokens(pattern)));
}

uint32_t interest_bucket(const struct interest *in, struct str subject)
{
    return (uint32_t) (interest_head_hash(in, subject) % INTEREST_BUCKETS);
}

static void raise(_Atomic uint64_t *generation)
{
    atomic_fetch_add_explicit(generation, 1, memory_order_release);
}

void interest_renew(struct interest *in)
{
    raise(&in->clock.global);
}

static void raise_generations(struct interest *in, struct str pattern)
{
    struct str head = beginning(pattern, head_tokens(pattern));
    unsigned tokens;

    if (subject_has_wildcard(head)) {
        raise(&in->clock.global);
        return;
    }
    tokens = subject_count_tokens(head);
    for (unsigned i = 1; i <= tokens; i++)
        raise(&in->clock.bucket[hash_text(in, beginning(head, i)) % INTEREST_BUCKETS]);
}

/* ---- queue names ----------------------------------------------------------------------------- */

static struct queue_name *get_queue(struct interest *in, struct str name)
{
    uint64_t hash = hash_text(in, name);
    struct queue_name *q;

    for (struct hmap_node *n = hmap_first(&in->queues, hash); n != NULL; n = hmap_next(n, hash)) {
        q = CONTAINER_OF(n, struct queue_name, node);
        if (str_eq(str_from(q->text, q->n), name)) {
            q->members++;
            return q;
        }
    }
    q = mem_alloc(sizeof(*q) + name.n);
    *q = (struct queue_name){.id = in->next_queue_id++, .members = 1, .n = name.n};
    if (in->next_queue_id == 0)
        in->next_queue_id = 1;
    memcpy(q->text, name.p, name.n);
    hmap_insert(&in->queues, &q->node, hash);
    return q;
}

static void put_queue(struct interest *in, struct queue_name *q)
{
    if (q == NULL || --q->members > 0)
        return;
    hmap_remove(&in->queues, &q->node);
    mem_free(q);
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool within_limits(struct str pattern)
{
    return pattern.n <= TRIE_BYTES_MAX && subject_valid(pattern) &&
           subject_count_tokens(pattern) <= TRIE_TOKENS_MAX;
}

static void count_sub(struct interest *in, const struct interest_sub *sub, bool added)
{
    uint64_t *counter = sub->internal ? &in->stats.internal : &in->stats.subs;

    if (added) {
        ++*counter;
        in->stats.inserts++;
    } else {
        --*counter;
        in->stats.removes++;
    }
}

/* ---- taps ------------------------------------------------------------------------------------ */

static struct interest_spec spec_of(const struct interest_sub *sub, struct str pattern)
{
    return (struct interest_spec){
        .pattern = pattern,
        .queue = sub->queue != NULL ? str_from(sub->queue->text, sub->queue->n) : STR_NONE,
        .worker = sub->worker,
        .sink = sub->sink,
        .internal = sub->internal,
        .leaf = sub->leaf,
        .of_hub = sub->of_hub,
        .weight = sub->weight,
    };
}

static void tell_taps(struct interest *in, const struct interest_sub *sub, struct str pattern,
                      bool there)
{
    struct interest_spec spec;

    if (LIKELY(list_empty(&in->taps)))
        return;
    spec = spec_of(sub, pattern);
    LIST_FOREACH(l, &in->taps)
    {
        struct interest_tap *tap = LIST_ENTRY(l, struct interest_tap, link);
        tap->changed(tap, &spec, there);
    }
}

struct telling {
    struct interest_tap *tap;
    struct buf pattern;
};

static void tell_entry(void *ctx, struct trie_entry *e)
{
    struct telling *t = ctx;
    struct interest_spec spec;

    buf_clear(&t->pattern);
    trie_pattern(e, &t->pattern);
    spec = spec_of(sub_of(e), buf_str(&t->pattern));
    t->tap->changed(t->tap, &spec, true);
}

void interest_tap(struct interest *in, struct interest_tap *tap)
{
    struct telling t = {.tap = tap};

    mutex_lock(&in->change);
    trie_each(&in->trie, tell_entry, &t);
    list_push_back(&in->taps, &tap->link);
    mutex_unlock(&in->change);
    buf_free(&t.pattern);
}

void interest_untap(struct interest *in, struct interest_tap *tap)
{
    mutex_lock(&in->change);
    list_remove(&tap->link);
    mutex_unlock(&in->change);
}

uint32_t interest_group_id(struct interest *in, struct str queue)
{
    uint64_t hash = hash_text(in, queue);
    uint32_t id = 0;

    mutex_lock(&in->change);
    for (struct hmap_node *n = hmap_first(&in->queues, hash); n != NULL; n = hmap_next(n, hash)) {
        const struct queue_name *q = CONTAINER_OF(n, struct queue_name, node);
        if (str_eq(str_from(q->text, q->n), queue))
            id = q->id;
    }
    mutex_unlock(&in->change);
    return id;
}

struct interest_sub *interest_add(struct interest *in, const struct interest_spec *spec)
{
    struct interest_sub *sub;

    if (!within_limits(spec->pattern))
        return NULL;
    ASSERT(spec->worker < WORKERS_MAX && spec->sink != 0);
    sub = mem_alloc(sizeof(*sub));
    *sub = (struct interest_sub){
        .sink = spec->sink,
        .worker = (uint16_t) spec->worker,
        .internal = spec->internal,
        .leaf = spec->leaf,
        .of_hub = spec->of_hub,
        .weight = spec->weight > 0 ? spec->weight : 1,
    };
    mutex_lock(&in->change);
    if (spec->queue.n > 0)
        sub->queue = get_queue(in, spec->queue);
    rwlock_write(&in->lock);
    trie_insert(&in->trie, spec->pattern, &sub->entry);
    raise_generations(in, spec->pattern);
    rwlock_unlock(&in->lock);
    count_sub(in, sub, true);
    tell_taps(in, sub, spec->pattern, true);
    interest_watch_note(in, spec->pattern, true);
    interest_watch_fire(in);
    mutex_unlock(&in->change);
    return sub;
}

void interest_remove(struct interest *in, struct interest_sub *sub)
{
    struct buf pattern = {0};

    mutex_lock(&in->change);
    trie_pattern(&sub->entry, &pattern);
    rwlock_write(&in->lock);
    trie_remove(&in->trie, &sub->entry);
    raise_generations(in, buf_str(&pattern));
    rwlock_unlock(&in->lock);
    count_sub(in, sub, false);
    tell_taps(in, sub, buf_str(&pattern), false);
    put_queue(in, sub->queue);
    interest_watch_note(in, buf_str(&pattern), false);
    interest_watch_fire(in);
    mutex_unlock(&in->change);
    buf_free(&pattern);
    mem_free(sub);
}

/* ---- matching -------------------------------------------------------------------------------- */

/* A stream that changes its subjects has the old and the new ones for a moment. */
static bool twice(const struct interest_answer *a, const struct interest_sub *sub)
{
    for (uint32_t i = 0; i < a->nhits; i++)
        if (a->hits[i].sink == sub->sink && a->hits[i].worker == sub->worker &&
            a->hits[i].group == 0)
            return true;
    return false;
}

static void note_hit(void *ctx, struct trie_entry *e)
{
    struct interest_answer *a = ctx;
    const struct interest_sub *sub = sub_of(e);

    if (sub->internal && sub->queue == NULL && twice(a, sub))
        return;
    if (a->nhits == a->cap) {
        a->cap = a->cap > 0 ? a->cap * 2 : 8;
        a->hits = mem_realloc(a->hits, a->cap * sizeof(a->hits[0]));
    }
    /* The group's id for now; number_groups makes indexes of them. */
    a->hits[a->nhits++] = (struct interest_hit){
        .worker = sub->worker,
        .group = sub->queue != NULL ? sub->queue->id : 0,
        .sink = sub->sink,
        .leaf = sub->leaf != 0,
        .weight = sub->weight,
    };
}

static uint32_t add_group(struct interest_answer *a, uint32_t id)
{
    if (a->ngroups == a->groups_cap) {
        a->groups_cap = a->groups_cap > 0 ? a->groups_cap * 2 : 4;
        a->group_ids = mem_realloc(a->group_ids, a->groups_cap * sizeof(a->group_ids[0]));
    }
    a->group_ids[a->ngroups++] = id;
    return a->ngroups;
}

/* Groups up to here are found by looking through them; more need a table. */
#define GROUPS_LINEAR 16u

/* Open addressing over indexes (from 1), at most half full. */
struct group_table {
    uint32_t *index;
    uint32_t mask;
};

static uint32_t find_group(const struct interest_answer *a, const struct group_table *t,
                           uint32_t id)
{
    if (t->index == NULL) {
        for (uint32_t i = 0; i < a->ngroups; i++)
            if (a->group_ids[i] == id)
                return i + 1;
        return 0;
    }
    for (uint32_t at = id * 0x9e3779b1u;; at++) {
        uint32_t i = t->index[at & t->mask];
        if (i == 0 || a->group_ids[i - 1] == id)
            return i;
    }
}

static void put_group(const struct interest_answer *a, struct group_table *t, uint32_t index)
{
    uint32_t at = a->group_ids[index - 1] * 0x9e3779b1u;

    while (t->index[at & t->mask] != 0)
        at++;
    t->index[at & t->mask] = index;
}

static void grow_groups(const struct interest_answer *a, struct group_table *t)
{
    t->mask = a->ngroups * 4 - 1;
    mem_free(t->index);
    t->index = mem_zalloc((t->mask + 1) * sizeof(t->index[0]));
    for (uint32_t i = 1; i <= a->ngroups; i++)
        put_group(a, t, i);
}

/* ngroups is a power of two whenever the table is (re)made, because it is made when it has just
 * reached one. */
static void number_groups(struct interest_answer *a)
{
    struct group_table t = {0};

    for (uint32_t i = 0; i < a->nhits; i++) {
        uint32_t id = a->hits[i].group, index;
        if (id == 0)
            continue;
        index = find_group(a, &t, id);
        if (index == 0) {
            index = add_group(a, id);
            if (t.index != NULL)
                put_group(a, &t, index);
            if (index >= GROUPS_LINEAR && (index & (index - 1)) == 0)
                grow_groups(a, &t);
        }
        a->hits[i].group = index;
    }
    mem_free(t.index);
}

static void begin_answer(struct interest *in, struct interest_answer *a, struct str key)
{
    a->nhits = 0;
    a->ngroups = 0;
    a->generation = interest_generation(&in->clock, interest_bucket(in, key));
    atomic_fetch_add_explicit(&in->matches, 1, memory_order_relaxed);
}

void interest_match(struct interest *in, struct str subject, struct interest_answer *out)
{
    begin_answer(in, out, subject);
    rwlock_read(&in->lock);
    trie_match(&in->trie, subject, note_hit, out);
    rwlock_unlock(&in->lock);
    number_groups(out);
}

bool interest_match_prefix(struct interest *in, struct str prefix, struct interest_answer *out)
{
    bool shared;

    begin_answer(in, out, prefix);
    rwlock_read(&in->lock);
    shared = trie_match_children(&in->trie, prefix, note_hit, out);
    rwlock_unlock(&in->lock);
    if (shared)
        number_groups(out);
    return shared;
}

static void note_any(void *ctx, struct trie_entry *e)
{
    (void) e;
    *(bool *) ctx = true;
}

bool interest_any(struct interest *in, struct str subject)
{
    bool any = false;

    rwlock_read(&in->lock);
    trie_match(&in->trie, subject, note_any, &any);
    rwlock_unlock(&in->lock);
    return any;
}

bool interest_any_below(struct interest *in, struct str prefix)
{
    bool any;

    rwlock_read(&in->lock);
    any = trie_any_below(&in->trie, prefix);
    rwlock_unlock(&in->lock);
    return any;
}

void interest_answer_free(struct interest_answer *a)
{
    mem_free(a->hits);
    mem_free(a->group_ids);
    *a = (struct interest_answer){0};
}

/* ---- the whole ------------------------------------------------------------------------------- */

void interest_stats(struct interest *in, struct interest_stats *out)
{
    mutex_lock(&in->change);
    *out = in->stats;
    out->watches = in->watches.count;
    mutex_unlock(&in->change);
    out->matches = atomic_load_explicit(&in->matches, memory_order_relaxed);
}

size_t interest_bytes(struct interest *in)
{
    size_t bytes;

    mutex_lock(&in->change);
    bytes = sizeof(*in) + trie_bytes(&in->trie);
    mutex_unlock(&in->change);
    return bytes;
}

struct each {
    void (*fn)(void *ctx, const struct interest_spec *spec);
    void *ctx;
    struct buf pattern;
};

static void show_entry(void *ctx, struct trie_entry *e)
{
    struct each *each = ctx;
    const struct interest_sub *sub = sub_of(e);
    struct interest_spec spec;

    buf_clear(&each->pattern);
    trie_pattern(e, &each->pattern);
    spec = spec_of(sub, buf_str(&each->pattern));
    each->fn(each->ctx, &spec);
}

void interest_each(struct interest *in, void (*each)(void *ctx, const struct interest_spec *spec),
                   void *ctx)
{
    struct each e = {.fn = each, .ctx = ctx};

    mutex_lock(&in->change);
    trie_each(&in->trie, show_entry, &e);
    mutex_unlock(&in->change);
    buf_free(&e.pattern);
}

static void count_member(void *ctx, struct trie_entry *e)
{
    *(size_t *) ctx += sub_of(e)->queue != NULL;
}

void interest_check(struct interest *in)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;
    size_t members = 0, named = 0;

    mutex_lock(&in->change);
    trie_check(&in->trie);
    ASSERT(in->trie.entries == in->stats.subs + in->stats.internal);
    ASSERT(in->stats.inserts - in->stats.removes == in->trie.entries);
    trie_each(&in->trie, count_member, &members);
    hmap_check(&in->queues);
    while ((n = hmap_each(&in->queues, &it)) != NULL)
        named += CONTAINER_OF(n, struct queue_name, node)->members;
    ASSERT(members == named);
    interest_watch_check(in);
    mutex_unlock(&in->change);
}
