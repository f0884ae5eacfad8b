/*
 * test_subject.c - subjects against their definition: every short text for validity, every pair of
 * short subjects for matching, every pair of small patterns for subset and overlap.
 *
 * The twins below are written on token arrays and recursion, and subset and overlap are decided by
 * trying all literals of a universe that is large enough: one token more than any pattern has, and
 * one token name that no pattern mentions.
 */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/subject.h"
#include "tests/lib/runner.h"

#include <stdbool.h>
#include <string.h>

#define TEXT_MAX 8

struct text {
    char p[TEXT_MAX];
    size_t n;
};

static struct str view(const struct text *t)
{
    return str_from(t->p, t->n);
}

/* The k-th text over the alphabet, shortest first; false behind those of length max. */
static bool nth_text(size_t k, const char *alphabet, size_t max, struct text *t)
{
    size_t letters = strlen(alphabet), of_length = 1;

    for (t->n = 0; k >= of_length; t->n++) {
        k -= of_length;
        of_length *= letters;
    }
    if (t->n > max)
        return false;
    for (size_t i = 0; i < t->n; i++, k /= letters)
        t->p[i] = alphabet[k % letters];
    return true;
}

struct tokens {
    struct str at[TEXT_MAX + 1];
    size_t n;
};

static struct tokens naive_split(struct str s)
{
    struct tokens t = {.n = 1};

    t.at[0] = str_take(s, 0);
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '.')
            t.at[t.n++] = str_from(s.p + i + 1, 0);
        else
            t.at[t.n - 1].n++;
    }
    return t;
}

static bool is(struct str token, const char *text)
{
    return str_eq(token, str_of(text));
}

static bool naive_valid(struct str s)
{
    struct tokens t = naive_split(s);

    for (size_t i = 0; i < t.n; i++) {
        if (t.at[i].n == 0 || (is(t.at[i], ">") && i + 1 < t.n))
            return false;
        for (size_t k = 0; k < t.at[i].n; k++) {
            if (strchr(" \t\r\n\f", t.at[i].p[k]) != NULL) /* finds NUL, too */
                return false;
        }
    }
    return true;
}

static bool naive_wild(struct str s)
{
    struct tokens t = naive_split(s);

    for (size_t i = 0; i < t.n; i++) {
        if (is(t.at[i], "*") || is(t.at[i], ">"))
            return true;
    }
    return false;
}

static bool naive_match(const struct str *l, size_t nl, const struct str *p, size_t np)
{
    if (np == 0)
        return nl == 0;
    if (nl == 0)
        return false;
    if (is(p[0], ">"))
        return true;
    return (is(p[0], "*") || str_eq(p[0], l[0])) && naive_match(l + 1, nl - 1, p + 1, np - 1);
}

static bool twin_match(struct str literal, struct str pattern)
{
    struct tokens l = naive_split(literal), p = naive_split(pattern);
    return naive_match(l.at, l.n, p.at, p.n);
}

TEST(validity_of_every_short_text)
{
    struct text t;
    size_t valid = 0;

    for (size_t k = 0; nth_text(k, "ab.*> ", 6, &t); k++) {
        struct str s = view(&t);
        bool want = naive_valid(s);
        ck_assert_msg(subject_valid(s) == want, "'%.*s'", STR_ARG(s));
        ck_assert_msg(subject_valid_literal(s) == (want && !naive_wild(s)), "'%.*s'", STR_ARG(s));
        if (want)
            ck_assert_msg(subject_has_wildcard(s) == naive_wild(s), "'%.*s'", STR_ARG(s));
        valid += want;
    }
    ck_assert_uint_gt(valid, 5000);
}

TEST(validity_of_every_byte)
{
    for (int c = 0; c < 256; c++) {
        char text[] = "foo.bXr.baz";
        bool bad = strchr(" \t\r\n\f", c) != NULL;
        text[5] = (char) c;
        ck_assert_int_eq(subject_valid(str_from(text, 11)), !bad);
        ck_assert_int_eq(subject_valid_literal(str_from(text, 11)), !bad);
        /* At each place of a long one, in case it is read in steps. */
        for (size_t at = 0; at < 40; at++) {
            char filled[40];
            memset(filled, 'x', sizeof(filled));
            filled[at] = (char) c;
            bool edge = c == '.' && (at == 0 || at == 39);
            ck_assert_int_eq(subject_valid(str_from(filled, 40)), !bad && !edge);
        }
    }
}

/* The text sits in memory of exactly its size: a read beyond is seen by the address sanitizer. */
TEST(reads_nothing_beyond)
{
    struct text t;

    for (size_t k = 0; nth_text(k, "a.*>", 4, &t); k++) {
        char *exact = mem_alloc(t.n);
        struct str s = {exact, t.n};
        memcpy(exact, t.p, t.n);
        bool valid = subject_valid(s);
        ck_assert_int_eq(valid, naive_valid(s));
        ck_assert_int_eq(subject_valid_literal(s), valid && !naive_wild(s));
        subject_has_wildcard(s);
        if (valid) {
            ck_assert(!subject_matches(STR("other.names.entirely.so"), s) || naive_wild(s));
            ck_assert(subject_subset(s, s));
            ck_assert(subject_overlap(s, s));
        }
        mem_free(exact);
    }
}

#define SHORT_MAX 2000

struct shorts {
    struct text at[SHORT_MAX];
    size_t n;
};

static void collect(struct shorts *out, const char *alphabet, size_t max, bool wildcards)
{
    struct text t;

    out->n = 0;
    for (size_t k = 0; nth_text(k, alphabet, max, &t); k++) {
        if (naive_valid(view(&t)) && (wildcards || !naive_wild(view(&t)))) {
            ck_assert_uint_lt(out->n, SHORT_MAX);
            out->at[out->n++] = t;
        }
    }
}

TEST(matches_as_the_twin_does)
{
    static struct shorts literals, patterns;
    size_t yes = 0;

    collect(&literals, "ab.*", 5, false);
    collect(&patterns, "ab.*>", 4, true);
    for (size_t k = 0; k < literals.n; k++) {
        for (size_t j = 0; j < patterns.n; j++) {
            struct str l = view(&literals.at[k]), p = view(&patterns.at[j]);
            bool want = twin_match(l, p);
            ck_assert_msg(subject_matches(l, p) == want, "%.*s %.*s", STR_ARG(l), STR_ARG(p));
            yes += want;
        }
    }
    ck_assert_uint_gt(yes, 1000);
}

/* All subjects of one to max tokens out of a list, by number; false behind the last. */
static bool nth_of_tokens(size_t k, const char *const *names, size_t nnames, size_t max,
                          struct text *t)
{
    size_t ntokens = 1, of_length = nnames;

    for (; k >= of_length; ntokens++) {
        k -= of_length;
        of_length *= nnames;
    }
    t->n = 0;
    for (size_t i = 0; i < ntokens && ntokens <= max; i++, k /= nnames) {
        if (i > 0)
            t->p[t->n++] = '.';
        t->p[t->n++] = names[k % nnames][0];
    }
    return ntokens <= max;
}

/* Tokens of several bytes, which differ within, at their ends, or beside a wildcard. */
TEST(overlap_of_longer_tokens)
{
    static const struct {
        const char *a, *b;
        bool overlap;
    } rows[] = {
        {"s.1", "s.12", false},       {"s.1", "s.2", false},        {"s.1", "s.1.x", false},
        {"s.1", "s.1.>", false},      {"s.1.x", "s.1.>", true},     {"s", "s.>", false},
        {"s.*", "s.12", true},        {"s.12", "s.*", true},        {"s.*", "s.*x", true},
        {"s.*x", "s.x", false},       {"s.*x", "s.*y", false},      {"s.>", "s.>x", true},
        {"a.*.c", "a.*.d", false},    {"a.*.c", "a.b.d", false},    {"a.*.c", "a.b.c", true},
        {"ab.c", "a.c", false},       {"*.c", "ab.c", true},        {">", "ab.c", true},
        {"ab.cd.ef", "ab.cd", false}, {"ab.*.ef", "ab.cd.>", true}, {"abc", "abd", false},
    };

    for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
        struct str a = str_of(rows[k].a), b = str_of(rows[k].b);
        ck_assert_msg(subject_overlap(a, b) == rows[k].overlap, "%s, %s", rows[k].a, rows[k].b);
        ck_assert_msg(subject_overlap(b, a) == rows[k].overlap, "%s, %s", rows[k].b, rows[k].a);
    }
}

TEST(subset_and_overlap_over_all_literals)
{
    static const char *const pattern_names[] = {"a", "b", "*", ">"};
    static const char *const literal_names[] = {"a", "b", "z"};
    struct text a, b, l;
    size_t subsets = 0, overlaps = 0, pairs = 0;

    for (size_t i1 = 0; nth_of_tokens(i1, pattern_names, 4, 3, &a); i1++) {
        for (size_t i2 = 0; nth_of_tokens(i2, pattern_names, 4, 3, &b); i2++) {
            struct str x = view(&a), y = view(&b);
            bool subset = true, overlap = false;
            if (!naive_valid(x) || !naive_valid(y))
                continue;
            for (size_t k = 0; nth_of_tokens(k, literal_names, 3, 4, &l); k++) {
                bool in_x = twin_match(view(&l), x), in_y = twin_match(view(&l), y);
                subset = subset && (!in_x || in_y);
                overlap = overlap || (in_x && in_y);
            }
            ck_assert_msg(subject_subset(x, y) == subset, "%.*s in %.*s", STR_ARG(x), STR_ARG(y));
            ck_assert_msg(subject_overlap(x, y) == overlap, "%.*s with %.*s", STR_ARG(x),
                          STR_ARG(y));
            subsets += subset;
            overlaps += overlap;
            pairs++;
        }
    }
    ck_assert(subsets > 100 && overlaps > subsets && overlaps < pairs);
}

TEST(wildcards_inside_a_token_are_bytes)
{
    ck_assert(subject_valid(STR("foo*.bar")) && subject_valid(STR("foo>.bar")));
    ck_assert(subject_valid_literal(STR("foo*.b>r.**.>>")));
    ck_assert(!subject_has_wildcard(STR("foo*.b>r.**.>>")));
    ck_assert(!subject_matches(STR("foox"), STR("foo*")));
    ck_assert(subject_matches(STR("foo*"), STR("foo*")));
    ck_assert(subject_matches(STR(">>.a"), STR(">>.*")));
    ck_assert(!subject_matches(STR("a.b"), STR(">>")));
    ck_assert(!subject_subset(STR("foo.x"), STR("foo.x*")));
    ck_assert(!subject_overlap(STR("**"), STR("ab")));
    ck_assert(subject_valid_literal(STR("\xc3\xa4.\x80\xff")));
}

TEST(splits_like_the_twin)
{
    struct text t;

    for (size_t k = 0; nth_text(k, "a.", 7, &t); k++) {
        struct str s = view(&t), got[TEXT_MAX + 1];
        struct tokens want = naive_split(s);
        if (s.n == 0)
            continue;
        ck_assert_uint_eq(subject_count_tokens(s), want.n);
        ck_assert_uint_eq(subject_split(s, got, TEXT_MAX + 1), want.n);
        for (unsigned j = 0; j < want.n; j++) {
            ck_assert(got[j].p == want.at[j].p && got[j].n == want.at[j].n);
            ck_assert(str_eq(subject_token(s, j), want.at[j]));
        }
        ck_assert_uint_eq(subject_token(s, (unsigned) want.n).n, 0);
        ck_assert_uint_eq(subject_split(s, got, (unsigned) want.n), want.n);
        ck_assert_uint_eq(subject_split(s, got, (unsigned) want.n - 1), 0);
    }
    ck_assert_uint_eq(subject_count_tokens(STR_NONE), 0);
    ck_assert_uint_eq(subject_split(STR_NONE, NULL, 0), 0);
    ck_assert_uint_eq(subject_split(STR(""), NULL, 0), 0);
    ck_assert_uint_eq(subject_token(STR_NONE, 0).n, 0);
}

static const struct runner_case cases[] = {
    RUN(validity_of_every_short_text),
    RUN(validity_of_every_byte),
    RUN(reads_nothing_beyond),
    RUN(matches_as_the_twin_does),
    RUN(overlap_of_longer_tokens),
    RUN(subset_and_overlap_over_all_literals),
    RUN(wildcards_inside_a_token_are_bytes),
    RUN(splits_like_the_twin),
};

RUNNER_MAIN("base/subject", cases)
