/* test_topic_turn.c - one at a time for each topic, in the order in which they came. */
#include "server/kafka/topic_turn.h"
#include "tests/lib/runner.h"

TEST(one_at_a_time)
{
    struct topic_turns turns;
    struct topic_turn a[3] = {{.name = STR("a")}, {.name = STR("a")}, {.name = STR("a")}};
    struct topic_turn b = {.name = STR("b")};

    topic_turns_init(&turns);
    ck_assert(topic_turn_take(&turns, &a[0]));
    ck_assert(!topic_turn_take(&turns, &a[1]));
    ck_assert(topic_turn_take(&turns, &b));
    ck_assert(!topic_turn_take(&turns, &a[2]));
    ck_assert_ptr_null(topic_turn_end(&turns, &b));
    ck_assert_ptr_eq(topic_turn_end(&turns, &a[0]), &a[1]);
    ck_assert_ptr_eq(topic_turn_end(&turns, &a[1]), &a[2]);
    ck_assert(!topic_turn_take(&turns, &a[0]));
    ck_assert_ptr_eq(topic_turn_end(&turns, &a[2]), &a[0]);
    ck_assert_ptr_null(topic_turn_end(&turns, &a[0]));
    ck_assert(topic_turn_take(&turns, &a[1]));
    ck_assert_ptr_null(topic_turn_end(&turns, &a[1]));
    topic_turns_deinit(&turns);
}

static const struct runner_case cases[] = {
    RUN(one_at_a_time),
};

RUNNER_MAIN("kafka/topic_turn", cases)
