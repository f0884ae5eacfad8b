/*
 * fuzz_subject.c - the functions of subject.h on two texts: validity against the definition, and
 * the laws that matching, subset and overlap obey.
 *
 * Input: two subjects with an LF between them.
 */
#include "lib/base/assert.h"
#include "lib/base/subject.h"
#include "tests/fuzz/fuzz.h"

static bool is(struct str token, char c)
{
    return token.n == 1 && token.p[0] == c;
}

/* The definition, a token at a time. */
static bool naive_valid(struct str s, bool *wild)
{
    *wild = false;
    for (struct str rest = s;;) {
        struct str token = str_cut(rest, '.', &rest);
        if (token.n == 0 || (is(token, '>') && rest.p != NULL))
            return false;
        for (size_t i = 0; i < token.n; i++) {
            if (memchr(" \t\r\n\f", token.p[i], 6) != NULL)
                return false;
        }
        *wild = *wild || is(token, '*') || is(token, '>');
        if (rest.p == NULL)
            return true;
    }
}

static void check_one(struct str s)
{
    struct str tokens[SUBJECT_TOKENS_MAX], whole = s;
    bool wild, valid = naive_valid(s, &wild);
    unsigned n = subject_split(s, tokens, SUBJECT_TOKENS_MAX);

    ASSERT(subject_valid(s) == valid);
    ASSERT(subject_valid_literal(s) == (valid && !wild));
    if (valid)
        ASSERT(subject_has_wildcard(s) == wild);
    ASSERT(n == 0 || n == subject_count_tokens(s));
    for (unsigned i = 0; i < n; i++) {
        struct str token = subject_token(s, i);
        ASSERT(token.p == tokens[i].p && token.n == tokens[i].n);
        ASSERT(tokens[i].p == whole.p);
        whole = str_skip(whole, tokens[i].n + (i + 1 < n));
    }
}

static void check_two(struct str a, struct str b)
{
    bool subset = subject_subset(a, b), overlap = subject_overlap(a, b);

    ASSERT(subject_overlap(b, a) == overlap);
    ASSERT(!subset || overlap);
    if (subset && subject_subset(b, a))
        ASSERT(str_eq(a, b));
    if (subject_valid_literal(a))
        ASSERT(subject_matches(a, b) == subset && subset == overlap);
    if (subject_valid_literal(a) && subject_valid_literal(b))
        ASSERT(overlap == str_eq(a, b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str b, a = str_cut(str_from(data, size), '\n', &b);

    check_one(str_from(data, size));
    check_one(a);
    check_one(b);
    if (!subject_valid(a) || !subject_valid(b))
        return 0;
    ASSERT(subject_subset(a, a) && subject_overlap(b, b));
    check_two(a, b);
    check_two(b, a);
    return 0;
}
