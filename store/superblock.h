/*
 * superblock.h - store.meta: what this directory is and who may open it. Format:
 * docs/internals/store-format.md.
 *
 * Also the feature bits that every file of a store carries, and the two file identities from which
 * salts are made. Pure: bytes in, verdict out.
 *
 * Feature bits come in three sets. A program that does not know a bit of `incompat` must not touch
 * the file; of `readonly`: it may read but not write; of `compat`: it may do as if the bit were not
 * there.
 */
#ifndef STORE_SUPERBLOCK_H
#define STORE_SUPERBLOCK_H

#include "lib/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STORE_FORMAT_VERSION 1u

struct store_features {
    uint64_t incompat, readonly, compat;
};
/* Bits of incompat. */
#define STORE_COMPRESSED 1u /* batches whose body is not plain */
#define STORE_ENCRYPTED 2u
#define STORE_KAFKA 4u     /* Kafka batches may be in its segments */
#define STORE_REWRITTEN 8u /* segments of a generation above 0 */
#define STORE_TRIMMED 16u  /* Kafka batches without some of their messages */
/* What this program knows. */
#define STORE_KNOWN_INCOMPAT                                                                       \
    ((uint64_t) (STORE_COMPRESSED | STORE_ENCRYPTED | STORE_KAFKA | STORE_REWRITTEN |              \
                 STORE_TRIMMED))
#define STORE_KNOWN_READONLY 0u
#define STORE_KNOWN_COMPAT 0u

enum { SUPERBLOCK_BYTES = 128, SUPERBLOCK_WRITER = 40 };

struct superblock {
    uint32_t version;
    struct store_features features;
    uint8_t uuid[16];
    int64_t created;                /* unix ns */
    char writer[SUPERBLOCK_WRITER]; /* NUL-terminated, "midge 0.1.0": for messages only */
};

void superblock_encode(const struct superblock *sb, uint8_t out[SUPERBLOCK_BYTES]);
/* ERR_CORRUPT (not ours, cut off, damaged) or ERR_VERSION (newer, or unknown feature bits); then
 * `why` says it in words for the operator, without the file name: "format 2, written by midge 2.0;
 * this program reads format 1". On ERR_VERSION out is filled as far as it is understood. */
enum err superblock_decode(const void *bytes, size_t n, struct superblock *out, char why[160]);

/* The same check for any file's version and features. */
enum err store_features_check(uint32_t version, const struct store_features *f, char why[160]);

/* Salts seed every checksum of a file. They are derived from the file's identity, so that a
 * recycled file's old contents never verify, and so that a damaged header page does not take the
 * contents with it. */
uint32_t store_salt_segment(const uint8_t store[16], const uint8_t stream[16], uint64_t number,
                            uint32_t generation);
uint32_t store_salt_log(const uint8_t store[16], uint64_t generation, uint32_t worker,
                        uint64_t number);
/* Of a twin of log files (twin.c). */
uint32_t store_salt_twin(const uint8_t store[16], uint64_t generation, uint32_t worker,
                         uint64_t number);

/* "%02x" x 16 and a NUL; decode takes exactly 32 lower-case digits. */
void store_uuid_text(const uint8_t uuid[16], char out[33]);
bool store_uuid_parse(const char *text, size_t n, uint8_t out[16]);

#endif
