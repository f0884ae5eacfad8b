/* test_hdr.c - the histogram against the sorted values themselves; bucket borders; merging. */
#include "lib/base/hdr.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "tests/lib/runner.h"

#include <stdlib.h>
#include <string.h>

/* A value's bucket ends at or behind it, by less than 1/128 of it, and the bucket before ends
 * before it. */
static void check_bucket(uint64_t v)
{
    unsigned bucket = hdr_bucket_of(v);
    uint64_t max = hdr_bucket_max(bucket);

    MUST(bucket < HDR_BUCKETS);
    MUST(max >= v && (max - v) <= v / 128);
    MUST(hdr_bucket_of(max) == bucket);
    if (bucket > 0)
        MUST(hdr_bucket_max(bucket - 1) < v);
    if (max < UINT64_MAX)
        MUST(hdr_bucket_of(max + 1) == bucket + 1);
}

TEST(buckets_are_narrow_and_contiguous)
{
    struct prng r;

    prng_init(&r, 1);
    for (uint64_t v = 0; v < 100000; v++)
        check_bucket(v);
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t d = 0; d < 3; d++) {
            check_bucket(((uint64_t) 1 << bit) + d);
            check_bucket(((uint64_t) 1 << bit) - d);
        }
    }
    for (int k = 0; k < 100000; k++)
        check_bucket(prng_u64(&r) >> prng_below(&r, 64));
    check_bucket(UINT64_MAX);
    ck_assert_uint_eq(hdr_bucket_of(UINT64_MAX), HDR_BUCKETS - 1);
    for (unsigned b = 0; b + 1 < HDR_BUCKETS; b++)
        MUST(hdr_bucket_of(hdr_bucket_max(b) + 1) == b + 1);
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;
    return (x > y) - (x < y);
}

#define VALUES 20000

TEST(percentiles_of_sorted_values)
{
    /* In thousandths of a per cent. */
    static const uint64_t percents[] = {1, 1000, 25000, 50000, 90000, 99000, 99900, 99990, 99999};
    struct hdr *h = mem_zalloc(sizeof(*h));
    uint64_t *values = mem_array(VALUES, sizeof(*values)), sum = 0;
    struct prng r;
    size_t n = (size_t[]){1, 2, 10, 1000, VALUES}[i];

    prng_init(&r, (uint64_t) i);
    for (size_t k = 0; k < n; k++) {
        values[k] = prng_u64(&r) >> (20 + prng_below(&r, 40));
        sum += values[k];
        hdr_record(h, values[k]);
    }
    hdr_check(h);
    qsort(values, n, sizeof(*values), by_value);
    ck_assert_uint_eq(h->count, n);
    ck_assert_uint_eq(h->min, values[0]);
    ck_assert_uint_eq(h->max, values[n - 1]);
    ck_assert_double_eq_tol(hdr_mean(h) / ((double) sum / (double) n), 1.0, 1e-9);
    ck_assert_uint_eq(hdr_percentile(h, 100), values[n - 1]);
    ck_assert_uint_eq(hdr_percentile(h, 101), values[n - 1]);
    for (size_t k = 0; k < sizeof(percents) / sizeof(percents[0]); k++) {
        size_t rank = (n * percents[k] + 99999) / 100000;
        uint64_t want = values[rank > 0 ? rank - 1 : 0];
        uint64_t got = hdr_percentile(h, (double) percents[k] / 1000);
        ck_assert(got >= want && got - want <= want / 128);
    }
    uint64_t lowest = hdr_percentile(h, 0);
    ck_assert(lowest >= values[0] && lowest - values[0] <= values[0] / 128);
    mem_free(values);
    mem_free(h);
}

TEST(is_exact_where_it_can_be)
{
    struct hdr *h = mem_zalloc(sizeof(*h));

    ck_assert_uint_eq(hdr_percentile(h, 50), 0);
    ck_assert_double_eq(hdr_mean(h), 0);
    hdr_check(h);
    /* 1 to 100: the percentile is its number, and 99.9 % of 1000 is 999, not 1000. */
    for (uint64_t v = 1; v <= 100; v++)
        hdr_record_n(h, v, 10);
    for (unsigned p = 1; p <= 100; p++)
        ck_assert_uint_eq(hdr_percentile(h, p), p);
    hdr_record_n(h, 7, 0);
    ck_assert_uint_eq(h->count, 1000);
    hdr_clear(h);
    hdr_record_n(h, 10, 999);
    hdr_record(h, 200);
    ck_assert_uint_eq(hdr_percentile(h, 99.9), 10);
    ck_assert_uint_eq(hdr_percentile(h, 99.91), 200);
    mem_free(h);
}

TEST(merge_is_recording_both)
{
    struct hdr *a = mem_zalloc(sizeof(*a)), *b = mem_zalloc(sizeof(*b)),
               *both = mem_zalloc(sizeof(*both));
    struct prng r;

    prng_init(&r, 4);
    hdr_merge(a, b);
    ck_assert_uint_eq(a->count, 0);
    for (int k = 0; k < 10000; k++) {
        uint64_t v = prng_u64(&r) >> (10 + prng_below(&r, 50));
        hdr_record(k % 3 ? a : b, v);
        hdr_record(both, v);
    }
    hdr_merge(a, b);
    hdr_check(a);
    ck_assert_int_eq(memcmp(a, both, sizeof(*a)), 0);
    hdr_clear(b);
    hdr_merge(b, both);
    ck_assert_int_eq(memcmp(b, both, sizeof(*b)), 0);
    mem_free(a);
    mem_free(b);
    mem_free(both);
}

TEST(sum_does_not_wrap)
{
    struct hdr *h = mem_zalloc(sizeof(*h)), *other = mem_zalloc(sizeof(*other));

    hdr_record(h, UINT64_MAX);
    hdr_record(h, 1);
    ck_assert(h->sum == UINT64_MAX);
    hdr_record(h, 1);
    ck_assert(h->sum == UINT64_MAX);
    hdr_record_n(other, UINT64_MAX / 2, 3);
    ck_assert(other->sum == UINT64_MAX);
    hdr_merge(other, h);
    ck_assert(other->sum == UINT64_MAX && other->count == 6 && other->max == UINT64_MAX);
    hdr_check(other);
    ck_assert(hdr_percentile(other, 100) == UINT64_MAX);
    mem_free(h);
    mem_free(other);
}

static const struct runner_case cases[] = {
    RUN(buckets_are_narrow_and_contiguous),
    RUN_LOOP(percentiles_of_sorted_values, 0, 5),
    RUN(is_exact_where_it_can_be),
    RUN(merge_is_recording_both),
    RUN(sum_does_not_wrap),
};

RUNNER_MAIN("base/hdr", cases)
