/*
 * filter.c - which subjects a set of patterns matches, asked once per subject and set.
 *
 * A reader with filters scans the id columns of segments; the verdict on an id is one byte,
 * computed when it is first met. Readers of a stream with the same patterns share it. Ids are
 * reused: a new subject's id is forgotten in all filters of the stream (filters_forget_id).
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/store_impl.h"

#include <string.h>

enum { VERDICT_NONE, VERDICT_NO, VERDICT_YES };

static bool same_patterns(const struct filter *f, const struct str *patterns, unsigned n)
{
    if (f->n != n)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!str_eq(f->patterns[i], patterns[i]))
            return false;
    return true;
}

struct filter *filter_get(struct store_stream *s, const struct str *patterns, unsigned n)
{
    if (n == 0)
        return NULL;
    for (unsigned i = 0; i < n; i++)
        if (patterns[i].n == 0 || str_eq(patterns[i], STR(">")))
            return NULL;
    LIST_FOREACH(it, &s->filters)
    {
        struct filter *f = LIST_ENTRY(it, struct filter, link);
        if (same_patterns(f, patterns, n)) {
            f->refs++;
            return f;
        }
    }
    struct filter *f = mem_zalloc(sizeof(*f));
    f->stream = s;
    f->refs = 1;
    f->n = n;
    f->literal = true;
    f->patterns = mem_array(n, sizeof(*f->patterns));
    for (unsigned i = 0; i < n; i++) {
        f->patterns[i] = str_from(mem_strndup(patterns[i].p, patterns[i].n), patterns[i].n);
        f->literal = f->literal && !subject_has_wildcard(patterns[i]);
    }
    list_push_back(&s->filters, &f->link);
    return f;
}

void filter_put(struct filter *f)
{
    if (f == NULL || --f->refs > 0)
        return;
    list_remove(&f->link);
    for (unsigned i = 0; i < f->n; i++)
        mem_free((void *) (uintptr_t) f->patterns[i].p);
    mem_free(f->patterns);
    mem_free(f->verdict);
    mem_free(f);
}

bool filter_matches_text(const struct filter *f, struct str subject)
{
    for (unsigned i = 0; i < f->n; i++)
        if (subject_matches(subject, f->patterns[i]))
            return true;
    return false;
}

bool filter_ask(struct filter *f, uint32_t id)
{
    const struct subject *sub = subjects_by_id(&f->stream->subjects, id);

    if (id >= f->cap) {
        uint32_t cap = (uint32_t) round_up((uint64_t) id + 1, 1024);
        f->verdict = mem_realloc(f->verdict, cap);
        memset(f->verdict + f->cap, VERDICT_NONE, cap - f->cap);
        f->cap = cap;
    }
    if (sub == NULL)
        return false; /* no message of it exists */
    bool yes = filter_matches_text(f, subject_text(sub));
    f->verdict[id] = yes ? VERDICT_YES : VERDICT_NO;
    return yes;
}

void filters_forget_id(struct store_stream *s, uint32_t id)
{
    LIST_FOREACH(it, &s->filters)
    {
        struct filter *f = LIST_ENTRY(it, struct filter, link);
        if (id < f->cap)
            f->verdict[id] = VERDICT_NONE;
    }
}

void filter_prepare(struct filter *f)
{
    f->one = f->n == 1 && f->literal ? subjects_find(&f->stream->subjects, f->patterns[0]) : NULL;
}

uint64_t filter_last(struct filter *f)
{
    struct store_stream *s = f->stream;
    uint64_t last = 0;

    if (!f->literal)
        return s->last_seq;
    for (unsigned i = 0; i < f->n; i++) {
        const struct subject *sub = subjects_find(&s->subjects, f->patterns[i]);
        if (sub != NULL && sub->last > last)
            last = sub->last;
    }
    return last;
}

uint64_t filter_first(struct filter *f)
{
    struct store_stream *s = f->stream;
    uint64_t first = UINT64_MAX;

    if (!f->literal)
        return s->first_seq;
    for (unsigned i = 0; i < f->n; i++) {
        const struct subject *sub = subjects_find(&s->subjects, f->patterns[i]);
        if (sub != NULL && sub->msgs > 0 && sub->first < first)
            first = sub->first;
    }
    return first;
}
