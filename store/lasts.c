/*
 * lasts.c - the last message of each subject, as it was when somebody asked, listed in slices.
 *
 * With a million subjects the list takes tens of milliseconds, and appends and removals go on
 * meanwhile. It is a snapshot by copying what changes: the subjects are walked in byte order, and
 * before the last message of one that was not walked yet becomes another one (a commit, a removal)
 * it is noted (lasts_note), once. So the list has for each subject that had a message at the
 * beginning what was its last one then, whether that is still there or not, and nothing of subjects
 * that came later.
 *
 *     WALK   subjects behind `at` are still to come; `noted` are those that were noted, by id. A
 *            freed id is given to new subjects only, which do not count either
 *     SORT   by sequence: counting sort, 11 bits a pass, from the array to another one and back
 *     DONE   the owner was told
 *
 * `upto` bounds the sequences: a list that was begun before a crash is made anew behind it. Then
 * the last message of a subject at or below it is looked up where there is a later one.
 *
 * The number of subjects is known at once where all match, which is seen from the tree: the first
 * and the last in order have what stands before the pattern's ">".
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/store_impl.h"

#include <string.h>

/* Subjects and numbers of a slice. */
#define WALK_SLICE 256u
#define SORT_SLICE 8192u
#define DIGIT_BITS 11u
#define DIGITS (1u << DIGIT_BITS)

enum phase { WALK, COUNT, MOVE, DONE };

struct store_lasts {
    struct task task;
    bool task_on;
    struct list link; /* stream->lasts, while it walks */
    bool listed;
    struct str *patterns; /* none = everything */
    unsigned n;
    uint64_t upto; /* UINT64_MAX: the end, whatever it is */
    enum phase phase;
    size_t prefix; /* of the one pattern: only subjects that begin with it can match */
    struct buf at;
    uint8_t *noted; /* bit per slot */
    uint32_t noted_cap;
    uint64_t *seqs, *other;
    size_t nseqs, cap;
    /* Sorting. */
    unsigned shift;
    size_t i;
    size_t place[DIGITS];
};

static bool wanted(const struct store_lasts *l, struct str subject)
{
    for (unsigned i = 0; i < l->n; i++)
        if (subject_matches(subject, l->patterns[i]))
            return true;
    return l->n == 0;
}

static void add(struct store_lasts *l, uint64_t seq)
{
    if (l->nseqs == l->cap) {
        l->cap = l->cap * 2 + 1024;
        l->seqs = mem_realloc(l->seqs, l->cap * sizeof(*l->seqs));
    }
    l->seqs[l->nseqs++] = seq;
}

static void add_last(struct store_lasts *l, const struct store_stream *s, uint32_t id)
{
    const struct subject *sub = subjects_by_id(&s->subjects, id);
    uint64_t seq = sub->last;

    if (sub->msgs == 0 || !wanted(l, subject_text(sub)))
        return;
    if (seq > l->upto)
        seq = index_prev(s, id, l->upto + 1);
    if (seq != 0)
        add(l, seq);
}

/* ---- what changes meanwhile ------------------------------------------------------------------ */

static bool is_noted(const struct store_lasts *l, uint32_t id)
{
    uint32_t slot = SUBJECT_SLOT(id);

    return slot / 8 < l->noted_cap && (l->noted[slot / 8] >> (slot % 8) & 1) != 0;
}

static void note(struct store_lasts *l, const struct store_stream *s, uint32_t id)
{
    uint32_t slot = SUBJECT_SLOT(id);

    if (is_noted(l, id) ||
        str_cmp(subject_text(subjects_by_id(&s->subjects, id)), buf_str(&l->at)) <= 0)
        return;
    if (slot / 8 >= l->noted_cap) {
        uint32_t cap = slot / 8 * 2 + 64;
        l->noted = mem_realloc(l->noted, cap);
        memset(l->noted + l->noted_cap, 0, cap - l->noted_cap);
        l->noted_cap = cap;
    }
    l->noted[slot / 8] |= (uint8_t) (1u << slot % 8);
    add_last(l, s, id);
}

void lasts_note_all(struct store_stream *s, uint32_t id)
{
    LIST_FOREACH(it, &s->lasts)
    note(LIST_ENTRY(it, struct store_lasts, link), s, id);
}

/* ---- walking --------------------------------------------------------------------------------- */

static void end_walk(struct store_lasts *l)
{
    list_remove(&l->link);
    l->phase = l->nseqs > 0 ? COUNT : DONE;
    buf_free(&l->at);
    mem_free(l->noted);
    l->noted = NULL;
    l->noted_cap = 0;
}

void lasts_end_all(struct store_stream *s)
{
    while (!list_empty(&s->lasts))
        end_walk(LIST_ENTRY(list_first(&s->lasts), struct store_lasts, link));
}

static bool in_reach(const struct store_lasts *l, struct str subject)
{
    return l->prefix == 0 ||
           (subject.n > l->prefix && memcmp(subject.p, l->patterns[0].p, l->prefix) == 0);
}

static void walk(struct store_lasts *l)
{
    struct store_stream *s = l->task.stream;
    struct subject_cursor c;

    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, buf_str(&l->at), true);
    bool more = true;
    for (unsigned n = 0; n < WALK_SLICE && more; n++) {
        more = c.subject != 0 && in_reach(l, subject_text(subjects_by_id(&s->subjects, c.subject)));
        if (!more)
            break;
        if (!is_noted(l, c.subject))
            add_last(l, s, c.subject);
        if (n + 1 == WALK_SLICE) {
            buf_clear(&l->at);
            buf_put_str(&l->at, subject_text(subjects_by_id(&s->subjects, c.subject)));
        }
        subject_cursor_next(&c);
    }
    if (!more)
        end_walk(l);
    subject_cursor_deinit(&c);
}

/* ---- sorting --------------------------------------------------------------------------------- */

static uint32_t digit(const struct store_lasts *l, uint64_t seq)
{
    return (uint32_t) (seq >> l->shift) & (DIGITS - 1);
}

static void step_count(struct store_lasts *l)
{
    size_t end = l->i + SORT_SLICE < l->nseqs ? l->i + SORT_SLICE : l->nseqs, sum = 0;

    if (l->i == 0)
        memset(l->place, 0, sizeof(l->place));
    for (; l->i < end; l->i++)
        l->place[digit(l, l->seqs[l->i])]++;
    if (l->i < l->nseqs)
        return;
    for (unsigned d = 0; d < DIGITS; d++) {
        size_t n = l->place[d];
        l->place[d] = sum;
        sum += n;
    }
    if (l->other == NULL)
        l->other = mem_array(l->nseqs, sizeof(*l->other));
    l->i = 0;
    l->phase = MOVE;
}

static void step_move(struct store_lasts *l, uint64_t last)
{
    size_t end = l->i + SORT_SLICE < l->nseqs ? l->i + SORT_SLICE : l->nseqs;
    uint64_t *t = l->seqs;

    for (; l->i < end; l->i++)
        l->other[l->place[digit(l, l->seqs[l->i])]++] = l->seqs[l->i];
    if (l->i < l->nseqs)
        return;
    l->seqs = l->other;
    l->other = t;
    l->i = 0;
    l->shift += DIGIT_BITS;
    l->phase = l->shift >= 64 || last >> l->shift == 0 ? DONE : COUNT;
}

static bool step(struct task *t)
{
    struct store_lasts *l = CONTAINER_OF(t, struct store_lasts, task);

    if (!l->listed) { /* it waited for the index */
        l->listed = true;
        list_push_back(&t->stream->lasts, &l->link);
    }
    switch (l->phase) {
    case WALK:
        walk(l);
        break;
    case COUNT:
        step_count(l);
        break;
    case MOVE:
        step_move(l, t->stream->last_assigned);
        break;
    case DONE:
        break;
    }
    if (l->phase != DONE)
        return false;
    store_defer(t->stream->store, t->req, ERR_OK);
    t->req = NULL;
    return true;
}

/* ---- beginning and end ----------------------------------------------------------------------- */

static void task_ends(struct task *t)
{
    struct store_lasts *l = CONTAINER_OF(t, struct store_lasts, task);

    l->task_on = false;
    list_remove(&l->link);
}

/* Is the pattern's part before a last ">" a prefix of all subjects? */
static bool all_match(const struct store_stream *s, struct str pattern)
{
    struct str prefix = subject_pattern_prefix(pattern);
    struct subject_cursor c;
    struct buf behind = {0};

    if (prefix.n == 0 || prefix.n + 1 != pattern.n || pattern.p[prefix.n] != '>')
        return false;
    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, STR_NONE, false);
    bool all = c.subject != 0 &&
               str_cmp(subject_text(subjects_by_id(&s->subjects, c.subject)), prefix) > 0;
    buf_put_str(&behind, prefix);
    behind.p[behind.n - 1]++; /* what comes behind "a." begins at "a/" */
    subject_cursor_seek(&c, buf_str(&behind), false);
    all = all && c.subject == 0;
    subject_cursor_deinit(&c);
    buf_free(&behind);
    return all;
}

struct store_lasts *store_lasts_begin(struct store_stream *s, const struct str *patterns,
                                      unsigned n, uint64_t upto, uint64_t *count,
                                      struct store_req *req)
{
    struct store_lasts *l = mem_zalloc(sizeof(*l));
    bool all = n == 0;

    for (unsigned i = 0; i < n && s->loader == NULL; i++)
        all = all || str_eq(patterns[i], STR(">")) || all_match(s, patterns[i]);
    *count = all && s->loader == NULL && upto >= s->last_seq ? s->subjects.live : UINT64_MAX;
    list_init(&l->link);
    l->task = (struct task){.stream = s, .req = req, .step = step, .free = task_ends};
    l->upto = upto;
    if (!all) {
        l->patterns = mem_array(n, sizeof(*l->patterns));
        for (l->n = 0; l->n < n; l->n++)
            l->patterns[l->n] = str_from(mem_strndup(patterns[l->n].p, patterns[l->n].n),
                                         patterns[l->n].n);
    }
    if (l->n == 1 && subject_has_wildcard(l->patterns[0])) {
        l->prefix = subject_pattern_prefix(l->patterns[0]).n;
        buf_put(&l->at, l->patterns[0].p, l->prefix);
    }
    if (s->loader == NULL) {
        l->listed = true;
        list_push_back(&s->lasts, &l->link);
    }
    l->task_on = true;
    task_start(s, &l->task);
    return l;
}

uint64_t *store_lasts_take(struct store_lasts *l, size_t *n)
{
    uint64_t *seqs = l->seqs;

    *n = l->nseqs;
    l->seqs = NULL;
    return seqs;
}

bool store_lasts_free(struct store_lasts *l)
{
    bool on = l->task_on;

    if (on) {
        list_remove(&l->task.link);
        list_remove(&l->link);
    }
    for (unsigned i = 0; i < l->n; i++)
        mem_free((void *) (uintptr_t) l->patterns[i].p);
    mem_free(l->patterns);
    buf_free(&l->at);
    mem_free(l->noted);
    mem_free(l->seqs);
    mem_free(l->other);
    mem_free(l);
    return on;
}
