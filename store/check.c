/* check.c - store_check: every index against the others. For tests and debug builds: costs as much
 * as there are messages. */
#include "store/store_impl.h"

static void check_segment(struct store_stream *s, struct segment *seg, uint64_t *next)
{
    uint64_t live = 0, size = 0, records = 0;

    ASSERT(seg->stream == s && seg->base_seq >= 1);
    for (uint32_t i = 0; i < seg->nentries; i++) {
        const struct segment_entry *e = &seg->entries[i];
        uint64_t entry_live = 0, entry_size = 0;
        ASSERT(e->b.first_seq >= *next);
        ASSERT(e->ordinal == records && e->b.count <= e->b.span);
        ASSERT(i == 0 || e->b.offset >= seg->entries[i - 1].b.offset + seg->entries[i - 1].b.bytes);
        for (uint32_t k = 0; k < e->b.count; k++) {
            uint64_t seq = entry_seq(seg, e, k);
            ASSERT(seq >= e->b.first_seq && seq - e->b.first_seq < e->b.span);
            if (!message_exists(s, seq))
                continue;
            entry_live++;
            entry_size += column_size(&seg->column, e->ordinal + k);
            uint32_t id = column_id(&seg->column, e->ordinal + k);
            ASSERT(id != 0);
            const struct subject *sub = subjects_by_id(&s->subjects, id);
            ASSERT(sub->msgs > 0);
            ASSERT(sub->first <= seq && sub->last >= seq);
        }
        ASSERT(entry_live == e->live && entry_size == e->live_size);
        if (e->mem != NULL) {
            ASSERT(e->mem->segment == seg && e->mem->entry == i && e->mem->durable);
            ASSERT(e->mem->first_seq == e->b.first_seq && e->mem->count >= e->b.count);
            ASSERT(!e->mem->plain || e->live == e->b.count || e->b.first_seq < s->first_seq);
        }
        records += e->b.count;
        live += entry_live;
        size += entry_size;
        *next = e->b.first_seq + e->b.span;
    }
    ASSERT(live == seg->live && size == seg->live_size);
    ASSERT(records == seg->records && seg->column.n >= seg->records);
    column_check(&seg->column);
    ASSERT(*next <= seg->next_seq);
    *next = seg->next_seq;
    ASSERT(stream_in_file(s) ? seg->end <= seg->capacity || seg->state == SEGMENT_SEALED : true);
    uint64_t unwritten = 0;
    LIST_FOREACH(it, &seg->unwritten)
    unwritten += LIST_ENTRY(it, struct store_batch, write)->bytes;
    ASSERT(unwritten == seg->unwritten_bytes);
    ASSERT((seg->log_from != NO_LOG_FILE) == list_linked(&seg->logged));
}

static void check_waiting(const struct store_stream *s)
{
    uint64_t expect = s->last_seq + 1, bytes = 0, inflight = 0;

    LIST_FOREACH(it, &s->commits)
    {
        const struct commit *c = LIST_ENTRY(it, struct commit, link);
        inflight++;
        if (c->dead)
            continue;
        ASSERT(c->first_seq == expect);
        expect = c->last_seq + 1;
    }
    ASSERT(inflight == s->inflight);
    LIST_FOREACH(it, &s->gathered)
    {
        const struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        ASSERT(b->first_seq == expect && !b->durable);
        expect = b->first_seq + b->span;
        bytes += b->bytes;
    }
    ASSERT(bytes == s->gathered_bytes);
    if (s->open != NULL) {
        ASSERT(s->open->first_seq == expect);
        expect += s->open->builder.count;
    }
    ASSERT(expect == s->last_assigned + 1);
}

static void check_stream(struct store_stream *s)
{
    uint64_t msgs = 0, bytes = 0, next = 0, subject_msgs = 0, min, max;
    uint32_t n = 0;

    stream_need_index(s);

    LIST_FOREACH(link, &s->segments)
    {
        struct segment *seg = LIST_ENTRY(link, struct segment, link);
        ASSERT(s->index[n++] == seg);
        check_segment(s, seg, &next);
        msgs += seg->live;
        bytes += seg->live_size;
    }
    ASSERT(n == s->nindex);
    ASSERT(msgs == s->msgs && bytes == s->bytes);
    ASSERT(s->first_seq <= s->last_seq + 1 && s->last_seq <= s->last_assigned);
    ASSERT(s->msgs > 0 ? message_exists(s, s->first_seq) : s->first_seq == s->last_seq + 1);
    seqset_check(&s->rec.removed);
    if (seqset_bounds(&s->rec.removed, &min, &max))
        ASSERT(min > s->first_seq && max <= s->last_seq);
    ASSERT(s->msgs == 0 || s->msgs + s->rec.removed.count == s->last_seq - s->first_seq + 1);
    subjects_check(&s->subjects);
    struct subjects_iter it = {0};
    uint32_t id;
    while ((id = subjects_each(&s->subjects, &it)) != 0)
        subject_msgs += subjects_by_id(&s->subjects, id)->msgs;
    ASSERT(subject_msgs == s->msgs);
    if (s->state != STREAM_FAILED)
        check_waiting(s);
    ASSERT(object_find(s->store, s->object->id) == s->object && s->object->stream == s);
}

static void check_log(struct store *st)
{
    const struct clog *l = &st->clog;
    uint64_t number = 0;

    ASSERT(l->ninflight <= LOG_INFLIGHT &&
           l->durable_commit + l->ninflight < l->next_commit + l->failed);
    ASSERT(l->offset % LOG_PAGE == 0 && l->offset <= clog_writing(l)->bytes);
    LIST_FOREACH(it, &l->files)
    {
        const struct clog_file *f = LIST_ENTRY(it, struct clog_file, link);
        ASSERT(f->link.prev == &l->files || f->number > number);
        number = f->number;
        LIST_FOREACH(o, &f->objects)
        ASSERT(LIST_ENTRY(o, struct object, home_link)->home == f);
    }
    uint64_t from = 0;
    LIST_FOREACH(it, &st->logged)
    {
        const struct segment *seg = LIST_ENTRY(it, struct segment, logged);
        ASSERT(seg->log_from >= from);
        from = seg->log_from;
    }
}

static void check_cache(const struct store *st)
{
    LIST_FOREACH(it, &st->cache.lru)
    {
        const struct store_batch *b = LIST_ENTRY(it, struct store_batch, link);
        ASSERT(b->cached && b->refs == 0 && b->written && b->segment->entries[b->entry].mem == b);
    }
}

void store_check(struct store *st)
{
    LIST_FOREACH(it, &st->streams)
    {
        struct store_stream *s = LIST_ENTRY(it, struct store_stream, link);
        if (s->state != STREAM_DELETING)
            check_stream(s);
    }
    check_log(st);
    check_cache(st);
    hmap_check(&st->objects);
}
