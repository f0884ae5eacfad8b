/* txn_store.c - see txn_store.h. */
#include "server/kafka/txn_store.h"

#include "lib/base/mem.h"

/* ---- out ------------------------------------------------------------------------------------- */

_Static_assert(TXN_OFFSETS_MAX + 1 <= STORE_GROUP_MSGS_MAX &&
                   TXN_OFFSET_BYTES_MAX < STORE_GROUP_BYTES_MAX,
               "an end that is decided can be written");

/* What has changed. */
static enum err append_piece(struct txn *t, uint64_t *first, size_t *bytes)
{
    struct buf subject = {0}, payload = {0};
    enum err err;

    txn_put_piece_subject(&subject, t->id, t->npieces);
    txn_render_piece(t, &payload);
    *bytes = payload.n;
    if (t->piece_subjects <= t->npieces)
        t->piece_subjects = t->npieces + 1;
    err = stream_append_own(
        t->coordinator->partition->stream,
        &(struct stream_own_message){buf_str(&subject), STR_NONE, buf_str(&payload)}, 1, first);
    buf_free(&subject);
    buf_free(&payload);
    return err;
}

/* The record, and behind it the offsets, when they are to be committed. */
static enum err append_record(struct txn *t, bool offsets, uint64_t *first, size_t *bytes)
{
    size_t n = 1 + (offsets ? t->noffsets : 0);
    struct stream_own_message *m = mem_array(n, sizeof(*m));
    struct buf *b = mem_array(3 * n, sizeof(*b));
    enum err err;

    memset(b, 0, 3 * n * sizeof(*b));
    txn_put_subject(&b[0], t->id);
    txn_render(t, &b[2]);
    *bytes = b[2].n;
    for (size_t i = 1; i < n; i++)
        committed_render(t->offsets[i - 1].group, &t->offsets[i - 1].o, &b[3 * i], &b[3 * i + 1],
                         &b[3 * i + 2]);
    for (size_t i = 0; i < n; i++)
        m[i] = (struct stream_own_message){buf_str(&b[3 * i]), buf_str(&b[3 * i + 1]),
                                           buf_str(&b[3 * i + 2])};
    err = stream_append_own(t->coordinator->partition->stream, m, n, first);
    for (size_t i = 0; i < 3 * n; i++)
        buf_free(&b[i]);
    mem_free(b);
    mem_free(m);
    return err;
}

enum err txn_append(struct txn *t, bool piece, bool offsets, uint64_t *first, size_t *bytes)
{
    return piece ? append_piece(t, first, bytes) : append_record(t, offsets, first, bytes);
}

/* ---- away ------------------------------------------------------------------------------------ */

/* Is there a piece of that number? */
static bool find_piece(const struct txn *t, uint32_t number, struct store_subject *out)
{
    struct buf subject = {0};
    bool there;

    txn_put_piece_subject(&subject, t->id, number);
    there = store_subject_get(t->coordinator->partition->store, buf_str(&subject), out);
    buf_free(&subject);
    return there;
}

/* They are not needed any more. The last ones first: so there are no gaps when not all of that is
 * on the disk. */
void txn_drop_pieces(struct txn *t)
{
    struct store_subject piece;

    for (; t->piece_subjects > 0; t->piece_subjects--)
        if (find_piece(t, t->piece_subjects - 1, &piece))
            store_remove(t->coordinator->partition->store, piece.last_seq, false, NULL);
}

void txn_find_pieces(struct txn *t)
{
    struct store_subject piece;

    while (find_piece(t, t->piece_subjects, &piece))
        t->piece_subjects++;
}

void txn_drop_record(struct txn *t)
{
    const struct partition *p = t->coordinator->partition;
    struct buf subject = {0};
    struct store_subject kept;

    txn_drop_pieces(t);
    txn_put_subject(&subject, t->id);
    if (store_subject_get(p->store, buf_str(&subject), &kept))
        store_remove(p->store, kept.last_seq, false, NULL);
    buf_free(&subject);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* What was read, in the place of what was known of it. */
static void take_record(struct txn *t, struct txn *read)
{
    txn_clear(t);
    txn_kept(read);
    t->state = read->state;
    t->producer = read->producer;
    t->epoch = read->epoch;
    t->previous = read->previous;
    t->timeout_ms = read->timeout_ms;
    t->started_ms = read->started_ms;
    t->changed_ms = read->changed_ms;
    t->parts = read->parts;
    t->nparts = read->nparts;
    t->part_index = read->part_index;
    t->offsets = read->offsets;
    t->noffsets = read->noffsets;
    t->offset_bytes = read->offset_bytes;
    t->offset_index = read->offset_index;
    t->bytes = read->bytes;
    t->recorded = read->recorded;
    t->whole_bytes = read->whole_bytes;
}

/* One that is in front of its record, or of nobody, is not needed any more (txns_loaded). */
static bool take_piece(struct coordinator *c, const struct store_msg *m)
{
    struct buf names = {0};
    struct str id;
    uint32_t number;
    struct txn *t;
    bool ok = txn_parse_piece_subject(m->subject, &names, &id, &number);

    if (ok && (t = txn_find(c, id)) != NULL && txn_take_piece(t, number, m->payload))
        txn_table_rest(&c->txns, t, false);
    buf_free(&names);
    return ok;
}

bool txn_take_message(struct coordinator *c, const struct store_msg *m)
{
    struct buf names = {0};
    struct txn read, *t;
    bool ok = txn_parse(m->subject, m->payload, &names, c->seed, &read);

    if (ok && (t = txn_get(c, read.id, STR_NONE)) != NULL) {
        take_record(t, &read);
        txn_table_rest(&c->txns, t, txn_at_rest(t));
    } else if (ok) {
        txn_clear(&read);
    }
    buf_free(&names);
    return ok || take_piece(c, m);
}
