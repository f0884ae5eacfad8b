/*
 * test_wheel.c - the timer wheel against an array that is searched, with callbacks that start and
 * stop others; every due distance; long gaps; the answer to "when next".
 */
#include "lib/base/prng.h"
#include "lib/base/wheel.h"
#include "tests/lib/runner.h"

#include <string.h>

#define TICK WHEEL_TICK_NS
#define TIMERS 60

struct model_timer {
    struct wheel_timer timer;
    bool pending;
    bool overdue;  /* was due when it was started */
    uint64_t tick; /* due, rounded up */
    uint64_t order;
};

static struct {
    struct wheel *wheel;
    struct model_timer timers[TIMERS];
    struct prng prng;
    uint64_t now_ns;
    uint64_t order;
    uint64_t advance_order; /* what was overdue before this one fires in this advance */
    unsigned fired;
} m;

/* Which of the model's timers must fire next in an advance to now; NULL when none. */
static struct model_timer *model_next(void)
{
    struct model_timer *best = NULL;

    for (int k = 0; k < TIMERS; k++) {
        struct model_timer *t = &m.timers[k];
        if (!t->pending || t->tick > m.now_ns / TICK || (t->overdue && t->order >= m.advance_order))
            continue;
        if (best == NULL || (t->overdue && !best->overdue) ||
            (t->overdue == best->overdue && !t->overdue && t->tick < best->tick) ||
            (t->overdue == best->overdue && (t->overdue || t->tick == best->tick) &&
             t->order < best->order))
            best = t;
    }
    return best;
}

static void start(struct model_timer *t, uint64_t due_ns)
{
    wheel_start(m.wheel, &t->timer, due_ns);
    ck_assert(wheel_pending(&t->timer));
    t->tick = due_ns / TICK + (due_ns % TICK != 0);
    t->overdue = t->tick <= m.now_ns / TICK;
    t->order = m.order++;
    t->pending = true;
}

static void stop(struct model_timer *t)
{
    wheel_stop(m.wheel, &t->timer);
    ck_assert(!wheel_pending(&t->timer));
    t->pending = false;
}

static uint64_t random_distance(void)
{
    return prng_u64(&m.prng) >> (18 + prng_below(&m.prng, 46));
}

static void random_act(void)
{
    struct model_timer *t = &m.timers[prng_below(&m.prng, TIMERS)];
    uint64_t d = random_distance();

    switch (prng_below(&m.prng, 5)) {
    case 0:
        stop(t);
        break;
    case 1:
        start(t, m.now_ns > d ? m.now_ns - d : 0);
        break;
    case 2:
        start(t, m.now_ns);
        break;
    default:
        start(t, m.now_ns + d);
    }
}

static void fire(struct wheel_timer *timer)
{
    struct model_timer *t = CONTAINER_OF(timer, struct model_timer, timer);

    ck_assert_ptr_eq(model_next(), t);
    ck_assert(!wheel_pending(timer));
    t->pending = false;
    m.fired++;
    for (uint64_t n = prng_below(&m.prng, 3); n > 0; n--)
        random_act();
    if (prng_below(&m.prng, 20) == 0)
        wheel_check(m.wheel);
}

static void model_open(uint64_t seed, uint64_t now_ns, void (*on_fire)(struct wheel_timer *))
{
    memset(&m, 0, sizeof(m));
    prng_init(&m.prng, seed);
    m.now_ns = now_ns;
    m.wheel = wheel_open(now_ns);
    for (int k = 0; k < TIMERS; k++)
        wheel_timer_init(&m.timers[k].timer, on_fire);
}

static void model_close(void)
{
    for (int k = 0; k < TIMERS; k++)
        stop(&m.timers[k]);
    wheel_check(m.wheel);
    ck_assert(wheel_next_ns(m.wheel) == UINT64_MAX);
    wheel_close(m.wheel);
}

static void advance(uint64_t to_ns)
{
    m.now_ns = to_ns;
    m.advance_order = m.order;
    m.fired = 0;
    ck_assert_uint_eq(wheel_advance(m.wheel, to_ns), m.fired);
    ck_assert_ptr_null(model_next());
    wheel_check(m.wheel);
}

/* Earliest tick of the model; UINT64_MAX when nothing is pending. */
static uint64_t earliest(void)
{
    uint64_t tick = UINT64_MAX;

    for (int k = 0; k < TIMERS; k++) {
        if (m.timers[k].pending && m.timers[k].tick < tick)
            tick = m.timers[k].tick;
    }
    return tick;
}

static void check_next(void)
{
    uint64_t next = wheel_next_ns(m.wheel), tick = earliest();

    if (tick == UINT64_MAX) {
        ck_assert(next == UINT64_MAX);
    } else if (tick <= m.now_ns / TICK) {
        ck_assert(next <= m.now_ns);
    } else {
        ck_assert(next <= tick * TICK && next > m.now_ns);
    }
}

TEST(agrees_with_an_array)
{
    unsigned total = 0;

    model_open((uint64_t) i, (uint64_t) i * 123456789012345u, fire);
    for (int k = 0; k < 4000; k++) {
        for (uint64_t n = prng_below(&m.prng, 6); n > 0; n--)
            random_act();
        check_next();
        if (prng_below(&m.prng, 3) > 0) {
            uint64_t step = random_distance() >> prng_below(&m.prng, 20);
            /* A year of these would pass the clock's end. */
            if (m.now_ns < (uint64_t) 1 << 62)
                advance(m.now_ns + step);
        } else {
            uint64_t next = wheel_next_ns(m.wheel);
            if (next != UINT64_MAX && next > m.now_ns)
                advance(next);
        }
        total += m.fired;
    }
    ck_assert_uint_gt(total, 2000);
    model_close();
}

static void count_fire(struct wheel_timer *timer)
{
    CONTAINER_OF(timer, struct model_timer, timer)->pending = false;
    m.fired++;
}

/* Not a nanosecond early, and in the tick that follows. */
TEST(fires_in_its_tick)
{
    struct model_timer *t = &m.timers[0];

    for (uint64_t d = 1; d < (uint64_t) 1 << 55; d += d / 3 + 1) {
        uint64_t base = (d * 7919) % ((uint64_t) 1 << 50), due = base + d;
        model_open(1, base, count_fire);
        start(t, due);
        uint64_t tick = due / TICK + (due % TICK != 0);
        advance(due - 1);
        if (tick * TICK > due - 1) {
            ck_assert_uint_eq(m.fired, 0);
            advance(tick * TICK - 1);
            ck_assert_uint_eq(m.fired, 0);
        }
        advance(tick * TICK);
        ck_assert(!t->pending);
        model_close();
    }
}

/* Following wheel_next_ns reaches any timer in a few steps. */
TEST(next_leads_to_the_timer)
{
    struct model_timer *t = &m.timers[0];

    for (unsigned bit = 0; bit < 60; bit++) {
        unsigned steps = 0;
        model_open(1, 987654321, count_fire);
        start(t, m.now_ns + ((uint64_t) 1 << bit) + 12345);
        while (t->pending) {
            uint64_t next = wheel_next_ns(m.wheel);
            ck_assert(next > m.now_ns);
            advance(next);
            ck_assert_uint_le(++steps, 8);
        }
        model_close();
    }
}

/* A wheel that steps tick by tick does not end here within a life. */
TEST(skips_gaps_of_any_length)
{
    model_open(1, 0, count_fire);
    start(&m.timers[0], UINT64_MAX);
    start(&m.timers[1], UINT64_MAX / 2);
    start(&m.timers[2], 1);
    advance(0);
    ck_assert_uint_eq(m.fired, 0);
    advance(UINT64_MAX / 4);
    ck_assert_uint_eq(m.fired, 1);
    advance(UINT64_MAX / 4 * 3);
    ck_assert_uint_eq(m.fired, 1);
    /* Rounded up, its tick is beyond the clock's end. */
    advance(UINT64_MAX);
    ck_assert_uint_eq(m.fired, 0);
    ck_assert(m.timers[0].pending);
    model_close();
}

TEST(time_does_not_go_back)
{
    model_open(1, 50 * TICK, count_fire);
    start(&m.timers[0], 40 * TICK);
    start(&m.timers[1], 51 * TICK);
    ck_assert_uint_eq(wheel_advance(m.wheel, 10 * TICK), 1);
    ck_assert(!m.timers[0].pending && m.timers[1].pending);
    ck_assert_uint_eq(wheel_advance(m.wheel, 51 * TICK), 1);
    model_close();
}

static void restart_at_once(struct wheel_timer *timer)
{
    m.fired++;
    wheel_start(m.wheel, timer, 0);
}

TEST(a_callback_can_not_keep_an_advance_going)
{
    model_open(1, 0, restart_at_once);
    wheel_start(m.wheel, &m.timers[0].timer, TICK);
    ck_assert_uint_eq(wheel_advance(m.wheel, 100 * TICK), 1);
    ck_assert(wheel_next_ns(m.wheel) == 100 * (uint64_t) TICK);
    ck_assert_uint_eq(wheel_advance(m.wheel, 100 * TICK), 1);
    ck_assert_uint_eq(wheel_advance(m.wheel, 200 * TICK), 1);
    model_close();
}

static const struct runner_case cases[] = {
    RUN_LOOP(agrees_with_an_array, 0, 8), RUN(fires_in_its_tick),
    RUN(next_leads_to_the_timer),         RUN(skips_gaps_of_any_length),
    RUN(time_does_not_go_back),           RUN(a_callback_can_not_keep_an_advance_going),
};

RUNNER_MAIN("base/wheel", cases)
