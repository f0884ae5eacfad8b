/*
 * column.h - what the records of a segment are, without reading them: subject id and size of each,
 * by ordinal, and where a subject's records are.
 *
 * Records are numbered from 0 in the order of their sequences; skipped sequences take no place.
 * While its segment is active a column is wide: 8 bytes a record in blocks of 8192, written by
 * store_append. When the segment is sealed it is packed, in parts of 65536 records:
 *
 *     one subject          nothing but its id
 *     up to 256 subjects   a sorted dictionary with counts, 1 byte a record
 *     more                 the ids, 4 bytes a record, and the records sorted by id, 2 bytes each
 *
 * and sizes in 0, 2 or 4 bytes. With these columns removals, limits, counts and filtered scans
 * never read the disk. Finding a subject's records costs a binary search for each part; in a wide
 * column it is a scan of its ids, about 8 per ns.
 *
 * Packing (column_pack) only reads the wide form, so that it may run on a work thread.
 */
#ifndef STORE_COLUMN_H
#define STORE_COLUMN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { COLUMN_BLOCK = 8192, COLUMN_PART = 65536 };

struct column_block {
    uint32_t id[COLUMN_BLOCK];   /* subject */
    uint32_t size[COLUMN_BLOCK]; /* what the message counts for (store_msg_bytes) */
};

struct column_part {
    uint32_t n;
    uint32_t ndict;    /* distinct ids: 1, up to 256, or 0 = too many to list */
    uint32_t one_id;   /* ndict 1 */
    uint32_t one_size; /* size_width 0 */
    uint8_t size_width;
    uint32_t *dict;   /* ids, ascending; ndict of 2 and more */
    uint32_t *counts; /* records of each */
    uint8_t *places;  /* index in dict of each record */
    uint32_t *ids;    /* ndict 0 */
    uint16_t *order;  /* ndict 0: records by id, then by number */
    uint8_t *sizes;
};

struct column {
    uint32_t n;
    bool packed;
    struct column_block **blocks; /* wide */
    uint32_t nblocks;
    struct column_part *parts; /* packed */
};

#define COLUMN_NONE UINT32_MAX

void column_deinit(struct column *c);
/* Makes room for record n (wide form). */
void column_grow(struct column *c);

static inline void column_add(struct column *c, uint32_t id, uint32_t size)
{
    if (__builtin_expect(c->n == c->nblocks * COLUMN_BLOCK, 0))
        column_grow(c);
    struct column_block *b = c->blocks[c->n / COLUMN_BLOCK];
    b->id[c->n % COLUMN_BLOCK] = id;
    b->size[c->n % COLUMN_BLOCK] = size;
    c->n++;
}

static inline uint32_t column_part_id(const struct column_part *p, uint32_t i)
{
    return p->ndict == 0 ? p->ids[i] : p->ndict == 1 ? p->one_id : p->dict[p->places[i]];
}

static inline uint32_t column_id(const struct column *c, uint32_t i)
{
    if (!c->packed)
        return c->blocks[i / COLUMN_BLOCK]->id[i % COLUMN_BLOCK];
    return column_part_id(&c->parts[i / COLUMN_PART], i % COLUMN_PART);
}

/* The ids of the records from i on, as many (*n) as lie side by side; NULL: not as they are. */
static inline const uint32_t *column_ids(const struct column *c, uint32_t i, uint32_t *n)
{
    if (!c->packed) {
        *n = COLUMN_BLOCK - i % COLUMN_BLOCK;
        return c->blocks[i / COLUMN_BLOCK]->id + i % COLUMN_BLOCK;
    }
    const struct column_part *p = &c->parts[i / COLUMN_PART];
    *n = p->n - i % COLUMN_PART;
    return p->ndict == 0 ? p->ids + i % COLUMN_PART : NULL;
}

uint32_t column_part_size(const struct column_part *p, uint32_t i);

static inline uint32_t column_size(const struct column *c, uint32_t i)
{
    if (!c->packed)
        return c->blocks[i / COLUMN_BLOCK]->size[i % COLUMN_BLOCK];
    return column_part_size(&c->parts[i / COLUMN_PART], i % COLUMN_PART);
}

/* n records of id and size 0, in an empty wide column. */
void column_blank(struct column *c, uint32_t n);

/* First record of [from, end) with this id; COLUMN_NONE. */
uint32_t column_next(const struct column *c, uint32_t id, uint32_t from, uint32_t end);
/* Last record of [from, end) with this id; COLUMN_NONE. */
uint32_t column_prev(const struct column *c, uint32_t id, uint32_t from, uint32_t end);
/* Records of [from, end) with this id. */
uint32_t column_count(const struct column *c, uint32_t id, uint32_t from, uint32_t end);

/* Fills *out with the packed form of a wide column. */
void column_pack(const struct column *wide, struct column *out);
/* The same in steps of one part; all zero to begin with. True when *out is filled in. */
struct column_packing {
    struct column out;
    uint32_t part;
    struct column_packer *packer;
};
bool column_pack_step(const struct column *wide, struct column_packing *p, struct column *out);
/* Of one that was not finished, too. */
void column_packing_deinit(struct column_packing *p);
/* Bytes of memory it holds. */
uint64_t column_bytes(const struct column *c);
/* Asserts what the packed form promises. */
void column_check(const struct column *c);

/* Numbers the ids of a column from 0, ascending: ids[number], and by SUBJECT_SLOT the number. */
struct column_numbers {
    uint32_t *ids, *number_of;
    uint32_t n;
};
void column_number(const struct column *c, struct column_numbers *out);
void column_numbers_deinit(struct column_numbers *x);

#endif
