/*
 * load.c - a recovered stream becomes a running one: indexes, columns, subject states, limits.
 *
 * The recovery half says which segments there are and where the last one goes on; their footers (or
 * the scan of the last one) list for every message its subject and size. From them the columns are
 * filled, then the messages are walked once in order to count and to build the subject states.
 * Messages that the record has as removed are left out. Limits are applied at the end, before
 * anybody looks.
 *
 * A stream of which a part can not be read is FAILED and stays on disk as it was found: its record
 * is written again byte by byte, no change of it is logged and no file of it goes.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

#include <string.h>

static struct recovered_stream *find_recovered(struct store *st, store_object_id id)
{
    struct recovered_worker *w = &st->dir->workers[st->worker];

    for (size_t i = 0; i < w->nstreams; i++)
        if (w->streams[i].view.id == id)
            return &w->streams[i];
    return NULL;
}

/* ---- one segment ----------------------------------------------------------------------------- */

static struct segment_entry *entry_of(struct segment *seg, uint64_t seq, uint32_t *hint)
{
    if (*hint >= seg->nentries || seq < seg->entries[*hint].b.first_seq ||
        seq - seg->entries[*hint].b.first_seq >= seg->entries[*hint].b.span) {
        if (!segment_find(seg, seq, hint) || seg->entries[*hint].b.first_seq > seq)
            return NULL;
    }
    return &seg->entries[*hint];
}

/* Batches with holes: the sizes say which sequences they have. A damaged record counts as not
 * there: the entry knows of those only that can be read. */
static void load_sparse(struct segment *seg, const struct segment_index *x)
{
    struct size_iter it;
    uint32_t size, hint = 0, ordinal = 0;
    uint64_t seq;

    for (uint32_t i = 0; i < seg->nentries; i++)
        if ((seg->entries[i].b.flags & BATCH_SPARSE) != 0)
            seg->entries[i].b.count = 0;
    size_iter_init(&it, x->sizes, x->summary.base_seq);
    while (size_iter_next(&it, &seq, &size)) {
        struct segment_entry *e = entry_of(seg, seq, &hint);
        if (e != NULL && (e->b.flags & BATCH_SPARSE) != 0)
            e->b.count++;
    }
    for (uint32_t i = 0; i < seg->nentries; i++)
        ordinal += seg->entries[i].b.count;
    seg->seqs = mem_array((size_t) ordinal + 1, sizeof(*seg->seqs));
    ordinal = 0;
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_batch *b = &seg->entries[i].b;
        seg->entries[i].ordinal = ordinal;
        for (uint32_t k = 0; (b->flags & BATCH_SPARSE) == 0 && k < b->count; k++)
            seg->seqs[ordinal + k] = (uint32_t) (b->first_seq + k - seg->base_seq);
        ordinal += b->count;
    }
    hint = 0;
    size_iter_init(&it, x->sizes, x->summary.base_seq);
    for (uint32_t k = 0; size_iter_next(&it, &seq, &size);) {
        uint32_t before = hint;
        const struct segment_entry *e = entry_of(seg, seq, &hint);
        k = hint != before ? 0 : k;
        if (e != NULL && (e->b.flags & BATCH_SPARSE) != 0)
            seg->seqs[e->ordinal + k++] = (uint32_t) (seq - seg->base_seq);
    }
}

static void load_entries(struct segment *seg, const struct segment_index *x)
{
    uint32_t ordinal = 0;
    bool sparse = false;

    for (uint64_t i = 0; i < x->summary.batches; i++) {
        struct segment_entry *e = segment_new_entry(seg);
        e->b = x->batches[i];
        e->ordinal = ordinal;
        ordinal += e->b.count;
        sparse = sparse || (e->b.flags & BATCH_SPARSE) != 0;
        seg->kafka = seg->kafka || e->b.kind == BATCH_KAFKA;
    }
    if (sparse) {
        load_sparse(seg, x);
        const struct segment_entry *last = &seg->entries[seg->nentries - 1];
        ordinal = last->ordinal + last->b.count;
    }
    seg->records = ordinal;
    seg->min_time = x->summary.min_time;
    seg->max_time = x->summary.max_time;
}

/* The record of a sequence; hint is the entry of the one before. COLUMN_NONE: there is none. */
static uint32_t record_of(struct segment *seg, uint64_t seq, uint32_t *hint)
{
    const struct segment_entry *e = entry_of(seg, seq, hint);
    uint32_t i;

    if (e == NULL || !entry_find(seg, e, seq, &i))
        return COLUMN_NONE;
    return e->ordinal + i;
}

static void load_column(struct store_stream *s, struct segment *seg, const struct segment_index *x)
{
    struct subject_iter it;
    struct size_iter sizes;
    uint32_t hint = 0, size;
    uint64_t seq;

    size_iter_init(&sizes, x->sizes, x->summary.base_seq);
    while (size_iter_next(&sizes, &seq, &size)) {
        uint32_t at = size != 0 ? record_of(seg, seq, &hint) : COLUMN_NONE;
        if (at != COLUMN_NONE)
            seg->column.blocks[at / COLUMN_BLOCK]->size[at % COLUMN_BLOCK] = size;
    }
    subject_iter_init(&it, x->subjects, x->summary.base_seq);
    while (subject_iter_next(&it)) {
        uint32_t id = subjects_intern(&s->subjects, buf_str(&it.subject));
        subjects_by_id(&s->subjects, id)->pending = 1; /* keeps it until all are counted */
        hint = 0;
        while (subject_run_next(&it, &seq)) {
            uint32_t at = record_of(seg, seq, &hint);
            if (at != COLUMN_NONE)
                seg->column.blocks[at / COLUMN_BLOCK]->id[at % COLUMN_BLOCK] = id;
        }
    }
    subject_iter_deinit(&it);
}

/* A batch with holes answers for sequences that it does not have. */
static void note_hole(struct store_stream *s, uint64_t first, uint64_t last)
{
    if (first < s->first_seq)
        first = s->first_seq;
    if (first <= last)
        seqset_add(&s->rec.removed, first, last);
}

/* Counts the messages that exist. */
static void load_messages(struct store_stream *s, struct segment *seg)
{
    for (uint32_t i = 0; i < seg->nentries; i++) {
        struct segment_entry *e = &seg->entries[i];
        uint64_t first, last, expect = e->b.first_seq;
        bool holes = seqset_range_from(&s->rec.removed, e->b.first_seq, &first, &last) &&
                     first < e->b.first_seq + e->b.span;
        if (e->b.kind == BATCH_SKIP && e->b.first_seq + e->b.span > s->first_seq)
            seqset_add(&s->rec.removed, e->b.first_seq, e->b.first_seq + e->b.span - 1);
        for (uint32_t k = 0; k < e->b.count; k++) {
            uint64_t seq = entry_seq(seg, e, k);
            if (seq > expect)
                note_hole(s, expect, seq - 1);
            expect = seq + 1;
            uint32_t id = column_id(&seg->column, e->ordinal + k);
            uint32_t size = column_size(&seg->column, e->ordinal + k);
            if (seq < s->first_seq || (holes && seqset_has(&s->rec.removed, seq)))
                continue;
            if (size == 0) {
                seqset_add(&s->rec.removed, seq, seq);
                continue;
            }
            struct subject *sub = subjects_by_id(&s->subjects, id);
            sub->pending++;
            subjects_commit(&s->subjects, sub, seq);
            e->live++;
            e->live_size += size;
        }
        if ((e->b.flags & BATCH_SPARSE) != 0 && expect < e->b.first_seq + e->b.span)
            note_hole(s, expect, e->b.first_seq + e->b.span - 1);
        seg->live += e->live;
        seg->live_size += e->live_size;
        s->msgs += e->live;
        s->bytes += e->live_size;
    }
}

/* Do all its records exist? Then its sums are those of the summary, and whose they are may be read
 * later. */
static bool all_exist(struct store_stream *s, const struct segment *seg,
                      const struct segment_index *x)
{
    uint64_t skipped = 0;

    if (seg->base_seq < s->first_seq || x->summary.msgs != seg->records || seg->seqs != NULL)
        return false;
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_batch *b = &seg->entries[i].b;
        if (b->kind == BATCH_SKIP) {
            seqset_add(&s->rec.removed, b->first_seq, b->first_seq + b->span - 1);
            skipped += b->span;
        }
    }
    return seg->next_seq == seg->base_seq ||
           seqset_count_in(&s->rec.removed, seg->base_seq, seg->next_seq - 1) == skipped;
}

static void index_later(struct store_stream *s, struct segment *seg, const struct segment_index *x)
{
    seg->index_at = seg->state == SEGMENT_SEALED ? INDEX_IN_FOOTER : INDEX_IN_BATCHES;
    seg->unnamed = seg->records;
    seg->footer_msgs = x->summary.msgs;
    if (x->summary.subjects > s->subjects_seen && !seg->partly)
        s->subjects_seen = x->summary.subjects;
    if (seg->state != SEGMENT_SEALED)
        column_blank(&seg->column, seg->records);
    seg->unnamed_bytes = seg->live_size;
    s->msgs += seg->live;
    s->bytes += seg->live_size;
}

static void load_later(struct store_stream *s, struct segment *seg, const struct segment_index *x)
{
    for (uint32_t i = 0; i < seg->nentries; i++)
        seg->entries[i].live = seg->entries[i].b.count;
    seg->live = seg->records;
    seg->live_size = x->summary.bytes;
    index_later(s, seg, x);
}

/* ---- a segment of which some messages are gone, without its subjects ------------------------- */

/* Walks the messages of a segment in order of sequence: what its sizes say. */
struct partly {
    struct store_stream *s;
    struct segment *seg;
    uint32_t entry;
    uint64_t expect;               /* sequence behind the last one */
    uint64_t gone_first, gone_end; /* the removed range at or behind it; end 0 = to be looked up */
};

static void pass_hole(struct partly *p, uint64_t end)
{
    if (p->expect < end)
        note_hole(p->s, p->expect, end - 1);
    p->expect = end;
}

/* To the entry that has seq, or behind the last one. */
static void pass_entries(struct partly *p, uint64_t seq)
{
    for (; p->entry < p->seg->nentries; p->entry++) {
        const struct segment_batch *b = &p->seg->entries[p->entry].b;
        if (p->expect < b->first_seq)
            p->expect = b->first_seq;
        if (seq < b->first_seq + b->span)
            return;
        pass_hole(p, b->first_seq + b->span);
    }
}

static bool is_gone(struct partly *p, uint64_t seq)
{
    uint64_t last;

    if (seq >= p->gone_end) {
        if (seqset_range_from(&p->s->rec.removed, seq, &p->gone_first, &last))
            p->gone_end = last + 1;
        else
            p->gone_first = p->gone_end = UINT64_MAX;
    }
    return seq < p->s->first_seq || seq >= p->gone_first;
}

static void pass_message(struct partly *p, uint64_t seq, uint32_t size)
{
    pass_entries(p, seq);
    if (p->entry == p->seg->nentries || seq < p->expect)
        return; /* the footer says so of no batch */
    pass_hole(p, seq);
    p->expect = seq + 1;
    if (is_gone(p, seq))
        return;
    p->seg->entries[p->entry].live++;
    p->seg->live++;
    p->seg->live_size += size;
}

/* False: its sizes are not known. */
static bool load_partly(struct store_stream *s, struct segment *seg, struct segment_index *x)
{
    struct partly p = {.s = s, .seg = seg};
    struct size_iter it;
    uint32_t size;
    uint64_t seq;

    if (seg->state != SEGMENT_SEALED && x->record_sizes == NULL)
        return false;
    if (seg->state == SEGMENT_SEALED && x->sizes.p == NULL) {
        if (segment_sizes_read(s->store->dir->options.fs, seg->path, seg->capacity, seg->salt,
                               &x->summary, &x->owned) != ERR_OK)
            return false;
        x->sizes = buf_str(&x->owned);
    }
    if (seg->state == SEGMENT_SEALED) {
        size_iter_init(&it, x->sizes, x->summary.base_seq);
        while (size_iter_next(&it, &seq, &size))
            pass_message(&p, seq, size);
    } else {
        for (uint32_t i = 0; i < seg->nentries; i++)
            for (uint32_t k = 0; k < seg->entries[i].b.count; k++)
                pass_message(&p, entry_seq(seg, &seg->entries[i], k),
                             x->record_sizes[seg->entries[i].ordinal + k]);
    }
    pass_entries(&p, UINT64_MAX);
    seg->partly = true;
    index_later(s, seg, x);
    return true;
}

static enum err load_now(struct store_stream *s, struct segment *seg, struct segment_index *x)
{
    struct column packed;

    if (x->subjects.p == NULL && seg->state == SEGMENT_SEALED) {
        segment_index_deinit(x);
        enum err err = segment_index_read(s->store->dir->options.fs, seg->path, seg->capacity,
                                          seg->salt, x);
        if (err == ERR_CORRUPT) {
            LOG_WRN(s->store->log, "%s: footer damaged, the segment is scanned", seg->path);
            segment_index_deinit(x);
        } else if (err != ERR_OK) {
            return err;
        }
    }
    column_blank(&seg->column, seg->records);
    enum err err = ERR_OK;
    if (x->subjects.p == NULL)
        err = index_fill_from_batches(s, seg);
    else
        load_column(s, seg, x);
    if (err != ERR_OK)
        return err;
    load_messages(s, seg);
    if (seg->state == SEGMENT_SEALED) {
        column_pack(&seg->column, &packed);
        column_deinit(&seg->column);
        seg->column = packed;
    }
    return ERR_OK;
}

static enum err load_segment(struct store_stream *s, const struct recovered_stream *r,
                             struct recovered_segment *rs)
{
    struct segment_index x = {0};
    struct segment *seg;
    enum err err = recovered_segment_load(s->store->dir, r, rs, &x);

    if (err != ERR_OK)
        return err;
    seg = segment_new(s, rs->number, rs->generation, rs->file_bytes);
    ASSERT(seg->salt == rs->salt);
    segment_set_key(seg, rs->key_id);
    seg->covers = rs->covers;
    seg->full_size = rs->generation > 0 ? rs->bytes : rs->data_end - SEGMENT_HEADER;
    segment_adopt(seg, rs->base_seq);
    seg->next_seq = rs->next_seq;
    load_entries(seg, &x);
    if (rs->state == RECOVERED_ACTIVE) {
        seg->state = SEGMENT_ACTIVE;
        seg->end = rs->write_offset;
        s->active = seg;
    } else {
        seg->state = rs->state == RECOVERED_FULL ? SEGMENT_CLOSING : SEGMENT_SEALED;
        seg->end = rs->data_end;
    }
    if (x.subjects.p == NULL && all_exist(s, seg, &x))
        load_later(s, seg, &x);
    else if (x.subjects.p != NULL || !load_partly(s, seg, &x))
        err = load_now(s, seg, &x);
    seg->ruined = seg->live == 0 && seg->next_seq > seg->base_seq &&
                  seqset_count_in(&s->rec.lost, seg->base_seq, seg->next_seq - 1) > 0;
    segment_index_deinit(&x);
    return err;
}

/* ---- the stream ------------------------------------------------------------------------------ */

static void let_go_of_subjects(struct store_stream *s)
{
    struct subjects_iter it = {0};
    uint32_t id;

    while ((id = subjects_each(&s->subjects, &it)) != 0) {
        subjects_by_id(&s->subjects, id)->pending = 0;
        subjects_release(&s->subjects, id);
    }
}

/* Sequences that no batch covers (lost with a damaged range, or never there) count as removed. */
static void load_gaps(struct store_stream *s)
{
    uint64_t expect = s->first_seq;

    LIST_FOREACH(it, &s->segments)
    {
        const struct segment *seg = LIST_ENTRY(it, struct segment, link);
        for (uint32_t i = 0; i < seg->nentries; i++) {
            const struct segment_batch *b = &seg->entries[i].b;
            if (b->first_seq > expect)
                seqset_add(&s->rec.removed, expect, b->first_seq - 1);
            if (b->first_seq + b->span > expect)
                expect = b->first_seq + b->span;
        }
    }
    if (expect <= s->last_seq)
        seqset_add(&s->rec.removed, expect, s->last_seq);
}

/* The limit per subject took nothing that the record does not say. */
static bool limit_applied(const struct store_stream *s)
{
    uint64_t max = s->rec.limits.max_msgs_per_subject;

    return max == 0 || (s->rec.applied_seq == s->last_seq && s->rec.applied_max == max);
}

/* What limits take can not wait. */
static void start_loader(struct store_stream *s)
{
    bool later = false;

    for (uint32_t i = 0; i < s->nindex; i++)
        later = later || s->index[i]->index_at != INDEX_HERE;
    if (!later)
        return;
    index_loader_start(s);
    if (s->state == STREAM_FAILED || limits_over(s) || !(limit_applied(s) || load_limits(s)))
        index_load_all(s);
}

static void load_stream(struct store_stream *s, struct recovered_stream *r)
{
    s->first_seq = s->rec.first_seq;
    s->last_seq = s->last_assigned = s->synced_seq = r->last_seq;
    s->last_ts = s->last_ts_assigned = r->last_ts;
    s->next_number = s->rec.next_segment > 0 ? s->rec.next_segment : 1;
    for (size_t i = 0; i < r->nsegments && s->state != STREAM_FAILED; i++) {
        enum err err = load_segment(s, r, &r->segments[i]);
        uint64_t last = r->segments[i].number + r->segments[i].covers;
        if (last >= s->next_number)
            s->next_number = last + 1;
        if (err != ERR_OK)
            stream_fail(s, err, "segment %llu can not be read: %s",
                        (unsigned long long) r->segments[i].number, err_text(err));
    }
    let_go_of_subjects(s);
    load_gaps(s);
    if (s->state != STREAM_FAILED)
        erase_resume(s); /* also what is about to fall below first_seq */
    stream_settle_first(s);
    start_loader(s); /* the first message's time says whether limits want it all at once */
    LIST_FOREACH(it, &s->segments)
    rewrite_consider(LIST_ENTRY(it, struct segment, link));
}

enum err store_stream_peek(struct store *st, store_object_id id, struct str *name,
                           struct str *config)
{
    const struct recovered_stream *r = find_recovered(st, id);
    const struct object *o = object_find(st, id);

    if (r == NULL || o == NULL || o->stream != NULL)
        return ERR_NOT_FOUND;
    *name = buf_str(&r->rec.name);
    *config = buf_str(&r->rec.config);
    return ERR_OK;
}

bool store_stream_adopted(struct store *st, store_object_id id)
{
    const struct recovered_stream *r = find_recovered(st, id);

    return r != NULL && r->adopted;
}

/* What is in memory now is made consistent for reading, and says less than there is: gaps where
 * segments could not be read. The next start shall find what this one found. */
static void keep_as_found(struct object *o, const struct store_object_view *v)
{
    object_keep_raw(o, v);
    o->as_found = true;
}

enum err store_stream_attach(struct store *st, store_object_id id,
                             const struct store_stream_ops *ops, void *ctx,
                             struct store_stream **out, struct str *config)
{
    struct recovered_stream *r = find_recovered(st, id);
    struct object *o = object_find(st, id);
    struct store_stream *s;

    if (r == NULL || o == NULL || o->stream != NULL)
        return ERR_NOT_FOUND;
    s = stream_new(st, buf_str(&r->rec.name), r->rec.level);
    s->rec = r->rec;
    r->rec = (struct stream_record){0};
    stream_bind(s, o, ops, ctx);
    s->render_config = false; /* the owner does not know it yet */
    load_stream(s, r);
    if (r->failed)
        stream_fail(s, ERR_CORRUPT, "%s", r->why);
    if (s->state == STREAM_FAILED)
        keep_as_found(o, &r->view);
    if (s->state == STREAM_LOADING)
        s->state = STREAM_ACTIVE;
    if (s->active == NULL && s->state == STREAM_ACTIVE) {
        struct segment *seg = segment_new(s, s->next_number++, 0, segment_next_capacity(s, 0));
        segment_prepare_first(seg, s->last_seq + 1);
    }
    /* All of it at once, and told to nobody: the owner has not looked yet. */
    s->loading = true;
    if (s->loader == NULL) {
        segments_seal_full(s);
        limits_rings(s);
        limits_check(s);
        while (s->trim_due)
            limits_step(s);
    } else {
        limits_timer(s);
    }
    s->loading = false;
    s->render_config = true;
    *config = buf_str(&s->rec.config);
    *out = s;
    return ERR_OK;
}
