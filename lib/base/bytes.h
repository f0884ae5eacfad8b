/* bytes.h - little-endian loads and stores at any alignment, and rounding. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the on-disk format is written for little-endian machines; add byte swaps here first"
#endif

#define BYTES_GET(type, name)                                                                      \
    static inline type name(const void *p)                                                         \
    {                                                                                              \
        type v;                                                                                    \
        memcpy(&v, p, sizeof(v));                                                                  \
        return v;                                                                                  \
    }
#define BYTES_PUT(type, name)                                                                      \
    static inline void name(void *p, type v)                                                       \
    {                                                                                              \
        memcpy(p, &v, sizeof(v));                                                                  \
    }

BYTES_GET(uint16_t, get_u16)
BYTES_GET(uint32_t, get_u32)
BYTES_GET(uint64_t, get_u64)
BYTES_PUT(uint16_t, put_u16)
BYTES_PUT(uint32_t, put_u32)
BYTES_PUT(uint64_t, put_u64)

/* Up to a multiple of `to`, a power of two. */
static inline uint64_t round_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) & ~(to - 1);
}

#endif
