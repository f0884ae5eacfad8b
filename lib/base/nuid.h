/*
 * nuid.h - 22-character unique ids as NATS clients make them: 12 random base62 characters, then a
 * 10-character counter that steps by a random increment. Used for ephemeral names, advisory ids,
 * inboxes.
 */
#ifndef BASE_NUID_H
#define BASE_NUID_H

#include "lib/base/prng.h"

#include <stdint.h>

#define NUID_LEN 22

struct nuid {
    struct prng *prng;
    char prefix[12];
    uint64_t seq;
    uint64_t step;
};

void nuid_init(struct nuid *n, struct prng *prng);
/* Writes NUID_LEN characters and a NUL. */
void nuid_next(struct nuid *n, char out[NUID_LEN + 1]);

#endif
