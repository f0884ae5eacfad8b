/*
 * hdr.h - a histogram of latencies (or of any 64-bit quantity) with a fixed relative error.
 *
 * Every power of two is cut into 128 buckets of equal width, values below 256 have a bucket each:
 * what hdr_percentile answers is never below the recorded value and less than 1/128 (0.8 %) above
 * it, from 1 ns to 584 years, in 58 KiB. Recording is a count of leading zeros and an increment
 * (2 to 3 ns). Zero-initialised is empty. One owner thread; give others a copy, or merge.
 */
#ifndef BASE_HDR_H
#define BASE_HDR_H

#include <stdint.h>

#define HDR_SUB_BITS 7
#define HDR_SUB (1u << HDR_SUB_BITS)
#define HDR_BUCKETS ((64 - HDR_SUB_BITS + 1) * HDR_SUB)

struct hdr {
    uint64_t count;
    uint64_t sum; /* stays at UINT64_MAX once it would pass it */
    uint64_t min; /* undefined while count is 0 */
    uint64_t max;
    uint64_t buckets[HDR_BUCKETS];
};

/* The top HDR_SUB_BITS + 1 bits of v, and by how much they were shifted, as one contiguous number.
 */
static inline unsigned hdr_bucket_of(uint64_t v)
{
    unsigned shift = 63 - HDR_SUB_BITS - (unsigned) __builtin_clzll(v | (HDR_SUB - 1) | HDR_SUB);
    return shift * HDR_SUB + (unsigned) (v >> shift);
}

static inline void hdr_record_n(struct hdr *h, uint64_t v, uint64_t n)
{
    uint64_t product;

    if (n == 0)
        return;
    if (h->count == 0 || v < h->min)
        h->min = v;
    if (v > h->max)
        h->max = v;
    h->count += n;
    if (__builtin_mul_overflow(v, n, &product) || __builtin_add_overflow(h->sum, product, &h->sum))
        h->sum = UINT64_MAX;
    h->buckets[hdr_bucket_of(v)] += n;
}

static inline void hdr_record(struct hdr *h, uint64_t v)
{
    hdr_record_n(h, v, 1);
}

void hdr_clear(struct hdr *h);
/* Adds what `from` has recorded. */
void hdr_merge(struct hdr *into, const struct hdr *from);
/* The smallest recorded value (with the error above) that `percent` of all values do not exceed:
 * 50, 99.9, 99.999; 100 is the exact maximum. 0 when nothing was recorded. */
uint64_t hdr_percentile(const struct hdr *h, double percent);
/* Exact but for rounding; 0 when nothing was recorded. */
double hdr_mean(const struct hdr *h);
/* Largest value that falls into a bucket, for those who print the whole distribution. */
uint64_t hdr_bucket_max(unsigned bucket);
void hdr_check(const struct hdr *h);

#endif
