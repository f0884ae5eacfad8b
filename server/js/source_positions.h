/*
 * source_positions.h - how far a stream has taken from each of its sources; pure.
 *
 * The answer lies in the messages (Nats-Stream-Source), but messages may be removed and a stream
 * may be large: so a store object below the stream keeps it too. Its records, full or delta, are
 *
 *     u64 through, then entries to the end:
 *     u64 sequence in the origin, u32 n, index name (n bytes), u32 n, identity of the origin
 *
 * little-endian. A record says: messages of this stream up to `through` have been accounted for.
 * What came behind (a crash before the last delta was written) is found in the messages themselves.
 * Entries of sources that are not configured any more are kept: a source that returns goes on where
 * it was.
 */
#ifndef JS_SOURCE_POSITIONS_H
#define JS_SOURCE_POSITIONS_H

#include "lib/base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_position {
    char *name;     /* index name, source_config.h */
    char *identity; /* "" = not known */
    uint64_t sseq;
};

struct source_positions {
    uint64_t through;
    struct source_position *items; /* in the order of their first appearance */
    size_t n;
};

void source_positions_free(struct source_positions *p);
const struct source_position *source_positions_find(const struct source_positions *p,
                                                    struct str name);
void source_positions_set(struct source_positions *p, struct str name, struct str identity,
                          uint64_t sseq);
/* A full record. */
void source_positions_put(const struct source_positions *p, struct buf *out);
/* One entry, for a delta that begins with source_positions_put_through. */
void source_positions_put_through(struct buf *out, uint64_t through);
void source_positions_put_entry(struct buf *out, struct str name, struct str identity,
                                uint64_t sseq);
/* Takes over a record, full or delta. False (and nothing changed) when it is malformed. */
bool source_positions_apply(struct source_positions *p, struct str record);

/* ---- the header ------------------------------------------------------------------------------
 *
 * Nats-Stream-Source: <origin> <sequence> <filters> <destinations> <original subject>[ <identity>]
 */

struct source_mark {
    struct str origin, filters, destinations; /* the three parts of the index name */
    uint64_t sseq;
    struct str identity; /* n == 0: none */
};
/* False when the value is not of this form. Views into value. */
bool source_mark_parse(struct str value, struct source_mark *out);
/* Is it of the source with this index name? */
bool source_mark_is(const struct source_mark *m, struct str name);
/* The value for a message; name: index name. */
void source_mark_put(struct buf *out, struct str name, uint64_t sseq, struct str subject,
                     struct str identity);
/* The header block of a message that came from upstream, into an empty buffer: without
 * Nats-Expected-* and Nats-Batch-*; with `value`, without the Nats-Stream-Source it had and with
 * this one. The result may be empty. False: the block can stay as it is (out untouched). */
bool source_header_make(struct buf *out, struct str block, struct str value);

#endif
