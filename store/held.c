/*
 * held.c - async streams: what limits took for the sake of messages that a power cut may still
 * take.
 *
 * Such a stream's messages are readable before they are synced, and limits count them. When the log
 * said at once that the older ones are gone, a power cut could take both: the new ones were never
 * on the disk, and of the old ones the record says that they were removed. So the record is told
 * only of what would be gone in any case. What limits took while something was not synced is held:
 *
 *     in memory     it is gone, as always
 *     the record    does not say so (stream_claim_first, stream_claim_limits, stream_render)
 *     the file      stays (is_unused in remove.c), and a rewritten segment has it, too
 *
 * until what was the last message then has been synced. There are two sets, because a stream that
 * never rests always has something unsynced: a sync lets go of what was held before it began.
 *
 * A removal, purge or change of limits on request makes room below limits, so the log is told
 * everything before it, as for any stream; only then a power cut within the second takes old
 * messages and new ones.
 */
#include "store/store_impl.h"

void stream_hold(struct store_stream *s, uint64_t first, uint64_t last)
{
    struct held *h = &s->held[0];

    if (s->level != STORE_ASYNC || s->loading || s->last_seq <= s->synced_seq)
        return;
    seqset_add(&h->set, first, last);
    h->until = s->last_seq;
}

/* All of the range but what is removed already. */
void stream_hold_range(struct store_stream *s, uint64_t first, uint64_t last)
{
    uint64_t from, to;

    if (s->level != STORE_ASYNC)
        return;
    while (first <= last && seqset_range_from(&s->rec.removed, first, &from, &to) && from <= last) {
        if (from > first)
            stream_hold(s, first, from - 1);
        first = to + 1;
    }
    if (first <= last)
        stream_hold(s, first, last);
}

bool stream_holds(const struct store_stream *s, uint64_t first, uint64_t last)
{
    uint64_t from, to;

    for (unsigned i = 0; i < ARRAY_LEN(s->held); i++)
        if (seqset_range_from(&s->held[i].set, first, &from, &to) && from <= last)
            return true;
    return false;
}

uint64_t stream_first_held(const struct store_stream *s)
{
    uint64_t first = UINT64_MAX, min, max;

    for (unsigned i = 0; i < ARRAY_LEN(s->held); i++)
        if (seqset_bounds(&s->held[i].set, &min, &max) && min < first)
            first = min;
    return first;
}

void held_take_out(const struct store_stream *s, struct seqset *set)
{
    uint64_t first, last;

    for (unsigned i = 0; i < ARRAY_LEN(s->held); i++)
        for (uint64_t at = 0; seqset_range_from(&s->held[i].set, at, &first, &last); at = last + 1)
            seqset_remove(set, first, last);
}

void held_put_in(const struct store_stream *s, uint64_t from, struct seqset *set)
{
    uint64_t first, last;

    for (unsigned i = 0; i < ARRAY_LEN(s->held); i++)
        for (uint64_t at = from; seqset_range_from(&s->held[i].set, at, &first, &last);
             at = last + 1)
            seqset_add(set, first < from ? from : first, last);
}

void stream_held_synced(struct store_stream *s)
{
    struct held *now = &s->held[0], *before = &s->held[1];

    if (now->set.count == 0 && before->set.count == 0)
        return;
    if (before->until <= s->synced_seq)
        seqset_free(&before->set);
    if (now->until <= s->synced_seq)
        seqset_free(&now->set);
    if (before->set.count == 0) {
        *before = *now;
        *now = (struct held){0};
    }
}

void stream_let_go_of_held(struct store_stream *s)
{
    seqset_free(&s->held[0].set);
    seqset_free(&s->held[1].set);
}
