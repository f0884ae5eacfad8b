/*
 * restore_rig.h - backups and restores over a raw connection: takes one, sends one in chunks, and
 * makes what no server would have made, entry by entry.
 */
#ifndef TESTS_RESTORE_RIG_H
#define TESTS_RESTORE_RIG_H

#include "lib/base/buf.h"
#include "tests/lib/js_rig.h"

/* Takes a snapshot of S (`more`: fields of the request), acknowledging each chunk; it must end with
 * this status. */
void backup(struct js_rig *r, const char *more, const char *status, struct buf *out);
/* A request whose body may hold any bytes; its answer, which the caller frees. */
char *ask_bytes(struct raw_client *c, const char *subject, struct str body);
/* Begins to restore S with these fields of its configuration: the subject that chunks go to. */
void restore_begin(struct raw_client *c, const char *config, char subject[256]);
/* False: it was refused. */
bool restore_is_begun(struct raw_client *c, const char *config, char subject[256]);
/* Sends all in chunks of `step` bytes; the last answer, which the caller frees. */
char *restore_send(struct raw_client *c, const char *subject, struct str bytes, size_t step);
/* Both. */
char *restore(struct raw_client *c, const char *config, struct str bytes, size_t step);
/* The answer, freed, contains this. */
void expect(char *answer, const char *want);

/* ---- made by hand: an archive (server/js/archive.h) not framed yet */

/* The magic, and state.json with these numbers. */
void archive_begin(struct buf *b, unsigned first, unsigned last, unsigned consumers);
void archive_consumer(struct buf *b, const char *name, const char *json);
/* header: whole lines with their ends, or NULL. */
void archive_message(struct buf *b, unsigned seq, int64_t time, const char *subject,
                     const char *header, struct str payload);
void archive_end(struct buf *b);
/* As S2 chunks, packed. */
void archive_frame(struct buf *plain, struct buf *out);

#endif
