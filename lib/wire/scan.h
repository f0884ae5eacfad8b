/*
 * scan.h - where bytes of interest are: one bit per byte, 16 or 32 bytes at a time.
 *
 * The portable forms say the same as the SSE2 ones (a test compares them) and serve other machines.
 */
#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H

#include <stdint.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define SCAN_STOPS_WIDTH 32u
#define SCAN_EQUAL_WIDTH 16u

static inline uint32_t scan_stops_portable(const char *p)
{
    uint32_t stops = 0;
    for (unsigned i = 0; i < SCAN_STOPS_WIDTH; i++)
        stops |= (uint32_t) ((unsigned char) p[i] <= ' ') << i;
    return stops;
}

static inline uint32_t scan_equal_portable(const char *p, char c)
{
    uint32_t equal = 0;
    for (unsigned i = 0; i < SCAN_EQUAL_WIDTH; i++)
        equal |= (uint32_t) (p[i] == c) << i;
    return equal;
}

#ifdef __SSE2__
static inline uint32_t scan_stops_16(const char *p)
{
    const __m128i blank = _mm_set1_epi8(' ');
    __m128i bytes = _mm_loadu_si128((const __m128i *) p);
    return (uint32_t) _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(bytes, blank), bytes));
}
#endif

/* Bit i is set when p[i] <= ' ': blank, tab, CR and LF, which end tokens of a control line, are all
 * in that range, and one unsigned comparison finds them together. Other control bytes are hits too.
 * Reads 32 bytes; 64 at a time made a PUB of 20 bytes of line 2 ns slower. */
static inline uint32_t scan_stops(const char *p)
{
#ifdef __SSE2__
    return scan_stops_16(p) | scan_stops_16(p + 16) << 16;
#else
    return scan_stops_portable(p);
#endif
}

/* Bit i is set when p[i] == c. Reads 16 bytes. */
static inline uint32_t scan_equal(const char *p, char c)
{
#ifdef __SSE2__
    __m128i bytes = _mm_loadu_si128((const __m128i *) p);
    return (uint32_t) _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(c)));
#else
    return scan_equal_portable(p, c);
#endif
}

#endif
