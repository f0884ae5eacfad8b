#include "lib/base/crc32c.h"

#ifdef HAVE_ISAL

#include <isa-l/crc.h>

/* The library counts in int. */
#define STEP_MAX ((size_t) 1 << 30)

uint32_t crc32c(uint32_t seed, const void *data, size_t n)
{
    /* The library's prototype lacks a const; it only reads. */
    union {
        const void *ours;
        unsigned char *theirs;
    } at = {.ours = data};

    while (n > STEP_MAX) {
        seed = crc32_iscsi(at.theirs, (int) STEP_MAX, seed);
        at.theirs += STEP_MAX;
        n -= STEP_MAX;
    }
    return n != 0 ? crc32_iscsi(at.theirs, (int) n, seed) : seed;
}

#else

#include "lib/base/crc32c_own.h"

uint32_t crc32c(uint32_t seed, const void *data, size_t n)
{
    return crc32c_own(seed, data, n);
}

#endif

uint32_t crc32c_kafka(const void *data, size_t n)
{
    return ~crc32c(UINT32_MAX, data, n);
}
