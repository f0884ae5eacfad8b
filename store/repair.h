/*
 * repair.h - finds the one damaged byte that explains a wrong CRC-32C.
 *
 * CRC is linear: the difference between the sum that is stored and the sum of what is there depends
 * only on the position and the pattern of the damage. One wrong byte in n is found in n steps.
 *
 * Random damage to n bytes looks like one wrong byte with a chance of n / 2^24. So it is used where
 * a damaged byte would otherwise cost many messages, and something else confirms the result
 * (headers and tables: the checksum of each record), or where the alternative is to lose an
 * object's record. Never on messages.
 *
 * A write that the power cut tore is random damage, too, and much likelier than decay. So where
 * nothing proves that a record was ever whole, one wrong byte is believed in up to REPAIR_DOUBTFUL
 * bytes only.
 */
#ifndef STORE_REPAIR_H
#define STORE_REPAIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPAIR_DOUBTFUL 256u

/* difference = stored ^ computed over n bytes, not 0. True: bytes[*at] ^= *pattern makes them
 * agree. */
bool repair_find_byte(uint32_t difference, size_t n, size_t *at, uint8_t *pattern);
/* Is all zero in the sector of the disk that holds byte `at`? bytes: n of them, from this offset of
 * the file. Then the sector may never have been written. */
bool repair_sector_empty(const uint8_t *bytes, size_t n, uint64_t offset, size_t at);
/* Is the damage in the stored sum itself: one of its own four bytes? */
bool repair_in_sum(uint32_t difference);

#endif
