/* column.c - see column.h. */
#include "store/column.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <string.h>

void column_deinit(struct column *c)
{
    for (uint32_t i = 0; i < c->nblocks; i++)
        mem_free(c->blocks[i]);
    mem_free(c->blocks);
    mem_free(c->dict);
    mem_free(c->ids);
    mem_free(c->sizes);
    *c = (struct column){0};
}

void column_grow(struct column *c)
{
    ASSERT(!c->packed);
    c->blocks = mem_realloc(c->blocks, (c->nblocks + 1) * sizeof(*c->blocks));
    c->blocks[c->nblocks++] = mem_array(COLUMN_BLOCK, sizeof(**c->blocks));
}

bool column_may_have(const struct column *c, uint32_t id)
{
    uint32_t low = 0, high = c->ndict;

    if (!c->packed)
        return true;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;
        if (c->dict[mid] < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < c->ndict && c->dict[low] == id;
}

uint64_t column_bytes(const struct column *c)
{
    if (!c->packed)
        return (uint64_t) c->nblocks * COLUMN_BLOCK * sizeof(struct column_item);
    return (uint64_t) c->n * (c->id_width + c->size_width) + (uint64_t) c->ndict * 4;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* What the wide form holds, in one pass. */
struct survey {
    uint32_t max_id, max_size;
    bool one_size;
};

static struct survey look_over(const struct column *c)
{
    struct survey v = {.one_size = true};
    uint32_t first = c->blocks[0][0].size, differs = 0;

    for (uint32_t b = 0, left = c->n; left > 0; b++) {
        uint32_t n = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;
        for (uint32_t i = 0; i < n; i++) {
            const struct column_item *item = &c->blocks[b][i];
            v.max_id = item->id > v.max_id ? item->id : v.max_id;
            v.max_size = item->size > v.max_size ? item->size : v.max_size;
            differs |= item->size ^ first;
        }
        left -= n;
    }
    v.one_size = differs == 0;
    return v;
}

/* The distinct ids in ascending order, and place[id] = index in it. */
static uint32_t *make_dictionary(const struct column *c, uint32_t max_id, uint32_t *ndict,
                                 uint32_t **place_of)
{
    uint32_t *place = mem_zalloc(((size_t) max_id + 1) * sizeof(*place)), *dict, n = 0;

    for (uint32_t b = 0, left = c->n; left > 0; b++) {
        uint32_t k = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;
        for (uint32_t i = 0; i < k; i++)
            place[c->blocks[b][i].id] = 1;
        left -= k;
    }
    for (uint32_t id = 0; id <= max_id; id++)
        n += place[id];
    dict = mem_array((size_t) n + 1, sizeof(*dict));
    n = 0;
    for (uint32_t id = 0; id <= max_id; id++) {
        if (place[id] == 0)
            continue;
        place[id] = n;
        dict[n++] = id;
    }
    *ndict = n;
    *place_of = place;
    return dict;
}

/* One loop per width: this runs over every record that was ever stored. */
#define PACK_LOOP(type, bytes, value)                                                              \
    for (uint32_t b = 0, left = wide->n; left > 0; b++) {                                          \
        uint32_t n = left < COLUMN_BLOCK ? left : COLUMN_BLOCK;                                    \
        for (uint32_t i = 0; i < n; i++) {                                                         \
            type v = (type) (value);                                                               \
            memcpy((bytes) + ((size_t) b * COLUMN_BLOCK + i) * sizeof(v), &v, sizeof(v));          \
        }                                                                                          \
        left -= n;                                                                                 \
    }

static void pack_ids(const struct column *wide, struct column *out, const uint32_t *place)
{
    if (out->id_width != 0)
        out->ids = mem_array(wide->n, out->id_width);
    if (out->id_width == 1) {
        PACK_LOOP(uint8_t, out->ids, place[wide->blocks[b][i].id])
    } else if (out->id_width == 2) {
        PACK_LOOP(uint16_t, out->ids, place[wide->blocks[b][i].id])
    } else if (out->id_width == 4) {
        PACK_LOOP(uint32_t, out->ids, place[wide->blocks[b][i].id])
    }
}

static void pack_sizes(const struct column *wide, struct column *out)
{
    if (out->size_width != 0)
        out->sizes = mem_array(wide->n, out->size_width);
    if (out->size_width == 2) {
        PACK_LOOP(uint16_t, out->sizes, wide->blocks[b][i].size)
    } else if (out->size_width == 4) {
        PACK_LOOP(uint32_t, out->sizes, wide->blocks[b][i].size)
    }
}

void column_pack(const struct column *wide, struct column *out)
{
    struct survey v;
    uint32_t *place;

    *out = (struct column){.n = wide->n, .packed = true};
    if (wide->n == 0)
        return;
    v = look_over(wide);
    out->dict = make_dictionary(wide, v.max_id, &out->ndict, &place);
    out->one_size = wide->blocks[0][0].size;
    out->id_width = out->ndict == 1 ? 0 : out->ndict <= 256 ? 1 : out->ndict <= 65536 ? 2 : 4;
    out->size_width = v.one_size ? 0 : v.max_size <= UINT16_MAX ? 2 : 4;
    pack_ids(wide, out, place);
    pack_sizes(wide, out);
    mem_free(place);
}
