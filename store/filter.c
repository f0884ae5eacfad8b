/*
 * filter.c - which subjects a set of patterns matches.
 *
 * A filter that matches few subjects knows their ids (few); questions about it then cost what those
 * subjects' messages cost (index.c), however long the stream is. One that matches many has verdicts
 * on ids, one byte each, computed when the id is first met (VERDICTS_MAX of them at most), and the
 * id columns are scanned: that finds something soon. It does not become few again.
 *
 * Readers of a stream with the same patterns share a filter. New subjects are noted in the stream
 * (births); a filter of few looks at what was born since it last looked, or, if that is too much,
 * asks the tree again. Ids are reused: a filter of many forgets its verdicts on what was born since
 * it last looked, or all of them. So a new subject costs nothing by itself, however many filters
 * there are.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/store_impl.h"

#include <string.h>

enum { VERDICT_NONE, VERDICT_NO, VERDICT_YES };

/* Verdicts that a filter keeps: there may be thousands of filters and millions of subjects. Behind
 * these the texts are compared each time. */
#define VERDICTS_MAX (64u << 10)
/* Subjects looked at for the question whether they are few. */
#define FEW_STEPS 1024u

static bool same_patterns(const struct filter *f, const struct str *patterns, unsigned n)
{
    if (f->n != n)
        return false;
    for (unsigned i = 0; i < n; i++)
        if (!str_eq(f->patterns[i], patterns[i]))
            return false;
    return true;
}

/* ---- few ------------------------------------------------------------------------------------- */

static void add_id(struct filter *f, uint32_t id)
{
    for (unsigned i = 0; i < f->nids; i++)
        if (f->ids[i] == id)
            return;
    if (f->nids == FILTER_FEW)
        f->few = false;
    else
        f->ids[f->nids++] = id;
}

static void drop_id(struct filter *f, uint32_t id)
{
    for (unsigned i = 0; i < f->nids; i++)
        if (f->ids[i] == id) {
            f->ids[i] = f->ids[--f->nids];
            return;
        }
}

static void ask_tree(struct filter *f, struct str pattern)
{
    struct subject_cursor c;
    uint32_t steps = 0;

    subject_cursor_init(&c, &f->stream->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(pattern), false);
    while (f->few && subject_cursor_match(&c, pattern, &steps)) {
        add_id(f, c.subject);
        subject_cursor_next(&c);
        if (steps > FEW_STEPS)
            f->few = false;
    }
    f->few = f->few && steps <= FEW_STEPS;
    subject_cursor_deinit(&c);
}

static void find_few(struct filter *f)
{
    f->nids = 0;
    f->few = true;
    f->seen = f->stream->nborn;
    for (unsigned i = 0; i < f->n && f->few; i++) {
        if (subject_has_wildcard(f->patterns[i])) {
            ask_tree(f, f->patterns[i]);
        } else {
            uint32_t id = subjects_find(&f->stream->subjects, f->patterns[i]);
            if (id != 0)
                add_id(f, id);
        }
    }
}

void filters_note_subject(struct store_stream *s, uint32_t id)
{
    if (list_empty(&s->filters)) /* nobody's `seen` is behind */
        return;
    if (s->born == NULL)
        s->born = mem_array(FILTER_BORN, sizeof(*s->born));
    s->born[s->nborn++ % FILTER_BORN] = id;
}

/* Of many: verdicts on subjects that had the ids before. */
static void forget_born(struct filter *f)
{
    const struct store_stream *s = f->stream;

    if (f->cap > 0 && s->nborn - f->seen > FILTER_BORN)
        memset(f->verdict, VERDICT_NONE, f->cap);
    else if (f->cap > 0)
        for (; f->seen != s->nborn; f->seen++) {
            uint32_t slot = SUBJECT_SLOT(s->born[f->seen % FILTER_BORN]);
            if (slot < f->cap)
                f->verdict[slot] = VERDICT_NONE;
        }
    f->seen = s->nborn;
}

void filter_prepare(struct filter *f)
{
    struct store_stream *s = f->stream;

    if (UNLIKELY(!f->asked)) {
        stream_need_index(s);
        f->asked = true;
        find_few(f);
    }
    if (f->seen == s->nborn)
        return;
    if (!f->few) {
        forget_born(f);
        return;
    }
    if (s->nborn - f->seen > FILTER_BORN) {
        find_few(f);
        return;
    }
    for (; f->seen != s->nborn && f->few; f->seen++) {
        uint32_t id = s->born[f->seen % FILTER_BORN];
        const struct subject *sub = subjects_by_id(&s->subjects, id);
        drop_id(f, id); /* the subject that had it before */
        if (sub->msgs + sub->pending > 0 && filter_matches_text(f, subject_text(sub)))
            add_id(f, id);
    }
}

/* ---- filters --------------------------------------------------------------------------------- */

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
    f->patterns = mem_array(n, sizeof(*f->patterns));
    for (unsigned i = 0; i < n; i++)
        f->patterns[i] = str_from(mem_strndup(patterns[i].p, patterns[i].n), patterns[i].n);
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
    uint32_t slot = SUBJECT_SLOT(id);

    if (id == 0)
        return false; /* no message */
    if (slot >= f->cap && slot < VERDICTS_MAX) {
        uint32_t cap = (uint32_t) round_up((uint64_t) slot * 2 + 1, 1024);
        cap = cap < VERDICTS_MAX ? cap : VERDICTS_MAX;
        f->verdict = mem_realloc(f->verdict, cap);
        memset(f->verdict + f->cap, VERDICT_NONE, cap - f->cap);
        f->cap = cap;
    }
    const struct subject *sub = subjects_by_id(&f->stream->subjects, id);
    if (sub->msgs + sub->pending == 0)
        return false; /* gone: no message of it exists */
    bool yes = filter_matches_text(f, subject_text(sub));
    if (slot < f->cap)
        f->verdict[slot] = yes ? VERDICT_YES : VERDICT_NO;
    return yes;
}

uint64_t filter_last(struct filter *f)
{
    struct store_stream *s = f->stream;
    uint64_t last = 0;

    if (!f->few)
        return s->last_seq;
    for (unsigned i = 0; i < f->nids; i++) {
        const struct subject *sub = subjects_by_id(&s->subjects, f->ids[i]);
        if (sub->msgs > 0 && sub->last > last)
            last = sub->last;
    }
    return last;
}

uint64_t filter_first(struct filter *f)
{
    struct store_stream *s = f->stream;
    uint64_t first = UINT64_MAX;

    if (!f->few)
        return s->first_seq;
    for (unsigned i = 0; i < f->nids; i++) {
        const struct subject *sub = subjects_by_id(&s->subjects, f->ids[i]);
        if (sub->msgs > 0 && sub->first < first)
            first = sub->first;
    }
    return first;
}

/* ---- scanning -------------------------------------------------------------------------------- */

/* Next record of the segment at or after seq whose subject matches; *budget records are looked at
 * at most. Returns its sequence, or 0 with *seq where to go on. */
static uint64_t scan_segment(struct filter *f, const struct segment *seg, uint64_t *seq,
                             uint32_t *budget)
{
    uint32_t entry;

    if (!segment_find(seg, *seq, &entry))
        return 0;
    for (; entry<seg->nentries && * budget> 0; entry++) {
        const struct segment_entry *e = &seg->entries[entry];
        uint32_t i = entry_from(seg, e, *seq);
        for (; e->live > 0 && i < e->b.count; i++) {
            if (*budget == 0) {
                *seq = entry_seq(seg, e, i);
                return 0;
            }
            --*budget;
            if (filter_matches(f, column_id(&seg->column, e->ordinal + i)))
                return entry_seq(seg, e, i);
        }
        *seq = e->b.first_seq + e->b.span;
    }
    return 0;
}

static uint64_t scan(struct filter *f, uint64_t *from, uint64_t last, uint32_t *budget)
{
    struct store_stream *s = f->stream;
    uint64_t first, end;

    /* Below first_seq nothing exists, and rec.removed says nothing about it. */
    if (*from < s->first_seq)
        *from = s->first_seq;
    while (*from <= last && *budget > 0) {
        struct segment *seg = stream_segment_of(s, *from);
        if (seg == NULL)
            break;
        if (*from < seg->base_seq)
            *from = seg->base_seq;
        if (seg->live == 0) {
            *from = seg->next_seq;
            --*budget;
            continue;
        }
        uint64_t found = scan_segment(f, seg, from, budget);
        if (found == 0) {
            if (*budget > 0 && *from < seg->next_seq)
                *from = seg->next_seq;
            continue;
        }
        if (found > last)
            break;
        if (!seqset_range_from(&s->rec.removed, found, &first, &end) || first > found)
            return found;
        *from = end + 1;
    }
    if (*budget > 0)
        *from = last + 1;
    return 0;
}

uint64_t filter_scan(struct filter *f, uint64_t *from, uint64_t last, uint32_t *budget)
{
    if (!f->few)
        return scan(f, from, last, budget);
    uint64_t begin = filter_first(f), end = filter_last(f);
    if (*from < begin)
        *from = begin;
    if (*from > end) { /* also when there is none */
        *from = last + 1;
        return 0;
    }
    uint64_t seq = index_next(f->stream, f->ids, f->nids, from, end < last ? end : last, budget);
    if (seq == 0 && *budget > 0)
        *from = last + 1;
    return seq;
}
