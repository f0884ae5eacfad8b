/* kafka.c - see kafka.h. */
#include "tests/sim/kafka.h"

#include "lib/base/assert.h"
#include "lib/base/bytes.h"

void kafka_put(struct buf *batch, uint32_t i, struct str header, struct str payload)
{
    uint8_t head[12];

    put_u32(head, i);
    put_u32(head + 4, (uint32_t) header.n);
    put_u32(head + 8, (uint32_t) payload.n);
    buf_put(batch, head, sizeof(head));
    buf_put(batch, header.p, header.n);
    buf_put(batch, payload.p, payload.n);
}

struct record {
    uint32_t i;
    struct str header, payload, all;
};

/* A batch that the store gives back is whole: it has sums. */
static bool next(struct str batch, size_t *at, struct record *r)
{
    const char *p = batch.p + *at;

    if (*at == batch.n)
        return false;
    ASSERT(batch.n - *at >= 12);
    r->i = get_u32(p);
    r->header = str_from(p + 12, get_u32(p + 4));
    r->payload = str_from(p + 12 + r->header.n, get_u32(p + 8));
    r->all = str_from(p, 12 + r->header.n + r->payload.n);
    ASSERT(batch.n - *at >= r->all.n);
    *at += r->all.n;
    return true;
}

bool kafka_decode(struct str subject, struct str batch, uint64_t first_seq, uint32_t messages,
                  store_kafka_put_fn put, void *to)
{
    size_t at = KAFKA_HEAD;
    struct record r;

    (void) subject;
    (void) first_seq;
    while (next(batch, &at, &r)) {
        ASSERT(r.i < messages);
        if (!put(to, r.i, r.header, r.payload))
            return false;
    }
    return true;
}

enum err kafka_trim(struct str batch, uint32_t messages, const uint64_t *keep, struct buf *out)
{
    size_t at = KAFKA_HEAD;
    struct record r;

    buf_put(out, batch.p, KAFKA_HEAD);
    while (next(batch, &at, &r)) {
        ASSERT(r.i < messages);
        if ((keep[r.i / 64] >> (r.i % 64) & 1) != 0)
            buf_put(out, r.all.p, r.all.n);
    }
    return ERR_OK;
}
