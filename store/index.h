/*
 * index.h - where the messages of given subjects are: index.c; an index that has not been read yet:
 * load*.c; lists of last messages: lasts.c. A part of store_impl.h.
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include "lib/base/str.h"
#include "store/stream.h"

#include <stdbool.h>
#include <stdint.h>

struct segment;

/* ---- the index of subjects (index.c) ---- */

/* First existing message of any of the subjects in [*from, last], while the budget lasts; or 0:
 * then *from is where to go on, behind last when it is through. */
uint64_t index_next(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                    uint64_t last, uint32_t *budget);
/* Last existing message of the subject below this sequence; 0 = none. */
uint64_t index_prev(const struct store_stream *s, uint32_t id, uint64_t below);
/* The same, above another one: behind it all records have their ids. */
uint64_t index_prev_above(const struct store_stream *s, uint32_t id, uint64_t below,
                          uint64_t above);
/* Adds to *count the existing messages of the subjects (each once in ids) in [*from, last], while
 * the budget lasts; it is through when *from is behind last. */
void index_count(struct store_stream *s, const uint32_t *ids, unsigned n, uint64_t *from,
                 uint64_t last, uint64_t *count, uint32_t *budget);
/* First existing message of a subject that has one. */
uint64_t index_first(struct store_stream *s, uint32_t id);

/* ---- an index that is not complete (load_index.c) ---- */

/* Some segments of the stream are not INDEX_HERE. */
void index_loader_start(struct store_stream *s);
void index_loader_free(struct store_stream *s);
void index_load_all(struct store_stream *s);
/* load_limits.c, while a stream is opened and has a loader: removes what the limit per subject took
 * that the record does not say. False: it has to be told from the whole index. */
bool load_limits(struct store_stream *s);
/* It is being read, and nobody needs to ask for that. */
bool index_comes(const struct store_stream *s);
/* Ids and sizes of a segment's records from its file; keeps the subjects as pending. An error when
 * the file can not be read; what is damaged has id and size 0. */
enum err index_fill_from_batches(struct store_stream *s, struct segment *seg);
/* Tells of every readable record of the segment's batches that reach behind this sequence, in
 * order.
 */
typedef void index_each_fn(void *ctx, uint64_t seq, struct str subject, uint32_t size);
enum err index_each_in_batches(struct store_stream *s, struct segment *seg, uint64_t behind,
                               index_each_fn *fn, void *ctx);
/* A message that was removed before its subject was known: its record is taken out at the end. */
void index_remove_later(struct store_stream *s, uint64_t seq);
/* The size of one of those, once; 0 = not known. And how many bytes of the stream's are theirs. */
void index_late_size(struct store_stream *s, uint64_t seq, uint32_t size);
uint64_t index_late_bytes(const struct store_stream *s);
/* Seals segments that a start has left unsealed. */
void segments_seal_full(struct store_stream *s);
/* Before looking at subjects, or at the columns of segments. Holds the worker until it is read. */
static inline void stream_need_index(struct store_stream *s)
{
    if (UNLIKELY(s->loader != NULL))
        index_load_all(s);
}

/* ---- lists of last messages (lasts.c) ---- */

void lasts_note_all(struct store_stream *s, uint32_t id);
/* Before the subject's last message becomes another one. */
static inline void lasts_note(struct store_stream *s, uint32_t id)
{
    if (UNLIKELY(!list_empty(&s->lasts)))
        lasts_note_all(s, id);
}
/* No message is left: what was not listed yet is gone. */
void lasts_end_all(struct store_stream *s);

#endif
