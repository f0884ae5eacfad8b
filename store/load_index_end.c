/*
 * load_index_end.c - what follows when a segment has been read (FINISH, PACK), and when all have
 * (RINGS, LATE): load_index.c.
 */
#include "store/load_index.h"

/* Messages that were removed meanwhile; each looks for the one of its subject before it. */
#define STEP_LATE 16u

/* ---- the end of a segment -------------------------------------------------------------------- */

/* Neither footer nor batch says whose it is. */
static void lose(struct store_stream *s, struct segment *seg, struct segment_entry *e, uint32_t i)
{
    uint64_t seq = entry_seq(seg, e, i);

    e->live--;
    seg->live--;
    if (seqset_remove(&s->loader->late, seq, seq) > 0)
        return; /* it had gone before */
    LOG_WRN(s->store->log, "%s: message %llu is damaged, lost", seg->path,
            (unsigned long long) seq);
    stream_record_lose(&s->rec, seq, seq, 0);
    if (e->mem != NULL)
        e->mem->plain = false;
    s->msgs--;
}

/* The sums were those of the summary. */
static void end_segment(struct index_loader *l)
{
    struct segment *seg = l->seg;

    seg->live_size += l->bytes_found - seg->unnamed_bytes;
    l->stream->bytes += l->bytes_found - seg->unnamed_bytes;
    seg->index_at = INDEX_HERE;
    l->phase = loader_sealed(seg) ? LOADER_PACK : LOADER_NEXT;
}

void loader_step_finish(struct index_loader *l)
{
    struct segment *seg = l->seg;

    for (uint32_t n = 0; n < LOADER_STEP_RECORDS; l->entry++) {
        struct segment_entry *e = l->entry < seg->nentries ? &seg->entries[l->entry] : NULL;
        if (e == NULL || e->ordinal >= seg->unnamed) {
            end_segment(l);
            return;
        }
        for (uint32_t i = 0; i < e->b.count; i++) {
            bool named = *loader_id_of(seg, e->ordinal + i) != 0;
            if (!named && seg->partly && !loader_counts(l->stream, seg, entry_seq(seg, e, i)))
                continue;
            if (!named && l->stream->state != STREAM_FAILED)
                lose(l->stream, seg, e, i);
            else if (named)
                e->live_size += *loader_size_of(seg, e->ordinal + i);
        }
        n += e->b.count + 1;
        l->bytes_found += e->live_size;
    }
}

void loader_step_pack(struct index_loader *l)
{
    struct column packed;

    if (!column_pack_step(&l->seg->column, &l->packing, &packed))
        return;
    column_deinit(&l->seg->column);
    l->seg->column = packed;
    l->phase = LOADER_NEXT;
}

/* ---- rings ----------------------------------------------------------------------------------- */

static void push_ring(struct store_stream *s, const struct segment *seg, uint32_t entry,
                      uint64_t seq)
{
    const struct segment_entry *e = &seg->entries[entry];
    uint32_t i;

    if (!(message_exists(s, seq) || seqset_has(&s->loader->late, seq)) ||
        !entry_find(seg, e, seq, &i))
        return;
    seq_ring_push(subject_ring(&s->subjects, column_id(&seg->column, e->ordinal + i)), seq);
}

/* In order of sequence; what is appended meanwhile is met at the end. */
void loader_step_rings(struct index_loader *l)
{
    struct store_stream *s = l->stream;
    uint32_t entry = 0;

    if (s->rec.limits.max_msgs_per_subject <= 1 || s->rings || s->state == STREAM_FAILED) {
        l->phase = LOADER_LATE;
        return;
    }
    if (!s->subjects.rings)
        subjects_keep_rings(&s->subjects, true);
    for (uint32_t n = 0; n < LOADER_STEP_RECORDS && l->ring_seq <= s->last_seq; n++) {
        struct segment *seg = stream_segment_of(s, l->ring_seq);
        if (seg == NULL || !segment_find(seg, l->ring_seq, &entry)) {
            l->ring_seq = seg != NULL ? seg->next_seq : s->last_seq + 1;
            continue;
        }
        if (l->ring_seq < seg->entries[entry].b.first_seq)
            l->ring_seq = seg->entries[entry].b.first_seq;
        push_ring(s, seg, entry, l->ring_seq++);
    }
    if (l->ring_seq <= s->last_seq)
        return;
    s->rings = true;
    l->phase = LOADER_LATE;
}

/* ---- what was removed meanwhile -------------------------------------------------------------- */

void index_remove_later(struct store_stream *s, uint64_t seq)
{
    seqset_add(&s->loader->late, seq, seq);
}

void index_late_size(struct store_stream *s, uint64_t seq, uint32_t size)
{
    if (size != 0 && seqset_add(&s->loader->sized, seq, seq) > 0)
        s->loader->sized_bytes += size;
}

uint64_t index_late_bytes(const struct store_stream *s)
{
    return s->loader != NULL ? s->loader->sized_bytes : 0;
}

/* In order, so that what is left of a subject below its last message exists. */
bool loader_step_late(struct index_loader *l)
{
    uint64_t first, last;

    for (uint32_t n = 0; n < STEP_LATE; n++) {
        if (!seqset_range_from(&l->late, 0, &first, &last))
            return true;
        seqset_remove(&l->late, first, first);
        uint64_t bytes = l->stream->bytes;
        remove_noted(l->stream, first);
        if (seqset_remove(&l->sized, first, first) > 0)
            l->sized_bytes -= bytes - l->stream->bytes;
    }
    return false;
}
