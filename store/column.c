/* column.c - see column.h. */
#include "store/column.h"

#include "lib/base/assert.h"
#include "lib/base/mem.h"

#include <stdlib.h>

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

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *) a, y = *(const uint32_t *) b;
    return x < y ? -1 : x > y;
}

/* The distinct ids in ascending order, and index_of[id] = place in it. */
static uint32_t *make_dictionary(const struct column *c, uint32_t *ndict, uint32_t **index_of)
{
    uint32_t max = 0, n = 0, cap = 16;
    uint32_t *dict = mem_array(cap, sizeof(*dict));

    for (uint32_t i = 0; i < c->n; i++)
        if (column_id(c, i) > max)
            max = column_id(c, i);
    uint32_t *place = mem_zalloc(((size_t) max + 1) * sizeof(*place));
    for (uint32_t i = 0; i < c->n; i++) {
        uint32_t id = column_id(c, i);
        if (place[id] != 0)
            continue;
        place[id] = 1;
        if (n == cap)
            dict = mem_realloc(dict, (cap *= 2) * sizeof(*dict));
        dict[n++] = id;
    }
    qsort(dict, n, sizeof(*dict), by_number);
    for (uint32_t i = 0; i < n; i++)
        place[dict[i]] = i;
    *ndict = n;
    *index_of = place;
    return dict;
}

static void store_width(uint8_t *p, uint8_t width, uint32_t i, uint32_t value)
{
    uint16_t half = (uint16_t) value;

    if (width == 1)
        p[i] = (uint8_t) value;
    else if (width == 2)
        memcpy(p + (size_t) i * 2, &half, 2);
    else if (width == 4)
        memcpy(p + (size_t) i * 4, &value, 4);
}

void column_pack(const struct column *wide, struct column *out)
{
    uint32_t *index_of, max_size = 0;
    bool one_size = true;

    *out = (struct column){.n = wide->n, .packed = true};
    if (wide->n == 0)
        return;
    out->dict = make_dictionary(wide, &out->ndict, &index_of);
    out->one_size = column_size(wide, 0);
    for (uint32_t i = 0; i < wide->n; i++) {
        uint32_t size = column_size(wide, i);
        one_size = one_size && size == out->one_size;
        if (size > max_size)
            max_size = size;
    }
    out->id_width = out->ndict == 1 ? 0 : out->ndict <= 256 ? 1 : out->ndict <= 65536 ? 2 : 4;
    out->size_width = one_size ? 0 : max_size <= UINT16_MAX ? 2 : 4;
    if (out->id_width != 0)
        out->ids = mem_array(wide->n, out->id_width);
    if (out->size_width != 0)
        out->sizes = mem_array(wide->n, out->size_width);
    for (uint32_t i = 0; i < wide->n; i++) {
        store_width(out->ids, out->id_width, i, index_of[column_id(wide, i)]);
        store_width(out->sizes, out->size_width, i, column_size(wide, i));
    }
    mem_free(index_of);
}
