/* kafka_bytes.h - big-endian loads and stores at any alignment, and appending: Kafka's byte order.
 */
#ifndef WIRE_KAFKA_BYTES_H
#define WIRE_KAFKA_BYTES_H

#include "lib/base/buf.h"

#include <stdint.h>
#include <string.h>

static inline uint16_t kafka_get_u16(const void *p)
{
    uint16_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t kafka_get_u32(const void *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t kafka_get_u64(const void *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void kafka_put_u16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void kafka_put_u32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void kafka_put_u64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

static inline void kafka_append_u16(struct buf *b, uint16_t v)
{
    kafka_put_u16(buf_reserve(b, 2), v);
    b->n += 2;
}

static inline void kafka_append_u32(struct buf *b, uint32_t v)
{
    kafka_put_u32(buf_reserve(b, 4), v);
    b->n += 4;
}

static inline void kafka_append_u64(struct buf *b, uint64_t v)
{
    kafka_put_u64(buf_reserve(b, 8), v);
    b->n += 8;
}

#endif
