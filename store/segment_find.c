/*
 * segment_find.c - the index of a segment in memory: its batches, by sequence and by number of the
 * record; and which segment of a stream has a sequence.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

struct segment_entry *segment_new_entry(struct segment *seg)
{
    if (seg->nentries == seg->entries_cap) {
        seg->entries_cap = seg->entries_cap == 0 ? 16 : seg->entries_cap * 2;
        seg->entries = mem_realloc(seg->entries, seg->entries_cap * sizeof(*seg->entries));
    }
    seg->entries[seg->nentries] = (struct segment_entry){0};
    return &seg->entries[seg->nentries++];
}

void segment_add_entry(struct segment *seg, struct store_batch *b)
{
    struct segment_entry *e = segment_new_entry(seg);

    ASSERT(b->first_seq == seg->next_seq && b->ordinal == seg->records);
    segment_batch_of(&b->view.h, b->offset, &e->b);
    if (seg->crypt != NULL && !b->skip) { /* the view is of what was sealed */
        e->b.bytes = b->bytes;
        e->b.flags |= BATCH_ENCRYPTED;
    }
    seg->kafka = seg->kafka || e->b.kind == BATCH_KAFKA;
    e->ordinal = b->ordinal;
    e->live = b->count;
    e->live_size = b->size;
    e->mem = b;
    b->entry = seg->nentries - 1;
    seg->next_seq += b->span;
    seg->records += b->count;
    seg->live += b->count;
    seg->live_size += b->size;
    if (seg->nentries == 1)
        seg->min_time = e->b.min_time;
    seg->max_time = e->b.max_time;
}

bool segment_find(const struct segment *seg, uint64_t seq, uint32_t *entry)
{
    uint32_t low = 0, high = seg->nentries;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        const struct segment_batch *b = &seg->entries[mid].b;
        if (b->first_seq + b->span <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    *entry = low;
    return low < seg->nentries;
}

uint32_t entry_from(const struct segment *seg, const struct segment_entry *e, uint64_t seq)
{
    uint32_t low = 0, high = e->b.count;

    if (seq <= e->b.first_seq)
        return 0;
    if (seg->seqs == NULL)
        return seq - e->b.first_seq < high ? (uint32_t) (seq - e->b.first_seq) : high;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (entry_seq(seg, e, mid) < seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

bool entry_find(const struct segment *seg, const struct segment_entry *e, uint64_t seq, uint32_t *i)
{
    *i = entry_from(seg, e, seq);
    return *i < e->b.count && entry_seq(seg, e, *i) == seq;
}

uint32_t segment_ordinal(const struct segment *seg, uint64_t seq)
{
    uint32_t entry;

    if (!segment_find(seg, seq, &entry))
        return seg->records;
    return seg->entries[entry].ordinal + entry_from(seg, &seg->entries[entry], seq);
}

uint32_t segment_entry_at(const struct segment *seg, uint32_t ordinal)
{
    uint32_t low = 0, high = seg->nentries;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (seg->entries[mid].ordinal + seg->entries[mid].b.count <= ordinal)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

uint64_t segment_seq(const struct segment *seg, uint32_t ordinal)
{
    const struct segment_entry *e = &seg->entries[segment_entry_at(seg, ordinal)];

    return entry_seq(seg, e, ordinal - e->ordinal);
}

struct segment *stream_segment_of(const struct store_stream *s, uint64_t seq)
{
    uint32_t low = 0, high = s->nindex;

    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (s->index[mid]->next_seq <= seq)
            low = mid + 1;
        else
            high = mid;
    }
    return low < s->nindex ? s->index[low] : NULL;
}

struct segment *segment_after(const struct segment *seg)
{
    if (seg->link.next == &seg->stream->segments)
        return NULL;
    return LIST_ENTRY(seg->link.next, struct segment, link);
}
