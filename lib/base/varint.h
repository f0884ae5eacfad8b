/* varint.h - LEB128 varints (7 bits a byte, low first) and zigzag; at most 10 bytes. */
#ifndef BASE_VARINT_H
#define BASE_VARINT_H

#include "lib/base/buf.h"
#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define VARINT_MAX 10

/* Returns bytes written. */
unsigned varint_put(uint8_t *out, uint64_t v);
void varint_put_buf(struct buf *out, uint64_t v);
/* Takes one from the front of *in; false when cut off or longer than 64 bits (then *in is
 * unchanged). */
bool varint_take(struct str *in, uint64_t *v);

static inline uint64_t zigzag(int64_t v)
{
    return ((uint64_t) v << 1) ^ (uint64_t) (v >> 63);
}

static inline int64_t unzigzag(uint64_t v)
{
    return (int64_t) (v >> 1) ^ -(int64_t) (v & 1);
}

#endif
