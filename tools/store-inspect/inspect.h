/*
 * inspect.h - store-inspect's parts: main.c (arguments), inspect_file.c (superblock, logs),
 * inspect_segment.c (segments), inspect_dir.c (a whole directory and what must agree between its
 * files), inspect_store.c (what a start makes of it).
 *
 * One walk serves print and verify: print says everything, verify says only what is wrong. The
 * other verbs run a start over files that change in memory only (inspect_store.c). Nothing is ever
 * written, but by a repair that is not a dry run.
 */
#ifndef TOOLS_STORE_INSPECT_INSPECT_H
#define TOOLS_STORE_INSPECT_INSPECT_H

#include "lib/io/io.h"
#include "store/recover_impl.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct inspect {
    struct io_fs *fs;
    bool print;      /* else verify */
    bool verbose;    /* records, subjects, contents of stream records */
    uint64_t damage; /* lines of it */
    uint64_t files, messages, bytes, records;
    struct buf key; /* of an encrypted store; empty = none */
};

/* A file in memory; data may be changed (overlaid, mended) there. */
struct inspect_bytes {
    uint8_t *p;
    size_t n;
};

/* To stdout when printing. */
void inspect_say(const struct inspect *in, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* "path: offset N: text", always, and counts. */
void inspect_damage(struct inspect *in, const char *path, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* False (and a line of damage) when it can not be read. */
bool inspect_load(struct inspect *in, const char *path, struct inspect_bytes *out);
void inspect_unload(struct inspect_bytes *bytes);

/* What a file is, by its first bytes or else by its name. */
enum inspect_kind { INSPECT_UNKNOWN, INSPECT_SUPERBLOCK, INSPECT_LOG, INSPECT_SEGMENT };
enum inspect_kind inspect_kind_of(const char *path, const struct inspect_bytes *bytes);

/* The store's UUID from the store.meta `levels` directories above the file; false when there is
 * none. */
bool inspect_find_uuid(struct inspect *in, const char *path, unsigned levels, uint8_t uuid[16]);

void inspect_superblock(struct inspect *in, const char *path, const struct inspect_bytes *bytes);
/* The mark of a log that is to be washed: false when the name is not one. */
bool inspect_mark(struct inspect *in, const char *path);
void inspect_log(struct inspect *in, const char *path, struct inspect_bytes *bytes);

/* What the rest of the store says about a segment; NULL members: nothing is known. */
struct inspect_context {
    const struct stream_record *record; /* of its stream */
    uint64_t durable_seq;               /* proven elsewhere */
    uint64_t base_seq, next_seq;        /* out: what the segment covers; 0 = not known */
    uint64_t proof;                     /* out: highest sequence that it proves durable */
};
void inspect_segment(struct inspect *in, const char *path, struct inspect_bytes *bytes,
                     struct inspect_context *context);

void inspect_dir(struct inspect *in, const char *path);

/* The verbs over a whole store; each returns the status of the program: 0, 1 = damage, 2 = could
 * not be done. filter NULL: all subjects. */
int inspect_streams(struct inspect *in, const char *path);
int inspect_subjects(struct inspect *in, const char *path, const char *stream, const char *filter);
int inspect_messages(struct inspect *in, const char *path, const char *stream, const char *filter,
                     uint64_t from, uint64_t to);
int inspect_repair(struct inspect *in, const char *path, bool dry);

#endif
