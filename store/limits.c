/*
 * limits.c - what goes because there is too much of it, or because it is too old.
 *
 * Computed when a commit is durable, never at append, so that no message is lost for one that was
 * never stored. Messages go from the head (max_msgs, max_bytes, max_age) or per subject, oldest
 * first. These removals are not logged one by one: a start applies the limits to what it finds and
 * comes to the same result, as long as nothing else was removed. So a removal on request, which may
 * bring the stream below a limit, logs them first (stream_claim_limits); and so does every full
 * record.
 *
 * Per subject: with a limit of 1 the subject's first and last say everything. Above, each subject
 * keeps a ring of its sequences, which the limit bounds.
 */
#include "lib/base/later.h"
#include "lib/base/mem.h"
#include "store/early.h"
#include "store/store_impl.h"

/* Messages per slice: from the head 0.1 us each, of single subjects up to a few us; and subjects
 * that are looked at. */
#define LIMITS_SLICE 1024u
#define SUBJECTS_SLICE 128u
#define SUBJECTS_LOOKS 1024u
/* A wall clock that was set is noticed within this time, also by a stream that nobody uses. */
#define AGE_SLEEP_MAX 300000000000ll

/* ---- per subject ----------------------------------------------------------------------------- */

void limits_subject(struct store_stream *s, uint32_t id)
{
    struct subject *sub = subjects_by_id(&s->subjects, id);

    if (sub->mark != 0)
        return;
    sub->mark = 1;
    if (s->nover == s->over_cap) {
        s->over_cap = s->over_cap == 0 ? 64 : s->over_cap * 2;
        s->over = mem_realloc(s->over, s->over_cap * sizeof(*s->over));
    }
    s->over[s->nover++] = id;
}

/* First existing message of the subject. */
static uint64_t subject_first(struct store_stream *s, uint32_t id)
{
    const struct seq_ring *ring = subject_ring(&s->subjects, id);

    return ring != NULL && ring->n > 0 ? seq_ring_at(ring, 0) : index_first(s, id);
}

void limits_take(struct store_stream *s, uint64_t seq)
{
    remove_one(s, seq);
    stream_hold(s, seq, seq);
    seqset_add(&s->unlogged, seq, seq);
    stream_removed(s, seq, seq, 1, STORE_BY_LIMIT);
}

/* Removes from the subject what is over, at most *budget messages. More than one stays, so it is
 * not freed. */
static void trim_subject(struct store_stream *s, uint32_t id, uint32_t *budget)
{
    const struct subject *sub = subjects_by_id(&s->subjects, id);
    uint64_t max = s->rec.limits.max_msgs_per_subject;

    for (; max != 0 && sub->msgs > max && *budget > 0; --*budget)
        limits_take(s, subject_first(s, id));
}

/* Those of the commit just merged, as many of each as a commit can bring. A subject with more is
 * the sweep's, which follows a lowered limit. */
static void trim_subjects(struct store_stream *s)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject;
    uint32_t n = s->nover;

    if (n == 0)
        return;
    s->nover = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct subject *sub = subjects_by_id(&s->subjects, s->over[i]);
        uint32_t budget = s->sweep ? SUBJECTS_SLICE : UINT32_MAX;
        sub->mark = 0; /* also when it is gone, or another one by now */
        if (max != 0 && (!s->sweep || sub->msgs - max <= SUBJECTS_SLICE))
            trim_subject(s, s->over[i], &budget);
    }
    stream_settle_first(s);
}

/* All subjects in byte order, a few at a time: the limit was lowered. */
static void sweep_subjects(struct store_stream *s)
{
    struct subject_cursor c;
    uint32_t budget = SUBJECTS_SLICE, looks = SUBJECTS_LOOKS;

    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, buf_str(&s->sweep_at), false);
    while (c.subject != 0 && looks-- > 0) {
        const struct subject *sub = subjects_by_id(&s->subjects, c.subject);
        trim_subject(s, c.subject, &budget);
        if (budget == 0 && sub->msgs > s->rec.limits.max_msgs_per_subject)
            break;
        subject_cursor_next(&c);
    }
    s->sweep = c.subject != 0 && s->rec.limits.max_msgs_per_subject != 0;
    if (!s->sweep) {
        s->swept = s->rec.limits.max_msgs_per_subject;
        if (!s->loading)
            store_claim_end(s);
    }
    buf_clear(&s->sweep_at);
    if (s->sweep)
        buf_put_str(&s->sweep_at, subject_text(subjects_by_id(&s->subjects, c.subject)));
    subject_cursor_deinit(&c);
    stream_settle_first(s);
}

static void build_rings(struct store_stream *s)
{
    LIST_FOREACH(it, &s->segments)
    {
        const struct segment *seg = LIST_ENTRY(it, struct segment, link);
        for (uint32_t i = 0; i < seg->nentries; i++) {
            const struct segment_entry *e = &seg->entries[i];
            for (uint32_t k = 0; e->live > 0 && k < e->b.count; k++) {
                uint64_t seq = entry_seq(seg, e, k);
                if (message_exists(s, seq))
                    seq_ring_push(
                        subject_ring(&s->subjects, column_id(&seg->column, e->ordinal + k)), seq);
            }
        }
    }
}

void limits_rings(struct store_stream *s)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject;
    bool want = max > 1;

    if (s->loader != NULL)
        return;                                 /* comes at its end */
    if (want && !s->rings && s->subjects.rings) /* begun while the index was read */
        subjects_keep_rings(&s->subjects, false);
    if (want != s->subjects.rings)
        subjects_keep_rings(&s->subjects, want);
    if (want && !s->rings)
        build_rings(s);
    s->rings = want;
    s->sweep = max != 0;
    buf_clear(&s->sweep_at);
}

/* ---- the whole stream ------------------------------------------------------------------------ */

static bool over_age(const struct store_stream *s, int64_t now)
{
    return s->rec.limits.max_age_ns > 0 && s->msgs > 0 &&
           later(s->first_ts_latest, s->rec.limits.max_age_ns) <= now;
}

/* How many messages at the head can go at once without looking again. */
static uint32_t surplus(const struct store_stream *s, enum store_reason *reason)
{
    const struct store_limits *l = &s->rec.limits;

    *reason = STORE_BY_LIMIT;
    if (l->max_msgs != 0 && s->msgs > l->max_msgs)
        return s->msgs - l->max_msgs < LIMITS_SLICE ? (uint32_t) (s->msgs - l->max_msgs)
                                                    : LIMITS_SLICE;
    if (l->max_bytes != 0 && s->bytes > l->max_bytes)
        return 1;
    if (over_age(s, io_wall(s->store->io))) {
        *reason = STORE_BY_AGE;
        return 1;
    }
    return 0;
}

bool limits_over(const struct store_stream *s)
{
    enum store_reason reason;

    return surplus(s, &reason) > 0;
}

/* Removes at most a slice; false when nothing is over any more. */
bool limits_step(struct store_stream *s)
{
    uint32_t budget = LIMITS_SLICE, n;
    enum store_reason reason;

    trim_subjects(s);
    if (s->sweep)
        sweep_subjects(s);
    while (budget > 0 && (n = surplus(s, &reason)) > 0) {
        if (n > budget)
            n = budget;
        uint64_t gone = remove_head(s, UINT64_MAX, n, reason);
        if (gone == 0)
            break;
        budget -= (uint32_t) gone;
    }
    s->trim_due = s->sweep || surplus(s, &reason) > 0;
    if (!s->trim_due)
        limits_timer(s);
    return s->trim_due;
}

void limits_timer(struct store_stream *s)
{
    struct store *st = s->store;

    if (s->rec.limits.max_age_ns <= 0 || s->msgs == 0) {
        io_timer_stop(st->io, &s->age_timer);
        return;
    }
    int64_t left = later(s->first_ts_latest, s->rec.limits.max_age_ns) - io_wall(st->io);
    if (left < 0)
        left = 0;
    if (left > AGE_SLEEP_MAX)
        left = AGE_SLEEP_MAX;
    io_timer_start(st->io, &s->age_timer, io_now(st->io) + (uint64_t) left);
}

void limits_check(struct store_stream *s)
{
    const struct store_limits *l = &s->rec.limits;

    if (s->state != STREAM_ACTIVE)
        return;
    if (s->loader != NULL) { /* who goes is not known yet, but of some */
        s->trim_due = true;
        early_go_on(s);
        return;
    }
    if (s->nover == 0 && !s->sweep && l->max_msgs == 0 && l->max_bytes == 0 && l->max_age_ns == 0)
        return;
    if (limits_step(s))
        stream_has_tasks(s);
}
