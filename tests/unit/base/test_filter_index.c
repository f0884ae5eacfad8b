/* test_filter_index.c - which filters match a subject, against trying them all. */
#include "lib/base/assert.h"
#include "lib/base/filter_index.h"
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define FILTERS 200
#define ROUNDS 3000

static unsigned hits[FILTERS];

static void hit(void *ctx, void *owner)
{
    (void) ctx;
    hits[(const unsigned *) owner - hits]++;
}

/* Of one to five tokens a, b or c; a filter's may be wildcards. */
static struct str random_subject(struct prng *p, char *out, size_t cap, bool filter)
{
    static const char *const tokens[] = {"a", "b", "cc"};
    unsigned n = 1 + (unsigned) prng_below(p, 5);
    size_t at = 0;

    for (unsigned i = 0; i < n; i++) {
        const char *t = tokens[prng_below(p, 3)];
        if (filter && prng_below(p, 4) == 0)
            t = i + 1 == n && prng_below(p, 2) == 0 ? ">" : "*";
        at += (size_t) snprintf(out + at, cap - at, "%s%s", i > 0 ? "." : "", t);
    }
    return str_from(out, at);
}

TEST(as_trying_them_all)
{
    static struct filter_entry entries[FILTERS];
    static char texts[FILTERS][64];
    struct filter_index x;
    struct prng p;
    char text[64];

    prng_init(&p, 4711);
    filter_index_init(&x);
    memset(entries, 0, sizeof(entries));
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned k = (unsigned) prng_below(&p, FILTERS);
        struct str subject;
        if (entries[k].owner != NULL) {
            filter_index_remove(&x, &entries[k]);
            entries[k].owner = NULL;
        } else {
            struct str filter = random_subject(&p, texts[k], sizeof(texts[k]), true);
            filter_index_add(&x, &entries[k], filter, &hits[k]);
        }
        subject = random_subject(&p, text, sizeof(text), false);
        memset(hits, 0, sizeof(hits));
        filter_index_each(&x, subject, hit, NULL);
        for (unsigned n = 0; n < FILTERS; n++)
            ck_assert_uint_eq(hits[n], entries[n].owner != NULL &&
                                           subject_matches(subject, entries[n].filter));
    }
    for (unsigned k = 0; k < FILTERS; k++)
        if (entries[k].owner != NULL)
            filter_index_remove(&x, &entries[k]);
    ck_assert_uint_eq(x.used, 0);
    filter_index_deinit(&x);
}

/* More tokens than are counted. */
TEST(many_tokens)
{
    struct filter_entry literal = {0}, wild = {0};
    struct filter_index x;
    char text[200];

    for (unsigned k = 0; k < sizeof(text) - 1; k++)
        text[k] = k % 2 == 0 ? 't' : '.';
    text[sizeof(text) - 1] = '\0';
    filter_index_init(&x);
    memset(hits, 0, sizeof(hits));
    filter_index_add(&x, &literal, str_of(text), &hits[0]);
    filter_index_add(&x, &wild, STR("t.t.>"), &hits[1]);
    filter_index_each(&x, str_of(text), hit, NULL);
    filter_index_each(&x, STR("t.t.t"), hit, NULL);
    filter_index_each(&x, STR("t.t"), hit, NULL);
    ck_assert_uint_eq(hits[0], 1);
    ck_assert_uint_eq(hits[1], 2);
    filter_index_remove(&x, &literal);
    filter_index_remove(&x, &wild);
    filter_index_deinit(&x);
}

static const struct runner_case cases[] = {
    RUN(as_trying_them_all),
    RUN(many_tokens),
};

RUNNER_MAIN("base/filter_index", cases)
