/*
 * kafka_set.h - message sets: what records were before record batches. Magic 0 (up to Kafka 0.9)
 * and 1 (up to 0.10).
 *
 *     at  0 i64 offset    8 i32 bytes that follow    12 u32 crc-32 of all behind it
 *        16 i8 magic     17 i8 attributes            18 i64 time, ms (magic 1 only)
 *        then i32 length (-1 null) and key, i32 length (-1 null) and value
 *
 * All big-endian. Attributes: codec in the lowest 3 bits (gzip, snappy, lz4), 8 = append time.
 * With a codec the value is a message set, compressed, and the rest of the message its wrapper;
 * one in another is malformed.
 *
 * Pure.
 */
#ifndef WIRE_KAFKA_SET_H
#define WIRE_KAFKA_SET_H

#include "lib/base/buf.h"
#include "lib/base/str.h"
#include "lib/wire/kafka_batch.h"

#include <stdint.h>

/* Most messages of a set that is converted. */
#define KAFKA_SET_MESSAGES_MAX (1u << 18)

/* All of a producer's message set as one record batch with offsets 0, 1, 2 ..., behind what out
 * holds: keys, values, times (magic 0: -1, none), and compressed as its last wrapper was. Faults:
 * KAFKA_BATCH_SHORT, _CRC, _MAGIC_BAD (also a record batch among them), _CODEC_BAD (also lz4 in
 * magic 0, whose frames have a wrong sum), _TIME_TYPE, _RECORD_BAD (a set that can not be
 * decompressed, one inside of one, memory is short), _COUNT (none, or too many). Nothing is
 * appended then. */
enum kafka_batch_fault kafka_set_convert(struct str set, struct buf *out);

/* Bytes of a record as a message; headers are left out. */
size_t kafka_set_bytes(int magic, const struct kafka_record *r);
/* Appends it, uncompressed. magic: 0 or 1. */
void kafka_set_put(struct buf *out, int magic, const struct kafka_record *r);

#endif
