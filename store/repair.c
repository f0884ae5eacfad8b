/*
 * With the reflected polynomial, appending a zero byte to a message maps its sum c to step(c) = (c
 * >> 8) ^ T[c & 255], and a message that is all zero but for its last byte e has the sum T[e]
 * (start 0). So damage e in the byte with k bytes behind it changes the sum by step^k(T[e]). We run
 * backwards: the difference is taken through the inverse of step until it is some T[e]. T[e]'s high
 * byte is different for every e, which gives both the inverse of step and the test.
 */
#include "store/repair.h"

/* What a disk writes whole or not at all. */
#define SECTOR 512u
#define POLYNOMIAL 0x82f63b78u

static uint32_t table_entry(uint32_t e)
{
    for (unsigned bit = 0; bit < 8; bit++)
        e = (e >> 1) ^ ((e & 1) != 0 ? POLYNOMIAL : 0);
    return e;
}

bool repair_find_byte(uint32_t difference, size_t n, size_t *at, uint8_t *pattern)
{
    uint32_t table[256];
    uint8_t by_high[256];

    for (unsigned e = 0; e < 256; e++) {
        table[e] = table_entry(e);
        by_high[table[e] >> 24] = (uint8_t) e;
    }
    for (size_t k = 0; k < n; k++) {
        uint8_t e = by_high[difference >> 24];
        if (difference == table[e]) {
            *at = n - 1 - k;
            *pattern = e;
            return e != 0;
        }
        difference = (difference ^ table[e]) << 8 | e;
    }
    return false;
}

bool repair_sector_empty(const uint8_t *bytes, size_t n, uint64_t offset, size_t at)
{
    uint64_t sector = (offset + at) & ~(uint64_t) (SECTOR - 1);
    size_t from = sector > offset ? (size_t) (sector - offset) : 0;
    size_t end = sector + SECTOR - offset < n ? (size_t) (sector + SECTOR - offset) : n;

    for (size_t i = from; i < end; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool repair_in_sum(uint32_t difference)
{
    for (unsigned byte = 0; byte < 4; byte++)
        if ((difference & ~(0xffu << (8 * byte))) == 0)
            return true;
    return false;
}
