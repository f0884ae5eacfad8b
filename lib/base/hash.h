/*
 * hash.h - a fast seeded hash of short byte strings, for tables in memory only (never stored).
 *
 * Eight bytes a step through a 64x64->128 multiply; a 10-byte subject costs about 2 ns. The seed
 * comes from the process's random source (from the simulator's seed in simulation), so that clients
 * can not choose colliding subjects.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t hash_mix(uint64_t a, uint64_t b)
{
    __extension__ unsigned __int128 m = (unsigned __int128) a * b;
    return (uint64_t) m ^ (uint64_t) (m >> 64);
}

static inline uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    const unsigned char *p = (const unsigned char *) data;
    uint64_t h = seed ^ (n * 0x9e3779b97f4a7c15u);
    uint64_t a, b = 0;

    for (; n > 8; p += 8, n -= 8) {
        memcpy(&a, p, 8);
        h = hash_mix(h ^ a, 0xe7037ed1a0b428dbu);
    }
    if (n >= 4) {
        uint32_t lo, hi;
        memcpy(&lo, p, 4);
        memcpy(&hi, p + n - 4, 4);
        b = ((uint64_t) hi << 32) | lo;
    } else if (n > 0) {
        b = ((uint64_t) p[0] << 16) | ((uint64_t) p[n >> 1] << 8) | p[n - 1];
    }
    return hash_mix(h ^ b, 0x8ebc6af09c88c6e3u);
}

#endif
