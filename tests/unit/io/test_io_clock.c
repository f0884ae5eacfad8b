/* The wall clock that is believed: steps, slewing, sleep. */
#include "lib/io/io_clock.h"
#include "tests/lib/runner.h"

#define S 1000000000ll
#define YEAR (365 * 24 * 3600 * S)

struct look {
    int64_t at;   /* seconds, monotonic */
    int64_t wall; /* ns away from the right time */
    int64_t asleep;
    int64_t want; /* believed, as wall */
    enum io_clock_news news;
};

#define START (50 * YEAR)

static void look_at(const struct look *looks, unsigned n)
{
    struct io_clock c = {0};
    enum io_clock_news news;

    for (unsigned i = 0; i < n; i++) {
        const struct look *l = &looks[i];
        int64_t right = START + l->at * S;
        int64_t got = io_clock_look(&c, (uint64_t) (l->at * S), right + l->wall,
                                    (uint64_t) (l->asleep * S), &news);
        ck_assert_msg(got == right + l->want, "look %u: %lld", i, (long long) (got - right));
        ck_assert_msg(news == l->news, "look %u: %d", i, (int) news);
        ck_assert(c.doubted == !io_clock_agrees(&c, (uint64_t) (l->at * S), right + l->wall));
    }
}
#define LOOK_AT(...)                                                                               \
    look_at((const struct look[]){__VA_ARGS__},                                                    \
            sizeof((const struct look[]){__VA_ARGS__}) / sizeof(struct look))

TEST(small_steps_are_followed)
{
    LOOK_AT({1, 0, 0, 0, 0}, {2, S / 2, 0, S / 2, 0}, {3, S + S / 4, 0, S + S / 4, 0},
            {4, S / 2, 0, S / 2, 0}, {5, -S / 4, 0, -S / 4, 0});
}

TEST(a_jump_forth_and_back_was_nothing)
{
    int64_t jump = i == 0 ? YEAR : i == 1 ? -YEAR : i == 2 ? 3600 * S : S;

    LOOK_AT({1, 0, 0, 0, 0}, {2, jump, 0, 0, IO_CLOCK_DOUBTED}, {30, jump, 0, 0, 0},
            {61, jump, 0, 0, 0}, {61, 0, 0, 0, IO_CLOCK_BACK}, {62, 0, 0, 0, 0},
            {70, jump, 0, 0, IO_CLOCK_DOUBTED}, {129, jump, 0, 0, 0});
}

TEST(a_step_that_stands_is_believed)
{
    int64_t jump = i == 0 ? YEAR : -3600 * S;

    LOOK_AT({1, 0, 0, 0, 0}, {2, jump, 0, 0, IO_CLOCK_DOUBTED}, {40, jump + S / 2, 0, 0, 0},
            {62, jump + S, 0, jump + S, IO_CLOCK_BELIEVED}, {63, jump + S, 0, jump + S, 0},
            {64, 0, 0, jump + S, IO_CLOCK_DOUBTED}, {124, 0, 0, 0, IO_CLOCK_BELIEVED});
}

/* Each new claim has its own minute. */
TEST(a_clock_that_jumps_about_is_not_believed)
{
    LOOK_AT({1, 0, 0, 0, 0}, {2, YEAR, 0, 0, IO_CLOCK_DOUBTED},
            {50, 2 * YEAR, 0, 0, IO_CLOCK_DOUBTED}, {100, YEAR, 0, 0, IO_CLOCK_DOUBTED},
            {159, YEAR, 0, 0, 0}, {160, YEAR, 0, YEAR, IO_CLOCK_BELIEVED});
}

/* The monotonic clock stood still meanwhile. */
TEST(sleep_is_no_step)
{
    LOOK_AT({1, 0, 0, 0, 0}, {2, 3600 * S, 3600, 3600 * S, 0}, {3, 3600 * S, 3600, 3600 * S, 0});
}

static const struct runner_case cases[] = {
    RUN(small_steps_are_followed),
    RUN_LOOP(a_jump_forth_and_back_was_nothing, 0, 4),
    RUN_LOOP(a_step_that_stands_is_believed, 0, 2),
    RUN(a_clock_that_jumps_about_is_not_believed),
    RUN(sleep_is_no_step),
};

RUNNER_MAIN("io/clock", cases)
