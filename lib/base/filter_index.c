/* filter_index.c - filters by the tokens in front of their first wildcard. */
#include "lib/base/filter_index.h"

#include "lib/base/assert.h"
#include "lib/base/hash.h"
#include "lib/base/subject.h"

static uint64_t hash_prefix(struct str subject, size_t n, unsigned tokens)
{
    return hash_bytes(subject.p, n, tokens);
}

/* Where the token that begins at `from` ends. */
static size_t token_end(struct str subject, size_t from)
{
    while (from < subject.n && subject.p[from] != '.')
        from++;
    return from;
}

static bool is_wildcard(struct str subject, size_t from, size_t end)
{
    return end == from + 1 && (subject.p[from] == '*' || subject.p[from] == '>');
}

/* How many bytes and tokens stand in front of the first wildcard. */
static size_t literal_part(struct str filter, unsigned *tokens)
{
    size_t n = 0;

    *tokens = 0;
    for (size_t from = 0; from < filter.n && *tokens < FILTER_INDEX_TOKENS; from = n + 1) {
        size_t end = token_end(filter, from);
        if (is_wildcard(filter, from, end))
            break;
        n = end;
        ++*tokens;
    }
    return n;
}

void filter_index_init(struct filter_index *x)
{
    *x = (struct filter_index){0};
    hmap_init(&x->entries);
}

void filter_index_deinit(struct filter_index *x)
{
    hmap_deinit(&x->entries);
}

void filter_index_add(struct filter_index *x, struct filter_entry *e, struct str filter,
                      void *owner)
{
    size_t n = literal_part(filter, &e->tokens);

    e->filter = filter;
    e->owner = owner;
    hmap_insert(&x->entries, &e->node, hash_prefix(filter, n, e->tokens));
    if (x->count[e->tokens]++ == 0)
        x->used |= 1ull << e->tokens;
}

void filter_index_remove(struct filter_index *x, struct filter_entry *e)
{
    ASSERT(x->count[e->tokens] > 0);
    hmap_remove(&x->entries, &e->node);
    if (--x->count[e->tokens] == 0)
        x->used &= ~(1ull << e->tokens);
}

static void look(const struct filter_index *x, struct str subject, size_t n, unsigned tokens,
                 filter_index_on_match each, void *ctx)
{
    uint64_t hash = hash_prefix(subject, n, tokens);

    for (struct hmap_node *m = hmap_first(&x->entries, hash); m != NULL; m = hmap_next(m, hash)) {
        const struct filter_entry *e = CONTAINER_OF(m, struct filter_entry, node);
        if (e->tokens == tokens && subject_matches(subject, e->filter))
            each(ctx, e->owner);
    }
}

void filter_index_each(const struct filter_index *x, struct str subject, filter_index_on_match each,
                       void *ctx)
{
    uint64_t left = x->used;
    size_t from = 0;

    if (left & 1)
        look(x, subject, 0, 0, each, ctx);
    left >>= 1;
    for (unsigned tokens = 1; left != 0 && from < subject.n; tokens++, left >>= 1) {
        size_t end = token_end(subject, from);
        if (left & 1)
            look(x, subject, end, tokens, each, ctx);
        from = end + 1;
    }
}
