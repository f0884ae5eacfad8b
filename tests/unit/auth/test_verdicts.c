/* test_verdicts.c - what is remembered about subjects is what the lists say, also where places are
 * shared and subjects are too long to be kept. */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "server/auth/verdicts.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

static void add(struct subject_rules *r, const char *subject)
{
    r->rules = mem_realloc(r->rules, (r->n + 1) * sizeof(*r->rules));
    r->rules[r->n++] = (struct subject_rule){.subject = mem_strdup(subject)};
    r->set = true;
}

static struct permissions *make(unsigned allow, unsigned deny)
{
    struct permissions *p = mem_zalloc(sizeof(*p));
    char text[40];

    for (unsigned k = 0; k < allow; k++) {
        snprintf(text, sizeof(text), "a.%u.*", k * 2);
        add(&p->pub_allow, text);
    }
    for (unsigned k = 0; k < deny; k++) {
        snprintf(text, sizeof(text), "a.*.%u", k * 3);
        add(&p->pub_deny, text);
    }
    return p;
}

TEST(the_lists_decide)
{
    static const struct {
        unsigned allow, deny;
    } sizes[] = {{1, 1}, {2, 3}, {20, 0}, {0, 20}, {30, 30}};
    struct permissions *p = make(sizes[i].allow, sizes[i].deny);
    struct verdicts *v = NULL;
    struct prng rng;
    unsigned yes = 0;
    char text[120];

    prng_init(&rng, (uint64_t) i);
    for (unsigned k = 0; k < 20000; k++) {
        int n = snprintf(text, sizeof(text), "a.%u.%u", (unsigned) prng_below(&rng, 40),
                         (unsigned) prng_below(&rng, 40));
        struct str subject = str_from(text, (size_t) n);
        bool may = verdicts_may_publish(&v, p, subject, 7);
        MUST(may == permissions_may_publish(p, subject));
        yes += may;
    }
    ck_assert_uint_gt(yes, 0);
    ck_assert_uint_lt(yes, 20000);
    ck_assert((v != NULL) == (sizes[i].allow + sizes[i].deny > 4));
    verdicts_clear(&v);
    ck_assert_ptr_null(v);
    permissions_free(p);
}

/* Around the longest that is kept, and none. */
TEST(lengths)
{
    struct permissions *p = make(0, 20);
    struct verdicts *v = NULL;
    char text[80];

    for (size_t n = 0; n < 70; n++)
        for (unsigned twice = 0; twice < 2; twice++) {
            memset(text, 'x', n);
            if (n > 4)
                memcpy(text, n % 2 == 0 ? "a.3." : "a.b.", 4);
            if (n > 4)
                memset(text + 4, '0', n - 4);
            MUST(verdicts_may_publish(&v, p, str_from(text, n), 1) ==
                 permissions_may_publish(p, str_from(text, n)));
        }
    ck_assert_ptr_nonnull(v);
    verdicts_clear(&v);
    permissions_free(p);
}

static const struct runner_case cases[] = {
    RUN_LOOP(the_lists_decide, 0, 5),
    RUN(lengths),
};

RUNNER_MAIN("auth/verdicts", cases)
