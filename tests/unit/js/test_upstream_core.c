/* test_upstream_core.c - the decisions of a mirror or source, and random runs against an origin
 * that loses messages, restarts and goes silent. */
#include "lib/base/prng.h"
#include "server/js/upstream_core.h"
#include "tests/lib/runner.h"

#define SECOND 1000000000ull

static void make_active(struct upstream_core *c, uint64_t now, uint64_t delivered)
{
    ck_assert_int_eq(upstream_core_timer(c, now), UPSTREAM_ASK);
    upstream_core_created(c, now, delivered, 0, false);
    upstream_core_check(c);
}

TEST(an_answer_that_does_not_come_is_asked_for_again_later)
{
    struct upstream_core c;
    uint64_t now = SECOND, last = 0;

    upstream_core_init(&c, now, 0);
    for (int k = 0; k < 12; k++) {
        ck_assert_int_eq(upstream_core_timer(&c, now), UPSTREAM_ASK);
        ck_assert_int_eq(upstream_core_timer(&c, now + UPSTREAM_ANSWER_NS - 1), UPSTREAM_NOTHING);
        now += UPSTREAM_ANSWER_NS;
        ck_assert_int_eq(upstream_core_timer(&c, now), UPSTREAM_DROP);
        ck_assert_uint_ge(c.due - now, last);
        ck_assert_uint_le(c.due - now, UPSTREAM_RETRY_MAX_NS);
        last = c.due - now;
        now = c.due;
    }
    ck_assert_uint_eq(last, UPSTREAM_RETRY_MAX_NS);
}

TEST(messages_go_on_where_the_last_one_was)
{
    struct upstream_core c;
    uint64_t skipped;

    upstream_core_init(&c, SECOND, 4);
    make_active(&c, SECOND, 4);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 5, 1, 9, &skipped), UPSTREAM_TAKE);
    ck_assert_uint_eq(skipped, 0);
    ck_assert_uint_eq(c.lag, 9);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 9, 2, 0, &skipped), UPSTREAM_TAKE);
    ck_assert_uint_eq(skipped, 3);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 9, 2, 0, &skipped), UPSTREAM_STRAY);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 8, 3, 0, &skipped), UPSTREAM_OLD);
    ck_assert_uint_eq(c.seen, 8); /* what is confirmed upwards */
    ck_assert_uint_eq(c.sseq, 9);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 12, 5, 0, &skipped), UPSTREAM_LOST);
    ck_assert_uint_eq(c.sseq, 9);
    ck_assert_int_eq(c.state, UPSTREAM_IDLE);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 12, 4, 0, &skipped), UPSTREAM_STRAY);
    ck_assert_int_eq(upstream_core_timer(&c, SECOND), UPSTREAM_ASK);
}

TEST(a_heartbeat_tells_what_was_lost)
{
    struct upstream_core c;
    uint64_t skipped;

    upstream_core_init(&c, SECOND, 0);
    ck_assert(upstream_core_heartbeat(&c, SECOND, 7)); /* nobody listens yet */
    make_active(&c, SECOND, 0);
    ck_assert(upstream_core_heartbeat(&c, 2 * SECOND, 0));
    ck_assert_int_eq(upstream_core_message(&c, 2 * SECOND, 1, 1, 0, &skipped), UPSTREAM_TAKE);
    ck_assert(upstream_core_heartbeat(&c, 3 * SECOND, 1));
    ck_assert(!upstream_core_heartbeat(&c, 4 * SECOND, 2));
    ck_assert_int_eq(c.state, UPSTREAM_IDLE);
}

TEST(silence_ends_a_consumer)
{
    struct upstream_core c;

    upstream_core_init(&c, SECOND, 0);
    make_active(&c, SECOND, 0);
    ck_assert(upstream_core_heartbeat(&c, 3 * SECOND, 0));
    ck_assert_int_eq(upstream_core_timer(&c, SECOND + UPSTREAM_SILENCE_NS), UPSTREAM_NOTHING);
    ck_assert_uint_eq(c.due, 3 * SECOND + UPSTREAM_SILENCE_NS);
    ck_assert_int_eq(upstream_core_timer(&c, c.due), UPSTREAM_DROP);
}

TEST(what_the_stream_refuses_comes_again)
{
    struct upstream_core c;
    uint64_t skipped;

    upstream_core_init(&c, SECOND, 6);
    make_active(&c, SECOND, 6);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 7, 1, 0, &skipped), UPSTREAM_TAKE);
    upstream_core_refused(&c, SECOND, 6);
    ck_assert_uint_eq(c.sseq, 6);
    ck_assert_int_eq(upstream_core_timer(&c, SECOND), UPSTREAM_NOTHING);
    ck_assert_int_eq(upstream_core_timer(&c, SECOND + UPSTREAM_REFUSED_NS), UPSTREAM_ASK);
}

TEST(another_origin_is_taken_from_its_beginning)
{
    struct upstream_core c;
    uint64_t skipped;

    upstream_core_init(&c, SECOND, 600);
    ck_assert_int_eq(upstream_core_timer(&c, SECOND), UPSTREAM_ASK);
    upstream_core_again(&c, SECOND, 0);
    make_active(&c, SECOND, 0);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 1, 1, 0, &skipped), UPSTREAM_TAKE);
}

TEST(an_origin_that_has_lost_its_end_is_followed)
{
    struct upstream_core c;
    uint64_t skipped;

    upstream_core_init(&c, SECOND, 600);
    ck_assert_int_eq(upstream_core_timer(&c, SECOND), UPSTREAM_ASK);
    upstream_core_created(&c, SECOND, 590, 0, true);
    ck_assert_int_eq(upstream_core_message(&c, SECOND, 591, 1, 0, &skipped), UPSTREAM_TAKE);
    ck_assert_uint_eq(skipped, 0);
}

/* An origin with holes whose deliveries get lost, stop, or find a consumer made anew: in the end
 * every message was taken, once, in order. */
TEST(nothing_is_lost_and_nothing_twice)
{
    enum { LAST = 400 };
    struct upstream_core c;
    struct prng p;
    uint64_t now = SECOND, sent = 0, dseq = 0, expected = 0, skipped, accounted = 0;

    prng_init(&p, (uint64_t) i + 1);
    upstream_core_init(&c, now, 0);
    while (accounted < LAST) {
        now += prng_below(&p, SECOND / 4);
        switch (upstream_core_timer(&c, now)) {
        case UPSTREAM_ASK:
            if (prng_below(&p, 4) == 0)
                break; /* never answered */
            sent = c.sseq - (c.sseq > 0 ? prng_below(&p, 2) : 0);
            dseq = 0;
            upstream_core_created(&c, now, sent, LAST - sent, false);
            break;
        default:
            break;
        }
        if (c.state == UPSTREAM_ACTIVE && sent < LAST) {
            do
                sent++;
            while (sent % 7 == 3 && sent < LAST); /* not there */
            dseq++;
            if (prng_below(&p, 30) == 0)
                continue; /* lost on the way */
            if (upstream_core_message(&c, now, sent, dseq, LAST - sent, &skipped) ==
                UPSTREAM_TAKE) {
                accounted += skipped + 1;
                for (expected++; expected % 7 == 3 && expected < LAST;)
                    expected++;
                ck_assert_uint_eq(sent, expected);
                ck_assert_uint_eq(accounted, sent);
            }
        } else if (c.state == UPSTREAM_ACTIVE) {
            upstream_core_heartbeat(&c, now, dseq);
        }
        upstream_core_check(&c);
    }
}

static const struct runner_case cases[] = {
    RUN(an_answer_that_does_not_come_is_asked_for_again_later),
    RUN(messages_go_on_where_the_last_one_was),
    RUN(a_heartbeat_tells_what_was_lost),
    RUN(silence_ends_a_consumer),
    RUN(what_the_stream_refuses_comes_again),
    RUN(another_origin_is_taken_from_its_beginning),
    RUN(an_origin_that_has_lost_its_end_is_followed),
    RUN_LOOP(nothing_is_lost_and_nothing_twice, 0, 200),
};

RUNNER_MAIN("js/upstream_core", cases)
