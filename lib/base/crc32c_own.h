/*
 * crc32c_own.h - CRC-32C without ISA-L, for builds that have none (a single static binary); what
 * callers use is crc32c.h. The chaining and the meaning of seeds are as there.
 */
#ifndef BASE_CRC32C_OWN_H
#define BASE_CRC32C_OWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The fastest of the two below that this processor has. */
uint32_t crc32c_own(uint32_t seed, const void *data, size_t n);

/* Any processor: a byte a step. */
uint32_t crc32c_by_table(uint32_t seed, const void *data, size_t n);

/* x86 with SSE 4.2 and PCLMULQDQ only. */
bool crc32c_has_instruction(void);
uint32_t crc32c_by_instruction(uint32_t seed, const void *data, size_t n);

#endif
