/*
 * kafka_compress.h - the records of a compressed batch, decompressed: gzip, snappy (raw blocks and
 * Java's framing), lz4 frames, zstd.
 *
 * Needed only when somebody has to look into a batch: a NATS reader, a compacted topic, a mask.
 * What comes out is bounded; memory grows with what was really produced and never by a length that
 * a client wrote. Pure, but for zlib's, lz4's and zstd's own allocations, which are freed before
 * returning.
 */
#ifndef WIRE_KAFKA_COMPRESS_H
#define WIRE_KAFKA_COMPRESS_H

#include "lib/base/err.h"
#include "lib/base/str.h"
#include "lib/wire/kafka_batch.h"

#include <stddef.h>
#include <stdint.h>

/* Most that a batch may be when decompressed. */
#define KAFKA_PLAIN_MAX (64u << 20)

/* Bytes that grow; zero-initialised is empty. */
struct kafka_room {
    uint8_t *p;
    size_t n, cap;
};
void kafka_room_free(struct kafka_room *r);

/* in, decompressed, replaces what out holds; at most bound bytes. For KAFKA_PLAIN a copy.
 * ERR_CORRUPT; ERR_TOO_LARGE; ERR_NO_MEMORY; ERR_UNSUPPORTED for a codec that is not known, or a
 * zstd window above 32 MiB. */
enum err kafka_decompress(enum kafka_codec codec, struct str in, size_t bound,
                          struct kafka_room *out);

/* The records of b: a view of its own bytes when it is not compressed, else of room. */
enum err kafka_batch_records(const struct kafka_batch *b, size_t bound, struct kafka_room *room,
                             struct str *records);

#endif
