/* test_once.c - names of a request, each once. */
#include "lib/wire/kafka_codec.h"
#include "server/kafka/once.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

TEST(the_first_of_each)
{
    struct kafka_arena arena = {0};
    struct once o;
    char names[1000][8];

    once_init(&o, &arena, 7);
    for (int k = 0; k < 2000; k++) {
        snprintf(names[k % 1000], sizeof(names[0]), "n%d", k % 1000);
        ck_assert(once_take(&o, str_of(names[k % 1000])) == (k < 1000));
    }
    ck_assert(once_take(&o, STR("")));
    ck_assert(!once_take(&o, STR("")));
    ck_assert(once_take(&o, STR("n1\0")));
    ck_assert(!once_take(&o, STR("n1")));
    once_deinit(&o);
    kafka_arena_free(&arena);
}

TEST(one_after_the_other)
{
    struct kafka_arena arena = {0};
    struct hmap_iter it = {0};
    struct once o, seen;
    struct str name;
    int n = 0;

    once_init(&o, &arena, 7);
    once_init(&seen, &arena, 8);
    ck_assert(!once_next(&o, &it, &name));
    once_take(&o, STR("a"));
    once_take(&o, STR("b"));
    once_take(&o, STR("a"));
    for (it = (struct hmap_iter){0}; once_next(&o, &it, &name); n++)
        ck_assert(once_take(&seen, name));
    ck_assert_int_eq(n, 2);
    ck_assert(once_has(&seen, STR("a")) && once_has(&seen, STR("b")));
    once_deinit(&o);
    once_deinit(&seen);
    kafka_arena_free(&arena);
}

static const struct runner_case cases[] = {
    RUN(the_first_of_each),
    RUN(one_after_the_other),
};

RUNNER_MAIN("kafka/once", cases)
