/*
 * crc32c.h - CRC-32C (Castagnoli) by ISA-L: 4 ns for 128 bytes, 1 us for 64 KiB. Where a build has
 * no ISA-L (configure --without-isal), by crc32c_own.h.
 *
 * crc32c(seed, ...) can be chained: crc32c(crc32c(seed, a), b) == crc32c(seed, ab). Seed 0 gives
 * the plain (non-inverted start) CRC used in our files with the segment's salt as seed;
 * crc32c_kafka gives the standard one (start and result inverted) that Kafka and iSCSI test vectors
 * use.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t seed, const void *data, size_t n);
uint32_t crc32c_kafka(const void *data, size_t n);

#endif
