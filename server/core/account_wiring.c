#include "server/core/account_wiring.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"

#include <stdint.h>

void account_wiring_free(struct account_wiring *w)
{
    if (w == NULL)
        return;
    for (size_t i = 0; i < w->nlinks; i++) {
        mem_free(w->links[i].pattern);
        mem_free(w->links[i].latency);
        transform_free(w->links[i].transform);
    }
    for (size_t i = 0; i < w->nmaps; i++) {
        struct account_map *m = &w->maps[i];
        for (size_t k = 0; k < m->n; k++)
            transform_free(m->ways[k].transform);
        mem_free(m->ways);
        mem_free(m->pattern);
    }
    mem_free(w->links);
    mem_free(w->maps);
    mem_free(w);
}

struct account_link *account_wiring_link(struct account_wiring *w)
{
    w->links = mem_realloc(w->links, (w->nlinks + 1) * sizeof(*w->links));
    w->links[w->nlinks] = (struct account_link){0};
    return &w->links[w->nlinks++];
}

struct account_map *account_wiring_map(struct account_wiring *w)
{
    w->maps = mem_realloc(w->maps, (w->nmaps + 1) * sizeof(*w->maps));
    w->maps[w->nmaps] = (struct account_map){0};
    return &w->maps[w->nmaps++];
}

struct account_wiring *account_wire(struct account *a, struct account_wiring *w)
{
    const struct account_wiring *before = atomic_exchange(&a->wiring, w);

    atomic_store(&a->maps, w != NULL && w->nmaps > 0);
    interest_renew(a->interest);
    return (struct account_wiring *) (uintptr_t) before;
}

static const struct account_wiring *wiring_of(const struct account *a)
{
    return atomic_load_explicit(&a->wiring, memory_order_acquire);
}

static bool some_link(const struct account *a, struct str subject, bool services_only)
{
    const struct account_wiring *w = wiring_of(a);

    for (size_t i = 0; w != NULL && i < w->nlinks; i++)
        if ((w->links[i].service || !services_only) &&
            subject_matches(subject, str_of(w->links[i].pattern)))
            return true;
    return false;
}

bool account_links(const struct account *a, struct str subject)
{
    return some_link(a, subject, false);
}

bool account_imports(const struct account *a, struct str subject)
{
    return some_link(a, subject, true);
}

/* Token by token, as far as the prefix goes. */
static bool meets_prefix(struct str prefix, struct str pattern)
{
    while (prefix.p != NULL) {
        struct str a = str_cut(prefix, '.', &prefix), b;
        if (pattern.p == NULL)
            return false;
        b = str_cut(pattern, '.', &pattern);
        if (str_eq(b, STR(">")))
            return true;
        if (!str_eq(b, STR("*")) && !str_eq(a, b))
            return false;
    }
    return pattern.p != NULL;
}

bool account_links_below(const struct account *a, struct str prefix)
{
    const struct account_wiring *w = wiring_of(a);

    for (size_t i = 0; w != NULL && i < w->nlinks; i++)
        if (meets_prefix(prefix, str_of(w->links[i].pattern)))
            return true;
    return false;
}

struct reach {
    void (*each)(void *ctx, struct account *a, struct str subject);
    void *ctx;
    unsigned depth;
};

static void reach(struct reach *r, struct account *a, struct str subject)
{
    const struct account_wiring *w = wiring_of(a);

    r->each(r->ctx, a, subject);
    if (w == NULL || r->depth == ACCOUNT_LINKS_MAX)
        return;
    r->depth++;
    for (size_t i = 0; i < w->nlinks; i++) {
        const struct account_link *l = &w->links[i];
        struct buf there = {0};
        if (l->service || !subject_matches(subject, str_of(l->pattern)))
            continue;
        if (l->transform == NULL)
            buf_put_str(&there, subject);
        if (l->transform == NULL || transform_published(l->transform, subject, NULL, &there))
            reach(r, l->to, buf_str(&there));
        buf_free(&there);
    }
    r->depth--;
}

void account_reaches(struct account *a, struct str subject,
                     void (*each)(void *ctx, struct account *a, struct str subject), void *ctx)
{
    struct reach r = {.each = each, .ctx = ctx};

    reach(&r, a, subject);
}

static void ask_any(void *ctx, struct account *a, struct str subject)
{
    bool *any = ctx;

    *any = *any || interest_any(a->interest, subject);
}

bool account_interest_any(struct account *a, struct str subject)
{
    bool any = false;

    account_reaches(a, subject, ask_any, &any);
    return any;
}

static const struct account_way *choose(const struct account_map *m, struct prng *prng)
{
    unsigned at = m->n == 1 && m->ways[0].below >= 100 ? 0 : (unsigned) prng_below(prng, 100);

    for (size_t i = 0; i < m->n; i++)
        if (at < m->ways[i].below)
            return &m->ways[i];
    return NULL;
}

enum account_mapped account_map_subject(const struct account *a, struct str subject,
                                        struct prng *prng, struct buf *out)
{
    const struct account_wiring *w = wiring_of(a);

    for (size_t i = 0; w != NULL && i < w->nmaps; i++) {
        const struct account_way *way;
        if (!subject_matches(subject, str_of(w->maps[i].pattern)))
            continue;
        way = choose(&w->maps[i], prng);
        if (way == NULL)
            return MAPPED_LOST;
        return transform_published(way->transform, subject, prng, out) ? MAPPED_OTHER : MAPPED_LOST;
    }
    return MAPPED_SAME;
}
