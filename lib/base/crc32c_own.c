/*
 * crc32c_own.c - see crc32c_own.h.
 *
 * The instruction takes 8 bytes and has a latency of three cycles and a throughput of one: three
 * sums that do not wait for each other run side by side, over three neighbouring blocks of LANE
 * bytes, and are joined. To join them, the sum of what comes first must be taken over as many zeros
 * as follow, which is a multiplication by x^(8 * bytes) modulo the polynomial. A carry-less product
 * of two bit-reversed sums stands one place too low, and the instruction's own step over the 64
 * bits of it multiplies by x^32: that is why the factors below are x^(8 * bytes - 33).
 */
#include "lib/base/crc32c_own.h"

#include <string.h>
#ifdef __x86_64__
#include <immintrin.h>
#endif

/* ---- any processor --------------------------------------------------------------------------- */

/* What four steps make of the sum's lowest four bits, by the polynomial 0x82f63b78 (reversed). */
static const uint32_t by_nibble[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t crc32c_by_table(uint32_t seed, const void *data, size_t n)
{
    const uint8_t *at = data;

    for (size_t i = 0; i < n; i++) {
        seed ^= at[i];
        seed = seed >> 4 ^ by_nibble[seed & 15];
        seed = seed >> 4 ^ by_nibble[seed & 15];
    }
    return seed;
}

/* ---- the instruction ------------------------------------------------------------------------- */

#ifdef __x86_64__

#define LANE 256u
#define OVER_ONE 0xb9e02b86u /* x^(8 * LANE - 33) */
#define OVER_TWO 0xdd7e3b0cu /* x^(8 * 2 * LANE - 33) */

#define INSTRUCTION __attribute__((target("sse4.2,pclmul")))

bool crc32c_has_instruction(void)
{
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

INSTRUCTION static inline uint64_t times(uint64_t sum, uint32_t factor)
{
    return (uint64_t) _mm_cvtsi128_si64(_mm_clmulepi64_si128(
        _mm_cvtsi64_si128((int64_t) sum), _mm_cvtsi64_si128((int64_t) factor), 0));
}

/* Three lanes at once. */
INSTRUCTION static uint32_t sum_lanes(uint32_t seed, const uint8_t *at)
{
    uint64_t a = seed, b = 0, c = 0;

    for (size_t i = 0; i < LANE; i += 8) {
        a = _mm_crc32_u64(a, word_at(at + i));
        b = _mm_crc32_u64(b, word_at(at + LANE + i));
        c = _mm_crc32_u64(c, word_at(at + 2 * (size_t) LANE + i));
    }
    return (uint32_t) (_mm_crc32_u64(0, times(a, OVER_TWO) ^ times(b, OVER_ONE)) ^ c);
}

INSTRUCTION uint32_t crc32c_by_instruction(uint32_t seed, const void *data, size_t n)
{
    const uint8_t *at = data;
    uint64_t sum;

    for (; n >= 3 * (size_t) LANE; at += 3 * (size_t) LANE, n -= 3 * (size_t) LANE)
        seed = sum_lanes(seed, at);
    sum = seed;
    for (; n >= 8; at += 8, n -= 8)
        sum = _mm_crc32_u64(sum, word_at(at));
    for (; n > 0; at++, n--)
        sum = _mm_crc32_u8((uint32_t) sum, *at);
    return (uint32_t) sum;
}

#else

bool crc32c_has_instruction(void)
{
    return false;
}

uint32_t crc32c_by_instruction(uint32_t seed, const void *data, size_t n)
{
    return crc32c_by_table(seed, data, n);
}

#endif

uint32_t crc32c_own(uint32_t seed, const void *data, size_t n)
{
    return crc32c_has_instruction() ? crc32c_by_instruction(seed, data, n)
                                    : crc32c_by_table(seed, data, n);
}
