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

static const struct runner_case cases[] = {
    RUN(the_first_of_each),
};

RUNNER_MAIN("kafka/once", cases)
