/*
 * kafka_pack.h - compresses the records of a batch: gzip, snappy (Java's framing), lz4 frames of
 * independent blocks, zstd; each as every client reads it.
 *
 * Needed only when a batch is made anew from one that was compressed. Pure, but for the libraries'
 * own allocations, which are freed before returning.
 */
#ifndef WIRE_KAFKA_PACK_H
#define WIRE_KAFKA_PACK_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/wire/kafka_batch.h"

/* in, compressed, behind what out holds. ERR_NO_MEMORY; ERR_UNSUPPORTED for an unknown codec;
 * ERR_TOO_LARGE above 1 GiB. */
enum err kafka_compress(enum kafka_codec codec, struct str in, struct buf *out);

/* A whole, uncompressed batch (kafka_builder_finish), with its records compressed, behind what out
 * holds: other attributes, length and sum, all else the same. Errors as above; ERR_CORRUPT when it
 * is no batch. */
enum err kafka_batch_pack(struct str batch, enum kafka_codec codec, struct buf *out);

#endif
