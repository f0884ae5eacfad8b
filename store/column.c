/* column.c - see column.h. */
#include "store/column.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "store/subjects.h"

#include <string.h>

static uint32_t nparts(const struct column *c)
{
    return (uint32_t) (((uint64_t) c->n + COLUMN_PART - 1) / COLUMN_PART);
}

static void part_deinit(struct column_part *p)
{
    mem_free(p->dict);
    mem_free(p->counts);
    mem_free(p->places);
    mem_free(p->ids);
    mem_free(p->order);
    mem_free(p->sizes);
}

void column_deinit(struct column *c)
{
    for (uint32_t i = 0; i < c->nblocks; i++)
        mem_free(c->blocks[i]);
    mem_free(c->blocks);
    for (uint32_t i = 0; c->packed && i < nparts(c); i++)
        part_deinit(&c->parts[i]);
    mem_free(c->parts);
    *c = (struct column){0};
}

void column_grow(struct column *c)
{
    ASSERT(!c->packed);
    c->blocks = mem_realloc(c->blocks, (c->nblocks + 1) * sizeof(struct column_block *));
    c->blocks[c->nblocks++] = mem_alloc(sizeof(struct column_block));
}

void column_blank(struct column *c, uint32_t n)
{
    ASSERT(c->n == 0 && c->nblocks == 0);
    c->nblocks = (uint32_t) (((uint64_t) n + COLUMN_BLOCK - 1) / COLUMN_BLOCK);
    c->blocks = mem_array(c->nblocks + 1u, sizeof(struct column_block *));
    for (uint32_t i = 0; i < c->nblocks; i++) {
        uint32_t left = n - i * COLUMN_BLOCK, used = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;
        c->blocks[i] = mem_alloc(sizeof(struct column_block));
        /* Only that: a small stream's block is not touched further. */
        memset(c->blocks[i]->id, 0, used * sizeof(*c->blocks[i]->id));
        memset(c->blocks[i]->size, 0, used * sizeof(*c->blocks[i]->size));
    }
    c->n = n;
}

static uint64_t part_bytes(const struct column_part *p)
{
    uint64_t bytes = (uint64_t) p->n * p->size_width;

    if (p->ndict == 0)
        return bytes + (uint64_t) p->n * (sizeof(*p->ids) + sizeof(*p->order));
    return p->ndict == 1 ? bytes
                         : bytes + p->n + p->ndict * (sizeof(*p->dict) + sizeof(*p->counts));
}

uint64_t column_bytes(const struct column *c)
{
    uint64_t bytes = (uint64_t) c->nblocks * sizeof(struct column_block);

    for (uint32_t i = 0; c->packed && i < nparts(c); i++)
        bytes += sizeof(struct column_part) + part_bytes(&c->parts[i]);
    return bytes;
}

uint32_t column_part_size(const struct column_part *p, uint32_t i)
{
    uint16_t half;
    uint32_t word;

    switch (p->size_width) {
    case 0:
        return p->one_size;
    case 2:
        memcpy(&half, p->sizes + (size_t) i * 2, 2);
        return half;
    default:
        memcpy(&word, p->sizes + (size_t) i * 4, 4);
        return word;
    }
}

/* ---- finding: plain arrays ------------------------------------------------------------------- */

enum { STRIDE = 64 };

/* Is it among these 64? Without a branch inside, for the vectoriser. */
static bool has_id(const uint32_t *ids, uint32_t id)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < STRIDE; i++)
        found |= ids[i] == id;
    return found != 0;
}

static uint32_t next_in(const uint32_t *ids, uint32_t id, uint32_t from, uint32_t end)
{
    while (end - from >= STRIDE && !has_id(ids + from, id))
        from += STRIDE;
    for (; from < end; from++)
        if (ids[from] == id)
            return from;
    return COLUMN_NONE;
}

static uint32_t prev_in(const uint32_t *ids, uint32_t id, uint32_t from, uint32_t end)
{
    while (end - from >= STRIDE && !has_id(ids + end - STRIDE, id))
        end -= STRIDE;
    while (end > from)
        if (ids[--end] == id)
            return end;
    return COLUMN_NONE;
}

static uint32_t count_in(const uint32_t *ids, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t n = 0;

    for (uint32_t i = from; i < end; i++)
        n += ids[i] == id;
    return n;
}

/* ---- finding: parts -------------------------------------------------------------------------- */

static bool dict_find(const struct column_part *p, uint32_t id, uint32_t *place)
{
    uint32_t low = 0, high = p->ndict;

    while (low < high) {
        uint32_t mid = (low + high) / 2;
        if (p->dict[mid] < id)
            low = mid + 1;
        else
            high = mid;
    }
    *place = low;
    return low < p->ndict && p->dict[low] == id;
}

/* Index in order of the first (id, record) at or above (id, at). */
static uint32_t order_find(const struct column_part *p, uint32_t id, uint32_t at)
{
    uint32_t low = 0, high = p->n;

    while (low < high) {
        uint32_t mid = (low + high) / 2, record = p->order[mid];
        if (p->ids[record] < id || (p->ids[record] == id && record < at))
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static uint32_t part_next(const struct column_part *p, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t place;

    if (p->ndict == 1)
        return p->one_id == id ? from : COLUMN_NONE;
    if (p->ndict > 1) {
        const uint8_t *at = dict_find(p, id, &place)
                                ? memchr(p->places + from, (int) place, end - from)
                                : NULL;
        return at != NULL ? (uint32_t) (at - p->places) : COLUMN_NONE;
    }
    uint32_t i = order_find(p, id, from);
    return i < p->n && p->ids[p->order[i]] == id && p->order[i] < end ? p->order[i] : COLUMN_NONE;
}

static uint32_t part_prev(const struct column_part *p, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t place;

    if (p->ndict == 1)
        return p->one_id == id ? end - 1 : COLUMN_NONE;
    if (p->ndict > 1) {
        const uint8_t *at = dict_find(p, id, &place)
                                ? memrchr(p->places + from, (int) place, end - from)
                                : NULL;
        return at != NULL ? (uint32_t) (at - p->places) : COLUMN_NONE;
    }
    uint32_t i = order_find(p, id, end);
    return i > 0 && p->ids[p->order[i - 1]] == id && p->order[i - 1] >= from ? p->order[i - 1]
                                                                             : COLUMN_NONE;
}

static uint32_t part_count(const struct column_part *p, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t place, n = 0;

    if (p->ndict == 1)
        return p->one_id == id ? end - from : 0;
    if (p->ndict == 0)
        return order_find(p, id, end) - order_find(p, id, from);
    if (!dict_find(p, id, &place))
        return 0;
    if (from == 0 && end == p->n)
        return p->counts[place];
    for (uint32_t i = from; i < end; i++)
        n += p->places[i] == place;
    return n;
}

/* ---- finding --------------------------------------------------------------------------------- */

/* The piece of [from, end) that lies in the same block or part as `at`. */
struct piece {
    uint32_t which, from, end; /* in it */
};

static struct piece piece_at(uint32_t each, uint32_t at, uint32_t from, uint32_t end)
{
    struct piece x = {.which = at / each};
    uint32_t base = x.which * each;

    x.from = from > base ? from - base : 0;
    x.end = end - base < each ? end - base : each;
    return x;
}

uint32_t column_next(const struct column *c, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t each = c->packed ? COLUMN_PART : COLUMN_BLOCK;

    for (uint32_t at = from; at < end;) {
        struct piece x = piece_at(each, at, from, end);
        uint32_t found = c->packed ? part_next(&c->parts[x.which], id, x.from, x.end)
                                   : next_in(c->blocks[x.which]->id, id, x.from, x.end);
        if (found != COLUMN_NONE)
            return x.which * each + found;
        at = x.which * each + x.end;
    }
    return COLUMN_NONE;
}

uint32_t column_prev(const struct column *c, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t each = c->packed ? COLUMN_PART : COLUMN_BLOCK;

    for (uint32_t at = end; at > from;) {
        struct piece x = piece_at(each, at - 1, from, end);
        uint32_t found = c->packed ? part_prev(&c->parts[x.which], id, x.from, x.end)
                                   : prev_in(c->blocks[x.which]->id, id, x.from, x.end);
        if (found != COLUMN_NONE)
            return x.which * each + found;
        at = x.which * each + x.from;
    }
    return COLUMN_NONE;
}

uint32_t column_count(const struct column *c, uint32_t id, uint32_t from, uint32_t end)
{
    uint32_t each = c->packed ? COLUMN_PART : COLUMN_BLOCK, n = 0;

    for (uint32_t at = from; at < end;) {
        struct piece x = piece_at(each, at, from, end);
        n += c->packed ? part_count(&c->parts[x.which], id, x.from, x.end)
                       : count_in(c->blocks[x.which]->id, id, x.from, x.end);
        at = x.which * each + x.end;
    }
    return n;
}

/* ---- packing --------------------------------------------------------------------------------- */

enum { WIDE_IN_PART = COLUMN_PART / COLUMN_BLOCK, DICT_MAX = 256 };

/* Scratch of packing one part. */
struct column_packer {
    uint32_t id[COLUMN_PART], size[COLUMN_PART];
    uint16_t order[2][COLUMN_PART];
    uint32_t count[256];
};

static uint32_t load_part(struct column_packer *k, const struct column *wide, uint32_t part)
{
    uint32_t n = 0, left = wide->n - part * COLUMN_PART;

    for (uint32_t b = part * WIDE_IN_PART; n < COLUMN_PART && left > 0; b++) {
        uint32_t m = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;
        memcpy(k->id + n, wide->blocks[b]->id, m * sizeof(*k->id));
        memcpy(k->size + n, wide->blocks[b]->size, m * sizeof(*k->size));
        n += m;
        left -= m;
    }
    return n;
}

/* Sorts the records by the byte of their ids; stable. */
static void sort_by_byte(struct column_packer *k, uint32_t n, unsigned shift, const uint16_t *from,
                         uint16_t *to)
{
    uint32_t at = 0;

    memset(k->count, 0, sizeof(k->count));
    for (uint32_t i = 0; i < n; i++)
        k->count[k->id[i] >> shift & 0xff]++;
    for (unsigned b = 0; b < 256; b++) {
        uint32_t m = k->count[b];
        k->count[b] = at;
        at += m;
    }
    for (uint32_t i = 0; i < n; i++)
        to[k->count[k->id[from[i]] >> shift & 0xff]++] = from[i];
}

/* Records by id; returns which of the two buffers has them. */
static const uint16_t *sort_part(struct column_packer *k, uint32_t n)
{
    uint32_t differs = 0;
    unsigned in = 0;

    for (uint32_t i = 0; i < n; i++) {
        k->order[0][i] = (uint16_t) i;
        differs |= k->id[i] ^ k->id[0];
    }
    for (unsigned shift = 0; shift < 32; shift += 8) {
        if ((differs >> shift & 0xff) == 0)
            continue;
        sort_by_byte(k, n, shift, k->order[in], k->order[1 - in]);
        in = 1 - in;
    }
    return k->order[in];
}

static uint32_t count_distinct(const struct column_packer *k, const uint16_t *order, uint32_t n)
{
    uint32_t distinct = 1;

    for (uint32_t i = 1; i < n; i++)
        distinct += k->id[order[i]] != k->id[order[i - 1]];
    return distinct;
}

static void *copy_of(const void *bytes, size_t n)
{
    void *copy = mem_alloc(n);
    return memcpy(copy, bytes, n);
}

static void pack_ids(const struct column_packer *k, const uint16_t *order, struct column_part *p)
{
    uint32_t distinct = count_distinct(k, order, p->n), place = 0;

    p->ndict = distinct <= DICT_MAX ? distinct : 0;
    if (p->ndict == 1) {
        p->one_id = k->id[0];
    } else if (p->ndict == 0) {
        p->ids = copy_of(k->id, p->n * sizeof(*p->ids));
        p->order = copy_of(order, p->n * sizeof(*p->order));
    } else {
        p->dict = mem_array(distinct, sizeof(*p->dict));
        p->counts = mem_zalloc(distinct * sizeof(*p->counts));
        p->places = mem_alloc(p->n);
        for (uint32_t i = 0; i < p->n; i++) {
            place += i > 0 && k->id[order[i]] != k->id[order[i - 1]];
            p->dict[place] = k->id[order[i]];
            p->counts[place]++;
            p->places[order[i]] = (uint8_t) place;
        }
    }
}

static void pack_sizes(const struct column_packer *k, struct column_part *p)
{
    uint32_t all = 0, differs = 0;

    for (uint32_t i = 0; i < p->n; i++) {
        all |= k->size[i];
        differs |= k->size[i] ^ k->size[0];
    }
    p->one_size = k->size[0];
    p->size_width = differs == 0 ? 0 : all <= UINT16_MAX ? 2 : 4;
    if (p->size_width == 4)
        p->sizes = copy_of(k->size, p->n * sizeof(uint32_t));
    if (p->size_width != 2)
        return;
    p->sizes = mem_array(p->n, 2);
    for (uint32_t i = 0; i < p->n; i++) {
        uint16_t half = (uint16_t) k->size[i];
        memcpy(p->sizes + (size_t) i * 2, &half, 2);
    }
}

bool column_pack_step(const struct column *wide, struct column_packing *p, struct column *out)
{
    if (p->packer == NULL) {
        p->out = (struct column){.n = wide->n, .packed = true};
        p->out.parts = mem_zalloc(((size_t) nparts(wide) + 1) * sizeof(*p->out.parts));
        p->packer = mem_alloc(sizeof(*p->packer));
    }
    if (p->part < nparts(wide)) {
        struct column_part *part = &p->out.parts[p->part];
        part->n = load_part(p->packer, wide, p->part++);
        pack_ids(p->packer, sort_part(p->packer, part->n), part);
        pack_sizes(p->packer, part);
    }
    if (p->part < nparts(wide))
        return false;
    *out = p->out;
    p->out = (struct column){0};
    column_packing_deinit(p);
    return true;
}

void column_packing_deinit(struct column_packing *p)
{
    column_deinit(&p->out);
    mem_free(p->packer);
    *p = (struct column_packing){0};
}

void column_pack(const struct column *wide, struct column *out)
{
    struct column_packing p = {0};

    while (!column_pack_step(wide, &p, out))
        ;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static uint32_t largest_id(const struct column *c)
{
    uint32_t largest = 0;

    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t id = column_id(c, i);
        largest = id > largest ? id : largest;
    }
    return largest;
}

void column_number(const struct column *c, struct column_numbers *out)
{
    uint32_t slots = SUBJECT_SLOT(largest_id(c)) + 1, n = 0;
    uint32_t *number_of = mem_zalloc(slots * sizeof(*number_of));

    /* First the ids by slot, then their numbers. */
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t id = column_id(c, i);
        n += number_of[SUBJECT_SLOT(id)] == 0;
        number_of[SUBJECT_SLOT(id)] = id;
    }
    *out = (struct column_numbers){.number_of = number_of,
                                   .ids = mem_array((size_t) n + 1, sizeof(*out->ids))};
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (number_of[slot] == 0)
            continue;
        out->ids[out->n] = number_of[slot];
        number_of[slot] = out->n++;
    }
}

void column_numbers_deinit(struct column_numbers *x)
{
    mem_free(x->ids);
    mem_free(x->number_of);
    *x = (struct column_numbers){0};
}

/* ---- check ----------------------------------------------------------------------------------- */

static void check_part(const struct column_part *p)
{
    uint64_t records = 0;

    ASSERT(p->n > 0 && p->n <= COLUMN_PART && p->ndict <= DICT_MAX);
    for (uint32_t i = 0; p->ndict > 1 && i < p->ndict; i++) {
        ASSERT(i == 0 || p->dict[i] > p->dict[i - 1]);
        records += p->counts[i];
    }
    ASSERT(p->ndict <= 1 || records == p->n);
    for (uint32_t i = 1; p->ndict == 0 && i < p->n; i++) {
        uint32_t a = p->ids[p->order[i - 1]], b = p->ids[p->order[i]];
        ASSERT(a < b || (a == b && p->order[i - 1] < p->order[i]));
    }
}

void column_check(const struct column *c)
{
    for (uint32_t i = 0; c->packed && i < nparts(c); i++)
        check_part(&c->parts[i]);
}
