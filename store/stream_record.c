/*
 * A stream's record: a version byte and changes in the full record, changes alone in a delta. One
 * table says which change may stand where and what it does; a full record is decoded by applying
 * its changes to an empty record, so there is one reader for both. Layout:
 * docs/internals/store-format.md.
 *
 * Invariants (stream_record_check): first_seq >= 1; removed and lost lie at or above first_seq;
 * lost is part of removed; last_seq >= first_seq - 1; segments ascend in number and in base_seq;
 * next_segment is above them all. erase speaks of bytes, not of messages: it may lie below
 * first_seq, and goes when the bytes do.
 *
 * Every change is idempotent and most commute: a record written a moment before or after the
 * segments it speaks of gives a correct stream all the same.
 */
#include "store/stream_record.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/varint.h"
#include "store/plant.h"

#include <string.h>

#define RECORD_VERSION 1

enum {
    TAG_UUID = 1,
    TAG_NAME,
    TAG_CONFIG,
    TAG_LEVEL,
    TAG_LIMITS,
    TAG_PURGE,
    TAG_DURABLE,
    TAG_REMOVE,
    TAG_REMOVE_SET,
    TAG_LOST_SET,
    TAG_LOST_EVER,
    TAG_LOSE,
    TAG_SEGMENT,
    TAG_RELEASE,
    TAG_NEXT_SEGMENT,
    TAG_ERASE,
    TAG_END,
    TAG_APPLIED = 64,
    TAG_OPTIONAL = 64, /* from here on a reader may skip what it does not know */
};

/* ---- changes in memory --------------------------------------------------------------------- */

void stream_record_deinit(struct stream_record *r)
{
    buf_free(&r->name);
    buf_free(&r->config);
    seqset_free(&r->removed);
    seqset_free(&r->lost);
    seqset_free(&r->erase);
    mem_free(r->segments);
    *r = (struct stream_record){0};
}

/* Cuts a range to what is at or above first_seq; false when nothing is left. */
static bool above_first(const struct stream_record *r, uint64_t *first, uint64_t last)
{
    if (*first < r->first_seq)
        *first = r->first_seq;
    return *first <= last;
}

void stream_record_remove(struct stream_record *r, uint64_t first, uint64_t last)
{
    if (above_first(r, &first, last))
        seqset_add(&r->removed, first, last);
}

void stream_record_purge(struct stream_record *r, uint64_t first_seq)
{
    if (first_seq <= r->first_seq)
        return;
    r->first_seq = first_seq;
    seqset_remove(&r->removed, 1, first_seq - 1);
    seqset_remove(&r->lost, 1, first_seq - 1);
    if (r->last_seq < first_seq - 1) {
        r->last_seq = first_seq - 1;
        r->last_ts = 0;
    }
}

void stream_record_lose(struct stream_record *r, uint64_t first, uint64_t last, uint64_t bytes)
{
    if (!above_first(r, &first, last))
        return;
    seqset_add(&r->removed, first, last);
    uint64_t fresh = seqset_add(&r->lost, first, last);
    r->lost_msgs += PLANTED(PLANT_LOSS_UNCOUNTED) ? 0 : fresh;
    r->lost_bytes += fresh != 0 ? bytes : 0;
}

void stream_record_durable(struct stream_record *r, uint64_t last_seq, int64_t last_ts)
{
    if (last_seq < r->last_seq)
        return;
    if (last_seq > r->last_seq || last_ts > r->last_ts)
        r->last_ts = last_ts;
    r->last_seq = last_seq;
}

static size_t find_segment(const struct stream_record *r, uint64_t number)
{
    size_t i = r->nsegments;

    while (i > 0 && r->segments[i - 1].number >= number)
        i--;
    return i;
}

void stream_record_add_segment(struct stream_record *r, uint64_t number, uint64_t base_seq)
{
    size_t i = find_segment(r, number);

    if (r->next_segment <= number)
        r->next_segment = number + 1;
    if (i < r->nsegments && r->segments[i].number == number) {
        r->segments[i].base_seq = base_seq;
        return;
    }
    if (r->nsegments == r->segments_cap) {
        r->segments_cap = r->segments_cap != 0 ? r->segments_cap * 2 : 4;
        r->segments = mem_realloc(r->segments, r->segments_cap * sizeof(*r->segments));
    }
    memmove(r->segments + i + 1, r->segments + i, (r->nsegments - i) * sizeof(*r->segments));
    r->segments[i] = (struct stream_segment){number, base_seq};
    r->nsegments++;
}

void stream_record_release_segment(struct stream_record *r, uint64_t number)
{
    size_t i = find_segment(r, number);

    if (i == r->nsegments || r->segments[i].number != number)
        return;
    r->nsegments--;
    memmove(r->segments + i, r->segments + i + 1, (r->nsegments - i) * sizeof(*r->segments));
}

void stream_record_check(const struct stream_record *r)
{
    uint64_t min, max;
    const struct seqset *sets[] = {&r->removed, &r->lost};

    ASSERT(r->first_seq >= 1 && r->last_seq >= r->first_seq - 1 && r->next_segment >= 1);
    seqset_check(&r->erase);
    for (unsigned i = 0; i < ARRAY_LEN(sets); i++) {
        seqset_check(sets[i]);
        ASSERT(!seqset_bounds(sets[i], &min, &max) || min >= r->first_seq);
    }
    for (uint64_t at = 0, first, last;
         seqset_range_from(&r->lost, at, &first, &last) && last != UINT64_MAX; at = last + 1)
        ASSERT(seqset_count_in(&r->removed, first, last) == last - first + 1);
    for (size_t i = 0; i < r->nsegments; i++)
        ASSERT(r->segments[i].number < r->next_segment &&
               (i == 0 || r->segments[i - 1].number < r->segments[i].number));
}

/* ---- writing ------------------------------------------------------------------------------- */

static void put_bytes(struct buf *out, unsigned tag, struct str s)
{
    varint_put_buf(out, tag);
    varint_put_buf(out, s.n);
    buf_put_str(out, s);
}

static void put_numbers(struct buf *out, unsigned tag, unsigned n, const uint64_t *v)
{
    uint8_t bytes[4 * VARINT_MAX];
    size_t used = 0;

    ASSERT(n <= 4);
    for (unsigned i = 0; i < n; i++)
        used += varint_put(bytes + used, v[i]);
    put_bytes(out, tag, str_from(bytes, used));
}
#define PUT(out, tag, ...)                                                                         \
    put_numbers(out, tag, (unsigned) ARRAY_LEN(((uint64_t[]){__VA_ARGS__})),                       \
                (uint64_t[]){__VA_ARGS__})

static void put_set(struct buf *out, unsigned tag, const struct seqset *set)
{
    struct buf bytes = {0};
    uint64_t end = 0, first, last;

    while (end != UINT64_MAX && seqset_range_from(set, end, &first, &last)) {
        varint_put_buf(&bytes, first - end);
        varint_put_buf(&bytes, last - first);
        end = last;
        if (last == UINT64_MAX)
            break;
        end = last + 1;
    }
    put_bytes(out, tag, buf_str(&bytes));
    buf_free(&bytes);
}

void stream_record_encode_copy(const struct stream_record *r, struct buf *out)
{
    buf_putc(out, RECORD_VERSION);
    put_bytes(out, TAG_UUID, str_from(r->uuid, 16));
    put_bytes(out, TAG_NAME, buf_str(&r->name));
    put_bytes(out, TAG_CONFIG, buf_str(&r->config));
    PUT(out, TAG_LEVEL, (uint64_t) r->level);
    stream_delta_limits(out, &r->limits);
}

void stream_record_encode(const struct stream_record *r, struct buf *out)
{
    stream_record_encode_copy(r, out);
    stream_delta_purge(out, r->first_seq);
    stream_delta_durable(out, r->last_seq, r->last_ts);
    stream_delta_remove_set(out, &r->removed);
    put_set(out, TAG_LOST_SET, &r->lost);
    PUT(out, TAG_LOST_EVER, r->lost_msgs, r->lost_bytes);
    for (uint64_t at = 0, first, last; seqset_range_from(&r->erase, at, &first, &last);
         at = last + 1)
        for (uint64_t seq = first; seq <= last; seq++)
            stream_delta_erase(out, seq);
    for (size_t i = 0; i < r->nsegments; i++)
        stream_delta_add_segment(out, r->segments[i].number, r->segments[i].base_seq);
    PUT(out, TAG_NEXT_SEGMENT, r->next_segment);
    if (r->applied_seq != 0)
        stream_delta_applied(out, r->applied_seq, r->applied_max);
}

void stream_delta_applied(struct buf *out, uint64_t seq, uint64_t max)
{
    PUT(out, TAG_APPLIED, seq, max);
}

void stream_delta_remove(struct buf *out, uint64_t first, uint64_t last)
{
    PUT(out, TAG_REMOVE, first, last - first);
}

void stream_delta_remove_set(struct buf *out, const struct seqset *set)
{
    if (set->count != 0)
        put_set(out, TAG_REMOVE_SET, set);
}

void stream_delta_purge(struct buf *out, uint64_t first_seq)
{
    PUT(out, TAG_PURGE, first_seq);
}

void stream_delta_limits(struct buf *out, const struct store_limits *l)
{
    PUT(out, TAG_LIMITS, l->max_msgs, l->max_bytes, l->max_msgs_per_subject,
        (uint64_t) l->max_age_ns);
}

void stream_delta_config(struct buf *out, struct str config)
{
    put_bytes(out, TAG_CONFIG, config);
}

void stream_delta_durable(struct buf *out, uint64_t last_seq, int64_t last_ts)
{
    PUT(out, TAG_DURABLE, last_seq, zigzag(last_ts));
}

void stream_delta_add_segment(struct buf *out, uint64_t number, uint64_t base_seq)
{
    PUT(out, TAG_SEGMENT, number, base_seq);
}

void stream_delta_release_segment(struct buf *out, uint64_t number)
{
    PUT(out, TAG_RELEASE, number);
}

void stream_delta_lose(struct buf *out, uint64_t first, uint64_t last, uint64_t bytes)
{
    PUT(out, TAG_LOSE, first, last - first, bytes);
}

void stream_delta_erase(struct buf *out, uint64_t seq)
{
    PUT(out, TAG_ERASE, seq);
}

/* ---- reading ------------------------------------------------------------------------------- */

enum { IN_FULL = 1, IN_DELTA = 2, IN_BOTH = 3 };

/* What may stand where, and how many varints it consists of (0: bytes of its own form). */
static const struct {
    uint8_t in, numbers;
} changes[TAG_END] = {
    [TAG_UUID] = {IN_FULL, 0},         [TAG_NAME] = {IN_FULL, 0},
    [TAG_CONFIG] = {IN_BOTH, 0},       [TAG_LEVEL] = {IN_FULL, 1},
    [TAG_LIMITS] = {IN_BOTH, 4},       [TAG_PURGE] = {IN_BOTH, 1},
    [TAG_DURABLE] = {IN_BOTH, 2},      [TAG_REMOVE] = {IN_BOTH, 2},
    [TAG_REMOVE_SET] = {IN_BOTH, 0},   [TAG_LOST_SET] = {IN_FULL, 0},
    [TAG_LOST_EVER] = {IN_FULL, 2},    [TAG_LOSE] = {IN_DELTA, 3},
    [TAG_SEGMENT] = {IN_BOTH, 2},      [TAG_RELEASE] = {IN_DELTA, 1},
    [TAG_NEXT_SEGMENT] = {IN_FULL, 1}, [TAG_ERASE] = {IN_BOTH, 1},
};

static bool take_set(const struct stream_record *r, struct str in, struct seqset *out)
{
    uint64_t end = 0, gap, more;

    while (in.n != 0) {
        uint64_t first, last;
        if (!varint_take(&in, &gap) || !varint_take(&in, &more) ||
            __builtin_add_overflow(end, gap, &first) ||
            __builtin_add_overflow(first, more, &last) || first == 0 || last == UINT64_MAX)
            return false;
        end = last + 1;
        if (above_first(r, &first, last))
            seqset_add(out, first, last);
    }
    return true;
}

static enum err apply_bytes(struct stream_record *r, unsigned tag, struct str s)
{
    switch (tag) {
    case TAG_UUID:
        if (s.n != 16)
            return ERR_CORRUPT;
        memcpy(r->uuid, s.p, 16);
        return ERR_OK;
    case TAG_NAME:
        buf_clear(&r->name);
        buf_put_str(&r->name, s);
        return ERR_OK;
    case TAG_CONFIG:
        buf_clear(&r->config);
        buf_put_str(&r->config, s);
        return ERR_OK;
    case TAG_REMOVE_SET:
        return take_set(r, s, &r->removed) ? ERR_OK : ERR_CORRUPT;
    default:
        ASSERT(tag == TAG_LOST_SET);
        /* In this order: what is lost is removed, also when the set is cut off. */
        return take_set(r, s, &r->removed) && take_set(r, s, &r->lost) ? ERR_OK : ERR_CORRUPT;
    }
}

/* first, last - first: a range of sequences. */
static bool range(const uint64_t *v, uint64_t *last)
{
    return v[0] != 0 && !__builtin_add_overflow(v[0], v[1], last) && *last != UINT64_MAX;
}

static enum err apply_numbers(struct stream_record *r, unsigned tag, const uint64_t *v)
{
    uint64_t last;

    switch (tag) {
    case TAG_LEVEL:
        if (v[0] > STORE_MEMORY)
            return ERR_VERSION;
        r->level = (enum store_level) v[0];
        return ERR_OK;
    case TAG_LIMITS:
        r->limits = (struct store_limits){v[0], v[1], v[2], (int64_t) v[3]};
        return ERR_OK;
    case TAG_PURGE:
        stream_record_purge(r, v[0]);
        return ERR_OK;
    case TAG_DURABLE:
        stream_record_durable(r, v[0], unzigzag(v[1]));
        return ERR_OK;
    case TAG_REMOVE:
        if (!range(v, &last))
            return ERR_CORRUPT;
        stream_record_remove(r, v[0], last);
        return ERR_OK;
    case TAG_LOST_EVER:
        r->lost_msgs = v[0];
        r->lost_bytes = v[1];
        return ERR_OK;
    case TAG_LOSE:
        if (!range(v, &last))
            return ERR_CORRUPT;
        stream_record_lose(r, v[0], last, v[2]);
        return ERR_OK;
    case TAG_SEGMENT:
        if (v[0] == 0 || v[0] == UINT64_MAX || v[1] == 0)
            return ERR_CORRUPT;
        stream_record_add_segment(r, v[0], v[1]);
        return ERR_OK;
    case TAG_RELEASE:
        stream_record_release_segment(r, v[0]);
        return ERR_OK;
    case TAG_NEXT_SEGMENT:
        if (v[0] > r->next_segment)
            r->next_segment = v[0];
        return ERR_OK;
    default:
        ASSERT(tag == TAG_ERASE);
        if (v[0] == 0 || v[0] == UINT64_MAX)
            return ERR_CORRUPT;
        stream_record_remove(r, v[0], v[0]);
        seqset_add(&r->erase, v[0], v[0]);
        return ERR_OK;
    }
}

static enum err apply_change(struct stream_record *r, unsigned where, uint64_t tag, struct str s)
{
    uint64_t v[4];

    if (tag == TAG_APPLIED) {
        if (!varint_take(&s, &v[0]) || !varint_take(&s, &v[1]) || s.n != 0)
            return ERR_CORRUPT;
        r->applied_seq = v[0];
        r->applied_max = v[1];
        return ERR_OK;
    }
    if (tag >= TAG_OPTIONAL)
        return ERR_OK;
    if (tag == 0 || tag >= TAG_END)
        return ERR_VERSION;
    if ((changes[tag].in & where) == 0)
        return ERR_CORRUPT;
    if (changes[tag].numbers == 0)
        return apply_bytes(r, (unsigned) tag, s);
    for (unsigned i = 0; i < changes[tag].numbers; i++)
        if (!varint_take(&s, &v[i]))
            return ERR_CORRUPT;
    return s.n == 0 ? apply_numbers(r, (unsigned) tag, v) : ERR_CORRUPT;
}

static enum err apply_all(struct stream_record *r, unsigned where, struct str in)
{
    uint64_t tag, n;

    while (in.n != 0) {
        if (!varint_take(&in, &tag) || !varint_take(&in, &n) || n > in.n)
            return ERR_CORRUPT;
        enum err err = apply_change(r, where, tag, str_take(in, n));
        if (err != ERR_OK)
            return err;
        in = str_skip(in, n);
    }
    return ERR_OK;
}

enum err stream_record_decode(struct stream_record *r, struct str full)
{
    ASSERT(r->first_seq == 0 && r->segments == NULL);
    r->first_seq = 1;
    r->next_segment = 1;
    if (full.n == 0)
        return ERR_CORRUPT;
    if (full.p[0] != RECORD_VERSION)
        return ERR_VERSION;
    return apply_all(r, IN_FULL, str_skip(full, 1));
}

enum err stream_record_apply(struct stream_record *r, struct str delta)
{
    return apply_all(r, IN_DELTA, delta);
}

void stream_record_intents(struct str record, bool full, struct seqset *out)
{
    struct str in = full && record.n > 0 ? str_skip(record, 1) : record;
    uint64_t tag, n, seq;

    while (varint_take(&in, &tag) && varint_take(&in, &n) && n <= in.n) {
        struct str change = str_take(in, n);
        if (tag == TAG_ERASE && varint_take(&change, &seq) && seq != 0 && seq != UINT64_MAX)
            seqset_add(out, seq, seq);
        in = str_skip(in, n);
    }
}
