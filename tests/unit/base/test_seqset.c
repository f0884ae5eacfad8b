/* test_seqset.c - the sequence set against a byte map, through many blocks; encoding; the ends of
 * the number line. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/base/seqset.h"
#include "lib/base/varint.h"
#include "tests/lib/runner.h"

#include <string.h>

#define SPAN 40000

struct twin {
    struct seqset set;
    unsigned char in[SPAN];
};

static uint64_t put_all(struct twin *t, uint64_t first, uint64_t last, unsigned char to)
{
    uint64_t changed = 0;

    for (uint64_t k = first; k <= last; k++) {
        changed += t->in[k] != to;
        t->in[k] = to;
    }
    return changed;
}

static void check_questions(struct twin *t, uint64_t first, uint64_t last)
{
    uint64_t want = 0, got_first, got_last, k = first;

    for (uint64_t s = first; s <= last; s++)
        want += t->in[s];
    MUST(seqset_count_in(&t->set, first, last) == want);
    MUST(seqset_has(&t->set, first) == t->in[first]);
    while (k < SPAN && !t->in[k])
        k++;
    MUST(seqset_range_from(&t->set, first, &got_first, &got_last) == (k < SPAN));
    if (k < SPAN) {
        uint64_t low = k, high = k;
        while (low > 0 && t->in[low - 1])
            low--;
        while (high + 1 < SPAN && t->in[high + 1])
            high++;
        MUST(got_first == low);
        MUST(got_last == high);
    }
}

static void check_whole(struct twin *t)
{
    uint64_t at = 0, first, last, min = 0, max = 0, count = 0;

    seqset_check(&t->set);
    while (at < SPAN && seqset_range_from(&t->set, at, &first, &last)) {
        MUST(first >= at && last < SPAN);
        for (; at < first; at++)
            MUST(t->in[at] == 0);
        for (; at <= last; at++, count++)
            MUST(t->in[at] == 1);
        if (count == last - first + 1)
            min = first;
        max = last;
    }
    for (; at < SPAN; at++)
        MUST(t->in[at] == 0);
    MUST(count == t->set.count);
    MUST(seqset_bounds(&t->set, &first, &last) == (count > 0));
    if (count > 0)
        MUST(first == min && last == max);
}

static void check_encoding(const struct seqset *s)
{
    struct buf a = {0}, b = {0};
    struct seqset copy = {0};

    seqset_encode(s, &a);
    ck_assert(seqset_decode(&copy, buf_str(&a)));
    seqset_check(&copy);
    ck_assert(copy.count == s->count && copy.nranges == s->nranges);
    seqset_encode(&copy, &b);
    ck_assert(str_eq(buf_str(&a), buf_str(&b)));
    seqset_free(&copy);
    buf_free(&a);
    buf_free(&b);
}

/* Styles of life: how often it adds, and how long ranges are. */
static const struct {
    unsigned add_percent;
    unsigned length;
    unsigned long_length;
} styles[] = {
    {50, 1, 1},                    /* acknowledgements in any order */
    {80, 1, 1},                    /* nearly full */
    {50, 10, 1000},                /* purges */
    {30, 3, 20000}, {95, 1, 8000}, /* many single ones, swept away over many blocks */
};

TEST(agrees_with_a_map)
{
    struct twin *t = mem_zalloc(sizeof(*t));
    struct prng r;
    size_t blocks = 0;

    prng_init(&r, (uint64_t) i);
    for (int k = 0; k < 60000; k++) {
        unsigned longest = prng_below(&r, 500) == 0 ? styles[i].long_length : styles[i].length;
        uint64_t first = prng_below(&r, SPAN), last = first + prng_below(&r, longest);
        if (last >= SPAN)
            last = SPAN - 1;
        if (prng_below(&r, 100) < styles[i].add_percent && !(longest > 5000))
            MUST(seqset_add(&t->set, first, last) == put_all(t, first, last, 1));
        else
            MUST(seqset_remove(&t->set, first, last) == put_all(t, first, last, 0));
        if (k % 16 == 0)
            check_questions(t, first, last + prng_below(&r, SPAN - last));
        if (k % 499 == 0)
            check_whole(t);
        if (k % 9973 == 0)
            check_encoding(&t->set);
        if (t->set.nblocks > blocks)
            blocks = t->set.nblocks;
    }
    check_whole(t);
    check_encoding(&t->set);
    if (styles[i].length == 1)
        MUST(blocks > 10);
    seqset_free(&t->set);
    MUST(t->set.count == 0);
    mem_free(t);
}

/* Every sequence of three operations on a line of five numbers. */
TEST(every_short_history)
{
    static const struct {
        uint64_t first, last;
    } ranges[] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}, {4, 4}, {0, 1}, {1, 2}, {2, 3},
                  {3, 4}, {0, 2}, {1, 3}, {2, 4}, {0, 3}, {1, 4}, {0, 4}};
    size_t n = 2 * ARRAY_LEN(ranges);

    for (size_t k = 0; k < n * n * n * n; k++) {
        struct seqset s = {0};
        unsigned want = 0;
        for (size_t step = 0, left = k; step < 4; step++, left /= n) {
            size_t op = left % n;
            uint64_t first = ranges[op / 2].first, last = ranges[op / 2].last;
            unsigned bits = ((2u << last) - 1) & ~((1u << first) - 1);
            if (op % 2) {
                MUST(seqset_add(&s, first, last) == (__builtin_popcount(bits & ~want)));
                want |= bits;
            } else {
                MUST(seqset_remove(&s, first, last) == (__builtin_popcount(bits & want)));
                want &= ~bits;
            }
        }
        seqset_check(&s);
        for (unsigned q = 0; q < 5; q++)
            MUST(seqset_has(&s, q) == (want >> q & 1));
        seqset_free(&s);
    }
}

TEST(ends_of_the_line)
{
    const uint64_t top = UINT64_MAX - 1;
    uint64_t first, last;
    struct seqset s = {0};

    ck_assert(!seqset_bounds(&s, &first, &last));
    ck_assert(!seqset_has(&s, 0));
    ck_assert_uint_eq(seqset_remove(&s, 0, UINT64_MAX), 0);
    ck_assert_uint_eq(seqset_add(&s, top, top), 1);
    ck_assert_uint_eq(seqset_add(&s, 0, 0), 1);
    ck_assert_uint_eq(seqset_add(&s, top - 1, top), 1);
    ck_assert_uint_eq(s.nranges, 2);
    ck_assert(!seqset_range_from(&s, UINT64_MAX, &first, &last));
    ck_assert(!seqset_has(&s, UINT64_MAX));
    ck_assert_uint_eq(seqset_count_in(&s, 0, UINT64_MAX), 3);
    check_encoding(&s);
    ck_assert(seqset_add(&s, 0, top) == UINT64_MAX - 3);
    ck_assert(s.count == UINT64_MAX && s.nranges == 1);
    seqset_check(&s);
    check_encoding(&s);
    ck_assert(seqset_count_in(&s, 1, UINT64_MAX) == top);
    ck_assert_uint_eq(seqset_count_in(&s, 5, 4), 0);
    ck_assert_uint_eq(seqset_remove(&s, top, UINT64_MAX), 1);
    ck_assert_uint_eq(seqset_remove(&s, 0, 0), 1);
    ck_assert(seqset_bounds(&s, &first, &last) && first == 1 && last == top - 1);
    ck_assert(seqset_remove(&s, 0, UINT64_MAX) == UINT64_MAX - 2);
    ck_assert(s.nranges == 0 && s.nblocks == 0);
    seqset_free(&s);
}

/* A floor that follows in-order acknowledgements, and a million single holes: memory stays in
 * proportion. */
TEST(memory_stays_in_proportion)
{
    struct seqset s = {0};

    for (uint64_t k = 0; k < 1000000; k++)
        MUST(seqset_add(&s, 2 * k, 2 * k) == 1);
    MUST(s.nranges == 1000000);
    MUST(s.nblocks <= 1000000 / 256 + 1);
    for (uint64_t k = 0; k < 1000000; k += 64)
        MUST(seqset_has(&s, 2 * k) && !seqset_has(&s, 2 * k + 1));
    /* Nine of ten go, all over: blocks join again. */
    for (uint64_t k = 0; k < 1000000; k++) {
        if (k % 10 != 0)
            MUST(seqset_remove(&s, 2 * k, 2 * k) == 1);
    }
    seqset_check(&s);
    MUST(s.nranges == 100000);
    MUST(s.nblocks <= 100000 / 50);
    MUST(seqset_add(&s, 0, 2000000) == 2000001 - 100000);
    MUST(s.nblocks == 1 && s.nranges == 1);
    seqset_free(&s);
}

TEST(decode_refuses)
{
    static const struct str bad[] = {
        STR_LIT("\x05"),         /* no length */
        STR_LIT("\x80"),         /* cut */
        STR_LIT("\x05\x01\x03"), /* second range cut */
        /* ends at UINT64_MAX */
        STR_LIT("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        STR_LIT("\x01\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        /* length overflows */
        STR_LIT("\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        /* something behind the last possible one */
        STR_LIT("\x00\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00"),
        /* second distance overflows */
        STR_LIT("\x05\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00"),
        /* a number of more than 64 bits */
        STR_LIT("\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"),
    };

    for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
        struct seqset s = {0};
        seqset_add(&s, 1, 5);
        ck_assert_msg(!seqset_decode(&s, bad[k]), "%zu", k);
        ck_assert(s.count == 0 && s.nblocks == 0);
        seqset_check(&s);
        seqset_free(&s);
    }
    struct seqset s = {0};
    seqset_add(&s, 1, 5);
    ck_assert(seqset_decode(&s, STR_NONE));
    ck_assert_uint_eq(s.count, 0);
    ck_assert(seqset_decode(&s, STR("\x05\x01\x00\x00")));
    ck_assert(s.count == 3 && s.nranges == 2 && seqset_has(&s, 6) && seqset_has(&s, 8));
    seqset_free(&s);
}

static const struct runner_case cases[] = {
    RUN_LOOP(agrees_with_a_map, 0, (int) ARRAY_LEN(styles)),
    RUN(every_short_history),
    RUN(ends_of_the_line),
    RUN(memory_stays_in_proportion),
    RUN(decode_refuses),
};

RUNNER_MAIN("base/seqset", cases)
