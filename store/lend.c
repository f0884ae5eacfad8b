/*
 * lend.c - Kafka batches where they lie in a file, for who sends them from there.
 *
 * A batch that is sent from the file passes nobody who looks at it, so a damaged one would come to
 * the client as it is, and a client that notices asks for it again and again. Therefore only what
 * this process has read from the disk and verified is lent, and only STORE_LEND_MOST times; then it
 * is read and verified once more. Damage that came meanwhile is found then, counted as lost and
 * passed by, as ever. Of what was written by this process and never read nobody knows yet how it
 * lies on the disk.
 *
 * Lent is what is whole, as large as STORE_LEND_MIN, stored as it came (not encrypted, not made
 * anew without some of its messages), with all of its messages, in a sealed segment, and not in
 * memory.
 *
 * What is lent is a job of its segment: as with a read that is under way, its file is neither
 * removed nor used again before it is returned. So an erasure is not told to be done while somebody
 * is being sent what it erases.
 *
 * Nor is the file used again behind that, for another segment (`secret`): what a socket was given
 * out of it are pages of the page cache, until the peer has them, and to write to the file would
 * change them there. To remove it does not.
 */
#include "lib/base/mem.h"
#include "store/store_impl.h"

/* Of an entry: where in the batch the producer's bytes are, and how often it may be lent. */
struct lendable_batch {
    uint32_t bytes;
    uint16_t at;
    uint16_t left;
};

struct lendable {
    uint32_t n;
    struct lendable_batch entries[];
};

static bool is_as_appended(const struct segment_batch *b)
{
    return b->kind == BATCH_KAFKA && b->codec == BATCH_PLAIN &&
           (b->flags & (BATCH_ENCRYPTED | BATCH_SPARSE)) == 0;
}

void segment_note_verified(struct segment *seg, const struct store_batch *b)
{
    struct batch_record r;
    struct lendable *l = seg->lendable;

    if (b->bytes < STORE_LEND_MIN || seg->state != SEGMENT_SEALED || seg->crypt != NULL ||
        !is_as_appended(&seg->entries[b->entry].b))
        return;
    batch_record_get(&b->view, 0, &r);
    size_t at = (size_t) ((const uint8_t *) r.payload.p - (b->view.table - BATCH_HEADER));
    if (r.payload.n < STORE_LEND_MIN || at > UINT16_MAX)
        return;
    if (l == NULL) {
        l = mem_try_alloc(sizeof(*l) + seg->nentries * sizeof(l->entries[0]));
        if (l == NULL)
            return;
        memset(l, 0, sizeof(*l) + seg->nentries * sizeof(l->entries[0]));
        l->n = seg->nentries;
        seg->lendable = l;
    }
    ASSERT(b->entry < l->n);
    l->entries[b->entry] = (struct lendable_batch){
        .bytes = (uint32_t) r.payload.n, .at = (uint16_t) at, .left = STORE_LEND_MOST};
}

/* All of its messages are there. */
static bool is_whole(const struct segment *seg, const struct segment_entry *e)
{
    const struct store_stream *s = seg->stream;

    return s->loader == NULL && e->live == e->b.span && e->b.first_seq >= s->first_seq &&
           seqset_count_in(&s->rec.removed, e->b.first_seq, e->b.first_seq + e->b.span - 1) == 0;
}

bool store_reader_in_file(struct store_reader *r, struct store_lent *out)
{
    struct segment *seg;
    uint32_t entry;

    if (r->stream == NULL || r->waiting || r->filter != NULL ||
        reader_find_next(r) != STORE_READ_MSG)
        return false;
    seg = stream_segment_of(r->stream, r->seq);
    if (seg == NULL || seg->lendable == NULL || !segment_find(seg, r->seq, &entry))
        return false;
    const struct segment_entry *e = &seg->entries[entry];
    const struct lendable_batch *l = &seg->lendable->entries[entry];
    if (e->mem != NULL || l->left == 0 || r->seq < e->b.first_seq || !is_whole(seg, e))
        return false;
    *out = (struct store_lent){.file = seg->file,
                               .offset = e->b.offset + l->at,
                               .bytes = l->bytes,
                               .messages = e->b.span,
                               .first_seq = e->b.first_seq,
                               .segment = seg};
    return true;
}

void store_reader_lend(struct store_reader *r, const struct store_lent *l)
{
    struct segment *seg = l->segment;
    uint32_t entry;
    bool found = segment_find(seg, l->first_seq, &entry);

    ASSERT(found && seg->lendable->entries[entry].left > 0);
    seg->lendable->entries[entry].left--;
    seg->secret = true;
    seg->jobs++;
    seg->stream->store->jobs++;
    reader_let_go(r);
    r->seq = r->after = l->first_seq + l->messages;
}

void store_lent_return(const struct store_lent *l)
{
    struct segment *seg = l->segment;

    seg->jobs--;
    seg->stream->store->jobs--;
    segment_advance(seg);
}
