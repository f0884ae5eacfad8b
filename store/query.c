/*
 * query.c - questions about subjects, counts and times.
 *
 * Counting for a few subjects asks the index; from the start of a stream subject states are added
 * up while they are not too many; else id columns are scanned, in slices: short scans answer at
 * once, long ones by the request. Finding a time searches the
 * batch index and then reads one batch, which may be cold.
 */
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "store/early.h"
#include "store/store_impl.h"

/* Records scanned at once, and per slice of a task. */
#define COUNT_AT_ONCE 65536u
#define COUNT_SLICE 16384u

/* Subjects looked at for a total before scanning becomes the better way. */
#define TOTAL_STEPS 4096u

/* ---- subjects -------------------------------------------------------------------------------- */

static void fill_subject(struct store_stream *s, uint32_t id, struct store_subject *out)
{
    const struct subject *sub = subjects_by_id(&s->subjects, id);

    out->subject = subject_text(sub);
    out->first_seq = sub->first;
    out->last_seq = sub->last;
    out->msgs = sub->msgs;
}

/* What is known of the subject while the index is still being read; NULL: ask the index. */
static const struct early_subject *early_of(struct store_stream *s, struct str subject)
{
    const struct early_subject *e = UNLIKELY(s->loader != NULL) ? early_find(s, subject) : NULL;

    if (e == NULL)
        stream_need_index(s);
    return e;
}

static uint64_t count_early(struct store_stream *s, struct str subject)
{
    uint64_t n;

    early_count(s, &subject, 1, s->first_seq, s->last_seq, &n);
    return n;
}

bool store_subject_get(struct store_stream *s, struct str subject, struct store_subject *out)
{
    const struct early_subject *e = early_of(s, subject);

    if (e != NULL) {
        out->subject = subject;
        out->msgs = count_early(s, subject);
        out->first_seq = early_next(s, e, s->first_seq, s->last_seq);
        out->last_seq = early_prev(s, e, s->last_seq + 1);
        return out->msgs > 0;
    }
    uint32_t id = subjects_find(&s->subjects, subject);

    if (id == 0 || subjects_by_id(&s->subjects, id)->msgs == 0)
        return false;
    fill_subject(s, id, out);
    out->first_seq = index_first(s, id);
    return true;
}

uint64_t store_subject_last_assigned(struct store_stream *s, struct str subject, uint64_t *msgs)
{
    const struct early_subject *e = early_of(s, subject);
    const struct subject *sub = subjects_get(&s->subjects, subject);

    if (e != NULL) {
        *msgs = count_early(s, subject) + (sub != NULL ? sub->pending : 0);
        return sub != NULL && sub->pending > 0 ? subject_last_assigned(sub, s->last_assigned)
                                               : early_prev(s, e, s->last_seq + 1);
    }
    *msgs = sub != NULL ? sub->msgs + sub->pending : 0;
    return *msgs > 0 ? subject_last_assigned(sub, s->last_assigned) : 0;
}

uint64_t store_subject_first_bytes(struct store_stream *s, struct str subject)
{
    struct store_subject first;
    struct segment *seg;
    uint32_t entry, i;

    if (s->loader != NULL || !store_subject_get(s, subject, &first))
        return UINT64_MAX;
    seg = stream_segment_of(s, first.first_seq);
    bool found = segment_find(seg, first.first_seq, &entry) &&
                 entry_find(seg, &seg->entries[entry], first.first_seq, &i);
    ASSERT(found);
    return column_size(&seg->column, seg->entries[entry].ordinal + i);
}

static bool is_everything(struct str filter)
{
    return filter.n == 0 || str_eq(filter, STR(">"));
}

void store_subjects_each(struct store_stream *s, struct str filter,
                         bool (*each)(void *ctx, const struct store_subject *sub), void *ctx)
{
    struct str pattern = is_everything(filter) ? STR(">") : filter;
    struct subject_cursor c;
    struct store_subject out;
    uint32_t steps = 0;
    bool more = true;

    if (!subject_has_wildcard(pattern)) {
        if (store_subject_get(s, pattern, &out))
            each(ctx, &out);
        return;
    }
    stream_need_index(s);
    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(pattern), false);
    while (more && subject_cursor_match(&c, pattern, &steps)) {
        if (subjects_by_id(&s->subjects, c.subject)->msgs > 0) {
            fill_subject(s, c.subject, &out);
            more = each(ctx, &out);
        }
        subject_cursor_next(&c);
    }
    subject_cursor_deinit(&c);
}

bool store_subjects_few(struct store_stream *s, struct str filter, uint32_t most)
{
    struct str pattern = is_everything(filter) ? STR(">") : filter;
    struct subject_cursor c;
    uint32_t steps = 0;

    if (!subject_has_wildcard(pattern))
        return true;
    stream_need_index(s);
    if (s->subjects.count <= most)
        return true;
    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(pattern), false);
    while (steps <= most && subject_cursor_match(&c, pattern, &steps))
        subject_cursor_next(&c);
    subject_cursor_deinit(&c);
    return steps <= most;
}

/* Largest existing sequence. */
static uint64_t last_existing(const struct store_stream *s)
{
    uint64_t seq = s->last_seq, first, last;

    while (seq >= s->first_seq && seqset_range_from(&s->rec.removed, seq, &first, &last) &&
           first <= seq)
        seq = first - 1;
    return s->msgs > 0 ? seq : 0;
}

uint64_t store_stream_tail(struct store_stream *s, uint64_t bytes)
{
    for (struct list *l = s->segments.prev; l != &s->segments; l = l->prev) {
        const struct segment *seg = LIST_ENTRY(l, struct segment, link);
        for (uint32_t i = seg->nentries; i > 0; i--) {
            const struct segment_entry *e = &seg->entries[i - 1];
            if (e->live > 0 && e->b.bytes >= bytes)
                return e->b.first_seq < s->first_seq ? s->first_seq : e->b.first_seq;
            bytes -= e->live > 0 ? e->b.bytes : 0;
        }
    }
    return s->first_seq;
}

uint64_t store_stream_head(const struct store_stream *s)
{
    return s->active != NULL && s->active->base_seq != 0 ? s->active->base_seq : s->last_seq + 1;
}

/* The pattern's matches from the last message back, while it may be expected to match soon. */
static bool last_match_near(struct store_stream *s, struct str pattern, uint64_t *last)
{
    uint64_t first = 0, end = 0, seq = last_existing(s);

    for (uint32_t left = TOTAL_STEPS; left > 0 && seq >= s->first_seq && seq != 0; seq--) {
        if (seqset_range_from(&s->rec.removed, seq, &first, &end) && first <= seq) {
            seq = first; /* the loop goes one further */
            continue;
        }
        left--;
        const struct segment *seg = stream_segment_of(s, seq);
        uint32_t id = column_id(&seg->column, segment_ordinal(seg, seq));
        if (subject_matches(subject_text(subjects_by_id(&s->subjects, id)), pattern)) {
            *last = seq;
            return true;
        }
    }
    return false;
}

uint64_t store_subject_last_match(struct store_stream *s, struct str filter)
{
    struct subject_cursor c;
    uint64_t last = 0;
    uint32_t steps = 0;

    if (is_everything(filter))
        return last_existing(s);
    if (!subject_has_wildcard(filter)) {
        const struct early_subject *e = early_of(s, filter);
        if (e != NULL)
            return early_prev(s, e, s->last_seq + 1);
        const struct subject *sub = subjects_get(&s->subjects, filter);
        return sub != NULL ? sub->last : 0;
    }
    stream_need_index(s);
    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(filter), false);
    bool tried = false;
    while (subject_cursor_match(&c, filter, &steps)) {
        const struct subject *sub = subjects_by_id(&s->subjects, c.subject);
        last = sub->last > last ? sub->last : last;
        subject_cursor_next(&c);
        if (steps > TOTAL_STEPS && !tried && last_match_near(s, filter, &last))
            break;
        tried = tried || steps > TOTAL_STEPS;
    }
    subject_cursor_deinit(&c);
    return last;
}

uint64_t store_subject_last_upto(struct store_stream *s, struct str subject, uint64_t max_seq)
{
    const struct early_subject *e = early_of(s, subject);

    if (e != NULL)
        return early_prev(s, e, max_seq < s->last_seq ? max_seq + 1 : s->last_seq + 1);
    uint32_t id = subjects_find(&s->subjects, subject);
    const struct subject *sub = id != 0 ? subjects_by_id(&s->subjects, id) : NULL;

    if (sub == NULL || sub->msgs == 0 || sub->first > max_seq)
        return 0;
    return sub->last <= max_seq ? sub->last : index_prev(s, id, max_seq + 1);
}

/* ---- counting -------------------------------------------------------------------------------- */

/* Adds up the subjects that match pattern number i and none before it; false: too many. */
static bool add_pattern(struct filter *f, unsigned i, uint32_t most, uint64_t *total)
{
    struct store_stream *s = f->stream;
    struct subject_cursor c;
    uint32_t steps = 0;

    subject_cursor_init(&c, &s->subjects.tree);
    subject_cursor_seek(&c, subject_pattern_prefix(f->patterns[i]), false);
    while (steps <= most && subject_cursor_match(&c, f->patterns[i], &steps)) {
        const struct subject *sub = subjects_by_id(&s->subjects, c.subject);
        bool before = false;
        for (unsigned k = 0; k < i && !before; k++)
            before = subject_matches(subject_text(sub), f->patterns[k]);
        *total += before ? 0 : sub->msgs;
        subject_cursor_next(&c);
    }
    subject_cursor_deinit(&c);
    return steps <= most;
}

static bool total_within(struct filter *f, uint32_t most, uint64_t *total)
{
    *total = 0;
    filter_prepare(f);
    for (unsigned i = 0; f->few && i < f->nids; i++)
        *total += subjects_by_id(&f->stream->subjects, f->ids[i])->msgs;
    for (unsigned i = 0; !f->few && i < f->n; i++)
        if (!add_pattern(f, i, most, total))
            return false;
    return true;
}

uint64_t filter_total(struct filter *f)
{
    uint64_t total;

    total_within(f, UINT32_MAX, &total);
    return total;
}

struct count_task {
    struct task task;
    struct filter *filter;
    uint64_t seq, last, count;
};

/* True when it is through. */
static bool count_some(struct store_stream *s, struct filter *f, uint64_t *seq, uint64_t last,
                       uint64_t *count, uint32_t budget)
{
    filter_prepare(f);
    if (f->few)
        index_count(s, f->ids, f->nids, seq, last, count, &budget);
    while (!f->few && budget > 0) {
        if (*seq < s->first_seq)
            *seq = s->first_seq;
        uint64_t found = filter_scan(f, seq, last, &budget);
        if (found == 0)
            return *seq > last;
        ++*count;
        *seq = found + 1;
    }
    return *seq > last;
}

static bool count_step(struct task *t)
{
    struct count_task *c = CONTAINER_OF(t, struct count_task, task);

    if (!count_some(t->stream, c->filter, &c->seq, c->last, &c->count, COUNT_SLICE))
        return false;
    t->req->count = c->count;
    store_defer(t->stream->store, t->req, ERR_OK);
    t->req = NULL;
    return true;
}

static void count_free(struct task *t)
{
    struct count_task *c = CONTAINER_OF(t, struct count_task, task);

    filter_put(c->filter);
    mem_free(c);
}

static void start_count(struct store_stream *s, struct filter *f, uint64_t from, uint64_t last,
                        uint64_t count, struct store_req *req)
{
    struct count_task *c = mem_zalloc(sizeof(*c));

    c->task = (struct task){.stream = s, .req = req, .step = count_step, .free = count_free};
    c->filter = f;
    c->seq = from;
    c->last = last;
    c->count = count;
    task_start(s, &c->task);
}

void count_later(struct store_stream *s, const struct str *filters, unsigned nfilters,
                 uint64_t from, uint64_t last, struct store_req *req)
{
    start_count(s, filter_get(s, filters, nfilters), from, last, 0, req);
}

enum err store_count(struct store_stream *s, uint64_t seq, const struct str *filters,
                     unsigned nfilters, uint64_t *count, struct store_req *req)
{
    struct filter *f = filter_get(s, filters, nfilters);
    uint64_t from = seq < s->first_seq ? s->first_seq : seq;

    *count = 0;
    if (f == NULL) {
        if (from <= s->last_seq)
            *count = s->last_seq - from + 1 - seqset_count_in(&s->rec.removed, from, s->last_seq);
        return ERR_OK;
    }
    bool later = index_comes(s) && req != NULL;
    if (index_comes(s) && early_count(s, filters, nfilters, from, s->last_seq, count)) {
        filter_put(f);
        return ERR_OK;
    }
    if (later && early_can(s, filters, nfilters)) {
        filter_put(f);
        early_want_count(s, filters, nfilters, from, s->last_seq, req);
        return ERR_AGAIN;
    }
    if (!later && from == s->first_seq && total_within(f, TOTAL_STEPS, count)) {
        filter_put(f);
        return ERR_OK;
    }
    *count = 0;
    if (!later && count_some(s, f, &from, s->last_seq, count, COUNT_AT_ONCE)) {
        filter_put(f);
        return ERR_OK;
    }
    start_count(s, f, from, s->last_seq, *count, req);
    return ERR_AGAIN;
}

/* ---- the index is still being read ----------------------------------------------------------- */

static bool wait_step(struct task *t)
{
    store_defer(t->stream->store, t->req, ERR_OK);
    t->req = NULL;
    return true;
}

static void wait_free(struct task *t)
{
    mem_free(t);
}

bool store_subjects_wait(struct store_stream *s, const struct str *subjects, unsigned n,
                         struct store_req *req)
{
    if (!index_comes(s) || early_knows(s, subjects, n))
        return false;
    if (!early_can(s, subjects, n))
        return store_index_wait(s, req);
    if (req != NULL)
        early_want(s, subjects, n, req);
    return true;
}

bool store_index_wait(struct store_stream *s, struct store_req *req)
{
    if (!index_comes(s))
        return false;
    if (req != NULL) {
        struct task *t = mem_zalloc(sizeof(*t));
        *t = (struct task){.stream = s, .req = req, .step = wait_step, .free = wait_free};
        task_start(s, t);
    }
    return true;
}

/* ---- times ----------------------------------------------------------------------------------- */

/* First entry whose last message is not before ts. */
static const struct segment_entry *entry_at(const struct store_stream *s, int64_t ts,
                                            struct segment **out)
{
    for (uint32_t i = 0; i < s->nindex; i++) {
        struct segment *seg = s->index[i];
        uint32_t low = 0, high = seg->nentries;
        if (seg->nentries == 0 || seg->max_time < ts)
            continue;
        while (low < high) {
            uint32_t mid = low + (high - low) / 2;
            if (seg->entries[mid].b.max_time < ts)
                low = mid + 1;
            else
                high = mid;
        }
        if (low < seg->nentries) {
            *out = seg;
            return &seg->entries[low];
        }
    }
    return NULL;
}

static uint64_t next_existing(const struct store_stream *s, uint64_t seq)
{
    uint64_t first, last;

    if (seq < s->first_seq)
        seq = s->first_seq;
    if (seqset_range_from(&s->rec.removed, seq, &first, &last) && first <= seq)
        seq = last + 1;
    return seq <= s->last_seq ? seq : s->last_seq + 1;
}

static bool has_ids(const struct segment_batch *b)
{
    return (b->flags & BATCH_HAS_IDS) != 0;
}

static bool has_effects(const struct segment_batch *b)
{
    return (b->flags & BATCH_HAS_EFFECTS) != 0;
}

static bool is_kafka(const struct segment_batch *b)
{
    return b->kind == BATCH_KAFKA;
}

static uint64_t seq_of(struct store_stream *s, uint64_t seq,
                       bool (*wanted)(const struct segment_batch *b))
{
    struct segment *seg = stream_segment_of(s, seq);
    uint32_t i;

    for (; seg != NULL; seg = segment_after(seg)) {
        if (!segment_find(seg, seq, &i))
            continue;
        for (; i < seg->nentries; i++) {
            const struct segment_batch *b = &seg->entries[i].b;
            if (wanted(b))
                return b->first_seq > seq ? b->first_seq : seq;
        }
    }
    return 0;
}

uint64_t store_seq_with_id(struct store_stream *s, uint64_t seq)
{
    return seq_of(s, seq, has_ids);
}

uint64_t store_seq_with_effect(struct store_stream *s, uint64_t seq)
{
    return seq_of(s, seq, has_effects);
}

uint64_t store_seq_of_kafka(struct store_stream *s, uint64_t seq)
{
    return seq_of(s, seq, is_kafka);
}

bool store_msg_exists(const struct store_stream *s, uint64_t seq)
{
    return message_exists(s, seq);
}

struct time_query {
    struct task task;
    struct store_reader reader;
    int64_t ts;
    uint64_t entry_seq; /* where the batch begins */
};

/* The first message of the batch at seq (in memory now) with a time >= ts. */
static bool search_batch(struct store_reader *r, uint64_t seq, int64_t ts, uint64_t *found)
{
    struct store_msg m;

    store_reader_seek(r, seq);
    for (;;) {
        switch (store_reader_next(r, &m)) {
        case STORE_READ_MSG:
            if (m.ts < ts)
                continue;
            *found = m.seq;
            return true;
        case STORE_READ_WAIT:
            return false;
        default:
            *found = r->stream != NULL ? r->stream->last_seq + 1 : 0;
            return true;
        }
    }
}

static bool time_step(struct task *t)
{
    struct time_query *q = CONTAINER_OF(t, struct time_query, task);

    if (!search_batch(&q->reader, q->entry_seq, q->ts, &t->req->count)) {
        t->parked = true;
        return false;
    }
    store_defer(t->stream->store, t->req, ERR_OK);
    t->req = NULL;
    return true;
}

static void time_free(struct task *t)
{
    struct time_query *q = CONTAINER_OF(t, struct time_query, task);

    store_reader_deinit(&q->reader);
    mem_free(q);
}

static void time_ready(struct store_reader *r)
{
    struct time_query *q = CONTAINER_OF(r, struct time_query, reader);

    q->task.parked = false;
    stream_has_tasks(q->task.stream);
}

enum err store_seq_at(struct store_stream *s, int64_t ts, uint64_t *seq, struct store_req *req)
{
    struct segment *seg;
    const struct segment_entry *e = entry_at(s, ts, &seg);

    *seq = s->last_seq + 1;
    if (e == NULL || s->msgs == 0)
        return ERR_OK;
    *seq = next_existing(s, e->b.first_seq);
    if (e->b.min_time >= ts || *seq > s->last_seq)
        return ERR_OK;
    struct time_query *q = mem_zalloc(sizeof(*q));
    q->task = (struct task){.stream = s, .req = req, .step = time_step, .free = time_free};
    q->ts = ts;
    q->entry_seq = *seq;
    store_reader_init(&q->reader, s, *seq, NULL, 0, time_ready, q);
    if (search_batch(&q->reader, *seq, ts, seq)) {
        time_free(&q->task);
        return ERR_OK;
    }
    ASSERT(req != NULL);
    q->task.parked = true;
    task_start(s, &q->task);
    return ERR_AGAIN;
}
