/*
 * index.c - where the messages of a few given subjects are: the next one, the one before, how many.
 *
 * What a subject's state does not say is looked up in the columns of the segments, by ordinal, and
 * checked against what was removed. A sealed segment is asked part by part (column.h), the active
 * one is scanned. The work is cut into windows, so that a caller with a budget can stop between
 * them; it is counted in records that a plain scan would look at in the same time.
 */
#include "store/index.h"

#include "lib/base/mem.h"
#include "store/store_impl.h"

#define WINDOW (4u * COLUMN_PART)
/* What asking one part for one subject costs, and a wide record. */
#define PART_COST 256u
#define WIDE_PER_COST 16u
/* Records of a window that are looked at one by one to see which are gone. */
#define ONE_BY_ONE 256u

static uint32_t window_cost(const struct column *c, uint32_t from, uint32_t end, uint32_t nids)
{
    uint32_t one = c->packed ? ((end - from) / COLUMN_PART + 1) * PART_COST
                             : (end - from) / WIDE_PER_COST + 1;
    return one * nids;
}

static void spend(uint32_t *budget, uint32_t cost)
{
    *budget -= cost < *budget ? cost : *budget;
}

/* Can the subject have a message in [from, last]? */
static bool in_reach(const struct store_stream *s, uint32_t id, uint64_t from, uint64_t last)
{
    const struct subject *sub = subjects_by_id(&s->subjects, id);

    return sub->msgs > 0 && sub->last >= from && sub->first <= last;
}

/* First record of [from, end) of any of the subjects. */
static uint32_t next_of(const struct store_stream *s, const struct segment *seg,
                        const uint32_t *ids, unsigned n, uint32_t from, uint32_t end)
{
    uint32_t best = COLUMN_NONE;

    for (unsigned i = 0; i < n && best != from; i++) {
        if (!in_reach(s, ids[i], seg->base_seq, seg->next_seq))
            continue;
        uint32_t found = column_next(&seg->column, ids[i], from, best < end ? best : end);
        if (found != COLUMN_NONE)
            best = found;
    }
    return best;
}

/* One window of the segment that holds *from. */
static uint64_t next_in_window(struct store_stream *s, struct segment *seg, const uint32_t *ids,
                               unsigned n, uint64_t *from, uint32_t *budget)
{
    uint32_t at = segment_ordinal(seg, *from);
    uint32_t end = seg->records - at > WINDOW ? at + WINDOW : seg->records;
    uint64_t first, last;

    while (at < end) {
        uint32_t found = next_of(s, seg, ids, n, at, end);
        spend(budget, window_cost(&seg->column, at, found < end ? found : end, n));
        if (found == COLUMN_NONE)
            break;
        uint64_t seq = segment_seq(seg, found);
        if (!seqset_range_from(&s->rec.removed, seq, &first, &last) || first > seq)
            return seq;
        *from = last + 1;
        if (*budget == 0 || *from >= seg->next_seq)
            return 0;
        at = segment_ordinal(seg, *from);
    }
    uint64_t go_on = end < seg->records ? segment_seq(seg, end) : seg->next_seq;
    if (go_on > *from)
        *from = go_on;
    return 0;
}

uint64_t index_next(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                    uint64_t last, uint32_t *budget)
{
    while (*from <= last && *budget > 0) {
        if (*from < s->first_seq)
            *from = s->first_seq;
        struct segment *seg = stream_segment_of(s, *from);
        if (seg == NULL)
            break;
        if (*from < seg->base_seq)
            *from = seg->base_seq;
        if (seg->live == 0) {
            *from = seg->next_seq;
            spend(budget, 1);
            continue;
        }
        uint64_t seq = next_in_window(s, seg, ids, n, from, budget);
        if (seq > last) { /* also with no budget left: there is nothing more to look for */
            *from = last + 1;
            return 0;
        }
        if (seq != 0)
            return seq;
    }
    if (*budget > 0)
        *from = last + 1;
    return 0;
}

uint64_t index_prev(const struct store_stream *s, uint32_t id, uint64_t below)
{
    return index_prev_above(s, id, below, 0);
}

uint64_t index_prev_above(const struct store_stream *s, uint32_t id, uint64_t below, uint64_t above)
{
    for (uint32_t i = s->nindex; i-- > 0;) {
        const struct segment *seg = s->index[i];
        if (seg->base_seq >= below || seg->live == 0)
            continue;
        if (seg->next_seq <= above + 1 && above != 0)
            return 0;
        uint32_t end = below < seg->next_seq ? segment_ordinal(seg, below) : seg->records;
        uint32_t at;
        while ((at = column_prev(&seg->column, id, 0, end)) != COLUMN_NONE) {
            uint64_t seq = segment_seq(seg, at);
            if (seq < s->first_seq || seq <= above)
                return 0;
            if (!seqset_has(&s->rec.removed, seq))
                return seq;
            end = at;
        }
    }
    return 0;
}

/* Is the message with this sequence there, and the subject's? */
static bool is_at(const struct store_stream *s, uint32_t id, uint64_t seq)
{
    const struct segment *seg = stream_segment_of(s, seq);
    uint32_t entry, i;

    if (seg == NULL || seqset_has(&s->rec.removed, seq) || !segment_find(seg, seq, &entry))
        return false;
    const struct segment_entry *e = &seg->entries[entry];
    return entry_find(seg, e, seq, &i) && column_id(&seg->column, e->ordinal + i) == id;
}

uint64_t index_first(struct store_stream *s, uint32_t id)
{
    const struct subject *sub = subjects_by_id(&s->subjects, id);
    uint64_t seq = sub->first, found = 0;

    if (seq >= s->first_seq && is_at(s, id, seq))
        return seq;
    while (found == 0 && seq < sub->last) {
        uint32_t budget = UINT32_MAX;
        found = index_next(s, &id, 1, &seq, sub->last, &budget);
    }
    return found != 0 ? found : sub->last;
}

/* ---- counting -------------------------------------------------------------------------------- */

/* Existing messages of the subject among the records [from, end), of which some are gone. */
static uint64_t count_existing(const struct store_stream *s, const struct segment *seg, uint32_t id,
                               uint32_t from, uint32_t end, uint32_t most)
{
    uint64_t n = 0, first = 0, last = 0, seq;
    bool more = true;

    if (most > ONE_BY_ONE) {
        for (uint32_t i = segment_entry_at(seg, from); from < end; i++) {
            const struct segment_entry *e = &seg->entries[i];
            for (; from < end && from < e->ordinal + e->b.count; from++) {
                seq = entry_seq(seg, e, from - e->ordinal);
                if (more && last < seq)
                    more = seqset_range_from(&s->rec.removed, seq, &first, &last);
                n += column_id(&seg->column, from) == id && (!more || seq < first);
            }
        }
        return n;
    }
    while (from < end && (from = column_next(&seg->column, id, from, end)) != COLUMN_NONE)
        n += !seqset_has(&s->rec.removed, segment_seq(seg, from++));
    return n;
}

/* One window of the segment that holds *from. */
static uint64_t count_in_window(struct store_stream *s, struct segment *seg, const uint32_t *ids,
                                unsigned n, uint64_t *from, uint64_t last, uint32_t *budget)
{
    uint32_t at = segment_ordinal(seg, *from), behind, end;
    uint64_t first, until, begin = *from, total = 0;

    behind = last + 1 < seg->next_seq ? segment_ordinal(seg, last + 1) : seg->records;
    end = behind - at > WINDOW ? at + WINDOW : behind;
    *from = end < behind ? segment_seq(seg, end) : seg->next_seq;
    bool holes = seqset_range_from(&s->rec.removed, begin, &first, &until) && first < *from;
    for (unsigned i = 0; i < n; i++) {
        if (!in_reach(s, ids[i], begin, last))
            continue;
        uint32_t found = column_count(&seg->column, ids[i], at, end);
        spend(budget, window_cost(&seg->column, at, end, 1));
        if (found > 0 && holes) {
            spend(budget, found > ONE_BY_ONE ? end - at : found * 8);
            total += count_existing(s, seg, ids[i], at, end, found);
        } else {
            total += found;
        }
    }
    return total;
}

void index_count(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                 uint64_t last, uint64_t *count, uint32_t *budget)
{
    while (*from <= last && *budget > 0) {
        if (*from < s->first_seq)
            *from = s->first_seq;
        struct segment *seg = *from <= last ? stream_segment_of(s, *from) : NULL;
        if (seg == NULL) {
            *from = last + 1;
            break;
        }
        if (*from < seg->base_seq)
            *from = seg->base_seq;
        spend(budget, 1);
        if (seg->live == 0)
            *from = seg->next_seq;
        else if (*from <= last)
            *count += count_in_window(s, seg, ids, n, from, last, budget);
    }
}
