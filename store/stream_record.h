/*
 * stream_record.h - what the commit log holds of a stream (an object of kind STORE_KIND_STREAM):
 * its full record and the deltas behind it. Byte layout: docs/internals/store-format.md. Pure code.
 *
 * The record says what the segments can not: options, what was removed, what was lost, which
 * sequence is proven durable. Everything refers to durable messages only, and removal is
 * idempotent, so that a record that is a little older or newer than the segments still gives a
 * correct stream; limits are applied anew after recovery.
 */
#ifndef STORE_STREAM_RECORD_H
#define STORE_STREAM_RECORD_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/base/seqset.h"
#include "lib/base/str.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream_segment {
    uint64_t number;
    uint64_t base_seq;
};

/* Owns what it holds; zero-initialised is empty; stream_record_deinit frees. */
struct stream_record {
    uint8_t uuid[16];
    enum store_level level;
    struct buf name, config;
    struct store_limits limits;
    uint64_t first_seq; /* everything below is gone (or never was): at least 1 */
    uint64_t last_seq;  /* proven durable: at or below the true last; first_seq - 1 when nothing is
                           known */
    int64_t last_ts;    /* of last_seq, 0 = unknown */
    struct seqset removed; /* at or above first_seq: interior removals, lost ones included */
    struct seqset lost;    /* to damage: part of removed while at or above first_seq */
    struct seqset erase;   /* intents: the bytes of these are to be overwritten (again), also below
                              first_seq; in memory drop what is done */
    uint64_t lost_msgs, lost_bytes;  /* ever; lost_bytes as far as known */
    struct stream_segment *segments; /* live ones, ascending */
    size_t nsegments, segments_cap;
    uint64_t next_segment; /* number that the next new segment gets; from 1 */
    /* Under a limit of applied_max messages per subject everything that it takes of the messages up
     * to applied_seq is in `removed`; 0 = not known. */
    uint64_t applied_seq, applied_max;
};

void stream_record_deinit(struct stream_record *r);
void stream_record_check(const struct stream_record *r);

/* Appends the full record. */
void stream_record_encode(const struct stream_record *r, struct buf *out);
/* Appends what says which stream it is and how it is set up (UUID, name, configuration, level,
 * limits): a record like the full one, for a segment's header page. */
void stream_record_encode_copy(const struct stream_record *r, struct buf *out);
/* Into an empty *r. ERR_CORRUPT, ERR_VERSION (a field that must be understood and is not). */
enum err stream_record_decode(struct stream_record *r, struct str full);
/* Applies one delta record: one or more of the changes below. On error *r is unchanged in what the
 * bad change says; the ones before it are applied. ERR_CORRUPT, ERR_VERSION. */
enum err stream_record_apply(struct stream_record *r, struct str delta);

/* Adds to out what the bytes of a full record or of a delta want erased, as far as they can be
 * read.
 */
void stream_record_intents(struct str record, bool full, struct seqset *out);

/* Changes to a record in memory; the same functions that stream_record_apply uses. */
void stream_record_remove(struct stream_record *r, uint64_t first, uint64_t last);
void stream_record_purge(struct stream_record *r, uint64_t first_seq); /* everything below first_seq
                                                                          goes */
void stream_record_lose(struct stream_record *r, uint64_t first, uint64_t last, uint64_t bytes);
void stream_record_durable(struct stream_record *r, uint64_t last_seq, int64_t last_ts);
void stream_record_add_segment(struct stream_record *r, uint64_t number, uint64_t base_seq);
void stream_record_release_segment(struct stream_record *r, uint64_t number);

/* Deltas: each appends one change to out; several may be put one after the other into one delta
 * record. */
void stream_delta_remove(struct buf *out, uint64_t first, uint64_t last);
void stream_delta_remove_set(struct buf *out, const struct seqset *set);
void stream_delta_purge(struct buf *out, uint64_t first_seq);
void stream_delta_limits(struct buf *out, const struct store_limits *limits);
void stream_delta_config(struct buf *out, struct str config);
/* last_seq and its time are durable: proof for recovery that a damaged tail is damage and not a
 * torn write. Cheap to add to any delta; a stream that falls idle should have one in the log. */
void stream_delta_durable(struct buf *out, uint64_t last_seq, int64_t last_ts);
void stream_delta_add_segment(struct buf *out, uint64_t number, uint64_t base_seq);
void stream_delta_release_segment(struct buf *out, uint64_t number);
/* Sequences found damaged while running; bytes as far as known. */
void stream_delta_lose(struct buf *out, uint64_t first, uint64_t last, uint64_t bytes);
void stream_delta_applied(struct buf *out, uint64_t seq, uint64_t max);
/* Erase intent: recovery overwrites this record if its bytes are still there. Also removes. */
void stream_delta_erase(struct buf *out, uint64_t seq);

#endif
