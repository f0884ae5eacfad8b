/*
 * test_consumer_core.c - the consumer's decisions as tables, and random histories against a naive
 * twin that keeps one record per sequence; after every history the state replayed from full record
 * and logs must equal the live one.
 */
#include "lib/base/mem.h"
#include "lib/base/prng.h"
#include "server/js/consumer_core.h"
#include "server/js/consumer_state.h"
#include "tests/lib/runner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000u

static unsigned wakes;

static void wake(struct consumer_core *c)
{
    (void) c;
    wakes++;
}

static const struct consumer_rules explicit_rules = {
    .ack_policy = ACK_EXPLICIT,
    .ack_wait_ns = 30ll * SECOND,
    .max_deliver = -1,
    .max_ack_pending = 1000,
    .max_waiting = 512,
};

struct bench {
    struct wheel *wheel;
    struct consumer_core core;
    uint64_t now;
};

static void setup(struct bench *b, const struct consumer_rules *rules)
{
    b->now = SECOND;
    b->wheel = wheel_open(b->now);
    consumer_core_init(&b->core, rules, b->wheel, wake);
    consumer_core_start(&b->core, 1);
}

static void teardown(struct bench *b)
{
    consumer_core_check(&b->core);
    consumer_core_deinit(&b->core);
    wheel_close(b->wheel);
}

static void pull(struct bench *b, const char *reply, int64_t batch, bool no_wait)
{
    consumer_core_pull(&b->core, b->now, &(struct pull_spec){.batch = batch, .no_wait = no_wait},
                       str_of(reply));
}

static uint64_t give(struct bench *b, uint64_t seq, char to[32])
{
    struct delivery d;

    ck_assert(consumer_core_deliver(&b->core, b->now, seq, 100, &d));
    if (to != NULL && d.to != NULL)
        snprintf(to, 32, "%s", d.to->reply);
    consumer_core_sent(&b->core, d.to);
    return d.dseq;
}

static void advance(struct bench *b, uint64_t ns)
{
    b->now += ns;
    wheel_advance(b->wheel, b->now);
}

TEST(delivers_acks_and_moves_the_floor)
{
    struct bench b;
    uint64_t seq;

    setup(&b, &explicit_rules);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NOTHING);
    b.core.num_pending = 3;
    pull(&b, "in", 3, false);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert_uint_eq(give(&b, 1, NULL), 1);
    ck_assert_uint_eq(give(&b, 5, NULL), 2);
    ck_assert_uint_eq(give(&b, 9, NULL), 3);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NOTHING);
    ck_assert_uint_eq(b.core.num_pending, 0);

    ck_assert(consumer_core_ack(&b.core, b.now, 5));
    ck_assert(!consumer_core_ack(&b.core, b.now, 5));
    ck_assert_uint_eq(b.core.floor.stream, 0);
    ck_assert(consumer_core_ack(&b.core, b.now, 1));
    ck_assert_uint_eq(b.core.floor.stream, 8);
    ck_assert_uint_eq(b.core.floor.consumer, 2);
    ck_assert(consumer_core_ack(&b.core, b.now, 9));
    ck_assert_uint_eq(b.core.floor.stream, 9);
    ck_assert_uint_eq(b.core.floor.consumer, 3);
    ck_assert(!consumer_core_ack(&b.core, b.now, 77));
    teardown(&b);
}

TEST(redelivers_after_ack_wait_and_stops_at_max_deliver)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq = 0;

    r.max_deliver = 2;
    setup(&b, &r);
    pull(&b, "in", 10, false);
    give(&b, 1, NULL);
    advance(&b, 29ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    advance(&b, 2ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    ck_assert_uint_eq(seq, 1);
    ck_assert_uint_eq(give(&b, 1, NULL), 2);
    ck_assert_uint_eq(b.core.num_redelivered, 1);
    advance(&b, 31ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert_uint_eq(b.core.neffects, 1);
    ck_assert_int_eq(b.core.effects[0].kind, EFFECT_MAX_DELIVERIES);
    ck_assert_uint_eq(b.core.effects[0].count, 2);
    ck_assert_uint_eq(b.core.pending.count, 0);
    teardown(&b);
}

/* ... at once, also behind one that comes again, and with nobody who waits. */
TEST(gives_up_what_is_over_first)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq = 0;

    r.max_deliver = 2;
    setup(&b, &r);
    pull(&b, "in", 3, false);
    give(&b, 1, NULL);
    ck_assert(consumer_core_nak(&b.core, b.now, 1, 0));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    give(&b, 2, NULL);
    give(&b, 1, NULL);
    advance(&b, 31ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NOTHING);
    ck_assert_uint_eq(b.core.neffects, 1);
    ck_assert_int_eq(b.core.effects[0].kind, EFFECT_MAX_DELIVERIES);
    ck_assert_uint_eq(b.core.effects[0].seq, 1);
    ck_assert_uint_eq(b.core.pending.count, 1);
    teardown(&b);
}

TEST(backoff_nak_delay_and_progress_set_the_due_time)
{
    static const int64_t backoff[] = {1ll * SECOND, 5ll * SECOND};
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq = 0;

    r.backoff_ns = backoff;
    r.nbackoff = 2;
    setup(&b, &r);
    pull(&b, "in", 100, false);
    give(&b, 1, NULL);
    advance(&b, SECOND + 2000000);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    give(&b, 1, NULL);
    advance(&b, 4ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert(consumer_core_working(&b.core, b.now, 1));
    advance(&b, 4ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert(consumer_core_nak(&b.core, b.now, 1, 10ll * SECOND));
    advance(&b, 9ull * SECOND);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    ck_assert(consumer_core_nak(&b.core, b.now, 1, 0));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    ck_assert(consumer_core_term(&b.core, b.now, 1));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    teardown(&b);
}

TEST(max_ack_pending_stops_new_messages_only)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq = 0;

    r.max_ack_pending = 2;
    setup(&b, &r);
    pull(&b, "in", 100, false);
    give(&b, 1, NULL);
    give(&b, 2, NULL);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_ACKS);
    ck_assert(consumer_core_nak(&b.core, b.now, 2, 0));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    ck_assert_uint_eq(seq, 2);
    teardown(&b);
}

/* ---- pull requests --------------------------------------------------------------------------- */

static enum consumer_status only_status(struct bench *b)
{
    enum consumer_status s;

    ck_assert_uint_eq(b->core.neffects, 1);
    ck_assert_int_eq(b->core.effects[0].kind, EFFECT_STATUS);
    s = b->core.effects[0].status;
    consumer_core_clear_effects(&b->core);
    return s;
}

TEST(refuses_pulls_by_the_rules)
{
    struct consumer_rules r = explicit_rules;
    struct bench b;
    static const struct {
        struct pull_spec spec;
        enum consumer_status status;
    } table[] = {
        {{.batch = 1, .heartbeat_ns = 6, .expires_ns = 10}, STATUS_BAD_HEARTBEAT},
        {{.batch = 11}, STATUS_EXCEEDED_BATCH},
        {{.batch = 1, .expires_ns = 2ll * SECOND}, STATUS_EXCEEDED_EXPIRES},
        {{.batch = 1, .max_bytes = 5000}, STATUS_EXCEEDED_BYTES},
        {{.batch = 1, .no_wait = true}, STATUS_NO_MESSAGES},
    };

    r.max_batch = 10;
    r.max_expires_ns = SECOND;
    r.max_bytes = 4096;
    r.max_waiting = 1;
    setup(&b, &r);
    for (size_t k = 0; k < ARRAY_LEN(table); k++) {
        consumer_core_pull(&b.core, b.now, &table[k].spec, STR("in"));
        ck_assert_int_eq(only_status(&b), table[k].status);
    }
    pull(&b, "in", 5, false);
    pull(&b, "in", 5, false);
    ck_assert_int_eq(only_status(&b), STATUS_EXCEEDED_WAITING);
    b.core.num_pending = 3;
    pull(&b, "in", 5, true);
    ck_assert_int_eq(only_status(&b), STATUS_REQUESTS_PENDING);
    teardown(&b);

    r.push = true;
    setup(&b, &r);
    pull(&b, "in", 1, false);
    ck_assert_int_eq(only_status(&b), STATUS_PUSH_BASED);
    teardown(&b);
}

TEST(pull_ends_by_expiry_no_wait_and_bytes)
{
    struct bench b;
    struct delivery d;

    setup(&b, &explicit_rules);
    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 4, .expires_ns = SECOND},
                       STR("a"));
    give(&b, 1, NULL);
    advance(&b, SECOND + 2000000);
    ck_assert_int_eq(b.core.effects[0].left, 3);
    ck_assert_int_eq(only_status(&b), STATUS_REQUEST_TIMEOUT);

    b.core.num_pending = 1;
    pull(&b, "b", 4, true);
    give(&b, 2, NULL);
    consumer_core_end(&b.core, b.now);
    ck_assert_int_eq(only_status(&b), STATUS_NO_MESSAGES);

    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 4, .max_bytes = 150}, STR("c"));
    give(&b, 3, NULL);
    ck_assert(!consumer_core_deliver(&b.core, b.now, 4, 100, &d));
    ck_assert_int_eq(only_status(&b), STATUS_SIZE_EXCEEDS_MAX_BYTES);

    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 1, .max_bytes = 150}, STR("d"));
    give(&b, 4, NULL);
    ck_assert_int_eq(only_status(&b), STATUS_BATCH_COMPLETED);

    /* Met exactly, with messages to go: no status, as with a batch that is filled. */
    consumer_core_pull(&b.core, b.now, &(struct pull_spec){.batch = 9, .max_bytes = 100}, STR("e"));
    ck_assert(consumer_core_counts_bytes(&b.core));
    give(&b, 5, NULL);
    ck_assert_uint_eq(b.core.neffects, 0);
    ck_assert_uint_eq(b.core.npulls, 0);
    ck_assert(!consumer_core_counts_bytes(&b.core));
    teardown(&b);
}

/* At max_ack_pending a pull that does not wait stays, and goes on with the next ack; the timer of
 * any pull ends it. */
TEST(no_wait_outlives_max_ack_pending)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq;

    r.max_ack_pending = 2;
    setup(&b, &r);
    b.core.num_pending = 9;
    pull(&b, "in", 5, true);
    give(&b, 1, NULL);
    give(&b, 2, NULL);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_ACKS);
    ck_assert(consumer_core_ack(&b.core, b.now, 1));
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    give(&b, 3, NULL);
    consumer_core_clear_effects(&b.core);
    consumer_core_pull(
        &b.core, b.now,
        &(struct pull_spec){
            .batch = 4, .heartbeat_ns = SECOND / 4, .no_wait = true, .expires_ns = SECOND},
        STR("b"));
    advance(&b, SECOND / 4 + 2000000);
    ck_assert_uint_eq(b.core.neffects, 2);
    ck_assert_int_eq(b.core.effects[0].kind, EFFECT_HEARTBEAT);
    ck_assert_int_eq(b.core.effects[1].status, STATUS_NO_MESSAGES);
    ck_assert_uint_eq(b.core.npulls, 1);
    teardown(&b);
}

/* What deliver will say, for a first delivery and for one that comes again. */
TEST(previews_what_deliver_will_say)
{
    struct bench b;
    struct delivery d, p;

    setup(&b, &explicit_rules);
    b.core.num_pending = 5;
    pull(&b, "in", 9, false);
    for (uint64_t seq = 3; seq < 6; seq++) {
        consumer_core_preview(&b.core, seq, &p);
        ck_assert(consumer_core_deliver(&b.core, b.now, seq, 0, &d));
        ck_assert(p.dseq == d.dseq && p.deliveries == d.deliveries && p.pending == d.pending);
    }
    consumer_core_nak(&b.core, b.now, 4, 0);
    consumer_core_preview(&b.core, 4, &p);
    ck_assert(consumer_core_deliver(&b.core, b.now, 4, 0, &d));
    ck_assert_uint_eq(d.deliveries, 2);
    ck_assert(p.dseq == d.dseq && p.deliveries == d.deliveries && p.pending == d.pending);
    teardown(&b);
}

/* Retention removes what an ack-none consumer has delivered, as one range. */
TEST(without_acks_delivered_is_done)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;

    r.ack_policy = ACK_NONE;
    setup(&b, &r);
    pull(&b, "in", 9, false);
    for (uint64_t seq = 1; seq <= 4; seq++)
        give(&b, seq, NULL);
    ck_assert_uint_eq(b.core.neffects, 1);
    ck_assert_int_eq(b.core.effects[0].kind, EFFECT_ACKED);
    ck_assert_uint_eq(b.core.effects[0].seq, 1);
    ck_assert_uint_eq(b.core.effects[0].last, 4);
    teardown(&b);
}

TEST(heartbeats_come_while_nothing_does)
{
    struct bench b;

    setup(&b, &explicit_rules);
    consumer_core_pull(
        &b.core, b.now,
        &(struct pull_spec){.batch = 4, .expires_ns = 10ll * SECOND, .heartbeat_ns = SECOND},
        STR("a"));
    for (int n = 0; n < 3; n++) {
        advance(&b, SECOND + 5000000);
        ck_assert_uint_eq(b.core.neffects, 1);
        ck_assert_int_eq(b.core.effects[0].kind, EFFECT_HEARTBEAT);
        ck_assert_str_eq(b.core.effects[0].to, "a");
        consumer_core_clear_effects(&b.core);
    }
    teardown(&b);
}

/* The first one had it all until then. */
TEST(a_pull_that_joins_has_its_turns)
{
    struct bench b;
    char to[32], order[8] = "";

    setup(&b, &explicit_rules);
    pull(&b, "a", 10, false);
    give(&b, 1, to);
    ck_assert_str_eq(to, "a");
    pull(&b, "b", 10, false);
    for (unsigned k = 0; k < 4; k++) {
        give(&b, 2 + k, to);
        order[k] = to[0];
    }
    ck_assert_str_eq(order, "abab");
    teardown(&b);
}

TEST(few_messages_are_spread_over_the_pulls)
{
    struct bench b;
    char to[32];

    setup(&b, &explicit_rules);
    pull(&b, "a", 10, false);
    pull(&b, "b", 10, false);
    b.core.num_pending = 2;
    give(&b, 1, to);
    ck_assert_str_eq(to, "a");
    give(&b, 2, to);
    ck_assert_str_eq(to, "b");
    teardown(&b);
}

TEST(undeliverable_takes_the_attempt_back)
{
    struct bench b;
    uint64_t seq = 0;

    setup(&b, &explicit_rules);
    pull(&b, "a", 10, false);
    pull(&b, "b", 10, false);
    give(&b, 1, NULL);
    consumer_core_undeliverable(&b.core, b.now, 1, STR("a"));
    ck_assert_uint_eq(b.core.npulls, 1);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_SEQ);
    give(&b, 1, NULL);
    ck_assert_uint_eq(pend_find(&b.core.pending, 1)->deliveries, 1);
    teardown(&b);
}

/* Else a message that nobody has got would be given up after a crash. */
TEST(an_attempt_that_was_taken_back_is_no_delivery_after_a_crash)
{
    struct consumer_rules rules = explicit_rules;
    struct bench b;
    struct consumer_core again;
    struct buf log = {0};
    uint64_t seq = 0;

    rules.max_deliver = 1;
    setup(&b, &rules);
    pull(&b, "a", 10, false);
    give(&b, 1, NULL);
    give(&b, 2, NULL);
    consumer_core_undeliverable(&b.core, b.now, 2, STR("a"));
    ck_assert(consumer_state_has_log(&b.core));
    consumer_state_take_log(&b.core, &log);

    consumer_core_init(&again, &rules, b.wheel, wake);
    consumer_core_start(&again, 1);
    ck_assert(consumer_state_apply(&again, buf_str(&log)));
    ck_assert_uint_eq(pend_find(&again.pending, 1)->deliveries, 1);
    ck_assert_uint_eq(pend_find(&again.pending, 2)->deliveries, 0);
    /* The first one is over its number of deliveries, the second one waits for somebody. */
    consumer_state_resume(&again, b.now);
    wheel_advance(b.wheel, b.now + (uint64_t) rules.ack_wait_ns + 1000000000u);
    ck_assert_int_eq(consumer_core_want(&again, b.now, &seq), WANT_NOTHING);
    ck_assert_ptr_null(pend_find(&again.pending, 1));
    ck_assert_ptr_nonnull(pend_find(&again.pending, 2));
    consumer_core_check(&again);
    consumer_core_deinit(&again);
    teardown(&b);
    buf_free(&log);
}

/* ---- random histories ------------------------------------------------------------------------ */

#define SEQS 400

struct twin {
    uint64_t deliveries[SEQS + 1]; /* 0 = not pending */
    uint64_t last, dseq;
    uint64_t floor; /* moves with acknowledgements and removals, not with deliveries */
};

static void settle(struct twin *t)
{
    for (uint64_t s = 1; s <= SEQS; s++)
        if (t->deliveries[s] > 0) {
            if (s - 1 > t->floor)
                t->floor = s - 1;
            return;
        }
    t->floor = t->last;
}

static bool forget(struct twin *t, uint64_t s)
{
    bool was = s <= SEQS && t->deliveries[s] > 0;

    if (was)
        t->deliveries[s] = 0;
    return was;
}

static void compare(const struct consumer_core *c, const struct twin *t)
{
    uint64_t pending = 0;

    for (uint64_t s = 1; s <= SEQS; s++) {
        const struct pend *p = pend_find(&c->pending, s);
        ck_assert_uint_eq(p != NULL ? p->deliveries : 0, t->deliveries[s]);
        pending += t->deliveries[s] > 0;
    }
    ck_assert_uint_eq(c->pending.count, pending);
    ck_assert_uint_eq(c->delivered.consumer, t->dseq);
    ck_assert_uint_eq(c->delivered.stream, t->last);
    ck_assert_uint_eq(c->floor.stream, t->floor);
}

static void replay_and_compare(struct bench *b, const struct twin *t, struct str full,
                               struct str log1)
{
    struct consumer_core again;
    struct buf rest = {0};

    consumer_core_init(&again, &b->core.rules, b->wheel, wake);
    consumer_core_start(&again, 1);
    ck_assert(consumer_state_decode(&again, full));
    ck_assert(consumer_state_apply(&again, log1));
    consumer_state_take_log(&b->core, &rest);
    ck_assert(consumer_state_apply(&again, buf_str(&rest)));
    compare(&again, t);
    ck_assert_uint_eq(again.floor.consumer, b->core.floor.consumer);
    ck_assert_uint_eq(again.next_seq, b->core.next_seq);
    consumer_state_resume(&again, b->now);
    consumer_core_check(&again);
    consumer_core_deinit(&again);
    buf_free(&rest);
}

static void step(struct bench *b, struct twin *t, struct prng *rng)
{
    uint64_t s = 1 + prng_below(rng, SEQS);
    uint64_t seq = 0;

    switch (prng_below(rng, 6)) {
    case 0:
    case 1:
        if (consumer_core_want(&b->core, b->now, &seq) == WANT_NEW) {
            seq = b->core.next_seq + prng_below(rng, 2);
            if (seq > SEQS)
                return;
        }
        if (seq == 0)
            return;
        give(b, seq, NULL);
        t->dseq++;
        t->deliveries[seq]++;
        if (seq > t->last)
            t->last = seq;
        return;
    case 2:
        if (b->core.rules.ack_policy == ACK_ALL) {
            if (s <= b->core.floor.stream || s > t->last)
                return;
            ck_assert(consumer_core_ack(&b->core, b->now, s));
            for (uint64_t k = 1; k <= s; k++)
                forget(t, k);
            t->floor = s;
            settle(t);
            return;
        }
        ck_assert(consumer_core_ack(&b->core, b->now, s) == (t->deliveries[s] > 0));
        if (forget(t, s))
            settle(t);
        return;
    case 3:
        ck_assert(
            consumer_core_nak(&b->core, b->now, s, prng_below(rng, 2) ? (int64_t) SECOND : 0) ==
            (t->deliveries[s] > 0));
        return;
    case 4:
        consumer_core_removed(&b->core, s, s + 3);
        if (forget(t, s) + forget(t, s + 1) + forget(t, s + 2) + forget(t, s + 3) > 0)
            settle(t);
        return;
    default:
        advance(b, prng_below(rng, 40) * SECOND / 4);
    }
}

TEST(random_histories_match_the_twin_and_their_replay)
{
    struct prng rng;
    struct bench b;
    struct consumer_rules r = explicit_rules;
    static struct twin t;
    struct buf full = {0}, log1 = {0};

    prng_init(&rng, (uint64_t) i);
    memset(&t, 0, sizeof(t));
    r.max_ack_pending = 1 + (int64_t) prng_below(&rng, 60);
    r.ack_policy = (i % 4) == 3 ? ACK_ALL : ACK_EXPLICIT;
    setup(&b, &r);
    pull(&b, "in", 1 << 30, false);
    for (int n = 0; n < 600; n++) {
        step(&b, &t, &rng);
        consumer_core_clear_effects(&b.core);
        if (n == 200) {
            consumer_state_take_log(&b.core, &log1);
            buf_clear(&log1);
            consumer_state_encode(&b.core, &full);
        }
        if (n == 400)
            consumer_state_take_log(&b.core, &log1);
        if (n % 37 == 0) {
            consumer_core_check(&b.core);
            compare(&b.core, &t);
        }
    }
    compare(&b.core, &t);
    replay_and_compare(&b, &t, buf_str(&full), buf_str(&log1));
    teardown(&b);
    buf_free(&full);
    buf_free(&log1);
}

TEST(damaged_state_is_refused)
{
    struct bench b;
    struct buf full = {0}, log = {0};

    setup(&b, &explicit_rules);
    pull(&b, "in", 100, false);
    for (uint64_t s = 1; s < 20; s++)
        give(&b, s * 2, NULL);
    consumer_state_encode(&b.core, &full);
    consumer_state_take_log(&b.core, &log);
    for (size_t n = 0; n < full.n; n++) {
        struct consumer_core c;
        consumer_core_init(&c, &explicit_rules, b.wheel, wake);
        ck_assert(!consumer_state_decode(&c, str_from(full.p, n)));
        consumer_core_deinit(&c);
    }
    for (size_t n = 0; n < log.n * 8; n++) {
        struct consumer_core c;
        log.p[n / 8] = (char) (log.p[n / 8] ^ (1 << (n % 8)));
        consumer_core_init(&c, &explicit_rules, b.wheel, wake);
        consumer_core_start(&c, 1);
        (void) consumer_state_apply(&c, buf_str(&log));
        consumer_core_deinit(&c);
        log.p[n / 8] = (char) (log.p[n / 8] ^ (1 << (n % 8)));
    }
    teardown(&b);
    buf_free(&full);
    buf_free(&log);
}

/* A full record made between two logs contains what the first of them has not said yet. */
TEST(a_record_between_two_logs_replays)
{
    struct bench b;
    struct consumer_core again;
    struct buf full = {0}, log = {0};

    setup(&b, &explicit_rules);
    pull(&b, "in", 100, false);
    give(&b, 1, NULL);
    give(&b, 2, NULL);
    ck_assert(consumer_core_ack(&b.core, b.now, 1));
    consumer_state_checkpoint(&b.core, &full);
    give(&b, 3, NULL);
    consumer_state_take_log(&b.core, &log);

    consumer_core_init(&again, &explicit_rules, b.wheel, wake);
    consumer_core_start(&again, 1);
    ck_assert(consumer_state_decode(&again, buf_str(&full)));
    ck_assert(consumer_state_apply(&again, buf_str(&log)));
    ck_assert_uint_eq(again.delivered.stream, 3);
    ck_assert_uint_eq(again.delivered.consumer, 3);
    ck_assert_uint_eq(again.floor.stream, 1);
    ck_assert_uint_eq(again.pending.count, 2);
    consumer_core_deinit(&again);
    teardown(&b);
    buf_free(&full);
    buf_free(&log);
}

/* Messages that were counted and removed before their turn are not pending at the end. */
TEST(the_end_of_the_stream_leaves_nothing_pending)
{
    struct bench b;

    setup(&b, &explicit_rules);
    consumer_core_appended(&b.core, 5);
    pull(&b, "in", 10, false);
    give(&b, 1, NULL);
    give(&b, 4, NULL);
    ck_assert_uint_eq(b.core.num_pending, 3);
    consumer_core_end(&b.core, b.now);
    ck_assert_uint_eq(b.core.num_pending, 0);
    teardown(&b);
}

/* A stream that lost its end gives its sequences out again: they are new to the consumer. */
TEST(a_cut_forgets_what_was_behind_it)
{
    struct bench b;

    setup(&b, &explicit_rules);
    pull(&b, "in", 10, false);
    for (uint64_t seq = 1; seq <= 6; seq++)
        give(&b, seq, NULL);
    ck_assert(consumer_core_ack(&b.core, b.now, 1));
    ck_assert(consumer_core_ack(&b.core, b.now, 5));
    ck_assert(!consumer_core_cut(&b.core, 6));
    ck_assert(consumer_core_cut(&b.core, 3));
    ck_assert_uint_eq(b.core.next_seq, 4);
    ck_assert_uint_eq(b.core.delivered.stream, 3);
    ck_assert_uint_eq(b.core.floor.stream, 1);
    ck_assert_uint_eq(b.core.pending.count, 2);
    ck_assert_uint_eq(give(&b, 4, NULL), 7);
    ck_assert(consumer_core_ack(&b.core, b.now, 4));
    ck_assert(consumer_core_ack(&b.core, b.now, 2));
    ck_assert(consumer_core_ack(&b.core, b.now, 3));
    ck_assert_uint_eq(b.core.floor.stream, 4);
    teardown(&b);
}

/* At max_ack_pending, a removal makes room as an ack does. */
TEST(removed_messages_make_room_for_new_ones)
{
    struct bench b;
    struct consumer_rules r = explicit_rules;
    uint64_t seq;

    r.max_ack_pending = 2;
    setup(&b, &r);
    pull(&b, "in", 10, false);
    give(&b, 1, NULL);
    give(&b, 2, NULL);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_ACKS);
    wakes = 0;
    consumer_core_removed(&b.core, 5, 9);
    ck_assert_uint_eq(wakes, 0);
    consumer_core_removed(&b.core, 1, 1);
    ck_assert_uint_eq(wakes, 1);
    ck_assert_int_eq(consumer_core_want(&b.core, b.now, &seq), WANT_NEW);
    teardown(&b);
}

static const struct runner_case cases[] = {
    RUN(removed_messages_make_room_for_new_ones),
    RUN(the_end_of_the_stream_leaves_nothing_pending),
    RUN(a_cut_forgets_what_was_behind_it),
    RUN(delivers_acks_and_moves_the_floor),
    RUN(redelivers_after_ack_wait_and_stops_at_max_deliver),
    RUN(gives_up_what_is_over_first),
    RUN(backoff_nak_delay_and_progress_set_the_due_time),
    RUN(max_ack_pending_stops_new_messages_only),
    RUN(refuses_pulls_by_the_rules),
    RUN(pull_ends_by_expiry_no_wait_and_bytes),
    RUN(no_wait_outlives_max_ack_pending),
    RUN(previews_what_deliver_will_say),
    RUN(without_acks_delivered_is_done),
    RUN(heartbeats_come_while_nothing_does),
    RUN(a_pull_that_joins_has_its_turns),
    RUN(few_messages_are_spread_over_the_pulls),
    RUN(undeliverable_takes_the_attempt_back),
    RUN(an_attempt_that_was_taken_back_is_no_delivery_after_a_crash),
    RUN_LOOP(random_histories_match_the_twin_and_their_replay, 0, 60),
    RUN(a_record_between_two_logs_replays),
    RUN(damaged_state_is_refused),
};

RUNNER_MAIN("js/consumer_core", cases)
