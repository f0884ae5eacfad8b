/* The reply subjects of fast-ingest batches: what they say, and what is none. */
#include "server/js/fast_reply.h"
#include "tests/lib/runner.h"

#include <stdio.h>

static const struct {
    const char *reply, *id;
    uint64_t seq;
    unsigned flow;
    bool gap_ok, ping, commit, eob;
} good[] = {
    {"in.x.10.ok.1.0.$FI", "x", 1, 10, true, false, false, false},
    {"a.b.c.x.500.fail.2.1.$FI", "x", 2, 500, false, false, false, false},
    {"in.x.1.fail.7.2.$FI", "x", 7, 1, false, false, true, false},
    {"in.x.1.fail.1.2.$FI", "x", 1, 1, false, false, true, false},
    {"in.x.1.fail.7.3.$FI", "x", 7, 1, false, false, true, true},
    {"in.x.1.ok.7.4.$FI", "x", 7, 1, true, true, false, false},
    {"in.x.0.ok.1.0.$FI", "x", 1, 10, true, false, false, false},
    {"in.x.y.ok.1.0.$FI", "x", 1, 10, true, false, false, false},
    {"in.x.70000.ok.1.0.$FI", "x", 1, 65535, true, false, false, false},
    {"in.x.1.ok.18446744073709551614.1.$FI", "x", UINT64_MAX - 1, 1, true, false, false, false},
};

TEST(reads)
{
    struct fast_reply f;

    ck_assert(fast_reply_is(str_of(good[i].reply)));
    ck_assert(fast_reply_parse(str_of(good[i].reply), &f));
    ck_assert(str_eq(f.id, str_of(good[i].id)));
    ck_assert_uint_eq(f.seq, good[i].seq);
    ck_assert_uint_eq(f.flow, good[i].flow);
    ck_assert(f.gap_ok == good[i].gap_ok && f.ping == good[i].ping);
    ck_assert(f.commit == good[i].commit && f.eob == good[i].eob);
}

static const char *const bad[] = {
    "x.$FI",
    "0.$FI",
    "1.0.$FI",
    "ok.1.0.$FI",
    "10.ok.1.0.$FI",
    "x.10.ok.1.0.$FI",    /* no prefix */
    "in.x.10.ok.0.0.$FI", /* sequences begin at 1 */
    "in.x.10.ok.2.0.$FI", /* a start with another one */
    "in.x.10.ok.1.1.$FI", /* an append that is a start */
    "in.x.10.ok.1.3.$FI", /* a marker behind nothing */
    "in.x.10.ok.1.5.$FI",
    "in.x.10.ok.1.-1.$FI",
    "in.x.10.ok.1..$FI",
    "in.x.10.ok.x.0.$FI",
    "in.x.10.ok.18446744073709551615.1.$FI",
    "in.x.10.maybe.1.0.$FI",
    "in.x.10..1.0.$FI",
};

TEST(refuses)
{
    struct fast_reply f;

    ck_assert(fast_reply_is(str_of(bad[i])));
    ck_assert(!fast_reply_parse(str_of(bad[i]), &f));
}

TEST(knows_its_own)
{
    ck_assert(!fast_reply_is(STR("in.x")));
    ck_assert(!fast_reply_is(STR(".$FI")));
    ck_assert(!fast_reply_is(STR_NONE));
    ck_assert(!fast_reply_is(STR("in.x.10.ok.1.0.$FJ")));
}

/* Whatever it becomes by steps is what taking it apart and putting the next one together gives. */
TEST(the_next_one)
{
    static const uint64_t starts[] = {1, 2, 8, 9, 10, 98, 99, 999, 4294967294, 9999999999};
    char text[FAST_NEXT_MAX], want[FAST_NEXT_MAX];
    struct fast_next next;
    struct fast_reply f;

    for (size_t k = 0; k < sizeof(starts) / sizeof(starts[0]); k++) {
        snprintf(text, sizeof(text), "in.box.id.500.ok.%llu.%d.$FI", (unsigned long long) starts[k],
                 starts[k] > 1);
        ck_assert(fast_reply_parse(str_of(text), &f));
        fast_next_set(&next, str_of(text), &f);
        for (uint64_t n = starts[k] + 1; n < starts[k] + 1200; n++, fast_next_step(&next)) {
            snprintf(want, sizeof(want), "in.box.id.500.ok.%llu.1.$FI", (unsigned long long) n);
            ck_assert(fast_next_is(&next, str_of(want)));
            ck_assert(!fast_next_is(&next, str_take(str_of(want), strlen(want) - 1)));
        }
    }
    ck_assert(!fast_next_is(&next, str_of(text)));
}

TEST(a_long_one_has_no_next)
{
    char text[FAST_NEXT_MAX + 64];
    struct fast_next next = {.n = 1};
    struct fast_reply f;

    snprintf(text, sizeof(text), "%0*d.id.500.ok.7.1.$FI", (int) FAST_NEXT_MAX, 0);
    ck_assert(fast_reply_parse(str_of(text), &f));
    fast_next_set(&next, str_of(text), &f);
    ck_assert(!fast_next_is(&next, str_of(text)) && !fast_next_is(&next, STR_NONE));
}

static const struct runner_case cases[] = {
    RUN_LOOP(reads, 0, sizeof(good) / sizeof(good[0])),
    RUN_LOOP(refuses, 0, sizeof(bad) / sizeof(bad[0])),
    RUN(knows_its_own),
    RUN(the_next_one),
    RUN(a_long_one_has_no_next),
};

RUNNER_MAIN("js/fast_reply", cases)
