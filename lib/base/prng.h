/*
 * prng.h - a small seeded generator (xoshiro256**), for everything that is random but not secret:
 * queue member choice, jitter, inbox names, hash seeds, simulations. Secrets come from libsodium.
 * One owner each; not thread-safe.
 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include <stddef.h>
#include <stdint.h>

struct prng {
    uint64_t s[4];
};

/* Any seed is good, also 0. */
void prng_init(struct prng *p, uint64_t seed);
uint64_t prng_u64(struct prng *p);
/* Uniform in [0, n), n > 0. */
uint64_t prng_below(struct prng *p, uint64_t n);
void prng_fill(struct prng *p, void *out, size_t n);

#endif
