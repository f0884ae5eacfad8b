/* Subject transforms: what nats-server documents of each function, and its texts for wrong ones. */
#include "lib/base/mem.h"
#include "server/core/transform.h"
#include "tests/lib/runner.h"

#include <stdio.h>

#define DEST "invalid mapping destination: "

static const struct {
    const char *source, *dest, *subject, *want; /* want NULL: does not match */
} results[] = {
    {"", "prefix.>", "foo", "prefix.foo"},
    {"foo", "bar", "foo", "bar"},
    {"foo", "bar", "foo.x", NULL},
    {">", ">", "a.b", "a.b"},
    {"foo.>", "foo.>", "foo.b", "foo.b"},
    {"foo.*.bar.*.baz", "req.$2.$1", "foo.A.bar.B.baz", "req.B.A"},
    {"foo.*.bar.*.baz", "req.{{wildcard(2)}}.{{wildcard(1)}}", "foo.A.bar.B.baz", "req.B.A"},
    {"foo.*.bar.*.baz", "req.$2", "foo.A.bar.B.bas", NULL},
    {"baz.>", "my.pre.>", "baz.1.2.3", "my.pre.1.2.3"},
    {"baz.>", "my.pre.>", "baz", NULL},
    {"baz.*.>", "$1.my.>", "baz.1.2.3", "1.my.2.3"},
    {">", "x.>", "baz.1", "x.baz.1"},
    {"*", "foo.bar.$1", "foo", "foo.bar.foo"},
    {"*.*", "a.$0.$-3", "foo.bar", "a.foo.foo"},
    {"*", "$1x.$x.$1", "foo", "$1x.$x.foo"},
    {"*", "$+1.$", "foo", "foo.$"},
    {"*", "{{splitfromleft(1,3)}}", "12345", "123.45"},
    {"*", "{{SplitFromRight(1,3)}}", "12345", "12.345"},
    {"*", "{{SplitFromRight(1,5)}}", "12345", "12345"},
    {"*", "{{SplitFromLeft(1,0)}}", "12345", "12345"},
    {"*", "{{SplitFromLeft(1,-1)}}", "12345", "12345"},
    {"*", "{{SliceFromLeft(1,3)}}", "1234567890", "123.456.789.0"},
    {"*", "{{SliceFromLeft(1,5)}}", "1234567890", "12345.67890"},
    {"*", "{{SliceFromLeft(1,10)}}", "1234567890", "1234567890"},
    {"*", "{{SliceFromRight(1,3)}}", "1234567890", "1.234.567.890"},
    {"*", "{{SliceFromRight(1,5)}}", "1234567890", "12345.67890"},
    {"*", "{{split(1,-)}}", "-abc-def--ghi-", "abc.def.ghi"},
    {"*", "{{split(1,-)}}", "abc-def--ghi-", "abc.def.ghi"},
    {"*", "{{split(1,-)}}", "--abc", "abc"},
    {"*", "{{split(1,--)}}", "a-b--c---d", "a-b.c.-d"},
    {"*", "{{split(1,)}}", "a\xc3\xa4x", "a.\xc3\xa4.x"},
    {"*", "x.{{split(1,-)}}", "--", NULL},
    {"*", "{{split(1,-)}}", "--", NULL},
    {"*.*", "{{split(2,-)}}.{{splitfromleft(1,2)}}", "foo.-abc-def--ghij-", "abc.def.ghij.fo.o"},
    {"*", "{{right(1,1)}}", "1234", "4"},
    {"*", "{{right(1,3)}}", "1234", "234"},
    {"*", "{{right(1,6)}}", "1234", "1234"},
    {"*", "{{left(1,1)}}", "1234", "1"},
    {"*", "{{left(1,3)}}", "1234", "123"},
    {"*", "{{ Left ( 1 , 6 ) }}", "1234", "1234"},
    {"*", "bar.{{partition(0)}}", "baz", "bar.0"},
    {"*", "bar.{{partition(10, 0)}}", "foo", "bar.3"},
    {"*.*", "bar.{{partition(10)}}", "foo.bar", "bar.6"},
    {"*", "bar.{{partition(10)}}", "foo", "bar.3"},
    {"*", "bar.{{partition(10)}}", "baz", "bar.0"},
    {"*", "bar.{{partition(10)}}", "qux", "bar.9"},
    {"foo.bar", "baz.{{partition(10)}}", "foo.bar", "baz.6"},
    {"foo.baz", "qux.{{partition(10)}}", "foo.baz", "qux.4"},
    {"test.subject", "result.{{partition(5)}}", "test.subject", "result.0"},
    {"*.*", "{{partition(10,1,2)}}", "foo.bar", "0"},
    {"*", "bar.{{random(0)}}", "qux", "bar.0"},
    {"*", "bar.{{random(1)}}", "qux", "bar.0"},
    {"*", "a.{{x", "qux", "a.{{x"},
};

TEST(results_of)
{
    struct buf out = {0}, err = {0};
    struct prng prng;
    struct transform *t = transform_new(str_of(results[i].source), str_of(results[i].dest),
                                        TRANSFORM_ANY, &err);

    prng_init(&prng, 1);
    ck_assert_msg(t != NULL, "%s: %s", results[i].dest, buf_cstr(&err));
    bool matched = transform_subject(t, str_of(results[i].subject), &prng, &out);
    ck_assert_int_eq(matched, results[i].want != NULL);
    ck_assert_str_eq(buf_cstr(&out), matched ? results[i].want : "");
    transform_free(t);
    buf_free(&out);
}

static const struct {
    const char *source, *dest;
    enum transform_kind kind;
    const char *error;
} rejects[] = {
    {"foo..", "bar", 0, "invalid subject"},
    {"foo", "bar..", 0, "invalid subject"},
    {"foo", "", 0, "invalid subject"},
    {"foo", ".", 0, "invalid subject"},
    {"foo.>", "bar.>.x", 0, "invalid subject"},
    {"foo", "a b", 0, "invalid subject"},
    {"foo", "a\nb", 0, "invalid subject"},
    {"foo x", "b", 0, "invalid subject"},
    {"foo.*", "bar.*", 0, "invalid subject"},
    {"foo.*", "bar.$1.>", 0, "invalid subject"},
    {"foo.>", "bar.baz", 0, "invalid subject"},
    {"foo.*", "bar.$2", 0, DEST "wildcard index out of range in $2: [2]"},
    {"foo.>", "bar.$1.>", 0, DEST "wildcard index out of range in $1: [1]"},
    {"foo", "bar.$1", 0, DEST "wildcard index out of range in $1"},
    {"foo", "bla.{{wildcard(1)}}", 0, DEST "wildcard index out of range in {{wildcard(1)}}"},
    {"foo.*.*", "bar.$2", TRANSFORM_REVERSIBLE,
     DEST "not using all of the token wildcard(s) in bar.$2"},
    {"foo.*", "foo.$foo", TRANSFORM_REVERSIBLE,
     DEST "not using all of the token wildcard(s) in foo.$foo"},
    {"foo.*", "bar.{{Partition(2,1)}}", TRANSFORM_REVERSIBLE,
     DEST "the only mapping function allowed for import transforms is {{Wildcard()}} in "
          "{{Partition(2,1)}}"},
    {"foo.*", "foo.{{wildcard(2)}}", 0, DEST "wildcard index out of range in {{wildcard(2)}}: [2]"},
    {"foo.*", "foo.{{partition(2,1,3)}}", 0,
     DEST "wildcard index out of range in {{partition(2,1,3)}}: [3]"},
    {"foo.*", "foo.{{unimplemented(1)}}", 0, DEST "unknown function in {{unimplemented(1)}}"},
    {"foo.*", "foo.{{WILDCARD(1)}}", 0, DEST "unknown function in {{WILDCARD(1)}}"},
    {"foo.*", "foo.{{ wildcard5) }}", 0, DEST "unknown function in {{ wildcard5) }}"},
    {"foo.*", "foo.{{splitLeft(2,2}}", 0, DEST "unknown function in {{splitLeft(2,2}}"},
    {"foo.*", "foo.{{partition()}}", 0,
     DEST "function argument is invalid or in the wrong format in {{partition()}}"},
    {"foo.*", "foo.{{partition(1,x)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{partition(1,x)}}"},
    {"foo.*", "foo.{{random()}}", 0,
     DEST "function argument is invalid or in the wrong format in {{random()}}"},
    {"foo.*", "foo.{{random(1,2)}}", 0,
     DEST "not enough arguments passed to the function in {{random(1,2)}}"},
    {"foo.*", "foo.{{wildcard(foo)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{wildcard(foo)}}"},
    {"foo.*", "foo.{{wildcard()}}", 0,
     DEST "not enough arguments passed to the function in {{wildcard()}}"},
    {"foo.*", "foo.{{wildcard(1,2)}}", 0,
     DEST "too many arguments passed to the function in {{wildcard(1,2)}}"},
    {"foo.*", "foo.{{left(1)}}", 0,
     DEST "not enough arguments passed to the function in {{left(1)}}"},
    {"foo.*", "foo.{{split(1,a,b)}}", 0,
     DEST "too many arguments passed to the function in {{split(1,a,b)}}"},
    {"foo.*", "foo.{{split(1,a b)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{split(1,a b)}}"},
    {"foo.*", "foo.{{left(1,2147483648)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{left(1,2147483648)}}"},
    {"foo.*", "foo.{{partition(2147483648)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{partition(2147483648)}}"},
    {"foo.*", "foo.{{random(2147483648)}}", 0,
     DEST "function argument is invalid or in the wrong format in {{random(2147483648)}}"},
};

TEST(refuses)
{
    struct buf err = {0};
    struct transform *t = transform_new(str_of(rejects[i].source), str_of(rejects[i].dest),
                                        rejects[i].kind, &err);

    ck_assert_ptr_null(t);
    ck_assert_str_eq(buf_cstr(&err), rejects[i].error);
    buf_free(&err);
}

/* What streams hear of a destination. */
TEST(checks)
{
    static const char *const table[][3] = {
        {"foo", "", ""},
        {"foo.*", "bar.{{ left(1, 2) }}", ""},
        {"foo", "bar..x", DEST "invalid transform"},
        {"foo.>", "bar.>.x", DEST "invalid transform in x"},
        {"foo", "bar.x y", DEST "invalid transform"},
        {"foo.*", "bar.*", "invalid subject"},
        {"foo.*", "bar.{{nothing(1)}}", DEST "unknown function in {{nothing(1)}}"},
    };
    struct buf err = {0};

    ck_assert_int_eq(transform_check(str_of(table[i][0]), str_of(table[i][1]), &err),
                     table[i][2][0] == '\0');
    ck_assert_str_eq(buf_cstr(&err), table[i][2]);
    buf_free(&err);
}

static const struct {
    const char *source, *dest;
    enum transform_kind kind;
} accepted[] = {
    {"foo.*", "bar.{{Wildcard(1)}}", TRANSFORM_REVERSIBLE},
    {"foo.*.*", "bar.$2", 0},
    {"foo.*.*", "bar.{{partition(1)}}", 0},
    {"foo.*.*", "bar.{{random(5)}}", 0},
    {"foo.*.*", "foo.{{wildcard(1)}}.{{wildcard(2)}}.{{partition(5,1,2)}}", 0},
    {"foo.*", "foo.{{partition(2147483647)}}", 0},
    {"foo.bar", "foo.{{random(2147483647)}}", 0},
    {"foo.bar", "foo.{{random(-5)}}", 0},
    {"foo.bar", "foo.{{partition(-1)}}", 0},
};

TEST(accepts)
{
    struct transform *t = transform_new(str_of(accepted[i].source), str_of(accepted[i].dest),
                                        accepted[i].kind, NULL);

    ck_assert_ptr_nonnull(t);
    transform_free(t);
}

TEST(random_below_its_limit)
{
    struct transform *t = transform_new(STR("*"), STR("{{random(6)}}"), TRANSFORM_ANY, NULL);
    unsigned seen = 0;
    struct prng prng;

    prng_init(&prng, 7);
    for (int k = 0; k < 200; k++) {
        struct buf out = {0};
        ck_assert(transform_subject(t, STR("q"), &prng, &out));
        ck_assert_uint_eq(out.n, 1);
        ck_assert(out.p[0] >= '0' && out.p[0] <= '5');
        seen |= 1u << (out.p[0] - '0');
        buf_free(&out);
    }
    ck_assert_uint_eq(seen, 63);
    transform_free(t);
}

/* There and back again is the same subject. */
TEST(reverses)
{
    static const char *const pairs[][3] = {
        {"foo.*.*", "bar.$2.{{Wildcard(1)}}", "foo.b.a"},
        {"*.x.*.*.>", "$3.y.$1.$2.>", "1.x.2.3.4.5"},
        {"foo", "bar", "foo"},
    };
    struct buf there = {0}, back = {0};
    struct transform *t = transform_new(str_of(pairs[i][0]), str_of(pairs[i][1]),
                                        TRANSFORM_REVERSIBLE, NULL);
    struct transform *r = transform_reverse(t);

    ck_assert_ptr_nonnull(r);
    ck_assert(transform_subject(t, str_of(pairs[i][2]), NULL, &there));
    ck_assert(transform_subject(r, buf_str(&there), NULL, &back));
    ck_assert_str_ne(buf_cstr(&there), pairs[i][2]);
    ck_assert_str_eq(buf_cstr(&back), pairs[i][2]);
    transform_free(t);
    transform_free(r);
    buf_free(&there);
    buf_free(&back);
}

TEST(patterns)
{
    struct buf b = {0};

    transform_number_stars(STR("foo.*.x.*.>"), &b);
    ck_assert_str_eq(buf_cstr(&b), "foo.$1.x.$2.>");
    buf_clear(&b);
    transform_dest_pattern(STR("foo.$2.{{wildcard(1)}}.$x.{{random(2)}}"), &b);
    ck_assert_str_eq(buf_cstr(&b), "foo.*.*.$x.{{random(2)}}");
    buf_free(&b);
}

/* The deepest source there may be, one more, and a result that is too long. */
TEST(limits)
{
    struct buf source = {0}, dest = {0}, out = {0};
    struct transform *t;

    for (unsigned k = 0; k < TRANSFORM_TOKENS_MAX; k++)
        buf_puts(&source, k == 0 ? "*" : ".*");
    t = transform_new(buf_str(&source), STR("x.$255"), TRANSFORM_ANY, NULL);
    ck_assert_ptr_nonnull(t);
    source.p[source.n - 1] = 'z';
    ck_assert(transform_subject(t, buf_str(&source), NULL, &out) == false); /* stars are left */
    transform_free(t);
    buf_puts(&source, ".*");
    ck_assert_ptr_null(transform_new(buf_str(&source), STR("x"), TRANSFORM_ANY, NULL));
    for (unsigned k = 0; k < 600; k++)
        buf_puts(&dest, k == 0 ? "$1" : ".$1");
    t = transform_new(STR("*"), buf_str(&dest), TRANSFORM_ANY, NULL);
    ck_assert_ptr_nonnull(t);
    ck_assert(transform_subject(t, STR("12345"), NULL, &out));
    buf_clear(&out);
    ck_assert(!transform_subject(t, STR("1234567"), NULL, &out));
    ck_assert_uint_eq(out.n, 0);
    transform_free(t);
    buf_free(&source);
    buf_free(&dest);
    buf_free(&out);
}

/* A request's subject may end with a filter. */
TEST(what_is_published_may_have_wildcards)
{
    struct transform *t = transform_new(STR("to.>"), STR("api.>"), TRANSFORM_ANY, NULL);
    struct buf out = {0};

    ck_assert(!transform_subject(t, STR("to.make.kv.>"), NULL, &out));
    ck_assert(transform_published(t, STR("to.make.kv.>"), NULL, &out));
    ck_assert_str_eq(buf_cstr(&out), "api.make.kv.>");
    buf_clear(&out);
    ck_assert(transform_published(t, STR("to.*"), NULL, &out));
    ck_assert_str_eq(buf_cstr(&out), "api.*");
    ck_assert(!transform_published(t, STR("to..a"), NULL, &out));
    ck_assert(!transform_published(t, STR("to"), NULL, &out));
    transform_free(t);
    buf_free(&out);
}

static const struct runner_case cases[] = {
    RUN(what_is_published_may_have_wildcards),
    RUN_LOOP(results_of, 0, sizeof(results) / sizeof(results[0])),
    RUN_LOOP(refuses, 0, sizeof(rejects) / sizeof(rejects[0])),
    RUN_LOOP(accepts, 0, sizeof(accepted) / sizeof(accepted[0])),
    RUN_LOOP(checks, 0, 7),
    RUN(random_below_its_limit),
    RUN_LOOP(reverses, 0, 3),
    RUN(patterns),
    RUN(limits),
};

RUNNER_MAIN("core/transform", cases)
