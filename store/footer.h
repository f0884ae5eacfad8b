/* footer.h - what footer.c, footer_build.c, footer_read.c and segment_format.c share; everybody
 * else includes segment_format.h. */
#ifndef STORE_FOOTER_H
#define STORE_FOOTER_H

#include "store/segment_format.h"

#define FOOTER_SECTION_VERSION 2u
/* In SIZES, where no message is as small. */
enum { SIZES_GAP = 0, SIZES_REPEAT = 1, SIZES_LEAST = 2 };
/* In a run, behind its first number. */
enum { RUN_REPEAT = 0 };
enum {
    FOOTER_SUMMARY = 80,
    FOOTER_TABLE_ENTRY = 32,
    FOOTER_MUST_UNDERSTAND = 1, /* flags of a section ... */
    FOOTER_SEALED = 2,          /* ... a sealed piece, authenticated with type and version */
    FOOTER_SEAL_AD = 8,         /* the first bytes of its table entry */
};

/* Where a section lies, from the footer's first byte. */
struct footer_place {
    bool there;
    uint32_t crc;
    uint64_t offset, bytes;
};
/* Reads the section table, t->sections entries; the sections themselves are not looked at. */
enum err footer_places(const uint8_t *table, const struct segment_trailer *t, uint32_t salt,
                       struct footer_place out[SECTION_MAX + 1]);
/* The two sections that a start needs, whose sums were checked; the others of *out are absent. */
enum err footer_open_head(struct str summary, struct str batches, uint64_t footer_offset,
                          struct footer *out);

void segment_trailer_encode(const struct segment_trailer *t, uint32_t salt,
                            uint8_t out[SEGMENT_TRAILER]);

/* The same for SECTION_SIZES; only the summary of f is looked at besides. */
bool footer_sizes_sound(const struct footer *f);
/* All bounds, orders and counts of SECTION_SUBJECTS, so that iterators need no checks of their own.
 */
bool subjects_sound(struct str section, const struct segment_summary *s);

#endif
