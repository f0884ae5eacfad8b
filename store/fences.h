/*
 * fences.h - finding one subject in a footer's SUBJECTS without reading all of it.
 *
 * SECTION_FENCES cuts SUBJECTS into blocks of about a page, each beginning at a restart point, and
 * has for each where it begins, its checksum and its first subject. Who keeps the fences in memory
 * (about 20 bytes for each page) finds a subject with one read of one block. Byte layout:
 * docs/internals/store-format.md. Pure code.
 */
#ifndef STORE_FENCES_H
#define STORE_FENCES_H

#include "store/segment_format.h"

/* A block ends at the first restart point behind so many bytes. */
#define FENCES_BLOCK 4096u

/* Appends the section for this SUBJECTS. False: it is one block, and nothing was appended. */
bool fences_build(struct str subjects, uint32_t salt, struct buf *out);

struct fences {
    struct str section; /* a view */
    uint32_t n;
    uint64_t subjects; /* bytes of SUBJECTS */
};
/* A section whose checksum was verified, for SUBJECTS of so many bytes. ERR_CORRUPT. */
enum err fences_open(struct str section, uint64_t subjects, struct fences *out);

struct fence {
    uint64_t offset; /* in SUBJECTS */
    uint32_t bytes, crc;
};
/* The block that has the subject if any has; false when none can. */
bool fences_find(const struct fences *f, struct str subject, struct fence *out);
/* Does the checksum of the block that was read verify? */
bool fence_verify(const struct fence *fence, struct str block, uint32_t salt);

#endif
