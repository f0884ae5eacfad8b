/*
 * remove.c - taking messages out: one by one, from the head, all of them; purges in slices.
 *
 * Memory changes at once: indexes, subject states, counters, readers. The request completes when
 * the change is durable in the stream's record. removed() is called from the next store_step, in
 * order.
 *
 * Interior removals are ranges in rec.removed; when they reach first_seq they dissolve into it
 * (stream_settle_first). No message is read to be removed: the columns know subject and size.
 *
 * A segment without messages is released: first the record that says so becomes durable, then its
 * file goes. Leading ones at once, those in the middle when rewrite.c gets to them.
 */
#include "store/remove.h"

#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

/* Messages looked at per slice of a purge. */
#define PURGE_SLICE 1024u
/* Messages removed per slice of a purge with a filter. */
#define PURGE_MATCHES 128u

bool message_exists(const struct store_stream *s, uint64_t seq)
{
    return seq >= s->first_seq && seq <= s->last_seq && !seqset_has(&s->rec.removed, seq);
}

/* ---- telling the owner ----------------------------------------------------------------------- */

struct removal {
    struct list link; /* store->removals */
    struct store_stream *stream;
    uint64_t first, last, msgs;
    enum store_reason reason;
};

void stream_removed(struct store_stream *s, uint64_t first, uint64_t last, uint64_t msgs,
                    enum store_reason reason)
{
    struct store *st = s->store;

    if (s->loading)
        return;
    if (!list_empty(&st->removals)) {
        struct removal *before = LIST_ENTRY(st->removals.prev, struct removal, link);
        if (before->stream == s && before->reason == reason && before->last + 1 == first) {
            before->last = last;
            before->msgs += msgs;
            return;
        }
    }
    struct removal *r = mem_alloc(sizeof(*r));
    *r =
        (struct removal){.stream = s, .first = first, .last = last, .msgs = msgs, .reason = reason};
    s->jobs++;
    list_push_back(&st->removals, &r->link);
}

void removals_tell(struct store *st)
{
    struct list *it;

    while ((it = list_pop_front(&st->removals)) != NULL) {
        struct removal *r = LIST_ENTRY(it, struct removal, link);
        struct store_stream *s = r->stream;
        if (s->ops != NULL && s->ops->removed != NULL)
            s->ops->removed(s->ctx, r->first, r->last, r->msgs, r->reason);
        mem_free(r);
        s->jobs--;
        stream_maybe_free(s);
    }
}

/* ---- one message ----------------------------------------------------------------------------- */

/* Largest existing sequence of the subject below seq, which is its last. */
static uint64_t subject_before(struct store_stream *s, uint32_t id, const struct seq_ring *ring,
                               uint64_t seq)
{
    if (ring != NULL && ring->n > 1) {
        uint64_t last = seq_ring_at(ring, ring->n - 1);
        return last == seq ? seq_ring_at(ring, ring->n - 2) : last;
    }
    return index_prev(s, id, seq);
}

/* The record leaves its entry, its segment, the totals and its subject. */
static void take_out(struct store_stream *s, struct segment *seg, struct segment_entry *e,
                     uint32_t i)
{
    uint32_t size = column_size(&seg->column, e->ordinal + i);
    uint32_t id = column_id(&seg->column, e->ordinal + i);
    struct subject *sub = subjects_by_id(&s->subjects, id);
    const struct seq_ring *ring = subject_ring(&s->subjects, id);
    uint64_t seq = entry_seq(seg, e, i), next = 0, prev = 0;

    lasts_note(s, id);
    e->live--;
    e->live_size -= size;
    seg->live--;
    seg->live_size -= size;
    if (seg->rewrite != NULL)
        rewrite_removed(seg, seq);
    s->msgs--;
    s->bytes -= size;
    if (sub->msgs > 1) {
        if (seq == sub->last)
            prev = subject_before(s, id, ring, seq);
        if (seq == sub->first && ring != NULL && ring->n > 1)
            next = seq_ring_at(ring, 1);
    }
    if (s->memo == sub && sub->msgs == 1 && sub->pending == 0)
        s->memo = NULL;
    subjects_remove(&s->subjects, id, seq, next, prev);
    if (seg->live * 2 < seg->column.n && seg->state == SEGMENT_SEALED && seg->rewrite_why == 0)
        rewrite_consider(seg);
}

/* The record of a message. */
static struct segment_entry *entry_of(struct store_stream *s, uint64_t seq, struct segment **seg,
                                      uint32_t *i)
{
    uint32_t entry;

    *seg = stream_segment_of(s, seq);
    bool found = segment_find(*seg, seq, &entry) &&
                 entry_find(*seg, &(*seg)->entries[entry], seq, i);
    ASSERT(found);
    return &(*seg)->entries[entry];
}

void remove_one(struct store_stream *s, uint64_t seq)
{
    struct segment *seg;
    uint32_t i;
    struct segment_entry *e = entry_of(s, seq, &seg, &i);

    if (s->loader == NULL) {
        take_out(s, seg, e, i);
    } else {
        index_remove_later(s, seq);
        if (seg->index_at == INDEX_HERE)
            index_late_size(s, seq, column_size(&seg->column, e->ordinal + i));
        s->msgs--;
    }
    if (e->mem != NULL)
        e->mem->plain = false;
    seqset_add(&s->rec.removed, seq, seq);
}

void remove_noted(struct store_stream *s, uint64_t seq)
{
    struct segment *seg;
    uint32_t i;
    struct segment_entry *e = entry_of(s, seq, &seg, &i);

    s->msgs++; /* it went when it was noted */
    take_out(s, seg, e, i);
}

/* ---- the head -------------------------------------------------------------------------------- */

/* Time of the first message. Unless the batch is in memory or it is the batch's first it is not
 * known exactly: then *latest is the batch's end. */
static int64_t time_of(const struct store_stream *s, uint64_t seq, int64_t *latest)
{
    const struct segment *seg = stream_segment_of(s, seq);
    struct batch_record rec;
    uint32_t entry, i;

    if (seg == NULL || !segment_find(seg, seq, &entry))
        return *latest = s->last_ts;
    const struct segment_entry *e = &seg->entries[entry];
    *latest = e->b.min_time;
    if (seq <= e->b.first_seq || e->b.min_time == e->b.max_time)
        return e->b.min_time;
    if (e->mem == NULL || e->mem->bad != NULL || !batch_record_of(e->mem, seq, &i)) {
        *latest = e->b.max_time;
        return e->b.min_time;
    }
    batch_record_get(&e->mem->view, i, &rec);
    return *latest = rec.ts;
}

void stream_settle_first(struct store_stream *s)
{
    uint64_t first, last;

    if (s->msgs == 0) {
        s->unlogged_head |= s->unlogged.count > 0;
        seqset_free(&s->unlogged);
        s->first_seq = s->last_seq + 1;
        seqset_free(&s->rec.removed);
        s->first_ts = 0;
    } else {
        while (seqset_range_from(&s->rec.removed, 0, &first, &last) && first <= s->first_seq) {
            if (last >= s->first_seq)
                s->first_seq = last + 1;
            seqset_remove(&s->rec.removed, first, last);
        }
        if (s->unlogged.count > 0 && seqset_remove(&s->unlogged, 0, s->first_seq - 1) > 0)
            s->unlogged_head = true;
        s->first_ts = time_of(s, s->first_seq, &s->first_ts_latest);
    }
    segments_release(s);
}

uint64_t remove_head(struct store_stream *s, uint64_t max, uint32_t limit, enum store_reason reason)
{
    uint64_t gone = 0, from = s->first_seq, first, last;

    ASSERT(s->loader == NULL);
    while (gone < limit && s->msgs > 0 && s->first_seq < max) {
        struct segment *seg = stream_segment_of(s, s->first_seq);
        uint32_t entry;
        if (!segment_find(seg, s->first_seq, &entry)) { /* its end was lost */
            s->first_seq = seg->next_seq;
            continue;
        }
        struct segment_entry *e = &seg->entries[entry];
        uint64_t end = e->b.first_seq + e->b.span, seq;
        uint32_t i = entry_from(seg, e, s->first_seq);
        bool holes = seqset_range_from(&s->rec.removed, s->first_seq, &first, &last) && first < end;
        for (; i < e->b.count && gone < limit && (seq = entry_seq(seg, e, i)) < max; i++) {
            if (!holes || !seqset_has(&s->rec.removed, seq)) {
                take_out(s, seg, e, i);
                gone++;
            }
        }
        uint64_t before = s->first_seq;
        s->first_seq = i < e->b.count ? entry_seq(seg, e, i) : end;
        if (reason == STORE_BY_LIMIT)
            stream_hold_range(s, before, s->first_seq - 1);
        seqset_remove(&s->rec.removed, 0, s->first_seq - 1);
    }
    if (gone > 0) {
        s->unlogged_head |= reason == STORE_BY_LIMIT || reason == STORE_BY_AGE;
        stream_settle_first(s);
        stream_removed(s, from, s->first_seq - 1, gone, reason);
    }
    return gone;
}

/* ---- everything ------------------------------------------------------------------------------ */

static void empty_subjects(struct store_stream *s)
{
    struct subjects_iter it = {0};
    uint32_t id;

    while ((id = subjects_each(&s->subjects, &it)) != 0) {
        struct subject *sub = subjects_by_id(&s->subjects, id);
        struct seq_ring *ring = subject_ring(&s->subjects, id);
        if (sub->msgs == 0)
            continue;
        sub->msgs = sub->first = sub->last = 0;
        if (ring != NULL)
            ring->n = 0;
        s->subjects.live--;
        if (s->memo == sub && sub->pending == 0)
            s->memo = NULL;
        subjects_release(&s->subjects, id);
    }
}

/* Costs as much as there are batches and subjects, not messages. */
uint64_t remove_everything(struct store_stream *s, enum store_reason reason)
{
    uint64_t gone = s->msgs, first = s->first_seq;

    ASSERT(s->loader == NULL);
    LIST_FOREACH(it, &s->segments)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, link);
        for (uint32_t i = 0; i < seg->nentries; i++) {
            seg->entries[i].live = 0;
            seg->entries[i].live_size = 0;
            if (seg->entries[i].mem != NULL)
                seg->entries[i].mem->plain = false;
        }
        seg->live = seg->live_size = 0;
    }
    rewrite_stale(s);
    lasts_end_all(s);
    empty_subjects(s);
    s->msgs = s->bytes = 0;
    stream_settle_first(s);
    if (gone > 0)
        stream_removed(s, first, s->last_seq, gone, reason);
    return gone;
}

/* ---- releasing segments ---------------------------------------------------------------------- */

struct release {
    struct store_req req;
    struct segment *segment;
};

/* What was to be erased in it goes with it. */
static void drop_intents(const struct segment *seg)
{
    if (seg->next_seq > seg->base_seq)
        seqset_remove(&seg->stream->rec.erase, seg->base_seq, seg->next_seq - 1);
}

static void release_logged(struct store_req *req, enum err err)
{
    struct release *r = CONTAINER_OF(req, struct release, req);
    struct segment *seg = r->segment;
    struct store_stream *s = seg->stream;

    seg->jobs--;
    mem_free(r);
    if (err == ERR_OK && s->state == STREAM_ACTIVE) {
        struct segment *next = segment_after(seg);
        if (seg->next_seq > s->synced_seq + 1) /* async level: it will never be synced */
            s->synced_seq = seg->next_seq - 1;
        if (seg->ruined)
            store_keep_damaged(s->store, seg->path);
        else
            store_retire(s->store, seg->path, seg->secret ? 0 : seg->capacity);
        drop_intents(seg);
        segment_free(seg);
        if (next != NULL)
            segment_header_if_due(next);
    }
    stream_maybe_free(s);
}

/* The last one of a stream that closes stays: what comes behind it begins there. */
static bool is_unused(const struct segment *seg)
{
    return (seg->state == SEGMENT_CLOSING || seg->state == SEGMENT_SEALED) && seg->live == 0 &&
           seg->jobs == 0 && seg->writes == 0 && seg->commits == 0 && seg->reserved == 0 &&
           segment_after(seg) != NULL &&
           !stream_holds(seg->stream, seg->base_seq, seg->next_seq - 1);
}

static void release(struct segment *seg)
{
    struct store_stream *s = seg->stream;
    struct buf delta = {0};

    seg->state = SEGMENT_RELEASED;
    rewrite_forget(seg);
    stream_record_release_segment(&s->rec, seg->number);
    if (!stream_in_file(s)) {
        segment_free(seg);
        return;
    }
    struct release *r = mem_zalloc(sizeof(*r));
    r->segment = seg;
    r->req.done = release_logged;
    seg->jobs++;
    stream_claim_durable(s, &delta);
    stream_claim_first(s, &delta);
    /* In the middle, a start must not take its sequences for lost: also those that limits took. */
    if (seg->next_seq > s->first_seq && seg->next_seq > seg->base_seq)
        stream_delta_remove(&delta, seg->base_seq, seg->next_seq - 1);
    stream_delta_release_segment(&delta, seg->number);
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), &r->req);
    buf_free(&delta);
}

void segment_release_empty(struct segment *seg)
{
    if (is_unused(seg))
        release(seg);
}

void segments_release(struct store_stream *s)
{
    if (s->state != STREAM_ACTIVE)
        return;
    LIST_FOREACH_SAFE(it, tmp, &s->segments)
    {
        struct segment *seg = LIST_ENTRY(it, struct segment, link);
        if (seg->state == SEGMENT_RELEASED)
            continue;
        if (!is_unused(seg) || seg->next_seq > s->first_seq)
            break;
        release(seg);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

enum err store_remove(struct store_stream *s, uint64_t seq, bool erase, struct store_req *req)
{
    struct buf delta = {0};

    if (s->state != STREAM_ACTIVE)
        return ERR_FAILED;
    if (!message_exists(s, seq))
        return ERR_NOT_FOUND;
    if (req != NULL)
        req->count = 1;
    erase = erase && stream_in_file(s);
    stream_let_go_of_held(s);
    stream_claim_limits(s, &delta);
    if (erase) {
        req = erase_start(s, seq, req);
        stream_claim_durable(s, &delta);
        stream_delta_erase(&delta, seq);
    } else if (!PLANTED(PLANT_REMOVAL_UNLOGGED)) {
        stream_delta_remove(&delta, seq, seq);
    }
    remove_one(s, seq);
    if (erase)
        seqset_add(&s->rec.erase, seq, seq);
    stream_settle_first(s);
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), req);
    buf_free(&delta);
    stream_removed(s, seq, seq, 1, STORE_BY_REQUEST);
    limits_timer(s);
    return ERR_OK;
}

/* What there is of [first, last], each one. */
static void remove_range(struct store_stream *s, uint64_t first, uint64_t last, struct seqset *gone)
{
    for (uint64_t seq = first; seq <= last; seq++)
        if (message_exists(s, seq)) {
            remove_one(s, seq);
            seqset_add(gone, seq, seq);
            stream_removed(s, seq, seq, 1, STORE_BY_REQUEST);
        }
}

uint64_t store_remove_set(struct store_stream *s, const struct seqset *set, struct store_req *req)
{
    struct seqset gone = {0};
    struct buf delta = {0};
    uint64_t first, last, at = s->first_seq, end = s->last_seq, count;

    if (s->state != STREAM_ACTIVE) {
        store_defer(s->store, req, ERR_FAILED);
        return 0;
    }
    stream_let_go_of_held(s);
    stream_claim_limits(s, &delta);
    for (; seqset_range_from(set, at, &first, &last) && first <= end; at = last + 1)
        remove_range(s, first < at ? at : first, last < end ? last : end, &gone);
    if (gone.count > 0 && !PLANTED(PLANT_REMOVAL_UNLOGGED))
        stream_delta_remove_set(&delta, &gone);
    stream_settle_first(s);
    count = gone.count;
    if (req != NULL)
        req->count = count;
    if (delta.n > 0)
        clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), req);
    else
        store_defer(s->store, req, ERR_OK);
    buf_free(&delta);
    seqset_free(&gone);
    limits_timer(s);
    return count;
}

struct purge {
    struct task task;
    struct filter *filter;
    uint64_t seq;   /* where to go on */
    uint64_t below; /* only sequences below it */
    uint64_t left;  /* still to be removed at most */
    uint64_t keep;
    bool begun; /* left is known */
    uint64_t count;
};

static void purge_free(struct task *t)
{
    struct purge *p = CONTAINER_OF(t, struct purge, task);

    filter_put(p->filter);
    mem_free(p);
}

/* The change of one slice; the last one carries the request. */
static void log_slice(struct purge *p, const struct seqset *gone, bool last)
{
    struct store_stream *s = p->task.stream;
    struct buf delta = {0};

    stream_let_go_of_held(s);
    stream_claim_durable(s, &delta);
    stream_claim_limits(s, &delta);
    if (gone != NULL && gone->count > 0)
        stream_delta_remove_set(&delta, gone);
    stream_claim_first(s, &delta);
    if (last && p->task.req != NULL)
        p->task.req->count = p->count;
    clog_put(s->store, LOG_DELTA, s->object, buf_str(&delta), last ? p->task.req : NULL);
    if (last)
        p->task.req = NULL;
    buf_free(&delta);
}

static bool purge_head_step(struct task *t)
{
    struct purge *p = CONTAINER_OF(t, struct purge, task);
    uint32_t limit = p->left < PURGE_SLICE ? (uint32_t) p->left : PURGE_SLICE;
    uint64_t gone = remove_head(t->stream, p->below, limit, STORE_BY_PURGE);

    p->count += gone;
    p->left -= gone;
    bool finished = gone < limit || p->left == 0;
    if (finished || gone > 0)
        log_slice(p, NULL, finished);
    return finished;
}

static bool purge_filter_step(struct task *t)
{
    struct purge *p = CONTAINER_OF(t, struct purge, task);
    struct store_stream *s = t->stream;
    struct seqset gone = {0};
    uint32_t budget = PURGE_SLICE, most = PURGE_MATCHES;
    bool finished = false;

    filter_prepare(p->filter);
    while (p->left > 0 && budget > 0 && most-- > 0) {
        uint64_t seq = filter_scan(p->filter, &p->seq, p->below - 1, &budget);
        if (seq == 0) {
            finished = p->seq >= p->below;
            break;
        }
        remove_one(s, seq);
        seqset_add(&gone, seq, seq);
        stream_removed(s, seq, seq, 1, STORE_BY_PURGE);
        p->seq = seq + 1;
        p->count++;
        p->left--;
        filter_prepare(p->filter);
    }
    finished = finished || p->left == 0;
    if (gone.count > 0)
        stream_settle_first(s);
    if (finished || gone.count > 0)
        log_slice(p, &gone, finished);
    seqset_free(&gone);
    return finished;
}

static void begin_purge(struct purge *p)
{
    struct store_stream *s = p->task.stream;
    uint64_t matching = 0;

    p->begun = true;
    p->seq = s->first_seq;
    if (p->keep != 0)
        matching = p->filter == NULL ? s->msgs : filter_total(p->filter);
    p->left = p->keep == 0 ? UINT64_MAX : matching > p->keep ? matching - p->keep : 0;
}

static bool purge_step(struct task *t)
{
    struct purge *p = CONTAINER_OF(t, struct purge, task);
    struct store_stream *s = t->stream;

    if (!p->begun)
        begin_purge(p);
    if (p->filter != NULL)
        return purge_filter_step(t);
    if (p->left < s->msgs || p->below <= s->last_seq || p->left == 0)
        return purge_head_step(t);
    p->count += remove_everything(s, STORE_BY_PURGE);
    log_slice(p, NULL, true);
    return true;
}

void store_purge(struct store_stream *s, const struct store_purge *p, struct store_req *req)
{
    struct purge *job;

    if (s->state != STREAM_ACTIVE) {
        store_defer(s->store, req, ERR_FAILED);
        return;
    }
    job = mem_zalloc(sizeof(*job));
    job->filter = p->filter.n > 0 ? filter_get(s, &p->filter, 1) : NULL;
    job->below = p->before_seq != 0 && p->before_seq <= s->last_seq ? p->before_seq
                                                                    : s->last_seq + 1;
    job->keep = p->keep;
    job->task = (struct task){.stream = s, .req = req, .step = purge_step, .free = purge_free};
    if (s->loader == NULL)
        begin_purge(job);
    if (s->loader == NULL && job->filter == NULL && job->left >= s->msgs &&
        job->below > s->last_seq && job->left > 0) {
        purge_step(&job->task);
        purge_free(&job->task);
        return;
    }
    task_start(s, &job->task);
}
