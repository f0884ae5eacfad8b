/* txn_content.c - what a transaction has: partitions and offsets, found by name, and which of them
 * are not in a record yet. See txn_record.h. */
#include "lib/base/hash.h"
#include "lib/base/mem.h"
#include "server/kafka/txn_record.h"

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

static void note(struct txn_changes *c, uint32_t place)
{
    c->at = grown(c->at, c->n, sizeof(*c->at));
    c->at[c->n++] = place;
}

static void forget_changes(struct txn_changes *c)
{
    mem_free(c->at);
    *c = (struct txn_changes){0};
}

static uint32_t hash_part(const struct txn *t, struct str topic, int32_t index)
{
    return (uint32_t) hash_bytes(topic.p, topic.n, t->seed ^ (uint32_t) index);
}

static uint32_t hash_offset(const struct txn *t, struct str group, const struct committed_offset *o)
{
    uint64_t h = hash_bytes(group.p, group.n, t->seed);

    return (uint32_t) hash_bytes(o->topic.p, o->topic.n, h ^ (uint32_t) o->partition);
}

/* Where it is; nparts: nowhere. */
static uint32_t find_part(const struct txn *t, uint32_t hash, struct str topic, int32_t index)
{
    uint32_t at = hash, i;

    while ((i = index_next(&t->part_index, hash, &at)) != 0)
        if (t->parts[i - 1].index == index && str_eq(t->parts[i - 1].topic, topic))
            return i - 1;
    return t->nparts;
}

bool txn_has_part(const struct txn *t, struct str topic, int32_t index)
{
    return find_part(t, hash_part(t, topic, index), topic, index) < t->nparts;
}

size_t txn_part_cost(struct str topic)
{
    return sizeof(struct txn_part) + topic.n + 64;
}

void txn_place_part(struct txn *t, uint32_t i, uint64_t from)
{
    struct txn_part *p = &t->parts[i];

    if (p->from == from)
        return;
    p->from = from;
    if (!p->changed)
        note(&t->changed_parts, i);
    p->changed = true;
}

void txn_put_part(struct txn *t, struct str topic, int32_t index, uint64_t from)
{
    uint32_t hash = hash_part(t, topic, index), i = find_part(t, hash, topic, index);

    if (i < t->nparts) {
        txn_place_part(t, i, from);
        return;
    }
    t->parts = grown(t->parts, t->nparts, sizeof(*t->parts));
    index_add(&t->part_index, hash, t->nparts);
    note(&t->changed_parts, t->nparts);
    t->parts[t->nparts++] = (struct txn_part){own(topic), index, from, true};
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
    bool noted = i < t->noffsets && t->offsets[i].changed;

    if (i == t->noffsets) {
        t->offsets = grown(t->offsets, t->noffsets, sizeof(*t->offsets));
        index_add(&t->offset_index, hash, t->noffsets++);
    } else {
        free_offset(t, &t->offsets[i]);
    }
    if (!noted)
        note(&t->changed_offsets, i);
    t->offsets[i] = (struct txn_offset){.group = own(group), .o = *o, .changed = true};
    t->offsets[i].o.topic = own(o->topic);
    t->offsets[i].o.metadata = own(o->metadata);
    t->offset_bytes += txn_offset_cost(group, o);
    t->bytes += txn_offset_cost(group, o);
}

void txn_kept(struct txn *t)
{
    for (uint32_t i = 0; i < t->changed_parts.n; i++)
        t->parts[t->changed_parts.at[i]].changed = false;
    for (uint32_t i = 0; i < t->changed_offsets.n; i++)
        t->offsets[t->changed_offsets.at[i]].changed = false;
    forget_changes(&t->changed_parts);
    forget_changes(&t->changed_offsets);
}

void txn_clear(struct txn *t)
{
    txn_kept(t);
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
    t->nparts = t->noffsets = t->npieces = 0;
    t->bytes = t->whole_bytes = t->piece_bytes = 0;
    t->recorded = false;
}
