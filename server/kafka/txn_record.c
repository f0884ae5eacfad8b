/* txn_record.c - see txn_record.h. */
#include "server/kafka/txn_record.h"

#include "lib/wire/kafka_bytes.h"

#define PREFIX "$KAFKA.TXN."
/* With a previous producer; else one less, which earlier programs read, too. */
#define VERSION 3
#define PIECE_VERSION 1

/* ---- out ------------------------------------------------------------------------------------- */

void txn_put_subject(struct buf *out, struct str id)
{
    buf_puts(out, PREFIX);
    committed_put_name(out, id);
}

static void put_text(struct buf *b, struct str s)
{
    kafka_append_u32(b, (uint32_t) s.n);
    buf_put_str(b, s);
}

static void put_part(struct buf *b, const struct txn_part *p)
{
    put_text(b, p->topic);
    kafka_append_u32(b, (uint32_t) p->index);
    kafka_append_u64(b, p->from);
}

static void put_offset(struct buf *b, const struct txn_offset *x)
{
    const struct committed_offset *o = &x->o;

    put_text(b, x->group);
    put_text(b, o->topic);
    kafka_append_u32(b, (uint32_t) o->partition);
    kafka_append_u64(b, (uint64_t) o->offset);
    kafka_append_u32(b, (uint32_t) o->epoch);
    put_text(b, o->metadata);
    buf_put(b, o->topic_id.bytes, 16);
}

void txn_render(const struct txn *t, struct buf *b)
{
    /* One that is over has nothing any more, whatever is still to be done with it in memory. */
    bool over = t->state == TXN_COMPLETE_COMMIT || t->state == TXN_COMPLETE_ABORT;
    uint32_t nparts = over ? 0 : t->nparts, noffsets = over ? 0 : t->noffsets;

    kafka_append_u16(b, t->previous >= 0 ? VERSION : VERSION - 1);
    kafka_append_u16(b, (uint16_t) t->state);
    kafka_append_u64(b, (uint64_t) t->producer);
    kafka_append_u16(b, (uint16_t) t->epoch);
    kafka_append_u32(b, (uint32_t) t->timeout_ms);
    kafka_append_u64(b, (uint64_t) t->started_ms);
    kafka_append_u64(b, (uint64_t) t->changed_ms);
    if (t->previous >= 0)
        kafka_append_u64(b, (uint64_t) t->previous);
    kafka_append_u32(b, nparts);
    for (uint32_t i = 0; i < nparts; i++)
        put_part(b, &t->parts[i]);
    kafka_append_u32(b, noffsets);
    for (uint32_t i = 0; i < noffsets; i++)
        put_offset(b, &t->offsets[i]);
}

bool txn_may_add(const struct txn *t, size_t least)
{
    size_t most = t->whole_bytes > least ? t->whole_bytes : least;

    return t->state == TXN_ONGOING && t->recorded && t->bytes > least &&
           t->npieces < TXN_PIECES_MAX && t->piece_bytes < most;
}

void txn_put_piece_subject(struct buf *out, struct str id, uint32_t number)
{
    txn_put_subject(out, id);
    buf_printf(out, ".%u", number);
}

void txn_render_piece(const struct txn *t, struct buf *b)
{
    kafka_append_u16(b, PIECE_VERSION);
    kafka_append_u64(b, (uint64_t) t->producer);
    kafka_append_u16(b, (uint16_t) t->epoch);
    kafka_append_u32(b, t->changed_parts.n);
    for (uint32_t i = 0; i < t->changed_parts.n; i++)
        put_part(b, &t->parts[t->changed_parts.at[i]]);
    kafka_append_u32(b, t->changed_offsets.n);
    for (uint32_t i = 0; i < t->changed_offsets.n; i++)
        put_offset(b, &t->offsets[t->changed_offsets.at[i]]);
}

void txn_recorded(struct txn *t, bool piece, size_t bytes)
{
    if (piece) {
        t->npieces++;
        t->piece_bytes += bytes + TXN_PIECE_COST;
    } else {
        t->recorded = true;
        t->whole_bytes = bytes;
        t->npieces = 0;
        t->piece_bytes = 0;
    }
    txn_kept(t);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* What is missing reads as 0 and leaves bad. */
struct in {
    struct str rest;
    bool bad;
};

static const char *take(struct in *in, size_t n)
{
    static const char zeroes[16];
    const char *p = in->rest.p;

    if (in->bad || in->rest.n < n) {
        in->bad = true;
        return zeroes;
    }
    in->rest = str_skip(in->rest, n);
    return p;
}

static uint16_t take_u16(struct in *in)
{
    return kafka_get_u16(take(in, 2));
}

static uint32_t take_u32(struct in *in)
{
    return kafka_get_u32(take(in, 4));
}

static uint64_t take_u64(struct in *in)
{
    return kafka_get_u64(take(in, 8));
}

static struct str take_text(struct in *in)
{
    uint32_t n = take_u32(in);

    if (in->bad || in->rest.n < n) {
        in->bad = true;
        return STR("");
    }
    return str_from(take(in, n), n);
}

static void take_offset(struct in *in, struct txn *t)
{
    struct str group = take_text(in);
    struct committed_offset o = {.topic = take_text(in)};

    o.partition = (int32_t) take_u32(in);
    o.offset = (int64_t) take_u64(in);
    o.epoch = (int32_t) take_u32(in);
    o.metadata = take_text(in);
    memcpy(o.topic_id.bytes, take(in, 16), 16);
    if (!in->bad)
        txn_put_offset(t, group, &o);
}

static void take_content(struct in *in, bool places, struct txn *t)
{
    uint32_t n = take_u32(in);

    for (uint32_t i = 0; i < n && !in->bad; i++) {
        struct str topic = take_text(in);
        int32_t index = (int32_t) take_u32(in);
        uint64_t from = places ? take_u64(in) : 0;
        if (!in->bad)
            txn_put_part(t, topic, index, from);
    }
    n = take_u32(in);
    for (uint32_t i = 0; i < n && !in->bad; i++)
        take_offset(in, t);
}

static bool take_body(struct in *in, struct txn *t)
{
    uint16_t version = take_u16(in), state = take_u16(in);

    t->producer = (int64_t) take_u64(in);
    t->epoch = (int16_t) take_u16(in);
    t->timeout_ms = (int32_t) take_u32(in);
    t->started_ms = (int64_t) take_u64(in);
    t->changed_ms = (int64_t) take_u64(in);
    t->previous = version > 2 ? (int64_t) take_u64(in) : -1;
    take_content(in, version > 1, t);
    t->state = (enum txn_state) state;
    return !in->bad && in->rest.n == 0 && version >= 1 && version <= VERSION && state < TXN_STATES;
}

bool txn_parse(struct str subject, struct str payload, struct buf *names, uint64_t seed,
               struct txn *t)
{
    struct in in = {.rest = payload};
    size_t at = names->n;

    *t = (struct txn){.seed = seed};
    if (!str_starts(subject, STR(PREFIX)) ||
        !committed_take_name(names, str_skip(subject, sizeof(PREFIX) - 1)))
        return false;
    if (!take_body(&in, t)) {
        txn_clear(t);
        return false;
    }
    t->id = str_from(names->p + at, names->n - at);
    txn_recorded(t, false, payload.n);
    return true;
}

bool txn_parse_piece_subject(struct str subject, struct buf *names, struct str *id,
                             uint32_t *number)
{
    struct str digits, name;
    size_t at = names->n;
    uint64_t n;

    if (!str_starts(subject, STR(PREFIX)))
        return false;
    name = str_cut(str_skip(subject, sizeof(PREFIX) - 1), '.', &digits);
    if (!str_to_u64(digits, &n) || n >= TXN_PIECES_MAX || !committed_take_name(names, name))
        return false;
    *id = str_from(names->p + at, names->n - at);
    *number = (uint32_t) n;
    return true;
}

bool txn_take_piece(struct txn *t, uint32_t number, struct str payload)
{
    struct in in = {.rest = payload}, again;
    struct txn only = {.seed = t->seed};
    bool ok;

    if (take_u16(&in) != PIECE_VERSION || (int64_t) take_u64(&in) != t->producer ||
        (int16_t) take_u16(&in) != t->epoch || t->state != TXN_ONGOING)
        return false;
    again = in;
    take_content(&in, true, &only);
    ok = !in.bad && in.rest.n == 0;
    txn_clear(&only);
    if (!ok)
        return false;
    take_content(&again, true, t);
    txn_recorded(t, true, payload.n);
    t->npieces = number + 1;
    return true;
}
