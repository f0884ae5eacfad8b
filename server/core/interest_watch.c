/*
 * Watches: who wants to know when a literal subject gets its first subscription or loses its last.
 *
 * A watch counts the subscriptions that match it and speaks when the count leaves or reaches zero.
 * Watches are hashed by the head of their subject, the tokens that choose a generation's bucket: a
 * change of a pattern with a literal head, which is nearly every change (inboxes), looks at the few
 * watches with the same head; a change of a pattern such as `orders.>` looks at all of them.
 *
 * A watch belongs to who made it; everything here runs under `change`, so that edges come in the
 * order of changes.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "server/core/interest_priv.h"

struct interest_watch {
    struct hmap_node node;
    struct list fired;
    void (*edge)(void *ctx, bool on);
    void *ctx;
    uint64_t matching;
    size_t n;
    char subject[];
};

static struct interest_watch *watch_of(struct hmap_node *n)
{
    return CONTAINER_OF(n, struct interest_watch, node);
}

static struct str subject_of(const struct interest_watch *w)
{
    return str_from(w->subject, w->n);
}

void interest_watch_init(struct interest *in)
{
    hmap_init(&in->watches.by_head);
    list_init(&in->watches.fired);
}

void interest_watch_deinit(struct interest *in)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    while ((n = hmap_each(&in->watches.by_head, &it)) != NULL)
        mem_free(watch_of(n));
    hmap_deinit(&in->watches.by_head);
}

static void note(struct interest *in, struct interest_watch *w, struct str pattern, bool added)
{
    if (!subject_matches(subject_of(w), pattern))
        return;
    if (added ? w->matching++ == 0 : --w->matching == 0)
        list_push_back(&in->watches.fired, &w->fired);
}

void interest_watch_note(struct interest *in, struct str pattern, bool added)
{
    struct hmap *map = &in->watches.by_head;
    struct hmap_iter it = {0};
    struct hmap_node *n;

    if (map->count == 0)
        return;
    if (interest_head_is_literal(pattern)) {
        uint64_t hash = interest_head_hash(in, pattern);
        for (n = hmap_first(map, hash); n != NULL; n = hmap_next(n, hash))
            note(in, watch_of(n), pattern, added);
    } else {
        while ((n = hmap_each(map, &it)) != NULL)
            note(in, watch_of(n), pattern, added);
    }
}

void interest_watch_fire(struct interest *in)
{
    struct list *l;

    while ((l = list_pop_front(&in->watches.fired)) != NULL) {
        struct interest_watch *w = LIST_ENTRY(l, struct interest_watch, fired);
        w->edge(w->ctx, w->matching > 0);
    }
}

static void count_entry(void *ctx, struct trie_entry *e)
{
    (void) e;
    ++*(uint64_t *) ctx;
}

/* No lock is needed beside change: it keeps writers away, and readers do not alter the trie. */
static uint64_t count_matching(const struct interest *in, struct str subject)
{
    uint64_t n = 0;

    trie_match(&in->trie, subject, count_entry, &n);
    return n;
}

struct interest_watch *interest_watch(struct interest *in, struct str subject,
                                      void (*edge)(void *ctx, bool on), void *ctx, bool *now)
{
    struct interest_watch *w = mem_alloc(sizeof(*w) + subject.n);

    *w = (struct interest_watch){.edge = edge, .ctx = ctx, .n = subject.n};
    list_init(&w->fired);
    memcpy(w->subject, subject.p, subject.n);
    mutex_lock(&in->change);
    w->matching = count_matching(in, subject);
    *now = w->matching > 0;
    hmap_insert(&in->watches.by_head, &w->node, interest_head_hash(in, subject));
    in->watches.count++;
    mutex_unlock(&in->change);
    return w;
}

void interest_unwatch(struct interest *in, struct interest_watch *w)
{
    mutex_lock(&in->change);
    hmap_remove(&in->watches.by_head, &w->node);
    in->watches.count--;
    mutex_unlock(&in->change);
    mem_free(w);
}

void interest_watch_check(struct interest *in)
{
    struct hmap_iter it = {0};
    struct hmap_node *n;

    hmap_check(&in->watches.by_head);
    ASSERT(in->watches.by_head.count == in->watches.count);
    ASSERT(list_empty(&in->watches.fired));
    while ((n = hmap_each(&in->watches.by_head, &it)) != NULL)
        ASSERT(watch_of(n)->matching == count_matching(in, subject_of(watch_of(n))));
}
