/*
 * digits.h - decimal digits eight at a time in one machine word, for the hot lines of this folder.
 *
 * A word holds eight digit values, the first digit in the lowest byte, as a load from text gives it
 * after the '0' of each byte is taken away. lib/base/fmt.h is for everybody else: these want room
 * to overshoot.
 */
#ifndef WIRE_DIGITS_H
#define WIRE_DIGITS_H

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

#define DIGITS_ZEROS UINT64_C(0x3030303030303030)

/* Value of eight digits: sums neighbours in three steps, digits to pairs, pairs to fours, fours to
 * eight. */
static inline uint64_t digits_value(uint64_t word)
{
    word = word * 10 + (word >> 8);
    return ((word & 0x000000ff000000ffu) * (100 + (UINT64_C(1000000) << 32)) +
            ((word >> 16) & 0x000000ff000000ffu) * (1 + (UINT64_C(10000) << 32))) >>
           32;
}

/* True when a byte of the word is no digit value: 10 and more carry into the top bit. */
static inline bool digits_bad(uint64_t word)
{
    return ((word | (word + UINT64_C(0x7676767676767676))) & UINT64_C(0x8080808080808080)) != 0;
}

/* The word of v < 10^8, the same three steps backwards. 10486 / 2^20 is 1 / 100 for fours, 103 /
 * 2^10 is 1 / 10 for pairs. */
static inline uint64_t digits_word(uint32_t v)
{
    uint64_t fours = v / 10000 | (uint64_t) (v % 10000) << 32;
    uint64_t high = ((fours * 10486) >> 20) & UINT64_C(0x0000007f0000007f);
    uint64_t pairs = high | (fours - 100 * high) << 16;
    uint64_t tens = ((pairs * 103) >> 10) & UINT64_C(0x000f000f000f000f);
    return tens | (pairs - 10 * tens) << 8;
}

/* Writes v < 10^8 without leading zeros; stores 8 bytes whatever the length. Returns the length. */
static inline unsigned digits_put_short(char *out, uint32_t v)
{
    uint64_t word = digits_word(v);
    unsigned zeros = word == 0 ? 7 : (unsigned) __builtin_ctzll(word) / 8;
    put_u64(out, (word | DIGITS_ZEROS) >> (8 * zeros));
    return 8 - zeros;
}

/* Writes v >= 10^8. */
static inline unsigned digits_put_long(char *out, uint64_t v)
{
    const uint64_t base = 100000000;
    uint64_t top = v / base;
    unsigned n;
    if (top < base) {
        n = digits_put_short(out, (uint32_t) top);
    } else {
        n = digits_put_short(out, (uint32_t) (top / base));
        put_u64(out + n, digits_word((uint32_t) (top % base)) | DIGITS_ZEROS);
        n += 8;
    }
    put_u64(out + n, digits_word((uint32_t) (v % base)) | DIGITS_ZEROS);
    return n + 8;
}

/* Writes v; stores at most max(length, 8) bytes. Returns the length. */
static inline __attribute__((always_inline)) unsigned digits_put(char *out, uint64_t v)
{
    if (v < 10) {
        *out = (char) ('0' + v);
        return 1;
    }
    return v < 100000000 ? digits_put_short(out, (uint32_t) v) : digits_put_long(out, v);
}

/* The word of the n <= 8 digits that end at `end`, with zeros in front. */
static inline uint64_t digits_load(const char *end, size_t n)
{
    unsigned shift = (unsigned) (64 - 8 * n) & 63;
    return (get_u64(end - 8) ^ DIGITS_ZEROS) >> shift << shift;
}

/* digits_read for n > 8. */
static inline bool digits_read_long(const char *end, size_t n, uint64_t *out)
{
    const uint64_t base = 100000000;
    uint64_t top = n > 16 ? digits_load(end - 16, n - 16) : 0;
    uint64_t mid = digits_load(end - 8, n > 16 ? 8 : n - 8), low = digits_load(end, 8);
    if (n > 20 || digits_bad(top) || digits_bad(mid) || digits_bad(low))
        return false;
    uint64_t high = digits_value(top) * base + digits_value(mid);
    uint64_t tail = digits_value(low);
    *out = high * base + tail;
    return n < 20 || high <= (UINT64_MAX - tail) / base;
}

/* The n digits that end at `end` as a number. The 7 bytes before the digits must be readable,
 * whatever they are. False when n is 0 or above 20, when a byte is no digit, or when the number
 * does not fit. */
static inline __attribute__((always_inline)) bool digits_read(const char *end, size_t n,
                                                              uint64_t *out)
{
    if (n > 8)
        return digits_read_long(end, n, out);
    if (n == 1) {
        *out = (unsigned char) end[-1] - (uint64_t) '0';
        return *out <= 9;
    }
    uint64_t word = digits_load(end, n);
    *out = digits_value(word);
    return n != 0 && !digits_bad(word);
}

#endif
