/*
 * xoshiro256** by Blackman and Vigna, seeded through splitmix64 so that no seed leaves the state
 * all zero.
 */
#include "lib/base/prng.h"

#include <string.h>

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, unsigned by)
{
    return (x << by) | (x >> (64 - by));
}

void prng_init(struct prng *p, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        p->s[i] = splitmix(&seed);
}

uint64_t prng_u64(struct prng *p)
{
    uint64_t *s = p->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t prng_below(struct prng *p, uint64_t n)
{
    /* The high word of a 64x64 product is uniform once the low words that would favour small
     * results, those below 2^64 mod n, are drawn again. */
    __extension__ unsigned __int128 m = (unsigned __int128) prng_u64(p) * n;

    if ((uint64_t) m < n) {
        uint64_t reject_below = (0 - n) % n;
        while ((uint64_t) m < reject_below)
            m = (unsigned __int128) prng_u64(p) * n;
    }
    return (uint64_t) (m >> 64);
}

void prng_fill(struct prng *p, void *out, size_t n)
{
    unsigned char *to = out;

    while (n > 0) {
        uint64_t v = prng_u64(p);
        size_t step = n < sizeof(v) ? n : sizeof(v);
        memcpy(to, &v, step);
        to += step;
        n -= step;
    }
}
