/*
 * test_consumer_turn.c - who is served next and when: priority groups of the core as tables, pace
 * as arithmetic, and reset.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_pace.h"
#include "server/js/consumer_state.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000000000ull

struct bench {
    struct wheel *wheel;
    struct consumer_core core;
    struct prng prng;
    struct nuid ids;
    uint64_t now;
};

static void wake(struct consumer_core *c)
{
    (void) c;
}

static void setup(struct bench *b, enum priority_policy policy)
{
    static char a[] = "A", b_name[] = "B";
    static char *const groups[] = {a, b_name};
    struct consumer_rules rules = {
        .ack_policy = ACK_EXPLICIT,
        .ack_wait_ns = 30ll * (int64_t) SECOND,
        .max_deliver = -1,
        .max_ack_pending = 1000,
        .max_waiting = 512,
        .priority_policy = policy,
        .pin_ns = (int64_t) SECOND,
        .groups = groups,
        .ngroups = 2,
    };

    b->now = SECOND;
    b->wheel = wheel_open(b->now);
    prng_init(&b->prng, 7);
    nuid_init(&b->ids, &b->prng);
    consumer_core_init(&b->core, &rules, b->wheel, wake);
    b->core.pin.ids = &b->ids;
    consumer_core_start(&b->core, 1);
}

static void teardown(struct bench *b)
{
    consumer_core_check(&b->core);
    consumer_core_deinit(&b->core);
    wheel_close(b->wheel);
}

static void pull(struct bench *b, const char *reply, struct pull_spec spec)
{
    spec.formal = true;
    spec.group = STR("A");
    consumer_core_pull(&b->core, b->now, &spec, str_of(reply));
}

/* Who gets this message; "" = nobody. */
static const char *give(struct bench *b, uint64_t seq, uint64_t size)
{
    static char to[32];
    struct delivery d;

    to[0] = '\0';
    if (!consumer_core_deliver(&b->core, b->now, seq, size, &d))
        return to;
    snprintf(to, sizeof(to), "%s", d.to->reply);
    consumer_core_sent(&b->core, d.to);
    return to;
}

/* The statuses since the last call, as "<who>:<status> ". */
static const char *said(struct bench *b)
{
    static char text[256];
    size_t n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < b->core.neffects; i++) {
        const struct consumer_effect *e = &b->core.effects[i];
        if (e->kind == EFFECT_STATUS)
            n += (size_t) snprintf(text + n, sizeof(text) - n, "%s:%d ", e->to, (int) e->status);
        else if (e->kind == EFFECT_PINNED)
            n += (size_t) snprintf(text + n, sizeof(text) - n, "pinned ");
        else if (e->kind == EFFECT_UNPINNED)
            n += (size_t) snprintf(text + n, sizeof(text) - n, "unpinned %s ", e->to);
    }
    consumer_core_clear_effects(&b->core);
    return text;
}

static const char *says(enum consumer_status status, const char *who)
{
    static char text[64];

    snprintf(text, sizeof(text), "%s:%d ", who, (int) status);
    return text;
}

TEST(overflow_by_either_mark)
{
    struct bench b;

    setup(&b, PRIORITY_OVERFLOW);
    b.core.num_pending = 4;
    pull(&b, "many", (struct pull_spec){.batch = 9, .min_pending = 4});
    pull(&b, "held", (struct pull_spec){.batch = 9, .min_ack_pending = 2});
    ck_assert_str_eq(give(&b, 1, 1), "many"); /* 4 are pending, this one included */
    ck_assert_str_eq(give(&b, 2, 1), "");     /* 3, and one unacknowledged */
    pull(&b, "any", (struct pull_spec){.batch = 1});
    ck_assert_str_eq(give(&b, 2, 1), "any");
    ck_assert_str_eq(give(&b, 3, 1), "held");
    consumer_core_ack(&b.core, b.now, 1);
    consumer_core_ack(&b.core, b.now, 2);
    ck_assert_str_eq(give(&b, 4, 1), "");
    teardown(&b);
}

TEST(prioritized_in_order_and_in_turn)
{
    struct bench b;

    setup(&b, PRIORITY_PRIORITIZED);
    b.core.num_pending = 2; /* turns of one message */
    pull(&b, "c", (struct pull_spec){.batch = 9, .priority = 5});
    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 9}, STR("last"));
    pull(&b, "a", (struct pull_spec){.batch = 2, .priority = 1});
    pull(&b, "b", (struct pull_spec){.batch = 1, .priority = 1});
    ck_assert_str_eq(give(&b, 1, 1), "a");
    ck_assert_str_eq(give(&b, 2, 1), "b");
    ck_assert_str_eq(give(&b, 3, 1), "a");
    ck_assert_str_eq(give(&b, 4, 1), "c");
    pull(&b, "0", (struct pull_spec){.batch = 1});
    ck_assert_str_eq(give(&b, 5, 1), "0");
    for (uint64_t seq = 6; seq < 14; seq++)
        ck_assert_str_eq(give(&b, seq, 1), "c");
    ck_assert_str_eq(give(&b, 14, 1), "last");
    teardown(&b);
}

TEST(a_pin_is_given_renewed_and_lost)
{
    struct bench b;
    char id[NUID_LEN + 1];

    setup(&b, PRIORITY_PINNED_CLIENT);
    pull(&b, "small", (struct pull_spec){.batch = 2, .max_bytes = 5});
    pull(&b, "a", (struct pull_spec){.batch = 2});
    pull(&b, "b", (struct pull_spec){.batch = 2});
    /* Who can not take the message is not pinned for it. */
    ck_assert_str_eq(give(&b, 1, 10), "a");
    ck_assert_ptr_nonnull(strstr(said(&b), "pinned "));
    snprintf(id, sizeof(id), "%s", b.core.pin.id);
    ck_assert_str_eq(give(&b, 2, 10), "a");
    ck_assert_str_eq(give(&b, 3, 10), "");
    pull(&b, "x", (struct pull_spec){.batch = 1, .id = STR("0123456789012345678901x")});
    ck_assert_str_eq(said(&b), says(STATUS_PIN_MISMATCH, "x"));
    b.now += SECOND * 3 / 4;
    wheel_advance(b.wheel, b.now);
    pull(&b, "a", (struct pull_spec){.batch = 2, .id = str_of(id)}); /* renews it */
    b.now += SECOND * 3 / 4;
    wheel_advance(b.wheel, b.now);
    ck_assert_str_eq(give(&b, 3, 10), "a");
    ck_assert_str_eq(said(&b), "");
    b.now += SECOND;
    wheel_advance(b.wheel, b.now);
    ck_assert_str_eq(said(&b), "unpinned A ");
    ck_assert_str_eq(give(&b, 4, 10), "b");
    ck_assert_str_eq(b.core.pin.group, "A");
    ck_assert_str_ne(b.core.pin.id, id);
    /* The one with the old id is told when it would have been its turn. */
    consumer_core_unpin(&b.core, STR("A"));
    consumer_core_clear_effects(&b.core);
    ck_assert_str_eq(give(&b, 5, 10), "");
    ck_assert_ptr_nonnull(strstr(said(&b), says(STATUS_WRONG_PIN, "a")));
    teardown(&b);
}

TEST(reset_forgets_what_was_pending)
{
    struct bench b;
    struct delivery d;

    setup(&b, PRIORITY_NONE);
    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 9}, STR("in"));
    for (uint64_t seq = 1; seq <= 3; seq++)
        give(&b, seq, 1);
    consumer_core_nak(&b.core, b.now, 2, 0);
    consumer_core_reset(&b.core, 2);
    consumer_core_check(&b.core);
    ck_assert_uint_eq(b.core.pending.count, 0);
    ck_assert_uint_eq(b.core.floor.stream, 1);
    ck_assert(consumer_core_deliver(&b.core, b.now, 2, 1, &d));
    ck_assert_uint_eq(d.dseq, 1);
    ck_assert_uint_eq(d.deliveries, 1);
    teardown(&b);
}

TEST(flow_control_never_redelivers)
{
    struct bench b;
    struct consumer_rules rules = {
        .ack_policy = ACK_FLOW_CONTROL, .max_deliver = -1, .max_ack_pending = 3, .push = true};
    struct delivery d;
    uint64_t seq;

    setup(&b, PRIORITY_NONE);
    consumer_core_set_rules(&b.core, &rules);
    for (seq = 1; seq <= 3; seq++)
        ck_assert(consumer_core_deliver(&b.core, b.now, seq, 1, &d));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_ACKS);
    b.now += 3600 * SECOND;
    wheel_advance(b.wheel, b.now);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_ACKS);
    ck_assert(consumer_core_ack(&b.core, b.now, 2));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert_uint_eq(b.core.floor.stream, 2);
    teardown(&b);
}

/* Gives up 1, 2 and 3, which were delivered once each. */
static void give_up_three(struct bench *b, enum ack_policy policy)
{
    struct consumer_rules rules;
    uint64_t seq;

    setup(b, PRIORITY_NONE);
    rules = b->core.rules;
    rules.ack_policy = policy;
    rules.max_deliver = 1;
    consumer_core_set_rules(&b->core, &rules);
    consumer_core_pull(&b->core, b->now, &(struct pull_spec){.batch = 9}, STR("in"));
    for (seq = 1; seq <= 3; seq++)
        give(b, seq, 1);
    b->now += 31 * SECOND;
    wheel_advance(b->wheel, b->now);
    ck_assert_int_eq(consumer_core_want(&b->core, b->now, &seq), WANT_NEW);
    ck_assert_uint_eq(b->core.given_up.count, 3);
    consumer_core_clear_effects(&b->core);
}

/* An acknowledgement of all has what was given up below the floor removed, too; what was not
 * delivered here (4) or has gone (2) is not acknowledged. */
TEST(an_ack_of_all_takes_what_was_given_up)
{
    static const uint64_t acked[] = {5, 1, 3};
    struct bench b;

    give_up_three(&b, ACK_ALL);
    ck_assert_uint_eq(b.core.floor.stream, 3);
    consumer_core_removed(&b.core, 2, 2);
    give(&b, 5, 1);
    consumer_core_clear_effects(&b.core);
    ck_assert(consumer_core_ack(&b.core, b.now, 5));
    ck_assert_uint_eq(b.core.given_up.count, 0);
    ck_assert_uint_eq(b.core.neffects, ARRAY_LEN(acked));
    for (size_t k = 0; k < ARRAY_LEN(acked); k++) {
        ck_assert_uint_eq(b.core.effects[k].seq, acked[k]);
        ck_assert_uint_eq(b.core.effects[k].last, acked[k]);
    }
    teardown(&b);
}

/* The floor after a replay of the log is the floor there was, whatever has gone. */
TEST(replay_of_what_was_given_up_and_has_gone)
{
    struct bench b, again;
    struct buf log = {0};

    give_up_three(&b, ACK_EXPLICIT);
    give(&b, 9, 1);
    ck_assert(consumer_state_has_log(&b.core));
    consumer_core_removed(&b.core, 2, 2);
    ck_assert_uint_eq(b.core.floor.stream, 3);
    consumer_state_take_log(&b.core, &log);
    ck_assert(!consumer_state_has_log(&b.core));
    setup(&again, PRIORITY_NONE);
    ck_assert(consumer_state_apply(&again.core, buf_str(&log)));
    consumer_state_resume(&again.core, again.now);
    ck_assert_uint_eq(again.core.floor.stream, 3);
    ck_assert_uint_eq(again.core.given_up.count, 2);
    buf_free(&log);
    teardown(&again);
    teardown(&b);
}

/* Over max_deliver: kept, not delivered, also after a restart; a late acknowledgement ends it. */
TEST(what_was_given_up_can_be_acknowledged)
{
    struct bench b, again;
    struct buf record = {0};
    struct consumer_rules rules;
    uint64_t seq;

    setup(&b, PRIORITY_NONE);
    rules = b.core.rules;
    rules.max_deliver = 1;
    consumer_core_set_rules(&b.core, &rules);
    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 9}, STR("in"));
    for (seq = 1; seq <= 3; seq++)
        give(&b, seq, 1);
    b.now += 31 * SECOND;
    wheel_advance(b.wheel, b.now);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert_uint_eq(b.core.pending.count, 0);
    ck_assert_uint_eq(b.core.given_up.count, 3);
    consumer_core_clear_effects(&b.core);
    consumer_core_removed(&b.core, 3, 3);
    ck_assert(consumer_core_ack(&b.core, b.now, 1));
    ck_assert(!consumer_core_ack(&b.core, b.now, 1));
    ck_assert_uint_eq(b.core.neffects, 1);
    ck_assert_int_eq(b.core.effects[0].kind, EFFECT_ACKED);
    consumer_state_encode(&b.core, &record);
    setup(&again, PRIORITY_NONE);
    ck_assert(consumer_state_decode(&again.core, buf_str(&record)));
    ck_assert(!seqset_has(&again.core.given_up, 1));
    ck_assert(seqset_has(&again.core.given_up, 2));
    ck_assert(!seqset_has(&again.core.given_up, 3));
    buf_free(&record);
    teardown(&again);
    teardown(&b);
}

/* ---- pace ------------------------------------------------------------------------------------ */

TEST(a_bucket_empties_and_fills)
{
    struct consumer_pace p = {.bytes_per_s = 1000, .burst = 100};
    uint64_t now = 10 * SECOND;

    ck_assert(consumer_pace_any(&p));
    ck_assert_uint_eq(consumer_pace_due(&p, now, 1, 1, 100), now);
    consumer_pace_sent(&p, now, 1, 100);
    /* Empty: 50 bytes take 50 ms. */
    ck_assert_uint_eq(consumer_pace_due(&p, now, 2, 1, 50), now + SECOND / 20);
    /* More than the bucket waits for a full one, and is paid for. */
    ck_assert_uint_eq(consumer_pace_due(&p, now, 2, 1, 1000), now + SECOND / 10);
    consumer_pace_sent(&p, now + SECOND / 10, 1, 1000);
    ck_assert_uint_eq(consumer_pace_due(&p, now + SECOND / 10, 3, 1, 100), now + SECOND * 11 / 10);
    /* It never holds more than the burst. */
    ck_assert_uint_eq(consumer_pace_due(&p, now * 9, 3, 1, 100), now * 9);
    consumer_pace_sent(&p, now * 9, 1, 100);
    ck_assert_uint_eq(consumer_pace_due(&p, now * 9, 3, 1, 100), now * 9 + SECOND / 10);
}

TEST(replay_keeps_distances)
{
    struct consumer_pace p = {.replay_to = 10};
    uint64_t now = 10 * SECOND;

    ck_assert_uint_eq(consumer_pace_due(&p, now, 1, 500, 1), now);
    consumer_pace_sent(&p, now, 500, 1);
    ck_assert_uint_eq(consumer_pace_due(&p, now, 2, 500 + (int64_t) SECOND, 1), now + SECOND);
    ck_assert_uint_eq(consumer_pace_due(&p, now + 5, 2, 500 + (int64_t) SECOND, 1), now + SECOND);
    ck_assert_uint_eq(consumer_pace_due(&p, now, 2, 500 + 1000000, 1), now);
    ck_assert_uint_eq(consumer_pace_due(&p, now, 2, 400, 1), now);
    ck_assert_uint_eq(consumer_pace_due(&p, now, 11, 500 + (int64_t) SECOND, 1), now);
    ck_assert_uint_eq(consumer_pace_due(&p, now + 2 * SECOND, 2, 500 + (int64_t) SECOND, 1),
                      now + 2 * SECOND);
}

static const struct runner_case cases[] = {
    RUN(overflow_by_either_mark),
    RUN(prioritized_in_order_and_in_turn),
    RUN(a_pin_is_given_renewed_and_lost),
    RUN(reset_forgets_what_was_pending),
    RUN(flow_control_never_redelivers),
    RUN(a_bucket_empties_and_fills),
    RUN(replay_keeps_distances),
    RUN(what_was_given_up_can_be_acknowledged),
    RUN(an_ack_of_all_takes_what_was_given_up),
    RUN(replay_of_what_was_given_up_and_has_gone),
};

RUNNER_MAIN("js/consumer_turn", cases)
