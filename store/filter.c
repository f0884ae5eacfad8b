/*
 * filter.c - which subjects a set of patterns matches.
 *
 * A filter that matches few subjects knows their ids (few); questions about it then cost what those
 * subjects' messages cost (index.c), however long the stream is. One that matches many has verdicts
 * on ids, one byte each, computed when the id is first met (VERDICTS_MAX of them at most), and the
 * id columns are scanned: that finds something soon, or else, after some thousand records, the tree
 * is asked once whether a set of ids holds all that match (the sieve): then a record costs a look
 * into that, whoever's it is. What fits neither is not asked again before twice as many records.
 *
 * Readers of a stream with the same patterns share a filter. New subjects are noted in the stream
 * (births); a filter of few looks at what was born since it last looked, or, if that is too much,
 * asks the tree again. Ids are reused: a filter of many forgets its verdicts on what was born since
 * it last looked, or all of them. So a new subject costs nothing by itself, however many filters
 * there are.
 */
#include "store/filter.h"

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
/* Ids in a sieve, and what is looked at to fill it: about a millisecond. */
#define SIEVE_MAX 4096u
#define SIEVE_STEPS 8192u
/* Records of a sieve cost as one of those that are compared. */
#define SIEVE_RECORDS 8u

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

/* Adds what matches to few, or (sieve) to the sieve; false: it does not fit, or is not worth the
 * steps. */
static bool ask_tree(struct filter *f, struct str pattern, bool sieve, uint32_t *steps)
{
    struct subject_cursor c;
    uint32_t most = sieve ? SIEVE_STEPS : FEW_STEPS;
    bool fits = true;

    subject_cursor_init(&c, &f->stream->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(pattern), false);
    while (fits && subject_cursor_match(&c, pattern, steps)) {
        if (sieve)
            id_set_add(&f->sieve, c.subject);
        else
            add_id(f, c.subject);
        subject_cursor_next(&c);
        fits = *steps <= most && (sieve ? f->sieve.n <= SIEVE_MAX : f->few);
    }
    subject_cursor_deinit(&c);
    return fits && *steps <= most;
}

static void find_few(struct filter *f)
{
    f->nids = 0;
    f->few = true;
    f->seen = f->stream->nborn;
    for (unsigned i = 0; i < f->n && f->few; i++) {
        uint32_t steps = 0;
        if (subject_has_wildcard(f->patterns[i])) {
            f->few = ask_tree(f, f->patterns[i], false, &steps);
        } else {
            uint32_t id = subjects_find(&f->stream->subjects, f->patterns[i]);
            if (id != 0)
                add_id(f, id);
        }
    }
}

/* ---- the sieve ------------------------------------------------------------------------------- */

static void drop_sieve(struct filter *f)
{
    f->sieved = false;
    f->looked = 0;
    id_set_deinit(&f->sieve);
}

/* Literals are asked for like patterns: they may be thousands. */
static void try_sieve(struct filter *f)
{
    uint32_t steps = 0;
    bool fits = true;

    for (unsigned i = 0; i < f->n && fits; i++)
        fits = ask_tree(f, f->patterns[i], true, &steps);
    f->patience *= 2;
    if (!fits || f->sieve.n == 0) {
        drop_sieve(f);
        return;
    }
    f->sieved = true;
    mem_free(f->verdict);
    f->verdict = NULL;
    f->cap = 0;
}

static void sieve_born(struct filter *f)
{
    const struct store_stream *s = f->stream;

    for (; f->seen != s->nborn; f->seen++) {
        uint32_t id = s->born[f->seen % FILTER_BORN];
        const struct subject *sub = subjects_by_id(&s->subjects, id);
        if (sub->msgs + sub->pending > 0 && filter_matches_text(f, subject_text(sub)))
            id_set_add(&f->sieve, id);
        else
            id_set_drop(&f->sieve, id); /* the subject that had it before */
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
    if (!f->few && !f->sieved && f->looked >= f->patience) {
        forget_born(f);
        try_sieve(f);
    }
    if (f->seen == s->nborn)
        return;
    if (f->sieved && (s->nborn - f->seen > FILTER_BORN || f->sieve.n > SIEVE_MAX))
        drop_sieve(f);
    if (!f->few) {
        if (f->sieved)
            sieve_born(f);
        else
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
    f->patience = s->store->filter_patience;
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
    id_set_deinit(&f->sieve);
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

/* First of the records [at, end) whose subject matches, or end. */
static uint32_t sift(const struct filter *f, const struct column *c, uint32_t at, uint32_t end)
{
    while (at < end) {
        uint32_t n;
        const uint32_t *ids = column_ids(c, at, &n);
        if (ids == NULL) {
            if (id_set_has(&f->sieve, column_id(c, at)))
                return at;
            at++;
            continue;
        }
        n = n < end - at ? n : end - at;
        for (uint32_t i = 0; i < n; i++)
            if (id_set_has(&f->sieve, ids[i]))
                return at + i;
        at += n;
    }
    return end;
}

static uint32_t look(struct filter *f, const struct column *c, uint32_t at, uint32_t end)
{
    if (f->sieved)
        return sift(f, c, at, end);
    while (at < end && !filter_matches(f, column_id(c, at)))
        at++;
    return at;
}

/* What looking at n records takes from the budget. */
static void spend(struct filter *f, uint32_t n, uint32_t *budget)
{
    uint32_t cost = f->sieved ? n / SIEVE_RECORDS + 1 : n;

    f->looked += n;
    *budget -= cost < *budget ? cost : *budget;
}

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
        if (e->live > 0 && i < e->b.count) {
            uint32_t n = e->b.count - i;
            bool all = f->sieved || n <= *budget;
            n = all ? n : *budget;
            uint32_t found = look(f, &seg->column, e->ordinal + i, e->ordinal + i + n) - e->ordinal;
            spend(f, found - i + (found < i + n), budget);
            if (found < i + n)
                return entry_seq(seg, e, found);
            if (!all) {
                *seq = entry_seq(seg, e, found);
                return 0;
            }
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
