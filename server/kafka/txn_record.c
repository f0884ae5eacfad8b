/* txn_record.c - see txn_record.h. */
#include "server/kafka/txn_record.h"

#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "lib/wire/kafka_bytes.h"

#define PREFIX "$KAFKA.TXN."
/* With a previous producer; else one less, which earlier programs read, too. */
#define VERSION 3

static struct str own(struct str s)
{
    return str_from(mem_strndup(s.n > 0 ? s.p : "", s.n), s.n);
}

static void disown(struct str s)
{
    mem_free((char *) (uintptr_t) s.p);
}

/* ---- places by name ----------------------------------------------------------------------------
 */

struct txn_slot {
    uint32_t hash;
    uint32_t place; /* plus 1; 0: nothing */
};

static void index_put(struct txn_index *x, struct txn_slot slot)
{
    uint32_t at = slot.hash & (x->room - 1);

    while (x->slots[at].place != 0)
        at = (at + 1) & (x->room - 1);
    x->slots[at] = slot;
}

/* n are in it; it is never more than half full. */
static void index_add(struct txn_index *x, uint32_t hash, uint32_t n)
{
    struct txn_index before = *x;

    if (2 * (n + 1) > x->room) {
        x->room = x->room > 0 ? 2 * x->room : 8;
        x->slots = mem_zalloc(x->room * sizeof(*x->slots));
        for (uint32_t i = 0; i < before.room; i++)
            if (before.slots[i].place != 0)
                index_put(x, before.slots[i]);
        mem_free(before.slots);
    }
    index_put(x, (struct txn_slot){hash, n + 1});
}

/* The next place with this hash, plus 1; 0: no more. *at begins as the hash. */
static uint32_t index_next(const struct txn_index *x, uint32_t hash, uint32_t *at)
{
    while (x->room > 0) {
        const struct txn_slot *slot = &x->slots[(*at)++ & (x->room - 1)];
        if (slot->place == 0 || slot->hash == hash)
            return slot->place;
    }
    return 0;
}

static void index_free(struct txn_index *x)
{
    mem_free(x->slots);
    *x = (struct txn_index){0};
}

/* An array of n gets room for one more: it doubles. */
static void *grown(void *array, uint32_t n, size_t each)
{
    return (n & (n - 1)) == 0 ? mem_realloc(array, (n > 0 ? 2 * (size_t) n : 1) * each) : array;
}

/* ---- contents -------------------------------------------------------------------------------- */

static uint32_t hash_part(const struct txn *t, struct str topic, int32_t index)
{
    return (uint32_t) hash_bytes(topic.p, topic.n, t->seed ^ (uint32_t) index);
}

static uint32_t hash_offset(const struct txn *t, struct str group, const struct committed_offset *o)
{
    uint64_t h = hash_bytes(group.p, group.n, t->seed);

    return (uint32_t) hash_bytes(o->topic.p, o->topic.n, h ^ (uint32_t) o->partition);
}

bool txn_has_part(const struct txn *t, struct str topic, int32_t index)
{
    uint32_t hash = hash_part(t, topic, index), at = hash, i;

    while ((i = index_next(&t->part_index, hash, &at)) != 0)
        if (t->parts[i - 1].index == index && str_eq(t->parts[i - 1].topic, topic))
            return true;
    return false;
}

size_t txn_part_cost(struct str topic)
{
    return sizeof(struct txn_part) + topic.n + 64;
}

void txn_add_part(struct txn *t, struct str topic, int32_t index, uint64_t from)
{
    t->parts = grown(t->parts, t->nparts, sizeof(*t->parts));
    index_add(&t->part_index, hash_part(t, topic, index), t->nparts);
    t->parts[t->nparts++] = (struct txn_part){own(topic), index, from};
    t->bytes += txn_part_cost(topic);
}

/* A character of a name is up to three in the subject, and a part of the key in the header. */
size_t txn_offset_cost(struct str group, const struct committed_offset *o)
{
    return 5 * (group.n + o->topic.n) + o->metadata.n + 256;
}

static void free_offset(struct txn *t, struct txn_offset *o)
{
    size_t cost = txn_offset_cost(o->group, &o->o);

    t->offset_bytes -= cost;
    t->bytes -= cost;
    disown(o->group);
    disown(o->o.topic);
    disown(o->o.metadata);
}

/* Where it is; noffsets: nowhere. */
static uint32_t find_offset(const struct txn *t, uint32_t hash, struct str group,
                            const struct committed_offset *o)
{
    uint32_t at = hash, i;

    while ((i = index_next(&t->offset_index, hash, &at)) != 0) {
        const struct txn_offset *x = &t->offsets[i - 1];
        if (x->o.partition == o->partition && str_eq(x->group, group) &&
            str_eq(x->o.topic, o->topic))
            return i - 1;
    }
    return t->noffsets;
}

void txn_put_offset(struct txn *t, struct str group, const struct committed_offset *o)
{
    uint32_t hash = hash_offset(t, group, o), i = find_offset(t, hash, group, o);

    if (i == t->noffsets) {
        t->offsets = grown(t->offsets, t->noffsets, sizeof(*t->offsets));
        index_add(&t->offset_index, hash, t->noffsets++);
    } else {
        free_offset(t, &t->offsets[i]);
    }
    t->offsets[i] = (struct txn_offset){.group = own(group), .o = *o};
    t->offsets[i].o.topic = own(o->topic);
    t->offsets[i].o.metadata = own(o->metadata);
    t->offset_bytes += txn_offset_cost(group, o);
    t->bytes += txn_offset_cost(group, o);
}

void txn_clear(struct txn *t)
{
    for (uint32_t i = 0; i < t->nparts; i++)
        disown(t->parts[i].topic);
    for (uint32_t i = 0; i < t->noffsets; i++)
        free_offset(t, &t->offsets[i]);
    index_free(&t->part_index);
    index_free(&t->offset_index);
    mem_free(t->parts);
    mem_free(t->offsets);
    t->parts = NULL;
    t->offsets = NULL;
    t->nparts = t->noffsets = 0;
    t->bytes = 0;
}

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
    for (uint32_t i = 0; i < nparts; i++) {
        put_text(b, t->parts[i].topic);
        kafka_append_u32(b, (uint32_t) t->parts[i].index);
        kafka_append_u64(b, t->parts[i].from);
    }
    kafka_append_u32(b, noffsets);
    for (uint32_t i = 0; i < noffsets; i++) {
        const struct committed_offset *o = &t->offsets[i].o;
        put_text(b, t->offsets[i].group);
        put_text(b, o->topic);
        kafka_append_u32(b, (uint32_t) o->partition);
        kafka_append_u64(b, (uint64_t) o->offset);
        kafka_append_u32(b, (uint32_t) o->epoch);
        put_text(b, o->metadata);
        buf_put(b, o->topic_id.bytes, 16);
    }
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

static bool take_body(struct in *in, struct txn *t)
{
    uint16_t version = take_u16(in), state = take_u16(in);
    uint32_t n;

    t->producer = (int64_t) take_u64(in);
    t->epoch = (int16_t) take_u16(in);
    t->timeout_ms = (int32_t) take_u32(in);
    t->started_ms = (int64_t) take_u64(in);
    t->changed_ms = (int64_t) take_u64(in);
    t->previous = version > 2 ? (int64_t) take_u64(in) : -1;
    n = take_u32(in);
    for (uint32_t i = 0; i < n && !in->bad; i++) {
        struct str topic = take_text(in);
        int32_t index = (int32_t) take_u32(in);
        uint64_t from = version > 1 ? take_u64(in) : 0;
        if (!in->bad && !txn_has_part(t, topic, index))
            txn_add_part(t, topic, index, from);
    }
    n = take_u32(in);
    for (uint32_t i = 0; i < n && !in->bad; i++)
        take_offset(in, t);
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
    return true;
}
