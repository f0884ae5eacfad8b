/* The trie against a list that is searched with subject_matches. */
#include "lib/base/assert.h"
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "lib/base/subject.h"
#include "server/core/trie.h"
#include "tests/lib/runner.h"

#include <stdio.h>

#define ENTRIES 300

struct twin {
    struct trie_entry entry;
    char pattern[32];
    bool in;
    unsigned seen;
};

static struct twin twins[ENTRIES];

static void see(void *ctx, struct trie_entry *e)
{
    (void) ctx;
    CONTAINER_OF(e, struct twin, entry)->seen++;
}

/* Few letters and few tokens, so that patterns meet. */
static void random_subject(struct prng *p, char out[32], bool wildcards)
{
    unsigned tokens = 1 + (unsigned) prng_below(p, 4), n = 0;

    for (unsigned i = 0; i < tokens; i++) {
        uint64_t dice = prng_below(p, 10);
        if (i > 0)
            out[n++] = '.';
        if (wildcards && dice == 0) {
            out[n++] = '>';
            break;
        }
        if (wildcards && dice < 4) {
            out[n++] = '*';
        } else {
            out[n++] = (char) ('a' + prng_below(p, 3));
            if (prng_below(p, 4) == 0)
                out[n++] = 'x';
        }
    }
    out[n] = '\0';
}

static void check_subject(const struct trie *t, const char *subject)
{
    trie_match(t, str_of(subject), see, NULL);
    for (unsigned i = 0; i < ENTRIES; i++) {
        bool want = twins[i].in && subject_matches(str_of(subject), str_of(twins[i].pattern));
        ck_assert_msg(twins[i].seen == want, "%s against %s: seen %u times", subject,
                      twins[i].pattern, twins[i].seen);
        twins[i].seen = 0;
    }
}

static bool has_literal_child(const char *prefix)
{
    size_t n = strlen(prefix);
    unsigned depth = subject_count_tokens(str_of(prefix));

    for (unsigned i = 0; i < ENTRIES; i++) {
        struct str pattern = str_of(twins[i].pattern), token;
        char head[32];
        if (!twins[i].in || subject_count_tokens(pattern) != depth + 1)
            continue;
        token = subject_token(pattern, depth);
        if (token.p[0] == '*' || token.p[0] == '>')
            continue;
        memcpy(head, pattern.p, (size_t) (token.p - pattern.p) - 1);
        head[token.p - pattern.p - 1] = '\0';
        if (subject_matches(str_from(prefix, n), str_of(head)))
            return true;
    }
    return false;
}

/* The shared answer is what a token that occurs nowhere gets. */
static void check_prefix(const struct trie *t, const char *prefix)
{
    char subject[48];
    bool shared;

    shared = trie_match_children(t, str_of(prefix), see, NULL);
    ck_assert_int_eq(shared, !has_literal_child(prefix));
    snprintf(subject, sizeof(subject), "%s.zz", prefix);
    for (unsigned i = 0; i < ENTRIES; i++) {
        bool want = twins[i].in && subject_matches(str_of(subject), str_of(twins[i].pattern));
        if (shared)
            ck_assert_msg(twins[i].seen == want, "%s against %s", subject, twins[i].pattern);
        twins[i].seen = 0;
    }
}

/* Is there a pattern that overlaps prefix.> ? */
static void check_below(const struct trie *t, const char *prefix)
{
    char tail[48];
    bool want = false;

    snprintf(tail, sizeof(tail), "%s.>", prefix);
    for (unsigned i = 0; i < ENTRIES; i++)
        want |= twins[i].in && subject_overlap(str_of(twins[i].pattern), str_of(tail));
    ck_assert_msg(trie_any_below(t, str_of(prefix)) == want, "%s", tail);
}

TEST(agrees_with_a_list)
{
    struct prng p;
    struct trie t;
    char subject[32];

    prng_init(&p, (uint64_t) i);
    trie_init(&t, 99);
    memset(twins, 0, sizeof(twins));
    for (unsigned round = 0; round < 3000; round++) {
        struct twin *w = &twins[prng_below(&p, i % 2 == 0 ? ENTRIES : 20)];
        if (w->in) {
            trie_remove(&t, &w->entry);
            w->in = false;
        } else {
            random_subject(&p, w->pattern, true);
            ck_assert(subject_valid(str_of(w->pattern)));
            trie_insert(&t, str_of(w->pattern), &w->entry);
            w->in = true;
        }
        random_subject(&p, subject, false);
        check_subject(&t, subject);
        check_prefix(&t, subject);
        check_below(&t, subject);
        if (round % 100 == 0)
            trie_check(&t);
    }
    for (unsigned k = 0; k < ENTRIES; k++)
        if (twins[k].in)
            trie_remove(&t, &twins[k].entry);
    trie_check(&t);
    ck_assert_uint_eq(t.nodes, 0);
    ck_assert_uint_eq(t.edges.count, 0);
    trie_deinit(&t);
}

TEST(says_its_patterns)
{
    static const char *const patterns[] = {"a", "a.b.c", "*", ">", "a.*.c.>", "*.*.x"};
    struct trie_entry entries[ARRAY_LEN(patterns)];
    struct trie t;
    struct buf text = {0};

    trie_init(&t, 5);
    for (unsigned k = 0; k < ARRAY_LEN(patterns); k++)
        trie_insert(&t, str_of(patterns[k]), &entries[k]);
    for (unsigned k = 0; k < ARRAY_LEN(patterns); k++) {
        buf_clear(&text);
        trie_pattern(&entries[k], &text);
        ck_assert_str_eq(buf_cstr(&text), patterns[k]);
    }
    buf_free(&text);
    trie_deinit(&t);
}

TEST(empty_tokens_match_nothing)
{
    static const char *const subjects[] = {"", ".", "a.", ".a", "a..b", "..", "a.b..c"};
    static const char *const patterns[] = {">", "*", "a.>", "*.*", "a.*.b", "*.>"};
    struct trie t;

    memset(twins, 0, sizeof(twins));
    trie_init(&t, 1);
    for (unsigned k = 0; k < ARRAY_LEN(patterns); k++)
        trie_insert(&t, str_of(patterns[k]), &twins[k].entry);
    for (unsigned k = 0; k < ARRAY_LEN(subjects); k++)
        trie_match(&t, str_of(subjects[k]), see, NULL);
    for (unsigned k = 0; k < ARRAY_LEN(patterns); k++)
        ck_assert_uint_eq(twins[k].seen, 0);
    /* A literal '*' or '>' in a published subject is matched by wildcards only. */
    trie_match(&t, STR("a.>"), see, NULL);
    ck_assert_uint_eq(twins[2].seen, 1);
    trie_deinit(&t);
}

/* Longest pattern, deepest pattern, and a chain of stars that makes matching branch at every token.
 */
TEST(limits)
{
    struct trie_entry deep, wide, stars;
    struct trie t;
    char text[TRIE_BYTES_MAX + 1];

    memset(text, 'q', sizeof(text));
    trie_init(&t, 1);
    trie_insert(&t, str_from(text, TRIE_BYTES_MAX), &wide);
    for (unsigned k = 0; k < TRIE_TOKENS_MAX; k++)
        memcpy(&text[2 * k], "*.", 2);
    trie_insert(&t, str_from(text, 2 * TRIE_TOKENS_MAX - 1), &stars);
    for (unsigned k = 0; k < TRIE_TOKENS_MAX; k++)
        memcpy(&text[2 * k], "d.", 2);
    trie_insert(&t, str_from(text, 2 * TRIE_TOKENS_MAX - 1), &deep);
    trie_check(&t);
    trie_remove(&t, &stars);
    trie_remove(&t, &deep);
    trie_remove(&t, &wide);
    ck_assert_uint_eq(t.nodes, 0);
    trie_deinit(&t);
}

TEST(keeps_order_in_a_node)
{
    struct trie t;
    struct trie_entry e[4], *at;

    trie_init(&t, 1);
    for (unsigned k = 0; k < 4; k++)
        trie_insert(&t, STR("x.y"), &e[k]);
    trie_remove(&t, &e[0]);
    trie_insert(&t, STR("x.y"), &e[0]);
    at = &e[1];
    ck_assert_ptr_eq(at->next, &e[2]);
    ck_assert_ptr_eq(at->next->next, &e[3]);
    ck_assert_ptr_eq(at->next->next->next, &e[0]);
    trie_check(&t);
    trie_deinit(&t);
}

static const struct runner_case cases[] = {
    RUN_LOOP(agrees_with_a_list, 0, 8), RUN(says_its_patterns),
    RUN(empty_tokens_match_nothing),    RUN(limits),
    RUN(keeps_order_in_a_node),
};

RUNNER_MAIN("core/trie", cases)
