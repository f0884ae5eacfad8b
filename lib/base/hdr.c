#include "lib/base/hdr.h"

#include "lib/base/assert.h"

#include <string.h>

void hdr_clear(struct hdr *h)
{
    memset(h, 0, sizeof(*h));
}

void hdr_merge(struct hdr *into, const struct hdr *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    if (__builtin_add_overflow(into->sum, from->sum, &into->sum))
        into->sum = UINT64_MAX;
    for (unsigned i = 0; i < HDR_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
}

uint64_t hdr_bucket_max(unsigned bucket)
{
    unsigned shift = bucket < 2 * HDR_SUB ? 0 : bucket / HDR_SUB - 1;
    uint64_t top = bucket - shift * HDR_SUB;

    /* Of the last bucket top + 1 is 2^8 and the shift 56: the wrap to 0 gives UINT64_MAX. */
    return ((top + 1) << shift) - 1;
}

#define PERCENT_UNITS                                                                              \
    10000000 /* hundred per cent; finer ones are rounded, so that 99.9 is exact                    \
              */

/* How many of count values are at or below the percentile, at least one. */
static uint64_t rank_of(uint64_t count, double percent)
{
    __extension__ unsigned __int128 product;
    uint64_t units, rank;

    if (!(percent > 0))
        return 1;
    if (percent >= 100)
        return count;
    units = (uint64_t) (percent * (PERCENT_UNITS / 100) + 0.5);
    product = (unsigned __int128) count * units;
    rank = (uint64_t) ((product + PERCENT_UNITS - 1) / PERCENT_UNITS);
    return rank > 0 ? rank : 1;
}

uint64_t hdr_percentile(const struct hdr *h, double percent)
{
    uint64_t rank = rank_of(h->count, percent), seen = 0;

    if (h->count == 0)
        return 0;
    for (unsigned i = 0; i < HDR_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank) {
            uint64_t v = hdr_bucket_max(i);
            return v < h->max ? v : h->max;
        }
    }
    return h->max;
}

double hdr_mean(const struct hdr *h)
{
    return h->count != 0 ? (double) h->sum / (double) h->count : 0;
}

void hdr_check(const struct hdr *h)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < HDR_BUCKETS; i++)
        count += h->buckets[i];
    ASSERT(count == h->count);
    if (count != 0) {
        ASSERT(h->min <= h->max);
        ASSERT(h->buckets[hdr_bucket_of(h->min)] > 0 && h->buckets[hdr_bucket_of(h->max)] > 0);
    }
}
