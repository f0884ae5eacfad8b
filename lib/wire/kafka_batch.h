/*
 * kafka_batch.h - Kafka's record batches, version 2: read, check, patch and build.
 *
 *     at  0 i64 base offset       8 i32 length (of what follows)   12 i32 leader epoch
 *        16 i8 magic = 2         17 u32 crc-32c of bytes 21..      21 i16 attributes
 *        23 i32 last offset delta 27 i64 base time                 35 i64 greatest time
 *        43 i64 producer id      51 i16 producer epoch             53 i32 base sequence
 *        57 i32 records          61 the records, compressed as a whole when a codec is set
 *
 * All big-endian; times in ms since 1970. The first 17 bytes are not summed: the broker puts its
 * base offset and leader epoch there, everything else is kept as it came.
 *
 *     record   varint length, i8 attributes, varlong time delta, varint offset delta,
 *              varint key length (-1 null), key, varint value length (-1 null), value,
 *              varint headers, { varint length, name, varint length (-1 null), value }
 *
 * Varints are zigzag. A null str has p == NULL; an empty one has not.
 *
 * Pure; views live as long as the bytes they are of.
 */
#ifndef WIRE_KAFKA_BATCH_H
#define WIRE_KAFKA_BATCH_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    KAFKA_BATCH_HEADER = 61,
    KAFKA_BATCH_MAGIC = 2,
    KAFKA_BATCH_SUMMED = 21, /* the crc begins here */
};

enum kafka_codec {
    KAFKA_PLAIN = 0,
    KAFKA_GZIP = 1,
    KAFKA_SNAPPY = 2,
    KAFKA_LZ4 = 3,
    KAFKA_ZSTD = 4,
    KAFKA_CODECS,
};

/* Of the attributes. */
enum {
    KAFKA_CODEC_MASK = 7,
    KAFKA_APPEND_TIME = 8, /* every record has the greatest time */
    KAFKA_TRANSACTIONAL = 16,
    KAFKA_CONTROL = 32,
    KAFKA_DELETE_HORIZON = 64,
};

struct kafka_batch {
    int64_t base_offset;
    uint32_t bytes; /* the whole batch */
    int32_t leader_epoch;
    uint32_t crc;
    uint16_t attributes;
    int32_t last_offset_delta;
    int64_t base_time, max_time;
    int64_t producer_id; /* -1 none */
    int16_t producer_epoch;
    int32_t base_sequence; /* -1 none */
    int32_t count;
    struct str records; /* as they are, compressed or not */
};

static inline enum kafka_codec kafka_batch_codec(const struct kafka_batch *b)
{
    return (enum kafka_codec)(b->attributes & KAFKA_CODEC_MASK);
}

/* What is wrong with a batch. The first group means that the bytes are damaged or no batch; the
 * others that a producer must not send it. */
enum kafka_batch_fault {
    KAFKA_BATCH_OK,
    KAFKA_BATCH_SHORT, /* header or length do not fit into the bytes */
    KAFKA_BATCH_OLD,   /* magic 0 or 1: a message set */
    KAFKA_BATCH_MAGIC_BAD /* magic above 2, or below 0 */,
    KAFKA_BATCH_CRC,
    KAFKA_BATCH_TRAILING,    /* more than this batch */
    KAFKA_BATCH_COUNT,       /* no records, or not as many as the last offset delta says */
    KAFKA_BATCH_CODEC_BAD,   /* unknown */
    KAFKA_BATCH_IS_CONTROL,  /* only brokers write those */
    KAFKA_BATCH_SEQUENCE,    /* a producer id without sequence or epoch */
    KAFKA_BATCH_TIME_TYPE,   /* append time is the broker's to set */
    KAFKA_BATCH_RECORD_BAD,  /* a record is malformed, or too few or many of them */
    KAFKA_BATCH_OFFSETS_BAD, /* offset deltas are not 0, 1, 2 ... */
    KAFKA_BATCH_NO_KEY,      /* a compacted topic wants one */
    KAFKA_BATCH_FAULTS,
};
/* A constant text in lower case. */
const char *kafka_batch_fault_text(enum kafka_batch_fault f);

/* The header at the front of bytes, which may hold more. Checks lengths and magic only. */
enum kafka_batch_fault kafka_batch_open(struct str bytes, struct kafka_batch *out);
/* Does the sum fit? About 0.05 ns a byte. */
bool kafka_batch_sum_ok(struct str bytes, const struct kafka_batch *b);
/* A producer's batch, which is all of bytes: everything that a broker has to refuse but what needs
 * the records. */
enum kafka_batch_fault kafka_batch_check(struct str bytes, struct kafka_batch *out);
/* What needs the (decompressed) records: that they are well formed, as many as the header says,
 * with offset deltas 0, 1, 2 ..., and, if need_keys, have keys. *record (may be NULL): the index of
 * the one at fault. */
enum kafka_batch_fault kafka_batch_check_records(const struct kafka_batch *b, struct str records,
                                                 bool need_keys, int32_t *record);
/* What the broker assigns, in place, at the front of a batch. */
void kafka_batch_patch(uint8_t *bytes, int64_t base_offset, int32_t leader_epoch);
/* Every record has this time, which the broker gave it; the sum is made anew. In place, of a whole
 * batch. */
void kafka_batch_stamp(uint8_t *bytes, int64_t time);

/* ---- records ------------------------------------------------------------------------------- */

struct kafka_record {
    int64_t time; /* ms */
    int64_t offset;
    struct str key, value; /* p == NULL: null */
    struct str headers;    /* as in the record, without their number */
    int32_t nheaders;
};

struct kafka_record_iter {
    struct str rest;
    int64_t base_offset, base_time;
    bool append_time;
    int64_t max_time;
    int32_t left;
    bool bad; /* ended because of damage */
};

/* records: those of the batch, decompressed. */
void kafka_record_iter_init(struct kafka_record_iter *it, const struct kafka_batch *b,
                            struct str records);
/* False at the end, or when what follows is malformed (then it->bad). Trailing bytes are damage. */
bool kafka_record_iter_next(struct kafka_record_iter *it, struct kafka_record *out);
/* Takes one header off *headers (name never null); false at the end. What kafka_record_iter_next
 * gave is well formed. */
bool kafka_header_next(struct str *headers, struct str *name, struct str *value);
/* Appends one header as it is in a record. */
void kafka_header_put(struct buf *out, struct str name, struct str value);

/* ---- building ------------------------------------------------------------------------------ */

/* Builds an uncompressed batch in the caller's memory. Records ascend by offset. */
struct kafka_builder {
    uint8_t *p;
    size_t cap, n;
    int64_t base_offset, last_offset;
    int64_t base_time, max_time;
    int32_t count;
};

/* cap at least KAFKA_BATCH_HEADER. */
void kafka_builder_open(struct kafka_builder *b, uint8_t *p, size_t cap, int64_t base_offset);
/* Bytes that the record takes at most, whatever its place: for choosing cap. */
size_t kafka_record_bytes_max(const struct kafka_record *r);
/* False (and nothing changed) when it does not fit, or lies more than 2^31 offsets from the base.
 */
bool kafka_builder_add(struct kafka_builder *b, const struct kafka_record *r);
/* Header and sum. `like` (may be NULL): attributes but the codec, producer, times and last offset
 * are those of this batch, of which some records are left out. Returns the bytes of the batch. */
size_t kafka_builder_finish(struct kafka_builder *b, int32_t leader_epoch,
                            const struct kafka_batch *like);

/* A batch that holds nothing for anybody and ends at offset last: every reader steps over it. It is
 * the marker of a committed transaction of nobody. */
enum { KAFKA_FILLER_BYTES = 78 + 9 };
/* first <= last; returns the bytes written, at most KAFKA_FILLER_BYTES. */
size_t kafka_batch_filler(uint8_t out[KAFKA_FILLER_BYTES], int64_t first, int64_t last,
                          int64_t time, int32_t leader_epoch);

/* The markers that end a transaction; one record. */
enum kafka_marker { KAFKA_ABORT = 0, KAFKA_COMMIT = 1 };
size_t kafka_batch_marker(uint8_t out[KAFKA_FILLER_BYTES], enum kafka_marker type, int64_t first,
                          int64_t last, int64_t time, int64_t producer_id, int16_t producer_epoch,
                          int32_t coordinator_epoch, int32_t leader_epoch);

#endif
