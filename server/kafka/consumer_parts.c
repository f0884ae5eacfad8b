/* consumer_parts.c - see consumer_parts.h. */
#include "server/kafka/consumer_parts.h"

#include "lib/base/mem.h"

#include <stdlib.h>
#include <string.h>

void parts_free(struct parts *s)
{
    mem_free(s->p);
    *s = (struct parts){0};
}

void parts_add(struct parts *s, uint64_t part)
{
    if (s->n == s->cap) {
        s->cap = s->cap * 2 + 8;
        s->p = mem_realloc(s->p, s->cap * sizeof(*s->p));
    }
    s->p[s->n++] = part;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return (x > y) - (x < y);
}

void parts_sort(struct parts *s)
{
    size_t n = 0;

    if (s->n == 0)
        return;
    qsort(s->p, s->n, sizeof(*s->p), compare);
    for (size_t i = 0; i < s->n; i++)
        if (n == 0 || s->p[n - 1] != s->p[i])
            s->p[n++] = s->p[i];
    s->n = n;
}

void parts_copy(struct parts *to, const struct parts *from)
{
    parts_clear(to);
    for (size_t i = 0; i < from->n; i++)
        parts_add(to, from->p[i]);
}

bool parts_have(const struct parts *s, uint64_t part)
{
    return s->n > 0 && bsearch(&part, s->p, s->n, sizeof(*s->p), compare) != NULL;
}

bool parts_same(const struct parts *a, const struct parts *b)
{
    return a->n == b->n && (a->n == 0 || memcmp(a->p, b->p, a->n * sizeof(*a->p)) == 0);
}

bool parts_meet(const struct parts *a, const struct parts *b)
{
    size_t i = 0, k = 0;

    while (i < a->n && k < b->n) {
        if (a->p[i] == b->p[k])
            return true;
        if (a->p[i] < b->p[k])
            i++;
        else
            k++;
    }
    return false;
}

bool parts_within(const struct parts *a, const struct parts *b)
{
    size_t k = 0;

    for (size_t i = 0; i < a->n; i++) {
        while (k < b->n && b->p[k] < a->p[i])
            k++;
        if (k == b->n || b->p[k] != a->p[i])
            return false;
    }
    return true;
}

void parts_split(const struct parts *a, const struct parts *b, struct parts *both,
                 struct parts *rest)
{
    size_t k = 0;

    parts_clear(both);
    parts_clear(rest);
    for (size_t i = 0; i < a->n; i++) {
        while (k < b->n && b->p[k] < a->p[i])
            k++;
        parts_add(k < b->n && b->p[k] == a->p[i] ? both : rest, a->p[i]);
    }
}
