/*
 * segment_format.h - a segment file around its batches: header page, and the footer of a sealed
 * one. Byte layout: docs/internals/store-format.md.
 *
 *     header page 4 KiB | batches ... | (4 KiB boundary) sections | section table | trailer 64 B,
 * end of file
 *
 * A sealed segment is described by its footer alone: start-up reads no batch of it. Sections have a
 * type, a version and a checksum each; an absent section means "not indexed", an empty one "there
 * are none". Pure code.
 */
#ifndef STORE_SEGMENT_FORMAT_H
#define STORE_SEGMENT_FORMAT_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/str.h"
#include "store/batch.h"
#include "store/superblock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SEGMENT_HEADER = 4096,
    SEGMENT_PAGE = 4096, /* the first byte written after a sync starts on such a boundary */
    SEGMENT_NAME = 255,
    SEGMENT_TRAILER = 64,
};

/* ---- header page --------------------------------------------------------------------------- */

struct segment_header {
    uint32_t version;
    struct store_features features;
    uint8_t store[16], stream[16];
    uint64_t number;     /* within the stream, from 1; never reused */
    uint32_t generation; /* 0; rewriting counts up */
    uint32_t covers;     /* rewritten: it stands for so many numbers behind its own, too */
    uint32_t salt;
    uint32_t key_id;     /* 0 = not encrypted */
    uint64_t base_seq;   /* first sequence that may be in it: the stream's last was base_seq - 1 */
    uint64_t file_bytes; /* as allocated */
    int64_t created;     /* unix ns */
    int64_t last_time;   /* stream time when it was created: of the message base_seq - 1 */
    uint8_t name_len;
    char name[SEGMENT_NAME + 1]; /* the stream's, for people; cut to fit */
    uint64_t object;             /* the stream's; 0 = without a copy of its record */
    struct str copy; /* stream_record_encode_copy, sealed in an encrypted segment; decoded: in the
                        page's bytes */
};

/* Most bytes of a copy, sealed. */
enum { SEGMENT_COPY = 3696 };

/* Fills in salt and version itself. A copy that is too large is left out. */
void segment_header_encode(struct segment_header *h, uint8_t out[SEGMENT_HEADER]);
/* ERR_CORRUPT, ERR_VERSION (why explains, as superblock_decode's). */
enum err segment_header_decode(const uint8_t bytes[SEGMENT_HEADER], struct segment_header *out,
                               char why[160]);

/* ---- batch index --------------------------------------------------------------------------- */

/* One batch of a segment: entry of the footer's index, of the index in memory, and result of a
 * scan. */
struct segment_batch {
    uint64_t first_seq;
    uint64_t offset; /* in the file */
    uint32_t bytes;  /* whole batch with padding */
    uint32_t span;
    uint32_t count; /* records, damaged ones included */
    uint16_t flags; /* BATCH_* */
    uint8_t kind, codec;
    int64_t min_time, max_time;
};
/* In the file: the same fields in this order, 48 bytes. */
enum { SEGMENT_BATCH = 48 };

void segment_batch_of(const struct batch_header *h, uint64_t offset, struct segment_batch *out);

/* ---- footer -------------------------------------------------------------------------------- */

enum segment_section {
    SECTION_SUMMARY = 1,
    SECTION_BATCHES = 2,
    SECTION_SUBJECTS = 3,
    SECTION_SIZES = 4,     /* what each message counts for in state.bytes */
    SECTION_TIMED = 5,     /* sequences with TTL or schedule: not written yet */
    SECTION_IDS = 6,       /* message id hashes: not written yet */
    SECTION_PRODUCERS = 7, /* last batches of Kafka producers: not written yet */
    SECTION_FENCES = 8,    /* where in SUBJECTS a subject is (fences.h) */
    SECTION_MAX = 8,
};

struct segment_summary {
    uint64_t base_seq;
    uint64_t next_seq;          /* last sequence covered + 1; = base_seq when there is no batch */
    uint64_t msgs;              /* records that were readable and not removed when it was sealed */
    uint64_t bytes;             /* sum of their sizes (store_msg_bytes) */
    int64_t min_time, max_time; /* over all batches; 0 when none */
    uint64_t data_end;          /* file offset behind the last batch */
    uint64_t batches;
    uint64_t subjects;
    uint32_t flags; /* SEGMENT_CUT */
};
enum { SEGMENT_CUT = 1 /* a torn tail lies behind data_end */ };

/* A message of the segment. */
struct segment_message {
    uint32_t delta;   /* sequence - base_seq */
    uint32_t subject; /* index into the caller's array of subjects */
    uint32_t bytes;   /* store_msg_bytes, not 0 */
};

struct footer_input {
    struct segment_header header; /* the segment's; salt and base_seq are used */
    const struct segment_batch *batches;
    size_t nbatches;
    /* The messages that exist, ascending: an array, or else a function that gives up to max more,
     * from the first again with `restart`, and 0 at the end. It is walked twice. */
    const struct segment_message *messages;
    size_t nmessages;
    size_t (*next)(void *ctx, bool restart, struct segment_message *out, size_t max);
    void *ctx;
    uint64_t next_seq;          /* last sequence covered + 1; less than base_seq + 2^32 */
    const struct str *subjects; /* in any order, without duplicates; unused ones are left out */
    size_t nsubjects;
    uint64_t data_end;      /* behind the last batch (torn tail not included) */
    uint64_t footer_offset; /* multiple of SEGMENT_PAGE, >= data_end: where the result is to be
                               written */
    uint32_t flags;
    /* NULL, or the segment's key: what speaks of subjects is sealed then. */
    const struct crypt_file *crypt;
    struct crypt_nonces *nonces;
};
/* Appends the whole footer, trailer included: written at footer_offset, the file truncated behind
 * it, then synced, it makes the segment sealed. Linear apart from sorting the subjects; for
 * io_work. ERR_NO_MEMORY. */
enum err footer_build(const struct footer_input *in, struct buf *out);

struct segment_trailer {
    uint64_t footer_offset, footer_bytes; /* from footer_offset to the end of the file */
    uint64_t table_offset;                /* in the file */
    uint64_t incompat;
    uint32_t sections;
    uint32_t table_crc;
    uint32_t flags; /* as the summary's */
};
/* The last SEGMENT_TRAILER bytes of the file. ERR_NOT_FOUND: no magic, so not sealed. ERR_CORRUPT:
 * magic but damaged or of another file. ERR_VERSION. */
enum err segment_trailer_decode(const uint8_t bytes[SEGMENT_TRAILER], uint64_t file_bytes,
                                uint32_t salt, struct segment_trailer *out);

/* A parsed footer: views into the caller's bytes. */
struct footer {
    struct segment_summary summary;
    struct str section[SECTION_MAX + 1]; /* p == NULL: absent */
};
/* `bytes` are the file's from trailer.footer_offset to its end. Checks every checksum and every
 * bound that the functions below rely on. ERR_CORRUPT, ERR_VERSION. */
enum err footer_open(const uint8_t *bytes, size_t n, uint64_t file_bytes, uint32_t salt,
                     struct footer *out);
/* The same for one with sealed sections, which are opened into room (and room lives as long as
 * *out). ERR_CORRUPT: also when they do not open. */
enum err footer_open_sealed(const uint8_t *bytes, size_t n, uint64_t file_bytes, uint32_t salt,
                            const struct crypt_file *crypt, struct buf *room, struct footer *out);

/* Entry i < summary.batches. */
void footer_batch(const struct footer *f, uint64_t i, struct segment_batch *out);
/* The batch that covers seq, or the first after it; false when there is none. */
bool footer_batch_find(const struct footer *f, uint64_t seq, uint64_t *i);

/* Walks the subjects in byte order; the sequences of one are read by footer_run_next. The same code
 * reads the runs that a recovery scan made (struct str runs = SECTION_SUBJECTS). */
struct subject_iter {
    struct str left; /* what is still to be read */
    uint64_t base_seq;
    struct buf subject; /* current subject, prefix restored; free with subject_iter_deinit */
    uint64_t msgs;      /* number of sequences of the current one */
    struct str run;     /* their deltas */
    uint64_t at;        /* last sequence returned by run_next; 0 = none */
    uint64_t distance;  /* from the one before */
    uint64_t repeat;    /* so many more at that distance */
};
void subject_iter_init(struct subject_iter *it, struct str section, uint64_t base_seq);
bool subject_iter_next(struct subject_iter *it);
bool subject_run_next(struct subject_iter *it, uint64_t *seq);
void subject_iter_deinit(struct subject_iter *it);
/* Positions on one subject by binary search over the restart points; false when it does not occur.
 */
bool subject_iter_find(struct subject_iter *it, struct str section, uint64_t base_seq,
                       struct str subject);

/* The same in a part of the section that begins at a restart point and ends with an entry. */
bool subject_iter_find_in(struct subject_iter *it, struct str entries, uint64_t base_seq,
                          struct str subject);

/* Positions on one subject after the other, in ascending order: what lies between two of them costs
 * a look at a few restart points. The section's sum was checked, nothing else. */
struct subject_walk {
    struct subject_iter it;
    struct str section;
    uint32_t restart; /* the iterator is behind this restart point */
    bool stands;      /* on a subject that is not below the last one that was asked for */
};
void subject_walk_init(struct subject_walk *w, struct str section, uint64_t base_seq);
/* false: it does not occur; else subject_run_next(&w->it) gives its sequences. */
bool subject_walk_find(struct subject_walk *w, struct str subject);
void subject_walk_deinit(struct subject_walk *w);

/* Walks SECTION_SIZES: the messages in order of sequence. */
struct size_iter {
    struct str left;
    uint64_t seq;  /* of the next element */
    uint64_t size; /* of the last message */
    uint64_t repeat;
};
void size_iter_init(struct size_iter *it, struct str section, uint64_t base_seq);
bool size_iter_next(struct size_iter *it, uint64_t *seq, uint32_t *bytes);

/* Two sections and the summary alone, appended as footer_build writes them. ERR_NO_MEMORY. */
enum err footer_build_index(const struct footer_input *in, struct buf *subjects, struct buf *sizes,
                            struct segment_summary *summary);

/* ---- names --------------------------------------------------------------------------------- */

/* "<number>.seg" with 10 digits at least; of a rewritten one "<number>-<generation>.seg". */
void segment_name(char out[48], uint64_t number, uint32_t generation);
bool segment_name_parse(const char *name, uint64_t *number, uint32_t *generation);
/* The name of one that is being rewritten: it ends in ".new" instead. */
#define SEGMENT_UNFINISHED ".new"
bool segment_name_unfinished(const char *name);

#endif
