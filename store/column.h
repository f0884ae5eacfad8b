/*
 * column.h - what the records of a segment are, without reading them: subject id and size of each,
 * by ordinal.
 *
 * Records are numbered from 0 in the order of their sequences; skipped sequences take no place.
 * While its segment is active a column is wide: 8 bytes a record in blocks of 8192, written by
 * store_append. When the segment is sealed it is packed: ids become indexes into a sorted
 * dictionary of 0, 1, 2 or 4 bytes (0: the segment has one subject), sizes 0, 2 or 4 bytes. A
 * million messages of 256 subjects and one size cost 1 MB then. With these columns removals,
 * limits, counts and filtered scans never read the disk.
 *
 * Packing (column_pack) only reads the wide form, so that it may run on a work thread.
 */
#ifndef STORE_COLUMN_H
#define STORE_COLUMN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { COLUMN_BLOCK = 8192 };

/* One record. */
struct column_item {
    uint32_t id;   /* subject */
    uint32_t size; /* what the message counts for (store_msg_bytes) */
};

struct column {
    uint32_t n;
    bool packed;
    /* Wide. */
    struct column_item **blocks;
    uint32_t nblocks;
    /* Packed. */
    uint8_t id_width, size_width;
    uint32_t one_size; /* size_width 0 */
    uint32_t ndict;
    uint32_t *dict; /* ids, ascending */
    uint8_t *ids, *sizes;
};

void column_deinit(struct column *c);
/* Makes room for record n (wide form). */
void column_grow(struct column *c);

static inline void column_add(struct column *c, uint32_t id, uint32_t size)
{
    if (__builtin_expect(c->n == c->nblocks * COLUMN_BLOCK, 0))
        column_grow(c);
    c->blocks[c->n / COLUMN_BLOCK][c->n % COLUMN_BLOCK] = (struct column_item){id, size};
    c->n++;
}

static inline uint32_t column_load(const uint8_t *p, uint8_t width, uint32_t i)
{
    uint16_t half;
    uint32_t word;

    switch (width) {
    case 0:
        return 0;
    case 1:
        return p[i];
    case 2:
        memcpy(&half, p + (size_t) i * 2, 2);
        return half;
    default:
        memcpy(&word, p + (size_t) i * 4, 4);
        return word;
    }
}

static inline uint32_t column_id(const struct column *c, uint32_t i)
{
    if (!c->packed)
        return c->blocks[i / COLUMN_BLOCK][i % COLUMN_BLOCK].id;
    return c->dict[column_load(c->ids, c->id_width, i)];
}

static inline uint32_t column_size(const struct column *c, uint32_t i)
{
    if (!c->packed)
        return c->blocks[i / COLUMN_BLOCK][i % COLUMN_BLOCK].size;
    return c->size_width == 0 ? c->one_size : column_load(c->sizes, c->size_width, i);
}

/* Can the column hold this id at all? (packed: binary search; wide: always maybe) */
bool column_may_have(const struct column *c, uint32_t id);
/* Fills *out with the packed form of a wide column. */
void column_pack(const struct column *wide, struct column *out);
/* Bytes of memory it holds. */
uint64_t column_bytes(const struct column *c);

#endif
