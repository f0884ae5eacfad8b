/* test_consumer_pattern.c - regular expressions over topics' names: what they match, what is
 * refused, and that none takes long. */
#include "server/kafka/consumer_pattern.h"
#include "tests/lib/runner.h"

#include <string.h>

static const struct {
    const char *pattern, *name;
    bool matches;
} table[] = {
    {"a", "a", true},
    {"a", "b", false},
    {"a", "aa", false},
    {"a", "", false},
    {"^abc$", "abc", true},
    {"^abc", "abcd", false},
    {"abc.*", "abcd", true},
    {".*", "", true},
    {".*", "any.thing", true},
    {"a\\.b", "a.b", true},
    {"a\\.b", "axb", false},
    {"a|b", "a", true},
    {"a|b", "b", true},
    {"a|b", "ab", false},
    {"a|b|cd", "cd", true},
    {"(a|b)c", "bc", true},
    {"(?:a|b)c", "ac", true},
    {"(a|b)*", "abba", true},
    {"(a|b)*", "abca", false},
    {"a+", "", false},
    {"a+", "aaa", true},
    {"a?b", "b", true},
    {"a?b", "aab", false},
    {"a{3}", "aaa", true},
    {"a{3}", "aa", false},
    {"a{2,}", "aaaaa", true},
    {"a{2,}", "a", false},
    {"a{0,2}b", "b", true},
    {"a{0,2}b", "aab", true},
    {"a{0,2}b", "aaab", false},
    {"a{0}b", "b", true},
    {"a{0}b", "ab", false},
    {"[a-c]+", "abcb", true},
    {"[a-c]+", "abd", false},
    {"[^.]+", "ab", true},
    {"[^.]+", "a.b", false},
    {"[a\\-z]+", "a-z", true},
    {"[a-]+", "a-a", true},
    {"[\\d_]+", "1_2", true},
    {"\\d+", "123", true},
    {"\\d+", "12a", false},
    {"\\w+", "aZ_9", true},
    {"\\W", "-", true},
    {"\\D\\S", "ab", true},
    {"(a*)*", "aaa", true},
    {"(a*)*b", "aab", true},
    {"(|a)b", "b", true},
    {"(a|)b", "ab", true},
    {"a*?b", "aab", true},
    {"(ab){2}", "abab", true},
    {"(a|bc){2,3}", "abca", true},
    {"\\Aab\\z", "ab", true},
    {"a^b", "ab", false},
    {"a$|b", "a", true},
    {"(^a|^b)c", "bc", true},
    {"logs-(eu|us)-\\d{4}", "logs-eu-2024", true},
    {"logs-(eu|us)-\\d{4}", "logs-eu-24", false},
};

TEST(matching)
{
    for (size_t k = 0; k < sizeof(table) / sizeof(table[0]); k++) {
        struct pattern *p = pattern_compile(str_of(table[k].pattern));
        ck_assert_msg(p != NULL, "%s", table[k].pattern);
        ck_assert_msg(pattern_matches(p, str_of(table[k].name)) == table[k].matches, "%s on %s",
                      table[k].pattern, table[k].name);
        pattern_free(p);
    }
}

TEST(rejects)
{
    static const char *const bad[] = {
        "",
        "(",
        ")",
        "a)",
        "(a",
        "[",
        "[a",
        "[]",
        "*",
        "a**",
        "a|*",
        "a{",
        "a{,2}",
        "a{2,1}",
        "a{2",
        "a{9999}",
        "a++",
        "\\",
        "\\b",
        "\\q",
        "\\Q",
        "(?i)a",
        "(?=a)",
        "(?<n>a)",
        "[z-a]",
        "[[:alpha:]]",
        "a{500}b{500}",
        "((a{20}){20}){20}",
        "[a\\",
        "\\1",
        "((((){500}){500}){500}){500}",
        "a{}",
    };
    char deep[200], long_one[PATTERN_TEXT_MAX + 2];

    for (size_t k = 0; k < sizeof(bad) / sizeof(bad[0]); k++)
        ck_assert_msg(pattern_compile(str_of(bad[k])) == NULL, "%s", bad[k]);
    memset(deep, '(', 99);
    memset(deep + 99, ')', 99);
    ck_assert_ptr_null(pattern_compile(str_from(deep, 198)));
    memset(long_one, 'a', sizeof(long_one));
    ck_assert_ptr_null(pattern_compile(str_from(long_one, sizeof(long_one))));
}

/* What takes a backtracking matcher for ever. */
TEST(no_pattern_takes_long)
{
    static const char *const slow[] = {"(a*)*(a*)*(a*)*b", "(a|a)*b", "(a?){100}a{100}b",
                                       "(.*.*.*.*)*x"};
    char name[249];

    memset(name, 'a', sizeof(name));
    for (size_t k = 0; k < sizeof(slow) / sizeof(slow[0]); k++) {
        struct pattern *p = pattern_compile(str_of(slow[k]));
        ck_assert_ptr_nonnull(p);
        ck_assert(!pattern_matches(p, str_from(name, sizeof(name))));
        pattern_free(p);
    }
}

static const struct runner_case cases[] = {
    RUN(matching),
    RUN(rejects),
    RUN(no_pattern_takes_long),
};

RUNNER_MAIN("kafka/consumer_pattern", cases)
